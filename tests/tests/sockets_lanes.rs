//! The options of connections between Krarup nodes, changed while a stream runs over them: seen by
//! the kernel, by `getopts`, and in what senders are told.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use krarup::epmd::EpmdMode;
use krarup::sockets::Profile;
use krarup::sockets::option::{OptionName, SocketOption};
use krarup::{Builder, Cookie, Node, NodeConfig, OptionsError, Process, SendError, StartError};
use krarup_tests::{Proxy, until};

const A: &str = "a@127.0.0.1";
const B: &str = "b@127.0.0.1";
const SOON: Duration = Duration::from_secs(30);
const SHARDS: usize = 2;

fn config(name: &str) -> NodeConfig {
    let mut config = NodeConfig { name: Some(name.to_owned()), ..NodeConfig::default() };
    config.cookie = Some(Cookie::new("c").expect("a cookie"));
    config.shards = SHARDS;
    config.epmd = EpmdMode::None;
    config.fabric.unix = false;
    config.spin = Some(Duration::ZERO);
    config
}

fn start(config: NodeConfig) -> Node {
    Builder::from_config(config).start().expect("the node starts")
}

/// Two nodes of two shards that are connected; all connections go to `b`.
fn pair(change: impl Fn(&mut NodeConfig)) -> (Node, Node) {
    let mut config_b = config(B);
    change(&mut config_b);
    let b = start(config_b);
    let mut config_a = config(A);
    config_a.peer_port = b.port();
    change(&mut config_a);
    let a = start(config_a);
    a.connect(B).wait().expect("a connection");
    (a, b)
}

fn stop(nodes: [Node; 2]) {
    for node in nodes {
        node.stop().wait();
    }
}

/// Messages from one node to another until it is dropped.
struct Load {
    over: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
}

impl Load {
    fn start(from: &Node, to: &Node) -> Load {
        let load = Load { over: Arc::default(), received: Arc::default() };
        for shard in 0..SHARDS {
            let received = Arc::clone(&load.received);
            let sink = move |mut me: Process| async move {
                while me.recv().await.is_ok() {
                    received.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            };
            let sink = to.spawn_on(shard, None, sink).wait().expect("a process");
            let (over, received) = (Arc::clone(&load.over), Arc::clone(&load.received));
            let source = move |mut me: Process| async move {
                let small = vec![1; 2000];
                let large = vec![2; 200_000];
                let mut sent = 0;
                while !over.load(Ordering::Relaxed) {
                    while sent > received.load(Ordering::Relaxed) + 50 {
                        me.recv_timeout(Duration::from_micros(200)).await?;
                    }
                    let bytes = if sent % 10 == 0 { &large } else { &small };
                    me.send_bytes(&sink, bytes).await?;
                    sent += 1;
                }
                Ok(())
            };
            from.spawn_on(shard, None, source).wait().expect("a process");
        }
        load.goes_on();
        load
    }

    /// Waits until more has come.
    fn goes_on(&self) {
        let before = self.received.load(Ordering::Relaxed);
        until("more messages come", SOON, || {
            (self.received.load(Ordering::Relaxed) > before + 20).then_some(())
        });
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// What the kernel says of the sockets connected to a port: one text for each.
fn sockets_to(port: u16) -> Vec<String> {
    let output = Command::new("ss")
        .args(["-tinmOH", "state", "established", &format!("dport = :{port}")])
        .output()
        .expect("ss is there");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// The options of a connection; who was connected to may hear of it a little later.
fn get(node: &Node, peer: &str, names: &[OptionName]) -> Vec<SocketOption> {
    until("they are connected", SOON, || node.getopts(peer, names).wait().ok())
}

#[test]
fn the_kernel_sees_what_is_set_under_load_on_every_lane() {
    let (a, b) = pair(|_| {});
    let port = b.port().expect("it is alive");
    let lanes = sockets_to(port);
    assert_eq!(lanes.len(), SHARDS, "{lanes:?}");
    let load = Load::start(&a, &b);
    let options = [
        SocketOption::Sndbuf(150_000),
        SocketOption::Congestion("reno".to_owned()),
        SocketOption::NotsentLowat(32 << 10),
        SocketOption::UserTimeout(12_345),
        SocketOption::FragmentSize(8 << 10),
        SocketOption::Buffer(4 << 10),
    ];
    a.setopts(B, &options).wait().expect("usual options");
    let lanes = sockets_to(port);
    assert_eq!(lanes.len(), SHARDS);
    for lane in &lanes {
        assert!(lane.contains(" reno ") && lane.contains(",tb300000,"), "{lane}");
    }
    load.goes_on();
    let names: Vec<OptionName> = options.iter().map(SocketOption::name).collect();
    let mut seen = options.to_vec();
    seen[0] = SocketOption::Sndbuf(300_000);
    assert_eq!(get(&a, B, &names), seen);

    // The last of them is refused by the kernel: none is set, on no lane.
    let wrong = [
        SocketOption::Sndbuf(50_000),
        SocketOption::FragmentSize(16 << 10),
        SocketOption::Congestion("nosuch".to_owned()),
    ];
    let error = a.setopts(B, &wrong).wait().expect_err("no such algorithm");
    assert!(matches!(error, OptionsError::Refused { option: OptionName::Congestion, .. }));
    let out_of_range = [SocketOption::Keepalive(false), SocketOption::FragmentSize(1)];
    let error = a.setopts(B, &out_of_range).wait().expect_err("too small");
    assert!(matches!(error, OptionsError::Refused { option: OptionName::FragmentSize, .. }));
    assert_eq!(get(&a, B, &names), seen);
    assert_eq!(get(&a, B, &[OptionName::Keepalive]), [SocketOption::Keepalive(true)]);
    for lane in sockets_to(port) {
        assert!(lane.contains(" reno ") && lane.contains(",tb300000,"), "{lane}");
    }
    load.goes_on();
    a.setopts(B, &Profile::Latency.settings()).wait().expect("a profile");
    assert_eq!(
        get(&a, B, &[OptionName::NotsentLowat, OptionName::UserTimeout, OptionName::SpinUs]),
        [
            SocketOption::NotsentLowat(16 << 10),
            SocketOption::UserTimeout(0),
            SocketOption::SpinUs(100)
        ]
    );
    load.goes_on();
    drop(load);
    let error = a.setopts("x@127.0.0.1", &[]).wait();
    assert_eq!(error, Err(OptionsError::NoConnection));
    stop([a, b]);
}

/// Sends one large message between processes of the first shards, and waits until it is there.
fn send_one(from: &Node, to: &Node, bytes: usize) {
    let (done, received) = mpsc::channel();
    let receive = move |mut me: Process| async move {
        let signal = me.recv().await?;
        done.send(signal.as_bytes().map(<[u8]>::len))?;
        Ok(())
    };
    let receiver = to.spawn_on(0, None, receive).wait().expect("a process");
    let send = move |me: Process| async move {
        me.send_bytes(&receiver, &vec![9; bytes]).await?;
        Ok(())
    };
    from.spawn_on(0, None, send).wait().expect("a process");
    assert_eq!(received.recv_timeout(SOON), Ok(Some(bytes)));
}

/// What a large message costs: bytes written by the one node beyond its own, and reads of the
/// other.
fn cost(from: &Node, to: &Node, bytes: usize) -> (u64, u64) {
    let sent = |node: &Node| -> u64 {
        node.stats().wait().iter().flat_map(|shard| &shard.links).map(|link| link.sent_bytes).sum()
    };
    let reads = |node: &Node| -> u64 {
        node.stats().wait().iter().map(|shard| shard.driver.receives).sum()
    };
    let before = (sent(from), reads(to));
    send_one(from, to, bytes);
    (sent(from) - before.0 - bytes as u64, reads(to) - before.1)
}

#[test]
fn counters_see_smaller_fragments_and_reads() {
    let (a, b) = pair(|_| {});
    let bytes = 4_000_000;
    send_one(&a, &b, bytes);
    let (overhead, _) = cost(&a, &b, bytes);
    assert!(overhead < 8000, "{overhead} bytes beside the message");
    a.setopts(B, &[SocketOption::FragmentSize(4096)]).wait().expect("a usual option");
    b.setopts(A, &[SocketOption::Buffer(4096)]).wait().expect("a usual option");
    let (overhead, reads) = cost(&a, &b, bytes);
    // A header of 24 bytes for each part.
    assert!((23_000..32_000).contains(&overhead), "{overhead} bytes beside the message");
    assert!(reads >= 970, "{reads} reads");
    a.setopts(B, &[SocketOption::FragmentSize(65_536)]).wait().expect("a usual option");
    b.setopts(A, &[SocketOption::Buffer(1 << 20)]).wait().expect("a usual option");
    let (overhead, reads) = cost(&a, &b, bytes);
    assert!(overhead < 8000, "{overhead} bytes beside the message");
    assert!(reads < 970, "{reads} reads");
    stop([a, b]);
}

#[test]
fn a_new_socket_of_a_lane_has_what_was_set() {
    let b = start(config(B));
    let port = b.port().expect("it is alive");
    let proxy = Proxy::start(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    let a = start(NodeConfig { peer_port: Some(proxy.port()), ..config(A) });
    a.connect(B).wait().expect("a connection");
    let load = Load::start(&a, &b);
    a.setopts(B, &[SocketOption::Sndbuf(150_000), SocketOption::Buffer(5000)])
        .wait()
        .expect("usual");
    let tells = |lane: &String| lane.contains(",tb300000,");
    let before = proxy.accepted();
    proxy.reset_all();
    load.goes_on();
    until("both lanes have new sockets, with the option", SOON, || {
        let lanes = sockets_to(proxy.port());
        let all = lanes.len() == SHARDS && lanes.iter().all(tells);
        (proxy.accepted() >= before + SHARDS && all).then_some(())
    });
    assert_eq!(get(&a, B, &[OptionName::Buffer]), [SocketOption::Buffer(5000)]);
    drop(load);
    stop([a, b]);
}

#[test]
fn what_is_set_for_new_connections_reaches_later_ones_only() {
    let (a, b) = pair(|_| {});
    let names = [OptionName::Nodelay, OptionName::Priority, OptionName::HighWatermark];
    let before = get(&a, B, &names);
    let new = [
        SocketOption::Nodelay(false),
        SocketOption::Priority(2),
        SocketOption::HighWatermark(70_000),
    ];
    a.setopts("new", &new).wait().expect("usual options");
    assert_eq!(get(&a, B, &names), before);
    assert!(a.disconnect(B).wait());
    a.connect(B).wait().expect("a connection");
    assert_eq!(get(&a, B, &names), new);
    assert_eq!(get(&b, A, &names), before, "the other node was told nothing");
    // And those that it accepts.
    b.setopts("new", &new).wait().expect("usual options");
    assert!(a.disconnect(B).wait());
    a.connect(B).wait().expect("a connection");
    assert_eq!(get(&b, A, &names), new);
    stop([a, b]);
}

#[test]
fn what_is_set_for_new_connections_reaches_those_that_are_being_set_up() {
    let b = start(config(B));
    let port = b.port().expect("it is alive");
    let proxy = Proxy::start(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    let a = start(NodeConfig { peer_port: Some(proxy.port()), ..config(A) });
    proxy.hold();
    let connecting = a.connect(B);
    until("it waits for the other's word", SOON, || (proxy.accepted() > 0).then_some(()));
    let new = [SocketOption::Nodelay(false), SocketOption::FragmentSize(5000)];
    a.setopts("new", &new).wait().expect("usual options");
    assert_eq!(a.getopts(B, &[]).wait(), Err(OptionsError::NoConnection));
    proxy.release();
    connecting.wait().expect("a connection");
    assert_eq!(get(&a, B, &[OptionName::Nodelay, OptionName::FragmentSize]), new);
    stop([a, b]);
}

#[test]
fn lists_for_one_direction_stay_in_it() {
    let (a, b) = pair(|config| {
        config.connect_options = vec![SocketOption::Priority(1), SocketOption::Nodelay(false)];
        config.listen_options = vec![SocketOption::Priority(4)];
        config.dist_nodelay = Some(true);
    });
    let names = [OptionName::Priority, OptionName::Nodelay];
    let nodelay = SocketOption::Nodelay(true);
    assert_eq!(get(&a, B, &names), [SocketOption::Priority(1), nodelay.clone()]);
    assert_eq!(get(&b, A, &names), [SocketOption::Priority(4), nodelay]);
    stop([a, b]);
}

#[test]
fn over_unix_sockets_what_only_tcp_has_is_kept() {
    let (a, b) = pair(|config| config.fabric.unix = true);
    let names = [OptionName::UserTimeout, OptionName::Sndbuf, OptionName::Nodelay];
    assert_eq!(
        a.getopts(B, &[OptionName::UserTimeout]).wait(),
        Ok(Vec::new()),
        "the socket has no such thing"
    );
    let set = [
        SocketOption::UserTimeout(700),
        SocketOption::Sndbuf(50_000),
        SocketOption::Nodelay(false),
    ];
    a.setopts(B, &set).wait().expect("usual options");
    let mut seen = set.to_vec();
    seen[1] = SocketOption::Sndbuf(100_000);
    assert_eq!(get(&a, B, &names), seen);
    stop([a, b]);
}

#[test]
fn a_lower_water_mark_stops_senders_earlier() {
    let b = start(config(B));
    let port = b.port().expect("it is alive");
    let proxy = Proxy::start(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    let a = start(NodeConfig { peer_port: Some(proxy.port()), ..config(A) });
    a.connect(B).wait().expect("a connection");
    let sink = b.spawn_on(0, None, |mut me: Process| async move {
        while me.recv().await.is_ok() {}
        Ok(())
    });
    let sink = sink.wait().expect("a process");
    // Nothing is taken off the sockets any more: what is sent fills the kernel, then the outbox.
    proxy.hold();
    a.setopts(B, &[SocketOption::HighWatermark(20_000), SocketOption::LowWatermark(10_000)])
        .wait()
        .expect("usual options");
    let (told, limit) = mpsc::channel();
    let fill = move |mut me: Process| async move {
        loop {
            match me.try_send_bytes(&sink, &[0; 4000]) {
                // The shard writes what it can meanwhile.
                Ok(()) => drop(me.recv_timeout(Duration::from_micros(200)).await?),
                Err(SendError::Busy { queued_bytes, limit_bytes }) => {
                    told.send((queued_bytes, limit_bytes))?;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    };
    a.spawn_on(0, None, fill).wait().expect("a process");
    let (queued, limit) = limit.recv_timeout(SOON).expect("it is busy at some time");
    assert_eq!(limit, 20_000);
    assert!((20_000..30_000).contains(&queued), "{queued}");
    proxy.release();
    stop([a, b]);
}

#[test]
fn a_node_that_is_not_alive_ignores_options() {
    let node = Node::anonymous().shards(1).start().expect("it starts");
    let error = node.setopts("new", &[]).wait().expect_err("it is not alive");
    assert_eq!(error, OptionsError::NotAlive);
    assert_eq!(error.to_term().to_string(), "ignored");
    assert_eq!(node.getopts(B, &[]).wait(), Err(OptionsError::NotAlive));
    node.stop().wait();
}

#[test]
fn a_port_that_is_taken_keeps_the_node_from_starting() {
    let b = start(config(B));
    let port = b.port().expect("it is alive");
    let config = NodeConfig { listen_ports: port..=port, ..config(A) };
    let error = Builder::from_config(config).start().expect_err("the port is taken");
    assert!(matches!(error, StartError::Listen(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("eaddrinuse") && text.contains("choose another port"), "{text}");
    b.stop().wait();
}
