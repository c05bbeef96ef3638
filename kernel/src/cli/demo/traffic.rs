//! Traffic of a process on a node with the services `echo` and `sink` of another.

use super::floor::{nanoseconds, new_histogram};
use super::measure::{Sample, Span, Stream};
use bytes::Bytes;
use krarup::term::{Atom, Term};
use krarup::{Destination, Node, Process};
use std::error::Error;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Messages between two looks at the clock.
const MESSAGES_PER_LOOK: u64 = 64;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Measures round trips of binaries of `size` bytes with the `echo` of `peer`, for about `duration`.
///
/// # Errors
///
/// When the peer cannot be reached, is silent, or answers with something else.
pub(super) fn round_trips(
    node: &Node,
    peer: &str,
    size: usize,
    duration: Duration,
) -> Result<Sample, String> {
    let peer = Atom::new(peer).map_err(|error| error.to_string())?;
    on_process(node, duration, move |me| Box::pin(echo(me, peer, size, duration)))
}

/// Streams binaries of `size` bytes to the `sink` of `peer` for about `duration`, and lets it
/// confirm that all came.
///
/// # Errors
///
/// As [`round_trips`], and when messages are missing.
pub(super) fn stream(
    node: &Node,
    peer: &str,
    size: usize,
    duration: Duration,
) -> Result<Stream, String> {
    let peer = Atom::new(peer).map_err(|error| error.to_string())?;
    on_process(node, duration, move |me| Box::pin(sink(me, peer, size, duration)))
}

type Work<T> = std::pin::Pin<Box<dyn Future<Output = Outcome<T>>>>;

/// Runs `work` in a process of the node and waits for what it gives.
fn on_process<T: Send + 'static>(
    node: &Node,
    duration: Duration,
    work: impl FnOnce(Process) -> Work<T> + Send + 'static,
) -> Result<T, String> {
    let (done, outcome) = mpsc::channel();
    node.spawn_on(0, None, move |me| async move {
        let result = work(me).await.map_err(|error| error.to_string());
        // Nobody waits any more after the limit below.
        let _ = done.send(result);
        Ok(())
    })
    .wait()
    .map_err(|error| error.to_string())?;
    outcome
        .recv_timeout(duration + 2 * ANSWER_MAX)
        .unwrap_or_else(|_| Err("no end was seen in time".to_owned()))
}

async fn echo(mut me: Process, peer: Atom, size: usize, duration: Duration) -> Outcome<Sample> {
    let to = Destination::from((Atom::from_static("echo"), peer));
    let payload = Term::Binary(Bytes::from(vec![7u8; size]));
    let question = Term::Tuple(vec![Term::Pid(me.pid()), payload.clone()]);
    let answer = Term::Tuple(vec![Term::Atom(Atom::from_static("echo")), payload]);
    // The first trip connects, and shows that the answer is right.
    me.send(to.clone(), &question).await?;
    let first = me.recv_timeout(ANSWER_MAX).await?.ok_or("echo does not answer")?;
    if first.term()? != answer {
        return Err("echo answered with something else".into());
    }
    let mut histogram = new_histogram()?;
    let span = Span::new(duration);
    loop {
        let start = Instant::now();
        me.send(to.clone(), &question).await?;
        me.recv().await?;
        let now = Instant::now();
        if span.counts(now) {
            histogram.saturating_record(nanoseconds(now - start));
        }
        if span.is_over(now, histogram.len()) {
            return Ok(Sample::new(histogram));
        }
    }
}

async fn sink(mut me: Process, peer: Atom, size: usize, duration: Duration) -> Outcome<Stream> {
    let to = Destination::from((Atom::from_static("sink"), peer));
    let ask = |what| Term::Tuple(vec![Term::Pid(me.pid()), Term::Atom(Atom::from_static(what))]);
    let (reset, report) = (ask("reset"), ask("report"));
    me.send(to.clone(), &reset).await?;
    me.recv_timeout(ANSWER_MAX).await?.ok_or("sink does not answer")?;
    let message = Term::Binary(Bytes::from(vec![7u8; size]));
    let start = Instant::now();
    let end = start + duration;
    let mut messages = 0u64;
    while Instant::now() < end {
        for _ in 0..MESSAGES_PER_LOOK {
            me.send(to.clone(), &message).await?;
        }
        messages += MESSAGES_PER_LOOK;
    }
    me.send(to, &report).await?;
    let answer = me.recv_timeout(ANSWER_MAX).await?.ok_or("sink does not report")?;
    let elapsed = start.elapsed();
    let (_, came, _): (Atom, u64, u64) = answer.message()?;
    if came != messages {
        return Err(format!("{messages} messages were sent and {came} came").into());
    }
    Ok(Stream { messages, message_bytes: size as u64, elapsed })
}
