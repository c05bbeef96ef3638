//! Where wanted nodes are named: a list, the DNS, the hosts' file.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::dns::{LookupError, NameServers, QueryType, Record, look_up};
use super::machine::WANTED_MAX;
use crate::net_adm::{HostFileError, cut, host_file, names};
use crate::node::{AddressFamily, NameType};

/// How long the epmd of one host is waited for.
const NAMES_TIME_MAX: Duration = Duration::from_secs(5);

/// Something that names nodes, looked at again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// These nodes.
    Static(Vec<String>),
    /// The node `NAME@ADDRESS` at each address of a name in the DNS: one without a name stands for
    /// nodes that are called as this one is before the `@`. Text: `dns:NAME@HOST` or `dns:HOST`.
    Dns {
        /// The part before the `@`.
        name: Option<String>,
        /// The name that is looked up.
        host: String,
    },
    /// The node `NAME@TARGET` at each target of a service in the DNS, on the port that the record
    /// states; where that is epmd's port or zero, epmd is asked. Text: `srv:NAME@SERVICE` or
    /// `srv:SERVICE`.
    Srv {
        /// The part before the `@`.
        name: Option<String>,
        /// The name that is looked up, such as `_krarup._tcp.example.org`.
        service: String,
    },
    /// The nodes that are registered with the epmd of each host in
    /// [`.hosts.erlang`](crate::net_adm::host_file). Text: `hosts`.
    Hosts,
}

/// A text that is no source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError(String);

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected dns:[NAME@]HOST, srv:[NAME@]SERVICE or hosts, got {:?}", self.0)
    }
}

impl std::error::Error for SourceError {}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let wrong = || SourceError(text.to_owned());
        if text == "hosts" {
            return Ok(Source::Hosts);
        }
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (name, looked_up) = match rest.split_once('@') {
            Some((name, looked_up)) => (Some(name.to_owned()), looked_up.to_owned()),
            None => (None, rest.to_owned()),
        };
        if looked_up.is_empty() || looked_up.contains('@') || name.as_deref() == Some("") {
            return Err(wrong());
        }
        match kind {
            "dns" => Ok(Source::Dns { name, host: looked_up }),
            "srv" => Ok(Source::Srv { name, service: looked_up }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, kind, name: &Option<String>, looked_up| match name
        {
            Some(name) => write!(f, "{kind}:{name}@{looked_up}"),
            None => write!(f, "{kind}:{looked_up}"),
        };
        match self {
            Source::Static(_) => f.write_str("connect"),
            Source::Dns { name, host } => named(f, "dns", name, host),
            Source::Srv { name, service } => named(f, "srv", name, service),
            Source::Hosts => f.write_str("hosts"),
        }
    }
}

/// Why a source could not be looked at. What it named before stays wanted.
#[derive(Debug)]
pub(super) enum SourceFailure {
    Dns(LookupError),
    Hosts(HostFileError),
    /// The node has stopped, or there is no thread to look with.
    Stopped,
}

impl fmt::Display for SourceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceFailure::Dns(error) => error.fmt(f),
            SourceFailure::Hosts(error) => error.fmt(f),
            SourceFailure::Stopped => f.write_str("it could not be looked at"),
        }
    }
}

/// What is to be known to look at a source.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    /// This node's name before the `@`.
    pub(super) head: String,
    pub(super) epmd_port: u16,
    pub(super) family: AddressFamily,
    pub(super) name_type: NameType,
    /// Nothing for those of the system.
    pub(super) servers: Option<NameServers>,
}

/// Nodes, each with its port where that is known.
pub(super) type Found = BTreeMap<String, Option<u16>>;

impl Source {
    /// All nodes that it names now. Blocks.
    pub(super) fn look(&self, around: &Surroundings) -> Result<Found, SourceFailure> {
        let servers = || around.servers.clone().unwrap_or_else(NameServers::of_system);
        match self {
            Source::Static(nodes) => Ok(nodes.iter().map(|node| (node.clone(), None)).collect()),
            Source::Dns { name, host } => {
                let head = name.as_ref().unwrap_or(&around.head);
                let mut found = Found::new();
                let mut failed = None;
                for query_type in around.family.query_types() {
                    let records = match look_up(&servers(), host, *query_type) {
                        Ok(records) => records,
                        Err(error) => {
                            failed = failed.or(Some(error));
                            continue;
                        }
                    };
                    found.extend(records.into_iter().filter_map(|record| match record {
                        Record::Address(address) => Some((format!("{head}@{address}"), None)),
                        Record::Service { .. } => None,
                    }));
                }
                // As getaddrinfo(3): some servers fail for addresses that they have none of.
                match failed {
                    Some(error) if found.is_empty() => Err(SourceFailure::Dns(error)),
                    _ => Ok(found),
                }
            }
            Source::Srv { name, service } => {
                let head = name.as_ref().unwrap_or(&around.head);
                let records =
                    look_up(&servers(), service, QueryType::Srv).map_err(SourceFailure::Dns)?;
                Ok(records
                    .into_iter()
                    .filter_map(|record| match record {
                        // The root as a target: the service is not there.
                        Record::Service { target, .. } if target.is_empty() => None,
                        Record::Service { target, port } => {
                            let is_stated = port != 0 && port != around.epmd_port;
                            Some((format!("{head}@{target}"), is_stated.then_some(port)))
                        }
                        Record::Address(_) => None,
                    })
                    .collect())
            }
            Source::Hosts => {
                let mut found = Found::new();
                for host in host_file().map_err(SourceFailure::Hosts)? {
                    let Some(host) = host.as_atom() else { continue };
                    if found.len() > WANTED_MAX {
                        break;
                    }
                    match names(host.as_str(), around.epmd_port, NAMES_TIME_MAX) {
                        Ok(names) => {
                            let host = cut(around.name_type, host.as_str());
                            let named = |(name, _)| (format!("{name}@{host}"), None);
                            found.extend(names.into_iter().map(named));
                        }
                        Err(error) => tracing::debug!(%host, %error, "a host is passed over"),
                    }
                }
                Ok(found)
            }
        }
    }
}

impl AddressFamily {
    fn query_types(self) -> &'static [QueryType] {
        match self {
            AddressFamily::Any => &[QueryType::A, QueryType::Aaaa],
            AddressFamily::Inet => &[QueryType::A],
            AddressFamily::Inet6 => &[QueryType::Aaaa],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_a_text() {
        for text in ["hosts", "dns:web.example.org", "dns:shop@web", "srv:shop@_krarup._tcp.x.org"]
        {
            assert_eq!(
                text.parse::<Source>().map(|source| source.to_string()).as_deref(),
                Ok(text)
            );
        }
        for wrong in ["", "dns", "dns:", "dns:@web", "dns:a@", "dns:a@b@c", "host", "file:x"] {
            let error = wrong.parse::<Source>().unwrap_err().to_string();
            assert!(error.starts_with("expected dns:[NAME@]HOST"), "{error}");
        }
    }
}
