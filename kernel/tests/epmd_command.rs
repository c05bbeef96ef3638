//! `krarup epmd` and `krarup names` as processes: what scripts and `erl` rely on.

use krarup::epmd::client;
use krarup_transport::epmd::message::NodeEntry;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

/// A daemon in the foreground, ended with the test.
struct Daemon {
    child: Child,
    address: SocketAddr,
}

impl Daemon {
    /// Starts one on a free port, with more arguments, and with at most this many descriptors.
    fn start(arguments: &[&str], descriptors: u32) -> Self {
        let address = free();
        // The daemon raises its soft limit to the hard one, so both are lowered.
        let script = format!("ulimit -n {descriptors}; exec \"$0\" epmd \"$@\"");
        let child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_krarup")])
            .args(arguments)
            .env("ERL_EPMD_PORT", address.port().to_string())
            .spawn()
            .unwrap();
        eventually(|| client::names(address, LIMIT).is_ok());
        Self { child, address }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

/// A port nobody listens on and no outgoing connection takes: those get ports above 32767.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 6000).unwrap() * 2;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn eventually(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "never came to hold");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn krarup(arguments: &[&str], port: u16) -> Output {
    Command::new(env!("CARGO_BIN_EXE_krarup"))
        .args(arguments)
        .env("ERL_EPMD_PORT", port.to_string())
        .env_remove("ERL_EPMD_ADDRESS")
        .env_remove("ERL_EPMD_RELAXED_COMMAND_CHECK")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_daemon_serves_until_it_is_killed() {
    let address = free();
    let port = address.port();
    let absent = krarup(&["epmd", "-names"], port);
    assert_eq!(absent.status.code(), Some(1));
    assert!(text(&absent.stderr).contains("Cannot connect to local epmd"));

    let started = krarup(&["epmd", "-daemon", "-address", "127.0.0.1"], port);
    assert!(started.status.success(), "{}", text(&started.stderr));
    // Once the command has returned the daemon serves: no waiting here.
    let node = client::register(address, &NodeEntry::new("shop", 4711), LIMIT).unwrap();
    let again = krarup(&["epmd", "-daemon", "-address", "127.0.0.1"], port);
    assert!(again.status.success(), "a second one is content with the first");

    let list = format!("epmd: up and running on port {port} with data:\nname shop at port 4711\n");
    assert_eq!(text(&krarup(&["epmd", "-names"], port).stdout), list);
    assert_eq!(text(&krarup(&["names", "localhost"], port).stdout), list);
    let json = text(&krarup(&["names", "--json"], port).stdout);
    assert!(json.contains(r#""nodes":[{"name":"shop","port":4711}]"#), "{json}");

    let refused = krarup(&["epmd", "-kill"], port);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stdout).starts_with("Killing not allowed"));
    let refused = krarup(&["epmd", "-stop", "shop"], port);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("-relaxed_command_check"));
    drop(node);
    eventually(|| client::names(address, LIMIT).is_ok_and(|list| list.nodes.is_empty()));
    let killed = krarup(&["epmd", "-kill"], port);
    assert_eq!((killed.status.code(), &*text(&killed.stdout)), (Some(0), "Killed\n"));
    eventually(|| TcpStream::connect(address).is_err());
}

#[test]
fn a_port_that_is_not_an_epmds_is_an_error() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // Ends every connection, as no epmd does with a request for names.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let failed = krarup(&["epmd", "-daemon", "-address", "127.0.0.1"], port);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("cannot listen"), "{}", text(&failed.stderr));
}

#[test]
fn it_serves_on_when_descriptors_run_out() {
    let daemon = Daemon::start(&["-address", "127.0.0.1"], 64);
    let address = daemon.address;
    let _node = client::register(address, &NodeEntry::new("shop", 4711), LIMIT).unwrap();
    let idle: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(address).unwrap()).collect();
    for _ in 0..50 {
        let found = client::lookup(address, "shop", LIMIT).unwrap().unwrap();
        assert_eq!(found.port, 4711);
    }
    drop(idle);
    // Full of nodes, it refuses more of them and still knows those it has.
    let mut nodes = Vec::new();
    for index in 0..64 {
        match client::register(address, &NodeEntry::new(&format!("n{index}"), 1), LIMIT) {
            Ok(node) => nodes.push(node),
            Err(_) => break,
        }
    }
    assert!((16..64).contains(&nodes.len()), "{} nodes", nodes.len());
    assert!(client::register(address, &NodeEntry::new("late", 1), LIMIT).is_err());
    nodes.truncate(8);
    eventually(|| client::lookup(address, "shop", LIMIT).is_ok_and(|found| found.is_some()));
}

#[test]
fn relaxed_it_stops_nodes_and_itself() {
    let daemon = Daemon::start(&["-address", "127.0.0.1", "-relaxed_command_check"], 256);
    let port = daemon.address.port();
    let _node = client::register(daemon.address, &NodeEntry::new("shop", 1), LIMIT).unwrap();
    let unknown = krarup(&["epmd", "-stop", "ship"], port);
    assert_eq!((unknown.status.code(), &*text(&unknown.stdout)), (Some(1), "NOEXIST\n"));
    let stopped = krarup(&["epmd", "-stop", "shop"], port);
    assert_eq!((stopped.status.code(), &*text(&stopped.stdout)), (Some(0), "STOPPED\n"));
    let _node = client::register(daemon.address, &NodeEntry::new("shop", 1), LIMIT).unwrap();
    assert_eq!(text(&krarup(&["epmd", "-kill"], port).stdout), "Killed\n");
}

#[test]
fn wrong_usage_is_2_and_names_the_remedy() {
    let wrong = krarup(&["epmd", "-naems"], 4369);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("did you mean \"-names\"?"));
    assert_eq!(krarup(&["nmaes"], 4369).status.code(), Some(2));
    assert_eq!(krarup(&["names", "--prot"], 4369).status.code(), Some(2));
    assert_eq!(krarup(&[], 4369).status.code(), Some(2));
    for help in [&["--help"][..], &["epmd", "-help"], &["names", "--help"], &["help", "epmd"]] {
        let shown = krarup(help, 4369);
        assert_eq!(shown.status.code(), Some(0), "{help:?}");
        assert!(text(&shown.stdout).contains("Usage: krarup"), "{help:?}");
    }
    let nowhere = krarup(&["names", "host.invalid"], 4369);
    assert_eq!(nowhere.status.code(), Some(1));
    // Accepted by the kernel, and never answered.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let late = krarup(&["names", "--timeout", "1"], port);
    assert_eq!(late.status.code(), Some(1));
    assert!(text(&late.stderr).contains("did not answer within"), "{}", text(&late.stderr));
}

#[test]
fn a_link_called_epmd_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("epmd");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_krarup"), &link).unwrap();
    let shown = Command::new(&link).arg("-help").output().unwrap();
    assert!(text(&shown.stdout).contains("-relaxed_command_check"));
    let address = free();
    let started = Command::new(&link)
        .args(["-daemon", "-address", "127.0.0.1", "-port", &address.port().to_string()])
        .output()
        .unwrap();
    assert!(started.status.success(), "{}", text(&started.stderr));
    assert_eq!(client::kill(address, LIMIT).unwrap(), client::Killed::Yes);
}
