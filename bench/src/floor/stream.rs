//! A stream of framed messages over a plain socket, 64 KiB to each write.

use std::time::Instant;

use super::{Ring, Socket};
use crate::error::Error;
use crate::krarup::{BODIES_BYTES, BY_REFERENCE_BYTES_MIN};
use crate::protocol::{Event, WorkerConfig, nanoseconds, tell};

/// Bytes of one write.
const WRITE_BYTES: usize = 64 << 10;
/// Most bytes of one read.
const READ_BYTES: usize = 256 << 10;
/// Each message starts with its length (4 bytes) and its sequence number (8 bytes); both count
/// to its size.
const HEADER_BYTES: usize = 12;

/// Memory that the sender of a stream walks through: that of a node, which has whole messages.
fn sent_memory_bytes(size: usize) -> usize {
    if size < BY_REFERENCE_BYTES_MIN { 0 } else { BODIES_BYTES.max(2 * size) }
}

/// Sends for the warm-up and the measured time, then ends the stream.
pub(super) fn send(socket: &mut Socket, config: &WorkerConfig) -> Result<(), Error> {
    let deadline = Instant::now() + config.warm_up() + config.duration();
    let ring = Ring::over(WRITE_BYTES, sent_memory_bytes(config.size));
    let mut sender = Sender { ring, size: config.size, next: 0 };
    while Instant::now() < deadline {
        sender.send_block(socket)?;
    }
    socket.end().map_err(Error::io("cannot end the stream"))?;
    tell(&Event::Sent { total: sender.next, allocations: None })
}

struct Sender {
    ring: Ring,
    size: usize,
    next: u64,
}

impl Sender {
    /// One write of as many messages as fit into it, or one message in as many writes as it needs.
    fn send_block(&mut self, socket: &mut Socket) -> Result<(), Error> {
        let block = self.ring.next();
        if self.size <= WRITE_BYTES {
            let used = WRITE_BYTES - WRITE_BYTES % self.size;
            for message in block[..used].chunks_exact_mut(self.size) {
                write_header(message, self.size, self.next);
                self.next += 1;
            }
            return socket.write_all(&block[..used]).map_err(Error::io("cannot send"));
        }
        write_header(block, self.size, self.next);
        self.next += 1;
        socket.write_all(block).map_err(Error::io("cannot send"))?;
        let mut left = self.size - WRITE_BYTES;
        while left > 0 {
            let count = left.min(WRITE_BYTES);
            let block = self.ring.next();
            socket.write_all(&block[..count]).map_err(Error::io("cannot send"))?;
            left -= count;
        }
        Ok(())
    }
}

fn write_header(message: &mut [u8], size: usize, sequence: u64) {
    message[..HEADER_BYTES].copy_from_slice(&header(size, sequence));
}

#[inline]
fn header(size: usize, sequence: u64) -> [u8; HEADER_BYTES] {
    // Sizes are at most 256 MiB (`cli::Size`).
    let [a, b, c, d, ..] = size.to_le_bytes();
    let [e, f, g, h, i, j, k, l] = sequence.to_le_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// Receives to the end of the stream, checks every message, and tells the rate.
pub(super) fn receive(socket: &mut Socket, config: &WorkerConfig) -> Result<(), Error> {
    let warm_up = config.warm_up();
    let mut parser = Parser::new(config.size);
    // Whoever receives a message holds all of it.
    let mut ring = Ring::over(READ_BYTES, config.size);
    let mut started: Option<Instant> = None;
    let mut measured: Option<(Instant, u64)> = None;
    let mut last = Instant::now();
    loop {
        let buffer = ring.next();
        let count = socket.read(buffer).map_err(Error::io("cannot receive"))?;
        if count == 0 {
            break;
        }
        parser.feed(&buffer[..count])?;
        last = Instant::now();
        let started = *started.get_or_insert(last);
        if measured.is_none() && last - started >= warm_up {
            measured = Some((last, parser.received));
        }
    }
    let (from, before) = measured.unwrap_or((last, parser.received));
    tell(&Event::Received {
        messages: parser.received - before,
        total: parser.received,
        elapsed_ns: nanoseconds(last - from),
        allocations: None,
    })
}

/// Cuts the byte stream into messages without copying them, and checks their headers.
#[derive(Debug)]
struct Parser {
    size: usize,
    /// Messages that came whole.
    received: u64,
    /// Bytes of the current message still to come after its header.
    body_left: usize,
    header: [u8; HEADER_BYTES],
    header_held: usize,
}

impl Parser {
    fn new(size: usize) -> Parser {
        Parser { size, received: 0, body_left: 0, header: [0; HEADER_BYTES], header_held: 0 }
    }

    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.body_left == 0 && self.header_held == 0 {
                bytes = self.feed_whole(bytes)?;
            }
            if self.body_left > 0 {
                let count = self.body_left.min(bytes.len());
                bytes = &bytes[count..];
                self.body_left -= count;
                self.received += u64::from(self.body_left == 0);
            } else if self.header_held == 0 && bytes.len() >= HEADER_BYTES {
                let (header, rest) = bytes.split_at(HEADER_BYTES);
                self.header.copy_from_slice(header);
                bytes = rest;
                self.check_header()?;
            } else {
                let count = (HEADER_BYTES - self.header_held).min(bytes.len());
                let (part, rest) = bytes.split_at(count);
                self.header[self.header_held..self.header_held + count].copy_from_slice(part);
                self.header_held += count;
                bytes = rest;
                if self.header_held == HEADER_BYTES {
                    self.header_held = 0;
                    self.check_header()?;
                }
            }
        }
        Ok(())
    }

    /// Takes all messages that lie whole at the start of `bytes`, and returns the rest.
    fn feed_whole<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Error> {
        let mut messages = bytes.chunks_exact(self.size);
        let mut next = self.received;
        for message in messages.by_ref() {
            if message.first_chunk() != Some(&header(self.size, next)) {
                self.received = next;
                self.header.copy_from_slice(&message[..HEADER_BYTES]);
                self.check_header()?;
            }
            next += 1;
        }
        self.received = next;
        Ok(messages.remainder())
    }

    fn check_header(&mut self) -> Result<(), Error> {
        let [a, b, c, d, sequence @ ..] = self.header;
        let length = u32::from_le_bytes([a, b, c, d]);
        let sequence = u64::from_le_bytes(sequence);
        if usize::try_from(length) != Ok(self.size) || sequence != self.received {
            return Err(Error::Broken(format!(
                "expected message {} of {} bytes, came message {sequence} of {length} bytes",
                self.received, self.size
            )));
        }
        self.body_left = self.size - HEADER_BYTES;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::socket::tests::{KINDS, pair};
    use super::*;

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let size = 17;
        let mut bytes = Vec::new();
        for sequence in 0..50 {
            let mut message = vec![b'k'; size];
            write_header(&mut message, size, sequence);
            bytes.extend_from_slice(&message);
        }
        for cut in 1..60 {
            let mut parser = Parser::new(size);
            for part in bytes.chunks(cut) {
                parser.feed(part).expect("in sequence");
            }
            assert_eq!(parser.received, 50, "cut at {cut}");
        }
    }

    #[test]
    fn a_missing_message_is_noticed() {
        let mut message = vec![b'k'; 16];
        write_header(&mut message, 16, 1);
        assert!(Parser::new(16).feed(&message).is_err());
    }

    #[test]
    fn small_and_large_messages_arrive_in_sequence() {
        let sizes = [16, 100, 64 << 10, 1 << 20];
        for (kind, size) in sizes.into_iter().flat_map(|size| KINDS.map(|kind| (kind, size))) {
            let (mut client, mut server) = pair(kind);
            let sending = std::thread::spawn(move || {
                let mut sender = Sender { ring: Ring::new(WRITE_BYTES), size, next: 0 };
                for _ in 0..3 {
                    sender.send_block(&mut client).expect("send");
                }
                sender.next
            });
            let mut parser = Parser::new(size);
            let mut buffer = vec![0; READ_BYTES];
            loop {
                match server.read(&mut buffer).expect("read") {
                    0 => break,
                    count => parser.feed(&buffer[..count]).expect("in sequence"),
                }
            }
            assert_eq!(parser.received, sending.join().expect("join"), "{kind:?}, size {size}");
        }
    }
}
