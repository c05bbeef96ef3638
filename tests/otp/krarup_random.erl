%% What the nodes of a random test of membership do (`src/membership`): calls of a node that is tried,
%% looks at what it sees, and orders to puppets there. Nothing here knows whether it is OTP or Krarup.
-module(krarup_random).
-export([quiet/0, is_gone/1, stop/0, puppets/2, call/5, tell/2, look/1, accept/0, caught/1, peer_looks/1, cut/1]).

%% Keeps this node from writing to each node that comes up, which connects it again when it has gone
%% already.
quiet() ->
    logger:set_primary_config(level, none),
    spawn(fun() ->
        #{nodes_observer := {Observer, _}} = sys:get_state(rex),
        true = erlang:suspend_process(Observer),
        receive
        after infinity -> ok
        end
    end),
    ok.

%% Whether a node is not connected any more, and its name is free.
is_gone(Node) ->
    [Name | _] = string:split(atom_to_list(Node), "@"),
    {ok, Registered} = net_adm:names('127.0.0.1'),
    not (lists:member(Node, nodes(connected)) orelse lists:keymember(Name, 1, Registered)).

%% Ends the distribution here, and returns when the name is free: epmd sees its connection close a
%% little later.
stop() ->
    Node = node(),
    Stopped = net_kernel:stop(),
    await_gone(Node),
    Stopped.

await_gone(Node) ->
    case is_gone(Node) of
        true ->
            ok;
        false ->
            receive
            after 1 -> await_gone(Node)
            end
    end.

%% Starts puppets on the node that is tried. They are those that `tell/2` and `look/1` know.
puppets(Node, Count) ->
    erase(),
    flush(),
    Puppets = [call_puppet(Node) || _ <- lists:seq(1, Count)],
    put(puppets, Puppets),
    [put({told, Puppet}, []) || Puppet <- Puppets],
    ok.

call_puppet(Node) ->
    erpc:call(Node, krarup_puppet, start, [self()], deadline()).

%% What a call gives, in one of the ways to call.
call(erpc, Node, M, F, A) ->
    ordered(F, A, caught(fun() -> erpc:call(Node, M, F, A, deadline()) end));
call(rpc, Node, M, F, A) ->
    ordered(F, A, caught(fun() -> rpc:call(Node, M, F, A, deadline()) end)).

%% What a function gives, or how it fails, without what is of this run only.
caught(Fun) ->
    general(
        try
            {returned, Fun()}
        catch
            error:{exception, Reason, Stack} -> {error, Reason, Stack};
            Class:Reason -> {Class, Reason}
        end
    ).

%% Tells a puppet what to do, and waits until it has.
tell(Number, Order) ->
    Puppet = lists:nth(Number, get(puppets)),
    Ref = make_ref(),
    Puppet ! {do, self(), Ref, Order},
    receive
        {done, Ref, Result} -> general(Result)
    after deadline() -> not_done
    end.

%% What the node sees, and what its puppets were told and `accept/0` has not taken.
look(Node) ->
    hear(),
    Ask = fun(M, F, A) -> call(erpc, Node, M, F, A) end,
    {
        Ask(erlang, nodes, [[connected, this], #{connection_id => true, node_type => true}]),
        [{Set, Ask(erlang, nodes, [Set])} || Set <- [visible, hidden]],
        [{F, Ask(net_kernel, F, [])} || F <- [get_net_ticktime, allowed, get_state]],
        [Ask(erlang, get_cookie, [])] ++
            [Ask(erlang, get_cookie, [Of]) || Of <- ['p@127.0.0.1', 'h@127.0.0.1', nobody]],
        [{told, as_ordered(get({told, Puppet}))} || Puppet <- get(puppets)],
        is_at_rest(Node)
    }.

%% Of an OTP node: no connection is being made, or ended.
is_at_rest(Node) ->
    try erpc:call(Node, ets, tab2list, [sys_dist], deadline()) of
        Connections -> at_rest(Connections)
    catch
        error:{exception, undef, _} -> true
    end.

at_rest(Connections) ->
    lists:all(fun(Connection) -> element(4, Connection) =:= up end, Connections).

%% How this node sees the one that is tried.
peer_looks(Node) ->
    Rest = ets:whereis(sys_dist) =:= undefined orelse at_rest(ets:tab2list(sys_dist)),
    case lists:keyfind(Node, 1, nodes(connected, #{node_type => true})) of
        {_, #{node_type := Type}} -> {Type, Rest};
        false -> {none, Rest}
    end.

%% Ends the connection without a word.
cut(Node) ->
    case lists:keyfind(Node, 1, erlang:system_info(dist_ctrl)) of
        {_, Port} -> exit(Port, kill);
        false -> false
    end.

%% What the puppets were told up to the last look is taken as right.
accept() ->
    [put({told, Puppet}, []) || Puppet <- get(puppets)],
    ok.

%% Which comes first of the DOWN messages and what `monitor_node` tells of one connection OTP does not
%% say: erts goes through them as they lie.
as_ordered(Messages) ->
    case lists:splitwith(fun is_unordered/1, Messages) of
        {[], []} -> [];
        {[], [Message | Rest]} -> [Message | as_ordered(Rest)];
        {Run, Rest} -> lists:sort(Run) ++ as_ordered(Rest)
    end.

is_unordered({nodedown, _}) -> true;
is_unordered({'DOWN', _, process, _, _}) -> true;
is_unordered(_) -> false.

hear() ->
    receive
        {signal, Puppet, Message} ->
            put({told, Puppet}, get({told, Puppet}) ++ [general(Message)]),
            hear()
    after 0 -> ok
    end.

flush() ->
    receive
        _ -> flush()
    after 0 -> ok
    end.

%% The order of these is nobody's business.
ordered(nodes, _, {returned, List}) when is_list(List) -> {returned, lists:sort(List)};
ordered(allowed, _, {returned, {ok, List}}) -> {returned, {ok, lists:usort(List)}};
ordered(_, _, Answer) -> Answer.

%% Connections are counted as they are seen. Ports, pids and references are of this run, and of a stack trace only the first line is the function's own.
general({News, Node, Info}) when News =:= nodeup; News =:= nodedown ->
    {News, Node, numbered(Node, Info)};
general({Node, Info}) when is_atom(Node), is_map(Info) -> {Node, numbered(Node, Info)};
general(Pid) when is_pid(Pid) -> a_pid;
general(Ref) when is_reference(Ref) -> a_reference;
general({Name, Port}) when is_list(Name), is_integer(Port), Port > 1023 -> {Name, a_port};
general([{M, F, A, L} | _] = Stack) when is_atom(M), is_atom(F), is_list(L) ->
    case A of
        _ when is_integer(A) -> [{M, F, A}];
        _ when is_list(A) -> [{M, F, length(A)}];
        _ -> [general(Frame) || Frame <- Stack]
    end;
general([Head | Tail]) -> [general(Head) | general(Tail)];
general(Tuple) when is_tuple(Tuple) ->
    list_to_tuple([general(Element) || Element <- tuple_to_list(Tuple)]);
general(Term) -> Term.

numbered(Node, #{connection_id := Id} = Info) when is_integer(Id) ->
    Info#{connection_id := number(Node, Id)};
numbered(Node, [{connection_id, Id} | Info]) when is_integer(Id) ->
    [{connection_id, number(Node, Id)} | Info];
numbered(_, Info) ->
    Info.

%% How many connections of the node have been seen up to this one. Attempts that fail have numbers too
%% on OTP nodes, so that only the order counts.
number(Node, Id) ->
    Seen =
        case get({connections, Node}) of
            undefined -> [];
            Ids -> Ids
        end,
    case lists:dropwhile(fun(Known) -> Known =/= Id end, Seen) of
        [] ->
            [Last | _] = Seen ++ [Id - 1],
            true = ((Id - Last) band 16#ffffff) < 1 bsl 23,
            put({connections, Node}, [Id | Seen]),
            length(Seen) + 1;
        Since ->
            length(Since)
    end.

deadline() ->
    10000.
