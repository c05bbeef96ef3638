//! Round trips, one message under way at a time.

use std::time::Instant;

use krarup::Process;

use super::Failure;
use super::message::{Outgoing, Settings, whois};
use crate::protocol::tell;
use crate::worker::Latencies;

pub(super) async fn measure(
    mut me: Process,
    settings: Settings,
    node: String,
) -> Result<(), Failure> {
    let peer = whois(&mut me, &node).await?;
    let mut outgoing = Outgoing::new(settings, &me);
    let mut latencies = Latencies::new();
    let mut sequence = 0;
    for (duration, records) in [(settings.warm_up, false), (settings.duration, true)] {
        let deadline = Instant::now() + duration;
        loop {
            let start = Instant::now();
            outgoing.ask(&me, &peer, sequence).await?;
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
    tell(&latencies.measured(sequence, settings.duration))?;
    Ok(())
}
