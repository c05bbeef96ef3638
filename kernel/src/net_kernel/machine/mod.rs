//! The node table and the order in which nodes come up and go down.
//!
//! One [`Peer`] per node name holds at most one connection and any number of attempts. The calls of
//! this node are here; what becomes of attempts is in `attempts`, and of connections in `stages`.

mod attempts;
mod stages;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use krarup_transport::term::Atom;

use super::allowed::Allowed;
use super::known::KnownNodes;
use super::peer::{Awaited, Connection, Peer, Stage};
use super::types::{
    Action, AttemptId, BarrierId, ConnectionId, NodeDownReason, NodeInfo, WaiterId,
};
use super::{ConnectError, TooManyNames};

/// The node table as a state machine.
#[derive(Debug)]
pub struct NetKernel {
    local: Option<Atom>,
    /// Alive, and to be named by the first node that it connects to.
    is_unnamed: bool,
    shard_count: usize,
    setup_time: Duration,
    allowed: Allowed,
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
            allowed: Allowed::default(),
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
    ///
    /// # Errors
    /// [`TooManyNames`].
    pub fn allow(&mut self, nodes: impl IntoIterator<Item = String>) -> Result<(), TooManyNames> {
        self.allowed.add(nodes)
    }

    /// Who may connect, in the order in which it was said; nobody is named where everybody may
    /// (OTP: `net_kernel:allowed/0`).
    pub fn allowed(&self) -> &[String] {
        self.allowed.names()
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
        if needs_attempt && !self.allowed.may_be_called(node.as_str()) {
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
