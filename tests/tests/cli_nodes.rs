//! The verbs that look at nodes: `world`, `nodes`, `monitor`.

use std::process::Command;
use std::time::Duration;

use krarup_tests::{Lab, Process, Release, krarup_command};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn the_world_is_that_of_the_hosts() {
    let lab = Lab::new();
    let _otp = lab.otp(Release::R25, "o").start();
    let _krarup = lab.krarup("k").start();
    let _stranger = lab.krarup("s").cookie("another").start();
    let world = lab.run(["world", "127.0.0.1", "nobody.invalid", "--cookie", "c"]).expect_code(0);
    assert_eq!((world.stdout.as_str(), world.stderr.as_str()), ("o@127.0.0.1\nk@127.0.0.1\n", ""));
    let world = lab.run(["world", "127.0.0.1", "nobody.invalid", "--cookie", "c", "--verbose"]);
    let world = world.expect_code(0);
    for told in [
        "Pinging 'o@127.0.0.1' -> pong",
        "Pinging 's@127.0.0.1' -> pang",
        "nobody.invalid: the host \"nobody.invalid\" is not known",
        "the same cookie",
    ] {
        assert!(world.stderr.contains(told), "{told}: {world:?}");
    }
    // The hosts' file is looked for in the home as well.
    let none = lab.run(["world", "--cookie", "c"]).expect_code(1);
    assert!(none.stderr.contains("there is no .hosts.erlang"), "{none:?}");
    std::fs::write(lab.home().join(".hosts.erlang"), "'127.0.0.1'.\n").expect("it is written");
    let world = lab.run(["world", "--cookie", "c", "--json"]).expect_code(0);
    let all: serde_json::Value = serde_json::from_str(&world.stdout).expect("this is JSON");
    assert_eq!(all["world"], serde_json::json!(["o@127.0.0.1", "k@127.0.0.1"]));
    assert_eq!(all["nodes"][2]["answer"], "pang");
    std::fs::write(lab.home().join(".hosts.erlang"), "a b.\n").expect("it is written");
    let broken = lab.run(["world", "--cookie", "c"]).expect_code(1);
    assert!(broken.stderr.contains("line 1: syntax error before: b"), "{broken:?}");
}

#[test]
fn nodes_are_those_that_a_node_says() {
    let lab = Lab::new();
    let mut otp = lab.otp(Release::R29, "o").start();
    let _krarup = lab.krarup("k").start();
    let _hidden = lab.krarup("h").hidden(true).start();
    otp.eval("pong = net_adm:ping('k@127.0.0.1'), pong = net_adm:ping('h@127.0.0.1').");
    let of = |node: &str, set: &str| {
        let outcome = lab.run(["nodes", "--of", node, set, "--cookie", "c"]).expect_code(0);
        let mut nodes: Vec<String> = outcome.stdout.lines().map(str::to_owned).collect();
        nodes.sort();
        nodes.join(" ")
    };
    assert_eq!(of("o@127.0.0.1", "visible"), "k@127.0.0.1");
    assert_eq!(of("o@127.0.0.1", "hidden"), "h@127.0.0.1");
    assert_eq!(of("o@127.0.0.1", "connected"), "h@127.0.0.1 k@127.0.0.1");
    assert_eq!(of("o@127.0.0.1", "this"), "o@127.0.0.1");
    assert_eq!(of("k@127.0.0.1", "visible"), "o@127.0.0.1");
    assert_eq!(of("k@127.0.0.1", "hidden"), "");
    let json = lab.run(["nodes", "--of", "k@127.0.0.1", "--cookie", "c", "--json"]).expect_code(0);
    assert_eq!(json.stdout, "{\"nodes\":[\"o@127.0.0.1\"],\"of\":\"k@127.0.0.1\"}\n");
    let wrong = lab.run(["nodes", "--of", "k@127.0.0.1", "all", "--cookie", "c"]).expect_code(2);
    assert!(wrong.stderr.contains("visible"), "{wrong:?}");
    let absent = lab.run(["nodes", "--of", "absent@127.0.0.1", "--cookie", "c"]).expect_code(1);
    assert!(absent.stderr.contains("knows no node"), "{absent:?}");
}

#[test]
fn comings_and_goings_are_printed() {
    let lab = Lab::new();
    let mut command = Command::new(krarup_command());
    command.env("ERL_EPMD_PORT", lab.epmd_port().to_string()).env("HOME", lab.home()).args([
        "monitor",
        "o@127.0.0.1",
        "k@127.0.0.1",
        "--cookie",
        "c",
        "--count",
        "4",
    ]);
    let mut monitor = Process::start("krarup monitor", &mut command);
    monitor.wait_line("not connected; trying again node='k@127.0.0.1'", SOON);
    let krarup = lab.krarup("k").start();
    monitor.wait_line("nodeup k@127.0.0.1", SOON);
    let mut otp = lab.otp(Release::R27, "o").start();
    monitor.wait_line("nodeup o@127.0.0.1", SOON);
    krarup.stop();
    monitor.wait_line("nodedown k@127.0.0.1 connection_closed", SOON);
    otp.process().kill();
    let last = monitor.wait_line("nodedown o@127.0.0.1 connection_closed", SOON);
    let (time, _) = last.split_once(' ').expect("the time comes first");
    assert!(time.len() == 24 && time.ends_with('Z'), "{last}");
    assert!(monitor.wait_exit(SOON).success());
    let _krarup = lab.krarup("k").start();
    let one = ["monitor", "k@127.0.0.1", "--cookie", "c", "--count", "1", "--json"];
    let outcome = lab.run(one).expect_code(0);
    let all: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("a line of JSON");
    assert_eq!((&all["event"], &all["node"]), (&"nodeup".into(), &"k@127.0.0.1".into()));
    let late = ["monitor", "k@127.0.0.1", "--cookie", "c", "--count", "2", "--timeout", "1"];
    let late = lab.run(late).expect_code(1);
    assert!(late.stderr.contains("1 of 2 events came in time"), "{late:?}");
}

#[test]
fn top_shows_what_the_links_of_a_node_do() {
    let lab = Lab::new();
    let mut otp = lab.otp(Release::R29, "o").start();
    let krarup = lab.krarup("k").start();
    assert_eq!(otp.eval("net_adm:ping('k@127.0.0.1')."), "pong");
    // A message of some size, every few milliseconds.
    otp.eval(
        "spawn(fun Send() ->
            {sink, 'k@127.0.0.1'} ! binary:copy(<<1>>, 10000), timer:sleep(5), Send()
        end), ok.",
    );
    let top =
        ["top", krarup.name(), "--cookie", "c", "--interval", "0.5", "--count", "2", "--json"];
    let lines = lab.run(top).expect_code(0).stdout;
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let last = lines.lines().last().expect("a line");
    let all: serde_json::Value = serde_json::from_str(last).expect("this is JSON");
    let links = all["links"].as_array().expect("links");
    assert_eq!(links.len(), 1, "the command itself is not shown: {all}");
    assert_eq!(links[0]["node"], "o@127.0.0.1");
    let bytes = links[0]["received_bytes_per_s"].as_f64().expect("a number");
    assert!((10_000.0..10_000_000.0).contains(&bytes), "{all}");
    let top = ["top", krarup.name(), "--cookie", "c", "--interval", "0.2", "--count", "1"];
    let table = lab.run(top).expect_code(0).stdout;
    assert!(table.starts_with("k@127.0.0.1  up ") && table.contains("\no@127.0.0.1 "), "{table}");
    assert!(!table.contains('\x1b'), "nothing is redrawn without a terminal");
    let foreign = lab.run(["top", otp.name(), "--cookie", "c", "--count", "1"]).expect_code(1);
    assert!(foreign.stderr.contains("is no Krarup node"), "{foreign:?}");
}
