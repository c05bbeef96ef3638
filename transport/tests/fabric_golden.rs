//! What two nodes say before a lane's first frame, byte for byte.
//!
//! `golden/fabric.json` comes from `golden/fabric.py`, which was written from the description of
//! the protocol and computes every proof with another implementation of HMAC.

use std::time::Instant;

use krarup_transport::fabric::{
    AcceptStep, Ask, Credentials, Epoch, FabricError, Hello, HostId, JOIN_TIMEOUT, JoinAcceptor,
    JoinConfig, JoinInitiator, JoinStep, LaneId, Refusal, Role, SessionId, SettleStep,
    SettleTimeouts, Settling,
};
use krarup_transport::handshake::{Cookie, Flags, NodeName};
use krarup_transport::term::Creation;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("golden/fabric.json")).expect("the vectors are JSON")
}

fn bytes(value: &Value) -> Vec<u8> {
    let hex = value.as_str().expect("hexadecimal digits");
    let digits = |index| u8::from_str_radix(&hex[index..index + 2], 16).expect("two digits");
    (0..hex.len()).step_by(2).map(digits).collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("so many bytes")
}

fn number<T: TryFrom<u64>>(value: &Value) -> T {
    let number = value.as_u64().expect("a number");
    T::try_from(number).ok().expect("a number that fits")
}

fn credentials(vectors: &Value) -> Credentials {
    let node = |key: &str| {
        let name = NodeName::parse(vectors[key][0].as_str().expect("a name")).expect("a name");
        (name, Creation(number(&vectors[key][1])))
    };
    Credentials {
        cookie: Cookie::new(vectors["cookie"].as_str().expect("a text")).expect("a cookie"),
        initiator: node("initiator"),
        acceptor: node("acceptor"),
        flags: Flags::from_bits(number(&vectors["flags"])),
    }
}

/// The richest hello, and the poorest.
fn hellos(vectors: &Value) -> [Hello; 2] {
    let boot_id = vectors["boot_id"].as_str().expect("a text");
    let rich = Hello {
        versions: 1..=1,
        shards: 4,
        lanes_max: 8,
        asks_checksum: true,
        frame_bytes_max: 1 << 20,
        port: 43210,
        host: HostId::new(boot_id, number(&vectors["network_namespace"])),
        session_half: array(&vectors["half_i"]),
        unix_name: b"krarup/a".to_vec(),
    };
    let poor = Hello {
        versions: 1..=1,
        shards: 1,
        lanes_max: 1,
        asks_checksum: false,
        frame_bytes_max: 65536,
        port: 0,
        host: HostId::UNKNOWN,
        session_half: array(&vectors["half_a"]),
        unix_name: Vec::new(),
    };
    [rich, poor]
}

#[test]
fn hellos_have_these_bytes() {
    let vectors = vectors();
    let [rich, poor] = hellos(&vectors);
    assert_eq!(rich.host, HostId(array(&vectors["host"])));
    for (hello, key) in [(rich, "hello"), (poor, "hello_bare")] {
        let expected = bytes(&vectors[key]);
        let mut encoded = Vec::new();
        hello.encode(&mut encoded);
        assert_eq!(encoded, expected, "{key}");
        assert_eq!(Hello::decode(&expected[4..]), Ok(hello), "{key}");
    }
}

#[test]
fn settling_has_these_bytes() {
    let vectors = vectors();
    let now = Instant::now();
    let [rich, _] = hellos(&vectors);
    let other = Hello { session_half: array(&vectors["half_a"]), ..rich.clone() };
    let mut initiator = Settling::new(Role::Initiator, rich, SettleTimeouts::default(), now);
    let mut acceptor = Settling::new(Role::Acceptor, other, SettleTimeouts::default(), now);
    let hello = initiator.take_output();
    assert_eq!(hello, bytes(&vectors["hello"]));
    let Ok(SettleStep::Agreed(agreement)) = acceptor.receive(now, &hello) else { panic!() };
    assert_eq!(
        agreement.session.0.to_vec(),
        [bytes(&vectors["half_i"]), bytes(&vectors["half_a"])].concat()
    );
    initiator.receive(now, &acceptor.take_output()).expect("a good hello");
    for lane in [0, 2, 3] {
        initiator.joined(now, LaneId(lane)).expect("no lane is lost");
        acceptor.joined(now, LaneId(lane)).expect("no lane is lost");
    }
    initiator.failed(now, LaneId(1)).expect("a lane may fail");
    let list = initiator.take_output();
    assert_eq!(list, bytes(&vectors["lanes"]));
    let Ok(SettleStep::Settled(there)) = acceptor.receive(now, &list) else { panic!() };
    let answer = acceptor.take_output();
    assert_eq!(answer, bytes(&vectors["lanes_ok"]));
    let Ok(SettleStep::Settled(here)) = initiator.receive(now, &answer) else { panic!() };
    assert_eq!(here.lanes, there.lanes);
}

#[test]
fn joins_have_these_bytes() {
    let vectors = vectors();
    let now = Instant::now();
    let session = SessionId::new(array(&vectors["half_i"]), array(&vectors["half_a"]));
    for join in vectors["joins"].as_array().expect("joins") {
        let ask = Ask {
            version: 1,
            session,
            lane: LaneId(number(&join["lane"])),
            epoch: Epoch(number(&join["epoch"])),
            received: number(&join["received_i"]),
        };
        let received = number(&join["received_a"]);
        let credentials = credentials(&vectors);
        let nonce = array(&vectors["nonce_i"]);
        let config =
            JoinConfig { credentials: credentials.clone(), ask, nonce, timeout: JOIN_TIMEOUT };
        let mut initiator = JoinInitiator::new(config, now);
        let mut acceptor = JoinAcceptor::new(array(&vectors["nonce_a"]), JOIN_TIMEOUT, now);
        let message = initiator.take_output();
        assert_eq!(message, bytes(&join["join"]), "{}", join["name"]);
        assert_eq!(acceptor.receive(now, &message), Ok(AcceptStep::Ask(ask)));
        acceptor.admit(now, credentials, received).expect("it asked");
        let message = acceptor.take_output();
        assert_eq!(message, bytes(&join["welcome"]), "{}", join["name"]);
        let step = initiator.receive(now, &message);
        assert_eq!(step, Ok(JoinStep::Joined { peer_received: received }));
        let message = initiator.take_output();
        assert_eq!(message, bytes(&join["confirm"]), "{}", join["name"]);
        let step = acceptor.receive(now, &message);
        assert_eq!(step, Ok(AcceptStep::Joined { leftover: vec![] }));
    }
}

#[test]
fn refusals_have_these_bytes() {
    let vectors = vectors();
    let now = Instant::now();
    let session = SessionId([0; 32]);
    let ask = Ask { version: 1, session, lane: LaneId(0), epoch: Epoch(1), received: 0 };
    for (code, expected) in vectors["refused"].as_object().expect("refusals") {
        let refusal = Refusal::from_code(code.parse().expect("a code")).expect("a code");
        let mut acceptor = JoinAcceptor::new([0; 32], JOIN_TIMEOUT, now);
        acceptor.refuse(refusal);
        let message = acceptor.take_output();
        assert_eq!(message, bytes(expected), "{refusal}");
        let credentials = credentials(&vectors);
        let config = JoinConfig { credentials, ask, nonce: [0; 32], timeout: JOIN_TIMEOUT };
        let error = JoinInitiator::new(config, now).receive(now, &message);
        assert_eq!(error, Err(FabricError::Refused(refusal)));
    }
}
