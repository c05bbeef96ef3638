//! Processes that nodes start on each other: by Erlang on Krarup, as on a node of OTP in its place,
//! and by Rust on both.

use std::time::Duration;

use krarup::term::{Pid, Term};
use krarup::{Process, Signal, SpawnAtError, Ties};
use krarup_tests::{Callee, Lab, Release, Stage, asking_node, for_each_release, inside, term};

const RUST_NODE: &str = env!("CARGO_BIN_EXE_rust-node");
const MODULE: &str = "krarup_callee";
const SOON: Duration = Duration::from_secs(20);

for_each_release!(
    erlang_starts_processes,
    they_end_with_what_the_function_does,
    options_and_replies_are_those_of_otp,
    links_of_started_processes_break_both_ways,
    they_print_where_they_were_started,
    nodes_end_under_started_processes,
    rust_starts_processes,
    what_rust_starts_prints_in_rust,
);

fn erlang_starts_processes(release: Release) {
    Stage::new(release, RUST_NODE).holds(&[
        (
            "P = spawn(Node, krarup_callee, tell, [self(), {x, 1}]),
             receive {told, P, T} -> {node(P), T} after 5000 -> timeout end",
            "{'N',{x,1}}",
        ),
        (
            "process_flag(trap_exit, true), P = spawn_link(Node, krarup_callee, tell, [self(), x]),
             receive {told, P, T} -> ok end, receive {'EXIT', P, Why} -> {T, Why} end",
            "{x,normal}",
        ),
        (
            "{P, R} = spawn_monitor(Node, krarup_callee, tell, [self(), x]),
             receive {told, P, T} -> {T, krarup_asker:down(R)} end",
            "{x,normal}",
        ),
        // The pid is known before anything of the process.
        (
            "lists:usort([begin
                R = spawn_request(Node, krarup_callee, tell, [self(), x], [monitor]),
                {spawn_reply, R, ok, P} = krarup_peer:next(5000),
                {told, P, x} = krarup_peer:next(5000),
                {'DOWN', R, process, P, normal} = krarup_peer:next(5000),
                ok
             end || _ <- lists:seq(1, 200)])",
            "[ok]",
        ),
        (
            "Me = self(), Big = binary:copy(<<1>>, 3000000),
             P = spawn(Node, krarup_callee, tell, [Me, Big]),
             receive {told, P, Back} -> Back =:= Big after 20000 -> timeout end",
            "true",
        ),
        (
            "{_, R} = spawn_monitor('absent@127.0.0.1', m, f, []), krarup_asker:down(R)",
            "noconnection",
        ),
        (
            "process_flag(trap_exit, true), P = spawn_link('absent@127.0.0.1', m, f, []),
             receive {'EXIT', P, Why} -> Why after 5000 -> timeout end",
            "noconnection",
        ),
        ("krarup_asker:mailbox()", "[]"),
    ]);
}

fn they_end_with_what_the_function_does(release: Release) {
    let cases = [
        ("krarup_callee, add, [1, 2]", "normal"),
        ("krarup_callee, fail, [error, {x, 1}]", "{{x,1},[{krarup_callee,fail,2}]}"),
        ("krarup_callee, fail, [exit, {x, 1}]", "{x,1}"),
        ("krarup_callee, fail, [exit, normal]", "normal"),
        ("krarup_callee, fail, [exit, kill]", "kill"),
        ("krarup_callee, fail, [throw, {x, 1}]", "{{nocatch,{x,1}},[{krarup_callee,fail,2}]}"),
        ("krarup_callee, add, [a, b]", "{function_clause,[{krarup_callee,add,2}]}"),
        ("krarup_callee, add, [1]", "{undef,[{krarup_callee,add,1}]}"),
        ("no_module, no_function, [1, two]", "{undef,[{no_module,no_function,2}]}"),
        ("fun krarup_callee:me/0", "normal"),
        ("fun krarup_callee:nothing/0", "{undef,[{krarup_callee,nothing,0}]}"),
        ("erlang, apply, [fun krarup_callee:fail/2, [exit, x]]", "x"),
        ("erlang, apply, [krarup_callee, fail, [exit, x]]", "x"),
    ];
    let mut questions = Vec::new();
    for (function, reason) in cases {
        questions.push((
            format!("{{_, R}} = spawn_monitor(Node, {function}), krarup_asker:down(R)"),
            reason,
        ));
        questions.push((
            format!(
                "process_flag(trap_exit, true), P = spawn_link(Node, {function}),
                 receive {{'EXIT', P, Why}} -> krarup_asker:brief(Why) after 5000 -> timeout end"
            ),
            reason,
        ));
    }
    let closure = "F = krarup_asker:closure(), {_, R} = spawn_monitor(Node, F),
         receive {'DOWN', R, process, _, {undef, Stack}} -> hd(Stack) =:= {F, [], []} end";
    questions.push((closure.to_owned(), "true"));
    let frames = "{_, R} = spawn_monitor(Node, no_module, no_function, [1, two]),
         receive {'DOWN', R, process, _, Why} -> Why end";
    questions.push((frames.to_owned(), "{undef,[{no_module,no_function,[1,two],[]}]}"));
    questions.push(("krarup_asker:mailbox()".to_owned(), "[]"));
    let questions: Vec<(&str, &str)> =
        questions.iter().map(|(question, reason)| (question.as_str(), *reason)).collect();
    let mut stage = Stage::new(release, RUST_NODE);
    stage.holds(&questions);
    let panic = "{_, R} = spawn_monitor(Node, krarup_callee, panic, [<<\"a bug\">>]),
         krarup_asker:down(R)";
    assert_eq!(stage.ask(1, panic), "{{panic,<<\"a bug\">>},[{krarup_callee,panic,1}]}");
}

fn options_and_replies_are_those_of_otp(release: Release) {
    let mut stage = Stage::new(release, RUST_NODE);
    let mut options = vec![
        "{priority, high}",
        "{priority, low}",
        "{fullsweep_after, 10}",
        "{min_heap_size, 1000}",
        "{min_bin_vheap_size, 50000}",
        "{max_heap_size, 10000000}",
        "{max_heap_size, #{size => 10000000, kill => true, error_logger => false}}",
        "{message_queue_data, off_heap}",
        "{message_queue_data, on_heap}",
        "link",
    ];
    if release != Release::R25 {
        options.push("{async_dist, true}");
    }
    for option in options {
        // With the option alone, and between others.
        for all in [format!("[monitor, {option}]"), format!("[{option}, link, monitor]")] {
            let question = format!(
                "process_flag(trap_exit, true),
                 {{P, R}} = spawn_opt(Node, krarup_callee, tell, [self(), x], {all}),
                 receive {{told, P, T}} -> Why = krarup_asker:down(R),
                    receive {{'EXIT', P, _}} -> ok after 0 -> ok end, {{T, Why}}
                 after 5000 -> {{timeout, krarup_asker:mailbox()}} end"
            );
            stage.holds(&[(&question, "{x,normal}")]);
        }
    }
    stage.holds(&[
        (
            "R = spawn_request(Node, krarup_callee, me, [], [{unknown, option}]),
             receive {spawn_reply, R, error, Why} -> Why after 5000 -> timeout end",
            "badopt",
        ),
        (
            "R = spawn_request(Node, krarup_callee, me, [], [link, monitor, unknown]),
             receive {spawn_reply, R, error, Why} -> Why after 5000 -> timeout end",
            "badopt",
        ),
        (
            "krarup_asker:caught(fun() -> spawn_opt(Node, krarup_callee, me, [], [{unknown, x}]) end)",
            "{error,badarg}",
        ),
        (
            "R = spawn_request(Node, krarup_callee, me, [], [{reply_tag, {my, tag}}]),
             receive {{my, tag}, R, ok, P} -> node(P) after 5000 -> timeout end",
            "'N'",
        ),
        (
            "R = spawn_request(Node, krarup_callee, me, [], [{reply_tag, t}, {unknown, x}]),
             receive {t, R, error, Why} -> Why after 5000 -> timeout end",
            "badopt",
        ),
        (
            "R = spawn_request(Node, krarup_callee, me, [], [{reply, success_only}]),
             receive {spawn_reply, R, Result, _} -> Result after 5000 -> timeout end",
            "ok",
        ),
        (
            "R = spawn_request(Node, krarup_callee, me, [], [{reply, error_only}, {unknown, x}]),
             receive {spawn_reply, R, Result, _} -> Result after 5000 -> timeout end",
            "error",
        ),
        // Those that nobody wants to hear of have been answered before the last one is.
        (
            "spawn_request(Node, krarup_callee, me, [], [{reply, no}]),
             spawn_request(Node, krarup_callee, me, [], [{reply, error_only}]),
             spawn_request(Node, krarup_callee, me, [], [{reply, success_only}, {unknown, x}]),
             spawn_request(Node, krarup_callee, me, [], [{reply, no}, {unknown, x}]),
             R = spawn_request(Node, krarup_callee, me, [], [{reply, yes}]),
             receive {spawn_reply, R, Result, _} -> Result after 5000 -> timeout end",
            "ok",
        ),
        (
            "R = spawn_request(Node, krarup_callee, tell, [self(), x], [{reply, no}, monitor]),
             receive {told, _, x} -> krarup_asker:down(R) after 5000 -> timeout end",
            "normal",
        ),
        (
            "{P, R} = spawn_opt(Node, krarup_callee, me, [], [{monitor, [{tag, {my, down}}]}]),
             receive {{my, down}, R, process, P, Why} -> Why after 5000 -> timeout end",
            "normal",
        ),
        (
            "{P, A} = spawn_opt(Node, krarup_callee, hold, [self()],
                [{monitor, [{alias, explicit_unalias}]}]),
             receive {held, P} -> ok end, spawn(fun() -> A ! by_alias end),
             receive by_alias -> P ! {exit, x} end,
             receive {'DOWN', A, process, P, Why} -> Why after 5000 -> timeout end",
            "x",
        ),
        ("krarup_asker:abandoned(Node, 50)", "abandoned"),
        ("process_flag(trap_exit, true), krarup_asker:abandoned(Node, 50)", "abandoned"),
        ("krarup_asker:mailbox()", "[]"),
    ]);
}

fn links_of_started_processes_break_both_ways(release: Release) {
    Stage::new(release, RUST_NODE).holds(&[
        (
            "process_flag(trap_exit, true), P = spawn_link(Node, krarup_callee, hold, [self()]),
             receive {held, P} -> P ! {exit, {x, 1}} end,
             receive {'EXIT', P, Why} -> Why after 5000 -> timeout end",
            "{x,1}",
        ),
        (
            "process_flag(trap_exit, true), P = spawn_link(Node, krarup_callee, hold, [self()]),
             receive {held, P} -> exit(P, kill) end,
             receive {'EXIT', P, Why} -> Why after 5000 -> timeout end",
            "killed",
        ),
        // The one that started it ends first.
        (
            "Me = self(), L = spawn(fun() ->
                P = spawn_link(Node, krarup_callee, hold_trapping, [Me]),
                Me ! {started, P}, receive Why -> exit(Why) end
             end),
             receive {started, P} -> ok end, receive {held, P} -> L ! {y, 2} end,
             receive {exited, P, L, Why} -> Why after 5000 -> timeout end",
            "{y,2}",
        ),
        (
            "Me = self(), L = spawn(fun() ->
                P = spawn_link(Node, krarup_callee, hold, [Me]),
                Me ! {started, P}, receive Why -> exit(Why) end
             end),
             receive {started, P} -> ok end, receive {held, P} -> ok end,
             R = monitor(process, P), L ! {y, 2}, krarup_asker:down(R)",
            "{y,2}",
        ),
        (
            "process_flag(trap_exit, true), P = spawn_link(Node, krarup_callee, hold, [self()]),
             receive {held, P} -> ok end, R = monitor(process, P),
             unlink(P), P ! {exit, x}, {krarup_asker:down(R), krarup_asker:mailbox()}",
            "{x,[]}",
        ),
        (
            "{P, R} = spawn_monitor(Node, krarup_callee, hold, [self()]),
             receive {held, P} -> ok end, R2 = monitor(process, P), demonitor(R),
             P ! {throw, x}, {krarup_asker:down(R2), krarup_asker:mailbox()}",
            "{{{nocatch,x},[{krarup_callee,hold,1}]},[]}",
        ),
        ("krarup_asker:mailbox()", "[]"),
    ]);
}

fn they_print_where_they_were_started(release: Release) {
    let mut stage = Stage::new(release, RUST_NODE);
    for of in 0..2 {
        let text = format!("printed by callee {of}");
        let print = format!(
            "{{_, R}} = spawn_monitor(Node, krarup_callee, print, [\"{text} ü\\n\"]),
             krarup_asker:down(R)"
        );
        assert_eq!(stage.ask(of, &print), "normal");
        stage.asker.process().wait_line(&format!("{text} ü"), SOON);
        let report = "erpc:call(Node, krarup_callee, print, [\"\"])";
        assert_eq!(stage.ask(of, report), "ok");
    }
}

fn nodes_end_under_started_processes(release: Release) {
    let Stage { mut asker, callees, lab: _lab } = Stage::new(release, RUST_NODE);
    asker.eval("process_flag(trap_exit, true).");
    for callee in callees {
        let name = callee.name().to_owned();
        asker.eval(&format!(
            "(fun(Node, Me) ->
                Linked = spawn_link(Node, krarup_callee, hold, [Me]),
                {{Monitored, Ref}} = spawn_monitor(Node, krarup_callee, hold, [Me]),
                [receive {{held, P}} -> ok end || P <- [Linked, Monitored]],
                put(started, {{Linked, Ref}})
             end)('{name}', self())."
        ));
        drop(callee);
        let ends = asker.eval(
            "(fun({Linked, Ref}) ->
                Exit = receive {'EXIT', Linked, Why} -> Why after 10000 -> timeout end,
                {Exit, krarup_asker:down(Ref), krarup_asker:mailbox()}
             end)(get(started)).",
        );
        assert_eq!(ends, "{noconnection,noconnection,[]}", "{name}");
    }
}

async fn next_exit(me: &mut Process) -> (Pid, Term) {
    match me.recv().await {
        Ok(Signal::Exit(exit)) => (exit.from, exit.reason),
        other => panic!("not an exit: {other:?}"),
    }
}

fn rust_starts_processes(release: Release) {
    let lab = Lab::new();
    let node = asking_node(&lab);
    for callee in Callee::of_both_kinds(&lab, release, RUST_NODE) {
        let name = callee.name().to_owned();
        inside(&node, async move |me| {
            let there = name.as_str();
            me.trap_exit(true);
            let tell = (me.pid(), "x");
            let pid = me.spawn_at(there, MODULE, "tell", tell.clone()).await?;
            let (_, from, text): (Term, Pid, String) = me.recv().await?.message()?;
            assert_eq!((from, text.as_str()), (pid, "x"));
            for (class, reason) in [("exit", "{x, 1}"), ("exit", "normal")] {
                let arguments = vec![term(class), term(reason)];
                let (pid, monitor) =
                    me.spawn_monitor_at(there, MODULE, "fail", arguments.clone()).await?;
                match me.recv().await? {
                    Signal::Down(down) => {
                        assert_eq!((down.reference, down.from), (monitor, pid.into()));
                        assert_eq!(down.reason, term(reason));
                    }
                    other => panic!("{other:?}"),
                }
                let pid = me.spawn_link_at(there, MODULE, "fail", arguments).await?;
                assert_eq!(next_exit(me).await, (pid, term(reason)));
            }
            // Reasons with the line of the function in front.
            for (class, reason) in [("error", "{x, 1}"), ("throw", "{nocatch, {x, 1}}")] {
                let arguments = vec![term(class), term("{x, 1}")];
                let pid = me.spawn_link_at(there, MODULE, "fail", arguments).await?;
                let (from, why) = next_exit(me).await;
                assert_eq!(from, pid);
                let [got, Term::List(stack)] = why.as_tuple().expect("a pair") else {
                    panic!("{why}");
                };
                assert_eq!(*got, term(reason));
                let frame = stack[0].as_tuple().expect("a frame");
                assert_eq!(frame[..3], [term(MODULE), term("fail"), term("2")]);
            }
            let pid = me.spawn_link_at(there, "no", "function", vec![term("1")]).await?;
            let (from, why) = next_exit(me).await;
            assert_eq!((from, why), (pid, term("{undef, [{no, function, [1], []}]}")));
            // Links break both ways.
            let own = me.pid();
            let pid = me.spawn_link_at(there, MODULE, "hold", (&own,)).await?;
            let (_, held): (Term, Pid) = me.recv().await?.message()?;
            assert_eq!(held, pid);
            assert_eq!(me.ties().links, 1);
            me.send(&pid, &term("{exit, {y, 2}}")).await?;
            assert_eq!(next_exit(me).await, (pid, term("{y, 2}")));
            let target = name.clone();
            let child = me.spawn_link(move |mut me| async move {
                me.spawn_link_at(&target, MODULE, "hold_trapping", (own,)).await?;
                let _ = me.recv().await?;
                Err(krarup::ExitReason(term("{z, 3}")).into())
            })?;
            let (_, held): (Term, Pid) = me.recv().await?.message()?;
            me.send(&child, "end").await?;
            let mut seen = 0;
            for _ in 0..2 {
                match me.recv().await? {
                    Signal::Exit(exit) => {
                        assert_eq!((&exit.from, &exit.reason), (&child, &term("{z, 3}")));
                        seen += 1;
                    }
                    signal => {
                        let (_, pid, of, why): (Term, Pid, Pid, Term) = signal.message()?;
                        assert_eq!((pid, of, why), (held.clone(), child.clone(), term("{z, 3}")));
                        seen += 2;
                    }
                }
            }
            assert_eq!(seen, 3);
            let absent = me.spawn_at("absent@127.0.0.1", MODULE, "me", ()).await;
            assert_eq!(absent, Err(SpawnAtError::NoConnection));
            let absent = me.spawn_link_at("absent@127.0.0.1", MODULE, "me", ()).await;
            assert_eq!(absent, Err(SpawnAtError::NoConnection));
            assert_eq!(me.ties(), Ties::default());
            Ok(())
        });
    }
    node.stop().wait();
}

fn what_rust_starts_prints_in_rust(release: Release) {
    let mut stage = Stage::new(release, RUST_NODE);
    let start = |call: &str| {
        format!(
            "erpc:call('k@127.0.0.1', krarup_callee, start_at,
                ['o@127.0.0.1', krarup_callee, report, [self() | {call}]]),
             receive {{reported, _, Value}} -> Value after 10000 -> timeout end"
        )
    };
    let mut holds = |call: &str, value: &str| {
        assert_eq!(stage.ask(1, &start(call)), value, "{call}");
    };
    holds("[io, format, [\"~tp and ~ts~n\", [{formatted, 1}, \"täxt\"]]]", "ok");
    holds("[io, put_chars, [\"put ünd chars\\n\"]]", "ok");
    holds("[io, put_chars, [<<\"a binary\\n\">>]]", "ok");
    holds("[io, fwrite, [\"plain~n\"]]", "ok");
    holds("[io, write, [{written, [1]}]]", "ok");
    holds("[io, nl, []]", "ok");
    // Whoever asks for input is answered that there is none.
    holds("[io, get_line, [\"\"]]", "{error,enotsup}");
    holds("[io, get_chars, [\"\", 3]]", "{error,enotsup}");
    holds("[io, read, [\"\"]]", "{error,enotsup}");
    holds("[io, fread, [\"\", \"~d\"]]", "{error,enotsup}");
    holds("[io, setopts, [[binary]]]", "{error,enotsup}");
    holds("[io, columns, []]", "{error,enotsup}");
    holds("[io, getopts, []]", "[{binary,false},{encoding,unicode}]");
    let output = stage.callees[1].process();
    for line in ["{formatted,1} and täxt", "put ünd chars", "a binary", "plain", "{written,[1]}"]
    {
        output.wait_line(line, SOON);
    }
}
