//! What this host grants the process: cores, the cgroup's share of them, locked memory, io_uring.
//!
//! Everything is read when asked and nothing is changed.

use rustix::process::{Resource, getrlimit};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// CPUs this thread may run on, by affinity, in ascending order. Empty when the kernel does not
/// say.
pub fn allowed_cpus() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect(),
        Err(_) => Vec::new(),
    }
}

/// How many shards this process can keep busy: the CPUs of its affinity, cut to the cgroup quota.
///
/// A quota is rounded down, but not below one: a spinning shard that has only part of a core is
/// throttled for tens of milliseconds at a time, which costs more than the part is worth.
pub fn usable_cores() -> usize {
    let allowed = match allowed_cpus().len() {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    cores_within(allowed, cgroup_quota())
}

/// CPUs' worth of time the cgroup grants a second (1.5 = one and a half cores), the smallest of
/// this process's group and its parents. `None` without a limit.
pub fn cgroup_quota() -> Option<f64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    quota_below(Path::new("/sys/fs/cgroup"), &groups)
}

/// Bytes this process may lock in memory (`RLIMIT_MEMLOCK`, soft limit); `None` is unlimited.
/// io_uring rings count against it on older kernels.
pub fn memlock_bytes_max() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

/// Files and sockets this process may have open (`RLIMIT_NOFILE`, soft limit); `None` is unlimited.
pub fn open_files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Raises the soft limit of open files to the hard one, which needs no privilege. Gives the
/// soft limit after it.
pub fn raise_open_files_max() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Refused by a sandbox at most: then the limit stays, and is reported below as it is.
        let _ = rustix::process::setrlimit(Resource::Nofile, limit);
    }
    open_files_max()
}

/// The running kernel's release, such as `6.12.0`.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The first two numbers of a kernel's release, such as `6.12.0-rc1`.
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether a seccomp filter judges the system calls of this process.
pub fn has_seccomp_filter() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    seccomp_mode(&status) == Some(2)
}

fn seccomp_mode(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Seccomp:")?.trim().parse().ok())
}

/// What `kernel.io_uring_disabled` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoUring {
    /// 0, or a kernel without the setting: everybody may.
    Allowed,
    /// 1: only members of `kernel.io_uring_group` and holders of CAP_SYS_ADMIN.
    Restricted,
    /// 2: nobody.
    Disabled,
}

/// Reads `kernel.io_uring_disabled`. A seccomp filter may forbid io_uring all the same.
pub fn io_uring() -> IoUring {
    match fs::read_to_string("/proc/sys/kernel/io_uring_disabled") {
        Ok(text) => io_uring_setting(&text),
        Err(_) => IoUring::Allowed,
    }
}

/// This host's name as the kernel has it, with or without a domain.
///
/// # Errors
///
/// When it is empty or no UTF-8.
pub fn name() -> io::Result<String> {
    let uname = rustix::system::uname();
    match uname.nodename().to_str() {
        Ok(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "this host has no usable name")),
    }
}

/// This host's name with its domain, as long node names have it: the kernel's name if it has a
/// dot, else the alias of `/etc/hosts` that continues it, else with the domain of
/// `/etc/resolv.conf`.
///
/// # Errors
///
/// As [`name`], or when no domain is known.
pub fn full_name() -> io::Result<String> {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    full_name_from(&name()?, &text("/etc/hosts"), &text("/etc/resolv.conf")).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "this host's domain is not known; state the host")
    })
}

/// Whether every address of `host` is this machine's loopback, so that a node of that name can
/// only be reached from here. Asks the resolver unless `host` is an address or `localhost`.
pub fn is_loopback(host: &str) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    match (host, 0).to_socket_addrs() {
        Ok(addresses) => {
            let addresses: Vec<SocketAddr> = addresses.collect();
            !addresses.is_empty()
                && addresses.iter().all(|address| address.ip().to_canonical().is_loopback())
        }
        Err(_) => false,
    }
}

fn full_name_from(name: &str, hosts: &str, resolver: &str) -> Option<String> {
    if name.contains('.') {
        return Some(name.to_owned());
    }
    let prefix = format!("{name}.");
    let alias = hosts
        .lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(|line| line.split_whitespace().skip(1))
        .find(|alias| alias.starts_with(&prefix) && alias.len() > prefix.len());
    if let Some(alias) = alias {
        return Some(alias.to_owned());
    }
    resolver
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            matches!(words.next(), Some("domain" | "search")).then(|| words.next()).flatten()
        })
        .map(|domain| domain.trim_matches('.'))
        .find(|domain| !domain.is_empty())
        .map(|domain| format!("{name}.{domain}"))
}

fn cores_within(allowed: usize, quota: Option<f64>) -> usize {
    let granted = quota.map_or(allowed, |quota| quota.floor().clamp(1.0, 65_536.0) as usize);
    granted.min(allowed).max(1)
}

/// The smallest quota on the path from this process's group up to `root`. `groups` is the text of
/// `/proc/self/cgroup`: `0::/path` for version 2, `N:cpu,cpuacct:/path` for version 1.
fn quota_below(root: &Path, groups: &str) -> Option<f64> {
    let mut quotas = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (base, read): (PathBuf, fn(&Path) -> Option<f64>) = if controllers.is_empty() {
            (root.to_owned(), quota_v2)
        } else if controllers.split(',').any(|controller| controller == "cpu") {
            (root.join("cpu"), quota_v1)
        } else {
            continue;
        };
        let group = base.join(path.trim_start_matches('/'));
        // In a container the path may lie outside what is mounted; the mount's own root then has
        // the container's limits.
        let start = if group.is_dir() { group } else { base.clone() };
        quotas.extend(
            start.ancestors().take_while(|directory| directory.starts_with(&base)).filter_map(read),
        );
    }
    quotas.into_iter().reduce(f64::min)
}

fn quota_v2(directory: &Path) -> Option<f64> {
    let text = fs::read_to_string(directory.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    ratio(quota, period)
}

fn quota_v1(directory: &Path) -> Option<f64> {
    let quota = fs::read_to_string(directory.join("cpu.cfs_quota_us")).ok()?;
    let period = fs::read_to_string(directory.join("cpu.cfs_period_us")).ok()?;
    ratio(quota.trim(), period.trim())
}

/// `max` and -1 mean no limit and are no ratio.
fn ratio(quota: &str, period: &str) -> Option<f64> {
    let quota: u64 = quota.parse().ok()?;
    let period: u64 = period.parse().ok().filter(|&period| period > 0)?;
    Some(quota as f64 / period as f64)
}

fn io_uring_setting(text: &str) -> IoUring {
    match text.trim() {
        "1" => IoUring::Restricted,
        "2" => IoUring::Disabled,
        _ => IoUring::Allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_a_version_and_a_status_a_mode() {
        for (release, version) in [
            ("6.12.0", Some((6, 12))),
            ("5.8-rc1", Some((5, 8))),
            ("6.18.44-fc-v669", Some((6, 18))),
            ("4.18.0-553.el8.x86_64", Some((4, 18))),
            ("6", None),
            ("", None),
            ("next", None),
        ] {
            assert_eq!(kernel_version(release), version, "{release}");
        }
        assert_eq!(seccomp_mode("Name:\ta\nSeccomp:\t2\nSeccomp_filters:\t1\n"), Some(2));
        assert_eq!(seccomp_mode("Name:\ta\nSeccomp:\t0\n"), Some(0));
        assert_eq!(seccomp_mode(""), None);
    }

    #[test]
    fn quota_is_rounded_down_but_not_to_nothing() {
        assert_eq!(cores_within(4, None), 4);
        assert_eq!(cores_within(4, Some(2.0)), 2);
        assert_eq!(cores_within(4, Some(2.9)), 2);
        assert_eq!(cores_within(4, Some(0.2)), 1);
        assert_eq!(cores_within(2, Some(64.0)), 2);
        assert_eq!(cores_within(0, None), 1);
    }

    #[test]
    fn the_smallest_quota_of_the_path_counts() {
        let root = std::env::temp_dir().join(format!("krarup-cgroup-{}", std::process::id()));
        let group = root.join("pod/container");
        fs::create_dir_all(&group).unwrap();
        fs::write(root.join("pod/cpu.max"), "150000 100000\n").unwrap();
        fs::write(group.join("cpu.max"), "max 100000\n").unwrap();
        assert_eq!(quota_below(&root, "0::/pod/container\n"), Some(1.5));
        fs::write(group.join("cpu.max"), "50000 100000\n").unwrap();
        assert_eq!(quota_below(&root, "0::/pod/container\n"), Some(0.5));
        // A path that is not mounted falls back to the root, which has no limit here.
        assert_eq!(quota_below(&root, "0::/elsewhere\n"), None);

        let old = root.join("cpu/job");
        fs::create_dir_all(&old).unwrap();
        fs::write(old.join("cpu.cfs_quota_us"), "300000\n").unwrap();
        fs::write(old.join("cpu.cfs_period_us"), "100000\n").unwrap();
        assert_eq!(quota_below(&root, "4:cpu,cpuacct:/job\n3:memory:/job\n"), Some(3.0));
        fs::write(old.join("cpu.cfs_quota_us"), "-1\n").unwrap();
        assert_eq!(quota_below(&root, "4:cpu,cpuacct:/job\n"), None);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn nonsense_is_no_limit() {
        assert_eq!(ratio("100", "0"), None);
        assert_eq!(ratio("max", "100000"), None);
        assert_eq!(quota_below(Path::new("/nonexistent"), "garbage\n::\n"), None);
    }

    #[test]
    fn this_host_answers() {
        let cores = usable_cores();
        assert!(cores >= 1 && cores <= allowed_cpus().len().max(1));
        assert!(open_files_max().is_none_or(|limit| limit > 0));
        assert_eq!(io_uring_setting("2\n"), IoUring::Disabled);
        assert_eq!(io_uring_setting("1\n"), IoUring::Restricted);
        assert_eq!(io_uring_setting("0\n"), IoUring::Allowed);
    }

    #[test]
    fn the_domain_is_found_where_it_stands() {
        let full = full_name_from;
        assert_eq!(full("h.example.org", "", "").as_deref(), Some("h.example.org"));
        let hosts = "127.0.0.1 localhost\n10.0.0.1 h h.example.org # h.comment\n";
        assert_eq!(full("h", hosts, "").as_deref(), Some("h.example.org"));
        let resolver = "# x\nsearch . \nsearch lan.example.org other\n";
        assert_eq!(full("h", "", resolver).as_deref(), Some("h.lan.example.org"));
        assert_eq!(full("h", "127.0.0.1 hh.example.org", "nameserver 1.1.1.1"), None);
        assert!(!name().unwrap().is_empty());
    }

    #[test]
    fn loopback_hosts() {
        for host in ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST", "::ffff:127.0.0.1"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["10.0.0.1", "0.0.0.0", "2001:db8::1", "host.invalid", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
