//! Signals on their way to another thread.

use std::rc::Rc;

use krarup_transport::buffer::{SharedSlice, Slice};
use krarup_transport::dist::Atoms;
use krarup_transport::fabric::{Form, ProcessNumber};
use krarup_transport::link::Payload;
use krarup_transport::term::{Atom, Creation};
use smallvec::SmallVec;

use super::message::{Body, Identity, Sender};
use super::{Down, Exit, Message, NodeDown, NodeUp, Signal};

/// A signal that can go to another thread.
#[derive(Debug)]
pub(crate) enum SharedSignal {
    Message(SharedMessage),
    Exit(Box<Exit>),
    Down(Box<Down>),
    NodeUp(Box<NodeUp>),
    NodeDown(Box<NodeDown>),
    NodeLost(Box<Atom>),
}

/// A message that can go to another thread.
#[derive(Debug)]
pub(crate) struct SharedMessage {
    sender: Option<(Identity, ProcessNumber)>,
    body: SharedBody,
}

#[derive(Debug)]
enum SharedBody {
    Term(SharedSlice),
    Raw(SharedSlice),
    Other(Box<(Form, SharedPayload)>),
}

/// A payload on its way to another thread: the slices are counted atomically there.
#[derive(Debug)]
pub(crate) struct SharedPayload {
    parts: SmallVec<[SharedSlice; 1]>,
    atoms: Atoms,
}

impl SharedPayload {
    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

impl From<Payload> for SharedPayload {
    fn from(payload: Payload) -> Self {
        let Payload { parts, atoms } = payload;
        SharedPayload { parts: parts.into_iter().map(Slice::share).collect(), atoms }
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
        let message = match self {
            SharedSignal::Message(message) => message,
            SharedSignal::Exit(exit) => return exit.size_bytes(),
            SharedSignal::Down(down) => return down.size_bytes(),
            SharedSignal::NodeUp(_) | SharedSignal::NodeDown(_) | SharedSignal::NodeLost(_) => {
                return 0;
            }
        };
        match &message.body {
            SharedBody::Term(part) | SharedBody::Raw(part) => part.len(),
            SharedBody::Other(other) => other.1.len(),
        }
    }

    /// The signal in the thread it arrived in; `identity` finds what the thread knows of the
    /// sender's node.
    pub(crate) fn adopt(self, identity: impl FnOnce(&Atom, Creation) -> Rc<Identity>) -> Signal {
        match self {
            SharedSignal::Message(message) => Signal::Message(message.adopt(identity)),
            SharedSignal::Exit(exit) => Signal::Exit(exit),
            SharedSignal::Down(down) => Signal::Down(down),
            SharedSignal::NodeUp(up) => Signal::NodeUp(up),
            SharedSignal::NodeDown(down) => Signal::NodeDown(down),
            SharedSignal::NodeLost(node) => Signal::NodeLost(node),
        }
    }
}

impl SharedMessage {
    fn adopt(self, identity: impl FnOnce(&Atom, Creation) -> Rc<Identity>) -> Message {
        let sender = self
            .sender
            .map(|(node, number)| Sender { node: identity(&node.name, node.creation), number });
        match self.body {
            SharedBody::Term(part) => Message::new(sender, Form::Term, part.adopt()),
            SharedBody::Raw(part) => Message::new(sender, Form::Raw, part.adopt()),
            SharedBody::Other(other) => Message::of_parts(sender, other.0, other.1.into()),
        }
    }
}

impl From<Signal> for SharedSignal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Message(message) => SharedSignal::Message(message.into()),
            Signal::Exit(exit) => SharedSignal::Exit(exit),
            Signal::Down(down) => SharedSignal::Down(down),
            Signal::NodeUp(up) => SharedSignal::NodeUp(up),
            Signal::NodeDown(down) => SharedSignal::NodeDown(down),
            Signal::NodeLost(node) => SharedSignal::NodeLost(node),
        }
    }
}

impl From<Message> for SharedMessage {
    fn from(message: Message) -> Self {
        let (sender, body) = message.into_parts();
        let sender = sender.map(|sender| (Identity::clone(&sender.node), sender.number));
        let body = match body {
            Body::Term(part) => SharedBody::Term(part.share()),
            Body::Raw(part) => SharedBody::Raw(part.share()),
            Body::Other(parts) => SharedBody::Other(Box::new((parts.form, parts.payload.into()))),
        };
        SharedMessage { sender, body }
    }
}
