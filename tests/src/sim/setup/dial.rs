//! Connections that are being made, and who connects here.

use krarup::net_kernel::{AttemptId, ConnectError, ConnectionId};
use krarup_transport::fabric::{
    Ask, Credentials, DialFailure, Epoch, JOIN_TIMEOUT, JoinConfig, JoinInitiator, LaneId, Probed,
};
use krarup_transport::handshake::{
    Initiator, InitiatorConfig, LengthPrefix, LocalName, NodeName, Timeouts,
};
use krarup_transport::term::Atom;

use super::{Dialling, Door, Setup, Socket};
use crate::sim::env::Env;
use crate::sim::life::Life;
use crate::sim::net::{ACCEPTOR, Address, ConnId, DIALLER, DialId, Owner};

impl Life {
    /// Dials a node's first link.
    pub(in crate::sim) fn dial_node(
        &mut self,
        env: &mut Env,
        attempt: AttemptId,
        node: &Atom,
        hidden: bool,
    ) {
        let Some((peer, port)) = env.names.look_up(node) else {
            return self.attempt_failed(env, attempt, ConnectError::GivenUp);
        };
        let challenge = self.challenge(env);
        let spec = &self.plan.specs[self.owner.node];
        let published = !spec.hidden && !hidden && !self.naming.is_given();
        let claim = self.policy.claim(self.own.as_ref(), node.as_str(), true, published);
        let claim = Box::new(claim);
        let local = match &self.own {
            Some(own) => LocalName::Named(own.name.clone(), own.creation),
            None => LocalName::AskFor { host: spec.name.host().to_owned() },
        };
        let config = InitiatorConfig {
            local,
            peer: NodeName::parse(node.as_str()).expect("a good name"),
            flags: self.flags(published),
            cookie: self.policy.cookies.of(node.as_str()).clone(),
            challenge,
            timeouts: Timeouts::default(),
            prefix: LengthPrefix::Two,
        };
        let machine = Initiator::new(config, env.instant()).expect("a good configuration");
        let dial = env.dial(self.owner, Address::Tcp { node: peer, port });
        let dialling = Dialling::Link { machine: Box::new(machine), attempt, challenge, claim };
        self.dials.insert(dial, dialling);
    }

    /// Dials a connection for a lane.
    pub(in crate::sim) fn dial_join(
        &mut self,
        env: &mut Env,
        door: Door,
        to: Address,
        credentials: Credentials,
        ask: Ask,
    ) -> DialId {
        let nonce = env.rng.bytes();
        let config = JoinConfig { credentials, ask, nonce, timeout: JOIN_TIMEOUT };
        let machine = Box::new(JoinInitiator::new(config, env.instant()));
        let dial = env.dial(self.owner, to);
        let (lane, epoch) = (ask.lane, ask.epoch);
        self.dials.insert(dial, Dialling::Join { machine, door, lane, epoch });
        dial
    }

    /// Where the acceptor of a session is joined.
    pub(in crate::sim) fn join_address(
        &self,
        peer: Owner,
        unix: bool,
        agreement: (u16, &[u8]),
    ) -> Address {
        let (port, name) = agreement;
        match unix {
            true => Address::Unix { host: self.plan.specs[peer.node].host, name: name.to_vec() },
            false => Address::Tcp { node: peer.node, port },
        }
    }

    pub(in crate::sim) fn accepted(&mut self, env: &mut Env, conn: ConnId) {
        if self.is_stopping() {
            return env.close(conn, ACCEPTOR);
        }
        let ends = env.instant() + Timeouts::default().stage;
        let setup = Setup::Sniffing { bytes: Vec::new(), ends };
        self.sockets.insert(conn, Socket::new(ACCEPTOR, setup));
        self.socket_turn(env, conn);
    }

    pub(in crate::sim) fn dialled(&mut self, env: &mut Env, dial: DialId, outcome: Option<ConnId>) {
        let Some(dialling) = self.dials.remove(&dial) else {
            // Given up meanwhile.
            if let Some(conn) = outcome {
                env.close(conn, DIALLER);
            }
            return;
        };
        let setup = match (dialling, outcome) {
            (Dialling::Probe { connection, .. }, outcome) => {
                let found = match outcome {
                    Some(conn) => {
                        env.close(conn, DIALLER);
                        Probed::Listening
                    }
                    None => Probed::ConnectionRefused,
                };
                return self.probed(env, connection, found);
            }
            (Dialling::Link { attempt, challenge, .. }, None) => {
                self.forget_challenge(challenge);
                return self.attempt_failed(env, attempt, ConnectError::GivenUp);
            }
            (Dialling::Join { door, lane, epoch, .. }, None) => {
                return self.join_failed(env, door, lane, epoch, &DialFailure::ConnectionRefused);
            }
            (Dialling::Link { machine, attempt, challenge, claim }, Some(conn)) => {
                env.claim(conn, DIALLER, *claim);
                Setup::Initiating { machine, attempt, challenge, greeting: None }
            }
            (Dialling::Join { machine, door, lane, epoch }, Some(conn)) => {
                env.allow_flips(conn);
                Setup::Joining { machine, door, lane, epoch }
            }
        };
        let Some(conn) = outcome else { return };
        let mut socket = Socket::new(DIALLER, setup);
        match &mut socket.setup {
            Setup::Initiating { machine, attempt, .. } => {
                self.kernel.called(*attempt);
                socket.out = machine.take_output();
            }
            Setup::Joining { machine, .. } => socket.out = machine.take_output(),
            _ => {}
        }
        self.sockets.insert(conn, socket);
        self.socket_turn(env, conn);
    }

    /// Ends a dial of a session, or the join on its connection.
    pub(in crate::sim) fn drop_dial(
        &mut self,
        env: &mut Env,
        connection: ConnectionId,
        lane: LaneId,
        epoch: Epoch,
    ) {
        let wanted = (Door::Session(connection), lane, epoch);
        self.dials.retain(|dial, dialling| {
            let ends = matches!(dialling, Dialling::Join { door, lane, epoch, .. }
                if (*door, *lane, *epoch) == wanted);
            if ends {
                env.give_up(*dial);
            }
            !ends
        });
        self.sockets.retain(|conn, socket| {
            let ends = matches!(&socket.setup, Setup::Joining { door, lane, epoch, .. }
                if (*door, *lane, *epoch) == wanted);
            if ends {
                env.close(*conn, socket.side);
            }
            !ends
        });
    }
}
