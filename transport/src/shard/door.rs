//! How other threads wake a shard, and see whether it is alive.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::io::Bell;

/// The driver runs.
const AWAKE: u8 = 0;

/// The driver's task waits, and with it the executor's thread.
const PARKED: u8 = 1;

/// The driver holds the thread in a wait of its own, where only the bell is heard.
const NAPPING: u8 = 2;

/// The part of a shard that other threads may touch.
///
/// A shard that is about to park says so in `rest` and then looks at its queues once more; whoever
/// pushes something looks at `rest` after pushing. Between the two steps of each side stands a
/// sequentially consistent fence, so at least one of them sees the other's.
#[repr(align(128))]
pub struct Door {
    /// How the driver waits, if it does.
    rest: AtomicU8,
    /// The driver has ended.
    closed: AtomicBool,
    /// Passes of the driver: the sign of life that the kick watches.
    passes: AtomicU64,
    /// When the driver wants to run again at the latest, in milliseconds since `epoch`.
    due_ms: AtomicU64,
    /// How often the shard was woken from outside because it stood still.
    kicks: AtomicU64,
    /// Wakes the driver's task.
    driver: OnceLock<Waker>,
    /// Ends a nap of the driver.
    bell: OnceLock<Bell>,
    /// Wakes a task whose foreign wake always interrupts the executor's sleep.
    rescue: OnceLock<Waker>,
    epoch: Instant,
}

impl Default for Door {
    fn default() -> Door {
        Door {
            rest: AtomicU8::new(AWAKE),
            closed: AtomicBool::new(false),
            passes: AtomicU64::new(0),
            due_ms: AtomicU64::new(u64::MAX),
            kicks: AtomicU64::new(0),
            driver: OnceLock::new(),
            bell: OnceLock::new(),
            rescue: OnceLock::new(),
            epoch: Instant::now(),
        }
    }
}

impl Door {
    /// Wakes the shard if it is parked. To be called after something was put where the shard
    /// looks.
    #[inline]
    pub fn ring(&self) {
        // Pairs with the fence in `park`.
        fence(Ordering::SeqCst);
        if self.is_parked() {
            self.unpark();
        }
    }

    /// Wakes the shard if it is parked, from its own thread or with the fence done.
    #[cold]
    pub(super) fn unpark(&self) {
        match self.rest.swap(AWAKE, Ordering::AcqRel) {
            PARKED => self.driver.get().map_or((), Waker::wake_by_ref),
            NAPPING => self.bell.get().map_or((), Bell::ring),
            _ => {}
        }
    }

    /// Says that the driver's task is going to wait. It must look at its queues once more after
    /// this.
    pub(super) fn park(&self) {
        self.rest.store(PARKED, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The same for a wait for the set that hears the bell.
    pub(super) fn nap(&self) {
        self.rest.store(NAPPING, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Says that the driver runs.
    pub(super) fn leave(&self) {
        if self.is_parked() {
            self.rest.store(AWAKE, Ordering::Relaxed);
        }
    }

    /// Whether the driver waits to be woken.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.rest.load(Ordering::Relaxed) != AWAKE
    }

    /// Whether the driver has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Passes of the driver so far.
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.passes.load(Ordering::Relaxed)
    }

    /// How often the shard was woken from outside because it stood still with work to do.
    #[must_use]
    pub fn kicks(&self) -> u64 {
        self.kicks.load(Ordering::Relaxed)
    }

    pub(super) fn set_passes(&self, passes: u64) {
        self.passes.store(passes, Ordering::Relaxed);
    }

    pub(super) fn set_driver(&self, waker: Waker) {
        // A second driver behind one door would be a programming error; the first one stays.
        let first = self.driver.set(waker).is_ok();
        debug_assert!(first, "one driver per shard");
    }

    pub(super) fn set_bell(&self, bell: Bell) {
        let _ = self.bell.set(bell);
    }

    pub(super) fn set_rescue(&self, waker: Waker) {
        let _ = self.rescue.set(waker);
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Says when the driver wants to run again, even if nothing comes.
    pub(super) fn set_due(&self, due: Instant) {
        self.due_ms.store(self.to_ms(due), Ordering::Relaxed);
    }

    /// By how much the driver has missed the moment it wanted to run at.
    pub(super) fn overdue(&self, now: Instant) -> Duration {
        let due = self.due_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.to_ms(now).saturating_sub(due))
    }

    /// How long until the driver wants to run, at least a millisecond.
    pub(super) fn until_due(&self, now: Instant) -> Duration {
        let due = self.due_ms.load(Ordering::Relaxed);
        // One more than the difference, which has lost the fractions.
        Duration::from_millis(due.saturating_sub(self.to_ms(now)).saturating_add(1))
    }

    /// Wakes the executor whatever it believes about its queues.
    pub(super) fn kick(&self) {
        self.kicks.fetch_add(1, Ordering::Relaxed);
        for waker in [&self.rescue, &self.driver] {
            if let Some(waker) = waker.get() {
                waker.wake_by_ref();
            }
        }
    }

    fn to_ms(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("parked", &self.is_parked())
            .field("closed", &self.is_closed())
            .field("passes", &self.passes())
            .field("kicks", &self.kicks())
            .finish_non_exhaustive()
    }
}
