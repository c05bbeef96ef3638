//! What really happened: every signal that was sent, and what a receiver may therefore see.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use krarup_transport::fabric::{LaneId, ProcessNumber, SessionId};

use super::net::Owner;

/// One process of one life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Who {
    pub(super) owner: Owner,
    pub(super) number: ProcessNumber,
}

/// What a receiver can compare of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) class: Class,
    pub(super) bytes: usize,
    pub(super) hash: u64,
}

/// Which way a signal went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Raw,
    Term,
    NamedRaw,
    NamedTerm,
    Exit,
    Unlink,
    Hold,
}

impl Fingerprint {
    pub(super) fn new(class: Class, payload: &[u8]) -> Fingerprint {
        let mix = |hash: u64, word: &[u8]| {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            (hash ^ u64::from_le_bytes(bytes)).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
        };
        let hash = payload.chunks(8).fold(0xcbf2_9ce4_8422_2325, mix);
        Fingerprint { class, bytes: payload.len(), hash }
    }
}

/// A session between two processes of the operating system, and from whom to whom.
type Pair = ([u8; 32], Who, Who);

#[derive(Default)]
pub(super) struct Oracle {
    /// What was accepted from a sender for a receiver and has not arrived.
    under_way: BTreeMap<Pair, VecDeque<(u64, Fingerprint)>>,
    numbers: BTreeMap<Pair, u64>,
    /// Receivers that have told a sender to hold: `holder`, then `sender`.
    held: BTreeMap<Pair, bool>,
    /// The position that a life's shard stated of a lane when it last let its socket go.
    positions: BTreeMap<([u8; 32], u8, Owner), u64>,
    /// How often each session was up at a life of a node: never more than once.
    raised: BTreeSet<([u8; 32], Owner)>,
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) delivered_bytes: u64,
    pub(super) holds: u64,
    pub(super) resumes: u64,
}

impl Oracle {
    /// A signal was accepted; it has to arrive, unless the session ends.
    pub(super) fn sent(&mut self, session: SessionId, from: Who, to: Who, what: Fingerprint) {
        let pair = (session.0, from, to);
        let number = self.numbers.entry(pair).or_default();
        *number += 1;
        self.under_way.entry(pair).or_default().push_back((*number, what));
        self.sent += 1;
    }

    /// A signal arrived.
    pub(super) fn delivered(&mut self, session: SessionId, from: Who, to: Who, what: Fingerprint) {
        let queue = self.under_way.get_mut(&(session.0, from, to));
        let Some((number, expected)) = queue.and_then(VecDeque::pop_front) else {
            panic!("{from:?} → {to:?} in {session:?}: {what:?} arrived, and nothing is under way");
        };
        assert_eq!(
            what, expected,
            "{from:?} → {to:?} in {session:?}: signal {number} is lost, repeated or overtaken"
        );
        self.delivered += 1;
        self.delivered_bytes += what.bytes as u64;
    }

    /// `holder` decides that `sender` has to hold, or may go on.
    pub(super) fn says_hold(&mut self, session: SessionId, holder: Who, sender: Who, hold: bool) {
        let what = Fingerprint::new(Class::Hold, &[u8::from(hold)]);
        // A queue of its own: it may pass the signals of the same pair.
        let pair = (session.0, hold_side(holder), sender);
        let number = self.numbers.entry(pair).or_default();
        *number += 1;
        self.under_way.entry(pair).or_default().push_back((*number, what));
        self.holds += 1;
    }

    /// `sender` learns it.
    pub(super) fn hears_hold(&mut self, session: SessionId, holder: Who, sender: Who, hold: bool) {
        let what = Fingerprint::new(Class::Hold, &[u8::from(hold)]);
        self.delivered(session, hold_side(holder), sender, what);
        self.delivered -= 1;
        let held = self.held.entry((session.0, holder, sender)).or_default();
        assert_ne!(*held, hold, "{holder:?} tells {sender:?} the same twice");
        *held = hold;
    }

    /// A shard lets a lane's socket go, having received so much.
    pub(super) fn reports(&mut self, session: SessionId, lane: LaneId, owner: Owner, at: u64) {
        self.positions.insert((session.0, lane.0, owner), at);
    }

    /// The other shard goes on where it was told that this one stopped.
    pub(super) fn resumes(&mut self, session: SessionId, lane: LaneId, peer: Owner, at: u64) {
        let stated = self.positions.get(&(session.0, lane.0, peer));
        assert_eq!(stated, Some(&at), "lane {lane} of {session:?} goes on elsewhere");
        self.resumes += 1;
    }

    /// A node's life raises a session.
    pub(super) fn raised(&mut self, session: SessionId, owner: Owner) {
        assert!(self.raised.insert((session.0, owner)), "{session:?} is up twice at {owner:?}");
    }

    /// Whether a session has come up at a node's life.
    pub(super) fn has_raised(&self, session: SessionId, owner: Owner) -> bool {
        self.raised.contains(&(session.0, owner))
    }

    /// What is under way in a session that is up on both sides, of which there must be nothing
    /// once all is quiet.
    pub(super) fn left_in(&self, session: SessionId) -> Vec<String> {
        let of_session = self.under_way.iter().filter(|((id, ..), _)| *id == session.0);
        of_session
            .filter(|(_, queue)| !queue.is_empty())
            .map(|((_, from, to), queue)| {
                format!("{} signals {from:?} → {to:?}, first {:?}", queue.len(), queue.front())
            })
            .collect()
    }

    /// Nothing of sessions that are over is needed any more.
    pub(super) fn keep(&mut self, sessions: &BTreeSet<[u8; 32]>) {
        self.under_way.retain(|(id, ..), _| sessions.contains(id));
        self.numbers.retain(|(id, ..), _| sessions.contains(id));
        self.held.retain(|(id, ..), _| sessions.contains(id));
        self.positions.retain(|(id, ..), _| sessions.contains(id));
    }
}

/// Marks the queue of holds.
fn hold_side(holder: Who) -> Who {
    let number = ProcessNumber { id: holder.number.id | 1 << 31, ..holder.number };
    Who { number, ..holder }
}
