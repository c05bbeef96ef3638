//! Where a node listens: the addresses of its host, and its port.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use krarup_transport::epmd::client::{self as epmd, Found, Lookup};
use krarup_transport::handshake::NodeName;
use krarup_transport::io::{Socket, SocketOptions, within};

use super::KernelShard;
use super::connect::{BUFFER_BYTES, blocking};
use crate::net_kernel::{ConnectError, EpmdFailure};

/// Where a node is to be connected.
pub(super) struct Location {
    /// To be tried in this order.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) port: u16,
}

/// Finds a node: its port is the one stated for it, else the one stated for all nodes, else its
/// host's epmd knows it.
pub(super) async fn locate(
    kernel: &KernelShard,
    peer: &NodeName,
    limit: Duration,
) -> Result<Location, ConnectError> {
    let host = peer.host();
    let mut addresses = resolve(host).await?;
    let family = kernel.config.address_family;
    addresses.retain(|address| family.includes(*address));
    if addresses.is_empty() {
        return Err(ConnectError::Host(format!("host {host} has no {family} address")));
    }
    let port = match kernel.stated_port(peer.as_str()) {
        Some(port) => port,
        None => look_up(kernel, &addresses, peer, limit).await?,
    };
    Ok(Location { addresses, port })
}

pub(super) fn no_address(host: &str) -> ConnectError {
    ConnectError::Host(format!("host {host} has no address"))
}

/// Asks the epmd of a host for the port of a node.
async fn look_up(
    kernel: &KernelShard,
    hosts: &[IpAddr],
    peer: &NodeName,
    limit: Duration,
) -> Result<u16, ConnectError> {
    let name = peer.head();
    let mut refused = None;
    for host in hosts {
        let epmd = SocketAddr::new(*host, kernel.epmd_port());
        let mut answered = Ok(None);
        let asked = within(limit, async {
            answered = ask_epmd(kernel, epmd, name, limit).await;
            Ok(())
        });
        let answered = match asked.await {
            Ok(()) => answered,
            Err(error) => Err(EpmdFailure::System(error.into())),
        };
        match answered {
            Ok(Some(location)) => return Ok(location.port),
            Ok(None) => return Err(ConnectError::Unknown { epmd, name: name.to_owned() }),
            Err(error) => refused = Some(ConnectError::Epmd { address: epmd, error }),
        }
    }
    Err(refused.unwrap_or_else(|| no_address(peer.host())))
}

async fn ask_epmd(
    kernel: &KernelShard,
    epmd: SocketAddr,
    name: &str,
    limit: Duration,
) -> Result<Option<epmd::Location>, EpmdFailure> {
    let system = |error: io::Error| EpmdFailure::System(error.into());
    let mut lookup = Lookup::new(name, Instant::now(), limit).map_err(EpmdFailure::Answer)?;
    let socket = Socket::connect(epmd, &SocketOptions::default(), limit).await.map_err(system)?;
    kernel.say(&socket, &lookup.take_output()).await.map_err(system)?;
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let answer = match socket.recv(&mut buffer).await.map_err(system)? {
            0 => return Err(EpmdFailure::Answer(lookup.closed())),
            n => lookup.receive(Instant::now(), &buffer[..n]).map_err(EpmdFailure::Answer)?,
        };
        match answer {
            Some(Found::Node(location)) => return Ok(Some(location)),
            Some(Found::Nowhere) => return Ok(None),
            None => {}
        }
    }
}

/// The addresses of a host, without blocking the shard.
async fn resolve(host: &str) -> Result<Vec<IpAddr>, ConnectError> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let name = host.to_owned();
    let found = blocking(move || {
        (name.as_str(), 0)
            .to_socket_addrs()
            .map(|found| found.map(|at| at.ip()).collect::<Vec<_>>())
    })
    .await
    .map_err(ConnectError::Host)?;
    match found {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(no_address(host)),
        Err(error) => Err(ConnectError::Host(format!("host {host} cannot be resolved: {error}"))),
    }
}
