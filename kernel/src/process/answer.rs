//! Where one answer to one question of a process arrives.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker};

use krarup_transport::link::Payload;
use krarup_transport::term::{Atom, Pid};

use super::Message;

/// What a question is answered with.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A message to the alias of the question, or with its tag.
    Message(Message),
    /// Whoever was asked has ended: the reason.
    Down(Payload),
    /// What became of a process that was to be started.
    Spawned(Result<Pid, Atom>),
}

/// A question that waits for its answer. The first one stays, others are dropped.
#[derive(Debug, Default)]
pub(crate) struct AnswerSlot {
    answer: RefCell<Option<Answer>>,
    waker: RefCell<Option<Waker>>,
}

impl AnswerSlot {
    /// The answer has come; gives whoever waits for it.
    pub(crate) fn put(&self, answer: Answer) -> Option<Waker> {
        self.answer.borrow_mut().get_or_insert(answer);
        self.waker.take()
    }

    /// Takes the answer.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Answer> {
        if let Some(answer) = self.answer.take() {
            return Poll::Ready(answer);
        }
        let mut waker = self.waker.borrow_mut();
        match &*waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}
