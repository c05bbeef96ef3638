//! How a node is configured and started.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use krarup_transport::handshake::Cookie;
use krarup_tuning::option::SocketOption;

use super::{AddressFamily, AutoConnect, Checksum, NameType, Node, NodeConfig, Output, StartError};
use crate::cookie;
use crate::epmd::EpmdMode;

/// Configures a node; [`Builder::start`] starts it.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    config: NodeConfig,
}

impl Builder {
    pub(super) fn new(name: Option<String>) -> Self {
        Builder { config: NodeConfig { name, ..NodeConfig::default() } }
    }

    /// A builder with everything set already.
    pub fn from_config(config: NodeConfig) -> Self {
        Builder { config }
    }

    /// What is set so far.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// Takes the name as a short name, without a dot in its host part (OTP: `-sname`).
    pub fn short_names(mut self) -> Self {
        self.config.name_type = NameType::Short;
        self
    }

    /// The secret that this node and its peers share.
    pub fn cookie(mut self, cookie: Cookie) -> Self {
        self.config.cookie = Some(cookie);
        self
    }

    /// Reads the cookie from `~/.erlang.cookie` by OTP's rules, and creates that file if there is
    /// none. This is also what happens when no cookie is set.
    ///
    /// # Errors
    /// [`StartError::Cookie`] when the file breaks a rule.
    pub fn cookie_from_home(self) -> Result<Self, StartError> {
        let cookie = cookie::from_home().map_err(|error| StartError::Cookie(error.to_string()))?;
        Ok(self.cookie(cookie))
    }

    /// The cookie for one peer instead of the common one (OTP: `erlang:set_cookie/2`).
    pub fn peer_cookie(mut self, node: impl Into<String>, cookie: Cookie) -> Self {
        self.config.peer_cookies.push((node.into(), cookie));
        self
    }

    /// Keeps this node out of the `nodes()` of others (OTP: `-hidden`).
    pub fn hidden(mut self, hidden: bool) -> Self {
        self.config.hidden = hidden;
        self
    }

    /// Number of shards, each an executor on its own core; 1 unless set.
    pub fn shards(mut self, shards: usize) -> Self {
        self.config.shards = shards;
        self
    }

    /// Offers lanes to other Krarup nodes, which is so unless set to false.
    pub fn fabric(mut self, on: bool) -> Self {
        self.config.fabric.enabled = on;
        self
    }

    /// Most lanes to one Krarup node, from 1 to 8; unless set, as many as the node with more
    /// shards has.
    pub fn lanes(mut self, lanes_max: u8) -> Self {
        self.config.fabric.lanes_max = Some(lanes_max.clamp(1, 8));
        self
    }

    /// When frames to Krarup nodes carry checksums; over TCP between hosts unless set.
    pub fn checksum(mut self, when: Checksum) -> Self {
        self.config.fabric.checksum = when;
        self
    }

    /// Whether lanes to Krarup nodes of this host use Unix sockets, which is so unless set to
    /// false, or TCP.
    pub fn unix_lanes(mut self, on: bool) -> Self {
        self.config.fabric.unix = on;
        self
    }

    /// When a send may set up a connection (OTP: `dist_auto_connect`).
    pub fn auto_connect(mut self, auto_connect: AutoConnect) -> Self {
        self.config.auto_connect = auto_connect;
        self
    }

    /// Where the name is registered.
    pub fn epmd(mut self, mode: EpmdMode) -> Self {
        self.config.epmd = mode;
        self
    }

    /// epmd's port; unless set, what `ERL_EPMD_PORT` says, else 4369.
    pub fn epmd_port(mut self, port: u16) -> Self {
        self.config.epmd_port = port;
        self
    }

    /// Whether others can connect, which is so unless set to false (OTP: `-dist_listen`). A node
    /// that does not listen is not registered with epmd, and hidden.
    pub fn listen(mut self, listen: bool) -> Self {
        self.config.listen = listen;
        self
    }

    /// Ports to listen on; the first that is free is taken (OTP: `inet_dist_listen_min`, `_max`).
    pub fn listen_ports(mut self, ports: RangeInclusive<u16>) -> Self {
        self.config.listen_ports = ports;
        self
    }

    /// Address to listen on. Unless set: loopback for a name on a loopback host, else every one.
    pub fn listen_address(mut self, address: IpAddr) -> Self {
        self.config.listen_address = Some(address);
        self
    }

    /// Which addresses of hosts are used.
    pub fn address_family(mut self, family: AddressFamily) -> Self {
        self.config.address_family = family;
        self
    }

    /// The port that a peer listens on: its epmd is not asked.
    pub fn peer_port(mut self, node: impl Into<String>, port: u16) -> Self {
        self.config.peer_ports.push((node.into(), port));
        self
    }

    /// Silence after which a peer is taken for dead, 60 s unless set (OTP: `net_ticktime`).
    pub fn net_ticktime(mut self, time: Duration) -> Self {
        self.config.net_ticktime = time;
        self
    }

    /// How long each step of setting a connection up may take, 7 s unless set; at most 120 s (OTP:
    /// `net_setuptime`).
    pub fn net_setuptime(mut self, time: Duration) -> Self {
        self.config.setup_time = time.min(Duration::from_secs(120));
        self
    }

    /// Options of the distribution sockets, connected and accepted ones.
    pub fn socket_options(mut self, options: Vec<SocketOption>) -> Self {
        self.config.socket_options = options;
        self
    }

    /// More options of the sockets that this node accepts (OTP: `inet_dist_listen_options`).
    pub fn listen_options(mut self, options: Vec<SocketOption>) -> Self {
        self.config.listen_options = options;
        self
    }

    /// More options of the sockets that it connects (OTP: `inet_dist_connect_options`).
    pub fn connect_options(mut self, options: Vec<SocketOption>) -> Self {
        self.config.connect_options = options;
        self
    }

    /// How long a shard looks for more work before it parks. Unless set: 20 µs, or 0 when there
    /// are more shards than cores.
    pub fn spin(mut self, spin: Duration) -> Self {
        self.config.spin = Some(spin);
        self
    }

    /// Where what the node's processes print goes; unless set, to standard output.
    pub fn output(mut self, output: Output) -> Self {
        self.config.output = output;
        self
    }

    /// Runs the stock services: `echo`, `sink`, `krarup`, `rex`, and the functions for
    /// administration.
    pub fn services(mut self, services: bool) -> Self {
        self.config.services = services;
        self
    }

    /// Starts the shards and, if the node has a name, makes it alive.
    ///
    /// # Errors
    /// [`StartError`] says what is missing and what to do.
    ///
    /// # Panics
    /// On a shard's own thread.
    pub fn start(self) -> Result<Node, StartError> {
        Node::start_configured(self.config)
    }
}
