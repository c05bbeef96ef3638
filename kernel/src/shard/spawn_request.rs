//! Spawn requests of other nodes: answered as a node does that has no such function.
//!
//! OTP: an undefined function is no spawn error. The requester gets a pid, and that process then
//! ends with `undef`.

use std::rc::Rc;

use krarup_transport::dist::control::{
    Control, ProcessOrName, SPAWN_FLAG_LINK, SPAWN_FLAG_MONITOR, SpawnReply, SpawnRequest,
};
use krarup_transport::link::Payload;
use krarup_transport::term::{Atom, Limits, Term};

use super::{LinkEntry, Shard};

impl Shard {
    pub(super) fn refuse_spawn(
        self: &Rc<Self>,
        link: &LinkEntry,
        request: SpawnRequest,
        arguments: Option<Payload>,
    ) {
        let connection = link.connection();
        let reply = |flags, result| {
            Control::SpawnReply(Box::new(SpawnReply {
                reference: request.reference.clone(),
                to: request.from.clone(),
                flags,
                result,
                token: None,
            }))
        };
        if request.unknown_option().is_some() {
            let badopt = Atom::from_static("badopt");
            self.answer(connection, reply(0, Err(badopt)), None);
            return;
        }
        // The pid is real for a moment: reserved and given back, so that it never comes again.
        let reserved = self.processes.borrow_mut().reserve();
        let Some(id) = reserved else {
            let limit = Atom::from_static("system_limit");
            self.answer(connection, reply(0, Err(limit)), None);
            return;
        };
        self.processes.borrow_mut().remove(id);
        let pid = self.pid(id);
        let (linked, monitored) = (request.link(), request.monitor());
        let flag = |set, flag| if set { flag } else { 0 };
        let flags = flag(linked, SPAWN_FLAG_LINK) | flag(monitored, SPAWN_FLAG_MONITOR);
        self.answer(connection, reply(flags, Ok(pid.clone())), None);
        let reason = undefined(
            &request,
            arguments.and_then(|payload| payload.decode(&Limits::DEFAULT).ok()),
        );
        if linked {
            let exit = Control::Exit { from: pid.clone(), to: request.from.clone(), token: None };
            self.answer(connection, exit, Some(&reason));
        }
        if monitored {
            let down = Control::MonitorExit {
                from: ProcessOrName::Process(pid),
                to: request.from.clone(),
                reference: request.reference.clone(),
            };
            self.answer(connection, down, Some(&reason));
        }
    }
}

fn atom(text: &'static str) -> Term {
    Term::Atom(Atom::from_static(text))
}

/// The exit reason of a process whose function does not exist.
///
/// `erpc` and `rpc` spawn `erpc:execute_call/4`, which every OTP node has; what is undefined there
/// is the function to call, and the reason says so in erpc's shape. `erlang:apply/2` is what
/// `spawn(Node, Fun)` asks for.
fn undefined(request: &SpawnRequest, arguments: Option<Term>) -> Term {
    let arguments = arguments.unwrap_or_else(|| Term::List(Vec::new()));
    let (module, function) = (request.module.as_str(), request.function.as_str());
    if let Term::List(items) = &arguments {
        match (module, function, items.as_slice()) {
            ("erpc", "execute_call", [result, module, function, call]) => {
                let frame =
                    Term::Tuple(vec![module.clone(), function.clone(), call.clone(), nil()]);
                let stack = Term::List(vec![frame]);
                return Term::Tuple(vec![result.clone(), atom("error"), atom("undef"), stack]);
            }
            ("erpc", "execute_cast", [module, function, call]) => {
                return undef(module.clone(), Some(function.clone()), call.clone());
            }
            ("erlang", "apply", [fun, call]) if matches!(fun, Term::Fun(_)) => {
                return undef(fun.clone(), None, call.clone());
            }
            _ => {}
        }
    }
    let (module, function) = (request.module.clone(), request.function.clone());
    undef(Term::Atom(module), Some(Term::Atom(function)), arguments)
}

fn nil() -> Term {
    Term::List(Vec::new())
}

/// `{undef, [{M, F, Args, []}]}`, or `{undef, [{Fun, Args, []}]}`.
fn undef(module: Term, function: Option<Term>, arguments: Term) -> Term {
    let frame: Vec<Term> =
        [Some(module), function, Some(arguments), Some(nil())].into_iter().flatten().collect();
    Term::Tuple(vec![atom("undef"), Term::List(vec![Term::Tuple(frame)])])
}
