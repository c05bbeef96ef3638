//! The one thread outside the executors, which wakes one that stands still.
//!
//! glommio's executor can go to sleep although tasks are runnable: its loop cannot tell "nothing
//! to run" from "interrupted before anything ran". The window is small but real at every setting
//! of its timer, and nothing inside the executor ends such a sleep dependably. So a thread watches
//! the pass counter of each shard. A shard that should be running (its driver is not parked, or
//! has missed the moment it wanted to run at) and has made no pass for [`STILL_MAX`] is woken
//! through a waker from outside. Shards that are properly parked are left alone, and while all
//! are, the thread sleeps ten times a second for an instant.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::door::Door;

/// How long a shard with work to do may stand still.
pub const STILL_MAX: Duration = Duration::from_millis(5);

/// How often the thread looks while every shard is parked.
const LOOK_IDLE: Duration = Duration::from_millis(100);

/// Looks that find every shard parked before the thread looks rarely.
const QUIET_LOOKS_MAX: u32 = 20;

/// How late a parked driver may be for its own timer before that counts as standing still.
const OVERDUE_MAX: Duration = Duration::from_millis(20);

/// Longest pause between kicks of a shard that they do not help: one that computes, or is stopped.
const KICK_PAUSE_MAX: Duration = Duration::from_millis(160);

/// Kicks of all shards of this process so far.
#[must_use]
pub fn kicks() -> u64 {
    watch().kicks.load(Ordering::Relaxed)
}

/// Starts the thread if it does not run. To be called from a thread that is not pinned: the new
/// one may run where its starter may.
pub(super) fn start() {
    let watch = watch();
    let mut state = watch.state.lock().unwrap_or_else(PoisonError::into_inner);
    if state.running {
        return;
    }
    let spawned = thread::Builder::new()
        .name("krarup-kick".into())
        .stack_size(128 * 1024)
        .spawn(move || watch.run());
    match spawned {
        Ok(_) => state.running = true,
        // The shards work without it, but a stall would last until the next event.
        Err(error) => tracing::warn!(%error, "cannot start the thread that watches the shards"),
    }
}

/// Watches a shard from now on, until its door is closed or gone.
pub(super) fn register(door: &Arc<Door>) {
    let watch = watch();
    let mut state = watch.state.lock().unwrap_or_else(PoisonError::into_inner);
    state.added.push(Arc::downgrade(door));
    watch.changed.notify_one();
}

/// Says that a shard is being woken, so that the thread looks often again.
#[inline]
pub(super) fn awake() {
    let watch = watch();
    if watch.dozing.load(Ordering::Relaxed) {
        watch.rouse();
    }
}

struct Watch {
    state: Mutex<State>,
    changed: Condvar,
    /// The thread looks rarely because every shard is parked.
    dozing: AtomicBool,
    kicks: AtomicU64,
}

#[derive(Default)]
struct State {
    added: Vec<Weak<Door>>,
    running: bool,
    roused: bool,
}

/// A shard under watch.
struct Watched {
    door: Weak<Door>,
    passes: u64,
    still_since: Instant,
    pause: Duration,
}

fn watch() -> &'static Watch {
    static WATCH: OnceLock<Watch> = OnceLock::new();
    WATCH.get_or_init(|| Watch {
        state: Mutex::default(),
        changed: Condvar::new(),
        dozing: AtomicBool::new(false),
        kicks: AtomicU64::new(0),
    })
}

impl Watch {
    /// Looks at all shards, for as long as the process lives.
    fn run(&self) -> ! {
        let mut watched: Vec<Watched> = Vec::new();
        // Looks since a shard was last seen running.
        let mut quiet_looks = 0_u32;
        loop {
            let now = Instant::now();
            let mut busy = false;
            watched.retain_mut(|shard| match shard.door.upgrade() {
                Some(door) if !door.is_closed() => {
                    busy |= self.look(&door, shard, now);
                    true
                }
                _ => false,
            });
            quiet_looks = if busy { 0 } else { quiet_looks.saturating_add(1) };
            // The cost of rousing this thread must stay rare beside the waking of a shard.
            let doze = quiet_looks > QUIET_LOOKS_MAX;
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            watched.extend(state.added.drain(..).map(|door| Watched {
                door,
                passes: 0,
                still_since: now,
                pause: STILL_MAX,
            }));
            self.dozing.store(doze, Ordering::Relaxed);
            let pause = match () {
                // Until a shard is registered.
                () if watched.is_empty() => Duration::MAX,
                () if doze => LOOK_IDLE,
                () => STILL_MAX / 2,
            };
            let (mut state, _) = self
                .changed
                .wait_timeout_while(state, pause, |state| !state.roused && state.added.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            if std::mem::take(&mut state.roused) {
                quiet_looks = 0;
            }
            self.dozing.store(false, Ordering::Relaxed);
        }
    }

    /// Looks at one shard and kicks it if it stands still. Returns whether it is running.
    fn look(&self, door: &Door, shard: &mut Watched, now: Instant) -> bool {
        let passes = door.passes();
        if passes != shard.passes {
            shard.passes = passes;
            shard.still_since = now;
            shard.pause = STILL_MAX;
            return !door.is_parked();
        }
        if door.is_parked() && door.overdue(now) < OVERDUE_MAX {
            shard.still_since = now;
            return false;
        }
        if now.duration_since(shard.still_since) >= shard.pause {
            shard.still_since = now;
            shard.pause = (shard.pause * 2).min(KICK_PAUSE_MAX);
            self.kicks.fetch_add(1, Ordering::Relaxed);
            door.kick();
        }
        true
    }

    #[cold]
    fn rouse(&self) {
        if self.dozing.swap(false, Ordering::Relaxed) {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).roused = true;
            self.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use glommio::{Latency, Shares};

    use super::*;
    use crate::shard::driver::rescue;
    use crate::shard::{Executors, ExecutorsConfig};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// How long the queues run. The executor's timer fires some 20,000 times meanwhile.
    const RUN: Duration = Duration::from_secs(2);

    /// Three queues of tasks that do nothing but yield, on an executor whose timer fires every
    /// 100 us: within seconds it falls asleep with all three runnable, unless it is kicked.
    fn yielding_queues(door: &Arc<Door>, kicked: bool) -> Executors<()> {
        let config = ExecutorsConfig { preempt: Duration::from_micros(100), ..Default::default() };
        let (ready, started) = mpsc::channel();
        let seat = door.clone();
        let executors = Executors::start(&config, vec![seat], move |_, door: Arc<Door>| {
            let ready = ready.clone();
            async move {
                let _rescue = rescue(&door);
                let started = Instant::now();
                let tasks = [0, 1, 2].map(|number| {
                    let door = door.clone();
                    let queue = glommio::executor().create_task_queue(
                        Shares::default(),
                        Latency::NotImportant,
                        "yielding",
                    );
                    let task = async move {
                        while started.elapsed() < RUN {
                            if number == 0 {
                                door.set_passes(door.passes() + 1);
                            }
                            glommio::executor().yield_task_queue_now().await;
                        }
                    };
                    glommio::spawn_local_into(task, queue).unwrap()
                });
                if kicked {
                    register(&door);
                }
                let _ = ready.send(());
                for task in tasks {
                    task.await;
                }
                door.close();
            }
        })
        .unwrap();
        started.recv_timeout(PATIENCE).unwrap();
        executors
    }

    #[test]
    fn a_kicked_executor_never_stops() {
        let door = Arc::new(Door::default());
        let executors = yielding_queues(&door, true);
        let deadline = Instant::now() + PATIENCE;
        while !executors.is_finished() {
            assert!(Instant::now() < deadline, "stopped after {door:?}");
            thread::sleep(Duration::from_millis(10));
        }
        executors.join();
        println!("{} kicks in {RUN:?}", door.kicks());
    }

    /// The same without the thread: if it stops, which is likely but not certain, kicks by hand
    /// must set it going again. One is not always enough: the executor that it wakes may be
    /// interrupted before it ran anything, and fall asleep again.
    #[test]
    fn a_stopped_executor_goes_on_when_kicked() {
        let door = Arc::new(Door::default());
        let executors = yielding_queues(&door, false);
        let mut passes = 0;
        let mut changed = Instant::now();
        let mut stops = 0;
        while !executors.is_finished() {
            thread::sleep(Duration::from_millis(10));
            if door.passes() != passes {
                passes = door.passes();
                changed = Instant::now();
            } else if changed.elapsed() > Duration::from_millis(500) {
                stops += 1;
                let deadline = Instant::now() + PATIENCE;
                while door.passes() == passes && !executors.is_finished() {
                    assert!(Instant::now() < deadline, "kicks do not help");
                    door.kick();
                    thread::sleep(STILL_MAX);
                }
                changed = Instant::now();
            }
        }
        executors.join();
        println!("stopped {stops} times without the kicking thread");
    }
}
