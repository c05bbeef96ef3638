//! What users ask of a node's kernel, and what it answers.

use krarup::net_kernel::{Action, ConnectError, NodeDownReason, WaiterId};
use krarup_transport::term::Atom;

use super::env::{Env, Wake};
use super::life::{Life, creation_of};
use super::names::{FirstName, Identity};
use super::naming::Naming;
use super::net::{Address, Owner};
use super::policy::Policy;
use super::waiters::{Facts, Wish};

/// A node that nobody runs.
pub(super) const NOBODY: &str = "nobody@nowhere";

impl Env {
    /// What a node is called now, or was; also one that is not part of the run.
    pub(super) fn name_of(&self, node: usize) -> Atom {
        self.names.latest(node).cloned().unwrap_or_else(|| Atom::from_static(NOBODY))
    }
}

impl Life {
    /// Connects to a node, unless it is connected.
    pub(super) fn connect(&mut self, env: &mut Env, node: usize, hidden: bool, waiters: u64) {
        let name = env.name_of(node);
        let wish = |_| env.wish(self.owner, Wish::Connect, name.as_str());
        let waiters = (0..waiters).map(wish).collect();
        self.connect_for(env, &name, hidden, waiters);
    }

    pub(super) fn connect_for(
        &mut self,
        env: &mut Env,
        name: &Atom,
        hidden: bool,
        waiters: Vec<WaiterId>,
    ) {
        if !self.naming.in_turn(name, hidden, &waiters) {
            return;
        }
        self.wants_hidden = hidden;
        if waiters.is_empty() {
            self.kernel.connect(name, hidden, None);
        }
        for waiter in waiters {
            env.asks_now(self.owner, waiter);
            self.kernel.connect(name, hidden, Some(waiter));
        }
        if !self.kernel.is_under_way(name) {
            self.no_name_from(env, name);
        }
        self.obey(env);
        self.arm(env);
    }

    /// Waits for a node to connect.
    pub(super) fn await_peer(&mut self, env: &mut Env, node: usize) {
        let name = env.name_of(node);
        let waiter = env.wish(self.owner, Wish::Await, name.as_str());
        self.kernel.await_peer(&name, waiter, env.instant());
        self.obey(env);
        self.arm(env);
    }

    pub(super) fn disconnect(&mut self, env: &mut Env, node: usize, waiters: u64) {
        let name = env.name_of(node);
        if waiters == 0 {
            self.kernel.disconnect(&name, None);
        }
        for _ in 0..waiters {
            let waiter = env.wish(self.owner, Wish::Disconnect, name.as_str());
            self.kernel.disconnect(&name, Some(waiter));
        }
        self.obey(env);
        self.arm(env);
    }

    /// Lets more nodes connect; from the first call on, only those.
    pub(super) fn allow(&mut self, env: &mut Env, nodes: Vec<String>) {
        // Who is not alive ignores it.
        if self.stopping {
            return;
        }
        env.tell(|| format!("{} allows {nodes:?}", self.owner));
        self.policy.allowed.add(nodes.iter().cloned());
        self.kernel.allow(nodes);
        assert_eq!(self.kernel.allowed(), self.policy.allowed.names());
    }

    pub(super) fn set_cookie(&mut self, env: &mut Env, node: Option<usize>, cookie: &str) {
        if self.stopping {
            return;
        }
        env.tell(|| format!("{} has the cookie {cookie} for {node:?}", self.owner));
        let name = node.map(|node| env.name_of(node));
        self.policy.set_cookie(name.as_ref().map(Atom::as_str), cookie);
    }

    /// Ends all connections; the life is over when [`Life::has_stopped`].
    pub(super) fn stop(&mut self, env: &mut Env) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        env.tell(|| format!("{} stops", self.owner));
        if !self.naming.is_leaving {
            self.drop_postponed(env);
        }
        self.kernel.stop(&NodeDownReason::NetKernelTerminated);
        self.naming.given.clear();
        // The order in which it goes through its nodes is not the same in every run.
        let mut actions: Vec<Action> = std::iter::from_fn(|| self.kernel.next_action()).collect();
        actions.sort_by_key(|action| format!("{action:?}"));
        for action in actions {
            self.act(env, action);
        }
        self.obey(env);
        self.arm(env);
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.stopping && self.kernel.is_quiet()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// The same process has stopped to be a node, and is one again: with another creation, and
    /// nothing left of what others and it had to do with each other.
    pub(super) fn begin_again(&mut self, env: &mut Env, owner: Owner, name: FirstName) {
        assert!(self.kernel.is_at_rest(), "{}: something is left of {:?}", owner, self.kernel);
        env.end_process(self.owner);
        self.sockets.clear();
        self.dials.clear();
        self.challenges.clear();
        assert!(self.ready.is_empty() && self.bundles.is_empty() && self.lane_sockets.is_empty());
        self.owner = owner;
        self.alarm = None;
        self.stopping = false;
        self.policy = Policy::new(&self.plan.cookie);
        self.ticktime = env.ticktime_of_new(owner);
        self.mesh.wake_all(env, owner);
        for shard in &mut self.shards {
            shard.begin_again(owner);
        }
        env.names.unlist(owner.node);
        let before = std::mem::replace(&mut self.naming, Naming::new(&name));
        self.begin(env, name);
        assert!(self.kernel.allowed().is_empty(), "everybody may connect to who starts anew");
        self.begin_unnamed(env, before);
    }

    /// Becomes a node: with a name, or to be given one.
    pub(super) fn begin(&mut self, env: &mut Env, name: FirstName) {
        self.own = match name {
            FirstName::Own(name) => Some(Identity::new(name, creation_of(self.owner))),
            FirstName::Given => None,
        };
        match &self.own {
            Some(own) => {
                env.names.take(self.owner, own);
                self.kernel.start(own.atom.clone());
                self.listen(env);
            }
            None => self.kernel.start_unnamed(),
        }
        for shard in 0..self.shards.len() {
            env.wake(self.owner, Wake::Send(shard));
        }
    }

    /// Listens on its addresses, and is found there.
    pub(super) fn listen(&mut self, env: &mut Env) {
        let Owner { node, .. } = self.owner;
        let spec = &self.plan.specs[node];
        env.net.listeners.insert(Address::Tcp { node, port: self.port }, self.owner);
        if spec.unix {
            let address = Address::Unix { host: spec.host, name: spec.unix_name() };
            env.net.listeners.insert(address, self.owner);
        }
        env.names.list(self.owner, &self.identity().atom, self.port);
    }

    pub(super) fn tell_connected(
        &mut self,
        env: &mut Env,
        waiter: WaiterId,
        result: &Result<(), ConnectError>,
    ) {
        let facts = self.facts(env, env.who_is_meant(self.owner, waiter));
        env.answer_connected(self.owner, waiter, result, facts);
    }

    pub(super) fn tell_disconnected(&mut self, env: &mut Env, waiter: WaiterId, was_up: bool) {
        let facts = self.facts(env, env.who_is_meant(self.owner, waiter));
        env.answer_disconnected(self.owner, waiter, was_up, facts);
    }

    /// What is known of a node, without asking the machine.
    fn facts(&self, env: &Env, name: &str) -> Facts {
        let is_alive = !self.stopping;
        let may_call = self.policy.allowed.may_call(name);
        let is_own = self.name() == name;
        let Some(node) = env.names.find(name).filter(|_| !is_own) else {
            return Facts {
                is_own,
                is_up: is_own,
                is_well: is_own,
                is_absent: !is_own,
                is_alive,
                may_call,
                has_ended: false,
            };
        };
        let connections: Vec<_> =
            self.shards.iter().map(|shard| shard.table.up(node).map(|up| up.connection)).collect();
        let is_up = connections.iter().all(|connection| connection.is_some());
        let is_well = is_up
            && connections.iter().flatten().all(|connection| {
                let bundle = self.bundles.get(connection);
                bundle.is_some_and(|bundle| !bundle.is_ending())
            });
        let is_absent = self.shards.iter().all(|shard| shard.table.is_absent(node));
        let has_ended = self.shards.iter().all(|shard| shard.table.has_been_up(node) && !is_up);
        Facts { is_own, is_up, is_well, is_absent, is_alive, may_call, has_ended }
    }
}
