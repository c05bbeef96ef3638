//! One shard of a node: its processes, its links, its replicas of routes and names.
//!
//! Everything here lives on one executor and is touched by its thread alone; other shards and
//! threads reach it by [`ShardMessage`]s.

mod attach;
mod awaited;
mod body;
mod bundle;
mod connect;
mod content;
mod gauge;
mod hold;
mod host;
mod identity;
mod join;
mod kept;
mod kernel;
mod lanes;
mod links;
mod locate;
mod machine;
mod message;
mod node_monitors;
mod options;
mod orders;
mod outside;
mod pace;
mod peer;
mod process;
mod reach;
mod receive;
mod relate;
mod sample;
mod send;
mod sessions;
mod settle;
mod signals;
mod spawn;
mod spawned;
mod start;
mod subscriptions;
mod throttle;
mod ticks;
mod turn;
mod wake;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use krarup_transport::dist::TickConfig;
use krarup_transport::shard::LinkKey;
use krarup_transport::term::{Atom, Reference};
use rustc_hash::FxHashMap;

use self::turn::Turn;
use crate::net_kernel::{BarrierId, ConnectionId};
use crate::node::Node;
use crate::process::{Alias, Identity, ProcessCell, ProcessId, ProcessTable};

pub(crate) use body::Body;
pub(crate) use bundle::{LaneRoute, LinkId};
pub(crate) use connect::blocking;
pub(crate) use content::Content;
pub(crate) use gauge::{Gauge, Gauges};
pub(crate) use kernel::{KernelShard, Life};
pub(crate) use links::LinkEntry;
pub(crate) use message::{KernelEvent, NewLink, ShardMessage, Target};
pub(crate) use node_monitors::Approach;
pub(crate) use outside::NODE_PROCESS;
pub(crate) use peer::Peer;
pub(crate) use reach::listen_unix;
pub(crate) use send::{Outcome, Wait, Wire};
pub(crate) use spawn::Spawn;
pub(crate) use start::{Executors, start};
pub(crate) use wake::{answered, poll_answer};

thread_local! {
    static CURRENT: RefCell<Option<Rc<Shard>>> = const { RefCell::new(None) };
}

/// The shard whose executor runs on this thread.
pub(crate) fn current() -> Option<Rc<Shard>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Whether this thread is a shard's executor.
pub(crate) fn on_a_shard() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// How the processes of a shard reach a connected node: of several lanes, the shard's own.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) id: LinkId,
    /// The shard that keeps the link.
    pub(crate) shard: usize,
    pub(crate) gauges: Gauges,
    /// The link, when it lives on this shard.
    pub(crate) link: Option<Rc<LinkEntry>>,
    /// What its pids say of it.
    pub(crate) peer: Rc<Peer>,
}

pub(crate) struct Shard {
    pub(crate) id: usize,
    pub(crate) count: usize,
    /// The shard that the kernel runs on.
    kernel_shard: usize,
    node: Node,
    identity: RefCell<Rc<Identity>>,
    /// What it was in the node's former lives, the last at the end.
    former: RefCell<Vec<Rc<Identity>>>,
    processes: RefCell<ProcessTable>,
    names: RefCell<FxHashMap<Atom, ProcessId>>,
    aliases: RefCell<FxHashMap<Reference, Alias>>,
    /// What waits for nodes that are being connected to.
    awaited: RefCell<FxHashMap<Atom, awaited::Awaited>>,
    next_attempt: Cell<u64>,
    /// Spawn requests of this shard's processes that are not answered yet.
    spawns: RefCell<FxHashMap<Reference, spawn::Waiting>>,
    subscriptions: RefCell<subscriptions::Subscriptions>,
    node_monitors: RefCell<node_monitors::NodeMonitors>,
    routes: RefCell<FxHashMap<Atom, Route>>,
    links: RefCell<FxHashMap<LinkId, Rc<LinkEntry>>>,
    /// The link that this shard's signals take over each connection, and the shard that keeps it.
    connections: RefCell<FxHashMap<ConnectionId, (LinkId, usize)>>,
    /// The last link that the kernel gave this shard.
    newest_link: Cell<Option<LinkId>>,
    /// What other shards sent over links that the kernel has given this shard, but that are behind
    /// it in the queue.
    early: RefCell<Vec<(LinkId, ShardMessage)>>,
    kernel: OnceCell<Rc<KernelShard>>,
    io: OnceCell<host::ShardIo>,
    next_reference: Cell<u64>,
    stopping: Cell<bool>,
    /// The tick time of its links.
    tick_config: Cell<TickConfig>,
    /// The slot of the link that the next tick of the clock looks at first.
    tick_cursor: Cell<usize>,
    /// Room for the links that a tick looks at.
    ticked: RefCell<Vec<LinkKey>>,
    /// Processes that were woken, in that order.
    ready: RefCell<VecDeque<Rc<ProcessCell>>>,
    /// The turn of the process that runs.
    turn: Cell<Turn>,
    /// How long turns are.
    turn_sample: sample::TurnSample,
    /// How long processes wait for theirs.
    wait_sample: sample::WaitSample,
    /// Turns of processes that held up the shard.
    long_turns: Cell<u64>,
    /// Says so of some of them.
    long_turn_log: throttle::Throttle,
    /// Sends of threads and tasks outside the shards that wait for their turn, by sender.
    outside: RefCell<HashMap<ProcessId, outside::Queues>>,
    /// Who must not send to whom before being told: by sender of this shard.
    held: RefCell<FxHashMap<ProcessId, Vec<hold::Held>>>,
    /// What senders to another shard wait on while its queue is full: it always has room, so they
    /// look again in their next turn.
    queue_room: Arc<Gauge>,
    /// Memory of messages between processes of this node.
    kept: kept::Kept,
}

impl Shard {
    fn new(id: usize, count: usize, kernel_shard: usize, node: Node) -> Self {
        let number = u8::try_from(id).expect("a node has at most 256 shards");
        let tick_config = node.config().tick();
        Shard {
            id,
            count,
            kernel_shard,
            node,
            identity: RefCell::new(Rc::new(Identity::nobody())),
            former: RefCell::default(),
            processes: RefCell::new(ProcessTable::new(number)),
            names: RefCell::default(),
            aliases: RefCell::default(),
            awaited: RefCell::default(),
            next_attempt: Cell::new(0),
            spawns: RefCell::default(),
            subscriptions: RefCell::default(),
            node_monitors: RefCell::default(),
            routes: RefCell::default(),
            links: RefCell::default(),
            connections: RefCell::default(),
            newest_link: Cell::default(),
            early: RefCell::default(),
            kernel: OnceCell::new(),
            io: OnceCell::new(),
            next_reference: Cell::new(0),
            stopping: Cell::new(false),
            tick_config: Cell::new(tick_config),
            tick_cursor: Cell::default(),
            ticked: RefCell::default(),
            ready: RefCell::default(),
            turn: Cell::new(Turn::begin()),
            turn_sample: sample::TurnSample::default(),
            wait_sample: sample::WaitSample::default(),
            long_turns: Cell::new(0),
            long_turn_log: turn::long_turn_log(),
            outside: RefCell::default(),
            held: RefCell::default(),
            queue_room: Arc::new(Gauge::new()),
            kept: kept::Kept::new(),
        }
    }

    fn set_kernel(&self, kernel: Rc<KernelShard>) {
        let first = self.kernel.set(kernel).is_ok();
        debug_assert!(first, "one kernel per node");
    }

    fn set_io(&self, io: host::ShardIo) {
        let first = self.io.set(io).is_ok();
        debug_assert!(first, "one driver per shard");
    }

    /// The way to this shard's driver.
    #[inline]
    pub(crate) fn io(&self) -> &host::ShardIo {
        self.io.get().expect("the driver is there before anything runs on the shard")
    }

    /// A reference that names this shard, unique within the node's life.
    ///
    /// OTP takes at most 18 bits in the first word of a reference; the shard stands there.
    pub(crate) fn reference(&self) -> Reference {
        let unique = self.next_reference.get();
        self.next_reference.set(unique + 1);
        let identity = self.identity.borrow();
        let words = [self.id as u32, (unique >> 32) as u32, unique as u32];
        Reference::new(identity.name.clone(), identity.creation, &words)
            .expect("three words are within a reference's five")
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// The handle of the node this shard is part of.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// The kernel, on its shard.
    pub(crate) fn kernel(&self) -> Option<&Rc<KernelShard>> {
        self.kernel.get()
    }

    /// Tells the kernel, wherever it is.
    pub(crate) fn tell_kernel(self: &Rc<Self>, event: KernelEvent) {
        self.tell(self.kernel_shard, ShardMessage::Kernel(event));
    }

    /// Puts a message into another shard's queue; on this shard it is handled at once.
    pub(crate) fn tell(self: &Rc<Self>, shard: usize, message: ShardMessage) {
        if shard == self.id {
            self.handle(message);
        } else {
            self.io().tell(shard, message);
        }
    }

    /// Tells the kernel that an order was carried out here.
    pub(crate) fn acknowledge(self: &Rc<Self>, barrier: BarrierId) {
        self.tell_kernel(KernelEvent::Acknowledged(barrier));
    }
}
