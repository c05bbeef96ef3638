//! Sends of threads and tasks outside the shards.
//!
//! They wait their turn in one queue per sender, so that two messages of one sender never
//! overtake each other, also when the first has to wait for a connection.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;

use futures_channel::oneshot;

use super::{Content, Outcome, Shard, Wait};
use crate::node::{Encoded, SendError};
use crate::process::{AsDestination, Destination, ProcessId};

/// The sender of messages that come from no process in particular: `<0.0.0>` of this node, which
/// is never a process of it.
pub(crate) const NODE_PROCESS: ProcessId = ProcessId { shard: 0, slot: 0, generation: 0 };

/// Messages of one sender that may wait.
const QUEUE_MESSAGES_MAX: usize = 4096;

pub(super) type Queue = VecDeque<Waiting>;

pub(super) struct Waiting {
    to: Destination,
    message: Encoded,
    done: oneshot::Sender<Result<(), SendError>>,
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
        let mut queues = self.outside.borrow_mut();
        if let Some(queue) = queues.get_mut(&from) {
            if queue.len() < QUEUE_MESSAGES_MAX {
                queue.push_back(Waiting { to, message, done });
            } else {
                let queued_bytes = queue.iter().map(|item| item.message.size_bytes()).sum();
                let busy = SendError::Busy { queued_bytes, limit_bytes: queued_bytes };
                let _ = done.send(Err(busy));
            }
            return;
        }
        drop(queues);
        match self.send(from, to.as_destination(), Content::<()>::Encoded(&message)) {
            Ok(Outcome::Sent) => {
                let _ = done.send(Ok(()));
            }
            Err(error) => {
                let _ = done.send(Err(error));
            }
            Ok(Outcome::Busy { .. } | Outcome::NoRoute(_)) => {
                let queue = Queue::from([Waiting { to, message, done }]);
                self.outside.borrow_mut().insert(from, queue);
                glommio::spawn_local(work_off(Rc::clone(self), from)).detach();
            }
        }
    }
}

/// Sends what waits, in order, until nothing does.
async fn work_off(shard: Rc<Shard>, from: ProcessId) {
    loop {
        let next = {
            let mut queues = shard.outside.borrow_mut();
            let next = queues.get_mut(&from).and_then(VecDeque::pop_front);
            if next.is_none() {
                queues.remove(&from);
            }
            next
        };
        let Some(Waiting { to, message, done }) = next else { return };
        let (to, content) = (to.as_destination(), Content::<()>::Encoded(&message));
        let mut wait = Wait::Nothing;
        let send = || shard.send(from, to, content);
        let _ = done.send(poll_fn(|cx| shard.poll_send(cx, &mut wait, send)).await);
    }
}
