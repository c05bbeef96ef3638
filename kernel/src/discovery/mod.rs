//! Nodes that are wanted: found in lists, in the DNS and on hosts, and kept connected.
//!
//! What is wanted and what is connected are compared again and again. No event is relied on: one
//! that says that a node is gone only makes the next look come sooner.

mod dns;
mod driver;
mod machine;
mod source;

use std::net::SocketAddr;
use std::time::Duration;

use krarup_transport::term::Pid;

pub use self::machine::BackOff;
pub use self::source::{Source, SourceError};

use crate::node::{Node, Reply, SpawnError};

/// Which nodes are wanted, and how often that is looked at.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// What names them.
    pub sources: Vec<Source>,
    /// How often the sources are looked at; up to a half of it less, at random.
    pub interval: Duration,
    /// When a node is tried again.
    pub back_off: BackOff,
    /// The name servers that are asked; without any, those of `/etc/resolv.conf`.
    pub name_servers: Vec<SocketAddr>,
}

impl Discovery {
    /// With the default times and name servers.
    pub fn new(sources: Vec<Source>) -> Self {
        Discovery {
            sources,
            interval: Duration::from_secs(10),
            back_off: BackOff::default(),
            name_servers: Vec::new(),
        }
    }
}

impl Node {
    /// Connects to every node that the sources name, and again whenever one is not connected, for as
    /// long as this node lives or until the process that does it is ended; its pid is given.
    ///
    /// A node that is named no more keeps its connection. One that is disconnected and still named
    /// is connected again.
    ///
    /// # Errors
    /// As [`Node::spawn_on`] without a name.
    pub fn discover(&self, discovery: Discovery) -> Reply<Result<Pid, SpawnError>> {
        self.spawn_on(0, None, move |me| driver::run(me, discovery))
    }
}
