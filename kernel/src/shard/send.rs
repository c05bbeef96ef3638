//! How a signal leaves a process: into a mailbox here, over a link here, or to another shard.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use krarup_transport::dist::{Control, Destination as WireDestination};
use krarup_transport::fabric::ProcessNumber;
use krarup_transport::link::{SendError as LinkSendError, SenderKey};
use krarup_transport::term::Atom;
use serde::Serialize;

use super::content::Sent;
use super::gauge::{Gauge, IN_FLIGHT_BYTES_MAX};
use super::links::BacklogFull;
use super::{Body, Content, KernelEvent, LinkEntry, Shard, ShardMessage};
use crate::net_kernel::{ConnectionId, NodeDownReason};
use crate::node::SendError;
use crate::process::{DestinationRef, Identity, ProcessId, Signal, name_atom, yield_once};

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
        let node = match to {
            DestinationRef::Pid(pid) => pid.node.as_str(),
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
            None if !route.gauge.has_room() || !self.io().has_room(route.shard) => {
                Ok(Outcome::Busy {
                    queued_bytes: route.gauge.in_flight_bytes(),
                    limit_bytes: IN_FLIGHT_BYTES_MAX,
                    gauge: Arc::clone(&route.gauge),
                })
            }
            None => {
                let body = content.body(self)?;
                route.gauge.depart(body.size_bytes());
                let (link, shard) = (route.id, route.shard);
                drop(routes);
                let control = self.message_from(from, to);
                let (sender, body) = (sender_key(from), Some(body));
                self.tell(shard, ShardMessage::Forward { link, sender, control, body });
                Ok(Outcome::Sent)
            }
        }
    }

    /// The open link of this shard to a node.
    pub(crate) fn link_to(&self, node: &Atom) -> Option<Rc<LinkEntry>> {
        let routes = self.routes.borrow();
        let link = routes.get(node)?.link.as_ref()?;
        link.is_open().then(|| Rc::clone(link))
    }

    /// Sends over a link of this shard.
    #[inline]
    pub(crate) fn send_over<T: Serialize + ?Sized>(
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

    /// Goes on with a send that was refused: waits for room or for the connection.
    pub(crate) async fn send_later<T: Serialize + ?Sized>(
        self: &Rc<Self>,
        from: ProcessId,
        to: DestinationRef<'_>,
        content: Content<'_, T>,
        refused: Outcome,
    ) -> Result<(), SendError> {
        let mut outcome = refused;
        while self.room_for(&outcome).await? {
            outcome = self.send(from, to, content)?;
        }
        Ok(())
    }

    /// Waits until a refused send may be tried again; false when it was not refused.
    async fn room_for(self: &Rc<Self>, outcome: &Outcome) -> Result<bool, SendError> {
        match outcome {
            Outcome::Sent => Ok(false),
            Outcome::Busy { gauge, .. } if gauge.has_room() => {
                // The mesh was full, or the socket took everything at once.
                yield_once().await;
                Ok(true)
            }
            Outcome::Busy { gauge, .. } => {
                let mut woken = false;
                poll_fn(|cx| {
                    if woken || gauge.has_room() {
                        return Poll::Ready(());
                    }
                    gauge.wait(cx.waker());
                    // Whoever wakes means it, room or not: the link may have ended.
                    woken = true;
                    // Between the look and the registration the gauge may have changed.
                    if gauge.has_room() { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                if self.is_stopping() { Err(SendError::Stopped) } else { Ok(true) }
            }
            Outcome::NoRoute(node) => {
                if self.node().auto_connect(node).await {
                    Ok(true)
                } else {
                    Err(SendError::NoConnection { node: node.clone() })
                }
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
                let why = "it asks and does not read the answers".to_owned();
                if link.is_lane() {
                    self.tell_kernel(KernelEvent::LaneFailed { link: link.id(), why });
                } else {
                    self.close_link(link, NodeDownReason::Killed(why));
                }
            }
            None => {}
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
                gauge: Arc::clone(link.gauge()),
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
    fn is_here(&self, node: &str) -> bool {
        self.identity.borrow().name.as_str() == node || node == Identity::NOBODY
    }

    /// Delivers to a process of this node.
    #[inline]
    fn send_here<T: Serialize + ?Sized>(
        self: &Rc<Self>,
        from: ProcessId,
        to: DestinationRef<'_>,
        content: Content<'_, T>,
    ) -> Result<Outcome, SendError> {
        let message = Signal::Message(content.message(self, self.sender(from))?);
        match to {
            DestinationRef::Pid(pid) => {
                if let Some(id) = self.own(pid) {
                    self.deliver(id, message);
                }
            }
            DestinationRef::Name(name) | DestinationRef::Remote { name, .. } => {
                let id = self.names.borrow().get(name).copied();
                if let Some(id) = id {
                    self.deliver(id, message);
                }
            }
            DestinationRef::Alias(alias) => self.deliver_to_alias(alias.clone(), message),
        }
        Ok(Outcome::Sent)
    }
}

/// What keeps the signals of one process in order on a link.
#[inline]
pub(super) fn sender_key(id: ProcessId) -> SenderKey {
    let ProcessNumber { id, serial } = id.number();
    SenderKey::of_numbers(id, serial)
}
