//! Blocking requests to an epmd, each on a connection of its own and within a time limit.

use krarup_transport::epmd::client as machine;
pub use krarup_transport::epmd::client::{Killed, Location, NameList, Stopped};
use krarup_transport::epmd::message::NodeEntry;
use krarup_transport::term::Creation;
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Why a request to epmd failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection to epmd. `ConnectionRefused` means that none runs there.
    Connect {
        /// Where it was looked for.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The connection broke.
    Connection {
        /// With whom.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// epmd answers, and knows no node of this name.
    Unknown {
        /// The epmd that was asked.
        address: SocketAddr,
        /// The name.
        name: String,
    },
    /// epmd refused, was silent, or answered with something else.
    Answer {
        /// Who did.
        address: SocketAddr,
        /// What it was.
        source: machine::ClientError,
    },
}

impl ClientError {
    /// Whether no epmd runs at the address, so that starting one may help.
    pub fn is_refused_connection(&self) -> bool {
        matches!(self, Self::Connect { source, .. }
            if source.kind() == ErrorKind::ConnectionRefused)
    }

    /// Whether epmd refused the name because another node has it.
    pub fn is_name_taken(&self) -> bool {
        matches!(self, Self::Answer { source: machine::ClientError::Refused { .. }, .. })
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { address, source } if source.kind() == ErrorKind::ConnectionRefused => {
                write!(f, "no epmd answers at {address}; start one with: krarup epmd -daemon")
            }
            Self::Connect { address, source } => {
                write!(f, "epmd at {address} cannot be reached: {source}")
            }
            Self::Connection { address, source } => {
                write!(f, "the connection to epmd at {address} broke: {source}")
            }
            Self::Unknown { address, name } => {
                write!(f, "epmd at {address} knows no node called {name}: is it running?")
            }
            Self::Answer { address, source } => write!(f, "epmd at {address}: {source}"),
        }
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect { source, .. } | Self::Connection { source, .. } => Some(source),
            Self::Answer { source, .. } => Some(source),
            Self::Unknown { .. } => None,
        }
    }
}

/// A registered name. It lasts as long as the connection: dropping it gives the name up.
#[derive(Debug)]
pub struct Registration {
    /// What epmd gave this incarnation of the node.
    pub creation: Creation,
    /// Never write to it: any byte ends the registration. It becomes readable when epmd is gone.
    pub stream: TcpStream,
}

impl Registration {
    /// Gives the name up and waits until epmd has noticed, so that the next one who wants it gets
    /// it; at most for `limit`.
    pub fn give_up(mut self, limit: Duration) {
        let mut noticed = || -> io::Result<usize> {
            self.stream.shutdown(Shutdown::Write)?;
            self.stream.set_read_timeout(Some(limit))?;
            self.stream.read(&mut [0])
        };
        if let Err(error) = noticed() {
            tracing::debug!(%error, "whether epmd has noticed that a name is free is not known");
        }
    }
}

/// Registers a node.
///
/// # Errors
///
/// [`ClientError`]; [`ClientError::is_name_taken`] when another node has the name.
pub fn register(
    address: SocketAddr,
    entry: &NodeEntry<'_>,
    limit: Duration,
) -> Result<Registration, ClientError> {
    let answer = |source| ClientError::Answer { address, source };
    let mut register = machine::Register::new(entry, Instant::now(), limit).map_err(answer)?;
    let output = register.take_output();
    let mut conversation = Conversation::start(address, &output, limit)?;
    match conversation.until(|now, bytes| register.receive(now, bytes))? {
        Some(creation) => Ok(Registration { creation, stream: conversation.stream }),
        None => Err(answer(register.closed())),
    }
}

/// Asks where the node of this name listens; `None` when epmd does not know it. `name` is the
/// part before the `@`.
///
/// # Errors
///
/// [`ClientError`].
pub fn lookup(
    address: SocketAddr,
    name: &str,
    limit: Duration,
) -> Result<Option<Location>, ClientError> {
    let answer = |source| ClientError::Answer { address, source };
    let mut lookup = machine::Lookup::new(name, Instant::now(), limit).map_err(answer)?;
    let output = lookup.take_output();
    let mut conversation = Conversation::start(address, &output, limit)?;
    match conversation.until(|now, bytes| lookup.receive(now, bytes))? {
        Some(machine::Found::Node(location)) => Ok(Some(location)),
        Some(machine::Found::Nowhere) => Ok(None),
        None => Err(answer(lookup.closed())),
    }
}

/// Asks the epmd of a host, at each of its addresses in turn until one answers, for a node's port.
///
/// # Errors
///
/// [`ClientError::Unknown`] when epmd does not know the name; else what the last address gave.
pub fn look_up(
    hosts: &[IpAddr],
    epmd_port: u16,
    name: &str,
    limit: Duration,
) -> Result<u16, ClientError> {
    let deadline = Instant::now() + limit;
    let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), epmd_port);
    let mut outcome = Err(ClientError::Connect {
        address: nowhere,
        source: io::Error::new(ErrorKind::NotFound, "the host has no address"),
    });
    for (index, host) in hosts.iter().enumerate() {
        // An address that swallows everything must leave time for the others.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(hosts.len() - index).unwrap_or(u32::MAX);
        if share.is_zero() {
            break;
        }
        let address = SocketAddr::new(*host, epmd_port);
        outcome = match lookup(address, name, share) {
            Ok(Some(location)) => return Ok(location.port),
            Ok(None) => return Err(ClientError::Unknown { address, name: name.to_owned() }),
            Err(error) => Err(error),
        };
    }
    outcome
}

/// Asks for all registered names and their ports, newest first.
///
/// # Errors
///
/// [`ClientError`].
pub fn names(address: SocketAddr, limit: Duration) -> Result<NameList, ClientError> {
    let answer = |source| ClientError::Answer { address, source };
    let mut names = machine::Names::new(Instant::now(), limit).map_err(answer)?;
    let output = names.take_output();
    let mut conversation = Conversation::start(address, &output, limit)?;
    conversation.until(|now, bytes| names.receive(now, bytes).map(|()| None::<()>))?;
    names.closed().map_err(answer)
}

/// Asks epmd to end.
///
/// # Errors
///
/// [`ClientError`].
pub fn kill(address: SocketAddr, limit: Duration) -> Result<Killed, ClientError> {
    let answer = |source| ClientError::Answer { address, source };
    let mut kill = machine::Kill::new(Instant::now(), limit).map_err(answer)?;
    let output = kill.take_output();
    let mut conversation = Conversation::start(address, &output, limit)?;
    conversation.until(|now, bytes| kill.receive(now, bytes).map(|()| None::<()>))?;
    kill.closed().map_err(answer)
}

/// Asks epmd to forget a name. Only an epmd with `-relaxed_command_check` does.
///
/// # Errors
///
/// [`ClientError`].
pub fn stop(address: SocketAddr, name: &str, limit: Duration) -> Result<Stopped, ClientError> {
    let answer = |source| ClientError::Answer { address, source };
    let mut stop = machine::Stop::new(name, Instant::now(), limit).map_err(answer)?;
    let output = stop.take_output();
    let mut conversation = Conversation::start(address, &output, limit)?;
    conversation.until(|now, bytes| stop.receive(now, bytes).map(|()| None::<()>))?;
    stop.closed().map_err(answer)
}

/// One connection to an epmd, with the request sent.
struct Conversation {
    address: SocketAddr,
    stream: TcpStream,
    deadline: Instant,
    limit: Duration,
}

impl Conversation {
    fn start(address: SocketAddr, request: &[u8], limit: Duration) -> Result<Self, ClientError> {
        let deadline = Instant::now() + limit;
        let mut stream = TcpStream::connect_timeout(&address, limit)
            .map_err(|source| ClientError::Connect { address, source })?;
        let broken = |source| ClientError::Connection { address, source };
        stream.set_nodelay(true).map_err(broken)?;
        stream.set_write_timeout(Some(limit)).map_err(broken)?;
        stream.write_all(request).map_err(broken)?;
        Ok(Self { address, stream, deadline, limit })
    }

    /// Hands what arrives to `receive` until it gives an answer; `None` when the connection ends
    /// before.
    fn until<T>(
        &mut self,
        mut receive: impl FnMut(Instant, &[u8]) -> Result<Option<T>, machine::ClientError>,
    ) -> Result<Option<T>, ClientError> {
        let address = self.address;
        let broken = |source| ClientError::Connection { address, source };
        let answer = |source| ClientError::Answer { address, source };
        let mut buffer = [0u8; 16 << 10];
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(answer(machine::ClientError::Timeout { limit: self.limit }));
            }
            self.stream.set_read_timeout(Some(left)).map_err(broken)?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => {
                    if let Some(found) =
                        receive(Instant::now(), &buffer[..count]).map_err(answer)?
                    {
                        return Ok(Some(found));
                    }
                }
                // The time is looked at above.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(broken(error)),
            }
        }
    }
}
