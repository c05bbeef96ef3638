//! The table for people.

use std::fmt::Write;

use super::{QUANTILES, Report, Row, Summary};
use crate::protocol::Work;

/// Head, table and failures as text.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    for line in report.head.lines() {
        let _ = writeln!(text, "{line}");
    }
    let repetitions = report.head.repetitions;
    let (title, columns) = match report.head.work {
        Work::Rtt => (
            format!(
                "Round trip, one message outstanding: µs, medians of {repetitions} repetitions \
                 (max: the longest of all)"
            ),
            rtt_columns(),
        ),
        Work::Stream => (
            format!(
                "One-way stream, one sender, one receiver: medians of {repetitions} repetitions"
            ),
            stream_columns(),
        ),
    };
    let _ = writeln!(text, "\n{title}\n");
    let mut lines = vec![columns];
    for (index, row) in report.rows.iter().enumerate() {
        let first = index == 0 || report.rows[index - 1].size != row.size;
        lines.push(cells(row, first));
    }
    align(&mut text, &lines);
    for failure in &report.failures {
        let _ = writeln!(text, "{} {}: failed", failure.size, failure.peer);
    }
    text
}

fn rtt_columns() -> Vec<String> {
    let quantiles = QUANTILES.iter().map(|(name, _)| (*name).to_owned());
    let before = ["size", "peer"].into_iter().map(str::to_owned);
    let after = ["max", "p50 from–to", "÷ raw-spin", "÷ raw-block", "÷ otp"];
    before.chain(quantiles).chain(after.into_iter().map(str::to_owned)).collect()
}

fn stream_columns() -> Vec<String> {
    [
        "size",
        "peer",
        "messages/s",
        "MB/s",
        "messages/s from–to",
        "÷ raw-spin",
        "÷ raw-block",
        "÷ otp",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn cells(row: &Row, first: bool) -> Vec<String> {
    let mut cells =
        vec![if first { row.size.to_string() } else { String::new() }, row.peer.name().to_owned()];
    match &row.result {
        Summary::Rtt { quantiles, max, p50_range, .. } => {
            cells.extend(quantiles.iter().map(|&value| microseconds(value)));
            cells.push(microseconds(*max));
            cells.push(format!("{}–{}", microseconds(p50_range.0), microseconds(p50_range.1)));
        }
        Summary::Stream { rate, range } => {
            cells.push(count(*rate));
            cells.push(format!("{:.1}", rate * row.size.0 as f64 / 1e6));
            cells.push(format!("{}–{}", count(range.0), count(range.1)));
        }
    }
    for ratio in [row.ratio_spin, row.ratio_block, row.ratio_otp] {
        cells.push(ratio.map_or_else(String::new, significant));
    }
    cells
}

fn microseconds(nanoseconds: u64) -> String {
    format!("{:.1}", nanoseconds as f64 / 1e3)
}

/// A rate with its unit prefix: `14.4 M`, `812 k`, `95`.
fn count(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{} M", significant(rate / 1e6)),
        rate if rate >= 1e3 => format!("{} k", significant(rate / 1e3)),
        rate => significant(rate),
    }
}

/// Three significant digits, without an exponent.
fn significant(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Names left, figures right, one line each.
fn align(text: &mut String, lines: &[Vec<String>]) {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for line in lines {
        let mut written = String::new();
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            let _ = match column {
                0 | 1 => write!(written, "{cell:<width$}  "),
                _ => write!(written, "{cell:>width$}  "),
            };
        }
        let _ = writeln!(text, "{}", written.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_three_digits_and_a_prefix() {
        assert_eq!(count(14_400_000.0), "14.4 M");
        assert_eq!(count(812_345.0), "812 k");
        assert_eq!(count(95.04), "95.0");
    }

    #[test]
    fn figures_stand_under_each_other() {
        let mut text = String::new();
        let line = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        align(&mut text, &[line(["size", "peer", "p50"]), line(["16 B", "otp", "6.25"])]);
        assert_eq!(text, "size  peer   p50\n16 B  otp   6.25\n");
    }
}
