//! Checking that bytes are one legal term, without building it.
//!
//! Every received message passes [`validate`]. What messages are usually made of passes a quick
//! check first; this one keeps its state in registers and a small stack too, and allocates only for
//! nesting or maps beyond what messages usually have.

use smallvec::SmallVec;

use super::keys;
use super::read::{self, AtomTable, Reader};
use super::{Atom, DecodeError, DecodeErrorKind, Limits, ascii, decode, quick, tag};

/// What [`validate`] found out about a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validated {
    /// Bytes the term takes.
    pub len: usize,
    /// Whether it refers to the atom table of its message, and so means nothing without it.
    pub uses_atom_cache: bool,
}

/// Checks that `bytes` start with a legal term within `limits`, without a version byte, in a
/// message whose header has `atom_entries` atoms. What follows the term is not looked at.
///
/// Everything [`Term::decode`](super::Term::decode) refuses is refused here too, with two
/// exceptions, which are found when the term is decoded: the limit on memory and
/// [`Term::DEPTH_MAX`](super::Term::DEPTH_MAX) concern owned terms only, and map keys or record
/// fields that are the same atom once by name and once by table index need the table
/// ([`validate_with`]).
///
/// # Errors
/// As [`Term::decode`](super::Term::decode).
#[inline]
pub fn validate(
    bytes: &[u8],
    atom_entries: usize,
    limits: &Limits,
) -> Result<Validated, DecodeError> {
    validate_with(bytes, &Unresolved(atom_entries), limits)
}

/// As [`validate`], with the atom table itself.
///
/// # Errors
/// As [`Term::decode`](super::Term::decode).
#[inline]
pub fn validate_with<A: AtomTable + ?Sized>(
    bytes: &[u8],
    atoms: &A,
    limits: &Limits,
) -> Result<Validated, DecodeError> {
    if let Some(valid) = quick::check(bytes, atoms, limits) {
        return Ok(valid);
    }
    validate_carefully(bytes, atoms, limits)
}

/// As [`validate_with`], of terms of every kind, and with the reason why one is not legal.
#[inline(never)]
pub(super) fn validate_carefully<A: AtomTable + ?Sized>(
    bytes: &[u8],
    atoms: &A,
    limits: &Limits,
) -> Result<Validated, DecodeError> {
    let mut check = Check {
        reader: Reader::new(bytes),
        bytes,
        atoms,
        limits,
        uses_atom_cache: false,
        outer: SmallVec::new(),
        keys: SmallVec::new(),
    };
    check.run()?;
    Ok(Validated { len: check.reader.position(), uses_atom_cache: check.uses_atom_cache })
}

/// A table of which only the number of entries is known.
struct Unresolved(usize);

impl AtomTable for Unresolved {
    fn entry(&self, _index: u8) -> Option<&Atom> {
        None
    }

    fn has_entry(&self, index: u8) -> bool {
        usize::from(index) < self.0
    }
}

/// An open container.
#[derive(Clone, Copy)]
struct Frame {
    /// Terms still to come, the tail of a list included.
    left: usize,
    kind: Kind,
    /// Where the keys of this map begin in `Check::keys`.
    keys_base: usize,
    /// Offset of the container, for errors.
    position: usize,
    /// Whether it is part of a key that is compared by decoding it, which checks all maps in it.
    in_key: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A tuple, a closure's values, a record's values, or the term itself.
    Plain,
    List,
    /// A map whose keys need no comparison: of one pair, or inside a key.
    Map,
    /// A map whose keys are collected and compared at its end.
    KeyedMap,
}

struct Check<'a, A: ?Sized> {
    reader: Reader<'a>,
    bytes: &'a [u8],
    atoms: &'a A,
    limits: &'a Limits,
    uses_atom_cache: bool,
    /// The containers around the current one.
    outer: SmallVec<[Frame; 16]>,
    /// Offsets of the keys of open maps.
    keys: SmallVec<[usize; 32]>,
}

impl<A: AtomTable + ?Sized> Check<'_, A> {
    fn run(&mut self) -> Result<(), DecodeError> {
        // What changes with every term is kept out of `self`, so that it can live in registers.
        let mut reader = self.reader;
        let mut owed = 1_usize;
        let mut nodes = 0_usize;
        let mut frame =
            Frame { left: 1, kind: Kind::Plain, keys_base: 0, position: 0, in_key: false };
        loop {
            let position = reader.position();
            let tag = reader.u8()?;
            nodes += 1;
            owed = owed.saturating_sub(1);
            if frame.kind == Kind::KeyedMap && frame.left.is_multiple_of(2) {
                self.keys.push(position);
            }
            match tag {
                tag::SMALL_INTEGER => drop(reader.take(1)?),
                tag::SMALL_ATOM_UTF8 => {
                    let length = usize::from(reader.u8()?);
                    let text = reader.take(length)?;
                    atom_text(position, text, self.limits.atom_characters_max)?;
                }
                tag::NIL => {}
                tag::INTEGER => drop(reader.take(4)?),
                tag::BINARY => {
                    let length = reader.u32()?;
                    check_binary(position, length, self.limits)?;
                    reader.take(length as usize)?;
                }
                tag::NEW_FLOAT => {
                    if !f64::from_bits(reader.u64()?).is_finite() {
                        let kind = DecodeErrorKind::NotAFiniteFloat;
                        return Err(DecodeError::new(position, kind));
                    }
                }
                tag::SMALL_TUPLE => {
                    let arity = usize::from(reader.u8()?);
                    if arity > 0 {
                        check_count(position, arity, self.limits)?;
                        owe(&mut owed, arity, &reader, position)?;
                        self.open(&mut frame, position, arity, Kind::Plain)?;
                        continue;
                    }
                }
                tag::LIST => {
                    let count = reader.u32()? as usize;
                    check_count(position, count, self.limits)?;
                    let left = count.saturating_add(1);
                    owe(&mut owed, left, &reader, position)?;
                    if frame.kind == Kind::List && frame.left == 1 {
                        // A list as the tail of a list continues it.
                        frame.left = left;
                    } else {
                        self.open(&mut frame, position, left, Kind::List)?;
                    }
                    continue;
                }
                tag::MAP => {
                    let pairs = reader.u32()? as usize;
                    check_count(position, pairs, self.limits)?;
                    if pairs > 0 {
                        let left = pairs.saturating_mul(2);
                        owe(&mut owed, left, &reader, position)?;
                        let kind = if pairs > 1 { Kind::KeyedMap } else { Kind::Map };
                        self.open(&mut frame, position, left, kind)?;
                        continue;
                    }
                }
                tag => {
                    self.reader = reader;
                    let left = self.rare(position, tag, owed)?;
                    reader = self.reader;
                    if left > 0 {
                        owe(&mut owed, left, &reader, position)?;
                        self.open(&mut frame, position, left, Kind::Plain)?;
                        continue;
                    }
                }
            }
            frame.left -= 1;
            while frame.left == 0 {
                if frame.kind == Kind::KeyedMap {
                    self.close_map(&frame)?;
                }
                match self.outer.pop() {
                    Some(outer) => frame = outer,
                    None => {
                        self.reader = reader;
                        return check_nodes(nodes, self.limits, position);
                    }
                }
                frame.left -= 1;
            }
        }
    }

    /// All pairs of a map are there: compares its keys.
    fn close_map(&mut self, frame: &Frame) -> Result<(), DecodeError> {
        let keys = &self.keys[frame.keys_base..];
        keys::check_distinct(self.bytes, keys, self.atoms, self.limits, frame.position)?;
        self.keys.truncate(frame.keys_base);
        Ok(())
    }

    /// Terms that are not frequent; returns how many terms are left of one that is a container.
    fn rare(&mut self, position: usize, tag: u8, owed: usize) -> Result<usize, DecodeError> {
        match tag {
            tag::LARGE_TUPLE => {
                let arity = self.reader.u32()? as usize;
                check_count(position, arity, self.limits)?;
                Ok(arity)
            }
            tag::NEW_FUN => self.fun_head(position),
            tag::RECORD => self.record_head(position, owed),
            tag => self.leaf(position, tag).map(|()| 0),
        }
    }

    /// Makes a container of `left` terms, at least one, the current one.
    #[inline]
    fn open(
        &mut self,
        frame: &mut Frame,
        position: usize,
        left: usize,
        mut kind: Kind,
    ) -> Result<(), DecodeError> {
        // The frame of the term itself is no level.
        if self.outer.len() >= self.limits.depth_max {
            let depth_max = self.limits.depth_max;
            return Err(DecodeError::new(position, DecodeErrorKind::TooDeep { depth_max }));
        }
        let is_key = frame.kind == Kind::KeyedMap && frame.left.is_multiple_of(2);
        let in_key = frame.in_key || is_key;
        if in_key && kind == Kind::KeyedMap {
            kind = Kind::Map;
        }
        let opened = Frame { left, kind, keys_base: self.keys.len(), position, in_key };
        self.outer.push(std::mem::replace(frame, opened));
        Ok(())
    }

    #[inline]
    fn skip(&mut self, count: usize) -> Result<(), DecodeError> {
        self.reader.take(count).map(|_| ())
    }

    /// The text of an atom.
    #[inline]
    fn utf8(&mut self, position: usize, length: usize) -> Result<(), DecodeError> {
        let text = self.reader.take(length)?;
        atom_text(position, text, self.limits.atom_characters_max).map(|_| ())
    }

    #[inline]
    fn binary(&mut self, position: usize, length: u32) -> Result<(), DecodeError> {
        check_binary(position, length, self.limits)?;
        self.skip(length as usize)
    }

    /// Terms that are neither containers nor frequent.
    fn leaf(&mut self, position: usize, tag: u8) -> Result<(), DecodeError> {
        match tag {
            tag::ATOM_CACHE_REF | tag::ATOM_UTF8 | tag::ATOM | tag::SMALL_ATOM => {
                self.atom_body(position, tag)
            }
            tag::STRING => {
                let length = usize::from(self.reader.u16()?);
                self.skip(length)
            }
            tag::SMALL_BIG => {
                let length = u32::from(self.reader.u8()?);
                self.integer(position, length)
            }
            tag::LARGE_BIG => {
                let length = self.reader.u32()?;
                self.integer(position, length)
            }
            tag::BIT_BINARY => {
                let length = self.reader.u32()?;
                let bits = self.reader.u8()?;
                check_bits(position, length, bits)?;
                self.binary(position, length)
            }
            tag::NEW_PID | tag::PID => self.pid_body(tag),
            tag::V4_PORT => self.node_and(12),
            tag::NEW_PORT => self.node_and(8),
            tag::PORT => self.node_and(5),
            tag::NEWER_REFERENCE | tag::NEW_REFERENCE => {
                let words = self.reader.u16()?;
                let creation = if tag == tag::NEWER_REFERENCE { 4 } else { 1 };
                let length = check_words(position, words)? * 4;
                self.node_and(creation + length)
            }
            tag::REFERENCE => self.node_and(5),
            tag::EXPORT => {
                self.atom()?;
                self.atom()?;
                read::read_arity(&mut self.reader).map(|_| ())
            }
            tag::FLOAT => {
                let text = read::Source::array(&mut self.reader)?;
                decode::legacy_float(position, &text).map(|_| ())
            }
            _ => Err(read::no_term(position, tag)),
        }
    }

    fn integer(&mut self, position: usize, length: u32) -> Result<(), DecodeError> {
        check_integer(position, length, self.limits)?;
        self.skip(1 + length as usize)
    }

    fn atom(&mut self) -> Result<(), DecodeError> {
        let position = self.reader.position();
        let tag = self.reader.u8()?;
        self.atom_body(position, tag)
    }

    fn atom_body(&mut self, position: usize, tag: u8) -> Result<(), DecodeError> {
        let length = match tag {
            tag::ATOM_CACHE_REF => {
                let index = self.reader.u8()?;
                self.uses_atom_cache = true;
                return check_reference(position, index, self.atoms);
            }
            tag::SMALL_ATOM_UTF8 | tag::SMALL_ATOM => usize::from(self.reader.u8()?),
            tag::ATOM_UTF8 | tag::ATOM => usize::from(self.reader.u16()?),
            _ => return Err(read::unexpected(position, "an atom", tag)),
        };
        if matches!(tag, tag::ATOM | tag::SMALL_ATOM) {
            // Latin-1: any byte is a character.
            check_atom_characters(position, length, self.limits.atom_characters_max)?;
            return self.skip(length);
        }
        self.utf8(position, length)
    }

    /// The node of an identifier and the fixed bytes after it.
    fn node_and(&mut self, length: usize) -> Result<(), DecodeError> {
        self.atom()?;
        self.skip(length)
    }

    fn pid_body(&mut self, tag: u8) -> Result<(), DecodeError> {
        self.node_and(if tag == tag::NEW_PID { 12 } else { 9 })
    }

    /// A closure up to its captured values; returns how many there are.
    fn fun_head(&mut self, position: usize) -> Result<usize, DecodeError> {
        // Size, arity, hash and index say nothing about the bytes that follow.
        self.skip(4 + 1 + 16 + 4)?;
        let free = check_free(position, self.reader.u32()?)?;
        self.atom()?;
        read::read_i64(&mut self.reader)?;
        read::read_i64(&mut self.reader)?;
        let position = self.reader.position();
        match self.reader.u8()? {
            tag @ (tag::NEW_PID | tag::PID) => self.pid_body(tag)?,
            tag => return Err(read::unexpected(position, "a pid", tag)),
        }
        Ok(free)
    }

    /// A record up to its values; returns how many there are.
    fn record_head(&mut self, position: usize, owed: usize) -> Result<usize, DecodeError> {
        let fields = self.reader.u32()? as usize;
        check_record_flags(position, self.reader.u8()?)?;
        check_count(position, fields, self.limits)?;
        self.atom()?;
        self.atom()?;
        let remaining = self.reader.remaining();
        if owed.saturating_add(fields.saturating_mul(2)) > remaining {
            let kind = DecodeErrorKind::CountBeyondInput { count: fields as u64, remaining };
            return Err(DecodeError::new(position, kind));
        }
        let mut names: SmallVec<[usize; 16]> = SmallVec::new();
        for _ in 0..fields {
            names.push(self.reader.position());
            self.atom()?;
        }
        match keys::check_distinct(self.bytes, &names, self.atoms, self.limits, position) {
            Err(DecodeError { kind: DecodeErrorKind::DuplicateKey, .. }) => {
                Err(DecodeError::new(position, DecodeErrorKind::DuplicateField))
            }
            result => result.map(|()| fields),
        }
    }
}

/// Notes that `terms` more terms must follow, each of which takes at least a byte.
#[inline]
fn owe(
    owed: &mut usize,
    terms: usize,
    reader: &Reader<'_>,
    position: usize,
) -> Result<(), DecodeError> {
    *owed = owed.saturating_add(terms);
    let remaining = reader.remaining();
    if *owed > remaining {
        let kind = DecodeErrorKind::CountBeyondInput { count: terms as u64, remaining };
        return Err(DecodeError::new(position, kind));
    }
    Ok(())
}

/// The limit on terms is looked at once, as what exceeds it has been passed at no cost.
fn check_nodes(nodes: usize, limits: &Limits, position: usize) -> Result<(), DecodeError> {
    let nodes_max = limits.nodes_max;
    if nodes > nodes_max {
        return Err(DecodeError::new(position, DecodeErrorKind::TooManyTerms { nodes_max }));
    }
    Ok(())
}

#[inline]
pub(super) fn check_count(
    position: usize,
    count: usize,
    limits: &Limits,
) -> Result<(), DecodeError> {
    if count > limits.count_max {
        let (count, count_max) = (count as u64, limits.count_max as u64);
        return Err(DecodeError::new(
            position,
            DecodeErrorKind::CountTooLarge { count, count_max },
        ));
    }
    Ok(())
}

#[inline]
pub(super) fn check_binary(
    position: usize,
    length: u32,
    limits: &Limits,
) -> Result<(), DecodeError> {
    let (bytes, bytes_max) = (u64::from(length), limits.binary_bytes_max as u64);
    if bytes > bytes_max {
        let kind = DecodeErrorKind::BinaryTooLarge { bytes, bytes_max };
        return Err(DecodeError::new(position, kind));
    }
    Ok(())
}

pub(super) fn check_integer(
    position: usize,
    length: u32,
    limits: &Limits,
) -> Result<(), DecodeError> {
    let (bytes, bytes_max) = (u64::from(length), limits.bignum_bytes_max as u64);
    if bytes > bytes_max {
        let kind = DecodeErrorKind::IntegerTooLarge { bytes, bytes_max };
        return Err(DecodeError::new(position, kind));
    }
    Ok(())
}

pub(super) fn check_bits(position: usize, length: u32, bits: u8) -> Result<(), DecodeError> {
    if length == 0 || !(1..=8).contains(&bits) {
        return Err(DecodeError::new(position, DecodeErrorKind::BitCount(bits)));
    }
    Ok(())
}

/// The number of words of a reference.
pub(super) fn check_words(position: usize, words: u16) -> Result<usize, DecodeError> {
    if words == 0 || usize::from(words) > super::Reference::WORDS_MAX {
        return Err(DecodeError::new(position, DecodeErrorKind::ReferenceWords(words)));
    }
    Ok(usize::from(words))
}

pub(super) fn check_free(position: usize, free: u32) -> Result<usize, DecodeError> {
    if free > 255 {
        return Err(DecodeError::new(position, DecodeErrorKind::FunFreeVariables(free)));
    }
    Ok(free as usize)
}

pub(super) fn check_record_flags(position: usize, flags: u8) -> Result<(), DecodeError> {
    if flags > 1 {
        return Err(DecodeError::new(position, DecodeErrorKind::RecordFlags(flags)));
    }
    Ok(())
}

pub(super) fn check_reference<A: AtomTable + ?Sized>(
    position: usize,
    index: u8,
    atoms: &A,
) -> Result<(), DecodeError> {
    if !atoms.has_entry(index) {
        return Err(DecodeError::new(position, DecodeErrorKind::UnknownAtomReference(index)));
    }
    Ok(())
}

pub(super) fn check_atom_characters(
    position: usize,
    characters: usize,
    characters_max: usize,
) -> Result<(), DecodeError> {
    let characters_max = characters_max.min(Atom::CHARACTERS_MAX);
    if characters > characters_max {
        return Err(DecodeError::new(position, DecodeErrorKind::AtomTooLong { characters_max }));
    }
    Ok(())
}

/// The text of an atom.
#[inline]
pub(super) fn atom_text(
    position: usize,
    text: &[u8],
    characters_max: usize,
) -> Result<&str, DecodeError> {
    let name = ascii::text(text)
        .ok_or_else(|| DecodeError::new(position, DecodeErrorKind::AtomNotUtf8))?;
    if text.len() > characters_max.min(Atom::CHARACTERS_MAX) {
        check_atom_characters(position, name.chars().count(), characters_max)?;
    }
    Ok(name)
}
