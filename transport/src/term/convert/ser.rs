//! Rust values to bytes.

use serde::ser::{
    Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
};
use smallvec::SmallVec;

use super::super::{Atom, DecodeErrorKind, Limits, keys, tag, write};
use super::{ATOM, ConvertError, ConvertErrorKind, TERM};

/// Writes one value to the end of a buffer.
pub(super) struct Serializer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Serializer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    fn float(self, value: f64) -> Result<(), ConvertError> {
        if !value.is_finite() {
            return Err(ConvertErrorKind::NotAFiniteFloat.into());
        }
        write::write_float(self.out, value);
        Ok(())
    }

    fn tuple(self, arity: usize) -> Fixed<'a> {
        write::write_tuple_header(self.out, arity);
        Fixed { out: self.out }
    }

    fn variant(self, name: &str, arity: usize) -> Result<Fixed<'a>, ConvertError> {
        let tuple = self.tuple(arity + 1);
        write_name(tuple.out, name)?;
        Ok(tuple)
    }

    fn map(self) -> Map<'a> {
        write::write_map_header(self.out, 0);
        let start = self.out.len();
        Map { out: self.out, start, pairs: 0, keys: SmallVec::new() }
    }
}

fn write_name(out: &mut Vec<u8>, name: &str) -> Result<(), ConvertError> {
    if name.len() > Atom::CHARACTERS_MAX && name.chars().count() > Atom::CHARACTERS_MAX {
        return Err(ConvertErrorKind::AtomTooLong.into());
    }
    write::write_atom_text(out, name);
    Ok(())
}

/// Sets the 32-bit count that ends where the elements start.
fn patch_count(out: &mut [u8], elements_start: usize, count: usize) -> Result<(), ConvertError> {
    let count = u32::try_from(count)
        .map_err(|_| ConvertErrorKind::Message("more than 2^32 elements".to_owned()))?;
    out[elements_start - 4..elements_start].copy_from_slice(&count.to_be_bytes());
    Ok(())
}

macro_rules! integers {
    ($($method:ident: $type:ty),*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<(), ConvertError> {
            write::write_integer(self.out, value);
            Ok(())
        }
    )*};
}

impl<'a> serde::Serializer for Serializer<'a> {
    type Ok = ();
    type Error = ConvertError;
    type SerializeSeq = Seq<'a>;
    type SerializeTuple = Fixed<'a>;
    type SerializeTupleStruct = Fixed<'a>;
    type SerializeTupleVariant = Fixed<'a>;
    type SerializeMap = Map<'a>;
    type SerializeStruct = Map<'a>;
    type SerializeStructVariant = Map<'a>;

    integers!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32,
        serialize_u64: u64);

    fn serialize_u128(self, value: u128) -> Result<(), ConvertError> {
        match i128::try_from(value) {
            Ok(value) => write::write_integer(self.out, value),
            Err(_) => write::write_magnitude(self.out, false, &value.to_le_bytes()),
        }
        Ok(())
    }

    fn serialize_bool(self, value: bool) -> Result<(), ConvertError> {
        write_name(self.out, if value { "true" } else { "false" })
    }

    fn serialize_f32(self, value: f32) -> Result<(), ConvertError> {
        self.float(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<(), ConvertError> {
        self.float(value)
    }

    fn serialize_char(self, value: char) -> Result<(), ConvertError> {
        write::write_integer(self.out, u32::from(value));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), ConvertError> {
        self.serialize_bytes(value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), ConvertError> {
        if u32::try_from(value.len()).is_err() {
            return Err(ConvertErrorKind::Message("a binary of 4 GiB or more".to_owned()).into());
        }
        write::write_binary(self.out, value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), ConvertError> {
        write_name(self.out, "undefined")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), ConvertError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), ConvertError> {
        write_name(self.out, "ok")
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), ConvertError> {
        write_name(self.out, name)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), ConvertError> {
        write_name(self.out, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ConvertError> {
        match name {
            ATOM => value.serialize(Verbatim { out: self.out, is_atom: true }),
            TERM => value.serialize(Verbatim { out: self.out, is_atom: false }),
            _ => value.serialize(self),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), ConvertError> {
        let tuple = self.variant(variant, 1)?;
        value.serialize(Serializer::new(tuple.out))
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Seq<'a>, ConvertError> {
        write::write_list_header(self.out, 0);
        let start = self.out.len();
        Ok(Seq { out: self.out, start, count: 0 })
    }

    fn serialize_tuple(self, len: usize) -> Result<Fixed<'a>, ConvertError> {
        Ok(self.tuple(len))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        len: usize,
    ) -> Result<Fixed<'a>, ConvertError> {
        Ok(self.tuple(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Fixed<'a>, ConvertError> {
        self.variant(variant, len)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Map<'a>, ConvertError> {
        Ok(self.map())
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Map<'a>, ConvertError> {
        Ok(self.map())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Map<'a>, ConvertError> {
        let tuple = self.variant(variant, 1)?;
        Ok(Serializer::new(tuple.out).map())
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// A list, whose length is set at the end.
pub(super) struct Seq<'a> {
    out: &'a mut Vec<u8>,
    /// Where the elements start.
    start: usize,
    count: usize,
}

impl SerializeSeq for Seq<'_> {
    type Ok = ();
    type Error = ConvertError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        self.count += 1;
        value.serialize(Serializer::new(self.out))
    }

    fn end(self) -> Result<(), ConvertError> {
        let Self { out, start, count } = self;
        let header = start - 5;
        if count == 0 {
            out.truncate(header);
            write::write_nil(out);
            return Ok(());
        }
        // A list of nothing but bytes is sent as a string, as OTP does. If every other byte is the
        // tag of a small integer, and there are two for each element, then that is what they are.
        let elements = &out[start..];
        let (pairs, rest) = elements.as_chunks::<2>();
        if let Ok(length) = u16::try_from(count)
            && rest.is_empty()
            && pairs.len() == count
            && pairs.iter().all(|pair| pair[0] == tag::SMALL_INTEGER)
        {
            for i in 0..count {
                out[header + 3 + i] = out[start + 2 * i + 1];
            }
            out.truncate(header + 3 + count);
            out[header] = tag::STRING;
            out[header + 1..header + 3].copy_from_slice(&length.to_be_bytes());
            return Ok(());
        }
        patch_count(out, start, count)?;
        write::write_nil(out);
        Ok(())
    }
}

/// A tuple, whose arity is known from the start.
pub(super) struct Fixed<'a> {
    out: &'a mut Vec<u8>,
}

impl Fixed<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        value.serialize(Serializer::new(self.out))
    }
}

impl SerializeTuple for Fixed<'_> {
    type Ok = ();
    type Error = ConvertError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        self.element(value)
    }

    fn end(self) -> Result<(), ConvertError> {
        Ok(())
    }
}

impl SerializeTupleStruct for Fixed<'_> {
    type Ok = ();
    type Error = ConvertError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        self.element(value)
    }

    fn end(self) -> Result<(), ConvertError> {
        Ok(())
    }
}

impl SerializeTupleVariant for Fixed<'_> {
    type Ok = ();
    type Error = ConvertError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        self.element(value)
    }

    fn end(self) -> Result<(), ConvertError> {
        Ok(())
    }
}

/// A map, whose number of pairs is set at the end.
pub(super) struct Map<'a> {
    out: &'a mut Vec<u8>,
    /// Where the pairs start.
    start: usize,
    pairs: usize,
    /// Where the keys are that could be the same; those of a struct cannot.
    keys: SmallVec<[usize; 16]>,
}

impl Map<'_> {
    fn field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ConvertError> {
        self.pairs += 1;
        write_name(self.out, name)?;
        value.serialize(Serializer::new(self.out))
    }

    fn finish(self) -> Result<(), ConvertError> {
        patch_count(self.out, self.start, self.pairs)?;
        if self.keys.len() < 2 {
            return Ok(());
        }
        // A peer would drop the connection over a key that comes twice.
        let limits = Limits { decoded_bytes_max: usize::MAX, ..Limits::DEFAULT };
        match keys::check_distinct(self.out, &self.keys, &(), &limits, self.start) {
            Err(error) if error.kind == DecodeErrorKind::DuplicateKey => {
                Err(ConvertErrorKind::DuplicateKey.into())
            }
            result => Ok(result?),
        }
    }
}

impl SerializeMap for Map<'_> {
    type Ok = ();
    type Error = ConvertError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ConvertError> {
        self.pairs += 1;
        self.keys.push(self.out.len());
        key.serialize(Serializer::new(self.out))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        value.serialize(Serializer::new(self.out))
    }

    fn end(self) -> Result<(), ConvertError> {
        self.finish()
    }
}

impl SerializeStruct for Map<'_> {
    type Ok = ();
    type Error = ConvertError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ConvertError> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), ConvertError> {
        self.finish()
    }
}

impl SerializeStructVariant for Map<'_> {
    type Ok = ();
    type Error = ConvertError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ConvertError> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), ConvertError> {
        self.finish()
    }
}

/// Takes the content of the types of this module: the name of an atom, or the bytes of a term.
struct Verbatim<'a> {
    out: &'a mut Vec<u8>,
    is_atom: bool,
}

impl Verbatim<'_> {
    fn refuse<T>(self) -> Result<T, ConvertError> {
        Err(ConvertErrorKind::Message("a type uses a reserved name".to_owned()).into())
    }
}

macro_rules! refuse {
    ($($method:ident: $type:ty),*) => {$(
        fn $method(self, _value: $type) -> Result<(), ConvertError> {
            self.refuse()
        }
    )*};
}

impl serde::Serializer for Verbatim<'_> {
    type Ok = ();
    type Error = ConvertError;
    type SerializeSeq = Impossible<(), ConvertError>;
    type SerializeTuple = Impossible<(), ConvertError>;
    type SerializeTupleStruct = Impossible<(), ConvertError>;
    type SerializeTupleVariant = Impossible<(), ConvertError>;
    type SerializeMap = Impossible<(), ConvertError>;
    type SerializeStruct = Impossible<(), ConvertError>;
    type SerializeStructVariant = Impossible<(), ConvertError>;

    fn serialize_str(self, value: &str) -> Result<(), ConvertError> {
        if self.is_atom { write_name(self.out, value) } else { self.refuse() }
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), ConvertError> {
        if self.is_atom {
            return self.refuse();
        }
        write::write_all(self.out, value);
        Ok(())
    }

    refuse!(serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32,
        serialize_i64: i64, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32,
        serialize_u64: u64, serialize_f32: f32, serialize_f64: f64, serialize_char: char,
        serialize_unit_struct: &'static str);

    fn serialize_none(self) -> Result<(), ConvertError> {
        self.refuse()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _value: &T) -> Result<(), ConvertError> {
        self.refuse()
    }

    fn serialize_unit(self) -> Result<(), ConvertError> {
        self.refuse()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
    ) -> Result<(), ConvertError> {
        self.refuse()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _value: &T,
    ) -> Result<(), ConvertError> {
        self.refuse()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), ConvertError> {
        self.refuse()
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self::SerializeSeq, ConvertError> {
        self.refuse()
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple, ConvertError> {
        self.refuse()
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleStruct, ConvertError> {
        self.refuse()
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, ConvertError> {
        self.refuse()
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self::SerializeMap, ConvertError> {
        self.refuse()
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStruct, ConvertError> {
        self.refuse()
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant, ConvertError> {
        self.refuse()
    }
}
