//! The cookies of a living node: its own, and those for single peers.

use std::collections::HashMap;

use krarup_transport::handshake::Cookie;

use super::TooManyNames;
use super::allowed::NAMES_MAX;

/// Which cookie goes with which peer (OTP: `auth`).
///
/// Both sides of a handshake use the same lookup, so a cookie that is set for a peer is used
/// whoever connects.
#[derive(Clone, Debug)]
pub struct Cookies {
    own: Cookie,
    peers: HashMap<String, Cookie>,
}

impl Cookies {
    /// The cookie for every peer, and others for single ones.
    pub fn new(own: Cookie, peers: impl IntoIterator<Item = (String, Cookie)>) -> Self {
        Cookies { own, peers: peers.into_iter().collect() }
    }

    /// The cookie of peers without one of their own.
    pub fn own(&self) -> &Cookie {
        &self.own
    }

    /// The cookie for a peer.
    pub fn of(&self, node: &str) -> &Cookie {
        self.peers.get(node).unwrap_or(&self.own)
    }

    /// Sets the cookie of peers without one of their own. Connections that are there stay.
    pub fn set_own(&mut self, cookie: Cookie) {
        self.own = cookie;
    }

    /// Sets the cookie for one peer. Connections that are there stay.
    ///
    /// # Errors
    /// [`TooManyNames`].
    pub fn set(&mut self, node: String, cookie: Cookie) -> Result<(), TooManyNames> {
        if self.peers.len() >= NAMES_MAX && !self.peers.contains_key(&node) {
            return Err(TooManyNames);
        }
        self.peers.insert(node, cookie);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_without_a_cookie_of_its_own_has_the_common_one() {
        let cookie = |text| Cookie::new(text).expect("a cookie");
        let mut cookies = Cookies::new(cookie("own"), [("b@h".to_owned(), cookie("b"))]);
        assert_eq!(cookies.of("b@h").reveal(), "b");
        assert_eq!(cookies.of("c@h").reveal(), "own");
        cookies.set_own(cookie("new"));
        cookies.set("c@h".to_owned(), cookie("c")).expect("room for it");
        assert_eq!(cookies.own().reveal(), "new");
        assert_eq!(cookies.of("b@h").reveal(), "b");
        assert_eq!(cookies.of("c@h").reveal(), "c");
        assert_eq!(cookies.of("d@h").reveal(), "new");
    }

    #[test]
    fn there_is_an_end_of_the_cookies_for_single_peers() {
        let cookie = Cookie::new("c").expect("a cookie");
        let mut cookies = Cookies::new(cookie.clone(), []);
        for number in 0..NAMES_MAX {
            assert_eq!(cookies.set(format!("n{number}@h"), cookie.clone()), Ok(()));
        }
        assert_eq!(cookies.set("x@h".to_owned(), cookie.clone()), Err(TooManyNames));
        assert_eq!(cookies.set("n1@h".to_owned(), Cookie::new("d").expect("a cookie")), Ok(()));
        assert_eq!(cookies.of("n1@h").reveal(), "d");
    }
}
