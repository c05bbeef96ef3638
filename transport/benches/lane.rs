//! What messages cost in a lane: `cargo bench -p krarup-transport --bench lane
//! --no-default-features`.

// The function that criterion_group! makes cannot have a comment.
#![allow(missing_docs)]

#[path = "support/lanes.rs"]
mod lanes;

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use krarup_transport::fabric::{Form, ProcessNumber};
use lanes::{SENDS, TO, acknowledge, ends};

/// Messages of one turn of the loop.
const BATCH: usize = 1000;

/// Encoding, writing and being acknowledged.
fn send(c: &mut Criterion) {
    let mut group = c.benchmark_group("lane send");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, send) in SENDS {
        for (bytes, checksum) in [(16, false), (16, true), (1024, false)] {
            let [mut a, mut b] = ends(checksum);
            let payload = vec![7; bytes];
            let checked = if checksum { ", checksums" } else { "" };
            let mut wire = Vec::new();
            group.bench_function(format!("{name} {bytes} B{checked}"), |bencher| {
                bencher.iter(|| {
                    for _ in 0..BATCH {
                        send(&mut a.lane, black_box(&payload));
                    }
                    if wire.is_empty() {
                        a.write_all(|bytes| wire.extend_from_slice(bytes));
                    }
                    a.write_all(|bytes| {
                        black_box(bytes);
                    });
                    // The receiving end sees the first batch again and again: its position is what
                    // counts.
                    b.read(&wire, &mut Vec::with_capacity(16));
                    acknowledge(&mut b, &mut a);
                });
            });
        }
    }
    group.finish();
}

/// Receiving, and taking each message out of its run.
fn receive(c: &mut Criterion) {
    let mut group = c.benchmark_group("lane receive");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, send) in SENDS {
        for (bytes, checksum) in [(16, false), (16, true), (1024, false)] {
            let [mut a, mut b] = ends(checksum);
            let payload = vec![7; bytes];
            let mut wire = Vec::new();
            for _ in 0..BATCH {
                send(&mut a.lane, &payload);
            }
            a.write_all(|bytes| wire.extend_from_slice(bytes));
            let mut runs = Vec::with_capacity(64);
            let checked = if checksum { ", checksums" } else { "" };
            group.bench_function(format!("{name} {bytes} B{checked}"), |bencher| {
                bencher.iter(|| {
                    b.read(&wire, &mut runs);
                    for mut run in runs.drain(..) {
                        while let Some(message) = run.next() {
                            black_box(&message.payload[..]);
                        }
                    }
                });
            });
        }
    }
    group.finish();
}

/// Large messages by reference, from several senders at a time, through both ends.
fn bulk(c: &mut Criterion) {
    let mut group = c.benchmark_group("lane bulk");
    for bytes in [64 << 10, 1 << 20, 16 << 20] {
        for senders in [1, 4] {
            let [mut a, mut b] = ends(false);
            let payload = Bytes::from(vec![7; bytes]);
            group.throughput(Throughput::Bytes((bytes * senders) as u64));
            let id = BenchmarkId::new(format!("{senders} senders"), bytes);
            let mut wire = Vec::new();
            let mut runs = Vec::new();
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    for id in 0..senders as u32 {
                        let from = ProcessNumber { id, serial: 1 };
                        let pieces = [payload.clone()].into_iter().collect();
                        a.lane.send_message(from, TO, pieces, Form::Raw).expect("room");
                    }
                    while a.lane.is_write_pending() {
                        wire.clear();
                        a.write_all(|bytes| wire.extend_from_slice(bytes));
                        b.read(&wire, &mut runs);
                        runs.clear();
                        acknowledge(&mut b, &mut a);
                    }
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, send, receive, bulk);
criterion_main!(benches);
