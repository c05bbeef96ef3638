//! The whole result for programs.

use serde::Serialize;

use super::{Figures, Report, Summary};
use crate::error::Error;
use crate::peer::Peer;

#[derive(Serialize)]
struct Document<'a> {
    head: &'a super::Head,
    /// Medians, one entry per peer and size.
    results: Vec<Entry>,
    repetitions: Vec<Entry>,
    failures: Vec<FailureEntry<'a>>,
}

#[derive(Serialize)]
struct Entry {
    peer: Peer,
    size_bytes: usize,
    /// From 1; absent for medians.
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition: Option<u32>,
    #[serde(flatten)]
    figures: EntryFigures,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_raw_spin: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_raw_block: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_otp: Option<f64>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum EntryFigures {
    Rtt {
        p50_ns: u64,
        p90_ns: u64,
        p99_ns: u64,
        p99_9_ns: u64,
        max_ns: u64,
        round_trips: u64,
    },
    Stream {
        messages_per_s: f64,
        bytes_per_s: f64,
        /// Counted ones; absent for medians.
        #[serde(skip_serializing_if = "Option::is_none")]
        messages: Option<u64>,
    },
}

#[derive(Serialize)]
struct FailureEntry<'a> {
    peer: Peer,
    size_bytes: usize,
    reason: &'a str,
}

/// The document, on indented lines.
pub(super) fn render(report: &Report) -> Result<String, Error> {
    let results = report.rows.iter().map(|row| Entry {
        peer: row.peer,
        size_bytes: row.size.0,
        repetition: None,
        figures: match &row.result {
            Summary::Rtt { quantiles: [p50_ns, p90_ns, p99_ns, p99_9_ns], max, count, .. } => {
                let (p50_ns, p90_ns, p99_ns, p99_9_ns) = (*p50_ns, *p90_ns, *p99_ns, *p99_9_ns);
                let (max_ns, round_trips) = (*max, *count);
                EntryFigures::Rtt { p50_ns, p90_ns, p99_ns, p99_9_ns, max_ns, round_trips }
            }
            Summary::Stream { rate, .. } => stream(*rate, row.size.0, None),
        },
        ratio_raw_spin: row.ratio_spin,
        ratio_raw_block: row.ratio_block,
        ratio_otp: row.ratio_otp,
    });
    let repetitions = report.measurements.iter().map(|measurement| Entry {
        peer: measurement.peer,
        size_bytes: measurement.size.0,
        repetition: Some(measurement.repetition + 1),
        figures: match &measurement.figures {
            Figures::Rtt(histogram) => EntryFigures::Rtt {
                p50_ns: histogram.value_at_quantile(0.5),
                p90_ns: histogram.value_at_quantile(0.9),
                p99_ns: histogram.value_at_quantile(0.99),
                p99_9_ns: histogram.value_at_quantile(0.999),
                max_ns: histogram.max(),
                round_trips: histogram.len(),
            },
            figures @ Figures::Stream { messages, .. } => {
                stream(figures.messages_per_second(), measurement.size.0, Some(*messages))
            }
        },
        ratio_raw_spin: None,
        ratio_raw_block: None,
        ratio_otp: None,
    });
    let failures = report.failures.iter().map(|failure| FailureEntry {
        peer: failure.peer,
        size_bytes: failure.size.0,
        reason: &failure.reason,
    });
    let document = Document {
        head: &report.head,
        results: results.collect(),
        repetitions: repetitions.collect(),
        failures: failures.collect(),
    };
    let mut text = serde_json::to_string_pretty(&document)
        .map_err(|error| Error::io("cannot encode the results")(std::io::Error::other(error)))?;
    text.push('\n');
    Ok(text)
}

fn stream(rate: f64, size: usize, messages: Option<u64>) -> EntryFigures {
    let bytes_per_s = rate * size as f64;
    EntryFigures::Stream { messages_per_s: rate, bytes_per_s, messages }
}
