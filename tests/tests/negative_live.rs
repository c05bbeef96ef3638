//! The malformed and unusual bytes of `golden/negative.json`, sent to a running node, which must
//! react as OTP 29 did, or more strictly where that costs no real peer anything.

use std::time::Duration;

use krarup_tests::{Lab, PeerIdentity, RawPeer, flags, terms};

const SOON: Duration = Duration::from_secs(10);

/// What OTP keeps a connection for and we need not: no node sends it.
const STRICTER: [&str; 2] =
    ["frame.type byte 113 instead of 112", "frame.REG_SEND without payload to unregistered"];

struct Vector {
    name: String,
    bytes: Vec<u8>,
    explanation: String,
    observed: String,
}

fn vectors() -> Vec<Vector> {
    let text = include_str!("../golden/negative.json");
    let entries: Vec<serde_json::Value> = serde_json::from_str(text).expect("the file is JSON");
    let field = |entry: &serde_json::Value, name: &str| {
        entry[name].as_str().unwrap_or_else(|| panic!("{entry} has no {name}")).to_owned()
    };
    let bytes = |hex: &str| {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits");
        (0..hex.len()).step_by(2).map(byte).collect()
    };
    let of_29 = entries.iter().filter(|entry| entry["otp"] == "29");
    of_29
        .map(|entry| Vector {
            name: field(entry, "name"),
            bytes: bytes(&field(entry, "hex")),
            explanation: field(entry, "explanation"),
            observed: field(entry, "observed"),
        })
        .collect()
}

#[test]
fn every_malformed_frame_gets_the_reaction_of_otp() {
    let lab = Lab::new();
    // The vectors name these two nodes.
    let krarup = lab.krarup("o29").start();
    let plain = PeerIdentity::plain("goldm@127.0.0.1");
    let with_header = PeerIdentity { flags: flags::OTP_29_HIDDEN, ..plain.clone() };
    let vectors = vectors();
    assert!(vectors.len() >= 35, "{} vectors", vectors.len());
    for vector in vectors {
        let is_term = vector.name.starts_with("term.");
        let passes = is_term || vector.explanation.contains("negotiated as pass-through");
        let identity = if passes { &plain } else { &with_header };
        let mut peer = RawPeer::connect(krarup.port(), identity).expect("the node is well");
        if is_term {
            let control = terms::send_to_name(&identity.pid(), "echo");
            let message = terms::tuple(&[&identity.pid(), &vector.bytes]);
            peer.send_frame(&terms::pass_through(&control, &message)).expect("it listens");
        } else {
            peer.send_bytes(&vector.bytes).expect("it listens");
        }
        let name = &vector.name;
        if vector.observed.contains("closed") {
            assert!(peer.closed_within(SOON).is_some(), "{name}: the connection is kept");
        } else if is_term {
            // {22, From, To} and {echo, Term}.
            let answer = peer.read_frame().unwrap_or_else(|error| panic!("{name}: {error}"));
            let echoed = terms::atom("echo");
            let found = answer.windows(echoed.len()).any(|window| window == echoed);
            assert!(found, "{name}: answered with {answer:?}");
        } else if !STRICTER.contains(&name.as_str()) {
            // The answer of echo on a plain connection, or no sign of the end on another.
            let kept = if passes {
                peer.ask_echo(identity).is_ok()
            } else {
                peer.closed_within(Duration::from_millis(300)).is_none()
            };
            assert!(kept, "{name}: the connection is closed");
        }
    }
    let mut peer = RawPeer::connect(krarup.port(), &plain).expect("the node is well");
    peer.ask_echo(&plain).expect("echo answers");
    drop(peer);
    krarup.stop();
}
