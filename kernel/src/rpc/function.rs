//! The functions of a node that others may call.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use krarup_transport::term::{Atom, Term, to_term};
use serde::Serialize;

use super::{FromArguments, Raise};
use crate::process::Process;

/// What a function gives back once it has run.
pub(crate) type Outcome = Pin<Box<dyn Future<Output = Result<Term, Raise>>>>;

/// A function that can be called on any shard.
pub(crate) type Function = Arc<dyn Fn(Process, Vec<Term>) -> Outcome + Send + Sync>;

/// Module, function and arity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FunctionName {
    pub(crate) module: Atom,
    pub(crate) function: Atom,
    pub(crate) arity: usize,
}

/// All functions of a node. Written seldom, read when another node asks for a process.
#[derive(Clone, Default)]
pub(crate) struct Functions(Arc<RwLock<HashMap<FunctionName, Function>>>);

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let functions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(functions.keys()).finish()
    }
}

impl Functions {
    pub(crate) fn insert(&self, name: FunctionName, function: Function) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name, function);
    }

    pub(crate) fn find(&self, name: &FunctionName) -> Option<Function> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Whether a function is there, or any of its module.
    pub(crate) fn contains(&self, module: &Atom, function: Option<(&Atom, usize)>) -> bool {
        let functions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        functions.keys().any(|name| {
            name.module == *module
                && function.is_none_or(|(function, arity)| {
                    name.function == *function && name.arity == arity
                })
        })
    }
}

/// A Rust function with typed arguments, as others call it.
pub(crate) fn typed<A, R, F, Fut>(run: F) -> Function
where
    A: FromArguments,
    R: Serialize,
    F: Fn(Process, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, Raise>> + 'static,
{
    Arc::new(move |me, arguments| {
        let running = A::from_arguments(arguments).map(|arguments| run(me, arguments));
        Box::pin(async move {
            let value = running?.await?;
            to_term(&value).map_err(Raise::from)
        })
    })
}
