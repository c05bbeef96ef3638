//! Terms against what real nodes sent, and against hostile bytes.

use std::cmp::Ordering;

use bytes::Bytes;
use serde_json::Value;

use super::*;

/// The entries of one file of captured vectors.
pub(super) fn golden(text: &str) -> Vec<Value> {
    serde_json::from_str::<Vec<Value>>(text).unwrap()
}

pub(super) const ETF_TERMS: &str = include_str!("../../../tests/golden/etf_terms.json");
pub(super) const NEGATIVE: &str = include_str!("../../../tests/golden/negative.json");

pub(super) fn hex(entry: &Value) -> Vec<u8> {
    let text = entry["hex"].as_str().unwrap();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn decode(bytes: &[u8]) -> Result<Term, DecodeErrorKind> {
    let (term, used) = Term::decode(bytes, &(), &Limits::DEFAULT).map_err(|error| error.kind)?;
    assert!(used <= bytes.len());
    Ok(term)
}

fn encode(term: &Term) -> Vec<u8> {
    let mut out = Vec::new();
    term.encode(&mut out);
    out
}

#[test]
fn what_real_nodes_sent_comes_back_byte_for_byte() {
    let mut seen = 0;
    for entry in golden(ETF_TERMS) {
        let (name, bytes) = (entry["name"].as_str().unwrap(), hex(&entry));
        if entry["truncated"].as_bool() == Some(true) {
            // Only the beginning was kept; the whole has the full length.
            let full = usize::try_from(entry["full_length"].as_u64().unwrap()).unwrap();
            let kind = decode(&bytes).unwrap_err();
            assert!(matches!(kind, DecodeErrorKind::CountBeyondInput { .. }), "{name}: {kind:?}");
            let list = Term::List(vec![Term::Integer(1); 65_536]);
            let whole = encode(&list);
            assert_eq!((whole.len(), &whole[..bytes.len()]), (full, &bytes[..]));
            continue;
        }
        let term = decode(&bytes).unwrap_or_else(|kind| panic!("{name}: {kind:?}"));
        if bytes[0] == tag::NEW_PORT {
            let Term::Port(port) = &term else { panic!("{name}") };
            assert_eq!(port.id, 0);
            assert_eq!(decode(&encode(&term)), Ok(term));
        } else {
            assert_eq!(encode(&term), bytes, "{name}");
        }
        seen += 1;
    }
    assert_eq!(seen, 80);
}

/// Reactions as OTP 29's, except for `BIT_BINARY empty`, which only OTP 25 accepts.
#[test]
fn malformed_and_odd_terms_get_the_reaction_of_real_nodes() {
    let mut seen = 0;
    for entry in golden(NEGATIVE) {
        let name = entry["name"].as_str().unwrap();
        if !name.starts_with("term.") {
            continue;
        }
        seen += 1;
        let accepted = match name {
            "term.BIT_BINARY empty" => false,
            // Older releases lack native records; the format itself is legal.
            "term.RECORD_EXT exported 1 field" => true,
            _ => entry["observed"].as_str().unwrap().contains("echoed"),
        };
        let result = decode(&hex(&entry));
        assert_eq!(result.is_ok(), accepted, "{name}: {result:?}");
        if let Ok(term) = result {
            assert_eq!(decode(&encode(&term)), Ok(term), "{name}");
        }
    }
    assert_eq!(seen, 78);
}

#[test]
fn every_fault_has_its_name() {
    use DecodeErrorKind as Kind;
    let cases: &[(&[u8], Kind)] = &[
        (b"", Kind::Truncated { needed: 1, remaining: 0 }),
        (b"\x6d\0\0\0\x05abc", Kind::Truncated { needed: 5, remaining: 3 }),
        (b"\x74\0\0\0\x02\x77\x01a\x61\x01\x77\x01a\x61\x02", Kind::DuplicateKey),
        (b"\x46\x7f\xf0\0\0\0\0\0\0", Kind::NotAFiniteFloat),
        (b"\x4d\0\0\0\x01\x00\xff", Kind::BitCount(0)),
        (b"\x4d\0\0\0\x01\x09\xff", Kind::BitCount(9)),
        (b"\x77\x02\xff\xfe", Kind::AtomNotUtf8),
        (b"\x50\0\0\0\x03", Kind::ForbiddenTag(80)),
        (b"\x79\0\0\0\0\x6a", Kind::ForbiddenTag(121)),
        (b"\x83\x61\x01", Kind::ForbiddenTag(131)),
        (b"\x75\0\0\0\0", Kind::ForbiddenTag(117)),
        (b"\x49\0\0\0\0", Kind::ForbiddenTag(73)),
        (b"\x01", Kind::UnknownTag(1)),
        (b"\x52\x00", Kind::UnknownAtomReference(0)),
        (b"\x5a\0\x06\x77\x01a\0\0\0\0", Kind::ReferenceWords(6)),
        (b"\x43\0\0\0\0\x02\x77\x01m\x77\x01r", Kind::RecordFlags(2)),
        (
            b"\x43\0\0\0\x02\x01\x77\x01m\x77\x01r\x77\x01f\x77\x01f\x61\x01\x61\x02",
            Kind::DuplicateField,
        ),
        (b"\x58\x61\x01", Kind::Unexpected { expected: "an atom", tag: 97 }),
    ];
    for (bytes, kind) in cases {
        assert_eq!(decode(bytes).as_ref(), Err(kind), "{bytes:02x?}");
    }
    assert_eq!(
        Term::decode_versioned(b"\x61\x01", &Limits::DEFAULT).unwrap_err().kind,
        Kind::MissingVersion(0x61)
    );
    assert_eq!(
        Term::decode_versioned(b"\x83\x61\x01\0", &Limits::DEFAULT).unwrap_err().kind,
        Kind::TrailingBytes(1)
    );
}

#[test]
fn odd_but_legal_forms_are_read_as_what_they_mean() {
    let x = Term::atom("x");
    for (bytes, term) in [
        (&b"\x6e\x00\x00"[..], Term::Integer(0)),
        (b"\x6e\x01\x01\x00", Term::Integer(0)),
        (b"\x6c\0\0\0\0\x6a", Term::nil()),
        (b"\x6c\0\0\0\0\x77\x01x", x.clone()),
        (b"\x6b\0\0", Term::nil()),
        (b"\x4d\0\0\0\x01\x08\xff", Term::Binary(Bytes::from_static(b"\xff"))),
        // [x | [x | "ab"]]: nested tails are one list.
        (
            b"\x6c\0\0\0\x01\x77\x01x\x6c\0\0\0\x01\x77\x01x\x6b\0\x02ab",
            Term::List(vec![x.clone(), x.clone(), 97.into(), 98.into()]),
        ),
        (
            b"\x6c\0\0\0\x01\x77\x01x\x6c\0\0\0\x01\x77\x01x\x77\x01x",
            Term::ImproperList(vec![x.clone(), x.clone()], Box::new(x.clone())),
        ),
        (b"\x6f\0\0\0\x02\x01\x01\x00", Term::Integer(-1)),
    ] {
        assert_eq!(decode(bytes).as_ref(), Ok(&term), "{bytes:02x?}");
    }
}

#[test]
fn cached_atoms_are_resolved_everywhere() {
    let atoms = [Atom::from_static("m"), Atom::from_static("n@h")];
    let bytes = b"\x68\x03\x71\x52\x00\x52\x00\x61\x02\x58\x52\x01\0\0\0\x01\0\0\0\x02\0\0\0\x03\
        \x52\x00";
    let (term, used) = Term::decode(bytes, &atoms, &Limits::DEFAULT).unwrap();
    assert_eq!(used, bytes.len());
    let m = atoms[0].clone();
    let pid = Pid { node: atoms[1].clone(), id: 1, serial: 2, creation: Creation(3) };
    let export = Export { module: m.clone(), function: m.clone(), arity: 2 };
    assert_eq!(term, Term::Tuple(vec![export.into(), pid.into(), m.into()]));
    // Encoded again it stands on its own.
    assert_eq!(decode(&encode(&term)), Ok(term));
}

#[test]
fn declared_sizes_are_refused_before_anything_is_reserved() {
    let bombs: &[&[u8]] = &[
        b"\x6c\xff\xff\xff\xff\x61\x01",
        b"\x69\xff\xff\xff\xff\x61\x01",
        b"\x74\xff\xff\xff\xff\x61\x01",
        b"\x43\xff\xff\xff\xff\x01\x77\x01m\x77\x01r",
        b"\x6d\xff\xff\xff\xff\x61\x01",
        b"\x4d\xff\xff\xff\xff\x01\x61\x01",
        b"\x6f\xff\xff\xff\xff\x01\x61\x01",
        b"\x6b\xff\xff\x01",
    ];
    for bytes in bombs {
        let start = std::time::Instant::now();
        assert!(decode(bytes).is_err(), "{bytes:02x?}");
        assert!(start.elapsed().as_millis() < 100);
    }
    // Nested: each level declares what would just fit alone.
    let mut nested = Vec::new();
    for _ in 0..400 {
        nested.extend_from_slice(b"\x6c\0\0\x0f\xff");
    }
    nested.resize(nested.len() + 4_200, tag::NIL);
    let kind = decode(&nested).unwrap_err();
    assert!(matches!(kind, DecodeErrorKind::CountBeyondInput { .. }), "{kind:?}");
}

#[test]
fn each_limit_has_its_error() {
    use DecodeErrorKind as Kind;
    let default = Limits::DEFAULT;
    let check = |bytes: &[u8], limits: Limits, kind: Kind| {
        assert_eq!(Term::decode(bytes, &(), &limits).unwrap_err().kind, kind);
        assert!(Term::decode(bytes, &(), &default).is_ok());
    };
    check(
        b"\x68\x01\x68\x01\x6a",
        Limits { depth_max: 1, ..default },
        Kind::TooDeep { depth_max: 1 },
    );
    check(
        b"\x68\x02\x6a\x6a",
        Limits { nodes_max: 2, ..default },
        Kind::TooManyTerms { nodes_max: 2 },
    );
    check(
        b"\x6b\0\x03abc",
        Limits { decoded_bytes_max: 64, ..default },
        Kind::TooMuchMemory { decoded_bytes_max: 64 },
    );
    check(
        b"\x77\x03abc",
        Limits { atom_characters_max: 2, ..default },
        Kind::AtomTooLong { characters_max: 2 },
    );
    check(
        b"\x6e\x09\0\0\0\0\0\0\0\0\0\x01",
        Limits { bignum_bytes_max: 8, ..default },
        Kind::IntegerTooLarge { bytes: 9, bytes_max: 8 },
    );
    check(
        b"\x6d\0\0\0\x03abc",
        Limits { binary_bytes_max: 2, ..default },
        Kind::BinaryTooLarge { bytes: 3, bytes_max: 2 },
    );
    check(
        b"\x68\x02\x6a\x6a",
        Limits { count_max: 1, ..default },
        Kind::CountTooLarge { count: 2, count_max: 1 },
    );
}

/// On a stack as small as that of any thread, in a debug build.
#[test]
fn the_deepest_owned_terms_can_be_used_like_any_other() {
    for (opening, closing) in [
        (&b"\x68\x01"[..], &b""[..]),
        (b"\x6c\0\0\0\x01", b"\x6a"),
        (b"\x74\0\0\0\x01\x6a", b""),
        (b"\x74\0\0\0\x01", b"\x6a"),
    ] {
        let nest = |depth: usize| {
            let mut bytes = opening.repeat(depth);
            bytes.push(tag::NIL);
            bytes.extend(closing.repeat(depth));
            bytes
        };
        let term = decode(&nest(Term::DEPTH_MAX)).unwrap();
        let copy = term.clone();
        assert_eq!(term, copy);
        assert_eq!(term.cmp(&copy), Ordering::Equal);
        assert_eq!(decode(&encode(&copy)), Ok(term));
        let depth_max = Term::DEPTH_MAX;
        let kind = decode(&nest(Term::DEPTH_MAX + 1)).unwrap_err();
        assert_eq!(kind, DecodeErrorKind::TooDeep { depth_max });
        assert!(decode(&nest(100_000)).is_err());
    }
}

#[test]
fn a_list_nested_through_its_tails_is_not_deep() {
    let mut bytes = b"\x6c\0\0\0\x01\x6a".repeat(100_000);
    bytes.push(tag::NIL);
    let Ok(Term::List(elements)) = decode(&bytes) else { panic!() };
    assert_eq!(elements.len(), 100_000);
}

#[test]
fn order_of_types_numbers_and_lists() {
    let big = decode(b"\x6e\x09\0\0\0\0\0\0\0\0\0\x01").unwrap();
    let reference = Reference::new(Atom::from_static("n"), Creation(1), &[1, 2, 3]).unwrap();
    let pid = Pid { node: Atom::from_static("n"), id: 1, serial: 1, creation: Creation(1) };
    let port = Port { node: Atom::from_static("n"), id: 1, creation: Creation(1) };
    let a = Term::atom("a");
    let export =
        Export { module: Atom::from_static("m"), function: Atom::from_static("f"), arity: 1 };
    let bits = |bytes: &'static [u8], bits| {
        Term::BitString(BitString::new(Bytes::from_static(bytes), bits).unwrap())
    };
    let ascending = [
        Term::Integer(-1),
        Term::Float(0.5),
        Term::Integer(1),
        big,
        a.clone(),
        Term::atom("b"),
        reference.into(),
        export.into(),
        port.into(),
        pid.into(),
        Term::Tuple(vec![Term::Integer(9)]),
        Term::Tuple(vec![Term::Integer(1), a.clone()]),
        Term::Map(Map::new()),
        Term::Map([(Term::Integer(2), a.clone())].into_iter().collect()),
        Term::Map([(Term::Float(1.0), a.clone())].into_iter().collect()),
        Term::nil(),
        Term::ImproperList(vec![a.clone()], Box::new(Term::Integer(1))),
        Term::List(vec![a.clone()]),
        Term::List(vec![a.clone(), a.clone()]),
        Term::List(vec![Term::atom("b")]),
        Term::from(""),
        bits(&[0b1010_0000], 3),
        Term::Binary(Bytes::from_static(&[0b1010_0000])),
        bits(&[0b1010_0000, 0], 1),
    ];
    for (i, x) in ascending.iter().enumerate() {
        for (j, y) in ascending.iter().enumerate() {
            assert_eq!(x.compare(y), i.cmp(&j), "{x:?} {y:?}");
            assert_eq!(x == y, i == j);
        }
    }
    let (one, one_point) = (Term::Integer(1), Term::Float(1.0));
    assert_eq!(one.compare(&one_point), Ordering::Equal);
    assert_ne!(one, one_point);
    assert_eq!(one.cmp(&one_point), Ordering::Less);
    assert_ne!(Term::Float(0.0), Term::Float(-0.0));
    assert_eq!(Term::Float(0.0).compare(&Term::Float(-0.0)), Ordering::Equal);
    // As keys, 2 comes before 1.0.
    assert_eq!(Term::Integer(2).compare_as_key(&one_point), Ordering::Less);
}

#[test]
fn maps_find_insert_and_refuse_duplicates() {
    let pair = |key: Term, value: i64| (key, Term::Integer(value));
    let one_and_one_point = vec![pair(Term::Float(1.0), 1), pair(Term::Integer(1), 2)];
    let mut map = Map::from_pairs(one_and_one_point).unwrap();
    assert_eq!(map.get(&Term::Float(1.0)), Some(&Term::Integer(1)));
    assert_eq!(map.insert(Term::atom("k"), Term::Integer(3)), None);
    assert_eq!(map.get_atom("k"), Some(&Term::Integer(3)));
    assert_eq!(map.get_atom("j"), None);
    assert_eq!(map.insert(Term::atom("k"), Term::Integer(4)), Some(Term::Integer(3)));
    let twice = vec![pair(Term::atom("a"), 1), pair(Term::atom("a"), 2)];
    assert_eq!(Map::from_pairs(twice.clone()), Err(DuplicateKey));
    assert_eq!(twice.into_iter().collect::<Map>().get_atom("a"), Some(&Term::Integer(2)));
}

#[test]
fn big_binaries_are_gathered_by_reference() {
    let big = Bytes::from(vec![7; Gather::THRESHOLD_BYTES]);
    let term = Term::Tuple(vec![Term::atom("x"), big.clone().into(), Term::from("small")]);
    let gather = term.encode_gather(Gather::THRESHOLD_BYTES);
    assert_eq!(gather.parts.len(), 3);
    assert_eq!(gather.parts[1].as_ptr(), big.as_ptr());
    assert_eq!(gather.parts.concat(), encode(&term));
    assert_eq!(gather.len(), encode(&term).len());
    let parts: Vec<&[u8]> = gather.parts.iter().map(|part| &part[..]).collect();
    assert_eq!(decode_parts(&parts, &(), &Limits::DEFAULT).as_ref(), Ok(&term));
    // And a message that is shared gives its big binaries away by reference.
    let message = Bytes::from(encode(&term));
    let (shared, used) = Term::decode_shared(&message, &(), &Limits::DEFAULT).unwrap();
    assert_eq!((&shared, used), (&term, message.len()));
    let within = |term: &Term| message.as_ptr_range().contains(&term.as_binary().unwrap().as_ptr());
    let elements = shared.as_tuple().unwrap();
    assert!(within(&elements[1]) && !within(&elements[2]));
}

#[test]
fn parts_may_be_cut_anywhere() {
    for entry in golden(ETF_TERMS) {
        let bytes = hex(&entry);
        let Ok((whole, used)) = Term::decode(&bytes, &(), &Limits::DEFAULT) else { continue };
        for cut in 0..bytes.len() {
            let parts = [&bytes[..cut], &[], &bytes[cut..]];
            assert_eq!(decode_parts(&parts, &(), &Limits::DEFAULT).as_ref(), Ok(&whole));
            if cut < used {
                assert!(decode_parts(&parts[..2], &(), &Limits::DEFAULT).is_err());
            }
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode_parts(&single, &(), &Limits::DEFAULT), Ok(whole));
    }
}

#[test]
fn terms_are_small() {
    assert!(size_of::<Atom>() <= 24, "{}", size_of::<Atom>());
    assert!(size_of::<Option<Pid>>() <= 40, "{}", size_of::<Option<Pid>>());
    assert!(size_of::<Term>() <= 56, "{}", size_of::<Term>());
}
