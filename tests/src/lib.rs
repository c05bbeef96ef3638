//! What the suites that cross crates share: real Erlang nodes, real Krarup nodes, and the ground
//! they stand on.
//!
//! A [`Lab`] is one test's own little world: an epmd port nobody else uses, a home folder, and the
//! nodes started in it. An [`OtpNode`] is a real BEAM of one [`Release`] that evaluates what the
//! test says; a [`KrarupNode`] is the `krarup` command. [`RawPeer`] speaks the protocol by hand,
//! well or badly. [`Cable`] joins two network namespaces and can be cut.
//!
//! Nothing here sleeps for a fixed time in the hope that it is enough: every wait has a condition
//! and a deadline, and everything started ends with its owner.

mod cable;
pub mod fuzz;
mod krarup;
mod lab;
mod otp;
mod peer;
mod process;
mod wait;

pub use cable::{Cable, Namespace};
pub use krarup::{KrarupNode, KrarupNodeBuilder, Ready, krarup_command};
pub use lab::Lab;
pub use otp::{OtpNode, OtpNodeBuilder, Release};
pub use peer::{PeerIdentity, RawPeer, flags};
pub use process::Process;
pub use wait::{missing, until};
