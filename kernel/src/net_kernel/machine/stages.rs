//! The stages of a connection.
//!
//! Up: record, routes on all shards, `nodeup` on all shards, then frames are read. Down: everything
//! read has been delivered, routes removed on all shards, links and monitors and `nodedown` on all
//! shards; only then may the name come up again.

use std::collections::VecDeque;

use krarup_transport::term::Atom;

use super::{Barrier, NetKernel};
use crate::net_kernel::ConnectError;
use crate::net_kernel::peer::{Connection, Stage};
use crate::net_kernel::types::{
    Action, AttemptId, BarrierId, ConnectionId, NodeDownReason, Order, PeerLink,
};

impl NetKernel {
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
    pub(super) fn raise(&mut self, node: &Atom, attempt: AttemptId, link: PeerLink) {
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
        self.known.lost(node);
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

    pub(super) fn close(
        actions: &mut VecDeque<Action>,
        connection: &mut Connection,
        why: NodeDownReason,
    ) {
        if !std::mem::replace(&mut connection.closing, true) {
            actions.push_back(Action::CloseLink { connection: connection.id, reason: why });
        }
    }

    fn broadcast(&mut self, node: &Atom, order: Order) {
        let barrier = BarrierId(self.fresh_id());
        self.barriers.insert(barrier, Barrier { node: node.clone(), missing: self.shard_count });
        self.actions.push_back(Action::Broadcast { barrier, order });
    }
}
