//! Text against what OTP 29 prints (`~0tp` and `~0tw` with `+pc unicode`).

use bytes::Bytes;
use proptest::prelude::*;

use super::super::property_tests::any_term;
use super::super::tests::{ETF_TERMS, golden, hex};
use super::super::*;

fn parse(text: &str) -> Result<Term, ParseErrorKind> {
    text.parse::<Term>().map_err(|error| error.kind)
}

#[test]
fn what_erlang_prints_is_read_and_printed_the_same() {
    for text in [
        "\"abc\"",
        "\"β\"",
        "\"é\"",
        "\"a\\nb\"",
        "[0]",
        "[7]",
        "\"\\e\"",
        "[127]",
        "[128]",
        "[65534]",
        "[55296]",
        "<<\"abc\">>",
        "<<\"é\"/utf8>>",
        "<<\"β\"/utf8>>",
        "<<0>>",
        "<<\"é\">>",
        "<<\"a\\\"b\\n\">>",
        "<<1,2,3:5>>",
        "<<3:5>>",
        "<<97,98,99,1:1>>",
        "1.0",
        "100.0",
        "1.0e3",
        "1.0e5",
        "123456.0",
        "0.1",
        "0.01",
        "0.001",
        "0.0001",
        "1.0e-5",
        "1.5e300",
        "9007199254740991.0",
        "9.007199254740992e15",
        "1.0e22",
        "1.2345678901234568e17",
        "1151209240571959.2",
        "943397659111754.8",
        "-242245594755694.12",
        "5.684341886080802e-14",
        "-0.0",
        "5.0e-324",
        "1.2345e-4",
        "0.00125",
        "'A b'",
        "ÿ",
        "'÷'",
        "[a|b]",
        "[1,2,97,98]",
        "[]",
        "<<>>",
        "{}",
        "#{}",
        "#{1 => 2,a => \"x\"}",
        "#{1 => b,1.0 => a,{x} => [1]}",
        "fun erlang:self/0",
        "fun 'A':'b c'/2",
        "[[1,2],[\"x\"]]",
        "[97,98|c]",
        "\"\\\\\\\"'\"",
        "'\\'\"'",
        "['\\n']",
        "\"\\ea\"",
        "[1,97]",
        "\"\\t\\n\\v\\f\\r\\b\"",
        "'maybe'",
        "'else'",
        "<<\"\\e\">>",
        "<<0,97>>",
        "{[]}",
        "[a,\"bc\",1.5]",
        "'\\000'",
        "'\\007'",
        "'\\200'",
        "'\\237a'",
        "'\\d'",
        "'cond'",
        "<<194,128>>",
        "<<195,169,0>>",
        "<<239,191,190>>",
        "<<\"é\\n\">>",
        "<<128>>",
        "-1.0e-7",
        "1.0e21",
        "4503599627370496.0",
        "1.0e15",
        "1.23e7",
        "1.2e-4",
        "2.5e-5",
        "1.2345e6",
        "[1.0|2.0]",
        "#{#{} => 1}",
        "1180591620717411303424",
        "-5",
        "<<255,0:1>>",
        "[[],[]]",
        "\"é€\"",
        "#{a => #{b => c}}",
        "[97|<<\"x\">>]",
        "''",
        "-18446744073709551617",
        "#nr:point{x = 1,y = 2}",
        "'o25@127.0.0.1'",
    ] {
        let term = parse(text).unwrap_or_else(|kind| panic!("{text}: {kind:?}"));
        assert_eq!(term.to_string(), text);
    }
}

#[test]
fn without_strings_everything_is_numbers() {
    for (text, written) in [
        ("\"abc\"", "[97,98,99]"),
        ("<<\"é\"/utf8>>", "<<195,169>>"),
        ("#{1 => 2,a => \"x\"}", "#{1 => 2,a => [120]}"),
        ("[[1,2],[\"x\"]]", "[[1,2],[[120]]]"),
        ("\"\"", "[]"),
    ] {
        assert_eq!(parse(text).unwrap().written().to_string(), written);
    }
}

#[test]
fn captured_terms_print_as_erlang_decoded_them() {
    for entry in golden(ETF_TERMS) {
        let Some(expected) = entry["erlang_decoded"].as_str() else { continue };
        let (term, _) = Term::decode(&hex(&entry), &(), &Limits::DEFAULT).unwrap();
        let printed = term.to_string();
        match &term {
            // Erlang shows its number for the node, Krarup the name.
            Term::Pid(_) | Term::Port(_) | Term::Reference(_) => {
                let tail = expected.split_once('.').unwrap().1;
                assert!(printed.ends_with(tail), "{printed} {expected}");
            }
            Term::Fun(_) => assert_eq!(printed, expected),
            _ => {
                assert_eq!(printed, expected);
                let read = parse(expected).unwrap();
                match (&read, &term) {
                    // The text does not tell whether a record is exported.
                    (Term::Record(read), Term::Record(term)) => {
                        assert_eq!(read.fields, term.fields);
                    }
                    _ => assert_eq!(read, term),
                }
            }
        }
    }
}

#[test]
fn all_that_erlang_reads() {
    let binary = |bytes: &'static [u8]| Term::Binary(Bytes::from_static(bytes));
    let bits =
        |bytes: &'static [u8], bits| BitString::new(Bytes::from_static(bytes), bits).unwrap();
    for (text, term) in [
        (" 16#ff ", Term::Integer(255)),
        ("16#FF_FF", Term::Integer(0xffff)),
        ("36#zz", Term::Integer(1295)),
        ("1_000_000", Term::Integer(1_000_000)),
        ("-16#8000000000000000", Term::Integer(i64::MIN)),
        ("+7", Term::Integer(7)),
        ("$c", Term::Integer(99)),
        ("$\\n", Term::Integer(10)),
        ("$\\^A", Term::Integer(1)),
        ("$\\x{1F600}", Term::Integer(0x1f600)),
        ("-$a", Term::Integer(-97)),
        ("1.5e+3", Term::Float(1500.0)),
        ("1.5E3", Term::Float(1500.0)),
        ("\"a\" \"b\"", Term::charlist("ab")),
        ("\"\\x41\\101\\s\\\\\"", Term::charlist("AA \\")),
        ("~\"é\"", Term::from("é")),
        ("<<\"é\">>", binary(b"\xe9")),
        ("<< 1 , 2 : 16 , \"ab\"/utf8 >>", binary(b"\x01\x00\x02ab")),
        ("<<300>>", binary(b"\x2c")),
        ("<<-1:16>>", binary(b"\xff\xff")),
        ("<<1:16/little>>", binary(b"\x01\x00")),
        ("<<1:16/big-unsigned-integer>>", binary(b"\x00\x01")),
        ("<<16#e9/utf8, $a>>", binary(b"\xc3\xa9a")),
        ("<<\"ab\":16>>", binary(b"\0a\0b")),
        ("<<1:1,0:1,1:1>>", bits(&[0b1010_0000], 3).into()),
        ("<<1:1,255>>", bits(&[0xff, 0x80], 1).into()),
        ("<<5:12/little>>", bits(&[5, 0], 4).into()),
        ("<<5:0>>", binary(b"")),
        ("[a | [b, c]] . ", parse("[a,b,c]").unwrap()),
        ("{a, % comment\n b}", parse("{a,b}").unwrap()),
        ("'it''s'", Term::nil()),
        ("fun  m : f / 3", parse("fun m:f/3").unwrap()),
        ("fun", Term::nil()),
    ] {
        match (text, parse(text)) {
            // Two atoms in a row, and a word that is reserved but harmless.
            ("'it''s'", result) => assert_eq!(result, Err(ParseErrorKind::TrailingText)),
            ("fun", result) => assert_eq!(result, Ok(Term::atom("fun"))),
            (_, result) => assert_eq!(result, Ok(term), "{text}"),
        }
    }
}

#[test]
fn identifiers_name_their_node() {
    let node = Atom::from_static("a@127.0.0.1");
    let pid = Pid { node: node.clone(), id: 10, serial: 2, creation: Creation(0) };
    assert_eq!(parse("#Pid<a@127.0.0.1.10.2>"), Ok(pid.clone().into()));
    let with_creation = Pid { creation: Creation(77), ..pid };
    assert_eq!(parse("#Pid<a@127.0.0.1.10.2/77>"), Ok(with_creation.into()));
    let port = Port { node: node.clone(), id: 1 << 40, creation: Creation(0) };
    assert_eq!(parse(&port.to_string()), Ok(port.into()));
    for (name, words) in [
        ("a@127.0.0.1", &[1, 2, 3][..]),
        ("a@127.0.0.1", &[1, 2, 3, 4, 5]),
        ("a@host", &[1, 2, 3, 4, 5]),
        ("a@host.example.org", &[1, 2, 3]),
        ("a@host", &[9]),
    ] {
        let reference = Reference::new(Atom::new(name).unwrap(), Creation(0), words).unwrap();
        assert_eq!(parse(&reference.to_string()), Ok(reference.into()));
    }
    for local in ["<0.1.0>", "#Pid<10511.135.0>", "#Ref<0.1.2.3>", "#Port<0.5>"] {
        assert_eq!(parse(local), Err(ParseErrorKind::LocalIdentifier), "{local}");
    }
    for wrong in ["#Pid<a@h>", "#Pid<a@h.1>", "#Ref<a@h>", "#Pid<a@h.1.x>", "#Port<a@h.1/x>"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn errors_say_what_and_where() {
    for (text, position, message) in [
        ("", 0, "expected a term, found the end"),
        ("{a, }", 4, "expected a term, found '}'"),
        ("[1, 2", 5, "expected , or | or ], found the end"),
        ("{a, Foo}", 4, "Foo is a variable in Erlang; for an atom write 'Foo'"),
        ("#{a => 1, a => 2}", 0, "the map has the same key twice"),
        ("a b", 2, "text after the end of the term"),
        ("37#1", 0, "a base is 2 to 36"),
        ("16#", 3, "expected a digit, found the end"),
        ("\"abc", 4, "expected the closing quote, found the end"),
        ("<<\"€\">>", 2, "'€' does not fit a byte; write \"…\"/utf8"),
        ("<<1/float>>", 4, "a segment is of type integer or utf8"),
        ("1.0e999", 0, "the number is out of range"),
        ("#Fun<erl_eval.42.1>", 0, "a fun cannot be read from text"),
        ("\"\\x{110000}\"", 1, "unknown escape sequence"),
    ] {
        let error = text.parse::<Term>().unwrap_err();
        assert_eq!(error.position, position, "{text}: {error}");
        assert!(error.to_string().starts_with(message), "{text}: {error}");
    }
    let deep = "[".repeat(10_000);
    assert_eq!(parse(&deep), Err(ParseErrorKind::TooDeep));
    let deepest = format!("{}{}", "[".repeat(128), "]".repeat(128));
    assert_eq!(parse(&deepest).unwrap().to_string(), deepest);
}

/// Terms made at random by OTP 29, sorted by it with `lists:sort/1` and printed with `~0tp`.
#[test]
fn erlang_sorts_the_same() {
    let text = include_str!("../../../../tests/golden/term_order.txt");
    let terms: Vec<Term> = text
        .lines()
        .map(|line| {
            let term: Term = line.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(term.to_string(), line);
            term
        })
        .collect();
    assert!(terms.len() > 300);
    for pair in terms.windows(2) {
        assert!(pair[0].compare(&pair[1]).is_le(), "{} {}", pair[0], pair[1]);
    }
}

/// What OTP 27 prints over several lines, and OTP 29 does the same: `~ktp` of each term, a full stop
/// and a line end. Erlang reads the file, so this prints it anew, whatever terms were added to it in
/// whatever layout:
///
/// ```text
/// erl +pc unicode -noshell -eval 'io:setopts([{encoding, unicode}]),
///     {ok, Terms} = file:consult("tests/golden/term_pretty.txt"),
///     [io:format("~ktp.~n", [Term]) || Term <- Terms], halt().'
/// ```
///
/// The terms were written to be just narrower and wider than a line in every kind of term, or made
/// at random.
#[test]
fn erlang_breaks_lines_at_the_same_places() {
    let text = include_str!("../../../../tests/golden/term_pretty.txt");
    let mut broken = 0;
    for printed in text.split_terminator(".\n") {
        let term: Term = printed.parse().unwrap_or_else(|error| panic!("{printed}: {error}"));
        assert_eq!(term.pretty().to_string(), printed);
        broken += usize::from(printed.contains('\n'));
    }
    assert!(broken > 300);
}

/// As OTP 29 prints them, whose reader does not take them back.
#[test]
fn erlang_breaks_records_at_the_same_places() {
    for printed in [
        r#"#module:point{x = 1,y = 2.5,name = "a point with a rather long name",
              colour = red,d = "abc"}"#,
        "\
#m:r{a = [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,
          26,27,28,29,30,31,32,33,34,35,36,37,38,39,40],
     b = #m:e{},
     c = [#m:e{},#m:e{},1,2]}",
        "\
[#m:e{},
 1,
 #m:e{},
 #m:'Long name'{alpha = alpha,beta = beta,gamma = gamma,delta = delta,
                epsilon = epsilon,zeta = zeta,eta = eta,theta = theta},
 #m:e{}]",
        "\
{tag_of_a_tuple,
    #a_module:a_record{
        a_field_of_it =
            {ok,[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,
                 24,25,26,27,28,29,30]},
        b = #m:e{
                f = [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20],
                g = [1,2,3,4,5,6,7,8,9,10]}}}",
        r#"#uubnksvwy:beax{
    sqwaywhy =
        #k:ep{
            rah = 918,
            slwruc = {abc,"mergncqvzivcu"},
            aceatlmhgsshqbvkkyrjentdmzmwdenvekjayb = "pxzqhncouyuebfn",
            mrexwpa =
                <<24,57,63,191,178,200,232,36,104,96,131,237,44,5,138,110,
                  252,51,0,226,135,216,225,113,60>>}}"#,
    ] {
        let term: Term = printed.parse().unwrap_or_else(|error| panic!("{printed}: {error}"));
        assert_eq!(term.pretty().to_string(), printed);
    }
}

/// The deepest term the decoder makes can be printed.
#[test]
fn printing_goes_as_deep_as_terms_do() {
    let mut bytes = b"\x68\x01".repeat(Term::DEPTH_MAX);
    bytes.push(tag::NIL);
    let (term, _) = Term::decode(&bytes, &(), &Limits::DEFAULT).unwrap();
    assert_eq!(term.to_string().len(), 2 * Term::DEPTH_MAX + 2);
    assert_eq!(term.pretty().to_string().len(), 2 * Term::DEPTH_MAX + 2);
}

/// What the text does not carry, or nobody could read back.
fn without_identity(term: &Term) -> bool {
    match term {
        Term::Pid(_) | Term::Port(_) | Term::Reference(_) | Term::Fun(_) => true,
        Term::Record(record) => {
            !record.exported || record.fields.iter().any(|(_, value)| without_identity(value))
        }
        Term::Tuple(elements) | Term::List(elements) => elements.iter().any(without_identity),
        Term::ImproperList(elements, tail) => {
            elements.iter().any(without_identity) || without_identity(tail)
        }
        Term::Map(map) => {
            map.into_iter().any(|(key, value)| without_identity(key) || without_identity(value))
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn printed_terms_are_read_back(term in any_term()) {
        let (printed, written) = (term.to_string(), term.written().to_string());
        if !without_identity(&term) {
            prop_assert_eq!(parse(&printed), Ok(term.clone()), "{}", printed);
            prop_assert_eq!(parse(&written), Ok(term.clone()), "{}", written);
            let pretty = term.pretty().to_string();
            prop_assert_eq!(parse(&pretty), Ok(term), "{}", pretty);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z0-9_#<>{}\\[\\],.|/:$\\\\'\"~ =@-]{0,40}") {
        if let Ok(term) = text.parse::<Term>() {
            prop_assert_eq!(parse(&term.to_string()), Ok(term));
        }
    }
}
