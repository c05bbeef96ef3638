//! The assembler under any sequence of fragments, beside a model that joins them.

use std::collections::HashMap;

use krarup_transport::buffer::Slice;
use krarup_transport::dist::fragment::{
    Assembled, Assembler, FragmentError, FragmentIds, FragmentLimits, SequenceId,
};
use krarup_transport::term::{Atom, Limits, Term, decode_parts, validate};

/// Small limits, so that short inputs reach them.
const LIMITS: FragmentLimits =
    FragmentLimits { sequences_max: 4, sequence_bytes_max: 4 << 10, connection_bytes_max: 8 << 10 };

/// Atoms of every start frame's header.
const ENTRIES: usize = 2;

/// Steps of four bytes: start or continuation with a sequence, its fragment id, and how many of
/// the bytes that follow are its content.
pub fn run(mut steps: &[u8]) {
    let mut assembler = Assembler::<u64>::new(LIMITS, Limits::DEFAULT);
    // What is open: the next id, and all content so far.
    let mut model: HashMap<u64, (u64, Vec<u8>)> = HashMap::new();
    while let [what, id, high, low, rest @ ..] = steps {
        let (content, rest) =
            rest.split_at((usize::from(*high) << 8 | usize::from(*low)).min(rest.len()));
        steps = rest;
        let sequence = u64::from(what >> 1 & 7);
        let fragment = if *id == 255 { u64::MAX } else { u64::from(*id) };
        let mut frame = vec![131, 69];
        frame.extend_from_slice(&sequence.to_be_bytes());
        frame.extend_from_slice(&fragment.to_be_bytes());
        let ids = match FragmentIds::read(&frame) {
            Ok(ids) => ids,
            Err(error) => {
                assert!(error == FragmentError::Zero && (sequence == 0 || fragment == 0));
                continue;
            }
        };
        assert_eq!(ids, FragmentIds { sequence: SequenceId(sequence), fragment });
        let part = Slice::copy_from(content);
        let (outcome, joined) = if what & 1 == 0 {
            let is_open = model.contains_key(&sequence);
            let outcome = assembler.start(ids, sequence, ENTRIES, part);
            let duplicate = Some(&FragmentError::Duplicate(ids.sequence));
            let too_many = matches!(outcome, Err(FragmentError::TooMany { .. }));
            assert_eq!(outcome.as_ref().err() == duplicate, is_open && !too_many);
            (outcome, content.to_vec())
        } else {
            let expected = model.get(&sequence).map(|(next, _)| *next);
            let outcome = assembler.continuation(ids, part);
            if expected != Some(fragment) {
                // The connection ends.
                outcome.expect_err("out of order");
                return;
            }
            let mut joined = model.remove(&sequence).map(|(_, joined)| joined).unwrap_or_default();
            joined.extend_from_slice(content);
            (outcome, joined)
        };
        match outcome {
            Err(error) => {
                // In one piece it is refused, too, though perhaps only for being incomplete: an
                // atom that is too long, say, is known to be so before all of it is there.
                if let FragmentError::Payload(_) = error {
                    validate(&joined, ENTRIES, &Limits::DEFAULT).expect_err("the same");
                }
                return;
            }
            Ok(None) => {
                assert!(fragment > 1);
                model.insert(sequence, (fragment - 1, joined));
            }
            Ok(Some(assembled)) => {
                assert_eq!((fragment, assembled.head), (1, sequence));
                check(&assembled, &joined);
            }
        }
        assert_eq!(assembler.open_sequences(), model.len());
        assert!(assembler.open_sequences() <= LIMITS.sequences_max);
        assert!(assembler.open_bytes() <= LIMITS.connection_bytes_max);
    }
}

/// The assembled message is what one frame with all of it would have been.
fn check(assembled: &Assembled<u64>, joined: &[u8]) {
    let parts: Vec<_> = assembled.parts.iter().map(Slice::as_slice).collect();
    let bytes = parts.concat();
    if joined.is_empty() {
        assert!(bytes.is_empty());
        return;
    }
    let atoms = [Atom::from_static("a"), Atom::from_static("b")];
    let in_parts = decode_parts(&parts, &atoms, &Limits::DEFAULT);
    let Ok(whole) = validate(joined, ENTRIES, &Limits::DEFAULT) else {
        // What occurs twice is found when the parts are decoded: by then they are all there.
        in_parts.expect_err("neither in parts nor in one piece");
        return;
    };
    assert_eq!(bytes, joined[..whole.len]);
    assert_eq!(assembled.uses_atom_cache, whole.uses_atom_cache);
    let in_one = Term::decode(&bytes, &atoms, &Limits::DEFAULT);
    match (in_parts, in_one) {
        (Ok(in_parts), Ok((in_one, _))) => assert_eq!(in_parts, in_one),
        (Err(_), Err(_)) => {}
        other => panic!("{other:?}"),
    }
}
