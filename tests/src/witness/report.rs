//! What a witness has seen so far, as one line of text.

use std::collections::BTreeMap;

/// What all witness processes of one node have seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `nodes(connected)` now, sorted.
    pub nodes: Vec<String>,
    /// Beats received from each node, of the sender and at the process with the fewest.
    pub beats: BTreeMap<String, u64>,
    /// The longest that a beat of each node was under way, in milliseconds.
    pub late_ms: BTreeMap<String, u64>,
    /// Answers to pids of this node.
    pub answers: u64,
    /// Bytes of bulk received.
    pub bulk_bytes: u64,
    /// Nodes whose next event has to come: `nodes()` was ahead of the last.
    pub owed: Vec<String>,
    /// `up NODE` and `down NODE REASON`, as each process was told.
    pub events: Vec<Vec<String>>,
    /// What should not have been seen.
    pub violations: Vec<String>,
}

impl Report {
    /// Reads what [`Report`]'s `Display` writes, and `krarup_witness:report/0` as well.
    pub fn parse(line: &str) -> Option<Self> {
        let mut report = Self::default();
        for section in line.split(';') {
            let (name, text) = section.split_once('=')?;
            let list = |separator| text.split(separator).filter(|part| !part.is_empty());
            let owned = |separator| list(separator).map(str::to_owned).collect::<Vec<_>>();
            let counts = || {
                let pair = |part: &str| {
                    let (node, count) = part.split_once(' ')?;
                    Some((node.to_owned(), count.parse().ok()?))
                };
                list(',').map(pair).collect::<Option<BTreeMap<_, _>>>()
            };
            match name {
                "nodes" => report.nodes = owned(','),
                "beats" => report.beats = counts()?,
                "late" => report.late_ms = counts()?,
                "answers" => report.answers = text.parse().ok()?,
                "bulk" => report.bulk_bytes = text.parse().ok()?,
                "owed" => report.owed = owned(','),
                "events" => report.events.push(owned(',')),
                "violations" => report.violations = owned('|'),
                _ => return None,
            }
        }
        report.nodes.sort_unstable();
        Some(report)
    }

    /// What one of its processes was told of a node: `up`, or `down REASON`.
    pub fn events_of(&self, node: &str) -> Vec<String> {
        let events = self.events.first().into_iter().flatten();
        let of_node = |event: &String| {
            let (what, rest) = event.split_once(' ')?;
            let (name, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            (name == node).then(|| format!("{what} {reason}").trim_end().to_owned())
        };
        events.filter_map(of_node).collect()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = |counts: &BTreeMap<String, u64>| {
            let parts: Vec<String> =
                counts.iter().map(|(node, count)| format!("{node} {count}")).collect();
            parts.join(",")
        };
        write!(f, "nodes={};beats={}", self.nodes.join(","), counts(&self.beats))?;
        write!(f, ";late={};answers={}", counts(&self.late_ms), self.answers)?;
        write!(f, ";bulk={};owed={}", self.bulk_bytes, self.owed.join(","))?;
        for events in &self.events {
            write!(f, ";events={}", events.join(","))?;
        }
        // What separates sections may not stand in one.
        let plain = |text: &String| text.replace([';', '|', '='], " ");
        let violations: Vec<String> = self.violations.iter().map(plain).collect();
        write!(f, ";violations={}", violations.join("|"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let report = Report {
            nodes: vec!["a@h".to_owned(), "b@h".to_owned()],
            beats: [("a@h".to_owned(), 7)].into(),
            late_ms: [("a@h".to_owned(), 12)].into(),
            answers: 3,
            bulk_bytes: 9,
            owed: vec!["b@h".to_owned()],
            events: vec![vec!["up a@h".to_owned(), "down a@h disconnect".to_owned()], Vec::new()],
            violations: vec!["one".to_owned(), "two".to_owned()],
        };
        assert_eq!(Report::parse(&report.to_string()).as_ref(), Some(&report));
        assert_eq!(report.events_of("a@h"), ["up", "down disconnect"]);
        assert_eq!(Report::parse("anything else"), None);
    }
}
