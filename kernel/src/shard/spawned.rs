//! Spawn requests for functions of this node.
//!
//! OTP: an undefined function is no spawn error. The requester gets a pid, and that process then
//! ends with `undef`.

use std::rc::Rc;

use krarup_transport::dist::control::{
    Control, SPAWN_FLAG_LINK, SPAWN_FLAG_MONITOR, SpawnReply, SpawnRequest,
};
use krarup_transport::link::Payload;
use krarup_transport::term::{Atom, Limits};

use super::Shard;
use crate::process::{Origin, Owner, Via, Watcher};
use crate::rpc::Invocation;

impl Shard {
    /// Starts the process that was asked for, and answers.
    pub(super) fn spawn_requested(
        self: &Rc<Self>,
        via: Via,
        request: SpawnRequest,
        arguments: Option<Payload>,
    ) {
        let reply = |flags, result| {
            Control::SpawnReply(Box::new(SpawnReply {
                reference: request.reference.clone(),
                to: request.from.clone(),
                flags,
                result,
                token: None,
            }))
        };
        if request.unknown_option().is_some() {
            self.answer(via, reply(0, Err(Atom::from_static("badopt"))), None);
            return;
        }
        let Ok(process) = self.create(Owner::Task) else {
            self.answer(via, reply(0, Err(Atom::from_static("system_limit"))), None);
            return;
        };
        process.origin.replace(Some(Box::new(Origin {
            parent: Some(request.from.clone()),
            group_leader: request.group_leader.clone(),
        })));
        let by = self.party(&request.from);
        let mut flags = 0;
        let mut relations = process.relations.borrow_mut();
        if request.link() {
            flags |= SPAWN_FLAG_LINK;
            relations.linked(by.clone(), via);
        }
        if request.monitor() {
            flags |= SPAWN_FLAG_MONITOR;
            relations.watched(request.reference.clone(), Watcher { by, via, name: None });
        }
        drop(relations);
        // Nothing from the new process may come before its pid.
        self.answer(via, reply(flags, Ok(self.pid(process.id()))), None);
        let arguments = arguments.and_then(|payload| payload.decode(&Limits::DEFAULT).ok());
        let invocation = match Invocation::of_request(&request, arguments) {
            Ok(invocation) => invocation,
            Err(reason) => return self.finish(&process, &reason),
        };
        match self.node().functions().find(&invocation.name()) {
            Some(function) => self.run(&process, |me| Box::pin(invocation.run(function, me))),
            None => self.finish(&process, &invocation.undefined()),
        }
    }
}
