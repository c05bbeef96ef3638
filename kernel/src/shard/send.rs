//! How a signal leaves a process: into a mailbox here, over a link here, or to another shard.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use krarup_transport::buffer::Slice;
use krarup_transport::dist::{Control, Destination as WireDestination};
use krarup_transport::link::{Outgoing, Payload, SendError as LinkSendError, SenderKey};
use krarup_transport::term::{self, Atom, Creation, Pid, Reference};
use serde::Serialize;

use super::gauge::{Gauge, IN_FLIGHT_BYTES_MAX};
use super::links::BacklogFull;
use super::{LinkEntry, Route, Shard, ShardMessage};
use crate::net_kernel::{ConnectionId, NodeDownReason};
use crate::node::{Encoded, SendError};
use crate::process::yield_once;
use crate::process::{Destination, Message, ProcessId, Signal};

/// An encoded payload on its way out.
pub(crate) type Body = Encoded;

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

/// Where a destination is.
enum Place {
    Here(Here),
    /// Behind a link of this shard.
    Near(Rc<LinkEntry>, WireDestination),
    /// Behind a link of another shard.
    Far(Route, WireDestination),
    Unreachable(Atom),
}

enum Here {
    Process(Pid),
    Name(Atom),
    Alias(Reference),
}

impl Shard {
    /// Encodes `message` straight to where it goes, without waiting.
    #[inline]
    pub(crate) fn send<T: Serialize + ?Sized>(
        self: &Rc<Self>,
        from: ProcessId,
        to: &Destination,
        message: &T,
    ) -> Result<Outcome, SendError> {
        match self.place(to) {
            Place::Near(link, to) => {
                let control = self.message_from(from, to);
                let encode = |buffer: &mut Vec<u8>| term::to_bytes(message, buffer);
                let sender = sender_key(from);
                let sent = self.io().with(&link, |state| {
                    state.for_message()?.try_send_with(sender, &control, encode)
                });
                self.sent_on(&link, sent)
            }
            Place::Here(here) => {
                let mut bytes = Vec::new();
                term::to_bytes(message, &mut bytes)?;
                self.deliver_here(from, here, payload_of([bytes.into()]));
                Ok(Outcome::Sent)
            }
            Place::Far(route, to) => self.forward(from, &route, to, Encoded::new(message)?),
            Place::Unreachable(node) => Ok(Outcome::NoRoute(node)),
        }
    }

    /// As [`Shard::send`], for a message that is encoded already.
    pub(crate) fn try_send_encoded(
        self: &Rc<Self>,
        from: ProcessId,
        to: &Destination,
        message: &Encoded,
    ) -> Result<Outcome, SendError> {
        match self.place(to) {
            Place::Near(link, to) => {
                let control = self.message_from(from, to);
                let outgoing = Outgoing::Chunks(message.chunks.clone());
                let sender = sender_key(from);
                let sent = self.io().with(&link, |state| {
                    state.for_message()?.send_from(sender, &control, Some(outgoing))
                });
                self.sent_on(&link, sent)
            }
            Place::Here(here) => {
                self.deliver_here(from, here, payload_of(message.chunks.iter().cloned()));
                Ok(Outcome::Sent)
            }
            Place::Far(route, to) => self.forward(from, &route, to, message.clone()),
            Place::Unreachable(node) => Ok(Outcome::NoRoute(node)),
        }
    }

    /// Goes on with a send that was refused: waits for room or for the connection.
    pub(crate) async fn send_later<T: Serialize + ?Sized>(
        self: &Rc<Self>,
        from: ProcessId,
        to: &Destination,
        message: &T,
        refused: Outcome,
    ) -> Result<(), SendError> {
        let mut outcome = refused;
        while self.room_for(&outcome).await? {
            outcome = self.send(from, to, message)?;
        }
        Ok(())
    }

    /// Sends a message that is encoded already, waiting as [`Shard::send_later`] does.
    pub(crate) async fn send_encoded(
        self: &Rc<Self>,
        from: ProcessId,
        to: &Destination,
        message: Encoded,
    ) -> Result<(), SendError> {
        let mut outcome = self.try_send_encoded(from, to, &message)?;
        while self.room_for(&outcome).await? {
            outcome = self.try_send_encoded(from, to, &message)?;
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
                self.close_link(link, NodeDownReason::Killed(why));
            }
            None => {}
        }
    }

    /// The control message of an ordinary message from a process of this shard.
    #[inline]
    fn message_from(&self, from: ProcessId, to: WireDestination) -> Control {
        Control::Send { from: Some(self.pid(from)), to, priority: false, token: None }
    }

    fn sent_on<E>(
        self: &Rc<Self>,
        link: &Rc<LinkEntry>,
        sent: Option<Result<(), LinkSendError<E>>>,
    ) -> Result<Outcome, SendError>
    where
        E: Into<SendError> + fmt::Display,
    {
        let Some(sent) = sent else { return Ok(Outcome::NoRoute(link.node().clone())) };
        match sent {
            Ok(()) => {
                self.io().wrote(link);
                Ok(Outcome::Sent)
            }
            Err(LinkSendError::Busy(busy)) => {
                link.gauge().set_full(true);
                // Perhaps the socket takes some of it now.
                self.io().wrote(link);
                Ok(Outcome::Busy {
                    queued_bytes: busy.queued,
                    limit_bytes: busy.limit,
                    gauge: Arc::clone(link.gauge()),
                })
            }
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
    /// Where a destination is, seen from this shard.
    #[inline]
    fn place(&self, to: &Destination) -> Place {
        match to {
            Destination::Name(name) => Place::Here(Here::Name(name.clone())),
            Destination::Pid(pid) => {
                let here = || Here::Process(pid.clone());
                self.place_on(&pid.node, || WireDestination::Process(pid.clone()), here)
            }
            Destination::Remote { name, node } => {
                let here = || Here::Name(name.clone());
                self.place_on(node, || WireDestination::Name(name.clone()), here)
            }
            Destination::Alias(alias) => {
                let here = || Here::Alias(alias.clone());
                self.place_on(&alias.node, || WireDestination::Alias(alias.clone()), here)
            }
        }
    }

    #[inline]
    fn place_on(
        &self,
        node: &Atom,
        there: impl FnOnce() -> WireDestination,
        here: impl FnOnce() -> Here,
    ) -> Place {
        let routes = self.routes.borrow();
        match routes.get(node) {
            // A link that has ended but is not unrouted yet takes nothing more.
            Some(Route { link: Some(link), .. }) if link.is_open() => {
                Place::Near(Rc::clone(link), there())
            }
            Some(Route { link: Some(_), .. }) => Place::Unreachable(node.clone()),
            Some(route) => Place::Far(route.clone(), there()),
            None if self.is_here(node) => Place::Here(here()),
            None => Place::Unreachable(node.clone()),
        }
    }

    fn is_here(&self, node: &Atom) -> bool {
        *node == self.identity.borrow().name || node.as_str() == super::NOBODY
    }

    fn deliver_here(self: &Rc<Self>, from: ProcessId, to: Here, payload: Payload) {
        let message = Signal::Message(Message::new(Some(self.pid(from)), payload));
        match to {
            Here::Process(pid) => {
                if let Some(id) = self.own(&pid) {
                    self.deliver(id, message);
                }
            }
            Here::Name(name) => {
                let id = self.names.borrow().get(&name).copied();
                if let Some(id) = id {
                    self.deliver(id, message);
                }
            }
            Here::Alias(alias) => self.deliver_to_alias(alias, message),
        }
    }

    /// Sends through the mesh to the shard that has the link.
    fn forward(
        self: &Rc<Self>,
        from: ProcessId,
        route: &Route,
        to: WireDestination,
        body: Body,
    ) -> Result<Outcome, SendError> {
        if !route.gauge.has_room() || !self.io().has_room(route.shard) {
            return Ok(Outcome::Busy {
                queued_bytes: route.gauge.in_flight_bytes(),
                limit_bytes: IN_FLIGHT_BYTES_MAX,
                gauge: Arc::clone(&route.gauge),
            });
        }
        route.gauge.depart(body.size_bytes());
        let control = self.message_from(from, to);
        let (sender, body) = (sender_key(from), Some(body));
        self.tell(route.shard, ShardMessage::Forward { link: route.id, sender, control, body });
        Ok(Outcome::Sent)
    }
}

/// What keeps the signals of one process in order on a link.
#[inline]
pub(super) fn sender_key(id: ProcessId) -> SenderKey {
    SenderKey::of(&id.pid(Atom::from_static(""), Creation(0)))
}

fn payload_of(chunks: impl IntoIterator<Item = Bytes>) -> Payload {
    Payload { parts: chunks.into_iter().map(Slice::from).collect(), ..Payload::default() }
}
