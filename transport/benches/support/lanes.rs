//! Two ends of a lane without a socket between them.

// Each benchmark uses a part of it.
#![allow(dead_code)]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use krarup_transport::buffer::{Receiver, SlabPool};
use krarup_transport::fabric::frame::Header;
use krarup_transport::fabric::{Incoming, Lane, LaneConfig, ProcessNumber, Run};
use krarup_transport::link::IoSlices;
use krarup_transport::term::{Atom, Creation, write_binary};

pub(crate) const FROM: ProcessNumber = ProcessNumber { id: 256, serial: 1 };
pub(crate) const TO: ProcessNumber = ProcessNumber { id: 512, serial: 2 };

/// An [`Acknowledger`] speaks when so much is kept.
const ACK_BYTES: usize = 1 << 20;

pub(crate) struct End {
    pub(crate) lane: Lane,
    pub(crate) receiver: Receiver,
}

/// Two ends of a lane that share a pool of slabs.
pub(crate) fn ends(checksum: bool) -> [End; 2] {
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
    pub(crate) fn write_all(&mut self, mut take: impl FnMut(&[u8])) {
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
    pub(crate) fn read(&mut self, mut bytes: &[u8], runs: &mut Vec<Run>) {
        while !bytes.is_empty() {
            bytes = self.fill(bytes);
            self.receive(runs);
        }
    }

    /// Puts bytes where a socket would, and gives those for which there is no room.
    pub(crate) fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let spare = self.receiver.spare();
        let (now, later) = bytes.split_at(bytes.len().min(spare.len()));
        spare[..now.len()].copy_from_slice(now);
        self.receiver.commit(now.len());
        later
    }

    /// Takes what is complete; the runs go to `runs`.
    pub(crate) fn receive(&mut self, runs: &mut Vec<Run>) {
        loop {
            match self.lane.receive(&mut self.receiver).expect("valid") {
                Incoming::Run(run) => runs.push(run),
                Incoming::NeedMore(_) => return,
                other => drop(black_box(other)),
            }
        }
    }
}

/// The peer of which only acknowledgements are seen: it has everything that was written.
pub(crate) struct Acknowledger {
    position: u64,
    checksum: bool,
}

impl Acknowledger {
    pub(crate) fn new(checksum: bool) -> Acknowledger {
        Acknowledger { position: 0, checksum }
    }

    /// Writes everything of `end`, at most `bytes_max` bytes at a time, and acknowledges it.
    pub(crate) fn write_all(&mut self, end: &mut End, bytes_max: usize) {
        while end.lane.is_write_pending() {
            let mut slices = IoSlices::new();
            end.lane.io_slices(&mut slices);
            let bytes = slices.iter().map(|slice| slice.len()).sum::<usize>().min(bytes_max);
            black_box(&slices);
            drop(slices);
            end.lane.written(bytes);
            self.position += bytes as u64;
            if end.lane.replay_counters().retained_bytes >= ACK_BYTES {
                self.acknowledge(end);
            }
        }
        self.acknowledge(end);
    }

    fn acknowledge(&self, end: &mut End) {
        let mut frame = Header::ack(self.position).encode().to_vec();
        if self.checksum {
            frame.extend_from_slice(&crc32fast::hash(&frame).to_le_bytes());
        }
        end.read(&frame, &mut Vec::new());
    }
}

/// What the peer says so that nothing is kept.
pub(crate) fn acknowledge(from: &mut End, to: &mut End) {
    from.lane.acknowledge();
    let mut ack = Vec::new();
    from.write_all(|bytes| ack.extend_from_slice(bytes));
    to.read(&ack, &mut Vec::new());
}

pub(crate) type Send = fn(&mut Lane, &[u8]);

pub(crate) const SENDS: [(&str, Send); 2] = [
    ("raw", |lane, payload| lane.send_raw(FROM, TO, payload).expect("room")),
    ("term", |lane, payload| {
        let encode = |out: &mut Vec<u8>| {
            write_binary(out, payload);
            Ok::<(), Infallible>(())
        };
        lane.send_message_with(FROM, TO, encode).expect("room");
    }),
];
