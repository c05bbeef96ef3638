//! Attempts to connect: shared by all who wait, in nobody's way, and over in time.

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use krarup::epmd::client::register;
use krarup::{ConnectError, Node, NodeMonitorOptions, NodeTypes, Signal};
use krarup_transport::epmd::message::NodeEntry;
use support::{PATIENCE, pair, pair_with, stop};

const SETUP: Duration = Duration::from_secs(2);

/// Registers a node at the epmd of `by` that takes connections and never says a word.
fn silent_node(by: &Node) -> (TcpListener, krarup::epmd::client::Registration) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let epmd: SocketAddr = by.epmd().expect("it is registered");
    let entry = NodeEntry::new("silent", port);
    let registration = register(epmd, &entry, PATIENCE).expect("the name is free");
    listener.set_nonblocking(true).expect("a listener");
    (listener, registration)
}

#[test]
fn an_attempt_that_hangs_is_shared_and_holds_nobody_up() {
    let (a, b) = pair_with(|node| node.shards(2).net_setuptime(SETUP));
    let (listener, _registration) = silent_node(&a);
    let started = Instant::now();
    let waiting: Vec<_> = (0..50).map(|_| a.connect("silent@127.0.0.1")).collect();
    let mut mailbox = a.mailbox(None).wait().expect("a mailbox");
    mailbox.monitor_node("silent@127.0.0.1", true);
    let first = loop {
        if let Ok((socket, _)) = listener.accept() {
            break socket;
        }
        assert!(started.elapsed() < PATIENCE, "nobody connects");
        std::thread::sleep(Duration::from_millis(1));
    };
    // Whoever wants to talk to others does.
    a.connect("b@127.0.0.1").wait().expect("another node is connected to meanwhile");
    let others_took = started.elapsed();
    for waiting in waiting {
        let outcome = waiting.wait();
        assert!(matches!(outcome, Err(ConnectError::Handshake(_))), "{outcome:?}");
    }
    let took = started.elapsed();
    assert!(took >= SETUP, "given up after {took:?}");
    assert!(others_took < took, "it took {others_took:?} while the attempt hung for {took:?}");
    let signal = mailbox.recv_timeout(PATIENCE).expect("the node runs").expect("it is told");
    assert!(matches!(&signal, Signal::NodeLost(node) if node.as_str() == "silent@127.0.0.1"));
    // One attempt served all.
    assert!(listener.accept().is_err(), "there was a second attempt");
    drop(first);
    stop([a, b]);
}

#[test]
fn a_mailbox_is_told_of_nodes_as_a_process_is() {
    let (a, b) = pair(2);
    let mut mailbox = a.mailbox(None).wait().expect("a mailbox");
    let all = NodeMonitorOptions::default().node_type(NodeTypes::All).nodedown_reason();
    mailbox.monitor_nodes_with(true, all);
    mailbox.monitor_node("b@127.0.0.1", true);
    let mut next = || mailbox.recv_timeout(PATIENCE).expect("the node runs").expect("it is told");
    let up = next();
    let Signal::NodeUp(up) = &up else { panic!("{up:?} instead of a nodeup") };
    assert_eq!(up.to_term().to_string(), "{nodeup,'b@127.0.0.1',[{node_type,visible}]}");
    assert!(a.disconnect("b@127.0.0.1").wait());
    let lost = next();
    assert!(matches!(lost, Signal::NodeLost(_)), "{lost:?}");
    let down = next();
    let Signal::NodeDown(down) = &down else { panic!("{down:?} instead of a nodedown") };
    assert_eq!(
        down.to_term().to_string(),
        "{nodedown,'b@127.0.0.1',[{nodedown_reason,disconnect},{node_type,visible}]}"
    );
    assert_eq!(down.connection_id, up.connection_id);
    stop([a, b]);
}

/// What OTP's net_kernel would wait for until its setup time is over, again and again.
#[test]
fn a_node_that_calls_itself_by_another_name_is_told_so_at_once() {
    let (a, b) = pair_with(|node| {
        let node = node.listen_address(Ipv4Addr::UNSPECIFIED.into());
        node.shards(2).net_setuptime(Duration::from_secs(60))
    });
    let started = Instant::now();
    for address in ["127.0.0.2", "127.0.0.3"] {
        let outcome = a.connect(&format!("a@{address}")).wait();
        assert_eq!(outcome, Err(ConnectError::ThisNode), "{address}");
    }
    assert!(started.elapsed() < PATIENCE, "it waited for itself");
    // Another one at such an address is none of that: it has another name.
    let outcome = a.connect("b@127.0.0.2").wait();
    assert!(matches!(outcome, Err(ConnectError::Handshake(_))), "{outcome:?}");
    a.connect("b@127.0.0.1").wait().expect("another node");
    stop([a, b]);
}
