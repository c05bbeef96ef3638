//! Waiting for a condition with a deadline, and saying what a machine lacks.

use std::time::{Duration, Instant};

/// How long to leave the processor to others between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Looks at a condition until it holds and returns what it yields.
///
/// # Panics
///
/// When `within` has passed: the test failed, and `what` says what it waited for.
pub fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(start.elapsed() < within, "waited {within:?} in vain: {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Whether `tests/run` found that this machine cannot have `part` (`otp-27`, `netns`), in which
/// case the test has nothing to run on and returns at once. `tests/run` has then said so, and why;
/// where it is not in charge nothing counts as missing, and the test fails for want of the part.
pub fn missing(part: &str) -> bool {
    let skipped = std::env::var("KRARUP_SKIP").unwrap_or_default();
    let is_missing = skipped.split_whitespace().any(|word| word == part);
    if is_missing {
        eprintln!("skipped: this machine cannot have {part}");
    }
    is_missing
}
