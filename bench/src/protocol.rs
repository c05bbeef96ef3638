//! What the coordinator and its workers say to each other: one line each, orders down, events up.
//!
//! A worker reads [`WorkerConfig`] first and answers [`Event::Ready`]. One side gets
//! [`Order::Dial`] and answers [`Event::Connected`]; then the client gets [`Order::Go`] and the
//! measurement runs. [`Order::Stop`], or the end of its input, ends a worker.
//!
//! Rust workers read JSON; BEAM workers read the same orders as Erlang terms (see [`crate::otp`]).
//! Both answer in JSON.

use std::io::{BufRead, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::peer::{Kind, Lanes, Payload};
use crate::work::Work;

/// Which side of the pair a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Sends first.
    Client,
    /// Answers, or receives the stream.
    Server,
}

impl Role {
    /// The name in errors and node names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Client => "client",
            Role::Server => "server",
        }
    }
}

/// All that one side of a pair needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WorkerConfig {
    pub(crate) kind: Kind,
    pub(crate) role: Role,
    pub(crate) work: Work,
    /// What a Krarup node's messages are.
    pub(crate) payload: Payload,
    /// What a Krarup node's messages to another travel on.
    pub(crate) lanes: Lanes,
    /// Bytes of each message.
    pub(crate) size: usize,
    /// Concurrent pairs, or monitors.
    pub(crate) count: u32,
    /// Whether each monitor is of a process of its own.
    pub(crate) apart: bool,
    /// Messages per second that are due; 0 where there is no such rate.
    pub(crate) rate: u32,
    pub(crate) warm_up_ns: u64,
    pub(crate) duration_ns: u64,
    /// Messages that may be under way without the receiver's acknowledgement (streams of nodes;
    /// sockets have their own window).
    pub(crate) window: u64,
    /// Core to run on.
    pub(crate) core: Option<usize>,
    /// Port of the pair's own epmd, where it has one.
    pub(crate) epmd_port: Option<u16>,
    /// Whether that epmd is a process of its own; else the server's node has it inside.
    pub(crate) epmd_apart: bool,
    /// Shards of a Krarup node.
    pub(crate) shards: usize,
    /// How long a Krarup node polls before it sleeps, where it is not the default.
    pub(crate) spin_us: Option<u64>,
    /// Options of sockets that a Krarup node sets on the link while it is under load.
    pub(crate) setopt: Vec<String>,
    /// Node name and cookie. The cookie is different for each pair, so Unix sockets are named
    /// after it.
    pub(crate) node: String,
    pub(crate) cookie: String,
}

impl WorkerConfig {
    pub(crate) fn warm_up(&self) -> Duration {
        Duration::from_nanos(self.warm_up_ns)
    }

    /// The measured time.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_nanos(self.duration_ns)
    }
}

/// From the coordinator to a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "lowercase")]
pub(crate) enum Order {
    /// Connect to the other side.
    Dial { node: String, port: u16 },
    /// Run the measurement against this node.
    Go { node: String },
    /// End.
    Stop,
}

/// From a worker to the coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Event {
    /// The worker accepts connections (`port` is 0 for a client that never listens).
    Ready {
        node: String,
        port: u16,
        /// Version of what runs there, where it is not this package's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
    /// The link is up.
    Connected,
    /// What the side with the clock measured. `samples` are pairs of nanoseconds and count, and
    /// may be missing; `count` operations fell into the `elapsed_ns` after the warm-up; `total`
    /// counts those of the warm-up too.
    Measured { samples: Vec<(u64, u64)>, count: u64, total: u64, elapsed_ns: u64 },
    /// Stream, from its receiver. `messages` came in `elapsed_ns` after the warm-up; `total`
    /// counts all, and all were in sequence.
    Received {
        messages: u64,
        total: u64,
        elapsed_ns: u64,
        /// Allocations of the receiving thread for each message, where they are counted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allocations: Option<f64>,
    },
    /// Stream, from its sender: how many messages it sent in all.
    Sent {
        total: u64,
        /// Allocations of the sending thread for each message, where they are counted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allocations: Option<f64>,
    },
    /// Names that an epmd took.
    Registered { names: u32, refusal: Option<String> },
    /// The worker cannot go on.
    Failed { reason: String },
}

/// Nanoseconds for an event.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Reads one JSON line; `None` at the end of input.
pub(crate) fn read_line<T: for<'de> Deserialize<'de>>(
    input: &mut impl BufRead,
) -> Result<Option<T>, Error> {
    let mut line = String::new();
    let count = input.read_line(&mut line).map_err(Error::io("cannot read an order"))?;
    if count == 0 {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).map_err(|error| {
        Error::Broken(format!("expected an order in JSON, came {line:?}: {error}"))
    })
}

/// Writes one event for the coordinator.
pub(crate) fn tell(event: &Event) -> Result<(), Error> {
    let mut line = serde_json::to_string(event)
        .map_err(|error| Error::io("cannot encode an event")(std::io::Error::other(error)))?;
    line.push('\n');
    let mut output = std::io::stdout().lock();
    output
        .write_all(line.as_bytes())
        .and_then(|()| output.flush())
        .map_err(Error::io("cannot write to the coordinator"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These lines are what `bench/erl/krarup_bench_worker.erl` prints.
    #[test]
    fn events_of_beam_workers_are_understood() {
        let event = |line: &str| serde_json::from_str::<Event>(line).expect(line);
        assert_eq!(
            event(r#"{"event":"ready","node":"a@b","port":4000,"version":"25"}"#),
            Event::Ready { node: "a@b".into(), port: 4000, version: Some("25".into()) }
        );
        assert_eq!(event(r#"{"event":"connected"}"#), Event::Connected);
        assert_eq!(
            event(
                r#"{"event":"measured","samples":[[50,2],[60,1]],"count":3,"total":4,"elapsed_ns":9}"#
            ),
            Event::Measured { samples: vec![(50, 2), (60, 1)], count: 3, total: 4, elapsed_ns: 9 }
        );
        assert_eq!(
            event(r#"{"event":"received","messages":5,"total":9,"elapsed_ns":7}"#),
            Event::Received { messages: 5, total: 9, elapsed_ns: 7, allocations: None }
        );
        assert_eq!(
            event(r#"{"event":"sent","total":9}"#),
            Event::Sent { total: 9, allocations: None }
        );
    }
}
