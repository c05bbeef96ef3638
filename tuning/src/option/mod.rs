//! Socket options of a distribution link, typed, under the names `inet:setopts/2` gives them.
//!
//! [`SocketOption`] is a name with its value, [`OptionName`] the name alone. Both work on a
//! borrowed descriptor, so the owner of the socket keeps it. Text forms are in [`parse`].

pub mod parse;

use serde::{Deserialize, Serialize};
use socket2::{Domain, SockRef, Socket};
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// One socket option with its value.
///
/// The first group has the names and units of Erlang's `inet:setopts/2`; the rest is Linux, with
/// the socket option's own name in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SocketOption {
    /// Send small segments at once (`TCP_NODELAY`). Distribution links have it on.
    Nodelay(bool),
    /// Probe a silent peer (`SO_KEEPALIVE`).
    Keepalive(bool),
    /// Kernel send buffer in bytes (`SO_SNDBUF`). Switches off the kernel's own tuning of it; the
    /// kernel doubles the value and caps it at `net.core.wmem_max`. [`OptionName::read`] gives
    /// what the kernel uses.
    Sndbuf(u32),
    /// Kernel receive buffer in bytes (`SO_RCVBUF`); as [`SocketOption::Sndbuf`], capped at
    /// `net.core.rmem_max`.
    Recbuf(u32),
    /// Bytes a user-level read may take at once. No option of the socket: [`SocketOption::apply`]
    /// checks it and leaves it to the owner of the link.
    Buffer(u32),
    /// Packet priority (`SO_PRIORITY`), 0 to 6 without privilege.
    Priority(u32),
    /// IPv4 type of service (`IP_TOS`).
    Tos(u8),
    /// What `close` does with unsent data (`SO_LINGER`): `None` sends it in the background,
    /// `Some(n)` waits at most n seconds, `Some(0)` resets the connection.
    Linger(Option<u16>),
    /// Milliseconds sent data may stay unacknowledged before the connection ends
    /// (`TCP_USER_TIMEOUT`); 0 is the kernel's default.
    UserTimeout(u32),
    /// Acknowledge at once instead of delayed (`TCP_QUICKACK`). The kernel may clear it again.
    Quickack(bool),
    /// Bytes of unsent data above which the socket is not writable (`TCP_NOTSENT_LOWAT`).
    NotsentLowat(u32),
    /// Microseconds to poll the network card for data (`SO_BUSY_POLL`). Raising it needs
    /// CAP_NET_ADMIN.
    BusyPoll(u32),
    /// The CPU whose receive queue should serve this socket (`SO_INCOMING_CPU`).
    IncomingCpu(u32),
    /// Congestion control algorithm (`TCP_CONGESTION`), one of
    /// `net.ipv4.tcp_allowed_congestion_control` without privilege.
    Congestion(String),
}

/// The name of a [`SocketOption`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // Each is the option of the same name in `SocketOption`.
#[non_exhaustive]
pub enum OptionName {
    Nodelay,
    Keepalive,
    Sndbuf,
    Recbuf,
    Buffer,
    Priority,
    Tos,
    Linger,
    UserTimeout,
    Quickack,
    NotsentLowat,
    BusyPoll,
    IncomingCpu,
    Congestion,
}

/// Congestion control names are at most this long, with the kernel's terminator (`TCP_CA_NAME_MAX`).
const CONGESTION_NAME_MAX: usize = 16;

impl SocketOption {
    /// Which option this is.
    pub fn name(&self) -> OptionName {
        match self {
            Self::Nodelay(_) => OptionName::Nodelay,
            Self::Keepalive(_) => OptionName::Keepalive,
            Self::Sndbuf(_) => OptionName::Sndbuf,
            Self::Recbuf(_) => OptionName::Recbuf,
            Self::Buffer(_) => OptionName::Buffer,
            Self::Priority(_) => OptionName::Priority,
            Self::Tos(_) => OptionName::Tos,
            Self::Linger(_) => OptionName::Linger,
            Self::UserTimeout(_) => OptionName::UserTimeout,
            Self::Quickack(_) => OptionName::Quickack,
            Self::NotsentLowat(_) => OptionName::NotsentLowat,
            Self::BusyPoll(_) => OptionName::BusyPoll,
            Self::IncomingCpu(_) => OptionName::IncomingCpu,
            Self::Congestion(_) => OptionName::Congestion,
        }
    }

    /// Sets the option on a socket.
    ///
    /// An option of TCP or IP alone ([`OptionName::is_tcp_only`]) on a Unix socket is left
    /// unset without an error, so that one set of options fits every carrier.
    ///
    /// # Errors
    ///
    /// The kernel's answer, for example `EPERM` for a priority that needs privilege or `ENOENT`
    /// for an unknown congestion algorithm. The socket keeps its old value then.
    pub fn apply(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let socket = SockRef::from(&fd);
        if self.name().is_tcp_only() && is_unix(&socket)? {
            return Ok(());
        }
        match self {
            Self::Nodelay(on) => socket.set_tcp_nodelay(*on),
            Self::Keepalive(on) => socket.set_keepalive(*on),
            Self::Sndbuf(bytes) => socket.set_send_buffer_size(*bytes as usize),
            Self::Recbuf(bytes) => socket.set_recv_buffer_size(*bytes as usize),
            Self::Buffer(0) => Err(io::ErrorKind::InvalidInput.into()),
            Self::Buffer(_) => Ok(()),
            Self::Priority(priority) => socket.set_priority(*priority),
            Self::Tos(tos) => socket.set_tos_v4(u32::from(*tos)),
            Self::Linger(seconds) => {
                socket.set_linger(seconds.map(|s| Duration::from_secs(u64::from(s))))
            }
            Self::UserTimeout(milliseconds) => {
                socket.set_tcp_user_timeout(Some(Duration::from_millis(u64::from(*milliseconds))))
            }
            Self::Quickack(on) => socket.set_tcp_quickack(*on),
            Self::NotsentLowat(bytes) => socket.set_tcp_notsent_lowat(*bytes),
            Self::BusyPoll(microseconds) => socket.set_busy_poll(*microseconds),
            Self::IncomingCpu(cpu) => socket.set_cpu_affinity(*cpu as usize),
            Self::Congestion(name) => {
                if name.is_empty() || name.len() >= CONGESTION_NAME_MAX {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                socket.set_tcp_congestion(name.as_bytes())
            }
        }
    }
}

impl OptionName {
    /// Every option, in the order of [`SocketOption`].
    pub const ALL: [OptionName; 14] = [
        Self::Nodelay,
        Self::Keepalive,
        Self::Sndbuf,
        Self::Recbuf,
        Self::Buffer,
        Self::Priority,
        Self::Tos,
        Self::Linger,
        Self::UserTimeout,
        Self::Quickack,
        Self::NotsentLowat,
        Self::BusyPoll,
        Self::IncomingCpu,
        Self::Congestion,
    ];

    /// The name in text, as in `inet:setopts/2`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nodelay => "nodelay",
            Self::Keepalive => "keepalive",
            Self::Sndbuf => "sndbuf",
            Self::Recbuf => "recbuf",
            Self::Buffer => "buffer",
            Self::Priority => "priority",
            Self::Tos => "tos",
            Self::Linger => "linger",
            Self::UserTimeout => "user_timeout",
            Self::Quickack => "quickack",
            Self::NotsentLowat => "notsent_lowat",
            Self::BusyPoll => "busy_poll",
            Self::IncomingCpu => "incoming_cpu",
            Self::Congestion => "congestion",
        }
    }

    /// Whether the option means nothing to a Unix socket.
    pub const fn is_tcp_only(self) -> bool {
        match self {
            Self::Nodelay
            | Self::Tos
            | Self::UserTimeout
            | Self::Quickack
            | Self::NotsentLowat
            | Self::IncomingCpu
            | Self::BusyPoll
            | Self::Congestion => true,
            Self::Keepalive
            | Self::Sndbuf
            | Self::Recbuf
            | Self::Buffer
            | Self::Priority
            | Self::Linger => false,
        }
    }

    /// Reads the option's present value from a socket.
    ///
    /// # Errors
    ///
    /// `Unsupported` for [`OptionName::Buffer`], which no socket knows, and the kernel's answer
    /// where the socket has no such option.
    pub fn read(self, fd: BorrowedFd<'_>) -> io::Result<SocketOption> {
        let socket = SockRef::from(&fd);
        Ok(match self {
            Self::Nodelay => SocketOption::Nodelay(socket.tcp_nodelay()?),
            Self::Keepalive => SocketOption::Keepalive(socket.keepalive()?),
            Self::Sndbuf => SocketOption::Sndbuf(saturate(socket.send_buffer_size()?)),
            Self::Recbuf => SocketOption::Recbuf(saturate(socket.recv_buffer_size()?)),
            Self::Buffer => return Err(io::ErrorKind::Unsupported.into()),
            Self::Priority => SocketOption::Priority(socket.priority()?),
            // The kernel keeps eight bits of it.
            Self::Tos => SocketOption::Tos(u8::try_from(socket.tos_v4()?).unwrap_or(u8::MAX)),
            Self::Linger => SocketOption::Linger(
                socket.linger()?.map(|time| u16::try_from(time.as_secs()).unwrap_or(u16::MAX)),
            ),
            Self::UserTimeout => {
                let milliseconds = socket.tcp_user_timeout()?.map_or(0, |time| time.as_millis());
                SocketOption::UserTimeout(u32::try_from(milliseconds).unwrap_or(u32::MAX))
            }
            Self::Quickack => SocketOption::Quickack(socket.tcp_quickack()?),
            Self::NotsentLowat => SocketOption::NotsentLowat(socket.tcp_notsent_lowat()?),
            Self::BusyPoll => SocketOption::BusyPoll(socket.busy_poll()?),
            Self::IncomingCpu => SocketOption::IncomingCpu(saturate(socket.cpu_affinity()?)),
            Self::Congestion => {
                let name = socket.tcp_congestion()?;
                let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
                SocketOption::Congestion(String::from_utf8_lossy(&name[..end]).into_owned())
            }
        })
    }
}

impl fmt::Display for OptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_unix(socket: &Socket) -> io::Result<bool> {
    Ok(socket.domain()? == Domain::UNIX)
}

fn saturate(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_is_applied_is_read_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for option in [
            SocketOption::Nodelay(true),
            SocketOption::Keepalive(true),
            SocketOption::Priority(5),
            SocketOption::Tos(0x10),
            SocketOption::Linger(Some(3)),
            SocketOption::Linger(None),
            SocketOption::UserTimeout(12_000),
            SocketOption::Quickack(false),
            SocketOption::NotsentLowat(16_384),
            SocketOption::Congestion("reno".into()),
        ] {
            option.apply(stream.as_fd()).unwrap();
            assert_eq!(option.name().read(stream.as_fd()).unwrap(), option);
        }
        SocketOption::Sndbuf(65_536).apply(stream.as_fd()).unwrap();
        assert_eq!(OptionName::Sndbuf.read(stream.as_fd()).unwrap(), SocketOption::Sndbuf(131_072));
        SocketOption::Buffer(1).apply(stream.as_fd()).unwrap();
        assert!(OptionName::Buffer.read(stream.as_fd()).is_err());
    }

    #[test]
    fn wrong_values_are_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fd = listener.as_fd();
        assert!(SocketOption::Buffer(0).apply(fd).is_err());
        assert!(SocketOption::Congestion(String::new()).apply(fd).is_err());
        assert!(SocketOption::Congestion("no-such-algorithm-here".into()).apply(fd).is_err());
        assert!(SocketOption::Congestion("nosuch".into()).apply(fd).is_err());
    }

    #[test]
    fn a_unix_socket_takes_the_same_set() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        SocketOption::Nodelay(true).apply(socket.as_fd()).unwrap();
        SocketOption::Congestion("reno".into()).apply(socket.as_fd()).unwrap();
        SocketOption::Sndbuf(65_536).apply(socket.as_fd()).unwrap();
        assert_eq!(OptionName::Sndbuf.read(socket.as_fd()).unwrap(), SocketOption::Sndbuf(131_072));
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> =
            OptionName::ALL.iter().map(|name| name.as_str()).collect();
        assert_eq!(names.len(), OptionName::ALL.len());
    }
}
