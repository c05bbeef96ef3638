//! `rex`: what `rpc` sends to it. OTP: `rpc.erl`.
//!
//! `rpc:call` of today goes by `erpc`; `rpc:block_call`, C and Java nodes and `erl_call` come here.

use std::time::Duration;

use krarup_transport::term::{Atom, Pid, Term};

use super::user::{Printed, lead};
use crate::atoms::{atom, is};
use crate::gen_server::Request;
use crate::process::{Process, ProcessResult, Signal};
use crate::rpc::RpcError;

pub(super) async fn run(mut me: Process) -> ProcessResult {
    me.trap_exit(true);
    while let Ok(signal) = me.recv().await {
        let Signal::Message(message) = signal else { continue };
        let Ok(term) = message.term() else { continue };
        // Each by a process of its own: what one caller asks for keeps nobody else waiting.
        let served = me.spawn_link(move |me| async move {
            serve(&me, Request::of(term)).await;
            Ok(())
        });
        if served.is_err() {
            tracing::warn!("no process to answer an rpc with");
        }
    }
    Ok(())
}

async fn serve(me: &Process, request: Request) {
    // An answer that cannot be delivered is for nobody any more.
    match request {
        Request::Call(caller, request) => {
            let answer = match call_of(&request) {
                Some(call) => run_call(me, call, caller.pid()).await,
                // OTP: the server does not know it and ends, which is no use to anybody.
                None => bad_rpc(exit_of(atom("badarg"))),
            };
            let _ = caller.reply_term(me, &answer).await;
        }
        Request::Cast(request) => {
            if let Some(call) = call_of(&request) {
                run_call(me, call, &me.pid()).await;
            }
        }
        Request::System(caller, request) => {
            let unknown = tuple([atom("unknown_system_msg"), request]);
            let _ = caller.reply_term(me, &tuple([atom("error"), unknown])).await;
        }
        Request::Info(message) => {
            if let Some((from, request)) = sent_by(&message) {
                serve_sent(me, from, request).await;
            }
        }
    }
}

/// What comes as a bare message: `{From, Request}`.
async fn serve_sent(me: &Process, from: &Pid, request: &Term) {
    let own = || me.node().name().map_or_else(|| atom("nonode@nohost"), Term::Atom);
    let answer = match request.as_tuple().unwrap_or_default() {
        [what, Term::Atom(name), message] if is(what, "sbcast") => {
            let sent = if me.whereis(name).is_some() {
                let _ = me.send(name, message).await;
                own()
            } else {
                tuple([atom("nonexisting_name"), Term::Atom(name.clone())])
            };
            tuple([atom("rex"), own(), sent])
        }
        [what, Term::Atom(name), message] if is(what, "send") => {
            let _ = me.send(name, &tuple([Term::Pid(from.clone()), message.clone()])).await;
            return;
        }
        _ if is(request, "features_request") => {
            tuple([atom("features_reply"), own(), Term::List(vec![atom("erpc")])])
        }
        _ => match call_of(request) {
            Some(call) => tuple([atom("rex"), run_call(me, call, from).await]),
            None => return,
        },
    };
    let _ = me.send(from, &answer).await;
}

fn sent_by(message: &Term) -> Option<(&Pid, &Term)> {
    match message.as_tuple()? {
        [Term::Pid(from), request] => Some((from, request)),
        _ => None,
    }
}

/// `{call, Module, Function, Arguments, GroupLeader}` or its kin.
struct Call<'a> {
    module: &'a Atom,
    function: &'a Atom,
    arguments: &'a Vec<Term>,
    leader: &'a Term,
}

fn call_of(request: &Term) -> Option<Call<'_>> {
    match request.as_tuple()? {
        [what, Term::Atom(module), Term::Atom(function), Term::List(arguments), leader]
            if ["call", "block_call", "cast"].iter().any(|known| is(what, known)) =>
        {
            Some(Call { module, function, arguments, leader })
        }
        _ => None,
    }
}

/// Calls a function of this node; the answer is in the shapes of `rpc:call`.
async fn run_call(me: &Process, call: Call<'_>, caller: &Pid) -> Term {
    let Call { module, function, arguments, leader } = call;
    let mut own_leader = None;
    match leader {
        Term::Pid(leader) => me.set_group_leader(leader.clone()),
        // Whoever runs in no group of processes wants to read what is printed.
        leader if is(leader, "send_stdout_to_caller") => {
            let printed = Printed::Caller(caller.clone());
            own_leader = me.spawn_link(move |me| lead(me, printed)).ok();
            own_leader.iter().for_each(|leader| me.set_group_leader(leader.clone()));
        }
        // `user`, which it is.
        _ => {}
    }
    let own = me.pid().node;
    let value: Result<Term, _> =
        me.rpc(own.as_str(), module.as_str(), function.as_str(), arguments, Duration::MAX).await;
    if let Some(leader) = own_leader {
        me.unlink(&leader);
        me.exit(&leader, &atom("kill"));
    }
    match value {
        Ok(value) => match value.as_tuple() {
            Some([what, _]) if is(what, "EXIT") => bad_rpc(value),
            _ => value,
        },
        Err(RpcError::Throw(value)) => value,
        Err(RpcError::Error { reason, stack }) => bad_rpc(exit_of(tuple([reason, stack]))),
        Err(RpcError::Exit(reason) | RpcError::Signal(reason)) => bad_rpc(exit_of(reason)),
        Err(error) => {
            let text = Term::Binary(error.to_string().into_bytes().into());
            bad_rpc(exit_of(tuple([atom("error"), text])))
        }
    }
}

fn bad_rpc(reason: Term) -> Term {
    tuple([atom("badrpc"), reason])
}

fn exit_of(reason: Term) -> Term {
    tuple([atom("EXIT"), reason])
}

fn tuple<const N: usize>(elements: [Term; N]) -> Term {
    Term::Tuple(elements.to_vec())
}
