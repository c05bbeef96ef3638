//! What it costs to queue messages and to write them, without a peer: `cargo bench -p
//! krarup-transport --bench outbox --no-default-features`.
//!
//! "short writes" is a socket that takes 1,000 bytes at a time. Large messages go by reference, in
//! fragments, their senders in turns.

// The function that criterion_group! makes cannot have a comment.
#![allow(missing_docs)]

#[path = "support/lanes.rs"]
mod lanes;
#[path = "support/links.rs"]
mod links;
#[path = "support/outboxes.rs"]
mod outboxes;

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use krarup_transport::handshake::Flags;
use lanes::{Acknowledger, SENDS, ends};
use links::{BATCH, link, message, send_batch, write_short};
use outboxes::{SENDERS, lane_send_large, link_send_large};

const WRITES: [(&str, usize); 2] = [("16 B", usize::MAX), ("16 B, short writes", 1000)];

/// Bytes of a large message; all that are sent at once are within a link's limit.
const LARGE_BYTES: usize = 192 << 10;

fn large() -> (String, Bytes) {
    let name = format!("{} KiB from each of {SENDERS}", LARGE_BYTES >> 10);
    (name, Bytes::from(vec![7; LARGE_BYTES]))
}

fn lane(c: &mut Criterion) {
    let mut group = c.benchmark_group("outbox of a lane");
    let [(_, send_raw), _] = SENDS;
    let ([mut end, _], mut peer) = (ends(false), Acknowledger::new(false));
    for (name, bytes_max) in WRITES {
        group.throughput(Throughput::Elements(BATCH));
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..BATCH {
                    send_raw(&mut end.lane, black_box(&[7; 16]));
                }
                peer.write_all(&mut end, bytes_max);
            });
        });
    }
    let (name, payload) = large();
    group.throughput(Throughput::Elements(SENDERS.into()));
    group.bench_function(name, |b| {
        b.iter(|| {
            lane_send_large(&mut end.lane, black_box(&payload));
            peer.write_all(&mut end, usize::MAX);
        });
    });
    group.finish();
}

fn a_link(c: &mut Criterion) {
    let mut group = c.benchmark_group("outbox of a link");
    let mut link = link(Flags::HIDDEN, "alpha@127.0.0.1", "omega@127.0.0.1");
    let control = message();
    for (name, bytes_max) in WRITES {
        group.throughput(Throughput::Elements(BATCH));
        group.bench_function(name, |b| {
            b.iter(|| {
                send_batch(&mut link, black_box(&control));
                write_short(&mut link, bytes_max);
            });
        });
    }
    let (name, payload) = large();
    group.throughput(Throughput::Elements(SENDERS.into()));
    group.bench_function(name, |b| {
        b.iter(|| {
            link_send_large(&mut link, black_box(&payload));
            write_short(&mut link, usize::MAX);
        });
    });
    group.finish();
}

criterion_group!(benches, lane, a_link);
criterion_main!(benches);
