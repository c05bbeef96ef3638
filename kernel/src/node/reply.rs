//! An answer from a shard, for threads and for any async runtime.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use crate::shard;

/// An answer on its way: `.await` it in any runtime, or [`Reply::wait`] for it on a thread.
///
/// Dropping it does not undo what was asked for.
#[derive(Debug)]
#[must_use = "what was asked for goes on, but nobody looks at the answer"]
pub struct Reply<T> {
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    Known(Option<T>),
    Coming { receiver: oneshot::Receiver<T>, stopped: fn() -> T },
}

impl<T> Reply<T> {
    /// An answer that is there already.
    pub(crate) fn known(value: T) -> Self {
        Reply { state: State::Known(Some(value)) }
    }

    /// The sending half and the answer; `stopped` is the answer of a node that stops meanwhile.
    pub(crate) fn pair(stopped: fn() -> T) -> (oneshot::Sender<T>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Reply { state: State::Coming { receiver, stopped } })
    }

    /// Blocks the thread until the answer is there.
    ///
    /// # Panics
    /// On a shard's own thread, which would wait for itself: `.await` it there.
    pub fn wait(self) -> T {
        if let State::Known(Some(value)) = self.state {
            return value;
        }
        assert!(
            !shard::on_a_shard(),
            "Reply::wait would block the shard that has to answer; use .await inside a process"
        );
        block_on(self)
    }
}

/// Polls on this thread until the future is ready.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

impl<T> Reply<T> {
    /// As [`Reply::wait`], for so long at most. None when the time is over; an answer that comes
    /// later is dropped.
    ///
    /// # Panics
    /// As [`Reply::wait`].
    pub fn wait_for(mut self, time: Duration) -> Option<T> {
        assert!(
            matches!(self.state, State::Known(_)) || !shard::on_a_shard(),
            "Reply::wait_for would block the shard that has to answer; use .await inside a process"
        );
        let end = Instant::now() + time;
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(value) = Pin::new(&mut self).poll(&mut cx) {
                return Some(value);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            thread::park_timeout(left);
        }
    }
}

impl<T> Future for Reply<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.state {
            State::Known(value) => {
                Poll::Ready(value.take().expect("a reply is not polled after it was ready"))
            }
            State::Coming { receiver, stopped } => {
                shard::poll_answer(receiver, cx).map(|answer| answer.unwrap_or_else(*stopped))
            }
        }
    }
}

impl<T> Unpin for Reply<T> {}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
