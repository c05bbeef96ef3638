//! Functions that other nodes call, and calls of theirs (Erlang: `rpc`, `erpc`, `spawn`).
//!
//! A function is callable from other nodes only if this node registered it: a cookie gives messages,
//! not remote code.

mod arguments;
mod call;
mod error;
mod function;
mod invocation;
mod raise;

pub use arguments::{Arguments, FromArguments};
pub use error::{RpcError, SpawnAtError};
pub use raise::Raise;

pub(crate) use call::{Ties, call, call_from_outside, cast, named, spawn_at, within};
pub(crate) use function::{Function, FunctionName, Functions, typed};
pub(crate) use invocation::Invocation;
