//! Which cases a subcommand asks for, and which of its peers this host can run.

use crate::case::Case;
use crate::cli::{
    Codec, Count, Epmd, Links, Mesh, Monitors, Options, Pairs, Rate, Shards, Size, Sized,
};
use crate::codec::{self, Subject};
use crate::error::Error;
use crate::otp::Releases;
use crate::peer::Peer;
use crate::work::Work;

/// Most pairs: each is a process on either side.
const PAIRS_MAX: u32 = 1000;
/// Largest message where many are under way at once.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// Most clients of an epmd: each is a descriptor.
const CLIENTS_MAX: u32 = 1000;
/// Most names in an epmd: each is a connection that stays open.
const NAMES_MAX: u32 = 15_000;

/// Most links of one node: each is a descriptor on either side.
const LINKS_MAX: u32 = 15_000;

/// Most monitors: each may be of a process of its own, of which OTP 25 has 262,144 at most.
const MONITORS_MAX: u32 = 200_000;

/// Most nodes of a mesh: each has its threads, and half as many links as there are.
const NODES_MAX: u32 = 200;
/// Most shards of a node.
const SHARDS_MAX: u32 = 64;

/// Cases in the order of the report; those of one group take turns.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) work: Work,
    pub(crate) cases: Vec<Case>,
    /// Peers that this host or this build cannot run, and why.
    pub(crate) skipped: Vec<String>,
}

impl Plan {
    pub(crate) fn sized(work: Work, asked: &Sized, releases: &mut Releases) -> Result<Plan, Error> {
        let settings = asked.sizes.iter().map(|&size| move |case: Case| Case { size, ..case });
        Plan::new(work, &asked.options, releases, settings)
    }

    pub(crate) fn pairs(asked: &Pairs, releases: &mut Releases) -> Result<Plan, Error> {
        small("pairs", asked.size)?;
        at_most("--pairs", &asked.pairs, PAIRS_MAX)?;
        let size = asked.size;
        let settings =
            asked.pairs.iter().map(|&Count(count)| move |case: Case| Case { count, size, ..case });
        Plan::new(Work::Pairs, &asked.options, releases, settings)
    }

    pub(crate) fn rate(asked: &Rate, releases: &mut Releases) -> Result<Plan, Error> {
        small("rate", asked.size)?;
        let size = asked.size;
        let settings = asked
            .rates
            .iter()
            .map(|&Count(rate)| move |case: Case| Case { rate: Some(rate), size, ..case });
        Plan::new(Work::Rate, &asked.options, releases, settings)
    }

    /// A kind of work without a setting.
    pub(crate) fn plain(
        work: Work,
        asked: &Options,
        releases: &mut Releases,
    ) -> Result<Plan, Error> {
        Plan::new(work, asked, releases, [|case| case].into_iter())
    }

    pub(crate) fn monitors(asked: &Monitors, releases: &mut Releases) -> Result<Plan, Error> {
        at_most("--monitors", &asked.monitors, MONITORS_MAX)?;
        let settings = asked.monitors.iter().flat_map(|&Count(count)| {
            [false, true].map(|apart| move |case: Case| Case { count, apart, ..case })
        });
        Plan::new(Work::Monitors, &asked.options, releases, settings)
    }

    pub(crate) fn epmd(asked: &Epmd, releases: &mut Releases) -> Result<Plan, Error> {
        at_most("--clients", &asked.clients, CLIENTS_MAX)?;
        at_most("--names", &asked.names, NAMES_MAX)?;
        let settings = asked.names.iter().flat_map(|&Count(names)| {
            asked.clients.iter().map(move |&Count(count)| {
                move |case: Case| Case { count, names: Some(names), ..case }
            })
        });
        Plan::new(Work::Epmd, &asked.options, releases, settings)
    }

    pub(crate) fn codec(asked: &Codec, releases: &mut Releases) -> Result<Plan, Error> {
        let subjects =
            if asked.terms.is_empty() { &Subject::ALL[..] } else { asked.terms.as_slice() };
        let settings = subjects.iter().flat_map(|&subject| {
            codec::Direction::ALL.map(|direction| {
                move |case: Case| Case { term: Some(codec::Term { subject, direction }), ..case }
            })
        });
        Plan::new(Work::Codec, &asked.options, releases, settings)
    }

    pub(crate) fn links(asked: &Links, releases: &mut Releases) -> Result<Plan, Error> {
        at_most("--links", &asked.links, LINKS_MAX)?;
        let settings =
            asked.links.iter().map(|&Count(count)| move |case: Case| Case { count, ..case });
        Plan::new(Work::Links, &asked.options, releases, settings)
    }

    pub(crate) fn mesh(asked: &Mesh, releases: &mut Releases) -> Result<Plan, Error> {
        at_most("--nodes", &asked.nodes, NODES_MAX)?;
        if asked.nodes.contains(&Count(1)) {
            return Err(Error::Usage("a mesh has at least 2 --nodes".into()));
        }
        let at_once = asked.at_once;
        let settings = asked
            .nodes
            .iter()
            .map(|&Count(count)| move |case: Case| Case { count, at_once, ..case });
        Plan::new(Work::Mesh, &asked.options, releases, settings)
    }

    pub(crate) fn shards(asked: &Shards, releases: &mut Releases) -> Result<Plan, Error> {
        at_most("--shards", &asked.shards, SHARDS_MAX)?;
        at_most("--pairs", &[asked.pairs], PAIRS_MAX)?;
        small("shards", asked.size)?;
        let (Count(count), size) = (asked.pairs, asked.size);
        let settings = asked.shards.iter().map(|&Count(shards)| {
            move |case: Case| Case { shards: shards as usize, count, size, ..case }
        });
        Plan::new(Work::Shards, &asked.options, releases, settings)
    }

    /// Every setting with every peer.
    fn new(
        work: Work,
        options: &Options,
        releases: &mut Releases,
        settings: impl Iterator<Item = impl Fn(Case) -> Case>,
    ) -> Result<Plan, Error> {
        let (peers, skipped) = choose(work, &options.peers, releases)?;
        let mut cases = Vec::new();
        for setting in settings {
            for &peer in &peers {
                let case = Case::new(work, peer, options.warm_up, options.seconds);
                let case = setting(Case { spin_us: options.spin, ..case });
                if measurable(&case) {
                    cases.push(case);
                }
            }
        }
        Ok(Plan { work, cases, skipped })
    }
}

/// The peers asked for, or all that can run here; and what cannot.
fn choose(
    work: Work,
    asked: &[Peer],
    releases: &mut Releases,
) -> Result<(Vec<Peer>, Vec<String>), Error> {
    let all = work.systems();
    if let Some(stranger) = asked.iter().find(|peer| !all.contains(&peer.system)) {
        let known: Vec<_> = all.iter().map(|system| system.name()).collect();
        return Err(Error::Usage(format!(
            "{} does not measure {stranger}, only {}",
            work.name(),
            known.join(", ")
        )));
    }
    let named = !asked.is_empty();
    let wanted =
        if named { asked.to_vec() } else { all.iter().map(|&system| Peer::of(system)).collect() };
    let mut peers = Vec::new();
    let mut skipped = Vec::new();
    for peer in wanted {
        match available(peer, releases) {
            Ok(()) => peers.push(peer),
            Err(reason) if named => return Err(Error::Usage(format!("{peer}: {reason}"))),
            Err(reason) => skipped.push(format!("{peer}: {reason}")),
        }
    }
    Ok((peers, skipped))
}

/// Whether this host and this build can run a peer, or why not.
pub(crate) fn available(peer: Peer, releases: &mut Releases) -> Result<(), String> {
    if let Some(feature) = peer.system.missing_feature() {
        return Err(format!("built without it; build with --features {feature}"));
    }
    if !peer.needs_erl() {
        return Ok(());
    }
    let erl = releases.find(peer.release).map_err(|error| {
        format!(
            "{error}; install Erlang (Debian: apt-get install erlang-base), name its erl with \
             --erl, or leave this peer out"
        )
    })?;
    let needed = peer.system.release_min();
    match erl.release.parse::<u16>() {
        Ok(release) if release < needed => {
            Err(format!("needs OTP {needed} or later, and {} is {release}", erl.path.display()))
        }
        _ => Ok(()),
    }
}

/// Leaves out what has no meaning: borrowed terms cannot be written.
fn measurable(case: &Case) -> bool {
    case.term.is_none_or(|term| codec::has(case.peer.system, term.direction))
}

fn small(work: &str, size: Size) -> Result<(), Error> {
    if size.0 > SMALL_BYTES_MAX {
        return Err(Error::Usage(format!("{work} takes messages of up to 64k, not {size}")));
    }
    Ok(())
}

fn at_most(option: &str, counts: &[Count], max: u32) -> Result<(), Error> {
    match counts.iter().find(|count| count.0 > max) {
        Some(count) => {
            Err(Error::Usage(format!("{option} goes up to {}, not {count}", Count(max))))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Action, Command};

    fn epmd(arguments: &[&str]) -> Result<Plan, Error> {
        use clap::Parser;
        let line = [&["krarup-bench", "epmd", "--peers", "bare,krarup"], arguments].concat();
        match Command::parse_from(line).action {
            Action::Epmd(asked) => Plan::epmd(&asked, &mut Releases::new("erl".into())),
            other => panic!("expected epmd, came {other:?}"),
        }
    }

    #[test]
    fn every_setting_meets_every_peer() {
        let plan = epmd(&["--clients", "1,64", "--names", "10,10k"]).expect("a plan");
        assert_eq!(plan.cases.len(), 8);
        assert!(plan.cases[0].same_group(&plan.cases[1]));
        assert!(!plan.cases[1].same_group(&plan.cases[2]));
    }

    #[test]
    fn strangers_and_excess_are_refused() {
        assert!(matches!(epmd(&["--names", "1m"]), Err(Error::Usage(_))));
        let stranger = choose(
            Work::Epmd,
            &["raw-spin".parse().expect("a peer")],
            &mut Releases::new("erl".into()),
        );
        assert!(matches!(stranger, Err(Error::Usage(_))));
    }
}
