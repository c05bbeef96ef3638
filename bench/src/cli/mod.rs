//! The command line.

mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::codec::Subject;
use crate::peer::Peer;
use crate::pin::Pinning;
pub(crate) use values::{Count, Seconds, Size};

/// Measures Krarup beside plain sockets, real BEAM nodes and other libraries on this machine.
#[derive(Debug, Parser)]
#[command(name = "krarup-bench", version)]
pub(crate) struct Command {
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Round trips, one message outstanding: latency percentiles.
    Rtt(Sized),
    /// One-way streams, one sender and one receiver: messages and bytes per second.
    Stream(Sized),
    /// Many ping-pong pairs at once over one connection: round trips per second and latency.
    Pairs(Pairs),
    /// Round trips at a given rate, timed from when each was due (open loop): latency.
    Rate(Rate),
    /// First contact of two nodes: look-up, handshake, nodeup, first answer.
    Connect(Plain),
    /// Calls of a server (gen_server), one outstanding: latency percentiles.
    Call(Sized),
    /// Processes started on the other node, one at a time, until the news of their end: latency.
    Spawn(Plain),
    /// Calls of a function on the other node (erpc), one outstanding: latency.
    Rpc(Plain),
    /// Many monitors over one connection: set-up, memory, and how fast all fire when it is lost.
    Monitors(Monitors),
    /// Look-ups of names: requests per second of an epmd.
    Epmd(Epmd),
    /// Terms in external form: nanoseconds to write and to read one.
    Codec(Codec),
    /// Links that carry nothing: memory for each, processor time, and how fast they come up.
    Links(Links),
    /// Pairs at once over nodes with one and more shards: what shards give and cost.
    Shards(Shards),
    /// A full mesh of nodes on loopback addresses: set-up, memory, round trips, rest.
    Mesh(Mesh),
    /// The whole comparison: every target with what was measured and the verdict, into a folder.
    Compare(Compare),
    /// What messages, pairs, shards, links and nodes cost as there are more of them, into a folder.
    Growth(Compare),
    /// One side of a measurement (started by the other subcommands).
    #[command(hide = true, subcommand)]
    Worker(crate::worker::WorkerAction),
}

/// `rtt`, `stream` and `call`.
#[derive(Debug, Args)]
pub(crate) struct Sized {
    /// Message sizes in bytes; k and m stand for KiB and MiB.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "SIZE,…",
        default_value = "16,128,1k,8k,64k,1m"
    )]
    pub(crate) sizes: Vec<Size>,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// `pairs`.
#[derive(Debug, Args)]
pub(crate) struct Pairs {
    /// Pairs at once, each with one message outstanding, up to 1000.
    #[arg(long, value_delimiter = ',', value_name = "PAIRS,…", default_value = "1,8,64,256,1000")]
    pub(crate) pairs: Vec<Count>,

    /// Message size in bytes, up to 64k.
    #[arg(long, default_value = "16")]
    pub(crate) size: Size,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// `rate`.
#[derive(Debug, Args)]
pub(crate) struct Rate {
    /// Messages per second; k and m stand for thousands and millions.
    #[arg(long, value_delimiter = ',', value_name = "RATE,…", default_value = "1k,10k,50k,100k")]
    pub(crate) rates: Vec<Count>,

    /// Message size in bytes, up to 64k.
    #[arg(long, default_value = "16")]
    pub(crate) size: Size,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// `connect`, `spawn` and `rpc`.
#[derive(Debug, Args)]
pub(crate) struct Plain {
    #[command(flatten)]
    pub(crate) options: Options,
}

/// `epmd`.
#[derive(Debug, Args)]
pub(crate) struct Epmd {
    /// Clients at once, spread over 16 loopback addresses.
    #[arg(long, value_delimiter = ',', value_name = "CLIENTS,…", default_value = "1,64")]
    pub(crate) clients: Vec<Count>,

    /// Names that are registered meanwhile.
    #[arg(long, value_delimiter = ',', value_name = "NAMES,…", default_value = "10,10k")]
    pub(crate) names: Vec<Count>,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// `codec`.
#[derive(Debug, Args)]
pub(crate) struct Codec {
    /// Terms to write and read: gen-call, tuples, map, binary. Without this option: all.
    #[arg(long, value_delimiter = ',', value_name = "TERM,…")]
    pub(crate) terms: Vec<Subject>,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// `links`.
#[derive(Debug, Args)]
pub(crate) struct Links {
    /// Links of the node under measurement.
    #[arg(long, value_delimiter = ',', value_name = "LINKS,…", default_value = "100,1k,10k")]
    pub(crate) links: Vec<Count>,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// `monitors`.
#[derive(Debug, Args)]
pub(crate) struct Monitors {
    /// Monitors, once all of one process and once each of a process of its own.
    #[arg(long, value_delimiter = ',', value_name = "MONITORS,…", default_value = "100k")]
    pub(crate) monitors: Vec<Count>,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// `shards`.
#[derive(Debug, Args)]
pub(crate) struct Shards {
    /// Shards of each node.
    #[arg(long, value_delimiter = ',', value_name = "SHARDS,…", default_value = "1,2,4")]
    pub(crate) shards: Vec<Count>,

    /// Pairs at once, spread over the shards.
    #[arg(long, default_value = "64")]
    pub(crate) pairs: Count,

    /// Message size in bytes, up to 64k.
    #[arg(long, default_value = "16")]
    pub(crate) size: Size,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// `mesh`.
#[derive(Debug, Args)]
pub(crate) struct Mesh {
    /// Nodes, from 2 to 200; each is connected to every other.
    #[arg(long, value_delimiter = ',', value_name = "NODES,…", default_value = "2,10,50,100,200")]
    pub(crate) nodes: Vec<Count>,

    /// Every node connects to all others at once, as when a cluster starts; without it each has one
    /// attempt under way
    #[arg(long)]
    pub(crate) at_once: bool,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// `compare` and `growth`.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Only the rows whose names begin so; --list shows them.
    #[arg(long, value_delimiter = ',', value_name = "ROW,…")]
    pub(crate) only: Vec<String>,

    /// 3 repetitions of 0.3 s: to see that all of it works, not to be believed.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Show the rows and measure nothing.
    #[arg(long)]
    pub(crate) list: bool,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// What every kind of measurement takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Who is measured, in this order. raw-spin, raw-block: plain TCP sockets; unix-spin,
    /// unix-block: plain Unix sockets; krarup: Krarup to Krarup, on one host
    /// over Unix sockets; krarup-raw: the same with raw bytes instead of terms; krarup-tcp,
    /// krarup-raw-tcp: over TCP; krarup-plain: with Erlang's own protocol; otp: BEAM to BEAM; krarup-otp: a
    /// Krarup node sends to a BEAM node; otp-krarup: the other way; a release behind a name with
    /// otp takes that one (otp-27). Built with --features peers: erl-dist, erl-dist-otp, edp-otp;
    /// with --features zmq: zmq. epmd also knows bare, the server that only accepts, answers
    /// and closes; codec also krarup-walk, krarup-owned, eetf, erltf and erltf-borrowed. Without this option:
    /// all that this host and this build can run.
    #[arg(long, value_delimiter = ',', value_name = "PEER,…")]
    pub(crate) peers: Vec<Peer>,

    /// Cores of the two sides, client and server, as `0,1`; `none` leaves them to the scheduler.
    /// Without this option: the first two cores this process may use.
    #[arg(long, value_name = "CORE,CORE")]
    pub(crate) pin: Option<Pinning>,

    /// Repetitions of each measurement; peers take turns within each, and medians are reported.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) reps: u32,

    /// Measured time of each repetition, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "1")]
    pub(crate) seconds: Seconds,

    /// Time before it that is run and not measured, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "0.3")]
    pub(crate) warm_up: Seconds,

    /// How long Krarup nodes look for more work before they sleep, in microseconds; 0 makes them
    /// sleep at once, as BEAM nodes and blocking sockets do. Without this option: the node's
    /// default.
    #[arg(long, value_name = "MICROSECONDS", value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub(crate) spin: Option<u64>,

    /// Set a socket option of the link while it is under load, in the middle of the warm-up, such as
    /// sndbuf=65536 or profile=latency; Krarup nodes that are connected to a node only.
    #[arg(long, value_name = "OPTION=VALUE")]
    pub(crate) setopt: Vec<String>,

    /// Start the client's worker under this command, such as `perf record -e cpu-clock -g` or
    /// `valgrind --tool=callgrind`; workers that are BEAM nodes are started without it.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) wrap_client: Option<String>,

    /// The same for the server's worker.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) wrap_server: Option<String>,

    /// The `erl` that runs BEAM nodes: a path, or a name found on PATH. Peers with a release in
    /// their name use erl-RELEASE beside it, or where tests/otp/install puts it.
    #[arg(long, value_name = "PATH", default_value = "erl")]
    pub(crate) erl: String,

    /// Folder for the results: table, CSV, JSON, histogram log, plot. Made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Print the results as JSON instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Command::command().debug_assert();
    }
}
