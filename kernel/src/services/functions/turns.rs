//! How many calls of others may block a thread at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;

/// Those that have gone are looked for among the waiting whenever there are this many more.
const CLEAN_EVERY: usize = 1024;

/// Lets some go on and the others wait, in the order in which they came, on any shard.
#[derive(Debug)]
pub(super) struct Turns {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// The right to go on. The next one has it when this is dropped.
#[derive(Debug)]
pub(super) struct Turn(Option<Arc<Turns>>);

impl Turns {
    /// For so many at a time.
    pub(super) fn new(most: usize) -> Arc<Self> {
        let state = State { free: most, waiting: VecDeque::new() };
        Arc::new(Turns { state: Mutex::new(state) })
    }

    /// Waits for a turn. Whoever gives up waiting takes none.
    pub(super) async fn next(self: &Arc<Self>) -> Turn {
        let waits = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Turn(Some(Arc::clone(self)));
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.push_back(sender);
            if state.waiting.len().is_multiple_of(CLEAN_EVERY) {
                state.waiting.retain(|sender| !sender.is_canceled());
            }
            receiver
        };
        // Senders are dropped only with all that have the turns.
        waits.await.unwrap_or(Turn(None))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut mine = self.0.take();
        while let Some(turns) = mine.take() {
            let next = {
                let mut state = turns.lock();
                let next = state.waiting.pop_front();
                state.free += usize::from(next.is_none());
                next
            };
            // Outside the lock, since one that has gone gives the turn back.
            if let Some(next) = next
                && let Err(mut unwanted) = next.send(Turn(Some(turns)))
            {
                mine = unwanted.0.take();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn each_turn_is_somebodys_or_free() {
        let turns = Turns::new(2);
        let first = turns.next().now_or_never().expect("a turn");
        let second = turns.next().now_or_never().expect("a turn");
        let mut waiting: VecDeque<_> = (0..10_000)
            .map(|_| {
                Box::pin({
                    let turns = Arc::clone(&turns);
                    async move { turns.next().await }
                })
            })
            .collect();
        for waits in &mut waiting {
            assert!(waits.now_or_never().is_none());
        }
        // All but one give up, each with its place in the line.
        let mut last = waiting.pop_back().expect("the last");
        waiting.clear();
        drop(first);
        let third = (&mut last).now_or_never().expect("its turn");
        assert_eq!(turns.lock().free, 0);
        assert!(turns.lock().waiting.is_empty());
        drop((second, third));
        assert_eq!(turns.lock().free, 2);
        // One that had a turn given and never looked.
        let turn = (turns.next().now_or_never(), turns.next().now_or_never());
        let mut unseen = Box::pin(turns.next());
        assert!((&mut unseen).now_or_never().is_none());
        drop(turn);
        drop(unseen);
        assert_eq!(turns.lock().free, 2);
    }

    #[test]
    fn those_that_gave_up_take_no_room() {
        let turns = Turns::new(0);
        for _ in 0..100_000 {
            assert!(turns.next().now_or_never().is_none());
        }
        assert!(turns.lock().waiting.len() <= CLEAN_EVERY);
    }
}
