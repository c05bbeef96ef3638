//! The machines against each other, against peers that break the rules, and their bytes.

use std::time::{Duration, Instant};

use super::*;
use crate::handshake::{Cookie, Flags, NodeName};
use crate::term::Creation;

mod hello;
mod join;
mod session;
mod settle;

const SECOND: Duration = Duration::from_secs(1);

/// A node with four shards that listens on TCP.
fn tcp_hello(half: u8) -> Hello {
    Hello {
        versions: VERSIONS,
        shards: 4,
        lanes_max: 8,
        asks_checksum: false,
        frame_bytes_max: FRAME_PAYLOAD_BYTES_MAX,
        port: 4000 + u16::from(half),
        host: HostId::UNKNOWN,
        session_half: [half; 16],
        unix_name: Vec::new(),
    }
}

/// The same on one known host, with a Unix socket.
fn unix_hello(half: u8) -> Hello {
    let host = HostId::new("0f7d0c5c-6f0e-4f2b-8f7c-4c9b6e1f2a3d\n", 4_026_531_840);
    Hello { host, unix_name: format!("krarup/{half}").into_bytes(), ..tcp_hello(half) }
}

fn credentials() -> Credentials {
    let node = |name| NodeName::parse(name).expect("a good name");
    Credentials {
        cookie: Cookie::new("goldcookie").expect("a good cookie"),
        initiator: (node("a@127.0.0.1"), Creation(0x1122_3344)),
        acceptor: (node("b@127.0.0.1"), Creation(0x5566_7788)),
        flags: Flags::ours(true).with(Flags::FABRIC),
    }
}

fn framed_wide(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short body");
    [&length.to_be_bytes()[..], body].concat()
}

fn framed_narrow(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a short body");
    [&length.to_be_bytes()[..], body].concat()
}
