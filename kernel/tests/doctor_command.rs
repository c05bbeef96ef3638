//! `krarup doctor` as its users meet it, also where a node cannot run.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use serde_json::Value;

fn krarup(arguments: &[&str], home: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_krarup"));
    command.args(arguments).env("HOME", home).env_remove("XDG_CONFIG_HOME");
    command
}

/// What is said of a subject.
fn finding(output: &Output, subject: &str) -> Value {
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
    let findings = all["findings"].as_array().expect("findings");
    let found = findings.iter().find(|finding| finding["subject"] == subject);
    found.unwrap_or_else(|| panic!("nothing is said of {subject}: {all}")).clone()
}

#[test]
fn a_host_that_can_run_a_node_is_told_so() {
    let home = tempfile::tempdir().expect("a folder");
    let output = krarup(&["doctor", "--json"], home.path()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(finding(&output, "io_uring")["severity"], "ok");
    assert_eq!(finding(&output, "cookie")["severity"], "ok");
    let table = krarup(&["doctor"], home.path()).output().expect("it runs");
    let table = String::from_utf8(table.stdout).expect("UTF-8");
    assert!(table.lines().any(|line| line.starts_with("ok      io_uring")), "{table}");
    assert!(!table.contains('\x1b'), "no colours without a terminal");
    // It looks, and leaves everything as it was.
    assert_eq!(std::fs::read_dir(home.path()).expect("the folder").count(), 0);
}

#[test]
fn a_listen_range_among_the_ports_that_the_kernel_hands_out_is_warned_of() {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let range = range.expect("the kernel's range");
    let first: u16 = range.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a port");
    let home = tempfile::tempdir().expect("a folder");
    let doctor = |min: u16, max: u16| {
        let (min, max) = (min.to_string(), max.to_string());
        let flags = ["doctor", "--json", "--listen-min", &min, "--listen-max", &max];
        krarup(&flags, home.path()).output().expect("it runs")
    };
    assert_eq!(finding(&doctor(first - 10, first - 1), "ports")["severity"], "ok");
    let shared = finding(&doctor(first - 1, first + 3), "ports");
    assert_eq!(shared["severity"], "warning");
    assert!(shared["change"].as_str().is_some_and(|text| text.contains("reserved_ports")));
    assert_eq!(doctor(9105, 9100).status.code(), Some(2), "no range");
}

#[test]
fn a_cookie_file_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join(".erlang.cookie");
    std::fs::write(&file, "COOKIE").expect("a file");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("a mode");
    let output = krarup(&["doctor", "--json"], home.path()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "a node can run with another cookie");
    let cookie = finding(&output, "cookie");
    assert_eq!(cookie["severity"], "warning");
    assert!(cookie["change"].as_str().is_some_and(|text| text.contains("chmod 400")), "{cookie}");
}

#[test]
fn a_seccomp_filter_is_named_with_the_profile_that_helps() {
    let home = tempfile::tempdir().expect("a folder");
    // Some runtimes answer with the one, some with the other.
    for errno in [libc::EPERM, libc::ENOSYS] {
        let output = sandbox::without_io_uring(krarup(&["doctor", "--json"], home.path()), errno);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let io_uring = finding(&output, "io_uring");
        assert_eq!(io_uring["severity"], "fatal");
        assert!(io_uring["found"].as_str().is_some_and(|text| text.contains("seccomp filter")));
        let change = io_uring["change"].as_str().unwrap_or_else(|| panic!("{io_uring}"));
        assert!(change.contains("docs/operations/seccomp-io-uring.json"), "{change}");
    }
    let profile = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations/seccomp-io-uring.json");
    let profile: Value =
        serde_json::from_str(&std::fs::read_to_string(profile).expect("the profile"))
            .expect("JSON");
    let allowed = |call: &str| {
        profile["syscalls"].as_array().expect("calls").iter().any(|entry| {
            let names = entry["names"].as_array().expect("names");
            entry["action"] == "SCMP_ACT_ALLOW" && names.iter().any(|name| name == call)
        })
    };
    for call in ["io_uring_setup", "io_uring_enter", "io_uring_register", "eventfd2", "socket"] {
        assert!(allowed(call), "the profile lacks {call}");
    }
}

#[test]
fn a_node_that_cannot_start_for_it_points_to_the_doctor() {
    let home = tempfile::tempdir().expect("a folder");
    let node = ["node", "--name", "a@127.0.0.1", "--cookie", "c", "--epmd", "none"];
    for errno in [libc::EPERM, libc::ENOSYS] {
        let output = sandbox::without_io_uring(krarup(&node, home.path()), errno);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(told.contains("seccomp") && told.contains("krarup doctor"), "{told}");
    }
}

mod sandbox {
    // Filters are set by system calls that have no safe form, between fork and exec.
    #![allow(unsafe_code)]

    use super::{Command, CommandExt, Output};

    /// Runs a command that is refused `io_uring_setup` with this error, as container runtimes do.
    pub(super) fn without_io_uring(mut command: Command, errno: i32) -> Output {
        // SAFETY: only system calls are made there, which are safe after a fork.
        unsafe { command.pre_exec(move || refuse_io_uring(errno)) };
        command.output().expect("it runs")
    }

    fn refuse_io_uring(errno: i32) -> std::io::Result<()> {
        let number = libc::SYS_io_uring_setup as u32;
        let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
        let mut program = [
            // The number of the call stands at the start of `struct seccomp_data`.
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
            step(
                libc::BPF_RET | libc::BPF_K,
                0,
                0,
                libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(),
            ),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
        let mode = libc::SECCOMP_MODE_FILTER;
        // SAFETY: the program outlives the calls, and its length is that of the array.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) == 0
        };
        if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }
}
