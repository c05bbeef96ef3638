//! What the ends of Rust processes are to Erlang.

use std::any::Any;
use std::error::Error;

use krarup_transport::term::{Atom, Term};

use super::ExitReason;

/// The reason that an error of a process stands for: its own if it has one.
pub(crate) fn error_reason(error: Box<dyn Error>) -> Term {
    match error.downcast::<ExitReason>() {
        Ok(exit) => exit.0,
        Err(error) => text_reason("error", &error.to_string()),
    }
}

/// `{error, Text}` and `{panic, Text}`.
fn text_reason(kind: &'static str, text: &str) -> Term {
    let text = Term::Binary(text.as_bytes().to_vec().into());
    Term::Tuple(vec![Term::Atom(Atom::from_static(kind)), text])
}

/// The reason that a panic stands for.
pub(crate) fn panic_reason(panic: &(dyn Any + Send)) -> Term {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned());
    text_reason("panic", &text)
}
