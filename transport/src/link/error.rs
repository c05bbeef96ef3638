//! Why a link ends, and why a signal is not accepted.

use std::convert::Infallible;
use std::fmt;

use crate::dist::control::{ControlError, NotNegotiated};
use crate::dist::fragment::FragmentError;
use crate::dist::frame::FrameTooLarge;
use crate::dist::header::HeaderError;
use crate::term::DecodeError;

/// Something in what the peer sent that ends the connection. The peer is at fault, or memory that
/// differs on both sides; what was delivered before stays delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// The control message is malformed, or breaks a rule.
    Control(ControlError),
    /// Fragments that do not fit together, or are beyond a limit.
    Fragment(FragmentError),
    /// A frame is longer than the limit.
    FrameTooLarge(FrameTooLarge),
    /// The distribution header is malformed.
    Header(HeaderError),
    /// A message, exit or spawn request came without its payload.
    MissingPayload,
    /// The payload is not a term, or is beyond a limit.
    Payload(DecodeError),
    /// Nothing was received for the whole tick time.
    TickTimeout,
    /// The frame does not begin as the negotiated flags ask for.
    WrongShape {
        /// The first bytes of the frame, as far as there are any.
        first: [u8; 2],
        /// Length of the frame in bytes.
        len: usize,
    },
}

impl LinkError {
    /// The reason that subscribers of `nodedown` are told, in OTP's words.
    #[must_use]
    pub const fn nodedown_reason(&self) -> &'static str {
        match self {
            LinkError::FrameTooLarge(_) => "emsgsize",
            LinkError::TickTimeout => "net_tick_timeout",
            _ => "killed",
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Control(error) => write!(f, "invalid control message: {error}"),
            LinkError::Fragment(error) => write!(f, "invalid fragment: {error}"),
            LinkError::FrameTooLarge(error) => error.fmt(f),
            LinkError::Header(error) => write!(f, "invalid distribution header: {error}"),
            LinkError::MissingPayload => {
                f.write_str("a control message that carries a payload came without one")
            }
            LinkError::Payload(error) => write!(f, "invalid payload: {error}"),
            LinkError::TickTimeout => f.write_str("nothing was received for the whole tick time"),
            LinkError::WrongShape { first, len } => write!(
                f,
                "a frame of {len} bytes begins with {first:?}, which the negotiated flags do not \
                 allow"
            ),
        }
    }
}

impl std::error::Error for LinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LinkError::Control(error) => Some(error),
            LinkError::Fragment(error) => Some(error),
            LinkError::FrameTooLarge(error) => Some(error),
            LinkError::Header(error) => Some(error),
            LinkError::Payload(error) => Some(error),
            LinkError::MissingPayload | LinkError::TickTimeout | LinkError::WrongShape { .. } => {
                None
            }
        }
    }
}

impl From<ControlError> for LinkError {
    fn from(error: ControlError) -> LinkError {
        LinkError::Control(error)
    }
}

impl From<FragmentError> for LinkError {
    fn from(error: FragmentError) -> LinkError {
        LinkError::Fragment(error)
    }
}

impl From<HeaderError> for LinkError {
    fn from(error: HeaderError) -> LinkError {
        LinkError::Header(error)
    }
}

/// The outbox is full: wait until [`Link::has_room`](super::Link::has_room) says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    /// Bytes that wait to be written.
    pub queued: usize,
    /// The limit in bytes that applied to this signal.
    pub limit: usize,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Busy { queued, limit } = self;
        write!(f, "the link is busy: {queued} bytes wait to be written, the limit is {limit}")
    }
}

impl std::error::Error for Busy {}

/// A signal was not accepted; nothing of it is queued.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<E = Infallible> {
    /// The outbox is full.
    Busy(Busy),
    /// The payload could not be encoded.
    Encode(E),
    /// The peer did not agree to this kind of signal. OTP drops such signals silently.
    NotNegotiated(NotNegotiated),
    /// The signal does not fit into one frame, and fragments were not negotiated.
    TooLarge {
        /// Bytes of the frame it would need.
        bytes: usize,
        /// The longest frame any peer accepts.
        limit: usize,
    },
}

impl SendError {
    /// The same error, where encoding could fail, too.
    #[must_use]
    pub fn widen<E>(self) -> SendError<E> {
        match self {
            SendError::Busy(busy) => SendError::Busy(busy),
            SendError::Encode(never) => match never {},
            SendError::NotNegotiated(what) => SendError::NotNegotiated(what),
            SendError::TooLarge { bytes, limit } => SendError::TooLarge { bytes, limit },
        }
    }
}

impl<E: fmt::Display> fmt::Display for SendError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Busy(busy) => busy.fmt(f),
            SendError::Encode(error) => write!(f, "the payload cannot be encoded: {error}"),
            SendError::NotNegotiated(what) => what.fmt(f),
            SendError::TooLarge { bytes, limit } => write!(
                f,
                "a signal of {bytes} bytes does not fit into a frame of {limit} bytes, and the \
                 peer does not take fragments"
            ),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for SendError<E> {}

impl<E> From<Busy> for SendError<E> {
    fn from(busy: Busy) -> SendError<E> {
        SendError::Busy(busy)
    }
}

impl<E> From<NotNegotiated> for SendError<E> {
    fn from(what: NotNegotiated) -> SendError<E> {
        SendError::NotNegotiated(what)
    }
}
