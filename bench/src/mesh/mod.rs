//! A full mesh of nodes on this host, each on a loopback address of its own.
//!
//! All nodes live in a few worker processes, one for each core, or as many for each as it takes for
//! none to run out of descriptors: what is measured is what nodes cost each other, not what processes
//! cost the host. They do not poll, since there are more of them than cores.

mod nodes;

use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

pub(crate) use nodes::work;

use crate::case::Case;
use crate::epmd::Epmd;
use crate::error::Error;
use crate::peer::Lanes;
use crate::process::WorkerProcess;
use crate::protocol::{Event, Order, nanoseconds};
use crate::report::{Figures, histogram};
use crate::run::{Bench, PATIENCE, cookie, free_port};
use crate::usage;
use crate::work::Metric;
use crate::worker;

/// Longest wait for all nodes to start, and for all of them to be connected.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(300);
/// Descriptors of a node beside its links, with room to spare: rings, listeners, its registration,
/// connections that are not links yet.
const DESCRIPTORS_OF_NODE: u64 = 32;
/// Descriptors of a worker beside its nodes.
const DESCRIPTORS_OF_WORKER: u64 = 64;
/// Time for a mesh to come to rest.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// What each worker needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct MeshConfig {
    /// Its nodes' numbers: from the first, in steps of `workers`.
    first: u32,
    workers: u32,
    nodes: u32,
    /// Whether every node connects to all others at once.
    at_once: bool,
    lanes: Lanes,
    epmd_port: u16,
    cookie: String,
    warm_up_ns: u64,
    duration_ns: u64,
    core: Option<usize>,
}

/// What a worker is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Connect to every node with a greater number, or to all others.
    Connect,
    /// Wait until all nodes see all others.
    Whole,
    /// One message under way in the whole mesh.
    Alone,
    /// Many under way from every node.
    Loaded,
}

impl Phase {
    const ALL: [Phase; 4] = [Phase::Connect, Phase::Whole, Phase::Alone, Phase::Loaded];

    fn name(self) -> &'static str {
        match self {
            Phase::Connect => "connect",
            Phase::Whole => "whole",
            Phase::Alone => "alone",
            Phase::Loaded => "loaded",
        }
    }
}

/// The address of a node: 127.0.1.1 and those behind it.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 1, 1)) + number)
}

fn name(number: u32) -> String {
    format!("n{number}@{}", address(number))
}

/// Starts the mesh, measures it in its phases, and ends it.
pub(crate) fn measure(case: &Case, bench: &mut Bench) -> Result<Figures, Error> {
    let port = free_port()?;
    let addresses = (0..case.count).map(|number| address(number).into()).collect();
    let _epmd = Epmd::krarup_at(port, bench.pinning.server, addresses)?;
    let cores = [bench.pinning.client, bench.pinning.server];
    let count = workers_for(case.count, cores.len() as u32, descriptors())?;
    let config = MeshConfig {
        first: 0,
        workers: count,
        nodes: case.count,
        at_once: case.at_once,
        lanes: case.peer.system.lanes(),
        epmd_port: port,
        cookie: cookie(),
        warm_up_ns: nanoseconds(case.warm_up.0),
        duration_ns: nanoseconds(case.duration.0),
        core: None,
    };
    let mut workers = Vec::new();
    for (first, core) in (0..count).zip(cores.into_iter().cycle()) {
        let config = MeshConfig { first, core, ..config.clone() };
        let wrap = if first == 0 { &bench.wrap_client } else { &bench.wrap_server };
        let name = format!("{} mesh {first}", case.peer);
        workers.push(worker::start(name, "mesh", wrap.as_deref(), &config)?);
    }
    for worker in &mut workers {
        match worker.event(CONNECT_TIME_MAX)? {
            Event::Ready { .. } => {}
            other => return Err(worker.unexpected("ready", &other)),
        }
    }
    let figures = phases(case, &mut workers);
    for worker in workers {
        worker.finish(PATIENCE);
    }
    figures
}

/// Descriptors that a process of this host may have. Workers raise their limit to it.
fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// How many workers the nodes are spread over: one for each core, or as many for each that every
/// one has the descriptors its nodes need. Each link is a descriptor at either end.
fn workers_for(nodes: u32, cores: u32, limit: u64) -> Result<u32, Error> {
    let each = u64::from(nodes) - 1 + DESCRIPTORS_OF_NODE;
    let nodes_max = limit.saturating_sub(DESCRIPTORS_OF_WORKER) / each;
    (1..)
        .map(|times| times * cores)
        .take_while(|workers| workers - cores < nodes)
        .find(|workers| u64::from(nodes.div_ceil(*workers)) <= nodes_max)
        .ok_or_else(|| {
            Error::Usage(format!(
                "a node of this mesh needs {} descriptors, and a process may have {limit}: raise \
                 the hard limit (ulimit -Hn)",
                each + DESCRIPTORS_OF_WORKER
            ))
        })
}

fn phases(case: &Case, workers: &mut [WorkerProcess]) -> Result<Figures, Error> {
    let connected = phase(workers, Phase::Connect, CONNECT_TIME_MAX)?;
    let whole = phase(workers, Phase::Whole, CONNECT_TIME_MAX)?;
    std::thread::sleep(SETTLE_TIME);
    let memory = total(workers, usage::memory_bytes)?;
    let busy = total(workers, usage::processor_time)?;
    std::thread::sleep(case.duration.0);
    let busy = total(workers, usage::processor_time)?.saturating_sub(busy);
    let patience = PATIENCE + case.warm_up.0 + case.duration.0;
    let (first, _) = workers.split_at_mut(1);
    let alone = phase(first, Phase::Alone, patience)?;
    let loaded = phase(workers, Phase::Loaded, patience)?;
    let mut figures = Figures::latencies(histogram::from_samples(&alone.samples));
    let links: u64 = connected.count;
    let up_ns = connected.elapsed_ns + whole.elapsed_ns;
    figures.add(Metric::LinksPerSecond, links as f64 * 1e9 / up_ns.max(1) as f64);
    figures.add(Metric::BytesEach, memory as f64 / f64::from(case.count));
    figures.add(Metric::ProcessorShare, busy.as_secs_f64() / case.duration.0.as_secs_f64());
    let rate = loaded.count as f64 * 1e9 / loaded.elapsed_ns.max(1) as f64;
    figures.add(Metric::PerSecond, rate);
    Ok(figures)
}

/// What all workers together measured.
#[derive(Debug, Default)]
struct Sum {
    samples: Vec<(u64, u64)>,
    count: u64,
    /// The longest.
    elapsed_ns: u64,
}

fn phase(workers: &mut [WorkerProcess], phase: Phase, patience: Duration) -> Result<Sum, Error> {
    let order = worker::json(&Order::Go { node: phase.name().to_owned() })?;
    for worker in workers.iter_mut() {
        worker.write_line(&order)?;
    }
    let mut sum = Sum::default();
    for worker in workers {
        match worker.event(patience)? {
            Event::Measured { samples, count, elapsed_ns, .. } => {
                sum.samples.extend(samples);
                sum.count += count;
                sum.elapsed_ns = sum.elapsed_ns.max(elapsed_ns);
            }
            other => return Err(worker.unexpected(phase.name(), &other)),
        }
    }
    Ok(sum)
}

fn total<T: std::iter::Sum>(
    workers: &[WorkerProcess],
    usage: impl Fn(u32) -> Option<T>,
) -> Result<T, Error> {
    let all: Option<T> = workers.iter().map(|worker| usage(worker.id())).sum();
    all.ok_or_else(|| Error::Broken("this kernel does not tell what processes use".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_worker_runs_out_of_descriptors() {
        let workers = |nodes, limit| workers_for(nodes, 2, limit).ok();
        assert_eq!(workers(2, 1024), Some(2));
        assert_eq!(workers(100, 20_000), Some(2));
        // 100 nodes with 199 links each would need 19,900, and more for themselves.
        assert_eq!(workers(200, 20_000), Some(4));
        assert_eq!(workers(200, u64::MAX), Some(2));
        assert_eq!(workers(200, 295), Some(200));
        assert_eq!(workers(200, 294), None);
    }
}
