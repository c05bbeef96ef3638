//! Two nodes that connect to each other at once, with nothing in their way: both are told that they
//! are connected, and neither connection that comes up of it ends.

use std::time::Duration;

use super::World;
use super::env::Event;

/// How far apart the two begin, at most.
const GAPS_US: [u64; 4] = [0, 300, 3000, 60_000];

/// What had happened when the nodes began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Before {
    ends: u64,
    denied: u64,
}

impl World {
    /// Ends the connections between nodes that both may connect to the other one, to have them
    /// connect anew when all has settled.
    pub(super) fn prepare_duel(&mut self) {
        self.env.tell(|| "a duel is prepared".to_owned());
        for (node, other) in self.duellists() {
            if let Some(life) = &mut self.nodes[node].life {
                life.disconnect(&mut self.env, other, 1);
            }
        }
        self.env.after(Duration::from_secs(5), Event::Duel);
    }

    pub(super) fn begin_duel(&mut self) {
        self.env.tell(|| "a duel begins".to_owned());
        self.before_duel = Some(self.before());
        for (node, other) in self.duellists() {
            for (node, other) in [(node, other), (other, node)] {
                let gap = *self.env.rng.pick(&GAPS_US);
                let delay = Duration::from_micros(self.env.rng.within(0..=gap));
                self.connect_later(node, other, delay);
            }
        }
        self.env.after(Duration::from_secs(30), Event::Phase);
    }

    /// Nobody was told that it cannot be connected, and nothing has ended.
    pub(super) fn check_duel(&mut self) {
        if let Some(before) = self.before_duel.take() {
            assert_eq!(before, self.before(), "two that connect at once are in each other's way");
        }
    }

    fn before(&self) -> Before {
        Before { ends: self.env.ends.values().sum(), denied: self.env.waiters.answered.1 }
    }

    fn duellists(&self) -> Vec<(usize, usize)> {
        let count = self.nodes.len();
        let pairs = (0..count).flat_map(|node| (node + 1..count).map(move |other| (node, other)));
        let lives = |node: usize| self.nodes[node].life.as_ref();
        let both_may = |(node, other): &(usize, usize)| {
            let (Some(one), Some(two)) = (lives(*node), lives(*other)) else { return false };
            self.may_call(one, two) && self.may_call(two, one) && self.can_connect(one, two)
        };
        pairs.filter(both_may).collect()
    }
}
