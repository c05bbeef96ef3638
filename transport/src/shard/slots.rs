//! The slots that a shard keeps its links in.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use super::host::{LinkKey, Outbox};
use crate::buffer::Receiver;
use crate::io::Socket;

/// Keys stay below 2^63: what is above belongs to waits in the same readiness set.
const GENERATION_MAX: u32 = u32::MAX >> 1;

/// One link.
pub(super) struct Slot<L> {
    pub(super) key: LinkKey,
    pub(super) socket: Socket,
    pub(super) state: RefCell<Option<L>>,
    /// Absent while the host looks at it, and after the end.
    pub(super) inbox: Cell<Option<Receiver>>,
    /// The pass in which bytes were last written.
    pub(super) written_in: Cell<u64>,
    /// In the list of links to write.
    pub(super) dirty: Cell<bool>,
    /// In the list of links to read.
    pub(super) hot: Cell<bool>,
    /// Receives that brought something since it came into that list.
    pub(super) receives: Cell<u32>,
    /// In the readiness set. A busy link is not: it is read in every pass anyway.
    pub(super) watched: Cell<bool>,
    /// There may be something to read: an edge was told and not yet followed to its end.
    pub(super) unread: Cell<bool>,
    /// The inbox holds bytes that the host has not been offered since reading was resumed.
    pub(super) leftover: Cell<bool>,
    pub(super) paused: Cell<bool>,
    /// The kernel takes no more bytes for now.
    pub(super) blocked: Cell<bool>,
    /// Room to send is among the edges told.
    pub(super) write_interest: Cell<bool>,
    /// Sending failed; the link ends when what had arrived is read.
    pub(super) failed: Cell<Option<Failure>>,
    pub(super) closed: Cell<bool>,
    /// Most bytes received in one pass.
    pub(super) receive_bytes_max: Cell<usize>,
}

/// What failed on a link whose peer may not have ended it.
pub(super) enum Failure {
    Write(io::Error),
    Watch(io::Error),
}

/// The links of a shard by their keys.
pub(super) struct Slots<L> {
    pub(super) entries: Vec<Entry<L>>,
    free: Vec<u32>,
    pub(super) count: usize,
}

pub(super) struct Entry<L> {
    pub(super) generation: u32,
    pub(super) slot: Option<Rc<Slot<L>>>,
}

impl<L: Outbox> Slot<L> {
    pub(super) fn queued_bytes(&self) -> usize {
        self.state.borrow().as_ref().map_or(0, Outbox::queued_bytes)
    }
}

impl<L> Slot<L> {
    /// Puts the inbox back after a turn of reading.
    pub(super) fn keep(&self, mut inbox: Receiver) {
        if !self.closed.get() {
            inbox.rest();
            self.inbox.set(Some(inbox));
        }
    }

    /// Lets go of what a link that is read in every pass holds.
    pub(super) fn cool(&self) {
        self.hot.set(false);
        if let Some(mut inbox) = self.inbox.take() {
            inbox.park();
            self.inbox.set(Some(inbox));
        }
    }

    pub(super) fn failed_is_none(&self) -> bool {
        let failed = self.failed.take();
        let none = failed.is_none();
        self.failed.set(failed);
        none
    }
}

impl Failure {
    pub(super) fn into_error(self) -> io::Error {
        let (Failure::Write(error) | Failure::Watch(error)) = self;
        error
    }
}

impl<L> Slots<L> {
    pub(super) fn new() -> Slots<L> {
        Slots { entries: Vec::new(), free: Vec::new(), count: 0 }
    }

    /// A key that is free, with its entry.
    pub(super) fn vacant_key(&mut self) -> io::Result<LinkKey> {
        let index = match self.free.last() {
            Some(&index) => index,
            None => {
                let index = u32::try_from(self.entries.len())
                    .map_err(|_| io::Error::other("a shard cannot have more links"))?;
                self.entries.push(Entry { generation: 1, slot: None });
                self.free.push(index);
                index
            }
        };
        Ok(LinkKey { index, generation: self.entries[index as usize].generation })
    }

    pub(super) fn occupy(&mut self, slot: Rc<Slot<L>>) {
        let index = self.free.pop();
        debug_assert_eq!(index, Some(slot.key.index), "the key that vacant_key chose");
        self.count += 1;
        let entry = &mut self.entries[slot.key.index as usize];
        entry.slot = Some(slot);
    }

    pub(super) fn vacate(&mut self, key: LinkKey) {
        let entry = &mut self.entries[key.index as usize];
        if entry.generation == key.generation && entry.slot.take().is_some() {
            self.count -= 1;
            // An entry whose generations are used up is never used again.
            if entry.generation < GENERATION_MAX {
                entry.generation += 1;
                self.free.push(key.index);
            }
        }
    }
}
