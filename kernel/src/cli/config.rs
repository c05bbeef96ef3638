//! The settings of `krarup node`: one set of keys for flags, environment, file and defaults, in
//! this order of precedence.

use clap::Args;
use krarup::discovery::Source;
use krarup_tuning::nearest::suggestion;
use krarup_tuning::option::{SocketOption, parse};
use krarup_tuning::profile::Profile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// One layer of settings: what the flags, the environment or the file say. Absent is unsaid.
///
/// The field names, with `-` for `_`, are the flags and the keys of the file.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Layer {
    /// Full (long) node name, such as shop@127.0.0.1 or shop@host.example.org
    #[arg(long, value_name = "NAME@HOST", conflicts_with = "sname")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,

    /// Short node name, such as shop or shop@host
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sname: Option<String>,

    /// The cookie; without it the cookie file is used, or made
    #[arg(long, value_name = "COOKIE", conflicts_with = "cookie_file")]
    #[serde(skip_serializing)]
    pub(super) cookie: Option<String>,

    /// Cookie file to read instead of ~/.erlang.cookie
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cookie_file: Option<PathBuf>,

    /// Cookie for one peer
    #[arg(long, value_name = "NODE=COOKIE")]
    #[serde(default, skip_serializing)]
    pub(super) cookie_for: Vec<String>,

    /// Connect without showing up in other nodes' nodes()
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hidden: Option<bool>,

    /// Whether this node joins the cluster of the nodes it meets, once it serves global
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connect_all: Option<bool>,

    /// When a message to an unconnected node connects: always, never, or until it once was lost
    #[arg(long, value_enum, value_name = "WHEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dist_auto_connect: Option<AutoConnect>,

    /// Nodes to keep connected
    #[arg(long, value_name = "NODE", num_args = 1..)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) connect: Vec<String>,

    /// Where more nodes to keep connected are found: dns:[NAME@]HOST, srv:[NAME@]SERVICE or hosts
    #[arg(long, value_name = "SOURCE")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) discover: Vec<String>,

    /// Seconds between two looks there
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) discover_interval: Option<u32>,

    /// Name server to ask instead of those of /etc/resolv.conf
    #[arg(long, value_name = "ADDRESS:PORT")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) discover_server: Vec<SocketAddr>,

    /// Whether other nodes can connect; one that does not listen is hidden
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dist_listen: Option<bool>,

    /// Lowest port to listen on; alone it is the only one
    #[arg(long, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) listen_min: Option<u16>,

    /// Highest port to listen on
    #[arg(long, value_name = "PORT", requires = "listen_min")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) listen_max: Option<u16>,

    /// Address to listen on; a name on a loopback host listens on loopback only
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) listen_address: Option<IpAddr>,

    /// Which addresses are used, to listen on and to connect to
    #[arg(long, value_enum, value_name = "FAMILY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) address_family: Option<AddressFamily>,

    /// The port one node listens on, so that its epmd is not asked
    #[arg(long, value_name = "NODE=PORT")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) peer_port: Vec<String>,

    /// The port all nodes listen on, so that no epmd is needed
    #[arg(long, value_name = "PORT", conflicts_with_all = ["listen_min", "listen_max"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dist_port: Option<u16>,

    /// Seconds after which a silent peer is down
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) net_ticktime: Option<u32>,

    /// Ticks within the tick time
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(4..=1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) net_tickintensity: Option<u32>,

    /// Seconds each step of a connection setup may take
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=120))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) net_setuptime: Option<u32>,

    /// Executors to run, each on its core; the default follows affinity and the cgroup quota
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=255))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shards: Option<u16>,

    /// Whether links to other Krarup nodes have lanes; if not they are as links to Erlang nodes
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fabric: Option<bool>,

    /// Most lanes to another Krarup node; by default as many as the one with more shards has
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=8))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lanes: Option<u8>,

    /// Whether frames to other Krarup nodes carry checksums; one of two nodes is enough
    #[arg(long, value_enum, value_name = "WHEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checksum: Option<Checksum>,

    /// Whether lanes to Krarup nodes of this host use Unix sockets instead of TCP
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unix_lanes: Option<bool>,

    /// Set of socket options: balanced, latency, throughput or wan
    #[arg(long, value_name = "PROFILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<Profile>,

    /// Socket option of every link, such as nodelay=true; wins over the profile
    #[arg(long, value_name = "OPTION=VALUE")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) setopt: Vec<String>,

    /// More socket options of the listening socket and of what it accepts
    #[arg(long, value_name = "OPTION=VALUE")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) listen_options: Vec<String>,

    /// More socket options of connections that this node makes
    #[arg(long, value_name = "OPTION=VALUE")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) connect_options: Vec<String>,

    /// Whether links send small segments at once; wins over nodelay among the options
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dist_nodelay: Option<bool>,

    /// Where names are registered
    #[arg(long, value_enum, value_name = "MODE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epmd: Option<Epmd>,

    /// Port of epmd
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epmd_port: Option<u16>,

    /// Leave out the services and the functions for administration
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) no_services: Option<bool>,

    /// Let other nodes stop this one: erlang:halt and init:stop by rpc
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) allow_halt: Option<bool>,

    /// Serve Prometheus metrics, /healthz and /readyz at this address
    #[arg(long, value_name = "ADDRESS:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metrics: Option<std::net::SocketAddr>,
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

/// Every key of the file, in the order of [`Layer`].
const KEYS: &[&str] = &[
    "name",
    "sname",
    "cookie",
    "cookie-file",
    "cookie-for",
    "hidden",
    "connect-all",
    "dist-auto-connect",
    "connect",
    "discover",
    "discover-interval",
    "discover-server",
    "dist-listen",
    "listen-min",
    "listen-max",
    "listen-address",
    "address-family",
    "peer-port",
    "dist-port",
    "net-ticktime",
    "net-tickintensity",
    "net-setuptime",
    "shards",
    "fabric",
    "lanes",
    "checksum",
    "unix-lanes",
    "profile",
    "setopt",
    "listen-options",
    "connect-options",
    "dist-nodelay",
    "epmd",
    "epmd-port",
    "no-services",
    "allow-halt",
    "metrics",
];

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
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let hint = suggestion(key, KEYS.iter().copied());
            return Err(format!("{path}: unknown key {key:?}{hint}"));
        }
        let layer: Self = toml::from_str(text).map_err(wrong)?;
        layer.check().map_err(|error| format!("{path}: {error}"))?;
        Ok(layer)
    }

    /// What the environment says: `ERL_EPMD_PORT` and `ERL_DIST_PORT`, as OTP uses them, and the
    /// lists `KRARUP_CONNECT` and `KRARUP_DISCOVER`.
    ///
    /// # Errors
    ///
    /// A variable whose value is no port.
    pub(super) fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let port = |name: &str| match variable(name).filter(|value| !value.is_empty()) {
            Some(value) => match value.parse::<u16>() {
                Ok(port) if port > 0 => Ok(Some(port)),
                _ => Err(format!("{name}: expected a port from 1 to 65535, got {value:?}")),
            },
            None => Ok(None),
        };
        let list = |name: &str| -> Vec<String> {
            let value = variable(name).unwrap_or_default();
            let is_between = |c: char| c.is_whitespace() || c == ',';
            value.split(is_between).filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        Ok(Self {
            connect: list("KRARUP_CONNECT"),
            discover: list("KRARUP_DISCOVER"),
            epmd_port: port("ERL_EPMD_PORT")?,
            dist_port: port("ERL_DIST_PORT")?,
            ..Self::default()
        })
    }

    /// This layer, with what it leaves unsaid taken from `lower`.
    ///
    /// Settings that exclude each other (a name and a short name, a cookie and its file, one port
    /// and a range) count as one: a layer that says one of them hides the others below it.
    pub(super) fn over(self, lower: Self) -> Self {
        let names = self.name.is_some() || self.sname.is_some();
        let cookies = self.cookie.is_some() || self.cookie_file.is_some();
        let ports = self.dist_port.is_some() || self.listen_min.is_some();
        let unless = |said: bool| !said;
        Self {
            name: self.name.or(lower.name.filter(|_| unless(names))),
            sname: self.sname.or(lower.sname.filter(|_| unless(names))),
            cookie: self.cookie.or(lower.cookie.filter(|_| unless(cookies))),
            cookie_file: self.cookie_file.or(lower.cookie_file.filter(|_| unless(cookies))),
            cookie_for: first(self.cookie_for, lower.cookie_for),
            hidden: self.hidden.or(lower.hidden),
            connect_all: self.connect_all.or(lower.connect_all),
            dist_auto_connect: self.dist_auto_connect.or(lower.dist_auto_connect),
            connect: first(self.connect, lower.connect),
            discover: first(self.discover, lower.discover),
            discover_interval: self.discover_interval.or(lower.discover_interval),
            discover_server: first(self.discover_server, lower.discover_server),
            dist_listen: self.dist_listen.or(lower.dist_listen),
            listen_min: self.listen_min.or(lower.listen_min.filter(|_| unless(ports))),
            listen_max: self.listen_max.or(lower.listen_max.filter(|_| unless(ports))),
            listen_address: self.listen_address.or(lower.listen_address),
            address_family: self.address_family.or(lower.address_family),
            peer_port: first(self.peer_port, lower.peer_port),
            dist_port: self.dist_port.or(lower.dist_port.filter(|_| unless(ports))),
            net_ticktime: self.net_ticktime.or(lower.net_ticktime),
            net_tickintensity: self.net_tickintensity.or(lower.net_tickintensity),
            net_setuptime: self.net_setuptime.or(lower.net_setuptime),
            shards: self.shards.or(lower.shards),
            fabric: self.fabric.or(lower.fabric),
            lanes: self.lanes.or(lower.lanes),
            checksum: self.checksum.or(lower.checksum),
            unix_lanes: self.unix_lanes.or(lower.unix_lanes),
            profile: self.profile.or(lower.profile),
            setopt: first(self.setopt, lower.setopt),
            listen_options: first(self.listen_options, lower.listen_options),
            connect_options: first(self.connect_options, lower.connect_options),
            dist_nodelay: self.dist_nodelay.or(lower.dist_nodelay),
            epmd: self.epmd.or(lower.epmd),
            epmd_port: self.epmd_port.or(lower.epmd_port),
            no_services: self.no_services.or(lower.no_services),
            allow_halt: self.allow_halt.or(lower.allow_halt),
            metrics: self.metrics.or(lower.metrics),
        }
    }

    /// The settings nobody has to give.
    pub(super) fn defaults() -> Self {
        Self {
            hidden: Some(false),
            connect_all: Some(true),
            dist_auto_connect: Some(AutoConnect::True),
            dist_listen: Some(true),
            discover_interval: Some(10),
            address_family: Some(AddressFamily::Any),
            net_ticktime: Some(60),
            net_tickintensity: Some(4),
            net_setuptime: Some(7),
            shards: Some(u16::try_from(krarup_tuning::host::usable_cores().min(255)).unwrap_or(1)),
            fabric: Some(true),
            checksum: Some(Checksum::Auto),
            unix_lanes: Some(true),
            profile: Some(Profile::default()),
            epmd: Some(Epmd::Auto),
            epmd_port: Some(krarup::epmd::DEFAULT_PORT),
            no_services: Some(false),
            allow_halt: Some(false),
            ..Self::default()
        }
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

    /// The settings as TOML that [`Layer::from_toml`] accepts. Cookies stay out.
    pub(super) fn to_toml(&self) -> Result<String, String> {
        let mut text = toml::to_string(self).map_err(|error| error.to_string())?;
        if self.cookie.is_some() || !self.cookie_for.is_empty() {
            text.push_str("# cookies are given, and not shown\n");
        }
        Ok(text)
    }
}

fn first<T>(upper: Vec<T>, lower: Vec<T>) -> Vec<T> {
    if upper.is_empty() { lower } else { upper }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        layer: Layer,
    }

    fn flags(text: &str) -> Layer {
        Flags::try_parse_from(std::iter::once("x").chain(text.split_whitespace())).unwrap().layer
    }

    fn file(text: &str) -> Result<Layer, String> {
        Layer::from_toml(text, Path::new("krarup.toml"))
    }

    #[test]
    fn flags_come_before_environment_before_file_before_defaults() {
        let environment = |name: &str| (name == "ERL_EPMD_PORT").then(|| "5000".to_owned());
        let merged = flags("--net-ticktime 8 --name a@127.0.0.1")
            .over(Layer::from_environment(environment).unwrap())
            .over(
                file("epmd-port = 6000\nnet-ticktime = 30\nsname = \"b\"\nhidden = true").unwrap(),
            )
            .over(Layer::defaults());
        assert_eq!(merged.net_ticktime, Some(8), "the flag wins");
        assert_eq!(merged.epmd_port, Some(5000), "the environment beats the file");
        assert_eq!(merged.hidden, Some(true), "the file beats the default");
        assert_eq!(merged.connect_all, Some(true), "the default remains");
        assert_eq!((merged.name.as_deref(), &merged.sname), (Some("a@127.0.0.1"), &None));
        merged.check().unwrap();
    }

    #[test]
    fn exclusive_settings_hide_each_other() {
        let merged = flags("--dist-port 4400 --cookie-file /c")
            .over(file("listen-min = 1\nlisten-max = 2\ncookie = \"x\"").unwrap());
        assert_eq!((merged.listen_min, merged.listen_max), (None, None));
        assert_eq!(merged.cookie, None);
        merged.check().unwrap();
    }

    #[test]
    fn mistakes_in_the_file_are_named() {
        let error = file("net-tictime = 8").unwrap_err();
        assert_eq!(
            error,
            "krarup.toml: unknown key \"net-tictime\"; did you mean \"net-ticktime\"?"
        );
        assert!(file("net_ticktime = 8").unwrap_err().contains("did you mean \"net-ticktime\"?"));
        assert!(file("shards = \"two\"").unwrap_err().contains("line 1"));
        assert!(file("shards = 0").unwrap_err().contains("expected 1 to 255"));
        assert!(file("lanes = 9").unwrap_err().contains("expected 1 to 8"));
        assert!(file("name = ").unwrap_err().contains("krarup.toml"));
        assert!(file("listen-max = 3").unwrap_err().contains("needs listen-min"));
        assert!(file("listen-min = 9\nlisten-max = 3").unwrap_err().contains("above"));
        assert!(file("setopt = [\"nodley=true\"]").unwrap_err().contains("nodelay"));
        let listen = file("listen-options = [\"nodley=true\"]").unwrap_err();
        assert!(listen.contains("listen-options: "), "{listen}");
        assert!(file("connect-options = [\"profile=fast\"]").unwrap_err().contains("profile"));
        assert!(file("profile = \"fast\"").is_err());
        assert!(file("name = \"a@h\"\nsname = \"a\"").unwrap_err().contains("exclude"));
        assert!(file("cookie-for = [\"x\"]").unwrap_err().contains("NODE=COOKIE"));
        assert!(file("discover = [\"x\"]").unwrap_err().contains("dns:[NAME@]HOST"));
        assert!(file("sname = \"a\"\ndiscover = [\"dns:x\"]").unwrap_err().contains("--name"));
        for wrong in ["b=1", "b@h", "b@h=0", "b@h=70000", "b@h=x"] {
            let error = file(&format!("peer-port = [\"{wrong}\"]")).unwrap_err();
            assert!(error.contains("NAME@HOST=PORT"), "{error}");
        }
        assert!(file("peer-port = [\"b@h=1\", \"b@h=2\"]").unwrap_err().contains("twice"));
    }

    #[test]
    fn lists_in_the_environment_have_spaces_or_commas() {
        let environment = |name: &str| match name {
            "KRARUP_CONNECT" => Some("a@h, b@h".to_owned()),
            "KRARUP_DISCOVER" => Some("hosts dns:web".to_owned()),
            _ => None,
        };
        let layer = Layer::from_environment(environment).unwrap();
        assert_eq!(layer.connect, ["a@h", "b@h"]);
        assert_eq!(layer.sources().unwrap().len(), 3);
        assert_eq!(flags("--connect c@h").over(layer).connect, ["c@h"]);
    }

    #[test]
    fn mistakes_in_the_environment_are_named() {
        let error = Layer::from_environment(|_| Some("high".into())).unwrap_err();
        assert!(error.starts_with("ERL_EPMD_PORT: expected a port"), "{error}");
    }

    #[test]
    fn what_is_printed_is_accepted_back() {
        let merged = flags(
            "--name a@127.0.0.1 --hidden --connect b@h c@h --setopt nodelay=true --setopt linger=5 \
             --profile wan --listen-min 9000 --listen-max 9005 --listen-address ::1 --epmd none \
             --dist-auto-connect once --discover dns:web.example.org --discover hosts \
             --discover-interval 5 --discover-server 127.0.0.1:53 --address-family inet6 \
             --peer-port b@h=9100 \
             --listen-options sndbuf=5 --connect-options profile=wan \
             --dist-nodelay false",
        )
        .over(Layer::defaults());
        let text = merged.to_toml().unwrap();
        assert_eq!(file(&text).unwrap(), merged, "{text}");
    }

    #[test]
    fn cookies_are_not_printed() {
        let merged = flags("--cookie secret --cookie-for b@h=secret");
        let text = merged.to_toml().unwrap();
        assert!(!text.contains("secret"), "{text}");
        file(&text).unwrap();
    }

    #[test]
    fn every_field_is_a_known_key() {
        // A key the table forgets would be refused as unknown; one too many would be accepted.
        let all = "name=''\nsname=''\ncookie=''\ncookie-file=''\ncookie-for=[]\nhidden=true\n\
                   connect-all=true\ndist-auto-connect='once'\nconnect=[]\ndiscover=[]\n\
                   discover-interval=1\ndiscover-server=[]\ndist-listen=true\nlisten-min=1\n\
                   address-family='inet6'\npeer-port=[]\nlisten-max=1\nlisten-address='::'\ndist-port=1\nnet-ticktime=1\n\
                   net-tickintensity=4\nnet-setuptime=1\nshards=1\nfabric=true\nlanes=2\n\
                   checksum='on'\nunix-lanes=true\nprofile='wan'\nsetopt=[]\n\
                   listen-options=[]\nconnect-options=[]\ndist-nodelay=true\n\
                   epmd='auto'\nepmd-port=1\nno-services=true\nallow-halt=true\nmetrics='127.0.0.1:9'\n";
        let table: toml::Table = all.parse().unwrap();
        assert_eq!(table.len(), KEYS.len());
        assert!(table.keys().all(|key| KEYS.contains(&key.as_str())));
        toml::from_str::<Layer>(all).unwrap();
        let mut flags: Vec<String> = <Flags as clap::CommandFactory>::command()
            .get_arguments()
            .filter_map(|argument| argument.get_long().map(str::to_owned))
            .filter(|flag| flag != "help")
            .collect();
        flags.sort();
        let mut keys = KEYS.to_vec();
        keys.sort_unstable();
        assert_eq!(flags, keys);
    }
}
