//! One process as its shard sees it.

use std::cell::{Cell, Ref, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use krarup_transport::term::{Atom, Pid, Reference, Term};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::context::ProcessResult;
use super::mailbox::{MailboxQueue, PeerRun, Pushed};
use super::{AnswerSlot, ExternalQueue, ProcessId, Relations, SharedSignal, Signal};

/// What a process runs: its future, made on the shard it lives on.
pub(crate) type ProcessFuture = Pin<Box<dyn Future<Output = ProcessResult>>>;

/// Who receives a process's signals.
pub(crate) enum Owner {
    /// A task on the same shard.
    Task,
    /// A [`Mailbox`](super::Mailbox) held by any thread.
    External(Arc<ExternalQueue>),
}

/// Who started a process, and where its output goes (Erlang: its parent and group leader).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) parent: Option<Pid>,
    pub(crate) group_leader: Pid,
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
    pub(crate) aliases: RefCell<FxHashSet<Reference>>,
    pub(crate) relations: RefCell<Relations>,
    /// Questions that wait for their answers.
    pub(crate) questions: RefCell<FxHashMap<Reference, Rc<AnswerSlot>>>,
    /// Its spawn requests that are not answered yet.
    pub(crate) spawns: Cell<usize>,
    /// Nothing for processes that a program of this node has started.
    pub(crate) origin: RefCell<Option<Box<Origin>>>,
    /// It may have subscriptions or monitors of nodes.
    pub(crate) watches_nodes: Cell<bool>,
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
            relations: RefCell::default(),
            questions: RefCell::default(),
            spawns: Cell::new(0),
            origin: RefCell::default(),
            watches_nodes: Cell::new(false),
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
    pub(crate) fn task(&self) -> Ref<'_, Option<Waker>> {
        self.task.borrow()
    }

    /// Who gets what it prints, if that is not the node's own.
    pub(crate) fn group_leader(&self) -> Option<Pid> {
        self.origin.borrow().as_ref().map(|origin| origin.group_leader.clone())
    }

    /// From now on this process gets what it prints (Erlang: `group_leader/2`).
    pub(crate) fn set_group_leader(&self, leader: Pid) {
        let mut origin = self.origin.borrow_mut();
        match &mut *origin {
            Some(origin) => origin.group_leader = leader,
            None => *origin = Some(Box::new(Origin { parent: None, group_leader: leader })),
        }
    }

    /// Tells the process to end with `reason`; the first reason stays.
    pub(crate) fn end(&self, reason: Term) {
        self.exit.borrow_mut().get_or_insert(reason);
        if let Some(task) = self.task.borrow().as_ref() {
            task.wake_by_ref();
        }
    }
}
