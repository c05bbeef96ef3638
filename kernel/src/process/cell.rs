//! One process as its shard sees it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;

use krarup_transport::term::{Atom, Pid, Reference, Term};
use smallvec::SmallVec;

use super::context::ProcessResult;
use super::mailbox::{MailboxQueue, PeerRun, Pushed};
use super::{ExternalQueue, ProcessId, SharedSignal, Signal};
use crate::net_kernel::ConnectionId;

/// What a process runs: its future, made on the shard it lives on.
pub(crate) type ProcessFuture = Pin<Box<dyn Future<Output = ProcessResult>>>;

/// Who receives a process's signals.
pub(crate) enum Owner {
    /// A task on the same shard.
    Task,
    /// A [`Mailbox`](super::Mailbox) held by any thread.
    External(Arc<ExternalQueue>),
}

/// Somebody on another node who monitors this process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Watcher {
    /// The connection the monitor came by; it ends with that connection.
    pub(crate) connection: ConnectionId,
    pub(crate) watcher: Pid,
    pub(crate) reference: Reference,
    /// The name it was monitored by; DOWN repeats it (OTP: `MONITOR_P_EXIT` with the name).
    pub(crate) name: Option<Atom>,
}

/// One process. Its state belongs to its shard; nothing here is shared with another thread but
/// the queue of an external owner.
pub(crate) struct ProcessCell {
    id: ProcessId,
    owner: Owner,
    pub(crate) mailbox: RefCell<MailboxQueue>,
    task: RefCell<Option<Waker>>,
    /// What it runs, until it has ended.
    pub(crate) body: RefCell<Option<ProcessFuture>>,
    pub(crate) trap_exit: Cell<bool>,
    /// Set once the process must end; its task ends at the next poll.
    pub(crate) exit: RefCell<Option<Term>>,
    pub(crate) names: RefCell<SmallVec<[Atom; 1]>>,
    pub(crate) aliases: RefCell<SmallVec<[Reference; 1]>>,
    pub(crate) watchers: RefCell<Vec<Watcher>>,
    /// Linked processes of other nodes, with the connection the link came by.
    pub(crate) links: RefCell<Vec<(ConnectionId, Pid)>>,
    pub(crate) subscribed: Cell<bool>,
    /// Somebody has told it to wait: what it sends has to be looked at.
    pub(crate) held: Cell<bool>,
}

impl ProcessCell {
    pub(crate) fn new(id: ProcessId, owner: Owner) -> Self {
        ProcessCell {
            id,
            owner,
            mailbox: RefCell::default(),
            task: RefCell::default(),
            body: RefCell::default(),
            trap_exit: Cell::new(false),
            exit: RefCell::default(),
            names: RefCell::default(),
            aliases: RefCell::default(),
            watchers: RefCell::default(),
            links: RefCell::default(),
            subscribed: Cell::new(false),
            held: Cell::new(false),
        }
    }

    pub(crate) fn id(&self) -> ProcessId {
        self.id
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Hands over a signal.
    #[inline]
    pub(crate) fn deliver(&self, mut signal: Signal) -> Pushed {
        match &self.owner {
            Owner::Task => self.mailbox.borrow_mut().push(signal),
            Owner::External(queue) => {
                // Nobody knows when another thread reads it.
                signal.let_go_of_slab();
                queue.push(SharedSignal::from(signal))
            }
        }
    }

    /// Hands over the messages of a run.
    #[inline]
    pub(crate) fn deliver_run(&self, mut run: PeerRun) -> Pushed {
        if let Owner::Task = &self.owner {
            return self.mailbox.borrow_mut().push_run(run);
        }
        let mut pushed = Pushed::Queued;
        while pushed != Pushed::Full
            && let Some(message) = run.next()
        {
            pushed = self.deliver(Signal::Message(message));
        }
        pushed
    }

    /// Keeps the task's waker, so that an exit signal reaches it whatever it waits for.
    #[inline]
    pub(crate) fn remember_task(&self, waker: &Waker) {
        let mut task = self.task.borrow_mut();
        match task.as_ref() {
            Some(known) if known.will_wake(waker) => {}
            _ => *task = Some(waker.clone()),
        }
    }

    /// Whether a waker wakes the task of this process, and no part of it apart.
    pub(crate) fn is_task(&self, waker: &Waker) -> bool {
        self.task.borrow().as_ref().is_some_and(|task| task.will_wake(waker))
    }

    /// The waker of the process's task, once it has run.
    #[inline]
    pub(crate) fn task(&self) -> Option<Waker> {
        self.task.borrow().clone()
    }

    /// Tells the process to end with `reason`; the first reason stays.
    pub(crate) fn end(&self, reason: Term) {
        self.exit.borrow_mut().get_or_insert(reason);
        if let Some(task) = self.task.borrow().as_ref() {
            task.wake_by_ref();
        }
    }
}
