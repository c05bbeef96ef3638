//! The functions of `erlang` that say what a node is, and those of its distribution.

use krarup_transport::term::{Atom, Pid, Term};

use super::{Value, own_name};
use crate::atoms::atom;
use crate::node::Node;
use crate::process::Destination;
use crate::rpc::Raise;

pub(super) fn register(node: &Node) {
    let m = "erlang";
    node.register_function(m, "node", |me, ()| async move { Ok(own_name(&me.node())) });
    node.register_function(m, "is_alive", |me, ()| async move { Ok(me.node().is_alive()) });
    node.register_function(m, "whereis", |me, (name,): (Atom,)| async move {
        Ok(me.whereis(&name).map_or_else(|| atom("undefined"), Term::Pid))
    });
    node.register_function(m, "registered", |me, ()| async move {
        Ok(Term::List(me.node().registered().await.into_iter().map(Term::Atom).collect()))
    });
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
