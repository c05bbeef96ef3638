//! Nodes that a Rust program starts: Erlang nodes of each release, and `krarup node`.

use std::path::PathBuf;
use std::time::Duration;

use krarup::Node;
use krarup::child::{Child, ChildBuilder, ChildError, Stop, Style};
use krarup_tests::{
    Lab, Release, asking_node, for_each_release, krarup_command, otp_command, until,
};

const SOON: Duration = Duration::from_secs(30);

for_each_release!(an_erlang_node_is_started_and_ended);

fn child(lab: &Lab, program: PathBuf, name: &str) -> ChildBuilder {
    let epmd = lab.epmd_port().to_string();
    let program = program.to_str().expect("UTF-8").to_owned();
    Child::builder(program, name).hand_over_cookie().args(["-epmd_port", &epmd]).boot_time(SOON)
}

/// Waits until epmd does not know the name any more.
fn gone(lab: &Lab, name: &str) {
    until("the child has ended", SOON, || {
        let names = lab.run(["names"]).stdout;
        (!names.contains(&format!("name {name} at"))).then_some(())
    });
}

fn an_erlang_node_is_started_and_ended(release: Release) {
    let lab = Lab::new();
    let node = asking_node(&lab);
    for (style, stop) in [(Style::Peer, Stop::Halt), (Style::Slave, Stop::Init)] {
        let spec = child(&lab, otp_command("erl", release), "worker").style(style);
        let worker = spec.start(&node).wait().expect("it starts");
        assert_eq!(worker.node().as_str(), "worker@127.0.0.1");
        assert!(worker.is_running());
        let numbers: Vec<u8> =
            node.rpc("worker@127.0.0.1", "lists", "seq", (1, 3), SOON).wait().expect("an answer");
        assert_eq!(numbers, [1, 2, 3]);
        assert!(worker.stop(stop, SOON).wait(), "{style:?} ends by itself");
        gone(&lab, "worker");
    }
    // One whose owner has gone ends as well.
    for style in [Style::Peer, Style::Slave] {
        let spec = child(&lab, otp_command("erl", release), "orphan").style(style);
        drop(spec.start(&node).wait().expect("it starts"));
        gone(&lab, "orphan");
    }
    node.stop().wait();
}

#[test]
fn a_krarup_node_is_started_and_ended() {
    let lab = Lab::new();
    let node = asking_node(&lab);
    for (style, stop) in
        [(Style::Peer, Stop::Halt), (Style::Slave, Stop::Init), (Style::Peer, Stop::Close)]
    {
        let spec = child(&lab, krarup_command(), "worker").style(style);
        let worker = spec.start(&node).wait().expect("it starts");
        let echoed: String =
            node.rpc("worker@127.0.0.1", "krarup", "echo", ("x",), SOON).wait().expect("an answer");
        assert_eq!(echoed, "x");
        assert!(worker.stop(stop, SOON).wait(), "{style:?} ends by itself upon {stop:?}");
        gone(&lab, "worker");
    }
    node.stop().wait();
}

#[test]
fn children_end_with_the_node_that_started_them() {
    let lab = Lab::new();
    let node = asking_node(&lab);
    let start = |name, style| {
        let spec = child(&lab, krarup_command(), name).style(style);
        spec.start(&node).wait().expect("it starts")
    };
    let children = [start("one", Style::Peer), start("two", Style::Slave)];
    node.stop().wait();
    for name in ["one", "two"] {
        gone(&lab, name);
    }
    drop(children);
}

#[test]
fn another_host_is_reached_by_the_remote_shell() {
    let lab = Lab::new();
    let node = asking_node(&lab);
    // Gets the host and a line for the shell there, as ssh does.
    let shell = ["/bin/sh", "-c", "test \"$0\" = localhost && exec /bin/sh -c \"$1\""];
    let spec = child(&lab, krarup_command(), "far").host("localhost").remote_shell(shell);
    let far = spec.start(&node).wait().expect("it starts");
    assert_eq!(far.node().as_str(), "far@localhost");
    assert!(far.stop(Stop::Halt, SOON).wait());
    node.stop().wait();
}

#[test]
fn a_child_that_does_not_start_says_why_and_leaves_nothing() {
    let lab = Lab::new();
    let node = asking_node(&lab);
    let start = |spec: ChildBuilder| spec.start(&node).wait().expect_err("there is no child");
    let nowhere = start(child(&lab, "/nonexistent/erl".into(), "a"));
    assert!(matches!(&nowhere, ChildError::Program { program, .. } if program.ends_with("erl")));
    let printed = child(&lab, krarup_command(), "a").args(["-no_such_flag"]);
    let ended = start(printed);
    let ChildError::Ended { output, .. } = &ended else { panic!("{ended:?}") };
    assert!(output.contains("no_such_flag"), "{ended}");
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("sleeper");
    std::fs::write(&program, "#!/bin/sh\necho asleep\nexec sleep 600\n").expect("a script");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable).expect("a mode");
    let late = start(child(&lab, program, "a").boot_time(Duration::from_secs(1)));
    assert!(
        matches!(&late, ChildError::Timeout { output, .. } if output.contains("asleep")),
        "{late:?}"
    );
    let name = start(child(&lab, krarup_command(), "a@b"));
    assert!(matches!(name, ChildError::Name(_)), "{name:?}");
    let _taken = lab.krarup("taken").start();
    let taken = start(child(&lab, krarup_command(), "taken"));
    assert!(matches!(taken, ChildError::AlreadyRunning(_)), "{taken:?}");
    let nobody = Node::anonymous().shards(1).start().expect("a node");
    let alone = child(&lab, krarup_command(), "a").start(&nobody).wait();
    assert!(matches!(alone, Err(ChildError::NotAlive)));
    for node in [node, nobody] {
        node.stop().wait();
    }
}
