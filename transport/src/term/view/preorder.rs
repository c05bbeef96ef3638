//! Everything in a term, in one pass.

use super::super::{Atom, skip, tag};
use super::{TermKind, TermRef};

/// A term and all that is in it, in the order of the bytes: each container before what it
/// contains.
///
/// The elements of a list are followed by its tail, which of a proper list is `[]`. A list that
/// came as a string of bytes comes as a whole ([`ListRef::as_bytes`](super::ListRef::as_bytes)),
/// and so does what is [`TermKind::Other`].
#[derive(Clone, Debug)]
pub struct Preorder<'a> {
    rest: &'a [u8],
    /// Terms still to come, as far as is known: what open containers lack.
    owed: usize,
    atoms: &'a [Atom],
}

impl<'a> TermRef<'a> {
    /// The term and all that is in it, one by one. Nothing is passed over to get to what follows
    /// it, so this is the quickest way to look at all of a term.
    ///
    /// ```
    /// use krarup_transport::term::{Limits, TermKind, TermRef};
    ///
    /// let bytes = b"\x68\x02\x61\x01\x68\x02\x61\x02\x61\x03";
    /// let (term, _) = TermRef::decode(bytes, &[], &Limits::DEFAULT)?;
    /// let integer = |part| if let TermKind::Integer(value) = part { Some(value) } else { None };
    /// assert_eq!(term.preorder().filter_map(integer).sum::<i64>(), 6);
    /// # Ok::<(), krarup_transport::term::DecodeError>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn preorder(&self) -> Preorder<'a> {
        Preorder { rest: self.from, owed: 1, atoms: self.atoms }
    }
}

impl<'a> Preorder<'a> {
    /// A term that is not frequent, and what is left behind it. By value, so that what is left
    /// stays in registers between all other terms.
    #[inline(never)]
    fn other(mut self) -> Option<(TermKind<'a>, Self)> {
        while let [tag::LIST, 0, 0, 0, 0, rest @ ..] = self.rest {
            self.rest = rest;
        }
        let term = TermRef { from: self.rest, atoms: self.atoms };
        let behind = |kind, terms, rest| (kind, self.behind(terms, rest));
        if let Some(found) = term.open(behind) {
            return Some(found);
        }
        if let [tag::LARGE_TUPLE, a, b, c, d, rest @ ..] = self.rest {
            let arity = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            return Some((term.kind(), self.behind(arity, rest)));
        }
        let rest = skip::after(self.rest, 1)?;
        Some((term.kind(), self.behind(0, rest)))
    }

    #[inline]
    fn behind(&self, terms: usize, rest: &'a [u8]) -> Self {
        Self { rest, owed: self.owed.saturating_add(terms), atoms: self.atoms }
    }
}

impl<'a> Iterator for Preorder<'a> {
    type Item = TermKind<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<TermKind<'a>> {
        self.owed = self.owed.checked_sub(1)?;
        let term = TermRef { from: self.rest, atoms: self.atoms };
        let found = |kind, terms, rest| {
            *self = self.behind(terms, rest);
            kind
        };
        if let Some(kind) = term.open(found) {
            return Some(kind);
        }
        let (kind, left) = self.clone().other()?;
        *self = left;
        Some(kind)
    }
}
