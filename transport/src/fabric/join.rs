//! How a connection becomes the socket of a lane: at the session's start, and again whenever the
//! lane's socket broke.
//!
//! ```text
//! initiator                                             acceptor
//!     │ join       session, lane, epoch, nonce, position   │
//!     │ ──────────────────────────────────────────────────▶│ asks its owner, who detaches
//!     │ welcome    nonce, position, proof                  │ the lane's old socket first
//!     │◀────────────────────────────────────────────────── │
//!  verifies                                                │
//!     │ confirm    proof                                   │
//!     │ frames ───────────────────────────────────────────▶│ verifies, then reads and
//!     │◀──────────────────────────────────────────── frames│ writes frames
//! ```
//!
//! "Initiator" is the node that dialled the session's first link; it alone ever joins. Both
//! proofs cover both nonces, so nothing of one join is of use in another.

use std::fmt;
use std::time::{Duration, Instant};

use super::error::{FabricError, FabricMessage, MalformedMessage, Refusal};
use super::hello::SessionId;
use super::mac::{Credentials, Mac, Nonce, Statement};
use super::wire::{self, Fields, MARK};
use super::{Epoch, LaneId, Role};
use crate::handshake::LengthPrefix;
use crate::handshake::message::MessageReader;

/// How long one join may take, from its connection's start: less than the time a session survives
/// a broken lane, so that another try fits in.
pub const JOIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Most bytes a `join` of any version may have.
const JOIN_BYTES_MAX: usize = 256;
/// Most bytes any other message may have.
const ANSWER_BYTES_MAX: usize = 128;

/// Whether an accepted connection begins with a join rather than with a handshake: the third byte
/// tells. `None` as long as it has not come.
#[must_use]
pub fn is_join(received: &[u8]) -> Option<bool> {
    received.get(2).map(|first| *first == MARK)
}

/// What a `join` asks for. Nothing of it is proven before the `confirm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The version of the fabric.
    pub version: u8,
    /// The session.
    pub session: SessionId,
    /// The lane to be connected.
    pub lane: LaneId,
    /// Which of the lane's connections it would be.
    pub epoch: Epoch,
    /// The position in the lane's stream up to which the initiator received.
    pub received: u64,
}

/// What a [`JoinInitiator`] is told at its start.
#[derive(Clone, Debug)]
pub struct JoinConfig {
    /// Who joins whom, and the secret both know.
    pub credentials: Credentials,
    /// What is asked for.
    pub ask: Ask,
    /// Our nonce.
    pub nonce: Nonce,
    /// How long it may take.
    pub timeout: Duration,
}

/// What the owner of a [`JoinInitiator`] has to do, after it wrote the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinStep {
    /// Read on.
    Continue,
    /// The connection is the lane's: frames may follow the output at once.
    Joined {
        /// The position up to which the acceptor received.
        peer_received: u64,
    },
}

/// The side that joins.
#[derive(Debug)]
pub struct JoinInitiator {
    config: JoinConfig,
    join: Vec<u8>,
    reader: MessageReader,
    output: Vec<u8>,
    ends: Instant,
    over: bool,
}

impl JoinInitiator {
    /// Starts on a fresh connection; the output then holds the `join`. `now` is when it was
    /// dialled: connecting counts.
    #[must_use]
    pub fn new(config: JoinConfig, now: Instant) -> JoinInitiator {
        let mut output = Vec::new();
        encode_join(&config.ask, &config.nonce, &mut output);
        JoinInitiator {
            join: output[2..].to_vec(),
            reader: MessageReader::new(LengthPrefix::Two),
            output,
            ends: now + config.timeout,
            over: false,
            config,
        }
    }

    /// Takes the bytes that arrived.
    ///
    /// # Errors
    ///
    /// When the peer refuses, fails to prove itself or breaks the protocol, or time is up; the
    /// connection has to be closed then.
    pub fn receive(&mut self, now: Instant, mut bytes: &[u8]) -> Result<JoinStep, FabricError> {
        self.expire(now)?;
        if self.over {
            return Err(FabricError::Misused("the join is over"));
        }
        let expected = FabricMessage::Welcome;
        let read = wire::read_message(&mut self.reader, &mut bytes, expected, ANSWER_BYTES_MAX);
        let step = match read {
            Ok(None) => return Ok(JoinStep::Continue),
            // The acceptor may not send a frame before it has our proof.
            Ok(Some(_)) if !bytes.is_empty() => Err(FabricError::EarlyBytes),
            Ok(Some(body)) => self.answer(&body),
            Err(error) => Err(error),
        };
        self.over = true;
        step
    }

    /// The peer closed the connection.
    #[must_use]
    pub fn closed(&mut self) -> FabricError {
        self.over = true;
        FabricError::Closed { expected: FabricMessage::Welcome }
    }

    /// When [`expire`](JoinInitiator::expire) is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.ends
    }

    /// Checks the time.
    ///
    /// # Errors
    ///
    /// When it took too long; the connection has to be closed then.
    pub fn expire(&mut self, now: Instant) -> Result<(), FabricError> {
        if now < self.ends || self.over {
            return Ok(());
        }
        self.over = true;
        let limit = self.config.timeout;
        Err(FabricError::Timeout { expected: FabricMessage::Welcome, limit })
    }

    /// The bytes to write now; taking them empties the buffer.
    #[must_use]
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    fn answer(&mut self, body: &[u8]) -> Result<JoinStep, FabricError> {
        let malformed = |error| FabricError::Message { expected: FabricMessage::Welcome, error };
        if body.starts_with(&[MARK, wire::kind::REFUSED]) {
            let refusal = decode_refused(body).map_err(malformed)?;
            return Err(FabricError::Refused(refusal));
        }
        let (nonce_a, received_a, mac) = decode_welcome(body).map_err(malformed)?;
        if nonce_a == self.config.nonce {
            return Err(FabricError::ReflectedNonce);
        }
        let statement = Statement { join: &self.join, nonce_a: &nonce_a, received_a };
        if !self.config.credentials.verifies(Role::Acceptor, statement, &mac) {
            return Err(FabricError::NotAuthentic);
        }
        let Mac(proof) = self.config.credentials.prove(Role::Initiator, statement);
        wire::framed(LengthPrefix::Two, wire::kind::CONFIRM, &mut self.output, |output| {
            output.extend_from_slice(&proof);
        });
        Ok(JoinStep::Joined { peer_received: received_a })
    }
}

/// What the owner of a [`JoinAcceptor`] has to do, after it wrote the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptStep {
    /// Read on.
    Continue,
    /// Somebody asks to join: find the session and call [`admit`](JoinAcceptor::admit) or
    /// [`refuse`](JoinAcceptor::refuse).
    Ask(Ask),
    /// The connection is the lane's.
    Joined {
        /// What came after the `confirm`: the start of the first frame.
        leftover: Vec<u8>,
    },
}

/// The side that is joined.
pub struct JoinAcceptor {
    reader: MessageReader,
    output: Vec<u8>,
    nonce: Nonce,
    timeout: Duration,
    ends: Instant,
    state: AcceptState,
}

enum AcceptState {
    Join,
    Owner { join: Vec<u8> },
    Confirm { join: Vec<u8>, credentials: Box<Credentials>, received: u64 },
    Over,
}

impl fmt::Debug for JoinAcceptor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JoinAcceptor").field("expected", &self.expected()).finish()
    }
}

impl JoinAcceptor {
    /// Starts on a connection accepted at `now`, with a nonce of ours.
    #[must_use]
    pub fn new(nonce: Nonce, timeout: Duration, now: Instant) -> JoinAcceptor {
        JoinAcceptor {
            reader: MessageReader::new(LengthPrefix::Two),
            output: Vec::new(),
            nonce,
            timeout,
            ends: now + timeout,
            state: AcceptState::Join,
        }
    }

    /// Takes the bytes that arrived, from the connection's first on.
    ///
    /// # Errors
    ///
    /// When the peer breaks the protocol or fails to prove itself, or time is up; the connection
    /// has to be closed then. The output may hold a refusal.
    pub fn receive(&mut self, now: Instant, mut bytes: &[u8]) -> Result<AcceptStep, FabricError> {
        self.expire(now)?;
        let (expected, limit_bytes) = match self.state {
            AcceptState::Join => (FabricMessage::Join, JOIN_BYTES_MAX),
            AcceptState::Confirm { .. } => (FabricMessage::Confirm, ANSWER_BYTES_MAX),
            AcceptState::Owner { .. } | AcceptState::Over if bytes.is_empty() => {
                return Ok(AcceptStep::Continue);
            }
            AcceptState::Owner { .. } => return Err(self.fail(FabricError::EarlyBytes)),
            AcceptState::Over => return Err(FabricError::Misused("the join is over")),
        };
        let step = match wire::read_message(&mut self.reader, &mut bytes, expected, limit_bytes) {
            Ok(None) => return Ok(AcceptStep::Continue),
            Ok(Some(body)) if expected == FabricMessage::Join => self.join(body, bytes),
            Ok(Some(body)) => self.confirm(&body, bytes),
            Err(error) => Err(error),
        };
        step.map_err(|error| self.fail(error))
    }

    /// Lets the peer in: `received` is the position up to which the lane's stream was received. No
    /// byte of an older connection of the lane may count after that.
    ///
    /// # Errors
    ///
    /// When nobody asked, or time is up.
    pub fn admit(
        &mut self,
        now: Instant,
        credentials: Credentials,
        received: u64,
    ) -> Result<(), FabricError> {
        self.expire(now)?;
        let AcceptState::Owner { join } = &mut self.state else {
            return Err(self.fail(FabricError::Misused("nobody asked to join")));
        };
        let join = std::mem::take(join);
        let statement = Statement { join: &join, nonce_a: &self.nonce, received_a: received };
        let Mac(proof) = credentials.prove(Role::Acceptor, statement);
        wire::framed(LengthPrefix::Two, wire::kind::WELCOME, &mut self.output, |output| {
            output.extend_from_slice(&self.nonce);
            output.extend_from_slice(&received.to_le_bytes());
            output.extend_from_slice(&proof);
        });
        let credentials = Box::new(credentials);
        self.state = AcceptState::Confirm { join, credentials, received };
        Ok(())
    }

    /// Refuses the peer: write the output, then close the connection.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.state = AcceptState::Over;
        encode_refused(refusal, &mut self.output);
    }

    /// The peer closed the connection.
    #[must_use]
    pub fn closed(&mut self) -> FabricError {
        let expected = self.expected();
        self.fail(FabricError::Closed { expected })
    }

    /// When [`expire`](JoinAcceptor::expire) is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.ends
    }

    /// Checks the time.
    ///
    /// # Errors
    ///
    /// When it took too long; the connection has to be closed then.
    pub fn expire(&mut self, now: Instant) -> Result<(), FabricError> {
        if now < self.ends || matches!(self.state, AcceptState::Over) {
            return Ok(());
        }
        let expected = self.expected();
        Err(self.fail(FabricError::Timeout { expected, limit: self.timeout }))
    }

    /// The bytes to write now; taking them empties the buffer.
    #[must_use]
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    fn expected(&self) -> FabricMessage {
        match self.state {
            AcceptState::Join => FabricMessage::Join,
            _ => FabricMessage::Confirm,
        }
    }

    fn join(&mut self, body: Vec<u8>, leftover: &[u8]) -> Result<AcceptStep, FabricError> {
        if !leftover.is_empty() {
            return Err(FabricError::EarlyBytes);
        }
        let ask = match decode_join(&body) {
            Ok((ask, nonce_i)) if nonce_i != self.nonce => ask,
            Ok(_) => return Err(FabricError::ReflectedNonce),
            Err(JoinError::Version) => {
                encode_refused(Refusal::Version, &mut self.output);
                let error = MalformedMessage::BadField {
                    field: "version",
                    came: body.get(2).copied().unwrap_or_default().into(),
                };
                return Err(FabricError::Message { expected: FabricMessage::Join, error });
            }
            Err(JoinError::Malformed(error)) => {
                return Err(FabricError::Message { expected: FabricMessage::Join, error });
            }
        };
        self.state = AcceptState::Owner { join: body };
        Ok(AcceptStep::Ask(ask))
    }

    fn confirm(&mut self, body: &[u8], leftover: &[u8]) -> Result<AcceptStep, FabricError> {
        let AcceptState::Confirm { join, credentials, received } = &self.state else {
            return Err(FabricError::Misused("a proof in another state"));
        };
        let mac = decode_confirm(body)
            .map_err(|error| FabricError::Message { expected: FabricMessage::Confirm, error })?;
        let statement = Statement { join, nonce_a: &self.nonce, received_a: *received };
        if !credentials.verifies(Role::Initiator, statement, &mac) {
            return Err(FabricError::NotAuthentic);
        }
        self.state = AcceptState::Over;
        Ok(AcceptStep::Joined { leftover: leftover.to_vec() })
    }

    fn fail(&mut self, error: FabricError) -> FabricError {
        self.state = AcceptState::Over;
        error
    }
}

fn encode_join(ask: &Ask, nonce: &Nonce, output: &mut Vec<u8>) {
    wire::framed(LengthPrefix::Two, wire::kind::JOIN, output, |output| {
        output.extend_from_slice(&[ask.version, ask.lane.0]);
        output.extend_from_slice(&ask.epoch.0.to_le_bytes());
        output.extend_from_slice(&ask.session.0);
        output.extend_from_slice(nonce);
        output.extend_from_slice(&ask.received.to_le_bytes());
    });
}

enum JoinError {
    Version,
    Malformed(MalformedMessage),
}

impl From<MalformedMessage> for JoinError {
    fn from(error: MalformedMessage) -> JoinError {
        JoinError::Malformed(error)
    }
}

fn decode_join(body: &[u8]) -> Result<(Ask, Nonce), JoinError> {
    let mut fields = Fields::of(body, wire::kind::JOIN)?;
    let version = fields.u8()?;
    // Before anything else is read: another version may have other fields.
    if !super::VERSIONS.contains(&version) {
        return Err(JoinError::Version);
    }
    let lane = LaneId(fields.u8()?);
    let epoch = Epoch(fields.u32()?);
    let session = SessionId(fields.array()?);
    let nonce = fields.array()?;
    let received = fields.u64()?;
    fields.end()?;
    Ok((Ask { version, session, lane, epoch, received }, nonce))
}

fn decode_welcome(body: &[u8]) -> Result<(Nonce, u64, Mac), MalformedMessage> {
    let mut fields = Fields::of(body, wire::kind::WELCOME)?;
    let welcome = (fields.array()?, fields.u64()?, Mac(fields.array()?));
    fields.end()?;
    Ok(welcome)
}

fn decode_confirm(body: &[u8]) -> Result<Mac, MalformedMessage> {
    let mut fields = Fields::of(body, wire::kind::CONFIRM)?;
    let mac = Mac(fields.array()?);
    fields.end()?;
    Ok(mac)
}

fn encode_refused(refusal: Refusal, output: &mut Vec<u8>) {
    wire::framed(LengthPrefix::Two, wire::kind::REFUSED, output, |output| {
        output.push(refusal.code());
    });
}

fn decode_refused(body: &[u8]) -> Result<Refusal, MalformedMessage> {
    let mut fields = Fields::of(body, wire::kind::REFUSED)?;
    let code = fields.u8()?;
    fields.end()?;
    Refusal::from_code(code).ok_or(MalformedMessage::BadField { field: "code", came: code.into() })
}
