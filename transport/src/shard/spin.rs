//! How long a driver looks for more before it parks.

use std::time::{Duration, Instant};

/// Most credit there is: so many long waits in vain, and none worth it, make waits short.
const CREDIT_MAX: u8 = 16;

/// Until when to spin, learnt from what spinning brought.
///
/// What was sent may be answered, and an answer that is found by spinning saves a sleep and a
/// wake-up. But where nobody answers in time, a long wait only burns the processor, and takes it
/// away from whoever could answer when both share it. So long waits must earn their time: one that
/// ends with something gives credit, one in vain, or during which another had the processor, takes
/// it away, and without credit all waits are short.
#[derive(Debug)]
pub(super) struct Spin {
    short: Duration,
    long: Duration,
    until: Instant,
    /// When something came or was sent last.
    last: Instant,
    /// Whether the wait since then is a long one.
    is_long: bool,
    credit: u8,
}

impl Spin {
    /// Spins `short` after something came and `long` after something was sent.
    pub(super) fn new(short: Duration, long: Duration, now: Instant) -> Spin {
        Spin { short, long, until: now, last: now, is_long: false, credit: CREDIT_MAX }
    }

    /// The same from now on with other times.
    pub(super) fn set(&mut self, short: Duration, long: Duration) {
        (self.short, self.long) = (short, long);
    }

    /// Whether to look again although nothing came.
    #[inline]
    pub(super) fn goes_on(&self, now: Instant) -> bool {
        now < self.until
    }

    /// Something came.
    #[inline]
    pub(super) fn came(&mut self, now: Instant) {
        let waited = now.duration_since(self.last);
        if waited > self.short {
            self.judge(waited <= self.long);
        }
        self.last = now;
        self.is_long = false;
        self.extend(now);
    }

    /// Something was sent.
    #[inline]
    pub(super) fn sent(&mut self, now: Instant) {
        self.is_long = self.credit > 0;
        let wait = if self.is_long { self.long } else { self.short };
        self.last = now;
        self.until = self.until.max(now + wait);
    }

    /// There was something to do, with which nobody is asked for anything.
    #[inline]
    pub(super) fn extend(&mut self, now: Instant) {
        self.until = self.until.max(now + self.short);
    }

    /// Nothing came, and the driver parks.
    pub(super) fn gave_up(&mut self) {
        self.judge(false);
        self.is_long = false;
    }

    /// Lets one long wait be tried again. To be called now and then.
    pub(super) fn forgive(&mut self) {
        self.credit = self.credit.max(1);
    }

    fn judge(&mut self, worth_it: bool) {
        if !self.is_long {
            return;
        }
        self.credit = match worth_it {
            true => (self.credit + 1).min(CREDIT_MAX),
            false => self.credit.saturating_sub(1),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(20);
    const LONG: Duration = Duration::from_micros(100);

    /// Sends and gives up when the wait is over, or finds something `after` so long.
    fn ask(spin: &mut Spin, now: &mut Instant, after: Option<Duration>) -> Duration {
        let start = *now;
        spin.sent(start);
        while spin.goes_on(*now) {
            if after.is_some_and(|after| *now - start >= after) {
                spin.came(*now);
                return *now - start;
            }
            *now += Duration::from_micros(1);
        }
        spin.gave_up();
        let waited = *now - start;
        *now += LONG;
        waited
    }

    #[test]
    fn answers_in_time_keep_waits_long() {
        let mut now = Instant::now();
        let mut spin = Spin::new(SHORT, LONG, now);
        for _ in 0..1000 {
            assert_eq!(ask(&mut spin, &mut now, Some(LONG * 3 / 4)), LONG * 3 / 4);
        }
    }

    #[test]
    fn waits_in_vain_become_short_and_are_tried_again() {
        let mut now = Instant::now();
        let mut spin = Spin::new(SHORT, LONG, now);
        for _ in 0..CREDIT_MAX {
            assert_eq!(ask(&mut spin, &mut now, None), LONG);
        }
        for _ in 0..100 {
            assert_eq!(ask(&mut spin, &mut now, None), SHORT);
        }
        spin.forgive();
        assert_eq!(ask(&mut spin, &mut now, None), LONG);
        assert_eq!(ask(&mut spin, &mut now, None), SHORT);
        spin.forgive();
        for _ in 0..100 {
            assert_eq!(ask(&mut spin, &mut now, Some(LONG / 2)), LONG / 2);
        }
    }

    #[test]
    fn a_wait_that_lost_the_processor_is_not_worth_it() {
        let mut now = Instant::now();
        let mut spin = Spin::new(SHORT, LONG, now);
        for _ in 0..CREDIT_MAX {
            spin.sent(now);
            now += Duration::from_millis(3);
            spin.came(now);
        }
        spin.sent(now);
        assert!(spin.goes_on(now + SHORT - Duration::from_micros(1)));
        assert!(!spin.goes_on(now + SHORT));
    }

    #[test]
    fn short_waits_in_vain_cost_nothing() {
        let mut now = Instant::now();
        let mut spin = Spin::new(SHORT, LONG, now);
        for _ in 0..100 {
            spin.came(now);
            now += SHORT;
            assert!(!spin.goes_on(now));
            spin.gave_up();
        }
        assert_eq!(ask(&mut spin, &mut now, None), LONG);
    }

    #[test]
    fn quick_answers_say_nothing_about_long_waits() {
        let mut now = Instant::now();
        let mut spin = Spin::new(SHORT, LONG, now);
        for _ in 0..CREDIT_MAX {
            ask(&mut spin, &mut now, None);
        }
        for _ in 0..100 {
            ask(&mut spin, &mut now, Some(SHORT / 2));
        }
        assert_eq!(ask(&mut spin, &mut now, None), SHORT);
    }
}
