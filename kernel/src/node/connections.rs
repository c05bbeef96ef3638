//! Connections to other nodes, and who may have one.

use std::time::Duration;

use krarup_transport::term::Atom;

use super::{Node, Reply};
use crate::net_kernel::{ConnectError, NodeInfo, TooManyNames};
use crate::shard::Approach;

/// Connections (Erlang: `net_kernel` and the distribution BIFs).
impl Node {
    /// Connects to a node (OTP: `net_kernel:connect_node/1`); answered when it is up, also if it
    /// was before.
    ///
    /// # Errors
    /// [`ConnectError`]: the step that failed, and why.
    pub fn connect(&self, node: &str) -> Reply<Result<(), ConnectError>> {
        self.connect_as(node, false)
    }

    /// Connects without showing in each other's `nodes()` (OTP: `hidden_connect_node/1`).
    ///
    /// # Errors
    /// As [`Node::connect`].
    pub fn connect_hidden(&self, node: &str) -> Reply<Result<(), ConnectError>> {
        self.connect_as(node, true)
    }

    fn connect_as(&self, node: &str, hidden: bool) -> Reply<Result<(), ConnectError>> {
        let node = match Atom::new(node) {
            Ok(node) => node,
            Err(error) => return Reply::known(Err(ConnectError::Name(error.to_string()))),
        };
        let (done, reply) = Reply::pair(|| Err(ConnectError::Stopped));
        self.on_kernel(move |shard| {
            if let Some(kernel) = shard.kernel() {
                kernel.connect(&node, hidden, done);
            }
        });
        reply
    }

    pub(crate) fn auto_connect(
        &self,
        node: &Atom,
        how: Approach,
    ) -> Reply<Result<(), ConnectError>> {
        let node = node.clone();
        let (done, reply) = Reply::pair(|| Err(ConnectError::Stopped));
        self.on_kernel(move |shard| {
            if let Some(kernel) = shard.kernel() {
                kernel.auto_connect(&node, how, done);
            }
        });
        reply
    }

    /// States the port that a node listens on, so that its epmd is not asked; or takes that back.
    /// It counts from the next connection on.
    pub fn set_peer_port(&self, node: &str, port: Option<u16>) {
        let node = node.to_owned();
        self.on_kernel(move |shard| {
            if let Some(kernel) = shard.kernel() {
                kernel.state_port(node, port);
            }
        });
    }

    /// Ends the connection to a node (OTP: `disconnect_node/1`); true when there was one. Answered
    /// after its `nodedown` is delivered.
    pub fn disconnect(&self, node: &str) -> Reply<bool> {
        let Ok(node) = Atom::new(node) else { return Reply::known(false) };
        let (done, reply) = Reply::pair(|| false);
        self.on_kernel(move |shard| {
            if let Some(kernel) = shard.kernel() {
                kernel.disconnect(&node, done);
            }
        });
        reply
    }

    /// The connected nodes, visible and hidden.
    pub fn nodes(&self) -> Reply<Vec<NodeInfo>> {
        let (done, reply) = Reply::pair(Vec::new);
        self.on_kernel(move |shard| {
            let nodes = shard.kernel().map(|kernel| kernel.nodes()).unwrap_or_default();
            let _ = done.send(nodes);
        });
        reply
    }

    /// The nodes that were connected, or that somebody wanted to connect to, this one not among them
    /// (Erlang: `nodes(known)`). Names that are only part of a pid are not kept.
    pub fn known_nodes(&self) -> Reply<Vec<Atom>> {
        let (done, reply) = Reply::pair(Vec::new);
        self.on_kernel(move |shard| {
            let known = shard.kernel().map(|kernel| kernel.known()).unwrap_or_default();
            let _ = done.send(known);
        });
        reply
    }

    /// Who may connect; empty where everybody may (OTP: `net_kernel:allowed/0`).
    pub fn allowed(&self) -> Reply<Vec<String>> {
        let (done, reply) = Reply::pair(Vec::new);
        self.on_kernel(move |shard| {
            let allowed = shard.kernel().map(|kernel| kernel.allowed()).unwrap_or_default();
            let _ = done.send(allowed);
        });
        reply
    }

    /// Lets only these nodes connect from now on; more calls add more
    /// (OTP: `net_kernel:allow/1`).
    ///
    /// # Errors
    /// [`TooManyNames`]: there is room for 65,536.
    pub fn allow(&self, nodes: Vec<String>) -> Reply<Result<(), TooManyNames>> {
        let (done, reply) = Reply::pair(|| Ok(()));
        self.on_kernel(move |shard| {
            let allowed = shard.kernel().map(|kernel| kernel.allow(nodes));
            let _ = done.send(allowed.unwrap_or(Ok(())));
        });
        reply
    }

    /// Asks a node whether it accepts us (OTP: `net_adm:ping/1`): connects if need be, true for
    /// `pong`.
    pub fn ping(&self, node: &str, timeout: Duration) -> Reply<bool> {
        crate::net_adm::ping(self, node, timeout)
    }
}
