//! What the distribution header of a message costs, with the atom caches of both ends: `cargo bench
//! -p krarup-transport --bench header --no-default-features`.

// The function that criterion_group! makes cannot have a comment.
#![allow(missing_docs)]

#[path = "support/headers.rs"]
mod headers;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use headers::{BATCH, messages, prepared};
use krarup_transport::dist::atom_cache::SendCache;
use krarup_transport::dist::header::HeaderReader;

/// How many words the messages name in turn. With one of them every header is the same.
const WORDS: [usize; 3] = [1, 2, 500];

fn known(c: &mut Criterion) {
    for words in WORDS {
        let messages = messages(words);
        let (mut cache, mut reader, headers) = prepared(&messages);
        let mut out = Vec::with_capacity(headers.len());
        let mut group = c.benchmark_group(format!("header, {words} known words"));
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function("write", |b| {
            b.iter(|| {
                out.clear();
                headers::write(&mut cache, black_box(&messages), &mut out);
            });
        });
        group.bench_function("read", |b| {
            b.iter(|| headers::read(&mut reader, black_box(&headers)));
        });
        group.finish();
    }
}

/// Every message has an atom that the peer does not know.
fn new(c: &mut Criterion) {
    let messages = messages(BATCH);
    let mut headers = Vec::new();
    headers::write(&mut SendCache::new(), &messages, &mut headers);
    let mut group = c.benchmark_group("header, new words");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut out = Vec::with_capacity(headers.len());
    group.bench_function("write", |b| {
        b.iter_batched_ref(
            SendCache::new,
            |cache| {
                out.clear();
                headers::write(cache, black_box(&messages), &mut out);
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("read", |b| {
        b.iter_batched_ref(
            HeaderReader::new,
            |reader| headers::read(reader, black_box(&headers)),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, known, new);
criterion_main!(benches);
