//! What all simulated nodes share: the time, the network, the randomness and the truth.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use krarup::net_kernel::NodeDownReason;
use krarup_transport::fabric::{Refusal, SessionEnd};

use super::mesh::LaneKey;
use super::names::Names;
use super::net::{ConnId, DialId, Network, Owner};
use super::oracle::Oracle;
use super::plan::{Plan, Weather};
use super::policy::Claims;
use super::rng::Rng;
use super::silence::{ClusterChange, ClusterTicks};
use super::waiters::Waiters;

/// Bytes that payloads are cut from.
const NOISE_BYTES: usize = 64 << 10;

/// Lines of a story that are kept.
const STORY_LINES_MAX: usize = 40;

/// The last of what happened in a run, for whoever holds it when that fails.
pub(super) type Story = Rc<RefCell<VecDeque<String>>>;

/// Something that happens at its time.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Bytes, or the end, reach a socket.
    Arrival(ConnId, usize),
    /// A dial reaches its address, or its answer the dialler.
    Dial(DialId),
    /// A process of the operating system has something to do.
    Wake(Owner, Wake),
    /// The scenario's next fault.
    Fault,
    /// The scenario goes to its next part.
    Phase,
    /// Nodes connect to those that they are not connected to, in this round.
    Retry(u32),
    /// Somebody at a node wants it to be connected to another one.
    Connect { node: usize, other: usize, hidden: bool },
    /// Two nodes were parted, and should have found out if they still are.
    Parted(usize, usize),
    /// All have settled: those who may connect to each other do so at once.
    Duel,
    /// Nobody sends anything new.
    Quiet,
}

/// What a node is woken for.
#[derive(Clone, Debug)]
pub(super) enum Wake {
    /// A socket became readable or writable, or ended.
    Socket(ConnId),
    /// A connection was accepted.
    Accepted(ConnId),
    /// A dial ended: with a connection, or refused.
    Dialled(DialId, Option<ConnId>),
    /// Somebody changes the tick time.
    Ticktime(ClusterChange),
    /// The kernel shard looks at the time.
    Kernel,
    /// A shard looks at the time.
    Clock(usize),
    /// The queue from one shard to another has something that is due.
    Mesh(usize, usize),
    /// A process of a shard may send.
    Send(usize),
    /// A lane of a shard has something to write.
    Lane(usize, LaneKey),
}

pub(super) struct Env {
    start: Instant,
    pub(super) now: Duration,
    pub(super) rng: Rng,
    pub(super) net: Network,
    pub(super) oracle: Oracle,
    pub(super) claims: Claims,
    pub(super) waiters: Waiters,
    pub(super) ticks: ClusterTicks,
    queue: BTreeMap<(Duration, u64), Event>,
    scheduled: u64,
    /// Node whose process does not run, until when.
    pub(super) stopped: BTreeMap<usize, Duration>,
    /// Until when something that such a node had to do may have been put off.
    pub(super) late_until: BTreeMap<usize, Duration>,
    pub(super) names: Names,
    /// The lives that run, or are stopped.
    pub(super) alive: BTreeSet<Owner>,
    /// Nobody sends anything new.
    pub(super) quiet: bool,
    /// So many bytes may be sent before the next part of the run.
    pub(super) budget: usize,
    /// A fault waits for the next connection that takes a lane over.
    pub(super) break_next_join: bool,
    weather: Weather,
    /// What payloads are made of.
    noise: Vec<u8>,
    /// Links between a Krarup node and one that knows no lanes.
    pub(super) mixed_links: u64,
    /// Sessions that ended, by why.
    pub(super) ends: BTreeMap<String, u64>,
    /// Whether to print what sessions and faults do.
    tells: bool,
    /// The last of what would be printed.
    story: Option<Story>,
    /// A hash of all that happened, in order: two runs of one seed must agree.
    pub(super) fingerprint: u64,
    pub(super) events: u64,
    number: u64,
}

impl Env {
    pub(super) fn new(mut rng: Rng, plan: &Plan, story: Option<Story>) -> Env {
        let noise = (0..NOISE_BYTES / 8).flat_map(|_| rng.any().to_le_bytes()).collect();
        Env {
            start: Instant::now(),
            now: Duration::ZERO,
            rng,
            net: Network::default(),
            oracle: Oracle::default(),
            claims: Claims::default(),
            waiters: Waiters::default(),
            ticks: ClusterTicks::new(plan.tick),
            queue: BTreeMap::new(),
            scheduled: 0,
            stopped: BTreeMap::new(),
            late_until: BTreeMap::new(),
            names: Names::default(),
            alive: BTreeSet::new(),
            quiet: false,
            budget: 0,
            break_next_join: false,
            weather: plan.weather,
            noise,
            mixed_links: 0,
            ends: BTreeMap::new(),
            tells: std::env::var_os("KRARUP_SIM_TRACE").is_some(),
            story,
            fingerprint: 0,
            events: 0,
            number: 0,
        }
    }

    /// The time as the machines want it.
    pub(super) fn instant(&self) -> Instant {
        self.start + self.now
    }

    /// The simulated time of an instant.
    pub(super) fn time_of(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.start).max(self.now)
    }

    pub(super) fn at(&mut self, time: Duration, event: Event) {
        self.scheduled += 1;
        self.queue.insert((time.max(self.now), self.scheduled), event);
    }

    pub(super) fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Some microseconds, as a task waits for its turn.
    pub(super) fn soon(&mut self) -> Duration {
        Duration::from_micros(self.rng.within(0..=20))
    }

    pub(super) fn wake(&mut self, owner: Owner, wake: Wake) {
        let delay = self.soon();
        self.after(delay, Event::Wake(owner, wake));
    }

    /// Moves to the next event. Those of a stopped process wait until it runs again.
    pub(super) fn next(&mut self) -> Option<Event> {
        loop {
            let ((time, _), event) = self.queue.pop_first()?;
            self.now = time;
            if let Event::Wake(owner, _) = &event
                && let Some(until) = self.stopped.get(&owner.node).copied()
                && until > time
            {
                self.at(until, event);
                continue;
            }
            self.events += 1;
            self.note(time.as_nanos() as u64);
            return Some(event);
        }
    }

    /// Bytes that hardly any other call gives.
    pub(super) fn some_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count);
        self.number += 1;
        bytes.extend_from_slice(&self.number.to_le_bytes());
        while bytes.len() < count {
            let start = self.rng.below(NOISE_BYTES / 2);
            let piece = (count - bytes.len()).min(NOISE_BYTES / 2);
            bytes.extend_from_slice(&self.noise[start..start + piece]);
        }
        bytes.truncate(count);
        bytes
    }

    /// From now on nothing goes wrong; what is under way takes its time.
    pub(super) fn heal(&mut self) {
        self.net.flip_one_in = None;
    }

    /// When the last partition ends and the last stopped process goes on.
    pub(super) fn heals_at(&self) -> Duration {
        self.stopped.values().copied().chain(self.net.last_partition()).max().unwrap_or_default()
    }

    /// Looks whether a session had a reason to end.
    pub(super) fn judge_end(&mut self, owner: Owner, peer: Owner, end: &SessionEnd) {
        self.tell(|| format!("{owner} ends its session with {peer}: {end}"));
        *self.ends.entry(format!("{end:?}")).or_default() += 1;
        assert_ne!(self.weather, Weather::Gentle, "{owner:?} lost {peer:?}, which lives: {end}");
        match end {
            SessionEnd::PeerGone => {
                assert!(!self.alive.contains(&peer), "{peer:?} lives, says {owner:?} is gone");
            }
            SessionEnd::LaneFailed { .. }
            | SessionEnd::EpochsExhausted(_)
            | SessionEnd::NotResumable(_) => panic!("{owner:?} lost {peer:?}: {end}"),
            SessionEnd::Refused(refusal) if self.net.flip_one_in.is_none() => {
                assert_eq!(*refusal, Refusal::UnknownSession, "{owner:?} was refused by {peer:?}");
            }
            _ => {}
        }
    }

    /// The only link of a connection has ended by itself.
    pub(super) fn judge_link_end(&mut self, owner: Owner, peer: Owner, reason: &NodeDownReason) {
        *self.ends.entry(reason.to_string()).or_default() += 1;
        assert_ne!(self.weather, Weather::Gentle, "{owner} lost {peer}: {reason}");
    }

    /// Prints a line of the run's story, or keeps it, if that is wished for.
    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        if !self.tells && self.story.is_none() {
            return;
        }
        let line = format!("{:>14.6} {}", self.now.as_secs_f64(), line());
        if self.tells {
            println!("{line}");
        }
        if let Some(story) = &self.story {
            let mut story = story.borrow_mut();
            if story.len() == STORY_LINES_MAX {
                story.pop_front();
            }
            story.push_back(line);
        }
    }

    /// Makes something part of the run's fingerprint.
    pub(super) fn note(&mut self, what: u64) {
        self.fingerprint = (self.fingerprint ^ what).wrapping_mul(0x0100_0000_01b3).rotate_left(5);
    }
}
