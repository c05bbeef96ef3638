//! Checking a term made of what messages are usually made of, quickly.
//!
//! [`validate_with`](super::validate_with) is right about everything, and has to be asked about
//! everything that is rare or wrong. What is left is little enough for one loop whose state stays
//! in registers: one look at the bytes from which every frequent item can be told, one comparison
//! with the end for each item, no errors to be made.

use smallvec::SmallVec;

use super::ascii;
use super::keys;
use super::read::AtomTable;
use super::validate::Validated;
use super::{Limits, Reference, tag};

/// Bytes looked at together: an atom of usual length, and every item that has none.
const HEAD_BYTES: usize = 2 + ascii::SHORT_BYTES_MAX;

/// Bytes that are too few for that.
const LAST_BYTES: usize = HEAD_BYTES - 1;

/// Containers around a term that are gone into here.
const DEPTH_MAX: usize = 32;

/// An open container: how many terms are still to come, and of what kind it is.
#[derive(Clone, Copy)]
struct Open(u64);

impl Open {
    /// A tuple, a map of one pair, or the term itself.
    const PLAIN: u64 = 0;
    /// A list; its tail does not count.
    const LIST: u64 = 1;
    /// A map of several pairs.
    const MAP: u64 = 2;
    const ONE: u64 = 4;

    #[inline]
    fn new(kind: u64, left: u32) -> Self {
        Self(kind + u64::from(left) * Self::ONE)
    }

    /// Whether the next term is a key of a map.
    #[inline]
    fn at_key(self) -> bool {
        // The lowest bit of the count stands beside the kind.
        self.0 % (2 * Self::ONE) == Self::MAP
    }

    /// Whether another term is to come after this one.
    #[inline]
    fn next(&mut self) -> bool {
        self.0 -= Self::ONE;
        self.0 >= Self::ONE
    }

    #[inline]
    fn kind(self) -> u64 {
        self.0 % Self::ONE
    }
}

/// Checks the term at the start of `bytes`; nothing if it is not legal, or not of the usual kind,
/// which [`validate_with`](super::validate_with) finds out.
#[inline]
pub(super) fn check<A: AtomTable + ?Sized>(
    bytes: &[u8],
    atoms: &A,
    limits: &Limits,
) -> Option<Validated> {
    if let Some(content) = binary(bytes, limits) {
        return Some(Validated { len: 5 + content.len(), uses_atom_cache: false });
    }
    // Limits that no short item can exceed, and no number of terms in so few bytes.
    let usual = limits.count_max >= 255
        && limits.atom_characters_max >= 255
        && limits.bignum_bytes_max >= 255
        && limits.nodes_max >= bytes.len();
    if !usual {
        return None;
    }
    check_all(bytes, atoms, limits)
}

/// The content of the term, if it is nothing but a binary, as messages of megabytes are.
#[inline]
pub(super) fn binary<'a>(bytes: &'a [u8], limits: &Limits) -> Option<&'a [u8]> {
    match bytes.split_first_chunk()? {
        (&[tag::BINARY, a, b, c, d], rest) => {
            let content = rest.get(..u32::from_be_bytes([a, b, c, d]) as usize)?;
            (content.len() <= limits.binary_bytes_max && limits.nodes_max > 0).then_some(content)
        }
        _ => None,
    }
}

/// Offsets of the keys of open maps, and for each map how many there were before.
#[derive(Default)]
struct Keys {
    offsets: SmallVec<[usize; 32]>,
    bases: SmallVec<[usize; 8]>,
}

#[inline(never)]
fn check_all<A: AtomTable + ?Sized>(bytes: &[u8], atoms: &A, limits: &Limits) -> Option<Validated> {
    let mut rest = bytes;
    // What has been taken is `total` less the length of `rest`.
    let mut total = bytes.len();
    // The last bytes again, with room for a look beyond the end.
    let mut last = [0; LAST_BYTES + HEAD_BYTES];
    match bytes.last_chunk::<LAST_BYTES>() {
        Some(all) => last[..LAST_BYTES].copy_from_slice(all),
        None => last[LAST_BYTES - bytes.len()..LAST_BYTES].copy_from_slice(bytes),
    }
    let mut open = Open::new(Open::PLAIN, 1);
    // Never longer than its inline room. An array would have to be filled first, with stores that
    // may cross a page, which costs more than the rest of a short term.
    let mut outer = SmallVec::<[Open; DEPTH_MAX]>::new();
    let mut keys = Keys::default();
    let mut uses_atom_cache = false;
    let depth_max = limits.depth_max.min(DEPTH_MAX);
    loop {
        let Some(head) = rest.first_chunk::<HEAD_BYTES>() else {
            cold();
            if total != bytes.len() {
                return None;
            }
            rest = &last[LAST_BYTES - rest.len()..];
            total += HEAD_BYTES;
            continue;
        };
        if open.at_key() {
            keys.push(total - rest.len());
        }
        match head[0] {
            tag::SMALL_INTEGER => rest = &rest[2..],
            tag::SMALL_ATOM_UTF8 => rest = skip_atom(rest, head)?,
            tag::BINARY => {
                let length = word(head) as usize;
                if length > limits.binary_bytes_max {
                    return None;
                }
                rest = rest.get(5 + length..)?;
            }
            tag::INTEGER => rest = &rest[5..],
            tag::NEW_FLOAT => {
                let [_, a, b, c, d, e, f, g, h, ..] = *head;
                if !f64::from_bits(u64::from_be_bytes([a, b, c, d, e, f, g, h])).is_finite() {
                    return None;
                }
                rest = &rest[9..];
            }
            tag::NIL => rest = &rest[1..],
            tag::SMALL_TUPLE => {
                rest = &rest[2..];
                if head[1] > 0 {
                    if outer.len() >= depth_max {
                        return None;
                    }
                    outer.push(open);
                    open = Open::new(Open::PLAIN, head[1].into());
                    continue;
                }
            }
            tag @ (tag::LIST | tag::MAP) => {
                rest = &rest[5..];
                let count = word(head);
                if outer.len() >= depth_max
                    || count as usize >= rest.len()
                    || count as usize > limits.count_max
                {
                    return None;
                }
                if count > 0 {
                    outer.push(open);
                    open = match (tag, count) {
                        (tag::LIST, _) => Open::new(Open::LIST, count),
                        (_, 1) => Open::new(Open::PLAIN, 2),
                        _ => {
                            keys.bases.push(keys.offsets.len());
                            Open::new(Open::MAP, 2 * count)
                        }
                    };
                    continue;
                }
                // An empty list that is no `NIL` is nothing but its tail.
                if tag == tag::LIST {
                    return None;
                }
            }
            tag => rest = skip_other(rest, head, tag, atoms, &mut uses_atom_cache)?,
        }
        while !open.next() {
            match open.kind() {
                Open::LIST => match rest.split_first()? {
                    (&tag::NIL, after) => rest = after,
                    (&tag::LIST, _) => return None,
                    _ => {
                        open = Open::new(Open::PLAIN, 1);
                        break;
                    }
                },
                Open::MAP => keys.close(bytes, atoms)?,
                _ => {}
            }
            let Some(around) = outer.pop() else {
                let len = total - rest.len();
                return (len <= bytes.len()).then_some(Validated { len, uses_atom_cache });
            };
            open = around;
        }
    }
}

impl Keys {
    /// Out of the way of terms without maps.
    #[cold]
    fn push(&mut self, offset: usize) {
        self.offsets.push(offset);
    }

    /// All pairs of a map are there; nothing if keys may be the same.
    #[inline(never)]
    fn close<A: AtomTable + ?Sized>(&mut self, bytes: &[u8], atoms: &A) -> Option<()> {
        let base = self.bases.pop()?;
        let keys = keys::compare(bytes, &self.offsets[base..], atoms);
        self.offsets.truncate(base);
        (keys == keys::Keys::Distinct).then_some(())
    }
}

#[cold]
fn cold() {}

/// The 32-bit number behind the tag.
#[inline]
fn word(head: &[u8; HEAD_BYTES]) -> u32 {
    u32::from_be_bytes([head[1], head[2], head[3], head[4]])
}

/// What follows the atom at the start of `rest`, a `SMALL_ATOM_UTF8`.
#[inline]
fn skip_atom<'a>(rest: &'a [u8], head: &[u8; HEAD_BYTES]) -> Option<&'a [u8]> {
    let [_, length, text @ ..] = head;
    let length = usize::from(*length);
    if length <= ascii::SHORT_BYTES_MAX && ascii::is_short_ascii(text, length) {
        return Some(&rest[2 + length..]);
    }
    skip_long_atom(rest, length)
}

/// As [`skip_atom`], wherever the text ends.
#[inline(never)]
fn skip_long_atom(rest: &[u8], length: usize) -> Option<&[u8]> {
    let (text, after) = rest.get(2..)?.split_at_checked(length)?;
    ascii::text(text)?;
    Some(after)
}

#[inline(never)]
fn skip_other<'a, A: AtomTable + ?Sized>(
    rest: &'a [u8],
    head: &[u8; HEAD_BYTES],
    tag: u8,
    atoms: &A,
    uses_atom_cache: &mut bool,
) -> Option<&'a [u8]> {
    match tag {
        tag::NEW_PID | tag::V4_PORT => skip_node(rest.get(1..)?, atoms, uses_atom_cache)?.get(12..),
        tag::NEWER_REFERENCE => {
            let words = usize::from(u16::from_be_bytes([head[1], head[2]]));
            if !(1..=Reference::WORDS_MAX).contains(&words) {
                return None;
            }
            skip_node(rest.get(3..)?, atoms, uses_atom_cache)?.get(4 + 4 * words..)
        }
        tag::ATOM_CACHE_REF => {
            *uses_atom_cache = true;
            atoms.has_entry(head[1]).then(|| &rest[2..])
        }
        tag::STRING => rest.get(3 + usize::from(u16::from_be_bytes([head[1], head[2]]))..),
        tag::SMALL_BIG => rest.get(3 + usize::from(head[1])..),
        _ => None,
    }
}

/// What follows the atom at the start of `rest`, the node of an identifier.
#[inline]
fn skip_node<'a, A: AtomTable + ?Sized>(
    rest: &'a [u8],
    atoms: &A,
    uses_atom_cache: &mut bool,
) -> Option<&'a [u8]> {
    match rest.split_first_chunk()? {
        (&[tag::SMALL_ATOM_UTF8, length], _) => skip_long_atom(rest, length.into()),
        (&[tag::ATOM_CACHE_REF, index], after) if atoms.has_entry(index) => {
            *uses_atom_cache = true;
            Some(after)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
