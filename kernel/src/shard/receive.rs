//! What the processes of other nodes send to those of this one.

use std::rc::Rc;

use krarup_transport::buffer::Slice;
use krarup_transport::dist::{Control, Destination};
use krarup_transport::fabric::{Form, LaneMessage, ProcessNumber, Run, Target as LaneTarget};
use krarup_transport::link::{PlainMessage, Side, Signal as WireSignal};
use krarup_transport::term::{Pid, Reference};

use super::{LinkEntry, Shard, ShardMessage, Target};
use crate::gen_server;
use crate::process::{
    Alias, AliasMode, Answer, Identity, Message, PeerRun, ProcessCell, ProcessId, Sender, Signal,
    Via,
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
    pub(super) fn received(self: &Rc<Self>, link: &Rc<LinkEntry>, signal: WireSignal) {
        let WireSignal { control, payload } = signal;
        let is_foreign = |from: &Pid| from.node != *link.node();
        if !matches!(control, Control::Send { .. }) && control.sender().is_some_and(is_foreign) {
            // OTP: `dist.c`: links and monitors are between processes of the two nodes.
            let why = "it sent a signal of a process that is not its own".to_owned();
            return self.fail_link(link, why);
        }
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
            Control::SpawnRequest(request) => {
                let via = Via::Connection(link.connection());
                self.spawn_requested(via, *request, payload);
            }
            Control::SpawnReply(reply) => {
                self.spawn_answered(Via::Connection(link.connection()), *reply);
            }
            control => self.concerning(Via::Connection(link.connection()), control, payload),
        }
    }

    /// Delivers to a process of this node, on whatever shard it lives.
    #[inline]
    pub(crate) fn deliver(self: &Rc<Self>, id: ProcessId, signal: Signal) {
        if usize::from(id.shard) == self.id {
            let process = self.processes.borrow().find(id).cloned();
            if let Some(process) = process {
                self.deliver_here(&process, signal);
            }
        } else if usize::from(id.shard) < self.count {
            let message = ShardMessage::Deliver { to: Target::Process(id), signal: signal.into() };
            self.tell(usize::from(id.shard), message);
        }
    }

    /// Delivers a run to a process of this node, on whatever shard it lives.
    #[inline]
    pub(super) fn deliver_run(self: &Rc<Self>, mut run: PeerRun) {
        let ProcessNumber { id, serial } = run.run.to();
        let id = ProcessId::of(id, serial);
        if usize::from(id.shard) == self.id {
            let process = self.processes.borrow().find(id).cloned();
            let Some(process) = process else { return };
            if process.questions.borrow().is_empty() {
                self.pushed(&process, process.deliver_run(run));
                return;
            }
            while let Some(message) = run.next() {
                self.deliver_to_asker(&process, Signal::Message(message));
            }
        } else if usize::from(id.shard) < self.count {
            let PeerRun { node, run } = run;
            let node = Identity::clone(&node);
            let message = ShardMessage::DeliverRun { node, run: run.share() };
            self.tell(usize::from(id.shard), message);
        }
    }

    /// Delivers to the process that an alias of this node stands for; an inactive alias drops it.
    pub(crate) fn deliver_to_alias(self: &Rc<Self>, reference: Reference, signal: Signal) {
        // The alias of a process is made on its shard.
        let shard = reference.words().first().map_or(usize::MAX, |word| *word as usize);
        if shard == self.id {
            let alias = self.aliases.borrow().get(&reference).copied();
            let Some(Alias { process, mode }) = alias else { return };
            let Some(process) = self.find(process) else { return };
            if mode == AliasMode::Reply {
                self.answered(&process, &reference, signal);
            } else {
                self.push(&process, signal);
            }
        } else if shard < self.count {
            let to = Target::Alias(reference);
            self.tell(shard, ShardMessage::Deliver { to, signal: signal.into() });
        }
    }

    /// The first message to an alias that lasts until then: its monitor, if it has one, is taken
    /// back.
    fn answered(self: &Rc<Self>, process: &Rc<ProcessCell>, reference: &Reference, signal: Signal) {
        self.aliases.borrow_mut().remove(reference);
        let question = process.questions.borrow_mut().remove(reference);
        if question.is_none() {
            process.aliases.borrow_mut().remove(reference);
        }
        let monitor = process.relations.borrow_mut().demonitor(reference);
        if let Some(monitor) = monitor {
            self.take_back(process.id(), reference.clone(), monitor);
        }
        match (signal, question) {
            (Signal::Message(message), Some(question)) => {
                self.wake_asker(process, &question, Answer::Message(message));
            }
            (signal, _) => self.push(process, signal),
        }
    }

    /// Puts a message into the mailbox of a process of this shard, or where the answer to a
    /// question of it is waited for.
    #[inline]
    fn deliver_here(self: &Rc<Self>, process: &Rc<ProcessCell>, signal: Signal) {
        if !process.questions.borrow().is_empty() {
            self.deliver_to_asker(process, signal);
        } else {
            self.push(process, signal);
        }
    }

    /// As [`Shard::deliver_here`], to a process that waits for answers. Servers that do not know of
    /// aliases send theirs to the pid.
    #[inline(never)]
    fn deliver_to_asker(self: &Rc<Self>, process: &Rc<ProcessCell>, signal: Signal) {
        let tag = match &signal {
            Signal::Message(message) => gen_server::answered_tag(message),
            _ => None,
        };
        match tag {
            Some(tag) if process.questions.borrow().contains_key(&tag) => {
                self.answered(process, &tag, signal);
            }
            _ => self.push(process, signal),
        }
    }
}
