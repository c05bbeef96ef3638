//! Properties that hold for every term, and agreement between the ways to read one.

use std::cmp::Ordering;

use bytes::Bytes;
use num_bigint::BigInt;
use proptest::prelude::*;

use super::tests::{ETF_TERMS, NEGATIVE, golden, hex};
use super::*;

pub(super) fn any_atom() -> impl Strategy<Value = Atom> {
    prop_oneof![
        Just(Atom::from_static("ok")),
        "[a-z][a-zA-Z0-9_@]{0,30}".prop_map(|name| Atom::new(&name).unwrap()),
        "\\PC{0,20}".prop_map(|name| Atom::new(&name).unwrap()),
        Just(Atom::new(&"ß".repeat(255)).unwrap()),
    ]
}

fn any_pid() -> impl Strategy<Value = Pid> {
    (any_atom(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(node, id, serial, c)| Pid {
        node,
        id,
        serial,
        creation: Creation(c),
    })
}

fn any_leaf() -> impl Strategy<Value = Term> {
    prop_oneof![
        any::<u8>().prop_map(Term::from),
        any::<i32>().prop_map(Term::from),
        any::<i64>().prop_map(Term::from),
        any::<i128>().prop_map(|value| Term::from(BigInt::from(value))),
        prop::collection::vec(any::<u32>(), 1..80)
            .prop_map(|digits| Term::from(BigInt::new(num_bigint::Sign::Minus, digits))),
        prop::num::f64::NORMAL.prop_map(Term::Float),
        (-4_i8..4).prop_map(|value| Term::Float(f64::from(value))),
        any_atom().prop_map(Term::from),
        any_pid().prop_map(Term::from),
        (any_atom(), any::<u64>(), any::<u32>()).prop_map(|(node, id, c)| Port {
            node,
            id,
            creation: Creation(c)
        }
        .into()),
        (any_atom(), prop::collection::vec(any::<u32>(), 1..=5), any::<u32>())
            .prop_map(|(node, words, c)| Reference::new(node, Creation(c), &words).unwrap().into()),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Bytes::from(bytes).into()),
        "\\PC{0,12}".prop_map(Term::from),
        "\\PC{0,12}".prop_map(|text| Term::charlist(&text)),
        (prop::collection::vec(any::<u8>(), 1..9), 1..=7_u8)
            .prop_map(|(bytes, bits)| BitString::new(Bytes::from(bytes), bits).unwrap().into()),
        (any_atom(), any_atom(), any::<u8>()).prop_map(|(module, function, arity)| Export {
            module,
            function,
            arity
        }
        .into()),
    ]
}

pub(super) fn any_term() -> impl Strategy<Value = Term> {
    any_leaf().prop_recursive(5, 48, 8, |inner| {
        let terms = || prop::collection::vec(inner.clone(), 0..8);
        prop_oneof![
            terms().prop_map(Term::Tuple),
            terms().prop_map(Term::List),
            (terms(), inner.clone()).prop_map(|(list, tail)| Term::improper_list(list, tail)),
            prop::collection::vec((inner.clone(), inner.clone()), 0..8)
                .prop_map(|pairs| Term::Map(pairs.into_iter().collect())),
            (any::<u8>(), any::<[u8; 16]>(), any::<u32>(), any_atom(), any_pid(), terms())
                .prop_map(|(arity, uniq, index, module, pid, free)| {
                    let (old_index, old_uniq) = (i64::from(index), 1 << 40);
                    Fun { arity, uniq, index, module, old_index, old_uniq, pid, free }.into()
                }),
            (any::<bool>(), any_atom(), any_atom(), terms()).prop_map(
                |(exported, module, name, values)| {
                    let names = (0..).map(|i| Atom::new(&format!("f{i}")).unwrap());
                    let fields = names.zip(values).collect();
                    Record { exported, module, name, fields }.into()
                }
            ),
        ]
    })
}

fn encode(term: &Term) -> Vec<u8> {
    let mut out = Vec::new();
    term.encode(&mut out);
    out
}

/// Feeds the bytes in pieces of these lengths, over and over.
fn feed(
    bytes: &[u8],
    atom_entries: usize,
    lengths: &[usize],
) -> Result<Option<usize>, DecodeError> {
    let mut validator = Validator::new(Limits::DEFAULT, atom_entries);
    let (mut rest, mut before) = (bytes, 0);
    for &length in lengths.iter().cycle() {
        let (piece, after) = rest.split_at(length.clamp(1, rest.len().max(1)).min(rest.len()));
        match validator.feed(piece)? {
            Progress::Done { used } => return Ok(Some(before + used)),
            Progress::NeedMore if after.is_empty() => return Ok(None),
            Progress::NeedMore => (rest, before) = (after, before + piece.len()),
        }
    }
    Ok(None)
}

/// All readers say the same about these bytes.
fn agree(bytes: &[u8], lengths: &[usize]) {
    let limits = Limits::DEFAULT;
    let decoded = Term::decode(bytes, &(), &limits);
    let valid = validate(bytes, 0, &limits);
    let fed = feed(bytes, 0, lengths);
    match &decoded {
        Ok((term, used)) => {
            assert_eq!(valid.as_ref().map(|valid| valid.len), Ok(*used), "{bytes:02x?}");
            assert_eq!(fed, Ok(Some(*used)), "{bytes:02x?}");
            let again = encode(term);
            let (same, _) = Term::decode(&again, &(), &limits).unwrap();
            assert_eq!(&same, term);
        }
        Err(error) => match &valid {
            Ok(_) => assert!(error.is_limit(), "{error}: {bytes:02x?}"),
            Err(other) => {
                let seen = matches!(fed, Err(_) | Ok(None));
                let late = matches!(
                    other.kind,
                    DecodeErrorKind::DuplicateKey
                        | DecodeErrorKind::DuplicateField
                        | DecodeErrorKind::CountBeyondInput { .. }
                        | DecodeErrorKind::TooDeep { .. }
                );
                assert!(seen || late, "{error} {other}: {bytes:02x?}");
            }
        },
    }
}

#[test]
fn readers_agree_on_captured_terms_however_cut() {
    for entry in golden(ETF_TERMS).iter().chain(&golden(NEGATIVE)) {
        let bytes = hex(entry);
        for length in [1, 2, 3, 5, 7, 11, 64, bytes.len().max(1)] {
            agree(&bytes, &[length]);
        }
        for end in 0..bytes.len().min(200) {
            agree(&bytes[..end], &[3, 1]);
        }
    }
}

#[test]
fn duplicates_are_found_in_any_encoding_and_number() {
    let duplicate = |bytes: &[u8]| {
        let kind = validate(bytes, 0, &Limits::DEFAULT).unwrap_err().kind;
        assert_eq!(kind, DecodeErrorKind::DuplicateKey, "{bytes:02x?}");
        let kind = Term::decode(bytes, &(), &Limits::DEFAULT).unwrap_err().kind;
        assert_eq!(kind, DecodeErrorKind::DuplicateKey, "{bytes:02x?}");
    };
    for (a, b) in [
        (&b"\x61\x01"[..], &b"\x62\0\0\0\x01"[..]),
        (b"\x61\x01", b"\x6e\x01\0\x01"),
        (b"\x77\x01a", b"\x76\0\x01a"),
        (b"\x77\x01a", b"\x64\0\x01a"),
        (b"\x77\x02\xc3\xa9", b"\x73\x01\xe9"),
        (b"\x6b\0\x01\x05", b"\x6c\0\0\0\x01\x61\x05\x6a"),
        (b"\x6a", b"\x6c\0\0\0\0\x6a"),
        (b"\x77\x01a", b"\x6c\0\0\0\0\x77\x01a"),
        (b"\x6d\0\0\0\x01\xff", b"\x4d\0\0\0\x01\x08\xff"),
        (b"\x68\x01\x61\x01", b"\x69\0\0\0\x01\x61\x01"),
        // A map as a key, its pairs in another order.
        (b"\x74\0\0\0\x02\x61\x01\x6a\x61\x02\x6a", b"\x74\0\0\0\x02\x61\x02\x6a\x61\x01\x6a"),
    ] {
        let mut bytes = b"\x74\0\0\0\x03".to_vec();
        for key in [a, b"\x77\x05other", b] {
            bytes.extend_from_slice(key);
            bytes.push(tag::NIL);
        }
        duplicate(&bytes);
    }
    // Inside the key of another map, and the value.
    let twice = b"\x74\0\0\0\x02\x61\x01\x6a\x61\x01\x6a";
    let once = b"\x74\0\0\0\x02\x61\x01\x6a\x61\x02\x6a";
    duplicate(&[b"\x74\0\0\0\x02", &twice[..], b"\x6a\x61\x01\x6a"].concat());
    duplicate(&[b"\x74\0\0\0\x02\x61\x01", &twice[..], &once[..], b"\x6a"].concat());
    duplicate(&[b"\x74\0\0\0\x01", &twice[..], b"\x6a"].concat());
    // Many keys, descending so that the order does not give it away.
    let mut many = b"\x74\0\0\x03\xe9".to_vec();
    for key in (0..1000_i32).rev().chain([500]) {
        write::write_integer(&mut many, key);
        many.push(tag::NIL);
    }
    duplicate(&many);
    many.truncate(many.len() - 6);
    many[4] = 0xe8;
    assert!(validate(&many, 0, &Limits::DEFAULT).is_ok());
}

#[test]
fn a_cached_key_is_compared_by_name_where_the_table_is() {
    let bytes = b"\x74\0\0\0\x02\x52\x00\x6a\x77\x01a\x6a";
    let table = [Atom::from_static("a"), Atom::from_static("a")];
    assert_eq!(
        validate(bytes, 2, &Limits::DEFAULT),
        Ok(Validated { len: bytes.len(), uses_atom_cache: true })
    );
    let kind = validate_with(bytes, &table, &Limits::DEFAULT).unwrap_err().kind;
    assert_eq!(kind, DecodeErrorKind::DuplicateKey);
    assert!(validate(bytes, 0, &Limits::DEFAULT).is_err());
    let same = b"\x74\0\0\0\x02\x52\x00\x6a\x52\x00\x6a";
    assert!(validate(same, 2, &Limits::DEFAULT).is_err());
}

#[test]
fn validation_goes_deeper_than_owned_terms() {
    let mut deep = b"\x68\x01".repeat(10_000);
    deep.push(tag::NIL);
    let valid = validate(&deep, 0, &Limits::DEFAULT).unwrap();
    assert_eq!(valid.len, deep.len());
    assert_eq!(feed(&deep, 0, &[7]), Ok(Some(deep.len())));
    let deeper = [b"\x68\x01", &deep[..]].concat();
    let depth_max = 10_000;
    let kind = DecodeErrorKind::TooDeep { depth_max };
    assert_eq!(validate(&deeper, 0, &Limits::DEFAULT).unwrap_err().kind, kind);
    assert_eq!(feed(&deeper, 0, &[7]).unwrap_err().kind, kind);
    assert!(Term::decode(&deep, &(), &Limits::DEFAULT).unwrap_err().is_limit());
}

/// Keys nested in keys must not be decoded again at every level.
#[test]
fn nested_keys_cost_no_more_than_their_bytes() {
    let mut bytes = Vec::new();
    for _ in 0..500 {
        bytes.extend_from_slice(b"\x74\0\0\0\x02");
    }
    bytes.extend_from_slice(b"\x61\x00");
    for _ in 0..500 {
        bytes.extend_from_slice(b"\x61\x00\x61\x01\x61\x00");
    }
    let message = [&[tag::LARGE_TUPLE, 0, 0, 3, 0xe8], &bytes.repeat(1000)[..]].concat();
    let start = std::time::Instant::now();
    assert!(validate(&message, 0, &Limits::DEFAULT).is_ok());
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn terms_survive_the_wire(term in any_term(), lengths in prop::collection::vec(1..40_usize, 1..5)) {
        let bytes = encode(&term);
        let (decoded, used) = Term::decode(&bytes, &(), &Limits::DEFAULT).unwrap();
        prop_assert_eq!(&decoded, &term);
        prop_assert_eq!(used, bytes.len());
        agree(&bytes, &lengths);
        let gathered = term.encode_gather(8);
        prop_assert_eq!(gathered.parts.concat(), &*bytes);
        // Wherever the buffer has to grow.
        for capacity in 0..bytes.len().min(300) {
            let mut out = Vec::with_capacity(capacity + 1);
            out.push(0);
            term.encode(&mut out);
            prop_assert_eq!(&out[1..], &*bytes);
        }
    }

    #[test]
    fn damaged_terms_are_judged_alike(
        term in any_term(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        lengths in prop::collection::vec(1..40_usize, 1..5),
    ) {
        let mut bytes = encode(&term);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        agree(&bytes, &lengths);
    }

    #[test]
    fn order_is_total_and_agrees_with_equality(a in any_term(), b in any_term(), c in any_term()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a.compare(&b), b.compare(&a).reverse());
        prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
        prop_assert_eq!(a.compare_as_key(&b) == Ordering::Equal, a == b);
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
        if a.compare_as_key(&b).is_le() && b.compare_as_key(&c).is_le() {
            prop_assert!(a.compare_as_key(&c).is_le());
        }
    }
}
