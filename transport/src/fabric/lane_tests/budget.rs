//! What a lane accepts, keeps and tells about itself.

use smallvec::smallvec;

use super::*;
use crate::link::Busy;

fn monitor(lane: &Lane) -> Control {
    let node = Atom::from_static("a@127.0.0.1");
    let reference = crate::term::Reference::new(node, Creation(7), &[1]).expect("one word");
    let to = crate::dist::ProcessOrName::Process(lane.peer_pid(B));
    Control::Monitor { from: lane.local_pid(A), to, reference }
}

#[test]
fn a_full_outbox_refuses_messages_and_has_a_reserve_for_signals() {
    let (mut a, mut b) = pair_with(|config| {
        config.limits.outbox_bytes_max = 10_000;
        config.limits.outbox_bytes_low = 4_000;
        config.limits.outbox_reserve_bytes = 5_000;
    });
    while a.lane.check_room().is_ok() {
        a.lane.send_raw(A, B, &[0; 100]).expect("room");
    }
    let queued = a.lane.queued_bytes();
    assert!((10_000..10_124).contains(&queued));
    let busy = Busy { queued, limit: 10_000 };
    assert_eq!(a.lane.send_raw(A, B, b"more"), Err(SendError::Busy(busy)));
    let name = Atom::from_static("echo");
    let none = smallvec![Bytes::new()];
    assert_eq!(a.lane.send_named(A, &name, none, Form::Raw), Err(SendError::Busy(busy)));
    let control = monitor(&a.lane);
    while a.lane.queued_bytes() < 15_000 {
        a.lane.send_signal(SenderKey::NODE, &control, None).expect("the reserve");
    }
    let busy = Busy { queued: a.lane.queued_bytes(), limit: 15_000 };
    let refused = a.lane.send_signal(SenderKey::NODE, &control, None);
    assert_eq!(refused, Err(SendError::Busy(busy)));
    assert_eq!(a.lane.hold(A, B, None), Err(busy));
    a.lane.bye(&Atom::from_static("shutdown"));

    assert!(!a.lane.take_room_event());
    let mut got = Vec::new();
    while !a.lane.take_room_event() {
        assert!(!a.lane.has_room());
        let bytes = a.write(1_000);
        got.extend(b.feed(&bytes).expect("valid"));
    }
    assert!(a.lane.queued_bytes() <= 4_000);
    assert!(!a.lane.take_room_event(), "it is told once");
    got.extend(transfer(&mut a, &mut b));
    assert_eq!(got.last(), Some(&Got::Bye(Atom::from_static("shutdown"))));
}

#[test]
fn messages_wait_for_a_peer_that_does_not_acknowledge() {
    let (mut a, mut b) = pair_with(|config| {
        config.limits.replay_bytes_max = 100_000;
        config.limits.ack_bytes = usize::MAX;
    });
    let mut sent = 0;
    while a.lane.send_raw(A, B, &[0; 1000]).is_ok() {
        sent += 1;
        assert_eq!(transfer(&mut a, &mut b).len(), 1);
    }
    assert_eq!(sent, 98, "of 1024 bytes each");
    assert_eq!(a.lane.waiting_bytes(), 0, "everything is written");
    let busy = Busy { queued: 98 * 1024, limit: 100_000 };
    assert_eq!(a.lane.send_raw(A, B, b"more"), Err(SendError::Busy(busy)));
    a.lane.send_signal(SenderKey::NODE, &monitor(&a.lane), None).expect("the reserve");
    assert_eq!(transfer(&mut a, &mut b).len(), 1);
    assert!(!a.lane.has_room());
    b.lane.acknowledge();
    transfer(&mut b, &mut a);
    assert!(a.lane.take_room_event());
    a.lane.send_raw(A, B, b"more").expect("room");
}

#[test]
fn fragments_wait_for_a_peer_that_does_not_acknowledge() {
    let (mut a, mut b) = pair_with(|config| {
        config.limits.replay_bytes_max = 100_000;
        config.limits.ack_bytes = usize::MAX;
    });
    let bytes = Bytes::from(vec![7; 500_000]);
    a.lane.send_message(A, B, smallvec![bytes.clone()], Form::Raw).expect("room");
    let mut got = Vec::new();
    for _ in 0..4 {
        assert_eq!(got, []);
        assert!(a.lane.is_write_pending());
        got.extend(transfer(&mut a, &mut b));
        assert!(a.lane.replay_counters().retained_bytes < 100_000 + 65_560);
        b.lane.acknowledge();
        transfer(&mut b, &mut a);
    }
    assert_eq!(got, [raw(A, B, &bytes)]);
}

#[test]
fn acknowledgements_come_when_due_and_ride_along() {
    let (mut a, mut b) = pair();
    let due = LaneLimits::DEFAULT.ack_bytes as u64;
    while b.lane.received_position() + 1_024 < due {
        a.lane.send_raw(A, B, &[0; 1000]).expect("room");
        transfer(&mut a, &mut b);
        assert!(!b.lane.is_write_pending());
    }
    a.lane.send_raw(A, B, &[0; 1000]).expect("room");
    transfer(&mut a, &mut b);
    assert!(b.lane.is_write_pending(), "so much must be acknowledged");
    transfer(&mut b, &mut a);
    assert_eq!(a.lane.replay_counters().retained_bytes, 0);

    for _ in 0..40 {
        a.lane.send_raw(A, B, &[0; 1000]).expect("room");
        transfer(&mut a, &mut b);
    }
    assert!(!b.lane.is_write_pending());
    b.lane.send_raw(B, A, b"answer").expect("room");
    assert_eq!(transfer(&mut b, &mut a).len(), 1);
    assert_eq!(a.lane.replay_counters().retained_bytes, 0, "the answer took it along");
}

#[test]
fn a_silent_lane_ticks_and_a_dead_one_is_found_in_half_the_time() {
    let tick = TickConfig::new(Duration::from_secs(8), 4);
    let (mut a, mut b) = pair_with(|config| config.tick = tick);
    let start = a.lane.tick_due() - Duration::from_secs(1);
    a.lane.set_tick_config(tick, start);
    b.lane.set_tick_config(tick, start);
    for second in 1..20 {
        let now = start + Duration::from_secs(second);
        assert_eq!(a.lane.tick(now), TickAction::Send);
        assert_eq!(b.lane.tick(now), TickAction::Send);
        assert_eq!(transfer(&mut a, &mut b), []);
        assert_eq!(transfer(&mut b, &mut a), []);
    }
    assert_eq!(a.lane.counters().sent_ticks, 19);
    assert_eq!(a.lane.received_position(), 0, "ticks are not numbered");
    // From here on nothing arrives.
    let looks = (20..30)
        .map(|second| {
            a.write(usize::MAX);
            a.lane.tick(start + Duration::from_secs(second))
        })
        .take_while(|&action| action == TickAction::Send)
        .count();
    assert_eq!(looks, 4, "half of eight seconds");
    a.lane.detach(None);
    assert_eq!(a.lane.tick(start + Duration::from_secs(40)), TickAction::None);
    let now = start + Duration::from_secs(50);
    a.lane.attach(0, now).expect("a position");
    assert_eq!(a.lane.tick(now + Duration::from_secs(1)), TickAction::Send, "a new beginning");
}

#[test]
fn a_waiting_acknowledgement_or_tick_is_not_doubled() {
    let (mut a, mut b) = pair();
    for _ in 0..3 {
        a.lane.send_raw(A, B, b"message").expect("room");
        transfer(&mut a, &mut b);
        b.lane.acknowledge();
        b.lane.send_raw(B, A, b"answer").expect("room");
    }
    assert_eq!(b.lane.queued_bytes(), 24 + 3 * 30);
    assert_eq!(transfer(&mut b, &mut a).len(), 3);
    assert_eq!(a.lane.replay_counters().retained_bytes, 0, "the newest position counts");
}

#[test]
fn with_checksums_bytes_that_make_no_frame_are_no_sign_of_life() {
    for checksum in [false, true] {
        let tick = TickConfig::new(Duration::from_secs(8), 4);
        let (_, mut b) = pair_with(|config| {
            config.checksum = checksum;
            config.tick = tick;
        });
        let start = Instant::now();
        b.lane.set_tick_config(tick, start);
        // A length that is damaged, and a byte of other frames each second.
        let message = crate::fabric::frame::Header {
            length: 60_000,
            ..crate::fabric::frame::Header::bare(kind::MESSAGE)
        };
        assert_eq!(b.feed(&message.encode()), Ok(vec![]));
        let mut last = TickAction::None;
        for second in 1..20 {
            assert_eq!(b.feed(&[0]), Ok(vec![]));
            last = b.lane.tick(start + Duration::from_secs(second));
            b.write(usize::MAX);
            if last == TickAction::Dead {
                break;
            }
        }
        assert_eq!(last == TickAction::Dead, checksum);
    }
}

#[test]
fn a_large_message_leaves_the_others_their_room() {
    let (mut a, mut b) = pair();
    let large = Bytes::from(vec![7; 20 << 20]);
    let send =
        |a: &mut End, from| a.lane.send_message(from, B, smallvec![large.clone()], Form::Raw);
    send(&mut a, A).expect("one message may exceed the mark");
    let busy = Busy { queued: large.len(), limit: LaneLimits::DEFAULT.outbox_bytes_max };
    assert_eq!(send(&mut a, C), Err(SendError::Busy(busy)));
    assert_eq!(a.lane.send_raw(A, B, b"behind the large one"), Err(SendError::Busy(busy)));
    let encode = |out: &mut Vec<u8>| {
        out.extend_from_slice(&large);
        Ok::<(), std::convert::Infallible>(())
    };
    assert!(matches!(a.lane.send_message_with(C, B, encode), Err(SendError::Busy(_))));

    assert!(a.lane.has_room() && !a.lane.has_bulk_room());
    let mut small = 0;
    while a.lane.send_raw(C, B, &[0; 1000]).is_ok() {
        small += 1;
    }
    assert_eq!(small, 1024);
    let control = monitor(&a.lane);
    a.lane.send_signal(SenderKey::NODE, &control, None).expect("the reserve");
    assert_eq!(a.lane.hold(A, B, None), Ok(()));
    assert_eq!(a.lane.release(A, B), Ok(()));

    let mut got = 0;
    while a.lane.waiting_bytes() > 0 {
        got += transfer(&mut a, &mut b).len();
        transfer(&mut b, &mut a);
    }
    assert_eq!(got, 1 + small + 3);
    assert!(a.lane.take_room_event());
    send(&mut a, C).expect("room");
}

#[test]
fn a_large_message_leaves_the_others_room_until_the_peer_acknowledges() {
    let (mut a, mut b) = pair_with(|config| {
        config.limits.outbox_bytes_max = 100_000;
        config.limits.outbox_bytes_low = 50_000;
        config.limits.replay_bytes_max = 1_000_000;
        config.limits.ack_bytes = usize::MAX;
    });
    let large = Bytes::from(vec![7; 2_000_000]);
    a.lane.send_message(A, B, smallvec![large], Form::Raw).expect("room");
    // Fragments are written as long as the peer need not acknowledge them.
    transfer(&mut a, &mut b);
    assert!(a.lane.has_room());
    assert_eq!(a.lane.send_raw(C, B, b"small"), Ok(()));
    assert_eq!(transfer(&mut a, &mut b), [raw(C, B, b"small")]);
}
