//! The one thread outside the executors, which wakes one that stands still.
//!
//! glommio's executor can go to sleep although tasks are runnable: its loop cannot tell "nothing
//! to run" from "interrupted before anything ran". It takes the preempt timer to fire within the
//! microsecond between being set and the first task, so a thread that lost its processor for as
//! long as the timer is what it happens to; and nothing inside the executor ends such a sleep
//! dependably. So a thread watches the pass counter of each shard. A shard that should be running
//! (its driver is not parked, or has missed the moment it wanted to run at) and makes no pass for
//! some looks is woken through a waker from outside. Shards that are properly parked are
//! left alone.
//!
//! A look costs the shard it interrupts some 10 us where the thread has no processor of its own. At
//! 400 looks a second that was the 99th percentile of round trips, so it looks rarely until it
//! finds something.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::door::Door;

/// How often the thread looks while no shard stands still.
const LOOK: Duration = Duration::from_millis(50);

/// The same while every shard is parked.
const LOOK_PARKED: Duration = Duration::from_millis(100);

/// The same after a shard was seen to stand still, which is likely to happen again.
const LOOK_ALERT: Duration = Duration::from_millis(5);

/// Looks for which that lasts.
const ALERT_LOOKS: u32 = 200;

/// How late a parked driver may be for its own timer before that counts as standing still.
const OVERDUE_MAX: Duration = Duration::from_millis(20);

/// A shard with work to do that was seen to stand still for so long is kicked.
const KICK_PAUSE_MIN: Duration = Duration::from_millis(5);

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

struct Watch {
    state: Mutex<State>,
    changed: Condvar,
    kicks: AtomicU64,
}

#[derive(Default)]
struct State {
    added: Vec<Weak<Door>>,
    running: bool,
}

/// A shard under watch.
struct Watched {
    door: Weak<Door>,
    passes: u64,
    /// Since which look it has stood still, or when it was kicked.
    still_since: Option<Instant>,
    /// How long it must have stood still for the next kick.
    kick_pause: Duration,
}

/// What a look at a shard found.
enum Seen {
    Parked,
    Running,
    Still,
}

fn watch() -> &'static Watch {
    static WATCH: OnceLock<Watch> = OnceLock::new();
    WATCH.get_or_init(|| Watch {
        state: Mutex::default(),
        changed: Condvar::new(),
        kicks: AtomicU64::new(0),
    })
}

impl Watch {
    /// Looks at all shards, for as long as the process lives.
    fn run(&self) -> ! {
        let mut watched: Vec<Watched> = Vec::new();
        let mut alert_looks = 0_u32;
        loop {
            let now = Instant::now();
            let mut pause = LOOK_PARKED;
            alert_looks = alert_looks.saturating_sub(1);
            watched.retain_mut(|shard| {
                let Some(door) = shard.door.upgrade().filter(|door| !door.is_closed()) else {
                    return false;
                };
                match self.look(&door, shard, now) {
                    Seen::Parked => {}
                    Seen::Running => pause = pause.min(LOOK),
                    Seen::Still => alert_looks = ALERT_LOOKS,
                }
                true
            });
            if alert_looks > 0 {
                pause = LOOK_ALERT;
            }
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            watched.extend(state.added.drain(..).map(|door| Watched {
                door,
                passes: 0,
                still_since: None,
                kick_pause: KICK_PAUSE_MIN,
            }));
            if watched.is_empty() {
                // Until a shard is registered.
                pause = Duration::MAX;
            }
            drop(self.changed.wait_timeout_while(state, pause, |state| state.added.is_empty()));
        }
    }

    /// Looks at one shard and kicks it if it stands still.
    fn look(&self, door: &Door, shard: &mut Watched, now: Instant) -> Seen {
        let passes = door.passes();
        let is_parked = door.is_parked();
        if passes != shard.passes || (is_parked && door.overdue(now) < OVERDUE_MAX) {
            shard.passes = passes;
            shard.still_since = None;
            shard.kick_pause = KICK_PAUSE_MIN;
            return if is_parked { Seen::Parked } else { Seen::Running };
        }
        // It may have been woken just now: the first such look is none to act on.
        let still_since = *shard.still_since.get_or_insert(now);
        if now.duration_since(still_since) >= shard.kick_pause {
            shard.still_since = Some(now);
            shard.kick_pause = (shard.kick_pause * 2).min(KICK_PAUSE_MAX);
            self.kicks.fetch_add(1, Ordering::Relaxed);
            door.kick();
        }
        Seen::Still
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
                    thread::sleep(KICK_PAUSE_MIN);
                }
                changed = Instant::now();
            }
        }
        executors.join();
        println!("stopped {stops} times without the kicking thread");
    }
}
