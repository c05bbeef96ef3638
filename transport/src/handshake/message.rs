//! The messages of the handshake, both ways, and the reader that cuts them from a stream.
//!
//! ```text
//! send_name        'N' flags:u64 creation:u32 length:u16 name
//! send_name (old)  'n' version:u16 flags:u32 name
//! status           's' text            | 's' "named:" length:u16 name creation:u32
//! challenge        'N' flags:u64 challenge:u32 creation:u32 length:u16 name
//! complement       'c' flags_high:u32 creation:u32
//! challenge_reply  'r' challenge:u32 digest:16
//! challenge_ack    'a' digest:16
//! ```
//!
//! Every number is big-endian; every message has its length before it, see [`LengthPrefix`].
//!
//! OTP: erl_dist_protocol, "Distribution Handshake".

use std::fmt;

use super::digest::{Challenge, Digest};
use super::flags::Flags;
use crate::term::Creation;

/// Most bytes a `send_name` or `challenge` message may have.
pub const NAME_MESSAGE_BYTES_MAX: usize = 1100;
/// Most bytes a `status` message may have: `named:` with 255 characters of UTF-8 fits.
pub const STATUS_MESSAGE_BYTES_MAX: usize = 1100;
/// Most bytes any other message may have; their exact lengths are checked after that.
pub const SHORT_MESSAGE_BYTES_MAX: usize = 64;

/// How wide the length before each handshake message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LengthPrefix {
    /// Two bytes: TCP.
    #[default]
    Two,
    /// Four bytes: TLS, from its first byte.
    Four,
}

impl LengthPrefix {
    const fn width_bytes(self) -> usize {
        match self {
            LengthPrefix::Two => 2,
            LengthPrefix::Four => 4,
        }
    }
}

/// Which message a side waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// The initiator's name, flags and creation.
    SendName,
    /// The acceptor's verdict on the name.
    Status,
    /// The initiator's answer to the status `alive`.
    StatusReply,
    /// The acceptor's challenge.
    Challenge,
    /// What the old form of `send_name` had no room for.
    Complement,
    /// The initiator's digest and challenge.
    ChallengeReply,
    /// The acceptor's digest.
    ChallengeAck,
}

impl MessageKind {
    /// Most bytes such a message may have, its length prefix not counted.
    #[must_use]
    pub const fn bytes_max(self) -> usize {
        match self {
            MessageKind::SendName | MessageKind::Challenge => NAME_MESSAGE_BYTES_MAX,
            MessageKind::Status => STATUS_MESSAGE_BYTES_MAX,
            MessageKind::StatusReply
            | MessageKind::Complement
            | MessageKind::ChallengeReply
            | MessageKind::ChallengeAck => SHORT_MESSAGE_BYTES_MAX,
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            MessageKind::SendName => "send_name",
            MessageKind::Status => "status",
            MessageKind::StatusReply => "status reply",
            MessageKind::Challenge => "challenge",
            MessageKind::Complement => "complement",
            MessageKind::ChallengeReply => "challenge_reply",
            MessageKind::ChallengeAck => "challenge_ack",
        })
    }
}

/// What is wrong with the bytes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// The length before it exceeds [`MessageKind::bytes_max`]; none of it was read.
    TooLong {
        /// The announced length.
        length_bytes: usize,
        /// The greatest length allowed.
        limit_bytes: usize,
    },
    /// Its first byte is that of another message, or of none.
    WrongTag {
        /// The first byte; `None` for an empty message.
        came: Option<u8>,
    },
    /// Its fields do not fit its length.
    WrongLength {
        /// Its length.
        length_bytes: usize,
    },
    /// The old form of `send_name` names a version other than 5.
    WrongVersion {
        /// The version it names.
        came: u16,
    },
    /// A status that the protocol does not have at this place; shown escaped and cut.
    UnknownStatus {
        /// The status, printable.
        came: String,
    },
}

impl fmt::Display for MessageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MessageError::TooLong { length_bytes, limit_bytes } => write!(
                formatter,
                "it announces {length_bytes} bytes, at most {limit_bytes} are allowed"
            ),
            MessageError::WrongTag { came: Some(tag) } => {
                write!(formatter, "its first byte is {tag} ({:?})", char::from(*tag))
            }
            MessageError::WrongTag { came: None } => formatter.write_str("it is empty"),
            MessageError::WrongLength { length_bytes } => {
                write!(formatter, "its fields do not fit its {length_bytes} bytes")
            }
            MessageError::WrongVersion { came } => {
                write!(formatter, "it is of version {came}, expected 5")
            }
            MessageError::UnknownStatus { came } => write!(formatter, "it says \"{came}\""),
        }
    }
}

impl std::error::Error for MessageError {}

/// Cuts messages from a stream, whatever pieces it comes in, and never takes a byte beyond the
/// message that is asked for: what follows the last one is already a frame.
#[derive(Debug, Default)]
pub struct MessageReader {
    prefix: LengthPrefix,
    header: [u8; 4],
    header_length: usize,
    body: Vec<u8>,
}

impl MessageReader {
    /// A reader at the start of a message.
    #[must_use]
    pub fn new(prefix: LengthPrefix) -> MessageReader {
        MessageReader { prefix, ..MessageReader::default() }
    }

    /// Takes what belongs to the next message from the front of `input`; gives the message,
    /// without its length, once it is complete. An over-long one is refused by its length alone.
    ///
    /// # Errors
    ///
    /// [`MessageError::TooLong`]; the reader is of no use afterwards.
    pub fn read(
        &mut self,
        input: &mut &[u8],
        limit_bytes: usize,
    ) -> Result<Option<Vec<u8>>, MessageError> {
        let width = self.prefix.width_bytes();
        let missing = width - self.header_length;
        let taken = take_front(input, missing);
        self.header[self.header_length..self.header_length + taken.len()].copy_from_slice(taken);
        self.header_length += taken.len();
        if self.header_length < width {
            return Ok(None);
        }
        let length_bytes =
            self.header[..width].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        if length_bytes > limit_bytes {
            return Err(MessageError::TooLong { length_bytes, limit_bytes });
        }
        self.body.extend_from_slice(take_front(input, length_bytes - self.body.len()));
        if self.body.len() < length_bytes {
            return Ok(None);
        }
        self.header_length = 0;
        Ok(Some(std::mem::take(&mut self.body)))
    }
}

/// Splits at most `count` bytes off the front of `input`.
fn take_front<'a>(input: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(count.min(input.len()));
    *input = rest;
    taken
}

/// `send_name`, either form. The name is as it came: Latin-1 bytes, unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendName<'a> {
    /// What the initiator can do; only the low half in the old form.
    pub flags: Flags,
    /// Its creation; `None` in the old form, where the complement brings it.
    pub creation: Option<Creation>,
    /// Its name, or only its host when it asks for a name.
    pub name: &'a [u8],
}

impl<'a> SendName<'a> {
    /// Reads the body of a message.
    ///
    /// # Errors
    ///
    /// When it is not a `send_name`, or too short for its fields.
    pub fn decode(body: &'a [u8]) -> Result<SendName<'a>, MessageError> {
        let mut fields = Fields::of(body);
        match fields.tag()? {
            b'N' => {
                let flags = Flags::from_bits(fields.u64()?);
                let creation = Some(Creation(fields.u32()?));
                let length = fields.u16()?;
                // Bytes after the name are for later versions to use.
                Ok(SendName { flags, creation, name: fields.take(usize::from(length))? })
            }
            b'n' => {
                let version = fields.u16()?;
                if version != 5 {
                    return Err(MessageError::WrongVersion { came: version });
                }
                let flags = Flags::from_bits(u64::from(fields.u32()?));
                Ok(SendName { flags, creation: None, name: fields.rest })
            }
            tag => Err(MessageError::WrongTag { came: Some(tag) }),
        }
    }

    /// Appends the message, length included. The old form is written when there is no creation;
    /// this implementation never does that but in tests.
    pub fn encode(&self, prefix: LengthPrefix, output: &mut Vec<u8>) {
        framed(prefix, output, |output| match self.creation {
            Some(creation) => {
                output.push(b'N');
                output.extend_from_slice(&self.flags.bits().to_be_bytes());
                output.extend_from_slice(&creation.0.to_be_bytes());
                put_name(output, self.name);
            }
            None => {
                output.extend_from_slice(b"n\x00\x05");
                output.extend_from_slice(&self.flags.bits().to_be_bytes()[4..]);
                output.extend_from_slice(self.name);
            }
        });
    }
}

/// What the acceptor says to a name, and what the initiator answers to `alive`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status<'a> {
    /// `ok`: go on.
    Ok,
    /// `ok_simultaneous`: go on; the acceptor gave up its own attempt.
    OkSimultaneous,
    /// `nok`: the acceptor's own attempt wins, or it refuses the name.
    Nok,
    /// `not_allowed`: the allow list, or a mandatory flag that is missing.
    NotAllowed,
    /// `alive`: the acceptor believes that a connection exists.
    Alive,
    /// `true`, the answer to `alive`: go on, the old connection is no more.
    True,
    /// `false`, the answer to `alive`: this attempt is withdrawn.
    False,
    /// `named:`: the name and creation given to an initiator that asked for them.
    Named {
        /// The full name, in UTF-8 unlike elsewhere.
        name: &'a str,
        /// The creation to use.
        creation: Creation,
    },
}

impl<'a> Status<'a> {
    /// Reads the body of a message.
    ///
    /// # Errors
    ///
    /// When it is not a status, or none that exists.
    pub fn decode(body: &'a [u8]) -> Result<Status<'a>, MessageError> {
        let mut fields = Fields::of(body);
        match fields.tag()? {
            b's' => {}
            tag => return Err(MessageError::WrongTag { came: Some(tag) }),
        }
        match fields.rest {
            b"ok" => Ok(Status::Ok),
            b"ok_simultaneous" => Ok(Status::OkSimultaneous),
            b"nok" => Ok(Status::Nok),
            b"not_allowed" => Ok(Status::NotAllowed),
            b"alive" => Ok(Status::Alive),
            b"true" => Ok(Status::True),
            b"false" => Ok(Status::False),
            text => match text.strip_prefix(b"named:") {
                Some(rest) => decode_named(body.len(), rest),
                None => Err(MessageError::UnknownStatus { came: shown(text) }),
            },
        }
    }

    /// Appends the message, length included.
    pub fn encode(&self, prefix: LengthPrefix, output: &mut Vec<u8>) {
        framed(prefix, output, |output| {
            output.push(b's');
            match self {
                Status::Named { name, creation } => {
                    output.extend_from_slice(b"named:");
                    put_name(output, name.as_bytes());
                    output.extend_from_slice(&creation.0.to_be_bytes());
                }
                status => output.extend_from_slice(status.text().as_bytes()),
            }
        });
    }

    /// The status as the wire spells it, without the fields of `named:`.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::OkSimultaneous => "ok_simultaneous",
            Status::Nok => "nok",
            Status::NotAllowed => "not_allowed",
            Status::Alive => "alive",
            Status::True => "true",
            Status::False => "false",
            Status::Named { .. } => "named:",
        }
    }
}

fn decode_named(length_bytes: usize, rest: &[u8]) -> Result<Status<'_>, MessageError> {
    let mut fields = Fields { length_bytes, rest };
    let length = fields.u16()?;
    let name = fields.take(usize::from(length))?;
    let creation = Creation(fields.u32()?);
    match std::str::from_utf8(name) {
        Ok(name) => Ok(Status::Named { name, creation }),
        Err(_) => Err(MessageError::UnknownStatus { came: format!("named:{}", shown(name)) }),
    }
}

/// `challenge`, the acceptor's half of the introduction. The name is as it came: Latin-1 bytes,
/// unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChallengeMessage<'a> {
    /// What the acceptor can do.
    pub flags: Flags,
    /// What the initiator has to hash with the cookie.
    pub challenge: Challenge,
    /// The acceptor's creation.
    pub creation: Creation,
    /// The acceptor's full name.
    pub name: &'a [u8],
}

impl<'a> ChallengeMessage<'a> {
    /// Reads the body of a message.
    ///
    /// # Errors
    ///
    /// When it is not a challenge, or too short for its fields.
    pub fn decode(body: &'a [u8]) -> Result<ChallengeMessage<'a>, MessageError> {
        let mut fields = Fields::tagged(body, b'N')?;
        let flags = Flags::from_bits(fields.u64()?);
        let challenge = Challenge(fields.u32()?);
        let creation = Creation(fields.u32()?);
        let length = fields.u16()?;
        let name = fields.take(usize::from(length))?;
        Ok(ChallengeMessage { flags, challenge, creation, name })
    }

    /// Appends the message, length included.
    pub fn encode(&self, prefix: LengthPrefix, output: &mut Vec<u8>) {
        framed(prefix, output, |output| {
            output.push(b'N');
            output.extend_from_slice(&self.flags.bits().to_be_bytes());
            output.extend_from_slice(&self.challenge.0.to_be_bytes());
            output.extend_from_slice(&self.creation.0.to_be_bytes());
            put_name(output, self.name);
        });
    }
}

/// `complement`: what follows the old form of `send_name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complement {
    /// The high half of the initiator's flags.
    pub flags_high: u32,
    /// The initiator's creation.
    pub creation: Creation,
}

impl Complement {
    /// Reads the body of a message.
    ///
    /// # Errors
    ///
    /// When it is not a complement, or not exactly as long as one.
    pub fn decode(body: &[u8]) -> Result<Complement, MessageError> {
        let mut fields = Fields::tagged(body, b'c')?;
        let complement =
            Complement { flags_high: fields.u32()?, creation: Creation(fields.u32()?) };
        fields.end()?;
        Ok(complement)
    }

    /// Appends the message, length included; only tests send it.
    pub fn encode(&self, prefix: LengthPrefix, output: &mut Vec<u8>) {
        framed(prefix, output, |output| {
            output.push(b'c');
            output.extend_from_slice(&self.flags_high.to_be_bytes());
            output.extend_from_slice(&self.creation.0.to_be_bytes());
        });
    }
}

/// `challenge_reply`: the initiator's proof, and its own challenge.
#[derive(Clone, Copy, Debug)]
pub struct ChallengeReply {
    /// What the acceptor has to hash with the cookie.
    pub challenge: Challenge,
    /// The digest of the acceptor's challenge.
    pub digest: Digest,
}

impl ChallengeReply {
    /// Reads the body of a message.
    ///
    /// # Errors
    ///
    /// When it is not a challenge reply, or not exactly as long as one.
    pub fn decode(body: &[u8]) -> Result<ChallengeReply, MessageError> {
        let mut fields = Fields::tagged(body, b'r')?;
        let reply =
            ChallengeReply { challenge: Challenge(fields.u32()?), digest: Digest(fields.array()?) };
        fields.end()?;
        Ok(reply)
    }

    /// Appends the message, length included.
    pub fn encode(&self, prefix: LengthPrefix, output: &mut Vec<u8>) {
        framed(prefix, output, |output| {
            output.push(b'r');
            output.extend_from_slice(&self.challenge.0.to_be_bytes());
            output.extend_from_slice(&self.digest.0);
        });
    }
}

/// `challenge_ack`: the acceptor's proof; the last message.
#[derive(Clone, Copy, Debug)]
pub struct ChallengeAck {
    /// The digest of the initiator's challenge.
    pub digest: Digest,
}

impl ChallengeAck {
    /// Reads the body of a message.
    ///
    /// # Errors
    ///
    /// When it is not a challenge ack, or not exactly as long as one.
    pub fn decode(body: &[u8]) -> Result<ChallengeAck, MessageError> {
        let mut fields = Fields::tagged(body, b'a')?;
        let ack = ChallengeAck { digest: Digest(fields.array()?) };
        fields.end()?;
        Ok(ack)
    }

    /// Appends the message, length included.
    pub fn encode(&self, prefix: LengthPrefix, output: &mut Vec<u8>) {
        framed(prefix, output, |output| {
            output.push(b'a');
            output.extend_from_slice(&self.digest.0);
        });
    }
}

/// Writes what `body` appends, with its length before it. Bodies are built from checked names and
/// stay far below the 65,535 bytes that the narrow prefix can say.
fn framed(prefix: LengthPrefix, output: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = output.len();
    let width = prefix.width_bytes();
    output.resize(start + width, 0);
    body(output);
    let length_bytes = u32::try_from(output.len() - start - width).unwrap_or(u32::MAX);
    assert!(length_bytes <= u32::from(u16::MAX), "a handshake message of {length_bytes} bytes");
    output[start..start + width].copy_from_slice(&length_bytes.to_be_bytes()[4 - width..]);
}

/// Appends a name with its 16-bit length.
fn put_name(output: &mut Vec<u8>, name: &[u8]) {
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    output.extend_from_slice(&length.to_be_bytes());
    output.extend_from_slice(&name[..usize::from(length)]);
}

/// Foreign bytes made fit for a log line: escaped, and cut after 64.
fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(64)].escape_ascii().to_string()
}

/// The fields of one message, taken from its front.
struct Fields<'a> {
    length_bytes: usize,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(body: &'a [u8]) -> Fields<'a> {
        Fields { length_bytes: body.len(), rest: body }
    }

    fn tagged(body: &'a [u8], tag: u8) -> Result<Fields<'a>, MessageError> {
        let mut fields = Fields::of(body);
        match fields.tag()? {
            came if came == tag => Ok(fields),
            came => Err(MessageError::WrongTag { came: Some(came) }),
        }
    }

    fn tag(&mut self) -> Result<u8, MessageError> {
        let (tag, rest) = self.rest.split_first().ok_or(MessageError::WrongTag { came: None })?;
        self.rest = rest;
        Ok(*tag)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], MessageError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(self.misfit())?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(self.misfit())?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, MessageError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, MessageError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, MessageError> {
        self.array().map(u64::from_be_bytes)
    }

    fn end(&self) -> Result<(), MessageError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.misfit()) }
    }

    fn misfit(&self) -> MessageError {
        MessageError::WrongLength { length_bytes: self.length_bytes }
    }
}
