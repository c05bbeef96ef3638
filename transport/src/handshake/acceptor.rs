//! The side that is connected to (B in OTP's documentation).

use std::time::Instant;

use super::digest::{Challenge, Cookie};
use super::error::{HandshakeError, HandshakeErrorKind, Stage};
use super::flags::Flags;
use super::message::{
    ChallengeAck, ChallengeMessage, ChallengeReply, Complement, LengthPrefix, MessageKind,
    MessageReader, SendName, Status,
};
use super::name::{NameError, NodeName, check_host, latin1_text};
use super::{Clock, Established, Timeouts, bad_name, check_mandatory};
use crate::term::Creation;

/// What an [`Acceptor`] is told at its start.
#[derive(Clone, Debug)]
pub struct AcceptorConfig {
    /// This node's name.
    pub local: NodeName,
    /// This node's creation.
    pub creation: Creation,
    /// What this node announces. `NAME_ME` is added or removed as the peer demands.
    pub flags: Flags,
    /// Our challenge, from the operating system's random source, used for this handshake only.
    pub challenge: Challenge,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// How lengths are written on this carrier.
    pub prefix: LengthPrefix,
    /// Hold every ack back until the owner lets it go, see [`AcceptorStep::Proven`].
    pub holds_ack: bool,
}

/// A peer that asks to be let in. Nothing it says is proven yet: neither intern its name nor
/// touch an existing link on its word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    /// Who it says it is.
    pub claim: Claim,
    /// What it announces; only the low half, if `creation` is missing.
    pub flags: Flags,
    /// Its creation; missing in the old form of the name message, and meaningless for a peer
    /// without a name.
    pub creation: Option<Creation>,
}

/// Who a peer says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A node with a name.
    Node(NodeName),
    /// A node that asks for a name on this host: accept it with [`Accept::Named`] or refuse it.
    NameMe {
        /// The host part of the name to be.
        host: String,
    },
}

/// The owner's verdict on an [`Applicant`].
#[derive(Debug)]
pub enum Decision {
    /// Go on; the cookie is the one for this peer.
    Accept(Accept, Cookie),
    /// `nok`: this node's own attempt goes first, because its name is the greater one.
    Nok,
    /// `not_allowed`: the peer is not on the allow list.
    NotAllowed,
    /// Close without a status: another connection of the same name is being asked whether its
    /// old link is still alive.
    Close,
}

/// With what status an [`Applicant`] is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accept {
    /// `ok`.
    Ok,
    /// `ok_simultaneous`: this node's own attempt gives way, because its name is the smaller one.
    OkSimultaneous,
    /// `alive`: a link to this name is up. The peer is asked whether it means this attempt; the
    /// old link is replaced once the peer has proven itself, see
    /// [`AcceptorStep::ReplaceOldLink`].
    Alive,
    /// `named:`, for [`Claim::NameMe`] only.
    Named {
        /// The name given, on the host that was asked for.
        name: NodeName,
        /// The creation given: never 0 to 3, one more each time a name is given again.
        creation: Creation,
    },
}

/// What the owner of an [`Acceptor`] has to do, after it wrote the output.
#[derive(Debug)]
pub enum AcceptorStep {
    /// Read on.
    Continue,
    /// Call [`decide`](Acceptor::decide).
    Decide(Applicant),
    /// The peer has proven itself and its old link may go: take that down completely, then call
    /// [`acknowledge`](Acceptor::acknowledge). Until then the peer waits.
    ReplaceOldLink,
    /// The peer has proven itself. Call [`acknowledge`](Acceptor::acknowledge) if this connection
    /// is to be the link, or close it. The peer takes the ack for the end of all other attempts,
    /// so an owner with an attempt of its own under way decides between the two before. Comes
    /// only when the ack is [held](AcceptorConfig::holds_ack).
    Proven,
    /// Close the socket: the applicant was refused as the owner wished.
    Close,
    /// The link is up.
    Established(Box<Established>),
}

/// What a peer may say before it has our ack: its hello, with room to spare.
pub(super) const EARLY_BYTES_MAX: usize = 2048;

/// The accepting side of one handshake.
#[derive(Debug)]
pub struct Acceptor {
    config: AcceptorConfig,
    clock: Clock,
    reader: MessageReader,
    output: Vec<u8>,
    /// The ack, from the moment the peer proved itself until it may be sent.
    ack: Vec<u8>,
    /// What the peer said behind its proof while the ack waits.
    early: Vec<u8>,
    state: State,
    peer: Option<Peer>,
}

/// What is known of the peer once its name came.
#[derive(Debug)]
struct Peer {
    /// Its name; `None` while it is to be given one.
    name: Option<NodeName>,
    flags: Flags,
    creation: Option<Creation>,
    applicant: Applicant,
    cookie: Option<Cookie>,
    replaces_link: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Name,
    Decision,
    AliveReply,
    Complement,
    Reply,
    OldLink,
    Held,
    Over,
}

impl Acceptor {
    /// Starts a handshake on a connection that was accepted at `now`.
    #[must_use]
    pub fn new(mut config: AcceptorConfig, now: Instant) -> Acceptor {
        config.flags = config.flags.without(Flags::NAME_ME);
        Acceptor {
            clock: Clock::start(config.timeouts, now),
            reader: MessageReader::new(config.prefix),
            output: Vec::new(),
            ack: Vec::new(),
            early: Vec::new(),
            state: State::Name,
            peer: None,
            config,
        }
    }

    /// Takes the bytes that arrived. `is_ours` tells whether a challenge is one that this node
    /// has sent in any handshake that is not over; such a challenge is refused, because whoever
    /// sends it wants us to answer ourselves.
    ///
    /// # Errors
    ///
    /// When the peer breaks the protocol or fails to prove itself, or time is up; the handshake
    /// is then over. The output may hold a last status for the peer.
    pub fn receive(
        &mut self,
        now: Instant,
        mut bytes: &[u8],
        is_ours: impl Fn(Challenge) -> bool,
    ) -> Result<AcceptorStep, HandshakeError> {
        self.expire(now)?;
        loop {
            let kind = match self.stage() {
                Stage::Message(kind) => kind,
                _ if bytes.is_empty() => return Ok(AcceptorStep::Continue),
                _ if matches!(self.state, State::OldLink | State::Held) => {
                    return match self.keep_early(bytes) {
                        Ok(()) => Ok(AcceptorStep::Continue),
                        Err(kind) => Err(self.fail(kind)),
                    };
                }
                _ => return Err(self.fail(HandshakeErrorKind::EarlyBytes)),
            };
            let body = match self.reader.read(&mut bytes, kind.bytes_max()) {
                Ok(Some(body)) => body,
                Ok(None) => return Ok(AcceptorStep::Continue),
                Err(error) => return Err(self.fail(HandshakeErrorKind::Message(error))),
            };
            let step = match kind {
                MessageKind::SendName => self.name(&body),
                MessageKind::StatusReply => self.alive_reply(now, &body),
                MessageKind::Complement => self.complement(&body),
                _ => self.reply(now, &body, bytes, &is_ours),
            };
            match step {
                Ok(AcceptorStep::Continue) => {}
                Ok(
                    step @ (AcceptorStep::Established(_)
                    | AcceptorStep::ReplaceOldLink
                    | AcceptorStep::Proven),
                ) => return Ok(step),
                Ok(_) if !bytes.is_empty() => {
                    return Err(self.fail(HandshakeErrorKind::EarlyBytes));
                }
                Ok(step) => return Ok(step),
                Err(kind) => return Err(self.fail(kind)),
            }
        }
    }

    /// Answers [`AcceptorStep::Decide`].
    ///
    /// # Errors
    ///
    /// When nothing was asked, the answer does not fit the question, or time is up; the handshake
    /// is then over.
    pub fn decide(
        &mut self,
        now: Instant,
        decision: Decision,
    ) -> Result<AcceptorStep, HandshakeError> {
        self.expire(now)?;
        if self.state != State::Decision {
            return Err(self.fail(HandshakeErrorKind::Misused("no decision is open")));
        }
        let (accept, cookie) = match decision {
            Decision::Accept(accept, cookie) => (accept, cookie),
            Decision::Nok => return Ok(self.refuse(Some(Status::Nok))),
            Decision::NotAllowed => return Ok(self.refuse(Some(Status::NotAllowed))),
            Decision::Close => return Ok(self.refuse(None)),
        };
        match self.accept(now, &accept, cookie) {
            Ok(()) => Ok(AcceptorStep::Continue),
            Err(kind) => Err(self.fail(kind)),
        }
    }

    /// Answers [`AcceptorStep::ReplaceOldLink`] and [`AcceptorStep::Proven`]: nothing is in the
    /// way any more, the peer may begin.
    ///
    /// # Errors
    ///
    /// When nothing was asked, or time is up; the handshake is then over.
    pub fn acknowledge(&mut self, now: Instant) -> Result<AcceptorStep, HandshakeError> {
        self.expire(now)?;
        if !matches!(self.state, State::OldLink | State::Held) {
            return Err(self.fail(HandshakeErrorKind::Misused("no ack is held")));
        }
        let early = std::mem::take(&mut self.early);
        self.establish(&early).map_err(|kind| self.fail(kind))
    }

    /// The peer closed the connection: what that means at this stage.
    #[must_use]
    pub fn closed(&mut self) -> HandshakeError {
        self.fail(HandshakeErrorKind::Closed)
    }

    /// When [`expire`](Acceptor::expire) is due.
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
            State::Name => Stage::Message(MessageKind::SendName),
            State::Decision => Stage::Owner,
            State::AliveReply => Stage::Message(MessageKind::StatusReply),
            State::Complement => Stage::Message(MessageKind::Complement),
            State::Reply => Stage::Message(MessageKind::ChallengeReply),
            State::OldLink => Stage::OldLink,
            State::Held => Stage::Owner,
            State::Over => Stage::Over,
        }
    }

    /// The peer's name, once it gave one or was given one. Until the handshake is through it is
    /// only a claim.
    #[must_use]
    pub fn peer(&self) -> Option<&NodeName> {
        self.peer.as_ref()?.name.as_ref()
    }

    // OTP: dist_util.erl, handshake_other_started/1.
    fn name(&mut self, body: &[u8]) -> Result<AcceptorStep, HandshakeErrorKind> {
        let message = SendName::decode(body).map_err(HandshakeErrorKind::Message)?;
        let claim = match self.claim(&message) {
            Ok(claim) => claim,
            Err(error) => {
                if error.deserves_status() {
                    Status::Nok.encode(self.config.prefix, &mut self.output);
                }
                return Err(bad_name(message.name, error));
            }
        };
        // The old form has only the low half; the complement brings what is to be checked next.
        let flags = match message.creation {
            Some(_) => message.flags,
            None => message.flags.with(Flags::from_bits(Flags::MANDATORY.bits() >> 32 << 32)),
        };
        let name = match &claim {
            Claim::Node(name) => Some(name.clone()),
            Claim::NameMe { .. } => None,
        };
        let own_name = name.as_ref() == Some(&self.config.local);
        let applicant = Applicant { claim, flags: message.flags, creation: message.creation };
        self.peer = Some(Peer {
            name,
            flags: message.flags,
            creation: message.creation,
            applicant: applicant.clone(),
            cookie: None,
            replaces_link: false,
        });
        if own_name {
            Status::Nok.encode(self.config.prefix, &mut self.output);
            return Err(HandshakeErrorKind::OwnName);
        }
        if let Err(kind) = check_mandatory(self.config.flags, flags) {
            Status::NotAllowed.encode(self.config.prefix, &mut self.output);
            return Err(kind);
        }
        self.state = State::Decision;
        Ok(AcceptorStep::Decide(applicant))
    }

    fn claim(&self, message: &SendName<'_>) -> Result<Claim, NameError> {
        // The old form, being older than dynamic names, cannot ask for one.
        if message.creation.is_some() && message.flags.name_me() {
            if message.name.len() > super::NAME_CHARS_MAX {
                return Err(NameError::TooLong { length_chars: message.name.len() });
            }
            let host = latin1_text(message.name);
            check_host(&host)?;
            return Ok(Claim::NameMe { host });
        }
        NodeName::from_latin1(message.name).map(Claim::Node)
    }

    fn refuse(&mut self, status: Option<Status<'_>>) -> AcceptorStep {
        if let Some(status) = status {
            status.encode(self.config.prefix, &mut self.output);
        }
        self.state = State::Over;
        AcceptorStep::Close
    }

    fn accept(
        &mut self,
        now: Instant,
        accept: &Accept,
        cookie: Cookie,
    ) -> Result<(), HandshakeErrorKind> {
        let peer = self.peer.as_mut().ok_or(HandshakeErrorKind::Misused("no peer has come"))?;
        peer.cookie = Some(cookie);
        let status = match (accept, &peer.applicant.claim) {
            (Accept::Named { name, creation }, Claim::NameMe { host }) if name.host() == host => {
                // The flag has to survive the intersection: an OTP initiator crashes without it.
                // OTP does not show itself to a node that it named.
                self.config.flags =
                    self.config.flags.with(Flags::NAME_ME).without(Flags::PUBLISHED);
                peer.name = Some(name.clone());
                peer.creation = Some(*creation);
                Status::Named { name: name.as_str(), creation: *creation }
            }
            (Accept::Named { .. }, Claim::NameMe { .. }) => {
                return Err(HandshakeErrorKind::Misused("the name is on another host"));
            }
            (Accept::Ok, Claim::Node(_)) => Status::Ok,
            (Accept::OkSimultaneous, Claim::Node(_)) => Status::OkSimultaneous,
            (Accept::Alive, Claim::Node(_)) => Status::Alive,
            (_, Claim::NameMe { .. }) => {
                return Err(HandshakeErrorKind::Misused("the peer asked for a name"));
            }
            (_, Claim::Node(_)) => {
                return Err(HandshakeErrorKind::Misused("the peer has a name"));
            }
        };
        status.encode(self.config.prefix, &mut self.output);
        self.clock.next_stage(now);
        if *accept == Accept::Alive {
            peer.replaces_link = true;
            self.state = State::AliveReply;
        } else {
            self.send_challenge(now);
        }
        Ok(())
    }

    fn alive_reply(
        &mut self,
        now: Instant,
        body: &[u8],
    ) -> Result<AcceptorStep, HandshakeErrorKind> {
        match Status::decode(body).map_err(HandshakeErrorKind::Message)? {
            Status::True => {
                self.send_challenge(now);
                Ok(AcceptorStep::Continue)
            }
            Status::False => Err(HandshakeErrorKind::AttemptWithdrawn),
            status => Err(HandshakeErrorKind::UnexpectedStatus { came: status.text() }),
        }
    }

    fn send_challenge(&mut self, now: Instant) {
        ChallengeMessage {
            flags: self.config.flags,
            challenge: self.config.challenge,
            creation: self.config.creation,
            name: &self.config.local.latin1(),
        }
        .encode(self.config.prefix, &mut self.output);
        self.clock.next_stage(now);
        let old_form = self.peer.as_ref().is_some_and(|peer| peer.creation.is_none());
        self.state = if old_form { State::Complement } else { State::Reply };
    }

    // OTP: dist_util.erl, recv_complement/1.
    fn complement(&mut self, body: &[u8]) -> Result<AcceptorStep, HandshakeErrorKind> {
        let complement = Complement::decode(body).map_err(HandshakeErrorKind::Message)?;
        if let Some(peer) = &mut self.peer {
            peer.flags = peer.flags.with(Flags::from_bits(u64::from(complement.flags_high) << 32));
            peer.creation = Some(complement.creation);
            check_mandatory(self.config.flags, peer.flags)?;
        }
        self.state = State::Reply;
        Ok(AcceptorStep::Continue)
    }

    // OTP: dist_util.erl, recv_challenge_reply/3.
    fn reply(
        &mut self,
        now: Instant,
        body: &[u8],
        leftover: &[u8],
        is_ours: &impl Fn(Challenge) -> bool,
    ) -> Result<AcceptorStep, HandshakeErrorKind> {
        let reply = ChallengeReply::decode(body).map_err(HandshakeErrorKind::Message)?;
        let Some(peer) = &self.peer else {
            return Err(HandshakeErrorKind::Misused("no peer has come"));
        };
        let Some(cookie) = &peer.cookie else {
            return Err(HandshakeErrorKind::Misused("no cookie was given"));
        };
        if reply.challenge == self.config.challenge || is_ours(reply.challenge) {
            return Err(HandshakeErrorKind::ReflectedChallenge);
        }
        if !cookie.verifies(self.config.challenge, &reply.digest) {
            return Err(HandshakeErrorKind::CookieMismatch);
        }
        // Only now has the peer proven anything: the ack is ready, and goes out once nothing is in
        // the way.
        ChallengeAck { digest: cookie.digest(reply.challenge) }
            .encode(self.config.prefix, &mut self.ack);
        if peer.replaces_link {
            self.clock.next_stage(now);
            self.state = State::OldLink;
            self.keep_early(leftover)?;
            return Ok(AcceptorStep::ReplaceOldLink);
        }
        if self.config.holds_ack {
            self.clock.next_stage(now);
            self.state = State::Held;
            self.keep_early(leftover)?;
            return Ok(AcceptorStep::Proven);
        }
        self.establish(leftover)
    }

    /// Keeps what came before the ack: a node with lanes says its hello right behind its proof.
    fn keep_early(&mut self, bytes: &[u8]) -> Result<(), HandshakeErrorKind> {
        let theirs = self.peer.as_ref().map_or(Flags::NONE, |peer| peer.flags);
        let has_lanes = Flags::negotiate(self.config.flags, theirs).fabric();
        if !bytes.is_empty() && !has_lanes || self.early.len() + bytes.len() > EARLY_BYTES_MAX {
            return Err(HandshakeErrorKind::EarlyBytes);
        }
        self.early.extend_from_slice(bytes);
        Ok(())
    }

    fn establish(&mut self, leftover: &[u8]) -> Result<AcceptorStep, HandshakeErrorKind> {
        let Some(Peer {
            name: Some(name),
            creation: Some(creation),
            flags,
            cookie: Some(cookie),
            ..
        }) = &self.peer
        else {
            return Err(HandshakeErrorKind::Misused("the peer is not known yet"));
        };
        let established = Established {
            peer: name.clone(),
            flags: Flags::negotiate(self.config.flags, *flags),
            peer_flags: *flags,
            peer_creation: *creation,
            cookie: cookie.clone(),
            assigned: None,
            leftover: leftover.to_vec(),
        };
        self.output.append(&mut self.ack);
        self.state = State::Over;
        Ok(AcceptorStep::Established(Box::new(established)))
    }

    fn fail(&mut self, kind: HandshakeErrorKind) -> HandshakeError {
        let stage = self.stage();
        self.state = State::Over;
        HandshakeError { peer: self.peer().cloned(), stage, kind }
    }
}
