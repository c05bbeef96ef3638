//! What identifiers and the like consist of, borrowed.

use num_bigint::{BigInt, Sign};

use super::super::{Creation, DecodeError, DecodeErrorKind, Pid, Reference};
use super::atom;

/// Bytes of which the last does not count whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitStringRef<'a> {
    /// The bytes; unused bits of the last are the low ones.
    pub bytes: &'a [u8],
    /// How many bits of the last byte count, 1 to 7.
    pub last_bits: u8,
}

/// An integer beyond 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BigIntegerRef<'a> {
    /// Whether it is below zero.
    pub is_negative: bool,
    /// The magnitude, lowest byte first.
    pub digits: &'a [u8],
}

/// A pid whose node name is borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PidRef<'a> {
    /// The node the process runs on.
    pub node: &'a str,
    /// Number, serial and creation.
    pub(super) numbers: &'a [u8; 12],
}

/// A port whose node name is borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRef<'a> {
    /// The node the port belongs to.
    pub node: &'a str,
    /// The port number.
    pub id: u64,
    /// The incarnation of the node.
    pub creation: Creation,
}

/// A reference whose node name is borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceRef<'a> {
    /// The node that made the reference.
    pub node: &'a str,
    /// The creation, and the words in wire order: at most six times four bytes.
    pub(super) words: &'a [[u8; 4]],
}

impl PidRef<'_> {
    /// The process number.
    #[inline]
    #[must_use]
    pub fn id(&self) -> u32 {
        self.number(0)
    }

    /// The number's second part.
    #[inline]
    #[must_use]
    pub fn serial(&self) -> u32 {
        self.number(1)
    }

    /// The incarnation of the node.
    #[inline]
    #[must_use]
    pub fn creation(&self) -> Creation {
        Creation(self.number(2))
    }

    #[inline]
    fn number(&self, index: usize) -> u32 {
        self.numbers.as_chunks().0.get(index).map_or(0, |number| u32::from_be_bytes(*number))
    }

    /// The pid, owned.
    ///
    /// # Errors
    /// Not for a pid that was read from bytes.
    pub fn to_pid(&self) -> Result<Pid, DecodeError> {
        let (id, serial, creation) = (self.id(), self.serial(), self.creation());
        Ok(Pid { node: atom(self.node)?, id, serial, creation })
    }
}

impl<'a> PortRef<'a> {
    #[inline]
    pub(super) fn new(node: &'a str, id: u64, creation: [u8; 4]) -> Self {
        Self { node, id, creation: Creation(u32::from_be_bytes(creation)) }
    }
}

impl<'a> ReferenceRef<'a> {
    /// The incarnation of the node.
    #[must_use]
    pub fn creation(&self) -> Creation {
        Creation(self.words.first().map_or(0, |word| u32::from_be_bytes(*word)))
    }

    /// The words in wire order.
    pub fn words(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        let words = self.words.split_first().map_or(&[][..], |(_, words)| words);
        words.iter().map(|word| u32::from_be_bytes(*word))
    }
}

impl BigIntegerRef<'_> {
    /// The integer as a number to calculate with.
    #[must_use]
    pub fn to_bigint(&self) -> BigInt {
        let sign = if self.is_negative { Sign::Minus } else { Sign::Plus };
        BigInt::from_bytes_le(sign, self.digits)
    }
}

impl ReferenceRef<'_> {
    /// The reference, owned.
    ///
    /// # Errors
    /// Not for a reference that was read from bytes.
    pub fn to_reference(&self) -> Result<Reference, DecodeError> {
        let mut words = [0; Reference::WORDS_MAX];
        let count = self.words().len();
        words.iter_mut().zip(self.words()).for_each(|(to, word)| *to = word);
        let words = words.get(..count).unwrap_or(&[]);
        Reference::new(atom(self.node)?, self.creation(), words).ok_or_else(|| {
            let count = u16::try_from(count).unwrap_or(u16::MAX);
            DecodeError::new(0, DecodeErrorKind::ReferenceWords(count))
        })
    }
}
