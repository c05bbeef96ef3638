//! Sessions as the kernel's shard keeps them: what their machines ask for, and what ends them.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use krarup::net_kernel::{ConnectionId, NodeDownReason};
use krarup_transport::fabric::{
    Agreement, Ask, Broken, Credentials, Epoch, JOIN_TIMEOUT, LaneId, LaneSet, Probed, Session,
    SessionAction, SessionEnd,
};
use krarup_transport::term::Atom;

use super::env::Env;
use super::life::Life;
use super::mesh::{Item, LaneKey};
use super::net::{Address, ConnId, Owner};
use super::setup::{Dialling, Door, Setup, Socket};

/// How long the other lanes of a session that the peer ended may still bring what was sent before.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// What carries a connection.
pub(super) struct Bundle {
    pub(super) peer: Owner,
    version: u8,
    pub(super) session: Session,
    credentials: Credentials,
    pub(super) lanes: Rc<Vec<(LaneId, usize)>>,
    peer_port: u16,
    peer_unix: Vec<u8>,
    same_host: bool,
    /// Connections that the initiator joined, until they are attached.
    through: BTreeMap<(LaneId, Epoch), ConnId>,
    bye: Option<Atom>,
    pub(super) closing: Option<NodeDownReason>,
    farewell: Option<Farewell>,
    pub(super) reason: Option<NodeDownReason>,
    pub(super) ended: usize,
    pub(super) drained: usize,
}

/// The peer has ended the session; these lanes have not brought its `bye` yet.
struct Farewell {
    reason: Atom,
    missing: LaneSet,
    ends: Instant,
}

impl Bundle {
    pub(super) fn new(
        peer: Owner,
        version: u8,
        session: Session,
        credentials: Credentials,
        lanes: Vec<(LaneId, usize)>,
        agreement: &Agreement,
    ) -> Bundle {
        Bundle {
            peer,
            version,
            session,
            credentials,
            lanes: Rc::new(lanes),
            peer_port: agreement.peer_port,
            peer_unix: agreement.peer_unix.clone(),
            same_host: agreement.same_host,
            through: BTreeMap::new(),
            bye: None,
            closing: None,
            farewell: None,
            reason: None,
            ended: 0,
            drained: 0,
        }
    }

    /// The shards that keep its lanes, each once.
    pub(super) fn shards(&self) -> Vec<usize> {
        let mut shards: Vec<usize> = self.lanes.iter().map(|(_, shard)| *shard).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let farewell = self.farewell.as_ref().filter(|_| !self.session.is_over());
        self.session.deadline().into_iter().chain(farewell.map(|farewell| farewell.ends)).min()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        if let Some(farewell) = &self.farewell
            && farewell.ends <= now
        {
            self.session.bye(farewell.reason.as_str().to_owned());
        }
        self.session.expire(now);
    }

    /// Whether the peer has ended the session; the lane then brings nothing more.
    fn part_with(&mut self, lane: LaneId) -> bool {
        let Some(farewell) = &mut self.farewell else { return false };
        farewell.missing.remove(lane);
        if farewell.missing.is_empty() {
            self.session.bye(farewell.reason.as_str().to_owned());
        }
        true
    }
}

impl Life {
    pub(super) fn act_session(
        &mut self,
        env: &mut Env,
        connection: ConnectionId,
        action: SessionAction,
    ) {
        let Some(bundle) = self.bundles.get_mut(&connection) else { return };
        env.tell(|| format!("{} with {}: {action:?}", self.owner, bundle.peer));
        match action {
            SessionAction::Dial { lane, epoch, received } => {
                let (version, session) = (bundle.version, bundle.session.id());
                let ask = Ask { version, session, lane, epoch, received };
                let (peer, unix) = (bundle.peer, bundle.session.joins_unix(lane));
                let credentials = bundle.credentials.clone();
                let reach = (bundle.peer_port, bundle.peer_unix.clone());
                let to = self.join_address(peer, unix, (reach.0, &reach.1));
                self.dial_join(env, Door::Session(connection), to, credentials, ask);
            }
            SessionAction::Abort { lane, epoch } => match bundle.through.remove(&(lane, epoch)) {
                Some(conn) => self.drop_socket(env, conn),
                None => self.drop_dial(env, connection, lane, epoch),
            },
            SessionAction::Attach { lane, epoch, peer_received, join } => {
                let conn = match join {
                    Some(join) => Some(ConnId(join.0)),
                    None => bundle.through.remove(&(lane, epoch)),
                };
                let shard = bundle.shard_of(lane);
                let key = (connection, lane);
                let socket = conn.and_then(|conn| Some((conn, self.sockets.remove(&conn)?)));
                let Some((conn, Socket { side, setup: Setup::Held { leftover }, .. })) = socket
                else {
                    panic!("a socket for what is attached");
                };
                self.lane_sockets.insert(conn, (shard, key));
                let socket = (conn, side);
                let item = Item::Resume { lane: key, epoch, socket, peer_received, leftover };
                self.tell(env, shard, item);
            }
            SessionAction::Detach { lane, epoch } => {
                let shard = bundle.shard_of(lane);
                self.tell(env, shard, Item::Detach { lane: (connection, lane), epoch });
            }
            SessionAction::Admit { join, received } => {
                let credentials = bundle.credentials.clone();
                self.admit(env, join, Ok((credentials, received)));
            }
            SessionAction::Refuse { join, refusal } => self.admit(env, join, Err(refusal)),
            SessionAction::Drop { join } => self.drop_socket(env, ConnId(join.0)),
            SessionAction::Probe => {
                let peer = bundle.peer;
                let host = self.plan.specs[peer.node].host;
                let to = match bundle.same_host && !bundle.peer_unix.is_empty() {
                    true => Address::Unix { host, name: bundle.peer_unix.clone() },
                    false => Address::Tcp { node: peer.node, port: bundle.peer_port },
                };
                let dial = env.dial(self.owner, to);
                let ends = env.instant() + JOIN_TIMEOUT;
                self.dials.insert(dial, Dialling::Probe { connection, ends });
            }
            SessionAction::Bye { reason, .. } => bundle.bye = Atom::new(&reason).ok(),
            SessionAction::End(end) => {
                bundle.reason = Some(match (&bundle.closing, &end) {
                    (Some(reason), _) => reason.clone(),
                    (None, SessionEnd::Silent(_)) => NodeDownReason::NetTickTimeout,
                    (None, SessionEnd::LaneFailed { .. }) => {
                        NodeDownReason::Killed(end.to_string())
                    }
                    (None, _) => NodeDownReason::ConnectionClosed,
                });
                let (shards, bye) = (bundle.shards(), bundle.bye.clone());
                env.judge_end(self.owner, bundle.peer, &end);
                self.kernel.falling(connection);
                for shard in shards {
                    let bye = bye.clone();
                    self.tell(env, shard, Item::Close { connection, bye });
                }
            }
        }
    }

    /// The initiator's dial got through.
    pub(super) fn dial_joined(
        &mut self,
        env: &mut Env,
        connection: ConnectionId,
        lane: LaneId,
        epoch: Epoch,
        peer_received: u64,
        conn: ConnId,
    ) {
        if let Some(bundle) = self.bundles.get_mut(&connection) {
            bundle.through.insert((lane, epoch), conn);
            bundle.session.joined(env.instant(), lane, epoch, peer_received);
        }
    }

    pub(super) fn probed(&mut self, env: &mut Env, connection: ConnectionId, found: Probed) {
        if let Some(bundle) = self.bundles.get_mut(&connection) {
            bundle.session.probed(env.instant(), found);
        }
    }

    /// A lane's shard has let go of its socket.
    pub(super) fn lane_broken(
        &mut self,
        env: &mut Env,
        (connection, lane): LaneKey,
        epoch: Epoch,
        report: Broken,
    ) {
        let Some(bundle) = self.bundles.get_mut(&connection) else { return };
        env.tell(|| {
            let (owner, peer) = (self.owner, bundle.peer);
            format!("{owner} with {peer}: lane {lane}, epoch {epoch} broke, {report:?}")
        });
        if !bundle.part_with(lane) {
            bundle.session.broken(env.instant(), lane, epoch, report);
        }
    }

    /// The peer says `bye` over each lane that has a socket, behind what it sent before: the
    /// session is over when all of them have brought it.
    pub(super) fn hear_bye(&mut self, env: &mut Env, (connection, lane): LaneKey, reason: Atom) {
        let Some(bundle) = self.bundles.get_mut(&connection) else { return };
        if bundle.farewell.is_none() {
            let up = bundle.session.lanes().filter(|(_, is_up)| *is_up);
            let missing = up.map(|(lane, _)| lane).collect();
            let ends = env.instant() + FAREWELL_TIME;
            bundle.farewell = Some(Farewell { reason, missing, ends });
        }
        bundle.part_with(lane);
    }
}

impl Bundle {
    fn shard_of(&self, lane: LaneId) -> usize {
        let found = self.lanes.iter().find(|(id, _)| *id == lane);
        found.map(|(_, shard)| *shard).expect("a lane of the session")
    }
}
