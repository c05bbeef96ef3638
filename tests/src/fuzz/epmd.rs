//! The epmd server under any sequence of clients, and every decoder of its protocol.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use krarup_transport::epmd::client::{ANSWER_TIMEOUT, Lookup, Names, Register};
use krarup_transport::epmd::message::{AliveReply, NodeEntry, PortReply, Request};
use krarup_transport::epmd::server::{Connection, ConnectionId, Server, ServerConfig, Then};

/// Connections that are open at a time.
const CONNECTIONS_MAX: usize = 12;
/// Small limits, so that short inputs reach them.
const PENDING_MAX: usize = 6;
const REGISTRATIONS_MAX: usize = 4;

/// The first byte chooses: a script for the server, or bytes for the decoders and the clients.
pub fn run(input: &[u8]) {
    match input.split_first() {
        Some((0, rest)) => decode(rest),
        Some((_, rest)) => Script::new().run(rest),
        None => {}
    }
}

/// Whatever decodes is the same after it was encoded and decoded again.
fn decode(bytes: &[u8]) {
    if let Ok(request) = Request::decode(bytes) {
        let mut encoded = Vec::new();
        if request.encode(&mut encoded).is_ok() {
            assert_eq!(Request::decode(&encoded[2..]), Ok(request));
        }
    }
    if let Ok(Some(reply)) = AliveReply::decode(bytes) {
        let mut encoded = Vec::new();
        reply.encode(&mut encoded);
        assert_eq!(encoded, bytes);
    }
    if let Ok(Some(reply)) = PortReply::decode(bytes) {
        let mut encoded = Vec::new();
        reply.encode(&mut encoded);
        assert_eq!(PortReply::decode(&encoded), Ok(Some(reply)));
    }
    clients(bytes);
}

/// An answer may come in any pieces.
fn clients(bytes: &[u8]) {
    let now = Instant::now();
    let lookup = || Lookup::new("gold", now, ANSWER_TIMEOUT).expect("a good name");
    let mut in_pieces = lookup();
    let whole = lookup().receive(now, bytes);
    let pieces = bytes.iter().map(|byte| in_pieces.receive(now, &[*byte]));
    let first = pieces.into_iter().find(|answer| !matches!(answer, Ok(None)));
    if let (Ok(Some(whole)), Some(first)) = (whole, first) {
        assert_eq!(first, Ok(Some(whole)));
    }
    let entry = NodeEntry::new("gold", 1);
    let mut register = Register::new(&entry, now, ANSWER_TIMEOUT).expect("a good entry");
    for piece in bytes.chunks(3) {
        if register.receive(now, piece).is_err() {
            break;
        }
    }
    let mut names = Names::new(now, ANSWER_TIMEOUT).expect("a good request");
    names.receive(now, bytes).expect("short enough");
    if let Ok(list) = names.closed() {
        assert!(list.nodes.len() <= bytes.len());
    }
}

/// A server, its open connections and the time.
struct Script {
    now: Instant,
    server: Server,
    connections: Vec<Connection>,
}

impl Script {
    fn new() -> Script {
        let now = Instant::now();
        let config = ServerConfig {
            relaxed_command_check: true,
            pending_max: PENDING_MAX,
            pending_per_address_max: 2,
            registrations_max: REGISTRATIONS_MAX,
            remembered_max: 3,
            ..ServerConfig::default()
        };
        Script { now, server: Server::new(config, now, 1_800_000_000), connections: Vec::new() }
    }

    /// Each step is two bytes, what to do and with which connection; a step that sends takes as
    /// many bytes after them as its third says.
    fn run(mut self, mut steps: &[u8]) {
        while let [what, which, rest @ ..] = steps {
            steps = rest;
            let index = usize::from(*which);
            match what % 4 {
                0 => self.open(*which),
                1 => {
                    let Some((length, rest)) = steps.split_first() else { break };
                    let (bytes, rest) = rest.split_at(usize::from(*length).min(rest.len()));
                    steps = rest;
                    self.send(index, bytes);
                }
                2 => self.close(index),
                _ => self.wait(Duration::from_secs(u64::from(*which))),
            }
            self.check();
        }
        while !self.connections.is_empty() {
            self.close(0);
        }
        assert_eq!((self.server.pending(), self.server.registrations()), (0, 0));
    }

    fn open(&mut self, which: u8) {
        if self.connections.len() == CONNECTIONS_MAX {
            return;
        }
        let is_local = which < 128;
        let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, which % 3));
        let (connection, evicted) = self.server.accept(self.now, peer, is_local);
        self.connections.push(connection);
        if let Some(id) = evicted {
            self.close_id(id);
        }
    }

    fn send(&mut self, index: usize, bytes: &[u8]) {
        let Some(index) = index.checked_rem(self.connections.len()) else { return };
        let connection = &mut self.connections[index];
        let action = connection.receive(self.now, bytes, &mut self.server);
        loop {
            let chunk = connection.output(&self.server);
            assert!(chunk.len() < 70_000);
            if chunk.is_empty() {
                break;
            }
        }
        match action.then {
            Then::Read => {}
            Then::Close | Then::Stop => self.close(index),
        }
        if let Some(id) = action.close_other {
            self.close_id(id);
        }
    }

    fn close(&mut self, index: usize) {
        if let Some(index) = index.checked_rem(self.connections.len()) {
            self.connections.remove(index).closed(&mut self.server);
        }
    }

    fn close_id(&mut self, id: ConnectionId) {
        let index = self.connections.iter().position(|connection| connection.id() == id);
        self.close(index.expect("the server names open connections only"));
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        let now = self.now;
        let is_late = |connection: &Connection| connection.deadline().is_some_and(|at| at <= now);
        while let Some(index) = self.connections.iter().position(is_late) {
            self.close(index);
        }
    }

    /// What holds after every step.
    fn check(&self) {
        let registered = self.connections.iter().filter(|each| each.is_registration()).count();
        assert_eq!(self.server.registrations(), registered);
        assert_eq!(self.server.pending(), self.connections.len() - registered);
        assert!(self.server.pending() <= PENDING_MAX && registered <= REGISTRATIONS_MAX);
        let mut names: Vec<_> = self.server.names().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), registered, "no name is registered twice");
    }
}
