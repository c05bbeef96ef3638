//! The messages of all measurements.
//!
//! As terms: `{Sequence, Binary}`, and `{From, {Sequence, Binary}}` where an answer is wanted. As
//! raw bytes: the sequence number in the first eight, little-endian.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use krarup::term::{Atom, Pid, Term};
use krarup::{Encoded, Process, SendError, Signal};
use serde::{Serialize, Serializer};

use super::{Failure, SERVICE};
use crate::peer::Payload;
use crate::protocol::WorkerConfig;
use crate::work::Work;

/// Messages from this size on are handed over by reference.
pub(crate) const BY_REFERENCE_BYTES_MIN: usize = 8 << 10;
/// Up to this size the clock is read at every 64th message of a stream, beyond it at each.
const CLOCK_EACH_BYTES_MIN: usize = 16 << 10;
/// Memory that a stream's large messages walk through, so that they do not live in the cache.
pub(crate) const BODIES_BYTES: usize = 16 << 20;
/// Bytes of the sequence number in a raw message.
const SEQUENCE_BYTES: usize = 8;

/// The part of the configuration that processes need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) work: Work,
    pub(super) payload: Payload,
    pub(super) size: usize,
    pub(super) count: u32,
    pub(super) apart: bool,
    pub(super) rate: u32,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    pub(super) window: u64,
}

impl From<&WorkerConfig> for Settings {
    fn from(config: &WorkerConfig) -> Settings {
        Settings {
            work: config.work,
            payload: config.payload,
            size: config.size,
            count: config.count,
            apart: config.apart,
            rate: config.rate,
            warm_up: config.warm_up(),
            duration: config.duration(),
            window: config.window,
        }
    }
}

impl Settings {
    /// Whether the clock is read after the message with this number.
    #[inline]
    pub(super) fn reads_clock(&self, sequence: u64) -> bool {
        sequence.is_multiple_of(64) || self.size > CLOCK_EACH_BYTES_MIN
    }

    /// Takes a numbered message and checks its number and size.
    #[inline]
    pub(super) fn check(&self, signal: &Signal, expected: u64) -> Result<(), Failure> {
        let (sequence, length) = match self.payload {
            Payload::Term => {
                let (sequence, body) = signal.message::<(u64, &[u8])>()?;
                (sequence, body.len())
            }
            Payload::Raw => {
                let Signal::Message(message) = signal else { return Err("no message".into()) };
                if !message.is_raw() {
                    return Err("expected bytes, came a term".into());
                }
                // Fragments are looked at where they lie: the socket does not join its either.
                let first = message.parts().first().and_then(|part| part.first_chunk());
                let sequence = first.ok_or("a message without a number")?;
                (u64::from_le_bytes(*sequence), message.size_bytes())
            }
        };
        if sequence == expected && length == self.size {
            return Ok(());
        }
        Err(self.unexpected(expected, sequence, length))
    }

    #[cold]
    fn unexpected(&self, expected: u64, sequence: u64, length: usize) -> Failure {
        let size = self.size;
        format!(
            "expected message {expected} of {size} bytes, came message {sequence} of {length} bytes"
        )
        .into()
    }
}

/// What one process sends.
pub(super) struct Outgoing {
    settings: Settings,
    own: Pid,
    /// One message, for those that are copied.
    scratch: Vec<u8>,
    /// Those that are not.
    bodies: Vec<Bytes>,
    next_body: usize,
}

impl Outgoing {
    pub(super) fn new(settings: Settings, me: &Process) -> Outgoing {
        let size = settings.size;
        let count = match settings.work {
            _ if size < BY_REFERENCE_BYTES_MIN => 0,
            Work::Stream => (BODIES_BYTES / size).max(2),
            _ => 1,
        };
        Outgoing {
            settings,
            own: me.pid(),
            scratch: vec![b'k'; size],
            bodies: (0..count).map(|_| Bytes::from(vec![b'k'; size])).collect(),
            next_body: 0,
        }
    }

    /// Sends a numbered message.
    #[inline]
    pub(super) async fn send(
        &mut self,
        me: &Process,
        to: &Pid,
        sequence: u64,
    ) -> Result<(), Failure> {
        match self.settings.payload {
            _ if !self.bodies.is_empty() => {
                let message = match self.settings.payload {
                    Payload::Raw => self.raw(sequence),
                    Payload::Term => Encoded::term(&self.pair(sequence)?),
                };
                me.send_encoded(to, message).await?;
            }
            Payload::Raw => me.send_bytes(to, self.numbered(sequence)).await?,
            Payload::Term => me.send(to, &(sequence, Body(&self.scratch))).await?,
        }
        Ok(())
    }

    /// Sends a numbered message that says who wants the answer, where it can.
    #[inline]
    pub(super) async fn ask(
        &mut self,
        me: &Process,
        to: &Pid,
        sequence: u64,
    ) -> Result<(), Failure> {
        match self.settings.payload {
            Payload::Raw => return self.send(me, to, sequence).await,
            Payload::Term if self.bodies.is_empty() => {
                me.send(to, &(&self.own, (sequence, Body(&self.scratch)))).await?;
            }
            Payload::Term => {
                let pair = self.pair(sequence)?;
                let message = Term::Tuple(vec![Term::Pid(self.own.clone()), pair]);
                me.send_encoded(to, Encoded::term(&message)).await?;
            }
        }
        Ok(())
    }

    /// As [`Outgoing::ask`], where there is room now; false where there is none.
    pub(super) fn try_ask(
        &mut self,
        me: &Process,
        to: &Pid,
        sequence: u64,
    ) -> Result<bool, Failure> {
        let outcome = match self.settings.payload {
            Payload::Raw => me.try_send_bytes(to, self.numbered(sequence)),
            Payload::Term => me.try_send(to, &(&self.own, (sequence, Body(&self.scratch)))),
        };
        match outcome {
            Ok(()) => Ok(true),
            Err(SendError::Busy { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    #[inline]
    fn numbered(&mut self, sequence: u64) -> &[u8] {
        self.scratch[..SEQUENCE_BYTES].copy_from_slice(&sequence.to_le_bytes());
        &self.scratch
    }

    fn next_body(&mut self) -> &mut Bytes {
        let index = self.next_body;
        self.next_body = (index + 1) % self.bodies.len();
        &mut self.bodies[index]
    }

    /// `{Sequence, Binary}`.
    fn pair(&mut self, sequence: u64) -> Result<Term, Failure> {
        let sequence = Term::Integer(i64::try_from(sequence)?);
        Ok(Term::Tuple(vec![sequence, Term::Binary(self.next_body().clone())]))
    }

    /// Raw bytes that nobody else has: those of an earlier message if it is gone by now.
    fn raw(&mut self, sequence: u64) -> Encoded {
        let body = self.next_body();
        let mut own = match std::mem::take(body).try_into_mut() {
            Ok(own) => own,
            Err(shared) => BytesMut::from(&shared[..]),
        };
        own[..SEQUENCE_BYTES].copy_from_slice(&sequence.to_le_bytes());
        *body = own.freeze();
        Encoded::raw(body.clone())
    }
}

/// Sends a received message back: as it came, without its sender.
pub(super) async fn answer(
    me: &Process,
    client: &Pid,
    payload: Payload,
    signal: Signal,
) -> Result<(), Failure> {
    match payload {
        Payload::Term => {
            let (from, (sequence, body)) = signal.message::<(Pid, (u64, &[u8]))>()?;
            me.send(&from, &(sequence, Body(body))).await?;
        }
        Payload::Raw => {
            let Signal::Message(message) = &signal else { return Err("no message".into()) };
            match message.parts() {
                [part] if message.is_raw() && part.len() >= BY_REFERENCE_BYTES_MIN => {
                    let part = Bytes::from(part.clone());
                    me.send_encoded(client, Encoded::raw(part)).await?;
                }
                _ => {
                    let bytes = message.as_bytes().ok_or("expected bytes, came a term")?;
                    me.send_bytes(client, bytes).await?;
                }
            }
        }
    }
    Ok(())
}

/// Bytes that become a binary.
pub(super) struct Body<'a>(pub(super) &'a [u8]);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

pub(super) fn atom(text: &'static str) -> Atom {
    Atom::from_static(text)
}

/// Asks the server's process who will serve this one.
pub(super) async fn whois(me: &mut Process, node: &str) -> Result<Pid, Failure> {
    me.send((SERVICE, node), &(me.pid(), atom("whois"))).await?;
    let signal = me.recv().await?;
    let (_, peer) = signal.message::<(Atom, Pid)>()?;
    Ok(peer)
}

/// Asks the server's process for those that are to be monitored.
pub(super) async fn targets(me: &mut Process, node: &str) -> Result<Vec<Pid>, Failure> {
    me.send((SERVICE, node), &(me.pid(), atom("targets"))).await?;
    let signal = me.recv().await?;
    let (_, targets) = signal.message::<(Atom, Vec<Pid>)>()?;
    Ok(targets)
}

/// Waits for `{From, whois}`, or for `{From, targets}` where that is what is asked.
pub(super) async fn asked(me: &mut Process, expected: &'static str) -> Result<Pid, Failure> {
    let signal = me.recv().await?;
    let (from, question) = signal.message::<(Pid, Atom)>()?;
    if question != atom(expected) {
        return Err(format!("expected {expected}, came {question}").into());
    }
    Ok(from)
}
