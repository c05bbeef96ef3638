//! Links talking to each other.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::dist::control::{Destination, ProcessOrName};
use crate::dist::frame::{Front, LENGTH_BYTES};
use crate::term::{Creation, Pid, Reference, write_binary, write_integer};

const LOCAL: &str = "a@127.0.0.1";
const PEER: &str = "b@127.0.0.1";
const BASE: Flags = Flags::HIDDEN
    .without(Flags::FRAGMENTS)
    .without(Flags::DIST_HDR_ATOM_CACHE)
    .without(Flags::ALTACT_SIG);
const FRAGMENTS: Flags = BASE.with(Flags::FRAGMENTS);
const CACHED: Flags = FRAGMENTS.with(Flags::DIST_HDR_ATOM_CACHE);

fn atom(text: &str) -> Atom {
    Atom::new(text).expect("short enough")
}

fn pid(node: &str, id: u32) -> Pid {
    Pid { node: atom(node), id, serial: 7, creation: Creation(3) }
}

fn config(flags: Flags, local: &str, peer: &str) -> LinkConfig {
    LinkConfig::new(flags, atom(local), atom(peer))
}

/// Both ends of a connection with unlimited outboxes.
fn pair(flags: Flags) -> (Link, Link) {
    let now = Instant::now();
    let mut ours = config(flags, LOCAL, PEER);
    ours.limits.outbox_bytes_max = usize::MAX;
    (Link::new(ours, now), Link::new(config(flags, PEER, LOCAL), now))
}

fn message(from: u32, to: u32) -> Control {
    Control::Send {
        from: Some(pid(LOCAL, from)),
        to: Destination::Process(pid(PEER, to)),
        priority: false,
        token: None,
    }
}

/// Lets the socket take up to `bytes_max`, and gives what it took.
fn write_some(link: &mut Link, bytes_max: usize) -> Vec<u8> {
    let mut slices = IoSlices::new();
    link.io_slices(&mut slices);
    assert!(slices.len() <= IO_SLICES_MAX);
    let mut bytes = Vec::new();
    for slice in &slices {
        assert!(!slice.is_empty());
        bytes.extend_from_slice(slice);
    }
    drop(slices);
    bytes.truncate(bytes_max);
    link.written(bytes.len());
    bytes
}

/// Feeds received bytes to a link as a driver does.
#[derive(Default)]
struct Wire {
    bytes: Vec<u8>,
    ticks: usize,
    longest_frame: usize,
}

impl Wire {
    fn deliver(&mut self, bytes: &[u8], to: &mut Link) -> Vec<Signal> {
        to.note_received(bytes.len());
        self.bytes.extend_from_slice(bytes);
        let mut signals = Vec::new();
        loop {
            match to.frame_reader().front(&self.bytes) {
                Front::NeedMore(_) => return signals,
                Front::Tick => {
                    self.ticks += 1;
                    self.bytes.drain(..LENGTH_BYTES);
                }
                Front::Frame(len) => {
                    self.longest_frame = self.longest_frame.max(len);
                    let body = self.bytes[LENGTH_BYTES..LENGTH_BYTES + len].to_vec();
                    self.bytes.drain(..LENGTH_BYTES + len);
                    let signal = to.receive(Slice::from(body)).expect("our own frames are valid");
                    signals.extend(signal);
                }
                Front::TooLarge(error) => panic!("{error}"),
            }
        }
    }
}

/// Moves everything from one link to the other.
fn transfer(from: &mut Link, to: &mut Link) -> Vec<Signal> {
    let mut wire = Wire::default();
    let mut signals = Vec::new();
    while from.is_write_pending() {
        let bytes = write_some(from, usize::MAX);
        signals.extend(wire.deliver(&bytes, to));
    }
    assert!(wire.bytes.is_empty());
    signals
}

fn decoded(signal: &Signal) -> Term {
    signal.payload.as_ref().expect("a payload").decode(&Limits::DEFAULT).expect("a term")
}

#[test]
fn a_small_message_in_each_shape() {
    for flags in [BASE, FRAGMENTS, CACHED] {
        let (mut a, mut b) = pair(flags);
        for i in 0..3_i64 {
            a.send_with(&message(1, 2), |out| write_integer(out, i)).unwrap();
            let signals = transfer(&mut a, &mut b);
            assert_eq!(signals.len(), 1);
            assert_eq!(signals[0].control, message(1, 2));
            assert_eq!(decoded(&signals[0]), Term::Integer(i));
        }
        assert_eq!(a.counters().sent_signals, 3);
        assert_eq!(b.counters().received_signals, 3);
        assert_eq!(a.counters().written_bytes, b.counters().received_bytes);
    }
}

#[test]
fn a_plain_message_is_taken_without_building_a_signal() {
    for flags in [BASE, FRAGMENTS, CACHED] {
        let (mut a, mut b) = pair(flags);
        let frame = |control: &Control, a: &mut Link| {
            a.send_with(control, |out| write_integer(out, 5)).unwrap();
            write_some(a, usize::MAX)[LENGTH_BYTES..].to_vec()
        };
        // The first two name the atoms and are headers not seen before.
        for _ in 0..2 {
            let frame = frame(&message(1, 2), &mut a);
            if flags == CACHED {
                assert_eq!(b.receive_plain(&frame), None);
            }
            b.receive(Slice::from(frame)).unwrap();
        }
        let mut bytes = frame(&message(1, 2), &mut a);
        bytes.extend_from_slice(b"what stands behind");
        let plain = b.receive_plain(&bytes).expect("a plain message");
        let (local, peer) = (atom(PEER), atom(LOCAL));
        assert_eq!(plain.from.to_pid(&local, &peer), pid(LOCAL, 1));
        assert_eq!(plain.to.to_pid(&local, &peer), pid(PEER, 2));
        assert_eq!((plain.from.node, plain.to.node), (Side::Peer, Side::Local));
        assert_eq!(bytes[plain.payload], [97, 5]);
        assert_eq!(b.counters().received_signals, 3);
        // Anything else is left to `receive`.
        let exit = Control::Exit { from: pid(LOCAL, 1), to: pid(PEER, 2), token: None };
        assert_eq!(b.receive_plain(&frame(&exit, &mut a)), None);
        let mut third = message(1, 2);
        if let Control::Send { to, .. } = &mut third {
            *to = Destination::Process(pid("third@host", 2));
        }
        assert_eq!(b.receive_plain(&frame(&third, &mut a)), None);
        let mut bytes = frame(&message(1, 2), &mut a);
        bytes.truncate(bytes.len() - 1);
        assert_eq!(b.receive_plain(&bytes), None);
        assert!(b.receive(Slice::from(bytes)).is_err());
        assert_eq!(b.receive_plain(&[]), None);
    }
}

#[test]
fn known_node_names_are_not_repeated() {
    let (mut a, _) = pair(CACHED);
    let mut sizes = Vec::new();
    for _ in 0..2 {
        a.send_with(&message(1, 2), |out| write_integer(out, 1)).unwrap();
        sizes.push(write_some(&mut a, usize::MAX).len());
    }
    assert_eq!(sizes[0] - sizes[1], 2 * (1 + LOCAL.len()));
    // Length 4, header 7, op 4, two pids of 15, payload 2.
    assert_eq!(sizes[1], 47);
}

#[test]
fn a_full_outbox_refuses_messages_but_not_signals() {
    let mut ours = config(FRAGMENTS, LOCAL, PEER);
    ours.limits.outbox_bytes_max = 2000;
    ours.limits.outbox_bytes_low = 500;
    ours.limits.outbox_reserve_bytes = 1000;
    let mut link = Link::new(ours, Instant::now());
    let send = |link: &mut Link| link.send_with(&message(1, 2), |out| write_binary(out, &[0; 900]));
    assert!(link.has_room());
    send(&mut link).unwrap();
    send(&mut link).unwrap();
    send(&mut link).unwrap();
    let queued = link.queued_bytes();
    assert_eq!(send(&mut link), Err(SendError::Busy(Busy { queued, limit: 2000 })));
    assert_eq!(link.queued_bytes(), queued);
    let exit = Control::Exit { from: pid(LOCAL, 1), to: pid(PEER, 2), token: None };
    link.send(&exit, Some(Outgoing::Encoded(b"w\x06normal"))).unwrap();
    let beyond = link.send(&exit, Some(Outgoing::Encoded(b"w\x06normal")));
    assert!(beyond.is_ok() || link.queued_bytes() >= 3000);
    assert!(!link.take_room_event());
    while link.queued_bytes() > 500 {
        assert!(!link.take_room_event());
        write_some(&mut link, 100);
    }
    assert!(link.take_room_event());
    assert!(!link.take_room_event(), "once");
}

#[test]
fn a_large_message_leaves_the_others_their_room() {
    let now = Instant::now();
    let mut a = Link::new(config(CACHED, LOCAL, PEER), now);
    let mut b = Link::new(config(CACHED, PEER, LOCAL), now);
    let large = Bytes::from(vec![7; 20 << 20]);
    let mut head = Vec::new();
    write_binary(&mut head, &large);
    let payload = Bytes::from(head);
    let send = |link: &mut Link, from| {
        let chunks = std::iter::once(payload.clone()).collect();
        link.send(&message(from, 2), Some(Outgoing::Chunks(chunks)))
    };
    send(&mut a, 1).unwrap();
    assert!(matches!(send(&mut a, 3), Err(SendError::Busy(_))));
    let key = SenderKey::of(&pid(LOCAL, 3));
    let encode = |out: &mut Vec<u8>| {
        write_binary(out, &large);
        Ok::<(), &str>(())
    };
    assert!(matches!(a.try_send_with(key, &message(3, 2), encode), Err(SendError::Busy(_))));
    let behind = a.send_with(&message(1, 2), |out| write_integer(out, 1));
    assert!(matches!(behind, Err(SendError::Busy(_))));
    assert!(a.has_room() && !a.has_bulk_room());
    for _ in 0..1000 {
        a.send_with(&message(3, 2), |out| write_binary(out, &[0; 900])).unwrap();
    }
    let exit = Control::Exit { from: pid(LOCAL, 1), to: pid(PEER, 2), token: None };
    a.send(&exit, Some(Outgoing::Encoded(b"w\x06normal"))).unwrap();
    assert_eq!(transfer(&mut a, &mut b).len(), 1002);
    assert!(a.take_room_event());
    send(&mut a, 3).unwrap();
}

#[test]
fn an_encoder_that_fails_leaves_no_trace() {
    for flags in [BASE, FRAGMENTS, CACHED] {
        let (mut a, mut b) = pair(flags);
        let key = SenderKey::of(&pid(LOCAL, 1));
        let failed = a.try_send_with(key, &message(1, 2), |out| {
            out.extend_from_slice(&[1; 100_000]);
            Err("too bad")
        });
        assert_eq!(failed, Err(SendError::Encode("too bad")));
        assert_eq!(a.queued_bytes(), 0);
        a.send_with(&message(1, 2), |out| write_integer(out, 5)).unwrap();
        assert_eq!(transfer(&mut a, &mut b).len(), 1);
    }
}

#[test]
fn what_was_not_negotiated_is_not_sent() {
    let (mut a, _) = pair(BASE.without(Flags::ALIAS).without(Flags::SPAWN));
    let alias = Reference::new(atom(PEER), Creation(1), &[1, 2, 3]).unwrap();
    let control = Control::Send {
        from: Some(pid(LOCAL, 1)),
        to: Destination::Alias(alias),
        priority: false,
        token: None,
    };
    let sent = a.send_with(&control, |out| write_integer(out, 1));
    assert!(matches!(sent, Err(SendError::NotNegotiated(what)) if what.flag == "ALIAS"));
    assert_eq!(a.queued_bytes(), 0);
}

#[test]
fn reasons_travel_inside_old_exit_signals() {
    let old = BASE.without(Flags::EXIT_PAYLOAD);
    for flags in [old, old.with(Flags::FRAGMENTS), old.with(Flags::DIST_HDR_ATOM_CACHE)] {
        let (mut a, mut b) = pair(flags);
        let reference = Reference::new(atom(PEER), Creation(3), &[1, 2, 3]).unwrap();
        let from = ProcessOrName::Name(atom("server"));
        let controls = [
            Control::Exit { from: pid(LOCAL, 1), to: pid(PEER, 2), token: None },
            Control::Exit2 {
                from: pid(LOCAL, 1),
                to: Destination::Process(pid(PEER, 2)),
                priority: false,
                token: None,
            },
            Control::MonitorExit { from, to: pid(PEER, 2), reference },
        ];
        for control in controls {
            a.send(&control, Some(Outgoing::Encoded(b"w\x06noproc"))).unwrap();
            // Larger than a fragment, and still one frame: the control message cannot be cut.
            a.send_with(&control, |out| write_binary(out, &[7; 200_000])).unwrap();
            let signals = transfer(&mut a, &mut b);
            assert_eq!(signals.len(), 2);
            assert_eq!(signals[0].control, control);
            assert_eq!(decoded(&signals[0]), Term::Atom(atom("noproc")));
            assert_eq!(decoded(&signals[1]), Term::Binary(vec![7; 200_000].into()));
        }
    }
}

#[test]
fn ticks_wait_for_no_budget_and_keep_frames_whole() {
    let start = Instant::now();
    let mut ours = config(FRAGMENTS, LOCAL, PEER);
    ours.tick = TickConfig::new(Duration::from_secs(4), 4);
    let mut a = Link::new(ours, start);
    let mut b = Link::new(config(FRAGMENTS, PEER, LOCAL), start);
    let second = Duration::from_secs(1);
    assert_eq!(a.tick(start), TickAction::None);
    assert_eq!(a.tick(start + second), TickAction::Send);
    assert_eq!(a.queued_bytes(), 4);
    // The peer is hidden and silent: it gets ticks also while a frame is half written.
    a.send_with(&message(1, 2), |out| write_binary(out, &[1; 1000])).unwrap();
    let mut wire = Wire::default();
    assert!(wire.deliver(&write_some(&mut a, 500), &mut b).is_empty());
    assert_eq!(a.tick(start + 2 * second), TickAction::Send);
    let mut signals = Vec::new();
    while a.is_write_pending() {
        signals.extend(wire.deliver(&write_some(&mut a, 500), &mut b));
    }
    assert_eq!((signals.len(), wire.ticks), (1, 2));
    assert_eq!(a.tick(start + 3 * second), TickAction::Send);
    assert_eq!(a.tick(start + 4 * second), TickAction::Send);
    assert_eq!(a.tick(start + 5 * second), TickAction::Dead);
    assert_eq!(a.auxiliary_tick(), TickAction::Send);
}

#[test]
fn a_link_is_small() {
    assert!(size_of::<Link>() <= 792, "{}", size_of::<Link>());
    assert!(size_of::<Control>() <= 144, "{}", size_of::<Control>());
    assert!(size_of::<Signal>() <= 224, "{}", size_of::<Signal>());
}

#[test]
fn a_large_message_keeps_the_fragment_size_it_began_with() {
    for flags in [FRAGMENTS, CACHED] {
        let (mut a, mut b) = pair(flags);
        a.set_fragment_bytes(1);
        assert_eq!(a.fragment_bytes(), FRAGMENT_BYTES_MIN);
        a.send_with(&message(1, 2), |out| write_binary(out, &[7; 200_000])).unwrap();
        let first = write_some(&mut a, usize::MAX);
        let length = u32::from_be_bytes(first[..4].try_into().unwrap());
        assert!((4096..4300).contains(&length), "{length} bytes in the first frame");
        a.set_fragment_bytes(32 << 10);
        let mut wire = Wire::default();
        let mut signals = wire.deliver(&first, &mut b);
        signals.extend(transfer(&mut a, &mut b));
        assert_eq!(signals.len(), 1);
        assert_eq!(decoded(&signals[0]), Term::Binary(vec![7; 200_000].into()));
        a.send_with(&message(1, 2), |out| write_binary(out, &[7; 200_000])).unwrap();
        let bytes = write_some(&mut a, usize::MAX);
        let length = u32::from_be_bytes(bytes[..4].try_into().unwrap());
        assert!((32 << 10..33 << 10).contains(&length), "{length} bytes in the first frame");
    }
}

#[test]
fn water_marks_count_from_the_next_message_on() {
    let (mut a, _) = pair(FRAGMENTS);
    let send = |a: &mut Link| a.send_with(&message(1, 2), |out| write_binary(out, &[1; 1000]));
    send(&mut a).unwrap();
    a.set_water_marks(WaterMarks { high: 900, low: 5000 });
    assert_eq!(a.water_marks(), WaterMarks { high: 900, low: 900 });
    assert!(matches!(send(&mut a), Err(SendError::Busy(Busy { limit: 900, .. }))));
    a.set_water_marks(WaterMarks { high: 1 << 20, low: 512 << 10 });
    send(&mut a).unwrap();
}

#[test]
fn a_large_message_goes_in_fragments_and_lets_others_pass() {
    for flags in [FRAGMENTS, CACHED] {
        let (mut a, mut b) = pair(flags);
        let large = vec![5; 3_000_000];
        a.send_with(&message(1, 2), |out| write_binary(out, &large)).unwrap();
        // Behind its own large message; in front of it for another sender.
        a.send_with(&message(1, 2), |out| write_integer(out, 1)).unwrap();
        a.send_with(&message(9, 2), |out| write_integer(out, 9)).unwrap();
        let mut wire = Wire::default();
        let mut signals = Vec::new();
        while a.is_write_pending() {
            let bytes = write_some(&mut a, usize::MAX);
            signals.extend(wire.deliver(&bytes, &mut b));
        }
        let order: Vec<_> = signals.iter().map(|s| s.control.sender().unwrap().id).collect();
        assert_eq!(order, [9, 1, 1]);
        assert_eq!(decoded(&signals[1]), Term::Binary(large.into()));
        assert_eq!(decoded(&signals[2]), Term::Integer(1));
        assert!(wire.longest_frame <= (64 << 10) + 300, "{}", wire.longest_frame);
        assert_eq!(b.unfinished_messages(), (0, 0));
    }
}

#[test]
fn senders_of_large_messages_take_turns() {
    let (mut a, mut b) = pair(FRAGMENTS);
    let large = Bytes::from(vec![1; 4_000_000]);
    for from in 1..=4 {
        let mut head = Vec::new();
        crate::term::write_binary_header(&mut head, large.len());
        let chunks = SmallVec::from_iter([Bytes::from(head), large.clone()]);
        a.send(&message(from, 2), Some(Outgoing::Chunks(chunks))).unwrap();
    }
    assert_eq!(a.queued_bytes(), 4 * (large.len() + 5), "by reference");
    let (mut wire, mut written, mut arrived) = (Wire::default(), 0, Vec::new());
    let first = write_some(&mut a, 1000);
    wire.deliver(&first, &mut b);
    // A small one of somebody else waits for no more than what is encoded ahead.
    a.send_with(&message(9, 2), |out| write_integer(out, 9)).unwrap();
    while a.is_write_pending() {
        let bytes = write_some(&mut a, usize::MAX);
        written += bytes.len();
        for signal in wire.deliver(&bytes, &mut b) {
            arrived.push((signal.control.sender().unwrap().id, written));
        }
    }
    let order: Vec<_> = arrived.iter().map(|(from, _)| *from).collect();
    assert_eq!(order, [9, 1, 2, 3, 4]);
    assert!(arrived[0].1 <= 2 * (256 << 10) + (64 << 10), "{}", arrived[0].1);
    // All four end within the last four fragments and what one write takes.
    assert!(written - arrived[1].1 <= 2 * (256 << 10), "{} of {written}", arrived[1].1);
}

#[test]
fn a_flood_of_small_messages_does_not_starve_a_large_one() {
    let (mut a, mut b) = pair(FRAGMENTS);
    a.send_with(&message(1, 2), |out| write_binary(out, &[1; 1_000_000])).unwrap();
    let (mut wire, mut written) = (Wire::default(), 0);
    loop {
        while a.queued_bytes() < 2_000_000 {
            a.send_with(&message(9, 2), |out| write_binary(out, &[9; 1000])).unwrap();
        }
        let bytes = write_some(&mut a, usize::MAX);
        written += bytes.len();
        let signals = wire.deliver(&bytes, &mut b);
        if signals.iter().any(|signal| signal.control.sender().unwrap().id == 1) {
            break;
        }
        assert!(written < 20_000_000, "the large message never came");
    }
}

/// What a generated run does.
#[derive(Clone, Debug)]
enum Step {
    Send { from: u32, to: u32, bytes: usize, chunked: bool },
    Exit { from: u32, to: u32 },
    Write(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![
        8 => 0..100_usize,
        3 => 7_000..80_000_usize,
        2 => 100_000..400_000_usize,
    ];
    let step = prop_oneof![
        6 => (0..5_u32, 0..3_u32, bytes, any::<bool>())
            .prop_map(|(from, to, bytes, chunked)| Step::Send { from, to, bytes, chunked }),
        1 => (0..5_u32, 0..3_u32).prop_map(|(from, to)| Step::Exit { from, to }),
        4 => prop_oneof![1..100_usize, 1_000..300_000_usize].prop_map(Step::Write),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Nothing is lost, nothing is changed, and no signal overtakes another of its sender.
    #[test]
    fn any_run_keeps_order_and_content(steps in steps(), shape in 0..4_usize) {
        let old = BASE.without(Flags::EXIT_PAYLOAD).with(Flags::FRAGMENTS);
        let flags = [BASE, FRAGMENTS, CACHED, old][shape];
        let (mut a, mut b) = pair(flags);
        let mut wire = Wire::default();
        let mut sent: HashMap<u32, Vec<(u32, u64, usize)>> = HashMap::new();
        let mut signals = Vec::new();
        for (serial, step) in steps.into_iter().enumerate() {
            let serial = serial as u64;
            match step {
                Step::Send { from, to, bytes, chunked } => {
                    let mut payload = vec![104, 2];
                    write_integer(&mut payload, serial);
                    write_binary(&mut payload, &vec![serial as u8; bytes]);
                    if chunked {
                        let payload = Bytes::from(payload);
                        let half = payload.len() / 2;
                        let chunks = [payload.slice(..half), payload.slice(half..)];
                        let chunks = Outgoing::Chunks(SmallVec::from_iter(chunks));
                        a.send(&message(from, to), Some(chunks)).unwrap();
                    } else {
                        a.send_with(&message(from, to), |out| out.extend(payload)).unwrap();
                    }
                    sent.entry(from).or_default().push((to, serial, bytes));
                }
                Step::Exit { from, to } => {
                    let control =
                        Control::Exit { from: pid(LOCAL, from), to: pid(PEER, to), token: None };
                    a.send_with(&control, |out| write_integer(out, serial)).unwrap();
                    sent.entry(from).or_default().push((to, serial, usize::MAX));
                }
                Step::Write(bytes) => {
                    let bytes = write_some(&mut a, bytes);
                    signals.extend(wire.deliver(&bytes, &mut b));
                }
            }
        }
        while a.is_write_pending() {
            let bytes = write_some(&mut a, usize::MAX);
            signals.extend(wire.deliver(&bytes, &mut b));
        }
        prop_assert!(wire.bytes.is_empty());
        prop_assert_eq!(b.unfinished_messages(), (0, 0));
        let mut received: HashMap<u32, Vec<(u32, u64, usize)>> = HashMap::new();
        for signal in &signals {
            let from = signal.control.sender().unwrap().id;
            let (to, entry) = match (&signal.control, decoded(signal)) {
                (Control::Exit { to, .. }, Term::Integer(serial)) => {
                    (to.id, (serial as u64, usize::MAX))
                }
                (
                    Control::Send { to: Destination::Process(to), .. },
                    Term::Tuple(elements),
                ) => {
                    let [Term::Integer(serial), Term::Binary(bytes)] = &elements[..] else {
                        panic!("{elements:?}")
                    };
                    prop_assert!(bytes.iter().all(|&byte| byte == *serial as u8));
                    (to.id, (*serial as u64, bytes.len()))
                }
                other => panic!("{other:?}"),
            };
            received.entry(from).or_default().push((to, entry.0, entry.1));
        }
        prop_assert_eq!(received, sent);
    }
}
