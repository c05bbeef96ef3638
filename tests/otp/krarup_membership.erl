%% What nodes see of each other: `nodes`, `monitor_nodes`, `monitor_node`, cookies, `allow`,
%% `dist_auto_connect`. Each row has a puppet A, whose node is looked at, and a puppet B on a node
%% that comes and goes; the director is connected to both and never parts from them. Nothing here
%% knows whether a node is OTP or Krarup.
-module(krarup_membership).
-export([run/2, run_never/2, run_once/2, run_allow/2, answers/1]).
-import(krarup_director, [
    play/3, stop_now/2, trap/1, do/2, tell/2, await/1, got/2, deadline/0
]).

run(NodeA, NodeB) ->
    play(apart(subscriptions() ++ monitors() ++ sets() ++ cookies()), NodeA, NodeB).

%% For a node A that is started with `dist_auto_connect never`.
run_never(NodeA, NodeB) ->
    play(apart(never()), NodeA, NodeB).

%% For a node A that is started with `dist_auto_connect once`.
run_once(NodeA, NodeB) ->
    play(to_the_end(once()), NodeA, NodeB).

%% The list only grows, so this is the last that is done with a node A.
run_allow(NodeA, NodeB) ->
    play(apart(allow()), NodeA, NodeB).

%% Rows that begin when A and B are not connected.
apart(Rows) ->
    to_the_end([{Name, fun(A, B) -> part(A, B), Play(A, B) end} || {Name, Play} <- Rows]).

%% Rows at whose end A ends: what its node does afterwards is no news to it.
to_the_end(Rows) ->
    [{Name, fun(A, B) -> Play(A, B), stop_now(A, normal) end} || {Name, Play} <- Rows].

%% Again, for what is still coming up cannot be disconnected.
part(A, B) ->
    until(fun() ->
        Were = [on(X, erlang, disconnect_node, [node(Y)]) || {X, Y} <- [{A, B}, {B, A}]],
        Were =:= [false, false] andalso
            not (lists:member(node(B), connected(A)) orelse lists:member(node(A), connected(B)))
    end).

subscriptions() ->
    [
        {"a subscriber is told of visible nodes", fun(A, B) ->
            watch(A, []),
            up(A, B),
            down(A, B),
            got(A, [{nodeup, node(B)}, {nodedown, node(B)}])
        end},
        {"who subscribes twice is told twice, and takes all back at once", fun(A, B) ->
            watch(A, []),
            watch(A, []),
            up(A, B),
            got(A, [{nodeup, node(B)}, {nodeup, node(B)}]),
            unwatch(A, []),
            down(A, B)
        end},
        {"subscriptions with other options are others", fun(A, B) ->
            watch(A, [nodedown_reason]),
            watch(A, []),
            unwatch(A, []),
            up(A, B),
            down(A, B),
            got(A, [{nodeup, node(B), []}, {nodedown, node(B), [{nodedown_reason, disconnect}]}])
        end},
        {"the order of options does not matter", fun(A, B) ->
            watch(A, [nodedown_reason, {node_type, all}]),
            unwatch(A, [{node_type, all}, nodedown_reason, nodedown_reason]),
            up(A, B),
            down(A, B)
        end},
        {"the reason is that of who closed", fun(A, B) ->
            watch(A, [nodedown_reason]),
            up(A, B),
            down(B, A),
            got(A, [
                {nodeup, node(B), []}, {nodedown, node(B), [{nodedown_reason, connection_closed}]}
            ])
        end},
        {"everything is told in a list", fun(A, B) ->
            watch(A, [connection_id, {node_type, all}, nodedown_reason]),
            up(A, B),
            Id = id(A, B),
            down(A, B),
            got(A, [
                {nodeup, node(B), [{connection_id, Id}, {node_type, visible}]},
                {nodedown, node(B), [
                    {connection_id, Id}, {nodedown_reason, disconnect}, {node_type, visible}
                ]}
            ])
        end},
        {"everything is told in a map", fun(A, B) ->
            watch(A, #{connection_id => true, node_type => all, nodedown_reason => true}),
            up(A, B),
            Id = id(A, B),
            down(A, B),
            got(A, [
                {nodeup, node(B), #{connection_id => Id, node_type => visible}},
                {nodedown, node(B), #{
                    connection_id => Id, nodedown_reason => disconnect, node_type => visible
                }}
            ])
        end},
        {"an empty map is no empty list", fun(A, B) ->
            watch(A, #{}),
            unwatch(A, []),
            up(A, B),
            down(A, B),
            got(A, [{nodeup, node(B), #{}}, {nodedown, node(B), #{}}])
        end},
        {"an option that is false in a map is none", fun(A, B) ->
            watch(A, #{connection_id => false, nodedown_reason => false}),
            unwatch(A, #{}),
            up(A, B),
            down(A, B)
        end},
        {"hidden nodes are told to who asks for them", fun(A, B) ->
            watch(A, []),
            watch(A, [{node_type, visible}]),
            watch(A, [{node_type, hidden}]),
            true = on(A, net_kernel, hidden_connect_node, [node(B)]),
            down(A, B),
            got(A, [
                {nodeup, node(B), [{node_type, hidden}]}, {nodedown, node(B), [{node_type, hidden}]}
            ])
        end},
        {"visible nodes are not told to who asks for hidden ones", fun(A, B) ->
            watch(A, [{node_type, hidden}]),
            up(A, B),
            down(A, B)
        end},
        {"a second connection has the next number", fun(A, B) ->
            up(A, B),
            First = id(A, B),
            down(A, B),
            up(A, B),
            Second = id(A, B),
            Second = (First + 1) band 16#ffffff,
            down(A, B)
        end},
        {"a node is in nodes() when its nodeup comes, and not when its nodedown does", fun(A, B) ->
            watch(A, []),
            true = do(A, {look_at_news, [connected]}),
            up(A, B),
            down(A, B),
            got(A, [{{nodeup, node(B)}, true}, {{nodedown, node(B)}, false}])
        end},
        {"nodeup comes before what the node sends, nodedown after it", fun(A, B) ->
            watch(A, []),
            do(B, {send, A, first}),
            got(A, [{nodeup, node(B)}, first]),
            has_heard(B, A),
            Last = lists:seq(1, 100),
            do(B, {all, [{send, A, Number} || Number <- Last] ++ [{disconnect, node(A)}]}),
            %% Who disconnects may drop what it has not sent yet.
            as_many_as_come(A, Last, {nodedown, node(B)})
        end},
        {"wrong options change nothing", fun(A, B) ->
            {error, {unknown_options, [foo]}} = do(A, {monitor_nodes, true, [foo]}),
            {error, {bad_option_value, {node_type, x}}} =
                do(A, {monitor_nodes, true, [{node_type, x}]}),
            {error, {invalid_options, x}} = do(A, {monitor_nodes, true, x}),
            error = do(A, {monitor_nodes, perhaps, []}),
            ok = do(A, {monitor_nodes, false, [connection_id]}),
            up(A, B),
            down(A, B)
        end}
    ].

monitors() ->
    [
        {"a monitored node that is connected is lost once", fun(A, B) ->
            up(A, B),
            monitor_node(A, B, true),
            down(A, B),
            got(A, [{nodedown, node(B)}]),
            up(A, B),
            down(A, B)
        end},
        {"monitors are counted", fun(A, B) ->
            up(A, B),
            [monitor_node(A, B, true) || _ <- [1, 2, 3]],
            monitor_node(A, B, false),
            down(B, A),
            got(A, [{nodedown, node(B)}, {nodedown, node(B)}])
        end},
        {"a monitor connects", fun(A, B) ->
            watch(A, []),
            monitor_node(A, B, true),
            got(A, [{nodeup, node(B)}]),
            unwatch(A, []),
            down(A, B),
            got(A, [{nodedown, node(B)}])
        end},
        {"a node that cannot be reached is lost at once", fun(A, _) ->
            monitor_node(A, 'nobody@127.0.0.1', true),
            got(A, [{nodedown, 'nobody@127.0.0.1'}]),
            monitor_node(A, nonsense, true),
            got(A, [{nodedown, nonsense}])
        end},
        {"nothing is taken back that was not asked for", fun(A, B) ->
            monitor_node(A, B, false),
            false = lists:member(node(B), connected(A)),
            up(A, B),
            monitor_node(A, B, false),
            down(A, B)
        end},
        {"a node is never lost to itself", fun(A, _) ->
            monitor_node(A, A, true),
            monitor_node(A, A, false)
        end},
        {"a hidden connection is a connection", fun(A, B) ->
            true = on(A, net_kernel, hidden_connect_node, [node(B)]),
            monitor_node(A, B, true),
            down(A, B),
            got(A, [{nodedown, node(B)}])
        end},
        {"a monitor with a passive connect connects where it may", fun(A, B) ->
            watch(A, []),
            true = do(A, {monitor_node, node(B), true, [allow_passive_connect]}),
            got(A, [{nodeup, node(B)}]),
            unwatch(A, []),
            down(A, B),
            got(A, [{nodedown, node(B)}])
        end}
    ].

sets() ->
    [
        {"a node that was connected is known", fun(A, B) ->
            up(A, B),
            true = lists:member(node(B), on(A, erlang, nodes, [])),
            true = lists:member(node(B), on(A, erlang, nodes, [visible])),
            true = lists:member(node(B), on(A, erlang, nodes, [connected])),
            false = lists:member(node(B), on(A, erlang, nodes, [hidden])),
            true = lists:member(node(B), on(A, erlang, nodes, [known])),
            down(A, B),
            false = lists:member(node(B), on(A, erlang, nodes, [])),
            false = lists:member(node(B), connected(A)),
            true = lists:member(node(B), on(A, erlang, nodes, [known]))
        end},
        {"a hidden node is hidden from both", fun(A, B) ->
            true = on(A, net_kernel, hidden_connect_node, [node(B)]),
            true = lists:member(node(B), on(A, erlang, nodes, [hidden])),
            until(fun() -> lists:member(node(A), on(B, erlang, nodes, [hidden])) end),
            false = lists:member(node(B), on(A, erlang, nodes, [])),
            false = lists:member(node(A), on(B, erlang, nodes, [])),
            true = lists:member(node(B), on(A, erlang, nodes, [[this, hidden]])),
            Rows = on(A, erlang, nodes, [hidden, #{node_type => true}]),
            #{node_type := hidden} = proplists:get_value(node(B), Rows),
            down(A, B)
        end},
        {"connecting and disconnecting say what they did", fun(A, B) ->
            false = on(A, erlang, disconnect_node, [node(B)]),
            true = on(A, net_kernel, connect_node, [node(B)]),
            true = on(A, net_kernel, connect_node, [node(B)]),
            true = on(A, net_kernel, connect_node, [node(A)]),
            true = on(A, net_kernel, disconnect, [node(B)]),
            false = on(A, net_kernel, disconnect, [node(B)]),
            false = on(A, erlang, disconnect_node, [node(A)]),
            false = on(A, net_kernel, connect_node, ['nobody@127.0.0.1']),
            pong = on(A, net_adm, ping, [node(B)]),
            true = on(A, erlang, disconnect_node, [node(B)]),
            pang = on(A, net_adm, ping, ['nobody@127.0.0.1'])
        end},
        {"many who connect at once all have it", fun(A, B) ->
            Callers = [erpc:send_request(node(A), net_kernel, connect_node, [node(B)])
                       || _ <- lists:seq(1, 20)],
            [true = erpc:receive_response(Caller, deadline()) || Caller <- Callers],
            down(A, B)
        end},
        {"two that connect to each other at once have one connection", fun(A, B) ->
            [
                begin
                    Calls = [
                        erpc:send_request(node(From), net_kernel, connect_node, [node(To)])
                     || {From, To} <- [{A, B}, {B, A}]
                    ],
                    [true = erpc:receive_response(Call, deadline()) || Call <- Calls],
                    until(fun() ->
                        lists:member(node(B), connected(A)) andalso
                            lists:member(node(A), connected(B))
                    end),
                    down(A, B)
                end
             || _ <- lists:seq(1, 20)
            ]
        end}
    ].

cookies() ->
    [
        {"a node may use the cookie of a peer, one-sided", fun(A, B) ->
            Own = on(A, erlang, get_cookie, []),
            true = on(B, erlang, set_cookie, [node(), Own]),
            true = on(B, erlang, set_cookie, [different]),
            cannot_connect(A, B),
            true = on(A, erlang, set_cookie, [node(B), different]),
            up(A, B),
            down(A, B),
            up(B, A),
            down(A, B),
            true = on(B, erlang, set_cookie, [node(B), Own]),
            Own = on(B, erlang, get_cookie, []),
            true = on(A, erlang, set_cookie, [node(B), Own]),
            up(A, B),
            down(A, B)
        end},
        {"a cookie for a peer is used whoever connects", fun(A, B) ->
            Own = on(A, erlang, get_cookie, []),
            Own = on(A, erlang, get_cookie, [node(B)]),
            true = on(A, erlang, set_cookie, [node(B), other]),
            other = on(A, erlang, get_cookie, [node(B)]),
            Own = on(A, erlang, get_cookie, []),
            cannot_connect(A, B),
            cannot_connect(B, A),
            true = on(B, erlang, set_cookie, [node(A), other]),
            up(A, B),
            down(A, B),
            up(B, A),
            %% Connections that are there stay.
            true = on(A, erlang, set_cookie, [node(B), Own]),
            true = lists:member(node(B), connected(A)),
            down(A, B),
            cannot_connect(B, A),
            true = on(B, erlang, set_cookie, [node(A), Own]),
            up(B, A),
            down(A, B)
        end}
    ].

never() ->
    [
        {"nothing connects but connect_node", fun(A, B) ->
            do(A, {send, B, lost}),
            pang = on(A, net_adm, ping, [node(B)]),
            monitor_node(A, B, true),
            got(A, [{nodedown, node(B)}]),
            true = do(A, {monitor_node, node(B), true, [allow_passive_connect]}),
            got(A, [{nodedown, node(B)}]),
            trap(A),
            do(A, {link, B}),
            got(A, [{'EXIT', B, noconnection}]),
            Ref = do(A, {monitor, B}),
            got(A, [{'DOWN', Ref, process, B, noconnection}]),
            false = lists:member(node(B), connected(A)),
            up(A, B),
            do(A, {send, B, heard}),
            got(B, [heard]),
            down(A, B),
            up(B, A),
            down(A, B)
        end}
    ].

once() ->
    [
        {"a node that was lost is barred, and comes back by itself or when it is called", fun(A, B) ->
            do(A, {send, B, first}),
            got(B, [first]),
            monitor_node(A, B, true),
            down(B, A),
            got(A, [{nodedown, node(B)}]),
            do(A, {send, B, lost}),
            pang = on(A, net_adm, ping, [node(B)]),
            monitor_node(A, B, true),
            got(A, [{nodedown, node(B)}]),
            up(A, B),
            down(A, B),
            do(A, {send, B, lost}),
            up(B, A),
            do(A, {send, B, heard}),
            got(B, [heard]),
            down(A, B)
        end},
        {"a passive connect waits for the node", fun(A, B) ->
            up(A, B),
            down(A, B),
            %% In OTP the process waits in the call.
            Waits = tell(A, {monitor_node, node(B), true, [allow_passive_connect]}),
            up(B, A),
            true = await(Waits),
            down(A, B),
            got(A, [{nodedown, node(B)}])
        end},
        {"a passive connect does not wait for ever", fun(A, B) ->
            up(A, B),
            down(A, B),
            true = do(A, {monitor_node, node(B), true, [allow_passive_connect]}),
            got(A, [{nodedown, node(B)}])
        end}
    ].

allow() ->
    [
        {"only who is allowed may connect, in either direction", fun(A, B) ->
            error = on(A, net_kernel, allow, [[1]]),
            error = on(A, net_kernel, allow, [x]),
            ok = on(A, net_kernel, allow, [[]]),
            {ok, []} = on(A, net_kernel, allowed, []),
            up(A, B),
            ok = on(A, net_kernel, allow, [[node()]]),
            {ok, [Director]} = on(A, net_kernel, allowed, []),
            Director = node(),
            %% Connections that are there stay, and whoever asks for them is told so.
            true = lists:member(node(B), connected(A)),
            true = on(A, net_kernel, connect_node, [node(B)]),
            down(A, B),
            cannot_connect(A, B),
            cannot_connect(B, A),
            pang = on(A, net_adm, ping, [node(B)]),
            [Head, _] = string:split(atom_to_list(node(B)), "@"),
            %% A name without a host lets any host's in, and none out.
            ok = on(A, net_kernel, allow, [[list_to_atom(Head ++ "@")]]),
            cannot_connect(A, B),
            up(B, A),
            down(A, B),
            ok = on(A, net_kernel, allow, [[node(B)]]),
            up(A, B),
            down(A, B)
        end}
    ].

%% What a node answers to calls that change nothing that others could see. `{Call, Answer}` of each,
%% with the node's own name as `'N'`.
answers(Node) ->
    Calls = [
        {net_kernel, allowed, []},
        {net_kernel, monitor_nodes, [1]},
        {net_kernel, monitor_nodes, [true]},
        {net_kernel, monitor_nodes, [true, [foo, bar, {node_type, x}]]},
        {net_kernel, monitor_nodes, [true, [foo, bar]]},
        {net_kernel, monitor_nodes, [true, #{a => 1, node_type => 1}]},
        {net_kernel, monitor_nodes,
            [true, [nodedown_reason, {connection_id, true}, connection_id, {nodedown_reason, false}]]},
        {net_kernel, monitor_nodes, [true, #{nodedown_reason => 1}]},
        {net_kernel, monitor_nodes, [true, #{connection_id => x}]},
        {net_kernel, monitor_nodes, [true, #{node_type => x, nodedown_reason => y}]},
        {net_kernel, monitor_nodes, [true, [{node_type, all}, {node_type, all}]]},
        {net_kernel, monitor_nodes,
            [true, [{node_type, all}, {node_type, hidden}, {node_type, visible}]]},
        {net_kernel, monitor_nodes, [true, x]},
        {net_kernel, monitor_nodes, [1, x]},
        {net_kernel, monitor_nodes, [true, [{node_type, x}, {node_type, y}]]},
        {net_kernel, monitor_nodes, [false, [foo]]},
        {net_kernel, monitor_nodes, [true, #{node_type => x, connection_id => y}]},
        {net_kernel, connect_node, ['N']},
        {net_kernel, connect_node, [a]},
        {net_kernel, connect_node, ['nobody@127.0.0.1']},
        {net_kernel, hidden_connect_node, ['N']},
        {net_kernel, disconnect, ['N']},
        {net_kernel, disconnect, [nobody]},
        {net_kernel, allow, [[]]},
        {net_kernel, allow, [x]},
        {net_kernel, allow, [[1]]},
        {erlang, node, []},
        {erlang, is_alive, []},
        {erlang, nodes, []},
        {erlang, nodes, [visible]},
        {erlang, nodes, [foo]},
        {erlang, nodes, [[]]},
        {erlang, nodes, [[this, this]]},
        {erlang, nodes, [[visible, x]]},
        {erlang, nodes, [[a]]},
        {erlang, nodes, [1]},
        {erlang, nodes, [hidden]},
        {erlang, nodes, [this]},
        {erlang, nodes, [[connected, this]]},
        {erlang, nodes, [this, #{}]},
        {erlang, nodes, [this, #{connection_id => true, node_type => true}]},
        {erlang, nodes, [this, #{x => true}]},
        {erlang, nodes, [this, #{node_type => x}]},
        {erlang, nodes, [this, []]},
        {erlang, nodes, [foo, #{}]},
        {erlang, nodes, [this, #{node_type => false}]},
        {erlang, nodes, [visible, #{node_type => true}]},
        {erlang, monitor_node, [1, true]},
        {erlang, monitor_node, [a, 1]},
        {erlang, monitor_node, [a, true, []]},
        {erlang, monitor_node, [a, true, [x]]},
        {erlang, monitor_node, [a, true, x]},
        {erlang, monitor_node, ['N', true, [allow_passive_connect]]},
        {erlang, monitor_node, [a, false, [allow_passive_connect]]},
        {erlang, disconnect_node, [1]},
        {erlang, disconnect_node, [a]},
        {erlang, disconnect_node, ['N']},
        {erlang, get_cookie, []},
        {erlang, get_cookie, [1]},
        {erlang, get_cookie, [a]},
        {erlang, get_cookie, ['N']},
        {erlang, get_cookie, ['nonode@nohost']},
        {erlang, set_cookie, [1]},
        {erlang, set_cookie, ["a", b]},
        {erlang, set_cookie, ['nonode@nohost', a]},
        {erlang, set_cookie, [some@where, thing]},
        {erlang, get_cookie, [some@where]},
        {erlang, set_cookie, ['N', c]}
    ],
    [{Call, answer(Node, Call)} || Call <- Calls].

answer(Node, {M, F, A}) ->
    Named = fun
        ('N') -> Node;
        (Argument) -> Argument
    end,
    try erpc:call(Node, M, F, [Named(Argument) || Argument <- A], deadline()) of
        Answer -> unnamed(Answer, Node)
    catch
        error:{exception, Reason, _} -> {error, Reason};
        Class:Reason -> {Class, Reason}
    end.

unnamed(Node, Node) -> 'N';
unnamed(List, Node) when is_list(List) -> [unnamed(Element, Node) || Element <- List];
unnamed(Tuple, Node) when is_tuple(Tuple) ->
    list_to_tuple(unnamed(tuple_to_list(Tuple), Node));
unnamed(Term, _) -> Term.

%%% What rows are made of.

watch(A, Options) ->
    ok = do(A, {monitor_nodes, true, Options}).

unwatch(A, Options) ->
    ok = do(A, {monitor_nodes, false, Options}).

monitor_node(A, B, On) when is_pid(B) ->
    monitor_node(A, node(B), On);
monitor_node(A, Node, On) ->
    true = do(A, {monitor_node, Node, On, []}).

%% The node of A connects to that of B; both have the connection then. In OTP the list of nodes is
%% ahead of net_kernel, which may still have to hear that the last connection is down, and takes it
%% for the one that is asked for, or that the new one is up, and does not disconnect it yet.
up(A, B) ->
    until(fun() ->
        true = on(A, net_kernel, connect_node, [node(B)]),
        lists:member(node(A), connected(B))
    end),
    has_heard(B, A).

%% The net_kernel of A has the connection to B that its node lists: before that it does not answer.
has_heard(A, B) ->
    true = on(A, net_kernel, connect_node, [node(B)]).

%% The node of A cannot connect to that of B, as soon as its net_kernel has heard that the last
%% connection is down.
cannot_connect(A, B) ->
    until(fun() -> not on(A, net_kernel, connect_node, [node(B)]) end),
    false = lists:member(node(B), connected(A)).

%% The node of A parts from that of B; both are without it then.
down(A, B) ->
    true = on(A, erlang, disconnect_node, [node(B)]),
    until(fun() -> not lists:member(node(A), connected(B)) end).

%% The next messages that a puppet gets are some from the front of these, and then the last.
as_many_as_come(A, Messages, Last) ->
    receive
        {signal, A, Last} -> ok;
        {signal, A, Message} when Message =:= hd(Messages) ->
            as_many_as_come(A, tl(Messages), Last)
    after deadline() -> error({A, does_not_get, Messages, Last})
    end.

connected(A) ->
    on(A, erlang, nodes, [connected]).

%% The number of the connection of A's node to B's.
id(A, B) ->
    Rows = on(A, erlang, nodes, [connected, #{connection_id => true}]),
    #{connection_id := Id} = proplists:get_value(node(B), Rows),
    true = is_integer(Id),
    Id.

on(A, M, F, Arguments) ->
    erpc:call(node(A), M, F, Arguments, deadline()).

until(Holds) ->
    until(Holds, erlang:monotonic_time(millisecond) + deadline()).

until(Holds, Until) ->
    case Holds() of
        true ->
            ok;
        false ->
            erlang:monotonic_time(millisecond) < Until orelse error(never_holds),
            timer:sleep(5),
            until(Holds, Until)
    end.
