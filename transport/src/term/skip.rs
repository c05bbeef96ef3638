//! Passing over terms without looking into them.

use super::read::{self, Reader};
use super::{DecodeError, tag};

/// Takes `count` terms from bytes that have been validated. Of other bytes it takes something or
/// fails, but never passes the end and never does more than they are long.
pub(super) fn skip(reader: &mut Reader<'_>, count: usize) -> Result<(), DecodeError> {
    let mut owed = count;
    while owed > 0 {
        owed -= 1;
        let position = reader.position();
        let tag = reader.u8()?;
        let length = match tag {
            tag::NIL => 0,
            tag::SMALL_INTEGER | tag::ATOM_CACHE_REF => 1,
            tag::INTEGER => 4,
            tag::NEW_FLOAT => 8,
            tag::FLOAT => 31,
            tag::SMALL_ATOM_UTF8 | tag::SMALL_ATOM => usize::from(reader.u8()?),
            tag::ATOM_UTF8 | tag::ATOM | tag::STRING => usize::from(reader.u16()?),
            tag::BINARY => reader.u32()? as usize,
            tag::BIT_BINARY | tag::LARGE_BIG => (reader.u32()? as usize).saturating_add(1),
            tag::SMALL_BIG => 1 + usize::from(reader.u8()?),
            tag::SMALL_TUPLE => {
                owed += usize::from(reader.u8()?);
                continue;
            }
            tag::LARGE_TUPLE => {
                owed = owed.saturating_add(reader.u32()? as usize);
                continue;
            }
            tag::LIST => {
                owed = owed.saturating_add(reader.u32()? as usize).saturating_add(1);
                continue;
            }
            tag::MAP => {
                owed = owed.saturating_add((reader.u32()? as usize).saturating_mul(2));
                continue;
            }
            _ => {
                owed = owed.saturating_add(skip_rare(reader, tag, position)?);
                continue;
            }
        };
        reader.take(length)?;
    }
    Ok(())
}

/// Takes the head of a term made of parts that are terms themselves, and the fixed bytes in it;
/// returns how many terms are left of it. Node names and the like count as the atoms they are.
fn skip_rare(reader: &mut Reader<'_>, tag: u8, position: usize) -> Result<usize, DecodeError> {
    // Identifiers end with fixed bytes, so their node is taken here.
    let length = match tag {
        tag::NEW_PID | tag::V4_PORT => 12,
        tag::PID => 9,
        tag::NEW_PORT => 8,
        tag::PORT | tag::REFERENCE => 5,
        tag::NEWER_REFERENCE => 4 + 4 * usize::from(reader.u16()?),
        tag::NEW_REFERENCE => 1 + 4 * usize::from(reader.u16()?),
        tag::EXPORT => return Ok(3),
        tag::NEW_FUN => {
            reader.take(4 + 1 + 16 + 4)?;
            return Ok(4 + reader.u32()? as usize);
        }
        tag::RECORD => {
            let fields = reader.u32()? as usize;
            reader.u8()?;
            return Ok(fields.saturating_mul(2).saturating_add(2));
        }
        _ => return Err(read::no_term(position, tag)),
    };
    skip_atom(reader)?;
    reader.take(length)?;
    Ok(0)
}

fn skip_atom(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let position = reader.position();
    let length = match reader.u8()? {
        tag::SMALL_ATOM_UTF8 | tag::SMALL_ATOM => usize::from(reader.u8()?),
        tag::ATOM_UTF8 | tag::ATOM => usize::from(reader.u16()?),
        tag::ATOM_CACHE_REF => 1,
        tag => return Err(read::unexpected(position, "an atom", tag)),
    };
    reader.take(length).map(|_| ())
}
