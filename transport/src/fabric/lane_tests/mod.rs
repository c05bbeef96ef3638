//! Lanes talking to each other.

mod budget;
mod bulk;
mod in_place;
mod refused;
mod resume;

use std::convert::Infallible;

use bytes::Bytes;
use smallvec::smallvec;

use super::*;
use crate::buffer::SlabPool;
use crate::dist::Control;
use crate::dist::Destination;
use crate::fabric::RunMessage;
use crate::fabric::frame::{Form, kind};
use crate::fabric::{LaneLimits, LaneMessage, Target};
use crate::link::{Outgoing, Payload, SendError, SenderKey, Signal};
use crate::term::write_binary;

const A: ProcessNumber = ProcessNumber { id: 256, serial: 1 };
const B: ProcessNumber = ProcessNumber { id: 512, serial: 2 };
const C: ProcessNumber = ProcessNumber { id: 768, serial: 3 };

fn names() -> [(Atom, Creation); 2] {
    [("a@127.0.0.1", 7), ("b@127.0.0.1", 9)]
        .map(|(name, creation)| (Atom::from_static(name), Creation(creation)))
}

fn config() -> LaneConfig {
    let [local, peer] = names();
    LaneConfig::new(local, peer)
}

#[test]
fn a_lane_is_small() {
    assert!(size_of::<Lane>() <= 736, "{} bytes", size_of::<Lane>());
}

/// One end of a lane with its received bytes.
struct End {
    lane: Lane,
    receiver: Receiver,
}

/// Both ends of a lane.
fn pair_with(change: impl Fn(&mut LaneConfig)) -> (End, End) {
    let mut ours = config();
    change(&mut ours);
    let mut theirs = LaneConfig {
        local: ours.peer.clone(),
        peer: ours.local.clone(),
        local_creation: ours.peer_creation,
        peer_creation: ours.local_creation,
        ..ours.clone()
    };
    change(&mut theirs);
    let now = Instant::now();
    let end =
        |config| End { lane: Lane::new(config, now), receiver: Receiver::new(SlabPool::new()) };
    (end(ours), end(theirs))
}

fn pair() -> (End, End) {
    pair_with(|_| {})
}

/// What a receiver got, in a form that is easy to compare.
#[derive(Clone, Debug, PartialEq)]
enum Got {
    Message { from: ProcessNumber, to: Target, form: Form, payload: Vec<u8> },
    Signal { control: Control, payload: Option<Vec<u8>> },
    Hold { holder: ProcessNumber, sender: ProcessNumber },
    Release { holder: ProcessNumber, sender: ProcessNumber },
    Bye(Atom),
}

impl End {
    /// Lets the socket take up to `bytes_max`, and gives what it took.
    fn write(&mut self, bytes_max: usize) -> Vec<u8> {
        let pending = self.lane.is_write_pending();
        let mut slices = IoSlices::new();
        self.lane.io_slices(&mut slices);
        assert!(slices.iter().all(|slice| !slice.is_empty()));
        assert_eq!(pending, !slices.is_empty());
        let mut bytes = slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>();
        drop(slices);
        bytes.truncate(bytes_max);
        self.lane.written(bytes.len());
        bytes
    }

    /// Receives bytes, as many at a time as there is room for.
    fn feed(&mut self, mut bytes: &[u8]) -> Result<Vec<Got>, LaneError> {
        let mut got = Vec::new();
        loop {
            let spare = self.receiver.spare();
            let count = spare.len().min(bytes.len());
            spare[..count].copy_from_slice(&bytes[..count]);
            self.receiver.commit(count);
            bytes = &bytes[count..];
            self.take(&mut got)?;
            if bytes.is_empty() {
                return Ok(got);
            }
        }
    }

    fn take(&mut self, got: &mut Vec<Got>) -> Result<(), LaneError> {
        loop {
            match self.lane.receive(&mut self.receiver)? {
                Incoming::NeedMore(count) => {
                    assert!(count > self.receiver.unread().len());
                    return Ok(());
                }
                Incoming::Run(mut run) => {
                    let count = run.len();
                    let to = Target::Process(run.to());
                    let before = got.len();
                    while let Some(RunMessage { from, form, payload }) = run.next() {
                        let payload = payload.to_vec();
                        got.push(Got::Message { from, to: to.clone(), form, payload });
                    }
                    assert!(run.is_empty() && count > 0);
                    assert_eq!(got.len(), before + count);
                }
                Incoming::Message(LaneMessage { from, to, form, payload }) => {
                    let payload = bytes_of(&payload);
                    got.push(Got::Message { from, to, form, payload });
                }
                Incoming::Signal(Signal { control, payload }) => {
                    let payload = payload.as_ref().map(bytes_of);
                    got.push(Got::Signal { control, payload });
                }
                Incoming::Hold { holder, sender, .. } => got.push(Got::Hold { holder, sender }),
                Incoming::Release { holder, sender } => got.push(Got::Release { holder, sender }),
                Incoming::Bye(reason) => got.push(Got::Bye(reason)),
            }
        }
    }
}

fn bytes_of(payload: &Payload) -> Vec<u8> {
    payload.parts.iter().flat_map(|part| part.to_vec()).collect()
}

/// Moves everything that `from` has to write to `to`.
fn transfer(from: &mut End, to: &mut End) -> Vec<Got> {
    let mut got = Vec::new();
    while from.lane.is_write_pending() {
        let bytes = from.write(usize::MAX);
        got.extend(to.feed(&bytes).expect("valid"));
    }
    got
}

fn raw(from: ProcessNumber, to: ProcessNumber, payload: &[u8]) -> Got {
    Got::Message { from, to: Target::Process(to), form: Form::Raw, payload: payload.to_vec() }
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    let mut term = Vec::new();
    write_binary(&mut term, bytes);
    term
}

fn encode(term: &[u8]) -> impl FnOnce(&mut Vec<u8>) -> Result<(), Infallible> {
    move |out| {
        out.extend_from_slice(term);
        Ok(())
    }
}

#[test]
fn every_way_to_send_arrives() {
    for checksum in [false, true] {
        let (mut a, mut b) = pair_with(|config| config.checksum = checksum);
        let name = Atom::from_static("echo");
        let term = binary(b"hello");
        let link = Control::Link { from: a.lane.local_pid(A), to: a.lane.peer_pid(B) };
        let exit = Control::Exit { from: a.lane.local_pid(A), to: a.lane.peer_pid(B), token: None };
        let sender = SenderKey::of_numbers(A.id, A.serial);
        a.lane.send_raw(A, B, b"raw").expect("room");
        a.lane.send_raw(C, B, b"").expect("room");
        a.lane.send_message_with(A, B, encode(&term)).expect("room");
        a.lane.send_message(A, C, smallvec![term.clone().into()], Form::Term).expect("room");
        a.lane.send_named_with(A, &name, Form::Term, encode(&term)).expect("room");
        a.lane.send_named(A, &name, smallvec![Bytes::from("raw")], Form::Raw).expect("room");
        a.lane.send_signal(sender, &link, None).expect("room");
        a.lane.send_signal(sender, &exit, Some(Outgoing::Encoded(&term))).expect("room");
        let chunks = smallvec![term.clone().into()];
        a.lane.send_signal(sender, &exit, Some(Outgoing::Chunks(chunks))).expect("room");
        a.lane.send_signal_with(SenderKey::NODE, &exit, encode(&term)).expect("room");
        a.lane.hold(A, B, None).expect("room");
        a.lane.release(A, B).expect("room");
        a.lane.bye(&Atom::from_static("shutdown"));

        let message = |to, form, payload: &[u8]| Got::Message {
            from: A,
            to,
            form,
            payload: payload.to_vec(),
        };
        let exits = Got::Signal { control: exit.clone(), payload: Some(term.clone()) };
        assert_eq!(
            transfer(&mut a, &mut b),
            [
                raw(A, B, b"raw"),
                raw(C, B, b""),
                message(Target::Process(B), Form::Term, &term),
                message(Target::Process(C), Form::Term, &term),
                message(Target::Name(name.clone()), Form::Term, &term),
                message(Target::Name(name), Form::Raw, b"raw"),
                Got::Signal { control: link, payload: None },
                exits.clone(),
                exits.clone(),
                exits,
                Got::Hold { holder: A, sender: B },
                Got::Release { holder: A, sender: B },
                Got::Bye(Atom::from_static("shutdown")),
            ]
        );
        assert_eq!(a.lane.counters().sent_signals, 12);
        assert_eq!(b.lane.counters().received_signals, 13);
        assert_eq!(b.lane.received_position(), a.lane.counters().written_bytes);
        assert_eq!(b.lane.counters().received_bytes, a.lane.counters().written_bytes);
    }
}

#[test]
fn messages_to_one_process_come_as_one_run() {
    let (mut a, mut b) = pair();
    let term = binary(b"term");
    a.lane.send_raw(A, B, b"1").expect("room");
    a.lane.send_message_with(C, B, encode(&term)).expect("room");
    a.lane.send_raw(A, B, b"3").expect("room");
    a.lane.send_raw(A, C, b"4").expect("room");
    let bytes = a.write(usize::MAX);
    b.receiver.spare()[..bytes.len()].copy_from_slice(&bytes);
    b.receiver.commit(bytes.len());
    let Ok(Incoming::Run(run)) = b.lane.receive(&mut b.receiver) else { panic!("a run") };
    assert_eq!((run.to(), run.len(), run.payload_bytes()), (B, 3, 2 + term.len()));
    let copied = run.copied();
    assert_eq!(copied.held_bytes(), run.wire_bytes());
    for mut run in [copied, run.share().adopt()] {
        assert_eq!(run.peek(), Some((A, Form::Raw, &b"1"[..])));
        assert_eq!(run.next().map(|message| message.payload), Some(b"1".to_vec().into()));
        assert_eq!(run.peek(), Some((C, Form::Term, &term[..])));
        assert_eq!((run.len(), run.payload_bytes()), (2, 1 + term.len()));
        run.next();
        run.next();
        assert_eq!((run.next(), run.peek(), run.len()), (None, None, 0));
    }
    let Ok(Incoming::Run(run)) = b.lane.receive(&mut b.receiver) else { panic!("a run") };
    assert_eq!((run.to(), run.len()), (C, 1));
}

#[test]
fn a_message_to_an_alias_is_a_signal() {
    let (mut a, mut b) = pair();
    let node = Atom::from_static("b@127.0.0.1");
    let alias = crate::term::Reference::new(node, Creation(9), &[1, 2, 3]).expect("three words");
    let control = Control::Send {
        from: Some(a.lane.local_pid(A)),
        to: Destination::Alias(alias),
        priority: false,
        token: None,
    };
    let sender = SenderKey::of_numbers(A.id, A.serial);
    let term = binary(b"hello");
    a.lane.send_signal(sender, &control, Some(Outgoing::Encoded(&term))).expect("room");
    assert_eq!(transfer(&mut a, &mut b), [Got::Signal { control, payload: Some(term) }]);
}

#[test]
fn a_frame_that_does_not_end_is_silence_when_there_are_checksums() {
    for checksum in [false, true] {
        let (mut a, mut b) = pair_with(|config| config.checksum = checksum);
        let mut now = b.lane.tick_due();
        a.lane.send_raw(A, B, b"hello").expect("room");
        let mut bytes = a.write(usize::MAX);
        // The length: 32 KiB and five bytes.
        bytes[5] ^= 0x80;
        let mut dead = false;
        for _ in 0..6 {
            assert_eq!(b.feed(&bytes), Ok(vec![]));
            dead |= b.lane.tick(now) == TickAction::Dead;
            now = b.lane.tick_due();
            assert_eq!(a.lane.auxiliary_tick(), TickAction::Send, "ticks keep coming");
            bytes = a.write(usize::MAX);
        }
        assert_eq!(dead, checksum);
    }
}
