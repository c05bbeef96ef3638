//! What a node is started with.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use krarup_transport::dist::TickConfig;
use krarup_transport::handshake::Cookie;
use krarup_tuning::option::SocketOption;

use crate::epmd::{DEFAULT_PORT, EpmdMode};

/// Whether names have dots in their host part (OTP: `-name` and `-sname`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NameType {
    /// The host part is a full domain name or an IP address.
    #[default]
    Long,
    /// The host part has no dot.
    Short,
}

/// When a send may set up a connection (OTP: `dist_auto_connect`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AutoConnect {
    /// On first use.
    #[default]
    Always,
    /// Only `connect` does.
    Never,
    /// On first use, but not again after a connection that was up has ended.
    Once,
}

/// When frames on the lanes to another Krarup node carry checksums. It is enough that one of the
/// two nodes asks for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Checksum {
    /// Over TCP between hosts.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never, unless the other node asks.
    Off,
}

/// Which addresses of hosts are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AddressFamily {
    /// All that a host has.
    #[default]
    Any,
    /// IPv4 only (OTP: `-proto_dist inet_tcp`).
    Inet,
    /// IPv6 only (OTP: `-proto_dist inet6_tcp`).
    Inet6,
}

impl AddressFamily {
    /// Whether an address is used.
    pub(crate) fn includes(self, address: IpAddr) -> bool {
        match self {
            AddressFamily::Any => true,
            AddressFamily::Inet => address.is_ipv4(),
            AddressFamily::Inet6 => address.is_ipv6(),
        }
    }
}

impl fmt::Display for AddressFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressFamily::Any => "IP",
            AddressFamily::Inet => "IPv4",
            AddressFamily::Inet6 => "IPv6",
        })
    }
}

/// How this node talks to other Krarup nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FabricConfig {
    /// Offer lanes to other Krarup nodes. Without them a link to one is as a link to an Erlang
    /// node.
    pub enabled: bool,
    /// Most lanes to one node, from 1 to 8. `None`: as many as the node with more shards has.
    pub lanes_max: Option<u8>,
    /// When frames carry checksums.
    pub checksum: Checksum,
    /// Lanes to nodes of this host use Unix sockets instead of TCP.
    pub unix: bool,
}

impl Default for FabricConfig {
    fn default() -> Self {
        FabricConfig { enabled: true, lanes_max: None, checksum: Checksum::Auto, unix: true }
    }
}

/// Everything a node is started with. [`Builder`](super::Builder) fills it.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// `name@host`; `None` for a node that is not alive, `undefined` for one that others name.
    pub name: Option<String>,
    /// Long or short names.
    pub name_type: NameType,
    /// The cookie for every peer without one of its own.
    pub cookie: Option<Cookie>,
    /// Cookies for single peers.
    pub peer_cookies: Vec<(String, Cookie)>,
    /// Do not show in `nodes()` of others (OTP: `-hidden`).
    pub hidden: bool,
    /// When a send may set up a connection.
    pub auto_connect: AutoConnect,
    /// Number of shards; each takes a core.
    pub shards: usize,
    /// How this node talks to other Krarup nodes.
    pub fabric: FabricConfig,
    /// Where to register.
    pub epmd: EpmdMode,
    /// epmd's port; by default what `ERL_EPMD_PORT` says, else 4369.
    pub epmd_port: u16,
    /// Addresses an epmd started by this node listens on beside loopback; empty means all
    /// (OTP: `ERL_EPMD_ADDRESS`).
    pub epmd_addresses: Vec<IpAddr>,
    /// Start an epmd that outlives this node with this command, in [`EpmdMode::Auto`].
    pub epmd_daemon: Option<Vec<String>>,
    /// Let others connect (OTP: `-dist_listen`).
    pub listen: bool,
    /// Ports to listen on: the first that is free.
    pub listen_ports: RangeInclusive<u16>,
    /// Address to listen on. By default loopback for a name on a loopback host, else all: those of
    /// IPv4, or of both if the host of the name has none of IPv4.
    pub listen_address: Option<IpAddr>,
    /// Which addresses are used, to listen on and to connect to.
    pub address_family: AddressFamily,
    /// After this much silence a peer is taken for dead (OTP: `net_ticktime`).
    pub net_ticktime: Duration,
    /// Ticks per tick time (OTP: `net_tickintensity`).
    pub net_tickintensity: u32,
    /// Limit for each stage of a connection's set-up (OTP: `net_setuptime`).
    pub setup_time: Duration,
    /// Options of the distribution sockets, connected and accepted ones.
    pub socket_options: Vec<SocketOption>,
    /// More of them for sockets that this node accepts, and the listening one
    /// (OTP: `inet_dist_listen_options`).
    pub listen_options: Vec<SocketOption>,
    /// More of them for sockets that it connects (OTP: `inet_dist_connect_options`).
    pub connect_options: Vec<SocketOption>,
    /// Whether links send small segments at once, whatever the options say (OTP: `dist_nodelay`).
    pub dist_nodelay: Option<bool>,
    /// The port of every peer, instead of asking epmd (OTP: `erl_epmd_node_listen_port`).
    pub peer_port: Option<u16>,
    /// Ports of single peers by their names, instead of asking epmd; they win over the one above.
    pub peer_ports: Vec<(String, u16)>,
    /// Time to look for more work before a shard parks. `None`: 20 µs, or 0 when shards exceed
    /// cores.
    pub spin: Option<Duration>,
    /// Run the stock services: `echo`, `sink`, `krarup`, `rex`, and the functions for
    /// administration.
    pub services: bool,
    /// Where what its processes print goes.
    pub output: Output,
}

/// Where goes what a node's processes print, on this node and on others
/// (OTP: the group leader `user`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// To standard output.
    #[default]
    Stdout,
    /// To standard error.
    Stderr,
    /// Nowhere.
    Nowhere,
}

impl NodeConfig {
    /// The tick time with the intensity.
    pub(crate) fn tick(&self) -> TickConfig {
        TickConfig::new(self.net_ticktime, self.net_tickintensity)
    }
}

impl Default for NodeConfig {
    fn default() -> Self {
        NodeConfig {
            name: None,
            name_type: NameType::Long,
            cookie: None,
            peer_cookies: Vec::new(),
            hidden: false,
            auto_connect: AutoConnect::Always,
            shards: 1,
            fabric: FabricConfig::default(),
            epmd: EpmdMode::Auto,
            epmd_port: epmd_port(),
            epmd_addresses: Vec::new(),
            epmd_daemon: None,
            listen: true,
            listen_ports: 0..=0,
            listen_address: None,
            address_family: AddressFamily::Any,
            net_ticktime: Duration::from_secs(60),
            net_tickintensity: 4,
            setup_time: Duration::from_secs(7),
            socket_options: Vec::new(),
            listen_options: Vec::new(),
            connect_options: Vec::new(),
            dist_nodelay: None,
            peer_port: None,
            peer_ports: Vec::new(),
            spin: None,
            services: false,
            output: Output::default(),
        }
    }
}

/// OTP nodes follow this variable, and those who set it mean all nodes of a host.
fn epmd_port() -> u16 {
    let variable = std::env::var("ERL_EPMD_PORT").ok();
    variable.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_PORT)
}
