//! Processes that those of this shard start by spawn requests, on other nodes or on this one.

use std::rc::Rc;

use krarup_transport::dist::Control;
use krarup_transport::dist::control::{
    SPAWN_FLAG_LINK, SPAWN_FLAG_MONITOR, SpawnOption, SpawnReply, SpawnRequest,
};
use krarup_transport::term::{Atom, Pid, Reference, Term};

use super::signals::noproc;
use super::{Shard, ShardMessage};
use crate::net_kernel::ConnectionId;
use crate::node::Encoded;
use crate::process::{
    Answer, AnswerSlot, Destination, Monitor, Party, ProcessCell, ProcessId, Via,
};
use crate::rpc::FunctionName;

/// A spawn request that is not answered yet.
pub(super) struct Waiting {
    process: ProcessId,
    via: Via,
    slot: Rc<AnswerSlot>,
    /// Whether the answer is told if all went well, too.
    tells_pid: bool,
    /// Nobody waits any more: the new process is to end with this reason if it was linked.
    abandoned: Option<Term>,
}

/// A process that is to be started.
pub(crate) struct Spawn<'a> {
    pub(crate) node: &'a Atom,
    pub(crate) function: &'a FunctionName,
    /// The list of arguments.
    pub(crate) arguments: Encoded,
    pub(crate) link: bool,
    pub(crate) monitor: bool,
}

impl Shard {
    /// Sends a spawn request; its answer comes to `slot`.
    pub(crate) fn request_spawn(
        self: &Rc<Self>,
        process: &ProcessCell,
        spawn: Spawn<'_>,
        slot: &Rc<AnswerSlot>,
    ) -> Reference {
        self.send_spawn(process, spawn, slot, true)
    }

    /// As [`Shard::request_spawn`], with a monitor that fires into `slot`: what counts is how the
    /// new process ends.
    pub(crate) fn request_result(
        self: &Rc<Self>,
        process: &ProcessCell,
        spawn: Spawn<'_>,
        slot: &Rc<AnswerSlot>,
    ) -> Reference {
        self.send_spawn(process, Spawn { monitor: true, ..spawn }, slot, false)
    }

    fn send_spawn(
        self: &Rc<Self>,
        process: &ProcessCell,
        spawn: Spawn<'_>,
        slot: &Rc<AnswerSlot>,
        tells_pid: bool,
    ) -> Reference {
        let Spawn { node, function, arguments, link, monitor } = spawn;
        let (reference, from) = (self.reference(), self.pid(process.id()));
        let via = self.way_to(node.as_str());
        if !tells_pid {
            process.questions.borrow_mut().insert(reference.clone(), Rc::clone(slot));
        }
        let waiting = Waiting {
            process: process.id(),
            via,
            slot: Rc::clone(slot),
            tells_pid,
            abandoned: None,
        };
        self.spawns.borrow_mut().insert(reference.clone(), waiting);
        process.spawns.set(process.spawns.get() + 1);
        let options = [(link, SpawnOption::Link(None)), (monitor, SpawnOption::Monitor(None))];
        let request = SpawnRequest {
            reference: reference.clone(),
            group_leader: self.group_leader_of(process),
            from,
            module: function.module.clone(),
            function: function.function.clone(),
            arity: i64::try_from(function.arity).unwrap_or(i64::MAX),
            options: options.into_iter().filter(|(on, _)| *on).map(|(_, option)| option).collect(),
            token: None,
        };
        if via == Via::Own {
            self.spawn_requested(via, request, Some(arguments.into_payload()));
        } else {
            let control = Control::SpawnRequest(Box::new(request));
            self.signal(process.id(), node.as_str(), via, control, Some(arguments));
        }
        reference
    }

    /// Nobody waits for a spawn request's answer any more (OTP: `spawn_request_abandon/1`).
    pub(crate) fn abandon_spawn(self: &Rc<Self>, process: &ProcessCell, reference: &Reference) {
        if let Some(waiting) = self.spawns.borrow_mut().get_mut(reference) {
            waiting.abandoned = Some(Term::Atom(Atom::from_static("abandoned")));
        }
        self.demonitor(process, reference);
    }

    /// A spawn request of a process of this node is answered.
    pub(super) fn spawn_answered(self: &Rc<Self>, via: Via, reply: SpawnReply) {
        // A reference is made on the shard of its process.
        let shard = reply.reference.words().first().map_or(usize::MAX, |word| *word as usize);
        if shard != self.id {
            if shard < self.count {
                let reply = Box::new(reply);
                self.tell(shard, ShardMessage::Spawned { via, reply });
            }
            return;
        }
        let mut spawns = self.spawns.borrow_mut();
        if spawns.get(&reply.reference).is_none_or(|waiting| waiting.via != via) {
            return;
        }
        let waiting = spawns.remove(&reply.reference);
        drop(spawns);
        let Some(waiting) = waiting else { return };
        self.count_answer(&waiting);
        match reply.result {
            Ok(pid) => self.spawn_succeeded(waiting, reply.reference, reply.flags, pid),
            Err(why) => self.tell_spawn_failed(&waiting, &reply.reference, why),
        }
    }

    fn spawn_succeeded(
        self: &Rc<Self>,
        waiting: Waiting,
        reference: Reference,
        flags: u32,
        pid: Pid,
    ) {
        let Waiting { process: id, via, slot, tells_pid, abandoned } = waiting;
        let (linked, monitored) = (flags & SPAWN_FLAG_LINK != 0, flags & SPAWN_FLAG_MONITOR != 0);
        let monitor = Monitor { target: Destination::Pid(pid.clone()), via };
        let process = self.find(id).filter(|_| abandoned.is_none());
        let Some(process) = process else {
            if monitored {
                self.take_back(id, reference, monitor);
            }
            if linked {
                let reason = Encoded::term(&abandoned.unwrap_or_else(noproc));
                let node = pid.node.clone();
                let exit = Control::Exit { from: self.pid(id), to: pid, token: None };
                self.signal(id, node.as_str(), via, exit, Some(reason));
            }
            return;
        };
        let mut relations = process.relations.borrow_mut();
        if linked {
            relations.linked(self.party(&pid), via);
        }
        if monitored {
            relations.monitor(reference, monitor);
        }
        drop(relations);
        if tells_pid {
            self.wake_asker(&process, &slot, Answer::Spawned(Ok(pid)));
        }
    }

    /// No process was started.
    pub(super) fn spawn_failed(self: &Rc<Self>, reference: &Reference, why: Atom) {
        let waiting = self.spawns.borrow_mut().remove(reference);
        if let Some(waiting) = waiting {
            self.count_answer(&waiting);
            self.tell_spawn_failed(&waiting, reference, why);
        }
    }

    /// A spawn request does not wait any more.
    fn count_answer(&self, waiting: &Waiting) {
        if let Some(process) = self.find(waiting.process) {
            process.spawns.set(process.spawns.get().saturating_sub(1));
        }
    }

    fn tell_spawn_failed(self: &Rc<Self>, waiting: &Waiting, reference: &Reference, why: Atom) {
        if let Some(process) = self.find(waiting.process) {
            process.questions.borrow_mut().remove(reference);
            self.wake_asker(&process, &waiting.slot, Answer::Spawned(Err(why)));
        }
    }

    /// A spawn request is on its way over a connection.
    pub(super) fn spawn_departs(&self, reference: &Reference, connection: ConnectionId) {
        if let Some(waiting) = self.spawns.borrow_mut().get_mut(reference) {
            waiting.via = Via::Connection(connection);
        }
    }

    /// Nobody answers the requests that went over a connection that is gone.
    pub(super) fn spawns_lost(self: &Rc<Self>, connection: ConnectionId) {
        let gone = Via::Connection(connection);
        let lost: Vec<(Reference, Waiting)> =
            self.spawns.borrow_mut().extract_if(|_, waiting| waiting.via == gone).collect();
        for (reference, waiting) in lost {
            self.count_answer(&waiting);
            self.tell_spawn_failed(&waiting, &reference, Atom::from_static("noconnection"));
        }
    }

    /// A process has ended that may wait for answers: whoever was linked to it at its birth ends
    /// with it.
    pub(super) fn spawns_ended(&self, process: &ProcessCell, reason: &Term) {
        if process.spawns.get() == 0 {
            return;
        }
        let id = process.id();
        for waiting in self.spawns.borrow_mut().values_mut() {
            if waiting.process == id {
                waiting.abandoned.get_or_insert_with(|| reason.clone());
            }
        }
    }

    /// A process of this shard that starts another one, both linked at once
    /// (Erlang: `spawn_link/1`).
    pub(crate) fn link_own(&self, parent: &ProcessCell, child: &ProcessCell) {
        parent.relations.borrow_mut().linked(Party::Own(child.id()), Via::Own);
        child.relations.borrow_mut().linked(Party::Own(parent.id()), Via::Own);
    }
}
