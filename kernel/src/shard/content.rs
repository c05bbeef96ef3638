//! What a process sends, in whatever form it has it.

use krarup_transport::buffer::Slice;
use krarup_transport::dist::Control;
use krarup_transport::dist::frame::FRAME_BYTES_HARD_MAX;
use krarup_transport::link::{Link, Outgoing, Payload, SendError as LinkSendError, SenderKey};
use krarup_transport::term::{self, ConvertError};
use serde::Serialize;

use super::{Body, Shard};
use crate::node::{BY_REFERENCE_BYTES_MIN, Encoded, SendError};
use crate::process::{Form, Message, Sender};

/// A payload that can take every way a message can go.
pub(crate) trait Content {
    /// Over a link of this shard, behind `control`.
    fn send_over(
        &self,
        link: &mut Link,
        sender: SenderKey,
        control: &Control,
    ) -> Result<(), LinkSendError<ConvertError>>;

    /// Into a mailbox of this node.
    fn message(&self, shard: &Shard, sender: Sender) -> Result<Message, ConvertError>;

    /// To a link of another shard.
    fn body(&self, shard: &Shard) -> Result<Body, SendError>;
}

/// A Rust value that becomes a term.
pub(crate) struct Value<'a, T: ?Sized>(pub(crate) &'a T);

/// Bytes that stay what they are.
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

impl<T: Serialize + ?Sized> Content for Value<'_, T> {
    #[inline]
    fn send_over(
        &self,
        link: &mut Link,
        sender: SenderKey,
        control: &Control,
    ) -> Result<(), LinkSendError<ConvertError>> {
        link.try_send_with(sender, control, |out| term::to_bytes(self.0, out))
    }

    fn message(&self, shard: &Shard, sender: Sender) -> Result<Message, ConvertError> {
        let term = shard.kept(|out| term::to_bytes(self.0, out))?;
        Ok(Message::new(Some(sender), Form::Term, term))
    }

    fn body(&self, shard: &Shard) -> Result<Body, SendError> {
        let term = shard.kept(|out| term::to_bytes(self.0, out))?;
        Ok(Body::Piece(Form::Term, term.share()))
    }
}

impl Content for Raw<'_> {
    #[inline]
    fn send_over(
        &self,
        link: &mut Link,
        sender: SenderKey,
        control: &Control,
    ) -> Result<(), LinkSendError<ConvertError>> {
        if u32::try_from(self.0.len()).is_err() {
            return Err(too_long(self.0.len()));
        }
        link.try_send_with(sender, control, |out| {
            term::write_binary(out, self.0);
            Ok(())
        })
    }

    #[inline]
    fn message(&self, shard: &Shard, sender: Sender) -> Result<Message, ConvertError> {
        Ok(Message::new(Some(sender), Form::Raw, shard.kept_copy(self.0)))
    }

    fn body(&self, shard: &Shard) -> Result<Body, SendError> {
        if u32::try_from(self.0.len()).is_err() {
            let limit_bytes = FRAME_BYTES_HARD_MAX as usize;
            return Err(SendError::TooLarge { bytes: self.0.len(), limit_bytes });
        }
        Ok(Body::Piece(Form::Raw, shard.kept_copy(self.0).share()))
    }
}

impl Content for Encoded {
    fn send_over(
        &self,
        link: &mut Link,
        sender: SenderKey,
        control: &Control,
    ) -> Result<(), LinkSendError<ConvertError>> {
        let chunks = self.term_chunks().map_err(|_| too_long(self.size_bytes()))?;
        link.send_from(sender, control, Some(Outgoing::Chunks(chunks)))
            .map_err(LinkSendError::widen)
    }

    fn message(&self, shard: &Shard, sender: Sender) -> Result<Message, ConvertError> {
        let sender = Some(sender);
        Ok(match self.chunks.as_slice() {
            [chunk] if chunk.len() < BY_REFERENCE_BYTES_MIN => {
                Message::new(sender, self.form, shard.kept_copy(chunk))
            }
            [chunk] => Message::new(sender, self.form, Slice::from(chunk.clone())),
            chunks => {
                let parts = chunks.iter().cloned().map(Slice::from).collect();
                Message::of_parts(sender, self.form, Payload { parts, ..Payload::default() })
            }
        })
    }

    fn body(&self, _: &Shard) -> Result<Body, SendError> {
        Ok(Body::Encoded(self.clone()))
    }
}

/// The error for raw bytes that no binary can hold.
pub(super) fn too_long<E>(bytes: usize) -> LinkSendError<E> {
    LinkSendError::TooLarge { bytes, limit: FRAME_BYTES_HARD_MAX as usize }
}
