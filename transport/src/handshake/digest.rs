//! Cookies, challenges and the digests that prove the one with the other.
//!
//! OTP: erl_dist_protocol, "Distribution Handshake", steps 4 to 6; `dist_util.erl`,
//! `gen_digest/2`.

use std::fmt;
use std::sync::Arc;

use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq;

use super::name::{latin1_bytes, latin1_text};

/// Most characters a cookie may have: it is an atom in OTP.
pub const COOKIE_CHARS_MAX: usize = 255;

/// The secret that two nodes share. Nothing prints it but [`Cookie::reveal`].
#[derive(Clone)]
pub struct Cookie {
    /// Shared, because every session keeps the one it was proven with.
    latin1: Arc<[u8]>,
}

impl Cookie {
    /// Takes `text` as a cookie.
    ///
    /// # Errors
    ///
    /// When it is empty, longer than [`COOKIE_CHARS_MAX`] or not Latin-1: OTP hashes one byte per
    /// character, so another character has no digest that a peer could check.
    pub fn new(text: &str) -> Result<Cookie, CookieError> {
        let length_chars = text.chars().count();
        if length_chars == 0 {
            return Err(CookieError::Empty);
        }
        if length_chars > COOKIE_CHARS_MAX {
            return Err(CookieError::TooLong { length_chars });
        }
        if !text.chars().all(|character| u32::from(character) <= 0xff) {
            return Err(CookieError::NotLatin1);
        }
        Ok(Cookie { latin1: latin1_bytes(text).into() })
    }

    /// The cookie in clear, for `erlang:get_cookie` and for a child node's command line.
    #[must_use]
    pub fn reveal(&self) -> String {
        latin1_text(&self.latin1)
    }

    /// The bytes that digests are made of.
    pub(crate) fn latin1(&self) -> &[u8] {
        &self.latin1
    }

    /// The proof that this cookie is known, for the side that sent `challenge`.
    #[must_use]
    pub fn digest(&self, challenge: Challenge) -> Digest {
        let mut hash = Md5::new();
        hash.update(&self.latin1);
        // The decimal text of the unsigned number, not its bytes.
        hash.update(challenge.0.to_string());
        Digest(hash.finalize().into())
    }

    /// Whether `digest` proves that its sender knows this cookie. Takes the same time whatever
    /// the digest is.
    #[must_use]
    pub fn verifies(&self, challenge: Challenge, digest: &Digest) -> bool {
        self.digest(challenge).0.ct_eq(&digest.0).into()
    }
}

impl PartialEq for Cookie {
    /// Takes the same time whatever two cookies of one length hold.
    fn eq(&self, other: &Cookie) -> bool {
        self.latin1.ct_eq(&other.latin1).into()
    }
}

impl Eq for Cookie {}

impl fmt::Debug for Cookie {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Cookie(hidden)")
    }
}

/// Why a text cannot be a cookie. It never holds the text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CookieError {
    /// It has no character.
    Empty,
    /// A character is beyond U+00FF.
    NotLatin1,
    /// Longer than [`COOKIE_CHARS_MAX`].
    TooLong {
        /// Its length in characters.
        length_chars: usize,
    },
}

impl fmt::Display for CookieError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CookieError::Empty => formatter.write_str("the cookie is empty"),
            CookieError::NotLatin1 => formatter.write_str(
                "the cookie has a character beyond U+00FF, which Erlang's digest has no byte for; \
                 use characters from space to ~",
            ),
            CookieError::TooLong { length_chars } => write!(
                formatter,
                "the cookie has {length_chars} characters, at most {COOKIE_CHARS_MAX} are allowed"
            ),
        }
    }
}

impl std::error::Error for CookieError {}

/// The random number a side asks the other to hash with the cookie. It must come from the
/// operating system's random source and be used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Challenge(pub u32);

/// MD5 of the cookie and a challenge. Not printed: with its challenge it lets anyone try cookies.
#[derive(Clone, Copy)]
pub struct Digest(pub(crate) [u8; 16]);

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Digest(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_that_of_real_nodes() {
        let cookie = Cookie::new("goldcookie").expect("a good cookie");
        let digest = cookie.digest(Challenge(0x0102_0304));
        assert_eq!(u128::from_be_bytes(digest.0), 0x6e17_9960_a2d1_a56c_7e41_e128_1afe_5489);
        assert!(cookie.verifies(Challenge(0x0102_0304), &digest));
        assert!(!cookie.verifies(Challenge(0x0102_0305), &digest));
    }

    #[test]
    fn cookies_are_hashed_as_latin1() {
        let accented = Cookie::new("é").expect("a good cookie");
        let mut hash = Md5::new();
        hash.update([0xe9, b'7']);
        assert!(accented.verifies(Challenge(7), &Digest(hash.finalize().into())));
        assert_eq!(accented.reveal(), "é");
    }

    #[test]
    fn bad_cookies_are_refused() {
        assert_eq!(Cookie::new(""), Err(CookieError::Empty));
        assert_eq!(Cookie::new("λ"), Err(CookieError::NotLatin1));
        let long = "é".repeat(256);
        assert_eq!(Cookie::new(&long), Err(CookieError::TooLong { length_chars: 256 }));
        assert!(Cookie::new(&long[2..]).is_ok());
    }

    #[test]
    fn secrets_are_not_printed() {
        let cookie = Cookie::new("secret").expect("a good cookie");
        let digest = cookie.digest(Challenge(0));
        assert_eq!(format!("{cookie:?} {digest:?}"), "Cookie(hidden) Digest(hidden)");
    }
}
