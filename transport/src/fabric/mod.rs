//! What two Krarup nodes agree on beyond OTP.
//!
//! Between two nodes that both set the handshake's fabric flag, signals travel on lanes: numbered
//! byte streams, one for each shard, that outlive the sockets that carry them.
//!
//! A [`Settling`] takes a fresh link from the handshake to its first frame: two [`Hello`]s, and
//! [joins](JoinInitiator) of the other lanes on connections of their own. From then on each
//! [`Lane`] carries frames: order, budgets, acknowledgements, resuming. What it receives are
//! mostly [`Run`]s, messages to one process that are handed on as one. A [`Session`] sees to it
//! that lanes whose sockets break get others.
//!
//! None of it does I/O: what a state machine cannot know, such as random numbers, the time and the
//! cookie, is given in.

use std::fmt;

use crate::term::{Atom, Creation, Pid};

pub mod frame;

mod error;
mod hello;
mod inbox;
mod incoming;
mod join;
mod lane;
mod lane_error;
mod large;
mod limits;
mod log;
mod mac;
mod outbox;
mod reassembly;
mod run;
mod sending;
mod session;
mod settle;
mod unnumbered;
mod wire;

#[cfg(test)]
mod tests;

pub use error::{FabricError, FabricMessage, MalformedMessage, Refusal};
pub use frame::Form;
pub use hello::{
    Agreed, Agreement, FRAME_PAYLOAD_BYTES_MAX, HELLO_BYTES_MAX, Hello, HostId, SessionId,
    UNIX_NAME_BYTES_MAX, VERSIONS, agree,
};
pub use incoming::{Incoming, LaneMessage, Target};
pub use join::{
    AcceptStep, Ask, JOIN_TIMEOUT, JoinAcceptor, JoinConfig, JoinInitiator, JoinStep, is_join,
};
pub use lane::{Lane, ReplayCounters};
pub use lane_error::LaneError;
pub use limits::{LaneConfig, LaneLimits};
pub use mac::{Credentials, Nonce};
pub use run::{Run, RunMessage, SharedRun};
pub use session::{
    BACK_OFF_MAX, BACK_OFF_MIN, Broken, DialFailure, JoinId, LANE_JOINS_MAX, Probed, RESUME_TIME,
    STABLE_TIME, STALLED_RESUMES_MAX, Session, SessionAction, SessionEnd,
};
pub use settle::{SettleStep, SettleTimeouts, Settled, Settling};

/// Most lanes a session may have.
pub const LANES_MAX: u8 = 8;

/// Which side of the first link's handshake a node was. It stays so for the whole session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The node that dialled.
    Initiator,
    /// The node that accepted.
    Acceptor,
}

/// One lane of a session, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub u8);

impl fmt::Display for LaneId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// Which of a lane's connections one is: 0 for the first link, more with each join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// Some of a session's lanes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct LaneSet(u8);

impl LaneSet {
    /// No lane.
    pub const EMPTY: LaneSet = LaneSet(0);

    /// Adds a lane; whether it was missing.
    ///
    /// # Panics
    ///
    /// When its number is not below [`LANES_MAX`].
    pub fn insert(&mut self, lane: LaneId) -> bool {
        assert!(lane.0 < LANES_MAX, "lane {lane}");
        let missing = !self.contains(lane);
        self.0 |= 1 << lane.0;
        missing
    }

    /// Takes a lane out; whether it was there.
    pub fn remove(&mut self, lane: LaneId) -> bool {
        let there = self.contains(lane);
        if there {
            self.0 &= !(1 << lane.0);
        }
        there
    }

    /// Whether a lane is in the set.
    #[must_use]
    pub const fn contains(self, lane: LaneId) -> bool {
        lane.0 < LANES_MAX && self.0 & 1 << lane.0 != 0
    }

    /// Whether every lane of `other` is in the set.
    #[must_use]
    pub const fn contains_all(self, other: LaneSet) -> bool {
        self.0 & other.0 == other.0
    }

    /// How many lanes it has.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its lanes, the lowest first.
    pub fn iter(self) -> impl Iterator<Item = LaneId> {
        (0..LANES_MAX).map(LaneId).filter(move |lane| self.contains(*lane))
    }
}

impl FromIterator<LaneId> for LaneSet {
    fn from_iter<I: IntoIterator<Item = LaneId>>(lanes: I) -> LaneSet {
        let mut set = LaneSet::EMPTY;
        for lane in lanes {
            set.insert(lane);
        }
        set
    }
}

impl fmt::Debug for LaneSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter().map(|lane| lane.0)).finish()
    }
}

/// A process by the two numbers of its pid. The node and its creation are those of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessNumber {
    /// The first number of the pid.
    pub id: u32,
    /// The second.
    pub serial: u32,
}

impl ProcessNumber {
    /// What stands where no process is meant.
    pub const NONE: ProcessNumber = ProcessNumber { id: 0, serial: 0 };

    /// The pid, with the node that the number does not say.
    #[must_use]
    pub fn to_pid(self, node: &Atom, creation: Creation) -> Pid {
        Pid { node: node.clone(), id: self.id, serial: self.serial, creation }
    }
}

impl fmt::Display for ProcessNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}.{}>", self.id, self.serial)
    }
}
