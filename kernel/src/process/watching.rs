//! What a process can learn of nodes: who comes and goes, and the loss of one.

use krarup_transport::term::Atom;

use super::{Mailbox, Process};
use crate::net_kernel::{ConnectError, NodeMonitorOptions};
use crate::node::NotAlive;
use crate::shard::Approach;

impl Process {
    /// Subscribes to [`Signal::NodeUp`](super::Signal::NodeUp) and
    /// [`Signal::NodeDown`](super::Signal::NodeDown) of visible nodes, or takes that back (Erlang:
    /// `net_kernel:monitor_nodes/1`).
    ///
    /// Who subscribes twice is told twice; taking it back ends all.
    pub fn monitor_nodes(&self, on: bool) {
        self.monitor_nodes_with(on, NodeMonitorOptions::default());
    }

    /// As [`Process::monitor_nodes`], with options (Erlang: `net_kernel:monitor_nodes/2`).
    /// Subscriptions with other options are others.
    pub fn monitor_nodes_with(&self, on: bool, options: NodeMonitorOptions) {
        self.shard().monitor_nodes(self.cell(), on, options);
    }

    /// Asks for [`Signal::NodeLost`](super::Signal::NodeLost) when the connection to a node is
    /// lost, or takes that back once (Erlang: `monitor_node/2`). Who asks three times is told three
    /// times.
    ///
    /// A node that is not connected is connected to; it is lost at once where that fails. Of this
    /// node itself nothing is ever told.
    ///
    /// # Errors
    /// [`NotAlive`].
    pub fn monitor_node(&self, node: &str, on: bool) -> Result<(), NotAlive> {
        self.monitor_node_by(node, on, Approach::Active)
    }

    /// As [`Process::monitor_node`]; where `dist_auto_connect` bars the node it waits for the node
    /// to connect, as long as a connection's setup may take (Erlang: `monitor_node/3` with
    /// `allow_passive_connect`).
    ///
    /// # Errors
    /// [`NotAlive`].
    pub fn monitor_node_passively(&self, node: &str, on: bool) -> Result<(), NotAlive> {
        self.monitor_node_by(node, on, Approach::Passive)
    }

    fn monitor_node_by(&self, node: &str, on: bool, how: Approach) -> Result<(), NotAlive> {
        let node = super::name_atom(node);
        match self.shard().monitor_node(self.cell(), &node, on, how) {
            Err(ConnectError::NotAlive) => Err(NotAlive),
            _ => Ok(()),
        }
    }
}

impl Mailbox {
    /// Subscribes to visible nodes; see [`Process::monitor_nodes`].
    pub fn monitor_nodes(&self, on: bool) {
        self.monitor_nodes_with(on, NodeMonitorOptions::default());
    }

    /// Subscribes with options; see [`Process::monitor_nodes_with`].
    pub fn monitor_nodes_with(&self, on: bool, options: NodeMonitorOptions) {
        self.on_shard(move |shard, process| shard.monitor_nodes(process, on, options));
    }

    /// Asks for the loss of a node; see [`Process::monitor_node`]. It is lost at once while this
    /// node is not alive.
    pub fn monitor_node(&self, node: &str, on: bool) {
        let node: Atom = super::name_atom(node);
        self.on_shard(move |shard, process| {
            let monitored = shard.monitor_node(process, &node, on, Approach::Active);
            if monitored.is_err() && on {
                shard.deliver(process.id(), super::Signal::NodeLost(Box::new(node)));
            }
        });
    }
}
