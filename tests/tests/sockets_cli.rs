//! `krarup getopts` and `setopts`, and the settings about socket options, as their users meet them.

use krarup_tests::{Lab, Release};

const A: &str = "a@127.0.0.1";
const B: &str = "b@127.0.0.1";

#[test]
fn options_are_shown_and_set_on_nodes_of_both_kinds() {
    let lab = Lab::new();
    let erl = "[{priority,4},{sndbuf,50000}]";
    let _krarup = lab
        .krarup("a")
        .args(["-kernel", "inet_dist_listen_options", erl, "dist_nodelay", "false"])
        .start();
    let mut otp = lab.otp(Release::R27, "b").start();
    let none = lab.run(["setopts", B, "sndbuf=100000", "--of", A, "--cookie", "c"]).expect_code(1);
    assert_eq!((none.stdout.as_str(), none.stderr.trim()), ("", "{error,noconnection}"));
    assert_eq!(otp.eval("net_adm:ping('a@127.0.0.1')."), "pong");

    // What it accepts began with its own list.
    let names = ["priority", "sndbuf", "nodelay"];
    let [priority, sndbuf, nodelay] = names;
    let get = ["getopts", B, priority, sndbuf, nodelay, "--of", A, "--cookie", "c"];
    let began = lab.run(get).expect_code(0).stdout;
    assert_eq!(began, "priority=4\nsndbuf=100000\nnodelay=false\n");

    let set = ["setopts", B, "sndbuf=100000", "congestion=reno", "--of", A, "--cookie", "c"];
    assert_eq!(lab.run(set).expect_code(0).stdout, "ok\n");
    let json = ["getopts", B, "sndbuf", "congestion", "--json", "--of", A, "--cookie", "c"];
    let seen = lab.run(json).expect_code(0).stdout;
    assert!(seen.contains(r#""options":{"congestion":"reno","sndbuf":200000}"#), "{seen}");
    let refused = ["setopts", B, "congestion=nosuch", "--json", "--of", A, "--cookie", "c"];
    assert_eq!(lab.run(refused).expect_code(1).stdout, "{\"error\":\"{error,enoent}\"}\n");
    let new = ["setopts", "new", "profile=wan", "--of", A, "--cookie", "c"];
    assert_eq!(lab.run(new).expect_code(0).stdout, "ok\n");

    // An Erlang node is asked alike, and knows fewer options.
    let usual = lab.run(["getopts", A, "--of", B, "--cookie", "c"]).expect_code(0).stdout;
    assert!(usual.contains("nodelay=true\n") && usual.contains("linger={false,0}\n"), "{usual}");
    let unknown = ["setopts", A, "fragment_size=8192", "--of", B, "--cookie", "c"];
    assert_eq!(lab.run(unknown).expect_code(1).stderr.trim(), "{error,einval}");
}

#[test]
fn wrong_words_are_told_before_anybody_is_asked() {
    let lab = Lab::without_epmd();
    let word = lab.run(["setopts", B, "nodley=true", "--of", A]).expect_code(2);
    assert!(word.stderr.contains("did you mean \"nodelay\"?"), "{word:?}");
    let profile = lab.run(["setopts", B, "profile=fast", "--of", A]).expect_code(2);
    assert!(profile.stderr.contains("unknown profile"), "{profile:?}");
    let name = lab.run(["getopts", B, "sndbug", "--of", A]).expect_code(2);
    assert!(name.stderr.contains("did you mean \"sndbuf\"?"), "{name:?}");
    let without_of = lab.run(["getopts", B]).expect_code(2);
    assert!(without_of.stderr.contains("--of"), "{without_of:?}");
    let without_options = lab.run(["setopts", B, "--of", A]).expect_code(2);
    assert!(without_options.stderr.contains("OPTION=VALUE"), "{without_options:?}");
}
