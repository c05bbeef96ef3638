//! The channel between a node and who started it as a `peer` without a connection of nodes: terms
//! over a TCP connection, or over standard input and output.
//!
//! OTP: `peer.erl`. Over TCP each term has its length before it. Over standard output a term stands
//! between what is printed: its length, the term and a CRC-32, of which each half of a byte is a
//! byte of the form `11xxxx11`. Everything else is text.

use krarup::term::{Limits, Term};

/// Longest term that is taken.
const TERM_BYTES_MAX: usize = 64 << 20;

/// How terms are told from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Over TCP.
    Packets,
    /// Between text.
    Nibbles,
}

/// What came and is no term yet.
#[derive(Debug)]
pub(super) struct Inbox {
    framing: Framing,
    bytes: Vec<u8>,
    /// The upper half of a byte whose lower half has not come.
    upper: Option<u8>,
}

/// What came is no term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken(String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Inbox {
    pub(super) fn new(framing: Framing) -> Self {
        Inbox { framing, bytes: Vec::new(), upper: None }
    }

    /// More has come.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.framing == Framing::Packets {
            self.bytes.extend_from_slice(bytes);
            return;
        }
        for byte in bytes {
            // What is no half of a byte is text, which nobody here reads.
            if byte & 0b1100_0011 != 0b1100_0011 {
                continue;
            }
            let half = byte >> 2 & 0b1111;
            match self.upper.take() {
                None => self.upper = Some(half),
                Some(upper) => self.bytes.push(upper << 4 | half),
            }
        }
    }

    /// The next term that is whole.
    pub(super) fn next(&mut self) -> Result<Option<Term>, Broken> {
        let trailer = match self.framing {
            Framing::Packets => 0,
            Framing::Nibbles => 4,
        };
        let Some(head) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length > TERM_BYTES_MAX {
            return Err(Broken(format!(
                "expected a term of at most {TERM_BYTES_MAX} bytes, {length} are announced"
            )));
        }
        if self.bytes.len() < 4 + length + trailer {
            return Ok(None);
        }
        let rest = self.bytes.split_off(4 + length + trailer);
        let frame = std::mem::replace(&mut self.bytes, rest);
        let (payload, checksum) = frame[4..].split_at(length);
        if let Ok(checksum) = <[u8; 4]>::try_from(checksum)
            && crc32fast::hash(payload) != u32::from_be_bytes(checksum)
        {
            return Err(Broken("the checksum of a term is wrong".to_owned()));
        }
        let term = Term::decode_versioned(payload, &Limits::DEFAULT);
        term.map(Some).map_err(|error| Broken(format!("expected a term: {error}")))
    }
}

/// A term as it is sent.
pub(super) fn framed(framing: Framing, term: &Term) -> Vec<u8> {
    let mut payload = Vec::new();
    term.encode_versioned(&mut payload);
    let mut frame = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes().to_vec();
    frame.extend_from_slice(&payload);
    match framing {
        Framing::Packets => frame,
        Framing::Nibbles => {
            frame.extend_from_slice(&crc32fast::hash(&payload).to_be_bytes());
            let half = |half: u8| 0b1100_0011 | half << 2;
            frame.iter().flat_map(|byte| [half(byte >> 4), half(byte & 0b1111)]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(text: &str) -> Term {
        text.parse().expect("a term")
    }

    #[test]
    fn halves_of_bytes_are_those_of_otp() {
        // peer.erl: 16#0F is 195, 255.
        let started = framed(Framing::Nibbles, &term("15"));
        // Length 3, version 131, SMALL_INTEGER 97, 15.
        let expected =
            [0, 0, 0, 0, 0, 0, 0, 3, 8, 3, 6, 1, 0, 15].map(|half| 0b1100_0011 | half << 2);
        assert_eq!(started[..14], expected);
        assert_eq!(started[12..14], [195, 255]);
        assert_eq!(started.len(), 2 * (4 + 3 + 4));
    }

    #[test]
    fn terms_come_in_any_pieces_and_text_between_them() {
        let terms = [term("{call,1,erlang,node,[]}"), term("{message,a,<<\"ÿ\">>}")];
        for framing in [Framing::Packets, Framing::Nibbles] {
            let mut all = Vec::new();
            for term in &terms {
                all.extend(framed(framing, term));
                if framing == Framing::Nibbles {
                    all.extend_from_slice(b"hello\n");
                }
            }
            for size in [1, 2, 7, all.len()] {
                let mut inbox = Inbox::new(framing);
                let mut got = Vec::new();
                for piece in all.chunks(size) {
                    inbox.push(piece);
                    while let Some(term) = inbox.next().expect("a term") {
                        got.push(term);
                    }
                }
                assert_eq!(got, terms, "{framing:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn what_is_no_term_is_refused() {
        let mut inbox = Inbox::new(Framing::Packets);
        inbox.push(&[0xff, 0xff, 0xff, 0xff]);
        assert!(inbox.next().is_err());
        let mut inbox = Inbox::new(Framing::Packets);
        inbox.push(&[0, 0, 0, 2, 131, 255]);
        assert!(inbox.next().is_err());
        let mut wrong = framed(Framing::Nibbles, &term("a"));
        let last = wrong.len() - 1;
        wrong[last] ^= 0b100;
        let mut inbox = Inbox::new(Framing::Nibbles);
        inbox.push(&wrong);
        assert_eq!(inbox.next(), Err(Broken("the checksum of a term is wrong".to_owned())));
    }
}
