//! The kernel's part in the life of a node: it begins, gets a name, loses it, ends.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use futures_util::lock::{Mutex, MutexGuard};
use krarup_transport::dist::TickConfig;
use krarup_transport::handshake::{NameMode, NodeName};
use krarup_transport::io::{Listener, sleep};
use krarup_transport::term::{Atom, Creation};

use super::KernelShard;
use crate::net_kernel::{
    ConnectError, Cookies, DynamicName, GivenNames, NetKernel, NodeDownReason, NodeType, Turn,
};
use crate::process::Identity;
use crate::shard::Shard;
use crate::shard::connect::{self, Leash};
use crate::shard::subscriptions::NodeChange;

/// How long links may take to close when a life ends.
const QUIET_TIME_MAX: Duration = Duration::from_secs(5);

/// What a node is while it is alive.
pub(crate) struct Life {
    /// Its name and creation; none while it waits for another node to name it.
    pub(crate) own: Option<(NodeName, Creation)>,
    /// The host it is to be named on, when other nodes name it.
    pub(crate) host_to_be_named_on: Option<String>,
    /// Long or short names.
    pub(crate) mode: NameMode,
    pub(crate) cookies: Cookies,
    /// Those that it began with.
    pub(crate) first_cookies: Cookies,
    /// Whether it keeps out of the `nodes()` of others.
    pub(crate) hidden: bool,
    /// Its tick time when it begins.
    pub(crate) tick: TickConfig,
    /// The port it accepts connections on; 0 if it accepts none.
    pub(crate) port: u16,
    /// The Unix socket it accepts joins on, by its name without the leading NUL; empty for none.
    pub(crate) unix_name: Vec<u8>,
}

/// What there is to the names of this node and of those that it names.
#[derive(Default)]
pub(super) struct Naming {
    own: RefCell<DynamicName>,
    /// Connects that wait until it is settled who names this node.
    postponed: RefCell<Vec<Postponed>>,
    pub(super) given: RefCell<GivenNames>,
    /// Held by what begins or ends a life: one after the other.
    turn: Mutex<()>,
}

struct Postponed {
    node: Atom,
    hidden: bool,
    done: oneshot::Sender<Result<(), ConnectError>>,
}

impl KernelShard {
    /// Waits until no other life begins or ends. Until it is dropped none does.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.naming.turn.lock().await
    }

    /// Lets this node connect, and others where it listens.
    pub(crate) fn begin_life(
        self: &Rc<Self>,
        life: Life,
        listeners: impl IntoIterator<Item = Listener>,
    ) {
        match life.own.as_ref().map(|(name, _)| Atom::new(name.as_str())) {
            Some(Ok(name)) => self.with(|machine| machine.start(name)),
            _ => self.with(NetKernel::start_unnamed),
        }
        self.begin_ticks(life.tick);
        if life.port != 0 {
            tracing::info!(port = life.port, "listening");
        }
        self.life.replace(Some(life));
        for listener in listeners {
            let leash = Rc::<Leash>::default();
            self.accepting.borrow_mut().push(Rc::clone(&leash));
            glommio::spawn_local(connect::accept(Rc::clone(self), listener, leash)).detach();
        }
    }

    /// Accepts nobody any more and closes every link; [`KernelShard::quiet`] waits for the last.
    pub(crate) fn end_life(self: &Rc<Self>, reason: &NodeDownReason) {
        for accepting in self.accepting.take() {
            accepting.pull();
        }
        for stranger in self.strangers.take() {
            stranger.pull();
        }
        self.life.replace(None);
        self.naming.own.take();
        for Postponed { done, .. } in self.naming.postponed.take() {
            let _ = done.send(Err(ConnectError::NotAlive));
        }
        self.barred.take();
        self.with(|machine| machine.stop(reason));
        self.naming.given.borrow_mut().clear();
    }

    /// Waits until no connection is left.
    pub(crate) async fn quiet(&self) {
        let deadline = Instant::now() + QUIET_TIME_MAX;
        while !self.machine.borrow().is_quiet() {
            if Instant::now() >= deadline {
                let reason = NodeDownReason::NetKernelTerminated;
                tracing::warn!(%reason, "some links did not close in time");
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.life.borrow().is_some()
    }

    fn is_named_by_others(&self) -> bool {
        self.life.borrow().as_ref().is_some_and(|life| life.host_to_be_named_on.is_some())
    }

    /// Gives `done` back if the connect can go on now. If not, it does when it is settled who names
    /// this node.
    pub(super) fn in_turn(
        &self,
        node: &Atom,
        hidden: bool,
        done: oneshot::Sender<Result<(), ConnectError>>,
    ) -> Option<oneshot::Sender<Result<(), ConnectError>>> {
        if !self.is_named_by_others() || self.naming.own.borrow_mut().connect(node) == Turn::Now {
            return Some(done);
        }
        self.naming.postponed.borrow_mut().push(Postponed { node: node.clone(), hidden, done });
        None
    }

    fn go_on(self: &Rc<Self>) {
        for Postponed { node, hidden, done } in self.naming.postponed.take() {
            self.connect(&node, hidden, done);
        }
    }

    /// No connection to `node` came about. If it was to name this one, the next one is asked.
    pub(in crate::shard) fn not_named_by(self: &Rc<Self>, node: &Atom) {
        if self.naming.own.borrow_mut().failed(node) {
            self.go_on();
        }
    }

    /// Takes the name that `by` gave to this node; returns when everybody here knows.
    pub(in crate::shard) async fn take_name(
        self: &Rc<Self>,
        by: &Atom,
        name: NodeName,
        creation: Creation,
    ) {
        let (Ok(atom), Some(shard)) = (Atom::new(name.as_str()), self.shard.borrow().upgrade())
        else {
            return;
        };
        if !self.is_named_by_others() || !self.naming.own.borrow_mut().named(by) {
            return;
        }
        if let Some(life) = &mut *self.life.borrow_mut() {
            life.own = Some((name.clone(), creation));
        }
        self.with(|machine| machine.start(atom.clone()));
        let identity = Identity { name: atom.clone(), creation };
        shard.set_identity_everywhere(identity.clone()).await;
        let own = self.life.borrow().as_ref().and_then(|life| life.own.clone());
        if own != Some((name, creation)) {
            // That life ended meanwhile.
            return;
        }
        tracing::info!(%by, name = %atom, "named");
        shard.node().set_identity(Some(identity));
        shard.announce_own_up(atom).await;
        self.go_on();
    }

    /// A node is down: its name is free if it was given here, and that of this node is lost if it
    /// came from there.
    pub(super) fn names_after(self: &Rc<Self>, down: &Atom) {
        self.naming.given.borrow_mut().down(down);
        if self.is_named_by_others() && self.naming.own.borrow_mut().lost(down) {
            let kernel = Rc::clone(self);
            glommio::spawn_local(async move { kernel.leave_name().await }).detach();
        }
    }

    /// Takes everything down that was connected under a lost name. The next connect asks for another
    /// one (OTP: net_kernel.erl restarts the distribution).
    async fn leave_name(self: &Rc<Self>) {
        let Some(shard) = self.shard.borrow().upgrade() else { return };
        let _turn = self.turn().await;
        let lost = self.life.borrow_mut().as_mut().and_then(|life| {
            life.host_to_be_named_on.as_ref()?;
            life.cookies = life.first_cookies.clone();
            life.own.take()
        });
        // Or that life has ended, and another may have begun.
        let Some((name, _)) = lost else { return };
        self.with(|machine| machine.stop(&NodeDownReason::NetKernelTerminated));
        self.quiet().await;
        shard.node().set_identity(None);
        shard.set_identity_everywhere(Identity::nobody()).await;
        if let Ok(name) = Atom::new(name.as_str()) {
            shard.announce_own_down(name).await;
        }
        let tick = self.life.borrow().as_ref().map(|life| life.tick);
        if let Some(tick) = tick {
            self.begin_ticks(tick);
        }
        self.with(NetKernel::start_unnamed);
        self.naming.own.borrow_mut().left();
        self.go_on();
    }
}

impl Shard {
    /// Tells those who asked for nodeup and nodedown that this node has this name now
    /// (OTP: the emulator on `setnode`).
    pub(crate) async fn announce_own_up(self: &Rc<Self>, node: Atom) {
        self.announce(node, None).await;
    }

    /// Tells them that it has lost it.
    pub(crate) async fn announce_own_down(self: &Rc<Self>, node: Atom) {
        self.announce(node, Some(NodeDownReason::NetKernelTerminated)).await;
    }

    async fn announce(self: &Rc<Self>, node: Atom, down: Option<NodeDownReason>) {
        let change = NodeChange { node, node_type: NodeType::Visible, connection_id: None, down };
        self.everywhere(|| {
            let change = change.clone();
            move |shard: &Rc<Shard>| shard.tell_subscribers(&change)
        })
        .await;
    }
}
