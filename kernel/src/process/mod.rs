//! Processes: a mailbox, usually a task, and a pid that says where they live.
//!
//! A pid's number is `slot << 8 | shard` and its serial is the slot's generation, so a signal is
//! routed to the right shard and slot without a look-up, and a signal to a process that has ended
//! finds another generation and is dropped or answered `noproc`.

mod alias;
mod answer;
mod asking;
mod cell;
mod context;
mod destination;
mod external;
mod holds;
mod mailbox;
mod message;
mod printing;
mod reason;
mod relations;
mod shared;
mod signal;
mod table;
mod ties;
mod watching;

pub use alias::AliasMode;
pub use context::{Process, ProcessResult, Recv};
pub use destination::{AsDestination, Destination, DestinationRef};
pub use external::Mailbox;
pub use mailbox::{MailboxLimits, Overflow};
pub use message::Message;
pub use printing::PrintError;
pub use signal::{Down, Exit, ExitReason, NodeDown, NodeUp, Signal, SignalError};

pub use ties::Ties;

pub(crate) use alias::Alias;
pub(crate) use answer::{Answer, AnswerSlot};
pub(crate) use cell::{Origin, Owner, ProcessCell, ProcessFuture};
pub(crate) use context::yield_once;
pub(crate) use destination::name_atom;
pub(crate) use external::ExternalQueue;
pub(crate) use holds::Holds;
pub(crate) use mailbox::{PeerRun, Pushed};
pub(crate) use message::{Identity, Sender};
pub(crate) use reason::{error_reason, panic_reason};
pub(crate) use relations::{Ended, Monitor, Party, Relations, Via, Watcher};
pub(crate) use shared::{SharedPayload, SharedSignal};
pub(crate) use table::{ProcessId, ProcessTable};
