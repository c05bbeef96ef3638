%% One BEAM side of a measurement. It reads its orders as Erlang terms, one per line, and answers
%% with one JSON object per line: the same events as a worker written in Rust (src/protocol.rs).
%%
%% Messages are the pair {Sequence, Binary}; what asks for an answer wraps it as
%% {From, {Sequence, Binary}}.
-module(krarup_bench_worker).
-export([main/0, event/2]).

main() ->
    case order() of
        #{work := codec} = Config ->
            event("{\"event\":\"ready\",\"node\":\"\",\"port\":0,\"version\":\"~s\"}",
                  [erlang:system_info(otp_release)]),
            krarup_bench_codec:run(Config, fun order/0);
        Config -> node_main(Config)
    end.

node_main(#{node := Node, cookie := Cookie} = Config) ->
    {ok, _} = net_kernel:start([Node, longnames]),
    true = erlang:set_cookie(node(), Cookie),
    start_service(Config),
    event("{\"event\":\"ready\",\"node\":\"~s\",\"port\":~b,\"version\":\"~s\"}",
          [Node, krarup_bench_epmd:own_port(), erlang:system_info(otp_release)]),
    obey(Config).

obey(Config) ->
    case order() of
        {dial, Node, Port} ->
            krarup_bench_epmd:learn(Node, Port),
            case net_kernel:connect_node(Node) of
                true -> event("{\"event\":\"connected\"}", []);
                _ -> fail("no connection to " ++ atom_to_list(Node))
            end,
            obey(Config);
        {go, Node} ->
            client(Config, Node),
            obey(Config);
        stop ->
            halt(0)
    end.

%% Next order; the end of input ends the node, so that it never outlives its coordinator.
order() ->
    case io:get_line("") of
        Line when is_list(Line) ->
            {ok, Tokens, _} = erl_scan:string(Line),
            {ok, Term} = erl_parse:parse_term(Tokens),
            Term;
        _ -> halt(0)
    end.

event(Format, Arguments) -> io:format(Format ++ "\n", Arguments).

fail(Reason) ->
    event("{\"event\":\"failed\",\"reason\":\"~s\"}", [Reason]),
    halt(1).

now_ns() -> erlang:monotonic_time(nanosecond).

%% ---- what the receiving side runs -----------------------------------------------------------

start_service(#{role := client}) -> ok;
start_service(#{work := Work} = Config) ->
    Main = self(),
    spawn_link(fun() ->
        register(bench, self()),
        Main ! registered,
        case Work of
            stream -> sink(Config);
            monitors -> be_watched(Config);
            call -> greet(fun() -> {ok, Pid} = gen_server:start_link(krarup_bench_echo, [], []), Pid end);
            _ -> greet(fun() -> spawn_link(fun echo/0) end)
        end
    end),
    receive registered -> ok end.

%% A process of its own answers each client.
greet(Start) ->
    receive {From, whois} -> From ! {pid, Start()} end,
    greet(Start).

echo() ->
    receive {From, Message} -> From ! Message end,
    echo().

%% The processes that are to be monitored.
be_watched(#{count := Count, apart := Apart}) ->
    Number = case Apart of true -> Count; false -> 1 end,
    receive {From, targets} ->
        From ! {targets, [spawn(fun echo/0) || _ <- lists:seq(1, Number)]}
    end,
    erlang:garbage_collect(),
    receive never -> ok end.

sink(#{size := Size, warm_up_ns := WarmUp, window := Window}) ->
    From = receive {Client, whois} -> Client ! {pid, self()}, Client end,
    {Next, Warm} = receive_until_warm(From, Size, Window div 2, 0, now_ns() + WarmUp),
    Start = now_ns(),
    {Total, Last} = receive_all(From, Size, Window div 2, Next),
    true = Warm,
    event("{\"event\":\"received\",\"messages\":~b,\"total\":~b,\"elapsed_ns\":~b}",
          [Total - Next, Total, Last - Start]).

%% The clock is read once per 64 messages of up to 16 KiB, else at each.
receive_until_warm(From, Size, Half, Next, Deadline) ->
    accept(From, Size, Half, Next),
    case (Next band 63 =:= 0 orelse Size > 16384) andalso now_ns() >= Deadline of
        true -> {Next + 1, true};
        false -> receive_until_warm(From, Size, Half, Next + 1, Deadline)
    end.

receive_all(From, Size, Half, Next) ->
    receive
        {Next, Binary} when byte_size(Binary) =:= Size ->
            acknowledge(From, Half, Next),
            receive_all(From, Size, Half, Next + 1);
        {done, Next} -> {Next, now_ns()};
        Other -> out_of_order(Next, Other)
    end.

accept(From, Size, Half, Next) ->
    receive
        {Next, Binary} when byte_size(Binary) =:= Size -> acknowledge(From, Half, Next);
        Other -> out_of_order(Next, Other)
    end.

acknowledge(From, Half, Next) when Next rem Half =:= Half - 1 -> From ! {credit, Next + 1};
acknowledge(_, _, _) -> ok.

out_of_order(Next, Other) ->
    fail(io_lib:format("expected message ~b, came ~0P", [Next, Other, 8])).

%% ---- what the sending side runs -------------------------------------------------------------

client(Config, Node) ->
    {Pid, Monitor} = spawn_monitor(fun() -> work(Config, Node) end),
    receive
        {'DOWN', Monitor, process, Pid, normal} -> ok;
        {'DOWN', Monitor, process, Pid, Reason} ->
            fail(io_lib:format("the measuring process ended early: ~0P", [Reason, 8]))
    end.

work(#{work := rtt} = Config, Node) -> rtt(Config, whois(Node));
work(#{work := stream} = Config, Node) -> stream(Config, whois(Node));
work(#{work := pairs} = Config, Node) -> pairs(Config, Node);
work(#{work := rate} = Config, Node) -> rate(Config, whois(Node));
work(#{work := connect} = Config, Node) -> contacts(Config, Node);
work(#{work := call} = Config, Node) -> calls(Config, whois(Node));
work(#{work := spawn} = Config, Node) -> ask(Config, fun(_) -> spawn_there(Node) end);
work(#{work := rpc} = Config, Node) ->
    ask(Config, fun(_) -> Node = erpc:call(Node, erlang, node, []) end);
work(#{work := monitors} = Config, Node) -> monitors(Config, Node).

whois(Node) ->
    {bench, Node} ! {self(), whois},
    receive {pid, Peer} -> Peer after 5000 -> fail("no answer from the other side") end.

rtt(#{size := Size, warm_up_ns := WarmUp, duration_ns := Duration}, Peer) ->
    Payload = binary:copy(<<"k">>, Size),
    Counts = histogram(),
    Warm = ping(Peer, Payload, 0, now_ns() + WarmUp, Counts),
    clear(Counts),
    Total = ping(Peer, Payload, Warm, now_ns() + Duration, Counts),
    measured(Counts, Total - Warm, Total, Duration).

ping(Peer, Payload, Sequence, Deadline, Counts) ->
    Start = now_ns(),
    Peer ! {self(), {Sequence, Payload}},
    receive
        {Sequence, Echo} when byte_size(Echo) =:= byte_size(Payload) -> ok;
        Other -> out_of_order(Sequence, Other)
    end,
    End = now_ns(),
    record(Counts, End - Start),
    case End >= Deadline of
        true -> Sequence + 1;
        false -> ping(Peer, Payload, Sequence + 1, Deadline, Counts)
    end.

%% Each pair is a process here and one there. Round trips that ended in the measured time count.
pairs(#{size := Size, count := Count, warm_up_ns := WarmUp, duration_ns := Duration}, Node) ->
    Payload = binary:copy(<<"k">>, Size),
    Counts = histogram(),
    Main = self(),
    Clients = [spawn_link(fun() ->
        Peer = whois(Node),
        Main ! {ready, self()},
        {From, Until} = receive {go, Warm, Over} -> {Warm, Over} end,
        Main ! {total, self(), pair(Peer, Payload, 0, now_ns(), From, Until, Counts)}
    end) || _ <- lists:seq(1, Count)],
    [receive {ready, Client} -> ok end || Client <- Clients],
    Warm = now_ns() + WarmUp,
    [Client ! {go, Warm, Warm + Duration} || Client <- Clients],
    Total = lists:sum([receive {total, Client, N} -> N end || Client <- Clients]),
    measured(Counts, recorded(Counts), Total, Duration).

pair(Peer, Payload, Sequence, Start, From, Until, Counts) ->
    Peer ! {self(), {Sequence, Payload}},
    receive
        {Sequence, Echo} when byte_size(Echo) =:= byte_size(Payload) -> ok;
        Other -> out_of_order(Sequence, Other)
    end,
    End = now_ns(),
    case End >= From andalso End < Until of
        true -> record(Counts, End - Start);
        false -> ok
    end,
    case End >= Until of
        true -> Sequence + 1;
        false -> pair(Peer, Payload, Sequence + 1, End, From, Until, Counts)
    end.

%% Message N is due N intervals after the start, whatever became of those before it. The loop
%% never sleeps: it sends what is due and takes what came.
rate(#{size := Size, rate := Rate, warm_up_ns := WarmUp, duration_ns := Duration}, Peer) ->
    Payload = binary:copy(<<"k">>, Size),
    Counts = histogram(),
    Total = (WarmUp + Duration) * Rate div 1000000000,
    Schedule = #{peer => Peer, payload => Payload, start => now_ns(), rate => Rate,
                 total => Total, warm_up => WarmUp, counts => Counts},
    Last = due(Schedule, 0, 0),
    #{start := Start} = Schedule,
    measured(Counts, recorded(Counts), Total, Last - Start - WarmUp).

due(#{total := Total}, _, Total) -> now_ns();
due(#{peer := Peer, payload := Payload, start := Start, rate := Rate, total := Total} = Schedule,
    Sent, Received) ->
    Now = now_ns(),
    Due = min(Total, (Now - Start) * Rate div 1000000000 + 1),
    send_due(Peer, Payload, Sent, Due),
    due(Schedule, max(Sent, Due), answers(Schedule, Received)).

send_due(Peer, Payload, Sent, Due) when Sent < Due ->
    Peer ! {self(), {Sent, Payload}},
    send_due(Peer, Payload, Sent + 1, Due);
send_due(_, _, _, _) -> ok.

answers(#{payload := Payload, start := Start, rate := Rate, warm_up := WarmUp,
          counts := Counts} = Schedule, Received) ->
    receive
        {Received, Echo} when byte_size(Echo) =:= byte_size(Payload) ->
            After = Received * 1000000000 div Rate,
            case After >= WarmUp of
                true -> record(Counts, now_ns() - Start - After);
                false -> ok
            end,
            answers(Schedule, Received + 1);
        Other -> out_of_order(Received, Other)
    after 0 -> Received
    end.

%% Between contacts both sides get time to forget each other, which is not measured.
contacts(#{warm_up_ns := WarmUp, duration_ns := Duration}, Node) ->
    Counts = histogram(),
    Warm = contact_until(Node, now_ns() + WarmUp, Counts, 0),
    clear(Counts),
    Total = contact_until(Node, now_ns() + Duration, Counts, Warm),
    measured(Counts, Total - Warm, Total, Duration).

contact_until(Node, Deadline, Counts, Done) ->
    Start = now_ns(),
    case net_adm:ping(Node) of
        pong -> record(Counts, now_ns() - Start);
        pang -> fail("no answer from " ++ atom_to_list(Node))
    end,
    true = erlang:disconnect_node(Node),
    receive after 5 -> ok end,
    case now_ns() >= Deadline of
        true -> Done + 1;
        false -> contact_until(Node, Deadline, Counts, Done + 1)
    end.

%% Questions, one under way at a time.
ask(#{warm_up_ns := WarmUp, duration_ns := Duration}, Ask) ->
    Counts = histogram(),
    Warm = ask_until(Ask, 0, now_ns() + WarmUp, Counts),
    clear(Counts),
    Total = ask_until(Ask, Warm, now_ns() + Duration, Counts),
    measured(Counts, Total - Warm, Total, Duration).

ask_until(Ask, Sequence, Deadline, Counts) ->
    Start = now_ns(),
    Ask(Sequence),
    End = now_ns(),
    record(Counts, End - Start),
    case End >= Deadline of
        true -> Sequence + 1;
        false -> ask_until(Ask, Sequence + 1, Deadline, Counts)
    end.

calls(#{size := Size} = Config, Server) ->
    Payload = binary:copy(<<"k">>, Size),
    ask(Config, fun(Sequence) ->
        {Sequence, Echo} = gen_server:call(Server, {Sequence, Payload}),
        Size = byte_size(Echo)
    end).

%% A process on the other node, and the news of its end.
spawn_there(Node) ->
    {Pid, Monitor} = spawn_monitor(Node, erlang, node, []),
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end.

%% What is to be monitored comes first, as its memory is not that of the monitors.
monitors(#{count := Count}, Node) ->
    {bench, Node} ! {self(), targets},
    Targets = receive {targets, Pids} -> Pids end,
    erlang:garbage_collect(),
    event("{\"event\":\"connected\"}", []),
    {go, _} = order(),
    Start = now_ns(),
    monitor_all(Targets, Targets, Count),
    %% What was sent before has arrived when this is answered.
    lists:last(Targets) ! {self(), {0, <<>>}},
    receive {0, <<>>} -> ok end,
    Up = now_ns() - Start,
    erlang:garbage_collect(),
    done(Count, Up),
    Lost = now_ns(),
    downs(Count),
    done(Count, now_ns() - Lost),
    true = is_list(Targets).

monitor_all(_, _, 0) -> ok;
monitor_all([], Targets, Count) -> monitor_all(Targets, Targets, Count);
monitor_all([Target | Rest], Targets, Count) ->
    monitor(process, Target),
    monitor_all(Rest, Targets, Count - 1).

downs(0) -> ok;
downs(Count) -> receive {'DOWN', _, process, _, noconnection} -> downs(Count - 1) end.

done(Count, Elapsed) ->
    event("{\"event\":\"measured\",\"samples\":[],\"count\":~b,\"total\":~b,\"elapsed_ns\":~b}",
          [Count, Count, Elapsed]).

stream(#{size := Size, warm_up_ns := WarmUp, duration_ns := Duration, window := Window}, Peer) ->
    Payload = binary:copy(<<"k">>, Size),
    Total = send(Peer, Payload, 0, Window, Window, now_ns() + WarmUp + Duration),
    Peer ! {done, Total},
    event("{\"event\":\"sent\",\"total\":~b}", [Total]).

%% `Limit` is the first sequence number that the receiver's credit does not cover.
send(Peer, Payload, Limit, Limit, Window, Deadline) ->
    receive {credit, Received} -> send(Peer, Payload, Limit, Received + Window, Window, Deadline) end;
send(Peer, Payload, Sequence, Limit, Window, Deadline) ->
    Peer ! {Sequence, Payload},
    case (Sequence band 63 =:= 0 orelse byte_size(Payload) > 16384) andalso now_ns() >= Deadline of
        true -> Sequence + 1;
        false -> send(Peer, Payload, Sequence + 1, Limit, Window, Deadline)
    end.

%% ---- latencies ------------------------------------------------------------------------------

histogram() -> counters:new(6144, []).

clear(Counts) -> lists:foreach(fun(Slot) -> counters:put(Counts, Slot, 0) end, lists:seq(1, 6144)).

record(Counts, Nanoseconds) -> counters:add(Counts, slot(max(Nanoseconds, 0)), 1).

recorded(Counts) -> lists:sum([counters:get(Counts, Slot) || Slot <- lists:seq(1, 6144)]).

measured(Counts, Count, Total, Elapsed) ->
    Samples = [[$[, integer_to_list(nanoseconds(Slot)), $,, integer_to_list(N), $]]
               || Slot <- lists:seq(1, 6144), (N = counters:get(Counts, Slot)) > 0],
    event("{\"event\":\"measured\",\"samples\":[~s],\"count\":~b,\"total\":~b,\"elapsed_ns\":~b}",
          [lists:join($,, Samples), Count, Total, Elapsed]).

%% Log-linear buckets, 128 to each power of two: an error under 0.8 %, no garbage per sample.
slot(Value) when Value < 256 -> Value + 1;
slot(Value) -> slot(Value bsr 1, 1).
slot(Value, Shift) when Value < 256 -> 256 + (Shift - 1) * 128 + (Value - 128) + 1;
slot(Value, Shift) -> slot(Value bsr 1, Shift + 1).

nanoseconds(Slot) when Slot =< 256 -> Slot - 1;
nanoseconds(Slot) ->
    Shift = (Slot - 257) div 128 + 1,
    ((Slot - 257) rem 128 + 128) bsl Shift + (1 bsl (Shift - 1)).
