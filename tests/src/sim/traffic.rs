//! The processes: what they send, what they check of what they get.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use krarup::net_kernel::ConnectionId;
use krarup_transport::dist::{Control, Destination};
use krarup_transport::fabric::{Form, ProcessNumber};
use krarup_transport::link::{Link, Outgoing as Encoded, SendError, SenderKey};
use krarup_transport::term::write_binary;

use super::env::{Env, Event, Wake};
use super::life::Life;
use super::mesh::{Delivered, Delivery, Item, Outgoing, OutgoingForm, Route};
use super::names::{Identity, NameId};
use super::net::Owner;
use super::oracle::{Class, Fingerprint, Who};
use super::shard::{Machine, who};

/// Signals of one process that may wait for a lane on another shard.
const WAITING_MAX: usize = 8;

/// Senders that a process remembers, to hold one of them up.
const SENDERS_MAX: usize = 4;

/// What a signal costs beside its payload, of what may be sent in a part of a run.
const SIGNAL_COST_BYTES: usize = 2 << 10;

/// A process of one shard.
pub(super) struct Process {
    pub(super) number: ProcessNumber,
    /// The nodes that it was told are up, and which life of theirs it is.
    up: BTreeMap<NameId, (ConnectionId, Owner)>,
    /// Who told it to hold.
    pub(super) held_by: BTreeSet<Who>,
    /// Whom it has told to hold.
    pub(super) holds: BTreeSet<Who>,
    senders: VecDeque<Who>,
    waiting: usize,
}

impl Process {
    pub(super) fn new(number: ProcessNumber) -> Process {
        Process {
            number,
            up: BTreeMap::new(),
            held_by: BTreeSet::new(),
            holds: BTreeSet::new(),
            senders: VecDeque::new(),
            waiting: 0,
        }
    }

    pub(super) fn node_up(&mut self, node: NameId, connection: ConnectionId, peer: Owner) {
        let before = self.up.insert(node, (connection, peer));
        assert!(before.is_none(), "nodeup without the nodedown before");
    }

    pub(super) fn node_down(&mut self, node: NameId, connection: ConnectionId) {
        let Some((was, peer)) = self.up.remove(&node) else { panic!("nodedown of nobody") };
        assert_eq!(was, connection, "nodedown of what was up");
        self.held_by.retain(|who| who.owner != peer);
        self.holds.retain(|who| who.owner != peer);
        self.senders.retain(|who| who.owner != peer);
    }

    fn remember(&mut self, sender: Who) {
        if !self.senders.contains(&sender) {
            self.senders.truncate(SENDERS_MAX - 1);
            self.senders.push_front(sender);
        }
    }
}

impl Outgoing {
    /// Gives the signal to its lane; false if there is no room.
    pub(super) fn give_to(&self, machine: &mut Machine) -> bool {
        let (from, to) = (self.from.number, self.to.number);
        let payload = &self.payload[..];
        let pieces = || -> smallvec::SmallVec<[Bytes; 1]> {
            let (front, back) = payload.split_at(self.cut.unwrap_or(0));
            [front, back].into_iter().map(Bytes::copy_from_slice).collect()
        };
        let append = |out: &mut Vec<u8>| {
            out.extend_from_slice(payload);
            Ok::<(), std::convert::Infallible>(())
        };
        let lane = match machine {
            Machine::Lane(lane) => lane,
            Machine::Plain(link, _) => return self.give_to_link(link),
        };
        let sent = match (&self.form, self.cut) {
            (OutgoingForm::Message(Form::Raw), None) => lane.send_raw(from, to, payload),
            (OutgoingForm::Message(Form::Term), None) => lane.send_message_with(from, to, append),
            (OutgoingForm::Message(form), Some(_)) => lane.send_message(from, to, pieces(), *form),
            (OutgoingForm::Named(form, name), None) => {
                lane.send_named_with(from, name, *form, append)
            }
            (OutgoingForm::Named(form, name), Some(_)) => {
                lane.send_named(from, name, pieces(), *form)
            }
            (OutgoingForm::Signal(control), cut) => {
                let payload = control.has_payload().then(|| match cut {
                    None => Encoded::Encoded(payload),
                    Some(_) => Encoded::Chunks(pieces()),
                });
                lane.send_signal(SenderKey::of_numbers(from.id, from.serial), control, payload)
            }
            (OutgoingForm::Hold(true), _) => lane.hold(from, to, None).map_err(SendError::Busy),
            (OutgoingForm::Hold(false), _) => lane.release(from, to).map_err(SendError::Busy),
        };
        was_accepted(sent)
    }

    fn give_to_link(&self, link: &mut Link) -> bool {
        let OutgoingForm::Signal(control) = &self.form else {
            panic!("a plain link takes control messages");
        };
        let payload = control.has_payload().then(|| match self.cut {
            None => Encoded::Encoded(&self.payload),
            Some(cut) => {
                let (front, back) = self.payload.split_at(cut);
                let pieces = [front, back].into_iter().map(Bytes::copy_from_slice);
                Encoded::Chunks(pieces.collect())
            }
        });
        let ProcessNumber { id, serial } = self.from.number;
        was_accepted(link.send_from(SenderKey::of_numbers(id, serial), control, payload))
    }

    fn fingerprint(&self) -> Fingerprint {
        let class = match &self.form {
            OutgoingForm::Message(Form::Raw) => Class::Raw,
            OutgoingForm::Message(Form::Term) => Class::Term,
            OutgoingForm::Named(Form::Raw, _) => Class::NamedRaw,
            OutgoingForm::Named(Form::Term, _) => Class::NamedTerm,
            OutgoingForm::Signal(control) => match &**control {
                Control::Send { to: Destination::Name(_), .. } => Class::NamedTerm,
                Control::Send { .. } => Class::Term,
                Control::Exit { .. } => Class::Exit,
                _ => Class::Unlink,
            },
            OutgoingForm::Hold(_) => Class::Hold,
        };
        Fingerprint::new(class, &self.payload)
    }

    /// Tells the truth about what was accepted.
    fn note(&self, env: &mut Env) {
        match self.form {
            OutgoingForm::Hold(hold) => {
                env.oracle.says_hold(self.session, self.from, self.to, hold);
            }
            _ => env.oracle.sent(self.session, self.from, self.to, self.fingerprint()),
        }
    }
}

fn was_accepted(sent: Result<(), SendError>) -> bool {
    match sent {
        Ok(()) => true,
        Err(SendError::Busy(busy)) => {
            assert!(busy.queued >= busy.limit, "{busy}");
            false
        }
        Err(error) => panic!("what a process may send: {error}"),
    }
}

impl Life {
    /// Some processes of a shard send something.
    pub(super) fn send_turn(&mut self, env: &mut Env, shard: usize) {
        let mean = self.plan.send_gap.as_micros() as u64;
        let mut gap = Duration::from_micros(env.rng.within(0..=2 * mean));
        if !self.send_some(env, shard) {
            let idle = if self.plan.weather.is_fickle() { 1000 } else { 50 };
            gap += Duration::from_millis(if env.quiet || env.budget == 0 { idle } else { 2 });
        }
        env.after(gap, Event::Wake(self.owner, Wake::Send(shard)));
    }

    /// Whether anything was sent.
    fn send_some(&mut self, env: &mut Env, shard: usize) -> bool {
        if self.is_stopping() {
            return false;
        }
        let slots = self.shards[shard].processes.len();
        if env.quiet {
            for slot in 0..slots {
                self.let_go(env, shard, slot);
            }
        }
        if env.quiet || env.budget == 0 {
            return false;
        }
        let mut sent = false;
        for _ in 0..env.rng.within(1..=4) {
            let slot = env.rng.below(slots);
            if env.rng.chance(1, 30) {
                self.hold_somebody(env, shard, slot);
            } else {
                sent |= self.send_something(env, shard, slot);
            }
        }
        sent
    }

    /// Whoever was told to hold may go on.
    fn let_go(&mut self, env: &mut Env, shard: usize, slot: usize) {
        let holds: Vec<Who> = self.shards[shard].processes[slot].holds.iter().copied().collect();
        for sender in holds {
            self.say_hold(env, shard, slot, sender, false);
        }
    }

    fn hold_somebody(&mut self, env: &mut Env, shard: usize, slot: usize) {
        let process = &self.shards[shard].processes[slot];
        let (held, senders) = (process.holds.first().copied(), process.senders.len());
        if let Some(sender) = held.filter(|_| env.rng.chance(1, 2)) {
            self.say_hold(env, shard, slot, sender, false);
        } else if senders > 0 {
            let sender = process.senders[env.rng.below(senders)];
            if !process.holds.contains(&sender) {
                self.say_hold(env, shard, slot, sender, true);
            }
        }
    }

    fn say_hold(&mut self, env: &mut Env, shard: usize, slot: usize, sender: Who, hold: bool) {
        let mut routes = self.shards[shard].routes.values();
        let route = routes.find(|route| route.peer == sender.owner).cloned();
        // Only Krarup nodes know what a hold is.
        let Some(route) = route.filter(|route| !route.is_plain) else { return };
        let process = &self.shards[shard].processes[slot];
        if process.waiting >= WAITING_MAX {
            return;
        }
        let signal = Outgoing {
            session: route.session,
            from: who(self.owner, process.number),
            to: sender,
            form: OutgoingForm::Hold(hold),
            payload: Rc::default(),
            cut: None,
        };
        if self.send(env, shard, slot, &route, signal) {
            let holds = &mut self.shards[shard].processes[slot].holds;
            if hold {
                holds.insert(sender);
            } else {
                holds.remove(&sender);
            }
        }
    }

    fn send_something(&mut self, env: &mut Env, shard: usize, slot: usize) -> bool {
        let routes: Vec<&Route> = self.shards[shard].routes.values().collect();
        if routes.is_empty() {
            return false;
        }
        let route: Route = (*env.rng.pick(&routes)).clone();
        let process = &self.shards[shard].processes[slot];
        if process.waiting >= WAITING_MAX {
            return false;
        }
        let spec = &self.plan.specs[route.peer.node];
        let number = spec.process(env.rng.below(spec.shards), env.rng.below(spec.processes));
        let to = who(route.peer, number);
        let from = who(self.owner, process.number);
        if process.held_by.contains(&to) {
            return false;
        }
        let kind = env.rng.below(20);
        let form = if env.rng.chance(1, 2) { Form::Raw } else { Form::Term };
        let pid = |number: ProcessNumber, of: &Identity| number.to_pid(&of.atom, of.creation);
        let from_pid = || pid(process.number, self.identity());
        let to_pid = || pid(number, &route.identity);
        let send = |to| {
            let from = Some(from_pid());
            Box::new(Control::Send { from, to, token: None, priority: false })
        };
        let form = match kind {
            0..=11 if route.is_plain => OutgoingForm::Signal(send(Destination::Process(to_pid()))),
            12..=15 if route.is_plain => {
                OutgoingForm::Signal(send(Destination::Name(spec.registered(number))))
            }
            0..=11 => OutgoingForm::Message(form),
            12..=15 => OutgoingForm::Named(form, spec.registered(number)),
            kind => {
                let (from, to) = (from_pid(), to_pid());
                OutgoingForm::Signal(Box::new(match kind {
                    16 | 17 => Control::Exit { from, to, token: None },
                    _ => Control::Unlink { id: env.rng.any() >> 1 | 1, from, to },
                }))
            }
        };
        let bytes = self.size(env);
        let payload = match &form {
            OutgoingForm::Message(Form::Raw) | OutgoingForm::Named(Form::Raw, _) => {
                env.some_bytes(bytes)
            }
            OutgoingForm::Signal(control) if !control.has_payload() => {
                let Control::Unlink { id, .. } = **control else { return false };
                id.to_le_bytes().to_vec()
            }
            _ => {
                let mut term = Vec::with_capacity(bytes + 5);
                write_binary(&mut term, &env.some_bytes(bytes));
                term
            }
        };
        let cut = env.rng.chance(1, 3).then(|| env.rng.below(payload.len() + 1));
        let (session, payload) = (route.session, Rc::new(payload));
        let signal = Outgoing { session, from, to, form, payload, cut };
        self.send(env, shard, slot, &route, signal)
    }

    /// From nothing to the longest message, mostly short, often around the length of a frame.
    fn size(&self, env: &mut Env) -> usize {
        let most = self.plan.message_bytes_max as u64;
        let bytes = match env.rng.below(100) {
            0..=14 => 0,
            15..=64 => env.rng.within(1..=64),
            65..=84 => env.rng.within(65..=2048),
            85..=93 => env.rng.within(2049..=20_000),
            94..=96 => env.rng.within(65_500..=65_580),
            97..=98 => env.rng.within(20_001..=100_000),
            _ => env.rng.within(100_000.min(most)..=most),
        };
        bytes.min(most) as usize
    }

    /// Sends over the lane of the process's shard; false if it was not accepted.
    fn send(
        &mut self,
        env: &mut Env,
        shard: usize,
        slot: usize,
        route: &Route,
        signal: Outgoing,
    ) -> bool {
        let (lane, keeper) = route.lanes[shard % route.lanes.len()];
        let key = (route.connection, lane);
        if keeper != shard {
            signal.note(env);
            env.budget = env.budget.saturating_sub(signal.payload.len() + SIGNAL_COST_BYTES);
            self.shards[shard].processes[slot].waiting += 1;
            let item = Item::Send { lane: key, signal };
            self.mesh.push(env, self.owner, shard, keeper, item);
            return true;
        }
        // Gone, if the session is just ending.
        let Some(entry) = self.shards[shard].lanes.get_mut(&key) else { return false };
        if !signal.give_to(&mut entry.machine) {
            return false;
        }
        signal.note(env);
        env.budget = env.budget.saturating_sub(signal.payload.len() + SIGNAL_COST_BYTES);
        if env.rng.chance(1, 2) {
            entry.flush(env);
        } else {
            // What is sent in one turn leaves together.
            env.after(Duration::ZERO, Event::Wake(self.owner, Wake::Lane(shard, key)));
        }
        true
    }

    /// A signal that waited for a lane on another shard was accepted, or never will be.
    pub(super) fn accepted_for(&mut self, from: Who) {
        let shard = super::plan::shard_of(from.number);
        let slot = (from.number.id >> 8) as usize;
        self.shards[shard].processes[slot].waiting -= 1;
    }

    /// Something for processes of a shard arrived.
    pub(super) fn deliver(&mut self, env: &mut Env, shard: usize, delivery: Delivery) {
        let Delivery { connection, session, peer, what } = delivery;
        let owner = self.owner;
        let is_up = self.shards[shard].table.has_up(connection);
        assert!(is_up, "the route to {peer:?} is not there");
        let processes = &mut self.shards[shard].processes;
        match what {
            Delivered::Run(run) => {
                let mut run = run.adopt();
                let to = run.to();
                let process = receiver(processes, to, peer, connection);
                while let Some(message) = run.next() {
                    let class = match message.form {
                        Form::Raw => Class::Raw,
                        Form::Term => Class::Term,
                    };
                    let what = Fingerprint::new(class, &message.payload);
                    let from = who(peer, message.from);
                    env.oracle.delivered(session, from, who(owner, to), what);
                    process.remember(from);
                }
            }
            Delivered::One { from, to, what } => {
                let process = receiver(processes, to, peer, connection);
                let from = who(peer, from);
                env.oracle.delivered(session, from, who(owner, to), what);
                process.remember(from);
            }
            Delivered::Hold { holder, sender, hold } => {
                let process = receiver(processes, sender, peer, connection);
                let holder = who(peer, holder);
                env.oracle.hears_hold(session, holder, who(owner, sender), hold);
                if hold {
                    process.held_by.insert(holder);
                } else {
                    process.held_by.remove(&holder);
                }
            }
        }
    }
}

/// The process that something is for, which must think that the sender's node is up.
fn receiver(
    processes: &mut [Process],
    to: ProcessNumber,
    peer: Owner,
    connection: ConnectionId,
) -> &mut Process {
    let process = &mut processes[(to.id >> 8) as usize];
    assert_eq!(process.number, to);
    let is_up = process.up.values().any(|up| *up == (connection, peer));
    assert!(is_up, "outside of nodeup and nodedown of {peer:?}");
    process
}
