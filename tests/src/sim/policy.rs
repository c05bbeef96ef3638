//! With whom a node wants to have to do: `allow`, cookies, and what each handshake went by.

use std::collections::BTreeMap;

use krarup::net_kernel::Cookies;
use krarup_transport::handshake::Cookie;

use super::allow_list::AllowList;
use super::env::Env;
use super::names::Identity;
use super::net::ConnId;
use super::plan::Plan;

/// What a life was told about others, beside what its machines make of it.
pub(super) struct Policy {
    /// Everybody named in a call of `allow`.
    pub(super) allowed: AllowList,
    /// What the handshakes ask.
    pub(super) cookies: Cookies,
    own: String,
    by_peer: BTreeMap<String, String>,
}

/// What one side of a handshake went by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// None, if it is to be named.
    own: Option<String>,
    peer: String,
    allows: bool,
    cookie: String,
    pub(super) published: bool,
}

impl Policy {
    pub(super) fn new(cookie: &Cookie) -> Policy {
        Policy {
            allowed: AllowList::default(),
            cookies: Cookies::new(cookie.clone(), []),
            own: cookie.reveal().to_owned(),
            by_peer: BTreeMap::new(),
        }
    }

    pub(super) fn cookie_of(&self, node: &str) -> &str {
        self.by_peer.get(node).unwrap_or(&self.own)
    }

    /// The nodes with cookies of their own.
    pub(super) fn cookie_names(&self) -> impl Iterator<Item = &str> {
        self.by_peer.keys().map(String::as_str)
    }

    /// All cookies are this one again.
    pub(super) fn reconcile(&mut self, text: &str, plan: &Plan) {
        self.set_cookie(None, text);
        let names = plan.specs.iter().map(|spec| spec.name.as_str().to_owned());
        let peers: Vec<String> = self.by_peer.keys().cloned().chain(names).collect();
        for peer in peers {
            self.set_cookie(Some(&peer), text);
        }
    }

    /// Sets the cookie for all, or for one node.
    pub(super) fn set_cookie(&mut self, node: Option<&str>, text: &str) {
        let cookie = Cookie::new(text).expect("a good cookie");
        match node {
            None => {
                self.own = text.to_owned();
                self.cookies.set_own(cookie);
            }
            Some(node) => {
                self.by_peer.insert(node.to_owned(), text.to_owned());
                self.cookies.set(node.to_owned(), cookie).expect("room for it");
            }
        }
    }

    /// What a handshake with a node goes by, in the direction in which it was begun.
    pub(super) fn claim(
        &self,
        own: Option<&Identity>,
        node: &str,
        calls: bool,
        published: bool,
    ) -> Claim {
        Claim {
            own: own.map(|own| own.atom.as_str().to_owned()),
            peer: node.to_owned(),
            allows: if calls { self.allowed.may_call(node) } else { self.allowed.may_come(node) },
            cookie: self.cookie_of(node).to_owned(),
            published,
        }
    }
}

/// What the handshakes that are under way go by, by connection and side.
#[derive(Default)]
pub(super) struct Claims(BTreeMap<(ConnId, usize), Claim>);

impl Env {
    pub(super) fn claim(&mut self, conn: ConnId, side: usize, claim: Claim) {
        self.claims.0.insert((conn, side), claim);
    }

    /// A handshake is complete on one side: both have to have wanted it, and to have had the same
    /// cookie. The answer is whether both offered to be visible.
    pub(super) fn judge_handshake(&self, conn: ConnId) -> bool {
        let [one, two] = [0, 1].map(|side| {
            let claim = self.claims.0.get(&(conn, side));
            claim.unwrap_or_else(|| panic!("{conn:?}: side {side} has not said who it is"))
        });
        let means = |one: &Claim, two: &Claim| two.own.as_ref().is_none_or(|own| *own == one.peer);
        assert!(means(one, two) && means(two, one), "{one:?} and {two:?} mean each other");
        assert_ne!(one.peer, two.peer, "a node is not connected to itself");
        assert!(one.allows && two.allows, "{one:?} and {two:?} are not allowed");
        assert_eq!(one.cookie, two.cookie, "{one:?} and {two:?} have other cookies");
        one.published && two.published
    }

    /// Nothing is under way any more.
    pub(super) fn forget_claims(&mut self) {
        self.claims.0.clear();
    }
}
