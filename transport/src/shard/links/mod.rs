//! The links of one shard, and the handle through which its tasks use them.

mod traffic;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use super::ShardId;
use super::door::Door;
use super::driver::{DriverConfig, Yield};
use super::guard::Panicked;
use super::host::{Counters, End, Host, LinkKey, Outbox, Reading};
use super::mesh::{Full, Outgoing};
use super::slots::{Slot, Slots};
use crate::buffer::{Receiver, SlabPool};
use crate::io::{Interest, Socket, Watch};

pub(super) use traffic::Keep;

/// A shard's links and its ends of the mesh, for the tasks of that shard. Clones are cheap.
pub struct Handle<H: Host>(Rc<Shared<H>>);

/// A link of this shard that was found already; see [`Handle::link`].
pub struct LinkRef<H: Host> {
    shard: Handle<H>,
    /// Weak, for whoever sent over a link once may not look at it again, and the socket would stay
    /// open for as long.
    slot: Weak<Slot<H::Link>>,
}

/// What so many deliveries lead to is written in two halves, so that the peer works on one while the
/// other is made. Below it a second write costs more than that gives.
const GATHER_IN_HALVES_MIN: u32 = 48;

pub(super) struct Shared<H: Host> {
    id: ShardId,
    config: DriverConfig,
    slots: RefCell<Slots<H::Link>>,
    outgoing: RefCell<Outgoing<H::Message>>,
    door: Arc<Door>,
    pub(super) watch: Rc<Watch>,
    pool: SlabPool,
    /// Links with something to write that was not written at once.
    dirty: RefCell<Vec<Rc<Slot<H::Link>>>>,
    /// Links that are read in every pass.
    hot: RefCell<Vec<Rc<Slot<H::Link>>>>,
    /// Reading is paused on all links.
    paused: Cell<bool>,
    /// Something was sent since the driver looked last.
    sent: Cell<bool>,
    /// A task was woken that waited for a socket of its own, since the driver looked last.
    woke: Cell<bool>,
    stopping: Cell<bool>,
    /// Turns of the shard's tasks, as far as they were told of.
    turns: Cell<u64>,
    /// Deliveries that woke a task, or may have, since the tasks had their turn last.
    deliveries: Cell<u32>,
    /// Several tasks have their turn: what they send leaves together.
    gathering: Cell<bool>,
    /// Turns since what they sent was written last.
    gathered_turns: Cell<u32>,
    /// After so many it is written again.
    gather_turns: Cell<u32>,
    /// The host has something to run.
    ready: Cell<bool>,
    /// A new time to spin, until the driver looks at its clock next.
    new_spin: Cell<Option<(Duration, Duration)>>,
    /// The time to spin that is in force, or will be.
    spin: Cell<Duration>,
    pub(super) counters: Cell<Counters>,
}

impl<H: Host> Handle<H> {
    pub(super) fn new(
        outgoing: Outgoing<H::Message>,
        config: DriverConfig,
    ) -> io::Result<Handle<H>> {
        let spin = Cell::new(config.spin);
        Ok(Handle(Rc::new(Shared {
            id: outgoing.id(),
            config,
            door: outgoing.door().clone(),
            slots: RefCell::new(Slots::new()),
            outgoing: RefCell::new(outgoing),
            watch: Watch::new()?,
            pool: SlabPool::new(),
            dirty: RefCell::default(),
            hot: RefCell::default(),
            paused: Cell::new(false),
            sent: Cell::new(false),
            woke: Cell::new(false),
            stopping: Cell::new(false),
            turns: Cell::new(0),
            deliveries: Cell::new(0),
            gathering: Cell::new(false),
            gathered_turns: Cell::new(0),
            gather_turns: Cell::new(u32::MAX),
            ready: Cell::new(false),
            new_spin: Cell::default(),
            spin,
            counters: Cell::default(),
        })))
    }

    /// This shard.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.0.id
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.0.outgoing.borrow().shards()
    }

    /// The shard's sign of life.
    #[must_use]
    pub fn door(&self) -> &Arc<Door> {
        &self.0.door
    }

    /// What the shard has done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { kicks: self.0.door.kicks(), ..self.0.counters.get() }
    }

    /// How many links there are.
    #[must_use]
    pub fn links(&self) -> usize {
        self.0.slots.borrow().count
    }

    /// Takes over a connection. `received` are bytes that were read from it already.
    ///
    /// # Errors
    /// When the socket cannot be watched, which is a limit of the host; `state` comes back.
    pub fn add(
        &self,
        socket: Socket,
        state: H::Link,
        received: &[u8],
        reading: Reading,
    ) -> Result<LinkKey, (io::Error, H::Link)> {
        let mut inbox = Receiver::new(self.0.pool.clone());
        let mut rest = received;
        while !rest.is_empty() {
            let spare = inbox.spare();
            let count = spare.len().min(rest.len());
            spare[..count].copy_from_slice(&rest[..count]);
            inbox.commit(count);
            rest = &rest[count..];
        }
        inbox.park();
        let mut slots = self.0.slots.borrow_mut();
        let watched = slots.vacant_key().and_then(|key| {
            self.0.watch.readiness().add(&socket, key.to_u64(), Interest::Read).map(|()| key)
        });
        let key = match watched {
            Ok(key) => key,
            Err(error) => return Err((error, state)),
        };
        let slot = Rc::new(Slot {
            key,
            socket,
            state: RefCell::new(Some(state)),
            inbox: Cell::new(Some(inbox)),
            written_in: Cell::new(0),
            dirty: Cell::new(false),
            hot: Cell::new(false),
            receives: Cell::new(0),
            watched: Cell::new(true),
            unread: Cell::new(true),
            leftover: Cell::new(!received.is_empty()),
            paused: Cell::new(reading == Reading::Paused),
            blocked: Cell::new(false),
            write_interest: Cell::new(false),
            failed: Cell::new(None),
            closed: Cell::new(false),
            receive_bytes_max: Cell::new(self.0.config.receive_bytes_max),
        });
        slots.occupy(slot.clone());
        drop(slots);
        self.heat(&slot);
        self.wake();
        Ok(key)
    }

    /// Gives `f` what is kept for a link; nothing if the link is gone.
    ///
    /// # Panics
    /// When called from within `f` for the same link.
    #[inline]
    pub fn with_link<R>(&self, key: LinkKey, f: impl FnOnce(&mut H::Link) -> R) -> Option<R> {
        let slot = self.0.slot(key)?;
        slot.state.borrow_mut().as_mut().map(f)
    }

    /// Gives `f` the socket of a link, for looking at it and setting its options.
    pub fn with_socket<R>(&self, key: LinkKey, f: impl FnOnce(&Socket) -> R) -> Option<R> {
        Some(f(&self.0.slot(key)?.socket))
    }

    /// Most bytes received from a link in one pass; nothing if it is gone.
    #[must_use]
    pub fn receive_bytes_max(&self, key: LinkKey) -> Option<usize> {
        Some(self.0.slot(key)?.receive_bytes_max.get())
    }

    /// Changes it for one link. What a link has beyond it comes in the next passes.
    pub fn set_receive_bytes_max(&self, key: LinkKey, bytes: usize) {
        if let Some(slot) = self.0.slot(key) {
            slot.receive_bytes_max.set(bytes.max(1));
        }
    }

    /// Puts the keys of the next `count` links into `keys`, round and round: `cursor` says where to
    /// go on. Fewer when there are fewer.
    pub fn next_keys(&self, count: usize, cursor: &Cell<usize>, keys: &mut Vec<LinkKey>) {
        let slots = self.0.slots.borrow();
        let (behind, ahead) = slots.entries.split_at(cursor.get().min(slots.entries.len()));
        keys.clear();
        let mut looked_at = 0;
        for entry in ahead.iter().chain(behind) {
            if keys.len() >= count {
                break;
            }
            looked_at += 1;
            keys.extend(entry.slot.as_ref().map(|slot| slot.key));
        }
        cursor.set((behind.len() + looked_at) % slots.entries.len().max(1));
    }

    /// The keys of all links.
    #[must_use]
    pub fn keys(&self) -> Vec<LinkKey> {
        let slots = self.0.slots.borrow();
        slots.entries.iter().filter_map(|entry| entry.slot.as_ref().map(|slot| slot.key)).collect()
    }

    /// Sends what is queued on a link, to be called after queueing.
    ///
    /// The first call between two passes of the driver writes at once, unless more than one task
    /// was delivered something before. What is queued after that leaves in one write when the tasks
    /// that are ready now have run, or when [`DriverConfig::direct_bytes`] have gathered. A failure
    /// ends the link in the next pass.
    ///
    /// # Panics
    /// When called from within [`Handle::with_link`] for the same link.
    #[inline]
    pub fn send_now(&self, key: LinkKey) {
        if let Some(slot) = self.0.slot(key) {
            let enough = slot.queued_bytes() >= self.0.config.direct_bytes;
            self.send_slot(&slot, enough);
        }
    }

    /// A link found once, for those who send over it often. It does not keep the link.
    #[must_use]
    pub fn link(&self, key: LinkKey) -> Option<LinkRef<H>> {
        Some(LinkRef { shard: self.clone(), slot: Rc::downgrade(&self.0.slot(key)?) })
    }

    /// Sends what is queued on a link now if that is due, else in this pass or the next.
    #[inline(never)]
    fn send_slot(&self, slot: &Rc<Slot<H::Link>>, enough: bool) {
        if slot.blocked.get() {
            return;
        }
        let first = slot.written_in.get() != self.0.counters.get().passes;
        if (!first || self.0.gathering.get()) && !enough {
            self.soil(slot);
            return;
        }
        self.count(|counters| counters.direct_sends += 1);
        self.write(slot);
        self.wake();
    }

    /// Has what is queued on a link written at the end of this pass, or in the next.
    pub fn send_soon(&self, key: LinkKey) {
        if let Some(slot) = self.0.slot(key) {
            self.soil(&slot);
        }
    }

    /// Stops reading a link. What was received stays where it is.
    pub fn pause_reading(&self, key: LinkKey) {
        if let Some(slot) = self.0.slot(key) {
            slot.paused.set(true);
        }
    }

    /// Reads a link again; what was left in its inbox is offered to the host first.
    pub fn resume_reading(&self, key: LinkKey) {
        if let Some(slot) = self.0.slot(key)
            && slot.paused.replace(false)
        {
            self.reheat(&slot);
        }
    }

    /// Stops or resumes reading all links, beside what is set for each.
    pub fn pause_all(&self, paused: bool) {
        if self.0.paused.replace(paused) && !paused {
            let slots: Vec<_> = {
                let slots = self.0.slots.borrow();
                slots.entries.iter().filter_map(|entry| entry.slot.clone()).collect()
            };
            for slot in slots {
                self.reheat(&slot);
            }
        }
    }

    /// Whether reading is paused on all links.
    #[must_use]
    pub fn is_all_paused(&self) -> bool {
        self.0.paused.get()
    }

    /// Ends a link: tries to send what is queued, shuts the connection down, and gives back what
    /// was kept for it. The host is not told.
    pub fn close(&self, key: LinkKey) -> Option<H::Link> {
        let slot = self.0.slot(key)?;
        if !slot.blocked.get() {
            self.write(&slot);
        }
        self.remove(&slot)
    }

    /// Ends the connection of a link at once, and gives back what was kept for it with all that is
    /// queued and not sent. The host is not told. Bytes that were received and not taken by the
    /// host are lost.
    pub fn take(&self, key: LinkKey) -> Option<H::Link> {
        let slot = self.0.slot(key)?;
        self.remove(&slot)
    }

    /// Puts a message into the queue to another shard, or this one. When refused, this shard's
    /// driver makes a pass (and calls [`Host::flush`]) once there is room again.
    ///
    /// # Errors
    /// [`Full`] with the message.
    pub fn push(&self, to: ShardId, message: H::Message) -> Result<(), Full<H::Message>> {
        self.0.outgoing.borrow_mut().try_push(to, message)
    }

    /// Puts a message into the room reserved for control. It comes out after all messages pushed
    /// to the same shard before, and before those pushed after.
    ///
    /// # Errors
    /// [`Full`] with the message, when more control is under way than was foreseen.
    pub fn push_control(&self, to: ShardId, message: H::Message) -> Result<(), Full<H::Message>> {
        self.0.outgoing.borrow_mut().try_push_control(to, message)
    }

    /// Has the driver run soon if it is waiting.
    #[inline]
    pub fn wake(&self) {
        if self.0.door.is_parked() {
            self.0.door.unpark();
        }
    }

    /// How long the driver looks for more after something came, before it parks.
    #[must_use]
    pub fn spin(&self) -> Duration {
        self.0.spin.get()
    }

    /// Changes [`DriverConfig::spin`] and [`DriverConfig::spin_after_send`], from the next tick of
    /// the driver's clock on.
    pub fn set_spin(&self, spin: Duration, after_send: Duration) {
        self.0.spin.set(spin);
        self.0.new_spin.set(Some((spin, after_send)));
    }

    pub(super) fn take_new_spin(&self) -> Option<(Duration, Duration)> {
        self.0.new_spin.take()
    }

    /// A task has sent something that is likely to be answered soon, over a socket of its own: the
    /// driver spins for the answer, as it does after it sent something itself.
    pub fn expect_answer(&self) {
        self.0.sent.set(true);
        self.wake();
    }

    /// Lets every task of this shard that is ready, and the driver, run before the calling task goes
    /// on. A task that computes for long should call it about every millisecond: it also tells the
    /// thread that watches the shards that this one has work.
    pub async fn yield_now(&self) {
        self.wake();
        self.note_turn();
        Yield::default().await;
    }

    /// Says that a task of this shard has its turn now. As long as some have, the driver does not
    /// park: it would be woken late.
    #[inline]
    pub fn note_turn(&self) {
        self.0.turns.set(self.0.turns.get() + 1);
        if self.0.gathering.get() {
            let turns = self.0.gathered_turns.get() + 1;
            self.0.gathered_turns.set(turns);
            if turns > self.0.gather_turns.get() {
                self.0.gathered_turns.set(1);
                self.write_dirty();
            }
        }
    }

    /// Says that something was delivered to a task of this shard. After more than one delivery the
    /// tasks that are woken gather what they send: a write for the first of many answers would cost
    /// more than all the others.
    #[inline]
    pub fn note_delivery(&self) {
        self.0.deliveries.set(self.0.deliveries.get().saturating_add(1));
    }

    /// Says that the host has something to run: the driver calls [`Host::run_ready`] where it lets
    /// tasks run, which costs less than waking a task.
    #[inline]
    pub fn note_ready(&self) {
        if !self.0.ready.replace(true) {
            self.wake();
        }
    }

    /// Whether the host has something to run.
    pub(super) fn take_ready(&self) -> bool {
        self.0.ready.take()
    }

    /// The tasks have their turn now.
    pub(super) fn begin_turns(&self) {
        let deliveries = self.0.deliveries.take();
        self.0.gathering.set(deliveries > 1);
        self.0.gathered_turns.set(0);
        let halves = deliveries >= GATHER_IN_HALVES_MIN;
        self.0.gather_turns.set(if halves { deliveries.div_ceil(2) } else { u32::MAX });
    }

    /// The tasks have had their turn. Returns whether what they sent was to be gathered.
    pub(super) fn end_turns(&self) -> bool {
        self.0.gathering.take()
    }

    pub(super) fn turns(&self) -> u64 {
        self.0.turns.get()
    }

    /// Ends the driver after its current pass. It closes all links.
    pub fn stop(&self) {
        self.0.stopping.set(true);
        self.wake();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.0.stopping.get()
    }

    pub(super) fn shared(&self) -> &Shared<H> {
        &self.0
    }

    pub(super) fn config(&self) -> &DriverConfig {
        &self.0.config
    }

    /// Whether a task was woken for its own socket since this was asked last.
    pub(super) fn take_woke(&self) -> bool {
        self.0.woke.take()
    }

    /// Whether something was sent since this was asked last.
    pub(super) fn take_sent(&self) -> bool {
        self.0.sent.take()
    }

    pub(super) fn trim(&self) {
        self.0.pool.trim();
    }

    pub(super) fn count(&self, f: impl FnOnce(&mut Counters)) {
        let mut counters = self.0.counters.get();
        f(&mut counters);
        self.0.counters.set(counters);
    }

    /// Closes every link. The host is not told.
    pub(super) fn close_all(&self) {
        for key in self.keys() {
            drop(self.close(key));
        }
        self.0.hot.borrow_mut().clear();
        self.0.dirty.borrow_mut().clear();
    }

    /// Ends a link by itself and tells the host.
    fn end(&self, slot: &Rc<Slot<H::Link>>, host: &H, end: End<H::Error>) {
        if let Some(state) = self.remove(slot) {
            let _ = self.caught(|| host.ended(self, slot.key, state, end));
        }
    }

    /// Calls the host; a panic is counted and logged.
    pub(super) fn caught<R>(&self, f: impl FnOnce() -> R) -> Result<R, Panicked> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).map_err(
            |payload: Box<dyn Any + Send>| {
                let panicked = Panicked::from(payload);
                self.count(|counters| counters.panics += 1);
                tracing::error!(shard = %self.id(), error = %panicked, "the shard's host panicked");
                panicked
            },
        )
    }

    fn remove(&self, slot: &Rc<Slot<H::Link>>) -> Option<H::Link> {
        if slot.closed.replace(true) {
            return None;
        }
        self.0.slots.borrow_mut().vacate(slot.key);
        self.0.watch.readiness().remove(&slot.socket);
        slot.socket.shutdown(Shutdown::Both);
        drop(slot.inbox.take());
        let state = slot.state.borrow_mut().take();
        // A driver that is parked would otherwise keep the descriptor in its lists.
        self.wake();
        state
    }
}

impl<H: Host> Shared<H> {
    #[inline]
    fn slot(&self, key: LinkKey) -> Option<Rc<Slot<H::Link>>> {
        let slots = self.slots.borrow();
        let entry = slots.entries.get(key.index as usize)?;
        if entry.generation == key.generation { entry.slot.clone() } else { None }
    }
}

impl<H: Host> LinkRef<H> {
    /// Gives `f` what is kept for the link and sends what it queued: [`Handle::with_link`] and
    /// [`Handle::send_now`] in one. Nothing if the link is gone.
    ///
    /// # Panics
    /// When called from within itself or [`Handle::with_link`] for the same link.
    #[inline]
    pub fn send_with<R>(&self, f: impl FnOnce(&mut H::Link) -> R) -> Option<R> {
        let slot = self.slot.upgrade()?;
        let mut state = slot.state.borrow_mut();
        let link = state.as_mut()?;
        let result = f(link);
        let enough = link.has_queued(self.shard.0.config.direct_bytes);
        drop(state);
        // What is dirty is written soon; what is blocked, when there is room.
        if enough || !slot.dirty.get() {
            self.shard.send_slot(&slot, enough);
        }
        Some(result)
    }
}

impl<H: Host> Clone for Handle<H> {
    fn clone(&self) -> Handle<H> {
        Handle(self.0.clone())
    }
}

impl<H: Host> fmt::Debug for LinkRef<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkRef")
            .field("key", &self.slot.upgrade().map(|slot| slot.key))
            .finish_non_exhaustive()
    }
}

impl<H: Host> fmt::Debug for Handle<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("shard", &self.id()).finish_non_exhaustive()
    }
}
