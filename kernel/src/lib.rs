//! The node: Erlang's kernel application (`net_kernel`, `net_adm`, the process registry), in Rust.
//!
//! A program configures a [`Node`] with [`Node::builder`] and starts processes on it with
//! [`Node::spawn`]; Erlang and Elixir nodes see one more node of their cluster.

mod atoms;
pub mod child;
pub mod cookie;
pub mod discovery;
pub mod epmd;
pub mod gen_server;
pub mod net_adm;
pub mod net_kernel;
mod node;
mod process;
pub mod rpc;
mod services;
mod shard;
pub mod sockets;
pub mod supervisor;

pub use gen_server::{CallError, GenServer};
pub use krarup_transport::buffer::Slice;
pub use krarup_transport::handshake::Cookie;
pub use krarup_transport::term;
pub use net_kernel::{
    BadNodeMonitorOptions, ConnectError, NetTicktime, NodeMonitorOptions, NodeTypes, TicktimeChange,
};
pub use node::{
    AddressFamily, AutoConnect, Builder, Checksum, ConnectionStats, Encoded, FabricConfig,
    LaneStats, LifeState, LinkStats, NameType, Node, NodeConfig, NotAlive, Output, Reply,
    SendError, ShardStats, SpawnError, StartError, StartOptions, Started, StopError, Stopped,
    TimeHistogram,
};
pub use process::{
    AliasMode, AsDestination, Destination, DestinationRef, Down, Exit, ExitReason, Mailbox,
    MailboxLimits, Message, NodeDown, NodeUp, Overflow, PrintError, Process, ProcessResult, Recv,
    Signal, SignalError, Ties,
};
pub use rpc::{Raise, RpcError, SpawnAtError};
pub use sockets::{OptionTarget, OptionsError};
