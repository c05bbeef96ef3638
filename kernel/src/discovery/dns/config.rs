//! Which name servers are asked, and for which names: `/etc/resolv.conf`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const PORT: u16 = 53;
/// As many as the C library asks.
const SERVERS_MAX: usize = 3;
const SEARCH_MAX: usize = 32;
const NDOTS_MAX: usize = 15;

/// Name servers, and what is put behind names that are not full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameServers {
    pub(crate) servers: Vec<SocketAddr>,
    search: Vec<String>,
    /// Names with fewer dots are looked for below the search domains first.
    dots_min: usize,
}

impl NameServers {
    /// These servers, for full names only.
    pub(crate) fn only(servers: Vec<SocketAddr>) -> Self {
        NameServers { servers, search: Vec::new(), dots_min: 1 }
    }

    /// Those of the system. Blocks.
    pub(crate) fn of_system() -> Self {
        Self::parse(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
    }

    /// Reads a text in the form of resolv.conf(5).
    pub(super) fn parse(text: &str) -> Self {
        let mut found = NameServers::only(Vec::new());
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    if let Some(address) = address.filter(|_| found.servers.len() < SERVERS_MAX) {
                        found.servers.push(SocketAddr::new(address, PORT));
                    }
                }
                // The last of them counts.
                Some("domain" | "search") => {
                    found.search = words.take(SEARCH_MAX).map(str::to_owned).collect();
                }
                Some("options") => {
                    let dots = words.find_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    found.dots_min = dots.unwrap_or(found.dots_min).min(NDOTS_MAX);
                }
                _ => {}
            }
        }
        if found.servers.is_empty() {
            found.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
        }
        found
    }

    /// The full names that a name may stand for, in the order in which they are asked for.
    pub(crate) fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let below = self.search.iter().map(|domain| format!("{name}.{domain}"));
        let itself = std::iter::once(name.to_owned());
        if name.matches('.').count() >= self.dots_min {
            itself.chain(below).collect()
        } else {
            below.chain(itself).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_file_is_read() {
        let text = "# made by\nnameserver 10.0.0.2\nnameserver fd00::2\nnameserver x\n\
                    search default.svc.cluster.local svc.cluster.local\noptions timeout:1 ndots:5\n";
        let found = NameServers::parse(text);
        let servers: Vec<String> = found.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.2:53", "[fd00::2]:53"]);
        assert_eq!(
            found.candidates("web"),
            ["web.default.svc.cluster.local", "web.svc.cluster.local", "web"]
        );
        assert_eq!(found.candidates("a.b.c.d.e.f")[0], "a.b.c.d.e.f");
        assert_eq!(found.candidates("web."), ["web."]);
        let empty = NameServers::parse("");
        assert_eq!(empty.servers, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!(empty.candidates("web"), ["web"]);
    }
}
