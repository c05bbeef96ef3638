//! What a distribution socket and its host can be set to.
//!
//! * [`option`]: the socket options Erlang's `inet:setopts` knows for distribution sockets, and a
//!   few more of Linux, typed, with their text forms.
//! * [`profile`]: named sets of options (`latency`, `throughput`, `balanced`, `wan`).
//! * [`host`]: what this host grants: cores, the cgroup quota, locked memory, io_uring.
//! * [`advice`]: what of this host could be better, why, and how to change it and back.
//! * [`nearest`]: "did you mean": the known word closest to a mistyped one.

pub mod advice;
pub mod host;
pub mod nearest;
pub mod option;
pub mod profile;
