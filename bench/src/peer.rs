//! Who can be measured, and what runs on each side.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

/// One system under measurement, with the release of OTP where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    pub(crate) system: System,
    /// `None` is the release that `--erl` starts.
    pub(crate) release: Option<u16>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum System {
    /// Plain TCP sockets, both sides polling: the floor for a node that spins.
    RawSpin,
    /// Plain TCP sockets, both sides blocking in the kernel: the floor for a node that parks.
    RawBlock,
    /// Plain Unix sockets, both sides polling.
    UnixSpin,
    /// Plain Unix sockets, both sides blocking.
    UnixBlock,
    /// Krarup on both sides, as a program uses it: on one host its lanes are Unix sockets.
    Krarup,
    /// Krarup on both sides, with raw bytes instead of terms.
    KrarupRaw,
    /// Krarup on both sides, with lanes over TCP.
    KrarupTcp,
    /// The same with raw bytes.
    KrarupRawTcp,
    /// Krarup on both sides, without lanes: Erlang's own distribution protocol.
    KrarupPlain,
    /// BEAM nodes on both sides.
    Otp,
    /// A Krarup node that sends (and measures round trips) to a BEAM node.
    KrarupOtp,
    /// A BEAM node that sends (and measures round trips) to a Krarup node.
    OtpKrarup,
    /// The crate `erl_dist` with `eetf` on both sides.
    ErlDist,
    /// The same to a BEAM node.
    ErlDistOtp,
    /// The crate `edp_client` with `erltf`, to a BEAM node.
    EdpOtp,
    /// ZeroMQ, the system's libzmq.
    Zmq,
    /// A server that accepts, reads once, answers and closes: the floor for an epmd.
    Bare,
    /// Krarup's terms, looked at container by container.
    KrarupWalk,
    /// Krarup's terms decoded into owned ones.
    KrarupOwned,
    /// The crate `eetf`.
    Eetf,
    /// The crate `erltf`, owned terms.
    Erltf,
    /// The crate `erltf`, borrowed terms.
    ErltfBorrowed,
}

/// The program on one side of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A TCP socket that polls.
    SocketSpin,
    /// A TCP socket that blocks.
    SocketBlock,
    /// A Unix socket that polls.
    UnixSpin,
    /// A Unix socket that blocks.
    UnixBlock,
    /// A Krarup node, or a part of it.
    Krarup,
    /// An Erlang virtual machine.
    Beam,
    /// The crate `erl_dist`.
    ErlDist,
    /// The crate `edp_client`.
    Edp,
    /// ZeroMQ.
    Zmq,
    /// A part of another crate, or a server of ours that is no node.
    Part,
}

/// What the messages of a measurement are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Payload {
    /// A term with a binary in it.
    Term,
    /// Bytes as they are.
    Raw,
}

/// What carries the messages between two Krarup nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lanes {
    /// What nodes choose by themselves.
    Default,
    /// Lanes over TCP, also on one host.
    Tcp,
    /// No lanes: a link as to an Erlang node.
    None,
}

impl System {
    /// Every system, in the order of the reports.
    pub(crate) const ALL: [System; 22] = [
        System::RawSpin,
        System::RawBlock,
        System::UnixSpin,
        System::UnixBlock,
        System::Bare,
        System::Krarup,
        System::KrarupRaw,
        System::KrarupTcp,
        System::KrarupRawTcp,
        System::KrarupPlain,
        System::KrarupWalk,
        System::KrarupOwned,
        System::Otp,
        System::KrarupOtp,
        System::OtpKrarup,
        System::ErlDist,
        System::ErlDistOtp,
        System::EdpOtp,
        System::Zmq,
        System::Eetf,
        System::Erltf,
        System::ErltfBorrowed,
    ];

    /// The name on the command line and in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            System::RawSpin => "raw-spin",
            System::RawBlock => "raw-block",
            System::UnixSpin => "unix-spin",
            System::UnixBlock => "unix-block",
            System::Krarup => "krarup",
            System::KrarupRaw => "krarup-raw",
            System::KrarupTcp => "krarup-tcp",
            System::KrarupRawTcp => "krarup-raw-tcp",
            System::KrarupPlain => "krarup-plain",
            System::Otp => "otp",
            System::KrarupOtp => "krarup-otp",
            System::OtpKrarup => "otp-krarup",
            System::ErlDist => "erl-dist",
            System::ErlDistOtp => "erl-dist-otp",
            System::EdpOtp => "edp-otp",
            System::Zmq => "zmq",
            System::Bare => "bare",
            System::KrarupWalk => "krarup-walk",
            System::KrarupOwned => "krarup-owned",
            System::Eetf => "eetf",
            System::Erltf => "erltf",
            System::ErltfBorrowed => "erltf-borrowed",
        }
    }

    /// The side that sends first.
    pub(crate) fn client(self) -> Kind {
        match self {
            System::RawSpin => Kind::SocketSpin,
            System::RawBlock => Kind::SocketBlock,
            System::UnixSpin => Kind::UnixSpin,
            System::UnixBlock => Kind::UnixBlock,
            System::Krarup
            | System::KrarupRaw
            | System::KrarupTcp
            | System::KrarupRawTcp
            | System::KrarupPlain
            | System::KrarupOtp
            | System::KrarupWalk
            | System::KrarupOwned => Kind::Krarup,
            System::Otp | System::OtpKrarup => Kind::Beam,
            System::ErlDist | System::ErlDistOtp => Kind::ErlDist,
            System::EdpOtp => Kind::Edp,
            System::Zmq => Kind::Zmq,
            System::Bare | System::Eetf | System::Erltf | System::ErltfBorrowed => Kind::Part,
        }
    }

    /// The side that answers, or receives the stream.
    pub(crate) fn server(self) -> Kind {
        match self {
            System::KrarupOtp | System::ErlDistOtp | System::EdpOtp => Kind::Beam,
            System::OtpKrarup => Kind::Krarup,
            same => same.client(),
        }
    }

    /// What its messages are, where it is a Krarup node that sends them.
    pub(crate) fn payload(self) -> Payload {
        match self {
            System::KrarupRaw | System::KrarupRawTcp => Payload::Raw,
            _ => Payload::Term,
        }
    }

    /// What carries them, where both sides are Krarup nodes.
    pub(crate) fn lanes(self) -> Lanes {
        match self {
            System::KrarupTcp | System::KrarupRawTcp => Lanes::Tcp,
            System::KrarupPlain => Lanes::None,
            _ => Lanes::Default,
        }
    }

    /// The first release of OTP it can talk to.
    pub(crate) fn release_min(self) -> u16 {
        match self {
            System::EdpOtp => 26,
            _ => 25,
        }
    }

    /// Why this build cannot measure it, if so.
    pub(crate) fn missing_feature(self) -> Option<&'static str> {
        match self {
            System::ErlDist
            | System::ErlDistOtp
            | System::EdpOtp
            | System::Eetf
            | System::Erltf
            | System::ErltfBorrowed
                if !cfg!(feature = "peers") =>
            {
                Some("peers")
            }
            System::Zmq if !cfg!(feature = "zmq") => Some("zmq"),
            _ => None,
        }
    }
}

impl Peer {
    /// The system with the release of OTP that `--erl` starts.
    pub(crate) const fn of(system: System) -> Peer {
        Peer { system, release: None }
    }

    /// The name on the command line and in results, such as `krarup-otp-27`.
    pub(crate) fn name(self) -> String {
        match self.release {
            Some(release) => format!("{}-{release}", self.system.name()),
            None => self.system.name().to_owned(),
        }
    }

    /// Whether a BEAM takes part.
    pub(crate) fn needs_erl(self) -> bool {
        self.system.client() == Kind::Beam || self.system.server() == Kind::Beam
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name())
    }
}

impl Serialize for Peer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let system = |name: &str| System::ALL.into_iter().find(|system| system.name() == name);
        if let Some(system) = system(text) {
            return Ok(Peer::of(system));
        }
        if let Some((name, release)) = text.rsplit_once('-')
            && let (Some(system), Ok(release)) = (system(name), release.parse())
            && Peer::of(system).needs_erl()
        {
            return Ok(Peer { system, release: Some(release) });
        }
        let known: Vec<_> = System::ALL.iter().map(|system| system.name()).collect();
        Err(format!(
            "no peer is called {text:?}; there are {}, those with otp in their name also with a \
             release behind it (otp-27)",
            known.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_read_as_they_are_printed() {
        for system in System::ALL {
            assert_eq!(system.name().parse(), Ok(Peer::of(system)));
        }
        let old = Peer { system: System::KrarupOtp, release: Some(25) };
        assert_eq!(old.to_string(), "krarup-otp-25");
        assert_eq!("krarup-otp-25".parse(), Ok(old));
        for wrong in ["", "nobody", "krarup-25", "otp-new", "raw-spin-25"] {
            assert!(wrong.parse::<Peer>().is_err(), "{wrong:?} was accepted");
        }
    }
}
