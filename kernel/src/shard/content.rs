//! What is sent, in whatever form the sender has it.

use krarup_transport::buffer::Slice;
use krarup_transport::dist::Control;
use krarup_transport::dist::frame::FRAME_BYTES_HARD_MAX;
use krarup_transport::fabric::{Form, Lane, ProcessNumber};
use krarup_transport::link::{Link, Outgoing, Payload, SendError as LinkSendError, SenderKey};
use krarup_transport::term::{self, ConvertError};
use serde::Serialize;

use super::{Body, Shard};
use crate::node::{BY_REFERENCE_BYTES_MIN, Encoded, SendError};
use crate::process::{Message, Sender, name_atom};

/// A payload that can take every way a message can go.
pub(crate) enum Content<'a, T: ?Sized = ()> {
    /// A Rust value that becomes a term.
    Value(&'a T),
    /// Bytes that are a term.
    Term(&'a [u8]),
    /// Bytes that stay what they are; to OTP nodes a binary.
    Raw(&'a [u8]),
    /// What was encoded before, large pieces by reference.
    Encoded(&'a Encoded),
}

impl<T: ?Sized> Clone for Content<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Content<'_, T> {}

/// What became of a message that was given to a link.
pub(super) type Sent = Result<(), LinkSendError<ConvertError>>;

impl<T: Serialize + ?Sized> Content<'_, T> {
    /// Over a link to an OTP node, behind `control`.
    #[inline]
    pub(super) fn send_over(self, link: &mut Link, sender: SenderKey, control: &Control) -> Sent {
        self.check_length()?;
        match self {
            Content::Encoded(encoded) => {
                let chunks = Outgoing::Chunks(encoded.term_chunks());
                link.send_from(sender, control, Some(chunks)).map_err(LinkSendError::widen)
            }
            _ => link.try_send_with(sender, control, |out| self.encode_term(out)),
        }
    }

    /// Over a lane, to a process.
    #[inline]
    pub(super) fn send_to(self, lane: &mut Lane, from: ProcessNumber, to: ProcessNumber) -> Sent {
        match self {
            Content::Raw(bytes) => lane.send_raw(from, to, bytes).map_err(LinkSendError::widen),
            Content::Encoded(encoded) => lane
                .send_message(from, to, encoded.chunks.clone(), encoded.form)
                .map_err(LinkSendError::widen),
            _ => lane.send_message_with(from, to, |out| self.encode(out)),
        }
    }

    /// Over a lane, to whoever has a registered name.
    pub(super) fn send_named(self, lane: &mut Lane, from: ProcessNumber, name: &str) -> Sent {
        let name = name_atom(name);
        match self {
            Content::Encoded(encoded) => lane
                .send_named(from, &name, encoded.chunks.clone(), encoded.form)
                .map_err(LinkSendError::widen),
            _ => lane.send_named_with(from, &name, self.form(), |out| self.encode(out)),
        }
    }

    /// Over a lane, behind `control`.
    pub(super) fn send_signal(self, lane: &mut Lane, sender: SenderKey, control: &Control) -> Sent {
        self.check_length()?;
        match self {
            Content::Encoded(encoded) => {
                let chunks = Outgoing::Chunks(encoded.term_chunks());
                lane.send_signal(sender, control, Some(chunks)).map_err(LinkSendError::widen)
            }
            _ => lane.send_signal_with(sender, control, |out| self.encode_term(out)),
        }
    }

    /// For a mailbox of this node.
    #[inline]
    pub(super) fn message(self, shard: &Shard, sender: Sender) -> Result<Message, ConvertError> {
        let sender = Some(sender);
        let Content::Encoded(encoded) = self else {
            return Ok(Message::new(sender, self.form(), self.kept(shard)?));
        };
        Ok(match encoded.chunks.as_slice() {
            [chunk] if chunk.len() < BY_REFERENCE_BYTES_MIN => {
                Message::new(sender, encoded.form, shard.kept.copy(chunk))
            }
            chunks => {
                let parts = chunks.iter().cloned().map(Slice::from).collect();
                let payload = Payload { parts, ..Payload::default() };
                Message::of_parts(sender, encoded.form, payload)
            }
        })
    }

    /// For a link of another shard.
    pub(super) fn body(self, shard: &Shard) -> Result<Body, SendError> {
        self.check_length()?;
        Ok(match self {
            Content::Encoded(encoded) => Body::Encoded(encoded.clone()),
            _ => Body::Piece(self.form(), self.kept(shard)?.share()),
        })
    }

    /// The payload in memory of the shard.
    #[inline]
    fn kept(self, shard: &Shard) -> Result<Slice, ConvertError> {
        match self {
            Content::Term(bytes) | Content::Raw(bytes) => Ok(shard.kept.copy(bytes)),
            _ => shard.kept.encode(|out| self.encode(out)),
        }
    }

    fn form(self) -> Form {
        match self {
            Content::Value(_) | Content::Term(_) => Form::Term,
            Content::Raw(_) => Form::Raw,
            Content::Encoded(encoded) => encoded.form,
        }
    }

    /// Raw bytes may have to become a binary, which has an end.
    #[inline]
    fn check_length(self) -> Result<(), TooLong> {
        let bytes = match self {
            Content::Raw(bytes) => bytes.len(),
            Content::Encoded(encoded) if encoded.form == Form::Raw => encoded.size_bytes(),
            _ => return Ok(()),
        };
        if bytes > FRAME_BYTES_HARD_MAX as usize { Err(TooLong { bytes }) } else { Ok(()) }
    }

    /// Appends the payload.
    #[inline]
    fn encode(self, out: &mut Vec<u8>) -> Result<(), ConvertError> {
        match self {
            Content::Value(value) => return term::to_bytes(value, out),
            Content::Term(bytes) | Content::Raw(bytes) => out.extend_from_slice(bytes),
            Content::Encoded(encoded) => {
                encoded.chunks.iter().for_each(|chunk| out.extend_from_slice(chunk));
            }
        }
        Ok(())
    }

    /// Appends the payload as a term; what is raw must have passed [`Content::check_length`].
    #[inline]
    fn encode_term(self, out: &mut Vec<u8>) -> Result<(), ConvertError> {
        if let Content::Raw(bytes) = self {
            term::write_binary_header(out, bytes.len());
        }
        self.encode(out)
    }
}

/// So many raw bytes fit into no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TooLong {
    bytes: usize,
}

impl<E> From<TooLong> for LinkSendError<E> {
    fn from(TooLong { bytes }: TooLong) -> Self {
        LinkSendError::TooLarge { bytes, limit: FRAME_BYTES_HARD_MAX as usize }
    }
}

impl From<TooLong> for SendError {
    fn from(TooLong { bytes }: TooLong) -> Self {
        SendError::TooLarge { bytes, limit_bytes: FRAME_BYTES_HARD_MAX as usize }
    }
}
