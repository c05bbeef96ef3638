//! What handshakes ask the kernel: who may connect, and what this node says of itself.

use std::rc::Rc;
use std::time::Duration;

use krarup_transport::handshake::{
    Accept, AcceptorConfig, Challenge, Cookie, Decision as Verdict, Flags, InitiatorConfig,
    LengthPrefix, LocalName, NameError, NameMode, NodeName, Timeouts,
};
use krarup_transport::term::Atom;

use super::KernelShard;
use crate::net_kernel::{AttemptId, ConnectError, Decision};
use crate::node::NameType;
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
                tracing::warn!(%node, "a node that is not allowed tried to connect");
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
        let Ok((name, creation)) = connect::fresh_name(host) else { return Verdict::NotAllowed };
        match self.decide(&name, leash, attempt) {
            Verdict::Accept(Accept::Ok, cookie) => {
                Verdict::Accept(Accept::Named { name, creation }, cookie)
            }
            // A name of 64 random bits is not taken; whoever has it keeps it.
            _ => Verdict::NotAllowed,
        }
    }

    pub(in crate::shard) fn cookie_for(&self, node: &str) -> Option<Cookie> {
        let own = self.config.peer_cookies.iter().find(|(name, _)| name == node);
        match own {
            Some((_, cookie)) => Some(cookie.clone()),
            None => self.life.borrow().as_ref().map(|life| life.cookie.clone()),
        }
    }

    pub(in crate::shard) fn acceptor_config(&self) -> Option<AcceptorConfig> {
        let life = self.life.borrow();
        let life = life.as_ref()?;
        Some(AcceptorConfig {
            local: life.name.clone(),
            creation: life.creation,
            flags: self.flags(!self.config.hidden),
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
        Some(InitiatorConfig {
            local: LocalName::Named(life.name.clone(), life.creation),
            peer,
            flags: self.flags(!self.config.hidden && !hidden),
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

    pub(in crate::shard) fn fixed_peer_port(&self) -> Option<u16> {
        self.config.peer_port
    }

    pub(in crate::shard) fn epmd_port(&self) -> u16 {
        self.config.epmd_port
    }

    /// A name that this node may dial, by OTP's rules for long and short names.
    pub(in crate::shard) fn check_peer_name(&self, node: &Atom) -> Result<NodeName, ConnectError> {
        let wrong = |error: NameError| ConnectError::Name(error.to_string());
        let name = NodeName::parse(node.as_str()).map_err(wrong)?;
        let mode = match self.config.name_type {
            NameType::Long => NameMode::Long,
            NameType::Short => NameMode::Short,
        };
        name.check_mode(mode).map_err(wrong)?;
        Ok(name)
    }
}
