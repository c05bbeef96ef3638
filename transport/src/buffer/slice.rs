//! Slices: pieces of received bytes, counted without atomics in their own thread.

// A slice is a pointer into counted memory; see `block`.
#![allow(unsafe_code)]

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Bound, Deref, RangeBounds};
use std::ptr::NonNull;

use bytes::Bytes;

use super::block::{Block, LocalBlock};

/// Set in [`Slice::holder`] when the slice holds a shared (atomic) unit of its block.
const SHARED: usize = 1;

/// Bytes that keep the memory they lie in alive.
///
/// Cloning and dropping cost a plain addition in the thread that received the bytes. A `Slice`
/// cannot leave its thread; [`Slice::share`] makes the form that can.
pub struct Slice {
    data: NonNull<u8>,
    len: usize,
    /// The block, with [`SHARED`] in its lowest bit; null for bytes that nobody counts.
    holder: *const Block,
}

/// A [`Slice`] that can go to another thread.
///
/// It counts atomically. [`SharedSlice::adopt`] turns it into a `Slice` of the thread it arrived
/// in.
pub struct SharedSlice(Slice);

// SAFETY: a SharedSlice always holds an atomic unit or none at all, never a unit of the local
// count, and its bytes are never written while a handle to them exists.
unsafe impl Send for SharedSlice {}
// SAFETY: as above; `&SharedSlice` allows reading and atomic counting only.
unsafe impl Sync for SharedSlice {}

impl Slice {
    /// The empty slice. Allocates nothing.
    #[must_use]
    pub const fn new() -> Slice {
        Slice::from_static(&[])
    }

    /// A slice of bytes that live as long as the program. Allocates and counts nothing.
    #[must_use]
    pub const fn from_static(bytes: &'static [u8]) -> Slice {
        // SAFETY: the pointer of a reference is never null.
        let data = unsafe { NonNull::new_unchecked(bytes.as_ptr().cast_mut()) };
        Slice { data, len: bytes.len(), holder: std::ptr::null() }
    }

    /// A slice with a copy of `bytes`.
    #[must_use]
    pub fn copy_from(bytes: &[u8]) -> Slice {
        if bytes.is_empty() { Slice::new() } else { Slice::from(bytes.to_vec()) }
    }

    /// Cuts `start..start + len` from a block of this thread.
    ///
    /// # Safety
    /// Nobody writes to the range as long as a handle to the block exists besides the writer's.
    pub(super) unsafe fn cut(block: &LocalBlock, start: usize, len: usize) -> Slice {
        assert!(start <= block.len() && len <= block.len() - start, "a slice inside its block");
        // SAFETY: `start` is within the memory.
        let data = unsafe { block.data().add(start) };
        Slice { data, len, holder: block.clone().into_raw().as_ptr() }
    }

    /// How many bytes there are.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the range was inside initialised memory when the slice was cut, this handle
        // keeps that memory alive, and nobody writes to it meanwhile.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }

    /// Bytes of memory that this slice keeps from being used again: the whole slab, or the whole
    /// vector it came from. Zero for static bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        // SAFETY: this handle holds a unit, so the block lives.
        self.block().map_or(0, |block| unsafe { block.as_ref().held_bytes() })
    }

    /// The part `range` of this slice, sharing its memory.
    ///
    /// # Panics
    /// As slicing does, when the range is not inside the slice; see [`Slice::try_slice`].
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Slice {
        let len = self.len;
        self.try_slice(range).unwrap_or_else(|| panic!("range out of a slice of {len} bytes"))
    }

    /// The part `range` of this slice, or nothing if it is not inside it.
    #[must_use]
    pub fn try_slice(&self, range: impl RangeBounds<usize>) -> Option<Slice> {
        let start = match range.start_bound() {
            Bound::Included(&n) => n,
            Bound::Excluded(&n) => n.checked_add(1)?,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&n) => n.checked_add(1)?,
            Bound::Excluded(&n) => n,
            Bound::Unbounded => self.len,
        };
        if start > end || end > self.len {
            return None;
        }
        if start == end {
            return Some(Slice::new());
        }
        let mut part = self.clone();
        // SAFETY: `start <= len`, so the pointer stays inside the memory.
        part.data = unsafe { part.data.add(start) };
        part.len = end - start;
        Some(part)
    }

    /// Cuts the first `n` bytes off and returns them.
    ///
    /// # Panics
    /// When there are fewer than `n` bytes.
    #[must_use = "use advance to skip bytes"]
    #[inline]
    pub fn split_to(&mut self, n: usize) -> Slice {
        if n == self.len {
            // The last piece takes the memory over.
            return std::mem::take(self);
        }
        assert!(n < self.len, "cannot cut {n} bytes off {}", self.len);
        if n == 0 {
            return Slice::new();
        }
        let mut head = self.clone();
        head.len = n;
        self.advance(n);
        head
    }

    /// Drops the first `n` bytes.
    ///
    /// # Panics
    /// When there are fewer than `n` bytes.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len, "cannot skip {n} of {} bytes", self.len);
        // SAFETY: `n <= len`, so the pointer stays inside the memory.
        self.data = unsafe { self.data.add(n) };
        self.len -= n;
    }

    /// Keeps the first `n` bytes; does nothing when there are not more.
    #[inline]
    pub fn truncate(&mut self, n: usize) {
        self.len = self.len.min(n);
    }

    /// The form that can be sent to another thread.
    #[must_use]
    pub fn share(mut self) -> SharedSlice {
        if let Some(block) = self.block()
            && self.holder.addr() & SHARED == 0
        {
            // SAFETY: this handle holds a local unit in its own thread, which is exchanged for a
            // shared one, in this order so that the block cannot be freed between.
            unsafe {
                Block::acquire_shared(block);
                Block::release_local(block);
            }
            self.holder = self.holder.map_addr(|address| address | SHARED);
        }
        SharedSlice(self)
    }

    #[inline]
    fn block(&self) -> Option<NonNull<Block>> {
        NonNull::new(self.holder.map_addr(|address| address & !SHARED).cast_mut())
    }
}

impl SharedSlice {
    /// A slice of this thread with the same bytes. Copies and allocates nothing; its clones are
    /// counted atomically.
    #[must_use]
    pub fn adopt(self) -> Slice {
        self.0
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Clone for Slice {
    #[inline]
    fn clone(&self) -> Slice {
        if let Some(block) = self.block() {
            // SAFETY: this handle holds a unit of the count that it adds to, and a local one only
            // in the owning thread, since a local Slice is not Send.
            unsafe {
                if self.holder.addr() & SHARED == 0 {
                    Block::acquire_local(block);
                } else {
                    Block::acquire_shared(block);
                }
            }
        }
        Slice { data: self.data, len: self.len, holder: self.holder }
    }
}

impl Drop for Slice {
    #[inline]
    fn drop(&mut self) {
        if let Some(block) = self.block() {
            // SAFETY: this handle gives back the unit it holds, in the owning thread if it is a
            // local one.
            unsafe {
                if self.holder.addr() & SHARED == 0 {
                    Block::release_local(block);
                } else {
                    Block::release_shared(block);
                }
            }
        }
    }
}

impl Clone for SharedSlice {
    fn clone(&self) -> SharedSlice {
        SharedSlice(self.0.clone())
    }
}

impl Default for Slice {
    fn default() -> Slice {
        Slice::new()
    }
}

impl Deref for Slice {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Deref for SharedSlice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for SharedSlice {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl From<Vec<u8>> for Slice {
    fn from(vec: Vec<u8>) -> Slice {
        let len = vec.len();
        let block = LocalBlock::from_vec(vec);
        // SAFETY: nobody ever writes to a block made from a Vec.
        unsafe { Slice::cut(&block, 0, len) }
    }
}

impl From<Bytes> for Slice {
    fn from(bytes: Bytes) -> Slice {
        let len = bytes.len();
        let block = LocalBlock::from_bytes(bytes);
        // SAFETY: nobody ever writes to a block made from Bytes.
        unsafe { Slice::cut(&block, 0, len) }
    }
}

/// Shares the memory; the `Bytes` keeps it alive.
impl From<Slice> for Bytes {
    fn from(slice: Slice) -> Bytes {
        if slice.holder.is_null() {
            let slice = ManuallyDrop::new(slice);
            // SAFETY: without a holder the bytes are static.
            return Bytes::from_static(unsafe {
                std::slice::from_raw_parts(slice.data.as_ptr(), slice.len)
            });
        }
        Bytes::from_owner(slice.share())
    }
}

impl From<Slice> for SharedSlice {
    fn from(slice: Slice) -> SharedSlice {
        slice.share()
    }
}

impl PartialEq for Slice {
    fn eq(&self, other: &Slice) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Slice {}

impl PartialEq<[u8]> for Slice {
    fn eq(&self, other: &[u8]) -> bool {
        self.as_slice() == other
    }
}

impl<const N: usize> PartialEq<[u8; N]> for Slice {
    fn eq(&self, other: &[u8; N]) -> bool {
        self.as_slice() == other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Slice {
    fn eq(&self, other: &&[u8; N]) -> bool {
        self.as_slice() == *other
    }
}

impl PartialEq<&[u8]> for Slice {
    fn eq(&self, other: &&[u8]) -> bool {
        self.as_slice() == *other
    }
}

impl PartialEq<Vec<u8>> for Slice {
    fn eq(&self, other: &Vec<u8>) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slice({} bytes: {})", self.len, Escaped(self))
    }
}

impl fmt::Debug for SharedSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedSlice({} bytes: {})", self.0.len, Escaped(self))
    }
}

/// The first bytes of a slice, escaped.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        let shown = &self.0[..self.0.len().min(SHOWN)];
        write!(f, "{}{}", shown.escape_ascii(), if self.0.len() > SHOWN { "..." } else { "" })
    }
}
