//! What it costs to write and to read terms in external form.
//!
//! The same four terms for everyone: a `gen_server` call, a list of 1,000 tuples, a map of 100
//! atoms, a binary of 1 MiB. Each repetition is a process of its own that does one thing for the
//! measured time. Reading checks everything; Krarup's borrowed terms are then looked at, every part of
//! them.

#[cfg(feature = "peers")]
mod rivals;
mod terms;

use std::fmt;
use std::hint::black_box;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::error::Error;
use crate::otp;
use crate::peer::{Kind, System};
use crate::pin;
use crate::process::WorkerProcess;
use crate::protocol::{Event, Order, nanoseconds, tell};
use crate::report::Figures;
use crate::run::{Bench, PATIENCE};
use crate::work::Metric;
use crate::worker;

/// The clock is read about this often.
const BATCH_TIME: Duration = Duration::from_millis(1);
/// Most operations between two looks at the clock.
const BATCH_MAX: u64 = 1 << 32;

/// One of the four terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    /// `{'$gen_call', {Pid, [alias | Reference]}, {get, <<"some_key">>, 42}}`.
    GenCall,
    /// `[{item, I, Float, Binary}, …]`, 1,000 of them.
    Tuples,
    /// `#{key_0 => value_0, …}`, 100 pairs.
    Map,
    /// 1 MiB.
    Binary,
}

/// Writing or reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// Into external form.
    Encode,
    /// From external form.
    Decode,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Term {
    pub(crate) subject: Subject,
    pub(crate) direction: Direction,
}

impl Subject {
    /// All, in the order of the report.
    pub(crate) const ALL: [Subject; 4] =
        [Subject::GenCall, Subject::Tuples, Subject::Map, Subject::Binary];

    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Subject::GenCall => "gen-call",
            Subject::Tuples => "tuples",
            Subject::Map => "map",
            Subject::Binary => "binary",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Subject::GenCall => "gen_call",
            Subject::Tuples => "list of 1,000 tuples",
            Subject::Map => "map of 100 atoms",
            Subject::Binary => "binary of 1 MiB",
        }
    }

    /// The name in `krarup_bench_codec`.
    fn atom(self) -> &'static str {
        match self {
            Subject::GenCall => "gen_call",
            other => other.name(),
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Subject::ALL.into_iter().find(|subject| subject.name() == text).ok_or_else(|| {
            let known = Subject::ALL.map(Subject::name).join(", ");
            format!("no term is called {text:?}; there are {known}")
        })
    }
}

impl Direction {
    /// Both.
    pub(crate) const ALL: [Direction; 2] = [Direction::Encode, Direction::Decode];

    fn name(self) -> &'static str {
        match self {
            Direction::Encode => "encode",
            Direction::Decode => "decode",
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.subject.title(), self.direction.name())
    }
}

/// Whether a system has this direction: for some, only reading has an owned and a borrowed form.
pub(crate) fn has(system: System, direction: Direction) -> bool {
    match system {
        System::KrarupWalk | System::KrarupOwned | System::ErltfBorrowed => {
            direction == Direction::Decode
        }
        _ => true,
    }
}

/// What a worker that measures a codec needs to know.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CodecConfig {
    system: String,
    term: Term,
    warm_up_ns: u64,
    duration_ns: u64,
    core: Option<usize>,
}

/// Runs one case in a process of its own.
pub(crate) fn measure(case: &Case, bench: &mut Bench) -> Result<Figures, Error> {
    let term = case.term.ok_or_else(|| Error::Broken("a codec case without a term".into()))?;
    let name = format!("{} codec", case.peer);
    let core = bench.pinning.client;
    let (warm_up_ns, duration_ns) = (nanoseconds(case.warm_up.0), nanoseconds(case.duration.0));
    let mut worker = if case.peer.system.client() == Kind::Beam {
        let erl = bench.erl(case.peer.release)?.path.clone();
        let config = format!(
            "#{{work => codec, term => {}, direction => {}, warm_up_ns => {warm_up_ns}, \
             duration_ns => {duration_ns}}}.",
            term.subject.atom(),
            term.direction.name()
        );
        otp::start_codec(name, &erl, core, &config)?
    } else {
        let system = case.peer.system.name().to_owned();
        let config = CodecConfig { system, term, warm_up_ns, duration_ns, core };
        worker::start(name, "codec", bench.wrap_client.as_deref(), &config)?
    };
    let figures = ask(&mut worker, case);
    worker.finish(PATIENCE);
    figures
}

fn ask(worker: &mut WorkerProcess, case: &Case) -> Result<Figures, Error> {
    match worker.event(PATIENCE)? {
        Event::Ready { .. } => {}
        other => return Err(worker.unexpected("ready", &other)),
    }
    let go = Order::Go { node: String::new() };
    let (go, stop) = if case.peer.system.client() == Kind::Beam {
        (otp::order_term(&go), otp::order_term(&Order::Stop))
    } else {
        (worker::json(&go)?, worker::json(&Order::Stop)?)
    };
    worker.write_line(&go)?;
    let (count, elapsed_ns) = match worker.event(PATIENCE + case.warm_up.0 + case.duration.0)? {
        Event::Measured { count, elapsed_ns, .. } => (count, elapsed_ns),
        other => return Err(worker.unexpected("a count", &other)),
    };
    // It may have ended already.
    let _ = worker.write_line(&stop);
    let each = elapsed_ns as f64 / count.max(1) as f64;
    Ok(Figures::metrics(vec![(Metric::NanosecondsEach, each)]))
}

/// The worker's side.
pub(crate) fn work() -> Result<(), Error> {
    let config: CodecConfig = worker::configuration()?;
    if let Some(core) = config.core {
        pin::pin_to(core)?;
    }
    let mut operation = operation(&config)?;
    tell(&Event::Ready { node: String::new(), port: 0, version: None })?;
    let Order::Go { .. } = worker::next_order()? else { return Ok(()) };
    let (warm, _) = run_for(Duration::from_nanos(config.warm_up_ns), &mut operation)?;
    let (count, elapsed) = run_for(Duration::from_nanos(config.duration_ns), &mut operation)?;
    let elapsed_ns = nanoseconds(elapsed);
    tell(&Event::Measured { samples: Vec::new(), count, total: warm + count, elapsed_ns })
}

/// One operation, checked for success, with what it needs prepared.
type Operation = Box<dyn FnMut(u64) -> Result<(), String>>;

fn operation(config: &CodecConfig) -> Result<Operation, Error> {
    let unknown =
        || Error::Usage(format!("{} is not in this build of krarup-bench", config.system));
    let system = System::ALL.into_iter().find(|system| system.name() == config.system);
    match system.ok_or_else(unknown)? {
        System::Krarup => Ok(terms::borrowed(config.term)),
        System::KrarupWalk => Ok(terms::walked(config.term)),
        System::KrarupOwned => Ok(terms::owned(config.term)),
        #[cfg(feature = "peers")]
        System::Eetf => rivals::eetf(config.term),
        #[cfg(feature = "peers")]
        System::Erltf => rivals::erltf(config.term),
        #[cfg(feature = "peers")]
        System::ErltfBorrowed => rivals::erltf_borrowed(config.term),
        _ => Err(unknown()),
    }
}

/// Repeats an operation for a time: how often, and how long that took.
fn run_for(duration: Duration, operation: &mut Operation) -> Result<(u64, Duration), Error> {
    let start = Instant::now();
    let (mut done, mut batch, mut before) = (0, 1, start);
    loop {
        black_box(&mut *operation)(batch).map_err(Error::Broken)?;
        done += batch;
        let now = Instant::now();
        if now - start >= duration {
            return Ok((done, now - start));
        }
        if now - before < BATCH_TIME {
            batch = (2 * batch).min(BATCH_MAX);
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations(system: System) -> Vec<(Term, Result<Operation, Error>)> {
        let all = Subject::ALL
            .into_iter()
            .flat_map(|subject| Direction::ALL.map(|direction| Term { subject, direction }));
        let config = |term| CodecConfig {
            system: system.name().into(),
            term,
            warm_up_ns: 0,
            duration_ns: 0,
            core: None,
        };
        all.filter(|term| has(system, term.direction))
            .map(|term| (term, operation(&config(term))))
            .collect()
    }

    #[test]
    fn every_system_of_this_build_reads_and_writes_every_term() {
        for system in crate::work::Work::Codec.systems() {
            if system.client() == Kind::Beam || system.missing_feature().is_some() {
                continue;
            }
            for (term, operation) in operations(*system) {
                let mut operation = operation.expect("in this build");
                operation(2).unwrap_or_else(|error| panic!("{} {term}: {error}", system.name()));
            }
        }
    }

    #[test]
    fn batches_fill_the_time() {
        let mut operation: Operation = Box::new(|times| {
            black_box(times);
            Ok(())
        });
        let (count, elapsed) =
            run_for(Duration::from_millis(5), &mut operation).expect("nothing fails");
        assert!(count > 100 && elapsed >= Duration::from_millis(5), "{count} in {elapsed:?}");
    }
}
