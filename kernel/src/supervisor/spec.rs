//! What a supervisor is told: whom to start, when to start them again, and how to end them.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use krarup_transport::term::Atom;

use crate::process::{Process, ProcessFuture, ProcessResult};

/// When a child that has ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// When it failed: not if its reason is `normal`, `shutdown` or `{shutdown, _}`.
    Transient,
    /// Never. Its specification goes when it ends.
    Temporary,
}

/// How a child is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// By the exit signal `kill`.
    BrutalKill,
    /// By `shutdown`, and after so long by `kill`.
    Timeout(Duration),
    /// By `shutdown`, however long it takes: for supervisors, whose children need their time.
    Infinity,
}

/// Which children are started again when one has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// That one.
    OneForOne,
    /// That one and those after it, which may depend on it.
    RestForOne,
    /// All of them.
    OneForAll,
}

/// What OTP calls a child: it shows in `which_children`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Worker,
    Supervisor,
}

pub(super) type Run = Arc<dyn Fn(Process) -> ProcessFuture + Send + Sync>;

/// A child of a supervisor: what it runs, and what becomes of it.
#[derive(Clone)]
pub struct ChildSpec {
    pub(super) id: Atom,
    pub(super) run: Run,
    pub(super) restart: Restart,
    pub(super) shutdown: Shutdown,
    pub(super) kind: Kind,
    pub(super) name: Option<String>,
    pub(super) shard: Option<usize>,
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("restart", &self.restart)
            .field("shutdown", &self.shutdown)
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}

impl ChildSpec {
    /// A worker: permanent, on its supervisor's shard, with five seconds to end in. `run` is called
    /// for each of its lives.
    ///
    /// # Panics
    /// If `id` is longer than an atom, 255 characters.
    pub fn new<F, R>(id: &str, run: F) -> Self
    where
        F: Fn(Process) -> R + Send + Sync + 'static,
        R: Future<Output = ProcessResult> + 'static,
    {
        ChildSpec {
            id: Atom::new(id).expect("a child's id has at most 255 characters"),
            run: Arc::new(move |me| Box::pin(run(me))),
            restart: Restart::default(),
            shutdown: Shutdown::Timeout(Duration::from_secs(5)),
            kind: Kind::Worker,
            name: None,
            shard: None,
        }
    }

    /// A supervisor below this one: permanent, with all the time to end that its children need.
    ///
    /// # Panics
    /// As [`ChildSpec::new`].
    pub fn supervisor(id: &str, supervisor: Supervisor) -> Self {
        let run = move |me| supervisor.clone().run(me);
        let spec = ChildSpec::new(id, run).shutdown(Shutdown::Infinity);
        ChildSpec { kind: Kind::Supervisor, ..spec }
    }

    /// When it is started again.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How it is ended.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// The name that each of its lives is registered under before it runs. One whose name another
    /// process has fails to start.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// The shard it runs on (modulo their number).
    #[must_use]
    pub fn shard(mut self, shard: usize) -> Self {
        self.shard = Some(shard);
        self
    }
}

/// How many restarts are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Intensity {
    pub(super) restarts_max: usize,
    pub(super) period: Duration,
}

/// A supervisor: its children and how it deals with their ends; see the
/// [module](crate::supervisor).
#[derive(Clone, Debug)]
pub struct Supervisor {
    pub(super) strategy: Strategy,
    pub(super) intensity: Intensity,
    pub(super) children: Vec<ChildSpec>,
}

impl Supervisor {
    /// A supervisor without children that allows one restart in five seconds, as OTP's does.
    pub fn new(strategy: Strategy) -> Self {
        let intensity = Intensity { restarts_max: 1, period: Duration::from_secs(5) };
        Supervisor { strategy, intensity, children: Vec::new() }
    }

    /// So many restarts within `period` are allowed; with one more the supervisor ends its children
    /// and itself, with reason `shutdown`.
    #[must_use]
    pub fn intensity(mut self, restarts_max: usize, period: Duration) -> Self {
        self.intensity = Intensity { restarts_max, period };
        self
    }

    /// Adds a child after those that are there.
    #[must_use]
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }
}
