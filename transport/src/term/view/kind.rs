//! What a term is.

use super::super::{Atom, Reference, ascii, decode, read, tag};
use super::{
    BigIntegerRef, BitStringRef, ListRef, MapRef, PidRef, PortRef, ReferenceRef, TermRef, TupleRef,
};

/// What a term is, with what it consists of.
#[derive(Clone, Copy, Debug)]
pub enum TermKind<'a> {
    /// An integer of at most 64 bits.
    Integer(i64),
    /// A larger integer.
    BigInteger(BigIntegerRef<'a>),
    /// A float.
    Float(f64),
    /// An atom.
    Atom(&'a str),
    /// A process identifier.
    Pid(PidRef<'a>),
    /// A port identifier.
    Port(PortRef<'a>),
    /// A reference.
    Reference(ReferenceRef<'a>),
    /// A tuple.
    Tuple(TupleRef<'a>),
    /// A list, proper or not, also one sent as a string.
    List(ListRef<'a>),
    /// A map.
    Map(MapRef<'a>),
    /// A binary.
    Binary(&'a [u8]),
    /// A bit string.
    BitString(BitStringRef<'a>),
    /// A closure, an export, a native record, or anything that involves an atom in the legacy
    /// encoding with letters beyond ASCII: [`TermRef::to_term`] takes it apart.
    Other(TermRef<'a>),
}

impl<'a> TermRef<'a> {
    /// What the term is. [`TermKind::Other`] also for bytes that are none.
    ///
    /// Inlined into the caller with all that is frequent, so that what is looked at at once is
    /// never put together in memory.
    #[inline(always)]
    #[must_use]
    pub fn kind(&self) -> TermKind<'a> {
        match self.open(|kind, _, _| kind) {
            Some(kind) => kind,
            None => self.other_kind(),
        }
    }

    /// Gives `found` what the term is, if that is frequent and has nothing odd about it, with the
    /// number of terms of it that follow (the tail of a list included), and the bytes from there
    /// on.
    ///
    /// Not a result of three parts: that would be put together in memory.
    #[inline(always)]
    pub(super) fn open<R>(
        &self,
        found: impl FnOnce(TermKind<'a>, usize, &'a [u8]) -> R,
    ) -> Option<R> {
        let atoms = self.atoms;
        match *self.from {
            [tag::SMALL_INTEGER, value, ref rest @ ..] => {
                Some(found(TermKind::Integer(value.into()), 0, rest))
            }
            [tag::SMALL_ATOM_UTF8, length, ref rest @ ..] => {
                let (text, rest) = rest.split_at_checked(length.into())?;
                Some(found(TermKind::Atom(ascii::text(text)?), 0, rest))
            }
            [tag::BINARY, a, b, c, d, ref rest @ ..] => {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                let (bytes, rest) = rest.split_at_checked(length)?;
                Some(found(TermKind::Binary(bytes), 0, rest))
            }
            [tag::INTEGER, a, b, c, d, ref rest @ ..] => {
                Some(found(TermKind::Integer(i32::from_be_bytes([a, b, c, d]).into()), 0, rest))
            }
            [tag::NEW_FLOAT, a, b, c, d, e, f, g, h, ref rest @ ..] => {
                Some(found(TermKind::Float(f64::from_be_bytes([a, b, c, d, e, f, g, h])), 0, rest))
            }
            [tag::SMALL_TUPLE, arity, ref rest @ ..] => {
                let kind = TermKind::Tuple(TupleRef::new(arity.into(), rest, atoms));
                Some(found(kind, arity.into(), rest))
            }
            // One without elements is its tail.
            [tag::LIST, 0, 0, 0, 0, ..] => None,
            [tag::LIST, a, b, c, d, ref rest @ ..] => {
                let terms = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_add(1);
                Some(found(TermKind::List(ListRef(*self)), terms, rest))
            }
            [tag::NIL, ref rest @ ..] => Some(found(TermKind::List(ListRef(*self)), 0, rest)),
            [tag::MAP, a, b, c, d, ref rest @ ..] => {
                let pairs = u32::from_be_bytes([a, b, c, d]);
                let kind = TermKind::Map(MapRef::new(pairs, rest, atoms));
                Some(found(kind, (pairs as usize).saturating_mul(2), rest))
            }
            [tag::NEW_PID, tag::SMALL_ATOM_UTF8, length, ref rest @ ..] => {
                let (node, rest) = rest.split_at_checked(length.into())?;
                let (numbers, rest) = rest.split_first_chunk()?;
                Some(found(TermKind::Pid(PidRef { node: ascii::text(node)?, numbers }), 0, rest))
            }
            [tag::NEWER_REFERENCE, 0, words, tag::SMALL_ATOM_UTF8, length, ref rest @ ..]
                if usize::from(words) <= Reference::WORDS_MAX =>
            {
                let (node, rest) = rest.split_at_checked(length.into())?;
                let (words, rest) = rest.split_at_checked(4 + 4 * usize::from(words))?;
                let (node, words) = (ascii::text(node)?, words.as_chunks().0);
                Some(found(TermKind::Reference(ReferenceRef { node, words }), 0, rest))
            }
            _ => None,
        }
    }

    #[cold]
    fn tail_kind(&self) -> TermKind<'a> {
        let mut from = self.from;
        while let [tag::LIST, 0, 0, 0, 0, rest @ ..] = from {
            from = rest;
        }
        let tail = Self { from, ..*self };
        // What is left is no `LIST` without elements.
        if let [tag::LIST, ..] = from { TermKind::List(ListRef(tail)) } else { tail.kind() }
    }

    #[inline(never)]
    fn other_kind(&self) -> TermKind<'a> {
        if let [tag::LIST, 0, 0, 0, 0, ..] = self.from {
            return self.tail_kind();
        }
        let mut cursor = Cursor { rest: self.from, atoms: self.atoms };
        cursor.kind(*self).unwrap_or(TermKind::Other(*self))
    }
}

/// Takes a term that is not frequent apart.
struct Cursor<'a> {
    rest: &'a [u8],
    atoms: &'a [Atom],
}

impl<'a> Cursor<'a> {
    #[inline]
    fn kind(&mut self, term: TermRef<'a>) -> Option<TermKind<'a>> {
        let [tag] = *self.array()?;
        Some(match tag {
            tag::STRING => TermKind::List(ListRef(term)),
            tag::LARGE_TUPLE => {
                let arity = self.u32()?;
                TermKind::Tuple(TupleRef::new(arity as usize, self.rest, self.atoms))
            }
            tag::ATOM_CACHE_REF => TermKind::Atom(self.cached()?),
            tag::ATOM_UTF8 | tag::SMALL_ATOM | tag::ATOM => TermKind::Atom(self.atom_text(tag)?),
            tag::SMALL_BIG => {
                let [length] = *self.array()?;
                self.integer(length.into())?
            }
            tag::LARGE_BIG => {
                let length = self.u32()?;
                self.integer(length as usize)?
            }
            tag::BIT_BINARY => {
                let (length, [last_bits]) = (self.u32()?, *self.array()?);
                let bytes = self.rest.get(..length as usize)?;
                match last_bits {
                    8 => TermKind::Binary(bytes),
                    last_bits => TermKind::BitString(BitStringRef { bytes, last_bits }),
                }
            }
            tag::FLOAT => TermKind::Float(decode::legacy_float(0, self.array()?).ok()?),
            tag::NEW_PID => TermKind::Pid(PidRef { node: self.node()?, numbers: self.array()? }),
            tag::V4_PORT => {
                let (node, id) = (self.node()?, u64::from_be_bytes(*self.array()?));
                TermKind::Port(PortRef::new(node, id, *self.array()?))
            }
            tag::NEW_PORT => {
                let (node, id) = (self.node()?, self.u32()?);
                TermKind::Port(PortRef::new(node, id.into(), *self.array()?))
            }
            tag::NEWER_REFERENCE => {
                let count = usize::from(u16::from_be_bytes(*self.array()?));
                if count > Reference::WORDS_MAX {
                    return None;
                }
                let node = self.node()?;
                let (words, _) = self.rest.get(..4 + 4 * count)?.as_chunks();
                TermKind::Reference(ReferenceRef { node, words })
            }
            // Closures and the like, and legacy forms of what is above.
            _ => TermKind::Other(term),
        })
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().copied().map(u32::from_be_bytes)
    }

    fn integer(&mut self, length: usize) -> Option<TermKind<'a>> {
        let [sign] = *self.array()?;
        let digits = self.rest.get(..length)?;
        let is_negative = sign != 0;
        let small = read::small_magnitude(digits).and_then(|magnitude| {
            let value = i128::from(magnitude);
            i64::try_from(if is_negative { -value } else { value }).ok()
        });
        Some(match small {
            Some(value) => TermKind::Integer(value),
            None => TermKind::BigInteger(BigIntegerRef { is_negative, digits }),
        })
    }

    /// The text of an atom, unless it is in Latin-1 and not the same in UTF-8.
    #[inline]
    fn atom_text(&mut self, tag: u8) -> Option<&'a str> {
        let length = match tag {
            tag::SMALL_ATOM_UTF8 | tag::SMALL_ATOM => usize::from(self.array::<1>()?[0]),
            _ => usize::from(u16::from_be_bytes(*self.array()?)),
        };
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        if matches!(tag, tag::SMALL_ATOM | tag::ATOM) && !ascii::is_ascii(text) {
            return None;
        }
        ascii::text(text)
    }

    fn cached(&mut self) -> Option<&'a str> {
        let [index] = *self.array()?;
        self.atoms.get(usize::from(index)).map(Atom::as_str)
    }

    /// The node of an identifier.
    #[inline]
    fn node(&mut self) -> Option<&'a str> {
        match *self.array()? {
            [tag::ATOM_CACHE_REF] => self.cached(),
            [tag @ (tag::SMALL_ATOM_UTF8 | tag::ATOM_UTF8 | tag::SMALL_ATOM | tag::ATOM)] => {
                self.atom_text(tag)
            }
            _ => None,
        }
    }
}
