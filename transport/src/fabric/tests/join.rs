//! Joins, their proofs, and those who try without.

use super::*;

const SESSION: SessionId = SessionId([0x5e; 32]);

fn ask() -> Ask {
    Ask { version: 1, session: SESSION, lane: LaneId(3), epoch: Epoch(7), received: 1 << 40 }
}

fn config() -> JoinConfig {
    let (credentials, nonce) = (credentials(), [1; 32]);
    JoinConfig { credentials, ask: ask(), nonce, timeout: JOIN_TIMEOUT }
}

fn initiator(now: Instant) -> JoinInitiator {
    JoinInitiator::new(config(), now)
}

fn acceptor(now: Instant) -> JoinAcceptor {
    JoinAcceptor::new([2; 32], JOIN_TIMEOUT, now)
}

/// Both sides with the welcome on its way.
fn admitted(credentials: Credentials, now: Instant) -> (JoinInitiator, JoinAcceptor) {
    let (mut initiator, mut acceptor) = (initiator(now), acceptor(now));
    let join = initiator.take_output();
    assert_eq!(is_join(&join), Some(true));
    assert_eq!(acceptor.receive(now, &join), Ok(AcceptStep::Ask(ask())));
    acceptor.admit(now, credentials, 99).expect("it asked");
    (initiator, acceptor)
}

#[test]
fn two_machines_join() {
    let now = Instant::now();
    let (mut initiator, mut acceptor) = admitted(credentials(), now);
    let step = initiator.receive(now, &acceptor.take_output());
    assert_eq!(step, Ok(JoinStep::Joined { peer_received: 99 }));
    let mut confirm = initiator.take_output();
    confirm.extend_from_slice(b"a frame");
    let leftover = b"a frame".to_vec();
    assert_eq!(acceptor.receive(now, &confirm), Ok(AcceptStep::Joined { leftover }));
    assert!(acceptor.take_output().is_empty() && initiator.take_output().is_empty());
}

#[test]
fn bytes_may_come_in_any_pieces() {
    let now = Instant::now();
    let (mut initiator, mut acceptor) = (initiator(now), acceptor(now));
    trickle(initiator.take_output(), |b| acceptor.receive(now, b) != Ok(AcceptStep::Continue));
    acceptor.admit(now, credentials(), 5).expect("it asked");
    trickle(acceptor.take_output(), |b| initiator.receive(now, b) != Ok(JoinStep::Continue));
    trickle(initiator.take_output(), |b| acceptor.receive(now, b) != Ok(AcceptStep::Continue));
}

/// Gives `bytes` one by one; only the last may lead to a step.
fn trickle(bytes: Vec<u8>, mut steps: impl FnMut(&[u8]) -> bool) {
    let first = bytes.iter().position(|byte| steps(&[*byte]));
    assert_eq!(first, Some(bytes.len() - 1));
}

#[test]
fn whoever_differs_in_anything_cannot_join() {
    let now = Instant::now();
    let good = credentials();
    let node = |name: &str| crate::handshake::NodeName::parse(name).expect("a good name");
    let others = [
        Credentials { cookie: Cookie::new("gold").expect("a good cookie"), ..good.clone() },
        Credentials { initiator: (node("c@127.0.0.1"), good.initiator.1), ..good.clone() },
        Credentials { initiator: (good.initiator.0.clone(), Creation(1)), ..good.clone() },
        Credentials { acceptor: (node("c@127.0.0.1"), good.acceptor.1), ..good.clone() },
        Credentials { acceptor: (good.acceptor.0.clone(), Creation(1)), ..good.clone() },
        Credentials { flags: Flags::ours(true), ..good.clone() },
        Credentials { initiator: good.acceptor.clone(), acceptor: good.initiator.clone(), ..good },
    ];
    for other in others {
        let (mut initiator, mut acceptor) = admitted(other.clone(), now);
        let error = initiator.receive(now, &acceptor.take_output()).expect_err("another");
        assert_eq!(error, FabricError::NotAuthentic, "{other:?}");
        assert_eq!(initiator.take_output(), b"", "no proof for those who have none");
    }
}

#[test]
fn no_bit_of_a_join_can_be_changed() {
    let now = Instant::now();
    // The mark, the number and the version decide how it is read at all.
    for bit in 8 * 5..8 * 82 {
        let (mut initiator, mut acceptor) = (initiator(now), acceptor(now));
        let mut join = initiator.take_output();
        join[bit / 8] ^= 1 << (bit % 8);
        let step = acceptor.receive(now, &join);
        assert!(matches!(step, Ok(AcceptStep::Ask(_))), "bit {bit}: {step:?}");
        acceptor.admit(now, credentials(), 99).expect("it asked");
        let error = initiator.receive(now, &acceptor.take_output()).expect_err("changed");
        assert_eq!(error, FabricError::NotAuthentic, "bit {bit}");
    }
    for bit in 8 * 4..8 * 76 {
        let (mut initiator, mut acceptor) = admitted(credentials(), now);
        let mut welcome = acceptor.take_output();
        welcome[bit / 8] ^= 1 << (bit % 8);
        let error = initiator.receive(now, &welcome).expect_err("changed");
        assert_eq!(error, FabricError::NotAuthentic, "bit {bit}");
    }
    for bit in 8 * 4..8 * 36 {
        let (mut initiator, mut acceptor) = admitted(credentials(), now);
        initiator.receive(now, &acceptor.take_output()).expect("a good welcome");
        let mut confirm = initiator.take_output();
        confirm[bit / 8] ^= 1 << (bit % 8);
        let error = acceptor.receive(now, &confirm).expect_err("changed");
        assert_eq!(error, FabricError::NotAuthentic, "bit {bit}");
    }
}

#[test]
fn nothing_recorded_can_be_played_again() {
    let now = Instant::now();
    let (mut first, mut acceptor) = admitted(credentials(), now);
    let welcome = acceptor.take_output();
    first.receive(now, &welcome).expect("a good welcome");
    let confirm = first.take_output();
    // Another acceptor's nonce is another.
    let mut second = JoinAcceptor::new([3; 32], JOIN_TIMEOUT, now);
    second.receive(now, &initiator(now).take_output()).expect("a good join");
    second.admit(now, credentials(), 99).expect("it asked");
    assert_eq!(second.receive(now, &confirm), Err(FabricError::NotAuthentic));
    // Another initiator's too.
    let mut again = JoinInitiator::new(JoinConfig { nonce: [4; 32], ..config() }, now);
    assert_eq!(again.receive(now, &welcome), Err(FabricError::NotAuthentic));
}

#[test]
fn our_own_nonce_is_not_taken_back() {
    let now = Instant::now();
    let join = initiator(now).take_output();
    let mut mirror = JoinAcceptor::new([1; 32], JOIN_TIMEOUT, now);
    assert_eq!(mirror.receive(now, &join), Err(FabricError::ReflectedNonce));
    let mut again = initiator(now);
    let mut mirrored = framed_narrow(&[&b"K\x05"[..], &[1; 32], &[0; 40]].concat());
    assert_eq!(again.receive(now, &mirrored), Err(FabricError::ReflectedNonce));
    // The acceptor's own proof is none of the initiator's.
    let (mut initiator, mut acceptor) = admitted(credentials(), now);
    let welcome = acceptor.take_output();
    initiator.receive(now, &welcome).expect("a good welcome");
    mirrored = framed_narrow(&[&b"K\x06"[..], &welcome[44..]].concat());
    assert_eq!(acceptor.receive(now, &mirrored), Err(FabricError::NotAuthentic));
}

#[test]
fn refusals_arrive_as_what_they_are() {
    let now = Instant::now();
    for code in 1..=6 {
        let refusal = Refusal::from_code(code).expect("a code");
        assert_eq!(refusal.code(), code);
        let (mut initiator, mut acceptor) = (initiator(now), acceptor(now));
        acceptor.receive(now, &initiator.take_output()).expect("a good join");
        acceptor.refuse(refusal);
        let said = acceptor.take_output();
        assert_eq!(said, [0, 3, b'K', 7, code]);
        assert_eq!(initiator.receive(now, &said), Err(FabricError::Refused(refusal)));
    }
    assert_eq!((Refusal::from_code(0), Refusal::from_code(7)), (None, None));
    let error = initiator(now).receive(now, b"\0\x03K\x07\x09").expect_err("no such code");
    assert!(matches!(error, FabricError::Message { .. }));
}

#[test]
fn another_version_is_refused_whatever_follows() {
    let now = Instant::now();
    let mut acceptor = acceptor(now);
    let join = framed_narrow(&[&b"K\x04\x02"[..], &[0; 200]].concat());
    let error = acceptor.receive(now, &join).expect_err("version 2");
    assert!(matches!(error, FabricError::Message { .. }));
    assert_eq!(acceptor.take_output(), b"\0\x03K\x07\x05");
}

#[test]
fn bytes_before_their_turn_end_it() {
    let now = Instant::now();
    let mut join = initiator(now).take_output();
    let mut waiting = acceptor(now);
    waiting.receive(now, &join).expect("a good join");
    assert_eq!(waiting.receive(now, b"\0"), Err(FabricError::EarlyBytes));
    join.push(0);
    assert_eq!(acceptor(now).receive(now, &join), Err(FabricError::EarlyBytes));
    let (mut initiator, mut acceptor) = admitted(credentials(), now);
    let mut welcome = acceptor.take_output();
    welcome.push(0);
    assert_eq!(initiator.receive(now, &welcome), Err(FabricError::EarlyBytes));
}

#[test]
fn lengths_are_exact_and_limited() {
    let now = Instant::now();
    let mut join = initiator(now).take_output().split_off(2);
    for body in [&join[..79], &join[..0], &join[..2]] {
        let error = acceptor(now).receive(now, &framed_narrow(body)).expect_err("too short");
        assert!(matches!(error, FabricError::Message { .. }), "{error:?}");
    }
    join.push(0);
    acceptor(now).receive(now, &framed_narrow(&join)).expect_err("too long");
    acceptor(now).receive(now, &257u16.to_be_bytes()).expect_err("much too long");
    initiator(now).receive(now, &129u16.to_be_bytes()).expect_err("much too long");
}

#[test]
fn silence_ends_it() {
    let now = Instant::now();
    let (mut initiator, mut acceptor) = admitted(credentials(), now);
    assert_eq!(initiator.deadline(), now + JOIN_TIMEOUT);
    let late = now + JOIN_TIMEOUT;
    let timeout = |expected| FabricError::Timeout { expected, limit: JOIN_TIMEOUT };
    assert_eq!(initiator.expire(late), Err(timeout(FabricMessage::Welcome)));
    assert_eq!(acceptor.receive(late, b"\0"), Err(timeout(FabricMessage::Confirm)));
    assert_eq!(acceptor.closed(), FabricError::Closed { expected: FabricMessage::Confirm });
}

#[test]
fn a_join_begins_unlike_a_handshake() {
    assert_eq!(is_join(b"\0\x50"), None);
    assert_eq!(is_join(b"\0\x50K"), Some(true));
    assert_eq!(is_join(b"\0\x50N"), Some(false));
    assert_eq!(is_join(b"\0\x50n"), Some(false));
}

#[test]
fn proofs_are_not_printed() {
    let now = Instant::now();
    let (_, acceptor) = admitted(credentials(), now);
    let shown = format!("{acceptor:?} {:?}", credentials());
    assert!(!shown.contains("goldcookie") && shown.contains("Cookie(hidden)"), "{shown}");
}
