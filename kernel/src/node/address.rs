//! Where a node listens that is not told where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};

use super::AddressFamily;

/// A name on a loopback host is reachable from this host only, so that is where it listens. Any
/// other is listened for at all addresses of IPv4; at those of both, if its host has none of IPv4.
/// Blocks.
pub(super) fn default_address(host: &str, family: AddressFamily) -> IpAddr {
    let found = (host, 0).to_socket_addrs();
    let mut addresses: Vec<IpAddr> = found.into_iter().flatten().map(|at| at.ip()).collect();
    addresses.retain(|address| family.includes(*address));
    choose(&addresses, krarup_tuning::host::is_loopback(host), family)
}

fn choose(addresses: &[IpAddr], is_loopback: bool, family: AddressFamily) -> IpAddr {
    let is_inet6 = match family {
        AddressFamily::Any => {
            !addresses.is_empty() && addresses.iter().all(|address| address.is_ipv6())
        }
        AddressFamily::Inet => false,
        AddressFamily::Inet6 => true,
    };
    match (is_loopback, is_inet6) {
        (true, false) => addresses.first().copied().unwrap_or(Ipv4Addr::LOCALHOST.into()),
        (true, true) => addresses.first().copied().unwrap_or(Ipv6Addr::LOCALHOST.into()),
        (false, false) => Ipv4Addr::UNSPECIFIED.into(),
        (false, true) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_of_a_host_decides() {
        let of = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().expect("an address")).collect()
        };
        let (any, six) = (AddressFamily::Any, AddressFamily::Inet6);
        assert_eq!(choose(&of(&["127.0.0.2"]), true, any), of(&["127.0.0.2"])[0]);
        assert_eq!(choose(&of(&["::1"]), true, any), of(&["::1"])[0]);
        assert_eq!(choose(&of(&["10.0.0.1", "fd00::1"]), false, any), of(&["0.0.0.0"])[0]);
        assert_eq!(choose(&of(&["fd00::1"]), false, any), of(&["::"])[0]);
        assert_eq!(choose(&of(&["fd00::1"]), false, six), of(&["::"])[0]);
        assert_eq!(choose(&[], false, any), of(&["0.0.0.0"])[0]);
        assert_eq!(choose(&[], true, six), of(&["::1"])[0]);
    }
}
