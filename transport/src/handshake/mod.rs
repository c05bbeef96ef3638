//! The handshake that opens every link, both roles, without I/O.
//!
//! An [`Initiator`] or an [`Acceptor`] takes the bytes that arrive and the time, fills its output
//! with the bytes to write, and says with each step what its owner has to do. The owner supplies
//! what a state machine cannot know: challenges from the operating system's random source, the
//! cookie, and the verdict on a peer's name.
//!
//! Whatever a step or an error says, write the output first, then act on it.
//!
//! OTP: erl_dist_protocol, "Distribution Handshake"; `dist_util.erl`.

use std::time::{Duration, Instant};

use crate::term::Creation;

mod acceptor;
mod digest;
mod error;
mod flags;
mod initiator;
pub mod message;
mod name;
#[cfg(test)]
mod tests;

pub use acceptor::{Accept, Acceptor, AcceptorConfig, AcceptorStep, Applicant, Claim, Decision};
pub use digest::{COOKIE_CHARS_MAX, Challenge, Cookie, CookieError, Digest};
pub use error::{Fault, HandshakeError, HandshakeErrorKind, Stage};
pub use flags::{FlagKind, FlagRow, Flags};
pub use initiator::{Initiator, InitiatorConfig, InitiatorStep, LocalName};
pub use message::LengthPrefix;
pub use name::{NAME_CHARS_MAX, NameError, NameMode, NodeName};

/// How long a handshake may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The time for each stage; OTP's `net_setuptime`.
    pub stage: Duration,
    /// The time for all stages together. OTP has no such limit, so that a peer which uses each
    /// stage up holds a socket for three of them.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { stage: Duration::from_secs(7), total: Duration::from_secs(20) }
    }
}

/// Two nodes that proved to each other that they know the cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Established {
    /// The peer.
    pub peer: NodeName,
    /// What both can do; it rules everything on the link.
    pub flags: Flags,
    /// What the peer announced, unknown bits included.
    pub peer_flags: Flags,
    /// The peer's creation.
    pub peer_creation: Creation,
    /// The cookie that both proved. Another one may be set by now; what belongs to this link is
    /// still proven with this one.
    pub cookie: Cookie,
    /// The name and creation this node was given, if it had asked for them.
    pub assigned: Option<(NodeName, Creation)>,
    /// What came after the handshake's last byte: the start of the first frame.
    pub leftover: Vec<u8>,
}

impl Established {
    /// Whether the link is between visible nodes: it counts in `nodes()` and for `global`.
    #[must_use]
    pub fn visible(&self) -> bool {
        self.flags.published()
    }
}

/// The two clocks of a handshake.
#[derive(Debug)]
struct Clock {
    timeouts: Timeouts,
    stage_ends: Instant,
    total_ends: Instant,
}

impl Clock {
    fn start(timeouts: Timeouts, now: Instant) -> Clock {
        Clock { timeouts, stage_ends: now + timeouts.stage, total_ends: now + timeouts.total }
    }

    fn next_stage(&mut self, now: Instant) {
        self.stage_ends = now + self.timeouts.stage;
    }

    fn deadline(&self) -> Instant {
        self.stage_ends.min(self.total_ends)
    }

    /// The limit that has run out, if one has.
    fn expired(&self, now: Instant) -> Option<HandshakeErrorKind> {
        let limit = match now {
            now if now >= self.total_ends => self.timeouts.total,
            now if now >= self.stage_ends => self.timeouts.stage,
            _ => return None,
        };
        Some(HandshakeErrorKind::Timeout { limit })
    }
}

/// Refuses a peer that lacks a mandatory flag in what both announced.
fn check_mandatory(ours: Flags, theirs: Flags) -> Result<(), HandshakeErrorKind> {
    let missing = Flags::negotiate(ours, theirs).missing_mandatory();
    if missing.is_empty() {
        return Ok(());
    }
    Err(HandshakeErrorKind::MissingFlags { missing, ours: ours.missing_mandatory() })
}

/// A name that broke a rule, fit for an error.
fn bad_name(came: &[u8], error: NameError) -> HandshakeErrorKind {
    let shown = &came[..came.len().min(64)];
    HandshakeErrorKind::BadName { came: shown.escape_ascii().to_string(), error }
}
