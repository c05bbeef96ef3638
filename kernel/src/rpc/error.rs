//! How calls of functions on other nodes fail.

use std::fmt;

use krarup_transport::term::{Atom, ConvertError, Term};

/// Why a process was not started on another node.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SpawnAtError {
    /// There is no connection, none could be made, or it was lost before the answer
    /// (Erlang: `noconnection`).
    NoConnection,
    /// The node has no room for another process (Erlang: `system_limit`).
    SystemLimit,
    /// The node refuses for another reason, such as `badopt` or `notsup`.
    Refused(Atom),
    /// The arguments have no external form.
    Encode(ConvertError),
}

impl SpawnAtError {
    pub(crate) fn of_reply(why: Atom) -> Self {
        match why.as_str() {
            "noconnection" => SpawnAtError::NoConnection,
            "system_limit" => SpawnAtError::SystemLimit,
            _ => SpawnAtError::Refused(why),
        }
    }
}

impl fmt::Display for SpawnAtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnAtError::NoConnection => f.write_str("no connection to the node"),
            SpawnAtError::SystemLimit => f.write_str("the node has no room for another process"),
            SpawnAtError::Refused(why) => write!(f, "the node refuses to start a process: {why}"),
            SpawnAtError::Encode(error) => write!(f, "the arguments cannot be encoded: {error}"),
        }
    }
}

impl std::error::Error for SpawnAtError {}

impl From<ConvertError> for SpawnAtError {
    fn from(error: ConvertError) -> Self {
        SpawnAtError::Encode(error)
    }
}

/// Why a call of a function on another node gave no value (Erlang: the exceptions of `erpc:call`).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RpcError {
    /// The function raised an error: its reason, and where (Erlang: `{exception, Reason, Stack}`).
    Error {
        /// Such as `undef` or `badarg`.
        reason: Term,
        /// The stack trace.
        stack: Term,
    },
    /// The function ended by itself (Erlang: `{exception, Reason}`).
    Exit(Term),
    /// The function threw a value.
    Throw(Term),
    /// The process that ran it was ended by an exit signal (Erlang: `{signal, Reason}`).
    Signal(Term),
    /// There is no connection, or it was lost before the answer (Erlang: `{erpc, noconnection}`).
    NoConnection,
    /// Nothing came in time; the function may run on (Erlang: `{erpc, timeout}`).
    Timeout,
    /// The node runs no process for the call: `system_limit`, `notsup` (Erlang: `{erpc, Reason}`).
    Refused(Term),
    /// The arguments have no external form, or the value is not of the expected shape.
    Convert(ConvertError),
    /// This node has stopped.
    Stopped,
}

impl RpcError {
    /// What the end of the process says that ran a call marked with `mark`.
    pub(super) fn of_end(reason: Term, mark: &Term) -> Result<Term, Self> {
        let is = |term: &Term, text: &str| term.as_atom().is_some_and(|atom| atom.as_str() == text);
        let Term::Tuple(parts) = &reason else {
            return Err(if is(&reason, "noconnection") {
                RpcError::NoConnection
            } else {
                RpcError::Signal(reason)
            });
        };
        match parts.as_slice() {
            [first, class, value] if first == mark => Err(match class {
                class if is(class, "return") => return Ok(value.clone()),
                class if is(class, "throw") => RpcError::Throw(value.clone()),
                class if is(class, "exit") => RpcError::Exit(value.clone()),
                class if is(class, "error") => match value.as_tuple() {
                    Some([erpc, why]) if is(erpc, "erpc") => RpcError::Refused(why.clone()),
                    _ => RpcError::Signal(reason),
                },
                _ => RpcError::Signal(reason),
            }),
            [first, class, value, stack] if first == mark && is(class, "error") => {
                Err(RpcError::Error { reason: value.clone(), stack: stack.clone() })
            }
            _ => Err(RpcError::Signal(reason)),
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RpcError::Error { reason, stack } => write!(f, "error: {reason} at {stack}"),
            RpcError::Exit(reason) => write!(f, "exit: {reason}"),
            RpcError::Throw(value) => write!(f, "throw: {value}"),
            RpcError::Signal(reason) => write!(f, "the call was ended by a signal: {reason}"),
            RpcError::NoConnection => f.write_str("no connection to the node"),
            RpcError::Timeout => f.write_str("no answer in time"),
            RpcError::Refused(why) => write!(f, "the node refuses the call: {why}"),
            RpcError::Convert(error) => error.fmt(f),
            RpcError::Stopped => f.write_str("the node has stopped"),
        }
    }
}

impl std::error::Error for RpcError {}

impl From<ConvertError> for RpcError {
    fn from(error: ConvertError) -> Self {
        RpcError::Convert(error)
    }
}

impl From<SpawnAtError> for RpcError {
    fn from(error: SpawnAtError) -> Self {
        match error {
            SpawnAtError::NoConnection => RpcError::NoConnection,
            SpawnAtError::SystemLimit => {
                RpcError::Refused(Term::Atom(Atom::from_static("system_limit")))
            }
            SpawnAtError::Refused(why) => RpcError::Refused(Term::Atom(why)),
            SpawnAtError::Encode(error) => RpcError::Convert(error),
        }
    }
}
