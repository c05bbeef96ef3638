//! When the messages of an open loop are due.
//!
//! Message n is due n intervals after the start. Latency counts from there and not from when the
//! message could be sent: a system that stands still for a while makes all that fell due meanwhile
//! late, and the figures say so (no coordinated omission).

use std::time::{Duration, Instant};

use crate::protocol::WorkerConfig;

const NANOSECONDS: u128 = 1_000_000_000;

/// The due times of one measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    start: Instant,
    rate: u32,
    warm_up: Duration,
    total: u64,
}

impl Schedule {
    /// A schedule that starts now, with the rate and times of this worker.
    pub(crate) fn start(now: Instant, config: &WorkerConfig) -> Schedule {
        Schedule::new(now, config.rate, config.warm_up(), config.duration())
    }

    /// A schedule for this rate and these times.
    pub(crate) fn new(
        start: Instant,
        rate: u32,
        warm_up: Duration,
        duration: Duration,
    ) -> Schedule {
        let total = (warm_up + duration).as_nanos() * u128::from(rate) / NANOSECONDS;
        // Rates and times are bounded by the command line: an hour at 10⁹ per second fits.
        Schedule { start, rate, warm_up, total: u64::try_from(total).unwrap_or(u64::MAX).max(1) }
    }

    /// How many messages there are.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// How many messages are due at this time.
    pub(crate) fn due(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start).as_nanos();
        let count = since * u128::from(self.rate) / NANOSECONDS + 1;
        u64::try_from(count).unwrap_or(u64::MAX).min(self.total)
    }

    fn after_start(&self, sequence: u64) -> Duration {
        let nanoseconds = u128::from(sequence) * NANOSECONDS / u128::from(self.rate.max(1));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// When the last message is due.
    pub(crate) fn end(&self) -> Instant {
        self.start + self.after_start(self.total)
    }

    /// How late an answer is, when its message was due after the warm-up.
    pub(crate) fn latency(&self, sequence: u64, answered: Instant) -> Option<Duration> {
        let due = self.after_start(sequence);
        (due >= self.warm_up).then(|| answered.saturating_duration_since(self.start + due))
    }

    /// The measured time, when the last answer came now.
    pub(crate) fn measured_until(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start + self.warm_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> (Schedule, Instant) {
        let start = Instant::now();
        (Schedule::new(start, 1000, Duration::from_millis(10), Duration::from_millis(90)), start)
    }

    #[test]
    fn messages_fall_due_one_after_another() {
        let (schedule, start) = schedule();
        assert_eq!(schedule.total(), 100);
        assert_eq!(schedule.due(start), 1);
        assert_eq!(schedule.due(start + Duration::from_micros(999)), 1);
        assert_eq!(schedule.due(start + Duration::from_millis(1)), 2);
        assert_eq!(schedule.due(start + Duration::from_secs(9)), 100);
    }

    #[test]
    fn a_pause_makes_everything_late_that_fell_due_in_it() {
        let (schedule, start) = schedule();
        let after_pause = start + Duration::from_millis(50);
        assert_eq!(schedule.latency(9, after_pause), None, "it was due in the warm-up");
        assert_eq!(schedule.latency(10, after_pause), Some(Duration::from_millis(40)));
        assert_eq!(schedule.latency(49, after_pause), Some(Duration::from_millis(1)));
        assert_eq!(schedule.measured_until(after_pause), Duration::from_millis(40));
    }
}
