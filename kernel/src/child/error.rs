//! Why a child did not start, or not stop.

use std::fmt;
use std::io;
use std::time::Duration;

use krarup_transport::term::Atom;

/// Why there is no child.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChildError {
    /// This node has no name: a child could not find it.
    NotAlive,
    /// A node of that name answers already.
    AlreadyRunning(Atom),
    /// The name is none that a node can have.
    Name(String),
    /// The program could not be started.
    Program {
        /// Which.
        program: String,
        /// Why.
        error: io::Error,
    },
    /// It ended before it said that it is there.
    Ended {
        /// How, in the words of the operating system.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// It did not say in time that it is there, and was killed.
    Timeout {
        /// The time.
        after: Duration,
        /// The end of what it printed.
        output: String,
    },
    /// This node has stopped, or has no process left to look after a child.
    Stopped,
}

impl fmt::Display for ChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printed = |output: &str| match output.trim() {
            "" => String::new(),
            output => format!("; it printed: {output}"),
        };
        match self {
            ChildError::NotAlive => {
                f.write_str("the node is not alive: start it with a name before it has children")
            }
            ChildError::AlreadyRunning(node) => {
                write!(f, "{node} is running already: choose another name, or stop it")
            }
            ChildError::Name(why) => write!(f, "the child's name: {why}"),
            ChildError::Program { program, error } => {
                write!(f, "{program} cannot be started: {error}")
            }
            ChildError::Ended { status, output } => {
                write!(f, "the child ended before it was ready ({status}){}", printed(output))
            }
            ChildError::Timeout { after, output } => write!(
                f,
                "the child was not ready within {after:?}: does it have this node's cookie, and \
                 can it find this node?{}",
                printed(output)
            ),
            ChildError::Stopped => f.write_str("this node has stopped"),
        }
    }
}

impl std::error::Error for ChildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ChildError::Program { error, .. } => Some(error),
            _ => None,
        }
    }
}
