//! The frames of a lane, byte for byte.
//!
//! `golden/lane.json` comes from `golden/lane.py`, which was written from the description of the
//! protocol and computes checksums with another implementation of CRC-32.

use std::convert::Infallible;
use std::time::Instant;

use bytes::Bytes;
use krarup_transport::buffer::{Receiver, SlabPool};
use krarup_transport::dist::{Control, TickAction};
use krarup_transport::fabric::{Form, Incoming, Lane, LaneConfig, ProcessNumber, Target};
use krarup_transport::link::{IoSlices, Outgoing, Payload, SenderKey};
use krarup_transport::term::{Atom, Creation};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("golden/lane.json")).expect("the vectors are JSON")
}

fn bytes(value: &Value) -> Vec<u8> {
    let hex = value.as_str().expect("hexadecimal digits");
    let digits = |index| u8::from_str_radix(&hex[index..index + 2], 16).expect("two digits");
    (0..hex.len()).step_by(2).map(digits).collect()
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).expect("a number of 32 bits")
}

fn process(value: &Value) -> ProcessNumber {
    ProcessNumber { id: number(&value[0]), serial: number(&value[1]) }
}

fn node(value: &Value) -> (Atom, Creation) {
    let name = value[0].as_str().expect("a name");
    (Atom::new(name).expect("short enough"), Creation(number(&value[1])))
}

/// The payload of a vector, its head included.
fn payload(vector: &Value) -> Vec<u8> {
    let mut payload = bytes(&vector["front"]);
    payload.extend((0..number(&vector["pattern"])).map(|i| (7 * i) as u8));
    payload
}

/// What a vector is on the wire.
fn wire(vector: &Value, checksum: bool) -> Vec<u8> {
    let payload = payload(vector);
    let mut rest = &payload[..];
    let mut wire = Vec::new();
    for frame in vector["frames"].as_array().expect("a list") {
        wire.extend(bytes(&frame["header"]));
        if checksum {
            wire.extend(bytes(&frame["checksum"]));
        }
        let (piece, behind) = rest.split_at(number(&frame["length"]) as usize);
        wire.extend_from_slice(piece);
        rest = behind;
    }
    assert!(rest.is_empty());
    wire
}

struct End {
    lane: Lane,
    receiver: Receiver,
}

impl End {
    fn write(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.lane.is_write_pending() {
            let mut slices = IoSlices::new();
            self.lane.io_slices(&mut slices);
            let before = bytes.len();
            slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
            drop(slices);
            self.lane.written(bytes.len() - before);
        }
        bytes
    }

    /// The one thing that these bytes are; nothing if they are not for the caller.
    fn read(&mut self, mut bytes: &[u8]) -> Option<Incoming> {
        let mut found = None;
        while !bytes.is_empty() {
            let spare = self.receiver.spare();
            let (now, later) = bytes.split_at(bytes.len().min(spare.len()));
            spare[..now.len()].copy_from_slice(now);
            self.receiver.commit(now.len());
            bytes = later;
            loop {
                match self.lane.receive(&mut self.receiver).expect("valid") {
                    Incoming::NeedMore(_) => break,
                    incoming => assert!(found.replace(incoming).is_none(), "one signal"),
                }
            }
        }
        found
    }
}

/// The initiator's and the acceptor's end.
fn ends(vectors: &Value, checksum: bool) -> [End; 2] {
    let (initiator, acceptor) = (node(&vectors["initiator"]), node(&vectors["acceptor"]));
    [(&initiator, &acceptor), (&acceptor, &initiator)].map(|(local, peer)| {
        let mut config = LaneConfig::new(local.clone(), peer.clone());
        config.checksum = checksum;
        End { lane: Lane::new(config, Instant::now()), receiver: Receiver::new(SlabPool::new()) }
    })
}

fn joined(payload: &Payload) -> Vec<u8> {
    payload.parts.iter().flat_map(|part| part.to_vec()).collect()
}

fn encoder(term: &[u8]) -> impl FnOnce(&mut Vec<u8>) -> Result<(), Infallible> {
    |out| {
        out.extend_from_slice(term);
        Ok(())
    }
}

/// Sends what a vector says in each way that there is; gives how many.
fn send(vectors: &Value, vector: &Value, checksum: bool) -> Vec<Vec<u8>> {
    let (from, to) = (process(&vectors["from"]), process(&vectors["to"]));
    let name = Atom::from_static("écho");
    let sender = SenderKey::of_numbers(from.id, from.serial);
    let payload = payload(vector);
    let mut written = Vec::new();
    let mut sends = |send: &dyn Fn(&mut Lane, &[u8])| {
        let [mut end, _] = ends(vectors, checksum);
        let link = Control::Link { from: end.lane.local_pid(from), to: end.lane.peer_pid(to) };
        let head = match vector["name"].as_str().expect("a name").split_once('_') {
            Some(("named", _)) => name.as_str().len(),
            Some(("exit", _)) => control_bytes(&link),
            None if vector["name"] == "exit" => control_bytes(&link),
            _ => 0,
        };
        send(&mut end.lane, &payload[head..]);
        written.push(end.write());
    };
    let pieces = |payload: &[u8]| payload.chunks(10_000).map(Bytes::copy_from_slice).collect();
    match vector["name"].as_str().expect("a name") {
        "raw" | "raw_empty" | "raw_frame" | "raw_large" => {
            sends(&|lane, bytes| lane.send_raw(from, to, bytes).expect("room"));
            sends(&|lane, bytes| {
                lane.send_message(from, to, pieces(bytes), Form::Raw).expect("room");
            });
        }
        "term" | "term_large" => {
            sends(&|lane, term| lane.send_message_with(from, to, encoder(term)).expect("room"));
            sends(&|lane, term| {
                lane.send_message(from, to, pieces(term), Form::Term).expect("room");
            });
        }
        "named_raw" => {
            sends(&|lane, bytes| {
                lane.send_named(from, &name, pieces(bytes), Form::Raw).expect("room");
            });
            sends(&|lane, bytes| {
                lane.send_named_with(from, &name, Form::Raw, encoder(bytes)).expect("room");
            });
        }
        "named_term" | "named_large" => {
            sends(&|lane, term| {
                lane.send_named(from, &name, pieces(term), Form::Term).expect("room");
            });
            sends(&|lane, term| {
                lane.send_named_with(from, &name, Form::Term, encoder(term)).expect("room");
            });
        }
        "link" => sends(&|lane, _| {
            let link = Control::Link { from: lane.local_pid(from), to: lane.peer_pid(to) };
            lane.send_signal(sender, &link, None).expect("room");
        }),
        "exit" | "exit_large" => {
            let exit = |lane: &Lane| {
                let (from, to) = (lane.local_pid(from), lane.peer_pid(to));
                Control::Exit { from, to, token: None }
            };
            sends(&|lane, term| {
                let exit = exit(lane);
                lane.send_signal(sender, &exit, Some(Outgoing::Encoded(term))).expect("room");
            });
            sends(&|lane, term| {
                let exit = exit(lane);
                lane.send_signal(sender, &exit, Some(Outgoing::Chunks(pieces(term))))
                    .expect("room");
            });
            sends(&|lane, term| {
                let exit = exit(lane);
                lane.send_signal_with(sender, &exit, encoder(term)).expect("room");
            });
        }
        "ack_40" | "ack_44" => {}
        "tick" => sends(&|lane, _| assert_eq!(lane.auxiliary_tick(), TickAction::Send)),
        "hold" => sends(&|lane, _| lane.hold(from, to, None).expect("room")),
        "hold_name" => sends(&|lane, _| {
            lane.hold(from, to, Some(&Atom::from_static("écho"))).expect("room");
        }),
        "release" => sends(&|lane, _| lane.release(from, to).expect("room")),
        "bye" => sends(&|lane, _| lane.bye(&Atom::from_static("shutdown"))),
        other => panic!("a vector that nobody knows: {other}"),
    }
    written
}

/// The tuples of a link and of an exit are equally long.
fn control_bytes(link: &Control) -> usize {
    use krarup_transport::dist::control::ControlWriter;
    let mut out = Vec::new();
    let flags = krarup_transport::handshake::Flags::HIDDEN;
    link.encode(flags, &mut ControlWriter::new(&mut out, None)).expect("known");
    out.len()
}

#[test]
fn frames_are_written_as_described() {
    let vectors = vectors();
    let mut ways = 0;
    for vector in vectors["vectors"].as_array().expect("a list") {
        for checksum in [false, true] {
            let expected = wire(vector, checksum);
            for written in send(&vectors, vector, checksum) {
                assert!(written == expected, "{}, checksum {checksum}", vector["name"]);
                ways += 1;
            }
        }
    }
    assert_eq!(ways, 2 * 30);
}

#[test]
fn frames_are_read_as_described() {
    let vectors = vectors();
    let (from, to) = (process(&vectors["from"]), process(&vectors["to"]));
    for vector in vectors["vectors"].as_array().expect("a list") {
        for checksum in [false, true] {
            let [_, mut end] = ends(&vectors, checksum);
            let (local, peer) = (end.lane.local_pid(to), end.lane.peer_pid(from));
            let name = vector["name"].as_str().expect("a name");
            let payload = payload(vector);
            if name.starts_with("ack") {
                continue;
            }
            let form = if name.contains("raw") { Form::Raw } else { Form::Term };
            match end.read(&wire(vector, checksum)) {
                Some(Incoming::Run(mut run)) => {
                    assert_eq!((run.to(), run.len()), (to, 1));
                    let message = run.next().expect("one message");
                    assert_eq!((message.from, message.form), (from, form));
                    assert!(message.payload == payload, "{name}");
                }
                Some(Incoming::Message(message)) => {
                    let (target, head) = if name.starts_with("named") {
                        let name = Atom::from_static("écho");
                        let head = name.as_str().len();
                        (Target::Name(name), head)
                    } else {
                        (Target::Process(to), 0)
                    };
                    assert_eq!((message.from, message.to, message.form), (from, target, form));
                    assert!(joined(&message.payload) == payload[head..], "{name}");
                }
                Some(Incoming::Signal(signal)) => {
                    let link = Control::Link { from: peer.clone(), to: local.clone() };
                    let term = &payload[control_bytes(&link)..];
                    if name == "link" {
                        assert_eq!((signal.control, signal.payload.is_none()), (link, true));
                        continue;
                    }
                    let exit = Control::Exit { from: peer, to: local, token: None };
                    assert_eq!(signal.control, exit);
                    assert!(signal.payload.is_some_and(|payload| joined(&payload) == term));
                }
                Some(Incoming::Hold { holder, sender, name: held }) => {
                    assert_eq!((holder, sender), (from, to));
                    let expected = (name == "hold_name").then(|| Atom::from_static("écho"));
                    assert_eq!(held, expected, "{name}");
                }
                Some(Incoming::Release { holder, sender }) => {
                    assert_eq!((name, holder, sender), ("release", from, to));
                }
                Some(Incoming::Bye(reason)) => assert_eq!(reason.as_str().as_bytes(), payload),
                other => assert!(other.is_none() && name == "tick", "{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn acknowledgements_are_as_described() {
    let vectors = vectors();
    let (from, to) = (process(&vectors["from"]), process(&vectors["to"]));
    for (checksum, name) in [(false, "ack_40"), (true, "ack_44")] {
        let list = vectors["vectors"].as_array().expect("a list");
        let ack = list.iter().find(|vector| vector["name"] == name).expect("there");
        let ack = wire(ack, checksum);
        let [mut a, mut b] = ends(&vectors, checksum);
        a.lane.send_raw(from, to, &[7; 16]).expect("room");
        let message = a.write();
        assert!(b.read(&message).is_some());
        assert!(b.lane.acknowledge());
        assert_eq!(b.write(), ack);
        assert!(a.read(&ack).is_none());
        assert_eq!(a.lane.replay_counters().retained_bytes, 0);
    }
}
