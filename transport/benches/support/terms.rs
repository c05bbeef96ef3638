//! Four messages, from small to large.

use bytes::Bytes;
use krarup_transport::term;
use krarup_transport::term::{Atom, Creation, Pid, Reference, Term, TermKind, TermRef};

/// What is written and read.
pub(crate) fn messages() -> [(&'static str, Term); 4] {
    let node = Atom::from_static("client@127.0.0.1");
    let pid = Pid { node: node.clone(), id: 117, serial: 3, creation: Creation(1_763_625_600) };
    let words = [262_211, 2_621_964_290, 3_140_688_416];
    let reference = Reference::new(node, pid.creation, &words).expect("three words");
    // A bare word cannot start with `$`.
    let tag = Atom::from_static("$gen_call");
    let call = term!({(tag), {(pid), [alias | (reference)]}, {get, "some_key", 42}});
    let tuples = (0..1000_i32)
        .map(|i| term!({item, (i), (f64::from(i) * 0.5), (format!("name {i}"))}))
        .collect();
    let name = |prefix, i: i32| Term::Atom(Atom::new(&format!("{prefix}_{i}")).expect("short"));
    let map = (0..100).map(|i| (name("key", i), name("value", i))).collect();
    [
        ("gen_call", call),
        ("list of 1000 tuples", Term::List(tuples)),
        ("map of 100 atoms", Term::Map(map)),
        ("binary of 1 MiB", Term::Binary(Bytes::from(vec![7; 1 << 20]))),
    ]
}

/// Looks at every part of a term; the sum keeps it from being left out.
pub(crate) fn walk(term: TermRef<'_>) -> u64 {
    match term.kind() {
        TermKind::Tuple(tuple) => tuple.iter().fold(0, |sum, term| sum ^ walk(term)),
        TermKind::List(list) => {
            let mut items = list.iter();
            let sum = items.by_ref().fold(0, |sum, term| sum ^ walk(term));
            sum ^ items.tail().map_or(0, walk)
        }
        TermKind::Map(map) => map.iter().fold(0, |sum, (key, value)| sum ^ walk(key) ^ walk(value)),
        kind => leaf(kind),
    }
}

/// The value of a leaf, as a number.
pub(crate) fn leaf(kind: TermKind<'_>) -> u64 {
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
