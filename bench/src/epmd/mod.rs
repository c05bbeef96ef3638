//! Look-ups per second of an epmd: Krarup's, OTP's, and a server that does the least one can.
//!
//! The client's process registers the names, each on a connection that stays open, and then asks
//! for one after another. Every look-up has a connection of its own, as nodes do it.

mod bare;
mod clients;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use krarup::epmd::{Server, ServerConfig};
use serde::{Deserialize, Serialize};

pub(crate) use clients::{allow_many_descriptors, ask};

use crate::case::Case;
use crate::error::Error;
use crate::otp::Erl;
use crate::peer::{Peer, System};
use crate::pin;
use crate::process::WorkerProcess;
use crate::protocol::{Event, Order, nanoseconds, tell};
use crate::report::{Figures, histogram};
use crate::run::{Bench, PATIENCE, free_port};
use crate::usage;
use crate::work::Metric;
use crate::worker;

/// Longest wait for ten thousand names to be registered.
const REGISTER_TIME_MAX: Duration = Duration::from_secs(60);
/// Pause between two looks whether an epmd answers yet.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Which server a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ServerKind {
    Krarup,
    Bare,
}

#[derive(Debug, Serialize, Deserialize)]
struct EpmdServerConfig {
    server: ServerKind,
    port: u16,
    addresses: Vec<IpAddr>,
    core: Option<usize>,
}

/// What the worker with the clients needs to know.
#[derive(Debug, Serialize, Deserialize)]
struct EpmdClientConfig {
    port: u16,
    clients: u32,
    names: u32,
    /// Whether the server knows names; else it answers everything alike.
    registers: bool,
    warm_up_ns: u64,
    duration_ns: u64,
    core: Option<usize>,
}

/// A running epmd. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Epmd {
    process: WorkerProcess,
}

impl Epmd {
    /// Krarup's, on 127.0.0.1.
    pub(crate) fn krarup(port: u16, core: Option<usize>) -> Result<Epmd, Error> {
        Epmd::krarup_at(port, core, Vec::new())
    }

    /// Krarup's, on 127.0.0.1 and these addresses.
    pub(crate) fn krarup_at(
        port: u16,
        core: Option<usize>,
        mut addresses: Vec<IpAddr>,
    ) -> Result<Epmd, Error> {
        addresses.push(Ipv4Addr::LOCALHOST.into());
        let server = ServerKind::Krarup;
        Epmd::worker(EpmdServerConfig { server, port, addresses, core }, None)
    }

    fn worker(config: EpmdServerConfig, wrap: Option<&str>) -> Result<Epmd, Error> {
        let process = worker::start("epmd".into(), "epmd-server", wrap, &config)?;
        Epmd::once_it_answers(process, config.port)
    }

    /// The one of an OTP release.
    pub(crate) fn otp(erl: &Erl, port: u16, core: Option<usize>) -> Result<Epmd, Error> {
        let mut command = worker::pinned(core, erl.epmd())?;
        command.args(["-port", &port.to_string(), "-address", "127.0.0.1"]);
        Epmd::once_it_answers(WorkerProcess::start("OTP's epmd".into(), command)?, port)
    }

    fn once_it_answers(mut process: WorkerProcess, port: u16) -> Result<Epmd, Error> {
        let deadline = Instant::now() + PATIENCE;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline || process.has_ended() {
                return Err(process.failure("it does not answer".into()));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(Epmd { process })
    }

    fn start(peer: Peer, port: u16, bench: &mut Bench) -> Result<Epmd, Error> {
        let core = bench.pinning.server;
        let server = match peer.system {
            System::Bare => ServerKind::Bare,
            System::Krarup => ServerKind::Krarup,
            _ => return Epmd::otp(&bench.erl(peer.release)?.clone(), port, core),
        };
        let addresses = vec![Ipv4Addr::LOCALHOST.into()];
        let config = EpmdServerConfig { server, port, addresses, core };
        Epmd::worker(config, bench.wrap_server.as_deref())
    }
}

/// Registers, warms up, measures.
pub(crate) fn measure(case: &Case, bench: &mut Bench) -> Result<Figures, Error> {
    let port = free_port()?;
    let server = Epmd::start(case.peer, port, bench)?;
    let config = EpmdClientConfig {
        port,
        clients: case.count,
        names: case.names.unwrap_or(1),
        registers: case.peer.system != System::Bare,
        warm_up_ns: nanoseconds(case.warm_up.0),
        duration_ns: nanoseconds(case.duration.0),
        core: bench.pinning.client,
    };
    let name = format!("{} epmd clients", case.peer);
    let mut clients = worker::start(name, "epmd-client", bench.wrap_client.as_deref(), &config)?;
    let (names, refusal) = match clients.event(REGISTER_TIME_MAX)? {
        Event::Registered { names, refusal } => (names, refusal),
        other => return Err(clients.unexpected("the number of names", &other)),
    };
    if let Some(refusal) = refusal.filter(|_| case.peer.system == System::Krarup) {
        return Err(Error::Broken(format!("after {names} names: {refusal}")));
    }
    let time = || usage::processor_time(server.process.id());
    let before = time();
    clients.write_line(&worker::json(&Order::Go { node: String::new() })?)?;
    let (samples, count, total, elapsed_ns) =
        match clients.event(PATIENCE + case.warm_up.0 + case.duration.0)? {
            Event::Measured { samples, count, total, elapsed_ns } => {
                (samples, count, total, elapsed_ns)
            }
            other => return Err(clients.unexpected("look-ups", &other)),
        };
    let mut figures = Figures::latencies(histogram::from_samples(&samples));
    figures.add(Metric::PerSecond, count as f64 * 1e9 / elapsed_ns.max(1) as f64);
    figures.add(Metric::Names, f64::from(names));
    if let (Some(before), Some(after)) = (before, time()) {
        let each = after.saturating_sub(before).as_nanos() as f64 / total.max(1) as f64;
        figures.add(Metric::ServerNanosecondsEach, each);
    }
    clients.finish(PATIENCE);
    Ok(figures)
}

/// The worker that serves.
pub(crate) fn serve() -> Result<(), Error> {
    let config: EpmdServerConfig = worker::configuration()?;
    if let Some(core) = config.core {
        pin::pin_to(core)?;
    }
    allow_many_descriptors()?;
    match config.server {
        ServerKind::Bare => bare::serve(config.port),
        ServerKind::Krarup => {
            let server = ServerConfig {
                port: config.port,
                addresses: config.addresses,
                ..ServerConfig::default()
            };
            let server = Server::bind(&server).map_err(|error| Error::Broken(error.to_string()))?;
            tell(&Event::Ready { node: String::new(), port: server.port(), version: None })?;
            server.run().map_err(Error::io("epmd cannot go on"))
        }
    }
}
