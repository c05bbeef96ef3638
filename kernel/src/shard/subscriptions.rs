//! Who is told when nodes come up and go down (Erlang: `net_kernel:monitor_nodes/1,2`).

use std::rc::Rc;

use krarup_transport::term::Atom;

use super::Shard;
use crate::net_kernel::{NodeDownReason, NodeMonitorOptions, NodeType};
use crate::process::{NodeDown, NodeUp, ProcessCell, ProcessId, Signal};

/// The subscriptions of one process with the same options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscription {
    process: ProcessId,
    options: NodeMonitorOptions,
    /// How often it subscribed, and is told.
    count: u32,
}

/// A node came up, or went down for a reason.
#[derive(Clone, Debug)]
pub(crate) struct NodeChange {
    pub(crate) node: Atom,
    pub(crate) node_type: NodeType,
    /// None for this node itself.
    pub(crate) connection_id: Option<u32>,
    pub(crate) down: Option<NodeDownReason>,
}

impl NodeChange {
    fn signal(&self, options: NodeMonitorOptions) -> Signal {
        let NodeChange { node, node_type, connection_id, down } = self.clone();
        match down {
            None => Signal::NodeUp(Box::new(NodeUp { node, node_type, connection_id, options })),
            Some(reason) => Signal::NodeDown(Box::new(NodeDown {
                node,
                node_type,
                connection_id,
                reason,
                options,
            })),
        }
    }
}

impl Shard {
    /// Adds a subscription of a process, or takes back all of it that have these options.
    pub(crate) fn monitor_nodes(
        &self,
        process: &ProcessCell,
        on: bool,
        options: NodeMonitorOptions,
    ) {
        let mut subscriptions = self.subscriptions.borrow_mut();
        let id = process.id();
        let at = subscriptions.iter().position(|s| s.process == id && s.options == options);
        match (at, on) {
            (Some(at), true) => subscriptions[at].count = subscriptions[at].count.saturating_add(1),
            (None, true) => subscriptions.push(Subscription { process: id, options, count: 1 }),
            (Some(at), false) => drop(subscriptions.remove(at)),
            (None, false) => {}
        }
        process.watches_nodes.set(process.watches_nodes.get() | on);
    }

    /// Tells the processes of this shard that subscribed to it.
    pub(crate) fn tell_subscribers(self: &Rc<Self>, change: &NodeChange) {
        // Whoever is told may end of it.
        let told: Vec<Subscription> = self.subscriptions.borrow().clone();
        for Subscription { process, options, count } in told {
            if !options.watches(change.node_type) {
                continue;
            }
            for _ in 0..count {
                if self.find(process).is_none() {
                    break;
                }
                self.deliver(process, change.signal(options));
            }
        }
    }

    /// A process has ended.
    pub(super) fn forget_subscriptions(&self, process: ProcessId) {
        self.subscriptions.borrow_mut().retain(|subscription| subscription.process != process);
    }
}
