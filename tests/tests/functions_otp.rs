//! Functions in Rust, called by Erlang nodes in every way that OTP has: each answer is the same as that
//! of an Erlang node with the same functions.

use std::time::Duration;

use krarup_tests::{Lab, Release, for_each_release};

const FUNCTIONS: &str = include_str!("../otp/krarup_functions.erl");
const CALLS: &str = include_str!("../otp/krarup_calls.erl");
const ALL: Duration = Duration::from_secs(120);

for_each_release!(calls_are_answered_as_otp_does);

fn calls_are_answered_as_otp_does(release: Release) {
    let lab = Lab::new();
    let _krarup = lab.rust_node(env!("CARGO_BIN_EXE_rust-node"), "a");
    let _model = lab.otp(release, "o").module(FUNCTIONS).start();
    let mut otp = lab.otp(release, "b").module(CALLS).start();
    otp.eval("logger:set_primary_config(level, none).");
    let compare = "krarup_calls:compare('a@127.0.0.1', 'o@127.0.0.1').";
    let differences = otp.eval_within(compare, ALL);
    assert_eq!(differences, "[]", "the answers differ");
}
