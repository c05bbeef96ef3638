//! What can go wrong with a node, and what to do about it.

use std::convert::Infallible;
use std::fmt;

use krarup_transport::io::ListenError;
use krarup_transport::io::probe::IoUringUnavailable;
use krarup_transport::shard::StartError as ShardStartError;
use krarup_transport::term::{Atom, ConvertError, Pid};

use crate::net_kernel::ConnectError;

/// The node has no name, and so no connections and no cookies (OTP: `ignored`, or the error
/// `notalive`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAlive;

impl fmt::Display for NotAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the node is not alive: start it with a name first")
    }
}

impl std::error::Error for NotAlive {}

/// Why a message was not sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The queue towards the destination is full, or its mailbox has told this sender to wait
    /// ([`Overflow::Hold`](crate::Overflow::Hold)); try again when there is room, or use the
    /// waiting form.
    Busy {
        /// Bytes that wait already; 0 where this side does not know it.
        queued_bytes: usize,
        /// The limit they reached; 0 as well.
        limit_bytes: usize,
    },
    /// There is no connection to the node, and none could be made.
    NoConnection {
        /// The node.
        node: Atom,
        /// Why none could be made; nothing if none was tried.
        why: Option<Box<ConnectError>>,
    },
    /// The value has no external form.
    Encode(ConvertError),
    /// The message does not fit into one frame, and the peer does not take fragments.
    TooLarge {
        /// Bytes of the frame it would need.
        bytes: usize,
        /// The longest frame any peer accepts.
        limit_bytes: usize,
    },
    /// The node has stopped, or the process that sends has ended.
    Stopped,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Busy { queued_bytes, limit_bytes } => {
                write!(f, "busy: {queued_bytes} bytes queued of {limit_bytes} allowed")
            }
            SendError::NoConnection { node, why: Some(why) } => {
                write!(f, "no connection to {node}: {why}")
            }
            SendError::NoConnection { node, why: None } => {
                write!(f, "no connection to {node}: connect first, or send and wait")
            }
            SendError::Encode(error) => write!(f, "the message cannot be encoded: {error}"),
            SendError::TooLarge { bytes, limit_bytes } => write!(
                f,
                "the message needs a frame of {bytes} bytes, peers without fragments take \
                 {limit_bytes}"
            ),
            SendError::Stopped => f.write_str("the node has stopped, or the sender has ended"),
        }
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SendError::NoConnection { why: Some(why), .. } => Some(why),
            SendError::Encode(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ConvertError> for SendError {
    fn from(error: ConvertError) -> Self {
        SendError::Encode(error)
    }
}

/// The node has stopped, or the process was ended by an exit signal; nothing more will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the node or the process has stopped")
    }
}

impl std::error::Error for Stopped {}

/// Why a process was not started.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpawnError {
    /// Another process has this registered name.
    NameTaken(Atom),
    /// The text is no name: it is empty, longer than 255 characters, or `undefined`.
    BadName(String),
    /// The shard has no free process slot (OTP: `system_limit`).
    SystemLimit,
    /// The node has stopped.
    Stopped,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnError::NameTaken(name) => write!(f, "the name {name} is registered already"),
            SpawnError::BadName(text) => write!(
                f,
                "{text:?} cannot be registered: a name has 1 to 255 characters and is not undefined"
            ),
            SpawnError::SystemLimit => f.write_str("the shard has no free process slot"),
            SpawnError::Stopped => f.write_str("the node has stopped"),
        }
    }
}

impl std::error::Error for SpawnError {}

/// Why a node did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The name is not `name@host`, or does not fit long or short names.
    Name(String),
    /// The cookie could not be had.
    Cookie(String),
    /// io_uring cannot be used here; the error says why and what to do.
    IoUring(IoUringUnavailable),
    /// An executor could not be started.
    Executor(String),
    /// No port could be listened on.
    Listen(ListenError),
    /// The name could not be registered with epmd.
    Epmd(String),
    /// Another node has the name.
    NameInUse {
        /// The name.
        name: String,
        /// What epmd says.
        why: String,
    },
    /// The node is alive already (OTP: `{already_started, Pid}`).
    AlreadyStarted {
        /// The process registered as `net_kernel`.
        net_kernel: Option<Pid>,
    },
    /// A start option has a value that it cannot have (OTP: `{invalid_option, Option, Value}`).
    InvalidOption {
        /// Its name.
        option: &'static str,
        /// What came.
        value: String,
        /// What it can have.
        expected: &'static str,
    },
    /// The node has stopped.
    State(&'static str),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Name(why) => write!(f, "node name: {why}"),
            StartError::Cookie(why) => write!(f, "cookie: {why}"),
            StartError::IoUring(error) => error.fmt(f),
            StartError::Executor(why) => write!(f, "executor: {why}"),
            StartError::Listen(error @ ListenError::NoFreePort { ports, .. }) => {
                let other = match ports.start() == ports.end() {
                    true => "choose another port",
                    false => "widen --listen-min and --listen-max",
                };
                write!(f, "no port to listen on: {error}; stop who listens there, or {other}")
            }
            StartError::Listen(error @ ListenError::Bind { .. }) => {
                write!(f, "{error}; the address to listen at has to be one of this host")
            }
            StartError::Listen(error) => error.fmt(f),
            StartError::Epmd(why) => write!(f, "epmd: {why}"),
            StartError::NameInUse { name, why } => write!(f, "name {name}: {why}"),
            StartError::AlreadyStarted { .. } => {
                f.write_str("the node is alive already; stop its distribution first")
            }
            StartError::InvalidOption { option, value, expected } => {
                write!(f, "start option {option}: expected {expected}, got {value}")
            }
            StartError::State(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StartError {}

/// Why a node's distribution was not stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopError {
    /// The node was started with its name, and keeps it as long as it runs (OTP: `not_allowed`).
    NotAllowed,
    /// The node is not alive (OTP: `not_found`).
    NotFound,
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopError::NotAllowed => {
                "the node was configured with its name and keeps it; stop the node instead"
            }
            StopError::NotFound => "the node is not alive",
        })
    }
}

impl std::error::Error for StopError {}

impl From<ShardStartError> for StartError {
    fn from(error: ShardStartError) -> Self {
        match error {
            ShardStartError::IoUring(error) => StartError::IoUring(error),
            other => StartError::Executor(other.to_string()),
        }
    }
}

/// A payload that is encoded already cannot fail to be.
impl From<Infallible> for SendError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
