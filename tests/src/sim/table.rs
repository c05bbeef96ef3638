//! What the orders of the kernel make of each node at one shard, and in which order they may come.

use std::collections::BTreeMap;

use krarup::net_kernel::{ConnectionId, NodeType, Order};

use super::names::{NameId, Names};

/// `connection_id` has so many bits.
const CONNECTION_ID_MASK: u32 = (1 << 24) - 1;

/// What one shard was told of the nodes.
#[derive(Default)]
pub(super) struct Table {
    rows: BTreeMap<NameId, Row>,
}

#[derive(Default)]
struct Row {
    state: State,
    /// The `connection_id` of the last connection that came up.
    last: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Absent,
    Routed(ConnectionId),
    Up(Up),
    Unrouted(Up),
}

/// A node that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Up {
    pub(super) connection: ConnectionId,
    pub(super) number: u32,
    pub(super) node_type: NodeType,
}

impl Table {
    /// Follows an order, which has to be in its place: a route comes before `nodeup`, and goes
    /// before `nodedown`; `nodedown` repeats what `nodeup` said, and comes before the next one.
    pub(super) fn follow(&mut self, names: &Names, order: &Order) {
        let (Order::RouteUp { node, .. }
        | Order::NodeUp { node, .. }
        | Order::RouteDown { node, .. }
        | Order::NodeDown { node, .. }) = order;
        let row = self.rows.entry(names.known(node)).or_default();
        let state = row.state;
        row.state = match (order, state) {
            (Order::RouteUp { connection, .. }, State::Absent) => State::Routed(*connection),
            (
                Order::NodeUp { connection, node_type, connection_id: number, .. },
                State::Routed(routed),
            ) if *connection == routed => {
                let next = row.last.map(|last| (last + 1) & CONNECTION_ID_MASK);
                assert!(
                    next.is_none_or(|next| next == *number),
                    "{node}: connection {number} follows {:?}",
                    row.last
                );
                row.last = Some(*number);
                let (connection, number, node_type) = (*connection, *number, *node_type);
                State::Up(Up { connection, number, node_type })
            }
            (Order::RouteDown { connection, .. }, State::Up(up))
                if *connection == up.connection =>
            {
                State::Unrouted(up)
            }
            (
                Order::NodeDown { connection, node_type, connection_id: number, .. },
                State::Unrouted(up),
            ) if (*connection, *number, *node_type) == (up.connection, up.number, up.node_type) => {
                State::Absent
            }
            _ => panic!("{node} is {state:?}, and the order is {order:?}"),
        };
    }

    /// The connection of a node between its `nodeup` and the end of its route.
    pub(super) fn up(&self, node: NameId) -> Option<Up> {
        match self.rows.get(&node)?.state {
            State::Up(up) => Some(up),
            State::Absent | State::Routed(_) | State::Unrouted(_) => None,
        }
    }

    /// Whether a connection is up, as [`Table::up`] says of its node.
    pub(super) fn has_up(&self, connection: ConnectionId) -> bool {
        let mut up = self.rows.keys().filter_map(|node| self.up(*node));
        up.any(|up| up.connection == connection)
    }

    /// Whether there is anything of a node.
    pub(super) fn is_absent(&self, node: NameId) -> bool {
        self.rows.get(&node).is_none_or(|row| row.state == State::Absent)
    }

    /// Whether a node has been up.
    pub(super) fn has_been_up(&self, node: NameId) -> bool {
        self.rows.get(&node).is_some_and(|row| row.last.is_some())
    }

    /// The nodes that are up.
    pub(super) fn all_up(&self) -> impl Iterator<Item = NameId> {
        self.rows.keys().copied().filter(|node| self.up(*node).is_some())
    }
}
