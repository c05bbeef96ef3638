//! The other processes of a demo run: the bare sockets' peer, a Krarup node, a BEAM node. All end
//! with [`Peers`], and with this process.

use super::super::Failure;
use krarup_transport::handshake::Cookie;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a process may take until it says that it is ready. A BEAM on a busy machine is slow.
const START_MAX: Duration = Duration::from_secs(20);

/// Which processors this process measures on, and which its peers get.
pub(super) struct Seats {
    own: Vec<usize>,
    peers: Vec<usize>,
}

impl Seats {
    /// The first processor for this process, the others for the peers; with one they share it.
    pub(super) fn take() -> Self {
        let mut cpus = krarup_tuning::host::allowed_cpus();
        match cpus.len() {
            0 | 1 => Self { own: cpus.clone(), peers: cpus },
            _ => {
                let peers = cpus.split_off(1);
                Self { own: cpus, peers }
            }
        }
    }

    /// Whether this process and its peers have the same processor, so that whoever spins keeps the
    /// other from running.
    pub(super) fn are_shared(&self) -> bool {
        self.own == self.peers
    }

    /// Moves this thread, and those it starts from now on, to its own processor.
    pub(super) fn sit_here(&self) {
        sit(&self.own);
    }

    fn sit_there(&self) {
        sit(&self.peers);
    }
}

fn sit(cpus: &[usize]) {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    if !cpus.is_empty() {
        // Refused by a sandbox at most: then the numbers are noisier, and nothing else.
        let _ = sched_setaffinity(None, &set);
    }
}

/// The running peers and the directory with their cookie.
pub(super) struct Peers<'s> {
    epmd_port: u16,
    cookie: Cookie,
    directory: PathBuf,
    seats: &'s Seats,
    children: Vec<Child>,
}

impl<'s> Peers<'s> {
    /// Makes a cookie for this run, in a directory only this user can read.
    pub(super) fn new(epmd_port: u16, seats: &'s Seats) -> io::Result<Self> {
        let letters = random_letters()?;
        let directory = std::env::temp_dir().join(format!("krarup-demo-{}", &letters[..8]));
        DirBuilder::new().mode(0o700).create(&directory)?;
        let cookie = Cookie::new(&letters).map_err(io::Error::other)?;
        let peers = Self { epmd_port, cookie, directory, seats, children: Vec::new() };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o400);
        options.open(peers.directory.join(".erlang.cookie"))?.write_all(letters.as_bytes())?;
        Ok(peers)
    }

    /// The secret of this run's nodes.
    pub(super) fn cookie(&self) -> &Cookie {
        &self.cookie
    }

    /// Starts the other side of the bare sockets, and gives its address.
    pub(super) fn start_floor(&mut self) -> Result<SocketAddr, Failure> {
        let mut command = own_command()?;
        command.arg("demo-floor");
        let line = self.start(command, "the peer of the bare sockets")?;
        line.parse().map_err(Failure::of)
    }

    /// Starts a Krarup node, and gives its name.
    pub(super) fn start_krarup(&mut self) -> Result<String, Failure> {
        let name = "krarup-demo-b@127.0.0.1";
        let mut command = own_command()?;
        command
            .args(["node", "--name", name, "--shards", "1", "--epmd", "external"])
            .arg("--end-with-stdin")
            .args(["--epmd-port", &self.epmd_port.to_string()])
            // The profile that does not spin.
            .args(["--profile", if self.seats.are_shared() { "wan" } else { "balanced" }])
            .arg("--cookie-file")
            .arg(self.directory.join(".erlang.cookie"))
            .env("KRARUP_LOG", "error")
            .env_remove("ERL_EPMD_PORT")
            .env_remove("ERL_DIST_PORT");
        let line = self.start(command, "the Krarup node")?;
        if line.starts_with("ready ") {
            return Ok(name.to_owned());
        }
        Err(Failure::Failed(format!("the Krarup node said {line:?} instead of ready")))
    }

    /// Starts a BEAM node with the same services, and gives its name; or the reason there is none,
    /// which is no failure of the demo.
    pub(super) fn start_beam(&mut self) -> Result<String, String> {
        let name = "krarup-demo-beam@127.0.0.1";
        let source = self.directory.join("krarup_demo.erl");
        fs::write(&source, BEAM_SERVICES).map_err(|error| error.to_string())?;
        // Compiled, because the shell's interpreter would be measured otherwise.
        let run = format!(
            "{{ok, krarup_demo, Code}} = compile:file({:?}, [binary]), \
             {{module, krarup_demo}} = code:load_binary(krarup_demo, \"krarup_demo.erl\", Code), \
             krarup_demo:start(), io:format(\"ready~n\").",
            source.display().to_string()
        );
        let mut command = Command::new("erl");
        command
            .args(["-name", name, "-noshell", "-start_epmd", "false"])
            .args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-eval", &run])
            .env("HOME", &self.directory)
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env_remove("ERL_FLAGS")
            .env_remove("ERL_AFLAGS")
            .env_remove("ERL_ZFLAGS")
            .stderr(Stdio::null());
        match self.start(command, "erl") {
            Ok(line) if line == "ready" => Ok(name.to_owned()),
            Ok(line) => Err(format!("erl said {line:?} instead of ready")),
            Err(Failure::Failed(reason) | Failure::Usage(reason)) => Err(reason),
            Err(Failure::Answered) => Err("erl ended".to_owned()),
        }
    }

    /// Removes the files, which nobody reads once all peers run; so an interrupt leaves none.
    pub(super) fn remove_files(&self) {
        // What is left is in the directory for temporary files, and only this user's.
        let _ = fs::remove_dir_all(&self.directory);
    }

    /// Starts a process on the peers' processors and gives the first line it prints.
    fn start(&mut self, mut command: Command, what: &str) -> Result<String, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::Failed(format!("{what}: {error}"));
        self.seats.sit_there();
        // Each ends when its stdin does, also when this process is killed.
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        self.seats.sit_here();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::Failed(format!("{what} is not installed")));
            }
            Err(error) => return Err(wrong(&error)),
        };
        let stdout = child.stdout.take();
        self.children.push(child);
        let Some(stdout) = stdout else { return Err(wrong(&"it has no output")) };
        let (said, line) = mpsc::channel();
        // Reads on after the first line, so that the process never waits for its output.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    break;
                }
            }
        });
        match line.recv_timeout(START_MAX) {
            Ok(line) => Ok(line.trim().to_owned()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                Err(wrong(&format!("not ready after {START_MAX:?}")))
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(wrong(&"it ended before it was ready"))
            }
        }
    }
}

impl Drop for Peers<'_> {
    fn drop(&mut self) {
        for child in &mut self.children {
            // One that ended by itself cannot be killed, and is waited for all the same.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.remove_files();
    }
}

/// Ends this process when its stdin does, which is the case when its parent is gone.
pub(super) fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

/// The services `echo` and `sink` of a Krarup node, for a BEAM node.
const BEAM_SERVICES: &str = "
-module(krarup_demo).
-export([start/0, echo/0, sink/2, until_eof/0]).
start() ->
    spawn(?MODULE, until_eof, []),
    register(echo, spawn(?MODULE, echo, [])),
    register(sink, spawn(?MODULE, sink, [0, 0])).
until_eof() ->
    case io:get_line(\"\") of
        Line when is_list(Line) -> until_eof();
        _ -> halt(0)
    end.
echo() ->
    receive {From, Term} -> From ! {echo, Term} end,
    echo().
sink(Count, Bytes) ->
    receive
        {From, report} -> From ! {sink, Count, Bytes}, sink(Count, Bytes);
        {From, reset} -> From ! ok, sink(0, 0);
        Message -> sink(Count + 1, Bytes + erlang:external_size(Message))
    end.
";

fn own_command() -> Result<Command, Failure> {
    std::env::current_exe().map(Command::new).map_err(Failure::of)
}

fn random_letters() -> io::Result<String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| char::from(b'A' + byte % 16)).collect())
}
