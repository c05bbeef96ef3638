use proptest::prelude::*;

use super::*;
use crate::term::{Term, decode_parts, write_binary};

fn ids(sequence: u64, fragment: u64) -> FragmentIds {
    FragmentIds { sequence: SequenceId(sequence), fragment }
}

fn assembler() -> Assembler<u64> {
    Assembler::new(FragmentLimits::DEFAULT, Limits::DEFAULT)
}

fn part(bytes: &[u8]) -> Slice {
    Slice::copy_from(bytes)
}

fn binary(len: usize) -> Vec<u8> {
    let mut term = Vec::new();
    write_binary(&mut term, &vec![3; len]);
    term
}

#[test]
fn ids_are_read_and_checked() {
    let mut frame = Vec::new();
    ids(0x8c0_0000_1183, 4).write(true, &mut frame);
    assert_eq!(frame[..2], [131, 69]);
    assert_eq!(FragmentIds::read(&frame), Ok(ids(0x8c0_0000_1183, 4)));
    assert_eq!(FragmentIds::read(&frame[..17]), Err(FragmentError::Truncated));
    assert_eq!(FragmentIds::read(&[]), Err(FragmentError::Truncated));
    let zero_sequence = [&[131, 69][..], &[0; 8], &[0, 0, 0, 0, 0, 0, 0, 1]].concat();
    assert_eq!(FragmentIds::read(&zero_sequence), Err(FragmentError::Zero));
    let zero_fragment = [&[131, 70][..], &[1; 8], &[0; 8]].concat();
    assert_eq!(FragmentIds::read(&zero_fragment), Err(FragmentError::Zero));
}

#[test]
fn as_many_fragments_as_otp_sends() {
    // 200,005 bytes of payload behind 61 of control: 65536 + 65536 + 65536 + 3458.
    assert_eq!(fragment_count(61, 200_005), 4);
    assert_eq!(fragment_count(100, 65_436), 1);
    assert_eq!(fragment_count(100, 65_437), 2);
    assert_eq!(fragment_count(70_000, 65_536), 2);
    assert_eq!(fragment_count(70_000, 0), 1);
}

#[test]
fn a_single_fragment_is_a_message() {
    let done = assembler().start(ids(9, 1), 5, 0, part(&binary(3))).unwrap().unwrap();
    assert_eq!(done.head, 5);
    assert_eq!(done.parts.len(), 1);
    assert!(!done.uses_atom_cache);
}

#[test]
fn the_first_part_may_be_empty_and_bytes_behind_the_term_are_dropped() {
    let mut assembler = assembler();
    assert!(assembler.start(ids(9, 3), 0, 0, Slice::new()).unwrap().is_none());
    let mut bytes = binary(3);
    let len = bytes.len();
    bytes.extend_from_slice(b"JUNK");
    assert!(assembler.continuation(ids(9, 2), part(&bytes)).unwrap().is_none());
    let done = assembler.continuation(ids(9, 1), part(b"more junk")).unwrap().unwrap();
    assert_eq!(done.parts.iter().map(Slice::len).sum::<usize>(), len);
    assert_eq!((assembler.open_sequences(), assembler.open_bytes()), (0, 0));
}

#[test]
fn every_rule_that_can_be_broken() {
    let started = || {
        let mut assembler = assembler();
        assembler.start(ids(9, 3), 0, 0, part(&[109, 0, 0])).unwrap();
        assembler
    };
    let error = started().continuation(ids(9, 1), Slice::new()).unwrap_err();
    let sequence = SequenceId(9);
    assert_eq!(error, FragmentError::WrongFragment { sequence, expected: 2, came: 1 });
    let error = started().continuation(ids(8, 2), Slice::new()).unwrap_err();
    assert_eq!(error, FragmentError::Unknown(SequenceId(8)));
    let error = started().start(ids(9, 3), 0, 0, Slice::new()).unwrap_err();
    assert_eq!(error, FragmentError::Duplicate(sequence));
    let error = started().start(ids(8, u64::MAX), 0, 0, Slice::new()).unwrap_err();
    assert!(matches!(error, FragmentError::TooMany { announced: u64::MAX, .. }));
    let error = assembler().start(ids(9, 1), 0, 0, part(&[109, 0, 0])).unwrap_err();
    assert_eq!(error, FragmentError::PayloadTruncated(sequence));
    let error = started().continuation(ids(9, 2), part(&[0, 1, 7, 82, 0])).unwrap();
    assert!(error.is_none(), "the binary ended before the junk");
    let error = assembler().start(ids(9, 2), 0, 0, part(&[82, 0])).unwrap_err();
    assert!(matches!(error, FragmentError::Payload(_)), "no atoms in the header");
}

#[test]
fn limits_hold_and_memory_comes_back() {
    let limits = FragmentLimits {
        sequences_max: 2,
        sequence_bytes_max: 10_000,
        connection_bytes_max: 15_000,
    };
    let term = binary(100_000);
    let new = || Assembler::<u64>::new(limits, Limits::DEFAULT);
    let mut assembler = new();
    assembler.start(ids(1, 9), 0, 0, part(&term[..9000])).unwrap();
    let error = assembler.continuation(ids(1, 8), part(&term[9000..11_000])).unwrap_err();
    assert_eq!(error, FragmentError::SequenceTooLarge { limit: 10_000 });
    let mut assembler = new();
    assembler.start(ids(1, 9), 0, 0, part(&term[..9000])).unwrap();
    let error = assembler.start(ids(2, 9), 0, 0, part(&term[..9000])).unwrap_err();
    assert_eq!(error, FragmentError::ConnectionTooLarge { limit: 15_000 });
    let mut assembler = new();
    for sequence in 1..=2 {
        assembler.start(ids(sequence, 9), 0, 0, part(&term[..100])).unwrap();
    }
    let error = assembler.start(ids(3, 9), 0, 0, Slice::new()).unwrap_err();
    assert_eq!(error, FragmentError::TooManySequences { limit: 2 });
    // Empty fragments are not free either.
    let mut assembler = new();
    assembler.start(ids(1, 11), 0, 0, Slice::new()).unwrap();
    assert!(assembler.open_bytes() > 0);
}

#[test]
fn small_parts_do_not_pin_what_they_were_cut_from() {
    let mut slab = vec![0; 1 << 20];
    let term = binary(40_000);
    slab[..term.len()].copy_from_slice(&term);
    let slab = Slice::from(slab);
    let mut assembler = assembler();
    assembler.start(ids(1, 3), 0, 0, slab.slice(..10_000)).unwrap();
    assembler.continuation(ids(1, 2), slab.slice(10_000..20_000)).unwrap();
    let done = assembler.continuation(ids(1, 1), slab.slice(20_000..term.len())).unwrap().unwrap();
    assert_eq!(done.parts.iter().map(Slice::len).collect::<Vec<_>>(), [term.len()]);
    assert!(done.parts[0].held_bytes() < 1 << 20);
    // Larger ones stay where they are, but not in memory that is larger still.
    for (slab, in_place) in [(vec![0; 256 << 10], true), (vec![0; 1 << 20], false)] {
        let mut slab = slab;
        slab[..term.len()].copy_from_slice(&term);
        let slab = Slice::from(slab);
        let done = assembler.start(ids(1, 1), 0, 0, slab.slice(..term.len())).unwrap().unwrap();
        assert_eq!(done.parts[0].as_ptr() == slab.as_ptr(), in_place);
    }
}

/// Sequence, term, and the parts not yet delivered with their ids, last first.
type Message = (u64, Vec<u8>, Vec<(u64, Vec<u8>)>);

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Messages cut anywhere and mixed in any order come out whole.
    #[test]
    fn any_cut_and_any_interleaving(
        messages in prop::collection::vec((0..60_000_usize, prop::collection::vec(any::<u16>(), 0..6)), 1..8),
        order in prop::collection::vec(any::<u8>(), 64),
    ) {
        let mut waiting: Vec<Message> = Vec::new();
        for (sequence, (len, cuts)) in messages.iter().enumerate() {
            let term = binary(*len);
            let mut cuts: Vec<_> = cuts.iter().map(|cut| usize::from(*cut) % (term.len() + 1)).collect();
            cuts.extend([0, term.len()]);
            cuts.sort_unstable();
            let parts: Vec<_> = cuts
                .windows(2)
                .rev()
                .zip(1..)
                .map(|(cut, id)| (id, term[cut[0]..cut[1]].to_vec()))
                .collect();
            waiting.push((sequence as u64 + 1, term, parts));
        }
        let mut assembler = assembler();
        let mut begun = std::collections::HashSet::new();
        let mut picks = order.iter().cycle();
        while !waiting.is_empty() {
            let at = usize::from(*picks.next().unwrap()) % waiting.len();
            let (sequence, term, parts) = &mut waiting[at];
            let (id, bytes) = parts.pop().unwrap();
            let ids = ids(*sequence, id);
            let done = if begun.insert(*sequence) {
                assembler.start(ids, *sequence, 0, part(&bytes)).unwrap()
            } else {
                assembler.continuation(ids, part(&bytes)).unwrap()
            };
            prop_assert_eq!(done.is_some(), parts.is_empty());
            if let Some(done) = done {
                prop_assert_eq!(done.head, *sequence);
                let slices: Vec<_> = done.parts.iter().map(Slice::as_slice).collect();
                prop_assert_eq!(&slices.concat(), term);
                let decoded = decode_parts(&slices, &(), &Limits::DEFAULT).unwrap();
                prop_assert!(matches!(decoded, Term::Binary(_)));
                waiting.swap_remove(at);
            }
        }
        prop_assert_eq!((assembler.open_sequences(), assembler.open_bytes()), (0, 0));
    }
}
