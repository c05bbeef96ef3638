use super::*;

/// A file of a line each: its bytes, with `\\` and `\xHH`, a tab, and what `file:path_consult/2` of
/// OTP 29 gives for it.
const CONSULTED: &str = include_str!("../../../../tests/golden/consult.txt");

fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = if rest[at..].starts_with("\\x") {
            bytes.push(u8::from_str_radix(&rest[at + 2..at + 4], 16).expect("two digits"));
            &rest[at + 4..]
        } else {
            bytes.push(b'\\');
            &rest[at + 2..]
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[test]
fn files_are_read_as_otp_reads_them() {
    let mut wrong = Vec::new();
    for line in CONSULTED.lines() {
        let (file, expected) = line.split_once('\t').expect("two columns");
        let expected: Term = expected.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        let read = match read(&bytes_of(file)) {
            Ok(terms) => Term::Tuple(vec![atom("ok"), Term::List(terms)]),
            Err(error) => Term::Tuple(vec![atom("error"), error.to_term()]),
        };
        if read != expected {
            wrong.push(format!("{file}\n   expected {expected}\n   got      {read}"));
        }
    }
    assert!(wrong.is_empty(), "{} files differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// A host's file is somebody else's: whatever is in it gets an answer.
#[test]
fn files_cut_anywhere_are_answered() {
    for line in CONSULTED.lines() {
        let (file, _) = line.split_once('\t').expect("two columns");
        let bytes = bytes_of(file);
        for end in 0..bytes.len().min(64) {
            let _ = read(&bytes[..end]);
            let _ = read(&bytes[end..]);
        }
    }
    let deep = ["[", "{", "(", "<<", "- ", "f(", "#{a=>", "a=", "a+(", "fun() -> "];
    for open in deep {
        let _ = read(open.repeat(10_000).as_bytes());
    }
}
