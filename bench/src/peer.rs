//! Who can be measured, and what runs on each side.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One pair of programs under measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// Plain TCP sockets, both sides polling: the floor for a node that spins.
    RawSpin,
    /// Plain TCP sockets, both sides blocking in the kernel: the floor for a node that parks.
    RawBlock,
    /// Two Krarup nodes.
    Krarup,
    /// Two BEAM nodes.
    Otp,
    /// A Krarup node that sends (and measures round trips) to a BEAM node.
    KrarupOtp,
    /// A BEAM node that sends (and measures round trips) to a Krarup node.
    OtpKrarup,
}

/// The program on one side of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A socket that polls.
    SocketSpin,
    /// A socket that blocks.
    SocketBlock,
    /// A Krarup node.
    Krarup,
    /// An Erlang virtual machine.
    Beam,
}

impl Peer {
    /// Every peer, in the order of the report.
    pub(crate) const ALL: [Peer; 6] =
        [Peer::RawSpin, Peer::RawBlock, Peer::Krarup, Peer::Otp, Peer::KrarupOtp, Peer::OtpKrarup];

    /// The name on the command line and in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::RawSpin => "raw-spin",
            Peer::RawBlock => "raw-block",
            Peer::Krarup => "krarup",
            Peer::Otp => "otp",
            Peer::KrarupOtp => "krarup-otp",
            Peer::OtpKrarup => "otp-krarup",
        }
    }

    /// The side that sends first.
    pub(crate) fn client(self) -> Kind {
        match self {
            Peer::RawSpin => Kind::SocketSpin,
            Peer::RawBlock => Kind::SocketBlock,
            Peer::Krarup | Peer::KrarupOtp => Kind::Krarup,
            Peer::Otp | Peer::OtpKrarup => Kind::Beam,
        }
    }

    /// The side that answers, or receives the stream.
    pub(crate) fn server(self) -> Kind {
        match self {
            Peer::RawSpin => Kind::SocketSpin,
            Peer::RawBlock => Kind::SocketBlock,
            Peer::Krarup | Peer::OtpKrarup => Kind::Krarup,
            Peer::Otp | Peer::KrarupOtp => Kind::Beam,
        }
    }

    /// Whether a BEAM node takes part.
    pub(crate) fn needs_erl(self) -> bool {
        self.client() == Kind::Beam || self.server() == Kind::Beam
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Peer::ALL.into_iter().find(|peer| peer.name() == text).ok_or_else(|| {
            let known: Vec<_> = Peer::ALL.iter().map(|peer| peer.name()).collect();
            format!("no peer is called {text:?}; there are {}", known.join(", "))
        })
    }
}
