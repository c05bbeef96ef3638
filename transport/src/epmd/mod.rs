//! The Erlang Port Mapper Daemon's protocol, client and server, without I/O.
//!
//! epmd tells on which port of a host a node listens. A node registers its name and keeps the
//! connection open for as long as it lives; everything else is one request and one answer.
//!
//! OTP: erl_dist_protocol, "EPMD Protocol"; `epmd_srv.c`, `epmd_cli.c`, `erl_epmd.erl`. Where its
//! documentation and its code disagree, the code is followed.

pub mod client;
pub mod message;
mod registry;
pub mod server;

/// The port epmd listens on unless `ERL_EPMD_PORT` says otherwise.
pub const DEFAULT_PORT: u16 = 4369;

/// What real clients and daemons said to each other.
#[cfg(test)]
pub(crate) mod golden {
    use serde_json::Value;

    /// The bytes of every recorded message of this name, with the release it is from.
    pub(crate) fn all(name: &str) -> Vec<(String, Vec<u8>)> {
        let json = include_str!("../../../tests/golden/epmd.json");
        let entries: Vec<Value> = serde_json::from_str(json).expect("the vectors are JSON");
        let found: Vec<_> = entries
            .iter()
            .filter(|entry| entry["name"] == name)
            .map(|entry| {
                let text = |key: &str| entry[key].as_str().expect("a text").to_owned();
                (text("otp"), unhex(&text("hex")))
            })
            .collect();
        assert!(!found.is_empty(), "no message is called {name}");
        found
    }

    fn unhex(hex: &str) -> Vec<u8> {
        let digit = |index| u8::from_str_radix(&hex[index..index + 2], 16).expect("hex digits");
        (0..hex.len()).step_by(2).map(digit).collect()
    }
}
