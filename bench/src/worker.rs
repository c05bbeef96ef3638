//! The hidden subcommand: one side of a measurement, in a process of its own.

use std::ffi::OsStr;
use std::io::stdin;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use clap::Subcommand;

use crate::codec;
use crate::epmd;
use crate::error::Error;
use crate::floor;
use crate::krarup;
use crate::links;
use crate::mesh;
use crate::peer::Kind;
use crate::pin;
use crate::process::WorkerProcess;
use crate::protocol::{Event, Order, WorkerConfig, nanoseconds, read_line, tell};
use crate::report::histogram::{self, Histogram};
use crate::rival;

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerAction {
    /// One side of a pair. It takes its configuration and orders from standard input, as all of
    /// these do.
    Pair,
    /// Measures a codec.
    Codec,
    /// Serves names, as krarup's epmd or as a bare server.
    EpmdServer,
    /// Registers names and asks for them.
    EpmdClient,
    /// Plays the nodes at the other ends of a node's links.
    Links,
    /// Has some of the nodes of a mesh.
    Mesh,
    /// Pins itself to a core, then becomes another program.
    Exec {
        /// The core.
        #[arg(long)]
        core: usize,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

/// Runs a worker until its input ends.
pub(crate) fn run(action: &WorkerAction) -> Result<(), Error> {
    // A worker that measures does not read its input: it must not outlive a killed coordinator.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|errno| Error::io("cannot tie this worker to its parent")(errno.into()))?;
    let outcome = match action {
        WorkerAction::Exec { core, command } => return exec(*core, command),
        WorkerAction::Pair => pair(),
        WorkerAction::Codec => codec::work(),
        WorkerAction::EpmdServer => epmd::serve(),
        WorkerAction::EpmdClient => epmd::ask(),
        WorkerAction::Links => links::work(),
        WorkerAction::Mesh => mesh::work(),
    };
    if let Err(error) = &outcome {
        tell(&Event::Failed { reason: error.to_string() })?;
    }
    outcome
}

/// This program, to be started once more.
fn own_executable() -> Result<Command, Error> {
    std::env::current_exe()
        .map(Command::new)
        .map_err(Error::io("cannot find this program's own file"))
}

/// Another program, on a core if one is given.
pub(crate) fn pinned(core: Option<usize>, program: impl AsRef<OsStr>) -> Result<Command, Error> {
    let Some(core) = core else { return Ok(Command::new(program)) };
    // The worker `exec` pins itself, then becomes the program: no other tool is needed for it.
    let mut command = own_executable()?;
    command.args(["worker", "exec", "--core", &core.to_string(), "--"]).arg(program);
    Ok(command)
}

/// Starts a Rust worker, under another command if `wrap` names one, and gives it its
/// configuration.
pub(crate) fn start(
    name: String,
    action: &str,
    wrap: Option<&str>,
    config: &impl serde::Serialize,
) -> Result<WorkerProcess, Error> {
    let mut command = own_executable()?;
    if let Some(wrap) = wrap {
        let mut words = wrap.split_whitespace();
        if let Some(program) = words.next() {
            let own = command.get_program().to_owned();
            command = Command::new(program);
            command.args(words).arg(own);
        }
    }
    command.args(["worker", action]);
    let mut worker = WorkerProcess::start(name, command)?;
    worker.write_line(&json(config)?)?;
    Ok(worker)
}

/// An order, or a configuration, as a Rust worker reads it.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value)
        .map_err(|error| Error::io("cannot encode an order")(std::io::Error::other(error)))
}

/// Latencies of one worker.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram);

impl Latencies {
    pub(crate) fn new() -> Latencies {
        Latencies(histogram::new())
    }

    /// Adds one sample.
    pub(crate) fn record(&mut self, latency: Duration) {
        histogram::record(&mut self.0, nanoseconds(latency), 1);
    }

    /// Samples so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Adds those of another worker or thread.
    pub(crate) fn add(&mut self, other: &[(u64, u64)]) {
        for &(value, count) in other {
            histogram::record(&mut self.0, value, count);
        }
    }

    /// Pairs of nanoseconds and count, ascending.
    pub(crate) fn samples(&self) -> Vec<(u64, u64)> {
        let recorded = self.0.iter_recorded();
        recorded.map(|step| (step.value_iterated_to(), step.count_since_last_iteration())).collect()
    }

    /// What the coordinator is told when all of them fell into `elapsed`; `total` counts those of
    /// the warm-up too.
    pub(crate) fn measured(&self, total: u64, elapsed: Duration) -> Event {
        Event::Measured {
            samples: self.samples(),
            count: self.count(),
            total,
            elapsed_ns: nanoseconds(elapsed),
        }
    }
}

fn exec(core: usize, command: &[String]) -> Result<(), Error> {
    pin::pin_to(core)?;
    let Some((program, arguments)) = command.split_first() else {
        return Err(Error::Usage("worker exec needs a program".into()));
    };
    let source = Command::new(program).args(arguments).exec();
    Err(Error::Io { doing: format!("cannot start {program:?}"), source })
}

fn pair() -> Result<(), Error> {
    let config: WorkerConfig = configuration()?;
    if let Some(core) = config.core {
        pin::pin_to(core)?;
    }
    match config.kind {
        Kind::SocketSpin | Kind::SocketBlock | Kind::UnixSpin | Kind::UnixBlock => {
            floor::work(&config)
        }
        Kind::Krarup => krarup::work(&config),
        Kind::Beam => Err(Error::Usage("a BEAM worker is run by erl".into())),
        Kind::ErlDist | Kind::Edp | Kind::Zmq => rival::work(&config),
        Kind::Part => Err(Error::Usage("this system has no pairs".into())),
    }
}

/// The first line of a worker's input.
pub(crate) fn configuration<T: for<'de> serde::Deserialize<'de>>() -> Result<T, Error> {
    read_line(&mut stdin().lock())?
        .ok_or_else(|| Error::Usage("a worker is started by krarup-bench, not by hand".into()))
}

/// The next order of a worker; the end of its input means stop.
pub(crate) fn next_order() -> Result<Order, Error> {
    Ok(read_line(&mut stdin().lock())?.unwrap_or(Order::Stop))
}
