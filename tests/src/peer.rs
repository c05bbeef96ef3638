//! A peer that speaks the distribution protocol by hand, so that it can speak it badly.
//!
//! It shares no code with the node under test: a mistake made there is not made here as well.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use md5::{Digest, Md5};

/// How long a peer waits for an answer before the test has failed.
const ANSWER: Duration = Duration::from_secs(20);

/// Sets of capability flags as real nodes send them (OTP: "Distribution Protocol", flags).
pub mod flags {
    /// What a hidden OTP 29 node sends.
    pub const OTP_29_HIDDEN: u64 = 0x6d_07df_7fbc;
    /// The same without the atom cache: frames of this peer need no header state.
    pub const WITHOUT_CACHE: u64 = OTP_29_HIDDEN & !0x2000;
    /// Neither atom cache nor fragments: pass-through frames.
    pub const PASS_THROUGH: u64 = WITHOUT_CACHE & !0x80_0000;
    /// What every release demands; OTP 26 and later refuse less.
    pub const MANDATORY: u64 = 0x4_0307_0f94;
}

/// Who a raw peer says it is.
#[derive(Clone, Debug)]
pub struct PeerIdentity {
    /// The full node name, or anything else that is to be sent in its place.
    pub name: Vec<u8>,
    /// The cookie it answers challenges with.
    pub cookie: String,
    /// Its capability flags.
    pub flags: u64,
    /// Its creation.
    pub creation: u32,
}

impl PeerIdentity {
    /// A hidden node with everything but the atom cache, and the lab's cookie.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            cookie: "c".to_owned(),
            flags: flags::WITHOUT_CACHE,
            creation: 77,
        }
    }
}

/// A TCP connection to a node's distribution port, from its very first byte.
pub struct RawPeer {
    stream: TcpStream,
}

impl RawPeer {
    /// Connects to a port on loopback and says nothing yet.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn dial(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Connects and goes through the whole handshake as the initiator.
    ///
    /// # Errors
    ///
    /// Those of the connection; `PermissionDenied` with the status when it is not `ok`.
    pub fn connect(port: u16, identity: &PeerIdentity) -> io::Result<Self> {
        let mut peer = Self::dial(port)?;
        peer.send_name(identity)?;
        let status = peer.read_status()?;
        if !status.starts_with("ok") {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, status));
        }
        let challenge = peer.read_challenge()?;
        peer.answer_challenge(identity, challenge)?;
        Ok(peer)
    }

    /// Sends the first message of the handshake.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn send_name(&mut self, identity: &PeerIdentity) -> io::Result<()> {
        let mut body = vec![b'N'];
        body.extend(identity.flags.to_be_bytes());
        body.extend(identity.creation.to_be_bytes());
        body.extend(u16::try_from(identity.name.len()).unwrap_or(u16::MAX).to_be_bytes());
        body.extend(&identity.name);
        self.send_handshake(&body)
    }

    /// Reads the status that answers the name.
    ///
    /// # Errors
    ///
    /// Those of the connection; `InvalidData` for another message.
    pub fn read_status(&mut self) -> io::Result<String> {
        match self.read_handshake()?.split_first() {
            Some((b's', status)) => Ok(String::from_utf8_lossy(status).into_owned()),
            other => Err(unexpected("a status", other)),
        }
    }

    /// Reads the challenge and returns its number.
    ///
    /// # Errors
    ///
    /// Those of the connection; `InvalidData` for another message.
    pub fn read_challenge(&mut self) -> io::Result<u32> {
        let body = self.read_handshake()?;
        match (body.first(), body.get(9..13).and_then(|word| word.try_into().ok())) {
            (Some(b'N'), Some(word)) => Ok(u32::from_be_bytes(word)),
            _ => Err(unexpected("a challenge", body.split_first())),
        }
    }

    /// Answers the challenge and checks what the node answers to ours.
    ///
    /// # Errors
    ///
    /// Those of the connection; `InvalidData` for an acknowledgement of another cookie.
    pub fn answer_challenge(&mut self, identity: &PeerIdentity, challenge: u32) -> io::Result<()> {
        const OURS: u32 = 0x0102_0304;
        let mut body = vec![b'r'];
        body.extend(OURS.to_be_bytes());
        body.extend(digest(&identity.cookie, challenge));
        self.send_handshake(&body)?;
        match self.read_handshake()?.split_first() {
            Some((b'a', answer)) if answer == digest(&identity.cookie, OURS) => Ok(()),
            other => Err(unexpected("an acknowledgement that knows the cookie", other)),
        }
    }

    /// Sends one handshake message, with its length.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn send_handshake(&mut self, body: &[u8]) -> io::Result<()> {
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
        self.send_bytes(&[&length.to_be_bytes()[..], body].concat())
    }

    /// Sends one frame after the handshake, with its length.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn send_frame(&mut self, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        self.send_bytes(&[&length.to_be_bytes()[..], body].concat())
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads the next frame that is not a tick.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn read_frame(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let mut body = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut body)?;
            if !body.is_empty() {
                return Ok(body);
            }
        }
    }

    /// Reads and drops what comes until the node closes; how long that took, or nothing when it is
    /// still open after the time.
    pub fn closed_within(&mut self, within: Duration) -> Option<Duration> {
        let start = Instant::now();
        let mut scrap = [0; 4096];
        loop {
            let left = within.checked_sub(start.elapsed()).filter(|left| !left.is_zero())?;
            // It fails only for a duration of zero.
            self.stream.set_read_timeout(Some(left)).ok()?;
            match self.stream.read(&mut scrap) {
                Ok(0) => return Some(start.elapsed()),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return None,
                    io::ErrorKind::Interrupted => {}
                    _ => return Some(start.elapsed()),
                },
            }
        }
    }

    fn read_handshake(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 2];
        self.stream.read_exact(&mut length)?;
        let mut body = vec![0; usize::from(u16::from_be_bytes(length))];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }
}

/// OTP: "Distribution Handshake": MD5 of the cookie and the challenge in decimal.
fn digest(cookie: &str, challenge: u32) -> [u8; 16] {
    Md5::digest(format!("{cookie}{challenge}")).into()
}

fn unexpected(wanted: &str, came: Option<(&u8, &[u8])>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{wanted} was due, {came:?} came"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_one_that_real_nodes_accepted() {
        let expected = 0x6e17_9960_a2d1_a56c_7e41_e128_1afe_5489_u128.to_be_bytes();
        assert_eq!(digest("goldcookie", 0x0102_0304), expected);
    }
}
