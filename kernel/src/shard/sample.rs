//! How long the turns of processes are, from a sample of them.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use crate::node::TurnHistogram;

/// One turn in so many is timed: two looks at the clock cost more than a short turn. A prime, so
/// that no pattern of processes that take turns is always seen at the same place.
const TURNS_PER_SAMPLE: u32 = 61;

/// Times some of the turns of a shard.
pub(super) struct TurnSample {
    /// Turns until the next one that is timed.
    left: Cell<u32>,
    histogram: RefCell<TurnHistogram>,
}

impl Default for TurnSample {
    fn default() -> Self {
        TurnSample { left: Cell::new(TURNS_PER_SAMPLE), histogram: RefCell::default() }
    }
}

impl TurnSample {
    /// A turn begins: when, if it is one of those that are timed.
    #[inline]
    pub(super) fn begin(&self) -> Option<Instant> {
        let left = self.left.get() - 1;
        if left > 0 {
            self.left.set(left);
            return None;
        }
        self.left.set(TURNS_PER_SAMPLE);
        Some(Instant::now())
    }

    /// A turn that is timed is over.
    #[cold]
    pub(super) fn end(&self, began: Instant) {
        self.note(began.elapsed());
    }

    fn note(&self, took: Duration) {
        self.histogram.borrow_mut().note(took);
    }

    pub(super) fn histogram(&self) -> TurnHistogram {
        *self.histogram.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_turn_in_so_many_is_timed() {
        let sample = TurnSample::default();
        let timed = (0..TURNS_PER_SAMPLE * 3).filter_map(|_| sample.begin());
        timed.for_each(|began| sample.end(began));
        assert_eq!(sample.histogram().count(), 3);
    }
}
