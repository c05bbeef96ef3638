//! Messages to one process as they lie in the received bytes.

use super::ProcessNumber;
use super::frame::{Form, HEADER_BYTES, Header, Layout, kind};
use crate::buffer::{SharedSlice, Slice};
use crate::term::{Limits, validate};

/// Consecutive messages to one process, checked and not yet taken apart: as cheap to hand on as one
/// of them. [`Run::next`] cuts one after the other out of it.
#[derive(Clone, Debug)]
pub struct Run {
    frames: Slice,
    to: ProcessNumber,
    count: u32,
    layout: Layout,
}

/// One message of a [`Run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunMessage {
    /// The process of the peer that sent it.
    pub from: ProcessNumber,
    /// What the payload is.
    pub form: Form,
    /// Bytes, or one valid term without version byte, in the memory of the run.
    pub payload: Slice,
}

/// A [`Run`] that can go to another thread.
#[derive(Clone, Debug)]
pub struct SharedRun {
    frames: SharedSlice,
    to: ProcessNumber,
    count: u32,
    layout: Layout,
}

/// How many frames at the front of the received bytes make a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) bytes: usize,
    pub(super) count: u32,
    pub(super) to: ProcessNumber,
}

/// Kind, flags and head of a whole message, as the number that the first four bytes are.
const WHOLE_TERM: u32 = u32::from_le_bytes([kind::MESSAGE, 0, 0, 0]);
const WHOLE_RAW: u32 = u32::from_le_bytes([kind::MESSAGE, super::frame::FLAG_RAW, 0, 0]);

impl Extent {
    /// Finds the run at the front of `bytes`; its count is zero if there is none. It ends before
    /// anything that is incomplete, wrong or no whole message to the same process.
    #[inline]
    pub(super) fn find(
        bytes: &[u8],
        layout: Layout,
        payload_max: usize,
        limits: &Limits,
    ) -> Extent {
        let mut rest = bytes;
        let mut count = 0;
        let mut to = [0; 8];
        while let Some(header) = rest.first_chunk::<HEADER_BYTES>() {
            let [k, f, h0, h1, l0, l1, l2, l3, _, _, _, _, _, _, _, _, target @ ..] = *header;
            let lead = u32::from_le_bytes([k, f, h0, h1]);
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            if lead & !(WHOLE_RAW ^ WHOLE_TERM) != WHOLE_TERM || length > payload_max {
                break;
            }
            if count > 0 && target != to {
                break;
            }
            let len = layout.header_bytes() + length;
            let Some((frame, behind)) = rest.split_at_checked(len) else { break };
            if layout.checksum && !layout.is_intact(frame) {
                break;
            }
            if lead == WHOLE_TERM && !is_term(&frame[layout.header_bytes()..], limits) {
                break;
            }
            to = target;
            count += 1;
            rest = behind;
        }
        Extent { bytes: bytes.len() - rest.len(), count, to: ProcessNumber::decode(to) }
    }
}

/// Whether a payload is one legal term. Out of line, so that bytes are passed over with all that is
/// needed in registers.
#[inline(never)]
fn is_term(payload: &[u8], limits: &Limits) -> bool {
    validate(payload, 0, limits).is_ok_and(|term| term.len == payload.len())
}

impl Run {
    pub(super) fn new(frames: Slice, extent: Extent, layout: Layout) -> Run {
        debug_assert_eq!(frames.len(), extent.bytes);
        Run { frames, to: extent.to, count: extent.count, layout }
    }

    /// The process that all the messages are for.
    #[inline]
    #[must_use]
    pub fn to(&self) -> ProcessNumber {
        self.to
    }

    /// How many messages are left.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether no message is left.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the messages that are left, headers included.
    #[inline]
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        self.frames.len()
    }

    /// Bytes of payload of the messages that are left.
    #[inline]
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.frames.len() - self.count as usize * self.layout.header_bytes()
    }

    /// Bytes of memory that the run keeps from being used again.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.frames.held_bytes()
    }

    /// The next message. It shares the memory of the run.
    #[expect(clippy::should_implement_trait, reason = "a queue that is also an iterator confuses")]
    #[inline]
    pub fn next(&mut self) -> Option<RunMessage> {
        let header = Header::decode(self.frames.first_chunk()?);
        let len = self.layout.header_bytes() + header.length as usize;
        let mut payload = self.frames.split_to(len);
        payload.advance(self.layout.header_bytes());
        self.count -= 1;
        Some(RunMessage { from: header.from, form: header.form(), payload })
    }

    /// The next message where it lies, without taking it.
    #[inline]
    #[must_use]
    pub fn peek(&self) -> Option<(ProcessNumber, Form, &[u8])> {
        let header = Header::decode(self.frames.first_chunk()?);
        let start = self.layout.header_bytes();
        let payload = &self.frames[start..start + header.length as usize];
        Some((header.from, header.form(), payload))
    }

    /// The same messages in memory of their own, so that they pin no slab.
    #[must_use]
    pub fn copied(&self) -> Run {
        Run { frames: Slice::copy_from(&self.frames), ..*self }
    }

    /// The form that can be sent to another thread.
    #[must_use]
    pub fn share(self) -> SharedRun {
        let Run { frames, to, count, layout } = self;
        SharedRun { frames: frames.share(), to, count, layout }
    }
}

impl SharedRun {
    /// The process that all the messages are for.
    #[must_use]
    pub fn to(&self) -> ProcessNumber {
        self.to
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A run of this thread with the same messages. Copies and allocates nothing.
    #[must_use]
    pub fn adopt(self) -> Run {
        let SharedRun { frames, to, count, layout } = self;
        Run { frames: frames.adopt(), to, count, layout }
    }
}
