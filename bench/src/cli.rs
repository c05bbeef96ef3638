//! The command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::peer::Peer;
use crate::pin::Pinning;

/// Smallest message: the sequence number and its length word must fit.
const SIZE_MIN: usize = 16;
/// Largest message.
const SIZE_MAX: usize = 256 << 20;

/// Measures Krarup beside raw TCP sockets and real BEAM nodes on this machine.
#[derive(Debug, Parser)]
#[command(name = "krarup-bench", version)]
pub(crate) struct Command {
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Round trips, one message outstanding: latency percentiles.
    Rtt(Options),
    /// One-way streams, one sender and one receiver: messages and bytes per second.
    Stream(Options),
    /// One side of a measurement (started by the other subcommands).
    #[command(hide = true, subcommand)]
    Worker(crate::worker::WorkerAction),
}

/// What both kinds of measurement take.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Who is measured, in this order: raw-spin, raw-block (the TCP floor), krarup (Krarup to
    /// Krarup), otp (BEAM to BEAM), krarup-otp (Krarup sends to a BEAM node), otp-krarup (a BEAM
    /// node sends to Krarup). Without this option: all that this host can run.
    #[arg(long, value_delimiter = ',', value_name = "PEER,…")]
    pub(crate) peers: Vec<Peer>,

    /// Message sizes in bytes; k and m stand for KiB and MiB.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "SIZE,…",
        default_value = "16,128,1k,8k,64k,1m"
    )]
    pub(crate) sizes: Vec<Size>,

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
    /// sleep at once, as BEAM nodes and `raw-block` do. Without this option: the node's default.
    #[arg(long, value_name = "MICROSECONDS", value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub(crate) spin: Option<u64>,

    /// Start the client's worker under this command, such as `perf record -e cpu-clock -g` or
    /// `valgrind --tool=callgrind`; workers that are BEAM nodes are started without it.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) wrap_client: Option<String>,

    /// The same for the server's worker.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) wrap_server: Option<String>,

    /// The `erl` that runs BEAM nodes: a path, or a name found on PATH.
    #[arg(long, value_name = "PATH", default_value = "erl")]
    pub(crate) erl: String,

    /// Folder for the results: table, CSV, JSON, histogram log, plot. Made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Print the results as JSON instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A message size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let bare = lower.trim_end_matches("ib").trim_end_matches('b');
        let (digits, unit) = match bare.as_bytes().last() {
            Some(b'k') => (&bare[..bare.len() - 1], 1 << 10),
            Some(b'm') => (&bare[..bare.len() - 1], 1 << 20),
            _ => (bare, 1),
        };
        let bytes =
            digits.parse::<usize>().ok().and_then(|count| count.checked_mul(unit)).ok_or_else(
                || format!("a size is a number of bytes such as 16, 8k or 1m, not {text:?}"),
            )?;
        if !(SIZE_MIN..=SIZE_MAX).contains(&bytes) {
            return Err(format!("sizes go from {SIZE_MIN} bytes to 256m, {text} is outside"));
        }
        Ok(Size(bytes))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            bytes if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
            bytes => format!("{bytes} B"),
        };
        f.pad(&text)
    }
}

/// A span of time given in seconds with decimals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seconds(pub(crate) Duration);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<f64>()
            .ok()
            .filter(|seconds| (0.0..=3600.0).contains(seconds))
            .map(|seconds| Seconds(Duration::from_secs_f64(seconds)))
            .ok_or_else(|| format!("a time is a number of seconds from 0 to 3600, not {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_units_and_refuse_nonsense() {
        let bytes = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(bytes("16"), Ok(16));
        assert_eq!(bytes("8k"), Ok(8192));
        assert_eq!(bytes("1MiB"), Ok(1 << 20));
        for wrong in ["", "8", "k", "-1", "1g", "512m", "99999999999999999999"] {
            assert!(bytes(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn sizes_print_in_the_largest_whole_unit() {
        assert_eq!(Size(16).to_string(), "16 B");
        assert_eq!(Size(1025).to_string(), "1025 B");
        assert_eq!(Size(65536).to_string(), "64 KiB");
        assert_eq!(Size(1 << 20).to_string(), "1 MiB");
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Command::command().debug_assert();
    }
}
