//! Tests of the whole folder: counting, cutting, recycling, and hand-over between threads.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use bytes::Bytes;

use super::receiver::Receiver;
use super::slab::{SLAB_BYTES, SlabPool};
use super::slice::{SharedSlice, Slice};

/// Feeds `bytes` to a receiver as a socket would.
fn feed(receiver: &mut Receiver, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let spare = receiver.spare();
        let n = spare.len().min(bytes.len());
        spare[..n].copy_from_slice(&bytes[..n]);
        receiver.commit(n);
        bytes = &bytes[n..];
    }
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ seed).collect()
}

#[test]
fn a_slice_keeps_its_bytes_while_parts_come_and_go() {
    let whole = Slice::from(pattern(100, 0));
    let mut rest = whole.slice(10..90);
    let head = rest.split_to(30);
    drop(whole);
    assert_eq!(head, pattern(100, 0)[10..40]);
    assert_eq!(rest, pattern(100, 0)[40..90]);
    rest.advance(5);
    rest.truncate(10);
    assert_eq!(rest, pattern(100, 0)[45..55]);
    assert!(rest.try_slice(..=10).is_none());
    assert!(rest.try_slice(11..).is_none());
    assert_eq!(rest.try_slice(10..), Some(Slice::new()));
    assert_eq!(rest.held_bytes(), 100);
}

#[test]
fn bytes_become_slices_and_slices_bytes_without_a_copy() {
    let bytes = Bytes::from(pattern(64, 3));
    let slice = Slice::from(bytes.clone());
    assert_eq!(slice.as_ptr(), bytes.as_ptr());
    let back = Bytes::from(slice.slice(8..16));
    drop(slice);
    assert_eq!(back.as_ptr(), bytes[8..].as_ptr());
    assert_eq!(Bytes::from(Slice::from_static(b"fixed")), &b"fixed"[..]);
    assert_eq!(Bytes::from(Slice::new()), &b""[..]);
}

#[test]
fn the_owner_of_foreign_bytes_is_dropped_with_the_last_slice() {
    struct Owner(#[expect(dead_code, reason = "counted")] Arc<()>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &[7; 16]
        }
    }
    let alive = Arc::new(());
    let slice = Slice::from(Bytes::from_owner(Owner(alive.clone())));
    let part = slice.slice(4..8);
    let shared = slice.share();
    drop(part);
    assert_eq!(Arc::strong_count(&alive), 2);
    thread::spawn(move || drop(shared.adopt())).join().unwrap();
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn frames_are_cut_in_place_and_the_slab_is_used_again() {
    let pool = SlabPool::new();
    let mut receiver = Receiver::new(pool.clone());
    for round in 0..100 {
        feed(&mut receiver, &pattern(1000, round));
        let first = receiver.take(400).unwrap();
        let second = receiver.take(600).unwrap();
        assert_eq!(first, pattern(1000, round)[..400]);
        assert_eq!(second, pattern(1000, round)[400..]);
        assert!(receiver.take(1).is_none());
        receiver.rest();
        assert_eq!(receiver.held_bytes(), 0, "an idle receiver holds nothing");
    }
    assert_eq!(pool.counters().allocated, 1);
    assert_eq!(pool.slabs(), 1);
}

#[test]
fn links_share_one_slab_while_none_has_a_partial_frame() {
    let pool = SlabPool::new();
    let mut receivers: Vec<_> = (0..50).map(|_| Receiver::new(pool.clone())).collect();
    let mut held = Vec::new();
    for (i, receiver) in (0..).zip(&mut receivers) {
        feed(receiver, &pattern(200, i));
        held.push(receiver.take(200).unwrap());
        receiver.rest();
    }
    assert_eq!(pool.counters().allocated, 1);
    for (i, slice) in (0..).zip(&held) {
        assert_eq!(*slice, pattern(200, i));
    }
}

#[test]
fn held_slices_keep_their_slab_from_being_overwritten() {
    let pool = SlabPool::new();
    let mut receiver = Receiver::new(pool.clone());
    let kept: Vec<Slice> = (0..4)
        .map(|round| {
            feed(&mut receiver, &pattern(SLAB_BYTES / 2, round));
            receiver.take(SLAB_BYTES / 2).unwrap()
        })
        .collect();
    for round in 4..20 {
        feed(&mut receiver, &pattern(SLAB_BYTES / 2, round));
        assert_eq!(receiver.take(SLAB_BYTES / 2).unwrap(), pattern(SLAB_BYTES / 2, round));
    }
    for (round, slice) in (0..).zip(&kept) {
        assert_eq!(*slice, pattern(SLAB_BYTES / 2, round));
    }
    assert!(pool.counters().allocated <= 4, "{:?}", pool.counters());
    drop(kept);
    drop(receiver);
    // As many as were needed are kept, until they are needed no more.
    pool.trim();
    pool.trim();
    assert!(pool.slabs() <= 5);
}

#[test]
fn a_frame_that_does_not_fit_gets_memory_of_its_own() {
    let pool = SlabPool::new();
    let mut receiver = Receiver::new(pool.clone());
    let frame = pattern(3 * SLAB_BYTES, 9);
    feed(&mut receiver, &frame[..1000]);
    receiver.expect(frame.len());
    let spare = receiver.spare();
    assert_eq!(spare.len(), frame.len() - 1000, "exactly the rest of the frame");
    feed(&mut receiver, &frame[1000..]);
    assert_eq!(receiver.take(frame.len()).unwrap(), frame);
    assert_eq!(receiver.held_bytes(), 0);
    feed(&mut receiver, b"next");
    assert_eq!(receiver.unread(), b"next");
}

#[test]
fn an_announced_length_alone_allocates_little() {
    let mut receiver = Receiver::new(SlabPool::new());
    feed(&mut receiver, &[0xff; 4]);
    receiver.expect(usize::try_from(u32::MAX).unwrap());
    assert!(receiver.spare().len() <= 4 * 1024 * 1024);
    assert!(receiver.held_bytes() <= 4 * 1024 * 1024);
}

#[test]
fn a_long_frame_grows_as_its_bytes_arrive() {
    let mut receiver = Receiver::new(SlabPool::new());
    let frame = pattern(11 * 1024 * 1024, 1);
    feed(&mut receiver, &frame[..8]);
    receiver.expect(frame.len());
    feed(&mut receiver, &frame[8..]);
    assert_eq!(receiver.take(frame.len()).unwrap(), frame);
}

#[test]
fn a_parked_link_keeps_only_what_has_come() {
    let pool = SlabPool::new();
    let mut receiver = Receiver::new(pool.clone());
    let frame = pattern(100_000, 4);
    feed(&mut receiver, &frame[..10]);
    receiver.expect(frame.len());
    receiver.park();
    assert!(receiver.held_bytes() <= 64, "{}", receiver.held_bytes());
    feed(&mut receiver, &frame[10..3000]);
    receiver.park();
    assert!(receiver.held_bytes() <= 4096, "{}", receiver.held_bytes());
    feed(&mut receiver, &frame[3000..]);
    assert_eq!(receiver.take(frame.len()).unwrap(), frame);
    receiver.park();
    assert_eq!(receiver.held_bytes(), 0);
}

#[test]
fn a_frame_across_the_end_of_a_slab_moves_once() {
    let pool = SlabPool::new();
    let mut receiver = Receiver::new(pool.clone());
    let filler = pattern(SLAB_BYTES - 10_000, 0);
    feed(&mut receiver, &filler);
    let held = receiver.take(filler.len()).unwrap();
    let frame = pattern(20_000, 5);
    feed(&mut receiver, &frame[..9_000]);
    receiver.expect(frame.len());
    feed(&mut receiver, &frame[9_000..]);
    assert_eq!(receiver.take(frame.len()).unwrap(), frame);
    assert_eq!(held, filler);
    assert_eq!(pool.counters().allocated, 2);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 24, ..Default::default() })]

    /// Frames of any size, arriving in pieces of any size, on several links that share a pool and
    /// park in between, come out as they went in, also those that are looked at much later.
    #[test]
    fn frames_come_out_as_they_went_in(
        sizes in proptest::collection::vec(frame_size(), 1..40),
        pieces in proptest::collection::vec((1_usize..90_000, 0_u8..8), 1..60),
    ) {
        const LINKS: usize = 3;
        let pool = SlabPool::new();
        let frames: Vec<Vec<u8>> =
            sizes.iter().zip(0_u8..).map(|(&size, seed)| pattern(size, seed)).collect();
        let stream: Vec<u8> = frames
            .iter()
            .flat_map(|frame| {
                let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
                length.into_iter().chain(frame.iter().copied())
            })
            .collect();
        let mut links: Vec<_> = (0..LINKS)
            .map(|_| (Receiver::new(pool.clone()), &stream[..], Vec::new()))
            .collect();
        for (link, &(piece, after)) in (0..LINKS).cycle().zip(pieces.iter().cycle()) {
            let (receiver, rest, taken) = &mut links[link];
            let (now, later) = rest.split_at(piece.min(rest.len()));
            *rest = later;
            feed(receiver, now);
            while let Some(length) = receiver.unread().first_chunk::<4>() {
                let length = u32::from_be_bytes(*length) as usize;
                if receiver.unread().len() < 4 + length {
                    receiver.expect(4 + length);
                    break;
                }
                receiver.skip(4);
                taken.push(receiver.take(length).unwrap());
            }
            match after {
                0 => receiver.park(),
                1..6 => receiver.rest(),
                _ => {}
            }
            if links.iter().all(|(_, rest, _)| rest.is_empty()) {
                break;
            }
        }
        for (receiver, _, taken) in &links {
            proptest::prop_assert!(receiver.unread().is_empty());
            proptest::prop_assert!(taken.iter().zip(&frames).all(|(slice, frame)| slice == frame));
            proptest::prop_assert_eq!(taken.len(), frames.len());
        }
    }
}

/// Mostly small, some around the size of a slab.
fn frame_size() -> impl proptest::strategy::Strategy<Value = usize> {
    proptest::prop_oneof![
        8 => 0_usize..300,
        2 => 0_usize..70_000,
        1 => SLAB_BYTES - 20..SLAB_BYTES + 20,
        1 => 0_usize..600_000,
    ]
}

/// Slices of recycled slabs go to other threads, are cloned, cut and dropped there in any order,
/// while the owner keeps receiving: no byte may change under a handle.
#[test]
fn shared_slices_survive_a_storm_of_threads() {
    const THREADS: usize = 3;
    let rounds: u32 = if cfg!(miri) { 60 } else { 2_000 };
    let (senders, workers): (Vec<_>, Vec<_>) = (0..THREADS)
        .map(|_| {
            let (sender, receiver) = mpsc::sync_channel::<(u32, SharedSlice)>(64);
            let worker = thread::spawn(move || {
                let mut held = Vec::new();
                for (round, shared) in receiver {
                    let slice = shared.adopt();
                    let copy = slice.clone();
                    let part = copy.slice(4..);
                    drop(slice);
                    assert_eq!(copy[..4], round.to_be_bytes());
                    held.push((round, part.share()));
                    if held.len() > 40 {
                        for (round, part) in held.drain(..20) {
                            assert!(part.iter().all(|&byte| byte == round.to_be_bytes()[3]));
                        }
                    }
                }
            });
            (sender, worker)
        })
        .unzip();
    let pool = SlabPool::new();
    let mut receiver = Receiver::new(pool.clone());
    for round in 0..rounds {
        let mut frame = round.to_be_bytes().to_vec();
        frame.resize(if cfg!(miri) { 400 } else { 12_000 }, round.to_be_bytes()[3]);
        feed(&mut receiver, &frame);
        let slice = receiver.take(frame.len()).unwrap();
        receiver.rest();
        let kept = slice.clone();
        for sender in &senders {
            sender.send((round, slice.clone().share())).unwrap();
        }
        drop(slice);
        assert_eq!(kept[..4], round.to_be_bytes());
    }
    drop(senders);
    for worker in workers {
        worker.join().unwrap();
    }
    drop(receiver);
    if !cfg!(miri) {
        assert!(pool.counters().recycled > 0, "{:?}", pool.counters());
    }
}

#[test]
fn the_slabs_of_one_long_message_serve_the_next() {
    let pool = SlabPool::new();
    let mut receiver = Receiver::new(pool.clone());
    let mut rounds = || {
        for _ in 0..5 {
            let parts: Vec<Slice> = (0..100)
                .map(|round| {
                    let spare = receiver.spare();
                    (spare[0], spare[SLAB_BYTES - 1]) = (round, round);
                    receiver.commit(SLAB_BYTES);
                    receiver.take(SLAB_BYTES).unwrap()
                })
                .collect();
            assert!((0..100).zip(&parts).all(|(round, part)| part[0] == round));
            assert!((0..100).zip(&parts).all(|(round, part)| part[SLAB_BYTES - 1] == round));
        }
    };
    rounds();
    let before = pool.counters();
    assert!(before.allocated <= 102, "{before:?}");
    // A second passes.
    (0..10).for_each(|_| pool.trim());
    rounds();
    let after = pool.counters();
    assert!(after.allocated - before.allocated <= 80, "{before:?} {after:?}");
    (0..50).for_each(|_| pool.trim());
    assert!(pool.slabs() <= 5);
}

#[test]
fn slabs_that_are_used_for_long_do_not_hide_the_others() {
    let pool = SlabPool::new();
    let mut receiver = Receiver::new(pool.clone());
    let mut whole = || {
        receiver.spare()[0] = 1;
        receiver.commit(SLAB_BYTES);
        receiver.take(SLAB_BYTES).unwrap()
    };
    let (mut long, mut short) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        long.push(whole());
        short.push(whole());
    }
    short.clear();
    let before = pool.counters().allocated;
    let again: Vec<Slice> = (0..60).map(|_| whole()).collect();
    // Before each that is free there may be used ones, and so many are passed over.
    assert!(pool.counters().allocated - before <= 6, "{:?}", pool.counters());
    drop((long, again));
}
