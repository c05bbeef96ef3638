%% What an Erlang node does and sees while it becomes alive and ceases to be, step by step.
-module(krarup_life).
-export([step/3]).

step(Module, Function, Arguments) ->
    plain(try do(Module, Function, Arguments) catch error:Reason -> {raised, Reason} end).

do(life, subscribe, []) ->
    net_kernel:monitor_nodes(true, [nodedown_reason, {node_type, all}, connection_id]);
%% The next so many messages.
do(life, messages, [Count]) ->
    [receive Message -> Message after 20000 -> missing end || _ <- lists:seq(1, Count)];
do(life, left_over, []) ->
    receive Message -> Message after 0 -> nothing end;
%% A process that lives through everything, registered and monitored.
do(life, keep, []) ->
    Asker = self(),
    Kept = spawn(fun() ->
        register(kept, self()),
        Asker ! registered,
        kept()
    end),
    receive registered -> ok end,
    put(kept, Kept),
    erlang:monitor(process, Kept),
    true;
do(life, ask_kept, []) ->
    get(kept) ! {self(), hello},
    receive {answer, Answer} -> {Answer, whereis(kept) =:= get(kept)} after 20000 -> missing end;
do(life, end_kept, []) ->
    get(kept) ! stop,
    true;
do(life, watch, [Node, Name]) ->
    is_reference(erlang:monitor(process, {Name, Node}));
%% How the creation has changed since it was looked at last.
do(life, creation, []) ->
    case {put(creation, erlang:system_info(creation)), get(creation)} of
        {_, 0} -> none;
        {Before, Now} when Now =:= Before + 1 -> next;
        {Before, Before} -> same;
        {_, Now} when Now > 3 -> other
    end;
do(Module, Function, Arguments) ->
    apply(Module, Function, Arguments).

kept() ->
    receive
        {From, Question} -> From ! {answer, Question}, kept();
        stop -> ok
    end.

%% Without what differs from run to run.
plain(Pid) when is_pid(Pid) -> 'PID';
plain(Reference) when is_reference(Reference) -> 'REFERENCE';
plain([First | Rest]) -> [plain(First) | plain(Rest)];
plain({error, {{shutdown, _}, _}}) -> {error, nodistribution};
plain(Tuple) when is_tuple(Tuple) -> list_to_tuple(plain(tuple_to_list(Tuple)));
plain(Map) when is_map(Map) -> maps:map(fun(_, Value) -> plain(Value) end, Map);
plain(Other) -> Other.
