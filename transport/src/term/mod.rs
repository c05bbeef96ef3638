//! Erlang's external term format: the bytes every message between nodes is made of.
//!
//! * [`Reader`] and the functions of [`read`] and [`write`](mod@write) handle single items; the
//!   control messages of a connection are read and written with them.

pub mod read;
pub mod tag;
pub mod write;

mod atom;
mod error;
mod identifier;
mod limits;

pub use self::atom::{Atom, AtomTooLong};
pub use self::error::{DecodeError, DecodeErrorKind};
pub use self::identifier::{Creation, Pid, Port, Reference};
pub use self::limits::Limits;
pub use self::read::{
    AtomTable, Reader, Source, read_atom, read_pid, read_port, read_reference, read_tuple_header,
    read_u64,
};
pub use self::write::{
    write_atom, write_binary, write_binary_header, write_byte_list, write_float, write_integer,
    write_list_header, write_map_header, write_nil, write_pid, write_port, write_reference,
    write_tuple_header,
};
