//! Calls of functions on other nodes, and processes started there.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use krarup_transport::io::sleep;
use krarup_transport::term::{
    Limits, Pid, Reference, Term, from_term, write_atom, write_list_header, write_nil,
    write_reference,
};
use serde::de::DeserializeOwned;

use super::{Arguments, FunctionName, RpcError, SpawnAtError};
use crate::node::{Encoded, Node, Reply};
use crate::process::{Answer, AnswerSlot, Process, name_atom};
use crate::shard::Spawn;

/// A spawn request under way; it is abandoned when this is dropped before the answer.
struct Request<'a> {
    process: &'a Process,
    slot: Rc<AnswerSlot>,
    /// Nothing once it is answered.
    reference: RefCell<Option<Reference>>,
}

impl Request<'_> {
    async fn answer(&self) -> Answer {
        let answer = poll_fn(|cx| self.slot.poll(cx)).await;
        self.reference.take();
        answer
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        if let Some(reference) = self.reference.take() {
            self.process.shard().abandon_spawn(self.process.cell(), &reference);
        }
    }
}

/// A process that was started on another node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Started {
    pub(crate) pid: Pid,
    /// The name of the request, and of the monitor if one was asked for.
    pub(crate) monitor: Reference,
}

/// Whether a process that is started is linked to, or monitored by, the one that starts it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ties {
    pub(crate) link: bool,
    pub(crate) monitor: bool,
}

/// Starts a process on `node` and waits for its pid.
pub(crate) async fn spawn_at(
    process: &Process,
    node: &str,
    module: &str,
    function: &str,
    arguments: &impl Arguments,
    ties: Ties,
) -> Result<Started, SpawnAtError> {
    let slot = Rc::<AnswerSlot>::default();
    let name = named(module, function, arguments.arity());
    let spawn = Spawn {
        node: &name_atom(node),
        function: &name,
        arguments: arguments.to_encoded()?,
        link: ties.link,
        monitor: ties.monitor,
    };
    let reference = process.shard().request_spawn(process.cell(), spawn, &slot);
    let request = Request { process, slot, reference: RefCell::new(Some(reference.clone())) };
    match request.answer().await {
        Answer::Spawned(Ok(pid)) => Ok(Started { pid, monitor: reference }),
        Answer::Spawned(Err(why)) => Err(SpawnAtError::of_reply(why)),
        // Neither comes to a question that only asks for a pid.
        Answer::Message(_) | Answer::Down(_) => Err(SpawnAtError::NoConnection),
    }
}

/// Calls a function on `node` (OTP: `erpc:call/5`).
pub(crate) async fn call<T: DeserializeOwned>(
    process: &Process,
    node: &str,
    function: FunctionName,
    arguments: Encoded,
    timeout: Duration,
) -> Result<T, RpcError> {
    let mark = process.reference();
    let slot = Rc::<AnswerSlot>::default();
    let spawn = Spawn {
        node: &name_atom(node),
        function: &named("erpc", "execute_call", 4),
        arguments: execute(Some(&mark), &function, &arguments),
        link: false,
        monitor: true,
    };
    let reference = process.shard().request_result(process.cell(), spawn, &slot);
    let request = Request { process, slot, reference: RefCell::new(Some(reference)) };
    let answer = within(timeout, request.answer()).await.ok_or(RpcError::Timeout)?;
    match answer {
        Answer::Down(reason) => {
            let reason = reason.decode(&Limits::DEFAULT);
            let reason = reason.map_err(|error| RpcError::Convert(error.into()))?;
            let value = RpcError::of_end(reason, &Term::Reference(mark))?;
            Ok(from_term(&value)?)
        }
        Answer::Spawned(Err(why)) => Err(SpawnAtError::of_reply(why).into()),
        Answer::Spawned(Ok(_)) | Answer::Message(_) => Err(RpcError::NoConnection),
    }
}

/// Calls a function on `node` and does not wait for what comes of it (OTP: `erpc:cast/4`).
pub(crate) fn cast(process: &Process, node: &str, function: &FunctionName, arguments: &Encoded) {
    let slot = Rc::<AnswerSlot>::default();
    let spawn = Spawn {
        node: &name_atom(node),
        function: &named("erpc", "execute_cast", 3),
        arguments: execute(None, function, arguments),
        link: false,
        monitor: false,
    };
    process.shard().request_spawn(process.cell(), spawn, &slot);
}

/// A call from outside the shards: a process of its own makes it.
pub(crate) fn call_from_outside<T: DeserializeOwned + Send + 'static>(
    local: &Node,
    node: &str,
    function: FunctionName,
    arguments: Encoded,
    timeout: Duration,
) -> Reply<Result<T, RpcError>> {
    let node = node.to_owned();
    local.ask(
        || Err(RpcError::Stopped),
        move |me| async move { call(&me, &node, function, arguments, timeout).await },
    )
}

/// Waits for at most so long.
pub(crate) async fn within<F: Future>(timeout: Duration, future: F) -> Option<F::Output> {
    if timeout == Duration::MAX {
        return Some(future.await);
    }
    let future = std::pin::pin!(future);
    let timer = std::pin::pin!(sleep(timeout));
    match select(future, timer).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

pub(crate) fn named(module: &str, function: &str, arity: usize) -> FunctionName {
    FunctionName { module: name_atom(module), function: name_atom(function), arity }
}

/// The arguments of `erpc:execute_call/4`, or without a mark of `execute_cast/3`.
fn execute(mark: Option<&Reference>, function: &FunctionName, arguments: &Encoded) -> Encoded {
    let mut head = Vec::with_capacity(128);
    write_list_header(&mut head, 3 + usize::from(mark.is_some()));
    if let Some(mark) = mark {
        write_reference(&mut head, mark);
    }
    for atom in [&function.module, &function.function] {
        write_atom(&mut head, atom);
    }
    let mut tail = Vec::with_capacity(1);
    write_nil(&mut tail);
    Encoded::around(head, arguments, tail)
}
