//! Two nodes that connect to each other at once, in every order in which their messages can arrive.
//!
//! The world is replayed from its start for each schedule: a schedule is the list of choices made,
//! and the next one differs in its last possible choice.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use krarup_transport::term::{Atom, Creation};

use super::*;

const NAMES: [&str; 2] = ["a@h", "b@h"];
/// The node with the greater name.
const GREATER: usize = 1;

/// The messages of a handshake, as far as they matter here.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Parcel {
    Name,
    LetIn,
    Nok,
    Proof,
    Ack,
    Close,
}

/// What a node holds of a connection; it is named by the node that dialled it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Socket {
    attempt: AttemptId,
    replaces: bool,
    is_link: bool,
}

struct Node {
    kernel: NetKernel,
    wants: bool,
    /// Our name has not gone out yet.
    dialling: Option<AttemptId>,
    sockets: BTreeMap<usize, Socket>,
    told: Vec<Result<(), ConnectError>>,
    downs: usize,
}

struct World {
    now: Instant,
    nodes: [Node; 2],
    /// `wires[c][d]` is what node `d` sent on the connection that node `c` dialled.
    wires: [[VecDeque<Parcel>; 2]; 2],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Choice {
    /// Somebody wants a node to be connected to the other one.
    Connect(usize),
    /// The look-up and the connection of its attempt are through: its name goes out.
    Call(usize),
    /// The first parcel that `from` sent on `connection` arrives.
    Deliver { connection: usize, from: usize },
}

impl World {
    fn new() -> World {
        let node = |own: usize| {
            let mut kernel = NetKernel::new(1, Duration::from_secs(7));
            kernel.start(Atom::from_static(NAMES[own]));
            let (sockets, told) = (BTreeMap::new(), Vec::new());
            Node { kernel, wants: true, dialling: None, sockets, told, downs: 0 }
        };
        World { now: Instant::now(), nodes: [node(0), node(1)], wires: Default::default() }
    }

    fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for own in 0..2 {
            choices.extend(self.nodes[own].wants.then_some(Choice::Connect(own)));
            choices.extend(self.nodes[own].dialling.map(|_| Choice::Call(own)));
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
        let own = match choice {
            Choice::Connect(own) => {
                self.nodes[own].wants = false;
                let other = Atom::from_static(NAMES[1 - own]);
                self.nodes[own].kernel.connect(&other, false, Some(WaiterId(0)));
                own
            }
            Choice::Call(own) => {
                let node = &mut self.nodes[own];
                let attempt = node.dialling.take().expect("it dials");
                node.kernel.called(attempt);
                node.sockets.insert(own, Socket { attempt, replaces: false, is_link: false });
                self.wires[own][own].push_back(Parcel::Name);
                own
            }
            Choice::Deliver { connection, from } => {
                let parcel = self.wires[connection][from].pop_front().expect("a parcel waits");
                self.receive(1 - from, connection, parcel);
                1 - from
            }
        };
        self.obey(own);
    }

    fn receive(&mut self, own: usize, connection: usize, parcel: Parcel) {
        let now = self.now;
        let node = &mut self.nodes[own];
        if parcel == Parcel::Name {
            let (attempt, decision) = node.kernel.inbound(&Atom::from_static(NAMES[1 - own]));
            if decision == Decision::Nok {
                self.wires[connection][own].extend([Parcel::Nok, Parcel::Close]);
                return;
            }
            let replaces = decision == Decision::Alive;
            node.sockets.insert(connection, Socket { attempt, replaces, is_link: false });
            self.wires[connection][own].push_back(Parcel::LetIn);
            return;
        }
        // What was closed here hears no more.
        let Some(Socket { attempt, replaces, is_link }) = node.sockets.get(&connection).copied()
        else {
            return;
        };
        match parcel {
            Parcel::LetIn => self.wires[connection][own].push_back(Parcel::Proof),
            Parcel::Nok => {
                node.sockets.remove(&connection);
                node.kernel.gave_way(attempt, now);
            }
            Parcel::Proof if replaces => node.kernel.verified(attempt),
            Parcel::Proof => node.kernel.asks(attempt),
            Parcel::Ack => node.through(attempt),
            Parcel::Close => {
                assert!(!is_link, "the link of {} is closed", NAMES[own]);
                node.sockets.remove(&connection);
                node.kernel.failed(attempt, ConnectError::GivenUp);
            }
            Parcel::Name => unreachable!("it came first"),
        }
    }

    fn obey(&mut self, own: usize) {
        while let Some(action) = self.nodes[own].kernel.next_action() {
            let node = &mut self.nodes[own];
            let of = |attempt: AttemptId| {
                let socket = node.sockets.iter().find(|(_, socket)| socket.attempt == attempt);
                socket.map(|(connection, _)| *connection)
            };
            match action {
                Action::Dial { attempt, .. } => node.dialling = Some(attempt),
                Action::Abort { attempt } => {
                    if node.dialling == Some(attempt) {
                        node.dialling = None;
                    }
                    if let Some(connection) = of(attempt) {
                        node.sockets.remove(&connection);
                        self.wires[connection][own].push_back(Parcel::Close);
                    }
                }
                Action::Acknowledge { attempt } => {
                    if let Some(connection) = of(attempt) {
                        self.wires[connection][own].push_back(Parcel::Ack);
                        node.through(attempt);
                    }
                }
                Action::Attach { attempt, .. } => {
                    let connection = of(attempt).expect("it has a socket");
                    let socket = node.sockets.get_mut(&connection).expect("it has a socket");
                    socket.is_link = true;
                }
                Action::Broadcast { barrier, order } => {
                    node.downs += usize::from(matches!(order, Order::NodeDown { .. }));
                    node.kernel.acknowledged(barrier);
                }
                Action::Connected { result, .. } => node.told.push(result),
                Action::CloseLink { .. } => panic!("a good link is closed"),
                Action::StartReading { .. } | Action::Disconnected { .. } => {}
            }
        }
    }
}

impl Node {
    /// A handshake is complete, and there is nothing to settle.
    fn through(&mut self, attempt: AttemptId) {
        self.kernel.proven(attempt);
        let link = PeerLink { creation: Creation(9), node_type: NodeType::Visible };
        self.kernel.established(attempt, link);
    }

    fn link(&self) -> Option<usize> {
        let link = self.sockets.iter().find(|(_, socket)| socket.is_link);
        link.map(|(connection, _)| *connection)
    }
}

#[test]
fn both_nodes_keep_the_same_connection_in_every_order() {
    let mut path: Vec<(usize, usize)> = Vec::new();
    let mut schedules = 0;
    let mut by_lesser = 0;
    loop {
        let mut world = World::new();
        let mut taken = Vec::new();
        loop {
            let choices = world.choices();
            if choices.is_empty() {
                break;
            }
            if taken.len() == path.len() {
                path.push((0, choices.len()));
            }
            let choice = choices[path[taken.len()].0];
            taken.push(choice);
            world.take(choice);
        }
        schedules += 1;
        let links = world.nodes.each_ref().map(Node::link);
        assert!(links[0].is_some() && links[0] == links[1], "{links:?} after {taken:?}");
        by_lesser += usize::from(links[0] != Some(GREATER));
        for node in &world.nodes {
            assert_eq!(node.told, [Ok(())], "after {taken:?}");
            assert_eq!((node.downs, node.kernel.nodes().len()), (0, 1), "after {taken:?}");
        }
        // The next schedule: the last choice that has another alternative takes it.
        while path.last().is_some_and(|(taken, of)| taken + 1 == *of) {
            path.pop();
        }
        match path.last_mut() {
            Some((taken, _)) => *taken += 1,
            None => break,
        }
    }
    assert!(schedules > 500 && by_lesser > 0, "{schedules} schedules, {by_lesser} by the lesser");
}
