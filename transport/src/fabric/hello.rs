//! What each side says first on a fresh link, and what follows from both.

use std::fmt;
use std::ops::{Range, RangeInclusive};

use sha2::{Digest as _, Sha256};

use super::error::{FabricError, FabricMessage, MalformedMessage};
use super::wire::{self, Fields};
use super::{LANES_MAX, LaneId, Role};
use crate::handshake::LengthPrefix;

/// The versions of the fabric that this implementation speaks.
pub const VERSIONS: RangeInclusive<u8> = 1..=1;

/// What every node accepts as the payload of one frame, in bytes, and the most that one carries.
pub const FRAME_PAYLOAD_BYTES_MAX: u32 = 65_536;

/// Most bytes of the name of an abstract Unix socket, its leading NUL not counted.
pub const UNIX_NAME_BYTES_MAX: usize = 107;

/// Most bytes a hello may have, those of later versions included.
pub const HELLO_BYTES_MAX: usize = 1024;

const WISH_CHECKSUM: u8 = 1;

/// What one node can and wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The versions it speaks, from 1.
    pub versions: RangeInclusive<u8>,
    /// How many shards it has, at least 1.
    pub shards: u16,
    /// Most lanes it wants, at least 1.
    pub lanes_max: u8,
    /// Whether frames are to carry checksums. One side is enough.
    pub asks_checksum: bool,
    /// The largest payload of one frame that it accepts, at least [`FRAME_PAYLOAD_BYTES_MAX`].
    pub frame_bytes_max: u32,
    /// The TCP port it listens on; 0 if it does not.
    pub port: u16,
    /// The host it runs on.
    pub host: HostId,
    /// Its half of the session's id: fresh, from the operating system's random source.
    pub session_half: [u8; 16],
    /// The name of the abstract Unix socket it listens on, without the leading NUL; empty if it
    /// does not. At most [`UNIX_NAME_BYTES_MAX`] bytes.
    pub unix_name: Vec<u8>,
}

/// A host, or rather a network on it: equal for two nodes exactly if one can reach the abstract
/// Unix sockets of the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostId(pub [u8; 16]);

impl HostId {
    /// A host that did not say which it is; it is the same as no other.
    pub const UNKNOWN: HostId = HostId([0; 16]);

    /// The host with this `/proc/sys/kernel/random/boot_id` (blanks at its ends do not count), in
    /// the network namespace with this inode.
    #[must_use]
    pub fn new(boot_id: &str, network_namespace: u64) -> HostId {
        let mut hash = Sha256::new();
        hash.update(boot_id.trim());
        hash.update(network_namespace.to_le_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        HostId(id)
    }

    fn is_known(self) -> bool {
        self != HostId::UNKNOWN
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "HostId({:032x})", u128::from_be_bytes(self.0))
    }
}

/// A session of two nodes: the initiator's half and the acceptor's.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub [u8; 32]);

impl SessionId {
    /// The session of these two halves.
    #[must_use]
    pub fn new(initiator_half: [u8; 16], acceptor_half: [u8; 16]) -> SessionId {
        let mut id = [0; 32];
        id[..16].copy_from_slice(&initiator_half);
        id[16..].copy_from_slice(&acceptor_half);
        SessionId(id)
    }
}

/// Shows the first bytes only: who knows them all can trouble the session.
impl fmt::Debug for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(formatter, "SessionId({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

impl Hello {
    /// Appends the message with its length before it, as the link's frames have it.
    ///
    /// # Panics
    ///
    /// When the name of the Unix socket is longer than [`UNIX_NAME_BYTES_MAX`].
    pub fn encode(&self, output: &mut Vec<u8>) {
        assert!(self.unix_name.len() <= UNIX_NAME_BYTES_MAX, "the name of a Unix socket");
        wire::framed(LengthPrefix::Four, wire::kind::HELLO, output, |output| {
            output.extend_from_slice(&[*self.versions.start(), *self.versions.end()]);
            output.extend_from_slice(&self.shards.to_le_bytes());
            output.push(self.lanes_max);
            output.push(if self.asks_checksum { WISH_CHECKSUM } else { 0 });
            output.extend_from_slice(&self.frame_bytes_max.to_le_bytes());
            output.extend_from_slice(&self.port.to_le_bytes());
            output.extend_from_slice(&self.host.0);
            output.extend_from_slice(&self.session_half);
            output.push(self.unix_name.len() as u8);
            output.extend_from_slice(&self.unix_name);
        });
    }

    /// Reads the body of a message, its length cut off. Wishes and bytes that this version does
    /// not know are passed over.
    ///
    /// # Errors
    ///
    /// When it is no hello, too short for its fields, or a field has no sense.
    pub fn decode(body: &[u8]) -> Result<Hello, FabricError> {
        Hello::read(body)
            .map_err(|error| FabricError::Message { expected: FabricMessage::Hello, error })
    }

    fn read(body: &[u8]) -> Result<Hello, MalformedMessage> {
        let mut fields = Fields::of(body, wire::kind::HELLO)?;
        let version_min = fields.u8()?;
        let version_max = fields.u8()?;
        check("version_min", version_min, 1..=version_max)?;
        let shards = fields.u16()?;
        check("shards", shards, 1..=u16::MAX)?;
        let lanes_max = fields.u8()?;
        check("lanes_max", lanes_max, 1..=u8::MAX)?;
        let wishes = fields.u8()?;
        let frame_bytes_max = fields.u32()?;
        check("frame_max", frame_bytes_max, FRAME_PAYLOAD_BYTES_MAX..=u32::MAX)?;
        let port = fields.u16()?;
        let host = HostId(fields.array()?);
        let session_half = fields.array()?;
        let unix_length = fields.u8()?;
        check("unix_len", unix_length, 0..=UNIX_NAME_BYTES_MAX as u8)?;
        Ok(Hello {
            versions: version_min..=version_max,
            shards,
            lanes_max,
            asks_checksum: wishes & WISH_CHECKSUM != 0,
            frame_bytes_max,
            port,
            host,
            session_half,
            unix_name: fields.take(usize::from(unix_length))?.to_vec(),
        })
    }
}

fn check<T>(
    field: &'static str,
    came: T,
    allowed: RangeInclusive<T>,
) -> Result<(), MalformedMessage>
where
    T: PartialOrd + Into<u64> + Copy,
{
    if allowed.contains(&came) {
        return Ok(());
    }
    Err(MalformedMessage::BadField { field, came: came.into() })
}

/// What two hellos lead to. Both sides come to the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreed {
    /// The link begins a session.
    Session(Box<Agreement>),
    /// There is no version that both speak: the link is an ordinary one of OTP.
    Plain,
}

/// What two nodes agreed on for a session, as one of them sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// This node's role in the first link's handshake, and so in every join.
    pub role: Role,
    /// The version both speak.
    pub version: u8,
    /// The session.
    pub session: SessionId,
    /// How many lanes are wanted: those from 0 to below this number.
    pub lanes: u8,
    /// Whether frames carry checksums.
    pub checksum: bool,
    /// The largest payload of one frame that the peer accepts, in bytes.
    pub frame_bytes_max: u32,
    /// Whether both nodes are on one host and the acceptor listens on a Unix socket: then every
    /// lane is joined there, lane 0 too.
    pub same_host: bool,
    /// How many shards the peer has.
    pub peer_shards: u16,
    /// The TCP port the peer listens on; 0 if it does not.
    pub peer_port: u16,
    /// The abstract Unix socket the peer listens on; empty if it does not.
    pub peer_unix: Vec<u8>,
    /// Whether a lane that broke can be connected again: the acceptor listens somewhere.
    pub resumable: bool,
}

impl Agreement {
    /// The lanes that the initiator joins before the session is settled; all others there are
    /// begin on the first link.
    pub fn joins(&self) -> impl Iterator<Item = LaneId> + use<> {
        self.join_range().map(LaneId)
    }

    pub(super) fn join_range(&self) -> Range<u8> {
        let first = if self.same_host { 0 } else { 1 };
        first..self.lanes
    }
}

/// What follows from this node's hello and the peer's. `role` is this node's in the handshake.
#[must_use]
pub fn agree(role: Role, ours: &Hello, theirs: &Hello) -> Agreed {
    let version = *ours.versions.end().min(theirs.versions.end());
    if version < *ours.versions.start().max(theirs.versions.start()) {
        return Agreed::Plain;
    }
    let (initiator, acceptor) = match role {
        Role::Initiator => (ours, theirs),
        Role::Acceptor => (theirs, ours),
    };
    let same_host =
        ours.host == theirs.host && ours.host.is_known() && !acceptor.unix_name.is_empty();
    let resumable = same_host || acceptor.port != 0;
    let wanted = ours.shards.max(theirs.shards).min(u16::from(LANES_MAX)) as u8;
    let lanes = match resumable {
        true => wanted.min(ours.lanes_max).min(theirs.lanes_max),
        // There is nowhere to join another.
        false => 1,
    };
    Agreed::Session(Box::new(Agreement {
        role,
        version,
        session: SessionId::new(initiator.session_half, acceptor.session_half),
        lanes,
        checksum: ours.asks_checksum || theirs.asks_checksum,
        frame_bytes_max: theirs.frame_bytes_max,
        same_host,
        peer_shards: theirs.shards,
        peer_port: theirs.port,
        peer_unix: theirs.unix_name.clone(),
        resumable,
    }))
}
