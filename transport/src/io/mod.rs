//! Sockets on glommio: the only place that makes system calls for the network.
//!
//! The surface is narrow on purpose: [`Socket::try_recv`], [`Socket::try_sendv`],
//! [`Socket::wait_readable`] and [`Socket::wait_writable`]. A shard's driver calls the first two
//! itself; waiting is left to glommio's io_uring. [`Readiness`] says which of many sockets have
//! something to do, and is waited for as one descriptor. [`probe`] finds out, before an executor
//! is built, whether this host lets us have io_uring at all.

pub mod probe;

mod bell;
mod listener;
mod options;
mod readiness;
mod socket;
#[cfg(test)]
mod tests;
mod wait;
mod watch;

pub use bell::Bell;
pub use listener::{ListenConfig, ListenError, Listener};
pub use options::SocketOptions;
pub use readiness::{Event, Events, Interest, Readiness};
pub use socket::{PeerAddress, Socket};
pub use wait::{Wait, sleep, within};
pub use watch::Watch;
