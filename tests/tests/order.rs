//! Connections that fall and come up again, faster than anybody can follow: every process is told
//! of that in an order that fits what else it receives, on every shard.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use krarup_tests::{Cluster, Lab, Release, Watches, until};

const WITNESS: &str = env!("CARGO_BIN_EXE_witness");
const STORM: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[test]
fn what_is_said_of_a_node_and_what_it_says_come_in_order() {
    if Release::R27.is_missing() {
        return;
    }
    let lab = Lab::new();
    let names = ["k1", "k2", "e"].map(|name| format!("{name}@127.0.0.1"));
    let [k1, k2, e] = names.each_ref().map(String::as_str);
    let cluster = Cluster {
        net_ticktime: 60,
        witnesses: names.to_vec(),
        sinks: Vec::new(),
        period: Duration::from_millis(1),
    };
    let command = || Command::new(Path::new(WITNESS));
    let mut first = cluster.krarup_witness(&lab, command(), k1.to_owned());
    let mut second = cluster.krarup_witness(&lab, command(), k2.to_owned());
    let mut otp = cluster.otp_witness(lab.otp(Release::R27, "e"));
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < STORM {
        // From either side, and over both kinds of connections.
        first.disconnect(k2);
        second.disconnect(k1);
        first.disconnect(e);
        otp.eval(&format!("erlang:disconnect_node('{k2}')."));
        second.disconnect(e);
        rounds += 1;
    }
    let all: [&mut dyn Watches; 3] = [&mut first, &mut second, &mut otp];
    for node in all {
        let own = node.node_name().to_owned();
        let others: Vec<&String> = names.iter().filter(|name| **name != own).collect();
        // They find each other again, and what was said last is true.
        let mut before = node.report();
        until(&format!("{own} hears all others"), SOON, || {
            std::thread::sleep(LOOK_AGAIN);
            let now = node.report();
            assert!(now.violations.is_empty(), "{own}, {rounds} rounds: {:?}", now.violations);
            let beats = |of: &krarup_tests::Report, name| of.beats.get(name).copied().unwrap_or(0);
            let hears = others.iter().all(|name| beats(&now, *name) > beats(&before, *name));
            before = now;
            (hears && before.owed.is_empty() && before.nodes.len() == others.len()).then_some(())
        });
        // Every process was told the same of each node.
        for name in others {
            let mut told = before
                .events
                .iter()
                .map(|events| events.iter().filter(|event| event.contains(name.as_str())).count());
            let counts: Vec<usize> = told.by_ref().collect();
            assert!(counts[0] > rounds / 10, "{own} of {name}: {counts:?} in {rounds} rounds");
            assert!(counts.iter().all(|count| count.abs_diff(counts[0]) <= 2), "{counts:?}");
        }
    }
    println!("{rounds} rounds");
}
