//! Erlang's `supervisor`: processes that start others, and start them again when they end.
//!
//! A [`Supervisor`] is a list of [`ChildSpec`]s and a [`Strategy`]. [`Supervisor::run`] is the
//! process: it starts the children in their order, links itself to them, starts again those that
//! end, and ends them in reverse order when it ends itself. A child that is a supervisor makes a
//! tree.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use krarup::supervisor::{ChildSpec, Restart, Shutdown, Strategy, Supervisor};
//! use krarup::{Node, Process, ProcessResult};
//!
//! async fn till(mut me: Process) -> ProcessResult {
//!     while let Ok(signal) = me.recv().await {
//!         let coins: u64 = signal.message()?; // anything else ends this till: a new one begins
//!         tracing::info!(coins);
//!     }
//!     Ok(())
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stock = ChildSpec::new("stock", |mut me: Process| async move {
//!     me.recv().await?;
//!     Ok(())
//! });
//! let shop = Supervisor::new(Strategy::RestForOne)
//!     .intensity(3, Duration::from_secs(5))
//!     .child(stock.restart(Restart::Transient))
//!     .child(ChildSpec::new("till", till).name("till").shutdown(Shutdown::BrutalKill));
//! let node = Node::builder("shop@127.0.0.1").start()?;
//! node.spawn("shop", |me| shop.run(me))?;
//! # Ok(())
//! # }
//! ```
//!
//! From Erlang, `supervisor:which_children({shop, 'shop@127.0.0.1'})` and `count_children`,
//! `terminate_child`, `restart_child` and `delete_child` answer as OTP's supervisors do. Children
//! cannot be added (`start_child`): what they run is Rust.
//!
//! OTP: `supervisor.erl`.

mod machine;
mod process;
mod spec;
#[cfg(test)]
mod tests;

pub use spec::{ChildSpec, Restart, Shutdown, Strategy, Supervisor};
