//! Processes that want to know when the connection to one node is lost (Erlang:
//! `monitor_node/2,3`).

use std::rc::Rc;

use krarup_transport::term::Atom;

use super::Shard;
use crate::net_kernel::{ConnectError, ConnectionId};
use crate::process::{Identity, ProcessCell, ProcessId, Signal};

/// The monitors of one node.
#[derive(Debug, Default)]
pub(super) struct NodeMonitors {
    monitors: Vec<NodeMonitor>,
    /// An attempt to connect is under way for those that wait for one.
    attempts: Attempts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    active: bool,
    passive: bool,
}

impl Attempts {
    fn of(&mut self, how: Approach) -> &mut bool {
        match how {
            Approach::Active => &mut self.active,
            Approach::Passive => &mut self.passive,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct NodeMonitor {
    process: ProcessId,
    tie: Tie,
    /// How often it asked, and is told.
    count: u32,
}

/// What a monitor is bound to: it fires when that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tie {
    Connection(ConnectionId),
    Attempt(Approach),
}

/// How a node is reached that is not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Approach {
    /// By an attempt of ours, where `dist_auto_connect` allows one.
    Active,
    /// Also by waiting for one of the peer, where ours are barred (Erlang:
    /// `allow_passive_connect`).
    Passive,
}

impl Shard {
    /// Adds a monitor of a node, or takes the newest one back. An unconnected node is connected to.
    ///
    /// # Errors
    /// [`ConnectError::NotAlive`].
    pub(crate) fn monitor_node(
        self: &Rc<Self>,
        process: &ProcessCell,
        node: &Atom,
        on: bool,
        how: Approach,
    ) -> Result<(), ConnectError> {
        let own = self.identity.borrow().name.clone();
        if own == *node {
            return Ok(());
        }
        // One that is alive without a name gets one when it connects.
        if own.as_str() == Identity::NOBODY && !self.node.is_alive() {
            return Err(ConnectError::NotAlive);
        }
        if !on {
            self.demonitor_node(process.id(), node);
            return Ok(());
        }
        let route = self.routes.borrow().get(node).map(|route| route.id.connection);
        let tie = route.map_or(Tie::Attempt(how), Tie::Connection);
        process.watches_nodes.set(true);
        let mut nodes = self.node_monitors.borrow_mut();
        let of_node = nodes.entry(node.clone()).or_default();
        let known = of_node.monitors.iter_mut().find(|m| m.process == process.id() && m.tie == tie);
        match known {
            Some(monitor) => monitor.count = monitor.count.saturating_add(1),
            None => of_node.monitors.push(NodeMonitor { process: process.id(), tie, count: 1 }),
        }
        let begins = route.is_none() && !std::mem::replace(of_node.attempts.of(how), true);
        drop(nodes);
        if begins {
            self.connect_for_monitors(node.clone(), how);
        }
        Ok(())
    }

    fn demonitor_node(&self, process: ProcessId, node: &Atom) {
        let mut nodes = self.node_monitors.borrow_mut();
        let Some(of_node) = nodes.get_mut(node) else { return };
        let newest =
            of_node.monitors.iter_mut().filter(|monitor| monitor.process == process).max_by_key(
                |monitor| match monitor.tie {
                    Tie::Attempt(_) => u64::MAX,
                    Tie::Connection(connection) => connection.0,
                },
            );
        if let Some(newest) = newest {
            newest.count -= 1;
        }
        of_node.monitors.retain(|monitor| monitor.count > 0);
        Self::tidy(&mut nodes, node);
    }

    fn connect_for_monitors(self: &Rc<Self>, node: Atom, how: Approach) {
        let shard = Rc::clone(self);
        glommio::spawn_local(async move {
            loop {
                let connected = shard.node().auto_connect(&node, how).await;
                let mut nodes = shard.node_monitors.borrow_mut();
                let Some(of_node) = nodes.get_mut(&node) else { return };
                let waits = |monitor: &NodeMonitor| monitor.tie == Tie::Attempt(how);
                // A connection that came up has taken those that waited along; who came since has
                // missed it.
                if connected.is_ok() && of_node.monitors.iter().any(waits) {
                    continue;
                }
                *of_node.attempts.of(how) = false;
                let lost = of_node.monitors.extract_if(.., |monitor| waits(monitor)).collect();
                Self::tidy(&mut nodes, &node);
                drop(nodes);
                shard.fire_node_monitors(&node, lost);
                return;
            }
        })
        .detach();
    }

    /// A node is connected: its monitors fire when that connection is lost.
    pub(super) fn bind_node_monitors(&self, node: &Atom, connection: ConnectionId) {
        let mut nodes = self.node_monitors.borrow_mut();
        let Some(of_node) = nodes.get_mut(node) else { return };
        for monitor in &mut of_node.monitors {
            if let Tie::Attempt(_) = monitor.tie {
                monitor.tie = Tie::Connection(connection);
            }
        }
    }

    /// A connection is lost.
    pub(super) fn node_lost(self: &Rc<Self>, node: &Atom, connection: ConnectionId) {
        let mut nodes = self.node_monitors.borrow_mut();
        let Some(of_node) = nodes.get_mut(node) else { return };
        let tie = Tie::Connection(connection);
        let lost = of_node.monitors.extract_if(.., |monitor| monitor.tie == tie).collect();
        Self::tidy(&mut nodes, node);
        drop(nodes);
        self.fire_node_monitors(node, lost);
    }

    fn fire_node_monitors(self: &Rc<Self>, node: &Atom, lost: Vec<NodeMonitor>) {
        for NodeMonitor { process, count, .. } in lost {
            for _ in 0..count {
                if self.find(process).is_none() {
                    break;
                }
                self.deliver(process, Signal::NodeLost(Box::new(node.clone())));
            }
        }
    }

    /// A process has ended.
    pub(super) fn forget_node_monitors(&self, process: ProcessId) {
        let mut nodes = self.node_monitors.borrow_mut();
        nodes.retain(|_, of_node| {
            of_node.monitors.retain(|monitor| monitor.process != process);
            !of_node.is_over()
        });
    }

    fn tidy(nodes: &mut super::NodeMonitorTable, node: &Atom) {
        if nodes.get(node).is_some_and(NodeMonitors::is_over) {
            nodes.remove(node);
        }
    }
}

impl NodeMonitors {
    fn is_over(&self) -> bool {
        self.monitors.is_empty() && !self.attempts.active && !self.attempts.passive
    }
}
