//! Why a handshake failed, whose fault that is and what helps.

use std::fmt;
use std::time::Duration;

use super::flags::Flags;
use super::message::{MessageError, MessageKind};
use super::name::{NameError, NodeName};

/// A handshake that failed. It is over: write what the machine's output still holds, then close
/// the socket. Nothing else is affected, an older link to the same peer included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeError {
    /// The peer's name, as far as it is known. Until a digest was verified it is only a claim.
    pub peer: Option<NodeName>,
    /// What the handshake was waiting for.
    pub stage: Stage,
    /// What went wrong.
    pub kind: HandshakeErrorKind,
}

/// What a handshake waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A message of the peer.
    Message(MessageKind),
    /// The owner's verdict on the peer's name, on an attempt the peer calls `alive`, or on a peer
    /// that has proven itself while an attempt of this node is under way.
    Owner,
    /// The owner to take down the link that this one replaces.
    OldLink,
    /// The peer's own attempt, after it answered `nok` to this one.
    PeersAttempt,
    /// Nothing: it is over.
    Over,
}

/// What went wrong in a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeErrorKind {
    /// The peer withdrew: it answered `false` to `alive`.
    AttemptWithdrawn,
    /// The name the peer sent is none; shown escaped and cut.
    BadName {
        /// The name, printable.
        came: String,
        /// The rule it breaks.
        error: NameError,
    },
    /// The peer closed the connection.
    Closed,
    /// The peer's digest is not that of our cookie.
    CookieMismatch,
    /// The peer sent bytes while it had to wait.
    EarlyBytes,
    /// The peer gave us a name on another host than the one we asked for.
    HostChanged {
        /// The host we sent.
        expected: String,
        /// The name that came.
        came: NodeName,
    },
    /// A message that is not what it should be.
    Message(MessageError),
    /// One side lacks flags that are mandatory.
    MissingFlags {
        /// The flags; their `Display` names them.
        missing: Flags,
        /// Those of them that we do not announce ourselves.
        ours: Flags,
    },
    /// This machine was driven against its rules; the text says how.
    Misused(&'static str),
    /// The peer answered `not_allowed`.
    NotAllowed,
    /// The peer claims the name of this very node.
    OwnName,
    /// The peer's challenge is one of our own outstanding ones: somebody plays our messages back
    /// to us.
    ReflectedChallenge,
    /// A stage, or all of them together, took too long.
    Timeout {
        /// The time it was given.
        limit: Duration,
    },
    /// A status that exists, but not at this place.
    UnexpectedStatus {
        /// The status.
        came: &'static str,
    },
    /// Another node answers than the one that was dialled.
    WrongPeer {
        /// The name it gave.
        came: NodeName,
    },
}

/// Who has to change something for the handshake to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// How the two nodes are configured: cookies, allow lists, names, releases.
    Configuration,
    /// The connection between them, or the load of either side.
    Network,
    /// This program.
    Ours,
    /// The peer broke the protocol.
    Peer,
}

impl HandshakeError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match &self.kind {
            // A node that does not like our digest just closes.
            HandshakeErrorKind::Closed
                if self.stage == Stage::Message(MessageKind::ChallengeAck) =>
            {
                Fault::Configuration
            }
            HandshakeErrorKind::Closed
            | HandshakeErrorKind::Timeout { .. }
            | HandshakeErrorKind::AttemptWithdrawn => Fault::Network,
            HandshakeErrorKind::CookieMismatch
            | HandshakeErrorKind::MissingFlags { .. }
            | HandshakeErrorKind::NotAllowed
            | HandshakeErrorKind::OwnName
            | HandshakeErrorKind::WrongPeer { .. } => Fault::Configuration,
            HandshakeErrorKind::Misused(_) => Fault::Ours,
            HandshakeErrorKind::BadName { .. }
            | HandshakeErrorKind::EarlyBytes
            | HandshakeErrorKind::HostChanged { .. }
            | HandshakeErrorKind::Message(_)
            | HandshakeErrorKind::ReflectedChallenge
            | HandshakeErrorKind::UnexpectedStatus { .. } => Fault::Peer,
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("handshake")?;
        if let Some(peer) = &self.peer {
            write!(formatter, " with {peer}")?;
        }
        write!(formatter, " failed while waiting for {}: ", self.stage)?;
        match &self.kind {
            HandshakeErrorKind::AttemptWithdrawn => {
                formatter.write_str("the peer withdrew this attempt; its older connection stays")
            }
            HandshakeErrorKind::BadName { came, error } => {
                write!(formatter, "the peer calls itself \"{came}\": {error}")
            }
            HandshakeErrorKind::Closed => self.display_closed(formatter),
            HandshakeErrorKind::CookieMismatch => formatter.write_str(
                "the peer's cookie is not the one this node holds for it; give both nodes the \
                 same cookie",
            ),
            HandshakeErrorKind::EarlyBytes => {
                formatter.write_str("the peer sent bytes while it had to wait for an answer")
            }
            HandshakeErrorKind::HostChanged { expected, came } => write!(
                formatter,
                "the peer named this node {came}, expected a name on the host {expected}"
            ),
            HandshakeErrorKind::Message(error) => {
                write!(formatter, "what came is no such message: {error}")
            }
            HandshakeErrorKind::MissingFlags { missing, ours } if ours.is_empty() => write!(
                formatter,
                "the peer lacks the mandatory flags {missing}; it must be OTP 25 or later, or \
                 announce them"
            ),
            HandshakeErrorKind::MissingFlags { ours, .. } => {
                write!(formatter, "this node is configured without the mandatory flags {ours}")
            }
            HandshakeErrorKind::Misused(how) => write!(formatter, "misused by its owner: {how}"),
            HandshakeErrorKind::NotAllowed => formatter.write_str(
                "the peer answered not_allowed; add this node to its net_kernel:allow list, or \
                 look in its log for flags that it misses",
            ),
            HandshakeErrorKind::OwnName => formatter
                .write_str("the peer claims this node's own name; two nodes must not share a name"),
            HandshakeErrorKind::ReflectedChallenge => formatter.write_str(
                "the peer sent one of our own challenges back; somebody between us replays \
                 messages",
            ),
            HandshakeErrorKind::Timeout { limit } => {
                write!(formatter, "nothing came within {limit:?}")
            }
            HandshakeErrorKind::UnexpectedStatus { came } => {
                write!(formatter, "the status {came} has no place here")
            }
            HandshakeErrorKind::WrongPeer { came } => write!(
                formatter,
                "the node that answers is {came}; the port may have passed to another node, look \
                 it up again"
            ),
        }
    }
}

impl HandshakeError {
    /// What it most likely means that the peer closed: OTP refuses without a word.
    fn display_closed(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.stage {
            Stage::Message(MessageKind::ChallengeAck) => {
                "the peer closed the connection; most likely it holds another cookie for this \
                 node: give both nodes the same cookie"
            }
            Stage::Message(MessageKind::Status) => {
                "the peer closed the connection without a status; it may not be a node, be busy \
                 with another connection of this name already, or have no file descriptor left, \
                 which its log tells"
            }
            Stage::Message(MessageKind::Challenge) => {
                "the peer closed the connection after its status"
            }
            Stage::PeersAttempt => "the peer closed the connection, as it said it would",
            _ => "the peer closed the connection",
        })
    }
}

impl std::error::Error for HandshakeError {}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Message(kind) => write!(formatter, "{kind}"),
            Stage::Owner => formatter.write_str("this node's decision"),
            Stage::OldLink => formatter.write_str("the old connection to go down"),
            Stage::PeersAttempt => formatter.write_str("the peer's own attempt (status nok)"),
            Stage::Over => formatter.write_str("nothing more"),
        }
    }
}
