//! Both sides of the handshake, fed by a peer that says anything.

use std::fmt::Debug;
use std::time::Instant;

use krarup_transport::handshake::message::{
    ChallengeAck, ChallengeMessage, ChallengeReply, Complement, MessageError, SendName, Status,
};
use krarup_transport::handshake::{
    Accept, Acceptor, AcceptorConfig, AcceptorStep, Challenge, Claim, Cookie, Decision, Flags,
    Initiator, InitiatorConfig, InitiatorStep, LengthPrefix, LocalName, NodeName, Timeouts,
};
use krarup_transport::term::Creation;

/// Six bytes of settings, then what the peer sends.
///
/// The first chooses the side and the names, the second the owner's decision; the other four are
/// our challenge, so that recorded sessions, whose digests depend on it, go through to their end.
pub fn run(input: &[u8]) {
    let Some(([names, choice, challenge @ ..], stream)) = input.split_first_chunk::<6>() else {
        return;
    };
    let challenge = Challenge(u32::from_be_bytes(*challenge));
    let side = |pieces: Pieces| match names & 1 {
        0 => initiate(*names, *choice, challenge, &pieces.cut(stream)),
        _ => accept(*names, *choice, challenge, &pieces.cut(stream)),
    };
    let by_message = side(Pieces::Messages);
    assert_eq!(by_message, side(Pieces::Bytes), "how it is cut does not matter");
    for body in Pieces::Messages.cut(stream).iter().filter_map(|piece| piece.get(2..)) {
        decode(body);
    }
}

/// How the peer's bytes arrive.
#[derive(Clone, Copy)]
enum Pieces {
    Messages,
    Bytes,
}

impl Pieces {
    fn cut(self, stream: &[u8]) -> Vec<&[u8]> {
        let mut rest = stream;
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let length = match (self, rest) {
                (Pieces::Messages, [high, low, ..]) => {
                    2 + usize::from(u16::from_be_bytes([*high, *low]))
                }
                _ => 1,
            };
            let (piece, after) = rest.split_at(length.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }
}

/// What a side wrote, and how it ended.
type Outcome = (Vec<u8>, String);

fn initiate(names: u8, choice: u8, challenge: Challenge, pieces: &[&[u8]]) -> Outcome {
    let now = Instant::now();
    let local = match names & 8 {
        0 => LocalName::Named(node("gold@127.0.0.1"), Creation(0x1122_3344)),
        _ => LocalName::AskFor { host: "127.0.0.1".into() },
    };
    let config = InitiatorConfig {
        local,
        peer: real_node(names),
        flags: Flags::ours(choice & 2 == 0),
        cookie: cookie(),
        challenge,
        timeouts: Timeouts::default(),
        prefix: LengthPrefix::Two,
    };
    let mut initiator = Initiator::new(config, now).expect("a good configuration");
    for piece in pieces {
        let mut step = initiator.receive(now, piece, is_outstanding);
        if let Ok(InitiatorStep::Alive) = step {
            step = initiator.answer_alive(now, choice & 1 == 0);
        }
        match step {
            Ok(InitiatorStep::Continue | InitiatorStep::Alive | InitiatorStep::Nok) => {}
            Ok(InitiatorStep::Established(result)) => {
                assert!(result.flags.missing_mandatory().is_empty());
                return ended(initiator.take_output(), &result);
            }
            end => return ended(initiator.take_output(), &end),
        }
    }
    ended(initiator.take_output(), &initiator.stage())
}

fn accept(names: u8, choice: u8, challenge: Challenge, pieces: &[&[u8]]) -> Outcome {
    let now = Instant::now();
    let config = AcceptorConfig {
        local: node("gold@127.0.0.1"),
        creation: Creation(0x5566_7788),
        flags: Flags::ours(names & 8 == 0),
        challenge,
        timeouts: Timeouts::default(),
        prefix: LengthPrefix::Two,
        holds_ack: names & 16 != 0,
    };
    let mut acceptor = Acceptor::new(config, now);
    for piece in pieces {
        let mut step = acceptor.receive(now, piece, is_outstanding);
        if let Ok(AcceptorStep::Decide(applicant)) = &step {
            step = acceptor.decide(now, decision(choice, &applicant.claim));
        }
        if let Ok(AcceptorStep::ReplaceOldLink | AcceptorStep::Proven) = step {
            step = acceptor.acknowledge(now);
        }
        match step {
            Ok(AcceptorStep::Continue) => {}
            Ok(AcceptorStep::Established(result)) => {
                assert!(result.flags.missing_mandatory().is_empty());
                return ended(acceptor.take_output(), &result);
            }
            end => return ended(acceptor.take_output(), &end),
        }
    }
    ended(acceptor.take_output(), &acceptor.stage())
}

fn ended(output: Vec<u8>, how: &impl Debug) -> Outcome {
    (output, format!("{how:?}"))
}

/// Mostly what the claim asks for; sometimes what it does not.
fn decision(choice: u8, claim: &Claim) -> Decision {
    let accept = match (choice % 8, claim) {
        (0, _) => return Decision::Nok,
        (1, _) => return Decision::NotAllowed,
        (2, _) => return Decision::Close,
        (3, _) => Accept::OkSimultaneous,
        (4, _) => Accept::Alive,
        (5, Claim::Node(_)) => Accept::Named { name: node("x@127.0.0.1"), creation: Creation(9) },
        (_, Claim::Node(_)) => Accept::Ok,
        (_, Claim::NameMe { host }) => match NodeName::new("given", host) {
            Ok(name) => Accept::Named { name, creation: Creation(9) },
            // The host alone is as long as a whole name may be.
            Err(_) => return Decision::NotAllowed,
        },
    };
    Decision::Accept(accept, cookie())
}

/// Whatever decodes is the same after it was encoded and decoded again.
fn decode(body: &[u8]) {
    let prefix = LengthPrefix::Two;
    let again = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        bytes.split_off(2)
    };
    if let Ok(message) = SendName::decode(body) {
        let bytes = again(&|bytes| message.encode(prefix, bytes));
        assert_eq!(SendName::decode(&bytes), Ok(message));
    }
    if let Ok(message) = ChallengeMessage::decode(body) {
        let bytes = again(&|bytes| message.encode(prefix, bytes));
        assert_eq!(ChallengeMessage::decode(&bytes), Ok(message));
    }
    match Status::decode(body) {
        Ok(status) => {
            let bytes = again(&|bytes| status.encode(prefix, bytes));
            assert_eq!(Status::decode(&bytes), Ok(status));
        }
        Err(MessageError::UnknownStatus { came }) => assert!(came.is_ascii()),
        Err(_) => {}
    }
    if let Ok(message) = Complement::decode(body) {
        assert_eq!(again(&|bytes| message.encode(prefix, bytes)), body);
    }
    if let Ok(message) = ChallengeReply::decode(body) {
        assert_eq!(again(&|bytes| message.encode(prefix, bytes)), body);
    }
    if let Ok(message) = ChallengeAck::decode(body) {
        assert_eq!(again(&|bytes| message.encode(prefix, bytes)), body);
    }
}

/// A challenge that another handshake of ours waits for.
fn is_outstanding(challenge: Challenge) -> bool {
    challenge == Challenge(0xffff_ffff)
}

fn node(text: &str) -> NodeName {
    NodeName::parse(text).expect("a good name")
}

/// The nodes of the recordings.
fn real_node(names: u8) -> NodeName {
    node(["o25@127.0.0.1", "o27@127.0.0.1", "o29@127.0.0.1"][usize::from(names >> 1 & 3) % 3])
}

fn cookie() -> Cookie {
    Cookie::new("goldcookie").expect("a good cookie")
}
