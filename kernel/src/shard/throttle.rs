//! A bound on the log lines that strangers can cause.
//!
//! Whoever reaches the port can make a node refuse connections as fast as it can dial. Each refusal
//! is worth a line, ten thousand of them are not: they fill disks and hide what matters.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The time that [`Throttle`] counts lines in.
const WINDOW: Duration = Duration::from_secs(1);

/// Lets a number of lines through in each second, and counts what it holds back.
pub(super) struct Throttle {
    lines_max: u32,
    /// When the current second began.
    window: Cell<Option<Instant>>,
    lines: Cell<u32>,
    held_back: Cell<u64>,
}

impl Throttle {
    /// A throttle that lets `lines_max` lines a second through.
    pub(super) fn new(lines_max: u32) -> Self {
        Throttle {
            lines_max,
            window: Cell::default(),
            lines: Cell::default(),
            held_back: Cell::default(),
        }
    }

    /// Whether a line may be written now; with it, how many were held back since the last one.
    pub(super) fn admit(&self, now: Instant) -> Option<u64> {
        if self.window.get().is_none_or(|start| now.saturating_duration_since(start) >= WINDOW) {
            self.window.set(Some(now));
            self.lines.set(0);
        }
        if self.lines.get() >= self.lines_max {
            self.held_back.set(self.held_back.get() + 1);
            return None;
        }
        self.lines.set(self.lines.get() + 1);
        Some(self.held_back.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_lines_and_the_next_one_says_what_was_held_back() {
        let throttle = Throttle::new(2);
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(throttle.admit(at(0)), Some(0));
        assert_eq!(throttle.admit(at(1)), Some(0));
        assert_eq!(throttle.admit(at(2)), None);
        assert_eq!(throttle.admit(at(999)), None);
        assert_eq!(throttle.admit(at(1000)), Some(2));
        assert_eq!(throttle.admit(at(1001)), Some(0));
        assert_eq!(throttle.admit(at(1002)), None);
        assert_eq!(throttle.admit(at(5000)), Some(1));
    }
}
