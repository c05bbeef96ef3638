//! Servers written in Rust.

use std::time::Duration;

use krarup_transport::term::{Atom, ConvertError, Limits, Term, from_bytes, from_term};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::request::Front;
use super::{Caller, Request};
use crate::process::{Exit, ExitReason, Message, Process, ProcessResult, Signal, error_reason};

/// What a server does with a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer<R> {
    /// Answers it (Erlang: `{reply, Reply, State}`).
    Reply(R),
    /// It is answered later, by [`Caller::reply`] (Erlang: `{noreply, State}`).
    Later,
    /// Answers it and ends with this reason (Erlang: `{stop, Reason, Reply, State}`).
    Stop(Term, R),
}

/// A server: Erlang's `gen_server` behaviour.
///
/// The value is its state. [`serve`] runs it as a process. Erlang's `gen_server:call` and `cast`,
/// Elixir's `GenServer`, [`Process::call`] and [`Process::cast`] all reach it.
///
/// `gen_server:stop` ends it with the reason it is given.
///
/// A handler that returns an error ends the server with reason `{error, Text}`, or with that of an
/// [`ExitReason`]; callers that wait learn it by their monitors.
#[expect(async_fn_in_trait, reason = "a process stays on its shard: its futures are not Send")]
pub trait GenServer: Sized + 'static {
    /// What it can be asked.
    type Call: DeserializeOwned;
    /// What it answers.
    type Reply: Serialize;
    /// What it can be told.
    type Cast: DeserializeOwned;

    /// Runs before the first request.
    async fn init(&mut self, me: &mut Process) -> ProcessResult {
        let _ = me;
        Ok(())
    }

    /// Handles a call.
    async fn call(
        &mut self,
        me: &mut Process,
        request: Self::Call,
        from: &Caller,
    ) -> Result<Answer<Self::Reply>, Box<dyn std::error::Error>>;

    /// Handles a cast.
    async fn cast(&mut self, me: &mut Process, request: Self::Cast) -> ProcessResult {
        let _ = (me, request);
        Ok(())
    }

    /// Handles every other message, exits that are trapped, monitors that fire, nodes that come and
    /// go. Logs and drops them unless implemented.
    async fn info(&mut self, me: &mut Process, signal: Signal) -> ProcessResult {
        tracing::warn!(pid = %me.pid(), ?signal, "a server dropped what it does not handle");
        Ok(())
    }

    /// So long it waits for the next signal before [`GenServer::timeout`] is called.
    fn idle_time(&self) -> Option<Duration> {
        None
    }

    /// Nothing came for [`GenServer::idle_time`].
    async fn timeout(&mut self, me: &mut Process) -> ProcessResult {
        let _ = me;
        Ok(())
    }

    /// Runs when the server ends by itself, or because its parent does (if it traps exits).
    async fn terminate(&mut self, me: &mut Process, reason: &Term) {
        let _ = (me, reason);
    }
}

/// Runs a server until it ends.
///
/// A request that is not of the shape of [`GenServer::Call`] is answered with
/// `{error, {bad_request, Text}}`: the caller's mistake ends neither side. A cast of another shape
/// is logged and dropped.
///
/// # Errors
/// The reason that the server ends with.
pub async fn serve<S: GenServer>(mut me: Process, mut server: S) -> ProcessResult {
    let ended = match server.init(&mut me).await {
        Ok(()) => run(&mut me, &mut server).await,
        Err(error) => return Err(error),
    };
    let reason = match ended {
        Ok(()) => Term::Atom(Atom::from_static("normal")),
        Err(error) => error_reason(error),
    };
    server.terminate(&mut me, &reason).await;
    Err(ExitReason(reason).into())
}

async fn run<S: GenServer>(me: &mut Process, server: &mut S) -> ProcessResult {
    loop {
        let received = match server.idle_time() {
            Some(idle) => me.recv_timeout(idle).await,
            None => me.recv().await.map(Some),
        };
        let signal = match received {
            Ok(Some(signal)) => signal,
            Ok(None) => {
                server.timeout(me).await?;
                continue;
            }
            Err(_) => return Ok(()),
        };
        let message = match &signal {
            Signal::Message(message) => message,
            // OTP: a server ends with its parent.
            Signal::Exit(exit) if is_parent(me, exit) => {
                return Err(ExitReason(exit.reason.clone()).into());
            }
            _ => {
                server.info(me, signal).await?;
                continue;
            }
        };
        if let Some(Front { caller, request_at }) = Front::of(message) {
            let request = &message.bytes()[request_at..];
            match caller {
                Some(caller) => {
                    let request = from_bytes(request, message.atoms(), &Limits::DEFAULT);
                    answer(me, server, caller, request).await?;
                }
                None => {
                    let request = from_bytes(request, message.atoms(), &Limits::DEFAULT);
                    tell(me, server, message, request).await?;
                }
            }
            continue;
        }
        let Ok(term) = message.term() else { continue };
        match Request::of(term) {
            Request::Call(caller, request) => {
                answer(me, server, caller, from_term(&request)).await?;
            }
            Request::Cast(request) => tell(me, server, message, from_term(&request)).await?,
            Request::System(caller, request) => {
                if let Some(reason) = asked_to_end(&request) {
                    let _ = caller.reply_term(me, &Term::Atom(Atom::from_static("ok"))).await;
                    return Err(ExitReason(reason.clone()).into());
                }
                let unknown = pair("error", pair("unknown_system_msg", request));
                let _ = caller.reply_term(me, &unknown).await;
            }
            Request::Info(_) => server.info(me, signal).await?,
        }
    }
}

/// The reason that `gen_server:stop` gives (OTP: `sys:terminate/2`).
fn asked_to_end(request: &Term) -> Option<&Term> {
    match request.as_tuple()? {
        [label, reason] if label.as_atom()?.as_str() == "terminate" => Some(reason),
        _ => None,
    }
}

fn is_parent(me: &Process, exit: &Exit) -> bool {
    me.parent().is_some_and(|parent| parent == me.present(&exit.from))
}

async fn tell<S: GenServer>(
    me: &mut Process,
    server: &mut S,
    message: &Message,
    request: Result<S::Cast, ConvertError>,
) -> ProcessResult {
    match request {
        Ok(request) => server.cast(me, request).await,
        Err(error) => {
            let cast = message.term().unwrap_or_else(|_| Term::Tuple(Vec::new()));
            tracing::warn!(pid = %me.pid(), %cast, %error, "a cast of another shape");
            Ok(())
        }
    }
}

async fn answer<S: GenServer>(
    me: &mut Process,
    server: &mut S,
    caller: Caller,
    request: Result<S::Call, ConvertError>,
) -> ProcessResult {
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            let text = Term::Binary(error.to_string().into_bytes().into());
            let _ = caller.reply_term(me, &pair("error", pair("bad_request", text))).await;
            return Ok(());
        }
    };
    // An answer that cannot be delivered is for nobody any more.
    match server.call(me, request, &caller).await? {
        Answer::Reply(reply) => drop(caller.reply(me, &reply).await),
        Answer::Later => {}
        Answer::Stop(reason, reply) => {
            let _ = caller.reply(me, &reply).await;
            return Err(ExitReason(reason).into());
        }
    }
    Ok(())
}

fn pair(first: &'static str, second: Term) -> Term {
    Term::Tuple(vec![Term::Atom(Atom::from_static(first)), second])
}
