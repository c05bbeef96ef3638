//! Links, monitors and exit signals that arrive, from processes of this node and of others.
//!
//! Every monitor and link gets its answer, so that nobody ever waits for us in vain: on a process
//! that is gone, at once.

use std::rc::Rc;

use krarup_transport::dist::{Control, Destination, ProcessOrName};
use krarup_transport::link::{Payload, SenderKey};
use krarup_transport::term::{Atom, Limits, Pid, Reference, Term};

use super::{Body, Shard, ShardMessage};
use crate::net_kernel::ConnectionId;
use crate::node::Encoded;
use crate::process::{Ended, Exit, Party, ProcessCell, ProcessId, Signal, Via, Watcher};

/// Whether an exit signal came through a link or from `exit/2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByLink {
    Yes,
    No,
}

impl Shard {
    /// Hands a link, monitor or exit signal to the shard of the process it concerns.
    pub(super) fn concerning(
        self: &Rc<Self>,
        via: Via,
        control: Control,
        payload: Option<Payload>,
    ) {
        let subject = self.subject(via, &control);
        match subject.map(|id| usize::from(id.shard)) {
            Some(shard) if shard != self.id && shard < self.count => {
                let payload = payload.map(Into::into);
                self.tell(shard, ShardMessage::Incoming { via, control, payload });
            }
            // Of a pid that no process can have this shard knows as much as any.
            _ => self.incoming(subject, via, control, payload),
        }
    }

    /// The process of this node that a signal concerns.
    fn subject(&self, via: Via, control: &Control) -> Option<ProcessId> {
        let own = |pid| if via == Via::Own { self.own(pid) } else { self.present(pid) };
        match control {
            Control::Link { to, .. }
            | Control::Unlink { to, .. }
            | Control::UnlinkAck { to, .. }
            | Control::Exit { to, .. }
            | Control::Exit2 { to: Destination::Process(to), .. }
            | Control::MonitorExit { to, .. }
            | Control::GroupLeader { to, .. } => own(to),
            Control::Monitor { to, .. } | Control::Demonitor { to, .. } => match to {
                ProcessOrName::Process(pid) => own(pid),
                ProcessOrName::Name(name) => self.names.borrow().get(name).copied(),
            },
            Control::Exit2 { to: Destination::Name(name), .. } => {
                self.names.borrow().get(name).copied()
            }
            Control::Exit2 { to: Destination::Alias(alias), .. } => {
                self.aliases.borrow().get(alias).map(|alias| alias.process)
            }
            Control::Send { .. } | Control::SpawnRequest(_) | Control::SpawnReply(_) => None,
        }
    }

    /// Handles a signal that concerns a process of this shard, or none at all.
    fn incoming(
        self: &Rc<Self>,
        subject: Option<ProcessId>,
        via: Via,
        control: Control,
        payload: Option<Payload>,
    ) {
        let subject = subject.and_then(|id| self.find(id));
        match control {
            Control::Monitor { from, to, reference } => match subject {
                Some(process) => {
                    let by = self.party(&from);
                    let name = match to {
                        ProcessOrName::Name(name) => Some(name),
                        ProcessOrName::Process(_) => None,
                    };
                    let watcher = Watcher { by, via, name };
                    process.relations.borrow_mut().watched(reference, watcher);
                }
                None => {
                    let down = Control::MonitorExit { from: to, to: from, reference };
                    self.answer(via, down, Some(&noproc()));
                }
            },
            Control::Demonitor { from, to, reference } => {
                let by = self.party(&from);
                let known = subject.is_some_and(|process| {
                    process.relations.borrow_mut().unwatched(&reference, &by)
                });
                // The name may have been that of another process when the monitor came.
                if !known && matches!(to, ProcessOrName::Name(_)) {
                    self.unwatch_everywhere(&reference, &by);
                }
            }
            Control::MonitorExit { reference, .. } => {
                if let (Some(process), Some(reason)) = (subject, payload) {
                    self.fire(&process, &reference, via, reason);
                }
            }
            Control::Link { from, to } => match subject {
                Some(process) => {
                    let by = self.party(&from);
                    process.relations.borrow_mut().linked(by, via);
                }
                None => {
                    let exit = Control::Exit { from: to, to: from, token: None };
                    self.answer(via, exit, Some(&noproc()));
                }
            },
            Control::Unlink { id, from, to } => {
                if let Some(process) = subject {
                    process.relations.borrow_mut().unlinked(&self.party(&from));
                }
                // OTP acknowledges for dead processes too; the other side waits for it.
                self.answer(via, Control::UnlinkAck { id, from: to, to: from }, None);
            }
            Control::UnlinkAck { id, from, .. } => {
                if let Some(process) = subject {
                    process.relations.borrow_mut().removal_acknowledged(&self.party(&from), id);
                }
            }
            Control::Exit { from, .. } => {
                let Some(process) = subject else { return };
                // Without a link the signal is late: the link was removed meanwhile.
                let was_linked = process.relations.borrow_mut().exited(&self.party(&from));
                if was_linked {
                    self.exit_signal(&process, from, reason_of(payload), ByLink::Yes);
                }
            }
            Control::Exit2 { from, .. } => {
                if let Some(process) = subject {
                    self.exit_signal(&process, from, reason_of(payload), ByLink::No);
                }
            }
            Control::GroupLeader { leader, .. } => {
                if let Some(process) = subject {
                    process.set_group_leader(leader);
                }
            }
            Control::Send { .. } | Control::SpawnRequest(_) | Control::SpawnReply(_) => {}
        }
    }

    /// Takes a monitor by name away from whichever process has it.
    fn unwatch_everywhere(self: &Rc<Self>, reference: &Reference, by: &Party) {
        for shard in 0..self.count {
            let (reference, by) = (reference.clone(), by.clone());
            let unwatch = move |shard: &Rc<Shard>| {
                // Names seldom move: this is not worth an index.
                for process in shard.processes.borrow().iter() {
                    if process.relations.borrow_mut().unwatched(&reference, &by) {
                        return;
                    }
                }
            };
            self.tell(shard, ShardMessage::Run(Box::new(unwatch)));
        }
    }

    /// Erlang's rules for exit signals: `kill` sent by `exit/2` cannot be trapped, `normal` ends
    /// nobody but its own sender, a process that traps exits gets a message.
    pub(super) fn exit_signal(
        self: &Rc<Self>,
        process: &Rc<ProcessCell>,
        from: Pid,
        reason: Term,
        by_link: ByLink,
    ) {
        let is = |text: &str| matches!(&reason, Term::Atom(atom) if atom.as_str() == text);
        if by_link == ByLink::No && is("kill") {
            self.end(process, Term::Atom(Atom::from_static("killed")));
        } else if process.trap_exit.get() {
            self.push(process, Signal::Exit(Box::new(Exit::new(from, reason))));
        } else if !is("normal") || by_link == ByLink::No && self.own(&from) == Some(process.id()) {
            self.end(process, reason);
        }
    }

    /// Tells everybody who asked to be told that a process has ended.
    pub(super) fn tell_end(self: &Rc<Self>, id: ProcessId, ended: Ended, reason: &Term) {
        let Ended { links, monitors, watchers } = ended;
        for (reference, monitor) in monitors {
            self.take_back(id, reference, monitor);
        }
        if links.is_empty() && watchers.is_empty() {
            return;
        }
        let payload = Encoded::term(reason);
        let own = self.pid(id);
        for (party, via) in links {
            let to = self.pid_of(party);
            let node = to.node.clone();
            let exit = Control::Exit { from: own.clone(), to, token: None };
            self.signal(id, node.as_str(), via, exit, Some(payload.clone()));
        }
        for (reference, watcher) in watchers {
            let from = match watcher.name {
                Some(name) => ProcessOrName::Name(name),
                None => ProcessOrName::Process(own.clone()),
            };
            let to = self.pid_of(watcher.by);
            let node = to.node.clone();
            let down = Control::MonitorExit { from, to, reference };
            self.signal(id, node.as_str(), watcher.via, down, Some(payload.clone()));
        }
    }

    /// Forgets what a connection that ended had asked for, and lets links and monitors fire.
    pub(super) fn connection_lost(self: &Rc<Self>, connection: ConnectionId) {
        let concerned: Vec<Rc<ProcessCell>> = self
            .processes
            .borrow()
            .iter()
            .filter(|process| !process.relations.borrow().is_empty())
            .cloned()
            .collect();
        let reason = Encoded::term(&noconnection()).into_payload();
        for process in concerned {
            let lost = process.relations.borrow_mut().lost(connection);
            for party in lost.links {
                let from = self.pid_of(party);
                self.exit_signal(&process, from, noconnection(), ByLink::Yes);
            }
            for (reference, monitor) in lost.monitors {
                self.fired(&process, &reference, monitor, reason.clone());
            }
        }
        self.spawns_lost(connection);
    }

    /// Sends an answer by the way that the question came by; a connection that is gone takes the
    /// asker's interest with it.
    pub(super) fn answer(self: &Rc<Self>, via: Via, control: Control, reason: Option<&Term>) {
        let payload = reason.map(Encoded::term);
        match (via, control) {
            (Via::Own, Control::SpawnReply(reply)) => self.spawn_answered(via, *reply),
            (Via::Own, control) => {
                self.concerning(via, control, payload.map(Encoded::into_payload));
            }
            (Via::Connection(connection), control) => {
                let sender = control.sender().map_or(SenderKey::NODE, SenderKey::of);
                self.send_control(connection, sender, control, payload.map(Body::Encoded));
            }
            // Nobody asks before there is a connection.
            (Via::Awaited, _) => {}
        }
    }
}

pub(super) fn noproc() -> Term {
    Term::Atom(Atom::from_static("noproc"))
}

pub(super) fn noconnection() -> Term {
    Term::Atom(Atom::from_static("noconnection"))
}

/// The reason of an exit; one that cannot be kept as a term still ends the process.
pub(super) fn reason_of(payload: Option<Payload>) -> Term {
    payload
        .and_then(|payload| payload.decode(&Limits::DEFAULT).ok())
        .unwrap_or_else(|| Term::Atom(Atom::from_static("unknown")))
}
