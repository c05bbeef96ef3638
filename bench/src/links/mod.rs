//! What a node pays for links that carry nothing: memory for each, and processor time.
//!
//! The node under measurement is a process of its own. The nodes at the other ends of its links
//! are all played by one worker, which does the handshake and then only says now and then that
//! they live: real ones would need the memory of thousands of nodes.

mod peers;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use peers::work;

use crate::case::Case;
use crate::error::Error;
use crate::peer::{Kind, Lanes};
use crate::process::WorkerProcess;
use crate::protocol::{Event, Order, Role};
use crate::report::{Figures, histogram};
use crate::run::{Bench, PATIENCE, Setup, Side};
use crate::usage;
use crate::work::Metric;
use crate::worker;

/// Links that are there before memory is looked at: what the first ones cost is the node's own.
const FIRST_LINKS: u32 = 16;
/// Longest wait for thousands of handshakes.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(120);
/// Time for the node to finish what the last handshake began.
const SETTLE_TIME: Duration = Duration::from_millis(500);

/// What the worker that plays the other nodes needs to know.
#[derive(Debug, Serialize, Deserialize)]
struct PeersConfig {
    node: String,
    port: u16,
    cookie: String,
    /// Links before the first order, and all.
    first: u32,
    links: u32,
    /// Whether the peers offer lanes, as Krarup nodes do.
    fabric: bool,
    core: Option<usize>,
}

/// One node with so many links.
pub(crate) fn measure(case: &Case, bench: &mut Bench) -> Result<Figures, Error> {
    let setup = Setup::alone(case);
    let mut node = Side::start(&setup, Role::Server, bench)?;
    node.wait_until_ready()?;
    let config = PeersConfig {
        node: node.name().to_owned(),
        port: node.port(),
        cookie: setup.cookie().to_owned(),
        first: FIRST_LINKS.min(case.count),
        links: case.count,
        fabric: case.peer.system.server() == Kind::Krarup
            && case.peer.system.lanes() != Lanes::None,
        core: bench.pinning.client,
    };
    let name = format!("{} peers", case.peer);
    let mut peers = worker::start(name, "links", bench.wrap_client.as_deref(), &config)?;
    match peers.event(CONNECT_TIME_MAX)? {
        Event::Connected => {}
        other => return Err(peers.unexpected("connected", &other)),
    }
    let figures = figures(case, node.process(), &mut peers);
    // The node goes first: it need not be told that thousands of peers are gone.
    node.stop();
    drop(peers);
    figures
}

fn figures(
    case: &Case,
    node: &mut WorkerProcess,
    peers: &mut WorkerProcess,
) -> Result<Figures, Error> {
    let unknown = || Error::Broken("this kernel does not tell what processes use".into());
    std::thread::sleep(SETTLE_TIME);
    let before = usage::memory_bytes(node.id()).ok_or_else(unknown)?;
    peers.write_line(&worker::json(&Order::Go { node: String::new() })?)?;
    let (samples, count, elapsed_ns) = match peers.event(CONNECT_TIME_MAX)? {
        Event::Measured { samples, count, elapsed_ns, .. } => (samples, count, elapsed_ns),
        other => return Err(peers.unexpected("links", &other)),
    };
    std::thread::sleep(SETTLE_TIME);
    let after = usage::memory_bytes(node.id()).ok_or_else(unknown)?;
    let mut figures = Figures::latencies(histogram::from_samples(&samples));
    let each = after.saturating_sub(before) as f64 / count.max(1) as f64;
    figures.add(Metric::BytesEach, each);
    figures.add(Metric::PerSecond, count as f64 * 1e9 / elapsed_ns.max(1) as f64);
    let busy_before = usage::processor_time(node.id()).ok_or_else(unknown)?;
    std::thread::sleep(case.duration.0);
    let busy = usage::processor_time(node.id()).ok_or_else(unknown)?.saturating_sub(busy_before);
    figures.add(Metric::ProcessorShare, busy.as_secs_f64() / case.duration.0.as_secs_f64());
    // A link that had ended would make all the rest cheap.
    peers.write_line(&worker::json(&Order::Go { node: String::new() })?)?;
    match peers.event(PATIENCE)? {
        Event::Connected => Ok(figures),
        other => Err(peers.unexpected("that all links live", &other)),
    }
}
