//! The machines against recorded real nodes, against hostile peers, and against each other.

use std::time::{Duration, Instant};

use super::acceptor::EARLY_BYTES_MAX;
use super::message::LengthPrefix;
use super::*;

mod golden;
mod hostile;
mod simultaneous;

/// No challenge of this node is outstanding but the machine's own.
fn none(_: Challenge) -> bool {
    false
}

fn node(text: &str) -> NodeName {
    NodeName::parse(text).expect("a good name")
}

fn cookie() -> Cookie {
    Cookie::new("goldcookie").expect("a good cookie")
}

fn initiator_config(local: &str, peer: &str) -> InitiatorConfig {
    InitiatorConfig {
        local: LocalName::Named(node(local), Creation(0x1122_3344)),
        peer: node(peer),
        flags: Flags::ours(true),
        cookie: cookie(),
        challenge: Challenge(0x0102_0304),
        timeouts: Timeouts::default(),
        prefix: LengthPrefix::Two,
    }
}

fn acceptor_config(local: &str) -> AcceptorConfig {
    AcceptorConfig {
        local: node(local),
        creation: Creation(0x5566_7788),
        flags: Flags::ours(true),
        challenge: Challenge(0x0a0b_0c0d),
        timeouts: Timeouts::default(),
        prefix: LengthPrefix::Two,
        holds_ack: false,
    }
}

fn initiator(local: &str, peer: &str, now: Instant) -> Initiator {
    Initiator::new(initiator_config(local, peer), now).expect("a good configuration")
}

/// An initiator and an acceptor past the name, the acceptor waiting for its decision.
fn introduced(now: Instant) -> (Initiator, Acceptor) {
    introduced_with(Flags::NONE, now)
}

/// The same, of nodes that have more flags than the usual ones.
fn introduced_with(more: Flags, now: Instant) -> (Initiator, Acceptor) {
    let mut config = initiator_config("a@h", "b@h");
    config.flags = config.flags.with(more);
    let mut initiator = Initiator::new(config, now).expect("a good configuration");
    let mut config = acceptor_config("b@h");
    config.flags = config.flags.with(more);
    let mut acceptor = Acceptor::new(config, now);
    let step = acceptor.receive(now, &initiator.take_output(), none).expect("a good name");
    assert!(matches!(step, AcceptorStep::Decide(_)));
    (initiator, acceptor)
}

/// An initiator that sent its digest, and the acceptor it goes to.
fn challenged(accept: Accept, now: Instant) -> (Initiator, Acceptor) {
    challenged_with(Flags::NONE, accept, now)
}

fn challenged_with(more: Flags, accept: Accept, now: Instant) -> (Initiator, Acceptor) {
    let (mut initiator, mut acceptor) = introduced_with(more, now);
    acceptor.decide(now, Decision::Accept(accept.clone(), cookie())).expect("accepted");
    let step = initiator.receive(now, &acceptor.take_output(), none).expect("a good status");
    if accept == Accept::Alive {
        assert!(matches!(step, InitiatorStep::Alive));
        initiator.answer_alive(now, true).expect("the question is open");
        acceptor.receive(now, &initiator.take_output(), none).expect("a good answer");
        initiator.receive(now, &acceptor.take_output(), none).expect("a good challenge");
    }
    (initiator, acceptor)
}

#[test]
fn two_machines_agree() {
    let now = Instant::now();
    let (mut initiator, mut acceptor) = challenged(Accept::Ok, now);
    let step = acceptor.receive(now, &initiator.take_output(), none).expect("a good digest");
    let AcceptorStep::Established(here) = step else { panic!("{step:?}") };
    assert_eq!(here.peer, node("a@h"));
    assert_eq!(here.peer_creation, Creation(0x1122_3344));
    let mut bytes = acceptor.take_output();
    bytes.extend_from_slice(b"\0\0\0\0first frame");
    let step = initiator.receive(now, &bytes, none).expect("a good digest");
    let InitiatorStep::Established(there) = step else { panic!("{step:?}") };
    assert_eq!(there.peer, node("b@h"));
    assert_eq!(there.peer_creation, Creation(0x5566_7788));
    assert_eq!(there.leftover, b"\0\0\0\0first frame");
    assert_eq!((here.flags, here.visible()), (there.flags, there.visible()));
    assert!(here.visible());
    // Whatever cookie is set by now: what follows on this link goes with that one.
    assert_eq!((&here.cookie, &there.cookie), (&cookie(), &cookie()));
}

#[test]
fn hidden_on_either_side_is_hidden_on_both() {
    let now = Instant::now();
    let config = InitiatorConfig { flags: Flags::ours(false), ..initiator_config("a@h", "b@h") };
    let mut initiator = Initiator::new(config, now).expect("a good configuration");
    let mut acceptor = Acceptor::new(acceptor_config("b@h"), now);
    acceptor.receive(now, &initiator.take_output(), none).expect("a good name");
    acceptor.decide(now, Decision::Accept(Accept::Ok, cookie())).expect("accepted");
    initiator.receive(now, &acceptor.take_output(), none).expect("a good challenge");
    let step = acceptor.receive(now, &initiator.take_output(), none).expect("a good digest");
    let AcceptorStep::Established(established) = step else { panic!("{step:?}") };
    assert!(!established.visible());
}

#[test]
fn alive_withholds_the_ack_until_the_old_link_is_gone() {
    let now = Instant::now();
    let (mut initiator, mut acceptor) = challenged(Accept::Alive, now);
    let step = acceptor.receive(now, &initiator.take_output(), none).expect("a good digest");
    assert!(matches!(step, AcceptorStep::ReplaceOldLink));
    assert_eq!(acceptor.take_output(), b"");
    let step = acceptor.acknowledge(now).expect("it was asked for");
    assert!(matches!(step, AcceptorStep::Established(_)));
    let step = initiator.receive(now, &acceptor.take_output(), none).expect("a good ack");
    assert!(matches!(step, InitiatorStep::Established(_)));
}

#[test]
fn a_hello_behind_the_proof_waits_for_the_ack() {
    let now = Instant::now();
    let (mut initiator, mut acceptor) = challenged_with(Flags::FABRIC, Accept::Alive, now);
    assert_eq!(initiator.negotiated().map(Flags::fabric), Some(true));
    let bytes = [&initiator.take_output()[..], b"hel"].concat();
    let step = acceptor.receive(now, &bytes, none).expect("a good digest");
    assert!(matches!(step, AcceptorStep::ReplaceOldLink));
    acceptor.receive(now, b"lo", none).expect("the rest of it");
    assert_eq!(acceptor.take_output(), b"", "no ack yet");
    let step = acceptor.acknowledge(now).expect("it was asked for");
    let AcceptorStep::Established(established) = step else { panic!("{step:?}") };
    assert_eq!(established.leftover, b"hello");

    // It may not be long, and without lanes nothing may come at all.
    for (flags, bytes) in [(Flags::FABRIC, EARLY_BYTES_MAX + 1), (Flags::NONE, 1)] {
        let (mut initiator, mut acceptor) = challenged_with(flags, Accept::Alive, now);
        let bytes = [initiator.take_output(), vec![0; bytes]].concat();
        let error = acceptor.receive(now, &bytes, none).expect_err("too much");
        assert_eq!(error.kind, HandshakeErrorKind::EarlyBytes);
    }
}

#[test]
fn a_held_ack_waits_for_the_owners_word() {
    let now = Instant::now();
    let mut initiator = initiator("a@h", "b@h", now);
    let config = AcceptorConfig { holds_ack: true, ..acceptor_config("b@h") };
    let mut acceptor = Acceptor::new(config, now);
    acceptor.receive(now, &initiator.take_output(), none).expect("a good name");
    acceptor.decide(now, Decision::Accept(Accept::Ok, cookie())).expect("accepted");
    initiator.receive(now, &acceptor.take_output(), none).expect("a good challenge");
    let step = acceptor.receive(now, &initiator.take_output(), none).expect("a good digest");
    assert!(matches!(step, AcceptorStep::Proven), "{step:?}");
    assert_eq!(acceptor.take_output(), b"");
    assert_eq!(acceptor.stage(), Stage::Owner);
    let step = acceptor.acknowledge(now).expect("the owner was asked");
    assert!(matches!(step, AcceptorStep::Established(_)));
    let step = initiator.receive(now, &acceptor.take_output(), none).expect("a good ack");
    assert!(matches!(step, InitiatorStep::Established(_)));
}

#[test]
fn alive_with_a_wrong_cookie_never_touches_the_old_link() {
    let now = Instant::now();
    let config = InitiatorConfig {
        cookie: Cookie::new("other").expect("a good cookie"),
        ..initiator_config("a@h", "b@h")
    };
    let mut initiator = Initiator::new(config, now).expect("a good configuration");
    let mut acceptor = Acceptor::new(acceptor_config("b@h"), now);
    acceptor.receive(now, &initiator.take_output(), none).expect("a good name");
    acceptor.decide(now, Decision::Accept(Accept::Alive, cookie())).expect("accepted");
    initiator.receive(now, &acceptor.take_output(), none).expect("a good status");
    initiator.answer_alive(now, true).expect("the question is open");
    acceptor.receive(now, &initiator.take_output(), none).expect("a good answer");
    initiator.receive(now, &acceptor.take_output(), none).expect("a good challenge");
    let error = acceptor.receive(now, &initiator.take_output(), none).expect_err("wrong cookie");
    assert_eq!(error.kind, HandshakeErrorKind::CookieMismatch);
    assert_eq!(error.peer, Some(node("a@h")));
    assert!(!format!("{error} {error:?}").contains("goldcookie"));
}

#[test]
fn alive_with_false_ends_the_new_attempt_only() {
    let now = Instant::now();
    let (mut initiator, mut acceptor) = introduced(now);
    acceptor.decide(now, Decision::Accept(Accept::Alive, cookie())).expect("accepted");
    initiator.receive(now, &acceptor.take_output(), none).expect("a good status");
    let step = initiator.answer_alive(now, false).expect("the question is open");
    assert!(matches!(step, InitiatorStep::Close));
    let error = acceptor.receive(now, &initiator.take_output(), none).expect_err("withdrawn");
    assert_eq!(error.kind, HandshakeErrorKind::AttemptWithdrawn);
}

#[test]
fn refusals_reach_the_initiator() {
    let now = Instant::now();
    let (mut initiator, mut acceptor) = introduced(now);
    let step = acceptor.decide(now, Decision::NotAllowed).expect("asked");
    assert!(matches!(step, AcceptorStep::Close));
    let error = initiator.receive(now, &acceptor.take_output(), none).expect_err("refused");
    assert_eq!(
        (error.kind.clone(), error.fault()),
        (HandshakeErrorKind::NotAllowed, Fault::Configuration)
    );

    let (mut initiator, mut acceptor) = introduced(now);
    acceptor.decide(now, Decision::Nok).expect("asked");
    let step = initiator.receive(now, &acceptor.take_output(), none).expect("not an error");
    assert!(matches!(step, InitiatorStep::Nok));
    assert_eq!(initiator.stage(), Stage::PeersAttempt);
    assert!(initiator.expire(now + Duration::from_secs(7)).is_err());

    let (mut initiator, mut acceptor) = introduced(now);
    acceptor.decide(now, Decision::Close).expect("asked");
    assert_eq!(acceptor.take_output(), b"");
    assert_eq!(initiator.closed().stage, Stage::Message(message::MessageKind::Status));
}

#[test]
fn dynamic_names_are_given_and_taken() {
    let now = Instant::now();
    let config = InitiatorConfig {
        local: LocalName::AskFor { host: "h.org".into() },
        ..initiator_config("a@h", "b@h")
    };
    let mut initiator = Initiator::new(config, now).expect("a good configuration");
    let mut acceptor = Acceptor::new(acceptor_config("b@h"), now);
    let step = acceptor.receive(now, &initiator.take_output(), none).expect("a good host");
    let AcceptorStep::Decide(applicant) = step else { panic!("{step:?}") };
    assert_eq!(applicant.claim, Claim::NameMe { host: "h.org".into() });
    let accept = Accept::Named { name: node("X1@h.org"), creation: Creation(77) };
    acceptor.decide(now, Decision::Accept(accept, cookie())).expect("accepted");
    initiator.receive(now, &acceptor.take_output(), none).expect("a good challenge");
    let step = acceptor.receive(now, &initiator.take_output(), none).expect("a good digest");
    let AcceptorStep::Established(here) = step else { panic!("{step:?}") };
    assert_eq!((here.peer.as_str(), here.peer_creation), ("X1@h.org", Creation(77)));
    let step = initiator.receive(now, &acceptor.take_output(), none).expect("a good ack");
    let InitiatorStep::Established(there) = step else { panic!("{step:?}") };
    assert_eq!(there.assigned, Some((node("X1@h.org"), Creation(77))));
    assert!(there.flags.name_me() && !there.visible());
}

#[test]
fn answers_must_fit_their_questions() {
    let now = Instant::now();
    let named = || Accept::Named { name: node("x@h"), creation: Creation(9) };
    let (_, mut acceptor) = introduced(now);
    let error = acceptor.decide(now, Decision::Accept(named(), cookie())).expect_err("has a name");
    assert_eq!(error.fault(), Fault::Ours);
    assert!(acceptor.decide(now, Decision::Nok).is_err());
    assert!(acceptor.acknowledge(now).is_err());
    assert!(initiator("a@h", "b@h", now).answer_alive(now, true).is_err());
}

#[test]
fn each_stage_and_the_whole_have_limits() {
    let start = Instant::now();
    let seconds = |count| start + Duration::from_secs(count);
    let mut acceptor = Acceptor::new(acceptor_config("b@h"), start);
    assert_eq!(acceptor.deadline(), seconds(7));
    assert!(acceptor.expire(seconds(6)).is_ok());
    let error = acceptor.expire(seconds(7)).expect_err("too late");
    let limit = Timeouts::default().stage;
    assert_eq!(error.kind, HandshakeErrorKind::Timeout { limit });

    // Every stage used to its last second: the total ends it.
    let mut initiator = initiator("a@h", "b@h", start);
    let mut acceptor = Acceptor::new(acceptor_config("b@h"), start);
    acceptor.receive(seconds(6), &initiator.take_output(), none).expect("in time");
    acceptor.decide(seconds(6), Decision::Accept(Accept::Alive, cookie())).expect("in time");
    let alive = acceptor.take_output();
    initiator.receive(seconds(6), &alive, none).expect("in time");
    initiator.answer_alive(seconds(6), true).expect("in time");
    acceptor.receive(seconds(12), &initiator.take_output(), none).expect("in time");
    assert_eq!(acceptor.deadline(), seconds(19));
    let late = InitiatorConfig { challenge: Challenge(5), ..initiator_config("a@h", "b@h") };
    let mut initiator = Initiator::new(late, seconds(12)).expect("a good configuration");
    let _ = initiator.take_output();
    initiator.receive(seconds(12), &alive, none).expect("in time");
    initiator.answer_alive(seconds(12), true).expect("in time");
    let _ = initiator.take_output();
    initiator.receive(seconds(12), &acceptor.take_output(), none).expect("in time");
    acceptor.receive(seconds(18), &initiator.take_output(), none).expect("in time");
    assert_eq!(acceptor.deadline(), seconds(20));
    let error = acceptor.acknowledge(seconds(20)).expect_err("too late");
    assert_eq!(error.kind, HandshakeErrorKind::Timeout { limit: Timeouts::default().total });
}
