//! The functions that a node with stock services offers to every Erlang shell.
//!
//! `erlang`, `net_kernel` and `net_adm`: this node as its administrators see it, with the values of
//! OTP. Of other modules only what nodes ask each other unasked, answered as by a node that does
//! not run them. `krarup`: this node's own.

mod absent;
mod erlang;
mod krarup;
pub(super) mod life;
mod membership;
mod net_adm;
mod net_kernel;
mod sockets;
mod ticks;
mod turns;

use krarup_transport::term::Term;

use crate::atoms::atom;
use crate::node::Node;
use crate::rpc::Raise;

type Value = Result<Term, Raise>;

/// Registers all of them.
pub(super) fn register(node: &Node) {
    erlang::register(node);
    membership::register(node);
    net_kernel::register(node);
    life::register(node);
    ticks::register(node);
    sockets::register(node);
    net_adm::register(node);
    absent::register(node);
    krarup::register(node);
}

/// What `net_kernel` of OTP answers while there is none, because the node is not alive.
fn ignored(node: &Node) -> Option<Term> {
    (!node.is_alive()).then(|| atom("ignored"))
}

fn own_name(node: &Node) -> Term {
    node.name().map_or_else(|| atom("nonode@nohost"), Term::Atom)
}
