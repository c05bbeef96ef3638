//! Views show what decoding builds.

use proptest::prelude::*;

use super::super::property_tests::any_term;
use super::super::tests::{ETF_TERMS, NEGATIVE, golden, hex};
use super::*;

/// Builds the owned term by walking the view.
fn rebuild(term: TermRef<'_>) -> Term {
    match term {
        TermRef::Tuple(tuple) => {
            assert_eq!(tuple.iter().count(), tuple.len());
            if let Some(last) = tuple.len().checked_sub(1) {
                let last = tuple.get(last).map(rebuild);
                assert_eq!(last, tuple.iter().last().map(rebuild));
            }
            Term::Tuple(tuple.iter().map(rebuild).collect())
        }
        TermRef::List(list) => {
            let mut items = list.iter();
            let elements: Vec<Term> = items.by_ref().map(rebuild).collect();
            assert_eq!(list.is_empty(), elements.is_empty());
            let tail = items.tail().map_or(Term::nil(), rebuild);
            Term::improper_list(elements, tail)
        }
        TermRef::Map(map) => {
            let pairs = map.iter().map(|(key, value)| (rebuild(key), rebuild(value)));
            super::super::Map::from_pairs(pairs.collect()).unwrap().into()
        }
        leaf => leaf.to_term(&Limits::DEFAULT).unwrap(),
    }
}

#[test]
fn views_show_what_decoding_builds() {
    for entry in golden(ETF_TERMS).iter().chain(&golden(NEGATIVE)) {
        let bytes = hex(entry);
        let decoded = Term::decode(&bytes, &(), &Limits::DEFAULT);
        let view = TermRef::decode(&bytes, &[], &Limits::DEFAULT);
        match (decoded, view) {
            (Ok((term, used)), Ok((view, len))) => {
                assert_eq!((rebuild(view), len), (term.clone(), used));
                assert_eq!(view.to_term(&Limits::DEFAULT), Ok(term));
            }
            (Err(_), Err(_)) => {}
            (decoded, view) => panic!("{decoded:?} {view:?}"),
        }
    }
}

#[test]
fn patterns_and_look_ups() {
    let bytes = b"\x68\x02\x77\x02ok\x74\0\0\0\x02\x77\x01a\x61\x01\x77\x01b\x6b\0\x02hi";
    let (term, used) = TermRef::decode(bytes, &[], &Limits::DEFAULT).unwrap();
    assert_eq!(used, bytes.len());
    let Some([TermRef::Atom("ok"), TermRef::Map(map)]) = term.elements() else { panic!() };
    assert_eq!(map.get_atom("a").and_then(|value| value.as_integer()), Some(1));
    let Some(TermRef::List(list)) = map.get_atom("b") else { panic!() };
    assert_eq!(list.as_bytes(), Some(&b"hi"[..]));
    assert!(map.get_atom("c").is_none());
    assert!(term.elements::<3>().is_none());
}

/// Counts everything there is to see.
fn count(term: TermRef<'_>) -> usize {
    1 + match term {
        TermRef::Tuple(tuple) => tuple.iter().map(count).sum(),
        TermRef::List(list) => {
            let mut items = list.iter();
            let elements: usize = items.by_ref().map(count).sum();
            elements + items.tail().map_or(0, count)
        }
        TermRef::Map(map) => map.iter().map(|(key, value)| count(key) + count(value)).sum(),
        _ => 0,
    }
}

#[test]
fn bytes_that_were_never_validated_do_no_harm() {
    for bytes in [
        &b"\x68\x03\x61\x01"[..],
        b"\x68\x03\x68\xff\x61\x01",
        b"\x6c\xff\xff\xff\xff\x61\x01",
        b"\x74\xff\xff\xff\xff",
        b"\x6b\xff\xff\x01",
        b"\x68\x01\x77\x02\xff\xff",
    ] {
        if let Ok(view) = TermRef::validated(bytes, &[]) {
            assert!(count(view) <= bytes.len());
            assert!(view.to_term(&Limits::DEFAULT).is_err());
            if let TermRef::Tuple(TupleRef { encoded }) = view {
                assert_eq!(encoded.bytes(), bytes);
            }
        }
    }
    assert!(TermRef::validated(b"", &[]).is_err());
    assert!(TermRef::validated(b"\x77\x02\xff\xff", &[]).is_err());
    assert!(TermRef::validated(&b"\x6c\0\0\0\0".repeat(100_000), &[]).is_err());
}

#[test]
fn the_bytes_of_a_term_end_where_it_does() {
    let bytes = b"\x68\x02\x68\x01\x71\x77\x01m\x77\x01f\x61\x02\x61\x07";
    let (term, _) = TermRef::decode(bytes, &[], &Limits::DEFAULT).unwrap();
    let Some([TermRef::Tuple(inner), TermRef::Integer(7)]) = term.elements() else { panic!() };
    let Some(TermRef::Other(export)) = inner.get(0) else { panic!() };
    assert_eq!(export.bytes(), b"\x71\x77\x01m\x77\x01f\x61\x02");
    assert!(inner.get(1).is_none());
}

proptest! {
    #[test]
    fn any_term_is_seen_whole(term in any_term()) {
        let mut bytes = Vec::new();
        term.encode(&mut bytes);
        let (view, _) = TermRef::decode(&bytes, &[], &Limits::DEFAULT).unwrap();
        prop_assert_eq!(rebuild(view), term);
    }
}
