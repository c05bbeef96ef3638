//! Finding a key that occurs twice, by looking at encoded keys.

use smallvec::SmallVec;

use super::read::{self, AtomTable, Reader};
use super::{DecodeError, DecodeErrorKind, Limits, Term, order, tag};

/// Checks that the encoded terms at these offsets are all different. They have been checked to be
/// legal terms.
///
/// Keys in ascending order cost one comparison each. Others are compared by a hash first; where
/// hashes agree, and that is up to the sender, they are sorted, so that no choice of keys costs
/// more than n·log n comparisons. Keys that are not simple are decoded.
pub(super) fn check_distinct<A: AtomTable + ?Sized>(
    bytes: &[u8],
    offsets: &[usize],
    atoms: &A,
    limits: &Limits,
    position: usize,
) -> Result<(), DecodeError> {
    let duplicate = || DecodeError::new(position, DecodeErrorKind::DuplicateKey);
    let mut ascending = true;
    let mut previous: Option<Key<'_>> = None;
    for &offset in offsets {
        let Some(key) = Key::read(&bytes[offset..], atoms) else {
            return check_complex(bytes, offsets, atoms, limits, position);
        };
        ascending &= previous.is_none_or(|previous| previous < key);
        previous = Some(key);
    }
    if ascending {
        return Ok(());
    }
    let mut hashed: SmallVec<[(u64, usize); 40]> = SmallVec::with_capacity(offsets.len());
    for &offset in offsets {
        let hash = Key::read(&bytes[offset..], atoms).map_or(0, |key| key.hash());
        hashed.push((hash, offset));
    }
    hashed.sort_unstable_by_key(|&(hash, _)| hash);
    let distinct = hashed.chunk_by(|a, b| a.0 == b.0).all(|same| {
        let [_, _, ..] = same else { return true };
        let keys = same.iter().filter_map(|&(_, offset)| Key::read(&bytes[offset..], atoms));
        let mut keys: Vec<Key<'_>> = keys.collect();
        keys.sort_unstable();
        keys.windows(2).all(|pair| pair[0] != pair[1])
    });
    if distinct { Ok(()) } else { Err(duplicate()) }
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
    /// The key at the start of these bytes, unless it is of another kind.
    #[inline]
    fn read<A: AtomTable + ?Sized>(bytes: &'a [u8], atoms: &'a A) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let length =
            match reader.u8().ok()? {
                tag::SMALL_ATOM_UTF8 => usize::from(reader.u8().ok()?),
                tag::ATOM_UTF8 => usize::from(reader.u16().ok()?),
                tag::SMALL_INTEGER => return Some(Self::Integer(i64::from(reader.u8().ok()?))),
                tag::INTEGER | tag::SMALL_BIG => {
                    return read::read_i64(&mut Reader::new(bytes)).ok().map(Self::Integer);
                }
                tag::NEW_FLOAT => return Some(Self::Float(reader.u64().ok()?)),
                tag::BINARY => {
                    let length = reader.u32().ok()? as usize;
                    return reader.take(length).ok().map(Self::Binary);
                }
                tag::ATOM_CACHE_REF => {
                    let index = reader.u8().ok()?;
                    let atom = atoms.entry(index);
                    return Some(atom.map_or(Self::AtomEntry(index), |atom| {
                        Self::Atom(atom.as_str().as_bytes())
                    }));
                }
                _ => return None,
            };
        reader.take(length).ok().map(Self::Atom)
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
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = mix(seed, bytes.len() as u64);
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(hash, u64::from_le_bytes(last))
}

/// Spreads the bits of two words over one: the halves of their 128-bit product.
fn mix(a: u64, b: u64) -> u64 {
    const ODD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
    let product = u128::from(a ^ ODD[0]) * u128::from(b ^ ODD[1]);
    (product as u64) ^ ((product >> 64) as u64)
}
