%% A node that watches others, as `tests/src/witness` does on Krarup nodes: several processes are
%% subscribed to node events and get beats of all other witnesses; each checks that nodeup comes
%% before any message, nodedown after the last, that nothing is lost, repeated or out of order
%% between the two, and that nothing reaches a former life.
-module(krarup_witness).
-export([start/3, report/0, bulk/3]).

%% Sends beats to these witnesses and, at their `sink`, to these other nodes, so many milliseconds
%% apart.
start(Peers, Sinks, Period) ->
    Life = now_micros(),
    lists:foreach(fun(Index) -> start_one(Index, Life, Peers, Sinks, Period) end, indexes()).

%% Of those that watch and of those that send.
indexes() ->
    [0, 1].

start_one(Index, Life, Peers, Sinks, Period) ->
    Parent = self(),
    Pid = spawn(fun() ->
        register(name(Index), self()),
        ok = net_kernel:monitor_nodes(true, [{node_type, all}, nodedown_reason]),
        Parent ! {started, self()},
        %% Of these it is not said whether their nodeup was before.
        Early = nodes(connected),
        watch(#{
            life => Life, pids => #{}, early => Early, up => Early, owed => [], last => #{}, lives => #{},
            beats => #{}, late => #{}, answers => 0, bulk => 0, events => [], violations => []
        })
    end),
    receive
        {started, Pid} -> ok
    end,
    Names = [name(To) || To <- indexes()],
    [spawn(fun() -> send(Peer, Names, Life, {Index, 0}, Pid, Period) end) || Peer <- Peers],
    [spawn(fun() -> send(Sink, [sink], Life, {Index, 0}, Pid, Period) end) || Sink <- Sinks].

name(Index) ->
    list_to_atom("witness_" ++ integer_to_list(Index)).

send(Peer, Names, Life, {Sender, Number}, Pid, Period) ->
    [{Name, Peer} ! {beat, node(), Life, Sender, Number, now_micros(), Pid} || Name <- Names],
    timer:sleep(Period),
    send(Peer, Names, Life, {Sender, Number + 1}, Pid, Period).

watch(State) ->
    receive
        {report, From} ->
            From ! {report, self(), State},
            watch(State);
        Message ->
            watch(handle(Message, State))
    end.

handle({nodeup, Node, _}, State) ->
    #{up := Up, owed := Owed, early := Early} = State,
    Is = lists:member(Node, Up) andalso not lists:member(Node, Early),
    event(["up ", atom_to_list(Node)], State#{
        early := lists:delete(Node, Early),
        up := lists:usort([Node | Up]),
        owed := owed(Node, not lists:member(Node, nodes(connected)), Owed),
        violations := complain(Is, {second_nodeup, Node}, State)
    });
handle({nodedown, Node, Info}, State) ->
    #{up := Up, owed := Owed, last := Last} = State,
    Is = lists:member(Node, Up),
    Reason = io_lib:format("~0tp", [proplists:get_value(nodedown_reason, Info)]),
    event(["down ", atom_to_list(Node), " ", Reason], State#{
        early := lists:delete(Node, maps:get(early, State)),
        up := lists:delete(Node, Up),
        owed := owed(Node, lists:member(Node, nodes(connected)), Owed),
        last := maps:filter(fun({Of, _}, _) -> Of =/= Node end, Last),
        violations := complain(not Is, {nodedown_but_not_up, Node}, State)
    });
handle({beat, Node, Life, Sender, Number, Sent, Pid} = Beat, State) ->
    #{up := Up, last := Last, lives := Lives, beats := Beats, late := Late, pids := Pids} = State,
    Key = {Node, Sender},
    Former = maps:get(Node, Lives, 0),
    Wrong =
        (not lists:member(Node, Up)) orelse Life < Former orelse
            maps:get(Key, Last, Number - 1) =/= Number - 1,
    Known = maps:put({Node, Life}, Pid, Pids),
    %% What is sent to a former life must not arrive.
    [
        erlang:send(To, {answer, Of}, [noconnect, nosuspend])
     || {{N, Of}, To} <- maps:to_list(Known), N =:= Node
    ],
    Delay = max(0, now_micros() - Sent) div 1000,
    State#{
        pids := Known,
        last := Last#{Key => Number},
        lives := Lives#{Node => max(Life, Former)},
        beats := maps:update_with(Key, fun(Count) -> Count + 1 end, 1, Beats),
        late := maps:update_with(Node, fun(Most) -> max(Most, Delay) end, Delay, Late),
        violations := complain(Wrong, {Beat, maps:get(Key, Last, none), Former, Up}, State)
    };
handle({answer, To}, #{answers := Answers, life := Life} = State) ->
    State#{
        answers := Answers + 1,
        violations := complain(To =/= Life, {answer_to_life, To, in, Life}, State)
    };
handle(Bytes, #{bulk := Bulk} = State) when is_binary(Bytes) ->
    State#{bulk := Bulk + byte_size(Bytes)};
handle(Other, State) ->
    State#{violations := complain(true, Other, State)}.

owed(Node, true, Owed) -> lists:usort([Node | Owed]);
owed(Node, false, Owed) -> lists:delete(Node, Owed).

event(Event, #{events := Events} = State) ->
    State#{events := [Event | Events]}.

complain(true, What, #{violations := Violations}) when length(Violations) < 20 ->
    [io_lib:format("~0tp", [What]) | Violations];
complain(_, _, #{violations := Violations}) ->
    Violations.

now_micros() ->
    erlang:system_time(microsecond).

%% What all processes have seen, as the text of a `Report`.
report() ->
    States = [ask(Index) || Index <- indexes()],
    Nodes = lists:usort([Node || #{beats := Beats} <- States, {Node, _} <- maps:keys(Beats)]),
    Fewest = [
        {Node, lists:min([maps:get({Node, Of}, Beats, 0) || #{beats := Beats} <- States, Of <- indexes()])}
     || Node <- Nodes
    ],
    Latest = [
        {Node, lists:max([maps:get(Node, Late, 0) || #{late := Late} <- States])}
     || Node <- Nodes
    ],
    Sum = fun(Key) -> integer_to_list(lists:sum([maps:get(Key, State) || State <- States])) end,
    All = fun(Key) -> lists:append([maps:get(Key, State) || State <- States]) end,
    Names = fun(Atoms) -> lists:join(",", [atom_to_list(Atom) || Atom <- Atoms]) end,
    Counts = fun(Pairs) ->
        lists:join(",", [[atom_to_list(Node), " ", integer_to_list(N)] || {Node, N} <- Pairs])
    end,
    iolist_to_binary([
        "nodes=", Names(nodes(connected)),
        ";beats=", Counts(Fewest),
        ";late=", Counts(Latest),
        ";answers=", Sum(answers),
        ";bulk=", Sum(bulk),
        ";owed=", Names(All(owed)),
        [
            [";events=", lists:join(",", [plain(Event) || Event <- lists:reverse(Events)])]
         || #{events := Events} <- States
        ],
        ";violations=", lists:join("|", [plain(Violation) || Violation <- All(violations)])
    ]).

%% What separates parts of a report may not stand in one.
plain(Text) ->
    [case lists:member(Char, ";|=,\"\\") of true -> $\s; false -> Char end || Char <- lists:flatten(Text)].

ask(Index) ->
    name(Index) ! {report, self()},
    receive
        {report, _, State} -> State
    end.

%% Sends messages of this size to a witness for so many seconds, as fast as they go.
bulk(Peer, Bytes, Seconds) ->
    Binary = binary:copy(<<7>>, Bytes),
    End = erlang:monotonic_time(second) + Seconds,
    spawn(fun() -> bulk_until(Peer, Binary, End) end),
    ok.

bulk_until(Peer, Binary, End) ->
    {witness_0, Peer} ! Binary,
    case erlang:monotonic_time(second) < End of
        true -> bulk_until(Peer, Binary, End);
        false -> ok
    end.
