//! The sending half of a lane: signals become frames, in an order that is fair and never wrong.

use std::io::IoSlice;

use bytes::Bytes;

use super::ProcessNumber;
use super::frame::{
    CHECKSUM_BYTES, FRAME_PAYLOAD_MAX, HEADER_BYTES, Header, Layout, checksum, kind,
};
use super::large::Item;
use super::limits::LaneLimits;
use super::log::Log;
use super::unnumbered::Unnumbered;
use crate::link::bulk::{Bulk, Chunks};
use crate::link::{
    Busy, CHUNK_BYTES_MIN, FRAGMENT_BYTES_MIN, IO_SLICES_MAX, IoSlices, SendError, SenderKey,
    WaterMarks,
};

/// The longest name or control message: its length has 16 bits.
const HEAD_BYTES_MAX: usize = u16::MAX as usize;

/// What a lane has to write, and what it has to keep until the peer acknowledges it.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) layout: Layout,
    pub(super) log: Log,
    pub(super) bulk: Bulk<Item>,
    unnumbered: Unnumbered,
    /// Messages are accepted while the log ends before this position; other signals up to
    /// `signal_room_end`. Both follow from the limits and change with what they are made of.
    room_end: u64,
    signal_room_end: u64,
    attached: bool,
    pub(super) written_since_turn: u64,
    /// Whether somebody was told to wait for room.
    refused: bool,
    bytes_max: usize,
    bytes_low: usize,
    reserve_bytes: usize,
    replay_bytes_max: usize,
    pub(super) whole_bytes_max: usize,
    pub(super) write_bytes_max: u32,
    /// Bytes of each frame of the large signals that are in parts.
    pub(super) fragment_bytes: u32,
    pub(super) message_bytes_max: usize,
}

/// What a frame says besides its lengths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) from: ProcessNumber,
    pub(super) to: ProcessNumber,
    /// Whether it is a message: the other signals have a reserve.
    pub(super) is_message: bool,
}

impl Kind {
    #[inline]
    pub(super) fn header(self, head: u16, length: u32) -> Header {
        let Kind { kind, flags, from, to, .. } = self;
        Header { kind, flags, head, length, from, to }
    }

    /// Signals with the same key keep their order.
    #[inline]
    pub(super) fn key(self) -> SenderKey {
        SenderKey::of_numbers(self.from.id, self.from.serial)
    }
}

impl Outbox {
    pub(super) fn new(layout: Layout, limits: &LaneLimits) -> Outbox {
        let mut outbox = Outbox {
            layout,
            log: Log::default(),
            bulk: Bulk::default(),
            unnumbered: Unnumbered::default(),
            room_end: 0,
            signal_room_end: 0,
            attached: true,
            written_since_turn: 0,
            refused: false,
            bytes_max: limits.outbox_bytes_max,
            bytes_low: limits.outbox_bytes_low.min(limits.outbox_bytes_max),
            reserve_bytes: limits.outbox_reserve_bytes,
            replay_bytes_max: limits.replay_bytes_max.max(1),
            whole_bytes_max: limits.whole_bytes_max,
            write_bytes_max: u32::try_from(limits.write_bytes_max.max(1)).unwrap_or(u32::MAX),
            fragment_bytes: FRAME_PAYLOAD_MAX as u32,
            message_bytes_max: limits.fragments.sequence_bytes_max,
        };
        outbox.set_room();
        outbox
    }

    pub(super) const fn layout(&self) -> Layout {
        self.layout
    }

    /// Bytes that could be written now.
    #[inline]
    pub(super) fn queued_bytes(&self) -> usize {
        if !self.attached {
            return 0;
        }
        let bulk = if self.may_encode() { self.bulk.bytes() } else { 0 };
        self.log.unwritten() + self.unnumbered.bytes() + bulk
    }

    /// Bytes of signals that wait to be written, whether or not they could be now.
    #[inline]
    pub(super) fn waiting_bytes(&self) -> usize {
        self.log.unwritten() + self.bulk.bytes()
    }

    /// Bytes that are kept because the peer has not acknowledged them.
    pub(super) fn retained_bytes(&self) -> usize {
        self.log.retained()
    }

    /// Whether messages that wait for no turn are at or below their low water marks.
    pub(super) fn has_room(&self) -> bool {
        self.log.unwritten() <= self.bytes_low
            && self.log.retained() <= self.replay_bytes_max - self.small_replay_bytes() / 2
    }

    /// Whether large messages are at or below their low water mark.
    pub(super) fn has_bulk_room(&self) -> bool {
        self.bulk.message_bytes() <= self.bytes_low
    }

    pub(super) fn water_marks(&self) -> WaterMarks {
        WaterMarks { high: self.bytes_max, low: self.bytes_low }
    }

    pub(super) fn set_water_marks(&mut self, marks: WaterMarks) {
        self.bytes_max = marks.high.max(1);
        self.bytes_low = marks.low.min(marks.high);
        self.set_room();
    }

    pub(super) fn set_fragment_bytes(&mut self, bytes: u32) {
        self.fragment_bytes = bytes.clamp(FRAGMENT_BYTES_MIN, FRAME_PAYLOAD_MAX as u32);
    }

    pub(super) fn take_room_event(&mut self) -> bool {
        let event = self.refused && self.has_room() && self.has_bulk_room();
        if event {
            self.refused = false;
        }
        event
    }

    /// Whether a message would be accepted.
    #[inline]
    pub(super) fn check_room(&mut self) -> Result<(), Busy> {
        if self.log.end() < self.room_end { Ok(()) } else { Err(self.refuse(0, 0)) }
    }

    /// Whether a message that has to wait for a turn would be accepted. One always is when no
    /// other waits, however large.
    pub(super) fn check_bulk_room(&mut self) -> Result<(), Busy> {
        let queued = self.bulk.message_bytes();
        if queued < self.bytes_max.max(1) {
            return Ok(());
        }
        self.refused = true;
        Err(Busy { queued, limit: self.bytes_max })
    }

    /// Whether a signal that is no message would be accepted.
    pub(super) fn check_signal_room(&mut self) -> Result<(), Busy> {
        if self.log.end() < self.signal_room_end {
            return Ok(());
        }
        Err(self.refuse(self.reserve_bytes, self.bulk.signal_bytes()))
    }

    /// Sends a message whose payload is copied from `payload`.
    #[inline]
    pub(super) fn send_bytes(
        &mut self,
        flags: u8,
        from: ProcessNumber,
        to: ProcessNumber,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let kind = || Kind { kind: kind::MESSAGE, flags, from, to, is_message: true };
        if payload.len() > self.whole_bytes_max || !self.bulk.is_empty() || self.layout.checksum {
            return self.send_bytes_other(kind(), payload);
        }
        let header = kind().header(0, payload.len() as u32);
        let tail = self.log.tail();
        tail.extend_from_slice(&header.encode());
        tail.extend_from_slice(payload);
        self.log.commit();
        Ok(())
    }

    /// As [`Outbox::send_bytes`], for what is not usual.
    #[inline(never)]
    fn send_bytes_other(&mut self, kind: Kind, payload: &[u8]) -> Result<(), SendError> {
        if payload.len() > self.whole_bytes_max || self.bulk.holds(kind.key()) {
            self.check_bulk_room()?;
            let payload = Bytes::copy_from_slice(payload);
            return self.send_chunks(kind, &[], Chunks::from_buf([payload]));
        }
        self.put_frame(kind.header(0, payload.len() as u32), payload, Chunks::new());
        Ok(())
    }

    /// Sends a signal with a head, whose payload `encode` appends.
    #[inline]
    pub(super) fn send_with<E>(
        &mut self,
        kind: Kind,
        write_head: impl FnOnce(&mut Vec<u8>) -> Result<(), SendError<E>>,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), SendError<E>> {
        if self.bulk.holds(kind.key()) {
            return self.defer_with(kind, write_head, encode);
        }
        let header_bytes = self.layout.header_bytes();
        let tail = self.log.tail();
        let at = tail.len();
        tail.extend_from_slice(&kind.header(0, 0).encode());
        if header_bytes > HEADER_BYTES {
            tail.extend_from_slice(&[0; CHECKSUM_BYTES]);
        }
        let payload_at = at + header_bytes;
        write_head(tail)?;
        let head = head_length(tail.len() - payload_at)?;
        encode(tail).map_err(SendError::Encode)?;
        assert!(tail.len() >= payload_at, "an encoder appends and does nothing else");
        let length = tail.len() - payload_at;
        if length > self.whole_bytes_max {
            return self.finish_large(kind, head, header_bytes);
        }
        let lengths = kind.header(head, length as u32).lead();
        tail[at..at + lengths.len()].copy_from_slice(&lengths);
        if header_bytes > HEADER_BYTES {
            add_checksum(&mut tail[at..]);
        }
        self.log.commit();
        Ok(())
    }

    /// Sends a signal whose payload is encoded already, large pieces by reference.
    pub(super) fn send_chunks<E>(
        &mut self,
        kind: Kind,
        head: &[u8],
        chunks: Chunks,
    ) -> Result<(), SendError<E>> {
        let head_length = head_length(head.len())?;
        let length = head.len() + chunks.iter().map(Bytes::len).sum::<usize>();
        if length > self.whole_bytes_max || self.bulk.holds(kind.key()) {
            let head = (!head.is_empty()).then(|| Bytes::copy_from_slice(head));
            return self.defer(kind, head_length, head.into_iter().chain(chunks).collect());
        }
        let header = kind.header(head_length, length as u32);
        self.put_frame(header, head, chunks);
        Ok(())
    }

    /// Queues a frame with a short payload or none, in front of all that waits for a turn.
    pub(super) fn put_short(&mut self, kind: Kind, payload: &[u8]) {
        self.put_frame(kind.header(0, payload.len() as u32), payload, Chunks::new());
    }

    /// Queues the end of the session, in front of all that waits for a turn.
    pub(super) fn put_bye(&mut self, reason: &[u8]) {
        let header = Header { length: reason.len() as u32, ..Header::bare(kind::BYE) };
        self.put_frame(header, reason, Chunks::new());
    }

    /// Queues an acknowledgement of everything before `position`. One that waits already states
    /// the new position instead.
    pub(super) fn put_ack(&mut self, position: u64) {
        self.unnumbered.put(self.layout, self.log.end(), &Header::ack(position));
    }

    pub(super) fn put_tick(&mut self) {
        self.unnumbered.put(self.layout, self.log.end(), &Header::bare(kind::TICK));
    }

    /// The peer has everything before `position`.
    pub(super) fn acknowledge(&mut self, position: u64) -> Result<(), (u64, u64)> {
        let (from, to) = (self.log.acked(), self.log.position_written());
        if position < from || position > to {
            return Err((from, to));
        }
        self.log.acknowledge(position);
        self.set_room();
        Ok(())
    }

    pub(super) fn io_slices<'a>(&'a mut self, slices: &mut IoSlices<'a>) {
        if !self.attached {
            return;
        }
        self.give_turns();
        let mut room = self.write_bytes_max as usize;
        if self.unnumbered.is_empty()
            && let Some(bytes) = self.log.unwritten_slice()
        {
            if !bytes.is_empty() {
                slices.push(IoSlice::new(&bytes[..bytes.len().min(room)]));
            }
            return;
        }
        // False once there is no room for more.
        let mut offer = |bytes: &'a [u8]| {
            let bytes = &bytes[..bytes.len().min(room)];
            if !bytes.is_empty() {
                room -= bytes.len();
                slices.push(IoSlice::new(bytes));
            }
            room > 0 && slices.len() < IO_SLICES_MAX
        };
        let mut position = self.log.position_written();
        for (at, frame) in self.unnumbered.frames() {
            if !self.log.read(position, at).all(&mut offer) || !offer(frame) {
                return;
            }
            position = at;
        }
        let _ = self.log.read(position, self.log.end()).all(&mut offer);
    }

    pub(super) fn written(&mut self, bytes: usize) {
        let mut rest = bytes;
        if self.unnumbered.is_empty() {
            self.log.advance(rest);
            rest = 0;
        }
        while rest > 0 {
            let position = self.log.position_written();
            let upto = self.unnumbered.next_at().unwrap_or(u64::MAX);
            if upto == position {
                rest -= self.unnumbered.written(rest);
            } else {
                let step = usize::try_from(upto - position).unwrap_or(usize::MAX).min(rest);
                self.log.advance(step);
                rest -= step;
            }
        }
        self.written_since_turn += bytes as u64;
        self.set_room();
    }

    /// There is no connection. What is not numbered is forgotten.
    pub(super) fn detach(&mut self) {
        self.attached = false;
        self.unnumbered.clear();
    }

    /// There is a connection again, and the peer has everything before `position`. Gives the number
    /// of bytes that are written again.
    pub(super) fn attach(&mut self, position: u64) -> Result<u64, (u64, u64)> {
        let (from, to) = (self.log.acked(), self.log.written_max());
        if position < from || position > to {
            return Err((from, to));
        }
        let sent = self.log.position_written();
        self.log.go_on_from(position);
        self.log.acknowledge(position);
        self.attached = true;
        self.set_room();
        Ok(sent.saturating_sub(position))
    }

    /// Gives up memory that is kept for reuse.
    pub(super) fn trim(&mut self) {
        self.log.trim();
        self.bulk.trim();
    }

    /// Whether large signals may send fragments. They leave room for what needs no turn.
    #[inline]
    pub(super) fn may_encode(&self) -> bool {
        self.log.retained() < self.replay_bytes_max - self.small_replay_bytes()
    }

    /// The part of what may be kept unacknowledged that large signals must not use.
    #[inline]
    fn small_replay_bytes(&self) -> usize {
        self.bytes_max.min(self.replay_bytes_max / 8)
    }

    /// Large messages do not count here: they have a budget of their own, so that nobody waits for
    /// another's megabytes. Memory is bounded by both budgets and one message.
    pub(super) fn set_room(&mut self) {
        let (written, acked) = (self.log.position_written(), self.log.acked());
        let room = |reserve: usize, deferred: usize| {
            let unwritten = self.bytes_max.saturating_add(reserve).saturating_sub(deferred);
            let retained = self.replay_bytes_max.saturating_add(reserve);
            let unwritten = written.saturating_add(unwritten as u64);
            unwritten.min(acked.saturating_add(retained as u64))
        };
        self.room_end = room(0, 0);
        self.signal_room_end = room(self.reserve_bytes, self.bulk.signal_bytes());
    }

    #[cold]
    fn refuse(&mut self, reserve: usize, deferred: usize) -> Busy {
        self.refused = true;
        let queued = self.log.unwritten() + deferred;
        let limit = self.bytes_max.saturating_add(reserve);
        if queued >= limit {
            return Busy { queued, limit };
        }
        let limit = self.replay_bytes_max.saturating_add(reserve);
        Busy { queued: self.log.retained(), limit }
    }

    pub(super) fn put_frame(&mut self, header: Header, head: &[u8], chunks: Chunks) {
        let header = header.encode();
        let tail = self.log.tail();
        tail.extend_from_slice(&header);
        if self.layout.checksum {
            let payload = std::iter::once(head).chain(chunks.iter().map(|chunk| &chunk[..]));
            tail.extend_from_slice(&checksum(&header, payload));
        }
        tail.extend_from_slice(head);
        self.log.commit();
        for chunk in chunks {
            if chunk.len() >= CHUNK_BYTES_MIN {
                self.log.push_chunk(chunk);
            } else {
                self.log.tail().extend_from_slice(&chunk);
                self.log.commit();
            }
        }
    }
}

/// Writes the checksum into a frame that is complete but for it.
#[inline(never)]
fn add_checksum(frame: &mut [u8]) {
    let Some((header, rest)) = frame.split_first_chunk_mut::<HEADER_BYTES>() else { return };
    let Some((sum, payload)) = rest.split_first_chunk_mut::<CHECKSUM_BYTES>() else { return };
    *sum = checksum(header, [&*payload]);
}

#[inline]
pub(super) fn head_length<E>(bytes: usize) -> Result<u16, SendError<E>> {
    u16::try_from(bytes).map_err(|_| SendError::TooLarge { bytes, limit: HEAD_BYTES_MAX })
}
