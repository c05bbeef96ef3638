//! What a lane is told when it begins.

use std::time::Duration;

use super::frame::{FRAME_PAYLOAD_MAX, WHOLE_PAYLOAD_MAX};
use crate::dist::fragment::FragmentLimits;
use crate::dist::tick::TickConfig;
use crate::term::{Atom, Creation, Limits};

/// Bounds of one lane. Every default is in [`LaneLimits::DEFAULT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// Longest payload of one frame that is accepted; what the hello said, at least 64 KiB.
    pub frame_bytes_max: u32,
    /// Longest payload that is sent in one frame: at most what the peer's hello said. See
    /// [`LaneLimits::for_peer`].
    pub whole_bytes_max: usize,
    /// What may be in fragments at one time. Longer messages than `sequence_bytes_max` are not
    /// sent either.
    pub fragments: FragmentLimits,
    /// What one term may cost.
    pub term: Limits,
    /// The high water mark: a message is refused when so many bytes wait already.
    pub outbox_bytes_max: usize,
    /// The low water mark: senders that were refused may come again.
    pub outbox_bytes_low: usize,
    /// What signals other than messages may use beyond the marks. A lane that exhausts it is as
    /// good as dead, and its session should be ended.
    pub outbox_reserve_bytes: usize,
    /// Most bytes that are kept because the peer has not acknowledged them.
    pub replay_bytes_max: usize,
    /// An acknowledgement is due when so many bytes were received since the last one.
    pub ack_bytes: usize,
    /// Most bytes offered for one write. Of large messages so much is put in front of what is sent
    /// later.
    pub write_bytes_max: usize,
}

impl LaneLimits {
    /// 64 KiB a frame, and somewhat more accepted; 1 MiB high and 512 KiB low water mark, 16 MiB reserve; 8 MiB not
    /// acknowledged, an acknowledgement every 256 KiB; 512 KiB a write.
    pub const DEFAULT: LaneLimits = LaneLimits {
        frame_bytes_max: WHOLE_PAYLOAD_MAX as u32,
        whole_bytes_max: FRAME_PAYLOAD_MAX,
        fragments: FragmentLimits::DEFAULT,
        term: Limits::DEFAULT,
        outbox_bytes_max: 1 << 20,
        outbox_bytes_low: 512 << 10,
        outbox_reserve_bytes: 16 << 20,
        replay_bytes_max: 8 << 20,
        ack_bytes: 256 << 10,
        write_bytes_max: 512 << 10,
    };

    /// The same towards a peer that accepts payloads of `frame_bytes_max` in one frame, as its hello
    /// says: what is just above 64 KiB then need not go in two.
    #[must_use]
    pub fn for_peer(self, frame_bytes_max: u32) -> LaneLimits {
        let whole_bytes_max = (frame_bytes_max as usize).min(WHOLE_PAYLOAD_MAX);
        LaneLimits { whole_bytes_max, ..self }
    }
}

impl Default for LaneLimits {
    fn default() -> LaneLimits {
        LaneLimits::DEFAULT
    }
}

/// What a lane needs to know about its session.
#[derive(Clone, Debug)]
pub struct LaneConfig {
    /// This node's name.
    pub local: Atom,
    /// The connected node's name.
    pub peer: Atom,
    /// The creation of this node that the session is with.
    pub local_creation: Creation,
    /// The creation of the connected node.
    pub peer_creation: Creation,
    /// Whether frames carry checksums.
    pub checksum: bool,
    /// Bounds.
    pub limits: LaneLimits,
    /// The tick time of the node; a lane is silent after half of it.
    pub tick: TickConfig,
    /// Time until the first look at the ticks, at most one interval. Different phases spread the
    /// ticks of many lanes.
    pub tick_phase: Duration,
}

impl LaneConfig {
    /// A configuration with default limits and tick time, without checksums.
    #[must_use]
    pub fn new(local: (Atom, Creation), peer: (Atom, Creation)) -> LaneConfig {
        let ((local, local_creation), (peer, peer_creation)) = (local, peer);
        let tick = TickConfig::DEFAULT;
        LaneConfig {
            local,
            peer,
            local_creation,
            peer_creation,
            checksum: false,
            limits: LaneLimits::DEFAULT,
            tick,
            tick_phase: tick.halved().interval(),
        }
    }
}
