//! Receive slabs and the reference-counted slices cut from them.
//!
//! A shard receives into slabs of 257 KiB and cuts frames from them without copying. A [`Slice`]
//! is one such piece: it belongs to the thread that received it, and counting its references costs
//! no atomic operation. [`Slice::share`] gives the [`SharedSlice`] that may go to another thread,
//! where [`SharedSlice::adopt`] makes it a `Slice` again (counted atomically from then on).
//!
//! A slab is used again by its [`SlabPool`] once nothing else refers to it. A [`Receiver`] is the
//! receive side of one link: it takes slab room only while bytes are arriving, so an idle link
//! holds none.

mod block;
mod receiver;
mod slab;
mod slice;
#[cfg(test)]
mod tests;

pub use receiver::Receiver;
pub use slab::{PoolCounters, SLAB_BYTES, SlabPool};
pub use slice::{SharedSlice, Slice};
