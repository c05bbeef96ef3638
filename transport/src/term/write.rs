//! Writing single items of the external term format, in the form every supported OTP takes.
//!
//! Counts beyond what the format can carry cannot be reached with memory that exists, except for
//! binaries of 4 GiB; those are a fault of the caller and panic.

use super::room::{Room, append};
use super::{Atom, Pid, Port, Reference, tag};

/// Bytes that an identifier takes besides the name of its node, at most.
const IDENTIFIER_BYTES_MAX: usize = 3 + 3 + 4 + 4 * Reference::WORDS_MAX;

/// Writes an atom: `SMALL_ATOM_UTF8_EXT`, or `ATOM_UTF8_EXT` beyond 255 bytes.
#[inline]
pub fn write_atom(out: &mut Vec<u8>, atom: &Atom) {
    write_atom_text(out, atom.as_str());
}

/// Writes the text of an atom that is known to be short enough.
#[inline]
pub(crate) fn write_atom_text(out: &mut Vec<u8>, name: &str) {
    out.reserve(3 + name.len());
    append(out, |room| put_atom_text(room, name));
}

/// As [`write_atom_text`], into room.
#[inline]
fn put_atom_text<'b>(room: Room<'b>, name: &str) -> Option<Room<'b>> {
    put_atom_text_behind(room, [], name)
}

/// As [`put_atom_text`], behind a few bytes.
#[inline]
fn put_atom_text_behind<'b, const N: usize>(
    room: Room<'b>,
    head: [u8; N],
    name: &str,
) -> Option<Room<'b>> {
    // An atom has at most 255 characters, so at most 1,020 bytes.
    let room = match u8::try_from(name.len()) {
        Ok(length) => room.put(head)?.put([tag::SMALL_ATOM_UTF8, length])?,
        Err(_) => {
            let [high, low] = (name.len() as u16).to_be_bytes();
            room.put(head)?.put([tag::ATOM_UTF8, high, low])?
        }
    };
    room.put_all(name.as_bytes())
}

/// As [`write_atom`], into room.
#[inline]
pub(super) fn put_atom<'b>(room: Room<'b>, atom: &Atom) -> Option<Room<'b>> {
    put_atom_behind(room, [tag::SMALL_ATOM_UTF8], [], atom)
}

/// As [`put_atom`], behind a few bytes: `head` those and the tag, `before` only those.
///
/// A short name is kept as it goes on the wire, its length first, and is put with the bytes behind
/// it that do not count: copying a fixed number of bytes takes no decisions.
#[inline]
fn put_atom_behind<'b, const N: usize, const M: usize>(
    room: Room<'b>,
    head: [u8; N],
    before: [u8; M],
    atom: &Atom,
) -> Option<Room<'b>> {
    let room = match atom.short() {
        Some(short) => match room.put_padded(head, short, 1 + usize::from(short[0])) {
            Ok(room) => return Some(room),
            Err(room) => room,
        },
        None => room,
    };
    put_atom_text_behind(room, before, atom.as_str())
}

/// Writes a pid (`NEW_PID_EXT`).
pub fn write_pid(out: &mut Vec<u8>, pid: &Pid) {
    out.reserve(IDENTIFIER_BYTES_MAX + pid.node.as_str().len());
    append(out, |room| put_pid(room, pid));
}

/// As [`write_pid`], into room.
#[inline]
pub(super) fn put_pid<'b>(room: Room<'b>, pid: &Pid) -> Option<Room<'b>> {
    put_atom_behind(room, [tag::NEW_PID, tag::SMALL_ATOM_UTF8], [tag::NEW_PID], &pid.node)?
        .put(pair(pid.id, pid.serial))?
        .put(pid.creation.0.to_be_bytes())
}

/// Two numbers, one behind the other.
#[inline]
fn pair(first: u32, second: u32) -> [u8; 8] {
    (u64::from(first) << 32 | u64::from(second)).to_be_bytes()
}

/// Writes a port (`V4_PORT_EXT`, which OTP 25 and later read for numbers of any size).
pub fn write_port(out: &mut Vec<u8>, port: &Port) {
    out.reserve(IDENTIFIER_BYTES_MAX + port.node.as_str().len());
    append(out, |room| put_port(room, port));
}

/// As [`write_port`], into room.
#[inline]
pub(super) fn put_port<'b>(room: Room<'b>, port: &Port) -> Option<Room<'b>> {
    put_atom_behind(room, [tag::V4_PORT, tag::SMALL_ATOM_UTF8], [tag::V4_PORT], &port.node)?
        .put(port.id.to_be_bytes())?
        .put(port.creation.0.to_be_bytes())
}

/// Writes a reference (`NEWER_REFERENCE_EXT`) with the words it came with.
pub fn write_reference(out: &mut Vec<u8>, reference: &Reference) {
    out.reserve(IDENTIFIER_BYTES_MAX + reference.node.as_str().len());
    append(out, |room| put_reference(room, reference));
}

/// As [`write_reference`], into room.
#[inline]
pub(super) fn put_reference<'b>(room: Room<'b>, reference: &Reference) -> Option<Room<'b>> {
    let Reference { node, creation, .. } = reference;
    let words = reference.words();
    // At most five words.
    let before = [tag::NEWER_REFERENCE, 0, words.len() as u8];
    let [a, b, c] = before;
    let room = put_atom_behind(room, [a, b, c, tag::SMALL_ATOM_UTF8], before, node)?;
    if let [first, second, third] = *words {
        return room.put(pair(creation.0, first))?.put(pair(second, third));
    }
    let room = room.put(creation.0.to_be_bytes())?;
    words.iter().try_fold(room, |room, word| room.put(word.to_be_bytes()))
}

/// Writes an integer of 64 bits in its shortest form.
#[inline]
pub(crate) fn write_i64(out: &mut Vec<u8>, value: i64) {
    out.reserve(BIG_BYTES);
    append(out, |room| put_i64(room, value));
}

/// Bytes of an integer of eight digits.
const BIG_BYTES: usize = 3 + 8;

/// As [`write_i64`], into room.
#[inline]
pub(super) fn put_i64(room: Room<'_>, value: i64) -> Option<Room<'_>> {
    if let Ok(byte) = u8::try_from(value) {
        return room.put([tag::SMALL_INTEGER, byte]);
    }
    if let Ok(word) = i32::try_from(value) {
        let [a, b, c, d] = word.to_be_bytes();
        return room.put([tag::INTEGER, a, b, c, d]);
    }
    put_u64_digits(room, value < 0, value.unsigned_abs())
}

#[inline]
fn put_u64_digits(room: Room<'_>, negative: bool, magnitude: u64) -> Option<Room<'_>> {
    let [a, b, c, d, e, f, g, h] = magnitude.to_le_bytes();
    // At most eight.
    let digits = 8 - magnitude.leading_zeros() / 8;
    let bytes = [tag::SMALL_BIG, digits as u8, u8::from(negative), a, b, c, d, e, f, g, h];
    room.put_first(bytes, 3 + digits as usize)
}

/// Writes an integer in its shortest form.
#[inline]
pub fn write_integer(out: &mut Vec<u8>, value: impl Into<i128>) {
    let value: i128 = value.into();
    match i64::try_from(value) {
        Ok(value) => write_i64(out, value),
        Err(_) => write_magnitude(out, value < 0, &value.unsigned_abs().to_le_bytes()),
    }
}

/// Writes an integer of any size from its little-endian digits; leading zeros are left out.
pub(crate) fn write_magnitude(out: &mut Vec<u8>, negative: bool, digits: &[u8]) {
    let length = digits.iter().rposition(|&digit| digit != 0).map_or(0, |last| last + 1);
    let digits = &digits[..length];
    match u8::try_from(length) {
        Ok(length) => out.extend_from_slice(&[tag::SMALL_BIG, length]),
        Err(_) => {
            out.push(tag::LARGE_BIG);
            write_length(out, length);
        }
    }
    out.push(u8::from(negative));
    out.extend_from_slice(digits);
}

/// Writes a float (`NEW_FLOAT_EXT`). The format has no NaN and no infinities, and a peer would
/// drop the connection over one: they go as the atoms `nan`, `infinity` and `neg_infinity`.
#[inline]
pub fn write_float(out: &mut Vec<u8>, value: f64) {
    out.reserve(LONGEST_FLOAT_NAME.len() + 2);
    append(out, |room| put_float(room, value));
}

const LONGEST_FLOAT_NAME: &str = "neg_infinity";

/// As [`write_float`], into room.
#[inline]
pub(super) fn put_float(room: Room<'_>, value: f64) -> Option<Room<'_>> {
    if !value.is_finite() {
        return put_atom_text(
            room,
            match value {
                f64::INFINITY => "infinity",
                f64::NEG_INFINITY => LONGEST_FLOAT_NAME,
                _ => "nan",
            },
        );
    }
    let mut bytes = [tag::NEW_FLOAT; 9];
    bytes[1..].copy_from_slice(&value.to_be_bytes());
    room.put(bytes)
}

/// Writes the head of a tuple; that many terms must follow.
///
/// # Panics
/// When there are 2³² elements or more.
#[inline]
pub fn write_tuple_header(out: &mut Vec<u8>, arity: usize) {
    match u8::try_from(arity) {
        Ok(arity) => out.extend_from_slice(&[tag::SMALL_TUPLE, arity]),
        Err(_) => {
            out.push(tag::LARGE_TUPLE);
            write_length(out, arity);
        }
    }
}

/// Writes the head of a list; that many terms must follow, and then the tail.
///
/// # Panics
/// When there are 2³² elements or more.
#[inline]
pub fn write_list_header(out: &mut Vec<u8>, count: usize) {
    write_head(out, tag::LIST, count);
}

/// Writes the empty list, which is also the tail of every proper one.
#[inline]
pub fn write_nil(out: &mut Vec<u8>) {
    out.push(tag::NIL);
}

/// Writes the head of a map; that many keys, each followed by its value, must follow.
///
/// # Panics
/// When there are 2³² pairs or more.
#[inline]
pub fn write_map_header(out: &mut Vec<u8>, pairs: usize) {
    write_head(out, tag::MAP, pairs);
}

/// Writes a binary.
///
/// # Panics
/// When it has 4 GiB or more.
#[inline]
pub fn write_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(5 + bytes.len());
    write_binary_header(out, bytes.len());
    append(out, |room| room.put_all(bytes));
}

/// Writes bytes that are a term already.
#[inline]
pub(crate) fn write_all(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len());
    append(out, |room| room.put_all(bytes));
}

/// Writes the head of a binary; that many bytes must follow.
///
/// # Panics
/// When there are 4 GiB or more.
#[inline]
pub fn write_binary_header(out: &mut Vec<u8>, length: usize) {
    write_head(out, tag::BINARY, length);
}

/// Writes a list of bytes: `STRING_EXT` where it fits, as OTP does.
///
/// # Panics
/// When there are 2³² elements or more.
pub fn write_byte_list(out: &mut Vec<u8>, bytes: &[u8]) {
    match u16::try_from(bytes.len()) {
        Ok(0) => write_nil(out),
        Ok(length) => {
            let [high, low] = length.to_be_bytes();
            out.extend_from_slice(&[tag::STRING, high, low]);
            out.extend_from_slice(bytes);
        }
        Err(_) => {
            write_list_header(out, bytes.len());
            for &byte in bytes {
                out.extend_from_slice(&[tag::SMALL_INTEGER, byte]);
            }
            write_nil(out);
        }
    }
}

/// A tag and the 32-bit count after it.
#[inline]
fn write_head(out: &mut Vec<u8>, tag: u8, count: usize) {
    let count = u32::try_from(count).expect("a term has fewer than 2^32 elements or bytes");
    let [a, b, c, d] = count.to_be_bytes();
    out.extend_from_slice(&[tag, a, b, c, d]);
}

#[inline]
pub(crate) fn write_length(out: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("a term has fewer than 2^32 elements or bytes");
    out.extend_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn integers_take_their_shortest_form() {
        for (value, bytes) in [
            (0_i128, &[97, 0][..]),
            (255, &[97, 255]),
            (256, &[98, 0, 0, 1, 0]),
            (-1, &[98, 255, 255, 255, 255]),
            (1 << 31, &[110, 4, 0, 0, 0, 0, 0x80]),
            (-(1 << 64) - 1, &[110, 9, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1]),
        ] {
            assert_eq!(written(|out| write_integer(out, value)), bytes);
        }
    }

    #[test]
    fn byte_lists_become_strings_until_the_length_does_not_fit() {
        assert_eq!(written(|out| write_byte_list(out, b"")), [106]);
        assert_eq!(written(|out| write_byte_list(out, b"abc")), b"\x6b\0\x03abc");
        assert_eq!(written(|out| write_byte_list(out, &[1; 65_535])).len(), 65_538);
        assert_eq!(written(|out| write_byte_list(out, &[1; 65_536])).len(), 131_078);
    }

    #[test]
    fn long_atoms_take_the_long_form() {
        let atom = Atom::new(&"β".repeat(150)).unwrap();
        assert_eq!(written(|out| write_atom(out, &atom))[..3], [118, 1, 44]);
    }
}
