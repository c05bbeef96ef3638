//! What messages allocate once everything is warm: nothing, whichever way they go.

// A global allocator is an unsafe trait.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use krarup::epmd::EpmdMode;
use krarup::term::Pid;
use krarup::{Builder, Cookie, Node, Process, ProcessResult};

/// Counts what the whole process allocates.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract of `realloc`.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

/// Messages until everything is warm: queues, slabs and blocks have grown to what they need.
const WARM_UP: u64 = 10_000;

const MEASURED: u64 = 20_000;

/// Messages under way at most, and how many the receiver acknowledges at once.
const WINDOW: u64 = 1000;
const ACKNOWLEDGED: u64 = 100;

/// What may be allocated meanwhile. The executors allocate for their timers, some times in every
/// millisecond that a shard is awake, and clocks do. One allocation for each message, or for every
/// few of them, is far more.
const ALLOWED: u64 = MEASURED / 5;

/// The counter is the process's, so the cases take turns.
static TURN: Mutex<()> = Mutex::new(());

fn builder(name: &str, epmd: u16) -> Builder {
    let cookie = Cookie::new("secret").expect("a cookie");
    // A shard that parks allocates, whatever it waits for.
    let spin = Duration::from_millis(20);
    Node::builder(name).cookie(cookie).epmd(EpmdMode::Auto).epmd_port(epmd).spin(spin)
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

/// What a message is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Raw,
    Term,
}

async fn send(me: &Process, to: &Pid, kind: Kind, number: u64) -> ProcessResult {
    match kind {
        Kind::Raw => me.send_bytes(to, &number.to_le_bytes()).await?,
        Kind::Term => me.send(to, &(number, "some text")).await?,
    }
    Ok(())
}

/// Checks the messages that come, and acknowledges them now and then.
async fn receive(mut me: Process, kind: Kind) -> ProcessResult {
    let mut from = None;
    for expected in 0..WARM_UP + MEASURED {
        let signal = me.recv().await?;
        let number = match kind {
            Kind::Raw => u64::from_le_bytes(signal.as_bytes().ok_or("no bytes")?.try_into()?),
            Kind::Term => signal.message::<(u64, &str)>()?.0,
        };
        assert_eq!(number, expected);
        if from.is_none() {
            let krarup::Signal::Message(message) = &signal else { return Err("no message".into()) };
            from = message.sender();
        }
        if (expected + 1) % ACKNOWLEDGED == 0
            && let Some(from) = &from
        {
            me.send_bytes(from, &(expected + 1).to_le_bytes()).await?;
        }
    }
    Ok(())
}

/// Sends, and says what was allocated by all while the second half was under way.
async fn stream(mut me: Process, to: Pid, kind: Kind, done: mpsc::Sender<u64>) -> ProcessResult {
    let mut acknowledged = 0;
    let mut before = 0;
    for number in 0..WARM_UP + MEASURED {
        while number - acknowledged >= WINDOW {
            let signal = me.recv().await?;
            let bytes = signal.as_bytes().ok_or("no bytes")?;
            acknowledged = u64::from_le_bytes(bytes.try_into()?);
        }
        if number == WARM_UP {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
        send(&me, &to, kind, number).await?;
    }
    done.send(ALLOCATIONS.load(Ordering::Relaxed) - before)?;
    Ok(())
}

/// Streams from a shard of one node to a shard of another, or of the same.
fn expect_none(way: &str, from: (&Node, usize), to: (&Node, usize)) {
    for kind in [Kind::Raw, Kind::Term] {
        let receiver = to.0.spawn_on(to.1, None, move |me| receive(me, kind)).wait();
        let receiver = receiver.expect("a process");
        let (done, finished) = mpsc::channel();
        let sender = move |me| stream(me, receiver, kind, done);
        from.0.spawn_on(from.1, None, sender).wait().expect("a process");
        let allocations = finished.recv_timeout(PATIENCE).expect("it finishes");
        println!("{way}, {kind:?}: {allocations} allocations for {MEASURED} messages");
        assert!(allocations <= ALLOWED, "{way}, {kind:?}: {allocations} allocations");
    }
}

#[test]
fn within_a_node() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let node = builder("a@127.0.0.1", free_port()).shards(2).start().expect("a node");
    expect_none("within a shard", (&node, 0), (&node, 0));
    expect_none("between shards", (&node, 0), (&node, 1));
    node.stop().wait();
}

#[test]
fn between_krarup_nodes() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let epmd = free_port();
    let a = builder("a@127.0.0.1", epmd).shards(2).start().expect("a node");
    let b = builder("b@127.0.0.1", epmd).shards(2).start().expect("a node");
    expect_none("over a lane", (&a, 0), (&b, 0));
    expect_none("over a lane and on to another shard", (&a, 0), (&b, 1));
    for node in [a, b] {
        node.stop().wait();
    }
}

#[test]
fn in_the_protocol_of_erlang_nodes() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let epmd = free_port();
    let a = builder("a@127.0.0.1", epmd).shards(2).fabric(false).start().expect("a node");
    let b = builder("b@127.0.0.1", epmd).shards(2).start().expect("a node");
    for from in 0..2 {
        for to in 0..2 {
            // The link is on one shard of each node: two of these ways lead through another one.
            let way = format!("from shard {from} to shard {to} of the other node");
            expect_none(&way, (&a, from), (&b, to));
        }
    }
    for node in [a, b] {
        node.stop().wait();
    }
}
