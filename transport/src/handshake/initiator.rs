//! The side that connects (A in OTP's documentation).

use std::time::Instant;

use super::digest::{Challenge, Cookie};
use super::error::{HandshakeError, HandshakeErrorKind, Stage};
use super::flags::Flags;
use super::message::{
    ChallengeAck, ChallengeMessage, ChallengeReply, LengthPrefix, MessageKind, MessageReader,
    SendName, Status,
};
use super::name::{NodeName, check_host, latin1_bytes};
use super::{Clock, Established, Timeouts, bad_name, check_mandatory};
use crate::term::Creation;

/// What an [`Initiator`] is told at its start.
#[derive(Clone, Debug)]
pub struct InitiatorConfig {
    /// What this node calls itself.
    pub local: LocalName,
    /// The node that was dialled; another one answering is an error.
    pub peer: NodeName,
    /// What this node announces. `NAME_ME` is added or removed as `local` demands.
    pub flags: Flags,
    /// The cookie for this peer.
    pub cookie: Cookie,
    /// Our challenge, from the operating system's random source, used for this handshake only.
    pub challenge: Challenge,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// How lengths are written on this carrier.
    pub prefix: LengthPrefix,
}

/// The name a node connects under.
#[derive(Clone, Debug)]
pub enum LocalName {
    /// A name of its own, with the creation its epmd registration gave it.
    Named(NodeName, Creation),
    /// None yet: the peer gives one on this host (`-name undefined`). The node is hidden.
    AskFor {
        /// The host part of the name to be.
        host: String,
    },
}

/// What the owner of an [`Initiator`] has to do, after it wrote the output.
#[derive(Debug)]
pub enum InitiatorStep {
    /// Read on.
    Continue,
    /// The peer says that a connection exists already. Call
    /// [`answer_alive`](Initiator::answer_alive): `true` if this attempt is still wanted.
    Alive,
    /// The peer's own attempt at this node goes first. Not a failure: keep accepting, and let
    /// this attempt wait; its end, by close or timeout, only counts if the other fails too.
    Nok,
    /// Close the socket: the attempt ended as the owner wished.
    Close,
    /// The link is up.
    Established(Box<Established>),
}

/// The connecting side of one handshake.
///
/// The peer learns our digest before it proves anything: any server that is dialled can collect
/// it and try cookies against it. Cookies need entropy, or TLS.
#[derive(Debug)]
pub struct Initiator {
    config: InitiatorConfig,
    clock: Clock,
    reader: MessageReader,
    output: Vec<u8>,
    state: State,
    assigned: Option<(NodeName, Creation)>,
}

#[derive(Debug)]
enum State {
    Status,
    AliveQuestion,
    Challenge,
    Ack { peer_flags: Flags, peer_creation: Creation, flags: Flags },
    PeersAttempt,
    Over,
}

impl Initiator {
    /// Starts a handshake on a fresh connection; the output then holds our name. `now` is when
    /// the first stage began: pass the time at which the connection was dialled to have the
    /// TCP connect count as part of it, as it does in OTP.
    ///
    /// # Errors
    ///
    /// When the host to be named on cannot be one, or mandatory flags are not announced.
    pub fn new(mut config: InitiatorConfig, now: Instant) -> Result<Initiator, HandshakeError> {
        let (name, creation) = match &config.local {
            LocalName::Named(name, creation) => {
                config.flags = config.flags.without(Flags::NAME_ME);
                (name.latin1(), *creation)
            }
            LocalName::AskFor { host } => {
                check_host(host).map_err(|error| HandshakeError {
                    peer: Some(config.peer.clone()),
                    stage: Stage::Over,
                    kind: bad_name(host.as_bytes(), error),
                })?;
                config.flags = config.flags.with(Flags::NAME_ME).without(Flags::PUBLISHED);
                (latin1_bytes(host), Creation(0))
            }
        };
        let mut initiator = Initiator {
            clock: Clock::start(config.timeouts, now),
            reader: MessageReader::new(config.prefix),
            output: Vec::new(),
            state: State::Status,
            assigned: None,
            config,
        };
        let ours = initiator.config.flags;
        check_mandatory(ours, ours).map_err(|kind| initiator.fail(kind))?;
        SendName { flags: ours, creation: Some(creation), name: &name }
            .encode(initiator.config.prefix, &mut initiator.output);
        Ok(initiator)
    }

    /// Takes the bytes that arrived. `is_ours` tells whether a challenge is one that this node
    /// has sent in any handshake that is not over; such a challenge is refused, because whoever
    /// sends it wants us to answer ourselves.
    ///
    /// # Errors
    ///
    /// When the peer breaks the protocol, refuses, or time is up; the handshake is then over.
    pub fn receive(
        &mut self,
        now: Instant,
        mut bytes: &[u8],
        is_ours: impl Fn(Challenge) -> bool,
    ) -> Result<InitiatorStep, HandshakeError> {
        self.expire(now)?;
        loop {
            let kind = match self.stage() {
                Stage::Message(kind) => kind,
                _ if bytes.is_empty() => return Ok(InitiatorStep::Continue),
                _ => return Err(self.fail(HandshakeErrorKind::EarlyBytes)),
            };
            let body = match self.reader.read(&mut bytes, kind.bytes_max()) {
                Ok(Some(body)) => body,
                Ok(None) => return Ok(InitiatorStep::Continue),
                Err(error) => return Err(self.fail(HandshakeErrorKind::Message(error))),
            };
            let step = match kind {
                MessageKind::Status => self.status(&body),
                MessageKind::Challenge => self.challenge(now, &body, &is_ours),
                _ => self.ack(&body, bytes),
            };
            match step {
                Ok(InitiatorStep::Continue) => {}
                Ok(InitiatorStep::Established(established)) => {
                    return Ok(InitiatorStep::Established(established));
                }
                Ok(_) if !bytes.is_empty() => {
                    return Err(self.fail(HandshakeErrorKind::EarlyBytes));
                }
                Ok(step) => return Ok(step),
                Err(kind) => return Err(self.fail(kind)),
            }
        }
    }

    /// Answers [`InitiatorStep::Alive`]: whether this attempt is still wanted. With `false` the
    /// peer keeps the old connection and this one ends.
    ///
    /// # Errors
    ///
    /// When the question was not asked, or time is up.
    pub fn answer_alive(
        &mut self,
        now: Instant,
        wanted: bool,
    ) -> Result<InitiatorStep, HandshakeError> {
        self.expire(now)?;
        if !matches!(self.state, State::AliveQuestion) {
            return Err(self.fail(HandshakeErrorKind::Misused("no alive question is open")));
        }
        let status = if wanted { Status::True } else { Status::False };
        status.encode(self.config.prefix, &mut self.output);
        if wanted {
            self.state = State::Challenge;
            Ok(InitiatorStep::Continue)
        } else {
            self.state = State::Over;
            Ok(InitiatorStep::Close)
        }
    }

    /// The peer closed the connection: what that means at this stage.
    #[must_use]
    pub fn closed(&mut self) -> HandshakeError {
        self.fail(HandshakeErrorKind::Closed)
    }

    /// When [`expire`](Initiator::expire) is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.clock.deadline()
    }

    /// Checks the time.
    ///
    /// # Errors
    ///
    /// When a stage or the whole took too long; the handshake is then over.
    pub fn expire(&mut self, now: Instant) -> Result<(), HandshakeError> {
        match self.clock.expired(now) {
            Some(kind) => Err(self.fail(kind)),
            None => Ok(()),
        }
    }

    /// The bytes to write now; taking them empties the buffer.
    #[must_use]
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// What it waits for.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.state {
            State::Status => Stage::Message(MessageKind::Status),
            State::AliveQuestion => Stage::Owner,
            State::Challenge => Stage::Message(MessageKind::Challenge),
            State::Ack { .. } => Stage::Message(MessageKind::ChallengeAck),
            State::PeersAttempt => Stage::PeersAttempt,
            State::Over => Stage::Over,
        }
    }

    /// What both sides can do, from the moment our proof is ready to be sent. The peer has proven
    /// nothing before [`InitiatorStep::Established`].
    #[must_use]
    pub fn negotiated(&self) -> Option<Flags> {
        match self.state {
            State::Ack { flags, .. } => Some(flags),
            _ => None,
        }
    }

    /// The node that was dialled.
    #[must_use]
    pub fn peer(&self) -> &NodeName {
        &self.config.peer
    }

    // OTP: dist_util.erl, recv_status/1.
    fn status(&mut self, body: &[u8]) -> Result<InitiatorStep, HandshakeErrorKind> {
        let status = Status::decode(body).map_err(HandshakeErrorKind::Message)?;
        let asked = matches!(self.config.local, LocalName::AskFor { .. });
        match status {
            Status::Ok | Status::OkSimultaneous if !asked => {
                self.state = State::Challenge;
                Ok(InitiatorStep::Continue)
            }
            Status::Named { name, creation } if asked => {
                self.named(name, creation)?;
                self.state = State::Challenge;
                Ok(InitiatorStep::Continue)
            }
            Status::Alive if !asked => {
                self.state = State::AliveQuestion;
                Ok(InitiatorStep::Alive)
            }
            // OTP does not close on nok: it waits to be killed by the other attempt's success.
            Status::Nok => {
                self.state = State::PeersAttempt;
                Ok(InitiatorStep::Nok)
            }
            Status::NotAllowed => Err(HandshakeErrorKind::NotAllowed),
            status => Err(HandshakeErrorKind::UnexpectedStatus { came: status.text() }),
        }
    }

    fn named(&mut self, name: &str, creation: Creation) -> Result<(), HandshakeErrorKind> {
        let name = NodeName::parse(name).map_err(|error| bad_name(name.as_bytes(), error))?;
        if let LocalName::AskFor { host } = &self.config.local
            && name.host() != host
        {
            return Err(HandshakeErrorKind::HostChanged { expected: host.clone(), came: name });
        }
        self.assigned = Some((name, creation));
        Ok(())
    }

    // OTP: dist_util.erl, recv_challenge/1 and send_challenge_reply/3.
    fn challenge(
        &mut self,
        now: Instant,
        body: &[u8],
        is_ours: &impl Fn(Challenge) -> bool,
    ) -> Result<InitiatorStep, HandshakeErrorKind> {
        let message = ChallengeMessage::decode(body).map_err(HandshakeErrorKind::Message)?;
        let name =
            NodeName::from_latin1(message.name).map_err(|error| bad_name(message.name, error))?;
        if name != self.config.peer {
            return Err(HandshakeErrorKind::WrongPeer { came: name });
        }
        check_mandatory(self.config.flags, message.flags)?;
        if message.challenge == self.config.challenge || is_ours(message.challenge) {
            return Err(HandshakeErrorKind::ReflectedChallenge);
        }
        let digest = self.config.cookie.digest(message.challenge);
        ChallengeReply { challenge: self.config.challenge, digest }
            .encode(self.config.prefix, &mut self.output);
        self.clock.next_stage(now);
        self.state = State::Ack {
            peer_flags: message.flags,
            peer_creation: message.creation,
            flags: Flags::negotiate(self.config.flags, message.flags),
        };
        Ok(InitiatorStep::Continue)
    }

    fn ack(&mut self, body: &[u8], leftover: &[u8]) -> Result<InitiatorStep, HandshakeErrorKind> {
        let ack = ChallengeAck::decode(body).map_err(HandshakeErrorKind::Message)?;
        let State::Ack { peer_flags, peer_creation, flags } = self.state else {
            return Err(HandshakeErrorKind::Misused("an ack in another state"));
        };
        if !self.config.cookie.verifies(self.config.challenge, &ack.digest) {
            return Err(HandshakeErrorKind::CookieMismatch);
        }
        self.state = State::Over;
        Ok(InitiatorStep::Established(Box::new(Established {
            peer: self.config.peer.clone(),
            flags,
            peer_flags,
            peer_creation,
            cookie: self.config.cookie.clone(),
            assigned: self.assigned.take(),
            leftover: leftover.to_vec(),
        })))
    }

    fn fail(&mut self, kind: HandshakeErrorKind) -> HandshakeError {
        let stage = self.stage();
        self.state = State::Over;
        HandshakeError { peer: Some(self.config.peer.clone()), stage, kind }
    }
}
