//! Joins of lanes, on either side.

use krarup_transport::fabric::{
    AcceptStep, Ask, Credentials, DialFailure, Epoch, FabricError, JoinId, JoinStep, LaneId,
    Refusal,
};

use super::{Door, Setup, Socket};
use crate::sim::env::Env;
use crate::sim::life::Life;
use crate::sim::net::ConnId;

impl Life {
    pub(super) fn joining_step(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        socket: &mut Socket,
        step: Result<JoinStep, FabricError>,
    ) -> bool {
        let Setup::Joining { machine, door, lane, epoch } = &mut socket.setup else { return false };
        let (door, lane, epoch) = (*door, *lane, *epoch);
        let peer_received = match step {
            Ok(JoinStep::Continue) => return true,
            Ok(JoinStep::Joined { peer_received }) => peer_received,
            Err(error) => {
                self.join_failed(env, door, lane, epoch, &DialFailure::Join(error));
                return false;
            }
        };
        let confirm = machine.take_output();
        if let Door::Talk(first) = door {
            assert_eq!(peer_received, 0);
            if !self.talk_joined(env, first, lane, conn) {
                return false;
            }
        }
        socket.out.extend(confirm);
        // Frames follow at once, and the message is short.
        socket.flush(env, conn);
        assert!(socket.out.is_empty());
        socket.setup = Setup::Held { leftover: Vec::new() };
        if let Door::Session(connection) = door {
            self.dial_joined(env, connection, lane, epoch, peer_received, conn);
            // The proof, and what is sent behind it, may arrive or not.
            if std::mem::take(&mut env.break_next_join) {
                env.reset(conn);
            }
        }
        true
    }

    pub(super) fn admitting_step(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        socket: &mut Socket,
        step: Result<AcceptStep, FabricError>,
    ) -> bool {
        let Setup::Admitting { machine, door, lane } = &mut socket.setup else { return false };
        let (now, join) = (env.instant(), JoinId(conn.0));
        match step {
            Ok(AcceptStep::Continue) => true,
            Ok(AcceptStep::Ask(ask)) => {
                *lane = ask.lane;
                match self.knock(&ask) {
                    Ok(Door::Talk(first)) => {
                        *door = Some(Door::Talk(first));
                        let credentials = self.credentials_of(first);
                        machine.admit(now, credentials, 0).expect("it asked");
                        socket.out.extend(machine.take_output());
                        true
                    }
                    Ok(Door::Session(connection)) => {
                        *door = Some(Door::Session(connection));
                        if let Some(fabric) = self.fabric_mut(connection) {
                            fabric.session.asked(now, join, &ask);
                        }
                        true
                    }
                    Err(refusal) => {
                        machine.refuse(refusal);
                        socket.out.extend(machine.take_output());
                        false
                    }
                }
            }
            Ok(AcceptStep::Joined { leftover }) => {
                let (door, lane) = (*door, *lane);
                socket.setup = Setup::Held { leftover };
                match door {
                    Some(Door::Talk(first)) => self.talk_joined(env, first, lane, conn),
                    Some(Door::Session(connection)) => {
                        if let Some(fabric) = self.fabric_mut(connection) {
                            fabric.session.confirmed(now, join);
                        }
                        self.bundles.contains_key(&connection)
                    }
                    None => false,
                }
            }
            Err(_) => {
                socket.out.extend(machine.take_output());
                let (door, lane) = (*door, *lane);
                match door {
                    Some(Door::Talk(first)) => self.talk_failed(env, first, lane),
                    Some(Door::Session(connection)) => {
                        if let Some(fabric) = self.fabric_mut(connection) {
                            fabric.session.join_ended(join);
                        }
                    }
                    None => {}
                }
                false
            }
        }
    }

    /// Finds what a join is for.
    pub(super) fn knock(&self, ask: &Ask) -> Result<Door, Refusal> {
        let talk = self.sockets.iter().find_map(|(conn, socket)| match &socket.setup {
            Setup::Settling(talk) if talk.session == Some(ask.session) => Some((*conn, talk)),
            _ => None,
        });
        if let Some((first, talk)) = talk {
            return talk.machine.ask(ask).map(|()| Door::Talk(first));
        }
        if self.ready.values().any(|ready| ready.session() == Some(ask.session)) {
            return Err(Refusal::TryAgain);
        }
        let running = self.bundles.iter().find(|(_, bundle)| bundle.id == ask.session);
        running.map(|(connection, _)| Door::Session(*connection)).ok_or(Refusal::UnknownSession)
    }

    /// A dial for a lane ended without a join.
    pub(super) fn join_failed(
        &mut self,
        env: &mut Env,
        door: Door,
        lane: LaneId,
        epoch: Epoch,
        failure: &DialFailure,
    ) {
        match door {
            Door::Talk(first) => self.talk_failed(env, first, lane),
            Door::Session(connection) => {
                let now = env.instant();
                if let Some(fabric) = self.fabric_mut(connection) {
                    fabric.session.dial_failed(now, lane, epoch, failure);
                }
            }
        }
    }

    /// What the session said to a join that asked.
    pub(in crate::sim) fn admit(
        &mut self,
        env: &mut Env,
        join: JoinId,
        verdict: Result<(Credentials, u64), Refusal>,
    ) {
        let conn = ConnId(join.0);
        let Some(mut socket) = self.sockets.remove(&conn) else { return };
        let Setup::Admitting { machine, .. } = &mut socket.setup else {
            panic!("only who asked is answered");
        };
        let keep = match verdict {
            Ok((credentials, received)) => {
                machine.admit(env.instant(), credentials, received).is_ok()
            }
            Err(refusal) => {
                machine.refuse(refusal);
                false
            }
        };
        socket.out.extend(machine.take_output());
        self.finish_turn(env, conn, socket, keep);
    }
}
