//! A lane that has warmed up allocates nothing per message.

// Counting allocations takes an allocator, and its trait is unsafe.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

use bytes::Bytes;
use krarup_transport::buffer::{Receiver, SlabPool};
use krarup_transport::dist::{Control, Destination};
use krarup_transport::fabric::{Form, Incoming, Lane, LaneConfig, ProcessNumber, Run};
use krarup_transport::link::{IoSlices, Outgoing, SenderKey};
use krarup_transport::term::{Atom, Creation, Reference, write_binary};
use smallvec::smallvec;

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

const A: ProcessNumber = ProcessNumber { id: 256, serial: 1 };
const B: ProcessNumber = ProcessNumber { id: 512, serial: 2 };

struct Pair {
    sender: Lane,
    receiver: Lane,
    to_sender: Receiver,
    to_receiver: Receiver,
    /// What the receiver has not looked at: kept for a while, as in a mailbox.
    mailbox: Vec<Run>,
    received: u64,
}

impl Pair {
    fn new(checksum: bool) -> Pair {
        let [a, b] = [("a@127.0.0.1", 7), ("b@127.0.0.1", 9)]
            .map(|(name, creation)| (Atom::from_static(name), Creation(creation)));
        let lane = |local: &(Atom, Creation), peer: &(Atom, Creation)| {
            let mut config = LaneConfig::new(local.clone(), peer.clone());
            config.checksum = checksum;
            Lane::new(config, Instant::now())
        };
        let pool = SlabPool::new();
        Pair {
            sender: lane(&a, &b),
            receiver: lane(&b, &a),
            to_sender: Receiver::new(pool.clone()),
            to_receiver: Receiver::new(pool),
            mailbox: Vec::with_capacity(64),
            received: 0,
        }
    }

    /// Moves everything both ways, acknowledgements included, in writes of up to `bytes_max`.
    fn transfer(&mut self, bytes_max: usize) {
        while self.sender.is_write_pending() || self.receiver.is_write_pending() {
            carry(&mut self.sender, &mut self.to_receiver, bytes_max);
            loop {
                match self.receiver.receive(&mut self.to_receiver).expect("valid") {
                    Incoming::Run(run) => {
                        if self.mailbox.len() == self.mailbox.capacity() {
                            self.read_mailbox();
                        }
                        self.mailbox.push(run);
                    }
                    Incoming::NeedMore(_) => break,
                    Incoming::Message(_) | Incoming::Signal(_) => self.received += 1,
                    other => panic!("{other:?}"),
                }
            }
            self.to_receiver.rest();
            carry(&mut self.receiver, &mut self.to_sender, bytes_max);
            let incoming = self.sender.receive(&mut self.to_sender);
            assert!(matches!(incoming, Ok(Incoming::NeedMore(_))), "{incoming:?}");
            self.to_sender.rest();
        }
        self.read_mailbox();
    }

    fn read_mailbox(&mut self) {
        for mut run in self.mailbox.drain(..) {
            while let Some(message) = run.next() {
                assert_eq!(message.payload.last(), Some(&7));
                self.received += 1;
            }
        }
    }
}

/// Writes some of what a lane has queued straight into a receiver.
fn carry(from: &mut Lane, to: &mut Receiver, bytes_max: usize) {
    let mut slices = IoSlices::new();
    from.io_slices(&mut slices);
    let mut spare = to.spare();
    let mut written = 0;
    for slice in &slices {
        let count = slice.len().min(spare.len()).min(bytes_max - written);
        spare[..count].copy_from_slice(&slice[..count]);
        spare = &mut spare[count..];
        written += count;
    }
    drop(slices);
    from.written(written);
    to.commit(written);
}

#[test]
fn small_messages_allocate_nothing() {
    for checksum in [false, true] {
        let mut pair = Pair::new(checksum);
        let mut round = || {
            let before = pair.received;
            for _ in 0..3000 {
                pair.sender.send_raw(A, B, &[7; 16]).expect("room");
                let encode = |out: &mut Vec<u8>| {
                    write_binary(out, &[7; 100]);
                    Ok::<(), std::convert::Infallible>(())
                };
                pair.sender.send_message_with(A, B, encode).expect("room");
            }
            // Uneven partial writes, over several blocks.
            pair.transfer(70_001);
            assert_eq!(pair.received - before, 6000);
        };
        for _ in 0..10 {
            round();
        }
        assert_eq!(allocations(&mut round), 0);
    }
}

#[test]
fn pieces_by_reference_are_neither_copied_nor_allocated() {
    let payload = Bytes::from(vec![7; 60_000]);
    let range = payload.as_ptr_range();
    let mut pair = Pair::new(false);
    let mut by_reference = 0;
    let mut round = || {
        for _ in 0..10 {
            let pieces = smallvec![payload.clone()];
            pair.sender.send_message(A, B, pieces, Form::Raw).expect("room");
        }
        let mut slices = IoSlices::new();
        pair.sender.io_slices(&mut slices);
        let referred = slices.iter().filter(|slice| range.contains(&slice.as_ptr()));
        by_reference += referred.map(|slice| slice.len()).sum::<usize>();
        drop(slices);
        pair.transfer(usize::MAX);
    };
    for _ in 0..10 {
        round();
    }
    assert_eq!(allocations(&mut round), 0);
    assert!(by_reference >= 6 * 4 * 60_000, "{by_reference}");
}

#[test]
fn messages_to_names_and_aliases_allocate_nothing() {
    let mut pair = Pair::new(false);
    let node = Atom::from_static("b@127.0.0.1");
    let alias = Reference::new(node, Creation(9), &[1, 2, 3]).expect("three words");
    let control = Control::Send {
        from: Some(pair.sender.local_pid(A)),
        to: Destination::Alias(alias),
        priority: false,
        token: None,
    };
    let sender = SenderKey::of_numbers(A.id, A.serial);
    let name = Atom::from_static("server");
    let mut term = Vec::new();
    write_binary(&mut term, &[7; 20_000]);
    let term = Bytes::from(term);
    let mut round = || {
        let before = pair.received;
        for _ in 0..10 {
            let pieces = smallvec![term.clone()];
            pair.sender
                .send_signal(sender, &control, Some(Outgoing::Chunks(pieces)))
                .expect("room");
            let payload = Some(Outgoing::Encoded(&term));
            pair.sender.send_signal(sender, &control, payload).expect("room");
            let pieces = smallvec![term.clone()];
            pair.sender.send_named(A, &name, pieces, Form::Term).expect("room");
        }
        pair.transfer(70_001);
        assert_eq!(pair.received - before, 30);
    };
    for _ in 0..10 {
        round();
    }
    assert_eq!(allocations(&mut round), 0);
}

#[test]
fn breaking_and_resuming_allocates_nothing() {
    let mut pair = Pair::new(false);
    let mut round = || {
        for _ in 0..3000 {
            pair.sender.send_raw(A, B, &[7; 16]).expect("room");
        }
        carry(&mut pair.sender, &mut pair.to_receiver, 50_000);
        let now = Instant::now();
        let to_sender = pair.receiver.detach(Some(&mut pair.to_receiver));
        let to_receiver = pair.sender.detach(Some(&mut pair.to_sender));
        pair.sender.attach(to_sender, now).expect("a position");
        pair.receiver.attach(to_receiver, now).expect("a position");
        pair.transfer(70_001);
    };
    for _ in 0..10 {
        round();
    }
    assert_eq!(allocations(&mut round), 0);
}
