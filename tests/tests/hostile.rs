//! Peers that do not keep to the protocol. Each may end its own connection and nothing else: the
//! node stays up, its memory bounded, its other peers served, and its log says what happened.

use std::time::{Duration, Instant};

use krarup_tests::{KrarupNode, Lab, OtpNode, PeerIdentity, RawPeer, Release, flags, terms, until};

const COOKIE: &str = "Alouette";
const SOON: Duration = Duration::from_secs(10);
/// The setup time these nodes run with, in seconds: how long each step of a handshake may take.
const SETUP_TIME: &str = "2";
/// A setup time and what a busy machine adds.
const SETUP_ENDS: Duration = Duration::from_secs(2 + 6);
/// What the node may ever hold in memory, whatever its peers announce.
const MEMORY_KIB_MAX: u64 = 400 * 1024;

/// A node under attack, and a real node that must not notice.
struct Siege {
    krarup: KrarupNode,
    otp: OtpNode,
    /// Where the log stood when the last attack began.
    log_start: usize,
    _lab: Lab,
}

impl Siege {
    fn begin() -> Self {
        let lab = Lab::new();
        let arguments = ["--net-setuptime", SETUP_TIME];
        let krarup = lab.krarup("a").cookie(COOKIE).args(arguments).start();
        let mut otp = lab.otp(Release::R29, "b").cookie(COOKIE).start();
        otp.eval("krarup_peer:watch_nodes().");
        assert_eq!(otp.eval(&format!("net_adm:ping('{}').", krarup.name())), "pong");
        Self { krarup, otp, log_start: 0, _lab: lab }
    }

    /// Limits the descriptors of the Krarup node, as prlimit's `--nofile` says.
    fn limit_descriptors(&mut self, limit: &str) {
        let limit = format!("--nofile={limit}");
        let pid = self.krarup.process().pid().to_string();
        let limited = std::process::Command::new("prlimit").args([&limit, "--pid", &pid]).status();
        assert!(limited.is_ok_and(|status| status.success()), "prlimit cannot limit the node");
    }

    /// A connection that has not said anything.
    fn dial(&mut self) -> RawPeer {
        self.log_start = self.krarup.process().lines_printed();
        RawPeer::dial(self.krarup.port()).expect("the node accepts connections")
    }

    /// A connection that has done everything right so far.
    fn connect(&mut self, identity: &PeerIdentity) -> RawPeer {
        self.log_start = self.krarup.process().lines_printed();
        RawPeer::connect(self.krarup.port(), identity).expect("the handshake succeeds")
    }

    /// The node has closed this connection, says why in a line with `word`, and is well.
    fn expect_closed(&mut self, mut peer: RawPeer, what: &str, word: &str, within: Duration) {
        assert!(peer.closed_within(within).is_some(), "{what}: still open after {within:?}");
        let start = self.log_start;
        self.krarup.process().line_after(start, &format!("why ({what})"), SOON, |line| {
            line.contains(word).then_some(())
        });
        self.expect_well(what);
    }

    /// The real node is served as if nothing had happened, over the link it always had.
    fn expect_well(&mut self, what: &str) {
        let name = self.krarup.name().to_owned();
        let answer = self.otp.eval(&format!("krarup_peer:ask({{echo, '{name}'}}, here, 8000)."));
        assert_eq!(answer, "here", "{what}");
        assert_eq!(self.otp.eval(&format!("krarup_peer:watched('{name}').")), "[up]", "{what}");
        let peak = self.krarup.process().resident_peak_kib();
        assert!(peak < MEMORY_KIB_MAX, "{what}: the node held {peak} KiB");
    }
}

fn identity(name: &str) -> PeerIdentity {
    PeerIdentity { cookie: COOKIE.to_owned(), ..PeerIdentity::new(name) }
}

fn plain(name: &str) -> PeerIdentity {
    PeerIdentity { flags: flags::PASS_THROUGH, ..identity(name) }
}

#[test]
fn handshakes_that_go_wrong() {
    if Release::R29.is_missing() {
        return;
    }
    let mut siege = Siege::begin();

    // A wrong cookie is reported with the peer's name and address, and neither cookie.
    let stranger = PeerIdentity { cookie: "Nightjar".to_owned(), ..identity("stranger@127.0.0.1") };
    let mut peer = siege.dial();
    peer.send_name(&stranger).expect("it listens");
    assert!(peer.read_status().expect("a status").starts_with("ok"));
    let challenge = peer.read_challenge().expect("a challenge");
    assert!(peer.answer_challenge(&stranger, challenge).is_err(), "a wrong cookie is accepted");
    siege.expect_closed(peer, "wrong cookie", "stranger@127.0.0.1", SOON);
    let log = siege.krarup.process().output();
    assert!(!log.contains("Nightjar") && !log.contains(COOKIE), "a cookie is in the log");
    assert!(log.contains("127.0.0.1:"), "no address is in the log");

    // Flags that no release accepts, and one mandatory flag missing.
    for missing in [flags::MANDATORY, 0x4, 0x1_0000, 0x4_0000_0000] {
        let lacking = flags::OTP_29_HIDDEN & !missing & !0x400_0000;
        let lacking = PeerIdentity { flags: lacking, ..identity("lacking@127.0.0.1") };
        let mut peer = siege.dial();
        peer.send_name(&lacking).expect("it listens");
        assert_eq!(peer.read_status().expect("a status"), "not_allowed");
        siege.expect_closed(peer, "missing flags", "lacking@127.0.0.1", SOON);
    }

    // Names that are none.
    for name in ["", "@", "nohost", "nohost@", "@127.0.0.1", "two@at@127.0.0.1", "sp ace@h.x"] {
        let mut peer = siege.dial();
        peer.send_name(&identity(name)).expect("it listens");
        siege.expect_closed(peer, &format!("the name {name:?}"), "refused", SOON);
    }
    // Our own name.
    let own = siege.krarup.name().to_owned();
    let mut peer = siege.dial();
    peer.send_name(&identity(&own)).expect("it listens");
    assert!(!peer.read_status().is_ok_and(|status| status.starts_with("ok")), "our own name");
    siege.expect_closed(peer, "our own name", "refused", SOON);

    // An endless name: the length says 65,535, and the bytes keep coming.
    let mut peer = siege.dial();
    let mut message = vec![0xff, 0xff, b'N'];
    message.extend(vec![b'x'; 65_534]);
    // The node may close before everything is written.
    let _ = peer.send_bytes(&message);
    siege.expect_closed(peer, "an endless name", "refused", SETUP_ENDS);

    // Things that are no handshake.
    for bytes in [
        &[0, 0][..],
        &[0, 1, b'x'],
        &[0, 3, b'N', 1, 2],
        &[0, 4, b'n', 0, 5, 0],
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
    ] {
        let mut peer = siege.dial();
        peer.send_bytes(bytes).expect("it listens");
        siege.expect_closed(peer, &format!("the bytes {bytes:?}"), "refused", SETUP_ENDS);
    }
}

#[test]
fn handshakes_that_stop_half_way() {
    if Release::R29.is_missing() {
        return;
    }
    let mut siege = Siege::begin();
    // All at once, so that their times run out together.
    let silent = siege.dial();
    let start = siege.log_start;
    let mut half_length = siege.dial();
    half_length.send_bytes(&[0]).expect("it listens");
    let mut half_name = siege.dial();
    half_name.send_bytes(&[0, 40, b'N', 0, 0]).expect("it listens");
    let mut named = siege.dial();
    named.send_name(&identity("named@127.0.0.1")).expect("it listens");
    let mut challenged = siege.dial();
    challenged.send_name(&identity("challenged@127.0.0.1")).expect("it listens");
    challenged.read_status().expect("a status");
    challenged.read_challenge().expect("a challenge");
    siege.expect_well("while handshakes hang");
    siege.log_start = start;
    for (peer, what) in [
        (silent, "silence from the start"),
        (half_length, "half a length"),
        (half_name, "half a name"),
        (named, "a name and silence"),
        (challenged, "a challenge and silence"),
    ] {
        siege.expect_closed(peer, what, "refused", SETUP_ENDS);
    }
    // One byte at a time does not stretch the time: it is counted for the whole step.
    let mut slow = siege.dial();
    let start = Instant::now();
    let mut bytes = [0, 40, b'N'].into_iter().chain(std::iter::repeat(0));
    until("a handshake of single bytes is ended", SETUP_ENDS, || {
        let sent = slow.send_bytes(&[bytes.next()?]);
        // Reading with a short time is also what paces the bytes.
        (sent.is_err() || slow.closed_within(Duration::from_millis(300)).is_some()).then_some(())
    });
    assert!(start.elapsed() >= Duration::from_secs(1), "the setup time is {SETUP_TIME} s");
    siege.expect_well("after slow handshakes");
}

#[test]
fn ten_thousand_idle_connections() {
    if Release::R29.is_missing() {
        return;
    }
    const CONNECTIONS: usize = 10_000;
    let limit = std::process::Command::new("prlimit")
        .args(["--nofile=16384:", "--pid", &std::process::id().to_string()])
        .status();
    assert!(limit.is_ok_and(|status| status.success()), "the test needs 16,384 open files");
    let mut siege = Siege::begin();
    let before = siege.krarup.process().descriptors();
    let mut first = siege.dial();
    let idle: Vec<RawPeer> = (1..CONNECTIONS).map(|_| siege.dial()).collect();
    // The oldest made room, long before its time was up or the node ran out of descriptors.
    assert!(first.closed_within(SOON).is_some(), "the oldest connection is still open");
    let process = siege.krarup.process();
    until("the node holds at most 1,024 idle connections", SOON, || {
        (process.descriptors() <= before + 1024).then_some(())
    });
    siege.expect_well("ten thousand idle connections");
    let lines = siege.krarup.process().lines_printed();
    assert!(lines < 1000, "{lines} lines are told about {CONNECTIONS} connections");
    // The newest are those that have a chance: a peer that speaks now gets in.
    let visitor = siege.connect(&identity("visitor@127.0.0.1"));
    drop(visitor);
    let name = siege.krarup.name().to_owned();
    siege.otp.eval(&format!("erlang:disconnect_node('{name}')."));
    assert_eq!(siege.otp.eval(&format!("net_adm:ping('{name}').")), "pong");
    drop(idle);
    let process = siege.krarup.process();
    until("the node has closed them all", SETUP_ENDS, || {
        (process.descriptors() <= before + 1).then_some(())
    });
}

/// No hostile peers, but as many.
#[test]
fn three_hundred_nodes_that_start_at_once_get_in() {
    if Release::R29.is_missing() {
        return;
    }
    let mut siege = Siege::begin();
    let mut peers: Vec<(PeerIdentity, RawPeer)> = (0..300)
        .map(|number| (identity(&format!("start{number}@127.0.0.1")), siege.dial()))
        .collect();
    // All have to wait for the slowest of them, so none gets through before all are let in.
    for (identity, peer) in &mut peers {
        peer.send_name(identity).expect("it listens");
    }
    for (identity, peer) in &mut peers {
        assert_eq!(peer.read_status().expect("a status"), "ok");
        let challenge = peer.read_challenge().expect("a challenge");
        peer.answer_challenge(identity, challenge).expect("a link");
    }
    siege.expect_well("three hundred new links");
}

#[test]
fn a_node_whose_links_are_all_it_has_descriptors_for_refuses_at_once() {
    if Release::R29.is_missing() {
        return;
    }
    let mut siege = Siege::begin();
    // The hard limit stays.
    let limit = siege.krarup.process().descriptors();
    siege.limit_descriptors(&format!("{limit}:"));
    // Some numbers below the limit may be free.
    let log_start = siege.krarup.process().lines_printed();
    let mut links = Vec::new();
    let refused = loop {
        let start = Instant::now();
        let name = format!("link{}@127.0.0.1", links.len());
        match RawPeer::connect(siege.krarup.port(), &identity(&name)) {
            Ok(link) => links.push(link),
            Err(_) => break start.elapsed(),
        }
        assert!(links.len() < 100, "the node finds more and more descriptors");
    };
    assert!(refused < Duration::from_secs(1), "it has waited {refused:?}");
    siege.krarup.process().line_after(log_start, "why it was refused", SOON, |line| {
        line.contains("raise its limit").then_some(())
    });
    siege.expect_well("no descriptor left for another link");
}

#[test]
fn a_node_out_of_descriptors_serves_those_it_has() {
    if Release::R29.is_missing() {
        return;
    }
    let mut siege = Siege::begin();
    let spare = 8;
    let limit = siege.krarup.process().descriptors() + spare;
    siege.limit_descriptors(&limit.to_string());
    let crowd: Vec<RawPeer> = (0..200).map(|_| siege.dial()).collect();
    siege.expect_well("no descriptor left");
    // The log is not flooded by what fails again and again, nor the processor kept busy with it.
    let lines = siege.krarup.process().lines_printed();
    siege.otp.eval("timer:sleep(1000).");
    let flood = siege.krarup.process().lines_printed() - lines;
    assert!(flood < 200, "{flood} lines in a second");
    drop(crowd);
    until("the node accepts again", SOON, || {
        RawPeer::connect(siege.krarup.port(), &identity("visitor@127.0.0.1")).ok()
    });
    siege.expect_well("descriptors are there again");
}

#[test]
fn frames_that_announce_too_much() {
    if Release::R29.is_missing() {
        return;
    }
    let mut siege = Siege::begin();
    for length in [u32::MAX, 1 << 31, (1 << 31) - 4, (1 << 31) - 5, 1 << 30] {
        let mut peer = siege.connect(&identity("giant@127.0.0.1"));
        peer.send_bytes(&length.to_be_bytes()).expect("it listens");
        // Closed at the number, or never given more memory than what comes.
        let _ = peer.send_bytes(&vec![131; 1 << 20]);
        siege.expect_closed(peer, &format!("a frame of {length} bytes"), "giant@127.0.0.1", SOON);
    }
    // Just below the limit, by many: what is announced is not set aside.
    let mut many: Vec<RawPeer> = Vec::new();
    for number in 0..20 {
        let mut peer = siege.connect(&identity(&format!("giant{number}@127.0.0.1")));
        peer.send_bytes(&(250_u32 << 20).to_be_bytes()).expect("it listens");
        peer.send_bytes(&[131, 68, 0]).expect("it listens");
        many.push(peer);
    }
    siege.expect_well("20 frames of 250 MiB announced");
    drop(many);
    // Terms that announce more than their frame holds.
    let own = plain("liar@127.0.0.1");
    let control = terms::send_to_name(&own.pid(), "echo");
    for (what, payload) in [
        ("a list of 4 G elements", &[108, 255, 255, 255, 255, 97, 1][..]),
        ("a tuple of 4 G elements", &[105, 255, 255, 255, 255, 97, 1]),
        ("a binary of 4 GiB", &[109, 255, 255, 255, 255, 1]),
        ("a map of 4 G pairs", &[116, 255, 255, 255, 255, 97, 1]),
        ("a big integer of 4 GiB", &[111, 255, 255, 255, 255, 0, 1]),
        ("an atom of 64 KiB", &[118, 255, 255, 65]),
        ("a record of 4 G fields", &[67, 255, 255, 255, 255, 1]),
        ("a fun of 4 G variables", &[112, 255, 255, 255, 255, 1]),
    ] {
        let mut peer = siege.connect(&own);
        peer.send_frame(&terms::pass_through(&control, payload)).expect("it listens");
        siege.expect_closed(peer, what, "liar@127.0.0.1", SOON);
    }
    // Depth: a hundred thousand lists in one another.
    let deep = [[108, 0, 0, 0, 1].repeat(100_000), vec![106; 100_001]].concat();
    let mut peer = siege.connect(&own);
    peer.send_frame(&terms::pass_through(&control, &deep)).expect("it listens");
    siege.expect_closed(peer, "a term 100,000 deep", "liar@127.0.0.1", SOON);
}

#[test]
fn fragments_that_never_end() {
    if Release::R29.is_missing() {
        return;
    }
    let mut siege = Siege::begin();
    let own = identity("shards@127.0.0.1");
    let control = terms::send_to_name(&own.pid(), "echo");
    let start = |sequence: u64, fragments: u64, data: &[u8]| {
        let ids = [sequence, fragments].map(u64::to_be_bytes).concat();
        [&[131, 69][..], &ids, &[0], &control, data].concat()
    };
    let next = |sequence: u64, fragment: u64, data: &[u8]| {
        let ids = [sequence, fragment].map(u64::to_be_bytes).concat();
        [&[131, 70][..], &ids, data].concat()
    };
    // The beginning of a binary of 3 GiB.
    let binary = [109, 0xc0, 0, 0, 0];

    for (what, frames) in [
        ("the sequence 0", vec![start(0, 2, &binary)]),
        ("no fragments", vec![start(1, 0, &binary)]),
        ("2^63 fragments", vec![start(1, 1 << 63, &binary)]),
        ("a fragment of nothing", vec![next(1, 1, &[1])]),
        ("a fragment out of order", vec![start(1, 3, &binary), next(1, 1, &[1])]),
        ("a fragment twice", vec![start(1, 3, &binary), next(1, 2, &[1]), next(1, 2, &[1])]),
        ("a sequence that starts twice", vec![start(1, 3, &binary), start(1, 3, &binary)]),
        ("half a fragment header", vec![vec![131, 69, 0, 0, 0]]),
    ] {
        let mut peer = siege.connect(&own);
        for frame in frames {
            // The node may close at any of them.
            let _ = peer.send_frame(&frame);
        }
        siege.expect_closed(peer, what, "shards@127.0.0.1", SOON);
    }

    // One message without end, and many that never get on.
    let part = vec![0; 64 << 10];
    let mut peer = siege.connect(&own);
    let mut sent = peer.send_frame(&start(1, 20_000, &binary));
    let mut bytes = 0;
    for fragment in (1..20_000).rev() {
        if sent.is_err() {
            break;
        }
        sent = peer.send_frame(&next(1, fragment, &part));
        bytes += part.len();
    }
    assert!(sent.is_err(), "{bytes} bytes of one message are accepted");
    siege.expect_closed(peer, "a message without end", "shards@127.0.0.1", SOON);

    let mut peer = siege.connect(&own);
    let sequences = (1..100_000).find(|id| peer.send_frame(&start(*id, 9, &binary)).is_err());
    assert!(sequences.is_some(), "100,000 unfinished messages are accepted");
    siege.expect_closed(peer, "many unfinished messages", "shards@127.0.0.1", SOON);
}

#[test]
fn atoms_by_the_million() {
    if Release::R29.is_missing() {
        return;
    }
    let mut siege = Siege::begin();
    // In the header: 255 new atoms of 255 bytes in each of 2,000 frames fill the cache again and
    // again. This is legal, and costs no more than the cache.
    let own = PeerIdentity { flags: flags::OTP_29_HIDDEN, ..identity("bomber@127.0.0.1") };
    let control = terms::send_to_name(&own.pid(), "sink");
    let mut peer = siege.connect(&own);
    for frame in 0..2000_u32 {
        let mut body = vec![131, 68, 255];
        // Every entry is new, in the segments in turn, and no atom is long.
        let segment = u8::try_from(frame % 8).expect("below 8");
        let nibbles = 0x88 | segment | segment << 4;
        body.extend([nibbles; 127]);
        body.push(0x08 | segment);
        for index in 0..255_u8 {
            body.extend([index, 255]);
            body.extend(format!("{frame:0>10}{index:0>245}").bytes());
        }
        body.extend(&control);
        body.extend([82, 254]);
        peer.send_frame(&body).expect("this is legal");
    }
    // In messages: 100,000 atoms in each, that nobody has seen before.
    for message in 0..10 {
        let mut list = vec![108, 0, 1, 0x86, 0xa0];
        for number in 0..100_000 {
            list.extend(terms::atom(&format!("bomb_{message}_{number}")));
        }
        list.push(106);
        peer.send_frame(&terms::normal(&control, &list)).expect("this is legal");
    }
    let name = siege.krarup.name().to_owned();
    let count =
        format!("{{sink, '{name}'}} ! {{self(), report}}, element(2, krarup_peer:next(9000)).");
    siege.otp.eval_until(&count, "2010", Duration::from_secs(60));
    siege.expect_well("atoms by the million");
    drop(peer);

    // An entry that nobody has set, and one past the end of the table.
    for body in [&[131, 68, 1, 0x00, 7][..], &[131, 68, 0]] {
        let mut peer = siege.connect(&own);
        let frame = [body, &control, &[82, 200]].concat();
        peer.send_frame(&frame).expect("it listens");
        siege.expect_closed(peer, "an atom that is not there", "bomber@127.0.0.1", SOON);
    }
}

#[test]
fn signals_that_are_none() {
    if Release::R29.is_missing() {
        return;
    }
    let mut siege = Siege::begin();
    let own = plain("odd@127.0.0.1");
    let pid = own.pid();
    let node = siege.krarup.name().to_owned();
    let local = terms::pid(&node, 1, 0, 1);
    let stranger = terms::pid("third@127.0.0.1", 1, 0, 1);
    let reference = terms::reference("odd@127.0.0.1", 77, [1, 2, 3]);
    let integer = terms::integer;
    for (what, control) in [
        ("opcode 99", terms::tuple(&[&integer(99), &pid, &local])),
        ("opcode 0", terms::tuple(&[&integer(0)])),
        ("opcode 5", terms::tuple(&[&integer(5)])),
        ("the old UNLINK", terms::tuple(&[&integer(4), &pid, &local])),
        ("an atom for an opcode", terms::tuple(&[&terms::atom("send"), &pid, &local])),
        ("no tuple", terms::atom("control")),
        ("an empty tuple", terms::tuple(&[])),
        ("a LINK without its target", terms::tuple(&[&integer(1), &pid])),
        ("a LINK from a third node", terms::tuple(&[&integer(1), &stranger, &local])),
        ("a LINK to an atom", terms::tuple(&[&integer(1), &pid, &terms::atom("echo")])),
        ("a MONITOR by a third node", terms::tuple(&[&integer(19), &stranger, &local, &reference])),
        ("a SEND to an integer", terms::tuple(&[&integer(2), &terms::atom(""), &integer(1)])),
    ] {
        let mut peer = siege.connect(&own);
        peer.send_frame(&terms::pass_through(&control, &[])).expect("it listens");
        siege.expect_closed(peer, what, "odd@127.0.0.1", SOON);
    }
    for (what, frame) in [
        ("one byte", &[112][..]),
        ("a frame of another shape", &[131, 68, 0, 104, 1, 97, 5]),
        ("no version", &[112, 104, 1, 97, 5]),
        ("a control message cut short", &[112, 131, 104, 4, 97]),
    ] {
        let mut peer = siege.connect(&own);
        peer.send_frame(frame).expect("it listens");
        siege.expect_closed(peer, what, "odd@127.0.0.1", SOON);
    }
    // What is allowed and has no effect: dead processes, old creations, unknown names and aliases.
    let mut peer = siege.connect(&own);
    let message = terms::atom("message");
    let alias = terms::reference(&node, 1, [1, 2, 3]);
    for control in [
        terms::tuple(&[&integer(22), &pid, &local]),
        terms::tuple(&[&integer(22), &pid, &stranger]),
        terms::send_to_name(&pid, "nobody"),
        terms::tuple(&[&integer(33), &pid, &alias]),
        terms::tuple(&[&integer(26), &pid, &local]),
    ] {
        peer.send_frame(&terms::pass_through(&control, &message)).expect("it listens");
    }
    assert!(peer.ask_echo(&own).is_ok(), "harmless signals have ended the connection");
    siege.expect_well("harmless signals");
}
