//! Results: medians over repetitions, ratios, and the forms they are written in.

mod csv;
mod head;
pub(crate) mod histogram;
mod json;
mod svg;
mod table;

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

pub(crate) use head::Head;
use histogram::Histogram;

use crate::cli::Size;
use crate::error::Error;
use crate::peer::Peer;
use crate::protocol::Work;

/// Latencies of the report, as quantiles with their names.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// What one repetition gave.
#[derive(Debug)]
pub(crate) enum Figures {
    /// Every round trip.
    Rtt(Box<Histogram>),
    /// Messages that came in this time.
    Stream { messages: u64, elapsed: Duration },
}

impl Figures {
    fn messages_per_second(&self) -> f64 {
        match self {
            Figures::Rtt(_) => 0.0,
            Figures::Stream { messages, elapsed } => *messages as f64 / elapsed.as_secs_f64(),
        }
    }
}

/// One repetition of one pair.
#[derive(Debug)]
pub(crate) struct Measurement {
    pub(crate) peer: Peer,
    pub(crate) size: Size,
    /// From 0.
    pub(crate) repetition: u32,
    pub(crate) figures: Figures,
}

/// A pair that could not be measured at a size; its further repetitions were left out.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) peer: Peer,
    pub(crate) size: Size,
    pub(crate) reason: String,
}

/// The result of one peer at one size, over all repetitions.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    peer: Peer,
    size: Size,
    /// Repetitions that count.
    repetitions: usize,
    /// Latency or rate.
    result: Summary,
    /// This figure over that of `raw-spin`, `raw-block` and `otp`; absent for themselves and
    /// where they were not measured.
    ratio_spin: Option<f64>,
    ratio_block: Option<f64>,
    ratio_otp: Option<f64>,
}

/// Medians over repetitions.
#[derive(Debug, Clone, PartialEq)]
enum Summary {
    /// Nanoseconds.
    Rtt {
        /// In the order of [`QUANTILES`].
        quantiles: [u64; QUANTILES.len()],
        /// Longest of all repetitions.
        max: u64,
        /// Smallest and largest p50 of a repetition.
        p50_range: (u64, u64),
        /// Round trips in all.
        count: u64,
    },
    /// Messages per second.
    Stream { rate: f64, range: (f64, f64) },
}

impl Summary {
    /// The figure that ratios compare.
    fn headline(&self) -> f64 {
        match self {
            Summary::Rtt { quantiles, .. } => quantiles[0] as f64,
            Summary::Stream { rate, .. } => *rate,
        }
    }
}

/// Everything a run found out.
#[derive(Debug)]
pub(crate) struct Report {
    head: Head,
    rows: Vec<Row>,
    measurements: Vec<Measurement>,
    failures: Vec<Failure>,
}

impl Report {
    pub(crate) fn new(
        head: Head,
        peers: &[Peer],
        sizes: &[Size],
        measurements: Vec<Measurement>,
        failures: Vec<Failure>,
    ) -> Report {
        let rows = rows(peers, sizes, &measurements);
        Report { head, rows, measurements, failures }
    }

    /// How many pairs failed.
    pub(crate) fn failures(&self) -> usize {
        self.failures.len()
    }

    /// Prints the result, and writes all its forms into `folder`.
    pub(crate) fn publish(&self, folder: Option<&Path>, as_json: bool) -> Result<(), Error> {
        let json = json::render(self)?;
        let text = table::render(self);
        print!("{}", if as_json { &json } else { &text });
        if let Some(folder) = folder {
            let name = self.head.work.name();
            self.write(folder, &format!("{name}.txt"), text.as_bytes())?;
            self.write(folder, &format!("{name}.json"), json.as_bytes())?;
            self.write(folder, &format!("{name}.csv"), csv::render(self).as_bytes())?;
            self.write(folder, &format!("{name}.svg"), svg::render(self)?.as_bytes())?;
            if self.head.work == Work::Rtt {
                self.write(folder, &format!("{name}.hlog"), &self.histogram_log()?)?;
            }
        }
        for failure in &self.failures {
            eprintln!("krarup-bench: {} {}: {}", failure.peer, failure.size, failure.reason);
        }
        Ok(())
    }

    fn write(&self, folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(Error::io(format!("cannot write {}", path.display())))
    }

    /// Every histogram in HdrHistogram's interval log format, tagged `peer-size-repetition`.
    fn histogram_log(&self) -> Result<Vec<u8>, Error> {
        let failed =
            |error: String| Error::io("cannot write the histograms")(std::io::Error::other(error));
        let mut bytes = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let mut builder = IntervalLogWriterBuilder::new();
        builder.with_start_time(UNIX_EPOCH + self.head.started);
        let mut writer = builder
            .begin_log_with(&mut bytes, &mut serializer)
            .map_err(|error| failed(error.to_string()))?;
        for measurement in &self.measurements {
            let Figures::Rtt(histogram) = &measurement.figures else { continue };
            let Measurement { peer, size, repetition, .. } = measurement;
            let tag = format!("{peer}-{}-{}", size.0, repetition + 1);
            writer
                .write_histogram(histogram, Duration::ZERO, self.head.duration, Tag::new(&tag))
                .map_err(|error| failed(format!("{error:?}")))?;
        }
        drop(writer);
        Ok(bytes)
    }
}

fn rows(peers: &[Peer], sizes: &[Size], measurements: &[Measurement]) -> Vec<Row> {
    let mut rows = Vec::new();
    for &size in sizes {
        let mut of_size: Vec<Row> = Vec::new();
        for &peer in peers {
            let figures: Vec<&Figures> = measurements
                .iter()
                .filter(|measurement| measurement.peer == peer && measurement.size == size)
                .map(|measurement| &measurement.figures)
                .collect();
            if let Some(result) = summarise(&figures) {
                let repetitions = figures.len();
                let (ratio_spin, ratio_block, ratio_otp) = (None, None, None);
                of_size.push(Row {
                    peer,
                    size,
                    repetitions,
                    result,
                    ratio_spin,
                    ratio_block,
                    ratio_otp,
                });
            }
        }
        let headline = |wanted: Peer| {
            let row = of_size.iter().find(|row| row.peer == wanted);
            row.map(|row| row.result.headline()).filter(|&figure| figure > 0.0)
        };
        let (spin, block, otp) =
            (headline(Peer::RawSpin), headline(Peer::RawBlock), headline(Peer::Otp));
        for row in &mut of_size {
            let own = row.result.headline();
            let ratio = |to: Peer, figure: Option<f64>| {
                figure.filter(|_| row.peer != to).map(|figure| own / figure)
            };
            row.ratio_spin = ratio(Peer::RawSpin, spin);
            row.ratio_block = ratio(Peer::RawBlock, block);
            row.ratio_otp = ratio(Peer::Otp, otp);
        }
        rows.append(&mut of_size);
    }
    rows
}

fn summarise(figures: &[&Figures]) -> Option<Summary> {
    match figures.first()? {
        Figures::Rtt(_) => {
            let histograms: Vec<&Histogram> = figures
                .iter()
                .filter_map(|figures| match figures {
                    Figures::Rtt(histogram) => Some(&**histogram),
                    Figures::Stream { .. } => None,
                })
                .collect();
            let values = |quantile: f64| -> Vec<f64> {
                histograms.iter().map(|h| h.value_at_quantile(quantile) as f64).collect()
            };
            let p50s = values(0.5);
            Some(Summary::Rtt {
                quantiles: QUANTILES.map(|(_, quantile)| median(values(quantile)) as u64),
                max: histograms.iter().map(|histogram| histogram.max()).max()?,
                p50_range: (least(&p50s) as u64, most(&p50s) as u64),
                count: histograms.iter().map(|histogram| histogram.len()).sum(),
            })
        }
        Figures::Stream { .. } => {
            let rates: Vec<f64> =
                figures.iter().map(|figures| figures.messages_per_second()).collect();
            let range = (least(&rates), most(&rates));
            Some(Summary::Stream { rate: median(rates), range })
        }
    }
}

/// The middle value; of an even count, the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
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
