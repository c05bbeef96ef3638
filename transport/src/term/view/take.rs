//! Taking terms off the front of bytes that have been validated.

use super::super::{Atom, Reference, ascii, decode, read, skip, tag};
use super::{
    BigIntegerRef, BitStringRef, Encoded, ListRef, MapRef, PidRef, PortRef, ReferenceRef, TermRef,
    TupleRef,
};

/// A place among terms that follow one another.
///
/// What a container contains is passed over when the term behind it is asked for, and not before:
/// the last container of each level, and everything behind what one was looking for, never is.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    rest: &'a [u8],
    /// Terms at the front that belong to the one taken last.
    inside: usize,
    atoms: &'a [Atom],
}

impl<'a> Terms<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8], atoms: &'a [Atom]) -> Self {
        Self { rest: bytes, inside: 0, atoms }
    }

    /// The bytes from the next term on.
    #[inline]
    pub(super) fn rest(&mut self) -> Option<&'a [u8]> {
        if self.inside > 0 {
            self.rest = skip::after(self.rest, self.inside)?;
            self.inside = 0;
        }
        Some(self.rest)
    }

    /// Takes bytes that are no term of their own.
    #[inline]
    pub(super) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest()?.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    /// Passes over so many terms.
    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        self.rest = skip::after(self.rest()?, count)?;
        Some(())
    }

    /// Takes the next term. Nothing if the bytes are not valid.
    ///
    /// Inlined into the caller with all that is frequent, so that a term that is looked at where
    /// it is taken is never put together in memory.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Option<TermRef<'a>> {
        let start = self.rest()?;
        let (&tag, body) = start.split_first()?;
        match tag {
            tag::SMALL_INTEGER => {
                let (&value, rest) = body.split_first()?;
                self.rest = rest;
                Some(TermRef::Integer(value.into()))
            }
            tag::SMALL_ATOM_UTF8 => {
                let (&length, rest) = body.split_first()?;
                let (text, rest) = rest.split_at_checked(length.into())?;
                self.rest = rest;
                ascii::text(text).map(TermRef::Atom)
            }
            tag::BINARY => {
                let (length, rest) = body.split_first_chunk()?;
                let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
                self.rest = rest;
                Some(TermRef::Binary(bytes))
            }
            tag::INTEGER => {
                let (value, rest) = body.split_first_chunk()?;
                self.rest = rest;
                Some(TermRef::Integer(i32::from_be_bytes(*value).into()))
            }
            tag::NEW_FLOAT => {
                let (bits, rest) = body.split_first_chunk()?;
                self.rest = rest;
                Some(TermRef::Float(f64::from_be_bytes(*bits)))
            }
            tag::SMALL_TUPLE => {
                let (&arity, rest) = body.split_first()?;
                (self.rest, self.inside) = (rest, arity.into());
                Some(TermRef::Tuple(TupleRef { encoded: self.encoded(start) }))
            }
            tag => self.take_other(start, tag, body),
        }
    }

    #[inline]
    fn encoded(&self, start: &'a [u8]) -> Encoded<'a> {
        Encoded { from: start, atoms: self.atoms }
    }

    /// Takes a term of another kind.
    #[inline(never)]
    fn take_other(&mut self, start: &'a [u8], tag: u8, body: &'a [u8]) -> Option<TermRef<'a>> {
        let encoded = self.encoded(start);
        self.rest = body;
        Some(match tag {
            tag::NIL => TermRef::List(ListRef { encoded }),
            tag::LIST => {
                let count = u32::from_be_bytes(self.bytes()?) as usize;
                if count == 0 {
                    return self.take_tail();
                }
                self.inside = count.saturating_add(1);
                TermRef::List(ListRef { encoded })
            }
            tag::STRING => {
                let length = u16::from_be_bytes(self.bytes()?);
                self.rest = self.rest.get(length.into()..)?;
                TermRef::List(ListRef { encoded })
            }
            tag::MAP => {
                let pairs = u32::from_be_bytes(self.bytes()?) as usize;
                self.inside = pairs.saturating_mul(2);
                TermRef::Map(MapRef { encoded })
            }
            tag::LARGE_TUPLE => {
                self.inside = u32::from_be_bytes(self.bytes()?) as usize;
                TermRef::Tuple(TupleRef { encoded })
            }
            tag::ATOM_CACHE_REF => TermRef::Atom(self.cached()?),
            tag::ATOM_UTF8 | tag::SMALL_ATOM | tag::ATOM => match self.atom_text(tag)? {
                Some(name) => TermRef::Atom(name),
                None => TermRef::Other(encoded),
            },
            tag::SMALL_BIG => {
                let [length] = self.bytes()?;
                self.integer(length.into())?
            }
            tag::LARGE_BIG => {
                let length = u32::from_be_bytes(self.bytes()?);
                self.integer(length as usize)?
            }
            tag::BIT_BINARY => {
                let length = u32::from_be_bytes(self.bytes()?) as usize;
                let [bits] = self.bytes()?;
                let (bytes, rest) = self.rest.split_at_checked(length)?;
                self.rest = rest;
                match bits {
                    8 => TermRef::Binary(bytes),
                    last_bits => TermRef::BitString(BitStringRef { bytes, last_bits }),
                }
            }
            tag::FLOAT => TermRef::Float(decode::legacy_float(0, &self.bytes()?).ok()?),
            _ => match self.identifier(tag)? {
                Some(identifier) => identifier,
                None => {
                    // Closures and the like, and legacy forms of what is above.
                    (self.rest, self.inside) = (start, 1);
                    TermRef::Other(encoded)
                }
            },
        })
    }

    /// The tail of a `LIST` of no elements, which is all there is of it.
    #[cold]
    fn take_tail(&mut self) -> Option<TermRef<'a>> {
        loop {
            let (&tag, body) = self.rest.split_first()?;
            match (tag, body.split_first_chunk()) {
                (tag::LIST, Some(([0, 0, 0, 0], rest))) => self.rest = rest,
                _ => return self.take(),
            }
        }
    }

    /// A pid, port or reference of today's form, whose tag has been taken.
    fn identifier(&mut self, tag: u8) -> Option<Option<TermRef<'a>>> {
        Some(match tag {
            tag::NEW_PID => self.node()?.and_then(|node| {
                let (numbers, rest) = self.rest.split_first_chunk()?;
                self.rest = rest;
                Some(TermRef::Pid(PidRef { node, numbers }))
            }),
            tag::V4_PORT => self.node()?.and_then(|node| {
                let (id, creation) = (self.bytes()?, self.bytes()?);
                Some(TermRef::Port(PortRef::new(node, u64::from_be_bytes(id), creation)))
            }),
            tag::NEW_PORT => self.node()?.and_then(|node| {
                let (id, creation) = (self.bytes()?, self.bytes()?);
                Some(TermRef::Port(PortRef::new(node, u32::from_be_bytes(id).into(), creation)))
            }),
            tag::NEWER_REFERENCE => {
                let count = usize::from(u16::from_be_bytes(self.bytes()?));
                if count > Reference::WORDS_MAX {
                    return None;
                }
                self.node()?.and_then(|node| {
                    let (words, rest) = self.rest.split_at_checked(4 + 4 * count)?;
                    self.rest = rest;
                    Some(TermRef::Reference(ReferenceRef { node, words: words.as_chunks().0 }))
                })
            }
            _ => None,
        })
    }

    fn integer(&mut self, length: usize) -> Option<TermRef<'a>> {
        let [sign] = self.bytes()?;
        let (digits, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        let is_negative = sign != 0;
        let small = read::small_magnitude(digits).and_then(|magnitude| {
            let value = i128::from(magnitude);
            i64::try_from(if is_negative { -value } else { value }).ok()
        });
        Some(match small {
            Some(value) => TermRef::Integer(value),
            None => TermRef::BigInteger(BigIntegerRef { is_negative, digits }),
        })
    }

    /// The text of an atom, unless it is in Latin-1 and not the same in UTF-8.
    #[inline]
    fn atom_text(&mut self, tag: u8) -> Option<Option<&'a str>> {
        let length = match tag {
            tag::SMALL_ATOM_UTF8 | tag::SMALL_ATOM => usize::from(self.bytes::<1>()?[0]),
            _ => usize::from(u16::from_be_bytes(self.bytes()?)),
        };
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        if matches!(tag, tag::SMALL_ATOM | tag::ATOM) && !ascii::is_ascii(text) {
            return Some(None);
        }
        ascii::text(text).map(Some)
    }

    fn cached(&mut self) -> Option<&'a str> {
        let [index] = self.bytes()?;
        self.atoms.get(usize::from(index)).map(Atom::as_str)
    }

    /// The node of an identifier.
    #[inline]
    fn node(&mut self) -> Option<Option<&'a str>> {
        let [tag] = self.bytes()?;
        match tag {
            tag::ATOM_CACHE_REF => self.cached().map(Some),
            tag::SMALL_ATOM_UTF8 | tag::ATOM_UTF8 | tag::SMALL_ATOM | tag::ATOM => {
                self.atom_text(tag)
            }
            _ => None,
        }
    }
}
