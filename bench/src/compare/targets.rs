//! The numbers that Krarup is to reach, each with the cases that show whether it does.

use super::section::{Check, Relation, Section, Target};
use crate::case::Case;
use crate::cli::{Count, Seconds, Size};
use crate::codec::{self, Direction, Subject};
use crate::otp::Releases;
use crate::peer::{Peer, System};
use crate::plan::available;
use crate::work::{Figure, Metric, QUANTILES, Work};

const P50: Figure = Figure::Quantile(0);
const P99: Figure = Figure::Quantile(2);
const RATE: Figure = Figure::Of(Metric::PerSecond);

/// What sections are made with.
#[derive(Debug)]
pub(crate) struct Maker<'a> {
    pub(crate) releases: &'a mut Releases,
    pub(crate) warm_up: Seconds,
    pub(crate) duration: Seconds,
    /// Peers that this host or this build cannot run, and why.
    pub(crate) skipped: Vec<String>,
}

impl Maker<'_> {
    /// A case with its settings, whether its peer can run or not.
    pub(crate) fn case(&self, work: Work, peer: Peer) -> Case {
        Case::new(work, peer, self.warm_up, self.duration)
    }

    /// The newest release of OTP where that is here, else the default one.
    pub(crate) fn newest(&mut self, system: System) -> Peer {
        let newest = Peer { system, release: Some(29) };
        if self.releases.find(newest.release).is_ok() { newest } else { Peer::of(system) }
    }

    /// Those cases whose peers can run here.
    pub(crate) fn runnable(&mut self, cases: Vec<Case>) -> Vec<Case> {
        cases
            .into_iter()
            .filter(|case| match available(case.peer, self.releases) {
                Ok(()) => true,
                Err(reason) => {
                    let line = format!("{}: {reason}", case.peer);
                    if !self.skipped.contains(&line) {
                        self.skipped.push(line);
                    }
                    false
                }
            })
            .collect()
    }

    fn section(
        &mut self,
        id: &'static str,
        title: &'static str,
        groups: Vec<Vec<Case>>,
        checks: Vec<Check>,
    ) -> Section {
        let groups = groups.into_iter().map(|group| self.runnable(group)).collect();
        Section { id, title, groups, repetitions_max: u32::MAX, checks }
    }

    /// Every section, in the order of the table.
    pub(crate) fn targets(&mut self) -> Vec<Section> {
        vec![
            self.round_trip_tcp(),
            self.round_trip_unix(),
            self.small_stream("stream-16", "One-way stream, 16 B, TCP", 16, 25e6),
            self.small_stream("stream-1k", "One-way stream, 1 KiB, TCP", 1024, 3e6),
            self.large_streams(),
            self.pairs(),
            self.with_otp(),
            self.codec(),
            self.connect(),
            self.calls(),
            self.monitors(),
            self.parked(),
            self.epmd(),
            self.links(),
        ]
    }

    /// The same work with each of these systems; those with OTP in its newest release.
    fn cases(&mut self, work: Work, systems: &[System], set: impl Fn(Case) -> Case) -> Vec<Case> {
        systems
            .iter()
            .map(|&system| {
                let peer = if Peer::of(system).needs_erl() {
                    self.newest(system)
                } else {
                    Peer::of(system)
                };
                set(self.case(work, peer))
            })
            .collect()
    }

    fn older_releases(&self, like: &Case) -> Vec<Case> {
        let older = [25, 27].map(|release| Peer { system: System::Otp, release: Some(release) });
        older.map(|peer| Case { peer, ..*like }).to_vec()
    }

    fn round_trip_tcp(&mut self) -> Section {
        use System::*;
        let others = [RawBlock, KrarupPlain, ErlDist, ErlDistOtp, EdpOtp, Zmq];
        let [floor, raw, term, otp] = self.four(Work::Rtt, [RawSpin, KrarupRawTcp, KrarupTcp, Otp]);
        let mut group = vec![floor, raw, term, otp];
        group.extend(self.older_releases(&otp));
        group.extend(self.cases(Work::Rtt, &others, |case| case));
        let mut checks = Vec::new();
        for (name, ours) in [("raw bytes", raw), ("terms", term)] {
            checks.push(latency(name, ours, P50, floor, 1.15));
            checks.push(latency(name, ours, P99, floor, 2.0));
        }
        self.section("rtt", "Round trip, 16 B, TCP", vec![group], checks)
    }

    fn round_trip_unix(&mut self) -> Section {
        use System::*;
        let [floor, raw, term, block] =
            self.four(Work::Rtt, [UnixSpin, KrarupRaw, Krarup, UnixBlock]);
        let mut checks = Vec::new();
        for (name, ours) in [("raw bytes", raw), ("terms", term)] {
            checks.push(latency(name, ours, P50, floor, 1.25));
            checks.push(latency(name, ours, P99, floor, 2.0));
        }
        let group = vec![floor, raw, term, block];
        self.section("rtt-unix", "Round trip, 16 B, one host: Unix lane", vec![group], checks)
    }

    fn small_stream(
        &mut self,
        id: &'static str,
        title: &'static str,
        size: usize,
        least: f64,
    ) -> Section {
        use System::*;
        let systems = [
            RawSpin,
            KrarupRawTcp,
            KrarupTcp,
            KrarupRaw,
            Krarup,
            KrarupPlain,
            Otp,
            ErlDist,
            ErlDistOtp,
            EdpOtp,
            Zmq,
        ];
        let mut group =
            self.cases(Work::Stream, &systems, |case| Case { size: Size(size), ..case });
        let (ours, otp) = (group[1], group[6]);
        group.extend(self.older_releases(&otp));
        let mut checks = vec![Check {
            what: "raw bytes, messages/s".into(),
            ours,
            figure: RATE,
            relation: Relation::Absolute,
            target: Target::AtLeast(least),
        }];
        if size == 16 {
            for (name, ours) in [("raw bytes", group[1]), ("terms", group[2])] {
                checks.push(Check {
                    what: format!("{name}, allocations for each"),
                    ours,
                    figure: Figure::Of(Metric::AllocationsEach),
                    relation: Relation::Absolute,
                    // What a shard's clock does ten times a second is not for a message.
                    target: Target::AtMost(0.001),
                });
            }
        }
        self.section(id, title, vec![group], checks)
    }

    fn large_streams(&mut self) -> Section {
        use System::*;
        let systems = [RawSpin, KrarupRawTcp, KrarupTcp, Otp, Zmq];
        let mut groups = Vec::new();
        let mut checks = Vec::new();
        for bytes in [64 << 10, 1 << 20, 16 << 20, 100 << 20] {
            let size = Size(bytes);
            let group = self.cases(Work::Stream, &systems, |case| Case { size, ..case });
            let (floor, ours) = (group[0], group[1]);
            checks.push(Check {
                what: format!("{size}, raw bytes, MB/s"),
                ours,
                figure: Figure::Of(Metric::BytesPerSecond),
                relation: Relation::Over(vec![floor]),
                target: Target::AtLeast(0.95),
            });
            groups.push(group);
        }
        self.section("stream-large", "One-way stream, 64 KiB to 100 MiB, TCP", groups, checks)
    }

    fn pairs(&mut self) -> Section {
        use System::*;
        let systems = [
            RawSpin,
            RawBlock,
            KrarupRawTcp,
            KrarupTcp,
            KrarupRaw,
            Krarup,
            KrarupPlain,
            Otp,
            ErlDist,
            Zmq,
        ];
        let mut group = self.cases(Work::Pairs, &systems, |case| Case { count: 64, ..case });
        let (ours, otp) = (group[2], group[7]);
        group.extend(self.older_releases(&otp));
        let absolute = |what: &str, figure, target| Check {
            what: format!("raw bytes, {what}"),
            ours,
            figure,
            relation: Relation::Absolute,
            target,
        };
        let checks = vec![
            absolute("round trips/s", RATE, Target::AtLeast(3e6)),
            absolute("p99", P99, Target::AtMost(60e3)),
        ];
        self.section("pairs", "64 concurrent pairs, 16 B, TCP", vec![group], checks)
    }

    fn with_otp(&mut self) -> Section {
        use System::*;
        let [otp, to, from, _] = self.four(Work::Rtt, [Otp, KrarupOtp, OtpKrarup, RawSpin]);
        let mut groups = vec![vec![otp, to, from]];
        let mut checks = vec![latency("round trip 16 B", to, P50, otp, 0.75)];
        for bytes in [16, 1 << 10] {
            let size = Size(bytes);
            let group = self
                .cases(Work::Stream, &[Otp, KrarupOtp, OtpKrarup], |case| Case { size, ..case });
            let (otp, to, from) = (group[0], group[1], group[2]);
            for (name, ours, least) in [("to OTP", to, 1.5), ("from OTP", from, 1.0)] {
                checks.push(Check {
                    what: format!("stream {size} {name}, messages/s"),
                    ours,
                    figure: RATE,
                    relation: Relation::Over(vec![otp]),
                    target: Target::AtLeast(least),
                });
            }
            groups.push(group);
        }
        self.section("otp", "With OTP nodes", groups, checks)
    }

    fn codec(&mut self) -> Section {
        use System::*;
        let systems = [Krarup, KrarupWalk, KrarupOwned, Otp, Eetf, Erltf, ErltfBorrowed];
        let duration = Seconds(self.duration.0.min(std::time::Duration::from_millis(300)));
        let (mut groups, mut checks) = (Vec::new(), Vec::new());
        for subject in Subject::ALL {
            for direction in Direction::ALL {
                let term = codec::Term { subject, direction };
                let mut group = self.cases(Work::Codec, &systems, |case| Case {
                    term: Some(term),
                    duration,
                    ..case
                });
                group.retain(|case| codec::has(case.peer.system, direction));
                let is_other = |system| !matches!(system, Krarup | KrarupWalk | KrarupOwned);
                let others = group.iter().filter(|case| is_other(case.peer.system));
                let least = if direction == Direction::Decode { 4.0 } else { 2.0 };
                checks.push(Check {
                    what: term.to_string(),
                    ours: group[0],
                    figure: Figure::Of(Metric::NanosecondsEach),
                    relation: Relation::Under(others.copied().collect()),
                    target: Target::AtLeast(least),
                });
                groups.push(group);
            }
        }
        self.section("codec", "Terms in external form", groups, checks)
    }

    fn connect(&mut self) -> Section {
        use System::*;
        let mut group =
            self.cases(Work::Connect, &[Krarup, KrarupPlain, KrarupOtp, Otp], |case| case);
        let ours = group[0];
        let releases = self.older_releases(&group[3]);
        let otp_25 = releases[0];
        group.extend(releases);
        let checks = vec![latency("look-up to first answer", ours, P50, otp_25, 0.7)];
        self.section("connect", "First contact", vec![group], checks)
    }

    fn calls(&mut self) -> Section {
        use System::*;
        let mut group = self.cases(Work::Rtt, &[KrarupTcp, Otp], |case| case);
        let plain = group[0];
        let calls = self.cases(Work::Call, &[KrarupTcp, Otp, KrarupOtp, OtpKrarup], |case| case);
        let ours = calls[0];
        group.extend(calls);
        for work in [Work::Spawn, Work::Rpc] {
            group.extend(self.cases(work, &[KrarupTcp, Otp], |case| case));
        }
        let checks = vec![latency("call of a server", ours, P50, plain, 1.3)];
        let title = "Calls, spawns and calls of functions, 16 B, TCP";
        Section { repetitions_max: 5, ..self.section("calls", title, vec![group], checks) }
    }

    fn monitors(&mut self) -> Section {
        use System::*;
        let (mut groups, mut checks) = (Vec::new(), Vec::new());
        for apart in [false, true] {
            let group = self.cases(Work::Monitors, &[KrarupTcp, KrarupPlain, Otp], |case| Case {
                count: 100_000,
                apart,
                ..case
            });
            let of = if apart { "of as many processes" } else { "of one process" };
            for (name, ours) in [("over lanes", group[0]), ("over OTP's protocol", group[1])] {
                checks.push(Check {
                    what: format!("{of}, {name}, from the node's loss to the last DOWN"),
                    ours,
                    figure: Figure::Of(Metric::AllDownNanoseconds),
                    relation: Relation::Absolute,
                    target: Target::AtMost(1e9),
                });
            }
            groups.push(group);
        }
        let title = "100,000 monitors over one connection";
        Section { repetitions_max: 3, ..self.section("monitors", title, groups, checks) }
    }

    fn parked(&mut self) -> Section {
        use System::*;
        let parked = |case| Case { spin_us: Some(0), ..case };
        let systems = [RawBlock, KrarupRawTcp, KrarupTcp, Otp, UnixBlock, KrarupRaw];
        let group = self.cases(Work::Rtt, &systems, parked);
        let (floor, raw, term, otp) = (group[0], group[1], group[2], group[3]);
        let mut checks = Vec::new();
        for (name, ours) in [("raw bytes", raw), ("terms", term)] {
            checks.push(latency(name, ours, P50, floor, 1.25));
            checks.push(latency(name, ours, P99, otp, 1.0));
        }
        self.section("parked", "Round trip of nodes that sleep, 16 B, TCP", vec![group], checks)
    }

    fn epmd(&mut self) -> Section {
        use System::*;
        let (mut groups, mut checks) = (Vec::new(), Vec::new());
        for names in [10, 10_000] {
            let group = self.cases(Work::Epmd, &[Bare, Krarup, Otp], |case| Case {
                count: 64,
                names: Some(names),
                ..case
            });
            let (bare, ours, otp) = (group[0], group[1], group[2]);
            for (other, least) in [(bare, 0.8), (otp, 2.0)] {
                checks.push(Check {
                    what: format!("64 clients, {} names, look-ups/s", Count(names)),
                    ours,
                    figure: RATE,
                    relation: Relation::Over(vec![other]),
                    target: Target::AtLeast(least),
                });
            }
            groups.push(group);
        }
        // All take turns, as the rate is to be the same with more names.
        let groups = vec![groups.concat()];
        let (few, many) = (groups[0][1], groups[0][4]);
        checks.push(Check {
            what: "10,000 names against 10, look-ups/s".into(),
            ours: many,
            figure: RATE,
            relation: Relation::Over(vec![few]),
            target: Target::AtLeast(0.95),
        });
        self.section("epmd", "Look-ups of an epmd", groups, checks)
    }

    fn links(&mut self) -> Section {
        use System::*;
        let group = self
            .cases(Work::Links, &[Krarup, KrarupPlain, Otp], |case| Case { count: 10_000, ..case });
        let check = |what: &str, ours| Check {
            what: format!("{what}, memory for each"),
            ours,
            figure: Figure::Of(Metric::BytesEach),
            relation: Relation::Absolute,
            target: Target::AtMost(4096.0),
        };
        let checks = vec![check("to Krarup nodes", group[0]), check("to OTP nodes", group[1])];
        let title = "10,000 links that carry nothing, in one process";
        Section { repetitions_max: 3, ..self.section("links", title, vec![group], checks) }
    }

    fn four(&mut self, work: Work, systems: [System; 4]) -> [Case; 4] {
        let cases = self.cases(work, &systems, |case| case);
        [cases[0], cases[1], cases[2], cases[3]]
    }
}

/// A latency that is to be at most so many times another.
fn latency(what: &str, ours: Case, figure: Figure, floor: Case, most: f64) -> Check {
    let name = match figure {
        Figure::Quantile(index) => QUANTILES[index].0,
        _ => "",
    };
    Check {
        what: format!("{what}, {name}"),
        ours,
        figure,
        relation: Relation::Over(vec![floor]),
        target: Target::AtMost(most),
    }
}
