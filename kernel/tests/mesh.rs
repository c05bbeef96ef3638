//! Nodes that all start at once, and all connect to each other.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use krarup::epmd::EpmdMode;
use krarup::{Cookie, Node};

/// Two descriptors for each pair, in a process that may have a thousand.
const NODES: usize = 16;
const PATIENCE: Duration = Duration::from_secs(60);

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn name(number: usize) -> String {
    format!("n{number}@127.0.0.1")
}

#[test]
fn all_nodes_reach_all_others_at_once() {
    for fabric in [true, false] {
        let epmd = free_port();
        let start = |number| {
            let cookie = Cookie::new("secret").expect("a cookie");
            let builder = Node::builder(name(number)).cookie(cookie).fabric(fabric);
            let node = builder.epmd(EpmdMode::Auto).epmd_port(epmd).start();
            node.expect("the node starts")
        };
        let nodes: Vec<Node> = (0..NODES).map(start).collect();
        let pairs = (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to)));
        let dialled: Vec<_> = pairs
            .filter(|(from, to)| from != to)
            .map(|(from, to)| (from, to, nodes[from].connect(&name(to))))
            .collect();
        for (from, to, connected) in dialled {
            assert_eq!(connected.wait(), Ok(()), "{} to {}", name(from), name(to));
        }
        let started = Instant::now();
        for node in &nodes {
            while node.nodes().wait().len() < NODES - 1 {
                assert!(started.elapsed() < PATIENCE, "{node:?} sees {:?}", node.nodes().wait());
                std::thread::yield_now();
            }
        }
        let stopping: Vec<_> = nodes.iter().map(Node::stop).collect();
        stopping.into_iter().for_each(|stopped| stopped.wait());
    }
}
