//! Spawn requests and their answers.

use super::Token;
use crate::term::{Atom, Pid, Reference, Term};

/// In [`SpawnReply::flags`]: the link that was asked for is there.
pub const SPAWN_FLAG_LINK: u32 = 1;
/// In [`SpawnReply::flags`]: the monitor that was asked for is there.
pub const SPAWN_FLAG_MONITOR: u32 = 2;

/// A process is to be started at the receiving node. The argument list is the payload.
///
/// It is always answered by a [`SpawnReply`].
#[derive(Clone, Debug, PartialEq)]
pub struct SpawnRequest {
    /// Names the request, and the monitor if one is asked for.
    pub reference: Reference,
    /// The requesting process.
    pub from: Pid,
    /// The new process' group leader.
    pub group_leader: Pid,
    /// Module of the function to run.
    pub module: Atom,
    /// The function to run.
    pub function: Atom,
    /// The arity it is said to have; OTP does not compare it with the argument list.
    pub arity: i64,
    /// The options in their order.
    pub options: Vec<SpawnOption>,
    /// The trace token, if any.
    pub token: Option<Token>,
}

impl SpawnRequest {
    /// Whether the new process is to be linked to the requesting one.
    #[must_use]
    pub fn link(&self) -> bool {
        self.options.iter().any(|option| matches!(option, SpawnOption::Link(_)))
    }

    /// Whether the requesting process monitors the new one.
    #[must_use]
    pub fn monitor(&self) -> bool {
        self.options.iter().any(|option| matches!(option, SpawnOption::Monitor(_)))
    }

    /// The first option that a receiver does not know; OTP answers `badopt` to it.
    #[must_use]
    pub fn unknown_option(&self) -> Option<&Term> {
        self.options.iter().find_map(|option| match option {
            SpawnOption::Unknown(term) => Some(term),
            _ => None,
        })
    }
}

/// One option of a spawn request.
#[derive(Clone, Debug, PartialEq)]
pub enum SpawnOption {
    /// `link`, or `{link, Options}`.
    Link(Option<Term>),
    /// `monitor`, or `{monitor, Options}`.
    Monitor(Option<Term>),
    /// A setting of the new process, one of [`SpawnOption::SETTINGS`].
    Setting {
        /// Its name.
        name: Atom,
        /// Its value, unchecked.
        value: Term,
    },
    /// Anything else, `reply` and `reply_tag` included: those are the requester's own business and
    /// must not be on the wire.
    Unknown(Term),
}

impl SpawnOption {
    /// The settings that may be on the wire.
    pub const SETTINGS: [&'static str; 8] = [
        "async_dist",
        "fullsweep_after",
        "max_heap_size",
        "message_queue_data",
        "min_bin_vheap_size",
        "min_heap_size",
        "priority",
        "scheduler",
    ];

    pub(super) fn from_term(term: Term) -> SpawnOption {
        match term {
            Term::Atom(name) if name.as_str() == "link" => SpawnOption::Link(None),
            Term::Atom(name) if name.as_str() == "monitor" => SpawnOption::Monitor(None),
            Term::Tuple(elements) => match <[Term; 2]>::try_from(elements) {
                Ok([Term::Atom(name), value]) => match name.as_str() {
                    "link" => SpawnOption::Link(Some(value)),
                    "monitor" => SpawnOption::Monitor(Some(value)),
                    known if SpawnOption::SETTINGS.contains(&known) => {
                        SpawnOption::Setting { name, value }
                    }
                    _ => SpawnOption::Unknown(Term::Tuple(vec![Term::Atom(name), value])),
                },
                Ok(pair) => SpawnOption::Unknown(Term::Tuple(Vec::from(pair))),
                Err(elements) => SpawnOption::Unknown(Term::Tuple(elements)),
            },
            other => SpawnOption::Unknown(other),
        }
    }

    pub(super) fn to_term(&self) -> Term {
        let named = |name: &Atom, value: &Option<Term>| match value {
            None => Term::Atom(name.clone()),
            Some(value) => Term::Tuple(vec![Term::Atom(name.clone()), value.clone()]),
        };
        match self {
            SpawnOption::Link(value) => named(&Atom::from_static("link"), value),
            SpawnOption::Monitor(value) => named(&Atom::from_static("monitor"), value),
            SpawnOption::Setting { name, value } => {
                Term::Tuple(vec![Term::Atom(name.clone()), value.clone()])
            }
            SpawnOption::Unknown(term) => term.clone(),
        }
    }
}

/// What became of a spawn request.
#[derive(Clone, Debug, PartialEq)]
pub struct SpawnReply {
    /// The request.
    pub reference: Reference,
    /// The process that asked.
    pub to: Pid,
    /// [`SPAWN_FLAG_LINK`] and [`SPAWN_FLAG_MONITOR`], as far as they were set up.
    pub flags: u32,
    /// The new process, or why there is none.
    pub result: Result<Pid, Atom>,
    /// The trace token, if any.
    pub token: Option<Token>,
}
