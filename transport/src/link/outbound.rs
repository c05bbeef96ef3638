//! The sending half of a link: signals become frames, in an order that is fair and never wrong.
//!
//! A frame is encoded at the moment it enters the wire queue. So the order of encoding is the
//! order on the wire, which the atom cache needs.

use std::collections::VecDeque;
use std::convert::Infallible;

use bytes::Bytes;

use super::bulk::{Bulk, Chunks, Fragments, Item, SenderKey};
use super::wire_queue::{IoSlices, WireQueue};
use super::{Busy, CHUNK_BYTES_MIN, FRAGMENT_BYTES_MIN, LinkLimits, SendError, WaterMarks};
use crate::dist::atom_cache::SendCache;
use crate::dist::control::{Control, ControlWriter, Destination, NotNegotiated, PayloadPlace, op};
use crate::dist::fragment::{FragmentIds, SequenceId, fragment_count_of};
use crate::dist::frame::{
    FRAGMENT_BYTES, FRAME_BYTES_HARD_MAX, LENGTH_BYTES, NORMAL_HEADER, PASS_THROUGH, Shape, VERSION,
};
use crate::dist::header::write_header;
use crate::handshake::Flags;
use crate::term::{Atom, Pid, tag};

/// Large messages get turns until so many encoded bytes wait. More would only make small messages
/// wait longer, less would leave the socket without work.
const ENCODED_AHEAD_BYTES: usize = 256 << 10;

/// A flood of small messages must not starve the large ones: after so many written bytes they get
/// a turn in any case.
const BULK_TURN_EVERY_BYTES: u64 = 128 << 10;

#[derive(Debug)]
pub(super) struct Outbound {
    flags: Flags,
    shape: Shape,
    cache: SendCache,
    /// The control message while its header is not known.
    scratch: Vec<u8>,
    queue: WireQueue,
    bulk: Bulk<Item>,
    /// How the frame of a plain message between the two nodes begins, once it is known.
    plain_send: Option<PlainSendFrame>,
    next_sequence: u64,
    written_since_turn: u64,
    /// Whether somebody was told to wait for room.
    refused: bool,
    bytes_max: usize,
    bytes_low: usize,
    reserve_bytes: usize,
    write_bytes_max: u32,
    /// Bytes of each fragment of the large messages that begin from now on.
    fragment_bytes: u32,
}

/// A frame being encoded: where it and its payload begin in the tail of the wire queue.
struct FrameStart {
    at: usize,
    payload_at: usize,
    place: PayloadPlace,
}

/// What all frames with `{22, From, To}` between processes of the same two nodes have in common,
/// once the peer's cache holds both names: all but three numbers of each pid.
#[derive(Debug)]
struct PlainSendFrame {
    from: Atom,
    to: Atom,
    /// Flags and slots of the header.
    header: [u8; 4],
    /// [`SendCache::changes`] when the slots were looked up.
    changes: u64,
}

impl PlainSendFrame {
    /// Remembers what the message in `cache` looks like, if it is of that kind.
    fn learn(control: &Control, negotiated: Flags, cache: &SendCache) -> Option<PlainSendFrame> {
        let (from, to) = plain_send(control)?;
        let mut mentions = cache.message().map(|(mention, _)| mention);
        let (first, second) = (mentions.next()?, mentions.next()?);
        if first.new || second.new || mentions.next().is_some() || !negotiated.send_sender() {
            return None;
        }
        Some(PlainSendFrame {
            from: from.node.clone(),
            to: to.node.clone(),
            header: [
                first.slot.segment() | second.slot.segment() << 4,
                0,
                first.slot.index(),
                second.slot.index(),
            ],
            changes: cache.changes(),
        })
    }

    /// The frame of `control` up to its payload, if it is of that kind.
    #[inline]
    fn beginning(&self, control: &Control, cache: &SendCache) -> Option<[u8; 45]> {
        let (from, to) = plain_send(control)?;
        if self.changes != cache.changes() || from.node != self.from || to.node != self.to {
            return None;
        }
        let mut bytes = [0; 45];
        bytes[4..7].copy_from_slice(&[VERSION, NORMAL_HEADER, 2]);
        bytes[7..11].copy_from_slice(&self.header);
        bytes[11..15].copy_from_slice(&[tag::SMALL_TUPLE, 3, tag::SMALL_INTEGER, op::SEND_SENDER]);
        for (at, pid) in [(15, from), (30, to)] {
            let entry = u8::from(at == 30);
            bytes[at..at + 3].copy_from_slice(&[tag::NEW_PID, tag::ATOM_CACHE_REF, entry]);
            bytes[at + 3..at + 7].copy_from_slice(&pid.id.to_be_bytes());
            bytes[at + 7..at + 11].copy_from_slice(&pid.serial.to_be_bytes());
            bytes[at + 11..at + 15].copy_from_slice(&pid.creation.0.to_be_bytes());
        }
        Some(bytes)
    }
}

/// The two processes of a plain message.
#[inline]
fn plain_send(control: &Control) -> Option<(&Pid, &Pid)> {
    match control {
        Control::Send {
            from: Some(from),
            to: Destination::Process(to),
            priority: false,
            token: None,
        } => Some((from, to)),
        _ => None,
    }
}

impl Outbound {
    pub(super) fn new(flags: Flags, limits: &LinkLimits) -> Outbound {
        Outbound {
            flags,
            shape: Shape::of(flags),
            cache: SendCache::new(),
            scratch: Vec::new(),
            queue: WireQueue::default(),
            bulk: Bulk::default(),
            plain_send: None,
            next_sequence: 1,
            written_since_turn: 0,
            refused: false,
            bytes_max: limits.outbox_bytes_max,
            bytes_low: limits.outbox_bytes_low.min(limits.outbox_bytes_max),
            reserve_bytes: limits.outbox_reserve_bytes,
            write_bytes_max: u32::try_from(limits.write_bytes_max.max(1)).unwrap_or(u32::MAX),
            fragment_bytes: FRAGMENT_BYTES as u32,
        }
    }

    #[inline]
    pub(super) fn queued_bytes(&self) -> usize {
        self.queue.bytes() + self.bulk.bytes()
    }

    /// Whether what is encoded is at or below the low water mark.
    pub(super) fn has_room(&self) -> bool {
        self.queue.bytes() <= self.bytes_low
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
    }

    pub(super) fn fragment_bytes(&self) -> u32 {
        self.fragment_bytes
    }

    pub(super) fn set_fragment_bytes(&mut self, bytes: u32) {
        self.fragment_bytes = bytes.clamp(FRAGMENT_BYTES_MIN, FRAGMENT_BYTES as u32);
    }

    pub(super) fn take_room_event(&mut self) -> bool {
        let event = self.refused && self.has_room() && self.has_bulk_room();
        if event {
            self.refused = false;
        }
        event
    }

    pub(super) fn check_room(&mut self) -> Result<(), Busy> {
        self.admit(self.bytes_max)
    }

    /// Large messages do not count here: they have a budget of their own, so that nobody waits for
    /// another's megabytes. Memory is bounded by both budgets and one message.
    #[inline]
    fn admit(&mut self, limit: usize) -> Result<(), Busy> {
        let queued = self.queue.bytes() + self.bulk.signal_bytes();
        if queued < limit {
            return Ok(());
        }
        self.refused = true;
        Err(Busy { queued, limit })
    }

    #[inline]
    fn admit_signal(&mut self, control: &Control) -> Result<(), Busy> {
        let reserve = if control.is_message() { 0 } else { self.reserve_bytes };
        self.admit(self.bytes_max.saturating_add(reserve))
    }

    /// Admits what has to wait for a turn. A message always is when no other waits, however large.
    fn admit_bulk(&mut self, control: &Control) -> Result<(), Busy> {
        let queued = self.bulk.message_bytes();
        if !control.is_message() || queued < self.bytes_max.max(1) {
            return Ok(());
        }
        self.refused = true;
        Err(Busy { queued, limit: self.bytes_max })
    }

    #[inline]
    pub(super) fn send_with<E>(
        &mut self,
        sender: SenderKey,
        control: &Control,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), SendError<E>> {
        self.admit_signal(control)?;
        if self.bulk.holds(sender) {
            self.admit_bulk(control)?;
            let mut payload = Vec::new();
            encode(&mut payload).map_err(SendError::Encode)?;
            return self.defer(sender, control, Chunks::from_iter([Bytes::from(payload)]));
        }
        let frame = self.begin_frame(control)?;
        let tail = self.queue.tail_unchanged();
        if let Err(error) = encode(tail) {
            tail.truncate(frame.at);
            return Err(SendError::Encode(error));
        }
        let payload_bytes = tail.len() - frame.payload_at;
        if payload_bytes > FRAGMENT_BYTES {
            return self.finish_large(sender, control, &frame, payload_bytes);
        }
        self.finish_frame(frame.at, 0)
    }

    pub(super) fn send_chunks(
        &mut self,
        sender: SenderKey,
        control: &Control,
        chunks: Chunks,
    ) -> Result<(), SendError> {
        self.admit_signal(control)?;
        if self.bulk.holds(sender) {
            self.admit_bulk(control)?;
            return self.defer(sender, control, chunks);
        }
        let payload_bytes = chunks.iter().map(Bytes::len).sum::<usize>();
        if payload_bytes > FRAGMENT_BYTES && self.flags.fragments() {
            // Old forms with the payload inside the control message cannot be cut.
            if self.place(control)? == PayloadPlace::Behind {
                self.admit_bulk(control)?;
                self.queue_fragments(sender, control, VecDeque::from_iter(chunks), payload_bytes);
                return Ok(());
            }
        }
        self.frame_of_chunks(control, chunks, payload_bytes)
    }

    /// Bytes that are no frame of the peer's to answer: ticks.
    pub(super) fn queue_raw(&mut self, bytes: &[u8]) {
        let tail = self.queue.tail();
        let at = tail.len();
        tail.extend_from_slice(bytes);
        self.queue.commit(at);
    }

    pub(super) fn io_slices<'a>(&'a mut self, slices: &mut IoSlices<'a>) {
        self.give_turns();
        self.queue.io_slices(slices, self.write_bytes_max as usize);
    }

    pub(super) fn written(&mut self, bytes: usize) {
        self.queue.written(bytes);
        self.written_since_turn += bytes as u64;
    }

    pub(super) fn trim(&mut self) {
        self.queue.trim();
        self.bulk.trim();
        self.scratch = Vec::new();
    }

    /// Writes everything of a frame that stands in front of the payload.
    #[inline]
    fn begin_frame(&mut self, control: &Control) -> Result<FrameStart, NotNegotiated> {
        let tail = self.queue.tail();
        let at = tail.len();
        let place = match self.shape {
            Shape::PlainHeader => {
                tail.extend_from_slice(&[0, 0, 0, 0, VERSION, NORMAL_HEADER, 0]);
                control.encode(self.flags, &mut ControlWriter::new(tail, None))
            }
            Shape::CachedHeader => {
                self.cache.begin();
                if let Some(frame) = &self.plain_send
                    && let Some(beginning) = frame.beginning(control, &self.cache)
                {
                    tail.extend_from_slice(&beginning);
                    Ok(PayloadPlace::Behind)
                } else {
                    self.scratch.clear();
                    let mut writer = ControlWriter::new(&mut self.scratch, Some(&mut self.cache));
                    let place = control.encode(self.flags, &mut writer);
                    tail.extend_from_slice(&[0, 0, 0, 0, VERSION, NORMAL_HEADER]);
                    write_header(&self.cache, tail);
                    tail.extend_from_slice(&self.scratch);
                    let learnt = PlainSendFrame::learn(control, self.flags, &self.cache);
                    self.plain_send = learnt.or(self.plain_send.take());
                    place
                }
            }
            Shape::PassThrough => {
                tail.extend_from_slice(&[0, 0, 0, 0, PASS_THROUGH, VERSION]);
                let place = control.encode(self.flags, &mut ControlWriter::new(tail, None));
                if matches!(place, Ok(PayloadPlace::Behind)) {
                    tail.push(VERSION);
                }
                place
            }
        };
        match place {
            Ok(place) => Ok(FrameStart { at, payload_at: tail.len(), place }),
            Err(error) => {
                tail.truncate(at);
                Err(error)
            }
        }
    }

    /// Queues the frame that begins at `at` in the tail and is followed by `chunks_bytes` bytes of
    /// chunks.
    #[inline]
    fn finish_frame<E>(&mut self, at: usize, chunks_bytes: usize) -> Result<(), SendError<E>> {
        let tail = self.queue.tail_unchanged();
        let len = tail.len() - at - LENGTH_BYTES + chunks_bytes;
        let word = u32::try_from(len).ok().filter(|&len| len <= FRAME_BYTES_HARD_MAX);
        let Some(word) = word else {
            tail.truncate(at);
            let limit = FRAME_BYTES_HARD_MAX as usize;
            return Err(SendError::TooLarge { bytes: len, limit });
        };
        tail[at..at + LENGTH_BYTES].copy_from_slice(&word.to_be_bytes());
        self.queue.commit(at);
        if self.shape == Shape::CachedHeader {
            self.cache.commit();
        }
        Ok(())
    }

    /// The payload that was encoded into the tail is large: what follows the frame's beginning is
    /// taken out, and goes in fragments if it can.
    #[cold]
    fn finish_large<E>(
        &mut self,
        sender: SenderKey,
        control: &Control,
        frame: &FrameStart,
        payload_bytes: usize,
    ) -> Result<(), SendError<E>> {
        if frame.place != PayloadPlace::Behind || !self.flags.fragments() {
            return self.finish_frame(frame.at, 0);
        }
        let mut payload = Bytes::from(self.queue.take_tail(frame.at));
        // The frame's beginning is encoded again when its turn comes; the header may differ then.
        let payload = payload.split_off(frame.payload_at);
        self.admit_bulk(control)?;
        self.queue_fragments(sender, control, VecDeque::from([payload]), payload_bytes);
        Ok(())
    }

    /// Writes a signal in one frame, large pieces by reference.
    fn frame_of_chunks<E>(
        &mut self,
        control: &Control,
        chunks: Chunks,
        payload_bytes: usize,
    ) -> Result<(), SendError<E>> {
        let frame = self.begin_frame(control)?;
        // The length is known before the first chunk: it is patched while the frame's beginning
        // is still in the tail.
        self.finish_frame(frame.at, payload_bytes)?;
        for chunk in chunks {
            if chunk.len() >= CHUNK_BYTES_MIN {
                self.queue.push_chunk(chunk);
            } else {
                self.queue_raw(&chunk);
            }
        }
        Ok(())
    }

    /// Queues a signal behind the large message of its sender.
    #[cold]
    fn defer<E>(
        &mut self,
        sender: SenderKey,
        control: &Control,
        payload: Chunks,
    ) -> Result<(), SendError<E>> {
        let place = self.place(control)?;
        let bytes = payload.iter().map(Bytes::len).sum::<usize>();
        if bytes > FRAGMENT_BYTES && place == PayloadPlace::Behind {
            self.queue_fragments(sender, control, VecDeque::from_iter(payload), bytes);
        } else {
            let bytes = bytes + self.scratch.len();
            let control = control.clone();
            self.bulk.push(sender, Item::Whole { control, payload, bytes });
        }
        Ok(())
    }

    /// Where the payload of a signal will go, found out before it is queued. Leaves the control
    /// message in `scratch`.
    fn place(&mut self, control: &Control) -> Result<PayloadPlace, NotNegotiated> {
        self.scratch.clear();
        control.encode(self.flags, &mut ControlWriter::new(&mut self.scratch, None))
    }

    fn queue_fragments(
        &mut self,
        sender: SenderKey,
        control: &Control,
        payload: VecDeque<Bytes>,
        payload_bytes: usize,
    ) {
        // 0 would end an OTP peer, and no connection lives to see the counter come round.
        let sequence = SequenceId(self.next_sequence);
        self.next_sequence = self.next_sequence.checked_add(1).unwrap_or(1);
        let message = control.is_message();
        let control = Some(control.clone());
        let fragments = Fragments {
            control,
            sequence,
            next: 0,
            message,
            // Their number goes out with the first, so that they stay as they are.
            fragment_bytes: self.fragment_bytes,
            payload,
            payload_bytes,
        };
        self.bulk.push(sender, Item::Fragments(fragments));
    }

    /// Lets large messages send fragments, one sender after the other.
    fn give_turns(&mut self) {
        if self.bulk.is_empty() {
            return;
        }
        if self.written_since_turn >= BULK_TURN_EVERY_BYTES {
            self.give_turn();
        }
        while self.queue.bytes() < ENCODED_AHEAD_BYTES && !self.bulk.is_empty() {
            self.give_turn();
        }
    }

    /// One sender's turn: one fragment, or whole signals of together about as much.
    fn give_turn(&mut self) {
        let Some((sender, mut queue)) = self.bulk.begin_turn() else { return };
        self.written_since_turn = 0;
        let mut rest = self.fragment_bytes as usize;
        while let Some(item) = queue.pop_front() {
            let spent = match item {
                Item::Whole { control, payload, bytes } => {
                    self.bulk.took(bytes, control.is_message());
                    let payload_bytes = payload.iter().map(Bytes::len).sum();
                    let queued =
                        self.frame_of_chunks::<Infallible>(&control, payload, payload_bytes);
                    // Checked when it was deferred: it is in the negotiated set, and short.
                    debug_assert!(queued.is_ok(), "{queued:?}");
                    bytes
                }
                Item::Fragments(mut fragments) => {
                    let before = fragments.payload_bytes;
                    self.write_fragment(&mut fragments);
                    self.bulk.took(before - fragments.payload_bytes, fragments.message);
                    if fragments.next > 0 {
                        queue.push_front(Item::Fragments(fragments));
                    }
                    rest
                }
            };
            rest = rest.saturating_sub(spent);
            if rest == 0 {
                break;
            }
        }
        self.bulk.end_turn(sender, queue);
    }

    /// Writes the next fragment of a message; after the last one `next` is 0.
    fn write_fragment(&mut self, fragments: &mut Fragments) {
        let size = fragments.fragment_bytes as usize;
        let (at, part) = match fragments.control.take() {
            Some(control) => {
                self.scratch.clear();
                self.cache.begin();
                let cached = self.shape == Shape::CachedHeader;
                let cache = cached.then_some(&mut self.cache);
                let mut writer = ControlWriter::new(&mut self.scratch, cache);
                let place = control.encode(self.flags, &mut writer);
                debug_assert_eq!(place, Ok(PayloadPlace::Behind));
                fragments.next =
                    fragment_count_of(size, self.scratch.len(), fragments.payload_bytes);
                let ids = FragmentIds { sequence: fragments.sequence, fragment: fragments.next };
                let tail = self.queue.tail();
                let at = tail.len();
                tail.extend_from_slice(&[0; LENGTH_BYTES]);
                ids.write(true, tail);
                write_header(&self.cache, tail);
                tail.extend_from_slice(&self.scratch);
                (at, size.saturating_sub(self.scratch.len()))
            }
            None => {
                let ids = FragmentIds { sequence: fragments.sequence, fragment: fragments.next };
                // The message before it took the atoms' place.
                self.cache.begin();
                let tail = self.queue.tail();
                let at = tail.len();
                tail.extend_from_slice(&[0; LENGTH_BYTES]);
                ids.write(false, tail);
                (at, size)
            }
        };
        let part = fragments.take(part);
        let part_bytes = part.iter().map(Bytes::len).sum();
        let finished = self.finish_frame::<Infallible>(at, part_bytes);
        debug_assert!(finished.is_ok(), "a fragment is short");
        for chunk in part {
            if chunk.len() >= CHUNK_BYTES_MIN {
                self.queue.push_chunk(chunk);
            } else {
                self.queue_raw(&chunk);
            }
        }
        fragments.next -= 1;
    }
}
