//! What several suites of nodes within one process share.

mod port;

use std::time::Duration;

use krarup::epmd::EpmdMode;
use krarup::{Builder, Cookie, Node};
use port::free_port;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Two nodes, `a@127.0.0.1` and `b@127.0.0.1`, that do not know each other yet.
pub(crate) fn pair(shards: usize) -> (Node, Node) {
    pair_with(|node| node.shards(shards))
}

/// As [`pair`], configured by the test.
pub(crate) fn pair_with(configure: impl Fn(Builder) -> Builder) -> (Node, Node) {
    let epmd = free_port();
    let start = |name: &str| {
        let cookie = Cookie::new("secret").expect("a cookie");
        let node = Node::builder(name).cookie(cookie).epmd(EpmdMode::Auto).epmd_port(epmd);
        configure(node).start().expect("the node starts")
    };
    (start("a@127.0.0.1"), start("b@127.0.0.1"))
}

/// Stops nodes, one after the other.
pub(crate) fn stop<const N: usize>(nodes: [Node; N]) {
    for node in nodes {
        node.stop().wait();
    }
}
