//! A message that is encoded already.

use bytes::Bytes;
use krarup_transport::link::Payload;
use krarup_transport::term::{self, ConvertError, Term};
use serde::Serialize;
use smallvec::SmallVec;

/// One external term, encoded once, to be sent any number of times to any node.
///
/// Binaries of 8 KiB and more stay where they are: they are sent by reference and never copied.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    pub(crate) chunks: SmallVec<[Bytes; 1]>,
}

/// Binaries from this size on are sent by reference.
pub(crate) const BY_REFERENCE_BYTES_MIN: usize = 8 << 10;

impl Encoded {
    /// Encodes a Rust value.
    ///
    /// # Errors
    /// When the value has no external form, such as a NaN.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, ConvertError> {
        let mut bytes = Vec::new();
        term::to_bytes(value, &mut bytes)?;
        Ok(Encoded { chunks: SmallVec::from_buf([bytes.into()]) })
    }

    /// Encodes a term; its large binaries stay where they are.
    pub fn term(term: &Term) -> Self {
        Encoded { chunks: term.encode_gather(BY_REFERENCE_BYTES_MIN).parts }
    }

    /// A binary as the whole message.
    pub fn binary(bytes: Bytes) -> Self {
        Encoded::term(&Term::Binary(bytes))
    }

    /// `prefix`, then a received payload without its first `skip` bytes; small parts are copied,
    /// large ones go on by reference.
    pub(crate) fn behind(mut prefix: Vec<u8>, payload: &Payload, mut skip: usize) -> Self {
        let mut chunks = SmallVec::new();
        for part in &payload.parts {
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
        Encoded { chunks }
    }

    /// Length in external form.
    pub fn size_bytes(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }
}
