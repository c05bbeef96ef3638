//! Atoms as terms: what the messages between processes are made of.

use krarup_transport::term::{Atom, Term};

/// The atom of this name.
pub(crate) fn atom(text: &'static str) -> Term {
    Term::Atom(Atom::from_static(text))
}

/// Whether a term is the atom of this name.
pub(crate) fn is(term: &Term, text: &str) -> bool {
    term.as_atom().is_some_and(|atom| atom.as_str() == text)
}
