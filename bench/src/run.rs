//! The coordinator: which measurements run, in which order, and what their workers are told.

use std::io::IsTerminal;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cli::{Options, Size};
use crate::error::Error;
use crate::otp;
use crate::peer::{Kind, Peer};
use crate::pin::Pinning;
use crate::process::WorkerProcess;
use crate::protocol::{Event, Order, Role, Work, WorkerConfig};
use crate::report::{Failure, Figures, Head, Measurement, Report, histogram};
use crate::worker;

/// Longest wait for a worker to start, connect, or say goodbye.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes that a stream may have under way beyond its receiver's last acknowledgement; with the
/// bounds below this keeps every mailbox far from its limit and never stalls a fast receiver.
const WINDOW_BYTES: usize = 32 << 20;
const WINDOW_MESSAGES_MIN: usize = 16;
const WINDOW_MESSAGES_MAX: usize = 1 << 17;

/// Runs all measurements of one kind and reports them.
///
/// Repetitions are interleaved: within each repetition every peer has its turn, and the first
/// turn rotates, so that a drift of the machine meets all peers alike.
pub(crate) fn run(work: Work, options: &Options) -> Result<(), Error> {
    let pinning = match options.pin {
        Some(pinning) => pinning.check()?,
        None => Pinning::first_two()?,
    };
    let Chosen { peers, skipped, otp_release } = choose(options)?;
    if let Some(folder) = &options.out {
        std::fs::create_dir_all(folder)
            .map_err(Error::io(format!("cannot make the folder {}", folder.display())))?;
    }
    let head = Head::collect(work, options, pinning, otp_release, skipped);
    let mut progress = Progress::new(options.sizes.len() * peers.len() * options.reps as usize);
    let mut measurements: Vec<Measurement> = Vec::new();
    let mut failures: Vec<Failure> = Vec::new();
    for &size in &options.sizes {
        for repetition in 0..options.reps {
            for turn in 0..peers.len() {
                let peer = peers[(turn + repetition as usize) % peers.len()];
                progress.step(work, peer, size, repetition);
                if failures.iter().any(|failure| failure.peer == peer && failure.size == size) {
                    continue;
                }
                let pair = Pair::new(work, peer, size, pinning, options);
                match pair.and_then(|pair| pair.measure()) {
                    Ok(figures) => {
                        measurements.push(Measurement { peer, size, repetition, figures });
                    }
                    Err(error) => {
                        failures.push(Failure { peer, size, reason: error.to_string() });
                    }
                }
            }
        }
    }
    progress.clear();
    let report = Report::new(head, &peers, &options.sizes, measurements, failures);
    report.publish(options.out.as_deref(), options.json)?;
    match report.failures() {
        0 => Ok(()),
        count => Err(Error::Broken(format!("{count} measurements failed, see above"))),
    }
}

/// The peers of a run.
struct Chosen {
    peers: Vec<Peer>,
    /// What this host cannot run, and why.
    skipped: Vec<String>,
    /// Release of OTP, when a BEAM node takes part.
    otp_release: Option<String>,
}

fn choose(options: &Options) -> Result<Chosen, Error> {
    let named = !options.peers.is_empty();
    let mut peers = if named { options.peers.clone() } else { Peer::ALL.to_vec() };
    let mut skipped = Vec::new();
    let mut otp_release = None;
    if peers.iter().any(|peer| peer.needs_erl()) {
        match otp::release(&options.erl) {
            Ok(found) => otp_release = Some(found),
            Err(error) if named => {
                return Err(Error::Usage(format!(
                    "{error}; install Erlang (Debian: apt-get install erlang-base), \
                     name its erl with --erl, or leave those peers out"
                )));
            }
            Err(error) => {
                peers.retain(|peer| !peer.needs_erl());
                skipped.push(format!("otp, krarup-otp, otp-krarup: {error}"));
            }
        }
    }
    Ok(Chosen { peers, skipped, otp_release })
}

/// One measurement of one pair.
struct Pair<'a> {
    work: Work,
    peer: Peer,
    size: Size,
    pinning: Pinning,
    cookie: String,
    epmd_port: Option<u16>,
    options: &'a Options,
}

impl<'a> Pair<'a> {
    fn new(
        work: Work,
        peer: Peer,
        size: Size,
        pinning: Pinning,
        options: &'a Options,
    ) -> Result<Pair<'a>, Error> {
        let krarup = peer.client() == Kind::Krarup && peer.server() == Kind::Krarup;
        let epmd_port = if krarup { Some(free_port()?) } else { None };
        Ok(Pair { work, peer, size, pinning, cookie: cookie(), epmd_port, options })
    }

    fn measure(&self) -> Result<Figures, Error> {
        let mut server = Side::start(self, Role::Server)?;
        let mut client = Side::start(self, Role::Client)?;
        server.wait_until_ready()?;
        client.wait_until_ready()?;
        // BEAM nodes of a measurement know no epmd but ours, so where only one side is a BEAM,
        // that side dials; else the client does.
        if client.config.kind != Kind::Beam && server.config.kind == Kind::Beam {
            server.dial(&client)?;
        } else {
            client.dial(&server)?;
        }
        client.order(&Order::Go { node: server.config.node.clone() })?;
        let patience = PATIENCE + self.options.warm_up.0 + self.options.seconds.0;
        let figures = match self.work {
            Work::Rtt => match client.process.event(patience)? {
                Event::Rtt { samples } => Figures::Rtt(Box::new(histogram::from_samples(&samples))),
                other => return Err(client.process.unexpected("round trips", &other)),
            },
            Work::Stream => self.stream_figures(&mut client, &mut server, patience)?,
        };
        for side in [client, server] {
            side.stop();
        }
        Ok(figures)
    }

    fn stream_figures(
        &self,
        client: &mut Side,
        server: &mut Side,
        patience: Duration,
    ) -> Result<Figures, Error> {
        let sent = match client.process.event(patience)? {
            Event::Sent { total } => total,
            other => return Err(client.process.unexpected("the count of messages sent", &other)),
        };
        match server.process.event(patience)? {
            Event::Received { messages, total, elapsed_ns } => {
                if total != sent {
                    return Err(Error::Broken(format!(
                        "{}: {sent} messages were sent, {total} were received",
                        self.peer
                    )));
                }
                if messages == 0 || elapsed_ns == 0 {
                    return Err(Error::Broken(format!(
                        "{}: nothing came after the warm-up; give it more --seconds",
                        self.peer
                    )));
                }
                Ok(Figures::Stream { messages, elapsed: Duration::from_nanos(elapsed_ns) })
            }
            other => Err(server.process.unexpected("the count of messages received", &other)),
        }
    }
}

/// One worker of a pair.
struct Side {
    process: WorkerProcess,
    config: WorkerConfig,
    port: u16,
}

impl Side {
    fn start(pair: &Pair<'_>, role: Role) -> Result<Side, Error> {
        let (kind, core) = match role {
            Role::Client => (pair.peer.client(), pair.pinning.client),
            Role::Server => (pair.peer.server(), pair.pinning.server),
        };
        let nanoseconds =
            |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let window = WINDOW_BYTES / pair.size.0;
        let config = WorkerConfig {
            kind,
            role,
            work: pair.work,
            size: pair.size.0,
            warm_up_ns: nanoseconds(pair.options.warm_up.0),
            duration_ns: nanoseconds(pair.options.seconds.0),
            window: window.clamp(WINDOW_MESSAGES_MIN, WINDOW_MESSAGES_MAX) as u64,
            core,
            epmd_port: pair.epmd_port,
            spin_us: pair.options.spin,
            // No name server knows these names but that of the pair: they need not be unique.
            node: format!("{}@127.0.0.1", role.name()),
            cookie: pair.cookie.clone(),
        };
        let name = format!("{} {}", pair.peer, role.name());
        let process = match kind {
            Kind::Beam => otp::start(name, &pair.options.erl, &config)?,
            Kind::Krarup | Kind::SocketSpin | Kind::SocketBlock => {
                let wrap = match role {
                    Role::Client => &pair.options.wrap_client,
                    Role::Server => &pair.options.wrap_server,
                };
                worker::start(name, wrap.as_deref(), &config)?
            }
        };
        Ok(Side { process, config, port: 0 })
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        match self.process.event(PATIENCE)? {
            Event::Ready { port, .. } => {
                self.port = port;
                Ok(())
            }
            other => Err(self.process.unexpected("ready", &other)),
        }
    }

    fn dial(&mut self, other: &Side) -> Result<(), Error> {
        self.order(&Order::Dial { node: other.config.node.clone(), port: other.port })?;
        match self.process.event(PATIENCE)? {
            Event::Connected => Ok(()),
            event => Err(self.process.unexpected("connected", &event)),
        }
    }

    /// Lets the worker end by itself, so that a command around it can write what it found.
    fn stop(mut self) {
        // A worker that is done may have ended already.
        let _ = self.order(&Order::Stop);
        self.process.finish(PATIENCE);
    }

    fn order(&mut self, order: &Order) -> Result<(), Error> {
        let line = match self.config.kind {
            Kind::Beam => otp::order_term(order),
            Kind::Krarup | Kind::SocketSpin | Kind::SocketBlock => worker::order_json(order)?,
        };
        self.process.write_line(&line)
    }
}

/// A port of loopback that nobody has at this moment.
fn free_port() -> Result<u16, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(Error::io("cannot find a free port on loopback"))
}

/// A cookie for nodes that live a few seconds on loopback: it keeps strays out, no more.
fn cookie() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("bench{:x}{:x}", std::process::id(), now.as_nanos())
}

/// One line on a terminal's standard error, rewritten at each step; nothing elsewhere.
struct Progress {
    total: usize,
    done: usize,
    shown: bool,
}

impl Progress {
    fn new(total: usize) -> Progress {
        Progress { total, done: 0, shown: std::io::stderr().is_terminal() }
    }

    fn step(&mut self, work: Work, peer: Peer, size: Size, repetition: u32) {
        self.done += 1;
        if self.shown {
            let (done, total) = (self.done, self.total);
            let repetition = repetition + 1;
            eprint!(
                "\r\x1b[K{done}/{total} {} {size} {peer}, repetition {repetition}",
                work.name()
            );
        }
    }

    fn clear(&self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
