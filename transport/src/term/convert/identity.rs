//! Terms and identifiers as serde types: through this crate's own format they pass unchanged.
//!
//! In other formats an atom is a string, and everything else the bytes of its external form.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use super::super::{Atom, DecodeError, Limits, Pid, Port, Reader, Reference, Term, read, write};
use super::{ATOM, TERM};

impl Serialize for Atom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(ATOM, self.as_str())
    }
}

impl<'de> Deserialize<'de> for Atom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtomVisitor;

        impl<'de> Visitor<'de> for AtomVisitor {
            type Value = Atom;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an atom")
            }

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

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

struct EncodedBytes<'a, T>(&'a T);

impl<T: Encoded> Serialize for EncodedBytes<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(64);
        self.0.write(&mut bytes);
        serializer.serialize_bytes(&bytes)
    }
}

struct EncodedVisitor<T>(PhantomData<T>);

impl<'de, T: Encoded> Visitor<'de> for EncodedVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<T, E> {
        let mut reader = Reader::new(bytes);
        match T::read(&mut reader) {
            Ok(value) if reader.remaining() == 0 => Ok(value),
            Ok(_) => Err(E::invalid_length(bytes.len(), &self)),
            Err(error) => Err(E::custom(error)),
        }
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

macro_rules! encoded {
    ($type:ty, $expected:literal, $write:expr, $read:expr) => {
        impl Encoded for $type {
            const EXPECTED: &'static str = $expected;

            fn write(&self, out: &mut Vec<u8>) {
                $write(out, self);
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                $read(reader, &())
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_newtype_struct(TERM, &EncodedBytes(self))
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let visitor = EncodedVisitor::<$type>(PhantomData);
                deserializer.deserialize_newtype_struct(TERM, visitor)
            }
        }
    };
}

encoded!(Pid, "a pid", write::write_pid, read::read_pid);
encoded!(Port, "a port", write::write_port, read::read_port);
encoded!(Reference, "a reference", write::write_reference, read::read_reference);
encoded!(Term, "a term", |out, term: &Term| term.encode(out), |reader, atoms| Term::read(
    reader,
    atoms,
    &Limits::DEFAULT
));
