//! A link that gets any stream of bytes.

use std::time::Instant;

use krarup_transport::buffer::Slice;
use krarup_transport::dist::frame::{Front, LENGTH_BYTES};
use krarup_transport::dist::header::HeaderReader;
use krarup_transport::dist::{Control, Destination};
use krarup_transport::handshake::Flags;
use krarup_transport::link::{IoSlices, Link, LinkConfig, Outgoing, PlainMessage, Signal};
use krarup_transport::term::{Atom, Limits};

/// The names in the recordings.
const OURS: &str = "gold@127.0.0.1";
const PEERS: [&str; 4] = ["o25@127.0.0.1", "o27@127.0.0.1", "o29@127.0.0.1", OURS];

/// Small limits, so that short inputs reach them.
const FRAME_BYTES_MAX: u32 = 1 << 20;
const SEQUENCES_MAX: usize = 8;
const SEQUENCE_BYTES_MAX: usize = 64 << 10;
const CONNECTION_BYTES_MAX: usize = 128 << 10;

/// The first byte chooses shape and names, the rest is what the peer sends.
///
/// What is received is sent on over a second connection of another shape, and has to arrive there
/// as the same.
pub fn run(input: &[u8]) {
    let Some((&choice, stream)) = input.split_first() else { return };
    header(stream);
    let flags = shape(choice);
    let mut receiver = link(flags, OURS, peer(choice));
    // Another shape, but the same forms: what a form cannot say would not come back.
    let onward = shape(choice.wrapping_add(1));
    let mut sender = link(onward, peer(choice), OURS);
    let mut second = link(onward, OURS, peer(choice));
    for signal in receive(&mut receiver, stream) {
        if let Some(payload) = &signal.payload {
            let bytes = payload.contiguous().expect("short messages are in one piece");
            assert!(!bytes.is_empty());
            // It was validated; decoding can only exceed what an owned term may cost.
            if let Err(error) = payload.decode(&Limits::DEFAULT) {
                assert!(error.is_limit(), "{error}");
            }
        }
        // References into the first connection's header mean nothing on another one.
        if signal.payload.as_ref().is_some_and(|payload| !payload.atoms.is_empty()) {
            continue;
        }
        let outgoing = signal.payload.as_ref().and_then(|payload| payload.contiguous());
        sender.send(&signal.control, outgoing.map(Outgoing::Encoded)).expect("room, and a form");
        let arrived = receive(&mut second, &drain(&mut sender));
        let [arrived] = arrived.as_slice() else { panic!("{arrived:?}") };
        let bytes = |signal: &Signal| {
            signal.payload.as_ref().and_then(|payload| payload.contiguous().map(<[u8]>::to_vec))
        };
        assert_eq!(bytes(arrived), bytes(&signal));
        if !super::control::is_ambiguous(&signal.control) {
            assert_eq!(arrived.control, signal.control);
        }
    }
}

/// Header bytes without a frame around them.
fn header(bytes: &[u8]) {
    let mut reader = HeaderReader::new();
    let mut rest = bytes;
    while let Ok(len) = reader.read(rest) {
        assert!((1..=rest.len()).contains(&len));
        assert!(reader.atoms().len() <= usize::from(rest[0]));
        rest = &rest[len..];
    }
}

fn shape(choice: u8) -> Flags {
    let plain = Flags::HIDDEN.without(Flags::DIST_HDR_ATOM_CACHE);
    match choice % 4 {
        0 => plain.without(Flags::FRAGMENTS),
        1 => plain,
        2 => Flags::HIDDEN,
        _ => Flags::HIDDEN.without(Flags::FRAGMENTS),
    }
}

fn peer(choice: u8) -> &'static str {
    PEERS[usize::from(choice >> 2) % PEERS.len()]
}

fn link(flags: Flags, local: &'static str, peer: &'static str) -> Link {
    let mut config = LinkConfig::new(flags, Atom::from_static(local), Atom::from_static(peer));
    config.limits.frame_bytes_max = FRAME_BYTES_MAX;
    config.limits.fragments.sequences_max = SEQUENCES_MAX;
    config.limits.fragments.sequence_bytes_max = SEQUENCE_BYTES_MAX;
    config.limits.fragments.connection_bytes_max = CONNECTION_BYTES_MAX;
    Link::new(config, Instant::now())
}

/// The signals in a stream, up to what ends the connection.
fn receive(link: &mut Link, stream: &[u8]) -> Vec<Signal> {
    let mut rest = Slice::copy_from(stream);
    let mut signals = Vec::new();
    loop {
        match link.frame_reader().front(&rest) {
            Front::NeedMore(bytes) => {
                assert!(bytes > rest.len());
                break;
            }
            Front::Tick => rest.advance(LENGTH_BYTES),
            Front::TooLarge(error) => {
                assert!(error.len > FRAME_BYTES_MAX);
                break;
            }
            Front::Frame(len) => {
                rest.advance(LENGTH_BYTES);
                let frame = rest.split_to(len);
                let plain = link.receive_plain(&frame);
                match link.receive(frame.clone()) {
                    Ok(signal) => {
                        if let Some(plain) = plain {
                            same(&plain, &frame, signal.as_ref().expect("a message"));
                        }
                        signals.extend(signal);
                    }
                    Err(error) => {
                        assert_eq!(plain, None);
                        assert_eq!(error.nodedown_reason(), "killed");
                        assert!(!error.to_string().is_empty());
                        break;
                    }
                }
            }
        }
        let (sequences, bytes) = link.unfinished_messages();
        assert!(sequences <= SEQUENCES_MAX && bytes <= CONNECTION_BYTES_MAX);
    }
    signals
}

/// Both ways of receiving say the same.
fn same(plain: &PlainMessage, frame: &[u8], signal: &Signal) {
    let Control::Send { from: Some(from), to: Destination::Process(to), priority, token } =
        &signal.control
    else {
        panic!("{:?}", signal.control)
    };
    assert!(!priority && token.is_none());
    for (plain, pid) in [(plain.from, from), (plain.to, to)] {
        assert_eq!((plain.id, plain.serial, plain.creation), (pid.id, pid.serial, pid.creation));
        assert_eq!(plain.to_pid(&pid.node, &pid.node), *pid);
    }
    let payload = signal.payload.as_ref().expect("a message");
    assert_eq!(payload.contiguous(), frame.get(plain.payload.clone()));
    assert!(payload.atoms.is_empty());
}

fn drain(link: &mut Link) -> Vec<u8> {
    let mut bytes = Vec::new();
    while link.is_write_pending() {
        let before = bytes.len();
        let mut slices = IoSlices::new();
        link.io_slices(&mut slices);
        slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
        drop(slices);
        link.written(bytes.len() - before);
    }
    bytes
}
