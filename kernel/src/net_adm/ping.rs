//! `ping`: whether a node accepts us.

use std::time::{Duration, Instant};

use krarup_transport::term::Atom;

use crate::gen_server::CallError;
use crate::node::{Node, Reply};
use crate::process::Process;
use crate::rpc;
use crate::shard::Approach;

/// Connects to `node` if need be and asks its `net_kernel` whether it accepts us.
///
/// OTP: `net_adm:ping/1`; the question is the `gen` call `{is_auth, node()}`, the good answer
/// `yes`. True is `pong`.
pub(crate) fn ping(local: &Node, node: &str, timeout: Duration) -> Reply<bool> {
    if local.name().is_some_and(|own| own.as_str() == node) {
        return Reply::known(true);
    }
    let (Some(own), Ok(node)) = (local.name(), Atom::new(node)) else {
        return Reply::known(false);
    };
    local.ask(
        || false,
        move |me| async move { ask(&me, &own, &node, Instant::now() + timeout).await },
    )
}

async fn ask(me: &Process, own: &Atom, node: &Atom, deadline: Instant) -> bool {
    let left = || deadline.saturating_duration_since(Instant::now());
    let connected = rpc::within(left(), me.node().auto_connect(node, Approach::Active)).await;
    if !matches!(connected, Some(Ok(()))) {
        return false;
    }
    let question = (Atom::from_static("is_auth"), own);
    match me.call::<Atom>(("net_kernel", node.as_str()), &question, left()).await {
        Ok(answer) if answer.as_str() == "yes" => true,
        // OTP waits for an answer as long as the connection is there.
        Err(CallError::Timeout) => false,
        _ => {
            me.node().disconnect(node.as_str()).await;
            false
        }
    }
}
