//! What a node says of itself to Prometheus and to those who ask whether it is well.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use krarup_tests::{Exposition, KrarupNode, Lab, Release, for_each_release, until};

const SOON: Duration = Duration::from_secs(20);

for_each_release!(traffic_of_an_erlang_node_is_counted);

/// Starts a node that serves metrics at a free port.
fn measured<const N: usize>(lab: &Lab, name: &str, more: [&str; N]) -> (KrarupNode, SocketAddr) {
    let mut node = lab.krarup(name).args(["--metrics", "127.0.0.1:0"]).args(more).start();
    let address = node.process().line_after(0, "the address of the metrics", SOON, |line| {
        line.split_once("serving metrics address=")?.1.trim().parse().ok()
    });
    (node, address)
}

/// Sends bytes and reads all that comes back.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut client = TcpStream::connect(address).expect("it is served");
    client.set_read_timeout(Some(SOON)).expect("a time");
    client.write_all(request).expect("the request is read");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer, and its end");
    answer
}

fn get(address: SocketAddr, path: &str) -> (String, String) {
    let answer = exchange(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").expect("a header");
    let status = head.lines().next().unwrap_or_default();
    (status.trim_start_matches("HTTP/1.1 ").to_owned(), body.to_owned())
}

fn metrics(address: SocketAddr) -> Exposition {
    let (status, page) = get(address, "/metrics");
    assert_eq!(status, "200 OK", "{page}");
    Exposition::parse(&page).unwrap_or_else(|why| panic!("{why}\n{page}"))
}

fn traffic_of_an_erlang_node_is_counted(release: Release) {
    let lab = Lab::new();
    let (krarup, address) = measured(&lab, "m", []);
    let mut otp = lab.otp(release, "o").start();
    assert_eq!(otp.eval("net_adm:ping('m@127.0.0.1')."), "pong");
    let peer = [("peer", "o@127.0.0.1")];
    let before = metrics(address);
    assert_eq!(before.value("erlang_vm_dist_node_state", &peer), Some(3.0));
    otp.eval(
        "[{sink, 'm@127.0.0.1'} ! binary:copy(<<1>>, 1000) || _ <- lists:seq(1, 100)],
            {sink, 'm@127.0.0.1'} ! {self(), report}, receive {sink, _, _} -> ok end.",
    );
    let after = metrics(address);
    let grown = |name: &str| after.value(name, &peer).unwrap() - before.value(name, &peer).unwrap();
    // As the collector of prometheus.erl has them: gauges, with the label `peer` alone.
    assert_eq!(after.kind("erlang_vm_dist_recv_bytes"), Some("gauge"));
    assert!(grown("erlang_vm_dist_recv_bytes") > 100_000.0);
    assert!(grown("erlang_vm_dist_recv_cnt") >= 100.0);
    assert!(grown("erlang_vm_dist_send_bytes") > 0.0);
    assert!(grown("krarup_link_received_bytes_total") > 100_000.0);
    assert_eq!(after.value("krarup_link_missed_tick_intervals_total", &peer), Some(0.0));
    assert_eq!(after.value("krarup_registered", &[]), Some(1.0));
    assert_eq!(after.value("krarup_nodes_up_total", &[]), Some(1.0));
    let strays = after
        .families()
        .filter(|name| !name.starts_with("erlang_vm_dist_") && !name.starts_with("krarup_"));
    assert_eq!(strays.count(), 0);

    otp.eval("erlang:disconnect_node('m@127.0.0.1').");
    let closed = [("reason", "connection_closed")];
    until("the end of the connection", SOON, || {
        let page = metrics(address);
        let is_gone = page.value("erlang_vm_dist_node_state", &peer).is_none();
        (is_gone && page.value("krarup_nodes_down_total", &closed) == Some(1.0)).then_some(())
    });
    otp.eval("erlang:set_cookie('m@127.0.0.1', wrong).");
    assert_eq!(otp.eval("net_adm:ping('m@127.0.0.1')."), "pang");
    until("the refusal", SOON, || {
        let page = metrics(address);
        (page.value("krarup_connections_refused_total", &[]) >= Some(1.0)).then_some(())
    });
    krarup.stop();
}

#[test]
fn lanes_and_what_holds_them_up_are_counted() {
    let lab = Lab::new();
    let (m, address) = measured(&lab, "m", ["--shards", "2"]);
    let n = lab.krarup("n").args(["--shards", "2", "--connect", "m@127.0.0.1"]).start();
    let lane = |number| [("peer", "n@127.0.0.1"), ("lane", number)];
    let page = until("both lanes", SOON, || {
        let page = metrics(address);
        let is_up = |number| page.value("krarup_lane_connected", &lane(number)) == Some(1.0);
        (is_up("0") && is_up("1")).then_some(page)
    });
    let value = |name| page.value(name, &lane("1"));
    assert_eq!(value("krarup_lane_resumes_total"), Some(0.0));
    assert_eq!(value("krarup_link_outbox_bytes"), Some(0.0));
    assert_eq!(value("krarup_link_busy_total"), Some(0.0));
    assert!(value("krarup_link_last_received_seconds").is_some());
    assert_eq!(page.value("erlang_vm_dist_node_state", &[("peer", "n@127.0.0.1")]), Some(3.0));
    for shard in ["0", "1"] {
        let value = |name| page.value(name, &[("shard", shard)]);
        assert!(value("krarup_shard_answer_seconds").is_some());
        assert!(value("krarup_shard_turn_seconds_count").is_some());
        assert!(value("krarup_shard_wait_seconds_count").is_some());
        assert!(value("krarup_shard_mailbox_bytes").is_some());
    }
    n.stop();
    m.stop();
}

#[test]
fn requests_of_any_kind_do_no_harm() {
    let lab = Lab::new();
    let (node, address) = measured(&lab, "m", []);
    let status = |request: &[u8]| exchange(address, request).lines().next().map(str::to_owned);
    let is = |code: &str| Some(format!("HTTP/1.1 {code}"));
    assert_eq!(status(b"GET /healthz HTTP/1.1\r\n\r\n"), is("200 OK"));
    assert_eq!(status(b"GET /metrics?x=y HTTP/1.0\r\n\r\n"), is("200 OK"));
    assert_eq!(status(b"GET /nothing HTTP/1.1\r\n\r\n"), is("404 Not Found"));
    assert_eq!(status(b"DELETE /metrics HTTP/1.1\r\n\r\n"), is("405 Method Not Allowed"));
    assert_eq!(status(b"\x16\x03\x01\r\n\r\n"), is("400 Bad Request"));
    let long = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 100_000]].concat();
    assert_eq!(status(&long), is("431 Request Header Fields Too Large"));
    let head = exchange(address, b"HEAD /healthz HTTP/1.1\r\n\r\n");
    assert!(head.contains("\r\nContent-Length: 3\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    // Those that ask and never go on hold up nobody for long, and one too many is told so.
    let slow: Vec<TcpStream> = (0..16)
        .map(|_| {
            let mut client = TcpStream::connect(address).expect("it is served");
            client.write_all(b"GET /met").expect("a part of a request");
            client
        })
        .collect();
    until("the end of those that are slow", SOON, || {
        let mut client = TcpStream::connect(address).ok()?;
        client.write_all(b"GET /readyz HTTP/1.1\r\n\r\n").ok()?;
        let mut answer = String::new();
        // One too many may be closed before it has asked.
        client.read_to_string(&mut answer).ok()?;
        answer.ends_with("\r\n\r\nready\n").then_some(())
    });
    drop(slow);
    node.stop();
}

#[test]
fn a_node_is_ready_while_others_can_find_it() {
    let lab = Lab::without_epmd();
    let epmd = lab.start_epmd(Release::R25);
    let (node, address) = measured(&lab, "m", ["--epmd", "external"]);
    assert_eq!(get(address, "/readyz"), ("200 OK".to_owned(), "ready\n".to_owned()));
    drop(epmd);
    until("the loss of the registration", SOON, || {
        let lost = ("503 Service Unavailable".to_owned(), "not registered with epmd\n".to_owned());
        (get(address, "/readyz") == lost).then_some(())
    });
    assert_eq!(get(address, "/healthz").0, "200 OK");
    assert_eq!(metrics(address).value("krarup_registered", &[]), Some(0.0));
    let _epmd = lab.start_epmd(Release::R25);
    until("the registration", SOON, || (get(address, "/readyz").0 == "200 OK").then_some(()));
    node.stop();
}
