//! What shards, and other threads, tell a shard.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use krarup_transport::dist::Control;
use krarup_transport::dist::control::SpawnReply;
use krarup_transport::fabric::{Broken, Epoch, LaneConfig, ProcessNumber, SharedRun};
use krarup_transport::link::{LinkConfig, SenderKey};
use krarup_transport::term::{Atom, Reference};

use super::hold::Hold;
use super::{Body, Gauges, LaneRoute, LinkId, Shard};
use crate::net_kernel::{BarrierId, ConnectionId, NodeDownReason, Order};
use crate::process::{Identity, ProcessId, SharedPayload, SharedSignal, Via};

/// One item of the mesh. What goes from one shard to another arrives in order.
pub(crate) enum ShardMessage {
    /// A signal for a process of this shard.
    Deliver { to: Target, signal: SharedSignal },
    /// Messages from one node to a process of this shard.
    DeliverRun { node: Identity, run: SharedRun },
    /// A link, monitor or exit signal that concerns a process of this shard.
    Incoming { via: Via, control: Control, payload: Option<SharedPayload> },
    /// The answer to a spawn request of a process of this shard.
    Spawned { via: Via, reply: Box<SpawnReply> },
    /// A signal to send over a link of this shard.
    Forward { link: LinkId, sender: SenderKey, control: Control, body: Option<Body> },
    /// An order of the kernel; acknowledged when carried out. A new route comes with its lanes.
    Order { barrier: BarrierId, order: Order, lanes: Option<Arc<[LaneRoute]>> },
    /// A registered name, or its removal; acknowledged when carried out.
    Name { barrier: BarrierId, name: Atom, process: Option<ProcessId> },
    /// Everything that the ended link's shard sent here before this has been handled: tell the
    /// kernel.
    Drain { connection: ConnectionId },
    /// Something for the kernel; only its shard gets it.
    Kernel(KernelEvent),
    /// A new link, not read yet.
    Attach(Box<NewLink>),
    /// Read the frames of a connection's links from now on.
    StartReading { connection: ConnectionId },
    /// End a connection's links. Over lanes that have a socket, the peer is told `bye` first.
    Close { connection: ConnectionId, reason: NodeDownReason, bye: Option<Atom> },
    /// Let go of a lane's socket of this epoch, and report that it broke.
    Detach { link: LinkId, epoch: Epoch },
    /// A socket for a lane that has none.
    Resume(Box<Resume>),
    /// A process of this shard must not send to another one, or may again.
    Hold { sender: ProcessId, hold: Box<Hold> },
    /// Say over a link of this shard that a process of the peer must not send to one of this node,
    /// or may again.
    TellHold { link: LinkId, sender: ProcessNumber, hold: Box<Hold> },
    /// Wake a task of this shard.
    Wake(Waker),
    /// Anything else that a handle asks of a shard.
    Run(Work),
}

/// What a handle asks of a shard, done on its thread.
pub(crate) type Work = Box<dyn FnOnce(&Rc<Shard>) + Send>;

/// Whom a delivered signal is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Process(ProcessId),
    Alias(Reference),
}

/// A socket that finished its handshake, on its way to the shard that keeps it.
pub(crate) struct NewLink {
    pub(crate) id: LinkId,
    pub(crate) node: Atom,
    pub(crate) socket: OwnedFd,
    pub(crate) setup: Setup,
    pub(crate) gauges: Gauges,
    /// Bytes that came behind the handshake.
    pub(crate) leftover: Vec<u8>,
    /// Which of a lane's sockets it is.
    pub(crate) epoch: Epoch,
}

/// With what a link begins.
pub(crate) enum Setup {
    Otp(LinkConfig),
    Lane(LaneConfig),
}

/// A socket that takes a lane over from one that broke.
pub(crate) struct Resume {
    pub(crate) link: LinkId,
    pub(crate) epoch: Epoch,
    pub(crate) socket: OwnedFd,
    /// The position up to which the peer received.
    pub(crate) peer_received: u64,
    /// Bytes that came behind the join.
    pub(crate) leftover: Vec<u8>,
}

/// What shards tell the kernel.
pub(crate) enum KernelEvent {
    /// One shard carried out one order or name change.
    Acknowledged(BarrierId),
    /// A link of a connection ended; its shard has sent a `Drain` to every other shard.
    LinkDown { connection: ConnectionId, reason: NodeDownReason },
    /// A shard has handled everything that one ended link of a connection had sent to it.
    Drained { connection: ConnectionId },
    /// A lane's shard has let go of its socket of this epoch.
    LaneBroken { link: LinkId, epoch: Epoch, report: Broken, why: String, damaged: bool },
    /// A lane cannot go on, for this reason.
    LaneFailed { link: LinkId, why: String, reason: NodeDownReason },
    /// The peer ends the session.
    LaneBye { link: LinkId, reason: Atom },
    /// A process that had this name ended.
    NameGone { name: Atom, process: ProcessId },
}
