//! Many ping-pongs at once: each pair is a process here and one on the other node.
//!
//! All processes of a shard share one histogram, as a thousand of them would not fit any cache.

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use krarup::{Node, Process};

use super::Failure;
use super::message::{Outgoing, Settings, whois};
use crate::error::Error;
use crate::protocol::tell;
use crate::worker::Latencies;

/// How long all pairs may take to find each other, and to finish after their time.
const PATIENCE: Duration = Duration::from_secs(30);

thread_local! {
    /// What the pairs of this shard measured.
    static LATENCIES: RefCell<Latencies> = RefCell::new(Latencies::new());
}

/// What pairs tell the thread that started them.
enum Report {
    /// The pair is ready to start.
    Ready(krarup::term::Pid),
    /// So many round trips, those of the warm-up included.
    Done(u64),
    /// What a shard's pairs measured.
    Samples(Vec<(u64, u64)>),
    Failed(String),
}

/// Runs all pairs and tells their result.
pub(super) fn measure(node: &Node, settings: Settings, other: &str) -> Result<(), Error> {
    let (reports, from_pairs) = channel();
    let other: Arc<str> = other.into();
    let start = Arc::new(OnceLock::new());
    for pair in 0..settings.count as usize {
        let (reports, other, start) = (reports.clone(), Arc::clone(&other), Arc::clone(&start));
        spawn(node, pair, reports, move |me, reports| run(me, settings, other, start, reports))?;
    }
    let mut pairs = Vec::with_capacity(settings.count as usize);
    while pairs.len() < settings.count as usize {
        match next(&from_pairs, PATIENCE)? {
            Report::Ready(pid) => pairs.push(pid),
            _ => return Err(Error::Broken("a pair was done before it began".into())),
        }
    }
    // All count in the same span of time. A process starts them: once they run, this thread hardly
    // does, as it shares their core.
    start.get_or_init(Instant::now);
    spawn(node, 0, reports.clone(), |me, _| async move {
        for pid in pairs {
            me.send(pid, &()).await?;
        }
        Ok(())
    })?;
    let mut total = 0;
    for _ in 0..settings.count {
        match next(&from_pairs, settings.warm_up + settings.duration + PATIENCE)? {
            Report::Done(count) => total += count,
            _ => return Err(Error::Broken("a pair began twice".into())),
        }
    }
    let mut latencies = Latencies::new();
    for shard in 0..node.shards() {
        spawn(node, shard, reports.clone(), |_, reports| async move {
            let samples = LATENCIES.with_borrow(Latencies::samples);
            reports.send(Report::Samples(samples))?;
            Ok(())
        })?;
        if let Report::Samples(samples) = next(&from_pairs, PATIENCE)? {
            latencies.add(&samples);
        }
    }
    tell(&latencies.measured(total, settings.duration))
}

/// Starts a process on a shard; what it fails with is reported.
fn spawn<R>(
    node: &Node,
    shard: usize,
    reports: Sender<Report>,
    work: impl FnOnce(Process, Sender<Report>) -> R + Send + 'static,
) -> Result<(), Error>
where
    R: Future<Output = Result<(), Failure>> + 'static,
{
    let spawned = node.spawn_on(shard, None, move |me| async move {
        let outcome = work(me, reports.clone()).await;
        if let Err(error) = &outcome {
            reports.send(Report::Failed(error.to_string()))?;
        }
        outcome
    });
    spawned
        .wait()
        .map(|_| ())
        .map_err(|error| Error::Broken(format!("cannot start a process: {error}")))
}

fn next(reports: &Receiver<Report>, patience: Duration) -> Result<Report, Error> {
    match reports.recv_timeout(patience) {
        Ok(Report::Failed(reason)) => Err(Error::Broken(reason)),
        Ok(report) => Ok(report),
        Err(RecvTimeoutError::Timeout) => {
            Err(Error::Broken(format!("a pair was silent for {} s", patience.as_secs())))
        }
        Err(RecvTimeoutError::Disconnected) => Err(Error::Broken("all pairs have ended".into())),
    }
}

/// One pair. The end of a round trip is the start of the next, so the clock is read once for each.
async fn run(
    mut me: Process,
    settings: Settings,
    node: Arc<str>,
    together: Arc<OnceLock<Instant>>,
    reports: Sender<Report>,
) -> Result<(), Failure> {
    let peer = whois(&mut me, &node).await?;
    let mut outgoing = Outgoing::new(settings, &me);
    reports.send(Report::Ready(me.pid()))?;
    // Any message is the start.
    me.recv().await?;
    let warm = *together.get_or_init(Instant::now) + settings.warm_up;
    let deadline = warm + settings.duration;
    let mut sequence = 0;
    let mut start = Instant::now();
    loop {
        outgoing.ask(&me, &peer, sequence).await?;
        let signal = me.recv().await?;
        settings.check(&signal, sequence)?;
        drop(signal);
        let end = Instant::now();
        sequence += 1;
        if end >= warm && end < deadline {
            LATENCIES.with_borrow_mut(|latencies| latencies.record(end - start));
        }
        if end >= deadline {
            reports.send(Report::Done(sequence))?;
            return Ok(());
        }
        start = end;
    }
}
