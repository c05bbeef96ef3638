//! Sockets before they carry frames: handshakes, settling, joins, probes.

use std::collections::BTreeMap;
use std::time::Instant;

use krarup::net_kernel::{AttemptId, ConnectError, ConnectionId, Decision, NodeType, PeerLink};
use krarup_transport::fabric::{
    AcceptStep, Agreement, Ask, Credentials, DialFailure, Epoch, FabricError, JOIN_TIMEOUT,
    JoinAcceptor, JoinConfig, JoinId, JoinInitiator, JoinStep, LaneId, Probed, Refusal, Role,
    SessionId, SettleStep, SettleTimeouts, Settled, Settling, is_join,
};
use krarup_transport::handshake::{
    Accept, Acceptor, AcceptorConfig, AcceptorStep, Applicant, Challenge, Claim,
    Decision as Verdict, Established, Flags, Initiator, InitiatorConfig, InitiatorStep,
    LengthPrefix, LocalName, Timeouts,
};
use krarup_transport::term::Atom;

use super::env::Env;
use super::life::{Life, creation_of, owner_of};
use super::net::{ACCEPTOR, Address, ConnId, DIALLER, DialId, Owner, Read};

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
    peer: Owner,
    session: Option<SessionId>,
    joined: BTreeMap<LaneId, ConnId>,
}

/// A session that is settled and has no connection yet.
pub(super) struct Ready {
    pub(super) settled: Settled,
    pub(super) credentials: Credentials,
    pub(super) peer: Owner,
    pub(super) sockets: BTreeMap<LaneId, ConnId>,
}

/// A connection that is being made.
pub(super) enum Dialling {
    Link { machine: Box<Initiator>, attempt: AttemptId, challenge: Challenge },
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
    fn flags() -> Flags {
        Flags::ours(true).with(Flags::FABRIC)
    }

    fn challenge(&mut self, env: &mut Env) -> Challenge {
        let challenge = Challenge(env.rng.any() as u32);
        self.challenges.push(challenge);
        challenge
    }

    fn forget_challenge(&mut self, challenge: Challenge) {
        self.challenges.retain(|ours| *ours != challenge);
    }

    /// Dials a node's first link.
    pub(super) fn dial_node(&mut self, env: &mut Env, attempt: AttemptId, node: &Atom) {
        let peer = self.plan.index_of(node);
        let Some(port) = env.ports.get(&peer).copied() else {
            return self.kernel.failed(attempt, ConnectError::GivenUp);
        };
        let challenge = self.challenge(env);
        let spec = &self.plan.specs[self.owner.node];
        let config = InitiatorConfig {
            local: LocalName::Named(spec.name.clone(), self.creation()),
            peer: self.plan.specs[peer].name.clone(),
            flags: Life::flags(),
            cookie: self.plan.cookie.clone(),
            challenge,
            timeouts: Timeouts::default(),
            prefix: LengthPrefix::Two,
        };
        let machine = Initiator::new(config, env.instant()).expect("a good configuration");
        let dial = env.dial(self.owner, Address::Tcp { node: peer, port });
        let dialling = Dialling::Link { machine: Box::new(machine), attempt, challenge };
        self.dials.insert(dial, dialling);
    }

    /// Dials a connection for a lane.
    pub(super) fn dial_join(
        &mut self,
        env: &mut Env,
        door: Door,
        to: Address,
        credentials: Credentials,
        ask: Ask,
    ) -> DialId {
        let nonce = env.rng.bytes();
        let config = JoinConfig { credentials, ask, nonce, timeout: JOIN_TIMEOUT };
        let machine = Box::new(JoinInitiator::new(config, env.instant()));
        let dial = env.dial(self.owner, to);
        let (lane, epoch) = (ask.lane, ask.epoch);
        self.dials.insert(dial, Dialling::Join { machine, door, lane, epoch });
        dial
    }

    /// Where the acceptor of a session is joined.
    pub(super) fn join_address(&self, peer: Owner, unix: bool, agreement: (u16, &[u8])) -> Address {
        let (port, name) = agreement;
        match unix {
            true => Address::Unix { host: self.plan.specs[peer.node].host, name: name.to_vec() },
            false => Address::Tcp { node: peer.node, port },
        }
    }

    pub(super) fn accepted(&mut self, env: &mut Env, conn: ConnId) {
        if self.is_stopping() {
            return env.close(conn, ACCEPTOR);
        }
        let ends = env.instant() + Timeouts::default().stage;
        let setup = Setup::Sniffing { bytes: Vec::new(), ends };
        self.sockets.insert(conn, Socket::new(ACCEPTOR, setup));
        self.socket_turn(env, conn);
    }

    pub(super) fn dialled(&mut self, env: &mut Env, dial: DialId, outcome: Option<ConnId>) {
        let Some(dialling) = self.dials.remove(&dial) else {
            // Given up meanwhile.
            if let Some(conn) = outcome {
                env.close(conn, DIALLER);
            }
            return;
        };
        let setup = match (dialling, outcome) {
            (Dialling::Probe { connection, .. }, outcome) => {
                let found = match outcome {
                    Some(conn) => {
                        env.close(conn, DIALLER);
                        Probed::Listening
                    }
                    None => Probed::ConnectionRefused,
                };
                return self.probed(env, connection, found);
            }
            (Dialling::Link { attempt, challenge, .. }, None) => {
                self.forget_challenge(challenge);
                return self.kernel.failed(attempt, ConnectError::GivenUp);
            }
            (Dialling::Join { door, lane, epoch, .. }, None) => {
                return self.join_failed(env, door, lane, epoch, &DialFailure::ConnectionRefused);
            }
            (Dialling::Link { machine, attempt, challenge }, Some(_)) => {
                Setup::Initiating { machine, attempt, challenge, greeting: None }
            }
            (Dialling::Join { machine, door, lane, epoch }, Some(conn)) => {
                env.allow_flips(conn);
                Setup::Joining { machine, door, lane, epoch }
            }
        };
        let Some(conn) = outcome else { return };
        let mut socket = Socket::new(DIALLER, setup);
        match &mut socket.setup {
            Setup::Initiating { machine, attempt, .. } => {
                self.kernel.called(*attempt);
                socket.out = machine.take_output();
            }
            Setup::Joining { machine, .. } => socket.out = machine.take_output(),
            _ => {}
        }
        self.sockets.insert(conn, socket);
        self.socket_turn(env, conn);
    }

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
                            local: self.plan.specs[self.owner.node].name.clone(),
                            creation: self.creation(),
                            flags: Life::flags(),
                            challenge,
                            timeouts: Timeouts::default(),
                            prefix: LengthPrefix::Two,
                            holds_ack: true,
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

    fn acceptor_step(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        socket: &mut Socket,
        mut step: Option<AcceptorStep>,
    ) -> bool {
        let now = env.instant();
        if let Some(AcceptorStep::Decide(applicant)) = &step {
            let (verdict, id) = self.decide(applicant);
            let Setup::Accepting { machine, attempt, .. } = &mut socket.setup else { return false };
            *attempt = id;
            step = machine.decide(now, verdict).ok();
        }
        let Setup::Accepting { machine, attempt, challenge } = &mut socket.setup else {
            return false;
        };
        socket.out.extend(machine.take_output());
        let (attempt, challenge) = (*attempt, *challenge);
        match step {
            Some(AcceptorStep::Continue | AcceptorStep::Decide(_)) => return true,
            Some(AcceptorStep::ReplaceOldLink) => {
                if let Some(attempt) = attempt {
                    self.kernel.verified(attempt);
                }
                return true;
            }
            Some(AcceptorStep::Proven) => {
                if let Some(attempt) = attempt {
                    self.kernel.asks(attempt);
                }
                return true;
            }
            Some(AcceptorStep::Established(established)) => {
                self.forget_challenge(challenge);
                let Some(attempt) = attempt else { return false };
                return self.settle(env, conn, socket, attempt, None, *established);
            }
            Some(AcceptorStep::Close) | None => {}
        }
        self.forget_challenge(challenge);
        if let Some(attempt) = attempt {
            self.kernel.failed(attempt, ConnectError::GivenUp);
        }
        false
    }

    fn decide(&mut self, applicant: &Applicant) -> (Verdict, Option<AttemptId>) {
        let Claim::Node(name) = &applicant.claim else { return (Verdict::NotAllowed, None) };
        let node = Atom::new(name.as_str()).expect("a good name");
        let (attempt, decision) = self.kernel.inbound(&node);
        let accept = match decision {
            Decision::Ok => Accept::Ok,
            Decision::OkSimultaneous => Accept::OkSimultaneous,
            Decision::Alive => Accept::Alive,
            Decision::Nok => return (Verdict::Nok, None),
            Decision::NotAllowed => return (Verdict::NotAllowed, None),
        };
        (Verdict::Accept(accept, self.plan.cookie.clone()), Some(attempt))
    }

    fn initiator_step(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        socket: &mut Socket,
        mut step: Option<InitiatorStep>,
    ) -> bool {
        let now = env.instant();
        let hello = self.plan.hello(&mut env.rng, self.owner.node, self.port);
        let Setup::Initiating { machine, attempt, challenge, greeting } = &mut socket.setup else {
            return false;
        };
        if let Some(InitiatorStep::Alive) = step {
            step = machine.answer_alive(now, true).ok();
        }
        socket.out.extend(machine.take_output());
        if greeting.is_none() && machine.negotiated().is_some_and(Flags::fabric) {
            // The hello needs no answer to our proof, so it goes with it.
            let settling = Settling::new(Role::Initiator, hello, SettleTimeouts::default(), now);
            socket.out.extend(greeting.insert(settling).take_output());
        }
        let (attempt, challenge) = (*attempt, *challenge);
        let greeting = greeting.take_if(|_| matches!(step, Some(InitiatorStep::Established(_))));
        match step {
            Some(InitiatorStep::Continue | InitiatorStep::Alive) => return true,
            Some(InitiatorStep::Established(established)) => {
                self.forget_challenge(challenge);
                return self.settle(env, conn, socket, attempt, greeting, *established);
            }
            Some(InitiatorStep::Nok | InitiatorStep::Close) | None => {}
        }
        self.forget_challenge(challenge);
        match step {
            Some(InitiatorStep::Nok) => self.kernel.gave_way(attempt, now),
            _ => self.kernel.failed(attempt, ConnectError::GivenUp),
        }
        false
    }

    /// The handshake of a first link is over; the initiator has said hello.
    fn settle(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        socket: &mut Socket,
        attempt: AttemptId,
        greeting: Option<Settling>,
        established: Established,
    ) -> bool {
        assert!(established.flags.fabric());
        self.kernel.proven(attempt);
        let now = env.instant();
        let role = if greeting.is_some() { Role::Initiator } else { Role::Acceptor };
        let machine = greeting.unwrap_or_else(|| {
            let hello = self.plan.hello(&mut env.rng, self.owner.node, self.port);
            Settling::new(role, hello, SettleTimeouts::default(), now)
        });
        let node = self.plan.index_of(&Atom::new(established.peer.as_str()).expect("a name"));
        let ours = (self.plan.specs[self.owner.node].name.clone(), self.creation());
        let theirs = (established.peer, established.peer_creation);
        let (initiator, acceptor) = match role {
            Role::Initiator => (ours, theirs),
            Role::Acceptor => (theirs, ours),
        };
        let cookie = self.plan.cookie.clone();
        let talk = Talk {
            machine,
            attempt,
            credentials: Credentials { cookie, initiator, acceptor, flags: established.flags },
            peer: owner_of(node, established.peer_creation),
            session: None,
            joined: BTreeMap::new(),
        };
        socket.setup = Setup::Settling(Box::new(talk));
        let Setup::Settling(talk) = &mut socket.setup else { return false };
        let step = talk.machine.receive(now, &established.leftover);
        self.talk_step(env, conn, socket, step)
    }

    /// Does what a session that is settled on the socket asks for; false if the socket is to be
    /// closed.
    fn talk_step(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        socket: &mut Socket,
        step: Result<SettleStep, FabricError>,
    ) -> bool {
        let Setup::Settling(talk) = &mut socket.setup else { return false };
        socket.out.extend(talk.machine.take_output());
        match step {
            Ok(SettleStep::Continue) => true,
            Ok(SettleStep::Plain { .. }) => panic!("all nodes speak version 1"),
            Ok(SettleStep::Agreed(agreement)) => {
                talk.session = Some(agreement.session);
                if agreement.role == Role::Initiator {
                    let (peer, credentials) = (talk.peer, talk.credentials.clone());
                    self.join_all(env, conn, &agreement, peer, &credentials);
                }
                true
            }
            Ok(SettleStep::Settled(settled)) => {
                self.end_joins(env, conn);
                let attempt = talk.attempt;
                let mut sockets = std::mem::take(&mut talk.joined);
                let (credentials, peer) = (talk.credentials.clone(), talk.peer);
                sockets.retain(|lane, joined| {
                    let counts = settled.lanes.contains(*lane);
                    if !counts && let Some(socket) = self.sockets.remove(joined) {
                        env.close(*joined, socket.side);
                    }
                    counts
                });
                let stays = settled.lane0_on_first_link;
                if stays {
                    sockets.insert(LaneId(0), conn);
                    socket.setup = Setup::Held { leftover: settled.leftover.clone() };
                }
                assert_eq!(sockets.len(), settled.lanes.len());
                let ready = Ready { settled: *settled, credentials, peer, sockets };
                self.ready.insert(attempt, ready);
                let creation = creation_of(peer);
                let link = PeerLink { creation, node_type: NodeType::Visible };
                self.kernel.established(attempt, link);
                stays
            }
            Err(_) => {
                let attempt = talk.attempt;
                let joined = std::mem::take(&mut talk.joined);
                self.drop_joined(env, conn, &joined);
                self.kernel.failed(attempt, ConnectError::GivenUp);
                false
            }
        }
    }

    fn join_all(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        agreement: &Agreement,
        peer: Owner,
        credentials: &Credentials,
    ) {
        let Agreement { version, session, same_host, .. } = *agreement;
        for lane in agreement.joins() {
            let ask = Ask { version, session, lane, epoch: Epoch(1), received: 0 };
            let reach = (agreement.peer_port, &agreement.peer_unix[..]);
            let to = self.join_address(peer, same_host, reach);
            self.dial_join(env, Door::Talk(conn), to, credentials.clone(), ask);
        }
    }

    /// The joins of a session that is settled, or never will be, end.
    fn end_joins(&mut self, env: &mut Env, conn: ConnId) {
        let door = Door::Talk(conn);
        self.dials.retain(|dial, dialling| {
            let ends = matches!(dialling, Dialling::Join { door: of, .. } if *of == door);
            if ends {
                env.give_up(*dial);
            }
            !ends
        });
        self.sockets.retain(|conn, socket| {
            let ends = match &socket.setup {
                Setup::Joining { door: of, .. } => *of == door,
                Setup::Admitting { door: of, .. } => *of == Some(door),
                _ => false,
            };
            if ends {
                env.close(*conn, socket.side);
            }
            !ends
        });
    }

    fn drop_joined(&mut self, env: &mut Env, conn: ConnId, joined: &BTreeMap<LaneId, ConnId>) {
        self.end_joins(env, conn);
        for conn in joined.values() {
            if let Some(socket) = self.sockets.remove(conn) {
                env.close(*conn, socket.side);
            }
        }
    }

    fn joining_step(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        socket: &mut Socket,
        step: Result<JoinStep, FabricError>,
    ) -> bool {
        let Setup::Joining { machine, door, lane, epoch } = &mut socket.setup else { return false };
        let (door, lane, epoch) = (*door, *lane, *epoch);
        let peer_received = match step {
            Ok(JoinStep::Continue) => return true,
            Ok(JoinStep::Joined { peer_received }) => peer_received,
            Err(error) => {
                self.join_failed(env, door, lane, epoch, &DialFailure::Join(error));
                return false;
            }
        };
        let confirm = machine.take_output();
        if let Door::Talk(first) = door {
            assert_eq!(peer_received, 0);
            if !self.talk_joined(env, first, lane, conn) {
                return false;
            }
        }
        socket.out.extend(confirm);
        // Frames follow at once, and the message is short.
        socket.flush(env, conn);
        assert!(socket.out.is_empty());
        socket.setup = Setup::Held { leftover: Vec::new() };
        if let Door::Session(connection) = door {
            self.dial_joined(env, connection, lane, epoch, peer_received, conn);
            // The proof, and what is sent behind it, may arrive or not.
            if std::mem::take(&mut env.break_next_join) {
                env.reset(conn);
            }
        }
        true
    }

    fn admitting_step(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        socket: &mut Socket,
        step: Result<AcceptStep, FabricError>,
    ) -> bool {
        let Setup::Admitting { machine, door, lane } = &mut socket.setup else { return false };
        let (now, join) = (env.instant(), JoinId(conn.0));
        match step {
            Ok(AcceptStep::Continue) => true,
            Ok(AcceptStep::Ask(ask)) => {
                *lane = ask.lane;
                match self.knock(&ask) {
                    Ok(Door::Talk(first)) => {
                        *door = Some(Door::Talk(first));
                        let credentials = self.credentials_of(first);
                        machine.admit(now, credentials, 0).expect("it asked");
                        socket.out.extend(machine.take_output());
                        true
                    }
                    Ok(Door::Session(connection)) => {
                        *door = Some(Door::Session(connection));
                        if let Some(bundle) = self.bundles.get_mut(&connection) {
                            bundle.session.asked(now, join, &ask);
                        }
                        true
                    }
                    Err(refusal) => {
                        machine.refuse(refusal);
                        socket.out.extend(machine.take_output());
                        false
                    }
                }
            }
            Ok(AcceptStep::Joined { leftover }) => {
                let (door, lane) = (*door, *lane);
                socket.setup = Setup::Held { leftover };
                match door {
                    Some(Door::Talk(first)) => self.talk_joined(env, first, lane, conn),
                    Some(Door::Session(connection)) => {
                        if let Some(bundle) = self.bundles.get_mut(&connection) {
                            bundle.session.confirmed(now, join);
                        }
                        self.bundles.contains_key(&connection)
                    }
                    None => false,
                }
            }
            Err(_) => {
                socket.out.extend(machine.take_output());
                let (door, lane) = (*door, *lane);
                match door {
                    Some(Door::Talk(first)) => self.talk_failed(env, first, lane),
                    Some(Door::Session(connection)) => {
                        if let Some(bundle) = self.bundles.get_mut(&connection) {
                            bundle.session.join_ended(join);
                        }
                    }
                    None => {}
                }
                false
            }
        }
    }

    /// Finds what a join is for.
    fn knock(&self, ask: &Ask) -> Result<Door, Refusal> {
        let talk = self.sockets.iter().find_map(|(conn, socket)| match &socket.setup {
            Setup::Settling(talk) if talk.session == Some(ask.session) => Some((*conn, talk)),
            _ => None,
        });
        if let Some((first, talk)) = talk {
            return talk.machine.ask(ask).map(|()| Door::Talk(first));
        }
        if self.ready.values().any(|ready| ready.settled.agreement.session == ask.session) {
            return Err(Refusal::TryAgain);
        }
        let running = self.bundles.iter().find(|(_, bundle)| bundle.session.id() == ask.session);
        running.map(|(connection, _)| Door::Session(*connection)).ok_or(Refusal::UnknownSession)
    }

    fn credentials_of(&self, first: ConnId) -> Credentials {
        match self.sockets.get(&first).map(|socket| &socket.setup) {
            Some(Setup::Settling(talk)) => talk.credentials.clone(),
            _ => panic!("a session that is being settled"),
        }
    }

    /// A join of a session that is being settled got through; false if it came too late.
    fn talk_joined(&mut self, env: &mut Env, first: ConnId, lane: LaneId, conn: ConnId) -> bool {
        let Some(mut socket) = self.sockets.remove(&first) else { return false };
        let Setup::Settling(talk) = &mut socket.setup else {
            self.sockets.insert(first, socket);
            return false;
        };
        let step = match talk.machine.joined(env.instant(), lane) {
            Ok(None) => {
                self.sockets.insert(first, socket);
                return false;
            }
            Ok(Some(step)) => {
                talk.joined.insert(lane, conn);
                Ok(step)
            }
            Err(error) => Err(error),
        };
        let counts = step.is_ok();
        let keep = self.talk_step(env, first, &mut socket, step);
        self.finish_turn(env, first, socket, keep);
        counts
    }

    fn talk_failed(&mut self, env: &mut Env, first: ConnId, lane: LaneId) {
        let Some(mut socket) = self.sockets.remove(&first) else { return };
        let keep = match &mut socket.setup {
            Setup::Settling(talk) => {
                let step = talk.machine.failed(env.instant(), lane);
                self.talk_step(env, first, &mut socket, step)
            }
            _ => true,
        };
        self.finish_turn(env, first, socket, keep);
    }

    /// A dial for a lane ended without a join.
    fn join_failed(
        &mut self,
        env: &mut Env,
        door: Door,
        lane: LaneId,
        epoch: Epoch,
        failure: &DialFailure,
    ) {
        match door {
            Door::Talk(first) => self.talk_failed(env, first, lane),
            Door::Session(connection) => {
                let now = env.instant();
                if let Some(bundle) = self.bundles.get_mut(&connection) {
                    bundle.session.dial_failed(now, lane, epoch, failure);
                }
            }
        }
    }

    /// What the session said to a join that asked.
    pub(super) fn admit(
        &mut self,
        env: &mut Env,
        join: JoinId,
        verdict: Result<(Credentials, u64), Refusal>,
    ) {
        let conn = ConnId(join.0);
        let Some(mut socket) = self.sockets.remove(&conn) else { return };
        let Setup::Admitting { machine, .. } = &mut socket.setup else {
            panic!("only who asked is answered");
        };
        let keep = match verdict {
            Ok((credentials, received)) => {
                machine.admit(env.instant(), credentials, received).is_ok()
            }
            Err(refusal) => {
                machine.refuse(refusal);
                false
            }
        };
        socket.out.extend(machine.take_output());
        self.finish_turn(env, conn, socket, keep);
    }

    /// Closes a socket of the kernel's shard, whatever it is for.
    pub(super) fn drop_socket(&mut self, env: &mut Env, conn: ConnId) {
        if let Some(socket) = self.sockets.remove(&conn) {
            env.close(conn, socket.side);
        }
    }

    /// Ends a dial of a session, or the join on its connection.
    pub(super) fn drop_dial(
        &mut self,
        env: &mut Env,
        connection: ConnectionId,
        lane: LaneId,
        epoch: Epoch,
    ) {
        let wanted = (Door::Session(connection), lane, epoch);
        self.dials.retain(|dial, dialling| {
            let ends = matches!(dialling, Dialling::Join { door, lane, epoch, .. }
                if (*door, *lane, *epoch) == wanted);
            if ends {
                env.give_up(*dial);
            }
            !ends
        });
        self.sockets.retain(|conn, socket| {
            let ends = matches!(&socket.setup, Setup::Joining { door, lane, epoch, .. }
                if (*door, *lane, *epoch) == wanted);
            if ends {
                env.close(*conn, socket.side);
            }
            !ends
        });
    }

    /// An attempt is not wanted any more.
    pub(super) fn abort(&mut self, env: &mut Env, attempt: AttemptId) {
        if let Some(ready) = self.ready.remove(&attempt) {
            for conn in ready.sockets.values() {
                self.drop_socket(env, *conn);
            }
        }
        let mut challenges = Vec::new();
        self.dials.retain(|dial, dialling| match dialling {
            Dialling::Link { attempt: of, challenge, .. } if *of == attempt => {
                env.give_up(*dial);
                challenges.push(*challenge);
                false
            }
            _ => true,
        });
        let own = |socket: &Socket| socket.attempt() == Some(attempt);
        let conns: Vec<ConnId> =
            self.sockets.iter().filter(|(_, s)| own(s)).map(|(conn, _)| *conn).collect();
        for conn in conns {
            let Some(socket) = self.sockets.remove(&conn) else { continue };
            match &socket.setup {
                Setup::Accepting { challenge, .. } | Setup::Initiating { challenge, .. } => {
                    challenges.push(*challenge);
                }
                Setup::Settling(talk) => self.drop_joined(env, conn, &talk.joined),
                _ => {}
            }
            env.close(conn, socket.side);
        }
        for challenge in challenges {
            self.forget_challenge(challenge);
        }
    }

    /// Nothing is in the way of an attempt that was let in.
    pub(super) fn acknowledge(&mut self, env: &mut Env, attempt: AttemptId) {
        let own = |socket: &Socket| {
            matches!(socket.setup, Setup::Accepting { .. }) && socket.attempt() == Some(attempt)
        };
        let conn = self.sockets.iter().find(|(_, socket)| own(socket)).map(|(conn, _)| *conn);
        let Some(conn) = conn else { return };
        let Some(mut socket) = self.sockets.remove(&conn) else { return };
        let Setup::Accepting { machine, .. } = &mut socket.setup else { return };
        let step = machine.acknowledge(env.instant());
        let keep = self.acceptor_step(env, conn, &mut socket, step.ok());
        self.finish_turn(env, conn, socket, keep);
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
                    self.kernel.failed(attempt, ConnectError::GivenUp);
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
