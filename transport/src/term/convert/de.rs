//! Bytes to Rust values.

use serde::de::{IntoDeserializer, Visitor};
use smallvec::SmallVec;

use super::super::read::{self, AtomTable, Reader};
use super::super::skip::skip;
use super::super::{
    Atom, DecodeError, DecodeErrorKind, Limits, Term, ascii, decode, tag, validate,
};
use super::access::{Counted, Element, List, ListItems, Tagged};
use super::{ATOM, ConvertError, ConvertErrorKind, TERM};

/// Levels that Rust types may nest, as each goes down the stack.
const DEPTH_MAX: usize = 128;

/// Reads values from the bytes of a term.
pub(super) struct Deserializer<'de, 'a, A: ?Sized> {
    pub(super) reader: Reader<'de>,
    pub(super) atoms: &'a A,
    pub(super) limits: &'a Limits,
    pub(super) depth: usize,
}

/// An atom: in the message, in its header's table, or converted from Latin-1.
enum Name<'de, 'a> {
    Inline(&'de str),
    Cached(&'a Atom),
    Converted(Atom),
}

impl Name<'_, '_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Inline(name) => name,
            Self::Cached(atom) => atom.as_str(),
            Self::Converted(atom) => atom.as_str(),
        }
    }
}

impl<'de, 'a, A: AtomTable + ?Sized> Deserializer<'de, 'a, A> {
    pub(super) fn new(reader: Reader<'de>, atoms: &'a A, limits: &'a Limits) -> Self {
        Self { reader, atoms, limits, depth: 0 }
    }

    /// The tag of the next term, which stays where it is.
    pub(super) fn peek(&self) -> Result<u8, ConvertError> {
        let mut reader = self.reader;
        Ok(reader.u8()?)
    }

    #[cold]
    pub(super) fn unexpected(&self, expected: &'static str) -> ConvertError {
        let position = self.reader.position();
        match self.reader.peek() {
            Some(tag) if tag::name(tag) == "unknown" => read::no_term(position, tag).into(),
            Some(tag) => {
                ConvertErrorKind::Unexpected { expected, came: tag::name(tag), position }.into()
            }
            None => {
                let kind = DecodeErrorKind::Truncated { needed: 1, remaining: 0 };
                DecodeError::new(position, kind).into()
            }
        }
    }

    /// Whether the next term is an atom.
    pub(super) fn is_atom(&self) -> bool {
        matches!(
            self.reader.peek(),
            Some(
                tag::SMALL_ATOM_UTF8
                    | tag::ATOM_UTF8
                    | tag::SMALL_ATOM
                    | tag::ATOM
                    | tag::ATOM_CACHE_REF
            )
        )
    }

    #[inline]
    fn atom(&mut self) -> Result<Name<'de, 'a>, ConvertError> {
        if let [tag::SMALL_ATOM_UTF8, length, rest @ ..] = self.reader.rest()
            && let Some(text) = rest.get(..usize::from(*length))
            && usize::from(*length) <= self.limits.atom_characters_max
            && let Some(name) = ascii::text(text)
        {
            self.reader.take(2 + text.len())?;
            return Ok(Name::Inline(name));
        }
        self.other_atom()
    }

    #[inline(never)]
    fn other_atom(&mut self) -> Result<Name<'de, 'a>, ConvertError> {
        let position = self.reader.position();
        let mut reader = self.reader;
        let length = match reader.u8()? {
            tag::SMALL_ATOM_UTF8 => usize::from(reader.u8()?),
            tag::ATOM_UTF8 => usize::from(reader.u16()?),
            tag::ATOM_CACHE_REF => {
                let index = reader.u8()?;
                self.reader = reader;
                let kind = DecodeErrorKind::UnknownAtomReference(index);
                let atom = self.atoms.entry(index);
                return Ok(Name::Cached(atom.ok_or_else(|| DecodeError::new(position, kind))?));
            }
            _ if self.is_atom() => {
                return Ok(Name::Converted(read::read_atom(&mut self.reader, self.atoms)?));
            }
            _ => return Err(self.unexpected("an atom")),
        };
        let text = reader.take(length)?;
        let name = validate::atom_text(position, text, self.limits.atom_characters_max)?;
        self.reader = reader;
        Ok(Name::Inline(name))
    }

    /// Takes the next term if it is one of these atoms.
    fn take_atom(&mut self, names: &[&str]) -> Result<bool, ConvertError> {
        if !self.is_atom() {
            return Ok(false);
        }
        let before = self.reader;
        let found = names.contains(&self.atom()?.as_str());
        if !found {
            self.reader = before;
        }
        Ok(found)
    }

    #[inline]
    fn binary(&mut self) -> Result<&'de [u8], ConvertError> {
        if let [tag::BINARY, a, b, c, d, rest @ ..] = self.reader.rest()
            && let Some(bytes) = rest.get(..u32::from_be_bytes([*a, *b, *c, *d]) as usize)
            && bytes.len() <= self.limits.binary_bytes_max
        {
            self.reader.take(5 + bytes.len())?;
            return Ok(bytes);
        }
        self.other_binary()
    }

    #[inline(never)]
    fn other_binary(&mut self) -> Result<&'de [u8], ConvertError> {
        let position = self.reader.position();
        let mut reader = self.reader;
        let tag = reader.u8()?;
        let length = match tag {
            tag::BINARY | tag::BIT_BINARY => reader.u32()?,
            _ => return Err(self.unexpected("a binary")),
        };
        if tag == tag::BIT_BINARY && reader.u8()? != 8 {
            return Err(self.unexpected("a binary of whole bytes"));
        }
        validate::check_binary(position, length, self.limits)?;
        let bytes = reader.take(length as usize)?;
        self.reader = reader;
        Ok(bytes)
    }

    /// An integer with its sign apart.
    pub(super) fn integer(&mut self) -> Result<(bool, u128), ConvertError> {
        let position = self.reader.position();
        let mut reader = self.reader;
        let (is_negative, magnitude) = match reader.u8()? {
            tag::SMALL_INTEGER => (false, u128::from(reader.u8()?)),
            tag::INTEGER => {
                let value = reader.u32()?.cast_signed();
                (value < 0, u128::from(value.unsigned_abs()))
            }
            tag @ (tag::SMALL_BIG | tag::LARGE_BIG) => {
                let length =
                    if tag == tag::SMALL_BIG { u32::from(reader.u8()?) } else { reader.u32()? };
                validate::check_integer(position, length, self.limits)?;
                let is_negative = reader.u8()? != 0;
                let digits = reader.take(length as usize)?;
                let (low, high) = digits.split_at(digits.len().min(16));
                if high.iter().any(|&digit| digit != 0) {
                    let kind = DecodeErrorKind::IntegerOutOfRange;
                    return Err(DecodeError::new(position, kind).into());
                }
                let mut bytes = [0; 16];
                bytes[..low.len()].copy_from_slice(low);
                (is_negative, u128::from_le_bytes(bytes))
            }
            _ => return Err(self.unexpected("an integer")),
        };
        self.reader = reader;
        Ok((is_negative && magnitude != 0, magnitude))
    }

    #[inline]
    fn visit_integer<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ConvertError> {
        match *self.reader.rest() {
            [tag::SMALL_INTEGER, value, ..] => {
                self.reader.take(2)?;
                visitor.visit_u64(value.into())
            }
            [tag::INTEGER, a, b, c, d, ..] => {
                self.reader.take(5)?;
                visitor.visit_i64(i32::from_be_bytes([a, b, c, d]).into())
            }
            _ => self.visit_big_integer(visitor),
        }
    }

    #[inline(never)]
    fn visit_big_integer<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ConvertError> {
        let position = self.reader.position();
        let (is_negative, magnitude) = self.integer()?;
        if !is_negative {
            return match u64::try_from(magnitude) {
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_u128(magnitude),
            };
        }
        match 0_i128.checked_sub_unsigned(magnitude) {
            Some(value) => match i64::try_from(value) {
                Ok(value) => visitor.visit_i64(value),
                Err(_) => visitor.visit_i128(value),
            },
            None => Err(DecodeError::new(position, DecodeErrorKind::IntegerOutOfRange).into()),
        }
    }

    #[inline]
    fn float(&mut self) -> Result<f64, ConvertError> {
        let position = self.reader.position();
        let mut reader = self.reader;
        let value = match reader.u8()? {
            tag::NEW_FLOAT => f64::from_bits(reader.u64()?),
            tag::FLOAT => decode::legacy_float(position, &read::Source::array(&mut reader)?)?,
            _ => return Err(self.unexpected("a float")),
        };
        if !value.is_finite() {
            return Err(DecodeError::new(position, DecodeErrorKind::NotAFiniteFloat).into());
        }
        self.reader = reader;
        Ok(value)
    }

    /// Text from a binary, a list of characters, or an atom.
    #[inline]
    fn text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ConvertError> {
        match *self.reader.rest() {
            [tag::BINARY, ..] => {
                let before = self.reader;
                if let Some(text) = ascii::text(self.binary()?) {
                    return visitor.visit_borrowed_str(text);
                }
                self.reader = before;
            }
            [tag::SMALL_ATOM_UTF8, ..] => {
                if let Name::Inline(name) = self.atom()? {
                    return visitor.visit_borrowed_str(name);
                }
            }
            _ => {}
        }
        self.other_text(visitor)
    }

    #[inline(never)]
    fn other_text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.peek()? {
            tag::BINARY | tag::BIT_BINARY => {
                let position = self.reader.position();
                match ascii::text(self.binary()?) {
                    Some(text) => visitor.visit_borrowed_str(text),
                    None => Err(ConvertErrorKind::Unexpected {
                        expected: "text in UTF-8",
                        came: "a binary that is not",
                        position,
                    }
                    .into()),
                }
            }
            tag::NIL => {
                self.reader.u8()?;
                visitor.visit_borrowed_str("")
            }
            tag::STRING => {
                self.reader.u8()?;
                let length = self.reader.u16()?;
                let bytes = self.reader.take(length.into())?;
                match ascii::text(bytes) {
                    Some(text) if ascii::is_ascii(bytes) => visitor.visit_borrowed_str(text),
                    _ => visitor.visit_string(bytes.iter().copied().map(char::from).collect()),
                }
            }
            tag::LIST => {
                let position = self.reader.position();
                let mut text = String::new();
                let mut items = ListItems::open(self)?;
                while let Some(element) = items.next_element(self)? {
                    let character = match element {
                        Element::Byte(byte) => Some(char::from(byte)),
                        Element::Term => {
                            let (is_negative, code) = self.integer()?;
                            let code = u32::try_from(code).ok().filter(|_| !is_negative);
                            code.and_then(char::from_u32)
                        }
                    };
                    text.push(character.ok_or(ConvertErrorKind::Unexpected {
                        expected: "text",
                        came: "a list with something else than characters",
                        position,
                    })?);
                }
                visitor.visit_string(text)
            }
            _ if self.is_atom() => match self.atom()? {
                Name::Inline(name) => visitor.visit_borrowed_str(name),
                name => visitor.visit_str(name.as_str()),
            },
            _ => Err(self.unexpected("text")),
        }
    }

    /// The head of a tuple.
    #[inline]
    fn arity(&mut self, expected: &'static str) -> Result<usize, ConvertError> {
        match *self.reader.rest() {
            [tag::SMALL_TUPLE, arity, ref rest @ ..] if rest.len() >= arity.into() => {
                self.reader.take(2)?;
                Ok(arity.into())
            }
            [tag::SMALL_TUPLE | tag::LARGE_TUPLE, ..] => {
                Ok(read::read_tuple_header(&mut self.reader)?)
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    #[inline]
    fn exact_arity(&mut self, arity: usize) -> Result<(), ConvertError> {
        let position = self.reader.position();
        if self.arity("a tuple")? == arity {
            return Ok(());
        }
        Err(Self::another_arity(position))
    }

    #[cold]
    fn another_arity(position: usize) -> ConvertError {
        (ConvertErrorKind::Unexpected {
            expected: "a tuple of another arity",
            came: "this one",
            position,
        })
        .into()
    }

    #[inline]
    fn down<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ConvertError>,
    ) -> Result<T, ConvertError> {
        let depth_max = DEPTH_MAX.min(self.limits.depth_max);
        if self.depth >= depth_max {
            let kind = DecodeErrorKind::TooDeep { depth_max };
            return Err(DecodeError::new(self.reader.position(), kind).into());
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    #[inline]
    fn list<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ConvertError> {
        self.down(|de| {
            let items = ListItems::open(de)?;
            let mut list = List { de, items };
            let value = visitor.visit_seq(&mut list)?;
            list.finish()?;
            Ok(value)
        })
    }

    #[inline]
    pub(super) fn tuple<V: Visitor<'de>>(
        &mut self,
        arity: usize,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.down(|de| {
            let mut elements = Counted { de, left: arity };
            let value = visitor.visit_seq(&mut elements)?;
            elements.finish(1)?;
            Ok(value)
        })
    }

    #[inline]
    pub(super) fn map<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ConvertError> {
        if self.peek()? != tag::MAP {
            return Err(self.unexpected("a map"));
        }
        let position = self.reader.position();
        self.reader.u8()?;
        let pairs = self.reader.u32()? as usize;
        validate::check_count(position, pairs, self.limits)?;
        self.down(|de| {
            let mut pairs = Counted { de, left: pairs };
            let value = visitor.visit_map(&mut pairs)?;
            pairs.finish(2)?;
            Ok(value)
        })
    }

    /// Hands over the bytes of one term, without references to the atom table.
    #[inline]
    fn encoded<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ConvertError> {
        // The identifiers of today's form, which are short and have their node at the front.
        let length = match *self.reader.rest() {
            [tag::NEW_PID, tag::SMALL_ATOM_UTF8, length, ..] => 3 + usize::from(length) + 12,
            [tag::NEWER_REFERENCE, 0, words, tag::SMALL_ATOM_UTF8, length, ..] => {
                5 + usize::from(length) + 4 + 4 * usize::from(words)
            }
            _ => return self.encoded_other(visitor),
        };
        visitor.visit_borrowed_bytes(self.reader.take(length)?)
    }

    #[inline(never)]
    fn encoded_other<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ConvertError> {
        if self.atoms.has_entry(0) {
            if let Some(bytes) = self.cached_identifier()? {
                return visitor.visit_bytes(&bytes);
            }
            let valid = validate::validate_with(self.reader.rest(), self.atoms, self.limits)?;
            if valid.uses_atom_cache {
                // It is written again without.
                let term = Term::read(&mut self.reader, self.atoms, self.limits)?;
                let mut bytes = Vec::new();
                term.encode(&mut bytes);
                return visitor.visit_byte_buf(bytes);
            }
        }
        let mut end = self.reader;
        skip(&mut end, 1)?;
        let bytes = self.reader.take(self.reader.remaining() - end.remaining())?;
        visitor.visit_borrowed_bytes(bytes)
    }

    /// Takes an identifier whose node is in the atom table, and puts the name in its place.
    fn cached_identifier(&mut self) -> Result<Option<SmallVec<[u8; 128]>>, ConvertError> {
        let rest = self.reader.rest();
        let (head, length) = match *rest {
            [tag::NEW_PID, tag::ATOM_CACHE_REF, ..] => (1, 12),
            [tag::NEWER_REFERENCE, 0, words, tag::ATOM_CACHE_REF, ..] => {
                (3, 4 + 4 * usize::from(words))
            }
            _ => return Ok(None),
        };
        let mut bytes = SmallVec::from_slice(self.reader.take(head)?);
        match self.atom()? {
            name if name.as_str().len() <= usize::from(u8::MAX) => {
                let name = name.as_str();
                bytes.extend_from_slice(&[tag::SMALL_ATOM_UTF8, name.len() as u8]);
                bytes.extend_from_slice(name.as_bytes());
            }
            name => {
                let [high, low] = (name.as_str().len() as u16).to_be_bytes();
                bytes.extend_from_slice(&[tag::ATOM_UTF8, high, low]);
                bytes.extend_from_slice(name.as_str().as_bytes());
            }
        }
        bytes.extend_from_slice(self.reader.take(length)?);
        Ok(Some(bytes))
    }
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
            self.visit_integer(visitor)
        }
    )*};
}

impl<'de, A: AtomTable + ?Sized> serde::Deserializer<'de> for &mut Deserializer<'de, '_, A> {
    type Error = ConvertError;

    integers!(deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128);

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.peek()? {
            tag::SMALL_INTEGER | tag::INTEGER | tag::SMALL_BIG | tag::LARGE_BIG => {
                self.visit_integer(visitor)
            }
            tag::NEW_FLOAT | tag::FLOAT => visitor.visit_f64(self.float()?),
            tag::BINARY | tag::BIT_BINARY => {
                let bytes = self.binary()?;
                match ascii::text(bytes) {
                    Some(text) => visitor.visit_borrowed_str(text),
                    None => visitor.visit_borrowed_bytes(bytes),
                }
            }
            tag::NIL | tag::STRING | tag::LIST => self.list(visitor),
            tag::SMALL_TUPLE | tag::LARGE_TUPLE => {
                let arity = self.arity("a tuple")?;
                self.tuple(arity, visitor)
            }
            tag::MAP => self.map(visitor),
            _ if self.is_atom() => {
                let name = self.atom()?;
                match name.as_str() {
                    "true" => visitor.visit_bool(true),
                    "false" => visitor.visit_bool(false),
                    "undefined" | "nil" => visitor.visit_unit(),
                    _ => match name {
                        Name::Inline(name) => visitor.visit_borrowed_str(name),
                        name => visitor.visit_str(name.as_str()),
                    },
                }
            }
            _ => self.encoded(visitor),
        }
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        if self.take_atom(&["true"])? {
            visitor.visit_bool(true)
        } else if self.take_atom(&["false"])? {
            visitor.visit_bool(false)
        } else {
            Err(self.unexpected("true or false"))
        }
    }

    #[inline]
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        self.deserialize_f64(visitor)
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.peek()? {
            tag::SMALL_INTEGER | tag::INTEGER | tag::SMALL_BIG | tag::LARGE_BIG => {
                let (is_negative, magnitude) = self.integer()?;
                let value = magnitude as f64;
                visitor.visit_f64(if is_negative { -value } else { value })
            }
            _ => visitor.visit_f64(self.float()?),
        }
    }

    #[inline]
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        if !matches!(self.peek()?, tag::SMALL_INTEGER | tag::INTEGER) {
            return self.text(visitor);
        }
        let before = self.reader;
        let (is_negative, code) = self.integer()?;
        let code = u32::try_from(code).ok().filter(|_| !is_negative);
        match code.and_then(char::from_u32) {
            Some(character) => visitor.visit_char(character),
            None => {
                self.reader = before;
                Err(self.unexpected("a character"))
            }
        }
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        self.text(visitor)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        self.text(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.peek()? {
            tag::NIL => {
                self.reader.u8()?;
                visitor.visit_borrowed_bytes(&[])
            }
            tag::STRING => {
                self.reader.u8()?;
                let length = self.reader.u16()?;
                visitor.visit_borrowed_bytes(self.reader.take(length.into())?)
            }
            // A list of bytes that was too long for a string.
            tag::LIST => self.list(visitor),
            _ => visitor.visit_borrowed_bytes(self.binary()?),
        }
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        if self.take_atom(&["undefined", "nil"])? {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        if self.take_atom(&["ok", "undefined", "nil"])? {
            return visitor.visit_unit();
        }
        if self.reader.rest().starts_with(&[tag::SMALL_TUPLE, 0]) {
            self.reader.take(2)?;
            return visitor.visit_unit();
        }
        Err(self.unexpected("ok, undefined, nil or {}"))
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        if self.take_atom(&[name])? {
            visitor.visit_unit()
        } else {
            Err(self.unexpected("the atom of a unit struct's name"))
        }
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        match name {
            ATOM => visitor.visit_str(self.atom()?.as_str()),
            TERM => self.encoded(visitor),
            _ => self.down(|de| visitor.visit_newtype_struct(de)),
        }
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        self.list(visitor)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.exact_arity(len)?;
        self.tuple(len, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        self.map(visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.map(visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        if self.is_atom() {
            let name = self.atom()?;
            return visitor.visit_enum(name.as_str().into_deserializer());
        }
        let position = self.reader.position();
        let arity = self.arity("an atom or a tagged tuple")?;
        if arity == 0 {
            return Err(ConvertErrorKind::Unexpected {
                expected: "an atom or a tagged tuple",
                came: "{}",
                position,
            }
            .into());
        }
        self.down(|de| visitor.visit_enum(Tagged { de, left: arity - 1 }))
    }

    #[inline]
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.peek()? {
            tag::BINARY => self.text(visitor),
            tag::SMALL_INTEGER | tag::INTEGER => self.visit_integer(visitor),
            _ if self.is_atom() => visitor.visit_str(self.atom()?.as_str()),
            // A key that is no name is no field.
            _ => {
                skip(&mut self.reader, 1)?;
                visitor.visit_bytes(&[])
            }
        }
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        skip(&mut self.reader, 1)?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}
