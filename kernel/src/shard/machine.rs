//! The protocol of a link: OTP's, or that of a lane between two Krarup nodes.

use std::time::Instant;

use krarup_transport::dist::frame::LENGTH_BYTES;
use krarup_transport::dist::{
    Control, Destination as WireDestination, TickAction, TickConfig, Ticker,
};
use krarup_transport::fabric::{Lane, ProcessNumber};
use krarup_transport::link::{
    Busy, Link, LinkCounters, SendError as LinkSendError, SenderKey, WaterMarks,
};
use krarup_transport::shard::WriteSlices;
use serde::Serialize;

use super::content::Sent;
use super::{Body, Content};
use crate::process::DestinationRef;

/// What speaks for a link.
pub(super) enum Machine {
    /// To an OTP node, or one that does without lanes.
    Otp(Link),
    /// One lane of a session.
    Lane(Lane),
}

impl Machine {
    /// Sends an ordinary message; `control` makes the control message that says it to OTP nodes.
    #[inline]
    pub(super) fn send_message<T: Serialize + ?Sized>(
        &mut self,
        sender: SenderKey,
        to: DestinationRef<'_>,
        content: Content<'_, T>,
        control: impl FnOnce() -> Control,
    ) -> Sent {
        let lane = match self {
            Machine::Lane(lane) => lane,
            Machine::Otp(link) => return content.send_over(link, sender, &control()),
        };
        let from = sender.number();
        match to {
            DestinationRef::Pid(pid) if pid.creation == lane.peer_creation() => {
                content.send_to(lane, from, ProcessNumber { id: pid.id, serial: pid.serial })
            }
            // A process of a former life of the node is gone.
            DestinationRef::Pid(_) => Ok(()),
            DestinationRef::Name(name) | DestinationRef::Remote { name, .. } => {
                content.send_named(lane, from, name)
            }
            DestinationRef::Alias(_) => content.send_signal(lane, sender, &control()),
        }
    }

    /// Sends any signal that has its control message already.
    pub(super) fn send_signal(
        &mut self,
        sender: SenderKey,
        control: &Control,
        body: Option<&Body>,
    ) -> Sent {
        let content = body.map(Body::content);
        if let Some(content) = content
            && let Control::Send { to, priority: false, token: None, .. } = control
        {
            let to = match to {
                WireDestination::Process(pid) => DestinationRef::Pid(pid),
                WireDestination::Name(name) => DestinationRef::Name(name.as_str()),
                WireDestination::Alias(alias) => DestinationRef::Alias(alias),
            };
            return self.send_message(sender, to, content, || control.clone());
        }
        match (self, content) {
            (Machine::Otp(link), Some(content)) => content.send_over(link, sender, control),
            (Machine::Lane(lane), Some(content)) => content.send_signal(lane, sender, control),
            (Machine::Otp(link), None) => {
                link.send_from(sender, control, None).map_err(LinkSendError::widen)
            }
            (Machine::Lane(lane), None) => {
                lane.send_signal(sender, control, None).map_err(LinkSendError::widen)
            }
        }
    }

    /// Whether the outbox is at or below its low water mark.
    pub(super) fn has_room(&self) -> bool {
        match self {
            Machine::Otp(link) => link.has_room(),
            Machine::Lane(lane) => lane.has_room(),
        }
    }

    /// Whether the large messages that wait are at or below their low water mark.
    pub(super) fn has_bulk_room(&self) -> bool {
        match self {
            Machine::Otp(link) => link.has_bulk_room(),
            Machine::Lane(lane) => lane.has_bulk_room(),
        }
    }

    /// Whether a message that is not large would be refused now.
    pub(super) fn check_room(&mut self) -> Result<(), Busy> {
        match self {
            Machine::Otp(link) => link.check_room(),
            Machine::Lane(lane) => lane.check_room(),
        }
    }

    /// How many bytes may wait.
    pub(super) fn water_marks(&self) -> WaterMarks {
        match self {
            Machine::Otp(link) => link.water_marks(),
            Machine::Lane(lane) => lane.water_marks(),
        }
    }

    /// Changes how many bytes may wait.
    pub(super) fn set_water_marks(&mut self, marks: WaterMarks) {
        match self {
            Machine::Otp(link) => link.set_water_marks(marks),
            Machine::Lane(lane) => lane.set_water_marks(marks),
        }
    }

    /// Bytes of each part of a large message.
    pub(super) fn fragment_bytes(&self) -> u32 {
        match self {
            Machine::Otp(link) => link.fragment_bytes(),
            Machine::Lane(lane) => lane.fragment_bytes(),
        }
    }

    /// Changes the bytes of each part of a large message.
    pub(super) fn set_fragment_bytes(&mut self, bytes: u32) {
        match self {
            Machine::Otp(link) => link.set_fragment_bytes(bytes),
            Machine::Lane(lane) => lane.set_fragment_bytes(bytes),
        }
    }

    /// Bytes that could be written now.
    #[inline]
    pub(super) fn queued_bytes(&self) -> usize {
        match self {
            Machine::Otp(link) => link.queued_bytes(),
            Machine::Lane(lane) => lane.queued_bytes(),
        }
    }

    /// What is to be written next.
    pub(super) fn io_slices<'a>(&'a mut self, slices: &mut WriteSlices<'a>) {
        match self {
            Machine::Otp(link) => link.io_slices(slices),
            Machine::Lane(lane) => lane.io_slices(slices),
        }
    }

    /// Whether what waits to be written is a tick and nothing else.
    pub(super) fn has_only_a_tick_queued(&mut self) -> bool {
        let mut slices = WriteSlices::new();
        self.io_slices(&mut slices);
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
        // A tick is the length of an empty frame.
        bytes.eq([0; LENGTH_BYTES])
    }

    /// The socket took so many bytes.
    pub(super) fn written(&mut self, bytes: usize) {
        match self {
            Machine::Otp(link) => link.written(bytes),
            Machine::Lane(lane) => lane.written(bytes),
        }
    }

    /// Looks at the connection's life.
    pub(super) fn tick(&mut self, now: Instant) -> TickAction {
        match self {
            Machine::Otp(link) if link.tick_due() <= now => link.tick(now),
            Machine::Lane(lane) if lane.tick_due() <= now => lane.tick(now),
            _ => TickAction::None,
        }
    }

    /// The extra tick of a change of the tick time.
    pub(super) fn auxiliary_tick(&mut self) -> TickAction {
        match self {
            Machine::Otp(link) => link.auxiliary_tick(),
            Machine::Lane(lane) => lane.auxiliary_tick(),
        }
    }

    /// Puts another tick time in force.
    pub(super) fn set_tick_config(&mut self, config: TickConfig, now: Instant) {
        match self {
            Machine::Otp(link) => link.set_tick_config(config, now),
            Machine::Lane(lane) => lane.set_tick_config(config, now),
        }
    }

    /// What is known of the peer's silence.
    pub(super) fn ticker(&self) -> &Ticker {
        match self {
            Machine::Otp(link) => link.ticker(),
            Machine::Lane(lane) => lane.ticker(),
        }
    }

    /// What has gone through.
    pub(super) fn counters(&self) -> LinkCounters {
        match self {
            Machine::Otp(link) => link.counters(),
            Machine::Lane(lane) => lane.counters(),
        }
    }
}
