//! `krarup ping`: `net_adm:ping/1` from the shell.

use super::{Failure, node, output};
use krarup::epmd::EpmdMode;
use krarup::{Builder, NameType, NodeConfig};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The node, such as shop@127.0.0.1
    node: String,

    /// Full (long) name to connect as; a unique one unless stated
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
    #[arg(long, env = "ERL_EPMD_PORT", hide_env_values = true, default_value_t = krarup::epmd::DEFAULT_PORT,
          value_parser = clap::value_parser!(u16).range(1..))]
    epmd_port: u16,

    /// The port the node listens on, instead of asking epmd
    #[arg(long, env = "ERL_DIST_PORT", hide_env_values = true, value_name = "PORT")]
    dist_port: Option<u16>,

    /// Seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    timeout: u32,

    /// Connects hidden in any case; accepted as erl's flag
    #[arg(long, hide = true)]
    hidden: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Why a connection failed is what whoever gets pang wants to know.
    output::start_logging("warn,krarup::shard::connect=info");
    let Some((_, host)) = arguments.node.split_once('@') else {
        return Err(Failure::Usage(format!(
            "{:?} is no full node name: give NAME@HOST, such as {}@127.0.0.1",
            arguments.node, arguments.node
        )));
    };
    let (name, is_short) = own_name(arguments, host)?;
    let mut config = NodeConfig {
        name: Some(name),
        cookie: Some(node::cookie(arguments.cookie.as_deref(), arguments.cookie_file.as_deref())?),
        hidden: true,
        epmd: EpmdMode::None,
        epmd_port: arguments.epmd_port,
        peer_port: arguments.dist_port,
        // Nobody is to connect here.
        listen_address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ..NodeConfig::default()
    };
    if is_short {
        config.name_type = NameType::Short;
    }
    let own = Builder::from_config(config).start().map_err(Failure::of)?;
    let start = Instant::now();
    let timeout = Duration::from_secs(arguments.timeout.into());
    let is_there = own.ping(&arguments.node, timeout).wait();
    let took = start.elapsed();
    own.stop().wait();
    let answer = if is_there { "pong" } else { "pang" };
    if arguments.json {
        let milliseconds = took.as_secs_f64() * 1e3;
        let all = json!({ "node": arguments.node, "answer": answer, "milliseconds": milliseconds });
        output::line(&all.to_string());
    } else {
        output::line(answer);
    }
    if is_there { Ok(()) } else { Err(Failure::Answered) }
}

/// The name to connect as, and whether it is a short one: of the kind the peer has.
fn own_name(arguments: &Arguments, peer_host: &str) -> Result<(String, bool), Failure> {
    let given = arguments.sname.as_ref().or(arguments.name.as_ref());
    let is_short = match (&arguments.sname, &arguments.name) {
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

/// Two pings at a time must not have the same name, or one would close the other's connection.
fn unique_head() -> Result<String, Failure> {
    let mut bytes = [0u8; 6];
    getrandom::fill(&mut bytes).map_err(Failure::of)?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("krarup-ping-{digits}"))
}
