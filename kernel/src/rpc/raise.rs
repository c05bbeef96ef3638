//! How a function fails, in Erlang's three classes.

use krarup_transport::term::{Atom, Term};

/// An exception of Erlang, raised by a function that another node called.
///
/// Any error becomes the class `error` with reason `{error, Text}`, so that `?` works.
#[derive(Clone, Debug, PartialEq)]
pub enum Raise {
    /// A program's error (Erlang: `erlang:error/1`).
    Error(Term),
    /// The process wants to end (Erlang: `exit/1`).
    Exit(Term),
    /// A value thrown to whoever catches it (Erlang: `throw/1`).
    Throw(Term),
}

impl Raise {
    /// The class `error` with an atom as its reason, such as `badarg`.
    pub fn error(reason: &'static str) -> Self {
        Raise::Error(Term::Atom(Atom::from_static(reason)))
    }
}

impl<E: std::error::Error> From<E> for Raise {
    fn from(error: E) -> Self {
        let text = Term::Binary(error.to_string().into_bytes().into());
        Raise::Error(Term::Tuple(vec![Term::Atom(Atom::from_static("error")), text]))
    }
}
