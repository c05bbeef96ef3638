//! `krarup ping`: `net_adm:ping/1` from the shell.

use super::{Failure, client, output};
use serde_json::json;
use std::time::Instant;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The node, such as shop@127.0.0.1
    node: String,

    #[command(flatten)]
    client: client::Flags,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Why a connection failed is what whoever gets pang wants to know.
    output::start_logging("warn,krarup::shard::connect=info");
    let own = client::start(&arguments.client, &arguments.node)?;
    let start = Instant::now();
    let timeout = arguments.client.timeout();
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
