//! First contact, again and again: `net_adm:ping` to a node that is not connected.

use std::time::{Duration, Instant};

use krarup::Process;

use super::Failure;
use super::message::Settings;
use crate::protocol::tell;
use crate::worker::Latencies;

/// How long one contact may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between contacts both sides get time to forget each other, which is not measured.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) async fn measure(
    mut me: Process,
    settings: Settings,
    node: String,
) -> Result<(), Failure> {
    let mut latencies = Latencies::new();
    let mut total = 0;
    for (duration, records) in [(settings.warm_up, false), (settings.duration, true)] {
        let deadline = Instant::now() + duration;
        loop {
            let start = Instant::now();
            if !me.node().ping(&node, PATIENCE).await {
                return Err(format!("no answer from {node}").into());
            }
            let end = Instant::now();
            total += 1;
            if records {
                latencies.record(end - start);
            }
            if !me.node().disconnect(&node).await {
                return Err(format!("{node} was not connected after its answer").into());
            }
            // Nothing is sent to this process: the timeout is what is wanted.
            me.recv_timeout(PAUSE).await?;
            if end >= deadline {
                break;
            }
        }
    }
    tell(&latencies.measured(total, settings.duration))?;
    Ok(())
}
