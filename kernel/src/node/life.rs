//! A node comes alive, and ends.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use krarup_transport::handshake::{NameMode, NodeName};
use krarup_transport::io::{ListenConfig, Listener, sleep};
use krarup_transport::term::{Atom, Creation};

use super::address::default_address;
use super::{NameType, Node, NodeConfig, StartError};
use crate::cookie;
use crate::epmd::{Keeper, KeeperConfig};
use crate::net_kernel::{Cookies, NodeDownReason};
use crate::process::Identity;
use crate::shard::{Life, Shard, blocking, listen_unix};

/// What the handles know of a living node.
#[derive(Debug)]
pub(crate) struct Alive {
    pub(crate) name: Atom,
    pub(crate) creation: Creation,
    pub(crate) port: u16,
    /// Keeps the name registered with epmd.
    keeper: Keeper,
}

impl Alive {
    pub(crate) fn epmd(&self) -> Option<SocketAddr> {
        self.keeper.address()
    }
}

/// How long links may take to close when the node stops.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// Listens, registers, and lets others in.
pub(super) async fn start(shard: &Rc<Shard>, node: &Node, name: &str) -> Result<(), StartError> {
    let kernel = shard.kernel().ok_or(StartError::State("the node has no kernel"))?;
    if kernel.is_alive() {
        return Err(StartError::State("the node is alive already"));
    }
    let config = node.config();
    let name = complete_name(name, config.name_type)?;
    let cookie = match &config.cookie {
        Some(cookie) => cookie.clone(),
        None => cookie::from_home().map_err(|error| StartError::Cookie(error.to_string()))?,
    };
    let listener = listen(config, name.host()).await?;
    let port = listener.port();
    let (unix_listener, unix_name) = unix_door(config);
    let keeper = register(config, &name, port).await?;
    let creation = keeper.creation();
    let atom = Atom::new(name.as_str()).map_err(|error| StartError::Name(error.to_string()))?;
    let identity = Identity { name: atom.clone(), creation };
    shard.set_identity_everywhere(identity).await;
    node.set_alive(Alive { name: atom, creation, port, keeper });
    let cookies = Cookies::new(cookie, config.peer_cookies.iter().cloned());
    let life = Life { name, creation, cookies, port, unix_name };
    kernel.begin_life(life, unix_listener.into_iter().chain([listener]));
    Ok(())
}

/// Closes every link, gives the name up and ends every process.
pub(super) async fn stop(shard: &Rc<Shard>) {
    let Some(kernel) = shard.kernel() else { return };
    kernel.end_life();
    let deadline = Instant::now() + STOP_TIME_MAX;
    while !kernel.is_quiet() && Instant::now() < deadline {
        sleep(Duration::from_millis(1)).await;
    }
    if !kernel.is_quiet() {
        let reason = NodeDownReason::NetKernelTerminated;
        tracing::warn!(%reason, "some links did not close in time");
    }
    let alive = shard.node().take_alive();
    // Giving the name up may talk to epmd, which must not hold up the shard.
    let _ = blocking(move || drop(alive)).await;
    shard.end_processes_everywhere().await;
}

/// The full name: a missing host part is this host's, by OTP's rules for long and short names.
fn complete_name(name: &str, name_type: NameType) -> Result<NodeName, StartError> {
    let mode = match name_type {
        NameType::Long => NameMode::Long,
        NameType::Short => NameMode::Short,
    };
    let full = if name.contains('@') {
        name.to_owned()
    } else {
        let host = host_name()?;
        match name_type {
            NameType::Short => {
                format!("{name}@{}", host.split('.').next().unwrap_or(&host))
            }
            NameType::Long => format!("{name}@{host}"),
        }
    };
    let parsed =
        NodeName::parse(&full).map_err(|error| StartError::Name(format!("{full:?}: {error}")))?;
    // OTP: net_kernel.erl, create_name/3: a stated host may have no dot in a long name, such as
    // a@localhost; only who dials such a name is refused.
    if mode == NameMode::Short {
        parsed.check_mode(mode).map_err(|error| StartError::Name(format!("{full:?}: {error}")))?;
    }
    Ok(parsed)
}

fn host_name() -> Result<String, StartError> {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .map_err(|error| StartError::Name(format!("this host's name cannot be read: {error}")))
}

async fn listen(config: &NodeConfig, host: &str) -> Result<Listener, StartError> {
    let address = match config.listen_address {
        Some(address) => address,
        None => {
            let (host, family) = (host.to_owned(), config.address_family);
            blocking(move || default_address(&host, family)).await.map_err(StartError::Name)?
        }
    };
    let listen = ListenConfig { address, ports: config.listen_ports.clone(), ..Default::default() };
    Listener::bind(&listen).map_err(StartError::Listen)
}

/// Where Krarup nodes of this host connect lanes, unless they are to use TCP as all others do.
fn unix_door(config: &NodeConfig) -> (Option<Listener>, Vec<u8>) {
    if !(config.fabric.enabled && config.fabric.unix) {
        return (None, Vec::new());
    }
    match listen_unix() {
        Ok((listener, name)) => (Some(listener), name),
        Err(error) => {
            tracing::warn!(%error, "no Unix socket: lanes to nodes of this host use TCP");
            (None, Vec::new())
        }
    }
}

async fn register(config: &NodeConfig, name: &NodeName, port: u16) -> Result<Keeper, StartError> {
    let mut keeper = KeeperConfig::new(config.epmd, name.head(), port);
    keeper.epmd_port = config.epmd_port;
    keeper.epmd_addresses = config.epmd_addresses.clone();
    keeper.daemon = config.epmd_daemon.clone();
    blocking(move || Keeper::start(keeper))
        .await
        .map_err(StartError::Epmd)?
        .map_err(|error| StartError::Epmd(error.to_string()))
}
