//! One lane of a session, up or not.

use std::time::{Duration, Instant};

use super::super::{Epoch, LaneId, Role};
use super::types::{Broken, JoinId};
use super::{RESUME_TIME, STABLE_TIME, STALLED_RESUMES_MAX};

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    /// That of the last connection that counted.
    pub(super) epoch: Epoch,
    /// Whether it is joined over the acceptor's Unix socket.
    pub(super) unix: bool,
    pub(super) attached_at: Instant,
    pub(super) state: LaneState,
    /// What was done about the lane when it last broke.
    pub(super) trouble: Option<Trouble>,
    /// What had been received here when the lane was last attached, and what the peer had.
    pub(super) received: u64,
    pub(super) peer_received: u64,
    /// How many resumes in a row found that unchanged.
    pub(super) stalled: u8,
    pub(super) joins: Vec<Join>,
}

#[derive(Debug)]
pub(super) enum LaneState {
    Up,
    Detaching {
        deadline: Deadline,
    },
    /// Boxed, for most lanes never are.
    Down(Box<Outage>),
}

/// A lane without a connection.
#[derive(Debug)]
pub(super) struct Outage {
    pub(super) deadline: Deadline,
    pub(super) broken: Broken,
    pub(super) dial: Dialling,
}

/// What the initiator does about a lane that is down; an acceptor only waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dialling {
    No,
    At(Instant),
    Under(Epoch),
}

/// When a lane that is not up ends the session, and as what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) silent: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    pub(super) deadline: Deadline,
    pub(super) tries: u32,
    /// The epoch of the last try.
    pub(super) epoch: Epoch,
}

/// A join of a lane at the acceptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Join {
    pub(super) id: JoinId,
    pub(super) epoch: Epoch,
    pub(super) peer_received: u64,
}

impl Deadline {
    /// The deadline of a lane that breaks at `now` and brought its last byte at `last_byte`.
    fn new(role: Role, now: Instant, last_byte: Instant, tick_time: Duration) -> Deadline {
        let silent_at = last_byte + tick_time;
        // A lane that lives is ticked four times within half the tick time.
        let tick_interval = tick_time / 8;
        let grown_silent = now.saturating_duration_since(last_byte) >= 3 * tick_interval;
        let patience = match role {
            Role::Initiator => RESUME_TIME,
            // It can only wait until the initiator notices too. That may take a tick, and a lane is
            // ticked when nothing was written for a whole interval.
            Role::Acceptor => RESUME_TIME + 2 * tick_interval,
        };
        let late_at = now + patience;
        let silent = grown_silent || silent_at < late_at;
        Deadline { at: if silent { silent_at } else { late_at }, silent }
    }
}

impl Lane {
    /// A lane that is up from the session's start.
    pub(super) fn new(id: LaneId, epoch: Epoch, unix: bool, now: Instant) -> Lane {
        Lane {
            id,
            epoch,
            unix,
            attached_at: now,
            state: LaneState::Up,
            trouble: None,
            received: 0,
            peer_received: 0,
            stalled: 0,
            joins: Vec::new(),
        }
    }

    /// The dial that is under way.
    pub(super) fn dials(&self) -> Option<Epoch> {
        match self.state {
            LaneState::Down(ref outage) => match outage.dial {
                Dialling::Under(epoch) => Some(epoch),
                Dialling::No | Dialling::At(_) => None,
            },
            LaneState::Up | LaneState::Detaching { .. } => None,
        }
    }

    /// What is to be done about a lane that breaks now.
    pub(super) fn trouble(
        &self,
        role: Role,
        now: Instant,
        report: &Broken,
        tick_time: Duration,
    ) -> Trouble {
        let lasted = now >= self.attached_at + STABLE_TIME;
        let deadline = match self.trouble {
            // Reconnecting alone moves no deadline.
            Some(trouble) if !lasted && !report.brought_bytes => trouble.deadline,
            _ => Deadline::new(role, now, report.last_byte, tick_time),
        };
        let epoch = self.epoch;
        let tries = match self.trouble {
            Some(trouble) if !lasted && report.received == self.received => trouble.tries,
            _ => 0,
        };
        Trouble { deadline, tries, epoch }
    }

    /// The lane is up again; `false` if it has been so too many times in vain.
    pub(super) fn attach(&mut self, now: Instant, epoch: Epoch, peer_received: u64) -> bool {
        let LaneState::Down(outage) = &self.state else { return false };
        let broken = outage.broken;
        let progress = peer_received != self.peer_received;
        self.stalled = if progress || !broken.unacknowledged { 0 } else { self.stalled + 1 };
        if let Some(trouble) = self.trouble.as_mut().filter(|_| progress) {
            trouble.tries = 0;
        }
        self.received = broken.received;
        self.peer_received = peer_received;
        self.epoch = epoch;
        self.attached_at = now;
        self.state = LaneState::Up;
        self.stalled < STALLED_RESUMES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_is_up_is_small() {
        assert!(size_of::<Lane>() <= 120, "{} bytes", size_of::<Lane>());
    }
}
