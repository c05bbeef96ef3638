//! The functions of `erlang` that are about other nodes: cookies, `nodes`, `monitor_node`,
//! `disconnect_node`.

use std::collections::HashSet;
use std::future::ready;

use krarup_transport::handshake::Cookie;
use krarup_transport::term::{Atom, Map, Term};

use super::{Value, ignored, own_name};
use crate::atoms::atom;
use crate::net_kernel::{NodeInfo, NodeType};
use crate::node::{Node, NotAlive, SetCookieError};
use crate::process::{Identity, Process};
use crate::rpc::Raise;

/// Registers them.
pub(super) fn register(node: &Node) {
    of_cookies(node);
    let m = "erlang";
    node.register_function(m, "nodes", |me, ()| async move {
        let visible = nodes(&me, &atom("visible")).await?;
        Ok(Term::List(visible.into_iter().map(|row| Term::Atom(row.name)).collect()))
    });
    node.register_function(m, "nodes", |me, (sets,): (Term,)| async move {
        let rows = nodes(&me, &sets).await?;
        Ok(Term::List(rows.into_iter().map(|row| Term::Atom(row.name)).collect()))
    });
    node.register_function(m, "nodes", |me, (sets, options): (Term, Term)| async move {
        nodes_with_info(&me, &sets, &options).await
    });
    node.register_function(m, "disconnect_node", |me, (name,): (Term,)| async move {
        match name {
            Term::Atom(_) if ignored(&me.node()).is_some() => Ok(atom("ignored")),
            Term::Atom(name) => Ok(Term::from(me.node().disconnect(name.as_str()).await)),
            // As OTP has it.
            _ => Ok(atom("false")),
        }
    });
    // The process that called it ends with the call, and with it what it watches.
    node.register_function(m, "monitor_node", |me, (name, on): (Term, Term)| {
        ready(monitor_node(&me, &name, &on, &Term::nil()))
    });
    node.register_function(m, "monitor_node", |me, (name, on, options): (Term, Term, Term)| {
        ready(monitor_node(&me, &name, &on, &options))
    });
}

fn of_cookies(node: &Node) {
    let m = "erlang";
    node.register_function(m, "get_cookie", |me, ()| async move {
        cookie_term(me.node().cookie().await)
    });
    node.register_function(m, "get_cookie", |me, (of,): (Term,)| async move {
        match of {
            Term::Atom(of) if of.as_str() != Identity::NOBODY => {
                cookie_term(me.node().cookie_for(of.as_str()).await)
            }
            Term::Atom(_) => cookie_term(me.node().cookie().await),
            _ => Err(Raise::error("badarg")),
        }
    });
    node.register_function(m, "set_cookie", |me, (cookie,): (Term,)| async move {
        was_set(me.node().set_cookie(given_cookie(&cookie)?).await)
    });
    node.register_function(m, "set_cookie", |me, (of, cookie): (Term, Term)| async move {
        let cookie = given_cookie(&cookie)?;
        match of {
            Term::Atom(of) if of.as_str() != Identity::NOBODY => {
                match me.node().set_cookie_for(of.as_str(), cookie).await {
                    Err(SetCookieError::TooMany(_)) => Err(Raise::error("system_limit")),
                    outcome => was_set(outcome.map_err(|_| NotAlive)),
                }
            }
            _ => Err(Raise::error("badarg")),
        }
    });
}

fn cookie_term(cookie: Option<Cookie>) -> Value {
    Ok(match cookie {
        Some(cookie) => Term::Atom(Atom::new(&cookie.reveal())?),
        None => atom("nocookie"),
    })
}

fn given_cookie(cookie: &Term) -> Result<Cookie, Raise> {
    let text = cookie.as_atom().ok_or_else(|| Raise::error("badarg"))?;
    Cookie::new(text.as_str()).map_err(|_| Raise::error("badarg"))
}

fn was_set(outcome: Result<(), NotAlive>) -> Value {
    outcome.map_err(|_| Raise::error("distribution_not_started"))?;
    Ok(atom("true"))
}

fn monitor_node(me: &Process, name: &Term, on: &Term, options: &Term) -> Value {
    let badarg = || Raise::error("badarg");
    let name = name.as_atom().ok_or_else(badarg)?;
    let on = boolean(on).ok_or_else(badarg)?;
    let passive = Some("allow_passive_connect");
    let options = options.as_list().ok_or_else(badarg)?;
    if options.iter().any(|option| option.as_atom().map(Atom::as_str) != passive) {
        return Err(badarg());
    }
    let monitored = if options.is_empty() {
        me.monitor_node(name.as_str(), on)
    } else {
        me.monitor_node_passively(name.as_str(), on)
    };
    monitored.map_err(|_| Raise::error("notalive"))?;
    Ok(atom("true"))
}

/// What `nodes/2` tells of one node.
struct Row {
    name: Atom,
    node_type: &'static str,
    connection_id: Option<u32>,
}

impl Row {
    fn connected(info: NodeInfo) -> Self {
        Row {
            name: info.name,
            node_type: info.node_type.as_str(),
            connection_id: Some(info.connection_id),
        }
    }

    fn unconnected(name: Atom, node_type: &'static str) -> Self {
        Row { name, node_type, connection_id: None }
    }
}

/// `nodes/1`: one of the sets, or all of a list of them.
async fn nodes(me: &Process, sets: &Term) -> Result<Vec<Row>, Raise> {
    let sets: Vec<&Term> = match sets {
        Term::List(sets) => sets.iter().collect(),
        set => vec![set],
    };
    let node = me.node();
    let connected = node.nodes().await;
    let names: HashSet<&Atom> = connected.iter().map(|info| &info.name).collect();
    let of = |wanted: fn(&NodeInfo) -> bool| {
        connected.iter().filter(move |info| wanted(info)).cloned().map(Row::connected)
    };
    let this = || own_name(&node).as_atom().cloned().map(|name| Row::unconnected(name, "this"));
    let mut rows: Vec<Row> = Vec::new();
    let mut seen = HashSet::new();
    for set in sets {
        // Each set counts once, however long the list is.
        if !seen.insert(set.as_atom().map(Atom::as_str)) {
            continue;
        }
        match set.as_atom().map(Atom::as_str) {
            Some("visible") => rows.extend(of(|info| info.node_type == NodeType::Visible)),
            Some("hidden") => rows.extend(of(|info| info.node_type == NodeType::Hidden)),
            Some("connected") => rows.extend(of(|_| true)),
            Some("this") => rows.extend(this()),
            Some("known") => {
                rows.extend(of(|_| true));
                rows.extend(this());
                let nobody = Atom::from_static(Identity::NOBODY);
                let known = node.known_nodes().await.into_iter().chain([nobody]);
                let others = known.filter(|name| !names.contains(name));
                rows.extend(others.map(|name| Row::unconnected(name, "known")));
            }
            _ => return Err(Raise::error("badarg")),
        }
    }
    let mut once = HashSet::new();
    rows.retain(|row| once.insert(row.name.clone()));
    Ok(rows)
}

/// `nodes/2`.
async fn nodes_with_info(me: &Process, sets: &Term, options: &Term) -> Value {
    let options = options.as_map().ok_or_else(|| Raise::error("badarg"))?;
    let (mut connection_id, mut node_type) = (false, false);
    for (key, value) in options {
        let wanted = match key.as_atom().map(Atom::as_str) {
            Some("connection_id") => &mut connection_id,
            Some("node_type") => &mut node_type,
            _ => return Err(Raise::error("badarg")),
        };
        *wanted = boolean(value).ok_or_else(|| Raise::error("badarg"))?;
    }
    let rows = nodes(me, sets).await?.into_iter().map(|row| {
        let mut info = Map::default();
        if connection_id {
            let id = row.connection_id.map_or_else(|| atom("undefined"), Term::from);
            info.insert(atom("connection_id"), id);
        }
        if node_type {
            info.insert(atom("node_type"), atom(row.node_type));
        }
        Term::Tuple(vec![Term::Atom(row.name), Term::Map(info)])
    });
    Ok(Term::List(rows.collect()))
}

fn boolean(term: &Term) -> Option<bool> {
    match term.as_atom()?.as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}
