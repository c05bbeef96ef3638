//! What happens on the first link between the handshake and the first frame.
//!
//! ```text
//! initiator                                            acceptor
//!     │ hello                                             │
//!     │ ─────────────────────────────────────────────────▶│ agrees, expects joins
//!     │ hello                                             │
//!     │◀───────────────────────────────────────────────── │
//!  agrees, joins all lanes on connections of their own    │
//!     │ lanes              those that got through         │
//!     │ ─────────────────────────────────────────────────▶│ waits until it has them too
//!     │ lanes_ok                                          │
//!     │◀───────────────────────────────────────────────── │
//! ```
//!
//! The acceptor's hello answers the initiator's, so a join never comes to an acceptor that does
//! not know its session yet. When no lane is to be joined the hellos are all there is.

use std::time::{Duration, Instant};

use super::error::{FabricError, FabricMessage, MalformedMessage, Refusal};
use super::hello::{Agreed, Agreement, HELLO_BYTES_MAX, Hello, agree};
use super::join::Ask;
use super::wire::{self, Fields};
use super::{Epoch, LaneId, LaneSet, Role};
use crate::handshake::LengthPrefix;
use crate::handshake::message::MessageReader;

/// Most bytes of any message behind the hellos.
const SHORT_MESSAGE_BYTES_MAX: usize = 64;

/// How long settling may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettleTimeouts {
    /// The time for each message of the peer.
    pub message: Duration,
    /// The time in which lanes have to be joined; those that take longer are left out.
    pub joins: Duration,
}

impl Default for SettleTimeouts {
    fn default() -> SettleTimeouts {
        SettleTimeouts { message: Duration::from_secs(7), joins: Duration::from_secs(1) }
    }
}

/// What the owner of a [`Settling`] has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleStep {
    /// Write the output, read on.
    Continue,
    /// The peer speaks no version that this node does: write the output, then go on as with any
    /// node of OTP.
    Plain {
        /// What came after the peer's hello: the start of the first frame.
        leftover: Vec<u8>,
    },
    /// Both agree, and lanes are to be joined: [`Agreement::joins`].
    ///
    /// The initiator writes the output and joins them all at once, each with epoch 1, and tells of
    /// each with [`joined`](Settling::joined) or [`failed`](Settling::failed). The acceptor first
    /// makes sure that joins of this session find their way to [`ask`](Settling::ask), then writes
    /// the output.
    Agreed(Box<Agreement>),
    /// The session begins: write the output, then read and write frames. If lane 0 moved to a
    /// connection of its own, close this one once the output is written.
    Settled(Box<Settled>),
}

/// A session that is agreed on and whose lanes are connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// What was agreed on.
    pub agreement: Agreement,
    /// The lanes there are, lane 0 always among them. The list stays for the whole session.
    pub lanes: LaneSet,
    /// Whether lane 0 is on the first link; if not, it was joined as the others were.
    pub lane0_on_first_link: bool,
    /// What came after the last message: the start of lane 0's first frame. Empty if lane 0 is
    /// not on this link.
    pub leftover: Vec<u8>,
}

/// One side of the talk on the first link.
#[derive(Debug)]
pub struct Settling {
    role: Role,
    hello: Hello,
    timeouts: SettleTimeouts,
    reader: MessageReader,
    output: Vec<u8>,
    state: State,
    ends: Instant,
}

#[derive(Debug)]
enum State {
    /// The peer's hello has to come.
    Hello,
    /// The initiator's lanes are being joined.
    Joins {
        agreement: Box<Agreement>,
        joined: LaneSet,
        open: LaneSet,
    },
    /// The initiator's list was sent.
    Listed {
        agreement: Box<Agreement>,
        joined: LaneSet,
    },
    /// The acceptor expects joins and the list of those that count.
    Joining {
        agreement: Box<Agreement>,
        joined: LaneSet,
        lost: LaneSet,
        listed: Option<LaneSet>,
    },
    Over,
}

impl Settling {
    /// Starts on a link whose handshake is over; the initiator's output then holds its hello.
    /// `role` is this node's in the handshake.
    #[must_use]
    pub fn new(role: Role, ours: Hello, timeouts: SettleTimeouts, now: Instant) -> Settling {
        let mut output = Vec::new();
        if role == Role::Initiator {
            ours.encode(&mut output);
        }
        Settling {
            role,
            hello: ours,
            timeouts,
            reader: MessageReader::new(LengthPrefix::Four),
            output,
            state: State::Hello,
            ends: now + timeouts.message,
        }
    }

    /// Takes the bytes that arrived.
    ///
    /// # Errors
    ///
    /// When the peer breaks the protocol or time is up; the link has to be closed then, and with
    /// it every lane that was joined.
    pub fn receive(&mut self, now: Instant, mut bytes: &[u8]) -> Result<SettleStep, FabricError> {
        // Before the time is looked at: what comes now cannot answer a list that is not written.
        if self.expected().is_none() && !bytes.is_empty() {
            return Err(self.fail(FabricError::EarlyBytes));
        }
        self.expire(now)?;
        loop {
            let Some(expected) = self.expected() else { return Ok(SettleStep::Continue) };
            let limit_bytes = match expected {
                FabricMessage::Hello => HELLO_BYTES_MAX,
                _ => SHORT_MESSAGE_BYTES_MAX,
            };
            let read = wire::read_message(&mut self.reader, &mut bytes, expected, limit_bytes);
            let step = match read {
                Ok(None) => return Ok(SettleStep::Continue),
                Ok(Some(body)) => match expected {
                    FabricMessage::Hello => self.hello(now, &body, bytes),
                    FabricMessage::Lanes => self.lanes(now, &body, bytes),
                    _ => self.lanes_ok(&body, bytes),
                },
                Err(error) => Err(error),
            };
            match step {
                Ok(SettleStep::Continue) => {}
                Ok(SettleStep::Agreed(_)) if !bytes.is_empty() => {
                    return Err(self.fail(FabricError::EarlyBytes));
                }
                Ok(step) => return Ok(step),
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    /// A join got through: the initiator verified the `welcome`, or the acceptor the `confirm`.
    /// `None` when it came too late, or a second time: close its connection, and as the initiator
    /// do not write the `confirm` before.
    ///
    /// # Errors
    ///
    /// As [`failed`](Settling::failed).
    pub fn joined(
        &mut self,
        now: Instant,
        lane: LaneId,
    ) -> Result<Option<SettleStep>, FabricError> {
        let counts = match &mut self.state {
            State::Joins { joined, open, .. } => open.remove(lane) && joined.insert(lane),
            State::Joining { agreement, joined, lost, listed } => {
                lost.remove(lane);
                let wanted = listed.is_none_or(|listed| listed.contains(lane));
                wanted && agreement.join_range().contains(&lane.0) && joined.insert(lane)
            }
            _ => false,
        };
        if counts { self.advance(now).map(Some) } else { Ok(None) }
    }

    /// A join ended before it got through.
    ///
    /// # Errors
    ///
    /// When it ended at the acceptor, and the initiator counts it as joined; the link has to be
    /// closed then.
    pub fn failed(&mut self, now: Instant, lane: LaneId) -> Result<SettleStep, FabricError> {
        match &mut self.state {
            State::Joins { open, .. } => {
                open.remove(lane);
            }
            State::Joining { joined, lost, .. } if !joined.contains(lane) => {
                lost.insert(lane);
            }
            _ => {}
        }
        self.advance(now)
    }

    /// The acceptor's answer to a join of this session: it is let in, with position 0, or refused.
    ///
    /// # Errors
    ///
    /// The refusal to send.
    pub fn ask(&self, ask: &Ask) -> Result<(), Refusal> {
        match &self.state {
            State::Joining { agreement, .. } if agreement.session != ask.session => {
                Err(Refusal::UnknownSession)
            }
            State::Joining { agreement, .. } if agreement.version != ask.version => {
                Err(Refusal::Version)
            }
            State::Joining { agreement, joined, .. } => match ask.lane {
                lane if !agreement.join_range().contains(&lane.0) => Err(Refusal::UnknownLane),
                lane if joined.contains(lane) => Err(Refusal::StaleEpoch),
                // The first connection of a lane: nothing came before it.
                _ if (ask.epoch, ask.received) != (Epoch(1), 0) => Err(Refusal::StaleEpoch),
                _ => Ok(()),
            },
            _ => Err(Refusal::UnknownSession),
        }
    }

    /// The peer closed the connection.
    #[must_use]
    pub fn closed(&mut self) -> FabricError {
        let expected = self.awaited();
        self.fail(FabricError::Closed { expected })
    }

    /// When [`expire`](Settling::expire) is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.ends
    }

    /// Checks the time. The initiator's lanes that are not through by then are left out: close
    /// their connections.
    ///
    /// # Errors
    ///
    /// When the peer took too long; the link has to be closed then.
    pub fn expire(&mut self, now: Instant) -> Result<SettleStep, FabricError> {
        if now < self.ends {
            return Ok(SettleStep::Continue);
        }
        match &mut self.state {
            State::Joins { open, .. } => {
                *open = LaneSet::EMPTY;
                self.advance(now)
            }
            State::Over => Ok(SettleStep::Continue),
            _ => {
                let expected = self.awaited();
                let limit = self.timeouts.message;
                Err(self.fail(FabricError::Timeout { expected, limit }))
            }
        }
    }

    /// The bytes to write now; taking them empties the buffer.
    #[must_use]
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether it is over, well or not.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The message that may come now.
    fn expected(&self) -> Option<FabricMessage> {
        match &self.state {
            State::Hello => Some(FabricMessage::Hello),
            State::Listed { .. } => Some(FabricMessage::LanesOk),
            State::Joining { listed: None, .. } => Some(FabricMessage::Lanes),
            State::Joins { .. } | State::Joining { .. } | State::Over => None,
        }
    }

    /// What the end of the connection, or of the time, keeps from coming.
    fn awaited(&self) -> FabricMessage {
        match &self.state {
            State::Hello => FabricMessage::Hello,
            State::Joins { .. } => FabricMessage::Welcome,
            State::Joining { listed: None, .. } => FabricMessage::Lanes,
            State::Joining { .. } => FabricMessage::Confirm,
            State::Listed { .. } | State::Over => FabricMessage::LanesOk,
        }
    }

    fn hello(
        &mut self,
        now: Instant,
        body: &[u8],
        leftover: &[u8],
    ) -> Result<SettleStep, FabricError> {
        let theirs = Hello::decode(body)?;
        if theirs.session_half == self.hello.session_half {
            return Err(FabricError::ReflectedNonce);
        }
        if self.role == Role::Acceptor {
            self.hello.encode(&mut self.output);
        }
        let agreement = match agree(self.role, &self.hello, &theirs) {
            Agreed::Session(agreement) => agreement,
            Agreed::Plain => {
                self.state = State::Over;
                return Ok(SettleStep::Plain { leftover: leftover.to_vec() });
            }
        };
        let open: LaneSet = agreement.joins().collect();
        if open.is_empty() {
            return Ok(self.settle(*agreement, LaneSet::EMPTY, leftover));
        }
        let step = SettleStep::Agreed(agreement.clone());
        (self.state, self.ends) = match self.role {
            Role::Initiator => {
                let state = State::Joins { agreement, joined: LaneSet::EMPTY, open };
                (state, now + self.timeouts.joins)
            }
            Role::Acceptor => {
                let none = LaneSet::EMPTY;
                let state = State::Joining { agreement, joined: none, lost: none, listed: None };
                (state, now + self.timeouts.joins + self.timeouts.message)
            }
        };
        Ok(step)
    }

    /// Does what became possible by a join or by its end.
    fn advance(&mut self, now: Instant) -> Result<SettleStep, FabricError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Joins { agreement, joined, open } if open.is_empty() => {
                encode_lanes(joined, &mut self.output);
                self.state = State::Listed { agreement, joined };
                self.ends = now + self.timeouts.message;
                Ok(SettleStep::Continue)
            }
            State::Joining { agreement, joined, listed: Some(listed), .. }
                if joined.contains_all(listed) =>
            {
                wire::framed(LengthPrefix::Four, wire::kind::LANES_OK, &mut self.output, |_| {});
                Ok(self.settle(*agreement, listed, &[]))
            }
            state => {
                if let State::Joining { lost, listed: Some(listed), .. } = &state
                    && let Some(lane) = lost.iter().find(|lane| listed.contains(*lane))
                {
                    return Err(FabricError::LaneLost { lane: lane.0 });
                }
                self.state = state;
                Ok(SettleStep::Continue)
            }
        }
    }

    fn lanes(
        &mut self,
        now: Instant,
        body: &[u8],
        leftover: &[u8],
    ) -> Result<SettleStep, FabricError> {
        // The initiator sends its first frame behind the answer to this.
        if !leftover.is_empty() {
            return Err(FabricError::EarlyBytes);
        }
        let State::Joining { agreement, listed, .. } = &mut self.state else {
            return Err(FabricError::Misused("a list of lanes in another state"));
        };
        let lanes = decode_lanes(agreement, body)
            .map_err(|error| FabricError::Message { expected: FabricMessage::Lanes, error })?;
        *listed = Some(lanes);
        self.advance(now)
    }

    fn lanes_ok(&mut self, body: &[u8], leftover: &[u8]) -> Result<SettleStep, FabricError> {
        Fields::of(body, wire::kind::LANES_OK)
            .and_then(|fields| fields.end())
            .map_err(|error| FabricError::Message { expected: FabricMessage::LanesOk, error })?;
        let State::Listed { agreement, joined } = std::mem::replace(&mut self.state, State::Over)
        else {
            return Err(FabricError::Misused("an answer to no list"));
        };
        if joined.contains(LaneId(0)) && !leftover.is_empty() {
            return Err(FabricError::EarlyBytes);
        }
        Ok(self.settle(*agreement, joined, leftover))
    }

    fn settle(&mut self, agreement: Agreement, joined: LaneSet, leftover: &[u8]) -> SettleStep {
        self.state = State::Over;
        let mut lanes = joined;
        let lane0_on_first_link = lanes.insert(LaneId(0));
        SettleStep::Settled(Box::new(Settled {
            agreement,
            lanes,
            lane0_on_first_link,
            leftover: leftover.to_vec(),
        }))
    }

    fn fail(&mut self, error: FabricError) -> FabricError {
        self.state = State::Over;
        error
    }
}

fn encode_lanes(lanes: LaneSet, output: &mut Vec<u8>) {
    wire::framed(LengthPrefix::Four, wire::kind::LANES, output, |output| {
        output.push(lanes.len() as u8);
        output.extend(lanes.iter().map(|lane| lane.0));
    });
}

fn decode_lanes(agreement: &Agreement, body: &[u8]) -> Result<LaneSet, MalformedMessage> {
    let mut fields = Fields::of(body, wire::kind::LANES)?;
    let count = fields.u8()?;
    let mut lanes = LaneSet::EMPTY;
    for &lane in fields.take(usize::from(count))? {
        if !agreement.join_range().contains(&lane) || !lanes.insert(LaneId(lane)) {
            return Err(MalformedMessage::BadField { field: "lane", came: lane.into() });
        }
    }
    fields.end()?;
    Ok(lanes)
}
