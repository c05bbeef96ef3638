//! The kernel's shard: what is one per node.
//!
//! Carries out what the [`NetKernel`] machine decides, keeps the registered names, and answers the
//! node's handle. It never sits on the data path.

mod counts;
mod handshakes;
mod life;
mod names;
mod network;
mod options;
mod ticks;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use krarup_transport::fabric::SessionId;
use krarup_transport::handshake::Challenge;
use krarup_transport::io::{PeerAddress, sleep};
use krarup_transport::term::Atom;

use self::counts::Counts;
use self::life::Naming;
use self::names::{NameBarrier, Spread};
use self::options::LiveOptions;
use super::bundle::{Bundle, LinkId};
use super::connect::{self, Ends, Leash};
use super::node_monitors::Approach;
use super::pace::Pace;
use super::sessions::Sessions;
use super::settle::{Carrier, Finished, Talk};
use super::throttle::Throttle;
use super::{KernelEvent, Shard, ShardMessage};
use crate::net_kernel::{
    Action, AttemptId, BarrierId, ConnectError, ConnectionId, Cookies, NetKernel, NodeDownReason,
    NodeInfo, NodeType, Order, PeerLink, SystemError, Ticktime, TooManyNames, WaiterId,
};
use crate::node::{AutoConnect, ConnectionStats, NodeConfig};
use crate::process::{Identity, ProcessId};

/// Sockets that have not proven the cookie; beyond it the oldest is closed. It lets in a cluster
/// whose nodes all start at once, each with a first link and a lane.
const STRANGERS_MAX: usize = 1024;

/// Lines at once about one kind of thing that goes wrong with connections, and the time in which one
/// more comes after them.
const LINES_MAX: u32 = 100;
const LINE_EVERY: Duration = Duration::from_secs(10);

pub(crate) use self::life::Life;

pub(crate) struct KernelShard {
    shard: RefCell<std::rc::Weak<Shard>>,
    pub(in crate::shard) config: NodeConfig,
    pub(in crate::shard) options: LiveOptions,
    pub(in crate::shard) life: RefCell<Option<Life>>,
    /// Holds the tasks that accept connections.
    accepting: RefCell<Vec<Rc<Leash>>>,
    pub(in crate::shard) machine: RefCell<NetKernel>,
    pub(in crate::shard) challenges: RefCell<Vec<Challenge>>,
    strangers: RefCell<VecDeque<Rc<Leash>>>,
    /// Bounds the log lines about strangers that made room.
    crowd_log: Throttle,
    /// Bounds the log lines about refused connections.
    refusal_log: Throttle,
    /// Those about nodes that are not allowed.
    not_allowed_log: Throttle,
    /// Those about connections of this node that failed: who sends to a node that is not there makes
    /// as many as he likes.
    pub(in crate::shard) failure_log: Throttle,
    attempts: RefCell<HashMap<AttemptId, Rc<Leash>>>,
    /// The connections of attempts of this node, and whether it is itself who was called.
    pub(in crate::shard) calls: RefCell<HashMap<Ends, bool>>,
    /// When attempts of this node begin.
    pub(in crate::shard) pace: Pace,
    /// What is being settled on first links that were accepted.
    pub(in crate::shard) settling: RefCell<HashMap<SessionId, Rc<Talk>>>,
    pub(in crate::shard) sessions: Sessions,
    finished: RefCell<HashMap<AttemptId, Finished>>,
    /// What carries each connection, until it has ended.
    pub(in crate::shard) bundles: RefCell<HashMap<ConnectionId, Bundle>>,
    waiters: RefCell<HashMap<WaiterId, Waiter>>,
    next_waiter: Cell<u64>,
    names: RefCell<HashMap<Atom, ProcessId>>,
    name_barriers: RefCell<HashMap<BarrierId, NameBarrier>>,
    next_name_barrier: Cell<u64>,
    /// Ports of nodes that no epmd is asked for.
    peer_ports: RefCell<HashMap<String, u16>>,
    /// Nodes that were up once, for [`AutoConnect::Once`].
    barred: RefCell<HashSet<Atom>>,
    naming: Naming,
    pub(in crate::shard) ticktime: RefCell<Ticktime>,
    counts: Counts,
    carrying_out: Cell<bool>,
    expiry_armed: Cell<bool>,
}

/// Calls a function when it goes out of scope.
pub(in crate::shard) struct Defer<F: Fn()>(pub(in crate::shard) F);

impl<F: Fn()> Drop for Defer<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Where somebody waits for what becomes of a connection.
enum Waiter {
    Connect(oneshot::Sender<Result<(), ConnectError>>),
    Disconnect(oneshot::Sender<bool>),
}

impl KernelShard {
    pub(crate) fn new(config: NodeConfig, shard_count: usize) -> Self {
        KernelShard {
            shard: RefCell::default(),
            peer_ports: RefCell::new(config.peer_ports.iter().cloned().collect()),
            machine: RefCell::new(NetKernel::new(shard_count, config.setup_time)),
            ticktime: RefCell::new(Ticktime::new(config.tick())),
            options: LiveOptions::new(&config),
            config,
            life: RefCell::default(),
            accepting: RefCell::default(),
            challenges: RefCell::default(),
            strangers: RefCell::default(),
            crowd_log: Throttle::new(10, LINE_EVERY),
            refusal_log: Throttle::new(LINES_MAX, LINE_EVERY),
            not_allowed_log: Throttle::new(LINES_MAX, LINE_EVERY),
            failure_log: Throttle::new(LINES_MAX, LINE_EVERY),
            attempts: RefCell::default(),
            calls: RefCell::default(),
            pace: Pace::default(),
            settling: RefCell::default(),
            sessions: Sessions::default(),
            finished: RefCell::default(),
            bundles: RefCell::default(),
            waiters: RefCell::default(),
            next_waiter: Cell::new(0),
            names: RefCell::default(),
            name_barriers: RefCell::default(),
            next_name_barrier: Cell::new(0),
            barred: RefCell::default(),
            naming: Naming::default(),
            counts: Counts::default(),
            carrying_out: Cell::new(false),
            expiry_armed: Cell::new(false),
        }
    }

    /// Tells the kernel which shard it runs on.
    pub(in crate::shard) fn attach(&self, shard: &Rc<Shard>) {
        self.shard.replace(Rc::downgrade(shard));
    }

    /// Calls the machine and carries out what follows.
    pub(in crate::shard) fn with<R>(self: &Rc<Self>, call: impl FnOnce(&mut NetKernel) -> R) -> R {
        let result = call(&mut self.machine.borrow_mut());
        self.carry_out_all();
        result
    }

    fn carry_out_all(self: &Rc<Self>) {
        // Carrying out an action may lead back here; the outermost call does all, in order.
        if self.carrying_out.replace(true) {
            return;
        }
        // After a panic in here others have to go on with it.
        let carrying_out = Defer(|| self.carrying_out.set(false));
        loop {
            let action = self.machine.borrow_mut().next_action();
            let Some(action) = action else { break };
            self.carry_out(action);
        }
        drop(carrying_out);
        self.arm_expiry();
    }

    fn carry_out(self: &Rc<Self>, action: Action) {
        let Some(shard) = self.shard.borrow().upgrade() else { return };
        match action {
            Action::Dial { attempt, node, hidden } => {
                let leash = Rc::<Leash>::default();
                self.attempts.borrow_mut().insert(attempt, Rc::clone(&leash));
                let dial = connect::dial(Rc::clone(self), attempt, node, hidden, leash);
                glommio::spawn_local(dial).detach();
            }
            Action::Abort { attempt } => {
                self.naming.given.borrow_mut().failed(attempt);
                self.finished.borrow_mut().remove(&attempt);
                let leash = self.attempts.borrow_mut().remove(&attempt);
                if let Some(leash) = leash {
                    leash.pull();
                }
            }
            Action::Attach { attempt, connection, node } => {
                self.attempts.borrow_mut().remove(&attempt);
                self.naming.given.borrow_mut().accepted(attempt, &node);
                let finished = self.finished.borrow_mut().remove(&attempt);
                if let Some(finished) = finished {
                    self.attach_links(&shard, connection, &node, finished);
                    self.begin_options(connection);
                }
            }
            Action::StartReading { connection } => {
                for owner in self.shards_of(connection) {
                    shard.tell(owner, ShardMessage::StartReading { connection });
                }
            }
            Action::CloseLink { connection, reason } => {
                if !self.end_session(connection, &reason) {
                    self.close_links(connection, &reason, None);
                }
            }
            Action::Broadcast { barrier, order } => {
                self.log(&order);
                let lanes = match &order {
                    Order::RouteUp { connection, .. } => {
                        let bundles = self.bundles.borrow();
                        bundles.get(connection).map(|bundle| Arc::clone(bundle.lanes()))
                    }
                    _ => None,
                };
                for other in 0..shard.count {
                    let (order, lanes) = (order.clone(), lanes.clone());
                    shard.tell(other, ShardMessage::Order { barrier, order, lanes });
                }
            }
            Action::Acknowledge { attempt } => {
                if let Some(leash) = self.attempts.borrow().get(&attempt) {
                    leash.release();
                }
            }
            // Whoever asked may have stopped waiting.
            Action::Connected { waiter, result } => {
                let waiter = self.waiters.borrow_mut().remove(&waiter);
                if let Some(Waiter::Connect(done)) = waiter {
                    let _ = done.send(result);
                }
            }
            Action::Disconnected { waiter, was_up } => {
                let waiter = self.waiters.borrow_mut().remove(&waiter);
                if let Some(Waiter::Disconnect(done)) = waiter {
                    let _ = done.send(was_up);
                }
            }
        }
    }

    /// One line per change of state.
    fn log(self: &Rc<Self>, order: &Order) {
        match order {
            Order::NodeUp { node, node_type, .. } => {
                self.counts.up();
                tracing::info!(%node, ?node_type, "nodeup");
            }
            Order::NodeDown { node, reason, .. } => {
                if self.config.auto_connect == AutoConnect::Once {
                    self.barred.borrow_mut().insert(node.clone());
                }
                self.counts.down(reason);
                tracing::info!(%node, %reason, "nodedown");
                self.names_after(node);
            }
            Order::RouteUp { .. } | Order::RouteDown { .. } => {}
        }
    }

    fn arm_expiry(self: &Rc<Self>) {
        let deadline = self.machine.borrow().deadline();
        let Some(deadline) = deadline else { return };
        if self.expiry_armed.replace(true) {
            return;
        }
        let kernel = Rc::clone(self);
        glommio::spawn_local(async move {
            sleep(deadline.saturating_duration_since(Instant::now())).await;
            kernel.expiry_armed.set(false);
            kernel.with(|machine| machine.expire(Instant::now()));
        })
        .detach();
    }

    /// Handles what a shard reports.
    pub(in crate::shard) fn event(self: &Rc<Self>, event: KernelEvent) {
        match event {
            KernelEvent::Acknowledged(barrier) => self.acknowledged(barrier),
            KernelEvent::LinkDown { connection, reason } => {
                self.with(|machine| machine.falling(connection));
                // A session whose link has ended would wait for a connection that nobody makes.
                let ends_session = self.end_session(connection, &reason);
                let close_others = self
                    .bundles
                    .borrow_mut()
                    .get_mut(&connection)
                    .is_some_and(|bundle| bundle.ended(reason.clone()));
                if close_others && !ends_session {
                    self.close_links(connection, &reason, None);
                }
                self.look_whether_over(connection);
            }
            KernelEvent::Drained { connection } => {
                if let Some(bundle) = self.bundles.borrow_mut().get_mut(&connection) {
                    bundle.drained();
                }
                self.look_whether_over(connection);
            }
            event @ (KernelEvent::LaneBroken { .. }
            | KernelEvent::LaneFailed { .. }
            | KernelEvent::LaneBye { .. }) => self.lane_event(event),
            KernelEvent::NameGone { name, process } => {
                let mine = self.names.borrow().get(&name) == Some(&process);
                if mine {
                    self.names.borrow_mut().remove(&name);
                    self.spread_to_all(&name, None, Spread::Nothing);
                }
            }
        }
    }

    /// The shards that keep the links of a connection.
    fn shards_of(&self, connection: ConnectionId) -> Vec<usize> {
        self.bundles.borrow().get(&connection).map(Bundle::shards).unwrap_or_default()
    }

    /// Ends every link of a connection that is left.
    pub(in crate::shard) fn close_links(
        &self,
        connection: ConnectionId,
        reason: &NodeDownReason,
        bye: Option<Atom>,
    ) {
        let Some(shard) = self.shard.borrow().upgrade() else { return };
        for owner in self.shards_of(connection) {
            let (reason, bye) = (reason.clone(), bye.clone());
            shard.tell(owner, ShardMessage::Close { connection, reason, bye });
        }
    }

    /// Tells the shard that keeps a lane.
    pub(in crate::shard) fn tell_lane(&self, link: LinkId, message: ShardMessage) {
        let Some(shard) = self.shard.borrow().upgrade() else { return };
        let owner = {
            let bundles = self.bundles.borrow();
            let lanes = bundles.get(&link.connection).map(|bundle| Arc::clone(bundle.lanes()));
            lanes.and_then(|lanes| {
                lanes.iter().find(|route| route.lane == link.lane).map(|route| route.shard)
            })
        };
        if let Some(owner) = owner {
            shard.tell(owner, message);
        }
    }

    /// Goes on when the last link of a connection has ended and all it brought was handled.
    fn look_whether_over(self: &Rc<Self>, connection: ConnectionId) {
        let Some(shard) = self.shard.borrow().upgrade() else { return };
        let mut bundles = self.bundles.borrow_mut();
        let over = bundles.get(&connection).and_then(|bundle| bundle.is_over(shard.count));
        if let Some(reason) = over {
            bundles.remove(&connection);
            drop(bundles);
            self.options.forget(connection);
            self.with(|machine| machine.link_down(connection, reason));
        }
    }

    /// Connects to a node (OTP: `net_kernel:connect_node/1`).
    pub(crate) fn connect(
        self: &Rc<Self>,
        node: &Atom,
        hidden: bool,
        done: oneshot::Sender<Result<(), ConnectError>>,
    ) {
        let Some(done) = self.in_turn(node, hidden, done) else { return };
        let waiter = self.waiter(Waiter::Connect(done));
        self.with(|machine| machine.connect(node, hidden, Some(waiter)));
        if !self.machine.borrow().is_under_way(node) {
            self.not_named_by(node);
        }
    }

    /// As [`KernelShard::connect`], for whoever first uses a node that is not connected.
    pub(crate) fn auto_connect(
        self: &Rc<Self>,
        node: &Atom,
        how: Approach,
        done: oneshot::Sender<Result<(), ConnectError>>,
    ) {
        let barred = match self.config.auto_connect {
            AutoConnect::Always => return self.connect(node, false, done),
            AutoConnect::Once => self.barred.borrow().contains(node),
            AutoConnect::Never => false,
        };
        match (self.config.auto_connect, how) {
            (AutoConnect::Once, Approach::Passive) if barred => {
                let waiter = self.waiter(Waiter::Connect(done));
                self.with(|machine| machine.await_peer(node, waiter, Instant::now()));
            }
            (AutoConnect::Once, _) if !barred => self.connect(node, false, done),
            _ => drop(done.send(Err(ConnectError::NotAutomatic))),
        }
    }

    /// Disconnects a node; answered when its `nodedown` is out.
    pub(crate) fn disconnect(self: &Rc<Self>, node: &Atom, done: oneshot::Sender<bool>) {
        let waiter = self.waiter(Waiter::Disconnect(done));
        self.with(|machine| machine.disconnect(node, Some(waiter)));
    }

    fn waiter(&self, waiter: Waiter) -> WaiterId {
        let id = WaiterId(self.next_waiter.get());
        self.next_waiter.set(id.0 + 1);
        self.waiters.borrow_mut().insert(id, waiter);
        id
    }

    /// Looks at the cookies, or changes them, while the node is alive.
    pub(crate) fn with_cookies<T>(&self, call: impl FnOnce(&str, &mut Cookies) -> T) -> Option<T> {
        let mut life = self.life.borrow_mut();
        let Life { own, cookies, .. } = life.as_mut()?;
        let name = own.as_ref().map_or(Identity::NOBODY, |(name, _)| name.as_str());
        Some(call(name, cookies))
    }

    /// What became of connections so far.
    pub(crate) fn connection_stats(&self) -> ConnectionStats {
        ConnectionStats {
            ups: self.counts.ups.get(),
            downs: self.counts.downs(),
            failures: self.counts.failures(),
            refusals: self.counts.refusals.get(),
            registered_names: self.names.borrow().len(),
        }
    }

    pub(crate) fn nodes(&self) -> Vec<NodeInfo> {
        self.machine.borrow().nodes()
    }

    /// The nodes that this one has heard of.
    pub(crate) fn known(&self) -> Vec<Atom> {
        self.machine.borrow().known().cloned().collect()
    }

    pub(crate) fn allow(&self, nodes: Vec<String>) -> Result<(), TooManyNames> {
        self.machine.borrow_mut().allow(nodes)
    }

    pub(crate) fn allowed(&self) -> Vec<String> {
        self.machine.borrow().allowed().to_vec()
    }

    /// An attempt is through its handshake.
    pub(in crate::shard) fn finished(self: &Rc<Self>, attempt: AttemptId, finished: Finished) {
        let established = &finished.established;
        let link = PeerLink {
            creation: established.peer_creation,
            node_type: if established.visible() { NodeType::Visible } else { NodeType::Hidden },
        };
        self.finished.borrow_mut().insert(attempt, finished);
        self.with(|machine| machine.established(attempt, link));
    }

    /// Whether a session is settled, and waits until its connection may come up.
    pub(in crate::shard) fn has_settled(&self, session: SessionId) -> bool {
        self.finished.borrow().values().any(|finished| match &finished.carrier {
            Carrier::Lanes(lanes) => lanes.settled.agreement.session == session,
            Carrier::Plain(..) => false,
        })
    }

    /// Logs that somebody was not let in, but no more of that than is worth reading.
    pub(in crate::shard) fn note_refusal(&self, peer: &PeerAddress, error: &str) {
        self.counts.refused();
        if let Some(held_back) = self.refusal_log.admit(Instant::now()) {
            if held_back > 0 {
                tracing::warn!(held_back, "more connections were refused than are told");
            }
            tracing::warn!(%peer, %error, "an inbound connection was refused");
        }
    }

    /// Logs that a node that is not allowed tried to connect.
    fn note_not_allowed(&self, node: &Atom) {
        if let Some(held_back) = self.not_allowed_log.admit(Instant::now()) {
            tracing::warn!(%node, held_back, "a node that is not allowed tried to connect");
        }
    }

    pub(in crate::shard) fn attempt_failed(self: &Rc<Self>, attempt: AttemptId, why: ConnectError) {
        self.counts.failed(&why);
        self.naming.given.borrow_mut().failed(attempt);
        self.attempts.borrow_mut().remove(&attempt);
        self.with(|machine| machine.failed(attempt, why));
    }

    /// The peer's own attempt goes first.
    pub(in crate::shard) fn attempt_gave_way(self: &Rc<Self>, attempt: AttemptId) {
        self.attempts.borrow_mut().remove(&attempt);
        self.with(|machine| machine.gave_way(attempt, Instant::now()));
    }

    /// Admits a socket that has not proven anything; at the limit the oldest such goes.
    pub(in crate::shard) fn admit(&self) -> Rc<Leash> {
        let leash = Rc::<Leash>::default();
        let mut strangers = self.strangers.borrow_mut();
        if strangers.len() >= STRANGERS_MAX
            && let Some(oldest) = strangers.pop_front()
        {
            if let Some(held_back) = self.crowd_log.admit(Instant::now()) {
                tracing::warn!(
                    limit = STRANGERS_MAX,
                    held_back,
                    "too many connections without a handshake, the oldest is closed"
                );
            }
            oldest.pull();
        }
        strangers.push_back(Rc::clone(&leash));
        leash
    }

    /// Closes the oldest socket that has not proven anything, so that another one can be accepted;
    /// false if there is none.
    pub(in crate::shard) fn make_room(&self) -> bool {
        let oldest = self.strangers.borrow_mut().pop_front();
        oldest.inspect(|oldest| oldest.pull()).is_some()
    }

    /// Logs that a connection could not be accepted.
    pub(in crate::shard) fn note_crowd(&self, error: &SystemError, refused: bool) {
        if let Some(held_back) = self.crowd_log.admit(Instant::now()) {
            tracing::warn!(%error, refused, held_back, "a connection could not be accepted");
        }
    }

    /// Something was sent that is likely to be answered soon.
    pub(in crate::shard) fn expect_answer(&self) {
        if let Some(shard) = self.shard.borrow().upgrade() {
            shard.io().handle().expect_answer();
        }
    }

    /// The socket is no stranger any more, or gone.
    pub(in crate::shard) fn dismiss(&self, leash: &Rc<Leash>) {
        self.strangers.borrow_mut().retain(|other| !Rc::ptr_eq(other, leash));
    }
}
