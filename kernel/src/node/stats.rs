//! What a node counts, for those who watch it.

use krarup_transport::shard::Counters;
use krarup_transport::term::Atom;

/// The traffic of one link so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStats {
    /// The node at the other end.
    pub node: Atom,
    /// The shard that owns the link.
    pub shard: usize,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes that the socket took.
    pub sent_bytes: u64,
    /// Signals received, messages and others.
    pub received_signals: u64,
    /// Signals accepted for sending.
    pub sent_signals: u64,
    /// Ticks sent.
    pub sent_ticks: u64,
    /// Bytes that wait to be written.
    pub queued_bytes: usize,
}

/// What one shard has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Its links.
    pub links: Vec<LinkStats>,
    /// Processes alive.
    pub processes: usize,
    /// Turns of processes that held the shard up for 10 ms or more.
    pub long_turns: u64,
    /// What its driver did.
    pub driver: Counters,
}
