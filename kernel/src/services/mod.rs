//! The processes that a node brings with it.
//!
//! `net_kernel` and `user` are there on every node: without them nobody could ping us, and what we
//! start on other nodes could not print. The stock services only run when asked for: `echo` and
//! `sink` for trying out and measuring, `krarup`, `rex` and the functions for administration.

mod about;
mod echo;
mod functions;
mod krarup;
mod net_kernel;
mod rex;
mod sink;
mod user;

use crate::gen_server;

use crate::node::{Node, SpawnError};

/// Starts what every node has.
pub(crate) async fn start_always(node: &Node) -> Result<(), SpawnError> {
    node.spawn_on(0, Some("net_kernel"), net_kernel::run).await?;
    node.spawn_on(0, Some("user"), user::run).await.map(drop)
}

/// Starts the stock services.
pub(crate) async fn start_stock(node: &Node) -> Result<(), SpawnError> {
    node.spawn_on(0, Some("echo"), echo::run).await?;
    node.spawn_on(0, Some("sink"), sink::run).await?;
    functions::register(node);
    node.spawn_on(0, Some("rex"), rex::run).await?;
    let serve = |me| gen_server::serve(me, krarup::Krarup);
    node.spawn_on(0, Some("krarup"), serve).await.map(drop)
}
