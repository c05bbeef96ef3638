//! The tick time of a living node (Erlang: `net_kernel:get_net_ticktime/0`, `set_net_ticktime/1,2`).

use std::time::Duration;

use super::{Node, NotAlive, Reply};
use crate::net_kernel::{NetTicktime, TicktimeChange};

impl Node {
    /// The time of silence after which a peer is down, or the one that it is being changed to.
    ///
    /// # Errors
    /// [`NotAlive`].
    pub fn net_ticktime(&self) -> Reply<Result<NetTicktime, NotAlive>> {
        let (done, reply) = Reply::pair(|| Err(NotAlive));
        self.on_kernel(move |shard| {
            let kernel = shard.kernel().filter(|kernel| kernel.is_alive());
            let _ = done.send(kernel.map(|kernel| kernel.net_ticktime()).ok_or(NotAlive));
        });
        reply
    }

    /// Changes the tick time of this node, rounded up to whole milliseconds for each of its
    /// intervals.
    ///
    /// All nodes of a cluster must begin this change, to the same time, before the transition of any
    /// of them is over: until then each sends often enough for both times. A longer time is in force
    /// at once, a shorter one after the transition.
    ///
    /// # Errors
    /// [`NotAlive`].
    pub fn set_net_ticktime(
        &self,
        ticktime: Duration,
        transition: Duration,
    ) -> Reply<Result<TicktimeChange, NotAlive>> {
        let (done, reply) = Reply::pair(|| Err(NotAlive));
        self.on_kernel(move |shard| {
            let kernel = shard.kernel().filter(|kernel| kernel.is_alive());
            let change = kernel.map(|kernel| kernel.set_net_ticktime(ticktime, transition));
            let _ = done.send(change.ok_or(NotAlive));
        });
        reply
    }
}
