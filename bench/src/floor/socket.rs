//! A connected socket that polls or blocks, TCP or Unix, and the buffers it is used with.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::peer::Kind;

/// Memory that each side walks through, in bytes.
const RING_BYTES: usize = 4 << 20;

/// Where the other side connects to.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connected socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    /// Whether it polls; else the kernel puts it to sleep.
    polls: bool,
}

fn is_unix(kind: Kind) -> bool {
    matches!(kind, Kind::UnixSpin | Kind::UnixBlock)
}

/// An abstract name, which leaves no file behind. `unique` is different for each pair.
fn unix_address(unique: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("krarup-{unique}"))
}

impl Listener {
    /// Listens on any port of loopback, or under a name made of `unique`.
    pub(super) fn bind(kind: Kind, unique: &str) -> io::Result<Listener> {
        if is_unix(kind) {
            return UnixListener::bind_addr(&unix_address(unique)?).map(Listener::Unix);
        }
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(Listener::Tcp)
    }

    /// The port; 0 for one that has a name instead.
    pub(super) fn port(&self) -> io::Result<u16> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(|address| address.port()),
            Listener::Unix(_) => Ok(0),
        }
    }

    pub(super) fn accept(&self, kind: Kind) -> io::Result<Socket> {
        let stream = match self {
            Listener::Tcp(listener) => Stream::Tcp(listener.accept()?.0),
            Listener::Unix(listener) => Stream::Unix(listener.accept()?.0),
        };
        Socket::new(stream, kind)
    }
}

impl Socket {
    fn new(stream: Stream, kind: Kind) -> io::Result<Socket> {
        let polls = matches!(kind, Kind::SocketSpin | Kind::UnixSpin);
        match &stream {
            Stream::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(polls)?;
            }
            Stream::Unix(stream) => stream.set_nonblocking(polls)?,
        }
        Ok(Socket { stream, polls })
    }

    /// Connects to the port, or to the name made of `unique`.
    pub(super) fn connect(kind: Kind, port: u16, unique: &str) -> io::Result<Socket> {
        let stream = if is_unix(kind) {
            Stream::Unix(UnixStream::connect_addr(&unix_address(unique)?)?)
        } else {
            Stream::Tcp(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?)
        };
        Socket::new(stream, kind)
    }

    /// Makes a blocking socket poll from now on.
    pub(super) fn start_polling(&mut self) -> io::Result<()> {
        self.polls = true;
        match &self.stream {
            Stream::Tcp(stream) => stream.set_nonblocking(true),
            Stream::Unix(stream) => stream.set_nonblocking(true),
        }
    }

    /// Ends the outgoing stream.
    pub(super) fn end(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }

    /// Reads what is there, at least one byte; 0 at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.receive(buffer) {
                Err(error) if is_transient(&error) => {}
                outcome => return outcome,
            }
        }
    }

    /// Reads what is there; `None` when nothing is (only a socket that polls says so).
    pub(super) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.receive(buffer) {
            Err(error) if is_transient(&error) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Fills the buffer; `false` when the other side ended before its first byte.
    pub(super) fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..])? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(true)
    }

    /// Writes what the socket takes now, which may be nothing.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match send(self.as_fd(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => Ok(count),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    pub(super) fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = match &mut self.stream {
                Stream::Tcp(stream) => stream.write(bytes),
                Stream::Unix(stream) => stream.write(bytes),
            };
            match written {
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
            }
        }
        Ok(())
    }

    /// Waits, in its way, until there may be something to read, or room to write if `for_room`.
    pub(super) fn wait(&self, for_room: bool) -> io::Result<()> {
        if self.polls {
            std::hint::spin_loop();
            return Ok(());
        }
        let wanted = if for_room { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        match poll(&mut [PollFd::new(self, wanted)], None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Buffers of one length, used in turn.
#[derive(Debug)]
pub(super) struct Ring {
    memory: Vec<u8>,
    length: usize,
    next: usize,
}

impl Ring {
    /// Buffers of `length` bytes, at least two of them.
    pub(super) fn new(length: usize) -> Ring {
        Ring::over(length, 0)
    }

    /// The same in at least `bytes` of memory.
    pub(super) fn over(length: usize, bytes: usize) -> Ring {
        let count = (RING_BYTES.max(bytes) / length).max(2);
        // Written once, so that no page is missing during the measurement.
        Ring { memory: vec![b'k'; count * length], length, next: 0 }
    }

    pub(super) fn next(&mut self) -> &mut [u8] {
        let start = self.next;
        self.next += self.length;
        if self.next == self.memory.len() {
            self.next = 0;
        }
        &mut self.memory[start..start + self.length]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// All that floors are made of.
    pub(in super::super) const KINDS: [Kind; 4] =
        [Kind::SocketSpin, Kind::SocketBlock, Kind::UnixSpin, Kind::UnixBlock];

    /// Both ends of a connection, as workers of this kind have them.
    pub(in super::super) fn pair(kind: Kind) -> (Socket, Socket) {
        let unique = format!("test-{}-{:?}", std::process::id(), std::thread::current().id());
        let listener = Listener::bind(kind, &unique).expect("listen");
        let port = listener.port().expect("port");
        let client = Socket::connect(kind, port, &unique).expect("connect");
        (client, listener.accept(kind).expect("accept"))
    }

    #[test]
    fn a_ring_hands_out_every_buffer_in_turn() {
        let mut ring = Ring::new(1 << 20);
        for number in 0..8u8 {
            ring.next()[0] = number;
        }
        let kept: Vec<u8> = (0..4).map(|_| ring.next()[0]).collect();
        assert_eq!(kept, [4, 5, 6, 7]);
    }

    #[test]
    fn reading_tells_a_clean_end_from_a_broken_message() {
        for kind in KINDS {
            let (mut client, mut server) = pair(kind);
            client.write_all(b"0123").expect("write");
            drop(client);
            let mut buffer = [0; 2];
            assert!(server.read_exact(&mut buffer).expect("whole"));
            let mut longer = [0; 3];
            let broken = server.read_exact(&mut longer).expect_err("half a message");
            assert_eq!(broken.kind(), ErrorKind::UnexpectedEof);
            assert!(!server.read_exact(&mut longer).expect("end"));
        }
    }

    #[test]
    fn a_full_socket_takes_nothing_and_does_not_wait() {
        for kind in KINDS {
            let (mut client, _server) = pair(kind);
            let bytes = vec![0; 1 << 20];
            let mut written = 0;
            loop {
                match client.try_write(&bytes).expect("open") {
                    0 => break,
                    count => written += count,
                }
                assert!(written < 64 << 20, "{kind:?} takes everything");
            }
        }
    }
}
