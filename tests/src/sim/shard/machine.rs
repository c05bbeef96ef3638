//! What speaks for a link of a shard: a lane's protocol, or OTP's.

use std::time::Instant;

use krarup_transport::buffer::Receiver;
use krarup_transport::dist::frame::LENGTH_BYTES;
use krarup_transport::dist::{Control, Destination, Front, TickAction, TickConfig};
use krarup_transport::fabric::{Form, Incoming, Lane, LaneMessage, ProcessNumber, Target};
use krarup_transport::link::{IoSlices, Link, Payload, PlainMessage, Side, Signal};
use krarup_transport::term::{Atom, Creation, Pid};

use crate::sim::mesh::Delivered;
use crate::sim::oracle::{Class, Fingerprint};
use crate::sim::plan::Spec;

/// Boxed, for they are moved about with their slots.
pub(in crate::sim) enum Machine {
    Lane(Box<Lane>),
    /// The only link of a connection, of which the peer's creation is known.
    Plain(Box<Link>, Creation),
}

/// What a link has brought.
pub(super) enum Step {
    NeedMore,
    /// Something for a process.
    For(ProcessNumber, Delivered),
    Bye(Atom),
    /// The link needs another connection, or is over.
    Broken,
}

impl Machine {
    pub(in crate::sim) fn is_plain(&self) -> bool {
        matches!(self, Machine::Plain(..))
    }

    pub(super) fn queued_bytes(&self) -> usize {
        match self {
            Machine::Lane(lane) => lane.queued_bytes(),
            Machine::Plain(link, _) => link.queued_bytes(),
        }
    }

    pub(super) fn io_slices<'a>(&'a mut self, slices: &mut IoSlices<'a>) {
        match self {
            Machine::Lane(lane) => lane.io_slices(slices),
            Machine::Plain(link, _) => link.io_slices(slices),
        }
    }

    pub(super) fn written(&mut self, count: usize) {
        match self {
            Machine::Lane(lane) => lane.written(count),
            Machine::Plain(link, _) => link.written(count),
        }
    }

    /// Bytes that nobody has acknowledged, and those that wait beside them.
    pub(super) fn kept_bytes(&self) -> (usize, usize) {
        match self {
            Machine::Lane(lane) => (lane.replay_counters().retained_bytes, lane.waiting_bytes()),
            Machine::Plain(link, _) => (0, link.queued_bytes()),
        }
    }

    pub(super) fn unfinished_messages(&self) -> (usize, usize) {
        match self {
            Machine::Lane(lane) => lane.unfinished_messages(),
            Machine::Plain(link, _) => link.unfinished_messages(),
        }
    }

    pub(super) fn received_position(&self) -> u64 {
        match self {
            Machine::Lane(lane) => lane.received_position(),
            Machine::Plain(..) => 0,
        }
    }

    pub(super) fn received_bytes(&self) -> u64 {
        match self {
            Machine::Lane(lane) => lane.counters().received_bytes,
            Machine::Plain(link, _) => link.counters().received_bytes,
        }
    }

    /// Bytes came from the socket. A lane counts by itself.
    pub(super) fn note_received(&mut self, count: usize) {
        if let Machine::Plain(link, _) = self {
            link.note_received(count);
        }
    }

    pub(super) fn take_room_event(&mut self) {
        match self {
            Machine::Lane(lane) => lane.take_room_event(),
            Machine::Plain(link, _) => link.take_room_event(),
        };
    }

    pub(super) fn acknowledge(&mut self) {
        if let Machine::Lane(lane) = self {
            lane.acknowledge();
        }
    }

    pub(super) fn tick_due(&self) -> Instant {
        match self {
            Machine::Lane(lane) => lane.tick_due(),
            Machine::Plain(link, _) => link.tick_due(),
        }
    }

    pub(super) fn tick(&mut self, now: Instant) -> TickAction {
        match self {
            Machine::Lane(lane) => lane.tick(now),
            Machine::Plain(link, _) => link.tick(now),
        }
    }

    pub(in crate::sim) fn set_tick_config(&mut self, config: TickConfig, now: Instant) {
        match self {
            Machine::Lane(lane) => lane.set_tick_config(config, now),
            Machine::Plain(link, _) => link.set_tick_config(config, now),
        }
    }

    pub(in crate::sim) fn auxiliary_tick(&mut self) {
        match self {
            Machine::Lane(lane) => lane.auxiliary_tick(),
            Machine::Plain(link, _) => link.auxiliary_tick(),
        };
    }

    /// Takes what comes next of what was received by `spec`, whose node has this creation.
    pub(super) fn receive(
        &mut self,
        receiver: &mut Receiver,
        spec: &Spec,
        creation: Creation,
    ) -> Step {
        match self {
            Machine::Lane(lane) => receive_lane(lane, receiver, spec),
            Machine::Plain(link, peer) => receive_plain(link, receiver, spec, creation, *peer),
        }
    }
}

fn receive_lane(lane: &mut Lane, receiver: &mut Receiver, spec: &Spec) -> Step {
    let incoming = match lane.receive(receiver) {
        Ok(incoming) => incoming,
        Err(error) if error.is_resumable() => return Step::Broken,
        Err(error) => panic!("what a real lane sent: {error}"),
    };
    let (to, what) = match incoming {
        Incoming::Run(run) => (run.to(), Delivered::Run(run.share())),
        Incoming::Message(LaneMessage { from, to, form, payload }) => {
            let (to, class) = match (to, form) {
                (Target::Process(to), Form::Raw) => (to, Class::Raw),
                (Target::Process(to), Form::Term) => (to, Class::Term),
                (Target::Name(name), Form::Raw) => (spec.by_name(&name), Class::NamedRaw),
                (Target::Name(name), Form::Term) => (spec.by_name(&name), Class::NamedTerm),
            };
            let what = Fingerprint::new(class, &bytes_of(&payload));
            (to, Delivered::One { from, to, what })
        }
        Incoming::Signal(Signal { control, payload }) => {
            let payload = payload.as_ref().map(bytes_of).unwrap_or_default();
            let (from, to, what) = signal(&control, &payload, spec);
            (to, Delivered::One { from, to, what })
        }
        Incoming::Hold { holder, sender, .. } => {
            (sender, Delivered::Hold { holder, sender, hold: true })
        }
        Incoming::Release { holder, sender } => {
            (sender, Delivered::Hold { holder, sender, hold: false })
        }
        Incoming::Bye(reason) => return Step::Bye(reason),
        Incoming::NeedMore(count) => {
            assert!(count > receiver.unread().len());
            return Step::NeedMore;
        }
    };
    Step::For(to, what)
}

fn receive_plain(
    link: &mut Link,
    receiver: &mut Receiver,
    spec: &Spec,
    ours: Creation,
    theirs: Creation,
) -> Step {
    loop {
        match link.frame_reader().front(receiver.unread()) {
            Front::Frame(bytes) => {
                receiver.skip(LENGTH_BYTES);
                let frame = receiver.take(bytes).expect("the frame is there");
                if let Some(PlainMessage { from, to, payload }) = link.receive_plain(&frame) {
                    assert_eq!((from.node, from.creation), (Side::Peer, theirs));
                    assert_eq!((to.node, to.creation), (Side::Local, ours));
                    let what = Fingerprint::new(Class::Term, &frame[payload]);
                    let from = ProcessNumber { id: from.id, serial: from.serial };
                    let to = ProcessNumber { id: to.id, serial: to.serial };
                    return Step::For(to, Delivered::One { from, to, what });
                }
                match link.receive(frame) {
                    Ok(None) => {}
                    Ok(Some(Signal { control, payload })) => {
                        let payload = payload.as_ref().map(bytes_of).unwrap_or_default();
                        let (from, to, what) = signal(&control, &payload, spec);
                        return Step::For(to, Delivered::One { from, to, what });
                    }
                    Err(error) => panic!("what a real link sent: {error}"),
                }
            }
            Front::Tick => receiver.skip(LENGTH_BYTES),
            Front::NeedMore(count) => {
                assert!(count > receiver.unread().len());
                receiver.expect(count);
                return Step::NeedMore;
            }
            Front::TooLarge(error) => panic!("what a real link sent: {error}"),
        }
    }
}

fn bytes_of(payload: &Payload) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len());
    payload.parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// Whom a signal is from and for, and what it is.
fn signal(
    control: &Control,
    payload: &[u8],
    spec: &Spec,
) -> (ProcessNumber, ProcessNumber, Fingerprint) {
    let number = |pid: &Pid| ProcessNumber { id: pid.id, serial: pid.serial };
    match control {
        Control::Send { from: Some(from), to: Destination::Process(to), .. } => {
            (number(from), number(to), Fingerprint::new(Class::Term, payload))
        }
        Control::Send { from: Some(from), to: Destination::Name(name), .. } => {
            (number(from), spec.by_name(name), Fingerprint::new(Class::NamedTerm, payload))
        }
        Control::Exit { from, to, .. } => {
            (number(from), number(to), Fingerprint::new(Class::Exit, payload))
        }
        Control::Unlink { id, from, to } => {
            (number(from), number(to), Fingerprint::new(Class::Unlink, &id.to_le_bytes()))
        }
        control => panic!("nobody sends {control:?}"),
    }
}
