//! Links to OTP nodes, without sockets.

// Each benchmark uses a part of it.
#![allow(dead_code)]

use std::hint::black_box;
use std::time::Instant;

use krarup_transport::buffer::Slice;
use krarup_transport::dist::frame::{Front, LENGTH_BYTES};
use krarup_transport::dist::{Control, Destination};
use krarup_transport::handshake::Flags;
use krarup_transport::link::{IoSlices, Link, LinkConfig};
use krarup_transport::term::{Atom, Creation, Pid, write_binary};

/// Messages of one batch.
pub(crate) const BATCH: u64 = 1000;

pub(crate) const SHAPES: [(&str, Flags); 3] = [
    ("pass-through", Flags::HIDDEN.without(Flags::FRAGMENTS).without(Flags::DIST_HDR_ATOM_CACHE)),
    ("plain", Flags::HIDDEN.without(Flags::DIST_HDR_ATOM_CACHE)),
    ("cached", Flags::HIDDEN),
];

pub(crate) fn link(flags: Flags, local: &'static str, peer: &'static str) -> Link {
    let config = LinkConfig::new(flags, Atom::from_static(local), Atom::from_static(peer));
    Link::new(config, Instant::now())
}

fn pid(node: &'static str, id: u32) -> Pid {
    Pid { node: Atom::from_static(node), id, serial: 0, creation: Creation(1) }
}

pub(crate) fn message() -> Control {
    message_of(256)
}

/// A message of the sending node's process with this number.
pub(crate) fn message_of(id: u32) -> Control {
    Control::Send {
        from: Some(pid("alpha@127.0.0.1", id)),
        to: Destination::Process(pid("omega@127.0.0.1", 512)),
        priority: false,
        token: None,
    }
}

pub(crate) fn send_batch(link: &mut Link, control: &Control) {
    for i in 0..BATCH {
        let payload = [i as u8; 16];
        link.send_with(control, |out| write_binary(out, &payload)).expect("room");
    }
}

pub(crate) fn write_all(link: &mut Link, mut take: impl FnMut(&[u8])) {
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

/// As [`write_all`], at most `bytes_max` bytes at a time, unseen.
pub(crate) fn write_short(link: &mut Link, bytes_max: usize) {
    while link.is_write_pending() {
        let mut slices = IoSlices::new();
        link.io_slices(&mut slices);
        let bytes = slices.iter().map(|slice| slice.len()).sum::<usize>().min(bytes_max);
        black_box(&slices);
        drop(slices);
        link.written(bytes);
    }
}

/// A link that has received from another, and a batch of frames that it can receive again and
/// again: all atoms are in its cache.
pub(crate) fn prepared(flags: Flags) -> (Link, Slice) {
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

/// Receives every frame of a batch as any signal.
pub(crate) fn receive(link: &mut Link, batch: &Slice) {
    let mut rest = batch.clone();
    while let Front::Frame(len) = link.frame_reader().front(&rest) {
        rest.advance(LENGTH_BYTES);
        let signal = link.receive(rest.split_to(len)).expect("valid");
        black_box(signal);
    }
    assert!(rest.is_empty());
}

/// Receives every frame of a batch as the plain message that it is.
pub(crate) fn receive_plain(link: &mut Link, batch: &Slice) {
    let mut rest = batch.clone();
    while let Front::Frame(len) = link.frame_reader().front(&rest) {
        rest.advance(LENGTH_BYTES);
        let mut frame = rest.split_to(len);
        let message = link.receive_plain(&frame).expect("a plain message");
        frame.truncate(message.payload.end);
        frame.advance(message.payload.start);
        black_box((message, frame));
    }
    assert!(rest.is_empty());
}
