//! What goes in and out of a [`Session`](super::Session).

use std::fmt;
use std::time::Instant;

use super::super::error::{FabricError, Refusal};
use super::super::{Epoch, LaneId};
use super::STALLED_RESUMES_MAX;

/// A join at the acceptor, named by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JoinId(pub u64);

/// What the owner of a [`Session`](super::Session) has to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionAction {
    /// The initiator connects a lane: where [`joins_unix`](super::Session::joins_unix) says, with
    /// an [`Ask`](super::super::Ask) of these fields. Answer with
    /// [`joined`](super::Session::joined) or [`dial_failed`](super::Session::dial_failed).
    Dial {
        /// The lane.
        lane: LaneId,
        /// The epoch of this try.
        epoch: Epoch,
        /// The position up to which the lane's stream was received here.
        received: u64,
    },
    /// Close a connection that was dialled, whatever its stage; no report about it is needed.
    Abort {
        /// The lane it was for.
        lane: LaneId,
        /// The epoch it would have had.
        epoch: Epoch,
    },
    /// Give the connection of a join to the lane's shard. The initiator's is that of its dial, the
    /// acceptor's that of `join`.
    Attach {
        /// The lane.
        lane: LaneId,
        /// The epoch the connection has.
        epoch: Epoch,
        /// The position up to which the peer received.
        peer_received: u64,
        /// The acceptor's join.
        join: Option<JoinId>,
    },
    /// The lane's shard has to let go of the socket of this epoch and report
    /// [`broken`](super::Session::broken). If it has done so already, that report is the answer.
    Detach {
        /// The lane.
        lane: LaneId,
        /// The epoch of the socket.
        epoch: Epoch,
    },
    /// Let a join in.
    Admit {
        /// The join.
        join: JoinId,
        /// The position up to which the lane's stream was received here.
        received: u64,
    },
    /// Refuse a join; no report about it is needed.
    Refuse {
        /// The join.
        join: JoinId,
        /// Why.
        refusal: Refusal,
    },
    /// Close the connection of a join, whatever its stage; no report about it is needed.
    Drop {
        /// The join.
        join: JoinId,
    },
    /// Connect to where the peer listens and ask to join, which it refuses: how tells whether it
    /// still knows the session. Answer with [`probed`](super::Session::probed).
    Probe,
    /// Send `bye` over a lane that is up.
    Bye {
        /// The lane.
        lane: LaneId,
        /// What to say.
        reason: String,
    },
    /// The session is over: what every lane received is to be delivered, then the lanes are
    /// dropped. Nothing follows.
    End(SessionEnd),
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnd {
    /// The peer said `bye`, for this reason.
    Bye(String),
    /// This node closed it, for this reason.
    Closed(String),
    /// A lane had more connections than can be counted.
    EpochsExhausted(LaneId),
    /// A lane received what no node sends, or was resumed at a position that cannot be.
    LaneFailed {
        /// The lane.
        lane: LaneId,
        /// What was wrong.
        why: String,
    },
    /// A lane broke, and the acceptor listens nowhere.
    NotResumable(LaneId),
    /// Nobody listens any more where the peer did: its process is gone.
    PeerGone,
    /// The acceptor refused to resume a lane. [`Refusal::UnknownSession`]: it restarted, or it
    /// ended the session itself.
    Refused(Refusal),
    /// The peer made a fresh connection and proved itself.
    Replaced,
    /// Nothing came over a lane for the whole tick time.
    Silent(LaneId),
    /// A lane was resumed again and again, and nothing got through.
    Stalled(LaneId),
    /// A lane was not up again in time.
    TimedOut(LaneId),
}

impl SessionEnd {
    /// The reason that subscribers of `nodedown` are told, in OTP's words.
    #[must_use]
    pub const fn nodedown_reason(&self) -> &'static str {
        match self {
            SessionEnd::Silent(_) => "net_tick_timeout",
            SessionEnd::LaneFailed { .. } => "killed",
            SessionEnd::Replaced => "wait_pending",
            _ => "connection_closed",
        }
    }
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionEnd::Bye(reason) => write!(formatter, "the peer ended the session: {reason}"),
            SessionEnd::Closed(reason) => write!(formatter, "this node ended it: {reason}"),
            SessionEnd::EpochsExhausted(lane) => {
                write!(formatter, "lane {lane} was connected too many times")
            }
            SessionEnd::LaneFailed { lane, why } => write!(formatter, "lane {lane}: {why}"),
            SessionEnd::NotResumable(lane) => {
                write!(formatter, "lane {lane} broke, and its acceptor listens nowhere")
            }
            SessionEnd::PeerGone => {
                formatter.write_str("nobody listens any more where the peer did")
            }
            SessionEnd::Refused(refusal) => {
                write!(formatter, "the peer refused to resume a lane: {refusal}")
            }
            SessionEnd::Replaced => formatter.write_str("the peer connected anew"),
            SessionEnd::Silent(lane) => {
                write!(formatter, "nothing came over lane {lane} for the whole tick time")
            }
            SessionEnd::Stalled(lane) => write!(
                formatter,
                "lane {lane} was resumed {STALLED_RESUMES_MAX} times in a row and nothing got \
                 through"
            ),
            SessionEnd::TimedOut(lane) => {
                write!(formatter, "lane {lane} was not connected again in time")
            }
        }
    }
}

/// What a shard says of a lane whose socket it let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The position up to which the lane's stream was received. It must not grow before the lane
    /// is attached again.
    pub received: u64,
    /// Whether something was sent that the peer has not acknowledged.
    pub unacknowledged: bool,
    /// When the last byte came over the socket; when it was attached, if none did.
    pub last_byte: Instant,
    /// Whether the socket brought anything since it was attached. Its time does not tell: a shard
    /// attaches a socket a little after the session has said so.
    pub brought_bytes: bool,
}

/// How a dial ended without a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialFailure {
    /// Nobody listens there: the system refused the connection.
    ConnectionRefused,
    /// The connection was made, and the join failed.
    Join(FabricError),
    /// The connection could not be made, for another reason.
    Unreachable,
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// Somebody listens, and did not say that it does not know the session.
    Listening,
    /// The peer does not know the session any more.
    UnknownSession,
    /// Nobody listens: the system refused the connection.
    ConnectionRefused,
    /// Neither is known.
    Unreachable,
}
