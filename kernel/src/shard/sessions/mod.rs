//! The sessions with other Krarup nodes, as the kernel keeps them: it gives their lanes sockets,
//! and others when those break, for as long as the [`Session`] machine says.

mod running;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use krarup_transport::fabric::{
    Ask, Credentials, DialFailure, Epoch, FabricError, JoinId, LaneId, Probed, Refusal, Role,
    Session, SessionAction, SessionEnd, SessionId,
};
use krarup_transport::io::{Socket, sleep};
use krarup_transport::term::Atom;

use self::running::{Dialled, Ending, Joining, Running};
use super::bundle::LinkId;
use super::connect::Leash;
use super::join::{self, Dial, Lost};
use super::kernel::Defer;
use super::message::Resume;
use super::reach::Reach;
use super::settle::{Lanes, NewSocket};
use super::{KernelEvent, KernelShard, ShardMessage};
use crate::net_kernel::{ConnectionId, NodeDownReason};
use crate::process::yield_once;

/// With this word in its `bye` the peer says that what this node sent arrives damaged.
const CHECKSUM: &str = "checksum";

/// The sessions of a node.
#[derive(Default)]
pub(super) struct Sessions {
    running: RefCell<HashMap<ConnectionId, Box<Running>>>,
    by_id: RefCell<HashMap<SessionId, ConnectionId>>,
    next_join: std::cell::Cell<u64>,
    /// When the next look at the time is due.
    alarm: std::cell::Cell<Option<Instant>>,
}

/// Where a join waits for what the session says to it.
pub(super) struct Ticket {
    pub(super) connection: ConnectionId,
    pub(super) join: JoinId,
    verdict: RefCell<Option<Verdict>>,
    leash: Rc<Leash>,
}

/// What a session says to a join.
pub(super) enum Verdict {
    /// It is let in, with these credentials; so much was received of the lane's stream.
    Admit(Credentials, u64),
    Refuse(Refusal),
}

impl Ticket {
    /// What the session said, if it did.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.verdict.take()
    }

    fn tell(&self, verdict: Verdict) {
        self.verdict.replace(Some(verdict));
        self.leash.tell();
    }
}

impl KernelShard {
    /// Another tick time is in force.
    pub(super) fn set_tick_time_of_sessions(&self, ticktime: Duration) {
        for running in self.sessions.running.borrow_mut().values_mut() {
            running.machine.set_tick_time(ticktime);
        }
    }

    /// The session of a connection begins.
    pub(super) fn begin_session(
        self: &Rc<Self>,
        connection: ConnectionId,
        node: &Atom,
        lanes: &Lanes,
    ) {
        let ticktime = self.ticktime.borrow().config().ticktime();
        let machine = Session::new(&lanes.settled, ticktime, Instant::now());
        let sessions = &self.sessions;
        sessions.by_id.borrow_mut().insert(machine.id(), connection);
        let running = Running {
            node: node.clone(),
            version: lanes.settled.agreement.version,
            machine,
            credentials: lanes.credentials.clone(),
            reach: lanes.reach.clone(),
            mending: None,
            trusts_probes: lanes.reach.is_certain(),
            ending: None,
            carrying_out: false,
        };
        let asks_ahead = lanes.settled.agreement.role == Role::Acceptor && !running.trusts_probes;
        let (reach, question) = (running.reach.clone(), running.question());
        sessions.running.borrow_mut().insert(connection, Box::new(running));
        if asks_ahead {
            let probe = try_probe(Rc::clone(self), connection, reach, question);
            glommio::spawn_local(probe).detach();
        }
    }

    /// Ends the session of a connection from this side; false if it has none.
    pub(super) fn end_session(
        self: &Rc<Self>,
        connection: ConnectionId,
        reason: &NodeDownReason,
    ) -> bool {
        self.with_session(connection, |running| {
            running.ending().closing = Some(reason.clone());
            match reason {
                NodeDownReason::WaitPending => running.machine.replaced(),
                reason => running.machine.close(reason.atom().as_str()),
            }
        })
        .is_some()
    }

    /// Handles what a lane's shard reports; on what has ended there is nothing to do.
    pub(super) fn lane_event(self: &Rc<Self>, event: KernelEvent) {
        let now = Instant::now();
        match event {
            KernelEvent::LaneBroken { link, epoch, report, why, damaged } => {
                let lane = LaneId(link.lane);
                self.with_session(link.connection, |running| {
                    if running.part_with(lane) {
                        return;
                    }
                    tracing::info!(node = %running.node, %lane, %why, "a lane broke");
                    if damaged && running.is_beyond_repair(lane, report.received) {
                        let reason = NodeDownReason::Checksum(format!("lane {lane}: {why}"));
                        running.machine.close(reason.atom().as_str());
                        running.ending().closing = Some(reason);
                        return;
                    }
                    running.machine.broken(now, lane, epoch, report);
                });
            }
            KernelEvent::LaneFailed { link, why, reason } => {
                let lane = LaneId(link.lane);
                self.with_session(link.connection, |running| {
                    running.ending().closing.get_or_insert(reason);
                    running.machine.failed(lane, why);
                });
            }
            KernelEvent::LaneBye { link, reason } => {
                self.with_session(link.connection, |running| {
                    running.hear_bye(now, LaneId(link.lane), reason);
                });
            }
            KernelEvent::Acknowledged(_)
            | KernelEvent::LinkDown { .. }
            | KernelEvent::Drained { .. }
            | KernelEvent::NameGone { .. } => {}
        }
    }

    /// A connection asks to join a lane of a session. What the session says to that is told by the
    /// ticket.
    ///
    /// # Errors
    /// The refusal, if there is no such session.
    pub(super) fn ask_session(
        self: &Rc<Self>,
        ask: &Ask,
        leash: &Rc<Leash>,
    ) -> Result<Rc<Ticket>, Refusal> {
        let connection = self.sessions.by_id.borrow().get(&ask.session).copied();
        let connection = connection.ok_or(Refusal::UnknownSession)?;
        let join = JoinId(self.sessions.next_join.get());
        self.sessions.next_join.set(join.0 + 1);
        let (verdict, leash) = (RefCell::default(), Rc::clone(leash));
        let ticket = Rc::new(Ticket { connection, join, verdict, leash });
        self.with_session(connection, |running| {
            running.mending().joins.insert(join, Joining::Asking(Rc::clone(&ticket)));
            running.machine.asked(Instant::now(), join, ask);
        })
        .ok_or(Refusal::UnknownSession)?;
        Ok(ticket)
    }

    /// A join that was let in ended: proven, with its socket, or not.
    pub(super) fn join_ended(self: &Rc<Self>, ticket: &Ticket, proven: Option<(Socket, Vec<u8>)>) {
        let join = ticket.join;
        self.with_session(ticket.connection, |running| match proven {
            Some((socket, leftover)) if running.mending().joins.contains_key(&join) => {
                running.mending().joins.insert(join, Joining::Proven(socket, leftover));
                running.machine.confirmed(Instant::now(), join);
            }
            _ => {
                running.mending().joins.remove(&join);
                running.machine.join_ended(join);
            }
        });
    }

    /// Calls the machine of a session and carries out what follows; nothing if it has ended.
    fn with_session<R>(
        self: &Rc<Self>,
        connection: ConnectionId,
        call: impl FnOnce(&mut Running) -> R,
    ) -> Option<R> {
        let result = {
            let mut running = self.sessions.running.borrow_mut();
            let session = running.get_mut(&connection)?;
            let result = call(session);
            // Carrying out an action may lead back here; the outermost call does all, in order.
            if std::mem::replace(&mut session.carrying_out, true) {
                return Some(result);
            }
            result
        };
        // After a panic in here others have to go on with it.
        let carrying_out = Defer(|| {
            if let Some(session) = self.sessions.running.borrow_mut().get_mut(&connection) {
                session.rest();
            }
        });
        loop {
            let action = {
                let mut running = self.sessions.running.borrow_mut();
                running.get_mut(&connection).and_then(|session| session.machine.next_action())
            };
            let Some(action) = action else { break };
            self.carry_out_session(connection, action);
        }
        drop(carrying_out);
        self.arm_sessions();
        Some(result)
    }

    fn carry_out_session(self: &Rc<Self>, connection: ConnectionId, action: SessionAction) {
        let mut all = self.sessions.running.borrow_mut();
        let Some(running) = all.get_mut(&connection) else { return };
        match action {
            SessionAction::Dial { lane, epoch, received } => {
                let dial = running.dial(lane, epoch, received);
                let reach = running.reach.clone();
                drop(all);
                let dial = resume(Rc::clone(self), connection, reach, dial);
                let task = Dialled::Under(glommio::spawn_local(dial));
                if let Some(running) = self.sessions.running.borrow_mut().get_mut(&connection) {
                    running.mending().dials.insert((lane, epoch), task);
                }
            }
            SessionAction::Abort { lane, epoch } => {
                running.mending().dials.remove(&(lane, epoch));
            }
            SessionAction::Attach { lane, epoch, peer_received, join } => {
                let Some((socket, leftover)) = running.take_socket(lane, epoch, join) else {
                    debug_assert!(false, "a socket for what is attached");
                    return;
                };
                tracing::info!(node = %running.node, %lane, %epoch, "a lane goes on");
                drop(all);
                let link = LinkId { connection, lane: lane.0 };
                let socket = socket.into_fd();
                let resume = Resume { link, epoch, socket, peer_received, leftover };
                self.tell_lane(link, ShardMessage::Resume(Box::new(resume)));
                self.give_options(link);
            }
            SessionAction::Detach { lane, epoch } => {
                drop(all);
                let link = LinkId { connection, lane: lane.0 };
                self.tell_lane(link, ShardMessage::Detach { link, epoch });
            }
            SessionAction::Admit { join, received } => {
                let credentials = running.credentials.clone();
                if let Some(Joining::Asking(ticket)) = running.mending().joins.get(&join) {
                    ticket.tell(Verdict::Admit(credentials, received));
                }
            }
            SessionAction::Refuse { join, refusal } => {
                if let Some(Joining::Asking(ticket)) = running.mending().joins.remove(&join) {
                    ticket.tell(Verdict::Refuse(refusal));
                }
            }
            SessionAction::Drop { join } => {
                if let Some(Joining::Asking(ticket)) = running.mending().joins.remove(&join) {
                    ticket.leash.pull();
                }
            }
            SessionAction::Probe => {
                let (reach, question) = (running.reach.clone(), running.question());
                drop(all);
                let probe = probe(Rc::clone(self), connection, reach, question);
                let task = glommio::spawn_local(probe);
                if let Some(running) = self.sessions.running.borrow_mut().get_mut(&connection) {
                    running.mending().probe = Some(task);
                }
            }
            SessionAction::Bye { reason, .. } => running.ending().bye = Atom::new(&reason).ok(),
            SessionAction::End(end) => {
                let ended = all.remove(&connection);
                drop(all);
                if let Some(ended) = ended {
                    self.session_over(connection, ended, &end);
                }
            }
        }
    }

    fn session_over(
        self: &Rc<Self>,
        connection: ConnectionId,
        mut ended: Box<Running>,
        end: &SessionEnd,
    ) {
        self.sessions.by_id.borrow_mut().remove(&ended.machine.id());
        let Ending { bye, closing, farewell, .. } =
            ended.ending.take().map(|ending| *ending).unwrap_or_default();
        let reason = match (closing, end) {
            (Some(reason), _) => reason,
            (None, SessionEnd::Silent(_)) => NodeDownReason::NetTickTimeout,
            // Where one lane has told that, another may be refused meanwhile.
            (None, _) if farewell.is_some_and(|told| told.reason.as_str() == CHECKSUM) => {
                NodeDownReason::Checksum("as the peer says".to_owned())
            }
            (None, _) => NodeDownReason::ConnectionClosed,
        };
        tracing::info!(node = %ended.node, why = %end, "a session is over");
        self.with(|machine| machine.falling(connection));
        self.close_links(connection, &reason, bye);
    }

    /// Has the time looked at when it is due.
    fn arm_sessions(self: &Rc<Self>) {
        let all = self.sessions.running.borrow();
        let due = all.values().filter_map(|session| session.deadline()).min();
        drop(all);
        let Some(due) = due else { return };
        if self.sessions.alarm.get().is_some_and(|alarm| alarm <= due) {
            return;
        }
        self.sessions.alarm.set(Some(due));
        let kernel = Rc::clone(self);
        glommio::spawn_local(async move {
            sleep(due.saturating_duration_since(Instant::now())).await;
            if kernel.sessions.alarm.get() == Some(due) {
                kernel.sessions.alarm.set(None);
            }
            kernel.expire_sessions(Instant::now());
        })
        .detach();
    }

    fn expire_sessions(self: &Rc<Self>, now: Instant) {
        let due = |session: &Running| session.deadline().is_some_and(|at| at <= now);
        let all = self.sessions.running.borrow();
        let late: Vec<ConnectionId> =
            all.iter().filter(|(_, session)| due(session)).map(|(id, _)| *id).collect();
        drop(all);
        for connection in late {
            self.with_session(connection, |running| running.expire(now));
        }
        self.arm_sessions();
    }

    /// A dial ended.
    fn dialled(
        self: &Rc<Self>,
        connection: ConnectionId,
        lane: LaneId,
        epoch: Epoch,
        outcome: Result<(Socket, u64), Lost>,
    ) {
        self.with_session(connection, |running| {
            // The task that says so is about to end by itself.
            if let Some(Dialled::Under(task)) = running.mending().dials.remove(&(lane, epoch)) {
                task.detach();
            }
            match outcome {
                Ok((socket, peer_received)) => {
                    running.mending().dials.insert((lane, epoch), Dialled::Through(socket));
                    running.machine.joined(Instant::now(), lane, epoch, peer_received);
                }
                Err(lost) => {
                    tracing::debug!(node = %running.node, %lane, %lost, "a lane is still broken");
                    running.machine.dial_failed(Instant::now(), lane, epoch, &failure(lost));
                }
            }
        });
    }

    fn probed(self: &Rc<Self>, connection: ConnectionId, found: Probed) {
        self.with_session(connection, |running| {
            if let Some(task) = running.mending().probe.take() {
                task.detach();
            }
            let found = match found {
                found if running.trusts_probes => found,
                _ => Probed::Unreachable,
            };
            running.machine.probed(Instant::now(), found);
        });
    }
}

/// Connects a lane anew.
async fn resume(kernel: Rc<KernelShard>, connection: ConnectionId, reach: Reach, dial: Dial) {
    // A task is polled as soon as it is spawned, and must not end before it is known.
    yield_once().await;
    let (lane, epoch) = (dial.ask.lane, dial.ask.epoch);
    let outcome = match join::dial(&kernel, &reach, dial).await {
        Ok((NewSocket { socket, confirm, .. }, peer_received)) => {
            let sent = socket.send_all(&confirm).await;
            sent.map(|()| (socket, peer_received)).map_err(Lost::from)
        }
        Err(lost) => Err(lost),
    };
    kernel.dialled(connection, lane, epoch, outcome);
}

/// Looks whether the peer's process is still there, and knows the session.
async fn probe(kernel: Rc<KernelShard>, connection: ConnectionId, reach: Reach, question: Dial) {
    yield_once().await;
    let found = match join::dial(&kernel, &reach, question).await {
        Err(Lost::Join(FabricError::Refused(Refusal::UnknownSession))) => Probed::UnknownSession,
        Err(Lost::Unreachable(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Probed::ConnectionRefused
        }
        Err(Lost::Unreachable(_)) => Probed::Unreachable,
        Err(Lost::Join(_)) | Ok(_) => Probed::Listening,
    };
    kernel.probed(connection, found);
}

/// Probes a peer that certainly knows the session. Where it is not found now, behind a translation
/// of addresses for instance, it need not be gone when it is not found later.
async fn try_probe(
    kernel: Rc<KernelShard>,
    connection: ConnectionId,
    reach: Reach,
    question: Dial,
) {
    yield_once().await;
    let answer = join::dial(&kernel, &reach, question).await;
    let knows = [Refusal::UnknownLane, Refusal::TryAgain];
    if let Err(Lost::Join(FabricError::Refused(refusal))) = answer
        && knows.contains(&refusal)
    {
        kernel.with_session(connection, |running| running.trusts_probes = true);
    }
}

fn failure(lost: Lost) -> DialFailure {
    match lost {
        Lost::Unreachable(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            DialFailure::ConnectionRefused
        }
        Lost::Unreachable(_) => DialFailure::Unreachable,
        Lost::Join(error) => DialFailure::Join(error),
    }
}
