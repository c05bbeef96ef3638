//! The coordinator: cases in turns, on this host.

mod monitors;
mod pair;
mod progress;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::case::Case;
use crate::cli::Options;
use crate::codec;
use crate::epmd;
use crate::error::Error;
use crate::links;
use crate::mesh;
use crate::otp::{Erl, Releases};
use crate::pin::Pinning;
use crate::plan::Plan;
use crate::report::{Failure, Figures, Head, Measurement, Report};
use crate::work::Work;
pub(crate) use pair::{Setup, Side};
pub(crate) use progress::Progress;

/// Longest wait for a worker to start, connect, or say goodbye.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What measurements need of this host.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) pinning: Pinning,
    pub(crate) releases: Releases,
    /// Commands under which workers are started, for profilers.
    pub(crate) wrap_client: Option<String>,
    pub(crate) wrap_server: Option<String>,
    /// Options that are set on links that are up.
    pub(crate) setopt: Vec<String>,
}

impl Bench {
    pub(crate) fn new(options: &Options) -> Result<Bench, Error> {
        let pinning = match options.pin {
            Some(pinning) => pinning.check()?,
            None => Pinning::first_two()?,
        };
        Ok(Bench {
            pinning,
            releases: Releases::new(options.erl.clone().into()),
            wrap_client: options.wrap_client.clone(),
            wrap_server: options.wrap_server.clone(),
            setopt: options.setopt.clone(),
        })
    }

    /// The `erl` of a release, or of the default one.
    pub(crate) fn erl(&mut self, release: Option<u16>) -> Result<&Erl, Error> {
        self.releases.find(release).map_err(Error::Usage)
    }
}

/// Runs all cases of one subcommand and reports them.
pub(crate) fn run(
    options: &Options,
    plan: impl FnOnce(&mut Releases) -> Result<Plan, Error>,
) -> Result<(), Error> {
    let mut bench = Bench::new(options)?;
    let plan = plan(&mut bench.releases)?;
    if let Some(folder) = &options.out {
        std::fs::create_dir_all(folder)
            .map_err(Error::io(format!("cannot make the folder {}", folder.display())))?;
    }
    let head = Head::collect(options, &bench, plan.skipped);
    let groups: Vec<&[Case]> = plan.cases.chunk_by(Case::same_group).collect();
    let mut progress = Progress::new(plan.cases.len() * options.reps as usize);
    let (measurements, failures) = measure_all(&groups, options.reps, &mut bench, &mut progress);
    progress.clear();
    let report = Report::new(head, plan.work, &plan.cases, measurements, failures);
    report.publish(options.out.as_deref(), options.json)?;
    match report.failures() {
        0 => Ok(()),
        count => Err(Error::Broken(format!("{count} measurements failed, see above"))),
    }
}

/// Runs every case so many times.
///
/// Repetitions are interleaved: within each repetition every case of a group has its turn, and the
/// first turn rotates, so that a drift of the machine meets all peers alike.
pub(crate) fn measure_all(
    groups: &[impl AsRef<[Case]>],
    repetitions: u32,
    bench: &mut Bench,
    progress: &mut Progress,
) -> (Vec<Measurement>, Vec<Failure>) {
    let mut measurements: Vec<Measurement> = Vec::new();
    let mut failures: Vec<Failure> = Vec::new();
    for group in groups {
        let group = group.as_ref();
        for repetition in 0..repetitions {
            for turn in 0..group.len() {
                let case = group[(turn + repetition as usize) % group.len()];
                progress.step(&case, repetition);
                if failures.iter().any(|failure| failure.case == case) {
                    continue;
                }
                match measure(&case, bench) {
                    Ok(figures) => measurements.push(Measurement { case, repetition, figures }),
                    Err(error) => failures.push(Failure { case, reason: error.to_string() }),
                }
            }
        }
    }
    (measurements, failures)
}

/// One repetition of one case.
fn measure(case: &Case, bench: &mut Bench) -> Result<Figures, Error> {
    match case.work {
        Work::Rtt
        | Work::Stream
        | Work::Pairs
        | Work::Shards
        | Work::Rate
        | Work::Connect
        | Work::Call
        | Work::Spawn
        | Work::Rpc => pair::measure(case, bench),
        Work::Monitors => monitors::measure(case, bench),
        Work::Epmd => epmd::measure(case, bench),
        Work::Codec => codec::measure(case, bench),
        Work::Links => links::measure(case, bench),
        Work::Mesh => mesh::measure(case, bench),
    }
}

/// Ports below those that the system gives out by itself (Linux: from 32,768 on), so that nothing
/// takes one between here and the worker it is for.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A port of loopback that nobody has at this moment.
pub(crate) fn free_port() -> Result<u16, Error> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    // Runs beside each other begin at different places.
    let first = (std::process::id().wrapping_mul(7919) % u32::from(count)) as u16;
    for _ in 0..count {
        let port = PORTS.start + (first + NEXT.fetch_add(1, Ordering::Relaxed) % count) % count;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::Usage(format!("all ports from {} to {} are taken", PORTS.start, PORTS.end)))
}

/// A cookie for nodes that live a few seconds on loopback: it keeps strays out, no more. No two
/// are equal.
pub(crate) fn cookie() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("bench{:x}{:x}", std::process::id(), now.as_nanos())
}
