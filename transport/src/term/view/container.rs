//! What contains other terms.

use std::fmt;

use super::super::{Atom, skip, tag};
use super::{TermKind, TermRef};

/// Terms that follow one another.
///
/// What was given out is passed over when the term behind it is asked for, and not before: the last
/// term of each level, and everything behind what one was looking for, never is.
#[derive(Clone, Copy)]
struct Terms<'a> {
    rest: &'a [u8],
    /// Terms at the front that have been given out: one at most.
    given: bool,
    atoms: &'a [Atom],
}

impl<'a> Terms<'a> {
    #[inline]
    fn new(bytes: &'a [u8], atoms: &'a [Atom]) -> Self {
        Self { rest: bytes, given: false, atoms }
    }

    /// The bytes from the next term on.
    #[inline]
    fn rest(&mut self) -> Option<&'a [u8]> {
        if self.given {
            self.rest = skip::after_one(self.rest)?;
            self.given = false;
        }
        Some(self.rest)
    }

    /// The next term; nothing at the end of the bytes.
    #[inline]
    fn next(&mut self) -> Option<TermRef<'a>> {
        let from = self.rest()?;
        self.given = true;
        (!from.is_empty()).then_some(TermRef { from, atoms: self.atoms })
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.rest = skip::after(self.rest()?, count)?;
        Some(())
    }

    /// Takes bytes that are no term of their own.
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest()?.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }
}

/// A tuple.
#[derive(Clone, Copy)]
pub struct TupleRef<'a> {
    arity: usize,
    content: &'a [u8],
    atoms: &'a [Atom],
}

impl<'a> TupleRef<'a> {
    #[inline]
    pub(super) fn new(arity: usize, content: &'a [u8], atoms: &'a [Atom]) -> Self {
        Self { arity, content, atoms }
    }

    /// The number of elements.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.arity
    }

    /// Whether this is `{}`.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.arity == 0
    }

    /// The elements in order.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> Elements<'a> {
        Elements { terms: Terms::new(self.content, self.atoms), left: self.arity }
    }

    /// The element at this place, counted from 0. Passes over the elements before it.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<TermRef<'a>> {
        if index >= self.arity {
            return None;
        }
        let mut terms = Terms::new(self.content, self.atoms);
        terms.skip(index)?;
        terms.next()
    }
}

impl<'a> IntoIterator for TupleRef<'a> {
    type Item = TermRef<'a>;
    type IntoIter = Elements<'a>;

    #[inline]
    fn into_iter(self) -> Elements<'a> {
        self.iter()
    }
}

/// The elements of a tuple.
#[derive(Clone)]
pub struct Elements<'a> {
    terms: Terms<'a>,
    left: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = TermRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<TermRef<'a>> {
        self.left = self.left.checked_sub(1)?;
        self.terms.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

/// A list.
#[derive(Clone, Copy)]
pub struct ListRef<'a>(pub(super) TermRef<'a>);

impl<'a> ListRef<'a> {
    /// Whether this is `[]`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.0.from, [tag::NIL, ..] | [tag::STRING, 0, 0, ..])
    }

    /// The elements in order; [`ListItems::tail`] says at the end whether the list is proper.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> ListItems<'a> {
        let TermRef { from, atoms } = self.0;
        ListItems { terms: Terms::new(from, atoms), left: 0, tail: Tail::Term, improper: None }
    }

    /// The bytes, if the list came as a string of bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match *self.0.from {
            [tag::NIL, ..] => Some(&[]),
            [tag::STRING, a, b, ref bytes @ ..] => bytes.get(..u16::from_be_bytes([a, b]).into()),
            _ => None,
        }
    }
}

impl<'a> IntoIterator for ListRef<'a> {
    type Item = TermRef<'a>;
    type IntoIter = ListItems<'a>;

    #[inline]
    fn into_iter(self) -> ListItems<'a> {
        self.iter()
    }
}

/// The elements of a list.
#[derive(Clone)]
pub struct ListItems<'a> {
    terms: Terms<'a>,
    /// Terms before the tail.
    left: usize,
    tail: Tail,
    improper: Option<TermRef<'a>>,
}

/// What comes when no terms are left.
#[derive(Clone, Copy)]
enum Tail {
    /// The tail, which may be a list again.
    Term,
    /// So many bytes, each an element; then nothing.
    Bytes(usize),
    Nothing,
}

/// What the next element is. Small enough to be handed back in a register: a term handed back in
/// memory would make all terms take that way, and the reader wait for it.
enum Next {
    Term,
    Byte(u8),
    Nothing,
}

impl<'a> ListItems<'a> {
    /// What follows the last element in an improper list; `None` while elements are left.
    #[inline]
    #[must_use]
    pub fn tail(&self) -> Option<TermRef<'a>> {
        self.improper
    }

    /// Goes on to the tail, and through it if it is a list.
    #[inline(never)]
    fn open_tail(&mut self) -> Next {
        while self.left == 0 {
            match self.tail {
                Tail::Nothing => return Next::Nothing,
                Tail::Term => {
                    // Bytes that are no list end here.
                    self.tail = self.open().unwrap_or(Tail::Nothing);
                }
                Tail::Bytes(count) => {
                    let (Some(left), Some([byte])) = (count.checked_sub(1), self.terms.bytes())
                    else {
                        return Next::Nothing;
                    };
                    self.tail = Tail::Bytes(left);
                    return Next::Byte(byte);
                }
            }
        }
        Next::Term
    }

    /// Opens the list that the tail is; says what comes behind its terms.
    fn open(&mut self) -> Option<Tail> {
        Some(match *self.terms.rest()?.first()? {
            tag::LIST => {
                let [_, a, b, c, d] = self.terms.bytes()?;
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                Tail::Term
            }
            tag::STRING => {
                let [_, a, b] = self.terms.bytes()?;
                Tail::Bytes(u16::from_be_bytes([a, b]).into())
            }
            tag::NIL => Tail::Nothing,
            _ => {
                self.improper = self.terms.next();
                Tail::Nothing
            }
        })
    }
}

impl<'a> Iterator for ListItems<'a> {
    type Item = TermRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<TermRef<'a>> {
        if self.left == 0 {
            match self.open_tail() {
                Next::Term => {}
                Next::Byte(byte) => {
                    let from = &tag::SMALL_INTEGERS[usize::from(byte)];
                    return Some(TermRef { from, atoms: &[] });
                }
                Next::Nothing => return None,
            }
        }
        self.left -= 1;
        self.terms.next()
    }
}

/// A map.
#[derive(Clone, Copy)]
pub struct MapRef<'a> {
    pairs: u32,
    content: &'a [u8],
    atoms: &'a [Atom],
}

impl<'a> MapRef<'a> {
    #[inline]
    pub(super) fn new(pairs: u32, content: &'a [u8], atoms: &'a [Atom]) -> Self {
        Self { pairs, content, atoms }
    }

    /// The number of pairs.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs as usize
    }

    /// Whether there are no pairs.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs == 0
    }

    /// The pairs in the order they came.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> Pairs<'a> {
        Pairs { terms: Terms::new(self.content, self.atoms), left: self.pairs }
    }

    /// The value of an atom key. Passes over the pairs before it.
    #[must_use]
    pub fn get_atom(&self, key: &str) -> Option<TermRef<'a>> {
        let pair = |(name, _): &(TermRef<'a>, _)| match name.kind() {
            TermKind::Atom(name) => name == key,
            _ => false,
        };
        self.iter().find(pair).map(|(_, value)| value)
    }
}

impl<'a> IntoIterator for MapRef<'a> {
    type Item = (TermRef<'a>, TermRef<'a>);
    type IntoIter = Pairs<'a>;

    #[inline]
    fn into_iter(self) -> Pairs<'a> {
        self.iter()
    }
}

/// The pairs of a map.
#[derive(Clone)]
pub struct Pairs<'a> {
    terms: Terms<'a>,
    left: u32,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (TermRef<'a>, TermRef<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some((self.terms.next()?, self.terms.next()?))
    }
}

impl fmt::Debug for TupleRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Debug for ListRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for MapRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
