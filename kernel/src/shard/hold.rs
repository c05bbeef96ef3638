//! Senders that wait because the mailbox of the process they send to is full.
//!
//! The shard of the full mailbox tells the shard of each sender: through the mesh within a node, by
//! a hold on a lane to another one. There the sender's sends to that process are refused until the
//! release comes, or the node is gone. Nothing else is touched: the sender's other messages, those
//! of other senders on the same lane, and all that is no message.

use std::rc::Rc;
use std::sync::Arc;

use krarup_transport::fabric::ProcessNumber;
use krarup_transport::term::{Atom, Creation};
use smallvec::SmallVec;

use super::{Gauge, LinkEntry, Outcome, Shard, ShardMessage};
use crate::process::{DestinationRef, Holds, Identity, ProcessCell, ProcessId, Sender};

/// Holds on one sender, beyond which more are not followed. A peer decides how many there are.
const HOLDS_MAX: usize = 1024;

/// Names of one process that a hold covers.
const NAMES_MAX: usize = 16;

/// A sender may not send to a process, or may again.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    /// The node of the process with the full mailbox.
    node: Atom,
    creation: Creation,
    /// That process.
    holder: ProcessNumber,
    change: Change,
}

/// What a [`Hold`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The sender has to wait, also if it sends to this name.
    Hold(Option<Atom>),
    /// It may send again.
    Release,
}

/// Somebody to whom a process of this shard must not send.
#[derive(Debug)]
pub(super) struct Held {
    node: Atom,
    creation: Creation,
    holder: ProcessNumber,
    names: SmallVec<[Atom; 1]>,
    /// Full until the release.
    gauge: Arc<Gauge>,
}

impl Held {
    fn is_by(&self, hold: &Hold) -> bool {
        self.holder == hold.holder && self.creation == hold.creation && self.node == hold.node
    }

    fn covers(&self, to: DestinationRef<'_>, own_node: &str) -> bool {
        let is_named = |name: &str| self.names.iter().any(|known| known.as_str() == name);
        match to {
            DestinationRef::Pid(pid) => {
                self.holder == ProcessNumber { id: pid.id, serial: pid.serial }
                    && self.creation == pid.creation
                    && self.node == pid.node
            }
            DestinationRef::Name(name) => self.node.as_str() == own_node && is_named(name),
            DestinationRef::Remote { name, node } => self.node.as_str() == node && is_named(name),
            // An alias does not say whose it is.
            DestinationRef::Alias(_) => false,
        }
    }
}

/// The side of the full mailbox.
impl Shard {
    /// Tells those who sent to a full mailbox to wait.
    #[cold]
    pub(super) fn hold_senders(self: &Rc<Self>, process: &ProcessCell) {
        let senders = process.mailbox.borrow_mut().take_fresh_holds();
        if senders.is_empty() {
            return;
        }
        let names = process.names.borrow().clone();
        for sender in senders {
            self.tell_hold(process.id(), &sender, Change::Hold(None));
            for name in &names {
                self.tell_hold(process.id(), &sender, Change::Hold(Some(name.clone())));
            }
        }
    }

    /// Tells those who waited that they may send again.
    #[cold]
    pub(crate) fn release(self: &Rc<Self>, process: &ProcessCell, holds: Holds) {
        for sender in holds.into_held() {
            self.tell_hold(process.id(), &sender, Change::Release);
        }
    }

    fn tell_hold(self: &Rc<Self>, holder: ProcessId, sender: &Sender, change: Change) {
        let own = Rc::clone(&self.identity.borrow());
        let holder = holder.number();
        let hold = Hold { node: own.name.clone(), creation: own.creation, holder, change };
        if *sender.node == *own {
            let sender = ProcessId::of(sender.number.id, sender.number.serial);
            self.pass_hold(sender, hold);
            return;
        }
        let routes = self.routes.borrow();
        let Some(route) = routes.get(&sender.node.name) else { return };
        let (link, shard) = (route.id, route.shard);
        let here = route.link.clone();
        drop(routes);
        match here {
            Some(here) => self.tell_hold_over(&here, sender.number, &hold),
            None => {
                let (sender, hold) = (sender.number, Box::new(hold));
                self.tell(shard, ShardMessage::TellHold { link, sender, hold });
            }
        }
    }

    /// Says it over a link of this shard. An Erlang node cannot be told.
    pub(super) fn tell_hold_over(
        self: &Rc<Self>,
        link: &Rc<LinkEntry>,
        sender: ProcessNumber,
        hold: &Hold,
    ) {
        let told = self.io().with(link, |state| state.tell_hold(hold.holder, sender, &hold.change));
        match told {
            Some(Ok(())) => self.io().wrote_later(link),
            Some(Err(_)) => {
                let why = "it does not read what it is told".to_owned();
                self.fail_link(link, why);
            }
            None => {}
        }
    }

    /// A node that is gone has nobody left who waits.
    pub(super) fn forget_holds(&self, node: &Atom) {
        for process in self.processes.borrow().iter() {
            process.mailbox.borrow_mut().forget_holds(|sender| sender.node.name == *node);
        }
        self.held.borrow_mut().retain(|sender, held| {
            held.retain(|held| {
                if held.node == *node {
                    held.gauge.set_full(false);
                }
                held.node != *node
            });
            if held.is_empty() {
                self.mark_held(*sender, false);
            }
            !held.is_empty()
        });
    }
}

/// The side of the sender.
impl Shard {
    /// A process of a peer has a full mailbox, or room again.
    pub(super) fn held_by_peer(
        self: &Rc<Self>,
        node: &Identity,
        holder: ProcessNumber,
        sender: ProcessNumber,
        change: Change,
    ) {
        let hold = Hold { node: node.name.clone(), creation: node.creation, holder, change };
        self.pass_hold(ProcessId::of(sender.id, sender.serial), hold);
    }

    /// Hands it to the sender's shard.
    fn pass_hold(self: &Rc<Self>, sender: ProcessId, hold: Hold) {
        let shard = usize::from(sender.shard);
        if shard == self.id {
            self.hold_sender(sender, hold);
        } else if shard < self.count {
            self.tell(shard, ShardMessage::Hold { sender, hold: Box::new(hold) });
        }
    }

    /// Does what a process that a sender of this shard sends to has asked for.
    pub(super) fn hold_sender(&self, sender: ProcessId, hold: Hold) {
        if sender != super::NODE_PROCESS && self.find(sender).is_none() {
            return;
        }
        let mut all = self.held.borrow_mut();
        let held = all.entry(sender).or_default();
        let known = held.iter().position(|held| held.is_by(&hold));
        match (hold.change, known) {
            (Change::Release, Some(at)) => held.swap_remove(at).gauge.set_full(false),
            (Change::Release, None) => {}
            (Change::Hold(name), Some(at)) => {
                let names = &mut held[at].names;
                names.extend(name.filter(|name| names.len() < NAMES_MAX && !names.contains(name)));
            }
            (Change::Hold(name), None) if held.len() < HOLDS_MAX => {
                let Hold { node, creation, holder, .. } = hold;
                let gauge = Arc::new(Gauge::new());
                gauge.set_full(true);
                let names = name.into_iter().collect();
                held.push(Held { node, creation, holder, names, gauge });
            }
            (Change::Hold(_), None) => {}
        }
        let is_held = !held.is_empty();
        if !is_held {
            all.remove(&sender);
        }
        self.mark_held(sender, is_held);
    }

    fn mark_held(&self, sender: ProcessId, held: bool) {
        if let Some(process) = self.find(sender) {
            process.held.set(held);
        }
    }

    /// A sender has ended: whoever waits for it to be allowed to send looks again.
    pub(super) fn forget_held(&self, sender: ProcessId) {
        let held = self.held.borrow_mut().remove(&sender);
        for held in held.into_iter().flatten() {
            held.gauge.set_full(false);
        }
    }

    /// The refusal of a message that its sender must not send now.
    #[inline]
    pub(super) fn refused_by_hold(
        &self,
        sender: ProcessId,
        to: DestinationRef<'_>,
    ) -> Option<Outcome> {
        let all = self.held.borrow();
        if all.is_empty() {
            return None;
        }
        let own = self.identity.borrow();
        let held = all.get(&sender)?.iter().find(|held| held.covers(to, own.name.as_str()))?;
        // What the other side has queued is not known here.
        let gauge = Arc::clone(&held.gauge);
        Some(Outcome::Busy { queued_bytes: 0, limit_bytes: 0, gauge })
    }
}
