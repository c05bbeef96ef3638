//! What a node does with its processes, from anywhere.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use krarup_transport::term::{Atom, Pid};
use serde::Serialize;

use super::{Encoded, Node, Reply, SendError, SpawnError};
use crate::process::{
    AsDestination, Destination, ExternalQueue, Identity, Mailbox, Owner, Process, ProcessId,
    ProcessResult,
};
use crate::shard;

impl Node {
    /// Starts a process under a registered name, on the shards in turn.
    ///
    /// `run` is called on the process's shard; what it returns needs not be `Send`.
    ///
    /// # Errors
    /// [`SpawnError::NameTaken`], [`SpawnError::BadName`], [`SpawnError::SystemLimit`],
    /// [`SpawnError::Stopped`].
    ///
    /// # Panics
    /// On a shard's own thread; use [`Node::spawn_on`] there.
    pub fn spawn<F, R>(&self, name: &str, run: F) -> Result<Pid, SpawnError>
    where
        F: FnOnce(Process) -> R + Send + 'static,
        R: Future<Output = ProcessResult> + 'static,
    {
        self.spawn_on(self.next_shard(), Some(name), run).wait()
    }

    /// Starts a process on the given shard (modulo their number), with or without a name.
    pub fn spawn_on<F, R>(
        &self,
        shard: usize,
        name: Option<&str>,
        run: F,
    ) -> Reply<Result<Pid, SpawnError>>
    where
        F: FnOnce(Process) -> R + Send + 'static,
        R: Future<Output = ProcessResult> + 'static,
    {
        let (done, reply) = Reply::pair(|| Err(SpawnError::Stopped));
        let name = name.map(str::to_owned);
        let node = self.clone();
        self.run_on(shard % self.shards(), move |shard| {
            let cell = match shard.create(Owner::Task) {
                Ok(cell) => cell,
                Err(error) => {
                    let _ = done.send(Err(error));
                    return;
                }
            };
            let pid = shard.pid(cell.id());
            let Some(name) = name else {
                shard.run(&cell, |process| Box::pin(run(process)));
                let _ = done.send(Ok(pid));
                return;
            };
            let shard = Rc::clone(shard);
            glommio::spawn_local(async move {
                let registered = node.register(&name, cell.id()).await;
                match &registered {
                    Ok(()) => shard.run(&cell, |process| Box::pin(run(process))),
                    Err(_) => shard.discard(&cell),
                }
                let _ = done.send(registered.map(|()| pid));
            })
            .detach();
        });
        reply
    }

    /// A mailbox for this thread or task: a process without a task of its own.
    pub fn mailbox(&self, name: Option<&str>) -> Reply<Result<Mailbox, SpawnError>> {
        let (done, reply) = Reply::pair(|| Err(SpawnError::Stopped));
        let name = name.map(str::to_owned);
        let node = self.clone();
        self.run_on(self.next_shard(), move |shard| {
            let queue = Arc::<ExternalQueue>::default();
            let cell = match shard.create(Owner::External(Arc::clone(&queue))) {
                Ok(cell) => cell,
                Err(error) => {
                    let _ = done.send(Err(error));
                    return;
                }
            };
            let shard = Rc::clone(shard);
            glommio::spawn_local(async move {
                let registered = match name {
                    Some(name) => node.register(&name, cell.id()).await,
                    None => Ok(()),
                };
                if registered.is_err() {
                    shard.discard(&cell);
                }
                let mailbox = registered.map(|()| Mailbox::new(node, cell.id(), queue));
                let _ = done.send(mailbox);
            })
            .detach();
        });
        reply
    }

    pub(crate) fn register(&self, name: &str, process: ProcessId) -> Reply<Result<(), SpawnError>> {
        let name = match Atom::new(name) {
            Ok(atom) if !name.is_empty() && name != "undefined" => atom,
            _ => return Reply::known(Err(SpawnError::BadName(name.to_owned()))),
        };
        let (done, reply) = Reply::pair(|| Err(SpawnError::Stopped));
        self.on_kernel(move |shard| {
            if let Some(kernel) = shard.kernel() {
                kernel.register(name, process, done);
            }
        });
        reply
    }

    /// The process registered under `name` on this node.
    pub fn whereis(&self, name: &str) -> Reply<Option<Pid>> {
        let Ok(name) = Atom::new(name) else { return Reply::known(None) };
        let (done, reply) = Reply::pair(|| None);
        self.on_kernel(move |shard| {
            let _ = done.send(shard.whereis(&name));
        });
        reply
    }

    /// The registered names of this node.
    pub fn registered(&self) -> Reply<Vec<Atom>> {
        let (done, reply) = Reply::pair(Vec::new);
        self.on_kernel(move |shard| {
            let _ = done.send(shard.registered());
        });
        reply
    }

    /// The pids of all processes of this node (Erlang: `processes/0`).
    pub fn processes(&self) -> Reply<Vec<Pid>> {
        self.of_every_shard(|shard| shard.pids(), |all| all.into_iter().flatten().collect())
    }

    /// Sends a message that comes from no process in particular; waits for room and for the
    /// connection.
    ///
    /// # Errors
    /// [`SendError::NoConnection`] when the node cannot be reached, [`SendError::Encode`],
    /// [`SendError::Stopped`].
    pub fn send<T: Serialize + ?Sized>(
        &self,
        to: impl AsDestination,
        message: &T,
    ) -> Reply<Result<(), SendError>> {
        self.send_from(shard::NODE_PROCESS, to.as_destination().into(), message)
    }

    /// Sends bytes as they are; see [`Process::send_bytes`]. They come from no process in
    /// particular.
    ///
    /// # Errors
    /// As [`Node::send`].
    pub fn send_bytes(&self, to: impl AsDestination, bytes: &[u8]) -> Reply<Result<(), SendError>> {
        self.send_encoded(to, Encoded::raw(bytes.to_vec()))
    }

    /// Sends a message that is encoded already and comes from no process in particular; large
    /// pieces of it are never copied.
    ///
    /// # Errors
    /// As [`Node::send`].
    pub fn send_encoded(
        &self,
        to: impl AsDestination,
        message: Encoded,
    ) -> Reply<Result<(), SendError>> {
        self.send_encoded_from(shard::NODE_PROCESS, to.as_destination().into(), message)
    }

    pub(crate) fn send_from<T: Serialize + ?Sized>(
        &self,
        from: ProcessId,
        to: Destination,
        message: &T,
    ) -> Reply<Result<(), SendError>> {
        let encoded = match Encoded::new(message) {
            Ok(encoded) => encoded,
            Err(error) => return Reply::known(Err(error.into())),
        };
        self.send_encoded_from(from, to, encoded)
    }

    pub(crate) fn send_encoded_from(
        &self,
        from: ProcessId,
        to: Destination,
        message: Encoded,
    ) -> Reply<Result<(), SendError>> {
        let (done, reply) = Reply::pair(|| Err(SendError::Stopped));
        self.run_on(usize::from(from.shard), move |shard| {
            shard.send_for(from, to, message, done);
        });
        reply
    }

    pub(crate) fn pid_of(&self, id: ProcessId) -> Pid {
        let identity = self
            .with_alive(|alive| alive.identity.clone())
            .flatten()
            .unwrap_or_else(Identity::nobody);
        id.pid(identity.name, identity.creation)
    }

    pub(crate) fn end_process(&self, id: ProcessId) {
        self.run_on(usize::from(id.shard), move |shard| shard.end_normally(id));
    }
}
