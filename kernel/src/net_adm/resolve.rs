//! Hosts: their names, their addresses, and the nodes that their epmd knows. Everything blocks.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::epmd::client::{self, ClientError};
use crate::node::Stopped;

/// The resolver knows no host of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownHost(pub String);

impl fmt::Display for UnknownHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the host {:?} is not known", self.0)
    }
}

impl std::error::Error for UnknownHost {}

/// Why the nodes of a host are not known.
#[derive(Debug)]
#[non_exhaustive]
pub enum NamesError {
    /// The host is not known (OTP: `nxdomain`).
    Host(UnknownHost),
    /// Its epmd could not be asked, at the last address that was tried (OTP: `address`).
    Epmd(ClientError),
    /// This node has stopped.
    Stopped,
}

impl fmt::Display for NamesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamesError::Host(error) => error.fmt(f),
            NamesError::Epmd(error) => error.fmt(f),
            NamesError::Stopped => Stopped.fmt(f),
        }
    }
}

impl std::error::Error for NamesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NamesError::Host(error) => Some(error),
            NamesError::Epmd(error) => Some(error),
            NamesError::Stopped => None,
        }
    }
}

/// A host by its name or by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

/// The official name of a host: that of the first line for it in `/etc/hosts`, or the one that its
/// aliases lead to in the DNS. Of an IPv4 address, the address itself.
///
/// OTP: `net_adm:dns_hostname/1`, which looks for IPv4 addresses only.
///
/// # Errors
/// [`UnknownHost`].
pub fn dns_hostname(host: &str) -> Result<String, UnknownHost> {
    let unknown = || UnknownHost(host.to_owned());
    let hints = dns_lookup::AddrInfoHints {
        address: libc::AF_INET,
        socktype: libc::SOCK_STREAM,
        flags: libc::AI_CANONNAME,
        ..Default::default()
    };
    if host.is_empty() {
        return Err(unknown());
    }
    let found = dns_lookup::getaddrinfo(Some(host), None, Some(hints)).map_err(|_| unknown())?;
    let name = found.filter_map(Result::ok).find_map(|address| address.canonname);
    name.ok_or_else(unknown)
}

/// This host's name, with its domain where the resolver has one (OTP: `net_adm:localhost/0`).
///
/// # Errors
/// When the host has no name.
pub fn localhost() -> io::Result<String> {
    krarup_tuning::host::full_name().or_else(|_| krarup_tuning::host::name())
}

/// The names and ports of the nodes that are registered at a host, asked at each of its addresses in
/// turn until one answers (OTP: `net_adm:names/1`). An empty list: its epmd runs and knows none.
///
/// # Errors
/// [`NamesError`].
pub fn names(
    host: &str,
    epmd_port: u16,
    limit: Duration,
) -> Result<Vec<(String, u16)>, NamesError> {
    names_at(&Host::Name(host.to_owned()), epmd_port, limit)
}

pub(crate) fn names_at(
    host: &Host,
    epmd_port: u16,
    limit: Duration,
) -> Result<Vec<(String, u16)>, NamesError> {
    let addresses = addresses(host).map_err(NamesError::Host)?;
    let deadline = Instant::now() + limit;
    let mut outcome = Err(NamesError::Epmd(ClientError::Connect {
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), epmd_port),
        source: io::ErrorKind::TimedOut.into(),
    }));
    for (index, address) in addresses.iter().enumerate() {
        // An address that swallows everything must leave time for the others.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        if share.is_zero() {
            break;
        }
        let at = SocketAddr::new(*address, epmd_port);
        outcome = client::names(at, share).map_err(NamesError::Epmd).map(|list| {
            // OTP: erl_epmd.erl, scan_names/2 turns round what epmd gives.
            list.nodes.into_iter().rev().collect()
        });
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// The addresses of a host, each once.
pub(crate) fn addresses(host: &Host) -> Result<Vec<IpAddr>, UnknownHost> {
    let name = match host {
        Host::Address(address) => return Ok(vec![*address]),
        Host::Name(name) => name,
    };
    let unknown = || UnknownHost(name.clone());
    if name.is_empty() {
        return Err(unknown());
    }
    let found = (name.as_str(), 0).to_socket_addrs().map_err(|_| unknown())?;
    let mut addresses = Vec::new();
    for address in found.map(|at| at.ip()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(unknown()) } else { Ok(addresses) }
}
