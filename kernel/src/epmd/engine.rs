//! The epmd server's loop: one thread, one epoll, every socket non-blocking.
//!
//! No client can cost another anything: a request is read as it comes, an answer that does not
//! fit the socket waits in the connection, and what is no registration ends at its deadline. When
//! descriptors run out, the oldest connection that is no registration makes room for the new one.

use krarup_transport::epmd::server::{
    Action, Connection, ConnectionId, Server, ServerConfig, Then, is_local,
};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Epoll token of the stop event. Connections have their number, which never comes near.
const STOP: u64 = u64::MAX;
/// Listener n has this token less n.
const LISTENER: u64 = u64::MAX - 1;
/// Connections accepted before other events get their turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Events taken from the kernel at a time.
const EVENTS_PER_TURN: usize = 256;
/// Bytes read at a time. The longest request is shorter, so that what is more needs no second read
/// to be refused.
const READ_BYTES: usize = 4096;

/// Listening sockets and everything they led to.
#[derive(Debug)]
pub(super) struct Engine {
    epoll: OwnedFd,
    listeners: Vec<TcpListener>,
    machine: Server,
    sockets: HashMap<ConnectionId, Socket>,
    /// The connections with a deadline. All wait equally long, so the first is due first.
    pending: BTreeSet<ConnectionId>,
    /// Given up for a moment when there is no other descriptor to accept and refuse with.
    spare: Option<File>,
    /// Whether a KILL request came.
    is_over: bool,
}

/// A connection with its socket, and what of its answer the socket did not take yet.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    connection: Connection,
    unsent: Vec<u8>,
    /// What follows once the answer is written.
    then: Then,
}

/// What became of a socket in its turn.
enum Turn {
    /// It stays, to be read (false) or written (true).
    Stays { wants_write: bool },
    /// It is to be closed.
    Ends,
}

impl Engine {
    /// An engine for these listeners, which are non-blocking. It ends when `stop` is signalled.
    pub(super) fn new(
        listeners: Vec<TcpListener>,
        config: ServerConfig,
        stop: &OwnedFd,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        for (index, listener) in listeners.iter().enumerate() {
            let token = epoll::EventData::new_u64(LISTENER - index as u64);
            epoll::add(&epoll, listener, token, epoll::EventFlags::IN)?;
        }
        // A clock before 1970 only makes creations start low.
        let unix_seconds =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Ok(Self {
            epoll,
            listeners,
            machine: Server::new(config, Instant::now(), unix_seconds),
            sockets: HashMap::new(),
            pending: BTreeSet::new(),
            spare: spare_descriptor(),
            is_over: false,
        })
    }

    /// Serves until the stop event or a KILL request.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_PER_TURN);
        while !self.is_over {
            let timeout = self.timeout(Instant::now());
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                timeout.as_ref(),
            ) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match event.data.u64() {
                    STOP => return Ok(()),
                    token if token > LISTENER - self.listeners.len() as u64 => {
                        // Bounded by the number of listeners, so it fits.
                        self.accept((LISTENER - token) as usize);
                    }
                    token => self.serve(ConnectionId(token)),
                }
            }
            self.expire(Instant::now());
        }
        Ok(())
    }

    /// Until the first deadline; `None` without one.
    fn timeout(&self, now: Instant) -> Option<Timespec> {
        let first = self.sockets.get(self.pending.first()?)?;
        let left = first.connection.deadline()?.saturating_duration_since(now);
        // Rounded up to the kernel's milliseconds, or the loop would spin through the last one.
        let left = left + std::time::Duration::from_millis(1);
        Timespec::try_from(left).ok()
    }

    fn expire(&mut self, now: Instant) {
        while let Some(&first) = self.pending.first() {
            match self.sockets.get(&first).and_then(|socket| socket.connection.deadline()) {
                Some(deadline) if deadline > now => return,
                Some(_) => self.close(first),
                // Registered meanwhile.
                None => {
                    self.pending.remove(&first);
                }
            }
        }
    }

    fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get(index) else { return };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match acceptfrom_with(listener, flags) {
                Ok((fd, peer)) => {
                    let peer = peer
                        .and_then(|address| SocketAddr::try_from(address).ok())
                        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
                    self.take_on(TcpStream::from(fd), peer);
                    if self.is_over {
                        return;
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    if !self.make_room(index) {
                        return;
                    }
                }
                // The peer is gone already, or a signal came: the next one may be there.
                Err(_) => {}
            }
        }
    }

    /// Closes the oldest connection that is no registration; without one, refuses the new
    /// connection by means of the spare descriptor. Says whether to go on accepting.
    fn make_room(&mut self, index: usize) -> bool {
        if let Some(&oldest) = self.pending.first() {
            self.close(oldest);
            return true;
        }
        tracing::warn!(
            registrations = self.machine.registrations(),
            "epmd has no descriptor left and refuses a connection; raise the limit (ulimit -n)"
        );
        self.spare = None;
        let refused = self.listeners.get(index).is_some_and(|one| one.accept().is_ok());
        self.spare = spare_descriptor();
        refused && self.spare.is_some()
    }

    fn take_on(&mut self, stream: TcpStream, peer: IpAddr) {
        // The address dialled only matters for peers on other addresses than loopback.
        let is_local = peer.to_canonical().is_loopback()
            || stream.local_addr().is_ok_and(|dialled| is_local(peer, dialled.ip()));
        let (connection, evicted) = self.machine.accept(Instant::now(), peer, is_local);
        if let Some(evicted) = evicted {
            self.close(evicted);
        }
        let id = connection.id();
        let mut socket = Socket { stream, connection, unsent: Vec::new(), then: Then::Read };
        // Most requests are there by now: then nothing has to be remembered of the connection.
        let (turn, action) = socket.read(&mut self.machine);
        let stays = match turn {
            Turn::Ends => false,
            Turn::Stays { wants_write } => {
                let token = epoll::EventData::new_u64(id.0);
                epoll::add(&self.epoll, &socket.stream, token, interest(wants_write)).is_ok()
            }
        };
        if stays {
            if socket.connection.deadline().is_some() {
                self.pending.insert(id);
            }
            self.sockets.insert(id, socket);
        } else {
            socket.connection.closed(&mut self.machine);
        }
        self.act(action, stays);
    }

    fn serve(&mut self, id: ConnectionId) {
        // Closed by an earlier event of the same turn.
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let was_writing = !socket.unsent.is_empty();
        let (turn, action) = if was_writing {
            (socket.write(&self.machine), None)
        } else {
            socket.read(&mut self.machine)
        };
        let stays = match turn {
            Turn::Ends => false,
            Turn::Stays { wants_write } if wants_write == was_writing => true,
            Turn::Stays { wants_write } => {
                let token = epoll::EventData::new_u64(id.0);
                epoll::modify(&self.epoll, &socket.stream, token, interest(wants_write)).is_ok()
            }
        };
        if stays && socket.connection.deadline().is_none() {
            self.pending.remove(&id);
        }
        let then = socket.then;
        if !stays {
            self.close(id);
        }
        // A KILL whose answer had to wait.
        if was_writing && !stays && then == Then::Stop {
            self.is_over = true;
        }
        self.act(action, stays);
    }

    /// Does what a request asks beyond its own connection.
    fn act(&mut self, action: Option<Action>, stays: bool) {
        let Some(action) = action else { return };
        if let Some(other) = action.close_other {
            self.close(other);
        }
        if action.then == Then::Stop && !stays {
            self.is_over = true;
        }
    }

    fn close(&mut self, id: ConnectionId) {
        self.pending.remove(&id);
        // Closing the descriptor takes it out of the epoll set.
        if let Some(socket) = self.sockets.remove(&id) {
            socket.connection.closed(&mut self.machine);
        }
    }
}

impl Socket {
    fn read(&mut self, machine: &mut Server) -> (Turn, Option<Action>) {
        let mut buffer = [0u8; READ_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(0) => (Turn::Ends, None),
            Ok(count) => {
                let action = self.connection.receive(Instant::now(), &buffer[..count], machine);
                self.then = action.then;
                (self.write(machine), Some(action))
            }
            Err(error) if is_for_later(&error) => (Turn::Stays { wants_write: false }, None),
            Err(_) => (Turn::Ends, None),
        }
    }

    /// Writes what there is to write, as far as the socket takes it.
    fn write(&mut self, machine: &Server) -> Turn {
        loop {
            if self.unsent.is_empty() {
                self.unsent = self.connection.output(machine);
            }
            if self.unsent.is_empty() {
                return match self.then {
                    Then::Read => Turn::Stays { wants_write: false },
                    Then::Close | Then::Stop => Turn::Ends,
                };
            }
            match self.stream.write(&self.unsent) {
                Ok(0) => return Turn::Ends,
                Ok(count) => {
                    self.unsent.drain(..count);
                }
                Err(error) if is_for_later(&error) => return Turn::Stays { wants_write: true },
                Err(_) => return Turn::Ends,
            }
        }
    }
}

/// Wakes the loop that waits for `event`.
pub(super) fn signal(event: &OwnedFd) {
    // Only fails when the counter is full, and then the loop is awake.
    let _ = rustix::io::write(event.as_fd(), &1u64.to_ne_bytes());
}

fn interest(wants_write: bool) -> epoll::EventFlags {
    if wants_write { epoll::EventFlags::OUT } else { epoll::EventFlags::IN }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}
