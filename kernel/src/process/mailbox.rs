//! A process's queue of signals, bounded by bytes.

use std::collections::VecDeque;
use std::task::Waker;

use super::Signal;

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
    /// The process must end with `mailbox_full`.
    Full,
}

#[derive(Default)]
pub(crate) struct MailboxQueue {
    signals: VecDeque<Signal>,
    bytes: usize,
    limits: MailboxLimits,
    dropped: u64,
    waiting: Option<Waker>,
    /// So many signals at the front hold no slab.
    settled: usize,
}

/// Bookkeeping per queued signal that counts against the budget.
const SIGNAL_OVERHEAD_BYTES: usize = 128;

impl MailboxQueue {
    /// Queues a signal and wakes the receiver that waits.
    #[inline]
    pub(crate) fn push(&mut self, signal: Signal) -> Pushed {
        let size = signal.size_bytes() + SIGNAL_OVERHEAD_BYTES;
        // One signal always fits, or a large one could never be received at all.
        if self.bytes + size > self.limits.bytes_max && !self.signals.is_empty() {
            return match self.limits.overflow {
                Overflow::Exit => Pushed::Full,
                Overflow::DropNewest => {
                    self.dropped += 1;
                    Pushed::Dropped
                }
            };
        }
        self.bytes += size;
        self.signals.push_back(signal);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
        Pushed::Queued
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Signal> {
        let signal = self.signals.pop_front()?;
        self.settled = self.settled.saturating_sub(1);
        self.bytes -= signal.size_bytes() + SIGNAL_OVERHEAD_BYTES;
        Some(signal)
    }

    /// Copies what has waited for a while out of the receive slabs.
    pub(crate) fn settle(&mut self) {
        for signal in self.signals.range_mut(self.settled..) {
            signal.let_go_of_slab();
        }
        self.settled = self.signals.len();
    }

    pub(crate) fn set_limits(&mut self, limits: MailboxLimits) {
        self.limits = limits;
    }

    pub(crate) fn wait(&mut self, waker: &Waker) {
        match &self.waiting {
            Some(waiting) if waiting.will_wake(waker) => {}
            _ => self.waiting = Some(waker.clone()),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.signals.clear();
        self.bytes = 0;
        self.settled = 0;
        self.waiting = None;
    }

    /// Messages dropped because the mailbox was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use krarup_transport::buffer::{Receiver, SlabPool};

    use super::*;
    use crate::process::{Form, Message};

    #[test]
    fn what_waits_keeps_no_slab() {
        let mut receiver = Receiver::new(SlabPool::new());
        let mut queue = MailboxQueue::default();
        for text in [b"one", b"two"] {
            receiver.spare()[..3].copy_from_slice(text);
            receiver.commit(3);
            let slice = receiver.take(3).expect("three bytes");
            queue.push(Signal::Message(Message::new(None, Form::Raw, slice)));
            queue.settle();
        }
        for text in [b"one", b"two"] {
            let Some(Signal::Message(message)) = queue.pop() else { panic!("a message") };
            let part = &message.parts()[0];
            assert_eq!(&part[..], text);
            assert!(part.held_bytes() < 100, "{} bytes held", part.held_bytes());
        }
        assert_eq!(queue.settled, 0);
    }
}
