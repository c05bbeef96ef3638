//! The worker with some of the mesh's nodes.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use krarup::epmd::EpmdMode;
use krarup::term::Pid;
use krarup::{ConnectError, Cookie, Node, Process};

use super::{MeshConfig, Phase, name};
use crate::epmd::allow_many_descriptors;
use crate::error::Error;
use crate::peer::Lanes;
use crate::pin;
use crate::protocol::{Event, Order, nanoseconds, tell};
use crate::worker::{self, Latencies};

/// Name of the process that answers on every node.
const SERVICE: &str = "bench";
/// Messages that each node keeps under way in the loaded phase, each to another node.
const UNDER_WAY: u32 = 16;
/// Pause between two looks whether the mesh is whole.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How long the mesh may take to be whole after the last connection.
const WHOLE_TIME_MAX: Duration = Duration::from_secs(60);

/// What processes fail with.
type Failure = Box<dyn std::error::Error>;
/// Round trips of one process: their latencies, and how many there were.
type Measured = Result<(Vec<(u64, u64)>, u64), String>;

/// The worker's side.
pub(crate) fn work() -> Result<(), Error> {
    let config: MeshConfig = worker::configuration()?;
    if let Some(core) = config.core {
        pin::pin_to(core)?;
    }
    allow_many_descriptors()?;
    let mine: Vec<u32> = (config.first..config.nodes).step_by(config.workers as usize).collect();
    let mut nodes = Vec::with_capacity(mine.len());
    for &number in &mine {
        nodes.push((number, start(&config, number)?));
    }
    let mesh = Mesh { config, nodes };
    tell(&Event::Ready { node: String::new(), port: 0, version: None })?;
    loop {
        let Order::Go { node: phase } = worker::next_order()? else { return Ok(()) };
        match Phase::ALL.into_iter().find(|known| known.name() == phase) {
            Some(Phase::Connect) if mesh.config.at_once => mesh.connect_at_once()?,
            Some(Phase::Connect) => mesh.connect()?,
            Some(Phase::Whole) => mesh.wait_until_whole()?,
            Some(Phase::Alone) => mesh.round_trips(1, 1)?,
            Some(Phase::Loaded) => mesh.round_trips(usize::MAX, UNDER_WAY)?,
            None => return Err(Error::Broken(format!("no phase is called {phase:?}"))),
        }
    }
}

fn start(config: &MeshConfig, number: u32) -> Result<Node, Error> {
    let failed =
        |error: &dyn std::fmt::Display| Error::Broken(format!("{}: {error}", name(number)));
    let cookie = Cookie::new(&config.cookie).map_err(|error| failed(&error))?;
    let builder = Node::builder(name(number))
        .cookie(cookie)
        .epmd(EpmdMode::External)
        .epmd_port(config.epmd_port)
        .spin(Duration::ZERO);
    let builder = match config.lanes {
        Lanes::Default => builder,
        Lanes::Tcp => builder.unix_lanes(false),
        Lanes::None => builder.fabric(false),
    };
    let node = builder.start().map_err(|error| failed(&error))?;
    node.spawn(SERVICE, |me| async move { echo(me).await }).map_err(|error| failed(&error))?;
    Ok(node)
}

/// Answers each number with itself.
async fn echo(mut me: Process) -> Result<(), Failure> {
    while let Ok(signal) = me.recv().await {
        let (from, number) = signal.message::<(Pid, u64)>()?;
        me.send(&from, &number).await?;
    }
    Ok(())
}

fn refused(from: u32, to: u32, error: &ConnectError) -> Error {
    Error::Broken(format!("{} cannot connect to {}: {error}", name(from), name(to)))
}

struct Mesh {
    config: MeshConfig,
    nodes: Vec<(u32, Node)>,
}

impl Mesh {
    /// Connects every node to those with greater numbers, one connection of each node at a time.
    fn connect(&self) -> Result<(), Error> {
        let start = Instant::now();
        let mut links = 0;
        for distance in 1..self.config.nodes {
            let dialled: Vec<_> = self
                .nodes
                .iter()
                .filter(|(number, _)| number + distance < self.config.nodes)
                .map(|(number, node)| (number, node.connect(&name(number + distance))))
                .collect();
            for (number, connected) in dialled {
                connected.wait().map_err(|error| refused(*number, number + distance, &error))?;
                links += 1;
            }
        }
        self.tell(Latencies::new(), links, start.elapsed())
    }

    /// Connects every node to all others, as if all had started at this moment.
    fn connect_at_once(&self) -> Result<(), Error> {
        let start = Instant::now();
        let mut dialled = Vec::new();
        for (number, node) in &self.nodes {
            for other in (0..self.config.nodes).filter(|other| other != number) {
                dialled.push((*number, other, node.connect(&name(other))));
            }
        }
        let mut links = 0;
        let mut failures = Vec::new();
        for (number, other, connected) in dialled {
            match connected.wait() {
                // Both ends count it.
                Ok(()) => links += u64::from(number < other),
                Err(error) => failures.push(refused(number, other, &error)),
            }
        }
        let count = failures.len();
        match failures.into_iter().next() {
            None => self.tell(Latencies::new(), links, start.elapsed()),
            Some(first) => Err(Error::Broken(format!("{count} connections failed; {first}"))),
        }
    }

    /// Waits until every node knows every other.
    fn wait_until_whole(&self) -> Result<(), Error> {
        let start = Instant::now();
        let others = self.config.nodes as usize - 1;
        for (number, node) in &self.nodes {
            loop {
                let known = node.nodes().wait().len();
                if known == others {
                    break;
                }
                if start.elapsed() > WHOLE_TIME_MAX {
                    let name = name(*number);
                    return Err(Error::Broken(format!("{name} sees {known} of {others} nodes")));
                }
                std::thread::sleep(LOOK_INTERVAL);
            }
        }
        self.tell(Latencies::new(), self.nodes.len() as u64, start.elapsed())
    }

    /// Some nodes ask all others in turn, so many at once.
    fn round_trips(&self, askers: usize, under_way: u32) -> Result<(), Error> {
        let (results, all): (Sender<Measured>, Receiver<Measured>) = channel();
        let (warm_up, duration) = (
            Duration::from_nanos(self.config.warm_up_ns),
            Duration::from_nanos(self.config.duration_ns),
        );
        let warm = Instant::now() + warm_up;
        let end = warm + duration;
        let mut asking = 0;
        for (number, node) in self.nodes.iter().take(askers) {
            let (results, number, count) = (results.clone(), *number, self.config.nodes);
            let spawned = node.spawn_on(0, None, move |me| async move {
                let measured = ask(me, number, count, under_way, warm, end).await;
                results.send(measured.map_err(|error| error.to_string()))?;
                Ok(())
            });
            let spawned = spawned.wait();
            spawned.map_err(|error| Error::Broken(format!("cannot start a process: {error}")))?;
            asking += 1;
        }
        drop(results);
        let mut latencies = Latencies::new();
        let mut count = 0;
        for _ in 0..asking {
            let (samples, round_trips) = all
                .recv()
                .map_err(|_| Error::Broken("a process ended without a result".into()))?
                .map_err(Error::Broken)?;
            latencies.add(&samples);
            count += round_trips;
        }
        self.tell(latencies, count, duration)
    }

    fn tell(&self, latencies: Latencies, count: u64, elapsed: Duration) -> Result<(), Error> {
        let (samples, elapsed_ns) = (latencies.samples(), nanoseconds(elapsed));
        tell(&Event::Measured { samples, count, total: count, elapsed_ns })
    }
}

/// Asks all other nodes in turn; each answer, checked, leads to the next question.
async fn ask(
    mut me: Process,
    own: u32,
    nodes: u32,
    under_way: u32,
    warm: Instant,
    end: Instant,
) -> Result<(Vec<(u64, u64)>, u64), Failure> {
    let others: Vec<String> = (0..nodes).filter(|&number| number != own).map(name).collect();
    let under_way = u64::from(under_way).min(others.len() as u64);
    // Which question each slot waits for, and since when.
    let mut open: Vec<(u64, Instant)> = Vec::new();
    let mut latencies = Latencies::new();
    let mut next = 0_u64;
    let own = me.pid();
    while next < under_way {
        open.push((next, Instant::now()));
        let to = (SERVICE, others[next as usize % others.len()].as_str());
        me.send(to, &(&own, next)).await?;
        next += 1;
    }
    loop {
        let signal = me.recv().await?;
        let number = signal.message::<u64>()?;
        let now = Instant::now();
        let slot = open.iter_mut().find(|(waiting, _)| *waiting == number);
        let (waiting, since) = slot.ok_or_else(|| format!("{number} was not asked"))?;
        if now >= end {
            return Ok((latencies.samples(), latencies.count()));
        }
        if now >= warm {
            latencies.record(now - *since);
        }
        (*waiting, *since) = (next, now);
        let to = (SERVICE, others[next as usize % others.len()].as_str());
        me.send(to, &(&own, next)).await?;
        next += 1;
    }
}
