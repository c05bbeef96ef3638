//! Supervisors with real processes, on one shard and on several.

#[path = "support/inside.rs"]
mod inside;
mod support;

use std::collections::HashSet;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use inside::{atom, inside};
use krarup::supervisor::{ChildSpec, Restart, Shutdown, Strategy, Supervisor};
use krarup::term::{Atom, Pid, Term};
use krarup::{CallError, ExitReason, Node, Process, Signal};
use support::{PATIENCE, pair, stop};

/// Long enough that nothing is forgotten in the course of a test.
const LONG: Duration = Duration::from_secs(3600);

fn node() -> Node {
    Node::anonymous().shards(2).start().expect("the node starts")
}

/// What children tell of their lives, in order: `+till` at the start, and at the end what ended it,
/// `-till shutdown`.
#[derive(Clone)]
struct Diary(Sender<(String, Pid)>);

struct Reading(Receiver<(String, Pid)>);

fn diary() -> (Diary, Reading) {
    let (written, read) = mpsc::channel();
    (Diary(written), Reading(read))
}

impl Diary {
    /// A child that traps exits and ends by the first, or with the term it is sent.
    fn child(&self, id: &'static str) -> ChildSpec {
        let diary = self.clone();
        ChildSpec::new(id, move |mut me: Process| {
            let diary = diary.clone();
            async move {
                me.trap_exit(true);
                diary.write(format!("+{id}"), &me);
                let reason = match me.recv().await? {
                    Signal::Exit(exit) => exit.reason,
                    signal => signal.term()?,
                };
                diary.write(format!("-{id} {reason}"), &me);
                Err(ExitReason(reason).into())
            }
        })
    }

    /// A child that no exit signal but `kill` ends.
    fn stubborn(&self, id: &'static str) -> ChildSpec {
        let diary = self.clone();
        ChildSpec::new(id, move |mut me: Process| {
            let diary = diary.clone();
            async move {
                me.trap_exit(true);
                diary.write(format!("+{id}"), &me);
                loop {
                    me.recv().await?;
                }
            }
        })
    }

    fn write(&self, line: String, me: &Process) {
        // Nobody reads it any more when the test is over.
        let _ = self.0.send((line, me.pid()));
    }
}

impl Reading {
    fn next(&self) -> (String, Pid) {
        self.0.recv_timeout(PATIENCE).expect("a child tells something")
    }

    /// Reads lines, which have to be these, and gives who wrote the last one.
    fn expect(&self, lines: &[&str]) -> Pid {
        let read: Vec<(String, Pid)> = lines.iter().map(|_| self.next()).collect();
        assert_eq!(read.iter().map(|(line, _)| line.as_str()).collect::<Vec<_>>(), lines);
        read.last().expect("a line").1.clone()
    }
}

/// Starts a supervisor under the name `top`, and gives its pid and how it ends.
fn start(node: &Node, supervisor: Supervisor) -> (Pid, Receiver<Term>) {
    let (done, ended) = mpsc::channel();
    let (watches, is_watched) = mpsc::channel();
    let pid = node.spawn("top", |me| supervisor.run(me)).expect("a process");
    let watched = pid.clone();
    let watch = move |mut me: Process| async move {
        me.monitor(&watched);
        watches.send(())?;
        if let Signal::Down(down) = me.recv().await? {
            done.send(down.reason)?;
        }
        Ok(())
    };
    node.spawn_on(0, None, watch).wait().expect("a process");
    is_watched.recv_timeout(PATIENCE).expect("it is watched");
    (pid, ended)
}

fn exit(node: &Node, pid: &Pid, reason: &'static str) {
    let pid = pid.clone();
    inside(node, 0, move |me| async move {
        me.exit(&pid, &atom(reason));
        Ok(())
    });
}

fn reason_of(ended: &Receiver<Term>) -> String {
    ended.recv_timeout(PATIENCE).expect("the supervisor ends").to_string()
}

fn processes(node: &Node) -> usize {
    node.stats().wait().iter().map(|shard| shard.processes).sum()
}

/// Whoever told of the end may take a moment to end itself.
fn settles_at(node: &Node, expected: usize) {
    let deadline = Instant::now() + PATIENCE;
    while processes(node) != expected {
        assert!(Instant::now() < deadline, "{} processes, not {expected}", processes(node));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Asks the supervisor that is called `top`.
fn ask(node: &Node, question: Term) -> Result<Term, CallError> {
    node.call::<Term>("top", &question, PATIENCE).wait()
}

fn about(what: &'static str, id: &'static str) -> Term {
    Term::Tuple(vec![atom(what), atom(id)])
}

#[test]
fn a_child_that_fails_is_started_again_under_its_name() {
    let node = node();
    let (diary, reading) = diary();
    let mut top = Supervisor::new(Strategy::OneForOne).intensity(1000, LONG);
    for (id, shard) in [("here", None), ("zero", Some(0)), ("one", Some(1))] {
        let child = diary.child(id).name(id);
        top = top.child(match shard {
            Some(shard) => child.shard(shard),
            None => child,
        });
    }
    let (pid, ended) = start(&node, top);
    reading.expect(&["+here", "+zero", "+one"]);
    for id in ["here", "zero", "one"] {
        let mut lives = HashSet::new();
        for _ in 0..20 {
            let life = node.whereis(id).wait().expect("it is registered");
            assert!(lives.insert(life.clone()), "a process of its own");
            node.send(id, &atom("failed")).wait().expect("it is sent");
            let next = reading.expect(&[&format!("-{id} failed"), &format!("+{id}")]);
            assert_eq!(node.whereis(id).wait(), Some(next));
        }
    }
    exit(&node, &pid, "shutdown");
    reading.expect(&["-one shutdown", "-zero shutdown", "-here shutdown"]);
    assert_eq!(reason_of(&ended), "shutdown");
    node.stop().wait();
}

#[test]
fn those_after_the_one_that_failed_are_started_again() {
    let node = node();
    let (diary, reading) = diary();
    let top = Supervisor::new(Strategy::RestForOne)
        .child(diary.child("a"))
        .child(diary.child("b").name("b"))
        .child(diary.child("c").shard(1))
        .child(diary.child("d").restart(Restart::Temporary));
    let (pid, _ended) = start(&node, top);
    reading.expect(&["+a", "+b", "+c", "+d"]);
    node.send("b", &atom("failed")).wait().expect("it is sent");
    reading.expect(&["-b failed", "-d shutdown", "-c shutdown", "+b", "+c"]);
    exit(&node, &pid, "shutdown");
    reading.expect(&["-c shutdown", "-b shutdown", "-a shutdown"]);
    node.stop().wait();
}

#[test]
fn one_restart_too_many_ends_all() {
    let node = node();
    let (diary, reading) = diary();
    let top = Supervisor::new(Strategy::OneForOne)
        .intensity(2, LONG)
        .child(diary.child("a"))
        .child(diary.child("b").name("b"))
        .child(diary.child("c"));
    let (_, ended) = start(&node, top);
    reading.expect(&["+a", "+b", "+c"]);
    for _ in 0..2 {
        node.send("b", &atom("failed")).wait().expect("it is sent");
        reading.expect(&["-b failed", "+b"]);
    }
    node.send("b", &atom("failed")).wait().expect("it is sent");
    reading.expect(&["-b failed", "-c shutdown", "-a shutdown"]);
    assert_eq!(reason_of(&ended), "shutdown");
    node.stop().wait();
}

#[test]
fn a_tree_ends_from_its_leaves_and_restarts_a_branch() {
    let node = node();
    let (diary, reading) = diary();
    let branch = Supervisor::new(Strategy::OneForOne)
        .intensity(0, LONG)
        .child(diary.child("b").name("b"))
        .child(diary.child("c"));
    let top = Supervisor::new(Strategy::OneForOne)
        .child(diary.child("a"))
        .child(ChildSpec::supervisor("branch", branch).shard(1).name("branch"))
        .child(diary.child("d"));
    let (pid, ended) = start(&node, top);
    // Nobody waits for what a supervisor does first.
    let mut begun: Vec<String> = (0..4).map(|_| reading.next().0).collect();
    begun.sort();
    assert_eq!(begun, ["+a", "+b", "+c", "+d"]);
    node.send("b", &atom("failed")).wait().expect("it is sent");
    reading.expect(&["-b failed", "-c shutdown", "+b", "+c"]);
    let counted = ask(&node, atom("count_children")).expect("an answer");
    assert_eq!(counted.to_string(), "[{specs,3},{active,3},{supervisors,1},{workers,2}]");
    exit(&node, &pid, "shutdown");
    reading.expect(&["-d shutdown", "-c shutdown", "-b shutdown", "-a shutdown"]);
    assert_eq!(reason_of(&ended), "shutdown");
    assert_eq!(node.whereis("branch").wait(), None);
    node.stop().wait();
}

#[test]
fn a_child_that_traps_exits_is_killed_in_the_end() {
    let node = node();
    let before = processes(&node);
    let (diary, reading) = diary();
    let soon = Duration::from_millis(20);
    let top = Supervisor::new(Strategy::OneForOne)
        .child(diary.child("patient").shutdown(Shutdown::Infinity))
        .child(diary.stubborn("late").shutdown(Shutdown::Timeout(soon)))
        .child(diary.stubborn("far").shutdown(Shutdown::Timeout(soon)).shard(1))
        .child(diary.child("brutal").shutdown(Shutdown::BrutalKill));
    let (pid, ended) = start(&node, top);
    reading.expect(&["+patient", "+late", "+far", "+brutal"]);
    exit(&node, &pid, "shutdown");
    // Whoever is killed tells nothing.
    reading.expect(&["-patient shutdown"]);
    assert_eq!(reason_of(&ended), "shutdown");
    settles_at(&node, before);
    node.stop().wait();
}

#[test]
fn children_end_with_a_supervisor_that_is_killed() {
    let node = node();
    let (diary, reading) = diary();
    let branch = Supervisor::new(Strategy::OneForOne).child(diary.child("c"));
    let top = Supervisor::new(Strategy::OneForOne)
        .child(diary.child("a"))
        .child(diary.child("b").shard(1))
        .child(ChildSpec::supervisor("branch", branch).shard(1));
    let (pid, ended) = start(&node, top);
    for _ in 0..3 {
        reading.next();
    }
    exit(&node, &pid, "kill");
    assert_eq!(reason_of(&ended), "killed");
    let mut lines: Vec<String> = (0..3).map(|_| reading.next().0).collect();
    lines.sort();
    assert_eq!(lines, ["-a killed", "-b killed", "-c shutdown"]);
    node.stop().wait();
}

#[test]
fn a_node_stops_whatever_its_children_want() {
    for _ in 0..5 {
        let node = node();
        let (diary, reading) = diary();
        let mut top = Supervisor::new(Strategy::OneForAll).intensity(1000, LONG);
        for (shard, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let stubborn = diary.stubborn(id).shutdown(Shutdown::Infinity);
            top = top.child(stubborn.name(id).shard(shard));
        }
        let (_, _ended) = start(&node, top);
        reading.expect(&["+a", "+b", "+c", "+d"]);
        let (stopped, is_stopped) = mpsc::channel();
        std::thread::spawn(move || {
            node.stop().wait();
            let _ = stopped.send(());
        });
        is_stopped.recv_timeout(PATIENCE).expect("the node stops");
    }
}

#[test]
fn a_supervisor_is_asked_as_otp_asks() {
    let node = node();
    let (diary, reading) = diary();
    let top = Supervisor::new(Strategy::OneForOne)
        .child(diary.child("a"))
        .child(diary.child("b").restart(Restart::Temporary))
        .child(ChildSpec::supervisor("s", Supervisor::new(Strategy::OneForOne)));
    let (_, ended) = start(&node, top);
    let (_, a) = reading.next();
    let (_, b) = reading.next();
    let which = || ask(&node, atom("which_children")).expect("an answer");
    let children = which();
    let [s, second, first] = children.as_list().expect("a list") else { panic!("{children}") };
    let described = |id, pid: &Pid, kind| {
        Term::Tuple(vec![atom(id), pid.into(), atom(kind), Term::List(Vec::new())])
    };
    assert_eq!(*first, described("a", &a, "worker"));
    assert_eq!(*second, described("b", &b, "worker"));
    assert!(s.to_string().ends_with(",supervisor,[]}"), "{s}");
    let asked = |what, id| ask(&node, about(what, id)).expect("an answer").to_string();
    assert_eq!(asked("restart_child", "a"), "{error,running}");
    assert_eq!(asked("delete_child", "a"), "{error,running}");
    assert_eq!(asked("restart_child", "x"), "{error,not_found}");
    assert_eq!(asked("terminate_child", "x"), "{error,not_found}");
    assert_eq!(asked("terminate_child", "a"), "ok");
    assert_eq!(asked("terminate_child", "a"), "ok");
    assert_eq!(asked("terminate_child", "b"), "ok");
    assert_eq!(asked("terminate_child", "b"), "{error,not_found}");
    reading.expect(&["-a shutdown", "-b shutdown"]);
    assert!(which().to_string().ends_with(",supervisor,[]},{a,undefined,worker,[]}]"));
    let counted = ask(&node, atom("count_children")).expect("an answer");
    assert_eq!(counted.to_string(), "[{specs,2},{active,1},{supervisors,1},{workers,1}]");
    let restarted = ask(&node, about("restart_child", "a")).expect("an answer");
    let again = reading.expect(&["+a"]);
    assert_eq!(restarted, Term::Tuple(vec![atom("ok"), again.into()]));
    assert_eq!(asked("terminate_child", "a"), "ok");
    assert_eq!(asked("delete_child", "a"), "ok");
    assert_eq!(asked("restart_child", "a"), "{error,not_found}");
    for unknown in [atom("which"), about("start_child", "a"), Term::Integer(1)] {
        let answer = ask(&node, unknown).expect("an answer").to_string();
        assert!(answer.starts_with("{error,{bad_request,"), "{answer}");
    }
    // gen_server:stop/1, by its messages.
    inside(&node, 0, |mut me| async move {
        let from = Term::Tuple(vec![me.pid().into(), Term::Reference(me.reference())]);
        let terminate = Term::Tuple(vec![atom("terminate"), atom("normal")]);
        me.send("top", &Term::Tuple(vec![atom("system"), from, terminate])).await?;
        let answer = me.recv().await?.term()?;
        assert!(answer.to_string().ends_with(",ok}"), "{answer}");
        Ok(())
    });
    assert_eq!(reason_of(&ended), "normal");
    node.stop().wait();
}

#[test]
fn a_child_whose_name_is_taken_does_not_start() {
    let node = node();
    let (diary, reading) = diary();
    let taker = node.mailbox(Some("taken")).wait().expect("a mailbox");
    let tree =
        |with: ChildSpec| Supervisor::new(Strategy::OneForOne).child(diary.child("a")).child(with);
    for shard in [0, 1] {
        let (failed, outcome) = mpsc::channel();
        let top = tree(diary.child("b").name("taken").shard(shard));
        inside(&node, 0, move |mut me| async move {
            me.trap_exit(true);
            me.spawn_link(|me| top.run(me))?;
            if let Signal::Exit(exit) = me.recv().await? {
                failed.send(exit.reason.to_string())?;
            }
            Ok(())
        });
        let outcome = outcome.recv_timeout(PATIENCE).expect("the supervisor ends");
        let expected = "{shutdown,{failed_to_start_child,b,{error,<<\"the name taken is \
                        registered already\">>}}}";
        assert_eq!(outcome, expected);
        reading.expect(&["+a", "-a shutdown"]);
    }
    // Who wants it when it is restarted gives up after as many attempts as are allowed.
    let top = tree(diary.child("b").name("free")).intensity(5, LONG);
    let (_, ended) = start(&node, top);
    reading.expect(&["+a", "+b"]);
    let asked = ask(&node, about("terminate_child", "b")).expect("an answer");
    assert_eq!(asked, atom("ok"));
    let taker_too = node.mailbox(Some("free")).wait().expect("a mailbox");
    let refused = ask(&node, about("restart_child", "b")).expect("an answer").to_string();
    assert!(refused.starts_with("{error,{error,"), "{refused}");
    drop((taker, taker_too));
    assert!(ended.try_recv().is_err(), "the supervisor lives on");
    node.stop().wait();
}

#[test]
fn ids_are_not_given_twice() {
    let node = node();
    let (diary, _reading) = diary();
    let top = Supervisor::new(Strategy::OneForOne).child(diary.child("a")).child(diary.child("a"));
    inside(&node, 0, move |mut me| async move {
        me.trap_exit(true);
        me.spawn_link(|me| top.run(me))?;
        let Signal::Exit(exit) = me.recv().await? else { panic!("no exit") };
        assert_eq!(exit.reason.to_string(), "{start_spec,{duplicate_child_name,a}}");
        Ok(())
    });
    node.stop().wait();
}

/// Children of all shards that fail whenever they like, and a supervisor that is asked meanwhile.
#[test]
fn nothing_is_left_of_many_lives() {
    let node = node();
    let before = processes(&node);
    let mut top = Supervisor::new(Strategy::RestForOne).intensity(60, LONG);
    for (number, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let child = ChildSpec::new(id, |mut me: Process| async move {
            me.recv_timeout(Duration::from_millis(u64::from(me.pid().serial % 4))).await?;
            Err("over".into())
        });
        top = top.child(child.name(id).shard(number));
    }
    let (_, ended) = start(&node, top);
    while ask(&node, atom("count_children")).is_ok() {}
    assert_eq!(reason_of(&ended), "shutdown");
    for id in ["top", "a", "b", "c", "d"] {
        assert_eq!(node.whereis(id).wait(), None, "{id}");
    }
    settles_at(&node, before);
    node.stop().wait();
}

#[test]
fn another_node_asks() {
    let (a, b) = pair(2);
    let (diary, reading) = diary();
    let top = Supervisor::new(Strategy::OneForOne).child(diary.child("a"));
    let (_, _ended) = start(&b, top);
    let child = reading.expect(&["+a"]);
    let children: Vec<(Atom, Pid, Atom, Vec<Atom>)> =
        a.call(("top", "b@127.0.0.1"), &atom("which_children"), PATIENCE).wait().expect("it asks");
    let worker = Atom::from_static("worker");
    assert_eq!(children, [(Atom::from_static("a"), child, worker, Vec::new())]);
    stop([a, b]);
}
