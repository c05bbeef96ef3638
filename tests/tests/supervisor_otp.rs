//! A supervisor in Rust, asked by `supervisor` of Erlang nodes: each answer is the same as that of
//! OTP's supervisor with the same children.

use std::time::Duration;

use krarup::epmd::EpmdMode;
use krarup::supervisor::{ChildSpec, Restart, Strategy, Supervisor};
use krarup::{Cookie, ExitReason, Node, Process, ProcessResult};
use krarup_tests::{Lab, Release, for_each_release};

const SUPERVISED: &str = include_str!("../otp/krarup_supervised.erl");
const ALL: Duration = Duration::from_secs(120);

for_each_release!(a_supervisor_answers_as_otp_does);

fn a_supervisor_answers_as_otp_does(release: Release) {
    let lab = Lab::new();
    let node = Node::builder("a@127.0.0.1")
        .cookie(Cookie::new("c").expect("this is a cookie"))
        .epmd(EpmdMode::External)
        .epmd_port(lab.epmd_port())
        .shards(2)
        .spin(Duration::ZERO)
        .start()
        .expect("the node starts");
    node.spawn("tree", |me| tree().run(me)).expect("a process");
    let mut model = lab.otp(release, "o").module(SUPERVISED).start();
    model.eval("logger:set_primary_config(level, none), krarup_supervised:start().");
    let mut otp = lab.otp(release, "b").module(SUPERVISED).start();
    let mut play = |node| otp.eval_within(&format!("krarup_supervised:play('{node}')."), ALL);
    let expected = play("o@127.0.0.1");
    assert!(expected.contains("{ended,shutdown}"), "the model plays to the end: {expected}");
    assert_eq!(play("a@127.0.0.1"), expected);
    node.stop().wait();
}

/// As in `krarup_supervised:init/1`.
fn tree() -> Supervisor {
    let child = |id| ChildSpec::new(id, obedient).name(id);
    Supervisor::new(Strategy::RestForOne)
        .intensity(4, Duration::from_secs(3600))
        .child(child("a"))
        .child(child("b").restart(Restart::Transient).shard(1))
        .child(child("c").restart(Restart::Temporary))
        .child(child("d"))
        .child(ChildSpec::supervisor("s", Supervisor::new(Strategy::OneForOne)))
        .child(child("e").restart(Restart::Temporary))
}

/// Ends with what it is sent.
async fn obedient(mut me: Process) -> ProcessResult {
    Err(ExitReason(me.recv().await?.term()?).into())
}
