//! What has to be true when all has been well for long enough: whatever still is not never will be.

use std::collections::{BTreeMap, BTreeSet};

use krarup::net_kernel::NodeInfo;

use super::World;
use super::life::Life;
use super::mesh::Route;

impl World {
    pub(super) fn check(&mut self) {
        let count = self.nodes.len();
        let mut sessions = BTreeSet::new();
        let lives: BTreeMap<usize, &Life> = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(i, n)| Some((i, n.life.as_ref()?)))
            .collect();
        assert_eq!(lives.len(), count, "all nodes live");
        for (node, life) in &lives {
            let mut connected = 0;
            for other in (0..count).filter(|other| other != node) {
                let route_to = |from: &Life, to: &Life| {
                    let name = to.own.as_ref().map(|own| self.env.names.known(&own.atom))?;
                    from.shards[0].routes.get(&name).cloned()
                };
                let (route, back) = (route_to(life, lives[&other]), route_to(lives[&other], life));
                let (Some(route), Some(back)) = (&route, &back) else {
                    assert!(
                        route.is_none() && back.is_none() && !self.can_connect(life, lives[&other]),
                        "{node} and {other} are not connected: {}, {}",
                        route.is_some(),
                        back.is_some()
                    );
                    continue;
                };
                connected += 1;
                assert_eq!(route.peer, lives[&other].owner, "{node} is connected to a life before");
                assert_eq!(route.session, back.session, "{node} and {other} mean another session");
                let left = self.env.oracle.left_in(route.session);
                assert!(left.is_empty(), "{node} and {other} still miss {left:?}");
                sessions.insert(route.session.0);
                let type_at = |life: &Life, route: &Route| {
                    let name = self.env.names.known(&route.identity.atom);
                    life.shards[0].table.up(name).map(|up| up.node_type)
                };
                assert_eq!(type_at(life, route), type_at(lives[&other], back));
            }
            assert_eq!(life.bundles.len(), connected, "{node} keeps what is over");
            for bundle in life.bundles.values() {
                assert!(!bundle.is_ending(), "{node} has something that ends");
                let Some(fabric) = &bundle.fabric else { continue };
                assert!(fabric.session.lanes().all(|(_, up)| up), "a lane of {node} is down");
                assert_eq!(fabric.session.deadline(), None);
            }
            for shard in &life.shards {
                for slot in shard.lanes.values() {
                    assert!(slot.is_attached(), "a lane of {node} has no socket");
                    assert_eq!(slot.retained_bytes(), 0, "{node} waits for an acknowledgement");
                    assert!(slot.waiting.is_empty(), "{node} waits for room");
                }
                for process in &shard.processes {
                    assert!(process.holds.is_empty() && process.held_by.is_empty());
                }
            }
            assert!(life.sockets.is_empty(), "{node} keeps sockets that are nothing");
            assert!(life.dials.is_empty() && life.ready.is_empty() && life.challenges.is_empty());
            self.check_kernel(life);
        }
        self.env.check_waiters();
        self.env.forget_claims();
        self.env.oracle.keep(&sessions);
    }

    /// The machine is done with everything, and says of every node what every shard says.
    fn check_kernel(&self, life: &Life) {
        assert!(life.kernel.is_at_rest(), "{}: something is left of {:?}", life.owner, life.kernel);
        let mut nodes = life.kernel.nodes();
        let id = |row: &NodeInfo| self.env.names.known(&row.name);
        nodes.sort_by_key(id);
        for shard in &life.shards {
            assert!(shard.table.all_up().eq(nodes.iter().map(id)));
            for row in &nodes {
                let up = shard.table.up(id(row)).expect("it is up");
                assert_eq!(
                    (up.connection, up.number, up.node_type),
                    (row.connection, row.connection_id, row.node_type)
                );
            }
        }
    }

    /// Whether a node may call another one, and is let in.
    pub(super) fn may_call(&self, from: &Life, to: &Life) -> bool {
        // Nobody finds who was given its name.
        !to.naming.is_given()
            && from.policy.allowed.may_call(to.name())
            && to.policy.allowed.may_come(from.name())
    }

    /// Whether one of two nodes may call the other, with a cookie that both have for each other.
    pub(super) fn can_connect(&self, one: &Life, two: &Life) -> bool {
        if !self.plan.weather.is_fickle() {
            return true;
        }
        // The name that it would be given may have a cookie of its own there.
        let may_surprise = |nameless: &Life, namer: &Life| {
            let is_of_plan =
                |name: &str| self.plan.specs.iter().any(|spec| spec.name.as_str() == name);
            nameless.own.is_none() && namer.policy.cookie_names().any(|name| !is_of_plan(name))
        };
        if may_surprise(one, two) || may_surprise(two, one) {
            return false;
        }
        one.policy.cookie_of(two.name()) == two.policy.cookie_of(one.name())
            && (self.may_call(one, two) || self.may_call(two, one))
    }
}
