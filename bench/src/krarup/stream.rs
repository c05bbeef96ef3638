//! A stream: one sender, one receiver, numbered messages, bounded by the receiver's credit.

use std::time::Instant;

use krarup::Process;
use krarup::term::{Atom, Pid};

use super::Failure;
use super::message::{Outgoing, Settings, atom, whois};
use crate::allocations::PerMessage;
use crate::protocol::{Event, nanoseconds, tell};

pub(super) async fn receive(
    mut me: Process,
    client: Pid,
    settings: Settings,
) -> Result<(), Failure> {
    let half = settings.window / 2;
    let warm = Instant::now() + settings.warm_up;
    let mut next = 0;
    let mut measured: Option<(Instant, u64)> = None;
    let mut allocations = PerMessage::default();
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
                allocations.begin(next);
            }
        }
    }
    let end = Instant::now();
    let (start, before) = measured.unwrap_or((end, next));
    tell(&Event::Received {
        messages: next - before,
        total: next,
        elapsed_ns: nanoseconds(end - start),
        allocations: allocations.end(next),
    })?;
    Ok(())
}

pub(super) async fn send(mut me: Process, settings: Settings, node: String) -> Result<(), Failure> {
    let peer = whois(&mut me, &node).await?;
    let mut outgoing = Outgoing::new(settings, &me);
    let warm = Instant::now() + settings.warm_up;
    let deadline = warm + settings.duration;
    let mut allocations = PerMessage::default();
    // The first sequence number that the receiver's credit does not cover.
    let mut limit = settings.window;
    let mut sequence = 0;
    loop {
        while sequence >= limit {
            let signal = me.recv().await?;
            let (_, received) = signal.message::<(Atom, u64)>()?;
            limit = received + settings.window;
        }
        outgoing.send(&me, &peer, sequence).await?;
        sequence += 1;
        if settings.reads_clock(sequence) {
            let now = Instant::now();
            if now >= deadline {
                break;
            }
            if now >= warm && !allocations.has_begun() {
                allocations.begin(sequence);
            }
        }
    }
    let allocations = allocations.end(sequence);
    me.send(&peer, &(atom("done"), sequence)).await?;
    tell(&Event::Sent { total: sequence, allocations })?;
    Ok(())
}
