//! The processes that a node brings with it.
//!
//! `net_kernel` is there on every node: without it nobody could ping us. `echo` and `sink` are the
//! stock services, for trying out and measuring, and only run when asked for.

mod echo;
mod net_kernel;
mod sink;

use crate::node::{Node, SpawnError};

/// Starts what every node has.
pub(crate) async fn start_always(node: &Node) -> Result<(), SpawnError> {
    node.spawn_on(0, Some("net_kernel"), net_kernel::run).await.map(drop)
}

/// Starts the stock services.
pub(crate) async fn start_stock(node: &Node) -> Result<(), SpawnError> {
    node.spawn_on(0, Some("echo"), echo::run).await?;
    node.spawn_on(0, Some("sink"), sink::run).await.map(drop)
}
