//! Shards: one executor per core, the driver that moves its links' bytes, and the mesh between
//! them.
//!
//! * [`Executors`] starts one glommio executor per shard and joins them.
//! * [`mesh()`] connects every shard to every other by bounded queues that never block.
//! * [`Driver`] receives, dispatches and sends for all links of a shard, in passes; the node
//!   supplies a [`Host`] that knows what the bytes mean.
//! * [`kick`] is the one thread beside them: it wakes an executor that fell asleep with work left.

pub mod kick;

mod door;
mod driver;
mod executors;
mod guard;
mod host;
mod links;
mod mesh;
mod slots;
mod spin;
#[cfg(test)]
mod tests;

pub use door::Door;
pub use driver::{Driver, DriverConfig};
pub use executors::{Executors, ExecutorsConfig, Pinning, StartError, processors};
pub use guard::{Panicked, guard, spawn};
pub use host::{Counters, End, Host, LinkKey, Outbox, Reading, WRITE_SLICES_MAX, WriteSlices};
pub use links::{Handle, LinkRef};
pub use mesh::{Full, Mesh, MeshConfig, Origin, Remote, Seat, mesh};

use std::fmt;

/// The number of a shard, from zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(u8);

impl ShardId {
    /// Most shards that a node can have.
    pub const COUNT_MAX: usize = 256;

    /// The shard with this number.
    #[must_use]
    pub const fn new(number: u8) -> ShardId {
        ShardId(number)
    }

    /// The shard at this place in a list; `None` beyond [`ShardId::COUNT_MAX`].
    #[must_use]
    pub fn at(index: usize) -> Option<ShardId> {
        u8::try_from(index).ok().map(ShardId)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The place of this shard in a list of all.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
