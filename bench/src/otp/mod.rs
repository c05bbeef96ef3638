//! BEAM nodes as workers: how they are started, and their orders as Erlang terms.
//!
//! The sources in `bench/erl` travel over standard input and are compiled in the node's memory.
//! The nodes find each other without epmd, because the coordinator tells them their ports; where
//! epmd is what is measured, they use the one they are told of.

mod releases;

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(crate) use releases::{Erl, Releases};

use crate::error::Error;
use crate::process::WorkerProcess;
use crate::protocol::{Order, WorkerConfig};
use crate::worker;

const BOOT: &str = include_str!("../../erl/boot.eval");
const MODULES: [&str; 4] = [
    include_str!("../../erl/krarup_bench_epmd.erl"),
    include_str!("../../erl/krarup_bench_echo.erl"),
    include_str!("../../erl/krarup_bench_codec.erl"),
    include_str!("../../erl/krarup_bench_worker.erl"),
];

/// Flags of every BEAM node that is measured, also named in the results' head.
///
/// One scheduler, because each node has one core; nothing else differs from OTP's defaults that
/// a message meets.
pub(crate) const FLAGS: &str = "+S 1:1 +SDcpu 1:1 +SDio 1 -hidden -connect_all false";

/// How a BEAM node finds others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// The coordinator tells it.
    Told,
    /// It asks the epmd on this port.
    Epmd(u16),
}

/// Starts a BEAM worker and gives it its sources and configuration.
pub(crate) fn start(
    name: String,
    erl: &Path,
    config: &WorkerConfig,
) -> Result<WorkerProcess, Error> {
    let naming = config.epmd_port.map_or(Naming::Told, Naming::Epmd);
    start_with(name, erl, config.core, naming, &config_term(config))
}

/// Starts a BEAM worker without a node name, that only encodes and decodes.
pub(crate) fn start_codec(
    name: String,
    erl: &Path,
    core: Option<usize>,
    config: &str,
) -> Result<WorkerProcess, Error> {
    start_with(name, erl, core, Naming::Told, config)
}

fn start_with(
    name: String,
    erl: &Path,
    core: Option<usize>,
    naming: Naming,
    config: &str,
) -> Result<WorkerProcess, Error> {
    let mut command = worker::pinned(core, erl)?;
    command
        // A failed measurement is told by its error, not by a dump in the user's folder.
        .env("ERL_CRASH_DUMP_SECONDS", "0")
        .args(["-noshell", "-kernel", "inet_dist_use_interface", "{127,0,0,1}"]);
    match naming {
        Naming::Told => command.args(["-epmd_module", "krarup_bench_epmd"]),
        Naming::Epmd(port) => {
            command.env("ERL_EPMD_PORT", port.to_string()).args(["-start_epmd", "false"])
        }
    };
    command.args(FLAGS.split(' ')).arg("-eval").arg(without_comments(BOOT));
    let mut worker = WorkerProcess::start(name, command)?;
    for source in MODULES {
        worker.write_line(&STANDARD.encode(source))?;
    }
    worker.write_line("run")?;
    worker.write_line(config)?;
    Ok(worker)
}

/// An order as the Erlang term that `krarup_bench_worker` reads.
pub(crate) fn order_term(order: &Order) -> String {
    match order {
        Order::Dial { node, port } => format!("{{dial,'{node}',{port}}}."),
        Order::Go { node } => format!("{{go,'{node}'}}."),
        Order::Stop => "stop.".to_owned(),
    }
}

fn config_term(config: &WorkerConfig) -> String {
    format!(
        "#{{node => '{}', cookie => '{}', role => {}, work => {}, size => {}, count => {}, \
         apart => {}, rate => {}, warm_up_ns => {}, duration_ns => {}, window => {}}}.",
        config.node,
        config.cookie,
        config.role.name(),
        config.work.name(),
        config.size,
        config.count,
        config.apart,
        config.rate,
        config.warm_up_ns,
        config.duration_ns,
        config.window
    )
}

/// `-eval` takes expressions on one line; comments would swallow the rest.
fn without_comments(source: &str) -> String {
    source.lines().filter(|line| !line.trim_start().starts_with('%')).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_become_terms() {
        let dial = Order::Dial { node: "a@127.0.0.1".into(), port: 4000 };
        assert_eq!(order_term(&dial), "{dial,'a@127.0.0.1',4000}.");
        assert_eq!(order_term(&Order::Go { node: "a@h".into() }), "{go,'a@h'}.");
        assert_eq!(order_term(&Order::Stop), "stop.");
    }

    #[test]
    fn the_boot_expression_has_no_comment_left() {
        assert!(!without_comments(BOOT).contains("%%"));
    }
}
