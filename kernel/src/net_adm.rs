//! Erlang's `net_adm`: ping and names.

use std::time::{Duration, Instant};

use krarup_transport::term::Atom;

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
    let (done, reply) = Reply::pair(|| false);
    let started = local.spawn_on(0, None, move |me| async move {
        let answer = ask(&me, &own, &node, Instant::now() + timeout).await;
        let _ = done.send(answer.unwrap_or(false));
        Ok(())
    });
    // A node without a free process slot drops the sender, and the answer is false.
    drop(started);
    reply
}

async fn ask(me: &Process, own: &Atom, node: &Atom, deadline: Instant) -> Option<bool> {
    let left = || deadline.saturating_duration_since(Instant::now());
    rpc::within(left(), me.node().auto_connect(node, Approach::Active)).await?.ok()?;
    let question = (Atom::from_static("is_auth"), own);
    let answer = me.call::<Atom>(("net_kernel", node.as_str()), &question, left()).await;
    Some(answer.ok()?.as_str() == "yes")
}
