//! Nodes that this one starts, on this host or another one: Erlang nodes and Krarup nodes.
//!
//! A child is told how to find this node, says when it is there, and ends with this node, or when its
//! [`Child`] is dropped. OTP: `slave` and `peer`, whose command lines it gets, so that `erl` of any
//! release and `krarup` can be one.

mod control;
mod error;
mod program;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use krarup_transport::term::{Atom, Pid, Term};

pub use error::ChildError;

use crate::atoms::atom;
use crate::node::{Node, Reply};
use crate::process::{Process, Signal};
use program::Running;

/// How a child comes to know its parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// As `slave` starts it: it connects to this node, and ends when that connection does.
    Slave,
    /// As `peer` starts it: it connects to this node, and ends when the process that looks after it
    /// does, or the connection.
    #[default]
    Peer,
}

/// What a child is to be; [`ChildBuilder::start`] starts it.
#[derive(Clone, Debug)]
pub struct ChildBuilder {
    program: String,
    name: String,
    host: Option<String>,
    arguments: Vec<String>,
    style: Style,
    remote_shell: Vec<String>,
    boot_time: Duration,
    hands_over_cookie: bool,
}

impl ChildBuilder {
    /// The child's host; this node's unless set. Another host is reached by the remote shell.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// More arguments, in erl's spelling.
    #[must_use]
    pub fn args<T: Into<String>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// How the child comes to know its parent; as a `peer` unless set.
    #[must_use]
    pub fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// The command that runs another one on a host, with the host and a line for its shell as last
    /// arguments; `ssh -oBatchMode=yes` unless set.
    #[must_use]
    pub fn remote_shell<T: Into<String>>(mut self, command: impl IntoIterator<Item = T>) -> Self {
        self.remote_shell = command.into_iter().map(Into::into).collect();
        self
    }

    /// How long the child may take until it is there; 15 s unless set, as in OTP.
    #[must_use]
    pub fn boot_time(mut self, time: Duration) -> Self {
        self.boot_time = time;
        self
    }

    /// Gives the child this node's cookie on its command line, which everybody on its host can read.
    /// Without it the child reads its own cookie file, as in OTP.
    #[must_use]
    pub fn hand_over_cookie(mut self) -> Self {
        self.hands_over_cookie = true;
        self
    }

    /// Starts the child; answered when it is there and connected.
    ///
    /// # Errors
    /// [`ChildError`] says what is missing. Nothing is left of a child that did not start.
    pub fn start(self, node: &Node) -> Reply<Result<Child, ChildError>> {
        let (done, reply) = Reply::pair(|| Err(ChildError::Stopped));
        let started = node.spawn_on(0, None, move |me| control::run(me, self, done));
        // A node without a free process slot drops the sender, and the answer is that of its stop.
        drop(started);
        reply
    }
}

/// A node that this one has started. Dropping it ends it.
#[derive(Debug)]
pub struct Child {
    local: Node,
    node: Atom,
    control: Pid,
    is_running: Arc<AtomicBool>,
    program: Running,
}

/// How a child is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// At once (`erlang:halt/0`).
    Halt,
    /// After everything that runs there had time to end (`init:stop/0`).
    Init,
    /// By ending the connection, upon which it ends itself.
    Close,
}

impl Child {
    /// A child that is run by `program`, such as `erl` or the path of `krarup`, with this name
    /// before the `@`.
    ///
    /// ```no_run
    /// # use krarup::Node;
    /// # use krarup::child::{Child, Stop};
    /// # use std::time::Duration;
    /// # fn run(node: &Node) -> Result<(), Box<dyn std::error::Error>> {
    /// let child = Child::builder("erl", "worker").hand_over_cookie().start(node).wait()?;
    /// let (time, name) = (Duration::from_secs(5), child.node().as_str());
    /// let sorted: Vec<u8> = node.rpc(name, "lists", "seq", (1, 3), time).wait()?;
    /// assert!(child.stop(Stop::Halt, time).wait());
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(program: impl Into<String>, name: impl Into<String>) -> ChildBuilder {
        ChildBuilder {
            program: program.into(),
            name: name.into(),
            host: None,
            arguments: Vec::new(),
            style: Style::default(),
            remote_shell: vec!["ssh".to_owned(), "-oBatchMode=yes".to_owned()],
            boot_time: Duration::from_secs(15),
            hands_over_cookie: false,
        }
    }

    /// Its name.
    pub fn node(&self) -> &Atom {
        &self.node
    }

    /// Whether it is connected.
    pub fn is_running(&self) -> bool {
        self.is_running.load(Ordering::Acquire)
    }

    /// The end of what it printed.
    pub fn output(&self) -> String {
        self.program.output()
    }

    /// Ends it, and waits at most so long for its end; then it is disconnected, and on this host
    /// killed. True when it ended by itself.
    pub fn stop(self, how: Stop, within: Duration) -> Reply<bool> {
        let (name, program) = (self.node.clone(), self.program.clone());
        let local = self.local.clone();
        // Looked after until it has ended.
        let child = self;
        local.ask(
            || false,
            move |me| async move {
                let ended = end(me, &name, how, within, &program).await;
                drop(child);
                ended
            },
        )
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let message = Term::Tuple(vec![atom("child_is_dropped")]);
        // A node that has stopped took the child along.
        drop(self.local.send(&self.control, &message));
    }
}

/// Asks a child to end, and waits.
async fn end(mut me: Process, node: &Atom, how: Stop, within: Duration, program: &Running) -> bool {
    let deadline = Instant::now() + within;
    if me.monitor_node(node.as_str(), true).is_err() {
        return false;
    }
    match how {
        Stop::Halt => me.rpc_cast(node.as_str(), "erlang", "halt", ()).unwrap_or(()),
        Stop::Init => me.rpc_cast(node.as_str(), "init", "stop", ()).unwrap_or(()),
        Stop::Close => drop(me.node().disconnect(node.as_str()).await),
    }
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut is_lost = false;
    while !is_lost && let Ok(Some(signal)) = me.recv_timeout(left()).await {
        is_lost = matches!(signal, Signal::NodeLost(_));
    }
    if !is_lost {
        tracing::warn!(%node, ?within, "a child did not end in time, and is disconnected");
        me.node().disconnect(node.as_str()).await;
    }
    // A program that has lost its node is about to end.
    while program.ended().is_none() && !left().is_zero() {
        krarup_transport::io::sleep(Duration::from_millis(5)).await;
    }
    let ended = is_lost && program.ended().is_some();
    program.kill();
    ended
}
