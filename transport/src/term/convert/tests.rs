//! Rust values as terms.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::property_tests::any_term;
use super::super::{Atom, Creation, Limits, Pid, Port, Reference, Term};
use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    item: String,
    price: f64,
    note: Option<String>,
    tags: Vec<Atom>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Ping,
    Get(String),
    Put(String, i32),
    Move { from: Pid, count: u8 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Metres(f64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point(i32, i32);

fn text<T: Serialize>(value: T) -> String {
    to_term(&value).unwrap().to_string()
}

fn term<T: DeserializeOwned>(text: &str) -> Result<T, ConvertError> {
    from_term(&text.parse().unwrap())
}

fn round<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T, printed: &str) {
    assert_eq!(text(&value), printed);
    assert_eq!(term::<T>(printed).as_ref(), Ok(&value));
    let mut bytes = Vec::new();
    to_bytes(&value, &mut bytes).unwrap();
    assert_eq!(from_bytes::<T, _>(&bytes, &(), &Limits::DEFAULT), Ok(value));
}

#[test]
fn each_type_has_its_term() {
    round(
        Order {
            id: 7,
            item: "pen".to_owned(),
            price: 1.5,
            note: None,
            tags: vec![Atom::from_static("new")],
        },
        "#{id => 7,item => <<\"pen\">>,note => undefined,price => 1.5,tags => [new]}",
    );
    let pid = Pid { node: Atom::from_static("a@h"), id: 1, serial: 2, creation: Creation(0) };
    round(Request::Ping, "ping");
    round(Request::Get("k".to_owned()), "{get,<<\"k\">>}");
    round(Request::Put("k".to_owned(), -1), "{put,<<\"k\">>,-1}");
    round(Request::Move { from: pid, count: 3 }, "{move,#{count => 3,from => #Pid<a@h.1.2>}}");
    round(Unit, "'Unit'");
    round(Metres(2.0), "2.0");
    round(Point(1, -2), "{1,-2}");
    round((), "ok");
    round((1_u8, true, 'x'), "{1,true,120}");
    round([1_u16, 300], "{1,300}");
    round(vec![1_u16, 300], "[1,300]");
    round(vec![1_u8, 2], "[1,2]");
    round("é".to_owned(), "<<\"é\"/utf8>>");
    round(Some(5_i8), "5");
    round(u128::MAX, "340282366920938463463374607431768211455");
    round(i128::MIN, "-170141183460469231731687303715884105728");
    round(i64::MIN, "-9223372036854775808");
    round(1.0_f32, "1.0");
    round(
        BTreeMap::from([(1, "a".to_owned()), (2, "b".to_owned())]),
        "#{1 => <<\"a\">>,2 => <<\"b\">>}",
    );
    round(vec![Some(Request::Ping), None], "[ping,undefined]");
    round(bytes::Bytes::from_static(b"\xff\0"), "<<255,0>>");
    assert_eq!(text("abc"), "<<\"abc\">>");
}

#[test]
fn what_erlang_may_send_instead_is_read_too() {
    assert_eq!(term::<String>("\"abc\""), Ok("abc".to_owned()));
    assert_eq!(term::<String>("\"hé€\""), Ok("hé€".to_owned()));
    assert_eq!(term::<String>("\"hé\""), Ok("hé".to_owned()));
    assert_eq!(term::<String>("[]"), Ok(String::new()));
    assert_eq!(term::<String>("abc"), Ok("abc".to_owned()));
    assert_eq!(term::<char>("<<\"é\"/utf8>>"), Ok('é'));
    assert_eq!(term::<f64>("3"), Ok(3.0));
    assert_eq!(term::<Option<u8>>("nil"), Ok(None));
    assert_eq!(term::<()>("{}"), Ok(()));
    assert_eq!(term::<Vec<u8>>("\"ab\""), Ok(vec![97, 98]));
    assert_eq!(
        term::<Vec<String>>("[a,\"b\",<<\"c\">>]"),
        Ok(vec!["a".into(), "b".into(), "c".into()])
    );
    assert_eq!(term::<Point>("{1,2}"), Ok(Point(1, 2)));
    // Binary keys, and keys of no field.
    let text = "#{<<\"id\">> => 1,item => i,price => 2,tags => [],zoo => {x},{1} => 2}";
    let order = term::<Order>(text).unwrap();
    assert_eq!((order.id, order.price, order.note), (1, 2.0, None));
    assert_eq!(term::<BTreeMap<String, Term>>("#{a => 1}").unwrap()["a"], Term::Integer(1));
}

#[test]
fn what_does_not_fit_is_refused() {
    for result in [
        term::<u8>("256").map(drop),
        term::<u8>("-1").map(drop),
        term::<u64>("1.0").map(drop),
        term::<String>("[a]").map(drop),
        term::<String>("<<255>>").map(drop),
        term::<bool>("maybe").map(drop),
        term::<Point>("{1}").map(drop),
        term::<Point>("{1,2,3}").map(drop),
        term::<Vec<u8>>("[1|2]").map(drop),
        term::<Request>("{put,a}").map(drop),
        term::<Request>("nothing").map(drop),
        term::<Request>("{}").map(drop),
        term::<Request>("{1,2}").map(drop),
        term::<Pid>("a").map(drop),
        term::<Atom>("<<\"a\">>").map(drop),
        term::<u128>("-1").map(drop),
        term::<i128>("1606938044258990275541962092341162602522202993782792835301376").map(drop),
        term::<()>("x").map(drop),
    ] {
        assert!(result.is_err());
    }
    assert_eq!(to_term(&f64::NAN), Err(ConvertErrorKind::NotAFiniteFloat.into()));
    let error = term::<u64>("{1}").unwrap_err();
    assert_eq!(error.to_string(), "expected an integer, came SMALL_TUPLE_EXT at byte 0");
    let trailing = from_bytes::<u8, _>(b"\x61\x01\x6a", &(), &Limits::DEFAULT);
    assert_eq!(trailing.unwrap_err().to_string(), "1 bytes after the end of the term at byte 2");
}

#[test]
fn a_failed_value_leaves_nothing_behind() {
    let mut out = b"before".to_vec();
    assert!(to_bytes(&("text", f64::INFINITY), &mut out).is_err());
    assert_eq!(out, b"before");
    assert_eq!(to_bytes(&TwiceTheSameKey, &mut out), Err(ConvertErrorKind::DuplicateKey.into()));
}

struct TwiceTheSameKey;

impl Serialize for TwiceTheSameKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(1_u8, 2), (1, 3)])
    }
}

#[test]
fn text_and_bytes_are_borrowed_from_the_message() {
    let mut bytes = Vec::new();
    to_bytes(&("text", Atom::from_static("name"), Bytes(b"\xff\x00")), &mut bytes).unwrap();
    let (text, name, raw): (&str, &str, Bytes<'_>) =
        from_bytes(&bytes, &(), &Limits::DEFAULT).unwrap();
    assert_eq!((text, name, raw.0), ("text", "name", &b"\xff\x00"[..]));
    assert!(bytes.as_ptr_range().contains(&text.as_ptr()));
}

/// Bytes as serde knows them.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Self)
    }
}

#[test]
fn identifiers_and_terms_keep_every_bit() {
    let node = Atom::from_static("a@h");
    let pid = Pid { node: node.clone(), id: u32::MAX, serial: 1, creation: Creation(9) };
    let port = Port { node: node.clone(), id: u64::MAX, creation: Creation(9) };
    let reference = Reference::new(node, Creation(9), &[1, 2, 3, 4, 5]).unwrap();
    let value = (pid, vec![port], Some(reference), Term::from(1.5));
    let mut bytes = Vec::new();
    to_bytes(&value, &mut bytes).unwrap();
    assert_eq!(from_bytes(&bytes, &(), &Limits::DEFAULT), Ok(value));
}

#[test]
fn cached_atoms_are_resolved() {
    let atoms = [Atom::from_static("get"), Atom::from_static("n@h")];
    let request: Request =
        from_bytes(b"\x68\x02\x52\x00\x52\x01", &atoms, &Limits::DEFAULT).unwrap();
    assert_eq!(request, Request::Get("n@h".to_owned()));
    let bytes = b"\x68\x02\x52\x00\x58\x52\x01\0\0\0\x01\0\0\0\x02\0\0\0\x03";
    let (name, pid): (Atom, Pid) = from_bytes(bytes, &atoms, &Limits::DEFAULT).unwrap();
    assert_eq!((name, pid.node), (atoms[0].clone(), atoms[1].clone()));
    let term: Term = from_bytes(bytes, &atoms, &Limits::DEFAULT).unwrap();
    assert_eq!(term.to_string(), "{get,#Pid<n@h.1.2>}");
    assert!(from_bytes::<Term, _>(bytes, &(), &Limits::DEFAULT).is_err());
    assert!(from_bytes::<Request, _>(b"\x52\x02", &atoms, &Limits::DEFAULT).is_err());
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Any {
    Number(i64),
    Pid(Pid),
    Text(String),
    List(Vec<Any>),
}

#[test]
fn types_that_describe_themselves_work() {
    let any = term::<Any>("[1,a,<<\"b\">>,[]]").unwrap();
    assert_eq!(
        any,
        Any::List(vec![
            Any::Number(1),
            Any::Text("a".to_owned()),
            Any::Text("b".to_owned()),
            Any::List(vec![]),
        ])
    );
    let Any::Pid(pid) = term::<Any>("#Pid<a@h.1.2>").unwrap() else { panic!() };
    assert_eq!(pid.id, 1);
    let json: serde_json::Value = term("#{a => [1,2.5,<<\"x\">>,true,undefined]}").unwrap();
    assert_eq!(json.to_string(), r#"{"a":[1,2.5,"x",true,null]}"#);
    // In another format, what a term is stays readable by this crate.
    let pid_as_json = serde_json::to_string(&pid).unwrap();
    assert_eq!(serde_json::from_str::<Atom>("\"x\"").unwrap(), "x");
    assert!(pid_as_json.starts_with('['));
}

#[derive(Debug, Deserialize)]
struct Endless {
    #[serde(rename = "a")]
    _inner: Box<Endless>,
}

#[test]
fn nested_types_end_before_the_stack_does() {
    let bytes = b"\x74\0\0\0\x01\x77\x01a".repeat(10_000);
    let error = from_bytes::<Endless, _>(&bytes, &(), &Limits::DEFAULT).unwrap_err();
    let ConvertErrorKind::Decode(error) = error.kind() else { panic!("{error}") };
    assert!(error.is_limit());
    // What is ignored is passed over without going down.
    let ignored = [b"\x74\0\0\0\x01\x77\x01x", &b"\x68\x01".repeat(10_000)[..], b"\x6a"].concat();
    #[derive(Debug, PartialEq, Deserialize)]
    struct Empty {}
    assert_eq!(from_bytes(&ignored, &(), &Limits::DEFAULT), Ok(Empty {}));
}

proptest! {
    #[test]
    fn terms_pass_through_serde(value in any_term()) {
        let mut direct = Vec::new();
        value.encode(&mut direct);
        let mut bytes = Vec::new();
        to_bytes(&value, &mut bytes).unwrap();
        prop_assert_eq!(&bytes, &direct);
        prop_assert_eq!(from_bytes::<Term, _>(&bytes, &(), &Limits::DEFAULT), Ok(value));
    }

    #[test]
    fn hostile_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let limits = Limits::DEFAULT;
        let _ = from_bytes::<Order, _>(&bytes, &(), &limits);
        let _ = from_bytes::<Request, _>(&bytes, &(), &limits);
        let _ = from_bytes::<serde_json::Value, _>(&bytes, &(), &limits);
        let _ = from_bytes::<Vec<Vec<String>>, _>(&bytes, &(), &limits);
    }
}
