//! The functions of `net_kernel`.

use krarup_transport::term::{Atom, Term};

use super::{Value, ignored};
use crate::atoms::atom;
use crate::net_kernel::NodeMonitorOptions;
use crate::node::Node;
use crate::process::Process;
use crate::rpc::Raise;

pub(super) fn register(node: &Node) {
    let m = "net_kernel";
    node.register_function(m, "connect_node", |me, (name,): (Atom,)| async move {
        connect(&me, &name, false).await
    });
    node.register_function(m, "hidden_connect_node", |me, (name,): (Atom,)| async move {
        connect(&me, &name, true).await
    });
    // What `erlang:disconnect_node/1` is made of; Elixir and older programs call it by itself.
    node.register_function(m, "disconnect", |me, (name,): (Term,)| async move {
        if let Some(ignored) = ignored(&me.node()) {
            return Ok(ignored);
        }
        Ok(match name {
            Term::Atom(name) => Term::from(me.node().disconnect(name.as_str()).await),
            _ => Term::from(false),
        })
    });
    node.register_function(m, "allow", |me, (nodes,): (Term,)| async move {
        if let Some(ignored) = ignored(&me.node()) {
            return Ok(ignored);
        }
        let names = nodes.as_list().and_then(|nodes| {
            nodes.iter().map(|node| Some(node.as_atom()?.as_str().to_owned())).collect()
        });
        let Some(names) = names else { return Ok(atom("error")) };
        Ok(atom(if me.node().allow(names).await.is_ok() { "ok" } else { "error" }))
    });
    node.register_function(m, "allowed", |me, ()| async move {
        if let Some(ignored) = ignored(&me.node()) {
            return Ok(ignored);
        }
        let names = me.node().allowed().await;
        let names: Result<Vec<Term>, Raise> =
            names.iter().map(|name| Ok(Term::Atom(Atom::new(name)?))).collect();
        Ok(Term::Tuple(vec![atom("ok"), Term::List(names?)]))
    });
    node.register_function(m, "monitor_nodes", |me, (flag,): (Term,)| async move {
        Ok(monitor_nodes(&me, &flag, &Term::nil()))
    });
    node.register_function(m, "monitor_nodes", |me, (flag, options): (Term, Term)| async move {
        Ok(monitor_nodes(&me, &flag, &options))
    });
}

/// The subscription is that of the process that runs the call, and ends with it: of use to Rust
/// functions, which share it.
fn monitor_nodes(me: &Process, flag: &Term, options: &Term) -> Term {
    let on = match flag.as_atom().map(Atom::as_str) {
        Some("true") => true,
        Some("false") => false,
        _ => return atom("error"),
    };
    match NodeMonitorOptions::from_term(options) {
        Ok(options) => {
            me.monitor_nodes_with(on, options);
            atom("ok")
        }
        Err(bad) => bad.into_term(),
    }
}

async fn connect(me: &Process, name: &Atom, hidden: bool) -> Value {
    let node = me.node();
    if let Some(ignored) = ignored(&node) {
        return Ok(ignored);
    }
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
