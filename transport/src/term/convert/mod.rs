//! Rust values to terms and back, through serde.
//!
//! | Rust | written as | also read from |
//! |---|---|---|
//! | integers up to 128 bits | integer | |
//! | `f32`, `f64` | float; NaN and infinities are errors | integer |
//! | `bool` | atom `true`, `false` | |
//! | `char` | integer (`$c`) | text of one character |
//! | `str`, `String` | binary in UTF-8 | list of characters, atom |
//! | bytes (`serde_bytes`, `Bytes`) | binary | list of bytes |
//! | `None` | atom `undefined` | atom `nil` |
//! | `Some(x)` | x | |
//! | `()` | atom `ok` | `undefined`, `nil`, `{}` |
//! | unit struct | atom of its name | |
//! | newtype struct | what it contains | |
//! | tuple, array, tuple struct | tuple | |
//! | sequence | list | |
//! | map | map | |
//! | struct | map with atom keys | binary keys; unknown keys are ignored |
//! | unit variant | atom | |
//! | newtype variant | `{variant, X}` | |
//! | tuple variant | `{variant, X, Y, …}` | |
//! | struct variant | `{variant, #{field => X, …}}` | |
//! | [`Atom`], [`Pid`], [`Port`], [`Reference`], [`Term`] | themselves | |
//!
//! Names are taken as they are; `#[serde(rename_all = "snake_case")]` makes them look like
//! Erlang's. Borrowed `&str` and `&[u8]` point into the message. `Option<Atom>` cannot tell
//! `Some(undefined)` from `None`. Untagged enums and flattened fields see atoms as text and
//! identifiers as bytes (so a variant for text belongs behind one for pids), and cannot contain
//! tagged tuples.

mod access;
mod de;
mod identity;
mod raw;
mod ser;

use std::fmt;

use serde::de::{Deserialize, DeserializeOwned};
use serde::ser::Serialize;

pub use raw::from_raw;

use super::read::{AtomTable, Reader};
use super::{DecodeError, DecodeErrorKind, Limits, Term};

/// Why a Rust value could not become a term, or a term not the Rust value.
///
/// One word, as every result on the way through serde has to have room for it.
#[derive(Clone, PartialEq, Eq)]
pub struct ConvertError(Box<ConvertErrorKind>);

/// What is wrong with a Rust value or a term.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConvertErrorKind {
    /// The bytes are no legal term.
    Decode(DecodeError),
    /// The term is legal, but another one is needed.
    Unexpected {
        /// What is needed.
        expected: &'static str,
        /// What came: the name of its tag.
        came: &'static str,
        /// Offset in bytes of the term.
        position: usize,
    },
    /// A float that Erlang does not have.
    NotAFiniteFloat,
    /// An atom of more than 255 characters.
    AtomTooLong,
    /// A map with keys that become the same term.
    DuplicateKey,
    /// What the type itself complained about.
    Message(String),
}

impl ConvertError {
    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &ConvertErrorKind {
        &self.0
    }
}

impl fmt::Debug for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for ConvertErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => fmt::Display::fmt(error, f),
            Self::Unexpected { expected, came, position } => {
                write!(f, "expected {expected}, came {came} at byte {position}")
            }
            Self::NotAFiniteFloat => f.write_str("Erlang has no NaN and no infinite floats"),
            Self::AtomTooLong => f.write_str("an atom has at most 255 characters"),
            Self::DuplicateKey => f.write_str("the map has the same key twice"),
            Self::Message(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ConvertError {}

impl From<ConvertErrorKind> for ConvertError {
    #[cold]
    fn from(kind: ConvertErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

impl From<DecodeError> for ConvertError {
    #[cold]
    fn from(error: DecodeError) -> Self {
        ConvertErrorKind::Decode(error).into()
    }
}

impl serde::ser::Error for ConvertError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        ConvertErrorKind::Message(message.to_string()).into()
    }
}

impl serde::de::Error for ConvertError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        ConvertErrorKind::Message(message.to_string()).into()
    }
}

/// Appends a value as an external term, without a version byte. Types become terms as the table
/// in `term::convert` says: text and bytes binaries, structs maps with atom keys, enum variants
/// atoms or tagged tuples.
///
/// # Errors
/// When the value has no form as a term; `out` is as it was before.
pub fn to_bytes<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), ConvertError> {
    let start = out.len();
    let result = value.serialize(ser::Serializer::new(out));
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Reads a value straight from the bytes of one external term (without a version byte), which may
/// refer to `atoms`. Borrowed text and bytes point into `bytes`.
///
/// The term is checked as far as it is read. What the type ignores is only passed over, so bytes
/// of unknown origin should be [validated](super::validate) first; a connection does that.
///
/// # Errors
/// When the bytes are no legal term, the term does not fit the type, or bytes are left over.
pub fn from_bytes<'de, T: Deserialize<'de>, A: AtomTable + ?Sized>(
    bytes: &'de [u8],
    atoms: &A,
    limits: &Limits,
) -> Result<T, ConvertError> {
    let mut deserializer = de::Deserializer::new(Reader::new(bytes), atoms, limits);
    // Given back as it is: a value that was just put together is not moved without need.
    let result = T::deserialize(&mut deserializer);
    let reader = deserializer.reader;
    match reader.remaining() {
        left @ 1.. if result.is_ok() => {
            Err(DecodeError::new(reader.position(), DecodeErrorKind::TrailingBytes(left)).into())
        }
        _ => result,
    }
}

/// Turns a value into an owned term, by the rules of [`to_bytes`].
///
/// # Errors
/// When the value has no form as a term, or is nested deeper than [`Term::DEPTH_MAX`].
pub fn to_term<T: Serialize + ?Sized>(value: &T) -> Result<Term, ConvertError> {
    let mut bytes = Vec::new();
    to_bytes(value, &mut bytes)?;
    let (term, _) = Term::decode(&bytes, &(), &Limits::DEFAULT)?;
    Ok(term)
}

/// Turns an owned term into a value, by the rules of [`from_bytes`].
///
/// # Errors
/// When the term does not fit the type.
pub fn from_term<T: DeserializeOwned>(term: &Term) -> Result<T, ConvertError> {
    let mut bytes = Vec::new();
    term.encode(&mut bytes);
    from_bytes(&bytes, &(), &Limits::DEFAULT)
}

/// The name by which [`Atom`](super::Atom) makes itself known to the (de)serializer here: its
/// content is a string.
const ATOM: &str = "$krarup.atom";

/// The name by which other terms do: their content is the bytes of an external term.
const TERM: &str = "$krarup.term";

#[cfg(test)]
mod tests;
