//! The owned term and its parts.

use bytes::Bytes;

use super::{Atom, BigInteger, Pid, Port, Reference, order};

/// Any Erlang term, owned.
///
/// `==` is Erlang's `=:=`: `1` and `1.0` differ, as do `0.0` and `-0.0` (OTP 27 and later).
/// [`Term::compare`] is Erlang's term order, in which they are equal; `Ord` refines it to a total
/// order. `Display` prints on one line like Erlang's `~0tp`.
///
/// Values are kept in a normal form by everything here that makes terms: integers are
/// [`Term::Integer`] if they fit, the empty list is an empty [`Term::List`], the elements of an
/// [`Term::ImproperList`] are at least one and its tail is no list. What is put together by hand
/// should keep to it (see [`Term::improper_list`]), or equal terms may compare as different.
#[derive(Clone, Debug)]
pub enum Term {
    /// An integer of at most 64 bits.
    Integer(i64),
    /// An integer that needs more than 64 bits.
    BigInteger(BigInteger),
    /// A float. Erlang has only finite ones; others are encoded as atoms.
    Float(f64),
    /// An atom.
    Atom(Atom),
    /// A process identifier.
    Pid(Pid),
    /// A port identifier.
    Port(Port),
    /// A reference.
    Reference(Reference),
    /// A closure of some node.
    Fun(Box<Fun>),
    /// `fun M:F/A`.
    Export(Box<Export>),
    /// A tuple.
    Tuple(Vec<Term>),
    /// A proper list; a string is a list of integers.
    List(Vec<Term>),
    /// A list whose last tail is not the empty list.
    ImproperList(Vec<Term>, Box<Term>),
    /// A map.
    Map(Map),
    /// A binary.
    Binary(Bytes),
    /// A bit string that does not end on a byte.
    BitString(BitString),
    /// A native record (OTP 29).
    Record(Box<Record>),
}

/// A closure: code that only the node of `pid`, or one with the same module loaded, can run. It is
/// kept in parts, not as bytes, so that it can be sent on over any connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fun {
    /// Arguments it takes.
    pub arity: u8,
    /// MD5 of the module's code.
    pub uniq: [u8; 16],
    /// Its number within the module.
    pub index: u32,
    /// The module it is defined in.
    pub module: Atom,
    /// The number older releases use.
    pub old_index: i64,
    /// The hash older releases use.
    pub old_uniq: i64,
    /// The process that made it.
    pub pid: Pid,
    /// The values it captured.
    pub free: Vec<Term>,
}

/// `fun Module:Function/Arity`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Export {
    /// The module.
    pub module: Atom,
    /// The function.
    pub function: Atom,
    /// Arguments it takes.
    pub arity: u8,
}

/// A native record (OTP 29, tag 67).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Whether the defining module exports it.
    pub exported: bool,
    /// The defining module.
    pub module: Atom,
    /// The record's name.
    pub name: Atom,
    /// Field names with their values, in the order they came.
    pub fields: Vec<(Atom, Term)>,
}

/// A bit string whose length is not a multiple of eight; the others are binaries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BitString {
    /// Not empty; the unused low bits of the last byte are zero.
    bytes: Bytes,
    /// Bits used in the last byte, 1..=7.
    last_bits: u8,
}

impl BitString {
    /// A bit string of these bytes, of whose last one only the `last_bits` high bits count.
    /// `None` if there is no byte or `last_bits` is not 1..=7.
    #[must_use]
    pub fn new(bytes: Bytes, last_bits: u8) -> Option<Self> {
        if !(1..=7).contains(&last_bits) {
            return None;
        }
        let last = *bytes.last()?;
        let kept = last & (0xff << (8 - last_bits));
        if kept == last {
            return Some(Self { bytes, last_bits });
        }
        let mut copy = bytes.to_vec();
        if let Some(byte) = copy.last_mut() {
            *byte = kept;
        }
        Some(Self { bytes: Bytes::from(copy), last_bits })
    }

    /// The bytes; the unused low bits of the last one are zero.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Bits used in the last byte, 1..=7.
    #[must_use]
    pub fn last_bits(&self) -> u8 {
        self.last_bits
    }
}

/// A map: pairs in key order, no key twice.
///
/// Erlang leaves the order of pairs open; here it is that of [`Term::compare_as_key`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Map {
    pairs: Vec<(Term, Term)>,
}

/// The same key came twice where a map is made from pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuplicateKey;

impl std::fmt::Display for DuplicateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a map cannot have the same key twice")
    }
}

impl std::error::Error for DuplicateKey {}

impl Map {
    /// The empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A map of these pairs.
    ///
    /// # Errors
    /// When a key occurs twice.
    pub fn from_pairs(mut pairs: Vec<(Term, Term)>) -> Result<Self, DuplicateKey> {
        // OTP up to 25 sends small maps in key order, so most often there is nothing to do.
        let ordered = |pairs: &[(Term, Term)]| {
            pairs.windows(2).all(|pair| order::as_key(&pair[0].0, &pair[1].0).is_lt())
        };
        if !ordered(&pairs) {
            pairs.sort_unstable_by(|a, b| order::as_key(&a.0, &b.0));
            if !ordered(&pairs) {
                return Err(DuplicateKey);
            }
        }
        Ok(Self { pairs })
    }

    /// The pairs in key order.
    #[must_use]
    pub fn pairs(&self) -> &[(Term, Term)] {
        &self.pairs
    }

    /// The number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are no pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &Term) -> Option<&Term> {
        let found = self.pairs.binary_search_by(|(k, _)| order::as_key(k, key)).ok()?;
        self.pairs.get(found).map(|(_, value)| value)
    }

    /// The value of an atom key.
    #[must_use]
    pub fn get_atom(&self, key: &str) -> Option<&Term> {
        let by_name = |k: &Term| match k {
            Term::Atom(atom) => atom.as_str().cmp(key),
            // Of all types only numbers come before atoms.
            Term::Integer(_) | Term::BigInteger(_) | Term::Float(_) => std::cmp::Ordering::Less,
            _ => std::cmp::Ordering::Greater,
        };
        let found = self.pairs.binary_search_by(|(k, _)| by_name(k)).ok()?;
        self.pairs.get(found).map(|(_, value)| value)
    }

    /// Sets the value of a key and returns the one it had.
    pub fn insert(&mut self, key: Term, value: Term) -> Option<Term> {
        match self.pairs.binary_search_by(|(k, _)| order::as_key(k, &key)) {
            Ok(found) => Some(std::mem::replace(&mut self.pairs[found].1, value)),
            Err(place) => {
                self.pairs.insert(place, (key, value));
                None
            }
        }
    }
}

impl IntoIterator for Map {
    type Item = (Term, Term);
    type IntoIter = std::vec::IntoIter<(Term, Term)>;

    fn into_iter(self) -> Self::IntoIter {
        self.pairs.into_iter()
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = &'a (Term, Term);
    type IntoIter = std::slice::Iter<'a, (Term, Term)>;

    fn into_iter(self) -> Self::IntoIter {
        self.pairs.iter()
    }
}

/// Of equal keys the last value counts, as in a map expression.
impl FromIterator<(Term, Term)> for Map {
    fn from_iter<I: IntoIterator<Item = (Term, Term)>>(pairs: I) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| order::as_key(&a.0, &b.0));
        pairs.dedup_by(|later, earlier| {
            let same = order::as_key(&later.0, &earlier.0).is_eq();
            if same {
                std::mem::swap(&mut later.1, &mut earlier.1);
            }
            same
        });
        Self { pairs }
    }
}

impl Term {
    /// Levels an owned term may be nested when it comes from bytes or text: dropping, copying and
    /// comparing terms go down level by level on the stack, so what a program builds should stay
    /// within it too. [`validate`](super::validate) and the borrowed views have no such bound.
    pub const DEPTH_MAX: usize = 512;

    /// The empty list.
    #[must_use]
    pub const fn nil() -> Self {
        Self::List(Vec::new())
    }

    /// The atom of a name known when the program is compiled.
    ///
    /// # Panics
    /// As [`Atom::from_static`].
    #[must_use]
    pub const fn atom(name: &'static str) -> Self {
        Self::Atom(Atom::from_static(name))
    }

    /// A list of these elements and this tail, in normal form: a tail that is a list continues it.
    #[must_use]
    pub fn improper_list(mut elements: Vec<Self>, tail: Self) -> Self {
        match tail {
            Self::List(rest) if elements.is_empty() => Self::List(rest),
            tail if elements.is_empty() => tail,
            Self::List(rest) => {
                elements.extend(rest);
                Self::List(elements)
            }
            Self::ImproperList(rest, tail) => {
                elements.extend(rest);
                Self::ImproperList(elements, tail)
            }
            tail => Self::ImproperList(elements, Box::new(tail)),
        }
    }

    /// A list of the characters of a text, which is what `"text"` means in Erlang source.
    #[must_use]
    pub fn charlist(text: &str) -> Self {
        Self::List(text.chars().map(|c| Self::Integer(i64::from(u32::from(c)))).collect())
    }

    /// The text of a binary, or of a list of characters.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        match self {
            Self::Binary(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
            Self::List(elements) => elements
                .iter()
                .map(|element| match element {
                    Self::Integer(code) => u32::try_from(*code).ok().and_then(char::from_u32),
                    _ => None,
                })
                .collect(),
            _ => None,
        }
    }

    /// The number, if this is an integer of at most 64 bits.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(*value) } else { None }
    }

    /// The atom, if this is one.
    #[must_use]
    pub fn as_atom(&self) -> Option<&Atom> {
        if let Self::Atom(atom) = self { Some(atom) } else { None }
    }

    /// The pid, if this is one.
    #[must_use]
    pub fn as_pid(&self) -> Option<&Pid> {
        if let Self::Pid(pid) = self { Some(pid) } else { None }
    }

    /// The reference, if this is one.
    #[must_use]
    pub fn as_reference(&self) -> Option<&Reference> {
        if let Self::Reference(reference) = self { Some(reference) } else { None }
    }

    /// The elements, if this is a tuple.
    #[must_use]
    pub fn as_tuple(&self) -> Option<&[Self]> {
        if let Self::Tuple(elements) = self { Some(elements) } else { None }
    }

    /// The elements, if this is a proper list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(elements) = self { Some(elements) } else { None }
    }

    /// The map, if this is one.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        if let Self::Map(map) = self { Some(map) } else { None }
    }

    /// The bytes, if this is a binary.
    #[must_use]
    pub fn as_binary(&self) -> Option<&Bytes> {
        if let Self::Binary(bytes) = self { Some(bytes) } else { None }
    }
}

macro_rules! from_integer {
    ($($type:ty),*) => {$(
        impl From<$type> for Term {
            fn from(value: $type) -> Self {
                Self::Integer(i64::from(value))
            }
        }
    )*};
}

macro_rules! from_wide_integer {
    ($($type:ty),*) => {$(
        impl From<$type> for Term {
            fn from(value: $type) -> Self {
                match i64::try_from(value) {
                    Ok(value) => Self::Integer(value),
                    Err(_) => Self::from(num_bigint::BigInt::from(value)),
                }
            }
        }
    )*};
}

from_integer!(i8, i16, i32, i64, u8, u16, u32);
from_wide_integer!(u64, i128, u128, usize, isize);

macro_rules! from_part {
    ($($type:ident),*) => {$(
        impl From<$type> for Term {
            fn from(value: $type) -> Self {
                Self::$type(value)
            }
        }

        impl From<&$type> for Term {
            fn from(value: &$type) -> Self {
                Self::$type(value.clone())
            }
        }
    )*};
}

from_part!(Atom, Pid, Port, Reference, Map, BigInteger, BitString);

impl From<f64> for Term {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<bool> for Term {
    fn from(value: bool) -> Self {
        Self::Atom(Atom::from(value))
    }
}

/// A binary, as in Elixir and in newer Erlang interfaces; see [`Term::charlist`] for the other.
impl From<&str> for Term {
    fn from(value: &str) -> Self {
        Self::Binary(Bytes::copy_from_slice(value.as_bytes()))
    }
}

/// A binary.
impl From<String> for Term {
    fn from(value: String) -> Self {
        Self::Binary(Bytes::from(value))
    }
}

impl From<Bytes> for Term {
    fn from(value: Bytes) -> Self {
        Self::Binary(value)
    }
}

impl From<&[u8]> for Term {
    fn from(value: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(value))
    }
}

/// A proper list.
impl From<Vec<Term>> for Term {
    fn from(value: Vec<Self>) -> Self {
        Self::List(value)
    }
}

impl From<Export> for Term {
    fn from(value: Export) -> Self {
        Self::Export(Box::new(value))
    }
}

impl From<Fun> for Term {
    fn from(value: Fun) -> Self {
        Self::Fun(Box::new(value))
    }
}

impl From<Record> for Term {
    fn from(value: Record) -> Self {
        Self::Record(Box::new(value))
    }
}

/// A reference to a term stands for a copy of it, so that [`term!`](macro@crate::term) takes both.
impl From<&Term> for Term {
    fn from(value: &Self) -> Self {
        value.clone()
    }
}
