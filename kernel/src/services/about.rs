//! What a node says of itself: the maps behind `krarup:info/0` and `krarup:metrics/0`.

use std::time::Duration;

use krarup_transport::term::{Atom, Map, Term};

use crate::atoms::atom;
use crate::node::{Node, ShardStats, TimeHistogram};
use crate::process::Process;

/// Name, version, uptime, shards, links; `docs/reference/services.md` lists the keys.
pub(super) async fn info(me: &Process) -> Term {
    let node = me.node();
    let nodes = node.nodes().await;
    let own = node.name().map_or_else(|| atom("nonode@nohost"), Term::Atom);
    let links = nodes.into_iter().map(|info| Term::Atom(info.name)).collect();
    map([
        ("name", own),
        ("version", Term::Binary(env!("CARGO_PKG_VERSION").as_bytes().to_vec().into())),
        ("uptime", number(milliseconds(node.uptime()))),
        ("shards", number(node.shards() as u64)),
        ("port", number(u64::from(node.port().unwrap_or(0)))),
        ("creation", number(u64::from(node.creation().map_or(0, |creation| creation.0)))),
        ("links", Term::List(links)),
    ])
}

/// Sums over all shards, and one map for each link.
pub(super) async fn metrics(me: &Process) -> Term {
    let stats = me.node().stats().await;
    let sum = |count: fn(&ShardStats) -> u64| number(stats.iter().map(count).sum());
    let links = stats.iter().flat_map(|shard| &shard.links).map(|link| {
        map([
            ("node", Term::Atom(link.node.clone())),
            ("shard", number(link.shard as u64)),
            ("lane", link.lane.map_or_else(|| atom("none"), |lane| number(lane.lane.into()))),
            ("received_bytes", number(link.received_bytes)),
            ("sent_bytes", number(link.sent_bytes)),
            ("received_signals", number(link.received_signals)),
            ("sent_signals", number(link.sent_signals)),
            ("queued_bytes", number(link.queued_bytes as u64)),
            ("missed_tick_intervals", number(link.missed_tick_intervals.into())),
            ("silent_intervals", number(link.silent_intervals.into())),
            ("last_received", number(milliseconds(link.last_received))),
            ("sent_ticks", number(link.sent_ticks)),
            ("busy", number(milliseconds(link.busy))),
            ("busy_times", number(link.busy_times)),
            ("resumes", number(link.lane.map_or(0, |lane| lane.resumes))),
            ("is_connected", Term::from(link.lane.is_none_or(|lane| lane.is_connected))),
            ("retained_bytes", number(link.lane.map_or(0, |lane| lane.retained_bytes as u64))),
        ])
    });
    let connections = me.node().connection_stats().await;
    let downs = connections.downs.into_iter().map(|(reason, count)| (reason, number(count)));
    let failures =
        connections.failures.into_iter().map(|(step, count)| (step.to_owned(), number(count)));
    let shards = stats.iter().enumerate().map(|(shard, stats)| {
        let microseconds = |times: &TimeHistogram, share| match times.quantile(share) {
            Some(bound) => number(u64::try_from(bound.as_micros()).unwrap_or(u64::MAX)),
            None => atom("unknown"),
        };
        map([
            ("shard", number(shard as u64)),
            ("links", number(stats.links.len() as u64)),
            ("processes", number(stats.processes as u64)),
            ("mailbox_bytes", number(stats.mailbox_bytes as u64)),
            ("mailbox_bytes_max", number(stats.mailbox_bytes_max as u64)),
            ("long_turns", number(stats.long_turns)),
            ("passes", number(stats.driver.passes)),
            ("parks", number(stats.driver.parks)),
            ("kicks", number(stats.driver.kicks)),
            ("messages", number(stats.driver.messages)),
            ("turn_median", microseconds(&stats.turns, 0.5)),
            ("turn_99", microseconds(&stats.turns, 0.99)),
            ("wait_median", microseconds(&stats.waits, 0.5)),
            ("wait_99", microseconds(&stats.waits, 0.99)),
        ])
    });
    map([
        ("ups", number(connections.ups)),
        ("downs", counts(downs)),
        ("connect_failures", counts(failures)),
        ("refusals", number(connections.refusals)),
        ("registered_names", number(connections.registered_names as u64)),
        ("mailbox_bytes", sum(|shard| shard.mailbox_bytes as u64)),
        ("shards", Term::List(shards.collect())),
        ("processes", sum(|shard| shard.processes as u64)),
        ("long_turns", sum(|shard| shard.long_turns)),
        ("passes", sum(|shard| shard.driver.passes)),
        ("parks", sum(|shard| shard.driver.parks)),
        ("kicks", sum(|shard| shard.driver.kicks)),
        ("links", Term::List(links.collect())),
    ])
}

/// The pids of all processes.
pub(super) async fn processes(node: &Node) -> Term {
    Term::List(node.processes().await.into_iter().map(Term::Pid).collect())
}

fn map<const N: usize>(entries: [(&'static str, Term); N]) -> Term {
    let mut map = Map::new();
    for (key, value) in entries {
        map.insert(atom(key), value);
    }
    Term::Map(map)
}

/// A map with atoms of this program as keys.
fn counts(entries: impl Iterator<Item = (String, Term)>) -> Term {
    let mut map = Map::new();
    for (key, value) in entries {
        // Each is short enough for an atom.
        if let Ok(key) = Atom::new(&key) {
            map.insert(Term::Atom(key), value);
        }
    }
    Term::Map(map)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn number(value: u64) -> Term {
    Term::from(value)
}
