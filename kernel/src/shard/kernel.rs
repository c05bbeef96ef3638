//! The kernel's shard: what is one per node.
//!
//! Carries out what the [`NetKernel`] machine decides, keeps the registered names, and answers the
//! node's handle. It never sits on the data path.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use krarup_transport::fabric::SessionId;
use krarup_transport::handshake::{
    Accept, AcceptorConfig, Challenge, Cookie, Decision as Verdict, Flags, InitiatorConfig,
    LengthPrefix, LocalName, NameError, NameMode, NodeName, Timeouts,
};
use krarup_transport::io::{Listener, PeerAddress, SocketOptions, sleep};
use krarup_transport::term::{Atom, Creation};

use super::bundle::{Bundle, LinkId};
use super::connect::{self, Leash};
use super::pace::Pace;
use super::sessions::Sessions;
use super::settle::{Carrier, Finished, Talk};
use super::throttle::Throttle;
use super::{KernelEvent, Shard, ShardMessage};
use crate::net_kernel::{
    Action, AttemptId, BarrierId, ConnectError, ConnectionId, Decision, NetKernel, NodeDownReason,
    NodeInfo, NodeType, Order, PeerLink, SystemError, WaiterId,
};
use crate::node::{AutoConnect, NameType, NodeConfig, SpawnError};
use crate::process::ProcessId;

/// Sockets that have not proven the cookie; beyond it the oldest is closed. It lets in a cluster
/// whose nodes all start at once, each with a first link and a lane.
const STRANGERS_MAX: usize = 1024;

/// Lines a second about connections that were refused, each for a reason of its own.
const REFUSAL_LINES_MAX: u32 = 100;

/// What a node is while it is alive.
pub(crate) struct Life {
    pub(crate) name: NodeName,
    pub(crate) creation: Creation,
    pub(crate) cookie: Cookie,
    /// The port it accepts connections on.
    pub(crate) port: u16,
    /// The Unix socket it accepts joins on, by its name without the leading NUL; empty for none.
    pub(crate) unix_name: Vec<u8>,
}

pub(crate) struct KernelShard {
    shard: RefCell<std::rc::Weak<Shard>>,
    pub(super) config: NodeConfig,
    pub(super) life: RefCell<Option<Life>>,
    /// Holds the tasks that accept connections.
    accepting: RefCell<Vec<Rc<Leash>>>,
    pub(super) machine: RefCell<NetKernel>,
    pub(super) challenges: RefCell<Vec<Challenge>>,
    strangers: RefCell<VecDeque<Rc<Leash>>>,
    /// Bounds the log lines about strangers that made room.
    crowd_log: Throttle,
    /// Bounds the log lines about refused connections.
    refusal_log: Throttle,
    attempts: RefCell<HashMap<AttemptId, Rc<Leash>>>,
    /// When attempts of this node begin.
    pub(super) pace: Pace,
    /// What is being settled on first links that were accepted.
    pub(super) settling: RefCell<HashMap<SessionId, Rc<Talk>>>,
    pub(super) sessions: Sessions,
    finished: RefCell<HashMap<AttemptId, Finished>>,
    /// What carries each connection, until it has ended.
    pub(super) bundles: RefCell<HashMap<ConnectionId, Bundle>>,
    waiters: RefCell<HashMap<WaiterId, Waiter>>,
    next_waiter: Cell<u64>,
    names: RefCell<HashMap<Atom, ProcessId>>,
    name_barriers: RefCell<HashMap<BarrierId, NameBarrier>>,
    next_name_barrier: Cell<u64>,
    /// Nodes that were up once, for [`AutoConnect::Once`].
    barred: RefCell<HashSet<Atom>>,
    carrying_out: Cell<bool>,
    expiry_armed: Cell<bool>,
}

/// Calls a function when it goes out of scope.
pub(super) struct Defer<F: Fn()>(pub(super) F);

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

struct NameBarrier {
    missing: usize,
    then: Spread,
}

/// What follows when every shard that was told of a name has said so.
enum Spread {
    /// Nobody waits for it.
    Nothing,
    Registered(oneshot::Sender<Result<(), SpawnError>>),
    /// If the holder of the wanted name has ended, its shard has said so by now.
    Confirmed {
        wanted: Registration,
        holder: ProcessId,
    },
}

/// A name, who wants it, and who waits for the answer.
struct Registration {
    name: Atom,
    process: ProcessId,
    done: oneshot::Sender<Result<(), SpawnError>>,
}

impl KernelShard {
    pub(crate) fn new(config: NodeConfig, shard_count: usize) -> Self {
        KernelShard {
            shard: RefCell::default(),
            machine: RefCell::new(NetKernel::new(shard_count, config.setup_time)),
            config,
            life: RefCell::default(),
            accepting: RefCell::default(),
            challenges: RefCell::default(),
            strangers: RefCell::default(),
            crowd_log: Throttle::new(1),
            refusal_log: Throttle::new(REFUSAL_LINES_MAX),
            attempts: RefCell::default(),
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
            carrying_out: Cell::new(false),
            expiry_armed: Cell::new(false),
        }
    }

    /// Tells the kernel which shard it runs on.
    pub(super) fn attach(&self, shard: &Rc<Shard>) {
        self.shard.replace(Rc::downgrade(shard));
    }

    /// Lets others connect from now on.
    pub(crate) fn begin_life(
        self: &Rc<Self>,
        life: Life,
        listeners: impl IntoIterator<Item = Listener>,
    ) {
        if let Ok(name) = Atom::new(life.name.as_str()) {
            self.with(|machine| machine.start(name));
        }
        self.life.replace(Some(life));
        for listener in listeners {
            let leash = Rc::<Leash>::default();
            self.accepting.borrow_mut().push(Rc::clone(&leash));
            glommio::spawn_local(connect::accept(Rc::clone(self), listener, leash)).detach();
        }
    }

    /// Accepts nobody any more and closes every link; [`KernelShard::is_quiet`] says when the last
    /// is gone.
    pub(crate) fn end_life(self: &Rc<Self>) {
        for accepting in self.accepting.take() {
            accepting.pull();
        }
        for stranger in self.strangers.take() {
            stranger.pull();
        }
        self.life.replace(None);
        self.with(NetKernel::stop);
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.life.borrow().is_some()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.machine.borrow().is_quiet()
    }

    /// Calls the machine and carries out what follows.
    pub(super) fn with<R>(self: &Rc<Self>, call: impl FnOnce(&mut NetKernel) -> R) -> R {
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
                self.finished.borrow_mut().remove(&attempt);
                let leash = self.attempts.borrow_mut().remove(&attempt);
                if let Some(leash) = leash {
                    leash.pull();
                }
            }
            Action::Attach { attempt, connection, node } => {
                self.attempts.borrow_mut().remove(&attempt);
                let finished = self.finished.borrow_mut().remove(&attempt);
                if let Some(finished) = finished {
                    self.attach_links(&shard, connection, &node, finished);
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
    fn log(&self, order: &Order) {
        match order {
            Order::NodeUp { node, node_type, .. } => {
                tracing::info!(%node, ?node_type, "nodeup");
            }
            Order::NodeDown { node, reason, .. } => {
                if self.config.auto_connect == AutoConnect::Once {
                    self.barred.borrow_mut().insert(node.clone());
                }
                tracing::info!(%node, %reason, "nodedown");
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
    pub(super) fn event(self: &Rc<Self>, event: KernelEvent) {
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
    pub(super) fn close_links(
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
    pub(super) fn tell_lane(&self, link: LinkId, message: ShardMessage) {
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
            self.with(|machine| machine.link_down(connection, reason));
        }
    }

    fn acknowledged(self: &Rc<Self>, barrier: BarrierId) {
        if barrier.0 & NAME_BARRIER == 0 {
            self.with(|machine| machine.acknowledged(barrier));
            return;
        }
        let mut barriers = self.name_barriers.borrow_mut();
        let Some(entry) = barriers.get_mut(&barrier) else { return };
        entry.missing -= 1;
        if entry.missing > 0 {
            return;
        }
        let entry = barriers.remove(&barrier);
        drop(barriers);
        match entry.map(|entry| entry.then) {
            Some(Spread::Registered(done)) => drop(done.send(Ok(()))),
            Some(Spread::Confirmed { wanted, holder }) => {
                if self.names.borrow().get(&wanted.name) == Some(&holder) {
                    let _ = wanted.done.send(Err(SpawnError::NameTaken(wanted.name)));
                } else {
                    self.register(wanted.name, wanted.process, wanted.done);
                }
            }
            Some(Spread::Nothing) | None => {}
        }
    }

    /// Registers a name; answered when every shard knows.
    ///
    /// Who has been told that a process has ended can have its name at once, as in Erlang: before a
    /// name counts as taken, the shard of its holder is asked.
    pub(crate) fn register(
        self: &Rc<Self>,
        name: Atom,
        process: ProcessId,
        done: oneshot::Sender<Result<(), SpawnError>>,
    ) {
        let holder = self.names.borrow().get(&name).copied();
        if let Some(holder) = holder {
            let shard = usize::from(holder.shard);
            let wanted = Registration { name: name.clone(), process, done };
            let then = Spread::Confirmed { wanted, holder };
            self.spread_name(shard..shard + 1, &name, Some(holder), then);
            return;
        }
        self.names.borrow_mut().insert(name.clone(), process);
        self.spread_to_all(&name, Some(process), Spread::Registered(done));
    }

    fn spread_to_all(self: &Rc<Self>, name: &Atom, process: Option<ProcessId>, then: Spread) {
        let Some(shard) = self.shard.borrow().upgrade() else { return };
        self.spread_name(0..shard.count, name, process, then);
    }

    /// Tells shards whose a name is, or that it is nobody's.
    fn spread_name(
        self: &Rc<Self>,
        shards: Range<usize>,
        name: &Atom,
        process: Option<ProcessId>,
        then: Spread,
    ) {
        let Some(shard) = self.shard.borrow().upgrade() else { return };
        let number = self.next_name_barrier.get() + 1;
        self.next_name_barrier.set(number);
        let barrier = BarrierId(number | NAME_BARRIER);
        let entry = NameBarrier { missing: shards.len(), then };
        self.name_barriers.borrow_mut().insert(barrier, entry);
        for other in shards {
            shard.tell(other, ShardMessage::Name { barrier, name: name.clone(), process });
        }
    }

    /// Connects to a node (OTP: `net_kernel:connect_node/1`).
    pub(crate) fn connect(
        self: &Rc<Self>,
        node: &Atom,
        hidden: bool,
        done: oneshot::Sender<Result<(), ConnectError>>,
    ) {
        let waiter = self.waiter(Waiter::Connect(done));
        self.with(|machine| machine.connect(node, hidden, Some(waiter)));
    }

    /// As [`KernelShard::connect`], for a send to a node that is not connected.
    pub(crate) fn auto_connect(
        self: &Rc<Self>,
        node: &Atom,
        done: oneshot::Sender<Result<(), ConnectError>>,
    ) {
        let barred = match self.config.auto_connect {
            AutoConnect::Always => false,
            AutoConnect::Never => true,
            AutoConnect::Once => self.barred.borrow().contains(node),
        };
        if barred {
            let _ = done.send(Err(ConnectError::NotAutomatic));
        } else {
            self.connect(node, false, done);
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

    /// The cookie that peers without one of their own have.
    pub(crate) fn cookie(&self) -> Option<Atom> {
        Atom::new(&self.life.borrow().as_ref()?.cookie.reveal()).ok()
    }

    pub(crate) fn nodes(&self) -> Vec<NodeInfo> {
        self.machine.borrow().nodes()
    }

    pub(crate) fn allow(&self, nodes: Vec<String>) {
        self.machine.borrow_mut().allow(nodes);
    }

    /// An attempt is through its handshake.
    pub(super) fn finished(self: &Rc<Self>, attempt: AttemptId, finished: Finished) {
        let established = &finished.established;
        let link = PeerLink {
            creation: established.peer_creation,
            node_type: if established.visible() { NodeType::Visible } else { NodeType::Hidden },
        };
        self.finished.borrow_mut().insert(attempt, finished);
        self.with(|machine| machine.established(attempt, link));
    }

    /// Whether a session is settled, and waits until its connection may come up.
    pub(super) fn has_settled(&self, session: SessionId) -> bool {
        self.finished.borrow().values().any(|finished| match &finished.carrier {
            Carrier::Lanes(lanes) => lanes.settled.agreement.session == session,
            Carrier::Plain(..) => false,
        })
    }

    /// Logs that somebody was not let in, but no more of that than is worth reading.
    pub(super) fn note_refusal(&self, peer: &PeerAddress, error: &str) {
        if let Some(held_back) = self.refusal_log.admit(Instant::now()) {
            if held_back > 0 {
                tracing::warn!(held_back, "more connections were refused than are told");
            }
            tracing::warn!(%peer, %error, "an inbound connection was refused");
        }
    }

    pub(super) fn attempt_failed(self: &Rc<Self>, attempt: AttemptId, why: ConnectError) {
        self.attempts.borrow_mut().remove(&attempt);
        self.with(|machine| machine.failed(attempt, why));
    }

    /// The peer's own attempt goes first.
    pub(super) fn attempt_gave_way(self: &Rc<Self>, attempt: AttemptId) {
        self.attempts.borrow_mut().remove(&attempt);
        self.with(|machine| machine.gave_way(attempt, Instant::now()));
    }

    /// Admits a socket that has not proven anything; at the limit the oldest such goes.
    pub(super) fn admit(&self) -> Rc<Leash> {
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
    pub(super) fn make_room(&self) -> bool {
        let oldest = self.strangers.borrow_mut().pop_front();
        oldest.inspect(|oldest| oldest.pull()).is_some()
    }

    /// Logs that a connection could not be accepted.
    pub(super) fn note_crowd(&self, error: &SystemError, refused: bool) {
        if let Some(held_back) = self.crowd_log.admit(Instant::now()) {
            tracing::warn!(%error, refused, held_back, "a connection could not be accepted");
        }
    }

    /// Something was sent that is likely to be answered soon.
    pub(super) fn expect_answer(&self) {
        if let Some(shard) = self.shard.borrow().upgrade() {
            shard.io().handle().expect_answer();
        }
    }

    /// The socket is no stranger any more, or gone.
    pub(super) fn dismiss(&self, leash: &Rc<Leash>) {
        self.strangers.borrow_mut().retain(|other| !Rc::ptr_eq(other, leash));
    }

    /// The verdict on a peer that stated its name.
    pub(super) fn decide(
        self: &Rc<Self>,
        name: &NodeName,
        leash: &Rc<Leash>,
        attempt: &mut Option<AttemptId>,
    ) -> Verdict {
        let Ok(node) = Atom::new(name.as_str()) else { return Verdict::NotAllowed };
        let (id, decision) = self.with(|machine| machine.inbound(&node));
        let accept = match decision {
            Decision::Ok => Accept::Ok,
            Decision::OkSimultaneous => Accept::OkSimultaneous,
            Decision::Alive => Accept::Alive,
            Decision::Nok => return Verdict::Nok,
            Decision::NotAllowed => {
                tracing::warn!(%node, "a node that is not allowed tried to connect");
                return Verdict::NotAllowed;
            }
        };
        self.attempts.borrow_mut().insert(id, Rc::clone(leash));
        *attempt = Some(id);
        match self.cookie_for(name.as_str()) {
            Some(cookie) => Verdict::Accept(accept, cookie),
            None => Verdict::NotAllowed,
        }
    }

    /// The verdict on a peer that asks for a name on its host (OTP: `-name undefined`).
    pub(super) fn decide_name(
        self: &Rc<Self>,
        host: &str,
        leash: &Rc<Leash>,
        attempt: &mut Option<AttemptId>,
    ) -> Verdict {
        let Ok((name, creation)) = connect::fresh_name(host) else { return Verdict::NotAllowed };
        match self.decide(&name, leash, attempt) {
            Verdict::Accept(Accept::Ok, cookie) => {
                Verdict::Accept(Accept::Named { name, creation }, cookie)
            }
            // A name of 64 random bits is not taken; whoever has it keeps it.
            _ => Verdict::NotAllowed,
        }
    }

    pub(super) fn cookie_for(&self, node: &str) -> Option<Cookie> {
        let own = self.config.peer_cookies.iter().find(|(name, _)| name == node);
        match own {
            Some((_, cookie)) => Some(cookie.clone()),
            None => self.life.borrow().as_ref().map(|life| life.cookie.clone()),
        }
    }

    pub(super) fn acceptor_config(&self) -> Option<AcceptorConfig> {
        let life = self.life.borrow();
        let life = life.as_ref()?;
        Some(AcceptorConfig {
            local: life.name.clone(),
            creation: life.creation,
            flags: self.flags(!self.config.hidden),
            challenge: connect::fresh_challenge().ok()?,
            timeouts: self.timeouts(),
            prefix: LengthPrefix::Two,
            holds_ack: true,
        })
    }

    pub(super) fn initiator_config(&self, peer: NodeName, hidden: bool) -> Option<InitiatorConfig> {
        let cookie = self.cookie_for(peer.as_str())?;
        let life = self.life.borrow();
        let life = life.as_ref()?;
        Some(InitiatorConfig {
            local: LocalName::Named(life.name.clone(), life.creation),
            peer,
            flags: self.flags(!self.config.hidden && !hidden),
            cookie,
            challenge: connect::fresh_challenge().ok()?,
            timeouts: self.timeouts(),
            prefix: LengthPrefix::Two,
        })
    }

    /// What this node says that it can.
    fn flags(&self, published: bool) -> Flags {
        let flags = Flags::ours(published);
        if self.config.fabric.enabled { flags.with(Flags::FABRIC) } else { flags }
    }

    fn timeouts(&self) -> Timeouts {
        Timeouts { stage: self.config.setup_time, total: self.config.setup_time * 3 }
    }

    pub(super) fn setup_time(&self) -> Duration {
        self.config.setup_time
    }

    pub(super) fn is_ours(&self, challenge: Challenge) -> bool {
        self.challenges.borrow().contains(&challenge)
    }

    pub(super) fn socket_options(&self) -> SocketOptions {
        self.config.socket_options.clone()
    }

    pub(super) fn fixed_peer_port(&self) -> Option<u16> {
        self.config.peer_port
    }

    pub(super) fn epmd_port(&self) -> u16 {
        self.config.epmd_port
    }

    /// A name that this node may dial, by OTP's rules for long and short names.
    pub(super) fn check_peer_name(&self, node: &Atom) -> Result<NodeName, ConnectError> {
        let wrong = |error: NameError| ConnectError::Name(error.to_string());
        let name = NodeName::parse(node.as_str()).map_err(wrong)?;
        let mode = match self.config.name_type {
            NameType::Long => NameMode::Long,
            NameType::Short => NameMode::Short,
        };
        name.check_mode(mode).map_err(wrong)?;
        Ok(name)
    }
}

/// Barriers of names have this bit, those of the machine never.
const NAME_BARRIER: u64 = 1 << 63;
