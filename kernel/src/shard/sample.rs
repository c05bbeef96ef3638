//! How long the turns of processes are, and how long processes wait for them, from samples.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use crate::node::TimeHistogram;
use crate::process::ProcessId;

/// One in so many is timed: two looks at the clock cost more than a short turn. A prime, so that no
/// pattern of processes that take turns is always seen at the same place.
const EVENTS_PER_SAMPLE: u32 = 61;

/// Picks one event in [`EVENTS_PER_SAMPLE`].
struct Countdown(Cell<u32>);

impl Default for Countdown {
    fn default() -> Self {
        Countdown(Cell::new(EVENTS_PER_SAMPLE))
    }
}

impl Countdown {
    /// Whether this event is one of those that are timed.
    #[inline]
    fn is_over(&self) -> bool {
        let left = self.0.get() - 1;
        let is_over = left == 0;
        self.0.set(if is_over { EVENTS_PER_SAMPLE } else { left });
        is_over
    }
}

/// Times some of the turns of a shard.
#[derive(Default)]
pub(super) struct TurnSample {
    countdown: Countdown,
    histogram: RefCell<TimeHistogram>,
}

impl TurnSample {
    /// A turn begins: when, if it is one of those that are timed.
    #[inline]
    pub(super) fn begin(&self) -> Option<Instant> {
        self.countdown.is_over().then(Instant::now)
    }

    /// A turn that is timed is over.
    #[cold]
    pub(super) fn end(&self, began: Instant) {
        self.histogram.borrow_mut().note(began.elapsed());
    }

    pub(super) fn histogram(&self) -> TimeHistogram {
        *self.histogram.borrow()
    }
}

/// Times some of the waits of processes that a signal woke, one at a time.
#[derive(Default)]
pub(super) struct WaitSample {
    countdown: Countdown,
    timed: Cell<Option<(ProcessId, Instant)>>,
    histogram: RefCell<TimeHistogram>,
}

impl WaitSample {
    /// A process waits for its turn from now on.
    #[inline]
    pub(super) fn begin(&self, process: ProcessId) {
        if self.countdown.is_over() {
            self.time(process);
        }
    }

    #[cold]
    fn time(&self, process: ProcessId) {
        if self.timed.get().is_none() {
            self.timed.set(Some((process, Instant::now())));
        }
    }

    /// Whose wait is timed.
    #[inline]
    pub(super) fn timed(&self) -> Option<ProcessId> {
        self.timed.get().map(|(process, _)| process)
    }

    /// The process whose wait is timed has its turn, or has ended before it.
    #[cold]
    pub(super) fn end(&self) {
        if let Some((_, since)) = self.timed.take() {
            self.histogram.borrow_mut().note(since.elapsed());
        }
    }

    pub(super) fn histogram(&self) -> TimeHistogram {
        *self.histogram.borrow()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_turn_in_so_many_is_timed() {
        let sample = TurnSample::default();
        let timed = (0..EVENTS_PER_SAMPLE * 3).filter_map(|_| sample.begin());
        timed.for_each(|began| sample.end(began));
        assert_eq!(sample.histogram().count(), 3);
    }

    #[test]
    fn a_wait_is_timed_to_the_turn_of_the_same_process() {
        let sample = WaitSample::default();
        let process = |slot| ProcessId { shard: 0, slot, generation: 1 };
        for _ in 0..EVENTS_PER_SAMPLE {
            sample.begin(process(7));
        }
        assert_eq!(sample.timed(), Some(process(7)));
        // While one is timed, no other is.
        for _ in 0..EVENTS_PER_SAMPLE {
            sample.begin(process(8));
        }
        let until = Instant::now() + Duration::from_millis(2);
        while Instant::now() < until {}
        assert_eq!(sample.timed(), Some(process(7)));
        sample.end();
        assert_eq!(sample.timed(), None);
        sample.end();
        let histogram = sample.histogram();
        assert_eq!(histogram.count(), 1);
        assert!(histogram.sum() >= Duration::from_millis(2), "{histogram:?}");
    }
}
