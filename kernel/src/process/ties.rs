//! What ties processes together: links, monitors, exit signals, aliases.

use std::future::{Future, poll_fn};
use std::rc::Rc;

use futures_channel::oneshot;
use krarup_transport::term::{Atom, Pid, Reference, Term};

use super::{
    AliasMode, AnswerSlot, AsDestination, ExitReason, Origin, Owner, Party, Process, ProcessResult,
    Signal, Via,
};
use crate::node::SpawnError;
use crate::shard::answered;

impl Process {
    /// Links this process to another one (Erlang: `link/1`): when either ends with a reason other
    /// than `normal`, so does the other, or gets [`Signal::Exit`] if it traps exits.
    ///
    /// If there is no such process, or its node cannot be reached, the link breaks at once with
    /// `noproc` or `noconnection`.
    pub fn link(&self, to: &Pid) {
        self.shard().link(self.cell(), to);
    }

    /// Removes a link (Erlang: `unlink/1`). An exit of the other process that is on its way is
    /// ignored; one that is in the mailbox stays.
    pub fn unlink(&self, to: &Pid) {
        self.shard().unlink(self.cell(), to);
    }

    /// Sends an exit signal (Erlang: `exit/2`). The reason `kill` ends the process even if it traps
    /// exits, `normal` none but this one. A process that ends itself so goes on until it next waits.
    pub fn exit(&self, to: impl AsDestination, reason: &Term) {
        self.shard().exit(self.cell().id(), to.as_destination(), reason);
    }

    /// Monitors a process or a registered name (Erlang: `monitor/2`): [`Signal::Down`] with this
    /// reference comes once, when it ends.
    ///
    /// If there is no such process, or its node cannot be reached, it comes at once, with `noproc`
    /// or `noconnection`.
    pub fn monitor(&self, target: impl AsDestination) -> Reference {
        self.shard().monitor(self.cell(), target.as_destination(), None, None)
    }

    /// Monitors a process, and makes the reference an alias of this one at the same time (Erlang:
    /// `monitor/3` with `{alias, _}`).
    pub fn monitor_with_alias(&self, target: impl AsDestination, mode: AliasMode) -> Reference {
        self.shard().monitor(self.cell(), target.as_destination(), Some(mode), None)
    }

    /// Takes a monitor back (Erlang: `demonitor/1`); false when it has fired, or never was. Its
    /// [`Signal::Down`] may be in the mailbox already: [`Process::demonitor_flush`] removes it.
    pub fn demonitor(&self, monitor: &Reference) -> bool {
        self.shard().demonitor(self.cell(), monitor)
    }

    /// Takes a monitor back and removes its [`Signal::Down`] from the mailbox (Erlang:
    /// `demonitor(_, [flush])`).
    pub fn demonitor_flush(&mut self, monitor: &Reference) -> bool {
        let was_there = self.demonitor(monitor);
        if !was_there {
            self.cell().mailbox.borrow_mut().remove_signals(
                |signal| matches!(signal, Signal::Down(down) if down.reference == *monitor),
            );
        }
        was_there
    }

    /// An alias: a reference that others can send to (Erlang: `alias/0`).
    pub fn alias(&self) -> Reference {
        self.alias_with(AliasMode::Explicit)
    }

    /// An alias that lasts as `mode` says (Erlang: `alias/1`).
    pub fn alias_with(&self, mode: AliasMode) -> Reference {
        self.shard().add_alias(self.cell(), mode)
    }

    /// Gives an alias back; messages to it are dropped from now on. True when it was active.
    pub fn unalias(&self, alias: &Reference) -> bool {
        self.shard().remove_alias(self.cell(), alias)
    }

    /// How many links, monitors and aliases this process has; calls that wait for an answer have a
    /// monitor each.
    pub fn ties(&self) -> Ties {
        let (links, monitors, monitored_by) = self.cell().relations.borrow().counts();
        let questions = self.cell().questions.borrow().len();
        let aliases = self.cell().aliases.borrow().len() + questions;
        Ties { links, monitors, monitored_by, aliases }
    }

    /// Starts a process on the same shard, linked to this one (Erlang: `spawn_link/1`).
    ///
    /// # Errors
    /// [`SpawnError::SystemLimit`].
    pub fn spawn_link<F, R>(&self, run: F) -> Result<Pid, SpawnError>
    where
        F: FnOnce(Process) -> R + 'static,
        R: Future<Output = ProcessResult> + 'static,
    {
        self.spawn_tied(run, true)
    }

    /// Starts a process on the given shard (modulo their number), linked to this one.
    ///
    /// # Errors
    /// [`SpawnError::SystemLimit`], [`SpawnError::Stopped`].
    pub async fn spawn_link_on<F, R>(&self, shard: usize, run: F) -> Result<Pid, SpawnError>
    where
        F: FnOnce(Process) -> R + Send + 'static,
        R: Future<Output = ProcessResult> + 'static,
    {
        let here = self.shard();
        if shard % here.count == here.id {
            return self.spawn_link(run);
        }
        let me = self.cell().id();
        let group_leader = here.group_leader_of(self.cell());
        let origin = Origin { parent: Some(self.pid()), group_leader };
        let (linked, both_linked) = oneshot::channel();
        let run = move |child: Process| {
            child.cell().origin.replace(Some(Box::new(origin)));
            child.cell().relations.borrow_mut().linked(Party::Own(me), Via::Own);
            async move {
                // An end before the other side knows of the link would be news to nobody.
                match answered(both_linked).await {
                    Some(()) => run(child).await,
                    None => Err(ExitReason(Term::Atom(Atom::from_static("noproc"))).into()),
                }
            }
        };
        let pid = self.node().spawn_on(shard, None, run).await?;
        self.link(&pid);
        let _ = linked.send(());
        Ok(pid)
    }

    /// Starts a process on the same shard and monitors it (Erlang: `spawn_monitor/1`).
    ///
    /// # Errors
    /// [`SpawnError::SystemLimit`].
    pub fn spawn_monitor<F, R>(&self, run: F) -> Result<(Pid, Reference), SpawnError>
    where
        F: FnOnce(Process) -> R + 'static,
        R: Future<Output = ProcessResult> + 'static,
    {
        let pid = self.spawn_tied(run, false)?;
        let monitor = self.monitor(&pid);
        Ok((pid, monitor))
    }

    /// The new process runs at the earliest when this one waits, so that whatever is to tie them
    /// can be done first.
    pub(super) fn spawn_tied<F, R>(&self, run: F, link: bool) -> Result<Pid, SpawnError>
    where
        F: FnOnce(Process) -> R + 'static,
        R: Future<Output = ProcessResult> + 'static,
    {
        let shard = self.shard();
        let child = shard.create(Owner::Task)?;
        let group_leader = shard.group_leader_of(self.cell());
        child.origin.replace(Some(Box::new(Origin { parent: Some(self.pid()), group_leader })));
        if link {
            shard.link_own(self.cell(), &child);
        }
        let pid = shard.pid(child.id());
        shard.run(&child, |me| Box::pin(async move { run(me).await }));
        Ok(pid)
    }

    /// Waits for the end of a process. Nothing of it comes to the mailbox.
    pub(crate) async fn end_of(&self, pid: &Pid) {
        let slot = Rc::<AnswerSlot>::default();
        let question = Some(Rc::clone(&slot));
        self.shard().monitor(self.cell(), pid.as_destination(), None, question);
        poll_fn(|cx| slot.poll(cx)).await;
    }

    /// Removes the [`Signal::Exit`] of a process that has ended from the mailbox.
    pub(crate) fn flush_exit(&mut self, of: &Pid) {
        let (of, shard) = (self.present(of), self.shard());
        self.cell().mailbox.borrow_mut().remove_signals(
            |signal| matches!(signal, Signal::Exit(exit) if shard.presented(&exit.from) == of),
        );
    }

    /// Who started this process, if it was another one (OTP: the parent of `proc_lib`).
    pub fn parent(&self) -> Option<Pid> {
        let parent = self.cell().origin.borrow().as_ref()?.parent.clone()?;
        Some(self.present(&parent))
    }

    /// Who gets what this process prints (Erlang: `group_leader/0`).
    pub fn group_leader(&self) -> Pid {
        self.shard().group_leader_of(self.cell())
    }

    /// From now on `leader` gets what this process prints (Erlang: `group_leader/2`).
    pub fn set_group_leader(&self, leader: Pid) {
        self.cell().set_group_leader(leader);
    }
}

/// What ties a process to others; see [`Process::ties`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// Processes it is linked to.
    pub links: usize,
    /// Its monitors of others.
    pub monitors: usize,
    /// Monitors that others have of it.
    pub monitored_by: usize,
    /// Its active aliases.
    pub aliases: usize,
}
