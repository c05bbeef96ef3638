//! The receiving half of a lane: bytes become runs of messages and other signals.

use smallvec::smallvec;

use super::ProcessNumber;
use super::frame::{FLAG_MORE, FLAG_RAW, Form, Header, Layout, kind};
use super::incoming::{Incoming, LaneMessage, Target};
use super::lane_error::LaneError;
use super::limits::LaneLimits;
use super::reassembly::{Opening, Reassembly};
use super::run::{Extent, Run};
use crate::buffer::{Receiver, Slice};
use crate::dist::Control;
use crate::dist::control::{ControlError, Names};
use crate::dist::fragment::Parts;
use crate::dist::header::Atoms;
use crate::link::{Payload, Signal};
use crate::term::{Atom, validate};

/// What a lane knows about what it has received.
#[derive(Debug)]
pub(super) struct Inbox {
    layout: Layout,
    payload_max: u32,
    reassembly: Reassembly,
    /// Bytes of numbered frames that were taken.
    position: u64,
    /// Bytes of other frames.
    unnumbered_bytes: u64,
}

/// What one frame was.
pub(super) enum Taken {
    /// Something for the caller.
    Incoming(Incoming),
    /// The peer has everything before this position.
    Ack(u64),
    /// Nothing that matters now.
    Nothing,
}

impl Inbox {
    pub(super) fn new(layout: Layout, limits: &LaneLimits) -> Inbox {
        Inbox {
            layout,
            payload_max: limits.frame_bytes_max,
            reassembly: Reassembly::new(limits.fragments, limits.term),
            position: 0,
            unnumbered_bytes: 0,
        }
    }

    /// Bytes of numbered frames that were taken: the position stated in acknowledgements.
    #[inline]
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// All bytes that were taken.
    #[inline]
    pub(super) fn received_bytes(&self) -> u64 {
        self.position + self.unnumbered_bytes
    }

    /// Bytes in front of a payload.
    #[inline]
    pub(super) fn header_bytes(&self) -> usize {
        self.layout.header_bytes()
    }

    /// Signals of which fragments are still to come, and the bytes they hold.
    pub(super) fn unfinished(&self) -> (usize, usize) {
        self.reassembly.unfinished()
    }

    /// Gives up memory that is kept for reuse.
    pub(super) fn trim(&mut self) {
        self.reassembly.trim();
    }

    /// Takes the run at the front of the received bytes, if there is one.
    #[inline]
    pub(super) fn take_run(&mut self, receiver: &mut Receiver) -> Option<Run> {
        let payload_max = self.payload_max as usize;
        let limits = self.reassembly.term_limits();
        let extent = Extent::find(receiver.unread(), self.layout, payload_max, limits);
        if extent.count == 0 {
            return None;
        }
        let frames = receiver.take(extent.bytes)?;
        self.position += extent.bytes as u64;
        Some(Run::new(frames, extent, self.layout))
    }

    /// Takes the frame at the front of the received bytes, whatever it is.
    #[inline(never)]
    pub(super) fn take_frame(
        &mut self,
        receiver: &mut Receiver,
        names: Names<'_>,
    ) -> Result<Taken, LaneError> {
        let unread = receiver.unread();
        let header_bytes = self.layout.header_bytes();
        let (Some(header), true) = (unread.first_chunk(), unread.len() >= header_bytes) else {
            receiver.expect(header_bytes);
            return Ok(Taken::Incoming(Incoming::NeedMore(header_bytes)));
        };
        let header = Header::decode(header);
        if header.length > self.payload_max {
            // What a checksum would find is a matter of the connection, not of the peer.
            if self.layout.checksum {
                return Err(LaneError::Checksum { position: self.position });
            }
            let (length, limit) = (header.length, self.payload_max);
            return Err(LaneError::FrameTooLarge { length, limit });
        }
        let len = header_bytes + header.length as usize;
        let Some(frame) = unread.get(..len) else {
            receiver.expect(len);
            return Ok(Taken::Incoming(Incoming::NeedMore(len)));
        };
        if !self.layout.is_intact(frame) {
            return Err(LaneError::Checksum { position: self.position });
        }
        check(&header)?;
        let mut payload = receiver.take(len).unwrap_or_default();
        payload.advance(header_bytes);
        if matches!(header.kind, kind::ACK | kind::TICK) {
            self.unnumbered_bytes += len as u64;
        } else {
            self.position += len as u64;
        }
        self.take_payload(&header, payload, names)
    }

    fn take_payload(
        &mut self,
        header: &Header,
        mut payload: Slice,
        names: Names<'_>,
    ) -> Result<Taken, LaneError> {
        let opening = match header.kind {
            kind::MESSAGE => Opening::Message { to: header.to, form: header.form() },
            kind::NAMED => {
                let name = payload.split_to(usize::from(header.head));
                Opening::Named { name: atom(&name)?, form: header.form() }
            }
            kind::SIGNAL => {
                let head = payload.split_to(usize::from(header.head));
                Opening::Signal(self.control(&head, names)?)
            }
            kind::FRAGMENT => {
                let signal = self.reassembly.go_on(header.from, payload, header.has_more())?;
                return Ok(match signal {
                    Some((opening, parts)) => finish(header.from, opening, parts),
                    None => Taken::Nothing,
                });
            }
            kind::ACK => return Ok(Taken::Ack(header.position())),
            kind::TICK => return Ok(Taken::Nothing),
            kind::HOLD => {
                let (holder, sender) = (header.from, header.to);
                let name = if payload.is_empty() { None } else { Some(atom(&payload)?) };
                return Ok(Taken::Incoming(Incoming::Hold { holder, sender, name }));
            }
            kind::RELEASE => {
                let (holder, sender) = (header.from, header.to);
                return Ok(Taken::Incoming(Incoming::Release { holder, sender }));
            }
            kind::BYE => return Ok(Taken::Incoming(Incoming::Bye(atom(&payload)?))),
            kind => return Err(LaneError::UnknownKind(kind)),
        };
        if let Opening::Signal(control) = &opening
            && !control.has_payload()
            && (!payload.is_empty() || header.has_more())
        {
            let length = payload.len() as u32;
            return Err(LaneError::UnexpectedPayload { kind: header.kind, length });
        }
        if header.has_more() {
            self.reassembly.begin(header.from, opening, payload)?;
            return Ok(Taken::Nothing);
        }
        if header.form() == Form::Term && wants_payload(&opening) {
            if payload.is_empty() {
                return Err(LaneError::MissingPayload);
            }
            let len = validate(&payload, 0, self.reassembly.term_limits())?.len;
            if len < payload.len() {
                return Err(LaneError::PayloadTooLong { extra: payload.len() - len });
            }
        }
        Ok(finish(header.from, opening, smallvec![payload]))
    }

    fn control(&self, head: &[u8], names: Names<'_>) -> Result<Control, LaneError> {
        let decoded = Control::decode(head, &[], names, self.reassembly.term_limits())?;
        if decoded.len < head.len() {
            return Err(LaneError::PayloadTooLong { extra: head.len() - decoded.len });
        }
        // Between these nodes reasons are payloads.
        if decoded.reason.is_some() {
            let operation = head.get(3).copied().unwrap_or_default();
            return Err(LaneError::Control(ControlError::Obsolete { operation }));
        }
        Ok(decoded.control)
    }
}

/// A signal is complete.
fn finish(from: ProcessNumber, opening: Opening, parts: Parts) -> Taken {
    let payload = Payload { parts, atoms: Atoms::NONE };
    Taken::Incoming(match opening {
        Opening::Message { to, form } => {
            Incoming::Message(LaneMessage { from, to: Target::Process(to), form, payload })
        }
        Opening::Named { name, form } => {
            Incoming::Message(LaneMessage { from, to: Target::Name(name), form, payload })
        }
        Opening::Signal(control) => {
            let payload = control.has_payload().then_some(payload);
            Incoming::Signal(Signal { control, payload })
        }
    })
}

fn wants_payload(opening: &Opening) -> bool {
    match opening {
        Opening::Message { .. } | Opening::Named { .. } => true,
        Opening::Signal(control) => control.has_payload(),
    }
}

/// Whether flags and lengths are among those that the kind allows.
fn check(header: &Header) -> Result<(), LaneError> {
    let Header { kind, flags, head, length, .. } = *header;
    let (flags_allowed, head_allowed, payload_allowed) = match kind {
        kind::MESSAGE => (FLAG_RAW | FLAG_MORE, head == 0, true),
        kind::NAMED => (FLAG_RAW | FLAG_MORE, head > 0 && u32::from(head) <= length, true),
        kind::SIGNAL => (FLAG_MORE, head > 0 && u32::from(head) <= length, true),
        kind::FRAGMENT => (FLAG_MORE, head == 0, true),
        kind::ACK | kind::TICK | kind::RELEASE => (0, head == 0, false),
        kind::HOLD | kind::BYE => (0, head == 0, true),
        kind => return Err(LaneError::UnknownKind(kind)),
    };
    if flags & !flags_allowed != 0 {
        return Err(LaneError::Flags { kind, flags });
    }
    if !head_allowed {
        return Err(LaneError::Head { kind, head, length });
    }
    if !payload_allowed && length > 0 {
        return Err(LaneError::UnexpectedPayload { kind, length });
    }
    Ok(())
}

fn atom(text: &[u8]) -> Result<Atom, LaneError> {
    let text = std::str::from_utf8(text).map_err(|_| LaneError::Name)?;
    Atom::new(text).map_err(|_| LaneError::Name)
}
