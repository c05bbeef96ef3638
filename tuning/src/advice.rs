//! What of this host could be better, why, how to change it, and how to undo that.
//!
//! [`Facts`] are read from the host; [`advise`] makes [`Finding`]s of them and touches nothing.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use crate::host;

/// What is known of a host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The kernel's release, such as `6.12.0`.
    pub kernel: String,
    /// Processors of this process's affinity.
    pub allowed_cpus: usize,
    /// Processors' worth of time that the cgroup grants; `None` without a limit.
    pub cgroup_quota: Option<f64>,
    /// The caches of the first processor, such as `L2 1024K`.
    pub caches: Vec<String>,
    /// The kernel's clock source.
    pub clocksource: String,
    /// The frequency governor of the first processor; empty without one.
    pub governor: String,
    /// Soft and hard limit of open files; `None` is unlimited.
    pub open_files: (Option<u64>, Option<u64>),
    /// Bytes of memory that may be locked; `None` is unlimited.
    pub memlock_bytes: Option<u64>,
    /// Settings of the kernel by their names in `sysctl`.
    pub sysctls: BTreeMap<&'static str, String>,
}

/// The settings that are looked at.
const SYSCTLS: [&str; 9] = [
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.core.somaxconn",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_available_congestion_control",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
];

impl Facts {
    /// Reads them. What cannot be read is left empty.
    pub fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let sysctls = SYSCTLS.into_iter().filter_map(|name| {
            let value = text(&format!("/proc/sys/{}", name.replace('.', "/")));
            let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
            (!value.is_empty()).then_some((name, value))
        });
        let files = getrlimit(Resource::Nofile);
        Facts {
            kernel: host::kernel_release(),
            allowed_cpus: host::allowed_cpus().len(),
            cgroup_quota: host::cgroup_quota(),
            caches: caches(Path::new("/sys/devices/system/cpu/cpu0/cache")),
            clocksource: text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            governor: text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            open_files: (files.current, files.maximum),
            memlock_bytes: host::memlock_bytes_max(),
            sysctls: sysctls.collect(),
        }
    }

    fn sysctl(&self, name: &str) -> Option<&str> {
        self.sysctls.get(name).map(String::as_str)
    }
}

fn caches(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let text = |path: &Path, file| fs::read_to_string(path.join(file)).ok();
    let mut caches: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let level = text(&path, "level")?;
            let kind = match text(&path, "type")?.trim() {
                "Data" => "d",
                "Instruction" => "i",
                _ => "",
            };
            Some(format!("L{}{kind} {}", level.trim(), text(&path, "size")?.trim()))
        })
        .collect();
    caches.sort();
    caches
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth knowing; better for some uses if changed.
    Note,
    /// Costs speed or reach as it is.
    Warning,
    /// A node cannot run.
    Fatal,
}

impl Severity {
    /// One word for a table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Good => "ok",
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Fatal => "fatal",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub subject: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What it is.
    pub found: String,
    /// Why it matters; empty where all is well.
    pub reason: String,
    /// The command that changes it.
    pub change: Option<String>,
    /// The command that undoes that.
    pub undo: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn good(subject: &'static str, found: impl Into<String>) -> Self {
        let (found, reason) = (found.into(), String::new());
        Finding { subject, severity: Severity::Good, found, reason, change: None, undo: None }
    }

    /// Something that could be better.
    pub fn new(
        subject: &'static str,
        severity: Severity,
        found: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        let (found, reason) = (found.into(), reason.into());
        Finding { subject, severity, found, reason, change: None, undo: None }
    }

    /// With the command that changes it, and the one that undoes that.
    #[must_use]
    pub fn with_change(self, change: impl Into<String>, undo: impl Into<String>) -> Self {
        Finding { change: Some(change.into()), undo: Some(undo.into()), ..self }
    }
}

/// Connections a node should be able to hold.
const OPEN_FILES_WANTED: u64 = 65_536;
/// Nodes of a cluster that all start at once knock at the same time.
const BACKLOG_WANTED: u64 = 1024;
/// What a long path with a gigabit a second needs: 32 ms of it.
const WINDOW_WANTED_BYTES: u64 = 4 << 20;

/// What is to be said of a host.
pub fn advise(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![cores(facts), caches_found(facts)];
    findings.extend([open_files(facts), clock(facts)]);
    findings.extend(governor(facts));
    findings.extend(somaxconn(facts));
    findings.extend(buffers(facts));
    findings.extend(idle_restart(facts));
    findings.extend(congestion(facts));
    findings
}

fn cores(facts: &Facts) -> Finding {
    let subject = "cores";
    let allowed = facts.allowed_cpus;
    match facts.cgroup_quota {
        Some(quota) if quota < allowed as f64 => Finding::new(
            subject,
            Severity::Warning,
            format!("{allowed} by affinity, {quota:.1} by the cgroup's quota"),
            "a shard that spins uses up a quota, and is then stopped for tens of milliseconds; \
             give whole cores by affinity instead (cpuset), or run with --spin 0",
        ),
        _ if allowed == 1 => Finding::new(
            subject,
            Severity::Note,
            "1",
            "with one core nothing spins, and a round trip takes as long as with blocking sockets",
        ),
        _ => Finding::good(subject, format!("{allowed}, none of them limited by a quota")),
    }
}

fn caches_found(facts: &Facts) -> Finding {
    match facts.caches.as_slice() {
        [] => Finding::new("caches", Severity::Note, "not told", "the kernel does not say"),
        caches => Finding::good("caches", caches.join(", ")),
    }
}

fn open_files(facts: &Facts) -> Finding {
    let subject = "open files";
    let text = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |l| l.to_string());
    let (soft, hard) = facts.open_files;
    let found = format!("{} (at most {})", text(soft), text(hard));
    // A node raises its own limit as far as it may.
    match hard {
        Some(hard) if hard < OPEN_FILES_WANTED => Finding::new(
            subject,
            Severity::Warning,
            found,
            format!(
                "a node holds one for each connection, and {OPEN_FILES_WANTED} are a good deal"
            ),
        )
        .with_change(
            format!("ulimit -Hn {OPEN_FILES_WANTED} (LimitNOFILE={OPEN_FILES_WANTED} in a unit)"),
            format!("ulimit -Hn {hard}"),
        ),
        _ => Finding::good(subject, found),
    }
}

fn clock(facts: &Facts) -> Finding {
    let subject = "clock";
    match facts.clocksource.as_str() {
        "" => Finding::new(subject, Severity::Note, "not told", "the kernel does not say"),
        // Those that a system call is needed for.
        slow @ ("hpet" | "acpi_pm" | "jiffies") => Finding::new(
            subject,
            Severity::Warning,
            slow,
            "reading it takes a microsecond or more, and shards read it all the time; a processor \
             with a stable counter has tsc",
        )
        .with_change(
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
            format!(
                "echo {slow} > /sys/devices/system/clocksource/clocksource0/current_clocksource"
            ),
        ),
        quick => Finding::good(subject, quick),
    }
}

fn governor(facts: &Facts) -> Option<Finding> {
    let path = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor";
    match facts.governor.as_str() {
        "" => None,
        "performance" => Some(Finding::good("frequency", "performance")),
        other => Some(
            Finding::new(
                "frequency",
                Severity::Note,
                other,
                "a core that was idle answers the first message slowly",
            )
            .with_change(
                format!("echo performance | tee {path}"),
                format!("echo {other} | tee {path}"),
            ),
        ),
    }
}

fn number(text: &str) -> Option<u64> {
    text.split(' ').next_back()?.parse().ok()
}

fn set(name: &str, value: impl std::fmt::Display) -> String {
    format!("sysctl -w {name}='{value}'")
}

fn somaxconn(facts: &Facts) -> Option<Finding> {
    let name = "net.core.somaxconn";
    let value = facts.sysctl(name)?;
    let found = format!("{name} is {value}");
    Some(if number(value)? >= BACKLOG_WANTED {
        Finding::good("backlog", found)
    } else {
        Finding::new(
            "backlog",
            Severity::Warning,
            found,
            "when a cluster starts at once, connections beyond it are made a second later",
        )
        .with_change(set(name, 4096), set(name, value))
    })
}

fn buffers(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, what) in [("net.ipv4.tcp_rmem", "receive"), ("net.ipv4.tcp_wmem", "send")] {
        let Some(value) = facts.sysctl(name) else { continue };
        let Some(largest) = number(value) else { continue };
        let found = format!("{name} is {value}");
        findings.push(if largest >= WINDOW_WANTED_BYTES {
            Finding::good("window", found)
        } else {
            let mut wanted: Vec<String> = value.split(' ').map(str::to_owned).collect();
            if let Some(last) = wanted.last_mut() {
                *last = (2 * WINDOW_WANTED_BYTES).to_string();
            }
            Finding::new(
                "window",
                Severity::Note,
                found,
                format!("the kernel's own tuning ends there: too little to {what} over long paths"),
            )
            .with_change(set(name, wanted.join(" ")), set(name, value))
        });
    }
    for name in ["net.core.rmem_max", "net.core.wmem_max"] {
        let Some(value) = facts.sysctl(name) else { continue };
        findings.push(Finding::good(
            "buffers",
            format!("{name} is {value}: what sndbuf and recbuf can ask for"),
        ));
    }
    findings
}

fn idle_restart(facts: &Facts) -> Option<Finding> {
    let name = "net.ipv4.tcp_slow_start_after_idle";
    let value = facts.sysctl(name)?;
    let found = format!("{name} is {value}");
    Some(if value == "0" {
        Finding::good("idle links", found)
    } else {
        Finding::new(
            "idle links",
            Severity::Note,
            found,
            "a link between hosts that was quiet for a moment begins slowly again: large messages \
             after a pause take several round trips",
        )
        .with_change(set(name, 0), set(name, value))
    })
}

fn congestion(facts: &Facts) -> Option<Finding> {
    let available = facts.sysctl("net.ipv4.tcp_available_congestion_control")?;
    Some(Finding::good("congestion", format!("{available}: what the option congestion can be")))
}

/// Whether the ports that a node is to listen on are its own: the kernel gives those of its range to
/// connections that leave this host, unless they are reserved.
pub fn listen_range(facts: &Facts, ports: RangeInclusive<u16>) -> Option<Finding> {
    let subject = "ports";
    let (range, reserved) = ("net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports");
    let (first, last) = facts.sysctl(range)?.split_once(' ')?;
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    let before = facts.sysctl(reserved).unwrap_or_default();
    let are_reserved = |port: u16| {
        before.split(',').any(|part| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let bounds = from.parse().ok().zip(to.parse().ok());
            bounds.is_some_and(|(from, to): (u16, u16)| (from..=to).contains(&port))
        })
    };
    let (min, max) = (*ports.start(), *ports.end());
    let found = format!("{min} to {max}; {range} is {first} {last}");
    let shared = ports.filter(|port| (first..=last).contains(port) && !are_reserved(*port)).count();
    if shared == 0 {
        return Some(Finding::good(subject, found));
    }
    let wanted = match before {
        "" => format!("{min}-{max}"),
        before => format!("{before},{min}-{max}"),
    };
    Some(
        Finding::new(
            subject,
            Severity::Warning,
            found,
            format!(
                "{shared} of them may be taken by a connection that leaves this host, and the node \
                 cannot listen there then; choose ports outside, or reserve them"
            ),
        )
        .with_change(set(reserved, wanted), set(reserved, before)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good_host() -> Facts {
        Facts {
            kernel: "6.12.0".into(),
            allowed_cpus: 8,
            caches: vec!["L1d 32K".into()],
            clocksource: "tsc".into(),
            open_files: (Some(1024), Some(1 << 20)),
            sysctls: BTreeMap::from([
                ("net.core.somaxconn", "4096".into()),
                ("net.ipv4.tcp_rmem", "4096 131072 6291456".into()),
                ("net.ipv4.tcp_slow_start_after_idle", "0".into()),
            ]),
            ..Facts::default()
        }
    }

    fn of(facts: &Facts, subject: &str) -> Finding {
        let found = advise(facts).into_iter().find(|finding| finding.subject == subject);
        found.unwrap_or_else(|| panic!("nothing is said of {subject}"))
    }

    #[test]
    fn a_good_host_is_left_alone() {
        for finding in advise(&good_host()) {
            assert_eq!((finding.severity, finding.change), (Severity::Good, None));
        }
    }

    #[test]
    fn whatever_can_be_changed_can_be_changed_back() {
        let facts = Facts {
            allowed_cpus: 2,
            clocksource: "hpet".into(),
            governor: "powersave".into(),
            open_files: (Some(256), Some(4096)),
            sysctls: BTreeMap::from([
                ("net.core.somaxconn", "128".into()),
                ("net.ipv4.tcp_wmem", "4096 16384 212992".into()),
                ("net.ipv4.tcp_slow_start_after_idle", "1".into()),
            ]),
            ..good_host()
        };
        let bad: Vec<Finding> = advise(&facts)
            .into_iter()
            .filter(|finding| finding.severity > Severity::Good)
            .collect();
        assert_eq!(bad.len(), 6, "{bad:#?}");
        for finding in bad {
            assert!(!finding.reason.is_empty(), "{finding:?}");
            assert!(finding.change.is_some() && finding.undo.is_some(), "{finding:?}");
        }
        let window = of(&facts, "window");
        let change = window.change.as_deref();
        assert_eq!(change, Some("sysctl -w net.ipv4.tcp_wmem='4096 16384 8388608'"));
        let undo = window.undo.as_deref();
        assert_eq!(undo, Some("sysctl -w net.ipv4.tcp_wmem='4096 16384 212992'"));
    }

    #[test]
    fn a_quota_below_the_affinity_is_warned_of() {
        let with_quota = |quota| Facts { cgroup_quota: Some(quota), ..good_host() };
        assert_eq!(of(&with_quota(1.5), "cores").severity, Severity::Warning);
        assert_eq!(of(&with_quota(8.0), "cores").severity, Severity::Good);
        let one = Facts { allowed_cpus: 1, ..good_host() };
        assert_eq!(of(&one, "cores").severity, Severity::Note);
    }

    #[test]
    fn ports_that_the_kernel_hands_out_are_no_good_to_listen_on() {
        let with = |reserved: &str| {
            let mut facts = good_host();
            facts.sysctls.insert("net.ipv4.ip_local_port_range", "32768 60999".into());
            facts.sysctls.insert("net.ipv4.ip_local_reserved_ports", reserved.into());
            facts
        };
        let of = |reserved: &str, ports| listen_range(&with(reserved), ports).expect("a finding");
        assert_eq!(of("", 9100..=9105).severity, Severity::Good);
        let bad = of("", 32_760..=32_770);
        assert_eq!(bad.severity, Severity::Warning);
        assert!(bad.reason.starts_with("3 of them"), "{bad:?}");
        let name = "sysctl -w net.ipv4.ip_local_reserved_ports=";
        assert_eq!(bad.change, Some(format!("{name}'32760-32770'")));
        assert_eq!(bad.undo, Some(format!("{name}''")));
        assert_eq!(of("8080,32760-32769,32770", 32_760..=32_770).severity, Severity::Good);
        let partly = of("40000-40001", 40_000..=40_002);
        assert!(partly.reason.starts_with("1 of them"), "{partly:?}");
        assert_eq!(partly.change, Some(format!("{name}'40000-40001,40000-40002'")));
        assert_eq!(partly.undo, Some(format!("{name}'40000-40001'")));
        assert_eq!(of("", 1..=u16::MAX).severity, Severity::Warning);
        assert_eq!(listen_range(&good_host(), 1..=2), None);
    }

    #[test]
    fn this_host_can_be_read() {
        let facts = Facts::read();
        assert!(facts.allowed_cpus >= 1 && !facts.kernel.is_empty());
        assert!(!advise(&facts).is_empty());
    }
}
