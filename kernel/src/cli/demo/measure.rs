//! What a measurement gives: latencies of round trips, rates of streams.

use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

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

/// When a measurement of round trips is over: after its time, but not with a handful of trips
/// because the machine was busy elsewhere, unless that lasts.
pub(super) struct Span {
    end: Instant,
    last_end: Instant,
    warm: Instant,
}

/// So many round trips make a median that is worth showing.
const TRIPS_MIN: u64 = 1000;

impl Span {
    /// A measurement that begins now.
    pub(super) fn new(duration: Duration) -> Self {
        let now = Instant::now();
        Self { end: now + duration, last_end: now + 3 * duration, warm: now + duration / 10 }
    }

    /// Whether a trip that ended now counts; the first ones warm things up.
    pub(super) fn counts(&self, now: Instant) -> bool {
        now > self.warm
    }

    /// Whether to stop after `trips`.
    pub(super) fn is_over(&self, now: Instant, trips: u64) -> bool {
        now > self.last_end || (now > self.end && trips >= TRIPS_MIN)
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
