//! The terms, as Krarup writes and reads them. `bench/erl/krarup_bench_codec.erl` has the same.

use std::hint::black_box;

use bytes::Bytes;
use krarup_transport::term;
use krarup_transport::term::{
    Atom, Creation, Gather, Limits, Pid, Reference, Term as Owned, TermKind, TermRef,
};

use super::{Direction, Operation, Subject, Term};

/// Node of the pid and the reference.
pub(super) const NODE: &str = "client@127.0.0.1";
/// Words of the reference.
pub(super) const WORDS: [u32; 3] = [262_211, 2_621_964_290, 3_140_688_416];
/// Number, serial and creation of the pid; the reference has the same creation.
pub(super) const PID: (u32, u32, u32) = (117, 3, 1_763_625_600);
/// Elements of the list.
pub(super) const TUPLES: i32 = 1000;
/// Pairs of the map.
pub(super) const PAIRS: i32 = 100;
/// Bytes of the binary.
pub(super) const BINARY_BYTES: usize = 1 << 20;

/// A term as Krarup owns it.
pub(super) fn owned_term(subject: Subject) -> Owned {
    match subject {
        Subject::GenCall => {
            let node = Atom::from_static(NODE);
            let (id, serial, creation) = PID;
            let pid = Pid { node: node.clone(), id, serial, creation: Creation(creation) };
            let reference = Reference::new(node, pid.creation, &WORDS).expect("three words");
            // A bare word cannot start with `$`.
            let tag = Atom::from_static("$gen_call");
            term!({(tag), {(pid), [alias | (reference)]}, {get, "some_key", 42}})
        }
        Subject::Tuples => Owned::List(
            (0..TUPLES)
                .map(|i| term!({item, (i), (f64::from(i) * 0.5), (format!("name {i}"))}))
                .collect(),
        ),
        Subject::Map => {
            let name =
                |prefix, i: i32| Owned::Atom(Atom::new(&format!("{prefix}_{i}")).expect("short"));
            Owned::Map((0..PAIRS).map(|i| (name("key", i), name("value", i))).collect())
        }
        Subject::Binary => Owned::Binary(Bytes::from(vec![7; BINARY_BYTES])),
    }
}

/// The external form, without version byte, as it travels between nodes.
pub(super) fn external(subject: Subject) -> Vec<u8> {
    let mut bytes = Vec::new();
    owned_term(subject).encode(&mut bytes);
    bytes
}

/// Writing as a send does, which takes large binaries by reference; reading without a copy, and
/// looking at every part in the order in which they came.
pub(super) fn borrowed(wanted: Term) -> Operation {
    let limits = Limits::DEFAULT;
    match wanted.direction {
        Direction::Encode => {
            let term = owned_term(wanted.subject);
            if wanted.subject == Subject::Binary {
                return Box::new(move |times| {
                    for _ in 0..times {
                        black_box(black_box(&term).encode_gather(Gather::THRESHOLD_BYTES));
                    }
                    Ok(())
                });
            }
            let mut out = Vec::new();
            Box::new(move |times| {
                for _ in 0..times {
                    out.clear();
                    black_box(&term).encode(&mut out);
                    black_box(&out);
                }
                Ok(())
            })
        }
        Direction::Decode => {
            let bytes = external(wanted.subject);
            Box::new(move |times| {
                for _ in 0..times {
                    let (term, _) = TermRef::decode(black_box(&bytes), &[], &limits)
                        .map_err(|error| error.to_string())?;
                    black_box(look_at_all(term));
                }
                Ok(())
            })
        }
    }
}

/// Reading without a copy, and looking at every part, one container after the other.
pub(super) fn walked(wanted: Term) -> Operation {
    let bytes = external(wanted.subject);
    let limits = Limits::DEFAULT;
    Box::new(move |times| {
        for _ in 0..times {
            let (term, _) = TermRef::decode(black_box(&bytes), &[], &limits)
                .map_err(|error| error.to_string())?;
            black_box(walk(term));
        }
        Ok(())
    })
}

/// Reading into a term of one's own.
pub(super) fn owned(wanted: Term) -> Operation {
    let bytes = external(wanted.subject);
    let limits = Limits::DEFAULT;
    Box::new(move |times| {
        for _ in 0..times {
            let term = Owned::decode(black_box(&bytes), &(), &limits)
                .map_err(|error| error.to_string())?;
            black_box(term);
        }
        Ok(())
    })
}

/// Looks at every part of a term; the sum keeps it from being left out.
fn look_at_all(term: TermRef<'_>) -> u64 {
    term.preorder().fold(0, |sum, part| sum.wrapping_add(leaf(part)))
}

/// As [`look_at_all`], one container after the other.
fn walk(term: TermRef<'_>) -> u64 {
    match term.kind() {
        TermKind::Tuple(tuple) => tuple.iter().fold(0, |sum, term| sum.wrapping_add(walk(term))),
        TermKind::List(list) => {
            let mut items = list.iter();
            let sum = items.by_ref().fold(0_u64, |sum, term| sum.wrapping_add(walk(term)));
            sum.wrapping_add(items.tail().map_or(0, walk))
        }
        TermKind::Map(map) => map
            .iter()
            .fold(0, |sum, (key, value)| sum.wrapping_add(walk(key)).wrapping_add(walk(value))),
        kind => leaf(kind),
    }
}

/// The value of a leaf, as a number.
#[inline]
fn leaf(kind: TermKind<'_>) -> u64 {
    match kind {
        TermKind::Integer(value) => value.cast_unsigned(),
        TermKind::Float(value) => value.to_bits(),
        TermKind::Atom(name) => name.len() as u64,
        TermKind::Binary(bytes) => bytes.len() as u64,
        TermKind::Pid(pid) => u64::from(pid.id()),
        TermKind::Reference(reference) => reference.words().map(u64::from).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_see_the_same() {
        for subject in Subject::ALL {
            let bytes = external(subject);
            let (term, _) = TermRef::decode(&bytes, &[], &Limits::DEFAULT).expect("a term");
            assert_eq!(look_at_all(term), walk(term), "{subject:?}");
            assert_ne!(walk(term), 0);
        }
    }
}
