//! Nodes that are wanted are kept connected, wherever they are named, whatever happens to them.

use std::time::Duration;

use krarup_tests::{KrarupNode, Lab, NameServer, Release, until};

const SOON: Duration = Duration::from_secs(30);

/// Waits until a node is connected to exactly these, as it says itself.
fn connected(lab: &Lab, node: &KrarupNode, names: &[&str]) {
    let port = node.port().to_string();
    let mut wanted: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    wanted.sort();
    let what = format!("{} is connected to {names:?}", node.name());
    until(&what, SOON, || {
        let ask = ["nodes", "--of", node.name(), "--cookie", "c", "--dist-port", &port];
        let outcome = lab.run(ask).expect_code(0);
        let mut nodes: Vec<String> = outcome.stdout.lines().map(str::to_owned).collect();
        nodes.sort();
        (nodes == wanted).then_some(())
    });
}

fn disconnect(lab: &Lab, node: &KrarupNode, peer: &str) {
    let argument = format!("['{peer}']");
    let call = ["call", node.name(), "erlang", "disconnect_node", &argument, "--cookie", "c"];
    let outcome = lab.run(call).expect_code(0);
    assert_eq!(outcome.stdout.trim(), "true");
}

#[test]
fn listed_nodes_are_connected_whenever_they_are_there() {
    let lab = Lab::new();
    let mut node =
        lab.krarup("d").args(["--connect", "p@127.0.0.1", "--connect", "q@127.0.0.1"]).start();
    node.process().wait_line("not connected; trying again node='p@127.0.0.1'", SOON);
    connected(&lab, &node, &[]);
    let peer = lab.krarup("p").start();
    connected(&lab, &node, &["p@127.0.0.1"]);
    let mut other = lab.krarup("q").start();
    connected(&lab, &node, &["p@127.0.0.1", "q@127.0.0.1"]);
    // Killed, and started again by somebody else.
    other.process().kill();
    connected(&lab, &node, &["p@127.0.0.1"]);
    let otp = until("the name is free", SOON, || {
        let names = lab.run(["names"]).expect_code(0);
        (!names.stdout.contains("name q ")).then(|| lab.otp(Release::R25, "q"))
    });
    let _otp = otp.start();
    connected(&lab, &node, &["p@127.0.0.1", "q@127.0.0.1"]);
    // What is wanted is connected, also when it was disconnected on purpose.
    let start = node.process().lines_printed();
    disconnect(&lab, &node, "p@127.0.0.1");
    let reason = node.wait_nodedown(start, "p@127.0.0.1", SOON);
    assert!(reason.starts_with("disconnect"), "{reason}");
    connected(&lab, &node, &["p@127.0.0.1", "q@127.0.0.1"]);
    peer.stop();
    connected(&lab, &node, &["q@127.0.0.1"]);
    let _peer = lab.krarup("p").start();
    connected(&lab, &node, &["p@127.0.0.1", "q@127.0.0.1"]);
    node.stop();
}

#[test]
fn addresses_in_the_dns_become_nodes() {
    // As in a cluster of containers: one port for all, each with an address, and no epmd.
    let lab = Lab::without_epmd();
    let port_lab = Lab::without_epmd();
    let port = port_lab.epmd_port().to_string();
    let start = |host: &str| lab.krarup("w").host(host).args(["--dist-port", &port]).start();
    let dns = NameServer::start();
    let server = dns.address().to_string();
    let mut node = lab
        .krarup("w")
        .args(["--dist-port", &port])
        .args(["--discover", "dns:web.test", "--discover", "dns:other@gone.test"])
        .args(["--discover-server", &server, "--discover-interval", "1"])
        .start();
    let second = start("127.0.0.2");
    let third = start("127.0.0.3");
    // Its own address is among them.
    dns.set_addresses("web.test", [[127, 0, 0, 1], [127, 0, 0, 2]]);
    connected(&lab, &node, &["w@127.0.0.2"]);
    dns.set_addresses("web.test", [[127, 0, 0, 2], [127, 0, 0, 3]]);
    connected(&lab, &node, &["w@127.0.0.2", "w@127.0.0.3"]);
    // More than an answer by UDP holds.
    let many = [2, 3, 4, 5, 6, 7, 8].map(|last| [127, 0, 0, last]);
    dns.set_addresses("web.test", many);
    node.process().wait_line("wanted node='w@127.0.0.8'", SOON);
    assert!(dns.asked_by_tcp() > 0);
    // What is not named any more is left alone, and not connected again.
    dns.set_addresses("web.test", [[127, 0, 0, 3]]);
    node.process().wait_line("not wanted any more node='w@127.0.0.2'", SOON);
    connected(&lab, &node, &["w@127.0.0.2", "w@127.0.0.3"]);
    second.stop();
    let _second = start("127.0.0.2");
    // A name server that is silent takes nothing away.
    dns.be_mute(true);
    node.process().wait_line("could not be looked up; trying again source=dns:web.test", SOON);
    third.stop();
    connected(&lab, &node, &[]);
    let _third = start("127.0.0.3");
    connected(&lab, &node, &["w@127.0.0.3"]);
    dns.be_mute(false);
    node.process().wait_line("can be looked up again source=dns:web.test", SOON);
    connected(&lab, &node, &["w@127.0.0.3"]);
    node.stop();
}

#[test]
fn services_in_the_dns_say_where_nodes_listen() {
    // Nobody serves epmd here.
    let lab = Lab::without_epmd();
    let (first_port, second_port) = (Lab::without_epmd(), Lab::without_epmd());
    let [first, second] = [&first_port, &second_port].map(|lab| lab.epmd_port());
    let dns = NameServer::start();
    let server = dns.address().to_string();
    let port = first.to_string();
    let mut otp = lab.otp(Release::R29, "s").args(["-erl_epmd_port", &port]).start();
    let port = second.to_string();
    let _krarup =
        lab.krarup("s").host("127.0.0.3").args(["--epmd", "none", "--listen-min", &port]).start();
    let node = lab
        .krarup("d")
        .host("127.0.0.2")
        .args(["--epmd", "none", "--discover", "srv:s@_krarup._tcp.test"])
        .args(["--discover-server", &server, "--discover-interval", "1"])
        .start();
    dns.set_services("_krarup._tcp.test", [("127.0.0.1", first), ("127.0.0.3", second)]);
    connected(&lab, &node, &["s@127.0.0.1", "s@127.0.0.3"]);
    otp.eval_until("lists:member('d@127.0.0.2', nodes()).", "true", SOON);
    node.stop();
}

#[test]
fn nodes_of_the_hosts_file_are_connected() {
    let lab = Lab::new();
    std::fs::write(lab.home().join(".hosts.erlang"), "'nobody.invalid'.\n'127.0.0.1'.\n")
        .expect("the file is written");
    let _otp = lab.otp(Release::R27, "o").start();
    let mut node = lab
        .krarup("d")
        .folder(lab.home())
        .args(["--discover", "hosts", "--discover-interval", "1"])
        .start();
    connected(&lab, &node, &["o@127.0.0.1"]);
    let _late = lab.krarup("late").start();
    connected(&lab, &node, &["late@127.0.0.1", "o@127.0.0.1"]);
    std::fs::write(lab.home().join(".hosts.erlang"), "nonsense here.\n").expect("it is written");
    let why = node.process().wait_line("could not be looked up; trying again source=hosts", SOON);
    assert!(why.contains("line 1: syntax error before: here"), "{why}");
    connected(&lab, &node, &["late@127.0.0.1", "o@127.0.0.1"]);
    node.stop();
}
