//! Numbers for people.

use crate::work::{Figure, Metric, QUANTILES};

/// The head of a figure's column.
pub(crate) fn title(figure: Figure, headline: Figure) -> String {
    match figure {
        Figure::Quantile(index) => QUANTILES[index].0.to_owned(),
        Figure::Longest => "max".to_owned(),
        Figure::Spread => format!("{} from–to", title(headline, headline)),
        Figure::Of(metric) => match metric {
            Metric::PerSecond => "per second",
            Metric::LinksPerSecond => "links/s",
            Metric::BytesPerSecond => "MB/s",
            Metric::NanosecondsEach => "ns",
            Metric::CpuNanosecondsEach => "CPU ns each",
            Metric::ServerNanosecondsEach => "server CPU ns each",
            Metric::AllocationsEach => "allocations each",
            Metric::MemoryBytes => "memory MB",
            Metric::BytesEach => "bytes each",
            Metric::ServerBytesEach => "server bytes each",
            Metric::AllUpNanoseconds => "all up ms",
            Metric::AllDownNanoseconds => "all down ms",
            Metric::ProcessorShare => "processor %",
            Metric::Names => "names",
        }
        .to_owned(),
    }
}

/// A figure in the unit of its column; latencies come in nanoseconds and are shown in µs.
pub(crate) fn figure(figure: Figure, value: f64) -> String {
    match figure {
        Figure::Quantile(_) | Figure::Longest => microseconds(value),
        Figure::Spread => String::new(),
        Figure::Of(metric) => match metric {
            Metric::PerSecond | Metric::LinksPerSecond => count(value),
            Metric::BytesPerSecond | Metric::MemoryBytes => format!("{:.1}", value / 1e6),
            Metric::NanosecondsEach
            | Metric::CpuNanosecondsEach
            | Metric::ServerNanosecondsEach => nanoseconds(value),
            Metric::AllocationsEach => format!("{value:.3}"),
            Metric::BytesEach | Metric::ServerBytesEach | Metric::Names => format!("{value:.0}"),
            Metric::AllUpNanoseconds | Metric::AllDownNanoseconds => {
                format!("{:.1}", value / 1e6)
            }
            Metric::ProcessorShare => format!("{:.2}", value * 100.0),
        },
    }
}

pub(crate) fn microseconds(nanoseconds: f64) -> String {
    format!("{:.1}", nanoseconds / 1e3)
}

fn nanoseconds(value: f64) -> String {
    if value >= 10_000.0 { count(value) } else { significant(value) }
}

/// A rate with its unit prefix: `14.4 M`, `812 k`, `95`.
pub(crate) fn count(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{} M", significant(rate / 1e6)),
        rate if rate >= 1e3 => format!("{} k", significant(rate / 1e3)),
        rate => significant(rate),
    }
}

/// Three significant digits, without an exponent.
pub(crate) fn significant(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
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
        assert_eq!(nanoseconds(157.3), "157");
        assert_eq!(nanoseconds(23_500.0), "23.5 k");
    }
}
