//! Lives of a node within one process: what goes on between two of them, and names that Krarup nodes
//! give each other.

#[path = "support/port.rs"]
mod port;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use krarup::epmd::EpmdMode;
use krarup::net_kernel::NodeDownReason;
use krarup::supervisor::{ChildSpec, Strategy, Supervisor};
use krarup::term::{Atom, Pid, Term};
use krarup::{
    AsDestination, Builder, ConnectError, Cookie, Mailbox, NameType, Node, NodeMonitorOptions,
    NodeTypes, Process, ProcessResult, Signal, StartError, StartOptions, Started, StopError,
};
use port::free_port;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn stop<const N: usize>(nodes: [Node; N]) {
    for node in nodes {
        node.stop().wait();
    }
}

fn cookie() -> Cookie {
    Cookie::new("secret").expect("a cookie")
}

fn configured(builder: Builder, epmd: u16) -> Builder {
    builder.cookie(cookie()).epmd(EpmdMode::Auto).epmd_port(epmd).shards(2).spin(Duration::ZERO)
}

fn named(name: &str, epmd: u16) -> Node {
    configured(Node::builder(name), epmd).start().expect("the node starts")
}

fn anonymous(epmd: u16) -> Node {
    configured(Node::anonymous(), epmd).start().expect("the node starts")
}

async fn echo(mut me: Process) -> ProcessResult {
    while let Ok(signal) = me.recv().await {
        if let Ok((from, term)) = signal.message::<(Pid, Term)>() {
            me.send(from, &term).await?;
        }
    }
    Ok(())
}

fn next(mailbox: &mut Mailbox) -> Signal {
    mailbox.recv_timeout(PATIENCE).expect("the node runs").expect("a signal comes in time")
}

/// Sends a number to a process and gets it back.
fn round_trip(mailbox: &mut Mailbox, to: impl AsDestination, number: u32) {
    let me = mailbox.pid();
    mailbox.send_blocking(to, &(me, number)).expect("sent");
    assert_eq!(next(mailbox).message::<u32>().expect("a number"), number);
}

/// The news of nodes coming and going that a process of `node` gets, as text.
fn news(node: &Node) -> mpsc::Receiver<String> {
    let (told, all) = mpsc::channel();
    let (ready, is_ready) = mpsc::channel();
    let listen = move |mut me: Process| async move {
        let all = NodeMonitorOptions::default().node_type(NodeTypes::All).nodedown_reason();
        me.monitor_nodes_with(true, all);
        let _ = ready.send(());
        while let Ok(signal) = me.recv().await {
            let line = match signal {
                Signal::NodeUp(up) => format!("up {}", up.node.as_str()),
                Signal::NodeDown(down) => format!("down {} {}", down.node.as_str(), down.reason),
                other => format!("{other:?}"),
            };
            let _ = told.send(line);
        }
        Ok(())
    };
    node.spawn_on(1, None, listen).wait().expect("a process");
    is_ready.recv_timeout(PATIENCE).expect("it listens");
    all
}

fn told(news: &mpsc::Receiver<String>) -> String {
    news.recv_timeout(PATIENCE).expect("there is news")
}

#[test]
fn processes_go_on_from_one_life_to_the_next() {
    let epmd = free_port();
    let node = anonymous(epmd);
    let news = news(&node);
    assert_eq!(node.stop_distribution().wait(), Err(StopError::NotFound));
    let mut mailbox = node.mailbox(Some("me")).wait().expect("a mailbox");
    // Of each life one pid of each, on both shards.
    let mut pids = vec![node.spawn_on(0, Some("zero"), echo).wait().expect("a process")];
    pids.push(node.spawn_on(1, Some("one"), echo).wait().expect("a process"));
    let (made, alias) = mpsc::channel();
    let aliased = move |me: Process| async move {
        let _ = made.send(me.alias());
        echo(me).await
    };
    node.spawn_on(1, None, aliased).wait().expect("a process");
    let alias = alias.recv_timeout(PATIENCE).expect("an alias");
    let mut creations = Vec::new();
    for (life, name) in ["a@127.0.0.1", "b@127.0.0.1", "a@127.0.0.1"].iter().enumerate() {
        node.start(*name).wait().expect("it comes alive");
        assert_eq!(told(&news), format!("up {name}"));
        let state = node.life().expect("it is alive");
        assert_eq!(state.started, Started::Dynamic);
        assert_eq!(state.name.expect("a name").as_str(), *name);
        assert!(!state.is_named_by_others && state.name_type == NameType::Long);
        let again = node.start("c@127.0.0.1").wait();
        assert!(matches!(again, Err(StartError::AlreadyStarted { .. })), "{again:?}");
        creations.push(node.creation().expect("a creation"));
        let now = node.whereis("one").wait().expect("it is registered");
        assert_eq!((now.node.as_str(), now.creation), (*name, creations[life]));
        pids.push(now);
        for (number, pid) in (0..).zip(&pids) {
            round_trip(&mut mailbox, pid, number);
        }
        round_trip(&mut mailbox, &alias, 9);
        node.stop_distribution().wait().expect("it was started by a call");
        assert_eq!(told(&news), format!("down {name} net_kernel_terminated"));
        assert!(!node.is_alive() && node.name().is_none() && node.port().is_none());
        for (number, pid) in (0..).zip(&pids) {
            round_trip(&mut mailbox, pid, number);
        }
        round_trip(&mut mailbox, &alias, 9);
    }
    creations.dedup();
    assert_eq!(creations.len(), 3, "a creation came twice: {creations:?}");
    // Links and monitors of pids from a former life hold.
    let watched = pids[2].clone();
    let monitor = mailbox.monitor(&watched).wait().expect("the node runs");
    mailbox.trap_exit(true);
    mailbox.link(&watched);
    mailbox.exit(&watched, &Term::Atom(Atom::from_static("enough")));
    let mut seen = [next(&mut mailbox), next(&mut mailbox)].map(|signal| match signal {
        Signal::Down(down) => format!("{} {}", down.reference == monitor, down.reason),
        Signal::Exit(exit) => format!("exit {}", exit.reason),
        other => panic!("{other:?}"),
    });
    seen.sort();
    assert_eq!(seen, ["exit enough", "true enough"]);
    stop([node]);
}

#[test]
fn a_configured_name_is_kept() {
    let epmd = free_port();
    let node = named("a@127.0.0.1", epmd);
    assert_eq!(node.life().expect("it is alive").started, Started::Static);
    assert_eq!(node.stop_distribution().wait(), Err(StopError::NotAllowed));
    assert!(node.is_alive());
    let other = anonymous(epmd);
    let taken = other.start("a@127.0.0.1").wait();
    assert!(matches!(taken, Err(StartError::NameInUse { .. })), "{taken:?}");
    let short = StartOptions::new().name_type(NameType::Short);
    let wrong = other.start_with("x@h.org", short).wait();
    assert!(matches!(wrong, Err(StartError::Name(_))), "{wrong:?}");
    let wrong = other.start_with("x@h", StartOptions::new().net_tickintensity(3)).wait();
    assert!(matches!(wrong, Err(StartError::InvalidOption { .. })), "{wrong:?}");
    assert!(!other.is_alive());
    other.start("x@127.0.0.1").wait().expect("after all that it still can");
    stop([node, other]);
}

#[test]
fn peers_see_a_life_end_and_another_begin() {
    let epmd = free_port();
    let (a, b) = (anonymous(epmd), named("b@127.0.0.1", epmd));
    let (news_a, news_b) = (news(&a), news(&b));
    for name in ["one@127.0.0.1", "two@127.0.0.1"] {
        a.start(name).wait().expect("it comes alive");
        assert_eq!(told(&news_a), format!("up {name}"));
        a.connect("b@127.0.0.1").wait().expect("connected");
        assert_eq!(told(&news_a), "up b@127.0.0.1");
        assert_eq!(told(&news_b), format!("up {name}"));
        a.stop_distribution().wait().expect("stopped");
        assert_eq!(told(&news_a), "down b@127.0.0.1 net_kernel_terminated");
        assert_eq!(told(&news_a), format!("down {name} net_kernel_terminated"));
        assert!(told(&news_b).starts_with(&format!("down {name} connection_closed")));
        assert_eq!(a.connect("b@127.0.0.1").wait(), Err(ConnectError::NotAlive));
    }
    // A pid of a life that is over names nobody for other nodes, though its process is there.
    a.start("two@127.0.0.1").wait().expect("it comes alive");
    let former = a.spawn("echo", echo).expect("a process");
    a.stop_distribution().wait().expect("stopped");
    a.start("two@127.0.0.1").wait().expect("it comes alive");
    let mut mailbox = b.mailbox(None).wait().expect("a mailbox");
    mailbox.monitor(&former).wait().expect("the node runs");
    match next(&mut mailbox) {
        Signal::Down(down) => assert_eq!(down.reason.to_string(), "noproc"),
        other => panic!("{other:?}"),
    }
    stop([a, b]);
}

#[test]
fn lives_that_are_begun_and_ended_at_once_come_one_after_the_other() {
    let node = anonymous(free_port());
    let starts: Vec<_> = (0..4).map(|n| node.start(format!("n{n}@127.0.0.1"))).collect();
    let stops: Vec<_> = (0..4).map(|_| node.stop_distribution()).collect();
    let started = starts.into_iter().map(|start| start.wait()).filter(Result::is_ok);
    assert_eq!(started.count(), 1);
    let stopped: Vec<_> = stops.into_iter().map(|stop| stop.wait()).collect();
    let not_found = Err(StopError::NotFound);
    assert_eq!(stopped, [Ok(()), not_found, not_found, not_found]);
    let last = node.start("last@127.0.0.1");
    // Whichever comes first: nothing hangs.
    node.stop().wait();
    let _ = last.wait();
}

#[test]
fn krarup_nodes_name_each_other() {
    let epmd = free_port();
    let (b, c) = (named("b@127.0.0.1", epmd), named("c@127.0.0.1", epmd));
    let a = configured(Node::builder("undefined@127.0.0.1"), epmd).start().expect("it starts");
    let news = news(&a);
    let state = a.life().expect("it is alive");
    assert!(state.is_named_by_others && state.name.is_none() && a.is_alive());
    assert_eq!((a.port(), a.creation()), (None, None));
    assert_eq!(a.stop_distribution().wait(), Err(StopError::NotAllowed));
    assert!(a.connect("nobody@127.0.0.1").wait().is_err());
    // Both at once: one of them names it, and both are connected.
    let both = [a.connect("b@127.0.0.1"), a.connect("c@127.0.0.1")];
    for connected in both {
        connected.wait().expect("connected");
    }
    let first = a.name().expect("a name");
    let creation = a.creation().expect("a creation");
    assert_eq!(told(&news), format!("up {}", first.as_str()));
    let mut ups = [told(&news), told(&news)];
    ups.sort();
    assert_eq!(ups, ["up b@127.0.0.1", "up c@127.0.0.1"]);
    // Messages go both ways.
    let far = b.spawn("far", echo).expect("a process");
    let near = a.spawn("near", echo).expect("a process");
    round_trip(&mut a.mailbox(None).wait().expect("a mailbox"), &far, 1);
    round_trip(&mut b.mailbox(None).wait().expect("a mailbox"), &near, 2);
    assert_eq!(b.nodes().wait()[0].name, first);
    // One that did not give the name may go.
    assert!(a.disconnect("c@127.0.0.1").wait());
    assert_eq!(told(&news), "down c@127.0.0.1 disconnect");
    a.connect("c@127.0.0.1").wait().expect("connected");
    assert_eq!(told(&news), "up c@127.0.0.1");
    // Without the one that gave it the name is lost, and so are the other connections.
    assert!(b.disconnect(first.as_str()).wait());
    let gone = told(&news);
    assert!(gone.starts_with("down b@127.0.0.1"), "{gone}");
    assert_eq!(told(&news), "down c@127.0.0.1 net_kernel_terminated");
    assert_eq!(told(&news), format!("down {} net_kernel_terminated", first.as_str()));
    // A send connects, and the name is that of before, in its next creation.
    let mut mailbox = a.mailbox(None).wait().expect("a mailbox");
    mailbox.send_blocking(("far", "b@127.0.0.1"), &1).expect("sent");
    assert_eq!(told(&news), format!("up {}", first.as_str()));
    assert_eq!(a.name(), Some(first));
    assert_eq!(a.creation().map(|creation| creation.0), Some(creation.0 + 1));
    round_trip(&mut mailbox, &far, 3);
    round_trip(&mut mailbox, &near, 4);
    drop(mailbox);
    stop([a, b, c]);
}

#[test]
fn a_node_that_does_not_listen_connects_hidden() {
    let epmd = free_port();
    let (a, b) = (anonymous(epmd), named("b@127.0.0.1", epmd));
    let options = StartOptions::new().listen(false).hidden(false);
    a.start_with("a@127.0.0.1", options).wait().expect("it comes alive");
    assert_eq!((a.port(), a.epmd()), (None, None));
    a.connect("b@127.0.0.1").wait().expect("connected");
    let far = b.spawn("far", echo).expect("a process");
    round_trip(&mut a.mailbox(None).wait().expect("a mailbox"), &far, 1);
    let seen = b.nodes().wait();
    assert_eq!(seen[0].node_type, krarup::net_kernel::NodeType::Hidden);
    let news = news(&b);
    a.stop_distribution().wait().expect("stopped");
    let gone = told(&news);
    assert!(gone.starts_with("down a@127.0.0.1"), "{gone}");
    assert!(!gone.contains(&NodeDownReason::NetTickTimeout.to_string()), "{gone}");
    stop([a, b]);
}

#[test]
fn a_supervisor_knows_its_children_under_another_name() {
    let node = anonymous(free_port());
    let child = ChildSpec::new("child", echo).name("child");
    let top = Supervisor::new(Strategy::OneForOne).intensity(2, 3 * PATIENCE).child(child);
    let top = node.spawn("top", |me| top.run(me)).expect("a process");
    let mut mailbox = node.mailbox(None).wait().expect("a mailbox");
    let child = |former: Option<&Pid>| {
        let start = Instant::now();
        loop {
            match node.whereis("child").wait() {
                Some(pid) if Some(&pid) != former => return pid,
                _ => assert!(start.elapsed() < PATIENCE, "the child is not there"),
            }
            std::thread::yield_now();
        }
    };
    child(None);
    for life in 0..2 {
        node.start("a@127.0.0.1").wait().expect("it comes alive");
        let now = child(None);
        mailbox.exit(&now, &Term::from("enough"));
        let next = child(Some(&now));
        round_trip(&mut mailbox, &next, life);
        node.stop_distribution().wait().expect("stopped");
    }
    let monitor = mailbox.monitor(&top).wait().expect("the node runs");
    mailbox.exit(&top, &Term::Atom(Atom::from_static("shutdown")));
    match next(&mut mailbox) {
        Signal::Down(down) => assert_eq!(down.reference, monitor),
        other => panic!("{other:?}"),
    }
    assert_eq!(node.whereis("child").wait(), None);
    stop([node]);
}

#[test]
fn nobody_waits_for_ever_while_a_name_comes_and_goes() {
    let epmd = free_port();
    let (b, c) = (named("b@127.0.0.1", epmd), named("c@127.0.0.1", epmd));
    let a = anonymous(epmd);
    let peers = ["b@127.0.0.1", "c@127.0.0.1"];
    a.start("undefined@127.0.0.1").wait().expect("it comes alive");
    let (done, all_done) = mpsc::channel();
    for thread in 0..4 {
        let (a, b, c, done) = (a.clone(), b.clone(), c.clone(), done.clone());
        std::thread::spawn(move || {
            for round in 0..30_usize {
                match (thread + round) % 5 {
                    0 | 1 => drop(a.connect(peers[round % 2]).wait()),
                    2 => drop(a.disconnect(peers[round % 2]).wait()),
                    3 => {
                        let name = a.name().map(|name| name.as_str().to_owned());
                        let by = if round % 2 == 0 { &b } else { &c };
                        by.disconnect(&name.unwrap_or_default()).wait();
                    }
                    _ if thread == 0 && round % 10 == 9 => {
                        a.stop_distribution().wait().expect("it was started by a call");
                        a.start("undefined@127.0.0.1").wait().expect("it comes alive");
                    }
                    _ => drop(a.nodes().wait()),
                }
            }
            let _ = done.send(());
        });
    }
    for _ in 0..4 {
        all_done.recv_timeout(3 * PATIENCE).expect("everything asked for is answered");
    }
    // A name that is being lost at this moment may take the first of them with it.
    let start = Instant::now();
    while peers.iter().any(|peer| a.connect(peer).wait().is_err()) {
        assert!(start.elapsed() < PATIENCE, "it does not come to rest");
    }
    let name = a.name().expect("a name");
    for node in [&b, &c] {
        assert_eq!(node.nodes().wait().iter().filter(|info| info.name == name).count(), 1);
    }
    round_trip(
        &mut b.mailbox(None).wait().expect("a mailbox"),
        a.spawn("near", echo).expect("a process"),
        1,
    );
    stop([a, b, c]);
}
