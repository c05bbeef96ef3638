%% Calls `krarup_functions` of two nodes in every way there is, and compares the answers. This
%% module is on neither of them, so that its closures cannot run there.
-module(krarup_calls).
-export([compare/2]).

%% Returns where the answers of two nodes differ. A line of a stack trace counts as far as it is the
%% function's own.
compare(Node, Other) ->
    process_flag(trap_exit, true),
    Calls = calls(),
    [
        text("~0tP: ~0tP, not ~0tP", [Name, 20, Answer, 40, OtherAnswer, 40])
     || {Name, Call} <- Calls,
        Answer <- [answer(Call, Node)],
        OtherAnswer <- [answer(Call, Other)],
        Answer =/= OtherAnswer
    ].

text(Format, Arguments) ->
    lists:flatten(io_lib:format(Format, Arguments)).

answer(Call, Node) ->
    Answer =
        try
            {returned, Call(Node)}
        catch
            Class:Reason -> {Class, Reason}
        end,
    Surplus = mailbox(),
    general({Answer, Surplus}, Node).

%% What differs by nature is made the same: the node, its processes, and how deep its stack is.
general(Pid, Node) when is_pid(Pid), node(Pid) =:= Node -> a_process;
general(Ref, _) when is_reference(Ref) -> a_reference;
general(Node, Node) -> the_node;
general([{M, F, A, L} | _] = Stack, Node) when is_atom(M), is_atom(F), is_list(L) ->
    case is_integer(A) orelse is_list(A) of
        true -> {stack, M, F, A};
        false -> [general(Frame, Node) || Frame <- Stack]
    end;
general([Head | Tail], Node) -> [general(Head, Node) | general(Tail, Node)];
general(Tuple, Node) when is_tuple(Tuple) ->
    list_to_tuple([general(Element, Node) || Element <- tuple_to_list(Tuple)]);
general(Term, _) -> Term.

calls() ->
    M = krarup_functions,
    Large = #{binary:copy(<<1>>, 200000) => lists:seq(1, 2000), {} => [fun lists:map/2]},
    Plain = [
        {zero, []},
        {add, [1, 2]},
        {add, [-(1 bsl 40), 1 bsl 41]},
        {give, [Large]},
        {give, ["text"]},
        {give, [{'EXIT', text}]},
        {fail, [error, badarg]},
        {fail, [error, {erpc, of_mine}]},
        {fail, [exit, {shutdown, 1}]},
        {fail, [exit, normal]},
        {fail, [throw, ball]},
        {add, [1]},
        {nothing, []},
        {nothing, [1, two]}
    ],
    Ways = [
        {erpc, fun(N, F, A) -> erpc:call(N, M, F, A, 5000) end},
        {rpc, fun(N, F, A) -> rpc:call(N, M, F, A, 5000) end},
        {rpc_for_ever, fun(N, F, A) -> rpc:call(N, M, F, A) end},
        {block_call, fun(N, F, A) -> rpc:block_call(N, M, F, A, 5000) end},
        {spawn_monitor, fun(N, F, A) -> down(spawn_monitor(N, M, F, A)) end},
        {spawn_link, fun(N, F, A) -> exited(spawn_link(N, M, F, A)) end},
        {spawn_opt, fun(N, F, A) ->
            {Pid, Ref} = spawn_opt(N, M, F, A, [link, monitor, {priority, low}]),
            {down({Pid, Ref}), exited(Pid)}
        end}
    ],
    [{{Name, F, A}, fun(N) -> Way(N, F, A) end} || {Name, Way} <- Ways, {F, A} <- Plain] ++
        [
            {multicall, fun(N) -> erpc:multicall([N, N], M, add, [1, 2], 5000) end},
            {multicall_fails, fun(N) -> erpc:multicall([N], M, fail, [exit, oops], 5000) end},
            {rpc_multicall, fun(N) -> rpc:multicall([N, N], M, add, [1, 2], 5000) end},
            {rpc_multicall_fails, fun(N) -> rpc:multicall([N], M, fail, [exit, oops], 5000) end},
            {async_call, fun(N) -> rpc:yield(rpc:async_call(N, M, add, [1, 2])) end},
            {responses, fun(N) ->
                Requests = [erpc:send_request(N, M, add, [1, I]) || I <- lists:seq(1, 20)],
                [erpc:receive_response(Request, 5000) || Request <- Requests]
            end},
            {say, fun(N) -> {erpc:call(N, M, say, [self(), hello], 5000), next()} end},
            {cast, fun(N) -> {erpc:cast(N, M, say, [self(), hello]), next()} end},
            {rpc_cast, fun(N) -> {rpc:cast(N, M, say, [self(), hello]), next()} end},
            {cast_to_nothing, fun(N) -> erpc:cast(N, M, nothing, [1]) end},
            {spawn, fun(N) ->
                Pid = spawn(N, M, say, [self(), hello]),
                {Pid, Text} = next(),
                Text
            end},
            {fun_of_module, fun(N) -> erpc:call(N, fun M:zero/0, 5000) end},
            {fun_of_nothing, fun(N) -> erpc:call(N, fun M:nothing/0, 5000) end},
            {spawned_fun, fun(N) -> down(spawn_monitor(N, fun M:zero/0)) end},
            {spawned_fun_of_nothing, fun(N) -> down(spawn_monitor(N, fun nobody:nothing/0)) end},
            {apply, fun(N) -> erpc:call(N, erlang, apply, [M, add, [1, 2]], 5000) end},
            {apply_fun, fun(N) -> erpc:call(N, erlang, apply, [fun M:add/2, [1, 2]], 5000) end},
            {apply_fun_badly, fun(N) -> erpc:call(N, erlang, apply, [fun M:add/2, [1]], 5000) end},
            {apply_nonsense, fun(N) -> erpc:call(N, erlang, apply, [1, two, [3]], 5000) end},
            {apply_no_list, fun(N) -> erpc:call(N, erlang, apply, [M, add, 3], 5000) end},
            {apply_no_fun, fun(N) -> erpc:call(N, erlang, apply, [nothing, []], 5000) end},
            {apply_fun_no_list, fun(N) -> erpc:call(N, erlang, apply, [fun M:add/2, 2], 5000) end},
            {apply_nothing, fun(N) -> erpc:call(N, erlang, apply, [1, 2], 5000) end},
            {apply_alone, fun(N) -> erpc:call(N, erlang, apply, [fun M:zero/0], 5000) end},
            {spawned_closure, fun(N) ->
                down(spawn_monitor(N, erlang, apply, [fun(X) -> X end, [1]]))
            end},
            {spawned_closure_badly, fun(N) ->
                down(spawn_monitor(N, erlang, apply, [fun(X) -> X end, []]))
            end},
            {spawned_fun_badly, fun(N) ->
                down(spawn_monitor(N, erlang, apply, [fun M:add/2, [1]]))
            end},
            {time_out, fun(N) ->
                {error, {erpc, timeout}} =
                    try
                        erpc:call(N, M, await, [self()], 200)
                    catch
                        Class:Reason -> {Class, Reason}
                    end,
                %% It runs on, and its answer is for nobody.
                Waiting = next(),
                Ref = monitor(process, Waiting),
                Waiting ! over,
                down_late(Ref)
            end},
            {answered_later, fun(N) ->
                Request = erpc:send_request(N, M, await, [self()]),
                no_response = erpc:wait_response(Request, 0),
                Waiting = next(),
                Waiting ! finally,
                erpc:wait_response(Request, 5000)
            end},
            {killed, fun(N) ->
                Request = erpc:send_request(N, M, await, [self()]),
                exit(next(), kill),
                erpc:receive_response(Request, 5000)
            end},
            {ended, fun(N) ->
                Request = erpc:send_request(N, M, await, [self()]),
                exit(next(), {shutdown, why}),
                erpc:receive_response(Request, 5000)
            end},
            {linked, fun(N) ->
                Pid = spawn_link(N, M, await, [self()]),
                Pid = next(),
                exit(Pid, over),
                exited(Pid)
            end},
            {unlinked, fun(N) ->
                Pid = spawn_link(N, M, await, [self()]),
                Pid = next(),
                unlink(Pid),
                Ref = monitor(process, Pid),
                exit(Pid, over),
                down({Pid, Ref})
            end},
            {demonitored, fun(N) ->
                {Pid, Ref} = spawn_monitor(N, M, await, [self()]),
                Pid = next(),
                true = demonitor(Ref, [info]),
                Again = monitor(process, Pid),
                exit(Pid, over),
                down({Pid, Again})
            end}
        ] ++
        [{{spawn_request, O}, fun(N) -> request(N, M, zero, [], O) end} || O <- options()] ++
        [
            {{bad_request, O}, fun(N) -> request(N, M, zero, [], [{unknown, 1} | O]) end}
         || O <- options()
        ].

options() ->
    [
        [],
        [link],
        [monitor],
        [link, monitor],
        [{monitor, [{tag, my_down}]}],
        [{reply_tag, {my, tag}}],
        [{reply, yes}, monitor],
        [{reply, no}],
        [{reply, error_only}],
        [{reply, success_only}],
        [{reply, no}, monitor],
        [{reply, error_only}, link],
        [{min_heap_size, 1000}, {priority, high}, {message_queue_data, off_heap}],
        [{max_heap_size, 100000}, {fullsweep_after, 3}, {min_bin_vheap_size, 3}]
    ].

%% All that comes of a spawn request, in order.
request(Node, M, F, A, Options) ->
    Ref = spawn_request(Node, M, F, A, Options),
    Barrier = fun() ->
        %% The requests of one process are answered in order.
        Last = spawn_request(Node, M, zero, [], [monitor, {reply_tag, last}]),
        receive
            {'DOWN', Last, process, _, normal} -> ok
        after 5000 -> error(no_barrier)
        end
    end,
    Barrier(),
    Barrier(),
    About = [Message || Message <- mailbox(), element(1, Message) =/= last, is(Ref, Message)],
    [general(Message, Node) || Message <- About].

%% Whether a message is about a request: an exit does not say.
is(Ref, Message) ->
    element(1, Message) =:= 'EXIT' orelse lists:member(Ref, tuple_to_list(Message)).

down({Pid, Ref}) ->
    receive
        {'DOWN', Ref, process, Pid, Reason} -> Reason
    after 5000 -> timeout
    end.

down_late(Ref) ->
    receive
        {'DOWN', Ref, process, _, {Mark, return, Value}} when is_reference(Mark) -> Value;
        {'DOWN', Ref, process, _, Reason} -> Reason
    after 5000 -> timeout
    end.

exited(Pid) ->
    receive
        {'EXIT', Pid, Reason} -> Reason
    after 5000 -> timeout
    end.

next() ->
    receive
        Message -> Message
    after 5000 -> timeout
    end.

mailbox() ->
    receive
        Message -> [Message | mailbox()]
    after 0 -> []
    end.
