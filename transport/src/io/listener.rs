//! Listening for connections.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Type};

use super::socket::{PeerAddress, Socket};
use super::wait::{Wait, sleep};

/// Pause after the first accept that failed for want of descriptors or memory; it doubles.
const BACK_OFF_MIN: Duration = Duration::from_millis(5);

/// Longest such pause.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// Where to listen over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// The local address; unspecified means every one.
    pub address: IpAddr,
    /// The first free port of this range is taken; `0..=0` lets the kernel choose.
    // OTP: kernel application, `inet_dist_listen_min` and `inet_dist_listen_max`.
    pub ports: RangeInclusive<u16>,
    /// Connections that may wait to be accepted.
    // OTP: inet_tcp_dist listens with a backlog of 128.
    pub backlog: u16,
    /// Allow several listeners on one port, between which the kernel spreads connections.
    pub share_port: bool,
}

impl Default for ListenConfig {
    fn default() -> ListenConfig {
        ListenConfig {
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ports: 0..=0,
            backlog: 1024,
            share_port: false,
        }
    }
}

/// Why it is not possible to listen.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListenError {
    /// Every port of the range is taken.
    NoFreePort {
        /// The local address.
        address: IpAddr,
        /// The range that was tried.
        ports: RangeInclusive<u16>,
    },
    /// The address cannot be listened at.
    Bind {
        /// The address and port.
        address: SocketAddr,
        /// What the kernel says.
        error: io::Error,
    },
    /// There is no socket to be had, or the Unix path is unusable.
    Socket(io::Error),
}

/// A listening socket, TCP or Unix.
#[derive(Debug)]
pub struct Listener {
    socket: socket2::Socket,
    back_off: Cell<Option<Duration>>,
    /// Given up for a moment when there is no other descriptor to accept and refuse with.
    spare: RefCell<Option<File>>,
}

impl Listener {
    /// Listens over TCP.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind(config: &ListenConfig) -> Result<Listener, ListenError> {
        for port in config.ports.clone() {
            let address = SocketAddr::new(config.address, port);
            match Listener::bind_port(address, config) {
                Ok(listener) => return Ok(listener),
                Err(ListenError::Bind { error, .. })
                    if error.kind() == io::ErrorKind::AddrInUse && port != 0 => {}
                Err(error) => return Err(error),
            }
        }
        Err(ListenError::NoFreePort { address: config.address, ports: config.ports.clone() })
    }

    fn new(socket: socket2::Socket) -> Listener {
        Listener { socket, back_off: Cell::new(None), spare: RefCell::new(spare_descriptor()) }
    }

    fn bind_port(address: SocketAddr, config: &ListenConfig) -> Result<Listener, ListenError> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)
            .map_err(ListenError::Socket)?;
        let listen = || {
            socket.set_nonblocking(true)?;
            // A port in TIME_WAIT is free; one with a listener is not.
            socket.set_reuse_address(true)?;
            if config.share_port {
                socket.set_reuse_port(true)?;
            }
            socket.bind(&address.into())?;
            socket.listen(i32::from(config.backlog))
        };
        match listen() {
            Ok(()) => Ok(Listener::new(socket)),
            Err(error) => Err(ListenError::Bind { address, error }),
        }
    }

    /// Listens at the Unix socket `path`. A path that starts with a NUL byte names one in the
    /// abstract namespace.
    ///
    /// # Errors
    /// [`ListenError::Socket`].
    pub fn bind_unix(path: &Path, backlog: u16) -> Result<Listener, ListenError> {
        let listen = || {
            let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.bind(&SockAddr::unix(path)?)?;
            socket.listen(i32::from(backlog))?;
            Ok(socket)
        };
        match listen() {
            Ok(socket) => Ok(Listener::new(socket)),
            Err(error) => Err(ListenError::Socket(error)),
        }
    }

    /// The address it listens at; `None` for a Unix socket.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_address(&self) -> io::Result<Option<SocketAddr>> {
        Ok(self.socket.local_addr()?.as_socket())
    }

    /// Whether it is a Unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        self.local_address().is_ok_and(|address| address.is_none())
    }

    /// The TCP port it listens at; zero for a Unix socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.local_address().ok().flatten().map_or(0, |address| address.port())
    }

    /// The next connection. May be dropped at any time without losing one.
    ///
    /// # Errors
    /// When the process or the host is out of descriptors or memory. The caller may free some, or
    /// [refuse](Listener::refuse) the connection; the next call pauses before it tries again,
    /// longer each time, so that a loop around this does not spin. Any other error is the last: see
    /// [`Listener::survives`].
    ///
    /// # Panics
    /// Outside of a glommio executor.
    pub async fn accept(&self) -> io::Result<(Socket, PeerAddress)> {
        if let Some(pause) = self.back_off.get() {
            sleep(pause).await;
        }
        loop {
            match self.try_accept() {
                Ok(accepted) => {
                    self.back_off.set(None);
                    return Ok(accepted);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Wait::readable(&self.socket).ready().await?;
                }
                Err(error) if is_exhaustion(&error) => {
                    let pause = self.back_off.get().map_or(BACK_OFF_MIN, |last| last * 2);
                    self.back_off.set(Some(pause.min(BACK_OFF_MAX)));
                    return Err(error);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes the connection that has waited longest, when there is no descriptor to accept it
    /// with: to whoever dialled it looks connected, and it would wait until its time is up. False
    /// if not even that is possible.
    pub fn refuse(&self) -> bool {
        drop(self.spare.take());
        let refused = self.socket.accept().is_ok();
        self.spare.replace(spare_descriptor());
        if refused {
            self.back_off.set(None);
        }
        refused
    }

    /// Whether after this error of [`Listener::accept`] others may follow that are accepted.
    /// Otherwise the socket itself has failed, and nothing ever comes from it again.
    #[must_use]
    pub fn survives(error: &io::Error) -> bool {
        is_exhaustion(error)
    }

    /// The next connection, if one is waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when none is waiting; otherwise those of `accept`.
    pub fn try_accept(&self) -> io::Result<(Socket, PeerAddress)> {
        let (socket, address) = self.socket.accept()?;
        Ok((Socket::from_fd(socket.into())?, PeerAddress::from(&address)))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Whether accepting failed for want of something that may come back.
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Whether it was only the waiting connection that failed; see accept(2), "Error handling".
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINTR
                | libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
                | libc::EPERM
        )
    )
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::NoFreePort { address, ports } if ports.start() == ports.end() => {
                write!(f, "port {} at {address} is in use (eaddrinuse)", ports.start())
            }
            ListenError::NoFreePort { address, ports } => write!(
                f,
                "no free port at {address} from {} to {} (eaddrinuse)",
                ports.start(),
                ports.end()
            ),
            ListenError::Bind { address, error } => {
                write!(f, "cannot listen at {address}: {error}")
            }
            ListenError::Socket(error) => write!(f, "cannot listen: {error}"),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ListenError::NoFreePort { .. } => None,
            ListenError::Bind { error, .. } | ListenError::Socket(error) => Some(error),
        }
    }
}
