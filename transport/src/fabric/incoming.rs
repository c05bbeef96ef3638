//! What a lane gives to its shard.

use super::ProcessNumber;
use super::frame::Form;
use super::run::Run;
use crate::link::{Payload, Signal};
use crate::term::Atom;

/// Who gets a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A process of this node.
    Process(ProcessNumber),
    /// Whoever is registered under the name.
    Name(Atom),
}

/// A message that is not part of a [`Run`]: it came in fragments, or goes to a name.
#[derive(Clone, Debug)]
pub struct LaneMessage {
    /// The process of the peer that sent it.
    pub from: ProcessNumber,
    /// Who gets it.
    pub to: Target,
    /// What the payload is.
    pub form: Form,
    /// One valid term, or bytes; in one part or several.
    pub payload: Payload,
}

/// What [`Lane::receive`](super::Lane::receive) gives.
#[derive(Debug)]
pub enum Incoming {
    /// Messages to one process.
    Run(Run),
    /// A message that came in fragments, or goes to a name.
    Message(LaneMessage),
    /// Any other signal.
    Signal(Signal),
    /// The mailbox of `holder` is full: `sender` must not send to it, nor to `name`.
    Hold {
        /// A process of the peer.
        holder: ProcessNumber,
        /// A process of this node.
        sender: ProcessNumber,
        /// A name that the process is registered under; each comes with a hold of its own.
        name: Option<Atom>,
    },
    /// `sender` may send to `holder` again, by any name.
    Release {
        /// A process of the peer.
        holder: ProcessNumber,
        /// A process of this node.
        sender: ProcessNumber,
    },
    /// The peer ends the session, for this reason.
    Bye(Atom),
    /// The next frame is not complete: so many bytes, counted from its start, make it so. The
    /// receiver was told.
    NeedMore(usize),
}
