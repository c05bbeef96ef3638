//! Krarup nodes as a user starts them: the `krarup` command.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::lab::command_in;
use crate::{Namespace, PeerIdentity, Process, RawPeer};

/// How long a node may take until it is ready, on a busy machine and built without optimisation.
const START: Duration = Duration::from_secs(30);
/// How long a node may take to stop cleanly.
const STOP: Duration = Duration::from_secs(20);

/// The `krarup` binary: the one that `KRARUP_BIN` names, or the workspace's own, which is built
/// once per test process when it is out of date.
///
/// # Panics
///
/// When it cannot be built.
pub fn krarup_command() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY
        .get_or_init(|| {
            if let Some(binary) = std::env::var_os("KRARUP_BIN") {
                return PathBuf::from(binary);
            }
            let test = std::env::current_exe().expect("a test knows its own path");
            // target/debug/deps/hello_otp-0123 lies beside target/debug/krarup.
            let profile = test.ancestors().nth(2).expect("tests lie in target/PROFILE/deps");
            let target = profile.parent().expect("tests lie in target/PROFILE/deps");
            let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
            build.args(["build", "--quiet", "-p", "krarup", "--bin", "krarup", "--target-dir"]);
            build.arg(target);
            if profile.ends_with("release") {
                build.arg("--release");
            }
            build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
            let status = build.status().expect("cargo runs");
            assert!(status.success(), "{build:?} failed");
            profile.join("krarup")
        })
        .clone()
}

/// What a node says in its one line on standard output.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ready {
    /// The full node name.
    pub name: String,
    /// The port it listens on.
    pub port: u16,
    /// How many shards it runs.
    pub shards: usize,
    /// Where it is registered, `None` for `epmd=none`.
    pub epmd: Option<String>,
    /// Its process id.
    pub pid: u32,
}

impl Ready {
    /// Parses `ready name=N port=P shards=K epmd=HOST:PORT pid=PID`; nothing for any other line.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("ready ")?.split(' ');
        let mut field = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        let ready = Self {
            name: field("name")?.to_owned(),
            port: field("port")?.parse().ok()?,
            shards: field("shards")?.parse().ok()?,
            epmd: Some(field("epmd")?).filter(|epmd| *epmd != "none").map(str::to_owned),
            pid: field("pid")?.parse().ok()?,
        };
        words.next().is_none().then_some(ready)
    }
}

/// Describes a `krarup node` that is about to start.
pub struct KrarupNodeBuilder {
    name: String,
    host: String,
    short: bool,
    cookie: String,
    epmd_port: u16,
    home: PathBuf,
    folder: Option<PathBuf>,
    arguments: Vec<String>,
    namespace: Option<Namespace>,
}

impl KrarupNodeBuilder {
    pub(crate) fn new(name: &str, epmd_port: u16, home: &Path) -> Self {
        Self {
            name: name.to_owned(),
            host: "127.0.0.1".to_owned(),
            short: false,
            cookie: "c".to_owned(),
            epmd_port,
            home: home.to_owned(),
            folder: None,
            arguments: Vec::new(),
            namespace: None,
        }
    }

    /// The cookie; `c` unless said.
    #[must_use]
    pub fn cookie(mut self, cookie: &str) -> Self {
        cookie.clone_into(&mut self.cookie);
        self
    }

    /// Starts with `--hidden`.
    #[must_use]
    pub fn hidden(self, hidden: bool) -> Self {
        if hidden { self.args(["--hidden"]) } else { self }
    }

    /// Starts with `--sname name@localhost` instead of `--name name@127.0.0.1`.
    #[must_use]
    pub fn short_name(mut self) -> Self {
        self.short = true;
        "localhost".clone_into(&mut self.host);
        self
    }

    /// The host part of the name.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// The folder it runs in; that of the test unless said.
    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Runs in a network namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }

    /// More arguments for `krarup node`.
    #[must_use]
    pub fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.arguments.extend(arguments.map(str::to_owned));
        self
    }

    /// Starts the node and waits for its line on standard output.
    ///
    /// # Panics
    ///
    /// When the node does not get ready.
    pub fn start(self) -> KrarupNode {
        let full_name = format!("{}@{}", self.name, self.host);
        let mut command = command_in(self.namespace.as_ref(), &krarup_command());
        command
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("HOME", &self.home)
            .env_remove("XDG_CONFIG_HOME")
            .args(["node", if self.short { "--sname" } else { "--name" }, &full_name])
            .args(["--cookie", &self.cookie])
            .args(&self.arguments);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let process = Process::start(&format!("krarup node {full_name}"), &mut command);
        let ready = process.line_after(0, "its ready line", START, Ready::parse);
        assert_eq!(ready.name, full_name, "the node came up under another name");
        KrarupNode { process, ready }
    }
}

/// A running `krarup node`, which ends with this value.
pub struct KrarupNode {
    process: Process,
    ready: Ready,
}

impl KrarupNode {
    /// The full node name.
    pub fn name(&self) -> &str {
        &self.ready.name
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.ready.port
    }

    /// What it said when it was ready.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The pid of its echo service, as an Erlang expression.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub fn echo_pid(&self) -> String {
        let identity = PeerIdentity::plain("raw@127.0.0.1");
        let mut peer = RawPeer::connect(self.port(), &identity).expect("the handshake succeeds");
        let pid = peer.ask_echo(&identity).expect("echo answers");
        let bytes: Vec<String> = pid.iter().map(u8::to_string).collect();
        format!("binary_to_term(<<131, {}>>)", bytes.join(","))
    }

    /// The process, for its log, its memory, its descriptors and signals.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits for the log to say, from line number `start` on, that `peer` is down, and returns the
    /// reason it gives.
    ///
    /// # Panics
    ///
    /// When it does not in time.
    pub fn wait_nodedown(&self, start: usize, peer: &str, within: Duration) -> String {
        // Names are printed as Erlang prints atoms: most need quotes.
        let node = format!("node='{peer}' ");
        self.process.line_after(start, &format!("nodedown of {peer}"), within, |line| {
            let (_, fields) = line.split_once("nodedown ")?;
            let (_, reason) = fields.strip_prefix(&node)?.split_once("reason=")?;
            Some(reason.to_owned())
        })
    }

    /// Stops the node as an operator does, with SIGTERM.
    ///
    /// # Panics
    ///
    /// When it does not end with exit code 0 in time.
    pub fn stop(mut self) {
        self.process.signal("TERM");
        let status = self.process.wait_exit(STOP);
        assert!(status.success(), "{} ended with {status} after SIGTERM", self.ready.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_read_and_nothing_else() {
        let line = "ready name=a@127.0.0.1 port=4000 shards=2 epmd=127.0.0.1:4369 pid=7";
        let ready = Ready::parse(line).expect("this is a ready line");
        assert_eq!((ready.name.as_str(), ready.port, ready.shards), ("a@127.0.0.1", 4000, 2));
        assert_eq!((ready.epmd.as_deref(), ready.pid), (Some("127.0.0.1:4369"), 7));
        let without = Ready::parse("ready name=a@h port=1 shards=1 epmd=none pid=2");
        assert_eq!(without.and_then(|ready| ready.epmd), None);
        assert_eq!(Ready::parse("ready name=a@h port=1 shards=1 epmd=none pid=2 more=1"), None);
        assert_eq!(Ready::parse("ready port=1 name=a@h"), None);
    }
}
