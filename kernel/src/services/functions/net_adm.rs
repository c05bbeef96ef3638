//! The functions of `net_adm`.

use std::time::Duration;

use krarup_transport::term::{Atom, Term};

use crate::atoms::atom;
use crate::node::Node;

/// How long `net_adm:ping/1` waits for an answer, beyond which no node is alive.
const PING_TIME_MAX: Duration = Duration::from_secs(60);

pub(super) fn register(node: &Node) {
    let m = "net_adm";
    node.register_function(m, "ping", |me, (name,): (Atom,)| async move {
        let is_there = me.node().ping(name.as_str(), PING_TIME_MAX).await;
        Ok(atom(if is_there { "pong" } else { "pang" }))
    });
    node.register_function(m, "localhost", |_, ()| async move {
        let name = krarup_tuning::host::full_name().or_else(|_| krarup_tuning::host::name())?;
        Ok(Term::charlist(&name))
    });
}
