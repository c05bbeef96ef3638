//! One process that monitors many of another node, until that is gone.

use std::time::Instant;

use krarup::term::Pid;
use krarup::{Node, Process, Signal};

use super::message::{Body, Settings, targets};
use super::{CLIENT, Failure};
use crate::error::Error;
use crate::protocol::{Event, nanoseconds, tell};

/// Lets the process go on that has said whom it will watch.
pub(super) fn go_on(node: &Node) -> Result<(), Error> {
    let sent = node.send(CLIENT, &()).wait();
    sent.map_err(|error| Error::Broken(format!("the client's process: {error}")))
}

pub(super) async fn watch(me: Process, settings: Settings, node: String) -> Result<(), Failure> {
    let mut me = me;
    let targets = targets(&mut me, &node).await?;
    let last = targets.last().ok_or("there is nobody to watch")?;
    tell(&Event::Connected)?;
    // Any message is the start.
    me.recv().await?;
    let start = Instant::now();
    for target in targets.iter().cycle().take(settings.count as usize) {
        me.monitor(target);
    }
    answered(&mut me, last).await?;
    tell_all(settings, start)?;
    let start = Instant::now();
    for _ in 0..settings.count {
        match me.recv().await? {
            Signal::Down(down) if down.reason.as_atom().is_some_and(is_noconnection) => {}
            other => return Err(format!("expected noconnection, came {other:?}").into()),
        }
    }
    tell_all(settings, start)
}

fn is_noconnection(reason: &krarup::term::Atom) -> bool {
    reason.as_str() == "noconnection"
}

/// What was sent before has arrived when this is answered.
async fn answered(me: &mut Process, to: &Pid) -> Result<(), Failure> {
    me.send(to, &(me.pid(), (0_u64, Body(&[])))).await?;
    me.recv().await?.message::<(u64, &[u8])>()?;
    Ok(())
}

/// A step is done for all monitors.
fn tell_all(settings: Settings, start: Instant) -> Result<(), Failure> {
    let count = u64::from(settings.count);
    let elapsed_ns = nanoseconds(start.elapsed());
    tell(&Event::Measured { samples: Vec::new(), count, total: count, elapsed_ns })?;
    Ok(())
}
