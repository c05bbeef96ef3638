//! Whom a message is for.

use krarup_transport::term::{Atom, Pid, Reference};

/// Whom a message is for: what stands left of Erlang's `!`.
///
/// The methods that send take whatever is [`AsDestination`], by value or by reference: a pid, a
/// registered name `"greeter"`, a name on a node `("greeter", "shop@127.0.0.1")`, an alias. This
/// type is for keeping any of them.
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

/// A [`Destination`] that belongs to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationRef<'a> {
    /// A process, here or on any node.
    Pid(&'a Pid),
    /// A name registered on this node. Text longer than an atom names nobody.
    Name(&'a str),
    /// A name registered on the given node.
    Remote {
        /// The registered name.
        name: &'a str,
        /// The node.
        node: &'a str,
    },
    /// A process alias.
    Alias(&'a Reference),
}

/// What names somebody to send to.
pub trait AsDestination {
    /// Whom it names.
    fn as_destination(&self) -> DestinationRef<'_>;
}

impl<T: AsDestination + ?Sized> AsDestination for &T {
    #[inline]
    fn as_destination(&self) -> DestinationRef<'_> {
        (**self).as_destination()
    }
}

impl AsDestination for DestinationRef<'_> {
    #[inline]
    fn as_destination(&self) -> DestinationRef<'_> {
        *self
    }
}

impl AsDestination for Destination {
    #[inline]
    fn as_destination(&self) -> DestinationRef<'_> {
        match self {
            Destination::Pid(pid) => DestinationRef::Pid(pid),
            Destination::Name(name) => DestinationRef::Name(name.as_str()),
            Destination::Remote { name, node } => {
                DestinationRef::Remote { name: name.as_str(), node: node.as_str() }
            }
            Destination::Alias(alias) => DestinationRef::Alias(alias),
        }
    }
}

impl AsDestination for Pid {
    #[inline]
    fn as_destination(&self) -> DestinationRef<'_> {
        DestinationRef::Pid(self)
    }
}

impl AsDestination for Reference {
    #[inline]
    fn as_destination(&self) -> DestinationRef<'_> {
        DestinationRef::Alias(self)
    }
}

impl AsDestination for Atom {
    #[inline]
    fn as_destination(&self) -> DestinationRef<'_> {
        DestinationRef::Name(self.as_str())
    }
}

impl AsDestination for str {
    #[inline]
    fn as_destination(&self) -> DestinationRef<'_> {
        DestinationRef::Name(self)
    }
}

impl AsDestination for String {
    #[inline]
    fn as_destination(&self) -> DestinationRef<'_> {
        DestinationRef::Name(self)
    }
}

/// A name and its node, as atoms or text.
impl<Name: AsRef<str>, Node: AsRef<str>> AsDestination for (Name, Node) {
    #[inline]
    fn as_destination(&self) -> DestinationRef<'_> {
        DestinationRef::Remote { name: self.0.as_ref(), node: self.1.as_ref() }
    }
}

/// The atom of a name; text longer than an atom becomes the empty one, which nobody has.
pub(crate) fn name_atom(name: &str) -> Atom {
    Atom::new(name).unwrap_or_else(|_| Atom::from_static(""))
}

impl From<DestinationRef<'_>> for Destination {
    fn from(to: DestinationRef<'_>) -> Self {
        match to {
            DestinationRef::Pid(pid) => Destination::Pid(pid.clone()),
            DestinationRef::Name(name) => Destination::Name(name_atom(name)),
            DestinationRef::Remote { name, node } => {
                Destination::Remote { name: name_atom(name), node: name_atom(node) }
            }
            DestinationRef::Alias(alias) => Destination::Alias(alias.clone()),
        }
    }
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
        Destination::Name(name_atom(name))
    }
}

/// `(name, node)` as text; see the conversion from `&str` for names that are too long.
impl From<(&str, &str)> for Destination {
    fn from((name, node): (&str, &str)) -> Self {
        Destination::Remote { name: name_atom(name), node: name_atom(node) }
    }
}
