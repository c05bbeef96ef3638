//! What two Krarup nodes agree on beyond OTP.
//!
//! Between two nodes that both set the handshake's fabric flag, signals travel on lanes: numbered
//! byte streams, one for each shard, that outlive the sockets that carry them.

/// A process by the two numbers of its pid. The node and its creation are those of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessNumber {
    /// The first number of the pid.
    pub id: u32,
    /// The second.
    pub serial: u32,
}
