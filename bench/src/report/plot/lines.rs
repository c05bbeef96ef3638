//! Lines over what varies, both axes logarithmic, one colour per peer.

use plotters::prelude::*;

use super::{Drawn, Plot, WIDTH, colour, failed, scaled, text};
use crate::cli::{Count, Size};
use crate::error::Error;
use crate::peer::Peer;
use crate::report::{Head, Row};
use crate::work::{Axis, Figure, QUANTILES};

const HEIGHT: u32 = 600;

/// One line of the plot.
struct Series {
    peer: Peer,
    label: String,
    width: u32,
    points: Vec<(f64, f64)>,
}

/// Figures over the axis.
pub(super) fn over(head: &Head, axis: Axis, plot: &Plot, rows: &[Row]) -> Result<String, Error> {
    let mut series = Vec::new();
    for peer in peers(rows) {
        let of_peer: Vec<&Row> = rows.iter().filter(|row| row.case.peer == peer).collect();
        for &Drawn { figure, width, label } in plot.figures {
            let point = |row: &&Row| -> Option<(f64, f64)> {
                Some((row.case.position(axis)?, scaled(plot, figure, row.get(figure)?)))
            };
            let mut points: Vec<(f64, f64)> = of_peer.iter().filter_map(point).collect();
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            points.retain(|&(x, y)| x > 0.0 && y > 0.0);
            if !points.is_empty() {
                series.push(Series { peer, label: format!("{peer}{label}"), width, points });
            }
        }
    }
    document(head, axis, plot, plot.caption, &series)
}

/// Latency over how rare it is.
pub(super) fn quantiles(head: &Head, plot: &Plot, rows: &[Row]) -> Result<String, Error> {
    let series: Vec<Series> = rows
        .iter()
        .map(|row| {
            let point = |(index, (_, quantile)): (usize, &(&str, f64))| {
                let latency = row.get(Figure::Quantile(index)).filter(|&latency| latency > 0.0)?;
                Some((1.0 / (1.0 - quantile), latency / 1e3))
            };
            let peer = row.case.peer;
            let points = QUANTILES.iter().enumerate().filter_map(point).collect();
            Series { peer, label: peer.name(), width: 3, points }
        })
        .collect();
    // What is said of thick and thin lines behind the colon is not so here.
    let caption = plot.caption.split_once(": p50").map_or(plot.caption, |(before, _)| before);
    document(head, Axis::Nothing, plot, caption, &series)
}

fn document(
    head: &Head,
    axis: Axis,
    plot: &Plot,
    caption: &str,
    series: &[Series],
) -> Result<String, Error> {
    let mut document = String::new();
    draw(head, axis, (caption, plot.unit), series, &mut document).map_err(failed)?;
    Ok(document)
}

fn draw(
    head: &Head,
    axis: Axis,
    (caption, unit): (&str, &str),
    series: &[Series],
    document: &mut String,
) -> Result<(), String> {
    let points = || series.iter().flat_map(|series| series.points.iter().copied());
    let area = SVGBackend::with_string(document, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE).map_err(text)?;
    if points().next().is_none() {
        return area.present().map_err(text);
    }
    let (x_min, x_max) = bounds(points().map(|(x, _)| x));
    let (y_min, y_max) = bounds(points().map(|(_, y)| y));
    let base = if axis == Axis::Size { 4.0 } else { 10.0 };
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, ("sans-serif", 20))
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
        .y_desc(unit)
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
    let foot = format!("{}, {}", head.cpu, head.kernel);
    area.draw_text(
        &foot,
        &("sans-serif", 12).into_text_style(&area),
        (16, i32::try_from(HEIGHT).unwrap_or(i32::MAX) - 16),
    )
    .map_err(text)?;
    area.present().map_err(text)
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
        Axis::Monitors => "monitors",
        Axis::Nothing => "part of all that take longer",
    }
}

fn x_label(axis: Axis, position: f64) -> String {
    match axis {
        Axis::Size => Size(position.round() as usize).to_string(),
        Axis::Nothing => format!("1 in {position:.0}"),
        _ => Count(position.round() as u32).to_string(),
    }
}

fn peers(rows: &[Row]) -> Vec<Peer> {
    let mut peers: Vec<Peer> = Vec::new();
    for row in rows {
        if !peers.contains(&row.case.peer) {
            peers.push(row.case.peer);
        }
    }
    peers
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0), |(least, most), value| (least.min(value), most.max(value)))
}

fn plain(value: f64) -> String {
    if value >= 1.0 { format!("{value:.0}") } else { format!("{value}") }
}
