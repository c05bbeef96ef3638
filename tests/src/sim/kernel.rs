//! The node table of a life: the machine under test, or a model of Erlang's.

use std::time::Instant;

use krarup::net_kernel::{
    Action, AttemptId, BarrierId, ConnectError, ConnectionId, Decision, NetKernel, NodeDownReason,
    NodeInfo, PeerLink, WaiterId,
};
use krarup_transport::term::Atom;

use super::otp::OtpKernel;
use super::plan::{Kind, Spec};
use super::waiters::SETUP_TIME;

#[derive(Debug)]
pub(super) enum Kernel {
    Krarup(Box<NetKernel>),
    Otp(Box<OtpKernel>),
}

macro_rules! both {
    ($self:ident, $kernel:ident => $value:expr) => {
        match $self {
            Kernel::Krarup($kernel) => $value,
            Kernel::Otp($kernel) => $value,
        }
    };
}

impl Kernel {
    pub(super) fn new(spec: &Spec) -> Kernel {
        match spec.kind {
            Kind::Krarup => Kernel::Krarup(Box::new(NetKernel::new(spec.shards, SETUP_TIME))),
            Kind::Otp(style) => Kernel::Otp(Box::new(OtpKernel::new(style, SETUP_TIME))),
        }
    }

    pub(super) fn is_otp(&self) -> bool {
        matches!(self, Kernel::Otp(_))
    }

    pub(super) fn start(&mut self, name: Atom) {
        both!(self, kernel => kernel.start(name));
    }

    /// Krarup nodes only.
    pub(super) fn start_unnamed(&mut self) {
        match self {
            Kernel::Krarup(kernel) => kernel.start_unnamed(),
            Kernel::Otp(_) => panic!("an Erlang node of these runs has a name"),
        }
    }

    /// Whether a node is connected or may become so.
    pub(super) fn is_under_way(&self, node: &Atom) -> bool {
        both!(self, kernel => kernel.is_under_way(node))
    }

    pub(super) fn next_action(&mut self) -> Option<Action> {
        both!(self, kernel => kernel.next_action())
    }

    pub(super) fn allow(&mut self, nodes: Vec<String>) {
        match self {
            Kernel::Krarup(kernel) => kernel.allow(nodes).expect("room for them"),
            Kernel::Otp(kernel) => kernel.allow(nodes),
        }
    }

    pub(super) fn allowed(&self) -> &[String] {
        both!(self, kernel => kernel.allowed())
    }

    pub(super) fn nodes(&self) -> Vec<NodeInfo> {
        both!(self, kernel => kernel.nodes())
    }

    pub(super) fn is_quiet(&self) -> bool {
        both!(self, kernel => kernel.is_quiet())
    }

    pub(super) fn is_at_rest(&self) -> bool {
        both!(self, kernel => kernel.is_at_rest())
    }

    pub(super) fn connect(&mut self, node: &Atom, hidden: bool, waiter: Option<WaiterId>) {
        both!(self, kernel => kernel.connect(node, hidden, waiter));
    }

    /// Krarup nodes only.
    pub(super) fn await_peer(&mut self, node: &Atom, waiter: WaiterId, now: Instant) {
        match self {
            Kernel::Krarup(kernel) => kernel.await_peer(node, waiter, now),
            Kernel::Otp(_) => panic!("an Erlang node of these runs only connects"),
        }
    }

    pub(super) fn disconnect(&mut self, node: &Atom, waiter: Option<WaiterId>) {
        both!(self, kernel => kernel.disconnect(node, waiter));
    }

    pub(super) fn stop(&mut self, reason: &NodeDownReason) {
        both!(self, kernel => kernel.stop(reason));
    }

    /// Without a decision the newcomer is let go.
    pub(super) fn inbound(&mut self, node: &Atom) -> (AttemptId, Option<Decision>) {
        match self {
            Kernel::Krarup(kernel) => {
                let (attempt, decision) = kernel.inbound(node);
                (attempt, Some(decision))
            }
            Kernel::Otp(kernel) => kernel.inbound(node),
        }
    }

    pub(super) fn called(&mut self, attempt: AttemptId) {
        both!(self, kernel => kernel.called(attempt));
    }

    pub(super) fn asks(&mut self, attempt: AttemptId) {
        match self {
            Kernel::Krarup(kernel) => kernel.asks(attempt),
            Kernel::Otp(_) => panic!("an Erlang node holds nothing back"),
        }
    }

    pub(super) fn verified(&mut self, attempt: AttemptId) {
        both!(self, kernel => kernel.verified(attempt));
    }

    pub(super) fn proven(&mut self, attempt: AttemptId) {
        if let Kernel::Krarup(kernel) = self {
            kernel.proven(attempt);
        }
    }

    pub(super) fn established(&mut self, attempt: AttemptId, link: PeerLink) {
        both!(self, kernel => kernel.established(attempt, link));
    }

    pub(super) fn failed(&mut self, attempt: AttemptId, why: ConnectError) {
        match self {
            Kernel::Krarup(kernel) => kernel.failed(attempt, why),
            Kernel::Otp(kernel) => kernel.failed(attempt, &why),
        }
    }

    pub(super) fn gave_way(&mut self, attempt: AttemptId, now: Instant) {
        both!(self, kernel => kernel.gave_way(attempt, now));
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        both!(self, kernel => kernel.deadline())
    }

    pub(super) fn expire(&mut self, now: Instant) {
        both!(self, kernel => kernel.expire(now));
    }

    pub(super) fn falling(&mut self, connection: ConnectionId) {
        if let Kernel::Krarup(kernel) = self {
            kernel.falling(connection);
        }
    }

    pub(super) fn link_down(&mut self, connection: ConnectionId, reason: NodeDownReason) {
        both!(self, kernel => kernel.link_down(connection, reason));
    }

    pub(super) fn acknowledged(&mut self, barrier: BarrierId) {
        if let Kernel::Krarup(kernel) = self {
            kernel.acknowledged(barrier);
        }
    }
}
