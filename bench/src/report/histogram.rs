//! The one shape of histogram that all latencies here have.

/// Nanoseconds, three significant digits, up to one minute.
pub(crate) type Histogram = hdrhistogram::Histogram<u64>;

/// Longest latency that is told apart; what is longer counts as this.
const NANOSECONDS_MAX: u64 = 60_000_000_000;

/// An empty histogram. It never grows, so recording never allocates.
pub(crate) fn new() -> Histogram {
    Histogram::new_with_bounds(1, NANOSECONDS_MAX, 3)
        .expect("these bounds are constants that the histogram accepts")
}

/// Adds `count` samples.
pub(crate) fn record(histogram: &mut Histogram, nanoseconds: u64, count: u64) {
    histogram.saturating_record_n(nanoseconds.max(1), count);
}

/// A histogram of pairs of nanoseconds and count.
pub(crate) fn from_samples(samples: &[(u64, u64)]) -> Histogram {
    let mut histogram = new();
    for &(nanoseconds, count) in samples {
        record(&mut histogram, nanoseconds, count);
    }
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_outside_the_bounds_are_kept_at_the_bounds() {
        let histogram = from_samples(&[(0, 1), (u64::MAX, 2), (1000, 3)]);
        assert_eq!(histogram.len(), 6);
        assert_eq!(histogram.value_at_quantile(0.5), 1000);
    }
}
