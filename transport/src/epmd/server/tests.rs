use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::super::golden;
use super::*;

const SECONDS: u64 = 1_800_000_000;
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A server and the time, driven as a socket loop would.
struct World {
    now: Instant,
    server: Server,
}

/// What a client sees of one request.
#[derive(Debug, PartialEq)]
struct Seen {
    answer: Vec<u8>,
    then: Then,
}

impl World {
    fn new(config: ServerConfig) -> World {
        let now = Instant::now();
        World { now, server: Server::new(config, now, SECONDS) }
    }

    fn connect(&mut self) -> Connection {
        let (connection, evicted) = self.server.accept(self.now, LOOPBACK, true);
        assert_eq!(evicted, None);
        connection
    }

    fn send(&mut self, connection: &mut Connection, bytes: &[u8]) -> Seen {
        let action = connection.receive(self.now, bytes, &mut self.server);
        Seen { answer: self.drain(connection), then: action.then }
    }

    fn drain(&mut self, connection: &mut Connection) -> Vec<u8> {
        let mut answer = Vec::new();
        loop {
            let chunk = connection.output(&self.server);
            assert!(chunk.len() <= CHUNK_BYTES + 2 * FIELD_BYTES_MAX, "a chunk is bounded");
            if chunk.is_empty() {
                return answer;
            }
            answer.extend(chunk);
        }
    }

    /// One request on a connection of its own, closed afterwards.
    fn ask(&mut self, body: &[u8]) -> Seen {
        let mut connection = self.connect();
        let seen = self.send(&mut connection, &framed(body));
        connection.closed(&mut self.server);
        seen
    }

    fn register(&mut self, name: &str, port: u16) -> Connection {
        let mut connection = self.connect();
        let mut bytes = Vec::new();
        Request::Alive(NodeEntry::new(name, port)).encode(&mut bytes).expect("a good entry");
        let seen = self.send(&mut connection, &bytes);
        assert_eq!((&seen.answer[..2], seen.then), (&b"v\0"[..], Then::Read), "{name}");
        connection
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a short body");
    [&length.to_be_bytes()[..], body].concat()
}

fn closed_silently() -> Seen {
    Seen { answer: vec![], then: Then::Close }
}

fn said(answer: &[u8], then: Then) -> Seen {
    Seen { answer: answer.to_vec(), then }
}

/// The recorded conversations of each release, answered again by this server.
#[test]
fn answers_are_those_of_otp() {
    for (index, otp) in ["25", "27", "29"].iter().enumerate() {
        let bytes = |name: &str| {
            let (release, bytes) = golden::all(name).swap_remove(index);
            assert_eq!(release, *otp);
            bytes
        };
        let names = bytes("epmd_names_resp");
        let port = u32::from_be_bytes(names[..4].try_into().expect("four bytes"));
        let port = u16::try_from(port).expect("a port");
        let mut world = World::new(ServerConfig { port, ..ServerConfig::default() });
        // The creation is the recorded daemon's time, plus one.
        let time = u32::from_be_bytes(bytes("epmd_alive2_x_resp")[2..].try_into().expect("four"));
        world.server.started_unix_seconds = u64::from(time - 1);
        // Connections are numbered like the recorded daemon's descriptors.
        world.server.next_connection = 5;

        let mut gold = world.connect();
        let seen = world.send(&mut gold, &bytes("epmd_alive2_req"));
        assert_eq!(seen, said(&bytes("epmd_alive2_x_resp"), Then::Read));
        let mut gold5 = world.connect();
        // A creation before version 6 is one of 1 to 3; which one depends on the time.
        let old = bytes("epmd_alive2_resp_v5");
        let seen = world.send(&mut gold5, &bytes("epmd_alive2_req_v5"));
        assert_eq!((&seen.answer[..3], seen.then), (&old[..3], Then::Read));
        assert_eq!(u32::from(seen.answer[3]), time % 3 + 1);
        assert!((1..=3).contains(&old[3]));

        let mut again = world.connect();
        let seen = world.send(&mut again, &bytes("epmd_alive2_req"));
        assert_eq!(seen, said(&bytes("epmd_alive2_duplicate"), Then::Read));
        again.closed(&mut world.server);

        for (request, reply) in [
            (bytes("epmd_port2_req"), bytes("epmd_port2_resp")),
            (framed(b"zgold5"), bytes("epmd_port2_resp_v5_extra")),
            (framed(b"znobody"), bytes("epmd_port2_resp_notfound")),
            (framed(b"n"), names),
            (framed(b"d"), bytes("epmd_dump_resp")),
            (framed(b"k"), bytes("epmd_kill_refused")),
        ] {
            let mut connection = world.connect();
            let seen = world.send(&mut connection, &request);
            assert_eq!(seen, said(&reply, Then::Close), "{}", request.escape_ascii());
            connection.closed(&mut world.server);
        }

        gold.closed(&mut world.server);
        let mut gold = world.connect();
        let seen = world.send(&mut gold, &bytes("epmd_alive2_req"));
        assert_eq!(seen, said(&bytes("epmd_alive2_reregister"), Then::Read));
        gold.closed(&mut world.server);
        gold5.closed(&mut world.server);
        assert_eq!(world.ask(b"k"), said(&bytes("epmd_kill_ok"), Then::Stop));
    }
}

#[test]
fn stop_needs_the_relaxed_check() {
    let mut world = World::new(ServerConfig::default());
    let gold = world.register("gold", 1);
    assert_eq!(world.ask(b"sgold"), closed_silently());
    gold.closed(&mut world.server);

    let relaxed = ServerConfig { relaxed_command_check: true, ..ServerConfig::default() };
    let mut world = World::new(relaxed);
    let gold = world.register("gold", 1);
    let (_, noexist) = &golden::all("epmd_stop_noexist")[0];
    assert_eq!(world.ask(b"snobody"), said(noexist, Then::Close));
    let mut asking = world.connect();
    let action = asking.receive(world.now, &framed(b"sgold"), &mut world.server);
    assert_eq!(action, Action { then: Then::Close, close_other: Some(gold.id()) });
    assert_eq!(asking.output(&world.server), golden::all("epmd_stop_ok")[0].1);
    assert_eq!(world.server.registrations(), 0);
    // The name may be taken before the stopped node's socket is closed; that must not harm it.
    let next = world.register("gold", 2);
    gold.closed(&mut world.server);
    assert_eq!(world.server.registrations(), 1);
    assert_eq!(world.ask(b"k"), said(b"OK", Then::Stop));
    next.closed(&mut world.server);
}

#[test]
fn other_hosts_may_only_look() {
    let config = ServerConfig { relaxed_command_check: true, ..ServerConfig::default() };
    let mut world = World::new(config);
    let gold = world.register("gold", 7);
    let mut from_afar = |body: &[u8]| {
        let (mut connection, _) = world.server.accept(world.now, FAR, false);
        let seen = world.send(&mut connection, &framed(body));
        connection.closed(&mut world.server);
        seen
    };
    let mut alive = Vec::new();
    Request::Alive(NodeEntry::new("far", 1)).encode(&mut alive).expect("a good entry");
    for body in [&alive[2..], b"d", b"k", b"sgold"] {
        assert_eq!(from_afar(body), closed_silently());
    }
    assert_eq!(from_afar(b"n"), said(b"\0\0\x11\x11name gold at port 7\n", Then::Close));
    assert_eq!(from_afar(b"zgold").answer[..4], *b"w\0\0\x07");
    gold.closed(&mut world.server);
}

#[test]
fn local_is_loopback_or_the_same_address() {
    let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
    assert!(is_local(parse("127.9.9.9"), parse("127.0.0.1")));
    assert!(is_local(IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)));
    assert!(is_local(parse("::ffff:127.0.0.1"), parse("::ffff:127.0.0.1")));
    assert!(is_local(FAR, FAR));
    assert!(!is_local(FAR, parse("192.0.2.2")));
    assert!(!is_local(FAR, parse("127.0.0.1")));
}

#[test]
fn hostile_requests_are_closed_without_an_answer() {
    let mut world = World::new(ServerConfig::default());
    let long = vec![b'z'; 3058];
    let cases: Vec<Vec<u8>> = vec![
        b"\0\0".to_vec(),
        framed(&long),
        long.len().to_be_bytes()[6..].to_vec(),
        b"\xff\xff".to_vec(),
        framed(b"a\x12\x34gold"),
        framed(b"\0"),
        framed(b"z"),
        framed(b"x"),
        [framed(b"n"), framed(b"n")].concat(),
        [framed(b"n"), vec![0]].concat(),
        b"GET / HTTP/1.1\r\n".to_vec(),
    ];
    for bytes in cases {
        let mut connection = world.connect();
        let seen = world.send(&mut connection, &bytes);
        let shown = bytes[..bytes.len().min(20)].escape_ascii();
        assert_eq!(seen, closed_silently(), "{shown}");
        connection.closed(&mut world.server);
    }
    assert_eq!(world.server.pending(), 0);
    // The longest request is none of the above.
    assert_eq!(world.ask(&long[..3057]), closed_silently());
    let mut connection = world.connect();
    assert_eq!(world.send(&mut connection, &framed(&long[..3057])[..3058]).then, Then::Read);
}

#[test]
fn names_that_may_not_be_registered_get_an_answer() {
    let mut world = World::new(ServerConfig::default());
    let alive = |name: &[u8], extra: &[u8]| {
        let mut body = b"x\0\x01M\0\0\x06\0\x06".to_vec();
        for field in [name, extra] {
            body.extend_from_slice(&u16::try_from(field.len()).expect("short").to_be_bytes());
            body.extend_from_slice(field);
        }
        body
    };
    let refused = said(b"v\x01\0\0\0\x63", Then::Read);
    let long = [b'a'; 1021];
    for (name, extra) in
        [(&b"\xff"[..], &b""[..]), (&long[..256], b""), (&long, b""), (b"a", &long)]
    {
        assert_eq!(world.ask(&alive(name, extra)), refused);
    }
    assert_eq!(world.server.registrations(), 0);
    let allowed = ["é".repeat(255), "a".repeat(255), "a@b".into(), "a b\n".into()];
    for name in &allowed {
        let seen = world.ask(&alive(name.as_bytes(), &long[..1020]));
        assert_eq!(seen.answer[..2], *b"v\0", "{name}");
    }
    // One that can be registered, but is a character too long for a look-up.
    let mut connection = world.connect();
    let seen = world.send(&mut connection, &framed(&alive(allowed[1].as_bytes(), b"")));
    assert_eq!(seen.answer[..2], *b"v\0");
    let lookup = [b"z", allowed[1].as_bytes()].concat();
    assert_eq!(world.ask(&lookup), closed_silently());
    connection.closed(&mut world.server);
    // The old form of the refusal.
    let mut old = alive(&long[..256], b"");
    old[6] = 5;
    assert_eq!(world.ask(&old), said(b"y\x01\0\x63", Then::Read));
}

#[test]
fn any_byte_or_end_unregisters() {
    let mut world = World::new(ServerConfig::default());
    let mut gold = world.register("gold", 1);
    assert_eq!(gold.deadline(), None);
    assert_eq!(world.send(&mut gold, b"\0"), closed_silently());
    assert_eq!(world.server.registrations(), 0);
    let again = world.register("gold", 1);
    gold.closed(&mut world.server);
    assert_eq!(world.server.registrations(), 1);
    again.closed(&mut world.server);
    assert_eq!(world.server.registrations(), 0);
    assert_eq!(world.ask(b"zgold"), said(b"w\x01", Then::Close));
}

#[test]
fn a_refused_registration_stays_open_until_its_deadline() {
    let mut world = World::new(ServerConfig::default());
    let gold = world.register("gold", 1);
    let mut second = world.connect();
    let mut bytes = Vec::new();
    Request::Alive(NodeEntry::new("gold", 2)).encode(&mut bytes).expect("a good entry");
    assert_eq!(world.send(&mut second, &bytes), said(b"v\x01\0\0\0\x63", Then::Read));
    assert_eq!(second.deadline(), Some(world.now + Duration::from_secs(60)));
    assert_eq!(world.send(&mut second, &bytes), closed_silently());
    second.closed(&mut world.server);
    assert_eq!(world.server.registrations(), 1);
    gold.closed(&mut world.server);
}

#[test]
fn the_deadline_does_not_move() {
    let packet_timeout = Duration::from_secs(2);
    let mut world = World::new(ServerConfig { packet_timeout, ..ServerConfig::default() });
    let deadline = Some(world.now + packet_timeout);
    let mut connection = world.connect();
    for byte in b"\0\x05zgo" {
        world.now += Duration::from_millis(500);
        assert_eq!(world.send(&mut connection, &[*byte]).then, Then::Read);
        assert_eq!(connection.deadline(), deadline);
    }
}

#[test]
fn too_many_connections_cost_the_oldest_of_the_greediest() {
    let config =
        ServerConfig { pending_max: 4, pending_per_address_max: 2, ..ServerConfig::default() };
    let mut world = World::new(config);
    let other = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    let now = world.now;
    let gold = world.register("gold", 1);
    let mut accept = |peer, local| world.server.accept(now, peer, local);
    let (first, _) = accept(FAR, false);
    let (second, _) = accept(FAR, false);
    let (third, evicted) = accept(FAR, false);
    assert_eq!(evicted, Some(first.id()), "one host has its share");
    let (_, evicted) = accept(other, false);
    assert_eq!(evicted, None);
    let (local, evicted) = accept(LOOPBACK, true);
    assert_eq!(evicted, None);
    let (_, evicted) = accept(LOOPBACK, true);
    assert_eq!(evicted, Some(second.id()), "another host goes before this one");
    first.closed(&mut world.server);
    second.closed(&mut world.server);
    assert_eq!(world.server.pending(), 4);
    third.closed(&mut world.server);
    local.closed(&mut world.server);
    assert_eq!((world.server.pending(), world.server.registrations()), (2, 1));
    gold.closed(&mut world.server);
}

#[test]
fn registrations_have_a_limit() {
    let mut world = World::new(ServerConfig { registrations_max: 1, ..ServerConfig::default() });
    let first = world.register("a", 1);
    let mut second = world.connect();
    let mut bytes = Vec::new();
    Request::Alive(NodeEntry::new("b", 2)).encode(&mut bytes).expect("a good entry");
    assert_eq!(world.send(&mut second, &bytes), said(b"v\x01\0\0\0\x63", Then::Read));
    second.closed(&mut world.server);
    first.closed(&mut world.server);
    world.register("b", 2).closed(&mut world.server);
}

#[test]
fn ten_thousand_names_are_listed_in_chunks() {
    let mut world = World::new(ServerConfig::default());
    let mut nodes: Vec<_> =
        (0..10_000).map(|index| world.register(&format!("node{index}"), 1000)).collect();
    assert_eq!(world.server.pending(), 0);
    let mut connection = world.connect();
    assert_eq!(connection.receive(world.now, &framed(b"n"), &mut world.server), Action::CLOSE);
    let mut list = connection.output(&world.server);
    assert!((CHUNK_BYTES..CHUNK_BYTES + 100).contains(&list.len()));
    assert!(list.starts_with(b"\0\0\x11\x11name node9999 at port 1000\n"));
    // Names come and go while a slow reader takes its time.
    nodes.remove(0).closed(&mut world.server);
    nodes.push(world.register("new", 1));
    list.extend(world.drain(&mut connection));
    assert_eq!(list.iter().filter(|byte| **byte == b'\n').count(), 9_999);
    connection.closed(&mut world.server);

    assert_eq!(world.ask(b"znode5000").answer[..2], *b"w\0");
    for node in nodes {
        node.closed(&mut world.server);
    }
    let dump = world.ask(b"d").answer;
    assert_eq!(dump.iter().filter(|byte| **byte == 0).count(), 1000 + 2);
    assert!(dump.ends_with(b"old/unused name <new>, port = 1, fd = 10001 \n\0"));
}

proptest! {
    /// However a request is cut into pieces, its answer is the same.
    #[test]
    fn pieces_do_not_matter(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 1..40),
            Just(b"n".to_vec()),
            Just(b"zgold".to_vec()),
            Just(b"x\0\x01M\0\0\x06\0\x06\0\x01a\0\x02ex".to_vec()),
        ],
        sizes in prop::collection::vec(1..9usize, 1..9),
    ) {
        let mut world = World::new(ServerConfig::default());
        let _gold = world.register("gold", 1);
        let whole = world.ask(&body);
        let mut world = World::new(ServerConfig::default());
        let _gold = world.register("gold", 1);
        let bytes = framed(&body);
        let mut connection = world.connect();
        let mut rest = &bytes[..];
        let mut seen = Seen { answer: vec![], then: Then::Read };
        for size in sizes.iter().cycle() {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            seen = world.send(&mut connection, piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
            prop_assert_eq!(&seen, &said(b"", Then::Read));
        }
        prop_assert_eq!(seen, whole);
    }
}
