use proptest::prelude::*;

use super::*;
use crate::dist::atom_cache::CACHE_SLOTS;

fn atom(text: &str) -> Atom {
    Atom::new(text).expect("short enough")
}

/// Encodes one message that names `atoms` and gives the header and what stands inline.
fn write(cache: &mut SendCache, atoms: &[Atom]) -> (Vec<u8>, Vec<Option<u8>>) {
    cache.begin();
    let entries = atoms.iter().map(|atom| cache.mention(atom)).collect();
    let mut header = Vec::new();
    write_header(cache, &mut header);
    cache.commit();
    (header, entries)
}

#[test]
fn a_header_as_otp_sends_it() {
    // Slots 1035, 1041 and 1122, all new.
    let mut header = vec![3, 0xcc, 0x0c, 0x0b, 13];
    header.extend_from_slice(b"o29@127.0.0.1\x11\x0egold@127.0.0.1\x62\x05hello");
    header.extend_from_slice(&[104, 3]);
    let mut reader = HeaderReader::new();
    assert_eq!(reader.read(&header), Ok(header.len() - 2));
    let names: Vec<_> = reader.atoms().iter().map(Atom::as_str).collect();
    assert_eq!(names, ["o29@127.0.0.1", "gold@127.0.0.1", "hello"]);
    // The same slots by reference, in another order; twice, the second time from memory.
    for _ in 0..2 {
        assert_eq!(reader.read(&[2, 0x44, 0, 0x62, 0x0b, 104]), Ok(5));
        assert_eq!(reader.atoms(), [atom("hello"), atom("o29@127.0.0.1")]);
    }
    // A slot is replaced: what was remembered is forgotten.
    assert_eq!(reader.read(&[1, 0x0c, 0x62, 1, b'x']), Ok(5));
    assert_eq!(reader.read(&[2, 0x44, 0, 0x62, 0x0b, 104]), Ok(5));
    assert_eq!(reader.atoms(), [atom("x"), atom("o29@127.0.0.1")]);
    assert_eq!(reader.read(&[0, 104]), Ok(1));
    assert!(reader.atoms().is_empty());
}

#[test]
fn what_is_wrong_with_a_header() {
    let error = |bytes: &[u8]| HeaderReader::new().read(bytes).unwrap_err();
    assert_eq!(error(&[]), HeaderError::Truncated);
    assert_eq!(error(&[2, 0]), HeaderError::Truncated);
    assert_eq!(error(&[1, 0x08]), HeaderError::Truncated);
    assert_eq!(error(&[1, 0x08, 5]), HeaderError::Truncated);
    assert_eq!(error(&[1, 0x08, 5, 3, b'a']), HeaderError::Truncated);
    assert_eq!(error(&[1, 0x18, 5, 3]), HeaderError::Truncated);
    assert_eq!(error(&[1, 0x03, 5]), HeaderError::EmptySlot { segment: 3, index: 5 });
    assert_eq!(error(&[1, 0x08, 5, 1, 0xff]), HeaderError::InvalidAtom { position: 0 });
    let long = [&[1, 0x18, 5, 1, 0][..], &[b'a'; 256]].concat();
    assert_eq!(error(&long), HeaderError::InvalidAtom { position: 0 });
    let plain = HeaderReader::new().read_plain(&[3]);
    assert_eq!(plain, Err(HeaderError::NotNegotiated { references: 3 }));
}

#[test]
fn long_atoms_make_all_new_lengths_long() {
    let long = atom(&"é".repeat(200));
    let mut cache = SendCache::new();
    let (header, _) = write(&mut cache, &[atom("a"), long.clone()]);
    assert_eq!(header[..4], [2, 0x88, 0x01, 0]);
    assert_eq!(header[4..7], [0, 1, b'a']);
    let mut reader = HeaderReader::new();
    assert_eq!(reader.read(&header), Ok(header.len()));
    assert_eq!(reader.atoms(), [atom("a"), long]);
}

#[test]
fn a_message_given_up_leaves_its_atoms_new() {
    let mut cache = SendCache::new();
    cache.begin();
    assert_eq!(cache.mention(&atom("lost")), Some(0));
    let (header, _) = write(&mut cache, &[atom("lost")]);
    assert_eq!(header, b"\x01\x08\x00\x04lost");
    let (header, _) = write(&mut cache, &[atom("lost")]);
    assert_eq!(header, [1, 0, 0]);
}

#[test]
fn the_256th_atom_of_a_message_is_inline() {
    let atoms: Vec<_> = (0..256).map(|i| atom(&format!("a{i}"))).collect();
    let mut cache = SendCache::new();
    let (header, entries) = write(&mut cache, &atoms);
    assert_eq!(entries[254], Some(254));
    assert_eq!(entries[255], None);
    let mut reader = HeaderReader::new();
    assert_eq!(reader.read(&header), Ok(header.len()));
    assert_eq!(reader.atoms(), &atoms[..255]);
}

#[test]
fn slots_are_used_again_when_all_are_taken() {
    let mut cache = SendCache::new();
    let mut reader = HeaderReader::new();
    for round in 0..2 {
        for i in 0..CACHE_SLOTS + 500 {
            let atoms = [atom("node@host"), atom(&format!("atom{round}_{i}"))];
            let (header, _) = write(&mut cache, &atoms);
            assert_eq!(reader.read(&header), Ok(header.len()));
            assert_eq!(reader.atoms(), atoms);
        }
    }
}

proptest! {
    /// Whatever is sent in whatever order, the receiver sees the same atoms.
    #[test]
    fn send_cache_and_receive_cache_agree(
        messages in prop::collection::vec(prop::collection::vec(0_u16..6000, 0..12), 1..1500),
        lost in any::<u64>(),
    ) {
        let mut cache = SendCache::new();
        let mut reader = HeaderReader::new();
        for (i, message) in messages.iter().enumerate() {
            let atoms: Vec<_> = message.iter().map(|n| atom(&format!("name{n}"))).collect();
            if lost >> (i % 64) & 1 == 1 {
                cache.begin();
                for atom in &atoms {
                    let _ = cache.mention(atom);
                }
                continue;
            }
            let (header, entries) = write(&mut cache, &atoms);
            prop_assert_eq!(reader.read(&header), Ok(header.len()));
            for (entry, atom) in entries.into_iter().zip(&atoms) {
                let entry = usize::from(entry.expect("few atoms"));
                prop_assert_eq!(&reader.atoms()[entry], atom);
            }
        }
    }

    /// Any bytes: an error, never a panic.
    #[test]
    fn any_bytes_are_a_header_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut reader = HeaderReader::new();
        if let Ok(len) = reader.read(&bytes) {
            prop_assert!(len <= bytes.len());
            let atoms = reader.atoms().to_vec();
            prop_assert!(atoms.len() <= 255);
        }
    }
}
