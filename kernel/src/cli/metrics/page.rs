//! The counters in Prometheus's text format.
//!
//! Traffic of the links has the names and types of the Erlang collector of prometheus.erl
//! (`erlang_vm_dist_*`, label `peer`), so that dashboards of Erlang clusters show Krarup nodes too.
//! What Erlang has not begins with `krarup_`.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::time::{Duration, Instant};

use krarup::{ConnectionStats, LaneStats, LinkStats, Node, ShardStats, TimeHistogram};

/// What a metric is to Prometheus.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Name, kind and meaning of a metric, and its value for one link, lane or shard.
type Family<T> = (&'static str, Kind, &'static str, fn(&T) -> f64);

/// Name and meaning of a histogram, and its contents for one shard.
type Times = (&'static str, &'static str, fn(&ShardStats) -> &TimeHistogram);

/// Asks the node for its counters; nothing if it does not answer in time.
pub(super) fn page(node: &Node, time: Duration) -> Option<String> {
    let end = Instant::now() + time;
    let left = || end.saturating_duration_since(Instant::now());
    let (answers, shards) = (node.answer_times(), node.stats());
    let connections = node.connection_stats();
    let answers: Vec<Option<Duration>> =
        answers.into_iter().map(|answer| answer.wait_for(left()).flatten()).collect();
    let (shards, connections) = (shards.wait_for(left())?, connections.wait_for(left())?);
    let mut page = Page::default();
    of_node(&mut page, node, &connections);
    of_links(&mut page, &shards);
    of_shards(&mut page, &shards, &answers);
    Some(page.0)
}

fn of_node(page: &mut Page, node: &Node, connections: &ConnectionStats) {
    use Kind::{Counter, Gauge};
    page.family("krarup_build_info", Gauge, "1, with what runs here as labels");
    page.sample("krarup_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let truth = |value: bool| u8::from(value);
    page.single("krarup_up", Gauge, "whether the node is alive", truth(node.is_alive()));
    page.single(
        "krarup_registered",
        Gauge,
        "whether other nodes can find it: alive, and registered with epmd where it has to be",
        truth(node.is_registered()),
    );
    page.single(
        "krarup_uptime_seconds",
        Gauge,
        "time since its start",
        node.uptime().as_secs_f64(),
    );
    page.single("krarup_registered_names", Gauge, "registered names", connections.registered_names);
    page.single("krarup_nodes_up_total", Counter, "nodes that came up", connections.ups);
    page.family("krarup_nodes_down_total", Counter, "nodes that went down, by OTP's reason");
    for (reason, count) in &connections.downs {
        page.sample("krarup_nodes_down_total", &[("reason", reason)], count);
    }
    let failures = "krarup_connect_failures_total";
    page.family(failures, Counter, "attempts to connect that failed, by the step they failed at");
    for (step, count) in &connections.failures {
        page.sample(failures, &[("step", step)], count);
    }
    page.single(
        "krarup_connections_refused_total",
        Counter,
        "connections of others that were refused",
        connections.refusals,
    );
}

fn of_links(page: &mut Page, shards: &[ShardStats]) {
    use Kind::{Counter, Gauge};
    let peers = summed(shards, |link| (link.node.as_str().to_owned(), ()));
    // The collector of prometheus.erl calls all of them gauges.
    let of_peers: [Family<LinkStats>; 11] = [
        ("erlang_vm_dist_recv_bytes", Gauge, "bytes received", |link| link.received_bytes as f64),
        ("erlang_vm_dist_recv_cnt", Gauge, "signals received", |link| link.received_signals as f64),
        ("erlang_vm_dist_recv_avg_bytes", Gauge, "bytes per signal received", |link| {
            average(link.received_bytes, link.received_signals)
        }),
        ("erlang_vm_dist_send_bytes", Gauge, "bytes sent", |link| link.sent_bytes as f64),
        ("erlang_vm_dist_send_cnt", Gauge, "signals sent", |link| link.sent_signals as f64),
        ("erlang_vm_dist_send_avg_bytes", Gauge, "bytes per signal sent", |link| {
            average(link.sent_bytes, link.sent_signals)
        }),
        ("erlang_vm_dist_send_pend_bytes", Gauge, "bytes that wait to be sent", |link| {
            link.queued_bytes as f64
        }),
        ("erlang_vm_dist_port_input_bytes", Gauge, "bytes received", |link| {
            link.received_bytes as f64
        }),
        ("erlang_vm_dist_port_output_bytes", Gauge, "bytes sent", |link| link.sent_bytes as f64),
        ("erlang_vm_dist_node_queue_size_bytes", Gauge, "bytes that wait to be sent", |link| {
            link.queued_bytes as f64
        }),
        ("erlang_vm_dist_node_state", Gauge, "3 for a node that is up", |_| 3.0),
    ];
    for (name, kind, help, value) in of_peers {
        page.family(name, kind, help);
        for ((peer, _), link) in &peers {
            page.sample(name, &[("peer", peer)], value(link));
        }
    }
    let links =
        summed(shards, |link| (link.node.as_str().to_owned(), link.lane.map(|lane| lane.lane)));
    let of_each: [Family<LinkStats>; 11] = [
        ("krarup_link_received_bytes_total", Counter, "bytes received", |link| {
            link.received_bytes as f64
        }),
        ("krarup_link_sent_bytes_total", Counter, "bytes sent", |link| link.sent_bytes as f64),
        ("krarup_link_received_signals_total", Counter, "signals received", |link| {
            link.received_signals as f64
        }),
        ("krarup_link_sent_signals_total", Counter, "signals accepted for sending", |link| {
            link.sent_signals as f64
        }),
        ("krarup_link_ticks_sent_total", Counter, "ticks sent", |link| link.sent_ticks as f64),
        ("krarup_link_outbox_bytes", Gauge, "bytes that wait to be sent", |link| {
            link.queued_bytes as f64
        }),
        (
            "krarup_link_busy_seconds_total",
            Counter,
            "time in which it was too full for another message",
            |link| link.busy.as_secs_f64(),
        ),
        ("krarup_link_busy_total", Counter, "times that it became so", |link| {
            link.busy_times as f64
        }),
        (
            "krarup_link_missed_tick_intervals_total",
            Counter,
            "intervals of the tick time, quarters unless set otherwise, in which nothing came",
            |link| f64::from(link.missed_tick_intervals),
        ),
        (
            "krarup_link_silent_intervals",
            Gauge,
            "how many of these there were in a row up to now",
            |link| f64::from(link.silent_intervals),
        ),
        ("krarup_link_last_received_seconds", Gauge, "how long ago something came", |link| {
            link.last_received.as_secs_f64()
        }),
    ];
    for (name, kind, help, value) in of_each {
        page.family(name, kind, help);
        for ((peer, lane), link) in &links {
            let lane = lane.map(|lane| lane.to_string());
            let mut labels = vec![("peer", peer.as_str())];
            labels.extend(lane.as_deref().map(|lane| ("lane", lane)));
            page.sample(name, &labels, value(link));
        }
    }
    let of_lanes: [Family<LaneStats>; 5] = [
        ("krarup_lane_connected", Gauge, "whether it has a connection", |lane| {
            f64::from(u8::from(lane.is_connected))
        }),
        ("krarup_lane_resumes_total", Counter, "times another connection took it over", |lane| {
            lane.resumes as f64
        }),
        ("krarup_lane_replayed_bytes_total", Counter, "bytes sent again for that", |lane| {
            lane.replayed_bytes as f64
        }),
        ("krarup_lane_retained_bytes", Gauge, "bytes the peer has not acknowledged", |lane| {
            lane.retained_bytes as f64
        }),
        ("krarup_lane_checksum_errors_total", Counter, "frames with a wrong checksum", |lane| {
            lane.checksum_errors as f64
        }),
    ];
    for (name, kind, help, value) in of_lanes {
        page.family(name, kind, help);
        for ((peer, _), link) in &links {
            let Some(lane) = &link.lane else { continue };
            page.sample(name, &[("peer", peer), ("lane", &lane.lane.to_string())], value(lane));
        }
    }
}

fn of_shards(page: &mut Page, shards: &[ShardStats], answers: &[Option<Duration>]) {
    use Kind::{Counter, Gauge, Histogram};
    let of_each: [Family<ShardStats>; 14] = [
        ("krarup_shard_links", Gauge, "links", |shard| shard.links.len() as f64),
        ("krarup_shard_processes", Gauge, "processes", |shard| shard.processes as f64),
        ("krarup_shard_mailbox_bytes", Gauge, "bytes in the mailboxes of all processes", |shard| {
            shard.mailbox_bytes as f64
        }),
        ("krarup_shard_mailbox_max_bytes", Gauge, "bytes in the fullest mailbox", |shard| {
            shard.mailbox_bytes_max as f64
        }),
        ("krarup_shard_passes_total", Counter, "passes of the driver", |shard| {
            shard.driver.passes as f64
        }),
        ("krarup_shard_parks_total", Counter, "times it went to sleep", |shard| {
            shard.driver.parks as f64
        }),
        ("krarup_shard_naps_total", Counter, "times it slept for 1 ms at most", |shard| {
            shard.driver.naps as f64
        }),
        ("krarup_shard_receives_total", Counter, "reads of sockets that brought bytes", |shard| {
            shard.driver.receives as f64
        }),
        ("krarup_shard_sends_total", Counter, "writes to sockets that took bytes", |shard| {
            shard.driver.sends as f64
        }),
        ("krarup_shard_blocked_total", Counter, "times a socket took no more bytes", |shard| {
            shard.driver.blocked as f64
        }),
        ("krarup_shard_messages_total", Counter, "messages of other shards and threads", |shard| {
            shard.driver.messages as f64
        }),
        ("krarup_shard_panics_total", Counter, "panics that were caught", |shard| {
            shard.driver.panics as f64
        }),
        (
            "krarup_executor_kicks_total",
            Counter,
            "times woken from outside because it stood still with work to do",
            |shard| shard.driver.kicks as f64,
        ),
        ("krarup_shard_long_turns_total", Counter, "turns of 10 ms or more", |shard| {
            shard.long_turns as f64
        }),
    ];
    for (name, kind, help, value) in of_each {
        page.family(name, kind, help);
        for (number, shard) in shards.iter().enumerate() {
            page.sample(name, &[("shard", &number.to_string())], value(shard));
        }
    }
    let answer = "krarup_shard_answer_seconds";
    page.family(answer, Gauge, "how long it took to answer this request");
    for (number, took) in answers.iter().enumerate() {
        if let Some(took) = took {
            page.sample(answer, &[("shard", &number.to_string())], took.as_secs_f64());
        }
    }
    let of_time: [Times; 2] = [
        ("krarup_shard_turn_seconds", "how long turns of processes are, of one turn in 61", |of| {
            &of.turns
        }),
        (
            "krarup_shard_wait_seconds",
            "how long processes that a signal woke waited for their turn, of one in 61",
            |of| &of.waits,
        ),
    ];
    for (name, help, times) in of_time {
        page.family(name, Histogram, help);
        for (number, shard) in shards.iter().enumerate() {
            page.histogram(name, ("shard", &number.to_string()), times(shard));
        }
    }
}

fn average(bytes: u64, count: u64) -> f64 {
    bytes.checked_div(count).map_or(0.0, |average| average as f64)
}

/// The links that have the same labels as one. That is also so where an old connection to a peer is
/// not quite over when the next is there: a page with one series twice is refused as a whole.
fn summed<K: Ord>(shards: &[ShardStats], key: impl Fn(&LinkStats) -> K) -> BTreeMap<K, LinkStats> {
    let mut sums: BTreeMap<K, LinkStats> = BTreeMap::new();
    for link in shards.iter().flat_map(|shard| &shard.links) {
        match sums.entry(key(link)) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(link.clone());
            }
            std::collections::btree_map::Entry::Occupied(entry) => add(entry.into_mut(), link),
        }
    }
    sums
}

fn add(sum: &mut LinkStats, link: &LinkStats) {
    sum.received_bytes += link.received_bytes;
    sum.sent_bytes += link.sent_bytes;
    sum.received_signals += link.received_signals;
    sum.sent_signals += link.sent_signals;
    sum.sent_ticks += link.sent_ticks;
    sum.queued_bytes += link.queued_bytes;
    sum.busy += link.busy;
    sum.busy_times += link.busy_times;
    sum.missed_tick_intervals += link.missed_tick_intervals;
    // What came last came over the livelier one.
    sum.silent_intervals = sum.silent_intervals.min(link.silent_intervals);
    sum.last_received = sum.last_received.min(link.last_received);
    if let (Some(sum), Some(lane)) = (&mut sum.lane, &link.lane) {
        sum.is_connected |= lane.is_connected;
        sum.resumes += lane.resumes;
        sum.replayed_bytes += lane.replayed_bytes;
        sum.retained_bytes += lane.retained_bytes;
        sum.checksum_errors += lane.checksum_errors;
    }
}

/// Text in Prometheus's format.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{}\"", escaped(text));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn histogram(&mut self, name: &str, label: (&str, &str), times: &TimeHistogram) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in times.cumulative() {
            self.sample(&bucket, &[label, ("le", &bound.as_secs_f64().to_string())], count);
        }
        self.sample(&bucket, &[label, ("le", "+Inf")], times.count());
        self.sample(&format!("{name}_sum"), &[label], times.sum().as_secs_f64());
        self.sample(&format!("{name}_count"), &[label], times.count());
    }

    fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

/// A label's value: backslashes, quotes and line ends are escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use krarup::term::Atom;

    fn link(node: &'static str, lane: Option<u8>, sent_bytes: u64) -> LinkStats {
        LinkStats {
            node: Atom::from_static(node),
            shard: 0,
            lane: lane.map(|lane| LaneStats { lane, ..LaneStats::default() }),
            received_bytes: 0,
            sent_bytes,
            received_signals: 0,
            sent_signals: 4,
            sent_ticks: 0,
            missed_tick_intervals: 0,
            silent_intervals: 0,
            last_received: Duration::from_millis(250),
            queued_bytes: 0,
            busy: Duration::from_millis(1500),
            busy_times: 2,
        }
    }

    #[test]
    fn no_series_is_there_twice() {
        let links = vec![
            link("a@h", None, 10),
            link("b@h", Some(0), 1),
            link("b@h", Some(1), 2),
            link("b@h", Some(1), 4),
            link("\"\\\n@h", None, 8),
        ];
        let shards = [ShardStats { links, ..ShardStats::default() }];
        let mut page = Page::default();
        of_links(&mut page, &shards);
        of_shards(&mut page, &shards, &[None]);
        let lines: Vec<&str> = page.0.lines().filter(|line| !line.starts_with('#')).collect();
        let value = |series: &str| {
            let found: Vec<&&str> =
                lines.iter().filter(|line| line.rsplit_once(' ').unwrap().0 == series).collect();
            assert_eq!(found.len(), 1, "{series}: {found:?}");
            found[0].rsplit_once(' ').unwrap().1.to_owned()
        };
        assert_eq!(value("erlang_vm_dist_send_bytes{peer=\"b@h\"}"), "7");
        assert_eq!(value("erlang_vm_dist_send_avg_bytes{peer=\"a@h\"}"), "2");
        assert_eq!(value("krarup_link_sent_bytes_total{peer=\"b@h\",lane=\"1\"}"), "6");
        assert_eq!(value("krarup_link_busy_seconds_total{peer=\"a@h\"}"), "1.5");
        assert_eq!(value("krarup_link_last_received_seconds{peer=\"a@h\"}"), "0.25");
        assert_eq!(value("krarup_link_sent_bytes_total{peer=\"\\\"\\\\\\n@h\"}"), "8");
        let buckets = lines.iter().filter(|line| line.contains("_turn_seconds_bucket"));
        assert_eq!(buckets.count(), 21);
    }
}
