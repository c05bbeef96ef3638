//! One test's own ground: an epmd port, a home folder, and what starts there.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::otp::otp_command;
use crate::rust_node::run_rust_node;
use crate::{
    ElixirNode, KrarupNodeBuilder, Namespace, OtpNodeBuilder, Outcome, Process, Release,
    krarup_command, until,
};

/// Ports that labs take theirs from: below the range that the kernel hands out by itself.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
/// How long an epmd may take until it accepts connections.
const EPMD_START: Duration = Duration::from_secs(20);
/// How long a command may run.
const RUN: Duration = Duration::from_secs(60);

/// An epmd port that no other test uses, a home folder, and maybe an epmd.
pub struct Lab {
    epmd_port: u16,
    /// Locked while the lab lives: how other test processes know that the port is taken.
    _lease: File,
    home: TempDir,
    epmd: Option<Process>,
}

impl Lab {
    /// A lab with the epmd of OTP 25 running at its port, which is what a Debian user has.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn new() -> Self {
        let mut lab = Self::without_epmd();
        lab.epmd = Some(lab.start_epmd(Release::R25));
        lab
    }

    /// A lab whose epmd port nobody serves yet.
    ///
    /// # Panics
    ///
    /// When the machine has no free port or no room for a folder.
    pub fn without_epmd() -> Self {
        let (epmd_port, lease) = lease_port();
        let home = TempDir::new().expect("a temporary folder for the lab's home");
        Self { epmd_port, _lease: lease, home, epmd: None }
    }

    /// The epmd port of this lab.
    pub fn epmd_port(&self) -> u16 {
        self.epmd_port
    }

    /// The home folder of what runs here.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Whether this lab started an epmd of its own.
    pub fn has_epmd(&self) -> bool {
        self.epmd.is_some()
    }

    /// Starts the epmd of a release at the lab's port and waits until it accepts.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start_epmd(&self, release: Release) -> Process {
        let process = self.epmd_process(None, release);
        self.wait_epmd();
        process
    }

    /// Starts `krarup epmd` at the lab's port, with more arguments, and waits until it accepts.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start_krarup_epmd<const N: usize>(&self, arguments: [&str; N]) -> Process {
        let mut command = Command::new(krarup_command());
        command.arg("epmd").arg("-port").arg(self.epmd_port.to_string()).args(arguments);
        let process = Process::start("krarup epmd", &mut command);
        self.wait_epmd();
        process
    }

    /// Starts the epmd of a release at the lab's port in a network namespace, and waits until it
    /// listens there.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start_epmd_in(&self, namespace: &Namespace, release: Release) -> Process {
        let process = self.epmd_process(Some(namespace), release);
        let listening = format!(":{:04X} ", self.epmd_port);
        until("an epmd listens in the namespace", EPMD_START, || {
            // A process' view of the network is that of its namespace.
            let sockets = std::fs::read_to_string(format!("/proc/{}/net/tcp", process.pid()));
            sockets.ok()?.contains(&listening).then_some(())
        });
        process
    }

    fn epmd_process(&self, namespace: Option<&Namespace>, release: Release) -> Process {
        let mut command = command_in(namespace, &otp_command("epmd", release));
        command.arg("-port").arg(self.epmd_port.to_string());
        Process::start(&format!("epmd of OTP {release}"), &mut command)
    }

    /// Waits until something accepts connections at the lab's epmd port.
    ///
    /// # Panics
    ///
    /// When nothing does in time.
    pub fn wait_epmd(&self) {
        until("an epmd accepts connections", EPMD_START, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.epmd_port)).ok()
        });
    }

    /// A real Erlang node, to be configured and started. `name` is the part before the `@`.
    pub fn otp(&self, release: Release, name: &str) -> OtpNodeBuilder {
        OtpNodeBuilder::new(release, name, self.epmd_port)
    }

    /// Runs the program `rust-node` of this crate, `env!("CARGO_BIN_EXE_rust-node")`: a Krarup node
    /// with the functions of the suites. `name` is the part before the `@`.
    ///
    /// # Panics
    ///
    /// When it does not get ready.
    pub fn rust_node(&self, program: &str, name: &str) -> Process {
        self.rust_node_with(program, name, &[])
    }

    /// As [`Lab::rust_node`], with more arguments of that program.
    ///
    /// # Panics
    ///
    /// As [`Lab::rust_node`].
    pub fn rust_node_with(&self, program: &str, name: &str, arguments: &[&str]) -> Process {
        let name = format!("{name}@127.0.0.1");
        run_rust_node(Path::new(program), &name, self.epmd_port, arguments)
    }

    /// Starts an Elixir node. `name` is the part before the `@`.
    ///
    /// # Panics
    ///
    /// When Elixir is not installed or the node does not come up.
    pub fn elixir(&self, name: &str) -> ElixirNode {
        ElixirNode::start(name, self.epmd_port)
    }

    /// Runs the `krarup` command to its end, as a user of this lab.
    ///
    /// # Panics
    ///
    /// When it takes longer than a minute.
    pub fn run<const N: usize>(&self, arguments: [&str; N]) -> Outcome {
        let mut command = Command::new(krarup_command());
        command
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("HOME", self.home())
            .env_remove("XDG_CONFIG_HOME")
            .args(arguments);
        Outcome::of(&mut command, RUN)
    }

    /// A Krarup node, to be configured and started. `name` is the part before the `@`.
    pub fn krarup(&self, name: &str) -> KrarupNodeBuilder {
        let builder = KrarupNodeBuilder::new(name, self.epmd_port, self.home.path());
        if self.has_epmd() { builder.args(["--epmd", "external"]) } else { builder }
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

/// Puts a command into a network namespace, when there is one.
pub(crate) fn command_in(namespace: Option<&Namespace>, program: &Path) -> Command {
    match namespace {
        Some(namespace) => namespace.command(program),
        None => Command::new(program),
    }
}

/// Finds a port that no lab of any test process uses, and nobody listens on.
fn lease_port() -> (u16, File) {
    let folder: PathBuf = std::env::temp_dir().join("krarup-test-ports");
    std::fs::create_dir_all(&folder).expect("a folder for the port leases");
    // Each process starts its search elsewhere, so that they rarely meet.
    let width = u32::from(PORTS.end - PORTS.start);
    let start = std::process::id().wrapping_mul(97) % width;
    for step in 0..width {
        let offset = u16::try_from((start + step) % width).expect("the range is of ports");
        let port = PORTS.start + offset;
        let Ok(lease) = File::create(folder.join(port.to_string())) else { continue };
        if lease.try_lock().is_ok() && is_port_free(port) {
            return (port, lease);
        }
    }
    panic!("no free port in {PORTS:?}");
}

/// Whether nobody listens on a port.
///
/// It is asked without listening there: until a program that is being started meanwhile is in place,
/// it has this process' sockets, and a listening one would keep the port from whoever is to have it.
pub fn is_port_free(port: u16) -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("an option that every socket has");
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()).is_ok()
}
