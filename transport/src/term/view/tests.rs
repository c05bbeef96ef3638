//! Views show what decoding builds.

use proptest::prelude::*;

use super::super::Port;
use super::super::property_tests::any_term;
use super::super::tests::{ETF_TERMS, NEGATIVE, golden, hex};
use super::*;

/// Builds the owned term by walking the view.
fn rebuild(term: TermRef<'_>) -> Term {
    match term.kind() {
        TermKind::Tuple(tuple) => {
            assert_eq!(tuple.iter().count(), tuple.len());
            if let Some(last) = tuple.len().checked_sub(1) {
                let last = tuple.get(last).map(rebuild);
                assert_eq!(last, tuple.iter().last().map(rebuild));
            }
            Term::Tuple(tuple.iter().map(rebuild).collect())
        }
        TermKind::List(list) => {
            let mut items = list.iter();
            let elements: Vec<Term> = items.by_ref().map(rebuild).collect();
            assert_eq!(list.is_empty(), elements.is_empty());
            let tail = items.tail().map_or(Term::nil(), rebuild);
            Term::improper_list(elements, tail)
        }
        TermKind::Map(map) => {
            let pairs = map.iter().map(|(key, value)| (rebuild(key), rebuild(value)));
            super::super::Map::from_pairs(pairs.collect()).unwrap().into()
        }
        leaf => match rebuild_leaf(leaf) {
            Some(leaf) => leaf,
            None => term.to_term(&Limits::DEFAULT).unwrap(),
        },
    }
}

fn rebuild_leaf(leaf: TermKind<'_>) -> Option<Term> {
    Some(match leaf {
        TermKind::Integer(value) => Term::Integer(value),
        TermKind::BigInteger(value) => Term::from(value.to_bigint()),
        TermKind::Float(value) => Term::Float(value),
        TermKind::Atom(name) => Term::Atom(Atom::new(name).unwrap()),
        TermKind::Pid(pid) => Term::Pid(pid.to_pid().unwrap()),
        TermKind::Port(PortRef { node, id, creation }) => {
            Term::Port(Port { node: Atom::new(node).unwrap(), id, creation })
        }
        TermKind::Reference(reference) => Term::Reference(reference.to_reference().unwrap()),
        TermKind::Binary(bytes) => Term::from(bytes),
        TermKind::BitString(BitStringRef { bytes, last_bits }) => {
            let bytes = bytes::Bytes::copy_from_slice(bytes);
            Term::BitString(super::super::BitString::new(bytes, last_bits).unwrap())
        }
        _ => return None,
    })
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
    let Some([TermKind::Atom("ok"), TermKind::Map(map)]) = term.elements() else { panic!() };
    assert_eq!(map.get_atom("a").and_then(|value| value.as_integer()), Some(1));
    let Some(TermKind::List(list)) = map.get_atom("b").map(|value| value.kind()) else { panic!() };
    assert_eq!(list.as_bytes(), Some(&b"hi"[..]));
    assert!(map.get_atom("c").is_none());
    assert!(term.elements::<3>().is_none());
}

#[test]
fn a_list_without_elements_is_its_tail() {
    let empty = b"\x6c\0\0\0\0";
    for (tail, term) in [
        (&b"\x6a"[..], Term::nil()),
        (b"\x61\x05", Term::Integer(5)),
        (b"\x6c\0\0\0\x01\x61\x05\x61\x06", Term::improper_list(vec![5.into()], 6.into())),
    ] {
        for count in 1..4 {
            let bytes = [&empty.repeat(count), tail].concat();
            let (view, used) = TermRef::decode(&bytes, &[], &Limits::DEFAULT).unwrap();
            assert_eq!((rebuild(view), used), (term.clone(), bytes.len()));
        }
    }
}

/// Counts everything there is to see.
fn count(term: TermRef<'_>) -> usize {
    1 + match term.kind() {
        TermKind::Tuple(tuple) => tuple.iter().map(count).sum(),
        TermKind::List(list) => {
            let mut items = list.iter();
            let elements: usize = items.by_ref().map(count).sum();
            elements + items.tail().map_or(0, count)
        }
        TermKind::Map(map) => map.iter().map(|(key, value)| count(key) + count(value)).sum(),
        _ => 0,
    }
}

/// What a term is, without what is in it. Nothing of a list, but its bytes if it came as such.
fn heads(kind: TermKind<'_>) -> Vec<String> {
    match kind {
        TermKind::Tuple(tuple) => vec![format!("tuple of {}", tuple.len())],
        TermKind::Map(map) => vec![format!("map of {}", map.len())],
        TermKind::List(list) => {
            let bytes = list.as_bytes().unwrap_or(&[]).iter();
            bytes.flat_map(|&byte| heads(TermKind::Integer(byte.into()))).collect()
        }
        leaf => vec![format!("{leaf:?}")],
    }
}

/// As [`Preorder`], by looking into one container after the other.
fn heads_of_all(term: TermRef<'_>, heads_of: &mut Vec<String>) {
    let kind = term.kind();
    if !matches!(kind, TermKind::List(_)) {
        heads_of.extend(heads(kind));
    }
    match kind {
        TermKind::Tuple(tuple) => tuple.iter().for_each(|term| heads_of_all(term, heads_of)),
        TermKind::List(list) => {
            let mut items = list.iter();
            items.by_ref().for_each(|term| heads_of_all(term, heads_of));
            items.tail().into_iter().for_each(|term| heads_of_all(term, heads_of));
        }
        TermKind::Map(map) => map.iter().for_each(|(key, value)| {
            heads_of_all(key, heads_of);
            heads_of_all(value, heads_of);
        }),
        _ => {}
    }
}

fn assert_preorder_shows_all(term: TermRef<'_>) {
    let mut expected = Vec::new();
    heads_of_all(term, &mut expected);
    assert_eq!(term.preorder().flat_map(heads).collect::<Vec<_>>(), expected, "{term:?}");
}

#[test]
fn preorder_shows_what_is_in_containers() {
    for entry in golden(ETF_TERMS).iter().chain(&golden(NEGATIVE)) {
        let bytes = hex(entry);
        if let Ok((term, _)) = TermRef::decode(&bytes, &[], &Limits::DEFAULT) {
            assert_preorder_shows_all(term);
        }
    }
    let atoms = [Atom::from_static("a@h")];
    for bytes in [
        &b"\x6c\0\0\0\x01\x61\x05\x6c\0\0\0\0\x6c\0\0\0\x01\x61\x06\x6b\0\x02ab"[..],
        b"\x6c\0\0\0\0\x6c\0\0\0\0\x61\x05",
        b"\x69\0\0\0\x02\x6a\x68\0",
        b"\x68\x03\x52\0\x58\x52\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\x61\x07",
        b"\x68\x02\x5a\0\x01\x77\x01\x61\0\0\0\x01\0\0\0\x02\x61\x07",
        b"\x68\x02\x5a\0\x01\x76\0\x01\x61\0\0\0\x01\0\0\0\x02\x61\x07",
    ] {
        let (term, used) = TermRef::decode(bytes, &atoms, &Limits::DEFAULT).unwrap();
        assert_eq!(used, bytes.len());
        assert_preorder_shows_all(term);
    }
}

#[test]
fn bytes_that_were_never_validated_do_no_harm() {
    let lists = b"\x6c\0\0\0\0".repeat(100_000);
    for bytes in [
        &b"\x68\x03\x61\x01"[..],
        b"\x68\x03\x68\xff\x61\x01",
        b"\x6c\xff\xff\xff\xff\x61\x01",
        b"\x74\xff\xff\xff\xff",
        b"\x6b\xff\xff\x01",
        b"\x68\x01\x77\x02\xff\xff",
        b"\x77\x02\xff\xff",
        b"\x58\x77\x01a",
        b"\x69\xff",
        b"\x6c",
        b"",
        &lists,
    ] {
        let view = TermRef::validated(bytes, &[]);
        assert!(count(view) <= bytes.len() + 1);
        assert!(view.preorder().count() <= bytes.len());
        assert!(view.to_term(&Limits::DEFAULT).is_err());
        assert!(view.bytes().len() <= bytes.len());
    }
}

#[test]
fn the_bytes_of_a_term_end_where_it_does() {
    let bytes = b"\x68\x02\x68\x01\x71\x77\x01m\x77\x01f\x61\x02\x61\x07";
    let (term, _) = TermRef::decode(bytes, &[], &Limits::DEFAULT).unwrap();
    assert_eq!(term.bytes(), bytes);
    let Some([TermKind::Tuple(inner), TermKind::Integer(7)]) = term.elements() else { panic!() };
    let TermKind::Other(export) = inner.get(0).unwrap().kind() else { panic!() };
    assert_eq!(export.bytes(), b"\x71\x77\x01m\x77\x01f\x61\x02");
    assert!(inner.get(1).is_none());
}

proptest! {
    #[test]
    fn any_term_is_seen_whole(term in any_term()) {
        let mut bytes = Vec::new();
        term.encode(&mut bytes);
        let (view, _) = TermRef::decode(&bytes, &[], &Limits::DEFAULT).unwrap();
        assert_preorder_shows_all(view);
        prop_assert_eq!(rebuild(view), term);
    }

    #[test]
    fn damaged_terms_do_no_harm_and_are_seen_alike(
        term in any_term(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = Vec::new();
        term.encode(&mut bytes);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok((view, _)) = TermRef::decode(&bytes, &[], &Limits::DEFAULT) {
            assert_preorder_shows_all(view);
        }
        let view = TermRef::validated(&bytes, &[]);
        prop_assert!(view.preorder().count() <= bytes.len());
        prop_assert!(count(view) <= bytes.len() + 1);
    }
}
