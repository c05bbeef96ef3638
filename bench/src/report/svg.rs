//! The plot: figures over what varies, both axes logarithmic, one colour per peer. Where nothing
//! varies, the latencies that so much of all stays below.

use plotters::prelude::*;

use super::{Report, Row};
use crate::case::Case;
use crate::cli::{Count, Size};
use crate::error::Error;
use crate::peer::{Peer, System};
use crate::work::{Axis, Figure, Metric, QUANTILES, Work};

const WIDTH: u32 = 960;
const HEIGHT: u32 = 600;

/// The plot as an SVG document; `None` where there is nothing to draw over.
pub(super) fn render(report: &Report) -> Result<Option<String>, Error> {
    let series = if report.work.axis() == Axis::Nothing {
        quantiles(report)
    } else if report.rows.iter().all(|row| row.case.position(report.work.axis()).is_none()) {
        return Ok(None);
    } else {
        lines(report)
    };
    let mut document = String::new();
    draw(report, &series, &mut document)
        .map_err(|error| Error::io("cannot draw the plot")(std::io::Error::other(error)))?;
    Ok(Some(document))
}

/// One line of the plot.
struct Series {
    peer: Peer,
    label: String,
    /// Thin lines are the tail latencies.
    width: u32,
    points: Vec<(f64, f64)>,
}

fn draw(report: &Report, series: &[Series], document: &mut String) -> Result<(), String> {
    let points = || series.iter().flat_map(|series| series.points.iter().copied());
    let area = SVGBackend::with_string(document, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE).map_err(text)?;
    if points().next().is_none() {
        return area.present().map_err(text);
    }
    let (x_min, x_max) = bounds(points().map(|(x, _)| x));
    let (y_min, y_max) = bounds(points().map(|(_, y)| y));
    let axis = report.work.axis();
    let base = if axis == Axis::Size { 4.0 } else { 10.0 };
    let mut chart = ChartBuilder::on(&area)
        .caption(caption(report.work), ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(
            (x_min / 1.5..x_max * 1.5).log_scale().base(base),
            (y_min / 1.5..y_max * 2.0).log_scale(),
        )
        .map_err(text)?;
    chart
        .configure_mesh()
        .x_desc(x_title(axis))
        .y_desc(y_title(report.work))
        .x_label_formatter(&|position| x_label(axis, *position))
        .y_label_formatter(&|value| plain(*value))
        .light_line_style(RGBColor(238, 238, 238))
        .draw()
        .map_err(text)?;
    for series in series {
        let style = colour(series.peer).stroke_width(series.width);
        let drawn = chart
            .draw_series(LineSeries::new(series.points.iter().copied(), style))
            .map_err(text)?;
        drawn
            .label(series.label.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
        let dots = series.points.iter();
        chart
            .draw_series(dots.map(|&point| Circle::new(point, 2 + series.width, style.filled())))
            .map_err(text)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .draw()
        .map_err(text)?;
    let foot = format!("{}, {}", report.head.cpu, report.head.kernel);
    area.draw_text(
        &foot,
        &("sans-serif", 12).into_text_style(&area),
        (16, i32::try_from(HEIGHT).unwrap_or(i32::MAX) - 16),
    )
    .map_err(text)?;
    area.present().map_err(text)
}

fn caption(work: Work) -> &'static str {
    match work {
        Work::Rtt => "Round trip, one message outstanding: p50 (thick) and p99 (thin)",
        Work::Stream => "One-way stream, one sender, one receiver",
        Work::Pairs => "Concurrent ping-pong pairs over one connection",
        Work::Rate => "Open loop, from due time to answer: p50 (thick) and p99 (thin)",
        Work::Connect => "First contact: look-up, handshake, nodeup, first answer",
        Work::Epmd => "Look-ups of a name",
        Work::Codec => "Encoding and decoding one term",
        Work::Links => "Memory of a link that carries nothing",
        Work::Shards => "Concurrent pairs, by shards of each node",
        Work::Mesh => "Round trips in a full mesh",
    }
}

fn x_title(axis: Axis) -> &'static str {
    match axis {
        Axis::Size => "message size",
        Axis::Pairs => "pairs",
        Axis::Rate => "messages per second",
        Axis::Links => "links of one node",
        Axis::Shards => "shards of each node",
        Axis::Nodes => "nodes",
        Axis::Clients | Axis::Term => "",
        Axis::Nothing => "part of all contacts that take longer",
    }
}

fn y_title(work: Work) -> &'static str {
    match work {
        Work::Rtt | Work::Rate | Work::Connect => "µs",
        Work::Stream => "MB/s",
        Work::Pairs | Work::Shards | Work::Mesh => "round trips per second",
        Work::Epmd => "look-ups per second",
        Work::Codec => "ns",
        Work::Links => "bytes",
    }
}

fn x_label(axis: Axis, position: f64) -> String {
    match axis {
        Axis::Size => Size(position.round() as usize).to_string(),
        Axis::Nothing => format!("1 in {position:.0}"),
        _ => Count(position.round() as u32).to_string(),
    }
}

/// The figures that are drawn, with the thickness of their lines and their names.
fn drawn(work: Work) -> &'static [(Figure, u32, &'static str)] {
    match work {
        Work::Rtt | Work::Rate | Work::Connect => {
            &[(Figure::Quantile(0), 3, " p50"), (Figure::Quantile(2), 1, " p99")]
        }
        Work::Stream => &[(Figure::Of(Metric::BytesPerSecond), 3, "")],
        Work::Pairs | Work::Shards | Work::Mesh | Work::Epmd => {
            &[(Figure::Of(Metric::PerSecond), 3, "")]
        }
        Work::Codec => &[(Figure::Of(Metric::NanosecondsEach), 3, "")],
        Work::Links => &[(Figure::Of(Metric::BytesEach), 3, "")],
    }
}

/// Figures over what varies.
fn lines(report: &Report) -> Vec<Series> {
    let mut series = Vec::new();
    for peer in peers(report) {
        let rows: Vec<&Row> = report.rows.iter().filter(|row| row.case.peer == peer).collect();
        for &(figure, width, name) in drawn(report.work) {
            let unit = match figure {
                Figure::Quantile(_) | Figure::Longest => 1e3,
                Figure::Of(Metric::BytesPerSecond) => 1e6,
                Figure::Of(_) | Figure::Spread => 1.0,
            };
            let point = |row: &&Row| -> Option<(f64, f64)> {
                Some((row.case.position(report.work.axis())?, row.get(figure)? / unit))
            };
            let mut points: Vec<(f64, f64)> = rows.iter().filter_map(point).collect();
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            points.retain(|&(x, y)| x > 0.0 && y > 0.0);
            series.push(Series { peer, label: format!("{peer}{name}"), width, points });
        }
    }
    series
}

/// Latency over how rare it is.
fn quantiles(report: &Report) -> Vec<Series> {
    let series = report.rows.iter().map(|row| {
        let point = |(index, (_, quantile)): (usize, &(&str, f64))| {
            let latency = row.get(Figure::Quantile(index)).filter(|&latency| latency > 0.0)?;
            Some((1.0 / (1.0 - quantile), latency / 1e3))
        };
        let Case { peer, .. } = row.case;
        let points = QUANTILES.iter().enumerate().filter_map(point).collect();
        Series { peer, label: peer.name(), width: 3, points }
    });
    series.collect()
}

fn peers(report: &Report) -> Vec<Peer> {
    let mut peers: Vec<Peer> = Vec::new();
    for row in &report.rows {
        if !peers.contains(&row.case.peer) {
            peers.push(row.case.peer);
        }
    }
    peers
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

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0), |(least, most), value| (least.min(value), most.max(value)))
}

fn plain(value: f64) -> String {
    if value >= 1.0 { format!("{value:.0}") } else { format!("{value}") }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
