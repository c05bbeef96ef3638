//! How full the way to a link is, for senders on every shard.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

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

    /// Whether the link's outbox is full for any message. For the shard of the link.
    #[inline]
    pub(crate) fn is_any_full(&self) -> bool {
        self.room.is_full() || self.bulk.is_full()
    }
}

/// For how long, and how often, the outbox of a link was full.
#[derive(Debug, Default)]
pub(crate) struct Fullness {
    since: Option<Instant>,
    before: Duration,
    times: u64,
}

impl Fullness {
    /// The outbox may have become full, or have room again.
    #[inline]
    pub(crate) fn note(&mut self, full: bool) {
        if self.since.is_some() != full {
            self.change();
        }
    }

    #[cold]
    fn change(&mut self) {
        let now = Instant::now();
        match self.since.take() {
            Some(since) => self.before += now.saturating_duration_since(since),
            None => {
                self.since = Some(now);
                self.times += 1;
            }
        }
    }

    /// How long it was full, up to now, and how often it became so.
    pub(crate) fn read(&self, now: Instant) -> (Duration, u64) {
        let lasts = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        (self.before + lasts, self.times)
    }
}

impl Gauge {
    pub(crate) fn new() -> Self {
        Gauge {
            in_flight_bytes: AtomicUsize::new(0),
            full: AtomicBool::new(false),
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
        if self.is_full() != full {
            self.full.store(full, Ordering::SeqCst);
        }
        if !full {
            self.wake_if_room();
        }
    }

    /// Whether the link's outbox is full. For the shard of the link.
    #[inline]
    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
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
        let mut fullness = Fullness::default();
        assert_eq!(fullness.read(Instant::now()), (Duration::ZERO, 0));
        fullness.note(true);
        fullness.note(true);
        let since = fullness.since.expect("it is full");
        let soon = since + Duration::from_millis(2);
        assert_eq!(fullness.read(soon), (Duration::from_millis(2), 1), "also while it lasts");
        fullness.note(false);
        let (all, times) = fullness.read(Instant::now());
        assert!(all > Duration::ZERO);
        assert_eq!(fullness.read(Instant::now()), (all, times), "and not when it has room");
        fullness.note(true);
        assert_eq!(fullness.read(soon).1, 2);
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
