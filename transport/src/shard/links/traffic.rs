//! What a pass does with the links of a shard: what is read, what is written, and which links are
//! looked at at all.

use std::io;
use std::rc::Rc;

use super::Handle;
use crate::buffer::Receiver;
use crate::io::{Event, Interest};
use crate::shard::host::{End, Host, LinkKey, Outbox, WriteSlices};
use crate::shard::slots::{Failure, Slot};

/// A link that brought something so often without a sleep between is busy. Going out of the readiness
/// set and back costs as much as some ten arrivals in it.
const BUSY_RECEIVES_MIN: u32 = 64;

/// Which links a pass goes on to read in every pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Keep {
    /// All that are read now.
    All,
    /// Those that may have more.
    Told,
}

/// What one attempt to receive came to.
enum Received<E> {
    /// Nothing was there.
    Nothing,
    /// Something came and was given to the host.
    Bytes,
    /// The link is over.
    Over(End<E>),
}

impl<H: Host> Handle<H> {
    /// Reads all hot links once, those that have nothing again as long as `again` says so. Returns
    /// whether anything came.
    pub(in crate::shard) fn read_hot(
        &self,
        host: &H,
        scratch: &mut Vec<Rc<Slot<H::Link>>>,
        keep: Keep,
        mut again: impl FnMut() -> bool,
    ) -> bool {
        std::mem::swap(scratch, &mut *self.0.hot.borrow_mut());
        let mut any = false;
        for slot in scratch.drain(..) {
            if slot.closed.get() {
                continue;
            }
            if slot.paused.get() || self.0.paused.get() {
                // Comes back when reading is resumed.
                slot.hot.set(false);
                self.watch(&slot);
                continue;
            }
            let is_told = slot.unread.get() || slot.leftover.get();
            if keep == Keep::Told && !is_told {
                self.cool(&slot);
                continue;
            }
            match self.read(&slot, host, &mut again) {
                Received::Bytes => {
                    any = true;
                    slot.receives.set(slot.receives.get().saturating_add(1));
                    if keep == Keep::All && slot.receives.get() >= BUSY_RECEIVES_MIN {
                        self.unwatch(&slot);
                    }
                }
                Received::Nothing => {}
                Received::Over(end) => {
                    any = true;
                    self.end(&slot, host, end);
                    continue;
                }
            }
            if keep == Keep::All || slot.unread.get() {
                self.0.hot.borrow_mut().push(slot);
            } else {
                self.cool(&slot);
            }
        }
        any
    }

    /// Receives once from a link and gives what came to the host.
    fn read(
        &self,
        slot: &Rc<Slot<H::Link>>,
        host: &H,
        again: &mut impl FnMut() -> bool,
    ) -> Received<H::Error> {
        let Some(mut inbox) = slot.inbox.take() else { return Received::Nothing };
        let mut result = Received::Nothing;
        if slot.leftover.take() {
            result = self.offer(slot, host, &mut inbox);
            if slot.paused.get() || self.0.paused.get() || slot.closed.get() {
                slot.keep(inbox);
                return result;
            }
        }
        if matches!(result, Received::Nothing | Received::Bytes) {
            let spare = inbox.spare();
            let room = spare.len().min(slot.receive_bytes_max.get());
            let is_nothing = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
            let received = loop {
                match slot.socket.try_recv(&mut spare[..room]) {
                    Err(error) if is_nothing(&error) && again() => {}
                    received => break received,
                }
            };
            match received {
                Ok(0) => {
                    let failure = slot.failed.take();
                    let end = failure.map_or(End::Closed, |it| End::Failed(it.into_error()));
                    result = Received::Over(end);
                }
                Ok(bytes) => {
                    inbox.commit(bytes);
                    // Cleared only by finding nothing, so that an end right behind the last bytes
                    // is seen although it had no edge of its own.
                    slot.unread.set(true);
                    self.count(|counters| {
                        counters.receives += 1;
                        counters.received_bytes += bytes as u64;
                    });
                    result = self.offer(slot, host, &mut inbox);
                }
                Err(error) if is_nothing(&error) => {
                    slot.unread.set(false);
                    match slot.failed.take() {
                        Some(Failure::Write(error)) => {
                            result = Received::Over(End::Unwritable(error));
                        }
                        Some(Failure::Watch(error)) => {
                            result = Received::Over(End::Failed(error));
                        }
                        None => {}
                    }
                }
                Err(error) => {
                    let error = slot.failed.take().map_or(error, Failure::into_error);
                    result = Received::Over(End::Failed(error));
                }
            }
        }
        slot.keep(inbox);
        result
    }

    /// Gives the inbox of a link to the host.
    fn offer(
        &self,
        slot: &Rc<Slot<H::Link>>,
        host: &H,
        inbox: &mut Receiver,
    ) -> Received<H::Error> {
        match self.caught(|| host.received(self, slot.key, inbox)) {
            Ok(Ok(())) => Received::Bytes,
            Ok(Err(error)) => Received::Over(End::Refused(error)),
            Err(panicked) => Received::Over(End::Panicked(panicked)),
        }
    }

    /// Writes all dirty links. Returns whether there were any.
    #[inline(never)]
    pub(in crate::shard) fn write_dirty(&self) -> bool {
        let mut links = self.0.dirty.take();
        let any = !links.is_empty();
        for slot in links.drain(..) {
            slot.dirty.set(false);
            if !slot.blocked.get() {
                self.write(&slot);
            }
        }
        // Those that had more than their turn allows are dirty again. The memory is used again.
        let mut dirty = self.0.dirty.borrow_mut();
        links.append(&mut dirty);
        *dirty = links;
        any
    }

    /// Writes what a link has queued, as far as the kernel takes it and the turn allows.
    pub(super) fn write(&self, slot: &Rc<Slot<H::Link>>) {
        let mut state = slot.state.borrow_mut();
        let Some(link) = state.as_mut() else { return };
        let mut total = 0;
        while link.queued_bytes() > 0 {
            if total >= self.0.config.write_bytes_max {
                self.soil(slot);
                break;
            }
            let mut slices = WriteSlices::new();
            link.gather(&mut slices);
            let offered: usize = slices.iter().map(|slice| slice.len()).sum();
            let result = slot.socket.try_sendv(&slices);
            drop(slices);
            match result {
                Ok(sent) => {
                    total += sent;
                    link.written(sent);
                    self.count(|counters| {
                        counters.sends += 1;
                        counters.sent_bytes += sent as u64;
                    });
                    if sent < offered {
                        self.block(slot);
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.block(slot);
                    break;
                }
                Err(error) => {
                    slot.failed.set(Some(Failure::Write(error)));
                    // Nothing is written any more; the end comes from reading.
                    slot.blocked.set(true);
                    self.reheat(slot);
                    break;
                }
            }
        }
        drop(state);
        if total > 0 {
            slot.written_in.set(self.0.counters.get().passes);
            self.0.sent.set(true);
            // An answer may come soon.
            self.heat(slot);
        }
    }

    /// Waits for room to send.
    fn block(&self, slot: &Rc<Slot<H::Link>>) {
        self.count(|counters| counters.blocked += 1);
        slot.blocked.set(true);
        self.watch(slot);
        if !slot.write_interest.replace(true) {
            let changed = self.0.watch.readiness().change(
                &slot.socket,
                slot.key.to_u64(),
                Interest::ReadWrite,
            );
            if let Err(error) = changed {
                slot.failed.set(Some(Failure::Watch(error)));
                self.reheat(slot);
            }
        }
    }

    /// Follows what was told about a socket.
    pub(in crate::shard) fn follow(&self, event: Event) {
        let Some(event) = self.0.watch.deliver(event) else {
            self.0.woke.set(true);
            return;
        };
        let Some(slot) = self.0.slot(LinkKey::from_u64(event.key)) else { return };
        if event.writable && slot.write_interest.get() && slot.failed_is_none() {
            if slot.socket.is_unix() {
                // A Unix socket tells of room after every message that the peer takes.
                slot.write_interest.set(false);
                let _ = self.0.watch.readiness().change(&slot.socket, event.key, Interest::Read);
            }
            if slot.blocked.replace(false) {
                self.soil(&slot);
            }
        }
        if event.readable {
            slot.unread.set(true);
            self.heat(&slot);
        }
    }

    /// Marks a link as having something to write.
    pub(super) fn soil(&self, slot: &Rc<Slot<H::Link>>) {
        if !slot.dirty.replace(true) {
            self.0.dirty.borrow_mut().push(slot.clone());
            self.wake();
        }
    }

    /// Has a link read in every pass for a while.
    pub(super) fn heat(&self, slot: &Rc<Slot<H::Link>>) {
        if !slot.paused.get() && !self.0.paused.get() && !slot.hot.replace(true) {
            self.0.hot.borrow_mut().push(slot.clone());
        }
    }

    /// Has a link read again after a pause.
    pub(super) fn reheat(&self, slot: &Rc<Slot<H::Link>>) {
        slot.leftover.set(true);
        slot.unread.set(true);
        self.heat(slot);
        self.wake();
    }

    /// Has a link no longer read in every pass.
    fn cool(&self, slot: &Rc<Slot<H::Link>>) {
        slot.cool();
        self.watch(slot);
    }

    /// Puts a link into the readiness set, which tells what is there already.
    fn watch(&self, slot: &Rc<Slot<H::Link>>) {
        slot.receives.set(0);
        if slot.watched.replace(true) {
            return;
        }
        let key = slot.key.to_u64();
        if let Err(error) = self.0.watch.readiness().add(&slot.socket, key, Interest::Read) {
            slot.failed.set(Some(Failure::Watch(error)));
            self.reheat(slot);
        }
    }

    /// Takes a busy link out of the readiness set: each arrival would enter it there, at the cost
    /// of whoever sends.
    fn unwatch(&self, slot: &Slot<H::Link>) {
        // One that is blocked waits there for room to send.
        if slot.watched.get() && !slot.blocked.get() {
            slot.watched.set(false);
            slot.write_interest.set(false);
            self.0.watch.readiness().remove(&slot.socket);
        }
    }

    /// How many links are read in every pass.
    pub(in crate::shard) fn hot_links(&self) -> usize {
        self.0.hot.borrow().len()
    }

    /// Whether a pass would find something to do at once.
    pub(in crate::shard) fn has_work(&self) -> bool {
        self.0.ready.get() || !self.0.dirty.borrow().is_empty() || !self.0.hot.borrow().is_empty()
    }
}
