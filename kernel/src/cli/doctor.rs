//! `krarup doctor`: what this host gives a node, and what could be better.

use super::{Failure, output};
use krarup_transport::io::probe::{self, IoUringUnavailable};
use krarup_tuning::advice::{Facts, Finding, Severity, advise};
use krarup_tuning::host;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// How long epmd may take to answer.
const EPMD_TIME_MAX: Duration = Duration::from_secs(2);
/// The profile of this repository, for container runtimes.
const SECCOMP_PROFILE: &str = "docs/operations/seccomp-io-uring.json";

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Shards that the node is to have; as many as cores can be used unless stated
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=255))]
    shards: Option<u16>,

    /// Port of epmd
    #[arg(long, value_name = "PORT", env = "ERL_EPMD_PORT", hide_env_values = true, default_value_t = krarup::epmd::DEFAULT_PORT,
          value_parser = clap::value_parser!(u16).range(1..))]
    epmd_port: u16,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb: done when a node can run here.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let facts = Facts::read();
    let shards = arguments.shards.map_or_else(host::usable_cores, usize::from);
    let mut findings = vec![kernel(&facts), io_uring(probe::check(shards), shards)];
    findings.extend(advise(&facts));
    findings.extend([host_name(), epmd(arguments.epmd_port), cookie()]);
    if arguments.json {
        output::line(&as_json(&findings));
    } else {
        print(&findings);
    }
    if findings.iter().any(|finding| finding.severity == Severity::Fatal) {
        return Err(Failure::Answered);
    }
    Ok(())
}

fn kernel(facts: &Facts) -> Finding {
    Finding::good("kernel", format!("Linux {}", facts.kernel))
}

fn io_uring(outcome: Result<(), IoUringUnavailable>, shards: usize) -> Finding {
    let subject = "io_uring";
    let error = match outcome {
        Ok(()) => return Finding::good(subject, format!("available, for {shards} shards")),
        Err(error) => error,
    };
    let fatal = |found: &str| Finding::new(subject, Severity::Fatal, found, error.to_string());
    match &error {
        IoUringUnavailable::Disabled { value } => fatal("disabled by the administrator")
            .with_change(
                "sysctl -w kernel.io_uring_disabled=0",
                format!("sysctl -w kernel.io_uring_disabled={value}"),
            ),
        IoUringUnavailable::Refused => fatal("refused by a seccomp filter or a security module")
            .with_change(
                format!("docker run --security-opt seccomp={SECCOMP_PROFILE} … (podman alike)"),
                "run without that option",
            ),
        IoUringUnavailable::Memlock { limit_bytes, needed_bytes } => fatal(
            "too little memory may be locked",
        )
        .with_change(
            format!("ulimit -l {} (LimitMEMLOCK={needed_bytes} in a unit)", needed_bytes / 1024),
            format!("ulimit -l {}", limit_bytes / 1024),
        ),
        IoUringUnavailable::NotInKernel => fatal("not in this kernel"),
        _ => fatal("does not work"),
    }
}

fn host_name() -> Finding {
    let subject = "host name";
    let short = host::name().unwrap_or_default();
    let full = match host::full_name() {
        Ok(full) => full,
        Err(error) => {
            return Finding::new(
                subject,
                Severity::Note,
                short,
                format!("{error}: --name needs a host part then, such as NAME@10.0.0.1"),
            );
        }
    };
    match (full.as_str(), 0).to_socket_addrs() {
        Ok(_) => Finding::good(subject, full),
        Err(error) => Finding::new(
            subject,
            Severity::Warning,
            full.clone(),
            format!(
                "{error}: other nodes look for {full}, and cannot find it if they know no more"
            ),
        )
        .with_change(
            format!("echo '10.0.0.1 {full}' >> /etc/hosts, with this host's address"),
            "take that line out again",
        ),
    }
}

fn epmd(port: u16) -> Finding {
    let subject = "epmd";
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match krarup::epmd::client::names(address, EPMD_TIME_MAX) {
        Ok(list) => {
            Finding::good(subject, format!("at {address}, with {} names", list.nodes.len()))
        }
        Err(_) => Finding::good(subject, format!("none at {address}: a node starts one")),
    }
}

fn cookie() -> Finding {
    let subject = "cookie";
    let directory = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = directory("HOME").map(PathBuf::from);
    let config = directory("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| home.as_ref().map(|home| home.join(".config")));
    let files = [home, config.map(|config| config.join("erlang"))];
    let mut files = files.into_iter().flatten().map(|place| place.join(".erlang.cookie"));
    // The first that exists decides; a node makes one where there is none.
    match files.find(|file| file.exists()) {
        None => Finding::good(subject, "no file yet: a node makes one"),
        Some(file) => match krarup::cookie::read(&file) {
            Ok(_) => Finding::good(subject, file.display().to_string()),
            Err(error) => {
                let found = file.display().to_string();
                let finding =
                    Finding::new(subject, Severity::Warning, found.clone(), error.to_string());
                finding.with_change(
                    format!("chmod 400 {found}, or --cookie-file with another file"),
                    "chmod with the mode it had",
                )
            }
        },
    }
}

fn as_json(findings: &[Finding]) -> String {
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "subject": finding.subject,
                "severity": finding.severity.as_str(),
                "found": finding.found,
                "reason": finding.reason,
                "change": finding.change,
                "undo": finding.undo,
            })
        })
        .collect();
    json!({ "findings": findings }).to_string()
}

fn print(findings: &[Finding]) {
    let is_colourful = output::is_colourful(&std::io::stdout());
    for finding in findings {
        let word = finding.severity.as_str();
        let colour = match finding.severity {
            Severity::Good => "\x1b[32m",
            Severity::Note => "\x1b[36m",
            Severity::Warning => "\x1b[33m",
            Severity::Fatal => "\x1b[1;31m",
        };
        let word =
            if is_colourful { format!("{colour}{word:<8}\x1b[0m") } else { format!("{word:<8}") };
        output::line(&format!("{word}{:<12}{}", finding.subject, finding.found));
        let details = [
            Some(finding.reason.as_str()).filter(|reason| !reason.is_empty()).map(str::to_owned),
            finding.change.as_ref().map(|change| format!("change: {change}")),
            finding.undo.as_ref().map(|undo| format!("undo:   {undo}")),
        ];
        for detail in details.into_iter().flatten() {
            output::line(&format!("{:20}{detail}", ""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_io_uring_is_fatal_and_says_what_to_do() {
        let memlock = IoUringUnavailable::Memlock { limit_bytes: 65_536, needed_bytes: 524_288 };
        for (error, change) in [
            (IoUringUnavailable::Disabled { value: 2 }, "kernel.io_uring_disabled=0"),
            (IoUringUnavailable::Refused, SECCOMP_PROFILE),
            (memlock, "ulimit -l 512"),
        ] {
            let finding = io_uring(Err(error), 1);
            assert_eq!(finding.severity, Severity::Fatal);
            assert!(
                finding.change.as_ref().is_some_and(|text| text.contains(change)),
                "{finding:?}"
            );
            assert!(finding.undo.is_some(), "{finding:?}");
        }
        assert_eq!(io_uring(Ok(()), 2).severity, Severity::Good);
    }
}
