//! What runs on the node that answers.

use krarup::term::Pid;
use krarup::{Node, Process};

use super::message::{Settings, answer, asked, atom};
use super::{Failure, stream, told};
use crate::work::Work;

/// The server's registered process.
pub(super) async fn run(mut me: Process, settings: Settings) -> Result<(), Failure> {
    if settings.work == Work::Stream {
        let client = asked(&mut me).await?;
        me.send(&client, &(atom("pid"), me.pid())).await?;
        return stream::receive(me, client, settings).await;
    }
    let node = me.node();
    // A process of its own answers each client, on the shards in turn.
    let mut shard = 0;
    while let Ok(client) = asked(&mut me).await {
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
    Ok(node.spawn_on(shard, None, move |me| told(echo(me, client, settings))).await?)
}

async fn echo(mut me: Process, client: Pid, settings: Settings) -> Result<(), Failure> {
    while let Ok(signal) = me.recv().await {
        answer(&me, &client, settings.payload, signal).await?;
    }
    Ok(())
}
