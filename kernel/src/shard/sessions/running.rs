//! One session, and what is under way for it.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use krarup_transport::fabric::{
    Ask, Credentials, Epoch, JoinId, LaneId, LaneSet, STALLED_RESUMES_MAX, Session,
};
use krarup_transport::io::Socket;
use krarup_transport::term::Atom;

use super::Ticket;
use crate::net_kernel::NodeDownReason;
use crate::shard::join::Dial;
use crate::shard::reach::Reach;

/// How long the lanes of a session that the peer has ended may still bring what was sent before:
/// every lane is told of the end by itself.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// One session and what is under way for it. There are thousands that carry nothing: what few of
/// them need at one time is boxed.
pub(super) struct Running {
    pub(super) node: Atom,
    pub(super) version: u8,
    pub(super) machine: Session,
    pub(super) credentials: Credentials,
    pub(super) reach: Reach,
    pub(super) mending: Option<Box<Mending>>,
    /// Whether a probe that finds nobody means that the peer is gone.
    pub(super) trusts_probes: bool,
    pub(super) ending: Option<Box<Ending>>,
    pub(super) carrying_out: bool,
}

/// The frame that arrived damaged last.
struct Damage {
    lane: LaneId,
    /// Where it begins in the lane's stream.
    position: u64,
    /// How often in a row.
    times: u8,
}

/// What is under way for lanes that have broken.
#[derive(Default)]
pub(super) struct Mending {
    pub(super) dials: HashMap<(LaneId, Epoch), Dialled>,
    pub(super) joins: HashMap<JoinId, Joining>,
    pub(super) probe: Option<glommio::Task<()>>,
}

/// What is known of the end of a session that ends, and what may lead to it.
#[derive(Default)]
pub(super) struct Ending {
    /// What the peer is told over the lanes that have a socket.
    pub(super) bye: Option<Atom>,
    /// Why this node ends it.
    pub(super) closing: Option<NodeDownReason>,
    pub(super) farewell: Option<Farewell>,
    damage: Option<Damage>,
}

/// A connection that the initiator makes for a lane.
pub(super) enum Dialled {
    /// The task ends with this.
    Under(glommio::Task<()>),
    Through(Socket),
}

/// A connection that asks to become a lane's.
pub(super) enum Joining {
    Asking(Rc<Ticket>),
    Proven(Socket, Vec<u8>),
}

/// The peer has ended the session; these lanes have not brought its `bye` yet.
pub(super) struct Farewell {
    pub(super) reason: Atom,
    missing: LaneSet,
    ends: Instant,
}

impl Running {
    pub(super) fn mending(&mut self) -> &mut Mending {
        self.mending.get_or_insert_default()
    }

    pub(super) fn ending(&mut self) -> &mut Ending {
        self.ending.get_or_insert_default()
    }

    /// All that followed from a call of the machine is carried out.
    pub(super) fn rest(&mut self) {
        self.carrying_out = false;
        self.mending.take_if(|mending| mending.is_over());
    }

    pub(super) fn dial(&self, lane: LaneId, epoch: Epoch, received: u64) -> Dial {
        let session = self.machine.id();
        let ask = Ask { version: self.version, session, lane, epoch, received };
        let credentials = self.credentials.clone();
        Dial { over_unix: self.machine.joins_unix(lane), credentials, ask }
    }

    /// Notes a frame that arrived damaged. True when it has done so as often as a lane may be
    /// resumed in vain: the peer would count that too, and not know why.
    pub(super) fn is_beyond_repair(&mut self, lane: LaneId, position: u64) -> bool {
        let damage = &mut self.ending().damage;
        let times = match damage {
            Some(last) if last.lane == lane && last.position == position => last.times + 1,
            _ => 1,
        };
        *damage = Some(Damage { lane, position, times });
        times >= STALLED_RESUMES_MAX
    }

    /// A join that the peer refuses, in words that tell whether it knows the session.
    pub(super) fn question(&self) -> Dial {
        let over_unix = self.reach.is_certain();
        Dial { over_unix, ..self.dial(LaneId(0), Epoch(0), 0) }
    }

    /// The socket that a dial or a join has brought.
    pub(super) fn take_socket(
        &mut self,
        lane: LaneId,
        epoch: Epoch,
        join: Option<JoinId>,
    ) -> Option<(Socket, Vec<u8>)> {
        let Some(join) = join else {
            let dialled = self.mending().dials.remove(&(lane, epoch))?;
            let Dialled::Through(socket) = dialled else { return None };
            return Some((socket, Vec::new()));
        };
        match self.mending().joins.remove(&join)? {
            Joining::Proven(socket, leftover) => Some((socket, leftover)),
            Joining::Asking(_) => None,
        }
    }

    /// The peer said `bye` over a lane. It does so over each that has a socket, behind what was
    /// sent before, and the session is over when all of them have brought it.
    pub(super) fn hear_bye(&mut self, now: Instant, lane: LaneId, reason: Atom) {
        if self.farewell().is_none() {
            let up = self.machine.lanes().filter(|(_, is_up)| *is_up);
            let missing = up.map(|(lane, _)| lane).collect();
            let ends = now + FAREWELL_TIME;
            self.ending().farewell = Some(Farewell { reason, missing, ends });
        }
        self.part_with(lane);
    }

    /// Whether the peer has ended the session; the lane then brings nothing more.
    pub(super) fn part_with(&mut self, lane: LaneId) -> bool {
        let ending = self.ending.as_mut();
        let Some(farewell) = ending.and_then(|ending| ending.farewell.as_mut()) else {
            return false;
        };
        farewell.missing.remove(lane);
        if farewell.missing.is_empty() {
            self.machine.bye(farewell.reason.as_str().to_owned());
        }
        true
    }

    pub(super) fn farewell(&self) -> Option<&Farewell> {
        self.ending.as_ref()?.farewell.as_ref()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let farewell = self.farewell().map(|farewell| farewell.ends);
        self.machine.deadline().into_iter().chain(farewell).min()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        if let Some(farewell) = self.farewell()
            && farewell.ends <= now
        {
            let reason = farewell.reason.as_str().to_owned();
            self.machine.bye(reason);
        }
        self.machine.expire(now);
    }
}

impl Mending {
    fn is_over(&self) -> bool {
        self.dials.is_empty() && self.joins.is_empty() && self.probe.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_at_rest_is_small() {
        assert!(size_of::<Running>() <= 296, "{} bytes", size_of::<Running>());
    }
}
