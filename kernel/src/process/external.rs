//! A mailbox for threads and async runtimes outside the shards.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use krarup_transport::term::{Atom, Pid, Reference, Term};
use serde::Serialize;

use super::mailbox::{Pushed, SIGNAL_OVERHEAD_BYTES};
use super::message::Identity;
use super::{
    AsDestination, Destination, MailboxLimits, ProcessCell, ProcessId, SharedSignal, Signal,
};
use crate::node::{Encoded, Node, Reply, SendError, Stopped};
use crate::shard::Shard;

/// A process whose owner is any thread or task: it has a pid, may have a registered name, and
/// receives here.
///
/// Sending and receiving cross a thread boundary (a queue and a wake-up), so latency-sensitive
/// work belongs into [`Node::spawn`]; a mailbox is the door for the rest of a program.
/// Dropping it ends the process with reason `normal`.
#[derive(Debug)]
pub struct Mailbox {
    node: Node,
    id: ProcessId,
    queue: Arc<ExternalQueue>,
}

impl Mailbox {
    pub(crate) fn new(node: Node, id: ProcessId, queue: Arc<ExternalQueue>) -> Self {
        Mailbox { node, id, queue }
    }

    /// This mailbox's pid.
    pub fn pid(&self) -> Pid {
        self.node.pid_of(self.id)
    }

    /// The node it belongs to.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The next signal, when one is there.
    ///
    /// # Errors
    /// [`Stopped`] when the node has stopped or the process was ended by an exit signal.
    pub fn try_recv(&mut self) -> Result<Option<Signal>, Stopped> {
        self.queue.pop()
    }

    /// Waits for the next signal; works on any async runtime.
    ///
    /// # Errors
    /// As [`Mailbox::try_recv`].
    pub async fn recv(&mut self) -> Result<Signal, Stopped> {
        let queue = &self.queue;
        poll_fn(|cx| queue.poll_pop(cx.waker())).await
    }

    /// Blocks the thread for the next signal, at most for `timeout`; `None` when it passed.
    ///
    /// # Errors
    /// As [`Mailbox::try_recv`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Signal>, Stopped> {
        self.queue.wait_pop(timeout)
    }

    /// Sends from this mailbox's pid; waits for room and for the connection.
    ///
    /// # Errors
    /// As [`Node::send`].
    pub async fn send<T: Serialize + ?Sized>(
        &self,
        to: impl AsDestination,
        message: &T,
    ) -> Result<(), SendError> {
        self.node.send_from(self.id, to.as_destination().into(), message).await
    }

    /// [`Mailbox::send`] for code that is not async: blocks the thread.
    ///
    /// # Errors
    /// As [`Node::send`].
    pub fn send_blocking<T: Serialize + ?Sized>(
        &self,
        to: impl AsDestination,
        message: &T,
    ) -> Result<(), SendError> {
        self.node.send_from(self.id, to.as_destination().into(), message).wait()
    }

    /// Sends bytes as they are; see [`Process::send_bytes`](crate::Process::send_bytes).
    ///
    /// # Errors
    /// As [`Node::send`].
    pub async fn send_bytes(&self, to: impl AsDestination, bytes: &[u8]) -> Result<(), SendError> {
        self.send_encoded(to, Encoded::raw(bytes.to_vec())).await
    }

    /// Sends a message that is encoded already; large pieces of it are never copied.
    ///
    /// # Errors
    /// As [`Node::send`].
    pub async fn send_encoded(
        &self,
        to: impl AsDestination,
        message: Encoded,
    ) -> Result<(), SendError> {
        self.node.send_encoded_from(self.id, to.as_destination().into(), message).await
    }

    /// Links this mailbox to a process; see [`Process::link`](crate::Process::link). Unless it
    /// traps exits, the end of the other one closes it.
    pub fn link(&self, to: &Pid) {
        let to = to.clone();
        self.on_shard(move |shard, process| shard.link(process, &to));
    }

    /// Removes a link; see [`Process::unlink`](crate::Process::unlink).
    pub fn unlink(&self, to: &Pid) {
        let to = to.clone();
        self.on_shard(move |shard, process| shard.unlink(process, &to));
    }

    /// Whether exit signals are received as [`Signal::Exit`] instead of closing this mailbox.
    pub fn trap_exit(&self, trap: bool) {
        self.on_shard(move |_, process| process.trap_exit.set(trap));
    }

    /// Sends an exit signal; see [`Process::exit`](crate::Process::exit).
    pub fn exit(&self, to: impl AsDestination, reason: &Term) {
        let (to, reason): (Destination, _) = (to.as_destination().into(), reason.clone());
        let exit = move |shard: &Rc<Shard>, process: &Rc<ProcessCell>| {
            shard.exit(process.id(), to.as_destination(), &reason);
        };
        self.on_shard(exit);
    }

    /// Monitors a process or a registered name; see [`Process::monitor`](crate::Process::monitor).
    ///
    /// # Errors
    /// [`Stopped`], as in [`Mailbox::try_recv`].
    pub fn monitor(&self, target: impl AsDestination) -> Reply<Result<Reference, Stopped>> {
        let target: Destination = target.as_destination().into();
        let (done, reply) = Reply::pair(|| Err(Stopped));
        self.on_shard(move |shard, process| {
            let _ = done.send(Ok(shard.monitor(process, target.as_destination(), None, None)));
        });
        reply
    }

    /// Takes a monitor back; see [`Process::demonitor`](crate::Process::demonitor).
    pub fn demonitor(&self, monitor: &Reference) -> Reply<bool> {
        let monitor = monitor.clone();
        let (done, reply) = Reply::pair(|| false);
        self.on_shard(move |shard, process| {
            let _ = done.send(shard.demonitor(process, &monitor));
        });
        reply
    }

    /// Does something where this mailbox lives, unless it has ended.
    pub(super) fn on_shard(
        &self,
        work: impl FnOnce(&Rc<Shard>, &Rc<ProcessCell>) + Send + 'static,
    ) {
        let id = self.id;
        self.node.run_on(usize::from(id.shard), move |shard| {
            if let Some(process) = shard.find(id) {
                work(shard, &process);
            }
        });
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.node.end_process(self.id);
    }
}

/// The queue between a shard and a [`Mailbox`].
///
/// The only lock between a shard and another thread on a message's way; it is held for a push or
/// a pop only.
#[derive(Debug, Default)]
pub(crate) struct ExternalQueue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    signals: VecDeque<SharedSignal>,
    bytes: usize,
    waiting: Option<Waker>,
    closed: bool,
}

impl ExternalQueue {
    /// Queues a signal, within the default byte budget of a mailbox.
    pub(crate) fn push(&self, signal: SharedSignal) -> Pushed {
        let mut state = self.lock();
        let size = signal.size_bytes() + SIGNAL_OVERHEAD_BYTES;
        if state.bytes + size > MailboxLimits::default().bytes_max && !state.signals.is_empty() {
            return Pushed::Full;
        }
        state.bytes += size;
        state.signals.push_back(signal);
        self.notify(state);
        Pushed::Queued
    }

    /// No more signals come; what is queued can still be read.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.notify(state);
    }

    fn notify(&self, mut state: MutexGuard<'_, State>) {
        let waiting = state.waiting.take();
        drop(state);
        self.arrived.notify_one();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    fn pop(&self) -> Result<Option<Signal>, Stopped> {
        self.lock().pop()
    }

    fn poll_pop(&self, waker: &Waker) -> Poll<Result<Signal, Stopped>> {
        let mut state = self.lock();
        match state.pop() {
            Ok(Some(signal)) => Poll::Ready(Ok(signal)),
            Err(stopped) => Poll::Ready(Err(stopped)),
            Ok(None) => {
                state.waiting = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    fn wait_pop(&self, timeout: Duration) -> Result<Option<Signal>, Stopped> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            if let Some(signal) = state.pop()? {
                return Ok(Some(signal));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            state = match self.arrived.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// A panic of another holder leaves the queue whole: every change is one push or pop.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pop(&mut self) -> Result<Option<Signal>, Stopped> {
        match self.signals.pop_front() {
            Some(signal) => {
                self.bytes -= signal.size_bytes() + SIGNAL_OVERHEAD_BYTES;
                let identity =
                    |name: &Atom, creation| Rc::new(Identity { name: name.clone(), creation });
                Ok(Some(signal.adopt(identity)))
            }
            None if self.closed => Err(Stopped),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use krarup_transport::buffer::Slice;
    use krarup_transport::fabric::Form;

    use super::*;
    use crate::process::Message;

    #[test]
    fn empty_messages_count() {
        let queue = ExternalQueue::default();
        let empty = || {
            let message = Message::new(None, Form::Raw, Slice::from_static(b""));
            SharedSignal::from(Signal::Message(message))
        };
        let most = MailboxLimits::default().bytes_max / SIGNAL_OVERHEAD_BYTES;
        for _ in 0..most {
            assert_eq!(queue.push(empty()), Pushed::Queued);
        }
        assert_eq!(queue.push(empty()), Pushed::Full);
        queue.pop().expect("open").expect("a message");
        assert_eq!(queue.push(empty()), Pushed::Queued);
        assert!(size_of::<SharedSignal>() <= SIGNAL_OVERHEAD_BYTES);
    }
}
