//! Asks name servers, by UDP and, for what does not fit, by TCP. Blocks.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::config::NameServers;
use super::message::{Answer, DnsError, Query, QueryType, Record, UDP_BYTES_MAX};

/// How long one server is waited for.
const SERVER_TIME_MAX: Duration = Duration::from_secs(2);
/// Rounds through all servers.
const ROUNDS: usize = 2;

/// Why a name was not looked up.
#[derive(Debug)]
pub(crate) enum LookupError {
    /// No server could be asked; the last of them, and why not.
    Server {
        /// The name server.
        server: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// A server gave no usable answer.
    Answer {
        /// The name server.
        server: SocketAddr,
        /// What is wrong with it.
        error: DnsError,
    },
    /// The name cannot be asked for.
    Name(DnsError),
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LookupError::Server { server, error } => write!(f, "name server {server}: {error}"),
            LookupError::Answer { server, error } => write!(f, "name server {server}: {error}"),
            LookupError::Name(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LookupError {}

/// The records of a name. None if there is no such name, or it has no such records.
pub(crate) fn look_up(
    servers: &NameServers,
    name: &str,
    query_type: QueryType,
) -> Result<Vec<Record>, LookupError> {
    for candidate in servers.candidates(name) {
        match ask_all(&servers.servers, &candidate, query_type)? {
            Answer::Records(records) if !records.is_empty() => return Ok(records),
            _ => {}
        }
    }
    Ok(Vec::new())
}

fn ask_all(
    servers: &[SocketAddr],
    name: &str,
    query_type: QueryType,
) -> Result<Answer, LookupError> {
    let mut failed = LookupError::Name(DnsError::Name(name.to_owned()));
    for _ in 0..ROUNDS {
        for &server in servers {
            let mut id = [0; 2];
            if let Err(error) = getrandom::fill(&mut id) {
                return Err(LookupError::Server { server, error: io::Error::other(error) });
            }
            let query =
                Query::new(u16::from_ne_bytes(id), name, query_type).map_err(LookupError::Name)?;
            let asked = match ask_by_udp(server, &query) {
                Ok(Ok(Answer::Truncated)) => ask_by_tcp(server, &query),
                asked => asked,
            };
            match asked {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => failed = LookupError::Answer { server, error },
                Err(error) => failed = LookupError::Server { server, error },
            }
        }
    }
    Err(failed)
}

type Asked = io::Result<Result<Answer, DnsError>>;

fn ask_by_udp(server: SocketAddr, query: &Query) -> Asked {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The system chooses a port that others cannot know, and passes what comes from elsewhere over.
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(&query.encode())?;
    let deadline = Instant::now() + SERVER_TIME_MAX;
    let mut buffer = [0; UDP_BYTES_MAX as usize];
    loop {
        let left = left_until(deadline)?;
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        match query.decode(&buffer[..length]) {
            // Somebody guesses, or an old answer is late.
            Err(DnsError::Stray) => {}
            answer => return Ok(answer),
        }
    }
}

fn ask_by_tcp(server: SocketAddr, query: &Query) -> Asked {
    let deadline = Instant::now() + SERVER_TIME_MAX;
    let mut stream = TcpStream::connect_timeout(&server, SERVER_TIME_MAX)?;
    stream.set_write_timeout(Some(SERVER_TIME_MAX))?;
    let question = query.encode();
    let length = u16::try_from(question.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes()[..], &question].concat())?;
    let mut length = [0; 2];
    read_exact(&mut stream, &mut length, deadline)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    read_exact(&mut stream, &mut answer, deadline)?;
    match query.decode(&answer) {
        // There is nothing longer to ask for.
        Ok(Answer::Truncated) => Ok(Err(DnsError::Malformed)),
        answer => Ok(answer),
    }
}

fn read_exact(stream: &mut TcpStream, buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        stream.set_read_timeout(Some(left_until(deadline)?))?;
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn left_until(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
    }
    Ok(left)
}
