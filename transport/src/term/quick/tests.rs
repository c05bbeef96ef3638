//! What passes the quick check passes the careful one.

use proptest::prelude::*;

use super::super::property_tests::any_term;
use super::super::tests::{ETF_TERMS, NEGATIVE, golden, hex};
use super::super::validate::validate_carefully;
use super::super::{Atom, write};
use super::*;

/// What passes here passes the careful check, and says the same.
fn agree(bytes: &[u8]) -> bool {
    let table = [Atom::from_static("a"), Atom::from_static("key_1")];
    let default = Limits::DEFAULT;
    let tight = Limits { depth_max: 2, count_max: 255, binary_bytes_max: 5, ..default };
    let few = Limits { nodes_max: 3, ..default };
    let none = Limits { nodes_max: 0, ..default };
    for limits in [default, tight, few, none] {
        for atoms in [&table[..], &[]] {
            if let Some(valid) = check(bytes, atoms, &limits) {
                assert_eq!(validate_carefully(bytes, atoms, &limits), Ok(valid));
            }
        }
    }
    check(bytes, &[][..], &default).is_some()
}

#[test]
fn nothing_passes_that_should_not() {
    for entry in golden(ETF_TERMS).iter().chain(&golden(NEGATIVE)) {
        let mut bytes = hex(entry);
        bytes.truncate(2000);
        for end in 0..bytes.len() {
            agree(&bytes[..end]);
        }
        for at in 0..bytes.len().min(200) {
            for byte in [0, 1, 0x52, 0x61, 0x6a, 0x6c, 0x77, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = byte;
                agree(&damaged);
            }
        }
    }
}

#[test]
fn what_messages_are_made_of_passes() {
    for bytes in [
        &b"\x61\x01"[..],
        b"\x6a",
        b"\x68\x00",
        b"\x6d\0\0\0\x03abc",
        b"\x68\x02\x77\x02ok\x6e\x01\x00\xff",
        b"\x68\x03\x6b\0\x02hi\x46\x3f\xf0\0\0\0\0\0\0\x62\xff\xff\xff\xff",
        b"\x6c\0\0\0\x01\x77\x05alias\x5a\0\x03\x77\x03a@h\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x01",
        b"\x58\x77\x03a@h\0\0\0\x01\0\0\0\x01\0\0\0\x01",
        b"\x78\x77\x03a@h\0\0\0\0\0\0\0\x01\0\0\0\x01",
        b"\x77\x02\xc3\xa9",
        b"\x77\x15an_atom_longer_than16",
        b"\x74\0\0\0\x02\x77\x01b\x74\0\0\0\0\x77\x01a\x6a",
    ] {
        assert!(agree(bytes), "{bytes:02x?}");
        // Whatever follows is not looked at.
        assert!(agree(&[bytes, &[0xff; 40]].concat()), "{bytes:02x?}");
        for end in 0..bytes.len() {
            assert!(!agree(&bytes[..end]), "{:02x?}", &bytes[..end]);
        }
    }
}

#[test]
fn identifiers_of_nodes_with_names_of_every_length_pass() {
    for length in 0..30_u8 {
        for fill in ["a", "é", "€"] {
            let name = fill.repeat(30);
            let Some(node) = name.get(..length.into()) else { continue };
            let node = [&[tag::SMALL_ATOM_UTF8, length], node.as_bytes()].concat();
            let pid = [&[tag::NEW_PID], &node[..], &[1; 12]].concat();
            let reference = |words: u8| {
                let numbers = vec![1; 4 + 4 * usize::from(words)];
                [&[tag::NEWER_REFERENCE, 0, words], &node[..], &numbers].concat()
            };
            for bytes in [pid, reference(1), reference(3), reference(5)] {
                assert!(agree(&bytes), "{bytes:02x?}");
                assert!(agree(&[&bytes[..], &[0xff; 40]].concat()), "{bytes:02x?}");
                for end in 0..bytes.len() {
                    assert!(!agree(&bytes[..end]), "{:02x?}", &bytes[..end]);
                }
                if length > 0 {
                    let mut damaged = bytes.clone();
                    let text = bytes.len() - 1 - bytes.iter().rev().position(|&b| b != 1).unwrap();
                    damaged[text] = 0xff;
                    assert!(!agree(&damaged), "{damaged:02x?}");
                }
            }
            assert!(!agree(&reference(0)));
            assert!(!agree(&reference(6)));
        }
    }
}

#[test]
fn references_to_the_atom_table_pass_where_it_has_them() {
    let table = [Atom::from_static("a@h")];
    for bytes in [&b"\x52\x00"[..], b"\x58\x52\x00\0\0\0\x01\0\0\0\x01\0\0\0\x01"] {
        let valid = Validated { len: bytes.len(), uses_atom_cache: true };
        assert_eq!(check(bytes, &table, &Limits::DEFAULT), Some(valid));
        let mut beyond = bytes.to_vec();
        let index = beyond.iter().position(|&byte| byte == tag::ATOM_CACHE_REF).unwrap() + 1;
        beyond[index] = 1;
        assert_eq!(check(&beyond, &table, &Limits::DEFAULT), None);
        assert!(!agree(bytes));
    }
}

#[test]
fn keys_that_come_twice_do_not_pass() {
    let names = (0..300).map(|i| Atom::new(&format!("key_{}", i * 211 % 300)).unwrap());
    let mut bytes = Vec::new();
    write::write_map_header(&mut bytes, 300);
    for name in names {
        write::write_atom(&mut bytes, &name);
        write::write_nil(&mut bytes);
    }
    assert!(agree(&bytes));
    write::write_atom(&mut bytes, &Atom::from_static("key_77"));
    write::write_nil(&mut bytes);
    bytes[3..5].copy_from_slice(&301_u16.to_be_bytes());
    assert!(!agree(&bytes));
    assert!(!agree(b"\x74\0\0\0\x02\x52\x00\x6a\x77\x01a\x6a"));
}

proptest! {
    #[test]
    fn damaged_terms_are_judged_alike(
        term in any_term(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = Vec::new();
        term.encode(&mut bytes);
        agree(&bytes);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        agree(&bytes);
    }
}
