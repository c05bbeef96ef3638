//! One line per repetition, and one of medians, for spreadsheets.

use std::fmt::Write;

use super::json::quantile_key;
use super::{Report, Row};
use crate::case::Case;
use crate::work::{Figure, Metric, QUANTILES};

/// All figures, with a header line. `repetition` is a number from 1, or `median`.
pub(super) fn render(report: &Report) -> String {
    let figures = columns(&report.rows);
    let mut text = String::from("work,peer,size_bytes,count,setting,repetition");
    for figure in &figures {
        let _ = write!(text, ",{}", key(*figure));
    }
    for peer in &report.references {
        let _ = write!(text, ",ratio_{}", peer.name().replace('-', "_"));
    }
    text.push('\n');
    for measurement in &report.measurements {
        begin(&mut text, &measurement.case);
        let _ = write!(text, "{}", measurement.repetition + 1);
        add(&mut text, figures.iter().map(|figure| measurement.figures.get(*figure)));
        add(&mut text, report.references.iter().map(|_| None));
        text.push('\n');
    }
    for row in &report.rows {
        begin(&mut text, &row.case);
        text.push_str("median");
        add(&mut text, figures.iter().map(|figure| row.get(*figure)));
        add(&mut text, report.references.iter().map(|peer| row.ratio(*peer)));
        text.push('\n');
    }
    text
}

fn begin(text: &mut String, case: &Case) {
    let setting = case.group(case.work.axis()).replace(',', "");
    let (work, peer) = (case.work.name(), case.peer);
    let _ = write!(text, "{work},{peer},{},{},{setting},", case.size.0, case.count);
}

fn add(text: &mut String, values: impl Iterator<Item = Option<f64>>) {
    for value in values {
        text.push(',');
        if let Some(value) = value {
            let digits = if value.abs() >= 100.0 { 1 } else { 4 };
            let _ = write!(text, "{value:.digits$}");
        }
    }
}

fn columns(rows: &[Row]) -> Vec<Figure> {
    let mut figures = Vec::new();
    if rows.iter().any(|row| row.get(Figure::Quantile(0)).is_some()) {
        figures.extend((0..QUANTILES.len()).map(Figure::Quantile));
        figures.push(Figure::Longest);
    }
    let mut metrics: Vec<Metric> =
        rows.iter().flat_map(|row| row.metrics.iter().map(|(metric, _)| *metric)).collect();
    metrics.sort();
    metrics.dedup();
    figures.extend(metrics.into_iter().map(Figure::Of));
    figures
}

fn key(figure: Figure) -> String {
    match figure {
        Figure::Quantile(index) => quantile_key(index),
        Figure::Longest => "max_ns".to_owned(),
        Figure::Spread => "spread".to_owned(),
        Figure::Of(metric) => metric.key().to_owned(),
    }
}
