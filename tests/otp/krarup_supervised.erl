%% A supervisor, and what `supervisor` says of one, wherever it is.
-module(krarup_supervised).
-export([start/0, init/1, child/1, play/1]).

start() ->
    {ok, Pid} = supervisor:start_link({local, tree}, krarup_supervised, tree),
    %% It ends with its children, not with who started it.
    unlink(Pid),
    ok.

init(tree) ->
    Child = fun(Id, Restart) ->
        #{id => Id, start => {krarup_supervised, child, [Id]}, restart => Restart, modules => []}
    end,
    Start = {supervisor, start_link, [krarup_supervised, branch]},
    Branch = #{id => s, start => Start, type => supervisor, modules => []},
    {ok, {#{strategy => rest_for_one, intensity => 4, period => 3600}, [
        Child(a, permanent),
        Child(b, transient),
        Child(c, temporary),
        Child(d, permanent),
        Branch,
        Child(e, temporary)
    ]}};
init(branch) ->
    {ok, {#{}, []}}.

child(Id) ->
    Starter = self(),
    Pid = spawn_link(fun() ->
        register(Id, self()),
        Starter ! {Id, self()},
        receive Reason -> exit(Reason) end
    end),
    receive {Id, Pid} -> {ok, Pid} end.

%% What each question is answered, with `pid` for pids.
play(Node) ->
    Sup = {tree, Node},
    Monitor = monitor(process, Sup),
    Which = fun() -> supervisor:which_children(Sup) end,
    Pids = fun() -> [{Id, Pid} || {Id, Pid, _, _} <- Which(), is_pid(Pid)] end,
    Look = fun() -> {Which(), supervisor:count_children(Sup)} end,
    %% Ends a child and waits until those whose pids are to change have new ones, or none.
    End = fun(Id, Reason, Changed) ->
        Before = Pids(),
        {Id, Pid} = lists:keyfind(Id, 1, Before),
        Pid ! Reason,
        wait(fun() ->
            After = Pids(),
            lists:all(fun(C) ->
                lists:keyfind(C, 1, After) =/= lists:keyfind(C, 1, Before)
            end, Changed)
        end),
        {[Kept || {Kept, P} <- Before, lists:member({Kept, P}, Pids())], Look()}
    end,
    Steps = [
        Look,
        fun() -> supervisor:restart_child(Sup, a) end,
        fun() -> supervisor:delete_child(Sup, a) end,
        fun() -> supervisor:restart_child(Sup, nobody) end,
        fun() -> supervisor:terminate_child(Sup, nobody) end,
        fun() -> supervisor:delete_child(Sup, <<"a">>) end,
        fun() -> End(a, failed, [a, b, c, d, s, e]) end,
        fun() -> End(d, failed, [d, s]) end,
        fun() -> End(b, {shutdown, done}, [b]) end,
        fun() -> End(d, normal, [d, s]) end,
        fun() -> supervisor:restart_child(Sup, b) end,
        fun() -> End(b, {normal, done}, [b, d, s]) end,
        fun() -> supervisor:terminate_child(Sup, b) end,
        fun() -> supervisor:terminate_child(Sup, b) end,
        Look,
        fun() -> supervisor:delete_child(Sup, b) end,
        fun() -> supervisor:delete_child(Sup, b) end,
        Look,
        fun() ->
            {d, Pid} = lists:keyfind(d, 1, Pids()),
            Pid ! failed,
            receive {'DOWN', Monitor, process, _, Reason} -> {ended, Reason} after 20000 -> runs end
        end,
        fun() -> try Which() catch exit:{Why, _} -> Why end end
    ],
    [plain(Step()) || Step <- Steps].

wait(Condition) ->
    wait(Condition, erlang:monotonic_time(millisecond) + 20000).

wait(Condition, Deadline) ->
    case Condition() orelse erlang:monotonic_time(millisecond) > Deadline of
        true -> ok;
        false -> timer:sleep(5), wait(Condition, Deadline)
    end.

plain(Pid) when is_pid(Pid) -> pid;
plain(Tuple) when is_tuple(Tuple) -> list_to_tuple(plain(tuple_to_list(Tuple)));
plain([Head | Tail]) -> [plain(Head) | plain(Tail)];
plain(Other) -> Other.
