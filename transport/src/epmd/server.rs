//! The epmd server: the names, and what happens on each connection.
//!
//! [`Server::accept`] makes a [`Connection`] for each socket; its owner hands it what arrives,
//! writes what [`Connection::output`] gives, acts as [`Action`] says, and tells it with
//! [`Connection::closed`] that the socket is gone. No connection waits for another, and what one
//! may cost is bounded: at most a request in, at most one chunk of an answer out, and no more
//! time than [`ServerConfig::packet_timeout`] from its start.
//!
//! OTP: `epmd_srv.c`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::DEFAULT_PORT;
use super::message::{
    AliveReply, FIELD_BYTES_MAX, NAME_CHARS_MAX, NodeEntry, PortReply, REFUSED_CREATION,
    REQUEST_BYTES_MAX, Request, is_name,
};
use super::registry::{Registry, Serial};

/// About how many bytes of an answer are made at a time: a reader that stalls costs this much.
const CHUNK_BYTES: usize = 64 << 10;

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The port clients dial; NAMES and DUMP replies begin with it.
    pub port: u16,
    /// `-relaxed_command_check`: STOP works, and KILL with nodes registered.
    pub relaxed_command_check: bool,
    /// How long a connection may last that is not a registration, from its start to the last byte
    /// of its answer. OTP counts from the last complete request instead, or, in older releases,
    /// from the last byte.
    pub packet_timeout: Duration,
    /// Most connections that are not registrations. Beyond it the oldest is closed for the new
    /// one, one from another host before a local one.
    pub pending_max: usize,
    /// Most such connections from one other host. Beyond it that host's oldest is closed.
    pub pending_per_address_max: usize,
    /// Most registrations. Beyond it a registration is refused as if the name were taken.
    pub registrations_max: usize,
    /// How many names without a node are remembered for their creation; 5 with `-d` in OTP.
    pub remembered_max: usize,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            port: DEFAULT_PORT,
            relaxed_command_check: false,
            packet_timeout: Duration::from_secs(60),
            pending_max: 1024,
            pending_per_address_max: 64,
            registrations_max: 65_536,
            remembered_max: 1000,
        }
    }
}

/// The number of a connection, never used twice. DUMP shows it where OTP shows a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// Whether a connection comes from this host and may register, dump, kill and stop: its peer has
/// a loopback address, or the very address it dialled.
// OTP: epmd_srv.c, do_accept.
#[must_use]
pub fn is_local(peer: IpAddr, dialled: IpAddr) -> bool {
    let (peer, dialled) = (peer.to_canonical(), dialled.to_canonical());
    peer.is_loopback() || peer == dialled
}

/// The names, and the limits that all connections share.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    started: Instant,
    started_unix_seconds: u64,
    next_connection: u64,
    registry: Registry,
    pending: BTreeMap<ConnectionId, Origin>,
    pending_by_address: HashMap<IpAddr, usize>,
}

/// Where a connection comes from; addresses of this host are not told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Local,
    Remote(IpAddr),
}

impl Server {
    /// A server without names. `unix_seconds` is the time of day at `now`, in seconds since 1970:
    /// creations begin with it, so that they differ from those of an earlier daemon.
    #[must_use]
    pub fn new(config: ServerConfig, now: Instant, unix_seconds: u64) -> Server {
        Server {
            config,
            started: now,
            started_unix_seconds: unix_seconds,
            next_connection: 0,
            registry: Registry::default(),
            pending: BTreeMap::new(),
            pending_by_address: HashMap::new(),
        }
    }

    /// Takes on a connection, and names another that has to be closed for it if there are too
    /// many: close that one's socket and tell its [`Connection::closed`].
    #[must_use]
    pub fn accept(
        &mut self,
        now: Instant,
        peer: IpAddr,
        is_local: bool,
    ) -> (Connection, Option<ConnectionId>) {
        let origin = if is_local { Origin::Local } else { Origin::Remote(peer.to_canonical()) };
        let evicted = self.victim(origin);
        if let Some(victim) = evicted {
            self.forget_pending(victim);
        }
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.pending.insert(id, origin);
        if let Origin::Remote(address) = origin {
            *self.pending_by_address.entry(address).or_default() += 1;
        }
        let connection = Connection {
            id,
            is_local,
            deadline: now + self.config.packet_timeout,
            request: Vec::new(),
            output: Vec::new(),
            state: State::Request,
        };
        (connection, evicted)
    }

    /// How many nodes are registered.
    #[must_use]
    pub fn registrations(&self) -> usize {
        self.registry.len()
    }

    /// How many connections are not registrations.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The names registered now and their ports, newest first.
    pub fn names(&self) -> impl Iterator<Item = (&[u8], u16)> {
        self.registry.older(None).map(|(_, registration)| {
            let entry = registration.entry();
            (entry.name, entry.port)
        })
    }

    /// Who has to go for a connection from `origin`, if somebody has to.
    fn victim(&self, origin: Origin) -> Option<ConnectionId> {
        if let Origin::Remote(address) = origin {
            let count = self.pending_by_address.get(&address).copied().unwrap_or(0);
            if count >= self.config.pending_per_address_max {
                return self.oldest(|from| from == origin);
            }
        }
        if self.pending.len() < self.config.pending_max {
            return None;
        }
        self.oldest(|from| from != Origin::Local).or_else(|| self.oldest(|_| true))
    }

    fn oldest(&self, is_meant: impl Fn(Origin) -> bool) -> Option<ConnectionId> {
        self.pending.iter().find(|(_, origin)| is_meant(**origin)).map(|(id, _)| *id)
    }

    fn forget_pending(&mut self, id: ConnectionId) {
        let Some(Origin::Remote(address)) = self.pending.remove(&id) else { return };
        if let Some(count) = self.pending_by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.pending_by_address.remove(&address);
            }
        }
    }

    /// The time of day in seconds, as far as creations need it.
    fn unix_seconds(&self, now: Instant) -> u32 {
        let seconds =
            self.started_unix_seconds + now.saturating_duration_since(self.started).as_secs();
        // Creations have 32 bits; the time wraps in 2106, which they survive.
        u32::try_from(seconds & u64::from(u32::MAX)).unwrap_or(0)
    }

    fn unregister(&mut self, serial: Serial) {
        self.registry.remove(serial, self.config.remembered_max);
    }
}

/// What to do with a connection, after its output was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// What becomes of this one.
    pub then: Then,
    /// Another connection to close: its node was stopped. Tell its [`Connection::closed`] too.
    pub close_other: Option<ConnectionId>,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Read on. For a registered node that means: until it ends, without a deadline.
    Read,
    /// Close it.
    Close,
    /// Close it and end the daemon.
    Stop,
}

impl Action {
    const READ: Action = Action { then: Then::Read, close_other: None };
    const CLOSE: Action = Action { then: Then::Close, close_other: None };
    const STOP: Action = Action { then: Then::Stop, close_other: None };
}

/// One connection of a server.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    is_local: bool,
    deadline: Instant,
    request: Vec<u8>,
    output: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A request is expected.
    Request,
    /// Its answer is being written; nothing more is expected.
    Answered,
    /// Its answer is a list that is made as it is written.
    Listing(List),
    /// It is a node's registration.
    Registered(Serial),
    /// It asked to be one and was refused; OTP keeps such a connection open too.
    Refused,
}

/// How far a list has been made.
#[derive(Clone, Copy, Debug)]
enum List {
    /// NAMES, from the registration before this one.
    Names(Option<Serial>),
    /// DUMP, the registered names, likewise.
    DumpActive(Option<Serial>),
    /// DUMP, the remembered names, after this one.
    DumpOld(Option<Serial>),
}

impl Connection {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Takes what arrived. Write [`output`](Connection::output), then act.
    pub fn receive(&mut self, now: Instant, bytes: &[u8], server: &mut Server) -> Action {
        if bytes.is_empty() {
            return Action::READ;
        }
        match self.state {
            State::Request => self.receive_request(now, bytes, server),
            State::Registered(serial) => {
                // Any byte ends a registration.
                server.unregister(serial);
                self.state = State::Answered;
                Action::CLOSE
            }
            State::Answered | State::Listing(_) | State::Refused => Action::CLOSE,
        }
    }

    /// The next bytes to write; empty when there is nothing more. Call it until then: a long list
    /// comes in chunks of about 64 KiB, each made when the one before was written.
    #[must_use]
    pub fn output(&mut self, server: &Server) -> Vec<u8> {
        let mut output = std::mem::take(&mut self.output);
        if let State::Listing(list) = self.state {
            match server.write_list(list, &mut output) {
                Some(rest) => self.state = State::Listing(rest),
                None => self.state = State::Answered,
            }
        }
        output
    }

    /// When the connection has to be closed if it still exists; never for a registered node.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Registered(_) => None,
            _ => Some(self.deadline),
        }
    }

    /// Whether it is a node's registration.
    #[must_use]
    pub fn is_registration(&self) -> bool {
        matches!(self.state, State::Registered(_))
    }

    /// The socket is gone, whoever closed it: the node it registered is gone with it. Every
    /// connection has to end here.
    pub fn closed(self, server: &mut Server) {
        server.forget_pending(self.id);
        if let State::Registered(serial) = self.state {
            server.unregister(serial);
        }
    }

    fn receive_request(&mut self, now: Instant, bytes: &[u8], server: &mut Server) -> Action {
        // The usual request comes in one piece and is read where it is.
        if self.request.is_empty() {
            return match frame(bytes) {
                Frame::Whole(body) => self.answer(now, body, server),
                Frame::Part => {
                    self.request.extend_from_slice(bytes);
                    Action::READ
                }
                Frame::Bad => self.refuse(),
            };
        }
        // What is kept is a part of a frame, so it stays below the longest; what comes on top is
        // looked at before it is kept.
        let room = REQUEST_BYTES_MAX + 2 - self.request.len();
        if bytes.len() > room {
            return self.refuse();
        }
        let mut request = std::mem::take(&mut self.request);
        request.extend_from_slice(bytes);
        match frame(&request) {
            Frame::Whole(body) => self.answer(now, body, server),
            Frame::Part => {
                self.request = request;
                Action::READ
            }
            Frame::Bad => self.refuse(),
        }
    }

    /// Closes without an answer.
    fn refuse(&mut self) -> Action {
        self.state = State::Answered;
        Action::CLOSE
    }

    // OTP: epmd_srv.c, do_request.
    fn answer(&mut self, now: Instant, body: &[u8], server: &mut Server) -> Action {
        let Ok(request) = Request::decode(body) else { return self.refuse() };
        let may = match request {
            Request::Port { .. } | Request::Names => true,
            Request::Alive(_) | Request::Dump | Request::Kill => self.is_local,
            Request::Stop { .. } => self.is_local && server.config.relaxed_command_check,
        };
        if !may {
            return self.refuse();
        }
        self.state = State::Answered;
        match request {
            Request::Alive(entry) => self.register(now, &entry, server),
            Request::Port { name } => {
                let found = server.registry.find(name);
                let reply = found.map_or(PortReply::NotFound, |(_, registration)| {
                    PortReply::Found(registration.entry())
                });
                reply.encode(&mut self.output);
                Action::CLOSE
            }
            Request::Names => self.list(List::Names(None), server),
            Request::Dump => self.list(List::DumpActive(None), server),
            Request::Kill if server.registrations() > 0 && !server.config.relaxed_command_check => {
                self.output.extend_from_slice(b"NO");
                Action::CLOSE
            }
            Request::Kill => {
                self.output.extend_from_slice(b"OK");
                Action::STOP
            }
            Request::Stop { name } => self.stop(name, server),
        }
    }

    /// Keeps the connection open in any case, as OTP does; a refused one only until its deadline.
    fn register(&mut self, now: Instant, entry: &NodeEntry<'_>, server: &mut Server) -> Action {
        let allowed = is_name(entry.name, NAME_CHARS_MAX)
            && entry.extra.len() <= FIELD_BYTES_MAX
            && server.registrations() < server.config.registrations_max;
        let seconds = server.unix_seconds(now);
        let registered =
            if allowed { server.registry.register(entry, self.id, seconds) } else { None };
        let wide = entry.highest_version >= 6;
        let (result, creation) = match registered {
            Some((serial, creation)) => {
                server.forget_pending(self.id);
                self.state = State::Registered(serial);
                // Before version 6 a creation had two bits, and 0 was not used.
                (0, if wide { creation } else { creation % 3 + 1 })
            }
            None => {
                self.state = State::Refused;
                (1, REFUSED_CREATION)
            }
        };
        AliveReply { result, creation, wide }.encode(&mut self.output);
        Action::READ
    }

    fn list(&mut self, list: List, server: &Server) -> Action {
        self.output.extend_from_slice(&u32::from(server.config.port).to_be_bytes());
        self.state = State::Listing(list);
        Action::CLOSE
    }

    fn stop(&mut self, name: &[u8], server: &mut Server) -> Action {
        let found = server.registry.find(name);
        let found = found.map(|(serial, registration)| (serial, registration.connection));
        let close_other = found.map(|(serial, connection)| {
            server.unregister(serial);
            connection
        });
        if close_other.is_none() {
            self.output.extend_from_slice(b"NOEXIST");
        }
        // OTP says so in either case; its own client reads the beginning.
        self.output.extend_from_slice(b"STOPPED");
        Action { then: Then::Close, close_other }
    }
}

impl Server {
    /// Appends lines of a list until a chunk is full; gives where to go on, unless it is done.
    fn write_list(&self, list: List, output: &mut Vec<u8>) -> Option<List> {
        let (mut cursor, dump) = match list {
            List::Names(cursor) => (cursor, false),
            List::DumpActive(cursor) => (cursor, true),
            List::DumpOld(cursor) => {
                let last = self.registry.write_remembered(cursor, output, CHUNK_BYTES)?;
                return Some(List::DumpOld(Some(last)));
            }
        };
        for (serial, registration) in self.registry.older(cursor) {
            if dump {
                registration.write_dump_line(output);
            } else {
                registration.write_name_line(output);
            }
            cursor = Some(serial);
            if output.len() >= CHUNK_BYTES {
                return Some(if dump { List::DumpActive(cursor) } else { List::Names(cursor) });
            }
        }
        if dump {
            let last = self.registry.write_remembered(None, output, CHUNK_BYTES)?;
            return Some(List::DumpOld(Some(last)));
        }
        None
    }
}

/// What the bytes that came so far are.
enum Frame<'a> {
    /// Exactly one request.
    Whole(&'a [u8]),
    /// The beginning of one.
    Part,
    /// Nothing that may follow can make it one.
    Bad,
}

fn frame(bytes: &[u8]) -> Frame<'_> {
    let Some((length, body)) = bytes.split_first_chunk() else { return Frame::Part };
    let length = usize::from(u16::from_be_bytes(*length));
    match body.len() {
        _ if length == 0 || length > REQUEST_BYTES_MAX => Frame::Bad,
        came if came < length => Frame::Part,
        came if came == length => Frame::Whole(body),
        // More than a request: OTP closes without looking at it.
        _ => Frame::Bad,
    }
}

#[cfg(test)]
mod tests;
