//! What two connected nodes say to each other: frames, distribution headers with their atom
//! caches, fragments, control messages, and ticks.
//!
//! Everything here is a machine over bytes. [`Link`](crate::link::Link) joins them into one
//! connection.

pub mod atom_cache;
pub mod control;
pub mod fragment;
pub mod frame;
pub mod header;
pub mod tick;

pub use control::{Control, ControlError, Destination, ProcessOrName};
pub use frame::{FrameReader, Front, Shape};
pub use header::Atoms;
pub use tick::{TickAction, TickConfig, Ticker};
