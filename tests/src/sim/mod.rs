//! Whole clusters in one thread: the real machines over a network in memory, all from one seed.
//!
//! Nodes of one to four shards connect, settle, join and exchange signals of every kind and size
//! while connections break, packets are delayed, bits flip, processes stop, die and come back. After
//! every step the run is compared with what must be true:
//!
//! * within a session no signal between two processes is lost, repeated or overtaken, whatever
//!   happens to its connections; across a `nodedown` each arrives at most once;
//! * a process is told `nodeup` before the first and `nodedown` after the last signal of a node;
//! * both ends of a lane agree on where its streams go on, and positions only grow;
//! * no budget of memory is exceeded;
//! * once nothing goes wrong any more every two nodes that may are connected again, and everything
//!   that was accepted in a session that is up has arrived;
//! * whoever waits for a connection or its end is answered once, in time, and truthfully;
//! * no connection comes up that its two nodes do not allow, or with two cookies.
//!
//! In [`Weather::Wild`] and [`Weather::Mixed`] some nodes do as Erlang's do: they offer no lanes, so
//! that a connection with one of them is a single link, which nothing resumes; and they make two
//! attempts one in OTP's way. In the latter, nodes also stop and start again under another name, or
//! without one, to be named by others.
//!
//! In [`Weather::Gentle`] only connections break, and no session may end. In [`Weather::Fickle`]
//! there are few signals, and nodes connect, disconnect, stop, and change whom they allow and their
//! cookies all the time. A run that fails says its
//! seed; [`run`] with it does the same again.

mod allow_list;
mod change;
mod check;
mod duel;
mod env;
mod kernel;
mod life;
mod mesh;
mod names;
mod naming;
mod net;
mod oracle;
mod otp;
mod plan;
mod policy;
pub(crate) mod rng;
mod sessions;
mod setup;
mod shard;
mod silence;
mod table;
mod traffic;
mod waiters;
mod wishes;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use duel::Before;
use env::{Env, Event, Story};
use life::Life;
use net::Owner;
use plan::Plan;
pub use plan::Weather;
use rng::Rng;
use waiters::{ANSWER_TIME_MAX, SETUP_TIME};

/// How often nodes try to connect to those they are not connected to.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// How long nodes try again, beside the time after which silence is noticed.
const RETRY_TIME: Duration = Duration::from_secs(10);

/// For how long signals are still sent after the last fault.
const AFTERMATH: Duration = Duration::from_secs(3);

/// What may be sent during a storm, in bytes.
const BUDGET_BYTES: usize = 8 << 20;

/// More events than any run needs: it goes in circles.
const EVENTS_MAX: u64 = 20_000_000;

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Nodes that took part.
    pub nodes: usize,
    /// Simulated time.
    pub time: Duration,
    /// Things that happened.
    pub events: u64,
    /// Signals that were accepted, and that arrived.
    pub signals: (u64, u64),
    /// Bytes of payload that arrived.
    pub bytes: u64,
    /// Times that a lane went on with another connection, seen from either side.
    pub resumes: u64,
    /// Sessions that ended, seen from either side.
    pub ends: u64,
    /// Those who waited for a connection or its end and got it, and those who did not.
    pub answers: (u64, u64),
    /// Changes of the tick time of all nodes, and lanes that were given up for silence.
    pub ticks: (u64, u64),
    /// The longest that any of them waited, with a process that ran.
    pub longest_wait: Duration,
    /// Links between a Krarup node and one that knows no lanes, seen from either side.
    pub mixed_links: u64,
    /// Lives that the same process began under another name, and names that were given by others.
    pub names: (u64, u64),
    /// A hash of all that happened: the same for every run of one seed.
    pub fingerprint: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { nodes, time, events, signals: (sent, arrived), bytes, resumes, ends, .. } =
            self;
        let (granted, denied) = self.answers;
        let (renamed, given) = self.names;
        write!(
            formatter,
            "{nodes} nodes, {time:.1?}, {events} events, {arrived} of {sent} signals, {bytes} \
             bytes, {resumes} resumes, {ends} ends, {granted} wishes granted and {denied} not, \
             {:.1?} at most, {} changes of the tick time, {} silent lanes, {} mixed links, \
             {renamed} renamed and {given} named by others",
            self.longest_wait, self.ticks.0, self.ticks.1, self.mixed_links
        )
    }
}

/// Runs a cluster.
///
/// # Panics
///
/// When something is not as it has to be.
#[must_use]
pub fn run(seed: u64, weather: Weather) -> Report {
    run_telling(seed, weather, None)
}

/// The last of what happens in a run that fails, oldest first. It says again why it fails.
pub fn story(seed: u64, weather: Weather) -> Vec<String> {
    let story = Story::default();
    let kept = Rc::clone(&story);
    let _ = catch_unwind(AssertUnwindSafe(|| run_telling(seed, weather, Some(kept))));
    story.take().into()
}

fn run_telling(seed: u64, weather: Weather, story: Option<Story>) -> Report {
    let mut rng = Rng::new(seed);
    let plan = Rc::new(Plan::new(&mut rng, weather));
    let nodes = plan.specs.iter().map(|_| Node::default()).collect();
    let env = Env::new(rng, &plan, story);
    let mut world = World {
        env,
        plan,
        nodes,
        part: Part::Calm,
        rounds: 0,
        retries_end: Duration::MAX,
        turn: 0,
        before_duel: None,
    };
    world.run();
    let World { env, plan, .. } = world;
    Report {
        nodes: plan.specs.len(),
        time: env.now,
        events: env.events,
        signals: (env.oracle.sent, env.oracle.delivered),
        bytes: env.oracle.delivered_bytes,
        resumes: env.oracle.resumes,
        ends: env.ends.values().sum(),
        answers: env.waiters.answered,
        ticks: (env.ticks.changes, env.ticks.deaths),
        longest_wait: env.waiters.longest,
        mixed_links: env.mixed_links,
        names: (env.names.renamed, env.names.given),
        fingerprint: env.fingerprint,
    }
}

struct World {
    env: Env,
    plan: Rc<Plan>,
    nodes: Vec<Node>,
    part: Part,
    rounds: u32,
    /// Nodes are not connected again from then on.
    retries_end: Duration,
    /// Counts the rounds of connects.
    turn: u32,
    before_duel: Option<Before>,
}

/// A node, whether or not it lives.
#[derive(Default)]
struct Node {
    life: Option<Life>,
    lives: u32,
}

/// What a round consists of, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Nothing goes wrong; nodes connect, and in the end all must be well.
    Calm,
    /// Nothing goes wrong; those who may connect to each other do so at once.
    Duel,
    /// Faults, and signals all the time.
    Storm,
}

impl World {
    fn run(&mut self) {
        for node in 0..self.nodes.len() {
            self.start(node);
        }
        self.begin_calm(Duration::from_secs(20));
        while let Some(event) = self.env.next() {
            assert!(self.env.events < EVENTS_MAX, "it does not come to an end");
            match event {
                Event::Arrival(conn, side) => self.env.arrival(conn, side),
                Event::Dial(dial) => self.env.dial_event(dial),
                Event::Wake(owner, wake) => {
                    let life = self.nodes[owner.node].life.as_mut();
                    if let Some(life) = life.filter(|life| life.owner == owner) {
                        life.wake(&mut self.env, wake);
                        self.look_whether_stopped(owner.node);
                    }
                }
                Event::Fault => self.fault(),
                Event::Retry(round) if round == self.rounds && self.part == Part::Calm => {
                    match self.plan.weather {
                        Weather::Fickle | Weather::Mixed => self.connect_in_turn(),
                        Weather::Gentle | Weather::Wild => self.connect_all(),
                    }
                    if self.env.now < self.retries_end {
                        self.env.after(RETRY_INTERVAL, Event::Retry(round));
                    }
                }
                Event::Retry(_) => {}
                Event::Connect { node, other, hidden } => self.connect_now(node, other, hidden, 1),
                Event::Parted(a, b) => self.look_at_parted(a, b),
                Event::Duel => self.begin_duel(),
                Event::Quiet => self.env.quiet = true,
                Event::Phase => {
                    if self.part == Part::Storm {
                        let calm = self.calm();
                        self.begin_calm(calm);
                        continue;
                    }
                    // As long as somebody may still be answered.
                    if self.env.waits(ANSWER_TIME_MAX) {
                        self.env.after(Duration::from_secs(1), Event::Phase);
                        continue;
                    }
                    self.check();
                    self.check_duel();
                    if self.part == Part::Calm && self.plan.weather.is_fickle() {
                        self.part = Part::Duel;
                        self.prepare_duel();
                        continue;
                    }
                    if self.rounds > self.plan.rounds {
                        return;
                    }
                    self.begin_storm();
                }
            }
        }
    }

    /// The time after which everything has settled when nothing goes wrong any more.
    fn calm(&self) -> Duration {
        let settles = match self.plan.weather {
            Weather::Fickle | Weather::Mixed => RETRY_TIME + SETUP_TIME * 3,
            Weather::Gentle | Weather::Wild => Duration::from_secs(30),
        };
        self.env.longest_ticktime() * 2 + settles
    }

    fn begin_calm(&mut self, length: Duration) {
        self.rounds += 1;
        self.part = Part::Calm;
        self.env.break_next_join = false;
        self.env.tell(|| "the storm is over".to_owned());
        (self.env.budget, self.env.quiet) = (BUDGET_BYTES / 4, false);
        self.env.heal();
        for node in 0..self.nodes.len() {
            match &mut self.nodes[node].life {
                Some(_) => {}
                None => self.start(node),
            }
        }
        if self.plan.weather.is_fickle() && self.env.rng.chance(1, 2) {
            self.reconcile();
        }
        let start = self.env.now.max(self.env.heals_at());
        // Who asks in vain has to be told before all is looked at.
        self.retries_end = match self.plan.weather {
            Weather::Fickle | Weather::Mixed => {
                start + self.env.longest_ticktime() * 2 + RETRY_TIME
            }
            Weather::Gentle | Weather::Wild => Duration::MAX,
        };
        self.env.after(Duration::ZERO, Event::Retry(self.rounds));
        self.env.at(start + AFTERMATH.min(length / 2), Event::Quiet);
        self.env.at(start + length, Event::Phase);
    }

    fn begin_storm(&mut self) {
        self.part = Part::Storm;
        self.env.tell(|| "a storm begins".to_owned());
        self.env.quiet = false;
        self.env.budget = BUDGET_BYTES + 3 * self.plan.message_bytes_max;
        self.env.net.flip_one_in = self.plan.flip_one_in;
        self.env.after(Duration::ZERO, Event::Fault);
        self.env.after(self.plan.storm, Event::Phase);
    }

    fn start(&mut self, node: usize) {
        let entry = &mut self.nodes[node];
        let owner = Owner { node, life: entry.lives };
        entry.lives += 1;
        self.env.alive.insert(owner);
        self.env.tell(|| format!("{owner} lives"));
        let name = self.plan.name_for(&mut self.env.rng, node);
        entry.life = Some(Life::start(&mut self.env, &self.plan, owner, name));
    }

    /// The process of a node ends; the system closes its sockets.
    fn end(&mut self, node: usize) {
        if let Some(life) = self.nodes[node].life.take() {
            self.env.tell(|| format!("{} is dead", life.owner));
            self.env.end_process(life.owner);
            self.env.forget_waiters(life.owner);
            self.env.alive.remove(&life.owner);
            self.env.names.unlist(node);
        }
    }

    fn connect_all(&mut self) {
        for node in 0..self.nodes.len() {
            for other in 0..self.nodes.len() {
                if node == other || self.env.rng.chance(1, 3) {
                    continue;
                }
                match &mut self.nodes[node].life {
                    Some(life) if !life.is_stopping() => {
                        life.connect(&mut self.env, other, false, 1)
                    }
                    Some(_) => {}
                    None => self.start(node),
                }
            }
        }
    }

    /// Every two nodes, one of them in one round and the other one in the next: two that call at
    /// once may each wait for the other, of whom only one is allowed.
    fn connect_in_turn(&mut self) {
        self.turn += 1;
        for node in 0..self.nodes.len() {
            if self.nodes[node].life.is_none() {
                self.start(node);
            }
            for other in (0..self.nodes.len()).filter(|other| *other != node) {
                if (node < other) == self.turn.is_multiple_of(2) {
                    self.connect_now(node, other, false, 1);
                }
            }
        }
    }

    fn fault(&mut self) {
        if self.part != Part::Storm {
            return;
        }
        let mean = self.plan.fault_gap.as_micros() as u64;
        let gap = self.env.rng.within(mean / 2..=mean * 3 / 2);
        self.env.after(Duration::from_micros(gap), Event::Fault);
        let weather = self.plan.weather;
        if weather.is_fickle() {
            return self.change();
        }
        let kinds = if weather == Weather::Gentle { 10 } else { 20 };
        let node = self.env.rng.below(self.nodes.len());
        let other = self.env.rng.below(self.nodes.len());
        match self.env.rng.below(kinds) {
            0..=4 => self.break_connection(false),
            5 => self.env.break_next_join = true,
            6 => self.break_connection(true),
            7 | 8 if node != other => {
                let most = if weather == Weather::Gentle { 500 } else { 10_000 };
                let until = self.env.now + Duration::from_millis(self.env.rng.within(1..=most));
                self.env.part(node, other, until);
            }
            9 | 10 => {
                let most = if weather == Weather::Gentle { 300 } else { 10_000 };
                let until = self.env.now + Duration::from_millis(self.env.rng.within(1..=most));
                self.env.stop_process(node, until);
            }
            11 => self.end(node),
            12 => {
                if let Some(life) = &self.nodes[node].life {
                    self.env.lose_power(life.owner);
                    self.end(node);
                }
            }
            13 => {
                if let Some(life) = &mut self.nodes[node].life {
                    life.stop(&mut self.env);
                    self.look_whether_stopped(node);
                }
            }
            14 if node != other => {
                if let Some(life) = &mut self.nodes[node].life {
                    life.disconnect(&mut self.env, other, 1);
                }
            }
            15..=19 => match &mut self.nodes[node].life {
                Some(life) if node != other && !life.is_stopping() => {
                    life.connect(&mut self.env, other, false, 1);
                }
                Some(_) => {}
                None => self.start(node),
            },
            _ => {}
        }
    }

    pub(super) fn break_connection(&mut self, silently: bool) {
        let mut conns = self.env.live_conns();
        if silently && self.plan.weather == Weather::Gentle {
            // An initiator whose proof is lost without a word may find out later than its acceptor
            // waits.
            conns.retain(|conn| !self.env.is_busy(*conn));
        }
        if conns.is_empty() {
            return;
        }
        let conn = *self.env.rng.pick(&conns);
        if silently {
            self.env.cut(conn);
        } else {
            self.env.reset(conn);
        }
    }
}
