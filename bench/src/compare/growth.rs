//! What things cost as there are more of them: sections without targets, with plots.

use super::section::Section;
use super::targets::Maker;
use crate::case::Case;
use crate::cli::Size;
use crate::peer::{Peer, System};
use crate::work::Work;

impl Maker<'_> {
    /// Every section, in the order of the page.
    pub(crate) fn growth(&mut self) -> Vec<Section> {
        use System::*;
        let pairs = [1, 8, 64, 256, 1000].map(|count| move |case| Case { count, ..case });
        let links = [100, 1000, 10_000].map(|count| move |case| Case { count, ..case });
        let nodes = [2, 10, 50, 100, 200].map(|count| move |case| Case { count, ..case });
        let shards = [1, 2, 4].map(|shards| move |case| Case { shards, count: 64, ..case });
        let sizes = [16, 128, 1 << 10, 8 << 10, 64 << 10, 1 << 20]
            .map(|bytes| move |case| Case { size: Size(bytes), ..case });
        let streams = [16, 128, 1 << 10, 8 << 10, 64 << 10, 1 << 20, 16 << 20, 100 << 20]
            .map(|bytes| move |case| Case { size: Size(bytes), ..case });
        let rates = [1_000, 10_000, 50_000, 100_000]
            .map(|rate| move |case| Case { rate: Some(rate), ..case });
        let lanes = [RawSpin, UnixSpin, KrarupRawTcp, KrarupRaw, Krarup, KrarupPlain, Otp];
        let nodes_of_ours = [Krarup, KrarupPlain];
        let sharded = [KrarupRaw, KrarupRawTcp, Krarup, KrarupPlain];
        vec![
            self.growing("rtt", "Round trips by message size", Work::Rtt, &lanes, &sizes),
            self.growing("stream", "Streams by message size", Work::Stream, &lanes, &streams),
            self.growing("pairs", "1 to 1,000 busy pairs", Work::Pairs, &lanes, &pairs),
            self.growing("rate", "An open loop, by its rate", Work::Rate, &lanes, &rates),
            self.growing("shards", "1, 2 and 4 shards", Work::Shards, &sharded, &shards),
            self.long(
                "links",
                "Links that carry nothing",
                Work::Links,
                &[Krarup, KrarupPlain, Otp],
                &links,
            ),
            self.long("mesh", "A full mesh of 2 to 200 nodes", Work::Mesh, &nodes_of_ours, &nodes),
        ]
    }

    fn growing(
        &mut self,
        id: &'static str,
        title: &'static str,
        work: Work,
        systems: &[System],
        steps: &[impl Fn(Case) -> Case],
    ) -> Section {
        let mut groups = Vec::new();
        for step in steps {
            let mut group = Vec::new();
            for &system in systems {
                let peer = Peer::of(system);
                let peer = if peer.needs_erl() { self.newest(system) } else { peer };
                group.push(step(self.case(work, peer)));
            }
            groups.push(self.runnable(group));
        }
        Section { id, title, groups, repetitions_max: u32::MAX, checks: Vec::new() }
    }

    /// As [`Maker::growing`], where one repetition takes a minute.
    fn long(
        &mut self,
        id: &'static str,
        title: &'static str,
        work: Work,
        systems: &[System],
        steps: &[impl Fn(Case) -> Case],
    ) -> Section {
        Section { repetitions_max: 3, ..self.growing(id, title, work, systems, steps) }
    }
}
