//! The results as a page of Markdown.

use std::fmt::Write;

use super::section::{Outcome, Relation, Verdict, with_unit};
use super::{Document, Results, Subject};
use crate::report::Row;
use crate::report::format;
use crate::work::{Axis, Figure, Work};

/// Head, verdicts, and all that was measured.
pub(super) fn render(document: &Document<'_>, plots: &[(&str, String)]) -> String {
    let mut text = String::new();
    let title = match document.subject {
        Subject::Targets => "# Compared",
        Subject::Growth => "# Cost as work grows",
    };
    let _ = writeln!(text, "{title}\n");
    for line in document.head.lines() {
        let _ = writeln!(text, "* {}", escaped(&line));
    }
    text.push('\n');
    if document.subject == Subject::Targets {
        verdicts(&mut text, document);
    }
    for results in document.results {
        let _ = writeln!(text, "## {}\n", results.section.title);
        let kinds = results.rows.chunk_by(|one, other| one.case.work == other.case.work);
        for rows in kinds {
            if let Some(row) = rows.first() {
                figures(&mut text, row.case.work, rows);
            }
        }
        for failure in &results.failures {
            let reason = failure.reason.lines().next().unwrap_or_default();
            let _ = writeln!(text, "* {} failed: {}", failure.case.tag(), escaped(reason));
        }
        if !results.failures.is_empty() {
            text.push('\n');
        }
        for (_, file) in plots.iter().filter(|(id, _)| *id == results.section.id) {
            let _ = writeln!(text, "![{}]({file})\n", results.section.title);
        }
    }
    let trimmed = text.trim_end().len();
    text.truncate(trimmed);
    text.push('\n');
    text
}

fn verdicts(text: &mut String, document: &Document<'_>) {
    let outcomes = || document.results.iter().flat_map(|results| &results.outcomes);
    let count =
        |wanted: &str| outcomes().filter(|outcome| outcome.verdict.name() == wanted).count();
    let all = outcomes().count();
    let _ = writeln!(
        text,
        "{} of {all} targets met, {} missed, {} not measured. Medians; a ratio is the \
         median of those within each repetition, \"from–to\" the smallest and largest.\n",
        count("met"),
        count("missed"),
        count("not measured")
    );
    text.push_str("| row | figure | target | measured | reference | ratio | from–to | verdict |\n");
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    for results in document.results {
        for (index, outcome) in results.outcomes.iter().enumerate() {
            let row = if index == 0 { results.section.title } else { "" };
            let _ = writeln!(text, "| {row} {}", check_cells(results, index, outcome));
        }
    }
    text.push('\n');
}

fn check_cells(results: &Results, index: usize, outcome: &Outcome) -> String {
    let check = &results.section.checks[index];
    let show = |value: f64| with_unit(check.figure, value);
    let measured = outcome.measured.map(show).unwrap_or_default();
    let reference = outcome.reference.map(|(peer, value)| format!("{peer} {}", show(value)));
    let ratio = outcome.ratio.map(format::significant).unwrap_or_default();
    let each = |value: f64| match check.relation {
        Relation::Absolute => format::figure(check.figure, value),
        Relation::Over(_) | Relation::Under(_) => format::significant(value),
    };
    let spread = outcome.spread.map(|(least, most)| format!("{}–{}", each(least), each(most)));
    let verdict = match &outcome.verdict {
        Verdict::Met => "met".to_owned(),
        Verdict::Missed => "**missed**".to_owned(),
        Verdict::NotMeasured(reason) => format!("not measured: {}", escaped(reason)),
    };
    format!(
        "| {} ({}) | {} | {measured} | {} | {ratio} | {} | {verdict} |",
        check.what,
        check.ours.peer,
        check.target_text(),
        reference.unwrap_or_default(),
        spread.unwrap_or_default()
    )
}

/// All figures of one kind of work.
fn figures(text: &mut String, work: Work, rows: &[Row]) {
    let axis = work.axis();
    let grouped = axis != Axis::Nothing;
    // One section may have several tables: each says first what it is of.
    let mut titles = vec![work.name().to_owned()];
    if grouped {
        titles.push("peer".to_owned());
    }
    titles.extend(work.columns().iter().map(|&figure| {
        let title = format::title(figure, work.headline());
        match figure {
            Figure::Quantile(_) | Figure::Longest => format!("{title} µs"),
            _ => title,
        }
    }));
    let _ = writeln!(text, "| {} |", titles.join(" | "));
    let _ = writeln!(text, "|{}", "---|".repeat(titles.len()));
    for (index, row) in rows.iter().enumerate() {
        let first = index == 0 || !rows[index - 1].case.same_group(&row.case);
        let group = if first { row.case.group(axis) } else { String::new() };
        let mut cells = if grouped { vec![group] } else { Vec::new() };
        cells.push(row.case.peer.name());
        for &figure in work.columns() {
            let cell = match figure {
                Figure::Spread => row.spread().map(|(least, most)| {
                    let show = |value| format::figure(work.headline(), value);
                    format!("{}–{}", show(least), show(most))
                }),
                figure => row.get(figure).map(|value| format::figure(figure, value)),
            };
            cells.push(cell.unwrap_or_default());
        }
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text.push('\n');
}

/// Text that means nothing to Markdown.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
