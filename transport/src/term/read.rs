//! The bounded readers everything that parses terms shares.

use std::borrow::Cow;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    Atom, Creation, DecodeError, DecodeErrorKind, Limits, Pid, Port, Reference, ascii, tag,
};

/// Where the bytes of a term come from: one slice ([`Reader`]) or several.
///
/// Every method checks what it takes against what is there, before anything is allocated.
pub trait Source {
    /// Bytes not yet taken.
    fn remaining(&self) -> usize;

    /// Bytes taken so far; the `position` of errors.
    fn position(&self) -> usize;

    /// Takes a fixed number of bytes.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] when there are fewer.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError>;

    /// Takes `count` bytes, borrowed where they are contiguous.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] when there are fewer.
    fn bytes(&mut self, count: usize) -> Result<Cow<'_, [u8]>, DecodeError>;

    /// Takes `count` bytes to keep.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] when there are fewer.
    fn shared(&mut self, count: usize) -> Result<Bytes, DecodeError> {
        Ok(match self.bytes(count)? {
            Cow::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        })
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] at the end.
    #[inline]
    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes a big-endian 16-bit number.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] when there are fewer than two bytes.
    #[inline]
    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes a big-endian 32-bit number.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] when there are fewer than four bytes.
    #[inline]
    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes a big-endian 64-bit number.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] when there are fewer than eight bytes.
    #[inline]
    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }
}

/// Reads bytes from the front of a slice, never beyond its end.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, total: bytes.len() }
    }

    /// Takes `count` bytes.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] when there are fewer.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.truncated(count)),
        }
    }

    /// What has not been taken yet.
    #[inline]
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Bytes not yet taken.
    #[inline]
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Bytes taken so far.
    #[inline]
    #[must_use]
    pub fn position(&self) -> usize {
        self.total - self.rest.len()
    }

    /// The next byte without taking it.
    #[inline]
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] at the end.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Source::u8(self)
    }

    /// Takes a big-endian 16-bit number.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] when there are fewer than two bytes.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Source::u16(self)
    }

    /// Takes a big-endian 32-bit number.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] when there are fewer than four bytes.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Source::u32(self)
    }

    /// Takes a big-endian 64-bit number.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] when there are fewer than eight bytes.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Source::u64(self)
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        let remaining = self.rest.len();
        DecodeError::new(self.position(), DecodeErrorKind::Truncated { needed, remaining })
    }
}

impl Source for Reader<'_> {
    #[inline]
    fn remaining(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    fn position(&self) -> usize {
        self.total - self.rest.len()
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.truncated(N)),
        }
    }

    #[inline]
    fn bytes(&mut self, count: usize) -> Result<Cow<'_, [u8]>, DecodeError> {
        self.take(count).map(Cow::Borrowed)
    }
}

/// What `ATOM_CACHE_REF` (tag 82) refers to: the atom table of one message's distribution header.
pub trait AtomTable {
    /// The atom of this entry, `None` when the header has no such entry.
    fn entry(&self, index: u8) -> Option<&Atom>;

    /// Whether the header has such an entry, even if its atom is not at hand.
    #[inline]
    fn has_entry(&self, index: u8) -> bool {
        self.entry(index).is_some()
    }
}

/// No table: terms outside a frame with a header.
impl AtomTable for () {
    fn entry(&self, _index: u8) -> Option<&Atom> {
        None
    }
}

impl AtomTable for [Atom] {
    fn entry(&self, index: u8) -> Option<&Atom> {
        self.get(usize::from(index))
    }
}

impl<const N: usize> AtomTable for [Atom; N] {
    fn entry(&self, index: u8) -> Option<&Atom> {
        self.get(usize::from(index))
    }
}

impl AtomTable for Vec<Atom> {
    fn entry(&self, index: u8) -> Option<&Atom> {
        self.get(usize::from(index))
    }
}

impl<const N: usize> AtomTable for SmallVec<[Atom; N]> {
    fn entry(&self, index: u8) -> Option<&Atom> {
        self.get(usize::from(index))
    }
}

impl<T: AtomTable + ?Sized> AtomTable for &T {
    fn entry(&self, index: u8) -> Option<&Atom> {
        (**self).entry(index)
    }

    fn has_entry(&self, index: u8) -> bool {
        (**self).has_entry(index)
    }
}

/// Reads an atom in any of its forms: UTF-8, legacy Latin-1, or a reference into `atoms`.
///
/// # Errors
/// When another term stands there, or the text is not a legal atom.
pub fn read_atom<S: Source, A: AtomTable + ?Sized>(
    source: &mut S,
    atoms: &A,
) -> Result<Atom, DecodeError> {
    let position = source.position();
    let tag = source.u8()?;
    read_atom_body(source, atoms, tag, position)
}

/// Reads an atom whose tag has been taken; `position` is where the tag was.
#[inline]
pub(crate) fn read_atom_body<S: Source, A: AtomTable + ?Sized>(
    source: &mut S,
    atoms: &A,
    tag: u8,
    position: usize,
) -> Result<Atom, DecodeError> {
    let length = match tag {
        tag::SMALL_ATOM_UTF8 | tag::SMALL_ATOM => usize::from(source.u8()?),
        tag::ATOM_UTF8 | tag::ATOM => usize::from(source.u16()?),
        tag::ATOM_CACHE_REF => {
            let index = source.u8()?;
            return atoms.entry(index).cloned().ok_or_else(|| {
                DecodeError::new(position, DecodeErrorKind::UnknownAtomReference(index))
            });
        }
        _ => return Err(unexpected(position, "an atom", tag)),
    };
    let text = source.bytes(length)?;
    if matches!(tag, tag::SMALL_ATOM | tag::ATOM) && !ascii::is_ascii(&text) {
        // Latin-1: every byte is the code point of that number.
        let name: String = text.iter().map(|&byte| char::from(byte)).collect();
        return Atom::new(&name).map_err(|_| too_long(position));
    }
    let name = ascii::text(&text)
        .ok_or_else(|| DecodeError::new(position, DecodeErrorKind::AtomNotUtf8))?;
    Atom::new(name).map_err(|_| too_long(position))
}

/// Applies the limit on atom length, which can only be stricter than the format's.
#[inline]
pub(crate) fn check_atom_limit(
    atom: &Atom,
    limits: &Limits,
    position: usize,
) -> Result<(), DecodeError> {
    let characters_max = limits.atom_characters_max;
    let name = atom.as_str();
    if name.len() > characters_max && name.chars().count() > characters_max {
        return Err(DecodeError::new(position, DecodeErrorKind::AtomTooLong { characters_max }));
    }
    Ok(())
}

/// Refuses a record that names a field twice.
pub(crate) fn check_distinct(names: &[Atom], position: usize) -> Result<(), DecodeError> {
    let mut sorted: SmallVec<[&str; 16]> = names.iter().map(Atom::as_str).collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(DecodeError::new(position, DecodeErrorKind::DuplicateField));
    }
    Ok(())
}

/// Reads a pid (tag 88, or 103 with its 8-bit creation).
///
/// # Errors
/// When another term stands there.
pub fn read_pid<S: Source, A: AtomTable + ?Sized>(
    source: &mut S,
    atoms: &A,
) -> Result<Pid, DecodeError> {
    let position = source.position();
    let tag = source.u8()?;
    read_pid_body(source, atoms, tag, position)
}

pub(crate) fn read_pid_body<S: Source, A: AtomTable + ?Sized>(
    source: &mut S,
    atoms: &A,
    tag: u8,
    position: usize,
) -> Result<Pid, DecodeError> {
    if !matches!(tag, tag::NEW_PID | tag::PID) {
        return Err(unexpected(position, "a pid", tag));
    }
    let node = read_atom(source, atoms)?;
    let id = source.u32()?;
    let serial = source.u32()?;
    let creation = read_creation(source, tag == tag::NEW_PID)?;
    Ok(Pid { node, id, serial, creation })
}

/// Reads a port (tags 120, 89, or 102 with its 8-bit creation).
///
/// # Errors
/// When another term stands there.
pub fn read_port<S: Source, A: AtomTable + ?Sized>(
    source: &mut S,
    atoms: &A,
) -> Result<Port, DecodeError> {
    let position = source.position();
    let tag = source.u8()?;
    read_port_body(source, atoms, tag, position)
}

pub(crate) fn read_port_body<S: Source, A: AtomTable + ?Sized>(
    source: &mut S,
    atoms: &A,
    tag: u8,
    position: usize,
) -> Result<Port, DecodeError> {
    if !matches!(tag, tag::V4_PORT | tag::NEW_PORT | tag::PORT) {
        return Err(unexpected(position, "a port", tag));
    }
    let node = read_atom(source, atoms)?;
    let id = if tag == tag::V4_PORT { source.u64()? } else { u64::from(source.u32()?) };
    let creation = read_creation(source, tag != tag::PORT)?;
    Ok(Port { node, id, creation })
}

/// Reads a reference (tags 90, and the legacy 114 and 101).
///
/// # Errors
/// When another term stands there, or the reference has no or more than five words.
pub fn read_reference<S: Source, A: AtomTable + ?Sized>(
    source: &mut S,
    atoms: &A,
) -> Result<Reference, DecodeError> {
    let position = source.position();
    let tag = source.u8()?;
    read_reference_body(source, atoms, tag, position)
}

pub(crate) fn read_reference_body<S: Source, A: AtomTable + ?Sized>(
    source: &mut S,
    atoms: &A,
    tag: u8,
    position: usize,
) -> Result<Reference, DecodeError> {
    if tag == tag::REFERENCE {
        let node = read_atom(source, atoms)?;
        let word = source.u32()?;
        let creation = read_creation(source, false)?;
        return Reference::new(node, creation, &[word])
            .ok_or_else(|| DecodeError::new(position, DecodeErrorKind::ReferenceWords(1)));
    }
    if !matches!(tag, tag::NEWER_REFERENCE | tag::NEW_REFERENCE) {
        return Err(unexpected(position, "a reference", tag));
    }
    let count = source.u16()?;
    let wrong = || DecodeError::new(position, DecodeErrorKind::ReferenceWords(count));
    if count == 0 || usize::from(count) > Reference::WORDS_MAX {
        return Err(wrong());
    }
    let node = read_atom(source, atoms)?;
    let creation = read_creation(source, tag == tag::NEWER_REFERENCE)?;
    let mut words = [0; Reference::WORDS_MAX];
    let words = &mut words[..usize::from(count)];
    for word in words.iter_mut() {
        *word = source.u32()?;
    }
    Reference::new(node, creation, words).ok_or_else(wrong)
}

/// Reads a non-negative integer of at most 64 bits (tags 97, 98, 110 and 111).
///
/// # Errors
/// When another term stands there; [`DecodeErrorKind::IntegerOutOfRange`] when it is negative or
/// larger.
pub fn read_u64<S: Source>(source: &mut S) -> Result<u64, DecodeError> {
    let position = source.position();
    let out_of_range = || DecodeError::new(position, DecodeErrorKind::IntegerOutOfRange);
    u64::try_from(read_i128(source, u32::MAX)?).map_err(|_| out_of_range())
}

/// Reads an integer of at most 64 bits, signed, in one of its short forms (tags 97, 98 and 110).
pub(crate) fn read_i64<S: Source>(source: &mut S) -> Result<i64, DecodeError> {
    let position = source.position();
    i64::try_from(read_i128(source, u32::from(u8::MAX))?)
        .map_err(|_| DecodeError::new(position, DecodeErrorKind::IntegerOutOfRange))
}

/// Reads the arity of an export, which is a small integer term.
pub(crate) fn read_arity<S: Source>(source: &mut S) -> Result<u8, DecodeError> {
    let position = source.position();
    match source.u8()? {
        tag::SMALL_INTEGER => source.u8(),
        tag => Err(unexpected(position, "an arity of 0 to 255", tag)),
    }
}

/// Reads an integer whose magnitude fits 64 bits and that has at most so many digit bytes.
fn read_i128<S: Source>(source: &mut S, digits_max: u32) -> Result<i128, DecodeError> {
    let position = source.position();
    let tag = source.u8()?;
    let length = match tag {
        tag::SMALL_INTEGER => return source.u8().map(i128::from),
        tag::INTEGER => return source.array().map(|bytes| i128::from(i32::from_be_bytes(bytes))),
        tag::SMALL_BIG => u32::from(source.u8()?),
        tag::LARGE_BIG => source.u32()?,
        _ => return Err(unexpected(position, "an integer", tag)),
    };
    let out_of_range = DecodeError::new(position, DecodeErrorKind::IntegerOutOfRange);
    if length > digits_max {
        return Err(out_of_range);
    }
    let negative = source.u8()? != 0;
    let digits = source.bytes(length as usize)?;
    let magnitude = i128::from(small_magnitude(&digits).ok_or(out_of_range)?);
    Ok(if negative { -magnitude } else { magnitude })
}

/// The value of little-endian digits, if it fits 64 bits; leading zeros do not matter.
pub(crate) fn small_magnitude(digits: &[u8]) -> Option<u64> {
    let (low, high) = digits.split_at(digits.len().min(8));
    if high.iter().any(|&digit| digit != 0) {
        return None;
    }
    let mut bytes = [0; 8];
    bytes[..low.len()].copy_from_slice(low);
    Some(u64::from_le_bytes(bytes))
}

/// Reads the head of a tuple and returns its arity; the elements follow.
///
/// # Errors
/// When another term stands there, or fewer bytes follow than there are elements.
pub fn read_tuple_header<S: Source>(source: &mut S) -> Result<usize, DecodeError> {
    let position = source.position();
    let tag = source.u8()?;
    let arity = match tag {
        tag::SMALL_TUPLE => usize::from(source.u8()?),
        tag::LARGE_TUPLE => source.u32()? as usize,
        _ => return Err(unexpected(position, "a tuple", tag)),
    };
    let remaining = source.remaining();
    if arity > remaining {
        let count = arity as u64;
        let kind = DecodeErrorKind::CountBeyondInput { count, remaining };
        return Err(DecodeError::new(position, kind));
    }
    Ok(arity)
}

fn read_creation<S: Source>(source: &mut S, wide: bool) -> Result<Creation, DecodeError> {
    Ok(Creation(if wide { source.u32()? } else { u32::from(source.u8()?) }))
}

/// The error for a term of another kind, naming tags that are never allowed as such.
#[cold]
pub(crate) fn unexpected(position: usize, expected: &'static str, tag: u8) -> DecodeError {
    let kind = if is_forbidden(tag) {
        DecodeErrorKind::ForbiddenTag(tag)
    } else {
        DecodeErrorKind::Unexpected { expected, tag }
    };
    DecodeError::new(position, kind)
}

/// The error for a tag that starts no term at all.
#[cold]
pub(crate) fn no_term(position: usize, tag: u8) -> DecodeError {
    let kind = if is_forbidden(tag) {
        DecodeErrorKind::ForbiddenTag(tag)
    } else {
        DecodeErrorKind::UnknownTag(tag)
    };
    DecodeError::new(position, kind)
}

/// Tags that OTP's decoder knows but that must never come over the wire; 72 to 76 and 78 are the
/// emulator's internal ones (OTP: `external.h`).
fn is_forbidden(tag: u8) -> bool {
    matches!(tag, tag::COMPRESSED | tag::LOCAL | tag::FUN | tag::VERSION | 72..=76 | 78)
}

#[cold]
fn too_long(position: usize) -> DecodeError {
    let characters_max = Atom::CHARACTERS_MAX;
    DecodeError::new(position, DecodeErrorKind::AtomTooLong { characters_max })
}

#[cfg(test)]
mod tests {
    use super::super::write;
    use super::*;

    #[test]
    fn a_reader_never_passes_the_end() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u8(), Ok(1));
        let error = reader.u32().unwrap_err();
        assert_eq!(error.position, 1);
        assert!(error.is_truncated());
        assert_eq!(reader.rest(), [2, 3]);
        assert_eq!(reader.u16(), Ok(0x0203));
        assert_eq!(reader.remaining(), 0);
    }

    #[test]
    fn atoms_in_every_form() {
        let table = [Atom::from_static("cached")];
        for (bytes, name) in [
            (&b"\x77\x03abc"[..], "abc"),
            (b"\x76\x00\x03abc", "abc"),
            (b"\x64\x00\x01\xe9", "é"),
            (b"\x73\x01\xe9", "é"),
            (b"\x52\x00", "cached"),
        ] {
            let atom = read_atom(&mut Reader::new(bytes), &table).unwrap();
            assert_eq!(atom, name);
        }
        for bytes in [&b"\x77\x02\xff\xfe"[..], b"\x52\x01", b"\x61\x01", b"\x77\x04abc", b""] {
            assert!(read_atom(&mut Reader::new(bytes), &table).is_err());
        }
    }

    #[test]
    fn identifiers_come_back_as_written() {
        let node = Atom::from_static("o25@127.0.0.1");
        let pid = Pid { node: node.clone(), id: u32::MAX, serial: 7, creation: Creation(9) };
        let port = Port { node: node.clone(), id: u64::MAX, creation: Creation(0) };
        let reference = Reference::new(node, Creation(5), &[1, 2, 3, 4, 5]).unwrap();
        let mut bytes = Vec::new();
        write::write_pid(&mut bytes, &pid);
        write::write_port(&mut bytes, &port);
        write::write_reference(&mut bytes, &reference);
        let mut reader = Reader::new(&bytes);
        assert_eq!(read_pid(&mut reader, &()), Ok(pid));
        assert_eq!(read_port(&mut reader, &()), Ok(port));
        assert_eq!(read_reference(&mut reader, &()), Ok(reference));
        assert_eq!(reader.remaining(), 0);
    }

    #[test]
    fn unsigned_integers_up_to_64_bits() {
        for value in [0, 1, 255, 256, i32::MAX as u64, 1 << 31, u64::MAX] {
            let mut bytes = Vec::new();
            write::write_integer(&mut bytes, value);
            assert_eq!(read_u64(&mut Reader::new(&bytes)), Ok(value));
        }
        for bytes in [&b"\x62\xff\xff\xff\xff"[..], b"\x6e\x09\x00\0\0\0\0\0\0\0\0\x01"] {
            let error = read_u64(&mut Reader::new(bytes)).unwrap_err();
            assert_eq!(error.kind, DecodeErrorKind::IntegerOutOfRange);
        }
        assert_eq!(read_u64(&mut Reader::new(b"\x6e\x0a\x00\x05\0\0\0\0\0\0\0\0\0")), Ok(5));
    }
}
