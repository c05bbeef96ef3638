//! One lane of a session between two Krarup nodes, as a machine without I/O.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use super::ProcessNumber;
use super::frame::{FRAME_PAYLOAD_MAX, Form, Layout, kind};
use super::inbox::{Inbox, Taken};
use super::lane_error::LaneError;
use super::outbox::{Kind, Outbox};
use super::run::Run;
use crate::buffer::Receiver;
use crate::dist::control::{Control, ControlWriter, Names};
use crate::dist::fragment::FragmentLimits;
use crate::dist::tick::{TickAction, TickConfig, Ticker};
use crate::handshake::Flags;
use crate::link::{Busy, IoSlices, LinkCounters, Outgoing, Payload, SendError, SenderKey, Signal};
use crate::term::{Atom, Creation, Limits, Pid};

/// A lane with something to write states what it has received, too, if it is at least so much: the
/// peer's memory is used again while it is in the caches.
const PIGGYBACK_BYTES_MIN: u64 = 32 << 10;

/// Bounds of one lane. Every default is in [`LaneLimits::DEFAULT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// Longest payload of one frame that is accepted; what the hello said, at least 64 KiB.
    pub frame_bytes_max: u32,
    /// What may be in fragments at one time. Longer messages than `sequence_bytes_max` are not
    /// sent either.
    pub fragments: FragmentLimits,
    /// What one term may cost.
    pub term: Limits,
    /// The high water mark: a message is refused when so many bytes wait already.
    pub outbox_bytes_max: usize,
    /// The low water mark: senders that were refused may come again.
    pub outbox_bytes_low: usize,
    /// What signals other than messages may use beyond the marks. A lane that exhausts it is as
    /// good as dead, and its session should be ended.
    pub outbox_reserve_bytes: usize,
    /// Most bytes that are kept because the peer has not acknowledged them.
    pub replay_bytes_max: usize,
    /// An acknowledgement is due when so many bytes were received since the last one.
    pub ack_bytes: usize,
    /// Most bytes offered for one write. Of large messages so much is put in front of what is sent
    /// later.
    pub write_bytes_max: usize,
}

impl LaneLimits {
    /// 64 KiB a frame; 1 MiB high and 512 KiB low water mark, 16 MiB reserve; 8 MiB not
    /// acknowledged, an acknowledgement every 256 KiB; 512 KiB a write.
    pub const DEFAULT: LaneLimits = LaneLimits {
        frame_bytes_max: FRAME_PAYLOAD_MAX as u32,
        fragments: FragmentLimits::DEFAULT,
        term: Limits::DEFAULT,
        outbox_bytes_max: 1 << 20,
        outbox_bytes_low: 512 << 10,
        outbox_reserve_bytes: 16 << 20,
        replay_bytes_max: 8 << 20,
        ack_bytes: 256 << 10,
        write_bytes_max: 512 << 10,
    };
}

impl Default for LaneLimits {
    fn default() -> LaneLimits {
        LaneLimits::DEFAULT
    }
}

/// What a lane needs to know about its session.
#[derive(Clone, Debug)]
pub struct LaneConfig {
    /// This node's name.
    pub local: Atom,
    /// The connected node's name.
    pub peer: Atom,
    /// The creation of this node that the session is with.
    pub local_creation: Creation,
    /// The creation of the connected node.
    pub peer_creation: Creation,
    /// Whether frames carry checksums.
    pub checksum: bool,
    /// Bounds.
    pub limits: LaneLimits,
    /// The tick time of the node; a lane is silent after half of it.
    pub tick: TickConfig,
    /// Time until the first look at the ticks, at most one interval. Different phases spread the
    /// ticks of many lanes.
    pub tick_phase: Duration,
}

impl LaneConfig {
    /// A configuration with default limits and tick time, without checksums.
    #[must_use]
    pub fn new(local: (Atom, Creation), peer: (Atom, Creation)) -> LaneConfig {
        let ((local, local_creation), (peer, peer_creation)) = (local, peer);
        let tick = TickConfig::DEFAULT;
        LaneConfig {
            local,
            peer,
            local_creation,
            peer_creation,
            checksum: false,
            limits: LaneLimits::DEFAULT,
            tick,
            tick_phase: tick.halved().interval(),
        }
    }
}

/// Who gets a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A process of this node.
    Process(ProcessNumber),
    /// Whoever is registered under the name.
    Name(Atom),
}

/// A message that is not part of a [`Run`]: it came in fragments, or goes to a name.
#[derive(Clone, Debug)]
pub struct LaneMessage {
    /// The process of the peer that sent it.
    pub from: ProcessNumber,
    /// Who gets it.
    pub to: Target,
    /// What the payload is.
    pub form: Form,
    /// One valid term, or bytes; in one part or several.
    pub payload: Payload,
}

/// What [`Lane::receive`] gives.
#[derive(Debug)]
pub enum Incoming {
    /// Messages to one process.
    Run(Run),
    /// A message that came in fragments, or goes to a name.
    Message(LaneMessage),
    /// Any other signal.
    Signal(Signal),
    /// The mailbox of `holder` is full: `sender` must not send to it.
    Hold {
        /// A process of the peer.
        holder: ProcessNumber,
        /// A process of this node.
        sender: ProcessNumber,
    },
    /// `sender` may send to `holder` again.
    Release {
        /// A process of the peer.
        holder: ProcessNumber,
        /// A process of this node.
        sender: ProcessNumber,
    },
    /// The peer ends the session, for this reason.
    Bye(Atom),
    /// The next frame is not complete: so many bytes, counted from its start, make it so. The
    /// receiver was told.
    NeedMore(usize),
}

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
/// * **Receiving**: [`Lane::receive`] until it needs more. Messages come in [`Run`]s.
/// * **Sending**: [`Lane::send_raw`] and [`Lane::send_message_with`] write straight into the
///   outbox, [`Lane::send_message`] takes large pieces by reference. Then [`Lane::io_slices`], one
///   vectored write, and [`Lane::written`] with what the socket took.
/// * **Order**: signals of one sender leave in the order they were sent. Large ones go in fragments
///   of 64 KiB, senders taking turns; the later signals of a sender wait behind its large one,
///   those of others pass.
/// * **Budget**: messages are refused with [`Busy`] once `outbox_bytes_max` bytes wait or
///   `replay_bytes_max` bytes are not acknowledged; other signals have a reserve beyond it. One
///   message may exceed the mark, so that large ones go through at all.
/// * **Resume**: when the connection breaks, [`Lane::detach`] gives the position up to which
///   everything was received, which goes to the peer by another connection;
///   [`Lane::attach`] with the peer's position goes on exactly there. Signals can be sent all the
///   time.
#[derive(Debug)]
pub struct Lane {
    outbox: Outbox,
    inbox: Inbox,
    /// The position that the last acknowledgement stated.
    stated: u64,
    ack_bytes: u64,
    /// With checksums only whole frames are a sign of life: the length of one that does not get
    /// complete may be what is damaged.
    checksum: bool,
    counters: LinkCounters,
    replay: ReplayCounters,
    attached: bool,
    ticker: Ticker,
    local: (Atom, Creation),
    peer: (Atom, Creation),
}

impl Lane {
    /// A lane on its first connection, with nothing sent or received.
    #[must_use]
    pub fn new(config: LaneConfig, now: Instant) -> Lane {
        let LaneConfig { local, peer, local_creation, peer_creation, .. } = config;
        let layout = Layout { checksum: config.checksum };
        Lane {
            outbox: Outbox::new(layout, &config.limits),
            inbox: Inbox::new(layout, &config.limits),
            stated: 0,
            ack_bytes: config.limits.ack_bytes.max(1) as u64,
            checksum: config.checksum,
            counters: LinkCounters::default(),
            replay: ReplayCounters::default(),
            attached: true,
            ticker: new_ticker(layout, config.tick, now, config.tick_phase),
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

    /// Sends a message of one term, encoded straight into the outbox: `encode` appends the term
    /// without version byte.
    ///
    /// # Errors
    /// Nothing is queued then. After [`SendError::Busy`] wait for room.
    #[inline]
    pub fn send_message_with<E>(
        &mut self,
        from: ProcessNumber,
        to: ProcessNumber,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), SendError<E>> {
        self.outbox.check_room()?;
        let kind = Kind { kind: kind::MESSAGE, flags: 0, from, to };
        self.outbox.send_with(kind, |_| Ok(()), encode)?;
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// Sends a message of bytes, which are copied.
    ///
    /// # Errors
    /// Nothing is queued then. After [`SendError::Busy`] wait for room.
    #[inline]
    pub fn send_raw(
        &mut self,
        from: ProcessNumber,
        to: ProcessNumber,
        bytes: &[u8],
    ) -> Result<(), SendError> {
        self.outbox.check_room()?;
        self.outbox.send_bytes(Form::Raw.flag(), from, to, bytes)?;
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// Sends a message whose payload is there already, in pieces. Pieces of 8 KiB and more are
    /// never copied.
    ///
    /// # Errors
    /// Nothing is queued then. After [`SendError::Busy`] wait for room.
    pub fn send_message(
        &mut self,
        from: ProcessNumber,
        to: ProcessNumber,
        payload: SmallVec<[Bytes; 1]>,
        form: Form,
    ) -> Result<(), SendError> {
        self.outbox.check_room()?;
        let kind = Kind { kind: kind::MESSAGE, flags: form.flag(), from, to };
        self.outbox.send_chunks(kind, &[], payload)?;
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// As [`Lane::send_message_with`], to a registered name.
    ///
    /// # Errors
    /// Nothing is queued then. After [`SendError::Busy`] wait for room.
    #[inline]
    pub fn send_named_with<E>(
        &mut self,
        from: ProcessNumber,
        name: &Atom,
        form: Form,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), SendError<E>> {
        self.outbox.check_room()?;
        let write_name = |out: &mut Vec<u8>| {
            out.extend_from_slice(name.as_str().as_bytes());
            Ok(())
        };
        self.outbox.send_with(named(from, form), write_name, encode)?;
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// As [`Lane::send_message`], to a registered name.
    ///
    /// # Errors
    /// Nothing is queued then. After [`SendError::Busy`] wait for room.
    pub fn send_named(
        &mut self,
        from: ProcessNumber,
        name: &Atom,
        payload: SmallVec<[Bytes; 1]>,
        form: Form,
    ) -> Result<(), SendError> {
        self.outbox.check_room()?;
        self.outbox.send_chunks(named(from, form), name.as_str().as_bytes(), payload)?;
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// Sends any other signal, with the payload that belongs to it. The order is kept among the
    /// signals and messages of the same sender.
    ///
    /// # Errors
    /// Nothing is queued then. After [`SendError::Busy`] wait for room; signals that are no
    /// messages have a reserve.
    pub fn send_signal(
        &mut self,
        sender: SenderKey,
        control: &Control,
        payload: Option<Outgoing<'_>>,
    ) -> Result<(), SendError> {
        if control.is_message() {
            self.outbox.check_room()?;
        } else {
            self.outbox.check_signal_room()?;
        }
        let kind = signal(sender);
        match payload {
            Some(Outgoing::Chunks(chunks)) => {
                let mut head = Vec::new();
                write_control::<Infallible>(control, &mut head)?;
                self.outbox.send_chunks(kind, &head, chunks)?;
            }
            payload => {
                let write_head = |out: &mut Vec<u8>| write_control(control, out);
                self.outbox.send_with(kind, write_head, |out| {
                    if let Some(Outgoing::Encoded(bytes)) = payload {
                        out.extend_from_slice(bytes);
                    }
                    Ok(())
                })?;
            }
        }
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// Sends any other signal whose payload `encode` appends, as [`Lane::send_message_with`] does.
    ///
    /// # Errors
    /// Nothing is queued then. After [`SendError::Busy`] wait for room; signals that are no
    /// messages have a reserve.
    pub fn send_signal_with<E>(
        &mut self,
        sender: SenderKey,
        control: &Control,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), SendError<E>> {
        if control.is_message() {
            self.outbox.check_room()?;
        } else {
            self.outbox.check_signal_room()?;
        }
        self.outbox.send_with(signal(sender), |out| write_control(control, out), encode)?;
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// Tells a process of the peer, `sender`, that the mailbox of `holder` is full.
    ///
    /// # Errors
    /// When even the reserve is used up: the session should be ended.
    pub fn hold(&mut self, holder: ProcessNumber, sender: ProcessNumber) -> Result<(), Busy> {
        self.send_bare(kind::HOLD, holder, sender)
    }

    /// Tells a process of the peer, `sender`, that it may send to `holder` again.
    ///
    /// # Errors
    /// When even the reserve is used up: the session should be ended.
    pub fn release(&mut self, holder: ProcessNumber, sender: ProcessNumber) -> Result<(), Busy> {
        self.send_bare(kind::RELEASE, holder, sender)
    }

    /// Tells the peer that the session ends, and why. It passes everything that waits for its turn,
    /// and is accepted whatever waits.
    pub fn bye(&mut self, reason: &Atom) {
        self.outbox.put_bye(reason.as_str().as_bytes());
    }

    /// Whether a message would be refused now, and why.
    ///
    /// # Errors
    /// [`Busy`], as a send would say it.
    pub fn check_room(&mut self) -> Result<(), Busy> {
        self.outbox.check_room()
    }

    /// Whether the outbox is at or below its low water mark. What is written and what is
    /// acknowledged makes room: look after [`Lane::written`] and after [`Lane::receive`].
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.outbox.has_room()
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
            if !self.checksum {
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
        let pending = self.is_write_pending();
        let LinkCounters { received_bytes, written_bytes, .. } = self.counters;
        // What makes a frame incomplete may be a flipped bit of its length: whatever comes then
        // only seems to be the rest of it, and the end of the frame may never come.
        let received_bytes = match self.outbox.layout().checksum {
            true => self.inbox.received_bytes(),
            false => received_bytes,
        };
        let action = self.ticker.look(now, received_bytes, written_bytes, pending);
        if action == TickAction::Send {
            if !pending {
                self.outbox.trim();
            }
            self.put_tick();
        }
        action
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

    fn send_bare(&mut self, kind: u8, from: ProcessNumber, to: ProcessNumber) -> Result<(), Busy> {
        self.outbox.check_signal_room()?;
        // It tells about the present, so it need not wait behind what its sender sent before.
        self.outbox.put_bare(Kind { kind, flags: 0, from, to });
        self.counters.sent_signals += 1;
        Ok(())
    }

    fn put_tick(&mut self) {
        self.counters.sent_ticks += 1;
        self.outbox.put_tick();
    }
}

fn new_ticker(layout: Layout, config: TickConfig, now: Instant, phase: Duration) -> Ticker {
    let tick_bytes = layout.header_bytes() as u64;
    Ticker::new(config.halved(), false, now, phase).with_tick_bytes(tick_bytes)
}

fn named(from: ProcessNumber, form: Form) -> Kind {
    Kind { kind: kind::NAMED, flags: form.flag(), from, to: ProcessNumber::NONE }
}

fn signal(sender: SenderKey) -> Kind {
    let (id, serial) = sender.numbers();
    let from = ProcessNumber { id, serial };
    Kind { kind: kind::SIGNAL, flags: 0, from, to: ProcessNumber::NONE }
}

/// Krarup nodes know all signals, so no flag forbids one.
fn write_control<E>(control: &Control, out: &mut Vec<u8>) -> Result<(), SendError<E>> {
    control.encode(Flags::HIDDEN, &mut ControlWriter::new(out, None))?;
    Ok(())
}

#[cfg(test)]
#[path = "lane_tests/mod.rs"]
mod tests;
