//! Why a lane cannot go on.

use std::fmt;

use super::ProcessNumber;
use crate::dist::control::ControlError;
use crate::term::DecodeError;

/// What is wrong with a lane. What was received before stays received.
///
/// Most of these say that the peer broke the protocol: the session ends. After those of which
/// [`LaneError::is_resumable`] is true the lane's connection has to be given up, and another one
/// may take its place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LaneError {
    /// An acknowledgement, or the position stated at a resume, of what was not sent or had been
    /// acknowledged before.
    Acknowledged {
        /// The position that the peer stated.
        stated: u64,
        /// The least it may state.
        from: u64,
        /// The greatest.
        to: u64,
    },
    /// A signal in fragments begins before the last one of the same sender is complete.
    AlreadyUnfinished(ProcessNumber),
    /// The checksum of a frame is wrong. Resumable: the frame counts as not received.
    Checksum {
        /// Where the frame begins in the stream.
        position: u64,
    },
    /// The control message is malformed, or breaks a rule.
    Control(ControlError),
    /// Flags that no frame of this kind has.
    Flags {
        /// The kind of the frame.
        kind: u8,
        /// Its flags.
        flags: u8,
    },
    /// A frame is longer than this node said it accepts.
    FrameTooLarge {
        /// Bytes of payload.
        length: u32,
        /// The limit in bytes.
        limit: u32,
    },
    /// The part of the payload that is a name or a control message has an impossible length.
    Head {
        /// The kind of the frame.
        kind: u8,
        /// The stated length in bytes.
        head: u16,
        /// Bytes of payload.
        length: u32,
    },
    /// A signal in fragments is longer than the limit.
    MessageTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A signal that carries a payload came without one.
    MissingPayload,
    /// The name of a process or the reason of the end is no atom: not UTF-8, or longer than 255
    /// characters.
    Name,
    /// A fragment of a sender that has not begun any signal.
    NotBegun(ProcessNumber),
    /// The payload is not a term, or is beyond a limit.
    Payload(DecodeError),
    /// The term is complete before the payload is.
    PayloadTooLong {
        /// Bytes behind the term that are there.
        extra: usize,
    },
    /// The last fragment came and the term is not complete.
    PayloadTruncated(ProcessNumber),
    /// Nothing was received for half the tick time. Resumable.
    Silent,
    /// More signals are in fragments than the limit.
    TooManyUnfinished {
        /// The limit.
        limit: usize,
    },
    /// A payload where none belongs.
    UnexpectedPayload {
        /// The kind of the frame.
        kind: u8,
        /// Bytes of payload.
        length: u32,
    },
    /// All unfinished signals together are longer than the limit.
    UnfinishedTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A kind of frame that this version does not have.
    UnknownKind(u8),
}

impl LaneError {
    /// Whether another connection may take the lane over. Otherwise the session ends.
    #[must_use]
    pub const fn is_resumable(&self) -> bool {
        matches!(self, LaneError::Checksum { .. } | LaneError::Silent)
    }

    /// The reason that subscribers of `nodedown` are told when the session ends because of this.
    #[must_use]
    pub const fn nodedown_reason(&self) -> &'static str {
        match self {
            LaneError::Checksum { .. } => "checksum",
            LaneError::FrameTooLarge { .. } | LaneError::MessageTooLarge { .. } => "emsgsize",
            LaneError::Silent => "net_tick_timeout",
            _ => "killed",
        }
    }
}

impl fmt::Display for LaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LaneError::Acknowledged { stated, from, to } => write!(
                f,
                "the peer acknowledged position {stated}, which is not between {from} and {to}"
            ),
            LaneError::AlreadyUnfinished(sender) => write!(
                f,
                "a signal of {sender} begins before the last fragment of its previous one"
            ),
            LaneError::Checksum { position } => {
                write!(f, "the checksum of the frame at position {position} is wrong")
            }
            LaneError::Control(error) => write!(f, "invalid control message: {error}"),
            LaneError::Flags { kind, flags } => {
                write!(f, "a frame of kind {kind} has flags {flags:#04x}")
            }
            LaneError::FrameTooLarge { length, limit } => write!(
                f,
                "the peer announced a frame of {length} bytes, at most {limit} are accepted"
            ),
            LaneError::Head { kind, head, length } => write!(
                f,
                "a frame of kind {kind} with {length} bytes of payload states a head of {head} \
                 bytes"
            ),
            LaneError::MessageTooLarge { limit } => {
                write!(f, "a signal in fragments exceeds {limit} bytes")
            }
            LaneError::MissingPayload => {
                f.write_str("a signal that carries a payload came without one")
            }
            LaneError::Name => f.write_str("a name is not UTF-8, or longer than 255 characters"),
            LaneError::NotBegun(sender) => {
                write!(f, "a fragment of {sender}, which began no signal")
            }
            LaneError::Payload(error) => write!(f, "invalid payload: {error}"),
            LaneError::PayloadTooLong { extra } => {
                write!(f, "{extra} bytes of payload stand behind its term")
            }
            LaneError::PayloadTruncated(sender) => write!(
                f,
                "the payload of a signal of {sender} is incomplete after its last fragment"
            ),
            LaneError::Silent => f.write_str("nothing was received for half the tick time"),
            LaneError::TooManyUnfinished { limit } => {
                write!(f, "more than {limit} signals are unfinished")
            }
            LaneError::UnexpectedPayload { kind, length } => {
                write!(f, "a frame of kind {kind}, which has no payload, came with {length} bytes")
            }
            LaneError::UnfinishedTooLarge { limit } => {
                write!(f, "unfinished signals exceed {limit} bytes")
            }
            LaneError::UnknownKind(kind) => {
                write!(f, "a frame of kind {kind}; this version knows 1 to 9")
            }
        }
    }
}

impl std::error::Error for LaneError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LaneError::Control(error) => Some(error),
            LaneError::Payload(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ControlError> for LaneError {
    fn from(error: ControlError) -> LaneError {
        LaneError::Control(error)
    }
}

impl From<DecodeError> for LaneError {
    fn from(error: DecodeError) -> LaneError {
        LaneError::Payload(error)
    }
}
