//! What runs on the node that answers.

use krarup::gen_server;
use krarup::term::Pid;
use krarup::{Node, Process};

use super::message::{Settings, answer, asked, atom};
use super::{Failure, ask, stream, told};
use crate::work::Work;

/// The server's registered process.
pub(super) async fn run(mut me: Process, settings: Settings) -> Result<(), Failure> {
    if settings.work == Work::Stream {
        let client = asked(&mut me, "whois").await?;
        me.send(&client, &(atom("pid"), me.pid())).await?;
        return stream::receive(me, client, settings).await;
    }
    if settings.work == Work::Monitors {
        return be_watched(me, settings).await;
    }
    let node = me.node();
    // A process of its own answers each client, on the shards in turn.
    let mut shard = 0;
    while let Ok(client) = asked(&mut me, "whois").await {
        let pid = start_echo(&node, shard, client.clone(), settings).await?;
        me.send(&client, &(atom("pid"), pid)).await?;
        shard += 1;
    }
    Ok(())
}

async fn start_echo(
    node: &Node,
    shard: usize,
    client: Pid,
    settings: Settings,
) -> Result<Pid, Failure> {
    if settings.work == Work::Call {
        return Ok(node.spawn_on(shard, None, |me| gen_server::serve(me, ask::Echo)).await?);
    }
    Ok(node.spawn_on(shard, None, move |me| told(echo(me, client, settings))).await?)
}

/// Starts the processes that are to be monitored, and stays.
async fn be_watched(mut me: Process, settings: Settings) -> Result<(), Failure> {
    let node = me.node();
    let client = asked(&mut me, "targets").await?;
    let count = if settings.apart { settings.count } else { 1 };
    let mut targets = Vec::with_capacity(count as usize);
    for _ in 0..count {
        targets.push(start_echo(&node, 0, client.clone(), settings).await?);
    }
    me.send(&client, &(atom("targets"), targets)).await?;
    // Nothing else comes until the node stops.
    let _ = me.recv().await;
    Ok(())
}

async fn echo(mut me: Process, client: Pid, settings: Settings) -> Result<(), Failure> {
    while let Ok(signal) = me.recv().await {
        answer(&me, &client, settings.payload, signal).await?;
    }
    Ok(())
}
