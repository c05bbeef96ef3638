//! Frames that are not part of the numbered stream: acknowledgements and ticks.

use smallvec::SmallVec;

use super::frame::{CHECKSUM_BYTES, HEADER_BYTES, Header, Layout, checksum};

/// Waiting unnumbered frames and where in the stream they go: at frame boundaries.
///
/// There are three at most, one that is partly written, an acknowledgement and a tick, and rarely
/// more than one.
#[derive(Debug, Default)]
pub(super) struct Unnumbered {
    frames: SmallVec<[Insert; 1]>,
}

#[derive(Debug)]
struct Insert {
    /// The position of the stream that it goes in front of.
    at: u64,
    kind: u8,
    bytes: [u8; HEADER_BYTES + CHECKSUM_BYTES],
    len: u8,
    written: u8,
}

impl Unnumbered {
    /// Adds a frame behind everything that comes before the position `at`, which is the end of the
    /// stream. One of the same kind that waits already is replaced where it is.
    pub(super) fn put(&mut self, layout: Layout, at: u64, header: &Header) {
        let encoded = header.encode();
        let mut bytes = [0; HEADER_BYTES + CHECKSUM_BYTES];
        bytes[..HEADER_BYTES].copy_from_slice(&encoded);
        if layout.checksum {
            bytes[HEADER_BYTES..].copy_from_slice(&checksum(&encoded, []));
        }
        let waiting = |insert: &&mut Insert| insert.kind == header.kind && insert.written == 0;
        if let Some(insert) = self.frames.iter_mut().find(waiting) {
            insert.bytes = bytes;
            return;
        }
        let len = layout.header_bytes() as u8;
        self.frames.push(Insert { at, kind: header.kind, bytes, len, written: 0 });
    }

    /// Whether nothing waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes that are not written.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.frames.iter().map(|insert| usize::from(insert.len - insert.written)).sum()
    }

    /// Where the first frame goes.
    #[inline]
    pub(super) fn next_at(&self) -> Option<u64> {
        self.frames.first().map(|insert| insert.at)
    }

    /// What is left of the frames, and where it goes.
    pub(super) fn frames(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.frames.iter().map(|insert| {
            let rest = &insert.bytes[usize::from(insert.written)..usize::from(insert.len)];
            (insert.at, rest)
        })
    }

    /// Up to `count` bytes of the first frame are written; gives how many.
    pub(super) fn written(&mut self, count: usize) -> usize {
        let Some(insert) = self.frames.first_mut() else { return 0 };
        let left = usize::from(insert.len - insert.written);
        if count >= left {
            self.frames.remove(0);
            return left;
        }
        insert.written += count as u8;
        count
    }

    pub(super) fn clear(&mut self) {
        self.frames.clear();
    }
}
