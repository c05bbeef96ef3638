//! Starting one executor per shard, and joining them.

use std::fmt;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use super::ShardId;
use super::guard::Panicked;
use super::kick;
use crate::io::probe::{self, IoUringUnavailable};

/// How the executors are made.
#[derive(Clone, Debug)]
pub struct ExecutorsConfig {
    /// How many shards, at least one.
    pub shards: usize,
    /// Which processors they run on.
    pub pinning: Pinning,
    /// How long tasks may run before the executor looks at its own timers and foreign wakes. Each
    /// look costs some 20 us, which at 1 ms is every fiftieth round trip of a busy link; sockets do
    /// not depend on it, since the driver looks at them.
    pub preempt: Duration,
    /// Bytes of memory that each executor registers with its rings. Links do not use it.
    pub ring_memory_bytes: usize,
    /// Entries of each ring.
    pub ring_entries: usize,
    /// Thread names are this with the shard's number behind it.
    pub name: String,
}

/// Which processors the shards run on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pinning {
    /// One shard per allowed processor when there are as many of both, otherwise unpinned: nodes
    /// with fewer shards would all choose the same processors.
    #[default]
    Auto,
    /// Wherever the kernel wants.
    Never,
    /// Shard `n` on the `n`th of these processors, round and round.
    Processors(Vec<usize>),
}

impl Default for ExecutorsConfig {
    fn default() -> ExecutorsConfig {
        ExecutorsConfig {
            shards: 1,
            pinning: Pinning::Auto,
            preempt: Duration::from_millis(10),
            ring_memory_bytes: 64 * 1024,
            ring_entries: 128,
            name: "krarup-shard-".into(),
        }
    }
}

/// Why the executors could not be started. None of them runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The number of shards is zero or above [`ShardId::COUNT_MAX`].
    ShardCount(usize),
    /// This host does not give us io_uring.
    IoUring(IoUringUnavailable),
    /// A thread could not be started.
    Thread(io::Error),
    /// An executor could not be built although the probe found nothing wrong.
    Executor {
        /// Which one.
        shard: ShardId,
        /// What glommio says.
        message: String,
    },
}

/// The running executors of one node.
#[derive(Debug)]
pub struct Executors<T> {
    threads: Vec<Thread<T>>,
}

/// A thread with an executor. Nothing, if another one had begun the shard's work already.
type Thread<T> = thread::JoinHandle<Option<Result<T, Panicked>>>;

/// How long an executor may take to begin its work before another is tried.
///
/// One whose thread loses its processor for the time of the preempt timer, between setting it and
/// its first task, goes to sleep before it has run anything: see `kick`, which knows no shard then.
const BEGIN_TIME_MAX: Duration = Duration::from_millis(200);

/// How many executors are tried for one shard.
const ATTEMPTS_MAX: usize = 20;

/// The work of one shard, for the executor that begins first.
struct Work<S, F> {
    id: ShardId,
    seat: Arc<Mutex<Option<S>>>,
    body: F,
}

/// A shard whose work has not begun, or by one of these threads.
struct Starting<S, F, T> {
    work: Work<S, F>,
    place: Option<usize>,
    attempts: Vec<Option<Thread<T>>>,
    begun: Option<usize>,
}

/// Which shard's work was begun, by which attempt.
type Beginning = (ShardId, usize);

impl<S, F, T> Starting<S, F, T> {
    /// The thread that does the work. One that was replaced sleeps on, or finds nothing to do.
    fn thread(mut self) -> Option<Thread<T>> {
        self.attempts.get_mut(self.begun?)?.take()
    }
}

impl<S: Send + 'static, F> Work<S, F> {
    /// Makes a thread with an executor, which begins when it is told to. It says whether its
    /// executor could be built.
    #[expect(clippy::type_complexity, reason = "three ends of what happens in this file only")]
    fn prepare<T, Fut>(
        &self,
        config: &ExecutorsConfig,
        place: Option<usize>,
        attempt: usize,
        began: mpsc::Sender<Beginning>,
    ) -> Result<(Thread<T>, mpsc::Receiver<Result<(), String>>, mpsc::Sender<()>), StartError>
    where
        T: Send + 'static,
        F: Fn(ShardId, S) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        let (start, started) = mpsc::channel::<()>();
        let (tell_built, built) = mpsc::channel();
        let (id, seat, body) = (self.id, Arc::clone(&self.seat), self.body.clone());
        let builder = config.builder(place);
        let thread = thread::Builder::new()
            .name(format!("{}{id}", config.name))
            .spawn(move || {
                let executor = match builder.make() {
                    Ok(executor) => executor,
                    Err(error) => {
                        let _ = tell_built.send(Err(error.to_string()));
                        return None;
                    }
                };
                let _ = tell_built.send(Ok(()));
                started.recv().ok()?;
                run(&executor, || async move {
                    let seat = seat.lock().unwrap_or_else(PoisonError::into_inner).take()?;
                    let _ = began.send((id, attempt));
                    drop(began);
                    Some(body(id, seat).await)
                })
                .transpose()
            })
            .map_err(StartError::Thread)?;
        Ok((thread, built, start))
    }
}

/// Waits until the work of every shard has begun, and tries another executor where it does not.
fn wait_until_begun<S, F, Fut, T>(
    config: &ExecutorsConfig,
    shards: &mut [Starting<S, F, T>],
    began: &mpsc::Sender<Beginning>,
    beginnings: &mpsc::Receiver<Beginning>,
) -> Result<(), StartError>
where
    S: Send + 'static,
    T: Send + 'static,
    F: Fn(ShardId, S) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    while shards.iter().any(|shard| shard.begun.is_none()) {
        if let Ok((id, attempt)) = beginnings.recv_timeout(BEGIN_TIME_MAX) {
            shards[id.index()].begun = Some(attempt);
            continue;
        }
        for shard in shards.iter_mut().filter(|shard| shard.begun.is_none()) {
            let (id, attempt) = (shard.work.id, shard.attempts.len());
            if attempt == ATTEMPTS_MAX {
                let message = format!("none of {ATTEMPTS_MAX} executors began to run");
                return Err(StartError::Executor { shard: id, message });
            }
            tracing::warn!(shard = id.index(), "an executor does not begin, another one is tried");
            let prepared = shard.work.prepare(config, shard.place, attempt, began.clone())?;
            let (thread, _, start) = prepared;
            shard.attempts.push(Some(thread));
            let _ = start.send(());
        }
    }
    Ok(())
}

/// Processors that this process may keep busy: those it may run on, less what a cgroup quota takes
/// away. In a pinned thread this is one, whatever the process has.
#[must_use]
pub fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

impl<T: Send + 'static> Executors<T> {
    /// Starts one executor per seat; in each, `body` makes the future that the executor runs until
    /// it ends. Returns once all have begun.
    ///
    /// # Errors
    /// See [`StartError`]; executors that were built before the failing one are ended without
    /// having run anything.
    pub fn start<S, F, Fut>(
        config: &ExecutorsConfig,
        seats: Vec<S>,
        body: F,
    ) -> Result<Executors<T>, StartError>
    where
        S: Send + 'static,
        F: Fn(ShardId, S) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        if seats.is_empty() || seats.len() > ShardId::COUNT_MAX || seats.len() != config.shards {
            return Err(StartError::ShardCount(config.shards));
        }
        probe::check(config.shards).map_err(StartError::IoUring)?;
        kick::start();
        let mut places = config.places();
        let (began, beginnings) = mpsc::channel();
        let mut shards = Vec::with_capacity(seats.len());
        let mut starts = Vec::with_capacity(seats.len());
        for (seat, id) in seats.into_iter().zip((0..).filter_map(ShardId::at)) {
            let place = places.next().flatten();
            let work = Work { id, seat: Arc::new(Mutex::new(Some(seat))), body: body.clone() };
            let (thread, built, start) = work.prepare(config, place, 0, began.clone())?;
            starts.push((built, start));
            shards.push(Starting { work, place, attempts: vec![Some(thread)], begun: None });
        }
        // Returning on an error drops the senders, which ends the threads that are ready.
        for (id, (built, _)) in starts.iter().enumerate() {
            let ended = || Err("its thread has ended".to_owned());
            built.recv().unwrap_or_else(|_| ended()).map_err(|message| {
                let shard = ShardId::at(id).unwrap_or(shards[id].work.id);
                StartError::Executor { shard, message }
            })?;
        }
        for (_, start) in starts {
            let _ = start.send(());
        }
        wait_until_begun(config, &mut shards, &began, &beginnings)?;
        let threads = shards.into_iter().filter_map(Starting::thread).collect();
        Ok(Executors { threads })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.threads.len()
    }

    /// Whether there is none; never the case for started executors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// Whether all have ended, so that joining returns at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(thread::JoinHandle::is_finished)
    }

    /// Waits until all have ended, and returns what each resulted in. To be called from a thread
    /// that is none of them.
    pub fn join(self) -> Vec<Result<T, Panicked>> {
        self.threads
            .into_iter()
            .filter_map(|thread| {
                thread.join().unwrap_or_else(|payload| Some(Err(Panicked::from(payload))))
            })
            .collect()
    }
}

/// Runs one executor to its end.
fn run<T, Fut: Future<Output = T> + 'static>(
    executor: &LocalExecutor,
    body: impl FnOnce() -> Fut,
) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(|| executor.run(async { body().await }))).map_err(Panicked::from)
}

impl ExecutorsConfig {
    /// The processor of each shard in turn.
    fn places(&self) -> Box<dyn Iterator<Item = Option<usize>>> {
        let allowed = allowed_processors();
        let list = match &self.pinning {
            Pinning::Auto if self.shards == allowed.len() && self.shards <= processors() => allowed,
            Pinning::Auto | Pinning::Never => Vec::new(),
            Pinning::Processors(list) => list.clone(),
        };
        if list.is_empty() {
            Box::new(std::iter::repeat(None))
        } else {
            Box::new(list.into_iter().map(Some).collect::<Vec<_>>().into_iter().cycle())
        }
    }

    fn builder(&self, place: Option<usize>) -> LocalExecutorBuilder {
        LocalExecutorBuilder::new(place.map_or(Placement::Unbound, Placement::Fixed))
            .io_memory(self.ring_memory_bytes)
            .ring_depth(self.ring_entries.max(16))
            .preempt_timer(self.preempt)
            // The driver spins by itself; glommio's spinning waits for interrupts.
            .spin_before_park(Duration::ZERO)
    }
}

/// Numbers of the processors that this process may run on.
fn allowed_processors() -> Vec<usize> {
    let text = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let list = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.map(processor_list).unwrap_or_default()
}

/// Parses the kernel's list form, such as `0-2,5`.
fn processor_list(text: &str) -> Vec<usize> {
    let mut list = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>())
        {
            list.extend((first..=last).take(ShardId::COUNT_MAX * 16));
        }
    }
    list
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::ShardCount(count) => {
                write!(
                    f,
                    "cannot start {count} shards: from 1 to {} are possible",
                    ShardId::COUNT_MAX
                )
            }
            StartError::IoUring(error) => error.fmt(f),
            StartError::Thread(error) => write!(f, "cannot start the thread of a shard: {error}"),
            StartError::Executor { shard, message } => {
                write!(f, "cannot build the executor of shard {shard}: {message}")
            }
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::IoUring(error) => Some(error),
            StartError::Thread(error) => Some(error),
            StartError::ShardCount(_) | StartError::Executor { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a timer as short as this many an executor goes to sleep before it has begun.
    #[test]
    fn every_shard_begins_whatever_its_first_executor_does() {
        let config = ExecutorsConfig {
            shards: 4,
            preempt: Duration::from_micros(30),
            pinning: Pinning::Never,
            ..Default::default()
        };
        for _ in 0..25 {
            let body = |id: ShardId, seat: usize| async move { (id.index(), seat) };
            let executors = Executors::start(&config, vec![10, 11, 12, 13], body);
            let began: Vec<_> = executors.expect("they begin").join();
            let began: Vec<_> = began.into_iter().map(|shard| shard.expect("no panic")).collect();
            assert_eq!(began, [(0, 10), (1, 11), (2, 12), (3, 13)]);
        }
    }
}
