//! Links, exits, monitors and aliases between two nodes, every pair of kinds: what each row of
//! `otp/krarup_signals.erl` states of OTP holds with Krarup in the place of one node or of both.

use std::time::Duration;

use krarup_tests::{Lab, OtpNode, OtpNodeBuilder, Process, Release, for_each_release};

const PUPPET: &str = include_str!("../otp/krarup_puppet.erl");
const DIRECTOR: &str = include_str!("../otp/krarup_director.erl");
const FUNCTIONS: &str = include_str!("../otp/krarup_functions.erl");
const SIGNALS: &str = include_str!("../otp/krarup_signals.erl");
/// All rows take a few seconds; one that fails waits for its deadline.
const TABLE: Duration = Duration::from_secs(300);

for_each_release!(
    within_an_otp_node,
    within_a_krarup_node,
    between_otp_nodes,
    from_otp_to_krarup,
    from_krarup_to_otp,
    between_krarup_nodes,
);

/// What a node of puppets runs.
#[derive(Clone, Copy)]
enum Kind {
    Otp(Release),
    Krarup,
}

use Kind::{Krarup, Otp};

fn within_an_otp_node(release: Release) {
    within(release, Otp(release));
}

fn within_a_krarup_node(release: Release) {
    within(release, Krarup);
}

fn between_otp_nodes(release: Release) {
    between(release, Otp(release), Otp(release));
}

fn from_otp_to_krarup(release: Release) {
    between(release, Otp(release), Krarup);
}

fn from_krarup_to_otp(release: Release) {
    between(release, Krarup, Otp(release));
}

fn between_krarup_nodes(release: Release) {
    between(release, Krarup, Krarup);
}

fn within(release: Release, kind: Kind) {
    let lab = Lab::new();
    let mut director = director(&lab, release);
    let node = Puppets::start(&lab, kind, "a");
    rows_hold(&mut director, "run", &node.name, &node.name);
}

fn between(release: Release, of_a: Kind, of_b: Kind) {
    let lab = Lab::new();
    let mut director = director(&lab, release);
    let (a, b) = (Puppets::start(&lab, of_a, "a"), Puppets::start(&lab, of_b, "b"));
    rows_hold(&mut director, "run", &a.name, &b.name);
    rows_hold(&mut director, "run_apart", &a.name, &b.name);
    let stand = format!("krarup_signals:before_kill('{}', '{}')", a.name, b.name);
    director.eval(&format!("Stand = {stand}, ok."));
    // As `kill -9` does.
    drop(b);
    assert_eq!(director.eval("krarup_signals:after_kill(Stand)."), "ok");
    let _b = Puppets::start(&lab, of_b, "b");
    assert_eq!(director.eval("krarup_signals:after_restart(Stand)."), "ok");
}

/// A node that has puppets, which is killed with this value.
struct Puppets {
    name: String,
    _node: Running,
}

#[expect(dead_code, reason = "it is only kept")]
enum Running {
    Otp(OtpNode),
    Krarup(Process),
}

impl Puppets {
    fn start(lab: &Lab, kind: Kind, name: &str) -> Self {
        let node = match kind {
            Otp(release) => Running::Otp(erlang(lab, release, name).start()),
            Krarup => Running::Krarup(lab.rust_node(env!("CARGO_BIN_EXE_rust-node"), name)),
        };
        Self { name: format!("{name}@127.0.0.1"), _node: node }
    }
}

/// An Erlang node, whose puppets are on other nodes and may part from each other, not from it.
fn director(lab: &Lab, release: Release) -> OtpNode {
    erlang(lab, release, "director").module(DIRECTOR).module(SIGNALS).start()
}

fn erlang(lab: &Lab, release: Release, name: &str) -> OtpNodeBuilder {
    // Nobody connects two nodes, or parts them, but the rows.
    let arguments = ["-connect_all", "false", "-kernel", "prevent_overlapping_partitions", "false"];
    lab.otp(release, name).module(PUPPET).module(FUNCTIONS).args(arguments)
}

fn rows_hold(director: &mut OtpNode, table: &str, a: &str, b: &str) {
    let play = format!("krarup_signals:{table}('{a}', '{b}').");
    let failures = director.eval_within(&play, TABLE);
    assert_eq!(failures, "[]", "A on {a}, B on {b}: {{Row, Why}} of those that failed");
}
