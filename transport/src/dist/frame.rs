//! Frames: the length word, what may stand behind it, and how long it may be.
//!
//! OTP: erl_dist_protocol, "Protocol between Connected Nodes".

use std::fmt;

use crate::handshake::Flags;

/// Bytes of the big-endian length in front of every frame.
pub const LENGTH_BYTES: usize = 4;

/// A tick on the wire: a frame of length 0.
pub const TICK: [u8; LENGTH_BYTES] = [0; LENGTH_BYTES];

/// The longest frame any peer accepts: OTP's TCP driver closes beyond it with `emsgsize`.
pub const FRAME_BYTES_HARD_MAX: u32 = (1 << 31) - 5;

/// The longest frame accepted unless configured otherwise.
///
/// With fragments a frame has little more than 64 KiB; without them it is a whole message, and
/// memory for it is committed while it arrives. OTP also sends a message whole, whatever its size
/// and the flags, when it was sent before the connection was up (and made it be set up): so this
/// is the bound of one message in fragments as well.
pub const FRAME_BYTES_MAX_DEFAULT: u32 = 256 << 20;

/// Bytes of control message and payload in one fragment, as OTP sends them.
pub const FRAGMENT_BYTES: usize = 64 << 10;

/// First byte of a frame on a connection without distribution headers.
pub(crate) const PASS_THROUGH: u8 = 112;
/// First byte of a distribution header, and of a stand-alone term.
pub(crate) const VERSION: u8 = 131;
/// Second byte of a header in front of a whole message.
pub(crate) const NORMAL_HEADER: u8 = 68;
/// Second byte of a header that starts a fragmented message.
pub(crate) const FRAGMENT_START: u8 = 69;
/// Second byte of a frame that continues a fragmented message.
pub(crate) const FRAGMENT_CONTINUATION: u8 = 70;

/// How the frames of a connection look. Both sides derive it from the negotiated flags; the first
/// byte of a frame does not choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `112, 131, control [, 131, payload]`: neither atom cache nor fragments negotiated.
    PassThrough,
    /// `131, 68, 0, control [, payload]`: fragments without an atom cache.
    PlainHeader,
    /// `131, 68, atoms, control [, payload]`: with an atom cache.
    CachedHeader,
}

impl Shape {
    /// The shape of the frames on a connection with these negotiated flags.
    #[must_use]
    pub const fn of(negotiated: Flags) -> Shape {
        if negotiated.header_atom_cache() {
            Shape::CachedHeader
        } else if negotiated.fragments() {
            Shape::PlainHeader
        } else {
            Shape::PassThrough
        }
    }
}

/// What stands at the front of the received bytes. See [`FrameReader::front`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// The frame is not complete: this many bytes, counted from its length word, make it so.
    NeedMore(usize),
    /// A complete frame: its body is the `len` bytes behind the length word.
    Frame(usize),
    /// A tick: a length word of zero and nothing behind it.
    Tick,
    /// The announced length is beyond the limit; the connection cannot go on.
    TooLarge(FrameTooLarge),
}

/// A frame was announced that is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameTooLarge {
    /// The announced length in bytes.
    pub len: u32,
    /// The limit in bytes.
    pub limit: u32,
}

impl fmt::Display for FrameTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FrameTooLarge { len, limit } = self;
        write!(
            f,
            "the peer announced a frame of {len} bytes, at most {limit} are accepted \
             (raise frame_bytes_max, or let both sides negotiate fragments)"
        )
    }
}

impl std::error::Error for FrameTooLarge {}

/// Finds frames in a stream of bytes. Keeps nothing between calls.
#[derive(Clone, Copy, Debug)]
pub struct FrameReader {
    frame_bytes_max: u32,
}

impl FrameReader {
    /// A reader that accepts frames of up to `frame_bytes_max` bytes (without the length word);
    /// what is beyond [`FRAME_BYTES_HARD_MAX`] is never accepted.
    #[must_use]
    pub const fn new(frame_bytes_max: u32) -> FrameReader {
        let frame_bytes_max = if frame_bytes_max > FRAME_BYTES_HARD_MAX {
            FRAME_BYTES_HARD_MAX
        } else {
            frame_bytes_max
        };
        FrameReader { frame_bytes_max }
    }

    /// Says what the bytes received so far begin with.
    #[inline]
    #[must_use]
    pub fn front(&self, received: &[u8]) -> Front {
        let Some((word, body)) = received.split_first_chunk::<LENGTH_BYTES>() else {
            return Front::NeedMore(LENGTH_BYTES);
        };
        let announced = u32::from_be_bytes(*word);
        if announced == 0 {
            return Front::Tick;
        }
        if announced > self.frame_bytes_max {
            return Front::TooLarge(FrameTooLarge { len: announced, limit: self.frame_bytes_max });
        }
        // At most 2^31-5, so it fits where this crate runs.
        let len = announced as usize;
        if body.len() < len { Front::NeedMore(LENGTH_BYTES + len) } else { Front::Frame(len) }
    }
}

impl Default for FrameReader {
    fn default() -> FrameReader {
        FrameReader::new(FRAME_BYTES_MAX_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_of_every_kind() {
        let reader = FrameReader::new(100);
        assert_eq!(reader.front(&[]), Front::NeedMore(4));
        assert_eq!(reader.front(&[0, 0, 0]), Front::NeedMore(4));
        assert_eq!(reader.front(&[0, 0, 0, 0]), Front::Tick);
        assert_eq!(reader.front(&[0, 0, 0, 2, 9]), Front::NeedMore(6));
        assert_eq!(reader.front(&[0, 0, 0, 2, 9, 9, 9]), Front::Frame(2));
        assert_eq!(
            reader.front(&[0, 0, 0, 101]),
            Front::TooLarge(FrameTooLarge { len: 101, limit: 100 })
        );
    }

    #[test]
    fn the_hard_limit_cannot_be_raised() {
        let reader = FrameReader::new(u32::MAX);
        let announced = (FRAME_BYTES_HARD_MAX + 1).to_be_bytes();
        assert!(matches!(reader.front(&announced), Front::TooLarge(_)));
        let announced = FRAME_BYTES_HARD_MAX.to_be_bytes();
        assert_eq!(reader.front(&announced), Front::NeedMore(FRAME_BYTES_HARD_MAX as usize + 4));
    }

    #[test]
    fn the_shape_follows_the_flags() {
        assert_eq!(Shape::of(Flags::NONE), Shape::PassThrough);
        assert_eq!(Shape::of(Flags::FRAGMENTS), Shape::PlainHeader);
        assert_eq!(Shape::of(Flags::DIST_HDR_ATOM_CACHE), Shape::CachedHeader);
        let both = Flags::DIST_HDR_ATOM_CACHE.with(Flags::FRAGMENTS);
        assert_eq!(Shape::of(both), Shape::CachedHeader);
    }
}
