//! The table, the JSON form and the plot of a demo run.

use super::measure::{Sample, Stream};
use plotters::prelude::*;
use serde_json::{Value, json};
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Latencies of one kind of round trip on one path.
#[derive(Clone, Debug)]
pub(super) struct LatencyRow {
    /// Between whom, such as `krarup - krarup`.
    pub(super) path: String,
    /// Bytes in each message.
    pub(super) message_bytes: usize,
    /// What was measured.
    pub(super) sample: Sample,
}

/// One stream on one path.
#[derive(Clone, Debug)]
pub(super) struct StreamRow {
    /// Between whom.
    pub(super) path: String,
    /// What was measured.
    pub(super) stream: Stream,
}

/// Everything a run measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// The path that the others' round trips are compared with.
    pub(super) floor: &'static str,
    /// Round trips, in the order they are shown.
    pub(super) latencies: Vec<LatencyRow>,
    /// Streams, in the order they are shown.
    pub(super) streams: Vec<StreamRow>,
}

/// The path that the others' streams are compared with.
pub(super) const STREAM_FLOOR: &str = "raw TCP, 64 KiB writes";

impl Report {
    /// Two tables, for people.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        if !self.latencies.is_empty() {
            let _ = writeln!(
                text,
                "{:<30} {:>8} {:>10} {:>10} {:>10} {:>9}",
                "round trip", "size", "p50", "p99", "per second", "to floor"
            );
            for row in &self.latencies {
                let ratio = self.latency_ratio(row).map_or("-".into(), times);
                // One trip at a time, so the median gives the rate.
                let rate = 1.0 / row.sample.p50().as_secs_f64().max(1e-9);
                let _ = writeln!(
                    text,
                    "{:<30} {:>8} {:>10} {:>10} {:>10} {ratio:>9}",
                    row.path,
                    bytes(row.message_bytes as f64),
                    micros(row.sample.p50()),
                    micros(row.sample.p99()),
                    count(rate),
                );
            }
        }
        if !self.streams.is_empty() {
            let _ = writeln!(
                text,
                "\n{:<30} {:>8} {:>10} {:>10} {:>10} {:>9}",
                "one way", "size", "msg/s", "MB/s", "", "to floor"
            );
            for row in &self.streams {
                let ratio = self.stream_ratio(row).map_or("-".into(), times);
                let _ = writeln!(
                    text,
                    "{:<30} {:>8} {:>10} {:>10.1} {:>10} {ratio:>9}",
                    row.path,
                    bytes(row.stream.message_bytes as f64),
                    count(row.stream.messages_per_second()),
                    row.stream.bytes_per_second() / 1e6,
                    "",
                );
            }
        }
        text
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        let latencies: Vec<Value> = self
            .latencies
            .iter()
            .map(|row| {
                json!({
                    "path": row.path,
                    "message_bytes": row.message_bytes,
                    "round_trips": row.sample.count(),
                    "p50_ns": nanoseconds(row.sample.p50()),
                    "p99_ns": nanoseconds(row.sample.p99()),
                    "max_ns": nanoseconds(row.sample.quantile(1.0)),
                    "to_floor": self.latency_ratio(row),
                })
            })
            .collect();
        let streams: Vec<Value> = self
            .streams
            .iter()
            .map(|row| {
                json!({
                    "path": row.path,
                    "message_bytes": row.stream.message_bytes,
                    "messages": row.stream.messages,
                    "messages_per_second": row.stream.messages_per_second(),
                    "bytes_per_second": row.stream.bytes_per_second(),
                    "to_floor": self.stream_ratio(row),
                })
            })
            .collect();
        json!({ "round_trips": latencies, "streams": streams })
    }

    /// Draws latency over the part of round trips that stay below it, both on logarithmic axes,
    /// into an SVG file.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(super) fn plot(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        const PARTS: [f64; 10] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999];
        // 0 at none, 1 at 90 %, 2 at 99 %: every nine takes the same width.
        let place = |part: f64| -(1.0 - part).log10();
        let label = |x: &f64| match *x as i32 {
            0 => "0".to_owned(),
            1 => "90 %".to_owned(),
            2 => "99 %".to_owned(),
            3 => "99.9 %".to_owned(),
            _ => "99.99 %".to_owned(),
        };
        let highest = self
            .latencies
            .iter()
            .map(|row| row.sample.quantile(0.9999).as_secs_f64() * 1e6)
            .fold(10.0, f64::max);
        let lowest = self
            .latencies
            .iter()
            .map(|row| row.sample.quantile(0.0).as_secs_f64() * 1e6)
            .fold(highest, f64::min)
            .max(0.1);
        let root = SVGBackend::new(path, (960, 560)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption("Round trips: latency below which this part of them stays", ("sans-serif", 20))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..4.0, (lowest * 0.8..highest * 1.4).log_scale())?;
        chart
            .configure_mesh()
            .label_style(("sans-serif", 16))
            .axis_desc_style(("sans-serif", 17))
            .x_labels(5)
            .x_label_formatter(&label)
            .x_desc("part of round trips")
            .y_label_formatter(&|y| format!("{y:.0}"))
            .y_desc("microseconds")
            .draw()?;
        for (index, row) in self.latencies.iter().enumerate() {
            let color = Palette99::pick(index).mix(1.0);
            let points = PARTS.iter().map(|&part| {
                (place(part), (row.sample.quantile(part).as_secs_f64() * 1e6).max(0.1))
            });
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))?
                .label(format!("{}, {}", row.path, bytes(row.message_bytes as f64)))
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .label_font(("sans-serif", 16))
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        root.present()?;
        Ok(())
    }

    fn latency_ratio(&self, row: &LatencyRow) -> Option<f64> {
        let floor = self
            .latencies
            .iter()
            .find(|other| other.path == self.floor && other.message_bytes == row.message_bytes)?;
        Some(row.sample.p50().as_secs_f64() / floor.sample.p50().as_secs_f64().max(1e-9))
    }

    fn stream_ratio(&self, row: &StreamRow) -> Option<f64> {
        let floor = self.streams.iter().find(|other| {
            other.path == STREAM_FLOOR && other.stream.message_bytes == row.stream.message_bytes
        })?;
        Some(row.stream.messages_per_second() / floor.stream.messages_per_second().max(1e-9))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> String {
    format!("{:.1} us", duration.as_secs_f64() * 1e6)
}

fn bytes(number: f64) -> String {
    match number {
        n if n >= 1_048_576.0 => format!("{:.0} MiB", n / 1_048_576.0),
        n if n >= 1024.0 => format!("{:.0} KiB", n / 1024.0),
        n => format!("{n:.0} B"),
    }
}

/// Two digits that matter, also far below one.
fn times(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.4}x") } else { format!("{ratio:.2}x") }
}

/// 1234567 as `1.23 M`.
fn count(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.2} G", n / 1e9),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::floor::new_histogram;

    fn sample(nanoseconds: &[u64]) -> Sample {
        let mut histogram = new_histogram().unwrap();
        for &value in nanoseconds {
            histogram.record(value).unwrap();
        }
        Sample::new(histogram)
    }

    fn report() -> Report {
        let latency = |path: &str, values: &[u64]| LatencyRow {
            path: path.into(),
            message_bytes: 16,
            sample: sample(values),
        };
        let stream = |path: &str, messages| StreamRow {
            path: path.into(),
            stream: Stream { messages, message_bytes: 1024, elapsed: Duration::from_secs(2) },
        };
        Report {
            floor: "raw",
            latencies: vec![
                latency("raw", &[6_000, 6_000, 7_000]),
                latency("krarup - krarup", &[9_000, 9_000, 20_000]),
            ],
            streams: vec![stream(STREAM_FLOOR, 4_000_000), stream("krarup - krarup", 3_000_000)],
        }
    }

    #[test]
    fn ratios_are_to_the_floor_of_the_same_size() {
        let table = report().table();
        let line = |part: &str| {
            table.lines().filter(|l| l.contains("krarup")).nth(match part {
                "latency" => 0,
                _ => 1,
            })
        };
        assert!(line("latency").unwrap().contains("1.50x"), "{table}");
        assert!(line("stream").unwrap().contains("0.75x"), "{table}");
        assert!(line("stream").unwrap().contains("1.50 M"), "{table}");
        let json = report().json();
        assert_eq!(json["streams"][1]["messages"], 3_000_000);
        assert!(json["round_trips"][0]["to_floor"].as_f64().unwrap() > 0.99);
    }

    #[test]
    fn the_plot_is_an_svg_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("latency.svg");
        report().plot(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("<svg") && text.contains("krarup - krarup, 16 B"));
        assert!(report().plot(&directory.path().join("absent/x.svg")).is_err());
        // Nothing measured is a plot without lines, not a failure.
        Report::default().plot(&path).unwrap();
    }
}
