//! The whole result for programs.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{Figures, Measurement, Report, Row};
use crate::case::Case;
use crate::error::Error;
use crate::work::{Figure, QUANTILES};

#[derive(Serialize)]
struct Document<'a> {
    work: &'static str,
    head: &'a super::Head,
    /// Medians, one entry per case.
    results: Vec<Entry<'a>>,
    repetitions: Vec<Entry<'a>>,
    failures: Vec<FailureEntry<'a>>,
}

/// The settings of a case and its figures side by side.
#[derive(Serialize)]
pub(crate) struct Entry<'a> {
    #[serde(flatten)]
    case: &'a Case,
    /// From 1; absent for medians.
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition: Option<u32>,
    /// How many there were; absent for one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    repetitions: Option<usize>,
    #[serde(flatten)]
    figures: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ratios: BTreeMap<String, f64>,
}

#[derive(Serialize)]
struct FailureEntry<'a> {
    #[serde(flatten)]
    case: &'a Case,
    reason: &'a str,
}

/// Names of the quantiles in JSON and CSV.
pub(super) fn quantile_key(index: usize) -> String {
    format!("{}_ns", QUANTILES[index].0.replace('.', "_"))
}

impl<'a> Entry<'a> {
    /// One repetition.
    pub(crate) fn repetition(measurement: &'a Measurement) -> Entry<'a> {
        let Figures { metrics, latencies } = &measurement.figures;
        let samples = latencies.as_ref().map_or(0, |latencies| latencies.len());
        let get = |figure| measurement.figures.get(figure);
        Entry {
            case: &measurement.case,
            repetition: Some(measurement.repetition + 1),
            repetitions: None,
            figures: figures(get, samples, metrics.iter().map(|(metric, _)| *metric)),
            ratios: BTreeMap::new(),
        }
    }

    /// Medians.
    pub(crate) fn median(row: &'a Row) -> Entry<'a> {
        let metrics = row.metrics.iter().map(|(metric, _)| *metric);
        Entry {
            case: &row.case,
            repetition: None,
            repetitions: Some(row.repetitions),
            figures: figures(|figure| row.get(figure), row.samples, metrics),
            ratios: row.ratios.iter().map(|(peer, ratio)| (peer.name(), *ratio)).collect(),
        }
    }
}

fn figures(
    get: impl Fn(Figure) -> Option<f64>,
    samples: u64,
    metrics: impl Iterator<Item = crate::work::Metric>,
) -> BTreeMap<String, Value> {
    let mut figures = BTreeMap::new();
    if samples > 0 {
        figures.insert("samples".to_owned(), samples.into());
        for index in 0..QUANTILES.len() {
            figures.insert(quantile_key(index), get(Figure::Quantile(index)).into());
        }
        figures.insert("max_ns".to_owned(), get(Figure::Longest).into());
    }
    for metric in metrics {
        figures.insert(metric.key().to_owned(), get(Figure::Of(metric)).into());
    }
    figures
}

/// The document, on indented lines.
pub(super) fn render(report: &Report) -> Result<String, Error> {
    let failures = report.failures.iter();
    pretty(&Document {
        work: report.work.name(),
        head: &report.head,
        results: report.rows.iter().map(Entry::median).collect(),
        repetitions: report.measurements.iter().map(Entry::repetition).collect(),
        failures: failures
            .map(|failure| FailureEntry { case: &failure.case, reason: &failure.reason })
            .collect(),
    })
}

/// Any document, on indented lines.
pub(crate) fn pretty(document: &impl Serialize) -> Result<String, Error> {
    let mut text = serde_json::to_string_pretty(document)
        .map_err(|error| Error::io("cannot encode the results")(std::io::Error::other(error)))?;
    text.push('\n');
    Ok(text)
}
