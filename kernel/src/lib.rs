//! The node: Erlang's kernel application (`net_kernel`, `net_adm`, the process registry), in Rust.

pub mod cookie;
pub mod epmd;
pub mod net_kernel;
