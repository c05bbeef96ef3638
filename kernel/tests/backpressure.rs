//! Receivers and peers that stop reading: who waits, who goes on, and what it costs in memory.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use krarup::epmd::EpmdMode;
use krarup::term::Pid;
use krarup::{
    Builder, Cookie, Destination, MailboxLimits, Node, Overflow, Process, ProcessResult, SendError,
    Signal,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a message.
const MESSAGE_BYTES: usize = 1000;

/// What the slow mailbox may hold.
const LIMIT_BYTES: usize = 256 << 10;

/// Bytes that may be between a sender and a mailbox on another node: what a lane keeps until it is
/// acknowledged, two socket buffers, and what was read at once.
const UNDER_WAY_BYTES_MAX: u64 = 24 << 20;

/// Messages of a flood: far more than may be under way.
const FLOOD: u64 = 60_000;

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

fn pair(shards: usize) -> (Node, Node) {
    let epmd = free_port();
    let start = |name| builder(name, epmd).shards(shards).start().expect("the node starts");
    (start("a@127.0.0.1"), start("b@127.0.0.1"))
}

fn stop(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        node.stop().wait();
    }
}

/// Lets a process wait for something else than a message.
#[derive(Clone, Default)]
struct Gate(Arc<AtomicBool>);

impl Gate {
    fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    async fn opened(&self, me: &Process) -> ProcessResult {
        let gate = Arc::clone(&self.0);
        let wait = move || {
            while !gate.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        Ok(me.node().blocking(wait).await?)
    }
}

/// A process that reads nothing before the gate opens, then everything, and checks the order.
fn start_slow(node: &Node, shard: usize, gate: &Gate, done: mpsc::Sender<u64>) -> Pid {
    let gate = gate.clone();
    let run = move |mut me: Process| async move {
        me.set_mailbox_limits(MailboxLimits { bytes_max: LIMIT_BYTES, overflow: Overflow::Hold });
        gate.opened(&me).await?;
        for expected in 0..FLOOD {
            assert_eq!(number(&me.recv().await?)?, expected);
        }
        done.send(FLOOD)?;
        Ok(())
    };
    node.spawn_on(shard, Some("slow"), run).wait().expect("a process")
}

fn number(signal: &Signal) -> Result<u64, Box<dyn std::error::Error>> {
    let bytes = signal.as_bytes().ok_or("no bytes")?;
    Ok(u64::from_le_bytes(bytes.get(..8).ok_or("too short")?.try_into()?))
}

/// A process that sends as fast as it may, and counts.
fn start_flood(node: &Node, shard: usize, to: Destination, sent: &Arc<AtomicU64>) -> Pid {
    let sent = Arc::clone(sent);
    let run = move |me: Process| async move {
        let mut bytes = [7; MESSAGE_BYTES];
        for number in 0..FLOOD {
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            me.send_bytes(&to, &bytes).await?;
            sent.store(number + 1, Ordering::SeqCst);
        }
        Ok(())
    };
    node.spawn_on(shard, None, run).wait().expect("a process")
}

/// Waits until a count has stood still for a while.
fn stands_still(count: &AtomicU64) -> u64 {
    let started = Instant::now();
    loop {
        let before = count.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(300));
        if before > 0 && count.load(Ordering::SeqCst) == before {
            return before;
        }
        assert!(started.elapsed() < PATIENCE, "it goes on and on");
    }
}

async fn echo(mut me: Process) -> ProcessResult {
    while let Ok(signal) = me.recv().await {
        let Signal::Message(message) = &signal else { continue };
        let (Some(from), Some(bytes)) = (message.sender(), message.as_bytes()) else { continue };
        me.send_bytes(from, bytes).await?;
    }
    Ok(())
}

/// So many round trips from one shard to a process that answers.
fn round_trips(node: &Node, shard: usize, to: &Pid, count: u64) {
    let (done, finished) = mpsc::channel();
    let to = to.clone();
    let run = move |mut me: Process| async move {
        for expected in 0..count {
            me.send_bytes(&to, &expected.to_le_bytes()).await?;
            assert_eq!(number(&me.recv().await?)?, expected);
        }
        done.send(())?;
        Ok(())
    };
    node.spawn_on(shard, None, run).wait().expect("a process");
    finished.recv_timeout(PATIENCE).expect("others go on");
}

/// Floods a process that does not read, looks who waits, and lets it read.
fn hold_one_sender(from: (&Node, usize), to: (&Node, usize), by_name: bool) {
    let gate = Gate::default();
    let (done, finished) = mpsc::channel();
    let pid = start_slow(to.0, to.1, &gate, done);
    let fast = to.0.spawn_on(to.1, None, echo).wait().expect("a process");
    let is_here = from.0.name() == to.0.name();
    let destination = match by_name {
        false => Destination::from(&pid),
        true if is_here => Destination::from("slow"),
        true => Destination::from(("slow", pid.node.as_str())),
    };
    let sent = Arc::new(AtomicU64::new(0));
    start_flood(from.0, from.1, destination.clone(), &sent);
    let waits_at = stands_still(&sent);
    let limit = LIMIT_BYTES as u64 + if is_here { 8 << 20 } else { UNDER_WAY_BYTES_MAX };
    assert!(waits_at * (MESSAGE_BYTES as u64) < limit, "{waits_at} messages were sent");
    assert!(waits_at * (MESSAGE_BYTES as u64) > LIMIT_BYTES as u64 / 2, "only {waits_at}");
    // Between the same shards, over the same lane.
    round_trips(from.0, from.1, &fast, 500);
    assert_eq!(sent.load(Ordering::SeqCst), waits_at, "the flood still waits");
    gate.open();
    assert_eq!(finished.recv_timeout(PATIENCE), Ok(FLOOD), "all arrived, in order");
    assert_eq!(sent.load(Ordering::SeqCst), FLOOD);
    // The name is free again for the next.
    while to.0.whereis("slow").wait().is_some() {
        std::thread::yield_now();
    }
}

#[test]
fn a_full_mailbox_holds_its_sender_and_nobody_else() {
    let (a, b) = pair(2);
    for by_name in [false, true] {
        hold_one_sender((&a, 0), (&a, 0), by_name);
        hold_one_sender((&a, 0), (&a, 1), by_name);
        hold_one_sender((&a, 0), (&b, 0), by_name);
        hold_one_sender((&a, 0), (&b, 1), by_name);
    }
    stop([a, b]);
}

#[test]
fn a_held_process_is_told_that_it_would_wait() {
    let (a, b) = pair(1);
    let gate = Gate::default();
    let (done, finished) = mpsc::channel();
    let to = start_slow(&b, 0, &gate, done);
    let (report, reports) = mpsc::channel();
    let run = move |me: Process| async move {
        let mut bytes = [7; MESSAGE_BYTES];
        let mut busy = 0;
        for number in 0..FLOOD {
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            match me.try_send_bytes(&to, &bytes) {
                Ok(()) => {}
                Err(SendError::NoConnection { .. } | SendError::Busy { .. }) => {
                    busy += 1;
                    if busy == 2 {
                        report.send(number)?;
                    }
                    me.send_bytes(&to, &bytes).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    };
    a.spawn_on(0, None, run).wait().expect("a process");
    let number = reports.recv_timeout(PATIENCE).expect("it is refused");
    assert!(number * (MESSAGE_BYTES as u64) < UNDER_WAY_BYTES_MAX, "{number}");
    gate.open();
    assert_eq!(finished.recv_timeout(PATIENCE), Ok(FLOOD));
    stop([a, b]);
}

#[test]
fn a_full_mailbox_that_ends_lets_its_senders_go_on() {
    let (a, b) = pair(2);
    for to in [(&a, 0), (&a, 1), (&b, 0), (&b, 1)] {
        let gate = Gate::default();
        let leave = gate.clone();
        let run = move |me: Process| async move {
            let limits = MailboxLimits { bytes_max: LIMIT_BYTES, overflow: Overflow::Hold };
            me.set_mailbox_limits(limits);
            leave.opened(&me).await
        };
        let pid = to.0.spawn_on(to.1, None, run).wait().expect("a process");
        let sent = Arc::new(AtomicU64::new(0));
        start_flood(&a, 0, Destination::from(pid), &sent);
        stands_still(&sent);
        gate.open();
        let started = Instant::now();
        while sent.load(Ordering::SeqCst) < FLOOD {
            assert!(started.elapsed() < PATIENCE, "its sender waits for ever");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    stop([a, b]);
}

#[test]
fn a_node_that_goes_lets_those_go_on_who_wait_for_it() {
    let (a, b) = pair(1);
    let gate = Gate::default();
    let (done, _finished) = mpsc::channel();
    let to = start_slow(&b, 0, &gate, done);
    let (report, reports) = mpsc::channel();
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let run = move |me: Process| async move {
        let bytes = [7; MESSAGE_BYTES];
        for _ in 0..FLOOD {
            if let Err(error) = me.send_bytes(&to, &bytes).await {
                report.send(matches!(error, SendError::NoConnection { .. }))?;
                return Ok(());
            }
            count.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    };
    a.spawn_on(0, None, run).wait().expect("a process");
    stands_still(&sent);
    b.stop().wait();
    assert_eq!(reports.recv_timeout(PATIENCE), Ok(true), "there is no node any more");
    gate.open();
    a.stop().wait();
}

#[test]
fn a_peer_that_stops_reading_costs_no_more_than_the_budgets() {
    let epmd = free_port();
    let start = |name| builder(name, epmd).start().expect("the node starts");
    let (a, b, c) = (start("a@127.0.0.1"), start("b@127.0.0.1"), start("c@127.0.0.1"));
    let (done, finished) = mpsc::channel();
    let counts = move |mut me: Process| async move {
        for expected in 0..FLOOD {
            assert_eq!(number(&me.recv().await?)?, expected);
        }
        done.send(())?;
        Ok(())
    };
    let to = b.spawn_on(0, None, counts).wait().expect("a process");
    let other = c.spawn_on(0, None, echo).wait().expect("a process");
    round_trips(&a, 0, &other, 10);
    a.connect("b@127.0.0.1").wait().expect("a connection");
    // The one shard of the node stands still: nothing of it reads, ticks or answers.
    let gate = Arc::new(AtomicBool::new(false));
    let held_up = Arc::clone(&gate);
    let stand_still = move |_: Process| async move {
        let end = Instant::now() + PATIENCE;
        while !held_up.load(Ordering::SeqCst) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    };
    drop(b.spawn_on(0, None, stand_still));
    let sent = Arc::new(AtomicU64::new(0));
    start_flood(&a, 0, Destination::from(to), &sent);
    let waits_at = stands_still(&sent);
    assert!(waits_at * (MESSAGE_BYTES as u64) < UNDER_WAY_BYTES_MAX, "{waits_at} were sent");
    let links = a.stats().wait().remove(0).links;
    let queued: usize = links.iter().map(|link| link.queued_bytes).sum();
    assert!(queued <= (1 << 20) + MESSAGE_BYTES + 64, "{queued} bytes wait");
    // The other link of the same shard goes on.
    round_trips(&a, 0, &other, 500);
    gate.store(true, Ordering::SeqCst);
    finished.recv_timeout(PATIENCE).expect("all arrive once the peer reads again");
    stop([a, b, c]);
}

/// Both send and neither reads, so both mailboxes are full and both processes wait.
#[test]
fn full_mailboxes_on_both_sides_stop_nothing_but_their_senders() {
    let epmd = free_port();
    let start = |name| {
        let tick = Duration::from_secs(2);
        builder(name, epmd).net_ticktime(tick).start().expect("the node starts")
    };
    let (a, b) = (start("a@127.0.0.1"), start("b@127.0.0.1"));
    let sent = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    for (node, other, sent) in [(&a, "b@127.0.0.1", &sent[0]), (&b, "a@127.0.0.1", &sent[1])] {
        let sent = Arc::clone(sent);
        let run = move |me: Process| async move {
            let limits = MailboxLimits { bytes_max: LIMIT_BYTES, overflow: Overflow::Hold };
            me.set_mailbox_limits(limits);
            for number in 0..FLOOD {
                me.send_bytes(("both", other), &[7; MESSAGE_BYTES]).await?;
                sent.store(number + 1, Ordering::SeqCst);
            }
            Ok(())
        };
        node.spawn_on(0, Some("both"), run).wait().expect("a process");
    }
    let still = [stands_still(&sent[0]), stands_still(&sent[1])];
    assert!(still.iter().all(|sent| *sent < FLOOD), "{still:?}: both must wait");
    // Longer than the tick time, in which ticks alone keep the nodes together.
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        assert!(a.ping("b@127.0.0.1", PATIENCE).wait() && b.ping("a@127.0.0.1", PATIENCE).wait());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(still, [&sent[0], &sent[1]].map(|sent| sent.load(Ordering::SeqCst)));
    stop([a, b]);
}

#[test]
fn a_hold_beside_a_large_message_ends_nothing() {
    let (a, b) = pair(1);
    let gate = Gate::default();
    let (done, finished) = mpsc::channel();
    let slow = start_slow(&b, 0, &gate, done);
    let downs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&downs);
    let watch = |mut me: Process| async move {
        me.monitor_nodes(true);
        while let Ok(signal) = me.recv().await {
            counted.fetch_add(u64::from(matches!(signal, Signal::NodeDown(_))), Ordering::SeqCst);
        }
        Ok(())
    };
    a.spawn_on(0, None, watch).wait().expect("a process");
    let read = |mut me: Process| async move {
        while me.recv().await.is_ok() {}
        Ok(())
    };
    let sink = a.spawn_on(0, None, read).wait().expect("a process");
    let (started, starts) = mpsc::channel();
    let send = move |me: Process| async move {
        let large = krarup::Encoded::raw(vec![7; 64 << 20]);
        loop {
            me.send_encoded(&sink, &large).await?;
            let _ = started.send(());
        }
    };
    b.spawn_on(0, None, send).wait().expect("a process");
    starts.recv_timeout(PATIENCE).expect("it sends");
    // The hold goes the way of the large messages.
    let sent = Arc::new(AtomicU64::new(0));
    start_flood(&a, 0, Destination::from(&slow), &sent);
    let held = stands_still(&sent);
    assert!(held < FLOOD, "the mailbox holds its sender");
    gate.open();
    assert_eq!(finished.recv_timeout(PATIENCE), Ok(FLOOD));
    let fell = downs.load(Ordering::SeqCst);
    stop([a, b]);
    assert_eq!(fell, 0, "nodedown between two nodes that live");
}

#[test]
fn a_full_mailbox_on_another_node_leaves_sends_within_the_node_alone() {
    let (a, b) = pair(1);
    let gate = Gate::default();
    let (done, _finished) = mpsc::channel();
    let slow = start_slow(&b, 0, &gate, done);
    let mut fast = a.mailbox(None).wait().expect("a mailbox");
    let waiting: Vec<_> = (0..2000).map(|_| a.send_bytes(&slow, &[0; MESSAGE_BYTES])).collect();
    std::thread::sleep(Duration::from_secs(1));
    let own = a.send_bytes(fast.pid(), b"hello");
    let got = fast.recv_timeout(Duration::from_secs(5)).expect("no stop");
    drop((own, waiting));
    stop([a, b]);
    assert!(got.is_some(), "it waits for a mailbox on another node");
}

#[test]
fn a_held_send_ends_with_its_sender() {
    let (a, b) = pair(1);
    let gate = Gate::default();
    let (done, _finished) = mpsc::channel();
    let slow = start_slow(&a, 0, &gate, done);
    let mailbox = a.mailbox(None).wait().expect("a mailbox");
    let pid = mailbox.pid();
    let (ended, end) = mpsc::channel();
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    std::thread::spawn(move || {
        let text = "7".repeat(MESSAGE_BYTES);
        for _ in 0..FLOOD {
            if let Err(error) = mailbox.send_blocking(&slow, &text) {
                let _ = ended.send(error);
                return;
            }
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    stands_still(&sent);
    // More than the mailbox may hold, so that it ends.
    let fill = move |me: Process| async move {
        let large = krarup::Encoded::raw(vec![7; 64 << 20]);
        for _ in 0..6 {
            me.send_encoded(&pid, &large).await?;
        }
        Ok(())
    };
    a.spawn_on(0, None, fill).wait().expect("a process");
    assert!(matches!(end.recv_timeout(PATIENCE), Ok(SendError::Stopped)));
    stop([a, b]);
}
