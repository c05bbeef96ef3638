//! What asks too much of a node's membership: strangers that come again and again, and peers with the
//! cookie whose arguments no program has. The node answers as OTP does, or says what its limit is,
//! and goes on.

use krarup_tests::{Lab, PeerIdentity, RawPeer};

const COOKIE: &str = "Alouette";

/// A log is written for who reads it.
#[test]
fn who_is_refused_again_and_again_does_not_fill_the_log() {
    let lab = Lab::new();
    let mut krarup = lab.krarup("a").cookie(COOKIE).start();
    let allowed = lab.run([
        "call",
        "--cookie",
        COOKIE,
        krarup.name(),
        "net_kernel",
        "allow",
        "[['b@127.0.0.1']]",
    ]);
    assert_eq!(allowed.stdout.trim(), "ok", "{allowed:?}");
    let stranger =
        PeerIdentity { cookie: COOKIE.to_owned(), ..PeerIdentity::new("stranger@127.0.0.1") };
    for _ in 0..500 {
        let mut peer = RawPeer::dial(krarup.port()).expect("the node accepts connections");
        peer.send_name(&stranger).expect("it listens");
        assert_eq!(peer.read_status().expect("a status"), "not_allowed");
    }
    let count = |output: String, what: &str| output.matches(what).count();
    let output = krarup.process().output();
    let lines = count(output.clone(), "is not allowed") + count(output, "was refused");
    assert!((2..=210).contains(&lines), "{lines} lines tell of 500 refusals");
}

/// As where the DNS names all addresses of a cluster, and a node's name has none of them.
#[test]
fn a_node_that_is_to_connect_to_itself_by_another_name_does_not() {
    let lab = Lab::new();
    let arguments = ["--connect", "a@127.0.0.2", "--listen-address", "0.0.0.0"];
    let mut krarup = lab.krarup("a").args(arguments).start();
    let soon = std::time::Duration::from_secs(20);
    krarup.process().wait_line("passed over: it is this node itself node='a@127.0.0.2'", soon);
    krarup.stop();
}
