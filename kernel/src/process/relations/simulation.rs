//! Many processes of several nodes that link, unlink, monitor and end at random, over connections
//! that break and come back, held against what Erlang promises of signals.
//!
//! Only signals of one process to another keep their order here, as Erlang promises no more.

use std::collections::{HashMap, HashSet, VecDeque};

use krarup_transport::term::{Atom, Creation, Pid, Reference};

use super::{Ended, Monitor, Party, Relations, Via, Watcher};
use crate::net_kernel::ConnectionId;
use crate::process::Destination;

/// Few, so that much happens between the same two.
const NODES: usize = 2;
const PROCESSES: usize = 2;
const STEPS: usize = 150;
const SEEDS: u64 = 20_000;

/// A process by node and number.
type Id = (usize, usize);

#[derive(Clone, Debug)]
enum Signal {
    Link,
    Unlink(u64),
    UnlinkAck(u64),
    Exit,
    Monitor(Reference),
    Demonitor(Reference),
    Down(Reference),
}

/// A connection between two nodes: each end takes it for up until it has seen it break.
struct Connection {
    number: u64,
    up: [bool; 2],
}

struct World {
    random: u64,
    alive: HashMap<Id, Relations>,
    /// Signals on their way, with the connection they went over.
    channels: HashMap<(Id, Id), VecDeque<(u64, Signal)>>,
    connections: HashMap<(usize, usize), Connection>,
    next: u64,
    /// Monitors that were neither taken back nor fired, by who set them up.
    open: HashMap<Reference, (Id, Id)>,
    /// Pairs between which somebody asked for a link since the first of them removed it last.
    linked: HashSet<(Id, Id)>,
}

fn atom(node: usize) -> Atom {
    Atom::new(&format!("n{node}@h")).expect("a short name")
}

fn pid((node, number): Id) -> Pid {
    let id = u32::try_from(number).expect("few processes");
    Pid { node: atom(node), id, serial: 0, creation: Creation(4) }
}

fn party(id: Id) -> Party {
    Party::Peer(pid(id))
}

fn id(party: &Party) -> Id {
    let Party::Peer(pid) = party else { panic!("all are of other nodes here") };
    let node = (0..NODES).find(|node| atom(*node) == pid.node).expect("a known node");
    (node, pid.id as usize)
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl World {
    fn new(seed: u64) -> Self {
        let processes =
            (0..NODES).flat_map(|node| (0..PROCESSES).map(move |number| (node, number)));
        let mut world = World {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            alive: processes.map(|id| (id, Relations::default())).collect(),
            channels: HashMap::new(),
            connections: HashMap::new(),
            next: 0,
            open: HashMap::new(),
            linked: HashSet::new(),
        };
        for a in 0..NODES {
            for b in a + 1..NODES {
                world.connect(a, b);
            }
        }
        world
    }

    fn pick(&mut self, below: usize) -> usize {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let number = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).expect("31 bits") % below
    }

    fn connect(&mut self, a: usize, b: usize) {
        self.next += 1;
        self.connections.insert(pair(a, b), Connection { number: self.next, up: [true; 2] });
    }

    /// The connection that `from` takes for up.
    fn way(&self, from: usize, to: usize) -> Option<u64> {
        let connection = self.connections.get(&pair(from, to))?;
        connection.up[usize::from(from > to)].then_some(connection.number)
    }

    fn send(&mut self, from: Id, to: Id, over: u64, signal: Signal) {
        // What goes over a connection that is broken is lost.
        let connection = self.connections.get(&pair(from.0, to.0));
        let carries = connection.is_some_and(|c| c.number == over && c.up == [true; 2]);
        if carries {
            self.channels.entry((from, to)).or_default().push_back((over, signal));
        }
    }

    fn via(over: u64) -> Via {
        Via::Connection(ConnectionId(over))
    }

    fn link(&mut self, a: Id, b: Id) {
        let Some(over) = self.way(a.0, b.0) else { return };
        let Some(relations) = self.alive.get_mut(&a) else { return };
        if relations.link(party(b), Self::via(over)) {
            self.send(a, b, over, Signal::Link);
        }
        self.linked.insert((a, b));
        self.linked.insert((b, a));
    }

    fn unlink(&mut self, a: Id, b: Id) {
        let Some(relations) = self.alive.get_mut(&a) else { return };
        if let Some((number, Via::Connection(over))) = relations.unlink(&party(b)) {
            self.send(a, b, over.0, Signal::Unlink(number));
        }
        // A link that the other one asks for, or has asked for without this one knowing, counts.
        let is_asked = self.channels.get(&(b, a)).is_some_and(|signals| {
            signals.iter().any(|(_, signal)| matches!(signal, Signal::Link))
        });
        if !is_asked {
            self.linked.remove(&(a, b));
        }
    }

    fn monitor(&mut self, a: Id, b: Id) {
        let Some(over) = self.way(a.0, b.0) else { return };
        let Some(relations) = self.alive.get_mut(&a) else { return };
        self.next += 1;
        let words = [0, (self.next >> 32) as u32, self.next as u32];
        let reference = Reference::new(atom(a.0), Creation(4), &words).expect("three words");
        let target = Destination::Pid(pid(b));
        relations.monitor(reference.clone(), Monitor { target, via: Self::via(over) });
        self.open.insert(reference.clone(), (a, b));
        self.send(a, b, over, Signal::Monitor(reference));
    }

    fn demonitor(&mut self, a: Id) {
        let mut own: Vec<Reference> =
            self.open.iter().filter(|(_, (by, _))| *by == a).map(|(r, _)| r.clone()).collect();
        own.sort();
        if own.is_empty() || !self.alive.contains_key(&a) {
            return;
        }
        let reference = own.swap_remove(self.pick(own.len()));
        let relations = self.alive.get_mut(&a).expect("it lives");
        let monitor = relations.demonitor(&reference).expect("an open monitor is known");
        let (_, b) = self.open.remove(&reference).expect("it was open");
        let Via::Connection(over) = monitor.via else { panic!("all go over connections") };
        self.send(a, b, over.0, Signal::Demonitor(reference));
    }

    fn end(&mut self, a: Id) {
        let Some(mut relations) = self.alive.remove(&a) else { return };
        let Ended { links, monitors, watchers } = relations.end();
        for (reference, monitor) in monitors {
            let (_, b) = self.open.remove(&reference).expect("a known monitor is open");
            let Via::Connection(over) = monitor.via else { panic!("all go over connections") };
            self.send(a, b, over.0, Signal::Demonitor(reference));
        }
        for (other, via) in links {
            let Via::Connection(over) = via else { panic!("all go over connections") };
            self.send(a, id(&other), over.0, Signal::Exit);
        }
        for (reference, watcher) in watchers {
            let Via::Connection(over) = watcher.via else { panic!("all go over connections") };
            self.send(a, id(&watcher.by), over.0, Signal::Down(reference));
        }
    }

    /// A process receives an exit through a link: it traps them, or ends.
    fn exited(&mut self, a: Id, by: Id) {
        assert!(self.linked.contains(&(a, by)), "{a:?} is told of {by:?}, which it had unlinked");
        if self.pick(3) == 0 {
            self.end(a);
        }
    }

    fn fired(&mut self, a: Id, reference: &Reference) {
        let (by, _) = self.open.remove(reference).expect("a monitor fires once, if it stands");
        assert_eq!(by, a);
    }

    fn receive(&mut self, from: Id, to: Id, over: u64, signal: Signal) {
        let (via, by) = (Self::via(over), party(from));
        let relations = self.alive.get_mut(&to);
        match (signal, relations) {
            (Signal::Link, Some(relations)) => relations.linked(by, via),
            (Signal::Link, None) => self.send(to, from, over, Signal::Exit),
            (Signal::Unlink(number), relations) => {
                if let Some(relations) = relations {
                    relations.unlinked(&by);
                }
                self.send(to, from, over, Signal::UnlinkAck(number));
            }
            (Signal::UnlinkAck(number), Some(relations)) => {
                relations.removal_acknowledged(&by, number);
            }
            (Signal::Exit, Some(relations)) => {
                if relations.exited(&by) {
                    self.exited(to, from);
                }
            }
            (Signal::Monitor(reference), Some(relations)) => {
                relations.watched(reference, Watcher { by, via, name: None });
            }
            (Signal::Monitor(reference), None) => {
                self.send(to, from, over, Signal::Down(reference));
            }
            (Signal::Demonitor(reference), Some(relations)) => {
                relations.unwatched(&reference, &by);
            }
            (Signal::Down(reference), Some(relations)) => {
                if relations.fired(&reference, via).is_some() {
                    self.fired(to, &reference);
                }
            }
            (_, None) => {}
        }
    }

    /// Delivers the first signal of some pair; false when none is on its way.
    fn deliver_one(&mut self) -> bool {
        let mut waiting: Vec<(Id, Id)> =
            self.channels.iter().filter(|(_, s)| !s.is_empty()).map(|(pair, _)| *pair).collect();
        waiting.sort_unstable();
        if waiting.is_empty() {
            return false;
        }
        let (from, to) = waiting[self.pick(waiting.len())];
        let signals = self.channels.get_mut(&(from, to)).expect("it waits");
        let (over, signal) = signals.pop_front().expect("it waits");
        self.receive(from, to, over, signal);
        true
    }

    /// The connection between two nodes breaks: what is on its way is lost, in part or all.
    fn cut(&mut self, a: usize, b: usize) {
        let between = |from: Id, to: Id| pair(from.0, to.0) == pair(a, b);
        let mut channels: Vec<(Id, Id)> =
            self.channels.keys().filter(|(from, to)| between(*from, *to)).copied().collect();
        channels.sort_unstable();
        for channel in channels {
            // Each end has read what it has read.
            let length = self.channels[&channel].len();
            for _ in 0..self.pick(length + 1) {
                let next = self.channels.get_mut(&channel).and_then(VecDeque::pop_front);
                if let Some((over, signal)) = next {
                    self.receive(channel.0, channel.1, over, signal);
                }
            }
        }
        if let Some(connection) = self.connections.get_mut(&pair(a, b)) {
            // One of them sees it later; what it sends until then goes nowhere.
            connection.up = [false, false];
        }
        self.channels.retain(|(from, to), _| !between(*from, *to));
        let number = self.connections[&pair(a, b)].number;
        for node in [a, b] {
            self.lose(node, number);
        }
        self.connections.remove(&pair(a, b));
    }

    fn lose(&mut self, node: usize, number: u64) {
        for process in 0..PROCESSES {
            let own = (node, process);
            let Some(relations) = self.alive.get_mut(&own) else { continue };
            let lost = relations.lost(ConnectionId(number));
            for (reference, _) in &lost.monitors {
                self.fired(own, reference);
            }
            for other in &lost.links {
                self.exited(own, id(other));
            }
        }
    }

    fn step(&mut self) {
        let mut process = || (self.pick(NODES), self.pick(PROCESSES));
        let (a, b) = (process(), process());
        if a.0 == b.0 {
            self.deliver_one();
            return;
        }
        match self.pick(200) {
            0..40 => self.link(a, b),
            40..80 => self.unlink(a, b),
            80..95 => self.monitor(a, b),
            95..105 => self.demonitor(a),
            105 => self.end(a),
            106..109 => match self.way(a.0, b.0) {
                Some(_) => self.cut(a.0, b.0),
                None => self.connect(a.0, b.0),
            },
            _ => drop(self.deliver_one()),
        }
    }

    /// Nothing is on its way: what both ends think has to be the same.
    fn check(&self) {
        for (a, relations) in &self.alive {
            for (other, link) in &relations.links {
                let b = id(other);
                assert_eq!(link.removal, None, "{a:?} waits for {b:?} to acknowledge");
                let back = self.alive.get(&b).and_then(|r| r.links.get(&party(*a)));
                assert!(back.is_some(), "{a:?} is linked to {b:?}, which is not to it");
            }
            for (reference, monitor) in &relations.monitors {
                let (_, b) = self.open[reference];
                let watched = self.alive.get(&b).map(|b| b.watchers.contains_key(reference));
                assert_eq!(watched, Some(true), "{a:?} waits for {monitor:?} in vain");
            }
            for (reference, watcher) in &relations.watchers {
                let by = self.alive.get(&id(&watcher.by));
                let known = by.is_some_and(|by| by.monitors.contains_key(reference));
                assert!(known, "{a:?} keeps a monitor of {:?}, who forgot it", watcher.by);
            }
        }
        for (reference, (a, b)) in &self.open {
            let monitors = self.alive.get(a).map(|a| &a.monitors);
            let stands = monitors.is_some_and(|monitors| monitors.contains_key(reference));
            assert!(stands, "the monitor of {b:?} by {a:?} is lost");
        }
    }
}

#[test]
fn links_and_monitors_keep_erlangs_promises() {
    for seed in 0..SEEDS {
        let run = move || {
            let mut world = World::new(seed);
            for _ in 0..STEPS {
                world.step();
            }
            while world.deliver_one() {}
            world.check();
        };
        assert!(std::panic::catch_unwind(run).is_ok(), "seed {seed} (the reason is above)");
    }
}
