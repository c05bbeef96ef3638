//! Passing over terms without looking into them.

use super::read::Reader;
use super::{DecodeError, DecodeErrorKind, Limits, tag, validate};

/// What follows the first term, as [`after`]: for where terms are passed over one by one, most of
/// them short.
#[inline]
pub(super) fn after_one(rest: &[u8]) -> Option<&[u8]> {
    match *rest {
        [tag::SMALL_INTEGER, _, ref rest @ ..] => Some(rest),
        [tag::SMALL_ATOM_UTF8, length, ref rest @ ..] => rest.get(length.into()..),
        [tag::BINARY, a, b, c, d, ref rest @ ..] => {
            rest.get(u32::from_be_bytes([a, b, c, d]) as usize..)
        }
        [tag::INTEGER, _, _, _, _, ref rest @ ..] => Some(rest),
        [tag::NEW_FLOAT, _, _, _, _, _, _, _, _, ref rest @ ..] => Some(rest),
        _ => after(rest, 1),
    }
}

/// What follows the first `count` terms of bytes that have been validated. Of other bytes it
/// passes over something or fails, but never passes the end and never does more than they are
/// long.
pub(super) fn after(mut rest: &[u8], count: usize) -> Option<&[u8]> {
    let mut owed = count;
    while owed > 0 {
        owed -= 1;
        let (&tag, body) = rest.split_first()?;
        rest = match tag {
            tag::SMALL_INTEGER | tag::ATOM_CACHE_REF => body.get(1..)?,
            tag::SMALL_ATOM_UTF8 | tag::SMALL_ATOM => {
                let (&length, text) = body.split_first()?;
                text.get(length.into()..)?
            }
            tag::BINARY => {
                let (length, content) = body.split_first_chunk()?;
                content.get(u32::from_be_bytes(*length) as usize..)?
            }
            tag::INTEGER => body.get(4..)?,
            tag::NEW_FLOAT => body.get(8..)?,
            tag::NIL => body,
            tag::SMALL_TUPLE => {
                let (&arity, content) = body.split_first()?;
                owed += usize::from(arity);
                content
            }
            tag::LIST => {
                let (count, content) = body.split_first_chunk()?;
                owed = owed.saturating_add(u32::from_be_bytes(*count) as usize).saturating_add(1);
                content
            }
            tag::MAP => {
                let (pairs, content) = body.split_first_chunk()?;
                owed = owed.saturating_add(2 * u32::from_be_bytes(*pairs) as usize);
                content
            }
            _ => {
                let (more, content) = open_rare(tag, body)?;
                owed = owed.saturating_add(more);
                content
            }
        };
    }
    Some(rest)
}

/// As [`after`], of a reader.
///
/// # Errors
/// When the bytes end before the terms do, or are none.
pub(super) fn skip(reader: &mut Reader<'_>, count: usize) -> Result<(), DecodeError> {
    let rest = reader.rest();
    match after(rest, count) {
        Some(after) => reader.take(rest.len() - after.len()).map(|_| ()),
        None => Err(fault(*reader, count)),
    }
}

/// Says what is wrong with bytes that have fewer terms than they should.
#[cold]
fn fault(mut reader: Reader<'_>, count: usize) -> DecodeError {
    for _ in 0..count {
        let position = reader.position();
        match validate(reader.rest(), usize::MAX, &Limits::DEFAULT) {
            Ok(valid) => drop(reader.take(valid.len)),
            Err(error) => return DecodeError::new(position + error.position, error.kind),
        }
    }
    let remaining = reader.remaining();
    let kind = DecodeErrorKind::Truncated { needed: remaining + 1, remaining };
    DecodeError::new(reader.position(), kind)
}

/// The fixed bytes and parts of a term that is not frequent; how many terms are left of it, and
/// what follows. Node names and the like count as the atoms they are.
fn open_rare(tag: u8, body: &[u8]) -> Option<(usize, &[u8])> {
    let count_u16 =
        || Some((usize::from(u16::from_be_bytes(*body.first_chunk()?)), body.get(2..)?));
    let count_u32 = || Some((u32::from_be_bytes(*body.first_chunk()?) as usize, body.get(4..)?));
    // Identifiers end with fixed bytes, so their node is taken here.
    let (node, length) = match tag {
        tag::ATOM_UTF8 | tag::ATOM | tag::STRING => {
            let (length, text) = count_u16()?;
            return Some((0, text.get(length..)?));
        }
        tag::SMALL_BIG => {
            let (&length, digits) = body.split_first()?;
            return Some((0, digits.get(1 + usize::from(length)..)?));
        }
        tag::BIT_BINARY | tag::LARGE_BIG => {
            let (length, content) = count_u32()?;
            return Some((0, content.get(length.saturating_add(1)..)?));
        }
        tag::LARGE_TUPLE => return count_u32(),
        tag::FLOAT => return Some((0, body.get(31..)?)),
        tag::NEW_PID | tag::V4_PORT => (body, 12),
        tag::PID => (body, 9),
        tag::NEW_PORT => (body, 8),
        tag::PORT | tag::REFERENCE => (body, 5),
        tag::NEWER_REFERENCE => {
            let (words, node) = count_u16()?;
            (node, 4 + 4 * words)
        }
        tag::NEW_REFERENCE => {
            let (words, node) = count_u16()?;
            (node, 1 + 4 * words)
        }
        tag::EXPORT => return Some((3, body)),
        tag::NEW_FUN => {
            let rest = body.get(4 + 1 + 16 + 4..)?;
            let free = u32::from_be_bytes(*rest.first_chunk()?) as usize;
            return Some((4 + free, rest.get(4..)?));
        }
        tag::RECORD => {
            let (fields, rest) = count_u32()?;
            return Some((fields.saturating_mul(2).saturating_add(2), rest.get(1..)?));
        }
        _ => return None,
    };
    Some((0, after_atom(node)?.get(length..)?))
}

/// What follows an atom in any of its forms.
fn after_atom(rest: &[u8]) -> Option<&[u8]> {
    let (&tag, body) = rest.split_first()?;
    match tag {
        tag::SMALL_ATOM_UTF8 | tag::SMALL_ATOM => body.get(1 + usize::from(*body.first()?)..),
        tag::ATOM_UTF8 | tag::ATOM => {
            body.get(2 + usize::from(u16::from_be_bytes(*body.first_chunk()?))..)
        }
        tag::ATOM_CACHE_REF => body.get(1..),
        _ => None,
    }
}
