//! The plot: figures over message size, both axes logarithmic, one colour per peer.

use plotters::prelude::*;

use super::{QUANTILES, Report, Row, Summary};
use crate::cli::Size;
use crate::error::Error;
use crate::peer::Peer;
use crate::protocol::Work;

const WIDTH: u32 = 960;
const HEIGHT: u32 = 600;

/// The plot as an SVG document.
pub(super) fn render(report: &Report) -> Result<String, Error> {
    let mut document = String::new();
    draw(report, &mut document)
        .map_err(|error| Error::io("cannot draw the plot")(std::io::Error::other(error)))?;
    Ok(document)
}

/// One line of the plot: a peer, the name of the figure, and its points.
struct Series {
    peer: Peer,
    label: String,
    /// Thin lines are the tail latencies.
    width: u32,
    points: Vec<(f64, f64)>,
}

fn draw(report: &Report, document: &mut String) -> Result<(), String> {
    let series = series(report);
    let points = || series.iter().flat_map(|series| series.points.iter().copied());
    let area = SVGBackend::with_string(document, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE).map_err(text)?;
    if points().next().is_none() {
        return area.present().map_err(text);
    }
    let (x_min, x_max) = bounds(points().map(|(x, _)| x));
    let (y_min, y_max) = bounds(points().map(|(_, y)| y));
    let (title, unit) = match report.head.work {
        Work::Rtt => ("Round trip, one message outstanding: p50 (thick) and p99 (thin)", "µs"),
        Work::Stream => ("One-way stream, one sender, one receiver", "MB/s"),
    };
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(
            (x_min / 1.5..x_max * 1.5).log_scale().base(4.0),
            (y_min / 1.5..y_max * 2.0).log_scale(),
        )
        .map_err(text)?;
    chart
        .configure_mesh()
        .x_desc("message size")
        .y_desc(unit)
        .x_label_formatter(&|bytes| Size(bytes.round() as usize).to_string())
        .y_label_formatter(&|value| plain(*value))
        .light_line_style(RGBColor(238, 238, 238))
        .draw()
        .map_err(text)?;
    for series in &series {
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

fn series(report: &Report) -> Vec<Series> {
    let mut series = Vec::new();
    for peer in Peer::ALL {
        let rows: Vec<&Row> = report.rows.iter().filter(|row| row.peer == peer).collect();
        if rows.is_empty() {
            continue;
        }
        let mut add = |label: String, width: u32, figure: &dyn Fn(&Row) -> f64| {
            let mut points: Vec<(f64, f64)> =
                rows.iter().map(|row| (row.size.0 as f64, figure(row))).collect();
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            points.retain(|&(_, y)| y > 0.0);
            series.push(Series { peer, label, width, points });
        };
        match report.head.work {
            Work::Rtt => {
                for (index, width) in [(0, 3), (2, 1)] {
                    let (name, _) = QUANTILES[index];
                    add(format!("{peer} {name}"), width, &|row| match &row.result {
                        Summary::Rtt { quantiles, .. } => quantiles[index] as f64 / 1e3,
                        Summary::Stream { .. } => 0.0,
                    });
                }
            }
            Work::Stream => add(peer.to_string(), 3, &|row| match &row.result {
                Summary::Stream { rate, .. } => rate * row.size.0 as f64 / 1e6,
                Summary::Rtt { .. } => 0.0,
            }),
        }
    }
    series
}

/// Colours that stay apart for colour-blind readers.
fn colour(peer: Peer) -> RGBColor {
    match peer {
        Peer::RawSpin => RGBColor(90, 90, 90),
        Peer::RawBlock => RGBColor(170, 170, 170),
        Peer::Krarup => RGBColor(213, 94, 0),
        Peer::Otp => RGBColor(0, 114, 178),
        Peer::KrarupOtp => RGBColor(0, 158, 115),
        Peer::OtpKrarup => RGBColor(204, 121, 167),
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
