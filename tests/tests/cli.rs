//! The `krarup` command as its users meet it: exit codes, what is printed where, clean ends.

use std::time::Duration;

use krarup_tests::{Lab, Process, Ready, Release, krarup_command};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn wrong_usage_is_exit_code_2_with_help_on_stderr() {
    let lab = Lab::without_epmd();
    let none: [&str; 0] = [];
    let outcome = lab.run(none).expect_code(2);
    assert!(outcome.stdout.is_empty() && outcome.stderr.contains("Usage"), "{outcome:?}");
    for arguments in [["unknown", "verb"], ["ping", "--wrong"], ["node", "--shards=x"]] {
        let outcome = lab.run(arguments).expect_code(2);
        assert!(outcome.stdout.is_empty() && !outcome.stderr.is_empty(), "{outcome:?}");
    }
    // It says where the flags are told that belong to the mistake.
    let outcome = lab.run(["ping", "no-node-name", "--cookie", "c"]).expect_code(2);
    assert!(outcome.stderr.ends_with("krarup ping --help shows its flags\n"), "{outcome:?}");
    let outcome = lab.run(["-nmae", "a@127.0.0.1"]).expect_code(2);
    assert!(outcome.stderr.contains("did you mean -name?"), "{outcome:?}");
    assert!(outcome.stderr.ends_with("krarup node --help shows its flags\n"), "{outcome:?}");
}

#[test]
fn help_is_everywhere_and_exit_code_0() {
    let lab = Lab::without_epmd();
    let outcome = lab.run(["--help"]).expect_code(0);
    for verb in [
        "demo", "node", "epmd", "names", "ping", "world", "nodes", "monitor", "call", "top",
        "doctor", "getopts", "setopts",
    ] {
        assert!(outcome.stdout.contains(verb), "{verb} is not in the help");
        let help = lab.run([verb, "--help"]).expect_code(0);
        assert!(help.stdout.contains("Usage"), "{verb}: {help:?}");
    }
    // A setting's help has its variable and its default.
    let help = lab.run(["node", "--help"]).expect_code(0).stdout;
    for told in ["[env: KRARUP_NET_TICKTIME] [default: 60]", "[env: ERL_EPMD_PORT] [default: 4369]"]
    {
        assert!(help.contains(told), "{told}: {help}");
    }
    assert!(lab.run(["--version"]).expect_code(0).stdout.starts_with("krarup "));
}

#[test]
fn ping_prints_pong_or_pang() {
    let lab = Lab::new();
    let krarup = lab.krarup("a").start();
    let pong = lab.run(["ping", krarup.name(), "--cookie", "c"]).expect_code(0);
    assert_eq!(pong.stdout, "pong\n");
    let wrong = lab.run(["ping", krarup.name(), "--cookie", "other"]).expect_code(1);
    assert_eq!(wrong.stdout, "pang\n");
    let nobody = lab.run(["ping", "nobody@127.0.0.1", "--cookie", "c"]).expect_code(1);
    assert_eq!(nobody.stdout, "pang\n");
    let wrong = lab.run(["ping", "no-node-name", "--cookie", "c"]).expect_code(2);
    assert!(wrong.stderr.contains("no-node-name"), "{wrong:?}");
}

#[test]
fn names_lists_what_is_registered() {
    let lab = Lab::new();
    assert_eq!(
        lab.run(["names"]).expect_code(0).stdout.lines().filter(|l| l.starts_with("name ")).count(),
        0
    );
    let (first, second) = (lab.krarup("first").start(), lab.krarup("second").hidden(true).start());
    let listed = lab.run(["names", "127.0.0.1"]).expect_code(0).stdout;
    for node in [&first, &second] {
        let name = node.name().split('@').next().unwrap_or_default();
        assert!(listed.contains(&format!("name {name} at port {}\n", node.port())), "{listed}");
    }
    let outcome = Lab::without_epmd().run(["names"]).expect_code(1);
    assert!(outcome.stdout.is_empty() && outcome.stderr.contains("epmd"), "{outcome:?}");
}

#[test]
fn a_node_says_one_line_on_stdout_and_ends_cleanly() {
    let lab = Lab::new();
    for (signal, arguments) in
        [("TERM", &["--epmd", "external", "--shards", "2"][..]), ("INT", &["--epmd", "none"])]
    {
        let mut command = std::process::Command::new(krarup_command());
        command.env("ERL_EPMD_PORT", lab.epmd_port().to_string()).env("HOME", lab.home());
        command.args(["node", "--name", "a@127.0.0.1", "--cookie", "c"]).args(arguments);
        // Standard error goes nowhere: every line that is seen is of standard output.
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "exec \"$@\" 2>/dev/null", "sh"]).arg(command.get_program());
        shell.args(command.get_args());
        for (key, value) in command.get_envs() {
            shell.env(key, value.unwrap_or_default());
        }
        let mut process = Process::start("krarup node", &mut shell);
        let ready = process.line_after(0, "its ready line", SOON, Ready::parse);
        assert_eq!((ready.name.as_str(), ready.pid), ("a@127.0.0.1", process.pid()));
        assert!(ready.port > 0 && ready.shards > 0);
        match ready.epmd {
            Some(epmd) => assert_eq!(epmd, format!("127.0.0.1:{}", lab.epmd_port())),
            None => assert_eq!(arguments, ["--epmd", "none"]),
        }
        if arguments.contains(&"--shards") {
            assert_eq!(ready.shards, 2);
        }
        process.signal(signal);
        assert_eq!(process.wait_exit(SOON).code(), Some(0), "after SIG{signal}");
        assert_eq!(process.output().lines().count(), 1, "{}", process.output());
    }
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let lab = Lab::new();
    let krarup = lab.krarup("a").start();
    let node = |arguments: &[&str]| {
        let mut command = std::process::Command::new(krarup_command());
        command.env("ERL_EPMD_PORT", lab.epmd_port().to_string()).env("HOME", lab.home());
        krarup_tests::Outcome::of(command.arg("node").args(arguments), SOON)
    };
    let taken = node(&["--name", "a@127.0.0.1", "--cookie", "c"]).expect_code(1);
    assert!(taken.stdout.is_empty() && taken.stderr.contains("in use"), "{taken:?}");
    let port = krarup.port().to_string();
    let busy = ["--name", "b@127.0.0.1", "--cookie", "c", "--listen-min", &port];
    let busy = node(&[&busy[..], &["--listen-max", &port]].concat()).expect_code(1);
    assert!(busy.stderr.contains(&port), "{busy:?}");
    let bare = Lab::without_epmd();
    let alone = bare.run(["node", "--name", "c@127.0.0.1", "--cookie", "c", "--epmd", "external"]);
    assert!(alone.expect_code(1).stderr.contains("epmd"));
    for name in ["noat", "two@at@host.x", "sp ace@127.0.0.1", "@127.0.0.1"] {
        let outcome = node(&["--name", name, "--cookie", "c"]);
        assert!(matches!(outcome.code, Some(1 | 2)), "{name}: {outcome:?}");
    }
}

#[test]
fn a_node_without_io_uring_names_the_cause_and_the_remedy() {
    let lab = Lab::without_epmd();
    let mut command = std::process::Command::new("prlimit");
    command.arg("--memlock=0:0").arg(krarup_command()).env("HOME", lab.home());
    command.args(["node", "--name", "a@127.0.0.1", "--cookie", "c", "--epmd", "none"]);
    let outcome = krarup_tests::Outcome::of(&mut command, SOON).expect_code(1);
    for part in ["io_uring", "RLIMIT_MEMLOCK", "remedy", "ulimit -l"] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
    }
}

#[test]
fn shards_follow_the_cores_a_node_may_use() {
    let lab = Lab::without_epmd();
    let mut command = std::process::Command::new("taskset");
    command.args(["-c", "0"]).arg(krarup_command()).env("HOME", lab.home());
    command.args(["node", "--name", "a@127.0.0.1", "--cookie", "c", "--epmd", "none"]);
    let process = Process::start("krarup node", &mut command);
    let ready = process.line_after(0, "its ready line", SOON, Ready::parse);
    assert_eq!(ready.shards, 1);
}

#[test]
fn the_cookie_comes_from_the_home_folder() {
    let lab = Lab::new();
    let arguments = ["node", "--name", "a@127.0.0.1", "--epmd", "external"];
    let mut command = std::process::Command::new(krarup_command());
    command.env("ERL_EPMD_PORT", lab.epmd_port().to_string()).env("HOME", lab.home());
    let process = Process::start("krarup node", command.args(arguments));
    process.line_after(0, "its ready line", SOON, Ready::parse);
    let file = lab.home().join(".erlang.cookie");
    let cookie = std::fs::read_to_string(&file).expect("the node has made a cookie");
    let mode =
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).expect("it is there"));
    assert_eq!(mode & 0o777, 0o400, "others must not read it");
    // Who runs under the same home shares it, as does an Erlang node that is told.
    assert_eq!(lab.run(["ping", "a@127.0.0.1"]).expect_code(0).stdout, "pong\n");
    let mut otp = lab.otp(Release::R25, "b").cookie(cookie.trim()).start();
    assert_eq!(otp.eval("net_adm:ping('a@127.0.0.1')."), "pong");
}

#[test]
fn erl_spellings_are_understood() {
    let lab = Lab::new();
    let mut command = std::process::Command::new(krarup_command());
    command.env("ERL_EPMD_PORT", lab.epmd_port().to_string()).env("HOME", lab.home());
    command.args(["node", "-name", "a@127.0.0.1", "-setcookie", "spelt", "-hidden"]);
    command.args(["-kernel", "net_ticktime", "8", "-start_epmd", "false"]);
    let process = Process::start("krarup node", &mut command);
    process.line_after(0, "its ready line", SOON, Ready::parse);
    let mut otp = lab.otp(Release::R25, "b").cookie("spelt").start();
    assert_eq!(otp.eval("net_adm:ping('a@127.0.0.1')."), "pong");
    assert_eq!(otp.eval("{nodes(), nodes(hidden)}."), "{[],['a@127.0.0.1']}");
}

#[test]
fn the_demo_runs_and_draws() {
    let lab = Lab::without_epmd();
    let folder = lab.home().join("demo");
    std::fs::create_dir(&folder).expect("a folder for the plot");
    let mut command = std::process::Command::new(krarup_command());
    command.env("HOME", lab.home()).current_dir(&folder).arg("demo");
    let outcome = krarup_tests::Outcome::of(&mut command, Duration::from_secs(120)).expect_code(0);
    assert!(outcome.stdout.contains("p50"), "{outcome:?}");
    let drawn = std::fs::read_dir(&folder).expect("the folder is there").filter_map(Result::ok);
    let plots = drawn.filter(|entry| entry.path().extension().is_some_and(|end| end == "svg"));
    assert_eq!(plots.count(), 1, "{outcome:?}");
}
