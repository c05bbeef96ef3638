//! Tests of the driver with real sockets and executors. A test thread gives orders through the
//! shards' inboxes and plays the peer with blocking sockets.

use std::cell::{Cell, RefCell};
use std::io::{IoSlice, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::buffer::Receiver;
use crate::dist::frame::LENGTH_BYTES;
use crate::dist::{FrameReader, Front};
use crate::io::Socket;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a test has a shard do.
enum Order {
    Add(Socket, Vec<u8>, Reading),
    Send(LinkKey, Vec<u8>),
    Pause(LinkKey, bool),
    PauseAll(bool),
    Close(LinkKey),
    /// Queues a frame without sending it, and takes the link off its socket.
    QueueAndTake(LinkKey, Vec<u8>),
    /// Gives what was queued on a link that was taken to a new one.
    Resume(Socket, Vec<u8>),
    Forward(ShardId, u32),
    Flood(ShardId, u32),
    Word(u32),
    Panic,
    Count,
    /// So many keys of links, from where the last order of this kind ended.
    Keys(usize),
    /// Something was sent over a socket of a task's own.
    ExpectAnswer,
    Stop,
}

/// What a shard tells the test.
#[derive(Debug, PartialEq)]
enum Seen {
    Added(LinkKey),
    Frame(LinkKey, Vec<u8>),
    Ended(LinkKey, String),
    Closed(usize),
    Taken(Vec<u8>),
    Word(Origin, u32),
    Counted(Counters),
    Keys(Vec<LinkKey>),
    Tick,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
}

impl Outbox for Queue {
    fn queued_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn gather<'a>(&'a mut self, slices: &mut WriteSlices<'a>) {
        // Several slices, so that vectored writes are met.
        slices.extend(self.bytes.chunks(100_000).take(WRITE_SLICES_MAX).map(IoSlice::new));
    }

    fn written(&mut self, bytes: usize) {
        self.bytes.drain(..bytes);
    }
}

struct Actor {
    log: mpsc::Sender<(ShardId, Seen)>,
    /// Tell of every tick.
    ticks: bool,
    /// Words that the mesh refused, to be pushed again.
    backlog: RefCell<Vec<(ShardId, u32)>>,
    cursor: Cell<usize>,
}

impl Actor {
    fn tell(&self, shard: &Handle<Actor>, seen: Seen) {
        // The test may have ended.
        let _ = self.log.send((shard.id(), seen));
    }
}

impl Host for Actor {
    type Link = Queue;
    type Message = Order;
    type Error = String;

    fn received(
        &self,
        shard: &Handle<Actor>,
        link: LinkKey,
        inbox: &mut Receiver,
    ) -> Result<(), String> {
        loop {
            match FrameReader::default().front(inbox.unread()) {
                Front::NeedMore(bytes) => {
                    inbox.expect(bytes);
                    return Ok(());
                }
                Front::Frame(bytes) => {
                    inbox.skip(LENGTH_BYTES);
                    let frame = inbox.take(bytes).ok_or("a complete frame")?;
                    assert_ne!(frame, b"panic", "as asked");
                    if frame == b"refuse" {
                        return Err("as asked".into());
                    }
                    if frame.starts_with(b"echo") {
                        shard.with_link(link, |queue| queue.bytes.extend(framed(&frame)));
                        shard.send_now(link);
                    }
                    self.tell(shard, Seen::Frame(link, frame.to_vec()));
                }
                Front::Tick => inbox.skip(LENGTH_BYTES),
                Front::TooLarge(error) => return Err(error.to_string()),
            }
        }
    }

    fn ended(&self, shard: &Handle<Actor>, link: LinkKey, _: Queue, end: End<String>) {
        self.tell(shard, Seen::Ended(link, end.to_string()));
    }

    fn message(&self, shard: &Handle<Actor>, from: Origin, order: Order) {
        match order {
            Order::Add(socket, received, reading) => {
                let link = shard.add(socket, Queue::default(), &received, reading).unwrap();
                self.tell(shard, Seen::Added(link));
            }
            Order::Send(link, bytes) => {
                shard.with_link(link, |queue| queue.bytes.extend(bytes));
                shard.send_now(link);
            }
            Order::Pause(link, true) => shard.pause_reading(link),
            Order::Pause(link, false) => shard.resume_reading(link),
            Order::PauseAll(paused) => shard.pause_all(paused),
            Order::Close(link) => {
                let left = shard.close(link).map_or(0, |queue| queue.bytes.len());
                self.tell(shard, Seen::Closed(left));
            }
            Order::QueueAndTake(link, bytes) => {
                shard.with_link(link, |queue| queue.bytes.extend(bytes));
                let left = shard.take(link).map(|queue| queue.bytes).unwrap_or_default();
                self.tell(shard, Seen::Taken(left));
            }
            Order::Resume(socket, bytes) => {
                let link = shard.add(socket, Queue { bytes }, &[], Reading::On).unwrap();
                shard.send_soon(link);
                self.tell(shard, Seen::Added(link));
            }
            Order::Forward(to, word) => {
                assert!(shard.push(to, Order::Word(word)).is_ok());
            }
            Order::Flood(to, words) => {
                self.backlog.borrow_mut().extend((0..words).rev().map(|word| (to, word)));
            }
            Order::Word(word) => self.tell(shard, Seen::Word(from, word)),
            Order::Panic => panic!("as asked"),
            Order::Keys(count) => {
                let mut keys = Vec::new();
                shard.next_keys(count, &self.cursor, &mut keys);
                self.tell(shard, Seen::Keys(keys));
            }
            Order::Count => self.tell(shard, Seen::Counted(shard.counters())),
            Order::ExpectAnswer => shard.expect_answer(),
            Order::Stop => shard.stop(),
        }
    }

    fn tick(&self, shard: &Handle<Actor>, _: Instant) {
        if self.ticks {
            self.tell(shard, Seen::Tick);
        }
    }

    fn flush(&self, shard: &Handle<Actor>) {
        let mut backlog = self.backlog.borrow_mut();
        while let Some((to, word)) = backlog.pop() {
            if shard.push(to, Order::Word(word)).is_err() {
                backlog.push((to, word));
                return;
            }
        }
    }
}

/// Running shards; stopped and joined when dropped.
struct Shards {
    remotes: Vec<Remote<Order>>,
    log: mpsc::Receiver<(ShardId, Seen)>,
    executors: Option<Executors<()>>,
}

impl Shards {
    fn start(shards: usize) -> Shards {
        Shards::start_with(shards, DriverConfig::for_shards(shards), &MeshConfig::default())
    }

    fn start_with(shards: usize, config: DriverConfig, queues: &MeshConfig) -> Shards {
        let mesh = mesh::<Order>(shards, queues);
        let (sender, log) = mpsc::channel();
        let executors = ExecutorsConfig { shards, ..ExecutorsConfig::default() };
        let executors = Executors::start(&executors, mesh.seats, move |_, seat| {
            // A short tick is there to be seen.
            let ticks = config.tick < DriverConfig::default().tick;
            let actor = Actor {
                log: sender.clone(),
                ticks,
                backlog: RefCell::default(),
                cursor: Cell::new(0),
            };
            let config = config.clone();
            async move {
                let driver = Driver::new(seat, Rc::new(actor), config).unwrap();
                glommio::spawn_local(driver.run()).await;
            }
        });
        Shards { remotes: mesh.remotes, log, executors: Some(executors.unwrap()) }
    }

    fn order(&self, shard: usize, order: Order) {
        assert!(self.remotes[shard].try_push(order).is_ok(), "room in the inbox");
    }

    fn next(&self) -> Seen {
        self.log.recv_timeout(PATIENCE).expect("the shard says something in time").1
    }

    fn add(&self, shard: usize, socket: Socket) -> LinkKey {
        self.order(shard, Order::Add(socket, Vec::new(), Reading::On));
        match self.next() {
            Seen::Added(link) => link,
            other => panic!("expected the new link, came {other:?}"),
        }
    }

    fn counters(&self, shard: usize) -> Counters {
        self.order(shard, Order::Count);
        loop {
            if let Seen::Counted(counters) = self.next() {
                return counters;
            }
        }
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        for remote in &self.remotes {
            let _ = remote.try_push(Order::Stop);
        }
        let results = self.executors.take().map(Executors::join).unwrap_or_default();
        if !thread::panicking() {
            assert!(results.iter().all(Result::is_ok), "{results:?}");
            assert!(self.remotes.iter().all(|remote| remote.door().is_closed()));
        }
    }
}

/// A socket for a shard and the other end for the test.
fn pair() -> (Socket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    (Socket::from_fd(ours.into()).unwrap(), theirs)
}

/// A driver that never sleeps.
fn always_spinning() -> DriverConfig {
    DriverConfig { spin: Duration::from_secs(3600), ..DriverConfig::default() }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

fn read_frame(peer: &mut impl Read) -> Vec<u8> {
    let mut length = [0; LENGTH_BYTES];
    peer.read_exact(&mut length).unwrap();
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    peer.read_exact(&mut body).unwrap();
    body
}

#[test]
fn frames_arrive_and_are_answered_in_order() {
    let shards = Shards::start(1);
    let (socket, mut peer) = pair();
    let link = shards.add(0, socket);
    for round in 0..200_u32 {
        let body = [b"echo", &round.to_be_bytes()[..]].concat();
        peer.write_all(&framed(&body)).unwrap();
        assert_eq!(shards.next(), Seen::Frame(link, body.clone()));
        assert_eq!(read_frame(&mut peer), body);
    }
}

#[test]
fn keys_come_round_and_round() {
    let shards = Shards::start(1);
    let next = |count| {
        shards.order(0, Order::Keys(count));
        match shards.next() {
            Seen::Keys(keys) => keys,
            other => panic!("expected keys, came {other:?}"),
        }
    };
    assert!(next(3).is_empty());
    let (sockets, _peers): (Vec<_>, Vec<_>) = (0..5).map(|_| pair()).unzip();
    let links: Vec<LinkKey> = sockets.into_iter().map(|socket| shards.add(0, socket)).collect();
    assert_eq!(next(3), links[..3]);
    assert_eq!(next(3), [links[3], links[4], links[0]]);
    shards.order(0, Order::Close(links[1]));
    assert_eq!(shards.next(), Seen::Closed(0));
    assert_eq!(next(1), [links[2]]);
    assert_eq!(next(100), [links[3], links[4], links[0], links[2]]);
}

/// A busy link leaves the readiness set. It must be back there before the shard sleeps, when it is
/// paused, and when it waits for room.
#[test]
fn a_busy_link_is_heard_whatever_becomes_of_it() {
    let shards = Shards::start_with(1, always_spinning(), &MeshConfig::default());
    let (socket, mut peer) = pair();
    let link = shards.add(0, socket);
    let mut rounds = 0..;
    let mut talk = |shards: &Shards, peer: &mut UnixStream, times: usize| {
        for round in rounds.by_ref().take(times) {
            let body = [b"echo".as_slice(), &i32::to_be_bytes(round)].concat();
            peer.write_all(&framed(&body)).unwrap();
            assert_eq!(shards.next(), Seen::Frame(link, body.clone()));
            assert_eq!(read_frame(peer), body);
        }
    };
    talk(&shards, &mut peer, 200);

    shards.order(0, Order::Pause(link, true));
    let pauses = shards.counters(0);
    peer.write_all(&framed(b"kept")).unwrap();
    assert_eq!(shards.counters(0).receives, pauses.receives, "reads nothing while paused");
    shards.order(0, Order::Pause(link, false));
    assert_eq!(shards.next(), Seen::Frame(link, b"kept".to_vec()));
    talk(&shards, &mut peer, 200);

    // More than the socket takes, then read to the end.
    let large = framed(&vec![7; 4_000_000]);
    shards.order(0, Order::Send(link, large.clone()));
    assert!(shards.counters(0).blocked > 0);
    let mut all = vec![0; large.len()];
    peer.read_exact(&mut all).unwrap();
    assert!(all == large);
    talk(&shards, &mut peer, 200);
}

#[test]
fn a_busy_link_is_heard_after_a_sleep() {
    let config = DriverConfig { spin: Duration::from_millis(20), ..DriverConfig::default() };
    let shards = Shards::start_with(1, config, &MeshConfig::default());
    let (socket, mut peer) = pair();
    let link = shards.add(0, socket);
    for _ in 0..5 {
        for _ in 0..200 {
            peer.write_all(&framed(b"busy")).unwrap();
            assert_eq!(shards.next(), Seen::Frame(link, b"busy".to_vec()));
        }
        let before = shards.counters(0).parks;
        let deadline = Instant::now() + PATIENCE;
        while shards.counters(0).parks == before {
            assert!(Instant::now() < deadline, "still running");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn bytes_read_with_the_handshake_come_first() {
    let shards = Shards::start(1);
    let (socket, mut peer) = pair();
    let early = [framed(b"one"), framed(b"two")].concat();
    shards.order(0, Order::Add(socket, early[..9].to_vec(), Reading::On));
    let Seen::Added(link) = shards.next() else { panic!("the link") };
    assert_eq!(shards.next(), Seen::Frame(link, b"one".to_vec()));
    peer.write_all(&early[9..]).unwrap();
    assert_eq!(shards.next(), Seen::Frame(link, b"two".to_vec()));
}

#[test]
fn a_link_goes_on_with_another_socket() {
    let shards = Shards::start(1);
    let (socket, mut peer) = pair();
    let link = shards.add(0, socket);
    shards.order(0, Order::QueueAndTake(link, framed(b"kept")));
    let Seen::Taken(left) = shards.next() else { panic!("the link's state") };
    let mut nothing = Vec::new();
    peer.read_to_end(&mut nothing).unwrap();
    assert!(nothing.is_empty(), "sent nothing of what was queued: {nothing:?}");
    let (socket, mut peer) = pair();
    shards.order(0, Order::Resume(socket, left));
    let Seen::Added(resumed) = shards.next() else { panic!("the link") };
    assert_ne!(resumed, link, "another key");
    assert_eq!(read_frame(&mut peer), b"kept");
    peer.write_all(&framed(b"back")).unwrap();
    assert_eq!(shards.next(), Seen::Frame(resumed, b"back".to_vec()));
}

#[test]
fn a_frame_larger_than_a_slab_arrives_whole_whatever_its_pieces() {
    let shards = Shards::start(1);
    let (socket, mut peer) = pair();
    let link = shards.add(0, socket);
    let body: Vec<u8> =
        (0..3_000_000_u32).map(|i| i.to_be_bytes()[3] ^ i.to_be_bytes()[2]).collect();
    let bytes = [framed(b"before"), framed(&body), framed(b"after")].concat();
    for piece in bytes.chunks(70_001) {
        peer.write_all(piece).unwrap();
    }
    assert_eq!(shards.next(), Seen::Frame(link, b"before".to_vec()));
    assert!(shards.next() == Seen::Frame(link, body), "the same bytes");
    assert_eq!(shards.next(), Seen::Frame(link, b"after".to_vec()));
}

#[test]
fn a_blocked_link_sends_the_rest_when_the_peer_reads() {
    let shards = Shards::start(1);
    let (socket, mut peer) = pair();
    let link = shards.add(0, socket);
    let body: Vec<u8> = (0..4_000_000_u32).map(|i| i.to_be_bytes()[3]).collect();
    shards.order(0, Order::Send(link, framed(&body)));
    assert!(shards.counters(0).blocked > 0);
    // Others are served meanwhile.
    let (other, mut other_peer) = pair();
    let other = shards.add(0, other);
    other_peer.write_all(&framed(b"hello")).unwrap();
    assert_eq!(shards.next(), Seen::Frame(other, b"hello".to_vec()));
    assert!(read_frame(&mut peer) == body, "the same bytes");
    shards.order(0, Order::Send(link, framed(b"next")));
    assert_eq!(read_frame(&mut peer), b"next");
}

#[test]
fn a_paused_link_keeps_its_bytes_and_loses_none() {
    let shards = Shards::start(1);
    let (socket, mut peer) = pair();
    shards.order(0, Order::Add(socket, framed(b"early"), Reading::Paused));
    let Seen::Added(link) = shards.next() else { panic!("the link") };
    peer.write_all(&framed(b"one")).unwrap();
    // Several passes later nothing of it was delivered.
    for _ in 0..5 {
        shards.order(0, Order::Count);
        assert!(matches!(shards.next(), Seen::Counted(_)));
    }
    shards.order(0, Order::Pause(link, false));
    assert_eq!(shards.next(), Seen::Frame(link, b"early".to_vec()));
    assert_eq!(shards.next(), Seen::Frame(link, b"one".to_vec()));
    shards.order(0, Order::PauseAll(true));
    // The answer comes after the pause has begun.
    shards.counters(0);
    peer.write_all(&framed(b"two")).unwrap();
    for _ in 0..5 {
        shards.order(0, Order::Count);
        assert!(matches!(shards.next(), Seen::Counted(_)));
    }
    shards.order(0, Order::PauseAll(false));
    assert_eq!(shards.next(), Seen::Frame(link, b"two".to_vec()));
}

#[test]
fn a_link_ends_for_the_reason_there_is() {
    let shards = Shards::start(1);
    let ended = |bytes: &[u8]| {
        let (socket, mut peer) = pair();
        let link = shards.add(0, socket);
        peer.write_all(bytes).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        loop {
            match shards.next() {
                Seen::Ended(ended, reason) => {
                    assert_eq!(ended, link);
                    // The other end sees the end too.
                    assert_eq!(peer.read(&mut [0]).unwrap_or(0), 0);
                    return reason;
                }
                Seen::Frame(..) => {}
                other => panic!("expected the end, came {other:?}"),
            }
        }
    };
    assert_eq!(ended(&framed(b"last words")), "closed by the peer");
    assert_eq!(ended(&framed(b"refuse")), "as asked");
    assert!(ended(&framed(b"panic")).contains("as asked"));
    assert!(ended(&[0xff; 4]).contains("4294967295 bytes"));
    assert_eq!(shards.counters(0).panics, 1);
}

#[test]
fn what_arrived_before_a_reset_is_delivered_before_the_end() {
    let shards = Shards::start(1);
    let (socket, mut peer) = pair();
    shards.order(0, Order::Add(socket, Vec::new(), Reading::Paused));
    let Seen::Added(link) = shards.next() else { panic!("the link") };
    peer.write_all(&framed(b"last")).unwrap();
    drop(peer);
    // Fails with EPIPE while the frame is still unread.
    shards.order(0, Order::Send(link, framed(b"too late")));
    shards.order(0, Order::Pause(link, false));
    assert_eq!(shards.next(), Seen::Frame(link, b"last".to_vec()));
    assert!(matches!(shards.next(), Seen::Ended(ended, _) if ended == link));
}

#[test]
fn closing_sends_what_is_queued_and_frees_the_descriptor() {
    let shards = Shards::start(1);
    let (socket, mut peer) = pair();
    let link = shards.add(0, socket);
    shards.order(0, Order::Send(link, framed(b"bye")));
    shards.order(0, Order::Close(link));
    assert_eq!(shards.next(), Seen::Closed(0));
    assert_eq!(read_frame(&mut peer), b"bye");
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    // A key that is gone does nothing.
    shards.order(0, Order::Send(link, framed(b"late")));
    shards.order(0, Order::Close(link));
    assert_eq!(shards.next(), Seen::Closed(0));
}

#[test]
fn a_panic_over_a_message_leaves_links_alone() {
    let shards = Shards::start(1);
    let (socket, mut peer) = pair();
    let link = shards.add(0, socket);
    shards.order(0, Order::Panic);
    peer.write_all(&framed(b"still here")).unwrap();
    assert_eq!(shards.next(), Seen::Frame(link, b"still here".to_vec()));
    assert_eq!(shards.counters(0).panics, 1);
}

#[test]
fn many_links_with_few_active_are_all_heard() {
    let shards = Shards::start(1);
    let mut peers: Vec<_> = (0..200)
        .map(|_| {
            let (socket, peer) = pair();
            (shards.add(0, socket), peer)
        })
        .collect();
    for round in 0..5 {
        for (link, peer) in peers.iter_mut().skip(round).step_by(7) {
            peer.write_all(&framed(b"echo me")).unwrap();
            assert_eq!(shards.next(), Seen::Frame(*link, b"echo me".to_vec()));
            assert_eq!(read_frame(peer), b"echo me");
        }
    }
    // All at once.
    for (_, peer) in &mut peers {
        peer.write_all(&framed(b"echo me")).unwrap();
    }
    for (_, peer) in &mut peers {
        assert_eq!(read_frame(peer), b"echo me");
    }
}

#[test]
fn parked_shards_are_woken_by_each_other() {
    // More shards than this machine is likely to have processors, and no spinning.
    let config = DriverConfig::never_spinning();
    let shards = Shards::start_with(5, config, &MeshConfig::default());
    for round in 0..40 {
        for from in 0..5 {
            let to = ShardId::at((from + round) % 5).unwrap();
            shards.order(from, Order::Forward(to, 7));
            let from = Origin::Shard(ShardId::at(from).unwrap());
            assert_eq!(shards.log.recv_timeout(PATIENCE), Ok((to, Seen::Word(from, 7))));
        }
    }
}

#[test]
fn a_refused_push_is_made_good_once_there_is_room() {
    const WORDS: u32 = 3_000;
    let queues = MeshConfig { data_messages_max: 8, ..MeshConfig::default() };
    let shards = Shards::start_with(2, DriverConfig::for_shards(2), &queues);
    let to = ShardId::new(1);
    shards.order(0, Order::Flood(to, WORDS));
    for word in 0..WORDS {
        assert_eq!(shards.next(), Seen::Word(Origin::Shard(ShardId::new(0)), word));
    }
}

#[test]
fn a_shard_spins_for_an_answer_to_a_task() {
    let config = DriverConfig {
        spin: Duration::ZERO,
        spin_after_send: Duration::from_secs(60),
        ..DriverConfig::default()
    };
    let shards = Shards::start_with(1, config, &MeshConfig::default());
    let passes_in_a_while = || {
        let before = shards.counters(0).passes;
        thread::sleep(Duration::from_millis(200));
        shards.counters(0).passes - before
    };
    // Its clock and the questions themselves cause some.
    assert!(passes_in_a_while() < 50);
    shards.order(0, Order::ExpectAnswer);
    assert!(passes_in_a_while() > 500);
}

#[test]
fn an_idle_shard_parks() {
    let shards = Shards::start(1);
    let (socket, _peer) = pair();
    shards.add(0, socket);
    let before = shards.counters(0);
    let deadline = Instant::now() + PATIENCE;
    // The question wakes the shard, which then parks again.
    let parks_since = |after: Counters| after.parks - before.parks;
    while parks_since(shards.counters(0)) == 0 {
        assert!(Instant::now() < deadline, "still running");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(shards.counters(0).naps > before.naps);
}

/// Naps do not see the executor's timers, so a shard parks now and then whatever ends its naps.
#[test]
fn a_shard_parks_although_every_nap_is_ended() {
    let config = DriverConfig::never_spinning();
    let shards = Shards::start_with(1, config, &MeshConfig::default());
    let before = shards.counters(0);
    let mut parks = 0;
    let deadline = Instant::now() + PATIENCE;
    for word in 0.. {
        thread::sleep(Duration::from_micros(200));
        shards.order(0, Order::Word(word));
        assert_eq!(shards.next(), Seen::Word(Origin::Foreign, word));
        assert!(Instant::now() < deadline, "naps only");
        if word % 100 == 99 {
            parks = shards.counters(0).parks - before.parks;
            if parks >= 20 {
                break;
            }
        }
    }
    let naps = shards.counters(0).naps - before.naps;
    assert!(naps > parks, "{naps} naps, {parks} parks");
}

#[test]
fn a_napping_shard_is_woken_by_other_threads() {
    let config = DriverConfig::never_spinning();
    let shards = Shards::start_with(2, config, &MeshConfig::default());
    let before = shards.counters(1);
    for round in 0..2000 {
        let to = ShardId::at(1).unwrap();
        shards.order(0, Order::Forward(to, round));
        let from = Origin::Shard(ShardId::at(0).unwrap());
        assert_eq!(shards.log.recv_timeout(PATIENCE), Ok((to, Seen::Word(from, round))));
    }
    let after = shards.counters(1);
    assert!(after.naps > before.naps, "{after:?}");
    // Nobody outside had to help, but where the machine has no time for the shard.
    assert!(after.kicks - before.kicks < 100, "{after:?}");
}

#[test]
fn the_clock_goes_on_while_everything_is_idle() {
    let config = DriverConfig { tick: Duration::from_millis(10), ..DriverConfig::default() };
    let shards = Shards::start_with(1, config, &MeshConfig::default());
    for _ in 0..50 {
        assert_eq!(shards.next(), Seen::Tick);
    }
    // Nobody outside had to help: every tick would have been one too late otherwise. A busy machine
    // may cause a few.
    let counters = shards.counters(0);
    assert!(counters.kicks < 25, "{counters:?}");
}

/// A wait in a shard must not depend on the executor's preempt timer, which is far away here.
#[test]
fn other_descriptors_are_heard_while_the_driver_spins() {
    let config = always_spinning();
    let executors = ExecutorsConfig { preempt: Duration::from_secs(3600), ..Default::default() };
    let seats = mesh::<Order>(1, &MeshConfig::default()).seats;
    let (log, _seen) = mpsc::channel();
    let executors = Executors::start(&executors, seats, move |_, seat| {
        let actor = Actor {
            log: log.clone(),
            ticks: false,
            backlog: RefCell::default(),
            cursor: Cell::new(0),
        };
        let config = config.clone();
        async move {
            let driver = Driver::new(seat, Rc::new(actor), config).unwrap();
            let shard = driver.handle();
            let driver = glommio::spawn_local(driver.run());
            shard.wake();
            let (left, right) = Socket::pair().unwrap();
            let answer = spawn(async move {
                let mut buffer = [0; 8];
                for _ in 0..100 {
                    let count = right.recv(&mut buffer).await.unwrap();
                    right.send_all(&buffer[..count]).await.unwrap();
                }
            });
            let ask = spawn(async move {
                for _ in 0..100 {
                    left.send_all(b"ping").await.unwrap();
                    assert_eq!(left.recv(&mut [0; 8]).await.unwrap(), 4);
                }
            });
            ask.await.unwrap();
            answer.await.unwrap();
            shard.stop();
            driver.await;
        }
    });
    assert!(executors.unwrap().join().iter().all(Result::is_ok));
}

#[test]
fn an_idle_link_is_small() {
    // Beside it there is nothing: no slab, no task, no registration with the ring.
    let bytes = size_of::<super::slots::Slot<()>>();
    assert!(bytes <= 384, "a slot has {bytes} bytes");
}

/// A task that lets others run again and again is not one that waits.
#[test]
fn a_task_that_yields_does_not_find_the_shard_asleep() {
    const YIELDS: u32 = 3000;
    let mesh = mesh::<Order>(1, &MeshConfig::default());
    let (sender, _log) = mpsc::channel();
    let config = ExecutorsConfig { shards: 1, ..ExecutorsConfig::default() };
    let (took, times) = mpsc::channel();
    let executors = Executors::start(&config, mesh.seats, move |_, seat| {
        let log = sender.clone();
        let actor = Actor { log, ticks: false, backlog: RefCell::default(), cursor: Cell::new(0) };
        let took = took.clone();
        async move {
            let driver = Driver::new(seat, Rc::new(actor), DriverConfig::default()).unwrap();
            let handle = driver.handle();
            let driver = glommio::spawn_local(driver.run());
            crate::io::sleep(Duration::from_millis(20)).await;
            let before = (Instant::now(), handle.counters().naps);
            for _ in 0..YIELDS {
                handle.yield_now().await;
            }
            took.send((before.0.elapsed(), handle.counters().naps - before.1)).unwrap();
            handle.stop();
            driver.await;
        }
    });
    let (took, naps) = times.recv_timeout(PATIENCE).unwrap();
    executors.unwrap().join();
    assert!(naps < 10, "{naps} naps in {YIELDS} yields, which took {took:?}");
}
