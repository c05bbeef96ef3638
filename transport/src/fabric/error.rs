//! Why a hello, a settling or a join failed, whose fault that is and what helps.

use std::fmt;
use std::time::Duration;

use crate::handshake::Fault;

/// A link that did not become a session, or a connection that did not become a lane's socket. It
/// is over: write what the machine's output still holds, then close the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FabricError {
    /// The peer closed the connection.
    Closed {
        /// What was to come next.
        expected: FabricMessage,
    },
    /// The peer sent bytes while it had to wait.
    EarlyBytes,
    /// A lane that the initiator counts among the session's did not get through here.
    LaneLost {
        /// The number of the lane.
        lane: u8,
    },
    /// A message that is not what it should be.
    Message {
        /// What was to come.
        expected: FabricMessage,
        /// What is wrong with what came.
        error: MalformedMessage,
    },
    /// This machine was driven against its rules; the text says how.
    Misused(&'static str),
    /// The peer's proof is not that of the cookie, or not of this join.
    NotAuthentic,
    /// The peer's nonce is our own: somebody plays our messages back to us.
    ReflectedNonce,
    /// The acceptor refused the join.
    Refused(Refusal),
    /// What was to come did not.
    Timeout {
        /// What was waited for.
        expected: FabricMessage,
        /// The time it was given.
        limit: Duration,
    },
}

/// The messages before a lane's first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FabricMessage {
    /// What each side can and wants, on the first link.
    Hello,
    /// The initiator's list of joined lanes.
    Lanes,
    /// The acceptor's consent to it.
    LanesOk,
    /// The initiator's wish to connect a lane.
    Join,
    /// The acceptor's answer, with its proof.
    Welcome,
    /// The initiator's proof.
    Confirm,
}

/// Why an acceptor does not take a join; the number is that of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// It has no session of that id: it restarted, or gave the session up.
    UnknownSession = 1,
    /// The lane has seen this epoch, or a later one.
    StaleEpoch = 2,
    /// The session has no such lane.
    UnknownLane = 3,
    /// The initiator failed to prove that it knows the cookie.
    NotAuthentic = 4,
    /// It does not speak the version of the join.
    Version = 5,
    /// It cannot answer now; another try may succeed.
    TryAgain = 6,
}

impl Refusal {
    /// The refusal with the number `code`.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Refusal> {
        Some(match code {
            1 => Refusal::UnknownSession,
            2 => Refusal::StaleEpoch,
            3 => Refusal::UnknownLane,
            4 => Refusal::NotAuthentic,
            5 => Refusal::Version,
            6 => Refusal::TryAgain,
            _ => return None,
        })
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// What is wrong with the bytes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MalformedMessage {
    /// A field has a value that it must not have.
    BadField {
        /// The name of the field.
        field: &'static str,
        /// Its value.
        came: u64,
    },
    /// The length before it exceeds what such a message may have; none of it was read.
    TooLong {
        /// The announced length.
        length_bytes: usize,
        /// The greatest length allowed.
        limit_bytes: usize,
    },
    /// It does not begin with the byte `K` and the number of the message that has to come.
    WrongKind {
        /// The first two bytes, as far as there are any.
        came: [Option<u8>; 2],
    },
    /// Its fields do not fit its length.
    WrongLength {
        /// Its length.
        length_bytes: usize,
    },
}

impl FabricError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            FabricError::Closed { .. }
            | FabricError::LaneLost { .. }
            | FabricError::Timeout { .. } => Fault::Network,
            FabricError::NotAuthentic | FabricError::Refused(Refusal::NotAuthentic) => {
                Fault::Configuration
            }
            // The session ended there first; or the answer was late.
            FabricError::Refused(
                Refusal::UnknownSession | Refusal::StaleEpoch | Refusal::TryAgain,
            ) => Fault::Network,
            FabricError::Misused(_) => Fault::Ours,
            FabricError::EarlyBytes
            | FabricError::Message { .. }
            | FabricError::ReflectedNonce
            | FabricError::Refused(Refusal::UnknownLane | Refusal::Version) => Fault::Peer,
        }
    }
}

impl fmt::Display for FabricError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FabricError::Closed { expected } => {
                write!(formatter, "the peer closed the connection before its {expected}")
            }
            FabricError::EarlyBytes => {
                formatter.write_str("the peer sent bytes while it had to wait for an answer")
            }
            FabricError::LaneLost { lane } => {
                write!(formatter, "lane {lane}, which the peer counts as joined, is lost")
            }
            FabricError::Message { expected, error } => {
                write!(formatter, "what came is no {expected}: {error}")
            }
            FabricError::Misused(how) => write!(formatter, "misused by its owner: {how}"),
            FabricError::NotAuthentic => formatter.write_str(
                "the peer's proof does not fit this join; the cookies differ, or somebody between \
                 the nodes changed or replayed messages",
            ),
            FabricError::ReflectedNonce => formatter.write_str(
                "the peer sent our own nonce back; somebody between the nodes replays messages",
            ),
            FabricError::Refused(refusal) => write!(formatter, "the peer refused: {refusal}"),
            FabricError::Timeout { expected, limit } => {
                write!(formatter, "no {expected} came within {limit:?}")
            }
        }
    }
}

impl std::error::Error for FabricError {}

impl fmt::Display for FabricMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            FabricMessage::Hello => "hello",
            FabricMessage::Lanes => "lanes",
            FabricMessage::LanesOk => "lanes_ok",
            FabricMessage::Join => "join",
            FabricMessage::Welcome => "welcome",
            FabricMessage::Confirm => "confirm",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Refusal::UnknownSession => "it does not know the session (any more)",
            Refusal::StaleEpoch => "the lane was joined with this epoch or a later one",
            Refusal::UnknownLane => "the session has no such lane",
            Refusal::NotAuthentic => "our proof does not convince it; the cookies differ",
            Refusal::Version => "it does not speak this version",
            Refusal::TryAgain => "it cannot answer now",
        })
    }
}

impl fmt::Display for MalformedMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MalformedMessage::BadField { field, came } => {
                write!(formatter, "its {field} cannot be {came}")
            }
            MalformedMessage::TooLong { length_bytes, limit_bytes } => write!(
                formatter,
                "it announces {length_bytes} bytes, at most {limit_bytes} are allowed"
            ),
            MalformedMessage::WrongKind { came: [Some(mark), Some(kind)] } => {
                write!(formatter, "it begins with the bytes {mark} and {kind}")
            }
            MalformedMessage::WrongKind { .. } => formatter.write_str("it is too short"),
            MalformedMessage::WrongLength { length_bytes } => {
                write!(formatter, "its fields do not fit its {length_bytes} bytes")
            }
        }
    }
}

impl std::error::Error for MalformedMessage {}
