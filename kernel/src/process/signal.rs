//! What a process receives.

use std::cell::OnceCell;
use std::fmt;

use krarup_transport::buffer::{SharedSlice, Slice};
use krarup_transport::dist::Atoms;
use krarup_transport::link::Payload;
use krarup_transport::term::{self, Atom, ConvertError, DecodeError, Limits, Pid, Term};
use serde::Deserialize;
use smallvec::SmallVec;

use crate::net_kernel::{NodeDownReason, NodeType};

/// What a process receives, in the order in which each sender sent it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Signal {
    /// An ordinary message.
    Message(Message),
    /// A linked process ended, or sent an exit signal, and this process traps exits
    /// (Erlang: `{'EXIT', From, Reason}`).
    Exit {
        /// Who ended.
        from: Pid,
        /// Why.
        reason: Term,
    },
    /// A subscribed node came up (Erlang: `{nodeup, Node}`).
    NodeUp {
        /// The node.
        node: Atom,
        /// Visible or hidden.
        node_type: NodeType,
    },
    /// A subscribed node went down (Erlang: `{nodedown, Node}`).
    NodeDown {
        /// The node.
        node: Atom,
        /// Visible or hidden.
        node_type: NodeType,
        /// Why.
        reason: NodeDownReason,
    },
}

/// A message as it came: the bytes of one external term, validated, not decoded.
#[derive(Debug)]
pub struct Message {
    sender: Option<Pid>,
    payload: Payload,
    /// The parts of a fragmented payload in one piece, made when a borrowed view needs it.
    joined: OnceCell<Vec<u8>>,
}

/// Memory that a queued payload may keep alive, as a multiple of its own length.
const PINNED_FACTOR_MAX: usize = 8;

/// A signal that is not the message one asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum SignalError {
    /// It is not a message but an exit, nodeup or nodedown.
    NotAMessage,
    /// The term does not have the wanted shape.
    Shape(ConvertError),
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignalError::NotAMessage => {
                f.write_str("expected a message, got an exit, nodeup or nodedown signal")
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
            Signal::Message(message) => message.payload.len(),
            _ => 0,
        }
    }

    /// Copies a small payload out of the receive slab it lies in, so that a message that is not
    /// read soon does not keep a whole slab from being used again.
    pub(crate) fn let_go_of_slab(&mut self) {
        let Signal::Message(message) = self else { return };
        for part in &mut message.payload.parts {
            if part.held_bytes() > PINNED_FACTOR_MAX * part.len() {
                *part = Slice::copy_from(part);
            }
        }
    }
}

impl Message {
    pub(crate) fn new(sender: Option<Pid>, payload: Payload) -> Self {
        Message { sender, payload, joined: OnceCell::new() }
    }

    /// Who sent it, where the sender's node told (OTP 25 and later always do).
    pub fn sender(&self) -> Option<&Pid> {
        self.sender.as_ref()
    }

    /// Length of the term in external form.
    pub fn size_bytes(&self) -> usize {
        self.payload.len()
    }

    /// The message as a Rust value.
    ///
    /// # Errors
    /// When the term does not have the shape of `T`.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ConvertError> {
        let bytes = self.bytes();
        term::from_bytes(bytes, &self.payload.atoms, &Limits::DEFAULT)
    }

    /// The message as an owned term.
    ///
    /// # Errors
    /// When the term is beyond the default [`Limits`].
    pub fn term(&self) -> Result<Term, DecodeError> {
        self.payload.decode(&Limits::DEFAULT)
    }

    /// The validated bytes of the term in one piece; those of a message that came in fragments
    /// are copied together once. Atom cache references in it point into
    /// [`Payload::atoms`].
    pub fn bytes(&self) -> &[u8] {
        match self.payload.contiguous() {
            Some(bytes) => bytes,
            None => self.joined.get_or_init(|| {
                let parts: Vec<&[u8]> = self.payload.parts.iter().map(|part| &**part).collect();
                parts.concat()
            }),
        }
    }

    /// The validated term, in the parts it came in.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }
}

/// A signal on its way to another thread.
#[derive(Debug)]
pub(crate) enum SharedSignal {
    Message {
        sender: Option<Pid>,
        payload: SharedPayload,
    },
    /// Carries nothing that belongs to a shard.
    Other(OwnedSignal),
}

/// The signals that are no messages, in their `Send` form.
#[derive(Debug)]
pub(crate) enum OwnedSignal {
    Exit { from: Pid, reason: Term },
    NodeUp { node: Atom, node_type: NodeType },
    NodeDown { node: Atom, node_type: NodeType, reason: NodeDownReason },
}

/// A payload on its way to another thread: the slices are counted atomically there.
#[derive(Debug)]
pub(crate) struct SharedPayload {
    parts: SmallVec<[SharedSlice; 1]>,
    atoms: Atoms,
}

impl SharedPayload {
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.as_slice().len()).sum()
    }
}

impl From<Payload> for SharedPayload {
    fn from(payload: Payload) -> Self {
        let Payload { parts, atoms } = payload;
        SharedPayload { parts: parts.into_iter().map(SharedSlice::from).collect(), atoms }
    }
}

impl From<SharedPayload> for Payload {
    fn from(shared: SharedPayload) -> Self {
        let parts = shared.parts.into_iter().map(SharedSlice::adopt).collect();
        Payload { parts, atoms: shared.atoms }
    }
}

impl SharedSignal {
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            SharedSignal::Message { payload, .. } => payload.len(),
            SharedSignal::Other(_) => 0,
        }
    }
}

impl From<Signal> for SharedSignal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Message(Message { sender, payload, .. }) => {
                SharedSignal::Message { sender, payload: payload.into() }
            }
            Signal::Exit { from, reason } => {
                SharedSignal::Other(OwnedSignal::Exit { from, reason })
            }
            Signal::NodeUp { node, node_type } => {
                SharedSignal::Other(OwnedSignal::NodeUp { node, node_type })
            }
            Signal::NodeDown { node, node_type, reason } => {
                SharedSignal::Other(OwnedSignal::NodeDown { node, node_type, reason })
            }
        }
    }
}

impl From<SharedSignal> for Signal {
    fn from(shared: SharedSignal) -> Self {
        match shared {
            SharedSignal::Message { sender, payload } => {
                Signal::Message(Message::new(sender, payload.into()))
            }
            SharedSignal::Other(OwnedSignal::Exit { from, reason }) => {
                Signal::Exit { from, reason }
            }
            SharedSignal::Other(OwnedSignal::NodeUp { node, node_type }) => {
                Signal::NodeUp { node, node_type }
            }
            SharedSignal::Other(OwnedSignal::NodeDown { node, node_type, reason }) => {
                Signal::NodeDown { node, node_type, reason }
            }
        }
    }
}
