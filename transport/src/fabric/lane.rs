//! One lane of a session between two Krarup nodes, as a machine without I/O.

use std::time::{Duration, Instant};

use super::ProcessNumber;
use super::frame::Layout;
use super::inbox::{Inbox, Taken};
use super::incoming::Incoming;
use super::lane_error::LaneError;
use super::limits::LaneConfig;
use super::outbox::Outbox;
use crate::buffer::Receiver;
use crate::dist::control::Names;
use crate::dist::tick::{TickAction, TickConfig, Ticker};
use crate::link::{Busy, IoSlices, LinkCounters, WaterMarks};
use crate::term::{Atom, Creation, Pid};

/// A lane with something to write states what it has received, too, if it is at least so much: the
/// peer's memory is used again while it is in the caches.
const PIGGYBACK_BYTES_MIN: u64 = 32 << 10;
/// How often half the tick time a slow network has for one frame over a new connection.
const SLOW_FRAME_TICK_TIMES: u32 = 4;

/// What resuming has cost a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayCounters {
    /// Times that a connection took the lane over from another.
    pub resumes: u64,
    /// Bytes that were written again.
    pub replayed_bytes: u64,
    /// Bytes that are kept now because the peer has not acknowledged them.
    pub retained_bytes: usize,
}

/// One lane of a session between two Krarup nodes, as a machine without I/O.
///
/// A lane is a numbered stream of bytes in each direction that outlives the sockets that carry it.
/// In go the received bytes, the signals to send and the time; out come messages for processes,
/// bytes for the socket, and the reason when its connection or the session has to end.
///
/// * **Receiving**: [`Lane::receive`] until it needs more. Messages come in [`Run`](super::Run)s.
/// * **Sending**: [`Lane::send_raw`] and [`Lane::send_message_with`] write straight into the
///   outbox, [`Lane::send_message`] takes large pieces by reference. Then [`Lane::io_slices`], one
///   vectored write, and [`Lane::written`] with what the socket took.
/// * **Order**: signals of one sender leave in the order they were sent. Large ones go in fragments
///   of 64 KiB, senders taking turns; the later signals of a sender wait behind its large one,
///   those of others pass.
/// * **Budget**: messages are refused with [`Busy`] once `outbox_bytes_max` bytes wait or
///   `replay_bytes_max` bytes are not acknowledged; other signals have a reserve beyond it. Large
///   messages, and those behind one of the same sender, are refused once `outbox_bytes_max` bytes of
///   them wait, and leave the others their room. One message may exceed the mark, so that large
///   ones go through at all.
/// * **Resume**: when the connection breaks, [`Lane::detach`] gives the position up to which
///   everything was received, which goes to the peer by another connection;
///   [`Lane::attach`] with the peer's position goes on exactly there. Signals can be sent all the
///   time.
#[derive(Debug)]
pub struct Lane {
    pub(super) outbox: Outbox,
    /// A control message on its way to the outbox.
    pub(super) scratch: Vec<u8>,
    inbox: Inbox,
    /// The position that the last acknowledgement stated.
    stated: u64,
    ack_bytes: u64,
    /// With checksums only whole frames are a sign of life: the length of one that does not get
    /// complete may be what is damaged.
    checksum: bool,
    pub(super) counters: LinkCounters,
    replay: ReplayCounters,
    attached: bool,
    ticker: Ticker,
    life: Life,
    local: (Atom, Creation),
    peer: (Atom, Creation),
}

/// What counts as a sign of life where there are checksums.
///
/// The length of a frame that does not get complete may be what is damaged, so only complete ones
/// count, and a connection that brings none for half the tick time is given up. But a slow network
/// may need longer for one, and more so over a new connection, which begins slowly and brings the
/// frame from its start. Over the one that replaces a connection given up for silence any byte
/// counts, until a frame is complete or there was time enough for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Frames,
    /// The connection was given up for silence.
    Lost,
    /// And this is the next one; so much had been received before it.
    Bytes {
        position: u64,
        until: Instant,
    },
}

impl Lane {
    /// A lane on its first connection, with nothing sent or received.
    #[must_use]
    pub fn new(config: LaneConfig, now: Instant) -> Lane {
        let LaneConfig { local, peer, local_creation, peer_creation, .. } = config;
        let layout = Layout { checksum: config.checksum };
        Lane {
            outbox: Outbox::new(layout, &config.limits),
            scratch: Vec::new(),
            inbox: Inbox::new(layout, &config.limits),
            stated: 0,
            ack_bytes: config.limits.ack_bytes.max(1) as u64,
            checksum: config.checksum,
            counters: LinkCounters::default(),
            replay: ReplayCounters::default(),
            attached: true,
            ticker: new_ticker(layout, config.tick, now, config.tick_phase),
            life: Life::Frames,
            local: (local, local_creation),
            peer: (peer, peer_creation),
        }
    }

    /// The name of the connected node.
    #[must_use]
    pub const fn peer(&self) -> &Atom {
        &self.peer.0
    }

    /// The creation of the connected node that the session is with.
    #[inline]
    #[must_use]
    pub const fn peer_creation(&self) -> Creation {
        self.peer.1
    }

    /// The pid of a process of this node.
    #[must_use]
    pub fn local_pid(&self, number: ProcessNumber) -> Pid {
        number.to_pid(&self.local.0, self.local.1)
    }

    /// The pid of a process of the connected node.
    #[must_use]
    pub fn peer_pid(&self, number: ProcessNumber) -> Pid {
        number.to_pid(&self.peer.0, self.peer.1)
    }

    /// Whether a message would be refused now, and why.
    ///
    /// # Errors
    /// [`Busy`], as a send would say it.
    pub fn check_room(&mut self) -> Result<(), Busy> {
        self.outbox.check_room()
    }

    /// Whether the outbox is at or below its low water mark, leaving large messages out. What is
    /// written and what is acknowledged makes room: look after [`Lane::written`] and after
    /// [`Lane::receive`].
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    /// How many bytes may wait.
    #[must_use]
    pub fn water_marks(&self) -> WaterMarks {
        self.outbox.water_marks()
    }

    /// Changes how many bytes may wait. What waits already stays.
    pub fn set_water_marks(&mut self, marks: WaterMarks) {
        self.outbox.set_water_marks(marks);
    }

    /// Bytes of each frame of a large message.
    #[must_use]
    pub fn fragment_bytes(&self) -> u32 {
        self.outbox.fragment_bytes
    }

    /// Changes it at once; brought into the range from
    /// [`FRAGMENT_BYTES_MIN`](crate::link::FRAGMENT_BYTES_MIN) to 64 KiB.
    pub fn set_fragment_bytes(&mut self, bytes: u32) {
        self.outbox.set_fragment_bytes(bytes);
    }

    /// Whether the large messages that wait, and those behind them, are at or below their low water
    /// mark.
    #[must_use]
    pub fn has_bulk_room(&self) -> bool {
        self.outbox.has_bulk_room()
    }

    /// True once after a signal was refused and the low water mark has been reached: the moment to
    /// wake those who wait.
    pub fn take_room_event(&mut self) -> bool {
        self.outbox.take_room_event()
    }

    /// Bytes that could be written now. Receiving can add to them: acknowledgements, and what has
    /// waited for the peer's.
    #[inline]
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.outbox.queued_bytes()
    }

    /// Bytes of signals that wait, also those that cannot be written before the peer acknowledges
    /// others or a connection is there.
    #[must_use]
    #[inline]
    pub fn waiting_bytes(&self) -> usize {
        self.outbox.waiting_bytes()
    }

    /// Whether there is anything to write.
    #[inline]
    #[must_use]
    pub fn is_write_pending(&self) -> bool {
        self.outbox.queued_bytes() != 0
    }

    /// Adds what is to be written next to `slices`: at most [`IO_SLICES_MAX`] slices of together at
    /// most `write_bytes_max` bytes. Large signals get their turns here.
    ///
    /// [`IO_SLICES_MAX`]: crate::link::IO_SLICES_MAX
    pub fn io_slices<'a>(&'a mut self, slices: &mut IoSlices<'a>) {
        let received = self.inbox.position();
        if received - self.stated >= PIGGYBACK_BYTES_MIN && self.is_write_pending() {
            self.acknowledge();
        }
        self.outbox.io_slices(slices);
    }

    /// The socket took the first `bytes` of what [`Lane::io_slices`] gave.
    ///
    /// # Panics
    /// When it is more than was given.
    pub fn written(&mut self, bytes: usize) {
        self.outbox.written(bytes);
        self.counters.written_bytes += bytes as u64;
    }

    /// Takes what is next in the received bytes, which the peer's acknowledgements are left out of.
    /// To be called until it needs more; afterwards there may be something to write, and room.
    ///
    /// What an earlier call gave counts as received, also if the connection breaks.
    ///
    /// # Errors
    /// The connection has to end, and if the error is not resumable, the session:
    /// [`LaneError::nodedown_reason`] is what to tell.
    #[inline]
    pub fn receive(&mut self, receiver: &mut Receiver) -> Result<Incoming, LaneError> {
        if self.inbox.position() - self.stated >= self.ack_bytes {
            self.acknowledge();
        }
        if receiver.unread().is_empty() {
            // The usual end: nothing but whole frames came.
            self.counters.received_bytes = self.inbox.received_bytes();
            return Ok(Incoming::NeedMore(self.inbox.header_bytes()));
        }
        if let Some(run) = self.inbox.take_run(receiver) {
            self.counters.received_signals += run.len() as u64;
            return Ok(Incoming::Run(run));
        }
        self.receive_other(receiver)
    }

    #[inline(never)]
    fn receive_other(&mut self, receiver: &mut Receiver) -> Result<Incoming, LaneError> {
        loop {
            let names = Names { local: &self.local.0, peer: &self.peer.0 };
            let taken = self.inbox.take_frame(receiver, names);
            self.counters.received_bytes = self.inbox.received_bytes();
            if !self.checksum || matches!(self.life, Life::Bytes { .. }) {
                self.counters.received_bytes += receiver.unread().len() as u64;
            }
            match taken? {
                Taken::Incoming(incoming) => {
                    let is_signal = !matches!(incoming, Incoming::NeedMore(_));
                    self.counters.received_signals += u64::from(is_signal);
                    return Ok(incoming);
                }
                Taken::Ack(stated) => self
                    .outbox
                    .acknowledge(stated)
                    .map_err(|(from, to)| LaneError::Acknowledged { stated, from, to })?,
                Taken::Nothing => {}
            }
            if let Some(run) = self.inbox.take_run(receiver) {
                self.counters.received_signals += run.len() as u64;
                return Ok(Incoming::Run(run));
            }
        }
    }

    /// States to the peer what was received, if it has not been stated yet. To be called by the
    /// shard's clock. Gives whether there is something to write now.
    pub fn acknowledge(&mut self) -> bool {
        let position = self.inbox.position();
        if position != self.stated && self.attached {
            self.stated = position;
            self.outbox.put_ack(position);
        }
        self.is_write_pending()
    }

    /// Gives the lane's connection up: the incomplete frame at the end of what it brought is
    /// forgotten. Gives the position up to which everything was received, for the peer to go on
    /// from.
    pub fn detach(&mut self, receiver: Option<&mut Receiver>) -> u64 {
        if let Some(receiver) = receiver {
            receiver.skip(receiver.unread().len());
        }
        self.counters.received_bytes = self.inbox.received_bytes();
        self.attached = false;
        self.outbox.detach();
        self.inbox.position()
    }

    /// Goes on over another connection, by which the peer stated that it has received everything
    /// before the position `peer_received`, and was told the same of this side.
    ///
    /// # Errors
    /// When nothing or more than that was sent: [`LaneError::Acknowledged`]. The session has to
    /// end.
    pub fn attach(&mut self, peer_received: u64, now: Instant) -> Result<(), LaneError> {
        let replayed = self
            .outbox
            .attach(peer_received)
            .map_err(|(from, to)| LaneError::Acknowledged { stated: peer_received, from, to })?;
        self.attached = true;
        self.stated = self.inbox.position();
        self.replay.resumes += 1;
        self.replay.replayed_bytes += replayed;
        self.ticker.restart(now);
        if self.life == Life::Lost {
            let until = now + SLOW_FRAME_TICK_TIMES * self.ticker.config().ticktime();
            self.life = Life::Bytes { position: self.inbox.position(), until };
        }
        Ok(())
    }

    /// Whether the lane has a connection.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        self.attached
    }

    /// Position up to which everything was received.
    #[must_use]
    pub fn received_position(&self) -> u64 {
        self.inbox.position()
    }

    /// When [`Lane::tick`] has something to do next.
    #[must_use]
    pub const fn tick_due(&self) -> Instant {
        self.ticker.due()
    }

    /// Looks at the connection's life, unless there is none. After [`TickAction::Send`] a tick is in
    /// the outbox; after [`TickAction::Dead`] the connection has to be given up for
    /// [`LaneError::Silent`].
    pub fn tick(&mut self, now: Instant) -> TickAction {
        if !self.attached {
            return TickAction::None;
        }
        if let Life::Bytes { position, until } = self.life
            && (self.inbox.position() > position || until <= now)
        {
            self.life = Life::Frames;
        }
        let pending = self.is_write_pending();
        let LinkCounters { received_bytes, written_bytes, .. } = self.counters;
        // What makes a frame incomplete may be a flipped bit of its length: whatever comes then
        // only seems to be the rest of it, and the end of the frame may never come.
        let by_frames = self.outbox.layout().checksum && self.life == Life::Frames;
        let received_bytes = if by_frames { self.inbox.received_bytes() } else { received_bytes };
        let action = self.ticker.look(now, received_bytes, written_bytes, pending);
        if action == TickAction::Dead {
            self.life = Life::Lost;
        }
        if action == TickAction::Send {
            if !pending {
                self.inbox.trim();
                self.outbox.trim();
                self.scratch = Vec::new();
            }
            self.put_tick();
        }
        action
    }

    /// Puts a tick into the outbox, whether one is due or not. To be called after [`Lane::attach`]:
    /// what tells the peer that the connection carries bytes must not wait for something to say.
    pub fn greet(&mut self) {
        self.put_tick();
    }

    /// The extra tick during a change of the tick time.
    pub fn auxiliary_tick(&mut self) -> TickAction {
        if !self.attached {
            return TickAction::None;
        }
        let action = self.ticker.look_auxiliary(self.is_write_pending());
        if action == TickAction::Send {
            self.put_tick();
        }
        action
    }

    /// What is known of its peer's silence.
    #[must_use]
    pub const fn ticker(&self) -> &Ticker {
        &self.ticker
    }

    /// Puts another tick time in force.
    pub fn set_tick_config(&mut self, config: TickConfig, now: Instant) {
        self.ticker.reconfigure(config.halved(), now);
    }

    /// What has gone through the lane, on all its connections.
    #[must_use]
    pub const fn counters(&self) -> LinkCounters {
        self.counters
    }

    /// What resuming has cost, and what is kept for it.
    #[must_use]
    pub fn replay_counters(&self) -> ReplayCounters {
        ReplayCounters { retained_bytes: self.outbox.retained_bytes(), ..self.replay }
    }

    /// How many received signals are incomplete, and how many bytes of them are there.
    #[must_use]
    pub fn unfinished_messages(&self) -> (usize, usize) {
        self.inbox.unfinished()
    }

    fn put_tick(&mut self) {
        self.counters.sent_ticks += 1;
        self.outbox.put_tick();
    }
}

fn new_ticker(layout: Layout, config: TickConfig, now: Instant, phase: Duration) -> Ticker {
    let tick_bytes = layout.header_bytes() as u8;
    Ticker::new(config.halved(), false, now, phase).with_tick_bytes(tick_bytes)
}

#[cfg(test)]
#[path = "lane_tests/mod.rs"]
mod tests;
