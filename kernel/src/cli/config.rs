//! The settings of `krarup node`: one set of keys for flags, environment, file and defaults, in
//! this order of precedence.

mod effective;
mod environment;
mod help;
mod layer;

use krarup::discovery::Source;
use krarup_tuning::nearest::suggestion;
use krarup_tuning::option::{SocketOption, parse};
use krarup_tuning::profile::Profile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

pub(super) use effective::Effective;
pub(super) use environment::FILE as FILE_VARIABLE;
pub(super) use help::describe;
#[cfg(test)]
pub(super) use help::{default_of, keys};
pub(super) use layer::Origin;

/// Settings that count as one: a layer that says one of them hides the others below it.
const GROUPS: &[&[&str]] =
    &[&["name", "sname"], &["cookie", "cookie_file"], &["dist_port", "listen_min", "listen_max"]];

layer::layer! {
    /// Full (long) node name, such as shop@127.0.0.1 or shop@host.example.org
    #[arg(value_name = "NAME@HOST")]
    name: Option<String>,

    /// Short node name, such as shop or shop@host
    #[arg(value_name = "NAME")]
    sname: Option<String>,

    /// The cookie; without it the cookie file is used, or made
    #[arg(value_name = "COOKIE")]
    #[serde(skip_serializing)]
    cookie: Option<String>,

    /// Cookie file to read instead of ~/.erlang.cookie
    #[arg(value_name = "FILE")]
    cookie_file: Option<PathBuf>,

    /// Cookie for one peer
    #[arg(value_name = "NODE=COOKIE")]
    #[serde(skip_serializing)]
    cookie_for: Vec<String>,

    /// Connect without showing up in other nodes' nodes()
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    hidden: Option<bool> = false,

    /// Whether this node joins the cluster of the nodes it meets, once it serves global
    #[arg(value_name = "BOOL")]
    connect_all: Option<bool> = true,

    /// When a message to an unconnected node connects: always, never, or until it once was lost
    #[arg(value_enum, value_name = "WHEN")]
    dist_auto_connect: Option<AutoConnect> = AutoConnect::True,

    /// Nodes to keep connected
    #[arg(value_name = "NODE", num_args = 1..)]
    connect: Vec<String>,

    /// Where more nodes to keep connected are found: dns:[NAME@]HOST, srv:[NAME@]SERVICE or hosts
    #[arg(value_name = "SOURCE")]
    discover: Vec<String>,

    /// Seconds between two looks there
    #[arg(value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    discover_interval: Option<u32> = 10,

    /// Name server to ask instead of those of /etc/resolv.conf
    #[arg(value_name = "ADDRESS:PORT")]
    discover_server: Vec<SocketAddr>,

    /// Whether other nodes can connect; one that does not listen is hidden
    #[arg(value_name = "BOOL")]
    dist_listen: Option<bool> = true,

    /// Lowest port to listen on; alone it is the only one
    #[arg(value_name = "PORT")]
    listen_min: Option<u16>,

    /// Highest port to listen on
    #[arg(value_name = "PORT")]
    listen_max: Option<u16>,

    /// Address to listen on; a name on a loopback host listens on loopback only
    #[arg(value_name = "ADDRESS")]
    listen_address: Option<IpAddr>,

    /// Which addresses are used, to listen on and to connect to
    #[arg(value_enum, value_name = "FAMILY")]
    address_family: Option<AddressFamily> = AddressFamily::Any,

    /// The port one node listens on, so that its epmd is not asked
    #[arg(value_name = "NODE=PORT")]
    peer_port: Vec<String>,

    /// The port all nodes listen on, so that no epmd is needed
    #[arg(value_name = "PORT")]
    dist_port: Option<u16> => "ERL_DIST_PORT",

    /// Seconds after which a silent peer is down
    #[arg(value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    net_ticktime: Option<u32> = 60,

    /// Ticks within the tick time
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u32).range(4..=1000))]
    net_tickintensity: Option<u32> = 4,

    /// Seconds each step of a connection setup may take
    #[arg(value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=120))]
    net_setuptime: Option<u32> = 7,

    /// Executors to run, each on its core; the default follows affinity and the cgroup quota
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=255))]
    shards: Option<u16> = u16::try_from(krarup_tuning::host::usable_cores().min(255)).unwrap_or(1),

    /// Whether links to other Krarup nodes have lanes; if not they are as links to Erlang nodes
    #[arg(value_name = "BOOL")]
    fabric: Option<bool> = true,

    /// Most lanes to another Krarup node; by default as many as the one with more shards has
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=8))]
    lanes: Option<u8>,

    /// Whether frames to other Krarup nodes carry checksums; one of two nodes is enough
    #[arg(value_enum, value_name = "WHEN")]
    checksum: Option<Checksum> = Checksum::Auto,

    /// Whether lanes to Krarup nodes of this host use Unix sockets instead of TCP
    #[arg(value_name = "BOOL")]
    unix_lanes: Option<bool> = true,

    /// Set of socket options: balanced, latency, throughput or wan
    #[arg(value_name = "PROFILE")]
    profile: Option<Profile> = Profile::default(),

    /// Socket option of every link, such as nodelay=true; wins over the profile
    #[arg(value_name = "OPTION=VALUE")]
    setopt: Vec<String>,

    /// More socket options of the listening socket and of what it accepts
    #[arg(value_name = "OPTION=VALUE")]
    listen_options: Vec<String>,

    /// More socket options of connections that this node makes
    #[arg(value_name = "OPTION=VALUE")]
    connect_options: Vec<String>,

    /// Whether links send small segments at once; wins over nodelay among the options
    #[arg(value_name = "BOOL")]
    dist_nodelay: Option<bool>,

    /// Where names are registered
    #[arg(value_enum, value_name = "MODE")]
    epmd: Option<Epmd> = Epmd::Auto,

    /// Port of epmd
    #[arg(value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    epmd_port: Option<u16> = krarup::epmd::DEFAULT_PORT => "ERL_EPMD_PORT",

    /// Leave out the services and the functions for administration
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    no_services: Option<bool> = false,

    /// Let other nodes stop this one: erlang:halt and init:stop by rpc
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    allow_halt: Option<bool> = false,

    /// Serve Prometheus metrics, /healthz and /readyz at this address
    #[arg(value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
}

/// Of which connections a list of socket options is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OptionList {
    /// All.
    Both,
    /// Those that are accepted.
    Listen,
    /// Those that this node makes.
    Connect,
}

impl OptionList {
    pub(super) const ALL: [Self; 3] = [Self::Both, Self::Listen, Self::Connect];
}

/// When a message to a node without a connection makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum AutoConnect {
    /// Always.
    True,
    /// Never: only explicit connects do.
    Never,
    /// Until a connection to the node was lost.
    Once,
}

/// Which addresses are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum AddressFamily {
    /// Those that a host has
    Any,
    /// IPv4
    Inet,
    /// IPv6
    Inet6,
}

impl From<AddressFamily> for krarup::AddressFamily {
    fn from(family: AddressFamily) -> Self {
        match family {
            AddressFamily::Any => Self::Any,
            AddressFamily::Inet => Self::Inet,
            AddressFamily::Inet6 => Self::Inet6,
        }
    }
}

/// When frames carry checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Checksum {
    /// Between hosts
    Auto,
    /// Always
    On,
    /// Only when the other node asks for them
    Off,
}

/// Where the node registers its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Epmd {
    /// The epmd that answers; else one is started that outlives this node
    Auto,
    /// The epmd that answers; else one within this process
    Embedded,
    /// An epmd started by somebody else
    External,
    /// Nowhere: others cannot find this node by name
    None,
}

impl Layer {
    /// Reads the text of a TOML file.
    ///
    /// # Errors
    ///
    /// A sentence for the user with `path` in it. An unknown key names the nearest known one.
    pub(super) fn from_toml(text: &str, path: &Path) -> Result<Self, String> {
        let path = path.display();
        let wrong = |error: toml::de::Error| format!("{path}: {}", error.to_string().trim_end());
        let table: toml::Table = text.parse().map_err(wrong)?;
        let known: Vec<String> = KEYS.iter().map(|key| key.name()).collect();
        if let Some(key) = table.keys().find(|key| !known.contains(key)) {
            let hint = suggestion(key, known.iter().map(String::as_str));
            return Err(format!("{path}: unknown key {key:?}{hint}"));
        }
        let layer: Self = toml::from_str(text).map_err(wrong)?;
        layer.check().map_err(|error| format!("{path}: {error}"))?;
        Ok(layer)
    }

    /// What the environment says: for each setting `KRARUP_` and its name, or OTP's variable. Lists
    /// are separated by spaces or commas.
    ///
    /// # Errors
    ///
    /// A variable of an unknown setting, or a value that is none.
    pub(super) fn from_environment(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, String> {
        environment::layer(variables)
    }

    /// This layer, with what it leaves unsaid taken from `lower`.
    ///
    /// Settings that exclude each other (a name and a short name, a cookie and its file, one port
    /// and a range) count as one: a layer that says one of them hides the others below it.
    pub(super) fn over(mut self, lower: Self) -> Self {
        let said = |group: &&&[&str]| group.iter().any(|field| self.says(field));
        let hidden: Vec<&str> = GROUPS.iter().filter(said).copied().flatten().copied().collect();
        self.fill(lower, &hidden);
        self
    }

    /// Checks what the types do not: the texts within lists, and settings that exclude each other.
    ///
    /// # Errors
    ///
    /// A sentence that names the key.
    pub(super) fn check(&self) -> Result<(), String> {
        for list in OptionList::ALL {
            self.socket_options(list)?;
        }
        self.peer_cookies()?;
        self.peer_ports()?;
        self.sources()?;
        let exclusive = [
            ("name", self.name.is_some(), "sname", self.sname.is_some()),
            ("cookie", self.cookie.is_some(), "cookie-file", self.cookie_file.is_some()),
            ("dist-port", self.dist_port.is_some(), "listen-min", self.listen_min.is_some()),
        ];
        for (left, left_said, right, right_said) in exclusive {
            if left_said && right_said {
                return Err(format!("{left} and {right} exclude each other: give one"));
            }
        }
        match (self.listen_min, self.listen_max) {
            (None, Some(_)) => return Err("listen-max needs listen-min".into()),
            (Some(min), Some(max)) if min > max => {
                return Err(format!("listen-min {min} is above listen-max {max}"));
            }
            _ => {}
        }
        let ranges = [
            ("net-ticktime", self.net_ticktime, 1, u32::MAX),
            ("net-tickintensity", self.net_tickintensity, 4, 1000),
            ("net-setuptime", self.net_setuptime, 1, 120),
            ("discover-interval", self.discover_interval, 1, 3600),
            ("shards", self.shards.map(u32::from), 1, 255),
            ("lanes", self.lanes.map(u32::from), 1, 8),
            ("epmd-port", self.epmd_port.map(u32::from), 1, 65_535),
            ("dist-port", self.dist_port.map(u32::from), 1, 65_535),
        ];
        for (key, value, min, max) in ranges {
            if let Some(value) = value.filter(|value| !(min..=max).contains(value)) {
                return Err(format!("{key}: expected {min} to {max}, got {value}"));
            }
        }
        Ok(())
    }

    /// The options of a list.
    ///
    /// # Errors
    ///
    /// The first that is none.
    pub(super) fn socket_options(&self, list: OptionList) -> Result<Vec<SocketOption>, String> {
        let (key, texts) = match list {
            OptionList::Both => ("setopt", &self.setopt),
            OptionList::Listen => ("listen-options", &self.listen_options),
            OptionList::Connect => ("connect-options", &self.connect_options),
        };
        let mut options = Vec::with_capacity(texts.len());
        for text in texts {
            options.extend(parse::one(text).map_err(|error| format!("{key}: {error}"))?);
        }
        Ok(options)
    }

    /// The cookies of `cookie-for`, by node.
    ///
    /// # Errors
    ///
    /// An entry without `=`, or a node given twice.
    pub(super) fn peer_cookies(&self) -> Result<BTreeMap<String, String>, String> {
        let mut cookies = BTreeMap::new();
        for entry in &self.cookie_for {
            let Some((node, cookie)) = entry.split_once('=').filter(|(node, _)| !node.is_empty())
            else {
                return Err("cookie-for: expected NODE=COOKIE".into());
            };
            if cookies.insert(node.to_owned(), cookie.to_owned()).is_some() {
                return Err(format!("cookie-for: {node} is given twice"));
            }
        }
        Ok(cookies)
    }

    /// The ports of `peer-port`, by node.
    ///
    /// # Errors
    ///
    /// An entry that is no node and port, or a node given twice.
    pub(super) fn peer_ports(&self) -> Result<BTreeMap<String, u16>, String> {
        let mut ports = BTreeMap::new();
        for entry in &self.peer_port {
            let parts = entry.rsplit_once('=').filter(|(node, _)| node.contains('@'));
            let parsed = parts.and_then(|(node, port)| Some((node, port.parse().ok()?)));
            let Some((node, port)) = parsed.filter(|(_, port)| *port > 0) else {
                return Err(format!(
                    "peer-port: expected NAME@HOST=PORT with a port from 1 to 65535, got {entry:?}"
                ));
            };
            if ports.insert(node.to_owned(), port).is_some() {
                return Err(format!("peer-port: {node} is given twice"));
            }
        }
        Ok(ports)
    }

    /// What names the nodes that are to be kept connected.
    ///
    /// # Errors
    ///
    /// A text of `discover` that is no source.
    pub(super) fn sources(&self) -> Result<Vec<Source>, String> {
        let mut sources = Vec::new();
        if !self.connect.is_empty() {
            sources.push(Source::Static(self.connect.clone()));
        }
        for text in &self.discover {
            let source: Source = text.parse().map_err(|error| format!("discover: {error}"))?;
            // Addresses are no hosts of short names.
            if matches!(source, Source::Dns { .. }) && self.sname.is_some() {
                return Err(format!("discover: {text} finds long names only; start with --name"));
            }
            sources.push(source);
        }
        Ok(sources)
    }
}

#[cfg(test)]
mod tests;
