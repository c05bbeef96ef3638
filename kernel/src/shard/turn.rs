//! How long processes hold their shard.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::Shard;
use super::throttle::Throttle;
use crate::process::ProcessCell;

/// A process that has more to receive or send goes on for so long before others run.
const TURN_MAX: Duration = Duration::from_millis(1);

/// A turn from this length on is logged and counted: the shard's links waited for it.
const LONG_TURN_MIN: Duration = Duration::from_millis(10);

/// Lines about long turns at once, and time between two more: peers can make turns long, by large
/// arguments of functions.
const LINES_MAX: u32 = 100;
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The bound on the lines about long turns.
pub(super) fn long_turn_log() -> Throttle {
    Throttle::new(LINES_MAX, LINE_EVERY)
}

/// The turn of a process: from where the executor polls it until it gives way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// By the coarse clock, which costs a fifth of the exact one and is some milliseconds behind:
    /// most turns are over within a microsecond, and are never asked.
    began: Duration,
    /// When it was first asked whether it is over.
    asked: Option<Instant>,
}

impl Turn {
    #[inline]
    pub(super) fn begin() -> Turn {
        Turn { began: coarse_now(), asked: None }
    }

    /// How long it has taken, to some milliseconds.
    fn took(self) -> Duration {
        coarse_now().saturating_sub(self.began)
    }
}

#[inline]
fn coarse_now() -> Duration {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec.cast_unsigned() as u32)
}

impl Shard {
    /// Whether the process that runs has had its turn and must let others run. It is asked now and
    /// then; the time counts from the first question.
    pub(crate) fn is_turn_over(&self) -> bool {
        let turn = self.turn.get();
        match turn.asked {
            Some(asked) => asked.elapsed() >= TURN_MAX,
            None => {
                self.turn.set(Turn { asked: Some(Instant::now()), ..turn });
                false
            }
        }
    }

    /// Logs and counts a turn that was too long.
    pub(super) fn note_turn(&self, cell: &ProcessCell) {
        let took = self.turn.get().took();
        if took >= LONG_TURN_MIN {
            self.long_turns.set(self.long_turns.get() + 1);
            let Some(held_back) = self.long_turn_log.admit(Instant::now()) else { return };
            let took_ms = took.as_millis();
            let pid = self.pid(cell.id());
            tracing::warn!(
                %pid,
                took_ms,
                held_back,
                "a process held up its shard; see Node::blocking"
            );
        }
    }
}
