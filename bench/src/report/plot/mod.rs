//! Plots: lines over what varies, where nothing varies the latencies that so much of all stays
//! below, and where there are no latencies either, bars.

mod bars;
mod lines;

use plotters::prelude::RGBColor;

use super::{Head, Row};
use crate::error::Error;
use crate::peer::{Peer, System};
use crate::work::{Figure, Metric, Work};

pub(crate) use bars::{Bar, bars};

const WIDTH: u32 = 960;

/// One plot of a kind of work.
struct Plot {
    /// What its file's name has behind that of the work.
    suffix: &'static str,
    caption: &'static str,
    unit: &'static str,
    figures: &'static [Drawn],
}

/// One line for each peer.
struct Drawn {
    figure: Figure,
    /// Thin lines are the tail latencies.
    width: u32,
    label: &'static str,
}

const fn thick(figure: Figure, label: &'static str) -> Drawn {
    Drawn { figure, width: 3, label }
}

const LATENCY: &[Drawn] = &[
    thick(Figure::Quantile(0), " p50"),
    Drawn { figure: Figure::Quantile(2), width: 1, label: " p99" },
];
const RATE: &[Drawn] = &[thick(Figure::Of(Metric::PerSecond), "")];
const BYTES: &[Drawn] = &[thick(Figure::Of(Metric::BytesPerSecond), "")];
const TIME_EACH: &[Drawn] = &[thick(Figure::Of(Metric::NanosecondsEach), "")];
const CPU_EACH: &[Drawn] = &[thick(Figure::Of(Metric::CpuNanosecondsEach), "")];
const MEMORY: &[Drawn] = &[thick(Figure::Of(Metric::MemoryBytes), "")];
const MEMORY_EACH: &[Drawn] = &[thick(Figure::Of(Metric::BytesEach), "")];
const AT_REST: &[Drawn] = &[thick(Figure::Of(Metric::ProcessorShare), "")];
const ALL_DOWN: &[Drawn] = &[thick(Figure::Of(Metric::AllDownNanoseconds), "")];
const SET_UP: &[Drawn] = &[thick(Figure::Of(Metric::LinksPerSecond), "")];

/// The plots of a kind of work; the first is the one that says most.
fn plots(work: Work) -> Vec<Plot> {
    let plot = |suffix, caption, unit, figures| Plot { suffix, caption, unit, figures };
    let cpu = plot("-cpu", "Processor time of both sides for each", "ns", CPU_EACH);
    match work {
        Work::Rtt => {
            let caption = "Round trip, one outstanding: p50 (thick), p99 (thin)";
            vec![plot("", caption, "µs", LATENCY), cpu]
        }
        Work::Stream => {
            let caption = "One-way stream, one sender, one receiver";
            vec![
                plot("", caption, "MB/s", BYTES),
                plot("-messages", caption, "messages/s", RATE),
                cpu,
            ]
        }
        Work::Pairs | Work::Shards => {
            let caption = "Concurrent ping-pong pairs: p50 (thick), p99 (thin)";
            vec![
                plot("", "Concurrent ping-pong pairs", "round trips per second", RATE),
                plot("-latency", caption, "µs", LATENCY),
                cpu,
                plot("-memory", "Memory of both sides", "MB", MEMORY),
            ]
        }
        Work::Rate => {
            let caption = "Open loop, from due time to answer: p50 (thick), p99 (thin)";
            vec![plot("", caption, "µs", LATENCY)]
        }
        Work::Connect => {
            let caption = "First contact: look-up, handshake, nodeup, first answer";
            vec![plot("", caption, "µs", LATENCY)]
        }
        Work::Call => {
            let caption = "Call of a gen_server, one outstanding: p50 (thick), p99 (thin)";
            vec![plot("", caption, "µs", LATENCY), cpu]
        }
        Work::Spawn => {
            let caption = "A process on the other node, from spawn_monitor to its DOWN";
            vec![plot("", caption, "µs", LATENCY)]
        }
        Work::Rpc => {
            vec![plot("", "Call of a function on the other node", "µs", LATENCY)]
        }
        Work::Monitors => {
            vec![plot("", "From the loss of a node to the last DOWN", "ms", ALL_DOWN)]
        }
        Work::Epmd => vec![plot("", "Look-ups of a name", "look-ups per second", RATE)],
        Work::Codec => vec![plot("", "Encoding and decoding one term", "ns", TIME_EACH)],
        Work::Links => {
            let caption = "Handshake with a node that has so many: p50 (thick), p99 (thin)";
            vec![
                plot("", "Memory of a link that carries nothing", "bytes", MEMORY_EACH),
                plot("-latency", caption, "µs", LATENCY),
                plot("-cpu", "Processor time of a node at rest", "% of a core", AT_REST),
            ]
        }
        Work::Mesh => {
            let caption = "Round trip in a full mesh, one outstanding: p50 (thick), p99 (thin)";
            vec![
                plot("", "Round trips in a full mesh", "round trips per second", RATE),
                plot("-latency", caption, "µs", LATENCY),
                plot("-setup", "Connections that come up", "links per second", SET_UP),
                plot("-memory", "Memory of each node", "MB", MEMORY_EACH),
                plot("-cpu", "Processor time of all nodes at rest", "% of a core", AT_REST),
            ]
        }
    }
}

/// A figure in the unit of its plot.
fn scaled(plot: &Plot, figure: Figure, value: f64) -> f64 {
    match (figure, plot.unit) {
        (Figure::Quantile(_) | Figure::Longest, _) => value / 1e3,
        (_, "MB" | "MB/s" | "ms") => value / 1e6,
        (_, "% of a core") => value * 100.0,
        _ => value,
    }
}

/// Every plot of these rows as an SVG document, with the suffix of its name.
pub(crate) fn render(
    head: &Head,
    work: Work,
    rows: &[Row],
) -> Result<Vec<(&'static str, String)>, Error> {
    let axis = work.axis();
    let mut positions: Vec<f64> = rows.iter().filter_map(|row| row.case.position(axis)).collect();
    positions.sort_by(f64::total_cmp);
    positions.dedup();
    let mut documents = Vec::new();
    for (index, plot) in plots(work).iter().enumerate() {
        let document = if positions.len() > 1 {
            lines::over(head, axis, plot, rows)?
        } else if index > 0 {
            continue;
        } else if rows.iter().any(|row| row.get(work.headline()).is_some())
            && matches!(work.headline(), Figure::Quantile(_))
        {
            lines::quantiles(head, plot, rows)?
        } else {
            let bar = |row: &Row| {
                let value = scaled(plot, work.headline(), row.get(work.headline())?);
                let group = row.case.group(axis);
                let label = format!("{} {group}", row.case.peer).trim_end().to_owned();
                Some(Bar { label, value, colour: colour(row.case.peer) })
            };
            let unit = if work == Work::Stream { "messages/s" } else { plot.unit };
            bars(head, plot.caption, unit, &rows.iter().filter_map(bar).collect::<Vec<_>>())?
        };
        documents.push((plot.suffix, document));
    }
    Ok(documents)
}

/// Colours that stay apart for colour-blind readers.
fn colour(peer: Peer) -> RGBColor {
    let darker = |colour: RGBColor, part: f64| {
        let scale = |value: u8| (f64::from(value) * part).round() as u8;
        RGBColor(scale(colour.0), scale(colour.1), scale(colour.2))
    };
    let colour = match peer.system {
        System::RawSpin | System::Bare => RGBColor(90, 90, 90),
        System::RawBlock => RGBColor(170, 170, 170),
        System::UnixSpin => RGBColor(60, 60, 30),
        System::UnixBlock => RGBColor(180, 180, 120),
        System::Krarup => RGBColor(213, 94, 0),
        System::KrarupRaw => RGBColor(160, 60, 0),
        System::KrarupTcp => RGBColor(230, 120, 40),
        System::KrarupRawTcp => RGBColor(190, 80, 20),
        System::KrarupPlain => RGBColor(220, 150, 110),
        System::KrarupWalk => RGBColor(250, 190, 140),
        System::KrarupOwned => RGBColor(240, 160, 90),
        System::Otp => RGBColor(0, 114, 178),
        System::KrarupOtp => RGBColor(0, 158, 115),
        System::OtpKrarup => RGBColor(204, 121, 167),
        System::Eetf | System::ErlDist => RGBColor(86, 180, 233),
        System::ErlDistOtp => RGBColor(40, 120, 180),
        System::EdpOtp => RGBColor(200, 120, 0),
        System::Zmq => RGBColor(120, 60, 160),
        System::Erltf => RGBColor(230, 159, 0),
        System::ErltfBorrowed => RGBColor(240, 228, 66),
    };
    match peer.release {
        Some(25) => darker(colour, 0.8),
        Some(27) => darker(colour, 0.6),
        _ => colour,
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn failed(error: String) -> Error {
    Error::io("cannot draw the plot")(std::io::Error::other(error))
}
