//! What a shard does when told to: by other shards, by the kernel, by handles.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use futures_channel::oneshot;
use krarup_transport::dist::Control;
use krarup_transport::fabric::Lane;
use krarup_transport::io::Socket;
use krarup_transport::link::Link;
use krarup_transport::term::{Atom, Pid};
use smallvec::SmallVec;

use super::bundle::lane_of;
use super::links::{Kind, LinkState};
use super::machine::Machine;
use super::message::Setup;
use super::subscriptions::NodeChange;
use super::wake::answered;
use super::{
    Body, KernelEvent, LaneRoute, LinkEntry, LinkId, NewLink, Route, Shard, ShardMessage, Target,
};
use crate::net_kernel::{ConnectionId, NodeDownReason, Order};
use crate::process::{Identity, PeerRun, ProcessId, SharedSignal, Signal};

impl Shard {
    /// Handles one item of the mesh, or one from this shard itself.
    pub(super) fn handle(self: &Rc<Self>, message: ShardMessage) {
        match message {
            ShardMessage::Deliver { to: Target::Process(id), signal } => {
                self.deliver(id, self.adopt(signal));
            }
            ShardMessage::Deliver { to: Target::Alias(alias), signal } => {
                self.deliver_to_alias(alias, self.adopt(signal));
            }
            ShardMessage::DeliverRun { node, run } => {
                let node = self.identity_of(&node.name, node.creation);
                self.deliver_run(PeerRun { node, run: run.adopt() });
            }
            ShardMessage::Incoming { via, control, payload } => {
                // A name may be that of a process on another shard by now.
                self.concerning(via, control, payload.map(Into::into));
            }
            ShardMessage::Spawned { via, reply } => self.spawn_answered(via, *reply),
            ShardMessage::Forward { link: id, sender, control, body } => {
                let link = self.links.borrow().get(&id).cloned();
                if let Some(link) = link {
                    // Nothing else was counted when it departed.
                    let is_message = matches!(control, Control::Send { .. });
                    let bytes = body.as_ref().map_or(0, Body::size_bytes);
                    self.send_control_here(&link, sender, control, body);
                    if is_message {
                        link.gauges().room.arrive(bytes);
                    }
                } else if self.newest_link.get().is_none_or(|newest| newest < id) {
                    let message = ShardMessage::Forward { link: id, sender, control, body };
                    self.early.borrow_mut().push((id, message));
                }
            }
            ShardMessage::Order { barrier, order, lanes } => {
                self.obey(order, lanes);
                self.acknowledge(barrier);
            }
            ShardMessage::Name { barrier, name, process } => {
                self.name(name, process);
                self.acknowledge(barrier);
            }
            ShardMessage::Drain { connection } => {
                self.tell_kernel(KernelEvent::Drained { connection });
            }
            ShardMessage::Kernel(event) => {
                if let Some(kernel) = self.kernel() {
                    kernel.event(event);
                }
            }
            ShardMessage::Attach(link) => self.attach_link(*link),
            ShardMessage::StartReading { connection } => {
                for link in self.links_of(connection) {
                    link.start_reading();
                    if let Some(key) = link.key() {
                        self.io().handle().resume_reading(key);
                    }
                }
            }
            ShardMessage::Close { connection, reason, bye } => {
                for link in self.links_of(connection) {
                    if let Some(bye) = &bye {
                        self.say_bye(&link, bye);
                    }
                    self.close_link(&link, reason.clone());
                }
            }
            ShardMessage::Detach { link, epoch } => self.detach_lane(link, epoch),
            ShardMessage::Resume(resume) => self.resume_lane(*resume),
            ShardMessage::Hold { sender, hold } => self.hold_sender(sender, *hold),
            ShardMessage::TellHold { link, sender, hold } => {
                let link = self.links.borrow().get(&link).cloned();
                if let Some(link) = link {
                    self.tell_hold_over(&link, sender, &hold);
                }
            }
            ShardMessage::Wake(task) => task.wake(),
            ShardMessage::Run(work) => work(self),
        }
    }

    /// The links of a connection that this shard keeps.
    pub(super) fn links_of(&self, connection: ConnectionId) -> SmallVec<[Rc<LinkEntry>; 2]> {
        let links = self.links.borrow();
        links.values().filter(|link| link.connection() == connection).cloned().collect()
    }

    fn obey(self: &Rc<Self>, order: Order, lanes: Option<Arc<[LaneRoute]>>) {
        match order {
            Order::RouteUp { node, connection } => {
                let lanes = lanes.unwrap_or_default();
                // Without lanes the connection is over already, and `RouteDown` comes next.
                let Some(lane) = lane_of(&lanes, self.id) else { return };
                let (id, shard) = (LinkId { connection, lane: lane.lane }, lane.shard);
                self.connections.borrow_mut().insert(connection, (id, shard));
                let link = self.links.borrow().get(&id).cloned();
                let gauges = lane.gauges.clone();
                let peer = link.as_ref().map_or_else(Rc::default, |link| Rc::clone(link.peer()));
                let route = Route { id, shard, gauges, link, peer };
                self.routes.borrow_mut().insert(node.clone(), route);
                self.bind_node_monitors(&node, connection);
                self.send_awaited(&node, connection);
            }
            Order::NodeUp { node, node_type, connection_id, .. } => {
                let connection_id = Some(connection_id);
                self.tell_subscribers(&NodeChange { node, node_type, connection_id, down: None });
            }
            Order::RouteDown { node, connection } => {
                let mut routes = self.routes.borrow_mut();
                if routes.get(&node).is_some_and(|route| route.id.connection == connection) {
                    routes.remove(&node);
                }
                drop(routes);
                self.connections.borrow_mut().remove(&connection);
            }
            Order::NodeDown { node, connection, node_type, connection_id, reason } => {
                self.connection_lost(connection);
                self.node_lost(&node, connection);
                self.forget_holds(&node);
                let (connection_id, down) = (Some(connection_id), Some(reason));
                self.tell_subscribers(&NodeChange { node, node_type, connection_id, down });
            }
        }
    }

    /// A signal that came from another shard.
    fn adopt(&self, signal: SharedSignal) -> Signal {
        signal.adopt(|name, creation| self.identity_of(name, creation))
    }

    fn name(self: &Rc<Self>, name: Atom, process: Option<ProcessId>) {
        let Some(id) = process else {
            self.names.borrow_mut().remove(&name);
            return;
        };
        match self.find(id) {
            Some(process) => {
                let mut names = process.names.borrow_mut();
                // It is told once more when another one wants the name.
                if !names.contains(&name) {
                    names.push(name.clone());
                }
            }
            // It ended while its name was on the way here.
            None if usize::from(id.shard) == self.id => {
                self.tell_kernel(KernelEvent::NameGone { name, process: id });
                return;
            }
            None => {}
        }
        self.names.borrow_mut().insert(name, id);
    }

    /// Takes a link over. It can be written to at once; it is read when the kernel says so.
    fn attach_link(self: &Rc<Self>, link: NewLink) {
        let NewLink { id, node, socket, setup, leftover, gauges, epoch } = link;
        let now = Instant::now();
        let (kind, machine) = match setup {
            Setup::Otp(config) => (Kind::Otp, Machine::Otp(Link::new(config, now))),
            Setup::Lane(config) => (Kind::Lane, Machine::Lane(Lane::new(config, now))),
        };
        let entry = Rc::new(LinkEntry::new(id, node, gauges, kind));
        entry.set_epoch(epoch);
        let state = LinkState::new(Rc::clone(&entry), machine, now);
        self.links.borrow_mut().insert(id, Rc::clone(&entry));
        if let Err((error, state)) = self.add_socket(&entry, socket, state, &leftover) {
            match kind {
                Kind::Otp => {
                    let reason = NodeDownReason::ConnectionSetupFailed(error.to_string());
                    self.link_ended(&entry, reason);
                }
                Kind::Lane => self.lane_broken(*state, error.to_string()),
            }
        }
        self.newest_link.set(Some(id));
        self.send_early(id);
    }

    /// Gives a link a socket; when the socket is unusable, gives back what was to be kept for it.
    pub(super) fn add_socket(
        &self,
        entry: &Rc<LinkEntry>,
        socket: OwnedFd,
        state: LinkState,
        leftover: &[u8],
    ) -> Result<(), (io::Error, Box<LinkState>)> {
        let socket = match Socket::from_fd(socket) {
            Ok(socket) => socket,
            Err(error) => return Err((error, Box::new(state))),
        };
        let handle = self.io().handle();
        let added = handle.add(socket, state, leftover, entry.reading());
        let key = added.map_err(|(error, state)| (error, Box::new(state)))?;
        entry.set_key(key);
        Ok(())
    }

    /// Handles what came for a link before the link itself. A shard hears of a new route by its
    /// own queue from the kernel and may use it before the link's shard has looked into its.
    fn send_early(self: &Rc<Self>, id: LinkId) {
        if self.early.borrow().is_empty() {
            return;
        }
        let early = self.early.take();
        for (link, message) in early {
            if link <= id {
                self.handle(message);
            } else {
                self.early.borrow_mut().push((link, message));
            }
        }
    }

    /// Ends a link from this side: what is queued goes out as far as the socket takes it, then
    /// the peer sees the end of the stream.
    pub(super) fn close_link(self: &Rc<Self>, link: &Rc<LinkEntry>, reason: NodeDownReason) {
        link.give_reason(reason.clone());
        if let Some(key) = link.key() {
            self.io().handle().close(key);
        }
        self.link_ended(link, reason);
    }

    /// A link has ended and everything read from it was handled: tells every queue it fed.
    pub(super) fn link_ended(self: &Rc<Self>, link: &Rc<LinkEntry>, cause: NodeDownReason) {
        link.end();
        if self.links.borrow_mut().remove(&link.id()).is_none() {
            return;
        }
        let reason = link.take_reason().unwrap_or(cause);
        self.tell_link_down(link.connection(), reason);
    }

    /// Tells every queue that a link fed, and then the kernel, that nothing comes from it any more.
    fn tell_link_down(self: &Rc<Self>, connection: ConnectionId, reason: NodeDownReason) {
        for other in (0..self.count).filter(|other| *other != self.id) {
            self.tell(other, ShardMessage::Drain { connection });
        }
        self.tell_kernel(KernelEvent::LinkDown { connection, reason });
    }

    /// Gives every shard the node's name and creation; returns when all have them.
    pub(crate) async fn set_identity_everywhere(self: &Rc<Self>, identity: Identity) {
        self.everywhere(|| {
            let identity = identity.clone();
            move |shard: &Rc<Shard>| shard.take_identity(identity)
        })
        .await;
    }

    /// Does something on every shard and waits until all have done it.
    pub(super) async fn everywhere<W>(self: &Rc<Self>, work: impl Fn() -> W)
    where
        W: FnOnce(&Rc<Shard>) + Send + 'static,
    {
        let mut answers = Vec::with_capacity(self.count);
        for shard in 0..self.count {
            let (done, answer) = oneshot::channel();
            let work = work();
            let run = move |shard: &Rc<Shard>| {
                work(shard);
                let _ = done.send(());
            };
            self.tell(shard, ShardMessage::Run(Box::new(run)));
            answers.push(answer);
        }
        for answer in answers {
            // A shard that ends meanwhile drops the sender.
            let _ = answered(answer).await;
        }
    }

    pub(crate) fn whereis(&self, name: &Atom) -> Option<Pid> {
        self.names.borrow().get(name).map(|id| self.pid(*id))
    }

    pub(crate) fn registered(&self) -> Vec<Atom> {
        self.names.borrow().keys().cloned().collect()
    }
}
