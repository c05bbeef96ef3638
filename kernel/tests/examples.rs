//! The examples, run as a reader of the documentation runs them.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// An example's program, built beside the tests by cargo.
fn example(name: &str) -> Command {
    let command = PathBuf::from(env!("CARGO_BIN_EXE_krarup"));
    let folder = command.parent().expect("the command is in a folder");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let mut example = Command::new(folder.join("examples").join(name));
    example.env("ERL_EPMD_PORT", port.to_string());
    example
}

fn output(name: &str) -> String {
    let output = example(name).output().expect("built, as plain `cargo test` does");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn echo_measures_round_trips() {
    let said = output("echo");
    assert!(said.starts_with("2000 round trips, median "), "{said}");
}

#[test]
fn from_tokio_collects_its_results() {
    assert_eq!(output("from_tokio"), "3 jobs done: [\"lanes\", \"links\", \"ticks\"]\n");
}

/// Ends the example when the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn hello_runs_until_its_input_ends() {
    let mut hello = example("hello");
    hello.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = Running(hello.spawn().expect("built, as plain `cargo test` does"));
    let mut lines = BufReader::new(running.0.stdout.take().expect("its output")).lines();
    let first = lines.next().expect("a line").expect("text");
    assert!(first.starts_with("hello@127.0.0.1 listens"), "{first}");
    drop(running.0.stdin.take());
    assert!(running.0.wait().expect("it ends").success());
}
