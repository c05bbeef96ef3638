//! What asks too much of a node's membership: strangers that come again and again, and peers with the
//! cookie whose arguments no program has. The node answers as OTP does, or says what its limit is,
//! and goes on.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use krarup::term::{Atom, Term};
use krarup_tests::{Lab, PeerIdentity, RawPeer, Release, until};

const COOKIE: &str = "Alouette";
const SOON: Duration = Duration::from_secs(30);

fn atom(text: &str) -> Atom {
    Atom::new(text).expect("a short name")
}

/// A log is written for who reads it.
#[test]
fn who_is_refused_again_and_again_does_not_fill_the_log() {
    let lab = Lab::new();
    let mut krarup = lab.krarup("a").cookie(COOKIE).start();
    let allowed = lab.run([
        "call",
        "--cookie",
        COOKIE,
        krarup.name(),
        "net_kernel",
        "allow",
        "[['b@127.0.0.1']]",
    ]);
    assert_eq!(allowed.stdout.trim(), "ok", "{allowed:?}");
    let stranger =
        PeerIdentity { cookie: COOKIE.to_owned(), ..PeerIdentity::new("stranger@127.0.0.1") };
    for _ in 0..500 {
        let mut peer = RawPeer::dial(krarup.port()).expect("the node accepts connections");
        peer.send_name(&stranger).expect("it listens");
        assert_eq!(peer.read_status().expect("a status"), "not_allowed");
    }
    let count = |output: String, what: &str| output.matches(what).count();
    let output = krarup.process().output();
    let lines = count(output.clone(), "is not allowed") + count(output, "was refused");
    assert!((2..=210).contains(&lines), "{lines} lines tell of 500 refusals");
}

/// As where the DNS names all addresses of a cluster, and a node's name has none of them.
#[test]
fn a_node_that_is_to_connect_to_itself_by_another_name_does_not() {
    let lab = Lab::new();
    let arguments = ["--connect", "a@127.0.0.2", "--listen-address", "0.0.0.0"];
    let mut krarup = lab.krarup("a").args(arguments).start();
    krarup.process().wait_line("passed over: it is this node itself node='a@127.0.0.2'", SOON);
    krarup.stop();
}

/// A list of options is a list of calls of the system, while a shard does nothing else.
#[test]
fn lists_of_socket_options_have_an_end() {
    let lab = Lab::new();
    let _krarup = lab.krarup("a").start();
    let mut otp = lab.otp(Release::R27, "o").start();
    let of_many = |function: &str, two: [&str; 2]| {
        format!(
            "rpc:call('a@127.0.0.1', net_kernel, {function}, ['o@127.0.0.1',
                lists:duplicate(100000, {}) ++ lists:duplicate(100000, {})]).",
            two[0], two[1]
        )
    };
    assert_eq!(otp.eval(&of_many("getopts", ["tclass", "nodelay"])), "{error,einval}");
    let set = of_many("setopts", ["{tclass,0}", "{nodelay,true}"]);
    assert_eq!(otp.eval(&set), "{error,einval}");
    let few = "rpc:call('a@127.0.0.1', net_kernel, getopts,
        ['o@127.0.0.1', lists:duplicate(1000, nodelay)]) =:= {ok, lists:duplicate(1000, {nodelay, true})}.";
    assert_eq!(otp.eval(few), "true");
}

/// What blocks has a thread of its own, and there are not as many of them as somebody likes.
#[test]
fn calls_that_block_take_turns() {
    let lab = Lab::without_epmd();
    let _epmd = lab.start_krarup_epmd(["-address", "127.0.0.1"]);
    let mut krarup = lab.krarup("a").start();
    // An epmd that accepts connections and says nothing.
    let silent = TcpListener::bind(("127.0.0.77", lab.epmd_port())).expect("a free address");
    let mut otp = lab.otp(Release::R27, "o").start();
    otp.eval(
        "Asked = [erpc:send_request('a@127.0.0.1', net_adm, names, [\"127.0.0.77\"])
            || _ <- lists:seq(1, 300)], ok.",
    );
    // It comes behind the others.
    assert_eq!(otp.eval("erpc:call('a@127.0.0.1', erlang, node, [])."), "'a@127.0.0.1'");
    let tasks = format!("/proc/{}/task", krarup.process().pid());
    let blocked = || {
        let tasks = std::fs::read_dir(&tasks).expect("its threads");
        let names = tasks.flatten().map(|task| std::fs::read_to_string(task.path().join("comm")));
        names.flatten().filter(|name| name.trim() == "krarup-blocking").count()
    };
    let some = || Some(blocked()).filter(|count| *count >= 64);
    assert_eq!(until("the threads of those that block", SOON, some), 64);
    drop(silent);
    let answers = "lists:usort([erpc:receive_response(Request, 30000) || Request <- Asked]).";
    assert_eq!(otp.eval_within(answers, SOON), "[{error,address}]");
    krarup.stop();
}

/// The origin of a `peer` may be busy, or stopped: its child is a node all the same.
#[test]
fn an_origin_that_does_not_read_holds_up_no_shard() {
    const REPLIES: usize = 48;
    const BYTES: usize = 1 << 20;
    let lab = Lab::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("its address").port().to_string();
    let peer = ["--peer", "--origin", "127.0.0.1", &port];
    let krarup = lab.krarup("a").args(peer).start();
    let (mut origin, _) = listener.accept().expect("the child");
    // `{call,N,erlang,send,[{nobody,'a@127.0.0.1'},Bytes]}` gives the bytes back.
    for number in 0..REPLIES {
        let to = [Term::Atom(atom("nobody")), Term::Atom(atom(krarup.name()))];
        let arguments = vec![Term::Tuple(to.to_vec()), Term::Binary(vec![1; BYTES].into())];
        let call = [
            Term::Atom(atom("call")),
            Term::from(number as u64),
            Term::Atom(atom("erlang")),
            Term::Atom(atom("send")),
            Term::List(arguments),
        ];
        let mut bytes = vec![0; 4];
        Term::Tuple(call.to_vec()).encode_versioned(&mut bytes);
        let length = u32::try_from(bytes.len() - 4).expect("a short term");
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        origin.write_all(&bytes).expect("it listens");
    }
    let mut otp = lab.otp(Release::R27, "o").start();
    let pinged = "erpc:call('a@127.0.0.1', erlang, node, [], 20000).";
    assert_eq!(otp.eval_within(pinged, SOON), "'a@127.0.0.1'");
    origin.set_read_timeout(Some(SOON)).expect("a time");
    let mut bytes = vec![0; REPLIES * BYTES];
    origin.read_exact(&mut bytes).expect("all replies");
    assert_eq!(otp.eval_within(pinged, SOON), "'a@127.0.0.1'");
    krarup.stop();
}
