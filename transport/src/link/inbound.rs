//! The receiving half of a link: frames become signals.

use smallvec::smallvec;

use super::plain::{PlainMessage, PlainPid};
use super::{LinkError, Payload, Signal};
use crate::buffer::Slice;
use crate::dist::control::{Control, Names, PlainSend, Reason};
use crate::dist::fragment::{
    Assembled, Assembler, FRAGMENT_HEADER_BYTES, FragmentIds, FragmentLimits,
};
use crate::dist::frame::{FRAGMENT_CONTINUATION, FRAGMENT_START, NORMAL_HEADER, Shape, VERSION};
use crate::dist::header::{Atoms, HeaderReader};
use crate::term::{self, Limits};

/// What a connection knows about what has been received.
#[derive(Debug)]
pub(super) struct Inbound {
    shape: Shape,
    fragments: bool,
    header: HeaderReader,
    assembler: Assembler<Head>,
}

/// What is kept of a fragmented message until its last fragment comes.
#[derive(Debug)]
struct Head {
    control: Control,
    /// The atoms of the start frame's header.
    atoms: Atoms,
    /// The reason, if the control message holds it.
    reason: Option<Payload>,
}

impl Inbound {
    pub(super) fn new(
        shape: Shape,
        fragments: bool,
        fragment_limits: FragmentLimits,
        limits: Limits,
    ) -> Inbound {
        let assembler = Assembler::new(fragment_limits, limits);
        Inbound { shape, fragments, header: HeaderReader::new(), assembler }
    }

    /// Messages of which fragments are still to come, and the bytes they hold.
    pub(super) fn unfinished(&self) -> (usize, usize) {
        (self.assembler.open_sequences(), self.assembler.open_bytes())
    }

    /// Gives up memory that is kept for reuse.
    pub(super) fn trim(&mut self) {
        self.assembler.trim();
    }

    /// Takes the body of one frame, which is not empty.
    #[inline]
    pub(super) fn receive(
        &mut self,
        frame: Slice,
        names: Names<'_>,
    ) -> Result<Option<Signal>, LinkError> {
        match (self.shape, frame.as_slice()) {
            (Shape::PlainHeader, [VERSION, NORMAL_HEADER, rest @ ..]) => {
                let header = self.header.read_plain(rest)?;
                self.whole(frame, 2 + header, names)
            }
            (Shape::CachedHeader, [VERSION, NORMAL_HEADER, rest @ ..]) => {
                let header = self.header.read(rest)?;
                self.whole(frame, 2 + header, names)
            }
            // OTP does not look at the first byte here, so neither do we.
            (Shape::PassThrough, [_, VERSION, ..]) => self.whole(frame, 2, names),
            (Shape::PlainHeader | Shape::CachedHeader, [VERSION, FRAGMENT_START, ..])
                if self.fragments =>
            {
                self.start(frame, names)
            }
            (Shape::PlainHeader | Shape::CachedHeader, [VERSION, FRAGMENT_CONTINUATION, ..])
                if self.fragments =>
            {
                self.continuation(frame)
            }
            (_, bytes) => {
                let mut first = [0; 2];
                first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                Err(LinkError::WrongShape { first, len: bytes.len() })
            }
        }
    }

    /// What a frame says if it is a plain message between the two nodes; see
    /// [`Link::receive_plain`](super::Link::receive_plain).
    #[inline]
    pub(super) fn receive_plain(&self, frame: &[u8], names: Names<'_>) -> Option<PlainMessage> {
        let control_at = match (self.shape, frame) {
            (Shape::PlainHeader, [VERSION, NORMAL_HEADER, 0, ..]) => 3,
            (Shape::CachedHeader, [VERSION, NORMAL_HEADER, rest @ ..]) => {
                2 + self.header.known(rest)?
            }
            (Shape::PassThrough, [_, VERSION, ..]) => 2,
            _ => return None,
        };
        let send = PlainSend::read(&frame[control_at..], self.header.atoms(), names)?;
        let from = PlainPid::of(send.from, names)?;
        let to = PlainPid::of(send.to, names)?;
        let term = self.payload_behind(frame, control_at + send.len).ok()?;
        let payload = term.at..term.at + term.len;
        (!term.uses_atom_cache).then_some(PlainMessage { from, to, payload })
    }

    /// A frame with a whole signal, whose control message begins at `control_at`.
    #[inline]
    fn whole(
        &mut self,
        frame: Slice,
        control_at: usize,
        names: Names<'_>,
    ) -> Result<Option<Signal>, LinkError> {
        let atoms = self.header.atoms();
        let bytes = &frame.as_slice()[control_at..];
        let Some(send) = PlainSend::read(bytes, atoms, names) else {
            return self.whole_other(frame, control_at, names);
        };
        let term = self.payload_behind(&frame, control_at + send.len)?;
        if term.uses_atom_cache {
            let control = send.to_control();
            let payload = self.payload(frame, &term);
            return Ok(Some(Signal { control, payload: Some(payload) }));
        }
        // Everything is checked: the signal is built where the caller wants it, in one go.
        Ok(Some(Signal {
            control: send.to_control(),
            payload: Some(Payload { parts: smallvec![cut(frame, &term)], atoms: Atoms::NONE }),
        }))
    }

    #[inline(never)]
    fn whole_other(
        &mut self,
        frame: Slice,
        control_at: usize,
        names: Names<'_>,
    ) -> Result<Option<Signal>, LinkError> {
        let atoms = self.header.atoms();
        let limits = self.assembler.term_limits();
        let decoded = Control::decode(&frame[control_at..], atoms, names, limits)?;
        let control = decoded.control;
        if !control.has_payload() {
            return Ok(Some(Signal { control, payload: None }));
        }
        let term = match decoded.reason {
            Some(reason) => TermIn::control(control_at, reason),
            None => self.payload_behind(&frame, control_at + decoded.len)?,
        };
        let payload = self.payload(frame, &term);
        Ok(Some(Signal { control, payload: Some(payload) }))
    }

    /// Checks the term that makes up the rest of a frame. What stands behind it is ignored, as in
    /// OTP.
    #[inline]
    fn payload_behind(&self, frame: &[u8], mut at: usize) -> Result<TermIn, LinkError> {
        if at == frame.len() {
            return Err(LinkError::MissingPayload);
        }
        if self.shape == Shape::PassThrough {
            if frame[at] != VERSION {
                let first = [frame[at], frame.get(at + 1).copied().unwrap_or(0)];
                return Err(LinkError::WrongShape { first, len: frame.len() });
            }
            at += 1;
        }
        let limits = self.assembler.term_limits();
        let valid = term::validate_with(&frame[at..], self.header.atoms(), limits)
            .map_err(LinkError::Payload)?;
        Ok(TermIn { at, len: valid.len, uses_atom_cache: valid.uses_atom_cache })
    }

    fn payload(&mut self, frame: Slice, term: &TermIn) -> Payload {
        let atoms = if term.uses_atom_cache { self.header.share_atoms() } else { Atoms::NONE };
        Payload { parts: smallvec![cut(frame, term)], atoms }
    }

    /// The first fragment: it holds the whole control message.
    fn start(&mut self, frame: Slice, names: Names<'_>) -> Result<Option<Signal>, LinkError> {
        let ids = FragmentIds::read(&frame)?;
        self.assembler.check_start(ids)?;
        let header_bytes = &frame[FRAGMENT_HEADER_BYTES..];
        let header = match self.shape {
            Shape::CachedHeader => self.header.read(header_bytes)?,
            _ => self.header.read_plain(header_bytes)?,
        };
        let control_at = FRAGMENT_HEADER_BYTES + header;
        let atoms = self.header.atoms();
        let entries = atoms.len();
        let limits = self.assembler.term_limits();
        let decoded = Control::decode(&frame[control_at..], atoms, names, limits)?;
        let reason = decoded
            .reason
            .map(|reason| self.payload(frame.clone(), &TermIn::control(control_at, reason)));
        let mut part = frame;
        part.advance(control_at + decoded.len);
        if reason.is_some() || !decoded.control.has_payload() {
            part = Slice::new();
        }
        let head = Head { control: decoded.control, atoms: self.header.share_atoms(), reason };
        let assembled = self.assembler.start(ids, head, entries, part)?;
        assembled.map(finish).transpose()
    }

    fn continuation(&mut self, frame: Slice) -> Result<Option<Signal>, LinkError> {
        let ids = FragmentIds::read(&frame)?;
        let mut part = frame;
        part.advance(FRAGMENT_HEADER_BYTES);
        let assembled = self.assembler.continuation(ids, part)?;
        assembled.map(finish).transpose()
    }
}

/// Where a valid term lies in a frame.
struct TermIn {
    at: usize,
    len: usize,
    uses_atom_cache: bool,
}

impl TermIn {
    /// The reason inside the control message that begins at `control_at`.
    fn control(control_at: usize, reason: Reason) -> TermIn {
        let Reason { range, uses_atom_cache } = reason;
        TermIn { at: control_at + range.start, len: range.len(), uses_atom_cache }
    }
}

/// The part of a frame that is the term.
#[inline]
fn cut(mut frame: Slice, term: &TermIn) -> Slice {
    frame.truncate(term.at + term.len);
    frame.advance(term.at);
    frame
}

/// A fragmented message is a signal once its last fragment is there.
fn finish(assembled: Assembled<Head>) -> Result<Signal, LinkError> {
    let Head { control, atoms, reason } = assembled.head;
    let payload = if !control.has_payload() {
        None
    } else if reason.is_some() {
        reason
    } else if assembled.parts.is_empty() {
        return Err(LinkError::MissingPayload);
    } else {
        let atoms = if assembled.uses_atom_cache { atoms } else { Atoms::NONE };
        Some(Payload { parts: assembled.parts, atoms })
    };
    Ok(Signal { control, payload })
}
