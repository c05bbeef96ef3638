//! Signals that wait for their turn: large ones, and those behind them.

use std::collections::VecDeque;

use bytes::Bytes;

use super::frame::{FLAG_MORE, Header, kind};
use super::outbox::{Kind, Outbox, head_length};
use crate::link::SendError;
use crate::link::bulk::{Waiting, take_front};

/// A flood of small signals must not starve the large ones: after so many written bytes they get a
/// turn in any case.
const BULK_TURN_EVERY_BYTES: u64 = 128 << 10;

/// A signal that waits for its turn, because it or an earlier one of its sender is large.
#[derive(Debug)]
pub(super) struct Item {
    kind: Kind,
    head: u16,
    /// Whether its first frame is written.
    begun: bool,
    /// What is not written yet, the head included. No piece is empty.
    payload: VecDeque<Bytes>,
    bytes: usize,
}

impl Waiting for Item {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_message(&self) -> bool {
        self.kind.is_message
    }
}

impl Outbox {
    /// The payload that was encoded into the tail is large: it is taken out, to go in fragments.
    #[cold]
    pub(super) fn finish_large<E>(
        &mut self,
        kind: Kind,
        head: u16,
        header_bytes: usize,
    ) -> Result<(), SendError<E>> {
        let (tail, at) = self.log.take_tail();
        let payload = Bytes::from(tail).split_off(at + header_bytes);
        self.defer(kind, head, VecDeque::from([payload]))
    }

    #[cold]
    pub(super) fn defer_with<E>(
        &mut self,
        kind: Kind,
        write_head: impl FnOnce(&mut Vec<u8>) -> Result<(), SendError<E>>,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), SendError<E>> {
        if kind.is_message {
            self.check_bulk_room()?;
        }
        let mut payload = Vec::new();
        write_head(&mut payload)?;
        let head = head_length(payload.len())?;
        encode(&mut payload).map_err(SendError::Encode)?;
        self.defer(kind, head, VecDeque::from([Bytes::from(payload)]))
    }

    /// Queues a signal for its turn.
    #[cold]
    pub(super) fn defer<E>(
        &mut self,
        kind: Kind,
        head: u16,
        mut payload: VecDeque<Bytes>,
    ) -> Result<(), SendError<E>> {
        payload.retain(|piece| !piece.is_empty());
        let bytes = payload.iter().map(Bytes::len).sum();
        if bytes > self.message_bytes_max {
            return Err(SendError::TooLarge { bytes, limit: self.message_bytes_max });
        }
        if kind.is_message {
            self.check_bulk_room()?;
        }
        self.bulk.push(kind.key(), Item { kind, head, begun: false, payload, bytes });
        self.set_room();
        Ok(())
    }

    /// Lets large signals send fragments, one sender after the other.
    pub(super) fn give_turns(&mut self) {
        if self.bulk.is_empty() {
            return;
        }
        if self.written_since_turn >= BULK_TURN_EVERY_BYTES && self.may_encode() {
            self.give_turn();
        }
        // More than a write takes would only make small signals wait longer, less would leave the
        // socket without work.
        while self.log.unwritten() < self.write_bytes_max as usize
            && !self.bulk.is_empty()
            && self.may_encode()
        {
            self.give_turn();
        }
        self.set_room();
    }

    /// One sender's turn: one fragment, or whole signals of together about as much.
    fn give_turn(&mut self) {
        let Some((sender, mut queue)) = self.bulk.begin_turn() else { return };
        self.written_since_turn = 0;
        let mut rest = self.fragment_bytes as usize;
        while rest > 0
            && let Some(item) = queue.front_mut()
        {
            let taken = self.put_next_frame(item);
            self.bulk.took(taken, item.kind.is_message);
            rest = rest.saturating_sub(taken + self.layout.header_bytes());
            if item.payload.is_empty() {
                queue.pop_front();
            } else {
                break;
            }
        }
        self.bulk.end_turn(sender, queue);
    }

    /// Queues the next frame of a signal. Gives the bytes that wait no more.
    fn put_next_frame(&mut self, item: &mut Item) -> usize {
        let is_whole = !item.begun && item.bytes <= self.whole_bytes_max;
        let most = if is_whole { item.bytes } else { self.fragment_bytes as usize };
        let part = take_front(&mut item.payload, most);
        let bytes = part.iter().map(Bytes::len).sum::<usize>();
        item.bytes -= bytes;
        let more = if item.payload.is_empty() { 0 } else { FLAG_MORE };
        let header = if item.begun {
            let from = item.kind.from;
            Header { flags: more, length: bytes as u32, from, ..Header::bare(kind::FRAGMENT) }
        } else {
            let header = item.kind.header(item.head, bytes as u32);
            Header { flags: header.flags | more, ..header }
        };
        item.begun = true;
        self.put_frame(header, &[], part);
        bytes
    }
}
