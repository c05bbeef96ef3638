//! One measurement between two workers.

use std::time::Duration;

use super::{Bench, PATIENCE, cookie, free_port};
use crate::case::Case;
use crate::epmd::Epmd;
use crate::error::Error;
use crate::otp;
use crate::peer::Kind;
use crate::process::WorkerProcess;
use crate::protocol::{Event, Order, Role, WorkerConfig, nanoseconds};
use crate::report::{Figures, histogram};
use crate::usage;
use crate::work::{Metric, Work};
use crate::worker;

/// Bytes that a stream may have under way beyond its receiver's last acknowledgement; with the
/// bounds below this keeps every mailbox far from its limit and never stalls a fast receiver.
const WINDOW_BYTES: usize = 32 << 20;
const WINDOW_MESSAGES_MIN: usize = 2;
const WINDOW_MESSAGES_MAX: usize = 1 << 17;

/// Starts both workers, lets them measure, and ends them.
pub(super) fn measure(case: &Case, bench: &mut Bench) -> Result<Figures, Error> {
    let system = case.peer.system;
    let both_krarup = system.client() == Kind::Krarup && system.server() == Kind::Krarup;
    let contact = case.work == Work::Connect;
    let epmd_port = if both_krarup || contact { Some(free_port()?) } else { None };
    // First contact begins with a look-up, in an epmd as the users of these nodes have it.
    let epmd = match epmd_port.filter(|_| contact) {
        Some(port) if both_krarup => Some(Epmd::krarup(port, bench.pinning.server)?),
        Some(port) => {
            let erl = bench.erl(case.peer.release)?.clone();
            Some(Epmd::otp(&erl, port, bench.pinning.server)?)
        }
        None => None,
    };
    let setup = Setup { case, cookie: cookie(), epmd_port, epmd_apart: epmd.is_some() };
    let (mut client, mut server) = setup.start_both(bench)?;
    if !contact {
        connect(&mut client, &mut server)?;
    }
    let before = processor_time(&client, &server);
    client.go(&server)?;
    let patience = 2 * PATIENCE + case.warm_up.0 + case.duration.0;
    let (mut figures, total) = match case.work {
        Work::Stream => stream_figures(case, &mut client, &mut server, patience)?,
        _ => latency_figures(&mut client, patience)?,
    };
    if let (Some(before), Some(after)) = (before, processor_time(&client, &server)) {
        let each = after.saturating_sub(before).as_nanos() as f64 / total.max(1) as f64;
        figures.add(Metric::CpuNanosecondsEach, each);
    }
    if let (Some(one), Some(other)) =
        (usage::memory_bytes(client.process.id()), usage::memory_bytes(server.process.id()))
    {
        figures.add(Metric::MemoryBytes, (one + other) as f64);
    }
    for side in [client, server] {
        side.stop();
    }
    Ok(figures)
}

/// Has the two nodes of a case connect to each other, without an epmd of their own where that can
/// be.
pub(super) fn connected(case: &Case, bench: &mut Bench) -> Result<(Side, Side), Error> {
    let system = case.peer.system;
    let both_krarup = system.client() == Kind::Krarup && system.server() == Kind::Krarup;
    let epmd_port = if both_krarup { Some(free_port()?) } else { None };
    let setup = Setup { case, cookie: cookie(), epmd_port, epmd_apart: false };
    let (mut client, mut server) = setup.start_both(bench)?;
    connect(&mut client, &mut server)?;
    Ok((client, server))
}

/// A BEAM node is told where the other listens, and a Krarup node is not, so the BEAM dials where
/// both take part; else the client does.
fn connect(client: &mut Side, server: &mut Side) -> Result<(), Error> {
    if client.config.kind == Kind::Krarup && server.config.kind == Kind::Beam {
        server.dial(client)
    } else {
        client.dial(server)
    }
}

fn processor_time(client: &Side, server: &Side) -> Option<Duration> {
    let time = |side: &Side| usage::processor_time(side.process.id());
    Some(time(client)? + time(server)?)
}

/// What the client measured, and how many round trips there were in all.
fn latency_figures(client: &mut Side, patience: Duration) -> Result<(Figures, u64), Error> {
    match client.process.event(patience)? {
        Event::Measured { samples, count, total, elapsed_ns } => {
            if count == 0 || elapsed_ns == 0 {
                let reason = "nothing was answered after the warm-up; give it more --seconds";
                return Err(client.process.failure(reason.into()));
            }
            let mut figures = Figures::latencies(histogram::from_samples(&samples));
            figures.add(Metric::PerSecond, count as f64 * 1e9 / elapsed_ns as f64);
            Ok((figures, total))
        }
        other => Err(client.process.unexpected("latencies", &other)),
    }
}

/// What the server measured, when it received all that the client sent.
fn stream_figures(
    case: &Case,
    client: &mut Side,
    server: &mut Side,
    patience: Duration,
) -> Result<(Figures, u64), Error> {
    let (sent, sending) = match client.process.event(patience)? {
        Event::Sent { total, allocations } => (total, allocations),
        other => return Err(client.process.unexpected("the count of messages sent", &other)),
    };
    match server.process.event(patience)? {
        Event::Received { messages, total, elapsed_ns, allocations } => {
            let peer = case.peer;
            if total != sent {
                return Err(Error::Broken(format!(
                    "{peer}: {sent} messages were sent, {total} were received"
                )));
            }
            if messages == 0 || elapsed_ns == 0 {
                return Err(Error::Broken(format!(
                    "{peer}: nothing came after the warm-up; give it more --seconds"
                )));
            }
            let rate = messages as f64 * 1e9 / elapsed_ns as f64;
            let mut figures = Figures::metrics(vec![
                (Metric::PerSecond, rate),
                (Metric::BytesPerSecond, rate * case.size.0 as f64),
            ]);
            if let (Some(sending), Some(receiving)) = (sending, allocations) {
                figures.add(Metric::AllocationsEach, sending + receiving);
            }
            Ok((figures, total))
        }
        other => Err(server.process.unexpected("the count of messages received", &other)),
    }
}

/// What both sides have in common.
pub(crate) struct Setup<'a> {
    case: &'a Case,
    cookie: String,
    epmd_port: Option<u16>,
    epmd_apart: bool,
}

impl<'a> Setup<'a> {
    /// For a node without another: whoever connects is told its port.
    pub(crate) fn alone(case: &'a Case) -> Setup<'a> {
        Setup { case, cookie: cookie(), epmd_port: None, epmd_apart: false }
    }

    pub(crate) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// The client and the server, both ready.
    fn start_both(&self, bench: &mut Bench) -> Result<(Side, Side), Error> {
        let mut server = Side::start(self, Role::Server, bench)?;
        let mut client = Side::start(self, Role::Client, bench)?;
        server.wait_until_ready()?;
        client.wait_until_ready()?;
        Ok((client, server))
    }
}

/// One worker of a pair.
pub(crate) struct Side {
    process: WorkerProcess,
    config: WorkerConfig,
    port: u16,
}

impl Side {
    pub(crate) fn start(setup: &Setup<'_>, role: Role, bench: &mut Bench) -> Result<Side, Error> {
        let case = setup.case;
        let (kind, core, wrap) = match role {
            Role::Client => {
                (case.peer.system.client(), bench.pinning.client, bench.wrap_client.clone())
            }
            Role::Server => {
                (case.peer.system.server(), bench.pinning.server, bench.wrap_server.clone())
            }
        };
        // Nodes with several shards spread over all cores, as they do for a program.
        let core = core.filter(|_| case.work != Work::Shards);
        let window = WINDOW_BYTES / case.size.0;
        let config = WorkerConfig {
            kind,
            role,
            work: case.work,
            payload: case.peer.system.payload(),
            lanes: case.peer.system.lanes(),
            size: case.size.0,
            count: case.count,
            apart: case.apart,
            rate: case.rate.unwrap_or(0),
            warm_up_ns: nanoseconds(case.warm_up.0),
            duration_ns: nanoseconds(case.duration.0),
            window: window.clamp(WINDOW_MESSAGES_MIN, WINDOW_MESSAGES_MAX) as u64,
            core,
            epmd_port: setup.epmd_port,
            epmd_apart: setup.epmd_apart,
            shards: case.shards,
            spin_us: case.spin_us,
            setopt: bench.setopt.clone(),
            // No name server knows these names but that of the pair: they need not be unique.
            node: format!("{}@127.0.0.1", role.name()),
            cookie: setup.cookie.clone(),
        };
        let name = format!("{} {}", case.peer, role.name());
        let process = match kind {
            Kind::Beam => otp::start(name, &bench.erl(case.peer.release)?.path.clone(), &config)?,
            _ => worker::start(name, "pair", wrap.as_deref(), &config)?,
        };
        Ok(Side { process, config, port: 0 })
    }

    pub(crate) fn wait_until_ready(&mut self) -> Result<(), Error> {
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

    /// Has this side begin, or go on, with what it measures against the other one.
    pub(super) fn go(&mut self, other: &Side) -> Result<(), Error> {
        self.order(&Order::Go { node: other.config.node.clone() })
    }

    /// The node's name.
    pub(crate) fn name(&self) -> &str {
        &self.config.node
    }

    /// Where it listens, once it is ready.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn process(&mut self) -> &mut WorkerProcess {
        &mut self.process
    }

    /// Lets the worker end by itself, so that a command around it can write what it found.
    pub(crate) fn stop(mut self) {
        // A worker that is done may have ended already.
        let _ = self.order(&Order::Stop);
        self.process.finish(PATIENCE);
    }

    fn order(&mut self, order: &Order) -> Result<(), Error> {
        let line = match self.config.kind {
            Kind::Beam => otp::order_term(order),
            _ => worker::json(order)?,
        };
        self.process.write_line(&line)
    }
}
