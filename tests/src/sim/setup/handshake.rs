//! The handshake of a first link, on either side.

use std::collections::BTreeMap;

use krarup::net_kernel::{AttemptId, ConnectError, Decision, NodeType, PeerLink};
use krarup_transport::fabric::{Credentials, Hello, Role, SettleTimeouts, Settling};
use krarup_transport::handshake::{
    Accept, AcceptorStep, Applicant, Challenge, Claim, Decision as Verdict, Established, Flags,
    InitiatorStep, NodeName,
};
use krarup_transport::term::Atom;

use super::{Carrier, Dialling, Ready, Setup, Socket, Talk};
use crate::sim::env::Env;
use crate::sim::life::Life;
use crate::sim::names::Identity;
use crate::sim::net::{ACCEPTOR, ConnId};
use crate::sim::plan::{Kind, OtpStyle};

impl Life {
    fn hello(&self, env: &mut Env) -> Hello {
        let port = if self.naming.is_given() { 0 } else { self.port };
        self.plan.hello(&mut env.rng, self.owner.node, port)
    }

    /// An Erlang node offers no lanes.
    pub(super) fn flags(&self, published: bool) -> Flags {
        let flags = Flags::ours(published);
        if self.kernel.is_otp() { flags } else { flags.with(Flags::FABRIC) }
    }

    pub(super) fn challenge(&mut self, env: &mut Env) -> Challenge {
        let challenge = Challenge(env.rng.any() as u32);
        self.challenges.push(challenge);
        challenge
    }

    pub(super) fn forget_challenge(&mut self, challenge: Challenge) {
        self.challenges.retain(|ours| *ours != challenge);
    }

    pub(super) fn acceptor_step(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        socket: &mut Socket,
        mut step: Option<AcceptorStep>,
    ) -> bool {
        let now = env.instant();
        if let Some(AcceptorStep::Decide(applicant)) = &step {
            let (verdict, id) = self.decide(env, conn, applicant);
            let Setup::Accepting { machine, attempt, .. } = &mut socket.setup else { return false };
            *attempt = id;
            step = machine.decide(now, verdict).ok();
        }
        let Setup::Accepting { machine, attempt, challenge } = &mut socket.setup else {
            return false;
        };
        socket.out.extend(machine.take_output());
        let (attempt, challenge) = (*attempt, *challenge);
        match step {
            Some(AcceptorStep::Continue | AcceptorStep::Decide(_)) => return true,
            Some(AcceptorStep::ReplaceOldLink) => {
                if let Some(attempt) = attempt {
                    self.kernel.verified(attempt);
                }
                return true;
            }
            Some(AcceptorStep::Proven) => {
                if let Some(attempt) = attempt {
                    self.kernel.asks(attempt);
                }
                return true;
            }
            Some(AcceptorStep::Established(established)) => {
                self.forget_challenge(challenge);
                let Some(attempt) = attempt else { return false };
                return self.settle(env, conn, socket, attempt, None, *established);
            }
            Some(AcceptorStep::Close) | None => {}
        }
        self.forget_challenge(challenge);
        if let Some(attempt) = attempt {
            self.attempt_failed(env, attempt, ConnectError::GivenUp);
        }
        false
    }

    pub(super) fn decide(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        applicant: &Applicant,
    ) -> (Verdict, Option<AttemptId>) {
        match &applicant.claim {
            Claim::Node(name) => self.decide_node(env, conn, name),
            Claim::NameMe { host } => self.decide_name(env, conn, host),
        }
    }

    pub(in crate::sim) fn decide_node(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        name: &NodeName,
    ) -> (Verdict, Option<AttemptId>) {
        let node = Atom::new(name.as_str()).expect("a good name");
        let (attempt, decision) = self.kernel.inbound(&node);
        let published = !self.plan.specs[self.owner.node].hidden;
        let may_come = !self.is_stopping() && self.policy.allowed.may_come(node.as_str());
        assert_eq!(decision != Some(Decision::NotAllowed), may_come, "{node} at {}", self.owner);
        let Some(decision) = decision else { return (Verdict::Close, None) };
        let ours = self.name();
        match decision {
            Decision::Nok => assert!(ours > node.as_str(), "the greater name goes first"),
            Decision::OkSimultaneous => {
                let counts =
                    self.plan.specs[self.owner.node].kind != Kind::Otp(OtpStyle::OnceUnderWay);
                assert!(!counts || ours < node.as_str(), "the greater name goes first");
            }
            Decision::Ok | Decision::Alive | Decision::NotAllowed => {}
        }
        let claim = self.policy.claim(self.own.as_ref(), node.as_str(), false, published);
        env.claim(conn, ACCEPTOR, claim);
        let accept = match decision {
            Decision::Ok => Accept::Ok,
            Decision::OkSimultaneous => Accept::OkSimultaneous,
            Decision::Alive => Accept::Alive,
            Decision::Nok => return (Verdict::Nok, None),
            Decision::NotAllowed => return (Verdict::NotAllowed, None),
        };
        let cookie = self.policy.cookies.of(node.as_str()).clone();
        (Verdict::Accept(accept, cookie), Some(attempt))
    }

    pub(super) fn initiator_step(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        socket: &mut Socket,
        mut step: Option<InitiatorStep>,
    ) -> bool {
        let now = env.instant();
        let hello = self.hello(env);
        let Setup::Initiating { machine, attempt, challenge, greeting } = &mut socket.setup else {
            return false;
        };
        if let Some(InitiatorStep::Alive) = step {
            step = machine.answer_alive(now, true).ok();
        }
        socket.out.extend(machine.take_output());
        if greeting.is_none() && machine.negotiated().is_some_and(Flags::fabric) {
            // The hello needs no answer to our proof, so it goes with it.
            let settling = Settling::new(Role::Initiator, hello, SettleTimeouts::default(), now);
            socket.out.extend(greeting.insert(settling).take_output());
        }
        let (attempt, challenge) = (*attempt, *challenge);
        let greeting = greeting.take_if(|_| matches!(step, Some(InitiatorStep::Established(_))));
        match step {
            Some(InitiatorStep::Continue | InitiatorStep::Alive) => return true,
            Some(InitiatorStep::Established(established)) => {
                self.forget_challenge(challenge);
                return self.settle(env, conn, socket, attempt, greeting, *established);
            }
            Some(InitiatorStep::Nok | InitiatorStep::Close) | None => {}
        }
        self.forget_challenge(challenge);
        match step {
            Some(InitiatorStep::Nok) => self.attempt_gave_way(env, attempt),
            _ => self.attempt_failed(env, attempt, ConnectError::GivenUp),
        }
        false
    }

    /// The handshake of a first link is over; the initiator has said hello.
    pub(super) fn settle(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        socket: &mut Socket,
        attempt: AttemptId,
        greeting: Option<Settling>,
        established: Established,
    ) -> bool {
        let is_visible = env.judge_handshake(conn);
        assert_eq!(established.visible(), is_visible);
        self.kernel.proven(attempt);
        let identity = Identity::new(established.peer.clone(), established.peer_creation);
        let peer = env.names.owner(&identity.atom, identity.creation);
        let node_type = if is_visible { NodeType::Visible } else { NodeType::Hidden };
        let are_krarup =
            [self.owner.node, peer.node].iter().all(|node| !self.plan.specs[*node].is_otp());
        assert_eq!(established.flags.fabric(), are_krarup);
        if !are_krarup {
            let (leftover, flags) = (established.leftover, established.flags);
            socket.setup = Setup::Held { leftover };
            if let Some((name, creation)) = established.assigned {
                self.take_name(env, &identity.atom, name, creation);
            }
            let creation = identity.creation;
            let carrier = Carrier::Plain { conn, flags };
            self.ready.insert(attempt, Ready { peer, identity, carrier });
            self.kernel.established(attempt, PeerLink { creation, node_type });
            return true;
        }
        let now = env.instant();
        let role = if greeting.is_some() { Role::Initiator } else { Role::Acceptor };
        let machine = greeting.unwrap_or_else(|| {
            let hello = self.hello(env);
            Settling::new(role, hello, SettleTimeouts::default(), now)
        });
        let own = self.own.as_ref().map(|own| (own.name.clone(), own.creation));
        let ours = established.assigned.clone().or(own).expect("it is called something");
        let theirs = (established.peer, established.peer_creation);
        let (initiator, acceptor) = match role {
            Role::Initiator => (ours, theirs),
            Role::Acceptor => (theirs, ours),
        };
        let cookie = established.cookie.clone();
        let talk = Talk {
            machine,
            attempt,
            credentials: Credentials { cookie, initiator, acceptor, flags: established.flags },
            node_type,
            peer,
            identity,
            assigned: established.assigned,
            session: None,
            joined: BTreeMap::new(),
        };
        socket.setup = Setup::Settling(Box::new(talk));
        let Setup::Settling(talk) = &mut socket.setup else { return false };
        let step = talk.machine.receive(now, &established.leftover);
        self.talk_step(env, conn, socket, step)
    }

    /// An attempt is not wanted any more.
    pub(in crate::sim) fn abort(&mut self, env: &mut Env, attempt: AttemptId) {
        if let Some(ready) = self.ready.remove(&attempt) {
            for conn in ready.conns() {
                self.drop_socket(env, conn);
            }
        }
        let mut challenges = Vec::new();
        self.dials.retain(|dial, dialling| match dialling {
            Dialling::Link { attempt: of, challenge, .. } if *of == attempt => {
                env.give_up(*dial);
                challenges.push(*challenge);
                false
            }
            _ => true,
        });
        let own = |socket: &Socket| socket.attempt() == Some(attempt);
        let conns: Vec<ConnId> =
            self.sockets.iter().filter(|(_, s)| own(s)).map(|(conn, _)| *conn).collect();
        for conn in conns {
            let Some(socket) = self.sockets.remove(&conn) else { continue };
            match &socket.setup {
                Setup::Accepting { challenge, .. } | Setup::Initiating { challenge, .. } => {
                    challenges.push(*challenge);
                }
                Setup::Settling(talk) => self.drop_joined(env, conn, &talk.joined),
                _ => {}
            }
            env.close(conn, socket.side);
        }
        for challenge in challenges {
            self.forget_challenge(challenge);
        }
    }

    /// Nothing is in the way of an attempt that was let in.
    pub(in crate::sim) fn acknowledge(&mut self, env: &mut Env, attempt: AttemptId) {
        let own = |socket: &Socket| {
            matches!(socket.setup, Setup::Accepting { .. }) && socket.attempt() == Some(attempt)
        };
        let conn = self.sockets.iter().find(|(_, socket)| own(socket)).map(|(conn, _)| *conn);
        let Some(conn) = conn else { return };
        let Some(mut socket) = self.sockets.remove(&conn) else { return };
        let Setup::Accepting { machine, .. } = &mut socket.setup else { return };
        let step = machine.acknowledge(env.instant());
        let keep = self.acceptor_step(env, conn, &mut socket, step.ok());
        self.finish_turn(env, conn, socket, keep);
    }
}
