//! The links of one shard.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use krarup_transport::dist::Control;
use krarup_transport::fabric::{Epoch, ProcessNumber};
use krarup_transport::link::{Busy, SendError as LinkSendError, SenderKey};
use krarup_transport::shard::{LinkKey, Outbox, Reading, WriteSlices};
use krarup_transport::term::{Atom, Pid};
use serde::Serialize;

use super::bundle::LinkId;
use super::content::Sent;
use super::gauge::{Fullness, Gauges};
use super::hold::Change;
use super::machine::Machine;
use super::{Body, Content, Peer};
use crate::net_kernel::{ConnectionId, NodeDownReason};
use crate::process::DestinationRef;

/// What a link is between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nodes of which one knows no lanes.
    Otp,
    /// Two Krarup nodes.
    Lane,
}

/// What the processes of a shard know of one of its links.
pub(crate) struct LinkEntry {
    id: LinkId,
    node: Atom,
    key: Cell<Option<LinkKey>>,
    gauges: Gauges,
    peer: Rc<Peer>,
    kind: Kind,
    /// Which of a lane's sockets it has, or had last.
    epoch: Cell<Epoch>,
    /// The kernel has said that frames may be read.
    reading: Cell<bool>,
    /// What the driver keeps while the link has a socket: that of a lane that waits for another.
    detached: RefCell<Option<Box<LinkState>>>,
    /// Set once the link ends; nothing is sent over it any more.
    ended: Cell<bool>,
    /// The reason to report instead of the socket's.
    reason: RefCell<Option<Box<NodeDownReason>>>,
}

impl LinkEntry {
    pub(super) fn new(id: LinkId, node: Atom, gauges: Gauges, kind: Kind) -> Self {
        LinkEntry {
            id,
            node,
            key: Cell::new(None),
            gauges,
            peer: Rc::default(),
            kind,
            epoch: Cell::new(Epoch(0)),
            reading: Cell::new(false),
            detached: RefCell::default(),
            ended: Cell::new(false),
            reason: RefCell::default(),
        }
    }

    /// The driver keeps the link's state under this key.
    pub(super) fn set_key(&self, key: LinkKey) {
        self.key.set(Some(key));
    }

    /// The link has no socket any more. Signals can be sent on, as far as its budget goes.
    pub(super) fn detach(&self, state: LinkState) {
        self.key.set(None);
        self.detached.replace(Some(Box::new(state)));
    }

    /// What is kept of a link without a socket, to give it another.
    pub(super) fn take_detached(&self) -> Option<Box<LinkState>> {
        self.detached.take()
    }

    /// Gives `f` what is kept of a link without a socket.
    pub(super) fn with_detached<R>(&self, f: impl FnOnce(&mut LinkState) -> R) -> Option<R> {
        self.detached.borrow_mut().as_deref_mut().map(f)
    }

    /// Whether it can have another socket when the one it has breaks.
    pub(super) fn is_lane(&self) -> bool {
        self.kind == Kind::Lane
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch.get()
    }

    pub(super) fn set_epoch(&self, epoch: Epoch) {
        self.epoch.set(epoch);
    }

    /// Whether frames may be read from a new socket.
    pub(super) fn reading(&self) -> Reading {
        if self.reading.get() { Reading::On } else { Reading::Paused }
    }

    pub(super) fn start_reading(&self) {
        self.reading.set(true);
    }

    pub(super) fn id(&self) -> LinkId {
        self.id
    }

    pub(super) fn connection(&self) -> ConnectionId {
        self.id.connection
    }

    #[inline]
    pub(crate) fn node(&self) -> &Atom {
        &self.node
    }

    #[inline]
    pub(super) fn key(&self) -> Option<LinkKey> {
        self.key.get()
    }

    pub(super) fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// What its pids say of the node at the other end.
    #[inline]
    pub(super) fn peer(&self) -> &Rc<Peer> {
        &self.peer
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        !self.ended.get()
    }

    /// The link is ended from this side, for this reason if it is the first.
    pub(super) fn give_reason(&self, reason: NodeDownReason) {
        self.reason.borrow_mut().get_or_insert_with(|| Box::new(reason));
    }

    /// Why it was ended from this side, if it was.
    pub(super) fn take_reason(&self) -> Option<NodeDownReason> {
        self.reason.take().map(|reason| *reason)
    }

    /// Nothing is sent any more; whoever waits for room looks again and finds no route.
    pub(super) fn end(&self) {
        self.ended.set(true);
        self.key.set(None);
        self.detached.take();
        self.gauges.room.wake_all();
        self.gauges.bulk.wake_all();
    }
}

/// What the driver keeps for a link: the protocol machine, and what did not fit into it.
pub(crate) struct LinkState {
    pub(super) entry: Rc<LinkEntry>,
    pub(super) machine: Machine,
    /// What other shards sent, and answers, while the outbox was full. Messages in it are bounded
    /// by the gauge, answers by what the peer asked.
    backlog: VecDeque<(SenderKey, Control, Option<Body>)>,
    backlog_bytes: usize,
    /// Bytes of an incomplete frame, which were counted when they came.
    unread_bytes: usize,
    /// When something was last seen to have come, and how much had by then.
    last_byte: Instant,
    seen_bytes: u64,
    /// How much had come when the lane was given its socket.
    attached_bytes: u64,
    /// Frames whose checksum was wrong.
    pub(super) checksum_errors: u64,
    fullness: Fullness,
}

/// Answers that may wait because a peer asks and does not read; beyond it the link is ended.
const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// A peer asked for so many answers without reading them that its link must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BacklogFull;

impl LinkState {
    pub(super) fn new(entry: Rc<LinkEntry>, machine: Machine, now: Instant) -> Self {
        LinkState {
            entry,
            machine,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            unread_bytes: 0,
            last_byte: now,
            seen_bytes: 0,
            attached_bytes: 0,
            checksum_errors: 0,
            fullness: Fullness::default(),
        }
    }

    /// When the last byte came, as far as looks at it now and then can tell.
    pub(super) fn last_byte(&mut self, now: Instant) -> Instant {
        let received_bytes = self.machine.counters().received_bytes;
        if received_bytes != self.seen_bytes {
            self.seen_bytes = received_bytes;
            self.last_byte = now;
        }
        self.last_byte
    }

    /// The lane has another socket from now on.
    pub(super) fn attached(&mut self, now: Instant) {
        self.last_byte = now;
        self.seen_bytes = self.machine.counters().received_bytes;
        self.attached_bytes = self.seen_bytes;
    }

    /// Whether the lane's socket has brought anything.
    pub(super) fn brought_bytes(&self) -> bool {
        self.machine.counters().received_bytes > self.attached_bytes
    }

    /// Counts what has come since the last call: the peer lives.
    pub(super) fn note_arrival(&mut self, unread_bytes: usize) {
        // A lane counts by itself.
        if let Machine::Otp(link) = &mut self.machine {
            link.note_received(unread_bytes.saturating_sub(self.unread_bytes));
        }
        self.unread_bytes = 0;
    }

    /// So many bytes wait for the rest of their frame.
    pub(super) fn keep_unread(&mut self, bytes: usize) {
        self.unread_bytes = bytes;
    }

    /// Sends, or keeps until there is room.
    pub(super) fn send_or_keep(
        &mut self,
        sender: SenderKey,
        control: Control,
        body: Option<Body>,
    ) -> Result<(), BacklogFull> {
        if self.backlog.is_empty() && self.try_send(sender, &control, body.as_ref()) {
            // Other shards look before they send another large message.
            if !self.machine.has_bulk_room() {
                self.entry.gauges.bulk.set_full(true);
                self.note_fullness();
            }
            return Ok(());
        }
        self.entry.gauges.room.set_full(true);
        self.note_fullness();
        self.backlog_bytes += kept_bytes(body.as_ref());
        self.backlog.push_back((sender, control, body));
        if self.backlog_bytes > BACKLOG_BYTES_MAX { Err(BacklogFull) } else { Ok(()) }
    }

    /// Sends an ordinary message. It is refused while signals wait, since one of the same sender
    /// may be among them. After a refusal the gauge tells when there is room.
    #[inline]
    pub(super) fn send_message<T: Serialize + ?Sized>(
        &mut self,
        sender: SenderKey,
        to: DestinationRef<'_>,
        content: Content<'_, T>,
        control: impl FnOnce() -> Control,
    ) -> Sent {
        let sent = if self.backlog.is_empty() {
            self.machine.send_message(sender, to, content, control)
        } else {
            let (queued, limit) = (self.backlog_bytes, BACKLOG_BYTES_MAX);
            Err(LinkSendError::Busy(Busy { queued, limit }))
        };
        if let Err(LinkSendError::Busy(_)) = sent {
            self.note_refusal();
        }
        sent
    }

    /// A message was refused: for what its sender has to wait.
    #[cold]
    fn note_refusal(&mut self) {
        let Gauges { room, bulk } = self.entry.gauges();
        let refuses_all = !self.backlog.is_empty() || self.machine.check_room().is_err();
        if refuses_all {
            room.set_full(true)
        } else {
            bulk.set_full(true)
        }
        self.note_fullness();
    }

    /// How long the link was full for another message, large ones among them, and how often.
    pub(super) fn fullness(&self, now: Instant) -> (Duration, u64) {
        self.fullness.read(now)
    }

    #[inline]
    fn note_fullness(&mut self) {
        self.fullness.note(self.entry.gauges.is_any_full());
    }

    /// Sends a message to a process over a lane. False when this is none, or does not take it now.
    #[inline]
    pub(super) fn send_to<T: Serialize + ?Sized>(
        &mut self,
        from: ProcessNumber,
        to: &Pid,
        content: Content<'_, T>,
    ) -> bool {
        match &mut self.machine {
            Machine::Lane(lane)
                if self.backlog.is_empty() && lane.peer_creation() == to.creation =>
            {
                let to = ProcessNumber { id: to.id, serial: to.serial };
                content.send_to(lane, from, to).is_ok()
            }
            _ => false,
        }
    }

    /// Tells the peer of a hold, if it knows what that is.
    pub(super) fn tell_hold(
        &mut self,
        holder: ProcessNumber,
        sender: ProcessNumber,
        change: &Change,
    ) -> Result<(), Busy> {
        match (&mut self.machine, change) {
            (Machine::Otp(_), _) => Ok(()),
            (Machine::Lane(lane), Change::Hold(name)) => lane.hold(holder, sender, name.as_ref()),
            (Machine::Lane(lane), Change::Release) => lane.release(holder, sender),
        }
    }

    /// False when there is no room. What cannot be sent at all is dropped, as OTP does with
    /// signals that the peer did not agree to.
    fn try_send(&mut self, sender: SenderKey, control: &Control, body: Option<&Body>) -> bool {
        match self.machine.send_signal(sender, control, body) {
            Ok(()) => true,
            Err(LinkSendError::Busy(_)) => false,
            Err(error) => {
                tracing::debug!(node = %self.entry.node, %error, "a signal was not sent");
                true
            }
        }
    }

    /// Moves what waited into the outbox, and tells the senders when there is room again.
    pub(super) fn make_room(&mut self) {
        let (has_room, has_bulk_room) = (self.machine.has_room(), self.machine.has_bulk_room());
        if has_bulk_room {
            self.entry.gauges.bulk.set_full(false);
        }
        while let Some((sender, control, body)) = self.backlog.pop_front() {
            // Signals that are no messages have a reserve, and need not wait for the low mark.
            let may_go = has_room || !control.is_message();
            if !may_go || !self.try_send(sender, &control, body.as_ref()) {
                self.backlog.push_front((sender, control, body));
                return;
            }
            self.backlog_bytes -= kept_bytes(body.as_ref());
        }
        if has_room {
            self.entry.gauges.room.set_full(false);
        }
        self.note_fullness();
    }
}

fn kept_bytes(body: Option<&Body>) -> usize {
    size_of::<Control>() + body.map_or(0, Body::size_bytes)
}

impl Outbox for LinkState {
    #[inline]
    fn queued_bytes(&self) -> usize {
        self.machine.queued_bytes()
    }

    #[inline]
    fn has_queued(&self, bytes: usize) -> bool {
        match &self.machine {
            Machine::Otp(link) => link.queued_bytes() >= bytes,
            // Also what it may not write now, which does not matter here.
            Machine::Lane(lane) => lane.waiting_bytes() >= bytes,
        }
    }

    fn gather<'a>(&'a mut self, slices: &mut WriteSlices<'a>) {
        self.machine.io_slices(slices);
    }

    fn written(&mut self, bytes: usize) {
        self.machine.written(bytes);
        self.make_room();
    }
}

#[cfg(test)]
mod tests {
    use krarup_transport::dist::{Destination, ProcessOrName};
    use krarup_transport::handshake::Flags;
    use krarup_transport::link::{Link, LinkConfig};
    use krarup_transport::term::{Creation, Reference};

    use super::*;

    fn pid(node: &'static str) -> Pid {
        Pid { node: Atom::from_static(node), id: 1, serial: 1, creation: Creation(4) }
    }

    #[test]
    fn a_link_is_small() {
        assert!(size_of::<LinkState>() <= 928, "{} bytes", size_of::<LinkState>());
        assert!(size_of::<LinkEntry>() <= 120, "{} bytes", size_of::<LinkEntry>());
    }

    #[test]
    fn a_message_waits_behind_the_backlog() {
        let (local, peer) = (Atom::from_static("a@h"), Atom::from_static("b@h"));
        let mut config = LinkConfig::new(Flags::ours(true), local, peer.clone());
        config.limits.outbox_bytes_max = 1;
        config.limits.outbox_reserve_bytes = 0;
        let gauges = Gauges::new();
        let id = LinkId { connection: ConnectionId(1), lane: 0 };
        let entry = Rc::new(LinkEntry::new(id, peer, gauges.clone(), Kind::Otp));
        let now = Instant::now();
        let mut state = LinkState::new(entry, Machine::Otp(Link::new(config, now)), now);
        let message = |state: &mut LinkState| {
            let to = pid("b@h");
            let content = Content::<()>::Raw(b"x");
            let control = || Control::Send {
                from: Some(pid("a@h")),
                to: Destination::Process(pid("b@h")),
                priority: false,
                token: None,
            };
            state.send_message(SenderKey::NODE, DestinationRef::Pid(&to), content, control)
        };
        for word in [1, 2] {
            let reference = Reference::new(Atom::from_static("a@h"), Creation(4), &[word]);
            let demonitor = Control::Demonitor {
                from: pid("a@h"),
                to: ProcessOrName::Process(pid("b@h")),
                reference: reference.expect("one word"),
            };
            assert_eq!(state.send_or_keep(SenderKey::NODE, demonitor, None), Ok(()));
        }
        assert!(
            matches!(message(&mut state), Err(LinkSendError::Busy(_))),
            "the second signal waits"
        );
        assert!(!gauges.room.has_room());
        while state.queued_bytes() > 0 {
            let bytes = state.queued_bytes();
            // What was queued first is written; the backlog follows it into the outbox.
            let mut slices = WriteSlices::new();
            state.gather(&mut slices);
            drop(slices);
            state.written(bytes);
        }
        assert!(gauges.room.has_room());
        assert_eq!(message(&mut state), Ok(()));
    }
}
