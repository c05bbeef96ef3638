//! What a node counts, for those who watch it.

use std::time::Duration;

use krarup_transport::shard::Counters;
use krarup_transport::term::Atom;

/// The traffic of one link so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStats {
    /// The node at the other end.
    pub node: Atom,
    /// The shard that owns the link.
    pub shard: usize,
    /// What is to be said of a lane to a Krarup node; nothing for a link to an Erlang node.
    pub lane: Option<LaneStats>,
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
    /// Intervals of the tick time, a quarter of it unless set otherwise, in which nothing came.
    pub missed_tick_intervals: u32,
    /// How many of them there were in a row up to now.
    pub silent_intervals: u32,
    /// How long ago something came, as far as the shard has looked: a look is due ten times a
    /// second, more rarely with thousands of links.
    pub last_received: Duration,
    /// Bytes that wait to be written.
    pub queued_bytes: usize,
}

/// What a lane has beyond a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStats {
    /// Its number.
    pub lane: u8,
    /// Whether it has a connection now.
    pub is_connected: bool,
    /// Times that a connection took it over from one that broke.
    pub resumes: u64,
    /// Bytes that were sent again for that.
    pub replayed_bytes: u64,
    /// Bytes kept because the peer has not acknowledged them.
    pub retained_bytes: usize,
    /// Frames whose checksum was wrong.
    pub checksum_errors: u64,
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
