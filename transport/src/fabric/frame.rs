//! The frames of a lane: a header of fixed length, an optional checksum, and the payload.
//!
//! ```text
//!  0 kind u8 | 1 flags u8 | 2 head u16 | 4 length u32
//!  8 from: id u32, serial u32          | 16 to: id u32, serial u32
//! 24 checksum u32, on sessions with checksums only
//!    payload: `length` bytes, of which the first `head` are a name or a control message
//! ```
//!
//! All numbers are little-endian.

use super::ProcessNumber;

/// Bytes of a header, without checksum.
pub const HEADER_BYTES: usize = 24;

/// Bytes of the checksum behind the header.
pub const CHECKSUM_BYTES: usize = 4;

/// The longest payload of a fragment. Every node accepts so much.
pub const FRAME_PAYLOAD_MAX: usize = super::FRAME_PAYLOAD_BYTES_MAX as usize;

/// The longest payload of a signal that goes in one frame, where the peer accepts so much: 64 KiB
/// of content with a term around it. Four of them fit into a receive slab.
pub const WHOLE_PAYLOAD_MAX: usize = FRAME_PAYLOAD_MAX + 192;

/// The payload is bytes, not a term.
pub const FLAG_RAW: u8 = 1;

/// The signal goes on in a later fragment.
pub const FLAG_MORE: u8 = 2;

/// Kinds of frames.
pub mod kind {
    /// A message from a process to a process.
    pub const MESSAGE: u8 = 1;
    /// A message to a registered name, which is the payload's head.
    pub const NAMED: u8 = 2;
    /// Any other signal: the payload's head is the control message.
    pub const SIGNAL: u8 = 3;
    /// Goes on with what the sender began.
    pub const FRAGMENT: u8 = 4;
    /// States how much was received. Not numbered.
    pub const ACK: u8 = 5;
    /// Says that the sender lives. Not numbered.
    pub const TICK: u8 = 6;
    /// The mailbox of `from` is full: `to` must not send to it.
    pub const HOLD: u8 = 7;
    /// `to` may send to `from` again.
    pub const RELEASE: u8 = 8;
    /// Ends the session.
    pub const BYE: u8 = 9;
}

/// What the payload of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// One external term without version byte.
    Term,
    /// Bytes.
    Raw,
}

impl Form {
    /// The flag that says so.
    #[inline]
    #[must_use]
    pub const fn flag(self) -> u8 {
        match self {
            Form::Term => 0,
            Form::Raw => FLAG_RAW,
        }
    }

    /// The form that these flags state.
    #[inline]
    #[must_use]
    pub const fn of(flags: u8) -> Form {
        if flags & FLAG_RAW == 0 { Form::Term } else { Form::Raw }
    }
}

/// A frame's header. Any 24 bytes are one; what it says is to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// One of [`kind`].
    pub kind: u8,
    /// [`FLAG_RAW`] and [`FLAG_MORE`].
    pub flags: u8,
    /// Bytes at the front of the payload that are a name or a control message.
    pub head: u16,
    /// Bytes of payload.
    pub length: u32,
    /// The sending process; zeros for the node.
    pub from: ProcessNumber,
    /// The addressed process; zeros where there is none.
    pub to: ProcessNumber,
}

impl Header {
    /// The header of a frame without payload.
    #[must_use]
    pub const fn bare(kind: u8) -> Header {
        let (from, to) = (ProcessNumber::NONE, ProcessNumber::NONE);
        Header { kind, flags: 0, head: 0, length: 0, from, to }
    }

    /// An acknowledgement of everything before `position`.
    #[must_use]
    pub const fn ack(position: u64) -> Header {
        let from = ProcessNumber { id: position as u32, serial: (position >> 32) as u32 };
        Header { from, ..Header::bare(kind::ACK) }
    }

    /// The position that an acknowledgement states.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.from.id as u64 | (self.from.serial as u64) << 32
    }

    /// The form of a message's payload.
    #[inline]
    #[must_use]
    pub const fn form(&self) -> Form {
        Form::of(self.flags)
    }

    /// Whether the signal goes on in a later fragment.
    #[inline]
    #[must_use]
    pub const fn has_more(&self) -> bool {
        self.flags & FLAG_MORE != 0
    }

    /// The header's bytes.
    #[inline]
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        // Whole words, so that they go from registers to where the frame is built.
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&self.lead());
        bytes[8..16].copy_from_slice(&self.from.encode());
        bytes[16..].copy_from_slice(&self.to.encode());
        bytes
    }

    /// The header's bytes in front of the processes.
    #[inline]
    pub(super) fn lead(&self) -> [u8; 8] {
        let lengths = u64::from(self.head) << 16 | u64::from(self.length) << 32;
        (u64::from(self.kind) | u64::from(self.flags) << 8 | lengths).to_le_bytes()
    }

    /// Reads a header.
    #[inline]
    #[must_use]
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Header {
        let [k, f, h0, h1, l0, l1, l2, l3, numbers @ ..] = *bytes;
        let [from @ .., _, _, _, _, _, _, _, _] = numbers;
        let [_, _, _, _, _, _, _, _, to @ ..] = numbers;
        Header {
            kind: k,
            flags: f,
            head: u16::from_le_bytes([h0, h1]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            from: ProcessNumber::decode(from),
            to: ProcessNumber::decode(to),
        }
    }
}

impl ProcessNumber {
    #[inline]
    pub(super) fn encode(self) -> [u8; 8] {
        (u64::from(self.id) | u64::from(self.serial) << 32).to_le_bytes()
    }

    #[inline]
    pub(super) fn decode(bytes: [u8; 8]) -> ProcessNumber {
        let both = u64::from_le_bytes(bytes);
        ProcessNumber { id: both as u32, serial: (both >> 32) as u32 }
    }
}

/// How the frames of a session look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Whether a CRC-32 stands behind each header.
    pub checksum: bool,
}

impl Layout {
    /// Bytes in front of the payload.
    #[inline]
    #[must_use]
    pub const fn header_bytes(self) -> usize {
        if self.checksum { HEADER_BYTES + CHECKSUM_BYTES } else { HEADER_BYTES }
    }

    /// Whether the checksum of a frame of at least [`Layout::header_bytes`] is right. Always so
    /// without checksums.
    #[inline(never)]
    pub(super) fn is_intact(self, frame: &[u8]) -> bool {
        if !self.checksum {
            return true;
        }
        let Some((header, rest)) = frame.split_first_chunk::<HEADER_BYTES>() else { return false };
        let Some((stated, payload)) = rest.split_first_chunk::<CHECKSUM_BYTES>() else {
            return false;
        };
        checksum(header, [payload]) == *stated
    }
}

/// The checksum of a frame whose payload lies in pieces.
pub(super) fn checksum<'a>(
    header: &[u8; HEADER_BYTES],
    payload: impl IntoIterator<Item = &'a [u8]>,
) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    for piece in payload {
        hasher.update(piece);
    }
    hasher.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        kind: kind::NAMED,
        flags: FLAG_RAW | FLAG_MORE,
        head: 0x0201,
        length: 0x0605_0403,
        from: ProcessNumber { id: 0x0a09_0807, serial: 0x0e0d_0c0b },
        to: ProcessNumber { id: 0x1211_100f, serial: 0x1615_1413 },
    };

    #[test]
    fn a_header_has_its_fields_where_they_belong() {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..2].copy_from_slice(&[2, 3]);
        (1..).zip(&mut bytes[2..]).for_each(|(n, byte)| *byte = n);
        assert_eq!(HEADER.encode(), bytes);
        assert_eq!(Header::decode(&bytes), HEADER);
        assert!(HEADER.has_more());
        assert_eq!(HEADER.form(), Form::Raw);
    }

    #[test]
    fn an_acknowledgement_states_a_position() {
        let ack = Header::ack(0x0102_0304_0506_0708);
        assert_eq!(ack.encode()[..8], [kind::ACK, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(ack.encode()[8..16], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(Header::decode(&ack.encode()).position(), 0x0102_0304_0506_0708);
    }

    #[test]
    fn a_checksum_covers_header_and_payload() {
        let layout = Layout { checksum: true };
        let header = HEADER.encode();
        let sum = checksum(&header, [&b"pay"[..], b"load"]);
        let mut frame = [&header[..], &sum, b"payload"].concat();
        assert!(layout.is_intact(&frame));
        for at in 0..frame.len() {
            frame[at] ^= 0x10;
            assert!(!layout.is_intact(&frame), "byte {at}");
            assert!(Layout { checksum: false }.is_intact(&frame));
            frame[at] ^= 0x10;
        }
    }
}
