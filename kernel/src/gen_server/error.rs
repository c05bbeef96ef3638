//! How calls fail.

use std::fmt;

use krarup_transport::term::{ConvertError, Term};

/// Why a call got no answer (Erlang: the exits of `gen_server:call`).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CallError {
    /// There is no such process or name (Erlang: `noproc`).
    NoProcess,
    /// There is no connection to its node, or it was lost before the answer
    /// (Erlang: `noconnection`).
    NoConnection,
    /// Nothing came in time. A late answer is dropped.
    Timeout,
    /// The server ended before it answered: its reason.
    Ended(Term),
    /// The request has no external form, or the answer is not of the expected shape.
    Convert(ConvertError),
    /// This node has stopped.
    Stopped,
}

impl CallError {
    /// What the end of the server says.
    pub(super) fn of_down(reason: Term) -> Self {
        match reason.as_atom().map(krarup_transport::term::Atom::as_str) {
            Some("noproc") => CallError::NoProcess,
            Some("noconnection") => CallError::NoConnection,
            _ => CallError::Ended(reason),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NoProcess => f.write_str("there is no such server"),
            CallError::NoConnection => f.write_str("no connection to the server's node"),
            CallError::Timeout => f.write_str("no answer in time"),
            CallError::Ended(reason) => {
                write!(f, "the server ended before it answered: {reason}")
            }
            CallError::Convert(error) => error.fmt(f),
            CallError::Stopped => f.write_str("the node has stopped"),
        }
    }
}

impl std::error::Error for CallError {}

impl From<ConvertError> for CallError {
    fn from(error: ConvertError) -> Self {
        CallError::Convert(error)
    }
}
