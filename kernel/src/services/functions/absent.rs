//! What nodes ask each other without being told to, and what their shells and tools look for, of
//! applications that do not run here.

use krarup_transport::term::{Atom, Term};

use crate::atoms::atom;
use crate::node::Node;

/// Answers as a node that does not run them.
pub(super) fn register(node: &Node) {
    node.register_function("application", "which_applications", |_, ()| async move {
        Ok(Term::List(Vec::new()))
    });
    node.register_function("code", "ensure_loaded", |me, (module,): (Atom,)| async move {
        Ok(if me.node().has_function(&module, None) {
            Term::Tuple(vec![atom("module"), Term::Atom(module)])
        } else {
            Term::Tuple(vec![atom("error"), atom("nofile")])
        })
    });
    node.register_function(
        "code",
        "which",
        |_, (_,): (Atom,)| async move { Ok(atom("non_existing")) },
    );
    node.register_function("code", "is_loaded", |_, (_,): (Atom,)| async move { Ok(false) });
    // Of a node in no group; itself it would be in one of its own.
    node.register_function("global_group", "get_own_nodes", |_, ()| async move {
        Ok(Term::List(Vec::new()))
    });
    node.register_function("global", "whereis_name", |_, (_,): (Term,)| async move {
        Ok(atom("undefined"))
    });
    node.register_function("global", "registered_names", |_, ()| async move {
        Ok(Term::List(Vec::new()))
    });
}
