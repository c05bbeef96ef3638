//! Every histogram in HdrHistogram's interval log format, for its own tools.

use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::{Head, Measurement};
use crate::error::Error;

/// The log, each histogram tagged with its case and repetition; `None` without latencies.
pub(crate) fn render(head: &Head, measurements: &[Measurement]) -> Result<Option<Vec<u8>>, Error> {
    let failed =
        |error: String| Error::io("cannot write the histograms")(std::io::Error::other(error));
    if measurements.iter().all(|measurement| measurement.figures.latencies.is_none()) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.with_start_time(UNIX_EPOCH + head.started);
    let mut writer = builder
        .begin_log_with(&mut bytes, &mut serializer)
        .map_err(|error| failed(error.to_string()))?;
    for measurement in measurements {
        let Some(histogram) = &measurement.figures.latencies else { continue };
        let tag = format!("{}-{}", measurement.case.tag(), measurement.repetition + 1);
        writer
            .write_histogram(
                histogram.as_ref(),
                Duration::ZERO,
                measurement.case.duration.0,
                Tag::new(&tag),
            )
            .map_err(|error| failed(format!("{error:?}")))?;
    }
    drop(writer);
    Ok(Some(bytes))
}
