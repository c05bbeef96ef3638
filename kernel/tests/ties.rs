//! Links, monitors, calls and spawns between processes of one node, of its shards, and of two
//! nodes.

#[path = "support/inside.rs"]
mod inside;
mod support;

use std::sync::mpsc;
use std::time::Duration;

use inside::{atom, inside};
use krarup::gen_server::{Answer, Caller, serve};
use krarup::term::{Atom, Pid, Term};
use krarup::{
    AliasMode, CallError, ExitReason, GenServer, Node, Process, ProcessResult, Raise, RpcError,
    Signal, Ties,
};
use support::{PATIENCE, pair, pair_with, stop};

/// Waits until it is told to end with a reason.
async fn mortal(mut me: Process) -> ProcessResult {
    while let Ok(signal) = me.recv().await {
        if let Ok(reason) = signal.term() {
            return Err(ExitReason(reason).into());
        }
    }
    Ok(())
}

async fn next_exit(me: &mut Process) -> (Pid, Term) {
    match me.recv().await {
        Ok(Signal::Exit(exit)) => (exit.from, exit.reason),
        other => panic!("not an exit: {other:?}"),
    }
}

async fn next_down(me: &mut Process) -> krarup::Down {
    match me.recv().await {
        Ok(Signal::Down(down)) => *down,
        other => panic!("not a down: {other:?}"),
    }
}

/// A process, as seen from shard 0 of the first node: on the same shard, another one, another node.
fn everywhere(test: impl Fn(&Node, Pid)) {
    let (a, b) = pair(2);
    for (node, shard) in [(&a, 0), (&a, 1), (&b, 0), (&b, 1)] {
        let pid = node.spawn_on(shard, None, mortal).wait().expect("a process");
        test(&a, pid);
    }
    stop([a, b]);
}

#[test]
fn a_link_and_a_monitor_fire_with_the_reason() {
    everywhere(|node, pid| {
        inside(node, 0, |mut me| async move {
            me.trap_exit(true);
            me.link(&pid);
            let monitor = me.monitor(&pid);
            me.send(&pid, "because").await?;
            let mut seen = 0;
            for _ in 0..2 {
                match me.recv().await? {
                    Signal::Exit(exit) => {
                        assert_eq!(
                            (exit.from, exit.reason.to_text().unwrap().as_str()),
                            (pid.clone(), "because")
                        );
                        seen += 1;
                    }
                    Signal::Down(down) => {
                        assert_eq!(down.reference, monitor);
                        assert_eq!(down.from, pid.clone().into());
                        seen += 2;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(seen, 3);
            assert_eq!(me.ties(), Ties::default());
            // Once more, now that it is gone.
            me.link(&pid);
            assert_eq!(next_exit(&mut me).await, (pid.clone(), atom("noproc")));
            let monitor = me.monitor(&pid);
            let down = next_down(&mut me).await;
            assert_eq!((down.reference, down.reason), (monitor, atom("noproc")));
            Ok(())
        });
    });
}

#[test]
fn what_was_taken_back_does_not_fire() {
    everywhere(|node, pid| {
        inside(node, 0, |mut me| async move {
            me.trap_exit(true);
            me.link(&pid);
            me.unlink(&pid);
            let monitor = me.monitor(&pid);
            assert!(me.demonitor(&monitor));
            assert!(!me.demonitor(&monitor));
            let kept = me.monitor(&pid);
            me.exit(&pid, &atom("kill"));
            let down = next_down(&mut me).await;
            assert_eq!((down.reference, down.reason), (kept, atom("killed")));
            assert!(me.try_recv().is_none());
            assert_eq!(me.ties(), Ties::default());
            Ok(())
        });
    });
}

#[test]
fn who_does_not_trap_exits_ends_with_who_it_is_linked_to() {
    everywhere(|node, pid| {
        inside(node, 0, |mut me| async move {
            let target = pid.clone();
            let (middle, first) = me.spawn_monitor(move |child| async move {
                child.link(&target);
                mortal(child).await
            })?;
            let second = me.monitor(&pid);
            // `normal` ends nobody.
            me.exit(&middle, &atom("normal"));
            me.exit(&middle, &atom("enough"));
            for _ in 0..2 {
                let down = next_down(&mut me).await;
                assert!([&first, &second].contains(&&down.reference));
                assert_eq!(down.reason, atom("enough"));
            }
            Ok(())
        });
    });
}

#[test]
fn aliases_last_as_long_as_they_are_asked_to() {
    let (a, b) = pair(2);
    let echo = b
        .spawn_on(1, Some("echo"), |mut me| async move {
            while let Ok(signal) = me.recv().await {
                if let Ok((to, count)) = signal.message::<(krarup::term::Reference, u32)>() {
                    for number in 0..count {
                        me.send(&to, &number).await?;
                    }
                }
            }
            Ok(())
        })
        .wait()
        .expect("a process");
    inside(&a, 0, move |mut me| async move {
        let reply = me.alias_with(AliasMode::Reply);
        me.send(&echo, &(&reply, 3)).await?;
        let explicit = me.alias();
        me.send(&echo, &(&explicit, 3)).await?;
        for expected in [0_u32, 0, 1, 2] {
            assert_eq!(me.recv().await?.message::<u32>()?, expected);
        }
        assert!(!me.unalias(&reply));
        assert!(me.unalias(&explicit));
        me.send(&echo, &(&explicit, 3)).await?;
        let monitored = me.monitor_with_alias(&echo, AliasMode::Reply);
        me.send(&echo, &(&monitored, 2)).await?;
        assert_eq!(me.recv().await?.message::<u32>()?, 0);
        assert_eq!(me.ties(), Ties::default());
        Ok(())
    });
    stop([a, b]);
}

/// Adds up, and shows each way to answer.
#[derive(Default)]
struct Counter {
    count: u64,
    waiting: Option<Caller>,
}

impl GenServer for Counter {
    type Call = (String, u64);
    type Reply = u64;
    type Cast = u64;

    async fn call(
        &mut self,
        me: &mut Process,
        (what, number): (String, u64),
        from: &Caller,
    ) -> Result<Answer<u64>, Box<dyn std::error::Error>> {
        match what.as_str() {
            "add" => self.count += number,
            "wait" => {
                self.waiting = Some(from.clone());
                return Ok(Answer::Later);
            }
            "stop" => return Ok(Answer::Stop(atom("shutdown"), self.count)),
            "fail" => return Err("as told".into()),
            _ => {}
        }
        if let Some(waiting) = self.waiting.take() {
            waiting.reply(me, &self.count).await?;
        }
        Ok(Answer::Reply(self.count))
    }

    async fn cast(&mut self, _: &mut Process, number: u64) -> ProcessResult {
        self.count += number;
        Ok(())
    }
}

#[test]
fn servers_answer_calls_from_processes_and_from_outside() {
    let (a, b) = pair(2);
    b.spawn("counter", |me| serve(me, Counter::default())).expect("a process");
    let server = ("counter", "b@127.0.0.1");
    b.cast("counter", &5_u64).wait().expect("it is sent");
    for node in [&a, &b] {
        let sum: u64 = node.call(server, &("add", 1), PATIENCE).wait().expect("an answer");
        assert!(sum >= 6);
    }
    inside(&a, 1, move |me| async move {
        me.cast(server, &3_u64).await?;
        let waiting = me.send_request::<u64>(server, &("wait", 0));
        assert_eq!(me.call::<u64>(server, &("add", 10), PATIENCE).await?, 20);
        assert_eq!(waiting.await?, 20);
        // A call that is given up leaves nothing behind, and its late answer goes nowhere.
        let late = me.call::<u64>(server, &("wait", 0), Duration::from_millis(20)).await;
        assert_eq!(late, Err(CallError::Timeout));
        drop(me.send_request::<u64>(server, &("wait", 0)));
        assert_eq!(me.call::<u64>(server, &("get", 0), PATIENCE).await?, 20);
        assert_eq!(me.ties(), Ties::default());
        let bad = me.call::<Term>(server, "nonsense", PATIENCE).await?;
        assert!(bad.to_string().starts_with("{error,{bad_request,"), "{bad}");
        let nobody = me.call::<Term>(("nobody", "b@127.0.0.1"), "x", PATIENCE).await;
        assert_eq!(nobody, Err(CallError::NoProcess));
        let nowhere = me.call::<Term>(("nobody", "c@127.0.0.1"), "x", PATIENCE).await;
        assert_eq!(nowhere, Err(CallError::NoConnection));
        let nodes = ["a@127.0.0.1", "b@127.0.0.1"].map(Atom::from_static);
        let all = me.multi_call::<u64>(&nodes, "counter", &("get", 0), PATIENCE).await;
        assert_eq!(all.replies, [(nodes[1].clone(), 20)]);
        assert_eq!(all.bad_nodes, [(nodes[0].clone(), CallError::NoProcess)]);
        let failed = me.call::<u64>(server, &("fail", 0), PATIENCE).await;
        let CallError::Ended(reason) = failed.unwrap_err() else { panic!("another error") };
        assert_eq!(reason.to_string(), "{error,<<\"as told\">>}");
        assert_eq!(me.ties(), Ties::default());
        Ok(())
    });
    stop([a, b]);
}

#[test]
fn servers_stop_when_sys_asks_them_to() {
    let (a, b) = pair(2);
    let pid = b.spawn("counter", |me| serve(me, Counter::default())).expect("a process");
    inside(&a, 1, move |mut me| async move {
        let monitor = me.monitor(&pid);
        // What `gen_server:stop` sends by way of `sys:terminate`.
        let system = |tag, request: &str| {
            let from = Term::Tuple(vec![Term::Pid(me.pid()), atom(tag)]);
            let request = request.parse().expect("a term");
            Term::Tuple(vec![atom("system"), from, request])
        };
        me.send(&pid, &system("unknown", "get_state")).await?;
        me.send(&pid, &system("stop", "{terminate, {shutdown, 1}}")).await?;
        let unknown = me.recv().await?.term()?;
        assert_eq!(unknown.to_string(), "{unknown,{error,{unknown_system_msg,get_state}}}");
        assert_eq!(me.recv().await?.term()?.to_string(), "{stop,ok}");
        let down = next_down(&mut me).await;
        assert_eq!((down.reference, down.reason.to_string()), (monitor, "{shutdown,1}".into()));
        Ok(())
    });
    stop([a, b]);
}

#[test]
fn functions_run_where_they_are_registered() {
    let (a, b) = pair(2);
    b.register_function("math", "add", |_, (x, y): (i64, i64)| async move { Ok(x + y) });
    b.register_function("math", "fail", |_, (kind,): (String,)| async move {
        match kind.as_str() {
            "throw" => Err::<(), _>(Raise::Throw(atom("ball"))),
            "exit" => Err(Raise::Exit(atom("out"))),
            "panic" => panic!("by function"),
            _ => Err(Raise::error("badarg")),
        }
    });
    let there = "b@127.0.0.1";
    let sum: i64 = a.rpc(there, "math", "add", (1, 2), PATIENCE).wait().expect("a value");
    assert_eq!(sum, 3);
    inside(&a, 1, move |mut me| async move {
        let fail = async |kind: &str| {
            me.rpc::<Term>(there, "math", "fail", (kind,), PATIENCE).await.unwrap_err()
        };
        assert_eq!(fail("throw").await, RpcError::Throw(atom("ball")));
        assert_eq!(fail("exit").await, RpcError::Exit(atom("out")));
        for (kind, expected) in [("error", "badarg"), ("panic", "{panic,<<\"by function\">>}")] {
            let RpcError::Error { reason, stack } = fail(kind).await else { panic!("no error") };
            assert_eq!(reason.to_string(), expected);
            assert_eq!(stack.to_string(), "[{math,fail,1,[]}]");
        }
        let undefined = me.rpc::<Term>(there, "math", "sub", (1, 2), PATIENCE).await.unwrap_err();
        assert_eq!(undefined.to_string(), "error: undef at [{math,sub,[1,2],[]}]");
        let clause = me.rpc::<Term>(there, "math", "add", ("a", 2), PATIENCE).await.unwrap_err();
        assert!(clause.to_string().starts_with("error: function_clause"), "{clause}");
        let nowhere = me.rpc::<Term>("c@127.0.0.1", "math", "add", (1, 2), PATIENCE).await;
        assert_eq!(nowhere, Err(RpcError::NoConnection));
        me.trap_exit(true);
        let linked = me.spawn_link_at(there, "math", "add", (1, 2)).await?;
        assert_eq!(next_exit(&mut me).await, (linked, atom("normal")));
        let (pid, monitor) = me.spawn_monitor_at(there, "math", "fail", ("exit",)).await?;
        let down = next_down(&mut me).await;
        assert_eq!((down.reference, down.from), (monitor, pid.into()));
        assert_eq!(down.reason, atom("out"));
        let pid = me.spawn_at(there, "no", "function", ()).await?;
        me.monitor(&pid);
        assert_eq!(next_down(&mut me).await.reason, atom("noproc"));
        assert_eq!(me.ties(), Ties::default());
        Ok(())
    });
    stop([a, b]);
}

#[test]
fn who_has_started_a_process_from_any_shard_can_send_to_it() {
    // One link, as to an Erlang node: all shards but one send through another one.
    let (a, b) = pair_with(|node| node.shards(2).fabric(false));
    b.register_function("test", "mirror", |mut me, (to, number): (Pid, u32)| async move {
        while me.recv().await?.message::<u32>()? != number {}
        Ok(me.send(&to, &number).await?)
    });
    for shard in [0, 1] {
        inside(&a, shard, |mut me| async move {
            for number in 0..10_u32 {
                let arguments = (me.pid(), number);
                let pid = me.spawn_at("b@127.0.0.1", "test", "mirror", arguments).await?;
                me.send(&pid, &number).await?;
                assert_eq!(me.recv().await?.message::<u32>()?, number);
            }
            Ok(())
        });
    }
    stop([a, b]);
}

#[test]
fn what_is_asked_of_a_node_before_it_is_there_comes_in_order() {
    let (a, b) = pair(2);
    let pid = b.spawn_on(1, Some("mortal"), mortal).wait().expect("a process");
    inside(&a, 0, move |mut me| async move {
        me.trap_exit(true);
        // Nobody has connected yet.
        let by_name = me.monitor(("mortal", "b@127.0.0.1"));
        me.link(&pid);
        me.send(&pid, "over").await?;
        let mut order = Vec::new();
        for _ in 0..2 {
            match me.recv().await? {
                Signal::Exit(exit) => order.push(exit.reason),
                Signal::Down(down) => {
                    assert_eq!(down.reference, by_name);
                    assert_eq!(down.from, ("mortal", "b@127.0.0.1").into());
                    order.push(down.reason);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(order.iter().all(|reason| reason.to_text().as_deref() == Some("over")));
        me.monitor(("mortal", "c@127.0.0.1"));
        assert_eq!(next_down(&mut me).await.reason, atom("noconnection"));
        Ok(())
    });
    stop([a, b]);
}

#[test]
fn the_loss_of_a_node_breaks_everything_that_led_there() {
    let (a, b) = pair(2);
    let pids: Vec<Pid> =
        (0..4).map(|shard| b.spawn_on(shard, None, mortal).wait().expect("a process")).collect();
    let (ready, is_ready) = mpsc::channel();
    let (done, finished) = mpsc::channel();
    let watch = move |mut me: Process| async move {
        me.trap_exit(true);
        me.monitor_nodes(true);
        for pid in &pids {
            me.link(pid);
            me.monitor(pid);
        }
        me.send(&pids[3], &me.pid()).await.ok();
        ready.send(())?;
        let mut fired = 0;
        loop {
            match me.recv().await? {
                Signal::Exit(exit) if exit.from != pids[3] => {
                    assert_eq!(exit.reason, atom("noconnection"));
                    fired += 1;
                }
                Signal::Down(down) if down.from != pids[3].clone().into() => {
                    assert_eq!(down.reason, atom("noconnection"));
                    fired += 1;
                }
                Signal::NodeDown(_) => break,
                _ => {}
            }
        }
        assert_eq!(fired, 6, "before nodedown");
        assert_eq!(me.ties(), Ties::default());
        done.send(())?;
        Ok(())
    };
    a.spawn_on(1, None, watch).wait().expect("a process");
    is_ready.recv_timeout(PATIENCE).expect("it watches");
    assert!(a.ping("b@127.0.0.1", PATIENCE).wait());
    b.stop().wait();
    finished.recv_timeout(PATIENCE).expect("everything fired");
    a.stop().wait();
}

#[test]
fn mailboxes_are_tied_as_processes_are() {
    let (a, b) = pair(2);
    let target = b.spawn_on(1, Some("mortal"), mortal).wait().expect("a process");
    let mut mailbox = a.mailbox(None).wait().expect("a mailbox");
    let monitor = mailbox.monitor(&target).wait().expect("it is set up");
    let taken_back = mailbox.monitor(("mortal", "b@127.0.0.1")).wait().expect("it is set up");
    assert!(mailbox.demonitor(&taken_back).wait());
    mailbox.trap_exit(true);
    mailbox.link(&target);
    mailbox.send_blocking(&target, "over").expect("it is sent");
    let mut seen = Vec::new();
    for _ in 0..2 {
        match mailbox.recv_timeout(PATIENCE).expect("it is open").expect("in time") {
            Signal::Down(down) => {
                assert_eq!(down.reference, monitor);
                seen.push("down");
            }
            Signal::Exit(exit) => {
                assert_eq!(exit.from, target);
                seen.push("exit");
            }
            other => panic!("{other:?}"),
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, ["down", "exit"]);
    // Without trapping exits it is closed by the end of who it is linked to.
    let target = b.spawn_on(0, None, mortal).wait().expect("a process");
    mailbox.trap_exit(false);
    mailbox.link(&target);
    mailbox.exit(&target, &atom("enough"));
    assert!(mailbox.recv_timeout(PATIENCE).is_err());
    stop([a, b]);
}

/// A group leader that keeps what it is told to print, and refuses what begins with `no`.
async fn leader(mut me: Process, printed: mpsc::Sender<String>) -> ProcessResult {
    while let Ok(signal) = me.recv().await {
        let Ok((_, from, tag, (_, _, text))) =
            signal.message::<(Atom, Pid, Term, (Atom, Atom, String))>()
        else {
            continue;
        };
        if text == "end" {
            return Ok(());
        }
        let answer = if text.starts_with("no") {
            Term::Tuple(vec![atom("error"), atom("terminated")])
        } else {
            printed.send(text)?;
            atom("ok")
        };
        me.send(from, &(atom("io_reply"), tag, answer)).await?;
    }
    Ok(())
}

#[test]
fn what_a_process_prints_goes_to_its_group_leader() {
    let (a, b) = pair(2);
    let (printed, prints) = mpsc::channel();
    let there = b.spawn_on(1, None, |me| leader(me, printed)).wait().expect("a process");
    inside(&a, 0, move |me| async move {
        me.set_group_leader(there.clone());
        me.print("one\n").await?;
        assert!(matches!(me.print("no").await, Err(krarup::PrintError::Refused(_))));
        // Who is started here prints there.
        let child = me.spawn_monitor(|child| async move {
            child.print("two\n").await?;
            Ok(())
        })?;
        let mut me = me;
        assert_eq!(next_down(&mut me).await.reference, child.1);
        let ended = me.print("end").await;
        assert_eq!(ended, Err(krarup::PrintError::Ended(atom("normal"))));
        Ok(())
    });
    assert_eq!(prints.try_iter().collect::<String>(), "one\ntwo\n");
    stop([a, b]);
}
