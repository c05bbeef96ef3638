//! `krarup epmd` before real Erlang nodes and tools, and Krarup nodes at OTP's epmd.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use krarup_tests::{Lab, Outcome, Release, for_each_release, otp_command, until};

const SOON: Duration = Duration::from_secs(10);
/// A node whose epmd went away tries again every two seconds; the rest is for a busy machine.
const REGISTERS_AGAIN: Duration = Duration::from_secs(2 + 4);

for_each_release!(
    erlang_nodes_live_with_krarups_epmd,
    erlangs_epmd_command_understands_krarups_epmd,
    krarup_nodes_live_with_erlangs_epmd,
    a_krarup_node_registers_again_when_epmd_comes_back,
    the_bytes_are_those_of_otp,
);

fn erlang_nodes_live_with_krarups_epmd(release: Release) {
    let lab = Lab::without_epmd();
    let _epmd = lab.start_krarup_epmd([]);
    let mut first = lab.otp(release, "first").start();
    let second = lab.otp(release, "second").hidden(true).start();
    assert_eq!(first.eval(&format!("net_adm:ping('{}').", second.name())), "pong");
    let names = "(fun() -> {ok, N} = net_adm:names('127.0.0.1'),
        lists:sort([A || {A, P} <- N, P > 0]) end)().";
    assert_eq!(first.eval(names), "[\"first\",\"second\"]");
    // Gone with its node, and back with a creation of its own.
    let creation = "erlang:system_info(creation).";
    let mut second = second;
    let old: u32 = second.eval(creation).parse().expect("a number");
    drop(second);
    first.eval_until(names, "[\"first\"]", SOON);
    let mut second = lab.otp(release, "second").start();
    assert_eq!(second.eval(creation), (old + 1).to_string());
    assert_eq!(second.eval("erl_epmd:port_please(\"nobody\", {127, 0, 0, 1})."), "noport");
    assert_eq!(second.eval(&format!("net_adm:ping('{}').", first.name())), "pong");
}

fn erlangs_epmd_command_understands_krarups_epmd(release: Release) {
    let lab = Lab::without_epmd();
    let mut epmd = lab.start_krarup_epmd(["-relaxed_command_check"]);
    let krarup = lab.krarup("a").args(["--epmd", "external"]).start();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(otp_command("epmd", release));
        command.arg("-port").arg(lab.epmd_port().to_string()).args(arguments);
        Outcome::of(&mut command, SOON)
    };
    let names = run(&["-names"]).expect_code(0).stdout;
    let line = format!("name a at port {}", krarup.port());
    assert!(names.lines().any(|found| found == line), "{names}");
    let running = format!("epmd: up and running on port {} with data:", lab.epmd_port());
    assert_eq!(names.lines().next(), Some(running.as_str()));
    let stopped = run(&["-stop", "a"]);
    assert!(stopped.stdout.contains("STOPPED"), "{stopped:?}");
    let killed = run(&["-kill"]).expect_code(0);
    assert!(killed.stdout.contains("Killed"), "{killed:?}");
    assert!(epmd.wait_exit(SOON).success());
}

fn krarup_nodes_live_with_erlangs_epmd(release: Release) {
    let lab = Lab::without_epmd();
    let _epmd = lab.start_epmd(release);
    let krarup = lab.krarup("a").args(["--epmd", "external"]).start();
    let mut otp = lab.otp(release, "b").start();
    let registered = "(fun() -> {ok, L} = net_adm:names('127.0.0.1'),
        proplists:get_value(\"a\", L) end)().";
    assert_eq!(otp.eval(registered), krarup.port().to_string());
    assert_eq!(otp.eval(&format!("net_adm:ping('{}').", krarup.name())), "pong");
    let listed = lab.run(["names"]).expect_code(0).stdout;
    assert!(listed.contains(&format!("name a at port {}", krarup.port())), "{listed}");
    assert!(listed.contains("name b at port "), "{listed}");
    krarup.stop();
    otp.eval_until(registered, "undefined", SOON);
}

fn a_krarup_node_registers_again_when_epmd_comes_back(release: Release) {
    let lab = Lab::without_epmd();
    let epmd = lab.start_epmd(release);
    let krarup = lab.krarup("a").args(["--epmd", "external"]).start();
    let mut otp = lab.otp(release, "b").start();
    assert_eq!(otp.eval(&format!("net_adm:ping('{}').", krarup.name())), "pong");
    drop(epmd);
    let _epmd = lab.start_epmd(release);
    let line = format!("name a at port {}\n", krarup.port());
    until("the node is registered again", REGISTERS_AGAIN, || {
        names(&lab).contains(&line).then_some(())
    });
    // Nothing has happened to the connection, nor to who the node is.
    assert_eq!(otp.eval("nodes()."), "['a@127.0.0.1']");
    otp.eval("erlang:disconnect_node('a@127.0.0.1').");
    assert_eq!(otp.eval("net_adm:ping('a@127.0.0.1')."), "pong");
}

#[test]
fn a_krarup_node_takes_over_when_no_epmd_answers() {
    for mode in ["embedded", "auto"] {
        let lab = Lab::without_epmd();
        let epmd = lab.start_epmd(Release::R25);
        let krarup = lab.krarup("a").args(["--epmd", mode]).start();
        drop(epmd);
        let line = format!("name a at port {}\n", krarup.port());
        until("the node is its own epmd", REGISTERS_AGAIN, || {
            names(&lab).contains(&line).then_some(())
        });
        let mut otp = lab.otp(Release::R25, "b").start();
        assert_eq!(otp.eval("net_adm:ping('a@127.0.0.1')."), "pong");
        drop(otp);
        krarup.stop();
        // What was started to outlive the node ends as an operator would end it.
        let _ = request(&lab, b"k");
    }
}

#[test]
fn idle_clients_cost_others_nothing() {
    let lab = Lab::without_epmd();
    let epmd = lab.start_krarup_epmd(["-packet_timeout", "3"]);
    let krarup = lab.krarup("a").args(["--epmd", "external"]).start();
    let before = epmd.descriptors();
    let silent: Vec<TcpStream> = (0..500).map(|_| dial(&lab)).collect();
    let half: Vec<TcpStream> = (0..500)
        .map(|_| {
            let mut stream = dial(&lab);
            stream.write_all(&[0, 2, b'z']).expect("it listens");
            stream
        })
        .collect();
    let line = format!("name a at port {}\n", krarup.port());
    let start = Instant::now();
    for _ in 0..50 {
        assert!(names(&lab).contains(&line));
    }
    assert!(start.elapsed() < Duration::from_secs(5), "50 requests took {:?}", start.elapsed());
    // They are shown out when their time is up, whatever they dribble; the node is not.
    until("the idle clients are gone", SOON, || (epmd.descriptors() <= before).then_some(()));
    assert!(names(&lab).contains(&line));
    drop((silent, half));
    // Requests that are none are closed without an answer, and the next one is served.
    for bytes in [
        &[0, 0][..],
        &[0, 1, b'a'],
        &[0x0b, 0xf2, b'n'],
        &[0xff, 0xff, b'x'],
        &[0, 1, b'z'],
        &[0, 3, b'z', b'a', 0, 0],
        &[0, 1, b'n', b'n'],
        &[0, 5, b'x', 1, 2, 3, 4],
        &[0, 14, b'x', 1, 2, 77, 0, 0, 6, 0, 6, 0, 1, 0, 0, 0],
        &[0, 14, b'x', 1, 2, 77, 0, 0, 6, 0, 6, 0xff, 0xff, b'a', 0, 0],
    ] {
        let mut stream = dial(&lab);
        stream.write_all(bytes).expect("it listens");
        // A request that claims more than is sent waits for the rest until its time is up.
        let answer = read_to_end(&mut stream);
        assert!(answer.is_empty(), "{bytes:?} is answered with {answer:?}");
        assert!(names(&lab).contains(&line), "after {bytes:?}");
    }
    krarup.stop();
}

/// What OTP's own epmd answered to these requests, byte by byte; creations and descriptors are
/// the server's own.
fn the_bytes_are_those_of_otp(release: Release) {
    let golden = Golden::load(release);
    let lab = Lab::without_epmd();
    let mut epmd = lab.start_krarup_epmd([]);

    let mut gold = dial(&lab);
    let registered = exchange(&mut gold, &golden.bytes("epmd_alive2_req"), 6);
    assert_eq!(registered[..2], golden.bytes("epmd_alive2_x_resp")[..2]);
    let mut second = dial(&lab);
    let refused = exchange(&mut second, &golden.bytes("epmd_alive2_req"), 6);
    assert_eq!(refused, golden.bytes("epmd_alive2_duplicate"));
    let mut old = dial(&lab);
    let answer = exchange(&mut old, &golden.bytes("epmd_alive2_req_v5"), 4);
    assert_eq!(answer[..3], golden.bytes("epmd_alive2_resp_v5")[..3]);
    assert!((1..=3).contains(&answer[3]), "a creation for old nodes is 1, 2 or 3: {answer:?}");

    let ask = |bytes: &[u8]| {
        let mut stream = dial(&lab);
        stream.write_all(bytes).expect("it listens");
        read_to_end(&mut stream)
    };
    assert_eq!(ask(&golden.bytes("epmd_port2_req")), golden.bytes("epmd_port2_resp"));
    assert_eq!(ask(b"\0\x06zgold5"), golden.bytes("epmd_port2_resp_v5_extra"));
    assert_eq!(ask(b"\0\x06zgold\0"), golden.bytes("epmd_port2_resp"));
    assert_eq!(ask(b"\0\x07znobody"), golden.bytes("epmd_port2_resp_notfound"));
    let port = u32::from(lab.epmd_port()).to_be_bytes();
    let names = ask(b"\0\x01n");
    assert_eq!((&names[..4], &names[4..]), (&port[..], &golden.bytes("epmd_names_resp")[4..]));
    let dump = ask(b"\0\x01d");
    let expected = golden.bytes("epmd_dump_resp");
    assert_eq!(without_descriptors(&dump[4..]), without_descriptors(&expected[4..]));
    assert_eq!(ask(b"\0\x01k"), golden.bytes("epmd_kill_refused"));
    assert_eq!(ask(b"\0\x05sgold"), b"", "STOP needs the relaxed check");

    // The same name again is the next life of it.
    drop(gold);
    until("the name is free again", SOON, || {
        (ask(&golden.bytes("epmd_port2_req")) == golden.bytes("epmd_port2_resp_notfound"))
            .then_some(())
    });
    let mut gold = dial(&lab);
    let again = exchange(&mut gold, &golden.bytes("epmd_alive2_req"), 6);
    let creation = |answer: &[u8]| u32::from_be_bytes(answer[2..].try_into().expect("six bytes"));
    assert_eq!(creation(&again), creation(&registered) + 1);

    drop((gold, old, second));
    until("epmd lets itself be killed", SOON, || (ask(b"\0\x01k") == b"OK").then_some(()));
    assert!(epmd.wait_exit(SOON).success());
    if release == Release::R27 {
        // The golden bytes of STOP are of the other two.
        return;
    }
    let _epmd = lab.start_krarup_epmd(["-relaxed_command_check"]);
    assert_eq!(ask(b"\0\x05sgold"), golden.bytes("epmd_stop_noexist"));
    let mut gold = dial(&lab);
    exchange(&mut gold, &golden.bytes("epmd_alive2_req"), 6);
    assert_eq!(ask(b"\0\x05sgold"), golden.bytes("epmd_stop_ok"));
    assert_eq!(read_to_end(&mut gold), b"", "a stopped node is told so by its connection");
}

/// The bytes captured from one release.
struct Golden {
    release: String,
    entries: serde_json::Value,
}

impl Golden {
    fn load(release: Release) -> Self {
        let text = include_str!("../golden/epmd.json");
        let entries = serde_json::from_str(text).expect("the file is JSON");
        Self { release: release.to_string(), entries }
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        let entries = self.entries.as_array().expect("a list of entries");
        let entry = entries
            .iter()
            .find(|entry| entry["name"] == name && entry["otp"] == self.release.as_str())
            .unwrap_or_else(|| panic!("no {name} of OTP {}", self.release));
        let hex = entry["hex"].as_str().expect("hex digits");
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits");
        (0..hex.len()).step_by(2).map(byte).collect()
    }
}

/// A dump with the numbers of its descriptors replaced.
fn without_descriptors(dump: &[u8]) -> String {
    let text = String::from_utf8_lossy(dump).into_owned();
    let mut parts = text.split("fd = ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + "fd = N" + part.trim_start_matches(|c: char| c.is_ascii_digit())
    })
}

fn dial(lab: &Lab) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, lab.epmd_port()));
    let stream = stream.expect("an epmd listens");
    stream.set_read_timeout(Some(SOON)).expect("ten seconds are a time");
    stream
}

/// Sends bytes and reads an answer of a known length.
fn exchange(stream: &mut TcpStream, bytes: &[u8], length: usize) -> Vec<u8> {
    stream.write_all(bytes).expect("it listens");
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).expect("an answer");
    answer
}

/// What comes until the other side closes, by whatever means.
fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("still open"),
        // A reset, when it had not read all of what we sent.
        Ok(_) | Err(_) => answer,
    }
}

/// Sends one request and reads the answer; nothing when nobody listens.
fn request(lab: &Lab, body: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, lab.epmd_port())).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    let length = u16::try_from(body.len()).ok()?;
    stream.write_all(&[&length.to_be_bytes()[..], body].concat()).ok()?;
    Some(read_to_end(&mut stream))
}

/// The lines that NAMES answers.
fn names(lab: &Lab) -> String {
    let answer = request(lab, b"n").unwrap_or_default();
    String::from_utf8_lossy(answer.get(4..).unwrap_or_default()).into_owned()
}
