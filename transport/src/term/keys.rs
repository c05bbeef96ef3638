//! Finding a key that occurs twice, by looking at encoded keys.

use smallvec::SmallVec;

use super::read::{self, AtomTable, Reader};
use super::{DecodeError, DecodeErrorKind, Limits, Term, order, tag};

/// What encoded keys have turned out to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// All different.
    Distinct,
    /// The same key comes twice.
    Repeated,
    /// Not all of them are simple; nothing is said.
    Complex,
}

/// Checks that the encoded terms at these offsets are all different. They have been checked to be
/// legal terms.
///
/// Keys that are not simple are decoded.
pub(super) fn check_distinct<A: AtomTable + ?Sized>(
    bytes: &[u8],
    offsets: &[usize],
    atoms: &A,
    limits: &Limits,
    position: usize,
) -> Result<(), DecodeError> {
    match compare(bytes, offsets, atoms) {
        Keys::Distinct => Ok(()),
        Keys::Repeated => Err(DecodeError::new(position, DecodeErrorKind::DuplicateKey)),
        Keys::Complex => check_complex(bytes, offsets, atoms, limits, position),
    }
}

/// Compares the encoded terms at these offsets.
///
/// Keys in ascending order cost one comparison each. Others go into a table by their hash; where
/// hashes agree or crowd, and that is up to the sender, they are sorted, so that no choice of keys
/// costs more than n·log n comparisons.
pub(super) fn compare<A: AtomTable + ?Sized>(bytes: &[u8], offsets: &[usize], atoms: &A) -> Keys {
    let mut previous: Option<Key<'_>> = None;
    for &offset in offsets {
        let Some(key) = Key::at(bytes, offset, atoms) else { return Keys::Complex };
        if previous.is_some_and(|previous| previous >= key) {
            return compare_hashes(bytes, offsets, atoms);
        }
        previous = Some(key);
    }
    Keys::Distinct
}

fn compare_hashes<A: AtomTable + ?Sized>(bytes: &[u8], offsets: &[usize], atoms: &A) -> Keys {
    /// Steps to a free place that a key may take on average, in a table half full at most.
    const STEPS_MAX: usize = 4;
    let size = (2 * offsets.len()).next_power_of_two();
    let mask = size - 1;
    // A free place is zero, which no hash in it is.
    let mut table: SmallVec<[u64; 128]> = smallvec::smallvec![0; size];
    let mut steps = 0;
    for &offset in offsets {
        let Some(key) = Key::at(bytes, offset, atoms) else { return Keys::Complex };
        let hash = key.hash() | 1;
        // The high bits are the better ones.
        let mut place = (hash >> 32) as usize & mask;
        while table[place] != 0 {
            if table[place] == hash || steps > STEPS_MAX * offsets.len() {
                return compare_sorted(bytes, offsets, atoms);
            }
            steps += 1;
            place = (place + 1) & mask;
        }
        table[place] = hash;
    }
    Keys::Distinct
}

#[cold]
fn compare_sorted<A: AtomTable + ?Sized>(bytes: &[u8], offsets: &[usize], atoms: &A) -> Keys {
    let mut keys = Vec::with_capacity(offsets.len());
    for &offset in offsets {
        let Some(key) = Key::at(bytes, offset, atoms) else { return Keys::Complex };
        keys.push(key);
    }
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) { Keys::Repeated } else { Keys::Distinct }
}

/// As [`check_distinct`], by decoding all keys.
#[cold]
fn check_complex<A: AtomTable + ?Sized>(
    bytes: &[u8],
    offsets: &[usize],
    atoms: &A,
    limits: &Limits,
    position: usize,
) -> Result<(), DecodeError> {
    let mut keys = Vec::with_capacity(offsets.len());
    for &offset in offsets {
        match Term::decode(&bytes[offset..], atoms, limits) {
            Ok((key, _)) => keys.push(key),
            // The table is not there; whoever has it will find the duplicate.
            Err(DecodeError { kind: DecodeErrorKind::UnknownAtomReference(_), .. }) => {
                return Ok(());
            }
            Err(error) => return Err(DecodeError::new(offset + error.position, error.kind)),
        }
    }
    keys.sort_unstable_by(order::as_key);
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(DecodeError::new(position, DecodeErrorKind::DuplicateKey));
    }
    Ok(())
}

/// A key whose encodings are easily told apart. The order is arbitrary but total, and equal means
/// the same Erlang term.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Integer(i64),
    Float(u64),
    /// The name in UTF-8.
    Atom(&'a [u8]),
    /// An entry of a table that is not at hand.
    AtomEntry(u8),
    Binary(&'a [u8]),
}

impl<'a> Key<'a> {
    /// The key at this offset, unless it is of another kind.
    #[inline]
    fn at<A: AtomTable + ?Sized>(bytes: &'a [u8], offset: usize, atoms: &'a A) -> Option<Self> {
        let rest = bytes.get(offset..)?;
        let (&tag, body) = rest.split_first()?;
        let (length, text) = match tag {
            tag::SMALL_ATOM_UTF8 => {
                let (&length, text) = body.split_first()?;
                (usize::from(length), text)
            }
            tag::ATOM_UTF8 => {
                let (length, text) = body.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*length)), text)
            }
            tag::SMALL_INTEGER => return Some(Self::Integer(i64::from(*body.first()?))),
            tag::INTEGER | tag::SMALL_BIG => {
                return read::read_i64(&mut Reader::new(rest)).ok().map(Self::Integer);
            }
            tag::NEW_FLOAT => return Some(Self::Float(u64::from_be_bytes(*body.first_chunk()?))),
            tag::BINARY => {
                let (length, content) = body.split_first_chunk()?;
                let length = u32::from_be_bytes(*length) as usize;
                return content.get(..length).map(Self::Binary);
            }
            tag::ATOM_CACHE_REF => {
                let index = *body.first()?;
                let atom = atoms.entry(index);
                return Some(
                    atom.map_or(Self::AtomEntry(index), |atom| {
                        Self::Atom(atom.as_str().as_bytes())
                    }),
                );
            }
            _ => return None,
        };
        text.get(..length).map(Self::Atom)
    }

    fn hash(&self) -> u64 {
        match *self {
            Self::Integer(value) => mix(1, value.cast_unsigned()),
            Self::Float(bits) => mix(2, bits),
            Self::AtomEntry(index) => mix(3, u64::from(index)),
            Self::Atom(name) => hash_bytes(4, name),
            Self::Binary(bytes) => hash_bytes(5, bytes),
        }
    }
}

fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let seed = seed ^ (bytes.len() as u64) << 8;
    // Two looks that overlap take in every length up to two words.
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        let last = u64::from_ne_bytes(*last);
        if bytes.len() <= 16 {
            return mix(seed ^ u64::from_ne_bytes(*first), last);
        }
        let (words, _) = bytes.as_chunks();
        let hash = |hash, word: &[u8; 8]| mix(hash, u64::from_ne_bytes(*word));
        return mix(words.iter().fold(seed, hash), last);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return mix(seed ^ u64::from(u32::from_ne_bytes(*first)), u32::from_ne_bytes(*last).into());
    }
    mix(seed, bytes.iter().fold(0, |all, &byte| all << 8 | u64::from(byte)))
}

/// Spreads the bits of two words over one: the halves of their 128-bit product.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    const ODD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
    let product = u128::from(a ^ ODD[0]) * u128::from(b ^ ODD[1]);
    (product as u64) ^ ((product >> 64) as u64)
}
