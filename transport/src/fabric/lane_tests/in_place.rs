//! Payloads of 8 KiB and more are not copied: what a lane offers to the socket is the sender's
//! memory, and what it gives to the receiver is where the socket wrote.

use std::ops::Range;

use super::*;
use crate::buffer::{SLAB_BYTES, Slice};
use crate::link::CHUNK_BYTES_MIN;

fn addresses(bytes: &[u8]) -> Range<usize> {
    let start = bytes.as_ptr().addr();
    start..start + bytes.len()
}

/// How many of the bytes lie in the memory, in which no byte is twice.
fn bytes_inside(bytes: &[u8], memory: &[Range<usize>]) -> usize {
    let bytes = addresses(bytes);
    let common = |memory: &Range<usize>| {
        bytes.end.min(memory.end).saturating_sub(bytes.start.max(memory.start))
    };
    memory.iter().map(common).sum()
}

/// Sends one message and gives its bytes on the wire, and how many of them are the sender's memory.
fn written(end: &mut End, body: &Bytes) -> (Vec<u8>, usize) {
    end.lane.send_message(A, B, smallvec![body.clone()], Form::Raw).unwrap();
    let (mut wire, mut by_reference) = (Vec::new(), 0);
    while end.lane.is_write_pending() {
        let mut slices = IoSlices::new();
        end.lane.io_slices(&mut slices);
        let before = wire.len();
        for slice in &slices {
            by_reference += bytes_inside(slice, &[addresses(body)]);
            wire.extend_from_slice(slice);
        }
        drop(slices);
        end.lane.written(wire.len() - before);
    }
    (wire, by_reference)
}

/// Gives `wire` to a lane a receive at a time, and the message that came. Says where its bytes were
/// received.
fn received(end: &mut End, mut wire: &[u8]) -> (Vec<Slice>, Vec<Range<usize>>) {
    let mut memory = Vec::new();
    loop {
        let spare = end.receiver.spare();
        let count = spare.len().min(wire.len());
        spare[..count].copy_from_slice(&wire[..count]);
        memory.push(addresses(&spare[..count]));
        end.receiver.commit(count);
        wire = &wire[count..];
        match end.lane.receive(&mut end.receiver).unwrap() {
            Incoming::Run(mut run) => return (vec![run.next().unwrap().payload], memory),
            Incoming::Message(message) => return (message.payload.parts.into_vec(), memory),
            Incoming::NeedMore(_) => assert!(!wire.is_empty(), "the message is whole"),
            _ => panic!("a message"),
        }
    }
}

#[test]
fn large_payloads_are_sent_and_received_where_they_lie() {
    // Less than the replay buffer, as nobody acknowledges here.
    for size in [CHUNK_BYTES_MIN, 64 << 10, (64 << 10) + 100, 1 << 20, 5 << 20] {
        let (mut a, mut b) = pair_with(|config| config.limits = config.limits.for_peer(u32::MAX));
        let body = Bytes::from((0..size).map(|at| (at % 251) as u8).collect::<Vec<u8>>());
        let (wire, by_reference) = written(&mut a, &body);
        assert_eq!(by_reference, size, "what is sent is the sender's memory");
        let (parts, memory) = received(&mut b, &wire);
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        assert_eq!(bytes, body);
        let in_place: usize = parts.iter().map(|part| bytes_inside(part, &memory)).sum();
        // The beginning of the frame that does not fit into a slab any more moves to the next one.
        let moved_max = size.div_ceil(SLAB_BYTES).saturating_sub(1) * 1024;
        assert!(in_place + moved_max >= size, "{in_place} of {size} bytes lie where they came");
    }
}
