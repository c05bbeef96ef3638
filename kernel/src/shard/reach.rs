//! Where another Krarup node's lanes are connected, and which host this one runs on.

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use krarup_transport::fabric::{Agreement, HostId};
use krarup_transport::io::{Listener, PeerAddress, Socket, SocketOptions};

/// Joins that may wait to be accepted at the Unix socket.
const UNIX_BACKLOG: u16 = 1024;

/// Where a peer listens for joins, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    tcp: Option<SocketAddr>,
    /// The name of a socket in the abstract namespace, without the leading NUL.
    unix: Option<Box<[u8]>>,
}

impl Reach {
    /// Where the node that dialled the first link connects lanes. It uses the port it dialled and
    /// not the one that the peer states: where they differ, something in between translates.
    pub(super) fn of_acceptor(agreement: &Agreement, dialled: SocketAddr) -> Self {
        Reach {
            tcp: (agreement.peer_port != 0).then_some(dialled),
            unix: agreement.same_host.then(|| agreement.peer_unix.as_slice().into()),
        }
    }

    /// Where the node that accepted the first link sees whether the peer's process still is there.
    pub(super) fn of_initiator(agreement: &Agreement, peer: &PeerAddress) -> Self {
        let tcp = match peer {
            PeerAddress::Tcp(address) if agreement.peer_port != 0 => {
                Some(SocketAddr::new(address.ip(), agreement.peer_port))
            }
            _ => None,
        };
        let has_unix = agreement.same_host && !agreement.peer_unix.is_empty();
        Reach { tcp, unix: has_unix.then(|| agreement.peer_unix.as_slice().into()) }
    }

    /// Connects to it, over its Unix socket or over TCP.
    pub(super) async fn connect(
        &self,
        over_unix: bool,
        options: &SocketOptions,
        limit: Duration,
    ) -> io::Result<Socket> {
        match (over_unix, &self.unix, self.tcp) {
            (true, Some(name), _) => {
                Socket::connect_unix(&abstract_path(name), options, limit).await
            }
            (false, _, Some(address)) => Socket::connect(address, options, limit).await,
            _ => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    /// Whether what is found there is certainly the peer: this host's sockets are its own.
    pub(super) fn is_certain(&self) -> bool {
        self.unix.is_some()
    }
}

/// Listens for joins from nodes of this host, and gives the socket's name, which nobody had before.
pub(crate) fn listen_unix() -> io::Result<(Listener, Vec<u8>)> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let name = format!("krarup-{:032x}", u128::from_ne_bytes(random)).into_bytes();
    let listener = Listener::bind_unix(&abstract_path(&name), UNIX_BACKLOG)
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok((listener, name))
}

/// The host and network namespace of this process; unknown where the kernel does not tell.
pub(crate) fn this_host() -> HostId {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = std::fs::metadata("/proc/self/ns/net");
    match (boot_id, namespace) {
        (Ok(boot_id), Ok(namespace)) => HostId::new(&boot_id, namespace.ino()),
        _ => HostId::UNKNOWN,
    }
}

fn abstract_path(name: &[u8]) -> PathBuf {
    let bytes = [&[0], name].concat();
    Path::new(OsStr::from_bytes(&bytes)).to_owned()
}
