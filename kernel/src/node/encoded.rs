//! A message that is encoded already.

use bytes::Bytes;
use krarup_transport::buffer::Slice;
use krarup_transport::fabric::Form;
use krarup_transport::link::Payload;
use krarup_transport::term::{self, ConvertError, Limits, Term};
use serde::Serialize;
use smallvec::SmallVec;

/// A message that is made once, to be sent any number of times to any node: an external term, or
/// raw bytes.
///
/// Binaries and raw bytes of 8 KiB and more stay where they are: they are sent by reference and
/// never copied.
#[derive(Clone, Debug)]
pub struct Encoded {
    pub(crate) form: Form,
    pub(crate) chunks: Chunks,
}

/// The pieces of a payload.
pub(crate) type Chunks = SmallVec<[Bytes; 1]>;

/// Binaries from this size on are sent by reference.
pub(crate) const BY_REFERENCE_BYTES_MIN: usize = 8 << 10;

/// Longest head of a binary: its tag and length.
const BINARY_HEAD_BYTES: usize = 5;

impl Encoded {
    /// Encodes a Rust value.
    ///
    /// # Errors
    /// When the value has no external form, such as a NaN.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, ConvertError> {
        let mut bytes = Vec::new();
        term::to_bytes(value, &mut bytes)?;
        Ok(Encoded::of_term(SmallVec::from_buf([bytes.into()])))
    }

    /// Encodes a term; its large binaries stay where they are.
    pub fn term(term: &Term) -> Self {
        Encoded::of_term(term.encode_gather(BY_REFERENCE_BYTES_MIN).parts)
    }

    /// A binary as the whole message.
    pub fn binary(bytes: Bytes) -> Self {
        Encoded::term(&Term::Binary(bytes))
    }

    /// Bytes that are sent as they are; see
    /// [`Process::send_bytes`](crate::Process::send_bytes). A process of an OTP node gets a
    /// binary.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Encoded { form: Form::Raw, chunks: SmallVec::from_buf([bytes.into()]) }
    }

    fn of_term(chunks: Chunks) -> Self {
        Encoded { form: Form::Term, chunks }
    }

    /// The chunks of the message as a term: those of raw bytes get the head of a binary.
    ///
    /// # Panics
    /// When there are more raw bytes than a binary can hold.
    pub(crate) fn term_chunks(&self) -> Chunks {
        if self.form == Form::Term {
            return self.chunks.clone();
        }
        let mut head = Vec::with_capacity(BINARY_HEAD_BYTES);
        term::write_binary_header(&mut head, self.size_bytes());
        let mut chunks = Chunks::with_capacity(1 + self.chunks.len());
        chunks.push(head.into());
        chunks.extend(self.chunks.iter().cloned());
        chunks
    }

    /// `prefix`, then the parts of a received term without its first `skip` bytes; small parts are
    /// copied, large ones go on by reference.
    pub(crate) fn behind(mut prefix: Vec<u8>, parts: &[Slice], mut skip: usize) -> Self {
        let mut chunks = Chunks::new();
        for part in parts {
            let rest = part.get(skip..).unwrap_or_default();
            let at = part.len() - rest.len();
            skip -= skip.min(part.len());
            if rest.len() < BY_REFERENCE_BYTES_MIN {
                prefix.extend_from_slice(rest);
                continue;
            }
            if !prefix.is_empty() {
                chunks.push(std::mem::take(&mut prefix).into());
            }
            chunks.push(part.slice(at..).into());
        }
        if !prefix.is_empty() {
            chunks.push(prefix.into());
        }
        Encoded::of_term(chunks)
    }

    /// The term; nothing where it is beyond the limits of a term.
    pub(crate) fn to_term(&self) -> Option<Term> {
        self.clone().into_payload().decode(&Limits::DEFAULT).ok()
    }

    /// The term as if it had been received.
    pub(crate) fn into_payload(self) -> Payload {
        let parts = self.term_chunks().into_iter().map(Slice::from).collect();
        Payload { parts, ..Payload::default() }
    }

    /// A term in external form.
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Self {
        Encoded::of_term(SmallVec::from_buf([bytes.into()]))
    }

    /// A term between two pieces of the one that it is part of.
    pub(crate) fn around(mut head: Vec<u8>, term: &Encoded, tail: Vec<u8>) -> Self {
        if term.form == Form::Term && term.size_bytes() < BY_REFERENCE_BYTES_MIN {
            term.chunks.iter().for_each(|chunk| head.extend_from_slice(chunk));
            head.extend(tail);
            return Encoded::of_bytes(head);
        }
        let mut chunks = Chunks::new();
        chunks.push(head.into());
        chunks.extend(term.term_chunks());
        if !tail.is_empty() {
            chunks.push(tail.into());
        }
        Encoded::of_term(chunks)
    }

    /// Length in bytes: in external form, or of the raw bytes.
    pub fn size_bytes(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }
}
