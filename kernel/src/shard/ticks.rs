//! Changes of the tick time, on the links of a shard.

use std::rc::Rc;
use std::time::Instant;

use krarup_transport::dist::{TickAction, TickConfig};

use super::{LinkEntry, Shard};
use crate::net_kernel::TickOrder;

impl Shard {
    /// Does what the kernel says about ticks.
    pub(super) fn obey_ticktime(&self, order: TickOrder) {
        match order {
            TickOrder::Install(config) => self.set_tick_config(config),
            TickOrder::Auxiliary => self.tick_everywhere(),
        }
    }

    fn set_tick_config(&self, config: TickConfig) {
        self.tick_config.set(config);
        let now = Instant::now();
        for link in self.all_links() {
            self.io().with(&link, |state| state.machine.set_tick_config(config, now));
        }
    }

    fn tick_everywhere(&self) {
        for link in self.all_links() {
            let ticks = self.io().with(&link, |state| state.machine.auxiliary_tick());
            if let (Some(TickAction::Send), Some(key)) = (ticks, link.key()) {
                self.io().handle().send_soon(key);
            }
        }
    }

    fn all_links(&self) -> Vec<Rc<LinkEntry>> {
        self.links.borrow().values().cloned().collect()
    }
}
