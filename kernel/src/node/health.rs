//! Whether a node is well, for those who watch it from outside.

use std::time::{Duration, Instant};

use super::{ConnectionStats, Node, Reply};
use crate::shard::ShardMessage;

impl Node {
    /// Asks every shard to answer at once; how long each took to, in the order of their numbers.
    /// None is the answer of one that has stopped, or whose queue is full.
    ///
    /// A shard that a process holds up does not answer meanwhile: see [`Reply::wait_for`].
    pub fn answer_times(&self) -> Vec<Reply<Option<Duration>>> {
        let ask = |shard: usize| {
            let (done, reply) = Reply::pair(|| None);
            let asked = Instant::now();
            let answer = move |_: &_| {
                // Whoever asked may have stopped waiting.
                let _ = done.send(Some(asked.elapsed()));
            };
            let message = ShardMessage::Run(Box::new(answer));
            match self.remote(shard) {
                Some(remote) if remote.try_push(message).is_ok() => reply,
                _ => Reply::known(None),
            }
        };
        (0..self.shards()).map(ask).collect()
    }

    /// Whether other nodes can find this one: it is alive, and its name is registered with the epmd
    /// that it has to be registered with, if any.
    pub fn is_registered(&self) -> bool {
        self.with_alive(super::life::Alive::is_registered).unwrap_or(false)
    }

    /// What became of connections since the node's start.
    pub fn connection_stats(&self) -> Reply<ConnectionStats> {
        let (done, reply) = Reply::pair(ConnectionStats::default);
        self.on_kernel(move |shard| {
            let stats = shard.kernel().map(|kernel| kernel.connection_stats()).unwrap_or_default();
            let _ = done.send(stats);
        });
        reply
    }
}
