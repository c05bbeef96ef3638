//! The links of a shard, lanes and plain ones: reading, writing, detaching and attaching.

mod machine;
mod sockets;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use krarup::net_kernel::{ConnectionId, NodeDownReason, Order};
use krarup_transport::buffer::{Receiver, SlabPool};
use krarup_transport::dist::TickAction;
use krarup_transport::fabric::{Epoch, Lane, ProcessNumber, SessionId};
use krarup_transport::link::{IoSlices, Link};
use krarup_transport::term::Atom;

use super::env::{Env, Event, Wake};
use super::life::Life;
use super::mesh::{Delivered, Delivery, Item, LaneKey, LinkSetup, NewLink, Outgoing, Route};
use super::names::NameId;
use super::net::{ConnId, Owner, Read};
use super::oracle::Who;
use super::plan::{Plan, shard_of};
use super::table::Table;
use super::traffic::Process;
pub(super) use machine::Machine;
use machine::Step;

/// How often a shard looks whether something is to be acknowledged.
const CLOCK_INTERVAL: Duration = Duration::from_millis(10);

pub(super) struct Shard {
    owner: Owner,
    index: usize,
    pub(super) table: Table,
    pool: SlabPool,
    pub(super) lanes: BTreeMap<LaneKey, Slot>,
    pub(super) routes: BTreeMap<NameId, Route>,
    pub(super) processes: Vec<Process>,
    /// Signals of other shards for lanes that have not come here yet.
    early: BTreeMap<LaneKey, VecDeque<Outgoing>>,
    /// Connections that are over.
    over: BTreeSet<ConnectionId>,
    alarm: Option<Duration>,
}

/// A lane, or the only link of a connection, and what its shard keeps with it.
pub(super) struct Slot {
    pub(super) machine: Machine,
    receiver: Receiver,
    socket: Option<(ConnId, usize)>,
    epoch: Epoch,
    pub(super) session: SessionId,
    pub(super) peer: Owner,
    last_byte: Instant,
    /// What the lane had received when it was given its socket.
    attached_bytes: u64,
    checksum: bool,
    reading: bool,
    /// The mesh is full: what was received waits.
    paused: bool,
    needs_ack: bool,
    position: u64,
    /// Signals of other shards that wait for room.
    pub(super) waiting: VecDeque<Outgoing>,
}

enum LaneEnd {
    Broken,
    Bye(Atom),
}

impl Shard {
    pub(super) fn new(plan: &Rc<Plan>, owner: Owner, index: usize) -> Shard {
        let spec = &plan.specs[owner.node];
        let processes =
            (0..spec.processes).map(|slot| Process::new(spec.process(index, slot))).collect();
        Shard {
            owner,
            index,
            table: Table::default(),
            pool: SlabPool::new(),
            lanes: BTreeMap::new(),
            routes: BTreeMap::new(),
            processes,
            early: BTreeMap::new(),
            over: BTreeSet::new(),
            alarm: None,
        }
    }

    /// Carries out an order of the kernel.
    pub(super) fn order(&mut self, env: &mut Env, order: Order, route: Option<Route>) {
        env.note(self.index as u64);
        self.table.follow(&env.names, &order);
        match order {
            Order::RouteUp { node, .. } => {
                let route = route.expect("a route to what comes up");
                let old = self.routes.insert(env.names.known(&node), route);
                assert!(old.is_none(), "a route was left behind");
            }
            Order::NodeUp { node, connection, .. } => {
                let node = env.names.known(&node);
                let route = &self.routes[&node];
                assert_eq!(route.connection, connection);
                for process in &mut self.processes {
                    process.node_up(node, connection, route.peer);
                }
            }
            Order::RouteDown { node, connection } => {
                let route = self.routes.remove(&env.names.known(&node));
                assert_eq!(route.map(|route| route.connection), Some(connection));
            }
            Order::NodeDown { node, connection, .. } => {
                for process in &mut self.processes {
                    process.node_down(env.names.known(&node), connection);
                }
            }
        }
    }

    /// Goes on as a shard of another life of the same process.
    pub(super) fn begin_again(&mut self, owner: Owner) {
        assert!(self.lanes.is_empty() && self.routes.is_empty());
        self.owner = owner;
        self.alarm = None;
    }

    /// Takes a lane over; nothing is read from it yet.
    pub(super) fn attach(&mut self, env: &mut Env, new: NewLink) {
        let NewLink { link: key, epoch, socket, leftover, setup, session, peer, peer_creation } =
            new;
        let now = env.instant();
        let checksum = matches!(&setup, LinkSetup::Lane(config) if config.checksum);
        if checksum {
            env.allow_flips(socket.0);
        }
        let mut machine = match setup {
            LinkSetup::Lane(config) => Machine::Lane(Box::new(Lane::new(config, now))),
            LinkSetup::Plain(config) => {
                Machine::Plain(Box::new(Link::new(config, now)), peer_creation)
            }
        };
        machine.note_received(leftover.len());
        let mut receiver = Receiver::new(self.pool.clone());
        put(&mut receiver, &leftover);
        let slot = Slot {
            machine,
            receiver,
            socket: Some(socket),
            epoch,
            session,
            peer,
            last_byte: now,
            attached_bytes: 0,
            checksum,
            reading: false,
            paused: false,
            needs_ack: false,
            position: 0,
            waiting: self.early.remove(&key).unwrap_or_default(),
        };
        env.tell(|| format!("{} takes {:?} to {} over", self.owner, slot.socket, slot.peer));
        assert!(self.lanes.insert(key, slot).is_none());
    }

    /// Makes sure that the shard looks at the time when something is due.
    pub(super) fn arm(&mut self, env: &mut Env) {
        let attached = self.lanes.values().filter(|slot| slot.socket.is_some());
        let due = attached.map(|slot| {
            let tick = env.time_of(slot.machine.tick_due());
            if slot.needs_ack { tick.min(env.now + CLOCK_INTERVAL) } else { tick }
        });
        let Some(due) = due.min() else { return };
        if self.alarm.is_none_or(|alarm| due < alarm) {
            self.alarm = Some(due);
            env.at(due, Event::Wake(self.owner, Wake::Clock(self.index)));
        }
    }
}

/// Adds bytes to what was received.
fn put(receiver: &mut Receiver, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let spare = receiver.spare();
        let count = spare.len().min(bytes.len());
        spare[..count].copy_from_slice(&bytes[..count]);
        receiver.commit(count);
        bytes = &bytes[count..];
    }
}

impl Slot {
    /// Writes what there is room for.
    pub(super) fn flush(&mut self, env: &mut Env) {
        let Some((conn, side)) = self.socket else { return };
        while self.machine.queued_bytes() > 0 {
            let mut slices = IoSlices::new();
            self.machine.io_slices(&mut slices);
            let offered = slices.iter().map(|slice| slice.len()).sum::<usize>();
            assert!(offered > 0, "bytes are queued and none is offered");
            let count = env.write(conn, side, slices.iter().map(|slice| &slice[..]));
            drop(slices);
            self.machine.written(count);
            if count < offered {
                return;
            }
        }
    }

    /// Looks whether memory is as bounded as it should be.
    fn check(&mut self, plan: &Plan) {
        let limits = &plan.limits;
        // The message that was accepted last, a turn of the large ones, and the signals' reserve.
        let slack = plan.message_bytes_max + (256 << 10) + limits.outbox_reserve_bytes;
        let (retained, waiting) = self.machine.kept_bytes();
        assert!(
            retained <= limits.replay_bytes_max + slack,
            "{retained} bytes are retained, at most {} and {slack} may be",
            limits.replay_bytes_max
        );
        // What is written again after a resume waits again, beyond the limits for new signals: one
        // for large messages and one for the others, each with one that goes over it.
        let budgets = 2 * limits.outbox_bytes_max + plan.message_bytes_max;
        assert!(
            waiting <= retained + budgets + slack,
            "{waiting} bytes wait, at most {budgets} and {slack} may beside what is written again"
        );
        let (signals, bytes) = self.machine.unfinished_messages();
        assert!(signals <= limits.fragments.sequences_max);
        assert!(bytes <= limits.fragments.connection_bytes_max);
        let position = self.machine.received_position();
        assert!(position >= self.position, "positions only grow");
        assert!(self.socket.is_some() || position == self.position, "it is detached");
        self.position = position;
    }

    pub(super) fn retained_bytes(&self) -> usize {
        self.machine.kept_bytes().0
    }

    pub(super) fn last_byte(&self) -> Instant {
        self.last_byte
    }

    pub(super) fn is_attached(&self) -> bool {
        self.socket.is_some()
    }
}

impl Life {
    pub(super) fn start_reading(&mut self, env: &mut Env, shard: usize, connection: ConnectionId) {
        let seen = self.shards.iter().all(|shard| shard.table.has_up(connection));
        for key in self.lanes_of(shard, connection) {
            if let Some(slot) = self.shards[shard].lanes.get_mut(&key) {
                assert!(seen, "{connection:?} is read before every shard has seen its nodeup");
                slot.reading = true;
            }
            self.lane_turn(env, shard, key);
        }
    }

    fn lanes_of(&self, shard: usize, connection: ConnectionId) -> Vec<LaneKey> {
        let lanes = self.shards[shard].lanes.keys();
        lanes.filter(|(of, _)| *of == connection).copied().collect()
    }

    /// Reads and writes a lane's socket.
    pub(super) fn lane_turn(&mut self, env: &mut Env, shard: usize, key: LaneKey) {
        let Some(mut slot) = self.shards[shard].lanes.remove(&key) else { return };
        let end = match slot.socket {
            Some(socket) if slot.reading => self.read_lane(env, shard, key, &mut slot, socket),
            _ => None,
        };
        self.write_lane(env, &mut slot);
        slot.check(&self.plan);
        match end {
            None => {}
            Some(LaneEnd::Broken) if slot.machine.is_plain() => {
                return self.end_link(env, shard, key, slot, NodeDownReason::ConnectionClosed);
            }
            Some(LaneEnd::Broken) => self.break_lane(env, shard, key, &mut slot),
            Some(LaneEnd::Bye(reason)) => {
                self.leave_socket(env, &mut slot);
                self.tell_kernel(env, shard, Item::LaneBye { lane: key, reason });
            }
        }
        self.shards[shard].lanes.insert(key, slot);
        self.shards[shard].arm(env);
    }

    fn read_lane(
        &mut self,
        env: &mut Env,
        shard: usize,
        key: LaneKey,
        slot: &mut Slot,
        (conn, side): (ConnId, usize),
    ) -> Option<LaneEnd> {
        slot.paused = false;
        loop {
            loop {
                if self.mesh.is_full(shard) {
                    slot.paused = true;
                    return None;
                }
                let (spec, creation) = (&self.plan.specs[self.owner.node], self.creation());
                match slot.machine.receive(&mut slot.receiver, spec, creation) {
                    Step::NeedMore => break,
                    Step::For(to, what) => self.take_in(env, shard, key, slot, (to, what)),
                    Step::Bye(reason) => return Some(LaneEnd::Bye(reason)),
                    Step::Broken => return Some(LaneEnd::Broken),
                }
            }
            if env.rng.chance(1, 4) {
                slot.receiver.park();
            }
            let most = if env.rng.chance(1, 3) { 64 } else { 64 << 10 };
            let room = slot.receiver.spare().len().min(env.rng.within(1..=most) as usize);
            match env.read(conn, side, room) {
                Read::Bytes(bytes) => {
                    slot.receiver.spare()[..bytes.len()].copy_from_slice(&bytes);
                    slot.receiver.commit(bytes.len());
                    slot.machine.note_received(bytes.len());
                    slot.last_byte = env.instant();
                    slot.needs_ack = true;
                }
                Read::Nothing => return None,
                Read::End | Read::Reset => return Some(LaneEnd::Broken),
            }
        }
    }

    /// Hands what a link brought to whom it is for.
    fn take_in(
        &mut self,
        env: &mut Env,
        shard: usize,
        (connection, _): LaneKey,
        slot: &Slot,
        (to, what): (ProcessNumber, Delivered),
    ) {
        let (session, peer) = (slot.session, slot.peer);
        let delivery = Delivery { connection, session, peer, what };
        match shard_of(to) {
            target if target == shard => self.deliver(env, shard, delivery),
            target => self.mesh.push(env, self.owner, shard, target, Item::Deliver(delivery)),
        }
    }

    /// There may be room in the mesh again.
    pub(super) fn resume_reading(&mut self, env: &mut Env, shard: usize) {
        if self.mesh.is_full(shard) {
            return;
        }
        let paused = self.shards[shard].lanes.iter().filter(|(_, slot)| slot.paused);
        let paused: Vec<LaneKey> = paused.map(|(key, _)| *key).collect();
        for key in paused {
            self.lane_turn(env, shard, key);
        }
    }

    /// Writes what waits, as far as the socket takes it. Nobody tells of room that it has made by
    /// that.
    fn write_lane(&mut self, env: &mut Env, slot: &mut Slot) {
        loop {
            self.drain_waiting(env, slot);
            let makes_room = slot.machine.queued_bytes() > 0;
            slot.flush(env);
            if slot.waiting.is_empty() || !makes_room || slot.machine.queued_bytes() > 0 {
                return;
            }
        }
    }

    /// Gives signals of other shards to their lane, as far as there is room.
    fn drain_waiting(&mut self, env: &mut Env, slot: &mut Slot) {
        while let Some(signal) = slot.waiting.front() {
            if !signal.give_to(&mut slot.machine) {
                return;
            }
            let Some(signal) = slot.waiting.pop_front() else { return };
            self.accepted_for(signal.from);
            env.note(signal.payload.len() as u64);
        }
        slot.machine.take_room_event();
    }

    /// Another shard's process sends over a lane of this shard.
    pub(super) fn send_for(&mut self, env: &mut Env, index: usize, key: LaneKey, signal: Outgoing) {
        let shard = &mut self.shards[index];
        match shard.lanes.get_mut(&key) {
            Some(slot) => {
                slot.waiting.push_back(signal);
                self.lane_turn(env, index, key);
            }
            None if shard.over.contains(&key.0) => self.accepted_for(signal.from),
            None => shard.early.entry(key).or_default().push_back(signal),
        }
    }

    /// The shard's clock: acknowledgements and ticks.
    pub(super) fn clock(&mut self, env: &mut Env, shard: usize) {
        // An earlier one was set meanwhile, and came.
        if self.shards[shard].alarm.is_none_or(|alarm| alarm > env.now) {
            return;
        }
        self.shards[shard].alarm = None;
        let keys: Vec<LaneKey> = self.shards[shard].lanes.keys().copied().collect();
        let now = env.instant();
        for key in keys {
            let Some(mut slot) = self.shards[shard].lanes.remove(&key) else { continue };
            if slot.socket.is_some() {
                if std::mem::take(&mut slot.needs_ack) {
                    slot.machine.acknowledge();
                }
                let is_due = now >= slot.machine.tick_due();
                let dead = is_due && slot.machine.tick(now) == TickAction::Dead;
                slot.flush(env);
                match (dead, slot.socket) {
                    (true, Some((conn, _))) => {
                        // A peer that was not told that all is settled holds its sockets, and
                        // says nothing.
                        let judges =
                            self.judges_silence() && env.oracle.has_raised(slot.session, slot.peer);
                        env.judge_death(self.owner, slot.peer, conn, judges);
                    }
                    _ => slot.check_silence(env, self.owner),
                }
                if dead && slot.machine.is_plain() {
                    self.end_link(env, shard, key, slot, NodeDownReason::NetTickTimeout);
                    continue;
                }
                if dead {
                    self.break_lane(env, shard, key, &mut slot);
                }
            }
            self.shards[shard].lanes.insert(key, slot);
        }
        self.shards[shard].arm(env);
    }
}

/// A process of a life.
pub(super) fn who(owner: Owner, number: ProcessNumber) -> Who {
    Who { owner, number }
}
