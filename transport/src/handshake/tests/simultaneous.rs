//! Two nodes that connect to each other at once, in every order in which bytes and closes can
//! arrive.
//!
//! The world is replayed from its start for each schedule, so the machines need no copies: a
//! schedule is the list of choices made, and the next one differs in its last possible choice.

use std::collections::VecDeque;

use super::*;

/// What travels on one connection in one direction.
enum Parcel {
    Bytes(Vec<u8>),
    Close,
}

/// A node with what its kernel knows of the other one.
struct Node {
    name: NodeName,
    peer: NodeName,
    dialled: Option<Initiator>,
    accepted: Option<Acceptor>,
    /// On which connection the link is, by the number of the node that dialled it.
    link: Option<usize>,
    wants: bool,
    statuses: Vec<&'static str>,
}

/// Both nodes, and connection `c`, dialled by node `c`, with its two directions: `wires[c][d]` is
/// what node `d` sent on it.
struct World {
    now: Instant,
    nodes: [Node; 2],
    wires: [[VecDeque<Parcel>; 2]; 2],
}

#[derive(Clone, Copy, PartialEq)]
enum Choice {
    /// A node dials the other.
    Dial(usize),
    /// The first parcel that `from` sent on `connection` arrives.
    Deliver { connection: usize, from: usize },
}

impl World {
    fn new(now: Instant, names: [&str; 2]) -> World {
        let one = |own: usize| Node {
            name: node(names[own]),
            peer: node(names[1 - own]),
            dialled: None,
            accepted: None,
            link: None,
            wants: true,
            statuses: Vec::new(),
        };
        World { now, nodes: [one(0), one(1)], wires: Default::default() }
    }

    fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for own in 0..2 {
            if self.nodes[own].wants {
                choices.push(Choice::Dial(own));
            }
        }
        for connection in 0..2 {
            for from in 0..2 {
                if !self.wires[connection][from].is_empty() {
                    choices.push(Choice::Deliver { connection, from });
                }
            }
        }
        choices
    }

    fn take(&mut self, choice: Choice) {
        match choice {
            Choice::Dial(own) => self.dial(own),
            Choice::Deliver { connection, from } => {
                let parcel = self.wires[connection][from].pop_front().expect("a parcel waits");
                match parcel {
                    Parcel::Bytes(bytes) if connection == from => {
                        self.accept(1 - from, connection, &bytes);
                    }
                    Parcel::Bytes(bytes) => self.answer(1 - from, &bytes),
                    Parcel::Close => self.closed(1 - from, connection),
                }
            }
        }
    }

    fn dial(&mut self, own: usize) {
        let node = &mut self.nodes[own];
        node.wants = false;
        // An attempt of the peer that was let in already counts as the pending one: the caller
        // waits for it, no second connection is dialled.
        if node.link.is_some() || node.accepted.is_some() {
            return;
        }
        let challenge = Challenge(100 + u32::try_from(own).expect("a small number"));
        let config = InitiatorConfig {
            challenge,
            ..initiator_config(node.name.as_str(), node.peer.as_str())
        };
        let mut initiator = Initiator::new(config, self.now).expect("a good configuration");
        let bytes = initiator.take_output();
        node.dialled = Some(initiator);
        self.wires[own][own].push_back(Parcel::Bytes(bytes));
    }

    /// Bytes arrive at `own` on the connection that the other one dialled.
    fn accept(&mut self, own: usize, connection: usize, bytes: &[u8]) {
        let now = self.now;
        let node = &mut self.nodes[own];
        let acceptor = node.accepted.get_or_insert_with(|| {
            let challenge = Challenge(200 + u32::try_from(own).expect("a small number"));
            let config = AcceptorConfig { challenge, ..acceptor_config(node.name.as_str()) };
            Acceptor::new(config, now)
        });
        if acceptor.stage() == Stage::Over {
            return;
        }
        let mut step = acceptor.receive(now, bytes, none).expect("two good nodes");
        if let AcceptorStep::Decide(_) = step {
            let pending = node.dialled.is_some() && node.link.is_none();
            let (decision, status) = if node.link.is_some() {
                (Decision::Accept(Accept::Alive, cookie()), "alive")
            } else if pending && node.name > node.peer {
                (Decision::Nok, "nok")
            } else if pending {
                (Decision::Accept(Accept::OkSimultaneous, cookie()), "ok_simultaneous")
            } else {
                (Decision::Accept(Accept::Ok, cookie()), "ok")
            };
            node.statuses.push(status);
            if status == "ok_simultaneous" {
                node.dialled = None;
                self.wires[own][own].push_back(Parcel::Close);
            }
            step = acceptor.decide(now, decision).expect("it was asked");
        }
        let output = acceptor.take_output();
        if !output.is_empty() {
            self.wires[connection][own].push_back(Parcel::Bytes(output));
        }
        match step {
            AcceptorStep::Established(_) => {
                assert_eq!(node.link, None, "a second link");
                node.link = Some(connection);
            }
            AcceptorStep::Close => self.wires[connection][own].push_back(Parcel::Close),
            AcceptorStep::ReplaceOldLink => panic!("a link that was never lost is replaced"),
            AcceptorStep::Proven => panic!("no ack is held"),
            AcceptorStep::Continue | AcceptorStep::Decide(_) => {}
        }
    }

    /// Bytes arrive at `own` on the connection that it dialled.
    fn answer(&mut self, own: usize, bytes: &[u8]) {
        let now = self.now;
        let node = &mut self.nodes[own];
        // An attempt that was given up hears no more.
        let Some(initiator) = &mut node.dialled else { return };
        let step = initiator.receive(now, bytes, none).expect("two good nodes");
        match step {
            InitiatorStep::Established(_) => {
                assert_eq!(node.link, None, "a second link");
                node.link = Some(own);
            }
            InitiatorStep::Alive => {
                initiator.answer_alive(now, true).expect("it was asked");
            }
            InitiatorStep::Continue | InitiatorStep::Nok | InitiatorStep::Close => {}
        }
        let output = initiator.take_output();
        if !output.is_empty() {
            self.wires[own][own].push_back(Parcel::Bytes(output));
        }
    }

    fn closed(&mut self, own: usize, connection: usize) {
        let node = &mut self.nodes[own];
        assert_ne!(node.link, Some(connection), "the link itself was closed");
        if connection == own {
            node.dialled = None;
        } else {
            node.accepted = None;
        }
    }
}

/// Runs every schedule; gives how many there were and every pair of statuses that was said.
fn every_order(names: [&str; 2]) -> (usize, Vec<[Vec<&'static str>; 2]>) {
    let now = Instant::now();
    let mut path: Vec<(usize, usize)> = Vec::new();
    let mut schedules = 0;
    let mut seen = Vec::new();
    loop {
        let mut world = World::new(now, names);
        let mut depth = 0;
        loop {
            let choices = world.choices();
            if choices.is_empty() {
                break;
            }
            if depth == path.len() {
                path.push((0, choices.len()));
            }
            world.take(choices[path[depth].0]);
            depth += 1;
        }
        schedules += 1;
        check(&world);
        let statuses = world.nodes.map(|node| node.statuses);
        if !seen.contains(&statuses) {
            seen.push(statuses);
        }
        // The next schedule: the last choice that has another alternative takes it.
        while path.last().is_some_and(|(taken, of)| taken + 1 == *of) {
            path.pop();
        }
        match path.last_mut() {
            Some((taken, _)) => *taken += 1,
            None => return (schedules, seen),
        }
    }
}

fn check(world: &World) {
    let [first, second] = &world.nodes;
    let link = first.link.expect("the first node has a link");
    assert_eq!(second.link, Some(link), "both are linked by the same connection");
    let says = |status| first.statuses.contains(&status) || second.statuses.contains(&status);
    if says("nok") || says("ok_simultaneous") {
        assert!(world.nodes[link].name > world.nodes[1 - link].name, "the greater name wins");
    }
}

#[test]
fn every_order_of_two_attempts_ends_in_one_link() {
    for names in [["aaa@h", "zzz@h"], ["zzz@h", "aaa@h"]] {
        let (schedules, seen) = every_order(names);
        assert!(schedules > 300, "{schedules} schedules");
        let says = |status| seen.iter().flatten().flatten().any(|said| *said == status);
        for status in ["ok", "nok", "ok_simultaneous", "alive"] {
            assert!(says(status), "no schedule led to {status}: {seen:?}");
        }
    }
}
