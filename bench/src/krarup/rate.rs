//! An open loop: messages leave when they are due. The process never sleeps, and its node polls
//! all the time, so that what it measures is not its own waking up.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use krarup::Process;

use super::Failure;
use super::message::{Outgoing, Settings, whois};
use crate::protocol::tell;
use crate::schedule::Schedule;
use crate::worker::Latencies;

/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn measure(
    mut me: Process,
    settings: Settings,
    node: String,
) -> Result<(), Failure> {
    let peer = whois(&mut me, &node).await?;
    let mut outgoing = Outgoing::new(settings, &me);
    let mut latencies = Latencies::new();
    let schedule =
        Schedule::new(Instant::now(), settings.rate, settings.warm_up, settings.duration);
    let deadline = schedule.end() + PATIENCE;
    let (mut sent, mut received) = (0, 0);
    loop {
        let due = schedule.due(Instant::now());
        while sent < due && outgoing.try_ask(&me, &peer, sent)? {
            sent += 1;
        }
        while let Some(signal) = me.try_recv() {
            settings.check(&signal, received)?;
            if let Some(latency) = schedule.latency(received, Instant::now()) {
                latencies.record(latency);
            }
            received += 1;
        }
        let now = Instant::now();
        if received == schedule.total() {
            tell(&latencies.measured(received, schedule.measured_until(now)))?;
            return Ok(());
        }
        if now > deadline {
            return Err(format!("{} of {sent} messages were not answered", sent - received).into());
        }
        let_others_run().await;
    }
}

/// Goes to the back of the executor's queue once.
async fn let_others_run() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
