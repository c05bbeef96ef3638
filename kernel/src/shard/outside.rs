//! Sends of threads and tasks outside the shards.
//!
//! Those that must wait do so in one queue for each pair of a sender and a destination: two
//! messages of one pair never overtake each other, also when the first has to wait for a
//! connection, and what one destination makes wait keeps nothing from the others.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;

use futures_channel::oneshot;
use krarup_transport::term::{Atom, Reference};

use super::{Content, Outcome, Shard, Wait};
use crate::node::{Encoded, SendError};
use crate::process::{AsDestination, Destination, DestinationRef, ProcessId, name_atom};

/// The sender of messages that come from no process in particular: `<0.0.0>` of this node, which
/// is never a process of it.
pub(crate) const NODE_PROCESS: ProcessId = ProcessId { shard: 0, slot: 0, generation: 0 };

/// Messages of one sender that may wait.
const QUEUE_MESSAGES_MAX: usize = 4096;

/// What waits of one sender. It is there while anything does.
#[derive(Default)]
pub(super) struct Queues {
    by_target: HashMap<Target, VecDeque<Waiting>>,
    /// Messages in all of them.
    count: usize,
}

/// Whom a queue is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Target {
    /// The processes of another node: they share a link.
    Node(Atom),
    /// A process of this node.
    Process(ProcessId),
    /// A process of this node on another shard, which alone knows who it is.
    Alias(Reference),
    /// A name of this node that nobody has.
    Nobody,
}

struct Waiting {
    to: Destination,
    message: Encoded,
    done: oneshot::Sender<Result<(), SendError>>,
}

impl Queues {
    fn size_bytes(&self) -> usize {
        self.by_target.values().flatten().map(|waiting| waiting.message.size_bytes()).sum()
    }
}

impl Shard {
    /// Sends for somebody outside; answered when the message is on its way or cannot be.
    pub(crate) fn send_for(
        self: &Rc<Self>,
        from: ProcessId,
        to: Destination,
        message: Encoded,
        done: oneshot::Sender<Result<(), SendError>>,
    ) {
        if !self.may_send(from) {
            let _ = done.send(Err(SendError::Stopped));
            return;
        }
        let mut outside = self.outside.borrow_mut();
        if let Some(queues) = outside.get_mut(&from)
            && let Some(queue) = queues.by_target.get_mut(&self.target(to.as_destination()))
        {
            if queues.count < QUEUE_MESSAGES_MAX {
                queues.count += 1;
                queue.push_back(Waiting { to, message, done });
            } else {
                let _ = done.send(Err(busy(queues)));
            }
            return;
        }
        drop(outside);
        match self.send(from, to.as_destination(), Content::<()>::Encoded(&message)) {
            Ok(Outcome::Sent) => {
                let _ = done.send(Ok(()));
            }
            Err(error) => {
                let _ = done.send(Err(error));
            }
            Ok(Outcome::Busy { .. } | Outcome::NoRoute(_)) => {
                let target = self.target(to.as_destination());
                let mut outside = self.outside.borrow_mut();
                let queues = outside.entry(from).or_default();
                if queues.count >= QUEUE_MESSAGES_MAX {
                    let _ = done.send(Err(busy(queues)));
                    return;
                }
                queues.count += 1;
                let queue = VecDeque::from([Waiting { to, message, done }]);
                queues.by_target.insert(target.clone(), queue);
                drop(outside);
                glommio::spawn_local(work_off(Rc::clone(self), from, target)).detach();
            }
        }
    }

    /// Drops what waits of a process that has ended: nothing of it may follow its end.
    pub(super) fn drop_outside(&self, from: ProcessId) {
        let queues = self.outside.borrow_mut().remove(&from);
        for waiting in queues.into_iter().flat_map(|queues| queues.by_target).flat_map(|(_, q)| q) {
            let _ = waiting.done.send(Err(SendError::Stopped));
        }
    }

    /// Whether a sender is still there.
    fn may_send(&self, from: ProcessId) -> bool {
        from == NODE_PROCESS || self.find(from).is_some()
    }

    fn target(&self, to: DestinationRef<'_>) -> Target {
        let process = |id: Option<ProcessId>| id.map_or(Target::Nobody, Target::Process);
        let named = |name: &str| process(self.names.borrow().get(name).copied());
        match to {
            DestinationRef::Pid(pid) => match self.own(pid) {
                Some(id) => Target::Process(id),
                None => Target::Node(pid.node.clone()),
            },
            DestinationRef::Name(name) => named(name),
            DestinationRef::Remote { name, node } if self.is_here(node) => named(name),
            DestinationRef::Remote { node, .. } => Target::Node(name_atom(node)),
            DestinationRef::Alias(alias)
                if self.is_own_reference(alias) || self.is_here(alias.node.as_str()) =>
            {
                let known = self.aliases.borrow().get(alias).map(|alias| alias.process);
                known.map_or_else(|| Target::Alias(alias.clone()), Target::Process)
            }
            DestinationRef::Alias(alias) => Target::Node(alias.node.clone()),
        }
    }
}

#[cold]
fn busy(queues: &Queues) -> SendError {
    let queued_bytes = queues.size_bytes();
    SendError::Busy { queued_bytes, limit_bytes: queued_bytes }
}

/// Sends what waits for one target, in order, until nothing does or the sender has ended.
async fn work_off(shard: Rc<Shard>, from: ProcessId, target: Target) {
    loop {
        let next = {
            let mut outside = shard.outside.borrow_mut();
            let Some(queues) = outside.get_mut(&from) else { return };
            let next = queues.by_target.get_mut(&target).and_then(VecDeque::pop_front);
            if next.is_none() {
                queues.by_target.remove(&target);
                if queues.by_target.is_empty() {
                    outside.remove(&from);
                }
            }
            next
        };
        let Some(Waiting { to, message, done }) = next else { return };
        let (to, content) = (to.as_destination(), Content::<()>::Encoded(&message));
        let mut wait = Wait::Nothing;
        let send = || {
            if shard.may_send(from) {
                shard.send(from, to, content)
            } else {
                Err(SendError::Stopped)
            }
        };
        let sent = poll_fn(|cx| shard.poll_send(cx, &mut wait, send)).await;
        if let Some(queues) = shard.outside.borrow_mut().get_mut(&from) {
            queues.count -= 1;
        }
        let _ = done.send(sent);
    }
}
