//! Processes that want to know when the connection to one node is lost (Erlang:
//! `monitor_node/2,3`).

use std::rc::Rc;
use std::time::Duration;

use krarup_transport::io::sleep;
use krarup_transport::term::Atom;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::Shard;
use crate::net_kernel::{ConnectError, ConnectionId};
use crate::process::{Identity, ProcessCell, ProcessId, Signal};

/// How long who missed a connection waits before the next attempt, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The node monitors of a shard.
#[derive(Debug, Default)]
pub(super) struct NodeMonitors {
    nodes: FxHashMap<Atom, OfNode>,
    /// The nodes that each process monitors, so that its end does not have to look at all.
    processes: FxHashMap<ProcessId, FxHashSet<Atom>>,
}

/// The monitors of one node.
#[derive(Debug, Default)]
struct OfNode {
    /// Those of a process differ in what they are bound to.
    monitors: FxHashMap<ProcessId, SmallVec<[Monitor; 1]>>,
    /// An attempt to connect is under way for those that wait for one.
    attempts: Attempts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    active: bool,
    passive: bool,
}

impl Attempts {
    fn of(&mut self, how: Approach) -> &mut bool {
        match how {
            Approach::Active => &mut self.active,
            Approach::Passive => &mut self.passive,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Monitor {
    tie: Tie,
    /// How often the process asked, and is told.
    count: u32,
}

/// What a monitor is bound to: it fires when that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tie {
    Connection(ConnectionId),
    Attempt(Approach),
}

/// How a node is reached that is not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Approach {
    /// By an attempt of ours, where `dist_auto_connect` allows one.
    Active,
    /// Also by waiting for one of the peer, where ours are barred (Erlang:
    /// `allow_passive_connect`).
    Passive,
}

impl NodeMonitors {
    fn add(&mut self, process: ProcessId, node: &Atom, tie: Tie) {
        let of_node = self.nodes.entry(node.clone()).or_default();
        let monitors = of_node.monitors.entry(process).or_default();
        match monitors.iter_mut().find(|monitor| monitor.tie == tie) {
            Some(monitor) => monitor.count = monitor.count.saturating_add(1),
            None => monitors.push(Monitor { tie, count: 1 }),
        }
        self.processes.entry(process).or_default().insert(node.clone());
    }

    /// Marks an attempt as begun; false if one is under way.
    fn begins_attempt(&mut self, node: &Atom, how: Approach) -> bool {
        let of_node = self.nodes.entry(node.clone()).or_default();
        !std::mem::replace(of_node.attempts.of(how), true)
    }

    /// Takes the newest monitor of a process back.
    fn remove(&mut self, process: ProcessId, node: &Atom) {
        let Some(of_node) = self.nodes.get_mut(node) else { return };
        let Some(monitors) = of_node.monitors.get_mut(&process) else { return };
        let newest = monitors.iter_mut().max_by_key(|monitor| match monitor.tie {
            Tie::Attempt(_) => u64::MAX,
            Tie::Connection(connection) => connection.0,
        });
        if let Some(newest) = newest {
            newest.count -= 1;
        }
        monitors.retain(|monitor| monitor.count > 0);
        if monitors.is_empty() {
            of_node.monitors.remove(&process);
            Self::forget(&mut self.processes, process, node);
        }
        self.tidy(node);
    }

    fn waits(&self, node: &Atom, how: Approach) -> bool {
        self.nodes.get(node).is_some_and(|of_node| {
            let waits = |monitor: &Monitor| monitor.tie == Tie::Attempt(how);
            of_node.monitors.values().any(|monitors| monitors.iter().any(waits))
        })
    }

    /// An attempt is over.
    fn ends_attempt(&mut self, node: &Atom, how: Approach) {
        if let Some(of_node) = self.nodes.get_mut(node) {
            *of_node.attempts.of(how) = false;
        }
        self.tidy(node);
    }

    /// Binds all that wait to a connection.
    fn bind(&mut self, node: &Atom, connection: ConnectionId) {
        let Some(of_node) = self.nodes.get_mut(node) else { return };
        for monitors in of_node.monitors.values_mut() {
            for monitor in monitors {
                if let Tie::Attempt(_) = monitor.tie {
                    monitor.tie = Tie::Connection(connection);
                }
            }
        }
    }

    /// What one of these ties has failed for: processes, and how often each is told.
    fn take(&mut self, node: &Atom, tie: Tie) -> Vec<(ProcessId, u32)> {
        let Some(of_node) = self.nodes.get_mut(node) else { return Vec::new() };
        let mut lost = Vec::new();
        of_node.monitors.retain(|process, monitors| {
            monitors.retain(|monitor| {
                let is_lost = monitor.tie == tie;
                if is_lost {
                    lost.push((*process, monitor.count));
                }
                !is_lost
            });
            if monitors.is_empty() {
                Self::forget(&mut self.processes, *process, node);
            }
            !monitors.is_empty()
        });
        self.tidy(node);
        lost
    }

    /// A process has ended.
    fn ended(&mut self, process: ProcessId) {
        for node in self.processes.remove(&process).into_iter().flatten() {
            if let Some(of_node) = self.nodes.get_mut(&node) {
                of_node.monitors.remove(&process);
            }
            self.tidy(&node);
        }
    }

    fn forget(
        processes: &mut FxHashMap<ProcessId, FxHashSet<Atom>>,
        process: ProcessId,
        node: &Atom,
    ) {
        if let Some(nodes) = processes.get_mut(&process) {
            nodes.remove(node);
            if nodes.is_empty() {
                processes.remove(&process);
            }
        }
    }

    fn tidy(&mut self, node: &Atom) {
        if self.nodes.get(node).is_some_and(OfNode::is_over) {
            self.nodes.remove(node);
        }
    }
}

impl OfNode {
    fn is_over(&self) -> bool {
        self.monitors.is_empty() && !self.attempts.active && !self.attempts.passive
    }
}

impl Shard {
    /// Adds a monitor of a node, or takes the newest one back. An unconnected node is connected to.
    ///
    /// # Errors
    /// [`ConnectError::NotAlive`].
    pub(crate) fn monitor_node(
        self: &Rc<Self>,
        process: &ProcessCell,
        node: &Atom,
        on: bool,
        how: Approach,
    ) -> Result<(), ConnectError> {
        let own = self.identity.borrow().name.clone();
        if own == *node {
            return Ok(());
        }
        // One that is alive without a name gets one when it connects.
        if own.as_str() == Identity::NOBODY && !self.node.is_alive() {
            return Err(ConnectError::NotAlive);
        }
        let mut monitors = self.node_monitors.borrow_mut();
        if !on {
            monitors.remove(process.id(), node);
            return Ok(());
        }
        let route = self.routes.borrow().get(node).map(|route| route.id.connection);
        process.watches_nodes.set(true);
        monitors.add(process.id(), node, route.map_or(Tie::Attempt(how), Tie::Connection));
        if route.is_none() && monitors.begins_attempt(node, how) {
            drop(monitors);
            self.connect_for_monitors(node.clone(), how);
        }
        Ok(())
    }

    fn connect_for_monitors(self: &Rc<Self>, node: Atom, how: Approach) {
        let shard = Rc::clone(self);
        glommio::spawn_local(async move {
            let (mut pause, most) = PAUSES;
            loop {
                let connected = shard.node().auto_connect(&node, how).await;
                let waits = shard.node_monitors.borrow().waits(&node, how);
                if connected.is_ok() && waits {
                    // This node itself is never lost: it got this name while it was waited for.
                    if shard.identity.borrow().name == node {
                        shard.node_monitors.borrow_mut().take(&node, Tie::Attempt(how));
                    }
                    // A connection that came up has taken those that waited along; who came since
                    // has missed it.
                    sleep(pause).await;
                    pause = most.min(pause * 2);
                    continue;
                }
                let mut monitors = shard.node_monitors.borrow_mut();
                let lost = monitors.take(&node, Tie::Attempt(how));
                monitors.ends_attempt(&node, how);
                drop(monitors);
                shard.fire_node_monitors(&node, lost);
                return;
            }
        })
        .detach();
    }

    /// A node is connected: its monitors fire when that connection is lost.
    pub(super) fn bind_node_monitors(&self, node: &Atom, connection: ConnectionId) {
        self.node_monitors.borrow_mut().bind(node, connection);
    }

    /// A connection is lost.
    pub(super) fn node_lost(self: &Rc<Self>, node: &Atom, connection: ConnectionId) {
        let lost = self.node_monitors.borrow_mut().take(node, Tie::Connection(connection));
        self.fire_node_monitors(node, lost);
    }

    fn fire_node_monitors(self: &Rc<Self>, node: &Atom, lost: Vec<(ProcessId, u32)>) {
        for (process, count) in lost {
            for _ in 0..count {
                if self.find(process).is_none() {
                    break;
                }
                self.deliver(process, Signal::NodeLost(Box::new(node.clone())));
            }
        }
    }

    /// A process has ended.
    pub(super) fn forget_node_monitors(&self, process: ProcessId) {
        self.node_monitors.borrow_mut().ended(process);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const WAITS: Tie = Tie::Attempt(Approach::Active);

    fn process(number: u32) -> ProcessId {
        ProcessId::of(number, 0)
    }

    fn node(number: u32) -> Atom {
        Atom::new(&format!("n{number}@h")).expect("an atom")
    }

    #[test]
    fn a_monitor_is_told_as_often_as_it_was_asked_for_and_then_forgotten() {
        let (mut all, a) = (NodeMonitors::default(), node(1));
        all.add(process(1), &a, WAITS);
        all.add(process(1), &a, WAITS);
        all.bind(&a, ConnectionId(7));
        all.add(process(1), &a, Tie::Connection(ConnectionId(9)));
        all.add(process(2), &a, Tie::Connection(ConnectionId(7)));
        // The newest one goes first.
        all.remove(process(1), &a);
        assert_eq!(all.take(&a, Tie::Connection(ConnectionId(9))), []);
        let mut lost = all.take(&a, Tie::Connection(ConnectionId(7)));
        lost.sort_by_key(|(process, _)| *process != self::process(1));
        assert_eq!(lost, [(process(1), 2), (process(2), 1)]);
        assert!(all.nodes.is_empty() && all.processes.is_empty());
        all.remove(process(1), &a);
        assert!(all.nodes.is_empty());
    }

    #[test]
    fn nothing_is_left_of_a_process_that_ended_or_of_an_attempt_that_is_over() {
        let mut all = NodeMonitors::default();
        for number in 0..10 {
            all.add(process(1), &node(number), WAITS);
            all.add(process(2), &node(number), WAITS);
        }
        assert!(all.begins_attempt(&node(0), Approach::Active));
        assert!(!all.begins_attempt(&node(0), Approach::Active));
        all.ended(process(1));
        all.ended(process(2));
        assert!(all.processes.is_empty() && all.nodes.len() == 1);
        assert!(!all.waits(&node(0), Approach::Active));
        all.ends_attempt(&node(0), Approach::Active);
        assert!(all.nodes.is_empty());
    }

    /// A hundred thousand processes watch a node and end. Looking at all of them for each takes
    /// minutes.
    #[test]
    fn the_end_of_a_process_does_not_look_at_the_monitors_of_others() {
        let (mut all, a) = (NodeMonitors::default(), node(1));
        let start = Instant::now();
        (0..100_000).for_each(|number| all.add(process(number), &a, WAITS));
        (0..100_000).for_each(|number| all.ended(process(number)));
        assert!(all.nodes.is_empty() && all.processes.is_empty());
        let took = start.elapsed();
        assert!(took < Duration::from_secs(20), "{took:?}");
    }
}
