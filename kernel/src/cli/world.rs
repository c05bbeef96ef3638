//! `krarup world`: `net_adm:world/0,1` and `world_list/1,2` from the shell.

use super::{Failure, client, output};
use krarup::net_adm::{Asked, HOST_FILE, host_file};
use serde_json::{Value, json};
use std::sync::mpsc;

#[derive(clap::Args)]
#[command(mut_arg("timeout", |timeout| {
    timeout.help("Seconds that each node has for its answer; 10 unless stated")
}))]
pub(super) struct Arguments {
    /// The hosts; those of .hosts.erlang unless stated
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,

    /// Say what each node answered, and which hosts could not be asked, on stderr
    #[arg(long)]
    verbose: bool,

    #[command(flatten)]
    client: client::Flags,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let why = if arguments.verbose { "info" } else { "off" };
    output::start_logging(&format!("warn,krarup::shard::connect={why}"));
    let hosts = match arguments.hosts {
        hosts if hosts.is_empty() => hosts_of_file()?,
        hosts => hosts,
    };
    let Some(first) = hosts.first() else {
        print(arguments.json, Vec::new(), &[], &[]);
        return Ok(());
    };
    let own = client::start_for_host(&arguments.client, first)?;
    let (tell, told) = mpsc::channel();
    let is_verbose = arguments.verbose;
    let each = move |asked: Asked<'_>| {
        let row = match asked {
            Asked::Node { node, answers } => {
                let answer = if answers { "pong" } else { "pang" };
                if is_verbose {
                    output::hint(&format!("Pinging {node} -> {answer}"));
                }
                Ok(json!({ "node": node.as_str(), "answer": answer }))
            }
            Asked::Host { host, error } => {
                if is_verbose {
                    output::hint(&format!("{host}: {error}"));
                }
                Err(json!({ "host": host, "error": error.to_string() }))
            }
            _ => return,
        };
        // The receiver outlives the call.
        let _ = tell.send(row);
    };
    let net_adm = own.net_adm().ping_time(arguments.client.timeout());
    let found = net_adm.world_list(hosts, each).wait().map_err(Failure::of)?;
    own.stop().wait();
    let (nodes, hosts): (Vec<_>, Vec<_>) = told.iter().partition(Result::is_ok);
    let nodes: Vec<Value> = nodes.into_iter().filter_map(Result::ok).collect();
    let hosts: Vec<Value> = hosts.into_iter().filter_map(Result::err).collect();
    print(arguments.json, found.iter().map(krarup::term::Atom::as_str).collect(), &nodes, &hosts);
    Ok(())
}

fn hosts_of_file() -> Result<Vec<String>, Failure> {
    let terms = host_file().map_err(Failure::of)?;
    let host = |term: krarup::term::Term| match term.as_atom() {
        Some(host) => Ok(host.as_str().to_owned()),
        None => Err(Failure::Failed(format!(
            "{HOST_FILE}: {term} is no host; write its name as an atom"
        ))),
    };
    terms.into_iter().map(host).collect()
}

fn print(as_json: bool, found: Vec<&str>, nodes: &[Value], hosts: &[Value]) {
    if as_json {
        let all = json!({ "world": found, "nodes": nodes, "hosts_not_asked": hosts });
        output::line(&all.to_string());
        return;
    }
    for node in found {
        output::line(node);
    }
}
