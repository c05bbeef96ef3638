//! Equality and order of owned terms, as Erlang defines them.
//!
//! OTP: `erts/emulator/beam/utils.c` (`eq`, `erts_cmp_compound`) and the reference manual, "Term
//! Comparisons".

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use super::integer::compare_integer_with_float;
use super::{BigInteger, Fun, Record, Term};

impl Term {
    /// Erlang's term order, the one of `<` and `==`: number < atom < reference < fun < port < pid
    /// < tuple < record < map < nil < list < bit string. Integers and floats compare by value,
    /// exactly, so `1` and `1.0` are equal here.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        compare(self, other, Numbers::ByValue)
    }

    /// The order of keys within a map: as [`Term::compare`], but every integer comes before every
    /// float. Terms are equal in it exactly when they are `==`.
    #[must_use]
    pub fn compare_as_key(&self, other: &Self) -> Ordering {
        as_key(self, other)
    }
}

impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::BigInteger(a), Self::BigInteger(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Atom(a), Self::Atom(b)) => a == b,
            (Self::Pid(a), Self::Pid(b)) => a == b,
            (Self::Port(a), Self::Port(b)) => a == b,
            (Self::Reference(a), Self::Reference(b)) => a == b,
            (Self::Fun(a), Self::Fun(b)) => a == b,
            (Self::Export(a), Self::Export(b)) => a == b,
            (Self::Tuple(a), Self::Tuple(b)) | (Self::List(a), Self::List(b)) => a == b,
            (Self::ImproperList(a, x), Self::ImproperList(b, y)) => a == b && x == y,
            (Self::Map(a), Self::Map(b)) => a == b,
            (Self::Binary(a), Self::Binary(b)) => a == b,
            (Self::BitString(a), Self::BitString(b)) => a == b,
            (Self::Record(a), Self::Record(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Term {}

impl Hash for Term {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Integer(value) => value.hash(state),
            Self::BigInteger(value) => value.hash(state),
            Self::Float(value) => value.to_bits().hash(state),
            Self::Atom(atom) => atom.hash(state),
            Self::Pid(pid) => pid.hash(state),
            Self::Port(port) => port.hash(state),
            Self::Reference(reference) => reference.hash(state),
            Self::Fun(fun) => fun.hash(state),
            Self::Export(export) => export.hash(state),
            Self::Tuple(elements) | Self::List(elements) => elements.hash(state),
            Self::ImproperList(elements, tail) => {
                elements.hash(state);
                tail.hash(state);
            }
            Self::Map(map) => map.hash(state),
            Self::Binary(bytes) => bytes.hash(state),
            Self::BitString(bits) => bits.hash(state),
            Self::Record(record) => record.hash(state),
        }
    }
}

/// [`Term::compare`], and between terms that are equal there but not `==`, the key order.
impl Ord for Term {
    fn cmp(&self, other: &Self) -> Ordering {
        self.compare(other).then_with(|| self.compare_as_key(other))
    }
}

impl PartialOrd for Term {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

pub(crate) fn as_key(a: &Term, b: &Term) -> Ordering {
    compare(a, b, Numbers::IntegersFirst)
}

/// How an integer and a float compare.
#[derive(Clone, Copy)]
enum Numbers {
    ByValue,
    IntegersFirst,
}

fn compare(a: &Term, b: &Term, numbers: Numbers) -> Ordering {
    match (a, b) {
        (Term::Integer(a), Term::Integer(b)) => a.cmp(b),
        (Term::BigInteger(a), Term::BigInteger(b)) => a.cmp(b),
        (Term::Integer(_), Term::BigInteger(b)) => sign_of_other(b),
        (Term::BigInteger(a), Term::Integer(_)) => sign_of_other(a).reverse(),
        (Term::Float(a), Term::Float(b)) => compare_floats(*a, *b, numbers),
        (Term::Integer(a), Term::Float(b)) => match numbers {
            Numbers::ByValue => compare_integer_with_float(*a, *b),
            Numbers::IntegersFirst => Ordering::Less,
        },
        (Term::BigInteger(a), Term::Float(b)) => match numbers {
            Numbers::ByValue => a.compare_with_float(*b),
            Numbers::IntegersFirst => Ordering::Less,
        },
        (Term::Float(_), Term::Integer(_) | Term::BigInteger(_)) => {
            compare(b, a, numbers).reverse()
        }
        (Term::Atom(a), Term::Atom(b)) => a.cmp(b),
        (Term::Reference(a), Term::Reference(b)) => a.cmp(b),
        (Term::Fun(a), Term::Fun(b)) => compare_funs(a, b, numbers),
        (Term::Export(a), Term::Export(b)) => a.cmp(b),
        (Term::Port(a), Term::Port(b)) => a.cmp(b),
        (Term::Pid(a), Term::Pid(b)) => a.cmp(b),
        (Term::Tuple(a), Term::Tuple(b)) => {
            a.len().cmp(&b.len()).then_with(|| compare_elements(a, b, numbers))
        }
        (Term::Record(a), Term::Record(b)) => compare_records(a, b, numbers),
        (Term::Map(a), Term::Map(b)) => {
            let (a, b) = (a.pairs(), b.pairs());
            // Keys are in key order on both sides already, and compare in it; values do not.
            let keys = || a.iter().zip(b).map(|((a, _), (b, _))| as_key(a, b));
            let values = || a.iter().zip(b).map(|((_, a), (_, b))| compare(a, b, numbers));
            a.len().cmp(&b.len()).then_with(|| first_difference(keys().chain(values())))
        }
        (Term::List(_) | Term::ImproperList(..), Term::List(_) | Term::ImproperList(..)) => {
            compare_lists(list_parts(a), list_parts(b), numbers)
        }
        (Term::Binary(_) | Term::BitString(_), Term::Binary(_) | Term::BitString(_)) => {
            compare_bits(bit_parts(a), bit_parts(b))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

/// The place of a term's type in Erlang's order. OTP keeps closures before exports.
fn rank(term: &Term) -> u8 {
    match term {
        Term::Integer(_) | Term::BigInteger(_) | Term::Float(_) => 0,
        Term::Atom(_) => 1,
        Term::Reference(_) => 2,
        Term::Fun(_) => 3,
        Term::Export(_) => 4,
        Term::Port(_) => 5,
        Term::Pid(_) => 6,
        Term::Tuple(_) => 7,
        Term::Record(_) => 8,
        Term::Map(_) => 9,
        Term::List(elements) if elements.is_empty() => NIL_RANK,
        Term::List(_) | Term::ImproperList(..) => LIST_RANK,
        Term::Binary(_) | Term::BitString(_) => 12,
    }
}

const NIL_RANK: u8 = 10;
const LIST_RANK: u8 = 11;

/// How any 64-bit integer compares with this bigger one.
fn sign_of_other(big: &BigInteger) -> Ordering {
    if big.is_negative() { Ordering::Greater } else { Ordering::Less }
}

fn compare_floats(a: f64, b: f64, numbers: Numbers) -> Ordering {
    match numbers {
        Numbers::ByValue => a.partial_cmp(&b).unwrap_or_else(|| a.total_cmp(&b)),
        Numbers::IntegersFirst => a.total_cmp(&b),
    }
}

fn first_difference(mut orders: impl Iterator<Item = Ordering>) -> Ordering {
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn compare_elements(a: &[Term], b: &[Term], numbers: Numbers) -> Ordering {
    first_difference(a.iter().zip(b).map(|(a, b)| compare(a, b, numbers)))
}

fn compare_funs(a: &Fun, b: &Fun, numbers: Numbers) -> Ordering {
    a.module
        .cmp(&b.module)
        .then_with(|| a.old_index.cmp(&b.old_index))
        .then_with(|| a.old_uniq.cmp(&b.old_uniq))
        .then_with(|| a.free.len().cmp(&b.free.len()))
        .then_with(|| compare_elements(&a.free, &b.free, numbers))
        // The rest only keeps different funs apart.
        .then_with(|| (a.arity, a.uniq, a.index).cmp(&(b.arity, b.uniq, b.index)))
        .then_with(|| a.pid.cmp(&b.pid))
}

fn compare_records(a: &Record, b: &Record, numbers: Numbers) -> Ordering {
    let fields = || a.fields.iter().zip(&b.fields);
    a.module
        .cmp(&b.module)
        .then_with(|| a.name.cmp(&b.name))
        .then_with(|| a.fields.len().cmp(&b.fields.len()))
        .then_with(|| first_difference(fields().map(|((a, _), (b, _))| a.cmp(b))))
        .then_with(|| first_difference(fields().map(|((_, a), (_, b))| compare(a, b, numbers))))
        .then_with(|| a.exported.cmp(&b.exported))
}

/// The elements of a list and its tail, `None` for a proper one.
fn list_parts(term: &Term) -> (&[Term], Option<&Term>) {
    match term {
        Term::List(elements) => (elements, None),
        Term::ImproperList(elements, tail) => (elements, Some(tail)),
        _ => (&[], None),
    }
}

/// Lists compare as the cells they are made of: head first, then the rest as a term.
fn compare_lists(
    (a, a_tail): (&[Term], Option<&Term>),
    (b, b_tail): (&[Term], Option<&Term>),
    numbers: Numbers,
) -> Ordering {
    // What is left of the shorter one is its tail, of the other still a list.
    let tail_rank = |tail: Option<&Term>| tail.map_or(NIL_RANK, rank);
    compare_elements(a, b, numbers).then_with(|| match (a.len().cmp(&b.len()), a_tail, b_tail) {
        (Ordering::Equal, Some(a), Some(b)) => compare(a, b, numbers),
        (Ordering::Equal, a, b) => tail_rank(a).cmp(&tail_rank(b)),
        (Ordering::Less, a, _) => tail_rank(a).cmp(&LIST_RANK),
        (Ordering::Greater, _, b) => LIST_RANK.cmp(&tail_rank(b)),
    })
}

/// The bytes of a bit string and how many bits of them count.
fn bit_parts(term: &Term) -> (&[u8], usize) {
    match term {
        Term::Binary(bytes) => (bytes, bytes.len() * 8),
        Term::BitString(bits) => {
            (bits.bytes(), (bits.bytes().len() - 1) * 8 + usize::from(bits.last_bits()))
        }
        _ => (&[], 0),
    }
}

fn compare_bits((a, a_bits): (&[u8], usize), (b, b_bits): (&[u8], usize)) -> Ordering {
    let common = a_bits.min(b_bits);
    let (whole, rest) = (common / 8, common % 8);
    a[..whole]
        .cmp(&b[..whole])
        .then_with(|| match rest {
            0 => Ordering::Equal,
            rest => (a[whole] >> (8 - rest)).cmp(&(b[whole] >> (8 - rest))),
        })
        .then_with(|| a_bits.cmp(&b_bits))
}
