//! Control messages of any bytes.

use krarup_transport::dist::control::{Control, ControlWriter, Names, PayloadPlace, SpawnOption};
use krarup_transport::handshake::Flags;
use krarup_transport::term::{Atom, Limits};

/// The names in the recordings, also as the atoms that tag 82 refers to.
static ATOMS: [Atom; 5] = [
    Atom::from_static("gold@127.0.0.1"),
    Atom::from_static("o25@127.0.0.1"),
    Atom::from_static("o27@127.0.0.1"),
    Atom::from_static("o29@127.0.0.1"),
    Atom::from_static("a"),
];

/// The first byte chooses the two nodes, the rest is the control message.
///
/// Whatever decodes is the same after it was encoded and decoded again, and an old peer's form of
/// it is legal, too.
pub fn run(input: &[u8]) {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let name = |choice: u8| &ATOMS[usize::from(choice) % ATOMS.len()];
    let names = Names { local: name(choice & 15), peer: name(choice >> 4) };
    let decode = |bytes: &[u8]| Control::decode(bytes, &ATOMS, names, &Limits::DEFAULT);
    let decoded = match decode(bytes) {
        Ok(decoded) => decoded,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(decoded.len <= bytes.len());
    if let Some(reason) = &decoded.reason {
        assert!(reason.range.end <= decoded.len && !reason.range.is_empty());
        assert!(decoded.control.has_payload());
    }
    let new = Flags::HIDDEN;
    let old =
        new.without(Flags::EXIT_PAYLOAD).without(Flags::SEND_SENDER).without(Flags::ALTACT_SIG);
    for flags in [new, old] {
        let mut encoded = Vec::new();
        let place = decoded.control.encode(flags, &mut ControlWriter::new(&mut encoded, None));
        let Ok(place) = place else {
            assert!(flags == old && encoded.is_empty());
            continue;
        };
        assert_eq!(place != PayloadPlace::None, decoded.control.has_payload());
        if place == PayloadPlace::Inside {
            encoded.extend_from_slice(b"w\x06normal");
        }
        let again = decode(&encoded).expect("our own encoding");
        assert_eq!(again.len, encoded.len());
        assert_eq!(again.reason.is_some(), place == PayloadPlace::Inside);
        if flags == new && !is_ambiguous(&decoded.control) {
            assert_eq!(again.control, decoded.control);
        }
    }
}

/// Whether encoding it does not give back the same: options that are no list are kept as one
/// unknown option, which inside a list may be one that is known.
pub(super) fn is_ambiguous(control: &Control) -> bool {
    let Control::SpawnRequest(request) = control else { return false };
    matches!(request.options.as_slice(), [SpawnOption::Unknown(_)])
}
