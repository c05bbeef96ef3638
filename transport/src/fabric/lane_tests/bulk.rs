//! Signals longer than a frame, and those beside and behind them.

use smallvec::smallvec;

use super::*;
use crate::fabric::frame::HEADER_BYTES;
use crate::link::WaterMarks;

fn large(bytes: usize, seed: u32) -> Vec<u8> {
    (0..bytes as u32).map(|i| (i.wrapping_mul(seed) >> 3) as u8).collect()
}

#[test]
fn every_way_to_send_takes_large_payloads() {
    for checksum in [false, true] {
        let (mut a, mut b) = pair_with(|config| {
            config.checksum = checksum;
            config.limits.outbox_bytes_max = usize::MAX;
        });
        let name = Atom::from_static("echo");
        let exit = Control::Exit { from: a.lane.local_pid(A), to: a.lane.peer_pid(B), token: None };
        let sender = SenderKey::of_numbers(A.id, A.serial);
        let mut expected = Vec::new();
        let sizes = [65_530, 65_536, 65_537, 131_072, 131_073, 300_000];
        for (size, seed) in sizes.into_iter().zip(1..) {
            let bytes = large(size, seed);
            let term = binary(&bytes[..size - 5]);
            let pieces = |bytes: &[u8]| bytes.chunks(9_000).map(Bytes::copy_from_slice).collect();
            let message = |to, form, payload: &[u8]| {
                let payload = payload.to_vec();
                Got::Message { from: A, to, form, payload }
            };
            let to = || Target::Process(B);
            a.lane.send_raw(A, B, &bytes).expect("room");
            expected.push(message(to(), Form::Raw, &bytes));
            a.lane.send_message(A, B, pieces(&bytes), Form::Raw).expect("room");
            expected.push(message(to(), Form::Raw, &bytes));
            a.lane.send_message_with(A, B, encode(&term)).expect("room");
            expected.push(message(to(), Form::Term, &term));
            a.lane.send_message(A, B, smallvec![term.clone().into()], Form::Term).expect("room");
            expected.push(message(to(), Form::Term, &term));
            a.lane.send_named_with(A, &name, Form::Term, encode(&term)).expect("room");
            expected.push(message(Target::Name(name.clone()), Form::Term, &term));
            a.lane.send_named(A, &name, pieces(&term), Form::Term).expect("room");
            expected.push(message(Target::Name(name.clone()), Form::Term, &term));
            for payload in [Outgoing::Encoded(&term), Outgoing::Chunks(pieces(&term))] {
                a.lane.send_signal(sender, &exit, Some(payload)).expect("room");
                let (control, payload) = (exit.clone(), Some(term.clone()));
                expected.push(Got::Signal { control, payload });
            }
            let got = transfer(&mut a, &mut b);
            assert!(got == expected, "{size} bytes");
            assert_eq!(b.lane.unfinished_messages(), (0, 0));
            expected.clear();
        }
    }
}

#[test]
fn what_fits_into_a_frame_is_one_frame() {
    let (mut a, mut b) = pair();
    let bytes = Bytes::from(large(65_536, 3));
    a.lane.send_message(A, B, smallvec![bytes.clone()], Form::Raw).expect("room");
    assert_eq!(a.lane.queued_bytes(), HEADER_BYTES + 65_536);
    let written = a.write(usize::MAX);
    assert_eq!(b.feed(&written), Ok(vec![raw(A, B, &bytes)]));
    // One byte more makes a frame more.
    let bytes = Bytes::from(large(65_537, 3));
    a.lane.send_message(A, B, smallvec![bytes.clone()], Form::Raw).expect("room");
    let written = a.write(usize::MAX);
    assert_eq!(written.len(), 2 * HEADER_BYTES + 65_537);
    assert_eq!(b.feed(&written), Ok(vec![raw(A, B, &bytes)]));
}

#[test]
fn only_the_sender_of_a_large_message_waits_for_it() {
    let (mut a, mut b) = pair_with(|config| config.limits.outbox_bytes_max = usize::MAX);
    let huge = large(2 << 20, 7);
    a.lane.send_message(A, B, smallvec![huge.clone().into()], Form::Raw).expect("room");
    let mut got = Vec::new();
    let mut counter = 0_u32;
    while a.lane.is_write_pending() {
        if counter < 30 {
            counter += 1;
            a.lane.send_raw(A, B, &counter.to_le_bytes()).expect("room");
            a.lane.send_raw(C, B, &counter.to_le_bytes()).expect("room");
        }
        let bytes = a.write(50_000);
        got.extend(b.feed(&bytes).expect("valid"));
    }
    let sent_by = |sender| (1..=30_u32).map(move |n| raw(sender, B, &n.to_le_bytes()));
    let of = |sender| {
        got.iter().filter(move |got| matches!(got, Got::Message { from, .. } if *from == sender))
    };
    assert!(of(C).cloned().eq(sent_by(C)));
    assert!(of(A).cloned().eq(std::iter::once(raw(A, B, &huge)).chain(sent_by(A))));
    let place = got.iter().position(|got| *got == raw(A, B, &huge)).expect("it came");
    assert!(place > 20, "others pass");
}

#[test]
fn senders_of_large_messages_take_turns() {
    let (mut a, mut b) = pair_with(|config| config.limits.outbox_bytes_max = usize::MAX);
    let long = large(40 * 65_536, 3);
    let short = large(2 * 65_536, 5);
    a.lane.send_message(A, B, smallvec![long.clone().into()], Form::Raw).expect("room");
    a.lane.send_message(A, B, smallvec![short.clone().into()], Form::Raw).expect("room");
    a.lane.send_message(C, B, smallvec![short.clone().into()], Form::Raw).expect("room");
    assert_eq!(transfer(&mut a, &mut b), [raw(C, B, &short), raw(A, B, &long), raw(A, B, &short)]);
}

#[test]
fn small_messages_do_not_starve_large_ones() {
    let (mut a, mut b) = pair_with(|config| config.limits.outbox_bytes_max = usize::MAX);
    let bytes = large(4 * 65_536, 3);
    a.lane.send_message(A, B, smallvec![bytes.clone().into()], Form::Raw).expect("room");
    let mut others = 0;
    let mut got = Vec::new();
    while !got.contains(&raw(A, B, &bytes)) {
        while a.lane.queued_bytes() < 1 << 20 {
            a.lane.send_raw(C, B, &[0; 1000]).expect("room");
            others += 1;
        }
        assert!(others < 4_000, "the large message is not sent");
        let written = a.write(usize::MAX);
        got.extend(b.feed(&written).expect("valid"));
    }
}

#[test]
fn a_failed_encoder_leaves_no_trace() {
    let (mut a, mut b) = pair();
    a.lane.send_raw(A, B, b"before").expect("room");
    let failed = a.lane.send_message_with(A, B, |out| {
        out.extend_from_slice(&[0; 100_000]);
        Err("no such thing")
    });
    assert_eq!(failed, Err(SendError::Encode("no such thing")));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        a.lane.send_message_with(A, B, |out| -> Result<(), Infallible> {
            out.extend_from_slice(&[0; 10]);
            panic!("a fault of the encoder");
        })
    }));
    assert!(panicked.is_err());
    a.lane.send_raw(A, B, b"after").expect("room");
    assert_eq!(transfer(&mut a, &mut b), [raw(A, B, b"before"), raw(A, B, b"after")]);
    assert_eq!(a.lane.counters().sent_signals, 2);
}

#[test]
fn a_message_beyond_the_limit_is_not_sent() {
    let limit = 200_000;
    let (mut a, mut b) = pair_with(|config| config.limits.fragments.sequence_bytes_max = limit);
    let error = SendError::TooLarge { bytes: 200_001, limit };
    assert_eq!(a.lane.send_raw(A, B, &[0; 200_001]), Err(error));
    assert_eq!((a.lane.waiting_bytes(), a.lane.counters().sent_signals), (0, 0));
    a.lane.send_raw(A, B, &[0; 200_000]).expect("just not beyond");
    assert_eq!(transfer(&mut a, &mut b), [raw(A, B, &[0; 200_000])]);
}

#[test]
fn the_size_of_fragments_and_the_water_marks_change_at_once() {
    let (mut a, mut b) = pair();
    a.lane.set_fragment_bytes(8 << 10);
    a.lane.send_raw(A, B, &[5; 200_000]).expect("room");
    let first = a.write(usize::MAX);
    let length = u32::from_le_bytes(first[4..8].try_into().unwrap());
    assert_eq!(length, 8 << 10, "of the payload of the first frame");
    a.lane.set_fragment_bytes(64 << 10);
    assert_eq!(a.lane.fragment_bytes(), 64 << 10);
    let mut got = b.feed(&first).unwrap();
    while a.lane.is_write_pending() {
        got.extend(b.feed(&a.write(usize::MAX)).unwrap());
    }
    assert_eq!(got.len(), 1);
    a.lane.set_water_marks(WaterMarks { high: 100, low: 200 });
    assert_eq!(a.lane.water_marks(), WaterMarks { high: 100, low: 100 });
    a.lane.send_raw(A, B, &[5; 200]).expect("room");
    assert!(a.lane.check_room().is_err());
    a.lane.set_water_marks(WaterMarks { high: 1 << 20, low: 512 << 10 });
    assert!(a.lane.check_room().is_ok());
}
