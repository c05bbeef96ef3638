//! The functions that a node with stock services offers to every Erlang shell.
//!
//! `erlang`, `net_kernel` and `net_adm`: this node as its administrators see it, with the values of
//! OTP. Of other modules only what nodes ask each other unasked, answered as by a node that does
//! not run them. `krarup`: this node's own.

use std::time::Duration;

use krarup_transport::io::sleep;
use krarup_transport::term::{Atom, Pid, Term};

use super::about;
use crate::atoms::atom;
use crate::net_kernel::{NodeInfo, NodeType};
use crate::node::{NameType, Node};
use crate::process::{Destination, Process};
use crate::rpc::Raise;

/// How long `net_adm:ping/1` waits for an answer, beyond which no node is alive.
const PING_TIME_MAX: Duration = Duration::from_secs(60);

type Value = Result<Term, Raise>;

/// Registers all of them.
pub(super) fn register(node: &Node) {
    of_erlang(node);
    of_net_kernel(node);
    of_net_adm(node);
    of_absent_applications(node);
    of_krarup(node);
}

fn of_erlang(node: &Node) {
    let m = "erlang";
    node.register_function(m, "node", |me, ()| async move { Ok(own_name(&me.node())) });
    node.register_function(m, "is_alive", |me, ()| async move { Ok(me.node().is_alive()) });
    node.register_function(m, "nodes", |me, ()| async move { nodes(&me, &atom("visible")).await });
    node.register_function(
        m,
        "nodes",
        |me, (what,): (Term,)| async move { nodes(&me, &what).await },
    );
    node.register_function(m, "whereis", |me, (name,): (Atom,)| async move {
        Ok(me.whereis(&name).map_or_else(|| atom("undefined"), Term::Pid))
    });
    node.register_function(m, "registered", |me, ()| async move {
        Ok(Term::List(me.node().registered().await.into_iter().map(Term::Atom).collect()))
    });
    node.register_function(m, "get_cookie", |me, ()| async move {
        Ok(me.node().cookie().await.map_or_else(|| atom("nocookie"), Term::Atom))
    });
    node.register_function(m, "disconnect_node", |me, (name,): (Atom,)| async move {
        Ok(me.node().disconnect(name.as_str()).await)
    });
    // The process that called it ends with the call, and with it what it watches.
    node.register_function(m, "monitor_node", |_, (_, _): (Atom, bool)| async move { Ok(true) });
    node.register_function(m, "send", |me, (to, message): (Term, Term)| async move {
        let to = match to {
            Term::Pid(pid) => Destination::Pid(pid),
            Term::Reference(alias) => Destination::Alias(alias),
            Term::Atom(name) if me.whereis(&name).is_none() => return Err(Raise::error("badarg")),
            Term::Atom(name) => Destination::Name(name),
            Term::Tuple(parts) => match parts.as_slice() {
                [Term::Atom(name), Term::Atom(node)] => {
                    Destination::Remote { name: name.clone(), node: node.clone() }
                }
                _ => return Err(Raise::error("badarg")),
            },
            _ => return Err(Raise::error("badarg")),
        };
        // As in Erlang, nobody is told that it could not be delivered.
        let _ = me.send(to, &message).await;
        Ok(message)
    });
    node.register_function(m, "is_process_alive", |me, (pid,): (Pid,)| async move {
        let own = me.pid();
        if pid.node != own.node {
            return Err(Raise::error("badarg"));
        }
        Ok(me.node().processes().await.contains(&pid))
    });
    // What is known of processes is not kept in Erlang's terms.
    node.register_function(
        m,
        "process_info",
        |_, (_,): (Pid,)| async move { Ok(atom("undefined")) },
    );
    node.register_function(m, "process_info", |_, (_, _): (Pid, Term)| async move {
        Ok(atom("undefined"))
    });
    node.register_function(m, "system_info", |me, (what,): (Term,)| async move {
        system_info(&me.node(), &what)
    });
    node.register_function(
        m,
        "function_exported",
        |me, (module, function, arity): (Atom, Atom, u8)| async move {
            Ok(me.node().has_function(&module, Some((&function, arity.into()))))
        },
    );
}

fn of_net_kernel(node: &Node) {
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
        Ok(me.node().config().net_ticktime.as_secs())
    });
    node.register_function(m, "longnames", |me, ()| async move {
        Ok(me.node().config().name_type == NameType::Long)
    });
    node.register_function(m, "nodename", |me, ()| async move { Ok(own_name(&me.node())) });
    node.register_function(m, "allow", |me, (nodes,): (Vec<Term>,)| async move {
        let names: Option<Vec<String>> =
            nodes.iter().map(|node| Some(node.as_atom()?.as_str().to_owned())).collect();
        let Some(names) = names else { return Ok(atom("error")) };
        me.node().allow(names).await;
        Ok(atom("ok"))
    });
}

fn of_net_adm(node: &Node) {
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

/// What nodes ask each other without being told to, and what their shells and tools look for.
fn of_absent_applications(node: &Node) {
    node.register_function("application", "which_applications", |_, ()| async move {
        Ok(Term::List(Vec::new()))
    });
    node.register_function("code", "ensure_loaded", |me, (module,): (Atom,)| async move {
        Ok(if me.node().has_function(&module, None) {
            Term::Tuple(vec![atom("module"), Term::Atom(module)])
        } else {
            Term::Tuple(vec![atom("error"), atom("nofile")])
        })
    });
    node.register_function(
        "code",
        "which",
        |_, (_,): (Atom,)| async move { Ok(atom("non_existing")) },
    );
    node.register_function("code", "is_loaded", |_, (_,): (Atom,)| async move { Ok(false) });
    // Of a node in no group; itself it would be in one of its own.
    node.register_function("global_group", "get_own_nodes", |_, ()| async move {
        Ok(Term::List(Vec::new()))
    });
    node.register_function("global", "whereis_name", |_, (_,): (Term,)| async move {
        Ok(atom("undefined"))
    });
    node.register_function("global", "registered_names", |_, ()| async move {
        Ok(Term::List(Vec::new()))
    });
}

fn of_krarup(node: &Node) {
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

/// `nodes/1`: one of the sets, or all of a list of them.
async fn nodes(me: &Process, what: &Term) -> Value {
    let sets: Vec<&Term> = match what {
        Term::List(sets) => sets.iter().collect(),
        set => vec![set],
    };
    let node = me.node();
    let connected = node.nodes().await;
    let of = |wanted: fn(&NodeInfo) -> bool| {
        connected.iter().filter(move |info| wanted(info)).map(|info| Term::Atom(info.name.clone()))
    };
    let mut all = Vec::new();
    for set in sets {
        match set.as_atom().map(Atom::as_str) {
            Some("visible") => all.extend(of(|info| info.node_type == NodeType::Visible)),
            Some("hidden") => all.extend(of(|info| info.node_type == NodeType::Hidden)),
            Some("connected") => all.extend(of(|_| true)),
            Some("this") => all.push(own_name(&node)),
            Some("known") => {
                all.extend(of(|_| true));
                all.push(own_name(&node));
            }
            _ => return Err(Raise::error("badarg")),
        }
    }
    let mut seen = Vec::with_capacity(all.len());
    for name in all {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    Ok(Term::List(seen))
}

/// What others look at to learn whom they talk to.
fn system_info(node: &Node, what: &Term) -> Value {
    Ok(match what.as_atom().map(Atom::as_str) {
        Some("creation") => Term::from(node.creation().map_or(0, |creation| creation.0)),
        Some("version" | "otp_release" | "system_version") => {
            Term::charlist(concat!("krarup ", env!("CARGO_PKG_VERSION")))
        }
        Some("schedulers" | "schedulers_online") => Term::from(node.shards() as u64),
        Some("wordsize") => Term::from(size_of::<usize>() as u64),
        Some("system_architecture") => Term::charlist("krarup-linux"),
        _ => return Err(Raise::error("badarg")),
    })
}

fn own_name(node: &Node) -> Term {
    node.name().map_or_else(|| atom("nonode@nohost"), Term::Atom)
}
