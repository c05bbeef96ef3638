//! The binary as a user runs it: short measurements, and what it writes.

use std::path::Path;
use std::process::{Command, Output};

/// Every peer, so that one that cannot run is a failure and not left out.
const ALL: &str = "raw-spin,raw-block,unix-spin,unix-block,krarup,krarup-raw,krarup-tcp,krarup-raw-tcp,\
     krarup-plain,otp,krarup-otp,otp-krarup";

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_krarup-bench"))
        .args(arguments)
        .args(["--pin", "none", "--warm-up", "0.05"])
        .args(if arguments.contains(&"--reps") { &[][..] } else { &["--reps", "1"] })
        .output()
        .expect("the benchmark was built for this test")
}

fn json(output: &Output) -> serde_json::Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.is_empty(), "progress is for terminals only: {errors}");
    serde_json::from_slice(&output.stdout).expect("--json prints one document")
}

/// Every pair of one document, with what `figure` holds for it.
fn figures(document: &serde_json::Value, figure: &str) -> Vec<(String, u64, f64)> {
    let entries = document["results"].as_array().expect("results");
    let of = |entry: &serde_json::Value| {
        let peer = entry["peer"].as_str().expect("peer").to_owned();
        let size = entry["size_bytes"].as_u64().expect("size");
        (peer, size, entry[figure].as_f64().expect("figure"))
    };
    entries.iter().map(of).collect()
}

#[test]
fn round_trips_of_every_peer() {
    let sizes = ["--sizes", "16,64k", "--seconds", "0.1", "--reps", "2"];
    let output = bench(&[&["rtt", "--peers", ALL, "--json"], &sizes[..]].concat());
    let found = figures(&json(&output), "p50_ns");
    assert_eq!(found.len(), 24, "{found:?}");
    assert!(found.iter().all(|(_, _, p50)| (500.0..1e9).contains(p50)), "{found:?}");
}

#[test]
fn streams_of_every_peer() {
    let output =
        bench(&["stream", "--peers", ALL, "--sizes", "16,1m", "--seconds", "0.2", "--json"]);
    let found = figures(&json(&output), "messages_per_s");
    assert_eq!(found.len(), 24, "{found:?}");
    assert!(found.iter().all(|(_, _, rate)| *rate > 1.0), "{found:?}");
}

#[test]
fn pairs_of_every_peer() {
    let output = bench(&["pairs", "--peers", ALL, "--pairs", "1,50", "--seconds", "0.2", "--json"]);
    let document = json(&output);
    for figure in ["p50_ns", "messages_per_s", "cpu_ns_each"] {
        let found = figures(&document, figure);
        assert_eq!(found.len(), 24, "{found:?}");
        assert!(found.iter().all(|(_, _, value)| *value > 1.0), "{figure}: {found:?}");
    }
}

#[test]
fn an_open_loop_keeps_its_rate_with_every_peer() {
    let output = bench(&["rate", "--peers", ALL, "--rates", "500", "--seconds", "0.5", "--json"]);
    let found = figures(&json(&output), "messages_per_s");
    assert_eq!(found.len(), 12, "{found:?}");
    // The last answers may be late on a busy machine, none may be missing.
    assert!(found.iter().all(|(_, _, rate)| (50.0..550.0).contains(rate)), "{found:?}");
}

#[test]
fn first_contact_of_every_peer() {
    let peers = "krarup,otp,krarup-otp,otp-krarup";
    let output = bench(&["connect", "--peers", peers, "--seconds", "0.3", "--json"]);
    let found = figures(&json(&output), "p50_ns");
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.iter().all(|(_, _, p50)| (1e4..1e9).contains(p50)), "{found:?}");
}

#[test]
fn calls_spawns_and_functions_of_every_peer() {
    let peers = "krarup,krarup-tcp,krarup-plain,otp,krarup-otp,otp-krarup";
    for work in ["call", "spawn", "rpc"] {
        let sizes: &[&str] = if work == "call" { &["--sizes", "16"] } else { &[] };
        let arguments = [&[work, "--peers", peers, "--seconds", "0.1", "--json"], sizes].concat();
        let found = figures(&json(&bench(&arguments)), "p50_ns");
        assert_eq!(found.len(), 6, "{work}: {found:?}");
        assert!(found.iter().all(|(_, _, p50)| (1e3..1e9).contains(p50)), "{work}: {found:?}");
    }
}

#[test]
fn monitors_fire_when_their_node_is_killed() {
    let peers = "krarup,krarup-plain,otp,krarup-otp,otp-krarup";
    let document = json(&bench(&["monitors", "--peers", peers, "--monitors", "500", "--json"]));
    for figure in ["all_up_ns", "all_down_ns"] {
        // Of one process, and of as many.
        let found = figures(&document, figure);
        assert_eq!(found.len(), 10, "{found:?}");
        assert!(found.iter().all(|(_, _, time)| *time > 1e3), "{figure}: {found:?}");
    }
}

#[test]
fn every_epmd_finds_its_names() {
    let arguments = ["epmd", "--peers", "bare,krarup,otp", "--clients", "1,20", "--names", "30"];
    let output = bench(&[&arguments[..], &["--seconds", "0.2", "--json"]].concat());
    let document = json(&output);
    let names = figures(&document, "names");
    assert!(names.len() == 6 && names.iter().all(|(_, _, names)| *names == 30.0), "{names:?}");
    let rates = figures(&document, "messages_per_s");
    assert!(rates.iter().all(|(_, _, rate)| *rate > 10.0), "{rates:?}");
}

#[test]
fn terms_are_written_and_read_by_every_codec() {
    let output =
        bench(&["codec", "--peers", "krarup,krarup-owned,otp", "--seconds", "0.05", "--json"]);
    let found = figures(&json(&output), "ns_each");
    // Four terms: both ways with Krarup and OTP, owned terms only read.
    assert_eq!(found.len(), 20, "{found:?}");
    assert!(found.iter().all(|(_, _, each)| (1.0..1e9).contains(each)), "{found:?}");
}

#[test]
fn a_worker_runs_under_another_command() {
    let arguments = ["rtt", "--peers", "raw-block", "--sizes", "16", "--seconds", "0.05", "--json"];
    let wrapped = [&arguments[..], &["--wrap-server", "env -i", "--wrap-client", "env"]].concat();
    assert_eq!(figures(&json(&bench(&wrapped)), "p50_ns").len(), 1);
    let missing = [&arguments[..], &["--wrap-client", "/nowhere/command"]].concat();
    let output = bench(&missing);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("/nowhere/command"), "{errors}");
}

#[test]
fn results_are_written_in_every_form() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("text");
    let arguments =
        ["rtt", "--peers", "raw-block", "--sizes", "16", "--seconds", "0.05", "--out", path];
    let output = bench(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8_lossy(&output.stdout);
    for head in ["krarup-bench ", "rustc ", "pinning: none", "command: ", "p99.9"] {
        assert!(table.contains(head), "{head:?} is missing in:\n{table}");
    }
    for name in ["rtt.txt", "rtt.json", "rtt.csv", "rtt.svg", "rtt.hlog"] {
        let written = std::fs::metadata(Path::new(path).join(name)).expect(name);
        assert!(written.len() > 100, "{name}");
    }
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    let unknown = bench(&["rtt", "--peers", "nobody"]);
    assert_eq!(unknown.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(errors.contains("raw-spin"), "the error names the known peers: {errors}");
    let absent = bench(&["rtt", "--peers", "otp", "--erl", "/nowhere/erl"]);
    assert_eq!(absent.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&absent.stderr).into_owned();
    assert!(errors.contains("--erl"), "the error names the remedy: {errors}");
    let elsewhere = bench(&["epmd", "--peers", "raw-spin"]);
    assert_eq!(elsewhere.status.code(), Some(2));
}

#[test]
fn idle_links_have_a_price() {
    let arguments = ["links", "--links", "100", "--peers", "krarup,krarup-plain,otp"];
    let output = bench(&[&arguments[..], &["--seconds", "0.2", "--json"]].concat());
    let found = figures(&json(&output), "bytes_each");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|(_, _, bytes)| (100.0..1e6).contains(bytes)), "{found:?}");
}

#[test]
fn a_mesh_connects_and_talks() {
    let output = bench(&["mesh", "--nodes", "2,5", "--seconds", "0.2", "--json"]);
    let document = json(&output);
    for figure in ["links_per_s", "bytes_each", "messages_per_s", "p50_ns"] {
        let found = figures(&document, figure);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found.iter().all(|(_, _, value)| *value > 1.0), "{figure}: {found:?}");
    }
}

#[test]
fn nodes_have_several_shards() {
    let arguments =
        ["shards", "--shards", "1,3", "--pairs", "10", "--peers", "krarup,krarup-plain"];
    let output = bench(&[&arguments[..], &["--seconds", "0.3", "--json"]].concat());
    let found = figures(&json(&output), "messages_per_s");
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn a_comparison_has_verdicts_and_all_its_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("text");
    let output = bench(&["compare", "--quick", "--only", "rtt-unix", "--out", path]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = String::from_utf8_lossy(&output.stdout);
    for part in ["| row | figure | target | measured |", "≤ 1.25 × unix-spin", "krarup-raw"] {
        assert!(page.contains(part), "{part:?} is missing in:\n{page}");
    }
    let files = ["compare.md", "compare.json", "compare.hlog", "compare.svg"];
    for name in files.into_iter().chain(["compare-rtt-unix.svg"]) {
        let written = std::fs::metadata(Path::new(path).join(name)).expect(name);
        assert!(written.len() > 100, "{name}");
    }
    let json = std::fs::read_to_string(Path::new(path).join("compare.json")).expect("read");
    let json: serde_json::Value = serde_json::from_str(&json).expect("parse");
    let checks = json["sections"][0]["checks"].as_array().expect("checks");
    assert_eq!(checks.len(), 4);
    for check in checks {
        assert!(["met", "missed"].contains(&check["verdict"].as_str().expect("text")), "{check}");
        assert!(check["ratio"].is_number() && check["spread"].is_array(), "{check}");
    }
}

#[test]
fn rows_of_a_comparison_are_chosen_by_name() {
    let list = bench(&["compare", "--list", "--only", "stream"]);
    let rows = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(rows.lines().count() == 3 && rows.contains("stream-16"), "{rows}");
    let growth = bench(&["growth", "--list"]);
    assert!(String::from_utf8_lossy(&growth.stdout).contains("mesh"));
    let unknown = bench(&["compare", "--only", "nothing"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("rtt-unix"));
    assert_eq!(bench(&["compare", "--peers", "otp"]).status.code(), Some(2));
}

/// `cargo test -p krarup-bench --features peers`
#[cfg(feature = "peers")]
#[test]
fn other_crates_do_the_same_work() {
    let peers = "erl-dist,erl-dist-otp-29,edp-otp-29";
    for arguments in [["rtt", "--sizes", "16"], ["stream", "--sizes", "1k"]] {
        let output = bench(&[&arguments[..], &["--peers", peers, "--seconds", "0.3"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let output = bench(&["pairs", "--pairs", "20", "--peers", peers, "--seconds", "0.3", "--json"]);
    assert_eq!(figures(&json(&output), "p50_ns").len(), 3);
    let output = bench(&["codec", "--peers", "eetf,erltf,erltf-borrowed", "--seconds", "0.02"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// `cargo test -p krarup-bench --features zmq`
#[cfg(feature = "zmq")]
#[test]
fn zeromq_does_the_same_work() {
    for arguments in
        [["rtt", "--sizes", "16"], ["stream", "--sizes", "1k"], ["pairs", "--pairs", "20"]]
    {
        let output = bench(&[&arguments[..], &["--peers", "zmq", "--seconds", "0.3"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn socket_options_are_set_on_links_that_are_up() {
    let run = |option: &str| {
        let stream = ["stream", "--peers", "krarup-tcp", "--sizes", "64k", "--seconds", "0.1"];
        bench(&[&stream[..], &["--setopt", option, "--json"]].concat())
    };
    let found = figures(&json(&run("profile=wan")), "messages_per_s");
    assert!(found.iter().all(|(_, _, rate)| *rate > 1.0), "{found:?}");
    let wrong = run("sndbuff=1");
    assert!(!wrong.status.success());
    let told = String::from_utf8_lossy(&wrong.stderr);
    assert!(told.contains("sndbuf"), "the nearest known option is named: {told}");
}
