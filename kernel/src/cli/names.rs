//! `krarup names`: the nodes registered on a host, as `net_adm:names/1` and `epmd -names` give them.

use super::{Failure, output};
use krarup::epmd::client::{self, NameList};
use serde_json::json;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The host; this one unless stated
    #[arg(default_value = "127.0.0.1")]
    host: String,

    /// Port of epmd
    #[arg(long, value_name = "PORT", env = "ERL_EPMD_PORT", hide_env_values = true, default_value_t = krarup::epmd::DEFAULT_PORT,
          value_parser = clap::value_parser!(u16).range(1..))]
    epmd_port: u16,

    /// Seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    timeout: u32,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let list = ask(&arguments.host, arguments.epmd_port, arguments.timeout)?;
    if arguments.json {
        let nodes: Vec<_> =
            list.nodes.iter().map(|(name, port)| json!({ "name": name, "port": port })).collect();
        let all = json!({ "host": arguments.host, "epmd_port": list.epmd_port, "nodes": nodes });
        output::line(&all.to_string());
    } else {
        output::line(&text(&list));
    }
    Ok(())
}

/// The list as OTP's epmd prints it.
pub(super) fn text(list: &NameList) -> String {
    let mut text = format!("epmd: up and running on port {} with data:", list.epmd_port);
    for (name, port) in &list.nodes {
        text.push_str(&format!("\nname {name} at port {port}"));
    }
    text
}

fn ask(host: &str, port: u16, timeout_seconds: u32) -> Result<NameList, Failure> {
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| Failure::Failed(format!("the host {host} is not known: {error}")))?
        .collect();
    let deadline = Instant::now() + Duration::from_secs(timeout_seconds.into());
    let mut outcome = Err(Failure::Failed(format!("the host {host} has no address")));
    for (index, address) in addresses.iter().enumerate() {
        // An address that swallows everything must leave time for the others.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        if share.is_zero() {
            break;
        }
        outcome = client::names(*address, share).map_err(Failure::of);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_reads_as_that_of_otp() {
        let list = NameList { epmd_port: 4369, nodes: vec![("b".into(), 2), ("a".into(), 1)] };
        assert_eq!(
            text(&list),
            "epmd: up and running on port 4369 with data:\nname b at port 2\nname a at port 1"
        );
        let none = NameList { epmd_port: 4369, nodes: vec![] };
        assert_eq!(text(&none), "epmd: up and running on port 4369 with data:");
    }
}
