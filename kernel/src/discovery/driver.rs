//! Feeds the reconciler: looks at the sources, asks what is connected, and connects.

use std::collections::BTreeSet;
use std::future::{Future, pending, ready};
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use krarup_transport::term::Atom;

use super::Discovery;
use super::dns::NameServers;
use super::machine::Reconciler;
use super::source::{Found, Source, SourceFailure, Surroundings};
use crate::net_kernel::{ConnectError, NodeMonitorOptions, NodeTypes};
use crate::node::{Node, Stopped};
use crate::process::{Process, ProcessResult};

/// What something that was begun has come to.
enum Done {
    Looked { source: usize, found: Result<Found, SourceFailure> },
    Dialled { node: Atom, outcome: Result<(), ConnectError> },
}

type Work = FuturesUnordered<Pin<Box<dyn Future<Output = Done>>>>;

/// What is known of one source.
struct Watched {
    source: Source,
    /// When it is looked at next; nothing while that is under way.
    due: Option<Instant>,
    has_failed: bool,
}

pub(super) async fn run(mut me: Process, discovery: Discovery) -> ProcessResult {
    let node = me.node();
    me.monitor_nodes_with(true, NodeMonitorOptions::default().node_type(NodeTypes::All));
    let mut seed = [0; 8];
    getrandom::fill(&mut seed)?;
    let now = Instant::now();
    let count = discovery.sources.len();
    let mut machine = Reconciler::new(discovery.back_off, count, u64::from_ne_bytes(seed));
    let watched = |source| Watched { source, due: Some(now), has_failed: false };
    let mut sources: Vec<Watched> = discovery.sources.into_iter().map(watched).collect();
    let servers = Some(discovery.name_servers).filter(|servers| !servers.is_empty());
    let servers = servers.map(NameServers::only);
    let mut work = Work::new();
    loop {
        let now = Instant::now();
        for (index, watched) in sources.iter_mut().enumerate() {
            if watched.due.is_some_and(|due| due <= now) {
                watched.due = None;
                work.push(look(&node, index, watched.source.clone(), servers.clone()));
            }
        }
        machine.connected(now, &connected(&node).await);
        while let Some(peer) = machine.next(now) {
            work.push(dial(&node, peer));
        }
        let looks = sources.iter().filter_map(|watched| watched.due);
        let deadline = looks.chain(machine.deadline()).min();
        match next(&mut me, &mut work, deadline).await? {
            None => {}
            Some(Done::Dialled { node: peer, outcome: Err(ConnectError::ThisNode) }) => {
                machine.dialled_itself(Instant::now(), &peer);
                tracing::info!(node = %peer, "passed over: it is this node itself");
            }
            Some(Done::Dialled { node: peer, outcome }) => {
                let failures = machine.dialled(Instant::now(), &peer, outcome.is_ok());
                match outcome {
                    Err(why) if failures == 1 => {
                        tracing::warn!(node = %peer, %why, "not connected; trying again");
                    }
                    Err(why) => tracing::debug!(node = %peer, %why, failures, "not connected"),
                    Ok(()) => {}
                }
            }
            Some(Done::Looked { source, found }) => {
                let now = Instant::now();
                let Some(watched) = sources.get_mut(source) else { continue };
                watched.due = Some(now + machine.jittered(discovery.interval));
                take(&node, &mut machine, (source, watched), found, now);
            }
        }
    }
}

/// Waits until something is done, a node comes or goes, or the time has come.
async fn next(
    me: &mut Process,
    work: &mut Work,
    deadline: Option<Instant>,
) -> Result<Option<Done>, Stopped> {
    let done = pin!(async {
        match work.next().await {
            Some(done) => done,
            None => pending().await,
        }
    });
    let woken = pin!(async {
        match deadline {
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                // A timer may be early by what its clock cannot tell.
                let left = left.max(Duration::from_millis(1));
                me.recv_timeout(left).await.map(drop)
            }
            None => me.recv().await.map(drop),
        }
    });
    match select(done, woken).await {
        Either::Left((done, _)) => Ok(Some(done)),
        Either::Right((woken, _)) => woken.map(|()| None),
    }
}

/// Takes what a source names for all that it wants; a source that failed wants what it did.
fn take(
    node: &Node,
    machine: &mut Reconciler,
    (index, watched): (usize, &mut Watched),
    found: Result<Found, SourceFailure>,
    now: Instant,
) {
    let source = &watched.source;
    let found = match found {
        Ok(found) => found,
        Err(why) => {
            if !std::mem::replace(&mut watched.has_failed, true) {
                tracing::warn!(%source, %why, "wanted nodes could not be looked up; trying again");
            }
            return;
        }
    };
    if std::mem::replace(&mut watched.has_failed, false) {
        tracing::info!(%source, "wanted nodes can be looked up again");
    }
    let own = node.name();
    let states_ports = matches!(source, Source::Srv { .. });
    let mut wanted = BTreeSet::new();
    for (name, port) in found {
        let Ok(name) = Atom::new(&name) else { continue };
        if own.as_ref() == Some(&name) {
            continue;
        }
        if states_ports {
            node.set_peer_port(name.as_str(), port);
        }
        wanted.insert(name);
    }
    let changes = machine.want(now, index, wanted);
    for node in changes.wanted {
        tracing::info!(%node, %source, "wanted");
    }
    for name in changes.released {
        if states_ports {
            node.set_peer_port(name.as_str(), None);
        }
        tracing::info!(node = %name, %source, "not wanted any more");
    }
}

async fn connected(node: &Node) -> BTreeSet<Atom> {
    node.nodes().await.into_iter().map(|info| info.name).collect()
}

fn look(
    node: &Node,
    source: usize,
    what: Source,
    servers: Option<NameServers>,
) -> Pin<Box<dyn Future<Output = Done>>> {
    if let Source::Static(nodes) = &what {
        let found = Ok(nodes.iter().map(|node| (node.clone(), None)).collect());
        return Box::pin(ready(Done::Looked { source, found }));
    }
    let config = node.config();
    let own = node.name();
    let head = own.as_ref().and_then(|name| name.as_str().split('@').next()).unwrap_or_default();
    let around = Surroundings {
        head: head.to_owned(),
        epmd_port: config.epmd_port,
        family: config.address_family,
        name_type: config.name_type,
        servers,
    };
    let looked = node.blocking(move || what.look(&around));
    Box::pin(async move {
        let found = looked.await.unwrap_or(Err(SourceFailure::Stopped));
        Done::Looked { source, found }
    })
}

fn dial(node: &Node, peer: Atom) -> Pin<Box<dyn Future<Output = Done>>> {
    let dialled = node.connect(peer.as_str());
    Box::pin(async move { Done::Dialled { node: peer, outcome: dialled.await } })
}
