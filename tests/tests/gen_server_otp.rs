//! `gen_server` between Erlang and Krarup, both ways: every question is put to a server in Rust and
//! to one of OTP in its place, and both give the same answer.

use std::sync::mpsc;
use std::time::Duration;

use krarup::gen_server::MultiCall;
use krarup::term::{Atom, Pid, Term};
use krarup::{CallError, Signal, Ties};
use krarup_tests::{Callee, Lab, Release, Stage, asking_node, for_each_release, inside, term};

const RUST_NODE: &str = env!("CARGO_BIN_EXE_rust-node");
const SOON: Duration = Duration::from_secs(20);

for_each_release!(
    erlang_calls_and_casts,
    tags_come_back_as_they_were,
    erlang_gives_calls_up,
    servers_end_while_erlang_waits,
    nodes_end_while_erlang_waits,
    a_server_in_rust_says_what_it_does_not_understand,
    rust_calls_and_casts,
    rust_gives_calls_up,
    servers_end_while_rust_waits,
    nodes_end_while_rust_waits,
);

fn stage(release: Release) -> Stage {
    Stage::new(release, RUST_NODE)
}

fn callees(lab: &Lab, release: Release) -> [Callee; 2] {
    Callee::of_both_kinds(lab, release, RUST_NODE)
}

fn erlang_calls_and_casts(release: Release) {
    let mut stage = stage(release);
    stage.holds(&[
        ("gen_server:call(Server, {echo, {1, \"a\", <<2>>}})", "{1,\"a\",<<2>>}"),
        ("gen_server:call(Server, {echo, normal}, infinity)", "normal"),
        ("Pid = gen_server:call(Server, pid), gen_server:call(Pid, {echo, Node})", "'N'"),
        ("Pid = gen_server:call(Server, pid), node(Pid)", "'N'"),
        (
            "B = binary:copy(<<1, 2, 3>>, 1000000), B =:= gen_server:call(Server, {echo, B}, 20000)",
            "true",
        ),
        ("gen_server:cast(Server, {tell, self(), told}), krarup_peer:next(5000)", "told"),
        (
            "Pid = gen_server:call(Server, pid), gen_server:cast(Pid, {tell, self(), told}),
             krarup_peer:next(5000)",
            "told",
        ),
        ("gen_server:abcast([Node], callee, {tell, self(), told}), krarup_peer:next(5000)", "told"),
        ("Server ! {tell, self(), [x]}, krarup_peer:next(5000)", "{info,[x]}"),
        ("gen_server:multi_call([Node], callee, {echo, [1]})", "{[{'N',[1]}],[]}"),
        (
            "gen_server:multi_call([Node, 'asker@127.0.0.1'], callee, {echo, 1}, 5000)",
            "{[{'N',1}],['asker@127.0.0.1']}",
        ),
        (
            "Nodes = ['k@127.0.0.1', 'o@127.0.0.1'],
             {Replies, []} = gen_server:multi_call(Nodes, callee, {echo, 1}, 5000),
             lists:sort(Replies) =:= [{N, 1} || N <- Nodes]",
            "true",
        ),
        ("gen_server:multi_call([Node], nobody, x, 5000)", "{[],['N']}"),
        (
            "Id = gen_server:send_request(Server, {echo, 2}), gen_server:receive_response(Id, 5000)",
            "{reply,2}",
        ),
        (
            "Id = gen_server:send_request(Server, {echo, 2}), gen_server:wait_response(Id, 5000)",
            "{reply,2}",
        ),
        (
            "Id = gen_server:send_request(Server, {echo, 2}),
             Check = fun Again() ->
                receive M -> gen_server:check_response(M, Id) after 5000 -> timeout end
             end, Check()",
            "{reply,2}",
        ),
        (
            "Ids = lists:foldl(
                fun(N, Ids) -> gen_server:send_request(Server, {echo, N}, {label, N}, Ids) end,
                gen_server:reqids_new(), [1, 2, 3]),
             Receive = fun
                Again(Left) ->
                    case gen_server:receive_response(Left, 5000, true) of
                        no_request -> [];
                        {Response, Label, Rest} -> [{Label, Response} | Again(Rest)]
                    end
             end, lists:sort(Receive(Ids))",
            "[{{label,1},{reply,1}},{{label,2},{reply,2}},{{label,3},{reply,3}}]",
        ),
        (
            "Id = gen_server:send_request({nobody, Node}, x),
             gen_server:receive_response(Id, 5000)",
            "{error,{noproc,{nobody,'N'}}}",
        ),
        (
            "gen_server:call({nobody, Node}, x)",
            "{exit,{noproc,{gen_server,call,[{nobody,'N'},x]}}}",
        ),
        (
            "P = spawn(Node, krarup_callee, me, []), krarup_peer:exit_reason(P, 5000),
             {exit, {Why, _}} = krarup_asker:caught(fun() -> gen_server:call(P, x) end), Why",
            "noproc",
        ),
        ("sys:get_state({nobody, Node})", "{exit,{noproc,{sys,get_state,[{nobody,'N'}]}}}"),
        // Nothing has been left over by any of them.
        ("krarup_asker:mailbox()", "[]"),
    ]);
}

fn tags_come_back_as_they_were(release: Release) {
    let mut stage = stage(release);
    let tags = "[make_ref(), {make_ref(), Node}, {make_ref(), 'asker@127.0.0.1'}, [a | b],
        [1, 2 | 3], [[x | y] | z], [[[[a | b] | c]] | d], [alias | no_reference],
        [[alias | a] | b], [alias, make_ref()], [], \"text\", <<>>, <<5:3>>, 1.5, -1, 1 bsl 40,
        1 bsl 2000, a, 'Ünïcode', self(), hd(erlang:ports()), fun lists:map/2,
        krarup_asker:closure(), #{}, #{{a, 1} => [b | c], 1.0 => 1}, {}, {{{}}},
        list_to_tuple(lists:seq(1, 300)), lists:duplicate(70000, $a), binary:copy(<<7>>, 300000),
        {call, [alias | make_ref()]}]";
    let alias = "
        Alias = alias(), Other = make_ref(),
        Tags = [[alias | Alias], [[alias | Alias] | Other], [[alias | Alias] | [1 | 2]]],
        Kept = krarup_asker:tags_kept(Server, Tags), unalias(Alias), Kept";
    let nobody = "
        Dead = alias(), unalias(Dead),
        [Server ! {'$gen_call', {self(), Tag}, {echo, lost}}
            || Tag <- [[alias | Dead], [[alias | Dead] | make_ref()], [alias | make_ref()]]],
        pong = gen_server:call(Server, {echo, pong}), krarup_asker:mailbox()";
    stage.holds(&[
        (&format!("krarup_asker:tags_kept(Server, {tags})"), "[]"),
        (alias, "[]"),
        (nobody, "[]"),
        // Answers go where the call says, whoever sent it.
        (
            "Me = self(), spawn(fun() -> Server ! {'$gen_call', {Me, tag}, {echo, x}} end),
             krarup_peer:next(5000)",
            "{tag,x}",
        ),
    ]);
}

fn erlang_gives_calls_up(release: Release) {
    let mut stage = stage(release);
    stage.holds(&[
        (
            "gen_server:call(Server, later, 50)",
            "{exit,{timeout,{gen_server,call,[{callee,'N'},later,50]}}}",
        ),
        ("gen_server:multi_call([Node], callee, later, 50)", "{[],['N']}"),
        (
            "Id = gen_server:send_request(Server, later), gen_server:receive_response(Id, 50)",
            "timeout",
        ),
        // They all wait on the other side still; the answers are for nobody.
        ("gen_server:call(Server, waiting)", "3"),
        (
            "ok = gen_server:cast(Server, {answer_all, late}), 0 = gen_server:call(Server, waiting),
             krarup_asker:mailbox()",
            "[]",
        ),
        // One that is not given up gets its answer late.
        (
            "Id = gen_server:send_request(Server, later),
             timeout = gen_server:wait_response(Id, 50),
             ok = gen_server:cast(Server, {answer_all, late}),
             gen_server:wait_response(Id, 5000)",
            "{reply,late}",
        ),
        (
            "Calls = krarup_asker:calls(Server, later, 20),
             krarup_asker:until(fun() -> gen_server:call(Server, waiting) end, 20),
             gen_server:cast(Server, {answer_all, now}), lists:usort(krarup_asker:answers(Calls))",
            "[now]",
        ),
        ("krarup_asker:mailbox()", "[]"),
    ]);
}

fn servers_end_while_erlang_waits(release: Release) {
    let ends = [
        ("gen_server:cast(Server, {stop, {shutdown, enough}})", "{shutdown,enough}", "ok"),
        ("gen_server:call(Server, {stop, shutdown, bye})", "shutdown", "bye"),
        ("gen_server:call(Server, {stop, normal, #{}})", "normal", "#{}"),
        (
            "gen_server:call(Server, {leave, {so, 1}})",
            "{so,1}",
            "{exit,{{so,1},{gen_server,call,[{callee,'N'},{leave,{so,1}}]}}}",
        ),
        ("exit(gen_server:call(Server, pid), kill)", "killed", "true"),
        ("gen_server:stop(Server)", "normal", "ok"),
        ("gen_server:stop(Server, {so, [1]}, 5000)", "{so,[1]}", "ok"),
    ];
    for (end, reason, answer) in ends {
        // The server is needed anew each time.
        let mut stage = stage(release);
        let waiting = format!(
            "Calls = krarup_asker:calls(Server, later, 5),
             krarup_asker:until(fun() -> gen_server:call(Server, waiting) end, 5),
             Id = gen_server:send_request(Server, later),
             ByName = monitor(process, Server),
             Answer = krarup_asker:caught(fun() -> {end} end),
             {{Answer, krarup_asker:down(ByName), lists:usort(krarup_asker:answers(Calls)),
                gen_server:receive_response(Id, 5000), krarup_asker:mailbox()}}"
        );
        let called = "{gen_server,call,[{callee,'N'},later,infinity]}";
        let expected = format!(
            "{{{answer},{reason},[{{exit,{{{reason},{called}}}}}],{{error,{{{reason},{{callee,'N'}}}}}},[]}}"
        );
        let gone = "gen_server:call(Server, {echo, 1})";
        let noproc = "{exit,{noproc,{gen_server,call,[{callee,'N'},{echo,1}]}}}";
        stage.holds(&[(&waiting, &expected), (gone, noproc)]);
    }
}

fn nodes_end_while_erlang_waits(release: Release) {
    let Stage { mut asker, callees, lab: _lab } = stage(release);
    for callee in callees {
        let name = callee.name().to_owned();
        asker.eval(&format!(
            "Start = fun(Node) ->
                Server = {{callee, Node}}, Pid = gen_server:call(Server, pid),
                Calls = krarup_asker:calls(Server, later, 3) ++ krarup_asker:calls(Pid, later, 3),
                krarup_asker:until(fun() -> gen_server:call(Server, waiting) end, 6),
                {{Calls, gen_server:send_request(Server, later)}}
             end,
             put(stand, Start('{name}'))."
        ));
        // As `kill -9` does.
        drop(callee);
        let answers = asker.eval(
            "(fun({Calls, Id}) ->
                Whys = [Why || {exit, {Why, _}} <- krarup_asker:answers(Calls)],
                {Whys, gen_server:receive_response(Id, 5000), krarup_asker:mailbox()}
             end)(get(stand)).",
        );
        let down = format!("{{nodedown,'{name}'}}");
        let downs = [down.as_str(); 6].join(",");
        let response = format!("{{error,{{noconnection,{{callee,'{name}'}}}}}}");
        assert_eq!(answers, format!("{{[{downs}],{response},[]}}"));
        let gone =
            format!("krarup_asker:caught(fun() -> gen_server:call({{callee, '{name}'}}, x) end).");
        let called = format!("{{gen_server,call,[{{callee,'{name}'}},x]}}");
        assert_eq!(asker.eval(&gone), format!("{{exit,{{{down},{called}}}}}"));
        let several = format!("gen_server:multi_call(['{name}'], callee, x, 5000).");
        assert_eq!(asker.eval(&several), format!("{{[],['{name}']}}"));
    }
}

/// Where an Erlang server would fail, one in Rust answers and goes on.
fn a_server_in_rust_says_what_it_does_not_understand(release: Release) {
    let mut stage = stage(release);
    let mut ask = |question: &str| stage.ask(1, question);
    let bad = "{error, {bad_request, Text}} = gen_server:call(Server, nonsense), is_binary(Text)";
    assert_eq!(ask(bad), "true");
    let bad = "{error, {bad_request, _}} = gen_server:call(Server, {stop, one_too_few}), ok";
    assert_eq!(ask(bad), "ok");
    assert_eq!(ask("gen_server:cast(Server, nonsense)"), "ok");
    let no_calls =
        "[Server ! {'$gen_call', From, {echo, x}} || From <- [self(), {a, b}, x, {self()}]],
        Server ! {'$gen_call', x}, Server ! {'$gen_cast'}, Server ! {system, x, get_state},
        gen_server:call(Server, {echo, pong})";
    assert_eq!(ask(no_calls), "pong");
    let unknown = "{error,{unknown_system_msg,get_state}}";
    assert_eq!(ask("sys:get_state(Server)"), unknown);
    assert_eq!(ask("gen_server:call(Server, {echo, alive})"), "alive");
    assert_eq!(ask("krarup_asker:mailbox()"), "[]");
}

fn rust_calls_and_casts(release: Release) {
    let lab = Lab::new();
    let (node, callees) = (asking_node(&lab), callees(&lab, release));
    for callee in &callees {
        let name = Atom::new(callee.name()).expect("an atom");
        inside(&node, async move |me| {
            let server = ("callee", name.as_str());
            let ask = async |text: &str| me.call::<Term>(server, &term(text), SOON).await;
            assert_eq!(ask("{echo, {1, \"a\", <<2>>}}").await?, term("{1, \"a\", <<2>>}"));
            assert_eq!(ask("{echo, [a | b]}").await?, term("[a | b]"));
            let pid: Pid = me.call(server, &term("pid"), SOON).await?;
            assert_eq!(pid.node, name);
            let echo: u64 = me.call(&pid, &term("{echo, 77}"), Duration::MAX).await?;
            assert_eq!(echo, 77);
            let wrong = me.call::<u64>(&pid, &term("{echo, text}"), SOON).await;
            assert!(matches!(wrong, Err(CallError::Convert(_))), "{wrong:?}");
            let big = Term::Binary(vec![7; 3_000_000].into());
            let request = Term::Tuple(vec![term("echo"), big.clone()]);
            assert_eq!(me.call::<Term>(&pid, &request, SOON).await?, big);
            // Several at once, answered in any order.
            let first = me.send_request::<Term>(server, &term("later"));
            let second = me.send_request::<Term>(server, &term("{echo, 2}"));
            assert_eq!(second.await?, term("2"));
            me.cast(server, &term("{answer_all, 1}")).await?;
            assert_eq!(first.await?, term("1"));
            let told = Term::Tuple(vec![term("tell"), Term::Pid(me.pid()), term("told")]);
            me.cast(server, &told).await?;
            assert_eq!(me.recv().await?.term()?, term("told"));
            me.cast(&pid, &told).await?;
            assert_eq!(me.recv().await?.term()?, term("told"));
            me.send(server, &told).await?;
            assert_eq!(me.recv().await?.term()?, term("{info, told}"));
            // Who is not there.
            let nobody = me.call::<Term>(("nobody", name.as_str()), &term("x"), SOON).await;
            assert_eq!(nobody, Err(CallError::NoProcess));
            let nowhere = me.call::<Term>(("callee", "absent@127.0.0.1"), &term("x"), SOON).await;
            assert_eq!(nowhere, Err(CallError::NoConnection));
            let nodes = [name.clone(), me.pid().node, Atom::from_static("absent@127.0.0.1")];
            let MultiCall { replies, bad_nodes } =
                me.multi_call::<Term>(&nodes, "callee", &term("{echo, [1]}"), SOON).await;
            assert_eq!(replies, [(name, term("[1]"))]);
            let [_, own, absent] = nodes;
            let bad = [(own, CallError::NoProcess), (absent, CallError::NoConnection)];
            assert_eq!(bad_nodes, bad);
            Ok(())
        });
        let server = ("callee", callee.name());
        let outside = node.call::<Term>(server, &term("{echo, outside}"), SOON).wait();
        assert_eq!(outside, Ok(term("outside")));
    }
    // A server that answers to the pid.
    let name = callees[0].name().to_owned();
    inside(&node, async move |me| {
        let server = ("old", name.as_str());
        assert_eq!(me.call::<Term>(server, &term("{x, 1}"), SOON).await?, term("{x, 1}"));
        let late = me.send_request::<Term>(server, &term("{late, 1}"));
        let next = me.send_request::<Term>(server, &term("2"));
        assert_eq!(next.await?, term("2"));
        assert_eq!(late.await?, term("1"));
        Ok(())
    });
    node.stop().wait();
}

fn rust_gives_calls_up(release: Release) {
    let lab = Lab::new();
    let (node, callees) = (asking_node(&lab), callees(&lab, release));
    for callee in &callees {
        let name = callee.name().to_owned();
        inside(&node, async move |me| {
            let server = ("callee", name.as_str());
            let short = Duration::from_millis(50);
            let given_up = me.call::<Term>(server, &term("later"), short).await;
            assert_eq!(given_up, Err(CallError::Timeout));
            drop(me.send_request::<Term>(server, &term("later")));
            let nodes = [Atom::new(&name)?];
            let several = me.multi_call::<Term>(&nodes, "callee", &term("later"), short).await;
            assert_eq!(several.bad_nodes, [(nodes[0].clone(), CallError::Timeout)]);
            assert_eq!(me.ties(), Ties::default());
            // They were all asked; what comes of it is for nobody.
            assert_eq!(me.call::<u64>(server, &term("waiting"), SOON).await?, 3);
            me.cast(server, &term("{answer_all, late}")).await?;
            assert_eq!(me.call::<u64>(server, &term("waiting"), SOON).await?, 0);
            Ok(())
        });
        // The reply that is dropped gives the call up.
        let server = ("callee", callee.name());
        drop(node.call::<Term>(server, &term("later"), SOON));
    }
    node.stop().wait();
}

fn servers_end_while_rust_waits(release: Release) {
    for (end, reason) in [
        ("{stop, {shutdown, enough}}", "{shutdown, enough}"),
        ("{stop, normal}", "normal"),
        ("{stop, [a | b]}", "[a | b]"),
    ] {
        let lab = Lab::new();
        let (node, callees) = (asking_node(&lab), callees(&lab, release));
        for callee in &callees {
            let name = callee.name().to_owned();
            inside(&node, async move |me| {
                let server = ("callee", name.as_str());
                let pid: Pid = me.call(server, &term("pid"), SOON).await?;
                let calls: Vec<_> = (0..4)
                    .map(|number| match number % 2 {
                        0 => me.send_request::<Term>(server, &term("later")),
                        _ => me.send_request::<Term>(&pid, &term("later")),
                    })
                    .collect();
                assert_eq!(me.call::<u64>(server, &term("waiting"), SOON).await?, 4);
                let monitor = me.monitor(&pid);
                me.cast(server, &term(end)).await?;
                for call in calls {
                    assert_eq!(call.await, Err(CallError::Ended(term(reason))));
                }
                let gone = me.call::<Term>(server, &term("pid"), SOON).await;
                assert_eq!(gone, Err(CallError::NoProcess));
                let gone = me.call::<Term>(&pid, &term("pid"), SOON).await;
                assert_eq!(gone, Err(CallError::NoProcess));
                match me.recv().await? {
                    Signal::Down(down) => {
                        assert_eq!((down.reference, down.reason), (monitor, term(reason)));
                    }
                    other => panic!("{other:?}"),
                }
                Ok(())
            });
        }
        node.stop().wait();
    }
}

fn nodes_end_while_rust_waits(release: Release) {
    let lab = Lab::new();
    let node = asking_node(&lab);
    for callee in callees(&lab, release) {
        let name = callee.name().to_owned();
        let (ready, is_ready) = mpsc::channel();
        let killer = std::thread::spawn(move || {
            is_ready.recv_timeout(SOON).expect("it waits");
            // As `kill -9` does.
            drop(callee);
        });
        inside(&node, async move |me| {
            let server = ("callee", name.as_str());
            let pid: Pid = me.call(server, &term("pid"), SOON).await?;
            let calls = [
                me.send_request::<Term>(server, &term("later")),
                me.send_request::<Term>(&pid, &term("later")),
            ];
            assert_eq!(me.call::<u64>(server, &term("waiting"), SOON).await?, 2);
            ready.send(())?;
            for call in calls {
                assert_eq!(call.await, Err(CallError::NoConnection));
            }
            let gone = me.call::<Term>(server, &term("pid"), SOON).await;
            assert_eq!(gone, Err(CallError::NoConnection));
            Ok(())
        });
        killer.join().expect("it kills");
    }
    node.stop().wait();
}
