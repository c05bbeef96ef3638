//! The distribution header: which atoms of the caches a message names.
//!
//! OTP: erl_ext_dist, "Distribution Header". The published worked example prints the halves of the
//! flag bytes in the wrong order; real nodes put reference 0 into the low half of the first byte.

use std::fmt;
use std::sync::Arc;

use super::atom_cache::{ReceiveCache, SendCache, Slot};
use crate::term::{Atom, AtomTable};

/// A flag nibble's bit that says that the atom's text follows.
const NEW_ENTRY: u8 = 8;
/// The bit of the nibble behind the last reference that says that lengths have two bytes.
const LONG_ATOMS: u8 = 1;
/// Longest text of an atom: 255 code points of four bytes.
const ATOM_BYTES_MAX: usize = 255 * 4;

/// The atoms that tag 82 of a payload refers to. Cheap to clone; empty for payloads that contain
/// no such reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Atoms(Option<Arc<[Atom]>>);

impl Atoms {
    /// No atoms at all.
    pub const NONE: Atoms = Atoms(None);

    /// The atoms in the order of the header.
    #[must_use]
    pub fn as_slice(&self) -> &[Atom] {
        self.0.as_deref().unwrap_or(&[])
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl From<&[Atom]> for Atoms {
    fn from(atoms: &[Atom]) -> Atoms {
        if atoms.is_empty() { Atoms::NONE } else { Atoms(Some(Arc::from(atoms))) }
    }
}

impl AtomTable for Atoms {
    fn entry(&self, index: u8) -> Option<&Atom> {
        self.as_slice().get(usize::from(index))
    }
}

/// A header that cannot be what a peer meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// A reference to a cache slot that no earlier header filled.
    EmptySlot {
        /// Segment of the slot.
        segment: u8,
        /// Index inside the segment.
        index: u8,
    },
    /// An atom's text is not valid UTF-8 or longer than 255 characters.
    InvalidAtom {
        /// Position of the reference in the header.
        position: u8,
    },
    /// Cache references on a connection without a negotiated atom cache.
    NotNegotiated {
        /// How many there are.
        references: u8,
    },
    /// The frame ends inside its header.
    Truncated,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::EmptySlot { segment, index } => {
                write!(f, "the header names atom cache slot {segment}:{index}, which is empty")
            }
            HeaderError::InvalidAtom { position } => write!(
                f,
                "atom {position} of the header is not UTF-8 text of at most 255 characters"
            ),
            HeaderError::NotNegotiated { references } => write!(
                f,
                "the header names {references} cached atoms, but no atom cache was negotiated"
            ),
            HeaderError::Truncated => f.write_str("the frame ends inside its header"),
        }
    }
}

impl std::error::Error for HeaderError {}

/// Reads the headers of one connection in the order of arrival, and holds the atoms of the one
/// read last.
#[derive(Debug, Default)]
pub struct HeaderReader {
    cache: ReceiveCache,
    atoms: Vec<Atom>,
    /// The atoms once a payload wanted to keep them, shared by all messages with the same header.
    shared: Atoms,
    /// The bytes of the last header when it had cached references only: as long as the same bytes
    /// come again the atoms are the same.
    last: Vec<u8>,
}

impl HeaderReader {
    /// A reader with an empty cache.
    #[must_use]
    pub fn new() -> HeaderReader {
        HeaderReader::default()
    }

    /// The atoms of the header read last.
    #[inline]
    #[must_use]
    pub fn atoms(&self) -> &[Atom] {
        &self.atoms
    }

    /// The same, to be kept with a payload that refers to them.
    pub fn share_atoms(&mut self) -> Atoms {
        if self.shared.is_empty() {
            self.shared = Atoms::from(self.atoms.as_slice());
        }
        self.shared.clone()
    }

    /// Reads the header's atom part, which begins with the number of references, and returns how
    /// many bytes it has. The cache keeps what the header put into it.
    ///
    /// # Errors
    /// Any error ends the connection: the caches of the two sides are no longer the same.
    #[inline]
    pub fn read(&mut self, bytes: &[u8]) -> Result<usize, HeaderError> {
        match bytes.first() {
            None => Err(HeaderError::Truncated),
            Some(0) => {
                self.clear();
                Ok(1)
            }
            Some(&references) => match self.known(bytes) {
                Some(len) => Ok(len),
                None => self.read_references(bytes, usize::from(references)),
            },
        }
    }

    /// The length of the header at the start of `bytes` if it names the same atoms, by the same
    /// bytes, as the one read last. Changes nothing.
    #[inline]
    pub(crate) fn known(&self, bytes: &[u8]) -> Option<usize> {
        let is_known = !self.last.is_empty() && bytes.starts_with(&self.last);
        is_known.then_some(self.last.len())
    }

    /// Reads a header of a connection without atom cache: it must name no atoms.
    ///
    /// # Errors
    /// [`HeaderError::NotNegotiated`] if it does, [`HeaderError::Truncated`] if nothing is there.
    #[inline]
    pub fn read_plain(&mut self, bytes: &[u8]) -> Result<usize, HeaderError> {
        match bytes.first() {
            None => Err(HeaderError::Truncated),
            Some(0) => Ok(1),
            Some(&references) => Err(HeaderError::NotNegotiated { references }),
        }
    }

    fn clear(&mut self) {
        self.atoms.clear();
        self.shared = Atoms::NONE;
        self.last.clear();
    }

    #[inline(never)]
    fn read_references(&mut self, bytes: &[u8], references: usize) -> Result<usize, HeaderError> {
        self.clear();
        let flags_len = references / 2 + 1;
        let flags = bytes.get(1..1 + flags_len).ok_or(HeaderError::Truncated)?;
        let nibble = |position: usize| (flags[position / 2] >> (position % 2 * 4)) & 15;
        let long_atoms = nibble(references) & LONG_ATOMS != 0;
        let mut at = 1 + flags_len;
        let mut any_new = false;
        for position in 0..references {
            let nibble = nibble(position);
            let index = *bytes.get(at).ok_or(HeaderError::Truncated)?;
            at += 1;
            let slot = Slot::new(nibble & 7, index);
            if nibble & NEW_ENTRY == 0 {
                let atom = self.cache.atom(slot).ok_or(HeaderError::EmptySlot {
                    segment: slot.segment(),
                    index: slot.index(),
                })?;
                self.atoms.push(atom.clone());
                continue;
            }
            any_new = true;
            let length_len = if long_atoms { 2 } else { 1 };
            let length = bytes.get(at..at + length_len).ok_or(HeaderError::Truncated)?;
            let length = length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            at += length_len;
            let text = bytes.get(at..at + length).ok_or(HeaderError::Truncated)?;
            at += length;
            // At most 254: `references` came from one byte.
            let invalid = HeaderError::InvalidAtom { position: position as u8 };
            if length > ATOM_BYTES_MAX {
                return Err(invalid);
            }
            let text = std::str::from_utf8(text).map_err(|_| invalid.clone())?;
            let atom = Atom::new(text).map_err(|_| invalid)?;
            self.cache.store(slot, atom.clone());
            self.atoms.push(atom);
        }
        if !any_new {
            self.last.extend_from_slice(&bytes[..at]);
        }
        Ok(at)
    }
}

/// Writes the atom part of a header for the message whose atoms `cache` has collected.
pub fn write_header(cache: &SendCache, out: &mut Vec<u8>) {
    let references = cache.message_len();
    // `mention` refuses more than 255.
    out.push(references as u8);
    if references == 0 {
        return;
    }
    let flags_at = out.len();
    out.resize(flags_at + references / 2 + 1, 0);
    let long_atoms =
        cache.message().any(|(mention, atom)| mention.new && atom.as_str().len() > 255);
    for (position, (mention, atom)) in cache.message().enumerate() {
        let nibble = mention.slot.segment() | if mention.new { NEW_ENTRY } else { 0 };
        out[flags_at + position / 2] |= nibble << (position % 2 * 4);
        out.push(mention.slot.index());
        if mention.new {
            let text = atom.as_str().as_bytes();
            if long_atoms {
                out.extend_from_slice(&(text.len() as u16).to_be_bytes());
            } else {
                out.push(text.len() as u8);
            }
            out.extend_from_slice(text);
        }
    }
    if long_atoms {
        out[flags_at + references / 2] |= LONG_ATOMS << (references % 2 * 4);
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
