//! What the node table keeps for each node.

use std::time::Instant;

use super::types::{AttemptId, ConnectionId, NodeDownReason, PeerLink, WaiterId};

/// A node that is connected, or of which something is under way.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) connection: Option<Connection>,
    /// Boxed, for most peers are connected and nothing else.
    pub(super) efforts: Option<Box<Efforts>>,
}

/// What is under way to connect a peer, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Efforts {
    pub(super) outbound: Option<AttemptId>,
    /// The peer may know of `outbound`: our name went out.
    pub(super) called: bool,
    pub(super) inbound: Vec<AttemptId>,
    /// Those of `inbound` that have proven the cookie, and wait for what becomes of `outbound`.
    pub(super) held: Vec<AttemptId>,
    /// Finished its handshake first, and settles what there is to settle.
    pub(super) settling: Option<AttemptId>,
    /// Finished its handshake while the previous connection was still going down.
    pub(super) ready: Option<(AttemptId, PeerLink)>,
    /// Proved the cookie while a connection was up; acknowledged when that one is gone.
    pub(super) replacing: Option<AttemptId>,
    pub(super) waiters: Vec<WaiterId>,
    pub(super) disconnecting: Vec<WaiterId>,
    /// Our attempt was refused because the peer's own wins.
    pub(super) awaits_peer: Option<Awaited>,
}

/// The peer's own attempt, which may still arrive or be on its way through the handshake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited {
    pub(super) since: Instant,
    /// When to look what has become of it.
    pub(super) until: Instant,
    /// Nobody knows of an attempt of the peer; one of ours takes its place.
    pub(super) is_hope: bool,
}

/// A connection, from its first route to its last trace.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    /// See [`NodeInfo::connection_id`](super::NodeInfo::connection_id).
    pub(super) number: u32,
    pub(super) link: PeerLink,
    pub(super) stage: Stage,
    /// `CloseLink` went out.
    pub(super) closing: bool,
    /// The link ended before its `nodeup` was out; it goes down right after.
    pub(super) down: Option<Box<NodeDownReason>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Routing,
    Announcing,
    Up,
    Unrouting,
    Mourning,
}

impl Peer {
    pub(super) fn is_settling(&self) -> bool {
        self.efforts.as_ref().is_some_and(|efforts| efforts.settling.is_some())
    }

    /// Whether a connection of it comes up when the last one is down.
    pub(super) fn is_ready(&self) -> bool {
        self.efforts.as_ref().is_some_and(|efforts| efforts.ready.is_some())
    }

    pub(super) fn settles(&self, attempt: AttemptId) -> bool {
        self.efforts.as_ref().is_some_and(|efforts| efforts.settling == Some(attempt))
    }

    /// Whether the peer may know of an attempt of ours, and complete it.
    pub(super) fn is_called(&self) -> bool {
        self.efforts.as_ref().is_some_and(|efforts| efforts.outbound.is_some() && efforts.called)
    }

    /// Whether it is not connected, and nothing is under way that may connect it. A stranger that
    /// claims its name does not count, nor does the mere hope that it calls.
    pub(super) fn needs_attempt(&self) -> bool {
        let is_under_way = |efforts: &Efforts| {
            efforts.outbound.is_some()
                || efforts.settling.is_some()
                || efforts.ready.is_some()
                || efforts.awaits_peer.is_some_and(|awaited| !awaited.is_hope)
        };
        !self.connection.as_ref().is_some_and(Connection::is_coming)
            && !self.efforts.as_ref().is_some_and(|efforts| is_under_way(efforts))
    }

    pub(super) fn awaits_until(&self) -> Option<Instant> {
        self.efforts.as_ref()?.awaits_peer.map(|awaited| awaited.until)
    }

    pub(super) fn take_waiters(&mut self) -> Vec<WaiterId> {
        self.efforts
            .as_mut()
            .map(|efforts| std::mem::take(&mut efforts.waiters))
            .unwrap_or_default()
    }

    /// Gives up the memory of efforts that are over.
    pub(super) fn rest(&mut self) {
        self.efforts.take_if(|efforts| efforts.are_over());
    }
}

impl Efforts {
    /// Whether they may lead to a connection.
    pub(super) fn are_hopeful(&self) -> bool {
        self.outbound.is_some()
            || self.settling.is_some()
            || self.ready.is_some()
            || self.replacing.is_some()
            || self.awaits_peer.is_some()
    }

    /// Whether nothing is left of them.
    pub(super) fn are_over(&self) -> bool {
        !self.are_hopeful()
            && self.inbound.is_empty()
            && self.waiters.is_empty()
            && self.disconnecting.is_empty()
    }
}

impl Connection {
    /// Announced everywhere, and nobody asked to end it.
    pub(super) fn is_up(&self) -> bool {
        !self.closing && self.stage == Stage::Up
    }

    /// Up, or on its way up, and nobody asked to end it.
    pub(super) fn is_coming(&self) -> bool {
        !self.closing && matches!(self.stage, Stage::Routing | Stage::Announcing | Stage::Up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connected_node_is_small() {
        assert!(size_of::<Peer>() <= 40, "{} bytes", size_of::<Peer>());
    }

    #[test]
    fn efforts_last_as_long_as_there_is_something_of_them() {
        let mut peer = Peer::default();
        peer.efforts.get_or_insert_default().waiters.push(WaiterId(1));
        peer.rest();
        assert_eq!(peer.take_waiters(), [WaiterId(1)]);
        peer.rest();
        assert!(peer.efforts.is_none());
    }
}
