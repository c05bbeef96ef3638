//! Who is told when nodes come up and go down (Erlang: `net_kernel:monitor_nodes/1,2`).

use std::rc::Rc;

use krarup_transport::term::Atom;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::Shard;
use crate::net_kernel::{NodeDownReason, NodeMonitorOptions, NodeType};
use crate::process::{NodeDown, NodeUp, ProcessCell, ProcessId, Signal};

/// The subscriptions of each process.
pub(super) type Subscriptions = FxHashMap<ProcessId, SmallVec<[Subscription; 1]>>;

/// The subscriptions of one process with the same options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscription {
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
        if on {
            let own = subscriptions.entry(process.id()).or_default();
            match own.iter_mut().find(|subscription| subscription.options == options) {
                Some(subscription) => subscription.count = subscription.count.saturating_add(1),
                None => own.push(Subscription { options, count: 1 }),
            }
        } else if let Some(own) = subscriptions.get_mut(&process.id()) {
            own.retain(|subscription| subscription.options != options);
            if own.is_empty() {
                subscriptions.remove(&process.id());
            }
        }
        process.watches_nodes.set(process.watches_nodes.get() | on);
    }

    /// Tells the processes of this shard that subscribed to it.
    pub(crate) fn tell_subscribers(self: &Rc<Self>, change: &NodeChange) {
        // Whoever is told may end of it.
        let told: Vec<(ProcessId, Subscription)> = {
            let all = self.subscriptions.borrow();
            let each = all.iter().flat_map(|(process, own)| own.iter().map(|one| (*process, *one)));
            each.collect()
        };
        for (process, Subscription { options, count }) in told {
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
        self.subscriptions.borrow_mut().remove(&process);
    }
}
