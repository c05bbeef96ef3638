//! How full the way to a link is, for senders on every shard.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Shared by the shard of a link, which sets it, and all shards that send over it.
///
/// This is the one thing on the way out that shards share besides the mesh: a sender on another
/// shard must learn that a link is full before it fills the mesh. Reading it is two relaxed loads;
/// the lock is taken only by senders that wait and by the one who wakes them.
#[derive(Debug)]
pub(crate) struct Gauge {
    /// Bytes that other shards have put into the mesh and the link's shard has not seen yet.
    in_flight_bytes: AtomicUsize,
    full: AtomicBool,
    /// When it became full last, in nanoseconds of the system's monotonic clock. This and the next
    /// two are written by the shard of the link only.
    full_since: AtomicU64,
    /// How long it was full before that, in nanoseconds.
    full_time: AtomicU64,
    full_times: AtomicU64,
    anyone_waits: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

/// Bytes that may be in the mesh for one link.
pub(crate) const IN_FLIGHT_BYTES_MAX: usize = 1 << 20;

/// The gauges of a link: large messages, and those behind them, have a budget of their own.
#[derive(Clone, Debug)]
pub(crate) struct Gauges {
    pub(crate) room: Arc<Gauge>,
    pub(crate) bulk: Arc<Gauge>,
}

impl Gauges {
    pub(crate) fn new() -> Self {
        Gauges { room: Arc::new(Gauge::new()), bulk: Arc::new(Gauge::new()) }
    }

    /// The one that a refused sender waits on.
    pub(crate) fn refusing(&self) -> &Arc<Gauge> {
        if self.room.has_room() { &self.bulk } else { &self.room }
    }
}

impl Gauge {
    pub(crate) fn new() -> Self {
        Gauge {
            in_flight_bytes: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            full_since: AtomicU64::new(0),
            full_time: AtomicU64::new(0),
            full_times: AtomicU64::new(0),
            anyone_waits: AtomicBool::new(false),
            waiting: Mutex::default(),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        !self.full.load(Ordering::SeqCst) && self.in_flight_bytes() < IN_FLIGHT_BYTES_MAX
    }

    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes.load(Ordering::SeqCst)
    }

    /// Another shard put a signal of that size into the mesh.
    pub(crate) fn depart(&self, bytes: usize) {
        self.in_flight_bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    /// The link's shard took it out.
    pub(crate) fn arrive(&self, bytes: usize) {
        let in_flight = self.in_flight_bytes.fetch_sub(bytes, Ordering::SeqCst);
        debug_assert!(in_flight >= bytes, "what arrives has departed");
        self.wake_if_room();
    }

    /// The link's outbox became full, or has room again.
    #[inline]
    pub(crate) fn set_full(&self, full: bool) {
        if self.full.load(Ordering::Relaxed) != full {
            self.full.store(full, Ordering::SeqCst);
            self.note_change(full);
        }
        if !full {
            self.wake_if_room();
        }
    }

    #[cold]
    fn note_change(&self, full: bool) {
        let now = monotonic_nanoseconds();
        if full {
            self.full_since.store(now, Ordering::Relaxed);
            self.full_times.fetch_add(1, Ordering::Relaxed);
        } else {
            let lasted = now.saturating_sub(self.full_since.load(Ordering::Relaxed));
            self.full_time.fetch_add(lasted, Ordering::Relaxed);
        }
    }

    /// How long the outbox was full, up to now, and how often it became so.
    pub(crate) fn fullness(&self) -> (Duration, u64) {
        let before = self.full_time.load(Ordering::Relaxed);
        let lasts = match self.full.load(Ordering::Relaxed) {
            true => monotonic_nanoseconds().saturating_sub(self.full_since.load(Ordering::Relaxed)),
            false => 0,
        };
        (Duration::from_nanos(before + lasts), self.full_times.load(Ordering::Relaxed))
    }

    /// Wakes `waker` when there is room. The caller looks again after this call, since there may
    /// be room already.
    pub(crate) fn wait(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        self.anyone_waits.store(true, Ordering::SeqCst);
    }

    #[inline]
    fn wake_if_room(&self) {
        if self.anyone_waits.load(Ordering::SeqCst) && self.has_room() {
            self.wake_all();
        }
    }

    /// Wakes everybody who waits, room or not.
    pub(crate) fn wake_all(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.anyone_waits.store(false, Ordering::SeqCst);
        let woken = std::mem::take(&mut *waiting);
        drop(waiting);
        for waker in woken {
            waker.wake();
        }
    }
}

fn monotonic_nanoseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_sender_is_woken_once_when_there_is_room_again() {
        let (gauge, count) = (Gauge::new(), Arc::new(Count::default()));
        gauge.set_full(true);
        gauge.wait(&Waker::from(Arc::clone(&count)));
        gauge.arrive(0);
        assert_eq!(count.0.load(Ordering::SeqCst), 0, "still full");
        gauge.set_full(false);
        gauge.set_full(false);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_time_that_it_is_full_is_counted() {
        let gauge = Gauge::new();
        assert_eq!(gauge.fullness(), (Duration::ZERO, 0));
        gauge.set_full(true);
        gauge.set_full(true);
        let until = std::time::Instant::now() + Duration::from_millis(2);
        while std::time::Instant::now() < until {}
        let (so_far, times) = gauge.fullness();
        assert!(so_far >= Duration::from_millis(2), "also while it lasts: {so_far:?}");
        assert_eq!(times, 1);
        gauge.set_full(false);
        let (all, _) = gauge.fullness();
        assert!(all >= so_far);
        assert_eq!(gauge.fullness(), (all, 1), "and not when it has room");
    }

    #[test]
    fn bytes_in_the_mesh_count() {
        let gauge = Gauge::new();
        gauge.depart(IN_FLIGHT_BYTES_MAX);
        assert!(!gauge.has_room());
        gauge.arrive(1);
        assert!(gauge.has_room());
    }
}
