//! The receiving half of a link: frames become signals.

use smallvec::smallvec;

use super::{LinkError, Payload, Signal};
use crate::buffer::Slice;
use crate::dist::control::{Control, Names};
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
    limits: Limits,
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
        Inbound { shape, fragments, header: HeaderReader::new(), assembler, limits }
    }

    /// Messages of which fragments are still to come, and the bytes they hold.
    pub(super) fn unfinished(&self) -> (usize, usize) {
        (self.assembler.open_sequences(), self.assembler.open_bytes())
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
                self.whole(frame, 2 + header, names).map(Some)
            }
            (Shape::CachedHeader, [VERSION, NORMAL_HEADER, rest @ ..]) => {
                let header = self.header.read(rest)?;
                self.whole(frame, 2 + header, names).map(Some)
            }
            // OTP does not look at the first byte here, so neither do we.
            (Shape::PassThrough, [_, VERSION, ..]) => self.whole(frame, 2, names).map(Some),
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

    /// A frame with a whole signal, whose control message begins at `control_at`.
    #[inline]
    fn whole(
        &mut self,
        frame: Slice,
        control_at: usize,
        names: Names<'_>,
    ) -> Result<Signal, LinkError> {
        let atoms = self.header.atoms();
        let bytes = &frame.as_slice()[control_at..];
        let decoded = Control::decode(bytes, atoms, names, &self.limits)?;
        let control = decoded.control;
        if !control.has_payload() {
            return Ok(Signal { control, payload: None });
        }
        let (at, len, uses_atom_cache) = match decoded.reason {
            Some(reason) => {
                (control_at + reason.range.start, reason.range.len(), reason.uses_atom_cache)
            }
            None => {
                let mut at = control_at + decoded.len;
                let mut rest = &bytes[decoded.len..];
                if rest.is_empty() {
                    return Err(LinkError::MissingPayload);
                }
                if self.shape == Shape::PassThrough {
                    if rest[0] != VERSION {
                        return Err(LinkError::WrongShape {
                            first: [rest[0], rest.get(1).copied().unwrap_or(0)],
                            len: frame.len(),
                        });
                    }
                    at += 1;
                    rest = &rest[1..];
                }
                // What stands behind the term is ignored, as in OTP.
                let valid =
                    term::validate(rest, atoms.len(), &self.limits).map_err(LinkError::Payload)?;
                (at, valid.len, valid.uses_atom_cache)
            }
        };
        let payload = self.payload(frame, at, len, uses_atom_cache);
        Ok(Signal { control, payload: Some(payload) })
    }

    #[inline]
    fn payload(&mut self, frame: Slice, at: usize, len: usize, uses_atom_cache: bool) -> Payload {
        let atoms = if uses_atom_cache { self.header.share_atoms() } else { Atoms::NONE };
        let mut part = frame;
        part.truncate(at + len);
        part.advance(at);
        Payload { parts: smallvec![part], atoms }
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
        let decoded = Control::decode(&frame[control_at..], atoms, names, &self.limits)?;
        let reason = decoded.reason.map(|reason| {
            let at = control_at + reason.range.start;
            self.payload(frame.clone(), at, reason.range.len(), reason.uses_atom_cache)
        });
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
