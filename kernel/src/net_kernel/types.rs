//! What goes in and out of the [`NetKernel`](super::NetKernel) machine.

use std::fmt;

use krarup_transport::term::{Atom, Creation};

use super::ConnectError;

/// One try to set up a connection, inbound or outbound. Never reused within a node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId(pub u64);

/// One connection that came up. Local to this node, never on the wire (OTP: `connection_id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Somebody who waits for the outcome of a connect or disconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaiterId(pub u64);

/// One round of "tell every shard and wait until all have acknowledged".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BarrierId(pub u64);

/// Visibility of a connected node; a property of the link, not of the node
/// (OTP: `DFLAG_PUBLISHED` of both sides).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeType {
    /// Shown by `nodes/0`; takes part in `global`.
    Visible,
    /// Shown only by `nodes(hidden)` and `nodes(connected)`.
    Hidden,
}

impl NodeType {
    /// The atom that OTP has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            NodeType::Visible => "visible",
            NodeType::Hidden => "hidden",
        }
    }
}

/// Why a connection ended, in the words of OTP's `nodedown_reason`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NodeDownReason {
    /// The peer closed the connection, halted or was killed.
    ConnectionClosed,
    /// `disconnect_node` was called on this side.
    Disconnect,
    /// Nothing was received for the tick time.
    NetTickTimeout,
    /// This node's distribution was stopped.
    NetKernelTerminated,
    /// A newer connection of the same node replaced this one.
    WaitPending,
    /// The peer sent something that no node sends; the text says what.
    Killed(String),
    /// The peer announced a frame above the limit.
    Emsgsize,
    /// The socket failed with this error.
    Socket(String),
}

impl NodeDownReason {
    /// The reason as the atom that OTP puts into a `nodedown` message.
    pub fn atom(&self) -> Atom {
        Atom::from_static(match self {
            NodeDownReason::ConnectionClosed | NodeDownReason::Socket(_) => "connection_closed",
            NodeDownReason::Disconnect => "disconnect",
            NodeDownReason::NetTickTimeout => "net_tick_timeout",
            NodeDownReason::NetKernelTerminated => "net_kernel_terminated",
            NodeDownReason::WaitPending => "wait_pending",
            NodeDownReason::Killed(_) => "killed",
            NodeDownReason::Emsgsize => "emsgsize",
        })
    }
}

impl fmt::Display for NodeDownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.atom().as_str())?;
        match self {
            NodeDownReason::Killed(why) | NodeDownReason::Socket(why) => write!(f, " ({why})"),
            _ => Ok(()),
        }
    }
}

/// What is known of a peer whose handshake is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLink {
    /// Creation the peer stated in the handshake.
    pub creation: Creation,
    /// Visibility negotiated for this link.
    pub node_type: NodeType,
}

/// One row of `nodes/1,2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// The node's name.
    pub name: Atom,
    /// Visible or hidden.
    pub node_type: NodeType,
    /// Its creation.
    pub creation: Creation,
    /// The connection it is reached by.
    pub connection: ConnectionId,
    /// Which of the node's connections it is: one more with each, in 24 bits (OTP:
    /// `connection_id`).
    pub connection_id: u32,
}

/// What to answer to the name message of an inbound handshake (OTP: status message).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// `ok`
    Ok,
    /// `ok_simultaneous`: the peer's attempt survives, ours gives way.
    OkSimultaneous,
    /// `nok`: our own attempt survives, or the name cannot be a peer.
    Nok,
    /// `not_allowed`
    NotAllowed,
    /// `alive`: a connection is up; it is replaced only after the peer proved the cookie.
    Alive,
}

/// What every shard does, and acknowledges, within one barrier.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Add the route to a node.
    RouteUp {
        /// The node.
        node: Atom,
        /// Its new connection.
        connection: ConnectionId,
    },
    /// Tell the subscribers that a node is up.
    NodeUp {
        /// The node.
        node: Atom,
        /// Its connection.
        connection: ConnectionId,
        /// Visible or hidden.
        node_type: NodeType,
        /// See [`NodeInfo::connection_id`].
        connection_id: u32,
    },
    /// Remove the route to a node.
    RouteDown {
        /// The node.
        node: Atom,
        /// The connection that ended.
        connection: ConnectionId,
    },
    /// Fire links and monitors, then tell the subscribers that a node is down.
    NodeDown {
        /// The node.
        node: Atom,
        /// The connection that ended.
        connection: ConnectionId,
        /// Visible or hidden.
        node_type: NodeType,
        /// See [`NodeInfo::connection_id`].
        connection_id: u32,
        /// Why.
        reason: NodeDownReason,
    },
}

/// What the runtime must do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start an outbound attempt.
    Dial {
        /// Name it in later calls by this.
        attempt: AttemptId,
        /// Whom to call.
        node: Atom,
        /// Do not offer to be visible (`hidden_connect_node`).
        hidden: bool,
    },
    /// Close an attempt's socket, whatever its stage; no further call about it is needed.
    Abort {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Move what an established attempt has to the shards that keep it; frames are not read yet.
    Attach {
        /// The attempt.
        attempt: AttemptId,
        /// The connection it becomes.
        connection: ConnectionId,
        /// The node at the other end.
        node: Atom,
    },
    /// Read frames from now on.
    StartReading {
        /// The connection.
        connection: ConnectionId,
    },
    /// Close what carries a connection; `link_down` follows when all that was read is delivered.
    CloseLink {
        /// The connection.
        connection: ConnectionId,
        /// The reason to report.
        reason: NodeDownReason,
    },
    /// Tell every shard; each acknowledges once with `acknowledged`.
    Broadcast {
        /// The round.
        barrier: BarrierId,
        /// What to do.
        order: Order,
    },
    /// Acknowledge the challenge of an inbound attempt: the link it replaces is gone, or no attempt
    /// of ours goes first.
    Acknowledge {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Answer one who waits for a connection.
    Connected {
        /// Who.
        waiter: WaiterId,
        /// Whether it is up, or why not.
        result: Result<(), ConnectError>,
    },
    /// Answer one who waits for the end of a connection.
    Disconnected {
        /// Who.
        waiter: WaiterId,
        /// Whether there was one (OTP: the value of `disconnect_node/1`).
        was_up: bool,
    },
}
