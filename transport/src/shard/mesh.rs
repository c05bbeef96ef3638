//! Bounded queues from every shard to every shard, and into each shard from other threads.
//!
//! Nothing here ever blocks: a queue without room gives the message back. Each pair of shards has
//! one queue for data and a small one for control, whose room no data can take. Messages of one
//! pair come out in the order they went in, control included: a control message carries the count
//! of data messages pushed before it and waits for them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::mpsc;

use rtrb::{Consumer, Producer, RingBuffer};

use super::ShardId;
use super::door::Door;

/// Data messages under way to one shard, shared out among all that send to it.
const DATA_MESSAGES_TOTAL: usize = 65_536;

/// Sizes of the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeshConfig {
    /// Data messages under way from one shard to another.
    pub data_messages_max: usize,
    /// Control messages under way from one shard to another.
    pub control_messages_max: usize,
    /// Messages under way from other threads to one shard.
    pub foreign_messages_max: usize,
}

impl Default for MeshConfig {
    fn default() -> MeshConfig {
        MeshConfig {
            data_messages_max: 4096,
            control_messages_max: 256,
            foreign_messages_max: 4096,
        }
    }
}

/// The queues of a node.
pub struct Mesh<M> {
    /// What each shard takes along into its executor, in the order of their numbers.
    pub seats: Vec<Seat<M>>,
    /// How other threads reach each shard, in the same order.
    pub remotes: Vec<Remote<M>>,
}

/// One shard's ends of all queues. Moves into the shard's executor.
pub struct Seat<M> {
    pub(super) outgoing: Outgoing<M>,
    pub(super) incoming: Incoming<M>,
}

/// Into one shard from any thread. Clones share the queue.
pub struct Remote<M> {
    shard: ShardId,
    sender: mpsc::SyncSender<M>,
    door: Arc<Door>,
}

/// A queue had no room, or its shard has ended; the message comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Full<M>(pub M);

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a shard, possibly the receiving one itself.
    Shard(ShardId),
    /// From a thread that is no shard.
    Foreign,
}

/// Makes the queues between `shards` shards.
///
/// # Panics
/// When `shards` is zero or more than [`ShardId::COUNT_MAX`].
#[must_use]
pub fn mesh<M: Send>(shards: usize, config: &MeshConfig) -> Mesh<M> {
    assert!((1..=ShardId::COUNT_MAX).contains(&shards), "1 to 256 shards, not {shards}");
    // The number of queues grows with the square of the number of shards; their room does not.
    let data_max = config.data_messages_max.min(DATA_MESSAGES_TOTAL / shards).max(1);
    let ids: Vec<ShardId> = (0..shards).filter_map(ShardId::at).collect();
    let doors: Arc<[Arc<Door>]> = ids.iter().map(|_| Arc::new(Door::default())).collect();
    let mut sources: Vec<Vec<Source<M>>> = ids.iter().map(|_| Vec::new()).collect();
    let mut targets: Vec<Vec<Target<M>>> = ids.iter().map(|_| Vec::new()).collect();
    for &from in &ids {
        for &to in &ids {
            let (target, source) = pair(from, data_max, config);
            targets[from.index()].push(target);
            sources[to.index()].push(source);
        }
    }
    let mut seats = Vec::with_capacity(shards);
    let mut remotes = Vec::with_capacity(shards);
    for ((&id, sources), targets) in ids.iter().zip(sources).zip(targets) {
        let (sender, foreign) = mpsc::sync_channel(config.foreign_messages_max.max(1));
        let door = doors[id.index()].clone();
        remotes.push(Remote { shard: id, sender, door });
        seats.push(Seat {
            outgoing: Outgoing { id, targets, doors: doors.clone() },
            incoming: Incoming { sources, foreign, doors: doors.clone(), next: 0 },
        });
    }
    Mesh { seats, remotes }
}

fn pair<M>(from: ShardId, data_max: usize, config: &MeshConfig) -> (Target<M>, Source<M>) {
    let waiting = Arc::new(AtomicBool::new(false));
    let (data, data_out) = RingBuffer::new(data_max);
    let (control, control_out) = RingBuffer::new(config.control_messages_max.max(1));
    (
        Target { data, control, pushed: 0, waiting: waiting.clone() },
        Source { from, data: data_out, control: control_out, popped: 0, waiting },
    )
}

/// The sending ends of one shard.
pub(super) struct Outgoing<M> {
    id: ShardId,
    targets: Vec<Target<M>>,
    doors: Arc<[Arc<Door>]>,
}

/// The receiving ends of one shard.
pub(super) struct Incoming<M> {
    sources: Vec<Source<M>>,
    foreign: mpsc::Receiver<M>,
    doors: Arc<[Arc<Door>]>,
    /// The source that comes first in the next round.
    next: usize,
}

/// From this shard to another.
struct Target<M> {
    data: Producer<M>,
    /// Each message with the count of data messages pushed before it.
    control: Producer<(u64, M)>,
    pushed: u64,
    /// This side was refused and wants to be woken when there is room.
    waiting: Arc<AtomicBool>,
}

/// From another shard to this one.
struct Source<M> {
    from: ShardId,
    data: Consumer<M>,
    control: Consumer<(u64, M)>,
    popped: u64,
    waiting: Arc<AtomicBool>,
}

impl<M> Seat<M> {
    /// The shard whose seat this is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.outgoing.id
    }
}

/// What [`Driver`](super::Driver) does with its seat, for those who have no executor.
impl<M> Seat<M> {
    /// Puts a data message into the queue to `to`, as [`Handle::push`](super::Handle::push) does.
    ///
    /// # Errors
    /// [`Full`] when there is no room, or no such shard.
    #[inline]
    pub fn push(&mut self, to: ShardId, message: M) -> Result<(), Full<M>> {
        self.outgoing.try_push(to, message)
    }

    /// Puts a control message into the queue to `to`, after all data messages pushed so far.
    ///
    /// # Errors
    /// [`Full`] when there is no room, or no such shard.
    #[inline]
    pub fn push_control(&mut self, to: ShardId, message: M) -> Result<(), Full<M>> {
        self.outgoing.try_push_control(to, message)
    }

    /// Takes out at most `data_max` data messages per source, and the control messages that are
    /// due with them. Returns how many messages there were.
    #[inline]
    pub fn drain(&mut self, data_max: usize, deliver: impl FnMut(Origin, M)) -> usize {
        self.incoming.drain(data_max, deliver)
    }
}

impl<M> Outgoing<M> {
    pub(super) fn id(&self) -> ShardId {
        self.id
    }

    pub(super) fn shards(&self) -> usize {
        self.targets.len()
    }

    pub(super) fn door(&self) -> &Arc<Door> {
        &self.doors[self.id.index()]
    }

    /// Puts a data message into the queue to `to`. When refused, this shard is woken once there
    /// is room.
    pub(super) fn try_push(&mut self, to: ShardId, message: M) -> Result<(), Full<M>> {
        let (Some(target), Some(door)) =
            (self.targets.get_mut(to.index()), self.doors.get(to.index()))
        else {
            return Err(Full(message));
        };
        let message = match target.data.push(message) {
            Ok(()) => {
                target.pushed += 1;
                door.ring();
                return Ok(());
            }
            Err(rtrb::PushError::Full(message)) => message,
        };
        target.waiting.store(true, Ordering::Relaxed);
        // Pairs with the fence in `Source::is_awaited`: either the other side sees the flag
        // after taking messages out, or this side sees their room now.
        fence(Ordering::SeqCst);
        match target.data.push(message) {
            Ok(()) => {
                target.pushed += 1;
                door.ring();
                Ok(())
            }
            Err(rtrb::PushError::Full(message)) => Err(Full(message)),
        }
    }

    /// Puts a control message into the queue to `to`, after all data messages pushed so far.
    pub(super) fn try_push_control(&mut self, to: ShardId, message: M) -> Result<(), Full<M>> {
        let (Some(target), Some(door)) =
            (self.targets.get_mut(to.index()), self.doors.get(to.index()))
        else {
            return Err(Full(message));
        };
        match target.control.push((target.pushed, message)) {
            Ok(()) => {
                door.ring();
                Ok(())
            }
            Err(rtrb::PushError::Full((_, message))) => Err(Full(message)),
        }
    }
}

impl<M> Incoming<M> {
    /// Whether nothing from another shard waits. What other threads sent is not looked for.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.iter().all(|source| source.data.is_empty() && source.control.is_empty())
    }

    /// Takes out at most `data_max` data messages per source, and the control messages that are
    /// due with them. Returns how many messages there were.
    pub(super) fn drain(&mut self, data_max: usize, mut deliver: impl FnMut(Origin, M)) -> usize {
        let mut taken = 0;
        for _ in 0..data_max {
            let Ok(message) = self.foreign.try_recv() else { break };
            taken += 1;
            deliver(Origin::Foreign, message);
        }
        let count = self.sources.len();
        for offset in 0..count {
            let source = &mut self.sources[(self.next + offset) % count];
            let from = source.from;
            let (messages, data) =
                source.drain(data_max, &mut |message| deliver(Origin::Shard(from), message));
            taken += messages;
            if data > 0 && source.is_awaited() {
                self.doors[from.index()].ring();
            }
        }
        self.next = (self.next + 1) % count;
        taken
    }
}

impl<M> Source<M> {
    /// Returns how many messages were delivered, and how many of them were data.
    fn drain(&mut self, data_max: usize, deliver: &mut impl FnMut(M)) -> (usize, usize) {
        // The count of data is taken first: a control message pushed before a counted data
        // message is then visible, so none can be overtaken.
        let data = self.data.slots().min(data_max);
        let mut taken = data;
        let mut next_control = self.next_control();
        for _ in 0..data {
            while next_control <= self.popped {
                taken += usize::from(self.deliver_control(deliver));
                next_control = self.next_control();
            }
            let Ok(message) = self.data.pop() else { break };
            self.popped += 1;
            deliver(message);
        }
        while next_control <= self.popped {
            taken += usize::from(self.deliver_control(deliver));
            next_control = self.next_control();
        }
        (taken, data)
    }

    /// How many data messages come before the next control message.
    fn next_control(&self) -> u64 {
        self.control.peek().map_or(u64::MAX, |(after, _)| *after)
    }

    fn deliver_control(&mut self, deliver: &mut impl FnMut(M)) -> bool {
        self.control.pop().map(|(_, message)| deliver(message)).is_ok()
    }

    /// Whether the other side was refused since this was asked last. To be called after taking
    /// messages out.
    fn is_awaited(&self) -> bool {
        // Pairs with the fence in `Outgoing::try_push`.
        fence(Ordering::SeqCst);
        self.waiting.load(Ordering::Relaxed) && self.waiting.swap(false, Ordering::Relaxed)
    }
}

impl<M> Remote<M> {
    /// The shard that this leads to.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Whether both lead into the same shard of the same node.
    #[must_use]
    pub fn is_same(&self, other: &Remote<M>) -> bool {
        Arc::ptr_eq(&self.door, &other.door)
    }

    /// The shard's door: to see whether it lives and how it is doing.
    #[must_use]
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Puts a message into the shard's queue and wakes it. Never blocks.
    ///
    /// # Errors
    /// [`Full`] when there is no room, or the shard has ended ([`Door::is_closed`]).
    pub fn try_push(&self, message: M) -> Result<(), Full<M>> {
        match self.sender.try_send(message) {
            Ok(()) => {
                self.door.ring();
                Ok(())
            }
            Err(mpsc::TrySendError::Full(message) | mpsc::TrySendError::Disconnected(message)) => {
                Err(Full(message))
            }
        }
    }
}

impl<M> Clone for Remote<M> {
    fn clone(&self) -> Remote<M> {
        Remote { shard: self.shard, sender: self.sender.clone(), door: self.door.clone() }
    }
}

impl<M> fmt::Debug for Remote<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("shard", &self.shard).finish_non_exhaustive()
    }
}

impl<M> fmt::Debug for Full<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full(..)")
    }
}

impl<M> fmt::Display for Full<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue to the shard is full")
    }
}

impl<M> std::error::Error for Full<M> {}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const ONE: ShardId = ShardId::new(1);

    fn small() -> MeshConfig {
        MeshConfig { data_messages_max: 4, control_messages_max: 2, foreign_messages_max: 2 }
    }

    #[test]
    fn a_full_queue_gives_the_message_back_and_control_has_room_of_its_own() {
        let mut mesh = mesh::<u32>(2, &small());
        let zero = &mut mesh.seats[0].outgoing;
        for message in 0..4 {
            zero.try_push(ONE, message).unwrap();
        }
        assert_eq!(zero.try_push(ONE, 4), Err(Full(4)));
        zero.try_push_control(ONE, 100).unwrap();
        assert_eq!(zero.try_push(ShardId::new(9), 5), Err(Full(5)));
        let mut got = Vec::new();
        mesh.seats[1].incoming.drain(64, |from, message| got.push((from, message)));
        let from = Origin::Shard(ShardId::new(0));
        assert_eq!(got, [0, 1, 2, 3, 100].map(|message| (from, message)));
    }

    #[test]
    fn control_keeps_its_place_among_data() {
        let mut mesh = mesh::<u32>(2, &small());
        let zero = &mut mesh.seats[0].outgoing;
        zero.try_push(ONE, 0).unwrap();
        zero.try_push_control(ONE, 100).unwrap();
        zero.try_push(ONE, 1).unwrap();
        zero.try_push(ONE, 2).unwrap();
        zero.try_push_control(ONE, 101).unwrap();
        let mut got = Vec::new();
        let one = &mut mesh.seats[1].incoming;
        assert_eq!(one.drain(2, |_, message| got.push(message)), 3);
        assert_eq!(got, [0, 100, 1]);
        one.drain(2, |_, message| got.push(message));
        assert_eq!(got, [0, 100, 1, 2, 101]);
        assert_eq!(one.drain(2, |_, _| ()), 0);
    }

    #[test]
    fn a_refused_shard_is_known_to_wait_until_there_is_room() {
        let mut mesh = mesh::<u32>(2, &small());
        for message in 0..4 {
            mesh.seats[0].outgoing.try_push(ONE, message).unwrap();
        }
        let is_awaited = |mesh: &Mesh<u32>| mesh.seats[1].incoming.sources[0].is_awaited();
        assert!(!is_awaited(&mesh));
        mesh.seats[0].outgoing.try_push(ONE, 4).unwrap_err();
        assert!(is_awaited(&mesh));
        assert!(!is_awaited(&mesh));
    }

    #[test]
    fn other_threads_are_bounded_too_and_learn_of_the_end() {
        let mut mesh = mesh::<u32>(1, &small());
        let remote = mesh.remotes.pop().unwrap();
        remote.try_push(1).unwrap();
        remote.clone().try_push(2).unwrap();
        assert_eq!(remote.try_push(3), Err(Full(3)));
        let mut got = Vec::new();
        mesh.seats[0].incoming.drain(64, |from, message| got.push((from, message)));
        assert_eq!(got, [(Origin::Foreign, 1), (Origin::Foreign, 2)]);
        drop(mesh.seats);
        assert_eq!(remote.try_push(4), Err(Full(4)));
    }

    /// Every message of every pair arrives once and in order, with control in its place, while
    /// all shards push to all at full speed.
    #[test]
    fn order_holds_between_all_pairs_at_once() {
        const SHARDS: usize = 3;
        const MESSAGES: u64 = 20_000;
        let mesh = mesh::<u64>(SHARDS, &small());
        let threads: Vec<_> = mesh
            .seats
            .into_iter()
            .map(|mut seat| {
                thread::spawn(move || {
                    let mut sent = [0; SHARDS];
                    let mut got = [0; SHARDS];
                    while sent.iter().chain(&got).any(|&count| count < MESSAGES) {
                        for (to, sent) in sent.iter_mut().enumerate() {
                            let to = ShardId::at(to).unwrap();
                            // Every seventh message is control.
                            let pushed = *sent < MESSAGES
                                && match *sent % 7 {
                                    0 => seat.outgoing.try_push_control(to, *sent).is_ok(),
                                    _ => seat.outgoing.try_push(to, *sent).is_ok(),
                                };
                            *sent += u64::from(pushed);
                        }
                        let taken = seat.incoming.drain(3, |from, message| {
                            let Origin::Shard(from) = from else { panic!("from a shard") };
                            assert_eq!(message, got[from.index()]);
                            got[from.index()] += 1;
                        });
                        if taken == 0 {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
