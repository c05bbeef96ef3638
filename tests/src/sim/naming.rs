//! Lives that others name, and those that name them.

use krarup::net_kernel::{AttemptId, ConnectError, DynamicName, GivenNames, Turn, WaiterId};
use krarup_transport::handshake::{Accept, Decision as Verdict, NodeName};
use krarup_transport::term::{Atom, Creation};

use super::env::Env;
use super::life::Life;
use super::names::{FirstName, Identity};
use super::net::ConnId;

/// What a life that others name goes by.
#[derive(Default)]
pub(super) struct Naming {
    /// Who names it; nobody, if it has a name of its own.
    own: Option<DynamicName>,
    /// Connects that wait until it is settled who names it.
    postponed: Vec<(Atom, bool, Vec<WaiterId>)>,
    /// The attempt that is to bring a name.
    asked: Option<(AttemptId, Atom)>,
    /// The name is lost, and everything under it ends.
    pub(super) is_leaving: bool,
    /// The names that it gives to others.
    pub(super) given: GivenNames,
}

impl Naming {
    pub(super) fn new(name: &FirstName) -> Naming {
        let own = matches!(name, FirstName::Given).then(DynamicName::default);
        Naming { own, ..Naming::default() }
    }

    pub(super) fn is_given(&self) -> bool {
        self.own.is_some()
    }

    /// Whether a connect can go on now; if not, it does when it is settled who names this node.
    pub(super) fn in_turn(&mut self, node: &Atom, hidden: bool, waiters: &[WaiterId]) -> bool {
        let turn = self.own.as_mut().map(|own| own.connect(node));
        if turn == Some(Turn::Later) {
            self.postponed.push((node.clone(), hidden, waiters.to_vec()));
        }
        turn != Some(Turn::Later)
    }

    /// An attempt goes out, perhaps for a name.
    pub(super) fn dials(&mut self, attempt: AttemptId, node: &Atom, is_named: bool) {
        if self.own.is_some() && !is_named {
            self.asked = Some((attempt, node.clone()));
        }
    }
}

impl Life {
    /// An attempt has failed. If it was to name this node, the next one is asked.
    pub(super) fn attempt_failed(&mut self, env: &mut Env, attempt: AttemptId, why: ConnectError) {
        self.naming.given.failed(attempt);
        self.kernel.failed(attempt, why);
        self.not_named_by(env, attempt);
    }

    pub(super) fn attempt_gave_way(&mut self, env: &mut Env, attempt: AttemptId) {
        self.kernel.gave_way(attempt, env.instant());
        self.not_named_by(env, attempt);
    }

    fn not_named_by(&mut self, env: &mut Env, attempt: AttemptId) {
        let asked = self.naming.asked.take_if(|(asked, _)| *asked == attempt);
        if let Some((_, node)) = asked {
            self.no_name_from(env, &node);
        }
    }

    /// No connection to a node came about.
    pub(super) fn no_name_from(&mut self, env: &mut Env, node: &Atom) {
        if self.naming.own.as_mut().is_some_and(|own| own.failed(node)) {
            self.go_on(env);
        }
    }

    fn go_on(&mut self, env: &mut Env) {
        for (node, hidden, waiters) in std::mem::take(&mut self.naming.postponed) {
            self.connect_for(env, &node, hidden, waiters);
        }
    }

    /// A handshake brought a name.
    pub(super) fn take_name(&mut self, env: &mut Env, by: &Atom, name: NodeName, to: Creation) {
        if !self.naming.own.as_mut().is_some_and(|own| own.named(by)) {
            return;
        }
        self.naming.asked = None;
        let identity = Identity::new(name, to);
        env.tell(|| format!("{} is named {} by {by}", self.owner, identity.atom));
        env.names.take(self.owner, &identity);
        env.names.given += 1;
        self.kernel.start(identity.atom.clone());
        self.own = Some(identity);
        self.go_on(env);
    }

    /// A node is down: its name is free if it was given here, and that of this life is lost if it
    /// came from there.
    pub(super) fn names_after(&mut self, env: &mut Env, down: &Atom) {
        self.naming.given.down(down);
        if self.naming.own.as_mut().is_some_and(|own| own.lost(down)) && !self.is_stopping() {
            env.tell(|| format!("{} loses its name with {down}", self.owner));
            self.naming.is_leaving = true;
            self.stop(env);
        }
    }

    /// Those who wait for a name are told that there will be none.
    pub(super) fn drop_postponed(&mut self, env: &mut Env) {
        for (_, _, waiters) in std::mem::take(&mut self.naming.postponed) {
            for waiter in waiters {
                self.tell_connected(env, waiter, &Err(ConnectError::NotAlive));
            }
        }
    }

    /// What was lost is left behind; whoever waited meanwhile goes on.
    pub(super) fn begin_unnamed(&mut self, env: &mut Env, postponed: Naming) {
        self.naming.postponed = postponed.postponed;
        self.go_on(env);
    }

    /// The verdict on a peer that asks for a name.
    pub(super) fn decide_name(
        &mut self,
        env: &mut Env,
        conn: ConnId,
        host: &str,
    ) -> (Verdict, Option<AttemptId>) {
        let known = self.naming.given.take(host);
        let is_known = known.is_some();
        let (name, creation) = known.unwrap_or_else(|| {
            let name = format!("{:X}@{host}", env.rng.any());
            let creation = Creation((env.rng.any() as u32).max(4));
            (NodeName::parse(&name).expect("a good name"), creation)
        });
        match self.decide_node(env, conn, &name) {
            (Verdict::Accept(Accept::Ok, cookie), Some(attempt)) => {
                let asker = env.dialler(conn);
                env.names.promise(asker, &Identity::new(name.clone(), creation));
                self.naming.given.offer(attempt, name.clone(), creation, is_known);
                (Verdict::Accept(Accept::Named { name, creation }, cookie), Some(attempt))
            }
            (_, attempt) => {
                if is_known {
                    self.naming.given.give_back(name, creation);
                }
                (Verdict::NotAllowed, attempt)
            }
        }
    }
}
