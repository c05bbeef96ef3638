//! Keeps a node's name registered for as long as the node lives.

use super::client::{self, ClientError, Registration};
use super::server::{BindError, Server, ServerConfig, ServerHandle};
use krarup_transport::epmd::message::NodeEntry;
use krarup_transport::term::Creation;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where a node registers its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EpmdMode {
    /// The epmd that answers. Without one, one is started: by [`KeeperConfig::daemon`] when that is
    /// given, so that it outlives this node, else within this process.
    #[default]
    Auto,
    /// The epmd that answers; without one, one within this process.
    Embedded,
    /// The epmd that answers; without one the node does not start.
    External,
    /// Nowhere.
    None,
}

/// What to register, and where.
#[derive(Clone, Debug)]
pub struct KeeperConfig {
    /// Where the name is registered.
    pub mode: EpmdMode,
    /// The part of the node's name before the `@`.
    pub name: String,
    /// The port the node accepts connections on.
    pub port: u16,
    /// The port of epmd on this host's loopback address (OTP: `ERL_EPMD_PORT`).
    pub epmd_port: u16,
    /// Addresses an epmd within this process listens on (OTP: `ERL_EPMD_ADDRESS`); without any, on
    /// all.
    pub epmd_addresses: Vec<IpAddr>,
    /// The command that starts an epmd which outlives this process, for [`EpmdMode::Auto`]. It gets
    /// `ERL_EPMD_PORT` in its environment.
    pub daemon: Option<Vec<String>>,
    /// How long one request to epmd may take.
    pub answer_timeout: Duration,
}

impl KeeperConfig {
    /// A configuration with OTP's values for the rest, `ERL_EPMD_ADDRESS` among them.
    pub fn new(mode: EpmdMode, name: impl Into<String>, port: u16) -> Self {
        Self {
            mode,
            name: name.into(),
            port,
            epmd_port: super::DEFAULT_PORT,
            // One that is no list only matters to who serves, and must not end a node.
            epmd_addresses: std::env::var("ERL_EPMD_ADDRESS")
                .ok()
                .and_then(|list| super::addresses(&list).ok())
                .unwrap_or_default(),
            daemon: None,
            answer_timeout: krarup_transport::epmd::client::ANSWER_TIMEOUT,
        }
    }

    fn epmd(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.epmd_port)
    }
}

/// How long a started daemon may take until it answers.
const DAEMON_START_MAX: Duration = Duration::from_secs(5);
/// Between two attempts to reach an epmd that is being started by us or by another node.
const START_POLL: Duration = Duration::from_millis(20);
/// Between two attempts to register again. OTP waits 2 s; a node has to be back within that.
const RETRY: Duration = Duration::from_millis(500);

/// How long epmd may take to notice that a name is given up.
const GIVE_UP_MAX: Duration = Duration::from_millis(500);

/// An epmd may stay away for hours: then it is said once a minute.
const ATTEMPTS_PER_WARNING: u32 = 120;

/// Why a node's name was not registered.
#[derive(Debug)]
#[non_exhaustive]
pub enum RegisterError {
    /// The epmd that answers refused the name or failed.
    Epmd(ClientError),
    /// None answers, and none could be started in this process.
    Bind(BindError),
    /// None answers, and the daemon that was started does not either.
    Daemon {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// A thread or descriptor could not be had.
    System(io::Error),
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epmd(error) => error.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::Daemon { command, source } => {
                write!(f, "epmd could not be started with {command:?}: {source}")
            }
            Self::System(error) => write!(f, "epmd registration: {error}"),
        }
    }
}

impl Error for RegisterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Epmd(error) => Some(error),
            Self::Bind(error) => Some(error),
            Self::Daemon { source, .. } | Self::System(source) => Some(source),
        }
    }
}

/// Holds a registration: watches its connection and registers again when epmd goes away, starting
/// an epmd when the mode allows it. The creation stays that of the first registration, as in OTP.
///
/// Dropping it gives the name up, and ends the epmd within this process if there is one.
#[derive(Debug)]
pub struct Keeper {
    creation: Creation,
    address: Option<SocketAddr>,
    stop: Arc<OwnedFd>,
    /// Whether epmd knows the name now.
    is_registered: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Registers the name, starting an epmd if there is none and the mode allows it. Blocks until
    /// the name is registered. With [`EpmdMode::None`] it registers nothing and makes up a creation.
    ///
    /// # Errors
    ///
    /// [`RegisterError`].
    pub fn start(config: KeeperConfig) -> Result<Self, RegisterError> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| RegisterError::System(error.into()))?;
        let stop = Arc::new(stop);
        if config.mode == EpmdMode::None {
            let creation = random_creation().map_err(RegisterError::System)?;
            let is_registered = Arc::new(AtomicBool::new(true));
            return Ok(Self { creation, address: None, stop, is_registered, thread: None });
        }
        let is_registered = Arc::new(AtomicBool::new(true));
        let mut watch = Watch {
            config,
            server: None,
            stop: Arc::clone(&stop),
            is_registered: Arc::clone(&is_registered),
        };
        let registration = watch.register()?;
        let creation = registration.creation;
        let watched = watch.config.epmd();
        let address = Some(watched);
        let thread = std::thread::Builder::new()
            .name("epmd-keeper".into())
            .spawn(move || watch.run(registration))
            .map_err(RegisterError::System)?;
        tracing::info!(epmd = %watched, "registered");
        Ok(Self { creation, address, stop, is_registered, thread: Some(thread) })
    }

    /// The creation of the node: that of its first registration.
    pub fn creation(&self) -> Creation {
        self.creation
    }

    /// Whether epmd knows the name now, as far as that can be told: its connection is there. With
    /// [`EpmdMode::None`] there is nothing to know, and it is so.
    pub fn is_registered(&self) -> bool {
        self.is_registered.load(Ordering::Relaxed)
    }

    /// The epmd the name is registered with; `None` with [`EpmdMode::None`].
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        super::engine::signal(&self.stop);
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, which was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// What the keeper's thread works with.
struct Watch {
    config: KeeperConfig,
    /// The epmd within this process, once this node had to start it.
    server: Option<ServerHandle>,
    stop: Arc<OwnedFd>,
    is_registered: Arc<AtomicBool>,
}

impl Watch {
    fn run(mut self, mut registration: Registration) {
        loop {
            if self.wait(Some(&registration.stream), None) {
                return registration.give_up(GIVE_UP_MAX);
            }
            self.is_registered.store(false, Ordering::Relaxed);
            tracing::warn!(epmd = %self.config.epmd(), "epmd went away, registering again");
            drop(registration);
            let mut attempts = 0u32;
            registration = loop {
                match self.register() {
                    Ok(again) => break again,
                    Err(error) => {
                        if attempts.is_multiple_of(ATTEMPTS_PER_WARNING) {
                            tracing::warn!(%error, "not registered; trying again");
                        }
                        attempts = attempts.wrapping_add(1);
                        if self.wait(None, Some(RETRY)) {
                            return;
                        }
                    }
                }
            };
            self.is_registered.store(true, Ordering::Relaxed);
            tracing::info!(epmd = %self.config.epmd(), "registered again");
        }
    }

    /// Waits until the stream is readable, which means that epmd ended it, or for `time`. True
    /// when the keeper is to stop.
    fn wait(&self, stream: Option<&std::net::TcpStream>, time: Option<Duration>) -> bool {
        let mut descriptors = vec![PollFd::new(&*self.stop, PollFlags::IN)];
        descriptors.extend(stream.map(|stream| PollFd::new(stream, PollFlags::IN)));
        let deadline = time.map(|time| Instant::now() + time);
        loop {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut descriptors, left.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                // Only out of memory is left, and then the name is better given up than lost in
                // a loop.
                Err(error) => {
                    tracing::error!(%error, "the epmd registration is not watched any more");
                    return true;
                }
                Ok(_) => return !descriptors[0].revents().is_empty(),
            }
        }
    }

    /// Registers with the epmd that answers, or with one started for it.
    fn register(&mut self) -> Result<Registration, RegisterError> {
        let refused = match self.try_register() {
            Err(error) if error.is_refused_connection() => error,
            other => return other.map_err(RegisterError::Epmd),
        };
        match (self.config.mode, self.config.daemon.clone()) {
            (EpmdMode::External | EpmdMode::None, _) => Err(RegisterError::Epmd(refused)),
            (EpmdMode::Auto, Some(command)) => match self.start_daemon(&command) {
                Ok(()) => self.register_when_started(),
                Err(error) => {
                    tracing::warn!(%error, "serving epmd from this process instead");
                    self.serve()
                }
            },
            (EpmdMode::Auto | EpmdMode::Embedded, _) => self.serve(),
        }
    }

    /// Becomes epmd; if another process is first, registers there.
    fn serve(&mut self) -> Result<Registration, RegisterError> {
        // One that a KILL request ended, or that has lost its port.
        self.server = None;
        let config = ServerConfig {
            port: self.config.epmd_port,
            addresses: self.config.epmd_addresses.clone(),
            ..ServerConfig::default()
        };
        match Server::bind(&config) {
            Ok(server) => {
                tracing::info!(port = server.port(), "serving epmd from this process");
                self.server = Some(server.start().map_err(RegisterError::System)?);
                self.try_register().map_err(RegisterError::Epmd)
            }
            Err(error) if error.source.kind() == io::ErrorKind::AddrInUse => {
                match self.register_when_started() {
                    // Something has the port and does not answer there.
                    Err(RegisterError::Epmd(refused)) if refused.is_refused_connection() => {
                        Err(RegisterError::Bind(error))
                    }
                    other => other,
                }
            }
            Err(error) => Err(RegisterError::Bind(error)),
        }
    }

    /// Registers with an epmd that is just being started.
    fn register_when_started(&self) -> Result<Registration, RegisterError> {
        let end = Instant::now() + DAEMON_START_MAX;
        loop {
            match self.try_register() {
                Err(error) if error.is_refused_connection() && Instant::now() < end => {
                    if self.wait(None, Some(START_POLL)) {
                        return Err(RegisterError::Epmd(error));
                    }
                }
                other => return other.map_err(RegisterError::Epmd),
            }
        }
    }

    fn try_register(&self) -> Result<Registration, ClientError> {
        let entry = NodeEntry::new(&self.config.name, self.config.port);
        client::register(self.config.epmd(), &entry, self.config.answer_timeout)
    }

    /// Runs the command that starts a daemon, and waits until the command has ended.
    fn start_daemon(&self, command: &[String]) -> Result<(), RegisterError> {
        let failed = |source| RegisterError::Daemon { command: command.join(" "), source };
        let Some((program, arguments)) = command.split_first() else {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        };
        let status = Command::new(program)
            .args(arguments)
            .env("ERL_EPMD_PORT", self.config.epmd_port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        Err(failed(io::Error::other(format!("it ended with {status}"))))
    }
}

/// A creation for a node that registers nowhere. 0 to 3 have a meaning of their own in OTP.
fn random_creation() -> io::Result<Creation> {
    loop {
        let mut bytes = [0u8; 4];
        getrandom::fill(&mut bytes)?;
        let number = u32::from_ne_bytes(bytes);
        if number > 3 {
            return Ok(Creation(number));
        }
    }
}
