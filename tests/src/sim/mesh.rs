//! The queues between the shards of one node: each keeps its order, none waits for another.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use krarup::net_kernel::{BarrierId, ConnectionId, NodeDownReason, Order, TickOrder};
use krarup_transport::dist::Control;
use krarup_transport::fabric::{
    Broken, Epoch, Form, LaneConfig, LaneId, ProcessNumber, SessionId, SharedRun,
};
use krarup_transport::link::LinkConfig;
use krarup_transport::term::{Atom, Creation};

use super::env::{Env, Wake};
use super::names::Identity;
use super::net::{ConnId, Owner};
use super::oracle::{Fingerprint, Who};

/// A shard that has so many items under way to another reads no lane until there are fewer.
const MESH_ITEMS_MAX: usize = 64;

/// A lane of a connection of this node.
pub(super) type LaneKey = (ConnectionId, LaneId);

/// How a shard reaches a node.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) connection: ConnectionId,
    pub(super) session: SessionId,
    /// The connection has one link, and no lanes.
    pub(super) is_plain: bool,
    /// Which life of the peer it is.
    pub(super) peer: Owner,
    /// What it calls itself.
    pub(super) identity: Identity,
    /// The lanes and the shards that keep them.
    pub(super) lanes: Rc<Vec<(LaneId, usize)>>,
}

/// Something one shard tells another, or the kernel on shard 0.
#[derive(Debug)]
pub(super) enum Item {
    /// The kernel to a shard.
    Order {
        barrier: BarrierId,
        order: Order,
        route: Option<Route>,
    },
    Ticks(TickOrder),
    Attach(Box<NewLink>),
    StartReading(ConnectionId),
    Resume {
        lane: LaneKey,
        epoch: Epoch,
        socket: (ConnId, usize),
        peer_received: u64,
        leftover: Vec<u8>,
    },
    Detach {
        lane: LaneKey,
        epoch: Epoch,
    },
    Close {
        connection: ConnectionId,
        bye: Option<Atom>,
    },
    /// A shard to the kernel.
    Acknowledged(BarrierId),
    LaneBroken {
        lane: LaneKey,
        epoch: Epoch,
        report: Broken,
    },
    LaneBye {
        lane: LaneKey,
        reason: Atom,
    },
    /// A link is over: because the kernel said so, or for this reason.
    LinkDown(ConnectionId, Option<NodeDownReason>),
    Drained(ConnectionId),
    /// A shard to another.
    Deliver(Delivery),
    Send {
        lane: LaneKey,
        signal: Outgoing,
    },
    Flush(ConnectionId),
}

#[derive(Debug)]
pub(super) struct NewLink {
    pub(super) link: LaneKey,
    pub(super) epoch: Epoch,
    pub(super) socket: (ConnId, usize),
    pub(super) leftover: Vec<u8>,
    pub(super) setup: LinkSetup,
    pub(super) session: SessionId,
    pub(super) peer: Owner,
    pub(super) peer_creation: Creation,
}

#[derive(Debug)]
pub(super) enum LinkSetup {
    Lane(LaneConfig),
    Plain(LinkConfig),
}

/// Something for the processes of a shard.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) connection: ConnectionId,
    pub(super) session: SessionId,
    pub(super) peer: Owner,
    pub(super) what: Delivered,
}

#[derive(Debug)]
pub(super) enum Delivered {
    Run(SharedRun),
    One { from: ProcessNumber, to: ProcessNumber, what: Fingerprint },
    Hold { holder: ProcessNumber, sender: ProcessNumber, hold: bool },
}

/// A signal before it is given to its lane.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) session: SessionId,
    pub(super) from: Who,
    pub(super) to: Who,
    pub(super) form: OutgoingForm,
    pub(super) payload: Rc<Vec<u8>>,
    /// Where the payload is cut when it is given in pieces.
    pub(super) cut: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) enum OutgoingForm {
    Message(Form),
    Named(Form, Atom),
    Signal(Box<Control>),
    Hold(bool),
}

/// The queues of a node, from and to each shard.
#[derive(Default)]
pub(super) struct Mesh {
    shards: usize,
    /// How long an item takes as a rule, and now and then, in µs.
    delays: (u64, u64),
    queues: Vec<Queue>,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<(Duration, Item)>,
    last: Duration,
}

impl Mesh {
    pub(super) fn new(shards: usize, delays: (u64, u64)) -> Mesh {
        let queues = (0..shards * shards).map(|_| Queue::default()).collect();
        Mesh { shards, delays, queues }
    }

    pub(super) fn push(&mut self, env: &mut Env, owner: Owner, from: usize, to: usize, item: Item) {
        let queue = &mut self.queues[from * self.shards + to];
        let slow = env.rng.chance(1, 50);
        let (often, rarely) = self.delays;
        let delay = Duration::from_micros(env.rng.within(0..=if slow { rarely } else { often }));
        queue.last = queue.last.max(env.now + delay);
        queue.items.push_back((queue.last, item));
        let at = queue.last;
        env.at(at, super::env::Event::Wake(owner, Wake::Mesh(from, to)));
    }

    /// The next item that is due.
    pub(super) fn pop(&mut self, now: Duration, from: usize, to: usize) -> Option<Item> {
        let queue = &mut self.queues[from * self.shards + to];
        let due = queue.items.front().is_some_and(|(at, _)| *at <= now);
        if due { queue.items.pop_front().map(|(_, item)| item) } else { None }
    }

    /// Wakes an owner for all that is under way, which was sent for another one.
    pub(super) fn wake_all(&self, env: &mut Env, owner: Owner) {
        for (index, queue) in self.queues.iter().enumerate() {
            let (from, to) = (index / self.shards, index % self.shards);
            for (at, _) in &queue.items {
                env.at(*at, super::env::Event::Wake(owner, Wake::Mesh(from, to)));
            }
        }
    }

    /// Whether a shard has to stop reading its lanes.
    pub(super) fn is_full(&self, from: usize) -> bool {
        let queues = &self.queues[from * self.shards..(from + 1) * self.shards];
        queues.iter().any(|queue| queue.items.len() >= MESH_ITEMS_MAX)
    }
}
