//! A process's queue of signals, bounded by bytes.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use krarup_transport::fabric::Run;

use super::{Holds, Identity, Message, Sender, Signal};

/// How much a mailbox may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxLimits {
    /// Bytes of payload and bookkeeping; a process that lets more pile up ends with
    /// `mailbox_full`.
    pub bytes_max: usize,
    /// What happens at the limit.
    pub overflow: Overflow,
}

/// What a full mailbox does with one more message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The process ends with reason `mailbox_full`.
    Exit,
    /// The message is dropped and counted.
    DropNewest,
    /// The message is queued, and its sender has to wait: its sends to this process are
    /// [`SendError::Busy`](crate::SendError::Busy), or wait, until the mailbox is half empty.
    /// Others go on.
    ///
    /// That is for processes of this node and of other Krarup nodes. What was under way before
    /// they know of it is queued, too. Erlang processes cannot be told to wait. So once 64 MiB
    /// beyond the limit are queued the process ends with reason `mailbox_full` after all.
    Hold,
}

impl Default for MailboxLimits {
    fn default() -> Self {
        MailboxLimits { bytes_max: 256 << 20, overflow: Overflow::Exit }
    }
}

/// What became of a pushed signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Queued,
    Dropped,
    /// Queued, and whoever sent it has to wait; see [`MailboxQueue::take_fresh_holds`].
    Over,
    /// The process must end with `mailbox_full`.
    Full,
}

/// Messages that came one behind the other from processes of one node.
#[derive(Debug)]
pub(crate) struct PeerRun {
    /// The node that they came from.
    pub(crate) node: Rc<Identity>,
    pub(crate) run: Run,
}

#[derive(Default)]
pub(crate) struct MailboxQueue {
    /// The messages that come next, if any of a run are left.
    current: Option<PeerRun>,
    /// What comes behind them.
    entries: VecDeque<Entry>,
    bytes: usize,
    limits: MailboxLimits,
    dropped: u64,
    /// Who is to be woken, kept from one wait to the next.
    waker: Option<Waker>,
    /// Whether the receiver waits.
    waits: bool,
    /// The waker is that of the process itself, so that its shard can run it without.
    is_own_waker: bool,
    /// The process is to be run by its shard.
    is_due: bool,
    /// So many entries at the front were there when [`MailboxQueue::settle`] was called last.
    seen: usize,
    /// So many of them hold no slab any more.
    settled: usize,
    /// The same of the current run.
    current_seen: bool,
    current_settled: bool,
    /// Whom it has told to wait.
    holds: Option<Box<Holds>>,
}

/// What a mailbox queues: signals, or many messages as one.
enum Entry {
    Signal(Signal),
    Run(PeerRun),
}

/// Bookkeeping per queued signal that counts against the budget. The messages of a run count with
/// their headers instead.
pub(super) const SIGNAL_OVERHEAD_BYTES: usize = 128;

/// Bytes that a mailbox queues beyond its limit when its senders have to wait: what was under way
/// before they know.
const HOLD_RESERVE_BYTES: usize = 64 << 20;

/// A run that keeps more than so many times its own length in memory is copied out of there.
const PINNED_FACTOR_MAX: usize = 8;

impl PeerRun {
    fn let_go_of_slab(&mut self) {
        if self.run.held_bytes() > PINNED_FACTOR_MAX * self.run.wire_bytes() {
            self.run = self.run.copied();
        }
    }

    /// The next message.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Message> {
        let message = self.run.next()?;
        Some(Message::of_run(Rc::clone(&self.node), message))
    }
}

impl MailboxQueue {
    /// Queues a signal and wakes the receiver that waits.
    #[inline]
    pub(crate) fn push(&mut self, signal: Signal) -> Pushed {
        let size = signal.size_bytes() + SIGNAL_OVERHEAD_BYTES;
        let pushed = if self.takes(size) { Pushed::Queued } else { self.overflow(size, &signal) };
        if matches!(pushed, Pushed::Queued | Pushed::Over) {
            self.bytes += size;
            self.entries.push_back(Entry::Signal(signal));
            self.wake();
        }
        pushed
    }

    /// Queues the messages of a run, as one entry unless only some of them fit.
    #[inline]
    pub(crate) fn push_run(&mut self, mut run: PeerRun) -> Pushed {
        if run.run.len() == 1 {
            // One message by itself costs less than as a run.
            return run
                .next()
                .map_or(Pushed::Queued, |message| self.push(Signal::Message(message)));
        }
        let size = run.run.wire_bytes();
        if self.bytes + size <= self.limits.bytes_max {
            self.bytes += size;
            self.entries.push_back(Entry::Run(run));
            self.wake();
            return Pushed::Queued;
        }
        let mut outcome = Pushed::Queued;
        while let Some(message) = run.next() {
            match self.push(Signal::Message(message)) {
                Pushed::Full => return Pushed::Full,
                Pushed::Queued => {}
                pushed => outcome = pushed,
            }
        }
        outcome
    }

    /// Whether a signal of that size has room. One always has, or a large one could never be
    /// received at all.
    #[inline]
    fn takes(&self, size: usize) -> bool {
        self.bytes + size <= self.limits.bytes_max
            || self.entries.is_empty() && self.current.as_ref().is_none_or(|run| run.run.is_empty())
    }

    #[cold]
    fn overflow(&mut self, size: usize, signal: &Signal) -> Pushed {
        match self.limits.overflow {
            Overflow::Exit => Pushed::Full,
            Overflow::DropNewest => {
                self.dropped += 1;
                Pushed::Dropped
            }
            Overflow::Hold => {
                let bytes_max = self.limits.bytes_max.saturating_add(HOLD_RESERVE_BYTES);
                if self.bytes + size > bytes_max {
                    return Pushed::Full;
                }
                if let Signal::Message(message) = signal
                    && let Some(sender) = message.shared_sender()
                {
                    self.holds.get_or_insert_default().note(sender);
                }
                Pushed::Over
            }
        }
    }

    /// Those that have to be told to wait since the last call.
    pub(crate) fn take_fresh_holds(&mut self) -> Vec<Sender> {
        self.holds.as_mut().map(|holds| holds.take_fresh()).unwrap_or_default()
    }

    /// Those that may send again, once the mailbox is half empty.
    #[inline]
    pub(crate) fn take_released(&mut self) -> Option<Box<Holds>> {
        if self.holds.is_some() && self.bytes <= self.limits.bytes_max / 2 {
            return self.holds.take();
        }
        None
    }

    /// Forgets who waits on a node that is gone.
    pub(crate) fn forget_holds(&mut self, is_gone: impl Fn(&Sender) -> bool) {
        if let Some(holds) = &mut self.holds {
            holds.forget(is_gone);
        }
    }

    #[inline]
    fn wake(&mut self) {
        if !std::mem::take(&mut self.waits) {
            return;
        }
        if self.is_own_waker {
            self.is_due = true;
        } else if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Whether the process has to be run since the last call.
    #[inline]
    pub(crate) fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.is_due)
    }

    /// The next message of the current run. It stays, empty, until the next entry is needed.
    #[inline]
    pub(crate) fn pop_of_run(&mut self) -> Option<Message> {
        let current = self.current.as_mut()?;
        let before = current.run.wire_bytes();
        let message = current.next()?;
        self.bytes -= before - current.run.wire_bytes();
        Some(message)
    }

    /// Removes the queued signals that are no messages and that `unwanted` names.
    pub(crate) fn remove_signals(&mut self, unwanted: impl Fn(&Signal) -> bool) {
        let mut removed_bytes = 0;
        self.entries.retain(|entry| match entry {
            Entry::Signal(signal) if unwanted(signal) => {
                removed_bytes += signal.size_bytes() + SIGNAL_OVERHEAD_BYTES;
                false
            }
            _ => true,
        });
        self.bytes -= removed_bytes;
        // The marks count from the front: they start again.
        (self.seen, self.settled) = (0, 0);
    }

    /// Whether nothing is queued, and nobody waits until that is so.
    #[inline]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.current.is_none() && self.entries.is_empty() && self.holds.is_none()
    }

    /// The next signal when the current run is at its end.
    #[inline(never)]
    pub(crate) fn pop_entry(&mut self) -> Option<Signal> {
        self.current = None;
        let entry = self.entries.pop_front()?;
        let (seen, settled) = (self.seen > 0, self.settled > 0);
        self.seen = self.seen.saturating_sub(1);
        self.settled = self.settled.saturating_sub(1);
        match entry {
            Entry::Signal(signal) => {
                self.bytes -= signal.size_bytes() + SIGNAL_OVERHEAD_BYTES;
                Some(signal)
            }
            Entry::Run(run) => {
                self.current = Some(run);
                (self.current_seen, self.current_settled) = (seen, settled);
                self.pop_of_run().map(Signal::Message)
            }
        }
    }

    /// Copies what was there at the last call already out of the receive slabs. Called by the
    /// shard's clock: what is read soon is never copied.
    pub(crate) fn settle(&mut self) {
        if let Some(current) = &mut self.current
            && std::mem::replace(&mut self.current_seen, true)
            && !std::mem::replace(&mut self.current_settled, true)
        {
            current.let_go_of_slab();
        }
        for entry in self.entries.range_mut(self.settled..self.seen) {
            match entry {
                Entry::Signal(signal) => signal.let_go_of_slab(),
                Entry::Run(run) => run.let_go_of_slab(),
            }
        }
        (self.settled, self.seen) = (self.seen, self.entries.len());
    }

    pub(crate) fn set_limits(&mut self, limits: MailboxLimits) {
        self.limits = limits;
    }

    /// Has the next signal wake the receiver; `is_own` says whether a waker is that of the process.
    pub(crate) fn wait(&mut self, waker: &Waker, is_own: impl FnOnce(&Waker) -> bool) {
        self.waits = true;
        match &self.waker {
            Some(known) if known.will_wake(waker) => {}
            _ => {
                self.is_own_waker = is_own(waker);
                self.waker = Some(waker.clone());
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.current = None;
        self.entries.clear();
        self.bytes = 0;
        (self.seen, self.settled) = (0, 0);
        (self.waker, self.waits) = (None, false);
    }

    /// Bytes that are queued, with the bookkeeping that counts against the limit.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages dropped because the mailbox was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use krarup_transport::buffer::{Receiver, SlabPool, Slice};
    use krarup_transport::fabric::{Form, Incoming, Lane, LaneConfig, ProcessNumber};
    use krarup_transport::link::IoSlices;
    use krarup_transport::term::{Atom, Creation, Pid, Term};

    use super::*;
    use crate::process::Exit;

    impl MailboxQueue {
        fn pop(&mut self) -> Option<Signal> {
            self.pop_of_run().map(Signal::Message).or_else(|| self.pop_entry())
        }
    }

    #[test]
    fn what_waits_keeps_no_slab() {
        let mut receiver = Receiver::new(SlabPool::new());
        let mut queue = MailboxQueue::default();
        let texts = [b"one", b"two", b"six"];
        for text in texts {
            receiver.spare()[..3].copy_from_slice(text);
            receiver.commit(3);
            let slice = receiver.take(3).expect("three bytes");
            queue.push(Signal::Message(Message::new(None, Form::Raw, slice)));
            queue.settle();
        }
        for text in texts {
            let Some(Signal::Message(message)) = queue.pop() else { panic!("a message") };
            let part = &message.parts()[0];
            assert_eq!(&part[..], text);
            let held = part.held_bytes();
            assert_eq!(held > 100, text == b"six", "{held} bytes held by {text:?}");
        }
        assert_eq!((queue.seen, queue.settled), (0, 0));
    }

    /// A run of raw messages as a lane brings it.
    fn run(numbers: std::ops::Range<u64>) -> PeerRun {
        let names = ["a@h", "b@h"].map(|name| (Atom::from_static(name), Creation(1)));
        let [a, b] = &names;
        let now = Instant::now();
        let mut sender = Lane::new(LaneConfig::new(a.clone(), b.clone()), now);
        let mut receiver = Lane::new(LaneConfig::new(b.clone(), a.clone()), now);
        let (from, to) = (ProcessNumber { id: 1, serial: 1 }, ProcessNumber { id: 2, serial: 1 });
        for number in numbers {
            sender.send_raw(from, to, &number.to_le_bytes()).expect("room");
        }
        let mut slices = IoSlices::new();
        sender.io_slices(&mut slices);
        let mut inbox = Receiver::new(SlabPool::new());
        for slice in slices {
            inbox.spare()[..slice.len()].copy_from_slice(&slice);
            inbox.commit(slice.len());
        }
        let Ok(Incoming::Run(run)) = receiver.receive(&mut inbox) else { panic!("a run") };
        let node = Rc::new(Identity { name: a.0.clone(), creation: a.1 });
        PeerRun { node, run }
    }

    fn number(signal: Option<Signal>) -> Option<u64> {
        let signal = signal?;
        Some(u64::from_le_bytes(signal.as_bytes()?.try_into().ok()?))
    }

    #[test]
    fn runs_and_signals_come_out_in_the_order_they_went_in() {
        let mut queue = MailboxQueue::default();
        queue.push_run(run(0..3));
        let single = Slice::copy_from(&3_u64.to_le_bytes());
        queue.push(Signal::Message(Message::new(None, Form::Raw, single)));
        queue.push_run(run(4..6));
        let held = |queue: &MailboxQueue| queue.current.as_ref().map(|run| run.run.held_bytes());
        for expected in 0..6 {
            assert_eq!(number(queue.pop()), Some(expected));
            // The run that is read, and those that wait, are settled in the middle.
            queue.settle();
            queue.settle();
            assert!(held(&queue).unwrap_or(0) < 1000, "{:?}", held(&queue));
        }
        assert!(queue.pop().is_none());
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn as_much_of_a_run_is_taken_as_fits() {
        let mut queue = MailboxQueue::default();
        let bytes_max = 3 * (8 + SIGNAL_OVERHEAD_BYTES);
        queue.set_limits(MailboxLimits { bytes_max, overflow: Overflow::DropNewest });
        assert_eq!(queue.push_run(run(0..100)), Pushed::Dropped);
        assert_eq!(queue.dropped(), 97);
        for expected in 0..3 {
            assert_eq!(number(queue.pop()), Some(expected));
        }
        assert!(queue.pop().is_none());
        queue.set_limits(MailboxLimits { bytes_max, overflow: Overflow::Exit });
        assert_eq!(queue.push_run(run(0..10)), Pushed::Queued);
        assert_eq!(queue.push_run(run(0..10)), Pushed::Full);
    }

    #[test]
    fn a_mailbox_that_holds_takes_what_comes_and_names_each_sender_once() {
        let mut queue = MailboxQueue::default();
        let bytes_max = 3 * (8 + SIGNAL_OVERHEAD_BYTES);
        queue.set_limits(MailboxLimits { bytes_max, overflow: Overflow::Hold });
        assert_eq!(queue.push_run(run(0..3)), Pushed::Queued);
        assert!(queue.take_fresh_holds().is_empty());
        assert_eq!(queue.push_run(run(3..20)), Pushed::Over);
        let fresh = queue.take_fresh_holds();
        assert_eq!(fresh.len(), 1);
        assert_eq!(fresh[0].number, ProcessNumber { id: 1, serial: 1 });
        assert_eq!(queue.push_run(run(20..30)), Pushed::Over);
        assert!(queue.take_fresh_holds().is_empty(), "it was told");
        for expected in 0..29 {
            assert_eq!(number(queue.pop()), Some(expected));
            assert!(queue.take_released().is_none() || queue.bytes <= bytes_max / 2);
        }
        assert_eq!(number(queue.pop()), Some(29));
        queue.push_run(run(0..20));
        queue.forget_holds(|sender| sender.node.name.as_str() == "a@h");
        assert!(queue.take_fresh_holds().is_empty(), "nobody is there to be told");
    }

    #[test]
    fn a_mailbox_that_holds_is_full_in_the_end() {
        let mut queue = MailboxQueue::default();
        queue.set_limits(MailboxLimits { bytes_max: 1000, overflow: Overflow::Hold });
        let large = || {
            let payload = Slice::from_static(&[0; 1 << 20]);
            Signal::Message(Message::new(None, Form::Raw, payload))
        };
        for _ in 0..60 {
            assert_ne!(queue.push(large()), Pushed::Full);
        }
        assert!((0..10).any(|_| queue.push(large()) == Pushed::Full));
    }

    #[test]
    fn reasons_of_exits_count() {
        let mut queue = MailboxQueue::default();
        queue.set_limits(MailboxLimits { bytes_max: 1 << 20, overflow: Overflow::Exit });
        let from = Pid { node: Atom::from_static("b@h"), id: 1, serial: 1, creation: Creation(4) };
        let exit = || {
            let reason = Term::Binary(vec![7; 400_000].into());
            Signal::Exit(Box::new(Exit::new(from.clone(), reason)))
        };
        assert_eq!(queue.push(exit()), Pushed::Queued);
        assert_eq!(queue.push(exit()), Pushed::Queued);
        assert_eq!(queue.push(exit()), Pushed::Full);
        queue.pop().expect("an exit");
        assert_eq!(queue.push(exit()), Pushed::Queued);
    }
}
