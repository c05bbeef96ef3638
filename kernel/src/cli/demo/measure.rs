//! What a measurement gives: latencies of round trips, rates of streams.

use hdrhistogram::Histogram;
use std::time::Duration;

/// The latencies of many round trips.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    histogram: Histogram<u64>,
}

impl Sample {
    /// Takes a histogram of nanoseconds.
    pub(super) fn new(histogram: Histogram<u64>) -> Self {
        Self { histogram }
    }

    /// How many round trips were measured.
    pub(super) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The median.
    pub(super) fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    /// The value 99 of 100 stay below.
    pub(super) fn p99(&self) -> Duration {
        self.quantile(0.99)
    }

    /// The value that this part of all round trips stays below, from 0 to 1.
    pub(super) fn quantile(&self, part: f64) -> Duration {
        Duration::from_nanos(self.histogram.value_at_quantile(part))
    }
}

/// The rate of a one-way stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    /// Messages that arrived.
    pub(super) messages: u64,
    /// The size of each.
    pub(super) message_bytes: u64,
    /// From the first send until the receiver confirmed the last.
    pub(super) elapsed: Duration,
}

impl Stream {
    /// Messages a second.
    pub(super) fn messages_per_second(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Payload bytes a second.
    pub(super) fn bytes_per_second(&self) -> f64 {
        self.messages_per_second() * self.message_bytes as f64
    }
}
