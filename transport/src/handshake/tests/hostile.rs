//! Peers that break the rules.

use super::super::message::{
    ChallengeMessage, ChallengeReply, MessageError, MessageKind, MessageReader, SendName, Status,
};
use super::*;

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a short body");
    [&length.to_be_bytes()[..], body].concat()
}

fn send_name(name: &[u8], flags: Flags) -> Vec<u8> {
    let mut bytes = Vec::new();
    SendName { flags, creation: Some(Creation(9)), name }.encode(LengthPrefix::Two, &mut bytes);
    bytes
}

/// What an acceptor makes of its first bytes: the error, and what it says before closing.
fn refused(bytes: &[u8]) -> (HandshakeErrorKind, Vec<u8>) {
    let now = Instant::now();
    let mut acceptor = Acceptor::new(acceptor_config("b@h"), now);
    let error = acceptor.receive(now, bytes, none).expect_err("it must be refused");
    assert_eq!(acceptor.stage(), Stage::Over);
    (error.kind, acceptor.take_output())
}

#[test]
fn endless_names_are_refused_by_their_length() {
    let (kind, said) = refused(&1101u16.to_be_bytes());
    let error = MessageError::TooLong { length_bytes: 1101, limit_bytes: 1100 };
    assert_eq!((kind, said), (HandshakeErrorKind::Message(error), vec![]));
    let (kind, _) = refused(&send_name(&[b'a'; 1000], Flags::ours(true)));
    assert!(matches!(kind, HandshakeErrorKind::BadName { .. }));
}

#[test]
fn what_is_no_name_message_is_refused() {
    let cases: [&[u8]; 9] = [
        b"",
        b"N",
        b"N\0\0\0\x6d\x07\xdf\x7f\xbc\x11\x22\x33",
        b"N\0\0\0\x6d\x07\xdf\x7f\xbc\x11\x22\x33\x44\0\x05a@h",
        b"n\0\x04\x07\xdf\x7f\xbca@h",
        b"n\0\x05\x07",
        b"sok",
        b"GET / HTTP/1.1",
        b"\0",
    ];
    for body in cases {
        let (kind, said) = refused(&framed(body));
        assert!(matches!(kind, HandshakeErrorKind::Message(_)), "{kind:?}");
        assert_eq!(said, b"");
    }
}

#[test]
fn bad_names_get_the_answer_they_get_from_otp() {
    let nok: &[u8] = b"\0\x04snok";
    let cases: [(&[u8], &[u8]); 8] = [
        (b"a", b""),
        (b"a@b@c", b""),
        (b"@h", b""),
        (b"a@", b""),
        (b"", b""),
        (b"a.b@h", nok),
        (b"\xe5@h", nok),
        (b"a@h\n2026 ok", nok),
    ];
    for (name, answer) in cases {
        let (kind, said) = refused(&send_name(name, Flags::ours(true)));
        assert!(matches!(kind, HandshakeErrorKind::BadName { .. }), "{kind:?}");
        assert!(!format!("{kind:?}").contains('\n'));
        assert_eq!(said, answer, "{name:?}");
    }
    let (kind, said) = refused(&send_name(b"b@h", Flags::ours(true)));
    assert_eq!((kind, said), (HandshakeErrorKind::OwnName, nok.to_vec()));
}

#[test]
fn a_host_to_be_named_on_is_checked() {
    let flags = Flags::ours(false) | Flags::NAME_ME;
    for host in [&b""[..], b"a@h", b"h h", &[b'h'; 256]] {
        let (kind, _) = refused(&send_name(host, flags));
        assert!(matches!(kind, HandshakeErrorKind::BadName { .. }), "{kind:?}");
    }
}

#[test]
fn bytes_after_the_name_are_for_later_versions() {
    let now = Instant::now();
    let mut body = send_name(b"a@h", Flags::ours(true)).split_off(2);
    body.extend_from_slice(b"later");
    let mut acceptor = Acceptor::new(acceptor_config("b@h"), now);
    let step = acceptor.receive(now, &framed(&body), none).expect("a good name");
    assert!(matches!(step, AcceptorStep::Decide(_)));
}

#[test]
fn bytes_before_their_turn_end_it() {
    let now = Instant::now();
    let mut bytes = send_name(b"a@h", Flags::ours(true));
    bytes.push(0);
    assert_eq!(refused(&bytes).0, HandshakeErrorKind::EarlyBytes);

    let (_, mut acceptor) = introduced(now);
    let error = acceptor.receive(now, b"\0", none).expect_err("not its turn");
    assert_eq!((error.kind, error.stage), (HandshakeErrorKind::EarlyBytes, Stage::Owner));

    let (mut initiator, _) = introduced(now);
    let error = initiator.receive(now, b"\0\x04snok\0", none).expect_err("nok is the last word");
    assert_eq!(error.kind, HandshakeErrorKind::EarlyBytes);
}

#[test]
fn statuses_that_have_no_place_end_it() {
    let now = Instant::now();
    let (mut initiator, _) = introduced(now);
    let error = initiator.receive(now, &framed(b"smaybe\n"), none).expect_err("no such status");
    let expected = MessageError::UnknownStatus { came: "maybe\\n".into() };
    assert_eq!(error.kind, HandshakeErrorKind::Message(expected));
    assert_eq!(error.fault(), Fault::Peer);

    let mut unasked = vec![];
    Status::Named { name: "x@h", creation: Creation(9) }.encode(LengthPrefix::Two, &mut unasked);
    for bytes in [unasked, framed(b"strue"), framed(b"sfalse")] {
        let (mut initiator, _) = introduced(now);
        let error = initiator.receive(now, &bytes, none).expect_err("no place");
        assert!(matches!(error.kind, HandshakeErrorKind::UnexpectedStatus { .. }));
    }
    let (_, mut acceptor) = introduced(now);
    acceptor.decide(now, Decision::Accept(Accept::Alive, cookie())).expect("accepted");
    let error = acceptor.receive(now, &framed(b"sok"), none).expect_err("no answer");
    assert!(matches!(error.kind, HandshakeErrorKind::UnexpectedStatus { came: "ok" }));
}

#[test]
fn names_given_must_be_usable() {
    let now = Instant::now();
    let cases: [&[u8]; 6] = [
        b"snamed:",
        b"snamed:\0\x05x@h",
        b"snamed:\0\x03x@h\0\0\0",
        b"snamed:\0\x03x\xff@\0\0\0\x09",
        b"snamed:\0\x05x@zzz\0\0\0\x09",
        b"snamed:\0\x03h@@\0\0\0\x09",
    ];
    for body in cases {
        let config = InitiatorConfig {
            local: LocalName::AskFor { host: "h".into() },
            ..initiator_config("a@h", "b@h")
        };
        let mut initiator = Initiator::new(config, now).expect("a good configuration");
        let error = initiator.receive(now, &framed(body), none).expect_err("no good name");
        assert_eq!(error.fault(), Fault::Peer, "{error}");
    }
    let config = InitiatorConfig {
        local: LocalName::AskFor { host: "h h".into() },
        ..initiator_config("a@h", "b@h")
    };
    assert!(Initiator::new(config, now).is_err());
}

/// An initiator that was told `ok`, and what it makes of this challenge.
fn challenge_refused(
    name: &[u8],
    flags: Flags,
    challenge: u32,
    is_ours: impl Fn(Challenge) -> bool,
) -> HandshakeErrorKind {
    let now = Instant::now();
    let mut initiator = initiator("a@h", "b@h", now);
    initiator.receive(now, &framed(b"sok"), none).expect("a good status");
    let _ = initiator.take_output();
    let mut bytes = Vec::new();
    ChallengeMessage { flags, challenge: Challenge(challenge), creation: Creation(9), name }
        .encode(LengthPrefix::Two, &mut bytes);
    let error = initiator.receive(now, &bytes, is_ours).expect_err("it must be refused");
    assert_eq!(initiator.take_output(), b"", "no digest is given away");
    error.kind
}

#[test]
fn challenges_are_answered_to_the_right_peer_only() {
    let good = Flags::ours(true);
    let came = node("c@h");
    assert_eq!(challenge_refused(b"c@h", good, 1, none), HandshakeErrorKind::WrongPeer { came });
    let kind = challenge_refused(
        b"b@h",
        good.without(Flags::MANDATORY_25_DIGEST | Flags::MAP_TAG),
        1,
        none,
    );
    let ours = Flags::NONE;
    assert_eq!(kind, HandshakeErrorKind::MissingFlags { missing: Flags::MAP_TAG, ours });
    // Its own challenge, and one of another handshake of this node.
    let kind = challenge_refused(b"b@h", good, 0x0102_0304, none);
    assert_eq!(kind, HandshakeErrorKind::ReflectedChallenge);
    let kind = challenge_refused(b"b@h", good, 77, |challenge| challenge == Challenge(77));
    assert_eq!(kind, HandshakeErrorKind::ReflectedChallenge);
}

#[test]
fn an_acceptor_does_not_answer_its_own_challenge() {
    let now = Instant::now();
    for challenge in [0x0a0b_0c0d, 77] {
        let (_, mut acceptor) = challenged(Accept::Ok, now);
        let digest = cookie().digest(Challenge(0x0a0b_0c0d));
        let mut bytes = Vec::new();
        ChallengeReply { challenge: Challenge(challenge), digest }
            .encode(LengthPrefix::Two, &mut bytes);
        let error = acceptor
            .receive(now, &bytes, |challenge| challenge == Challenge(77))
            .expect_err("a reflection");
        assert_eq!(error.kind, HandshakeErrorKind::ReflectedChallenge);
        assert_eq!(acceptor.take_output(), b"");
    }
}

#[test]
fn digests_must_match_on_both_sides() {
    let now = Instant::now();
    let (mut initiator, mut acceptor) = challenged(Accept::Ok, now);
    let mut reply = initiator.take_output();
    *reply.last_mut().expect("a reply") ^= 1;
    let error = acceptor.receive(now, &reply, none).expect_err("a wrong digest");
    assert_eq!(error.kind, HandshakeErrorKind::CookieMismatch);
    assert_eq!(acceptor.take_output(), b"");
    let ack = framed(&[b"a", &[0; 16][..]].concat());
    let error = initiator.receive(now, &ack, none).expect_err("a wrong digest");
    assert_eq!(error.kind, HandshakeErrorKind::CookieMismatch);
}

#[test]
fn lengths_of_fixed_messages_are_exact() {
    let now = Instant::now();
    for length in [0, 1, 20, 22, 64, 65] {
        let (_, mut acceptor) = challenged(Accept::Ok, now);
        let mut body = vec![0; length];
        if let Some(tag) = body.first_mut() {
            *tag = b'r';
        }
        let error = acceptor.receive(now, &framed(&body), none).expect_err("a wrong length");
        assert!(matches!(error.kind, HandshakeErrorKind::Message(_)), "{error}");
    }
    for length in [16, 18, 64, 65] {
        let (mut initiator, _) = challenged(Accept::Ok, now);
        let mut body = vec![0; length];
        body[0] = b'a';
        let error = initiator.receive(now, &framed(&body), none).expect_err("a wrong length");
        assert!(matches!(error.kind, HandshakeErrorKind::Message(_)), "{error}");
    }
}

#[test]
fn the_old_form_needs_its_complement() {
    let now = Instant::now();
    let old = |flags_high: u32| {
        let mut acceptor = Acceptor::new(acceptor_config("b@h"), now);
        let low = Flags::from_bits(Flags::ours(true).bits() & 0xffff_ffff);
        let mut bytes = Vec::new();
        SendName { flags: low, creation: None, name: b"a@h" }.encode(LengthPrefix::Two, &mut bytes);
        acceptor.receive(now, &bytes, none).expect("a good name");
        acceptor.decide(now, Decision::Accept(Accept::Ok, cookie())).expect("accepted");
        assert_eq!(acceptor.stage(), Stage::Message(MessageKind::Complement));
        let mut bytes = Vec::new();
        message::Complement { flags_high, creation: Creation(9) }
            .encode(LengthPrefix::Two, &mut bytes);
        let digest = cookie().digest(Challenge(0x0a0b_0c0d));
        ChallengeReply { challenge: Challenge(1), digest }.encode(LengthPrefix::Two, &mut bytes);
        acceptor.receive(now, &bytes, none)
    };
    let error = old(0).expect_err("V4_NC is in the high half");
    let expected = HandshakeErrorKind::MissingFlags { missing: Flags::V4_NC, ours: Flags::NONE };
    assert_eq!(error.kind, expected);
    let AcceptorStep::Established(established) = old(0x6d).expect("a good peer") else {
        panic!("it was not established")
    };
    assert_eq!(established.peer_flags, Flags::ours(true));
    assert_eq!(established.peer_creation, Creation(9));
}

#[test]
fn our_own_missing_flags_are_called_ours() {
    let now = Instant::now();
    let flags = Flags::ours(true).without(Flags::UNLINK_ID);
    let config = InitiatorConfig { flags, ..initiator_config("a@h", "b@h") };
    let error = Initiator::new(config, now).expect_err("bad flags");
    assert!(error.to_string().contains("this node is configured without"), "{error}");
}

#[test]
fn a_silent_close_is_explained() {
    let now = Instant::now();
    let (mut initiator, _) = challenged(Accept::Ok, now);
    let error = initiator.closed();
    assert_eq!(error.fault(), Fault::Configuration);
    assert_eq!(
        error.to_string(),
        "handshake with b@h failed while waiting for challenge_ack: the peer closed the \
         connection; most likely it holds another cookie for this node: give both nodes the same \
         cookie"
    );
}

#[test]
fn the_reader_takes_no_byte_beyond_the_message() {
    let mut reader = MessageReader::new(LengthPrefix::Two);
    let mut input = &b"\0\x03sok\0\0\0\0"[..];
    assert_eq!(reader.read(&mut input, 64), Ok(Some(b"sok".to_vec())));
    assert_eq!(input, b"\0\0\0\0");
}
