//! What messages cost in a lane: `cargo bench -p krarup-transport --bench lane
//! --no-default-features`.

// The function that criterion_group! makes cannot have a comment.
#![allow(missing_docs)]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use krarup_transport::buffer::{Receiver, SlabPool};
use krarup_transport::fabric::{Form, Incoming, Lane, LaneConfig, ProcessNumber, Run};
use krarup_transport::link::IoSlices;
use krarup_transport::term::{Atom, Creation, write_binary};

/// Messages of one turn of the loop.
const BATCH: usize = 1000;

const FROM: ProcessNumber = ProcessNumber { id: 256, serial: 1 };
const TO: ProcessNumber = ProcessNumber { id: 512, serial: 2 };

struct End {
    lane: Lane,
    receiver: Receiver,
}

/// Two ends of a lane that share a pool of slabs.
fn ends(checksum: bool) -> [End; 2] {
    let nodes = [("alpha@127.0.0.1", 1), ("omega@127.0.0.1", 2)]
        .map(|(name, creation)| (Atom::from_static(name), Creation(creation)));
    let pool = SlabPool::new();
    [0, 1].map(|local| {
        let mut config = LaneConfig::new(nodes[local].clone(), nodes[1 - local].clone());
        config.checksum = checksum;
        config.limits.outbox_bytes_max = usize::MAX;
        End { lane: Lane::new(config, Instant::now()), receiver: Receiver::new(pool.clone()) }
    })
}

impl End {
    /// Writes everything, without an I/O in between; `take` sees the bytes.
    fn write_all(&mut self, mut take: impl FnMut(&[u8])) {
        while self.lane.is_write_pending() {
            let mut slices = IoSlices::new();
            self.lane.io_slices(&mut slices);
            let mut written = 0;
            for slice in &slices {
                written += slice.len();
                take(slice);
            }
            drop(slices);
            self.lane.written(written);
        }
    }

    /// Receives bytes; the runs go to `runs`.
    fn read(&mut self, mut bytes: &[u8], runs: &mut Vec<Run>) {
        while !bytes.is_empty() {
            let spare = self.receiver.spare();
            let (now, later) = bytes.split_at(bytes.len().min(spare.len()));
            spare[..now.len()].copy_from_slice(now);
            self.receiver.commit(now.len());
            bytes = later;
            loop {
                match self.lane.receive(&mut self.receiver).expect("valid") {
                    Incoming::Run(run) => runs.push(run),
                    Incoming::NeedMore(_) => break,
                    other => drop(black_box(other)),
                }
            }
        }
    }
}

/// What the peer says so that nothing is kept.
fn acknowledge(from: &mut End, to: &mut End) {
    from.lane.acknowledge();
    let mut ack = Vec::new();
    from.write_all(|bytes| ack.extend_from_slice(bytes));
    to.read(&ack, &mut Vec::new());
}

type Send = fn(&mut Lane, &[u8]);

const SENDS: [(&str, Send); 2] = [
    ("raw", |lane, payload| lane.send_raw(FROM, TO, payload).expect("room")),
    ("term", |lane, payload| {
        let encode = |out: &mut Vec<u8>| {
            write_binary(out, payload);
            Ok::<(), Infallible>(())
        };
        lane.send_message_with(FROM, TO, encode).expect("room");
    }),
];

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
