//! The options of the sockets to other nodes.

use std::rc::Rc;

use krarup_transport::term::Atom;
use krarup_tuning::option::{OptionName, SocketOption};

use super::{Node, Reply};
use crate::sockets::{OptionTarget, OptionsError};

/// Options of open connections (Erlang: `net_kernel:setopts/2`, `net_kernel:getopts/2`).
impl Node {
    /// Sets options of the connection to a node, or with `"new"` of all connections to come
    /// (OTP: `net_kernel:setopts/2`). All of them or, after an error, none.
    ///
    /// A connection to another Krarup node has several lanes: all get the options, also when one
    /// of them has to be made anew. What only TCP has is kept for a lane over a Unix socket, and
    /// has no effect there.
    ///
    /// `"new"` counts for connections that this node makes or accepts from now on, and for those
    /// being set up; those that are up stay as they are. `spin_us` is the whole node's, whatever
    /// it is set for.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub fn setopts(
        &self,
        target: impl Into<OptionTarget>,
        options: &[SocketOption],
    ) -> Reply<Result<(), OptionsError>> {
        let (done, reply) = Reply::pair(|| Err(OptionsError::NotAlive));
        let (target, options) = (target.into(), options.to_vec());
        self.on_kernel(move |shard| {
            let Some(kernel) = shard.kernel().map(Rc::clone) else { return };
            glommio::spawn_local(async move {
                let _ = done.send(match target {
                    OptionTarget::Node(node) => kernel.set_options(&node, options).await,
                    OptionTarget::New => kernel.set_new_options(options).await,
                });
            })
            .detach();
        });
        reply
    }

    /// The present values of options of the connection to a node (OTP: `net_kernel:getopts/2`); of
    /// several lanes, those of the first. What its socket does not have is left out.
    ///
    /// # Errors
    /// [`OptionsError::NotAlive`], [`OptionsError::NoConnection`].
    pub fn getopts(
        &self,
        node: &str,
        names: &[OptionName],
    ) -> Reply<Result<Vec<SocketOption>, OptionsError>> {
        let Ok(node) = Atom::new(node) else {
            return Reply::known(Err(OptionsError::NoConnection));
        };
        let (done, reply) = Reply::pair(|| Err(OptionsError::NotAlive));
        let names = names.to_vec();
        self.on_kernel(move |shard| {
            let Some(kernel) = shard.kernel().map(Rc::clone) else { return };
            glommio::spawn_local(async move {
                let _ = done.send(kernel.options(&node, names).await);
            })
            .detach();
        });
        reply
    }
}
