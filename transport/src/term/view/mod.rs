//! Terms seen where they are, in the bytes they came in.

mod container;
mod identifier;
mod kind;
mod preorder;

use std::fmt;

pub use self::container::{Elements, ListItems, ListRef, MapRef, Pairs, TupleRef};
pub use self::identifier::{BigIntegerRef, BitStringRef, PidRef, PortRef, ReferenceRef};
pub use self::kind::TermKind;
pub use self::preorder::Preorder;
use super::{Atom, DecodeError, DecodeErrorKind, Limits, Term, quick, skip};

/// A term in its encoded form: nothing is copied and nothing allocated. [`TermRef::kind`] takes it
/// apart one level.
///
/// To get to what follows a term it is passed over, so that looking at everything costs up to one
/// pass for each level of nesting; messages seldom have more than a few. Making a view costs the
/// same whatever the size of the term.
///
/// Match on what it is, and iterate over what it contains:
///
/// ```
/// use krarup_transport::term::{Limits, TermKind, TermRef};
///
/// let bytes = b"\x68\x02\x77\x05hello\x6d\x00\x00\x00\x05world";
/// let (term, _) = TermRef::decode(bytes, &[], &Limits::DEFAULT)?;
/// assert!(matches!(
///     term.elements(),
///     Some([TermKind::Atom("hello"), TermKind::Binary(b"world")])
/// ));
/// # Ok::<(), krarup_transport::term::DecodeError>(())
/// ```
// Where it is and no more: what it is made of stays in registers when it is handed on, where an
// enum of all kinds would be put together in memory each time, to be waited for by the next reader.
#[derive(Clone, Copy)]
pub struct TermRef<'a> {
    /// The term, and whatever follows it.
    from: &'a [u8],
    atoms: &'a [Atom],
}

impl<'a> TermRef<'a> {
    /// Validates the term at the start of `bytes` (without a version byte) and returns it with the
    /// number of bytes it takes. `atoms` is the table of the message's header, if it has one.
    ///
    /// # Errors
    /// As [`validate`](super::validate).
    #[inline]
    pub fn decode(
        bytes: &'a [u8],
        atoms: &'a [Atom],
        limits: &Limits,
    ) -> Result<(Self, usize), DecodeError> {
        if let Some(content) = quick::binary(bytes, limits) {
            return Ok((Self { from: bytes, atoms }, 5 + content.len()));
        }
        let len = super::validate_with(bytes, atoms, limits)?.len;
        Ok((Self { from: bytes, atoms }, len))
    }

    /// The term at the start of bytes that have passed [`validate`](super::validate) before. Other
    /// bytes make a term that is [`TermKind::Other`] or ends early, nothing worse.
    #[inline]
    #[must_use]
    pub fn validated(bytes: &'a [u8], atoms: &'a [Atom]) -> Self {
        Self { from: bytes, atoms }
    }

    /// The bytes of the term, whose end this looks for. They may refer to [`TermRef::atoms`].
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        let after = skip::after(self.from, 1).map_or(0, <[u8]>::len);
        &self.from[..self.from.len() - after]
    }

    /// The atom table the bytes refer to.
    #[must_use]
    pub fn atoms(&self) -> &'a [Atom] {
        self.atoms
    }

    /// A copy that stands on its own.
    ///
    /// # Errors
    /// When the term is nested deeper than [`Term::DEPTH_MAX`], or takes more memory than
    /// `limits` allow.
    pub fn to_term(&self, limits: &Limits) -> Result<Term, DecodeError> {
        Term::decode(self.from, self.atoms, limits).map(|(term, _)| term)
    }

    /// The elements, if this is a tuple of exactly so many.
    #[inline]
    #[must_use]
    pub fn elements<const N: usize>(&self) -> Option<[TermKind<'a>; N]> {
        let TermKind::Tuple(tuple) = self.kind() else { return None };
        if tuple.len() != N {
            return None;
        }
        let mut terms = tuple.iter();
        let mut elements = [TermKind::Integer(0); N];
        for element in &mut elements {
            *element = terms.next()?.kind();
        }
        Some(elements)
    }

    /// The number, if this is an integer of at most 64 bits.
    #[inline]
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        if let TermKind::Integer(value) = self.kind() { Some(value) } else { None }
    }

    /// The name, if this is an atom.
    #[inline]
    #[must_use]
    pub fn as_atom(&self) -> Option<&'a str> {
        if let TermKind::Atom(name) = self.kind() { Some(name) } else { None }
    }

    /// The bytes, if this is a binary.
    #[inline]
    #[must_use]
    pub fn as_binary(&self) -> Option<&'a [u8]> {
        if let TermKind::Binary(bytes) = self.kind() { Some(bytes) } else { None }
    }
}

/// Prints as the owned term does.
impl fmt::Debug for TermRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_term(&Limits::DEFAULT) {
            Ok(term) => fmt::Debug::fmt(&term, f),
            Err(error) => write!(f, "({error})"),
        }
    }
}

fn atom(name: &str) -> Result<Atom, DecodeError> {
    Atom::new(name).map_err(|_| {
        let characters_max = Atom::CHARACTERS_MAX;
        DecodeError::new(0, DecodeErrorKind::AtomTooLong { characters_max })
    })
}

#[cfg(test)]
mod tests;
