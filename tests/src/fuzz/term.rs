//! Terms: the readers agree with each other, and what is read survives being written again.

use krarup_transport::term::{
    Atom, DecodeError, DecodeErrorKind, Limits, Progress, Term, TermKind, TermRef, Validator,
    decode_parts, from_bytes, to_bytes, validate_with,
};
use serde::Deserialize;

/// Reads the input as a term, with and without an atom table, and as text.
///
/// # Panics
///
/// When the readers disagree, or a term changes on its way through bytes or text.
pub fn run(data: &[u8]) {
    let (first, second) = data.split_at(data.len() / 2);
    read(data, &[]);
    let atoms = [Atom::from_static("a"), Atom::from_static("node@host"), Atom::from_static("a")];
    read(data, &atoms);
    types(data, &atoms);
    if let Ok(text) = std::str::from_utf8(data) {
        read_text(text);
    }
    order(first, second);
}

fn read(data: &[u8], atoms: &[Atom]) {
    let limits = Limits::DEFAULT;
    let decoded = Term::decode(data, atoms, &limits);
    let valid = validate_with(data, atoms, &limits);
    let (fed, uses_atom_cache) = feed(data, atoms.len(), &limits);
    let view = TermRef::decode(data, atoms, &limits);
    assert_eq!(view.is_ok(), valid.is_ok());
    let middle = data.len() / 2;
    let parts = decode_parts(&[&data[..middle], &data[middle..]], atoms, &limits);
    assert_eq!(parts.as_ref().ok(), decoded.as_ref().ok().map(|(term, _)| term));
    match (&decoded, &valid) {
        (Ok((term, used)), Ok(valid)) => {
            assert_eq!(*used, valid.len);
            assert_eq!(fed, Ok(Some(*used)));
            assert_eq!(uses_atom_cache, valid.uses_atom_cache);
            let (view, len) = view.expect("valid");
            assert_eq!(len, *used);
            assert_eq!(view.to_term(&limits).as_ref(), Ok(term));
            walk(view);
            write(term);
        }
        // Only a bound on owned terms may make the difference.
        (Err(error), Ok(_)) => assert!(error.is_limit(), "{error}"),
        (Ok(_), Err(error)) => panic!("decoded, but not valid: {error}"),
        (Err(_), Err(error)) => {
            let late = matches!(
                error.kind,
                DecodeErrorKind::DuplicateKey
                    | DecodeErrorKind::DuplicateField
                    | DecodeErrorKind::CountBeyondInput { .. }
                    | DecodeErrorKind::TooDeep { .. }
            );
            assert!(late || !matches!(fed, Ok(Some(_))), "fed, but not valid: {error}");
        }
    }
}

/// Feeds the data in pieces whose lengths it determines itself.
fn feed(
    data: &[u8],
    entries: usize,
    limits: &Limits,
) -> (Result<Option<usize>, DecodeError>, bool) {
    let mut validator = Validator::new(*limits, entries);
    let (mut rest, mut before) = (data, 0);
    loop {
        let length = usize::from(rest.first().copied().unwrap_or(0) % 13) + 1;
        let (piece, after) = rest.split_at(length.min(rest.len()));
        let result = match validator.feed(piece) {
            Ok(Progress::Done { used }) => Ok(Some(before + used)),
            Ok(Progress::NeedMore) if after.is_empty() => Ok(None),
            Ok(Progress::NeedMore) => {
                (rest, before) = (after, before + piece.len());
                continue;
            }
            Err(error) => Err(error),
        };
        return (result, validator.uses_atom_cache());
    }
}

/// Looks at everything in a view.
fn walk(term: TermRef<'_>) {
    match term.kind() {
        TermKind::Tuple(tuple) => {
            assert_eq!(tuple.iter().map(walk).count(), tuple.len());
        }
        TermKind::List(list) => {
            let mut items = list.iter();
            items.by_ref().for_each(walk);
            items.tail().into_iter().for_each(walk);
        }
        TermKind::Map(map) => {
            let pairs = map.iter().map(|(key, value)| (walk(key), walk(value)));
            assert_eq!(pairs.count(), map.len());
        }
        _ => {}
    }
}

fn write(term: &Term) {
    let limits = Limits::DEFAULT;
    let mut bytes = Vec::new();
    term.encode(&mut bytes);
    let again = Term::decode(&bytes, &(), &limits);
    assert_eq!(again.as_ref(), Ok(&(term.clone(), bytes.len())));
    assert_eq!(term.encode_gather(16).parts.concat(), bytes);
    let mut converted = Vec::new();
    to_bytes(term, &mut converted).expect("a term");
    assert_eq!(converted, bytes);
    assert_eq!(from_bytes::<Term, _>(&bytes, &(), &limits).as_ref(), Ok(term));
    // Not everything that can be printed can be read, but what can be is the same.
    for text in [term.to_string(), term.written().to_string()] {
        if let Ok(read) = text.parse::<Term>() {
            assert_eq!(read.to_string(), term.to_string());
        }
    }
}

fn read_text(text: &str) {
    let Ok(term) = text.parse::<Term>() else { return };
    let mut bytes = Vec::new();
    term.encode(&mut bytes);
    assert_eq!(Term::decode(&bytes, &(), &Limits::DEFAULT), Ok((term.clone(), bytes.len())));
    // Pids and the like lose their creation.
    let printed = term.to_string();
    let again = printed.parse::<Term>().map(|term| term.to_string());
    if !printed.contains('#') {
        assert_eq!(again.as_ref(), Ok(&printed));
    }
}

fn order(first: &[u8], second: &[u8]) {
    let limits = Limits::DEFAULT;
    let (Ok((a, _)), Ok((b, _))) =
        (Term::decode(first, &(), &limits), Term::decode(second, &(), &limits))
    else {
        return;
    };
    assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
    assert_eq!(a.cmp(&b).is_eq(), a == b);
    assert_eq!(a.compare_as_key(&b).is_eq(), a == b);
    assert_eq!(a.compare(&b), b.compare(&a).reverse());
}

#[derive(Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "only read")]
enum Any {
    Number(i128),
    Float(f64),
    Text(String),
    List(Vec<Any>),
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only read")]
enum Tagged {
    #[serde(rename = "a")]
    Unit,
    #[serde(rename = "b")]
    One(Option<Box<Tagged>>),
    #[serde(rename = "c")]
    Two(Atom, Vec<u8>),
    #[serde(rename = "d")]
    Fields { a: char, b: Option<String> },
}

fn types(data: &[u8], atoms: &[Atom]) {
    let limits = Limits::DEFAULT;
    let _ = from_bytes::<Any, _>(data, atoms, &limits);
    let _ = from_bytes::<Tagged, _>(data, atoms, &limits);
    let _ = from_bytes::<Vec<(u64, String)>, _>(data, atoms, &limits);
    let _ = from_bytes::<serde_json::Value, _>(data, atoms, &limits);
    if let Ok(term) = from_bytes::<Term, _>(data, atoms, &limits) {
        let decoded = Term::decode(data, atoms, &limits);
        assert_eq!(decoded, Ok((term, data.len())));
    }
}
