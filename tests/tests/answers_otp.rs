//! Nobody waits for ever: whatever an Erlang node asks a Krarup node that OTP itself answers, it gets
//! an answer to, however much is asked at once and whatever connections are dropped meanwhile.
//!
//! `KRARUP_ANSWERS_SECONDS` says how long each release asks; 10, or 60 with `tests/run --long`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use krarup_tests::{Lab, Release, for_each_release};

const QUESTIONS: &str = include_str!("../otp/krarup_questions.erl");
const ASKERS: usize = 40;
/// How long an Erlang node is asked, to show that the questions are fair.
const REFERENCE: Duration = Duration::from_secs(3);
/// What the last questions may take after the time is over.
const REST: Duration = Duration::from_secs(60);

for_each_release!(everything_that_is_asked_is_answered, an_erlang_node_answers_the_same_questions);

fn everything_that_is_asked_is_answered(release: Release) {
    let usual = if cfg!(feature = "long") { 60 } else { 10 };
    let wanted = std::env::var("KRARUP_ANSWERS_SECONDS").ok().and_then(|text| text.parse().ok());
    let lab = Lab::new();
    let krarup = lab.krarup("a").args(["--shards", "2"]).start();
    let pid = krarup.echo_pid();
    ask(&lab, release, krarup.name(), &pid, Duration::from_secs(wanted.unwrap_or(usual)));
    krarup.stop();
}

fn an_erlang_node_answers_the_same_questions(release: Release) {
    let lab = Lab::new();
    let mut other = lab.otp(release, "a").start();
    let pid = other.eval(
        "Echo = krarup_peer:echo_server(), <<131, Bytes/binary>> = term_to_binary(Echo), Bytes.",
    );
    let pid = format!("binary_to_term(<<131, {}>>)", pid.trim_matches(['<', '>']));
    ask(&lab, release, other.name(), &pid, REFERENCE);
}

fn ask(lab: &Lab, release: Release, node: &str, pid: &str, duration: Duration) {
    // Nobody but the askers drops a connection.
    let mut otp = lab
        .otp(release, "b")
        .module(QUESTIONS)
        .args(["-kernel", "prevent_overlapping_partitions", "false"])
        .start();
    // What Erlang says of failed spawns is not what is asked for.
    otp.eval("logger:set_primary_config(level, none).");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right");
    let (seed, millis) = (now.as_micros(), duration.as_millis());
    let question = format!("krarup_questions:ask('{node}', {pid}, {seed}, {ASKERS}, {millis}).");
    let answers = otp.eval_within(&question, duration + REST);
    eprintln!("OTP {release} asked {node} with seed {seed}: {answers}");
    assert!(answers.starts_with("{ok,"), "seed {seed}: {answers}");
}
