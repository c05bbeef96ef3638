//! epmd over sockets: a server, blocking clients, and the [`Keeper`] of a node's registration.
//!
//! The protocol itself is in [`krarup_transport::epmd`]. Everything here runs on plain threads, so
//! that it works where io_uring does not, and before and after a node's executors.

pub mod client;
mod engine;
mod keeper;
mod server;

#[cfg(test)]
mod tests;

pub use keeper::{EpmdMode, Keeper, KeeperConfig, RegisterError};
pub use krarup_transport::epmd::DEFAULT_PORT;
pub use server::{BindError, Server, ServerConfig, ServerHandle};

/// Reads a list of addresses with commas between, as `-address` and `ERL_EPMD_ADDRESS` have it.
///
/// # Errors
///
/// A sentence that names the part that is no address.
pub fn addresses(text: &str) -> Result<Vec<std::net::IpAddr>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            part.parse().map_err(|_| format!("expected IP addresses with commas, got {part:?}"))
        })
        .collect()
}
