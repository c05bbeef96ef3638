//! Signals to nodes that are being connected to.
//!
//! A message waits in its sender's future; a link, a monitor or a spawn request waits here, so that
//! asking for one takes no time. They leave before any message that waits for the same connection.

use std::rc::Rc;

use krarup_transport::dist::Control;
use krarup_transport::term::Atom;

use super::node_monitors::Approach;
use super::send::sender_key;
use super::signals::{ByLink, noconnection};
use super::{Body, Shard};
use crate::net_kernel::ConnectionId;
use crate::node::Encoded;
use crate::process::{ProcessId, Via, name_atom};

/// Signals to one node that may wait. The next one finds no connection.
const SIGNALS_MAX: usize = 1 << 20;

/// What waits for one attempt to connect.
#[derive(Default)]
pub(super) struct Awaited {
    attempt: u64,
    signals: Vec<Signal>,
}

struct Signal {
    from: ProcessId,
    control: Control,
    payload: Option<Encoded>,
}

impl Shard {
    /// Keeps a signal until the node is there, and begins to connect to it.
    pub(super) fn await_connection(
        self: &Rc<Self>,
        from: ProcessId,
        node: &str,
        control: Control,
        payload: Option<Encoded>,
    ) {
        let node = name_atom(node);
        let signal = Signal { from, control, payload };
        let mut awaited = self.awaited.borrow_mut();
        if let Some(attempt) = awaited.get_mut(&node) {
            if attempt.signals.len() < SIGNALS_MAX {
                attempt.signals.push(signal);
            } else {
                drop(awaited);
                self.unreachable(signal);
            }
            return;
        }
        let attempt = self.next_attempt.get();
        self.next_attempt.set(attempt + 1);
        awaited.insert(node.clone(), Awaited { attempt, signals: vec![signal] });
        drop(awaited);
        let connected = self.node().auto_connect(&node, Approach::Active);
        let shard = Rc::clone(self);
        glommio::spawn_local(async move {
            // Whatever the outcome: a connection that came up has taken what waited along.
            let _ = connected.await;
            let mut awaited = shard.awaited.borrow_mut();
            if awaited.get(&node).is_none_or(|waiting| waiting.attempt != attempt) {
                return;
            }
            let missed = awaited.remove(&node).unwrap_or_default();
            drop(awaited);
            for signal in missed.signals {
                shard.unreachable(signal);
            }
        })
        .detach();
    }

    /// The node is there: sends what waited for it.
    pub(super) fn send_awaited(self: &Rc<Self>, node: &Atom, connection: ConnectionId) {
        let waiting = self.awaited.borrow_mut().remove(node);
        let via = Via::Connection(connection);
        for Signal { from, control, payload } in waiting.unwrap_or_default().signals {
            if let Some(process) = self.find(from) {
                let mut relations = process.relations.borrow_mut();
                match &control {
                    Control::Link { to, .. } => relations.link_departs(&self.party(to), via),
                    Control::Monitor { reference, .. } => {
                        relations.monitor_departs(reference, via);
                    }
                    _ => {}
                }
            }
            if let Control::SpawnRequest(request) = &control {
                self.spawn_departs(&request.reference, connection);
            }
            let body = payload.map(Body::Encoded);
            self.send_control(connection, sender_key(from), control, body);
        }
    }

    /// What a signal means whose node cannot be reached.
    fn unreachable(self: &Rc<Self>, signal: Signal) {
        match signal.control {
            Control::SpawnRequest(request) => {
                let why = Atom::from_static("noconnection");
                self.spawn_failed(&request.reference, why);
            }
            Control::Link { to, .. } => {
                let Some(process) = self.find(signal.from) else { return };
                let was_linked = process.relations.borrow_mut().exited(&self.party(&to));
                if was_linked {
                    self.exit_signal(&process, to, noconnection(), ByLink::Yes);
                }
            }
            Control::Unlink { id, to, .. } => {
                let Some(process) = self.find(signal.from) else { return };
                process.relations.borrow_mut().removal_acknowledged(&self.party(&to), id);
            }
            Control::Monitor { reference, .. } => {
                let Some(process) = self.find(signal.from) else { return };
                let reason = Encoded::term(&noconnection()).into_payload();
                self.fire(&process, &reference, Via::Awaited, reason);
            }
            // What nobody waits for an answer to.
            _ => {}
        }
    }
}
