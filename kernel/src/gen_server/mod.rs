//! Erlang's `gen_server`: calls and casts, both ways, and servers written in Rust.
//!
//! OTP: `gen.erl`, `gen_server.erl`. Elixir's `GenServer` uses the same messages.

mod call;
mod error;
mod request;
mod server;

pub use call::{Call, MultiCall};
pub use error::CallError;
pub use request::{Caller, Request};
pub use server::{Answer, GenServer, serve};

pub(crate) use call::{answered_tag, call_from_outside, cast_message};
