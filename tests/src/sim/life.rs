//! One life of a node: its kernel shard, which is shard 0, and what the other shards tell it.
//!
//! The machines are the real ones; what surrounds them here does what the node's runtime does with
//! tasks and sockets, and no more than that.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use krarup::net_kernel::{Action, AttemptId, ConnectionId, NodeDownReason, Order, Ticktime};
use krarup_transport::dist::TickConfig;
use krarup_transport::fabric::{Epoch, LaneConfig, LaneId, Session};
use krarup_transport::handshake::{Challenge, Flags};
use krarup_transport::link::{LinkConfig, LinkLimits};
use krarup_transport::term::{Atom, Creation};

use super::env::{Env, Event, Wake};
use super::kernel::Kernel;
use super::mesh::{Item, LaneKey, LinkSetup, Mesh, NewLink, Route};
use super::names::{FirstName, Identity};
use super::naming::Naming;
use super::net::{ConnId, DialId, Owner};
use super::plan::Plan;
use super::policy::Policy;
use super::sessions::Bundle;
use super::setup::{Carrier, Dialling, Ready, Setup, Socket};
use super::shard::Shard;

/// A life's creation says which it is.
const CREATION_FIRST: u32 = 100;

pub(super) struct Life {
    pub(super) owner: Owner,
    /// None until others have given it one.
    pub(super) own: Option<Identity>,
    pub(super) naming: Naming,
    pub(super) plan: Rc<Plan>,
    pub(super) kernel: Kernel,
    pub(super) policy: Policy,
    pub(super) ticktime: Ticktime,
    pub(super) challenges: Vec<Challenge>,
    /// Sockets on the kernel's shard.
    pub(super) sockets: BTreeMap<ConnId, Socket>,
    pub(super) dials: BTreeMap<DialId, Dialling>,
    pub(super) ready: BTreeMap<AttemptId, Ready>,
    pub(super) bundles: BTreeMap<ConnectionId, Bundle>,
    pub(super) shards: Vec<Shard>,
    pub(super) mesh: Mesh,
    /// Sockets that lanes have.
    pub(super) lane_sockets: BTreeMap<ConnId, (usize, LaneKey)>,
    pub(super) port: u16,
    pub(super) alarm: Option<Duration>,
    pub(super) stopping: bool,
    /// The last connect was to be hidden.
    pub(super) wants_hidden: bool,
}

impl Life {
    pub(super) fn start(env: &mut Env, plan: &Rc<Plan>, owner: Owner, name: FirstName) -> Life {
        let spec = &plan.specs[owner.node];
        // A node's next life may get the port of the last one.
        let port = 4000 + owner.node as u16 * 10 + (env.rng.below(2) as u16);
        let kernel = Kernel::new(spec);
        let shards = (0..spec.shards).map(|shard| Shard::new(plan, owner, shard)).collect();
        let mut life = Life {
            owner,
            own: None,
            naming: Naming::new(&name),
            plan: Rc::clone(plan),
            kernel,
            policy: Policy::new(&plan.cookie),
            ticktime: env.ticktime_of_new(owner),
            challenges: Vec::new(),
            sockets: BTreeMap::new(),
            dials: BTreeMap::new(),
            ready: BTreeMap::new(),
            bundles: BTreeMap::new(),
            shards,
            mesh: Mesh::new(spec.shards, plan.mesh_delays),
            lane_sockets: BTreeMap::new(),
            port,
            alarm: None,
            stopping: false,
            wants_hidden: false,
        };
        life.begin(env, name);
        life
    }

    /// Who it is, once it has a connection.
    pub(super) fn identity(&self) -> &Identity {
        self.own.as_ref().expect("who is connected has a name")
    }

    pub(super) fn creation(&self) -> Creation {
        self.identity().creation
    }

    /// What it is called, if it is called anything.
    pub(super) fn name(&self) -> &str {
        self.own.as_ref().map_or("nonode@nohost", |own| own.atom.as_str())
    }

    /// Handles whatever the node was woken for.
    pub(super) fn wake(&mut self, env: &mut Env, wake: Wake) {
        match wake {
            Wake::Socket(conn) => match self.lane_sockets.get(&conn).copied() {
                Some((shard, lane)) => self.lane_turn(env, shard, lane),
                None => self.socket_turn(env, conn),
            },
            Wake::Accepted(conn) => self.accepted(env, conn),
            Wake::Dialled(dial, outcome) => self.dialled(env, dial, outcome),
            Wake::Kernel if self.alarm.is_some_and(|alarm| alarm <= env.now) => {
                self.alarm = None;
                self.expire(env);
            }
            // An earlier alarm was set meanwhile, and came.
            Wake::Kernel => {}
            Wake::Ticktime(change) => self.set_ticktime(env, change),
            Wake::Clock(shard) => self.clock(env, shard),
            Wake::Mesh(from, to) => {
                while let Some(item) = self.mesh.pop(env.now, from, to) {
                    self.item(env, from, to, item);
                }
                self.resume_reading(env, from);
            }
            Wake::Send(shard) => self.send_turn(env, shard),
            Wake::Lane(shard, lane) => self.lane_turn(env, shard, lane),
        }
        self.obey(env);
        self.arm(env);
    }

    /// Tells a shard, as the kernel does.
    pub(super) fn tell(&mut self, env: &mut Env, shard: usize, item: Item) {
        // An Erlang node does what is said to it in one go.
        if self.kernel.is_otp() {
            return self.item(env, 0, shard, item);
        }
        self.mesh.push(env, self.owner, 0, shard, item);
    }

    /// Tells the kernel, as a shard does.
    pub(super) fn tell_kernel(&mut self, env: &mut Env, shard: usize, item: Item) {
        if self.kernel.is_otp() {
            return self.item(env, shard, 0, item);
        }
        self.mesh.push(env, self.owner, shard, 0, item);
    }

    fn item(&mut self, env: &mut Env, from: usize, shard: usize, item: Item) {
        match item {
            Item::Acknowledged(barrier) => self.kernel.acknowledged(barrier),
            Item::LaneBroken { lane, epoch, report } => {
                self.lane_broken(env, lane, epoch, report);
            }
            Item::LaneBye { lane, reason } => self.hear_bye(env, lane, reason),
            Item::LinkDown(connection, reason) => {
                if let Some(bundle) = self.bundles.get_mut(&connection) {
                    bundle.ended += 1;
                    if let Some(reason) = reason {
                        env.judge_link_end(self.owner, bundle.peer, &reason);
                        bundle.reason.get_or_insert(reason);
                        self.kernel.falling(connection);
                    }
                }
                self.look_whether_over(connection);
            }
            Item::Drained(connection) => {
                if let Some(bundle) = self.bundles.get_mut(&connection) {
                    bundle.drained += 1;
                }
                self.look_whether_over(connection);
            }
            Item::Order { barrier, order, route } => {
                // An Erlang node is done with an order when the next one is made.
                if !self.kernel.is_otp() {
                    self.compare_nodes(&order);
                }
                self.shards[shard].order(env, order, route);
                self.tell_kernel(env, shard, Item::Acknowledged(barrier));
            }
            Item::Flush(connection) => {
                self.tell_kernel(env, shard, Item::Drained(connection));
            }
            Item::Ticks(order) => self.order_ticks(env, shard, order),
            Item::Attach(new) => self.shards[shard].attach(env, *new),
            Item::StartReading(connection) => self.start_reading(env, shard, connection),
            Item::Resume { lane, epoch, socket, peer_received, leftover } => {
                self.resume(env, shard, lane, epoch, socket, peer_received, &leftover);
            }
            Item::Detach { lane, epoch } => self.detach(env, shard, lane, epoch),
            Item::Close { connection, bye } => self.close_lanes(env, shard, connection, bye),
            Item::Deliver(delivery) => self.deliver(env, shard, delivery),
            Item::Send { lane, signal } => {
                debug_assert_ne!(from, shard, "a shard sends over its own lanes itself");
                self.send_for(env, shard, lane, signal);
            }
        }
    }

    /// A shard that is told of a node finds it in `nodes()` from `nodeup` on, and does not find it
    /// any more at `nodedown`.
    fn compare_nodes(&self, order: &Order) {
        let nodes = self.kernel.nodes();
        let row = |id: &ConnectionId| nodes.iter().find(|row| row.connection == *id);
        match order {
            Order::NodeUp { node, connection, node_type, connection_id } => {
                let found = row(connection);
                let shown = found.map(|row| (&row.name, row.node_type, row.connection_id));
                assert_eq!(shown, Some((node, *node_type, *connection_id)), "{:?}", self.kernel);
            }
            Order::RouteUp { connection, .. }
            | Order::RouteDown { connection, .. }
            | Order::NodeDown { connection, .. } => assert_eq!(row(connection), None, "{order:?}"),
        }
    }

    /// Carries out what the machines have decided.
    pub(super) fn obey(&mut self, env: &mut Env) {
        loop {
            if let Some(action) = self.kernel.next_action() {
                self.act(env, action);
                continue;
            }
            if self.obey_ticktime(env) {
                continue;
            }
            let next = self.bundles.iter_mut().find_map(|(connection, bundle)| {
                let action = bundle.fabric.as_mut()?.session.next_action()?;
                Some((*connection, action))
            });
            match next {
                Some((connection, action)) => self.act_session(env, connection, action),
                None => return,
            }
        }
    }

    pub(super) fn act(&mut self, env: &mut Env, action: Action) {
        match action {
            Action::Dial { attempt, node, hidden } => {
                assert_eq!(hidden, self.wants_hidden, "as whoever began it wants");
                self.naming.dials(attempt, &node, self.own.is_some());
                self.dial_node(env, attempt, &node, hidden);
            }
            Action::Abort { attempt } => {
                self.naming.given.failed(attempt);
                self.abort(env, attempt);
            }
            Action::Attach { attempt, connection, node } => {
                self.naming.given.accepted(attempt, &node);
                self.attach(env, attempt, connection, &node);
            }
            Action::StartReading { connection } => {
                let shards = self.bundles.get(&connection).map(Bundle::shards);
                for shard in shards.unwrap_or_default() {
                    self.tell(env, shard, Item::StartReading(connection));
                }
            }
            Action::CloseLink { connection, reason } => {
                let Some(bundle) = self.bundles.get_mut(&connection) else { return };
                let session = bundle.fabric.as_mut().map(|fabric| &mut fabric.session);
                match (session, &reason) {
                    (Some(session), NodeDownReason::WaitPending) => session.replaced(),
                    (Some(session), reason) => session.close(reason.atom().as_str()),
                    (None, _) => {
                        let (_, shard) = bundle.lanes[0];
                        bundle.closing = Some(reason);
                        return self.tell(env, shard, Item::Close { connection, bye: None });
                    }
                }
                bundle.closing = Some(reason);
            }
            Action::Broadcast { barrier, order } => {
                let route = match &order {
                    Order::RouteUp { connection, .. } => self.route(*connection),
                    _ => None,
                };
                for shard in 0..self.shards.len() {
                    let (order, route) = (order.clone(), route.clone());
                    self.tell(env, shard, Item::Order { barrier, order, route });
                }
                if let Order::NodeDown { node, .. } = &order {
                    self.names_after(env, node);
                }
            }
            Action::Acknowledge { attempt } => self.acknowledge(env, attempt),
            Action::Connected { waiter, result } => self.tell_connected(env, waiter, &result),
            Action::Disconnected { waiter, was_up } => self.tell_disconnected(env, waiter, was_up),
        }
    }

    fn route(&self, connection: ConnectionId) -> Option<Route> {
        let bundle = self.bundles.get(&connection)?;
        Some(Route {
            connection,
            session: bundle.id,
            is_plain: bundle.fabric.is_none(),
            peer: bundle.peer,
            identity: bundle.identity.clone(),
            lanes: Rc::clone(&bundle.lanes),
        })
    }

    /// A session that is ready gets its connection, and its lanes go to their shards.
    fn attach(&mut self, env: &mut Env, attempt: AttemptId, connection: ConnectionId, node: &Atom) {
        let Some(ready) = self.ready.remove(&attempt) else {
            panic!("an attempt that is established is ready");
        };
        let Ready { peer, identity, carrier } = ready;
        assert_eq!(identity.atom, *node);
        let (settled, credentials, sockets) = match carrier {
            Carrier::Session { settled, credentials, sockets } => (settled, credentials, sockets),
            Carrier::Plain { conn, flags } => {
                return self.attach_plain(env, connection, conn, flags, (peer, identity));
            }
        };
        let session = Session::new(&settled, self.ticktime.config().ticktime(), env.instant());
        env.oracle.raised(session.id(), self.owner);
        let count = self.shards.len();
        let lanes: Vec<(LaneId, usize)> =
            settled.lanes.iter().map(|lane| (lane, usize::from(lane.0) % count)).collect();
        let id = session.id();
        for (lane, shard) in &lanes {
            let conn = sockets[lane];
            let (side, leftover) = self.take_held(conn);
            let key = (connection, *lane);
            self.lane_sockets.insert(conn, (*shard, key));
            let first_link = lane.0 == 0 && settled.lane0_on_first_link;
            let (tick, checksum) = (self.ticktime.config(), settled.agreement.checksum);
            let new = NewLink {
                link: key,
                epoch: Epoch(if first_link { 0 } else { 1 }),
                socket: (conn, side),
                leftover,
                setup: LinkSetup::Lane(self.lane_config(&identity, checksum, tick, env)),
                session: id,
                peer,
                peer_creation: identity.creation,
            };
            self.tell(env, *shard, Item::Attach(Box::new(new)));
        }
        let agreement = &settled.agreement;
        let bundle = Bundle::of_session((peer, identity), session, credentials, lanes, agreement);
        self.bundles.insert(connection, bundle);
    }

    /// A plain link gets its connection, and goes to a shard; the shards get theirs in turn.
    fn attach_plain(
        &mut self,
        env: &mut Env,
        connection: ConnectionId,
        conn: ConnId,
        flags: Flags,
        (peer, identity): (Owner, Identity),
    ) {
        let shard = connection.0 as usize % self.shards.len();
        let ours = self.identity().atom.clone();
        let mut config = LinkConfig::new(flags, ours, identity.atom.clone());
        let peer_creation = identity.creation;
        let bundle = Bundle::plain((peer, identity), conn, shard);
        env.oracle.raised(bundle.id, self.owner);
        let is_mixed = self.kernel.is_otp() != self.plan.specs[bundle.peer.node].is_otp();
        env.mixed_links += u64::from(is_mixed);
        let (side, leftover) = self.take_held(conn);
        let key = (connection, LaneId(0));
        self.lane_sockets.insert(conn, (shard, key));
        let limits = &self.plan.limits;
        config.limits = LinkLimits {
            fragments: limits.fragments,
            outbox_bytes_max: limits.outbox_bytes_max,
            outbox_bytes_low: limits.outbox_bytes_low,
            outbox_reserve_bytes: limits.outbox_reserve_bytes,
            write_bytes_max: limits.write_bytes_max,
            ..LinkLimits::DEFAULT
        };
        config.tick = self.ticktime.config();
        config.tick_phase = some_phase(config.tick, env);
        let new = NewLink {
            link: key,
            epoch: Epoch(0),
            socket: (conn, side),
            leftover,
            setup: LinkSetup::Plain(config),
            session: bundle.id,
            peer,
            peer_creation,
        };
        self.bundles.insert(connection, bundle);
        self.tell(env, shard, Item::Attach(Box::new(new)));
    }

    /// A socket that nobody reads, for a link.
    fn take_held(&mut self, conn: ConnId) -> (usize, Vec<u8>) {
        match self.sockets.remove(&conn) {
            Some(Socket { side, setup: Setup::Held { leftover }, .. }) => (side, leftover),
            _ => panic!("what is ready has a socket that is held"),
        }
    }

    fn lane_config(
        &self,
        peer: &Identity,
        checksum: bool,
        tick: TickConfig,
        env: &mut Env,
    ) -> LaneConfig {
        let local = (self.identity().atom.clone(), self.creation());
        let mut config = LaneConfig::new(local, (peer.atom.clone(), peer.creation));
        config.checksum = checksum;
        config.limits = self.plan.limits;
        config.tick = tick;
        config.tick_phase = some_phase(tick, env);
        config
    }

    /// A connection is over when all its lanes have ended, and all other shards have handled what
    /// each of them brought.
    fn look_whether_over(&mut self, connection: ConnectionId) {
        let Some(bundle) = self.bundles.get(&connection) else { return };
        let lanes = bundle.lanes.len();
        if bundle.ended < lanes || bundle.drained < lanes * (self.shards.len() - 1) {
            return;
        }
        let reason = bundle.reason.clone().or_else(|| bundle.closing.clone());
        let reason = reason.unwrap_or(NodeDownReason::ConnectionClosed);
        self.bundles.remove(&connection);
        self.kernel.link_down(connection, reason);
    }

    /// Makes sure that the kernel looks at the time when something is due.
    pub(super) fn arm(&mut self, env: &mut Env) {
        let sockets = self.sockets.values().filter_map(Socket::deadline);
        let dials = self.dials.values().filter_map(Dialling::deadline);
        let bundles = self.bundles.values().filter_map(Bundle::deadline);
        let due = sockets.chain(dials).chain(bundles).chain(self.kernel.deadline());
        let due = due.chain(self.ticktime.deadline()).min();
        let Some(due) = due.map(|due| env.time_of(due)) else { return };
        if self.alarm.is_none_or(|alarm| due < alarm) {
            self.alarm = Some(due);
            env.at(due, Event::Wake(self.owner, Wake::Kernel));
        }
    }

    fn expire(&mut self, env: &mut Env) {
        let now = env.instant();
        self.kernel.expire(now);
        self.ticktime.expire(now);
        self.expire_setups(env);
        let due: Vec<ConnectionId> = self
            .bundles
            .iter()
            .filter(|(_, bundle)| bundle.deadline().is_some_and(|due| due <= now))
            .map(|(connection, _)| *connection)
            .collect();
        for connection in due {
            if let Some(bundle) = self.bundles.get_mut(&connection) {
                bundle.expire(now);
            }
        }
    }
}

/// Ticks of links that began at the same time are spread.
fn some_phase(tick: TickConfig, env: &mut Env) -> Duration {
    Duration::from_micros(env.rng.within(1..=tick.interval().as_micros() as u64))
}

/// The creation of a life that names itself.
pub(super) fn creation_of(owner: Owner) -> Creation {
    Creation(CREATION_FIRST + owner.life)
}
