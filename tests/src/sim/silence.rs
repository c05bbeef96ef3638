//! Ticks: the tick time changes on all nodes, who is silent is given up in time, and nobody else.

use std::time::Duration;

use krarup::net_kernel::{TickOrder, Ticktime, TicktimeChange};
use krarup_transport::dist::TickConfig;
use krarup_transport::fabric::RESUME_TIME;

use super::World;
use super::env::{Env, Event, Wake};
use super::life::Life;
use super::mesh::{Item, Route};
use super::names::NameId;
use super::net::{ConnId, Owner};
use super::shard::Slot;

/// What orders between shards, and processes that wait for their turn, may add to a time.
const SLACK: Duration = Duration::from_secs(1);

/// Beyond this delay between shards a lane may be silent because nobody got to it yet.
const JUDGED_MESH_DELAY_US_MAX: u64 = 20_000;

/// A change of the tick time, which all nodes make at about the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClusterChange {
    from: TickConfig,
    to: TickConfig,
    transition: Duration,
    since: Duration,
}

impl ClusterChange {
    /// When every node has made it, the last of which began with the end of the first.
    fn end(&self) -> Duration {
        self.since + self.transition * 3 + self.longest() + SLACK
    }

    fn longest(&self) -> Duration {
        self.from.ticktime().max(self.to.ticktime())
    }
}

/// The tick time of the cluster.
pub(super) struct ClusterTicks {
    change: ClusterChange,
    /// Somebody was too late for the change: until then a silence proves nothing.
    excused_until: Duration,
    /// Changes that were made, and lanes that were given up for silence.
    pub(super) changes: u64,
    pub(super) deaths: u64,
}

impl ClusterTicks {
    pub(super) fn new(config: TickConfig) -> ClusterTicks {
        let change = ClusterChange {
            from: config,
            to: config,
            transition: Duration::ZERO,
            since: Duration::ZERO,
        };
        ClusterTicks { change, excused_until: Duration::ZERO, changes: 0, deaths: 0 }
    }
}

impl Env {
    /// The longest tick time that some node may have now.
    pub(super) fn longest_ticktime(&self) -> Duration {
        let change = &self.ticks.change;
        if self.now < change.end() { change.longest() } else { change.to.ticktime() }
    }

    /// What a node that starts is told of the tick time.
    pub(super) fn ticktime_of_new(&mut self, owner: Owner) -> Ticktime {
        let change = self.ticks.change;
        if self.now >= change.since + change.transition * 2 {
            return Ticktime::new(change.to);
        }
        self.wake(owner, Wake::Ticktime(change));
        Ticktime::new(change.from)
    }

    /// A lane was given up for silence: there has to have been some.
    pub(super) fn judge_death(&mut self, owner: Owner, peer: Owner, conn: ConnId, judges: bool) {
        self.tell(|| format!("{owner} hears nothing of {peer} on {conn:?}"));
        self.ticks.deaths += 1;
        let since = self.now.saturating_sub(self.longest_ticktime() + SLACK);
        let is_excused = !judges
            || self.ticks.excused_until > self.now
            || self.is_broken(conn)
            || self.was_parted(owner.node, peer.node, since)
            || [owner, peer].iter().any(|of| self.was_stopped(of.node, since));
        assert!(is_excused, "{owner} gives {conn:?} up, over which {peer} speaks");
    }

    fn was_stopped(&self, node: usize, since: Duration) -> bool {
        self.late_until.get(&node).is_some_and(|until| *until >= since)
    }
}

impl Slot {
    /// A lane that was not given up has brought something not too long ago.
    pub(super) fn check_silence(&self, env: &Env, owner: Owner) {
        let silent = env.instant().saturating_duration_since(self.last_byte());
        // Half the tick time and an interval, and the same again when it was changed meanwhile. A
        // plain link is given all of it.
        let looks = if self.machine.is_plain() { 10 } else { 5 };
        let most = env.longest_ticktime() * looks / 4 + SLACK;
        let since = env.now.saturating_sub(most);
        assert!(
            silent <= most || env.was_stopped(owner.node, since),
            "{owner} keeps a lane that has been silent for {silent:?}"
        );
    }
}

impl Life {
    /// Changes the tick time, as everybody does.
    pub(super) fn set_ticktime(&mut self, env: &mut Env, change: ClusterChange) {
        if change != env.ticks.change {
            return;
        }
        if env.now > change.since + change.transition {
            env.ticks.excused_until =
                change.end().max(env.now + change.transition + change.longest());
        }
        let (to, now) = (change.to.ticktime(), env.instant());
        let became = self.ticktime.set(to, change.transition, now);
        env.tell(|| format!("{} changes its tick time to {to:?}: {became:?}", self.owner));
        assert_eq!(became, TicktimeChange::Initiated, "{} at {change:?}", self.owner);
    }

    /// Does what a change of the tick time asks for; whether there was anything.
    pub(super) fn obey_ticktime(&mut self, env: &mut Env) -> bool {
        let Some(order) = self.ticktime.next_order() else { return false };
        if let TickOrder::Install(config) = order {
            for bundle in self.bundles.values_mut() {
                bundle.set_tick_time(config.ticktime());
            }
        }
        for shard in 0..self.shards.len() {
            self.tell(env, shard, Item::Ticks(order));
        }
        true
    }

    pub(super) fn order_ticks(&mut self, env: &mut Env, index: usize, order: TickOrder) {
        let now = env.instant();
        let shard = &mut self.shards[index];
        for slot in shard.lanes.values_mut() {
            match order {
                TickOrder::Install(config) => slot.machine.set_tick_config(config, now),
                TickOrder::Auxiliary => {
                    slot.machine.auxiliary_tick();
                    slot.flush(env);
                }
            }
        }
        shard.arm(env);
    }

    /// Whether a lane's silence means something at all: orders get to it in time, and no flipped bit
    /// of a frame's length makes it wait for bytes that nobody sends.
    pub(super) fn judges_silence(&self) -> bool {
        self.plan.mesh_delays.1 <= JUDGED_MESH_DELAY_US_MAX && self.plan.flip_one_in.is_none()
    }
}

impl World {
    /// All nodes get another tick time, each somewhat later than the one before.
    pub(super) fn change_ticktime(&mut self) {
        let last = self.env.ticks.change;
        // Whoever is late for the last change has to have made it, too.
        let late = self.env.late_until.values().copied().max().unwrap_or_default();
        if self.env.now < last.end().max(self.env.ticks.excused_until).max(late) {
            return;
        }
        let seconds = *self.env.rng.pick(&[1, 2, 4, 8, 12]);
        let to = TickConfig::new(Duration::from_secs(seconds), last.to.intensity());
        let transition = Duration::from_secs(*self.env.rng.pick(&[1, 3, 8]));
        if to == last.to {
            return;
        }
        let change = ClusterChange { from: last.to, to, transition, since: self.env.now };
        self.env.tell(|| format!("all change: {change:?}"));
        self.env.ticks.change = change;
        self.env.ticks.changes += 1;
        for node in 0..self.nodes.len() {
            let Some(life) = &self.nodes[node].life else { continue };
            let owner = life.owner;
            let delay = self.env.rng.within(0..=transition.as_millis() as u64 * 9 / 10);
            let at = Duration::from_millis(delay);
            self.env.after(at, Event::Wake(owner, Wake::Ticktime(change)));
        }
    }

    /// Nothing gets from one node to the other until then; they are looked at when both have to
    /// have found out.
    pub(super) fn part(&mut self, a: usize, b: usize, until: Duration) {
        self.env.part(a, b, until);
        let finds_out = self.finds_out();
        self.env.after(finds_out, Event::Parted(a, b));
    }

    /// After a silence of half the tick time and an interval a lane is given up, and a connection
    /// for it is looked for until the tick time is over, or somewhat longer.
    fn finds_out(&self) -> Duration {
        self.env.longest_ticktime() * 5 / 2 + RESUME_TIME + SLACK * 3
    }

    pub(super) fn look_at_parted(&mut self, a: usize, b: usize) {
        let since = self.env.now.saturating_sub(self.finds_out());
        let [one, two] = [a, b].map(|node| &self.plan.specs[node]);
        let is_over_unix = one.unix && two.unix && one.host == two.host;
        if is_over_unix || !self.env.is_parted_since(a, b, since) {
            return;
        }
        for (node, other) in [(a, b), (b, a)] {
            let Some(life) = &self.nodes[node].life else { continue };
            let is_up = life.shards.iter().any(|shard| {
                let up = |(name, route): (&NameId, &Route)| {
                    route.peer.node == other && shard.table.up(*name).is_some()
                };
                shard.routes.iter().any(up)
            });
            assert!(
                !is_up || self.env.was_stopped(node, since),
                "{} has heard nothing of {other} since {since:?}, and it is up",
                life.owner
            );
        }
    }
}
