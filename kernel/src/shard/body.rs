//! A payload on its way from one shard to a link of another.

use krarup_transport::buffer::SharedSlice;
use krarup_transport::dist::Control;
use krarup_transport::link::{Link, Outgoing, SendError as LinkSendError, SenderKey};
use krarup_transport::term::{Term, write_binary};

use super::content::too_long;
use crate::node::Encoded;
use crate::process::Form;

/// An encoded payload that can go to another shard.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// In one piece, in memory that its shard uses again. No longer than a binary can be.
    Piece(Form, SharedSlice),
    /// Any other.
    Encoded(Encoded),
}

impl Body {
    pub(crate) fn term(term: &Term) -> Self {
        Body::Encoded(Encoded::term(term))
    }

    /// Length of the payload.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Body::Piece(_, bytes) => bytes.len(),
            Body::Encoded(encoded) => encoded.size_bytes(),
        }
    }

    /// Sends it over a link with the control message that it belongs to.
    pub(super) fn send_over(
        &self,
        link: &mut Link,
        sender: SenderKey,
        control: &Control,
    ) -> Result<(), LinkSendError> {
        match self {
            Body::Piece(Form::Term, bytes) => {
                link.send_from(sender, control, Some(Outgoing::Encoded(bytes)))
            }
            Body::Piece(Form::Raw, bytes) => {
                let encode = |out: &mut Vec<u8>| {
                    write_binary(out, bytes);
                    Ok(())
                };
                link.try_send_with(sender, control, encode)
            }
            Body::Encoded(encoded) => {
                let chunks = encoded.term_chunks().map_err(|_| too_long(encoded.size_bytes()))?;
                link.send_from(sender, control, Some(Outgoing::Chunks(chunks)))
            }
        }
    }
}
