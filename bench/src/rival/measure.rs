//! What is measured over any channel of messages, written once for all libraries.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::protocol::{Event, Order, WorkerConfig, nanoseconds, tell};
use crate::work::Work;
use crate::worker::{Latencies, next_order};

/// What came over a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// A numbered message, or the answer to one, of a pair.
    Message { pair: u32, sequence: u64, size: usize },
    /// The receiver of a stream has taken so many.
    Credit(u64),
    /// The stream is over after so many.
    Done(u64),
    /// The other side is gone.
    End,
}

/// The client's end of a connection of some library.
pub(super) trait Channel {
    /// Finds the other side's process for each pair; once, before anything is sent.
    async fn begin(&mut self, pairs: u32) -> Result<(), Error>;
    /// Sends a message that is to be answered.
    async fn ask(&mut self, pair: u32, sequence: u64) -> Result<(), Error>;
    /// Sends a message of a stream.
    async fn send(&mut self, sequence: u64) -> Result<(), Error>;
    /// Ends a stream.
    async fn finish(&mut self, total: u64) -> Result<(), Error>;
    async fn receive(&mut self) -> Result<Received, Error>;
    /// Whether the receiver's credit bounds a stream; else the library does.
    fn counts_credit(&self) -> bool;
}

/// The client: waits for its orders, with `connect` for the first.
pub(super) async fn client<C: Channel>(
    config: &WorkerConfig,
    connect: impl AsyncFn(&str, u16) -> Result<C, Error>,
) -> Result<(), Error> {
    tell(&Event::Ready { node: config.node.clone(), port: 0, version: None })?;
    let mut channel = None;
    loop {
        match (next_order()?, &mut channel) {
            (Order::Dial { node, port }, _) => {
                channel = Some(connect(&node, port).await?);
                tell(&Event::Connected)?;
            }
            (Order::Go { .. }, Some(channel)) => go(channel, config).await?,
            (Order::Go { .. }, None) => {
                return Err(Error::Broken("expected dial before go".into()));
            }
            (Order::Stop, _) => return Ok(()),
        }
    }
}

async fn go(channel: &mut impl Channel, config: &WorkerConfig) -> Result<(), Error> {
    match config.work {
        Work::Rtt => pairs(channel, config, 1).await,
        Work::Pairs => pairs(channel, config, config.count).await,
        Work::Stream => stream(channel, config).await,
        work => Err(Error::Usage(format!("this library has no {}", work.name()))),
    }
}

/// So many messages under way, each sent again when it was answered.
async fn pairs(channel: &mut impl Channel, config: &WorkerConfig, count: u32) -> Result<(), Error> {
    channel.begin(count).await?;
    let warm = Instant::now() + config.warm_up();
    let end = warm + config.duration();
    let mut latencies = Latencies::new();
    let mut total = 0;
    let mut under_way = Vec::with_capacity(count as usize);
    for pair in 0..count {
        under_way.push((0_u64, Instant::now()));
        channel.ask(pair, 0).await?;
    }
    loop {
        let (pair, sequence, size) = match channel.receive().await? {
            Received::Message { pair, sequence, size } => (pair, sequence, size),
            other => return Err(Error::Broken(format!("expected an answer, came {other:?}"))),
        };
        let now = Instant::now();
        let Some((expected, sent)) = under_way.get_mut(pair as usize) else {
            return Err(Error::Broken(format!("an answer for pair {pair} of {count}")));
        };
        if sequence != *expected || size != config.size {
            return Err(Error::Broken(format!(
                "pair {pair}: expected message {expected}, came {sequence} of {size} bytes"
            )));
        }
        total += 1;
        if now >= warm && now < end {
            latencies.record(now - *sent);
        }
        if now >= end {
            return tell(&latencies.measured(total, config.duration()));
        }
        *expected += 1;
        *sent = now;
        let next = *expected;
        channel.ask(pair, next).await?;
    }
}

async fn stream(channel: &mut impl Channel, config: &WorkerConfig) -> Result<(), Error> {
    channel.begin(1).await?;
    let deadline = Instant::now() + config.warm_up() + config.duration();
    let mut limit = if channel.counts_credit() { config.window } else { u64::MAX };
    let mut sequence = 0;
    loop {
        while sequence >= limit {
            match channel.receive().await? {
                Received::Credit(received) => limit = received + config.window,
                other => return Err(Error::Broken(format!("expected credit, came {other:?}"))),
            }
        }
        channel.send(sequence).await?;
        sequence += 1;
        if (sequence.is_multiple_of(64) || config.size > 16 << 10) && Instant::now() >= deadline {
            break;
        }
    }
    channel.finish(sequence).await?;
    tell(&Event::Sent { total: sequence, allocations: None })
}

/// The receiving side of a stream: checks every message, and tells the rate when all came.
#[derive(Debug)]
pub(super) struct Sink {
    size: usize,
    warm_up: Duration,
    half_window: u64,
    next: u64,
    started: Option<Instant>,
    measured: Option<(Instant, u64)>,
    last: Instant,
}

impl Sink {
    pub(super) fn new(config: &WorkerConfig) -> Sink {
        Sink {
            size: config.size,
            warm_up: config.warm_up(),
            half_window: (config.window / 2).max(1),
            next: 0,
            started: None,
            measured: None,
            last: Instant::now(),
        }
    }

    /// Takes a message; says the credit when it is time to.
    pub(super) fn take(&mut self, sequence: u64, size: usize) -> Result<Option<u64>, Error> {
        if sequence != self.next || size != self.size {
            return Err(Error::Broken(format!(
                "expected message {} of {} bytes, came message {sequence} of {size} bytes",
                self.next, self.size
            )));
        }
        self.next += 1;
        if self.next.is_multiple_of(64) || self.size > 16 << 10 {
            self.last = Instant::now();
            let started = *self.started.get_or_insert(self.last);
            if self.measured.is_none() && self.last - started >= self.warm_up {
                self.measured = Some((self.last, self.next));
            }
        }
        Ok(self.next.is_multiple_of(self.half_window).then_some(self.next))
    }

    /// Tells the result when the sender says that it is done.
    pub(super) fn done(&mut self, total: u64) -> Result<(), Error> {
        if total != self.next {
            return Err(Error::Broken(format!("{total} messages were sent, {} came", self.next)));
        }
        self.last = Instant::now();
        let (from, before) = self.measured.unwrap_or((self.last, self.next));
        tell(&Event::Received {
            messages: self.next - before,
            total: self.next,
            elapsed_ns: nanoseconds(self.last - from),
            allocations: None,
        })
    }
}

/// Waits for the order to end, after the measurement.
pub(super) fn wait_for_stop() -> Result<(), Error> {
    while !matches!(next_order()?, Order::Stop) {}
    Ok(())
}
