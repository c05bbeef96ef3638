//! A bound on the log lines that others can cause.
//!
//! Whoever reaches the port can make a node refuse connections as fast as it can dial, for years.
//! Each refusal is worth a line, ten thousand of them are not: they fill disks and hide what matters.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Lets a number of lines through at once, then one in a while, and counts what it holds back.
pub(super) struct Throttle {
    /// What comes at once fits in here.
    room: Duration,
    every: Duration,
    /// When all that was let through has been paid for, at one line in `every`.
    paid: Cell<Option<Instant>>,
    held_back: Cell<u64>,
}

impl Throttle {
    /// A throttle that lets `burst` lines through at once, and one more in each `every`.
    pub(super) fn new(burst: u32, every: Duration) -> Self {
        let room = every * burst.saturating_sub(1);
        Throttle { room, every, paid: Cell::default(), held_back: Cell::default() }
    }

    /// Whether a line may be written now; with it, how many were held back since the last one.
    pub(super) fn admit(&self, now: Instant) -> Option<u64> {
        let paid = self.paid.get().map_or(now, |paid| paid.max(now));
        if paid - now > self.room {
            self.held_back.set(self.held_back.get() + 1);
            return None;
        }
        self.paid.set(Some(paid + self.every));
        Some(self.held_back.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_there_is_one_line_in_a_while_that_says_what_was_held_back() {
        let throttle = Throttle::new(2, Duration::from_secs(10));
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(throttle.admit(at(0)), Some(0));
        assert_eq!(throttle.admit(at(1)), Some(0));
        assert_eq!(throttle.admit(at(2)), None);
        assert_eq!(throttle.admit(at(9999)), None);
        assert_eq!(throttle.admit(at(10_000)), Some(2));
        assert_eq!(throttle.admit(at(10_001)), None);
        assert_eq!(throttle.admit(at(40_000)), Some(1));
        assert_eq!(throttle.admit(at(40_000)), Some(0));
        assert_eq!(throttle.admit(at(40_000)), None);
    }

    #[test]
    fn a_flood_of_a_day_makes_no_more_lines_than_somebody_can_read() {
        let throttle = Throttle::new(100, Duration::from_secs(10));
        let start = Instant::now();
        let lines = (0..86_400_u64)
            .flat_map(|second| [second; 20])
            .filter(|second| throttle.admit(start + Duration::from_secs(*second)).is_some());
        assert_eq!(lines.count(), 100 + 8639);
    }
}
