//! Erlang's distribution protocol as state machines without I/O, and the shards that carry it.
//!
//! With `default-features = false` only the protocol remains: terms, epmd, handshake, frames,
//! fragments, control messages and the [`link`] that joins them. None of it opens a socket, reads
//! a clock or draws randomness; time, bytes and challenges are arguments.

pub mod buffer;
pub mod dist;
pub mod epmd;
pub mod fabric;
pub mod handshake;
pub mod link;
pub mod term;

#[cfg(feature = "io")]
pub mod io;
#[cfg(feature = "io")]
pub mod shard;
