//! Erlang's external term format: the bytes every message between nodes is made of.
//!
//! * [`Reader`] and the functions of [`read`] and [`write`](mod@write) handle single items; the
//!   control messages of a connection are read and written with them.
//! * [`Term`] is any term, owned; [`Term::decode`] and [`Term::encode`] convert it,
//!   [`decode_parts`] reads one that came in fragments, [`Term::encode_gather`] writes one without
//!   copying its big binaries.
//! * [`TermRef`] shows a term where it lies in the received bytes, without allocating.
//! * [`term!`](macro@crate::term) writes a term in the source, nearly as in Erlang.
//! * `Display` and `FromStr` of [`Term`] print and read terms as Erlang does.
//! * [`to_bytes`] and [`from_bytes`] convert Rust types by way of serde.
//! * [`validate`] checks a received term without building it; [`Validator`] does so piece by piece.

pub mod read;
pub mod tag;
pub mod write;

mod ascii;
mod atom;
mod convert;
mod decode;
mod encode;
mod error;
mod identifier;
mod integer;
mod keys;
mod limits;
mod macros;
mod order;
mod owned;
mod parts;
mod quick;
mod room;
mod skip;
mod small_text;
mod text;
mod validate;
mod validator;
mod view;

pub use self::atom::{Atom, AtomTooLong};
pub use self::convert::{
    ConvertError, ConvertErrorKind, from_bytes, from_raw, from_term, to_bytes, to_term,
};
pub use self::decode::decode_parts;
pub use self::encode::Gather;
pub use self::error::{DecodeError, DecodeErrorKind};
pub use self::identifier::{Creation, Pid, Port, Reference};
pub use self::integer::BigInteger;
pub use self::limits::Limits;
pub use self::owned::{BitString, DuplicateKey, Export, Fun, Map, Record, Term};
pub use self::read::{
    AtomTable, Reader, Source, read_atom, read_pid, read_port, read_reference, read_tuple_header,
    read_u64,
};
pub use self::text::{ParseError, ParseErrorKind, Pretty, Written};
pub use self::validate::{Validated, validate, validate_with};
pub use self::validator::{Progress, Validator};
pub use self::view::{
    BigIntegerRef, BitStringRef, Elements, ListItems, ListRef, MapRef, Pairs, PidRef, PortRef,
    Preorder, ReferenceRef, TermKind, TermRef, TupleRef,
};
pub use self::write::{
    write_atom, write_binary, write_binary_header, write_byte_list, write_float, write_integer,
    write_list_header, write_map_header, write_nil, write_pid, write_port, write_reference,
    write_tuple_header,
};

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
