//! What both sides settle after the handshake.

use std::collections::BTreeMap;

use krarup::net_kernel::{ConnectError, PeerLink};
use krarup_transport::fabric::{
    Agreement, Ask, Credentials, Epoch, FabricError, LaneId, Role, SettleStep,
};

use super::{Carrier, Dialling, Door, Ready, Setup, Socket};
use crate::sim::env::Env;
use crate::sim::life::Life;
use crate::sim::net::{ConnId, Owner};

impl Life {
    /// Does what a session that is settled on the socket asks for; false if the socket is to be
    /// closed.
    pub(super) fn talk_step(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        socket: &mut Socket,
        step: Result<SettleStep, FabricError>,
    ) -> bool {
        let Setup::Settling(talk) = &mut socket.setup else { return false };
        socket.out.extend(talk.machine.take_output());
        match step {
            Ok(SettleStep::Continue) => true,
            Ok(SettleStep::Plain { .. }) => panic!("all nodes speak version 1"),
            Ok(SettleStep::Agreed(agreement)) => {
                talk.session = Some(agreement.session);
                if agreement.role == Role::Initiator {
                    let (peer, credentials) = (talk.peer, talk.credentials.clone());
                    self.join_all(env, conn, &agreement, peer, &credentials);
                }
                true
            }
            Ok(SettleStep::Settled(settled)) => {
                self.end_joins(env, conn);
                let (attempt, node_type) = (talk.attempt, talk.node_type);
                let mut sockets = std::mem::take(&mut talk.joined);
                let (credentials, peer) = (talk.credentials.clone(), talk.peer);
                let (identity, assigned) = (talk.identity.clone(), talk.assigned.take());
                sockets.retain(|lane, joined| {
                    let counts = settled.lanes.contains(*lane);
                    if !counts && let Some(socket) = self.sockets.remove(joined) {
                        env.close(*joined, socket.side);
                    }
                    counts
                });
                let stays = settled.lane0_on_first_link;
                if stays {
                    sockets.insert(LaneId(0), conn);
                    socket.setup = Setup::Held { leftover: settled.leftover.clone() };
                }
                assert_eq!(sockets.len(), settled.lanes.len());
                if let Some((name, creation)) = assigned {
                    self.take_name(env, &identity.atom, name, creation);
                }
                let link = PeerLink { creation: identity.creation, node_type };
                let carrier = Carrier::Session { settled, credentials, sockets };
                self.ready.insert(attempt, Ready { peer, identity, carrier });
                self.kernel.established(attempt, link);
                stays
            }
            Err(_) => {
                let attempt = talk.attempt;
                let joined = std::mem::take(&mut talk.joined);
                self.drop_joined(env, conn, &joined);
                self.attempt_failed(env, attempt, ConnectError::GivenUp);
                false
            }
        }
    }

    pub(super) fn join_all(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        agreement: &Agreement,
        peer: Owner,
        credentials: &Credentials,
    ) {
        let Agreement { version, session, same_host, .. } = *agreement;
        for lane in agreement.joins() {
            let ask = Ask { version, session, lane, epoch: Epoch(1), received: 0 };
            let reach = (agreement.peer_port, &agreement.peer_unix[..]);
            let to = self.join_address(peer, same_host, reach);
            self.dial_join(env, Door::Talk(conn), to, credentials.clone(), ask);
        }
    }

    /// The joins of a session that is settled, or never will be, end.
    pub(super) fn end_joins(&mut self, env: &mut Env, conn: ConnId) {
        let door = Door::Talk(conn);
        self.dials.retain(|dial, dialling| {
            let ends = matches!(dialling, Dialling::Join { door: of, .. } if *of == door);
            if ends {
                env.give_up(*dial);
            }
            !ends
        });
        self.sockets.retain(|conn, socket| {
            let ends = match &socket.setup {
                Setup::Joining { door: of, .. } => *of == door,
                Setup::Admitting { door: of, .. } => *of == Some(door),
                _ => false,
            };
            if ends {
                env.close(*conn, socket.side);
            }
            !ends
        });
    }

    pub(super) fn drop_joined(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        joined: &BTreeMap<LaneId, ConnId>,
    ) {
        self.end_joins(env, conn);
        for conn in joined.values() {
            if let Some(socket) = self.sockets.remove(conn) {
                env.close(*conn, socket.side);
            }
        }
    }

    pub(super) fn credentials_of(&self, first: ConnId) -> Credentials {
        match self.sockets.get(&first).map(|socket| &socket.setup) {
            Some(Setup::Settling(talk)) => talk.credentials.clone(),
            _ => panic!("a session that is being settled"),
        }
    }

    /// A join of a session that is being settled got through; false if it came too late.
    pub(super) fn talk_joined(
        &mut self,
        env: &mut Env,
        first: ConnId,
        lane: LaneId,
        conn: ConnId,
    ) -> bool {
        let Some(mut socket) = self.sockets.remove(&first) else { return false };
        let Setup::Settling(talk) = &mut socket.setup else {
            self.sockets.insert(first, socket);
            return false;
        };
        let step = match talk.machine.joined(env.instant(), lane) {
            Ok(None) => {
                self.sockets.insert(first, socket);
                return false;
            }
            Ok(Some(step)) => {
                talk.joined.insert(lane, conn);
                Ok(step)
            }
            Err(error) => Err(error),
        };
        let counts = step.is_ok();
        let keep = self.talk_step(env, first, &mut socket, step);
        self.finish_turn(env, first, socket, keep);
        counts
    }

    pub(super) fn talk_failed(&mut self, env: &mut Env, first: ConnId, lane: LaneId) {
        let Some(mut socket) = self.sockets.remove(&first) else { return };
        let keep = match &mut socket.setup {
            Setup::Settling(talk) => {
                let step = talk.machine.failed(env.instant(), lane);
                self.talk_step(env, first, &mut socket, step)
            }
            _ => true,
        };
        self.finish_turn(env, first, socket, keep);
    }
}
