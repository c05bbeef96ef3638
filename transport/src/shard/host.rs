//! What the node supplies to a shard's driver, and the types they share.

use std::fmt;
use std::io::{self, IoSlice};
use std::time::Instant;

use smallvec::SmallVec;

#[cfg(doc)]
use super::driver::DriverConfig;
use super::guard::Panicked;
use super::links::Handle;
use super::mesh::Origin;
use crate::buffer::Receiver;

/// Slices that one vectored write takes.
pub const WRITE_SLICES_MAX: usize = 64;

/// The slices of one vectored write. [`Outbox::gather`] fills at most [`WRITE_SLICES_MAX`], so
/// that they stay on the stack.
pub type WriteSlices<'a> = SmallVec<[IoSlice<'a>; WRITE_SLICES_MAX]>;

/// What the node does with what a shard's links bring, and what it keeps for each link.
///
/// The driver calls these one at a time, from its own task, and holds no borrow of anything the
/// methods of [`Handle`] need. A panic in one of them is caught: it ends the link it concerns, or
/// is logged and counted.
pub trait Host: Sized + 'static {
    /// What is kept for each link.
    type Link: Outbox + 'static;
    /// What goes between shards, and from other threads to a shard.
    type Message: Send + 'static;
    /// Why the bytes of a link were refused.
    type Error: fmt::Debug + 'static;

    /// Bytes arrived on a link. Takes every complete frame out of `inbox`; what it leaves is
    /// offered again when more has come, or when reading is resumed after a pause.
    ///
    /// # Errors
    /// When the link must end because of what it brought; [`Host::ended`] gets the error.
    fn received(
        &self,
        shard: &Handle<Self>,
        link: LinkKey,
        inbox: &mut Receiver,
    ) -> Result<(), Self::Error>;

    /// A link has ended by itself. Everything it brought was given to [`Host::received`] before.
    /// Links closed by [`Handle::close`] do not come here.
    fn ended(&self, shard: &Handle<Self>, link: LinkKey, state: Self::Link, end: End<Self::Error>);

    /// A message came through the mesh or from another thread.
    fn message(&self, shard: &Handle<Self>, from: Origin, message: Self::Message);

    /// The shard's clock: once per [`DriverConfig::tick`].
    fn tick(&self, shard: &Handle<Self>, now: Instant);

    /// Runs what [`Handle::note_ready`] spoke of, once each.
    fn run_ready(&self, shard: &Handle<Self>) {
        let _ = shard;
    }

    /// The end of every pass, before what was queued on links is written. Passes follow each other
    /// within less than a microsecond while the driver spins, so this must cost nothing when there
    /// is nothing to do.
    fn flush(&self, shard: &Handle<Self>) {
        let _ = shard;
    }
}

/// The sending side of a link: bytes in the order they are to be written.
pub trait Outbox {
    /// Bytes waiting to be written.
    fn queued_bytes(&self) -> usize;

    /// Whether at least so many bytes wait. Asked after every message, and may be answered roughly
    /// where the exact number is not at hand.
    #[inline]
    fn has_queued(&self, bytes: usize) -> bool {
        self.queued_bytes() >= bytes
    }

    /// The first waiting bytes, as at most [`WRITE_SLICES_MAX`] slices. At least one byte if any
    /// is waiting.
    fn gather<'a>(&'a mut self, slices: &mut WriteSlices<'a>);

    /// The first `bytes` of those gathered were written. This is the place to wake tasks that
    /// wait for room; it must not call the [`Handle`].
    fn written(&mut self, bytes: usize);
}

/// Why a link ended by itself.
#[derive(Debug)]
pub enum End<E> {
    /// The peer closed the connection.
    Closed,
    /// The connection failed.
    Failed(io::Error),
    /// What was queued could not be written, and nothing says that the peer closed before.
    Unwritable(io::Error),
    /// The host refused what it brought.
    Refused(E),
    /// The host panicked over what it brought.
    Panicked(Panicked),
}

/// Names a link of one shard. Never used again for another link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// Whether a new link is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// From the start.
    On,
    /// Only after [`Handle::resume_reading`].
    Paused,
}

/// What a shard has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Passes of the driver.
    pub passes: u64,
    /// Times it slept until something came.
    pub parks: u64,
    /// Times it slept for a millisecond at most.
    pub naps: u64,
    /// Times it was woken from outside because it stood still with work to do.
    pub kicks: u64,
    /// Successful receive calls.
    pub receives: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Successful send calls.
    pub sends: u64,
    /// Send calls made in the turn of the task that sent.
    pub direct_sends: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Times a link could take no more bytes.
    pub blocked: u64,
    /// Messages from other shards and threads.
    pub messages: u64,
    /// Panics of the host that were caught.
    pub panics: u64,
}

impl LinkKey {
    /// The key as one number, different from every other key of the shard.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(super) fn from_u64(number: u64) -> LinkKey {
        let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
        LinkKey {
            generation: u32::from_be_bytes([a, b, c, d]),
            index: u32::from_be_bytes([e, f, g, h]),
        }
    }
}

impl<E: fmt::Display> fmt::Display for End<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed => f.write_str("closed by the peer"),
            End::Failed(error) | End::Unwritable(error) => error.fmt(f),
            End::Refused(error) => error.fmt(f),
            End::Panicked(panicked) => panicked.fmt(f),
        }
    }
}
