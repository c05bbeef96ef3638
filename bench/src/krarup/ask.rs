//! Questions, one under way at a time: calls of a server, processes started on the other node,
//! calls of a function there.

use std::time::{Duration, Instant};

use krarup::gen_server::{Answer, Caller};
use krarup::term::{Atom, Pid, Term};
use krarup::{GenServer, Process, Signal};

use super::Failure;
use super::message::{Body, Settings, whois};
use crate::protocol::tell;
use crate::worker::Latencies;

/// As long as `gen_server:call/2` waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers every call with what it was asked.
pub(super) struct Echo;

impl GenServer for Echo {
    type Call = (u64, String);
    type Reply = (u64, String);
    type Cast = Term;

    async fn call(
        &mut self,
        _: &mut Process,
        request: (u64, String),
        _: &Caller,
    ) -> Result<Answer<(u64, String)>, Failure> {
        Ok(Answer::Reply(request))
    }
}

/// The request and the answer of a call are `{Sequence, Binary}`, as in a round trip.
pub(super) async fn calls(
    mut me: Process,
    settings: Settings,
    node: String,
) -> Result<(), Failure> {
    let server: Pid = whois(&mut me, &node).await?;
    let body = vec![b'k'; settings.size];
    timed(settings, async |sequence| {
        let request = (sequence, Body(&body));
        let (answered, back): (u64, String) = me.call(&server, &request, PATIENCE).await?;
        if answered == sequence && back.len() == settings.size {
            return Ok(());
        }
        Err(format!("call {sequence} was answered as {answered}, {} bytes", back.len()).into())
    })
    .await
}

/// From the request for a process, with a monitor, to the news of its end.
pub(super) async fn spawns(
    mut me: Process,
    settings: Settings,
    node: String,
) -> Result<(), Failure> {
    timed(settings, async |_| {
        let (_, monitor) = me.spawn_monitor_at(&node, "erlang", "node", ()).await?;
        match me.recv().await? {
            Signal::Down(down) if down.reference == monitor && is(&down.reason, "normal") => Ok(()),
            other => Err(format!("expected the end of a process, came {other:?}").into()),
        }
    })
    .await
}

pub(super) async fn functions(
    me: Process,
    settings: Settings,
    node: String,
) -> Result<(), Failure> {
    timed(settings, async |_| {
        let name: Atom = me.rpc(&node, "erlang", "node", (), PATIENCE).await?;
        if name.as_str() == node { Ok(()) } else { Err(format!("{name} has answered").into()) }
    })
    .await
}

/// Times questions for as long as the settings say, and tells.
pub(super) async fn timed(
    settings: Settings,
    mut ask: impl AsyncFnMut(u64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut latencies = Latencies::new();
    let mut sequence = 0;
    for (duration, records) in [(settings.warm_up, false), (settings.duration, true)] {
        let deadline = Instant::now() + duration;
        loop {
            let start = Instant::now();
            ask(sequence).await?;
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
    tell(&latencies.measured(sequence, settings.duration))?;
    Ok(())
}

fn is(term: &Term, text: &str) -> bool {
    term.as_atom().is_some_and(|atom| atom.as_str() == text)
}
