//! Requests and replies of epmd.
//!
//! A request is `length:u16` and as many bytes, the first its tag. Replies have no length; most
//! end by closing the connection. Every number is big-endian.
//!
//! ```text
//! ALIVE2_REQ     'x' port:u16 type:u8 protocol:u8 highest:u16 lowest:u16
//!                    name_length:u16 name extra_length:u16 extra
//! PORT2_REQ      'z' name
//! NAMES_REQ      'n'      DUMP_REQ 'd'      KILL_REQ 'k'      STOP_REQ 's' name
//!
//! ALIVE2_X_RESP  118 result:u8 creation:u32      ALIVE2_RESP 121 result:u8 creation:u16
//! PORT2_RESP     119 0 port:u16 … extra (as in ALIVE2_REQ)     | 119 1
//! ```
//!
//! OTP: erl_dist_protocol, "EPMD Protocol".

use std::fmt;

/// Most bytes of a request that are accepted, its length prefix not counted.
pub const REQUEST_BYTES_MAX: usize = 3057;
/// Most bytes of a name; of the extra field as well.
pub const FIELD_BYTES_MAX: usize = 1020;
/// Most characters of a name that is registered.
pub const NAME_CHARS_MAX: usize = 255;
/// Most characters of a name that is looked up: OTP counts a terminator there.
pub const LOOKUP_NAME_CHARS_MAX: usize = 254;
/// The creation that comes with a refused registration; it means nothing.
pub const REFUSED_CREATION: u32 = 99;

const ALIVE2_REQ: u8 = b'x';
const PORT2_REQ: u8 = b'z';
const NAMES_REQ: u8 = b'n';
const DUMP_REQ: u8 = b'd';
const KILL_REQ: u8 = b'k';
const STOP_REQ: u8 = b's';
const ALIVE2_X_RESP: u8 = 118;
const ALIVE2_RESP: u8 = 121;
const PORT2_RESP: u8 = 119;
/// Bytes of an ALIVE2_REQ without name and extra, its tag counted.
const ALIVE2_FIXED_BYTES: usize = 13;

/// What kind of node is registered. epmd does not look at it, and OTP says
/// [`NodeType::NORMAL`] even for hidden nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeType(pub u8);

impl NodeType {
    /// `M`: an ordinary node.
    pub const NORMAL: NodeType = NodeType(77);
    /// `H`: a hidden one.
    pub const HIDDEN: NodeType = NodeType(72);
}

/// A node as epmd knows it: what is registered, and what a look-up gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeEntry<'a> {
    /// The port it listens on.
    pub port: u16,
    /// Its kind.
    pub node_type: NodeType,
    /// 0 for TCP; OTP says 0 for IPv6 and TLS as well.
    pub protocol: u8,
    /// The highest version of the distribution protocol it speaks: 6 since OTP 23.
    pub highest_version: u16,
    /// The lowest version it speaks: 5 in what OTP 25 to 29 register.
    pub lowest_version: u16,
    /// The part of its name before the `@`, in UTF-8.
    pub name: &'a [u8],
    /// Whatever else it wants known; OTP leaves it empty.
    pub extra: &'a [u8],
}

impl<'a> NodeEntry<'a> {
    /// An ordinary TCP node of protocol versions 5 to 6, as OTP registers itself: 5 is the old
    /// form of the name message, which is still accepted.
    #[must_use]
    pub const fn new(name: &'a str, port: u16) -> NodeEntry<'a> {
        NodeEntry {
            port,
            node_type: NodeType::NORMAL,
            protocol: 0,
            highest_version: 6,
            lowest_version: 5,
            name: name.as_bytes(),
            extra: &[],
        }
    }

    /// Takes the fields from the front of `bytes`; `None` while some are missing.
    fn decode(bytes: &'a [u8]) -> Option<(NodeEntry<'a>, &'a [u8])> {
        let (port, bytes) = split_u16(bytes)?;
        let ([node_type, protocol], bytes) = bytes.split_first_chunk()?;
        let (highest_version, bytes) = split_u16(bytes)?;
        let (lowest_version, bytes) = split_u16(bytes)?;
        let (name, bytes) = split_field(bytes)?;
        let (extra, bytes) = split_field(bytes)?;
        let node_type = NodeType(*node_type);
        let protocol = *protocol;
        let entry =
            NodeEntry { port, node_type, protocol, highest_version, lowest_version, name, extra };
        Some((entry, bytes))
    }

    fn encode(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.port.to_be_bytes());
        output.extend_from_slice(&[self.node_type.0, self.protocol]);
        output.extend_from_slice(&self.highest_version.to_be_bytes());
        output.extend_from_slice(&self.lowest_version.to_be_bytes());
        for field in [self.name, self.extra] {
            let length = u16::try_from(field.len()).unwrap_or(u16::MAX);
            output.extend_from_slice(&length.to_be_bytes());
            output.extend_from_slice(&field[..usize::from(length)]);
        }
    }
}

/// A request to epmd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Register this node for as long as the connection stays open.
    Alive(NodeEntry<'a>),
    /// Where is the node of this name?
    Port {
        /// The name, UTF-8.
        name: &'a [u8],
    },
    /// Which nodes are there?
    Names,
    /// Which nodes are there and were there, for a person to read?
    Dump,
    /// End the daemon.
    Kill,
    /// Unregister this name.
    Stop {
        /// The name, UTF-8.
        name: &'a [u8],
    },
}

impl<'a> Request<'a> {
    /// Reads the body of a request: what follows its length.
    ///
    /// What is refused here is what epmd closes the connection for without an answer. A name that
    /// may not be registered is not refused here: that gets an answer.
    ///
    /// # Errors
    ///
    /// The first check that fails, in OTP's order.
    // OTP: epmd_srv.c, do_request.
    pub fn decode(body: &'a [u8]) -> Result<Request<'a>, RequestError> {
        let (tag, fields) = body.split_first().ok_or(RequestError::Empty)?;
        match *tag {
            ALIVE2_REQ => decode_alive(body, fields).map(Request::Alive),
            PORT2_REQ => lookup_name(fields).map(|name| Request::Port { name }),
            NAMES_REQ => Ok(Request::Names),
            DUMP_REQ => Ok(Request::Dump),
            KILL_REQ => Ok(Request::Kill),
            STOP_REQ => lookup_name(fields).map(|name| Request::Stop { name }),
            tag => Err(RequestError::UnknownTag { tag }),
        }
    }

    /// Appends the request, length included.
    ///
    /// # Errors
    ///
    /// When epmd would not accept it for its length.
    pub fn encode(&self, output: &mut Vec<u8>) -> Result<(), RequestError> {
        let start = output.len();
        output.extend_from_slice(&[0, 0]);
        match self {
            Request::Alive(entry) => {
                if entry.name.len() > FIELD_BYTES_MAX || entry.extra.len() > FIELD_BYTES_MAX {
                    output.truncate(start);
                    return Err(RequestError::BadName);
                }
                output.push(ALIVE2_REQ);
                entry.encode(output);
            }
            Request::Port { name } => put_tagged(output, PORT2_REQ, name),
            Request::Names => output.push(NAMES_REQ),
            Request::Dump => output.push(DUMP_REQ),
            Request::Kill => output.push(KILL_REQ),
            Request::Stop { name } => put_tagged(output, STOP_REQ, name),
        }
        let length_bytes = output.len() - start - 2;
        match u16::try_from(length_bytes) {
            Ok(length) if length_bytes <= REQUEST_BYTES_MAX => {
                output[start..start + 2].copy_from_slice(&length.to_be_bytes());
                Ok(())
            }
            _ => {
                output.truncate(start);
                Err(RequestError::TooLong { length_bytes })
            }
        }
    }
}

fn put_tagged(output: &mut Vec<u8>, tag: u8, name: &[u8]) {
    output.push(tag);
    output.extend_from_slice(name);
}

fn decode_alive<'a>(body: &'a [u8], fields: &'a [u8]) -> Result<NodeEntry<'a>, RequestError> {
    if body.len() <= ALIVE2_FIXED_BYTES {
        return Err(RequestError::Short);
    }
    // Bytes after the extra field are ignored, as OTP does.
    let (entry, _) = NodeEntry::decode(fields).ok_or(RequestError::Short)?;
    if entry.name.is_empty() || entry.name.contains(&0) {
        return Err(RequestError::BadName);
    }
    Ok(entry)
}

/// The name in a PORT2_REQ or STOP_REQ. Some old clients end it with a NUL.
fn lookup_name(bytes: &[u8]) -> Result<&[u8], RequestError> {
    let name = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if name.is_empty() || name.contains(&0) || !is_name(name, LOOKUP_NAME_CHARS_MAX) {
        return Err(RequestError::BadName);
    }
    Ok(name)
}

/// Whether `name` is UTF-8, of at most [`FIELD_BYTES_MAX`] bytes and `chars_max` characters.
pub(crate) fn is_name(name: &[u8], chars_max: usize) -> bool {
    name.len() <= FIELD_BYTES_MAX
        && std::str::from_utf8(name).is_ok_and(|text| text.chars().count() <= chars_max)
}

/// Why a request is none. The daemon closes the connection for it, without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// A name that is empty, too long, not UTF-8, or holds a NUL.
    BadName,
    /// It has no tag.
    Empty,
    /// Its fields do not fit into it.
    Short,
    /// Longer than [`REQUEST_BYTES_MAX`].
    TooLong {
        /// Its length.
        length_bytes: usize,
    },
    /// A tag that no request has.
    UnknownTag {
        /// The tag.
        tag: u8,
    },
}

impl fmt::Display for RequestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::BadName => write!(
                formatter,
                "the name is empty, not UTF-8, holds a NUL, or is longer than \
                 {NAME_CHARS_MAX} characters"
            ),
            RequestError::Empty => formatter.write_str("the request is empty"),
            RequestError::Short => formatter.write_str("the request is too short for its fields"),
            RequestError::TooLong { length_bytes } => write!(
                formatter,
                "the request has {length_bytes} bytes, at most {REQUEST_BYTES_MAX} are accepted"
            ),
            RequestError::UnknownTag { tag } => {
                write!(formatter, "no request begins with the byte {tag}")
            }
        }
    }
}

impl std::error::Error for RequestError {}

/// The answer to a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AliveReply {
    /// 0 when registered; otherwise the name is taken or not allowed.
    pub result: u8,
    /// The creation of the node; meaningless when refused.
    pub creation: u32,
    /// Whether the creation has 32 bits, as all since OTP 23 get it, or is one of 1 to 3.
    pub wide: bool,
}

impl AliveReply {
    /// Appends the reply.
    pub fn encode(&self, output: &mut Vec<u8>) {
        let creation = self.creation.to_be_bytes();
        if self.wide {
            output.extend_from_slice(&[ALIVE2_X_RESP, self.result]);
            output.extend_from_slice(&creation);
        } else {
            output.extend_from_slice(&[ALIVE2_RESP, self.result]);
            output.extend_from_slice(&creation[2..]);
        }
    }

    /// Reads a reply; `None` while it is incomplete.
    ///
    /// # Errors
    ///
    /// When it is no such reply, or bytes follow it.
    pub fn decode(bytes: &[u8]) -> Result<Option<AliveReply>, ReplyError> {
        let length_bytes = match bytes.first() {
            None => return Ok(None),
            Some(&ALIVE2_X_RESP) => 6,
            Some(&ALIVE2_RESP) => 4,
            Some(&tag) => return Err(ReplyError::WrongTag { tag }),
        };
        match bytes {
            [_, result, creation @ ..] if bytes.len() == length_bytes => {
                let creation = creation.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
                Ok(Some(AliveReply { result: *result, creation, wide: length_bytes == 6 }))
            }
            _ if bytes.len() > length_bytes => Err(ReplyError::Trailing),
            _ => Ok(None),
        }
    }
}

/// The answer to a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortReply<'a> {
    /// The node is registered.
    Found(NodeEntry<'a>),
    /// No node of that name is.
    NotFound,
}

impl<'a> PortReply<'a> {
    /// Appends the reply.
    pub fn encode(&self, output: &mut Vec<u8>) {
        match self {
            PortReply::Found(entry) => {
                output.extend_from_slice(&[PORT2_RESP, 0]);
                entry.encode(output);
            }
            PortReply::NotFound => output.extend_from_slice(&[PORT2_RESP, 1]),
        }
    }

    /// Reads a reply; `None` while it is incomplete. Bytes after it are ignored, as OTP does.
    ///
    /// # Errors
    ///
    /// When it is no such reply, or announces fields longer than [`FIELD_BYTES_MAX`].
    pub fn decode(bytes: &'a [u8]) -> Result<Option<PortReply<'a>>, ReplyError> {
        let fields = match bytes {
            [] | [PORT2_RESP] => return Ok(None),
            [PORT2_RESP, 0, fields @ ..] => fields,
            [PORT2_RESP, ..] => return Ok(Some(PortReply::NotFound)),
            [tag, ..] => return Err(ReplyError::WrongTag { tag: *tag }),
        };
        match NodeEntry::decode(fields) {
            Some((entry, _)) if entry.name.len().max(entry.extra.len()) > FIELD_BYTES_MAX => {
                Err(ReplyError::TooLong)
            }
            Some((entry, _)) => Ok(Some(PortReply::Found(entry))),
            // More than the longest reply, and still not complete.
            None if fields.len() > ALIVE2_FIXED_BYTES + 2 * FIELD_BYTES_MAX => {
                Err(ReplyError::TooLong)
            }
            None => Ok(None),
        }
    }
}

/// Why a reply is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// Longer than any reply may be.
    TooLong,
    /// Bytes follow it.
    Trailing,
    /// It begins with the wrong byte.
    WrongTag {
        /// The byte.
        tag: u8,
    },
}

impl fmt::Display for ReplyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::TooLong => formatter.write_str("the answer is longer than any may be"),
            ReplyError::Trailing => formatter.write_str("bytes follow the answer"),
            ReplyError::WrongTag { tag } => {
                write!(formatter, "the answer begins with the byte {tag}")
            }
        }
    }
}

impl std::error::Error for ReplyError {}

fn split_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*number), rest))
}

fn split_field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = split_u16(bytes)?;
    rest.split_at_checked(usize::from(length))
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;

    #[test]
    fn recorded_requests_decode_and_encode() {
        let gold = NodeEntry { lowest_version: 6, ..NodeEntry::new("gold", 0x1234) };
        let hidden = NodeEntry {
            port: 0x1267,
            node_type: NodeType::HIDDEN,
            highest_version: 5,
            lowest_version: 5,
            name: b"gold5",
            extra: b"ABC\0\0",
            ..gold
        };
        let cases = [
            ("epmd_alive2_req", Some(Request::Alive(gold))),
            ("epmd_alive2_req_v5", Some(Request::Alive(hidden))),
            ("epmd_port2_req", Some(Request::Port { name: b"gold" })),
            ("real_port2_req", Some(Request::Port { name: b"foo" })),
            ("real_alive2_req", None),
        ];
        for (name, expected) in cases {
            for (otp, bytes) in golden::all(name) {
                let request = Request::decode(&bytes[2..]).expect(name);
                if let Some(expected) = expected {
                    assert_eq!(request, expected, "{name} of {otp}");
                } else {
                    let Request::Alive(entry) = request else { panic!("{request:?}") };
                    assert_eq!(
                        entry,
                        NodeEntry { name: entry.name, ..NodeEntry::new("", entry.port) }
                    );
                }
                let mut encoded = Vec::new();
                request.encode(&mut encoded).expect(name);
                assert_eq!(encoded, bytes, "{name} of {otp}");
            }
        }
    }

    #[test]
    fn recorded_replies_decode_and_encode() {
        let alive = [
            ("epmd_alive2_x_resp", 0, true),
            ("epmd_alive2_duplicate", 1, true),
            ("epmd_alive2_resp_v5", 0, false),
            ("epmd_alive2_reregister", 0, true),
            ("real_alive2_x_resp", 0, true),
        ];
        for (name, result, wide) in alive {
            for (_, bytes) in golden::all(name) {
                let reply = AliveReply::decode(&bytes).expect(name).expect(name);
                assert_eq!((reply.result, reply.wide), (result, wide), "{name}");
                let mut encoded = Vec::new();
                reply.encode(&mut encoded);
                assert_eq!(encoded, bytes, "{name}");
            }
        }
        for name in ["epmd_port2_resp", "epmd_port2_resp_v5_extra", "epmd_port2_resp_notfound"] {
            for (_, bytes) in golden::all(name) {
                let reply = PortReply::decode(&bytes).expect(name).expect(name);
                let mut encoded = Vec::new();
                reply.encode(&mut encoded);
                assert_eq!(encoded, bytes, "{name}");
                for cut in 0..bytes.len() {
                    assert_eq!(PortReply::decode(&bytes[..cut]), Ok(None), "{name}");
                }
            }
        }
    }

    #[test]
    fn broken_requests_are_refused() {
        let alive = |tail: &[u8]| [b"x\0\x01M\0\0\x06\0\x06", tail].concat();
        let cases = [
            (vec![], RequestError::Empty),
            (vec![b'a'], RequestError::UnknownTag { tag: b'a' }),
            (vec![0], RequestError::UnknownTag { tag: 0 }),
            (alive(b""), RequestError::Short),
            (alive(b"\0\0\0\0"), RequestError::Short),
            (alive(b"\0\x02a\0\0"), RequestError::Short),
            (alive(b"\0\x01a\0"), RequestError::Short),
            (alive(b"\0\x01a\0\x01"), RequestError::Short),
            (alive(b"\xff\xffa\0\0"), RequestError::Short),
            (alive(b"\0\0\0\x01e"), RequestError::BadName),
            (alive(b"\0\x03a\0b\0\0"), RequestError::BadName),
            (b"z".to_vec(), RequestError::BadName),
            (b"z\0".to_vec(), RequestError::BadName),
            (b"za\0\0".to_vec(), RequestError::BadName),
            (b"za\0b".to_vec(), RequestError::BadName),
            (b"z\xff".to_vec(), RequestError::BadName),
            (b"s".to_vec(), RequestError::BadName),
            ([&b"z"[..], &[b'a'; 255]].concat(), RequestError::BadName),
        ];
        for (body, error) in cases {
            assert_eq!(Request::decode(&body), Err(error), "{}", body.escape_ascii());
        }
        assert!(Request::decode(&alive(b"\0\x01a\0\0trailing")).is_ok());
        assert_eq!(Request::decode(b"za\0"), Ok(Request::Port { name: b"a" }));
        assert!(Request::decode(&[&b"z"[..], "é".repeat(254).as_bytes()].concat()).is_ok());
    }

    #[test]
    fn requests_too_long_to_be_accepted_are_not_made() {
        let mut output = b"before".to_vec();
        let name = [b'a'; REQUEST_BYTES_MAX];
        let error = RequestError::TooLong { length_bytes: REQUEST_BYTES_MAX + 1 };
        assert_eq!(Request::Port { name: &name }.encode(&mut output), Err(error));
        let entry = NodeEntry { extra: &name, ..NodeEntry::new("a", 1) };
        assert_eq!(Request::Alive(entry).encode(&mut output), Err(RequestError::BadName));
        assert_eq!(output, b"before");
    }

    #[test]
    fn broken_replies_are_refused() {
        assert_eq!(AliveReply::decode(b"v\0\0\0\0\x01!"), Err(ReplyError::Trailing));
        assert_eq!(AliveReply::decode(b"w"), Err(ReplyError::WrongTag { tag: b'w' }));
        assert_eq!(PortReply::decode(b"v"), Err(ReplyError::WrongTag { tag: b'v' }));
        let endless = [&b"w\0\0\x01M\0\0\x06\0\x06\xff\xff"[..], &[b'a'; 3000]].concat();
        assert_eq!(PortReply::decode(&endless), Err(ReplyError::TooLong));
    }
}
