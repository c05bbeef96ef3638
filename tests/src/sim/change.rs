//! What happens to a cluster in [`Weather::Fickle`](super::Weather::Fickle), beside what happens to
//! its connections: who may belong to it, and who wants to, changes all the time.

use std::time::Duration;

use super::World;
use super::names::FirstName;
use super::wishes::NOBODY;

/// Cookies that nodes get.
const COOKIES: [&str; 3] = ["simulated", "another", "third"];

impl World {
    /// One thing happens.
    pub(super) fn change(&mut self) {
        let (node, other) = self.two_nodes();
        match self.env.rng.below(100) {
            0..=19 => self.wish_connected(node),
            20..=33 => {
                // Both at once, or nearly so.
                let gap = Duration::from_micros(*self.env.rng.pick(&[0, 0, 500, 3000]));
                self.connect_later(node, other, Duration::ZERO);
                self.connect_later(other, node, gap);
            }
            34..=39 => {
                if self.plan.specs[node].is_otp() {
                    return self.wish_connected(node);
                }
                if let Some(life) = self.nodes[node].life.as_mut() {
                    life.await_peer(&mut self.env, other);
                }
            }
            40..=54 => {
                let waiters = self.env.rng.within(0..=2);
                if let Some(life) = self.nodes[node].life.as_mut() {
                    life.disconnect(&mut self.env, other, waiters);
                }
            }
            55..=58 => self.allow_some(node),
            59..=64 => {
                let cookie = *self.env.rng.pick(&COOKIES);
                let of = self.env.rng.chance(1, 2).then_some(other);
                if let Some(life) = self.nodes[node].life.as_mut() {
                    life.set_cookie(&mut self.env, of, cookie);
                }
            }
            65..=72 => self.break_connection(false),
            73..=76 => self.break_connection(true),
            77..=80 => {
                let most = self.env.longest_ticktime().as_millis() as u64 * 3;
                let until = self.env.now + Duration::from_millis(self.env.rng.within(1..=most));
                self.part(node, other, until);
            }
            81..=83 => {
                let until = self.env.now + Duration::from_millis(self.env.rng.within(1..=10_000));
                self.env.stop_process(node, until);
            }
            84..=87 => self.stop(node),
            88..=90 => self.end(node),
            91 | 92 => {
                if let Some(life) = &self.nodes[node].life {
                    self.env.lose_power(life.owner);
                    self.end(node);
                }
            }
            93 | 94 => self.change_ticktime(),
            _ => {
                if self.nodes[node].life.is_none() {
                    self.start(node);
                } else {
                    self.wish_connected(node);
                }
            }
        }
    }

    fn two_nodes(&mut self) -> (usize, usize) {
        let count = if self.plan.is_narrow { 2 } else { self.nodes.len() };
        let node = self.env.rng.below(count);
        (node, (node + 1 + self.env.rng.below(count - 1)) % count)
    }

    /// Somebody at a node wants it to be connected to some node.
    fn wish_connected(&mut self, node: usize) {
        let count = self.nodes.len();
        // Also to itself, and to one that is not there.
        let other = match self.env.rng.below(12) {
            0 => node,
            1 => count,
            _ => (node + 1 + self.env.rng.below(count - 1)) % count,
        };
        let waiters = self.env.rng.within(0..=3);
        let hidden = self.env.rng.chance(1, 4);
        self.connect_now(node, other, hidden, waiters);
    }

    pub(super) fn connect_now(&mut self, node: usize, other: usize, hidden: bool, waiters: u64) {
        if let Some(life) = self.nodes[node].life.as_mut() {
            life.connect(&mut self.env, other, hidden, waiters);
        }
    }

    pub(super) fn connect_later(&mut self, node: usize, other: usize, delay: Duration) {
        let hidden = self.env.rng.chance(1, 8);
        self.env.after(delay, super::env::Event::Connect { node, other, hidden });
    }

    /// Whoever is named so may connect to a node: a cluster's own nodes as a rule, or nobody would
    /// be left who can.
    fn allow_some(&mut self, node: usize) {
        let mut list = Vec::new();
        for spec in &self.plan.specs {
            let name = spec.name.as_str();
            let (head, host) = name.split_once('@').expect("a full name");
            match self.env.rng.below(6) {
                0..=2 => list.push(name.to_owned()),
                3 => list.push(host.to_owned()),
                4 => list.push(format!("{head}@")),
                _ => {}
            }
        }
        if self.env.rng.chance(1, 10) {
            list = vec![NOBODY.to_owned()];
        }
        if let Some(life) = self.nodes[node].life.as_mut() {
            life.allow(&mut self.env, list);
        }
    }

    /// All nodes have the same cookie again.
    pub(super) fn reconcile(&mut self) {
        for node in 0..self.nodes.len() {
            let Some(life) = self.nodes[node].life.as_mut() else { continue };
            if !life.is_stopping() {
                life.policy.reconcile(COOKIES[0], &self.plan);
            }
        }
    }

    fn stop(&mut self, node: usize) {
        if let Some(life) = &mut self.nodes[node].life {
            life.stop(&mut self.env);
            self.look_whether_stopped(node);
        }
    }

    /// A node that was told to stop has ended all its connections.
    pub(super) fn look_whether_stopped(&mut self, node: usize) {
        let entry = &mut self.nodes[node];
        let Some(life) = entry.life.as_mut().filter(|life| life.has_stopped()) else { return };
        let stays = life.naming.is_leaving;
        if !stays && (!self.plan.weather.is_fickle() || self.env.rng.chance(1, 2)) {
            return self.end(node);
        }
        // The process stays, and becomes a node again.
        let (old, new) = (life.owner, super::Owner { node, life: entry.lives });
        entry.lives += 1;
        self.env.tell(|| format!("{old} goes on as {new}"));
        self.env.alive.remove(&old);
        self.env.adopt_waiters(old, new);
        self.env.alive.insert(new);
        let name = match life.naming.is_leaving {
            true => FirstName::Given,
            false => self.plan.name_for(&mut self.env.rng, node),
        };
        let before = life.name().to_owned();
        life.begin_again(&mut self.env, new, name);
        if life.own.is_some() && life.name() != before {
            self.env.names.renamed += 1;
        }
    }
}
