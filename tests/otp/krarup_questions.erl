%% Many processes that ask a node everything that OTP itself has an answer for, at random and
%% without pause. Each question has a deadline; a question that nobody has to answer (a request that
%% a server does not know) is asked with a timeout of its own and has to come back all the same.
-module(krarup_questions).
-export([ask/5]).

%% Asks for so many milliseconds. Pid is a process of the node that lives as long and ends for
%% nobody but `kill`. Returns `{ok, Asked}`, or up to ten complaints, each with the question.
ask(Node, Pid, Seed, Askers, Millis) ->
    Until = now_ms() + Millis,
    Workers = [
        spawn_monitor(fun() ->
            rand:seed(exsss, {Seed, Number, 0}),
            process_flag(trap_exit, true),
            exit(asker(Node, Pid, Until, 0, []))
        end)
     || Number <- lists:seq(1, Askers)
    ],
    Parts = [
        receive
            {'DOWN', Ref, process, Worker, Part} -> Part
        after max(0, Until - now_ms()) + 3 * deadline() ->
            {waits_for_ever, process_info(Worker, [dictionary, current_stacktrace, messages])}
        end
     || {Worker, Ref} <- Workers
    ],
    [exit(Worker, kill) || {Worker, _} <- Workers],
    Asked = lists:sum([Count || {asked, Count, _} <- Parts]),
    case lists:append([complaints(Part) || Part <- Parts]) of
        [] -> {ok, Asked};
        Complaints -> {Asked, length(Complaints), [short(C) || C <- lists:sublist(Complaints, 10)]}
    end.

%% A complaint without what is deep inside the terms that were sent.
short(Complaint) ->
    lists:flatten(io_lib:format("~0tP", [Complaint, 40])).

complaints({asked, _, Complaints}) -> Complaints;
complaints(Other) -> [Other].

asker(Node, Pid, Until, Asked, Complaints) ->
    case now_ms() >= Until orelse length(Complaints) > 3 of
        true ->
            {asked, Asked, Complaints};
        false ->
            {Name, Question} = one_of(questions()),
            put(question, Name),
            Start = now_ms(),
            Answer =
                try
                    Question(Node, Pid)
                catch
                    Class:Reason:Stack -> {Class, Reason, Stack}
                end,
            Took = now_ms() - Start,
            Wrong = [{Name, Answer} || Answer =/= ok],
            Late = [{Name, took, Took} || Took > deadline()],
            Surplus = [{Name, surplus, Message} || Message <- mailbox()],
            asker(Node, Pid, Until, Asked + 1, Wrong ++ Late ++ Surplus ++ Complaints)
    end.

%% The connection may be dropped while any of them waits: `noconnection` is an answer.
questions() ->
    [
        {"a monitor of nobody", fun(Node, _) ->
            Target = {nobody(), Node},
            Ref = monitor(process, Target),
            down(Ref, Target, [noproc])
        end},
        {"a monitor of a dead process", fun(Node, _) ->
            Target = dead(Node),
            Ref = monitor(process, Target),
            down(Ref, Target, [noproc])
        end},
        {"a monitor of a living process", fun(Node, Pid) ->
            Target = one_of([Pid, {echo, Node}, {net_kernel, Node}]),
            Ref = monitor(process, Target),
            case echo(Node) of
                answered ->
                    receive
                        {'DOWN', Ref, process, Target, noconnection} -> ok;
                        {'DOWN', Ref, process, Target, Reason} -> {it_lives, Reason}
                    after 0 -> gone(Ref)
                    end;
                noconnection ->
                    gone(Ref);
                Other ->
                    gone(Ref),
                    Other
            end
        end},
        {"a monitor that is taken back", fun(Node, Pid) ->
            gone(monitor(process, one_of([dead(Node), {nobody(), Node}, Pid, {echo, Node}])))
        end},
        {"a link to a dead process", fun(Node, _) ->
            Pid = dead(Node),
            link(Pid),
            exited(Pid, [noproc])
        end},
        {"a link to a living process", fun(Node, Pid) ->
            link(Pid),
            Answer = echo(Node),
            unlink(Pid),
            receive
                {'EXIT', Pid, noconnection} -> ok;
                {'EXIT', Pid, Reason} -> {it_lives, Reason}
            after 0 ->
                case Answer of
                    {no_answer, _} -> Answer;
                    _ -> ok
                end
            end
        end},
        {"a link that is taken back", fun(Node, _) ->
            Pid = dead(Node),
            link(Pid),
            unlink(Pid),
            receive
                {'EXIT', Pid, _} -> ok
            after 0 -> ok
            end
        end},
        {"an exit signal", fun(Node, Pid) ->
            exit(one_of([Pid, dead(Node)]), {shutdown, term(2)}),
            exit(dead(Node), kill),
            ok
        end},
        {"the echo of any term", fun(Node, _) ->
            case echo(Node) of
                {no_answer, Term} -> {no_answer, Term};
                _ -> ok
            end
        end},
        {"messages to nobody", fun(Node, _) ->
            {nobody(), Node} ! term(3),
            dead(Node) ! term(3),
            ok
        end},
        {"spawn_request", fun(Node, _) ->
            {Options, Reply} = spawn_options(),
            Tag = proplists:get_value(reply_tag, Options, spawn_reply),
            Ref = spawn_request(Node, nobody(), nobody(), terms(), Options),
            receive
                {Tag, Ref, ok, Pid} when is_pid(Pid), Reply =/= badopt -> undef(Pid, Ref, Options);
                {Tag, Ref, error, badopt} when Reply =:= badopt -> ok;
                {Tag, Ref, error, noconnection} -> ok;
                {Tag, Ref, _, _} = Other -> {Other, to, Options}
            after deadline() -> {no_reply, Options}
            end
        end},
        {"an abandoned spawn_request", fun(Node, _) ->
            Ref = spawn_request(Node, nobody(), nobody(), terms(), [monitor]),
            case spawn_request_abandon(Ref) of
                true ->
                    ok;
                false ->
                    receive
                        {spawn_reply, Ref, ok, Pid} -> undef(Pid, Ref, [monitor]);
                        {spawn_reply, Ref, error, noconnection} -> ok
                    after 0 -> abandoned_and_replied
                    end
            end
        end},
        {"spawn_opt", fun(Node, _) ->
            Options = [Option || Option <- spawn_options_of_others(), Option =/= {unknown, option}],
            case spawn_opt(Node, nobody(), nobody(), terms(), Options) of
                {Pid, Ref} -> undef(Pid, Ref, Options);
                Pid -> undef(Pid, none, Options)
            end
        end},
        {"spawn", fun(Node, _) ->
            Pid = spawn(Node, nobody(), nobody(), terms()),
            true = is_pid(Pid),
            ok
        end},
        {"spawn of a fun", fun(Node, _) ->
            %% This module is not there.
            Fun = fun() -> Node end,
            {Pid, Ref} = spawn_monitor(Node, Fun),
            down(Ref, Pid, [{undef, [{Fun, [], []}]}])
        end},
        {"spawn_link", fun(Node, _) ->
            undef(spawn_link(Node, nobody(), nobody(), terms()), none, [link])
        end},
        {"spawn_monitor", fun(Node, _) ->
            {Pid, Ref} = spawn_monitor(Node, nobody(), nobody(), terms()),
            undef(Pid, Ref, [monitor])
        end},
        {"erpc:call", fun(Node, _) ->
            {Module, Function, Arguments} = {nobody(), nobody(), terms()},
            try erpc:call(Node, Module, Function, Arguments, 2 * deadline()) of
                Value -> {returned, Value}
            catch
                error:{exception, undef, [{Module, Function, Arguments, []} | _]} -> ok;
                error:{erpc, noconnection} -> ok
            end
        end},
        {"a function of the node itself, with any arguments", fun(Node, Pid) ->
            {Module, Function, Usual} = one_of([
                {erlang, node, []},
                {erlang, nodes, [one_of([visible, connected, this, known])]},
                {erlang, is_alive, []},
                {erlang, whereis, [echo]},
                {erlang, is_process_alive, [Pid]},
                {erlang, system_info, [otp_release]},
                {erlang, get_cookie, []},
                {net_kernel, longnames, []},
                {application, which_applications, []},
                {code, is_loaded, [nobody()]},
                {code, which, [nobody()]},
                {global, whereis_name, [term(2)]}
            ]),
            Arguments = one_of([Usual, Usual, terms()]),
            try
                erpc:call(Node, Module, Function, Arguments, 2 * deadline()),
                ok
            catch
                error:{exception, _, _} -> ok;
                exit:{exception, _} -> ok;
                error:{erpc, noconnection} -> ok
            end
        end},
        {"erpc:send_request", fun(Node, _) ->
            Requests = [
                erpc:send_request(Node, nobody(), nobody(), terms())
             || _ <- lists:seq(1, rand:uniform(5))
            ],
            all_ok([
                try erpc:receive_response(Request, 2 * deadline()) of
                    Value -> {returned, Value}
                catch
                    error:{exception, undef, _} -> ok;
                    error:{erpc, noconnection} -> ok
                end
             || Request <- Requests
            ])
        end},
        {"erpc:multicall", fun(Node, _) ->
            Nodes = [Node, Node, Node],
            all_ok([
                case Result of
                    {error, {exception, undef, _}} -> ok;
                    {error, {erpc, noconnection}} -> ok;
                    _ -> Result
                end
             || Result <- erpc:multicall(Nodes, nobody(), nobody(), terms(), 2 * deadline())
            ])
        end},
        {"erpc:cast", fun(Node, _) ->
            erpc:cast(Node, nobody(), nobody(), terms())
        end},
        {"rpc:call", fun(Node, _) ->
            badrpc(rpc:call(Node, nobody(), nobody(), terms(), 2 * deadline()))
        end},
        {"rpc:call without a timeout", fun(Node, _) ->
            badrpc(rpc:call(Node, nobody(), nobody(), terms()))
        end},
        {"rpc:block_call", fun(Node, _) ->
            badrpc(rpc:block_call(Node, nobody(), nobody(), terms(), 2 * deadline()))
        end},
        {"rpc:async_call", fun(Node, _) ->
            badrpc(rpc:yield(rpc:async_call(Node, nobody(), nobody(), terms())))
        end},
        {"rpc:multicall", fun(Node, _) ->
            case rpc:multicall([Node, Node], nobody(), nobody(), terms(), 2 * deadline()) of
                {Results, Bad} when length(Results) + length(Bad) =:= 2 ->
                    all_ok([badrpc(Result) || Result <- Results]);
                Other ->
                    Other
            end
        end},
        {"rpc:cast", fun(Node, _) ->
            true = rpc:cast(Node, nobody(), nobody(), terms()),
            ok
        end},
        {"gen_server:call of nobody", fun(Node, _) ->
            Server = one_of([{nobody(), Node}, dead(Node)]),
            no_server(fun() -> gen_server:call(Server, term(3), 2 * deadline()) end, Node)
        end},
        {"gen_server:call of nobody, without a timeout", fun(Node, _) ->
            Server = one_of([{nobody(), Node}, dead(Node)]),
            no_server(fun() -> gen_server:call(Server, term(3), infinity) end, Node)
        end},
        {"other calls of nobody", fun(Node, _) ->
            Server = one_of([{nobody(), Node}, dead(Node)]),
            no_server(
                one_of([
                    fun() -> gen_statem:call(Server, term(2), 2 * deadline()) end,
                    fun() -> gen_statem:call(Server, term(2)) end,
                    fun() -> gen_event:call(Server, handler, term(2), 2 * deadline()) end,
                    fun() -> gen_server:stop(Server, normal, 2 * deadline()) end,
                    fun() -> sys:get_state(Server, 2 * deadline()) end,
                    fun() -> supervisor:which_children(Server) end
                ]),
                Node
            )
        end},
        {"gen_server:multi_call of nobody", fun(Node, _) ->
            case gen_server:multi_call([Node], nobody(), term(2), 2 * deadline()) of
                {[], [Node]} -> ok;
                Other -> Other
            end
        end},
        {"gen_server:cast", fun(Node, Pid) ->
            ok = gen_server:cast(one_of([{nobody(), Node}, dead(Node), Pid]), term(3)),
            abcast = gen_server:abcast([Node], nobody(), term(2)),
            ok
        end},
        {"a call that net_kernel knows", fun(Node, _) ->
            try gen_server:call({net_kernel, Node}, {is_auth, node()}, 2 * deadline()) of
                yes -> ok;
                Other -> Other
            catch
                exit:{{nodedown, Node}, _} -> ok
            end
        end},
        {"a call that its server does not know", fun(Node, Pid) ->
            Server = one_of([{net_kernel, Node}, {echo, Node}, Pid]),
            try gen_server:call(Server, {unknown, term(3)}, 50) of
                %% An Erlang node's echo takes no notice, as Krarup's.
                Other -> {answered, Other}
            catch
                exit:{timeout, _} -> ok;
                exit:{{nodedown, Node}, _} -> ok
            end
        end},
        {"a ping", fun(Node, _) ->
            %% One that meets the end of a connection may fail, between two Erlang nodes as well.
            case net_adm:ping(Node) of
                pong -> ok;
                pang -> ok
            end
        end},
        {"monitor_node", fun(Node, _) ->
            true = erlang:monitor_node(Node, true),
            true = erlang:monitor_node(Node, false),
            receive
                {nodedown, Node} -> ok
            after 0 -> ok
            end
        end},
        {"a name of all nodes", fun(_, _) ->
            undefined = global:whereis_name(nobody()),
            ok
        end},
        {"the end of the connection", fun(Node, _) ->
            case rand:uniform(40) of
                1 -> erlang:disconnect_node(Node);
                _ -> net_kernel:connect_node(Node)
            end,
            ok
        end}
    ].

%% A DOWN message with one of the reasons, or that of a connection that was dropped.
down(Ref, Target, Reasons) ->
    receive
        {'DOWN', Ref, process, Target, Reason} ->
            case lists:member(Reason, [noconnection | Reasons]) of
                true -> ok;
                false -> {down, Reason, instead_of, Reasons}
            end
    after deadline() -> {no_down, Target, Reasons}
    end.

exited(Pid, Reasons) ->
    receive
        {'EXIT', Pid, Reason} ->
            case lists:member(Reason, [noconnection | Reasons]) of
                true -> ok;
                false -> {exit, Reason, instead_of, Reasons}
            end
    after deadline() -> {no_exit, Pid, Reasons}
    end.

%% A monitor is taken back, and nothing is heard of it afterwards.
gone(Ref) ->
    true = demonitor(Ref, [flush]),
    ok.

%% How a process ends whose function does not exist: those who asked for it are told.
undef(Pid, Ref, Options) ->
    Down =
        case lists:any(fun(Option) -> is_option(monitor, Option) end, Options) of
            true ->
                receive
                    {'DOWN', Ref, process, Pid, noconnection} -> ok;
                    {'DOWN', Ref, process, Pid, {undef, [{_, _, _, []} | _]}} -> ok;
                    {'DOWN', Ref, process, Pid, noproc} -> ok;
                    {'DOWN', Ref, process, Pid, Reason} -> {down, Reason}
                after deadline() -> {no_down, Pid, Options}
                end;
            false ->
                ok
        end,
    Exit =
        case lists:any(fun(Option) -> is_option(link, Option) end, Options) of
            true ->
                receive
                    {'EXIT', Pid, noconnection} -> ok;
                    {'EXIT', Pid, {undef, [{_, _, _, []} | _]}} -> ok;
                    {'EXIT', Pid, Why} -> {exit, Why}
                after deadline() -> {no_exit, Pid, Options}
                end;
            false ->
                ok
        end,
    all_ok([Down, Exit]).

is_option(Name, Name) -> true;
is_option(Name, {Name, _}) -> true;
is_option(_, _) -> false.

badrpc({badrpc, {'EXIT', {undef, _}}}) -> ok;
badrpc({badrpc, nodedown}) -> ok;
%% What rpc:block_call says of a node without `rex`.
badrpc({badrpc, {'EXIT', {noproc, _}}}) -> ok;
badrpc({badrpc, {'EXIT', {{nodedown, _}, _}}}) -> ok;
badrpc(Other) -> Other.

no_server(Call, Node) ->
    try Call() of
        Value -> {answered, Value}
    catch
        exit:{noproc, _} -> ok;
        exit:noproc -> ok;
        exit:{{nodedown, Node}, _} -> ok;
        exit:{nodedown, Node} -> ok;
        exit:{noconnection, _} -> ok
    end.

%% Sends any term to the node's echo service. A message may be lost with the connection, but not
%% without a word.
echo(Node) ->
    Term = {make_ref(), term(4)},
    true = erlang:monitor_node(Node, true),
    {echo, Node} ! {self(), Term},
    Answer =
        receive
            {echo, Term} -> answered;
            {nodedown, Node} -> noconnection
        after deadline() -> {no_answer, Term}
        end,
    true = erlang:monitor_node(Node, false),
    receive
        {nodedown, Node} -> ok
    after 0 -> ok
    end,
    Answer.

all_ok(Answers) ->
    case [Answer || Answer <- Answers, Answer =/= ok] of
        [] -> ok;
        [First | _] -> First
    end.

%%% Chance.

one_of(List) ->
    lists:nth(rand:uniform(length(List)), List).

%% Options of spawn_request, and what it has to say to them.
spawn_options() ->
    Options =
        spawn_options_of_others() ++
            one_of([[], [], [{reply_tag, {tag, term(1)}}], [{reply, yes}]]),
    case lists:member({unknown, option}, Options) of
        true -> {Options, badopt};
        false -> {Options, pid}
    end.

spawn_options_of_others() ->
    All = [
        link,
        monitor,
        {priority, one_of([low, normal, high])},
        {fullsweep_after, rand:uniform(100)},
        {min_heap_size, rand:uniform(1000)},
        {min_bin_vheap_size, rand:uniform(1000)},
        {max_heap_size, 1000000},
        {message_queue_data, one_of([on_heap, off_heap])},
        {unknown, option}
    ],
    [Option || Option <- All, rand:uniform(4) =:= 1].

%% A name that nobody and nothing has.
nobody() ->
    one_of([nobody, 'krarup nobody', 'Nobody.At.All', 'niemand–', '\x{2603}\x{1f600}']).

%% The pid of a process that has ended.
dead(Node) ->
    case get(dead) of
        Pid when is_pid(Pid), node(Pid) =:= Node ->
            Pid;
        _ ->
            Pid = spawn(Node, nobody, nobody, []),
            ok = until_dead(Pid),
            put(dead, Pid),
            %% Without a connection there is a pid of the own node in its place.
            Pid
    end.

until_dead(Pid) ->
    Ref = monitor(process, Pid),
    receive
        {'DOWN', Ref, process, Pid, noconnection} -> until_dead(Pid);
        {'DOWN', Ref, process, Pid, _} -> ok
    after deadline() -> {no_down, Pid}
    end.

terms() ->
    [term(3) || _ <- lists:seq(1, rand:uniform(6) - 1)].

%% Any term, so many levels deep at most.
term(0) ->
    leaf();
term(Depth) ->
    Terms = fun() -> [term(Depth - 1) || _ <- lists:seq(1, rand:uniform(5) - 1)] end,
    case rand:uniform(6) of
        1 -> Terms();
        2 -> list_to_tuple(Terms());
        3 -> maps:from_list([{term(Depth - 1), Value} || Value <- Terms()]);
        4 -> [term(Depth - 1) | leaf()];
        _ -> leaf()
    end.

leaf() ->
    case rand:uniform(14) of
        1 -> rand:uniform(256) - 1;
        2 -> -rand:uniform(1 bsl 31);
        3 -> rand:uniform(1 bsl 64) bsl (rand:uniform(2000) - 1);
        4 -> rand:normal();
        5 -> one_of([ok, error, undefined, '', 'Ünïcode', '$gen_call', normal, kill]);
        6 -> self();
        7 -> make_ref();
        8 -> binary:copy(<<(rand:uniform(256) - 1)>>, rand:uniform(300) - 1);
        9 -> <<5:3>>;
        10 -> lists:duplicate(rand:uniform(300), $x);
        11 -> fun lists:map/2;
        12 -> hd(erlang:ports());
        13 -> binary:copy(<<1>>, 100000 * (rand:uniform(20) div 20));
        14 -> []
    end.

deadline() ->
    10000.

now_ms() ->
    erlang:monotonic_time(millisecond).

%% What nobody waited for.
mailbox() ->
    receive
        %% Somebody saw the connection drop, and the echo came over the next one all the same.
        {echo, _} -> mailbox();
        Message -> [Message | mailbox()]
    after 0 -> []
    end.
