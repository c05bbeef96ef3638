//! BEAM nodes as workers: how they are started, and their orders as Erlang terms.
//!
//! The sources in `bench/erl` travel over standard input and are compiled in the node's memory.
//! The nodes find each other without epmd: the coordinator tells them their ports.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::Error;
use crate::process::WorkerProcess;
use crate::protocol::{Order, Role, Work, WorkerConfig};

const BOOT: &str = include_str!("../erl/boot.eval");
const MODULES: [&str; 2] =
    [include_str!("../erl/krarup_bench_epmd.erl"), include_str!("../erl/krarup_bench_worker.erl")];

/// Flags of every BEAM node that is measured, also named in the results' head.
///
/// One scheduler, because each node has one core; nothing else differs from OTP's defaults that
/// a message meets.
pub(crate) const FLAGS: &str = "+S 1:1 +SDcpu 1:1 +SDio 1 -hidden -connect_all false";

/// Release of OTP that `erl` starts, or why it does not start.
pub(crate) fn release(erl: &str) -> Result<String, Error> {
    let output = Command::new(erl)
        .args(["-noshell", "-noinput", "-boot", "start_clean", "-eval"])
        .arg("io:put_chars(erlang:system_info(otp_release)), halt().")
        .output()
        .map_err(Error::io(format!("cannot start {erl:?}")))?;
    let release = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || release.is_empty() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let reason = errors.lines().next().unwrap_or("it printed no release").to_owned();
        return Err(Error::Worker { worker: erl.to_owned(), reason });
    }
    Ok(release)
}

/// Starts a BEAM worker and gives it its sources and configuration.
pub(crate) fn start(
    name: String,
    erl: &str,
    config: &WorkerConfig,
) -> Result<WorkerProcess, Error> {
    let mut command = match config.core {
        // The worker `exec` pins itself, then becomes `erl`: no other tool is needed for it.
        Some(core) => {
            let mut command = crate::worker::own_executable()?;
            command.args(["worker", "exec", "--core", &core.to_string(), "--", erl]);
            command
        }
        None => Command::new(erl),
    };
    command
        // A failed measurement is told by its error, not by a dump in the user's folder.
        .env("ERL_CRASH_DUMP_SECONDS", "0")
        .args(["-noshell", "-epmd_module", "krarup_bench_epmd"])
        .args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}"])
        .args(FLAGS.split(' '))
        .arg("-eval")
        .arg(without_comments(BOOT));
    let mut worker = WorkerProcess::start(name, command)?;
    for source in MODULES {
        worker.write_line(&STANDARD.encode(source))?;
    }
    worker.write_line("run")?;
    worker.write_line(&config_term(config))?;
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
    let role = match config.role {
        Role::Client => "client",
        Role::Server => "server",
    };
    let work = match config.work {
        Work::Rtt => "rtt",
        Work::Stream => "stream",
    };
    format!(
        "#{{node => '{}', cookie => '{}', role => {role}, work => {work}, size => {}, \
         warm_up_ns => {}, duration_ns => {}, window => {}}}.",
        config.node,
        config.cookie,
        config.size,
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
