//! Erlang's `net_kernel`: which nodes are connected, being connected or going down.
//!
//! [`NetKernel`] is the state machine. It opens no socket and reads no clock: attempts, links and
//! acknowledgements of the shards come in as calls, [`Action`]s go out. The shards' runtime
//! (`crate::shard`) carries them out.

mod allowed;
mod connect_error;
mod cookies;
mod dynamic_name;
mod given_names;
mod known;
mod machine;
mod node_monitor;
mod peer;
#[cfg(test)]
mod simultaneous;
#[cfg(test)]
mod tests;
mod ticktime;
mod types;

pub use allowed::TooManyNames;
pub use connect_error::{ConnectError, EpmdFailure, SystemError};
pub use cookies::Cookies;
pub use dynamic_name::{DynamicName, Turn};
pub use given_names::GivenNames;
pub use machine::NetKernel;
pub use node_monitor::{BadNodeMonitorOptions, NodeMonitorOptions, NodeTypes};
pub use ticktime::{NetTicktime, TickOrder, Ticktime, TicktimeChange};
pub use types::{
    Action, AttemptId, BarrierId, ConnectionId, Decision, NodeDownReason, NodeInfo, NodeType,
    Order, PeerLink, WaiterId,
};
