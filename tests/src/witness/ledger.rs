//! What a subscriber may see of other nodes, and in which order.

use std::collections::{BTreeMap, HashMap};

use super::Report;

/// Complaints kept; one is enough for a test to fail.
const VIOLATIONS_KEPT_MAX: usize = 20;

/// A message of a witness to all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) node: String,
    /// Greater in every life of the node.
    pub(super) life: u64,
    /// Which sender of the node it is from.
    pub(super) sender: u64,
    /// One more than that of the sender's last one.
    pub(super) number: u64,
    /// How long it was under way.
    pub(super) late_ms: u64,
}

/// Everything that one process was told of other nodes, and what was wrong with it.
///
/// `nodeup` comes before any message of the node, and after the node shows in `nodes()`;
/// `nodedown` after its last message, and after it has left `nodes()`; they alternate. Between the
/// two nothing of one sender is lost, repeated or out of order, and nothing comes of a former life.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    peers: HashMap<String, Peer>,
    events: Vec<String>,
    answers: u64,
    bulk_bytes: u64,
    violations: Vec<String>,
}

#[derive(Debug, Default)]
struct Peer {
    is_up: bool,
    /// It was connected before this process asked to be told; its `nodeup` may have been before.
    is_early: bool,
    /// `nodes()` was ahead of the last event: the next one has to come.
    owes_event: bool,
    life: u64,
    /// What each sender sent last, in this life and since the last `nodeup`.
    streams: BTreeMap<u64, Stream>,
    late_ms_max: u64,
}

#[derive(Debug, Default)]
struct Stream {
    received: u64,
    last: Option<u64>,
}

impl Ledger {
    /// Nodes that were connected right after this process asked to be told of others.
    pub(super) fn early(&mut self, nodes: impl IntoIterator<Item = String>) {
        let early = || Peer { is_up: true, is_early: true, ..Peer::default() };
        self.peers.extend(nodes.into_iter().map(|node| (node, early())));
    }

    pub(super) fn up(&mut self, node: &str, in_nodes: bool) {
        let peer = self.peers.entry(node.to_owned()).or_default();
        let was_up = std::mem::replace(&mut peer.is_up, true) && !peer.is_early;
        peer.is_early = false;
        peer.owes_event = !in_nodes;
        self.events.push(format!("up {node}"));
        if was_up {
            self.complain(format!("a second nodeup of {node}"));
        }
    }

    pub(super) fn down(&mut self, node: &str, reason: &str, in_nodes: bool) {
        let peer = self.peers.entry(node.to_owned()).or_default();
        let was_up = std::mem::replace(&mut peer.is_up, false);
        peer.is_early = false;
        peer.owes_event = in_nodes;
        for stream in peer.streams.values_mut() {
            stream.last = None;
        }
        self.events.push(format!("down {node} {reason}"));
        if !was_up {
            self.complain(format!("a nodedown of {node}, which is not up"));
        }
    }

    pub(super) fn beat(&mut self, beat: &Beat) {
        let peer = self.peers.entry(beat.node.clone()).or_default();
        let is_up = peer.is_up;
        let former = peer.life;
        peer.life = beat.life.max(former);
        peer.late_ms_max = peer.late_ms_max.max(beat.late_ms);
        let stream = peer.streams.entry(beat.sender).or_default();
        let last = stream.last.replace(beat.number);
        stream.received += 1;
        if !is_up {
            self.complain(format!("{beat:?} although the node is not up"));
        }
        if beat.life < former {
            self.complain(format!("{beat:?} after life {former}"));
        }
        if last.is_some_and(|last| beat.number != last + 1) {
            self.complain(format!("{beat:?} after number {last:?}"));
        }
    }

    /// An answer came to a process of life `to`.
    pub(super) fn answer(&mut self, to: u64, own_life: u64) {
        self.answers += 1;
        if to != own_life {
            self.complain(format!("an answer to life {to} came in life {own_life}"));
        }
    }

    pub(super) fn bulk(&mut self, bytes: usize) {
        self.bulk_bytes += bytes as u64;
    }

    pub(super) fn complain(&mut self, violation: String) {
        if self.violations.len() < VIOLATIONS_KEPT_MAX {
            self.violations.push(violation);
        }
    }

    /// Adds what this process saw to what others of its node did. The fewest beats count.
    pub(super) fn add_to(&self, report: &mut Report, senders: u64) {
        for (node, peer) in &self.peers {
            let received = |sender| peer.streams.get(&sender).map_or(0, |stream| stream.received);
            let fewest = (0..senders).map(received).min().unwrap_or(0);
            let beats = report.beats.entry(node.clone()).or_insert(fewest);
            *beats = fewest.min(*beats);
            let late = report.late_ms.entry(node.clone()).or_default();
            *late = peer.late_ms_max.max(*late);
            if peer.owes_event {
                report.owed.push(node.clone());
            }
        }
        report.answers += self.answers;
        report.bulk_bytes += self.bulk_bytes;
        report.events.push(self.events.clone());
        report.violations.extend(self.violations.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(life: u64, number: u64) -> Beat {
        Beat { node: "a".to_owned(), life, sender: 0, number, late_ms: 0 }
    }

    fn violations(run: impl FnOnce(&mut Ledger)) -> usize {
        let mut ledger = Ledger::default();
        ledger.up("a", true);
        ledger.beat(&beat(1, 5));
        run(&mut ledger);
        ledger.violations.len()
    }

    #[test]
    fn what_may_be_seen_is_no_violation() {
        let seen = violations(|ledger| {
            ledger.beat(&beat(1, 6));
            ledger.down("a", "connection_closed", false);
            ledger.up("a", true);
            ledger.beat(&beat(1, 9));
            ledger.down("a", "connection_closed", false);
            ledger.up("a", true);
            ledger.beat(&beat(2, 1));
            ledger.answer(7, 7);
        });
        assert_eq!(seen, 0);
    }

    #[test]
    fn what_may_not_be_seen_is_one() {
        assert_eq!(violations(|ledger| ledger.up("a", true)), 1, "up twice");
        assert_eq!(violations(|ledger| ledger.beat(&beat(1, 7))), 1, "one is lost");
        assert_eq!(violations(|ledger| ledger.beat(&beat(1, 5))), 1, "one comes twice");
        let former = |ledger: &mut Ledger| {
            ledger.down("a", "connection_closed", false);
            ledger.up("a", true);
            ledger.beat(&beat(0, 6));
        };
        assert_eq!(violations(former), 1);
        let late = |ledger: &mut Ledger| {
            ledger.down("a", "connection_closed", false);
            ledger.beat(&beat(1, 6));
            ledger.down("a", "connection_closed", false);
        };
        assert_eq!(violations(late), 2, "a message and a nodedown of one that is down");
        assert_eq!(violations(|ledger| ledger.answer(6, 7)), 1);
    }
}
