//! The handshake that opens every link, both roles, without I/O.
//!
//! OTP: erl_dist_protocol, "Distribution Handshake"; `dist_util.erl`.

mod flags;

pub use flags::{FlagKind, FlagRow, Flags};
