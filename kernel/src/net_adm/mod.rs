//! Erlang's `net_adm`: which nodes there are on which hosts, and whether they answer.
//!
//! Hosts and their files are looked at by functions that block; what needs a node is asked of
//! [`Node::net_adm`](crate::Node::net_adm) and waits elsewhere.

mod host_file;
mod ping;
mod resolve;
pub mod terms;
mod world;

pub use self::host_file::{HOST_FILE, HostFileError, host_file, host_file_in};
pub use self::resolve::{NamesError, UnknownHost, dns_hostname, localhost, names};
pub use self::world::{Asked, NetAdm, WorldError};

pub(crate) use self::ping::ping;
pub(crate) use self::resolve::{Host, names_at};
pub(crate) use self::world::{cut, peers};
