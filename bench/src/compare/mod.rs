//! The whole comparison in one run: every number that is to be reached, with its verdict; and what
//! things cost as there are more of them.

mod growth;
mod markdown;
mod section;
mod targets;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::case::Case;
use crate::cli::{Compare, Options, Seconds};
use crate::error::Error;
use crate::report::json::{Entry, pretty};
use crate::report::plot::{self, Bar};
use crate::report::{Failure, Head, Measurement, Row, log, write};
use crate::run::{Bench, Progress, measure_all};
use section::{Check, Outcome, Section, Verdict};
use targets::Maker;

/// Where results go unless `--out` says otherwise.
const FOLDER: &str = "results";
/// Repetitions and times of a quick run.
const QUICK: (u32, Seconds, Seconds) =
    (3, Seconds(Duration::from_millis(100)), Seconds(Duration::from_millis(300)));

/// Which sections, and what the files are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The table of targets.
    Targets,
    /// Cost as work grows.
    Growth,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Subject::Targets => "compare",
            Subject::Growth => "growth",
        }
    }
}

/// One section with what was found out.
#[derive(Debug)]
struct Results {
    section: Section,
    measurements: Vec<Measurement>,
    failures: Vec<Failure>,
    rows: Vec<Row>,
    outcomes: Vec<Outcome>,
}

/// Runs the sections, prints the table and writes the results.
pub(crate) fn run(subject: Subject, asked: &Compare) -> Result<(), Error> {
    let options = options(asked);
    if !options.peers.is_empty() {
        let name = subject.name();
        return Err(Error::Usage(format!("{name} chooses its peers; --only chooses its rows")));
    }
    let mut bench = Bench::new(&options)?;
    let mut maker = Maker {
        releases: &mut bench.releases,
        warm_up: options.warm_up,
        duration: options.seconds,
        skipped: Vec::new(),
    };
    let all = match subject {
        Subject::Targets => maker.targets(),
        Subject::Growth => maker.growth(),
    };
    let skipped = maker.skipped;
    let sections = chosen(all, &asked.only)?;
    if asked.list {
        for section in &sections {
            println!("{:<14} {}", section.id, section.title);
        }
        return Ok(());
    }
    let folder = options.out.clone().unwrap_or_else(|| PathBuf::from(FOLDER));
    std::fs::create_dir_all(&folder)
        .map_err(Error::io(format!("cannot make the folder {}", folder.display())))?;
    let head = Head::collect(&options, &bench, skipped);
    let results = measure(sections, &options, &head, &mut bench);
    let document = Document { subject, head: &head, results: &results };
    document.publish(&folder, options.json)?;
    let failures: usize = results.iter().map(|results| results.failures.len()).sum();
    match failures {
        0 => Ok(()),
        count => Err(Error::Broken(format!("{count} measurements failed, see above"))),
    }
}

fn options(asked: &Compare) -> Options {
    let mut options = asked.options.clone();
    if asked.quick {
        (options.reps, options.warm_up, options.seconds) = QUICK;
    }
    options
}

/// The sections whose names begin with one of these; all when there are none.
fn chosen(all: Vec<Section>, only: &[String]) -> Result<Vec<Section>, Error> {
    let ids: Vec<&str> = all.iter().map(|section| section.id).collect();
    if let Some(unknown) = only.iter().find(|name| !ids.iter().any(|id| id.starts_with(*name))) {
        let known = ids.join(", ");
        return Err(Error::Usage(format!("no row is called {unknown:?}; there are {known}")));
    }
    let wanted =
        |section: &Section| only.is_empty() || only.iter().any(|name| section.id.starts_with(name));
    Ok(all.into_iter().filter(wanted).collect())
}

fn measure(
    sections: Vec<Section>,
    options: &Options,
    head: &Head,
    bench: &mut Bench,
) -> Vec<Results> {
    let repetitions = |section: &Section| options.reps.min(section.repetitions_max);
    let steps = |section: &Section| {
        section.groups.iter().map(Vec::len).sum::<usize>() * repetitions(section) as usize
    };
    let mut progress = Progress::with_lines(sections.iter().map(steps).sum());
    let mut all = Vec::new();
    for section in sections {
        let repetitions = repetitions(&section);
        let (measurements, failures) =
            measure_all(&section.groups, repetitions, bench, &mut progress);
        let cases = || section.groups.iter().flatten();
        let rows = cases().filter_map(|case: &Case| Row::of(case, &measurements)).collect();
        let outcomes = section
            .checks
            .iter()
            .map(|check| check.evaluate(&measurements, &failures, &head.skipped))
            .collect();
        all.push(Results { section, measurements, failures, rows, outcomes });
    }
    progress.clear();
    all
}

/// Everything, ready to be written.
struct Document<'a> {
    subject: Subject,
    head: &'a Head,
    results: &'a [Results],
}

#[derive(Serialize)]
struct SectionEntry<'a> {
    id: &'static str,
    title: &'static str,
    checks: Vec<CheckEntry>,
    results: Vec<Entry<'a>>,
    repetitions: Vec<Entry<'a>>,
    failures: Vec<FailureEntry<'a>>,
}

#[derive(Serialize)]
struct CheckEntry {
    what: String,
    peer: String,
    target: String,
    measured: Option<f64>,
    reference: Option<f64>,
    reference_peer: Option<String>,
    ratio: Option<f64>,
    spread: Option<(f64, f64)>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct FailureEntry<'a> {
    #[serde(flatten)]
    case: &'a Case,
    reason: &'a str,
}

impl CheckEntry {
    fn new(check: &Check, outcome: &Outcome) -> CheckEntry {
        CheckEntry {
            what: check.what.clone(),
            peer: check.ours.peer.name(),
            target: check.target_text(),
            measured: outcome.measured,
            reference: outcome.reference.map(|(_, value)| value),
            reference_peer: outcome.reference.map(|(peer, _)| peer.name()),
            ratio: outcome.ratio,
            spread: outcome.spread,
            verdict: outcome.verdict.name(),
            reason: match &outcome.verdict {
                Verdict::NotMeasured(reason) => Some(reason.clone()),
                Verdict::Met | Verdict::Missed => None,
            },
        }
    }
}

impl Document<'_> {
    fn publish(&self, folder: &std::path::Path, as_json: bool) -> Result<(), Error> {
        let name = self.subject.name();
        let mut plots = Vec::new();
        for results in self.results {
            for (file, document) in self.plots(results)? {
                write(folder, &file, document.as_bytes())?;
                plots.push((results.section.id, file));
            }
        }
        if let Some(plot) = self.verdicts()? {
            write(folder, &format!("{name}.svg"), plot.as_bytes())?;
        }
        let markdown = markdown::render(self, &plots);
        let json = self.json()?;
        print!("{}", if as_json { &json } else { &markdown });
        write(folder, &format!("{name}.md"), markdown.as_bytes())?;
        write(folder, &format!("{name}.json"), json.as_bytes())?;
        let all: Vec<Measurement> =
            self.results.iter().flat_map(|results| results.measurements.clone()).collect();
        if let Some(log) = log::render(self.head, &all)? {
            write(folder, &format!("{name}.hlog"), &log)?;
        }
        for failure in self.results.iter().flat_map(|results| &results.failures) {
            eprintln!("krarup-bench: {}: {}", failure.case.tag(), failure.reason);
        }
        Ok(())
    }

    /// The plots of one section with the names of their files. A section may have several kinds
    /// of work; each has plots of its own.
    fn plots(&self, results: &Results) -> Result<Vec<(String, String)>, Error> {
        let mut files = Vec::new();
        let kinds = results.rows.chunk_by(|one, other| one.case.work == other.case.work);
        for (index, rows) in kinds.enumerate() {
            let Some(work) = rows.first().map(|row| row.case.work) else { continue };
            let part = if index == 0 { String::new() } else { format!("-{}", work.name()) };
            for (suffix, document) in plot::render(self.head, work, rows)? {
                let (name, id) = (self.subject.name(), results.section.id);
                files.push((format!("{name}-{id}{part}{suffix}.svg"), document));
            }
        }
        Ok(files)
    }

    /// How far each target was reached, as bars: 1 and more is met.
    fn verdicts(&self) -> Result<Option<String>, Error> {
        use plotters::prelude::RGBColor;
        /// Longer bars would hide the others.
        const LONGEST: f64 = 4.0;
        let mut bars = Vec::new();
        for results in self.results {
            for (check, outcome) in results.section.checks.iter().zip(&results.outcomes) {
                let value = outcome.ratio.or(outcome.measured);
                let reached = match outcome.verdict {
                    Verdict::NotMeasured(_) => 0.0,
                    _ => value.map_or(0.0, |value| check.target.reached(value)),
                };
                let colour = match outcome.verdict {
                    Verdict::Met => RGBColor(0, 158, 115),
                    Verdict::Missed => RGBColor(213, 94, 0),
                    Verdict::NotMeasured(_) => RGBColor(170, 170, 170),
                };
                let label = format!("{}: {}", results.section.id, check.what);
                bars.push(Bar { label, value: reached.min(LONGEST), colour });
            }
        }
        if bars.is_empty() {
            return Ok(None);
        }
        plot::bars(self.head, "How far targets were reached", "1 is met; cut at 4", &bars).map(Some)
    }

    fn json(&self) -> Result<String, Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            head: &'a Head,
            sections: Vec<SectionEntry<'a>>,
        }
        let sections = self.results.iter().map(|results| {
            let checks = results.section.checks.iter().zip(&results.outcomes);
            let failures = results.failures.iter();
            SectionEntry {
                id: results.section.id,
                title: results.section.title,
                checks: checks.map(|(check, outcome)| CheckEntry::new(check, outcome)).collect(),
                results: results.rows.iter().map(Entry::median).collect(),
                repetitions: results.measurements.iter().map(Entry::repetition).collect(),
                failures: failures
                    .map(|failure| FailureEntry { case: &failure.case, reason: &failure.reason })
                    .collect(),
            }
        });
        pretty(&Whole { head: self.head, sections: sections.collect() })
    }
}
