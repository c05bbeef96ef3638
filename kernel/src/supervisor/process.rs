//! A supervisor as a process: a server that starts and ends children, and is asked about them.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use krarup_transport::term::{Pid, Term};
use serde::Deserialize;

use super::machine::{Ending, Machine, Order, Place, Refusal, is_orderly};
use super::spec::{Kind, Shutdown};
use super::{ChildSpec, Supervisor};
use crate::atoms::{atom, is};
use crate::gen_server::{Answer, Caller, GenServer, serve};
use crate::node::SpawnError;
use crate::process::{ExitReason, Process, ProcessResult, Signal, error_reason};
use crate::rpc::within;
use crate::shard::answered;

impl Supervisor {
    /// Runs the supervisor as a process, until it ends.
    ///
    /// A child counts as started when its name is registered and its function is called; the next
    /// one is not started before. If one cannot be started at first, those before it are ended.
    ///
    /// It ends when its parent does, or when it gets the exit signal `shutdown` and no process is
    /// its parent, as with [`Node::spawn`](crate::Node::spawn). [`Node::stop`](crate::Node::stop)
    /// ends all processes at once: end the supervisor first where the order matters.
    ///
    /// # Errors
    /// The reason it ends with: `shutdown` after too many restarts or by its parent,
    /// `{shutdown, {failed_to_start_child, Id, Reason}}`,
    /// `{start_spec, {duplicate_child_name, Id}}`.
    pub async fn run(self, me: Process) -> ProcessResult {
        let restarts = self.children.iter().map(|child| child.restart);
        let machine = Machine::new(self.strategy, self.intensity, restarts);
        serve(me, Supervising { machine, specs: self.children }).await
    }
}

struct Supervising {
    machine: Machine,
    /// By the places of the machine.
    specs: Vec<ChildSpec>,
}

/// What `supervisor.erl` asks.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Question {
    WhichChildren,
    CountChildren,
    TerminateChild(Term),
    RestartChild(Term),
    DeleteChild(Term),
}

impl GenServer for Supervising {
    type Call = Question;
    type Reply = Term;
    type Cast = Term;

    async fn init(&mut self, me: &mut Process) -> ProcessResult {
        me.trap_exit(true);
        for (place, spec) in self.specs.iter().enumerate() {
            if self.specs[..place].iter().any(|other| other.id == spec.id) {
                let twice = tuple([atom("duplicate_child_name"), Term::from(&spec.id)]);
                return exit(tuple([atom("start_spec"), twice]));
            }
        }
        self.carry_out(me).await
    }

    async fn call(
        &mut self,
        me: &mut Process,
        question: Question,
        _: &Caller,
    ) -> Result<Answer<Term>, Box<dyn std::error::Error>> {
        let answer = match question {
            Question::WhichChildren => Ok(self.which_children(me)),
            Question::CountChildren => Ok(self.count_children()),
            Question::TerminateChild(id) => self.terminate_child(me, &id).await,
            Question::RestartChild(id) => self.restart_child(me, &id).await,
            Question::DeleteChild(id) => self.delete_child(&id),
        };
        Ok(Answer::Reply(answer.unwrap_or_else(|reason| tuple([atom("error"), reason]))))
    }

    async fn info(&mut self, me: &mut Process, signal: Signal) -> ProcessResult {
        let pid = me.pid();
        let Signal::Exit(exited) = signal else {
            tracing::warn!(%pid, ?signal, "a supervisor dropped what it does not handle");
            return Ok(());
        };
        // The node may have got another name since the child was started.
        let from = me.present(&exited.from);
        let Some(place) = self.machine.find(|child| me.present(child) == from) else {
            // Somebody has to be able to end a supervisor that no process has started.
            let ends = me.parent().is_none() && is(&exited.reason, "shutdown");
            return if ends { exit(exited.reason) } else { Ok(()) };
        };
        let (child, reason) = (&self.specs[place.0].id, &exited.reason);
        if !is_orderly(reason) {
            tracing::warn!(%pid, %child, %reason, "a child failed");
        }
        self.machine.ended(place, reason, Instant::now());
        self.carry_out(me).await
    }

    async fn terminate(&mut self, me: &mut Process, _: &Term) {
        self.machine.stop_all();
        // Ends of children lead to no end of the supervisor.
        let _ = self.carry_out(me).await;
    }
}

impl Supervising {
    /// Does what the machine orders, to the last order.
    async fn carry_out(&mut self, me: &mut Process) -> ProcessResult {
        while let Some(order) = self.machine.next_order() {
            match order {
                Order::Start(place) => match start(me, &self.specs[place.0]).await {
                    Ok(child) => self.machine.started(place, child),
                    // No attempt will do better.
                    Err(SpawnError::Stopped) => return exit(atom("shutdown")),
                    Err(error) => {
                        let (pid, child) = (me.pid(), &self.specs[place.0].id);
                        tracing::warn!(%pid, %child, %error, "a child did not start");
                        let why = error_reason(error.into());
                        self.machine.failed_to_start(place, why, Instant::now());
                    }
                },
                Order::Stop(place, child) => {
                    stop(me, &child, self.specs[place.0].shutdown).await;
                    self.machine.stopped(place);
                }
                Order::End(ending) => return self.end(me, ending),
            }
        }
        Ok(())
    }

    /// The supervisor gives up.
    fn end(&self, me: &Process, ending: Ending) -> ProcessResult {
        let pid = me.pid();
        match ending {
            Ending::TooManyRestarts => {
                tracing::error!(%pid, "a supervisor ends: its children were restarted too often");
                exit(atom("shutdown"))
            }
            Ending::FailedToStart(place, why) => {
                let child = &self.specs[place.0].id;
                tracing::error!(%pid, %child, "a supervisor ends: a child did not start");
                let failed = tuple([atom("failed_to_start_child"), Term::from(child), why]);
                exit(tuple([atom("shutdown"), failed]))
            }
        }
    }

    fn find(&self, id: &Term) -> Result<Place, Term> {
        let mut places = self.machine.places();
        let found = places.find(|place| id.as_atom() == Some(&self.specs[place.0].id));
        found.ok_or_else(|| Refusal::NotFound.into())
    }

    /// `[{Id, Pid | undefined, worker | supervisor, Modules}]`, as OTP the last one first. A child
    /// that is being restarted shows with its new pid: nobody is answered before. What it runs is
    /// no module.
    fn which_children(&self, me: &Process) -> Term {
        let describe = |place: Place| {
            let spec = &self.specs[place.0];
            let pid = self.machine.pid(place).map(|pid| Term::Pid(me.present(pid)));
            let pid = pid.unwrap_or_else(|| atom("undefined"));
            let kind = match spec.kind {
                Kind::Worker => atom("worker"),
                Kind::Supervisor => atom("supervisor"),
            };
            tuple([Term::from(&spec.id), pid, kind, Term::List(Vec::new())])
        };
        Term::List(self.machine.places().rev().map(describe).collect())
    }

    /// `[{specs, N}, {active, N}, {supervisors, N}, {workers, N}]`
    fn count_children(&self) -> Term {
        let places = || self.machine.places();
        let specs = places().count();
        let active = places().filter(|place| self.machine.pid(*place).is_some()).count();
        let is_supervisor = |place: &Place| self.specs[place.0].kind == Kind::Supervisor;
        let supervisors = places().filter(is_supervisor).count();
        let counts = [
            ("specs", specs),
            ("active", active),
            ("supervisors", supervisors),
            ("workers", specs - supervisors),
        ];
        Term::List(counts.map(|(what, count)| tuple([atom(what), Term::from(count)])).to_vec())
    }

    async fn terminate_child(&mut self, me: &mut Process, id: &Term) -> Result<Term, Term> {
        let place = self.find(id)?;
        if let Some(child) = self.machine.pid(place).cloned() {
            stop(me, &child, self.specs[place.0].shutdown).await;
            self.machine.stopped(place);
        }
        Ok(atom("ok"))
    }

    async fn restart_child(&mut self, me: &mut Process, id: &Term) -> Result<Term, Term> {
        let place = self.find(id)?;
        self.machine.may_start(place)?;
        let started = start(me, &self.specs[place.0]).await;
        let child = started.map_err(|error| error_reason(error.into()))?;
        self.machine.started(place, child.clone());
        Ok(tuple([atom("ok"), Term::Pid(child)]))
    }

    fn delete_child(&mut self, id: &Term) -> Result<Term, Term> {
        let place = self.find(id)?;
        self.machine.delete(place)?;
        Ok(atom("ok"))
    }
}

impl From<Refusal> for Term {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Running => atom("running"),
            Refusal::NotFound => atom("not_found"),
        }
    }
}

/// Starts a child; returns when its name is registered and its function is called.
///
/// The child registers itself, being linked already, so that it does not outlive a supervisor that
/// is killed meanwhile. The name of its former life is free by then: before a name counts as taken,
/// the kernel asks the shard of its holder.
async fn start(me: &mut Process, spec: &ChildSpec) -> Result<Pid, SpawnError> {
    let (acknowledge, acknowledged) = oneshot::channel();
    let (run, name) = (Arc::clone(&spec.run), spec.name.clone());
    let body = move |child: Process| async move {
        if let Some(name) = name
            && let Err(error) = child.register(&name).await
        {
            let _ = acknowledge.send(Err(error));
            return exit(atom("shutdown"));
        }
        let _ = acknowledge.send(Ok(()));
        run(child).await
    };
    let child = match spec.shard {
        Some(shard) => me.spawn_link_on(shard, body).await?,
        None => me.spawn_link(body)?,
    };
    match answered(acknowledged).await {
        Some(Ok(())) => Ok(child),
        Some(Err(error)) => {
            stop(me, &child, Shutdown::Infinity).await;
            Err(error)
        }
        // An exit signal was quicker. Its end is told as that of any other child.
        None => Ok(child),
    }
}

/// Ends a child, and removes the news of its end from the mailbox. It stays linked until then, so
/// that it ends even if this supervisor is killed meanwhile.
async fn stop(me: &mut Process, child: &Pid, shutdown: Shutdown) {
    {
        let mut ended = pin!(me.end_of(child));
        let (reason, patience) = match shutdown {
            Shutdown::BrutalKill => ("kill", Duration::MAX),
            Shutdown::Timeout(timeout) => ("shutdown", timeout),
            Shutdown::Infinity => ("shutdown", Duration::MAX),
        };
        me.exit(child, &atom(reason));
        if within(patience, ended.as_mut()).await.is_none() {
            tracing::warn!(pid = %me.pid(), %child, "a child did not end in time and is killed");
            me.exit(child, &atom("kill"));
            ended.await;
        }
    }
    me.flush_exit(child);
}

fn exit(reason: Term) -> ProcessResult {
    Err(ExitReason(reason).into())
}

fn tuple<const N: usize>(elements: [Term; N]) -> Term {
    Term::Tuple(elements.into())
}
