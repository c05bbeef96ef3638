//! Large messages, and the signals that must not overtake them, by sender.

use std::collections::VecDeque;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::dist::Control;
use crate::dist::fragment::SequenceId;
use crate::fabric::ProcessNumber;
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
        SenderKey::of_numbers(pid.id, pid.serial)
    }

    /// The key of the process of this node whose pid has these two numbers.
    #[inline]
    #[must_use]
    pub const fn of_numbers(id: u32, serial: u32) -> SenderKey {
        SenderKey((id as u64) << 32 | serial as u64)
    }

    /// The process, by the numbers of its pid; both are zero for [`SenderKey::NODE`].
    #[inline]
    #[must_use]
    pub const fn number(self) -> ProcessNumber {
        let (id, serial) = self.numbers();
        ProcessNumber { id, serial }
    }

    /// The two numbers of the sender's pid; both are zero for [`SenderKey::NODE`].
    #[inline]
    pub(crate) const fn numbers(self) -> (u32, u32) {
        if self.0 == SenderKey::NODE.0 { (0, 0) } else { ((self.0 >> 32) as u32, self.0 as u32) }
    }
}

/// The payload of a queued signal, by reference.
pub(crate) type Chunks = SmallVec<[Bytes; 1]>;

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
    /// Whether it is a message.
    pub(super) message: bool,
    /// Bytes of each fragment.
    pub(super) fragment_bytes: u32,
    /// What is not written yet.
    pub(super) payload: VecDeque<Bytes>,
    pub(super) payload_bytes: usize,
}

/// Something that waits in [`Bulk`].
pub(crate) trait Waiting {
    /// What it counts towards the budget, in bytes.
    fn bytes(&self) -> usize;

    /// Whether it is a message: the other signals have a budget of their own.
    fn is_message(&self) -> bool;
}

impl Waiting for Item {
    fn bytes(&self) -> usize {
        match self {
            Item::Whole { bytes, .. } => *bytes,
            Item::Fragments(fragments) => fragments.payload_bytes,
        }
    }

    fn is_message(&self) -> bool {
        match self {
            Item::Whole { control, .. } => control.is_message(),
            Item::Fragments(fragments) => fragments.message,
        }
    }
}

/// The waiting signals, one queue for each sender that has a large message under way, and whose
/// turn is next.
#[derive(Debug)]
pub(crate) struct Bulk<I> {
    /// Boxed, for most links never send a large message.
    queues: Option<Box<Queues<I>>>,
    /// How many queues wait for a turn.
    waiting: usize,
    bytes: usize,
    /// Those of them that are of messages.
    message_bytes: usize,
}

#[derive(Debug)]
struct Queues<I> {
    by_sender: FxHashMap<SenderKey, VecDeque<I>>,
    turns: VecDeque<SenderKey>,
}

impl<I> Default for Bulk<I> {
    fn default() -> Bulk<I> {
        Bulk { queues: None, waiting: 0, bytes: 0, message_bytes: 0 }
    }
}

impl<I> Default for Queues<I> {
    fn default() -> Queues<I> {
        Queues { by_sender: FxHashMap::default(), turns: VecDeque::new() }
    }
}

impl<I: Waiting> Bulk<I> {
    /// Whether nothing waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Bytes that wait.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of messages that wait.
    #[inline]
    pub(crate) fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    /// Bytes of other signals that wait.
    #[inline]
    pub(crate) fn signal_bytes(&self) -> usize {
        self.bytes - self.message_bytes
    }

    /// Whether later signals of this sender have to wait here, too.
    #[inline]
    pub(crate) fn holds(&self, sender: SenderKey) -> bool {
        !self.is_empty() && self.has_queue(sender)
    }

    #[inline(never)]
    fn has_queue(&self, sender: SenderKey) -> bool {
        self.queues.as_ref().is_some_and(|queues| queues.by_sender.contains_key(&sender))
    }

    /// Queues a signal behind what its sender has here already.
    pub(crate) fn push(&mut self, sender: SenderKey, item: I) {
        self.bytes += item.bytes();
        if item.is_message() {
            self.message_bytes += item.bytes();
        }
        let Queues { by_sender, turns } = &mut **self.queues.get_or_insert_default();
        let queue = by_sender.entry(sender).or_default();
        if queue.is_empty() {
            turns.push_back(sender);
            self.waiting += 1;
        }
        queue.push_back(item);
    }

    /// The queue whose turn it is. It must be given back with [`Bulk::end_turn`], and what was
    /// taken from it told to [`Bulk::took`].
    pub(crate) fn begin_turn(&mut self) -> Option<(SenderKey, VecDeque<I>)> {
        let queues = self.queues.as_mut()?;
        let sender = queues.turns.pop_front()?;
        self.waiting -= 1;
        let queue = queues.by_sender.remove(&sender)?;
        Some((sender, queue))
    }

    /// So many bytes, of a message or another signal, do not wait here any more.
    pub(crate) fn took(&mut self, bytes: usize, is_message: bool) {
        self.bytes -= bytes;
        if is_message {
            self.message_bytes -= bytes;
        }
    }

    /// Puts a queue back behind the others; an empty one is forgotten.
    pub(crate) fn end_turn(&mut self, sender: SenderKey, queue: VecDeque<I>) {
        if !queue.is_empty() {
            let queues = self.queues.get_or_insert_default();
            queues.by_sender.insert(sender, queue);
            queues.turns.push_back(sender);
            self.waiting += 1;
        }
    }

    /// Gives up memory that is kept for reuse.
    pub(crate) fn trim(&mut self) {
        if self.is_empty() {
            self.queues = None;
        }
    }
}

impl Fragments {
    /// Takes up to `count` bytes from the front of the payload.
    pub(super) fn take(&mut self, count: usize) -> Chunks {
        let taken = take_front(&mut self.payload, count);
        self.payload_bytes -= taken.iter().map(Bytes::len).sum::<usize>();
        taken
    }
}

/// Takes up to `count` bytes from the front of `payload`.
pub(crate) fn take_front(payload: &mut VecDeque<Bytes>, count: usize) -> Chunks {
    let mut rest = count;
    let mut taken = Chunks::new();
    while rest > 0
        && let Some(front) = payload.front_mut()
    {
        if front.len() <= rest {
            rest -= front.len();
            taken.extend(payload.pop_front());
        } else {
            taken.push(front.split_to(rest));
            rest = 0;
        }
    }
    taken
}
