//! The process that looks after a child, as the control process of `peer` and the waiter of `slave`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use krarup_transport::handshake::NodeName;
use krarup_transport::term::{Atom, Pid, Term};

use super::program::{Parent, Running, by_remote_shell};
use super::{Child, ChildBuilder, ChildError, Style};
use crate::atoms::{atom, is};
use crate::gen_server::Request;
use crate::process::{Process, ProcessResult, Signal};

/// How long a node of the child's name may take to answer before none is there.
const PING_TIME_MAX: Duration = Duration::from_secs(5);

pub(super) async fn run(
    mut me: Process,
    spec: ChildBuilder,
    done: oneshot::Sender<Result<Child, ChildError>>,
) -> ProcessResult {
    let style = spec.style;
    let (name, program, helper) = match boot(&mut me, spec).await {
        Ok(booted) => booted,
        Err(error) => {
            let _ = done.send(Err(error));
            return Ok(());
        }
    };
    let is_running = Arc::new(AtomicBool::new(true));
    // From now on its loss is noticed; where that is refused, the loss is already there.
    let _ = me.monitor_node(name.as_str(), true);
    let child = Child {
        local: me.node(),
        node: name.clone(),
        control: me.pid(),
        is_running: Arc::clone(&is_running),
        program: program.clone(),
    };
    if let Err(unwanted) = done.send(Ok(child)) {
        // Nobody waits any more; the drop ends it.
        drop(unwanted);
    }
    while let Ok(signal) = me.recv().await {
        match &signal {
            Signal::NodeLost(_) => is_running.store(false, Ordering::Release),
            Signal::Message(message) => {
                let Ok(term) = message.term() else { continue };
                if term
                    .as_tuple()
                    .is_some_and(|parts| parts.iter().any(|p| is(p, "child_is_dropped")))
                {
                    break;
                }
                answer(&me, term).await;
            }
            _ => {}
        }
    }
    // What `slave` is told when the process that started it has gone; a `peer` sees it for itself.
    if let (Style::Slave, Some(helper)) = (style, helper) {
        let own = me.pid().node;
        let gone = Term::Tuple(vec![atom("nodedown"), Term::Atom(own)]);
        let _ = me.send(&helper, &gone).await;
    }
    Ok(())
}

/// Starts the program and waits until the child is there: its name, and for a slave the process
/// there that watches this node.
async fn boot(
    me: &mut Process,
    spec: ChildBuilder,
) -> Result<(Atom, Running, Option<Pid>), ChildError> {
    let local = me.node();
    let own = local.name().ok_or(ChildError::NotAlive)?;
    let own_host = own.as_str().split_once('@').map_or("", |(_, host)| host).to_owned();
    let host = spec.host.clone().unwrap_or_else(|| own_host.clone());
    let full = NodeName::new(&spec.name, &host).map_err(|e| ChildError::Name(e.to_string()))?;
    let name = Atom::new(full.as_str()).map_err(|e| ChildError::Name(e.to_string()))?;
    if local.ping(name.as_str(), PING_TIME_MAX).await {
        return Err(ChildError::AlreadyRunning(name));
    }
    let cookie = match spec.hands_over_cookie {
        true => local.cookie_for(name.as_str()).await.map(|cookie| cookie.reveal().to_string()),
        false => None,
    };
    let waiter = format!("slave_waiter_{}", me.pid().id);
    // Taken only if a process of this number left its name behind, which none does.
    let _ = me.register(&waiter).await;
    let parent = Parent {
        node: own,
        name_type: local.config().name_type,
        control: me.pid(),
        waiter,
        cookie,
    };
    let mut line = spec.command_line(name.as_str(), &parent);
    if host != own_host {
        line = by_remote_shell(&spec.remote_shell, &host, &line);
    }
    let (control, teller) = (me.pid(), local.clone());
    let told = move || {
        let _ = teller.send(&control, &Term::Tuple(vec![atom("program_has_ended")])).wait();
    };
    let program = line.first().cloned().unwrap_or_default();
    let started = local.blocking(move || Running::start(&line, told)).await;
    let running = started
        .map_err(|_| ChildError::Stopped)?
        .map_err(|error| ChildError::Program { program, error })?;
    match wait_for_child(me, &spec, &running).await {
        Ok(helper) => Ok((name, running, helper)),
        Err(error) => {
            running.kill();
            Err(error)
        }
    }
}

/// Waits for the word of the child; returns who said it, if that is a process of `slave`.
async fn wait_for_child(
    me: &mut Process,
    spec: &ChildBuilder,
    program: &Running,
) -> Result<Option<Pid>, ChildError> {
    let deadline = Instant::now() + spec.boot_time;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let signal = match me.recv_timeout(left).await {
            Ok(Some(signal)) => signal,
            Ok(None) => {
                let output = program.output();
                return Err(ChildError::Timeout { after: spec.boot_time, output });
            }
            Err(_) => return Err(ChildError::Stopped),
        };
        let Signal::Message(message) = signal else { continue };
        let Ok(term) = message.term() else { continue };
        match term.as_tuple().unwrap_or_default() {
            // Of `peer`, and of `slave`.
            [what, _node] if is(what, "started") => return Ok(None),
            [Term::Pid(helper), what] if is(what, "slave_started") => {
                return Ok(Some(helper.clone()));
            }
            [what] if is(what, "program_has_ended") => {
                // A remote shell may end before its command does, and a program may go into the
                // background.
                if program.ended().is_some_and(|status| status.ends_with(": 0")) {
                    continue;
                }
                let status = program.ended().unwrap_or_default();
                return Err(ChildError::Ended { status, output: program.output() });
            }
            _ => answer(me, term).await,
        }
    }
}

/// Answers what the child of `peer` asks: OTP 27 and later wait for it.
async fn answer(me: &Process, term: Term) {
    let Request::Call(caller, request) = Request::of(term) else { return };
    let starting = |parts: &[Term]| parts.first().is_some_and(|what| is(what, "starting"));
    let answer = if is(&request, "group_leader") {
        Term::Pid(me.group_leader())
    } else if request.as_tuple().is_some_and(starting) {
        atom("ok")
    } else {
        return;
    };
    let _ = caller.reply_term(me, &answer).await;
}
