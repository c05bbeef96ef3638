%% What the suites run inside a real Erlang node. The harness sends this text to the node, which
%% compiles it with its own compiler: no beam file has to fit three releases.
-module(krarup_peer).
-export([loop/0]).
-export([next/1, ask/3, flood_echo/4, flood/3, churn/2, watch_nodes/0, watched/1, exit_reason/2]).
-export([echo_server/0]).

%% Reads `NUMBER EXPRESSIONS.` lines and answers `@@krarup NUMBER ok|error RESULT` lines, until the
%% harness closes its end. Bindings and the mailbox last from one line to the next. An answer starts
%% on a line of its own, so that nothing a logger prints can run into it.
loop() ->
    io:setopts([{encoding, unicode}]),
    loop(erl_eval:new_bindings()).

loop(Bindings) ->
    case io:get_line("") of
        Line when is_list(Line) ->
            [Number, Text] = string:split(Line, " "),
            {Outcome, Value, Next} = evaluate(Text, Bindings),
            io:put_chars(io_lib:format("~n@@krarup ~s ~s ~0tp~n", [Number, Outcome, Value])),
            loop(Next);
        _ ->
            erlang:halt(0, [{flush, false}])
    end.

evaluate(Text, Bindings) ->
    try
        {ok, Tokens, _} = erl_scan:string(Text),
        {ok, Expressions} = erl_parse:parse_exprs(Tokens),
        {value, Value, Next} = erl_eval:exprs(Expressions, Bindings),
        {ok, Value, Next}
    catch
        Class:Reason:Stack -> {error, {Class, Reason, Stack}, Bindings}
    end.

%% Registered as `echo`: the same service as a Krarup node's.
echo_server() ->
    spawn(fun() ->
        process_flag(trap_exit, true),
        register(echo, self()),
        echo_loop()
    end).

echo_loop() ->
    receive
        {From, Term} when is_pid(From) -> From ! {echo, Term};
        _ -> ok
    end,
    echo_loop().

%% The next message of the process that evaluates.
next(Timeout) ->
    receive
        Message -> Message
    after Timeout -> timeout
    end.

%% Sends one request to an echo service and returns what comes back.
ask(Service, Term, Timeout) ->
    Service ! {self(), Term},
    receive
        {echo, Back} -> Back
    after Timeout -> timeout
    end.

%% Many processes at once, each sending numbered messages to an echo service and checking that all
%% come back in order. Returns `ok`, or the first complaint of each process that has one.
flood_echo(Service, Senders, Each, Timeout) ->
    Parent = self(),
    Workers = [
        spawn_monitor(fun() ->
            Me = self(),
            Receiver = spawn_link(fun() -> Me ! {received, in_order(1, Each, Timeout)} end),
            [Service ! {Receiver, {Worker, Number}} || Number <- lists:seq(1, Each)],
            receive
                {received, Result} -> Parent ! {worker, Me, Result}
            end
        end)
     || Worker <- lists:seq(1, Senders)
    ],
    Results = [
        receive
            {worker, Pid, Result} -> erlang:demonitor(Ref, [flush]), Result;
            {'DOWN', Ref, process, Pid, Reason} -> {died, Reason}
        end
     || {Pid, Ref} <- Workers
    ],
    case [Result || Result <- Results, Result =/= ok] of
        [] -> ok;
        Complaints -> {failed, length(Complaints), lists:sublist(Complaints, 3)}
    end.

in_order(Next, Last, _) when Next > Last ->
    ok;
in_order(Next, Last, Timeout) ->
    receive
        {echo, {_, Next}} -> in_order(Next + 1, Last, Timeout);
        {echo, {_, Other}} -> {expected, Next, got, Other}
    after Timeout -> {missing, Next}
    end.

%% Many processes at once, each sending so many numbered messages to a service, one way.
flood(Service, Senders, Each) ->
    Workers = [
        spawn_monitor(fun() -> [Service ! {Worker, Number} || Number <- lists:seq(1, Each)] end)
     || Worker <- lists:seq(1, Senders)
    ],
    Reasons = [
        receive
            {'DOWN', Ref, process, Pid, Reason} -> Reason
        end
     || {Pid, Ref} <- Workers
    ],
    lists:usort(Reasons).

%% Connects to a node and disconnects from it so many times. A new connection can meet the end of
%% the last one (status `alive`) and fall with it, between two Erlang nodes as well: a few rounds
%% may fail, but not one in ten.
churn(Node, Times) ->
    churn(Node, Times, Times div 10).

churn(_, 0, _) ->
    ok;
churn(_, Left, 0) ->
    {too_many_failures, Left};
churn(Node, Left, Failures) ->
    case net_kernel:connect_node(Node) =:= true andalso erlang:disconnect_node(Node) of
        true -> churn(Node, Left - 1, Failures);
        false -> churn(Node, Left, Failures - 1)
    end.

%% Collects the node events of this node, with their reasons, in the order they come.
watch_nodes() ->
    Parent = self(),
    Pid = spawn(fun() ->
        register(krarup_watch, self()),
        ok = net_kernel:monitor_nodes(true, [{node_type, all}, nodedown_reason]),
        Parent ! watching,
        watch_loop([])
    end),
    receive
        watching -> Pid
    end.

watch_loop(Events) ->
    receive
        {events, From} ->
            From ! {events, lists:reverse(Events)},
            watch_loop(Events);
        {nodeup, Node, _} ->
            watch_loop([{up, Node} | Events]);
        {nodedown, Node, Info} ->
            watch_loop([{down, Node, proplists:get_value(nodedown_reason, Info)} | Events])
    end.

%% The events of one node so far, oldest first: `up`, or `{down, Reason}`.
watched(Node) ->
    krarup_watch ! {events, self()},
    receive
        {events, Events} ->
            lists:filtermap(
                fun
                    ({up, N}) when N =:= Node -> {true, up};
                    ({down, N, Reason}) when N =:= Node -> {true, {down, Reason}};
                    (_) -> false
                end,
                Events
            )
    end.

%% Monitors a process or a name and returns the reason of its DOWN message.
exit_reason(Target, Timeout) ->
    Ref = erlang:monitor(process, Target),
    receive
        {'DOWN', Ref, process, Object, Reason} -> {Object, Reason}
    after Timeout ->
        erlang:demonitor(Ref, [flush]),
        timeout
    end.
