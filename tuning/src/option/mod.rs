//! Socket options of a distribution link, typed, under the names `inet:setopts/2` gives them.
//!
//! [`SocketOption`] is a name with its value, [`OptionName`] the name alone. Both work on a
//! borrowed descriptor, so the owner of the socket keeps it. Text forms are in [`parse`], numbers
//! and bytes of the kernel's own interface in [`raw`].
//!
//! Some options are not the socket's ([`OptionName::owner`]): the owner of the link keeps and
//! obeys them.

pub mod parse;
pub mod raw;

use rustix::io::Errno;
use rustix::net::sockopt;
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockRef, Socket};
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
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
    /// IPv6 traffic class (`IPV6_TCLASS`).
    Tclass(u8),
    /// Send to directly connected hosts only (`SO_DONTROUTE`). Always off here: switching it on is
    /// refused.
    Dontroute(bool),
    /// What `close` does with unsent data (`SO_LINGER`): `None` sends it in the background,
    /// `Some(n)` waits at most n seconds, `Some(0)` resets the connection.
    Linger(Option<u16>),
    /// Whether a port in `TIME_WAIT` may be bound (`SO_REUSEADDR`).
    Reuseaddr(bool),
    /// Milliseconds a blocked send may take; `None` is `infinity`. No send blocks here, so that it
    /// is kept and reported and has no effect.
    SendTimeout(Option<u32>),
    /// Whether such a send ends the connection; kept and reported, without effect.
    SendTimeoutClose(bool),
    /// Whether the emulator queues before it sends; kept and reported, without effect: what is
    /// sent in one turn always leaves together.
    DelaySend(bool),
    /// Bytes that may wait on a link before its senders are told to wait.
    HighWatermark(u32),
    /// Bytes waiting on a link at which such senders may go on.
    LowWatermark(u32),
    /// Whether a reset is told apart from an end; kept and reported, without effect: a
    /// `nodedown` always says which it was.
    ShowEconnreset(bool),
    /// Milliseconds sent data may stay unacknowledged before the connection ends
    /// (`TCP_USER_TIMEOUT`); 0 is the kernel's default.
    UserTimeout(u32),
    /// Seconds of silence before the first keep-alive probe (`TCP_KEEPIDLE`), 1 to 32767.
    Keepidle(u32),
    /// Seconds between two such probes (`TCP_KEEPINTVL`), 1 to 32767.
    Keepintvl(u32),
    /// Such probes without an answer before the connection ends (`TCP_KEEPCNT`), 1 to 127.
    Keepcnt(u32),
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
    /// Microseconds that a shard with nothing to do looks at its sockets before it parks. Of all
    /// links of the node together.
    SpinUs(u32),
    /// Bytes of each part in which a message of more than 64 KiB is sent, 4096 to 65536.
    FragmentSize(u32),
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
    Tclass,
    Dontroute,
    Linger,
    Reuseaddr,
    SendTimeout,
    SendTimeoutClose,
    DelaySend,
    HighWatermark,
    LowWatermark,
    ShowEconnreset,
    UserTimeout,
    Keepidle,
    Keepintvl,
    Keepcnt,
    Quickack,
    NotsentLowat,
    BusyPoll,
    IncomingCpu,
    Congestion,
    SpinUs,
    FragmentSize,
}

const EINVAL: i32 = Errno::INVAL.raw_os_error();
const EPERM: i32 = Errno::PERM.raw_os_error();
const ENOPROTOOPT: i32 = Errno::NOPROTOOPT.raw_os_error();

/// Who obeys an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Every socket.
    Socket,
    /// Sockets of TCP, and of IP.
    Tcp,
    /// The link that the socket carries.
    Link,
    /// The node, for all its links.
    Node,
    /// Nobody: it is kept and reported, as it has nothing to change here.
    Nobody,
}

/// The sizes that [`SocketOption::FragmentSize`] may have.
pub const FRAGMENT_SIZES: RangeInclusive<u32> = (4 << 10)..=(64 << 10);

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
            Self::Tclass(_) => OptionName::Tclass,
            Self::Dontroute(_) => OptionName::Dontroute,
            Self::Linger(_) => OptionName::Linger,
            Self::Reuseaddr(_) => OptionName::Reuseaddr,
            Self::SendTimeout(_) => OptionName::SendTimeout,
            Self::SendTimeoutClose(_) => OptionName::SendTimeoutClose,
            Self::DelaySend(_) => OptionName::DelaySend,
            Self::HighWatermark(_) => OptionName::HighWatermark,
            Self::LowWatermark(_) => OptionName::LowWatermark,
            Self::ShowEconnreset(_) => OptionName::ShowEconnreset,
            Self::UserTimeout(_) => OptionName::UserTimeout,
            Self::Keepidle(_) => OptionName::Keepidle,
            Self::Keepintvl(_) => OptionName::Keepintvl,
            Self::Keepcnt(_) => OptionName::Keepcnt,
            Self::Quickack(_) => OptionName::Quickack,
            Self::NotsentLowat(_) => OptionName::NotsentLowat,
            Self::BusyPoll(_) => OptionName::BusyPoll,
            Self::IncomingCpu(_) => OptionName::IncomingCpu,
            Self::Congestion(_) => OptionName::Congestion,
            Self::SpinUs(_) => OptionName::SpinUs,
            Self::FragmentSize(_) => OptionName::FragmentSize,
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
        self.check()?;
        let socket = SockRef::from(&fd);
        if self.name().is_tcp_only() && is_unix(&socket)? {
            return Ok(());
        }
        match self {
            Self::Nodelay(on) => socket.set_tcp_nodelay(*on),
            Self::Keepalive(on) => socket.set_keepalive(*on),
            Self::Sndbuf(bytes) => socket.set_send_buffer_size(*bytes as usize),
            Self::Recbuf(bytes) => socket.set_recv_buffer_size(*bytes as usize),
            Self::Priority(priority) => socket.set_priority(*priority),
            Self::Tos(tos) => {
                // Linux derives a priority from it; as in OTP, the one that was there stays.
                let priority = socket.priority()?;
                socket.set_tos_v4(u32::from(*tos))?;
                match socket.set_priority(priority) {
                    // It was set by somebody with privilege.
                    Err(error) if error.raw_os_error() == Some(EPERM) => Ok(()),
                    done => done,
                }
            }
            Self::Tclass(class) if socket.domain()? == Domain::IPV6 => {
                socket.set_tclass_v6(u32::from(*class))
            }
            // As OTP answers for an address without such a thing.
            Self::Tclass(_) => Err(io::Error::from_raw_os_error(EINVAL)),
            Self::Dontroute(_) => Ok(()),
            Self::Linger(seconds) => {
                socket.set_linger(seconds.map(|s| Duration::from_secs(u64::from(s))))
            }
            Self::Reuseaddr(on) => socket.set_reuse_address(*on),
            Self::Keepidle(seconds) => Ok(sockopt::set_tcp_keepidle(fd, duration(*seconds))?),
            Self::Keepintvl(seconds) => Ok(sockopt::set_tcp_keepintvl(fd, duration(*seconds))?),
            Self::Keepcnt(probes) => Ok(sockopt::set_tcp_keepcnt(fd, *probes)?),
            Self::UserTimeout(milliseconds) => {
                socket.set_tcp_user_timeout(Some(Duration::from_millis(u64::from(*milliseconds))))
            }
            Self::Quickack(on) => socket.set_tcp_quickack(*on),
            Self::NotsentLowat(bytes) => socket.set_tcp_notsent_lowat(*bytes),
            Self::BusyPoll(microseconds) => socket.set_busy_poll(*microseconds),
            Self::IncomingCpu(cpu) => socket.set_cpu_affinity(*cpu as usize),
            Self::Congestion(name) => socket.set_tcp_congestion(name.as_bytes()),
            Self::Buffer(_)
            | Self::SendTimeout(_)
            | Self::SendTimeoutClose(_)
            | Self::DelaySend(_)
            | Self::HighWatermark(_)
            | Self::LowWatermark(_)
            | Self::ShowEconnreset(_)
            | Self::SpinUs(_)
            | Self::FragmentSize(_) => Ok(()),
        }
    }

    /// Whether the value is one that the option can have at all.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a value out of range, `ENOPROTOOPT` for what cannot be set here.
    pub fn check(&self) -> io::Result<()> {
        let valid = match self {
            // The kernel takes them as signed, and wraps nothing around.
            Self::Sndbuf(number)
            | Self::Recbuf(number)
            | Self::Priority(number)
            | Self::UserTimeout(number)
            | Self::BusyPoll(number)
            | Self::IncomingCpu(number) => i32::try_from(*number).is_ok(),
            Self::Buffer(bytes) => *bytes > 0,
            Self::Keepidle(number) | Self::Keepintvl(number) => (1..=32_767).contains(number),
            Self::Keepcnt(number) => (1..=127).contains(number),
            Self::Congestion(name) => !name.is_empty() && name.len() < CONGESTION_NAME_MAX,
            Self::FragmentSize(bytes) => FRAGMENT_SIZES.contains(bytes),
            Self::Dontroute(true) => return Err(io::Error::from_raw_os_error(ENOPROTOOPT)),
            _ => true,
        };
        if valid { Ok(()) } else { Err(io::Error::from_raw_os_error(EINVAL)) }
    }

    /// These options with `newer` ones, which replace those of their names.
    ///
    /// Of several with one name in `newer` the last counts.
    // OTP: net_kernel.erl, merge_opts/2.
    pub fn merged(mut older: Vec<Self>, newer: &[Self]) -> Vec<Self> {
        for option in newer {
            older.retain(|other| other.name() != option.name());
            older.push(option.clone());
        }
        older
    }
}

impl OptionName {
    /// Every option, in the order of [`SocketOption`].
    pub const ALL: [OptionName; 28] = [
        Self::Nodelay,
        Self::Keepalive,
        Self::Sndbuf,
        Self::Recbuf,
        Self::Buffer,
        Self::Priority,
        Self::Tos,
        Self::Tclass,
        Self::Dontroute,
        Self::Linger,
        Self::Reuseaddr,
        Self::SendTimeout,
        Self::SendTimeoutClose,
        Self::DelaySend,
        Self::HighWatermark,
        Self::LowWatermark,
        Self::ShowEconnreset,
        Self::UserTimeout,
        Self::Keepidle,
        Self::Keepintvl,
        Self::Keepcnt,
        Self::Quickack,
        Self::NotsentLowat,
        Self::BusyPoll,
        Self::IncomingCpu,
        Self::Congestion,
        Self::SpinUs,
        Self::FragmentSize,
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
            Self::Tclass => "tclass",
            Self::Dontroute => "dontroute",
            Self::Linger => "linger",
            Self::Reuseaddr => "reuseaddr",
            Self::SendTimeout => "send_timeout",
            Self::SendTimeoutClose => "send_timeout_close",
            Self::DelaySend => "delay_send",
            Self::HighWatermark => "high_watermark",
            Self::LowWatermark => "low_watermark",
            Self::ShowEconnreset => "show_econnreset",
            Self::UserTimeout => "user_timeout",
            Self::Keepidle => "keepidle",
            Self::Keepintvl => "keepintvl",
            Self::Keepcnt => "keepcnt",
            Self::Quickack => "quickack",
            Self::NotsentLowat => "notsent_lowat",
            Self::BusyPoll => "busy_poll",
            Self::IncomingCpu => "incoming_cpu",
            Self::Congestion => "congestion",
            Self::SpinUs => "spin_us",
            Self::FragmentSize => "fragment_size",
        }
    }

    /// Whose option it is.
    pub const fn owner(self) -> Owner {
        match self {
            Self::Nodelay
            | Self::Tos
            | Self::Tclass
            | Self::UserTimeout
            | Self::Keepidle
            | Self::Keepintvl
            | Self::Keepcnt
            | Self::Quickack
            | Self::NotsentLowat
            | Self::IncomingCpu
            | Self::BusyPoll
            | Self::Congestion => Owner::Tcp,
            Self::Keepalive
            | Self::Sndbuf
            | Self::Recbuf
            | Self::Priority
            | Self::Dontroute
            | Self::Linger
            | Self::Reuseaddr => Owner::Socket,
            Self::Buffer | Self::HighWatermark | Self::LowWatermark | Self::FragmentSize => {
                Owner::Link
            }
            Self::SendTimeout | Self::SendTimeoutClose | Self::DelaySend | Self::ShowEconnreset => {
                Owner::Nobody
            }
            Self::SpinUs => Owner::Node,
        }
    }

    /// Whether the option means nothing to a Unix socket.
    pub const fn is_tcp_only(self) -> bool {
        matches!(self.owner(), Owner::Tcp)
    }

    /// Reads the option's present value from a socket.
    ///
    /// # Errors
    ///
    /// `Unsupported` for what no socket knows ([`OptionName::owner`]), and the kernel's answer
    /// where the socket has no such option.
    pub fn read(self, fd: BorrowedFd<'_>) -> io::Result<SocketOption> {
        let socket = SockRef::from(&fd);
        Ok(match self {
            Self::Nodelay => SocketOption::Nodelay(socket.tcp_nodelay()?),
            Self::Keepalive => SocketOption::Keepalive(socket.keepalive()?),
            Self::Sndbuf => SocketOption::Sndbuf(saturate(socket.send_buffer_size()?)),
            Self::Recbuf => SocketOption::Recbuf(saturate(socket.recv_buffer_size()?)),
            Self::Buffer
            | Self::SendTimeout
            | Self::SendTimeoutClose
            | Self::DelaySend
            | Self::HighWatermark
            | Self::LowWatermark
            | Self::ShowEconnreset
            | Self::SpinUs
            | Self::FragmentSize => return Err(io::ErrorKind::Unsupported.into()),
            Self::Priority => SocketOption::Priority(socket.priority()?),
            // The kernel keeps eight bits of it.
            Self::Tos => SocketOption::Tos(u8::try_from(socket.tos_v4()?).unwrap_or(u8::MAX)),
            Self::Tclass if socket.domain()? == Domain::IPV6 => {
                SocketOption::Tclass(u8::try_from(socket.tclass_v6()?).unwrap_or(u8::MAX))
            }
            Self::Tclass => return Err(io::Error::from_raw_os_error(ENOPROTOOPT)),
            Self::Dontroute => SocketOption::Dontroute(false),
            Self::Reuseaddr => SocketOption::Reuseaddr(socket.reuse_address()?),
            Self::Keepidle => SocketOption::Keepidle(seconds(sockopt::tcp_keepidle(fd)?)),
            Self::Keepintvl => SocketOption::Keepintvl(seconds(sockopt::tcp_keepintvl(fd)?)),
            Self::Keepcnt => SocketOption::Keepcnt(sockopt::tcp_keepcnt(fd)?),
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

fn duration(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
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
            SocketOption::Keepidle(77),
            SocketOption::Keepintvl(5),
            SocketOption::Keepcnt(4),
            SocketOption::Reuseaddr(true),
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
        SocketOption::BusyPoll(0).apply(stream.as_fd()).unwrap();
        assert_eq!(OptionName::BusyPoll.read(stream.as_fd()).unwrap(), SocketOption::BusyPoll(0));
        // The kernel follows the packets at once, so that it may read otherwise.
        SocketOption::IncomingCpu(0).apply(stream.as_fd()).unwrap();
        OptionName::IncomingCpu.read(stream.as_fd()).unwrap();
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
    fn a_type_of_service_leaves_the_priority_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for priority in [0, 3] {
            SocketOption::Priority(priority).apply(listener.as_fd()).unwrap();
            SocketOption::Tos(16).apply(listener.as_fd()).unwrap();
            assert_eq!(
                OptionName::Priority.read(listener.as_fd()).unwrap(),
                SocketOption::Priority(priority)
            );
        }
    }

    #[test]
    fn a_traffic_class_is_of_ipv6() {
        let class = SocketOption::Tclass(8);
        let four = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(class.apply(four.as_fd()).unwrap_err().raw_os_error(), Some(EINVAL));
        assert!(OptionName::Tclass.read(four.as_fd()).is_err());
        // Not every host has IPv6.
        if let Ok(six) = TcpListener::bind("[::1]:0") {
            class.apply(six.as_fd()).unwrap();
            assert_eq!(OptionName::Tclass.read(six.as_fd()).unwrap(), class);
        }
    }

    #[test]
    fn values_out_of_range_have_an_error_number() {
        let number = |option: SocketOption| option.check().unwrap_err().raw_os_error();
        assert_eq!(number(SocketOption::FragmentSize(4095)), Some(EINVAL));
        assert_eq!(number(SocketOption::FragmentSize(65_537)), Some(EINVAL));
        assert_eq!(number(SocketOption::Sndbuf(1 << 31)), Some(EINVAL));
        assert_eq!(number(SocketOption::Keepcnt(128)), Some(EINVAL));
        assert_eq!(number(SocketOption::Dontroute(true)), Some(ENOPROTOOPT));
        SocketOption::FragmentSize(4096).check().unwrap();
    }

    #[test]
    fn newer_options_replace_older_ones() {
        let older = vec![SocketOption::Nodelay(true), SocketOption::Sndbuf(1)];
        let newer =
            [SocketOption::Sndbuf(2), SocketOption::Keepalive(true), SocketOption::Sndbuf(3)];
        assert_eq!(
            SocketOption::merged(older, &newer),
            [SocketOption::Nodelay(true), SocketOption::Keepalive(true), SocketOption::Sndbuf(3)]
        );
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
