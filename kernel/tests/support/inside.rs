//! Tests that run inside a process, for the parts that have to be on a shard.

use std::sync::mpsc;

use krarup::term::{Atom, Term};
use krarup::{Node, Process, ProcessResult};

use crate::support::PATIENCE;

/// An atom as a term.
pub(crate) fn atom(text: &'static str) -> Term {
    Term::Atom(Atom::from_static(text))
}

/// Runs a test inside a process, for the parts that have to be on a shard, and waits for it.
pub(crate) fn inside<F, R>(node: &Node, shard: usize, run: F)
where
    F: FnOnce(Process) -> R + Send + 'static,
    R: Future<Output = ProcessResult> + 'static,
{
    let (done, finished) = mpsc::channel();
    let guarded = move |me: Process| async move {
        let outcome = run(me).await;
        let _ = done.send(outcome.as_ref().copied().map_err(ToString::to_string));
        outcome
    };
    node.spawn_on(shard, None, guarded).wait().expect("a process");
    finished.recv_timeout(PATIENCE).expect("the test ends without a panic").expect("it passes");
}
