//! The functions of `net_kernel`.

use krarup_transport::term::{Atom, Term};

use super::Value;
use crate::atoms::atom;
use crate::node::Node;
use crate::process::Process;

pub(super) fn register(node: &Node) {
    let m = "net_kernel";
    node.register_function(m, "connect_node", |me, (name,): (Atom,)| async move {
        connect(&me, &name, false).await
    });
    node.register_function(m, "hidden_connect_node", |me, (name,): (Atom,)| async move {
        connect(&me, &name, true).await
    });
    node.register_function(m, "disconnect_node", |me, (name,): (Atom,)| async move {
        Ok(me.node().disconnect(name.as_str()).await)
    });
    node.register_function(m, "get_net_ticktime", |me, ()| async move {
        Ok(me.node().tick().ticktime().as_secs())
    });
    node.register_function(m, "allow", |me, (nodes,): (Vec<Term>,)| async move {
        let names: Option<Vec<String>> =
            nodes.iter().map(|node| Some(node.as_atom()?.as_str().to_owned())).collect();
        let Some(names) = names else { return Ok(atom("error")) };
        me.node().allow(names).await;
        Ok(atom("ok"))
    });
}

async fn connect(me: &Process, name: &Atom, hidden: bool) -> Value {
    let node = me.node();
    if node.name().as_ref() == Some(name) {
        return Ok(atom("true"));
    }
    let connected = if hidden {
        node.connect_hidden(name.as_str()).await
    } else {
        node.connect(name.as_str()).await
    };
    Ok(Term::from(connected.is_ok()))
}
