//! Links, exits, monitors and aliases between two nodes, every pair of kinds: what each row of
//! `otp/krarup_signals.erl` states of OTP holds with Krarup in the place of one node or of both.

use std::time::Duration;

use krarup_tests::{Lab, OtpNode, OtpNodeBuilder, Release, for_each_release};

const PUPPET: &str = include_str!("../otp/krarup_puppet.erl");
const DIRECTOR: &str = include_str!("../otp/krarup_director.erl");
const SIGNALS: &str = include_str!("../otp/krarup_signals.erl");
/// All rows take a few seconds; one that fails waits for its deadline.
const TABLE: Duration = Duration::from_secs(300);

for_each_release!(within_an_otp_node, between_otp_nodes);

fn within_an_otp_node(release: Release) {
    let lab = Lab::new();
    let mut director = director(&lab, release);
    let node = puppets(&lab, release, "a").start();
    rows_hold(&mut director, "run", node.name(), node.name());
}

fn between_otp_nodes(release: Release) {
    let lab = Lab::new();
    let mut director = director(&lab, release);
    let a = puppets(&lab, release, "a").start();
    let mut b = puppets(&lab, release, "b").start();
    rows_hold(&mut director, "run", a.name(), b.name());
    rows_hold(&mut director, "run_apart", a.name(), b.name());
    director.eval(&before_kill(a.name(), b.name()));
    b.process().kill();
    assert_eq!(director.eval("krarup_signals:after_kill(Stand)."), "ok");
    let _b = puppets(&lab, release, "b").start();
    assert_eq!(director.eval("krarup_signals:after_restart(Stand)."), "ok");
}

/// An Erlang node, whose puppets are on other nodes and may part from each other, not from it.
fn director(lab: &Lab, release: Release) -> OtpNode {
    puppets(lab, release, "director").module(DIRECTOR).module(SIGNALS).start()
}

fn puppets(lab: &Lab, release: Release, name: &str) -> OtpNodeBuilder {
    // Nobody connects two nodes, or parts them, but the rows.
    let arguments = ["-connect_all", "false", "-kernel", "prevent_overlapping_partitions", "false"];
    lab.otp(release, name).module(PUPPET).args(arguments)
}

fn rows_hold(director: &mut OtpNode, table: &str, a: &str, b: &str) {
    let play = format!("krarup_signals:{table}('{a}', '{b}').");
    let failures = director.eval_within(&play, TABLE);
    assert_eq!(failures, "[]", "A on {a}, B on {b}: {{Row, Why}} of those that failed");
}

fn before_kill(a: &str, b: &str) -> String {
    format!("Stand = krarup_signals:before_kill('{a}', '{b}'), ok.")
}
