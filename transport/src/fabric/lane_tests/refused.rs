//! Frames that no honest peer sends.

use super::*;
use crate::dist::control::ControlWriter;
use crate::dist::fragment::FragmentLimits;
use crate::fabric::frame::{FLAG_MORE, FLAG_RAW, Header};
use crate::handshake::Flags;

/// A frame without checksum.
fn frame(header: Header, payload: &[u8]) -> Vec<u8> {
    let header = Header { length: payload.len() as u32, ..header };
    [&header.encode()[..], payload].concat()
}

fn message() -> Header {
    Header { from: A, to: B, ..Header::bare(kind::MESSAGE) }
}

fn error_of(frames: &[Vec<u8>]) -> LaneError {
    let (_, mut b) = pair();
    b.feed(&frames.concat()).expect_err("refused")
}

#[test]
fn malformed_frames_end_the_session() {
    let bare = Header::bare;
    let cases = [
        (vec![frame(bare(0), b"")], LaneError::UnknownKind(0)),
        (vec![frame(bare(10), b"")], LaneError::UnknownKind(10)),
        (
            vec![frame(Header { flags: 4, ..message() }, b"")],
            LaneError::Flags { kind: kind::MESSAGE, flags: 4 },
        ),
        (
            vec![frame(Header { flags: FLAG_RAW, ..bare(kind::SIGNAL) }, b"")],
            LaneError::Flags { kind: kind::SIGNAL, flags: FLAG_RAW },
        ),
        (
            vec![frame(Header { flags: FLAG_MORE, ..bare(kind::ACK) }, b"")],
            LaneError::Flags { kind: kind::ACK, flags: FLAG_MORE },
        ),
        (
            vec![frame(Header { head: 1, ..message() }, b"abc")],
            LaneError::Head { kind: kind::MESSAGE, head: 1, length: 3 },
        ),
        (
            vec![frame(Header { head: 4, ..bare(kind::NAMED) }, b"abc")],
            LaneError::Head { kind: kind::NAMED, head: 4, length: 3 },
        ),
        (
            vec![frame(bare(kind::SIGNAL), b"abc")],
            LaneError::Head { kind: kind::SIGNAL, head: 0, length: 3 },
        ),
        (
            vec![frame(bare(kind::TICK), b"abc")],
            LaneError::UnexpectedPayload { kind: kind::TICK, length: 3 },
        ),
        (vec![frame(Header { head: 1, ..bare(kind::NAMED) }, &[0xff, 106])], LaneError::Name),
        (vec![frame(bare(kind::BYE), &[b'a'; 256])], LaneError::Name),
        (vec![frame(message(), b"")], LaneError::MissingPayload),
        (vec![frame(message(), &[106, 106])], LaneError::PayloadTooLong { extra: 1 }),
        (vec![frame(Header { from: A, ..bare(kind::FRAGMENT) }, b"x")], LaneError::NotBegun(A)),
        (
            vec![frame(Header { flags: FLAG_MORE, ..message() }, &[106]); 2],
            LaneError::AlreadyUnfinished(A),
        ),
        (
            vec![
                frame(Header { flags: FLAG_MORE, ..message() }, &[108]),
                frame(Header { from: A, ..bare(kind::FRAGMENT) }, b""),
            ],
            LaneError::PayloadTruncated(A),
        ),
        (
            vec![
                frame(Header { flags: FLAG_MORE, ..message() }, &[106]),
                frame(Header { from: A, ..bare(kind::FRAGMENT) }, &[106]),
            ],
            LaneError::PayloadTooLong { extra: 1 },
        ),
        (vec![frame(Header::ack(1), b"")], LaneError::Acknowledged { stated: 1, from: 0, to: 0 }),
    ];
    for (frames, error) in cases {
        assert!(!error.is_resumable());
        assert_eq!(error.nodedown_reason(), "killed");
        assert_eq!(error_of(&frames), error, "{frames:?}");
    }
    for payload in [&[0][..], &[97], &[109, 0, 0, 0, 9, 1]] {
        assert!(matches!(error_of(&[frame(message(), payload)]), LaneError::Payload(_)));
    }
    let head = Header { head: 2, ..Header::bare(kind::SIGNAL) };
    assert!(matches!(error_of(&[frame(head, &[104, 0])]), LaneError::Control(_)));
}

#[test]
fn a_frame_that_is_too_long_is_refused_before_it_comes() {
    let mut header = message();
    let limit = LaneLimits::DEFAULT.frame_bytes_max;
    header.length = limit + 1;
    let length = header.length;
    let error = LaneError::FrameTooLarge { length, limit };
    assert_eq!(error.nodedown_reason(), "emsgsize");
    assert_eq!(error_of(&[header.encode().to_vec()]), error);
    // With checksums it is as likely that the connection is broken.
    let (_, mut b) = pair_with(|config| config.checksum = true);
    let error = LaneError::Checksum { position: 0 };
    assert_eq!(b.feed(&[&header.encode()[..], &[0; 4]].concat()), Err(error));
}

#[test]
fn an_old_form_of_a_signal_is_refused() {
    let (a, _) = pair();
    let exit = Control::Exit { from: a.lane.local_pid(A), to: a.lane.peer_pid(B), token: None };
    let mut tuple = Vec::new();
    let flags = Flags::HIDDEN.without(Flags::EXIT_PAYLOAD);
    exit.encode(flags, &mut ControlWriter::new(&mut tuple, None)).expect("the old form");
    tuple.push(106);
    let header = Header { head: tuple.len() as u16, ..Header::bare(kind::SIGNAL) };
    assert!(matches!(error_of(&[frame(header, &tuple)]), LaneError::Control(_)));
}

#[test]
fn a_signal_without_payload_has_none() {
    let (a, _) = pair();
    let link = Control::Link { from: a.lane.local_pid(A), to: a.lane.peer_pid(B) };
    let mut tuple = Vec::new();
    link.encode(Flags::HIDDEN, &mut ControlWriter::new(&mut tuple, None)).expect("known");
    let header = Header { head: tuple.len() as u16, ..Header::bare(kind::SIGNAL) };
    tuple.push(106);
    let error = LaneError::UnexpectedPayload { kind: kind::SIGNAL, length: 1 };
    assert_eq!(error_of(&[frame(header, &tuple)]), error);
}

#[test]
fn what_is_unfinished_is_bounded() {
    let limit = |sequences_max, sequence_bytes_max, connection_bytes_max| {
        let fragments = FragmentLimits { sequences_max, sequence_bytes_max, connection_bytes_max };
        let (_, mut b) = pair_with(|config| config.limits.fragments = fragments);
        for id in 0.. {
            let from = ProcessNumber { id, serial: 0 };
            let flags = FLAG_MORE | FLAG_RAW;
            let begin = frame(Header { flags, from, ..message() }, &[0; 1000]);
            let go_on = Header { flags: FLAG_MORE, from, ..Header::bare(kind::FRAGMENT) };
            for bytes in [begin, frame(go_on, b"next")] {
                if let Err(error) = b.feed(&bytes) {
                    return (id, error);
                }
            }
        }
        unreachable!("the loop ends with an error")
    };
    assert_eq!(limit(5, 10_000, 100_000), (5, LaneError::TooManyUnfinished { limit: 5 }));
    assert_eq!(limit(5, 1_003, 100_000), (0, LaneError::MessageTooLarge { limit: 1_003 }));
    assert_eq!(limit(50, 10_000, 3_500), (3, LaneError::UnfinishedTooLarge { limit: 3_500 }));
}
