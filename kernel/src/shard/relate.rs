//! Links, monitors and exit signals that processes of this shard ask for.

use std::rc::Rc;

use krarup_transport::dist::{Control, Destination as WireDestination, ProcessOrName};
use krarup_transport::link::Payload;
use krarup_transport::term::{Pid, Reference, Term};

use super::send::sender_key;
use super::signals::{noproc, reason_of};
use super::{Body, Shard};
use crate::node::Encoded;
use crate::process::{
    Alias, AliasMode, Answer, AnswerSlot, Destination, DestinationRef, Down, Monitor, Party,
    ProcessCell, ProcessId, Signal, Via, name_atom,
};

impl Shard {
    /// Who a pid is to the links and monitors of this node.
    pub(super) fn party(&self, pid: &Pid) -> Party {
        self.own(pid).map_or_else(|| Party::Peer(pid.clone()), Party::Own)
    }

    pub(super) fn pid_of(&self, party: Party) -> Pid {
        match party {
            Party::Own(id) => self.pid(id),
            Party::Peer(pid) => pid,
        }
    }

    /// The way that signals of this shard's processes to a node take now.
    pub(super) fn way_to(&self, node: &str) -> Via {
        if self.is_here(node) {
            return Via::Own;
        }
        match self.routes.borrow().get(node) {
            Some(route) => Via::Connection(route.id.connection),
            None => Via::Awaited,
        }
    }

    /// Sends a signal of a process of this shard by the given way to `node`.
    pub(super) fn signal(
        self: &Rc<Self>,
        from: ProcessId,
        node: &str,
        via: Via,
        control: Control,
        payload: Option<Encoded>,
    ) {
        match via {
            Via::Own => self.concerning(via, control, payload.map(Encoded::into_payload)),
            Via::Connection(connection) => {
                self.send_control(
                    connection,
                    sender_key(from),
                    control,
                    payload.map(Body::Encoded),
                );
            }
            Via::Awaited => self.await_connection(from, node, control, payload),
        }
    }

    /// Links a process to another one (Erlang: `link/1`).
    pub(crate) fn link(self: &Rc<Self>, process: &ProcessCell, to: &Pid) {
        let to = &self.presented(to);
        let party = self.party(to);
        if party == Party::Own(process.id()) {
            return;
        }
        let via = self.way_to(to.node.as_str());
        if process.relations.borrow_mut().link(party, via) {
            let from = self.pid(process.id());
            let link = Control::Link { from, to: to.clone() };
            self.signal(process.id(), to.node.as_str(), via, link, None);
        }
    }

    /// Removes a link (Erlang: `unlink/1`).
    pub(crate) fn unlink(self: &Rc<Self>, process: &ProcessCell, to: &Pid) {
        let to = &self.presented(to);
        let removal = process.relations.borrow_mut().unlink(&self.party(to));
        if let Some((id, via)) = removal {
            let from = self.pid(process.id());
            let unlink = Control::Unlink { id, from, to: to.clone() };
            self.signal(process.id(), to.node.as_str(), via, unlink, None);
        }
    }

    /// Sends an exit signal (Erlang: `exit/2`).
    pub(crate) fn exit(self: &Rc<Self>, from: ProcessId, to: DestinationRef<'_>, reason: &Term) {
        let own_node = || self.identity.borrow().name.clone();
        let (node, to) = match to {
            DestinationRef::Pid(pid) => {
                let pid = self.presented(pid);
                (pid.node.clone(), WireDestination::Process(pid))
            }
            DestinationRef::Name(name) => (own_node(), WireDestination::Name(name_atom(name))),
            DestinationRef::Remote { name, node } => {
                (name_atom(node), WireDestination::Name(name_atom(name)))
            }
            DestinationRef::Alias(alias) => {
                (alias.node.clone(), WireDestination::Alias(alias.clone()))
            }
        };
        let exit = Control::Exit2 { from: self.pid(from), to, priority: false, token: None };
        let via = self.way_to(node.as_str());
        self.signal(from, node.as_str(), via, exit, Some(Encoded::term(reason)));
    }

    /// Monitors a process (Erlang: `monitor/2,3`). With a question its answer and the end of the
    /// monitored process go there instead of into the mailbox.
    pub(crate) fn monitor(
        self: &Rc<Self>,
        process: &Rc<ProcessCell>,
        target: DestinationRef<'_>,
        alias: Option<AliasMode>,
        question: Option<Rc<AnswerSlot>>,
    ) -> Reference {
        let reference = self.reference();
        if let Some(mode) = alias {
            self.activate(reference.clone(), Alias { process: process.id(), mode });
        }
        match question {
            Some(question) => {
                process.questions.borrow_mut().insert(reference.clone(), question);
            }
            None if alias.is_some() => {
                process.aliases.borrow_mut().insert(reference.clone());
            }
            None => {}
        }
        let own_node = || self.identity.borrow().name.clone();
        let (node, target, to) = match target {
            DestinationRef::Pid(pid) => {
                let pid = self.presented(pid);
                let target = Destination::Pid(pid.clone());
                (pid.node.clone(), target, ProcessOrName::Process(pid))
            }
            DestinationRef::Name(name) => {
                let (name, node) = (name_atom(name), own_node());
                let target = Destination::Remote { name: name.clone(), node: node.clone() };
                (node, target, ProcessOrName::Name(name))
            }
            DestinationRef::Remote { name, node } => {
                let (name, node) = (name_atom(name), name_atom(node));
                let target = Destination::Remote { name: name.clone(), node: node.clone() };
                (node, target, ProcessOrName::Name(name))
            }
            // Nobody can be watched by an alias, as in Erlang.
            DestinationRef::Alias(_) => {
                let monitor = Monitor { target: target.into(), via: Via::Own };
                process.relations.borrow_mut().monitor(reference.clone(), monitor);
                self.fire(process, &reference, Via::Own, Encoded::term(&noproc()).into_payload());
                return reference;
            }
        };
        let via = self.way_to(node.as_str());
        process.relations.borrow_mut().monitor(reference.clone(), Monitor { target, via });
        let from = self.pid(process.id());
        let control = Control::Monitor { from, to, reference: reference.clone() };
        self.signal(process.id(), node.as_str(), via, control, None);
        reference
    }

    /// Takes a monitor back, with the alias or the question that belongs to it
    /// (Erlang: `demonitor/1`); false when it has fired, or never was.
    pub(crate) fn demonitor(self: &Rc<Self>, process: &ProcessCell, reference: &Reference) -> bool {
        process.questions.borrow_mut().remove(reference);
        let mode = self.aliases.borrow().get(reference).map(|alias| alias.mode);
        if matches!(mode, Some(AliasMode::Demonitor | AliasMode::Reply)) {
            self.remove_alias(process, reference);
        }
        let monitor = process.relations.borrow_mut().demonitor(reference);
        let was_there = monitor.is_some();
        if let Some(monitor) = monitor {
            self.take_back(process.id(), reference.clone(), monitor);
        }
        was_there
    }

    /// Tells the other side that a monitor is taken back.
    pub(super) fn take_back(
        self: &Rc<Self>,
        by: ProcessId,
        reference: Reference,
        monitor: Monitor,
    ) {
        let (node, to) = match monitor.target {
            Destination::Pid(pid) => (pid.node.clone(), ProcessOrName::Process(pid)),
            Destination::Remote { name, node } => (node, ProcessOrName::Name(name)),
            Destination::Name(_) | Destination::Alias(_) => return,
        };
        let control = Control::Demonitor { from: self.pid(by), to, reference };
        self.signal(by, node.as_str(), monitor.via, control, None);
    }

    /// A monitor of a process of this shard fires.
    pub(super) fn fire(
        self: &Rc<Self>,
        process: &Rc<ProcessCell>,
        reference: &Reference,
        via: Via,
        reason: Payload,
    ) {
        let fired = process.relations.borrow_mut().fired(reference, via);
        if let Some(monitor) = fired {
            self.fired(process, reference, monitor, reason);
        }
    }

    /// Tells a process that a monitor has fired which is taken from it already.
    pub(super) fn fired(
        self: &Rc<Self>,
        process: &Rc<ProcessCell>,
        reference: &Reference,
        monitor: Monitor,
        reason: Payload,
    ) {
        let mode = self.aliases.borrow().get(reference).map(|alias| alias.mode);
        if matches!(mode, Some(AliasMode::Demonitor | AliasMode::Reply)) {
            self.remove_alias(process, reference);
        }
        let question = process.questions.borrow_mut().remove(reference);
        if let Some(question) = question {
            return self.wake_asker(process, &question, Answer::Down(reason));
        }
        let reason = reason_of(Some(reason));
        let down = Down::new(reference.clone(), monitor.target, reason);
        self.push(process, Signal::Down(Box::new(down)));
    }

    /// Gives an answer to a process that waits for it.
    pub(super) fn wake_asker(
        self: &Rc<Self>,
        process: &Rc<ProcessCell>,
        slot: &AnswerSlot,
        answer: Answer,
    ) {
        let Some(waker) = slot.put(answer) else { return };
        self.io().handle().note_delivery();
        if process.is_task(&waker) {
            self.give_turn(process);
        } else {
            waker.wake();
        }
    }

    fn activate(&self, reference: Reference, alias: Alias) {
        self.aliases.borrow_mut().insert(reference, alias);
    }

    /// A reference that stands for a process (Erlang: `alias/1`).
    pub(crate) fn add_alias(&self, process: &ProcessCell, mode: AliasMode) -> Reference {
        let reference = self.reference();
        self.activate(reference.clone(), Alias { process: process.id(), mode });
        process.aliases.borrow_mut().insert(reference.clone());
        reference
    }

    /// Gives an alias back (Erlang: `unalias/1`); true when it was active.
    pub(crate) fn remove_alias(&self, process: &ProcessCell, alias: &Reference) -> bool {
        let mut aliases = self.aliases.borrow_mut();
        if aliases.get(alias).is_none_or(|active| active.process != process.id()) {
            return false;
        }
        aliases.remove(alias);
        process.aliases.borrow_mut().remove(alias);
        true
    }
}
