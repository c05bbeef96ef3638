//! Terms as text: printed as Erlang prints them, and read as Erlang reads them.

mod binary;
mod parse;
mod pretty;
mod print;
mod scan;

pub use self::parse::{ParseError, ParseErrorKind};
pub use self::pretty::Pretty;
pub use self::print::Written;

#[cfg(test)]
mod tests;
