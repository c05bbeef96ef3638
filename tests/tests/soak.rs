//! Everything at once, for long: real nodes of all releases that flood, come and go, and send big
//! messages, while descriptors and memory stay where they are. Part of `tests/run --long`;
//! `KRARUP_SOAK_SECONDS` sets how long (300).
#![cfg(feature = "long")]

use std::time::{Duration, Instant};

use krarup_tests::{Lab, OtpNode, Release, until};

const ROUND: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(20);
/// What the node may grow by after the first rounds, which set up what is made once.
const GROWTH_KIB_MAX: u64 = 24 * 1024;
const WARM_UP_ROUNDS: usize = 4;

#[test]
fn a_node_under_mixed_load_stays_as_it_is() {
    let seconds = std::env::var("KRARUP_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let duration = Duration::from_secs(seconds.unwrap_or(300));
    let lab = Lab::new();
    let mut krarup = lab.krarup("a").args(["--shards", "2"]).start();
    let name = krarup.name().to_owned();
    let mut nodes: Vec<OtpNode> = Release::all()
        .into_iter()
        .map(|release| lab.otp(release, &format!("b{release}")).start())
        .collect();
    for node in &mut nodes {
        node.eval(&format!("Node = '{name}', Echo = {{echo, Node}}, Sink = {{sink, Node}}."));
        node.eval("Big = crypto:strong_rand_bytes(5000000), byte_size(Big).");
    }
    // Each node does all of these in turn, and never the same as another at one time.
    let work = [
        ("krarup_peer:flood_echo(Echo, 32, 200, 60000).", "ok"),
        ("krarup_peer:churn(Node, 20).", "ok"),
        ("Big =:= krarup_peer:ask(Echo, Big, 60000).", "true"),
        ("krarup_peer:flood(Sink, 16, 1000).", "[normal]"),
        (
            "[element(2, krarup_peer:exit_reason({nobody, Node}, 60000)) || _ <- [1, 2, 3]].",
            "[noproc,noproc,noproc]",
        ),
    ];
    let start = Instant::now();
    let mut baseline = None;
    let mut round = 0;
    while start.elapsed() < duration || round <= WARM_UP_ROUNDS {
        let tasks: Vec<_> =
            (0..nodes.len()).map(|node| work[(round + node) % work.len()]).collect();
        let begun: Vec<usize> =
            nodes.iter_mut().zip(&tasks).map(|(node, (task, _))| node.begin(task)).collect();
        for ((node, begun), (task, wanted)) in nodes.iter_mut().zip(begun).zip(&tasks) {
            assert_eq!(&node.finish(begun, task, ROUND), wanted, "round {round}: {task}");
        }
        round += 1;
        if round == WARM_UP_ROUNDS {
            let process = krarup.process();
            baseline = Some((process.descriptors(), process.resident_peak_kib()));
        }
    }
    let (descriptors, peak) = baseline.expect("the first rounds are over");
    let process = krarup.process();
    until("the descriptors are as at the start", SOON, || {
        (process.descriptors() <= descriptors + nodes.len()).then_some(())
    });
    let resident = process.resident_kib();
    assert!(
        resident < peak + GROWTH_KIB_MAX,
        "{peak} KiB have become {resident} in {round} rounds"
    );
    println!("{round} rounds, {resident} KiB");
    krarup.stop();
}
