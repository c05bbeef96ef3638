//! A session as the kernel shard keeps it: which lanes are up, and what is done about those that
//! are not. It owns no socket and no stream: positions and connections pass through it.
//!
//! # Inputs and what follows
//!
//! A lane is *up* (a shard has a socket for it), *detaching* (its shard was told to let go of the
//! socket, and has not answered yet) or *down*.
//!
//! | input | up | detaching | down |
//! |---|---|---|---|
//! | [`broken`](Session::broken) | down; the initiator dials, the acceptor probes | down; the joins that wait are admitted | stale, nothing |
//! | [`joined`](Session::joined), initiator | stale, [`Abort`](SessionAction::Abort) | the same | up; [`Attach`](SessionAction::Attach) |
//! | [`dial_failed`](Session::dial_failed) | stale, nothing | nothing | dials again after the back-off, or ends |
//! | [`asked`](Session::asked), acceptor | detaching; [`Detach`](SessionAction::Detach), the join waits | the join waits | [`Admit`](SessionAction::Admit) |
//! | [`confirmed`](Session::confirmed) | gone by then: [`Drop`](SessionAction::Drop) | cannot be | up; [`Attach`](SessionAction::Attach), the lane's other joins are dropped |
//! | [`join_ended`](Session::join_ended) | nothing | forgotten | forgotten |
//! | [`probed`](Session::probed) | nothing | refused, or not known there: ends; else probes again after the back-off | the same |
//! | [`expire`](Session::expire) | nothing | ends at the deadline | dials or probes when due, ends at the deadline |
//! | [`failed`](Session::failed) | ends, with `bye` on the lanes that are up | the same | the same |
//! | [`bye`](Session::bye) | ends | ends | ends |
//! | [`close`](Session::close) | ends, with `bye` on the lanes that are up | the same | the same |
//! | [`replaced`](Session::replaced) | ends | ends | ends |
//!
//! Reports carry the epoch they are about; those of an older connection of the lane change
//! nothing. [`End`](SessionAction::End) is the last action; before it come an `Abort` for every
//! dial that is under way and a `Drop` for every join.
//!
//! # Time
//!
//! A lane that is not up again at min(break + [`RESUME_TIME`], last byte + tick time) ends the
//! session. One that broke because it had grown silent has until last byte + tick time: its break
//! tells nothing new. The acceptor, which can only wait to be called, adds a quarter of the tick
//! time, in which the initiator's next tick finds out what it has not been told. A connection that breaks again within [`STABLE_TIME`] moves that deadline only if it
//! brought a byte, and starts the back-off anew only if it brought either stream forward.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::error::{FabricError, Refusal};
use super::hello::SessionId;
use super::join::Ask;
use super::settle::Settled;
use super::{Epoch, LaneId, Role};

mod lane;
mod types;

use lane::{Deadline, Dialling, Join, Lane, LaneState, Outage};
pub use types::{Broken, DialFailure, JoinId, Probed, SessionAction, SessionEnd};

/// Longest time a lane that broke may be without a connection; more where only a tick can tell.
pub const RESUME_TIME: Duration = Duration::from_secs(5);

/// How long a connection has to last to count although nothing came over it.
pub const STABLE_TIME: Duration = Duration::from_secs(1);

/// Time between the first two tries to connect a lane, or to probe; it doubles from try to try.
pub const BACK_OFF_MIN: Duration = Duration::from_millis(5);

/// Longest time between two tries.
pub const BACK_OFF_MAX: Duration = Duration::from_millis(500);

/// So many resumes in a row at which the peer had received nothing new, although there was
/// something to receive, end the session.
pub const STALLED_RESUMES_MAX: u8 = 3;

/// Most joins of one lane that may be under way at an acceptor; one more drops the oldest.
pub const LANE_JOINS_MAX: usize = 4;

/// One session of two nodes.
#[derive(Debug)]
pub struct Session {
    role: Role,
    id: SessionId,
    version: u8,
    resumable: bool,
    can_probe: bool,
    tick_time: Duration,
    /// The list stays as it is.
    lanes: Box<[Lane]>,
    probe: Option<Probe>,
    actions: VecDeque<SessionAction>,
    ended: bool,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    tries: u32,
    /// `None` while one is under way.
    at: Option<Instant>,
}

/// The time before the try after `tries` others.
fn back_off(tries: u32) -> Duration {
    BACK_OFF_MIN.saturating_mul(1 << tries.min(16)).min(BACK_OFF_MAX)
}

impl Session {
    /// The session of a link that has just been settled.
    #[must_use]
    pub fn new(settled: &Settled, tick_time: Duration, now: Instant) -> Session {
        let agreement = &settled.agreement;
        let lane = |id: LaneId| {
            let first_link = id.0 == 0 && settled.lane0_on_first_link;
            let epoch = Epoch(if first_link { 0 } else { 1 });
            // A lane 0 that did not get through to the Unix socket is joined where the first link
            // was dialled.
            Lane::new(id, epoch, agreement.same_host && !first_link, now)
        };
        Session {
            role: agreement.role,
            id: agreement.session,
            version: agreement.version,
            resumable: agreement.resumable,
            can_probe: agreement.peer_port != 0
                || (agreement.same_host && !agreement.peer_unix.is_empty()),
            tick_time,
            lanes: settled.lanes.iter().map(lane).collect(),
            probe: None,
            actions: VecDeque::new(),
            ended: false,
        }
    }

    /// Which session it is.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// This node's role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its lanes, and whether each is up.
    pub fn lanes(&self) -> impl Iterator<Item = (LaneId, bool)> {
        self.lanes.iter().map(|lane| (lane.id, matches!(lane.state, LaneState::Up)))
    }

    /// Whether this lane is joined over the acceptor's Unix socket; if not, over TCP.
    #[must_use]
    pub fn joins_unix(&self, lane: LaneId) -> bool {
        self.lanes.iter().any(|entry| entry.id == lane && entry.unix)
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended
    }

    /// The next thing to do. Call until it returns `None` after every other call.
    pub fn next_action(&mut self) -> Option<SessionAction> {
        self.actions.pop_front()
    }

    /// Puts another tick time in force, for lanes that break from now on.
    pub fn set_tick_time(&mut self, tick_time: Duration) {
        self.tick_time = tick_time;
    }

    /// The lane's shard let go of the socket of this epoch, because it broke or was told to.
    pub fn broken(&mut self, now: Instant, lane: LaneId, epoch: Epoch, report: Broken) {
        let (role, tick_time) = (self.role, self.tick_time);
        let Some(entry) = self.live_lane(lane).filter(|entry| entry.epoch == epoch) else { return };
        if matches!(entry.state, LaneState::Down(_)) {
            return;
        }
        let trouble = entry.trouble(role, now, &report, tick_time);
        let dial = match (role, trouble.tries) {
            (Role::Acceptor, _) => Dialling::No,
            (Role::Initiator, 0) => Dialling::At(now),
            (Role::Initiator, tries) => Dialling::At(now + back_off(tries - 1)),
        };
        entry.trouble = Some(trouble);
        let deadline = trouble.deadline;
        entry.state = LaneState::Down(Box::new(Outage { deadline, broken: report, dial }));
        let received = report.received;
        let waiting: SmallVec<[JoinId; 1]> = entry.joins.iter().map(|join| join.id).collect();
        if !self.resumable {
            return self.end(SessionEnd::NotResumable(lane));
        }
        let admit = |join| SessionAction::Admit { join, received };
        self.actions.extend(waiting.into_iter().map(admit));
        if role == Role::Acceptor && self.can_probe && self.probe.is_none() {
            self.probe = Some(Probe { tries: 0, at: Some(now) });
        }
        self.expire(now);
    }

    /// The initiator's dial got through: the acceptor's proof is verified and ours is written.
    pub fn joined(&mut self, now: Instant, lane: LaneId, epoch: Epoch, peer_received: u64) {
        let entry = self.live_lane(lane).filter(|entry| entry.dials() == Some(epoch));
        let Some(entry) = entry else {
            self.actions.push_back(SessionAction::Abort { lane, epoch });
            return;
        };
        if !entry.attach(now, epoch, peer_received) {
            self.actions.push_back(SessionAction::Abort { lane, epoch });
            self.end_with_bye(SessionEnd::Stalled(lane));
            return;
        }
        self.actions.push_back(SessionAction::Attach { lane, epoch, peer_received, join: None });
    }

    /// The initiator's dial ended without a join.
    pub fn dial_failed(&mut self, now: Instant, lane: LaneId, epoch: Epoch, failure: &DialFailure) {
        let entry = self.live_lane(lane).filter(|entry| entry.dials() == Some(epoch));
        let Some(entry) = entry else { return };
        let tries = entry.trouble.map_or(0, |trouble| trouble.tries);
        if let LaneState::Down(outage) = &mut entry.state {
            outage.dial = Dialling::At(now + back_off(tries.saturating_sub(1)));
        }
        match failure {
            DialFailure::ConnectionRefused => self.end(SessionEnd::PeerGone),
            DialFailure::Join(FabricError::Refused(Refusal::StaleEpoch | Refusal::TryAgain)) => {}
            DialFailure::Join(FabricError::Refused(refusal)) => {
                self.end(SessionEnd::Refused(*refusal));
            }
            // Whoever answered is not proven to be the peer.
            DialFailure::Join(_) | DialFailure::Unreachable => {}
        }
    }

    /// Somebody asks to join a lane of this session; nothing is proven yet.
    pub fn asked(&mut self, now: Instant, join: JoinId, ask: &Ask) {
        let refusal = self.refusal(ask);
        if let Some(refusal) = refusal {
            self.actions.push_back(SessionAction::Refuse { join, refusal });
            return;
        }
        let tick_time = self.tick_time;
        let Some(entry) = self.live_lane(ask.lane) else { return };
        let mut oldest = None;
        if entry.joins.len() >= LANE_JOINS_MAX {
            oldest = Some(entry.joins.remove(0).id);
        }
        entry.joins.push(Join { id: join, epoch: ask.epoch, peer_received: ask.received });
        let action = match &entry.state {
            LaneState::Up => {
                // The initiator has given up a socket that looks well from here.
                let at = now + RESUME_TIME.min(tick_time);
                let deadline = Deadline { at, silent: false };
                let (lane, epoch) = (entry.id, entry.epoch);
                entry.state = LaneState::Detaching { deadline };
                Some(SessionAction::Detach { lane, epoch })
            }
            LaneState::Detaching { .. } => None,
            LaneState::Down(outage) => {
                Some(SessionAction::Admit { join, received: outage.broken.received })
            }
        };
        self.actions.extend(oldest.map(|join| SessionAction::Drop { join }));
        self.actions.extend(action);
    }

    /// A join that was admitted is proven: its connection is to be the lane's.
    pub fn confirmed(&mut self, now: Instant, join: JoinId) {
        let found = self.lanes.iter_mut().find_map(|entry| {
            let index = entry.joins.iter().position(|known| known.id == join)?;
            matches!(entry.state, LaneState::Down(_)).then_some((entry, index))
        });
        let Some((entry, index)) = found.filter(|_| !self.ended) else {
            self.actions.push_back(SessionAction::Drop { join });
            return;
        };
        let Join { epoch, peer_received, .. } = entry.joins.remove(index);
        let (lane, others) = (entry.id, std::mem::take(&mut entry.joins));
        // Their welcome said a position that is about to be left behind.
        self.actions.extend(others.iter().map(|other| SessionAction::Drop { join: other.id }));
        let progress = entry.attach(now, epoch, peer_received);
        if !progress {
            self.actions.push_back(SessionAction::Drop { join });
            self.end_with_bye(SessionEnd::Stalled(lane));
            return;
        }
        let join = Some(join);
        self.actions.push_back(SessionAction::Attach { lane, epoch, peer_received, join });
        if self.lanes.iter().all(|entry| matches!(entry.state, LaneState::Up)) {
            self.probe = None;
        }
    }

    /// A join ended before it was proven.
    pub fn join_ended(&mut self, join: JoinId) {
        for entry in &mut self.lanes {
            entry.joins.retain(|known| known.id != join);
        }
    }

    /// A probe came back.
    pub fn probed(&mut self, now: Instant, found: Probed) {
        let Some(probe) = self.probe.as_mut().filter(|probe| probe.at.is_none()) else { return };
        match found {
            _ if self.ended => {}
            Probed::ConnectionRefused => return self.end(SessionEnd::PeerGone),
            Probed::UnknownSession => {
                return self.end(SessionEnd::Refused(Refusal::UnknownSession));
            }
            Probed::Listening | Probed::Unreachable => {}
        }
        probe.at = Some(now + back_off(probe.tries));
        probe.tries += 1;
    }

    /// What a lane received ends the session, or its shard could not attach it.
    pub fn failed(&mut self, lane: LaneId, why: String) {
        self.end_with_bye(SessionEnd::LaneFailed { lane, why });
    }

    /// The peer said `bye`.
    pub fn bye(&mut self, reason: String) {
        self.end(SessionEnd::Bye(reason));
    }

    /// This node ends the session, for this reason: the peer is told over every lane that is up.
    pub fn close(&mut self, reason: &str) {
        self.end_with_bye(SessionEnd::Closed(reason.to_owned()));
    }

    /// The peer made a fresh connection and proved itself: this session is of the past.
    pub fn replaced(&mut self) {
        self.end(SessionEnd::Replaced);
    }

    /// When [`expire`](Session::expire) is due; `None` while all is well.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.ended {
            return None;
        }
        let lanes = self.lanes.iter().flat_map(|entry| match &entry.state {
            LaneState::Up => [None, None],
            LaneState::Detaching { deadline } => [Some(deadline.at), None],
            LaneState::Down(outage) => {
                let dial_at = match outage.dial {
                    Dialling::At(at) => Some(at),
                    Dialling::No | Dialling::Under(_) => None,
                };
                [Some(outage.deadline.at), dial_at]
            }
        });
        lanes.chain([self.probe.and_then(|probe| probe.at)]).flatten().min()
    }

    /// Does what is due.
    pub fn expire(&mut self, now: Instant) {
        if self.ended {
            return;
        }
        for index in 0..self.lanes.len() {
            let entry = &mut self.lanes[index];
            let lane = entry.id;
            let deadline = match &entry.state {
                LaneState::Up => continue,
                LaneState::Detaching { deadline } => *deadline,
                LaneState::Down(outage) => outage.deadline,
            };
            if now >= deadline.at {
                let end = match deadline.silent {
                    true => SessionEnd::Silent(lane),
                    false => SessionEnd::TimedOut(lane),
                };
                return self.end_with_bye(end);
            }
            let LaneState::Down(outage) = &mut entry.state else { continue };
            let Dialling::At(at) = outage.dial else { continue };
            if now < at {
                continue;
            }
            let Some(trouble) = &mut entry.trouble else { continue };
            let Some(epoch) = trouble.epoch.0.max(entry.epoch.0).checked_add(1).map(Epoch) else {
                return self.end_with_bye(SessionEnd::EpochsExhausted(lane));
            };
            trouble.epoch = epoch;
            trouble.tries += 1;
            outage.dial = Dialling::Under(epoch);
            let received = outage.broken.received;
            self.actions.push_back(SessionAction::Dial { lane, epoch, received });
        }
        if let Some(probe) = &mut self.probe
            && probe.at.is_some_and(|at| now >= at)
        {
            probe.at = None;
            self.actions.push_back(SessionAction::Probe);
        }
    }

    fn live_lane(&mut self, lane: LaneId) -> Option<&mut Lane> {
        if self.ended {
            return None;
        }
        self.lanes.iter_mut().find(|entry| entry.id == lane)
    }

    fn refusal(&self, ask: &Ask) -> Option<Refusal> {
        if self.ended || ask.session != self.id {
            return Some(Refusal::UnknownSession);
        }
        // Nobody joins an initiator; its peer asks to see whether it still knows the session.
        if self.role == Role::Initiator {
            return Some(Refusal::UnknownLane);
        }
        if ask.version != self.version {
            return Some(Refusal::Version);
        }
        match self.lanes.iter().find(|entry| entry.id == ask.lane) {
            None => Some(Refusal::UnknownLane),
            Some(entry) if ask.epoch <= entry.epoch => Some(Refusal::StaleEpoch),
            Some(_) => None,
        }
    }

    fn end_with_bye(&mut self, end: SessionEnd) {
        if self.ended {
            return;
        }
        let reason = match &end {
            SessionEnd::Closed(reason) => reason,
            end => end.nodedown_reason(),
        };
        let up = self.lanes.iter().filter(|entry| matches!(entry.state, LaneState::Up));
        let bye = |entry: &Lane| SessionAction::Bye { lane: entry.id, reason: reason.to_owned() };
        self.actions.extend(up.map(bye));
        self.end(end);
    }

    fn end(&mut self, end: SessionEnd) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        for entry in &mut self.lanes {
            if let Some(epoch) = entry.dials() {
                self.actions.push_back(SessionAction::Abort { lane: entry.id, epoch });
            }
            let joins = std::mem::take(&mut entry.joins);
            self.actions.extend(joins.iter().map(|join| SessionAction::Drop { join: join.id }));
        }
        self.actions.push_back(SessionAction::End(end));
    }
}
