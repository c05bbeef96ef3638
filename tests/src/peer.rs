//! A peer that speaks the distribution protocol by hand, so that it can speak it badly.
//!
//! It shares no code with the node under test: a mistake made there is not made here as well.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use socket2::SockRef;

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

/// The few terms that the peers need, as their bytes in the external format, without the version.
pub mod terms {
    /// An atom of at most 255 bytes.
    pub fn atom(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).expect("a short atom");
        [&[119, length], text.as_bytes()].concat()
    }

    /// A small integer.
    pub fn integer(value: u8) -> Vec<u8> {
        vec![97, value]
    }

    /// A binary.
    pub fn binary(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).expect("a binary of less than 4 GiB");
        [&[109][..], &length.to_be_bytes(), bytes].concat()
    }

    /// A tuple of terms.
    pub fn tuple(elements: &[&[u8]]) -> Vec<u8> {
        let arity = u8::try_from(elements.len()).expect("a small tuple");
        [&[104, arity][..], &elements.concat()].concat()
    }

    /// A pid.
    pub fn pid(node: &str, id: u32, serial: u32, creation: u32) -> Vec<u8> {
        let numbers = [id, serial, creation].map(u32::to_be_bytes).concat();
        [&[88][..], &atom(node), &numbers].concat()
    }

    /// A reference of three words.
    pub fn reference(node: &str, creation: u32, words: [u32; 3]) -> Vec<u8> {
        let words = words.map(u32::to_be_bytes).concat();
        [&[90, 0, 3][..], &atom(node), &creation.to_be_bytes(), &words].concat()
    }

    /// The control message that sends to a registered name.
    pub fn send_to_name(from: &[u8], name: &str) -> Vec<u8> {
        tuple(&[&integer(6), from, &atom(""), &atom(name)])
    }

    /// A frame of a connection with neither atom cache nor fragments.
    pub fn pass_through(control: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut frame = [&[112, 131], control].concat();
        if !payload.is_empty() {
            frame.push(131);
            frame.extend(payload);
        }
        frame
    }

    /// A frame of a connection with fragments but no atom cache.
    pub fn normal(control: &[u8], payload: &[u8]) -> Vec<u8> {
        [&[131, 68, 0], control, payload].concat()
    }
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
    /// The pid with which this peer speaks, as a term.
    pub fn pid(&self) -> Vec<u8> {
        terms::pid(&String::from_utf8_lossy(&self.name), 100, 0, self.creation)
    }

    /// As [`PeerIdentity::new`], with neither fragments nor atom cache: the plainest frames.
    pub fn plain(name: &str) -> Self {
        Self { flags: flags::PASS_THROUGH, ..Self::new(name) }
    }

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
        if status == "alive" {
            // The node has not seen the end of this peer's last connection yet.
            peer.send_handshake(b"strue")?;
        } else if !status.starts_with("ok") {
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
            let body = self.read_frame_or_tick()?;
            if !body.is_empty() {
                return Ok(body);
            }
        }
    }

    /// Reads the next frame; a tick is an empty one.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn read_frame_or_tick(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }

    /// Reads so many bytes.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn read_bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Sends `{Pid, ping}` to the `echo` service and returns the pid, as a term, of the process
    /// that answers. The connection must be a [`PeerIdentity::plain`] one.
    ///
    /// # Errors
    ///
    /// Those of the connection; `InvalidData` for another answer.
    pub fn ask_echo(&mut self, identity: &PeerIdentity) -> io::Result<Vec<u8>> {
        let pid = identity.pid();
        let message = terms::tuple(&[&pid, &terms::atom("ping")]);
        let control = terms::send_to_name(&pid, "echo");
        self.send_frame(&terms::pass_through(&control, &message))?;
        let answer = self.read_frame()?;
        // {22, From, To}, and then {echo, ping}.
        let payload = terms::tuple(&[&terms::atom("echo"), &terms::atom("ping")]);
        let rest = [&pid[..], &[131], &payload].concat();
        answer
            .strip_prefix(&[112, 131, 104, 3, 97, 22])
            .and_then(|tail| tail.strip_suffix(rest.as_slice()))
            .map(<[u8]>::to_vec)
            .ok_or_else(|| unexpected("an answer of echo", answer.split_first()))
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

    /// The port of this end.
    ///
    /// # Panics
    ///
    /// When the connection is gone.
    pub fn local_port(&self) -> u16 {
        self.stream.local_addr().expect("it is connected").port()
    }

    /// Ends the connection as a reset does.
    ///
    /// # Panics
    ///
    /// When the socket takes no option.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("an option of TCP");
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
