//! A node as a program uses it: processes, mailboxes, connections between two nodes.

#[path = "support/port.rs"]
mod port;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::Duration;

use krarup::epmd::EpmdMode;
use krarup::epmd::client::register;
use krarup::net_kernel::NodeDownReason;
use krarup::term::{Atom, Pid, Term};
use krarup::{
    AutoConnect, Builder, ConnectError, Cookie, Encoded, Mailbox, MailboxLimits, Node, NodeConfig,
    Overflow, Process, ProcessResult, SendError, Signal, SpawnError, StartError,
};
use krarup_transport::epmd::message::NodeEntry;
use krarup_transport::handshake::message::MessageKind;
use krarup_transport::handshake::{Fault, HandshakeErrorKind, Stage};
use port::free_port;

const PATIENCE: Duration = Duration::from_secs(20);

fn builder(name: &str, epmd: u16) -> Builder {
    let cookie = Cookie::new("secret").expect("a cookie");
    Node::builder(name).cookie(cookie).epmd(EpmdMode::Auto).epmd_port(epmd)
}

fn pair(shards: usize) -> (Node, Node) {
    let epmd = free_port();
    let start = |name| builder(name, epmd).shards(shards).start().expect("the node starts");
    (start("a@127.0.0.1"), start("b@127.0.0.1"))
}

fn stop(nodes: [Node; 2]) {
    for node in nodes {
        node.stop().wait();
    }
}

fn message(mailbox: &mut Mailbox) -> Signal {
    mailbox.recv_timeout(PATIENCE).expect("the node runs").expect("a signal comes in time")
}

async fn echo(mut me: Process) -> ProcessResult {
    while let Ok(signal) = me.recv().await {
        if let Ok((from, term)) = signal.message::<(Pid, Term)>() {
            me.send(from, &term).await?;
        }
    }
    Ok(())
}

#[test]
fn two_nodes_ping_and_see_each_other() {
    let (a, b) = pair(1);
    assert!(a.ping("b@127.0.0.1", PATIENCE).wait());
    let names = |node: &Node| -> Vec<String> {
        node.nodes().wait().iter().map(|info| info.name.as_str().to_owned()).collect()
    };
    assert_eq!(names(&a), ["b@127.0.0.1"]);
    assert_eq!(names(&b), ["a@127.0.0.1"]);
    assert!(!a.ping("nobody@127.0.0.1", PATIENCE).wait());
    assert!(a.disconnect("b@127.0.0.1").wait());
    assert!(names(&a).is_empty());
    stop([a, b]);
}

#[test]
fn a_send_connects_and_answers_come_back_in_order_over_any_number_of_shards() {
    for shards in [1, 2, 5] {
        let (a, b) = pair(shards);
        for shard in 0..shards {
            let name = format!("echo{shard}");
            b.spawn_on(shard, Some(&name), echo).wait().expect("a process");
        }
        let (done, finished) = mpsc::channel();
        for from in 0..shards {
            let done = done.clone();
            let run = move |mut me: Process| async move {
                for to in 0..shards {
                    let name = format!("echo{to}");
                    for number in 0..500_u64 {
                        me.send((name.as_str(), "b@127.0.0.1"), &(me.pid(), number)).await?;
                    }
                    for number in 0..500_u64 {
                        assert_eq!(me.recv().await?.message::<u64>()?, number);
                    }
                }
                done.send(from)?;
                Ok(())
            };
            a.spawn_on(from, None, run).wait().expect("a process");
        }
        let mut all: Vec<usize> =
            (0..shards).map(|_| finished.recv_timeout(PATIENCE).expect("it finishes")).collect();
        all.sort_unstable();
        assert_eq!(all, (0..shards).collect::<Vec<_>>());
        stop([a, b]);
    }
}

/// Answers bytes with the same bytes, and everything else with the term.
async fn mirror(mut me: Process) -> ProcessResult {
    while let Ok(signal) = me.recv().await {
        let Signal::Message(message) = &signal else { continue };
        let from = message.sender().ok_or("no sender")?;
        match message.as_bytes() {
            Some(bytes) if message.is_raw() => me.send_bytes(from, bytes).await?,
            _ => me.send(&from, &message.term()?).await?,
        }
    }
    Ok(())
}

#[test]
fn bytes_arrive_as_they_are_within_a_shard_between_shards_and_between_nodes() {
    let (a, b) = pair(2);
    let mirrors = [
        a.spawn_on(0, None, mirror).wait().expect("a process"),
        a.spawn_on(1, None, mirror).wait().expect("a process"),
        b.spawn_on(0, None, mirror).wait().expect("a process"),
        b.spawn_on(1, None, mirror).wait().expect("a process"),
    ];
    let (done, finished) = mpsc::channel();
    for shard in 0..2 {
        let (done, mirrors) = (done.clone(), mirrors.clone());
        let run = move |mut me: Process| async move {
            for to in &mirrors {
                for length in [0, 1, 16, 8191, 8192, 100_000, 1_000_000] {
                    let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
                    me.send_bytes(to, &bytes).await?;
                    assert_eq!(me.recv().await?.as_bytes(), Some(&bytes[..]), "{length} to {to}");
                    me.send_encoded(to, Encoded::raw(bytes.clone())).await?;
                    let signal = me.recv().await?;
                    assert_eq!(signal.message::<&[u8]>()?, &bytes[..], "{length} to {to}");
                    assert_eq!(signal.term()?, Term::Binary(bytes.into()));
                }
                me.send(to, &(1, "two")).await?;
                let signal = me.recv().await?;
                assert_eq!(signal.as_bytes(), None);
                assert_eq!(signal.message::<(u8, String)>()?, (1, "two".to_owned()));
            }
            done.send(())?;
            Ok(())
        };
        a.spawn_on(shard, None, run).wait().expect("a process");
    }
    for _ in 0..2 {
        finished.recv_timeout(PATIENCE).expect("it finishes");
    }
    stop([a, b]);
}

#[test]
fn bytes_from_threads_arrive_too() {
    let (a, b) = pair(1);
    let mut mailbox = b.mailbox(Some("here")).wait().expect("a mailbox");
    a.send_bytes(("here", "b@127.0.0.1"), b"from the node").wait().expect("sent");
    assert_eq!(message(&mut mailbox).as_bytes(), Some(&b"from the node"[..]));
    b.send_bytes("here", b"from here").wait().expect("sent");
    let signal = message(&mut mailbox);
    assert_eq!(signal.as_bytes(), Some(&b"from here"[..]));
    assert!(matches!(signal, Signal::Message(message) if message.is_raw()));
    drop(mailbox);
    stop([a, b]);
}

#[test]
fn a_large_message_arrives_whole() {
    let (a, b) = pair(2);
    b.spawn("echo", echo).expect("a process");
    let mut mailbox = a.mailbox(None).wait().expect("a mailbox");
    let bytes: Vec<u8> = (0..9_000_000_u32).map(|i| (i % 251) as u8).collect();
    let large = Term::Binary(bytes.into());
    mailbox
        .send_blocking(("echo", "b@127.0.0.1"), &(mailbox.pid(), large.clone()))
        .expect("it is sent");
    assert!(message(&mut mailbox).term().expect("a term") == large, "the same bytes");
    drop(mailbox);
    stop([a, b]);
}

#[test]
fn a_node_without_a_name_works_alone_and_comes_alive_later() {
    let cookie = Cookie::new("secret").expect("a cookie");
    let node = Node::anonymous()
        .cookie(cookie)
        .epmd_port(free_port())
        .start()
        .expect("a node needs no name");
    assert!(!node.is_alive() && node.name().is_none());
    node.spawn("echo", echo).expect("a process");
    let mut mailbox = node.mailbox(Some("me")).wait().expect("a mailbox");
    let before = mailbox.pid();
    mailbox.send_blocking("echo", &(before.clone(), 1)).expect("sent");
    assert_eq!(message(&mut mailbox).message::<u8>().expect("a number"), 1);
    assert!(matches!(
        mailbox.send_blocking(("echo", "b@127.0.0.1"), &1),
        Err(SendError::NoConnection { .. })
    ));
    node.start("late@127.0.0.1").wait().expect("it comes alive");
    assert_eq!(node.name().expect("a name").as_str(), "late@127.0.0.1");
    // The pid from before names the same process.
    mailbox.send_blocking("echo", &(before, 2)).expect("sent");
    assert_eq!(message(&mut mailbox).message::<u8>().expect("a number"), 2);
    let again = node.start("x@127.0.0.1").wait();
    assert!(matches!(again, Err(StartError::AlreadyStarted { net_kernel: Some(_) })), "{again:?}");
    drop(mailbox);
    node.stop().wait();
}

#[test]
fn names_are_unique_and_free_again_after_their_process() {
    let (a, b) = pair(2);
    let mailbox = a.mailbox(Some("one")).wait().expect("a mailbox");
    assert_eq!(a.whereis("one").wait(), Some(mailbox.pid()));
    assert_eq!(
        a.spawn("one", echo).expect_err("taken"),
        SpawnError::NameTaken(Atom::from_static("one"))
    );
    for bad in ["", "undefined"] {
        assert!(matches!(a.spawn(bad, echo), Err(SpawnError::BadName(_))), "{bad:?}");
    }
    drop(mailbox);
    // The removal is ordered before this on the way to the kernel, but not the process's end.
    let deadline = std::time::Instant::now() + PATIENCE;
    while a.spawn("one", echo).is_err() {
        assert!(std::time::Instant::now() < deadline, "the name is never free again");
        std::thread::yield_now();
    }
    stop([a, b]);
}

#[test]
fn subscribers_see_nodeup_then_messages_then_nodedown() {
    let (a, b) = pair(2);
    let (events, seen) = mpsc::channel();
    a.spawn("watcher", move |mut me| async move {
        me.monitor_nodes(true);
        events.send("ready".to_owned())?;
        while let Ok(signal) = me.recv().await {
            events.send(match signal {
                Signal::NodeUp(up) => format!("up {}", up.node.as_str()),
                Signal::NodeDown(down) => {
                    format!("down {} {}", down.node.as_str(), down.reason.atom().as_str())
                }
                other => other.message::<String>()?,
            })?;
        }
        Ok(())
    })
    .expect("a process");
    let next = || seen.recv_timeout(PATIENCE).expect("an event comes");
    assert_eq!(next(), "ready");
    for text in ["one", "two"] {
        b.send(("watcher", "a@127.0.0.1"), text).wait().expect("sent");
    }
    assert_eq!(next(), "up b@127.0.0.1");
    assert_eq!(next(), "one");
    assert_eq!(next(), "two");
    b.stop().wait();
    assert_eq!(next(), "down b@127.0.0.1 connection_closed");
    assert_eq!(NodeDownReason::ConnectionClosed.atom().as_str(), "connection_closed");
    a.stop().wait();
}

#[test]
fn sends_do_not_connect_when_told_so() {
    let epmd = free_port();
    let a = builder("a@127.0.0.1", epmd).auto_connect(AutoConnect::Never).start().expect("a node");
    let b = builder("b@127.0.0.1", epmd).start().expect("a node");
    let to_b = ("nobody", "b@127.0.0.1");
    let Err(SendError::NoConnection { why: Some(why), .. }) = a.send(to_b, &1).wait() else {
        panic!("it must not connect")
    };
    assert_eq!(*why, ConnectError::NotAutomatic);
    a.connect("b@127.0.0.1").wait().expect("a connection");
    a.send(to_b, &1).wait().expect("connected now");
    stop([a, b]);
}

#[test]
fn a_connect_that_fails_says_at_which_step_and_why() {
    let epmd = free_port();
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let setup_time = Duration::from_millis(200);
    let config = NodeConfig { setup_time, ..builder("a@127.0.0.1", epmd).config().clone() };
    let a = Builder::from_config(config).start().expect("a node");
    let connect = |to: &str| a.connect(to).wait().expect_err("nobody is there");

    assert!(matches!(connect("b@short"), ConnectError::Name(_)));
    let unknown = ConnectError::Unknown { epmd: address(epmd), name: "b".to_owned() };
    assert_eq!(connect("b@127.0.0.1"), unknown);

    // Registered, and nobody listens.
    let refuses = free_port();
    let register = |name: &str, port| {
        let entry = NodeEntry::new(name, port);
        register(address(epmd), &entry, PATIENCE).expect("the name is free")
    };
    let _gone = register("gone", refuses);
    let ConnectError::Unreachable { address: at, error } = connect("gone@127.0.0.1") else {
        panic!("nobody listens")
    };
    assert_eq!((at, error.kind), (address(refuses), std::io::ErrorKind::ConnectionRefused));

    // Somebody listens, and never says a word; or closes.
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let _mute = register("mute", mute.local_addr().expect("an address").port());
    let silent = connect("mute@127.0.0.1");
    assert!(silent.is_timeout(), "{silent}");
    let ConnectError::Handshake(why) = silent else { panic!("{silent}") };
    assert_eq!(why.stage, Stage::Message(MessageKind::Status));
    assert_eq!(why.kind, HandshakeErrorKind::Timeout { limit: setup_time });
    let rude = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let _rude = register("rude", rude.local_addr().expect("an address").port());
    std::thread::spawn(move || drop(rude.accept()));
    let ConnectError::Handshake(why) = connect("rude@127.0.0.1") else { panic!("it closes") };
    assert_eq!(why.stage, Stage::Message(MessageKind::Status));
    a.stop().wait();

    // No epmd at all.
    let a = builder("a@127.0.0.1", free_port()).epmd(EpmdMode::None).start().expect("a node");
    let refused = a.connect("b@127.0.0.1").wait().expect_err("nobody is there");
    assert!(matches!(refused, ConnectError::Epmd { .. }), "{refused:?}");
    a.stop().wait();
}

#[test]
fn another_cookie_is_no_way_in() {
    let epmd = free_port();
    let a = builder("a@127.0.0.1", epmd).start().expect("a node");
    let other = Cookie::new("other").expect("a cookie");
    let b = builder("b@127.0.0.1", epmd).cookie(other).start().expect("a node");
    for (from, to) in [(&b, "a@127.0.0.1"), (&a, "b@127.0.0.1")] {
        let refused = from.connect(to).wait().expect_err("the cookies differ");
        let ConnectError::Handshake(why) = &refused else { panic!("{refused:?}") };
        assert_eq!(why.fault(), Fault::Configuration);
        assert!(refused.to_string().contains("give both nodes the same cookie"), "{refused}");
    }
    stop([a, b]);
}

#[test]
fn a_full_mailbox_drops_or_ends_its_process_as_it_chose() {
    let (a, b) = pair(1);
    let (report, reports) = mpsc::channel();
    let limits = MailboxLimits { bytes_max: 10_000, overflow: Overflow::DropNewest };
    a.spawn("slow", move |mut me| async move {
        me.set_mailbox_limits(limits);
        report.send(0)?;
        // The first message says that all others are there.
        while me.recv().await?.message::<u64>()? != 999 {
            if me.messages_dropped() > 0 {
                break;
            }
        }
        report.send(me.messages_dropped())?;
        me.recv().await?;
        Ok(())
    })
    .expect("a process");
    assert_eq!(reports.recv_timeout(PATIENCE), Ok(0));
    a.spawn_on(0, None, |me| async move {
        // One turn: the receiver cannot run in between.
        for number in 0..1000_u64 {
            me.try_send("slow", &number)?;
        }
        Ok(())
    })
    .wait()
    .expect("a process");
    let dropped = reports.recv_timeout(PATIENCE).expect("a report");
    assert!((900..1000).contains(&dropped), "{dropped} dropped");
    stop([a, b]);
}

#[test]
fn a_panic_ends_its_process_only() {
    let (a, b) = pair(1);
    a.spawn("bad", |mut me| async move {
        let signal = me.recv().await?;
        panic!("told to: {:?}", signal.message::<String>());
    })
    .expect("a process");
    a.spawn("echo", echo).expect("a process");
    let mut mailbox = b.mailbox(None).wait().expect("a mailbox");
    mailbox.send_blocking(("bad", "a@127.0.0.1"), "now").expect("sent");
    mailbox.send_blocking(("echo", "a@127.0.0.1"), &(mailbox.pid(), 7)).expect("sent");
    assert_eq!(message(&mut mailbox).message::<u8>().expect("a number"), 7);
    drop(mailbox);
    stop([a, b]);
}

#[test]
fn a_process_that_holds_up_its_shard_is_counted_and_one_that_does_not_is_not() {
    let (a, b) = pair(1);
    let (turns, counted) = mpsc::channel();
    let busy = || {
        let end = std::time::Instant::now() + Duration::from_millis(30);
        while std::time::Instant::now() < end {}
        7
    };
    a.spawn("busy", move |me| async move {
        let node = me.node();
        assert_eq!(node.blocking(busy).await?, 7);
        turns.send(long_turns(&node).await)?;
        end_turn().await;
        assert_eq!(busy(), 7);
        end_turn().await;
        turns.send(long_turns(&node).await)?;
        Ok(())
    })
    .expect("a process");
    let next = || counted.recv_timeout(PATIENCE).expect("a count");
    let before = next();
    assert!(next() > before);
    stop([a, b]);
}

async fn long_turns(node: &Node) -> u64 {
    node.stats().await.iter().map(|shard| shard.long_turns).sum()
}

/// Ends a turn.
async fn end_turn() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// Computes without end, a little at a time.
async fn computing(me: Process) -> ProcessResult {
    loop {
        let end = std::time::Instant::now() + Duration::from_micros(100);
        while std::time::Instant::now() < end {}
        end_turn().await;
        if me.messages_dropped() > 0 {
            return Ok(());
        }
    }
}

#[test]
fn answers_of_other_shards_come_soon_to_a_busy_one() {
    let node = Node::anonymous().shards(2).start().expect("a node");
    node.spawn_on(1, None, computing).wait().expect("a process");
    let (report, reports) = mpsc::channel();
    let ask = move |me: Process| async move {
        let mut waits = Vec::new();
        for _ in 0..100 {
            let asked = std::time::Instant::now();
            me.node().whereis("nobody").await;
            waits.push(asked.elapsed());
        }
        waits.sort_unstable();
        report.send(waits[waits.len() / 2])?;
        Ok(())
    };
    node.spawn_on(1, None, ask).wait().expect("a process");
    let median = reports.recv_timeout(PATIENCE).expect("a report");
    // The executor by itself looks for wakes of other threads every ten milliseconds.
    assert!(median < Duration::from_millis(4), "{median:?}");
    node.stop().wait();
}

#[test]
fn a_stopped_node_says_so() {
    let (a, b) = pair(1);
    let mut mailbox = a.mailbox(None).wait().expect("a mailbox");
    a.stop().wait();
    assert!(mailbox.recv_timeout(PATIENCE).is_err());
    assert!(matches!(a.send("x", &1).wait(), Err(SendError::Stopped)));
    assert!(matches!(a.spawn("x", echo), Err(SpawnError::Stopped)));
    b.stop().wait();
}
