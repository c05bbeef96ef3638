%% What links, exits, monitors and aliases do between two nodes, row by row. Each row has two
%% puppets, A on the one node and B on the other, tells them what to do, and states every message
%% that they get, in order, and how they end. Nothing here knows whether a node is OTP or Krarup.
-module(krarup_signals).
-export([run/2, run_apart/2, before_kill/2, after_kill/1, after_restart/1]).
-import(krarup_director, [
    play/3, puppet/1, adopt/1, named/1, trap/1, stop/2, stop_now/2, forget/1, do/2, tell/2, await/1,
    both/4, maybe_done/0, deadline/0, got/2, each/2, maybe_got/2, may_get/2, ended/1, ended/2,
    heard_all/2, meet/2, quiet/0
]).

%% Plays the rows for any two nodes, which may be one and the same. Returns what went wrong:
%% `[{Row, Why}]`.
run(NodeA, NodeB) ->
    play(rows(), NodeA, NodeB).

%% Plays the rows for two nodes that can part.
run_apart(NodeA, NodeB) ->
    play(apart(), NodeA, NodeB).

%% Sets up what the end of a whole node is to be seen by. The node of the result's B is then killed.
before_kill(NodeA, NodeB) ->
    stand(puppet(NodeA), puppet(NodeB)).

%% Returns `ok` when everything fired that `before_kill/2` set up, and only that.
after_kill(Stand) ->
    fallen(Stand, noconnection).

%% What the processes of a killed node are for others when a node of the same name is back.
after_restart(#{a := A, b := B}) ->
    meet(A, node(B)),
    Ref = do(A, {monitor, B}),
    got(A, [{'DOWN', Ref, process, B, noproc}]),
    do(A, {link, B}),
    got(A, [{'EXIT', B, noproc}]),
    do(A, {send, B, to_nobody}),
    do(A, {exit, B, kill}),
    do(A, {unlink, B}),
    quiet().

%%% The rows.

rows() ->
    links() ++ unlinks() ++ exits() ++ monitors() ++ names() ++ demonitors() ++ aliases() ++
        spawns() ++ calls() ++ rpcs() ++ absences().

links() ->
    [
        {"a trapping process hears the normal end of a linked one", fun(A, B) ->
            trap(A),
            do(A, {link, B}),
            stop(B, normal),
            got(A, [{'EXIT', B, normal}])
        end},
        {"who does not trap survives the normal end of a linked process", fun(A, B) ->
            do(A, {link, B}),
            stop(B, normal)
        end},
        {"the reason is any term", fun(A, B) ->
            trap(A),
            do(A, {link, B}),
            Ref = do(A, {monitor, B}),
            Reason = any_term(A),
            stop(B, Reason),
            each(A, [[{'EXIT', B, Reason}], [{'DOWN', Ref, process, B, Reason}]])
        end},
        {"the reason is larger than a fragment", fun(A, B) ->
            trap(A),
            do(A, {link, B}),
            Ref = do(A, {monitor, B}),
            Reason = {large, binary:copy(<<7>>, 200000)},
            stop(B, Reason),
            each(A, [[{'EXIT', B, Reason}], [{'DOWN', Ref, process, B, Reason}]])
        end},
        {"who does not trap ends with the reason of the linked process", fun(A, B) ->
            do(A, {link, B}),
            stop(B, {shutdown, [1, "two", 3.0]}),
            ended(A, {shutdown, [1, "two", 3.0]})
        end},
        {"a killed process is `killed` for those linked to it", fun(A, B) ->
            Other = puppet(node(A)),
            trap(A),
            do(A, {link, B}),
            do(Other, {link, B}),
            heard_all(Other, B),
            do(A, {exit, B, kill}),
            ended(B, killed),
            ended(Other, killed),
            got(A, [{'EXIT', B, killed}])
        end},
        {"`kill` through a link is a reason as any other for who traps", fun(A, B) ->
            trap(A),
            do(A, {link, B}),
            stop(B, kill),
            got(A, [{'EXIT', B, kill}])
        end},
        {"`kill` through a link ends who does not trap, and is `kill` for the next", fun(A, B) ->
            Next = puppet(node(B)),
            trap(Next),
            do(A, {link, B}),
            do(Next, {link, A}),
            heard_all(Next, A),
            stop(B, kill),
            ended(A, kill),
            got(Next, [{'EXIT', A, kill}])
        end},
        {"a link works from the other end as well", fun(A, B) ->
            trap(B),
            do(A, {link, B}),
            stop(A, over),
            got(B, [{'EXIT', A, over}])
        end},
        {"links of both are one link", fun(A, B) ->
            trap(A),
            do(A, {link, B}),
            do(B, {link, A}),
            stop(B, once),
            got(A, [{'EXIT', B, once}])
        end},
        {"links of both at the same time are one link", fun(A, B) ->
            trap(A),
            trap(B),
            both(A, {link, B}, B, {link, A}),
            stop(B, once),
            got(A, [{'EXIT', B, once}])
        end},
        {"linking twice is linking once", fun(A, B) ->
            trap(A),
            do(A, {all, [{link, B}, {link, B}]}),
            stop(B, once),
            got(A, [{'EXIT', B, once}])
        end},
        {"who links to a dead process and traps hears `noproc`", fun(A, B) ->
            trap(A),
            stop(B, normal),
            do(A, {link, B}),
            got(A, [{'EXIT', B, noproc}])
        end},
        {"a process that no longer traps ends", fun(A, B) ->
            trap(A),
            do(A, {link, B}),
            do(A, {trap, false}),
            stop(B, now),
            ended(A, now)
        end},
        {"an exit passes along a chain", fun(A, B) ->
            {C, Last} = {puppet(node(A)), puppet(node(B))},
            trap(Last),
            do(A, {link, B}),
            do(B, {link, C}),
            do(C, {link, Last}),
            stop(A, boom),
            ended(B, boom),
            ended(C, boom),
            got(Last, [{'EXIT', C, boom}])
        end},
        {"a chain is held by who traps", fun(A, B) ->
            C = puppet(node(A)),
            trap(B),
            do(A, {link, B}),
            do(B, {link, C}),
            stop(A, boom),
            got(B, [{'EXIT', A, boom}])
        end},
        {"an exit reaches all that are linked", fun(A, B) ->
            Others = [puppet(Node) || Node <- [node(A), node(B)], _ <- lists:seq(1, 5)],
            [trap(Other) || Other <- Others],
            [do(Other, {link, B}) || Other <- Others],
            do(A, {link, B}),
            stop(B, boom),
            ended(A, boom),
            [got(Other, [{'EXIT', B, boom}]) || Other <- Others]
        end},
        {"messages come before the exit and down of their sender", fun(A, B) ->
            trap(A),
            do(A, {link, B}),
            Ref = do(A, {monitor, B}),
            Messages = [{number, Number} || Number <- lists:seq(1, 50)],
            Stop = tell(B, {all, [{send, A, Message} || Message <- Messages]}),
            stop(B, over),
            await(Stop),
            got(A, Messages),
            each(A, [[{'EXIT', B, over}], [{'DOWN', Ref, process, B, over}]])
        end},
        {"a large message comes before the exit and down of its sender", fun(A, B) ->
            trap(A),
            do(A, {link, B}),
            Ref = do(A, {monitor, B}),
            Large = {large, binary:copy(<<9>>, 300000)},
            do(B, {send, A, Large}),
            stop(B, over),
            got(A, [Large]),
            each(A, [[{'EXIT', B, over}], [{'DOWN', Ref, process, B, over}]])
        end},
        {"two linked processes that end at once end as they would alone", race, fun(A, B) ->
            trap(A),
            trap(B),
            do(A, {link, B}),
            heard_all(A, B),
            both(A, {stop, one}, B, {stop, two}),
            ended(A, one),
            ended(B, two),
            %% Either may have heard of the other before it was told to end.
            maybe_got(A, {'EXIT', B, two}),
            maybe_got(B, {'EXIT', A, one})
        end},
        {"two linked processes that do not trap end once each", race, fun(A, B) ->
            do(A, {link, B}),
            heard_all(A, B),
            tell(A, {stop, one}),
            tell(B, {stop, two}),
            Reasons = {ended(A), ended(B)},
            true = lists:member(Reasons, [{one, one}, {one, two}, {two, two}]),
            maybe_done()
        end}
    ].

unlinks() ->
    [
        {"after unlink an end is not heard", fun(A, B) ->
            do(A, {link, B}),
            do(A, {unlink, B}),
            stop_now(B, boom)
        end},
        {"after unlink an end is not heard at the other end", fun(A, B) ->
            do(A, {link, B}),
            heard_all(A, B),
            do(A, {unlink, B}),
            heard_all(A, B),
            stop_now(A, boom)
        end},
        {"the other one can unlink", fun(A, B) ->
            do(A, {link, B}),
            heard_all(A, B),
            do(B, {unlink, A}),
            stop_now(B, boom)
        end},
        {"one unlink undoes two links", fun(A, B) ->
            do(A, {all, [{link, B}, {link, B}, {unlink, B}]}),
            stop_now(B, boom)
        end},
        {"unlinking what is not linked does nothing", fun(A, B) ->
            do(A, {unlink, B}),
            do(A, {all, [{unlink, B}, {unlink, B}]}),
            stop_now(B, boom),
            do(A, {unlink, B})
        end},
        {"a link after an unlink is a link", fun(A, B) ->
            trap(A),
            do(A, {all, [{link, B}, {unlink, B}, {link, B}]}),
            stop(B, boom),
            got(A, [{'EXIT', B, boom}])
        end},
        {"the last of many links and unlinks counts", fun(A, B) ->
            Turns = [{link, B}, {unlink, B}],
            do(A, {all, lists:append(lists:duplicate(20, Turns))}),
            stop_now(B, boom)
        end},
        {"both unlink at once and link again", fun(A, B) ->
            trap(A),
            trap(B),
            [
                begin
                    do(A, {link, B}),
                    both(A, {unlink, B}, B, {unlink, A})
                end
             || _ <- lists:seq(1, 20)
            ],
            %% Until then an unlink of B may be under way, which undoes the next link of A as well.
            heard_all(B, A),
            do(A, {link, B}),
            stop(B, boom),
            got(A, [{'EXIT', B, boom}])
        end},
        {"both unlink at once and the other one links again", fun(A, B) ->
            trap(A),
            trap(B),
            [
                begin
                    do(A, {link, B}),
                    heard_all(A, B),
                    both(A, {unlink, B}, B, {all, [{unlink, A}, {link, A}, {unlink, A}]})
                end
             || _ <- lists:seq(1, 20)
            ],
            heard_all(A, B),
            do(B, {link, A}),
            stop(B, boom),
            got(A, [{'EXIT', B, boom}])
        end},
        {"a link that meets an unlink is there for both or for none", race, fun(A, B) ->
            trap(A),
            trap(B),
            do(A, {link, B}),
            heard_all(A, B),
            both(A, {unlink, B}, B, {link, A}),
            heard_all(A, B),
            stop(B, boom),
            may_get(A, {'EXIT', B, boom})
        end},
        {"nothing is heard after an unlink that meets an exit", race, fun(A, B) ->
            trap(A),
            do(A, {link, B}),
            heard_all(A, B),
            both(A, {unlink_flush, B}, B, {stop, boom}),
            %% What it heard before, it passed on before it answered.
            maybe_got(A, {'EXIT', B, boom}),
            ended(B, boom)
        end},
        {"who has unlinked lives, whatever exit was under way", race, fun(A, B) ->
            do(A, {link, B}),
            heard_all(A, B),
            Unlinked = tell(A, {unlink, B}),
            stop_now(B, boom),
            receive
                {done, Unlinked, true} -> ok;
                {'DOWN', _, process, A, boom} -> forget(A)
            after deadline() -> error({neither_lives_nor_ends, A})
            end
        end}
    ].

exits() ->
    [
        {"`normal` does nothing to who does not trap", fun(A, B) ->
            do(A, {exit, B, normal})
        end},
        {"`normal` does nothing to who is linked and does not trap", fun(A, B) ->
            do(A, {link, B}),
            do(A, {exit, B, normal})
        end},
        {"`normal` is a message to who traps", fun(A, B) ->
            trap(B),
            do(A, {exit, B, normal}),
            got(B, [{'EXIT', A, normal}])
        end},
        {"a term ends who does not trap", fun(A, B) ->
            trap(A),
            do(A, {link, B}),
            Ref = do(A, {monitor, B}),
            do(A, {exit, B, {go, away}}),
            ended(B, {go, away}),
            each(A, [[{'EXIT', B, {go, away}}], [{'DOWN', Ref, process, B, {go, away}}]])
        end},
        {"any term is a message to who traps", fun(A, B) ->
            trap(B),
            Reason = any_term(A),
            do(A, {exit, B, Reason}),
            got(B, [{'EXIT', A, Reason}])
        end},
        {"a term larger than a fragment is a message to who traps", fun(A, B) ->
            trap(B),
            Reason = binary:copy(<<3>>, 200000),
            do(A, {exit, B, Reason}),
            got(B, [{'EXIT', A, Reason}])
        end},
        {"`kill` ends who traps", fun(A, B) ->
            trap(B),
            Ref = do(A, {monitor, B}),
            do(A, {exit, B, kill}),
            ended(B, killed),
            got(A, [{'DOWN', Ref, process, B, killed}])
        end},
        {"`killed` is a reason as any other", fun(A, B) ->
            trap(B),
            do(A, {exit, B, killed}),
            got(B, [{'EXIT', A, killed}])
        end},
        {"exits and messages come in the order they were sent", fun(A, B) ->
            trap(B),
            do(A, {all, [{send, B, 1}, {exit, B, two}, {send, B, 3}, {exit, B, four}]}),
            got(B, [1, {'EXIT', A, two}, 3, {'EXIT', A, four}])
        end},
        {"an exit ends a process after the messages before it", fun(A, B) ->
            do(A, {all, [{send, B, 1}, {exit, B, boom}, {send, B, 2}]}),
            ended(B, boom),
            %% It may have been ended before it passed the message on.
            maybe_got(B, 1)
        end},
        {"an exit to a dead process is dropped", fun(A, B) ->
            stop(B, normal),
            do(A, {all, [{exit, B, boom}, {exit, B, kill}, {send, B, late}]})
        end},
        {"`normal` to itself ends who does not trap", fun(A, _) ->
            tell(A, {exit, A, normal}),
            ended(A, normal),
            %% An Erlang process ends at once, one of Rust when it next waits.
            maybe_done()
        end},
        {"`normal` to itself is a message to who traps", fun(A, _) ->
            trap(A),
            do(A, {exit, A, normal}),
            got(A, [{'EXIT', A, normal}])
        end},
        {"a term to itself ends who does not trap", fun(A, _) ->
            tell(A, {exit, A, {boom, A}}),
            ended(A, {boom, A}),
            maybe_done()
        end},
        {"`kill` to itself ends who traps", fun(A, B) ->
            trap(A),
            Ref = do(B, {monitor, A}),
            heard_all(B, A),
            tell(A, {exit, A, kill}),
            ended(A, killed),
            got(B, [{'DOWN', Ref, process, A, killed}]),
            maybe_done()
        end},
        {"an exit of a process that is dead by now counts", fun(A, B) ->
            trap(B),
            do(A, {exit, B, last}),
            stop(A, normal),
            got(B, [{'EXIT', A, last}])
        end}
    ].

monitors() ->
    [
        {"a monitor fires with the reason, which is any term", fun(A, B) ->
            Reasons = [normal, shutdown, kill, {shutdown, why}, any_term(A), killed],
            [
                begin
                    Other = puppet(node(B)),
                    Ref = do(A, {monitor, Other}),
                    stop(Other, Reason),
                    got(A, [{'DOWN', Ref, process, Other, Reason}])
                end
             || Reason <- Reasons
            ]
        end},
        {"a monitor of a dead process fires with `noproc`", fun(A, B) ->
            stop(B, boom),
            Ref = do(A, {monitor, B}),
            got(A, [{'DOWN', Ref, process, B, noproc}])
        end},
        {"each of several monitors fires", fun(A, B) ->
            Refs = [do(A, {monitor, B}) || _ <- lists:seq(1, 10)],
            10 = length(lists:usort(Refs)),
            stop(B, boom),
            each(A, [[{'DOWN', Ref, process, B, boom}] || Ref <- Refs])
        end},
        {"monitors go both ways", fun(A, B) ->
            Ref = do(A, {monitor, B}),
            do(B, {monitor, A}),
            stop(B, first),
            got(A, [{'DOWN', Ref, process, B, first}]),
            stop(A, second)
        end},
        {"a monitor says nothing to who is monitored", fun(A, B) ->
            trap(B),
            do(A, {monitor, B}),
            stop(A, boom)
        end},
        {"monitor and link are apart", fun(A, B) ->
            Ref = do(A, {monitor, B}),
            do(A, {all, [{link, B}, {unlink, B}]}),
            stop(B, boom),
            got(A, [{'DOWN', Ref, process, B, boom}])
        end},
        {"a monitor does not fire before the end", fun(A, B) ->
            do(A, {monitor, B}),
            trap(B),
            do(A, {exit, B, not_yet}),
            got(B, [{'EXIT', A, not_yet}])
        end},
        {"many monitor one", fun(A, B) ->
            Others = [puppet(Node) || Node <- [node(A), node(B)], _ <- lists:seq(1, 5)],
            Refs = [{Other, do(Other, {monitor, B})} || Other <- Others],
            stop(B, boom),
            [got(Other, [{'DOWN', Ref, process, B, boom}]) || {Other, Ref} <- Refs]
        end}
    ].

names() ->
    [
        {"a monitor of a name that nobody has fires with `noproc`", fun(A, B) ->
            Target = {krarup_nobody, node(B)},
            Ref = do(A, {monitor, Target}),
            got(A, [{'DOWN', Ref, process, Target, noproc}])
        end},
        {"a monitor of a name fires with the name", fun(A, B) ->
            Target = named(B),
            Ref = do(A, {monitor, Target}),
            stop(B, {reason, 1}),
            got(A, [{'DOWN', Ref, process, Target, {reason, 1}}])
        end},
        {"a monitor of a name is taken back", fun(A, B) ->
            Ref = do(A, {monitor, named(B)}),
            true = do(A, {demonitor, Ref, [info]}),
            stop(B, boom)
        end},
        {"monitors of a name and its process are apart", fun(A, B) ->
            Target = named(B),
            [ByName, ByPid, Again] = [do(A, {monitor, To}) || To <- [Target, B, Target]],
            true = do(A, {demonitor, Again, [info]}),
            stop(B, boom),
            each(A, [
                [{'DOWN', ByName, process, Target, boom}],
                [{'DOWN', ByPid, process, B, boom}]
            ])
        end},
        {"a name goes with its process and can be had again", race, fun(A, B) ->
            Target = {Name, _} = named(B),
            First = do(A, {monitor, Target}),
            stop(B, first),
            got(A, [{'DOWN', First, process, Target, first}]),
            None = do(A, {monitor, Target}),
            got(A, [{'DOWN', None, process, Target, noproc}]),
            Next = puppet(node(B)),
            true = do(Next, {register, Name}),
            Second = do(A, {monitor, Target}),
            stop(Next, second),
            got(A, [{'DOWN', Second, process, Target, second}])
        end},
        {"what is sent to a name comes in order with what is sent to the pid", fun(A, B) ->
            Target = named(B),
            do(A, {all, [{send, Target, 1}, {send, B, 2}, {send, Target, 3}]}),
            got(B, [1, 2, 3])
        end},
        {"what is sent to a name that nobody has is dropped", fun(A, B) ->
            do(A, {send, {krarup_nobody, node(B)}, lost})
        end}
    ].

demonitors() ->
    [
        {"a monitor that was taken back does not fire", fun(A, B) ->
            Ref = do(A, {monitor, B}),
            true = do(A, {demonitor, Ref, []}),
            stop_now(B, boom)
        end},
        {"taking back says whether there was a monitor", fun(A, B) ->
            Ref = do(A, {monitor, B}),
            true = do(A, {demonitor, Ref, [info]}),
            false = do(A, {demonitor, Ref, [info]}),
            Next = do(A, {monitor, B}),
            stop(B, boom),
            got(A, [{'DOWN', Next, process, B, boom}]),
            false = do(A, {demonitor, Next, [info]}),
            false = do(A, {demonitor, Next, [flush, info]})
        end},
        {"only the monitor that was taken back is gone", fun(A, B) ->
            [First, Second, Third] = [do(A, {monitor, B}) || _ <- lists:seq(1, 3)],
            true = do(A, {demonitor, Second, [flush]}),
            stop(B, boom),
            each(A, [[{'DOWN', Ref, process, B, boom}] || Ref <- [First, Third]])
        end},
        {"nothing is heard after a flush that meets an end", race, fun(A, B) ->
            Ref = do(A, {monitor, B}),
            heard_all(A, B),
            both(A, {demonitor, Ref, [flush]}, B, {stop, boom}),
            maybe_got(A, {'DOWN', Ref, process, B, boom}),
            ended(B, boom)
        end},
        {"a flush takes `noproc` as well", race, fun(A, B) ->
            stop(B, normal),
            Target = {krarup_nobody, node(A)},
            Ref = do(A, {monitor, B}),
            do(A, {demonitor, Ref, [flush]}),
            maybe_got(A, {'DOWN', Ref, process, B, noproc}),
            Named = do(A, {monitor, Target}),
            do(A, {demonitor, Named, [flush]}),
            maybe_got(A, {'DOWN', Named, process, Target, noproc})
        end}
    ].

aliases() ->
    [
        {"what is sent to an alias arrives until it is given back", fun(A, B) ->
            Alias = do(A, alias),
            do(B, {all, [{send, Alias, 1}, {send, A, 2}, {send, Alias, {B, Alias}}]}),
            got(A, [1, 2, {B, Alias}]),
            true = do(A, {unalias, Alias}),
            false = do(A, {unalias, Alias}),
            do(B, {all, [{send, Alias, lost}, {send, A, 3}]}),
            got(A, [3])
        end},
        {"an alias is one of several", fun(A, B) ->
            [First, Second] = [do(A, alias) || _ <- [1, 2]],
            true = do(A, {unalias, First}),
            do(B, {all, [{send, First, lost}, {send, Second, 1}]}),
            got(A, [1])
        end},
        {"an alias ends with its process", fun(A, B) ->
            Alias = do(A, alias),
            stop(A, normal),
            do(B, {send, Alias, lost})
        end},
        {"an alias can be passed on", fun(A, B) ->
            C = puppet(node(B)),
            Alias = do(A, alias),
            do(B, {send, C, {it_is, Alias}}),
            got(C, [{it_is, Alias}]),
            do(C, {send, Alias, hello}),
            got(A, [hello])
        end},
        {"a monitor's alias that is given back explicitly survives the monitor", fun(A, B) ->
            Alias = do(A, {monitor, B, explicit_unalias}),
            do(B, {all, [{send, Alias, 1}, {send, Alias, 2}]}),
            got(A, [1, 2]),
            C = puppet(node(B)),
            stop(B, boom),
            got(A, [{'DOWN', Alias, process, B, boom}]),
            do(C, {send, Alias, 3}),
            got(A, [3]),
            true = do(A, {unalias, Alias}),
            do(C, {all, [{send, Alias, lost}, {send, A, 4}]}),
            got(A, [4])
        end},
        {"a monitor can be taken back without its explicit alias", fun(A, B) ->
            Alias = do(A, {monitor, B, explicit_unalias}),
            true = do(A, {demonitor, Alias, [info]}),
            do(B, {send, Alias, 1}),
            got(A, [1]),
            stop(B, boom)
        end},
        {"an alias can be given back without its monitor", fun(A, B) ->
            Alias = do(A, {monitor, B, explicit_unalias}),
            true = do(A, {unalias, Alias}),
            do(B, {all, [{send, Alias, lost}, {send, A, 1}]}),
            got(A, [1]),
            stop(B, boom),
            got(A, [{'DOWN', Alias, process, B, boom}])
        end},
        {"an alias of `demonitor` ends with the monitor that is taken back", fun(A, B) ->
            Alias = do(A, {monitor, B, demonitor}),
            do(B, {all, [{send, Alias, 1}, {send, Alias, 2}]}),
            got(A, [1, 2]),
            true = do(A, {demonitor, Alias, [info]}),
            do(B, {all, [{send, Alias, lost}, {send, A, 3}]}),
            got(A, [3]),
            false = do(A, {unalias, Alias}),
            stop(B, boom)
        end},
        {"an alias of `demonitor` ends with the monitor that fires", fun(A, B) ->
            C = puppet(node(B)),
            Alias = do(A, {monitor, B, demonitor}),
            stop(B, boom),
            got(A, [{'DOWN', Alias, process, B, boom}]),
            do(C, {all, [{send, Alias, lost}, {send, A, 1}]}),
            got(A, [1])
        end},
        {"the first reply ends alias and monitor of `reply_demonitor`", fun(A, B) ->
            Alias = do(A, {monitor, B, reply_demonitor}),
            do(B, {all, [{send, Alias, reply}, {send, Alias, lost}, {send, A, 1}]}),
            got(A, [reply, 1]),
            false = do(A, {demonitor, Alias, [info]}),
            false = do(A, {unalias, Alias}),
            stop(B, boom)
        end},
        {"an end before the reply ends the alias of `reply_demonitor`", fun(A, B) ->
            C = puppet(node(B)),
            Alias = do(A, {monitor, B, reply_demonitor}),
            stop(B, boom),
            got(A, [{'DOWN', Alias, process, B, boom}]),
            do(C, {all, [{send, Alias, lost}, {send, A, 1}]}),
            got(A, [1])
        end},
        {"taking back ends the alias of `reply_demonitor`", fun(A, B) ->
            Alias = do(A, {monitor, B, reply_demonitor}),
            true = do(A, {demonitor, Alias, [info]}),
            do(B, {all, [{send, Alias, lost}, {send, A, 1}]}),
            got(A, [1]),
            stop(B, boom)
        end},
        {"anybody's message is the reply", fun(A, B) ->
            C = puppet(node(B)),
            Alias = do(A, {monitor, B, reply_demonitor}),
            do(C, {send, Alias, {reply, of_another}}),
            got(A, [{reply, of_another}]),
            stop(B, boom)
        end},
        {"a monitor of nobody ends its alias as it fires", fun(A, B) ->
            Target = {krarup_nobody, node(B)},
            Refs = [{do(A, {monitor, Target, Kind}), Kind} || Kind <- [demonitor, reply_demonitor]],
            [got(A, [{'DOWN', Ref, process, Target, noproc}]) || {Ref, _} <- Refs],
            do(B, {all, [{send, Ref, {lost, Kind}} || {Ref, Kind} <- Refs] ++ [{send, A, 1}]}),
            got(A, [1])
        end},
        {"a monitor without alias is none", fun(A, B) ->
            Ref = do(A, {monitor, B}),
            do(B, {all, [{send, Ref, lost}, {send, A, 1}]}),
            got(A, [1]),
            false = do(A, {unalias, Ref})
        end},
        {"a monitor of a name has an alias, too", fun(A, B) ->
            Target = named(B),
            Alias = do(A, {monitor, Target, explicit_unalias}),
            do(B, {send, Alias, 1}),
            got(A, [1]),
            stop(B, boom),
            got(A, [{'DOWN', Alias, process, Target, boom}])
        end}
    ].

spawns() ->
    [
        {"a process is started on the other node", fun(A, B) ->
            C = child(A, none, B),
            stop(C, boom)
        end},
        {"a process is started linked", fun(A, B) ->
            trap(A),
            C = child(A, link, B),
            stop(C, boom),
            got(A, [{'EXIT', C, boom}])
        end},
        {"a process is started linked, and ends with who started it", fun(A, B) ->
            C = child(A, link, B),
            stop(A, boom),
            ended(C, boom)
        end},
        {"a process is started linked, and unlinked", fun(A, B) ->
            C = child(A, link, B),
            do(A, {unlink, C}),
            stop_now(C, boom)
        end},
        {"a process is started monitored", fun(A, B) ->
            {C, Ref} = child(A, monitor, B),
            stop(C, boom),
            got(A, [{'DOWN', Ref, process, C, boom}])
        end},
        {"a process is started monitored, and the monitor taken back", fun(A, B) ->
            {C, Ref} = child(A, monitor, B),
            true = do(A, {demonitor, Ref, [info]}),
            stop(C, boom)
        end},
        {"many processes are started", fun(A, B) ->
            Order = {spawn_at, monitor, node(B), krarup_puppet, run, [self()]},
            Started = do(A, {all, lists:duplicate(20, Order)}),
            [adopt(C) || {C, _} <- Started],
            [
                begin
                    stop(C, {boom, C}),
                    got(A, [{'DOWN', Ref, process, C, {boom, C}}])
                end
             || {C, Ref} <- Started
            ]
        end},
        {"a function that there is not is started all the same", fun(A, B) ->
            trap(A),
            Order = fun(Tie) -> {spawn_at, Tie, node(B), krarup_nobody, nothing, [1, "two"]} end,
            Reason = {undef, [{krarup_nobody, nothing, [1, "two"], []}]},
            Linked = do(A, Order(link)),
            got(A, [{'EXIT', Linked, Reason}]),
            {Monitored, Ref} = do(A, Order(monitor)),
            got(A, [{'DOWN', Ref, process, Monitored, Reason}]),
            true = is_pid(do(A, Order(none)))
        end},
        {"a process ends at once", race, fun(A, B) ->
            trap(A),
            C = do(A, {spawn_at, link, node(B), krarup_functions, zero, []}),
            got(A, [{'EXIT', C, normal}]),
            {D, Ref} = do(A, {spawn_at, monitor, node(B), krarup_functions, fail, [exit, boom]}),
            got(A, [{'DOWN', Ref, process, D, boom}])
        end}
    ].

%% A puppet that another one starts, on the node of a third.
child(A, Tie, B) ->
    case do(A, {spawn_at, Tie, node(B), krarup_puppet, run, [self()]}) of
        {Child, Ref} -> {adopt(Child), Ref};
        Child -> adopt(Child)
    end.

calls() ->
    [
        {"a call is answered", fun(A, B) ->
            Call = tell(A, {call, B, {question, 1}, 10000}),
            From = asked(B, {question, 1}),
            do(B, {send, to(From), {tag(From), {answer, 1}}}),
            {reply, {answer, 1}} = await(Call)
        end},
        {"a call is answered by way of the pid", fun(A, B) ->
            Call = tell(A, {call, B, question, 10000}),
            From = {A, Tag} = asked(B, question),
            Tag = tag(From),
            do(B, {send, A, {Tag, answer}}),
            {reply, answer} = await(Call)
        end},
        {"a call of a name is answered", fun(A, B) ->
            Call = tell(A, {call, named(B), question, 10000}),
            From = asked(B, question),
            do(B, {send, to(From), {tag(From), answer}}),
            {reply, answer} = await(Call)
        end},
        {"only the first answer counts", fun(A, B) ->
            Call = tell(A, {call, B, question, 10000}),
            From = asked(B, question),
            do(B, {send, to(From), {tag(From), one}}),
            {reply, one} = await(Call),
            do(B, {all, [{send, to(From), {tag(From), two}}, {send, A, behind}]}),
            got(A, [behind])
        end},
        {"an answer that is too late is dropped", fun(A, B) ->
            {failed, timeout} = do(A, {call, B, question, 20}),
            From = asked(B, question),
            do(B, {all, [{send, to(From), {tag(From), late}}, {send, A, behind}]}),
            got(A, [behind]),
            stop(B, boom)
        end},
        {"what comes meanwhile waits for the end of the call", fun(A, B) ->
            trap(A),
            C = puppet(node(B)),
            do(A, {link, C}),
            Call = tell(A, {call, B, question, 10000}),
            From = asked(B, question),
            do(C, {send, A, first}),
            stop_now(C, boom),
            do(B, {all, [{send, A, {tag_of_another, 1}}, {send, to(From), {tag(From), answer}}]}),
            {reply, answer} = await(Call),
            each(A, [[first, {'EXIT', C, boom}], [{tag_of_another, 1}]])
        end},
        {"a call ends with its server", fun(A, B) ->
            Call = tell(A, {call, B, question, 10000}),
            asked(B, question),
            stop_now(B, {shutdown, why}),
            {failed, {shutdown, why}} = await(Call)
        end},
        {"a call ends with the name's process", fun(A, B) ->
            Call = tell(A, {call, named(B), question, 10000}),
            asked(B, question),
            C = puppet(node(B)),
            do(C, {exit, B, kill}),
            ended(B, killed),
            {failed, killed} = await(Call)
        end},
        {"a call of nobody fails", fun(A, B) ->
            {failed, noproc} = do(A, {call, {krarup_nobody, node(B)}, question, 10000}),
            stop(B, boom),
            {failed, noproc} = do(A, {call, B, question, 10000})
        end},
        {"a caller that is killed asks no more", fun(A, B) ->
            tell(A, {call, B, question, 10000}),
            From = asked(B, question),
            do(B, {exit, A, kill}),
            ended(A, killed),
            do(B, {send, to(From), {tag(From), answer}})
        end},
        {"a cast is told", fun(A, B) ->
            Target = named(B),
            do(A, {all, [{cast, B, {number, 1}}, {cast, Target, 2}]}),
            got(B, [{'$gen_cast', {number, 1}}, {'$gen_cast', 2}]),
            do(A, {cast, {krarup_nobody, node(B)}, 3})
        end}
    ].

%% Whom the next call is from that a puppet gets.
asked(Pid, Request) ->
    receive
        {signal, Pid, {'$gen_call', From, Request}} -> From
    after deadline() -> error({not_asked, Pid})
    end.

%% Where a call's answer goes.
to({_, [alias | Alias]}) -> Alias;
to({Pid, _}) -> Pid.

tag({_, Tag}) -> Tag.

rpcs() ->
    [
        {"a call of a function gives what it gives", fun(A, B) ->
            Term = any_term(B),
            Cases = [
                {zero, [], {returned, 0}},
                {add, [1, 1 bsl 40], {returned, 1 + (1 bsl 40)}},
                {give, [Term], {returned, Term}},
                {give, [binary:copy(<<1>>, 200000)], {returned, binary:copy(<<1>>, 200000)}},
                {fail, [throw, ball], {throw, ball}},
                {fail, [exit, Term], {exit, Term}},
                {fail, [exit, normal], {exit, normal}},
                {fail, [error, badarg], {error, badarg}},
                {add, [1, two], {error, function_clause}},
                {add, [1], {error, undef}},
                {nothing, [], {error, undef}}
            ],
            [
                Result = do(A, {rpc, node(B), krarup_functions, F, Arguments, 10000})
             || {F, Arguments, Result} <- Cases
            ]
        end},
        {"a call of a function is given up", fun(A, B) ->
            {failed, timeout} = do(A, {rpc, node(B), krarup_functions, await, [B], 50}),
            Waiting = waiting(B),
            do(B, {send, Waiting, late}),
            do(B, {send, A, behind}),
            got(A, [behind])
        end},
        {"a function that is killed gives a signal", fun(A, B) ->
            Call = tell(A, {rpc, node(B), krarup_functions, await, [B], 10000}),
            do(B, {exit, waiting(B), kill}),
            {signal, killed} = await(Call)
        end},
        {"a function takes its time", fun(A, B) ->
            Call = tell(A, {rpc, node(B), krarup_functions, await, [B], infinity}),
            do(B, {send, waiting(B), {at, last}}),
            {returned, {at, last}} = await(Call)
        end}
    ].

%% The process of `krarup_functions:await/1`, which tells a puppet that it waits.
waiting(Pid) ->
    receive
        {signal, Pid, Waiting} when is_pid(Waiting) -> Waiting
    after deadline() -> error({nobody_waits, Pid})
    end.

%% Nodes that are not there.
absences() ->
    [
        {"a call of who is on no node fails", fun(A, _) ->
            Node = 'absent@127.0.0.1',
            {failed, noconnection} = do(A, {call, {krarup_nobody, Node}, question, 10000}),
            {failed, noconnection} = do(A, {call, pid_of(<<"absent@127.0.0.1">>), question, 10000}),
            {failed, noconnection} = do(A, {rpc, Node, krarup_functions, zero, [], 10000}),
            do(A, {cast, {krarup_nobody, Node}, request})
        end},
        {"who is on no node cannot be reached", fun(A, _) ->
            trap(A),
            Pid = pid_of(<<"absent@127.0.0.1">>),
            Name = {krarup_nobody, 'absent@127.0.0.1'},
            ByPid = do(A, {monitor, Pid}),
            got(A, [{'DOWN', ByPid, process, Pid, noconnection}]),
            ByName = do(A, {monitor, Name}),
            got(A, [{'DOWN', ByName, process, Name, noconnection}]),
            do(A, {link, Pid}),
            got(A, [{'EXIT', Pid, noconnection}]),
            do(A, {all, [{send, Pid, lost}, {send, Name, lost}, {exit, Pid, kill}, {unlink, Pid}]})
        end},
        {"who is linked to a process of no node ends", fun(A, _) ->
            tell(A, {link, pid_of(<<"absent@127.0.0.1">>)}),
            ended(A, noconnection),
            maybe_done()
        end}
    ].

%% Rows for two nodes with a connection between them.
apart() ->
    [
        {"who links to a dead process and does not trap ends with `noproc`", fun(A, B) ->
            stop(B, normal),
            tell(A, {link, B}),
            ended(A, noproc),
            maybe_done()
        end},
        {"the connection is dropped by the node of A", fun(A, B) ->
            Stand = stand(A, B),
            do(A, {disconnect, node(B)}),
            parted(Stand)
        end},
        {"the connection is dropped by the node of B", fun(A, B) ->
            Stand = #{far := Far} = stand(A, B),
            do(Far, {disconnect, node(A)}),
            parted(Stand)
        end},
        {"calls end when the connection is dropped", fun(A, B) ->
            {C, D, Far} = {puppet(node(A)), puppet(node(A)), puppet(node(B))},
            Call = tell(A, {call, B, question, infinity}),
            asked(B, question),
            Named = tell(C, {call, named(B), question, 20000}),
            From = asked(B, question),
            Rpc = tell(D, {rpc, node(B), krarup_functions, await, [B], infinity}),
            Waiting = waiting(B),
            do(Far, {disconnect, node(A)}),
            [{failed, noconnection} = await(Started) || Started <- [Call, Named, Rpc]],
            meet(A, node(B)),
            %% Whoever waited there is not told, and its answers reach nobody any more.
            do(B, {all, [{send, Waiting, late}, {send, to(From), {tag(From), late}}]})
        end},
        {"who was started linked ends when the connection is dropped", fun(A, B) ->
            trap(A),
            C = child(A, link, B),
            {D, Ref} = child(A, monitor, B),
            do(A, {disconnect, node(B)}),
            each(A, [[{'EXIT', C, noconnection}], [{'DOWN', Ref, process, D, noconnection}]]),
            ended(C, noconnection),
            meet(A, node(B))
        end},
        {"what was taken back does not fire when the connection is dropped", fun(A, B) ->
            trap(A),
            Alias = do(A, {monitor, B, explicit_unalias}),
            true = do(A, {demonitor, Alias, [info]}),
            do(A, {all, [{link, B}, {unlink, B}]}),
            Fired = do(A, {monitor, {krarup_nobody, node(B)}}),
            got(A, [{'DOWN', Fired, process, {krarup_nobody, node(B)}, noproc}]),
            do(A, {disconnect, node(B)}),
            meet(A, node(B))
        end}
    ].

%% Links and monitors of all kinds between two nodes, which end when the connection does.
stand(A, B) ->
    trap(A),
    Target = named(B),
    {Mortal, Far, Mutual} = {puppet(node(A)), puppet(node(B)), puppet(node(B))},
    trap(Far),
    do(A, {link, B}),
    do(Mortal, {link, Far}),
    do(A, {link, Mutual}),
    do(Mutual, {link, A}),
    Refs = [ByPid, ByName, Twice, Alias] = [
        do(A, {monitor, B}),
        do(A, {monitor, Target}),
        do(A, {monitor, B}),
        do(A, {monitor, B, reply_demonitor})
    ],
    4 = length(lists:usort(Refs)),
    Back = do(Far, {monitor, A}),
    [heard_all(X, Y) || {X, Y} <- [{A, B}, {Mortal, Far}, {A, Mutual}, {Mutual, A}, {Far, A}]],
    #{
        a => A,
        b => B,
        mortal => Mortal,
        far => Far,
        mutual => Mutual,
        back => Back,
        alias => Alias,
        heard => [
            [{'EXIT', B, noconnection}],
            [{'EXIT', Mutual, noconnection}],
            [{'DOWN', ByPid, process, B, noconnection}],
            [{'DOWN', ByName, process, Target, noconnection}],
            [{'DOWN', Twice, process, B, noconnection}],
            [{'DOWN', Alias, process, B, noconnection}]
        ]
    }.

%% What the nodes of a stand see when they have lost each other, and live.
parted(#{a := A, b := B, mortal := Mortal, far := Far, mutual := Mutual} = Stand) ->
    #{back := Back, alias := Alias, heard := Heard} = Stand,
    each(A, Heard),
    ended(Mortal, noconnection),
    each(Far, [[{'EXIT', Mortal, noconnection}], [{'DOWN', Back, process, A, noconnection}]]),
    ended(B, noconnection),
    ended(Mutual, noconnection),
    meet(A, node(Far)),
    do(Far, {all, [{send, Alias, lost}, {send, A, 1}]}),
    got(A, [1]),
    %% Nothing is left of the links from before, and new ones hold.
    do(Far, {link, A}),
    heard_all(Far, A),
    stop(Far, again),
    got(A, [{'EXIT', Far, again}]).

%% What the living node of a stand sees when the other one has ended.
fallen(#{a := A, b := B, mortal := Mortal, far := Far, mutual := Mutual, heard := Heard}, Why) ->
    each(A, Heard),
    ended(Mortal, Why),
    [ended(Gone, Why) || Gone <- [B, Far, Mutual]],
    quiet().

%% A pid of a node, which need not exist.
pid_of(Node) ->
    binary_to_term(<<131, 88, 119, (byte_size(Node)), Node/binary, 77:32, 1:32, 123456:32>>).

%% A term with everything in it that a reason may hold.
any_term(Pid) ->
    {
        {Pid, make_ref(), self()},
        #{<<"key">> => [1 | tail], 1.5 => "text", {} => []},
        [-1, 1 bsl 40, 1 bsl 90, -(1 bsl 3000)],
        fun lists:map/2,
        <<5:3>>,
        'Ünïcode'
    }.
