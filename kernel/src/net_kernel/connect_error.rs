//! Why a node could not be connected, step by step.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use krarup_transport::epmd::client::ClientError as EpmdError;
use krarup_transport::fabric::FabricError;
use krarup_transport::handshake::{HandshakeError, HandshakeErrorKind};

use super::NodeDownReason;

/// Why a node could not be connected: the step at which it failed, and what happened there.
///
/// The steps are, in this order: the name, the host's addresses, the look-up at its epmd, the
/// connection, the handshake, the lanes. Each has the node's `setup_time`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConnectError {
    /// No node can have this name, or none of the kind (long or short) that this one is.
    Name(String),
    /// This node has no name yet, or none any more.
    NotAlive,
    /// Other nodes were [allowed](crate::Node::allow), and this one was not.
    NotAllowed,
    /// A send does not connect to it; see [`AutoConnect`](crate::AutoConnect).
    NotAutomatic,
    /// The host's addresses could not be had.
    Host(String),
    /// The epmd of the host could not be asked.
    Epmd {
        /// Where it was looked for.
        address: SocketAddr,
        /// What happened.
        error: EpmdFailure,
    },
    /// The epmd answers, and knows no such node.
    Unknown {
        /// The epmd that was asked.
        epmd: SocketAddr,
        /// The name, without the host.
        name: String,
    },
    /// There is no connection to the node's port.
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: SystemError,
    },
    /// Whoever answers there is this node itself: it was called by another name than its own.
    ThisNode,
    /// The handshake failed; the error names the message that was waited for.
    Handshake(Box<HandshakeError>),
    /// What follows the handshake between Krarup nodes failed.
    Lanes(Box<FabricError>),
    /// The connection broke, or this host ran out of something, during the handshake or behind it.
    Broken(SystemError),
    /// The peer answered that its own attempt goes first, and that one did not come through.
    PeersAttempt {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The connection ended before anybody could be told that it is there.
    Ended(NodeDownReason),
    /// Something took the attempt's place, or ended it.
    GivenUp,
    /// The node has stopped.
    Stopped,
}

/// What failed in asking an epmd.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EpmdFailure {
    /// There is no connection to it, or it broke.
    System(SystemError),
    /// It did not answer as an epmd does, or not in time.
    Answer(EpmdError),
}

/// An error of the operating system. It can be handed to all who wait, as [`io::Error`] cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemError {
    /// Its kind.
    pub kind: io::ErrorKind,
    /// The system's number for it, where it is the system's.
    pub code: Option<i32>,
    text: String,
}

impl SystemError {
    /// Whether this process or host has no file descriptor left.
    pub fn is_out_of_descriptors(&self) -> bool {
        matches!(self.code, Some(libc::EMFILE | libc::ENFILE))
    }
}

impl ConnectError {
    /// The step at which it failed, in a word or two: for counters.
    pub fn step(&self) -> &'static str {
        match self {
            ConnectError::Name(_) => "name",
            ConnectError::NotAllowed => "not_allowed",
            ConnectError::NotAutomatic => "not_automatic",
            ConnectError::Host(_) => "host",
            ConnectError::Epmd { .. } => "epmd",
            ConnectError::Unknown { .. } => "unknown",
            ConnectError::Unreachable { .. } => "unreachable",
            ConnectError::ThisNode => "this_node",
            ConnectError::Handshake(_) => "handshake",
            ConnectError::Lanes(_) => "lanes",
            ConnectError::Broken(_) => "broken",
            ConnectError::PeersAttempt { .. } => "peers_attempt",
            ConnectError::Ended(_) => "ended",
            ConnectError::GivenUp => "given_up",
            ConnectError::NotAlive | ConnectError::Stopped => "not_alive",
        }
    }

    /// Whether the time for a step ran out: the peer, the network or this node was too slow.
    pub fn is_timeout(&self) -> bool {
        match self {
            ConnectError::Epmd { error: EpmdFailure::System(error), .. }
            | ConnectError::Unreachable { error, .. }
            | ConnectError::Broken(error) => error.kind == io::ErrorKind::TimedOut,
            ConnectError::Epmd { error: EpmdFailure::Answer(error), .. } => {
                matches!(error, EpmdError::Timeout { .. })
            }
            ConnectError::Handshake(error) => {
                matches!(error.kind, HandshakeErrorKind::Timeout { .. })
            }
            ConnectError::Lanes(error) => matches!(**error, FabricError::Timeout { .. }),
            ConnectError::PeersAttempt { .. } => true,
            _ => false,
        }
    }

    /// Whether this node has no file descriptor left. That a peer has none cannot be told from
    /// here: it closes the connection without a word.
    pub fn is_out_of_descriptors(&self) -> bool {
        match self {
            ConnectError::Epmd { error: EpmdFailure::System(error), .. }
            | ConnectError::Unreachable { error, .. }
            | ConnectError::Broken(error) => error.is_out_of_descriptors(),
            _ => false,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Name(why) | ConnectError::Host(why) => f.write_str(why),
            ConnectError::NotAlive => f.write_str("this node has no name; start it with one"),
            ConnectError::NotAllowed => {
                f.write_str("this node allows others only; add it with allow")
            }
            ConnectError::NotAutomatic => {
                f.write_str("a send does not connect to it (dist_auto_connect); connect first")
            }
            ConnectError::Epmd { address, error: EpmdFailure::System(error) } => {
                write!(f, "epmd at {address} cannot be reached: {error}")
            }
            ConnectError::Epmd { address, error: EpmdFailure::Answer(error) } => {
                write!(f, "epmd at {address}: {error}")
            }
            ConnectError::Unknown { epmd, name } => {
                write!(f, "epmd at {epmd} knows no node of the name {name}: is it running?")
            }
            ConnectError::Unreachable { address, error } => {
                write!(f, "no connection to {address}: {error}")
            }
            ConnectError::ThisNode => {
                f.write_str("that is this node itself, by another name than its own")
            }
            ConnectError::Handshake(error) => error.fmt(f),
            ConnectError::Lanes(error) => write!(f, "behind the handshake: {error}"),
            ConnectError::Broken(error) => write!(f, "the connection broke: {error}"),
            ConnectError::PeersAttempt { waited } => write!(
                f,
                "the peer answered that its own attempt goes first, and within {waited:?} that \
                 did not come through: can it reach this node?"
            ),
            ConnectError::Ended(reason) => write!(f, "the connection ended at once: {reason}"),
            ConnectError::GivenUp => f.write_str("another attempt took its place, or ended it"),
            ConnectError::Stopped => f.write_str("the node has stopped"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConnectError::Epmd { error: EpmdFailure::System(error), .. }
            | ConnectError::Unreachable { error, .. }
            | ConnectError::Broken(error) => Some(error),
            ConnectError::Epmd { error: EpmdFailure::Answer(error), .. } => Some(error),
            ConnectError::Handshake(error) => Some(error),
            ConnectError::Lanes(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match self.code {
            Some(libc::EMFILE) => f.write_str(
                "; this process has no file descriptor left: raise its limit (ulimit -n, \
                 LimitNOFILE)",
            ),
            Some(libc::ENFILE) => f.write_str(
                "; this host has no file descriptor left: raise it with sysctl fs.file-max",
            ),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for SystemError {}

impl From<io::Error> for SystemError {
    fn from(error: io::Error) -> Self {
        SystemError { kind: error.kind(), code: error.raw_os_error(), text: error.to_string() }
    }
}

impl From<HandshakeError> for ConnectError {
    fn from(error: HandshakeError) -> Self {
        ConnectError::Handshake(Box::new(error))
    }
}

impl From<FabricError> for ConnectError {
    fn from(error: FabricError) -> Self {
        ConnectError::Lanes(Box::new(error))
    }
}

/// Of a connection that was there already.
impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        ConnectError::Broken(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_that_is_missing_is_told_with_its_remedy() {
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        let error = io::Error::from_raw_os_error(libc::EMFILE).into();
        let error = ConnectError::Unreachable { address, error };
        assert!(error.is_out_of_descriptors() && !error.is_timeout());
        assert!(error.to_string().contains("ulimit -n"), "{error}");
    }
}
