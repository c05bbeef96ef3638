//! The receive side of one link.

// Hands out the writable tail of a counted block; see `block`.
#![allow(unsafe_code)]

use super::block::LocalBlock;
use super::slab::{SLAB_BYTES, SlabPool};
use super::slice::Slice;

/// Room below which a slab is not worth another receive.
const SPARE_BYTES_MIN: usize = 8 * 1024;

/// Most bytes allocated for a frame because its length was announced, before any of them came.
const ANNOUNCED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A parked link with at most this many unread bytes keeps them in memory of their own.
const PARKED_BYTES_MAX: usize = 32 * 1024;

/// Where a link's bytes arrive and frames are cut from.
///
/// The user fills [`Receiver::spare`], says how much came with [`Receiver::commit`], looks at
/// [`Receiver::unread`], and cuts what is complete with [`Receiver::take`]. When the frame at the
/// front is not complete, [`Receiver::expect`] tells how long it will be: one that does not fit
/// into the slab gets memory of its own, which the next bytes go to directly.
///
/// The caller bounds frame lengths before it calls `expect`. Even so, no more than 4 MiB are
/// allocated ahead of the bytes that have come.
pub struct Receiver {
    pool: SlabPool,
    memory: Memory,
    /// Unread bytes are `start..end` of the memory.
    start: usize,
    end: usize,
    /// Length of the frame at the front, once known; otherwise zero.
    expected: usize,
}

/// What the receiver is filling.
enum Memory {
    None,
    /// A slab of the pool.
    Slab(LocalBlock),
    /// Memory for one frame (or a parked part of one) alone.
    Own(LocalBlock),
}

impl Receiver {
    /// A receiver that holds no memory yet.
    #[must_use]
    pub fn new(pool: SlabPool) -> Receiver {
        Receiver { pool, memory: Memory::None, start: 0, end: 0, expected: 0 }
    }

    /// Room for the next bytes, never empty. What it contains is unspecified.
    pub fn spare(&mut self) -> &mut [u8] {
        self.make_room();
        let end = self.end;
        let (Memory::Slab(block) | Memory::Own(block)) = &mut self.memory else {
            unreachable!("make_room leaves memory behind");
        };
        let len = block.len();
        // SAFETY: the block was made by `zeroed`. Slices were only ever cut from before `start`,
        // or the block was found to be held by nobody else when `end` was set back.
        unsafe { block.write_area(end, len) }
    }

    /// Counts `n` bytes at the front of the last [`Receiver::spare`] as received.
    ///
    /// # Panics
    /// When that is more than there was room for.
    pub fn commit(&mut self, n: usize) {
        let room = self.block().map_or(0, |block| block.len() - self.end);
        assert!(n <= room, "{n} bytes received into {room} bytes of room");
        self.end += n;
    }

    /// Received bytes that were not taken yet.
    #[inline]
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        self.block().map_or(&[], |block| block.read_area(self.start, self.end))
    }

    /// Cuts the first `n` unread bytes off; nothing when there are fewer.
    #[inline]
    pub fn take(&mut self, n: usize) -> Option<Slice> {
        if n > self.end - self.start {
            return None;
        }
        let slice = match self.block() {
            Some(block) if n > 0 => {
                // SAFETY: the receiver writes from `end` on only, which is not before
                // `start + n`, until it finds that nobody else holds the block.
                unsafe { Slice::cut(block, self.start, n) }
            }
            _ => Slice::new(),
        };
        self.skip(n);
        Some(slice)
    }

    /// Drops the first `n` unread bytes, or all when there are fewer.
    #[inline]
    pub fn skip(&mut self, n: usize) {
        self.start += n.min(self.end - self.start);
        self.expected = 0;
        if self.start == self.end && matches!(self.memory, Memory::Own(_)) {
            self.memory = Memory::None;
            (self.start, self.end) = (0, 0);
        }
    }

    /// Says that the frame at the front of the unread bytes is `bytes` long in all.
    pub fn expect(&mut self, bytes: usize) {
        self.expected = bytes;
    }

    /// Bytes of memory that the receiver holds for itself alone.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.block().map_or(0, LocalBlock::len)
    }

    /// Gives the slab back if no byte in it is waiting. To be called when a turn of receiving
    /// ends, so that the next link continues in the same slab.
    pub fn rest(&mut self) {
        if self.start == self.end
            && let Memory::Slab(slab) = std::mem::replace(&mut self.memory, Memory::None)
        {
            self.pool.close(slab, self.end);
            (self.start, self.end) = (0, 0);
        }
    }

    /// Keeps as little as possible: no slab, and of an incomplete frame only what has come. To be
    /// called when the link goes idle.
    pub fn park(&mut self) {
        self.rest();
        let unread = self.end - self.start;
        if unread > PARKED_BYTES_MAX || !matches!(self.memory, Memory::Slab(_)) {
            return;
        }
        let expected = self.expected;
        // At least one byte of room, so that `spare` is never empty.
        let memory = self.moved_to(LocalBlock::zeroed((unread + 1).next_power_of_two().max(64)));
        self.memory = Memory::Own(memory);
        self.expected = expected;
    }

    /// Makes sure that there is memory with enough room after `end`.
    fn make_room(&mut self) {
        let unread = self.end - self.start;
        match &self.memory {
            Memory::None => {
                let (slab, offset) = self.pool.open();
                (self.start, self.end) = (offset, offset);
                self.memory = Memory::Slab(slab);
            }
            Memory::Slab(slab) if unread == 0 && slab.is_unique() => {
                // Every frame cut from it is gone: start over where the caches are warm.
                (self.start, self.end) = (0, 0);
                return;
            }
            // Exactly one frame: nothing behind it may be received into its memory. What a parked
            // link keeps is smaller than this and moves to a slab.
            Memory::Own(own) if own.len() > SLAB_BYTES && self.end < own.len() => return,
            Memory::Slab(_) | Memory::Own(_) => {}
        }
        let Some(block) = self.block() else { return };
        let missing = self.expected.saturating_sub(unread);
        if block.len() - self.end >= missing.max(SPARE_BYTES_MIN) {
            return;
        }
        let memory = if self.expected.max(unread + SPARE_BYTES_MIN) <= SLAB_BYTES {
            Memory::Slab(self.pool.fresh())
        } else {
            // All of a frame up to the bound at once, a longer one as its bytes arrive.
            let ahead = self.expected.min(ANNOUNCED_BYTES_MAX.max(unread.saturating_mul(2)));
            Memory::Own(LocalBlock::zeroed(ahead.max(unread + SPARE_BYTES_MIN)))
        };
        self.memory = match memory {
            Memory::Slab(slab) => Memory::Slab(self.moved_to(slab)),
            Memory::Own(own) => Memory::Own(self.moved_to(own)),
            Memory::None => Memory::None,
        };
    }

    /// Copies the unread bytes to the start of `block`, lets go of the old memory, and returns
    /// `block`.
    fn moved_to(&mut self, mut block: LocalBlock) -> LocalBlock {
        let unread = self.unread();
        let len = unread.len();
        // SAFETY: `block` comes fresh from `zeroed` or is held by nobody else.
        unsafe { block.write_area(0, len) }.copy_from_slice(unread);
        if let Memory::Slab(slab) = std::mem::replace(&mut self.memory, Memory::None) {
            self.pool.retire(slab);
        }
        (self.start, self.end) = (0, len);
        block
    }

    #[inline]
    fn block(&self) -> Option<&LocalBlock> {
        match &self.memory {
            Memory::None => None,
            Memory::Slab(block) | Memory::Own(block) => Some(block),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Memory::Slab(slab) = std::mem::replace(&mut self.memory, Memory::None) {
            self.pool.retire(slab);
        }
    }
}
