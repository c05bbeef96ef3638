//! The bytes that go to the socket next, in order.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

/// A segment that has reached this many bytes is closed and the next one begun.
const SEGMENT_BYTES: usize = 64 << 10;

/// Larger segments, grown by a single large message, are not kept for reuse.
const KEPT_SEGMENT_BYTES_MAX: usize = 4 * SEGMENT_BYTES;

/// Segments kept for reuse.
const SPARE_SEGMENTS_MAX: usize = 16;

/// Most slices handed out for one write.
pub const IO_SLICES_MAX: usize = 64;

/// The list of slices for one vectored write.
pub type IoSlices<'a> = SmallVec<[IoSlice<'a>; IO_SLICES_MAX]>;

/// Encoded frames that wait for the socket: small ones copied one behind the other into segments,
/// large payloads by reference between them.
///
/// The order of the queue is the order of the wire, and its end is always a frame boundary except
/// between `tail` and `commit`.
#[derive(Debug, Default)]
pub(super) struct WireQueue {
    /// What is to be written, oldest first, without `open_bytes`.
    pieces: VecDeque<Piece>,
    /// Bytes at the end of `tail` that belong behind the last piece.
    open_bytes: usize,
    /// Full segments with bytes not yet written, oldest first.
    closed: VecDeque<Vec<u8>>,
    /// The segment that is being filled.
    tail: Vec<u8>,
    /// Bytes of the oldest segment that are written already.
    head_offset: usize,
    spare: Vec<Vec<u8>>,
    /// All bytes that are not written.
    bytes: usize,
}

#[derive(Debug)]
enum Piece {
    /// So many bytes of the oldest segments; never beyond the end of one segment.
    Copied(usize),
    Chunk(Bytes),
}

impl WireQueue {
    /// Bytes that wait to be written.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The buffer to append a frame to. What was appended counts after [`WireQueue::commit`];
    /// until then it may be truncated again, but not below its present length.
    #[inline]
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        if self.tail.len() >= SEGMENT_BYTES {
            self.next_segment();
        }
        &mut self.tail
    }

    /// The same buffer in the middle of a frame: never a new segment.
    #[inline]
    pub(super) fn tail_unchanged(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Queues what was appended to the tail since it was `from` bytes long.
    #[inline]
    pub(super) fn commit(&mut self, from: usize) {
        let added = self.tail.len() - from;
        self.open_bytes += added;
        self.bytes += added;
    }

    /// Queues bytes by reference.
    pub(super) fn push_chunk(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        self.close_piece();
        self.bytes += chunk.len();
        self.pieces.push_back(Piece::Chunk(chunk));
    }

    /// Takes the tail out, with what has been appended since it was `from` bytes long; what is
    /// before stays queued. For the rare frame that turns out to be huge.
    pub(super) fn take_tail(&mut self, from: usize) -> Vec<u8> {
        let kept = self.tail[..from].to_vec();
        std::mem::replace(&mut self.tail, kept)
    }

    /// The front of the queue as slices, at most [`IO_SLICES_MAX`] of together about `bytes_max`.
    pub(super) fn io_slices<'a>(&'a self, slices: &mut IoSlices<'a>, bytes_max: usize) {
        let mut segments = self.closed.iter().chain(std::iter::once(&self.tail));
        let mut segment: &'a [u8] = segments.next().map_or(&[], Vec::as_slice);
        segment = &segment[self.head_offset..];
        // The next `len` copied bytes; a piece never crosses the end of a segment.
        let mut copied = |len: usize| -> &'a [u8] {
            while segment.is_empty() {
                let Some(next) = segments.next() else { return &[] };
                segment = next;
            }
            let (bytes, rest) = segment.split_at(len);
            segment = rest;
            bytes
        };
        let mut room = bytes_max;
        for piece in &self.pieces {
            if slices.len() == IO_SLICES_MAX || room == 0 {
                return;
            }
            let bytes = match piece {
                Piece::Copied(len) => copied(*len),
                Piece::Chunk(chunk) => chunk,
            };
            let bytes = &bytes[..bytes.len().min(room)];
            room -= bytes.len();
            slices.push(IoSlice::new(bytes));
        }
        if self.open_bytes > 0 && slices.len() < IO_SLICES_MAX && room > 0 {
            let bytes = copied(self.open_bytes);
            slices.push(IoSlice::new(&bytes[..bytes.len().min(room)]));
        }
    }

    /// The first `written` bytes are written.
    pub(super) fn written(&mut self, written: usize) {
        assert!(written <= self.bytes, "{written} bytes written of {}", self.bytes);
        self.bytes -= written;
        let mut rest = written;
        while rest > 0 {
            match self.pieces.front_mut() {
                Some(Piece::Copied(len)) => {
                    let taken = rest.min(*len);
                    *len -= taken;
                    rest -= taken;
                    if *len == 0 {
                        self.pieces.pop_front();
                    }
                    self.pass(taken);
                }
                Some(Piece::Chunk(chunk)) => {
                    let taken = rest.min(chunk.len());
                    chunk.advance(taken);
                    rest -= taken;
                    if chunk.is_empty() {
                        self.pieces.pop_front();
                    }
                }
                None => {
                    self.open_bytes -= rest;
                    self.pass(rest);
                    rest = 0;
                }
            }
        }
        if self.bytes == 0 {
            debug_assert!(self.pieces.is_empty() && self.open_bytes == 0);
            self.head_offset = 0;
            self.recycle_closed();
            self.tail.clear();
            if self.tail.capacity() > KEPT_SEGMENT_BYTES_MAX {
                self.tail = self.spare.pop().unwrap_or_default();
            }
        }
    }

    /// Gives up memory that is kept for reuse. Queued bytes stay.
    pub(super) fn trim(&mut self) {
        self.spare = Vec::new();
        if self.bytes == 0 {
            self.tail = Vec::new();
            self.pieces = VecDeque::new();
            self.closed = VecDeque::new();
        }
    }

    /// Moves the write position over `count` bytes of the oldest segment.
    fn pass(&mut self, count: usize) {
        self.head_offset += count;
        if let Some(front) = self.closed.front()
            && self.head_offset == front.len()
            && let Some(done) = self.closed.pop_front()
        {
            self.head_offset = 0;
            self.recycle(done);
        }
    }

    fn recycle_closed(&mut self) {
        while let Some(segment) = self.closed.pop_front() {
            self.recycle(segment);
        }
    }

    fn recycle(&mut self, mut segment: Vec<u8>) {
        if segment.capacity() <= KEPT_SEGMENT_BYTES_MAX && self.spare.len() < SPARE_SEGMENTS_MAX {
            segment.clear();
            self.spare.push(segment);
        }
    }

    fn close_piece(&mut self) {
        if self.open_bytes > 0 {
            self.pieces.push_back(Piece::Copied(self.open_bytes));
            self.open_bytes = 0;
        }
    }

    #[cold]
    fn next_segment(&mut self) {
        self.close_piece();
        let next = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(SEGMENT_BYTES + 4096));
        let full = std::mem::replace(&mut self.tail, next);
        self.closed.push_back(full);
        // Its bytes may all be written already: then nothing would ever pass over it.
        self.pass(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Append(usize),
        GiveUp(usize),
        Chunk(usize),
        Write(usize),
        Trim,
    }

    fn step() -> impl Strategy<Value = Step> {
        let small = prop_oneof![4 => 1..200_usize, 1 => 20_000..90_000_usize];
        prop_oneof![
            6 => small.clone().prop_map(Step::Append),
            1 => small.clone().prop_map(Step::GiveUp),
            2 => (0..40_000_usize).prop_map(Step::Chunk),
            4 => prop_oneof![1..500_usize, 10_000..300_000_usize].prop_map(Step::Write),
            1 => Just(Step::Trim),
        ]
    }

    proptest! {
        /// What goes in comes out, in order, however it is put in and taken out.
        #[test]
        fn bytes_leave_in_the_order_they_came(steps in prop::collection::vec(step(), 1..120)) {
            let mut queue = WireQueue::default();
            let mut model = VecDeque::new();
            let mut counter = 0_u8;
            let mut bytes = |count| {
                counter = counter.wrapping_add(101);
                (0..count).map(|i| counter.wrapping_add(i as u8)).collect::<Vec<_>>()
            };
            for step in steps {
                match step {
                    Step::Append(count) => {
                        let bytes = bytes(count);
                        let from = queue.tail().len();
                        queue.tail_unchanged().extend_from_slice(&bytes);
                        queue.commit(from);
                        model.extend(bytes);
                    }
                    Step::GiveUp(count) => {
                        let bytes = bytes(count);
                        let from = queue.tail().len();
                        queue.tail_unchanged().extend_from_slice(&bytes);
                        let taken = queue.take_tail(from);
                        prop_assert_eq!(&taken[from..], &bytes);
                    }
                    Step::Chunk(count) => {
                        let bytes = bytes(count);
                        model.extend(&bytes);
                        queue.push_chunk(Bytes::from(bytes));
                    }
                    Step::Write(count) => {
                        let mut slices = IoSlices::new();
                        queue.io_slices(&mut slices, 256 << 10);
                        let offered: Vec<u8> = slices.iter().flat_map(|s| s.to_vec()).collect();
                        prop_assert!(offered.len() <= 256 << 10);
                        prop_assert!(!offered.is_empty() || model.is_empty());
                        let slices_len = slices.len();
                        drop(slices);
                        let all = slices_len < IO_SLICES_MAX && model.len() <= 256 << 10;
                        prop_assert!(!all || offered.len() == model.len());
                        let written = count.min(offered.len());
                        prop_assert!(model.iter().zip(&offered).all(|(a, b)| a == b));
                        model.drain(..written);
                        queue.written(written);
                    }
                    Step::Trim => queue.trim(),
                }
                prop_assert_eq!(queue.bytes(), model.len());
            }
        }
    }
}
