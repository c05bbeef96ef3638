//! Reading a term that came in several pieces, or in one that may be shared.

use std::borrow::Cow;

use bytes::Bytes;

use super::read::{Reader, Source};
use super::{DecodeError, DecodeErrorKind, Gather};

/// Reads several slices one after the other as if they were one. Only an item that crosses from
/// one slice to the next is copied together.
pub(crate) struct PartsReader<'a> {
    /// What is left of the current part.
    current: &'a [u8],
    /// The parts after it.
    following: std::slice::Iter<'a, &'a [u8]>,
    remaining: usize,
    position: usize,
}

impl<'a> PartsReader<'a> {
    pub(crate) fn new(parts: &'a [&'a [u8]]) -> Self {
        let remaining = parts.iter().map(|part| part.len()).sum();
        Self { current: &[], following: parts.iter(), remaining, position: 0 }
    }

    /// Fills `target` completely; the caller has checked that there is enough.
    fn fill(&mut self, mut target: &mut [u8]) {
        while !target.is_empty() {
            if self.current.is_empty() {
                match self.following.next() {
                    Some(part) => self.current = part,
                    None => return,
                }
            }
            let count = self.current.len().min(target.len());
            let (taken, rest) = self.current.split_at(count);
            let (filled, unfilled) = target.split_at_mut(count);
            filled.copy_from_slice(taken);
            self.current = rest;
            target = unfilled;
        }
    }

    fn check(&mut self, needed: usize) -> Result<(), DecodeError> {
        let remaining = self.remaining;
        if needed > remaining {
            let kind = DecodeErrorKind::Truncated { needed, remaining };
            return Err(DecodeError::new(self.position, kind));
        }
        self.remaining -= needed;
        self.position += needed;
        Ok(())
    }
}

impl Source for PartsReader<'_> {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn position(&self) -> usize {
        self.position
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.check(N)?;
        if let Some((taken, rest)) = self.current.split_first_chunk::<N>() {
            self.current = rest;
            return Ok(*taken);
        }
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        Ok(bytes)
    }

    fn bytes(&mut self, count: usize) -> Result<Cow<'_, [u8]>, DecodeError> {
        self.check(count)?;
        if let Some((taken, rest)) = self.current.split_at_checked(count) {
            self.current = rest;
            return Ok(Cow::Borrowed(taken));
        }
        let mut bytes = vec![0; count];
        self.fill(&mut bytes);
        Ok(Cow::Owned(bytes))
    }
}

/// Reads a message that may be kept: big binaries are handed out as parts of it.
pub(crate) struct SharedReader<'a> {
    message: &'a Bytes,
    reader: Reader<'a>,
}

impl<'a> SharedReader<'a> {
    pub(crate) fn new(message: &'a Bytes) -> Self {
        Self { message, reader: Reader::new(message) }
    }
}

impl Source for SharedReader<'_> {
    fn remaining(&self) -> usize {
        self.reader.remaining()
    }

    fn position(&self) -> usize {
        self.reader.position()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.reader.array()
    }

    fn bytes(&mut self, count: usize) -> Result<Cow<'_, [u8]>, DecodeError> {
        self.reader.take(count).map(Cow::Borrowed)
    }

    fn shared(&mut self, count: usize) -> Result<Bytes, DecodeError> {
        let bytes = self.reader.take(count)?;
        // A small binary that is kept should not keep the whole message with it.
        Ok(if count < Gather::THRESHOLD_BYTES {
            Bytes::copy_from_slice(bytes)
        } else {
            self.message.slice_ref(bytes)
        })
    }
}
