//! `krarup node`, `ping` and `demo` as processes: the contracts scripts rely on.

#[path = "support/port.rs"]
mod port;

use krarup::epmd::client;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use port::free_port;

const LIMIT: Duration = Duration::from_secs(30);

fn eventually(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "never came to hold");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The command with an environment of its own.
fn krarup(arguments: &[&str], epmd_port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_krarup"));
    command
        .args(arguments)
        .env("ERL_EPMD_PORT", epmd_port.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("KRARUP_LOG", "info")
        .env_remove("ERL_DIST_PORT")
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str], epmd_port: u16) -> Output {
    krarup(arguments, epmd_port).output().unwrap()
}

/// A running `krarup node`, killed with the test.
struct Running {
    child: Child,
    ready: BTreeMap<String, String>,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(arguments: &[&str], epmd_port: u16) -> Self {
        let mut child = krarup(arguments, epmd_port).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let ready = fields(&line);
        assert_eq!(ready["pid"], child.id().to_string());
        Self { child, ready, stdout }
    }

    /// Ends it and gives its exit code and whatever it printed after the first line.
    fn end(self) -> (Option<i32>, String) {
        self.end_by(rustix::process::Signal::TERM)
    }

    fn end_by(mut self, signal: rustix::process::Signal) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
        let status = self.child.wait().unwrap();
        let mut rest = String::new();
        while self.stdout.read_line(&mut rest).unwrap() > 0 {}
        (status.code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `ready name=… port=… …` as a map.
fn fields(line: &str) -> BTreeMap<String, String> {
    let rest = line.strip_prefix("ready ").unwrap_or_else(|| panic!("{line:?}"));
    let pairs = rest.split_whitespace().map(|field| field.split_once('=').unwrap());
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn a_node_is_ready_answers_pings_and_ends_cleanly() {
    let epmd = free_port();
    let flags = ["--name", "a@127.0.0.1", "--cookie", "c", "--epmd", "embedded", "--shards", "1"];
    let node = Running::start(&[&["node"], &flags[..]].concat(), epmd);
    assert_eq!(node.ready["name"], "a@127.0.0.1");
    assert_eq!(node.ready["shards"], "1");
    assert_eq!(node.ready["epmd"], format!("127.0.0.1:{epmd}"));
    let port = node.ready["port"].parse::<u16>().unwrap();
    let registered = client::lookup(SocketAddr::from((Ipv4Addr::LOCALHOST, epmd)), "a", LIMIT);
    assert_eq!(registered.unwrap().unwrap().port, port);

    let pong = run(&["ping", "a@127.0.0.1", "--cookie", "c"], epmd);
    assert_eq!((pong.status.code(), &*text(&pong.stdout)), (Some(0), "pong\n"));
    let pong =
        run(&["ping", "a@127.0.0.1", "-setcookie", "c", "-name", "x@127.0.0.1", "--json"], epmd);
    let json: serde_json::Value = serde_json::from_slice(&pong.stdout).unwrap();
    assert_eq!((&json["node"], &json["answer"]), (&"a@127.0.0.1".into(), &"pong".into()));
    let pang = run(&["ping", "a@127.0.0.1", "--cookie", "wrong"], epmd);
    assert_eq!((pang.status.code(), &*text(&pang.stdout)), (Some(1), "pang\n"));
    let pang = run(&["ping", "b@127.0.0.1", "--cookie", "c"], epmd);
    assert_eq!((pang.status.code(), &*text(&pang.stdout)), (Some(1), "pang\n"));

    assert_eq!(node.end(), (Some(0), String::new()), "one line on stdout, exit code 0");
}

#[test]
fn a_loopback_name_listens_on_loopback_only() {
    let epmd = free_port();
    let flags = ["node", "--name", "a@127.0.0.1", "--cookie", "c", "--epmd", "none"];
    let node = Running::start(&flags, epmd);
    assert_eq!(node.ready["epmd"], "none");
    let port = node.ready["port"].parse::<u16>().unwrap();
    let listening = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = |address: &str| listening.contains(&format!("{address}:{port:04X} 00000000:0000"));
    assert!(local("0100007F") && !local("00000000"), "{port}");
    // Found without epmd, by its port.
    let pong =
        run(&["ping", "a@127.0.0.1", "--cookie", "c", "--dist-port", &port.to_string()], epmd);
    assert_eq!(text(&pong.stdout), "pong\n", "{}", text(&pong.stderr));
    assert_eq!(node.end_by(rustix::process::Signal::INT).0, Some(0));
}

#[test]
fn the_flags_of_erl_start_a_node() {
    let epmd = free_port();
    let home = tempfile::tempdir().unwrap();
    let mut command = krarup(
        &["-sname", "a@localhost", "-hidden", "-noinput", "-kernel", "inet_dist_listen_min"],
        epmd,
    );
    let port = free_port();
    command.args([&port.to_string(), "net_ticktime", "8", "-epmd_port", &epmd.to_string()]);
    command.env("HOME", home.path()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(fields(&line)["port"], port.to_string());
    // It made its cookie file by OTP's rules, and the other command finds the same.
    let mut ping = krarup(&["ping", "a@localhost"], epmd);
    assert_eq!(text(&ping.env("HOME", home.path()).output().unwrap().stdout), "pong\n");
    child.kill().unwrap();
    child.wait().unwrap();
    run(&["epmd", "-kill"], epmd);
}

#[test]
fn epmd_outlives_the_node_that_started_it() {
    let epmd = free_port();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, epmd));
    let node = Running::start(&["node", "--name", "a@127.0.0.1", "--cookie", "c"], epmd);
    assert_eq!(node.end().0, Some(0));
    eventually(|| client::names(address, LIMIT).is_ok_and(|list| list.nodes.is_empty()));
    assert_eq!(text(&run(&["epmd", "-kill"], epmd).stdout), "Killed\n");
}

#[test]
fn it_goes_into_the_background() {
    let epmd = free_port();
    let flags = ["node", "--name", "a@127.0.0.1", "--cookie", "c", "--epmd", "embedded"];
    let started = run(&[&flags[..], &["--detached"]].concat(), epmd);
    let ready = fields(&text(&started.stdout));
    let pong = run(&["ping", "a@127.0.0.1", "--cookie", "c"], epmd);
    assert_eq!(text(&pong.stdout), "pong\n");
    let pid = rustix::process::Pid::from_raw(ready["pid"].parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    eventually(|| run(&["names"], epmd).status.code() == Some(1));
    // What goes wrong in the background is told in the foreground.
    let failed = run(&["node", "--name", "a b@h", "--cookie", "c", "--detached"], epmd);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).starts_with("error: "), "{}", text(&failed.stderr));
}

#[test]
fn it_ends_with_its_parent_when_told_to() {
    let flags = ["node", "--name", "a@127.0.0.1", "--cookie", "c", "--epmd", "none"];
    let mut command = krarup(&[&flags[..], &["--end-with-stdin"]].concat(), 1);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    fields(&line);
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn call_prints_values_and_what_functions_raise() {
    let port = free_port();
    let flags = ["node", "--name", "a@127.0.0.1", "--cookie", "c", "--epmd", "embedded"];
    let node = Running::start(&flags, port);
    let call = |arguments: &[&str]| {
        let fixed = ["call", "a@127.0.0.1"];
        run(&[&fixed, arguments, &["--cookie", "c"]].concat(), port)
    };
    let echo = call(&["krarup", "echo", "[{a, \"text\", <<1, 2>>}]"]);
    assert_eq!(
        (text(&echo.stdout).as_str(), echo.status.code()),
        ("{a,\"text\",<<1,2>>}\n", Some(0))
    );
    assert_eq!(text(&call(&["erlang", "node"]).stdout), "'a@127.0.0.1'\n");
    let crash = call(&["krarup", "crash", "[oops]"]);
    assert_eq!(text(&crash.stdout), "");
    let said = |output: &Output| text(&output.stderr).lines().last().unwrap_or("").to_owned();
    assert_eq!(said(&crash), "error: {exception,oops,[{krarup,crash,1,[]}]}");
    assert_eq!(crash.status.code(), Some(1));
    let json = call(&["krarup", "echo", "[[1]]", "--json"]);
    assert_eq!(text(&json.stdout), "{\"value\":\"[1]\"}\n");
    for wrong in ["1", "[1", "{a}"] {
        assert_eq!(call(&["krarup", "echo", wrong]).status.code(), Some(2), "{wrong}");
    }
    // Nobody may halt a node that does not allow it.
    let refused = call(&["erlang", "halt", "[3]"]);
    assert!(said(&refused).starts_with("error: {exception,undef,"));
    assert_eq!(node.end().0, Some(0));
}

#[test]
fn a_node_that_allows_it_is_halted_with_a_status() {
    for (function, arguments, code) in
        [("erlang:halt", "[3]", 3), ("erlang:halt", "[]", 0), ("init:stop", "[7]", 7)]
    {
        let port = free_port();
        let flags = [
            "node",
            "--name",
            "a@127.0.0.1",
            "--cookie",
            "c",
            "--epmd",
            "embedded",
            "--allow-halt",
        ];
        let mut node = Running::start(&flags, port);
        let (module, name) = function.split_once(':').unwrap();
        let call = ["call", "a@127.0.0.1", module, name, arguments, "--cookie", "c"];
        // It may be gone before it can answer.
        run(&call, port);
        assert_eq!(node.child.wait().unwrap().code(), Some(code), "{function}");
    }
}

#[test]
fn settings_come_from_flags_environment_and_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.toml");
    std::fs::write(&path, "name = \"filed@127.0.0.1\"\nnet-ticktime = 30\nhidden = true\n")
        .unwrap();
    let path = path.to_str().unwrap();
    let shown = run(&["node", "--config", path, "--net-ticktime", "8", "--print-config"], 5123);
    let shown = text(&shown.stdout);
    let table: toml::Table = shown.parse().unwrap();
    assert_eq!(table["name"].as_str(), Some("filed@127.0.0.1"));
    assert_eq!(table["net-ticktime"].as_integer(), Some(8));
    assert_eq!(table["epmd-port"].as_integer(), Some(5123));
    assert_eq!(table["hidden"].as_bool(), Some(true));
    let again = directory.path().join("again.toml");
    std::fs::write(&again, &shown).unwrap();
    let again = run(&["node", "--config", again.to_str().unwrap(), "--print-config"], 5123);
    assert_eq!(text(&again.stdout).parse::<toml::Table>().unwrap(), table);
    let origin = |key: &str| {
        let line = shown.lines().find(|line| line.starts_with(key)).unwrap();
        line.rsplit_once("# ").unwrap().1.to_owned()
    };
    assert_eq!(origin("net-ticktime"), "flag");
    assert_eq!(origin("epmd-port"), "ERL_EPMD_PORT");
    assert_eq!(origin("hidden"), path);
    assert_eq!(origin("connect-all"), "default");

    std::fs::write(path, "net-tictime = 30\n").unwrap();
    let wrong = run(&["node", "--config", path], 5123);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("did you mean \"net-ticktime\"?"));
}

#[test]
fn wrong_usage_is_2_and_failure_is_1() {
    let code = |arguments: &[&str]| {
        let output = run(arguments, 4369);
        (output.status.code(), text(&output.stderr))
    };
    let (status, message) = code(&["node"]);
    assert_eq!(status, Some(2));
    assert!(message.contains("--name or --sname"), "{message}");
    let (status, message) = code(&["node", "--name", "a@h", "--lisetn-min", "5"]);
    assert_eq!(status, Some(2));
    assert!(message.contains("--listen-min"), "{message}");
    let (status, message) = code(&["-snmae", "a"]);
    assert_eq!(status, Some(2));
    assert!(message.contains("did you mean -sname?"), "{message}");
    assert_eq!(code(&["ping", "nohost"]).0, Some(2));
    assert_eq!(code(&["node", "--name", "a@h", "--setopt", "nodelay=perhaps"]).0, Some(2));
    assert_eq!(code(&["node", "--config", "/nonexistent.toml"]).0, Some(1));
    let unknown = ["node", "--name", "a@h", "--cookie", "c", "--setopt", "congestion=nosuch"];
    let (status, message) = code(&unknown);
    assert_eq!(status, Some(1));
    assert!(message.contains("setopt congestion=nosuch"), "{message}");
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".erlang.cookie"), "c").unwrap();
    let mut readable = krarup(&["node", "--name", "a@127.0.0.1"], 4369);
    let readable = readable.env("HOME", home.path()).output().unwrap();
    assert_eq!(readable.status.code(), Some(1));
    assert!(text(&readable.stderr).contains("chmod 400"), "{}", text(&readable.stderr));
}

/// The status line and the body of the answer to a GET.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut client = TcpStream::connect(address).unwrap();
    write!(client, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn metrics_tell_of_its_links() {
    let (epmd, port) = (free_port(), free_port());
    let at = format!("127.0.0.1:{port}");
    let measured =
        Running::start(&["node", "--name", "m@127.0.0.1", "--cookie", "c", "--metrics", &at], epmd);
    let peer = Running::start(
        &["node", "--name", "p@127.0.0.1", "--cookie", "c", "--connect", "m@127.0.0.1"],
        epmd,
    );
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut page = String::new();
    eventually(|| {
        page = get(address, "/metrics").1;
        page.contains("erlang_vm_dist_node_state{peer=\"p@127.0.0.1\"} 3")
    });
    assert!(page.contains("# TYPE erlang_vm_dist_recv_bytes gauge"), "{page}");
    assert!(page.contains("krarup_executor_kicks_total{shard=\"0\"}"), "{page}");
    assert!(page.contains("krarup_up 1"), "{page}");
    assert_eq!(get(address, "/readyz"), ("HTTP/1.1 200 OK".into(), "ready\n".into()));
    assert_eq!(get(address, "/healthz").0, "HTTP/1.1 200 OK");
    assert_eq!(get(address, "/else").0, "HTTP/1.1 404 Not Found");
    peer.end();
    measured.end();
}

#[test]
fn a_taken_name_is_refused() {
    let epmd = free_port();
    let flags = ["node", "--name", "a@127.0.0.1", "--cookie", "c", "--epmd", "embedded"];
    let _first = Running::start(&flags, epmd);
    let second = run(&flags, epmd);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("seems to be in use"), "{}", text(&second.stderr));
}

#[test]
fn the_demo_needs_nothing_prepared() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = krarup(&["demo", "--without-erl", "--time", "0.05", "--json"], 1);
    let output = demo.current_dir(directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let paths = |part: &str| -> Vec<String> {
        let rows = report[part].as_array().unwrap();
        rows.iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(paths("round_trips").iter().filter(|path| *path == "krarup - krarup").count(), 2);
    assert_eq!(paths("streams").iter().filter(|path| *path == "krarup to krarup").count(), 3);
    let plot = std::fs::read_to_string(directory.path().join("krarup-demo.svg")).unwrap();
    assert!(plot.contains("krarup - krarup, 16 B"));
}
