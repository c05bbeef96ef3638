//! A node comes alive, and ends.

use std::net::SocketAddr;
use std::rc::Rc;

use krarup_transport::handshake::NodeName;
use krarup_transport::io::{ListenConfig, Listener};
use krarup_transport::term::{Atom, Creation};

use super::address::default_address;
use super::naming::{self, Wanted};
use super::start_options::Settled;
use super::{NameType, Node, NodeConfig, StartError, StartOptions, StopError};
use crate::cookie;
use crate::epmd::{EpmdMode, Keeper, KeeperConfig, RegisterError};
use crate::net_kernel::{Cookies, NodeDownReason};
use crate::process::Identity;
use crate::shard::{KernelShard, Life, Shard, blocking, listen_unix};

/// How a node became alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// By its configuration, as with `-name`: it stays alive as long as it runs.
    Static,
    /// By [`Node::start`] or [`Node::start_with`]: [`Node::stop_distribution`] ends that.
    Dynamic,
}

/// What there is to say of a node that is alive (OTP: `net_kernel:get_state/0`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifeState {
    /// How it became so.
    pub started: Started,
    /// Its name; none while it waits for another node to name it.
    pub name: Option<Atom>,
    /// Whether other nodes name it (OTP: `name_type` is `dynamic`).
    pub is_named_by_others: bool,
    /// Long or short names (OTP: `name_domain`).
    pub name_type: NameType,
}

/// What the handles know of a living node.
#[derive(Debug)]
pub(crate) struct Alive {
    pub(super) identity: Option<Identity>,
    pub(super) started: Started,
    pub(super) name_type: NameType,
    /// The host that another node is to name it on.
    pub(super) host_to_be_named_on: Option<String>,
    /// None where it does not listen.
    pub(super) port: Option<u16>,
    /// Keeps the name registered with epmd, where there is one to register.
    keeper: Option<Keeper>,
}

impl Alive {
    pub(super) fn epmd(&self) -> Option<SocketAddr> {
        self.keeper.as_ref()?.address()
    }

    pub(super) fn is_registered(&self) -> bool {
        self.keeper.as_ref().is_none_or(Keeper::is_registered)
    }

    fn state(&self) -> LifeState {
        LifeState {
            started: self.started,
            name: self.identity.as_ref().map(|identity| identity.name.clone()),
            is_named_by_others: self.host_to_be_named_on.is_some(),
            name_type: self.name_type,
        }
    }
}

impl Node {
    /// What there is to say of this node's life; nothing if it is not alive.
    pub fn life(&self) -> Option<LifeState> {
        self.with_alive(Alive::state)
    }

    /// The name that the kernel's process states: that of a node without one begins with
    /// `undefined` (OTP: `net_kernel:nodename/0`).
    pub(crate) fn stated_name(&self) -> Option<String> {
        self.with_alive(|alive| match (&alive.identity, &alive.host_to_be_named_on) {
            (Some(identity), _) => Some(identity.name.as_str().to_owned()),
            (None, host) => host.as_ref().map(|host| format!("undefined@{host}")),
        })?
    }

    /// Another name for what lives, or none any more.
    pub(crate) fn set_identity(&self, identity: Option<Identity>) {
        self.change_alive(|alive| {
            if let Some(alive) = alive {
                alive.identity = identity;
            }
        });
    }
}

/// Listens, registers, and lets others in.
pub(super) async fn start(
    shard: &Rc<Shard>,
    node: &Node,
    name: &str,
    options: &StartOptions,
    started: Started,
) -> Result<(), StartError> {
    let config = node.config();
    let options = options.settle(config)?;
    let kernel = shard.kernel().ok_or(StartError::State("the node has no kernel"))?;
    let _turn = kernel.turn().await;
    if node.is_stopping() {
        return Err(StartError::State("the node has stopped"));
    }
    if kernel.is_alive() {
        let name = Atom::from_static("net_kernel");
        return Err(StartError::AlreadyStarted { net_kernel: shard.whereis(&name) });
    }
    let wanted = naming::wanted(name, options.name_type, naming::this_host)?;
    let cookie = match &config.cookie {
        Some(cookie) => cookie.clone(),
        None => cookie::from_home().map_err(|error| StartError::Cookie(error.to_string()))?,
    };
    let cookies = Cookies::new(cookie, config.peer_cookies.iter().cloned());
    let (mut life, mut alive) = (
        Life {
            own: None,
            host_to_be_named_on: None,
            mode: options.name_type.mode(),
            first_cookies: cookies.clone(),
            cookies,
            hidden: options.hidden,
            tick: options.tick,
            port: 0,
            unix_name: Vec::new(),
        },
        Alive {
            identity: None,
            started,
            name_type: options.name_type,
            host_to_be_named_on: None,
            port: None,
            keeper: None,
        },
    );
    let name = match wanted {
        // As in OTP such a node is hidden and does not listen: under which name should it?
        Wanted::Undefined { host } => {
            alive.host_to_be_named_on = Some(host.clone());
            life = Life { host_to_be_named_on: Some(host), hidden: true, ..life };
            node.change_alive(|current| *current = Some(alive));
            kernel.begin_life(life, []);
            return Ok(());
        }
        Wanted::Name(name) => name,
    };
    let (listeners, unix_name) = doors(config, &options, &name).await?;
    life.unix_name = unix_name;
    // The first is that of others.
    alive.port = listeners.first().map(Listener::port);
    life.port = alive.port.unwrap_or(0);
    let keeper = register(config, &name, alive.port).await?;
    let creation = shard.unused_creation(keeper.creation());
    alive.keeper = Some(keeper);
    let atom = Atom::new(name.as_str()).map_err(|error| StartError::Name(error.to_string()))?;
    let identity = Identity { name: atom.clone(), creation };
    life.own = Some((name, creation));
    alive.identity = Some(identity.clone());
    shard.set_identity_everywhere(identity).await;
    node.change_alive(|current| *current = Some(alive));
    kernel.begin_life(life, listeners);
    shard.announce_own_up(atom).await;
    Ok(())
}

/// Closes every link and gives the name up. Processes go on.
pub(super) async fn stop_distribution(shard: &Rc<Shard>, node: &Node) -> Result<(), StopError> {
    let kernel = shard.kernel().ok_or(StopError::NotFound)?;
    let _turn = kernel.turn().await;
    match node.with_alive(|alive| alive.started) {
        None => return Err(StopError::NotFound),
        Some(Started::Static) => return Err(StopError::NotAllowed),
        Some(Started::Dynamic) => {}
    }
    end_alone(shard, kernel, &NodeDownReason::NetKernelTerminated).await;
    Ok(())
}

/// Closes every link, gives the name up and ends every process.
pub(super) async fn stop(shard: &Rc<Shard>) {
    let Some(kernel) = shard.kernel() else { return };
    let _turn = kernel.turn().await;
    end(shard, kernel, &NodeDownReason::NetKernelTerminated).await;
    shard.end_processes_everywhere().await;
}

/// The node cannot be what it says it is: every connection ends for this reason. Processes go on.
pub(crate) async fn give_up(shard: &Rc<Shard>, reason: &NodeDownReason) {
    let Some(kernel) = shard.kernel() else { return };
    let _turn = kernel.turn().await;
    end_alone(shard, kernel, reason).await;
}

/// Closes every link and gives the name up, and tells so.
async fn end_alone(shard: &Rc<Shard>, kernel: &Rc<KernelShard>, reason: &NodeDownReason) {
    let name = shard.node().name();
    end(shard, kernel, reason).await;
    shard.set_identity_everywhere(Identity::nobody()).await;
    if let Some(name) = name {
        shard.announce_own_down(name).await;
    }
}

async fn end(shard: &Rc<Shard>, kernel: &Rc<KernelShard>, reason: &NodeDownReason) {
    kernel.end_life(reason);
    kernel.quiet().await;
    let mut ended = None;
    shard.node().change_alive(|alive| ended = alive.take());
    // Giving the name up may talk to epmd, which must not hold up the shard.
    let _ = blocking(move || drop(ended)).await;
}

/// Where others connect, and the name of the Unix socket that is among it.
async fn doors(
    config: &NodeConfig,
    options: &Settled,
    name: &NodeName,
) -> Result<(Vec<Listener>, Vec<u8>), StartError> {
    if !options.listens {
        return Ok((Vec::new(), Vec::new()));
    }
    let listener = listen(config, name.host()).await?;
    let (unix_listener, unix_name) = unix_door(config);
    Ok(([listener].into_iter().chain(unix_listener).collect(), unix_name))
}

async fn listen(config: &NodeConfig, host: &str) -> Result<Listener, StartError> {
    let address = match config.listen_address {
        Some(address) => address,
        // The resolver may take its time.
        None => {
            let (host, family) = (host.to_owned(), config.address_family);
            let address = blocking(move || default_address(&host, family)).await;
            address.map_err(StartError::Name)?
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

/// Registers the name; that of a node that does not listen nowhere.
async fn register(
    config: &NodeConfig,
    name: &NodeName,
    port: Option<u16>,
) -> Result<Keeper, StartError> {
    let mode = if port.is_some() { config.epmd } else { EpmdMode::None };
    let mut keeper = KeeperConfig::new(mode, name.head(), port.unwrap_or(0));
    keeper.epmd_port = config.epmd_port;
    keeper.epmd_addresses = config.epmd_addresses.clone();
    keeper.daemon = config.epmd_daemon.clone();
    let registered = blocking(move || Keeper::start(keeper)).await.map_err(StartError::Epmd)?;
    registered.map_err(|error| match error {
        RegisterError::Epmd(error) if error.is_name_taken() => {
            StartError::NameInUse { name: name.to_string(), why: error.to_string() }
        }
        error => StartError::Epmd(error.to_string()),
    })
}

impl Node {
    /// The node's creation while it has a name.
    pub fn creation(&self) -> Option<Creation> {
        self.with_alive(|alive| alive.identity.as_ref().map(|identity| identity.creation))?
    }
}
