//! The options that every distribution socket gets.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use krarup_tuning::option::SocketOption;
use socket2::{Domain, SockRef, Socket, TcpKeepalive};

/// Options set on a socket before it connects, or after it was accepted.
///
/// Those that only TCP has are passed over on a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Send small segments at once. The distribution batches by itself, so this is on by default.
    // OTP: kernel, inet_tcp_dist:setup_fam/7 and `dist_nodelay` set `nodelay` to true.
    pub nodelay: bool,
    /// Probe a silent connection; `None` leaves keep-alive off.
    pub keepalive: Option<Keepalive>,
    /// Bytes that the kernel may buffer for sending; `None` leaves it to the kernel's tuning.
    pub send_buffer_bytes: Option<usize>,
    /// Bytes that the kernel may buffer of what was received; `None` as above.
    pub receive_buffer_bytes: Option<usize>,
    /// How long sent bytes may stay unacknowledged before the connection is given up.
    pub user_timeout: Option<Duration>,
    /// Bytes not yet sent below which the socket counts as writable (`TCP_NOTSENT_LOWAT`).
    pub unsent_bytes_low: Option<u32>,
    /// IPv4 type of service.
    pub type_of_service: Option<u32>,
    /// Device of the only interface to use, by name.
    pub interface: Option<String>,
    /// Options by their names in `inet:setopts`, set after the others and therefore winning.
    pub more: Vec<SocketOption>,
}

/// When and how often a silent connection is probed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe; `None` is the kernel's default of two hours.
    pub idle: Option<Duration>,
    /// Time between probes; `None` is the kernel's default.
    pub interval: Option<Duration>,
    /// Probes without an answer before the connection is given up; `None` as above.
    pub probes: Option<u32>,
}

impl Default for SocketOptions {
    fn default() -> SocketOptions {
        SocketOptions {
            nodelay: true,
            keepalive: Some(Keepalive::default()),
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            user_timeout: None,
            unsent_bytes_low: None,
            type_of_service: None,
            interface: None,
            more: Vec::new(),
        }
    }
}

impl SocketOptions {
    /// Sets these options on a socket.
    ///
    /// # Errors
    /// What the kernel says to the first option it refuses, with the option's name; those before
    /// it are set.
    pub fn apply<'s, S>(&self, socket: &'s S) -> io::Result<()>
    where
        SockRef<'s>: From<&'s S>,
    {
        let socket = SockRef::from(socket);
        if let Some(bytes) = self.send_buffer_bytes {
            named("sndbuf", socket.set_send_buffer_size(bytes))?;
        }
        if let Some(bytes) = self.receive_buffer_bytes {
            named("recbuf", socket.set_recv_buffer_size(bytes))?;
        }
        let domain = socket.domain()?;
        if domain == Domain::UNIX {
            return self.apply_more(&socket);
        }
        named("nodelay", socket.set_tcp_nodelay(self.nodelay))?;
        match self.keepalive {
            None => named("keepalive", socket.set_keepalive(false))?,
            Some(keepalive) => {
                named("keepalive", socket.set_keepalive(true))?;
                named("keepalive", socket.set_tcp_keepalive(&keepalive.parameters()))?;
            }
        }
        if let Some(timeout) = self.user_timeout {
            named("user_timeout", socket.set_tcp_user_timeout(Some(timeout)))?;
        }
        if let Some(bytes) = self.unsent_bytes_low {
            named("notsent_lowat", socket.set_tcp_notsent_lowat(bytes))?;
        }
        if let Some(tos) = self.type_of_service
            && domain == Domain::IPV4
        {
            named("tos", socket.set_tos_v4(tos))?;
        }
        if let Some(interface) = &self.interface {
            named("bind_to_device", socket.bind_device(Some(interface.as_bytes())))?;
        }
        self.apply_more(&socket)
    }

    fn apply_more(&self, socket: &Socket) -> io::Result<()> {
        self.more
            .iter()
            .try_for_each(|option| named(option.name().as_str(), option.apply(socket.as_fd())))
    }
}

impl Keepalive {
    fn parameters(self) -> TcpKeepalive {
        let mut parameters = TcpKeepalive::new();
        if let Some(idle) = self.idle {
            parameters = parameters.with_time(idle);
        }
        if let Some(interval) = self.interval {
            parameters = parameters.with_interval(interval);
        }
        if let Some(probes) = self.probes {
            parameters = parameters.with_retries(probes);
        }
        parameters
    }
}

/// Puts the option's name into the error.
fn named(option: &str, result: io::Result<()>) -> io::Result<()> {
    result.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot set socket option {option}: {error}"))
    })
}
