//! What handshakes ask the kernel: who may connect, and what this node says of itself.

use std::rc::Rc;
use std::time::Duration;

use krarup_transport::handshake::{
    Accept, AcceptorConfig, Challenge, Cookie, Decision as Verdict, Flags, InitiatorConfig,
    LengthPrefix, LocalName, NameError, NodeName, Timeouts,
};
use krarup_transport::term::Atom;

use super::KernelShard;
use crate::net_kernel::{AttemptId, ConnectError, Decision};
use crate::shard::connect::{self, Leash};

impl KernelShard {
    /// The verdict on a peer that stated its name.
    pub(in crate::shard) fn decide(
        self: &Rc<Self>,
        name: &NodeName,
        leash: &Rc<Leash>,
        attempt: &mut Option<AttemptId>,
    ) -> Verdict {
        let Ok(node) = Atom::new(name.as_str()) else { return Verdict::NotAllowed };
        let (id, decision) = self.with(|machine| machine.inbound(&node));
        let accept = match decision {
            Decision::Ok => Accept::Ok,
            Decision::OkSimultaneous => Accept::OkSimultaneous,
            Decision::Alive => Accept::Alive,
            Decision::Nok => return Verdict::Nok,
            Decision::NotAllowed => {
                self.note_not_allowed(&node);
                return Verdict::NotAllowed;
            }
        };
        self.attempts.borrow_mut().insert(id, Rc::clone(leash));
        *attempt = Some(id);
        match self.cookie_for(name.as_str()) {
            Some(cookie) => Verdict::Accept(accept, cookie),
            None => Verdict::NotAllowed,
        }
    }

    /// The verdict on a peer that asks for a name on its host (OTP: `-name undefined`).
    pub(in crate::shard) fn decide_name(
        self: &Rc<Self>,
        host: &str,
        leash: &Rc<Leash>,
        attempt: &mut Option<AttemptId>,
    ) -> Verdict {
        let known = self.naming.given.borrow_mut().take(host);
        let is_known = known.is_some();
        let fresh = || connect::fresh_name(host).ok();
        let Some((name, creation)) = known.or_else(fresh) else { return Verdict::NotAllowed };
        match (self.decide(&name, leash, attempt), *attempt) {
            (Verdict::Accept(Accept::Ok, cookie), Some(id)) => {
                let mut given = self.naming.given.borrow_mut();
                given.offer(id, name.clone(), creation, is_known);
                Verdict::Accept(Accept::Named { name, creation }, cookie)
            }
            // A name of 64 random bits is not taken; whoever has it keeps it.
            _ => {
                if is_known {
                    self.naming.given.borrow_mut().give_back(name, creation);
                }
                Verdict::NotAllowed
            }
        }
    }

    pub(in crate::shard) fn cookie_for(&self, node: &str) -> Option<Cookie> {
        self.life.borrow().as_ref().map(|life| life.cookies.of(node).clone())
    }

    pub(in crate::shard) fn acceptor_config(&self) -> Option<AcceptorConfig> {
        let life = self.life.borrow();
        let life = life.as_ref()?;
        let (name, creation) = life.own.as_ref()?;
        Some(AcceptorConfig {
            local: name.clone(),
            creation: *creation,
            flags: self.flags(!life.hidden),
            challenge: connect::fresh_challenge().ok()?,
            timeouts: self.timeouts(),
            prefix: LengthPrefix::Two,
            holds_ack: true,
        })
    }

    pub(in crate::shard) fn initiator_config(
        &self,
        peer: NodeName,
        hidden: bool,
    ) -> Option<InitiatorConfig> {
        let cookie = self.cookie_for(peer.as_str())?;
        let life = self.life.borrow();
        let life = life.as_ref()?;
        let local = match (&life.own, &life.host_to_be_named_on) {
            (Some((name, creation)), _) => LocalName::Named(name.clone(), *creation),
            (None, Some(host)) => LocalName::AskFor { host: host.clone() },
            (None, None) => return None,
        };
        Some(InitiatorConfig {
            local,
            peer,
            flags: self.flags(!life.hidden && !hidden),
            cookie,
            challenge: connect::fresh_challenge().ok()?,
            timeouts: self.timeouts(),
            prefix: LengthPrefix::Two,
        })
    }

    /// What this node says that it can.
    fn flags(&self, published: bool) -> Flags {
        let flags = Flags::ours(published);
        if self.config.fabric.enabled { flags.with(Flags::FABRIC) } else { flags }
    }

    fn timeouts(&self) -> Timeouts {
        Timeouts { stage: self.config.setup_time, total: self.config.setup_time * 3 }
    }

    pub(in crate::shard) fn setup_time(&self) -> Duration {
        self.config.setup_time
    }

    pub(in crate::shard) fn is_ours(&self, challenge: Challenge) -> bool {
        self.challenges.borrow().contains(&challenge)
    }

    /// The port that is known of a node without its epmd.
    pub(in crate::shard) fn stated_port(&self, node: &str) -> Option<u16> {
        self.peer_ports.borrow().get(node).copied().or(self.config.peer_port)
    }

    /// States the port of a node, or that its epmd is to be asked again.
    pub(crate) fn state_port(&self, node: String, port: Option<u16>) {
        let mut ports = self.peer_ports.borrow_mut();
        match port {
            Some(port) => ports.insert(node, port),
            None => ports.remove(&node),
        };
    }

    pub(in crate::shard) fn epmd_port(&self) -> u16 {
        self.config.epmd_port
    }

    /// A name that this node may dial, by OTP's rules for long and short names.
    pub(in crate::shard) fn check_peer_name(&self, node: &Atom) -> Result<NodeName, ConnectError> {
        let wrong = |error: NameError| ConnectError::Name(error.to_string());
        let name = NodeName::parse(node.as_str()).map_err(wrong)?;
        let mode = self.life.borrow().as_ref().map(|life| life.mode);
        name.check_mode(mode.ok_or(ConnectError::NotAlive)?).map_err(wrong)?;
        Ok(name)
    }
}
