//! The functions that begin and end a node's life, and say what it is.

use std::time::Duration;

use krarup_transport::term::{Atom, Map, Term};

use super::Value;
use crate::atoms::atom;
use crate::node::{NameType, Node, StartError, StartOptions, Started, StopError};
use crate::process::Process;
use crate::rpc::Raise;

pub(super) fn register(node: &Node) {
    let m = "net_kernel";
    node.register_function(m, "start", |me, (arguments,): (Term,)| async move {
        let (name, options) = of_list(&arguments)?;
        start(&me, &name, options).await
    });
    node.register_function(m, "start", |me, (name, options): (Term, Term)| async move {
        let Term::Map(options) = &options else { return Err(Raise::error("invalid_options")) };
        let Term::Atom(name) = &name else { return Err(Raise::error("invalid_name")) };
        start(&me, name, of_map(options)?).await
    });
    node.register_function(m, "stop", |me, ()| async move {
        Ok(match me.node().stop_distribution().await {
            Ok(()) => atom("ok"),
            Err(StopError::NotAllowed) => error(atom("not_allowed")),
            Err(StopError::NotFound) => error(atom("not_found")),
        })
    });
    node.register_function(m, "get_state", |me, ()| async move { Ok(state(&me.node())) });
    node.register_function(m, "nodename", |me, ()| async move {
        let name = me.node().stated_name().and_then(|name| Atom::new(&name).ok());
        Ok(name.map_or_else(|| atom("ignored"), Term::Atom))
    });
    node.register_function(m, "longnames", |me, ()| async move {
        let is_long = me.node().life().map(|life| life.name_type == NameType::Long);
        Ok(is_long.map_or_else(|| atom("ignored"), Term::from))
    });
    node.register_function(m, "connecttime", |me, ()| async move {
        Ok(u64::try_from(me.node().config().setup_time.as_millis()).unwrap_or(u64::MAX))
    });
    node.register_function(m, "epmd_module", |_, ()| async move { Ok(atom("erl_epmd")) });
    node.register_function("erlang", "node", |_, (of,): (Term,)| async move {
        match of {
            Term::Pid(pid) => Ok(Term::Atom(pid.node)),
            Term::Port(port) => Ok(Term::Atom(port.node)),
            Term::Reference(reference) => Ok(Term::Atom(reference.node)),
            _ => Err(Raise::error("badarg")),
        }
    });
}

/// `net_kernel:get_state/0`.
pub(in crate::services) fn state(node: &Node) -> Term {
    let entry = |key, value| (atom(key), atom(value));
    let Some(life) = node.life() else {
        return Term::Map(Map::from_iter([entry("started", "no")]));
    };
    let started = match life.started {
        Started::Static => "static",
        Started::Dynamic => "dynamic",
    };
    let domain = match life.name_type {
        NameType::Long => "longnames",
        NameType::Short => "shortnames",
    };
    Term::Map(Map::from_iter([
        entry("started", started),
        entry("name_type", if life.is_named_by_others { "dynamic" } else { "static" }),
        (atom("name"), life.name.map_or_else(|| atom("undefined"), Term::Atom)),
        entry("name_domain", domain),
    ]))
}

async fn start(me: &Process, name: &Atom, options: StartOptions) -> Value {
    let node = me.node();
    let process = || node.whereis("net_kernel");
    Ok(match node.start_with(name.as_str(), options).await {
        Ok(()) => match process().await {
            Some(process) => Term::Tuple(vec![atom("ok"), Term::Pid(process)]),
            None => error(atom("noproc")),
        },
        Err(StartError::AlreadyStarted { net_kernel: Some(process) }) => {
            error(Term::Tuple(vec![atom("already_started"), Term::Pid(process)]))
        }
        // OTP has a supervisor's report here, around this atom.
        Err(_) => error(atom("nodistribution")),
    })
}

fn error(reason: Term) -> Term {
    Term::Tuple(vec![atom("error"), reason])
}

/// `[Name]`, `[Name, NameType]` or `[Name, NameType, Ticktime]`.
fn of_list(arguments: &Term) -> Result<(Atom, StartOptions), Raise> {
    let wrong = || Raise::error("function_clause");
    let arguments = arguments.as_list().ok_or_else(wrong)?;
    let (Some(Term::Atom(name)), true) = (arguments.first(), arguments.len() <= 3) else {
        return Err(wrong());
    };
    let mut options = StartOptions::new().name_type(NameType::Long);
    if let Some(millis) = arguments.get(2) {
        // The time between two ticks, of which there are four in a tick time of whole seconds.
        let millis = millis.as_integer().filter(|millis| *millis > 0).ok_or_else(wrong)?;
        let seconds = millis.unsigned_abs().saturating_mul(4).div_ceil(1000);
        options = options.net_ticktime(Duration::from_secs(seconds)).net_tickintensity(4);
    }
    if let Some(domain) = arguments.get(1) {
        if !matches!(domain, Term::Atom(_)) {
            return Err(wrong());
        }
        options = options.name_type(name_type(&atom("name_domain"), domain)?);
    }
    Ok((name.clone(), options))
}

/// The options of `net_kernel:start/2`.
fn of_map(map: &Map) -> Result<StartOptions, Raise> {
    let mut options = StartOptions::new().name_type(NameType::Long);
    for (key, value) in map.pairs() {
        let wrong = || invalid(key, value);
        let number = || value.as_integer().and_then(|number| u64::try_from(number).ok());
        let is = || match value.as_atom().map(Atom::as_str) {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            _ => Err(wrong()),
        };
        options = match key.as_atom().map(Atom::as_str) {
            Some("name_domain") => options.name_type(name_type(key, value)?),
            Some("net_ticktime") => {
                let seconds = number().filter(|seconds| *seconds > 0).ok_or_else(wrong)?;
                options.net_ticktime(Duration::from_secs(seconds))
            }
            Some("net_tickintensity") => {
                let within = number().filter(|count| (4..=1000).contains(count));
                let count = within.and_then(|count| u32::try_from(count).ok());
                options.net_tickintensity(count.ok_or_else(wrong)?)
            }
            Some("dist_listen") => options.listen(is()?),
            Some("hidden") => options.hidden(is()?),
            _ => return Err(wrong()),
        };
    }
    Ok(options)
}

fn name_type(key: &Term, value: &Term) -> Result<NameType, Raise> {
    match value.as_atom().map(Atom::as_str) {
        Some("longnames") => Ok(NameType::Long),
        Some("shortnames") => Ok(NameType::Short),
        _ => Err(invalid(key, value)),
    }
}

fn invalid(key: &Term, value: &Term) -> Raise {
    Raise::Error(Term::Tuple(vec![atom("invalid_option"), key.clone(), value.clone()]))
}
