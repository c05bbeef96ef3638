%% Directs puppets (`krarup_puppet`) on other nodes, and plays tables of rows with them. A row is
%% `{Name, Play}` or `{Name, race, Play}`, where `Play(A, B)` has a puppet on each of two nodes.
%% What is known of the puppets is in the dictionary of the row's process.
-module(krarup_director).
-export([play/3]).
-export([puppet/1, adopt/1, puppets/0, named/1, trap/1, stop/2, stop_now/2, forget/1]).
-export([do/2, tell/2, await/1, both/4, maybe_done/0, deadline/0]).
-export([got/2, each/2, maybe_got/2, may_get/2, ended/1, ended/2]).
-export([heard_all/2, meet/2, quiet/0]).

%% Plays each row with a puppet on each of the nodes. Returns what went wrong: `[{Name, Why}]`.
play(Rows, NodeA, NodeB) ->
    Runs = [{element(1, Row), start_row(Row, NodeA, NodeB)} || Row <- Rows],
    %% A row listens until the last one is over: what comes too late counts as well.
    [{Name, Why} || {Name, Run} <- Runs, Why <- [finish_row(Run)], Why =/= ok].

start_row(Row, NodeA, NodeB) ->
    Parent = self(),
    Run = spawn(fun() ->
        Outcome =
            try
                play_row(Row, NodeA, NodeB)
            catch
                Class:Reason:Stack -> {Class, Reason, hd(Stack)}
            end,
        Parent ! {played, self()},
        receive
            finish -> ok
        end,
        Late = mailbox(),
        Parent ! {finished, self(), {Outcome, Late}},
        [exit(Pid, kill) || {{_, Pid}, _} <- get(), is_pid(Pid)]
    end),
    receive
        {played, Run} -> Run
    end.

finish_row(Run) ->
    Run ! finish,
    receive
        {finished, Run, {ok, []}} -> ok;
        {finished, Run, {Outcome, Late}} -> {Outcome, {late, Late}}
    end.

play_row({_, Play}, NodeA, NodeB) ->
    Play(puppet(NodeA), puppet(NodeB)),
    quiet();
play_row({_, race, Race}, NodeA, NodeB) ->
    %% A race has to be run often to be run in each of its ways.
    [
        begin
            Race(puppet(NodeA), puppet(NodeB)),
            quiet(),
            %% The next ones need not wait for these, which must stay as quiet as they are.
            [put({former, Pid}, forget(Pid)) || Pid <- puppets()]
        end
     || _ <- lists:seq(1, 20)
    ],
    ok.

deadline() ->
    10000.

%% A new puppet. Every second one runs where its node likes it to, the others where the node has its
%% connection to this one.
puppet(Node) ->
    put(started, started() + 1),
    Pid =
        case started() rem 2 of
            0 -> spawn(Node, krarup_puppet, run, [self()]);
            1 -> erpc:call(Node, krarup_puppet, start, [self()], deadline())
        end,
    adopt(Pid).

%% Makes a puppet of this row of one that somebody else has started for this process.
adopt(Pid) ->
    put({puppet, Pid}, monitor(process, Pid)),
    here = do(Pid, here),
    Pid.

started() ->
    case get(started) of
        undefined -> 0;
        Number -> Number
    end.

%% A puppet that has ended is none any more. Returns the monitor that tells of it.
forget(Pid) ->
    erase({puppet, Pid}).

%% The puppets that have not been seen to end.
puppets() ->
    [Pid || {{puppet, Pid}, _} <- get()].

%% Tells a puppet what to do, and waits until it has.
do(Pid, Order) ->
    await(tell(Pid, Order)).

tell(Pid, Order) ->
    Ref = make_ref(),
    Pid ! {do, self(), Ref, Order},
    put({told, Ref}, {Pid, Order}),
    Ref.

await(Ref) ->
    {Pid, Order} = erase({told, Ref}),
    receive
        {done, Ref, Result} -> Result
    after deadline() -> error({not_done, Pid, Order, mailbox()})
    end.

%% Tells two puppets at the same time.
both(One, ToOne, Other, ToOther) ->
    Refs = [tell(One, ToOne), tell(Other, ToOther)],
    [await(Ref) || Ref <- Refs].

trap(Pid) ->
    true = do(Pid, {trap, true}).

%% Ends a puppet that has got everything the others have sent it so far.
stop(Pid, Reason) ->
    [heard_all(Other, Pid) || Other <- puppets(), Other =/= Pid],
    stop_now(Pid, Reason).

%% Ends a puppet, whatever is under way to it.
stop_now(Pid, Reason) ->
    do(Pid, {stop, Reason}),
    ended(Pid, Reason).

%% Registers a puppet under a name that is used once.
named(Pid) ->
    Name = list_to_atom("krarup_" ++ integer_to_list(erlang:unique_integer([positive]))),
    true = do(Pid, {register, Name}),
    {Name, node(Pid)}.

%% Returns when To has got everything that From has sent it.
heard_all(From, To) ->
    Bell = {bell, make_ref()},
    do(From, {send, To, Bell}),
    receive
        {signal, To, Bell} -> ok
    after deadline() -> error({not_heard, From, To, mailbox()})
    end.

%% Waits until a puppet and a node that have parted can talk again. A new connection may meet the
%% end of the last one and fall with it, and the message that asked for it with both.
meet(Pid, Node) ->
    meet(Pid, puppet(Node), erlang:monotonic_time(millisecond) + deadline()).

meet(From, To, Until) ->
    Met = {met, make_ref()},
    do(From, {send, To, Met}),
    receive
        {signal, To, Met} -> ok
    after 300 ->
        erlang:monotonic_time(millisecond) < Until orelse error({not_met, From, To, mailbox()}),
        %% It may only be slow.
        may_get(To, Met),
        meet(From, To, Until)
    end.

%% The next messages that a puppet gets.
got(_, []) ->
    ok;
got(Pid, [Message | Rest]) ->
    case next(Pid, Message) of
        Message -> got(Pid, Rest);
        Other -> error({Pid, got, Other, instead_of, Message})
    end.

%% The next messages that a puppet gets, from several senders: in order from each of them.
each(_, []) ->
    ok;
each(Pid, Senders) ->
    Message = next(Pid, Senders),
    case lists:partition(fun([First | _]) -> First =:= Message end, Senders) of
        {[[_] | Same], Others} -> each(Pid, Same ++ Others);
        {[[_ | Rest] | Same], Others} -> each(Pid, [Rest | Same] ++ Others);
        {[], _} -> error({Pid, got, Message, instead_of_one_of, Senders})
    end.

next(Pid, Wanted) ->
    receive
        {signal, Pid, Message} -> Message
    after deadline() -> error({Pid, got_nothing, instead_of, Wanted})
    end.

%% A message that a puppet may have got by now, and passed on.
maybe_got(Pid, Message) ->
    receive
        {signal, Pid, Message} -> ok
    after 0 -> ok
    end.

%% A message that a puppet may get at any time from now on.
may_get(Pid, Message) ->
    put({may_get, Pid, Message}, true).

%% Orders that may not have been carried out, because their puppets ended first.
maybe_done() ->
    receive
        {done, _, _} -> maybe_done()
    after 0 -> ok
    end.

%% How a puppet ends.
ended(Pid) ->
    Ref = forget(Pid),
    receive
        {'DOWN', Ref, process, Pid, Reason} -> Reason
    after deadline() -> error({does_not_end, Pid, mailbox()})
    end.

ended(Pid, Reason) ->
    case ended(Pid) of
        Reason -> Reason;
        Other -> error({Pid, ended_with, Other, instead_of, Reason})
    end.

%% Nothing more happens. What was under way to the living has arrived, as far as one can tell: it is
%% certain for what the living sent, and likely for what is sent on behalf of the dead.
quiet() ->
    [here = do(Pid, here) || Pid <- puppets()],
    Living = puppets(),
    Ringers = [spawn(Node, krarup_puppet, run, [self()]) || Node <- nodes_of(Living)],
    [heard_all(From, To) || From <- Ringers ++ Living, To <- Living],
    [do(Ringer, {stop, normal}) || Ringer <- Ringers],
    case mailbox() of
        [] -> ok;
        Surplus -> error({surplus, Surplus})
    end.

nodes_of(Pids) ->
    lists:usort([node(Pid) || Pid <- Pids]).

%% What has come so far and nobody asked for.
mailbox() ->
    receive
        {signal, Pid, Message} = Signal ->
            case erase({may_get, Pid, Message}) of
                true -> mailbox();
                undefined -> [Signal | mailbox()]
            end;
        Other ->
            [Other | mailbox()]
    after 0 -> []
    end.
