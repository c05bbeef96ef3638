//! Sockets before they carry frames: handshakes, settling, joins, probes.

mod dial;
mod handshake;
mod join;
mod talk;

use std::collections::BTreeMap;
use std::time::Instant;

use krarup::net_kernel::{AttemptId, ConnectError, ConnectionId, NodeType};
use krarup_transport::fabric::{
    AcceptStep, Credentials, DialFailure, Epoch, JOIN_TIMEOUT, JoinAcceptor, JoinInitiator,
    JoinStep, LaneId, Probed, SessionId, Settled, Settling, is_join,
};
use krarup_transport::handshake::{
    Acceptor, AcceptorConfig, AcceptorStep, Challenge, Flags, Initiator, InitiatorStep,
    LengthPrefix, NodeName, Timeouts,
};
use krarup_transport::term::Creation;

use super::env::Env;
use super::life::Life;
use super::names::Identity;
use super::net::{ConnId, DialId, Owner, Read};
use super::policy::Claim;

/// A socket of the kernel's shard.
pub(super) struct Socket {
    pub(super) side: usize,
    /// What there was no room to write yet.
    out: Vec<u8>,
    pub(super) setup: Setup,
}

pub(super) enum Setup {
    /// Accepted; the third byte will tell what it is.
    Sniffing {
        bytes: Vec<u8>,
        ends: Instant,
    },
    Accepting {
        machine: Box<Acceptor>,
        attempt: Option<AttemptId>,
        challenge: Challenge,
    },
    Initiating {
        machine: Box<Initiator>,
        attempt: AttemptId,
        challenge: Challenge,
        /// What said hello already.
        greeting: Option<Settling>,
    },
    Settling(Box<Talk>),
    Joining {
        machine: Box<JoinInitiator>,
        door: Door,
        lane: LaneId,
        epoch: Epoch,
    },
    Admitting {
        machine: Box<JoinAcceptor>,
        door: Option<Door>,
        lane: LaneId,
    },
    /// Joined, and nobody reads it yet.
    Held {
        leftover: Vec<u8>,
    },
    /// Closed as soon as all is written.
    Leaving,
}

/// What a join is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The session that is settled on this first link.
    Talk(ConnId),
    Session(ConnectionId),
}

/// A session that is being settled.
pub(super) struct Talk {
    machine: Settling,
    attempt: AttemptId,
    credentials: Credentials,
    node_type: NodeType,
    peer: Owner,
    identity: Identity,
    /// The name that the peer gave to this life.
    assigned: Option<(NodeName, Creation)>,
    session: Option<SessionId>,
    joined: BTreeMap<LaneId, ConnId>,
}

/// What is settled and has no connection yet.
pub(super) struct Ready {
    pub(super) peer: Owner,
    pub(super) identity: Identity,
    pub(super) carrier: Carrier,
}

pub(super) enum Carrier {
    Session {
        settled: Box<Settled>,
        credentials: Credentials,
        sockets: BTreeMap<LaneId, ConnId>,
    },
    /// One of the two nodes knows no lanes.
    Plain {
        conn: ConnId,
        flags: Flags,
    },
}

impl Ready {
    fn conns(&self) -> Vec<ConnId> {
        match &self.carrier {
            Carrier::Session { sockets, .. } => sockets.values().copied().collect(),
            Carrier::Plain { conn, .. } => vec![*conn],
        }
    }

    fn session(&self) -> Option<SessionId> {
        match &self.carrier {
            Carrier::Session { settled, .. } => Some(settled.agreement.session),
            Carrier::Plain { .. } => None,
        }
    }
}

/// A connection that is being made.
pub(super) enum Dialling {
    Link { machine: Box<Initiator>, attempt: AttemptId, challenge: Challenge, claim: Box<Claim> },
    Join { machine: Box<JoinInitiator>, door: Door, lane: LaneId, epoch: Epoch },
    Probe { connection: ConnectionId, ends: Instant },
}

enum Input {
    Bytes(Vec<u8>),
    Closed,
    /// Its time is up.
    Late,
}

impl Socket {
    fn new(side: usize, setup: Setup) -> Socket {
        Socket { side, out: Vec::new(), setup }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.setup {
            Setup::Sniffing { ends, .. } => Some(*ends),
            Setup::Accepting { machine, .. } => Some(machine.deadline()),
            Setup::Initiating { machine, .. } => Some(machine.deadline()),
            Setup::Settling(talk) => Some(talk.machine.deadline()),
            Setup::Joining { machine, .. } => Some(machine.deadline()),
            Setup::Admitting { machine, .. } => Some(machine.deadline()),
            Setup::Held { .. } | Setup::Leaving => None,
        }
    }

    /// The attempt that it belongs to.
    fn attempt(&self) -> Option<AttemptId> {
        match &self.setup {
            Setup::Accepting { attempt, .. } => *attempt,
            Setup::Initiating { attempt, .. } => Some(*attempt),
            Setup::Settling(talk) => Some(talk.attempt),
            _ => None,
        }
    }

    fn flush(&mut self, env: &mut Env, conn: ConnId) {
        if !self.out.is_empty() {
            let count = env.write(conn, self.side, std::iter::once(&self.out[..]));
            self.out.drain(..count);
        }
    }
}

impl Dialling {
    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(match self {
            Dialling::Link { machine, .. } => machine.deadline(),
            Dialling::Join { machine, .. } => machine.deadline(),
            Dialling::Probe { ends, .. } => *ends,
        })
    }
}

impl Life {
    /// Writes and reads a socket of the kernel's shard.
    pub(super) fn socket_turn(&mut self, env: &mut Env, conn: ConnId) {
        loop {
            let Some(mut socket) = self.sockets.remove(&conn) else { return };
            socket.flush(env, conn);
            if matches!(socket.setup, Setup::Leaving) && socket.out.is_empty() {
                return env.close(conn, socket.side);
            }
            if matches!(socket.setup, Setup::Held { .. }) {
                self.sockets.insert(conn, socket);
                return;
            }
            let count = env.rng.within(1..=2048) as usize;
            let input = match env.read(conn, socket.side, count) {
                Read::Bytes(bytes) => Input::Bytes(bytes),
                Read::End | Read::Reset => Input::Closed,
                Read::Nothing => {
                    self.sockets.insert(conn, socket);
                    return;
                }
            };
            let closed = matches!(input, Input::Closed);
            let keep = self.feed(env, conn, &mut socket, input);
            self.finish_turn(env, conn, socket, keep && !closed);
            if closed {
                return;
            }
        }
    }

    fn finish_turn(&mut self, env: &mut Env, conn: ConnId, mut socket: Socket, keep: bool) {
        socket.flush(env, conn);
        if keep {
            self.sockets.insert(conn, socket);
        } else if socket.out.is_empty() {
            env.close(conn, socket.side);
        } else {
            socket.setup = Setup::Leaving;
            self.sockets.insert(conn, socket);
        }
    }

    /// Gives a socket's machine what came; false if the socket is to be closed.
    fn feed(&mut self, env: &mut Env, conn: ConnId, socket: &mut Socket, input: Input) -> bool {
        let now = env.instant();
        match &mut socket.setup {
            Setup::Sniffing { bytes, .. } => {
                let Input::Bytes(came) = input else { return false };
                bytes.extend(came);
                let bytes = bytes.clone();
                let Some(join) = is_join(&bytes) else { return true };
                socket.setup = match join {
                    true => {
                        env.allow_flips(conn);
                        let machine = JoinAcceptor::new(env.rng.bytes(), JOIN_TIMEOUT, now);
                        let (machine, lane) = (Box::new(machine), LaneId(0));
                        Setup::Admitting { machine, door: None, lane }
                    }
                    false => {
                        let challenge = self.challenge(env);
                        let config = AcceptorConfig {
                            local: self.identity().name.clone(),
                            creation: self.creation(),
                            flags: self.flags(!self.plan.specs[self.owner.node].hidden),
                            challenge,
                            timeouts: Timeouts::default(),
                            prefix: LengthPrefix::Two,
                            holds_ack: !self.kernel.is_otp(),
                        };
                        let machine = Box::new(Acceptor::new(config, now));
                        Setup::Accepting { machine, attempt: None, challenge }
                    }
                };
                self.feed(env, conn, socket, Input::Bytes(bytes))
            }
            Setup::Accepting { machine, .. } => {
                let challenges = &self.challenges;
                let step = match input {
                    Input::Bytes(bytes) => {
                        machine.receive(now, &bytes, |challenge| challenges.contains(&challenge))
                    }
                    Input::Closed => Err(machine.closed()),
                    Input::Late => machine.expire(now).map(|()| AcceptorStep::Continue),
                };
                self.acceptor_step(env, conn, socket, step.ok())
            }
            Setup::Initiating { machine, .. } => {
                let challenges = &self.challenges;
                let step = match input {
                    Input::Bytes(bytes) => {
                        machine.receive(now, &bytes, |challenge| challenges.contains(&challenge))
                    }
                    Input::Closed => Err(machine.closed()),
                    Input::Late => machine.expire(now).map(|()| InitiatorStep::Continue),
                };
                self.initiator_step(env, conn, socket, step.ok())
            }
            Setup::Settling(talk) => {
                let step = match input {
                    Input::Bytes(bytes) => talk.machine.receive(now, &bytes),
                    Input::Closed => Err(talk.machine.closed()),
                    Input::Late => talk.machine.expire(now),
                };
                self.talk_step(env, conn, socket, step)
            }
            Setup::Joining { machine, .. } => {
                let step = match input {
                    Input::Bytes(bytes) => machine.receive(now, &bytes),
                    Input::Closed => Err(machine.closed()),
                    Input::Late => machine.expire(now).map(|()| JoinStep::Continue),
                };
                self.joining_step(env, conn, socket, step)
            }
            Setup::Admitting { machine, .. } => {
                let step = match input {
                    Input::Bytes(bytes) => machine.receive(now, &bytes),
                    Input::Closed => Err(machine.closed()),
                    Input::Late => machine.expire(now).map(|()| AcceptStep::Continue),
                };
                self.admitting_step(env, conn, socket, step)
            }
            Setup::Held { .. } => true,
            Setup::Leaving => matches!(input, Input::Bytes(_)),
        }
    }

    /// Closes a socket of the kernel's shard, whatever it is for.
    pub(super) fn drop_socket(&mut self, env: &mut Env, conn: ConnId) {
        if let Some(socket) = self.sockets.remove(&conn) {
            env.close(conn, socket.side);
        }
    }

    /// Ends what took too long.
    pub(super) fn expire_setups(&mut self, env: &mut Env) {
        let now = env.instant();
        let late = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let dials: Vec<DialId> =
            self.dials.iter().filter(|(_, d)| late(d.deadline())).map(|(id, _)| *id).collect();
        for dial in dials {
            env.give_up(dial);
            match self.dials.remove(&dial) {
                Some(Dialling::Link { attempt, challenge, .. }) => {
                    self.forget_challenge(challenge);
                    self.attempt_failed(env, attempt, ConnectError::GivenUp);
                }
                Some(Dialling::Join { door, lane, epoch, .. }) => {
                    self.join_failed(env, door, lane, epoch, &DialFailure::Unreachable);
                }
                Some(Dialling::Probe { connection, .. }) => {
                    self.probed(env, connection, Probed::Unreachable);
                }
                None => {}
            }
        }
        let conns: Vec<ConnId> =
            self.sockets.iter().filter(|(_, s)| late(s.deadline())).map(|(id, _)| *id).collect();
        for conn in conns {
            let Some(mut socket) = self.sockets.remove(&conn) else { continue };
            let keep = self.feed(env, conn, &mut socket, Input::Late);
            self.finish_turn(env, conn, socket, keep);
        }
    }
}
