//! What terms cost to write and to read: `cargo bench -p krarup-transport --bench codec
//! --no-default-features`.
//!
//! The four messages are a `gen_server` call, a list of 1,000 tuples, a map of 100 atoms, and a
//! binary of 1 MiB. "borrowed" validates the message, which is all that a view needs; "walk" looks at
//! every part of it besides, container by container, and "preorder" in the order of the bytes.

// The function that criterion_group! makes cannot have a comment.
#![allow(missing_docs)]

#[path = "support/terms.rs"]
mod terms;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use krarup_transport::term::{Gather, Limits, Term, TermRef, validate};
use terms::{leaf, messages, walk};

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
