//! Instructions of the functions that every message goes through, counted by callgrind.
//!
//! `tests/instructions` runs this, and fails when one of the counts is above its limit in
//! `instructions.txt`. Each count is of a whole batch, so that what happens once does not matter;
//! what is needed before, and the end of what is left, is not counted.

// The functions that the macros make cannot have a comment.
#![allow(missing_docs)]

#[path = "support/headers.rs"]
mod headers;
#[path = "support/lanes.rs"]
mod lanes;
#[path = "support/links.rs"]
mod links;
#[path = "support/outboxes.rs"]
mod outboxes;
#[path = "support/terms.rs"]
mod terms;

use std::hint::black_box;

use bytes::Bytes;
use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use krarup_transport::buffer::{Receiver, SlabPool, Slice};
use krarup_transport::dist::atom_cache::SendCache;
use krarup_transport::dist::header::HeaderReader;
use krarup_transport::fabric::Run;
use krarup_transport::handshake::Flags;
use krarup_transport::link::Link;
use krarup_transport::shard::{Mesh, MeshConfig, mesh};
use krarup_transport::term::{Atom, Gather, Limits, Term, TermRef, from_bytes, to_bytes, validate};
use lanes::{Acknowledger, End, SENDS, ends};
use links::{link, message, prepared, send_batch};

/// Messages of one batch.
const BATCH: usize = 1000;

/// Room for everything that is written, so that no count has the growth of a vector in it.
const OUT_BYTES: usize = 1 << 20;

// ---- Terms

/// One of the messages and its bytes.
fn a_term(name: &str) -> (Term, Vec<u8>) {
    let (_, term) = terms::messages().into_iter().find(|(n, _)| *n == name).expect("a message");
    let mut bytes = Vec::with_capacity(OUT_BYTES);
    term.encode(&mut bytes);
    (term, bytes)
}

/// What a Rust program sends: a tag, numbers, text.
type Value = (Atom, u64, f64, String);

fn values() -> (Vec<Value>, Vec<u8>) {
    let tag = Atom::from_static("item");
    let value = |i: u64| (tag.clone(), i, i as f64 * 0.5, format!("name {i}"));
    let values = (0..BATCH as u64).map(value).collect();
    let mut bytes = Vec::with_capacity(OUT_BYTES);
    to_bytes(&values, &mut bytes).expect("a term");
    (values, bytes)
}

#[library_benchmark]
#[bench::values(values())]
fn term_to_bytes((values, mut out): (Vec<Value>, Vec<u8>)) -> (Vec<Value>, Vec<u8>) {
    out.clear();
    to_bytes(black_box(&values), &mut out).expect("a term");
    (values, out)
}

#[library_benchmark]
#[bench::values(values())]
fn term_from_bytes((values, bytes): (Vec<Value>, Vec<u8>)) -> (Vec<Value>, Vec<u8>) {
    type Borrowed<'a> = (&'a str, u64, f64, &'a str);
    let read: Vec<Borrowed<'_>> =
        from_bytes(black_box(&bytes), &(), &Limits::DEFAULT).expect("the values");
    assert_eq!(black_box(read).len(), BATCH);
    (values, bytes)
}

#[library_benchmark]
#[bench::tuples(a_term("list of 1000 tuples"))]
#[bench::map(a_term("map of 100 atoms"))]
fn term_encode((term, mut out): (Term, Vec<u8>)) -> (Term, Vec<u8>) {
    out.clear();
    black_box(&term).encode(&mut out);
    (term, out)
}

#[library_benchmark]
#[bench::tuples(a_term("list of 1000 tuples"))]
fn term_encode_gather(message: (Term, Vec<u8>)) -> ((Term, Vec<u8>), Gather) {
    let gathered = black_box(&message.0).encode_gather(Gather::THRESHOLD_BYTES);
    (message, gathered)
}

#[library_benchmark]
#[bench::tuples(a_term("list of 1000 tuples"))]
#[bench::map(a_term("map of 100 atoms"))]
fn term_validate(message: (Term, Vec<u8>)) -> (Term, Vec<u8>) {
    black_box(validate(black_box(&message.1), 0, &Limits::DEFAULT)).expect("valid");
    message
}

#[library_benchmark]
#[bench::tuples(a_term("list of 1000 tuples"))]
#[bench::map(a_term("map of 100 atoms"))]
fn term_walk(message: (Term, Vec<u8>)) -> (Term, Vec<u8>) {
    let (term, _) = TermRef::decode(black_box(&message.1), &[], &Limits::DEFAULT).expect("valid");
    black_box(terms::walk(term));
    message
}

// ---- Links

type Headers = (Vec<[Atom; 3]>, SendCache, HeaderReader, Vec<u8>);

fn headers_of(words: usize) -> Headers {
    let messages = headers::messages(words);
    let (cache, reader, headers) = headers::prepared(&messages);
    (messages, cache, reader, headers)
}

#[library_benchmark]
#[bench::known(headers_of(2))]
fn header_write((messages, mut cache, reader, mut out): Headers) -> Headers {
    out.clear();
    headers::write(&mut cache, black_box(&messages), &mut out);
    (messages, cache, reader, out)
}

#[library_benchmark]
#[bench::same(headers_of(1))]
#[bench::changing(headers_of(2))]
fn header_read((messages, cache, mut reader, headers): Headers) -> Headers {
    headers::read(&mut reader, black_box(&headers));
    (messages, cache, reader, headers)
}

const PLAIN: Flags = Flags::HIDDEN.without(Flags::DIST_HDR_ATOM_CACHE);

/// A link that has sent a batch already.
fn sending_link(flags: Flags) -> Link {
    let mut link = link(flags, "alpha@127.0.0.1", "omega@127.0.0.1");
    send_batch(&mut link, &message());
    links::write_short(&mut link, usize::MAX);
    link
}

#[library_benchmark]
#[bench::plain(sending_link(PLAIN))]
#[bench::cached(sending_link(Flags::HIDDEN))]
fn link_send(mut link: Link) -> Link {
    send_batch(&mut link, black_box(&message()));
    links::write_short(&mut link, usize::MAX);
    link
}

#[library_benchmark]
#[bench::plain(prepared(PLAIN))]
#[bench::cached(prepared(Flags::HIDDEN))]
fn link_receive((mut link, batch): (Link, Slice)) -> (Link, Slice) {
    links::receive(&mut link, black_box(&batch));
    (link, batch)
}

#[library_benchmark]
#[bench::plain(prepared(PLAIN))]
#[bench::cached(prepared(Flags::HIDDEN))]
fn link_receive_plain((mut link, batch): (Link, Slice)) -> (Link, Slice) {
    links::receive_plain(&mut link, black_box(&batch));
    (link, batch)
}

/// Bytes of a large message; all that are sent at once are within a link's limit.
const LARGE_BYTES: usize = 192 << 10;

fn large() -> Bytes {
    Bytes::from(vec![7; LARGE_BYTES])
}

#[library_benchmark]
#[bench::large(sending_link(Flags::HIDDEN), large())]
fn link_fragments(mut link: Link, payload: Bytes) -> (Link, Bytes) {
    outboxes::link_send_large(&mut link, &payload);
    links::write_short(&mut link, usize::MAX);
    (link, payload)
}

// ---- Lanes

type Sender = (lanes::Send, End, Acknowledger, Vec<u8>);

/// The end of a lane that has sent a batch already, for payloads of so many bytes.
fn sending_end(form: usize, bytes: usize, checksum: bool) -> Sender {
    let ([mut end, _], mut peer, (_, send)) =
        (ends(checksum), Acknowledger::new(checksum), SENDS[form]);
    let payload = vec![7; bytes];
    send_lane_batch(send, &mut end, &payload);
    peer.write_all(&mut end, usize::MAX);
    (send, end, peer, payload)
}

fn send_lane_batch(send: lanes::Send, end: &mut End, payload: &[u8]) {
    for _ in 0..BATCH {
        send(&mut end.lane, black_box(payload));
    }
}

const RAW: usize = 0;
const TERM: usize = 1;

#[library_benchmark]
#[bench::raw(sending_end(RAW, 16, false))]
#[bench::term(sending_end(TERM, 16, false))]
#[bench::raw_checksum(sending_end(RAW, 16, true))]
#[bench::raw_200_checksum(sending_end(RAW, 200, true))]
fn lane_send((send, mut end, mut peer, payload): Sender) -> Sender {
    send_lane_batch(send, &mut end, &payload);
    peer.write_all(&mut end, usize::MAX);
    (send, end, peer, payload)
}

/// The end of a lane, and the runs that it has received.
type Receiving = (End, Vec<Run>);

/// The end of a lane with a batch in its memory. Copying it there is no matter of the lane.
fn receiving_end(form: usize, bytes: usize, checksum: bool) -> Receiving {
    let ([mut sender, mut end], (_, send)) = (ends(checksum), SENDS[form]);
    send_lane_batch(send, &mut sender, &vec![7; bytes]);
    let mut wire = Vec::new();
    sender.write_all(|bytes| wire.extend_from_slice(bytes));
    let mut runs = Vec::with_capacity(64);
    end.read(&wire, &mut runs);
    runs.clear();
    assert!(end.fill(&wire).is_empty(), "a batch fits into one slab");
    (end, runs)
}

#[library_benchmark]
#[bench::raw(receiving_end(RAW, 16, false))]
#[bench::term(receiving_end(TERM, 16, false))]
#[bench::raw_checksum(receiving_end(RAW, 16, true))]
#[bench::raw_200_checksum(receiving_end(RAW, 200, true))]
fn lane_receive((mut end, mut runs): Receiving) -> Receiving {
    end.receive(&mut runs);
    (end, runs)
}

/// The runs of a batch.
fn received(form: usize) -> Receiving {
    let (mut end, mut runs) = receiving_end(form, 16, false);
    end.receive(&mut runs);
    (end, runs)
}

#[library_benchmark]
#[bench::raw(received(RAW))]
fn lane_read_run((end, mut runs): Receiving) -> Receiving {
    for run in &mut runs {
        while let Some(message) = run.next() {
            black_box(&message.payload[..]);
        }
    }
    (end, runs)
}

#[library_benchmark]
#[bench::large(sending_end(RAW, 16, false), large())]
fn lane_fragments((send, mut end, mut peer, small): Sender, payload: Bytes) -> (Sender, Bytes) {
    outboxes::lane_send_large(&mut end.lane, &payload);
    peer.write_all(&mut end, usize::MAX);
    ((send, end, peer, small), payload)
}

// ---- Shards

type Message = [u64; 8];

#[library_benchmark]
#[bench::data(mesh::<Message>(2, &MeshConfig::default()))]
fn mesh_push_and_drain(mut mesh: Mesh<Message>) -> Mesh<Message> {
    let [from, to] = &mut mesh.seats[..] else { unreachable!("two seats") };
    for i in 0..BATCH {
        from.push(to.id(), black_box([i as u64; 8])).expect("room");
    }
    let drained = to.drain(BATCH, |from, message| {
        black_box((from, message));
    });
    assert_eq!(drained, BATCH);
    mesh
}

/// Bytes of a frame that is cut, with what stands before its payload.
const FRAME_BYTES: usize = 40;
const HEADER_BYTES: usize = 24;

/// A receiver with a batch of frames in it.
fn receiver() -> Receiver {
    let mut receiver = Receiver::new(SlabPool::new());
    let bytes = BATCH * FRAME_BYTES;
    receiver.spare()[..bytes].fill(7);
    receiver.commit(bytes);
    receiver
}

#[library_benchmark]
#[bench::frames(receiver())]
fn buffer_take(mut receiver: Receiver) -> Receiver {
    for _ in 0..BATCH {
        black_box(receiver.take(black_box(FRAME_BYTES)));
    }
    receiver
}

#[library_benchmark]
#[bench::frames(receiver().take(BATCH * FRAME_BYTES).expect("a batch"))]
fn buffer_cut(mut rest: Slice) -> Slice {
    for _ in 1..BATCH {
        let mut frame = rest.split_to(black_box(FRAME_BYTES));
        frame.advance(HEADER_BYTES);
        black_box(frame);
    }
    rest
}

library_benchmark_group!(
    name = term,
    benchmarks =
        [term_to_bytes, term_from_bytes, term_encode, term_encode_gather, term_validate, term_walk]
);
library_benchmark_group!(
    name = link_to_otp,
    benchmarks =
        [header_write, header_read, link_send, link_receive, link_receive_plain, link_fragments]
);
library_benchmark_group!(
    name = lane,
    benchmarks = [lane_send, lane_receive, lane_read_run, lane_fragments]
);
library_benchmark_group!(name = shard, benchmarks = [mesh_push_and_drain, buffer_take, buffer_cut]);

// Long copies of libc are one instruction for each byte on some processors and vectors on others.
const TUNABLES: &str =
    "glibc.cpu.x86_rep_movsb_threshold=1073741824:glibc.cpu.x86_rep_stosb_threshold=1073741824";

main!(
    config = LibraryBenchmarkConfig::default()
        .env("GLIBC_TUNABLES", TUNABLES)
        .tool(Callgrind::with_args(["--cache-sim=no"]).format([EventKind::Ir])),
    library_benchmark_groups = [term, link_to_otp, lane, shard]
);
