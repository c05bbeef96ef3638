//! Attempts: who is let in, which of several wins, and what they wait for.
//!
//! Inbound attempts are strangers until they have proven the cookie, so they never disturb a
//! connection or an attempt of ours before that: the first attempt that completes its handshake wins
//! and the others are aborted. What both sides still have to settle after the handshake is done with
//! the winner alone.
//!
//! Two nodes may each complete an attempt at the same time, and both must keep the same one. The
//! acceptor's ack is what completes an attempt, so the node with the greater name, whose attempt
//! goes first, holds it back for as long as the peer may be completing that one.

use std::time::{Duration, Instant};

use krarup_transport::term::Atom;

use super::NetKernel;
use crate::net_kernel::ConnectError;
use crate::net_kernel::peer::{Awaited, Connection, Peer};
use crate::net_kernel::types::{Action, AttemptId, Decision, NodeDownReason, PeerLink};

impl NetKernel {
    /// A stranger stated its name in an inbound handshake.
    pub fn inbound(&mut self, node: &Atom) -> (AttemptId, Decision) {
        let attempt = AttemptId(self.fresh_id());
        let decision = self.decide(node);
        if !matches!(decision, Decision::Nok | Decision::NotAllowed) {
            self.attempts.insert(attempt, node.clone());
            let peer = self.peers.entry(node.clone()).or_default();
            peer.efforts.get_or_insert_default().inbound.push(attempt);
        }
        (attempt, decision)
    }

    fn decide(&self, node: &Atom) -> Decision {
        let Some(local) = &self.local else { return Decision::NotAllowed };
        if local == node {
            return Decision::Nok;
        }
        if !self.allowed.may_connect(node.as_str()) {
            return Decision::NotAllowed;
        }
        match self.peers.get(node) {
            // What is ready comes up before the newcomer has proven anything, and would then be in
            // its way.
            Some(peer) if peer.is_settling() || peer.is_ready() => Decision::Alive,
            Some(peer) if peer.connection.as_ref().is_some_and(Connection::is_coming) => {
                Decision::Alive
            }
            // OTP: erl_distribution, "simultaneous connect": the attempt of the greater name wins.
            // One of ours that has not come as far as to state our name does not count, as in OTP
            // from 29 on: who knows when it will, and the peer is here.
            Some(peer) if peer.is_called() && local.as_str() > node.as_str() => Decision::Nok,
            Some(peer) if peer.is_called() => Decision::OkSimultaneous,
            _ => Decision::Ok,
        }
    }

    /// Our name is about to go out in an attempt of ours: from now on the peer may complete it.
    pub fn called(&mut self, attempt: AttemptId) {
        let Some(node) = self.attempts.get(&attempt) else { return };
        let peer = self.peers.get_mut(node);
        if let Some(efforts) = peer.and_then(|peer| peer.efforts.as_mut())
            && efforts.outbound == Some(attempt)
        {
            efforts.called = true;
        }
    }

    /// An inbound attempt that replaces no link proved the cookie: [`Action::Acknowledge`] or
    /// [`Action::Abort`] follows, at once or when it is known what becomes of an attempt of ours.
    pub fn asks(&mut self, attempt: AttemptId) {
        let Some(node) = self.attempts.get(&attempt) else {
            self.actions.push_back(Action::Abort { attempt });
            return;
        };
        let goes_first = self.local.as_ref().is_some_and(|own| own.as_str() > node.as_str());
        let Some(peer) = self.peers.get_mut(node) else { return };
        if goes_first && peer.is_called() {
            peer.efforts.get_or_insert_default().held.push(attempt);
        } else {
            self.let_in(attempt);
        }
    }

    /// Lets an attempt of the peer win, unless another one has won already.
    fn let_in(&mut self, attempt: AttemptId) {
        self.proven(attempt);
        let node = self.attempts.get(&attempt);
        let peer = node.and_then(|node| self.peers.get(node));
        if peer.is_some_and(|peer| peer.settles(attempt)) {
            self.actions.push_back(Action::Acknowledge { attempt });
        }
    }

    /// An `alive` attempt proved the cookie: the old link gives way now, the acknowledgement waits
    /// for [`Action::Acknowledge`].
    pub fn verified(&mut self, attempt: AttemptId) {
        let Some(node) = self.attempts.get(&attempt).cloned() else { return };
        let Some(peer) = self.peers.get_mut(&node) else { return };
        // Whoever starts anew has given up what it had begun before.
        let efforts = peer.efforts.get_or_insert_default();
        let ready = efforts.ready.as_ref().map(|(ready, _)| *ready);
        let previous = efforts.replacing.filter(|previous| *previous != attempt);
        for given_up in efforts.settling.into_iter().chain(ready).chain(previous) {
            self.abort(given_up);
        }
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if let Some(connection) = &mut peer.connection {
            peer.efforts.get_or_insert_default().replacing = Some(attempt);
            Self::close(&mut self.actions, connection, NodeDownReason::WaitPending);
        } else {
            self.actions.push_back(Action::Acknowledge { attempt });
        }
    }

    /// An attempt finished its handshake: it wins over all others, unless one has won already.
    /// [`NetKernel::established`] or [`NetKernel::failed`] follows.
    pub fn proven(&mut self, attempt: AttemptId) {
        let Some(node) = self.attempts.get(&attempt).cloned() else {
            self.actions.push_back(Action::Abort { attempt });
            return;
        };
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if peer.settles(attempt) {
            return;
        }
        let is_late =
            peer.is_settling() || peer.connection.as_ref().is_some_and(Connection::is_coming);
        if is_late {
            self.abort(attempt);
            return;
        }
        let efforts = peer.efforts.get_or_insert_default();
        efforts.awaits_peer = None;
        // One that is ready is of the past as well: the peer has begun another one since.
        let ready = efforts.ready.as_ref().map(|(ready, _)| *ready);
        let others: Vec<AttemptId> = efforts
            .outbound
            .into_iter()
            .chain(efforts.inbound.iter().copied())
            .chain(ready)
            .filter(|id| *id != attempt)
            .collect();
        for other in others {
            self.abort(other);
        }
        self.forget_attempt(attempt);
        self.attempts.insert(attempt, node.clone());
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.efforts.get_or_insert_default().settling = Some(attempt);
        }
    }

    /// An attempt has settled everything: its connection can come up.
    pub fn established(&mut self, attempt: AttemptId, link: PeerLink) {
        let Some(node) = self.attempts.get(&attempt).cloned() else {
            self.actions.push_back(Action::Abort { attempt });
            return;
        };
        if self.peers.get(&node).is_none_or(|peer| !peer.settles(attempt)) {
            self.proven(attempt);
        }
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if !peer.settles(attempt) {
            return;
        }
        let efforts = peer.efforts.get_or_insert_default();
        efforts.settling = None;
        match &peer.connection {
            None => self.raise(&node, attempt, link),
            Some(_) => efforts.ready = Some((attempt, link)),
        }
    }

    /// An attempt failed, at any stage, for a reason that those who wait are told if there is no
    /// other hope for them.
    pub fn failed(&mut self, attempt: AttemptId, why: ConnectError) {
        let Some(node) = self.attempts.get(&attempt).cloned() else { return };
        self.forget_attempt(attempt);
        self.let_in_held(&node);
        self.settle(&node, why);
    }

    /// The peer refused an attempt of ours (`nok`), because its own survives.
    pub fn gave_way(&mut self, attempt: AttemptId, now: Instant) {
        let Some(node) = self.attempts.get(&attempt).cloned() else { return };
        let outbound = self.forget_attempt(attempt);
        self.let_in_held(&node);
        let until = now + self.setup_time;
        let peer = self.peers.get_mut(&node);
        if let Some(efforts) = peer.and_then(|peer| peer.efforts.as_mut())
            && outbound
            && efforts.settling.is_none()
            && !efforts.waiters.is_empty()
        {
            efforts.awaits_peer = Some(Awaited { since: now, until, is_hope: false });
        }
        self.settle(&node, ConnectError::PeersAttempt { waited: Duration::ZERO });
    }

    /// Our own attempt is over: who waited for that is let in. Of several the first one wins.
    fn let_in_held(&mut self, node: &Atom) {
        let efforts = self.peers.get(node).and_then(|peer| peer.efforts.as_ref());
        if let Some(efforts) = efforts
            && efforts.outbound.is_none()
            && let Some(first) = efforts.held.first().copied()
        {
            self.let_in(first);
        }
    }

    /// The earliest time at which [`NetKernel::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.peers.values().filter_map(Peer::awaits_until).min()
    }

    /// Gives up waiting for peers whose own attempt never arrived, or takes too long.
    pub fn expire(&mut self, now: Instant) {
        let due = |peer: &Peer| peer.awaits_until().is_some_and(|until| until <= now);
        let names: Vec<Atom> =
            self.peers.iter().filter(|(_, p)| due(p)).map(|(name, _)| name.clone()).collect();
        for name in names {
            let peer = self.peers.get_mut(&name);
            let Some(efforts) = peer.and_then(|peer| peer.efforts.as_mut()) else { continue };
            let Some(awaited) = &mut efforts.awaits_peer else { continue };
            let waited = now.saturating_duration_since(awaited.since);
            // One that has arrived gets as long as a handshake may take. Only a claim, it must not
            // keep anybody waiting for ever.
            if !efforts.inbound.is_empty() && waited < self.setup_time * 3 {
                awaited.until = now + self.setup_time;
                continue;
            }
            efforts.awaits_peer = None;
            self.settle(&name, ConnectError::PeersAttempt { waited });
        }
    }

    /// Ends an attempt.
    fn abort(&mut self, attempt: AttemptId) {
        self.forget_attempt(attempt);
        self.actions.push_back(Action::Abort { attempt });
    }

    /// Drops an attempt from the tables; true when it was ours.
    pub(super) fn forget_attempt(&mut self, attempt: AttemptId) -> bool {
        let Some(node) = self.attempts.remove(&attempt) else { return false };
        let Some(peer) = self.peers.get_mut(&node) else { return false };
        let Some(efforts) = &mut peer.efforts else { return false };
        efforts.inbound.retain(|other| *other != attempt);
        efforts.held.retain(|other| *other != attempt);
        efforts.replacing.take_if(|replacing| *replacing == attempt);
        efforts.settling.take_if(|settling| *settling == attempt);
        efforts.ready.take_if(|(ready, _)| *ready == attempt);
        efforts.outbound.take_if(|outbound| *outbound == attempt).is_some()
    }
}
