//! What goes in and out of the [`NetKernel`](super::NetKernel) machine.

use std::fmt;

use krarup_transport::term::{Atom, Creation, Term};

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
///
/// What stands beside a reason says more to people; subscribers are told the atom, as OTP documents
/// it. OTP's `get_status_failed` has no cause here: a connection's bytes are counted by this node
/// itself, not asked of the socket.
// OTP: `net_kernel:monitor_nodes/2`. From 27 on dist_util.erl gives `{send_net_tick_failed, Error}`
// and `{f_setopts_post_nodeup_failed, Error}` instead of the documented atoms.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NodeDownReason {
    /// The frames of a lane arrived damaged again and again.
    Checksum(String),
    /// The peer closed the connection, halted or was killed.
    ConnectionClosed,
    /// The connection was up and its shard could not take it over.
    ConnectionSetupFailed(String),
    /// `disconnect_node` was called on this side.
    Disconnect,
    /// Nothing was received for the tick time.
    NetTickTimeout,
    /// This node's distribution was stopped.
    NetKernelTerminated,
    /// The socket that this node accepts connections on has failed, and another one could not take
    /// its place: the distribution was stopped.
    NoNetwork(String),
    /// A tick could not be written.
    SendNetTickFailed(String),
    /// This node gave the connection up for a reason of its own.
    Shutdown(String),
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
            NodeDownReason::Checksum(_) => "checksum",
            NodeDownReason::ConnectionClosed | NodeDownReason::Socket(_) => "connection_closed",
            NodeDownReason::ConnectionSetupFailed(_) => "connection_setup_failed",
            NodeDownReason::Disconnect => "disconnect",
            NodeDownReason::NetTickTimeout => "net_tick_timeout",
            NodeDownReason::NetKernelTerminated => "net_kernel_terminated",
            NodeDownReason::NoNetwork(_) => "no_network",
            NodeDownReason::SendNetTickFailed(_) => "send_net_tick_failed",
            NodeDownReason::Shutdown(_) => "shutdown",
            NodeDownReason::WaitPending => "wait_pending",
            NodeDownReason::Killed(_) => "killed",
            NodeDownReason::Emsgsize => "emsgsize",
        })
    }

    /// The reason as OTP puts it into a `nodedown` message.
    pub fn term(&self) -> Term {
        Term::Atom(self.atom())
    }

    /// What more there is to say of it.
    fn details(&self) -> Option<&str> {
        match self {
            NodeDownReason::Checksum(why)
            | NodeDownReason::ConnectionSetupFailed(why)
            | NodeDownReason::Killed(why)
            | NodeDownReason::NoNetwork(why)
            | NodeDownReason::SendNetTickFailed(why)
            | NodeDownReason::Shutdown(why)
            | NodeDownReason::Socket(why) => Some(why),
            NodeDownReason::ConnectionClosed
            | NodeDownReason::Disconnect
            | NodeDownReason::Emsgsize
            | NodeDownReason::NetKernelTerminated
            | NodeDownReason::NetTickTimeout
            | NodeDownReason::WaitPending => None,
        }
    }
}

impl fmt::Display for NodeDownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.atom().as_str())?;
        self.details().map_or(Ok(()), |why| write!(f, " ({why})"))
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
