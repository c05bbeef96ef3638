//! The cookies of a living node (Erlang: `erlang:get_cookie/0,1`, `set_cookie/1,2`).

use krarup_transport::handshake::Cookie;

use super::{Node, NotAlive, Reply, SetCookieError};
use crate::net_kernel::Cookies;

impl Node {
    /// The cookie for peers without one of their own; none while the node is not alive.
    pub fn cookie(&self) -> Reply<Option<Cookie>> {
        self.of_cookies(|cookies| cookies.own().clone())
    }

    /// The cookie for a peer: its own if one is set, else the common one. None while the node is
    /// not alive.
    pub fn cookie_for(&self, node: &str) -> Reply<Option<Cookie>> {
        let node = node.to_owned();
        self.of_cookies(move |cookies| cookies.of(&node).clone())
    }

    /// Sets the cookie for peers without one of their own. Connections that are there stay.
    ///
    /// # Errors
    /// [`NotAlive`].
    pub fn set_cookie(&self, cookie: Cookie) -> Reply<Result<(), NotAlive>> {
        let (done, reply) = Reply::pair(|| Err(NotAlive));
        self.on_cookies(move |set| {
            let _ = done.send(set.map(|(_, cookies)| cookies.set_own(cookie)).ok_or(NotAlive));
        });
        reply
    }

    /// Sets the cookie for one peer, whoever of the two connects; for this node's own name the
    /// common one. Connections that are there stay.
    ///
    /// # Errors
    /// [`SetCookieError`].
    pub fn set_cookie_for(&self, node: &str, cookie: Cookie) -> Reply<Result<(), SetCookieError>> {
        let node = node.to_owned();
        let (done, reply) = Reply::pair(|| Err(SetCookieError::NotAlive));
        self.on_cookies(move |set| {
            let outcome = match set {
                None => Err(SetCookieError::NotAlive),
                Some((own, cookies)) if own == node => {
                    cookies.set_own(cookie);
                    Ok(())
                }
                Some((_, cookies)) => cookies.set(node, cookie).map_err(SetCookieError::TooMany),
            };
            let _ = done.send(outcome);
        });
        reply
    }

    fn of_cookies<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Cookies) -> T + Send + 'static,
    ) -> Reply<Option<T>> {
        let (done, reply) = Reply::pair(|| None);
        self.on_kernel(move |shard| {
            let looked = shard.kernel().and_then(|kernel| kernel.with_cookies(|_, c| look(c)));
            let _ = done.send(looked);
        });
        reply
    }

    /// Hands over this node's name and its cookies; nothing while it is not alive.
    fn on_cookies(&self, change: impl FnOnce(Option<(&str, &mut Cookies)>) + Send + 'static) {
        self.on_kernel(move |shard| {
            let mut change = Some(change);
            if let Some(kernel) = shard.kernel() {
                kernel.with_cookies(|own, cookies| {
                    change.take().map(|change| change(Some((own, cookies))))
                });
            }
            if let Some(change) = change {
                change(None);
            }
        });
    }
}
