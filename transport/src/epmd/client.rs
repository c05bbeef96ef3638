//! What a node or a command asks of epmd, each request a machine of its own.
//!
//! Connect, write [`take_output`](Lookup::take_output), hand in what arrives with `receive` and
//! the end of the connection with `closed`, and give up at `deadline`.

use std::fmt;
use std::time::{Duration, Instant};

use super::message::{AliveReply, NodeEntry, PortReply, ReplyError, Request, RequestError};
use crate::term::Creation;

/// How long an answer may take unless the caller says otherwise; OTP's value.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a list of names that are taken: about 600,000 nodes.
pub const NAMES_BYTES_MAX: usize = 16 << 20;

/// Why a request to epmd failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// epmd closed the connection before its answer was complete. It does so for requests it
    /// does not like, and for requests from other hosts that only its own may make.
    Closed,
    /// The answer is not one of epmd: something else may listen on its port.
    Reply(ReplyError),
    /// The request cannot be made.
    Request(RequestError),
    /// epmd refused to register the name: another node has it.
    Refused {
        /// epmd's result code, not 0.
        result: u8,
    },
    /// epmd sent bytes on a connection that should stay silent while a node is registered.
    Spoke,
    /// No answer came in time.
    Timeout {
        /// The time it was given.
        limit: Duration,
    },
    /// The answer holds a line that is none of epmd's; shown escaped and cut.
    Line {
        /// The line, printable.
        came: String,
    },
    /// The answer is about another name than was asked for.
    WrongName,
}

impl fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Closed => {
                formatter.write_str("epmd closed the connection without a complete answer")
            }
            ClientError::Reply(error) => {
                write!(formatter, "{error}; is it epmd that listens on this port?")
            }
            ClientError::Request(error) => write!(formatter, "{error}"),
            ClientError::Refused { result } => write!(
                formatter,
                "epmd refused the name (result {result}); a node of this name seems to be in use \
                 on this host: stop it or choose another name"
            ),
            ClientError::Spoke => {
                formatter.write_str("epmd sent bytes to a registered node; it must stay silent")
            }
            ClientError::Timeout { limit } => {
                write!(formatter, "epmd did not answer within {limit:?}")
            }
            ClientError::Line { came } => write!(
                formatter,
                "the answer holds the line \"{came}\"; is it epmd that listens on this port?"
            ),
            ClientError::WrongName => formatter.write_str("epmd answered about another name"),
        }
    }
}

impl std::error::Error for ClientError {}

/// What all machines here have: the request, what came, and the time.
#[derive(Debug)]
struct Exchange {
    output: Vec<u8>,
    received: Vec<u8>,
    limit: Duration,
    deadline: Instant,
}

impl Exchange {
    fn start(request: Request<'_>, now: Instant, limit: Duration) -> Result<Exchange, ClientError> {
        let mut output = Vec::new();
        request.encode(&mut output).map_err(ClientError::Request)?;
        Ok(Exchange { output, received: Vec::new(), limit, deadline: now + limit })
    }

    fn expire(&self, now: Instant) -> Result<(), ClientError> {
        if now >= self.deadline {
            return Err(ClientError::Timeout { limit: self.limit });
        }
        Ok(())
    }

    /// Takes what arrived, refusing to hold more than an answer can have.
    fn receive(&mut self, now: Instant, bytes: &[u8], bytes_max: usize) -> Result<(), ClientError> {
        self.expire(now)?;
        if self.received.len() + bytes.len() > bytes_max {
            return Err(ClientError::Reply(ReplyError::TooLong));
        }
        self.received.extend_from_slice(bytes);
        Ok(())
    }
}

/// Gives the machine the methods that read the same on all of them.
macro_rules! exchange {
    ($machine:ident) => {
        impl $machine {
            /// The bytes to write now; taking them empties the buffer.
            #[must_use]
            pub fn take_output(&mut self) -> Vec<u8> {
                std::mem::take(&mut self.exchange.output)
            }

            /// Checks the time.
            ///
            /// # Errors
            ///
            /// When the answer took too long; close the connection.
            pub fn expire(&self, now: Instant) -> Result<(), ClientError> {
                self.exchange.expire(now)
            }
        }
    };
    ($machine:ident, deadline) => {
        exchange!($machine);

        impl $machine {
            /// When [`expire`](Self::expire) is due.
            #[must_use]
            pub fn deadline(&self) -> Instant {
                self.exchange.deadline
            }
        }
    };
}

/// Longest answer to a registration or a look-up, with room to notice one that is longer.
const SHORT_ANSWER_BYTES_MAX: usize = 4096;

/// Registers a node, and stays registered as long as the connection is open.
///
/// Never write on that connection again and never close half of it: any byte and any FIN
/// unregisters the node. Should it end, register again with the same data; a node keeps the
/// creation of its first registration for life.
#[derive(Debug)]
pub struct Register {
    exchange: Exchange,
    creation: Option<Creation>,
}

impl Register {
    /// Starts the registration of `entry` on a fresh connection.
    ///
    /// # Errors
    ///
    /// [`ClientError::Request`] when the entry is too long.
    pub fn new(
        entry: &NodeEntry<'_>,
        now: Instant,
        limit: Duration,
    ) -> Result<Register, ClientError> {
        let exchange = Exchange::start(Request::Alive(*entry), now, limit)?;
        Ok(Register { exchange, creation: None })
    }

    /// Takes what arrived; gives the creation once the node is registered, and never again.
    ///
    /// # Errors
    ///
    /// When the name is refused, the answer is none, or anything comes after it.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> Result<Option<Creation>, ClientError> {
        if self.creation.is_some() {
            return if bytes.is_empty() { Ok(None) } else { Err(ClientError::Spoke) };
        }
        self.exchange.receive(now, bytes, SHORT_ANSWER_BYTES_MAX)?;
        let reply = AliveReply::decode(&self.exchange.received).map_err(ClientError::Reply)?;
        match reply {
            None => Ok(None),
            Some(AliveReply { result: 0, creation, .. }) => {
                self.creation = Some(Creation(creation));
                Ok(self.creation)
            }
            Some(AliveReply { result, .. }) => Err(ClientError::Refused { result }),
        }
    }

    /// The creation, once registered.
    #[must_use]
    pub fn creation(&self) -> Option<Creation> {
        self.creation
    }

    /// When [`expire`](Self::expire) is due; never once registered.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.creation.is_none().then_some(self.exchange.deadline)
    }

    /// The connection ended: the node is not registered, or no longer.
    #[must_use]
    pub fn closed(self) -> ClientError {
        ClientError::Closed
    }
}

exchange!(Register);

/// Asks where a node is.
#[derive(Debug)]
pub struct Lookup {
    exchange: Exchange,
    name: Box<[u8]>,
}

/// Where a node is; the answer to a [`Lookup`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The port it listens on.
    pub port: u16,
    /// The highest version of the distribution protocol it speaks.
    pub highest_version: u16,
    /// The lowest version it speaks.
    pub lowest_version: u16,
    /// What it registered beside.
    pub extra: Box<[u8]>,
}

/// The answer to a [`Lookup`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The node is there.
    Node(Location),
    /// No node of that name is registered.
    Nowhere,
}

impl Lookup {
    /// Starts a look-up of `name`, the part of a node name before the `@`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Request`] when the name is too long.
    pub fn new(name: &str, now: Instant, limit: Duration) -> Result<Lookup, ClientError> {
        let name = name.as_bytes();
        let exchange = Exchange::start(Request::Port { name }, now, limit)?;
        Ok(Lookup { exchange, name: name.into() })
    }

    /// Takes what arrived; gives the answer once it is complete. There is no need to wait for
    /// the daemon to close, as OTP's client does.
    ///
    /// # Errors
    ///
    /// When the answer is none, or about another name.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> Result<Option<Found>, ClientError> {
        self.exchange.receive(now, bytes, SHORT_ANSWER_BYTES_MAX)?;
        let reply = PortReply::decode(&self.exchange.received).map_err(ClientError::Reply)?;
        match reply {
            None => Ok(None),
            Some(PortReply::NotFound) => Ok(Some(Found::Nowhere)),
            Some(PortReply::Found(entry)) if *entry.name != *self.name => {
                Err(ClientError::WrongName)
            }
            Some(PortReply::Found(entry)) => Ok(Some(Found::Node(Location {
                port: entry.port,
                highest_version: entry.highest_version,
                lowest_version: entry.lowest_version,
                extra: entry.extra.into(),
            }))),
        }
    }

    /// The connection ended before the answer was complete.
    #[must_use]
    pub fn closed(self) -> ClientError {
        ClientError::Closed
    }
}

exchange!(Lookup, deadline);

/// Asks which nodes are registered.
#[derive(Debug)]
pub struct Names {
    exchange: Exchange,
}

/// The answer to [`Names`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameList {
    /// The port of the epmd that answered.
    pub epmd_port: u32,
    /// The nodes, newest registration first, and their ports.
    pub nodes: Vec<(String, u16)>,
}

impl Names {
    /// Starts the request on a fresh connection.
    ///
    /// # Errors
    ///
    /// None today; the signature is that of its siblings.
    pub fn new(now: Instant, limit: Duration) -> Result<Names, ClientError> {
        Ok(Names { exchange: Exchange::start(Request::Names, now, limit)? })
    }

    /// Takes what arrived; the answer is complete when the connection ends.
    ///
    /// # Errors
    ///
    /// When it is longer than [`NAMES_BYTES_MAX`], or too late.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> Result<(), ClientError> {
        self.exchange.receive(now, bytes, NAMES_BYTES_MAX)
    }

    /// The connection ended: reads the answer.
    ///
    /// # Errors
    ///
    /// When the answer is incomplete or none.
    // OTP: erl_epmd.erl, scan_names/1.
    pub fn closed(self) -> Result<NameList, ClientError> {
        let (epmd_port, text) =
            self.exchange.received.split_first_chunk().ok_or(ClientError::Closed)?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let nodes = lines.map(name_line).collect::<Result<_, _>>()?;
        Ok(NameList { epmd_port: u32::from_be_bytes(*epmd_port), nodes })
    }
}

exchange!(Names, deadline);

/// Reads `name NAME at port PORT`.
fn name_line(line: &[u8]) -> Result<(String, u16), ClientError> {
    let parse = || {
        let line = std::str::from_utf8(line).ok()?;
        // A name may hold anything but a NUL, so the port is looked for from the end.
        let (name, port) = line.strip_prefix("name ")?.rsplit_once(" at port ")?;
        Some((name.to_owned(), port.parse().ok()?))
    };
    parse().ok_or_else(|| ClientError::Line {
        came: line[..line.len().min(64)].escape_ascii().to_string(),
    })
}

/// Asks epmd to end.
#[derive(Debug)]
pub struct Kill {
    exchange: Exchange,
}

/// The answer to [`Kill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// The daemon ends.
    Yes,
    /// It goes on: nodes are registered, and it does not run with `-relaxed_command_check`.
    NodesAlive,
}

impl Kill {
    /// Starts the request on a fresh connection.
    ///
    /// # Errors
    ///
    /// None today; the signature is that of its siblings.
    pub fn new(now: Instant, limit: Duration) -> Result<Kill, ClientError> {
        Ok(Kill { exchange: Exchange::start(Request::Kill, now, limit)? })
    }

    /// Takes what arrived; the answer is complete when the connection ends.
    ///
    /// # Errors
    ///
    /// When it is too long or too late.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> Result<(), ClientError> {
        self.exchange.receive(now, bytes, SHORT_ANSWER_BYTES_MAX)
    }

    /// The connection ended: reads the answer.
    ///
    /// # Errors
    ///
    /// [`ClientError::Closed`] when there was none (this host may not ask), otherwise when the
    /// answer is unknown.
    pub fn closed(self) -> Result<Killed, ClientError> {
        match &self.exchange.received[..] {
            b"OK" => Ok(Killed::Yes),
            b"NO" => Ok(Killed::NodesAlive),
            other => Err(unknown_word(other)),
        }
    }
}

exchange!(Kill, deadline);

/// Asks epmd to forget a name.
#[derive(Debug)]
pub struct Stop {
    exchange: Exchange,
}

/// The answer to [`Stop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The name is no longer registered.
    Yes,
    /// It was not registered.
    Unknown,
}

impl Stop {
    /// Starts the request on a fresh connection.
    ///
    /// # Errors
    ///
    /// [`ClientError::Request`] when the name is too long.
    pub fn new(name: &str, now: Instant, limit: Duration) -> Result<Stop, ClientError> {
        let request = Request::Stop { name: name.as_bytes() };
        Ok(Stop { exchange: Exchange::start(request, now, limit)? })
    }

    /// Takes what arrived; the answer is complete when the connection ends.
    ///
    /// # Errors
    ///
    /// When it is too long or too late.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> Result<(), ClientError> {
        self.exchange.receive(now, bytes, SHORT_ANSWER_BYTES_MAX)
    }

    /// The connection ended: reads the answer.
    ///
    /// # Errors
    ///
    /// [`ClientError::Closed`] when there was none: the daemon does not run with
    /// `-relaxed_command_check`, or this host may not ask. Otherwise when the answer is unknown.
    pub fn closed(self) -> Result<Stopped, ClientError> {
        match &self.exchange.received[..] {
            b"STOPPED" => Ok(Stopped::Yes),
            // OTP says both, one after the other.
            b"NOEXIST" | b"NOEXISTSTOPPED" => Ok(Stopped::Unknown),
            other => Err(unknown_word(other)),
        }
    }
}

exchange!(Stop, deadline);

fn unknown_word(answer: &[u8]) -> ClientError {
    if answer.is_empty() {
        return ClientError::Closed;
    }
    ClientError::Line { came: answer[..answer.len().min(64)].escape_ascii().to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;

    fn register(now: Instant) -> Register {
        let entry = NodeEntry { lowest_version: 6, ..NodeEntry::new("gold", 0x1234) };
        Register::new(&entry, now, ANSWER_TIMEOUT).expect("a good entry")
    }

    fn lookup(name: &str, now: Instant) -> Lookup {
        Lookup::new(name, now, ANSWER_TIMEOUT).expect("a good name")
    }

    /// Hands `bytes` in one at a time; gives the first answer.
    fn byte_by_byte<T, E>(
        bytes: &[u8],
        mut receive: impl FnMut(&[u8]) -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        for byte in bytes {
            let answer = receive(&[*byte])?;
            if answer.is_some() {
                return Ok(answer);
            }
        }
        Ok(None)
    }

    #[test]
    fn registers_as_otp_does() {
        let now = Instant::now();
        let requests = golden::all("epmd_alive2_req");
        for ((_, request), (_, reply)) in requests.iter().zip(golden::all("epmd_alive2_x_resp")) {
            let mut register = register(now);
            assert_eq!(register.take_output(), *request);
            assert_eq!(register.deadline(), Some(now + ANSWER_TIMEOUT));
            let creation = byte_by_byte(&reply, |byte| register.receive(now, byte));
            let number = u32::from_be_bytes(reply[2..].try_into().expect("four bytes"));
            assert_eq!(creation, Ok(Some(Creation(number))));
            assert_eq!(register.deadline(), None);
            assert_eq!(register.receive(now, b"!"), Err(ClientError::Spoke));
        }
        for (_, reply) in golden::all("epmd_alive2_resp_v5") {
            let creation = register(now).receive(now, &reply);
            assert_eq!(creation, Ok(Some(Creation(u32::from(reply[3])))));
        }
    }

    #[test]
    fn a_taken_name_is_refused() {
        let now = Instant::now();
        for (_, reply) in golden::all("epmd_alive2_duplicate") {
            let refused = register(now).receive(now, &reply);
            assert_eq!(refused, Err(ClientError::Refused { result: 1 }));
        }
    }

    #[test]
    fn looks_up_as_otp_does() {
        let now = Instant::now();
        for (_, reply) in golden::all("epmd_port2_resp") {
            let mut lookup = lookup("gold", now);
            assert_eq!(lookup.take_output(), golden::all("epmd_port2_req")[0].1);
            let found = byte_by_byte(&reply, |byte| lookup.receive(now, byte));
            let Ok(Some(Found::Node(location))) = found else { panic!("{found:?}") };
            assert_eq!((location.port, location.highest_version), (0x1234, 6));
        }
        for (_, reply) in golden::all("epmd_port2_resp_v5_extra") {
            let found = lookup("gold5", now).receive(now, &reply);
            let Ok(Some(Found::Node(location))) = found else { panic!("{found:?}") };
            assert_eq!(*location.extra, *b"ABC\0\0");
            let other = lookup("gold", now).receive(now, &reply);
            assert_eq!(other, Err(ClientError::WrongName));
        }
        for (_, reply) in golden::all("epmd_port2_resp_notfound") {
            assert_eq!(lookup("gold", now).receive(now, &reply), Ok(Some(Found::Nowhere)));
        }
    }

    #[test]
    fn names_are_listed_until_the_end() {
        let now = Instant::now();
        for (_, reply) in golden::all("epmd_names_resp") {
            let mut names = Names::new(now, ANSWER_TIMEOUT).expect("a good request");
            assert_eq!(names.take_output(), b"\0\x01n");
            for byte in &reply {
                names.receive(now, &[*byte]).expect("a good answer");
            }
            let list = names.closed().expect("a good answer");
            assert_eq!(list.nodes, [("gold5".into(), 4711), ("gold".into(), 4660)]);
        }
        let closed = |answer: &[u8]| {
            let mut names = Names::new(now, ANSWER_TIMEOUT).expect("a good request");
            names.receive(now, answer).expect("short enough");
            names.closed()
        };
        assert_eq!(closed(b"\0\0\x11"), Err(ClientError::Closed));
        assert!(closed(b"\0\0\x11\x11").expect("an empty list").nodes.is_empty());
        for line in ["name a\n", "name a at port 65536\n", "name \n at port 1\n", "HTTP/1.1 400\n"]
        {
            let answer = [b"\0\0\x11\x11", line.as_bytes()].concat();
            assert!(matches!(closed(&answer), Err(ClientError::Line { .. })), "{line}");
        }
    }

    #[test]
    fn kill_and_stop_read_their_words() {
        let now = Instant::now();
        let kill = |answer: &[u8]| {
            let mut kill = Kill::new(now, ANSWER_TIMEOUT).expect("a good request");
            kill.receive(now, answer).expect("short enough");
            kill.closed()
        };
        assert_eq!(kill(&golden::all("epmd_kill_ok")[0].1), Ok(Killed::Yes));
        assert_eq!(kill(&golden::all("epmd_kill_refused")[0].1), Ok(Killed::NodesAlive));
        assert_eq!(kill(b""), Err(ClientError::Closed));
        let stop = |answer: &[u8]| {
            let mut stop = Stop::new("gold", now, ANSWER_TIMEOUT).expect("a good request");
            assert_eq!(stop.take_output(), b"\0\x05sgold");
            stop.receive(now, answer).expect("short enough");
            stop.closed()
        };
        assert_eq!(stop(&golden::all("epmd_stop_ok")[0].1), Ok(Stopped::Yes));
        assert_eq!(stop(&golden::all("epmd_stop_noexist")[0].1), Ok(Stopped::Unknown));
        assert!(matches!(stop(b"WHAT"), Err(ClientError::Line { .. })));
    }

    #[test]
    fn an_answer_may_not_take_or_weigh_too_much() {
        let now = Instant::now();
        let late = now + ANSWER_TIMEOUT;
        let limit = ANSWER_TIMEOUT;
        assert_eq!(lookup("a", now).receive(late, b"w"), Err(ClientError::Timeout { limit }));
        assert_eq!(register(now).expire(late), Err(ClientError::Timeout { limit }));
        let flood = [b'w'; SHORT_ANSWER_BYTES_MAX + 1];
        let mut names = Names::new(now, limit).expect("a good request");
        let long = vec![b'\n'; NAMES_BYTES_MAX];
        names.receive(now, &long).expect("just short enough");
        let too_long = Err(ClientError::Reply(ReplyError::TooLong));
        assert_eq!(names.receive(now, b"\n"), too_long);
        assert!(lookup("a", now).receive(now, &flood).is_err());
    }
}
