//! A payload on its way from one shard to a link of another.

use krarup_transport::buffer::SharedSlice;
use krarup_transport::fabric::Form;

use super::Content;
use crate::node::Encoded;

/// An encoded payload that can go to another shard.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// In one piece, in memory that its shard uses again.
    Piece(Form, SharedSlice),
    /// Any other.
    Encoded(Encoded),
}

impl Body {
    /// Length of the payload.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Body::Piece(_, bytes) => bytes.len(),
            Body::Encoded(encoded) => encoded.size_bytes(),
        }
    }

    /// What it holds.
    pub(super) fn content(&self) -> Content<'_> {
        match self {
            Body::Piece(Form::Term, bytes) => Content::Term(bytes),
            Body::Piece(Form::Raw, bytes) => Content::Raw(bytes),
            Body::Encoded(encoded) => Content::Encoded(encoded),
        }
    }
}
