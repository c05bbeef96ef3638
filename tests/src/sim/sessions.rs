//! Sessions as the kernel's shard keeps them: what their machines ask for, and what ends them.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use krarup::net_kernel::{ConnectionId, NodeDownReason};
use krarup_transport::fabric::{
    Agreement, Ask, Broken, Credentials, Epoch, JOIN_TIMEOUT, LaneId, LaneSet, Probed, Session,
    SessionAction, SessionEnd, SessionId,
};
use krarup_transport::term::Atom;

use super::env::Env;
use super::life::Life;
use super::mesh::{Item, LaneKey};
use super::names::Identity;
use super::net::{Address, ConnId, Owner};
use super::setup::{Dialling, Door, Setup, Socket};

/// How long the other lanes of a session that the peer ended may still bring what was sent before.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// What carries a connection: lanes of a session, or one link.
pub(super) struct Bundle {
    pub(super) peer: Owner,
    pub(super) identity: Identity,
    pub(super) id: SessionId,
    pub(super) fabric: Option<Box<Fabric>>,
    pub(super) lanes: Rc<Vec<(LaneId, usize)>>,
    pub(super) closing: Option<NodeDownReason>,
    pub(super) reason: Option<NodeDownReason>,
    pub(super) ended: usize,
    pub(super) drained: usize,
}

/// What two Krarup nodes have with each other.
pub(super) struct Fabric {
    version: u8,
    pub(super) session: Session,
    credentials: Credentials,
    peer_port: u16,
    peer_unix: Vec<u8>,
    same_host: bool,
    /// Connections that the initiator joined, until they are attached.
    through: BTreeMap<(LaneId, Epoch), ConnId>,
    bye: Option<Atom>,
    farewell: Option<Farewell>,
}

/// The peer has ended the session; these lanes have not brought its `bye` yet.
struct Farewell {
    reason: Atom,
    missing: LaneSet,
    ends: Instant,
}

impl Bundle {
    /// What carries a connection of which one side knows no lanes: a link that this shard keeps.
    pub(super) fn plain((peer, identity): (Owner, Identity), conn: ConnId, shard: usize) -> Bundle {
        Bundle {
            peer,
            identity,
            id: plain_id(conn),
            fabric: None,
            lanes: Rc::new(vec![(LaneId(0), shard)]),
            closing: None,
            reason: None,
            ended: 0,
            drained: 0,
        }
    }

    pub(super) fn of_session(
        (peer, identity): (Owner, Identity),
        session: Session,
        credentials: Credentials,
        lanes: Vec<(LaneId, usize)>,
        agreement: &Agreement,
    ) -> Bundle {
        let id = session.id();
        let fabric = Fabric {
            version: agreement.version,
            session,
            credentials,
            peer_port: agreement.peer_port,
            peer_unix: agreement.peer_unix.clone(),
            same_host: agreement.same_host,
            through: BTreeMap::new(),
            bye: None,
            farewell: None,
        };
        Bundle {
            peer,
            identity,
            id,
            fabric: Some(Box::new(fabric)),
            lanes: Rc::new(lanes),
            closing: None,
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

    /// Whether something has ended it, or some of it has ended.
    pub(super) fn is_ending(&self) -> bool {
        let is_over = |fabric: &Fabric| fabric.session.is_over();
        self.closing.is_some() || self.ended > 0 || self.fabric.as_deref().is_some_and(is_over)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.fabric.as_ref()?.deadline()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        if let Some(fabric) = &mut self.fabric {
            fabric.expire(now);
        }
    }

    pub(super) fn set_tick_time(&mut self, ticktime: Duration) {
        if let Some(fabric) = &mut self.fabric {
            fabric.session.set_tick_time(ticktime);
        }
    }
}

/// Names what went over a plain link: both sides know its connection.
fn plain_id(conn: ConnId) -> SessionId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&conn.0.to_be_bytes());
    SessionId(id)
}

impl Fabric {
    fn deadline(&self) -> Option<Instant> {
        let farewell = self.farewell.as_ref().filter(|_| !self.session.is_over());
        self.session.deadline().into_iter().chain(farewell.map(|farewell| farewell.ends)).min()
    }

    fn expire(&mut self, now: Instant) {
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
    pub(super) fn fabric_mut(&mut self, connection: ConnectionId) -> Option<&mut Fabric> {
        self.bundles.get_mut(&connection)?.fabric.as_deref_mut()
    }

    pub(super) fn act_session(
        &mut self,
        env: &mut Env,
        connection: ConnectionId,
        action: SessionAction,
    ) {
        let Some(bundle) = self.bundles.get_mut(&connection) else { return };
        env.tell(|| format!("{} with {}: {action:?}", self.owner, bundle.peer));
        let lanes = Rc::clone(&bundle.lanes);
        let shard_of = |lane: LaneId| {
            let found = lanes.iter().find(|(id, _)| *id == lane);
            found.map(|(_, shard)| *shard).expect("a lane of the session")
        };
        let (peer, shards) = (bundle.peer, bundle.shards());
        let Some(fabric) = &mut bundle.fabric else { return };
        match action {
            SessionAction::Dial { lane, epoch, received } => {
                let (version, session) = (fabric.version, fabric.session.id());
                let ask = Ask { version, session, lane, epoch, received };
                let unix = fabric.session.joins_unix(lane);
                let credentials = fabric.credentials.clone();
                let reach = (fabric.peer_port, fabric.peer_unix.clone());
                let to = self.join_address(peer, unix, (reach.0, &reach.1));
                self.dial_join(env, Door::Session(connection), to, credentials, ask);
            }
            SessionAction::Abort { lane, epoch } => match fabric.through.remove(&(lane, epoch)) {
                Some(conn) => self.drop_socket(env, conn),
                None => self.drop_dial(env, connection, lane, epoch),
            },
            SessionAction::Attach { lane, epoch, peer_received, join } => {
                let conn = match join {
                    Some(join) => Some(ConnId(join.0)),
                    None => fabric.through.remove(&(lane, epoch)),
                };
                let shard = shard_of(lane);
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
                let shard = shard_of(lane);
                self.tell(env, shard, Item::Detach { lane: (connection, lane), epoch });
            }
            SessionAction::Admit { join, received } => {
                let credentials = fabric.credentials.clone();
                self.admit(env, join, Ok((credentials, received)));
            }
            SessionAction::Refuse { join, refusal } => self.admit(env, join, Err(refusal)),
            SessionAction::Drop { join } => self.drop_socket(env, ConnId(join.0)),
            SessionAction::Probe => {
                let host = self.plan.specs[peer.node].host;
                if fabric.peer_port == 0 {
                    fabric.session.probed(env.instant(), Probed::Unreachable);
                    return;
                }
                let to = match fabric.same_host && !fabric.peer_unix.is_empty() {
                    true => Address::Unix { host, name: fabric.peer_unix.clone() },
                    false => Address::Tcp { node: peer.node, port: fabric.peer_port },
                };
                let dial = env.dial(self.owner, to);
                let ends = env.instant() + JOIN_TIMEOUT;
                self.dials.insert(dial, Dialling::Probe { connection, ends });
            }
            SessionAction::Bye { reason, .. } => fabric.bye = Atom::new(&reason).ok(),
            SessionAction::End(end) => {
                let bye = fabric.bye.clone();
                bundle.reason = Some(match (&bundle.closing, &end) {
                    (Some(reason), _) => reason.clone(),
                    (None, SessionEnd::Silent(_)) => NodeDownReason::NetTickTimeout,
                    (None, SessionEnd::LaneFailed { .. }) => {
                        NodeDownReason::Killed(end.to_string())
                    }
                    (None, _) => NodeDownReason::ConnectionClosed,
                });
                env.judge_end(self.owner, peer, &end);
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
        if let Some(fabric) = self.fabric_mut(connection) {
            fabric.through.insert((lane, epoch), conn);
            fabric.session.joined(env.instant(), lane, epoch, peer_received);
        }
    }

    pub(super) fn probed(&mut self, env: &mut Env, connection: ConnectionId, found: Probed) {
        if let Some(fabric) = self.fabric_mut(connection) {
            fabric.session.probed(env.instant(), found);
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
        let Some(fabric) = &mut bundle.fabric else { return };
        if !fabric.part_with(lane) {
            fabric.session.broken(env.instant(), lane, epoch, report);
        }
    }

    /// The peer says `bye` over each lane that has a socket, behind what it sent before: the
    /// session is over when all of them have brought it.
    pub(super) fn hear_bye(&mut self, env: &mut Env, (connection, lane): LaneKey, reason: Atom) {
        let Some(fabric) = self.fabric_mut(connection) else { return };
        if fabric.farewell.is_none() {
            let up = fabric.session.lanes().filter(|(_, is_up)| *is_up);
            let missing = up.map(|(lane, _)| lane).collect();
            let ends = env.instant() + FAREWELL_TIME;
            fabric.farewell = Some(Farewell { reason, missing, ends });
        }
        fabric.part_with(lane);
    }
}
