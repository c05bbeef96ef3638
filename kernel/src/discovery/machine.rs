//! Which wanted node is to be connected, and when: reconciling, without I/O, clock or chance.
//!
//! Nothing here depends on having been told of a change. Each time the machine is given all that is
//! wanted by a source and all that is connected, and what is missing follows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use krarup_transport::term::Atom;

/// Nodes that one source may want; what it names beyond is passed over.
pub(crate) const WANTED_MAX: usize = 4096;
/// Nodes that are being connected at a time.
const DIALS_MAX: usize = 16;
/// How long a name of this node itself is left alone.
const ITSELF_PAUSE: Duration = Duration::from_secs(600);

/// How long to wait before a node that did not answer is tried again: at first the least, each time
/// twice as long, up to the most. Of every such time a random part of the second half is left out,
/// so that nodes that lost each other at once do not all come back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// After the first failure, and after a connection was lost.
    pub least: Duration,
    /// After many failures.
    pub most: Duration,
}

impl Default for BackOff {
    /// From a second to half a minute.
    fn default() -> Self {
        BackOff { least: Duration::from_secs(1), most: Duration::from_secs(30) }
    }
}

/// What is done about one wanted node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is connected.
    Up,
    /// It is being connected.
    Dialled,
    /// It is tried when this time has come.
    Waiting(Instant),
}

#[derive(Clone, Debug)]
struct Wanted {
    state: State,
    /// Attempts that failed since it was connected last.
    failures: u32,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Reconciler {
    back_off: BackOff,
    random: u64,
    /// What each source wants.
    sources: Vec<BTreeSet<Atom>>,
    nodes: BTreeMap<Atom, Wanted>,
    dials: usize,
}

/// What became of the wishes of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Wanted now, and by nobody before.
    pub(crate) wanted: Vec<Atom>,
    /// Wanted by nobody any more; their connections are left alone.
    pub(crate) released: Vec<Atom>,
}

impl Reconciler {
    pub(crate) fn new(back_off: BackOff, sources: usize, seed: u64) -> Self {
        Reconciler {
            back_off,
            random: seed,
            sources: vec![BTreeSet::new(); sources],
            nodes: BTreeMap::new(),
            dials: 0,
        }
    }

    /// All that a source wants from now on.
    pub(crate) fn want(&mut self, now: Instant, source: usize, nodes: BTreeSet<Atom>) -> Changes {
        let mut changes = Changes::default();
        let Some(wanted) = self.sources.get_mut(source) else { return changes };
        *wanted = nodes.into_iter().take(WANTED_MAX).collect();
        for node in self.sources.iter().flatten() {
            if !self.nodes.contains_key(node) {
                let wanted = Wanted { state: State::Waiting(now), failures: 0 };
                self.nodes.insert(node.clone(), wanted);
                changes.wanted.push(node.clone());
            }
        }
        let gone = |node: &Atom| !self.sources.iter().any(|source| source.contains(node));
        changes.released = self.nodes.keys().filter(|node| gone(node)).cloned().collect();
        for node in &changes.released {
            let removed = self.nodes.remove(node);
            if removed.is_some_and(|removed| removed.state == State::Dialled) {
                self.dials -= 1;
            }
        }
        changes
    }

    /// All nodes that are connected now.
    pub(crate) fn connected(&mut self, now: Instant, nodes: &BTreeSet<Atom>) {
        let least = self.back_off.least;
        for (node, wanted) in &mut self.nodes {
            match (nodes.contains(node), wanted.state) {
                (true, State::Waiting(_)) => *wanted = Wanted { state: State::Up, failures: 0 },
                (false, State::Up) => {
                    wanted.state = State::Waiting(now + jittered(&mut self.random, least));
                }
                // An attempt says itself what became of it.
                _ => {}
            }
        }
    }

    /// A node that is to be connected now; [`dialled`](Self::dialled) has to follow.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Atom> {
        if self.dials >= DIALS_MAX {
            return None;
        }
        let is_due = |wanted: &Wanted| matches!(wanted.state, State::Waiting(at) if at <= now);
        let due = self.nodes.iter_mut().filter(|(_, wanted)| is_due(wanted));
        // Who waits longest is first: nodes that never answer must not keep the rest from their turn.
        let (node, wanted) = due.min_by_key(|(_, wanted)| match wanted.state {
            State::Waiting(at) => Some(at),
            _ => None,
        })?;
        wanted.state = State::Dialled;
        self.dials += 1;
        Some(node.clone())
    }

    /// What became of an attempt: the number of failures in a row, zero if there is none.
    pub(crate) fn dialled(&mut self, now: Instant, node: &Atom, succeeded: bool) -> u32 {
        // It may have been released meanwhile.
        let Some(wanted) = self.nodes.get_mut(node).filter(|node| node.state == State::Dialled)
        else {
            return 0;
        };
        self.dials -= 1;
        if succeeded {
            *wanted = Wanted { state: State::Up, failures: 0 };
            return 0;
        }
        wanted.failures = wanted.failures.saturating_add(1);
        let doubled = 2_u32.checked_pow(wanted.failures - 1);
        let pause = doubled.and_then(|times| self.back_off.least.checked_mul(times));
        let pause = pause.unwrap_or(self.back_off.most).min(self.back_off.most);
        wanted.state = State::Waiting(now + jittered(&mut self.random, pause));
        wanted.failures
    }

    /// An attempt has come to this node itself, under another name: it is not tried again before the
    /// name may have come to stand for another node.
    pub(crate) fn dialled_itself(&mut self, now: Instant, node: &Atom) {
        if let Some(wanted) = self.nodes.get_mut(node).filter(|node| node.state == State::Dialled) {
            self.dials -= 1;
            wanted.state = State::Waiting(now + ITSELF_PAUSE);
        }
    }

    /// When [`next`](Self::next) may have something to do again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.dials >= DIALS_MAX {
            return None;
        }
        let due = |wanted: &Wanted| match wanted.state {
            State::Waiting(at) => Some(at),
            _ => None,
        };
        self.nodes.values().filter_map(due).min()
    }

    /// A pause with its random part left out.
    pub(crate) fn jittered(&mut self, pause: Duration) -> Duration {
        jittered(&mut self.random, pause)
    }
}

/// At least half of a pause.
fn jittered(state: &mut u64, pause: Duration) -> Duration {
    // SplitMix64.
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let part = f64::from((bits >> 32) as u32) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + part / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &str) -> BTreeSet<Atom> {
        names.split_whitespace().map(|name| Atom::new(name).unwrap()).collect()
    }

    fn due(machine: &mut Reconciler, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| machine.next(now)).map(|node| node.as_str().to_owned()).collect()
    }

    #[test]
    fn nodes_that_never_answer_keep_no_other_from_its_turn() {
        let mut now = Instant::now();
        let mut machine = Reconciler::new(BackOff::default(), 1, 3);
        let names: String = (0..200).map(|number| format!("n{number:03}@h ")).collect();
        machine.want(now, 0, set(&names));
        let mut dialled = BTreeSet::new();
        // Each attempt takes ten seconds, and none succeeds.
        for _ in 0..20 {
            let round: Vec<Atom> = std::iter::from_fn(|| machine.next(now)).collect();
            now += Duration::from_secs(10);
            for node in round {
                machine.dialled(now, &node, false);
                dialled.insert(node);
            }
        }
        assert_eq!(dialled.len(), 200);
    }

    #[test]
    fn this_node_itself_is_left_alone_for_long() {
        let now = Instant::now();
        let mut machine = Reconciler::new(BackOff::default(), 1, 3);
        machine.want(now, 0, set("me@h"));
        let me = machine.next(now).expect("it is due");
        machine.dialled_itself(now, &me);
        machine.connected(now, &set(""));
        assert_eq!(machine.deadline(), Some(now + ITSELF_PAUSE));
        assert_eq!(machine.next(now + Duration::from_secs(599)), None);
        assert_eq!(machine.next(now + ITSELF_PAUSE), Some(me));
        assert_eq!(machine.dials, 1);
    }

    #[test]
    fn what_is_wanted_and_not_connected_is_dialled() {
        let now = Instant::now();
        let mut machine = Reconciler::new(BackOff::default(), 2, 1);
        let changes = machine.want(now, 0, set("a@h b@h"));
        assert_eq!(changes.wanted.len(), 2);
        assert_eq!(machine.want(now, 1, set("b@h c@h")).wanted, [Atom::new("c@h").unwrap()]);
        machine.connected(now, &set("c@h x@h"));
        assert_eq!(due(&mut machine, now), ["a@h", "b@h"]);
        assert_eq!(due(&mut machine, now), Vec::<String>::new(), "each once");
        assert_eq!(machine.dialled(now, &Atom::new("a@h").unwrap(), true), 0);
        // What one source releases and another wants is wanted.
        assert_eq!(machine.want(now, 0, set("a@h")), Changes::default());
        let changes = machine.want(now, 1, set(""));
        assert_eq!(changes.released.len(), 2);
        // The attempt that was under way meanwhile changes nothing any more.
        assert_eq!(machine.dialled(now, &Atom::new("b@h").unwrap(), false), 0);
        machine.connected(now, &set("a@h"));
        assert_eq!(machine.deadline(), None);
    }

    #[test]
    fn failures_are_retried_ever_later_and_never_given_up() {
        let mut now = Instant::now();
        let back_off = BackOff { least: Duration::from_secs(1), most: Duration::from_secs(30) };
        let mut machine = Reconciler::new(back_off, 1, 7);
        let node = Atom::new("a@h").unwrap();
        machine.want(now, 0, set("a@h"));
        for failures in 1..100_u32 {
            assert_eq!(machine.next(now), Some(node.clone()));
            assert_eq!(machine.dialled(now, &node, false), failures);
            let at = machine.deadline().unwrap();
            let pause =
                Duration::from_secs(30).min(Duration::from_secs(1 << (failures - 1).min(5)));
            assert!(at >= now + pause / 2 && at <= now + pause, "{failures}");
            assert_eq!(machine.next(at - Duration::from_nanos(1)), None);
            now = at;
        }
        assert_eq!(machine.next(now), Some(node.clone()));
        assert_eq!(machine.dialled(now, &node, true), 0);
        // Lost: the first pause again, and half of it for certain.
        machine.connected(now, &set(""));
        let at = machine.deadline().unwrap();
        assert!(at >= now + back_off.least / 2 && at <= now + back_off.least);
    }

    #[test]
    fn a_loss_that_nobody_told_of_is_seen() {
        let now = Instant::now();
        let mut machine = Reconciler::new(BackOff::default(), 1, 3);
        machine.want(now, 0, set("a@h b@h"));
        machine.connected(now, &set("a@h b@h"));
        assert_eq!(machine.deadline(), None);
        machine.connected(now, &set("b@h"));
        let later = now + Duration::from_secs(2);
        assert_eq!(due(&mut machine, later), ["a@h"]);
        // It came by itself before the attempt did.
        machine.connected(later, &set("a@h b@h"));
        assert_eq!(machine.dialled(later, &Atom::new("a@h").unwrap(), true), 0);
    }

    #[test]
    fn not_all_are_dialled_at_once() {
        let now = Instant::now();
        let mut machine = Reconciler::new(BackOff::default(), 1, 3);
        let many: BTreeSet<Atom> =
            (0..10_000).map(|n| Atom::new(&format!("a{n}@h")).unwrap()).collect();
        assert_eq!(machine.want(now, 0, many).wanted.len(), WANTED_MAX);
        let first = due(&mut machine, now);
        assert_eq!((first.len(), machine.deadline()), (DIALS_MAX, None));
        machine.dialled(now, &Atom::new(&first[0]).unwrap(), false);
        assert_eq!(due(&mut machine, now).len(), 1);
        machine.want(now, 0, BTreeSet::new());
        assert_eq!((machine.dials, machine.nodes.len()), (0, 0));
    }

    /// Whatever happens in whatever order, all that is wanted ends up connected once it can be.
    #[test]
    fn everything_wanted_comes_up_in_the_end() {
        for seed in 0..200 {
            let mut random = seed;
            let mut dice = |sides: u64| {
                jittered(&mut random, Duration::from_secs(1));
                random % sides
            };
            let mut now = Instant::now();
            let mut machine = Reconciler::new(BackOff::default(), 2, seed);
            let (mut up, mut under_way) = (BTreeSet::new(), Vec::new());
            let any = |dice: &mut dyn FnMut(u64) -> u64| -> BTreeSet<Atom> {
                let of = |n| Atom::new(&format!("a{n}@h")).unwrap();
                (0..8).filter(|_| dice(2) == 0).map(of).collect()
            };
            for step in 0..400 {
                let is_calm = step >= 300;
                match dice(6) {
                    0 if !is_calm => {
                        let (source, nodes) = (dice(2), any(&mut dice));
                        machine.want(now, usize::try_from(source).unwrap(), nodes);
                    }
                    1 if !is_calm => up = up.intersection(&any(&mut dice)).cloned().collect(),
                    2 if !is_calm => up.extend(any(&mut dice)),
                    3 => now += Duration::from_secs(dice(40)),
                    4 => {
                        for node in std::mem::take(&mut under_way) {
                            let comes_up = is_calm || dice(2) == 0;
                            if comes_up {
                                up.insert(Atom::clone(&node));
                            }
                            machine.dialled(now, &node, comes_up);
                        }
                    }
                    _ => under_way.extend(std::iter::from_fn(|| machine.next(now))),
                }
                machine.connected(now, &up);
            }
            now += Duration::from_secs(31);
            under_way.extend(std::iter::from_fn(|| machine.next(now)));
            up.extend(under_way);
            let missing: Vec<_> = machine.nodes.keys().filter(|node| !up.contains(*node)).collect();
            assert!(missing.is_empty(), "seed {seed}: {missing:?}");
        }
    }
}
