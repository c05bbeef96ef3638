%% One BEAM side of a measurement. It reads its orders as Erlang terms, one per line, and answers
%% with one JSON object per line: the same events as a worker written in Rust (src/protocol.rs).
%%
%% Messages are the pair {Sequence, Binary}; round trips wrap it as {From, {Sequence, Binary}}.
-module(krarup_bench_worker).
-export([main/0]).

main() ->
    #{node := Node, cookie := Cookie} = Config = order(),
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
            rtt -> echo();
            stream -> sink(Config)
        end
    end),
    receive registered -> ok end.

echo() ->
    receive
        {From, whois} -> From ! {pid, self()};
        {From, Message} -> From ! Message
    end,
    echo().

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

client(#{work := Work} = Config, Node) ->
    Main = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        {bench, Node} ! {self(), whois},
        Peer = receive {pid, P} -> P after 5000 -> fail("no answer from the other side") end,
        case Work of
            rtt -> rtt(Config, Peer);
            stream -> stream(Config, Peer)
        end,
        Main ! {finished, self()}
    end),
    receive
        {finished, Pid} -> erlang:demonitor(Monitor, [flush]);
        {'DOWN', Monitor, process, Pid, _} -> fail("the measuring process ended early")
    end.

rtt(#{size := Size, warm_up_ns := WarmUp, duration_ns := Duration}, Peer) ->
    Payload = binary:copy(<<"k">>, Size),
    Counts = counters:new(6144, []),
    Warm = ping(Peer, Payload, 0, now_ns() + WarmUp, Counts),
    lists:foreach(fun(Slot) -> counters:put(Counts, Slot, 0) end, lists:seq(1, 6144)),
    ping(Peer, Payload, Warm, now_ns() + Duration, Counts),
    Samples = [[$[, integer_to_list(nanoseconds(Slot)), $,, integer_to_list(N), $]]
               || Slot <- lists:seq(1, 6144), (N = counters:get(Counts, Slot)) > 0],
    event("{\"event\":\"rtt\",\"samples\":[~s]}", [lists:join($,, Samples)]).

ping(Peer, Payload, Sequence, Deadline, Counts) ->
    Start = now_ns(),
    Peer ! {self(), {Sequence, Payload}},
    receive
        {Sequence, Echo} when byte_size(Echo) =:= byte_size(Payload) -> ok;
        Other -> out_of_order(Sequence, Other)
    end,
    End = now_ns(),
    counters:add(Counts, slot(End - Start), 1),
    case End >= Deadline of
        true -> Sequence + 1;
        false -> ping(Peer, Payload, Sequence + 1, Deadline, Counts)
    end.

%% Log-linear buckets, 128 to each power of two: an error under 0.8 %, no garbage per sample.
slot(Value) when Value < 256 -> Value + 1;
slot(Value) -> slot(Value bsr 1, 1).
slot(Value, Shift) when Value < 256 -> 256 + (Shift - 1) * 128 + (Value - 128) + 1;
slot(Value, Shift) -> slot(Value bsr 1, Shift + 1).

nanoseconds(Slot) when Slot =< 256 -> Slot - 1;
nanoseconds(Slot) ->
    Shift = (Slot - 257) div 128 + 1,
    ((Slot - 257) rem 128 + 128) bsl Shift + (1 bsl (Shift - 1)).

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
