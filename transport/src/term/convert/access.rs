//! What a deserializer hands its visitors: the inside of tuples, maps, lists and enums.

use serde::de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::super::read::{AtomTable, Reader};
use super::super::skip::skip;
use super::super::{tag, validate};
use super::de::Deserializer;
use super::{ConvertError, ConvertErrorKind};

/// Elements of which the number is known: of a tuple, or the pairs of a map.
pub(super) struct Counted<'d, 'de, 'a, A: ?Sized> {
    pub(super) de: &'d mut Deserializer<'de, 'a, A>,
    pub(super) left: usize,
}

impl<A: AtomTable + ?Sized> Counted<'_, '_, '_, A> {
    #[inline]
    fn hint(&self) -> Option<usize> {
        Some(self.left.min(self.de.reader.remaining()))
    }

    /// Passes over what the visitor did not want, so many terms for each element that is left.
    #[inline]
    pub(super) fn finish(self, terms: usize) -> Result<(), ConvertError> {
        if self.left > 0 {
            skip(&mut self.de.reader, self.left.saturating_mul(terms))?;
        }
        Ok(())
    }
}

impl<'de, A: AtomTable + ?Sized> SeqAccess<'de> for Counted<'_, 'de, '_, A> {
    type Error = ConvertError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ConvertError> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                seed.deserialize(&mut *self.de).map(Some)
            }
            None => Ok(None),
        }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de, A: AtomTable + ?Sized> MapAccess<'de> for Counted<'_, 'de, '_, A> {
    type Error = ConvertError;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ConvertError> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                seed.deserialize(&mut *self.de).map(Some)
            }
            None => Ok(None),
        }
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ConvertError> {
        seed.deserialize(&mut *self.de)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

/// Where a list is.
pub(super) struct ListItems {
    /// Terms to come before the tail; bytes if `is_string`.
    pub(super) left: usize,
    pub(super) is_string: bool,
}

pub(super) enum Element {
    /// One element of a string.
    Byte(u8),
    /// The next term.
    Term,
}

impl ListItems {
    #[inline]
    pub(super) fn open<A: AtomTable + ?Sized>(
        de: &mut Deserializer<'_, '_, A>,
    ) -> Result<Self, ConvertError> {
        match de.peek()? {
            tag::NIL | tag::STRING | tag::LIST => {
                let mut items = Self { left: 0, is_string: false };
                items.open_tail(de)?;
                Ok(items)
            }
            _ => Err(de.unexpected("a list")),
        }
    }

    /// Goes on with the tail, which is a list again or an error.
    fn open_tail<A: AtomTable + ?Sized>(
        &mut self,
        de: &mut Deserializer<'_, '_, A>,
    ) -> Result<(), ConvertError> {
        let position = de.reader.position();
        let mut reader = de.reader;
        match reader.u8()? {
            // The end, which is as good as an empty string.
            tag::NIL => *self = Self { left: 0, is_string: true },
            tag::STRING => *self = Self { left: reader.u16()?.into(), is_string: true },
            tag::LIST => {
                let left = reader.u32()? as usize;
                validate::check_count(position, left, de.limits)?;
                *self = Self { left, is_string: false };
            }
            _ => return Err(de.unexpected("the end of a proper list")),
        }
        de.reader = reader;
        Ok(())
    }

    #[inline]
    pub(super) fn next_element<A: AtomTable + ?Sized>(
        &mut self,
        de: &mut Deserializer<'_, '_, A>,
    ) -> Result<Option<Element>, ConvertError> {
        while self.left == 0 {
            if self.is_string {
                return Ok(None);
            }
            self.open_tail(de)?;
        }
        self.left -= 1;
        if self.is_string {
            return Ok(Some(Element::Byte(de.reader.u8()?)));
        }
        Ok(Some(Element::Term))
    }
}

pub(super) struct List<'d, 'de, 'a, A: ?Sized> {
    pub(super) de: &'d mut Deserializer<'de, 'a, A>,
    pub(super) items: ListItems,
}

impl<A: AtomTable + ?Sized> List<'_, '_, '_, A> {
    /// Passes over what the visitor did not want.
    #[inline]
    pub(super) fn finish(mut self) -> Result<(), ConvertError> {
        while let Some(element) = self.items.next_element(self.de)? {
            if let Element::Term = element {
                skip(&mut self.de.reader, 1)?;
            }
        }
        Ok(())
    }
}

impl<'de, A: AtomTable + ?Sized> SeqAccess<'de> for List<'_, 'de, '_, A> {
    type Error = ConvertError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ConvertError> {
        match self.items.next_element(self.de)? {
            None => Ok(None),
            Some(Element::Term) => seed.deserialize(&mut *self.de).map(Some),
            Some(Element::Byte(byte)) => {
                // As the term it stands for, so that every type reads it alike.
                let Deserializer { atoms, limits, depth, .. } = *self.de;
                let reader = Reader::new(&tag::SMALL_INTEGERS[usize::from(byte)]);
                let mut element = Deserializer { reader, atoms, limits, depth };
                seed.deserialize(&mut element).map(Some)
            }
        }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.items.left.min(self.de.reader.remaining()))
    }
}

/// What follows the atom of a tagged tuple.
pub(super) struct Tagged<'d, 'de, 'a, A: ?Sized> {
    pub(super) de: &'d mut Deserializer<'de, 'a, A>,
    pub(super) left: usize,
}

impl<A: AtomTable + ?Sized> Tagged<'_, '_, '_, A> {
    #[inline]
    fn check(&self, expected: &'static str, values: usize) -> Result<(), ConvertError> {
        if self.left == values {
            return Ok(());
        }
        let position = self.de.reader.position();
        Err(ConvertErrorKind::Unexpected { expected, came: "a tuple of another arity", position }
            .into())
    }
}

impl<'de, A: AtomTable + ?Sized> EnumAccess<'de> for Tagged<'_, 'de, '_, A> {
    type Error = ConvertError;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), ConvertError> {
        if !self.de.is_atom() {
            return Err(self.de.unexpected("the atom of a tagged tuple"));
        }
        let variant = seed.deserialize(&mut *self.de)?;
        Ok((variant, self))
    }
}

impl<'de, A: AtomTable + ?Sized> VariantAccess<'de> for Tagged<'_, 'de, '_, A> {
    type Error = ConvertError;

    #[inline]
    fn unit_variant(self) -> Result<(), ConvertError> {
        self.check("an atom, or a tuple of one", 0)
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, ConvertError> {
        self.check("{variant, value}", 1)?;
        seed.deserialize(self.de)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.check("{variant, values…}", len)?;
        self.de.tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.check("{variant, #{…}}", 1)?;
        self.de.map(visitor)
    }
}
