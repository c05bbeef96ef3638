//! What becomes of a node that cannot be reached any more.

use std::io;

use krarup_transport::io::Listener;

use super::KernelShard;
use crate::net_kernel::NodeDownReason;
use crate::node::end_life;

impl KernelShard {
    /// A socket that connections were accepted on has failed.
    ///
    /// Without that of TCP the node is not what it says it is: as in OTP the distribution is
    /// stopped. Without that of Unix, lanes to nodes of this host cannot be joined.
    // OTP: net_kernel.erl, listen_exit/2.
    pub(in crate::shard) fn listener_failed(&self, listener: &Listener, error: &io::Error) {
        if matches!(listener.local_address(), Ok(None)) {
            tracing::error!(%error, "the Unix socket for lanes has failed");
            return;
        }
        tracing::error!(%error, "the listening socket has failed: the distribution is stopped");
        let Some(shard) = self.shard.borrow().upgrade() else { return };
        let reason = NodeDownReason::NoNetwork(error.to_string());
        glommio::spawn_local(async move { end_life(&shard, &reason).await }).detach();
    }
}
