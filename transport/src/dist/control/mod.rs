//! Control messages: what one node tells another about processes.
//!
//! A [`Control`] says what is meant; which of the wire's forms carries it depends on the
//! negotiated flags and is chosen by [`Control::encode`]. Reasons of exits travel as the payload
//! here, also when an old peer has them inside the control message.
//!
//! OTP: erl_dist_protocol, "Control Messages"; `dist.c`, `erts_net_message`.

mod decode;
mod encode;
mod error;
mod spawn;
#[cfg(test)]
mod tests;

use crate::term::{Atom, Pid, Reference, Term};

pub use decode::{Decoded, Names, Reason};
pub(crate) use decode::{KnownPid, PlainSend};
pub use encode::{ControlWriter, PayloadPlace};
pub use error::{ControlError, NotNegotiated};
pub use spawn::{SPAWN_FLAG_LINK, SPAWN_FLAG_MONITOR, SpawnOption, SpawnReply, SpawnRequest};

/// A seq_trace token, kept as it came: `{Flags, Label, Serial, From, LastCount}`.
pub type Token = Box<Term>;

/// Where a message or an exit signal goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A process.
    Process(Pid),
    /// Whoever is registered under the name at the receiving node.
    Name(Atom),
    /// The process that the alias stands for, as long as it is active.
    Alias(Reference),
}

/// A process, or a name as the monitoring side gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessOrName {
    /// A process.
    Process(Pid),
    /// A registered name of the monitored node. Answers repeat the name, never the pid.
    Name(Atom),
}

/// The numbers of the control messages, OTP's `DOP_*`.
#[expect(missing_docs, reason = "the names are OTP's; docs/protocol/control.md describes them")]
pub mod op {
    pub const LINK: u8 = 1;
    pub const SEND: u8 = 2;
    pub const EXIT: u8 = 3;
    pub const UNLINK: u8 = 4;
    pub const NODE_LINK: u8 = 5;
    pub const REG_SEND: u8 = 6;
    pub const GROUP_LEADER: u8 = 7;
    pub const EXIT2: u8 = 8;
    pub const SEND_TT: u8 = 12;
    pub const EXIT_TT: u8 = 13;
    pub const REG_SEND_TT: u8 = 16;
    pub const EXIT2_TT: u8 = 18;
    pub const MONITOR_P: u8 = 19;
    pub const DEMONITOR_P: u8 = 20;
    pub const MONITOR_P_EXIT: u8 = 21;
    pub const SEND_SENDER: u8 = 22;
    pub const SEND_SENDER_TT: u8 = 23;
    pub const PAYLOAD_EXIT: u8 = 24;
    pub const PAYLOAD_EXIT_TT: u8 = 25;
    pub const PAYLOAD_EXIT2: u8 = 26;
    pub const PAYLOAD_EXIT2_TT: u8 = 27;
    pub const PAYLOAD_MONITOR_P_EXIT: u8 = 28;
    pub const SPAWN_REQUEST: u8 = 29;
    pub const SPAWN_REQUEST_TT: u8 = 30;
    pub const SPAWN_REPLY: u8 = 31;
    pub const SPAWN_REPLY_TT: u8 = 32;
    pub const ALIAS_SEND: u8 = 33;
    pub const ALIAS_SEND_TT: u8 = 34;
    pub const UNLINK_ID: u8 = 35;
    pub const UNLINK_ID_ACK: u8 = 36;
    pub const ALTACT_SIG_SEND: u8 = 37;
}

/// The flags of op 37, in OTP `ERTS_DOP_ALTACT_SIG_FLG_*`.
pub mod altact {
    /// The signal has priority.
    pub const PRIORITY: u8 = 1;
    /// A seq_trace token follows.
    pub const TOKEN: u8 = 2;
    /// The destination is an alias reference.
    pub const ALIAS: u8 = 4;
    /// The destination is a registered name.
    pub const NAME: u8 = 8;
    /// An exit signal, whose reason is the payload, instead of a message.
    pub const EXIT: u8 = 16;
}

/// What one node tells another.
///
/// Messages ([`Control::Send`]), exits and spawn requests come with a payload.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// A message; the payload is the message. Ops 2, 6, 12, 16, 22, 23, 33, 34 and 37.
    Send {
        /// The sending process. Old forms (ops 2 and 12) do not say it.
        from: Option<Pid>,
        /// Who gets it. Unknown receivers are ignored.
        to: Destination,
        /// A priority message (OTP 28 and later).
        priority: bool,
        /// The trace token, if the sender is traced.
        token: Option<Token>,
    },
    /// `from` links itself to `to`. Op 1.
    Link {
        /// The process that linked, on the sending node.
        from: Pid,
        /// The process to link to. If it is missing the answer is `Exit` with `noproc`.
        to: Pid,
    },
    /// `from` removes its link to `to`. Op 35; always answered by [`Control::UnlinkAck`].
    Unlink {
        /// Names this removal; never 0.
        id: u64,
        /// The process that unlinked.
        from: Pid,
        /// The other one.
        to: Pid,
    },
    /// The answer to [`Control::Unlink`]. Op 36.
    UnlinkAck {
        /// The number of the removal.
        id: u64,
        /// The process that was asked.
        from: Pid,
        /// The process that had unlinked.
        to: Pid,
    },
    /// A link breaks because `from` ended; the payload is its reason. Ops 3, 13, 24 and 25.
    Exit {
        /// The process that ended.
        from: Pid,
        /// The process it was linked to.
        to: Pid,
        /// The trace token, if any.
        token: Option<Token>,
    },
    /// `exit/2`: an exit signal; the payload is the reason. Ops 8, 18, 26, 27 and 37.
    Exit2 {
        /// The process that sent it.
        from: Pid,
        /// Who gets it. Names and aliases need op 37.
        to: Destination,
        /// A priority signal (OTP 28 and later).
        priority: bool,
        /// The trace token, if any.
        token: Option<Token>,
    },
    /// `from` wants to know when `to` ends. Op 19.
    Monitor {
        /// The watching process, on the sending node.
        from: Pid,
        /// The watched process or name. If it is missing the answer is `MonitorExit`, `noproc`.
        to: ProcessOrName,
        /// Names the monitor in everything that follows.
        reference: Reference,
    },
    /// `from` does not want to know any more. Op 20.
    Demonitor {
        /// The watching process.
        from: Pid,
        /// The watched process or name, as it was given.
        to: ProcessOrName,
        /// The monitor.
        reference: Reference,
    },
    /// A monitored process ended; the payload is the reason. Ops 21 and 28.
    MonitorExit {
        /// The watched process, or the name as the monitor gave it.
        from: ProcessOrName,
        /// The watching process.
        to: Pid,
        /// The monitor.
        reference: Reference,
    },
    /// `to` gets a new group leader. Op 7.
    GroupLeader {
        /// The new group leader.
        leader: Pid,
        /// The process whose leader changes.
        to: Pid,
    },
    /// A process is to be started; the payload is the argument list. Ops 29 and 30.
    SpawnRequest(Box<SpawnRequest>),
    /// The answer to a spawn request. Ops 31 and 32.
    SpawnReply(Box<SpawnReply>),
}

impl Control {
    /// Whether a payload belongs to it.
    #[must_use]
    pub const fn has_payload(&self) -> bool {
        matches!(
            self,
            Control::Send { .. }
                | Control::Exit { .. }
                | Control::Exit2 { .. }
                | Control::MonitorExit { .. }
                | Control::SpawnRequest(_)
        )
    }

    /// Whether it is an ordinary message, which waits for room in the outbox. Everything else may
    /// use the outbox's reserve.
    #[must_use]
    pub const fn is_message(&self) -> bool {
        matches!(self, Control::Send { .. } | Control::SpawnRequest(_))
    }

    /// The process that sends it, as far as the control message says it.
    #[must_use]
    pub const fn sender(&self) -> Option<&Pid> {
        match self {
            Control::Send { from, .. } => from.as_ref(),
            Control::Link { from, .. }
            | Control::Unlink { from, .. }
            | Control::UnlinkAck { from, .. }
            | Control::Exit { from, .. }
            | Control::Exit2 { from, .. }
            | Control::Monitor { from, .. }
            | Control::Demonitor { from, .. }
            | Control::MonitorExit { from: ProcessOrName::Process(from), .. } => Some(from),
            Control::MonitorExit { .. } | Control::GroupLeader { .. } => None,
            Control::SpawnRequest(request) => Some(&request.from),
            Control::SpawnReply(reply) => match &reply.result {
                Ok(pid) => Some(pid),
                Err(_) => None,
            },
        }
    }
}
