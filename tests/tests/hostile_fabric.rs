//! Peers that speak Krarup's own protocol by hand, well or badly, to a real node. They share no
//! code with it, so that a mistake made there is not made here as well.

use std::time::Duration;

use krarup_tests::{KrarupNode, Lab, PeerIdentity, RawPeer, flags, terms};

/// Handshake flag bit 62.
const FABRIC: u64 = 1 << 62;
const SETUP_TIME: &str = "2";
const SOON: Duration = Duration::from_secs(20);

struct Siege {
    krarup: KrarupNode,
    _lab: Lab,
}

impl Siege {
    fn begin() -> Siege {
        let lab = Lab::without_epmd();
        let arguments = ["--epmd", "none", "--shards", "1", "--net-setuptime", SETUP_TIME];
        Siege { krarup: lab.krarup("a").args(arguments).start(), _lab: lab }
    }

    /// A peer behind its handshake.
    fn connect(&self, name: &str) -> (RawPeer, PeerIdentity) {
        let identity =
            PeerIdentity { flags: flags::PASS_THROUGH | FABRIC, ..PeerIdentity::new(name) };
        let peer = RawPeer::connect(self.krarup.port(), &identity).expect("the handshake succeeds");
        (peer, identity)
    }

    /// A peer of one shard, and so of one lane, behind its hello.
    fn begin_session(&self, name: &str) -> (RawPeer, PeerIdentity) {
        let (mut peer, identity) = self.connect(name);
        peer.send_frame(&hello(1, 1, 1)).expect("it listens");
        let answer = peer.read_frame().expect("a hello");
        assert_eq!(&answer[..4], b"K\x01\x01\x01", "version 1 to 1");
        (peer, identity)
    }

    fn lines(&mut self) -> usize {
        self.krarup.process().lines_printed()
    }

    fn expect_line(&mut self, start: usize, word: &str) {
        self.krarup
            .process()
            .line_after(start, word, SOON, |line| line.contains(word).then_some(()));
    }

    /// A node that does without lanes is served as if nothing had happened.
    fn expect_well(&self) {
        let identity = PeerIdentity::plain("witness@127.0.0.1");
        let mut peer =
            RawPeer::connect(self.krarup.port(), &identity).expect("the handshake succeeds");
        peer.ask_echo(&identity).expect("an answer");
    }
}

/// A hello without a port, a host or a Unix socket.
fn hello(version_min: u8, version_max: u8, shards: u16) -> Vec<u8> {
    let mut body = vec![b'K', 1, version_min, version_max];
    body.extend(shards.to_le_bytes());
    body.extend([8, 0]);
    body.extend(65_536_u32.to_le_bytes());
    body.extend([0; 2]);
    body.extend([0; 16]);
    body.extend([7; 16]);
    body.push(0);
    body
}

/// A frame of a lane without checksums.
fn frame(kind: u8, flags: u8, head: u16, numbers: [u32; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind, flags];
    frame.extend(head.to_le_bytes());
    frame.extend(u32::try_from(payload.len()).expect("short").to_le_bytes());
    frame.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    frame.extend(payload);
    frame
}

/// A request to echo by the process of the peer with the number 100.
fn to_echo(identity: &PeerIdentity) -> Vec<u8> {
    let question = terms::tuple(&[&identity.pid(), &terms::atom("ping")]);
    frame(2, 0, 4, [100, 0, 0, 0], &[&b"echo"[..], &question].concat())
}

/// Reads frames until one is of this kind, and gives its numbers and payload.
fn read_kind(peer: &mut RawPeer, kind: u8) -> ([u32; 4], Vec<u8>) {
    loop {
        let header = peer.read_bytes(24).expect("a header");
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
        let payload = peer.read_bytes(word(4) as usize).expect("a payload");
        if header[0] == kind {
            return ([word(8), word(12), word(16), word(20)], payload);
        }
    }
}

#[test]
fn a_lane_spoken_by_hand_works() {
    let mut siege = Siege::begin();
    let start = siege.lines();
    let (mut peer, identity) = siege.begin_session("hand@127.0.0.1");
    siege.expect_line(start, "nodeup");
    peer.send_bytes(&to_echo(&identity)).expect("it listens");
    let ([_, _, id, serial], payload) = read_kind(&mut peer, 1);
    assert_eq!((id, serial), (100, 0), "to the process that asked");
    assert_eq!(payload, terms::tuple(&[&terms::atom("echo"), &terms::atom("ping")]));
    // What was received is acknowledged: all of it, by its length.
    let ([low, high, ..], _) = read_kind(&mut peer, 5);
    let sent = u32::try_from(to_echo(&identity).len()).expect("short");
    assert_eq!((low, high), (sent, 0));
    // A bye ends it at once, without waiting for another connection.
    let start = siege.lines();
    peer.send_bytes(&frame(9, 0, 0, [0; 4], b"stopped")).expect("it listens");
    assert!(peer.closed_within(Duration::from_secs(3)).is_some());
    let reason = siege.krarup.wait_nodedown(start, "hand@127.0.0.1", Duration::from_secs(3));
    assert_eq!(reason, "connection_closed");
    siege.expect_well();
}

#[test]
fn frames_that_no_node_sends_end_the_session() {
    let mut siege = Siege::begin();
    let killed = "killed";
    let wrong: [(&str, Vec<u8>, &str, &str); 5] = [
        ("an unknown kind", frame(77, 0, 0, [0; 4], b""), killed, "77"),
        ("an acknowledgement of the future", frame(5, 0, 0, [1000, 0, 0, 0], b""), killed, "1000"),
        ("a fragment of nothing", frame(4, 0, 0, [1, 1, 0, 0], b"x"), killed, "fragment"),
        ("a payload that is no term", frame(1, 0, 0, [1, 1, 0, 0], b"\xff"), killed, "payload"),
        ("a frame beyond the limit", [&[1, 0, 0, 0][..], &[0xff; 20]].concat(), "emsgsize", ""),
    ];
    for (what, bytes, kind, word) in wrong {
        let (mut peer, _) = siege.begin_session("wrong@127.0.0.1");
        let start = siege.lines();
        peer.send_bytes(&bytes).expect("it listens");
        assert!(peer.closed_within(SOON).is_some(), "{what}: still open");
        let reason = siege.krarup.wait_nodedown(start, "wrong@127.0.0.1", Duration::from_secs(3));
        assert!(reason.starts_with(kind) && reason.contains(word), "{what}: {reason}");
        siege.expect_well();
    }
}

#[test]
fn hellos_that_go_wrong() {
    let mut siege = Siege::begin();
    // Whoever speaks only later versions is linked to as a node of OTP.
    let (mut peer, identity) = siege.connect("later@127.0.0.1");
    peer.send_frame(&hello(200, 201, 1)).expect("it listens");
    assert_eq!(&peer.read_frame().expect("a hello")[..2], b"K\x01");
    peer.ask_echo(&identity).expect("an answer");
    drop(peer);

    let wrong: [(&str, &[u8]); 4] = [
        ("a frame of OTP", &[112, 131, 104, 3, 97, 22]),
        ("another message", b"K\x03"),
        ("a short hello", &hello(1, 1, 1)[..20]),
        ("no shards", &hello(1, 1, 0)),
    ];
    for (what, body) in wrong {
        let (mut peer, _) = siege.connect("wrong@127.0.0.1");
        let start = siege.lines();
        peer.send_frame(body).expect("it listens");
        assert!(peer.closed_within(SOON).is_some(), "{what}: still open");
        siege.expect_line(start, "hello");
        siege.expect_well();
    }
    let log = siege.krarup.process().output();
    assert!(!log.contains("nodeup node='wrong@127.0.0.1'"), "nobody is up who says that");

    // Whoever promises lanes and says nothing, or names lanes that it never joined, has its time.
    let (mut peer, _) = siege.connect("mute@127.0.0.1");
    assert!(peer.closed_within(SOON).is_some(), "still open");
    let (mut peer, _) = siege.connect("liar@127.0.0.1");
    peer.send_frame(&hello(1, 1, 3)).expect("it listens");
    peer.read_frame().expect("a hello");
    peer.send_frame(b"K\x02\x01\x01").expect("it listens");
    assert!(peer.closed_within(SOON).is_some(), "still open");
    siege.expect_well();
}

#[test]
fn joins_that_go_wrong() {
    let mut siege = Siege::begin();
    let start = siege.lines();
    let (mut peer, identity) = siege.begin_session("hand@127.0.0.1");
    siege.expect_line(start, "nodeup");
    let join = |version: u8, session: [u8; 32]| {
        let mut body = vec![b'K', 4, version, 0];
        body.extend(1_u32.to_le_bytes());
        body.extend(session);
        body.extend([9; 32]);
        body.extend(0_u64.to_le_bytes());
        body
    };
    let refusals =
        [("an unknown session", join(1, [1; 32]), 1), ("a version", join(9, [1; 32]), 5)];
    for (what, body, code) in refusals {
        let mut stranger = RawPeer::dial(siege.krarup.port()).expect("it accepts");
        stranger.send_handshake(&body).expect("it listens");
        assert_eq!(
            stranger.read_bytes(5).ok().as_deref(),
            Some(&[0, 3, b'K', 7, code][..]),
            "{what}"
        );
        assert!(stranger.closed_within(SOON).is_some(), "{what}: still open");
    }
    let wrong: [(&str, &[u8]); 3] = [
        ("another message", b"K\x06aaaa"),
        ("a short join", &join(1, [1; 32])[..40]),
        ("a long one", &[b'K'; 2000]),
    ];
    for (what, body) in wrong {
        let mut stranger = RawPeer::dial(siege.krarup.port()).expect("it accepts");
        stranger.send_handshake(body).expect("it listens");
        assert!(stranger.closed_within(SOON).is_some(), "{what}: still open");
    }
    // One that says nothing more after its first bytes has little time.
    let mut stranger = RawPeer::dial(siege.krarup.port()).expect("it accepts");
    stranger.send_bytes(b"\0\x50K").expect("it listens");
    assert!(stranger.closed_within(SOON).is_some(), "still open");
    // The session was not disturbed by any of it.
    peer.send_bytes(&to_echo(&identity)).expect("it listens");
    read_kind(&mut peer, 1);
    siege.expect_well();
}
