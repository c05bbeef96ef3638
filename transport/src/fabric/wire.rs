//! How the messages before a lane's first frame are cut and read.
//!
//! Each begins with the byte `K`, with which no frame of OTP begins, and its number. Its numbers
//! are little-endian; only the length before it, which a node reads before it knows what follows,
//! is big-endian as OTP's.

use super::error::{FabricError, FabricMessage, MalformedMessage};
use crate::handshake::LengthPrefix;
use crate::handshake::message::{MessageError, MessageReader};

/// The first byte of every message.
pub(super) const MARK: u8 = b'K';

/// The second byte of each message.
pub(super) mod kind {
    pub(in crate::fabric) const HELLO: u8 = 1;
    pub(in crate::fabric) const LANES: u8 = 2;
    pub(in crate::fabric) const LANES_OK: u8 = 3;
    pub(in crate::fabric) const JOIN: u8 = 4;
    pub(in crate::fabric) const WELCOME: u8 = 5;
    pub(in crate::fabric) const CONFIRM: u8 = 6;
    pub(in crate::fabric) const REFUSED: u8 = 7;
}

/// Takes the next message from the front of `input`, if all of it is there.
pub(super) fn read_message(
    reader: &mut MessageReader,
    input: &mut &[u8],
    expected: FabricMessage,
    limit_bytes: usize,
) -> Result<Option<Vec<u8>>, FabricError> {
    reader.read(input, limit_bytes).map_err(|error| {
        let error = match error {
            MessageError::TooLong { length_bytes, limit_bytes } => {
                MalformedMessage::TooLong { length_bytes, limit_bytes }
            }
            // The reader knows lengths only.
            _ => MalformedMessage::WrongLength { length_bytes: 0 },
        };
        FabricError::Message { expected, error }
    })
}

/// Appends a message of the given kind with its length before it.
pub(super) fn framed(
    prefix: LengthPrefix,
    kind: u8,
    output: &mut Vec<u8>,
    fields: impl FnOnce(&mut Vec<u8>),
) {
    let width = match prefix {
        LengthPrefix::Two => 2,
        LengthPrefix::Four => 4,
    };
    let start = output.len();
    output.resize(start + width, 0);
    output.extend_from_slice(&[MARK, kind]);
    fields(output);
    let length = u32::try_from(output.len() - start - width).unwrap_or(u32::MAX);
    assert!(length <= u32::from(u16::MAX), "a message of {length} bytes");
    output[start..start + width].copy_from_slice(&length.to_be_bytes()[4 - width..]);
}

/// The fields of one message, taken from its front.
pub(super) struct Fields<'a> {
    length_bytes: usize,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields behind the two bytes that say which message it is.
    pub(super) fn of(body: &'a [u8], kind: u8) -> Result<Fields<'a>, MalformedMessage> {
        match body {
            [MARK, came, rest @ ..] if *came == kind => {
                Ok(Fields { length_bytes: body.len(), rest })
            }
            _ => Err(MalformedMessage::WrongKind {
                came: [body.first().copied(), body.get(1).copied()],
            }),
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], MalformedMessage> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(self.misfit())?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], MalformedMessage> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(self.misfit())?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, MalformedMessage> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, MalformedMessage> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, MalformedMessage> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, MalformedMessage> {
        self.array().map(u64::from_le_bytes)
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), MalformedMessage> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.misfit()) }
    }

    fn misfit(&self) -> MalformedMessage {
        MalformedMessage::WrongLength { length_bytes: self.length_bytes }
    }
}
