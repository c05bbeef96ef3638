//! The options of the sockets between nodes, while they are open and for those to come
//! (OTP: `net_kernel:setopts/2`, `net_kernel:getopts/2`).
//!
//! The options themselves are in [`option`]; [`Node::setopts`](crate::Node::setopts) and
//! [`Node::getopts`](crate::Node::getopts) use them. [`terms`] has their forms as `inet` knows
//! them.

pub mod terms;

use std::fmt;

use krarup_transport::term::{Atom, Term};
use krarup_tuning::option::OptionName;

use crate::net_kernel::SystemError;

pub use krarup_tuning::option;
pub use krarup_tuning::profile::Profile;

/// Which sockets are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionTarget {
    /// Those of the connection to this node.
    Node(String),
    /// Those of all connections to come, and of those that are being set up.
    New,
}

impl From<&str> for OptionTarget {
    /// `new`, which is no node's name, or the name of a node.
    fn from(text: &str) -> Self {
        match text {
            "new" => OptionTarget::New,
            node => OptionTarget::Node(node.to_owned()),
        }
    }
}

/// Why options were not set, or not read. None of them is set then.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum OptionsError {
    /// This node has no name, or none any more (OTP: `ignored`).
    NotAlive,
    /// The node is not connected.
    NoConnection,
    /// These belong to the distribution itself: `active`, `deliver`, `packet`.
    BadOptions(Vec<Term>),
    /// Some term is no option, or its value none of it (OTP: `einval`).
    NoOption(Term),
    /// The system does not take this option.
    Refused {
        /// The option.
        option: OptionName,
        /// What the system says.
        error: SystemError,
    },
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionsError::NotAlive => f.write_str("this node is not alive: start it with a name"),
            OptionsError::NoConnection => f.write_str("there is no connection: connect first"),
            OptionsError::BadOptions(options) => {
                write!(f, "{} belong to the distribution", Term::List(options.clone()))
            }
            OptionsError::NoOption(term) => {
                write!(f, "{term} is no socket option of the distribution, or has no such value")
            }
            OptionsError::Refused { option, error } => write!(f, "socket option {option}: {error}"),
        }
    }
}

impl std::error::Error for OptionsError {}

impl OptionsError {
    /// What `net_kernel:setopts/2` returns.
    #[must_use]
    pub fn to_term(&self) -> Term {
        let reason = match self {
            OptionsError::NotAlive => return Term::Atom(Atom::from_static("ignored")),
            OptionsError::NoConnection => Term::Atom(Atom::from_static("noconnection")),
            OptionsError::BadOptions(options) => Term::Tuple(vec![
                Term::Atom(Atom::from_static("badopts")),
                Term::List(options.clone()),
            ]),
            OptionsError::NoOption(_) => Term::Atom(Atom::from_static("einval")),
            OptionsError::Refused { error, .. } => Term::Atom(Atom::from_static(posix(error))),
        };
        Term::Tuple(vec![Term::Atom(Atom::from_static("error")), reason])
    }
}

/// Erlang's name of a system error that setting an option may have.
fn posix(error: &SystemError) -> &'static str {
    match error.code {
        Some(libc::EPERM) => "eperm",
        Some(libc::ENOENT) => "enoent",
        Some(libc::EACCES) => "eacces",
        Some(libc::EDOM) => "edom",
        Some(libc::ENOMEM) => "enomem",
        Some(libc::EBUSY) => "ebusy",
        Some(libc::ENOPROTOOPT) => "enoprotoopt",
        Some(libc::EOPNOTSUPP) => "eopnotsupp",
        Some(libc::EISCONN) => "eisconn",
        Some(libc::ENOTCONN) => "enotconn",
        _ => "einval",
    }
}
