//! Bytes that are no term, read as if they were a binary.

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::super::write::write_binary;
use super::super::{ascii, tag};
use super::{ATOM, ConvertError, ConvertErrorKind, TERM};

/// Reads a value from bytes that are the content of a binary without being a term: what
/// [`from_bytes`](super::from_bytes) reads from that binary. Borrowed text and bytes point into
/// `bytes`.
///
/// # Errors
/// When the type is not read from a binary, or wants text and the bytes are not UTF-8.
#[inline]
pub fn from_raw<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, ConvertError> {
    T::deserialize(Raw(bytes))
}

struct Raw<'de>(&'de [u8]);

impl<'de> Raw<'de> {
    fn text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match ascii::text(self.0) {
            Some(text) => visitor.visit_borrowed_str(text),
            None => Err(ConvertErrorKind::Unexpected {
                expected: "text in UTF-8",
                came: "a binary that is not",
                position: 0,
            }
            .into()),
        }
    }
}

impl<'de> Deserializer<'de> for Raw<'de> {
    type Error = ConvertError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        visitor.visit_borrowed_bytes(self.0)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        self.text(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        self.text(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        self.text(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        match name {
            ATOM => Err(ConvertErrorKind::Unexpected {
                expected: "an atom",
                came: tag::name(tag::BINARY),
                position: 0,
            }
            .into()),
            TERM => {
                let mut term = Vec::with_capacity(self.0.len() + 5);
                write_binary(&mut term, self.0);
                visitor.visit_byte_buf(term)
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct enum identifier
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::term::{Atom, Limits, Term, from_bytes};

    fn both<'de, T: Deserialize<'de>>(
        raw: &'de [u8],
        term: &'de [u8],
    ) -> [Result<T, ConvertError>; 2] {
        [from_raw(raw), from_bytes(term, &(), &Limits::DEFAULT)]
    }

    #[test]
    fn every_type_reads_raw_bytes_as_it_reads_a_binary() {
        let raw = b"five!";
        let mut term = Vec::new();
        write_binary(&mut term, raw);
        assert_eq!(both::<&[u8]>(raw, &term), [Ok(raw.as_slice()), Ok(raw.as_slice())]);
        assert_eq!(both::<&str>(raw, &term), [Ok("five!"), Ok("five!")]);
        assert_eq!(both::<Option<String>>(raw, &term), [(); 2].map(|()| Ok(Some("five!".into()))));
        let binary = || Ok(Term::Binary(Bytes::from_static(raw)));
        assert_eq!(both::<Term>(raw, &term), [binary(), binary()]);
        assert!(both::<u64>(raw, &term).iter().all(Result::is_err));
        assert!(both::<Atom>(raw, &term).iter().all(Result::is_err));
        assert!(both::<(u8, u8)>(raw, &term).iter().all(Result::is_err));
        assert!(both::<Vec<u8>>(raw, &term).iter().all(Result::is_err));
        let mut term = Vec::new();
        write_binary(&mut term, b"\xff");
        assert!(both::<&str>(b"\xff", &term).iter().all(Result::is_err));
    }
}
