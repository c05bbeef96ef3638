//! Under which conditions the figures were taken. Results without it cannot be compared.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::cli::Options;
use crate::otp;
use crate::pin::{self, Pinning};
use crate::rival;
use crate::run::Bench;

/// Load average above which a warning stands in the head: somebody else uses the machine.
const LOAD_QUIET_MAX: f64 = 0.5;

/// The conditions of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Head {
    /// Version of this package.
    pub(crate) version: &'static str,
    /// The commit it was built from.
    pub(crate) commit: &'static str,
    pub(crate) rustc: &'static str,
    /// Build profile: figures of `debug` mean nothing.
    pub(crate) profile: &'static str,
    pub(crate) cpu: String,
    /// Cores this process may use.
    pub(crate) cores: usize,
    /// Whether the host says that it is virtual.
    pub(crate) virtual_machine: bool,
    pub(crate) kernel: String,
    /// One-minute load average before the first measurement.
    pub(crate) load_before: f64,
    /// Releases of OTP that took part, with the `erl` of each.
    pub(crate) otp: Vec<String>,
    /// Flags of the BEAM nodes.
    pub(crate) otp_flags: &'static str,
    /// Other libraries in this build.
    pub(crate) rivals: Vec<String>,
    pub(crate) pinning: Pinning,
    pub(crate) command: String,
    pub(crate) repetitions: u32,
    #[serde(rename = "warm_up_s", serialize_with = "seconds")]
    pub(crate) warm_up: Duration,
    #[serde(rename = "duration_s", serialize_with = "seconds")]
    pub(crate) duration: Duration,
    /// Start of the run, since the Unix epoch.
    #[serde(rename = "started_unix_s", serialize_with = "seconds")]
    pub(crate) started: Duration,
    /// Peers that this host cannot run, and why.
    pub(crate) skipped: Vec<String>,
}

impl Head {
    pub(crate) fn collect(options: &Options, bench: &Bench, skipped: Vec<String>) -> Head {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let system = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        Head {
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("KRARUP_BENCH_COMMIT"),
            rustc: env!("KRARUP_BENCH_RUSTC"),
            profile: env!("KRARUP_BENCH_PROFILE"),
            cpu: cpu_model(&cpuinfo).unwrap_or("unknown").to_owned(),
            cores: pin::allowed_cores().map_or(0, |cores| cores.len()),
            virtual_machine: has_flag(&cpuinfo, "hypervisor"),
            kernel: format!("{} {}", text(system.sysname()), text(system.release())),
            load_before: load_average().unwrap_or(0.0),
            otp: bench
                .releases
                .known()
                .into_iter()
                .map(|erl| format!("{} ({})", erl.release, erl.path.display()))
                .collect(),
            otp_flags: otp::FLAGS,
            rivals: rival::versions(),
            pinning: bench.pinning,
            command: std::env::args().collect::<Vec<_>>().join(" "),
            repetitions: options.reps,
            warm_up: options.warm_up.0,
            duration: options.seconds.0,
            started: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            skipped,
        }
    }

    /// The head as lines of text.
    pub(crate) fn lines(&self) -> Vec<String> {
        let host = if self.virtual_machine { "virtual machine" } else { "bare metal" };
        let mut lines = vec![
            format!(
                "krarup-bench {} at {} ({}, {}), {}",
                self.version,
                self.commit,
                self.rustc,
                self.profile,
                date(self.started)
            ),
            format!("{}, {} cores, {host}, {}", self.cpu, self.cores, self.kernel),
            format!("pinning: {}; load before: {:.2}", self.pinning, self.load_before),
        ];
        if !self.otp.is_empty() {
            lines.push(format!("OTP {}, {}", self.otp.join(", "), self.otp_flags));
        }
        if !self.rivals.is_empty() {
            lines.push(self.rivals.join(", "));
        }
        lines.push(format!(
            "{} repetitions of {:.2} s after {:.2} s of warm-up; command: {}",
            self.repetitions,
            self.duration.as_secs_f64(),
            self.warm_up.as_secs_f64(),
            self.command
        ));
        lines.extend(self.warnings());
        lines.extend(self.skipped.iter().map(|skipped| format!("skipped {skipped}")));
        lines
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.profile == "debug" {
            warnings.push("warning: a debug build; measure with cargo run --release".to_owned());
        }
        if self.load_before > LOAD_QUIET_MAX {
            warnings.push(format!(
                "warning: load average {:.2}: something else runs here, figures will be worse",
                self.load_before
            ));
        }
        if self.pinning.shares_core() {
            warnings.push(
                "warning: both sides share one core: sides that poll only disturb each other"
                    .to_owned(),
            );
        }
        warnings
    }
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim())
}

fn has_flag(cpuinfo: &str, wanted: &str) -> bool {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == wanted)
}

/// A day of the Gregorian calendar, UTC.
fn date(since_epoch: Duration) -> String {
    let mut days = since_epoch.as_secs() / 86_400;
    let mut year = 1970;
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_read_from_cpuinfo() {
        let cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor\n";
        assert_eq!(cpu_model(cpuinfo), Some("AMD EPYC"));
        assert!(has_flag(cpuinfo, "hypervisor"));
        assert!(!has_flag(cpuinfo, "hyper"));
        assert_eq!(cpu_model(""), None);
    }

    #[test]
    fn dates_follow_the_calendar() {
        let at = |days: u64| date(Duration::from_secs(days * 86_400 + 3));
        assert_eq!(at(0), "1970-01-01");
        assert_eq!(at(59), "1970-03-01");
        assert_eq!(at(11_016), "2000-02-29");
        assert_eq!(at(20_777), "2026-11-20");
        assert_eq!(at(20_818), "2026-12-31");
    }
}
