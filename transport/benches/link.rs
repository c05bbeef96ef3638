//! What one small message costs in a link: `cargo bench -p krarup-transport --bench link
//! --no-default-features`.

// The function that criterion_group! makes cannot have a comment.
#![allow(missing_docs)]

#[path = "support/links.rs"]
mod links;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use links::{BATCH, SHAPES, link, message, prepared, send_batch, write_all};

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("send 16 B");
    group.throughput(Throughput::Elements(BATCH));
    for (name, flags) in SHAPES {
        let mut link = link(flags, "alpha@127.0.0.1", "omega@127.0.0.1");
        let control = message();
        group.bench_function(name, |b| {
            b.iter(|| {
                send_batch(&mut link, black_box(&control));
                write_all(&mut link, |bytes| {
                    black_box(bytes);
                });
            });
        });
    }
    group.finish();
}

fn receive(c: &mut Criterion) {
    let mut group = c.benchmark_group("receive 16 B");
    group.throughput(Throughput::Elements(BATCH));
    for (name, flags) in SHAPES {
        let (mut receiver, second) = prepared(flags);
        group.bench_function(name, |b| b.iter(|| links::receive(&mut receiver, &second)));
    }
    group.finish();
}

/// As `receive`, by way of `Link::receive_plain`.
fn receive_plain(c: &mut Criterion) {
    let mut group = c.benchmark_group("receive plain 16 B");
    group.throughput(Throughput::Elements(BATCH));
    for (name, flags) in SHAPES {
        let (mut receiver, second) = prepared(flags);
        group.bench_function(name, |b| b.iter(|| links::receive_plain(&mut receiver, &second)));
    }
    group.finish();
}

criterion_group!(benches, encode, receive, receive_plain);
criterion_main!(benches);
