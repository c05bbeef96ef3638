//! Checking a term that arrives piece by piece.

use smallvec::SmallVec;

use super::read::{self, Reader, Source};
use super::validate::{
    atom_text, check_atom_characters, check_binary, check_bits, check_count, check_free,
    check_integer, check_record_flags, check_words,
};
use super::{Atom, DecodeError, DecodeErrorKind, Limits, decode, tag};

/// How far a [`Validator`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything so far is legal, and the term goes on.
    NeedMore,
    /// The term is complete.
    Done {
        /// Bytes of the last piece that belong to it.
        used: usize,
    },
}

/// Checks a term whose bytes arrive in pieces, as they arrive; nothing but an item cut in two is
/// kept from one piece to the next, and nothing is allocated unless an atom is cut or terms nest
/// deeper than usual.
///
/// It refuses what [`validate`](super::validate) refuses, except what needs bytes that are gone or
/// not there yet: keys or record fields that occur twice, and counts beyond the end. Those
/// come to light in [`decode_parts`](super::decode_parts).
#[derive(Clone, Debug)]
pub struct Validator {
    limits: Limits,
    atom_entries: usize,
    uses_atom_cache: bool,
    nodes: usize,
    depth: usize,
    /// Bytes fed so far that are behind us.
    position: usize,
    /// Bytes of which the content does not matter, still to come.
    skip: usize,
    /// What must follow, innermost last; empty when the term is complete.
    expected: SmallVec<[Expected; 12]>,
    /// The beginning of an item that was cut.
    cut: SmallVec<[u8; 32]>,
}

/// What must come next.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// The elements of a container.
    Terms {
        left: usize,
        is_list: bool,
    },
    /// So many atoms.
    Atoms(usize),
    /// So many bytes.
    Bytes(usize),
    /// An integer of at most 64 bits.
    Integer,
    /// A small integer.
    Arity,
    Pid,
}

/// No item is longer, as an atom of more bytes is refused for its length alone.
const ITEM_BYTES_MAX: usize = 1 + 2 + 4 * Atom::CHARACTERS_MAX + 3;

impl Validator {
    /// A validator for one term of a message whose header has `atom_entries` atoms.
    #[must_use]
    pub fn new(limits: Limits, atom_entries: usize) -> Self {
        Self {
            limits,
            atom_entries,
            uses_atom_cache: false,
            nodes: 0,
            depth: 0,
            position: 0,
            skip: 0,
            expected: SmallVec::from_slice(&[Expected::Terms { left: 1, is_list: false }]),
            cut: SmallVec::new(),
        }
    }

    /// Whether the term, as far as it was fed, refers to the atom table of its message.
    #[must_use]
    pub fn uses_atom_cache(&self) -> bool {
        self.uses_atom_cache
    }

    /// Checks the next piece. Once the term is complete, further pieces are not looked at.
    ///
    /// # Errors
    /// When the bytes cannot be the continuation of a legal term; positions count from the start
    /// of the first piece. The validator is of no use afterwards.
    pub fn feed(&mut self, piece: &[u8]) -> Result<Progress, DecodeError> {
        let mut rest = piece;
        loop {
            if self.skip > 0 {
                let count = self.skip.min(rest.len());
                rest = &rest[count..];
                self.skip -= count;
                self.position += count;
            }
            if self.expected.is_empty() && self.skip == 0 {
                return Ok(Progress::Done { used: piece.len() - rest.len() });
            }
            if rest.is_empty() {
                return Ok(Progress::NeedMore);
            }
            let start = self.position;
            if self.cut.is_empty() {
                let mut reader = Reader::new(rest);
                match self.step(&mut reader) {
                    Ok(()) => {
                        self.position += reader.position();
                        rest = reader.rest();
                    }
                    Err(error) if error.is_truncated() => {
                        self.cut.extend_from_slice(rest);
                        return Ok(Progress::NeedMore);
                    }
                    Err(error) => return Err(moved(error, start)),
                }
                continue;
            }
            // Join the cut item with what follows; no item is longer than what is taken here.
            let had = self.cut.len();
            let mut joined = std::mem::take(&mut self.cut);
            let more = rest.len().min(ITEM_BYTES_MAX.saturating_sub(had).max(1));
            joined.extend_from_slice(&rest[..more]);
            let mut reader = Reader::new(&joined);
            match self.step(&mut reader) {
                Ok(()) => {
                    self.position += reader.position();
                    // The step failed before for want of bytes, so it took all that were there.
                    rest = &rest[reader.position().saturating_sub(had)..];
                }
                Err(error) if error.is_truncated() => {
                    rest = &rest[more..];
                    self.cut = joined;
                }
                Err(error) => return Err(moved(error, start)),
            }
        }
    }

    /// Takes one item, and changes nothing if the item is cut.
    fn step(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let Some(&expected) = self.expected.last() else { return Ok(()) };
        match expected {
            Expected::Terms { left, is_list } => self.term(reader, left, is_list)?,
            Expected::Atoms(left) => {
                let position = reader.position();
                let tag = reader.u8()?;
                self.atom(reader, position, tag)?;
                match left {
                    0 | 1 => drop(self.expected.pop()),
                    left => self.replace(Expected::Atoms(left - 1)),
                }
            }
            Expected::Bytes(count) => {
                self.skip = count;
                self.expected.pop();
            }
            Expected::Integer => {
                read::read_i64(reader)?;
                self.expected.pop();
            }
            Expected::Arity => {
                read::read_arity(reader)?;
                self.expected.pop();
            }
            Expected::Pid => {
                let position = reader.position();
                let bytes = match reader.u8()? {
                    tag::NEW_PID => 12,
                    tag::PID => 9,
                    tag => return Err(read::unexpected(position, "a pid", tag)),
                };
                self.expected.pop();
                self.expect_node_and(bytes);
            }
        }
        self.close();
        Ok(())
    }

    /// Forgets containers of which nothing is missing.
    fn close(&mut self) {
        while let Some(Expected::Terms { left: 0, .. }) = self.expected.last() {
            self.expected.pop();
            self.depth = self.depth.saturating_sub(1);
        }
        // A string of bytes at the end needs no item after it.
        if let Some(&Expected::Bytes(count)) = self.expected.last()
            && self.skip == 0
        {
            self.skip = count;
            self.expected.pop();
            self.close();
        }
    }

    fn replace(&mut self, expected: Expected) {
        if let Some(last) = self.expected.last_mut() {
            *last = expected;
        }
    }

    fn expect_node_and(&mut self, bytes: usize) {
        self.expected.push(Expected::Bytes(bytes));
        self.expected.push(Expected::Atoms(1));
    }

    fn term(
        &mut self,
        reader: &mut Reader<'_>,
        left: usize,
        is_list: bool,
    ) -> Result<(), DecodeError> {
        let position = reader.position();
        let tag = reader.u8()?;
        let is_tail = is_list && left == 1;
        let nodes_max = self.limits.nodes_max;
        if self.nodes >= nodes_max {
            return Err(DecodeError::new(position, DecodeErrorKind::TooManyTerms { nodes_max }));
        }
        let limits = self.limits;
        // What is read here may be cut; from the first change on, nothing is read any more.
        match tag {
            tag::SMALL_INTEGER => self.leaf(reader.u8().map(drop)?, left, is_list),
            tag::INTEGER => self.leaf(reader.u32().map(drop)?, left, is_list),
            tag::NIL => self.leaf((), left, is_list),
            tag::NEW_FLOAT => {
                if !f64::from_bits(reader.u64()?).is_finite() {
                    return Err(DecodeError::new(position, DecodeErrorKind::NotAFiniteFloat));
                }
                self.leaf((), left, is_list);
            }
            tag::FLOAT => {
                let text = Source::array(reader)?;
                decode::legacy_float(position, &text)?;
                self.leaf((), left, is_list);
            }
            tag::SMALL_ATOM_UTF8
            | tag::ATOM_UTF8
            | tag::SMALL_ATOM
            | tag::ATOM
            | tag::ATOM_CACHE_REF => {
                self.atom(reader, position, tag)?;
                self.leaf((), left, is_list);
            }
            tag::BINARY => {
                let length = reader.u32()?;
                check_binary(position, length, &limits)?;
                self.opaque(length as usize, left, is_list);
            }
            tag::BIT_BINARY => {
                let (length, bits) = (reader.u32()?, reader.u8()?);
                check_bits(position, length, bits)?;
                check_binary(position, length, &limits)?;
                self.opaque(length as usize, left, is_list);
            }
            tag::STRING => {
                let length = usize::from(reader.u16()?);
                self.opaque(length, left, is_list);
            }
            tag::SMALL_BIG => {
                let length = u32::from(reader.u8()?);
                check_integer(position, length, &limits)?;
                self.opaque(1 + length as usize, left, is_list);
            }
            tag::LARGE_BIG => {
                let length = reader.u32()?;
                check_integer(position, length, &limits)?;
                self.opaque(1 + length as usize, left, is_list);
            }
            tag::NEW_PID => self.identifier(12, left, is_list),
            tag::PID => self.identifier(9, left, is_list),
            tag::V4_PORT => self.identifier(12, left, is_list),
            tag::NEW_PORT => self.identifier(8, left, is_list),
            tag::PORT | tag::REFERENCE => self.identifier(5, left, is_list),
            tag::NEWER_REFERENCE | tag::NEW_REFERENCE => {
                let words = check_words(position, reader.u16()?)?;
                let creation = if tag == tag::NEWER_REFERENCE { 4 } else { 1 };
                self.identifier(creation + 4 * words, left, is_list);
            }
            tag::EXPORT => {
                self.leaf((), left, is_list);
                self.expected.extend([Expected::Arity, Expected::Atoms(2)]);
            }
            tag::SMALL_TUPLE => {
                let arity = usize::from(reader.u8()?);
                self.leaf((), left, is_list);
                self.open(position, arity, false)?;
            }
            tag::LARGE_TUPLE => {
                let arity = reader.u32()? as usize;
                check_count(position, arity, &limits)?;
                self.leaf((), left, is_list);
                self.open(position, arity, false)?;
            }
            tag::MAP => {
                let pairs = reader.u32()? as usize;
                check_count(position, pairs, &limits)?;
                self.leaf((), left, is_list);
                self.open(position, pairs.saturating_mul(2), false)?;
            }
            tag::LIST => {
                let count = reader.u32()? as usize;
                check_count(position, count, &limits)?;
                let more = count.saturating_add(1);
                if is_tail {
                    self.nodes += 1;
                    self.replace(Expected::Terms { left: more, is_list: true });
                } else {
                    self.leaf((), left, is_list);
                    self.open(position, more, true)?;
                }
            }
            tag::NEW_FUN => {
                let _head = reader.take(4 + 1 + 16 + 4)?;
                let free = check_free(position, reader.u32()?)?;
                self.leaf((), left, is_list);
                self.open(position, free, false)?;
                use Expected::{Atoms, Integer, Pid};
                self.expected.extend([Pid, Integer, Integer, Atoms(1)]);
            }
            tag::RECORD => {
                let (fields, flags) = (reader.u32()? as usize, reader.u8()?);
                check_record_flags(position, flags)?;
                check_count(position, fields, &limits)?;
                self.leaf((), left, is_list);
                self.open(position, fields, false)?;
                self.expected.push(Expected::Atoms(fields.saturating_add(2)));
            }
            _ => return Err(read::no_term(position, tag)),
        }
        Ok(())
    }

    /// Counts one term of the current container; `()` says that its bytes have been read.
    fn leaf(&mut self, (): (), left: usize, is_list: bool) {
        self.nodes += 1;
        self.replace(Expected::Terms { left: left - 1, is_list });
    }

    /// A term that ends with bytes of any content.
    fn opaque(&mut self, bytes: usize, left: usize, is_list: bool) {
        self.leaf((), left, is_list);
        self.skip = bytes;
    }

    /// A term of a node name and a fixed number of bytes.
    fn identifier(&mut self, bytes: usize, left: usize, is_list: bool) {
        self.leaf((), left, is_list);
        self.expect_node_and(bytes);
    }

    fn open(&mut self, position: usize, left: usize, is_list: bool) -> Result<(), DecodeError> {
        if left == 0 {
            return Ok(());
        }
        let depth_max = self.limits.depth_max;
        if self.depth >= depth_max {
            return Err(DecodeError::new(position, DecodeErrorKind::TooDeep { depth_max }));
        }
        self.depth += 1;
        self.expected.push(Expected::Terms { left, is_list });
        Ok(())
    }

    fn atom(
        &mut self,
        reader: &mut Reader<'_>,
        position: usize,
        tag: u8,
    ) -> Result<(), DecodeError> {
        let length = match tag {
            tag::ATOM_CACHE_REF => {
                let index = reader.u8()?;
                if usize::from(index) >= self.atom_entries {
                    let kind = DecodeErrorKind::UnknownAtomReference(index);
                    return Err(DecodeError::new(position, kind));
                }
                self.uses_atom_cache = true;
                return Ok(());
            }
            tag::SMALL_ATOM_UTF8 | tag::SMALL_ATOM => usize::from(reader.u8()?),
            tag::ATOM_UTF8 | tag::ATOM => usize::from(reader.u16()?),
            _ => return Err(read::unexpected(position, "an atom", tag)),
        };
        let characters_max = self.limits.atom_characters_max;
        if matches!(tag, tag::ATOM | tag::SMALL_ATOM) {
            check_atom_characters(position, length, characters_max)?;
            reader.take(length)?;
            return Ok(());
        }
        // A character takes at most four bytes, so this text is too long whatever it says.
        check_atom_characters(position, length / 4, characters_max)?;
        atom_text(position, reader.take(length)?, characters_max).map(|_| ())
    }
}

fn moved(error: DecodeError, by: usize) -> DecodeError {
    DecodeError::new(by + error.position, error.kind)
}
