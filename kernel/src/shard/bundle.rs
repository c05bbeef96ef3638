//! What carries a connection: one link, or several lanes.

use std::sync::Arc;

use super::Gauges;
use crate::net_kernel::{ConnectionId, NodeDownReason};

/// Names a link of this node: a lane of a connection. A connection without lanes has one link, of
/// number 0. Never used again within the node's life, and later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId {
    pub(crate) connection: ConnectionId,
    pub(crate) lane: u8,
}

/// What senders must know of a link.
#[derive(Clone, Debug)]
pub(crate) struct LaneRoute {
    pub(crate) lane: u8,
    /// The shard that keeps the link.
    pub(crate) shard: usize,
    pub(crate) gauges: Gauges,
}

/// The lane that the signals of a shard's processes take, whatever they address: this keeps those
/// of one process in order.
pub(super) fn lane_of(lanes: &[LaneRoute], shard: usize) -> Option<&LaneRoute> {
    lanes.get(shard.checked_rem(lanes.len())?)
}

/// The links of one connection as the kernel counts them.
pub(super) struct Bundle {
    lanes: Arc<[LaneRoute]>,
    /// Boxed, for links last.
    ending: Option<Box<Ending>>,
}

/// How far the end of a connection has come.
#[derive(Default)]
struct Ending {
    /// Why the first of its links ended.
    reason: Option<NodeDownReason>,
    ended: usize,
    /// How often a shard said that it has handled all that an ended link sent it.
    drained: usize,
}

impl Bundle {
    pub(super) fn new(lanes: impl Into<Arc<[LaneRoute]>>) -> Self {
        Bundle { lanes: lanes.into(), ending: None }
    }

    pub(super) fn lanes(&self) -> &Arc<[LaneRoute]> {
        &self.lanes
    }

    /// The shards that keep its links, each once.
    pub(super) fn shards(&self) -> Vec<usize> {
        let mut shards: Vec<usize> = self.lanes.iter().map(|lane| lane.shard).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }

    /// A link has ended for good. True for the first one, while others are left: they have to end
    /// with it.
    pub(super) fn ended(&mut self, reason: NodeDownReason) -> bool {
        let ending = self.ending.get_or_insert_default();
        ending.ended += 1;
        let first = ending.reason.is_none();
        ending.reason.get_or_insert(reason);
        first && ending.ended < self.lanes.len()
    }

    /// A shard has handled all that one ended link had sent it. It may be heard of before the end.
    pub(super) fn drained(&mut self) {
        self.ending.get_or_insert_default().drained += 1;
    }

    /// Why the connection ended, once all links have, and all other shards of the node's `shards`
    /// have handled what they sent.
    pub(super) fn is_over(&self, shards: usize) -> Option<NodeDownReason> {
        let Ending { reason, ended, drained } = self.ending.as_deref()?;
        let links = self.lanes.len();
        let over = *ended == links && *drained == links * (shards - 1);
        if over { reason.clone() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(lanes: &[u8], shards: usize) -> Bundle {
        let lane = |lane: &u8| LaneRoute {
            lane: *lane,
            shard: usize::from(*lane) % shards,
            gauges: Gauges::new(),
        };
        Bundle::new(lanes.iter().map(lane).collect::<Vec<_>>())
    }

    #[test]
    fn a_connection_is_over_when_every_shard_has_handled_what_every_link_brought() {
        let mut bundle = bundle(&[0, 1, 3], 2);
        assert_eq!(bundle.shards(), [0, 1]);
        assert!(bundle.ended(NodeDownReason::Disconnect), "the others have to end too");
        assert!(!bundle.ended(NodeDownReason::ConnectionClosed));
        bundle.drained();
        bundle.drained();
        assert_eq!(bundle.is_over(2), None, "one link is left");
        assert!(!bundle.ended(NodeDownReason::ConnectionClosed));
        assert_eq!(bundle.is_over(2), None, "one shard has not handled everything");
        bundle.drained();
        assert_eq!(bundle.is_over(2), Some(NodeDownReason::Disconnect), "the first reason");
    }

    #[test]
    fn a_connection_of_a_node_with_one_shard_is_over_with_its_link() {
        let mut bundle = bundle(&[0], 1);
        assert!(!bundle.ended(NodeDownReason::NetTickTimeout));
        assert_eq!(bundle.is_over(1), Some(NodeDownReason::NetTickTimeout));
    }

    #[test]
    fn shards_share_the_lanes_that_were_agreed() {
        let bundle = bundle(&[0, 2], 4);
        let lanes: Vec<Option<u8>> =
            (0..4).map(|shard| lane_of(bundle.lanes(), shard).map(|lane| lane.lane)).collect();
        assert_eq!(lanes, [Some(0), Some(2), Some(0), Some(2)]);
        assert!(lane_of(&[], 1).is_none());
    }
}
