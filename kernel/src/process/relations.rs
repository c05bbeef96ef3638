//! The links and monitors of one process.
//!
//! OTP: erl_dist_protocol, "Link Protocol"; `erl_monitor_link.h`. A state machine: signals and calls
//! go in, what has to be sent comes out. It knows neither mailboxes nor connections.

use krarup_transport::term::{Atom, Pid, Reference};
use rustc_hash::FxHashMap;

use super::{Destination, ProcessId};
use crate::net_kernel::ConnectionId;

/// A process that another one is linked to, or that monitors it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Party {
    /// Of this node, whatever the node is called at the time.
    Own(ProcessId),
    /// Of another node.
    Peer(Pid),
}

/// The way between the two processes of a link or monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// Both are of this node.
    Own,
    /// The other one's node is being connected to.
    Awaited,
    /// What ends the relation when it ends.
    Connection(ConnectionId),
}

/// A monitor that this process has set up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Monitor {
    /// What is monitored, as it was given.
    pub(crate) target: Destination,
    pub(crate) via: Via,
}

/// Somebody who monitors this process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Watcher {
    pub(crate) by: Party,
    pub(crate) via: Via,
    /// The name it was monitored by; DOWN repeats it (OTP: `MONITOR_P_EXIT` with the name).
    pub(crate) name: Option<Atom>,
}

#[derive(Clone, Debug, PartialEq)]
struct Link {
    via: Via,
    /// The number of the removal that waits for its acknowledgement: then the link is not active.
    removal: Option<u64>,
}

/// All links and monitors of one process.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    links: FxHashMap<Party, Link>,
    monitors: FxHashMap<Reference, Monitor>,
    watchers: FxHashMap<Reference, Watcher>,
    removals: u64,
}

/// What a connection takes with it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Lost {
    /// Processes that were linked.
    pub(crate) links: Vec<Party>,
    /// Monitors of this process.
    pub(crate) monitors: Vec<(Reference, Monitor)>,
}

/// Who has to be told that the process has ended.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Ended {
    /// Linked processes.
    pub(crate) links: Vec<(Party, Via)>,
    /// Monitors of this process, which are taken back.
    pub(crate) monitors: Vec<(Reference, Monitor)>,
    /// Those who monitor it.
    pub(crate) watchers: Vec<(Reference, Watcher)>,
}

impl Relations {
    /// The process links itself; true when the other one has to be told.
    pub(crate) fn link(&mut self, to: Party, via: Via) -> bool {
        let fresh = Link { via, removal: None };
        match self.links.get_mut(&to) {
            Some(link) if link.removal.is_none() => false,
            Some(link) => {
                *link = fresh;
                true
            }
            None => {
                self.links.insert(to, fresh);
                true
            }
        }
    }

    /// The other one has linked itself.
    pub(crate) fn linked(&mut self, by: Party, via: Via) {
        // An active link is one already, and of one that is being removed the news is old.
        self.links.entry(by).or_insert(Link { via, removal: None });
    }

    /// The process removes its link; the number and the way of the removal that the other one has
    /// to be told of.
    pub(crate) fn unlink(&mut self, to: &Party) -> Option<(u64, Via)> {
        let link = self.links.get_mut(to).filter(|link| link.removal.is_none())?;
        self.removals += 1;
        link.removal = Some(self.removals);
        Some((self.removals, link.via))
    }

    /// The other one has removed the link. It waits for an acknowledgement in any case.
    pub(crate) fn unlinked(&mut self, by: &Party) {
        if self.links.get(by).is_some_and(|link| link.removal.is_none()) {
            self.links.remove(by);
        }
    }

    /// The other one has acknowledged a removal.
    pub(crate) fn removal_acknowledged(&mut self, by: &Party, number: u64) {
        if self.links.get(by).is_some_and(|link| link.removal == Some(number)) {
            self.links.remove(by);
        }
    }

    /// The other one has ended; true when this process still is linked to it.
    pub(crate) fn exited(&mut self, by: &Party) -> bool {
        self.links.remove(by).is_some_and(|link| link.removal.is_none())
    }

    /// The process monitors another one.
    pub(crate) fn monitor(&mut self, reference: Reference, monitor: Monitor) {
        self.monitors.insert(reference, monitor);
    }

    /// Takes a monitor of this process away: it is taken back, or has fired.
    pub(crate) fn demonitor(&mut self, reference: &Reference) -> Option<Monitor> {
        self.monitors.remove(reference)
    }

    /// Takes away a monitor that a signal by this way says has fired.
    pub(crate) fn fired(&mut self, reference: &Reference, via: Via) -> Option<Monitor> {
        self.monitors.get(reference).filter(|monitor| monitor.via == via)?;
        self.monitors.remove(reference)
    }

    /// Somebody monitors this process.
    pub(crate) fn watched(&mut self, reference: Reference, watcher: Watcher) {
        self.watchers.insert(reference, watcher);
    }

    /// Somebody does not monitor it any more; false when nobody did so by this reference.
    pub(crate) fn unwatched(&mut self, reference: &Reference, by: &Party) -> bool {
        let known = self.watchers.get(reference).is_some_and(|watcher| watcher.by == *by);
        if known {
            self.watchers.remove(reference);
        }
        known
    }

    /// What was asked for by the link to `to` is on its way over a connection.
    pub(crate) fn link_departs(&mut self, to: &Party, via: Via) {
        if let Some(link) = self.links.get_mut(to) {
            link.via = via;
        }
    }

    /// What was asked for by the monitor is on its way over a connection.
    pub(crate) fn monitor_departs(&mut self, reference: &Reference, via: Via) {
        if let Some(monitor) = self.monitors.get_mut(reference) {
            monitor.via = via;
        }
    }

    /// Whether there is anything that a connection can take with it.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty() && self.monitors.is_empty() && self.watchers.is_empty()
    }

    /// A connection is gone.
    pub(crate) fn lost(&mut self, connection: ConnectionId) -> Lost {
        let gone = Via::Connection(connection);
        self.watchers.retain(|_, watcher| watcher.via != gone);
        let mut lost = Lost::default();
        self.links.retain(|party, link| {
            if link.via == gone && link.removal.is_none() {
                lost.links.push(party.clone());
            }
            link.via != gone
        });
        let monitors = self.monitors.extract_if(|_, monitor| monitor.via == gone);
        lost.monitors.extend(monitors);
        lost
    }

    /// The process has ended.
    pub(crate) fn end(&mut self) -> Ended {
        let links = std::mem::take(&mut self.links).into_iter();
        Ended {
            links: links
                .filter(|(_, link)| link.removal.is_none())
                .map(|(party, link)| (party, link.via))
                .collect(),
            monitors: std::mem::take(&mut self.monitors).into_iter().collect(),
            watchers: std::mem::take(&mut self.watchers).into_iter().collect(),
        }
    }

    /// Links, monitors, and others' monitors of this process.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (self.links.len(), self.monitors.len(), self.watchers.len())
    }
}

#[cfg(test)]
mod simulation;
