//! The functions of `krarup`: this node's own.

use std::time::Duration;

use krarup_transport::io::sleep;
use krarup_transport::term::Term;

use super::super::about;
use super::Value;
use crate::atoms::atom;
use crate::node::Node;
use crate::rpc::Raise;

pub(super) fn register(node: &Node) {
    let m = "krarup";
    node.register_function(m, "info", |me, ()| async move { Ok(about::info(&me).await) });
    node.register_function(m, "metrics", |me, ()| async move { Ok(about::metrics(&me).await) });
    node.register_function(m, "processes", |me, ()| async move {
        Ok(about::processes(&me.node()).await)
    });
    node.register_function(m, "echo", |_, (term,): (Term,)| async move { Value::Ok(term) });
    node.register_function(m, "sleep", |_, (milliseconds,): (u32,)| async move {
        sleep(Duration::from_millis(milliseconds.into())).await;
        Ok(atom("ok"))
    });
    node.register_function(m, "crash", |_, (reason,): (Term,)| async move {
        Value::Err(Raise::Error(reason))
    });
}
