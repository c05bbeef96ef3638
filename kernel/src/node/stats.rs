//! What a node counts, for those who watch it.

use std::collections::BTreeMap;
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
    /// How long the link was too full for another message, all in all.
    pub busy: Duration,
    /// How often it became so.
    pub busy_times: u64,
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
    /// Bytes in their mailboxes, with some bookkeeping for each signal.
    pub mailbox_bytes: usize,
    /// Bytes in the fullest of these.
    pub mailbox_bytes_max: usize,
    /// Turns of processes that held the shard up for 10 ms or more.
    pub long_turns: u64,
    /// How long turns of processes are: a sample, one in 61.
    pub turns: TimeHistogram,
    /// How long processes that a signal woke waited for their turn: a sample, one in 61.
    pub waits: TimeHistogram,
    /// What its driver did.
    pub driver: Counters,
}

/// What became of connections since a node's start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// Nodes that came up.
    pub ups: u64,
    /// Nodes that went down, by the reason as an atom (OTP: `nodedown_reason`).
    pub downs: BTreeMap<String, u64>,
    /// Attempts that failed, inbound or outbound, by [`ConnectError::step`](crate::ConnectError).
    pub failures: BTreeMap<&'static str, u64>,
    /// Inbound connections that were refused.
    pub refusals: u64,
    /// Registered names.
    pub registered_names: usize,
}

/// Lengths of time in buckets, each twice as wide as the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeHistogram {
    /// Those of up to 1 µs, of up to 2 µs, and so on.
    buckets: [u64; TimeHistogram::BUCKETS],
    /// Those longer than all these.
    longer: u64,
    sum: Duration,
}

impl TimeHistogram {
    /// Up to 2^19 µs, half a second.
    const BUCKETS: usize = 20;

    pub(crate) fn note(&mut self, took: Duration) {
        self.sum += took;
        // Rounded up, so that exactly 2 µs are not more than 2 µs.
        let microseconds = took.as_nanos().div_ceil(1000).max(1);
        let bucket = microseconds.next_power_of_two().trailing_zeros() as usize;
        match self.buckets.get_mut(bucket) {
            Some(count) => *count += 1,
            None => self.longer += 1,
        }
    }

    /// For each bucket, its upper bound and how many were no longer than that.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> {
        let bounds = (0..).map(|power| Duration::from_micros(1 << power));
        let sums = self.buckets.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        bounds.zip(sums)
    }

    /// How many were timed.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum::<u64>() + self.longer
    }

    /// How long they took together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The bound that a share of them, from 0 to 1, does not exceed: within a factor of two. None
    /// before the first, and when it is beyond the last bucket.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = ((self.count() as f64) * share).ceil() as u64;
        self.cumulative().find(|(_, sum)| *sum > 0 && *sum >= wanted).map(|(bound, _)| bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_by_powers_of_two() {
        let mut times = TimeHistogram::default();
        assert_eq!(times.quantile(0.5), None);
        for nanoseconds in [0, 1000, 1001, 2000, 2001, 524_288_000, 524_288_001, 9_000_000_000] {
            times.note(Duration::from_nanos(nanoseconds));
        }
        let sums: Vec<(Duration, u64)> = times.cumulative().collect();
        assert_eq!(sums[0], (Duration::from_micros(1), 2));
        assert_eq!(sums[1], (Duration::from_micros(2), 4));
        assert_eq!(sums[2], (Duration::from_micros(4), 5));
        assert_eq!(sums[19], (Duration::from_micros(524_288), 6));
        assert_eq!(times.count(), 8);
        assert_eq!(times.quantile(0.5), Some(Duration::from_micros(2)));
        assert_eq!(times.quantile(1.0), None, "beyond what is told apart");
        assert!(times.sum() > Duration::from_secs(10));
    }
}
