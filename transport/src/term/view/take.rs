//! Taking terms off the front of bytes that have been validated.

use super::super::read::{self, Reader};
use super::super::skip::skip;
use super::super::{Atom, Creation, Reference, tag};
use super::{
    BigIntegerRef, Encoded, ListRef, MapRef, PidRef, PortRef, ReferenceRef, TermRef, TupleRef,
};

/// Takes the next term; of a container, all that is in it. Nothing if the bytes are not valid.
///
/// The frequent leaves are inlined into the caller, so that they stay in registers: moving a
/// finished `TermRef` costs more than making it.
#[inline(always)]
pub(super) fn take<'a>(reader: &mut Reader<'a>, atoms: &'a [Atom]) -> Option<TermRef<'a>> {
    let start = *reader;
    match reader.u8().ok()? {
        tag::SMALL_INTEGER => Some(TermRef::Integer(i64::from(reader.u8().ok()?))),
        tag::SMALL_ATOM_UTF8 => {
            let length = usize::from(reader.u8().ok()?);
            let text = reader.take(length).ok()?;
            std::str::from_utf8(text).ok().map(TermRef::Atom)
        }
        tag::BINARY => {
            let length = reader.u32().ok()? as usize;
            reader.take(length).ok().map(TermRef::Binary)
        }
        tag => read_other(reader, start, atoms, tag),
    }
}

/// Takes the rest of a term of another kind, whose tag has been taken.
#[inline(never)]
fn read_other<'a>(
    reader: &mut Reader<'a>,
    start: Reader<'a>,
    atoms: &'a [Atom],
    tag: u8,
) -> Option<TermRef<'a>> {
    Some(match tag {
        tag::INTEGER => {
            TermRef::Integer(i64::from(i32::from_be_bytes(read::Source::array(reader).ok()?)))
        }
        tag::ATOM_UTF8 | tag::SMALL_ATOM | tag::ATOM => match atom_text(reader, tag)? {
            Some(name) => TermRef::Atom(name),
            None => TermRef::Other(encoded(&start, reader, atoms)),
        },
        tag::ATOM_CACHE_REF => TermRef::Atom(cached(reader, atoms)?),
        tag::NEW_FLOAT => TermRef::Float(f64::from_bits(reader.u64().ok()?)),
        tag::SMALL_TUPLE => {
            let arity = usize::from(reader.u8().ok()?);
            skip(reader, arity).ok()?;
            TermRef::Tuple(TupleRef { encoded: encoded(&start, reader, atoms) })
        }
        tag::LARGE_TUPLE => {
            let arity = reader.u32().ok()? as usize;
            skip(reader, arity).ok()?;
            TermRef::Tuple(TupleRef { encoded: encoded(&start, reader, atoms) })
        }
        tag::NIL => TermRef::List(ListRef { encoded: encoded(&start, reader, atoms) }),
        tag::STRING => {
            let length = reader.u16().ok()?;
            reader.take(length.into()).ok()?;
            TermRef::List(ListRef { encoded: encoded(&start, reader, atoms) })
        }
        tag::LIST => {
            let mut count = reader.u32().ok()? as usize;
            // A list of no elements is its tail.
            while count == 0 {
                match reader.peek() {
                    Some(tag::LIST) => {
                        reader.u8().ok()?;
                        count = reader.u32().ok()? as usize;
                    }
                    _ => return read_tail(reader, atoms),
                }
            }
            skip(reader, count.saturating_add(1)).ok()?;
            TermRef::List(ListRef { encoded: encoded(&start, reader, atoms) })
        }
        tag::MAP => {
            let pairs = reader.u32().ok()? as usize;
            skip(reader, pairs.saturating_mul(2)).ok()?;
            TermRef::Map(MapRef { encoded: encoded(&start, reader, atoms) })
        }
        _ => return read_rare(reader, &start, atoms, tag),
    })
}

/// The tail of an empty `LIST_EXT`, which is no `LIST_EXT` itself.
#[cold]
fn read_tail<'a>(reader: &mut Reader<'a>, atoms: &'a [Atom]) -> Option<TermRef<'a>> {
    take(reader, atoms)
}

fn read_rare<'a>(
    reader: &mut Reader<'a>,
    start: &Reader<'a>,
    atoms: &'a [Atom],
    tag: u8,
) -> Option<TermRef<'a>> {
    match tag {
        tag::SMALL_BIG | tag::LARGE_BIG => {
            let length = if tag == tag::SMALL_BIG {
                usize::from(reader.u8().ok()?)
            } else {
                reader.u32().ok()? as usize
            };
            let is_negative = reader.u8().ok()? != 0;
            let digits = reader.take(length).ok()?;
            return Some(integer(is_negative, digits));
        }
        tag::BIT_BINARY => {
            let length = reader.u32().ok()? as usize;
            let bits = reader.u8().ok()?;
            let bytes = reader.take(length).ok()?;
            return Some(match bits {
                8 => TermRef::Binary(bytes),
                bits => TermRef::BitString(bytes, bits),
            });
        }
        tag::NEW_PID => {
            if let Some(node) = node(reader, atoms)? {
                let (id, serial) = (reader.u32().ok()?, reader.u32().ok()?);
                let creation = Creation(reader.u32().ok()?);
                return Some(TermRef::Pid(PidRef { node, id, serial, creation }));
            }
        }
        tag::V4_PORT | tag::NEW_PORT => {
            if let Some(node) = node(reader, atoms)? {
                let wide = tag == tag::V4_PORT;
                let id = if wide { reader.u64().ok()? } else { reader.u32().ok()?.into() };
                let creation = Creation(reader.u32().ok()?);
                return Some(TermRef::Port(PortRef { node, id, creation }));
            }
        }
        tag::NEWER_REFERENCE => {
            let count = usize::from(reader.u16().ok()?);
            if let Some(node) = node(reader, atoms)?
                && count <= Reference::WORDS_MAX
            {
                let (words, _) = reader.take(4 + 4 * count).ok()?.as_chunks();
                return Some(TermRef::Reference(ReferenceRef { node, words }));
            }
        }
        tag::FLOAT => {
            let text = read::Source::array(reader).ok()?;
            return super::super::decode::legacy_float(0, &text).ok().map(TermRef::Float);
        }
        _ => {}
    }
    // Closures and the like, and legacy forms of what is above.
    *reader = *start;
    skip(reader, 1).ok()?;
    Some(TermRef::Other(encoded(start, reader, atoms)))
}

fn integer(is_negative: bool, digits: &[u8]) -> TermRef<'_> {
    let small = read::small_magnitude(digits).and_then(|magnitude| {
        let value = i128::from(magnitude);
        i64::try_from(if is_negative { -value } else { value }).ok()
    });
    match small {
        Some(value) => TermRef::Integer(value),
        None => TermRef::BigInteger(BigIntegerRef { is_negative, digits }),
    }
}

/// What lies between two states of a reader.
#[inline]
fn encoded<'a>(start: &Reader<'a>, end: &Reader<'a>, atoms: &'a [Atom]) -> Encoded<'a> {
    let length = start.remaining() - end.remaining();
    Encoded { bytes: &start.rest()[..length], atoms }
}

/// The text of an atom, unless it is in Latin-1 and not the same in UTF-8.
#[inline]
fn atom_text<'a>(reader: &mut Reader<'a>, tag: u8) -> Option<Option<&'a str>> {
    let length = match tag {
        tag::SMALL_ATOM_UTF8 | tag::SMALL_ATOM => usize::from(reader.u8().ok()?),
        _ => usize::from(reader.u16().ok()?),
    };
    let text = reader.take(length).ok()?;
    if matches!(tag, tag::SMALL_ATOM | tag::ATOM) && !text.is_ascii() {
        return Some(None);
    }
    std::str::from_utf8(text).ok().map(Some)
}

fn cached<'a>(reader: &mut Reader<'a>, atoms: &'a [Atom]) -> Option<&'a str> {
    let index = reader.u8().ok()?;
    atoms.get(usize::from(index)).map(Atom::as_str)
}

/// The node of an identifier.
fn node<'a>(reader: &mut Reader<'a>, atoms: &'a [Atom]) -> Option<Option<&'a str>> {
    match reader.u8().ok()? {
        tag::ATOM_CACHE_REF => cached(reader, atoms).map(Some),
        tag @ (tag::SMALL_ATOM_UTF8 | tag::ATOM_UTF8 | tag::SMALL_ATOM | tag::ATOM) => {
            atom_text(reader, tag)
        }
        _ => None,
    }
}
