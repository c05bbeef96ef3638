//! The talk on the first link.

use super::*;

fn settling(role: Role, hello: Hello, now: Instant) -> Settling {
    Settling::new(role, hello, SettleTimeouts::default(), now)
}

/// Both sides past their hellos; lanes are to be joined.
fn agreed(a: Hello, b: Hello, now: Instant) -> (Settling, Settling, Agreement) {
    let mut initiator = settling(Role::Initiator, a, now);
    let mut acceptor = settling(Role::Acceptor, b, now);
    assert_eq!(acceptor.take_output(), b"", "the acceptor's hello is an answer");
    let step = acceptor.receive(now, &initiator.take_output()).expect("a good hello");
    let SettleStep::Agreed(there) = step else { panic!("{step:?}") };
    let step = initiator.receive(now, &acceptor.take_output()).expect("a good hello");
    let SettleStep::Agreed(here) = step else { panic!("{step:?}") };
    assert_eq!(here.session, there.session);
    (initiator, acceptor, *here)
}

fn ask(agreement: &Agreement, lane: u8) -> Ask {
    let Agreement { version, session, .. } = *agreement;
    Ask { version, session, lane: LaneId(lane), epoch: Epoch(1), received: 0 }
}

fn join(side: &mut Settling, now: Instant, lane: u8) -> SettleStep {
    side.joined(now, LaneId(lane)).expect("no lane is lost").expect("in time")
}

fn settled(step: SettleStep) -> Settled {
    match step {
        SettleStep::Settled(settled) => *settled,
        step => panic!("{step:?}"),
    }
}

fn numbers(lanes: LaneSet) -> Vec<u8> {
    lanes.iter().map(|lane| lane.0).collect()
}

#[test]
fn lanes_over_tcp_leave_lane_0_on_the_first_link() {
    let now = Instant::now();
    let (mut initiator, mut acceptor, agreement) = agreed(tcp_hello(1), tcp_hello(2), now);
    for lane in 1..4 {
        assert_eq!(initiator.take_output(), b"", "the list waits for the last lane");
        acceptor.ask(&ask(&agreement, lane)).expect("expected");
        assert_eq!(join(&mut initiator, now, lane), SettleStep::Continue);
        assert_eq!(join(&mut acceptor, now, lane), SettleStep::Continue);
    }
    let list = initiator.take_output();
    assert_eq!(list, b"\0\0\0\x06K\x02\x03\x01\x02\x03");
    let there = settled(acceptor.receive(now, &list).expect("a good list"));
    let mut answer = acceptor.take_output();
    assert_eq!(answer, b"\0\0\0\x02K\x03");
    answer.extend_from_slice(b"a frame");
    let here = settled(initiator.receive(now, &answer).expect("a good answer"));
    assert_eq!(numbers(here.lanes), [0, 1, 2, 3]);
    assert_eq!(here.lanes, there.lanes);
    assert!(here.lane0_on_first_link && there.lane0_on_first_link);
    assert_eq!(here.leftover, b"a frame");
    assert!(initiator.is_over() && acceptor.is_over());
}

#[test]
fn lanes_on_one_host_take_lane_0_along() {
    let now = Instant::now();
    let (mut initiator, mut acceptor, _) = agreed(unix_hello(1), unix_hello(2), now);
    for lane in 0..4 {
        join(&mut initiator, now, lane);
    }
    // The list overtakes the proofs of the lanes.
    let step = acceptor.receive(now, &initiator.take_output()).expect("a good list");
    assert_eq!(step, SettleStep::Continue);
    for lane in 1..4 {
        assert_eq!(join(&mut acceptor, now, lane), SettleStep::Continue);
    }
    let there = settled(join(&mut acceptor, now, 0));
    let here = settled(initiator.receive(now, &acceptor.take_output()).expect("a good answer"));
    assert!(!here.lane0_on_first_link && !there.lane0_on_first_link);
    assert_eq!(numbers(there.lanes), [0, 1, 2, 3]);
}

#[test]
fn lanes_that_fail_or_are_late_are_left_out() {
    let now = Instant::now();
    let (mut initiator, mut acceptor, agreement) = agreed(unix_hello(1), unix_hello(2), now);
    assert_eq!(initiator.deadline(), now + SECOND);
    join(&mut initiator, now, 1);
    join(&mut acceptor, now, 1);
    join(&mut acceptor, now, 3);
    initiator.failed(now, LaneId(0)).expect("lanes may fail");
    initiator.failed(now, LaneId(2)).expect("lanes may fail");
    assert_eq!(initiator.take_output(), b"");
    let step = initiator.expire(now + SECOND).expect("lanes may be late");
    assert_eq!(step, SettleStep::Continue);
    assert_eq!(initiator.joined(now + SECOND, LaneId(3)), Ok(None), "too late");
    let there = settled(acceptor.receive(now, &initiator.take_output()).expect("a good list"));
    let here = settled(initiator.receive(now, &acceptor.take_output()).expect("a good answer"));
    assert_eq!((here.lanes, here.lane0_on_first_link), (there.lanes, there.lane0_on_first_link));
    assert_eq!((numbers(here.lanes), here.lane0_on_first_link), (vec![0, 1], true));
    assert_eq!(acceptor.ask(&ask(&agreement, 3)), Err(Refusal::UnknownSession));
}

#[test]
fn with_one_lane_the_hellos_are_all() {
    let now = Instant::now();
    let lone = |half| Hello { shards: 1, ..tcp_hello(half) };
    let mut initiator = settling(Role::Initiator, lone(1), now);
    let mut acceptor = settling(Role::Acceptor, lone(2), now);
    let there = settled(acceptor.receive(now, &initiator.take_output()).expect("a good hello"));
    let mut bytes = acceptor.take_output();
    bytes.extend_from_slice(b"a frame");
    let here = settled(initiator.receive(now, &bytes).expect("a good hello"));
    assert_eq!(here.leftover, b"a frame");
    assert_eq!((numbers(here.lanes), here.lane0_on_first_link), (vec![0], true));
    assert_eq!((numbers(there.lanes), there.leftover), (vec![0], vec![]));
}

#[test]
fn without_a_common_version_it_goes_on_as_with_otp() {
    let now = Instant::now();
    let later = Hello { versions: 2..=2, ..tcp_hello(2) };
    let mut initiator = settling(Role::Initiator, tcp_hello(1), now);
    let mut acceptor = settling(Role::Acceptor, later, now);
    let step = acceptor.receive(now, &initiator.take_output()).expect("a good hello");
    assert_eq!(step, SettleStep::Plain { leftover: vec![] });
    let mut bytes = acceptor.take_output();
    bytes.extend_from_slice(b"\0\0\0\0");
    let step = initiator.receive(now, &bytes).expect("a good hello");
    assert_eq!(step, SettleStep::Plain { leftover: b"\0\0\0\0".to_vec() });
}

#[test]
fn joins_are_let_in_as_agreed() {
    let now = Instant::now();
    let (_, mut acceptor, agreement) = agreed(tcp_hello(1), tcp_hello(2), now);
    assert_eq!(acceptor.ask(&ask(&agreement, 1)), Ok(()));
    assert_eq!(acceptor.ask(&ask(&agreement, 0)), Err(Refusal::UnknownLane));
    assert_eq!(acceptor.ask(&ask(&agreement, 4)), Err(Refusal::UnknownLane));
    let other = Ask { session: SessionId([9; 32]), ..ask(&agreement, 1) };
    assert_eq!(acceptor.ask(&other), Err(Refusal::UnknownSession));
    let later = Ask { version: 2, ..ask(&agreement, 1) };
    assert_eq!(acceptor.ask(&later), Err(Refusal::Version));
    let resumed = Ask { epoch: Epoch(2), ..ask(&agreement, 1) };
    assert_eq!(acceptor.ask(&resumed), Err(Refusal::StaleEpoch));
    let advanced = Ask { received: 1, ..ask(&agreement, 1) };
    assert_eq!(acceptor.ask(&advanced), Err(Refusal::StaleEpoch));
    join(&mut acceptor, now, 1);
    assert_eq!(acceptor.ask(&ask(&agreement, 1)), Err(Refusal::StaleEpoch));
    assert_eq!(acceptor.joined(now, LaneId(1)), Ok(None), "once is enough");
    assert_eq!(acceptor.joined(now, LaneId(7)), Ok(None), "not agreed on");
}

#[test]
fn a_lane_that_only_the_initiator_has_ends_it() {
    let now = Instant::now();
    let (mut initiator, mut acceptor, _) = agreed(tcp_hello(1), tcp_hello(2), now);
    acceptor.failed(now, LaneId(2)).expect("the list may not have it");
    for lane in 1..4 {
        join(&mut initiator, now, lane);
    }
    let error = acceptor.receive(now, &initiator.take_output()).expect_err("lane 2 is lost");
    assert_eq!(error, FabricError::LaneLost { lane: 2 });

    let (mut initiator, mut acceptor, _) = agreed(tcp_hello(1), tcp_hello(2), now);
    for lane in 1..4 {
        join(&mut initiator, now, lane);
    }
    acceptor.receive(now, &initiator.take_output()).expect("a good list");
    assert_eq!(acceptor.failed(now, LaneId(3)), Err(FabricError::LaneLost { lane: 3 }));
    assert!(acceptor.is_over());
}

#[test]
fn bytes_may_come_in_any_pieces() {
    let now = Instant::now();
    let mut initiator = settling(Role::Initiator, unix_hello(1), now);
    let mut acceptor = settling(Role::Acceptor, unix_hello(2), now);
    let hello = initiator.take_output();
    let (last, first) = hello.split_last().expect("a hello");
    for byte in first {
        assert_eq!(acceptor.receive(now, &[*byte]), Ok(SettleStep::Continue));
    }
    let step = acceptor.receive(now, &[*last]).expect("a good hello");
    assert!(matches!(step, SettleStep::Agreed(_)));
}

#[test]
fn silence_ends_it() {
    let now = Instant::now();
    let limit = SettleTimeouts::default().message;
    let timeout = |expected| FabricError::Timeout { expected, limit };
    for role in [Role::Initiator, Role::Acceptor] {
        let mut side = settling(role, tcp_hello(1), now);
        assert_eq!(side.deadline(), now + limit);
        assert_eq!(side.expire(now + limit - SECOND), Ok(SettleStep::Continue));
        assert_eq!(side.receive(now + limit, b"\0"), Err(timeout(FabricMessage::Hello)));
    }
    let (mut initiator, mut acceptor, _) = agreed(tcp_hello(1), tcp_hello(2), now);
    let error = acceptor.expire(acceptor.deadline()).expect_err("no list came");
    assert_eq!(error, timeout(FabricMessage::Lanes));
    initiator.expire(now + SECOND).expect("lanes may be late");
    let error = initiator.expire(initiator.deadline()).expect_err("no answer came");
    assert_eq!(error, timeout(FabricMessage::LanesOk));
    assert_eq!(error.fault(), crate::handshake::Fault::Network);
}

#[test]
fn a_closed_link_says_what_it_lacks() {
    let now = Instant::now();
    let (mut initiator, mut acceptor, _) = agreed(tcp_hello(1), tcp_hello(2), now);
    assert_eq!(acceptor.closed(), FabricError::Closed { expected: FabricMessage::Lanes });
    assert_eq!(initiator.closed(), FabricError::Closed { expected: FabricMessage::Welcome });
    let mut fresh = settling(Role::Initiator, tcp_hello(1), now);
    assert_eq!(fresh.closed(), FabricError::Closed { expected: FabricMessage::Hello });
}

#[test]
fn bytes_before_their_turn_end_it() {
    let now = Instant::now();
    let (mut initiator, _, _) = agreed(tcp_hello(1), tcp_hello(2), now);
    assert_eq!(initiator.receive(now, b"\0"), Err(FabricError::EarlyBytes));

    let (mut initiator, _, _) = agreed(tcp_hello(1), tcp_hello(2), now);
    let answer = framed_wide(b"K\x03");
    assert_eq!(initiator.receive(now + SECOND, &answer), Err(FabricError::EarlyBytes));

    let (_, mut acceptor, _) = agreed(tcp_hello(1), tcp_hello(2), now);
    let list = [framed_wide(b"K\x02\x00"), b"frame".to_vec()].concat();
    assert_eq!(acceptor.receive(now, &list), Err(FabricError::EarlyBytes));

    let mut acceptor = settling(Role::Acceptor, tcp_hello(2), now);
    let mut hello = settling(Role::Initiator, tcp_hello(1), now).take_output();
    hello.push(0);
    assert_eq!(acceptor.receive(now, &hello), Err(FabricError::EarlyBytes));
}

#[test]
fn what_is_no_such_message_ends_it() {
    let now = Instant::now();
    let bodies: [&[u8]; 6] = [b"", b"K", b"K\x02", b"\x83D\0", b"p\x83h\x02", &[b'K'; 1024]];
    for body in bodies {
        let mut acceptor = settling(Role::Acceptor, tcp_hello(2), now);
        let error = acceptor.receive(now, &framed_wide(body)).expect_err("no hello");
        assert!(matches!(error, FabricError::Message { .. }), "{error:?}");
        assert_eq!(acceptor.take_output(), b"");
    }
    let mut acceptor = settling(Role::Acceptor, tcp_hello(2), now);
    let error = acceptor.receive(now, &1025u32.to_be_bytes()).expect_err("too long");
    let too_long = MalformedMessage::TooLong { length_bytes: 1025, limit_bytes: HELLO_BYTES_MAX };
    assert_eq!(error, FabricError::Message { expected: FabricMessage::Hello, error: too_long });

    let lists: [&[u8]; 6] = [
        b"K\x02\x01",
        b"K\x02\x01\x00",
        b"K\x02\x01\x04",
        b"K\x02\x02\x01\x01",
        b"K\x02\x01\x01\x02",
        b"K\x02\xff",
    ];
    for body in lists {
        let (_, mut acceptor, _) = agreed(tcp_hello(1), tcp_hello(2), now);
        let error = acceptor.receive(now, &framed_wide(body)).expect_err("no such list");
        assert!(matches!(error, FabricError::Message { .. }), "{body:?}");
    }
}

#[test]
fn our_own_hello_is_not_taken_back() {
    let now = Instant::now();
    let mut initiator = settling(Role::Initiator, tcp_hello(1), now);
    let hello = initiator.take_output();
    assert_eq!(initiator.receive(now, &hello), Err(FabricError::ReflectedNonce));
}
