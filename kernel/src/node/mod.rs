//! The node: configured by [`Builder`], reached by [`Node`].

mod address;
mod builder;
mod calls;
mod config;
mod connections;
mod cookies;
mod encoded;
mod error;
mod health;
mod life;
mod naming;
mod processes;
mod reply;
mod sockets;
mod start_options;
mod stats;
mod ticks;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use krarup_transport::shard::{Full, Remote};
use krarup_transport::term::{Atom, Pid};

pub use builder::Builder;
pub use config::{
    AddressFamily, AutoConnect, Checksum, FabricConfig, NameType, NodeConfig, Output,
};
pub(crate) use encoded::BY_REFERENCE_BYTES_MIN;
pub use encoded::Encoded;
pub use error::{NotAlive, SendError, SpawnError, StartError, StopError, Stopped};
use life::Alive;
pub(crate) use life::give_up;
pub use life::{LifeState, Started};
pub use reply::Reply;
pub(crate) use reply::block_on;
pub use start_options::StartOptions;
pub use stats::{ConnectionStats, LaneStats, LinkStats, ShardStats, TimeHistogram};

use crate::process::Process;
use crate::rpc::Functions;
use crate::shard::{self, Executors, Shard, ShardMessage};

/// A handle of a node: cheap to clone, usable from any thread and any async runtime.
///
/// Calls that need an answer from a shard return a [`Reply`]: `.await` it, or `.wait()` for it on
/// a thread. The node runs until [`Node::stop`], whatever becomes of its handles.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    config: NodeConfig,
    shards: Vec<Remote<ShardMessage>>,
    kernel_shard: usize,
    alive: RwLock<Option<Alive>>,
    stopping: AtomicBool,
    next_shard: AtomicUsize,
    executors: Mutex<Option<Executors>>,
    functions: Functions,
    printer: OnceLock<Pid>,
    started: Instant,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.name())
            .field("shards", &self.shards())
            .finish_non_exhaustive()
    }
}

impl Node {
    /// Configures a node called `name`, such as `shop@127.0.0.1`.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(Some(name.into()))
    }

    /// Configures a node without a name: it is not alive, its processes talk to each other only,
    /// until [`Node::start`] names it.
    pub fn anonymous() -> Builder {
        Builder::new(None)
    }

    fn start_configured(config: NodeConfig) -> Result<Node, StartError> {
        let name = config.name.clone();
        let node = shard::start(config)?;
        if let Some(name) = name
            && let Err(error) = node.come_alive(name, StartOptions::new(), Started::Static).wait()
        {
            node.stop().wait();
            return Err(error);
        }
        Ok(node)
    }

    pub(crate) fn new(
        config: NodeConfig,
        shards: Vec<Remote<ShardMessage>>,
        kernel_shard: usize,
    ) -> Node {
        Node(Arc::new(Inner {
            config,
            shards,
            kernel_shard,
            alive: RwLock::default(),
            stopping: AtomicBool::new(false),
            next_shard: AtomicUsize::new(0),
            executors: Mutex::default(),
            functions: Functions::default(),
            printer: OnceLock::new(),
            started: Instant::now(),
        }))
    }

    pub(crate) fn keep(&self, executors: Executors) {
        *self.0.executors.lock().unwrap_or_else(PoisonError::into_inner) = Some(executors);
    }

    /// Makes a node alive that has no name: listens, registers with epmd, accepts
    /// (OTP: `net_kernel:start/1`).
    ///
    /// Without a host part the name gets that of this host. With the name `undefined` the node
    /// accepts nobody, and the first node that it connects to names it, for as long as it is
    /// connected to that one.
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`], [`StartError::Name`], [`StartError::NameInUse`] and those of
    /// the other steps.
    pub fn start(&self, name: impl Into<String>) -> Reply<Result<(), StartError>> {
        self.start_with(name, StartOptions::new())
    }

    /// [`Node::start`] with options for this life (OTP: `net_kernel:start/2`).
    ///
    /// # Errors
    /// As [`Node::start`], and [`StartError::InvalidOption`].
    pub fn start_with(
        &self,
        name: impl Into<String>,
        options: StartOptions,
    ) -> Reply<Result<(), StartError>> {
        self.come_alive(name.into(), options, Started::Dynamic)
    }

    fn come_alive(
        &self,
        name: String,
        options: StartOptions,
        started: Started,
    ) -> Reply<Result<(), StartError>> {
        let (done, reply) = Reply::pair(|| Err(StartError::State("the node has stopped")));
        let node = self.clone();
        self.on_kernel(move |shard| {
            let shard = Rc::clone(shard);
            glommio::spawn_local(async move {
                let outcome = life::start(&shard, &node, &name, &options, started).await;
                let _ = done.send(outcome);
            })
            .detach();
        });
        reply
    }

    /// Ends what [`Node::start`] began (OTP: `net_kernel:stop/0`): peers see `connection_closed`,
    /// subscribers here `net_kernel_terminated`, the name is given up. The processes go on, with
    /// their registered names, links and monitors, and the node can be started again.
    ///
    /// # Errors
    /// [`StopError`].
    pub fn stop_distribution(&self) -> Reply<Result<(), StopError>> {
        let (done, reply) = Reply::pair(|| Err(StopError::NotFound));
        let node = self.clone();
        self.on_kernel(move |shard| {
            let shard = Rc::clone(shard);
            glommio::spawn_local(async move {
                let outcome = life::stop_distribution(&shard, &node).await;
                let _ = done.send(outcome);
            })
            .detach();
        });
        reply
    }

    /// Stops everything: peers see `connection_closed`, processes end, the shards' threads are
    /// joined. Calls on other handles fail from now on.
    ///
    /// Inside one of the node's own processes the answer never comes, since that process ends.
    pub fn stop(&self) -> Reply<()> {
        let (done, reply) = Reply::pair(|| ());
        if self.0.stopping.swap(true, Ordering::SeqCst) {
            let _ = done.send(());
            return reply;
        }
        let node = self.clone();
        let work = move || {
            let (quiet, gone) = Reply::pair(|| ());
            node.on_kernel(move |shard| {
                let shard = Rc::clone(shard);
                glommio::spawn_local(async move {
                    life::stop(&shard).await;
                    let _ = quiet.send(());
                })
                .detach();
            });
            gone.wait();
            node.change_alive(|alive| *alive = None);
            let executors = node.0.executors.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(executors) = executors {
                executors.stop(&node);
            }
            let _ = done.send(());
        };
        // Joining the shards blocks, which no async runtime wants on its threads.
        if let Err(error) = std::thread::Builder::new().name("krarup-stop".into()).spawn(work) {
            tracing::error!(%error, "no thread to stop the node with");
        }
        reply
    }

    /// Whether the node can talk to others. One that others name is alive before it has a name.
    pub fn is_alive(&self) -> bool {
        self.with_alive(|_| ()).is_some()
    }

    /// The node's name while it is alive (Erlang: `node()`).
    pub fn name(&self) -> Option<Atom> {
        self.with_alive(|alive| alive.identity.as_ref().map(|identity| identity.name.clone()))?
    }

    /// The port that the node accepts connections on.
    pub fn port(&self) -> Option<u16> {
        self.with_alive(|alive| alive.port)?
    }

    /// The epmd that the node is registered with.
    pub fn epmd(&self) -> Option<SocketAddr> {
        self.with_alive(|alive| alive.epmd()).flatten()
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.0.shards.len()
    }

    /// How long ago it was started.
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// How often a shard had to be woken from outside because its executor slept with work left.
    pub fn executor_kicks(&self) -> u64 {
        self.0.shards.iter().map(|remote| remote.door().kicks()).sum()
    }

    /// What every shard has done so far, in the order of their numbers.
    pub fn stats(&self) -> Reply<Vec<ShardStats>> {
        self.of_every_shard(|shard| shard.stats(), |all| all)
    }

    /// Asks every shard the same.
    fn of_every_shard<T, R>(
        &self,
        ask: fn(&Rc<Shard>) -> T,
        all: fn(Vec<T>) -> Vec<R>,
    ) -> Reply<Vec<R>>
    where
        T: Default + Send + 'static,
        R: Send + 'static,
    {
        let (done, reply) = Reply::pair(Vec::new);
        let node = self.clone();
        self.on_kernel(move |_| {
            glommio::spawn_local(async move {
                let mut answers = Vec::with_capacity(node.shards());
                for shard in 0..node.shards() {
                    let (counted, answer) = Reply::pair(T::default);
                    node.run_on(shard, move |shard| {
                        let _ = counted.send(ask(shard));
                    });
                    answers.push(answer.await);
                }
                let _ = done.send(all(answers));
            })
            .detach();
        });
        reply
    }

    /// Runs work that computes or blocks on a thread of its own, so that no shard waits for it.
    ///
    /// # Errors
    /// [`Stopped`] when there is no thread to be had, or the work panicked.
    pub fn blocking<T, F>(&self, work: F) -> Reply<Result<T, Stopped>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (done, reply) = Reply::pair(|| Err(Stopped));
        let run = move || {
            let _ = done.send(Ok(work()));
        };
        if let Err(error) = std::thread::Builder::new().name("krarup-blocking".into()).spawn(run) {
            tracing::error!(%error, "no thread for blocking work");
        }
        reply
    }

    /// From now on another group leader prints what this node's processes do, such as that of the
    /// node that started this one. Once set it stays.
    pub fn print_by(&self, leader: Pid) {
        let _ = self.0.printer.set(leader);
    }

    /// Who prints in the place of `user`.
    pub(crate) fn printer(&self) -> Option<&Pid> {
        self.0.printer.get()
    }

    pub(crate) fn config(&self) -> &NodeConfig {
        &self.0.config
    }

    fn with_alive<T>(&self, look: impl FnOnce(&Alive) -> T) -> Option<T> {
        self.0.alive.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(look)
    }

    fn change_alive(&self, change: impl FnOnce(&mut Option<Alive>)) {
        change(&mut self.0.alive.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether [`Node::stop`] was called.
    fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::SeqCst)
    }
}

/// Ways onto a shard.
impl Node {
    /// Asks something by a process of its own, for somebody outside the shards. It is given up when
    /// the reply is dropped.
    pub(crate) fn ask<T, F, R>(&self, stopped: fn() -> T, ask: F) -> Reply<T>
    where
        T: Send + 'static,
        F: FnOnce(Process) -> R + Send + 'static,
        R: Future<Output = T> + 'static,
    {
        let (mut done, reply) = Reply::pair(stopped);
        let started = self.spawn_on(self.next_shard(), None, move |me| async move {
            let answer = match select(pin!(ask(me)), done.cancellation()).await {
                Either::Left((answer, _)) => answer,
                // Nobody waits any more.
                Either::Right(_) => return Ok(()),
            };
            let _ = done.send(answer);
            Ok(())
        });
        // A node without a free process slot drops the sender, and the answer is that of its stop.
        drop(started);
        reply
    }

    fn next_shard(&self) -> usize {
        self.0.next_shard.fetch_add(1, Ordering::Relaxed) % self.shards()
    }

    fn on_kernel(&self, work: impl FnOnce(&Rc<Shard>) + Send + 'static) {
        self.run_on(self.0.kernel_shard, work);
    }

    /// Runs `work` on a shard: at once if this is its thread, else through its queue. A node that
    /// has stopped drops the work, and with it the sender of its answer.
    pub(crate) fn run_on(&self, shard: usize, work: impl FnOnce(&Rc<Shard>) + Send + 'static) {
        if let Some(here) = shard::current().filter(|here| here.id == shard && self.is(here)) {
            work(&here);
            return;
        }
        let Some(remote) = self.0.shards.get(shard) else { return };
        let mut message = ShardMessage::Run(Box::new(work));
        let mut waited = 0_u32;
        while let Err(Full(refused)) = remote.try_push(message) {
            if remote.door().is_closed() {
                return;
            }
            message = refused;
            // The queue holds thousands of calls: whoever fills it waits for the shard.
            waited += 1;
            if waited < 64 {
                std::thread::yield_now();
            } else {
                std::thread::park_timeout(Duration::from_micros(100));
            }
        }
    }

    /// The way into a shard.
    pub(crate) fn remote(&self, shard: usize) -> Option<&Remote<ShardMessage>> {
        self.0.shards.get(shard)
    }

    fn is(&self, shard: &Shard) -> bool {
        Arc::ptr_eq(&self.0, &shard.node().0)
    }
}
