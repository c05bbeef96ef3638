//! Owned terms to bytes.

use bytes::Bytes;
use smallvec::SmallVec;

use super::owned::{Fun, Map, Record, Term};
use super::room::{Room, append};
use super::{tag, write};

impl Term {
    /// Appends the term in the external format, without a version byte, with the tags every
    /// supported OTP reads (native records only OTP 29).
    ///
    /// # Panics
    /// When a binary has 4 GiB or a container 2³² elements, which the format cannot express.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let copy = &mut |out: &mut Vec<u8>, bytes: &Bytes| out.extend_from_slice(bytes);
        encode(self, out, (), copy);
    }

    /// Appends the term as a stand-alone one, with the version byte 131 in front.
    ///
    /// # Panics
    /// As [`Term::encode`].
    pub fn encode_versioned(&self, out: &mut Vec<u8>) {
        out.push(tag::VERSION);
        self.encode(out);
    }

    /// Encodes into chunks: binaries of at least `threshold_bytes` become chunks of their own,
    /// shared with this term and not copied.
    ///
    /// # Panics
    /// As [`Term::encode`].
    #[must_use]
    pub fn encode_gather(&self, threshold_bytes: usize) -> Gather {
        let mut parts = SmallVec::new();
        let mut out = Vec::with_capacity(ROOM_BYTES);
        encode(self, &mut out, threshold_bytes.max(1), &mut |out, bytes| {
            if !out.is_empty() {
                parts.push(Bytes::from(std::mem::take(out)));
            }
            parts.push(bytes.clone());
        });
        if !out.is_empty() {
            parts.push(Bytes::from(out));
        }
        Gather { parts }
    }
}

/// A term encoded into chunks whose concatenation is its external form.
#[derive(Clone, Debug, Default)]
pub struct Gather {
    /// The chunks in order; none is empty.
    pub parts: SmallVec<[Bytes; 1]>,
}

impl Gather {
    /// Binaries of this size and more are worth a chunk of their own (8 KiB): copying less costs
    /// the kernel no more than another entry of its vectored write.
    pub const THRESHOLD_BYTES: usize = 8 * 1024;

    /// Bytes of all chunks together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

/// Room that is made for a term at least.
const ROOM_BYTES: usize = 256;

/// From how many bytes on a binary is shared and not copied. A type, so that where none is, nothing
/// has to be passed down for it.
trait Limit: Copy {
    fn bytes(self) -> usize;
}

/// No binary is shared.
impl Limit for () {
    #[inline(always)]
    fn bytes(self) -> usize {
        usize::MAX
    }
}

impl Limit for usize {
    #[inline(always)]
    fn bytes(self) -> usize {
        self
    }
}

/// Appends a term; binaries of at least `limit` bytes are given to `share` instead, with the
/// buffer at whose end they belong.
///
/// A term goes into the free capacity of the buffer as a whole if it fits and there is nothing
/// rare in it. If not, its parts do one by one, and the capacity grows on the way.
fn encode<L: Limit>(
    term: &Term,
    out: &mut Vec<u8>,
    limit: L,
    share: &mut impl FnMut(&mut Vec<u8>, &Bytes),
) {
    let done = append(out, |room| match term {
        // Nearly every message is one.
        Term::Tuple(elements) => put(elements, put_tuple_head(elements, room)?, limit),
        _ => put(std::slice::from_ref(term), room, limit),
    });
    if done {
        return;
    }
    out.reserve(ROOM_BYTES);
    match term {
        Term::Integer(value) => write::write_i64(out, *value),
        Term::BigInteger(value) => {
            write::write_magnitude(out, value.is_negative(), &value.to_digits());
        }
        Term::Float(value) => write::write_float(out, *value),
        Term::Atom(atom) => write::write_atom(out, atom),
        Term::Pid(pid) => write::write_pid(out, pid),
        Term::Port(port) => write::write_port(out, port),
        Term::Reference(reference) => write::write_reference(out, reference),
        Term::Fun(fun) => encode_fun(fun, out),
        Term::Export(export) => {
            out.push(tag::EXPORT);
            write::write_atom(out, &export.module);
            write::write_atom(out, &export.function);
            out.extend_from_slice(&[tag::SMALL_INTEGER, export.arity]);
        }
        Term::Tuple(elements) => {
            write::write_tuple_header(out, elements.len());
            elements.iter().for_each(|element| encode(element, out, limit, share));
        }
        Term::List(elements) if elements.is_empty() => write::write_nil(out),
        Term::List(elements) if is_string(elements) => {
            let bytes: Vec<u8> = elements.iter().filter_map(byte).collect();
            write::write_byte_list(out, &bytes);
        }
        Term::List(elements) => {
            write::write_list_header(out, elements.len());
            elements.iter().for_each(|element| encode(element, out, limit, share));
            write::write_nil(out);
        }
        Term::ImproperList(elements, tail) => {
            write::write_list_header(out, elements.len());
            elements.iter().for_each(|element| encode(element, out, limit, share));
            encode(tail, out, limit, share);
        }
        Term::Map(map) => {
            write::write_map_header(out, map.len());
            for (key, value) in map {
                encode(key, out, limit, share);
                encode(value, out, limit, share);
            }
        }
        Term::Binary(bytes) => {
            write::write_binary_header(out, bytes.len());
            copy_or_share(bytes, out, limit, share);
        }
        Term::BitString(bits) => {
            out.push(tag::BIT_BINARY);
            write::write_length(out, bits.bytes().len());
            out.push(bits.last_bits());
            copy_or_share(bits.bytes(), out, limit, share);
        }
        Term::Record(record) => {
            encode_record_head(record, out);
            for (_, value) in &record.fields {
                encode(value, out, limit, share);
            }
        }
    }
}

fn copy_or_share<L: Limit>(
    bytes: &Bytes,
    out: &mut Vec<u8>,
    limit: L,
    share: &mut impl FnMut(&mut Vec<u8>, &Bytes),
) {
    if bytes.len() >= limit.bytes() {
        share(out, bytes);
    } else {
        out.extend_from_slice(bytes);
    }
}

/// Puts terms one behind the other; nothing if they do not fit, contain a binary of at least
/// the limit, or something of a kind that is not frequent.
fn put<'b, L: Limit>(terms: &[Term], mut room: Room<'b>, limit: L) -> Option<Room<'b>> {
    for term in terms {
        room = put_one(term, room, limit)?;
    }
    Some(room)
}

fn put_pairs<'b, L: Limit>(map: &Map, mut room: Room<'b>, limit: L) -> Option<Room<'b>> {
    for (key, value) in map {
        room = put_one(key, room, limit)?;
        room = put_one(value, room, limit)?;
    }
    Some(room)
}

/// Inlined into the loops over what containers contain, because a call costs more than most terms.
#[inline(always)]
fn put_one<'b, L: Limit>(term: &Term, room: Room<'b>, limit: L) -> Option<Room<'b>> {
    match term {
        Term::Tuple(elements) => put_tuple(elements, room, limit),
        Term::List(elements) => put_list(elements, room, limit),
        Term::ImproperList(elements, tail) => put_improper_list(elements, tail, room, limit),
        Term::Map(map) => put_pairs(map, put_head(room, tag::MAP, map.len())?, limit),
        leaf => put_leaf(leaf, room, limit),
    }
}

#[inline(always)]
fn put_tuple_head<'b>(elements: &[Term], room: Room<'b>) -> Option<Room<'b>> {
    match u8::try_from(elements.len()) {
        Ok(arity) => room.put([tag::SMALL_TUPLE, arity]),
        Err(_) => put_head(room, tag::LARGE_TUPLE, elements.len()),
    }
}

/// Nearly all that tuples within others contain are leaves, so those are put without a call.
#[inline(always)]
fn put_tuple<'b, L: Limit>(elements: &[Term], room: Room<'b>, limit: L) -> Option<Room<'b>> {
    let mut room = put_tuple_head(elements, room)?;
    for element in elements {
        room = match element {
            Term::Tuple(_) | Term::List(_) | Term::ImproperList(..) | Term::Map(_) => {
                put(std::slice::from_ref(element), room, limit)?
            }
            leaf => put_leaf(leaf, room, limit)?,
        };
    }
    Some(room)
}

/// Puts a term that contains no others.
#[inline(always)]
fn put_leaf<'b, L: Limit>(term: &Term, room: Room<'b>, limit: L) -> Option<Room<'b>> {
    match term {
        Term::Integer(value) => write::put_i64(room, *value),
        Term::Float(value) => write::put_float(room, *value),
        Term::Atom(atom) => write::put_atom(room, atom),
        Term::Binary(bytes) if bytes.len() < limit.bytes() => {
            put_head(room, tag::BINARY, bytes.len())?.put_all(bytes)
        }
        Term::Pid(pid) => write::put_pid(room, pid),
        Term::Port(port) => write::put_port(room, port),
        Term::Reference(reference) => write::put_reference(room, reference),
        _ => None,
    }
}

fn put_improper_list<'b, L: Limit>(
    elements: &[Term],
    tail: &Term,
    room: Room<'b>,
    limit: L,
) -> Option<Room<'b>> {
    let mut room = put_head(room, tag::LIST, elements.len())?;
    for term in elements {
        room = put_one(term, room, limit)?;
    }
    put_one(tail, room, limit)
}

fn put_list<'b, L: Limit>(elements: &[Term], room: Room<'b>, limit: L) -> Option<Room<'b>> {
    if elements.is_empty() {
        return room.put([tag::NIL]);
    }
    if is_string(elements) {
        let [high, low] = u16::try_from(elements.len()).ok()?.to_be_bytes();
        let room = room.put([tag::STRING, high, low])?;
        return elements.iter().try_fold(room, |room, element| room.put([byte(element)?]));
    }
    let room = put_head(room, tag::LIST, elements.len())?;
    put(elements, room, limit)?.put([tag::NIL])
}

#[inline]
fn put_head(room: Room<'_>, tag: u8, count: usize) -> Option<Room<'_>> {
    let [a, b, c, d] = u32::try_from(count).ok()?.to_be_bytes();
    room.put([tag, a, b, c, d])
}

/// Whether a list goes as a string of bytes, as OTP sends it.
#[inline]
fn is_string(elements: &[Term]) -> bool {
    elements.len() <= usize::from(u16::MAX)
        && !elements.is_empty()
        && elements.iter().all(|element| byte(element).is_some())
}

#[inline]
fn byte(element: &Term) -> Option<u8> {
    match element {
        Term::Integer(value) => u8::try_from(*value).ok(),
        _ => None,
    }
}

fn encode_fun(fun: &Fun, out: &mut Vec<u8>) {
    // The size comes before the parts it covers, and counts itself, but not the tag.
    out.push(tag::NEW_FUN);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(fun.arity);
    out.extend_from_slice(&fun.uniq);
    out.extend_from_slice(&fun.index.to_be_bytes());
    write::write_length(out, fun.free.len());
    write::write_atom(out, &fun.module);
    write::write_integer(out, fun.old_index);
    write::write_integer(out, fun.old_uniq);
    write::write_pid(out, &fun.pid);
    fun.free.iter().for_each(|term| term.encode(out));
    let size = u32::try_from(out.len() - start).expect("a fun has fewer than 2^32 bytes");
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

fn encode_record_head(record: &Record, out: &mut Vec<u8>) {
    out.push(tag::RECORD);
    write::write_length(out, record.fields.len());
    out.push(u8::from(record.exported));
    write::write_atom(out, &record.module);
    write::write_atom(out, &record.name);
    for (name, _) in &record.fields {
        write::write_atom(out, name);
    }
}
