//! The lanes of one shard: how they come off their sockets and onto others.

use std::rc::Rc;
use std::time::Instant;

use krarup_transport::fabric::{Broken, Epoch, Lane, LaneError};
use krarup_transport::shard::{End, LinkKey};
use krarup_transport::term::Atom;

use super::bundle::LinkId;
use super::host::Refused;
use super::links::LinkState;
use super::machine::Machine;
use super::message::Resume;
use super::{KernelEvent, LinkEntry, Shard};
use crate::net_kernel::NodeDownReason;

impl Shard {
    /// A lane's connection has ended by itself, or by what it brought.
    pub(super) fn lane_ended(self: &Rc<Self>, mut state: LinkState, end: End<Refused>) {
        let why = end.to_string();
        match end {
            End::Refused(Refused::Bye(reason)) => {
                // The lane brings nothing more. The kernel ends it with the others.
                let link = state.entry.id();
                leave_socket(state);
                self.tell_kernel(KernelEvent::LaneBye { link, reason });
            }
            End::Refused(Refused::Lane(error)) if error.is_resumable() => {
                let damaged = matches!(error, LaneError::Checksum { .. });
                state.checksum_errors += u64::from(damaged);
                self.lane_broken_by(state, why, damaged);
            }
            End::Closed | End::Failed(_) | End::Unwritable(_) => self.lane_broken(state, why),
            End::Refused(error) => {
                let reason = match &error {
                    Refused::Lane(error) if error.nodedown_reason() == "emsgsize" => {
                        NodeDownReason::Emsgsize
                    }
                    _ => killed(&state, &why),
                };
                self.lane_failed(state, why, reason);
            }
            End::Panicked(_) => {
                let reason = NodeDownReason::Shutdown(why.clone());
                self.lane_failed(state, why, reason);
            }
        }
    }

    /// A lane has no connection any more, and may get another.
    pub(super) fn lane_broken(self: &Rc<Self>, state: LinkState, why: String) {
        self.lane_broken_by(state, why, false);
    }

    /// As [`Shard::lane_broken`], maybe because what it brought was damaged on the way.
    fn lane_broken_by(self: &Rc<Self>, mut state: LinkState, why: String, damaged: bool) {
        let last_byte = state.last_byte(Instant::now());
        let brought_bytes = state.brought_bytes();
        let (link, epoch) = (state.entry.id(), state.entry.epoch());
        let unacknowledged =
            lane_of(&mut state).is_some_and(|lane| lane.replay_counters().retained_bytes > 0);
        let received = leave_socket(state);
        let report = Broken { received, unacknowledged, last_byte, brought_bytes };
        self.tell_kernel(KernelEvent::LaneBroken { link, epoch, report, why, damaged });
    }

    /// A lane cannot go on: the session has to end.
    fn lane_failed(self: &Rc<Self>, state: LinkState, why: String, reason: NodeDownReason) {
        let link = state.entry.id();
        leave_socket(state);
        self.tell_kernel(KernelEvent::LaneFailed { link, why, reason });
    }

    /// Lets go of a lane's socket of this epoch. If that has happened already, so was the report.
    pub(super) fn detach_lane(self: &Rc<Self>, link: LinkId, epoch: Epoch) {
        let entry = self.links.borrow().get(&link).cloned();
        let key = entry.filter(|entry| entry.epoch() == epoch).and_then(|entry| entry.key());
        if let Some(state) = key.and_then(|key| self.io().handle().take(key)) {
            self.lane_broken(state, "the peer has given it up".to_owned());
        }
    }

    /// Nothing has come over a link for too long.
    pub(super) fn link_silent(self: &Rc<Self>, key: LinkKey) {
        let entry = self.io().handle().with_link(key, |state| Rc::clone(&state.entry));
        let Some(entry) = entry else { return };
        if !entry.is_lane() {
            self.close_link(&entry, NodeDownReason::NetTickTimeout);
        } else if let Some(state) = self.io().handle().take(key) {
            self.lane_broken(state, LaneError::Silent.to_string());
        }
    }

    /// Gives a lane without a socket another one.
    pub(super) fn resume_lane(self: &Rc<Self>, resume: Resume) {
        let Resume { link, epoch, socket, peer_received, leftover } = resume;
        // Gone, if the session has ended meanwhile.
        let entry = self.links.borrow().get(&link).cloned();
        let Some(entry) = entry else { return };
        let Some(mut state) = entry.take_detached() else { return };
        entry.set_epoch(epoch);
        let now = Instant::now();
        state.attached(now);
        let attached =
            lane_of(&mut state).map(|lane| lane.attach(peer_received, now).map(|()| lane.greet()));
        if let Some(Err(error)) = attached {
            let why = error.to_string();
            let reason = killed(&state, &why);
            return self.lane_failed(*state, why, reason);
        }
        if let Err((error, state)) = self.add_socket(&entry, socket, *state, &leftover) {
            return self.lane_broken(*state, error.to_string());
        }
        if let Some(key) = entry.key() {
            self.io().handle().with_link(key, LinkState::make_room);
            self.io().handle().send_soon(key);
        }
    }

    /// Tells the peer that the session ends, if the lane has a socket.
    pub(super) fn say_bye(&self, entry: &LinkEntry, reason: &Atom) {
        if let Some(key) = entry.key() {
            self.io().handle().with_link(key, |state| {
                if let Some(lane) = lane_of(state) {
                    lane.bye(reason);
                }
            });
        }
    }
}

fn killed(state: &LinkState, why: &str) -> NodeDownReason {
    NodeDownReason::Killed(format!("lane {}: {why}", state.entry.id().lane))
}

fn lane_of(state: &mut LinkState) -> Option<&mut Lane> {
    match &mut state.machine {
        Machine::Otp(_) => None,
        Machine::Lane(lane) => Some(lane),
    }
}

/// Keeps a lane without a socket, and gives the position up to which it received.
fn leave_socket(mut state: LinkState) -> u64 {
    let received = lane_of(&mut state).map_or(0, |lane| lane.detach(None));
    let entry = Rc::clone(&state.entry);
    entry.detach(state);
    received
}
