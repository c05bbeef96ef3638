//! The epmd server: binding, starting and stopping it. What it does with connections is in
//! [`engine`](super::engine).

use super::engine::{self, Engine};
use krarup_transport::epmd::server as machine;
use rustix::event::{EventfdFlags, eventfd};
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// How many connections may wait to be accepted. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// What an epmd server is started with. The defaults are OTP's.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The port; 0 takes any free one (OTP: `-port`, `ERL_EPMD_PORT`).
    pub port: u16,
    /// Addresses to listen on, the loopback addresses beside them; without any, on all
    /// (OTP: `-address`, `ERL_EPMD_ADDRESS`).
    pub addresses: Vec<IpAddr>,
    /// Allow KILL while nodes are registered, and STOP (OTP: `-relaxed_command_check`).
    pub relaxed_command_check: bool,
    /// How long a connection may take to send its request, counted from its start
    /// (OTP: `-packet_timeout`).
    pub packet_timeout: Duration,
    /// Most connections that are no registrations. At the limit the oldest makes room. The limit
    /// of open files applies as well.
    pub pending_max: usize,
    /// How many names without a node are remembered, for their next creation (OTP: 5 with `-d`).
    pub remembered_max: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            port: super::DEFAULT_PORT,
            addresses: Vec::new(),
            relaxed_command_check: false,
            packet_timeout: Duration::from_secs(60),
            pending_max: 16_384,
            remembered_max: 1000,
        }
    }
}

/// Why a server did not get its addresses.
#[derive(Debug)]
pub struct BindError {
    /// The address that could not be had.
    pub address: SocketAddr,
    /// The system's reason. `AddrInUse` usually means that another epmd runs.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epmd cannot listen on {}: {}", self.address, self.source)?;
        match self.source.kind() {
            io::ErrorKind::AddrInUse => f.write_str("; another epmd may run there: try its port"),
            io::ErrorKind::AddrNotAvailable => f.write_str("; no such address on this host"),
            io::ErrorKind::PermissionDenied => f.write_str("; choose a port above 1023"),
            _ => Ok(()),
        }
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// An epmd server that listens and does not serve yet.
#[derive(Debug)]
pub struct Server {
    engine: Engine,
    port: u16,
    addresses: Vec<SocketAddr>,
    stop: Arc<OwnedFd>,
}

impl Server {
    /// Binds the addresses and listens.
    ///
    /// With an address list those of it are bound, and 127.0.0.1 and ::1 where possible; without
    /// one 0.0.0.0, and :: where the host has IPv6 (OTP: erl, epmd, `-address`).
    ///
    /// # Errors
    ///
    /// [`BindError`] for the first address that cannot be had; nothing is bound then.
    pub fn bind(config: &ServerConfig) -> Result<Self, BindError> {
        // The first one is needed, and settles the port when any will do.
        let (needed, wanted) = if config.addresses.is_empty() {
            (vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)], vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)])
        } else {
            let loopbacks = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            let missing = loopbacks.into_iter().filter(|ip| !config.addresses.contains(ip));
            (config.addresses.clone(), missing.collect())
        };
        let mut port = config.port;
        let mut listeners: Vec<TcpListener> = Vec::new();
        for (ip, is_needed) in
            needed.into_iter().map(|ip| (ip, true)).chain(wanted.into_iter().map(|ip| (ip, false)))
        {
            let address = SocketAddr::new(ip, port);
            match listen(address) {
                Ok(listener) => {
                    if let Ok(bound) = listener.local_addr() {
                        port = bound.port();
                    }
                    listeners.push(listener);
                }
                Err(source) if is_needed => return Err(BindError { address, source }),
                Err(error) => tracing::debug!(%address, %error, "epmd does without this address"),
            }
        }
        let failed = |source: io::Error| BindError {
            address: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port),
            source,
        };
        let addresses = listeners.iter().filter_map(|one| one.local_addr().ok()).collect();
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| failed(error.into()))?;
        let stop = Arc::new(stop);
        let machine = machine::ServerConfig {
            port,
            relaxed_command_check: config.relaxed_command_check,
            packet_timeout: config.packet_timeout,
            pending_max: config.pending_max,
            remembered_max: config.remembered_max,
            ..machine::ServerConfig::default()
        };
        let engine = Engine::new(listeners, machine, &stop).map_err(failed)?;
        Ok(Self { engine, port, addresses, stop })
    }

    /// The port all listeners have.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The addresses listened on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves in this thread until a KILL request.
    ///
    /// # Errors
    ///
    /// When the system refuses to wait for events, which no client can cause.
    pub fn run(self) -> io::Result<()> {
        self.engine.run()
    }

    /// Serves in a thread of its own.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(self) -> io::Result<ServerHandle> {
        let Self { engine, port, stop, .. } = self;
        let thread = std::thread::Builder::new().name("epmd".into()).spawn(move || {
            if let Err(error) = engine.run() {
                tracing::error!(%error, "epmd ended");
            }
        })?;
        Ok(ServerHandle { port, stop, thread: Some(thread) })
    }
}

/// A running server. Dropping it closes its connections and ends its thread.
#[derive(Debug)]
pub struct ServerHandle {
    port: u16,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl ServerHandle {
    /// The port it serves.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it still serves: a KILL request ends it.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        engine::signal(&self.stop);
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, which was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    // So that a restarted epmd gets its port while connections of the old one linger.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
