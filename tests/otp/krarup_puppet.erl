%% A process that does what it is told and tells what happens to it: `krarup_puppet:run/1`. Krarup
%% nodes have the same function in Rust, so that whoever directs puppets need not know which node
%% they are on.
%%
%% `{do, Director, Ref, Order}` is answered with `{done, Ref, Result}`. Everything else that arrives
%% is passed on to the director of the start as `{signal, self(), Message}`, in order.
-module(krarup_puppet).
-export([run/1, start/1]).

%% Starts a puppet, on any of the threads of the node.
start(Director) ->
    spawn(krarup_puppet, run, [Director]).

run(Director) ->
    receive
        {do, From, Ref, {stop, Reason}} ->
            From ! {done, Ref, true},
            exit(Reason);
        {do, From, Ref, Order} ->
            From ! {done, Ref, obey(Order)};
        Message ->
            Director ! {signal, self(), seen(Message)}
    end,
    run(Director).

%% News of a node, with whether it is in `nodes/1` when they come.
seen(Message) ->
    case get(look_at_news) of
        undefined -> Message;
        Sets -> {Message, lists:member(element(2, Message), nodes(Sets))}
    end.

obey(here) ->
    here;
obey({all, Orders}) ->
    %% One after the other, with nothing received in between.
    [obey(Order) || Order <- Orders];
obey({send, To, Message}) ->
    To ! Message,
    true;
obey({trap, Trap}) ->
    process_flag(trap_exit, Trap),
    true;
obey({register, Name}) ->
    register(Name, self());
obey({link, Pid}) ->
    link(Pid);
obey({unlink, Pid}) ->
    unlink(Pid);
obey({unlink_flush, Pid}) ->
    %% As the manual of unlink/1 says: no exit message comes after it.
    unlink(Pid),
    receive
        {'EXIT', Pid, _} -> true
    after 0 -> true
    end;
obey({exit, Pid, Reason}) ->
    exit(Pid, Reason);
obey({monitor, Target}) ->
    monitor(process, Target);
obey({monitor, Target, Alias}) ->
    monitor(process, Target, [{alias, Alias}]);
obey({demonitor, Ref, Options}) ->
    demonitor(Ref, Options);
obey(alias) ->
    alias();
obey({unalias, Alias}) ->
    unalias(Alias);
obey({monitor_nodes, Flag, Options}) ->
    net_kernel:monitor_nodes(Flag, Options);
obey({monitor_node, Node, On, []}) ->
    monitor_node(Node, On);
obey({monitor_node, Node, On, Options}) ->
    erlang:monitor_node(Node, On, Options);
obey({look_at_news, Sets}) ->
    put(look_at_news, Sets),
    true;
obey({disconnect, Node}) ->
    erlang:disconnect_node(Node);
obey({spawn_at, none, Node, M, F, A}) ->
    spawn(Node, M, F, A);
obey({spawn_at, link, Node, M, F, A}) ->
    spawn_link(Node, M, F, A);
obey({spawn_at, monitor, Node, M, F, A}) ->
    spawn_monitor(Node, M, F, A);
obey({cast, Server, Request}) ->
    gen_server:cast(Server, Request) =:= ok;
obey({call, Server, Request, Timeout}) ->
    try
        {reply, gen_server:call(Server, Request, Timeout)}
    catch
        exit:{{nodedown, _}, _} -> {failed, noconnection};
        exit:{Reason, _} -> {failed, Reason}
    end;
obey({rpc, Node, M, F, A, Timeout}) ->
    try
        {returned, erpc:call(Node, M, F, A, Timeout)}
    catch
        throw:Value -> {throw, Value};
        exit:{exception, Reason} -> {exit, Reason};
        exit:{signal, Reason} -> {signal, Reason};
        error:{exception, Reason, _} -> {error, Reason};
        error:{erpc, Reason} -> {failed, Reason}
    end.
