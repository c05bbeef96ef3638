//! What is measured: the kinds of work, what each is counted in, and how it is told.

use serde::{Deserialize, Serialize};

use crate::peer::System;

/// One kind of measurement; also the name of its subcommand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Work {
    /// Latency of a message and its answer, one under way at a time.
    Rtt,
    /// Rate of messages one way.
    Stream,
    /// Many ping-pongs at once over one connection.
    Pairs,
    /// Latency at a given rate, from the time a message was due.
    Rate,
    /// First contact between two nodes.
    Connect,
    /// Latency of a call of a server, one under way at a time.
    Call,
    /// Latency of a process that is started on the other node, until the news of its end.
    Spawn,
    /// Latency of a call of a function on the other node.
    Rpc,
    /// Many monitors over one connection, and its loss.
    Monitors,
    /// Look-ups of names.
    Epmd,
    /// Encoding and decoding terms.
    Codec,
    /// Links that carry nothing.
    Links,
    /// Pairs over nodes with several shards.
    Shards,
    /// Many nodes, each connected to every other.
    Mesh,
}

/// What varies from one group of rows to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    /// Bytes of a message.
    Size,
    /// Concurrent pairs.
    Pairs,
    /// Messages per second.
    Rate,
    /// Clients and registered names.
    Clients,
    /// The term and the direction.
    Term,
    /// Links of one node.
    Links,
    /// Shards of each node.
    Shards,
    /// Nodes of a mesh.
    Nodes,
    /// Monitors, and how many processes they watch.
    Monitors,
    /// Nothing: there is one group.
    Nothing,
}

/// A figure other than a latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Metric {
    /// Messages, round trips or requests per second.
    PerSecond,
    /// Connections per second.
    LinksPerSecond,
    /// Payload bytes per second.
    BytesPerSecond,
    /// Nanoseconds of one operation.
    NanosecondsEach,
    /// Processor time of both sides for one message, in nanoseconds.
    CpuNanosecondsEach,
    /// Processor time of the server for one request, in nanoseconds.
    ServerNanosecondsEach,
    /// Allocations of both sides for one message.
    AllocationsEach,
    /// Memory of both sides that is their own, in bytes.
    MemoryBytes,
    /// Memory of one of many, in bytes.
    BytesEach,
    /// The same of the server, where both sides keep something.
    ServerBytesEach,
    /// Time until all of many are set up, in nanoseconds.
    AllUpNanoseconds,
    /// Time until the end of all of many is known, in nanoseconds.
    AllDownNanoseconds,
    /// Processor time over time that passed.
    ProcessorShare,
    /// Names that the server had registered.
    Names,
}

/// A latency or a metric, as a column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Index into [`QUANTILES`].
    Quantile(usize),
    /// The longest latency of all repetitions.
    Longest,
    /// Smallest and largest headline of a repetition.
    Spread,
    /// Another figure.
    Of(Metric),
}

/// Latencies of a report, as quantiles with their names.
pub(crate) const QUANTILES: [(&str, f64); 4] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

impl Metric {
    /// The name in JSON and CSV.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Metric::PerSecond => "messages_per_s",
            Metric::LinksPerSecond => "links_per_s",
            Metric::BytesPerSecond => "bytes_per_s",
            Metric::NanosecondsEach => "ns_each",
            Metric::CpuNanosecondsEach => "cpu_ns_each",
            Metric::ServerNanosecondsEach => "server_cpu_ns_each",
            Metric::AllocationsEach => "allocations_each",
            Metric::MemoryBytes => "memory_bytes",
            Metric::BytesEach => "bytes_each",
            Metric::ServerBytesEach => "server_bytes_each",
            Metric::AllUpNanoseconds => "all_up_ns",
            Metric::AllDownNanoseconds => "all_down_ns",
            Metric::ProcessorShare => "processor_share",
            Metric::Names => "names",
        }
    }
}

impl Work {
    /// The name of the subcommand, also used in file names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Work::Rtt => "rtt",
            Work::Stream => "stream",
            Work::Pairs => "pairs",
            Work::Rate => "rate",
            Work::Connect => "connect",
            Work::Call => "call",
            Work::Spawn => "spawn",
            Work::Rpc => "rpc",
            Work::Monitors => "monitors",
            Work::Epmd => "epmd",
            Work::Codec => "codec",
            Work::Links => "links",
            Work::Shards => "shards",
            Work::Mesh => "mesh",
        }
    }

    /// What the table says above its columns.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Work::Rtt => "Round trip, one message outstanding: µs",
            Work::Stream => "One-way stream, one sender, one receiver",
            Work::Pairs => "Concurrent ping-pong pairs over one connection: round trips/s, µs",
            Work::Rate => "Open loop: µs from the time each message was due to its answer",
            Work::Connect => "First contact (look-up, handshake, nodeup, first answer): µs",
            Work::Call => "Calls of a gen_server, one outstanding: µs",
            Work::Spawn => "A process on the other node, from spawn_monitor to its DOWN: µs",
            Work::Rpc => "Calls of a function on the other node (erpc), one outstanding: µs",
            Work::Monitors => {
                "Monitors over one connection: set-up, memory, and from the loss of the node to the \
                 last DOWN"
            }
            Work::Epmd => "Look-ups of a name, each on a connection of its own",
            Work::Codec => "Encoding and decoding one term: ns",
            Work::Links => "Links that carry nothing: memory, set-up in µs, processor at rest",
            Work::Shards => "Pairs over nodes with several shards: round trips/s, µs",
            Work::Mesh => {
                "A full mesh: set-up, memory of each node, processor at rest, round trips in µs \
                 with one under way and per second with many"
            }
        }
    }

    /// Who is measured unless `--peers` says otherwise.
    pub(crate) fn systems(self) -> &'static [System] {
        use System::*;
        match self {
            Work::Rtt | Work::Stream | Work::Pairs => &[
                RawSpin,
                RawBlock,
                UnixSpin,
                UnixBlock,
                Krarup,
                KrarupRaw,
                KrarupTcp,
                KrarupRawTcp,
                KrarupPlain,
                Otp,
                KrarupOtp,
                OtpKrarup,
                ErlDist,
                ErlDistOtp,
                EdpOtp,
                Zmq,
            ],
            Work::Rate => &[
                RawSpin,
                RawBlock,
                UnixSpin,
                UnixBlock,
                Krarup,
                KrarupRaw,
                KrarupTcp,
                KrarupRawTcp,
                KrarupPlain,
                Otp,
                KrarupOtp,
                OtpKrarup,
            ],
            Work::Connect => &[Krarup, KrarupPlain, Otp, KrarupOtp, OtpKrarup],
            Work::Call | Work::Spawn | Work::Rpc | Work::Monitors => {
                &[Krarup, KrarupTcp, KrarupPlain, Otp, KrarupOtp, OtpKrarup]
            }
            Work::Epmd => &[Bare, Krarup, Otp],
            Work::Codec => &[Krarup, KrarupWalk, KrarupOwned, Otp, Eetf, Erltf, ErltfBorrowed],
            Work::Links => &[Krarup, KrarupPlain, Otp],
            Work::Shards => &[Krarup, KrarupRaw, KrarupRawTcp, KrarupPlain],
            Work::Mesh => &[Krarup, KrarupPlain],
        }
    }

    /// Whose figures the others are divided by.
    pub(crate) fn references(self) -> &'static [System] {
        use System::*;
        match self {
            Work::Rtt | Work::Stream | Work::Pairs | Work::Rate => {
                &[RawSpin, RawBlock, UnixSpin, Otp]
            }
            Work::Connect | Work::Call | Work::Spawn | Work::Rpc | Work::Monitors | Work::Links => {
                &[Otp]
            }
            Work::Shards | Work::Mesh => &[KrarupPlain],
            Work::Epmd => &[Bare, Otp],
            Work::Codec => &[Otp, Eetf, Erltf, ErltfBorrowed],
        }
    }

    /// What the groups of its table are.
    pub(crate) fn axis(self) -> Axis {
        match self {
            Work::Rtt | Work::Stream | Work::Call => Axis::Size,
            Work::Pairs => Axis::Pairs,
            Work::Rate => Axis::Rate,
            Work::Connect | Work::Spawn | Work::Rpc => Axis::Nothing,
            Work::Monitors => Axis::Monitors,
            Work::Epmd => Axis::Clients,
            Work::Codec => Axis::Term,
            Work::Links => Axis::Links,
            Work::Shards => Axis::Shards,
            Work::Mesh => Axis::Nodes,
        }
    }

    /// The figure that ratios compare.
    pub(crate) fn headline(self) -> Figure {
        match self {
            Work::Rtt | Work::Rate | Work::Connect | Work::Call | Work::Spawn | Work::Rpc => {
                Figure::Quantile(0)
            }
            Work::Monitors => Figure::Of(Metric::AllDownNanoseconds),
            Work::Stream | Work::Pairs | Work::Shards | Work::Mesh | Work::Epmd => {
                Figure::Of(Metric::PerSecond)
            }
            Work::Codec => Figure::Of(Metric::NanosecondsEach),
            Work::Links => Figure::Of(Metric::BytesEach),
        }
    }

    /// Columns of the table, between the peer and the ratios.
    pub(crate) fn columns(self) -> &'static [Figure] {
        use Figure::*;
        use Metric::*;
        match self {
            Work::Rtt => &[Quantile(0), Quantile(1), Quantile(2), Quantile(3), Longest, Spread],
            Work::Call | Work::Spawn | Work::Rpc => &[
                Quantile(0),
                Quantile(1),
                Quantile(2),
                Quantile(3),
                Longest,
                Spread,
                Of(CpuNanosecondsEach),
            ],
            Work::Monitors => &[
                Of(AllUpNanoseconds),
                Of(BytesEach),
                Of(ServerBytesEach),
                Of(AllDownNanoseconds),
                Spread,
            ],
            Work::Stream => &[
                Of(PerSecond),
                Of(BytesPerSecond),
                Spread,
                Of(CpuNanosecondsEach),
                Of(AllocationsEach),
            ],
            Work::Pairs | Work::Shards => &[
                Of(PerSecond),
                Spread,
                Quantile(0),
                Quantile(2),
                Quantile(3),
                Longest,
                Of(CpuNanosecondsEach),
                Of(MemoryBytes),
            ],
            Work::Rate => {
                &[Of(PerSecond), Quantile(0), Quantile(1), Quantile(2), Quantile(3), Longest]
            }
            Work::Connect => &[Quantile(0), Quantile(1), Quantile(2), Longest, Spread],
            Work::Epmd => &[
                Of(PerSecond),
                Spread,
                Quantile(0),
                Quantile(2),
                Of(ServerNanosecondsEach),
                Of(Names),
            ],
            Work::Codec => &[Of(NanosecondsEach), Spread],
            Work::Mesh => &[
                Of(LinksPerSecond),
                Of(BytesEach),
                Of(ProcessorShare),
                Quantile(0),
                Quantile(2),
                Of(PerSecond),
                Spread,
            ],
            Work::Links => &[
                Of(BytesEach),
                Spread,
                Of(PerSecond),
                Quantile(0),
                Quantile(2),
                Of(ProcessorShare),
            ],
        }
    }
}
