//! Where nodes listen and how they are found behind firewalls: ranges and fixed ports, without epmd,
//! over IPv6, and an epmd at chosen addresses.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use krarup_tests::{Lab, OtpNode, Outcome, Release, for_each_release, is_port_free, otp_command};

const SOON: Duration = Duration::from_secs(20);

for_each_release!(
    a_range_ends_as_that_of_otp,
    one_port_for_all_needs_no_epmd,
    stated_ports_need_no_epmd,
    over_ipv6,
    epmd_at_chosen_addresses,
);

/// Two ports beside each other that nobody listens on, and that no other test here is given.
fn two_ports() -> (u16, u16) {
    static NUMBER: AtomicU16 = AtomicU16::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    assert!(number < 4, "each has a place of its own among eight ports");
    let process = u16::try_from(std::process::id() % 250).expect("a small number");
    let start = 30_000 + 8 * process + 2 * number;
    let both = |port: &u16| is_port_free(*port) && is_port_free(port + 1);
    let first = (start..32_700).step_by(8).find(both);
    let first = first.expect("two free ports");
    (first, first + 1)
}

#[test]
fn a_range_is_used_from_below_and_has_an_end() {
    let lab = Lab::new();
    let (first, second) = two_ports();
    let range = [first, second].map(|port| port.to_string());
    let in_range = ["--listen-min", &range[0], "--listen-max", &range[1]];
    let a = lab.krarup("a").args(in_range).start();
    let b = lab.krarup("b").args(in_range).start();
    assert_eq!((a.port(), b.port()), (first, second));
    let [min, low, max, high] = in_range;
    let command = ["node", "--name", "c@127.0.0.1", "--cookie", "c", min, low, max, high];
    let outcome = lab.run(command).expect_code(1);
    let told = format!("no free port at 127.0.0.1 from {first} to {second}");
    assert!(outcome.stderr.contains(&told), "{told}: {outcome:?}");
    assert!(outcome.stderr.contains("widen --listen-min and --listen-max"), "{outcome:?}");
    assert!(outcome.stdout.is_empty(), "{outcome:?}");
    let mut otp = lab.otp(Release::R25, "o").start();
    assert_eq!(otp.eval("net_adm:ping('b@127.0.0.1')."), "pong");
    // Erlang's own spelling, and a port that is free again.
    a.stop();
    let a = lab
        .krarup("a")
        .args(["-kernel", "inet_dist_listen_min", &range[0]])
        .args(["-kernel", "inet_dist_listen_max", &range[1]])
        .start();
    assert_eq!(a.port(), first);
}

/// A node of either kind takes the first free port of a range, and does not start without one: for
/// the reason `eaddrinuse`, with exit code 1.
fn a_range_ends_as_that_of_otp(release: Release) {
    let lab = Lab::new();
    let (first, second) = two_ports();
    let [low, high] = [first, second].map(|port| port.to_string());
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).expect("a free port");
    let range = ["-kernel", "inet_dist_listen_min", &low, "inet_dist_listen_max", &high];
    let fails_as_otp = || {
        let mut command = Command::new(otp_command("erl", release));
        command
            .env("ERL_EPMD_PORT", lab.epmd_port().to_string())
            .env("ERL_CRASH_DUMP", "/dev/null")
            .env("HOME", lab.home())
            .args([
                "-noinput",
                "-name",
                "late@127.0.0.1",
                "-setcookie",
                "c",
                "-start_epmd",
                "false",
            ])
            .args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}"])
            .args(range);
        let otp = Outcome::of(&mut command, SOON).expect_code(1);
        let [kernel, min, low, max, high] = range;
        let command = ["node", "-name", "late@127.0.0.1", "-setcookie", "c", kernel, min, low];
        let [a, b, c, d, e, f, g, h] = command;
        let krarup = lab.run([a, b, c, d, e, f, g, h, max, high]).expect_code(1);
        for outcome in [&otp, &krarup] {
            let said = format!("{}{}", outcome.stdout, outcome.stderr);
            assert!(said.contains("eaddrinuse"), "{outcome:?}");
        }
    };
    // An Erlang node has the last port.
    {
        let mut otp = lab.otp(release, "o").args(range).start();
        let names = otp.eval("net_adm:names().");
        assert_eq!(names, format!("{{ok,[{{\"o\",{second}}}]}}"));
        fails_as_otp();
    }
    // A Krarup node has it.
    let krarup = lab.krarup("k").args(range).start();
    assert_eq!(krarup.port(), second);
    fails_as_otp();
    drop(taken);
}

fn pings(otp: &mut OtpNode, node: &str) {
    assert_eq!(otp.eval(&format!("net_adm:ping('{node}').")), "pong");
}

/// What a Krarup node answers that is asked to ping, once there is no connection.
fn pings_back(otp: &mut OtpNode, node: &str) {
    let (own, other) = (otp.name().to_owned(), otp.release());
    let expressions = format!(
        "true = disconnect_node('{node}'),
         Pinged = erpc:call('{node}', net_adm, ping, ['{own}']), {{Pinged, nodes()}}."
    );
    let answer = otp.eval(&expressions);
    assert_eq!(answer, format!("{{pong,['{node}']}}"), "OTP {other}");
}

fn one_port_for_all_needs_no_epmd(release: Release) {
    let lab = Lab::without_epmd();
    // Another address of this host is another host.
    let port_lab = Lab::without_epmd();
    let port = port_lab.epmd_port().to_string();
    let krarup = lab.krarup("k").host("127.0.0.2").args(["--dist-port", &port]).start();
    assert_eq!((krarup.port().to_string(), krarup.ready().epmd.clone()), (port.clone(), None));
    let mut otp = lab.otp(release, "o").args(["-erl_epmd_port", &port]).start();
    pings(&mut otp, krarup.name());
    pings_back(&mut otp, krarup.name());
    // As the first to call.
    let other = lab.krarup("l").host("127.0.0.3").args(["-erl_epmd_port", &port]).start();
    let ask = ["call", other.name(), "net_adm", "ping", "['o@127.0.0.1']"];
    let [a, b, c, d, e] = ask;
    let outcome = lab.run([a, b, c, d, e, "--cookie", "c", "--dist-port", &port]).expect_code(0);
    assert_eq!(outcome.stdout, "pong\n");
    assert_eq!(otp.eval("lists:member('l@127.0.0.3', nodes())."), "true");
}

fn stated_ports_need_no_epmd(release: Release) {
    let lab = Lab::without_epmd();
    let (own, peers) = (Lab::without_epmd(), Lab::without_epmd());
    let [own, peers] = [own.epmd_port().to_string(), peers.epmd_port().to_string()];
    let mut otp = lab.otp(release, "o").args(["-erl_epmd_port", &peers]).start();
    let stated = format!("o@127.0.0.1={peers}");
    let krarup = lab
        .krarup("k")
        .args(["--epmd", "none", "--listen-min", &own, "--peer-port", &stated])
        .start();
    let call = ["call", krarup.name(), "net_adm", "ping", "['o@127.0.0.1']", "--cookie", "c"];
    let [a, b, c, d, e, f, g] = call;
    let outcome = lab.run([a, b, c, d, e, f, g, "--dist-port", &own]).expect_code(0);
    assert_eq!(outcome.stdout, "pong\n");
    otp.eval_until("nodes().", "['k@127.0.0.1']", SOON);
}

fn over_ipv6(release: Release) {
    let lab = Lab::new();
    let plain = lab.krarup("k").host("::1").start();
    let spelt = lab.krarup("l").host("::1").args(["-proto_dist", "inet6_tcp"]).start();
    let mut otp = lab.otp(release, "o").host("::1").args(["-proto_dist", "inet6_tcp"]).start();
    for node in [plain.name(), spelt.name()] {
        pings(&mut otp, node);
        let back = format!("erpc:call('{node}', net_adm, ping, ['o@::1']).");
        assert_eq!(otp.eval(&back), "pong");
    }
    // As the first to call, from the one and from the other.
    let _fresh = lab.otp(release, "p").host("::1").args(["-proto_dist", "inet6_tcp"]).start();
    for node in [plain.name(), spelt.name()] {
        let call = ["call", node, "net_adm", "ping", "['p@::1']", "--cookie", "c"];
        assert_eq!(lab.run(call).expect_code(0).stdout, "pong\n");
    }
    // And of two Krarup nodes.
    let call = ["call", plain.name(), "net_adm", "ping", "['l@::1']", "--cookie", "c"];
    assert_eq!(lab.run(call).expect_code(0).stdout, "pong\n");
    let echo = "{echo, 'k@::1'} ! {self(), x}, receive Echoed -> Echoed after 10000 -> none end.";
    assert_eq!(otp.eval(echo), "{echo,x}");
    // A node of the one kind is none of the other's.
    let outcome = lab.run(["ping", "o@::1", "--address-family", "inet", "--cookie", "c"]);
    let outcome = outcome.expect_code(1);
    assert!(outcome.stderr.contains("host ::1 has no IPv4 address"), "{outcome:?}");
}

fn epmd_at_chosen_addresses(release: Release) {
    let lab = Lab::without_epmd();
    let _epmd = lab.start_krarup_epmd(["-address", "127.0.0.2"]);
    let mut otp = lab.otp(release, "o").start();
    let port = lab.epmd_port();
    // Loopback is always there, for nodes to register.
    let all = "{ok,[\"o\"]}";
    for (address, answer) in
        [("127.0.0.1", all), ("127.0.0.2", all), ("127.0.0.3", "{error,address}"), ("::1", all)]
    {
        let names = format!(
            "(fun() -> {{ok, Address}} = inet:parse_address(\"{address}\"),
                case net_adm:names(Address) of
                    {{ok, Names}} -> {{ok, [Name || {{Name, _}} <- Names]}};
                    Error -> Error
                end
            end)()."
        );
        assert_eq!(otp.eval(&names), answer, "{address}");
    }
    let krarup = lab.krarup("k").host("127.0.0.2").args(["--epmd", "external"]).start();
    pings(&mut otp, krarup.name());
    assert_eq!(krarup.ready().epmd, Some(format!("127.0.0.1:{port}")));
    let nowhere = "erpc:call('k@127.0.0.2', net_adm, names, [{127,0,0,3}]).";
    assert_eq!(otp.eval(nowhere), "{error,address}");
}
