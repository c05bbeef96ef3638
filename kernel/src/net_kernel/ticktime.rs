//! The tick time while a node runs, and its change.
//!
//! Nothing about ticks is negotiated: the nodes of a cluster change theirs at about the same time,
//! and each keeps its connections alive for all while it does. OTP: `net_kernel`,
//! `set_net_ticktime/2` and `aux_tick`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use krarup_transport::dist::TickConfig;

/// The tick time of a node, or the one that it is changing to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetTicktime {
    /// This one is in force.
    Steady(Duration),
    /// A change to this one is under way (OTP: `{ongoing_change_to, _}`).
    ChangingTo(Duration),
}

/// What became of the wish to change the tick time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicktimeChange {
    /// It is what it was.
    Unchanged,
    /// A change has begun, or is done already.
    Initiated,
    /// Another change, to this one, is under way: the wish is ignored.
    Ongoing(Duration),
}

/// What every shard is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickOrder {
    /// Put this in force on all links.
    Install(TickConfig),
    /// Send a tick over all links.
    Auxiliary,
}

/// The tick time as a state machine.
#[derive(Debug)]
pub struct Ticktime {
    /// What new links have.
    config: TickConfig,
    change: Option<Change>,
    orders: VecDeque<TickOrder>,
}

#[derive(Debug)]
struct Change {
    to: TickConfig,
    /// Time between two auxiliary ticks: the shorter of both intervals.
    every: Duration,
    /// Auxiliary ticks still to be sent.
    left: u64,
    due: Instant,
}

impl Ticktime {
    /// With this tick time in force.
    pub fn new(config: TickConfig) -> Self {
        Ticktime { config, change: None, orders: VecDeque::new() }
    }

    /// What a link has that begins now.
    pub fn config(&self) -> TickConfig {
        self.config
    }

    /// The tick time (OTP: `get_net_ticktime/0`).
    pub fn get(&self) -> NetTicktime {
        match &self.change {
            None => NetTicktime::Steady(self.config.ticktime()),
            Some(change) => NetTicktime::ChangingTo(change.to.ticktime()),
        }
    }

    /// Changes the tick time; for the time of the transition every link carries something at least
    /// once in the shorter of both intervals. A longer one is in force at once, a shorter one after
    /// the transition.
    pub fn set(
        &mut self,
        ticktime: Duration,
        transition: Duration,
        now: Instant,
    ) -> TicktimeChange {
        if let Some(change) = &self.change {
            return TicktimeChange::Ongoing(change.to.ticktime());
        }
        let to = TickConfig::new(ticktime, self.config.intensity());
        if to == self.config {
            return TicktimeChange::Unchanged;
        }
        let every = self.config.interval().min(to.interval());
        // One at the start, and as many as cover the transition.
        let cover = transition.as_millis().div_ceil(every.as_millis().max(1));
        let left = 1 + u64::try_from(cover).unwrap_or(u64::MAX - 1);
        if to.ticktime() > self.config.ticktime() {
            self.install(to);
        }
        self.change = Some(Change { to, every, left, due: now });
        self.expire(now);
        TicktimeChange::Initiated
    }

    /// When [`Ticktime::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.change.as_ref().map(|change| change.due)
    }

    /// Does what is due.
    pub fn expire(&mut self, now: Instant) {
        let Some(change) = self.change.as_mut().filter(|change| change.due <= now) else { return };
        change.left -= 1;
        // What comes late is not made up for: it would come in one burst.
        change.due = (change.due + change.every).max(now);
        if change.left == 0 {
            let to = change.to;
            self.change = None;
            self.install(to);
        }
        self.orders.push_back(TickOrder::Auxiliary);
    }

    /// The next thing to do. Call until it returns `None` after every other call.
    pub fn next_order(&mut self) -> Option<TickOrder> {
        self.orders.pop_front()
    }

    fn install(&mut self, config: TickConfig) {
        if self.config != config {
            self.config = config;
            self.orders.push_back(TickOrder::Install(config));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn config(seconds: u32) -> TickConfig {
        TickConfig::new(seconds * SECOND, 4)
    }

    /// What happens, and after how many milliseconds.
    fn run(from: u32, to: u32, transition: Duration) -> Vec<(u128, TickOrder)> {
        let start = Instant::now();
        let mut ticktime = Ticktime::new(config(from));
        assert_eq!(ticktime.set(to * SECOND, transition, start), TicktimeChange::Initiated);
        let mut all = Vec::new();
        let mut now = start;
        loop {
            while let Some(order) = ticktime.next_order() {
                all.push(((now - start).as_millis(), order));
            }
            let Some(due) = ticktime.deadline() else { break };
            assert_eq!(ticktime.get(), NetTicktime::ChangingTo(to * SECOND));
            let ongoing = TicktimeChange::Ongoing(to * SECOND);
            assert_eq!(ticktime.set(from * SECOND, transition, now), ongoing);
            assert_eq!(ticktime.set(to * SECOND, transition, now), ongoing);
            now = due;
            ticktime.expire(now);
        }
        assert_eq!(ticktime.get(), NetTicktime::Steady(to * SECOND));
        assert_eq!(ticktime.config(), config(to));
        all
    }

    // As traced on OTP 25 and 29: auxiliary ticks at 0 to 5 s, then the change.
    #[test]
    fn a_shorter_time_is_in_force_after_the_transition() {
        let auxiliary = |second: u128| (second * 1000, TickOrder::Auxiliary);
        let mut expected: Vec<_> = (0..5).map(auxiliary).collect();
        expected.extend([(5000, TickOrder::Install(config(4))), auxiliary(5)]);
        assert_eq!(run(8, 4, 5 * SECOND), expected);
    }

    #[test]
    fn a_longer_time_is_in_force_at_once() {
        let install = (0, TickOrder::Install(config(8)));
        let auxiliary = |second: u128| (second * 1000, TickOrder::Auxiliary);
        let expected: Vec<_> = [install].into_iter().chain((0..6).map(auxiliary)).collect();
        assert_eq!(run(4, 8, 5 * SECOND), expected);
    }

    #[test]
    fn without_a_transition_all_is_done_at_once() {
        let expected = [(0, TickOrder::Install(config(4))), (0, TickOrder::Auxiliary)];
        assert_eq!(run(8, 4, Duration::ZERO), expected);
    }

    #[test]
    fn a_transition_is_covered_by_whole_intervals() {
        // 1 ms past two intervals of 250 ms takes three, and one at the start.
        let times: Vec<u128> =
            run(2, 1, Duration::from_millis(501)).iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [0, 250, 500, 750, 750]);
    }

    #[test]
    fn the_same_time_changes_nothing() {
        let now = Instant::now();
        let mut ticktime = Ticktime::new(config(8));
        assert_eq!(ticktime.set(8 * SECOND, 60 * SECOND, now), TicktimeChange::Unchanged);
        assert_eq!(ticktime.next_order(), None);
        // A second rounded up to a multiple of the intensity is one of 1001 milliseconds.
        let mut odd = Ticktime::new(TickConfig::new(SECOND, 7));
        assert_eq!(odd.get(), NetTicktime::Steady(Duration::from_millis(1001)));
        assert_eq!(odd.set(SECOND, SECOND, now), TicktimeChange::Unchanged);
    }

    #[test]
    fn late_looks_do_not_come_in_a_burst() {
        let start = Instant::now();
        let mut ticktime = Ticktime::new(config(8));
        ticktime.set(4 * SECOND, 3 * SECOND, start);
        let late = start + 10 * SECOND;
        ticktime.expire(late);
        let orders = std::iter::from_fn(|| ticktime.next_order()).count();
        assert_eq!(orders, 2, "one of the start, one now");
        ticktime.expire(late);
        ticktime.expire(late + SECOND);
        assert_eq!(ticktime.deadline(), None, "it ends all the same");
    }
}
