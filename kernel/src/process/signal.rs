//! What a process receives.

use std::fmt;

use krarup_transport::term::{Atom, ConvertError, Pid, Reference, Term};
use serde::Deserialize;

use super::{Destination, Message};
use crate::net_kernel::{NodeDownReason, NodeMonitorOptions, NodeType};

/// Binaries of this size are not copied to find out how long a term is.
const REFERENCE_BYTES_MIN: usize = 1 << 10;

/// What a process receives, in the order in which each sender sent it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Signal {
    /// An ordinary message.
    Message(Message),
    /// A linked process ended, or sent an exit signal, and this process traps exits
    /// (Erlang: `{'EXIT', From, Reason}`).
    Exit(Box<Exit>),
    /// A monitor fired: what it watched has ended, was not there, or cannot be reached any more
    /// (Erlang: `{'DOWN', Reference, process, Object, Reason}`).
    Down(Box<Down>),
    /// A subscribed node came up (Erlang: `{nodeup, Node}`).
    NodeUp(Box<NodeUp>),
    /// A subscribed node went down (Erlang: `{nodedown, Node}`).
    NodeDown(Box<NodeDown>),
    /// A monitored node cannot be reached, or its connection is lost (Erlang: `{nodedown, Node}`
    /// of `monitor_node/2`).
    NodeLost(Box<Atom>),
}

/// An exit signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Exit {
    /// Who ended.
    pub from: Pid,
    /// Why.
    pub reason: Term,
    /// How much of a mailbox's budget the reason takes.
    reason_bytes: usize,
}

impl Exit {
    pub(crate) fn new(from: Pid, reason: Term) -> Self {
        let reason_bytes = reason.encode_gather(REFERENCE_BYTES_MIN).len();
        Exit { from, reason, reason_bytes }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.reason_bytes
    }
}

/// What a monitor watched has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Down {
    /// The monitor.
    pub reference: Reference,
    /// What it watched: a pid, or the name and node that it was given.
    pub from: Destination,
    /// Why it ended; `noproc` if it was not there, `noconnection` if its node cannot be reached.
    pub reason: Term,
    reason_bytes: usize,
}

impl Down {
    pub(crate) fn new(reference: Reference, from: Destination, reason: Term) -> Self {
        let reason_bytes = reason.encode_gather(REFERENCE_BYTES_MIN).len();
        Down { reference, from, reason, reason_bytes }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.reason_bytes
    }
}

/// The error that ends a process with exactly this reason (Erlang: `exit/1`).
///
/// ```
/// # use krarup::{ExitReason, ProcessResult};
/// # use krarup::term::{Atom, Term};
/// # fn run() -> ProcessResult {
/// Err(ExitReason(Term::Atom(Atom::from_static("shutdown"))).into())
/// # }
/// # assert!(run().is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ExitReason(pub Term);

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the process ends with {}", self.0)
    }
}

impl std::error::Error for ExitReason {}

/// A node came up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUp {
    /// The node.
    pub node: Atom,
    /// Visible or hidden.
    pub node_type: NodeType,
    /// Which of the node's connections it is, in 24 bits; the `nodedown` has the same. None for
    /// this node itself, when it comes alive.
    pub connection_id: Option<u32>,
    pub(crate) options: NodeMonitorOptions,
}

impl NodeUp {
    /// The message that an Erlang process gets that subscribed with the same options.
    pub fn to_term(&self) -> Term {
        self.options.message("nodeup", &self.node, self.node_type, self.connection_id, None)
    }
}

/// A node went down.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeDown {
    /// The node.
    pub node: Atom,
    /// Visible or hidden.
    pub node_type: NodeType,
    /// Which of the node's connections it was; see [`NodeUp::connection_id`].
    pub connection_id: Option<u32>,
    /// Why.
    pub reason: NodeDownReason,
    pub(crate) options: NodeMonitorOptions,
}

impl NodeDown {
    /// The message that an Erlang process gets that subscribed with the same options.
    pub fn to_term(&self) -> Term {
        let NodeDown { node, node_type, connection_id, reason, options } = self;
        options.message("nodedown", node, *node_type, *connection_id, Some(reason))
    }
}

/// A signal that is not the message one asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum SignalError {
    /// It is not a message but the news of a process or a node.
    NotAMessage,
    /// The term does not have the wanted shape.
    Shape(ConvertError),
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignalError::NotAMessage => {
                f.write_str("expected a message, got the news of a process or a node")
            }
            SignalError::Shape(error) => write!(f, "the message has another shape: {error}"),
        }
    }
}

impl std::error::Error for SignalError {}

impl Signal {
    /// The message as a Rust value; borrowed text and bytes point into the received frame.
    ///
    /// # Errors
    /// [`SignalError::NotAMessage`] for other signals, [`SignalError::Shape`] when the term does
    /// not have the shape of `T`. The signal stays usable.
    pub fn message<'a, T: Deserialize<'a>>(&'a self) -> Result<T, SignalError> {
        match self {
            Signal::Message(message) => message.decode().map_err(SignalError::Shape),
            _ => Err(SignalError::NotAMessage),
        }
    }

    /// The bytes of a raw message or of one that is a binary; see [`Message::as_bytes`].
    #[inline]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Signal::Message(message) => message.as_bytes(),
            _ => None,
        }
    }

    /// The message as an owned term.
    ///
    /// # Errors
    /// As [`Signal::message`].
    pub fn term(&self) -> Result<Term, SignalError> {
        match self {
            Signal::Message(message) => {
                message.term().map_err(|error| SignalError::Shape(error.into()))
            }
            _ => Err(SignalError::NotAMessage),
        }
    }

    #[inline]
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Signal::Message(message) => message.size_bytes(),
            Signal::Exit(exit) => exit.size_bytes(),
            Signal::Down(down) => down.size_bytes(),
            Signal::NodeUp(_) | Signal::NodeDown(_) | Signal::NodeLost(_) => 0,
        }
    }

    /// Copies a small payload out of the receive slab it lies in.
    pub(crate) fn let_go_of_slab(&mut self) {
        if let Signal::Message(message) = self {
            message.let_go_of_slab();
        }
    }
}
