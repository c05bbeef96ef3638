//! The counted memory behind slices.
//!
//! A block has two counts. `local` counts the handles of the owning thread in a plain cell;
//! `shared` counts everything else atomically, and the local side as a whole holds exactly one
//! unit of it. Whoever gives back the last shared unit frees the block.

// Counted raw memory cannot be expressed without unsafe; every handle type that leaves this folder
// is safe to use.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// More handles than this to one block can only be a leak in a loop; see [`std::sync::Arc`].
const HANDLES_MAX: usize = usize::MAX / 2;

/// Counts and memory of one allocation.
pub(super) struct Block {
    /// Handles of the owning thread. Touched by that thread only.
    local: Cell<usize>,
    /// Handles of any thread, plus one for the local side while `local` is not zero.
    shared: AtomicUsize,
    data: NonNull<u8>,
    len: usize,
    backing: Backing,
}

/// Who frees the memory, and how.
enum Backing {
    /// The parts of a `Vec<u8>` with this capacity, every byte of `len` initialised.
    Memory { capacity: usize },
    /// Somebody else's bytes, kept alive by their own count.
    Bytes(#[expect(dead_code, reason = "held for its drop")] Bytes),
}

/// A handle counted in `local`: stays in the thread that made the block.
pub(super) struct LocalBlock(NonNull<Block>);

impl LocalBlock {
    /// A block of `len` zeroed bytes that may be written through [`LocalBlock::write_area`].
    pub(super) fn zeroed(len: usize) -> LocalBlock {
        LocalBlock::from_vec(vec![0; len])
    }

    /// Takes the bytes of `vec` without copying them.
    pub(super) fn from_vec(vec: Vec<u8>) -> LocalBlock {
        let mut vec = ManuallyDrop::new(vec);
        let (len, capacity) = (vec.len(), vec.capacity());
        // SAFETY: a Vec's pointer is never null.
        let data = unsafe { NonNull::new_unchecked(vec.as_mut_ptr()) };
        LocalBlock::with(data, len, Backing::Memory { capacity })
    }

    /// Keeps `bytes` alive as a block.
    pub(super) fn from_bytes(bytes: Bytes) -> LocalBlock {
        // SAFETY: the pointer of a slice is never null. It is only ever read from: `write_area` is
        // reserved to blocks made by `zeroed`.
        let data = unsafe { NonNull::new_unchecked(bytes.as_ptr().cast_mut()) };
        let len = bytes.len();
        LocalBlock::with(data, len, Backing::Bytes(bytes))
    }

    fn with(data: NonNull<u8>, len: usize, backing: Backing) -> LocalBlock {
        let block = Block { local: Cell::new(1), shared: AtomicUsize::new(1), data, len, backing };
        // SAFETY: a Box's pointer is never null.
        LocalBlock(unsafe { NonNull::new_unchecked(Box::into_raw(Box::new(block))) })
    }

    fn block(&self) -> &Block {
        // SAFETY: this handle holds a unit of `local`, so the block lives.
        unsafe { self.0.as_ref() }
    }

    /// Bytes of memory in this block.
    pub(super) fn len(&self) -> usize {
        self.block().len
    }

    /// The start of the memory.
    pub(super) fn data(&self) -> NonNull<u8> {
        self.block().data
    }

    /// Whether this is the only handle of any kind in any thread.
    pub(super) fn is_unique(&self) -> bool {
        let block = self.block();
        // Acquire pairs with the release of the last foreign handle: its reads happened before we
        // write to the memory again.
        block.local.get() == 1 && block.shared.load(Ordering::Acquire) == 1
    }

    /// Bytes `start..end`, to be written.
    ///
    /// # Safety
    /// The block was made by [`LocalBlock::zeroed`], and no slice of any thread refers to any byte
    /// of the range while the returned borrow lives.
    pub(super) unsafe fn write_area(&mut self, start: usize, end: usize) -> &mut [u8] {
        assert!(start <= end && end <= self.len(), "a write area inside its block");
        // SAFETY: the range is inside the initialised memory, and the caller excludes every alias.
        unsafe { std::slice::from_raw_parts_mut(self.data().as_ptr().add(start), end - start) }
    }

    /// Bytes `start..end`.
    pub(super) fn read_area(&self, start: usize, end: usize) -> &[u8] {
        assert!(start <= end && end <= self.len(), "a read area inside its block");
        // SAFETY: the range is inside the initialised memory. Bytes are written only through
        // `write_area`, whose borrow excludes this one when it comes from the same handle; the
        // receiver that owns the writable tail never cuts slices from it.
        unsafe { std::slice::from_raw_parts(self.data().as_ptr().add(start), end - start) }
    }

    /// Gives up this handle as a raw unit of the local count.
    pub(super) fn into_raw(self) -> NonNull<Block> {
        ManuallyDrop::new(self).0
    }
}

impl Clone for LocalBlock {
    fn clone(&self) -> LocalBlock {
        // SAFETY: this handle holds a unit of `local` in the owning thread.
        unsafe { Block::acquire_local(self.0) };
        LocalBlock(self.0)
    }
}

impl Drop for LocalBlock {
    fn drop(&mut self) {
        // SAFETY: this handle holds the unit it gives back.
        unsafe { Block::release_local(self.0) };
    }
}

impl Block {
    /// Bytes of memory that this block keeps alive.
    pub(super) fn held_bytes(&self) -> usize {
        match self.backing {
            Backing::Memory { capacity } => capacity,
            Backing::Bytes(_) => self.len,
        }
    }

    /// Adds a handle of the owning thread.
    ///
    /// # Safety
    /// The caller is the owning thread and holds a unit of `local`.
    #[inline]
    pub(super) unsafe fn acquire_local(block: NonNull<Block>) {
        // SAFETY: the caller's unit keeps the block alive.
        let local = unsafe { &block.as_ref().local };
        local.set(local.get() + 1);
    }

    /// Gives back a handle of the owning thread.
    ///
    /// # Safety
    /// The caller is the owning thread, holds a unit of `local`, and uses it no more.
    #[inline]
    pub(super) unsafe fn release_local(block: NonNull<Block>) {
        // SAFETY: the caller's unit keeps the block alive.
        let local = unsafe { &block.as_ref().local };
        let left = local.get() - 1;
        local.set(left);
        if left == 0 {
            // SAFETY: the local side as a whole held one shared unit and has just ended.
            unsafe { Block::release_shared(block) };
        }
    }

    /// Adds a handle of any thread.
    ///
    /// # Safety
    /// The caller holds a unit of either count.
    #[inline]
    pub(super) unsafe fn acquire_shared(block: NonNull<Block>) {
        // Relaxed is enough: a new handle is made from one that is alive in this thread.
        // SAFETY: the caller's unit keeps the block alive.
        let handles = unsafe { block.as_ref().shared.fetch_add(1, Ordering::Relaxed) };
        if handles > HANDLES_MAX {
            // As `Arc` does: unwinding here would leave a count that can wrap to zero.
            std::process::abort();
        }
    }

    /// Gives back a shared unit and frees the block if it was the last one.
    ///
    /// # Safety
    /// The caller holds a shared unit (its own, or that of the local side when `local` has become
    /// zero) and uses it no more.
    #[inline]
    pub(super) unsafe fn release_shared(block: NonNull<Block>) {
        // SAFETY: the caller's unit keeps the block alive until it is subtracted.
        if unsafe { block.as_ref().shared.fetch_sub(1, Ordering::Release) } != 1 {
            return;
        }
        // Pairs with the release above in every other thread: what they did with the memory
        // happened before it is freed. A load rather than a fence, so that race detectors
        // understand it.
        // SAFETY: the last unit is gone, so this thread alone can reach the block.
        unsafe { block.as_ref() }.shared.load(Ordering::Acquire);
        // SAFETY: the last unit is gone, so nobody else can reach the block, which came from a Box.
        drop(unsafe { Box::from_raw(block.as_ptr()) });
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Backing::Memory { capacity } = self.backing {
            // SAFETY: these are the parts of the Vec that `from_vec` took apart.
            drop(unsafe { Vec::from_raw_parts(self.data.as_ptr(), self.len, capacity) });
        }
    }
}
