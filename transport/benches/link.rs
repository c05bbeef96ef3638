//! What one small message costs in a link: `cargo bench -p krarup-transport --bench link
//! --no-default-features`.

// The function that criterion_group! makes cannot have a comment.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use krarup_transport::buffer::Slice;
use krarup_transport::dist::frame::{Front, LENGTH_BYTES};
use krarup_transport::dist::{Control, Destination};
use krarup_transport::handshake::Flags;
use krarup_transport::link::{IoSlices, Link, LinkConfig};
use krarup_transport::term::{Atom, Creation, Pid, write_binary};

/// Messages of one turn of the loop.
const BATCH: u64 = 1000;

const SHAPES: [(&str, Flags); 3] = [
    ("pass-through", Flags::HIDDEN.without(Flags::FRAGMENTS).without(Flags::DIST_HDR_ATOM_CACHE)),
    ("plain", Flags::HIDDEN.without(Flags::DIST_HDR_ATOM_CACHE)),
    ("cached", Flags::HIDDEN),
];

fn link(flags: Flags, local: &'static str, peer: &'static str) -> Link {
    let config = LinkConfig::new(flags, Atom::from_static(local), Atom::from_static(peer));
    Link::new(config, Instant::now())
}

fn pid(node: &'static str, id: u32) -> Pid {
    Pid { node: Atom::from_static(node), id, serial: 0, creation: Creation(1) }
}

fn message() -> Control {
    Control::Send {
        from: Some(pid("alpha@127.0.0.1", 256)),
        to: Destination::Process(pid("omega@127.0.0.1", 512)),
        priority: false,
        token: None,
    }
}

fn send_batch(link: &mut Link, control: &Control) {
    for i in 0..BATCH {
        let payload = [i as u8; 16];
        link.send_with(control, |out| write_binary(out, &payload)).expect("room");
    }
}

fn write_all(link: &mut Link, mut take: impl FnMut(&[u8])) {
    while link.is_write_pending() {
        let mut slices = IoSlices::new();
        link.io_slices(&mut slices);
        let mut written = 0;
        for slice in &slices {
            written += slice.len();
            take(slice);
        }
        drop(slices);
        link.written(written);
    }
}

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

/// A link that has received from another, and a batch of frames that it can receive again and
/// again: all atoms are in its cache.
fn prepared(flags: Flags) -> (Link, Slice) {
    let mut sender = link(flags, "alpha@127.0.0.1", "omega@127.0.0.1");
    let mut receiver = link(flags, "omega@127.0.0.1", "alpha@127.0.0.1");
    let mut batches = [Vec::new(), Vec::new()];
    for batch in &mut batches {
        send_batch(&mut sender, &message());
        write_all(&mut sender, |bytes| batch.extend_from_slice(bytes));
    }
    let [mut first, second] = batches.map(Slice::from);
    while let Front::Frame(len) = receiver.frame_reader().front(&first) {
        first.advance(LENGTH_BYTES);
        receiver.receive(first.split_to(len)).expect("valid");
    }
    (receiver, second)
}

fn receive(c: &mut Criterion) {
    let mut group = c.benchmark_group("receive 16 B");
    group.throughput(Throughput::Elements(BATCH));
    for (name, flags) in SHAPES {
        let (mut receiver, second) = prepared(flags);
        let mut run = |batch: &Slice| {
            let mut rest = batch.clone();
            while let Front::Frame(len) = receiver.frame_reader().front(&rest) {
                rest.advance(LENGTH_BYTES);
                let signal = receiver.receive(rest.split_to(len)).expect("valid");
                black_box(signal);
            }
            assert!(rest.is_empty());
        };
        group.bench_function(name, |b| b.iter(|| run(&second)));
    }
    group.finish();
}

/// As `receive`, by way of [`Link::receive_plain`].
fn receive_plain(c: &mut Criterion) {
    let mut group = c.benchmark_group("receive plain 16 B");
    group.throughput(Throughput::Elements(BATCH));
    for (name, flags) in SHAPES {
        let (mut receiver, second) = prepared(flags);
        let mut run = |batch: &Slice| {
            let mut rest = batch.clone();
            while let Front::Frame(len) = receiver.frame_reader().front(&rest) {
                rest.advance(LENGTH_BYTES);
                let mut frame = rest.split_to(len);
                let message = receiver.receive_plain(&frame).expect("a plain message");
                frame.truncate(message.payload.end);
                frame.advance(message.payload.start);
                black_box((message, frame));
            }
            assert!(rest.is_empty());
        };
        group.bench_function(name, |b| b.iter(|| run(&second)));
    }
    group.finish();
}

criterion_group!(benches, encode, receive, receive_plain);
criterion_main!(benches);
