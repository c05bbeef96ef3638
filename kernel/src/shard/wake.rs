//! Waking a task of a shard from another thread.
//!
//! The executor looks for wakes of other threads when it has nothing else to do, or when its timer
//! says so: on a busy shard that may take ten milliseconds. The shard's own queue is looked into in
//! every pass of its driver, so a wake takes that way.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures_channel::oneshot;
use krarup_transport::shard::Remote;

use super::{CURRENT, ShardMessage};

/// Wakes a task of one shard.
struct Call {
    to: Remote<ShardMessage>,
    task: Waker,
}

/// A waker for other threads, of a task that runs on a shard; of any other task its own.
pub(crate) fn waker(task: &Waker) -> Waker {
    let to = CURRENT.with_borrow(|shard| {
        shard.as_ref().and_then(|shard| shard.node().remote(shard.id).cloned())
    });
    match to {
        Some(to) => Waker::from(Arc::new(Call { to, task: task.clone() })),
        None => task.clone(),
    }
}

/// Waits for an answer that may come from another thread.
pub(crate) async fn answered<T>(mut answer: oneshot::Receiver<T>) -> Option<T> {
    poll_fn(|cx| poll_answer(&mut answer, cx)).await
}

/// Looks whether an answer is there; see [`answered`].
pub(crate) fn poll_answer<T>(
    answer: &mut oneshot::Receiver<T>,
    cx: &mut Context<'_>,
) -> Poll<Option<T>> {
    let waker = waker(cx.waker());
    Pin::new(answer).poll(&mut Context::from_waker(&waker)).map(Result::ok)
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let is_here = CURRENT.with_borrow(|shard| {
            let remote = shard.as_ref().and_then(|shard| shard.node().remote(shard.id));
            remote.is_some_and(|remote| remote.is_same(&self.to))
        });
        if is_here || self.to.try_push(ShardMessage::Wake(self.task.clone())).is_err() {
            self.task.wake_by_ref();
        }
    }
}
