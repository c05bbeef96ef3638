//! One measurement of many monitors over one connection, and of its loss.

use std::time::{Duration, Instant};

use super::pair::{self, Side};
use super::{Bench, PATIENCE};
use crate::case::Case;
use crate::error::Error;
use crate::protocol::Event;
use crate::report::Figures;
use crate::usage;
use crate::work::Metric;

/// Longest wait for all monitors, or for all of their ends.
const MONITOR_TIME_MAX: Duration = Duration::from_secs(60);
/// Time for both nodes to finish what the last step began.
const SETTLE_TIME: Duration = Duration::from_millis(300);

/// One process of the client's node monitors processes of the server's, and then the server's node
/// is killed.
pub(super) fn measure(case: &Case, bench: &mut Bench) -> Result<Figures, Error> {
    let (mut client, mut server) = pair::connected(case, bench)?;
    // The first order asks for what is to be monitored: its memory is not that of the monitors.
    client.go(&server)?;
    match client.process().event(PATIENCE)? {
        Event::Connected => {}
        other => return Err(client.process().unexpected("that it knows whom to watch", &other)),
    }
    let before = memory(&mut client, &mut server)?;
    client.go(&server)?;
    let up_ns = all(&mut client, case)?;
    let after = memory(&mut client, &mut server)?;
    let start = Instant::now();
    server.process().kill()?;
    all(&mut client, case)?;
    let down = start.elapsed();
    drop(server);
    client.stop();
    let each = |after: u64, before: u64| {
        after.saturating_sub(before) as f64 / f64::from(case.count.max(1))
    };
    Ok(Figures::metrics(vec![
        (Metric::AllUpNanoseconds, up_ns as f64),
        (Metric::BytesEach, each(after.0, before.0)),
        (Metric::ServerBytesEach, each(after.1, before.1)),
        (Metric::AllDownNanoseconds, down.as_nanos() as f64),
    ]))
}

/// The client says that a step is done for every monitor, and how long it took by its own clock.
fn all(client: &mut Side, case: &Case) -> Result<u64, Error> {
    match client.process().event(MONITOR_TIME_MAX)? {
        Event::Measured { count, elapsed_ns, .. } if count == u64::from(case.count) => {
            Ok(elapsed_ns)
        }
        other => Err(client.process().unexpected("all monitors", &other)),
    }
}

/// Memory of both nodes, in bytes, once they are at rest.
fn memory(client: &mut Side, server: &mut Side) -> Result<(u64, u64), Error> {
    std::thread::sleep(SETTLE_TIME);
    let of = |side: &mut Side| {
        usage::memory_bytes(side.process().id())
            .ok_or_else(|| Error::Broken("this kernel does not tell what processes use".into()))
    };
    Ok((of(client)?, of(server)?))
}
