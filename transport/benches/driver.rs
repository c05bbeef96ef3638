//! Round trips and streams through the shard's driver, with the floor of the same run beside them.
//!
//! `cargo bench -p krarup-transport --bench driver [-- ROUNDS [NAME]]`; NAME picks the lines that
//! contain it. Two executors in one process talk
//! over loopback; the floor is two threads spinning on non-blocking standard sockets. Rounds are
//! interleaved, so that a slow minute of the machine meets both.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use krarup_transport::buffer::Receiver;
use krarup_transport::dist::frame::LENGTH_BYTES;
use krarup_transport::dist::{FrameReader, Front};
use krarup_transport::io::Socket;
use krarup_transport::shard::{
    Driver, DriverConfig, End, Executors, ExecutorsConfig, Handle, Host, LinkKey, MeshConfig,
    Origin, Outbox, Reading, Seat, ShardId, WriteSlices, mesh, spawn,
};

/// Bytes of a frame's body.
const BODY_BYTES: usize = 16;
const WARM_UP: usize = 5_000;
const ROUND_TRIPS: usize = 30_000;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(5);
    // Cargo adds options of its own.
    let only = std::env::args()
        .skip(1)
        .find(|text| text.parse::<usize>().is_err() && !text.starts_with("--"))
        .unwrap_or_default();
    let round_trips: [(&str, Measure); 6] = [
        ("tcp floor, spinning", || floor(tcp_pair())),
        ("tcp driver", || ping_pong(tcp_pair(), Answer::Inline, true)),
        ("tcp driver, answers from a task", || ping_pong(tcp_pair(), Answer::Task, true)),
        ("unix floor, spinning", || floor(unix_pair())),
        ("unix driver", || ping_pong(unix_pair(), Answer::Inline, true)),
        ("tcp driver, not spinning", || ping_pong(tcp_pair(), Answer::Inline, false)),
    ];
    let mut table = Table::default();
    for _ in 0..rounds {
        for (name, run) in round_trips.iter().filter(|(name, _)| name.contains(&only)) {
            table.add(name, run());
        }
    }
    table.print();
    if !"stream".contains(&only) {
        return;
    }
    for (size, count) in [(16, 5_000_000), (1024, 1_000_000), (65_536, 30_000)] {
        let (mut rates, mut floors) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            floors.push(stream_floor(tcp_pair(), size, count));
            rates.push(stream(tcp_pair(), size, count));
        }
        let (rate, floor) = (median(rates), median(floors));
        println!(
            "stream of {size:>6} B frames: {:>7.2} M/s, {:>5.2} GB/s; 64 KiB writes of a socket {:>5.2} GB/s",
            rate / 1e6,
            rate * (size + LENGTH_BYTES) as f64 / 1e9,
            floor / 1e9
        );
    }
}

/// One round of one line: round trips in nanoseconds.
type Measure = fn() -> Vec<u64>;

/// A pair of connected sockets, as descriptors.
fn tcp_pair() -> (Socket, Socket) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    let left = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    let (right, _) = listener.accept().expect("accepted");
    for stream in [&left, &right] {
        stream.set_nodelay(true).expect("nodelay");
    }
    let socket = |stream: TcpStream| Socket::from_fd(stream.into()).expect("a socket");
    (socket(left), socket(right))
}

fn unix_pair() -> (Socket, Socket) {
    Socket::pair().expect("a pair")
}

/// Round trips of two spinning threads, in nanoseconds.
fn floor((left, right): (Socket, Socket)) -> Vec<u64> {
    fn spin(stream: &mut (impl Read + Write), frame: &mut [u8]) -> bool {
        let mut filled = 0;
        while filled < frame.len() {
            match stream.read(&mut frame[filled..]) {
                Ok(0) => return false,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => panic!("{error}"),
            }
        }
        true
    }
    fn run(mut left: impl Read + Write, mut right: impl Read + Write + Send + 'static) -> Vec<u64> {
        let echo = thread::spawn(move || {
            let mut frame = [0; BODY_BYTES + LENGTH_BYTES];
            while spin(&mut right, &mut frame) {
                right.write_all(&frame).expect("written");
            }
        });
        let mut frame = [0; BODY_BYTES + LENGTH_BYTES];
        let mut times = Vec::with_capacity(ROUND_TRIPS);
        for round in 0..WARM_UP + ROUND_TRIPS {
            let start = Instant::now();
            left.write_all(&frame).expect("written");
            spin(&mut left, &mut frame);
            if round >= WARM_UP {
                times.push(nanoseconds(start));
            }
        }
        drop(left);
        echo.join().expect("joined");
        times
    }
    if left.is_unix() {
        run(UnixStream::from(left.into_fd()), UnixStream::from(right.into_fd()))
    } else {
        run(TcpStream::from(left.into_fd()), TcpStream::from(right.into_fd()))
    }
}

fn nanoseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Who answers a frame.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    /// The host, while the frame is delivered.
    Inline,
    /// A task that the frame wakes.
    Task,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    written: usize,
    room: Option<std::task::Waker>,
}

impl Queue {
    fn push(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len()).expect("a short frame");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(body);
    }
}

impl Outbox for Queue {
    fn queued_bytes(&self) -> usize {
        self.bytes.len() - self.written
    }

    fn gather<'a>(&'a mut self, slices: &mut WriteSlices<'a>) {
        slices.push(std::io::IoSlice::new(&self.bytes[self.written..]));
    }

    fn written(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written >= self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
            if let Some(room) = self.room.take() {
                room.wake();
            }
        }
    }
}

/// Answers every frame, or counts them.
struct Peer {
    work: Work,
    reader: FrameReader,
    link: Cell<Option<LinkKey>>,
    waiting: RefCell<Option<std::task::Waker>>,
    arrived: Cell<usize>,
    started: Cell<Option<Instant>>,
    times: RefCell<Vec<u64>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Work {
    Echo(Answer),
    Ping,
    Count(usize),
    Fill { size: usize, count: usize },
}

impl Host for Peer {
    type Link = Queue;
    type Message = ();
    type Error = String;

    fn received(
        &self,
        shard: &Handle<Peer>,
        link: LinkKey,
        inbox: &mut Receiver,
    ) -> Result<(), String> {
        loop {
            match self.reader.front(inbox.unread()) {
                Front::NeedMore(bytes) => {
                    inbox.expect(bytes);
                    return Ok(());
                }
                Front::Frame(bytes) => {
                    inbox.skip(LENGTH_BYTES);
                    let frame = inbox.take(bytes).ok_or("a complete frame")?;
                    self.frame(shard, link, &frame);
                }
                Front::Tick => inbox.skip(LENGTH_BYTES),
                Front::TooLarge(error) => return Err(error.to_string()),
            }
        }
    }

    fn ended(&self, shard: &Handle<Peer>, _: LinkKey, _: Queue, _: End<String>) {
        shard.stop();
    }

    fn message(&self, _: &Handle<Peer>, _: Origin, (): ()) {}

    fn tick(&self, _: &Handle<Peer>, _: Instant) {}
}

impl Peer {
    fn frame(&self, shard: &Handle<Peer>, link: LinkKey, frame: &[u8]) {
        self.arrived.set(self.arrived.get() + 1);
        match self.work {
            Work::Echo(Answer::Inline) => {
                shard.with_link(link, |queue| queue.push(frame));
                shard.send_now(link);
            }
            Work::Echo(Answer::Task) => {
                if let Some(task) = self.waiting.take() {
                    task.wake();
                }
            }
            Work::Ping => {
                if let Some(started) = self.started.take()
                    && self.arrived.get() > WARM_UP
                {
                    self.times.borrow_mut().push(nanoseconds(started));
                }
                if self.arrived.get() < WARM_UP + ROUND_TRIPS {
                    self.ping(shard, link);
                } else {
                    shard.stop();
                }
            }
            Work::Count(count) => {
                if self.arrived.get() == 1 {
                    self.started.set(Some(Instant::now()));
                }
                if self.arrived.get() == count {
                    let started = self.started.take().expect("started");
                    self.times.borrow_mut().push(nanoseconds(started));
                    shard.stop();
                }
            }
            Work::Fill { .. } => {}
        }
    }

    fn ping(&self, shard: &Handle<Peer>, link: LinkKey) {
        self.started.set(Some(Instant::now()));
        shard.with_link(link, |queue| queue.push(&[7; BODY_BYTES]));
        shard.send_now(link);
    }
}

/// Runs two peers on two executors until both have stopped.
fn run(sockets: (Socket, Socket), works: [Work; 2], config: DriverConfig) -> Vec<u64> {
    let mesh = mesh::<()>(2, &MeshConfig::default());
    let sockets = [sockets.0, sockets.1];
    let seats: Vec<_> = mesh.seats.into_iter().zip(sockets).zip(works).collect();
    let executors = ExecutorsConfig { shards: 2, ..ExecutorsConfig::default() };
    let (result, results) = mpsc::channel();
    let body = move |_: ShardId, ((seat, socket), work): ((Seat<()>, Socket), Work)| {
        peer(seat, socket, work, config.clone(), result.clone())
    };
    let executors = Executors::start(&executors, seats, body).expect("executors");
    for result in executors.join() {
        result.expect("no panic");
    }
    results.iter().flatten().collect()
}

async fn peer(
    seat: Seat<()>,
    socket: Socket,
    work: Work,
    config: DriverConfig,
    result: mpsc::Sender<Vec<u64>>,
) {
    let host = Rc::new(Peer {
        work,
        reader: FrameReader::default(),
        link: Cell::new(None),
        waiting: RefCell::new(None),
        arrived: Cell::new(0),
        started: Cell::new(None),
        times: RefCell::new(Vec::with_capacity(ROUND_TRIPS)),
    });
    let driver = Driver::new(seat, host.clone(), config).expect("a driver");
    let shard = driver.handle();
    let link = shard.add(socket, Queue::default(), &[], Reading::On).expect("a link");
    host.link.set(Some(link));
    let task = match work {
        Work::Echo(Answer::Task) => Some(spawn(echo(host.clone(), shard.clone(), link))),
        Work::Fill { size, count } => Some(spawn(fill(shard.clone(), link, size, count))),
        _ => None,
    };
    if work == Work::Ping {
        host.ping(&shard, link);
    }
    glommio::spawn_local(driver.run()).await;
    drop(task);
    let _ = result.send(host.times.take());
}

/// Answers as a process would: it is woken, and sends in its own turn.
async fn echo(host: Rc<Peer>, shard: Handle<Peer>, link: LinkKey) {
    let mut answered = 0;
    loop {
        std::future::poll_fn(|context| {
            if host.arrived.get() > answered {
                return std::task::Poll::Ready(());
            }
            *host.waiting.borrow_mut() = Some(context.waker().clone());
            std::task::Poll::Pending
        })
        .await;
        answered += 1;
        shard.with_link(link, |queue| queue.push(&[7; BODY_BYTES]));
        shard.send_now(link);
    }
}

/// Sends as fast as the link takes it, one call per frame.
async fn fill(shard: Handle<Peer>, link: LinkKey, size: usize, count: usize) {
    const QUEUED_BYTES_MAX: usize = 1024 * 1024;
    let body = vec![7; size];
    for _ in 0..count {
        let queued = shard.with_link(link, |queue| {
            queue.push(&body);
            queue.queued_bytes()
        });
        shard.send_now(link);
        if queued.is_some_and(|bytes| bytes > QUEUED_BYTES_MAX) {
            std::future::poll_fn(|context| {
                let full = shard.with_link(link, |queue| {
                    queue.room = Some(context.waker().clone());
                    queue.queued_bytes() > QUEUED_BYTES_MAX / 2
                });
                if full == Some(true) {
                    std::task::Poll::Pending
                } else {
                    std::task::Poll::Ready(())
                }
            })
            .await;
        }
    }
}

fn ping_pong(sockets: (Socket, Socket), answer: Answer, spin: bool) -> Vec<u64> {
    let mut config = DriverConfig::default();
    if !spin {
        (config.spin, config.spin_after_send) = (Duration::ZERO, Duration::ZERO);
    }
    run(sockets, [Work::Ping, Work::Echo(answer)], config)
}

/// Bytes per second of a blocking socket, for as many bytes.
fn stream_floor((left, right): (Socket, Socket), size: usize, count: usize) -> f64 {
    let total = count * (size + LENGTH_BYTES);
    let mut left = TcpStream::from(left.into_fd());
    let mut right = TcpStream::from(right.into_fd());
    for stream in [&left, &right] {
        stream.set_nonblocking(false).expect("blocking");
    }
    let writer = thread::spawn(move || {
        // Fresh memory, as a program that has something to say.
        let bytes = vec![7; 4 * 1024 * 1024];
        let mut written = 0;
        for chunk in bytes.chunks(65_536).cycle() {
            if written >= total {
                return;
            }
            left.write_all(chunk).expect("written");
            written += chunk.len();
        }
    });
    let mut buffer = vec![0; 262_144];
    let start = Instant::now();
    let mut read = 0;
    while read < total {
        match right.read(&mut buffer).expect("read") {
            0 => break,
            bytes => read += bytes,
        }
    }
    let rate = read as f64 * 1e9 / nanoseconds(start) as f64;
    writer.join().expect("joined");
    rate
}

/// Frames per second.
fn stream(sockets: (Socket, Socket), size: usize, count: usize) -> f64 {
    let works = [Work::Count(count), Work::Fill { size, count }];
    let nanoseconds: u64 = run(sockets, works, DriverConfig::default()).iter().sum();
    count as f64 * 1e9 / nanoseconds as f64
}

/// Percentiles of every kind of run, medians over the rounds.
#[derive(Default)]
struct Table(Vec<(&'static str, Vec<[f64; 3]>)>);

impl Table {
    fn add(&mut self, name: &'static str, mut times: Vec<u64>) {
        times.sort_unstable();
        let at = |part: f64| times[(times.len() as f64 * part) as usize] as f64 / 1e3;
        let row = [at(0.5), at(0.99), at(0.999)];
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rows)) => rows.push(row),
            None => self.0.push((name, vec![row])),
        }
    }

    fn print(&self) {
        if self.0.is_empty() {
            return;
        }
        println!("{BODY_BYTES} B round trip, us{:>24} {:>8} {:>8}", "p50", "p99", "p99.9");
        for (name, rows) in &self.0 {
            let of = |column: usize| median(rows.iter().map(|row| row[column]).collect());
            println!("{name:<34} {:>8.2} {:>8.2} {:>8.2}", of(0), of(1), of(2));
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
