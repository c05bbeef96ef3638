//! What asks too much of a node's membership: strangers that come again and again, and peers with the
//! cookie whose arguments no program has. The node answers as OTP does, or says what its limit is,
//! and goes on.

use std::time::Duration;

use krarup_tests::{Lab, PeerIdentity, RawPeer, Release};

const COOKIE: &str = "Alouette";
const SOON: Duration = Duration::from_secs(30);

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
    krarup.process().wait_line("passed over: it is this node itself node='a@127.0.0.2'", SOON);
    krarup.stop();
}

/// A list of options is a list of calls of the system, while a shard does nothing else.
#[test]
fn lists_of_socket_options_have_an_end() {
    let lab = Lab::new();
    let _krarup = lab.krarup("a").start();
    let mut otp = lab.otp(Release::R27, "o").start();
    let of_many = |function: &str, two: [&str; 2]| {
        format!(
            "rpc:call('a@127.0.0.1', net_kernel, {function}, ['o@127.0.0.1',
                lists:duplicate(100000, {}) ++ lists:duplicate(100000, {})]).",
            two[0], two[1]
        )
    };
    assert_eq!(otp.eval(&of_many("getopts", ["tclass", "nodelay"])), "{error,einval}");
    let set = of_many("setopts", ["{tclass,0}", "{nodelay,true}"]);
    assert_eq!(otp.eval(&set), "{error,einval}");
    let few = "rpc:call('a@127.0.0.1', net_kernel, getopts,
        ['o@127.0.0.1', lists:duplicate(1000, nodelay)]) =:= {ok, lists:duplicate(1000, {nodelay, true})}.";
    assert_eq!(otp.eval(few), "true");
}
