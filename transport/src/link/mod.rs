//! One connection after its handshake, as a machine without I/O.
//!
//! In go the frames that were received, the signals to send and the time; out come signals for
//! processes, bytes for the socket, and the reason when the connection has to end.
//!
//! * **Receiving**: cut frames with [`Link::frame_reader`], hand each body to [`Link::receive`].
//! * **Sending**: [`Link::send_with`] encodes straight into the outbox; [`Link::send`] takes what
//!   is encoded already, large pieces by reference. Then [`Link::io_slices`], one vectored write,
//!   and [`Link::written`] with what the socket took.
//! * **Order**: signals of one sender leave in the order they were sent. Large messages go in
//!   fragments of 64 KiB, senders taking turns; the later signals of a sender wait behind its
//!   large message, those of others pass.
//! * **Budget**: messages are refused with [`Busy`] once `outbox_bytes_max` bytes wait; other
//!   signals have a reserve beyond it. Large messages, and those behind one of the same sender, are
//!   refused once `outbox_bytes_max` bytes of them wait, and leave the others their room. One
//!   message may exceed the mark, so that large ones go through at all. [`Link::has_room`] and
//!   [`Link::has_bulk_room`] turn true at half of it.

pub(crate) mod bulk;
mod error;
mod inbound;
mod outbound;
mod plain;
#[cfg(test)]
mod tests;
mod wire_queue;

use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::buffer::Slice;
use crate::dist::control::{Control, Names};
use crate::dist::fragment::{FragmentLimits, Parts};
use crate::dist::frame::{FRAME_BYTES_MAX_DEFAULT, FrameReader, Shape, TICK};
use crate::dist::header::Atoms;
use crate::dist::tick::{TickAction, TickConfig, Ticker};
use crate::handshake::Flags;
use crate::term::{Atom, DecodeError, Limits, Term};

pub use bulk::SenderKey;
pub use error::{Busy, LinkError, SendError};
pub use plain::{PlainMessage, PlainPid, Side};
pub use wire_queue::{IO_SLICES_MAX, IoSlices};

use inbound::Inbound;
use outbound::Outbound;

/// Bounds of one link. Every default is in [`LinkLimits::DEFAULT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLimits {
    /// Longest frame that is accepted, without its length word.
    pub frame_bytes_max: u32,
    /// What may be in fragments at one time.
    pub fragments: FragmentLimits,
    /// What one term may cost.
    pub term: Limits,
    /// The high water mark: a message is refused when so many bytes wait already.
    pub outbox_bytes_max: usize,
    /// The low water mark: senders that were refused may come again.
    pub outbox_bytes_low: usize,
    /// What signals other than messages may use beyond the high water mark. A link that exhausts
    /// it is as good as dead and should be ended.
    pub outbox_reserve_bytes: usize,
    /// Most bytes offered for one write.
    pub write_bytes_max: usize,
}

/// How many bytes may wait on a link: beyond `high` its senders are told to wait, at `low` they may
/// go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaterMarks {
    /// At least 1.
    pub high: usize,
    /// At most `high`.
    pub low: usize,
}

/// The least that a fragment may have. Receivers expect fragments of some size, and smaller ones
/// are mostly headers.
pub const FRAGMENT_BYTES_MIN: u32 = 4 << 10;

impl LinkLimits {
    /// 256 MiB a frame; 1 MiB high and 512 KiB low water mark (as OTP's `+zdbbl`), 16 MiB reserve;
    /// 256 KiB a write.
    pub const DEFAULT: LinkLimits = LinkLimits {
        frame_bytes_max: FRAME_BYTES_MAX_DEFAULT,
        fragments: FragmentLimits::DEFAULT,
        term: Limits::DEFAULT,
        outbox_bytes_max: 1 << 20,
        outbox_bytes_low: 512 << 10,
        outbox_reserve_bytes: 16 << 20,
        write_bytes_max: 256 << 10,
    };
}

impl Default for LinkLimits {
    fn default() -> LinkLimits {
        LinkLimits::DEFAULT
    }
}

/// What a link needs to know about its connection.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// The flags that both sides set.
    pub flags: Flags,
    /// This node's name.
    pub local: Atom,
    /// The connected node's name.
    pub peer: Atom,
    /// Bounds.
    pub limits: LinkLimits,
    /// When to tick and when to give up.
    pub tick: TickConfig,
    /// Time until the first look at the ticks, at most one interval. Different phases spread the
    /// ticks of many links.
    pub tick_phase: Duration,
}

impl LinkConfig {
    /// A configuration with default limits and tick time.
    #[must_use]
    pub fn new(flags: Flags, local: Atom, peer: Atom) -> LinkConfig {
        let tick = TickConfig::DEFAULT;
        let limits = LinkLimits::DEFAULT;
        LinkConfig { flags, local, peer, limits, tick, tick_phase: tick.interval() }
    }
}

/// A validated payload: exactly one term, in one part or, if it came in fragments, several. In
/// several parts, keys or record fields that occur twice are found by [`Payload::decode`] only.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    /// The bytes of the term in order, without version byte.
    pub parts: Parts,
    /// The atoms that the term's cache references name; empty if it has none.
    pub atoms: Atoms,
}

impl Payload {
    /// Bytes of the term.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(Slice::len).sum()
    }

    /// Whether there are no bytes; never the case for a received payload.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| part.is_empty())
    }

    /// The bytes, if they lie in one piece.
    #[inline]
    #[must_use]
    pub fn contiguous(&self) -> Option<&[u8]> {
        match self.parts.as_slice() {
            [] => Some(&[]),
            [part] => Some(part),
            _ => None,
        }
    }

    /// The owned term.
    ///
    /// # Errors
    /// When it exceeds a limit, or what only decoding can find is wrong with it.
    pub fn decode(&self, limits: &Limits) -> Result<Term, DecodeError> {
        if let [part] = self.parts.as_slice() {
            return Term::decode(part, &self.atoms, limits).map(|(term, _)| term);
        }
        let parts: SmallVec<[&[u8]; 8]> = self.parts.iter().map(Slice::as_slice).collect();
        crate::term::decode_parts(&parts, &self.atoms, limits)
    }
}

/// A payload of one part without cache references. The bytes must be one valid term.
impl From<Slice> for Payload {
    #[inline]
    fn from(term: Slice) -> Payload {
        Payload { parts: Parts::from_buf([term]), atoms: Atoms::NONE }
    }
}

/// A signal from the peer.
#[derive(Clone, Debug)]
pub struct Signal {
    /// What it says.
    pub control: Control,
    /// The message, reason or argument list; there exactly if [`Control::has_payload`].
    pub payload: Option<Payload>,
}

/// A payload to send, encoded already: one term without version byte and without cache references.
#[derive(Clone, Debug)]
pub enum Outgoing<'a> {
    /// Copied into the outbox.
    Encoded(&'a [u8]),
    /// The term in pieces. Pieces of [`CHUNK_BYTES_MIN`] and more are never copied.
    Chunks(SmallVec<[Bytes; 1]>),
}

/// Payload pieces from this size on travel by reference.
pub const CHUNK_BYTES_MIN: usize = 8 << 10;

/// What has gone through a link since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Bytes received, as told to [`Link::note_received`].
    pub received_bytes: u64,
    /// Bytes the socket took.
    pub written_bytes: u64,
    /// Signals received.
    pub received_signals: u64,
    /// Signals accepted for sending.
    pub sent_signals: u64,
    /// Ticks sent.
    pub sent_ticks: u64,
}

/// One connection. See the [module](self).
#[derive(Debug)]
pub struct Link {
    local: Atom,
    peer: Atom,
    flags: Flags,
    reader: FrameReader,
    inbound: Inbound,
    outbound: Outbound,
    ticker: Ticker,
    counters: LinkCounters,
}

impl Link {
    /// A link at the moment when its handshake is complete.
    #[must_use]
    pub fn new(config: LinkConfig, now: Instant) -> Link {
        let LinkConfig { flags, local, peer, limits, tick, tick_phase } = config;
        let shape = Shape::of(flags);
        Link {
            local,
            peer,
            flags,
            reader: FrameReader::new(limits.frame_bytes_max),
            inbound: Inbound::new(shape, flags.fragments(), limits.fragments, limits.term),
            outbound: Outbound::new(flags, &limits),
            ticker: Ticker::new(tick, !flags.published(), now, tick_phase),
            counters: LinkCounters::default(),
        }
    }

    /// The name of the connected node.
    #[must_use]
    pub const fn peer(&self) -> &Atom {
        &self.peer
    }

    /// The negotiated flags.
    #[must_use]
    pub const fn flags(&self) -> Flags {
        self.flags
    }

    /// What cuts the frames of this link from the received bytes.
    #[must_use]
    pub const fn frame_reader(&self) -> FrameReader {
        self.reader
    }

    /// Counts bytes that came from the socket, whole frames or not: they are the peer's life.
    #[inline]
    pub fn note_received(&mut self, bytes: usize) {
        self.counters.received_bytes += bytes as u64;
    }

    /// Takes the body of one frame (without its length word). Gives a signal, or nothing for a
    /// tick and for all fragments of a message but the last.
    ///
    /// # Errors
    /// The connection has to end; [`LinkError::nodedown_reason`] is what to tell.
    #[inline]
    pub fn receive(&mut self, frame: Slice) -> Result<Option<Signal>, LinkError> {
        if frame.is_empty() {
            return Ok(None);
        }
        let names = Names { local: &self.local, peer: &self.peer };
        let signal = self.inbound.receive(frame, names);
        self.counters.received_signals += u64::from(matches!(signal, Ok(Some(_))));
        signal
    }

    /// Looks whether a frame is a plain message between processes of the two nodes, and if so
    /// takes it. For anything else, and for what is wrong, there is no answer and nothing has
    /// changed: [`Link::receive`] is to be called with the frame.
    ///
    /// It does what `receive` does for such a message, the validation of the payload included, but
    /// what it gives is small and owns nothing, while a [`Signal`] is large to build and to move.
    #[inline]
    pub fn receive_plain(&mut self, frame: &[u8]) -> Option<PlainMessage> {
        let names = Names { local: &self.local, peer: &self.peer };
        let message = self.inbound.receive_plain(frame, names)?;
        self.counters.received_signals += 1;
        Some(message)
    }

    /// Sends a signal, encoding its payload straight into the outbox: `encode` appends one term
    /// without version byte. For signals with a payload.
    ///
    /// The order is kept among signals of the same [`Control::sender`].
    ///
    /// # Errors
    /// Nothing is queued then. After [`SendError::Busy`] wait for room.
    #[inline]
    pub fn send_with(
        &mut self,
        control: &Control,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), SendError> {
        let sender = control.sender().map_or(SenderKey::NODE, SenderKey::of);
        let encode = |out: &mut Vec<u8>| {
            encode(out);
            Ok(())
        };
        self.try_send_with(sender, control, encode)
    }

    /// As [`Link::send_with`], with an encoder that can fail and a sender that the control message
    /// may not name: an answer about a registered name, for instance, is its process' signal.
    ///
    /// # Errors
    /// Nothing is queued then.
    #[inline]
    pub fn try_send_with<E>(
        &mut self,
        sender: SenderKey,
        control: &Control,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), SendError<E>> {
        self.outbound.send_with(sender, control, encode)?;
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// Sends a signal with a payload that is encoded already, or without one.
    ///
    /// # Errors
    /// Nothing is queued then.
    pub fn send(
        &mut self,
        control: &Control,
        payload: Option<Outgoing<'_>>,
    ) -> Result<(), SendError> {
        let sender = control.sender().map_or(SenderKey::NODE, SenderKey::of);
        self.send_from(sender, control, payload)
    }

    /// As [`Link::send`], for a sender that the control message may not name.
    ///
    /// # Errors
    /// Nothing is queued then.
    pub fn send_from(
        &mut self,
        sender: SenderKey,
        control: &Control,
        payload: Option<Outgoing<'_>>,
    ) -> Result<(), SendError> {
        match payload {
            None => self.outbound.send_with(sender, control, |_| Ok(()))?,
            Some(Outgoing::Encoded(bytes)) => self.outbound.send_with(sender, control, |out| {
                out.extend_from_slice(bytes);
                Ok(())
            })?,
            Some(Outgoing::Chunks(chunks)) => {
                self.outbound.send_chunks(sender, control, chunks)?;
            }
        }
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// Whether a message would be refused now, and why.
    ///
    /// # Errors
    /// [`Busy`], as a send would say it.
    pub fn check_room(&mut self) -> Result<(), Busy> {
        self.outbound.check_room()
    }

    /// How many bytes may wait.
    #[must_use]
    pub fn water_marks(&self) -> WaterMarks {
        self.outbound.water_marks()
    }

    /// Changes how many bytes may wait. What waits already stays.
    pub fn set_water_marks(&mut self, marks: WaterMarks) {
        self.outbound.set_water_marks(marks);
    }

    /// Bytes of each fragment of a large message.
    #[must_use]
    pub fn fragment_bytes(&self) -> u32 {
        self.outbound.fragment_bytes()
    }

    /// Changes it for large messages that are sent from now on; brought into the range from
    /// [`FRAGMENT_BYTES_MIN`] to 64 KiB.
    pub fn set_fragment_bytes(&mut self, bytes: u32) {
        self.outbound.set_fragment_bytes(bytes);
    }

    /// Whether the outbox is at or below its low water mark, leaving large messages out.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.outbound.has_room()
    }

    /// Whether the large messages that wait, and those behind them, are at or below their low water
    /// mark.
    #[must_use]
    pub fn has_bulk_room(&self) -> bool {
        self.outbound.has_bulk_room()
    }

    /// True once after a signal was refused and the low water mark has been reached: the moment to
    /// wake those who wait.
    pub fn take_room_event(&mut self) -> bool {
        self.outbound.take_room_event()
    }

    /// Bytes that wait to be written: encoded frames and large messages not yet encoded.
    #[inline]
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.outbound.queued_bytes()
    }

    /// Whether there is anything to write.
    #[inline]
    #[must_use]
    pub fn is_write_pending(&self) -> bool {
        self.outbound.queued_bytes() != 0
    }

    /// Adds what is to be written next to `slices`: at most [`IO_SLICES_MAX`] slices of together at
    /// most `write_bytes_max` bytes. Large messages get their turns here.
    pub fn io_slices<'a>(&'a mut self, slices: &mut IoSlices<'a>) {
        self.outbound.io_slices(slices);
    }

    /// The socket took the first `bytes` of what [`Link::io_slices`] gave.
    ///
    /// # Panics
    /// When it is more than was given.
    pub fn written(&mut self, bytes: usize) {
        self.outbound.written(bytes);
        self.counters.written_bytes += bytes as u64;
    }

    /// When [`Link::tick`] has something to do next.
    #[must_use]
    pub const fn tick_due(&self) -> Instant {
        self.ticker.due()
    }

    /// Looks at the connection's life. After [`TickAction::Send`] a tick is in the outbox; after
    /// [`TickAction::Dead`] the link has to end with [`LinkError::TickTimeout`].
    pub fn tick(&mut self, now: Instant) -> TickAction {
        let pending = self.is_write_pending();
        let LinkCounters { received_bytes, written_bytes, .. } = self.counters;
        let action = self.ticker.look(now, received_bytes, written_bytes, pending);
        if action == TickAction::Send {
            if !pending {
                self.inbound.trim();
                self.outbound.trim();
            }
            self.queue_tick();
        }
        action
    }

    /// The extra tick during a change of the tick time.
    pub fn auxiliary_tick(&mut self) -> TickAction {
        let action = self.ticker.look_auxiliary(self.is_write_pending());
        if action == TickAction::Send {
            self.queue_tick();
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
        self.ticker.reconfigure(config, now);
    }

    /// What has gone through the link.
    #[must_use]
    pub const fn counters(&self) -> LinkCounters {
        self.counters
    }

    /// How many received messages are incomplete, and how many bytes of them are there.
    #[must_use]
    pub fn unfinished_messages(&self) -> (usize, usize) {
        self.inbound.unfinished()
    }

    fn queue_tick(&mut self) {
        self.counters.sent_ticks += 1;
        self.outbound.queue_raw(&TICK);
    }
}
