//! `krarup_puppet:run/1` in Rust: what `otp/krarup_puppet.erl` is on Erlang nodes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use krarup::term::{Atom, Pid, Reference, Term};
use krarup::{
    AliasMode, AsDestination, CallError, Destination, ExitReason, Node, NodeMonitorOptions,
    Process, Raise, RpcError, SendError, Signal,
};

use crate::rust_node::SHARDS;

pub(crate) fn register(node: &Node) {
    node.register_function("krarup_puppet", "run", |me, (director,): (Pid,)| async move {
        Err::<(), _>(Raise::Exit(puppet(me, director).await?))
    });
    let turn = AtomicUsize::new(0);
    node.register_function("krarup_puppet", "start", move |me, (director,): (Pid,)| {
        // On each shard in turn; a function runs on that of the link it is asked for over.
        let shard = turn.fetch_add(1, Ordering::Relaxed) % SHARDS;
        async move {
            let run = move |me| async move {
                let (Ok(end) | Err(Raise::Error(end) | Raise::Exit(end) | Raise::Throw(end))) =
                    puppet(me, director).await;
                Err(ExitReason(end).into())
            };
            Ok(me.node().spawn_on(shard, None, run).await?)
        }
    });
}

/// Does what it is told, and returns the reason it is told to end with.
async fn puppet(me: Process, director: Pid) -> Result<Term, Raise> {
    Puppet { me, director, waiting: VecDeque::new(), looks_at_news: false }.run().await
}

struct Puppet {
    me: Process,
    director: Pid,
    /// What was received while looking for something else.
    waiting: VecDeque<Signal>,
    /// It looks whether a node is connected of which there is news.
    looks_at_news: bool,
}

impl Puppet {
    async fn run(mut self) -> Result<Term, Raise> {
        loop {
            let signal = match self.waiting.pop_front() {
                Some(signal) => signal,
                None => self.me.recv().await?,
            };
            let mut message = self.as_message(&signal)?;
            if self.looks_at_news
                && let Some((_, [Term::Atom(node), ..])) = split(&message)
            {
                let nodes = self.me.node().nodes().await;
                let is_there = nodes.iter().any(|info| info.name == *node);
                message = tuple([message, Term::from(is_there)]);
            }
            let Some((from, reference, order)) = order_in(&message) else {
                let told = tuple([atom("signal"), Term::Pid(self.me.pid()), message]);
                self.send(&self.director, &told).await?;
                continue;
            };
            if let Some(("stop", [reason])) = split(&order) {
                self.done(&from, &reference, atom("true")).await?;
                return Ok(reason.clone());
            }
            let result = self.obey(&order).await?;
            self.done(&from, &reference, result).await?;
        }
    }

    async fn done(&self, to: &Pid, reference: &Reference, result: Term) -> Result<(), Raise> {
        let done = tuple([atom("done"), Term::Reference(reference.clone()), result]);
        self.send(to, &done).await
    }

    /// The Erlang message that a signal is.
    fn as_message(&self, signal: &Signal) -> Result<Term, Raise> {
        Ok(match signal {
            Signal::Message(message) => message.term()?,
            Signal::Exit(exit) => {
                tuple([atom("EXIT"), Term::Pid(exit.from.clone()), exit.reason.clone()])
            }
            Signal::Down(down) => tuple([
                atom("DOWN"),
                Term::Reference(down.reference.clone()),
                atom("process"),
                self.object(&down.from),
                down.reason.clone(),
            ]),
            Signal::NodeUp(up) => up.to_term(),
            Signal::NodeDown(down) => down.to_term(),
            Signal::NodeLost(node) => tuple([atom("nodedown"), Term::Atom((**node).clone())]),
            other => panic!("nobody asked for {other:?}"),
        })
    }

    fn object(&self, destination: &Destination) -> Term {
        let named = |name: &Atom, node: Atom| tuple([Term::Atom(name.clone()), Term::Atom(node)]);
        match destination {
            Destination::Pid(pid) => Term::Pid(pid.clone()),
            Destination::Remote { name, node } => named(name, node.clone()),
            Destination::Name(name) => {
                named(name, self.me.node().name().expect("the node is alive"))
            }
            Destination::Alias(alias) => Term::Reference(alias.clone()),
        }
    }

    async fn obey(&mut self, order: &Term) -> Result<Term, Raise> {
        match split(order) {
            Some(("all", [Term::List(orders)])) => {
                let mut results = Vec::with_capacity(orders.len());
                for order in orders {
                    results.push(Box::pin(self.obey(order)).await?);
                }
                Ok(Term::List(results))
            }
            Some((name, arguments)) => self.obey_one(name, arguments).await,
            None => Err(Raise::error("function_clause")),
        }
    }

    async fn obey_one(&mut self, order: &str, arguments: &[Term]) -> Result<Term, Raise> {
        let me = &mut self.me;
        let done = match (order, arguments) {
            ("here", []) => return Ok(atom("here")),
            ("call", [server, request, timeout]) => {
                return Ok(match me.call(destination(server)?, request, time(timeout)).await {
                    Ok(reply) => tuple([atom("reply"), reply]),
                    Err(error) => tuple([atom("failed"), failure(error)]),
                });
            }
            ("rpc", [Term::Atom(node), Term::Atom(m), Term::Atom(f), arguments, timeout]) => {
                let (m, f, timeout) = (m.as_str(), f.as_str(), time(timeout));
                let called = me.rpc(node.as_str(), m, f, list(arguments)?, timeout).await;
                return Ok(
                    called.map_or_else(rpc_failure, |value| tuple([atom("returned"), value]))
                );
            }
            ("spawn_at", [tie, Term::Atom(node), Term::Atom(m), Term::Atom(f), arguments]) => {
                let (node, m, f) = (node.as_str(), m.as_str(), f.as_str());
                let arguments = list(arguments)?;
                let pid = match tie.as_atom().map(Atom::as_str) {
                    Some("link") => me.spawn_link_at(node, m, f, arguments).await?,
                    Some("none") => me.spawn_at(node, m, f, arguments).await?,
                    _ => {
                        let (pid, monitor) = me.spawn_monitor_at(node, m, f, arguments).await?;
                        return Ok(tuple([Term::Pid(pid), Term::Reference(monitor)]));
                    }
                };
                return Ok(Term::Pid(pid));
            }
            ("cast", [server, request]) => {
                // As in Erlang, nobody is told of one that does not arrive.
                let _ = me.cast(destination(server)?, request).await;
                true
            }
            ("monitor_nodes", [flag, options]) => {
                let on = match flag.as_atom().map(Atom::as_str) {
                    Some("true") => true,
                    Some("false") => false,
                    _ => return Ok(atom("error")),
                };
                return Ok(match NodeMonitorOptions::from_term(options) {
                    Ok(options) => {
                        me.monitor_nodes_with(on, options);
                        atom("ok")
                    }
                    Err(bad) => bad.into_term(),
                });
            }
            ("monitor_node", [Term::Atom(node), on, Term::List(options)]) => {
                let on = *on == atom("true");
                if options.is_empty() {
                    me.monitor_node(node.as_str(), on)?;
                } else {
                    me.monitor_node_passively(node.as_str(), on)?;
                }
                true
            }
            ("look_at_news", [_]) => {
                self.looks_at_news = true;
                true
            }
            ("alias", []) => return Ok(Term::Reference(me.alias())),
            ("monitor", [target]) => {
                return Ok(Term::Reference(me.monitor(destination(target)?)));
            }
            ("monitor", [target, Term::Atom(mode)]) => {
                let mode = alias_mode(mode)?;
                return Ok(Term::Reference(me.monitor_with_alias(destination(target)?, mode)));
            }
            ("demonitor", [Term::Reference(monitor), Term::List(options)]) => {
                let flush = options.contains(&atom("flush"));
                let was_there =
                    if flush { me.demonitor_flush(monitor) } else { me.demonitor(monitor) };
                !options.contains(&atom("info")) || was_there
            }
            ("unalias", [Term::Reference(alias)]) => me.unalias(alias),
            ("disconnect", [Term::Atom(node)]) => me.node().disconnect(node.as_str()).await,
            ("send", [to, message]) => {
                self.send(destination(to)?, message).await?;
                true
            }
            ("trap", [trap]) => {
                me.trap_exit(*trap == atom("true"));
                true
            }
            ("register", [Term::Atom(name)]) => {
                me.register(name.as_str()).await?;
                true
            }
            ("link", [Term::Pid(pid)]) => {
                me.link(pid);
                true
            }
            ("unlink", [Term::Pid(pid)]) => {
                me.unlink(pid);
                true
            }
            ("unlink_flush", [Term::Pid(pid)]) => {
                me.unlink(pid);
                self.forget_exit(pid);
                true
            }
            ("exit", [Term::Pid(pid), reason]) => {
                me.exit(pid, reason);
                true
            }
            _ => return Err(Raise::error("function_clause")),
        };
        Ok(atom(if done { "true" } else { "false" }))
    }

    /// Takes the exit of a process out of what has been received.
    fn forget_exit(&mut self, of: &Pid) {
        while let Some(signal) = self.me.try_recv() {
            self.waiting.push_back(signal);
        }
        self.waiting.retain(|signal| !matches!(signal, Signal::Exit(exit) if exit.from == *of));
    }

    /// Sends, as Erlang does: what does not reach anybody is dropped.
    async fn send(&self, to: impl AsDestination, message: &Term) -> Result<(), Raise> {
        match self.me.send(to, message).await {
            Ok(()) | Err(SendError::NoConnection { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn atom(text: &'static str) -> Term {
    Term::Atom(Atom::from_static(text))
}

fn tuple<const N: usize>(elements: [Term; N]) -> Term {
    Term::Tuple(elements.into())
}

/// `{do, From, Ref, Order}`.
fn order_in(message: &Term) -> Option<(Pid, Reference, Term)> {
    let Some(("do", [Term::Pid(from), Term::Reference(reference), order])) = split(message) else {
        return None;
    };
    Some((from.clone(), reference.clone(), order.clone()))
}

/// The atom at the front of a tuple, and the rest; an atom alone has none.
fn split(term: &Term) -> Option<(&str, &[Term])> {
    match term {
        Term::Atom(name) => Some((name.as_str(), &[])),
        Term::Tuple(elements) => match elements.split_first()? {
            (Term::Atom(name), rest) => Some((name.as_str(), rest)),
            _ => None,
        },
        _ => None,
    }
}

fn destination(term: &Term) -> Result<Destination, Raise> {
    match term {
        Term::Pid(pid) => Ok(Destination::Pid(pid.clone())),
        Term::Reference(alias) => Ok(Destination::Alias(alias.clone())),
        Term::Tuple(pair) => match pair.as_slice() {
            [Term::Atom(name), Term::Atom(node)] => {
                Ok(Destination::Remote { name: name.clone(), node: node.clone() })
            }
            _ => Err(Raise::error("badarg")),
        },
        _ => Err(Raise::error("badarg")),
    }
}

fn list(term: &Term) -> Result<&[Term], Raise> {
    match term {
        Term::List(elements) => Ok(elements),
        _ => Err(Raise::error("badarg")),
    }
}

/// Milliseconds, or `infinity`.
fn time(term: &Term) -> Duration {
    match term {
        Term::Integer(millis) => Duration::from_millis(millis.unsigned_abs()),
        _ => Duration::MAX,
    }
}

fn failure(error: CallError) -> Term {
    match error {
        CallError::NoProcess => atom("noproc"),
        CallError::NoConnection => atom("noconnection"),
        CallError::Timeout => atom("timeout"),
        CallError::Ended(reason) => reason,
        other => panic!("a call failed: {other}"),
    }
}

fn rpc_failure(error: RpcError) -> Term {
    let (class, reason) = match error {
        RpcError::Error { reason, .. } => ("error", reason),
        RpcError::Exit(reason) => ("exit", reason),
        RpcError::Throw(value) => ("throw", value),
        RpcError::Signal(reason) => ("signal", reason),
        RpcError::NoConnection => ("failed", atom("noconnection")),
        RpcError::Timeout => ("failed", atom("timeout")),
        RpcError::Refused(why) => ("failed", why),
        other => panic!("a call failed: {other}"),
    };
    tuple([atom(class), reason])
}

fn alias_mode(mode: &Atom) -> Result<AliasMode, Raise> {
    match mode.as_str() {
        "explicit_unalias" => Ok(AliasMode::Explicit),
        "demonitor" => Ok(AliasMode::Demonitor),
        "reply_demonitor" => Ok(AliasMode::Reply),
        _ => Err(Raise::error("badarg")),
    }
}
