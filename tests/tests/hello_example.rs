//! The example `hello`, asked from real Erlang shells as its page says.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use krarup_tests::{Lab, Release, for_each_release, krarup_command};

for_each_release!(a_shell_asks_and_is_greeted);

/// Ends the example when the test fails.
struct Example(Child);

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn a_shell_asks_and_is_greeted(release: Release) {
    let lab = Lab::new();
    let command = krarup_command();
    let folder = command.parent().expect("the command is in a folder").join("examples");
    let mut hello = Command::new(folder.join("hello"));
    hello.env("ERL_EPMD_PORT", lab.epmd_port().to_string());
    hello.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut example = Example(hello.spawn().expect("built with the workspace's tests"));
    let output = example.0.stdout.take().expect("its output");
    // Kept open to the end: the example has more to say.
    let mut lines = BufReader::new(output).lines();
    let first = lines.next().expect("a line").expect("text");
    assert!(first.starts_with("hello@127.0.0.1 listens"), "{first}");

    let mut shell = lab.otp(release, "shell").cookie("hello").start();
    let ask = "{hello, 'hello@127.0.0.1'} ! {self(), <<\"Agner\"/utf8>>}, \
               receive Answer -> Answer end.";
    assert_eq!(shell.eval(ask), "{hello,<<\"good day, Agner\">>}");
}
