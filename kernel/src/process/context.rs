//! What a process can do: receive, send, name itself.

use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use krarup_transport::fabric::ProcessNumber;
use krarup_transport::term::{Atom, Pid, Reference};
use serde::Serialize;

use super::{AsDestination, DestinationRef, MailboxLimits, ProcessCell, Signal};
use crate::node::{Encoded, Node, SendError, SpawnError, Stopped};
use crate::shard::{Content, Outcome, Shard, Wait, Wire};

/// How a process ends: `Ok` is Erlang's `normal`, an error becomes `{error, Text}`.
pub type ProcessResult = Result<(), Box<dyn Error>>;

/// A process, from inside: the argument of the function it runs.
///
/// It stays on its shard for its whole life, so nothing here crosses a thread.
pub struct Process {
    shard: Rc<Shard>,
    cell: Rc<ProcessCell>,
    /// Signals and sends since the process last let others run.
    spent: Cell<u32>,
    /// The two numbers of its pid.
    number: ProcessNumber,
    /// The link that it sent over last. Most processes send to few others.
    wire: RefCell<Option<Wire>>,
}

/// Signals received or messages sent between two looks at whether others want to run.
const SIGNALS_PER_LOOK: u32 = 128;

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("pid", &self.pid()).finish_non_exhaustive()
    }
}

impl Process {
    pub(crate) fn new(shard: Rc<Shard>, cell: Rc<ProcessCell>) -> Self {
        let number = cell.id().number();
        Process { shard, cell, spent: Cell::new(0), number, wire: RefCell::default() }
    }

    /// This process's pid (Erlang: `self()`).
    pub fn pid(&self) -> Pid {
        self.shard.pid(self.cell.id())
    }

    pub(crate) fn shard(&self) -> &Rc<Shard> {
        &self.shard
    }

    pub(crate) fn cell(&self) -> &Rc<ProcessCell> {
        &self.cell
    }

    /// A handle of the node this process runs on.
    pub fn node(&self) -> Node {
        self.shard.node().clone()
    }

    /// The next signal, when one is there.
    #[inline]
    pub fn try_recv(&mut self) -> Option<Signal> {
        let mut mailbox = self.cell.mailbox.borrow_mut();
        if let Some(message) = mailbox.pop_of_run() {
            return Some(Signal::Message(message));
        }
        drop(mailbox);
        self.next_entry()
    }

    /// The next signal when the run that is read is at its end.
    #[inline]
    fn next_entry(&self) -> Option<Signal> {
        let mut mailbox = self.cell.mailbox.borrow_mut();
        let signal = mailbox.pop_entry();
        let released = mailbox.take_released();
        drop(mailbox);
        if let Some(released) = released {
            self.shard.release(&self.cell, *released);
        }
        signal
    }

    /// Waits for the next signal.
    ///
    /// # Errors
    /// [`Stopped`] when the node stops.
    #[inline]
    pub fn recv(&mut self) -> Recv<'_> {
        Recv { process: self }
    }

    /// Waits for the next signal, at most for `timeout`; `None` when it passed.
    ///
    /// # Errors
    /// As [`Process::recv`].
    pub async fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Signal>, Stopped> {
        let timer = std::pin::pin!(krarup_transport::io::sleep(timeout));
        let received = std::pin::pin!(self.recv());
        match futures_util::future::select(received, timer).await {
            futures_util::future::Either::Left((signal, _)) => signal.map(Some),
            futures_util::future::Either::Right(_) => Ok(None),
        }
    }

    /// Sends if there is room and a connection, without waiting (Erlang: `!` with `nosuspend` and
    /// `noconnect`).
    ///
    /// A message to a process or name that does not exist is dropped, as in Erlang.
    ///
    /// # Errors
    /// [`SendError::Busy`] when the queue towards the destination is full,
    /// [`SendError::NoConnection`] when its node is not connected, [`SendError::Encode`],
    /// [`SendError::TooLarge`].
    #[inline]
    pub fn try_send<T: Serialize + ?Sized>(
        &self,
        to: impl AsDestination,
        message: &T,
    ) -> Result<(), SendError> {
        self.try_send_content(to, Content::Value(message))
    }

    /// Sends, waiting for room and, where the node is not connected yet, for the connection
    /// (Erlang: `!`).
    ///
    /// # Errors
    /// [`SendError::NoConnection`] when the node cannot be reached, [`SendError::Encode`],
    /// [`SendError::TooLarge`], [`SendError::Stopped`].
    #[inline]
    pub fn send<'a, T: Serialize + ?Sized>(
        &'a self,
        to: impl AsDestination + 'a,
        message: &'a T,
    ) -> impl Future<Output = Result<(), SendError>> + 'a {
        self.send_content(to, Content::Value(message))
    }

    /// Sends bytes as they are, without making a term of them: the cheapest message there is.
    /// Otherwise as [`Process::try_send`].
    ///
    /// The receiver reads them with [`Signal::as_bytes`], or as any type that is read from a
    /// binary. A process of an OTP node gets a binary.
    ///
    /// # Errors
    /// As [`Process::try_send`].
    #[inline]
    pub fn try_send_bytes(&self, to: impl AsDestination, bytes: &[u8]) -> Result<(), SendError> {
        self.try_send_content(to, Content::<()>::Raw(bytes))
    }

    /// Sends bytes as they are; see [`Process::try_send_bytes`]. Waits as [`Process::send`] does.
    ///
    /// The bytes are copied. Many should rather be sent by [`Process::send_encoded`] with
    /// [`Encoded::raw`], which copies nothing.
    ///
    /// # Errors
    /// As [`Process::send`].
    #[inline]
    pub fn send_bytes<'a>(
        &'a self,
        to: impl AsDestination + 'a,
        bytes: &'a [u8],
    ) -> impl Future<Output = Result<(), SendError>> + 'a {
        self.send_content(to, Content::<()>::Raw(bytes))
    }

    /// Sends a message that is encoded already; large pieces of it are never copied.
    ///
    /// # Errors
    /// As [`Process::send`].
    #[inline]
    pub async fn send_encoded(
        &self,
        to: impl AsDestination,
        message: impl Borrow<Encoded>,
    ) -> Result<(), SendError> {
        self.send_content(to, Content::<()>::Encoded(message.borrow())).await
    }

    /// Sends a message that is encoded already, without waiting; see [`Process::try_send`].
    ///
    /// # Errors
    /// As [`Process::try_send`].
    #[inline]
    pub fn try_send_encoded(
        &self,
        to: impl AsDestination,
        message: &Encoded,
    ) -> Result<(), SendError> {
        self.try_send_content(to, Content::<()>::Encoded(message))
    }

    #[inline]
    pub(crate) fn try_send_content<T: Serialize + ?Sized>(
        &self,
        to: impl AsDestination,
        content: Content<'_, T>,
    ) -> Result<(), SendError> {
        if self.send_again(to.as_destination(), content) {
            return Ok(());
        }
        match self.pass_on(to.as_destination(), content)? {
            Outcome::Sent => Ok(()),
            Outcome::Busy { queued_bytes, limit_bytes, .. } => {
                Err(SendError::Busy { queued_bytes, limit_bytes })
            }
            Outcome::NoRoute(node) => Err(SendError::NoConnection { node, why: None }),
        }
    }

    /// Sends over the link of the last message, if this one is for a process of the same node.
    #[inline]
    fn send_again<T: Serialize + ?Sized>(
        &self,
        to: DestinationRef<'_>,
        content: Content<'_, T>,
    ) -> bool {
        match (to, &*self.wire.borrow()) {
            (DestinationRef::Pid(pid), Some(wire)) if !self.cell.held.get() => {
                wire.send(self.number, pid, content)
            }
            _ => false,
        }
    }

    /// Sends wherever the way leads.
    #[inline(never)]
    pub(crate) fn pass_on<T: Serialize + ?Sized>(
        &self,
        to: DestinationRef<'_>,
        content: Content<'_, T>,
    ) -> Result<Outcome, SendError> {
        let from = self.cell.id();
        if let DestinationRef::Pid(pid) = to
            && !self.cell.held.get()
        {
            if let Some(own) = self.shard.own(pid) {
                return self.shard.send_to_own(from, own, content);
            }
            self.wire.replace(self.shard.wire_to(&pid.node));
        }
        self.shard.send(from, to, content)
    }

    #[inline]
    pub(crate) fn send_content<'a, D: AsDestination + 'a, T: Serialize + ?Sized>(
        &'a self,
        to: D,
        content: Content<'a, T>,
    ) -> Sending<'a, D, T> {
        Sending { process: self, to, content, state: State::Fresh }
    }

    /// Registers this process under `name` on this node; returns when every shard knows it.
    ///
    /// # Errors
    /// [`SpawnError::NameTaken`], [`SpawnError::BadName`].
    pub async fn register(&self, name: &str) -> Result<(), SpawnError> {
        self.shard.node().register(name, self.cell.id()).await
    }

    /// Whether exit signals become [`Signal::Exit`] instead of ending this process
    /// (Erlang: `process_flag(trap_exit, _)`).
    pub fn trap_exit(&self, trap: bool) {
        self.cell.trap_exit.set(trap);
    }

    /// What this process's mailbox may hold.
    pub fn set_mailbox_limits(&self, limits: MailboxLimits) {
        self.cell.mailbox.borrow_mut().set_limits(limits);
    }

    /// Messages dropped so far because the mailbox was full.
    pub fn messages_dropped(&self) -> u64 {
        self.cell.mailbox.borrow().dropped()
    }

    /// A reference that is unique within this node's life (Erlang: `make_ref/0`).
    pub fn reference(&self) -> Reference {
        self.shard.reference()
    }

    /// A pid as all nodes know it now: that of a process of this node under the node's present
    /// name, any other as it is. Two pids of which one may be from a former life of the node name
    /// the same process if they are equal then.
    pub fn present(&self, pid: &Pid) -> Pid {
        self.shard.presented(pid)
    }

    /// The registered process of this node.
    pub fn whereis(&self, name: &Atom) -> Option<Pid> {
        self.shard.whereis(name)
    }

    /// True when this process has had its turn and must let others run. The turn is a matter of
    /// time, so that a receiver can empty its mailbox faster than its links fill it.
    #[inline]
    fn take_turn(&self) -> bool {
        let spent = self.spent.get() + 1;
        self.spent.set(spent % SIGNALS_PER_LOOK);
        spent == SIGNALS_PER_LOOK && self.shard.is_turn_over()
    }
}

/// The wait for a signal; made by [`Process::recv`].
#[must_use = "nothing is received unless this is awaited"]
#[derive(Debug)]
pub struct Recv<'a> {
    process: &'a mut Process,
}

impl Future for Recv<'_> {
    type Output = Result<Signal, Stopped>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let process = &*self.get_mut().process;
        if process.take_turn() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut mailbox = process.cell.mailbox.borrow_mut();
        // Apart from the rest, so that nothing moves on its way into the answer.
        if let Some(message) = mailbox.pop_of_run() {
            return Poll::Ready(Ok(Signal::Message(message)));
        }
        // The usual end of a turn.
        if mailbox.is_at_rest() && !process.shard.is_stopping() {
            process.spent.set(0);
            mailbox.wait(cx.waker(), |waker| process.cell.is_task(waker));
            return Poll::Pending;
        }
        drop(mailbox);
        match process.next_entry() {
            Some(signal) => Poll::Ready(Ok(signal)),
            None if process.shard.is_stopping() => Poll::Ready(Err(Stopped)),
            None => {
                process.spent.set(0);
                let mut mailbox = process.cell.mailbox.borrow_mut();
                mailbox.wait(cx.waker(), |waker| process.cell.is_task(waker));
                Poll::Pending
            }
        }
    }
}

/// A message on its way out; made by the sending methods of [`Process`].
pub(crate) struct Sending<'a, D, T: ?Sized> {
    process: &'a Process,
    to: D,
    content: Content<'a, T>,
    state: State,
}

enum State {
    Fresh,
    /// The process lets others run before it sends.
    Turn,
    /// It was not accepted at once.
    Waiting(Box<Wait>),
}

/// Nothing in it points into itself.
impl<D, T: ?Sized> Unpin for Sending<'_, D, T> {}

impl<D: AsDestination, T: Serialize + ?Sized> Future for Sending<'_, D, T> {
    type Output = Result<(), SendError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let sending = self.get_mut();
        if let State::Fresh = sending.state {
            let process = sending.process;
            // Lets the other processes and the links of this shard run, now and then.
            if process.take_turn() {
                sending.state = State::Turn;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if process.send_again(sending.to.as_destination(), sending.content) {
                return Poll::Ready(Ok(()));
            }
        }
        sending.poll_further(cx)
    }
}

impl<D: AsDestination, T: Serialize + ?Sized> Sending<'_, D, T> {
    #[inline(never)]
    fn poll_further(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let Sending { process, to, content, state } = self;
        let mut fresh = Wait::Nothing;
        let wait = match state {
            State::Fresh | State::Turn => &mut fresh,
            State::Waiting(wait) => wait,
        };
        let send = || process.pass_on(to.as_destination(), *content);
        let polled = process.shard.poll_send(cx, wait, send);
        if polled.is_pending() && !matches!(state, State::Waiting(_)) {
            *state = State::Waiting(Box::new(fresh));
        }
        polled
    }
}

/// Goes to the back of the executor's queue once.
pub(crate) async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
