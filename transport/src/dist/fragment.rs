//! Fragments: large messages in pieces, so that others can pass between them.
//!
//! A message's fragments count down to 1. OTP trusts what it is sent here: wrong ids corrupt its
//! memory and a sequence id of 0 ends the whole peer, so the sending side is exact by
//! construction, and the receiving side checks everything.
//!
//! OTP: erl_dist_protocol, "Protocol between Connected Nodes"; `dist.c`, `erts_net_message`.

use std::collections::HashMap;
use std::fmt;

use smallvec::SmallVec;

use super::frame::{FRAGMENT_BYTES, FRAGMENT_CONTINUATION, FRAGMENT_START, VERSION};
use crate::buffer::Slice;
use crate::term::{DecodeError, Limits, Progress, Validator};

/// Bytes in front of a fragment's content: version, kind, sequence id and fragment id.
pub const FRAGMENT_HEADER_BYTES: usize = 18;

/// Parts smaller than this are copied together, so that they do not keep whole slabs from being
/// used again.
const COPIED_PART_BYTES_MAX: usize = 16 << 10;

/// So are parts that keep more than so many times their own size in memory: what a peer can pin is
/// bounded by as many times the limits.
const PINNED_RATIO_MAX: usize = 8;

/// What an open sequence costs besides its bytes, so that empty fragments are not free.
pub(crate) const PART_OVERHEAD_BYTES: usize = 64;

/// The smallest average fragment that is accepted: it bounds the first fragment id.
const AVERAGE_FRAGMENT_BYTES_MIN: u64 = 1 << 10;

/// Names a fragmented message among the unfinished ones of its sender. Never 0 when sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceId(pub u64);

/// How much a peer may have in pieces at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Unfinished sequences of one connection.
    pub sequences_max: usize,
    /// Bytes of one message.
    pub sequence_bytes_max: usize,
    /// Bytes of all unfinished messages of one connection.
    pub connection_bytes_max: usize,
}

impl FragmentLimits {
    /// 1024 sequences, 256 MiB a message, 512 MiB a connection.
    pub const DEFAULT: FragmentLimits = FragmentLimits {
        sequences_max: 1024,
        sequence_bytes_max: 256 << 20,
        connection_bytes_max: 512 << 20,
    };
}

impl Default for FragmentLimits {
    fn default() -> FragmentLimits {
        FragmentLimits::DEFAULT
    }
}

/// Fragments that do not fit together, or are beyond a limit. Each ends the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FragmentError {
    /// All unfinished messages together are larger than the limit.
    ConnectionTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A sequence begins that is unfinished already.
    Duplicate(SequenceId),
    /// The payload is not a term.
    Payload(DecodeError),
    /// The last fragment came and the payload is not complete.
    PayloadTruncated(SequenceId),
    /// One message is larger than the limit.
    SequenceTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The frame is too short to hold the ids.
    Truncated,
    /// More fragments are announced than a message of the greatest length needs.
    TooMany {
        /// The first fragment id.
        announced: u64,
        /// The greatest accepted.
        limit: u64,
    },
    /// More unfinished sequences than the limit.
    TooManySequences {
        /// The limit.
        limit: usize,
    },
    /// A continuation of a sequence that did not begin.
    Unknown(SequenceId),
    /// A fragment out of order.
    WrongFragment {
        /// The sequence.
        sequence: SequenceId,
        /// The id that was due.
        expected: u64,
        /// The id that came.
        came: u64,
    },
    /// A sequence id or a first fragment id of zero.
    Zero,
}

impl fmt::Display for FragmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FragmentError::ConnectionTooLarge { limit } => {
                write!(f, "unfinished messages of the connection exceed {limit} bytes")
            }
            FragmentError::Duplicate(SequenceId(id)) => {
                write!(f, "sequence {id:#x} begins again before it ended")
            }
            FragmentError::Payload(error) => error.fmt(f),
            FragmentError::PayloadTruncated(SequenceId(id)) => {
                write!(f, "the payload of sequence {id:#x} is incomplete after its last fragment")
            }
            FragmentError::SequenceTooLarge { limit } => {
                write!(f, "a fragmented message exceeds {limit} bytes")
            }
            FragmentError::Truncated => f.write_str("the frame ends inside the fragment ids"),
            FragmentError::TooMany { announced, limit } => {
                write!(f, "{announced} fragments announced, at most {limit} are accepted")
            }
            FragmentError::TooManySequences { limit } => {
                write!(f, "more than {limit} messages are unfinished")
            }
            FragmentError::Unknown(SequenceId(id)) => {
                write!(f, "a continuation of sequence {id:#x}, which did not begin")
            }
            FragmentError::WrongFragment { sequence: SequenceId(id), expected, came } => {
                write!(f, "fragment {came} of sequence {id:#x} came, {expected} was due")
            }
            FragmentError::Zero => f.write_str("a sequence id or fragment id is zero"),
        }
    }
}

impl std::error::Error for FragmentError {}

/// The ids in front of a fragment's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentIds {
    /// The message it belongs to.
    pub sequence: SequenceId,
    /// Counts down; 1 is the last.
    pub fragment: u64,
}

impl FragmentIds {
    /// Reads the ids of a frame that begins with `131, 69` or `131, 70`.
    ///
    /// # Errors
    /// When the frame is too short, or an id is zero.
    pub fn read(frame: &[u8]) -> Result<FragmentIds, FragmentError> {
        let ids = frame.get(2..).and_then(|rest| rest.split_first_chunk::<16>());
        let Some((ids, _)) = ids else { return Err(FragmentError::Truncated) };
        let ids = u128::from_be_bytes(*ids);
        let (sequence, fragment) = ((ids >> 64) as u64, ids as u64);
        if sequence == 0 || fragment == 0 {
            return Err(FragmentError::Zero);
        }
        Ok(FragmentIds { sequence: SequenceId(sequence), fragment })
    }

    /// Writes the beginning of a start or continuation frame.
    pub(crate) fn write(self, start: bool, out: &mut Vec<u8>) {
        debug_assert!(self.sequence.0 != 0 && self.fragment != 0, "zero ends an OTP peer");
        let kind = if start { FRAGMENT_START } else { FRAGMENT_CONTINUATION };
        out.extend_from_slice(&[VERSION, kind]);
        out.extend_from_slice(&self.sequence.0.to_be_bytes());
        out.extend_from_slice(&self.fragment.to_be_bytes());
    }
}

/// In how many fragments of [`FRAGMENT_BYTES`] a message goes; see [`fragment_count_of`].
#[must_use]
pub fn fragment_count(control_bytes: usize, payload_bytes: usize) -> u64 {
    fragment_count_of(FRAGMENT_BYTES, control_bytes, payload_bytes)
}

/// In how many fragments of `fragment_bytes` a message goes: the first holds the whole control
/// message and fills up with payload.
#[must_use]
pub fn fragment_count_of(fragment_bytes: usize, control_bytes: usize, payload_bytes: usize) -> u64 {
    let fragment_bytes = fragment_bytes.max(1);
    let first = fragment_bytes.saturating_sub(control_bytes);
    let rest = payload_bytes.saturating_sub(first);
    1 + rest.div_ceil(fragment_bytes) as u64
}

/// The parts of a payload in order. Most messages have one.
pub type Parts = SmallVec<[Slice; 1]>;

/// A message whose last fragment has arrived.
#[derive(Debug)]
pub struct Assembled<H> {
    /// What was kept from the start frame.
    pub head: H,
    /// The payload, without what may stand behind its term. Empty if there was none.
    pub parts: Parts,
    /// Whether the payload refers to the atoms of the start frame's header.
    pub uses_atom_cache: bool,
}

/// Puts the messages of one connection together again. `H` is what the start frame says besides
/// the payload.
#[derive(Debug)]
pub struct Assembler<H> {
    limits: FragmentLimits,
    term_limits: Limits,
    /// Boxed, for most connections never bring a message in fragments.
    begun: Option<Box<Begun<H>>>,
}

/// The messages of which fragments are still to come.
#[derive(Debug)]
struct Begun<H> {
    sequences: HashMap<SequenceId, Open<H>>,
    bytes: usize,
}

impl<H> Default for Begun<H> {
    fn default() -> Begun<H> {
        Begun { sequences: HashMap::new(), bytes: 0 }
    }
}

#[derive(Debug)]
struct Open<H> {
    head: H,
    expected: u64,
    parts: PartList,
    /// What this sequence counts towards the limits.
    bytes: usize,
    validator: Validator,
    begun: bool,
    complete: bool,
}

impl<H> Assembler<H> {
    /// An assembler without open sequences. Allocates nothing.
    #[must_use]
    pub fn new(limits: FragmentLimits, term_limits: Limits) -> Assembler<H> {
        Assembler { limits, term_limits, begun: None }
    }

    /// How many messages are unfinished.
    #[must_use]
    pub fn open_sequences(&self) -> usize {
        self.begun.as_ref().map_or(0, |begun| begun.sequences.len())
    }

    /// What one term may cost.
    #[inline]
    pub(crate) fn term_limits(&self) -> &Limits {
        &self.term_limits
    }

    /// Gives up memory that is kept for reuse.
    pub(crate) fn trim(&mut self) {
        self.begun.take_if(|begun| begun.sequences.is_empty());
    }

    /// Bytes that the unfinished messages count towards the limits.
    #[must_use]
    pub fn open_bytes(&self) -> usize {
        self.begun.as_ref().map_or(0, |begun| begun.bytes)
    }

    /// Whether a start frame with these ids would be accepted. Checked before anything of the
    /// frame is decoded.
    ///
    /// # Errors
    /// The limit or rule that the ids break.
    pub fn check_start(&self, ids: FragmentIds) -> Result<(), FragmentError> {
        let limit = self.limits.sequence_bytes_max as u64 / AVERAGE_FRAGMENT_BYTES_MIN + 2;
        if ids.fragment > limit {
            return Err(FragmentError::TooMany { announced: ids.fragment, limit });
        }
        let begun = self.begun.as_ref();
        if begun.is_some_and(|begun| begun.sequences.contains_key(&ids.sequence)) {
            return Err(FragmentError::Duplicate(ids.sequence));
        }
        if self.open_sequences() >= self.limits.sequences_max {
            return Err(FragmentError::TooManySequences { limit: self.limits.sequences_max });
        }
        Ok(())
    }

    /// A start frame: what it says besides the payload, how many atoms its header names, and the
    /// first part of the payload. Gives the message if it is complete already.
    ///
    /// # Errors
    /// The rule or limit that is broken; the connection ends.
    pub fn start(
        &mut self,
        ids: FragmentIds,
        head: H,
        atom_entries: usize,
        part: Slice,
    ) -> Result<Option<Assembled<H>>, FragmentError> {
        self.check_start(ids)?;
        let open = Open {
            head,
            expected: ids.fragment,
            parts: PartList::default(),
            bytes: 0,
            validator: Validator::new(self.term_limits, atom_entries),
            begun: false,
            complete: false,
        };
        self.take_part(ids, open, part)
    }

    /// A continuation. Gives the message if this was its last fragment.
    ///
    /// # Errors
    /// The rule or limit that is broken; the connection ends.
    pub fn continuation(
        &mut self,
        ids: FragmentIds,
        part: Slice,
    ) -> Result<Option<Assembled<H>>, FragmentError> {
        let unknown = FragmentError::Unknown(ids.sequence);
        let Some(begun) = &mut self.begun else { return Err(unknown) };
        let Some(open) = begun.sequences.remove(&ids.sequence) else { return Err(unknown) };
        begun.bytes -= open.bytes;
        if open.expected != ids.fragment {
            return Err(FragmentError::WrongFragment {
                sequence: ids.sequence,
                expected: open.expected,
                came: ids.fragment,
            });
        }
        self.take_part(ids, open, part)
    }

    /// Adds a part to a sequence that is not in the table, and puts it there unless it is whole.
    fn take_part(
        &mut self,
        ids: FragmentIds,
        mut open: Open<H>,
        mut part: Slice,
    ) -> Result<Option<Assembled<H>>, FragmentError> {
        open.bytes += part.len() + PART_OVERHEAD_BYTES;
        if open.bytes > self.limits.sequence_bytes_max {
            return Err(FragmentError::SequenceTooLarge { limit: self.limits.sequence_bytes_max });
        }
        if self.open_bytes() + open.bytes > self.limits.connection_bytes_max {
            let limit = self.limits.connection_bytes_max;
            return Err(FragmentError::ConnectionTooLarge { limit });
        }
        // What stands behind the term is ignored, as in OTP.
        if !open.complete && !part.is_empty() {
            open.begun = true;
            if let Progress::Done { used } =
                open.validator.feed(&part).map_err(FragmentError::Payload)?
            {
                open.complete = true;
                part.truncate(used);
            }
            open.parts.push(part);
        }
        if ids.fragment > 1 {
            open.expected = ids.fragment - 1;
            let begun = self.begun.get_or_insert_default();
            begun.bytes += open.bytes;
            begun.sequences.insert(ids.sequence, open);
            return Ok(None);
        }
        if open.begun && !open.complete {
            return Err(FragmentError::PayloadTruncated(ids.sequence));
        }
        let uses_atom_cache = open.validator.uses_atom_cache();
        Ok(Some(Assembled { head: open.head, parts: open.parts.finish(), uses_atom_cache }))
    }
}

/// The parts of an unfinished message. Large ones are kept where they are; small ones, and those
/// that pin much more memory than they are long, are copied together.
#[derive(Debug, Default)]
pub(crate) struct PartList {
    parts: Parts,
    /// Small parts in a row, copied together.
    copied: Vec<u8>,
}

impl PartList {
    /// Adds the next part.
    pub(crate) fn push(&mut self, part: Slice) {
        let pins = part.held_bytes() / PINNED_RATIO_MAX;
        if part.len() < COPIED_PART_BYTES_MAX.max(pins) {
            self.copied.extend_from_slice(&part);
        } else {
            self.flush_copied();
            self.parts.push(part);
        }
    }

    /// All parts in order; none if nothing was added.
    pub(crate) fn finish(mut self) -> Parts {
        self.flush_copied();
        self.parts
    }

    fn flush_copied(&mut self) {
        if !self.copied.is_empty() {
            self.parts.push(Slice::from(std::mem::take(&mut self.copied)));
        }
    }
}

#[cfg(test)]
#[path = "fragment_tests.rs"]
mod tests;
