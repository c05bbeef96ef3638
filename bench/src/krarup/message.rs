//! The messages of all measurements: `{Sequence, Binary}`, and `{From, {Sequence, Binary}}` where
//! an answer is wanted.

use std::time::Duration;

use bytes::Bytes;
use krarup::term::{Atom, Pid, Term};
use krarup::{Encoded, Process, SendError, Signal};
use serde::{Serialize, Serializer};

use super::{Failure, SERVICE};
use crate::protocol::WorkerConfig;
use crate::work::Work;

/// Binaries from this size on are handed over by reference, encoded once for each message.
const BY_REFERENCE_BYTES_MIN: usize = 8 << 10;
/// Up to this size the clock is read at every 64th message of a stream, beyond it at each.
const CLOCK_EACH_BYTES_MIN: usize = 16 << 10;

/// The part of the configuration that processes need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) work: Work,
    pub(super) size: usize,
    pub(super) count: u32,
    pub(super) rate: u32,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    pub(super) window: u64,
}

impl From<&WorkerConfig> for Settings {
    fn from(config: &WorkerConfig) -> Settings {
        Settings {
            work: config.work,
            size: config.size,
            count: config.count,
            rate: config.rate,
            warm_up: config.warm_up(),
            duration: config.duration(),
            window: config.window,
        }
    }
}

impl Settings {
    /// Whether the clock is read after the message with this number.
    pub(super) fn reads_clock(&self, sequence: u64) -> bool {
        sequence.is_multiple_of(64) || self.size > CLOCK_EACH_BYTES_MIN
    }

    /// What every message carries.
    pub(super) fn body(&self) -> Bytes {
        Bytes::from(vec![b'k'; self.size])
    }

    /// Sends `{Sequence, Binary}`.
    #[inline]
    pub(super) async fn send(
        &self,
        me: &Process,
        to: &Pid,
        sequence: u64,
        body: &Bytes,
    ) -> Result<(), Failure> {
        if self.size < BY_REFERENCE_BYTES_MIN {
            me.send(to, &(sequence, Body(body))).await?;
        } else {
            let sequence = i64::try_from(sequence)?;
            let message = Term::Tuple(vec![Term::Integer(sequence), Term::Binary(body.clone())]);
            me.send_encoded(to, Encoded::term(&message)).await?;
        }
        Ok(())
    }

    /// Sends `{From, {Sequence, Binary}}`.
    #[inline]
    pub(super) async fn ask(
        &self,
        me: &Process,
        to: &Pid,
        from: &Pid,
        sequence: u64,
        body: &Bytes,
    ) -> Result<(), Failure> {
        if self.size < BY_REFERENCE_BYTES_MIN {
            me.send(to, &(from, (sequence, Body(body)))).await?;
        } else {
            let sequence = Term::Integer(i64::try_from(sequence)?);
            let message = Term::Tuple(vec![sequence, Term::Binary(body.clone())]);
            let message = Term::Tuple(vec![Term::Pid(from.clone()), message]);
            me.send_encoded(to, Encoded::term(&message)).await?;
        }
        Ok(())
    }

    /// As [`Settings::ask`], where there is room now; false where there is none.
    pub(super) fn try_ask(
        &self,
        me: &Process,
        to: &Pid,
        from: &Pid,
        sequence: u64,
        body: &Bytes,
    ) -> Result<bool, Failure> {
        match me.try_send(to, &(from, (sequence, Body(body)))) {
            Ok(()) => Ok(true),
            Err(SendError::Busy { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes `{Sequence, Binary}` and checks both.
    #[inline]
    pub(super) fn check(&self, signal: &Signal, expected: u64) -> Result<(), Failure> {
        let (sequence, body) = signal.message::<(u64, &[u8])>()?;
        if sequence != expected || body.len() != self.size {
            return Err(format!(
                "expected message {expected} of {} bytes, came message {sequence} of {} bytes",
                self.size,
                body.len()
            )
            .into());
        }
        Ok(())
    }
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

/// Waits for `{From, whois}`.
pub(super) async fn asked(me: &mut Process) -> Result<Pid, Failure> {
    let signal = me.recv().await?;
    let (from, question) = signal.message::<(Pid, Atom)>()?;
    if question != atom("whois") {
        return Err(format!("expected whois, came {question}").into());
    }
    Ok(from)
}
