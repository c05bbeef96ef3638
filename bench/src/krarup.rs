//! A Krarup node as a worker: one shard, the same messages as `bench/erl/krarup_bench_worker.erl`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use krarup::epmd::EpmdMode;
use krarup::term::{Atom, Pid, Term};
use krarup::{Cookie, Encoded, Node, Process, Signal};
use serde::{Serialize, Serializer};

use crate::error::Error;
use crate::protocol::{Event, Order, Role, Work, WorkerConfig, tell};
use crate::worker::{Latencies, next_order};

/// Name of the server's process.
const SERVICE: &str = "bench";
/// Name of the client's process.
const CLIENT: &str = "bench-client";
/// Binaries from this size on are handed over by reference, encoded once for each message.
const BY_REFERENCE_BYTES_MIN: usize = 8 << 10;
/// Up to this size the clock is read at every 64th message of a stream, beyond it at each.
const CLOCK_EACH_BYTES_MIN: usize = 16 << 10;

/// What processes of this worker fail with: text for the coordinator.
type Failure = Box<dyn std::error::Error>;

/// Runs one side until it is told to stop.
pub(crate) fn work(config: &WorkerConfig) -> Result<(), Error> {
    let failed =
        |doing: &str, error: &dyn std::fmt::Display| Error::Broken(format!("{doing}: {error}"));
    let cookie = Cookie::new(&config.cookie).map_err(|error| failed("cookie", &error))?;
    let (mode, epmd_port) = match config.epmd_port {
        Some(port) => (EpmdMode::Embedded, port),
        None => (EpmdMode::None, 0),
    };
    let mut builder = Node::builder(config.node.as_str())
        .cookie(cookie)
        .hidden(true)
        .epmd(mode)
        .epmd_port(epmd_port);
    if let Some(spin) = config.spin_us {
        builder = builder.spin(Duration::from_micros(spin));
    }
    let node = builder.start().map_err(|error| failed("cannot start the node", &error))?;
    if config.role == Role::Server {
        let settings = Settings::from(config);
        let spawned = node.spawn(SERVICE, move |me| told(serve(me, settings)));
        spawned.map_err(|error| failed("cannot start the server's process", &error))?;
    }
    let port = node.port().unwrap_or(0);
    tell(&Event::Ready { node: config.node.clone(), port, version: None })?;
    loop {
        match next_order()? {
            Order::Dial { node: other, .. } => {
                if !node.connect(&other).wait() {
                    return Err(Error::Broken(format!("no connection to {other}")));
                }
                tell(&Event::Connected)?;
            }
            Order::Go { node: other } => {
                let settings = Settings::from(config);
                let spawned = node.spawn(CLIENT, move |me| told(measure(me, settings, other)));
                spawned.map_err(|error| failed("cannot start the client's process", &error))?;
            }
            Order::Stop => return Ok(()),
        }
    }
}

/// Tells the coordinator when a process fails.
async fn told(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let outcome = work.await;
    if let Err(error) = &outcome {
        tell(&Event::Failed { reason: error.to_string() })?;
    }
    outcome
}

/// The part of the configuration that processes need.
#[derive(Debug, Clone, Copy)]
struct Settings {
    work: Work,
    size: usize,
    warm_up: Duration,
    duration: Duration,
    window: u64,
}

impl From<&WorkerConfig> for Settings {
    fn from(config: &WorkerConfig) -> Settings {
        Settings {
            work: config.work,
            size: config.size,
            warm_up: Duration::from_nanos(config.warm_up_ns),
            duration: Duration::from_nanos(config.duration_ns),
            window: config.window,
        }
    }
}

impl Settings {
    /// Whether the clock is read after the message with this number.
    fn reads_clock(&self, sequence: u64) -> bool {
        sequence.is_multiple_of(64) || self.size > CLOCK_EACH_BYTES_MIN
    }

    /// Sends `{Sequence, Binary}`.
    async fn send(
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
    async fn ask(
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

    /// Takes `{Sequence, Binary}` and checks both.
    fn check(&self, signal: &Signal, expected: u64) -> Result<(), Failure> {
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
struct Body<'a>(&'a [u8]);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

fn atom(text: &'static str) -> Atom {
    Atom::from_static(text)
}

// ---- the receiving side ----------------------------------------------------------------------

async fn serve(mut me: Process, settings: Settings) -> Result<(), Failure> {
    let client = introduce(&mut me).await?;
    match settings.work {
        Work::Rtt => echo(me).await,
        Work::Stream => receive(me, client, settings).await,
    }
}

/// Answers `{From, whois}` with `{pid, Self}`.
async fn introduce(me: &mut Process) -> Result<Pid, Failure> {
    let signal = me.recv().await?;
    let (from, question) = signal.message::<(Pid, Atom)>()?;
    if question != atom("whois") {
        return Err(format!("expected whois, came {question}").into());
    }
    me.send(&from, &(atom("pid"), me.pid())).await?;
    Ok(from)
}

async fn echo(mut me: Process) -> Result<(), Failure> {
    while let Ok(signal) = me.recv().await {
        let (from, (sequence, body)) = signal.message::<(Pid, (u64, &[u8]))>()?;
        me.send(from, &(sequence, Body(body))).await?;
    }
    Ok(())
}

async fn receive(mut me: Process, client: Pid, settings: Settings) -> Result<(), Failure> {
    let half = settings.window / 2;
    let warm = Instant::now() + settings.warm_up;
    let mut next = 0;
    let mut measured: Option<(Instant, u64)> = None;
    loop {
        let signal = me.recv().await?;
        if let Err(error) = settings.check(&signal, next) {
            let (tag, total) = signal.message::<(Atom, u64)>().map_err(|_| error)?;
            if tag != atom("done") || total != next {
                return Err(format!("expected {{done, {next}}}, came {{{tag}, {total}}}").into());
            }
            break;
        }
        next += 1;
        if next % half == 0 {
            me.send(&client, &(atom("credit"), next)).await?;
        }
        if measured.is_none() && settings.reads_clock(next) {
            let now = Instant::now();
            if now >= warm {
                measured = Some((now, next));
            }
        }
    }
    let end = Instant::now();
    let (start, before) = measured.unwrap_or((end, next));
    tell(&Event::Received {
        messages: next - before,
        total: next,
        elapsed_ns: u64::try_from((end - start).as_nanos())?,
    })?;
    Ok(())
}

// ---- the sending side ------------------------------------------------------------------------

async fn measure(mut me: Process, settings: Settings, node: String) -> Result<(), Failure> {
    me.send((SERVICE, node.as_str()), &(me.pid(), atom("whois"))).await?;
    let signal = me.recv().await?;
    let (_, peer) = signal.message::<(Atom, Pid)>()?;
    match settings.work {
        Work::Rtt => round_trips(me, peer, settings).await,
        Work::Stream => stream(me, peer, settings).await,
    }
}

async fn round_trips(mut me: Process, peer: Pid, settings: Settings) -> Result<(), Failure> {
    let body = Bytes::from(vec![b'k'; settings.size]);
    let own = me.pid();
    let mut latencies = Latencies::new();
    let mut sequence = 0;
    for (duration, records) in [(settings.warm_up, false), (settings.duration, true)] {
        let deadline = Instant::now() + duration;
        loop {
            let start = Instant::now();
            settings.ask(&me, &peer, &own, sequence, &body).await?;
            let signal = me.recv().await?;
            settings.check(&signal, sequence)?;
            drop(signal);
            let end = Instant::now();
            sequence += 1;
            if records {
                latencies.record(end - start);
            }
            if end >= deadline {
                break;
            }
        }
    }
    tell(&Event::Rtt { samples: latencies.samples() })?;
    Ok(())
}

async fn stream(mut me: Process, peer: Pid, settings: Settings) -> Result<(), Failure> {
    let body = Bytes::from(vec![b'k'; settings.size]);
    let deadline = Instant::now() + settings.warm_up + settings.duration;
    // The first sequence number that the receiver's credit does not cover.
    let mut limit = settings.window;
    let mut sequence = 0;
    loop {
        while sequence >= limit {
            let signal = me.recv().await?;
            let (_, received) = signal.message::<(Atom, u64)>()?;
            limit = received + settings.window;
        }
        settings.send(&me, &peer, sequence, &body).await?;
        sequence += 1;
        if settings.reads_clock(sequence) && Instant::now() >= deadline {
            break;
        }
    }
    me.send(&peer, &(atom("done"), sequence)).await?;
    tell(&Event::Sent { total: sequence })?;
    Ok(())
}
