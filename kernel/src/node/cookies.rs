//! The cookies of a living node (Erlang: `erlang:get_cookie/0,1`, `set_cookie/1,2`).

use krarup_transport::handshake::Cookie;

use super::{Node, NotAlive, Reply};
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
        self.on_cookies(move |_, cookies| cookies.set_own(cookie))
    }

    /// Sets the cookie for one peer, whoever of the two connects; for this node's own name the
    /// common one. Connections that are there stay.
    ///
    /// # Errors
    /// [`NotAlive`].
    pub fn set_cookie_for(&self, node: &str, cookie: Cookie) -> Reply<Result<(), NotAlive>> {
        let node = node.to_owned();
        self.on_cookies(move |own, cookies| {
            if own == node { cookies.set_own(cookie) } else { cookies.set(node, cookie) }
        })
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

    fn on_cookies(
        &self,
        change: impl FnOnce(&str, &mut Cookies) + Send + 'static,
    ) -> Reply<Result<(), NotAlive>> {
        let (done, reply) = Reply::pair(|| Err(NotAlive));
        self.on_kernel(move |shard| {
            let changed = shard.kernel().and_then(|kernel| kernel.with_cookies(change));
            let _ = done.send(changed.ok_or(NotAlive));
        });
        reply
    }
}
