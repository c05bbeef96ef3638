//! Terms seen where they are, in the bytes they came in.

mod take;

use std::fmt;

use num_bigint::{BigInt, Sign};

use self::take::Terms;
use super::{Atom, Creation, DecodeError, DecodeErrorKind, Limits, Reference, Term, tag};
use super::{quick, skip};

/// A term in its encoded form, taken apart one level: nothing is copied and nothing allocated.
///
/// To get to what follows a container its content is passed over, so that looking at everything
/// costs up to one pass for each level of nesting; messages seldom have more than a few. Making a
/// view costs the same whatever the size of the term.
///
/// Match on it, and iterate over what it contains:
///
/// ```
/// use krarup_transport::term::{Limits, TermRef};
///
/// let bytes = b"\x68\x02\x77\x05hello\x6d\x00\x00\x00\x05world";
/// let (term, _) = TermRef::decode(bytes, &[], &Limits::DEFAULT)?;
/// assert!(matches!(
///     term.elements(),
///     Some([TermRef::Atom("hello"), TermRef::Binary(b"world")])
/// ));
/// # Ok::<(), krarup_transport::term::DecodeError>(())
/// ```
#[derive(Clone, Copy)]
pub enum TermRef<'a> {
    /// An integer of at most 64 bits.
    Integer(i64),
    /// A larger integer.
    BigInteger(BigIntegerRef<'a>),
    /// A float.
    Float(f64),
    /// An atom.
    Atom(&'a str),
    /// A process identifier.
    Pid(PidRef<'a>),
    /// A port identifier.
    Port(PortRef<'a>),
    /// A reference.
    Reference(ReferenceRef<'a>),
    /// A tuple.
    Tuple(TupleRef<'a>),
    /// A list, proper or not, also one sent as a string.
    List(ListRef<'a>),
    /// A map.
    Map(MapRef<'a>),
    /// A binary.
    Binary(&'a [u8]),
    /// A bit string.
    BitString(BitStringRef<'a>),
    /// A closure, an export, a native record, or anything that involves an atom in the legacy
    /// encoding with letters beyond ASCII: [`Encoded::to_term`] takes it apart.
    Other(Encoded<'a>),
}

/// The bytes of one term with the atom table they refer to.
#[derive(Clone, Copy)]
pub struct Encoded<'a> {
    /// The term, and whatever follows it.
    from: &'a [u8],
    atoms: &'a [Atom],
}

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
    numbers: &'a [u8; 12],
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
    words: &'a [[u8; 4]],
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
    pub fn to_pid(&self) -> Result<super::Pid, DecodeError> {
        let (id, serial, creation) = (self.id(), self.serial(), self.creation());
        Ok(super::Pid { node: atom(self.node)?, id, serial, creation })
    }
}

impl<'a> PortRef<'a> {
    #[inline]
    fn new(node: &'a str, id: u64, creation: [u8; 4]) -> Self {
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

/// A tuple.
#[derive(Clone, Copy)]
pub struct TupleRef<'a> {
    encoded: Encoded<'a>,
}

/// A list.
#[derive(Clone, Copy)]
pub struct ListRef<'a> {
    encoded: Encoded<'a>,
}

/// A map.
#[derive(Clone, Copy)]
pub struct MapRef<'a> {
    encoded: Encoded<'a>,
}

impl<'a> TermRef<'a> {
    /// Validates the term at the start of `bytes` (without a version byte) and returns it with the
    /// number of bytes it takes. `atoms` is the table of the message's header, if it has one.
    ///
    /// # Errors
    /// As [`validate`](super::validate).
    #[inline]
    pub fn decode(
        bytes: &'a [u8],
        atoms: &'a [Atom],
        limits: &Limits,
    ) -> Result<(Self, usize), DecodeError> {
        if let Some(content) = quick::binary(bytes, limits) {
            return Ok((TermRef::Binary(content), 5 + content.len()));
        }
        let len = super::validate_with(bytes, atoms, limits)?.len;
        match Terms::new(&bytes[..len], atoms).take() {
            Some(term) => Ok((term, len)),
            None => Err(not_valid(bytes, atoms)),
        }
    }

    /// The term at the start of bytes that have passed [`validate`](super::validate) before. With
    /// other bytes the result may be an error or a term that ends early, nothing worse.
    ///
    /// # Errors
    /// When the bytes were not valid after all.
    pub fn validated(bytes: &'a [u8], atoms: &'a [Atom]) -> Result<Self, DecodeError> {
        Terms::new(bytes, atoms).take().ok_or_else(|| not_valid(bytes, atoms))
    }

    /// A copy that stands on its own.
    ///
    /// # Errors
    /// When the term is nested deeper than [`Term::DEPTH_MAX`], or takes more memory than
    /// `limits` allow.
    pub fn to_term(&self, limits: &Limits) -> Result<Term, DecodeError> {
        Ok(match *self {
            Self::Integer(value) => Term::Integer(value),
            Self::BigInteger(value) => Term::from(value.to_bigint()),
            Self::Float(value) => Term::Float(value),
            Self::Atom(name) => Term::Atom(atom(name)?),
            Self::Pid(pid) => Term::Pid(pid.to_pid()?),
            Self::Port(port) => Term::Port(super::Port {
                node: atom(port.node)?,
                id: port.id,
                creation: port.creation,
            }),
            Self::Reference(reference) => Term::Reference(reference.to_reference()?),
            Self::Binary(bytes) => Term::from(bytes),
            Self::BitString(BitStringRef { bytes, last_bits }) => {
                let bytes = bytes::Bytes::copy_from_slice(bytes);
                match super::BitString::new(bytes.clone(), last_bits) {
                    Some(bits) => Term::BitString(bits),
                    None => Term::Binary(bytes),
                }
            }
            Self::Tuple(TupleRef { encoded })
            | Self::List(ListRef { encoded })
            | Self::Map(MapRef { encoded })
            | Self::Other(encoded) => encoded.to_term(limits)?,
        })
    }

    /// The elements, if this is a tuple of exactly so many.
    #[must_use]
    pub fn elements<const N: usize>(&self) -> Option<[Self; N]> {
        let Self::Tuple(tuple) = self else { return None };
        let mut iter = tuple.iter();
        if iter.left != N {
            return None;
        }
        let mut elements = [TermRef::Integer(0); N];
        for element in &mut elements {
            *element = iter.next()?;
        }
        Some(elements)
    }

    /// The number, if this is an integer of at most 64 bits.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(*value) } else { None }
    }

    /// The name, if this is an atom.
    #[must_use]
    pub fn as_atom(&self) -> Option<&'a str> {
        if let Self::Atom(name) = self { Some(name) } else { None }
    }

    /// The bytes, if this is a binary.
    #[must_use]
    pub fn as_binary(&self) -> Option<&'a [u8]> {
        if let Self::Binary(bytes) = self { Some(bytes) } else { None }
    }
}

impl<'a> Encoded<'a> {
    /// The bytes of the term, whose end this looks for. They may refer to [`Encoded::atoms`].
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        let after = skip::after(self.from, 1).map_or(0, <[u8]>::len);
        &self.from[..self.from.len() - after]
    }

    /// The atom table the bytes refer to.
    #[must_use]
    pub fn atoms(&self) -> &'a [Atom] {
        self.atoms
    }

    /// The term, owned.
    ///
    /// # Errors
    /// As [`TermRef::to_term`].
    pub fn to_term(&self, limits: &Limits) -> Result<Term, DecodeError> {
        Term::decode(self.from, self.atoms, limits).map(|(term, _)| term)
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

impl<'a> TupleRef<'a> {
    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().left
    }

    /// Whether this is `{}`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in order.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> Elements<'a> {
        let Encoded { from, atoms } = self.encoded;
        let (left, content) = match *from {
            [tag::SMALL_TUPLE, arity, ref content @ ..] => (usize::from(arity), content),
            [_, a, b, c, d, ref content @ ..] => {
                (u32::from_be_bytes([a, b, c, d]) as usize, content)
            }
            _ => (0, from),
        };
        Elements { content: Terms::new(content, atoms), left }
    }

    /// The element at this place, counted from 0. Passes over the elements before it.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<TermRef<'a>> {
        let mut elements = self.iter();
        if index >= elements.left {
            return None;
        }
        elements.content.skip(index)?;
        elements.content.take()
    }
}

impl<'a> IntoIterator for TupleRef<'a> {
    type Item = TermRef<'a>;
    type IntoIter = Elements<'a>;

    fn into_iter(self) -> Elements<'a> {
        self.iter()
    }
}

/// The elements of a tuple.
#[derive(Clone)]
pub struct Elements<'a> {
    content: Terms<'a>,
    left: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = TermRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<TermRef<'a>> {
        self.left = self.left.checked_sub(1)?;
        self.content.take()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

impl<'a> ListRef<'a> {
    /// Whether this is `[]`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.encoded.from, [tag::NIL, ..] | [tag::STRING, 0, 0, ..])
    }

    /// The elements in order; [`ListItems::tail`] says at the end whether the list is proper.
    #[must_use]
    pub fn iter(&self) -> ListItems<'a> {
        let Encoded { from, atoms } = self.encoded;
        ListItems { content: Terms::new(from, atoms), left: Left::Tail, tail: None }
    }

    /// The bytes, if the list came as a string of bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match *self.encoded.from {
            [tag::NIL, ..] => Some(&[]),
            [tag::STRING, a, b, ref bytes @ ..] => bytes.get(..u16::from_be_bytes([a, b]).into()),
            _ => None,
        }
    }
}

impl<'a> IntoIterator for ListRef<'a> {
    type Item = TermRef<'a>;
    type IntoIter = ListItems<'a>;

    fn into_iter(self) -> ListItems<'a> {
        self.iter()
    }
}

/// The elements of a list.
#[derive(Clone)]
pub struct ListItems<'a> {
    content: Terms<'a>,
    left: Left,
    tail: Option<TermRef<'a>>,
}

#[derive(Clone, Copy)]
enum Left {
    /// So many terms, then the tail.
    Terms(usize),
    /// So many bytes, each an element; then nothing.
    Bytes(usize),
    /// The tail, which may be a list again.
    Tail,
    Nothing,
}

impl<'a> ListItems<'a> {
    /// What follows the last element in an improper list; `None` while elements are left.
    #[must_use]
    pub fn tail(&self) -> Option<TermRef<'a>> {
        self.tail
    }

    /// Goes on to the tail: to the list it is, or to the end. Nothing if the bytes are no list.
    fn open_tail(&mut self) -> Option<()> {
        match *self.content.rest()?.first()? {
            tag::LIST => {
                let [_, a, b, c, d] = self.content.bytes()?;
                self.left = Left::Terms(u32::from_be_bytes([a, b, c, d]) as usize);
            }
            tag::STRING => {
                let [_, a, b] = self.content.bytes()?;
                self.left = Left::Bytes(u16::from_be_bytes([a, b]).into());
            }
            tag::NIL => self.left = Left::Nothing,
            _ => {
                self.left = Left::Nothing;
                self.tail = self.content.take();
            }
        }
        Some(())
    }
}

impl<'a> Iterator for ListItems<'a> {
    type Item = TermRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<TermRef<'a>> {
        loop {
            match self.left {
                Left::Terms(0) | Left::Tail => self.open_tail()?,
                Left::Terms(count) => {
                    self.left = Left::Terms(count - 1);
                    return self.content.take();
                }
                Left::Bytes(0) | Left::Nothing => return None,
                Left::Bytes(count) => {
                    self.left = Left::Bytes(count - 1);
                    let [byte] = self.content.bytes()?;
                    return Some(TermRef::Integer(byte.into()));
                }
            }
        }
    }
}

impl<'a> MapRef<'a> {
    /// The number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().0.left / 2
    }

    /// Whether there are no pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pairs in the order they came.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> Pairs<'a> {
        let Encoded { from, atoms } = self.encoded;
        let (pairs, content) = match *from {
            [_, a, b, c, d, ref content @ ..] => (u32::from_be_bytes([a, b, c, d]), content),
            _ => (0, from),
        };
        let left = (pairs as usize).saturating_mul(2);
        Pairs(Elements { content: Terms::new(content, atoms), left })
    }

    /// The value of an atom key. Passes over the pairs before it.
    #[must_use]
    pub fn get_atom(&self, key: &str) -> Option<TermRef<'a>> {
        let Pairs(mut elements) = self.iter();
        while elements.left > 0 {
            if elements.next()?.as_atom() == Some(key) {
                return elements.next();
            }
            elements.left = elements.left.checked_sub(1)?;
            elements.content.skip(1)?;
        }
        None
    }
}

impl<'a> IntoIterator for MapRef<'a> {
    type Item = (TermRef<'a>, TermRef<'a>);
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Pairs<'a> {
        self.iter()
    }
}

/// The pairs of a map.
#[derive(Clone)]
pub struct Pairs<'a>(Elements<'a>);

impl<'a> Iterator for Pairs<'a> {
    type Item = (TermRef<'a>, TermRef<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?, self.0.next()?))
    }
}

/// Prints as the owned term does.
impl fmt::Debug for TermRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_term(&Limits::DEFAULT) {
            Ok(term) => fmt::Debug::fmt(&term, f),
            Err(error) => write!(f, "({error})"),
        }
    }
}

/// Why there is no term in bytes.
#[cold]
fn not_valid(bytes: &[u8], atoms: &[Atom]) -> DecodeError {
    match super::validate_with(bytes, atoms, &Limits::DEFAULT) {
        Err(error) => error,
        // Only a reference that the table lacks can pass one and not the other.
        Ok(_) => DecodeError::new(0, DecodeErrorKind::UnknownAtomReference(0)),
    }
}

fn atom(name: &str) -> Result<Atom, DecodeError> {
    Atom::new(name).map_err(|_| {
        let characters_max = Atom::CHARACTERS_MAX;
        DecodeError::new(0, DecodeErrorKind::AtomTooLong { characters_max })
    })
}

#[cfg(test)]
mod tests;
