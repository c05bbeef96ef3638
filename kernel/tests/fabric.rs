//! Two Krarup nodes and the lanes between them.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use krarup::epmd::EpmdMode;
use krarup::term::Pid;
use krarup::{Builder, Checksum, Cookie, LinkStats, Mailbox, Node, Process, ProcessResult, Signal};

const PATIENCE: Duration = Duration::from_secs(20);

fn builder(name: &str, epmd: u16) -> Builder {
    let cookie = Cookie::new("secret").expect("a cookie");
    Node::builder(name).cookie(cookie).epmd(EpmdMode::Auto).epmd_port(epmd)
}

/// A port that no connection is given by chance: those come from 32768 on.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id() * 32 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_000 + number % 20_000).expect("below 30000");
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}

/// Two nodes, each made by its own function from the common settings.
fn pair(a: impl FnOnce(Builder) -> Builder, b: impl FnOnce(Builder) -> Builder) -> (Node, Node) {
    let epmd = free_port();
    let start = |builder: Builder| builder.start().expect("the node starts");
    let a = start(a(builder("a@127.0.0.1", epmd)));
    (a, start(b(builder("b@127.0.0.1", epmd))))
}

fn links(node: &Node) -> Vec<LinkStats> {
    node.stats().wait().into_iter().flat_map(|shard| shard.links).collect()
}

/// Waits until a node has exactly these lanes, each with the shard that keeps it: whoever connects
/// is told so before the other side's shards have all heard of it.
fn expect_lanes(node: &Node, expected: &[(u8, usize)]) {
    let started = Instant::now();
    loop {
        let links = links(node);
        let mut lanes: Vec<(u8, usize)> =
            links.iter().map(|link| (link.lane.expect("a lane").lane, link.shard)).collect();
        lanes.sort_unstable();
        if lanes == expected {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{lanes:?} instead of {expected:?}");
    }
}

fn stop(nodes: [Node; 2]) {
    for node in nodes {
        node.stop().wait();
    }
}

async fn mirror(mut me: Process) -> ProcessResult {
    while let Ok(signal) = me.recv().await {
        if let Ok((from, number)) = signal.message::<(Pid, u64)>() {
            me.send(from, &number).await?;
        }
    }
    Ok(())
}

/// Has one process per shard of `a` talk to one per shard of `b` and back, in order.
fn talk(a: &Node, b: &Node) {
    let mirrors: Vec<Pid> = (0..b.shards())
        .map(|shard| b.spawn_on(shard, None, mirror).wait().expect("a process"))
        .collect();
    let (done, finished) = mpsc::channel();
    for shard in 0..a.shards() {
        let (done, mirrors) = (done.clone(), mirrors.clone());
        let run = move |mut me: Process| async move {
            for to in &mirrors {
                for number in 0..300_u64 {
                    me.send(to, &(me.pid(), number)).await?;
                }
                for number in 0..300_u64 {
                    assert_eq!(me.recv().await?.message::<u64>()?, number);
                }
            }
            done.send(shard)?;
            Ok(())
        };
        a.spawn_on(shard, None, run).wait().expect("a process");
    }
    for _ in 0..a.shards() {
        finished.recv_timeout(PATIENCE).expect("it finishes");
    }
}

#[test]
fn as_many_lanes_as_the_node_with_more_shards_has_each_on_its_shard() {
    let (a, b) = pair(|a| a.shards(3), |b| b.shards(2));
    a.connect("b@127.0.0.1").wait().expect("a connection");
    expect_lanes(&a, &[(0, 0), (1, 1), (2, 2)]);
    expect_lanes(&b, &[(0, 0), (1, 1), (2, 0)]);
    talk(&a, &b);
    talk(&b, &a);
    for link in links(&a) {
        let lane = link.lane.expect("a lane");
        assert!(link.sent_signals > 0, "one for each shard of this node: {link:?}");
        assert_eq!(link.received_signals > 0, lane.lane < 2, "and of the other: {link:?}");
        assert!(lane.is_connected && lane.resumes == 0, "{lane:?}");
    }
    stop([a, b]);
}

#[test]
fn either_node_may_want_fewer_lanes() {
    let (a, b) = pair(|a| a.shards(3), |b| b.shards(3).lanes(2));
    b.connect("a@127.0.0.1").wait().expect("a connection");
    expect_lanes(&a, &[(0, 0), (1, 1)]);
    expect_lanes(&b, &[(0, 0), (1, 1)]);
    talk(&a, &b);
    stop([a, b]);
}

#[test]
fn lanes_use_tcp_when_a_node_has_no_unix_socket_and_checksums_when_one_asks() {
    let tcp = |node: Builder| node.shards(2).unix_lanes(false).checksum(Checksum::On);
    let (a, b) = pair(tcp, |b| b.shards(2));
    b.connect("a@127.0.0.1").wait().expect("a connection");
    expect_lanes(&a, &[(0, 0), (1, 1)]);
    talk(&a, &b);
    talk(&b, &a);
    assert!(links(&a).iter().all(|link| link.lane.is_some_and(|lane| lane.checksum_errors == 0)));
    stop([a, b]);
}

#[test]
fn a_node_without_lanes_is_linked_to_as_an_erlang_node_is() {
    let (a, b) = pair(|a| a.shards(2), |b| b.shards(2).fabric(false));
    a.connect("b@127.0.0.1").wait().expect("a connection");
    for node in [&a, &b] {
        let started = Instant::now();
        while links(node).is_empty() {
            assert!(started.elapsed() < PATIENCE, "a link");
        }
        assert_eq!(links(node).iter().map(|link| link.lane).collect::<Vec<_>>(), [None]);
    }
    talk(&a, &b);
    stop([a, b]);
}

fn watcher(node: &Node) -> mpsc::Receiver<String> {
    let (told, events) = mpsc::channel();
    let watch = move |mut me: Process| async move {
        me.monitor_nodes(true);
        told.send("watching".to_owned())?;
        while let Ok(signal) = me.recv().await {
            let event = match signal {
                Signal::NodeUp(up) => format!("up {}", up.node),
                Signal::NodeDown(down) => format!("down {} {}", down.node, down.reason),
                _ => "message".to_owned(),
            };
            told.send(event)?;
        }
        Ok(())
    };
    node.spawn_on(0, Some("watcher"), watch).wait().expect("a process");
    assert_eq!(events.recv_timeout(PATIENCE).as_deref(), Ok("watching"));
    events
}

fn next(events: &mpsc::Receiver<String>) -> String {
    events.recv_timeout(PATIENCE).expect("an event in time")
}

#[test]
fn a_disconnect_ends_every_lane_and_the_nodes_find_each_other_again() {
    let (a, b) = pair(|a| a.shards(2), |b| b.shards(2));
    let (seen_by_a, seen_by_b) = (watcher(&a), watcher(&b));
    for _ in 0..3 {
        a.connect("b@127.0.0.1").wait().expect("a connection");
        assert_eq!(next(&seen_by_a), "up 'b@127.0.0.1'");
        assert_eq!(next(&seen_by_b), "up 'a@127.0.0.1'");
        talk(&a, &b);
        assert!(b.disconnect("a@127.0.0.1").wait());
        assert_eq!(next(&seen_by_b), "down 'a@127.0.0.1' disconnect");
        assert_eq!(next(&seen_by_a), "down 'b@127.0.0.1' connection_closed");
        assert!(links(&a).is_empty() && links(&b).is_empty());
    }
    stop([a, b]);
}

#[test]
fn what_was_sent_before_a_node_stops_arrives_before_it_is_down() {
    for unix in [true, false] {
        let (a, b) = pair(|a| a.shards(2).unix_lanes(unix), |b| b.shards(3).unix_lanes(unix));
        let events = watcher(&a);
        a.connect("b@127.0.0.1").wait().expect("a connection");
        assert_eq!(next(&events), "up 'b@127.0.0.1'");
        let (done, sent) = mpsc::channel();
        for shard in 0..3 {
            let done = done.clone();
            let run = move |me: Process| async move {
                for number in 0..100_u64 {
                    me.send(("watcher", "a@127.0.0.1"), &number).await?;
                }
                done.send(())?;
                Ok(())
            };
            b.spawn_on(shard, None, run).wait().expect("a process");
        }
        for _ in 0..3 {
            sent.recv_timeout(PATIENCE).expect("it sends");
        }
        b.stop().wait();
        for _ in 0..300 {
            assert_eq!(next(&events), "message");
        }
        assert_eq!(next(&events), "down 'b@127.0.0.1' connection_closed");
        a.stop().wait();
    }
}

#[test]
fn a_node_that_stops_is_down_at_once_on_both_kinds_of_lanes() {
    for unix in [true, false] {
        let with = |node: Builder| node.shards(2).unix_lanes(unix);
        for a_dials in [true, false] {
            let (a, b) = pair(with, with);
            let events = watcher(&a);
            if a_dials {
                a.connect("b@127.0.0.1").wait().expect("a connection");
            } else {
                b.connect("a@127.0.0.1").wait().expect("a connection");
            }
            assert_eq!(next(&events), "up 'b@127.0.0.1'");
            let stopping = Instant::now();
            b.stop().wait();
            assert_eq!(next(&events), "down 'b@127.0.0.1' connection_closed");
            assert!(stopping.elapsed() < Duration::from_secs(4), "without a deadline's help");
            a.stop().wait();
        }
    }
}

#[test]
fn two_nodes_that_connect_to_each_other_at_once_have_one_session() {
    let (a, b) = pair(|a| a.shards(2), |b| b.shards(2));
    for _ in 0..20 {
        let (from_a, from_b) = (a.connect("b@127.0.0.1"), b.connect("a@127.0.0.1"));
        assert_eq!([from_a.wait(), from_b.wait()], [Ok(()), Ok(())]);
        expect_lanes(&a, &[(0, 0), (1, 1)]);
        expect_lanes(&b, &[(0, 0), (1, 1)]);
        talk(&a, &b);
        assert!(a.disconnect("b@127.0.0.1").wait());
        let gone = Instant::now();
        while !b.nodes().wait().is_empty() {
            assert!(gone.elapsed() < PATIENCE, "the other sees it, too");
        }
    }
    stop([a, b]);
}

#[test]
fn a_node_connects_while_the_other_one_is_at_it() {
    for fabric in [true, false] {
        let with = |node: Builder| node.shards(2).fabric(fabric);
        let (a, b) = pair(with, with);
        // From at once to when the other one is through.
        for delay in (0..2000).step_by(20).map(Duration::from_micros) {
            let from_a = a.connect("b@127.0.0.1");
            let later = Instant::now() + delay;
            while Instant::now() < later {
                std::hint::spin_loop();
            }
            let from_b = b.connect("a@127.0.0.1");
            assert_eq!([from_a.wait(), from_b.wait()], [Ok(()), Ok(())], "{delay:?} later");
            a.disconnect("b@127.0.0.1").wait();
            b.disconnect("a@127.0.0.1").wait();
        }
        stop([a, b]);
    }
}

#[test]
fn names_and_aliases_are_reached_over_lanes_from_any_shard() {
    let (a, b) = pair(|a| a.shards(2), |b| b.shards(2));
    a.connect("b@127.0.0.1").wait().expect("a connection");
    let mut mailbox = b.mailbox(Some("box")).wait().expect("a mailbox");
    for shard in 0..2 {
        let run = |me: Process| async move {
            me.send(("box", "b@127.0.0.1"), &"term").await?;
            me.send_bytes(("box", "b@127.0.0.1"), b"raw").await?;
            Ok(())
        };
        a.spawn_on(shard, None, run).wait().expect("a process");
    }
    let received = |mailbox: &mut Mailbox| {
        let signal = mailbox.recv_timeout(PATIENCE).expect("it runs").expect("a message in time");
        let Signal::Message(message) = signal else { panic!("a message") };
        (message.is_raw(), message.decode::<String>().expect("text"))
    };
    let mut all: Vec<(bool, String)> = (0..4).map(|_| received(&mut mailbox)).collect();
    all.sort();
    let expected = [(false, "term"), (false, "term"), (true, "raw"), (true, "raw")];
    assert_eq!(all, expected.map(|(raw, text)| (raw, text.to_owned())));

    let (told, alias) = mpsc::channel();
    let owner = move |mut me: Process| async move {
        told.send(me.alias())?;
        let Signal::Message(message) = me.recv().await? else { return Err("a message".into()) };
        let from = message.sender().ok_or("a sender")?;
        me.send(from, &message.decode::<u64>()?).await?;
        Ok(())
    };
    b.spawn_on(1, None, owner).wait().expect("a process");
    let alias = alias.recv_timeout(PATIENCE).expect("an alias");
    let (done, answer) = mpsc::channel();
    let ask = move |mut me: Process| async move {
        me.send(&alias, &17_u64).await?;
        done.send(me.recv().await?.message::<u64>()?)?;
        Ok(())
    };
    a.spawn_on(0, None, ask).wait().expect("a process");
    assert_eq!(answer.recv_timeout(PATIENCE), Ok(17));
    stop([a, b]);
}

#[test]
fn a_message_to_a_process_of_a_former_life_reaches_nobody() {
    let (a, b) = pair(|a| a.shards(2), |b| b.shards(2));
    let mut mailbox = b.mailbox(None).wait().expect("a mailbox");
    let mut old = mailbox.pid();
    old.creation.0 ^= 1;
    let new = mailbox.pid();
    let run = move |me: Process| async move {
        me.send(&old, &"old").await?;
        me.send(&new, &"new").await?;
        Ok(())
    };
    a.spawn_on(1, None, run).wait().expect("a process");
    let signal = mailbox.recv_timeout(PATIENCE).expect("it runs").expect("a message in time");
    assert_eq!(signal.message::<String>().expect("text"), "new");
    assert_eq!(mailbox.recv_timeout(Duration::from_millis(50)).map(|s| s.is_some()), Ok(false));
    stop([a, b]);
}

#[test]
fn messages_come_only_between_nodeup_and_nodedown_on_every_shard() {
    for fabric in [true, false] {
        let (a, b) = pair(|a| a.shards(3).fabric(fabric), |b| b.shards(2).fabric(fabric));
        let over = Arc::new(AtomicBool::new(false));
        let (told, outcomes) = mpsc::channel();
        for shard in 0..b.shards() {
            let told = told.clone();
            let watch = move |mut me: Process| async move {
                me.monitor_nodes(true);
                let (mut up, mut messages, mut lives) = (false, 0_u64, 0_u64);
                told.send(Ok(0))?;
                while let Ok(signal) = me.recv().await {
                    let right = match &signal {
                        Signal::NodeUp(_) => !std::mem::replace(&mut up, true),
                        Signal::NodeDown(_) => {
                            lives += 1;
                            std::mem::replace(&mut up, false)
                        }
                        Signal::Message(message) if message.as_bytes() == Some(b"over") => break,
                        _ => up,
                    };
                    messages += 1;
                    if !right {
                        told.send(Err(format!("{signal:?} as signal {messages}, up: {up}")))?;
                        return Ok(());
                    }
                }
                told.send(Ok(lives))?;
                Ok(())
            };
            b.spawn_on(shard, Some(&format!("watch{shard}")), watch).wait().expect("a process");
            assert_eq!(outcomes.recv_timeout(PATIENCE), Ok(Ok(0)));
        }
        for shard in 0..a.shards() {
            let over = Arc::clone(&over);
            let blast = move |me: Process| async move {
                for number in 0_u64.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = ["watch0", "watch1"][(number % 2) as usize];
                    // It connects anew whenever it has to.
                    let _ = me.send((name, "b@127.0.0.1"), &number).await;
                }
                Ok(())
            };
            a.spawn_on(shard, None, blast).wait().expect("a process");
        }
        let mut lives = 0;
        let started = Instant::now();
        while lives < 30 && started.elapsed() < PATIENCE {
            let down = if lives % 2 == 0 {
                a.disconnect("b@127.0.0.1")
            } else {
                b.disconnect("a@127.0.0.1")
            };
            lives += u64::from(down.wait());
        }
        over.store(true, Ordering::Relaxed);
        assert_eq!(lives, 30, "in time");
        for shard in 0..2 {
            b.send_bytes(format!("watch{shard}"), b"over").wait().expect("it is there");
        }
        for _ in 0..2 {
            let seen = outcomes.recv_timeout(PATIENCE).expect("it ends").expect("in order");
            // Two disconnects may have ended the same connection.
            assert!(seen >= 10, "every nodedown was told: {seen}");
        }
        stop([a, b]);
    }
}
