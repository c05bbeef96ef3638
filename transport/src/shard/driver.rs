//! The driver: the one task per shard that moves its links' bytes.
//!
//! It works in passes. A pass writes what the tasks queued since the last one, receives from the
//! links that are active, and gives what came to the [`Host`]. If anything came it yields, so that
//! the tasks that were woken answer before anything else is done. Then it empties the mesh, keeps
//! its clock, and writes again. A pass that found nothing to read yields at its end: every task
//! that was woken runs before the next one. When passes find nothing for a while the driver sleeps,
//! first for a moment in a wait of its own, then it parks: one poll for all links, in glommio's ring.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use glommio::{Latency, Shares};

use super::door::Door;
use super::executors::processors;
use super::host::Host;
use super::kick;
use super::links::{Handle, Keep};
use super::mesh::{Incoming, Seat};
use super::slots::Slot;
use super::spin::Spin;
use crate::buffer::SLAB_BYTES;
use crate::io::{Bell, Events, Wait, sleep};

/// Links that are read in every pass while the driver spins; with more of them, only those that
/// were told to have something.
const HOT_LINKS_MAX: usize = 8;

/// How often a lone active link is read in a pass, until something comes: most likely that is the
/// next thing to happen, and the rest of a pass takes longer than asking for it.
const EAGER_READS: u32 = 12;

/// Time between two looks at all other links, while nothing happens.
const LOOK_INTERVAL_IDLE: Duration = Duration::from_micros(10);

/// Time between two looks at all other links, while something happens in every pass, or while other
/// tasks run and nothing happens.
const LOOK_INTERVAL: Duration = Duration::from_micros(20);

/// How long a driver holds the thread in a sleep of its own before it parks. The executor's way into
/// its sleep and out of it costs ten system calls, which a message that comes soon need not wait
/// for.
const NAP: Duration = Duration::from_millis(1);

/// How long something may end every nap before the driver parks all the same: so late may timers of
/// the executor and wakes from other threads be, beside a nap.
const NAPPING_MAX: Duration = Duration::from_millis(2);

/// How often the shard's other tasks may run before a nap: one that wakes another must not find the
/// thread asleep.
const YIELDS_BEFORE_NAP: usize = 3;

/// Links that one look can tell about; the rest is told by the next.
const EVENTS_MAX: usize = 256;

/// How a driver works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverConfig {
    /// How long to look for more after something came, before parking.
    pub spin: Duration,
    /// The same after something was sent, which may be answered, as long as answers come in such a
    /// time.
    pub spin_after_send: Duration,
    /// How often [`Host::tick`] is called.
    pub tick: Duration,
    /// Most bytes received from one link in one pass.
    pub receive_bytes_max: usize,
    /// Most bytes written to one link in one turn.
    pub write_bytes_max: usize,
    /// Queued bytes that are written at once although the link was written to in this pass. In
    /// writes of a few messages of 64 KiB the kernel has less to do than in one for each.
    pub direct_bytes: usize,
    /// Most data messages taken from each queue of the mesh in one pass.
    pub messages_max: usize,
}

impl Default for DriverConfig {
    fn default() -> DriverConfig {
        DriverConfig {
            spin: Duration::from_micros(20),
            spin_after_send: Duration::from_micros(100),
            tick: Duration::from_millis(100),
            receive_bytes_max: SLAB_BYTES,
            write_bytes_max: 1024 * 1024,
            direct_bytes: 192 * 1024,
            messages_max: 256,
        }
    }
}

impl DriverConfig {
    /// The defaults for a node of `shards` shards: without spinning when they exceed the
    /// processors, since one shard would then spin on the time of another.
    #[must_use]
    pub fn for_shards(shards: usize) -> DriverConfig {
        if shards <= processors() {
            DriverConfig::default()
        } else {
            DriverConfig::never_spinning()
        }
    }

    /// The defaults, but for spinning: a shard that finds nothing to do sleeps.
    #[must_use]
    pub fn never_spinning() -> DriverConfig {
        DriverConfig {
            spin: Duration::ZERO,
            spin_after_send: Duration::ZERO,
            ..DriverConfig::default()
        }
    }
}

/// Moves the bytes of one shard; see the module.
pub struct Driver<H: Host> {
    host: Rc<H>,
    handle: Handle<H>,
    incoming: Incoming<H::Message>,
    events: Events,
    scratch: Vec<Rc<Slot<H::Link>>>,
    next_tick: Instant,
    spin: Spin,
    last_look: Instant,
    last_park: Instant,
}

impl<H: Host> Driver<H> {
    /// The driver of the shard that `seat` belongs to.
    ///
    /// # Errors
    /// When the host is out of descriptors.
    pub fn new(seat: Seat<H::Message>, host: Rc<H>, config: DriverConfig) -> io::Result<Driver<H>> {
        let handle = Handle::new(seat.outgoing, config.clone())?;
        let bell = Bell::new()?;
        handle.shared().watch.hear(&bell)?;
        handle.door().set_bell(bell);
        let now = Instant::now();
        let next_tick = now + config.tick;
        let spin = Spin::new(config.spin, config.spin_after_send, now);
        Ok(Driver {
            host,
            handle,
            incoming: seat.incoming,
            events: Events::with_capacity(EVENTS_MAX),
            scratch: Vec::new(),
            next_tick,
            spin,
            last_look: now,
            last_park: now,
        })
    }

    /// The handle for the tasks of this shard.
    #[must_use]
    pub fn handle(&self) -> Handle<H> {
        self.handle.clone()
    }

    /// Works until [`Handle::stop`], then closes all links. To be run as a task of its own, in the
    /// same queue as the tasks that it wakes.
    ///
    /// # Panics
    /// Outside of a glommio executor.
    pub async fn run(mut self) {
        let door = self.handle.door().clone();
        door.set_driver(poll_fn(|context| Poll::Ready(context.waker().clone())).await);
        door.set_due(self.next_tick);
        let _rescue = rescue(&door);
        let _clock = glommio::spawn_local(clock(door.clone()));
        let mut parking = Parking::new(&self.handle, &door);
        kick::register(&door);
        let watch = self.handle.shared().watch.clone();
        watch.install();
        while !self.handle.is_stopping() {
            let mut now = Instant::now();
            let read = self.receive(now);
            if read {
                self.let_tasks_run().await;
                now = Instant::now();
            }
            let worked = self.rest_of_pass(now, read);
            if read {
                continue;
            }
            if worked || self.spin.goes_on(now) || !self.is_quiet() {
                self.let_tasks_run().await;
            } else if !self.doze().await && !self.nap(now, &door) {
                self.park(&mut parking, &door).await;
            }
        }
        drop(parking);
        watch.close();
        self.handle.close_all();
        door.close();
    }

    /// Lets all that is ready run. What many of them sent leaves at once.
    async fn let_tasks_run(&mut self) {
        self.handle.begin_turns();
        if self.handle.take_ready()
            && self.handle.caught(|| self.host.run_ready(&self.handle)).is_err()
        {
            // Others than the one that panicked may wait.
            self.handle.note_ready();
        }
        Yield::default().await;
        if self.handle.end_turns() {
            self.handle.write_dirty();
        }
    }

    /// The first part of a pass: writes what was queued, and receives. Returns whether anything
    /// came.
    fn receive(&mut self, now: Instant) -> bool {
        let mut passes = 0;
        self.handle.count(|counters| {
            counters.passes += 1;
            passes = counters.passes;
        });
        self.handle.door().set_passes(passes);
        let wrote = self.handle.write_dirty();
        let is_eager = !wrote && self.handle.hot_links() == 1 && self.spin.goes_on(now);
        let mut reads = if is_eager { EAGER_READS } else { 1 };
        let incoming = &self.incoming;
        let again = || {
            reads = u32::saturating_sub(reads, 1);
            reads > 0 && incoming.is_empty()
        };
        let keep = self.keep(Keep::All);
        let read = self.handle.read_hot(&self.host, &mut self.scratch, keep, again);
        if wrote {
            self.spin.extend(now);
        }
        read
    }

    /// The rest of a pass. Returns whether there was anything to do, `read` included.
    fn rest_of_pass(&mut self, now: Instant, read: bool) -> bool {
        let mut worked = read;
        let since_look = now.duration_since(self.last_look);
        let look = if worked {
            since_look >= LOOK_INTERVAL
        } else {
            self.handle.hot_links() == 0 || since_look >= LOOK_INTERVAL_IDLE
        };
        if look {
            self.last_look = now;
            if self.look() {
                worked |= self.read_hot(Keep::All);
            }
        }
        worked |= self.drain_mesh();
        if worked {
            self.spin.came(now);
        }
        if now >= self.next_tick {
            self.tick(now);
            worked = true;
        }
        let _ = self.handle.caught(|| self.host.flush(&self.handle));
        worked |= self.handle.write_dirty();
        // Also what the tasks sent since the last pass.
        if self.handle.take_sent() {
            worked = true;
            self.spin.sent(now);
        } else if worked || self.handle.take_woke() {
            self.spin.extend(now);
        }
        worked
    }

    fn read_hot(&mut self, keep: Keep) -> bool {
        let keep = self.keep(keep);
        self.handle.read_hot(&self.host, &mut self.scratch, keep, || false)
    }

    fn keep(&self, keep: Keep) -> Keep {
        if self.handle.hot_links() > HOT_LINKS_MAX { Keep::Told } else { keep }
    }

    /// Asks which links have something to do. Returns whether any has.
    fn look(&mut self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// The same, after waiting for one for so long.
    fn wait(&mut self, patience: Duration) -> bool {
        match self.handle.shared().watch.readiness().wait(&mut self.events, patience) {
            Ok(0) => false,
            Ok(_) => {
                for event in self.events.iter() {
                    self.handle.follow(event);
                }
                true
            }
            Err(error) => {
                tracing::error!(%error, "cannot ask which links are ready");
                false
            }
        }
    }

    fn drain_mesh(&mut self) -> bool {
        let (handle, host) = (&self.handle, &self.host);
        let taken = self.incoming.drain(handle.config().messages_max, |from, message| {
            let _ = handle.caught(|| host.message(handle, from, message));
        });
        handle.count(|counters| counters.messages += taken as u64);
        taken > 0
    }

    fn tick(&mut self, now: Instant) {
        self.next_tick = now + self.handle.config().tick;
        self.handle.door().set_due(self.next_tick);
        self.spin.forgive();
        if let Some((short, long)) = self.handle.take_new_spin() {
            self.spin.set(short, long);
        }
        self.handle.trim();
        let _ = self.handle.caught(|| self.host.tick(&self.handle, now));
    }

    /// Lets go of the links that were read in every pass. Returns whether there is nothing left to
    /// do.
    fn is_quiet(&mut self) -> bool {
        !self.read_hot(Keep::Told) && !self.handle.has_work()
    }

    /// Lets the shard's other tasks run, as long as there are some, until it is time to look again.
    /// Returns whether there were any.
    ///
    /// While they run the driver must not park: it would be woken by another thread, and the
    /// executor does not look for such wakes before its timer says so.
    async fn doze(&mut self) -> bool {
        let until = Instant::now() + LOOK_INTERVAL;
        let turns = self.handle.turns();
        loop {
            let before = self.handle.turns();
            for _ in 0..YIELDS_BEFORE_NAP {
                Yield::default().await;
            }
            let is_alone = self.handle.turns() == before;
            if is_alone || self.handle.has_work() || !self.incoming.is_empty() {
                break;
            }
            if Instant::now() >= until {
                break;
            }
        }
        self.handle.turns() != turns
    }

    /// Waits for the links and other threads for a moment. Returns whether anything came.
    fn nap(&mut self, now: Instant, door: &Door) -> bool {
        if now.duration_since(self.last_park) >= NAPPING_MAX {
            return false;
        }
        door.nap();
        // Whoever pushed before seeing that is found here; whoever pushes later sees it.
        let mut came = self.drain_mesh() || self.handle.has_work() || self.handle.is_stopping();
        if !came {
            self.handle.count(|counters| counters.naps += 1);
            self.spin.gave_up();
            came = self.wait(NAP);
        }
        door.leave();
        came
    }

    /// Waits until something comes.
    async fn park(&mut self, parking: &mut Parking, door: &Arc<Door>) {
        if let Err(error) = parking.arm() {
            tracing::warn!(%error, "cannot wait for the links");
            sleep(Duration::from_millis(1)).await;
            return;
        }
        door.park();
        // Whoever pushed before seeing the flag is found here; whoever pushes later sees it.
        let quiet = !self.drain_mesh() && !self.handle.has_work() && !self.handle.is_stopping();
        if quiet {
            self.handle.count(|counters| counters.parks += 1);
            poll_fn(|_| if door.is_parked() { Poll::Pending } else { Poll::Ready(()) }).await;
        }
        self.last_park = Instant::now();
        door.leave();
    }
}

/// Gives the door a waker that interrupts the executor's sleep whatever it believes, and returns
/// the task behind it.
pub(super) fn rescue(door: &Arc<Door>) -> Option<glommio::Task<()>> {
    // A foreign wake of a task in a queue where latency matters always writes the eventfd that
    // the executor sleeps on. The stated latency must not be shorter than the preempt timer.
    let queue = glommio::executor().create_task_queue(
        Shares::Static(1),
        Latency::Matters(Duration::from_secs(1)),
        "krarup-rescue",
    );
    let told = door.clone();
    let task = glommio::spawn_local_into(
        poll_fn(move |context| {
            told.set_rescue(context.waker().clone());
            Poll::<()>::Pending
        }),
        queue,
    );
    task.ok()
}

/// Wakes a parked driver when its clock is due.
async fn clock(door: Arc<Door>) {
    while !door.is_closed() {
        sleep(door.until_due(Instant::now())).await;
        door.unpark();
        // The driver makes its pass, and says when it wants the next.
        Yield::default().await;
    }
}

/// The wait for all links at once.
struct Parking {
    wait: Wait,
    unpark: Arc<Unpark>,
    waker: Waker,
}

/// Wakes the driver when a link has something to do.
struct Unpark {
    door: Arc<Door>,
    fired: AtomicBool,
}

impl Parking {
    fn new<H: Host>(handle: &Handle<H>, door: &Arc<Door>) -> Parking {
        let unpark = Arc::new(Unpark { door: door.clone(), fired: AtomicBool::new(false) });
        let waker = Waker::from(unpark.clone());
        Parking { wait: Wait::readable(handle.shared().watch.readiness()), unpark, waker }
    }

    /// Makes sure that the wait is with the ring.
    fn arm(&mut self) -> io::Result<()> {
        let mut context = Context::from_waker(&self.waker);
        if self.unpark.fired.swap(false, Ordering::Relaxed)
            && let Poll::Ready(result) = self.wait.poll_ring(&mut context)
        {
            result?;
        }
        // One that is still armed is not polled again: that would add another waker each time.
        if !self.wait.is_armed()
            && let Poll::Ready(result) = self.wait.poll_ring(&mut context)
        {
            return result;
        }
        Ok(())
    }
}

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Unpark>) {
        self.fired.store(true, Ordering::Relaxed);
        self.door.ring();
    }
}

/// Lets every task that is ready run once.
#[derive(Default)]
pub(super) struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Yield>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
