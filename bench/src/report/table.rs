//! The table for people.

use std::fmt::Write;

use super::format::{self, significant};
use super::{Report, Row};
use crate::work::Figure;

/// Head, table and failures as text.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    for line in report.head.lines() {
        let _ = writeln!(text, "{line}");
    }
    let work = report.work;
    let repetitions = report.head.repetitions;
    let _ = writeln!(
        text,
        "\n{}; medians of {repetitions} repetitions (max: the longest of all)\n",
        work.title()
    );
    let mut lines = vec![titles(report)];
    for (index, row) in report.rows.iter().enumerate() {
        let first = index == 0 || !report.rows[index - 1].case.same_group(&row.case);
        lines.push(cells(report, row, first));
    }
    align(&mut text, &lines);
    for failure in &report.failures {
        let group = failure.case.group(work.axis());
        let _ = writeln!(text, "{group} {}: failed", failure.case.peer);
    }
    text
}

fn titles(report: &Report) -> Vec<String> {
    let work = report.work;
    let mut titles = vec![work.name().to_owned(), "peer".to_owned()];
    titles.extend(work.columns().iter().map(|&figure| format::title(figure, work.headline())));
    titles.extend(report.references.iter().map(|peer| format!("÷ {peer}")));
    titles
}

fn cells(report: &Report, row: &Row, first: bool) -> Vec<String> {
    let work = report.work;
    let group = if first { row.case.group(work.axis()) } else { String::new() };
    let mut cells = vec![group, row.case.peer.name()];
    for &figure in work.columns() {
        cells.push(
            match figure {
                Figure::Spread => {
                    let show = |value| format::figure(work.headline(), value);
                    row.spread().map(|(least, most)| format!("{}–{}", show(least), show(most)))
                }
                figure => row.get(figure).map(|value| format::figure(figure, value)),
            }
            .unwrap_or_default(),
        );
    }
    for &peer in &report.references {
        cells.push(row.ratio(peer).map_or_else(String::new, significant));
    }
    cells
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
    fn figures_stand_under_each_other() {
        let mut text = String::new();
        let line = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        align(&mut text, &[line(["size", "peer", "p50"]), line(["16 B", "otp", "6.25"])]);
        assert_eq!(text, "size  peer   p50\n16 B  otp   6.25\n");
    }
}
