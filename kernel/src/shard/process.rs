//! The life of a process on its shard.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use krarup_transport::term::{Atom, Pid, Term};

use super::machine::Machine;
use super::turn::Turn;
use super::{KernelEvent, LinkEntry, NODE_PROCESS, Shard};
use crate::node::{LaneStats, LinkStats, ShardStats, SpawnError};
use crate::process::{
    Owner, Process, ProcessCell, ProcessFuture, ProcessId, Pushed, Signal, error_reason,
    panic_reason,
};

impl Shard {
    /// The living process of that id on this shard.
    pub(crate) fn find(&self, id: ProcessId) -> Option<Rc<ProcessCell>> {
        if usize::from(id.shard) != self.id {
            return None;
        }
        self.processes.borrow().find(id).cloned()
    }

    /// Makes a process without running anything yet.
    pub(crate) fn create(&self, owner: Owner) -> Result<Rc<ProcessCell>, SpawnError> {
        let mut processes = self.processes.borrow_mut();
        let id = processes.reserve().ok_or(SpawnError::SystemLimit)?;
        let cell = Rc::new(ProcessCell::new(id, owner));
        processes.insert(Rc::clone(&cell));
        Ok(cell)
    }

    /// Who gets what a process prints: its own group leader, or the node's.
    pub(crate) fn group_leader_of(&self, process: &ProcessCell) -> Pid {
        let set = process.group_leader().map(|leader| self.presented(&leader));
        set.unwrap_or_else(|| {
            let user = self.names.borrow().get("user").copied();
            // `<0.0.0>` is every node's `init`.
            self.pid(user.unwrap_or(NODE_PROCESS))
        })
    }

    /// Drops a process that never ran.
    pub(crate) fn discard(&self, cell: &ProcessCell) {
        self.processes.borrow_mut().remove(cell.id());
    }

    /// Ends a process as if it had returned.
    pub(crate) fn end_normally(self: &Rc<Self>, id: ProcessId) {
        if let Some(process) = self.find(id) {
            self.end(&process, Term::Atom(Atom::from_static("normal")));
        }
    }

    /// Ends every process of this shard; the node stops.
    fn end_processes(self: &Rc<Self>) {
        self.stopping.set(true);
        let all: Vec<Rc<ProcessCell>> = self.processes.borrow().iter().cloned().collect();
        for process in all {
            self.end(&process, Term::Atom(Atom::from_static("shutdown")));
        }
    }

    /// Ends every process of the node.
    pub(crate) async fn end_processes_everywhere(self: &Rc<Self>) {
        self.everywhere(|| |shard: &Rc<Shard>| shard.end_processes()).await;
    }

    /// Starts the task of a process.
    pub(crate) fn run<F>(self: &Rc<Self>, cell: &Rc<ProcessCell>, body: F)
    where
        F: FnOnce(Process) -> ProcessFuture,
    {
        let process = Process::new(Rc::clone(self), Rc::clone(cell));
        // A panic while the future is made is the process's, as one inside it is.
        match catch_unwind(AssertUnwindSafe(|| body(process))) {
            Ok(future) => *cell.body.borrow_mut() = Some(future),
            Err(panic) => cell.end(panic_reason(&*panic)),
        }
        let task = ProcessTask { shard: Rc::clone(self), cell: Rc::clone(cell) };
        glommio::spawn_local(task).detach();
    }

    /// Runs the processes that were woken, each until it waits again.
    pub(super) fn run_ready(self: &Rc<Self>) {
        // One by one, so that a panic leaves the others where they are.
        let round = self.ready.borrow().len();
        // Who begins to wait in this round has its turn in a later one.
        let timed = self.wait_sample.timed();
        for _ in 0..round {
            let Some(cell) = self.ready.borrow_mut().pop_front() else { return };
            if timed.is_some_and(|process| process == cell.id()) {
                self.wait_sample.end();
            }
            // What waits was polled by its task, which knows the waker.
            let task = cell.task();
            let Some(task) = &*task else { continue };
            let ended = self.run_turn(&cell, &mut Context::from_waker(task));
            if ended.is_ready() || cell.exit.borrow().is_some() {
                task.wake_by_ref();
            }
        }
    }

    /// Lets a process run until it waits, or to its end.
    fn run_turn(self: &Rc<Self>, cell: &Rc<ProcessCell>, cx: &mut Context<'_>) -> Poll<()> {
        let ended = cell.exit.borrow_mut().take();
        let mut body = cell.body.borrow_mut();
        let outcome = match (ended, body.as_mut()) {
            (Some(reason), _) => Some(reason),
            (None, None) => return Poll::Ready(()),
            (None, Some(future)) => {
                self.turn.set(Turn::begin());
                self.io().handle().note_turn();
                let timed = self.turn_sample.begin();
                let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
                if let Some(began) = timed {
                    self.turn_sample.end(began);
                }
                // The executor's timer spares most turns a second look at the clock.
                if glommio::executor().need_preempt() {
                    self.note_turn(cell);
                }
                match polled {
                    Ok(Poll::Pending) => None,
                    Ok(Poll::Ready(Ok(()))) => Some(Term::Atom(Atom::from_static("normal"))),
                    Ok(Poll::Ready(Err(error))) => Some(error_reason(error)),
                    Err(panic) => Some(panic_reason(&*panic)),
                }
            }
        };
        // An exit signal may have come while the process ran; it ends at the next turn.
        let Some(mut reason) = outcome else { return Poll::Pending };
        drop(body);
        // The future goes first: what it holds may still send.
        if let Err(panic) = drop_body(cell) {
            reason = panic_reason(&*panic);
        }
        // It has its reason: what came meanwhile must not end it once more.
        cell.exit.take();
        log_end(self, cell, &reason);
        self.finish(cell, &reason);
        Poll::Ready(())
    }

    /// Puts a signal into the mailbox of a process of this shard.
    #[inline]
    pub(crate) fn push(self: &Rc<Self>, process: &Rc<ProcessCell>, signal: Signal) {
        self.pushed(process, process.deliver(signal));
    }

    /// Does what a mailbox asks for that is full.
    #[inline]
    pub(super) fn pushed(self: &Rc<Self>, process: &Rc<ProcessCell>, pushed: Pushed) {
        self.io().handle().note_delivery();
        if process.mailbox.borrow_mut().take_due() {
            self.give_turn(process);
        }
        match pushed {
            Pushed::Queued | Pushed::Dropped => {}
            Pushed::Over => self.hold_senders(process),
            Pushed::Full => self.mailbox_full(process),
        }
    }

    /// Lets a process run when those that were woken before it have run.
    #[inline]
    pub(super) fn give_turn(self: &Rc<Self>, process: &Rc<ProcessCell>) {
        self.wait_sample.begin(process.id());
        self.ready.borrow_mut().push_back(Rc::clone(process));
        self.io().handle().note_ready();
    }

    #[cold]
    fn mailbox_full(self: &Rc<Self>, process: &Rc<ProcessCell>) {
        tracing::warn!(pid = %self.pid(process.id()), "a mailbox is full, its process ends");
        self.end(process, Term::Atom(Atom::from_static("mailbox_full")));
    }

    /// Ends a process from outside with `reason`.
    pub(crate) fn end(self: &Rc<Self>, process: &Rc<ProcessCell>, reason: Term) {
        match process.owner() {
            Owner::Task => process.end(reason),
            Owner::External(_) => self.finish(process, &reason),
        }
    }

    /// A process has ended: tells everybody who asked to be told.
    pub(crate) fn finish(self: &Rc<Self>, process: &Rc<ProcessCell>, reason: &Term) {
        let id = process.id();
        if self.processes.borrow_mut().remove(id).is_none() {
            return;
        }
        if let Owner::External(queue) = process.owner() {
            queue.close();
        }
        // What it sent and what waits must not come behind the news of its end.
        self.drop_outside(id);
        self.forget_held(id);
        for name in process.names.take() {
            let mut names = self.names.borrow_mut();
            if names.get(&name) == Some(&id) {
                names.remove(&name);
            }
            drop(names);
            self.tell_kernel(KernelEvent::NameGone { name, process: id });
        }
        let questions = process.questions.take();
        for alias in process.aliases.take().iter().chain(questions.keys()) {
            self.aliases.borrow_mut().remove(alias);
        }
        if process.watches_nodes.get() {
            self.forget_subscriptions(id);
            self.forget_node_monitors(id);
        }
        self.spawns_ended(process, reason);
        let ended = process.relations.borrow_mut().end();
        self.tell_end(id, ended, reason);
        let mut mailbox = process.mailbox.borrow_mut();
        mailbox.clear();
        let released = mailbox.take_released();
        drop(mailbox);
        if let Some(released) = released {
            self.release(process, *released);
        }
    }

    /// Lets go of the slabs that messages hold which nobody has read for a while.
    pub(super) fn settle_mailboxes(&self) {
        self.kept.trim();
        for process in self.processes.borrow().iter() {
            process.mailbox.borrow_mut().settle();
        }
    }

    /// The pids of this shard's processes.
    pub(crate) fn pids(&self) -> Vec<Pid> {
        self.processes.borrow().iter().map(|process| self.pid(process.id())).collect()
    }

    /// What this shard counts.
    pub(crate) fn stats(&self) -> ShardStats {
        let handle = self.io().handle();
        let now = Instant::now();
        let links: Vec<Rc<LinkEntry>> = self.links.borrow().values().cloned().collect();
        let links = links.iter().filter_map(|link| {
            self.io().with(link, |state| {
                let counters = state.machine.counters();
                let is_connected = link.key().is_some();
                let (busy, busy_times) = state.fullness(now);
                let lane = match &state.machine {
                    Machine::Otp(_) => None,
                    Machine::Lane(lane) => {
                        let replay = lane.replay_counters();
                        Some(LaneStats {
                            lane: link.id().lane,
                            is_connected,
                            resumes: replay.resumes,
                            replayed_bytes: replay.replayed_bytes,
                            retained_bytes: replay.retained_bytes,
                            checksum_errors: state.checksum_errors,
                        })
                    }
                };
                LinkStats {
                    node: link.node().clone(),
                    shard: self.id,
                    lane,
                    received_bytes: counters.received_bytes,
                    sent_bytes: counters.written_bytes,
                    received_signals: counters.received_signals,
                    sent_signals: counters.sent_signals,
                    sent_ticks: counters.sent_ticks,
                    missed_tick_intervals: state.machine.ticker().missed_intervals(),
                    silent_intervals: state.machine.ticker().silent_intervals(),
                    last_received: now.saturating_duration_since(state.last_byte(now)),
                    queued_bytes: state.machine.queued_bytes(),
                    busy,
                    busy_times,
                }
            })
        });
        let (mut processes, mut mailbox_bytes, mut mailbox_bytes_max) = (0, 0, 0);
        for process in self.processes.borrow().iter() {
            let bytes = process.mailbox.borrow().bytes();
            processes += 1;
            mailbox_bytes += bytes;
            mailbox_bytes_max = bytes.max(mailbox_bytes_max);
        }
        ShardStats {
            links: links.collect(),
            processes,
            mailbox_bytes,
            mailbox_bytes_max,
            turns: self.turn_sample.histogram(),
            waits: self.wait_sample.histogram(),
            long_turns: self.long_turns.get(),
            driver: handle.counters(),
        }
    }
}

/// The executor's task of a process: runs it when something else than its mailbox woke it.
struct ProcessTask {
    shard: Rc<Shard>,
    cell: Rc<ProcessCell>,
}

impl Future for ProcessTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.cell.remember_task(cx.waker());
        self.shard.run_turn(&self.cell, cx)
    }
}

impl Drop for ProcessTask {
    fn drop(&mut self) {
        // A process keeps its cell, and the cell what the process runs. Nobody is left to be told of
        // a panic.
        let _ = drop_body(&self.cell);
    }
}

/// Drops what a process runs. What that keeps is the program's, and may panic.
fn drop_body(cell: &ProcessCell) -> std::thread::Result<()> {
    let body = cell.body.take();
    catch_unwind(AssertUnwindSafe(|| drop(body)))
}

fn log_end(shard: &Shard, cell: &ProcessCell, reason: &Term) {
    let crashed = matches!(reason, Term::Tuple(parts)
        if matches!(parts.first(), Some(Term::Atom(kind)) if matches!(kind.as_str(), "panic" | "error")));
    if crashed {
        tracing::error!(pid = %shard.pid(cell.id()), %reason, "a process failed");
    }
}
