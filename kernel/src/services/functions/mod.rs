//! The functions that a node with stock services offers to every Erlang shell.
//!
//! `erlang`, `net_kernel` and `net_adm`: this node as its administrators see it, with the values of
//! OTP. Of other modules only what nodes ask each other unasked, answered as by a node that does
//! not run them. `krarup`: this node's own.

mod absent;
mod erlang;
mod krarup;
mod net_adm;
mod net_kernel;
mod sockets;

use krarup_transport::term::Term;

use crate::atoms::atom;
use crate::node::Node;
use crate::rpc::Raise;

type Value = Result<Term, Raise>;

/// Registers all of them.
pub(super) fn register(node: &Node) {
    erlang::register(node);
    net_kernel::register(node);
    sockets::register(node);
    net_adm::register(node);
    absent::register(node);
    krarup::register(node);
}

fn own_name(node: &Node) -> Term {
    node.name().map_or_else(|| atom("nonode@nohost"), Term::Atom)
}
