//! Setting connections up: dialling, accepting, and the handshake in between.
//!
//! Runs on the kernel's shard. Every attempt is a task with a [`Leash`], by which the kernel ends
//! it or tells it that the link it replaces is gone.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use krarup_transport::fabric::{Role, Settling, is_join};
use krarup_transport::handshake::{
    Acceptor, AcceptorStep, Challenge, Claim, Established, Flags, Initiator, InitiatorConfig,
    InitiatorStep, NodeName,
};
use krarup_transport::io::{Listener, PeerAddress, Socket, within};
use krarup_transport::term::{Atom, Creation};

use super::KernelShard;
use super::join;
use super::locate::{Location, locate, no_address};
use super::settle::Finished;
use super::settle::{Side, begin_settling, settle};
use super::wake::answered;
use crate::net_kernel::{AttemptId, ConnectError, SystemError};
use crate::process::yield_once;

/// By which the kernel holds a running attempt.
#[derive(Debug, Default)]
pub(super) struct Leash {
    pulled: Cell<bool>,
    released: Cell<bool>,
    told: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Leash {
    /// Ends the attempt.
    pub(super) fn pull(&self) {
        self.pulled.set(true);
        self.wake();
    }

    /// Nothing is in the attempt's way any more: it may be acknowledged.
    pub(super) fn release(&self) {
        self.released.set(true);
        self.wake();
    }

    fn is_pulled(&self) -> bool {
        self.pulled.get()
    }

    /// There is something for the attempt to look at.
    pub(super) fn tell(&self) {
        self.told.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    async fn event(&self) {
        self.until(|| self.pulled.get() || self.released.get() || self.told.get()).await;
    }

    async fn end(&self) {
        self.until(|| self.pulled.get()).await;
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        poll_fn(|cx| {
            if holds() {
                return Poll::Ready(());
            }
            self.waiting.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// A challenge of ours in a handshake that is not over. Also an attempt that is dropped half-way
/// takes it back.
struct Outstanding {
    kernel: Rc<KernelShard>,
    challenge: Challenge,
}

impl Outstanding {
    fn new(kernel: &Rc<KernelShard>, challenge: Challenge) -> Self {
        kernel.challenges.borrow_mut().push(challenge);
        Outstanding { kernel: Rc::clone(kernel), challenge }
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        let mut challenges = self.kernel.challenges.borrow_mut();
        if let Some(at) = challenges.iter().position(|ours| *ours == self.challenge) {
            challenges.swap_remove(at);
        }
    }
}

/// What a waiting handshake is woken by.
pub(super) enum Event {
    Bytes(usize),
    Closed,
    /// See [`Leash::release`].
    Released,
    Pulled,
    Timeout,
    /// See [`Leash::tell`].
    Told,
}

/// The longest handshake message fits.
pub(super) const BUFFER_BYTES: usize = 2048;

pub(super) async fn next_event(
    socket: &Socket,
    leash: &Leash,
    deadline: Instant,
    buffer: &mut [u8],
) -> io::Result<Event> {
    let left = deadline.saturating_duration_since(Instant::now());
    let received = std::pin::pin!(within(left, socket.recv(buffer)));
    let event = std::pin::pin!(leash.event());
    // The leash is looked at first: an attempt that is given up must not answer what came last,
    // since the peer would take that for its success.
    match select(event, received).await {
        Either::Left(_) if leash.is_pulled() => Ok(Event::Pulled),
        Either::Left(_) if leash.released.take() => Ok(Event::Released),
        Either::Left(_) => {
            leash.told.set(false);
            Ok(Event::Told)
        }
        Either::Right((Ok(0), _)) => Ok(Event::Closed),
        Either::Right((Ok(n), _)) => Ok(Event::Bytes(n)),
        Either::Right((Err(error), _)) if error.kind() == io::ErrorKind::TimedOut => {
            Ok(Event::Timeout)
        }
        // So it looks when the peer closes and has not read everything.
        Either::Right((Err(error), _)) if error.kind() == io::ErrorKind::ConnectionReset => {
            Ok(Event::Closed)
        }
        Either::Right((Err(error), _)) => Err(error),
    }
}

impl KernelShard {
    /// Sends what is likely to be answered soon.
    pub(super) async fn say(&self, socket: &Socket, bytes: &[u8]) -> io::Result<()> {
        socket.send_all(bytes).await?;
        self.expect_answer();
        Ok(())
    }
}

/// Accepts until the node is not alive any more.
pub(super) async fn accept(kernel: Rc<KernelShard>, listener: Listener, stop: Rc<Leash>) {
    let mut listener = Rc::new(listener);
    kernel.options.listens(&listener);
    // A socket that has failed does not say where it was.
    let address = listener.local_address().ok().flatten();
    loop {
        let accepted = {
            let accepted = std::pin::pin!(listener.accept());
            let stopped = std::pin::pin!(stop.event());
            match select(accepted, stopped).await {
                Either::Left((accepted, _)) => Some(accepted),
                Either::Right(_) => None,
            }
        };
        let Some(accepted) = accepted else {
            kernel.options.listens_no_more(&listener);
            return;
        };
        match accepted {
            Ok((socket, address)) => {
                let leash = kernel.admit();
                let admitted = Rc::clone(&kernel);
                glommio::spawn_local(answer(admitted, socket, address, leash)).detach();
                // When many come at once, those that are let in go on meanwhile and make room.
                yield_once().await;
            }
            Err(error) if Listener::survives(&error) => {
                let error = SystemError::from(error);
                let makes_room = kernel.make_room();
                let refused = !makes_room && error.is_out_of_descriptors() && listener.refuse();
                kernel.note_crowd(&error, refused);
            }
            Err(error) => {
                // The port is free only then.
                kernel.options.listens_no_more(&listener);
                drop(listener);
                match kernel.listen_again(address, &error).await {
                    Some(again) => {
                        listener = Rc::new(again);
                        kernel.options.listens(&listener);
                    }
                    None => return,
                }
            }
        }
    }
}

/// The accepting side of one connection: a handshake, or the join of a lane.
async fn answer(kernel: Rc<KernelShard>, socket: Socket, address: PeerAddress, leash: Rc<Leash>) {
    let started = Instant::now();
    let _ = kernel.options.accept().apply(&socket, address.ip());
    match first_bytes(&kernel, &socket, &leash, started).await {
        // Somebody looked whether anybody listens here.
        Ok(None) => {
            kernel.dismiss(&leash);
            tracing::debug!(peer = %address, "a connection was closed without a word");
        }
        Ok(Some(received)) if is_join(&received) == Some(true) => {
            join::answer(&kernel, socket, &address, &leash, &received, started).await;
            kernel.dismiss(&leash);
        }
        // Only joins come to the Unix socket: a handshake there would say who is at the other end,
        // and not where.
        Ok(Some(_)) if socket.is_unix() => kernel.dismiss(&leash),
        Ok(Some(received)) => {
            answer_handshake(&kernel, socket, &address, &leash, &received, started).await;
        }
        Err(error) => {
            kernel.dismiss(&leash);
            kernel.note_refusal(&address, &error.to_string());
        }
    }
}

/// Enough of what comes first to tell what it begins; less if no more comes, for the handshake to
/// say what is wrong with that. Nothing if the peer has closed before it said anything.
async fn first_bytes(
    kernel: &KernelShard,
    socket: &Socket,
    leash: &Leash,
    started: Instant,
) -> io::Result<Option<Vec<u8>>> {
    let deadline = started + kernel.setup_time();
    let mut received = Vec::new();
    let mut buffer = [0; BUFFER_BYTES];
    while is_join(&received).is_none() {
        match next_event(socket, leash, deadline, &mut buffer).await? {
            Event::Bytes(n) => received.extend_from_slice(&buffer[..n]),
            Event::Closed if received.is_empty() => return Ok(None),
            Event::Closed | Event::Timeout | Event::Pulled => break,
            Event::Released | Event::Told => {}
        }
    }
    Ok(Some(received))
}

/// The accepting side of a handshake, and of what follows it.
async fn answer_handshake(
    kernel: &Rc<KernelShard>,
    socket: Socket,
    address: &PeerAddress,
    leash: &Rc<Leash>,
    received: &[u8],
    started: Instant,
) {
    let mut attempt = None;
    let proven = drive_acceptor(kernel, &socket, leash, received, started, &mut attempt).await;
    kernel.dismiss(leash);
    let outcome = match (proven, attempt) {
        (Ok(Some(established)), Some(attempt)) => {
            kernel.with(|machine| machine.proven(attempt));
            let side = Side::Accepted(address.clone());
            settle(kernel, socket, established, side, None, leash).await.map(Some)
        }
        (Ok(_), _) => Ok(None),
        (Err(error), _) => Err(error),
    };
    let why = match (outcome, attempt) {
        (Ok(Some(finished)), Some(attempt)) => return kernel.finished(attempt, finished),
        (Ok(_), _) => ConnectError::GivenUp,
        (Err(error), _) => {
            kernel.note_refusal(address, &error.to_string());
            error
        }
    };
    if let Some(attempt) = attempt {
        kernel.attempt_failed(attempt, why);
    }
}

async fn drive_acceptor(
    kernel: &Rc<KernelShard>,
    socket: &Socket,
    leash: &Rc<Leash>,
    received: &[u8],
    started: Instant,
    attempt: &mut Option<AttemptId>,
) -> Result<Option<Box<Established>>, ConnectError> {
    let Some(config) = kernel.acceptor_config() else { return Ok(None) };
    let _outstanding = Outstanding::new(kernel, config.challenge);
    let mut machine = Acceptor::new(config, started);
    let mut buffer = [0; BUFFER_BYTES];
    let is_ours = |challenge| kernel.is_ours(challenge);
    let mut step = match received {
        [] => Ok(AcceptorStep::Continue),
        received => machine.receive(Instant::now(), received, is_ours),
    };
    loop {
        if let Ok(AcceptorStep::Decide(applicant)) = &step {
            let verdict = match &applicant.claim {
                Claim::Node(name) => kernel.decide(name, leash, attempt),
                Claim::NameMe { host } => kernel.decide_name(host, leash, attempt),
            };
            step = machine.decide(Instant::now(), verdict);
        }
        let output = machine.take_output();
        if !output.is_empty() {
            kernel.say(socket, &output).await?;
        }
        match step {
            Ok(AcceptorStep::Continue | AcceptorStep::Decide(_)) => {}
            Ok(AcceptorStep::Proven) => {
                if let Some(attempt) = *attempt {
                    kernel.with(|machine| machine.asks(attempt));
                }
                // As a rule there is nothing to wait for.
                if !leash.is_pulled() && leash.released.take() {
                    step = machine.acknowledge(Instant::now());
                    continue;
                }
            }
            Ok(AcceptorStep::ReplaceOldLink) => {
                if let Some(attempt) = *attempt {
                    kernel.with(|machine| machine.verified(attempt));
                }
            }
            Ok(AcceptorStep::Close) => return Ok(None),
            Ok(AcceptorStep::Established(established)) => return Ok(Some(established)),
            Err(error) => return Err(error.into()),
        }
        let event = next_event(socket, leash, machine.deadline(), &mut buffer).await?;
        let now = Instant::now();
        step = match event {
            Event::Bytes(n) => machine.receive(now, &buffer[..n], is_ours),
            Event::Released => machine.acknowledge(now),
            Event::Closed => Err(machine.closed()),
            Event::Timeout => machine.expire(now).map(|()| AcceptorStep::Continue),
            Event::Told => Ok(AcceptorStep::Continue),
            Event::Pulled => return Ok(None),
        };
    }
}

/// How a dial ended without a connection.
enum Unconnected {
    /// The peer answered `nok`: its own attempt survives.
    PeersGoesFirst,
    Failed(ConnectError),
}

impl<E: Into<ConnectError>> From<E> for Unconnected {
    fn from(error: E) -> Self {
        Unconnected::Failed(error.into())
    }
}

/// Dials a node when it is its turn: look-up, connect, handshake.
pub(super) async fn dial(
    kernel: Rc<KernelShard>,
    attempt: AttemptId,
    node: Atom,
    hidden: bool,
    leash: Rc<Leash>,
) {
    let outcome = {
        let dial = || dial_socket(&kernel, attempt, &node, hidden, &leash);
        let work = std::pin::pin!(kernel.pace.run(dial));
        let pulled = std::pin::pin!(leash.end());
        match select(work, pulled).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => return,
        }
    };
    match outcome {
        Ok(finished) => {
            if let Some((name, creation)) = finished.established.assigned.clone() {
                kernel.take_name(&node, name, creation).await;
            }
            kernel.finished(attempt, finished);
        }
        Err(Unconnected::PeersGoesFirst) => {
            tracing::debug!(%node, "the peer's own attempt goes first");
            kernel.not_named_by(&node);
            kernel.attempt_gave_way(attempt);
        }
        Err(Unconnected::Failed(why)) => {
            tracing::info!(%node, %why, "a connection could not be set up");
            kernel.not_named_by(&node);
            kernel.attempt_failed(attempt, why);
        }
    }
}

async fn dial_socket(
    kernel: &Rc<KernelShard>,
    attempt: AttemptId,
    node: &Atom,
    hidden: bool,
    leash: &Rc<Leash>,
) -> Result<Finished, Unconnected> {
    let peer = kernel.check_peer_name(node)?;
    let started = Instant::now();
    let limit = kernel.setup_time();
    let Location { addresses, port } = locate(kernel, &peer, limit).await?;
    let mut refused = no_address(peer.host());
    for address in addresses {
        let left = limit.saturating_sub(started.elapsed());
        let at = SocketAddr::new(address, port);
        match Socket::connect(at, &kernel.options.connect(), left).await {
            Ok(socket) => {
                // From the name on the peer may complete this attempt, so it must still be wanted.
                if leash.is_pulled() {
                    return Err(ConnectError::GivenUp.into());
                }
                kernel.with(|machine| machine.called(attempt));
                let (established, greeting) =
                    drive_initiator(kernel, &socket, peer, hidden, leash).await?;
                kernel.with(|machine| machine.proven(attempt));
                let side = Side::Dialled(at);
                return Ok(settle(kernel, socket, established, side, greeting, leash).await?);
            }
            Err(error) => {
                refused = ConnectError::Unreachable { address: at, error: error.into() };
            }
        }
    }
    Err(refused.into())
}

async fn drive_initiator(
    kernel: &Rc<KernelShard>,
    socket: &Socket,
    peer: NodeName,
    hidden: bool,
    leash: &Leash,
) -> Result<(Box<Established>, Option<Settling>), Unconnected> {
    let config = kernel.initiator_config(peer, hidden).ok_or(ConnectError::NotAlive)?;
    let _outstanding = Outstanding::new(kernel, config.challenge);
    initiate(kernel, socket, config, leash).await
}

async fn initiate(
    kernel: &Rc<KernelShard>,
    socket: &Socket,
    config: InitiatorConfig,
    leash: &Leash,
) -> Result<(Box<Established>, Option<Settling>), Unconnected> {
    let mut greeting = None;
    let mut machine = Initiator::new(config, Instant::now())?;
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let mut output = machine.take_output();
        if greeting.is_none() && machine.negotiated().is_some_and(Flags::fabric) {
            // The hello needs no answer to our proof, so it goes with it.
            let settling = greeting.insert(begin_settling(kernel, socket, Role::Initiator)?);
            output.append(&mut settling.take_output());
        }
        if !output.is_empty() {
            kernel.say(socket, &output).await?;
        }
        let event = next_event(socket, leash, machine.deadline(), &mut buffer).await?;
        let now = Instant::now();
        let mut step = match event {
            Event::Bytes(n) => {
                machine.receive(now, &buffer[..n], |challenge| kernel.is_ours(challenge))
            }
            Event::Closed => Err(machine.closed()),
            Event::Timeout => machine.expire(now).map(|()| InitiatorStep::Continue),
            Event::Released | Event::Told => Ok(InitiatorStep::Continue),
            Event::Pulled => return Err(ConnectError::GivenUp.into()),
        };
        if matches!(step, Ok(InitiatorStep::Alive)) {
            // The peer has not noticed yet that the connection before this one is gone.
            step = machine.answer_alive(now, true);
        }
        match step {
            Ok(InitiatorStep::Continue | InitiatorStep::Alive) => {}
            Ok(InitiatorStep::Nok) => return Err(Unconnected::PeersGoesFirst),
            Ok(InitiatorStep::Close) => return Err(ConnectError::GivenUp.into()),
            Ok(InitiatorStep::Established(established)) => return Ok((established, greeting)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Runs work that blocks on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("krarup-blocking".to_owned())
        .spawn(move || sender.send(work()))
        .map_err(|error| format!("no thread: {error}"))?;
    answered(receiver).await.ok_or_else(|| "the work failed".to_owned())
}

/// A challenge from the operating system's random source.
pub(super) fn fresh_challenge() -> io::Result<Challenge> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Challenge(u32::from_ne_bytes(bytes)))
}

/// A name nobody has, for a node that asks for one: 64 random bits in base 36, as OTP makes them,
/// with a random creation above the reserved ones.
pub(super) fn fresh_name(host: &str) -> Result<(NodeName, Creation), String> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    let (number, creation) = bytes.split_at(8);
    let number = number.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let creation = creation.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    let name = NodeName::new(&base_36(number), host).map_err(|error| error.to_string())?;
    Ok((name, Creation(creation.max(4))))
}

fn base_36(mut number: u64) -> String {
    let mut digits = Vec::with_capacity(13);
    loop {
        let digit = u32::try_from(number % 36).unwrap_or(0);
        digits.extend(char::from_digit(digit, 36).map(|digit| digit.to_ascii_uppercase()));
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_given_are_valid_and_differ() {
        assert_eq!(base_36(0), "0");
        assert_eq!(base_36(u64::MAX), "3W5E11264SGSF");
        let (one, _) = fresh_name("h").expect("a name");
        let (two, creation) = fresh_name("h").expect("a name");
        assert_ne!(one.as_str(), two.as_str());
        assert!(creation.0 > 3);
    }
}
