//! What `krarup:info/0` and `krarup:metrics/0` say, and what changed between two looks.

use std::time::Duration;

use krarup::term::{Map, Term};
use serde::Serialize;

/// One look at a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) uptime: Duration,
    pub(super) shards: u64,
    pub(super) processes: u64,
    pub(super) mailbox_bytes: u64,
    pub(super) long_turns: u64,
    pub(super) kicks: u64,
    pub(super) links: Vec<Link>,
}

/// One link or lane, with its totals so far.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Link {
    pub(super) node: String,
    pub(super) lane: Option<u64>,
    pub(super) shard: u64,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) received_signals: u64,
    pub(super) sent_signals: u64,
    pub(super) queued_bytes: u64,
    /// How long it was too full for another message, in milliseconds.
    pub(super) busy: u64,
    pub(super) resumes: u64,
    pub(super) silent_intervals: u64,
    pub(super) last_received: Duration,
}

/// What a link does, in each second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) node: String,
    pub(super) lane: Option<u64>,
    pub(super) shard: u64,
    pub(super) received_bytes_per_s: f64,
    pub(super) sent_bytes_per_s: f64,
    pub(super) received_signals_per_s: f64,
    pub(super) sent_signals_per_s: f64,
    pub(super) queued_bytes: u64,
    /// The share of the time in which it was too full for another message.
    pub(super) busy: f64,
    /// How often a connection took over from one that broke, since the node is up.
    pub(super) resumes: u64,
    pub(super) silent_intervals: u64,
    pub(super) last_received_ms: u64,
}

impl Sample {
    /// Reads the answers; nothing where they are not those of a Krarup node.
    pub(super) fn read(info: &Term, metrics: &Term) -> Option<Self> {
        let (info, metrics) = (info.as_map()?, metrics.as_map()?);
        let links = metrics.get_atom("links")?.as_list()?;
        Some(Sample {
            uptime: Duration::from_millis(number(info, "uptime")?),
            shards: number(info, "shards")?,
            processes: number(metrics, "processes")?,
            mailbox_bytes: number(metrics, "mailbox_bytes")?,
            long_turns: number(metrics, "long_turns")?,
            kicks: number(metrics, "kicks")?,
            links: links.iter().map(Link::read).collect::<Option<_>>()?,
        })
    }

    /// What the links did since an earlier look, those with the most to do first.
    pub(super) fn since(&self, earlier: &Sample) -> Vec<Row> {
        // The node's own clock: what lies between two answers is no matter of the way here.
        let seconds = self.uptime.saturating_sub(earlier.uptime).as_secs_f64().max(0.001);
        let mut rows: Vec<Row> = self
            .links
            .iter()
            .map(|link| {
                let before = earlier.links.iter().find(|other| other.is_same(link));
                // One that is new, or that was replaced meanwhile, begins with nothing.
                let rate = |total: fn(&Link) -> u64| {
                    let before = before.map_or(0, total);
                    total(link).checked_sub(before).unwrap_or_else(|| total(link)) as f64 / seconds
                };
                Row {
                    node: link.node.clone(),
                    lane: link.lane,
                    shard: link.shard,
                    received_bytes_per_s: rate(|link| link.received_bytes),
                    sent_bytes_per_s: rate(|link| link.sent_bytes),
                    received_signals_per_s: rate(|link| link.received_signals),
                    sent_signals_per_s: rate(|link| link.sent_signals),
                    queued_bytes: link.queued_bytes,
                    busy: (rate(|link| link.busy) / 1000.0).min(1.0),
                    resumes: link.resumes,
                    silent_intervals: link.silent_intervals,
                    last_received_ms: link.last_received.as_millis() as u64,
                }
            })
            .collect();
        let traffic = |row: &Row| row.received_bytes_per_s + row.sent_bytes_per_s;
        rows.sort_by(|a, b| {
            let by_traffic = traffic(b).total_cmp(&traffic(a));
            by_traffic.then_with(|| (&a.node, a.lane).cmp(&(&b.node, b.lane)))
        });
        rows
    }
}

impl Link {
    fn read(link: &Term) -> Option<Self> {
        let link = link.as_map()?;
        Some(Link {
            node: link.get_atom("node")?.as_atom()?.as_str().to_owned(),
            // `none` for a link to an Erlang node.
            lane: number(link, "lane"),
            shard: number(link, "shard")?,
            received_bytes: number(link, "received_bytes")?,
            sent_bytes: number(link, "sent_bytes")?,
            received_signals: number(link, "received_signals")?,
            sent_signals: number(link, "sent_signals")?,
            queued_bytes: number(link, "queued_bytes")?,
            busy: number(link, "busy")?,
            resumes: number(link, "resumes")?,
            silent_intervals: number(link, "silent_intervals")?,
            last_received: Duration::from_millis(number(link, "last_received")?),
        })
    }

    fn is_same(&self, other: &Link) -> bool {
        (&self.node, self.lane) == (&other.node, other.lane)
    }
}

fn number(map: &Map, key: &str) -> Option<u64> {
    u64::try_from(map.get_atom(key)?.as_integer()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(uptime: u64, links: &str) -> Sample {
        let info = format!("#{{uptime => {uptime}, shards => 2}}").parse().expect("a term");
        let metrics = format!(
            "#{{processes => 5, mailbox_bytes => 9, long_turns => 1, kicks => 0, links => [{links}]}}"
        );
        Sample::read(&info, &metrics.parse().expect("a term")).expect("a sample")
    }

    fn link(node: &str, lane: &str, received: u64) -> String {
        // It is too full for as many milliseconds as bytes came.
        format!(
            "#{{node => '{node}', lane => {lane}, shard => 1, received_bytes => {received},
                sent_bytes => 0, received_signals => 3, sent_signals => 0, queued_bytes => 9,
                busy => {received}, resumes => 0, silent_intervals => 0, last_received => 20}}"
        )
    }

    #[test]
    fn rates_are_what_changed_in_the_time_of_the_node() {
        let before = sample(1000, &link("b@h", "none", 100));
        let links = [link("b@h", "none", 300), link("a@h", "0", 50), link("a@h", "1", 5000)];
        let rows = sample(3000, &links.join(",")).since(&before);
        let found: Vec<_> = rows
            .iter()
            .map(|row| (row.node.as_str(), row.lane, row.received_bytes_per_s))
            .collect();
        let expected = [("a@h", Some(1), 2500.0), ("b@h", None, 100.0), ("a@h", Some(0), 25.0)];
        assert_eq!(found, expected);
        let busy: Vec<f64> = rows.iter().map(|row| row.busy).collect();
        assert_eq!(busy, [1.0, 0.1, 0.025]);
    }

    #[test]
    fn a_link_that_was_replaced_begins_anew() {
        let before = sample(0, &link("b@h", "none", 1_000_000));
        let rows = sample(1000, &link("b@h", "none", 500)).since(&before);
        assert_eq!(rows[0].received_bytes_per_s, 500.0);
    }

    #[test]
    fn what_is_not_of_a_krarup_node_is_none() {
        let term = |text: &str| text.parse::<Term>().expect("a term");
        assert_eq!(Sample::read(&term("ok"), &term("#{}")), None);
        assert_eq!(Sample::read(&term("#{}"), &term("#{}")), None);
    }
}
