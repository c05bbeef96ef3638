//! Lanes over connections that break at any byte and damage what they carry: every signal arrives
//! once, and those of one sender in the order they were sent.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use krarup_transport::buffer::{Receiver, SlabPool};
use krarup_transport::dist::Control;
use krarup_transport::fabric::{
    Form, Incoming, Lane, LaneConfig, LaneError, LaneMessage, ProcessNumber, Target,
};
use krarup_transport::link::{IoSlices, Outgoing, SendError, SenderKey};
use krarup_transport::term::{Atom, Creation, write_binary};
use proptest::prelude::*;

const SENDERS: u32 = 5;

/// Something that happens to the two ends, which are 0 and 1.
#[derive(Clone, Debug)]
enum Step {
    Send {
        end: usize,
        sender: u32,
        how: How,
        size: usize,
    },
    /// The socket takes so many bytes.
    Write {
        end: usize,
        bytes: usize,
    },
    /// So many bytes of those under way arrive.
    Arrive {
        end: usize,
        bytes: usize,
    },
    /// The shard's clock.
    Clock {
        end: usize,
    },
    /// A bit changes under way. Only with checksums.
    Damage {
        end: usize,
        at: usize,
    },
    /// The connection breaks, with all that is under way.
    Break,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Raw,
    TermWith,
    Pieces(usize),
    Named,
    Signal,
    Hold,
}

fn step() -> impl Strategy<Value = Step> {
    let end = 0..2_usize;
    let how = prop_oneof![
        4 => Just(How::Raw),
        2 => Just(How::TermWith),
        3 => (1..4_usize).prop_map(How::Pieces),
        1 => Just(How::Named),
        2 => Just(How::Signal),
        1 => Just(How::Hold),
    ];
    let size = prop_oneof![
        6 => 8..200_usize,
        2 => 200..20_000_usize,
        1 => 60_000..70_000_usize,
        2 => 70_000..400_000_usize,
    ];
    let bytes =
        || prop_oneof![2 => 1..100_usize, 2 => 100..30_000_usize, 3 => 30_000..300_000_usize];
    prop_oneof![
        8 => (end.clone(), 0..SENDERS, how, size)
            .prop_map(|(end, sender, how, size)| Step::Send { end, sender, how, size }),
        6 => (end.clone(), bytes()).prop_map(|(end, bytes)| Step::Write { end, bytes }),
        6 => (end.clone(), bytes()).prop_map(|(end, bytes)| Step::Arrive { end, bytes }),
        1 => end.clone().prop_map(|end| Step::Clock { end }),
        1 => (end, 0..300_000_usize).prop_map(|(end, at)| Step::Damage { end, at }),
        1 => Just(Step::Break),
    ]
}

/// What is known of a signal on both sides: who sent it, and its payload with the number in front.
type Sent = (ProcessNumber, Vec<u8>);

struct End {
    lane: Lane,
    receiver: Receiver,
    /// Bytes under way to this end.
    cable: VecDeque<u8>,
    /// What the other end sent and this one has not received, by sender.
    expected: HashMap<ProcessNumber, VecDeque<Sent>>,
    received: usize,
}

struct Pair {
    ends: [End; 2],
    next: u64,
    checksum: bool,
    breaks: usize,
}

fn sender(number: u32) -> ProcessNumber {
    ProcessNumber { id: 256 * number, serial: number }
}

const TARGET: ProcessNumber = ProcessNumber { id: 512, serial: 9 };

impl Pair {
    fn new(checksum: bool) -> Pair {
        let nodes = [("a@127.0.0.1", 7), ("b@127.0.0.1", 9)]
            .map(|(name, creation)| (Atom::from_static(name), Creation(creation)));
        let end = |local: usize| {
            let mut config = LaneConfig::new(nodes[local].clone(), nodes[1 - local].clone());
            config.checksum = checksum;
            config.limits.outbox_bytes_max = 300_000;
            config.limits.outbox_bytes_low = 100_000;
            config.limits.replay_bytes_max = 500_000;
            config.limits.ack_bytes = 50_000;
            config.limits.write_bytes_max = 150_000;
            End {
                lane: Lane::new(config, Instant::now()),
                receiver: Receiver::new(SlabPool::new()),
                cable: VecDeque::new(),
                expected: HashMap::new(),
                received: 0,
            }
        };
        Pair { ends: [end(0), end(1)], next: 0, checksum, breaks: 0 }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Send { end, sender: number, how, size } => self.send(end, number, how, size),
            Step::Write { end, bytes } => self.write(end, bytes).map(|_| ()),
            Step::Arrive { end, bytes } => self.arrive(end, bytes),
            Step::Clock { end } => {
                self.ends[end].lane.acknowledge();
                Ok(())
            }
            Step::Damage { end, at } => {
                let cable = &mut self.ends[end].cable;
                if self.checksum && !cable.is_empty() {
                    let at = at % cable.len();
                    cable[at] ^= 1 << (at % 8);
                }
                Ok(())
            }
            Step::Break => {
                self.reconnect();
                Ok(())
            }
        }
    }

    fn send(
        &mut self,
        end: usize,
        number: u32,
        how: How,
        size: usize,
    ) -> Result<(), TestCaseError> {
        let from = sender(number);
        // A hold tells about the present and may pass what its process sent before.
        let key = if matches!(how, How::Hold) { ProcessNumber { id: 1, ..from } } else { from };
        self.next += 1;
        let mut payload = self.next.to_le_bytes().to_vec();
        payload.extend((8..size).map(|i| (i as u64).wrapping_mul(self.next) as u8));
        let mut term = Vec::new();
        write_binary(&mut term, &payload);
        let lane = &mut self.ends[end].lane;
        // Large signals have a budget of their own.
        let room = lane.check_room().is_ok() && lane.has_bulk_room();
        let encode = |out: &mut Vec<u8>| {
            out.extend_from_slice(&term);
            Ok(())
        };
        let (sent, expected) = match how {
            How::Raw => (lane.send_raw(from, TARGET, &payload), payload),
            How::TermWith => (lane.send_message_with(from, TARGET, encode), term),
            How::Pieces(count) => {
                let pieces = payload.chunks(size.div_ceil(count)).map(Bytes::copy_from_slice);
                (lane.send_message(from, TARGET, pieces.collect(), Form::Raw), payload)
            }
            How::Named => {
                let name = Atom::from_static("somebody");
                (lane.send_named_with(from, &name, Form::Term, encode), term)
            }
            How::Signal => {
                let (from_pid, to) = (lane.local_pid(from), lane.peer_pid(TARGET));
                let control = Control::Exit { from: from_pid, to, token: None };
                let sender = SenderKey::of_numbers(from.id, from.serial);
                (lane.send_signal(sender, &control, Some(Outgoing::Encoded(&term))), term)
            }
            How::Hold => {
                let holder = ProcessNumber { id: 1, ..from };
                let sender = ProcessNumber { id: self.next as u32, serial: 0 };
                (lane.hold(holder, sender, None).map_err(SendError::Busy), vec![self.next as u8])
            }
        };
        match sent {
            Ok(()) => {
                let queue = self.ends[1 - end].expected.entry(key).or_default();
                queue.push_back((key, expected));
            }
            Err(SendError::Busy(_)) => prop_assert!(!room, "refused with room"),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
        Ok(())
    }

    fn write(&mut self, end: usize, bytes_max: usize) -> Result<usize, TestCaseError> {
        let lane = &mut self.ends[end].lane;
        let pending = lane.is_write_pending();
        let mut slices = IoSlices::new();
        lane.io_slices(&mut slices);
        prop_assert_eq!(pending, !slices.is_empty());
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        drop(slices);
        bytes.truncate(bytes_max);
        lane.written(bytes.len());
        let count = bytes.len();
        self.ends[1 - end].cable.extend(bytes);
        Ok(count)
    }

    fn arrive(&mut self, end: usize, bytes_max: usize) -> Result<(), TestCaseError> {
        let this = &mut self.ends[end];
        let mut left = bytes_max.min(this.cable.len());
        while left > 0 {
            let spare = this.receiver.spare();
            let count = left.min(spare.len());
            spare.iter_mut().zip(this.cable.drain(..count)).for_each(|(to, from)| *to = from);
            this.receiver.commit(count);
            left -= count;
            if this.take()? {
                self.reconnect();
                return Ok(());
            }
        }
        self.ends[end].receiver.rest();
        Ok(())
    }

    fn reconnect(&mut self) {
        self.breaks += 1;
        let now = Instant::now();
        let positions = self.ends.each_mut().map(|end| {
            end.cable.clear();
            end.lane.detach(Some(&mut end.receiver))
        });
        for (end, peer_received) in self.ends.iter_mut().zip([positions[1], positions[0]]) {
            end.lane.attach(peer_received, now).expect("a position");
        }
    }
}

impl End {
    /// Takes what has arrived. Gives whether the connection is to be given up.
    fn take(&mut self) -> Result<bool, TestCaseError> {
        loop {
            let incoming = match self.lane.receive(&mut self.receiver) {
                Ok(incoming) => incoming,
                Err(LaneError::Checksum { .. }) => return Ok(true),
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            };
            let bytes = |payload: &krarup_transport::link::Payload| {
                payload.parts.iter().flat_map(|part| part.to_vec()).collect()
            };
            match incoming {
                Incoming::NeedMore(_) => return Ok(false),
                Incoming::Run(mut run) => {
                    prop_assert_eq!(run.to(), TARGET);
                    while let Some(message) = run.next() {
                        self.expect(message.from, message.payload.to_vec())?;
                    }
                }
                Incoming::Message(LaneMessage { from, to, payload, .. }) => {
                    let known = to == Target::Process(TARGET)
                        || to == Target::Name(Atom::from_static("somebody"));
                    prop_assert!(known);
                    self.expect(from, bytes(&payload))?;
                }
                Incoming::Signal(signal) => {
                    let Control::Exit { from, .. } = &signal.control else {
                        return Err(TestCaseError::fail("another signal"));
                    };
                    let from = ProcessNumber { id: from.id, serial: from.serial };
                    self.expect(from, signal.payload.as_ref().map(bytes).unwrap_or_default())?;
                }
                Incoming::Hold { holder, sender, .. } => {
                    self.expect(holder, vec![sender.id as u8])?
                }
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            }
        }
    }

    fn expect(&mut self, from: ProcessNumber, payload: Vec<u8>) -> Result<(), TestCaseError> {
        self.received += 1;
        let queue = self.expected.get_mut(&from);
        let next = queue.and_then(VecDeque::pop_front);
        let Some((_, expected)) = next else {
            return Err(TestCaseError::fail(format!("nothing more was sent by {from}")));
        };
        prop_assert!(payload == expected, "not the next signal of {from}");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_signal_arrives_once_and_in_order(
        steps in prop::collection::vec(step(), 1..150),
        checksum in any::<bool>(),
    ) {
        let mut pair = Pair::new(checksum);
        for step in steps {
            pair.step(step)?;
        }
        // In the end everything arrives, over a connection that holds.
        let mut still = 0;
        while pair.ends.iter().any(|end| end.expected.values().any(|queue| !queue.is_empty())) {
            let received = pair.ends.each_ref().map(|end| end.received);
            for end in [0, 1] {
                while pair.write(end, usize::MAX)? > 0 {}
            }
            for end in [0, 1] {
                pair.arrive(end, usize::MAX)?;
                pair.ends[end].lane.acknowledge();
            }
            // A damaged length can make a lane wait for bytes that never come: it falls silent.
            let progress = received != pair.ends.each_ref().map(|end| end.received);
            still = if progress { 0 } else { still + 1 };
            if still % 20 == 19 {
                pair.reconnect();
            }
            prop_assert!(still < 100, "nothing arrives any more");
        }
        for end in &pair.ends {
            prop_assert_eq!(end.lane.unfinished_messages(), (0, 0));
            prop_assert_eq!(end.lane.waiting_bytes(), 0);
            prop_assert_eq!(end.lane.replay_counters().resumes, pair.breaks as u64);
        }
    }
}
