//! What the processes of other nodes ask of this one.
//!
//! Every monitor, link and spawn request gets its answer, so that nobody ever waits for us in
//! vain: on a process that is gone, at once.

use std::rc::Rc;

use krarup_transport::buffer::Slice;
use krarup_transport::dist::{Control, Destination, ProcessOrName};
use krarup_transport::fabric::{Form, LaneMessage, ProcessNumber, Run, Target as LaneTarget};
use krarup_transport::link::{Payload, PlainMessage, SenderKey, Side, Signal as WireSignal};
use krarup_transport::term::{Atom, Limits, Pid, Reference, Term};

use super::{Body, LinkEntry, Shard, ShardMessage, Target};
use crate::net_kernel::ConnectionId;
use crate::process::{
    Exit, Identity, Message, PeerRun, ProcessCell, ProcessId, Sender, Signal, Watcher,
};

impl Shard {
    /// Handles an ordinary message from a process of the peer to one of this node.
    #[inline]
    pub(super) fn received_plain(
        self: &Rc<Self>,
        link: &LinkEntry,
        message: PlainMessage,
        frame: Slice,
    ) {
        let PlainMessage { from, to, payload } = message;
        if to.node != Side::Local || to.creation != self.identity.borrow().creation {
            // For a former life of this node, or for a process of the peer itself.
            return;
        }
        let node = match from.node {
            Side::Peer => link.peer().identity(link.node(), from.creation),
            Side::Local => {
                let own = self.identity.borrow().name.clone();
                self.identity_of(&own, from.creation)
            }
        };
        let number = ProcessNumber { id: from.id, serial: from.serial };
        let mut term = frame;
        term.truncate(payload.end);
        term.advance(payload.start);
        let message = Message::new(Some(Sender { node, number }), Form::Term, term);
        self.deliver(ProcessId::of(to.id, to.serial), Signal::Message(message));
    }

    /// Hands on the messages of a run that a lane from `node` brought.
    #[inline]
    pub(super) fn received_run(self: &Rc<Self>, node: &Rc<Identity>, run: Run) {
        self.deliver_run(PeerRun { node: Rc::clone(node), run });
    }

    /// Handles a message of a lane from `node` that is in no run.
    pub(super) fn received_message(self: &Rc<Self>, node: &Rc<Identity>, message: LaneMessage) {
        let LaneMessage { from, to, form, payload } = message;
        let sender = Sender { node: Rc::clone(node), number: from };
        let message = Signal::Message(Message::of_parts(Some(sender), form, payload));
        match to {
            LaneTarget::Process(ProcessNumber { id, serial }) => {
                self.deliver(ProcessId::of(id, serial), message);
            }
            LaneTarget::Name(name) => {
                let id = self.names.borrow().get(&name).copied();
                if let Some(id) = id {
                    self.deliver(id, message);
                }
            }
        }
    }

    /// Handles one signal that a link of this shard delivered.
    pub(super) fn received(self: &Rc<Self>, link: &LinkEntry, signal: WireSignal) {
        let WireSignal { control, payload } = signal;
        match control {
            Control::Send { from, to, .. } => {
                let Some(payload) = payload else { return };
                let sender = from.map(|pid| Sender {
                    node: self.identity_of(&pid.node, pid.creation),
                    number: ProcessNumber { id: pid.id, serial: pid.serial },
                });
                let message = Message::of_parts(sender, Form::Term, payload);
                let message = Signal::Message(message);
                match to {
                    Destination::Process(pid) => {
                        if let Some(id) = self.own(&pid) {
                            self.deliver(id, message);
                        }
                    }
                    Destination::Name(name) => {
                        let id = self.names.borrow().get(&name).copied();
                        if let Some(id) = id {
                            self.deliver(id, message);
                        }
                    }
                    Destination::Alias(alias) => self.deliver_to_alias(alias, message),
                }
            }
            Control::SpawnRequest(request) => self.refuse_spawn(link, *request, payload),
            // Outgoing monitors, links and spawn requests do not exist, nor do group leaders.
            Control::MonitorExit { .. }
            | Control::UnlinkAck { .. }
            | Control::SpawnReply(_)
            | Control::GroupLeader { .. } => {}
            control => self.concerning(link.connection(), control, payload),
        }
    }

    /// Hands a link, monitor or exit signal to the shard of the process it concerns.
    pub(super) fn concerning(
        self: &Rc<Self>,
        connection: ConnectionId,
        control: Control,
        payload: Option<Payload>,
    ) {
        match self.subject(&control) {
            Some(id) if usize::from(id.shard) != self.id => {
                let payload = payload.map(Into::into);
                let shard = usize::from(id.shard);
                self.tell(shard, ShardMessage::Incoming { connection, control, payload });
            }
            _ => self.incoming(connection, control, payload),
        }
    }

    /// The process of this node that a signal concerns.
    fn subject(&self, control: &Control) -> Option<ProcessId> {
        match control {
            Control::Link { to, .. }
            | Control::Unlink { to, .. }
            | Control::Exit { to, .. }
            | Control::Exit2 { to: Destination::Process(to), .. } => self.own(to),
            Control::Monitor { to, .. } | Control::Demonitor { to, .. } => match to {
                ProcessOrName::Process(pid) => self.own(pid),
                ProcessOrName::Name(name) => self.names.borrow().get(name).copied(),
            },
            Control::Exit2 { to: Destination::Name(name), .. } => {
                self.names.borrow().get(name).copied()
            }
            Control::Exit2 { to: Destination::Alias(alias), .. } => {
                self.aliases.borrow().get(alias).copied()
            }
            _ => None,
        }
    }

    /// Handles a signal that concerns a process of this shard, or none at all.
    fn incoming(
        self: &Rc<Self>,
        connection: ConnectionId,
        control: Control,
        payload: Option<Payload>,
    ) {
        let subject = self.subject(&control).and_then(|id| self.find(id));
        match control {
            Control::Monitor { from, to, reference } => match subject {
                Some(process) => {
                    let name = match to {
                        ProcessOrName::Name(name) => Some(name),
                        ProcessOrName::Process(_) => None,
                    };
                    let watcher = Watcher { connection, watcher: from, reference, name };
                    process.watchers.borrow_mut().push(watcher);
                }
                None => {
                    let down = Control::MonitorExit { from: to, to: from, reference };
                    self.answer(connection, down, Some(&noproc()));
                }
            },
            Control::Demonitor { from, reference, .. } => {
                if let Some(process) = subject {
                    process
                        .watchers
                        .borrow_mut()
                        .retain(|w| w.reference != reference || w.watcher != from);
                }
            }
            Control::Link { from, to } => match subject {
                Some(process) => {
                    let mut links = process.links.borrow_mut();
                    if !links.iter().any(|(_, linked)| *linked == from) {
                        links.push((connection, from));
                    }
                }
                None => {
                    let exit = Control::Exit { from: to, to: from, token: None };
                    self.answer(connection, exit, Some(&noproc()));
                }
            },
            Control::Unlink { id, from, to } => {
                if let Some(process) = subject {
                    process.links.borrow_mut().retain(|(_, linked)| *linked != from);
                }
                // OTP acknowledges for dead processes too; the other side waits for it.
                self.answer(connection, Control::UnlinkAck { id, from: to, to: from }, None);
            }
            Control::Exit { from, .. } => {
                let Some(process) = subject else { return };
                let before = process.links.borrow().len();
                process.links.borrow_mut().retain(|(_, linked)| *linked != from);
                // Without a link the signal is late: the link was removed meanwhile.
                if process.links.borrow().len() < before {
                    self.exit_signal(&process, from, reason_of(payload), ByLink::Yes);
                }
            }
            Control::Exit2 { from, .. } => {
                if let Some(process) = subject {
                    self.exit_signal(&process, from, reason_of(payload), ByLink::No);
                }
            }
            _ => {}
        }
    }

    /// Erlang's rules for exit signals: `kill` sent by `exit/2` cannot be trapped, `normal` ends
    /// nobody, a process that traps exits gets a message.
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
            self.deliver(process.id(), Signal::Exit(Box::new(Exit::new(from, reason))));
        } else if !is("normal") {
            self.end(process, reason);
        }
    }

    /// Delivers to a process of this node, on whatever shard it lives.
    #[inline]
    pub(crate) fn deliver(self: &Rc<Self>, id: ProcessId, signal: Signal) {
        if usize::from(id.shard) == self.id {
            let process = self.processes.borrow().find(id).cloned();
            if let Some(process) = process {
                self.push(&process, signal);
            }
        } else if usize::from(id.shard) < self.count {
            let message = ShardMessage::Deliver { to: Target::Process(id), signal: signal.into() };
            self.tell(usize::from(id.shard), message);
        }
    }

    /// Delivers a run to a process of this node, on whatever shard it lives.
    #[inline]
    pub(super) fn deliver_run(self: &Rc<Self>, run: PeerRun) {
        let ProcessNumber { id, serial } = run.run.to();
        let id = ProcessId::of(id, serial);
        if usize::from(id.shard) == self.id {
            let process = self.processes.borrow().find(id).cloned();
            if let Some(process) = process {
                self.pushed(&process, process.deliver_run(run));
            }
        } else if usize::from(id.shard) < self.count {
            let PeerRun { node, run } = run;
            let node = Identity::clone(&node);
            let message = ShardMessage::DeliverRun { node, run: run.share() };
            self.tell(usize::from(id.shard), message);
        }
    }

    /// Delivers to the process that an alias of this node stands for; an inactive alias drops it.
    pub(crate) fn deliver_to_alias(self: &Rc<Self>, alias: Reference, signal: Signal) {
        let shard = alias.words().first().map_or(usize::MAX, |word| *word as usize);
        if shard == self.id {
            let id = self.aliases.borrow().get(&alias).copied();
            if let Some(id) = id {
                self.deliver(id, signal);
            }
        } else if shard < self.count {
            let message = ShardMessage::Deliver { to: Target::Alias(alias), signal: signal.into() };
            self.tell(shard, message);
        }
    }

    /// Sends an answer over the connection that the question came by; a connection that is gone
    /// takes the asker's interest with it.
    pub(super) fn answer(
        self: &Rc<Self>,
        connection: ConnectionId,
        control: Control,
        payload: Option<&Term>,
    ) {
        let sender = control.sender().map_or(SenderKey::NODE, SenderKey::of);
        self.send_control(connection, sender, control, payload.map(Body::term));
    }
}

/// Whether an exit signal came through a link or from `exit/2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByLink {
    Yes,
    No,
}

pub(super) fn noproc() -> Term {
    Term::Atom(Atom::from_static("noproc"))
}

/// The reason of an exit; one that cannot be kept as a term still ends the process.
fn reason_of(payload: Option<Payload>) -> Term {
    payload
        .and_then(|payload| payload.decode(&Limits::DEFAULT).ok())
        .unwrap_or_else(|| Term::Atom(Atom::from_static("unknown")))
}
