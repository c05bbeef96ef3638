//! How a signal leaves a process: into a mailbox here, over a link here, or to another shard.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use krarup_transport::dist::frame::FRAGMENT_BYTES;
use krarup_transport::dist::{Control, Destination as WireDestination};
use krarup_transport::fabric::ProcessNumber;
use krarup_transport::link::{SendError as LinkSendError, SenderKey};
use krarup_transport::shard::LinkRef;
use krarup_transport::term::{Atom, Pid};
use serde::Serialize;

use super::content::Sent;
use super::gauge::{Gauge, IN_FLIGHT_BYTES_MAX};
use super::host::ShardHost;
use super::links::BacklogFull;
use super::node_monitors::Approach;
use super::wake;
use super::{Body, Content, KernelEvent, LinkEntry, Route, Shard, ShardMessage};
use crate::net_kernel::{ConnectError, ConnectionId, NodeDownReason};
use crate::node::{Reply, SendError};
use crate::process::{DestinationRef, ProcessId, Signal, name_atom};

/// What a send waits for before it is tried again.
#[derive(Debug)]
pub(crate) enum Wait {
    Nothing,
    /// That the others have had their turn.
    Turn,
    /// Room in the queue.
    Room {
        gauge: Arc<Gauge>,
        waits: bool,
    },
    /// An attempt to connect to the node. Boxed, since every send has room for a wait.
    Connection(Box<(Reply<Result<(), ConnectError>>, Atom)>),
}

/// What became of a send that does not wait.
pub(crate) enum Outcome {
    Sent,
    /// The queue is full; the gauge says when there is room.
    Busy {
        queued_bytes: usize,
        limit_bytes: usize,
        gauge: Arc<Gauge>,
    },
    /// The node is not connected.
    NoRoute(Atom),
}

/// A link of this shard that its process has found already.
pub(crate) struct Wire {
    entry: Rc<LinkEntry>,
    link: LinkRef<ShardHost>,
}

impl Wire {
    /// Sends a message to a process if it is of the node that this leads to. False when it is not,
    /// or when the message was refused: then it has to go the long way.
    #[inline]
    pub(crate) fn send<T: Serialize + ?Sized>(
        &self,
        from: ProcessNumber,
        to: &Pid,
        content: Content<'_, T>,
    ) -> bool {
        if self.entry.node() != &to.node || !self.entry.is_open() {
            return false;
        }
        self.link.send_with(|state| state.send_to(from, to, content)) == Some(true)
    }
}

impl Route {
    /// What a sender of another shard is told that has to wait on one of the link's gauges.
    #[cold]
    fn busy(&self, gauge: &Arc<Gauge>) -> Outcome {
        Outcome::Busy {
            queued_bytes: self.gauges.room.in_flight_bytes(),
            limit_bytes: IN_FLIGHT_BYTES_MAX,
            gauge: Arc::clone(gauge),
        }
    }
}

impl Shard {
    /// Sends without waiting: into a mailbox here, over a link here, or to the shard that has the
    /// link.
    #[inline]
    pub(crate) fn send<T: Serialize + ?Sized>(
        self: &Rc<Self>,
        from: ProcessId,
        to: DestinationRef<'_>,
        content: Content<'_, T>,
    ) -> Result<Outcome, SendError> {
        if let Some(refused) = self.refused_by_hold(from, to) {
            return Ok(refused);
        }
        let node = match to {
            DestinationRef::Pid(pid) => match self.own(pid) {
                Some(id) => return self.send_to_own(from, id, content),
                None => pid.node.as_str(),
            },
            DestinationRef::Alias(alias) if self.is_own_reference(alias) => {
                return self.send_here(from, to, content);
            }
            DestinationRef::Alias(alias) => alias.node.as_str(),
            DestinationRef::Remote { node, .. } => node,
            DestinationRef::Name(_) => return self.send_here(from, to, content),
        };
        let routes = self.routes.borrow();
        let Some(route) = routes.get(node) else {
            drop(routes);
            return if self.is_here(node) {
                self.send_here(from, to, content)
            } else {
                Ok(Outcome::NoRoute(name_atom(node)))
            };
        };
        match &route.link {
            Some(link) if link.is_open() => {
                let link = Rc::clone(link);
                drop(routes);
                self.send_over(&link, from, to, content)
            }
            // A link that has ended but is not unrouted yet takes nothing more.
            Some(_) => Ok(Outcome::NoRoute(name_atom(node))),
            None if !route.gauges.room.has_room() || !self.io().has_room(route.shard) => {
                Ok(route.busy(&route.gauges.room))
            }
            None => {
                let body = content.body(self)?;
                // Here it would make all others wait behind it.
                if body.size_bytes() > FRAGMENT_BYTES && !route.gauges.bulk.has_room() {
                    return Ok(route.busy(&route.gauges.bulk));
                }
                route.gauges.room.depart(body.size_bytes());
                let (link, shard) = (route.id, route.shard);
                drop(routes);
                let control = self.message_from(from, to);
                let (sender, body) = (sender_key(from), Some(body));
                self.tell(shard, ShardMessage::Forward { link, sender, control, body });
                Ok(Outcome::Sent)
            }
        }
    }

    /// The open link of this shard to a node, if it has a socket.
    pub(crate) fn wire_to(&self, node: &Atom) -> Option<Wire> {
        let routes = self.routes.borrow();
        let entry = routes.get(node)?.link.as_ref()?;
        let link = self.io().handle().link(entry.key()?)?;
        Some(Wire { entry: Rc::clone(entry), link })
    }

    /// Sends over a link of this shard.
    #[inline]
    fn send_over<T: Serialize + ?Sized>(
        self: &Rc<Self>,
        link: &Rc<LinkEntry>,
        from: ProcessId,
        to: DestinationRef<'_>,
        content: Content<'_, T>,
    ) -> Result<Outcome, SendError> {
        let sent = self.io().send_with(link, |state| {
            let control = || self.message_from(from, to);
            state.send_message(sender_key(from), to, content, control)
        });
        match sent {
            Some(Ok(())) => Ok(Outcome::Sent),
            refused => Self::refused(link, refused),
        }
    }

    /// Tries a send until it is accepted, and waits in between: for room, or for the connection.
    #[inline]
    pub(crate) fn poll_send(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        wait: &mut Wait,
        mut send: impl FnMut() -> Result<Outcome, SendError>,
    ) -> Poll<Result<(), SendError>> {
        loop {
            if !matches!(wait, Wait::Nothing) {
                ready!(self.poll_wait(cx, wait))?;
                *wait = Wait::Nothing;
            }
            match send()? {
                Outcome::Sent => return Poll::Ready(Ok(())),
                refused => *wait = self.wait_for(refused),
            }
        }
    }

    /// What a refused send has to wait for.
    #[cold]
    fn wait_for(&self, refused: Outcome) -> Wait {
        match refused {
            Outcome::Sent => Wait::Nothing,
            // The mesh was full, or the socket took everything at once.
            Outcome::Busy { gauge, .. } if gauge.has_room() => Wait::Turn,
            Outcome::Busy { gauge, .. } => Wait::Room { gauge, waits: false },
            Outcome::NoRoute(node) => Wait::Connection(Box::new((
                self.node().auto_connect(&node, Approach::Active),
                node,
            ))),
        }
    }

    /// Ready when a refused send may be tried again.
    #[cold]
    fn poll_wait(&self, cx: &mut Context<'_>, wait: &mut Wait) -> Poll<Result<(), SendError>> {
        match wait {
            Wait::Nothing => Poll::Ready(Ok(())),
            Wait::Turn => {
                cx.waker().wake_by_ref();
                *wait = Wait::Nothing;
                Poll::Pending
            }
            Wait::Room { gauge, waits } => {
                // Whoever wakes means it, room or not: the link may have ended.
                if !std::mem::replace(waits, true) && !gauge.has_room() {
                    gauge.wait(&wake::waker(cx.waker()));
                    // Between the look and the registration the gauge may have changed.
                    if !gauge.has_room() {
                        return Poll::Pending;
                    }
                }
                Poll::Ready(if self.is_stopping() { Err(SendError::Stopped) } else { Ok(()) })
            }
            Wait::Connection(waiting) => {
                let (connected, node) = &mut **waiting;
                if let Err(why) = ready!(Pin::new(connected).poll(cx)) {
                    let (node, why) = (node.clone(), Some(Box::new(why)));
                    return Poll::Ready(Err(SendError::NoConnection { node, why }));
                }
                // The link may have ended again, or the kernel may hear of it only now: without a
                // turn for others this one would ask forever.
                cx.waker().wake_by_ref();
                *wait = Wait::Nothing;
                Poll::Pending
            }
        }
    }

    /// Sends a control signal of a process over a connection, wherever its link is. One whose
    /// connection is gone is dropped: whoever waited for it has been told `noconnection`.
    pub(crate) fn send_control(
        self: &Rc<Self>,
        connection: ConnectionId,
        sender: SenderKey,
        control: Control,
        body: Option<Body>,
    ) {
        let Some((id, shard)) = self.connections.borrow().get(&connection).copied() else { return };
        if shard != self.id {
            self.tell(shard, ShardMessage::Forward { link: id, sender, control, body });
            return;
        }
        let link = self.links.borrow().get(&id).cloned();
        if let Some(link) = link {
            self.send_control_here(&link, sender, control, body);
        }
    }

    /// Sends over a link of this shard; what does not fit waits.
    pub(super) fn send_control_here(
        self: &Rc<Self>,
        link: &Rc<LinkEntry>,
        sender: SenderKey,
        control: Control,
        body: Option<Body>,
    ) {
        if !link.is_open() {
            return;
        }
        let kept = self.io().with(link, |state| state.send_or_keep(sender, control, body));
        match kept {
            Some(Ok(())) => self.io().wrote_later(link),
            Some(Err(BacklogFull)) => {
                self.fail_link(link, "it asks and does not read the answers".to_owned());
            }
            None => {}
        }
    }

    /// Ends a connection because of what its peer does.
    pub(super) fn fail_link(self: &Rc<Self>, link: &Rc<LinkEntry>, why: String) {
        if link.is_lane() {
            let reason = NodeDownReason::Killed(format!("lane {}: {why}", link.id().lane));
            self.tell_kernel(KernelEvent::LaneFailed { link: link.id(), why, reason });
        } else {
            self.close_link(link, NodeDownReason::Killed(why));
        }
    }

    /// The control message of an ordinary message from a process of this shard.
    #[inline]
    fn message_from(&self, from: ProcessId, to: DestinationRef<'_>) -> Control {
        let to = match to {
            DestinationRef::Pid(pid) => WireDestination::Process(pid.clone()),
            DestinationRef::Name(name) | DestinationRef::Remote { name, .. } => {
                WireDestination::Name(name_atom(name))
            }
            DestinationRef::Alias(alias) => WireDestination::Alias(alias.clone()),
        };
        Control::Send { from: Some(self.pid(from)), to, priority: false, token: None }
    }

    /// What a link that did not take a message means to its sender.
    #[cold]
    fn refused(link: &LinkEntry, sent: Option<Sent>) -> Result<Outcome, SendError> {
        let Some(sent) = sent else { return Ok(Outcome::NoRoute(link.node().clone())) };
        match sent {
            Ok(()) => Ok(Outcome::Sent),
            Err(LinkSendError::Busy(busy)) => Ok(Outcome::Busy {
                queued_bytes: busy.queued,
                limit_bytes: busy.limit,
                gauge: Arc::clone(link.gauges().refusing()),
            }),
            Err(LinkSendError::Encode(error)) => Err(error.into()),
            Err(LinkSendError::TooLarge { bytes, limit }) => {
                Err(SendError::TooLarge { bytes, limit_bytes: limit })
            }
            // As in OTP, what the peer did not agree to is dropped.
            Err(error) => {
                tracing::debug!(node = %link.node(), %error, "a message was not sent");
                Ok(Outcome::Sent)
            }
        }
    }
}

impl Shard {
    /// Whether this is the node's present name. As in OTP, that of a node without one names
    /// nobody once it has one.
    pub(super) fn is_here(&self, node: &str) -> bool {
        self.identity.borrow().name.as_str() == node
    }

    /// Delivers to a process of this node.
    #[inline]
    fn send_here<T: Serialize + ?Sized>(
        self: &Rc<Self>,
        from: ProcessId,
        to: DestinationRef<'_>,
        content: Content<'_, T>,
    ) -> Result<Outcome, SendError> {
        let id = match to {
            DestinationRef::Pid(pid) => self.own(pid),
            DestinationRef::Name(name) | DestinationRef::Remote { name, .. } => {
                self.names.borrow().get(name).copied()
            }
            DestinationRef::Alias(alias) => {
                let message = content.message(self, self.sender(from))?;
                self.deliver_to_alias(alias.clone(), Signal::Message(message));
                return Ok(Outcome::Sent);
            }
        };
        match id {
            Some(id) => self.send_to_own(from, id, content),
            None => {
                // Nobody gets it, but what is wrong with it is told all the same.
                content.message(self, self.sender(from))?;
                Ok(Outcome::Sent)
            }
        }
    }

    /// Delivers to one process of this node.
    #[inline]
    pub(crate) fn send_to_own<T: Serialize + ?Sized>(
        self: &Rc<Self>,
        from: ProcessId,
        to: ProcessId,
        content: Content<'_, T>,
    ) -> Result<Outcome, SendError> {
        let shard = usize::from(to.shard);
        if shard != self.id && shard < self.count && !self.io().has_room(shard) {
            let gauge = Arc::clone(&self.queue_room);
            return Ok(Outcome::Busy { queued_bytes: 0, limit_bytes: 0, gauge });
        }
        let message = content.message(self, self.sender(from))?;
        self.deliver(to, Signal::Message(message));
        Ok(Outcome::Sent)
    }
}

/// What keeps the signals of one process in order on a link.
#[inline]
pub(super) fn sender_key(id: ProcessId) -> SenderKey {
    let ProcessNumber { id, serial } = id.number();
    SenderKey::of_numbers(id, serial)
}
