//! What the verbs have in common that ask another node: each connects hidden and leaves at once.

use super::{Failure, config, node};
use krarup::epmd::EpmdMode;
use krarup::{Builder, NameType, Node, NodeConfig};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args)]
pub(super) struct Flags {
    /// Long name to connect as; a unique name of the peer's kind unless stated
    #[arg(long, value_name = "NAME@HOST", conflicts_with = "sname")]
    name: Option<String>,

    /// Short name to connect as
    #[arg(long, value_name = "NAME")]
    sname: Option<String>,

    /// The cookie; without it the cookie file is used
    #[arg(long, value_name = "COOKIE", conflicts_with = "cookie_file")]
    cookie: Option<String>,

    /// Cookie file to read instead of ~/.erlang.cookie
    #[arg(long, value_name = "FILE")]
    cookie_file: Option<PathBuf>,

    /// Port of epmd
    #[arg(long, value_name = "PORT", env = "ERL_EPMD_PORT", hide_env_values = true, default_value_t = krarup::epmd::DEFAULT_PORT,
          value_parser = clap::value_parser!(u16).range(1..))]
    epmd_port: u16,

    /// The port the node listens on, instead of asking epmd
    #[arg(long, env = "ERL_DIST_PORT", hide_env_values = true, value_name = "PORT")]
    dist_port: Option<u16>,

    /// Which addresses of hosts are used; any unless stated
    #[arg(long, value_enum, value_name = "FAMILY")]
    address_family: Option<config::AddressFamily>,

    /// Seconds to wait for the answer; 10 unless stated
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    timeout: Option<u32>,

    /// Connects hidden in any case; accepted as erl's flag
    #[arg(long, hide = true)]
    hidden: bool,
}

impl Flags {
    /// How long to wait for the answer: 10 seconds unless said.
    pub(super) fn timeout(&self) -> Duration {
        self.stated_timeout().unwrap_or(Duration::from_secs(10))
    }

    /// How long to wait, where that is said.
    pub(super) fn stated_timeout(&self) -> Option<Duration> {
        self.timeout.map(|seconds| Duration::from_secs(seconds.into()))
    }
}

/// Starts a hidden node that can talk to `peer`.
pub(super) fn start(flags: &Flags, peer: &str) -> Result<Node, Failure> {
    let Some((_, host)) = peer.split_once('@') else {
        return Err(Failure::Usage(format!(
            "{peer:?} is no full node name: give NAME@HOST, such as {peer}@127.0.0.1"
        )));
    };
    start_for_host(flags, host)
}

/// Starts a hidden node that can talk to the nodes of a host.
pub(super) fn start_for_host(flags: &Flags, host: &str) -> Result<Node, Failure> {
    let (name, is_short) = own_name(flags, host)?;
    let mut config = NodeConfig {
        name: Some(name),
        cookie: Some(node::cookie(flags.cookie.as_deref(), flags.cookie_file.as_deref())?),
        hidden: true,
        epmd: EpmdMode::None,
        epmd_port: flags.epmd_port,
        peer_port: flags.dist_port,
        address_family: flags.address_family.map_or_else(Default::default, Into::into),
        // Nobody is to connect here.
        listen_address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ..NodeConfig::default()
    };
    if is_short {
        config.name_type = NameType::Short;
    }
    Builder::from_config(config).start().map_err(Failure::of)
}

/// The name to connect as, and whether it is a short one: of the kind the peer has.
fn own_name(flags: &Flags, peer_host: &str) -> Result<(String, bool), Failure> {
    let given = flags.sname.as_ref().or(flags.name.as_ref());
    let is_short = match (&flags.sname, &flags.name) {
        (Some(_), _) => true,
        (None, Some(_)) => false,
        (None, None) => !peer_host.contains('.') && peer_host.parse::<IpAddr>().is_err(),
    };
    if let Some(name) = given.filter(|name| name.contains('@')) {
        return Ok((name.clone(), is_short));
    }
    let head = match given {
        Some(name) => name.clone(),
        None => unique_head()?,
    };
    let host = krarup_tuning::host::name().map_err(Failure::of)?;
    let host = if is_short {
        host.split('.').next().unwrap_or(&host).to_owned()
    } else if krarup_tuning::host::is_loopback(peer_host) {
        peer_host.to_owned()
    } else {
        // A peer never dials a hidden node back, so any long host will do.
        krarup_tuning::host::full_name().unwrap_or_else(|_| "127.0.0.1".to_owned())
    };
    Ok((format!("{head}@{host}"), is_short))
}

/// Two of them at a time must not have the same name, or one would close the other's connection.
fn unique_head() -> Result<String, Failure> {
    let mut bytes = [0u8; 6];
    getrandom::fill(&mut bytes).map_err(Failure::of)?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("krarup-{digits}"))
}
