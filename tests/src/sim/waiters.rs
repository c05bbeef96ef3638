//! Those who wait for a connection or for its end: each is answered once, in time, and truthfully.

use std::collections::BTreeMap;
use std::time::Duration;

use krarup::net_kernel::{ConnectError, WaiterId};

use super::env::Env;
use super::net::Owner;

/// Each step of a handshake may take so long, and an attempt of the peer is waited for so long.
pub(super) const SETUP_TIME: Duration = Duration::from_secs(7);

/// An attempt takes three times the time of a step at most, then the peer's own is waited for, and
/// that may take as long again; what both have settled may have to wait for the old connection.
pub(super) const ANSWER_TIME_MAX: Duration = SETUP_TIME.saturating_mul(8);

/// What somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Connect,
    Await,
    Disconnect,
}

#[derive(Clone, Debug)]
struct Waiting {
    wish: Wish,
    node: String,
    since: Duration,
    /// The node's process did not run for so long before.
    stopped: Duration,
}

/// How things stand when somebody is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// The node is this one.
    pub(super) is_own: bool,
    /// Every shard says that the node is up.
    pub(super) is_up: bool,
    /// And nothing has ended its connection.
    pub(super) is_well: bool,
    /// There is nothing of the node at any shard.
    pub(super) is_absent: bool,
    /// This node is alive.
    pub(super) is_alive: bool,
    /// A new attempt may go to the node.
    pub(super) may_call: bool,
    /// The node has been up and down.
    pub(super) has_ended: bool,
}

#[derive(Default)]
pub(super) struct Waiters {
    waiting: BTreeMap<(Owner, WaiterId), Waiting>,
    /// How long processes did not run, by node.
    stopped: BTreeMap<usize, Duration>,
    next: u64,
    /// Answered with success, and with failure.
    pub(super) answered: (u64, u64),
    /// The longest time that somebody waited.
    pub(super) longest: Duration,
}

impl Env {
    /// Somebody asks for something.
    pub(super) fn wish(&mut self, owner: Owner, wish: Wish, node: &str) -> WaiterId {
        self.waiters.next += 1;
        let id = WaiterId(self.waiters.next);
        let stopped = self.waiters.stopped.get(&owner.node).copied().unwrap_or_default();
        let waiting = Waiting { wish, node: node.to_owned(), since: self.now, stopped };
        self.waiters.waiting.insert((owner, id), waiting);
        id
    }

    /// A node's process does not run until then.
    pub(super) fn stop_process(&mut self, node: usize, until: Duration) {
        self.tell(|| format!("{node} is stopped until {until:?}"));
        self.stopped.insert(node, until);
        // What was put off until the end of an earlier stop stays so.
        let late = self.late_until.entry(node).or_default();
        let before = (*late).max(self.now);
        *late = before.max(until);
        *self.waiters.stopped.entry(node).or_default() += *late - before;
    }

    fn answer(&mut self, owner: Owner, id: WaiterId) -> Waiting {
        let Some(waiting) = self.waiters.waiting.remove(&(owner, id)) else {
            panic!("{owner} answers {id:?}, who does not wait any more");
        };
        let stopped = self.waiters.stopped.get(&owner.node).copied().unwrap_or_default();
        let waited = self.now - waiting.since;
        let waited = waited.saturating_sub(stopped - waiting.stopped);
        self.waiters.longest = self.waiters.longest.max(waited);
        assert!(waited <= ANSWER_TIME_MAX, "{owner}: {waiting:?} is answered after {waited:?}");
        waiting
    }

    pub(super) fn answer_connected(
        &mut self,
        owner: Owner,
        id: WaiterId,
        result: &Result<(), ConnectError>,
        facts: Facts,
    ) {
        let waiting = self.answer(owner, id);
        self.tell(|| format!("{owner}: {:?} to {} is {result:?}", waiting.wish, waiting.node));
        assert_ne!(waiting.wish, Wish::Disconnect, "{owner}: {waiting:?} is told {result:?}");
        let is_true = match result {
            Ok(()) => facts.is_up,
            Err(ConnectError::NotAlive) => !facts.is_alive,
            // The list is asked at once, and only for what needs a new attempt.
            Err(ConnectError::NotAllowed) => {
                waiting.wish == Wish::Connect
                    && waiting.since == self.now
                    && !facts.may_call
                    && !facts.is_well
            }
            Err(ConnectError::Ended(_)) => facts.has_ended && !facts.is_well,
            // It may have been called so only since.
            Err(_) => !facts.is_well || (facts.is_own && waiting.since < self.now),
        };
        assert!(is_true, "{owner}: {waiting:?} is told {result:?}, and the truth is {facts:?}");
        match result {
            Ok(()) => self.waiters.answered.0 += 1,
            Err(_) => self.waiters.answered.1 += 1,
        }
    }

    pub(super) fn answer_disconnected(
        &mut self,
        owner: Owner,
        id: WaiterId,
        was_up: bool,
        facts: Facts,
    ) {
        let waiting = self.answer(owner, id);
        self.tell(|| format!("{owner}: disconnect of {} is {was_up}", waiting.node));
        let is_true = match was_up {
            // Answered when its nodedown is out everywhere.
            true => facts.is_absent && facts.has_ended,
            false => (!facts.is_well || facts.is_own) && waiting.since == self.now,
        };
        assert!(
            is_true && waiting.wish == Wish::Disconnect,
            "{owner}: {waiting:?} is told {was_up}, and the truth is {facts:?}"
        );
        match was_up {
            true => self.waiters.answered.0 += 1,
            false => self.waiters.answered.1 += 1,
        }
    }

    /// What somebody wished for while it was not settled who names its node is asked for now.
    pub(super) fn asks_now(&mut self, owner: Owner, id: WaiterId) {
        let stopped = self.waiters.stopped.get(&owner.node).copied().unwrap_or_default();
        if let Some(waiting) = self.waiters.waiting.get_mut(&(owner, id)) {
            (waiting.since, waiting.stopped) = (self.now, stopped);
        }
    }

    /// Whom somebody waits for.
    pub(super) fn who_is_meant(&self, owner: Owner, id: WaiterId) -> &str {
        let waiting = self.waiters.waiting.get(&(owner, id));
        waiting.map(|waiting| waiting.node.as_str()).unwrap_or_default()
    }

    /// Those who wait for a name go on in the next life of the same process.
    pub(super) fn adopt_waiters(&mut self, old: Owner, new: Owner) {
        let all = std::mem::take(&mut self.waiters.waiting);
        let adopt =
            |((owner, id), waiting)| ((if owner == old { new } else { owner }, id), waiting);
        self.waiters.waiting = all.into_iter().map(adopt).collect();
    }

    /// A process ends: whoever waited in it is no more.
    pub(super) fn forget_waiters(&mut self, owner: Owner) {
        self.waiters.waiting.retain(|(of, _), _| *of != owner);
    }

    /// Whether somebody waits, and not for too long.
    pub(super) fn waits(&self, may_wait: Duration) -> bool {
        let mut waiting = self.waiters.waiting.values();
        waiting.any(|waiting| self.now - waiting.since < may_wait)
    }

    /// Nobody waits any more.
    pub(super) fn check_waiters(&self) {
        let first = self.waiters.waiting.iter().next();
        assert!(first.is_none(), "somebody is not answered: {first:?}");
    }
}
