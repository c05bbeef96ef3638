//! What can be wrong with a control message.

use std::fmt;

use crate::term::{Atom, DecodeError};

/// A control message that OTP would end the connection for, too.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlError {
    /// The tuple has the wrong number of elements.
    Arity {
        /// The opcode.
        operation: u8,
        /// Elements the tuple has, the opcode among them.
        came: usize,
    },
    /// An identifier of another node than the one that may stand there.
    ForeignNode {
        /// The opcode.
        operation: u8,
        /// Which element.
        element: &'static str,
        /// The node in the identifier.
        came: Atom,
        /// The node that may stand there, or may not if `forbidden`.
        node: Atom,
        /// Whether `node` is the one that must not stand there.
        forbidden: bool,
    },
    /// An element has a value that it cannot have.
    Invalid {
        /// The opcode.
        operation: u8,
        /// Which element, and what it has to be.
        element: &'static str,
    },
    /// Ops 4 and 5: OTP 26 and later never send them and accept them from nobody.
    Obsolete {
        /// The opcode.
        operation: u8,
    },
    /// A part of it is not the term that has to stand there.
    Term(DecodeError),
    /// No such opcode.
    UnknownOperation {
        /// The number that stands in its place.
        operation: u64,
    },
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlError::Arity { operation, came } => {
                write!(f, "op {operation} with {came} elements")
            }
            ControlError::ForeignNode { operation, element, came, node, forbidden } => {
                let rule = if *forbidden { "must not be" } else { "has to be" };
                write!(f, "op {operation}: {element} is of node {came}, {rule} of {node}")
            }
            ControlError::Invalid { operation, element } => {
                write!(f, "op {operation}: {element}")
            }
            ControlError::Obsolete { operation } => {
                write!(f, "op {operation} is obsolete and may not be sent")
            }
            ControlError::Term(error) => error.fmt(f),
            ControlError::UnknownOperation { operation } => write!(f, "unknown op {operation}"),
        }
    }
}

impl std::error::Error for ControlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ControlError::Term(error) => Some(error),
            _ => None,
        }
    }
}

impl From<DecodeError> for ControlError {
    fn from(error: DecodeError) -> ControlError {
        ControlError::Term(error)
    }
}

/// A signal that the peer did not agree to understand. OTP drops such signals without a word; a
/// peer that gets one ends the connection, so it is never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotNegotiated {
    /// The kind of signal.
    pub signal: &'static str,
    /// The flag that both sides would have to set.
    pub flag: &'static str,
}

impl fmt::Display for NotNegotiated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotNegotiated { signal, flag } = self;
        write!(f, "{signal} cannot be sent to this peer: flag {flag} was not negotiated")
    }
}

impl std::error::Error for NotNegotiated {}
