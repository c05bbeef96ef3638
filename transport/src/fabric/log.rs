//! The bytes of a lane that the peer has not acknowledged: what waits to be written, and what is
//! kept in case it has to be written again, in the same memory.

use std::collections::VecDeque;

use bytes::Bytes;

/// A block that has reached this many bytes is closed and the next one begun.
const BLOCK_BYTES: usize = 64 << 10;

/// Room behind them, so that a frame of the usual size does not make the last block grow.
const BLOCK_RESERVE_BYTES: usize = 4 << 10;

/// Larger blocks, grown by a single large message, are not kept for reuse.
const KEPT_BLOCK_BYTES_MAX: usize = 4 * BLOCK_BYTES;

/// Blocks kept for reuse: what a peer that acknowledges in time leaves in flight.
const SPARE_BLOCKS_MAX: usize = 64;

/// The numbered bytes of one direction of a lane, from the last acknowledged position on.
///
/// Small frames are encoded one behind the other into blocks, large payloads are held by reference
/// between them. Writing moves a position over them and nothing else; memory is given up by
/// acknowledgements. The end is always a frame boundary, except between [`Log::tail`] and
/// [`Log::commit`].
#[derive(Debug, Default)]
pub(super) struct Log {
    /// What lies behind `acked`, oldest first, without the open part of the tail.
    pieces: VecDeque<Piece>,
    /// Full blocks that pieces refer to, oldest first.
    blocks: VecDeque<Block>,
    /// The number of the first of `blocks`. The tail's number follows those of `blocks`.
    first_block: u64,
    /// The block that is being filled.
    tail: Vec<u8>,
    /// Bytes of it that are committed.
    tail_committed: usize,
    /// Where in the tail the bytes behind the last piece begin, and their position.
    open_at: usize,
    open_start: u64,
    /// Position of the next byte to be appended.
    end: u64,
    /// Position of the next byte to be written.
    written: u64,
    /// The greatest that it ever was.
    written_max: u64,
    /// Everything before this position is acknowledged.
    acked: u64,
    /// The piece that contains `written`; their number when it is in the open part.
    cursor: usize,
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Piece {
    start: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// Bytes of the block with this number.
    Copied {
        block: u64,
        at: usize,
        len: usize,
    },
    Chunk(Bytes),
}

#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    /// No byte in it has this position or a later one.
    end: u64,
}

impl Piece {
    fn len(&self) -> usize {
        match &self.source {
            Source::Copied { len, .. } => *len,
            Source::Chunk(chunk) => chunk.len(),
        }
    }

    fn end(&self) -> u64 {
        self.start + self.len() as u64
    }
}

impl Log {
    /// Position behind the last committed byte.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Position of the next byte to be written.
    #[inline]
    pub(super) fn position_written(&self) -> u64 {
        self.written
    }

    /// Everything before this position is acknowledged.
    #[inline]
    pub(super) fn acked(&self) -> u64 {
        self.acked
    }

    /// Bytes that are not written.
    #[inline]
    pub(super) fn unwritten(&self) -> usize {
        (self.end - self.written) as usize
    }

    /// Bytes that are not acknowledged.
    #[inline]
    pub(super) fn retained(&self) -> usize {
        (self.end - self.acked) as usize
    }

    /// Position behind what was ever written.
    pub(super) fn written_max(&self) -> u64 {
        self.written_max
    }

    /// The buffer to append a frame to. What was appended counts after [`Log::commit`]; what is not
    /// committed is forgotten by the next call.
    #[inline]
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        // More is there only if an encoder failed or panicked.
        self.tail.truncate(self.tail_committed);
        if self.tail_committed >= BLOCK_BYTES || self.tail.capacity() == 0 {
            self.next_block();
        }
        &mut self.tail
    }

    /// Adds all that was appended to the tail.
    #[inline]
    pub(super) fn commit(&mut self) {
        let added = self.tail.len() - self.tail_committed;
        self.tail_committed = self.tail.len();
        self.end += added as u64;
    }

    /// Adds bytes by reference.
    pub(super) fn push_chunk(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        self.close_piece();
        let start = self.end;
        self.end += chunk.len() as u64;
        self.pieces.push_back(Piece { start, source: Source::Chunk(chunk) });
        self.open_start = self.end;
    }

    /// Takes the tail out with what was appended and not committed, which begins at the returned
    /// offset. For the rare frame that turns out to be huge.
    pub(super) fn take_tail(&mut self) -> (Vec<u8>, usize) {
        let kept = self.tail[..self.tail_committed].to_vec();
        (std::mem::replace(&mut self.tail, kept), self.tail_committed)
    }

    /// All bytes that are not written, if they lie in one piece at the end.
    #[inline]
    pub(super) fn unwritten_slice(&self) -> Option<&[u8]> {
        if self.cursor < self.pieces.len() {
            return None;
        }
        let at = self.open_at + (self.written - self.open_start) as usize;
        self.tail.get(at..self.tail_committed)
    }

    /// The bytes from `position` on, which is not before `acked`, up to `position_max`, piece by
    /// piece.
    pub(super) fn read(
        &self,
        position: u64,
        position_max: u64,
    ) -> impl Iterator<Item = &[u8]> + Clone {
        let first = if position == self.written { self.cursor } else { self.piece_at(position) };
        let pieces = self.pieces.range(first..).map(|piece| {
            let bytes = match &piece.source {
                Source::Copied { block, at, len } => &self.block(*block)[*at..*at + *len],
                Source::Chunk(chunk) => chunk,
            };
            (piece.start, bytes)
        });
        let open = (self.open_start, &self.tail[self.open_at..self.tail_committed]);
        pieces.chain(std::iter::once(open)).map_while(move |(start, bytes)| {
            if start >= position_max {
                return None;
            }
            let skip = position.saturating_sub(start) as usize;
            let upto = usize::try_from(position_max - start).unwrap_or(usize::MAX);
            bytes.get(skip..bytes.len().min(upto))
        })
    }

    /// Moves the write position over `count` bytes.
    pub(super) fn advance(&mut self, count: usize) {
        assert!(count <= self.unwritten(), "{count} bytes written of {}", self.unwritten());
        self.written += count as u64;
        self.written_max = self.written_max.max(self.written);
        while let Some(piece) = self.pieces.get(self.cursor)
            && piece.end() <= self.written
        {
            self.cursor += 1;
        }
    }

    /// Everything before `position` is acknowledged, which is neither before the last such position
    /// nor behind what is written.
    pub(super) fn acknowledge(&mut self, position: u64) {
        assert!(self.acked <= position && position <= self.written, "a position in the log");
        self.acked = position;
        while let Some(piece) = self.pieces.front()
            && piece.end() <= position
        {
            self.pieces.pop_front();
            self.cursor -= 1;
        }
        while let Some(block) = self.blocks.front()
            && block.end <= position
            && let Some(block) = self.blocks.pop_front()
        {
            self.first_block += 1;
            self.recycle(block.bytes);
        }
        if position == self.end {
            // Nothing is in the log: start over where the caches are warm.
            self.tail.clear();
            (self.tail_committed, self.open_at, self.open_start) = (0, 0, self.end);
            if self.tail.capacity() > KEPT_BLOCK_BYTES_MAX {
                self.tail = Vec::new();
            }
        }
    }

    /// Goes on writing from `position`, which is neither acknowledged nor behind what was ever
    /// written: an older connection may have brought more than the last one began with.
    pub(super) fn go_on_from(&mut self, position: u64) {
        assert!(self.acked <= position && position <= self.written_max, "a position in the log");
        self.written = position;
        self.cursor = self.piece_at(position);
    }

    /// Gives up memory that is kept for reuse.
    pub(super) fn trim(&mut self) {
        self.spare = Vec::new();
        if self.acked == self.end {
            self.tail = Vec::new();
            (self.tail_committed, self.open_at) = (0, 0);
            self.pieces = VecDeque::new();
            self.blocks = VecDeque::new();
        }
    }

    /// The piece that contains a position.
    fn piece_at(&self, position: u64) -> usize {
        self.pieces.partition_point(|piece| piece.end() <= position)
    }

    fn block(&self, number: u64) -> &[u8] {
        let at = (number - self.first_block) as usize;
        self.blocks.get(at).map_or(&self.tail, |block| &block.bytes)
    }

    /// Makes the open part of the tail a piece.
    fn close_piece(&mut self) {
        let len = self.tail_committed - self.open_at;
        if len == 0 {
            return;
        }
        let block = self.first_block + self.blocks.len() as u64;
        let source = Source::Copied { block, at: self.open_at, len };
        self.pieces.push_back(Piece { start: self.open_start, source });
        self.open_at = self.tail_committed;
        self.open_start += len as u64;
        if self.written >= self.open_start {
            self.cursor = self.pieces.len();
        }
    }

    #[cold]
    fn next_block(&mut self) {
        let new = || Vec::with_capacity(BLOCK_BYTES + BLOCK_RESERVE_BYTES);
        let next = self.spare.pop().unwrap_or_else(new);
        if self.tail.capacity() > 0 {
            self.close_piece();
            let bytes = std::mem::replace(&mut self.tail, next);
            self.blocks.push_back(Block { bytes, end: self.end });
        } else {
            self.tail = next;
        }
        (self.tail_committed, self.open_at) = (0, 0);
    }

    fn recycle(&mut self, mut block: Vec<u8>) {
        if block.capacity() <= KEPT_BLOCK_BYTES_MAX && self.spare.len() < SPARE_BLOCKS_MAX {
            block.clear();
            self.spare.push(block);
        }
    }
}
