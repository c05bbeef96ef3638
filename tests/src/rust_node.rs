//! Krarup nodes with functions in Rust that Erlang nodes have in Erlang.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use krarup::epmd::EpmdMode;
use krarup::{AutoConnect, Cookie, Node, StartError};

use crate::{Process, callee, functions, puppet};

/// More than one, so that signals cross threads between processes of one node as well.
pub(crate) const SHARDS: usize = 2;
/// How long a node may take until it is ready, on a busy machine and built without optimisation.
const START: Duration = Duration::from_secs(30);

/// Starts a node with the functions of `krarup_puppet`, `krarup_functions` and `krarup_callee`, the
/// stock services, and the cookie `c`. Its epmd is the one at `ERL_EPMD_PORT`.
///
/// # Errors
///
/// As [`krarup::Builder::start`].
///
/// # Panics
///
/// On a shard's own thread.
pub fn start_rust_node(name: &str, auto_connect: AutoConnect) -> Result<Node, StartError> {
    let node = Node::builder(name)
        .cookie(Cookie::new("c").expect("this is a cookie"))
        .epmd(EpmdMode::External)
        .auto_connect(auto_connect)
        .shards(SHARDS)
        .services(true)
        .spin(Duration::ZERO)
        .start()?;
    puppet::register(&node);
    functions::register(&node);
    callee::register(&node);
    Ok(node)
}

/// Runs the program `rust-node`, which does that, and waits until it is ready.
pub(crate) fn run_rust_node(
    program: &Path,
    name: &str,
    epmd_port: u16,
    arguments: &[&str],
) -> Process {
    let mut command = Command::new(program);
    command.arg(name).args(arguments).env("ERL_EPMD_PORT", epmd_port.to_string());
    let process = Process::start(&format!("Rust node {name}"), &mut command);
    process.wait_line("ready ", START);
    process
}
