//! Whether this host lets us have io_uring, found out before an executor is built.
//!
//! glommio reports each of these obstacles too, but after it has begun, and without the remedy.

// Asks the kernel directly: one `io_uring_setup` and two `rlimit` calls.
#![allow(unsafe_code)]

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use krarup_tuning::host;

/// glommio refuses to start with less, and each executor locks some 50 KiB.
const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;

/// What one executor locks, generously.
const MEMLOCK_BYTES_PER_SHARD: u64 = 64 * 1024;

/// The oldest kernel that has all that a shard uses.
pub const KERNEL_MIN: (u32, u32) = (5, 8);

/// The switch that administrators turn io_uring off with, since Linux 6.6.
const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";

/// Why io_uring cannot be used here, and what helps. `Display` says both.
#[derive(Debug)]
#[non_exhaustive]
pub enum IoUringUnavailable {
    /// `kernel.io_uring_disabled` forbids it: 1 to all but privileged processes and one group,
    /// 2 to everybody.
    Disabled {
        /// The switch's value.
        value: u8,
    },
    /// The call is refused, though not by the switch: a seccomp filter, as container runtimes
    /// install, or another security module.
    Refused,
    /// The call is answered as if the kernel did not know it, which it should by its version, and a
    /// seccomp filter is in force: some container runtimes answer so in place of the kernel.
    Hidden {
        /// The kernel's release.
        release: String,
    },
    /// The kernel does not know the call.
    NotInKernel,
    /// The process may lock too little memory.
    Memlock {
        /// What it may lock, in bytes.
        limit_bytes: u64,
        /// What is needed, in bytes.
        needed_bytes: u64,
    },
    /// The process or the host is out of descriptors.
    Descriptors(io::Error),
    /// Something else.
    Other(io::Error),
}

/// Finds out whether `shards` executors can be built. Raises the soft limit on locked memory to
/// the hard limit when that helps.
///
/// # Errors
/// See [`IoUringUnavailable`].
pub fn check(shards: usize) -> Result<(), IoUringUnavailable> {
    check_setup()?;
    check_memlock(shards)
}

fn check_setup() -> Result<(), IoUringUnavailable> {
    /// `struct io_uring_params`: 120 bytes, all zero for a plain ring.
    #[repr(C, align(8))]
    struct Parameters([u8; 120]);
    let mut parameters = Parameters([0; 120]);
    let entries: libc::c_uint = 2;
    // SAFETY: the parameters are as large as the kernel's structure and outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, &raw mut parameters) };
    let Ok(fd) = libc::c_int::try_from(result) else {
        return Err(IoUringUnavailable::Other(io::Error::from_raw_os_error(libc::EINVAL)));
    };
    if fd >= 0 {
        // SAFETY: the descriptor is fresh and ours alone; it is closed here.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        return Ok(());
    }
    let error = io::Error::last_os_error();
    Err(match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => match disabled_value() {
            Some(value) if value > 0 => IoUringUnavailable::Disabled { value },
            _ => IoUringUnavailable::Refused,
        },
        Some(libc::ENOSYS) => {
            let release = host::kernel_release();
            match host::kernel_version(&release) {
                Some(version) if version >= KERNEL_MIN && host::has_seccomp_filter() => {
                    IoUringUnavailable::Hidden { release }
                }
                _ => IoUringUnavailable::NotInKernel,
            }
        }
        Some(libc::EMFILE | libc::ENFILE) => IoUringUnavailable::Descriptors(error),
        Some(libc::ENOMEM) => {
            let limit_bytes = memlock().map_or(0, |limit| limit.rlim_cur);
            IoUringUnavailable::Memlock { limit_bytes, needed_bytes: needed_bytes(1) }
        }
        _ => IoUringUnavailable::Other(error),
    })
}

fn check_memlock(shards: usize) -> Result<(), IoUringUnavailable> {
    let needed_bytes = needed_bytes(shards);
    let mut limit = memlock().map_err(IoUringUnavailable::Other)?;
    if limit.rlim_cur < needed_bytes && limit.rlim_max > limit.rlim_cur {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the structure outlives the call. Raising a soft limit up to the hard one is
        // allowed to everybody; should it fail all the same, the comparison below says so.
        let raised = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
        if raised != 0 {
            limit = memlock().map_err(IoUringUnavailable::Other)?;
        }
    }
    if limit.rlim_cur < needed_bytes {
        return Err(IoUringUnavailable::Memlock { limit_bytes: limit.rlim_cur, needed_bytes });
    }
    Ok(())
}

fn needed_bytes(shards: usize) -> u64 {
    let shards = u64::try_from(shards).unwrap_or(u64::MAX);
    MEMLOCK_BYTES_MIN.max(shards.saturating_mul(MEMLOCK_BYTES_PER_SHARD))
}

fn memlock() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit)
}

fn disabled_value() -> Option<u8> {
    fs::read_to_string(SYSCTL).ok()?.trim().parse().ok()
}

/// What helps against a filter.
const ALLOW: &str = "remedy: allow io_uring_setup, io_uring_enter and io_uring_register in the \
                     container's seccomp profile (docker: --security-opt seccomp=PROFILE.json, \
                     podman and Kubernetes alike); a profile is \
                     docs/operations/seccomp-io-uring.json";

impl fmt::Display for IoUringUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("io_uring is not available: ")?;
        match self {
            IoUringUnavailable::Disabled { value: 1 } => f.write_str(
                "kernel.io_uring_disabled is 1, which leaves it to privileged processes and the \
                 group kernel.io_uring_group; remedy: sysctl -w kernel.io_uring_disabled=0, or \
                 put this user into that group",
            ),
            IoUringUnavailable::Disabled { value } => write!(
                f,
                "kernel.io_uring_disabled is {value}; remedy: sysctl -w kernel.io_uring_disabled=0"
            ),
            IoUringUnavailable::Refused => write!(
                f,
                "io_uring_setup is refused (EPERM) and kernel.io_uring_disabled is not the cause: \
                 a seccomp filter or a security module forbids it; {ALLOW}"
            ),
            IoUringUnavailable::Hidden { release } => write!(
                f,
                "io_uring_setup is unknown (ENOSYS), but Linux {release} should know it, and a \
                 seccomp filter is in force: it answers in place of the kernel, or the kernel is \
                 built without CONFIG_IO_URING; {ALLOW}"
            ),
            IoUringUnavailable::NotInKernel => f.write_str(
                "this kernel does not know io_uring_setup (ENOSYS); remedy: Linux 5.8 or newer \
                 with CONFIG_IO_URING, outside of sandboxes that emulate the kernel",
            ),
            IoUringUnavailable::Memlock { limit_bytes, needed_bytes } => write!(
                f,
                "the process may lock {limit_bytes} bytes of memory and needs {needed_bytes} \
                 (RLIMIT_MEMLOCK); remedy: ulimit -l {} in the shell, LimitMEMLOCK={needed_bytes} \
                 in a systemd unit, --ulimit memlock={needed_bytes} for a container",
                needed_bytes.div_ceil(1024)
            ),
            IoUringUnavailable::Descriptors(error) => {
                write!(f, "no descriptor is left ({error}); remedy: raise ulimit -n")
            }
            IoUringUnavailable::Other(error) => write!(f, "io_uring_setup failed: {error}"),
        }
    }
}

impl std::error::Error for IoUringUnavailable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            IoUringUnavailable::Descriptors(error) | IoUringUnavailable::Other(error) => {
                Some(error)
            }
            _ => None,
        }
    }
}
