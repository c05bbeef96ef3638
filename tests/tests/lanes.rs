//! The lanes between two Krarup nodes while their connections break, freeze and lie: what both
//! nodes live through loses nothing and shows to nobody, and what one does not is one `nodedown`.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use krarup::epmd::EpmdMode;
use krarup::term::Pid;
use krarup::{
    Builder, Checksum, Cookie, Encoded, LaneStats, NetTicktime, Node, NodeConfig, Process, Signal,
    TicktimeChange,
};
use krarup_tests::{KrarupNode, Lab, Proxy, Release, for_each_release, until};

const A: &str = "a@127.0.0.1";
const B: &str = "b@127.0.0.1";
const SOON: Duration = Duration::from_secs(30);
/// Numbers of a stream that may be under way. Without that bound a stream is over before many
/// connections are.
const AHEAD_MAX: u64 = 500;
/// Bytes that certainly hold a frame of a stream, behind a join and an acknowledgement.
const PROGRESS_BYTES: u64 = 4096;
/// Far below the time that a session waits for a lane: who needs less has not waited for it.
const AT_ONCE: Duration = Duration::from_secs(3);

for_each_release!(one_call_reaches_a_process_of_either_kind_of_node);

fn config(name: &str) -> NodeConfig {
    let mut config = NodeConfig { name: Some(name.to_owned()), ..NodeConfig::default() };
    config.cookie = Some(Cookie::new("c").expect("a cookie"));
    config.shards = 2;
    config.epmd = EpmdMode::None;
    config.fabric.unix = false;
    config
}

fn start(config: NodeConfig) -> Node {
    Builder::from_config(config).start().expect("the node starts")
}

/// Two nodes of two shards; `a` reaches `b` through a proxy only, over as many lanes.
struct Pair {
    a: Node,
    b: Node,
    proxy: Proxy,
    seen_by_a: Watch,
    seen_by_b: Watch,
}

impl Pair {
    fn new(change: impl Fn(&mut NodeConfig)) -> Pair {
        let mut config_b = config(B);
        change(&mut config_b);
        let b = start(config_b);
        let port = b.port().expect("it is alive");
        let proxy = Proxy::start(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        let mut config_a = config(A);
        config_a.peer_port = Some(proxy.port());
        change(&mut config_a);
        let a = start(config_a);
        let (seen_by_a, seen_by_b) = (Watch::new(&a), Watch::new(&b));
        Pair { a, b, proxy, seen_by_a, seen_by_b }
    }

    fn connect(&self) {
        self.a.connect(B).wait().expect("a connection");
        assert_eq!(self.seen_by_a.next(), format!("up '{B}'"));
        assert_eq!(self.seen_by_b.next(), format!("up '{A}'"));
    }

    fn stop(self) {
        for node in [self.a, self.b] {
            node.stop().wait();
        }
    }
}

/// What a process on a node is told of other nodes.
struct Watch(mpsc::Receiver<String>);

impl Watch {
    fn new(node: &Node) -> Watch {
        let (told, events) = mpsc::channel();
        let watch = move |mut me: Process| async move {
            me.monitor_nodes(true);
            told.send("watching".to_owned())?;
            while let Ok(signal) = me.recv().await {
                told.send(match signal {
                    Signal::NodeUp(up) => format!("up {}", up.node),
                    Signal::NodeDown(down) => format!("down {} {}", down.node, down.reason.atom()),
                    other => format!("{other:?}"),
                })?;
            }
            Ok(())
        };
        node.spawn_on(0, None, watch).wait().expect("a process");
        let watch = Watch(events);
        assert_eq!(watch.next(), "watching");
        watch
    }

    fn next(&self) -> String {
        self.0.recv_timeout(SOON).expect("an event in time")
    }

    fn expect_nothing(&self) {
        assert_eq!(self.0.recv_timeout(Duration::from_millis(100)), Err(RecvTimeoutError::Timeout));
    }
}

fn lanes(node: &Node) -> Vec<LaneStats> {
    let shards = node.stats().wait();
    shards.iter().flat_map(|shard| &shard.links).filter_map(|link| link.lane).collect()
}

fn sum(node: &Node, count: impl Fn(&LaneStats) -> u64) -> u64 {
    lanes(node).iter().map(count).sum()
}

/// A stream of numbers from each shard of one node to the same shard of another, checked where it
/// arrives.
struct Stream {
    received: Vec<Arc<AtomicU64>>,
    ended: mpsc::Receiver<Result<(), String>>,
    running: Cell<usize>,
}

impl Stream {
    fn start(from: &Node, to: &Node, count: u64) -> Stream {
        let received: Vec<Arc<AtomicU64>> = (0..from.shards()).map(|_| Arc::default()).collect();
        let (done, ended) = mpsc::channel();
        let shards = from.shards();
        for (shard, received) in received.iter().enumerate() {
            let (seen, told) = (Arc::clone(received), done.clone());
            let check = move |mut me: Process| async move {
                let outcome = check_numbers(&mut me, count, &seen).await;
                told.send(outcome)?;
                Ok(())
            };
            let receiver = to.spawn_on(shard, None, check).wait().expect("a process");
            let failed = done.clone();
            let received = Arc::clone(received);
            let send = move |mut me: Process| async move {
                for number in 0..count {
                    while number >= received.load(Ordering::Relaxed) + AHEAD_MAX {
                        me.recv_timeout(Duration::from_micros(100)).await?;
                    }
                    if let Err(error) = me.send_bytes(&receiver, &number.to_le_bytes()).await {
                        failed.send(Err(format!("number {number} was not sent: {error}")))?;
                        break;
                    }
                }
                Ok(())
            };
            from.spawn_on(shard, None, send).wait().expect("a process");
        }
        Stream { received, ended, running: Cell::new(shards) }
    }

    fn received(&self) -> u64 {
        self.received.iter().map(|received| received.load(Ordering::Relaxed)).sum()
    }

    /// Notes who has ended, well.
    fn check(&self) {
        while let Ok(ended) = self.ended.try_recv() {
            assert_eq!(ended, Ok(()), "after {} numbers", self.received());
            self.running.set(self.running.get() - 1);
        }
    }

    /// Waits until so many numbers have arrived.
    fn wait_for(&self, count: u64) {
        until(&format!("{count} numbers have arrived"), SOON, || {
            self.check();
            (self.received() >= count).then_some(())
        });
    }

    fn finish(self) {
        let mut last = (self.received(), Instant::now());
        while self.running.get() > 0 {
            self.check();
            if self.received() > last.0 {
                last = (self.received(), Instant::now());
            }
            assert!(last.1.elapsed() < SOON, "nothing comes after {} numbers", last.0);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

async fn check_numbers(me: &mut Process, count: u64, received: &AtomicU64) -> Result<(), String> {
    for expected in 0..count {
        let signal = me.recv().await.map_err(|error| error.to_string())?;
        let number = signal.as_bytes().and_then(|bytes| bytes.try_into().ok());
        if number.map(u64::from_le_bytes) != Some(expected) {
            return Err(format!("{signal:?} came instead of number {expected}"));
        }
        received.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Resets connections again and again during a stream, evenly over it.
fn stream_through_resets(numbers: u64, resets: u64) {
    let pair = Pair::new(|_| {});
    pair.connect();
    let there = Stream::start(&pair.a, &pair.b, numbers);
    let back = Stream::start(&pair.b, &pair.a, numbers);
    let total = 4 * numbers;
    for reset in 0..resets {
        // The last quarter is left for those that come late.
        let mark = total / 4 * 3 * reset / resets;
        until(&format!("{mark} of {total} numbers, after {reset} resets"), SOON, || {
            there.check();
            back.check();
            (there.received() + back.received() >= mark).then_some(())
        });
        // One that has brought something: a lane that is resumed again and again in vain is given
        // up.
        until(&format!("a connection to reset, after {reset} others"), SOON, || {
            there.check();
            back.check();
            pair.proxy.reset_one(PROGRESS_BYTES).then_some(())
        });
    }
    there.finish();
    back.finish();
    pair.seen_by_a.expect_nothing();
    pair.seen_by_b.expect_nothing();
    // A reset may come before the peer of the last one has noticed that.
    let resumes = sum(&pair.a, |lane| lane.resumes);
    assert!(resumes >= resets / 2, "{resumes} resumes after {resets} resets");
    assert!(sum(&pair.a, |lane| lane.replayed_bytes) + sum(&pair.b, |l| l.replayed_bytes) > 0);
    pair.stop();
}

#[test]
fn a_stream_goes_on_through_resets() {
    // Ten million numbers in all.
    stream_through_resets(2_500_000, 1000);
}

#[test]
fn a_flipped_bit_is_noticed_and_repaired() {
    let pair = Pair::new(|config| config.fabric.checksum = Checksum::On);
    pair.connect();
    for flips in 1..=5 {
        let stream = Stream::start(&pair.a, &pair.b, 20_000);
        pair.proxy.flip_bit_after(100_000 + 7919 * flips);
        stream.finish();
        assert!(pair.proxy.has_flipped());
        until("the error is counted", SOON, || {
            (sum(&pair.b, |lane| lane.checksum_errors) == u64::from(flips)).then_some(())
        });
        until("the lane goes on", SOON, || {
            lanes(&pair.b).iter().all(|l| l.is_connected).then_some(())
        });
    }
    pair.seen_by_a.expect_nothing();
    pair.seen_by_b.expect_nothing();
    pair.stop();
}

#[test]
fn a_frame_that_always_arrives_damaged_ends_the_session() {
    let pair = Pair::new(|config| config.fabric.checksum = Checksum::On);
    pair.connect();
    // Behind a join, and within the first fragment of a large message.
    pair.proxy.flip_bit_of_each_after(2000);
    let mailbox = pair.b.mailbox(Some("mailbox")).wait().expect("a mailbox");
    let send = |me: Process| async move {
        let large = Encoded::binary(vec![7; 300_000].into());
        let _ = me.send_encoded(("mailbox", B), &large).await;
        Ok(())
    };
    pair.a.spawn_on(0, None, send).wait().expect("a process");
    assert_eq!(pair.seen_by_b.next(), format!("down '{A}' checksum"));
    // It is told over the lane that is well, unless the other one is refused before.
    let reasons = ["checksum", "connection_closed"].map(|reason| format!("down '{B}' {reason}"));
    let event = pair.seen_by_a.next();
    assert!(reasons.contains(&event), "{event}");
    drop(mailbox);
    pair.stop();
}

#[test]
fn lanes_that_stay_away_end_the_session_once() {
    let pair = Pair::new(|_| {});
    pair.connect();
    Stream::start(&pair.a, &pair.b, 1000).finish();
    pair.proxy.hold();
    pair.proxy.reset_all();
    let broke = Instant::now();
    assert_eq!(pair.seen_by_a.next(), format!("down '{B}' connection_closed"));
    assert!(broke.elapsed() > Duration::from_secs(4), "after {:?}", broke.elapsed());
    assert_eq!(pair.seen_by_b.next(), format!("down '{A}' connection_closed"));
    assert!(broke.elapsed() < Duration::from_secs(10), "after {:?}", broke.elapsed());
    pair.seen_by_a.expect_nothing();
    pair.seen_by_b.expect_nothing();
    assert!(lanes(&pair.a).is_empty() && lanes(&pair.b).is_empty());
    pair.proxy.release();
    // What was held is of the past, and disturbs nobody.
    pair.connect();
    Stream::start(&pair.a, &pair.b, 1000).finish();
    Stream::start(&pair.b, &pair.a, 1000).finish();
    pair.stop();
}

#[test]
fn a_short_break_shows_to_nobody() {
    let pair = Pair::new(|_| {});
    pair.connect();
    for _ in 0..3 {
        let there = Stream::start(&pair.a, &pair.b, 20_000);
        let back = Stream::start(&pair.b, &pair.a, 20_000);
        there.wait_for(1000);
        pair.proxy.hold();
        pair.proxy.reset_all();
        std::thread::sleep(Duration::from_secs(1));
        pair.proxy.release();
        there.finish();
        back.finish();
    }
    pair.seen_by_a.expect_nothing();
    pair.seen_by_b.expect_nothing();
    pair.stop();
}

#[test]
fn a_peer_that_is_not_found_where_it_seems_to_be_is_not_taken_for_gone() {
    // Connections of `a` come from another address than the one it listens at, as behind a
    // translation of addresses.
    let pair = Pair::new(|config| {
        if config.name.as_deref() == Some(A) {
            config.listen_address = Some(Ipv4Addr::new(127, 0, 0, 2).into());
        }
    });
    pair.connect();
    pair.proxy.hold();
    pair.proxy.reset_all();
    std::thread::sleep(Duration::from_secs(1));
    pair.proxy.release();
    until("the lanes go on", SOON, || {
        let lanes = lanes(&pair.b);
        lanes.iter().all(|lane| lane.is_connected && lane.resumes == 1).then_some(())
    });
    pair.seen_by_b.expect_nothing();
    Stream::start(&pair.a, &pair.b, 1000).finish();
    pair.stop();
}

#[test]
fn a_disconnect_needs_no_connection() {
    for by_a in [true, false] {
        let pair = Pair::new(|_| {});
        pair.connect();
        pair.proxy.hold();
        pair.proxy.reset_all();
        let broke = Instant::now();
        let (down, seen) = if by_a {
            (pair.a.disconnect(B), (&pair.seen_by_a, B))
        } else {
            (pair.b.disconnect(A), (&pair.seen_by_b, A))
        };
        assert!(down.wait());
        assert_eq!(seen.0.next(), format!("down '{}' disconnect", seen.1));
        assert!(broke.elapsed() < AT_ONCE, "after {:?}", broke.elapsed());
        pair.proxy.release();
        // The other hears of it when it looks, or when its time is over.
        let (other, name) = if by_a { (&pair.seen_by_b, A) } else { (&pair.seen_by_a, B) };
        assert_eq!(other.next(), format!("down '{name}' connection_closed"));
        pair.connect();
        pair.stop();
    }
}

#[test]
fn a_node_stops_while_its_lanes_are_broken() {
    for stop_a in [true, false] {
        let Pair { a, b, proxy, seen_by_a, seen_by_b } = Pair::new(|_| {});
        a.connect(B).wait().expect("a connection");
        assert_eq!(seen_by_a.next(), format!("up '{B}'"));
        assert_eq!(seen_by_b.next(), format!("up '{A}'"));
        proxy.hold();
        proxy.reset_all();
        let (first, second, seen, name) =
            if stop_a { (a, b, seen_by_b, A) } else { (b, a, seen_by_a, B) };
        let stopping = Instant::now();
        first.stop().wait();
        assert!(stopping.elapsed() < AT_ONCE, "after {:?}", stopping.elapsed());
        proxy.release();
        assert_eq!(seen.next(), format!("down '{name}' connection_closed"));
        second.stop().wait();
    }
}

/// A node of this process that finds its peers by the lab's epmd.
fn in_lab(lab: &Lab, name: &str, unix: bool) -> Node {
    let mut config = config(name);
    config.epmd = EpmdMode::External;
    config.epmd_port = lab.epmd_port();
    config.fabric.unix = unix;
    start(config)
}

fn process_in_lab(lab: &Lab, unix: bool) -> KrarupNode {
    lab.krarup("b").args(["--shards", "2", "--unix-lanes", &unix.to_string()]).start()
}

/// The sender of an answer of the other node's echo.
fn ask_echo(node: &Node) -> Option<Pid> {
    let (told, answer) = mpsc::channel();
    let ask = move |mut me: Process| async move {
        me.send(("echo", B), &(me.pid(), 1_u64)).await?;
        if let Some(Signal::Message(message)) = me.recv_timeout(SOON).await? {
            told.send(message.sender())?;
        }
        Ok(())
    };
    node.spawn_on(1, None, ask).wait().expect("a process");
    answer.recv_timeout(SOON).ok().flatten()
}

#[test]
fn a_killed_node_is_down_at_once_and_its_next_life_is_another() {
    for (unix, we_dial) in [(true, true), (true, false), (false, true), (false, false)] {
        let lab = Lab::new();
        let a = in_lab(&lab, A, unix);
        let seen = Watch::new(&a);
        let mut b = if we_dial {
            let b = process_in_lab(&lab, unix);
            a.connect(B).wait().expect("a connection");
            b
        } else {
            let unix = unix.to_string();
            let arguments = ["--shards", "2", "--unix-lanes", &unix, "--connect", A];
            lab.krarup("b").args(arguments).start()
        };
        assert_eq!(seen.next(), format!("up '{B}'"));
        assert_eq!(lanes(&a).len(), 2);
        let before = ask_echo(&a).expect("an answer");
        let killed = Instant::now();
        b.process().kill();
        assert_eq!(seen.next(), format!("down '{B}' connection_closed"));
        let took = killed.elapsed();
        assert!(took < AT_ONCE, "unix {unix}, we dialled {we_dial}: after {took:?}");
        // Under the same name it is somebody else.
        let b = process_in_lab(&lab, unix);
        let after = ask_echo(&a).expect("an answer");
        assert_eq!(seen.next(), format!("up '{B}'"));
        assert_ne!(before.creation, after.creation);
        b.stop();
        assert_eq!(seen.next(), format!("down '{B}' connection_closed"));
        a.stop().wait();
    }
}

#[test]
fn a_node_that_freezes_for_a_while_is_resumed_and_one_that_stays_frozen_is_down() {
    for we_dial in [true, false] {
        let lab = Lab::new();
        let mut config = config(A);
        config.epmd = EpmdMode::External;
        config.epmd_port = lab.epmd_port();
        config.net_ticktime = Duration::from_secs(8);
        let a = start(config);
        let seen = Watch::new(&a);
        let b =
            lab.krarup("b").args(["--shards", "2", "--net-ticktime", "8", "--unix-lanes", "false"]);
        let mut b = if we_dial { b.start() } else { b.args(["--connect", A]).start() };
        if we_dial {
            a.connect(B).wait().expect("a connection");
        }
        assert_eq!(seen.next(), format!("up '{B}'"));
        assert!(ask_echo(&a).is_some());
        b.process().signal("STOP");
        until("its lanes are given up", SOON, || {
            lanes(&a).iter().all(|lane| !lane.is_connected).then_some(())
        });
        b.process().signal("CONT");
        until("its lanes go on", SOON, || {
            lanes(&a).iter().all(|lane| lane.is_connected).then_some(())
        });
        assert!(ask_echo(&a).is_some());
        assert_eq!(lanes(&a).len(), 2);
        seen.expect_nothing();

        b.process().signal("STOP");
        let frozen = Instant::now();
        assert_eq!(seen.next(), format!("down '{B}' net_tick_timeout"));
        let took = frozen.elapsed();
        assert!((Duration::from_secs(5)..Duration::from_secs(14)).contains(&took), "{took:?}");
        let printed = b.process().lines_printed();
        b.process().signal("CONT");
        b.wait_nodedown(printed, A, SOON);
        assert!(ask_echo(&a).is_some(), "they find each other again");
        assert_eq!(seen.next(), format!("up '{B}'"));
        b.stop();
        a.stop().wait();
    }
}

/// Sends the same to a registered process of each node, in the same way.
#[test]
fn lanes_outlive_changes_of_the_tick_time_and_silence_is_found_within_the_new_one() {
    let pair = Pair::new(|config| config.net_ticktime = Duration::from_secs(6));
    pair.connect();
    // One after the other: until the second one has begun too, each still needs the ticks of the old
    // time.
    let change = |seconds, transition: Duration| {
        for node in [&pair.a, &pair.b] {
            let became = node.set_net_ticktime(Duration::from_secs(seconds), transition).wait();
            assert_eq!(became, Ok(TicktimeChange::Initiated));
            std::thread::sleep(transition * 2 / 3);
        }
        for node in [&pair.a, &pair.b] {
            until("the change is over", SOON, || {
                let now = node.net_ticktime().wait();
                (now == Ok(NetTicktime::Steady(Duration::from_secs(seconds)))).then_some(())
            });
        }
    };
    change(60, Duration::from_secs(3));
    change(4, Duration::from_millis(1500));
    // Longer than the new time, with nothing to say but ticks.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!([&pair.a, &pair.b].map(|node| lanes(node).len()), [2, 2]);
    pair.seen_by_a.expect_nothing();
    pair.seen_by_b.expect_nothing();

    pair.proxy.hold();
    let silent = Instant::now();
    assert_eq!(pair.seen_by_a.next(), format!("down '{B}' net_tick_timeout"));
    assert_eq!(pair.seen_by_b.next(), format!("down '{A}' net_tick_timeout"));
    // A quarter more for the one that was called, and the rest for a busy machine.
    let took = silent.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(5 + 5)).contains(&took), "{took:?}");
    pair.proxy.release();
    pair.stop();
}

fn say_hello_to(node: &Node, peers: [String; 2]) {
    let (done, said) = mpsc::channel();
    let say = move |me: Process| async move {
        for peer in &peers {
            me.send(("mailbox", peer), &("hello", 1_u64)).await?;
            me.send_bytes(("mailbox", peer), b"bytes").await?;
        }
        done.send(())?;
        Ok(())
    };
    node.spawn_on(1, None, say).wait().expect("a process");
    said.recv_timeout(SOON).expect("it is said");
}

fn one_call_reaches_a_process_of_either_kind_of_node(release: Release) {
    let lab = Lab::new();
    let (a, b) = (in_lab(&lab, A, true), in_lab(&lab, B, true));
    let mut mailbox = b.mailbox(Some("mailbox")).wait().expect("a mailbox");
    let mut otp = lab.otp(release, "o").start();
    otp.eval("krarup_peer:watch_nodes(), register(mailbox, self()).");
    say_hello_to(&a, [otp.name().to_owned(), B.to_owned()]);

    assert_eq!(otp.eval("krarup_peer:next(5000)."), "{<<\"hello\">>,1}");
    assert_eq!(otp.eval("krarup_peer:next(5000)."), "<<\"bytes\">>");
    let mut next = || mailbox.recv_timeout(SOON).expect("it runs").expect("a message in time");
    assert_eq!(next().message::<(String, u64)>().expect("the pair"), ("hello".to_owned(), 1));
    assert_eq!(next().as_bytes(), Some(&b"bytes"[..]));

    // The Erlang node has its one link as ever, and sees nothing of the others.
    let links: Vec<_> = a.stats().wait().into_iter().flat_map(|shard| shard.links).collect();
    let to_otp: Vec<_> = links.iter().filter(|link| link.node.as_str() == otp.name()).collect();
    assert_eq!(to_otp.len(), 1);
    assert_eq!(to_otp[0].lane, None);
    assert_eq!(links.iter().filter(|link| link.lane.is_some()).count(), 2, "to b");
    assert_eq!(otp.eval(&format!("krarup_peer:watched('{A}').")), "[up]");
    assert_eq!(otp.eval("nodes()."), format!("['{A}']"));
    for node in [a, b] {
        node.stop().wait();
    }
    otp.eval_until(&format!("krarup_peer:watched('{A}')."), "[up,{down,connection_closed}]", SOON);
}
