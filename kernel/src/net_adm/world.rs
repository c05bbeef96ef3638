//! `world`: every node of the hosts that there are, connected.

use std::fmt;
use std::time::Duration;

use krarup_transport::term::{Atom, Term};

use super::{Host, HostFileError, NamesError, host_file, names_at, ping};
use crate::node::{NameType, Node, Reply, Stopped};
use crate::process::Process;

/// How long one host's epmd is waited for (OTP waits for ever once it is connected).
const NAMES_TIME_MAX: Duration = Duration::from_secs(10);
/// How long one node is waited for, beyond which none is alive.
const PING_TIME_MAX: Duration = Duration::from_secs(60);

/// What was learnt on the way through the world.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Asked<'a> {
    /// A node was pinged.
    Node {
        /// Its name.
        node: &'a Atom,
        /// Whether it answered: `pong`.
        answers: bool,
    },
    /// The nodes of a host are not known: it is passed over.
    Host {
        /// Its name.
        host: &'a str,
        /// Why.
        error: &'a NamesError,
    },
}

type Each<'a> = &'a mut dyn FnMut(Asked<'_>);

/// What can be asked about the nodes of other hosts (Erlang: `net_adm`). Nothing here holds up a
/// shard.
#[derive(Clone, Debug)]
pub struct NetAdm {
    node: Node,
    ping_time: Duration,
}

/// Why [`NetAdm::world`] asked nobody.
#[derive(Debug)]
#[non_exhaustive]
pub enum WorldError {
    /// There are no hosts (OTP: the call exits with `{error, Reason}`).
    HostFile(HostFileError),
    /// The hosts' file has a term that is no atom (OTP: the call fails with `badarg`).
    Host(Term),
    /// The node has stopped.
    Stopped,
}

impl fmt::Display for WorldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorldError::HostFile(error) => error.fmt(f),
            WorldError::Host(term) => {
                write!(f, "{}: {term} is no host; write its name as an atom", super::HOST_FILE)
            }
            WorldError::Stopped => Stopped.fmt(f),
        }
    }
}

impl std::error::Error for WorldError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WorldError::HostFile(error) => Some(error),
            _ => None,
        }
    }
}

impl Node {
    /// What can be asked about the nodes of other hosts.
    pub fn net_adm(&self) -> NetAdm {
        NetAdm { node: self.clone(), ping_time: PING_TIME_MAX }
    }
}

impl NetAdm {
    /// Waits at most so long for each node of the world; a minute unless said.
    #[must_use]
    pub fn ping_time(self, limit: Duration) -> Self {
        NetAdm { ping_time: limit, ..self }
    }

    /// Asks a node whether it accepts us; see [`Node::ping`].
    pub fn ping(&self, node: &str, timeout: Duration) -> Reply<bool> {
        self.node.ping(node, timeout)
    }

    /// The names and ports of the nodes that are registered at a host, by this node's epmd port
    /// (OTP: `net_adm:names/1`).
    ///
    /// # Errors
    /// [`NamesError`].
    pub fn names(&self, host: &str) -> Reply<Result<Vec<(String, u16)>, NamesError>> {
        let (host, port) = (Host::Name(host.to_owned()), self.node.config().epmd_port);
        let (done, reply) = Reply::pair(|| Err(NamesError::Stopped));
        // Without a thread the sender is dropped, and the answer is that of its stop.
        drop(self.node.blocking(move || done.send(names_at(&host, port, NAMES_TIME_MAX)).is_ok()));
        reply
    }

    /// Connects to every node that is registered at the hosts of `.hosts.erlang`, and gives those
    /// that answer, this one included if it is. `each` is told of every host and node on the way.
    ///
    /// OTP: `net_adm:world/0,1`.
    ///
    /// # Errors
    /// [`WorldError`].
    pub fn world(
        &self,
        each: impl FnMut(Asked<'_>) + Send + 'static,
    ) -> Reply<Result<Vec<Atom>, WorldError>> {
        let ping_time = self.ping_time;
        self.node.ask(
            || Err(WorldError::Stopped),
            move |me| async move {
                let read = me.node().blocking(host_file).await.map_err(|_| WorldError::Stopped)?;
                let mut hosts = Vec::new();
                for host in read.map_err(WorldError::HostFile)? {
                    match host {
                        Term::Atom(host) => hosts.push(host.as_str().to_owned()),
                        other => return Err(WorldError::Host(other)),
                    }
                }
                let mut each = each;
                Ok(of_hosts(&me, &hosts, ping_time, &mut each).await)
            },
        )
    }

    /// As [`NetAdm::world`], of these hosts (OTP: `net_adm:world_list/1,2`).
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn world_list(
        &self,
        hosts: Vec<String>,
        each: impl FnMut(Asked<'_>) + Send + 'static,
    ) -> Reply<Result<Vec<Atom>, Stopped>> {
        let ping_time = self.ping_time;
        self.node.ask(
            || Err(Stopped),
            move |me| async move {
                let mut each = each;
                Ok(of_hosts(&me, &hosts, ping_time, &mut each).await)
            },
        )
    }
}

async fn of_hosts(
    me: &Process,
    hosts: &[String],
    ping_time: Duration,
    each: Each<'_>,
) -> Vec<Atom> {
    let mut all = Vec::new();
    for host in hosts {
        all.extend(of_host(me, host, ping_time, each).await);
    }
    all
}

/// The nodes of one host that answer. That a host or its epmd cannot be asked is passed over, as OTP
/// does.
async fn of_host(me: &Process, host: &str, ping_time: Duration, each: Each<'_>) -> Vec<Atom> {
    let node = me.node();
    let (asked, port) = (Host::Name(host.to_owned()), node.config().epmd_port);
    let names = match node.blocking(move || names_at(&asked, port, NAMES_TIME_MAX)).await {
        Ok(Ok(names)) => names,
        Ok(Err(error)) => {
            each(Asked::Host { host, error: &error });
            return Vec::new();
        }
        Err(Stopped) => return Vec::new(),
    };
    let mut all = Vec::new();
    for peer in peers(&node, host, &names) {
        let answers = ping(&node, peer.as_str(), ping_time).await;
        each(Asked::Node { node: &peer, answers });
        if answers {
            all.push(peer);
        }
    }
    all
}

/// The full names of the nodes that a host's epmd knows, as this node has to call them.
pub(crate) fn peers(node: &Node, host: &str, names: &[(String, u16)]) -> Vec<Atom> {
    let host = cut(node.config().name_type, host);
    names.iter().filter_map(|(name, _)| Atom::new(&format!("{name}@{host}")).ok()).collect()
}

/// The host part of the names of nodes there.
pub(crate) fn cut(name_type: NameType, host: &str) -> &str {
    match name_type {
        NameType::Long => host,
        NameType::Short => host.split('.').next().unwrap_or(host),
    }
}
