//! Large messages, and the signals that must not overtake them, by sender.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::dist::Control;
use crate::dist::fragment::SequenceId;
use crate::term::Pid;

/// Names a sender within one link: signals of one sender keep their order, signals of different
/// senders may pass each other between the fragments of large messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SenderKey(u64);

impl SenderKey {
    /// Signals that nobody in particular sends.
    pub const NODE: SenderKey = SenderKey(u64::MAX);

    /// The key of a process of this node.
    #[inline]
    #[must_use]
    pub const fn of(pid: &Pid) -> SenderKey {
        SenderKey((pid.id as u64) << 32 | pid.serial as u64)
    }
}

/// The payload of a queued signal, by reference.
pub(super) type Chunks = SmallVec<[Bytes; 1]>;

/// A signal that is not encoded yet.
#[derive(Debug)]
pub(super) enum Item {
    /// Goes out in one frame.
    Whole { control: Control, payload: Chunks, bytes: usize },
    /// Goes out in fragments. The control message is there until the first one is written.
    Fragments(Fragments),
}

#[derive(Debug)]
pub(super) struct Fragments {
    pub(super) control: Option<Control>,
    pub(super) sequence: SequenceId,
    /// The id of the next fragment to be written; set by the first.
    pub(super) next: u64,
    /// What is not written yet.
    pub(super) payload: VecDeque<Bytes>,
    pub(super) payload_bytes: usize,
}

impl Item {
    /// What it counts towards the budget.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Item::Whole { bytes, .. } => *bytes,
            Item::Fragments(fragments) => fragments.payload_bytes,
        }
    }
}

/// The waiting signals, one queue for each sender that has a large message under way, and whose
/// turn is next.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    queues: HashMap<SenderKey, VecDeque<Item>>,
    turns: VecDeque<SenderKey>,
    bytes: usize,
}

impl Bulk {
    /// Whether nothing waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Bytes that wait.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether later signals of this sender have to wait here, too.
    #[inline]
    pub(super) fn holds(&self, sender: SenderKey) -> bool {
        !self.is_empty() && self.queues.contains_key(&sender)
    }

    /// Queues a signal behind what its sender has here already.
    pub(super) fn push(&mut self, sender: SenderKey, item: Item) {
        self.bytes += item.bytes();
        let queue = self.queues.entry(sender).or_default();
        if queue.is_empty() {
            self.turns.push_back(sender);
        }
        queue.push_back(item);
    }

    /// The queue whose turn it is. It must be given back with [`Bulk::end_turn`], and what was
    /// taken from it told to [`Bulk::took`].
    pub(super) fn begin_turn(&mut self) -> Option<(SenderKey, VecDeque<Item>)> {
        let sender = self.turns.pop_front()?;
        let queue = self.queues.remove(&sender)?;
        Some((sender, queue))
    }

    /// So many bytes do not wait here any more.
    pub(super) fn took(&mut self, bytes: usize) {
        self.bytes -= bytes;
    }

    /// Puts a queue back behind the others; an empty one is forgotten.
    pub(super) fn end_turn(&mut self, sender: SenderKey, queue: VecDeque<Item>) {
        if !queue.is_empty() {
            self.queues.insert(sender, queue);
            self.turns.push_back(sender);
        }
    }
}

impl Fragments {
    /// Takes up to `count` bytes from the front of the payload.
    pub(super) fn take(&mut self, count: usize) -> Chunks {
        let mut rest = count.min(self.payload_bytes);
        self.payload_bytes -= rest;
        let mut taken = Chunks::new();
        while rest > 0
            && let Some(front) = self.payload.front_mut()
        {
            if front.len() <= rest {
                rest -= front.len();
                taken.extend(self.payload.pop_front());
            } else {
                taken.push(front.split_to(rest));
                rest = 0;
            }
        }
        taken
    }
}
