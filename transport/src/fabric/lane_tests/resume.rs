//! Lanes that change their connections.

use smallvec::smallvec;

use super::*;

/// Gives both connections up, with all that is under way, and makes new ones.
pub(super) fn reconnect(a: &mut End, b: &mut End) {
    let now = Instant::now();
    let to_a = a.lane.detach(Some(&mut a.receiver));
    let to_b = b.lane.detach(Some(&mut b.receiver));
    a.lane.attach(to_b, now).expect("a position");
    b.lane.attach(to_a, now).expect("a position");
}

#[test]
fn a_broken_connection_loses_and_repeats_nothing() {
    let (mut a, mut b) = pair();
    let now = Instant::now();
    a.lane.send_raw(A, B, b"first").expect("room");
    a.lane.send_raw(A, B, b"second").expect("room");
    // The socket takes half of the second frame, and all of that arrives.
    let bytes = a.write(29 + 12);
    assert_eq!(b.feed(&bytes), Ok(vec![raw(A, B, b"first")]));
    assert_eq!(b.receiver.unread().len(), 12);

    let position = b.lane.detach(Some(&mut b.receiver));
    assert_eq!((position, b.receiver.unread().len()), (29, 0));
    assert_eq!(a.lane.detach(Some(&mut a.receiver)), 0);
    a.lane.send_raw(A, B, b"third").expect("room");
    assert!(!a.lane.is_write_pending(), "there is nowhere to write");
    a.lane.attach(position, now).expect("a position");
    b.lane.attach(0, now).expect("a position");
    assert_eq!(transfer(&mut a, &mut b), [raw(A, B, b"second"), raw(A, B, b"third")]);
    assert_eq!(a.lane.replay_counters().replayed_bytes, 12);
    assert_eq!(a.lane.replay_counters().resumes, 1);
}

#[test]
fn acknowledged_bytes_are_kept_no_more() {
    let (mut a, mut b) = pair();
    a.lane.send_raw(A, B, b"first").expect("room");
    assert_eq!(transfer(&mut a, &mut b).len(), 1);
    assert_eq!(a.lane.replay_counters().retained_bytes, 29);
    assert!(b.lane.acknowledge());
    assert_eq!(transfer(&mut b, &mut a), []);
    assert_eq!(a.lane.replay_counters().retained_bytes, 0);
    assert!(!b.lane.acknowledge(), "there is nothing new to state");

    // What is acknowledged cannot be asked for again, nor what was never sent.
    for stated in [28, 30] {
        a.lane.detach(None);
        let error = LaneError::Acknowledged { stated, from: 29, to: 29 };
        assert_eq!(a.lane.attach(stated, Instant::now()), Err(error));
    }
    a.lane.attach(29, Instant::now()).expect("a position");
}

#[test]
fn fragments_go_on_where_they_stopped() {
    let (mut a, mut b) = pair();
    let large = (0..400_000_u32).map(|i| (i % 251) as u8).collect::<Vec<_>>();
    let chunks = smallvec![Bytes::from(large.clone())];
    a.lane.send_message(A, B, chunks, Form::Raw).expect("room");
    a.lane.send_raw(A, B, b"behind").expect("room");
    a.lane.send_raw(C, B, b"beside").expect("room");
    let mut got = Vec::new();
    let mut parts_before = 0;
    while a.lane.is_write_pending() {
        let written = a.write(100_001);
        // Of what the socket took, the end never arrives, unless it is little.
        let lost = if written.len() > 100_000 { written.len() / 4 } else { 0 };
        let arrived = &written[..written.len() - lost];
        got.extend(b.feed(arrived).expect("valid"));
        let (_, unfinished) = b.lane.unfinished_messages();
        reconnect(&mut a, &mut b);
        assert_eq!(b.lane.unfinished_messages().1, unfinished, "parts survive");
        parts_before += usize::from(unfinished > 0);
    }
    assert!(parts_before > 3);
    let expected = [raw(C, B, b"beside"), raw(A, B, &large), raw(A, B, b"behind")];
    assert_eq!(got, expected);
}

#[test]
fn acknowledgements_and_ticks_are_not_replayed() {
    let (mut a, mut b) = pair();
    a.lane.send_raw(A, B, b"first").expect("room");
    assert_eq!(transfer(&mut a, &mut b).len(), 1);
    b.lane.send_raw(B, A, b"answer").expect("room");
    assert!(b.lane.acknowledge());
    assert_eq!(b.lane.tick(b.lane.tick_due()), TickAction::None);
    assert_eq!(b.lane.auxiliary_tick(), TickAction::None, "there is something to write");
    // An acknowledgement in two pieces, of which one is lost.
    let bytes = b.write(30 + 10);
    assert_eq!(a.feed(&bytes), Ok(vec![raw(B, A, b"answer")]));
    reconnect(&mut a, &mut b);
    assert!(!b.lane.is_write_pending());
    assert_eq!(a.lane.replay_counters().retained_bytes, 0, "the resume acknowledges, too");
    assert_eq!(b.lane.replay_counters().retained_bytes, 0);
}

#[test]
fn a_frame_with_a_wrong_checksum_was_not_received() {
    let (mut a, mut b) = pair_with(|config| config.checksum = true);
    a.lane.send_raw(A, B, b"first").expect("room");
    a.lane.send_raw(A, B, b"second").expect("room");
    a.lane.send_raw(A, B, b"third").expect("room");
    let mut bytes = a.write(usize::MAX);
    bytes[33 + 30] ^= 1;
    b.receiver.spare()[..bytes.len()].copy_from_slice(&bytes);
    b.receiver.commit(bytes.len());
    let mut got = Vec::new();
    let error = b.take(&mut got).expect_err("a wrong checksum");
    assert_eq!(error, LaneError::Checksum { position: 33 });
    assert!(error.is_resumable());
    reconnect(&mut a, &mut b);
    got.extend(transfer(&mut a, &mut b));
    assert_eq!(got, [raw(A, B, b"first"), raw(A, B, b"second"), raw(A, B, b"third")]);
}

#[test]
fn a_peer_may_have_more_than_its_last_join_said() {
    let (mut a, mut b) = pair();
    let now = Instant::now();
    a.lane.detach(None);
    b.lane.detach(None);
    // A socket that a writes to and gives up, while what it brings is on its way.
    a.lane.attach(0, now).expect("a position");
    a.lane.send_raw(A, B, b"first").expect("room");
    let bytes = a.write(usize::MAX);
    a.lane.detach(None);
    // Another, for which b has said that it received nothing. It is never used.
    a.lane.attach(0, now).expect("a position");
    a.lane.send_raw(A, B, b"second").expect("room");
    b.lane.attach(0, now).expect("a position");
    assert_eq!(b.feed(&bytes), Ok(vec![raw(A, B, b"first")]));
    a.lane.detach(None);
    let position = b.lane.detach(Some(&mut b.receiver));
    a.lane.attach(position, now).expect("what b has was written");
    b.lane.attach(a.lane.received_position(), now).expect("a position");
    assert_eq!(transfer(&mut a, &mut b), [raw(A, B, b"second")]);
    // What was never written nobody can have.
    let position = b.lane.received_position() + 1;
    a.lane.detach(None);
    let refused = a.lane.attach(position, now);
    assert!(matches!(refused, Err(LaneError::Acknowledged { stated, .. }) if stated == position));
}

#[test]
fn over_what_replaces_a_silent_connection_any_byte_is_life_until_a_frame_is_complete() {
    let tick = TickConfig::new(Duration::from_secs(8), 4);
    let (mut a, mut b) = pair_with(|config| {
        config.checksum = true;
        config.tick = tick;
    });
    // Brings `b` one byte of `bytes` in each interval; how long until it is given up, if it is.
    let trickle = |b: &mut End, bytes: &[u8], intervals: u32| {
        let start = b.lane.tick_due();
        (0..intervals).find_map(|interval| {
            let byte = bytes.get(interval as usize).copied();
            assert_eq!(b.feed(byte.as_slice()), Ok(vec![]));
            let now = b.lane.tick_due();
            let action = b.lane.tick(now);
            b.write(usize::MAX);
            (action == TickAction::Dead).then(|| now - start)
        })
    };
    a.lane.send_raw(A, B, &[7; 100]).expect("room");
    let frame = a.write(usize::MAX);
    let given_up = trickle(&mut b, &frame, 20).expect("bytes that make no frame are no life");
    assert!(given_up <= tick.ticktime() / 2 + tick.interval(), "{given_up:?}");
    // The network is slow: it had been no frame for want of time.
    reconnect(&mut a, &mut b);
    let frame = a.write(usize::MAX);
    assert_eq!(trickle(&mut b, &frame, 12), None);
    assert_eq!(b.feed(&frame[12..]).map(|got| got.len()), Ok(1));
    // A frame was complete, and is what counts again.
    a.lane.send_raw(A, B, &[7; 100]).expect("room");
    let frame = a.write(usize::MAX);
    assert!(trickle(&mut b, &frame, 20).is_some());
    // One that brings nothing at all is given up as early as ever.
    reconnect(&mut a, &mut b);
    let given_up = trickle(&mut b, &[], 20).expect("it is silent");
    assert!(given_up <= tick.ticktime() / 2 + tick.interval(), "{given_up:?}");
}
