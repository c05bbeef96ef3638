//! Processes: a mailbox, usually a task, and a pid that says where they live.
//!
//! A pid's number is `slot << 8 | shard` and its serial is the slot's generation, so a signal is
//! routed to the right shard and slot without a look-up, and a signal to a process that has ended
//! finds another generation and is dropped or answered `noproc`.

mod cell;
mod context;
mod destination;
mod external;
mod holds;
mod mailbox;
mod message;
mod shared;
mod signal;
mod table;

pub use context::{Process, ProcessResult, Recv};
pub use destination::{AsDestination, Destination, DestinationRef};
pub use external::Mailbox;
pub use mailbox::{MailboxLimits, Overflow};
pub use message::Message;
pub use signal::{Exit, NodeDown, NodeUp, Signal, SignalError};

pub(crate) use cell::{Owner, ProcessCell, ProcessFuture, Watcher};
pub(crate) use context::yield_once;
pub(crate) use destination::name_atom;
pub(crate) use external::ExternalQueue;
pub(crate) use holds::Holds;
pub(crate) use mailbox::{PeerRun, Pushed};
pub(crate) use message::{Identity, Sender};
pub(crate) use shared::{SharedPayload, SharedSignal};
pub(crate) use table::{ProcessId, ProcessTable};
