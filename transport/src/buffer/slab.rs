//! The pool of receive slabs of one shard.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::block::LocalBlock;

/// Bytes in a receive slab: four frames of 64 KiB with their headers. In a slab of just 256 KiB the
/// fourth of them would be cut nearly at its end, and nearly all of it copied to the next slab.
pub const SLAB_BYTES: usize = 4 * (64 * 1024 + 256);

/// Slabs that the pool remembers for use, 257 MiB; beyond them the oldest is freed as soon as its
/// slices end. The longest message is held in so many, and the next one shall not have to get them
/// from the kernel again.
const KEPT_SLABS_MAX: usize = 1024;

/// Unused slabs left by [`SlabPool::trim`] at least.
const TRIMMED_SLABS: usize = 4;

/// What [`SlabPool::trim`] leaves shrinks by this part of it each time. At ten calls a second half
/// of the slabs go within half a second and all within four: a message of 100 MiB every second
/// finds most of its memory, and a shard that had one gives it back soon.
const TRIMMED_PART: usize = 8;

/// How many slabs are looked at for one that is not used: of the newest, whose memory is most
/// likely still cached, and of the oldest, whose slices have most likely ended.
const SEARCHED_NEWEST: usize = 8;
const SEARCHED_OLDEST: usize = 8;

/// Receive slabs of one shard: a cheap handle, clones share the pool.
#[derive(Clone, Default)]
pub struct SlabPool(Rc<Pool>);

/// What a pool has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounters {
    /// Slabs allocated.
    pub allocated: u64,
    /// Times a slab was used again.
    pub recycled: u64,
}

#[derive(Default)]
struct Pool {
    /// Slabs that are full or were given back, oldest first; many are still held by slices.
    kept: RefCell<VecDeque<LocalBlock>>,
    /// A slab with room after the stated offset, for whichever link receives next.
    open: Cell<Option<(LocalBlock, usize)>>,
    /// Slabs handed out since the pool was trimmed.
    demand: Cell<usize>,
    /// How many unused slabs the last trim would have left.
    needed: Cell<usize>,
    counters: Cell<PoolCounters>,
}

impl SlabPool {
    /// An empty pool.
    #[must_use]
    pub fn new() -> SlabPool {
        SlabPool::default()
    }

    /// What the pool has done.
    #[must_use]
    pub fn counters(&self) -> PoolCounters {
        self.0.counters.get()
    }

    /// Slabs that the pool holds, used or not.
    #[must_use]
    pub fn slabs(&self) -> usize {
        let open = self.0.open.take();
        let count = self.0.kept.borrow().len() + usize::from(open.is_some());
        self.0.open.set(open);
        count
    }

    /// Frees slabs that nobody uses, but for a few or as many as were needed since the last call,
    /// or somewhat less than what was needed before. To be called ten times a second.
    pub fn trim(&self) {
        let before = self.0.needed.get().min(KEPT_SLABS_MAX);
        let faded = before - before.div_ceil(TRIMMED_PART);
        let needed = self.0.demand.replace(0).max(faded).max(TRIMMED_SLABS);
        self.0.needed.set(needed);
        let mut unused = 0;
        self.0.kept.borrow_mut().retain(|slab| {
            unused += usize::from(slab.is_unique());
            unused <= needed || !slab.is_unique()
        });
    }

    /// A slab and the offset from which on it may be written.
    pub(super) fn open(&self) -> (LocalBlock, usize) {
        match self.0.open.take() {
            // Everything received into it is gone: start over where the caches are warm.
            Some((slab, _)) if slab.is_unique() => (slab, 0),
            Some(open) => open,
            None => (self.fresh(), 0),
        }
    }

    /// A whole slab with nothing in it.
    pub(super) fn fresh(&self) -> LocalBlock {
        self.0.demand.set(self.0.demand.get() + 1);
        let mut counters = self.0.counters.get();
        if let Some(slab) = self.0.take_unused() {
            counters.recycled += 1;
            self.0.counters.set(counters);
            return slab;
        }
        counters.allocated += 1;
        self.0.counters.set(counters);
        LocalBlock::zeroed(SLAB_BYTES)
    }

    /// Gives back a slab whose bytes before `offset` may be in use and whose rest is not.
    pub(super) fn close(&self, slab: LocalBlock, offset: usize) {
        if let Some((other, _)) = self.0.open.replace(Some((slab, offset))) {
            self.retire(other);
        }
    }

    /// Gives back a slab that will not be written to before all its slices are gone.
    pub(super) fn retire(&self, slab: LocalBlock) {
        let mut kept = self.0.kept.borrow_mut();
        if kept.len() >= KEPT_SLABS_MAX {
            kept.pop_front();
        }
        kept.push_back(slab);
    }
}

impl Pool {
    /// A kept slab that nobody uses, if it is found without looking at too many.
    fn take_unused(&self) -> Option<LocalBlock> {
        let mut kept = self.kept.borrow_mut();
        let newest = (kept.len().saturating_sub(SEARCHED_NEWEST)..kept.len()).rev();
        if let Some(at) = newest.into_iter().find(|&at| kept[at].is_unique()) {
            return kept.remove(at);
        }
        let oldest = SEARCHED_OLDEST.min(kept.len().saturating_sub(SEARCHED_NEWEST));
        for _ in 0..oldest {
            let slab = kept.pop_front()?;
            if slab.is_unique() {
                return Some(slab);
            }
            // One that is used for long shall not hide those behind it. It comes behind all that
            // are looked at from this end, before those from the other.
            let behind = kept.len() - (SEARCHED_NEWEST - 1).min(kept.len());
            kept.insert(behind, slab);
        }
        None
    }
}
