//! What nodes see of each other, for every pair of kinds: what each row of
//! `otp/krarup_membership.erl` states of OTP holds with Krarup in the place of one node or of both,
//! and calls for administration have the same answers.

use std::time::Duration;

use krarup_tests::{Lab, OtpNode, OtpNodeBuilder, Process, Release, for_each_release};

const PUPPET: &str = include_str!("../otp/krarup_puppet.erl");
const DIRECTOR: &str = include_str!("../otp/krarup_director.erl");
const MEMBERSHIP: &str = include_str!("../otp/krarup_membership.erl");
/// All rows take a few seconds; one that fails waits for its deadline.
const TABLE: Duration = Duration::from_secs(200);

for_each_release!(
    otp_nodes_see_each_other,
    otp_sees_krarup,
    krarup_sees_otp,
    krarup_nodes_see_each_other,
    nothing_connects_by_itself_with_never,
    nothing_reconnects_by_itself_with_once,
    answers_are_those_of_otp,
);

/// What a node of puppets runs.
#[derive(Clone, Copy)]
enum Kind {
    Otp(Release),
    Krarup,
}

use Kind::{Krarup, Otp};

fn otp_nodes_see_each_other(release: Release) {
    rows_hold(release, Otp(release), Otp(release));
}

fn otp_sees_krarup(release: Release) {
    rows_hold(release, Otp(release), Krarup);
}

fn krarup_sees_otp(release: Release) {
    rows_hold(release, Krarup, Otp(release));
}

fn krarup_nodes_see_each_other(release: Release) {
    rows_hold(release, Krarup, Krarup);
}

fn nothing_connects_by_itself_with_never(release: Release) {
    auto_connect_rows_hold(release, "never");
}

fn nothing_reconnects_by_itself_with_once(release: Release) {
    auto_connect_rows_hold(release, "once");
}

fn rows_hold(release: Release, of_a: Kind, of_b: Kind) {
    let lab = Lab::new();
    let mut director = director(&lab, release);
    let (_a, _b) = (start(&lab, of_a, "a", None), start(&lab, of_b, "b", None));
    plays(&mut director, "run");
    plays(&mut director, "run_allow");
}

fn auto_connect_rows_hold(release: Release, when: &str) {
    for kind in [Otp(release), Krarup] {
        let lab = Lab::new();
        let mut director = director(&lab, release);
        let (_a, _b) = (start(&lab, kind, "a", Some(when)), start(&lab, Otp(release), "b", None));
        plays(&mut director, &format!("run_{when}"));
    }
}

fn answers_are_those_of_otp(release: Release) {
    let lab = Lab::new();
    let mut director = director(&lab, release);
    let (_o, _k) = (start(&lab, Otp(release), "o", None), start(&lab, Krarup, "k", None));
    let answers = |node| format!("krarup_membership:answers('{node}@127.0.0.1')");
    director.eval(&format!("Of = {}, Ours = {}, ok.", answers("o"), answers("k")));
    let differences =
        director.eval("[{C, O, K} || {{C, O}, {C, K}} <- lists:zip(Of, Ours), O =/= K].");
    assert_eq!(differences, "[]", "{{Call, OTP's answer, Krarup's}}");
}

fn plays(director: &mut OtpNode, table: &str) {
    let play = format!("krarup_membership:{table}('a@127.0.0.1', 'b@127.0.0.1').");
    let failures = director.eval_within(&play, TABLE);
    assert_eq!(failures, "[]", "{{Row, Why}} of those that failed");
}

/// A node that has puppets, which is killed with this value.
#[expect(dead_code, reason = "it is only kept")]
enum Running {
    Otp(OtpNode),
    Krarup(Process),
}

fn start(lab: &Lab, kind: Kind, name: &str, auto_connect: Option<&str>) -> Running {
    let program = env!("CARGO_BIN_EXE_rust-node");
    match (kind, auto_connect) {
        (Otp(release), when) => {
            let mut node = erlang(lab, release, name);
            if let Some(when) = when {
                node = node.args(["-kernel", "dist_auto_connect", when]);
            }
            Running::Otp(without_observer(node.start()))
        }
        (Krarup, None) => Running::Krarup(lab.rust_node(program, name)),
        (Krarup, Some(when)) => Running::Krarup(lab.rust_node_with(program, name, &[when])),
    }
}

/// Keeps a node from writing to each node that comes up, which connects it again when it has gone
/// already.
fn without_observer(mut node: OtpNode) -> OtpNode {
    let suspend = "spawn(fun() ->
            #{nodes_observer := {Observer, _}} = sys:get_state(rex),
            true = erlang:suspend_process(Observer),
            receive after infinity -> ok end
        end), ok.";
    assert_eq!(node.eval(suspend), "ok");
    node
}

/// An Erlang node that is connected to the others, and never parts from them.
fn director(lab: &Lab, release: Release) -> OtpNode {
    erlang(lab, release, "director").module(DIRECTOR).module(MEMBERSHIP).start()
}

fn erlang(lab: &Lab, release: Release, name: &str) -> OtpNodeBuilder {
    // Nobody connects two nodes, or parts them, but the rows.
    let arguments = ["-connect_all", "false", "-kernel", "prevent_overlapping_partitions", "false"];
    lab.otp(release, name).module(PUPPET).args(arguments)
}
