//! How many attempts to connect a node has under way at a time.
//!
//! All nodes of a cluster may start at once, and each then wants to reach all others. Attempts that
//! are all under way share the processors and end late, all together, when the time for their steps
//! is up; a few at a time end soon, one after another, and no more work is done for it.
//!
//! A peer that does not answer must not hold up the attempts behind it, so a slow one counts only for
//! a while.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::future::{Either, select};
use krarup_transport::io::sleep;

/// Attempts under way of one node. 200 nodes on two cores do some 2,000 in a second together, so
/// that each of these takes one or two seconds at worst.
const UNDER_WAY_MAX: usize = 16;

/// How long an attempt counts. It goes on after that.
const COUNTED_TIME: Duration = Duration::from_secs(2);

/// Lets attempts begin, in the order in which they ask.
pub(super) struct Pace {
    free: Cell<usize>,
    /// Those that are dropped meanwhile stay here until it is their turn.
    waiting: RefCell<VecDeque<Weak<Turn>>>,
}

/// One that waits for its turn.
#[derive(Default)]
struct Turn {
    has_come: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Gives the place of an attempt to the next one when it is dropped.
struct Place<'a>(&'a Pace);

impl Default for Pace {
    fn default() -> Self {
        Pace { free: Cell::new(UNDER_WAY_MAX), waiting: RefCell::default() }
    }
}

impl Pace {
    /// Makes and runs an attempt when it is its turn. May be dropped at any time.
    pub(super) async fn run<F: Future>(&self, attempt: impl FnOnce() -> F) -> F::Output {
        let place = self.place().await;
        // Boxed, so that whoever waits has no room for its buffers yet.
        match select(Box::pin(attempt()), pin!(sleep(COUNTED_TIME))).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(((), attempt)) => {
                drop(place);
                attempt.await
            }
        }
    }

    async fn place(&self) -> Place<'_> {
        if self.free.get() > 0 {
            self.free.set(self.free.get() - 1);
            return Place(self);
        }
        let turn = Rc::<Turn>::default();
        self.waiting.borrow_mut().push_back(Rc::downgrade(&turn));
        // Whoever is dropped when its turn has come gives the place on.
        let mut waits = Waits { pace: self, turn: Some(turn) };
        poll_fn(|cx| match &waits.turn {
            Some(turn) if !turn.has_come.get() => {
                turn.waker.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
            _ => Poll::Ready(()),
        })
        .await;
        waits.turn = None;
        Place(self)
    }

    /// The place of one that has ended is the next one's, or free.
    fn give_on(&self) {
        loop {
            let next = self.waiting.borrow_mut().pop_front();
            let Some(next) = next else { break };
            let Some(turn) = next.upgrade() else { continue };
            turn.has_come.set(true);
            if let Some(waker) = turn.waker.take() {
                waker.wake();
            }
            return;
        }
        self.free.set(self.free.get() + 1);
    }
}

struct Waits<'a> {
    pace: &'a Pace,
    turn: Option<Rc<Turn>>,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if let Some(turn) = self.turn.take()
            && turn.has_come.get()
        {
            drop(turn);
            self.pace.give_on();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.give_on();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn places_are_given_in_order_and_never_lost() {
        let pace = Pace::default();
        let mut held: Vec<Place<'_>> =
            (0..UNDER_WAY_MAX).map(|_| pace.place().now_or_never().expect("free")).collect();
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(pace.place())).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none(), "all are taken");
        }
        // One that is dropped before its turn, and one after it has come.
        drop(waiting.remove(0));
        drop(held.pop());
        drop(waiting.remove(0));
        let first = waiting.remove(0).now_or_never().expect("its turn");
        assert!(waiting[0].as_mut().now_or_never().is_none());
        drop(first);
        let last = waiting.remove(0).now_or_never().expect("its turn");
        drop(last);
        drop(held);
        assert_eq!(pace.free.get(), UNDER_WAY_MAX);
        assert!(pace.waiting.borrow().is_empty());
    }
}
