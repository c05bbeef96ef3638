//! The node table as an Erlang node has it, as others see it (OTP: `net_kernel.erl` and
//! `dist_util.erl`).
//!
//! There is one record for each node, and one process that owns it. Whoever says a name first is its
//! owner at once, with the cookie yet to prove, and who acknowledges a challenge has decided: nothing
//! is held back. What makes two attempts one is the names alone.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use krarup::net_kernel::{
    Action, AttemptId, BarrierId, ConnectError, ConnectionId, Decision, NodeDownReason, NodeInfo,
    Order, PeerLink, WaiterId,
};
use krarup_transport::term::Atom;

use super::allow_list::AllowList;
use super::plan::OtpStyle;

/// `connection_id` has so many bits.
const CONNECTION_ID_MASK: u32 = (1 << 24) - 1;

#[derive(Debug)]
pub(super) struct OtpKernel {
    style: OtpStyle,
    local: Option<Atom>,
    setup_time: Duration,
    allowed: AllowList,
    records: BTreeMap<Atom, Record>,
    /// The `connection_id` of the next connection of each node.
    numbers: BTreeMap<Atom, u32>,
    /// Attempts of this node that were answered with `nok`, and wait to be replaced until then.
    refused: BTreeMap<AttemptId, Instant>,
    next: u64,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
struct Record {
    state: State,
    waiting: Vec<WaiterId>,
    disconnecting: Vec<WaiterId>,
}

#[derive(Debug)]
enum State {
    /// An attempt of this node, of which the peer's address is not known yet.
    CheckPending(AttemptId),
    /// An attempt of this node or the peer's.
    Pending(AttemptId),
    Up(Connection),
    /// Somebody says to be the node, which is up.
    UpPending {
        up: Connection,
        newcomer: AttemptId,
        is_proven: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    id: ConnectionId,
    number: u32,
    link: PeerLink,
}

impl OtpKernel {
    pub(super) fn new(style: OtpStyle, setup_time: Duration) -> OtpKernel {
        OtpKernel {
            style,
            local: None,
            setup_time,
            allowed: AllowList::default(),
            records: BTreeMap::new(),
            numbers: BTreeMap::new(),
            refused: BTreeMap::new(),
            next: 0,
            actions: VecDeque::new(),
        }
    }

    pub(super) fn start(&mut self, name: Atom) {
        self.local = Some(name);
    }

    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(super) fn allow(&mut self, nodes: Vec<String>) {
        self.allowed.add(nodes);
    }

    pub(super) fn allowed(&self) -> &[String] {
        self.allowed.names()
    }

    pub(super) fn nodes(&self) -> Vec<NodeInfo> {
        let row = |(name, record): (&Atom, &Record)| {
            let (State::Up(up) | State::UpPending { up, .. }) = &record.state else { return None };
            Some(NodeInfo {
                name: name.clone(),
                node_type: up.link.node_type,
                creation: up.link.creation,
                connection: up.id,
                connection_id: up.number,
            })
        };
        self.records.iter().filter_map(row).collect()
    }

    pub(super) fn is_under_way(&self, node: &Atom) -> bool {
        self.records.contains_key(node)
    }

    /// All connections are over.
    pub(super) fn is_quiet(&self) -> bool {
        self.nodes().is_empty()
    }

    pub(super) fn is_at_rest(&self) -> bool {
        let is_at_rest = |record: &Record| {
            matches!(record.state, State::Up(_))
                && record.waiting.is_empty()
                && record.disconnecting.is_empty()
        };
        self.actions.is_empty() && self.refused.is_empty() && self.records.values().all(is_at_rest)
    }

    /// OTP: `net_kernel`, `do_explicit_connect` and `setup`.
    pub(super) fn connect(&mut self, node: &Atom, hidden: bool, waiter: Option<WaiterId>) {
        if self.local.is_none() {
            return self.tell(waiter, Err(ConnectError::NotAlive));
        }
        if self.local.as_ref() == Some(node) {
            return self.tell(waiter, Ok(()));
        }
        let may_call = self.allowed.may_call(node.as_str());
        match self.records.get_mut(node) {
            Some(Record { state: State::Up(_), .. }) => self.tell(waiter, Ok(())),
            Some(record) => record.waiting.extend(waiter),
            None if !may_call => self.tell(waiter, Err(ConnectError::NotAllowed)),
            None => {
                let attempt = self.fresh_attempt();
                let state = match self.style {
                    OtpStyle::AtOnce => State::Pending(attempt),
                    OtpStyle::OnceUnderWay => State::CheckPending(attempt),
                };
                let waiting = waiter.into_iter().collect();
                let record = Record { state, waiting, disconnecting: Vec::new() };
                self.records.insert(node.clone(), record);
                self.actions.push_back(Action::Dial { attempt, node: node.clone(), hidden });
            }
        }
    }

    pub(super) fn disconnect(&mut self, node: &Atom, waiter: Option<WaiterId>) {
        if let Some(record) = self.records.get_mut(node)
            && let State::Up(up) | State::UpPending { up, .. } = &record.state
        {
            record.disconnecting.extend(waiter);
            let (connection, reason) = (up.id, NodeDownReason::Disconnect);
            self.actions.push_back(Action::CloseLink { connection, reason });
        } else if let Some(waiter) = waiter {
            self.actions.push_back(Action::Disconnected { waiter, was_up: false });
        }
    }

    pub(super) fn stop(&mut self, reason: &NodeDownReason) {
        self.local = None;
        self.allowed.clear();
        self.refused.clear();
        for record in self.records.values_mut() {
            for waiter in record.waiting.drain(..) {
                let result = Err(ConnectError::NotAlive);
                self.actions.push_back(Action::Connected { waiter, result });
            }
            match &mut record.state {
                State::CheckPending(attempt) | State::Pending(attempt) => {
                    self.actions.push_back(Action::Abort { attempt: *attempt });
                }
                State::Up(up) => {
                    let (connection, reason) = (up.id, reason.clone());
                    self.actions.push_back(Action::CloseLink { connection, reason });
                }
                State::UpPending { up, newcomer, .. } => {
                    self.actions.push_back(Action::Abort { attempt: *newcomer });
                    let (connection, reason) = (up.id, reason.clone());
                    self.actions.push_back(Action::CloseLink { connection, reason });
                    record.state = State::Up(*up);
                }
            }
        }
        self.records.retain(|_, record| matches!(record.state, State::Up(_)));
    }

    /// Somebody says its name; without an answer it is let go (OTP: `accept_pending`).
    pub(super) fn inbound(&mut self, node: &Atom) -> (AttemptId, Option<Decision>) {
        let newcomer = self.fresh_attempt();
        let Some(local) = &self.local else { return (newcomer, Some(Decision::NotAllowed)) };
        if !self.allowed.may_come(node.as_str()) {
            return (newcomer, Some(Decision::NotAllowed));
        }
        let goes_first = local.as_str() > node.as_str();
        let Some(record) = self.records.get_mut(node) else {
            let state = State::Pending(newcomer);
            let record = Record { state, waiting: Vec::new(), disconnecting: Vec::new() };
            self.records.insert(node.clone(), record);
            return (newcomer, Some(Decision::Ok));
        };
        let decision = match record.state {
            State::Pending(_) if goes_first => Decision::Nok,
            State::Pending(attempt) | State::CheckPending(attempt) => {
                self.refused.remove(&attempt);
                self.actions.push_back(Action::Abort { attempt });
                record.state = State::Pending(newcomer);
                Decision::OkSimultaneous
            }
            State::Up(up) => {
                record.state = State::UpPending { up, newcomer, is_proven: false };
                Decision::Alive
            }
            State::UpPending { .. } => return (newcomer, None),
        };
        (newcomer, Some(decision))
    }

    /// The peer is about to be called.
    pub(super) fn called(&mut self, attempt: AttemptId) {
        for record in self.records.values_mut() {
            if matches!(record.state, State::CheckPending(own) if own == attempt) {
                record.state = State::Pending(attempt);
            }
        }
    }

    /// Who says to be a node that is up has proven it (OTP: `wait_pending`).
    pub(super) fn verified(&mut self, attempt: AttemptId) {
        for record in self.records.values_mut() {
            match &mut record.state {
                State::UpPending { up, newcomer, is_proven } if *newcomer == attempt => {
                    *is_proven = true;
                    let (connection, reason) = (up.id, NodeDownReason::WaitPending);
                    self.actions.push_back(Action::CloseLink { connection, reason });
                }
                // What was up has ended meanwhile.
                State::Pending(newcomer) if *newcomer == attempt => {
                    self.actions.push_back(Action::Acknowledge { attempt });
                }
                _ => {}
            }
        }
    }

    /// A handshake is complete (OTP: `nodeup`).
    pub(super) fn established(&mut self, attempt: AttemptId, link: PeerLink) {
        let owned = self.records.iter_mut().find(|(_, record)| match record.state {
            State::CheckPending(owner) | State::Pending(owner) => owner == attempt,
            State::Up(_) | State::UpPending { .. } => false,
        });
        let Some((node, record)) = owned else {
            self.actions.push_back(Action::Abort { attempt });
            return;
        };
        let node = node.clone();
        let number = self.numbers.entry(node.clone()).or_default();
        let connection_id = *number;
        *number = (*number + 1) & CONNECTION_ID_MASK;
        self.next += 1;
        let (connection, node_type) = (ConnectionId(self.next), link.node_type);
        record.state = State::Up(Connection { id: connection, number: connection_id, link });
        let waiting = std::mem::take(&mut record.waiting);
        self.actions.push_back(Action::Attach { attempt, connection, node: node.clone() });
        self.order(Order::RouteUp { node: node.clone(), connection });
        self.order(Order::NodeUp { node, connection, node_type, connection_id });
        self.actions.push_back(Action::StartReading { connection });
        for waiter in waiting {
            self.tell(Some(waiter), Ok(()));
        }
    }

    /// The process of an attempt has ended.
    pub(super) fn failed(&mut self, attempt: AttemptId, why: &ConnectError) {
        self.refused.remove(&attempt);
        let mut over = None;
        for (node, record) in &mut self.records {
            match record.state {
                State::CheckPending(owner) | State::Pending(owner) if owner == attempt => {
                    over = Some((node.clone(), Err(why.clone())));
                }
                State::UpPending { up, newcomer, .. } if newcomer == attempt => {
                    record.state = State::Up(up);
                    for waiter in record.waiting.drain(..) {
                        self.actions.push_back(Action::Connected { waiter, result: Ok(()) });
                    }
                }
                _ => {}
            }
        }
        if let Some((node, result)) = over
            && let Some(record) = self.records.remove(&node)
        {
            for waiter in record.waiting {
                self.tell(Some(waiter), result.clone());
            }
        }
    }

    /// The peer answered `nok`: its own attempt will be here soon, or this one ends.
    pub(super) fn gave_way(&mut self, attempt: AttemptId, now: Instant) {
        let is_owner =
            |record: &Record| matches!(record.state, State::Pending(own) if own == attempt);
        if self.records.values().any(is_owner) {
            self.refused.insert(attempt, now + self.setup_time);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.refused.values().min().copied()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let due = self.refused.iter().filter(|(_, until)| **until <= now);
        let due: Vec<AttemptId> = due.map(|(attempt, _)| *attempt).collect();
        for attempt in due {
            self.failed(attempt, &ConnectError::PeersAttempt { waited: self.setup_time });
        }
    }

    /// What carried a connection has ended.
    pub(super) fn link_down(&mut self, id: ConnectionId, reason: NodeDownReason) {
        let of = self.records.iter().find_map(|(node, record)| match record.state {
            State::Up(up) | State::UpPending { up, .. } if up.id == id => Some((node.clone(), up)),
            _ => None,
        });
        let Some((node, up)) = of else { return };
        let (connection, connection_id, node_type) = (up.id, up.number, up.link.node_type);
        self.order(Order::RouteDown { node: node.clone(), connection });
        let order_node = node.clone();
        self.order(Order::NodeDown {
            node: order_node,
            connection,
            node_type,
            connection_id,
            reason,
        });
        let Some(record) = self.records.get_mut(&node) else { return };
        for waiter in record.disconnecting.drain(..) {
            self.actions.push_back(Action::Disconnected { waiter, was_up: true });
        }
        match record.state {
            State::UpPending { newcomer, is_proven, .. } => {
                record.state = State::Pending(newcomer);
                if is_proven {
                    self.actions.push_back(Action::Acknowledge { attempt: newcomer });
                }
            }
            _ => {
                self.records.remove(&node);
            }
        }
    }

    /// There is nobody to wait for: it is done when it is said.
    fn order(&mut self, order: Order) {
        self.actions.push_back(Action::Broadcast { barrier: BarrierId(0), order });
    }

    fn tell(&mut self, waiter: Option<WaiterId>, result: Result<(), ConnectError>) {
        if let Some(waiter) = waiter {
            self.actions.push_back(Action::Connected { waiter, result });
        }
    }

    fn fresh_attempt(&mut self) -> AttemptId {
        self.next += 1;
        AttemptId(self.next)
    }
}
