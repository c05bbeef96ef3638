//! The tick time of the node, and its change.

use std::rc::Rc;
use std::time::{Duration, Instant};

use krarup_transport::dist::TickConfig;
use krarup_transport::io::sleep;

use super::KernelShard;
use crate::net_kernel::{NetTicktime, TickOrder, Ticktime, TicktimeChange};
use crate::shard::{Shard, ShardMessage};

impl KernelShard {
    /// Another life begins, with this tick time.
    pub(super) fn begin_ticks(self: &Rc<Self>, config: TickConfig) {
        self.ticktime.replace(Ticktime::new(config));
        let Some(shard) = self.shard.borrow().upgrade() else { return };
        for other in 0..shard.count {
            let obey = move |shard: &Rc<Shard>| shard.obey_ticktime(TickOrder::Install(config));
            shard.tell(other, ShardMessage::Run(Box::new(obey)));
        }
    }

    /// The tick time, or the one it changes to.
    pub(crate) fn net_ticktime(&self) -> NetTicktime {
        self.ticktime.borrow().get()
    }

    /// Changes the tick time (OTP: `set_net_ticktime/2`).
    pub(crate) fn set_net_ticktime(
        self: &Rc<Self>,
        ticktime: Duration,
        transition: Duration,
    ) -> TicktimeChange {
        let change = self.ticktime.borrow_mut().set(ticktime, transition, Instant::now());
        self.obey_ticktime();
        let is_under_way = self.ticktime.borrow().deadline().is_some();
        if change == TicktimeChange::Initiated {
            tracing::info!(?ticktime, ?transition, "the tick time changes");
            if is_under_way {
                let kernel = Rc::clone(self);
                glommio::spawn_local(async move { kernel.change_ticktime().await }).detach();
            }
        }
        change
    }

    /// Follows a change to its end.
    async fn change_ticktime(self: Rc<Self>) {
        loop {
            let deadline = self.ticktime.borrow().deadline();
            let Some(deadline) = deadline else { return };
            sleep(deadline.saturating_duration_since(Instant::now())).await;
            self.ticktime.borrow_mut().expire(Instant::now());
            self.obey_ticktime();
        }
    }

    fn obey_ticktime(self: &Rc<Self>) {
        let Some(shard) = self.shard.borrow().upgrade() else { return };
        loop {
            let order = self.ticktime.borrow_mut().next_order();
            let Some(order) = order else { return };
            if let TickOrder::Install(config) = order {
                self.set_tick_time_of_sessions(config.ticktime());
                tracing::info!(ticktime = ?config.ticktime(), "the tick time is in force");
            }
            for other in 0..shard.count {
                let obey = move |shard: &Rc<Shard>| shard.obey_ticktime(order);
                shard.tell(other, ShardMessage::Run(Box::new(obey)));
            }
        }
    }
}
