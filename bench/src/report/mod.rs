//! Results: medians over repetitions, ratios, and the forms they are written in.

mod csv;
pub(crate) mod format;
mod head;
pub(crate) mod histogram;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod plot;
mod table;

use std::fs;
use std::path::Path;

pub(crate) use head::Head;
use histogram::Histogram;

use crate::case::Case;
use crate::error::Error;
use crate::peer::Peer;
use crate::work::{Figure, Metric, QUANTILES, Work};

/// What one repetition gave.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    latencies: Option<Box<Histogram>>,
    metrics: Vec<(Metric, f64)>,
}

impl Figures {
    /// Every latency.
    pub(crate) fn latencies(latencies: Histogram) -> Figures {
        Figures { latencies: Some(Box::new(latencies)), metrics: Vec::new() }
    }

    /// No latencies.
    pub(crate) fn metrics(metrics: Vec<(Metric, f64)>) -> Figures {
        Figures { latencies: None, metrics }
    }

    /// One figure more.
    pub(crate) fn add(&mut self, metric: Metric, value: f64) {
        self.metrics.push((metric, value));
    }

    /// A figure of this repetition; latencies in nanoseconds.
    pub(crate) fn get(&self, figure: Figure) -> Option<f64> {
        let latencies = self.latencies.as_deref().filter(|latencies| !latencies.is_empty());
        match figure {
            Figure::Quantile(index) => {
                latencies.map(|latencies| latencies.value_at_quantile(QUANTILES[index].1) as f64)
            }
            Figure::Longest => latencies.map(|latencies| latencies.max() as f64),
            Figure::Spread => None,
            Figure::Of(metric) => {
                let found = self.metrics.iter().find(|(key, _)| *key == metric);
                found.map(|(_, value)| *value)
            }
        }
    }
}

/// One repetition of one case.
#[derive(Debug, Clone)]
pub(crate) struct Measurement {
    pub(crate) case: Case,
    /// From 0.
    pub(crate) repetition: u32,
    pub(crate) figures: Figures,
}

/// A case that could not be measured; its further repetitions were left out.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) case: Case,
    pub(crate) reason: String,
}

/// The result of one case, over all repetitions.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) case: Case,
    /// Repetitions that count.
    pub(crate) repetitions: usize,
    /// Medians of the quantiles, in nanoseconds, in the order of [`QUANTILES`].
    quantiles: Option<[f64; QUANTILES.len()]>,
    /// The longest latency of all repetitions, in nanoseconds.
    longest: Option<f64>,
    /// Latencies in all.
    samples: u64,
    /// Medians.
    metrics: Vec<(Metric, f64)>,
    /// Smallest and largest headline of a repetition.
    spread: Option<(f64, f64)>,
    /// The headline over that of others in the same group.
    ratios: Vec<(Peer, f64)>,
}

impl Row {
    /// The medians of a case, when it was measured.
    pub(crate) fn of(case: &Case, measurements: &[Measurement]) -> Option<Row> {
        let figures: Vec<&Figures> = measurements
            .iter()
            .filter(|measurement| measurement.case == *case)
            .map(|measurement| &measurement.figures)
            .collect();
        let first = figures.first()?;
        let values = |figure: Figure| -> Vec<f64> {
            figures.iter().filter_map(|figures| figures.get(figure)).collect()
        };
        let headlines = values(case.work.headline());
        let quantiles = first
            .get(Figure::Quantile(0))
            .map(|_| std::array::from_fn(|index| median(values(Figure::Quantile(index)))));
        let histograms = figures.iter().filter_map(|figures| figures.latencies.as_deref());
        let metrics = first.metrics.iter().map(|&(metric, _)| metric);
        Some(Row {
            case: *case,
            repetitions: figures.len(),
            quantiles,
            longest: values(Figure::Longest).into_iter().reduce(f64::max),
            samples: histograms.map(|histogram| histogram.len()).sum(),
            metrics: metrics.map(|metric| (metric, median(values(Figure::Of(metric))))).collect(),
            spread: (!headlines.is_empty()).then(|| (least(&headlines), most(&headlines))),
            ratios: Vec::new(),
        })
    }

    /// A median; latencies in nanoseconds.
    pub(crate) fn get(&self, figure: Figure) -> Option<f64> {
        match figure {
            Figure::Quantile(index) => self.quantiles.map(|quantiles| quantiles[index]),
            Figure::Longest => self.longest,
            Figure::Spread => None,
            Figure::Of(metric) => {
                let found = self.metrics.iter().find(|(key, _)| *key == metric);
                found.map(|(_, value)| *value)
            }
        }
    }

    /// The figure that ratios compare.
    pub(crate) fn headline(&self) -> Option<f64> {
        self.get(self.case.work.headline()).filter(|&figure| figure > 0.0)
    }

    /// Smallest and largest headline of a repetition.
    pub(crate) fn spread(&self) -> Option<(f64, f64)> {
        self.spread
    }

    fn ratio(&self, to: Peer) -> Option<f64> {
        self.ratios.iter().find(|(peer, _)| *peer == to).map(|(_, ratio)| *ratio)
    }
}

/// Everything a run found out.
#[derive(Debug)]
pub(crate) struct Report {
    head: Head,
    work: Work,
    rows: Vec<Row>,
    /// Peers that ratios are to, in the order of their columns.
    references: Vec<Peer>,
    measurements: Vec<Measurement>,
    failures: Vec<Failure>,
}

impl Report {
    pub(crate) fn new(
        head: Head,
        work: Work,
        cases: &[Case],
        measurements: Vec<Measurement>,
        failures: Vec<Failure>,
    ) -> Report {
        let mut rows: Vec<Row> =
            cases.iter().filter_map(|case| Row::of(case, &measurements)).collect();
        let mut references: Vec<Peer> = Vec::new();
        for system in work.references() {
            for peer in rows.iter().map(|row| row.case.peer) {
                if peer.system == *system && !references.contains(&peer) {
                    references.push(peer);
                }
            }
        }
        for group in rows.chunk_by_mut(|one, other| one.case.same_group(&other.case)) {
            let headlines: Vec<(Peer, f64)> = references
                .iter()
                .filter_map(|&peer| {
                    let row = group.iter().find(|row| row.case.peer == peer)?;
                    Some((peer, row.headline()?))
                })
                .collect();
            for row in group {
                let Some(own) = row.headline() else { continue };
                let others = headlines.iter().filter(|(peer, _)| *peer != row.case.peer);
                row.ratios = others.map(|&(peer, figure)| (peer, own / figure)).collect();
            }
        }
        Report { head, work, rows, references, measurements, failures }
    }

    /// How many cases failed.
    pub(crate) fn failures(&self) -> usize {
        self.failures.len()
    }

    /// Prints the result, and writes all its forms into `folder`.
    pub(crate) fn publish(&self, folder: Option<&Path>, as_json: bool) -> Result<(), Error> {
        let json = json::render(self)?;
        let text = table::render(self);
        print!("{}", if as_json { &json } else { &text });
        if let Some(folder) = folder {
            self.write_all(folder, &text, &json)?;
        }
        for failure in &self.failures {
            eprintln!("krarup-bench: {}: {}", failure.case.tag(), failure.reason);
        }
        Ok(())
    }

    fn write_all(&self, folder: &Path, text: &str, json: &str) -> Result<(), Error> {
        let name = self.work.name();
        write(folder, &format!("{name}.txt"), text.as_bytes())?;
        write(folder, &format!("{name}.json"), json.as_bytes())?;
        write(folder, &format!("{name}.csv"), csv::render(self).as_bytes())?;
        for (suffix, plot) in plot::render(&self.head, self.work, &self.rows)? {
            write(folder, &format!("{name}{suffix}.svg"), plot.as_bytes())?;
        }
        if let Some(log) = log::render(&self.head, &self.measurements)? {
            write(folder, &format!("{name}.hlog"), &log)?;
        }
        Ok(())
    }
}

/// Writes one file of the results.
pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let path = folder.join(name);
    fs::write(&path, bytes).map_err(Error::io(format!("cannot write {}", path.display())))
}

/// The middle value; of an even count, the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests;
