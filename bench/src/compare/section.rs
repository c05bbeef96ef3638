//! A part of a comparison: cases that take turns, and what their figures are to show.

use crate::case::Case;
use crate::peer::Peer;
use crate::report::format;
use crate::report::{Failure, Measurement, Row, median};
use crate::work::{Figure, Metric};

/// Cases that are measured together.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    /// The name on the command line and in file names.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// Within a group every case has its turn in each repetition.
    pub(crate) groups: Vec<Vec<Case>>,
    /// Fewer repetitions than asked for, where each takes long.
    pub(crate) repetitions_max: u32,
    pub(crate) checks: Vec<Check>,
}

/// What a figure has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

/// What a figure is divided by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Relation {
    /// Nothing: the target is in the figure's own unit.
    Absolute,
    /// The best of these: the ratio is ours over theirs.
    Over(Vec<Case>),
    /// The best of these: the ratio is theirs over ours, so often ours is faster.
    Under(Vec<Case>),
}

/// One line of the table of verdicts.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    /// Which figure, in a few words.
    pub(crate) what: String,
    pub(crate) ours: Case,
    pub(crate) figure: Figure,
    pub(crate) relation: Relation,
    pub(crate) target: Target,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    /// Median of ours; latencies in nanoseconds.
    pub(crate) measured: Option<f64>,
    /// The best of the others.
    pub(crate) reference: Option<(Peer, f64)>,
    pub(crate) ratio: Option<f64>,
    /// Smallest and largest value of a repetition: of the ratio where there is one.
    pub(crate) spread: Option<(f64, f64)>,
    pub(crate) verdict: Verdict,
}

/// Whether a target was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// Not known, and why.
    NotMeasured(String),
}

impl Target {
    fn holds(self, value: f64) -> bool {
        match self {
            Target::AtMost(limit) => value <= limit,
            Target::AtLeast(limit) => value >= limit,
        }
    }

    fn limit(self) -> f64 {
        match self {
            Target::AtMost(limit) | Target::AtLeast(limit) => limit,
        }
    }

    /// How far over its target a value is: 1 and more is met.
    pub(crate) fn reached(self, value: f64) -> f64 {
        match self {
            Target::AtMost(limit) => limit / value.max(f64::MIN_POSITIVE),
            Target::AtLeast(limit) => value / limit,
        }
    }
}

impl Check {
    /// The target in words, such as `≤ 1.15 × raw-spin`.
    pub(crate) fn target_text(&self) -> String {
        let sign = match self.target {
            Target::AtMost(_) => "≤",
            Target::AtLeast(_) => "≥",
        };
        let limit = self.target.limit();
        match &self.relation {
            Relation::Absolute => format!("{sign} {}", with_unit(self.figure, limit)),
            Relation::Over(others) | Relation::Under(others) => {
                let name = |case: &Case| match case.work == self.ours.work {
                    true => case.peer.name(),
                    false => format!("{} of {}", case.work.name(), case.peer),
                };
                let mut names: Vec<String> = others.iter().map(name).collect();
                names.dedup();
                let of = match names.len() {
                    0 | 1 => names.join(""),
                    _ => format!("best of {}", names.join(", ")),
                };
                let faster = matches!(self.relation, Relation::Under(_));
                let times = if faster { "times as fast as" } else { "×" };
                format!("{sign} {limit} {times} {of}")
            }
        }
    }

    /// Looks at what was measured.
    pub(crate) fn evaluate(
        &self,
        measurements: &[Measurement],
        failures: &[Failure],
        skipped: &[String],
    ) -> Outcome {
        let row = |case: &Case| Row::of(case, measurements)?.get(self.figure);
        let missing = |case: &Case| {
            let failure = failures.iter().find(|failure| failure.case == *case);
            let reason = failure.map(|failure| failure.reason.lines().next().unwrap_or_default());
            let name = case.peer.name();
            let skip = skipped.iter().find(|reason| reason.starts_with(&format!("{name}:")));
            reason.or(skip.map(String::as_str)).unwrap_or("it was not measured").to_owned()
        };
        let Some(measured) = row(&self.ours) else {
            return Outcome::unknown(None, missing(&self.ours));
        };
        let (others, faster) = match &self.relation {
            Relation::Absolute => {
                let spread = spread(&self.values(&self.ours, measurements));
                let verdict = self.verdict(measured);
                let measured = Some(measured);
                return Outcome { measured, reference: None, ratio: None, spread, verdict };
            }
            Relation::Over(others) => (others, false),
            Relation::Under(others) => (others, true),
        };
        // Small is good for what is at most so much, and for what ours is to be faster than.
        let least = faster || matches!(self.target, Target::AtMost(_));
        let known = others.iter().filter_map(|case| Some((case, row(case)?)));
        let best = known.reduce(|one, other| if (other.1 < one.1) == least { other } else { one });
        let Some((best, reference)) = best else {
            let reason = others.first().map_or_else(String::new, missing);
            return Outcome::unknown(Some(measured), reason);
        };
        let ratio = |ours: f64, theirs: f64| if faster { theirs / ours } else { ours / theirs };
        // Both had their turn in the same repetition, so each gives a ratio of its own.
        let ours = self.values(&self.ours, measurements);
        let theirs = self.values(best, measurements);
        let ratios: Vec<f64> = ours
            .iter()
            .filter_map(|(repetition, ours)| {
                let (_, theirs) = theirs.iter().find(|(other, _)| other == repetition)?;
                Some(ratio(*ours, *theirs))
            })
            .collect();
        // Their median, as a machine that changes its pace between repetitions changes it for both.
        let value =
            if ratios.is_empty() { ratio(measured, reference) } else { median(ratios.clone()) };
        Outcome {
            measured: Some(measured),
            reference: Some((best.peer, reference)),
            ratio: Some(value),
            spread: spread(&(0..).zip(ratios).collect::<Vec<_>>()),
            verdict: self.verdict(value),
        }
    }

    fn verdict(&self, value: f64) -> Verdict {
        if self.target.holds(value) { Verdict::Met } else { Verdict::Missed }
    }

    /// The figure of each repetition.
    fn values(&self, case: &Case, measurements: &[Measurement]) -> Vec<(u32, f64)> {
        measurements
            .iter()
            .filter(|measurement| measurement.case == *case)
            .filter_map(|one| Some((one.repetition, one.figures.get(self.figure)?)))
            .collect()
    }
}

impl Outcome {
    fn unknown(measured: Option<f64>, reason: String) -> Outcome {
        let verdict = Verdict::NotMeasured(reason);
        Outcome { measured, reference: None, ratio: None, spread: None, verdict }
    }
}

impl Verdict {
    /// One or two words.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::Missed => "missed",
            Verdict::NotMeasured(_) => "not measured",
        }
    }
}

fn spread(values: &[(u32, f64)]) -> Option<(f64, f64)> {
    let values = || values.iter().map(|(_, value)| *value);
    Some((values().reduce(f64::min)?, values().reduce(f64::max)?))
}

/// A figure with its unit.
pub(crate) fn with_unit(figure: Figure, value: f64) -> String {
    let unit = match figure {
        Figure::Quantile(_) | Figure::Longest => " µs",
        Figure::Of(Metric::PerSecond | Metric::LinksPerSecond) => "/s",
        Figure::Of(Metric::BytesPerSecond) => " MB/s",
        Figure::Of(Metric::NanosecondsEach) => " ns",
        Figure::Of(Metric::BytesEach | Metric::ServerBytesEach) => " B",
        Figure::Of(Metric::AllUpNanoseconds | Metric::AllDownNanoseconds) => " ms",
        _ => "",
    };
    format!("{}{unit}", format::figure(figure, value))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::Seconds;
    use crate::peer::System;
    use crate::report::Figures;
    use crate::work::Work;

    fn case(system: System) -> Case {
        let second = Seconds(Duration::from_secs(1));
        Case::new(Work::Stream, Peer::of(system), second, second)
    }

    fn rates(system: System, rates: &[f64]) -> Vec<Measurement> {
        let measurement = |(repetition, rate): (u32, &f64)| Measurement {
            case: case(system),
            repetition,
            figures: Figures::metrics(vec![(Metric::PerSecond, *rate)]),
        };
        (0..).zip(rates).map(measurement).collect()
    }

    fn check(relation: Relation, target: Target) -> Check {
        Check {
            what: "rate".into(),
            ours: case(System::Krarup),
            figure: Figure::Of(Metric::PerSecond),
            relation,
            target,
        }
    }

    fn measured() -> Vec<Measurement> {
        [
            rates(System::Krarup, &[30.0, 20.0, 25.0]),
            rates(System::Otp, &[10.0, 10.0, 10.0]),
            rates(System::Zmq, &[12.0, 11.0, 5.0]),
        ]
        .concat()
    }

    #[test]
    fn an_absolute_target_looks_at_the_median() {
        let check = |target| check(Relation::Absolute, target).evaluate(&measured(), &[], &[]);
        let outcome = check(Target::AtLeast(25.0));
        assert_eq!(outcome.verdict, Verdict::Met);
        assert_eq!((outcome.measured, outcome.spread), (Some(25.0), Some((20.0, 30.0))));
        assert_eq!(check(Target::AtLeast(25.1)).verdict, Verdict::Missed);
        assert_eq!(check(Target::AtMost(25.0)).verdict, Verdict::Met);
    }

    #[test]
    fn ratios_are_to_the_best_of_the_others() {
        let others = vec![case(System::Otp), case(System::Zmq)];
        let over = check(Relation::Over(others.clone()), Target::AtLeast(2.0));
        assert!(over.target_text().contains("best of otp, zmq"), "{}", over.target_text());
        let outcome = over.evaluate(&measured(), &[], &[]);
        assert_eq!(outcome.reference, Some((Peer::of(System::Zmq), 11.0)));
        assert_eq!(outcome.verdict, Verdict::Met);
        // 30/12, 20/11, 25/5: each repetition by itself.
        let (least, most) = outcome.spread.expect("three");
        assert!((1.81..1.82).contains(&least) && most == 5.0, "{least} {most}");
        // Times: theirs over ours, and the least of theirs is the best.
        let under = check(Relation::Under(others), Target::AtLeast(0.5));
        let outcome = under.evaluate(&measured(), &[], &[]);
        assert_eq!(outcome.reference, Some((Peer::of(System::Otp), 10.0)));
        assert_eq!((outcome.ratio, outcome.verdict), (Some(0.4), Verdict::Missed));
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        let failed = Failure { case: case(System::Krarup), reason: "it broke\nthere".into() };
        let ours = check(Relation::Absolute, Target::AtMost(1.0));
        let outcome = ours.evaluate(&[], &[failed], &[]);
        assert_eq!(outcome.verdict, Verdict::NotMeasured("it broke".into()));
        let theirs = check(Relation::Over(vec![case(System::Otp)]), Target::AtMost(1.0));
        let outcome =
            theirs.evaluate(&rates(System::Krarup, &[1.0]), &[], &["otp: no erl here".to_owned()]);
        assert_eq!(outcome.verdict, Verdict::NotMeasured("otp: no erl here".into()));
        assert_eq!(outcome.measured, Some(1.0));
    }
}
