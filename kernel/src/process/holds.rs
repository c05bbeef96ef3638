//! Whom a full mailbox has told to wait.

use rustc_hash::FxHashSet;

use super::Sender;

/// The senders that must not send to a process before its mailbox has room again.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    held: FxHashSet<Sender>,
    /// Those that have not been told yet.
    fresh: Vec<Sender>,
}

impl Holds {
    /// Somebody sent although the mailbox is full.
    pub(super) fn note(&mut self, sender: Sender) {
        if !self.held.contains(&sender) {
            self.held.insert(sender.clone());
            self.fresh.push(sender);
        }
    }

    /// Those that are to be told to wait.
    pub(super) fn take_fresh(&mut self) -> Vec<Sender> {
        std::mem::take(&mut self.fresh)
    }

    /// Nobody of these waits any more: their node is gone.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&Sender) -> bool) {
        self.held.retain(|sender| !is_gone(sender));
        self.fresh.retain(|sender| !is_gone(sender));
    }

    /// All who were told to wait.
    pub(crate) fn into_held(self) -> impl Iterator<Item = Sender> {
        let Holds { mut held, fresh } = self;
        for sender in fresh {
            held.remove(&sender);
        }
        held.into_iter()
    }
}
