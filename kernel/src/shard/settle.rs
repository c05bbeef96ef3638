//! What two nodes settle on a first link between the handshake and `nodeup`: whether it has lanes,
//! which, and on which sockets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use krarup_transport::fabric::{
    Agreement, Ask, Credentials, Epoch, LaneId, Refusal, Role, SessionId, SettleStep,
    SettleTimeouts, Settled, Settling,
};
use krarup_transport::handshake::Established;
use krarup_transport::io::{PeerAddress, Socket};

use super::KernelShard;
use super::connect::{BUFFER_BYTES, Event, Leash, next_event};
use super::join;
use super::reach::Reach;
use crate::net_kernel::ConnectError;

/// How this node came to its first link.
pub(super) enum Side {
    /// It dialled this address.
    Dialled(SocketAddr),
    /// It was dialled from there.
    Accepted(PeerAddress),
}

/// Both ends of the first link are proven, and all that carries the connection is there.
pub(super) struct Finished {
    pub(super) established: Box<Established>,
    pub(super) carrier: Carrier,
}

/// What carries a connection.
pub(super) enum Carrier {
    /// One link, as nodes of OTP have it, and what has been received from it.
    Plain(Socket, Vec<u8>),
    /// The lanes of a session.
    Lanes(Box<Lanes>),
}

/// A session that begins.
pub(super) struct Lanes {
    pub(super) settled: Settled,
    pub(super) credentials: Credentials,
    /// The socket of each lane, and what has been received from it.
    pub(super) sockets: Vec<(LaneId, Socket, Vec<u8>)>,
    /// Where the peer listens.
    pub(super) reach: Reach,
}

/// A session that is being settled, for the joins that belong to it, and for the initiator's peer
/// that asks whether it knows it.
pub(super) struct Talk {
    role: Role,
    machine: RefCell<Settling>,
    credentials: Credentials,
    news: RefCell<VecDeque<(LaneId, Result<NewSocket, String>)>>,
    leash: Rc<Leash>,
}

/// A socket that a join made a lane's.
pub(super) struct NewSocket {
    pub(super) socket: Socket,
    /// What has been received from it.
    pub(super) leftover: Vec<u8>,
    /// What the initiator has yet to send.
    pub(super) confirm: Vec<u8>,
}

impl Talk {
    /// Whether a join is let in, and with which credentials it is proven.
    pub(super) fn ask(&self, ask: &Ask) -> Result<Credentials, Refusal> {
        self.machine.borrow().ask(ask).map(|()| self.credentials.clone())
    }

    /// This node's role.
    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// A join ended, well or not.
    pub(super) fn tell(&self, lane: LaneId, outcome: Result<NewSocket, String>) {
        self.news.borrow_mut().push_back((lane, outcome));
        self.leash.tell();
    }
}

/// Makes joins find their way to a session that is being settled.
struct Expected<'a> {
    kernel: &'a KernelShard,
    session: SessionId,
}

impl<'a> Expected<'a> {
    fn new(kernel: &'a KernelShard, session: SessionId, talk: &Rc<Talk>) -> Self {
        kernel.settling.borrow_mut().insert(session, Rc::clone(talk));
        Expected { kernel, session }
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.kernel.settling.borrow_mut().remove(&self.session);
    }
}

/// Settles what there is to settle on a link whose handshake is over; the initiator may have begun.
pub(super) async fn settle(
    kernel: &Rc<KernelShard>,
    socket: Socket,
    mut established: Box<Established>,
    side: Side,
    begun: Option<Settling>,
    leash: &Rc<Leash>,
) -> Result<Finished, ConnectError> {
    let leftover = std::mem::take(&mut established.leftover);
    if !established.flags.fabric() {
        return Ok(Finished { established, carrier: Carrier::Plain(socket, leftover) });
    }
    let role = match side {
        Side::Dialled(_) => Role::Initiator,
        Side::Accepted(_) => Role::Acceptor,
    };
    let machine = match begun {
        Some(machine) => machine,
        None => begin_settling(kernel, &socket, role)?,
    };
    let credentials = kernel.credentials(&established, role).ok_or(ConnectError::NotAlive)?;
    let talk = Rc::new(Talk {
        role,
        machine: RefCell::new(machine),
        credentials,
        news: RefCell::default(),
        leash: Rc::clone(leash),
    });
    let carrier = drive(kernel, &talk, socket, &leftover, &side).await?;
    Ok(Finished { established, carrier })
}

/// What the first link goes through behind its handshake; the initiator's hello is its output.
pub(super) fn begin_settling(
    kernel: &KernelShard,
    socket: &Socket,
    role: Role,
) -> Result<Settling, ConnectError> {
    let hello = kernel.hello(socket)?;
    let timeouts = SettleTimeouts { message: kernel.setup_time(), ..SettleTimeouts::default() };
    Ok(Settling::new(role, hello, timeouts, Instant::now()))
}

async fn drive(
    kernel: &Rc<KernelShard>,
    talk: &Rc<Talk>,
    socket: Socket,
    leftover: &[u8],
    side: &Side,
) -> Result<Carrier, ConnectError> {
    let mut joined: Vec<(LaneId, Socket, Vec<u8>)> = Vec::new();
    let mut buffer = [0; BUFFER_BYTES];
    let mut _expected = None;
    // Joins that are under way end with this one.
    let mut _joins = Vec::new();
    let mut step = match leftover {
        [] => Ok(SettleStep::Continue),
        bytes => talk.machine.borrow_mut().receive(Instant::now(), bytes),
    };
    loop {
        if let Ok(SettleStep::Agreed(agreement)) = &step {
            _expected = Some(Expected::new(kernel, agreement.session, talk));
        }
        let output = talk.machine.borrow_mut().take_output();
        if !output.is_empty() {
            kernel.say(&socket, &output).await?;
        }
        match step? {
            SettleStep::Continue => {}
            SettleStep::Plain { leftover } => return Ok(Carrier::Plain(socket, leftover)),
            SettleStep::Agreed(agreement) => {
                if let Side::Dialled(address) = side {
                    let reach = Rc::new(Reach::of_acceptor(&agreement, *address));
                    let join = |lane| {
                        let (kernel, talk, reach) = (kernel.clone(), talk.clone(), reach.clone());
                        let join = join_first(kernel, talk, reach, agreement.clone(), lane);
                        glommio::spawn_local(join)
                    };
                    _joins = agreement.joins().map(join).collect();
                }
            }
            SettleStep::Settled(settled) => {
                return Ok(Carrier::Lanes(Box::new(begin(talk, *settled, socket, joined, side))));
            }
        }
        let news = talk.news.borrow_mut().pop_front();
        step = match news {
            Some((lane, Ok(new))) => {
                let counts = talk.machine.borrow_mut().joined(Instant::now(), lane);
                match counts {
                    Ok(Some(step)) => {
                        kernel.say(&new.socket, &new.confirm).await?;
                        joined.push((lane, new.socket, new.leftover));
                        Ok(step)
                    }
                    Ok(None) => Ok(SettleStep::Continue),
                    Err(error) => Err(error),
                }
            }
            Some((lane, Err(why))) => {
                tracing::debug!(%lane, %why, "a lane could not be joined");
                talk.machine.borrow_mut().failed(Instant::now(), lane)
            }
            None => {
                let deadline = talk.machine.borrow().deadline();
                let event = next_event(&socket, &talk.leash, deadline, &mut buffer).await;
                let mut machine = talk.machine.borrow_mut();
                let now = Instant::now();
                match event? {
                    Event::Bytes(n) => machine.receive(now, &buffer[..n]),
                    Event::Closed => Err(machine.closed()),
                    Event::Timeout => machine.expire(now),
                    Event::Pulled => return Err(ConnectError::GivenUp),
                    Event::Released | Event::Told => Ok(SettleStep::Continue),
                }
            }
        };
    }
}

/// Sorts the sockets to the lanes that were agreed on.
fn begin(
    talk: &Talk,
    settled: Settled,
    socket: Socket,
    joined: Vec<(LaneId, Socket, Vec<u8>)>,
    side: &Side,
) -> Lanes {
    let mut sockets = joined;
    // What the acceptor let in and the initiator left out is closed.
    sockets.retain(|(lane, ..)| settled.lanes.contains(*lane));
    if settled.lane0_on_first_link {
        sockets.push((LaneId(0), socket, settled.leftover.clone()));
    } else {
        socket.shutdown(Shutdown::Write);
    }
    sockets.sort_by_key(|(lane, ..)| *lane);
    let reach = match side {
        Side::Dialled(address) => Reach::of_acceptor(&settled.agreement, *address),
        Side::Accepted(peer) => Reach::of_initiator(&settled.agreement, peer),
    };
    Lanes { settled, credentials: talk.credentials.clone(), sockets, reach }
}

/// Joins one lane at the session's start.
async fn join_first(
    kernel: Rc<KernelShard>,
    talk: Rc<Talk>,
    reach: Rc<Reach>,
    agreement: Box<Agreement>,
    lane: LaneId,
) {
    let Agreement { version, session, same_host, .. } = *agreement;
    let ask = Ask { version, session, lane, epoch: Epoch(1), received: 0 };
    let dial = join::Dial { over_unix: same_host, credentials: talk.credentials.clone(), ask };
    let outcome = match join::dial(&kernel, &reach, dial).await {
        Ok((new, 0)) => Ok(new),
        // Nothing was sent yet.
        Ok((_, received)) => Err(format!("the peer states that it has received {received} bytes")),
        Err(lost) => Err(lost.to_string()),
    };
    talk.tell(lane, outcome);
}
