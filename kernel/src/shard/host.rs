//! What the driver calls when something arrives, and how the shard reaches the driver.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use krarup_transport::buffer::{Receiver, Slice};
use krarup_transport::dist::frame::LENGTH_BYTES;
use krarup_transport::dist::{Front, TickAction};
use krarup_transport::link::{LinkError, PlainMessage, Signal};
use krarup_transport::shard::{End, Full, Handle, Host, LinkKey, Origin, ShardId};

use super::links::LinkState;
use super::{LinkEntry, Shard, ShardMessage};
use crate::net_kernel::NodeDownReason;

/// The node's side of a shard's driver.
pub(crate) struct ShardHost(pub(super) Rc<Shard>);

/// What one frame held.
enum Taken {
    Plain(PlainMessage, Slice),
    Other(Result<Option<Signal>, LinkError>),
}

/// Why the bytes of a link were refused.
#[derive(Debug)]
pub(crate) struct Refused(LinkError);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Host for ShardHost {
    type Link = LinkState;
    type Message = ShardMessage;
    type Error = Refused;

    fn received(
        &self,
        handle: &Handle<Self>,
        key: LinkKey,
        inbox: &mut Receiver,
    ) -> Result<(), Refused> {
        let start = handle.with_link(key, |state| {
            state.note_arrival(inbox.unread().len());
            (state.machine.frame_reader(), Rc::clone(&state.entry))
        });
        let Some((reader, entry)) = start else { return Ok(()) };
        loop {
            match reader.front(inbox.unread()) {
                Front::Frame(bytes) => {
                    inbox.skip(LENGTH_BYTES);
                    let Some(frame) = inbox.take(bytes) else { return Ok(()) };
                    // Nearly every frame is a plain message, and those are taken without building
                    // a signal.
                    let taken =
                        handle.with_link(key, |state| match state.machine.receive_plain(&frame) {
                            Some(message) => Taken::Plain(message, frame),
                            None => Taken::Other(state.machine.receive(frame)),
                        });
                    match taken {
                        Some(Taken::Plain(message, frame)) => {
                            self.0.received_plain(&entry, message, frame);
                        }
                        Some(Taken::Other(Ok(Some(signal)))) => self.0.received(&entry, signal),
                        Some(Taken::Other(Ok(None))) => {}
                        Some(Taken::Other(Err(error))) => return Err(Refused(error)),
                        // A signal that was just handled ended the link.
                        None => return Ok(()),
                    }
                }
                Front::Tick => inbox.skip(LENGTH_BYTES),
                Front::NeedMore(bytes) => {
                    let left = inbox.unread().len();
                    handle.with_link(key, |state| state.keep_unread(left));
                    inbox.expect(bytes);
                    return Ok(());
                }
                Front::TooLarge(error) => return Err(Refused(LinkError::FrameTooLarge(error))),
            }
        }
    }

    fn ended(&self, _: &Handle<Self>, _: LinkKey, state: LinkState, end: End<Refused>) {
        let cause = match end {
            End::Closed => NodeDownReason::ConnectionClosed,
            End::Failed(error) => NodeDownReason::Socket(error.to_string()),
            End::Refused(Refused(LinkError::FrameTooLarge(_))) => NodeDownReason::Emsgsize,
            End::Refused(Refused(error)) => NodeDownReason::Killed(error.to_string()),
            End::Panicked(panicked) => NodeDownReason::Killed(panicked.to_string()),
        };
        self.0.link_ended(&state.entry, cause);
    }

    fn message(&self, _: &Handle<Self>, _: Origin, message: ShardMessage) {
        self.0.handle(message);
    }

    fn tick(&self, handle: &Handle<Self>, now: Instant) {
        self.0.settle_mailboxes();
        for key in handle.keys() {
            let action = handle.with_link(key, |state| {
                if state.machine.tick_due() <= now {
                    state.machine.tick(now)
                } else {
                    TickAction::None
                }
            });
            match action {
                Some(TickAction::Send) => handle.send_soon(key),
                Some(TickAction::Dead) => {
                    let entry = handle.with_link(key, |state| Rc::clone(&state.entry));
                    if let Some(entry) = entry {
                        self.0.close_link(&entry, NodeDownReason::NetTickTimeout);
                    }
                }
                Some(TickAction::None) | None => {}
            }
        }
    }

    fn flush(&self, _: &Handle<Self>) {
        self.0.io().retry();
    }
}

/// How the shard uses its driver.
pub(crate) struct ShardIo {
    handle: Handle<ShardHost>,
    /// What did not fit into the mesh, by target. While anything is here the shard reads no link,
    /// so that it cannot grow by more than what was read already.
    overflow: RefCell<Vec<VecDeque<ShardMessage>>>,
}

impl ShardIo {
    pub(super) fn new(handle: Handle<ShardHost>) -> Self {
        let overflow = (0..handle.shards()).map(|_| VecDeque::new()).collect();
        ShardIo { handle, overflow: RefCell::new(overflow) }
    }

    pub(super) fn handle(&self) -> &Handle<ShardHost> {
        &self.handle
    }

    /// Whether a message to that shard would not have to wait.
    pub(super) fn has_room(&self, shard: usize) -> bool {
        self.overflow.borrow().get(shard).is_some_and(VecDeque::is_empty)
    }

    /// Puts a message into the queue to another shard, in order.
    pub(super) fn tell(&self, shard: usize, message: ShardMessage) {
        let mut overflow = self.overflow.borrow_mut();
        let (Some(waiting), Some(to)) = (overflow.get_mut(shard), ShardId::at(shard)) else {
            return;
        };
        if waiting.is_empty() {
            match self.handle.push(to, message) {
                Ok(()) => return,
                Err(Full(message)) => waiting.push_back(message),
            }
        } else {
            waiting.push_back(message);
        }
        self.handle.pause_all(true);
    }

    /// Tries again what did not fit.
    fn retry(&self) {
        if !self.handle.is_all_paused() {
            return;
        }
        let mut overflow = self.overflow.borrow_mut();
        for (shard, waiting) in overflow.iter_mut().enumerate() {
            let Some(to) = ShardId::at(shard) else { continue };
            while let Some(message) = waiting.pop_front() {
                if let Err(Full(message)) = self.handle.push(to, message) {
                    waiting.push_front(message);
                    break;
                }
            }
        }
        if overflow.iter().all(VecDeque::is_empty) {
            self.handle.pause_all(false);
        }
    }

    /// Something was queued on a link.
    #[inline]
    pub(super) fn wrote(&self, link: &LinkEntry) {
        if let Some(key) = link.key() {
            self.handle.send_now(key);
        }
    }

    /// Something was queued on a link from outside a process's turn.
    pub(super) fn wrote_later(&self, link: &LinkEntry) {
        if let Some(key) = link.key() {
            self.handle.send_soon(key);
        }
    }

    /// What the driver keeps for a link; nothing when the link is gone.
    #[inline]
    pub(super) fn with<R>(
        &self,
        link: &LinkEntry,
        f: impl FnOnce(&mut LinkState) -> R,
    ) -> Option<R> {
        self.handle.with_link(link.key()?, f)
    }
}
