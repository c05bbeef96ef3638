//! Asks name servers, by UDP and, for what does not fit, by TCP. Blocks.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::config::NameServers;
use super::message::{Answer, DnsError, Query, QueryType, Record, UDP_BYTES_MAX};

/// How long one server is waited for.
const SERVER_TIME_MAX: Duration = Duration::from_secs(2);
/// How long one look-up may take, whatever it has to try.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(30);
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
    let deadline = Instant::now() + LOOKUP_TIME_MAX;
    let mut failed = None;
    for candidate in servers.candidates(name) {
        match ask_all(&servers.servers, &candidate, query_type, deadline) {
            Ok(Answer::Records(records)) if !records.is_empty() => return Ok(records),
            Ok(_) => {}
            // Who does not answer for one name does not for the next either.
            Err(error @ LookupError::Server { .. }) => return Err(error),
            // glibc: res_query.c, res_nsearch. A search domain that no server answers for well is no
            // reason to pass over the others; the name may be there all the same.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(Vec::new()), Err)
}

fn ask_all(
    servers: &[SocketAddr],
    name: &str,
    query_type: QueryType,
    deadline: Instant,
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
            let asked = match ask_by_udp(server, &query, deadline) {
                Ok(Ok(Answer::Truncated)) => ask_by_tcp(server, &query, deadline),
                asked => asked,
            };
            match asked {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => failed = LookupError::Answer { server, error },
                // What one server says weighs more than the silence of another.
                Err(_) if matches!(failed, LookupError::Answer { .. }) => {}
                Err(error) => failed = LookupError::Server { server, error },
            }
        }
    }
    Err(failed)
}

type Asked = io::Result<Result<Answer, DnsError>>;

fn ask_by_udp(server: SocketAddr, query: &Query, deadline: Instant) -> Asked {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The system chooses a port that others cannot know, and passes what comes from elsewhere over.
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(&query.encode())?;
    let deadline = deadline.min(Instant::now() + SERVER_TIME_MAX);
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

fn ask_by_tcp(server: SocketAddr, query: &Query, deadline: Instant) -> Asked {
    let deadline = deadline.min(Instant::now() + SERVER_TIME_MAX);
    let mut stream = TcpStream::connect_timeout(&server, left_until(deadline)?)?;
    stream.set_write_timeout(Some(left_until(deadline)?))?;
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A name server: what it answers to a question, from its id and the words behind it.
    fn server(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let address = socket.local_addr().expect("its address");
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if let Some(answer) = answer(&buffer[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        address
    }

    /// The question with these flags, as its own answer, without records.
    fn empty(question: &[u8], flags: u16) -> Vec<u8> {
        let mut answer = question.to_vec();
        answer[2..4].copy_from_slice(&flags.to_be_bytes());
        // No additional record.
        answer[10..12].fill(0);
        answer.truncate(question.len() - 11);
        answer
    }

    /// The answer with one address more.
    fn with_address(mut answer: Vec<u8>) -> Vec<u8> {
        answer[7] = 1;
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 1]);
        answer
    }

    fn servers(address: SocketAddr, search: &str) -> NameServers {
        let text = format!("nameserver 127.0.0.1\nsearch {search}\noptions ndots:5\n");
        let mut servers = NameServers::parse(&text);
        servers.servers = vec![address];
        servers
    }

    fn has(question: &[u8], label: &str) -> bool {
        question.windows(label.len()).any(|bytes| bytes == label.as_bytes())
    }

    #[test]
    fn a_search_domain_that_fails_ends_no_look_up() {
        for refusal in [0x8182, 0x8185, 0x8181] {
            let address = server(move |question| {
                let is_bad = has(question, "broken");
                let is_good = has(question, "good");
                Some(match (is_bad, is_good) {
                    (true, _) => empty(question, refusal),
                    (_, true) => with_address(empty(question, 0x8180)),
                    _ => empty(question, 0x8183),
                })
            });
            let found = look_up(&servers(address, "broken good"), "web", QueryType::A);
            assert_eq!(found.expect("a record"), [Record::Address([10, 0, 0, 1].into())]);
            // What was not found while something failed is not known to be nowhere.
            let found = look_up(&servers(address, "broken other"), "web", QueryType::A);
            assert!(matches!(found, Err(LookupError::Answer { .. })), "{found:?}");
            let found = look_up(&servers(address, "other"), "web", QueryType::A);
            assert_eq!(found.expect("an answer"), []);
        }
        // A candidate that is too long for a name is none.
        let long = ["a".repeat(63), "a".repeat(63), "a".repeat(63), "a".repeat(60)].join(".");
        let address = server(|question| Some(with_address(empty(question, 0x8180))));
        let found = look_up(&servers(address, &long), "web", QueryType::A);
        assert_eq!(found.expect("a record").len(), 1);
    }

    #[test]
    fn who_answers_with_anything_else_is_not_listened_to_for_ever() {
        // Answers to other questions, by the dozen.
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let address = socket.local_addr().expect("its address");
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { return };
            buffer[0] ^= 1;
            while socket.send_to(&buffer[..length], from).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let query = Query::new(1, "web", QueryType::A).expect("a name");
        let start = Instant::now();
        let asked = ask_by_udp(address, &query, start + Duration::from_millis(300));
        assert!(asked.is_err() && start.elapsed() < Duration::from_secs(20), "{asked:?}");
        // An answer by TCP that comes byte by byte, and is never whole.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let address = listener.local_addr().expect("its address");
        std::thread::spawn(move || {
            let Ok((mut stream, _)) = listener.accept() else { return };
            while stream.write_all(&[0xff]).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let start = Instant::now();
        let asked = ask_by_tcp(address, &query, start + Duration::from_millis(300));
        assert!(asked.is_err() && start.elapsed() < Duration::from_secs(20), "{asked:?}");
    }
}
