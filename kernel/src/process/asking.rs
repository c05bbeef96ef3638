//! What a process asks of others: calls of servers, functions and processes on other nodes.

use std::time::Duration;

use futures_util::future::join_all;
use krarup_transport::term::{Atom, Pid, Reference};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{AsDestination, Process};
use crate::gen_server::{Call, CallError, MultiCall, cast_message};
use crate::node::SendError;
use crate::rpc::{self, Arguments, RpcError, SpawnAtError};

impl Process {
    /// Calls a server and waits for its answer, at most for `timeout` (Erlang:
    /// `gen_server:call/3`). [`Duration::MAX`] waits for ever.
    ///
    /// Dropping the future gives the call up. A late answer never reaches the mailbox.
    ///
    /// # Errors
    /// [`CallError`]: there is no such server, no connection, it ended, or took too long.
    pub async fn call<T: DeserializeOwned>(
        &self,
        server: impl AsDestination,
        request: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> Result<T, CallError> {
        let call = self.send_request(server, request);
        rpc::within(timeout, call).await.unwrap_or(Err(CallError::Timeout))
    }

    /// Sends a call to a server; the answer is waited for later (Erlang:
    /// `gen_server:send_request/2`).
    pub fn send_request<T: DeserializeOwned>(
        &self,
        server: impl AsDestination,
        request: &(impl Serialize + ?Sized),
    ) -> Call<'_, T> {
        Call::begin(self, server.as_destination().into(), request)
    }

    /// Calls the servers of one name on several nodes at once (Erlang: `gen_server:multi_call/4`).
    pub async fn multi_call<T: DeserializeOwned>(
        &self,
        nodes: &[Atom],
        name: &str,
        request: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> MultiCall<T> {
        let calls = nodes.iter().map(|node| self.send_request::<T>((name, node.as_str()), request));
        let calls = calls.map(|call| rpc::within(timeout, call));
        let mut all = MultiCall { replies: Vec::new(), bad_nodes: Vec::new() };
        for (node, answer) in nodes.iter().zip(join_all(calls).await) {
            match answer.unwrap_or(Err(CallError::Timeout)) {
                Ok(reply) => all.replies.push((node.clone(), reply)),
                Err(error) => all.bad_nodes.push((node.clone(), error)),
            }
        }
        all
    }

    /// Tells a server something without waiting for an answer (Erlang: `gen_server:cast/2`).
    ///
    /// # Errors
    /// As [`Process::send`].
    pub async fn cast(
        &self,
        server: impl AsDestination,
        request: &(impl Serialize + ?Sized),
    ) -> Result<(), SendError> {
        self.send_encoded(server, cast_message(request)?).await
    }

    /// Calls a function on a node, this one included (Erlang: `erpc:call/5`). The value is read
    /// into `T`; [`Term`](krarup_transport::term::Term) takes any.
    ///
    /// Dropping the future gives the call up; the function may run on.
    ///
    /// # Errors
    /// [`RpcError`]: what the function raised, or why it was not called.
    pub async fn rpc<T: DeserializeOwned>(
        &self,
        node: &str,
        module: &str,
        function: &str,
        arguments: impl Arguments,
        timeout: Duration,
    ) -> Result<T, RpcError> {
        let name = rpc::named(module, function, arguments.arity());
        rpc::call(self, node, name, arguments.to_encoded()?, timeout).await
    }

    /// Calls a function on several nodes at once (Erlang: `erpc:multicall/5`); the results are in
    /// the order of the nodes.
    pub async fn rpc_multicall<T: DeserializeOwned>(
        &self,
        nodes: &[Atom],
        module: &str,
        function: &str,
        arguments: impl Arguments,
        timeout: Duration,
    ) -> Vec<Result<T, RpcError>> {
        let arguments = &arguments;
        let calls =
            nodes.iter().map(|node| self.rpc(node.as_str(), module, function, arguments, timeout));
        join_all(calls).await
    }

    /// Calls a function on a node without waiting for what comes of it (Erlang: `erpc:cast/4`).
    ///
    /// # Errors
    /// When the arguments have no external form.
    pub fn rpc_cast(
        &self,
        node: &str,
        module: &str,
        function: &str,
        arguments: impl Arguments,
    ) -> Result<(), RpcError> {
        let name = rpc::named(module, function, arguments.arity());
        rpc::cast(self, node, &name, &arguments.to_encoded()?);
        Ok(())
    }

    /// Starts a process on a node that runs a function there (Erlang: `spawn/4`): on an Erlang node
    /// any, on a Krarup node one that it registered.
    ///
    /// # Errors
    /// [`SpawnAtError`]. That there is no such function is none: the process then ends with
    /// `undef`.
    pub async fn spawn_at(
        &self,
        node: &str,
        module: &str,
        function: &str,
        arguments: impl Arguments,
    ) -> Result<Pid, SpawnAtError> {
        let ties = rpc::Ties::default();
        Ok(rpc::spawn_at(self, node, module, function, &arguments, ties).await?.pid)
    }

    /// As [`Process::spawn_at`], linked to this process (Erlang: `spawn_link/4`).
    ///
    /// # Errors
    /// As [`Process::spawn_at`].
    pub async fn spawn_link_at(
        &self,
        node: &str,
        module: &str,
        function: &str,
        arguments: impl Arguments,
    ) -> Result<Pid, SpawnAtError> {
        let ties = rpc::Ties { link: true, monitor: false };
        Ok(rpc::spawn_at(self, node, module, function, &arguments, ties).await?.pid)
    }

    /// As [`Process::spawn_at`], monitored by this process (Erlang: `spawn_monitor/4`).
    ///
    /// # Errors
    /// As [`Process::spawn_at`].
    pub async fn spawn_monitor_at(
        &self,
        node: &str,
        module: &str,
        function: &str,
        arguments: impl Arguments,
    ) -> Result<(Pid, Reference), SpawnAtError> {
        let ties = rpc::Ties { link: false, monitor: true };
        let started = rpc::spawn_at(self, node, module, function, &arguments, ties).await?;
        Ok((started.pid, started.monitor))
    }
}
