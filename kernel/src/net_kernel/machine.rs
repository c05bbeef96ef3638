//! The node table and the order in which nodes come up and go down.
//!
//! One [`Peer`] per node name holds at most one connection and any number of attempts. Inbound
//! attempts are strangers until they have proven the cookie, so they never disturb a connection or
//! an attempt of ours before that: the first attempt that completes its handshake wins and the
//! others are aborted. What both sides still have to settle after the handshake is done with the
//! winner alone.
//!
//! Two nodes may each complete an attempt at the same time, and both must keep the same one. The
//! acceptor's ack is what completes an attempt, so the node with the greater name, whose attempt
//! goes first, holds it back for as long as the peer may be completing that one.
//!
//! Up: record, routes on all shards, `nodeup` on all shards, then frames are read. Down: everything
//! read has been delivered, routes removed on all shards, links and monitors and `nodedown` on all
//! shards; only then may the name come up again.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use krarup_transport::term::Atom;

use super::ConnectError;
use super::known::KnownNodes;
use super::peer::{Awaited, Connection, Peer, Stage};
use super::types::{
    Action, AttemptId, BarrierId, ConnectionId, Decision, NodeDownReason, NodeInfo, Order,
    PeerLink, WaiterId,
};

/// The node table as a state machine.
#[derive(Debug)]
pub struct NetKernel {
    local: Option<Atom>,
    /// Alive, and to be named by the first node that it connects to.
    is_unnamed: bool,
    shard_count: usize,
    setup_time: Duration,
    allowed: Vec<String>,
    peers: HashMap<Atom, Peer>,
    known: KnownNodes,
    attempts: HashMap<AttemptId, Atom>,
    connections: HashMap<ConnectionId, Atom>,
    barriers: HashMap<BarrierId, Barrier>,
    next_id: u64,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
struct Barrier {
    node: Atom,
    missing: usize,
}

impl NetKernel {
    /// A table for a node with `shard_count` shards, not alive yet.
    ///
    /// `setup_time` is the time a refused attempt waits for the peer's own (OTP: `net_setuptime`),
    /// and each step of a handshake may take.
    pub fn new(shard_count: usize, setup_time: Duration) -> Self {
        NetKernel {
            local: None,
            is_unnamed: false,
            shard_count,
            setup_time,
            allowed: Vec::new(),
            peers: HashMap::new(),
            known: KnownNodes::default(),
            attempts: HashMap::new(),
            connections: HashMap::new(),
            barriers: HashMap::new(),
            next_id: 1,
            actions: VecDeque::new(),
        }
    }

    /// Makes the node alive under `name`.
    pub fn start(&mut self, name: Atom) {
        self.local = Some(name);
        self.is_unnamed = false;
    }

    /// Makes the node alive without a name: it can connect, and nobody can connect to it. Once it
    /// is named, [`NetKernel::start`] follows.
    pub fn start_unnamed(&mut self) {
        self.is_unnamed = true;
    }

    /// The node's name while it is alive.
    pub fn local(&self) -> Option<&Atom> {
        self.local.as_ref()
    }

    /// The next thing to do. Call until it returns `None` after every other call.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Adds to the list of nodes that may connect; an empty addition changes nothing
    /// (OTP: `net_kernel:allow/1`).
    pub fn allow(&mut self, nodes: impl IntoIterator<Item = String>) {
        for node in nodes {
            if !self.allowed.contains(&node) {
                self.allowed.push(node);
            }
        }
    }

    /// Who may connect, in the order in which it was said; nobody is named where everybody may
    /// (OTP: `net_kernel:allowed/0`).
    pub fn allowed(&self) -> &[String] {
        &self.allowed
    }

    /// The nodes that were connected, or that somebody wanted to connect to (OTP: `nodes(known)`,
    /// where that is every node in a pid as well).
    pub fn known(&self) -> impl Iterator<Item = &Atom> {
        self.known.names()
    }

    /// `nodes(connected)` with the details of `nodes/2`.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.peers
            .iter()
            .filter_map(|(name, peer)| {
                let connection = peer.connection.as_ref()?;
                matches!(connection.stage, Stage::Announcing | Stage::Up).then(|| NodeInfo {
                    name: name.clone(),
                    node_type: connection.link.node_type,
                    creation: connection.link.creation,
                    connection: connection.id,
                    connection_id: connection.number,
                })
            })
            .collect()
    }

    /// The connection of a node, from its first route to its last trace.
    #[cfg(test)]
    pub(crate) fn connection_of(&self, node: &Atom) -> Option<ConnectionId> {
        Some(self.peers.get(node)?.connection.as_ref()?.id)
    }

    /// Connects to `node`; the waiter is told when it is up, or why it cannot be.
    pub fn connect(&mut self, node: &Atom, hidden: bool, waiter: Option<WaiterId>) {
        if self.local.as_ref() == Some(node) {
            self.tell_connected(waiter, Ok(()));
            return;
        }
        if self.local.is_none() && !self.is_unnamed {
            self.tell_connected(waiter, Err(ConnectError::NotAlive));
            return;
        }
        // The list is asked for new attempts only: who is connected, or about to be, stays so.
        let needs_attempt = self.peers.get(node).is_none_or(Peer::needs_attempt);
        if needs_attempt && !self.may_call(node.as_str()) {
            self.tell_connected(waiter, Err(ConnectError::NotAllowed));
            return;
        }
        let attempt = AttemptId(self.fresh_id());
        self.known.learn(node);
        let peer = self.peers.entry(node.clone()).or_default();
        if peer.connection.as_ref().is_some_and(Connection::is_up) {
            self.tell_connected(waiter, Ok(()));
            return;
        }
        let efforts = peer.efforts.get_or_insert_default();
        efforts.waiters.extend(waiter);
        efforts.awaits_peer.take_if(|awaited| awaited.is_hope);
        if !needs_attempt {
            return;
        }
        efforts.outbound = Some(attempt);
        efforts.called = false;
        self.attempts.insert(attempt, node.clone());
        self.actions.push_back(Action::Dial { attempt, node: node.clone(), hidden });
    }

    /// Waits for `node` to connect, as long as a step of a handshake may take (OTP:
    /// `passive_cnct`, for nodes that `dist_auto_connect` bars).
    pub fn await_peer(&mut self, node: &Atom, waiter: WaiterId, now: Instant) {
        if self.local.as_ref() == Some(node) {
            self.tell_connected(Some(waiter), Ok(()));
            return;
        }
        if self.local.is_none() && !self.is_unnamed {
            self.tell_connected(Some(waiter), Err(ConnectError::NotAlive));
            return;
        }
        self.known.learn(node);
        let peer = self.peers.entry(node.clone()).or_default();
        if peer.connection.as_ref().is_some_and(Connection::is_up) {
            self.tell_connected(Some(waiter), Ok(()));
            return;
        }
        let coming = peer.connection.as_ref().is_some_and(Connection::is_coming);
        let efforts = peer.efforts.get_or_insert_default();
        efforts.waiters.push(waiter);
        if !coming && !efforts.are_hopeful() {
            let until = now + self.setup_time;
            efforts.awaits_peer = Some(Awaited { since: now, until, is_hope: true });
        }
    }

    /// Disconnects `node`; resolved `true` when it was up (OTP: `disconnect_node/1`).
    pub fn disconnect(&mut self, node: &Atom, waiter: Option<WaiterId>) {
        let Some(peer) = self.peers.get_mut(node) else {
            self.tell_disconnected(waiter, false);
            return;
        };
        match &mut peer.connection {
            Some(connection) if connection.is_coming() => {
                peer.efforts.get_or_insert_default().disconnecting.extend(waiter);
                Self::close(&mut self.actions, connection, NodeDownReason::Disconnect);
            }
            _ => self.tell_disconnected(waiter, false),
        }
    }

    /// Ends every connection and attempt, for this reason, and makes the node not alive. Whoever
    /// was allowed is forgotten. The links report [`NetKernel::link_down`] as always.
    pub fn stop(&mut self, reason: &NodeDownReason) {
        self.local = None;
        self.is_unnamed = false;
        self.allowed.clear();
        for peer in self.peers.values_mut() {
            let mut waiters = Vec::new();
            if let Some(efforts) = &mut peer.efforts {
                let ready = efforts.ready.take().map(|(attempt, _)| attempt);
                let own = efforts.outbound.take().into_iter();
                let others = efforts.inbound.drain(..).chain(ready).chain(efforts.settling.take());
                for attempt in own.chain(others) {
                    self.attempts.remove(&attempt);
                    self.actions.push_back(Action::Abort { attempt });
                }
                efforts.held.clear();
                efforts.replacing = None;
                efforts.awaits_peer = None;
                waiters.append(&mut efforts.waiters);
            }
            if let Some(connection) = &mut peer.connection {
                Self::close(&mut self.actions, connection, reason.clone());
            }
            for waiter in waiters {
                let result = Err(ConnectError::NotAlive);
                self.actions.push_back(Action::Connected { waiter, result });
            }
        }
        self.peers.retain(|_, peer| peer.connection.is_some());
    }

    /// Whether `node` is connected, or something is under way that may connect it. That somebody
    /// hopes for its call is nothing of the kind.
    pub fn is_under_way(&self, node: &Atom) -> bool {
        self.peers.get(node).is_some_and(|peer| !peer.needs_attempt())
    }

    /// True when no connection is left, on its way up or going down.
    pub fn is_quiet(&self) -> bool {
        self.connections.is_empty()
    }

    /// True when nothing is under way: no attempt, no connection that comes up or goes down, no
    /// order that a shard has to acknowledge, and nobody who waits.
    pub fn is_at_rest(&self) -> bool {
        let is_at_rest = |peer: &Peer| {
            let connection = peer.connection.as_ref();
            peer.efforts.is_none() && connection.is_some_and(Connection::is_up)
        };
        self.attempts.is_empty()
            && self.barriers.is_empty()
            && self.actions.is_empty()
            && self.peers.values().all(is_at_rest)
    }

    /// A stranger stated its name in an inbound handshake.
    pub fn inbound(&mut self, node: &Atom) -> (AttemptId, Decision) {
        let attempt = AttemptId(self.fresh_id());
        let decision = self.decide(node);
        if !matches!(decision, Decision::Nok | Decision::NotAllowed) {
            self.attempts.insert(attempt, node.clone());
            let peer = self.peers.entry(node.clone()).or_default();
            peer.efforts.get_or_insert_default().inbound.push(attempt);
        }
        (attempt, decision)
    }

    fn decide(&self, node: &Atom) -> Decision {
        let Some(local) = &self.local else { return Decision::NotAllowed };
        if local == node {
            return Decision::Nok;
        }
        if !self.may_connect(node.as_str()) {
            return Decision::NotAllowed;
        }
        match self.peers.get(node) {
            // What is ready comes up before the newcomer has proven anything, and would then be in
            // its way.
            Some(peer) if peer.is_settling() || peer.is_ready() => Decision::Alive,
            Some(peer) if peer.connection.as_ref().is_some_and(Connection::is_coming) => {
                Decision::Alive
            }
            // OTP: erl_distribution, "simultaneous connect": the attempt of the greater name wins.
            // One of ours that has not come as far as to state our name does not count, as in OTP
            // from 29 on: who knows when it will, and the peer is here.
            Some(peer) if peer.is_called() && local.as_str() > node.as_str() => Decision::Nok,
            Some(peer) if peer.is_called() => Decision::OkSimultaneous,
            _ => Decision::Ok,
        }
    }

    /// Outbound entries match a full name only.
    fn may_call(&self, node: &str) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|name| name == node)
    }

    /// Inbound entries match a full name, a bare host, or a bare name with an empty host
    /// (OTP: `net_kernel:allow/1` as `dist_util` checks it).
    fn may_connect(&self, node: &str) -> bool {
        let (head, host) = node.split_once('@').unwrap_or((node, ""));
        let names = |entry: &String| {
            entry == node || entry == host || entry.strip_suffix('@') == Some(head)
        };
        self.allowed.is_empty() || self.allowed.iter().any(names)
    }

    /// Our name is about to go out in an attempt of ours: from now on the peer may complete it.
    pub fn called(&mut self, attempt: AttemptId) {
        let Some(node) = self.attempts.get(&attempt) else { return };
        let peer = self.peers.get_mut(node);
        if let Some(efforts) = peer.and_then(|peer| peer.efforts.as_mut())
            && efforts.outbound == Some(attempt)
        {
            efforts.called = true;
        }
    }

    /// An inbound attempt that replaces no link proved the cookie: [`Action::Acknowledge`] or
    /// [`Action::Abort`] follows, at once or when it is known what becomes of an attempt of ours.
    pub fn asks(&mut self, attempt: AttemptId) {
        let Some(node) = self.attempts.get(&attempt) else {
            self.actions.push_back(Action::Abort { attempt });
            return;
        };
        let goes_first = self.local.as_ref().is_some_and(|own| own.as_str() > node.as_str());
        let Some(peer) = self.peers.get_mut(node) else { return };
        if goes_first && peer.is_called() {
            peer.efforts.get_or_insert_default().held.push(attempt);
        } else {
            self.let_in(attempt);
        }
    }

    /// Lets an attempt of the peer win, unless another one has won already.
    fn let_in(&mut self, attempt: AttemptId) {
        self.proven(attempt);
        let node = self.attempts.get(&attempt);
        let peer = node.and_then(|node| self.peers.get(node));
        if peer.is_some_and(|peer| peer.settles(attempt)) {
            self.actions.push_back(Action::Acknowledge { attempt });
        }
    }

    /// An `alive` attempt proved the cookie: the old link gives way now, the acknowledgement waits
    /// for [`Action::Acknowledge`].
    pub fn verified(&mut self, attempt: AttemptId) {
        let Some(node) = self.attempts.get(&attempt).cloned() else { return };
        let Some(peer) = self.peers.get_mut(&node) else { return };
        // Whoever starts anew has given up what it had begun before.
        let efforts = peer.efforts.get_or_insert_default();
        let ready = efforts.ready.as_ref().map(|(ready, _)| *ready);
        let previous = efforts.replacing.filter(|previous| *previous != attempt);
        for given_up in efforts.settling.into_iter().chain(ready).chain(previous) {
            self.abort(given_up);
        }
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if let Some(connection) = &mut peer.connection {
            peer.efforts.get_or_insert_default().replacing = Some(attempt);
            Self::close(&mut self.actions, connection, NodeDownReason::WaitPending);
        } else {
            self.actions.push_back(Action::Acknowledge { attempt });
        }
    }

    /// An attempt finished its handshake: it wins over all others, unless one has won already.
    /// [`NetKernel::established`] or [`NetKernel::failed`] follows.
    pub fn proven(&mut self, attempt: AttemptId) {
        let Some(node) = self.attempts.get(&attempt).cloned() else {
            self.actions.push_back(Action::Abort { attempt });
            return;
        };
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if peer.settles(attempt) {
            return;
        }
        let is_late =
            peer.is_settling() || peer.connection.as_ref().is_some_and(Connection::is_coming);
        if is_late {
            self.abort(attempt);
            return;
        }
        let efforts = peer.efforts.get_or_insert_default();
        efforts.awaits_peer = None;
        // One that is ready is of the past as well: the peer has begun another one since.
        let ready = efforts.ready.as_ref().map(|(ready, _)| *ready);
        let others: Vec<AttemptId> = efforts
            .outbound
            .into_iter()
            .chain(efforts.inbound.iter().copied())
            .chain(ready)
            .filter(|id| *id != attempt)
            .collect();
        for other in others {
            self.abort(other);
        }
        self.forget_attempt(attempt);
        self.attempts.insert(attempt, node.clone());
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.efforts.get_or_insert_default().settling = Some(attempt);
        }
    }

    /// An attempt has settled everything: its connection can come up.
    pub fn established(&mut self, attempt: AttemptId, link: PeerLink) {
        let Some(node) = self.attempts.get(&attempt).cloned() else {
            self.actions.push_back(Action::Abort { attempt });
            return;
        };
        if self.peers.get(&node).is_none_or(|peer| !peer.settles(attempt)) {
            self.proven(attempt);
        }
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if !peer.settles(attempt) {
            return;
        }
        let efforts = peer.efforts.get_or_insert_default();
        efforts.settling = None;
        match &peer.connection {
            None => self.raise(&node, attempt, link),
            Some(_) => efforts.ready = Some((attempt, link)),
        }
    }

    /// An attempt failed, at any stage, for a reason that those who wait are told if there is no
    /// other hope for them.
    pub fn failed(&mut self, attempt: AttemptId, why: ConnectError) {
        let Some(node) = self.attempts.get(&attempt).cloned() else { return };
        self.forget_attempt(attempt);
        self.let_in_held(&node);
        self.settle(&node, why);
    }

    /// The peer refused an attempt of ours (`nok`), because its own survives.
    pub fn gave_way(&mut self, attempt: AttemptId, now: Instant) {
        let Some(node) = self.attempts.get(&attempt).cloned() else { return };
        let outbound = self.forget_attempt(attempt);
        self.let_in_held(&node);
        let until = now + self.setup_time;
        let peer = self.peers.get_mut(&node);
        if let Some(efforts) = peer.and_then(|peer| peer.efforts.as_mut())
            && outbound
            && efforts.settling.is_none()
            && !efforts.waiters.is_empty()
        {
            efforts.awaits_peer = Some(Awaited { since: now, until, is_hope: false });
        }
        self.settle(&node, ConnectError::PeersAttempt { waited: Duration::ZERO });
    }

    /// Our own attempt is over: who waited for that is let in. Of several the first one wins.
    fn let_in_held(&mut self, node: &Atom) {
        let efforts = self.peers.get(node).and_then(|peer| peer.efforts.as_ref());
        if let Some(efforts) = efforts
            && efforts.outbound.is_none()
            && let Some(first) = efforts.held.first().copied()
        {
            self.let_in(first);
        }
    }

    /// The earliest time at which [`NetKernel::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.peers.values().filter_map(Peer::awaits_until).min()
    }

    /// Gives up waiting for peers whose own attempt never arrived, or takes too long.
    pub fn expire(&mut self, now: Instant) {
        let due = |peer: &Peer| peer.awaits_until().is_some_and(|until| until <= now);
        let names: Vec<Atom> =
            self.peers.iter().filter(|(_, p)| due(p)).map(|(name, _)| name.clone()).collect();
        for name in names {
            let peer = self.peers.get_mut(&name);
            let Some(efforts) = peer.and_then(|peer| peer.efforts.as_mut()) else { continue };
            let Some(awaited) = &mut efforts.awaits_peer else { continue };
            let waited = now.saturating_duration_since(awaited.since);
            // One that has arrived gets as long as a handshake may take. Only a claim, it must not
            // keep anybody waiting for ever.
            if !efforts.inbound.is_empty() && waited < self.setup_time * 3 {
                awaited.until = now + self.setup_time;
                continue;
            }
            efforts.awaits_peer = None;
            self.settle(&name, ConnectError::PeersAttempt { waited });
        }
    }

    /// A connection is about to end: some of what carried it has. Whoever wants to talk to the node
    /// from now on waits for the next one.
    pub fn falling(&mut self, id: ConnectionId) {
        let Some(node) = self.connections.get(&id) else { return };
        if let Some(connection) = self.peers.get_mut(node).and_then(|p| p.connection.as_mut()) {
            connection.closing = true;
        }
    }

    /// All that carried a connection has ended, and everything that was read from it is delivered,
    /// in all queues it fed.
    pub fn link_down(&mut self, id: ConnectionId, reason: NodeDownReason) {
        let Some(node) = self.connections.get(&id).cloned() else { return };
        let Some(connection) = self.peers.get_mut(&node).and_then(|p| p.connection.as_mut()) else {
            return;
        };
        debug_assert_eq!(connection.id, id, "a node has one connection at a time");
        connection.closing = true;
        connection.down = Some(Box::new(reason));
        if connection.stage == Stage::Up {
            self.lower(&node);
        }
    }

    /// One shard carried out one order.
    pub fn acknowledged(&mut self, barrier: BarrierId) {
        let Some(entry) = self.barriers.get_mut(&barrier) else { return };
        entry.missing -= 1;
        if entry.missing > 0 {
            return;
        }
        if let Some(Barrier { node, .. }) = self.barriers.remove(&barrier) {
            self.step(&node);
        }
    }

    /// Begins to bring a connection up.
    fn raise(&mut self, node: &Atom, attempt: AttemptId, link: PeerLink) {
        let id = ConnectionId(self.fresh_id());
        self.forget_attempt(attempt);
        let Some(peer) = self.peers.get_mut(node) else { return };
        if let Some(efforts) = &mut peer.efforts {
            efforts.awaits_peer = None;
        }
        let number = self.known.connected(node);
        peer.connection = Some(Connection {
            id,
            number,
            link,
            stage: Stage::Routing,
            closing: false,
            down: None,
        });
        self.connections.insert(id, node.clone());
        self.actions.push_back(Action::Attach { attempt, connection: id, node: node.clone() });
        let order = Order::RouteUp { node: node.clone(), connection: id };
        self.broadcast(node, order);
    }

    /// Begins to take a connection down. The link itself is closed and drained already.
    fn lower(&mut self, node: &Atom) {
        let Some(connection) = self.peers.get_mut(node).and_then(|p| p.connection.as_mut()) else {
            return;
        };
        connection.stage = Stage::Unrouting;
        let order = Order::RouteDown { node: node.clone(), connection: connection.id };
        self.broadcast(node, order);
    }

    /// A barrier of `node` is complete: on to the next stage.
    fn step(&mut self, node: &Atom) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        let Some(connection) = &mut peer.connection else { return };
        let (id, node_type) = (connection.id, connection.link.node_type);
        let connection_id = connection.number;
        match connection.stage {
            Stage::Routing => {
                connection.stage = Stage::Announcing;
                let node_up =
                    Order::NodeUp { node: node.clone(), connection: id, node_type, connection_id };
                self.broadcast(node, node_up);
            }
            Stage::Announcing => {
                connection.stage = Stage::Up;
                let fell = connection.down.is_some();
                for waiter in peer.take_waiters() {
                    self.actions.push_back(Action::Connected { waiter, result: Ok(()) });
                }
                peer.rest();
                if fell {
                    self.lower(node);
                } else {
                    self.actions.push_back(Action::StartReading { connection: id });
                }
            }
            Stage::Unrouting => {
                connection.stage = Stage::Mourning;
                let reason = connection.down.as_deref();
                let reason = reason.cloned().unwrap_or(NodeDownReason::ConnectionClosed);
                let node_down = Order::NodeDown {
                    node: node.clone(),
                    connection: id,
                    node_type,
                    connection_id,
                    reason,
                };
                self.broadcast(node, node_down);
            }
            Stage::Mourning => self.gone(node, id),
            Stage::Up => debug_assert!(false, "no barrier runs while a node is up"),
        }
    }

    /// The last trace of a connection is gone: whoever waited for that goes on.
    fn gone(&mut self, node: &Atom, id: ConnectionId) {
        self.connections.remove(&id);
        let Some(peer) = self.peers.get_mut(node) else { return };
        let ended = peer.connection.take().and_then(|connection| connection.down);
        let ended = ended.map_or(NodeDownReason::ConnectionClosed, |reason| *reason);
        let ended = ConnectError::Ended(ended);
        let Some(efforts) = &mut peer.efforts else { return self.settle(node, ended) };
        for waiter in std::mem::take(&mut efforts.disconnecting) {
            self.actions.push_back(Action::Disconnected { waiter, was_up: true });
        }
        let replacing = efforts.replacing.take();
        if let Some(attempt) = replacing {
            self.actions.push_back(Action::Acknowledge { attempt });
        }
        match (efforts.ready.take(), replacing) {
            (Some((attempt, link)), _) => self.raise(node, attempt, link),
            // The replacement comes up next, for the waiters too.
            (None, Some(_)) => {}
            (None, None) => self.settle(node, ended),
        }
    }

    /// Answers those who wait in vain and forgets a peer of which nothing is left.
    fn settle(&mut self, node: &Atom, why: ConnectError) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        let hopeful = peer.efforts.as_ref().is_some_and(|efforts| efforts.are_hopeful())
            || peer.connection.as_ref().is_some_and(Connection::is_coming);
        if !hopeful {
            for waiter in peer.take_waiters() {
                let result = Err(why.clone());
                self.actions.push_back(Action::Connected { waiter, result });
            }
        }
        peer.rest();
        if peer.connection.is_none() && peer.efforts.is_none() {
            self.peers.remove(node);
        }
    }

    /// Ends an attempt.
    fn abort(&mut self, attempt: AttemptId) {
        self.forget_attempt(attempt);
        self.actions.push_back(Action::Abort { attempt });
    }

    /// Drops an attempt from the tables; true when it was ours.
    fn forget_attempt(&mut self, attempt: AttemptId) -> bool {
        let Some(node) = self.attempts.remove(&attempt) else { return false };
        let Some(peer) = self.peers.get_mut(&node) else { return false };
        let Some(efforts) = &mut peer.efforts else { return false };
        efforts.inbound.retain(|other| *other != attempt);
        efforts.held.retain(|other| *other != attempt);
        efforts.replacing.take_if(|replacing| *replacing == attempt);
        efforts.settling.take_if(|settling| *settling == attempt);
        efforts.ready.take_if(|(ready, _)| *ready == attempt);
        efforts.outbound.take_if(|outbound| *outbound == attempt).is_some()
    }

    fn close(actions: &mut VecDeque<Action>, connection: &mut Connection, why: NodeDownReason) {
        if !std::mem::replace(&mut connection.closing, true) {
            actions.push_back(Action::CloseLink { connection: connection.id, reason: why });
        }
    }

    fn broadcast(&mut self, node: &Atom, order: Order) {
        let barrier = BarrierId(self.fresh_id());
        self.barriers.insert(barrier, Barrier { node: node.clone(), missing: self.shard_count });
        self.actions.push_back(Action::Broadcast { barrier, order });
    }

    fn tell_connected(&mut self, waiter: Option<WaiterId>, result: Result<(), ConnectError>) {
        if let Some(waiter) = waiter {
            self.actions.push_back(Action::Connected { waiter, result });
        }
    }

    fn tell_disconnected(&mut self, waiter: Option<WaiterId>, was_up: bool) {
        if let Some(waiter) = waiter {
            self.actions.push_back(Action::Disconnected { waiter, was_up });
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
