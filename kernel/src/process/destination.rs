//! Whom a message is for.

use krarup_transport::term::{Atom, Pid, Reference};

/// Whom a message is for: what stands left of Erlang's `!`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A process, here or on any node.
    Pid(Pid),
    /// A name registered on this node.
    Name(Atom),
    /// A name registered on the given node (`{Name, Node}`).
    Remote {
        /// The registered name.
        name: Atom,
        /// The node.
        node: Atom,
    },
    /// A process alias.
    Alias(Reference),
}

impl From<Pid> for Destination {
    fn from(pid: Pid) -> Self {
        Destination::Pid(pid)
    }
}

impl From<&Pid> for Destination {
    fn from(pid: &Pid) -> Self {
        Destination::Pid(pid.clone())
    }
}

impl From<Atom> for Destination {
    fn from(name: Atom) -> Self {
        Destination::Name(name)
    }
}

impl From<Reference> for Destination {
    fn from(alias: Reference) -> Self {
        Destination::Alias(alias)
    }
}

impl From<(Atom, Atom)> for Destination {
    fn from((name, node): (Atom, Atom)) -> Self {
        Destination::Remote { name, node }
    }
}

/// A registered name as text. Text longer than an atom names nobody: it becomes the empty atom.
impl From<&str> for Destination {
    fn from(name: &str) -> Self {
        Destination::Name(Atom::new(name).unwrap_or_else(|_| Atom::from_static("")))
    }
}

/// `(name, node)` as text; see the conversion from `&str` for names that are too long.
impl From<(&str, &str)> for Destination {
    fn from((name, node): (&str, &str)) -> Self {
        let atom = |text| Atom::new(text).unwrap_or_else(|_| Atom::from_static(""));
        Destination::Remote { name: atom(name), node: atom(node) }
    }
}
