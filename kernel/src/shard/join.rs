//! Connections that become the socket of a lane.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use krarup_transport::fabric::{
    AcceptStep, Ask, Credentials, FabricError, JOIN_TIMEOUT, JoinAcceptor, JoinConfig,
    JoinInitiator, JoinStep, Nonce, Refusal, Role,
};
use krarup_transport::io::{PeerAddress, Socket, within};

use super::KernelShard;
use super::connect::{BUFFER_BYTES, Event, Leash, next_event};
use super::reach::Reach;
use super::sessions::{Ticket, Verdict};
use super::settle::{NewSocket, Talk};

/// Why a lane could not be connected.
#[derive(Debug)]
pub(super) enum Lost {
    /// There is no connection to the peer.
    Unreachable(io::Error),
    /// There is one, and the join failed.
    Join(FabricError),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Unreachable(error) => error.fmt(f),
            Lost::Join(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        Lost::Unreachable(error)
    }
}

impl From<FabricError> for Lost {
    fn from(error: FabricError) -> Self {
        Lost::Join(error)
    }
}

/// What a lane is connected with.
pub(super) struct Dial {
    /// Over the peer's Unix socket; if not, over TCP.
    pub(super) over_unix: bool,
    pub(super) credentials: Credentials,
    pub(super) ask: Ask,
}

/// Connects to the peer and joins a lane, up to the `confirm`, which is yet to be sent. Also gives
/// the position up to which the peer has received the lane's stream.
pub(super) async fn dial(
    kernel: &KernelShard,
    reach: &Reach,
    dial: Dial,
) -> Result<(NewSocket, u64), Lost> {
    let started = Instant::now();
    let nonce = fresh_nonce()?;
    let Dial { over_unix, credentials, ask } = dial;
    let timeout = JOIN_TIMEOUT;
    let socket = reach.connect(over_unix, &kernel.options.connect(), timeout).await?;
    let config = JoinConfig { credentials, ask, nonce, timeout };
    let mut machine = JoinInitiator::new(config, started);
    let mut buffer = [0; BUFFER_BYTES];
    kernel.say(&socket, &machine.take_output()).await?;
    loop {
        let left = machine.deadline().saturating_duration_since(Instant::now());
        let step = match within(left, socket.recv(&mut buffer)).await {
            Ok(0) => return Err(machine.closed().into()),
            Ok(n) => machine.receive(Instant::now(), &buffer[..n])?,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                machine.expire(Instant::now())?;
                JoinStep::Continue
            }
            Err(error) => return Err(error.into()),
        };
        if let JoinStep::Joined { peer_received } = step {
            let (confirm, leftover) = (machine.take_output(), Vec::new());
            return Ok((NewSocket { socket, leftover, confirm }, peer_received));
        }
    }
}

/// Answers a connection that begins with a join. `received` is what came first.
pub(super) async fn answer(
    kernel: &Rc<KernelShard>,
    socket: Socket,
    address: &PeerAddress,
    leash: &Rc<Leash>,
    received: &[u8],
    started: Instant,
) {
    let mut door = None;
    let outcome = accept(kernel, &socket, leash, received, started, &mut door).await;
    match &outcome {
        Ok(_) => {}
        Err(NotJoined::Usual(why)) => tracing::debug!(peer = %address, %why, "no lane is joined"),
        Err(NotJoined::Wrong(why)) => kernel.note_refusal(address, why),
    }
    match door {
        Some(Door::Settling(talk, ask)) => {
            let new = |leftover| NewSocket { socket, leftover, confirm: Vec::new() };
            let outcome = outcome.map(new).map_err(NotJoined::into_why);
            talk.tell(ask.lane, outcome);
        }
        Some(Door::Running(ticket)) => {
            kernel.join_ended(&ticket, outcome.ok().map(|leftover| (socket, leftover)));
        }
        None => {}
    }
}

/// Why an accepted connection did not become a lane's.
enum NotJoined {
    /// What happens when sessions end, or several joins of a lane meet.
    Usual(String),
    /// Whoever it was is no peer of ours, or cannot do it.
    Wrong(String),
}

impl NotJoined {
    fn into_why(self) -> String {
        match self {
            NotJoined::Usual(why) | NotJoined::Wrong(why) => why,
        }
    }
}

/// Where an accepted join leads.
enum Door {
    /// To a session that is being settled.
    Settling(Rc<Talk>, Ask),
    /// To one that has begun.
    Running(Rc<Ticket>),
}

async fn accept(
    kernel: &Rc<KernelShard>,
    socket: &Socket,
    leash: &Rc<Leash>,
    received: &[u8],
    started: Instant,
    door: &mut Option<Door>,
) -> Result<Vec<u8>, NotJoined> {
    let broken = |error: io::Error| NotJoined::Usual(error.to_string());
    let nonce = fresh_nonce().map_err(broken)?;
    let mut machine = JoinAcceptor::new(nonce, JOIN_TIMEOUT, started);
    let mut buffer = [0; BUFFER_BYTES];
    let mut step = machine.receive(Instant::now(), received);
    loop {
        let mut verdict = match &*door {
            Some(Door::Running(ticket)) => ticket.verdict(),
            _ => None,
        };
        if let Ok(AcceptStep::Ask(ask)) = &step {
            verdict =
                knock(kernel, ask, leash, door).unwrap_or_else(|no| Some(Verdict::Refuse(no)));
        }
        let refused = match verdict {
            Some(Verdict::Admit(credentials, received)) => {
                step = machine
                    .admit(Instant::now(), credentials, received)
                    .map(|()| AcceptStep::Continue);
                None
            }
            Some(Verdict::Refuse(refusal)) => {
                machine.refuse(refusal);
                Some(refusal)
            }
            None => None,
        };
        let output = machine.take_output();
        if !output.is_empty() {
            kernel.say(socket, &output).await.map_err(broken)?;
        }
        match (step, refused) {
            (_, Some(refusal)) => {
                let why = format!("a join was refused: {refusal:?}");
                return Err(match refusal {
                    Refusal::NotAuthentic | Refusal::Version => NotJoined::Wrong(why),
                    // The last is what a peer is told that asks whether we know the session.
                    Refusal::UnknownSession
                    | Refusal::StaleEpoch
                    | Refusal::TryAgain
                    | Refusal::UnknownLane => NotJoined::Usual(why),
                });
            }
            (Err(error @ FabricError::Closed { .. }), _) => {
                return Err(NotJoined::Usual(error.to_string()));
            }
            (Err(error), _) => return Err(NotJoined::Wrong(error.to_string())),
            (Ok(AcceptStep::Joined { leftover }), _) => return Ok(leftover),
            (Ok(_), _) => {}
        }
        let event =
            next_event(socket, leash, machine.deadline(), &mut buffer).await.map_err(broken)?;
        let now = Instant::now();
        step = match event {
            Event::Bytes(n) => machine.receive(now, &buffer[..n]),
            Event::Closed => Err(machine.closed()),
            Event::Timeout => machine.expire(now).map(|()| AcceptStep::Continue),
            Event::Pulled => return Err(NotJoined::Usual("it was dropped".to_owned())),
            Event::Released | Event::Told => Ok(AcceptStep::Continue),
        };
    }
}

/// Finds the session that a join asks for. One that has begun may take a while for its verdict.
fn knock(
    kernel: &Rc<KernelShard>,
    ask: &Ask,
    leash: &Rc<Leash>,
    door: &mut Option<Door>,
) -> Result<Option<Verdict>, Refusal> {
    let settling = kernel.settling.borrow().get(&ask.session).cloned();
    if let Some(talk) = settling {
        if talk.role() == Role::Initiator {
            return Err(Refusal::TryAgain);
        }
        let credentials = talk.ask(ask)?;
        *door = Some(Door::Settling(talk, *ask));
        return Ok(Some(Verdict::Admit(credentials, 0)));
    }
    // What carried the node before is still on its way down: the lanes have no shard yet.
    if kernel.has_settled(ask.session) {
        return Err(Refusal::TryAgain);
    }
    let ticket = kernel.ask_session(ask, leash)?;
    let verdict = ticket.verdict();
    *door = Some(Door::Running(ticket));
    Ok(verdict)
}

fn fresh_nonce() -> io::Result<Nonce> {
    let mut nonce = Nonce::default();
    getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(nonce)
}
