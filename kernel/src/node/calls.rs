//! Calls of servers and functions, and functions for others to call.

use std::future::Future;
use std::time::Duration;

use krarup_transport::term::Atom;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Encoded, Node, Reply, SendError};
use crate::gen_server::{self, CallError};
use crate::process::{AsDestination, Process};
use crate::rpc::{self, Arguments, FromArguments, Functions, Raise, RpcError};

/// Calls of servers and functions, and functions for others to call.
impl Node {
    /// Lets other nodes call a function: by `spawn`, `rpc` and `erpc` of Erlang, and by
    /// [`Process::rpc`] and [`Process::spawn_at`]. Its arity is the number of its arguments, a
    /// tuple; a function of a module, name and arity that is there already is replaced.
    ///
    /// It runs as a process of its own on the shard that was asked.
    ///
    /// ```
    /// # use krarup::{Node, Raise};
    /// # let node = Node::anonymous().shards(1).start().unwrap();
    /// node.register_function("math", "add", |_me, (a, b): (i64, i64)| async move {
    ///     a.checked_add(b).ok_or(Raise::error("system_limit"))
    /// });
    /// # node.stop().wait();
    /// ```
    ///
    /// # Panics
    /// When the arguments are of no certain number; use [`Node::register_function_of`].
    pub fn register_function<A, R, F, Fut>(&self, module: &str, function: &str, run: F)
    where
        A: FromArguments,
        R: Serialize,
        F: Fn(Process, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Raise>> + 'static,
    {
        let arity = A::ARITY.expect("a tuple of arguments has a number of elements");
        self.register_function_of(arity, module, function, run);
    }

    /// As [`Node::register_function`], for arguments that come as a vector of so many terms.
    pub fn register_function_of<A, R, F, Fut>(
        &self,
        arity: usize,
        module: &str,
        function: &str,
        run: F,
    ) where
        A: FromArguments,
        R: Serialize,
        F: Fn(Process, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Raise>> + 'static,
    {
        self.0.functions.insert(rpc::named(module, function, arity), rpc::typed(run));
    }

    /// Whether a function is registered, or any of its module.
    pub(crate) fn has_function(&self, module: &Atom, function: Option<(&Atom, usize)>) -> bool {
        self.0.functions.contains(module, function)
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.0.functions
    }

    /// Calls a server; see [`Process::call`]. The answer is given up when the reply is dropped.
    ///
    /// # Errors
    /// As [`Process::call`].
    pub fn call<T: DeserializeOwned + Send + 'static>(
        &self,
        server: impl AsDestination,
        request: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> Reply<Result<T, CallError>> {
        let to = server.as_destination().into();
        gen_server::call_from_outside(self, to, Encoded::new(request), timeout)
    }

    /// Tells a server something without waiting for an answer; see [`Process::cast`].
    ///
    /// # Errors
    /// As [`Node::send`].
    pub fn cast(
        &self,
        server: impl AsDestination,
        request: &(impl Serialize + ?Sized),
    ) -> Reply<Result<(), SendError>> {
        match gen_server::cast_message(request) {
            Ok(message) => self.send_encoded(server, message),
            Err(error) => Reply::known(Err(error.into())),
        }
    }

    /// Calls a function on a node; see [`Process::rpc`]. The call is given up when the reply is
    /// dropped.
    ///
    /// # Errors
    /// As [`Process::rpc`].
    pub fn rpc<T: DeserializeOwned + Send + 'static>(
        &self,
        node: &str,
        module: &str,
        function: &str,
        arguments: impl Arguments,
        timeout: Duration,
    ) -> Reply<Result<T, RpcError>> {
        let name = rpc::named(module, function, arguments.arity());
        match arguments.to_encoded() {
            Ok(arguments) => rpc::call_from_outside(self, node, name, arguments, timeout),
            Err(error) => Reply::known(Err(error.into())),
        }
    }
}
