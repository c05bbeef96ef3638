//! One line per repetition, and one of medians, for spreadsheets.

use std::fmt::Write;

use super::{Figures, QUANTILES, Report, Summary};
use crate::protocol::Work;

/// All figures, with a header line. `repetition` is a number from 1, or `median`.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::from("work,peer,size_bytes,repetition,");
    match report.head.work {
        Work::Rtt => {
            for (name, _) in QUANTILES {
                let _ = write!(text, "{}_ns,", name.replace('.', "_"));
            }
            text.push_str("max_ns,round_trips,ratio_raw_spin,ratio_raw_block,ratio_otp\n");
        }
        Work::Stream => {
            text.push_str("messages_per_s,bytes_per_s,ratio_raw_spin,ratio_raw_block,ratio_otp\n")
        }
    }
    let work = report.head.work.name();
    for measurement in &report.measurements {
        let size = measurement.size.0;
        let _ = write!(text, "{work},{},{size},{},", measurement.peer, measurement.repetition + 1);
        match &measurement.figures {
            Figures::Rtt(histogram) => {
                for (_, quantile) in QUANTILES {
                    let _ = write!(text, "{},", histogram.value_at_quantile(quantile));
                }
                let _ = writeln!(text, "{},{},,,", histogram.max(), histogram.len());
            }
            Figures::Stream { .. } => {
                let rate = measurement.figures.messages_per_second();
                let _ = writeln!(text, "{rate:.1},{:.0},,,", rate * size as f64);
            }
        }
    }
    for row in &report.rows {
        let size = row.size.0;
        let _ = write!(text, "{work},{},{size},median,", row.peer);
        match &row.result {
            Summary::Rtt { quantiles, max, count, .. } => {
                for value in quantiles {
                    let _ = write!(text, "{value},");
                }
                let _ = write!(text, "{max},{count},");
            }
            Summary::Stream { rate, .. } => {
                let _ = write!(text, "{rate:.1},{:.0},", rate * size as f64);
            }
        }
        let ratio = |ratio: Option<f64>| ratio.map_or_else(String::new, |r| format!("{r:.4}"));
        let (spin, block) = (ratio(row.ratio_spin), ratio(row.ratio_block));
        let _ = writeln!(text, "{spin},{block},{}", ratio(row.ratio_otp));
    }
    text
}
