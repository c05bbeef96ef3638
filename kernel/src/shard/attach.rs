//! From an attempt that is through to links on their shards: what is said before, and with what
//! each link begins.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use krarup_transport::dist::TickConfig;
use krarup_transport::fabric::{
    Credentials, Epoch, Hello, LANES_MAX, LaneConfig, LaneId, LaneLimits, Role, VERSIONS,
};
use krarup_transport::handshake::Established;
use krarup_transport::io::{PeerAddress, Socket};
use krarup_transport::link::LinkConfig;
use krarup_transport::term::{Atom, Creation};

use super::bundle::{Bundle, LaneRoute, LinkId};
use super::message::Setup;
use super::reach::this_host;
use super::settle::{Carrier, Finished, Lanes};
use super::{Gauges, KernelShard, NewLink, Shard, ShardMessage};
use crate::net_kernel::{ConnectError, ConnectionId};
use crate::node::Checksum;
use crate::process::Identity;

/// Moments within a tick interval at which links may tick.
const TICK_PHASES: u32 = 16;

impl KernelShard {
    /// What this node says first on a link to a Krarup node.
    pub(super) fn hello(&self, socket: &Socket) -> Result<Hello, ConnectError> {
        let life = self.life.borrow();
        let life = life.as_ref().ok_or(ConnectError::NotAlive)?;
        let fabric = &self.config.fabric;
        let mut session_half = [0; 16];
        getrandom::fill(&mut session_half).map_err(std::io::Error::from)?;
        Ok(Hello {
            versions: VERSIONS,
            shards: u16::try_from(self.config.shards).unwrap_or(u16::MAX),
            lanes_max: fabric.lanes_max.unwrap_or(LANES_MAX).clamp(1, LANES_MAX),
            asks_checksum: match fabric.checksum {
                Checksum::Auto => !is_within_host(socket),
                Checksum::On => true,
                Checksum::Off => false,
            },
            frame_bytes_max: LaneLimits::DEFAULT.frame_bytes_max,
            port: life.port,
            host: this_host(),
            session_half,
            unix_name: life.unix_name.clone(),
        })
    }

    /// What the joins of a session with this peer are proven with.
    pub(super) fn credentials(&self, peer: &Established, role: Role) -> Option<Credentials> {
        let life = self.life.borrow();
        let life = life.as_ref()?;
        // Of a node that the peer has just named, that name.
        let ours = peer.assigned.clone().or_else(|| life.own.clone())?;
        let theirs = (peer.peer.clone(), peer.peer_creation);
        let (initiator, acceptor) = match role {
            Role::Initiator => (ours, theirs),
            Role::Acceptor => (theirs, ours),
        };
        let cookie = peer.cookie.clone();
        Some(Credentials { cookie, initiator, acceptor, flags: peer.flags })
    }

    /// Gives what carries a new connection to the shards. Nothing is read yet.
    pub(super) fn attach_links(
        self: &Rc<Self>,
        shard: &Rc<Shard>,
        connection: ConnectionId,
        node: &Atom,
        finished: Finished,
    ) {
        let Finished { established, carrier } = finished;
        match carrier {
            Carrier::Plain(socket, leftover) => {
                // Spread over the shards in turn.
                let owner = usize::try_from(connection.0).unwrap_or(0) % shard.count;
                let route = LaneRoute { lane: 0, shard: owner, gauges: Gauges::new() };
                self.bundles.borrow_mut().insert(connection, Bundle::new([route.clone()]));
                let link = NewLink {
                    id: LinkId { connection, lane: 0 },
                    node: node.clone(),
                    socket: socket.into_fd(),
                    setup: Setup::Otp(self.link_config(&established, node, connection)),
                    gauges: route.gauges,
                    leftover,
                    epoch: Epoch(0),
                };
                shard.tell(owner, ShardMessage::Attach(Box::new(link)));
            }
            Carrier::Lanes(lanes) => {
                self.attach_lanes(shard, connection, node, *lanes, established.peer_creation);
            }
        }
    }

    fn attach_lanes(
        self: &Rc<Self>,
        shard: &Rc<Shard>,
        connection: ConnectionId,
        node: &Atom,
        lanes: Lanes,
        peer_creation: Creation,
    ) {
        let route = |lane: LaneId| LaneRoute {
            lane: lane.0,
            shard: usize::from(lane.0) % shard.count,
            gauges: Gauges::new(),
        };
        let routes: Arc<[LaneRoute]> = lanes.settled.lanes.iter().map(route).collect();
        self.bundles.borrow_mut().insert(connection, Bundle::new(Arc::clone(&routes)));
        self.begin_session(connection, node, &lanes);
        tracing::debug!(
            %node,
            lanes = ?lanes.settled.lanes,
            same_host = lanes.settled.agreement.same_host,
            checksum = lanes.settled.agreement.checksum,
            "a session begins"
        );
        let config = self.lane_config(&lanes, node, peer_creation);
        let first_link = lanes.settled.lane0_on_first_link;
        // In the order of their numbers, as the shards expect it.
        for (lane, socket, leftover) in lanes.sockets {
            let Some(route) = routes.iter().find(|route| route.lane == lane.0) else { continue };
            let mut config = config.clone();
            config.tick_phase = phase(config.tick.halved(), connection.0 + u64::from(lane.0));
            let link = NewLink {
                id: LinkId { connection, lane: lane.0 },
                node: node.clone(),
                socket: socket.into_fd(),
                setup: Setup::Lane(config),
                gauges: route.gauges.clone(),
                leftover,
                epoch: Epoch(u32::from(!(lane.0 == 0 && first_link))),
            };
            shard.tell(route.shard, ShardMessage::Attach(Box::new(link)));
        }
    }

    /// How a link to an established peer behaves.
    fn link_config(&self, established: &Established, node: &Atom, id: ConnectionId) -> LinkConfig {
        let (local, _) = self.identity();
        let mut config = LinkConfig::new(established.flags, local, node.clone());
        config.tick = self.ticktime.borrow().config();
        config.tick_phase = phase(config.tick, id.0);
        config
    }

    fn lane_config(&self, lanes: &Lanes, node: &Atom, peer_creation: Creation) -> LaneConfig {
        let mut config = LaneConfig::new(self.identity(), (node.clone(), peer_creation));
        config.tick = self.ticktime.borrow().config();
        config.checksum = lanes.settled.agreement.checksum;
        config.limits = config.limits.for_peer(lanes.settled.agreement.frame_bytes_max);
        config
    }

    fn identity(&self) -> (Atom, Creation) {
        let nobody = Identity::nobody();
        let name = self.machine.borrow().local().cloned().unwrap_or(nobody.name);
        let life = self.life.borrow();
        let own = life.as_ref().and_then(|life| life.own.as_ref());
        let creation = own.map_or(nobody.creation, |(_, creation)| *creation);
        (name, creation)
    }
}

/// Spread over the interval, so that many links do not tick at one moment.
fn phase(tick: TickConfig, number: u64) -> Duration {
    let step = u32::try_from(number % u64::from(TICK_PHASES)).unwrap_or(0) + 1;
    tick.interval() * step / TICK_PHASES
}

/// Whether both ends of a connection are on this host, as their addresses tell.
fn is_within_host(socket: &Socket) -> bool {
    let (Ok(local), Ok(PeerAddress::Tcp(peer))) = (socket.local_address(), socket.peer_address())
    else {
        return socket.is_unix();
    };
    peer.ip().is_loopback() || local.is_some_and(|local| local.ip() == peer.ip())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::mpsc;

    use krarup_transport::handshake::Flags;

    use super::*;
    use crate::epmd::EpmdMode;
    use crate::net_kernel::{NodeDownReason, NodeType, PeerLink};
    use crate::{Cookie, Node, Process, Signal};

    const SOON: Duration = Duration::from_secs(20);

    /// Brings a connection up whose link then gets no socket but a file.
    fn attach_a_file(shard: &Rc<Shard>) {
        let kernel = shard.kernel().expect("the first shard has it");
        let node = Atom::from_static("peer@127.0.0.1");
        let (attempt, _) = kernel.with(|machine| machine.inbound(&node));
        let link = PeerLink { creation: Creation(7), node_type: NodeType::Visible };
        kernel.with(|machine| machine.established(attempt, link));
        let connection = kernel.machine.borrow().connection_of(&node).expect("it comes up");
        let route = LaneRoute { lane: 0, shard: shard.id, gauges: Gauges::new() };
        kernel.bundles.borrow_mut().insert(connection, Bundle::new([route.clone()]));
        let (local, _) = kernel.identity();
        let link = NewLink {
            id: LinkId { connection, lane: 0 },
            node: node.clone(),
            socket: File::open("/dev/null").expect("it is there").into(),
            setup: Setup::Otp(LinkConfig::new(Flags::MANDATORY, local, node)),
            gauges: route.gauges,
            leftover: Vec::new(),
            epoch: Epoch(0),
        };
        shard.tell(shard.id, ShardMessage::Attach(Box::new(link)));
    }

    #[test]
    fn a_connection_that_its_shard_cannot_take_over_is_down_for_that() {
        let node = Node::builder("attach@127.0.0.1")
            .cookie(Cookie::new("c").expect("a cookie"))
            .epmd(EpmdMode::None)
            .shards(2)
            .spin(Duration::ZERO)
            .start()
            .expect("the node starts");
        let (told, events) = mpsc::channel();
        let watch = move |mut me: Process| async move {
            me.monitor_nodes(true);
            told.send(None)?;
            loop {
                match me.recv().await? {
                    Signal::NodeUp(up) => told.send(Some(Ok(up.node)))?,
                    Signal::NodeDown(down) => told.send(Some(Err(down.reason)))?,
                    _ => {}
                }
            }
        };
        node.spawn_on(1, None, watch).wait().expect("a process");
        assert_eq!(events.recv_timeout(SOON), Ok(None));
        node.run_on(0, attach_a_file);
        let up = events.recv_timeout(SOON).expect("an event");
        assert_eq!(up, Some(Ok(Atom::from_static("peer@127.0.0.1"))));
        let down = events.recv_timeout(SOON).expect("an event");
        let Some(Err(NodeDownReason::ConnectionSetupFailed(why))) = &down else {
            panic!("{down:?}");
        };
        assert!(!why.is_empty());
        node.stop().wait();
    }

    #[test]
    fn first_looks_at_many_links_are_spread_over_the_interval() {
        let tick = TickConfig::new(Duration::from_secs(60), 4);
        let interval = tick.interval();
        let phases: Vec<Duration> = (0..10_000).map(|number| phase(tick, number)).collect();
        assert!(phases.iter().all(|phase| !phase.is_zero() && *phase <= interval));
        for tenth in 0..10 {
            let within = interval * tenth / 10..interval * (tenth + 1) / 10;
            let links = phases.iter().filter(|phase| within.contains(*phase)).count();
            assert!((500..=1500).contains(&links), "{links} of 10000 in tenth {tenth}");
        }
    }
}
