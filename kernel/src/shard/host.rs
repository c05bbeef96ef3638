//! What the driver calls when something arrives, and how the shard reaches the driver.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use krarup_transport::buffer::{Receiver, Slice};
use krarup_transport::dist::frame::LENGTH_BYTES;
use krarup_transport::dist::{FrameReader, Front, TickAction};
use krarup_transport::fabric::{Incoming, LaneError};
use krarup_transport::link::{LinkError, PlainMessage, Signal};
use krarup_transport::shard::{DriverConfig, End, Full, Handle, Host, LinkKey, Origin, ShardId};
use krarup_transport::term::{Atom, Creation};

use super::hold::Change;
use super::links::LinkState;
use super::machine::Machine;
use super::{LinkEntry, Shard, ShardMessage};
use crate::net_kernel::NodeDownReason;

/// Links that every tick of the shard's clock looks at. With many more of them each has its turn more
/// rarely, at least once in [`TICKS_FOR_ALL_LINKS_MAX`]: a clock that looked at ten thousand idle
/// links ten times a second would take a hundredth of a processor.
const LINKS_PER_TICK_MIN: usize = 64;

/// Most ticks of the clock until a link has had its turn.
const TICKS_FOR_ALL_LINKS_MAX: usize = 10;

/// The node's side of a shard's driver.
pub(crate) struct ShardHost(pub(super) Rc<Shard>);

/// What one frame of an OTP link held.
enum Taken {
    Plain(PlainMessage, Slice),
    Other(Result<Option<Signal>, LinkError>),
}

/// Why the bytes of a link were refused.
#[derive(Debug)]
pub(crate) enum Refused {
    Link(LinkError),
    Lane(LaneError),
    /// The peer ended the session, for this reason.
    Bye(Atom),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Link(error) => error.fmt(f),
            Refused::Lane(error) => error.fmt(f),
            Refused::Bye(reason) => write!(f, "the peer ended the session: {reason}"),
        }
    }
}

impl Host for ShardHost {
    type Link = LinkState;
    type Message = ShardMessage;
    type Error = Refused;

    fn received(
        &self,
        handle: &Handle<Self>,
        key: LinkKey,
        inbox: &mut Receiver,
    ) -> Result<(), Refused> {
        let start = handle.with_link(key, |state| {
            state.note_arrival(inbox.unread().len());
            let reader = match &state.machine {
                Machine::Otp(link) => Some(link.frame_reader()),
                Machine::Lane(_) => None,
            };
            (reader, Rc::clone(&state.entry))
        });
        match start {
            Some((Some(reader), entry)) => self.frames(handle, key, inbox, reader, &entry),
            Some((None, entry)) => self.lane(handle, key, inbox, &entry),
            None => Ok(()),
        }
    }

    fn ended(&self, _: &Handle<Self>, _: LinkKey, mut state: LinkState, end: End<Refused>) {
        if state.entry.is_lane() {
            self.0.lane_ended(state, end);
            return;
        }
        let cause = cause(end, state.machine.has_only_a_tick_queued());
        self.0.link_ended(&state.entry, cause);
    }

    fn message(&self, _: &Handle<Self>, _: Origin, message: ShardMessage) {
        self.0.handle(message);
    }

    fn tick(&self, handle: &Handle<Self>, now: Instant) {
        self.0.settle_mailboxes();
        let mut keys = self.0.ticked.take();
        let links = handle.links().div_ceil(self.0.ticks_for_all_links()).max(LINKS_PER_TICK_MIN);
        handle.next_keys(links, &self.0.tick_cursor, &mut keys);
        for key in keys.drain(..) {
            let looked = handle.with_link(key, |state| {
                let silent = state.machine.ticker().silent_intervals();
                let action = state.machine.tick(now);
                state.last_byte(now);
                let ticker = state.machine.ticker();
                if ticker.silent_intervals() > silent && ticker.begins_last_quarter() {
                    warn_of_silence(state);
                }
                // What a lane has received is stated to the peer at the latest now.
                let states = match &mut state.machine {
                    Machine::Otp(_) => false,
                    Machine::Lane(lane) => lane.acknowledge(),
                };
                (action, states)
            });
            match looked {
                Some((TickAction::Dead, _)) => self.0.link_silent(key),
                Some((TickAction::Send, _) | (TickAction::None, true)) => handle.send_soon(key),
                Some((TickAction::None, false)) | None => {}
            }
        }
        self.0.ticked.replace(keys);
    }

    fn run_ready(&self, _: &Handle<Self>) {
        self.0.run_ready();
    }

    fn flush(&self, _: &Handle<Self>) {
        self.0.io().retry();
    }
}

/// Why a link ended that nobody here ended; `ticks` says that all it had to write was a tick.
fn cause(end: End<Refused>, ticks: bool) -> NodeDownReason {
    match end {
        End::Closed => NodeDownReason::ConnectionClosed,
        End::Unwritable(error) if ticks => NodeDownReason::SendNetTickFailed(error.to_string()),
        End::Failed(error) | End::Unwritable(error) => NodeDownReason::Socket(error.to_string()),
        End::Refused(Refused::Link(LinkError::FrameTooLarge(_))) => NodeDownReason::Emsgsize,
        End::Refused(error) => NodeDownReason::Killed(error.to_string()),
        End::Panicked(panicked) => NodeDownReason::Shutdown(panicked.to_string()),
    }
}

impl Shard {
    /// In how many ticks of the clock all links are looked at: within a quarter of the time between
    /// two ticks on the wire.
    fn ticks_for_all_links(&self) -> usize {
        let clock = DriverConfig::default().tick;
        // Those of lanes are shorter.
        let tick = self.tick_config.get().halved();
        let ticks = tick.interval().as_nanos() / (4 * clock.as_nanos());
        usize::try_from(ticks).unwrap_or(usize::MAX).clamp(1, TICKS_FOR_ALL_LINKS_MAX)
    }
}

/// Says that a peer is about to be given up, while there is time to see why. A silent lane is only
/// given another connection.
fn warn_of_silence(state: &LinkState) {
    let node = state.entry.node();
    let silent = state.machine.ticker().silent_intervals();
    let ticktime = state.machine.ticker().config().ticktime();
    if state.entry.is_lane() {
        tracing::info!(%node, silent, ?ticktime, "a lane is silent, and gets another connection soon");
    } else {
        tracing::warn!(%node, silent, ?ticktime, "a node is silent, and down after one more quarter of the tick time");
    }
}

impl ShardHost {
    /// Takes the frames of an OTP link.
    fn frames(
        &self,
        handle: &Handle<Self>,
        key: LinkKey,
        inbox: &mut Receiver,
        reader: FrameReader,
        entry: &Rc<LinkEntry>,
    ) -> Result<(), Refused> {
        loop {
            match reader.front(inbox.unread()) {
                Front::Frame(bytes) => {
                    inbox.skip(LENGTH_BYTES);
                    let Some(frame) = inbox.take(bytes) else { return Ok(()) };
                    // Nearly every frame is a plain message, and those are taken without building
                    // a signal.
                    let taken = handle.with_link(key, |state| match &mut state.machine {
                        Machine::Otp(link) => match link.receive_plain(&frame) {
                            Some(message) => Taken::Plain(message, frame),
                            None => Taken::Other(link.receive(frame)),
                        },
                        Machine::Lane(_) => unreachable!("a link stays of its kind"),
                    });
                    match taken {
                        Some(Taken::Plain(message, frame)) => {
                            self.0.received_plain(entry, message, frame);
                        }
                        Some(Taken::Other(Ok(Some(signal)))) => self.0.received(entry, signal),
                        Some(Taken::Other(Ok(None))) => {}
                        Some(Taken::Other(Err(error))) => return Err(Refused::Link(error)),
                        // A signal that was just handled ended the link.
                        None => return Ok(()),
                    }
                }
                Front::Tick => inbox.skip(LENGTH_BYTES),
                Front::NeedMore(bytes) => {
                    let left = inbox.unread().len();
                    handle.with_link(key, |state| state.keep_unread(left));
                    inbox.expect(bytes);
                    return Ok(());
                }
                Front::TooLarge(error) => {
                    return Err(Refused::Link(LinkError::FrameTooLarge(error)));
                }
            }
        }
    }

    /// Takes what a lane brought.
    fn lane(
        &self,
        handle: &Handle<Self>,
        key: LinkKey,
        inbox: &mut Receiver,
        entry: &Rc<LinkEntry>,
    ) -> Result<(), Refused> {
        let mut known = None;
        loop {
            let mut creation = Creation(0);
            let incoming = handle.with_link(key, |state| {
                let Machine::Lane(lane) = &mut state.machine else {
                    unreachable!("a link stays of its kind");
                };
                creation = lane.peer_creation();
                lane.receive(inbox)
            });
            // A signal that was just handled may have ended the link.
            let Some(incoming) = incoming else { return Ok(()) };
            // Ticks are from nobody.
            let node = || entry.peer().identity(entry.node(), creation);
            match incoming.map_err(Refused::Lane)? {
                Incoming::Run(run) => self.0.received_run(known.get_or_insert_with(node), run),
                Incoming::Message(message) => {
                    self.0.received_message(known.get_or_insert_with(node), message);
                }
                Incoming::Signal(signal) => self.0.received(entry, signal),
                Incoming::Hold { holder, sender, name } => {
                    self.0.held_by_peer(&node(), holder, sender, Change::Hold(name));
                }
                Incoming::Release { holder, sender } => {
                    self.0.held_by_peer(&node(), holder, sender, Change::Release);
                }
                Incoming::Bye(reason) => return Err(Refused::Bye(reason)),
                Incoming::NeedMore(_) => break,
            }
        }
        // Acknowledgements made room, and there may be one to write.
        let pending = handle.with_link(key, |state| {
            state.make_room();
            state.machine.queued_bytes() > 0
        });
        if pending == Some(true) {
            handle.send_soon(key);
        }
        Ok(())
    }
}

/// How the shard uses its driver.
pub(crate) struct ShardIo {
    handle: Handle<ShardHost>,
    /// What did not fit into the mesh, by target. While anything is here the shard reads no link,
    /// so that it cannot grow by more than what was read already.
    overflow: RefCell<Vec<VecDeque<ShardMessage>>>,
}

impl ShardIo {
    pub(super) fn new(handle: Handle<ShardHost>) -> Self {
        let overflow = (0..handle.shards()).map(|_| VecDeque::new()).collect();
        ShardIo { handle, overflow: RefCell::new(overflow) }
    }

    pub(super) fn handle(&self) -> &Handle<ShardHost> {
        &self.handle
    }

    /// Whether a message to that shard would not have to wait.
    pub(super) fn has_room(&self, shard: usize) -> bool {
        self.overflow.borrow().get(shard).is_some_and(VecDeque::is_empty)
    }

    /// Puts a message into the queue to another shard, in order.
    pub(super) fn tell(&self, shard: usize, message: ShardMessage) {
        let mut overflow = self.overflow.borrow_mut();
        let (Some(waiting), Some(to)) = (overflow.get_mut(shard), ShardId::at(shard)) else {
            return;
        };
        if waiting.is_empty() {
            match self.handle.push(to, message) {
                Ok(()) => return,
                Err(Full(message)) => waiting.push_back(message),
            }
        } else {
            waiting.push_back(message);
        }
        self.handle.pause_all(true);
    }

    /// Tries again what did not fit.
    fn retry(&self) {
        if !self.handle.is_all_paused() {
            return;
        }
        let mut overflow = self.overflow.borrow_mut();
        for (shard, waiting) in overflow.iter_mut().enumerate() {
            let Some(to) = ShardId::at(shard) else { continue };
            while let Some(message) = waiting.pop_front() {
                if let Err(Full(message)) = self.handle.push(to, message) {
                    waiting.push_front(message);
                    break;
                }
            }
        }
        if overflow.iter().all(VecDeque::is_empty) {
            self.handle.pause_all(false);
        }
    }

    /// Something was queued on a link from outside a process's turn.
    pub(super) fn wrote_later(&self, link: &LinkEntry) {
        if let Some(key) = link.key() {
            self.handle.send_soon(key);
        }
    }

    /// What is kept for a link, with a socket or without; nothing when the link is gone.
    #[inline]
    pub(super) fn with<R>(
        &self,
        link: &LinkEntry,
        f: impl FnOnce(&mut LinkState) -> R,
    ) -> Option<R> {
        match link.key() {
            Some(key) => self.handle.with_link(key, f),
            None => link.with_detached(f),
        }
    }

    /// As [`ShardIo::with`], and sends what `f` queued.
    #[inline]
    pub(super) fn send_with<R>(
        &self,
        link: &LinkEntry,
        f: impl FnOnce(&mut LinkState) -> R,
    ) -> Option<R> {
        match link.key() {
            Some(key) => self.handle.link(key)?.send_with(f),
            None => link.with_detached(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use krarup_transport::shard::Panicked;

    use super::*;

    const EPIPE: i32 = 32;

    fn said(end: End<Refused>, ticks: bool) -> String {
        cause(end, ticks).to_string()
    }

    #[test]
    fn the_end_of_a_link_says_whose_fault_it_was() {
        let broken = || io::Error::from_raw_os_error(EPIPE);
        assert_eq!(said(End::Closed, true), "connection_closed");
        assert!(said(End::Failed(broken()), true).starts_with("connection_closed (Broken pipe"));
        assert!(said(End::Unwritable(broken()), false).starts_with("connection_closed (Broken"));
        assert!(said(End::Unwritable(broken()), true).starts_with("send_net_tick_failed (Broken"));
        let refused = End::Refused(Refused::Link(LinkError::MissingPayload));
        assert!(said(refused, false).starts_with("killed (a control message"));
        // This node's own fault is not the peer's.
        let panicked = Panicked { message: "why".to_owned() };
        assert_eq!(said(End::Panicked(panicked), false), "shutdown (panicked: why)");
    }
}
