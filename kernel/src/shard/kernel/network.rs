//! What becomes of a node that nobody can connect to any more.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use krarup_transport::io::{ListenConfig, Listener, sleep};

use super::KernelShard;
use crate::net_kernel::NodeDownReason;
use crate::node::give_up;

/// How long a node tries to listen where it did.
const LISTEN_AGAIN_TIME: Duration = Duration::from_secs(2);
const LISTEN_AGAIN_PAUSE: Duration = Duration::from_millis(100);

impl KernelShard {
    /// The socket that connections were accepted on has failed: another one at the same address,
    /// for epmd knows the port. Links do not depend on it.
    ///
    /// Where that cannot be had the node is not what it says it is, and the distribution is
    /// stopped. Without the Unix socket, lanes to nodes of this host cannot be joined, that is all.
    // OTP: net_kernel.erl, listen_exit/2, ends with `no_network` when an acceptor ends; that does
    // not happen when its socket fails, only nobody can connect then.
    pub(in crate::shard) async fn listen_again(
        &self,
        address: Option<SocketAddr>,
        error: &io::Error,
    ) -> Option<Listener> {
        let Some(address) = address else {
            tracing::error!(%error, "the Unix socket for lanes has failed");
            return None;
        };
        tracing::error!(%address, %error, "the listening socket has failed");
        let port = address.port();
        let listen =
            ListenConfig { address: address.ip(), ports: port..=port, ..ListenConfig::default() };
        let start = Instant::now();
        let why = loop {
            match Listener::bind(&listen) {
                Ok(listener) => {
                    tracing::info!(%address, "the node listens again");
                    return Some(listener);
                }
                Err(error) if start.elapsed() > LISTEN_AGAIN_TIME => break error.to_string(),
                Err(_) => sleep(LISTEN_AGAIN_PAUSE).await,
            }
            if !self.is_alive() {
                return None;
            }
        };
        tracing::error!(error = %why, "the distribution is stopped");
        let shard = self.shard.borrow().upgrade()?;
        let reason = NodeDownReason::NoNetwork(why);
        glommio::spawn_local(async move { give_up(&shard, &reason).await }).detach();
        None
    }
}
