//! What terms cost to write and to read: `cargo bench -p krarup-transport --bench codec
//! --no-default-features`.
//!
//! The four messages are a `gen_server` call, a list of 1,000 tuples, a map of 100 atoms, and a
//! binary of 1 MiB. "borrowed" validates the message, which is all that a view needs; "walk" looks at
//! every part of it besides, container by container, and "preorder" in the order of the bytes.

// The function that criterion_group! makes cannot have a comment.
#![allow(missing_docs)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use krarup_transport::term;
use krarup_transport::term::{
    Atom, Creation, Gather, Limits, Pid, Reference, Term, TermKind, TermRef, validate,
};

fn messages() -> [(&'static str, Term); 4] {
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
fn walk(term: TermRef<'_>) -> u64 {
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

fn codec(criterion: &mut Criterion) {
    let limits = Limits::DEFAULT;
    for (name, term) in messages() {
        let mut bytes = Vec::new();
        term.encode(&mut bytes);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let mut out = Vec::with_capacity(bytes.len());
        group.bench_function("encode", |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(&term).encode(&mut out);
                black_box(&out);
            });
        });
        group.bench_function("encode gathered", |bencher| {
            bencher.iter(|| black_box(&term).encode_gather(Gather::THRESHOLD_BYTES));
        });
        group.bench_function("decode owned", |bencher| {
            bencher.iter_batched(
                || (),
                |()| Term::decode(black_box(&bytes), &(), &limits),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("decode borrowed", |bencher| {
            bencher.iter(|| TermRef::decode(black_box(&bytes), &[], &limits).is_ok());
        });
        group.bench_function("decode borrowed, walk", |bencher| {
            bencher.iter(|| {
                let (term, _) = TermRef::decode(black_box(&bytes), &[], &limits).expect("valid");
                walk(term)
            });
        });
        group.bench_function("decode borrowed, preorder", |bencher| {
            bencher.iter(|| {
                let (term, _) = TermRef::decode(black_box(&bytes), &[], &limits).expect("valid");
                term.preorder().fold(0, |sum, part| sum ^ leaf(part))
            });
        });
        group.bench_function("validate", |bencher| {
            bencher.iter(|| validate(black_box(&bytes), 0, &limits));
        });
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
