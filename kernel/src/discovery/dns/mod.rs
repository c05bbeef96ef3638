//! A small DNS client: addresses and services of a name, asked at the name servers of the system.
//!
//! `getaddrinfo` asks for no SRV records, and does not tell a name without addresses from a name
//! server that does not answer: the first ends what was wanted of it, the second must not.

mod config;
mod message;
mod resolver;

pub(crate) use self::config::NameServers;
pub(crate) use self::message::{QueryType, Record};
pub(crate) use self::resolver::{LookupError, look_up};
