//! `krarup node --metrics ADDR`: what the node counts, for Prometheus.
//!
//! Traffic of the links has the names of the Erlang collector of prometheus.erl
//! (`erlang_vm_dist_*`, label `peer`), so that dashboards of Erlang clusters show Krarup nodes too.
//! What Erlang has not begins with `krarup_`.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use krarup::{LaneStats, LinkStats, Node, ShardStats};

/// Requests answered at one time; one more is closed.
const CLIENTS_MAX: usize = 16;
/// A client has so long for its request, and for taking the answer.
const CLIENT_TIME: Duration = Duration::from_secs(2);
/// Bytes of a request that are looked at; its first line is what counts.
const REQUEST_BYTES_MAX: usize = 4096;

/// Serves until the process ends.
pub(super) fn serve(address: SocketAddr, node: Node) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let local = listener.local_addr()?;
    let clients = Arc::new(AtomicUsize::new(0));
    std::thread::Builder::new().name("metrics".into()).spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else {
                // Out of descriptors: whoever closes one makes room.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            };
            if clients.fetch_add(1, Ordering::SeqCst) >= CLIENTS_MAX {
                clients.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let (node, busy) = (node.clone(), Arc::clone(&clients));
            let answered = std::thread::Builder::new().name("metrics".into()).spawn(move || {
                if let Err(error) = answer(client, &node) {
                    tracing::debug!(%error, "a request for metrics was not answered");
                }
                busy.fetch_sub(1, Ordering::SeqCst);
            });
            if answered.is_err() {
                clients.fetch_sub(1, Ordering::SeqCst);
            }
        }
    })?;
    Ok(local)
}

fn answer(mut client: TcpStream, node: &Node) -> io::Result<()> {
    client.set_read_timeout(Some(CLIENT_TIME))?;
    client.set_write_timeout(Some(CLIENT_TIME))?;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(2).any(|end| end == b"\r\n") && request.len() < REQUEST_BYTES_MAX {
        match client.read(&mut buffer)? {
            0 => break,
            n => request.extend_from_slice(&buffer[..n]),
        }
    }
    let request = String::from_utf8_lossy(&request);
    let mut words = request.split_whitespace();
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/metrics")) => ("200 OK", page(node, &node.stats().wait())),
        (Some("GET"), Some("/healthz")) => ("200 OK", "ok\n".to_owned()),
        (Some("GET"), Some("/readyz")) if node.is_alive() => ("200 OK", "ready\n".to_owned()),
        (Some("GET"), Some("/readyz")) => ("503 Service Unavailable", "not alive\n".to_owned()),
        (Some("GET"), Some(_)) => ("404 Not Found", "try /metrics, /healthz, /readyz\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET\n".to_owned()),
    };
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Name, kind and meaning of a metric, and its value for one link or shard.
type Family<T> = (&'static str, &'static str, &'static str, fn(&T) -> u64);

/// The page in Prometheus's text format.
fn page(node: &Node, shards: &[ShardStats]) -> String {
    let mut page = String::new();
    let links: Vec<&LinkStats> = shards.iter().flat_map(|shard| &shard.links).collect();
    let peers = by_peer(&links);
    let of_links: [Family<LinkStats>; 7] = [
        ("erlang_vm_dist_recv_bytes", "counter", "bytes received", |link| link.received_bytes),
        ("erlang_vm_dist_send_bytes", "counter", "bytes sent", |link| link.sent_bytes),
        ("erlang_vm_dist_recv_cnt", "counter", "signals received", |link| link.received_signals),
        ("erlang_vm_dist_send_cnt", "counter", "signals sent", |link| link.sent_signals),
        ("erlang_vm_dist_send_pend_bytes", "gauge", "bytes waiting to be sent", |link| {
            link.queued_bytes as u64
        }),
        ("erlang_vm_dist_node_state", "gauge", "3 for a node that is up", |_| 3),
        ("krarup_dist_ticks_sent_total", "counter", "ticks sent", |link| link.sent_ticks),
    ];
    for (name, kind, help, value) in of_links {
        head(&mut page, name, kind, help);
        for peer in &peers {
            let _ = writeln!(page, "{name}{{peer=\"{}\"}} {}", label(peer), value(peer));
        }
    }
    let of_lanes: [Family<LaneStats>; 5] = [
        ("krarup_lane_connected", "gauge", "whether it has a connection", |lane| {
            u64::from(lane.is_connected)
        }),
        ("krarup_lane_resumes_total", "counter", "times another connection took it over", |lane| {
            lane.resumes
        }),
        ("krarup_lane_replayed_bytes_total", "counter", "bytes sent again for that", |lane| {
            lane.replayed_bytes
        }),
        ("krarup_lane_retained_bytes", "gauge", "bytes the peer has not acknowledged", |lane| {
            lane.retained_bytes as u64
        }),
        ("krarup_lane_checksum_errors_total", "counter", "frames with a wrong checksum", |lane| {
            lane.checksum_errors
        }),
    ];
    for (name, kind, help, value) in of_lanes {
        head(&mut page, name, kind, help);
        for (link, lane) in links.iter().filter_map(|link| Some((link, link.lane.as_ref()?))) {
            let (peer, number) = (label(link), lane.lane);
            let _ = writeln!(page, "{name}{{peer=\"{peer}\",lane=\"{number}\"}} {}", value(lane));
        }
    }
    let of_shards: [Family<ShardStats>; 7] = [
        ("krarup_shard_links", "gauge", "links", |shard| shard.links.len() as u64),
        ("krarup_shard_processes", "gauge", "processes", |shard| shard.processes as u64),
        ("krarup_shard_passes_total", "counter", "passes of the driver", |s| s.driver.passes),
        ("krarup_shard_parks_total", "counter", "times it went to sleep", |s| s.driver.parks),
        ("krarup_shard_naps_total", "counter", "times it slept for 1 ms at most", |s| {
            s.driver.naps
        }),
        ("krarup_executor_kicks_total", "counter", "times woken from outside", |s| s.driver.kicks),
        ("krarup_shard_long_turns_total", "counter", "turns of 10 ms or more", |s| s.long_turns),
    ];
    for (name, kind, help, value) in of_shards {
        head(&mut page, name, kind, help);
        for (number, shard) in shards.iter().enumerate() {
            let _ = writeln!(page, "{name}{{shard=\"{number}\"}} {}", value(shard));
        }
    }
    head(&mut page, "krarup_up", "gauge", "whether the node is alive");
    let _ = writeln!(page, "krarup_up {}", u8::from(node.is_alive()));
    page
}

/// The links of each peer as one: a Krarup node may have several.
fn by_peer(links: &[&LinkStats]) -> Vec<LinkStats> {
    let mut peers: Vec<LinkStats> = Vec::new();
    for link in links {
        let Some(peer) = peers.iter_mut().find(|peer| peer.node == link.node) else {
            peers.push((*link).clone());
            continue;
        };
        peer.received_bytes += link.received_bytes;
        peer.sent_bytes += link.sent_bytes;
        peer.received_signals += link.received_signals;
        peer.sent_signals += link.sent_signals;
        peer.sent_ticks += link.sent_ticks;
        peer.queued_bytes += link.queued_bytes;
    }
    peers
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A label value: backslashes and quotes are escaped. Node names have no line breaks.
fn label(link: &LinkStats) -> String {
    link.node.as_str().replace('\\', "\\\\").replace('"', "\\\"")
}
