//! A link that has warmed up allocates nothing per message.

// Counting allocations takes an allocator, and its trait is unsafe.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

use krarup_transport::buffer::Slice;
use krarup_transport::dist::frame::{Front, LENGTH_BYTES};
use krarup_transport::dist::{Control, Destination};
use krarup_transport::handshake::Flags;
use krarup_transport::link::{IoSlices, Link, LinkConfig, Outgoing};
use krarup_transport::term::{Atom, Creation, Pid, write_binary};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting per thread.
struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more, and does not matter here.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are those the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the pointer came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

const PLAIN: Flags = Flags::HIDDEN.without(Flags::DIST_HDR_ATOM_CACHE);
const SHAPES: [Flags; 3] = [PLAIN.without(Flags::FRAGMENTS), PLAIN, Flags::HIDDEN];

/// A name too long to be kept inline: cloning it must not allocate either.
const LONG_NAME: &str = "a_rather_long_node_name@some.host.example.org";

fn link(flags: Flags, local: &'static str, peer: &'static str) -> Link {
    let atom = |name| Atom::new(name).expect("short enough");
    Link::new(LinkConfig::new(flags, atom(local), atom(peer)), Instant::now())
}

fn pid(node: &'static str) -> Pid {
    Pid { node: Atom::new(node).expect("short enough"), id: 256, serial: 0, creation: Creation(1) }
}

fn write_all(link: &mut Link, bytes_max: usize, mut take: impl FnMut(&[u8])) {
    while link.is_write_pending() {
        let mut slices = IoSlices::new();
        link.io_slices(&mut slices);
        let mut room = bytes_max;
        for slice in &slices {
            let taken = room.min(slice.len());
            room -= taken;
            take(&slice[..taken]);
        }
        drop(slices);
        link.written(bytes_max - room);
    }
}

#[test]
fn sending_and_receiving_small_messages_allocates_nothing() {
    for flags in SHAPES {
        for node in ["a@127.0.0.1", LONG_NAME] {
            let mut sender = link(flags, node, "b@127.0.0.1");
            let mut receiver = link(flags, "b@127.0.0.1", node);
            let control = Control::Send {
                from: Some(pid(node)),
                to: Destination::Process(pid("b@127.0.0.1")),
                priority: false,
                token: None,
            };
            let mut wire = Vec::with_capacity(1 << 20);
            let mut round = |wire: &mut Vec<u8>| {
                for _ in 0..3000 {
                    sender.send_with(&control, |out| write_binary(out, &[7; 16])).expect("room");
                }
                // Uneven partial writes, over several segments.
                write_all(&mut sender, 70_001, |bytes| wire.extend_from_slice(bytes));
            };
            for _ in 0..3 {
                wire.clear();
                round(&mut wire);
            }
            wire.clear();
            assert_eq!(allocations(|| round(&mut wire)), 0, "sending, {node}");

            let mut receive = |mut rest: Slice| {
                let mut signals = 0;
                while let Front::Frame(len) = receiver.frame_reader().front(&rest) {
                    rest.advance(LENGTH_BYTES);
                    let signal = receiver.receive(rest.split_to(len)).expect("valid");
                    signals += usize::from(signal.is_some());
                }
                signals
            };
            if flags.header_atom_cache() {
                // The header that named the atoms was in the first round.
                let mut first = vec![131, 68, 2, 0x88, 0];
                for (slot, name) in [node, "b@127.0.0.1"].into_iter().enumerate() {
                    first.extend_from_slice(&[slot as u8, name.len() as u8]);
                    first.extend_from_slice(name.as_bytes());
                }
                first.extend_from_slice(&[104, 3, 97, 7, 88, 82, 0]);
                first.extend_from_slice(&[0; 12]);
                first.extend_from_slice(&[88, 82, 1]);
                first.extend_from_slice(&[0; 12]);
                let len = (first.len() as u32).to_be_bytes();
                assert_eq!(receive(Slice::from([&len[..], &first].concat())), 1);
            }
            let wire = Slice::from(wire);
            receive(wire.clone());
            let mut signals = 0;
            let count = allocations(|| signals = receive(wire));
            assert_eq!((count, signals), (0, 3000), "receiving, {node}");
        }
    }
}

#[test]
fn pieces_by_reference_are_not_copied() {
    let mut sender = link(PLAIN, "a@127.0.0.1", "b@127.0.0.1");
    let control = Control::Send {
        from: Some(pid("a@127.0.0.1")),
        to: Destination::Process(pid("b@127.0.0.1")),
        priority: false,
        token: None,
    };
    let mut term = Vec::new();
    write_binary(&mut term, &[7; 50_000]);
    let term = bytes::Bytes::from(term);
    let range = term.as_ptr_range();
    let mut by_reference = 0;
    let mut round = || {
        let chunks = smallvec::smallvec![term.clone()];
        sender.send(&control, Some(Outgoing::Chunks(chunks))).expect("room");
        write_all(&mut sender, usize::MAX, |bytes| {
            by_reference += usize::from(range.contains(&bytes.as_ptr())) * bytes.len();
        });
    };
    round();
    round();
    assert_eq!(allocations(&mut round), 0);
    assert_eq!(by_reference, 3 * term.len());
}
