//! `krarup top`: the links of a Krarup node while they work.

use super::{Failure, client, output};
use krarup::RpcError;
use krarup::term::{Atom, Term};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The node, such as shop@127.0.0.1
    node: String,

    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3600))]
    interval: u32,

    /// End after so many tables; without it, with Ctrl-C
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,

    #[command(flatten)]
    client: client::Flags,

    /// Print a line of JSON per interval
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    output::start_logging("warn,krarup::shard::connect=info");
    let own = client::start(&arguments.client, &arguments.node)?;
    let ask = || {
        let began = Instant::now();
        let timeout = arguments.client.timeout();
        let answer = own.rpc::<Term>(&arguments.node, "krarup", "metrics", vec![], timeout).wait();
        let answer = answer.map_err(|error| refused(&arguments.node, &error))?;
        Look::read(&answer, began).ok_or_else(|| {
            Failure::Failed(format!("{}: krarup:metrics/0 gave no map of metrics", arguments.node))
        })
    };
    let own_name = own.name().map(|name| name.as_str().to_owned()).unwrap_or_default();
    let is_screen = !arguments.json && std::io::stdout().is_terminal();
    let mut before = ask()?;
    let mut shown = 0;
    while arguments.count.is_none_or(|count| shown < count) {
        std::thread::sleep(Duration::from_secs(arguments.interval.into()));
        let now = ask()?;
        let view = View::between(&before, &now, &own_name);
        let text =
            if arguments.json { view.json(&arguments.node) } else { view.table(&arguments.node) };
        // From the upper left corner, over what was there.
        output::line(&if is_screen { format!("\x1b[H\x1b[J{text}") } else { text });
        before = now;
        shown += 1;
    }
    own.stop().wait();
    Ok(())
}

fn refused(node: &str, error: &RpcError) -> Failure {
    let is_undef = matches!(error, RpcError::Error { reason, .. }
        if reason.as_atom().is_some_and(|atom| atom.as_str() == "undef"));
    if is_undef {
        return Failure::Failed(format!(
            "{node} is no Krarup node, or one without services: it has no krarup:metrics/0"
        ));
    }
    Failure::Failed(format!("{node}: {error}"))
}

/// The counters at one time.
struct Look {
    at: Instant,
    /// From asking to the answer.
    latency: Duration,
    node: BTreeMap<String, i64>,
    links: BTreeMap<(String, String), BTreeMap<String, i64>>,
}

impl Look {
    fn read(answer: &Term, asked: Instant) -> Option<Self> {
        let map = answer.as_map()?;
        let key = |text: &'static str| Term::Atom(Atom::from_static(text));
        let mut links = BTreeMap::new();
        for link in map.get(&key("links"))?.as_list()? {
            let link = link.as_map()?;
            let peer = link.get(&key("node"))?.as_atom()?.as_str().to_owned();
            let lane = match link.get(&key("lane"))? {
                Term::Atom(_) => "-".to_owned(),
                lane => lane.to_string(),
            };
            links.insert((peer, lane), numbers(link));
        }
        let at = Instant::now();
        Some(Self { at, latency: at.duration_since(asked), node: numbers(map), links })
    }
}

/// The entries of a map that are numbers.
fn numbers(map: &krarup::term::Map) -> BTreeMap<String, i64> {
    map.pairs()
        .iter()
        .filter_map(|(key, value)| Some((key.as_atom()?.as_str().to_owned(), value.as_integer()?)))
        .collect()
}

/// What happened between two looks.
struct View {
    latency: Duration,
    node: BTreeMap<String, i64>,
    rows: Vec<Row>,
}

/// One link; the rates are per second.
struct Row {
    peer: String,
    lane: String,
    sent_bytes: f64,
    received_bytes: f64,
    sent_signals: f64,
    received_signals: f64,
    /// The share of the time in which it was too full.
    busy: f64,
    values: BTreeMap<String, i64>,
}

impl View {
    /// Leaves out the link to the one who looks.
    fn between(before: &Look, now: &Look, own_name: &str) -> Self {
        let seconds = now.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let links = now.links.iter().filter(|((peer, _), _)| peer != own_name);
        let rows = links.map(|((peer, lane), values)| {
            let earlier = before.links.get(&(peer.clone(), lane.clone()));
            let rate = |key: &str| {
                let value = |of: &BTreeMap<String, i64>| of.get(key).copied().unwrap_or(0);
                let (new, old) = (value(values), earlier.map_or(0, value));
                // Less than before: the link is another one, which began at nothing.
                (if new < old { new } else { new - old }) as f64 / seconds
            };
            Row {
                peer: peer.clone(),
                lane: lane.clone(),
                sent_bytes: rate("sent_bytes"),
                received_bytes: rate("received_bytes"),
                sent_signals: rate("sent_signals"),
                received_signals: rate("received_signals"),
                busy: (rate("busy") / 1000.0).min(1.0),
                values: values.clone(),
            }
        });
        Self { latency: now.latency, node: now.node.clone(), rows: rows.collect() }
    }

    fn json(&self, node: &str) -> String {
        let links: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let latency = self.latency.as_secs_f64();
        json!({ "node": node, "latency": latency, "counters": self.node, "links": links })
            .to_string()
    }

    fn table(&self, node: &str) -> String {
        let of_node = |key: &str| self.node.get(key).copied().unwrap_or(0);
        let mut text = format!(
            "{node}  processes {}  mailboxes {} B  long turns {}  kicks {}  latency {:.1} ms\n\n",
            of_node("processes"),
            of_node("mailbox_bytes"),
            of_node("long_turns"),
            of_node("kicks"),
            self.latency.as_secs_f64() * 1e3
        );
        let width = self.rows.iter().map(|row| row.peer.chars().count()).max().unwrap_or(0).max(4);
        let _ = write!(
            text,
            "{:width$} lane {:>10} {:>10} {:>9} {:>9} {:>10} {:>5} {:>6} {:>8} {:>7}",
            "peer",
            "out B/s",
            "in B/s",
            "out/s",
            "in/s",
            "queued B",
            "busy",
            "missed",
            "silent s",
            "resumes"
        );
        for row in &self.rows {
            let value = |key: &str| row.values.get(key).copied().unwrap_or(0);
            let _ = write!(
                text,
                "\n{:width$} {:>4} {:>10.0} {:>10.0} {:>9.0} {:>9.0} {:>10} {:>4.0}% {:>6} {:>8.1} {:>7}",
                row.peer,
                row.lane,
                row.sent_bytes,
                row.received_bytes,
                row.sent_signals,
                row.received_signals,
                value("queued_bytes"),
                row.busy * 100.0,
                value("missed_tick_intervals"),
                value("last_received") as f64 / 1e3,
                value("resumes"),
            );
        }
        text
    }
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "peer": self.peer,
            "lane": self.lane.parse::<u64>().ok(),
            "sent_bytes_per_second": self.sent_bytes,
            "received_bytes_per_second": self.received_bytes,
            "sent_signals_per_second": self.sent_signals,
            "received_signals_per_second": self.received_signals,
            "busy": self.busy,
            "counters": self.values,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &str, at: Instant) -> Look {
        Look { at, ..Look::read(&text.parse().unwrap(), at).unwrap() }
    }

    #[test]
    fn rates_are_differences_and_a_new_link_begins_at_nothing() {
        let began = Instant::now();
        let text = "#{links => [#{node => a@h, lane => none, sent_bytes => 100, busy => 0},
            #{node => b@h, lane => 1, sent_bytes => 900}, #{node => me@h, lane => none}]}"
            .replace("a@h", "'a@h'")
            .replace("b@h", "'b@h'")
            .replace("me@h", "'me@h'");
        let before = look(&text, began);
        let text = text.replace("sent_bytes => 100, busy => 0", "sent_bytes => 300, busy => 500");
        let now = look(&text.replace("900", "50"), began + Duration::from_secs(2));
        let view = View::between(&before, &now, "me@h");
        let rates: Vec<(&str, &str, f64, f64)> = view
            .rows
            .iter()
            .map(|row| (row.peer.as_str(), row.lane.as_str(), row.sent_bytes, row.busy))
            .collect();
        assert_eq!(rates, [("a@h", "-", 100.0, 0.25), ("b@h", "1", 25.0, 0.0)]);
        assert_eq!(view.table("n@h").lines().count(), 5);
        assert!(Look::read(&Term::from(1), began).is_none());
    }
}
