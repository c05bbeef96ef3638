//! A connected stream socket, TCP or Unix.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::{Domain, SockAddr, Type};

use super::options::SocketOptions;
use super::wait::{Wait, within};

/// A connected, non-blocking stream socket.
///
/// It belongs to no executor: it may be sent to another shard between two calls, unread bytes
/// stay in the kernel. A wait registers with the ring of the executor it is polled in.
#[derive(Debug)]
pub struct Socket {
    socket: socket2::Socket,
    unix: bool,
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// An Internet address.
    Tcp(SocketAddr),
    /// A Unix socket, with its path when it has one.
    Unix(Option<PathBuf>),
}

impl PeerAddress {
    /// The Internet address, if it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            PeerAddress::Tcp(address) => Some(address.ip()),
            PeerAddress::Unix(_) => None,
        }
    }
}

impl Socket {
    /// Connects over TCP.
    ///
    /// # Errors
    /// Those of connecting, [`io::ErrorKind::TimedOut`] after `limit`, and options that cannot be
    /// set.
    ///
    /// # Panics
    /// Outside of a glommio executor.
    pub async fn connect(
        address: SocketAddr,
        options: &SocketOptions,
        limit: Duration,
    ) -> io::Result<Socket> {
        Socket::connect_from(None, address, options, limit).await
    }

    /// Connects over TCP from the local address `from`.
    ///
    /// # Errors
    /// As [`Socket::connect`], and those of binding.
    ///
    /// # Panics
    /// Outside of a glommio executor.
    pub async fn connect_from(
        from: Option<SocketAddr>,
        address: SocketAddr,
        options: &SocketOptions,
        limit: Duration,
    ) -> io::Result<Socket> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if let Some(from) = from {
            socket.bind(&from.into())?;
        }
        Socket::establish(socket, &address.into(), options, limit).await
    }

    /// Connects to the Unix socket at `path`. A path that starts with a NUL byte names one in the
    /// abstract namespace.
    ///
    /// # Errors
    /// As [`Socket::connect`].
    ///
    /// # Panics
    /// Outside of a glommio executor.
    pub async fn connect_unix(
        path: &Path,
        options: &SocketOptions,
        limit: Duration,
    ) -> io::Result<Socket> {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        Socket::establish(socket, &SockAddr::unix(path)?, options, limit).await
    }

    async fn establish(
        socket: socket2::Socket,
        address: &SockAddr,
        options: &SocketOptions,
        limit: Duration,
    ) -> io::Result<Socket> {
        socket.set_nonblocking(true)?;
        options.apply(&socket, address.as_socket().map(|address| address.ip()))?;
        match socket.connect(address) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                within(limit, Wait::writable(&socket).ready()).await?;
                if let Some(error) = socket.take_error()? {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(Socket { unix: address.domain() == Domain::UNIX, socket })
    }

    /// Takes over a connected stream socket, for example an accepted one.
    ///
    /// # Errors
    /// When it cannot be made non-blocking or is no socket.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Socket> {
        let socket = socket2::Socket::from(fd);
        socket.set_nonblocking(true)?;
        let unix = socket.domain()? == Domain::UNIX;
        Ok(Socket { socket, unix })
    }

    /// Two Unix sockets connected to each other.
    ///
    /// # Errors
    /// Those of `socketpair`.
    pub fn pair() -> io::Result<(Socket, Socket)> {
        let (left, right) = socket2::Socket::pair(Domain::UNIX, Type::STREAM, None)?;
        Ok((Socket::from_fd(left.into())?, Socket::from_fd(right.into())?))
    }

    /// Gives up the descriptor.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.socket.into()
    }

    /// Whether this is a Unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        self.unix
    }

    /// Receives what is there into `buffer`. Zero means that the peer sends no more.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing is there; otherwise the connection has failed.
    #[inline]
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // Not the C library's, whose calls are points where a thread may be cancelled: that costs
        // a process with several threads some 30 ns each.
        loop {
            match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                result => return result.map(|(received, _)| received).map_err(io::Error::from),
            }
        }
    }

    /// Sends as much of `slices` as the kernel takes, and says how much that was.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when it takes nothing; otherwise the connection has failed.
    #[inline]
    pub fn try_sendv(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            let result = match slices {
                [one] => rustix::net::send(&self.socket, one, flags),
                many => {
                    let nothing = &mut SendAncillaryBuffer::default();
                    rustix::net::sendmsg(&self.socket, many, nothing, flags)
                }
            };
            match result {
                Err(Errno::INTR) => {}
                result => return result.map_err(io::Error::from),
            }
        }
    }

    /// Resolves when there is something to receive, an end, or an error. May be dropped at any
    /// time.
    ///
    /// # Errors
    /// What the ring answers to the poll request.
    ///
    /// # Panics
    /// Outside of a glommio executor.
    pub async fn wait_readable(&self) -> io::Result<()> {
        Wait::readable(self).ready().await
    }

    /// Resolves when there is room to send, an end, or an error. May be dropped at any time.
    ///
    /// # Errors
    /// What the ring answers to the poll request.
    ///
    /// # Panics
    /// Outside of a glommio executor.
    pub async fn wait_writable(&self) -> io::Result<()> {
        Wait::writable(self).ready().await
    }

    /// Receives at least one byte into `buffer`, or zero when the peer sends no more.
    ///
    /// # Errors
    /// Those of the connection.
    ///
    /// # Panics
    /// Outside of a glommio executor.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.try_recv(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_readable().await?;
                }
                result => return result,
            }
        }
    }

    /// Sends all of `bytes`. When dropped before it resolves, a part may have been sent.
    ///
    /// # Errors
    /// Those of the connection.
    ///
    /// # Panics
    /// Outside of a glommio executor.
    pub async fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_sendv(&[IoSlice::new(bytes)]) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends one direction or both. An end that was there before is no error.
    pub fn shutdown(&self, how: Shutdown) {
        // The only failure of a connected socket is that the peer was first.
        let _ = self.socket.shutdown(how);
    }

    /// The address of this end, if it is a TCP socket.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_address(&self) -> io::Result<Option<SocketAddr>> {
        Ok(self.socket.local_addr()?.as_socket())
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// Those of `getpeername`, when the connection has ended already.
    pub fn peer_address(&self) -> io::Result<PeerAddress> {
        Ok(PeerAddress::from(&self.socket.peer_addr()?))
    }

    /// The socket, for setting options while it is in use.
    #[must_use]
    pub fn options(&self) -> socket2::SockRef<'_> {
        socket2::SockRef::from(&self.socket)
    }
}

impl From<&SockAddr> for PeerAddress {
    fn from(address: &SockAddr) -> PeerAddress {
        match address.as_socket() {
            Some(address) => PeerAddress::Tcp(address),
            None => PeerAddress::Unix(address.as_pathname().map(Path::to_owned)),
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddress::Tcp(address) => address.fmt(f),
            PeerAddress::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            PeerAddress::Unix(None) => f.write_str("unix:"),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
