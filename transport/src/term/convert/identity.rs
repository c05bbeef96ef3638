//! Terms and identifiers as serde types: through this crate's own format they pass unchanged.
//!
//! In other formats an atom is a string, and everything else the bytes of its external form.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use super::super::room::{Room, on_stack};
use super::super::{
    Atom, Creation, DecodeError, Limits, Pid, Port, Reader, Reference, Term, ascii, read, tag,
    write,
};
use super::{ATOM, TERM};

impl Serialize for Atom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(ATOM, self.as_str())
    }
}

impl<'de> Deserialize<'de> for Atom {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtomVisitor;

        impl<'de> Visitor<'de> for AtomVisitor {
            type Value = Atom;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an atom")
            }

            #[inline]
            fn visit_str<E: Error>(self, name: &str) -> Result<Atom, E> {
                Atom::new(name).map_err(E::custom)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Atom, E> {
                Ok(Atom::from(value))
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Atom, D::Error> {
                deserializer.deserialize_str(self)
            }
        }

        deserializer.deserialize_newtype_struct(ATOM, AtomVisitor)
    }
}

/// What goes through serde as the bytes of an external term.
trait Encoded: Sized {
    const EXPECTED: &'static str;

    fn write(&self, out: &mut Vec<u8>);

    /// As `write`, into room, if it is short.
    fn put<'b>(&self, _room: Room<'b>) -> Option<Room<'b>> {
        None
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads the form that is nearly always sent, if these bytes are that and nothing else.
    #[inline]
    fn read_usual(_bytes: &[u8]) -> Option<Self> {
        None
    }
}

struct EncodedBytes<'a, T>(&'a T);

impl<T: Encoded> Serialize for EncodedBytes<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut serializer = Some(serializer);
        let result = on_stack(
            |room| self.0.put(room),
            |bytes| serializer.take().map(|serializer| serializer.serialize_bytes(bytes)),
        );
        match (result.flatten(), serializer) {
            (Some(result), _) => result,
            (None, Some(serializer)) => {
                let mut bytes = Vec::new();
                self.0.write(&mut bytes);
                serializer.serialize_bytes(&bytes)
            }
            (None, None) => Err(serde::ser::Error::custom("a serializer is taken once")),
        }
    }
}

struct EncodedVisitor<T>(PhantomData<T>);

impl<'de, T: Encoded> Visitor<'de> for EncodedVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    #[inline]
    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<T, E> {
        match T::read_usual(bytes) {
            Some(value) => Ok(value),
            None => self.read_any(bytes),
        }
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<T: Encoded> EncodedVisitor<T> {
    #[inline(never)]
    fn read_any<E: Error>(self, bytes: &[u8]) -> Result<T, E> {
        let mut reader = Reader::new(bytes);
        match T::read(&mut reader) {
            Ok(value) if reader.remaining() == 0 => Ok(value),
            Ok(_) => Err(E::invalid_length(bytes.len(), &T::EXPECTED)),
            Err(error) => Err(E::custom(error)),
        }
    }
}

macro_rules! encoded {
    ($type:ty, $expected:literal, $write:expr, $read:expr $(, $put:expr, $read_usual:expr)?) => {
        impl Encoded for $type {
            const EXPECTED: &'static str = $expected;

            fn write(&self, out: &mut Vec<u8>) {
                $write(out, self);
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                $read(reader, &())
            }

            $(
                #[inline]
                fn put<'b>(&self, room: Room<'b>) -> Option<Room<'b>> {
                    $put(room, self)
                }

                #[inline]
                fn read_usual(bytes: &[u8]) -> Option<Self> {
                    $read_usual(bytes)
                }
            )?
        }

        impl Serialize for $type {
            #[inline]
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_newtype_struct(TERM, &EncodedBytes(self))
            }
        }

        impl<'de> Deserialize<'de> for $type {
            #[inline]
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let visitor = EncodedVisitor::<$type>(PhantomData);
                deserializer.deserialize_newtype_struct(TERM, visitor)
            }
        }
    };
}

encoded!(Pid, "a pid", write::write_pid, read::read_pid, write::put_pid, usual_pid);
encoded!(Port, "a port", write::write_port, read::read_port);
encoded!(
    Reference,
    "a reference",
    write::write_reference,
    read::read_reference,
    write::put_reference,
    usual_reference
);
encoded!(Term, "a term", |out, term: &Term| term.encode(out), |reader, atoms| Term::read(
    reader,
    atoms,
    &Limits::DEFAULT
));

#[inline]
fn usual_pid(bytes: &[u8]) -> Option<Pid> {
    let [tag::NEW_PID, tag::SMALL_ATOM_UTF8, length, rest @ ..] = bytes else { return None };
    let (node, numbers) = rest.split_at_checked((*length).into())?;
    let (numbers, []) = numbers.as_chunks() else { return None };
    let [id, serial, creation] = *numbers else { return None };
    Some(Pid {
        node: Atom::new(ascii::text(node)?).ok()?,
        id: u32::from_be_bytes(id),
        serial: u32::from_be_bytes(serial),
        creation: Creation(u32::from_be_bytes(creation)),
    })
}

#[inline]
fn usual_reference(bytes: &[u8]) -> Option<Reference> {
    let [tag::NEWER_REFERENCE, 0, count, tag::SMALL_ATOM_UTF8, length, rest @ ..] = bytes else {
        return None;
    };
    let (node, numbers) = rest.split_at_checked((*length).into())?;
    let (numbers, []) = numbers.as_chunks() else { return None };
    let word = |bytes: &[u8; 4]| u32::from_be_bytes(*bytes);
    let (creation, words) = match (numbers, *count) {
        ([creation, a], 1) => (creation, [word(a), 0, 0, 0, 0]),
        ([creation, a, b, c], 3) => (creation, [word(a), word(b), word(c), 0, 0]),
        ([creation, a, b, c, d, e], 5) => (creation, [word(a), word(b), word(c), word(d), word(e)]),
        _ => return None,
    };
    let node = Atom::new(ascii::text(node)?).ok()?;
    Some(Reference::of_words(node, Creation(word(creation)), words, *count))
}
