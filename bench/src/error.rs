//! What can go wrong in a measurement, and whose doing it was.

use std::fmt;
use std::io;

/// Why a benchmark ended without its result.
#[derive(Debug)]
pub(crate) enum Error {
    /// The command line asks for something impossible here.
    Usage(String),
    /// The measurement broke one of its own rules: a message lost, repeated, out of turn.
    Broken(String),
    /// An operation of this host failed.
    Io {
        /// What was being done, in the form "cannot …".
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A worker process failed, ended early, or said something unexpected.
    Worker {
        /// Which worker, as `peer role`.
        worker: String,
        /// What happened, with the last lines of its standard error.
        reason: String,
    },
}

impl Error {
    /// Shorthand for `map_err` on I/O results.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Io { doing, source }
    }

    /// 2 for wrong usage, 1 for everything else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Broken(_) | Error::Io { .. } | Error::Worker { .. } => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Broken(reason) | Error::Usage(reason) => f.write_str(reason),
            Error::Io { doing, source } => write!(f, "{doing}: {source}"),
            Error::Worker { worker, reason } => write!(f, "{worker}: {reason}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            Error::Broken(_) | Error::Usage(_) | Error::Worker { .. } => None,
        }
    }
}
