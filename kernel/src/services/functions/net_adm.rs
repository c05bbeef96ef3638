//! The functions of `net_adm`.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use krarup_transport::term::{Atom, Term};

use super::Value;
use super::turns::Turns;
use crate::atoms::atom;
use crate::net_adm::{self, Host, NamesError};
use crate::node::{Node, Stopped};
use crate::process::{Process, Signal};
use crate::rpc::Raise;

/// How long `net_adm:ping/1` waits for an answer, beyond which no node is alive.
const PING_TIME_MAX: Duration = Duration::from_secs(60);
/// How long one host's epmd is waited for.
const NAMES_TIME_MAX: Duration = Duration::from_secs(10);
/// How long `ping_list/1` waits for one more node (OTP: `net_adm.erl`, `collect_new/2`).
const QUIET: Duration = Duration::from_secs(3);
/// Threads that calls of others block at a time: one that looks at files, asks the DNS or an epmd.
const BLOCKED_MAX: usize = 64;
/// Of all nodes of this program, since threads are the program's.
static TURNS: LazyLock<Arc<Turns>> = LazyLock::new(|| Turns::new(BLOCKED_MAX));

pub(super) fn register(node: &Node) {
    let m = "net_adm";
    node.register_function(m, "ping", |me, (name,): (Term,)| async move {
        Ok(answer(ping(&me.node(), &name).await?))
    });
    node.register_function(m, "ping_list", |me, (nodes,): (Term,)| async move {
        ping_list(me, nodes).await
    });
    node.register_function(m, "localhost", |me, ()| async move {
        Ok(Term::charlist(&blocking(&me.node(), net_adm::localhost).await??))
    });
    node.register_function(m, "dns_hostname", |me, (host,): (Term,)| async move {
        dns_hostname(&me.node(), host).await
    });
    node.register_function(m, "host_file", |me, ()| async move {
        Ok(match blocking(&me.node(), net_adm::host_file).await? {
            Ok(hosts) => Term::List(hosts),
            Err(error) => Term::Tuple(vec![atom("error"), error.to_term()]),
        })
    });
    node.register_function(m, "names", |me, ()| async move {
        let host = blocking(&me.node(), net_adm::localhost).await??;
        Ok(names_term(names(&me.node(), Host::Name(host)).await?))
    });
    node.register_function(m, "names", |me, (host,): (Term,)| async move {
        Ok(names_term(names(&me.node(), named(&host)?).await?))
    });
    node.register_function(m, "world", |me, ()| async move { world(&me, &atom("silent")).await });
    node.register_function(m, "world", |me, (verbosity,): (Term,)| async move {
        world(&me, &verbosity).await
    });
    node.register_function(m, "world_list", |me, (hosts,): (Term,)| async move {
        world_list(&me, &hosts, &atom("silent")).await
    });
    node.register_function(m, "world_list", |me, (hosts, verbosity): (Term, Term)| async move {
        world_list(&me, &hosts, &verbosity).await
    });
}

/// As [`Node::blocking`], for callers of which there may be any number.
async fn blocking<T: Send + 'static>(
    node: &Node,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stopped> {
    let turn = TURNS.next().await;
    let work = move || {
        // Held as long as the thread is, also when the caller has gone.
        let _turn = turn;
        work()
    };
    node.blocking(work).await
}

fn answer(is_there: bool) -> Term {
    atom(if is_there { "pong" } else { "pang" })
}

async fn ping(node: &Node, name: &Term) -> Result<bool, Raise> {
    let Term::Atom(name) = name else { return Err(Raise::error("function_clause")) };
    Ok(node.ping(name.as_str(), PING_TIME_MAX).await)
}

/// The text of a host's name, as an atom or a string.
fn text_of(host: &Term) -> Option<String> {
    match host {
        Term::Atom(name) => Some(name.as_str().to_owned()),
        Term::List(_) => host.to_text(),
        _ => None,
    }
}

async fn dns_hostname(node: &Node, host: Term) -> Value {
    let unknown = |host| Ok(Term::Tuple(vec![atom("error"), host]));
    let Some(name) = text_of(&host) else { return unknown(host) };
    match blocking(node, move || net_adm::dns_hostname(&name)).await? {
        Ok(name) => Ok(Term::Tuple(vec![atom("ok"), Term::charlist(&name)])),
        Err(_) => unknown(host),
    }
}

/// A host by its name or address, as OTP takes it.
fn named(host: &Term) -> Result<Host, Raise> {
    if let Term::Tuple(parts) = host {
        return address(parts).map(Host::Address).ok_or(Raise::error("function_clause"));
    }
    text_of(host).map(Host::Name).ok_or(Raise::error("function_clause"))
}

fn address(parts: &[Term]) -> Option<IpAddr> {
    let numbers: Option<Vec<u16>> =
        parts.iter().map(|part| part.as_integer().and_then(|n| u16::try_from(n).ok())).collect();
    match numbers?[..] {
        [a, b, c, d] => {
            let byte = |number| u8::try_from(number).ok();
            Some(Ipv4Addr::new(byte(a)?, byte(b)?, byte(c)?, byte(d)?).into())
        }
        [a, b, c, d, e, f, g, h] => Some(Ipv6Addr::new(a, b, c, d, e, f, g, h).into()),
        _ => None,
    }
}

type Names = Result<Vec<(String, u16)>, NamesError>;

async fn names(node: &Node, host: Host) -> Result<Names, Raise> {
    let port = node.config().epmd_port;
    Ok(blocking(node, move || net_adm::names_at(&host, port, NAMES_TIME_MAX)).await?)
}

fn names_term(names: Names) -> Term {
    let result = match names {
        Ok(names) => {
            let entry = |(name, port): &(String, u16)| {
                Term::Tuple(vec![Term::charlist(name), Term::from(u64::from(*port))])
            };
            [atom("ok"), Term::List(names.iter().map(entry).collect())]
        }
        Err(NamesError::Host(_)) => [atom("error"), atom("nxdomain")],
        Err(_) => [atom("error"), atom("address")],
    };
    Term::Tuple(result.into())
}

async fn world(me: &Process, verbosity: &Term) -> Value {
    match blocking(&me.node(), net_adm::host_file).await? {
        Ok(hosts) => world_list(me, &Term::List(hosts), verbosity).await,
        // OTP: net_adm.erl, world/1 exits, whatever its specification says.
        Err(error) => Err(Raise::Exit(Term::Tuple(vec![atom("error"), error.to_term()]))),
    }
}

async fn world_list(me: &Process, hosts: &Term, verbosity: &Term) -> Value {
    let is_verbose = *verbosity == atom("verbose");
    let (hosts, is_proper) = match hosts {
        Term::List(hosts) => (hosts.as_slice(), true),
        Term::ImproperList(hosts, _) => (hosts.as_slice(), false),
        _ => return Err(Raise::error("function_clause")),
    };
    let mut all = Vec::new();
    for host in hosts {
        let Ok(names) = names(&me.node(), named(host)?).await? else { continue };
        // Only when its epmd has answered OTP wants the host's name as an atom.
        let Term::Atom(host) = host else { return Err(Raise::error("badarg")) };
        for peer in net_adm::peers(&me.node(), host.as_str(), &names) {
            if is_verbose {
                me.print(format!("Pinging {} -> ", Term::Atom(peer.clone()))).await?;
            }
            let is_there = me.node().ping(peer.as_str(), PING_TIME_MAX).await;
            if is_verbose {
                me.print(format!("{}\n", answer(is_there))).await?;
            }
            if is_there {
                all.push(Term::Atom(peer));
            }
        }
    }
    if is_proper { Ok(Term::List(all)) } else { Err(Raise::error("function_clause")) }
}

/// Pings until one node answers, and gives the nodes that come up with it: its cluster.
async fn ping_list(mut me: Process, nodes: Term) -> Value {
    let (nodes, is_proper) = match &nodes {
        Term::List(nodes) => (nodes.as_slice(), true),
        Term::ImproperList(nodes, _) => (nodes.as_slice(), false),
        _ => return Err(Raise::error("function_clause")),
    };
    let connected: HashSet<Atom> =
        me.node().nodes().await.into_iter().map(|info| info.name).collect();
    me.monitor_nodes(true);
    let mut all = Vec::new();
    let mut has_answered = false;
    for name in nodes {
        let known = name.as_atom().filter(|name| connected.contains(*name));
        if known.is_some() {
            all.push(name.clone());
        } else if ping(&me.node(), name).await? {
            all.push(name.clone());
            has_answered = true;
            break;
        }
    }
    if !has_answered && !is_proper {
        return Err(Raise::error("function_clause"));
    }
    while let Some(signal) = me.recv_timeout(QUIET).await? {
        if let Signal::NodeUp(up) = signal {
            let name = Term::Atom(up.node.clone());
            if !nodes.contains(&name) {
                all.insert(0, name);
            }
        }
    }
    me.monitor_nodes(false);
    Ok(Term::List(all))
}
