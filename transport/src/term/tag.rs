//! The tag bytes of the external term format.
//!
//! OTP: `erts/emulator/beam/external.h` and the "External Term Format" chapter of the ERTS guide.

/// First byte of every stand-alone term.
pub const VERSION: u8 = 131;

/// `RECORD_EXT`: a native record (OTP 29, distribution flag `NATIVE_RECORDS`).
pub const RECORD: u8 = 67;
/// `NEW_FLOAT_EXT`: eight bytes, IEEE 754 binary64.
pub const NEW_FLOAT: u8 = 70;
/// `BIT_BINARY_EXT`: a bit string whose length is not a multiple of eight.
pub const BIT_BINARY: u8 = 77;
/// `COMPRESSED`: a deflated term; refused everywhere.
pub const COMPRESSED: u8 = 80;
/// `ATOM_CACHE_REF`: an entry of the distribution header's atom table.
pub const ATOM_CACHE_REF: u8 = 82;
/// `NEW_PID_EXT`.
pub const NEW_PID: u8 = 88;
/// `NEW_PORT_EXT`: a port with a 32-bit number (sent by OTP 25).
pub const NEW_PORT: u8 = 89;
/// `NEWER_REFERENCE_EXT`.
pub const NEWER_REFERENCE: u8 = 90;
/// `SMALL_INTEGER_EXT`: 0..=255.
pub const SMALL_INTEGER: u8 = 97;
/// `INTEGER_EXT`: 32 bits, signed.
pub const INTEGER: u8 = 98;
/// `FLOAT_EXT`: 31 bytes of text, legacy.
pub const FLOAT: u8 = 99;
/// `ATOM_EXT`: Latin-1 with a 16-bit length, legacy.
pub const ATOM: u8 = 100;
/// `REFERENCE_EXT`: one word, legacy.
pub const REFERENCE: u8 = 101;
/// `PORT_EXT`: 8-bit creation, legacy.
pub const PORT: u8 = 102;
/// `PID_EXT`: 8-bit creation, legacy.
pub const PID: u8 = 103;
/// `SMALL_TUPLE_EXT`: arity in one byte.
pub const SMALL_TUPLE: u8 = 104;
/// `LARGE_TUPLE_EXT`: arity in four bytes.
pub const LARGE_TUPLE: u8 = 105;
/// `NIL_EXT`: the empty list.
pub const NIL: u8 = 106;
/// `STRING_EXT`: a list of bytes.
pub const STRING: u8 = 107;
/// `LIST_EXT`: elements, then the tail.
pub const LIST: u8 = 108;
/// `BINARY_EXT`.
pub const BINARY: u8 = 109;
/// `SMALL_BIG_EXT`: at most 255 digit bytes.
pub const SMALL_BIG: u8 = 110;
/// `LARGE_BIG_EXT`.
pub const LARGE_BIG: u8 = 111;
/// `NEW_FUN_EXT`: a closure.
pub const NEW_FUN: u8 = 112;
/// `EXPORT_EXT`: `fun M:F/A`.
pub const EXPORT: u8 = 113;
/// `NEW_REFERENCE_EXT`: 8-bit creation, legacy.
pub const NEW_REFERENCE: u8 = 114;
/// `SMALL_ATOM_EXT`: Latin-1 with an 8-bit length, legacy.
pub const SMALL_ATOM: u8 = 115;
/// `MAP_EXT`.
pub const MAP: u8 = 116;
/// `FUN_EXT`: removed in OTP 23; refused.
pub const FUN: u8 = 117;
/// `ATOM_UTF8_EXT`: 16-bit length.
pub const ATOM_UTF8: u8 = 118;
/// `SMALL_ATOM_UTF8_EXT`: 8-bit length.
pub const SMALL_ATOM_UTF8: u8 = 119;
/// `V4_PORT_EXT`: a port with a 64-bit number.
pub const V4_PORT: u8 = 120;
/// `LOCAL_EXT`: only readable by the node that wrote it; refused.
pub const LOCAL: u8 = 121;

/// Every byte as a term, which is what an element of a string stands for.
pub(super) static SMALL_INTEGERS: [[u8; 2]; 256] = {
    let mut terms = [[SMALL_INTEGER, 0]; 256];
    let mut byte = 0;
    while byte < 256 {
        terms[byte][1] = byte as u8;
        byte += 1;
    }
    terms
};

/// The name of a tag as OTP spells it, for error messages.
#[must_use]
pub fn name(tag: u8) -> &'static str {
    match tag {
        RECORD => "RECORD_EXT",
        NEW_FLOAT => "NEW_FLOAT_EXT",
        BIT_BINARY => "BIT_BINARY_EXT",
        COMPRESSED => "COMPRESSED",
        ATOM_CACHE_REF => "ATOM_CACHE_REF",
        NEW_PID => "NEW_PID_EXT",
        NEW_PORT => "NEW_PORT_EXT",
        NEWER_REFERENCE => "NEWER_REFERENCE_EXT",
        SMALL_INTEGER => "SMALL_INTEGER_EXT",
        INTEGER => "INTEGER_EXT",
        FLOAT => "FLOAT_EXT",
        ATOM => "ATOM_EXT",
        REFERENCE => "REFERENCE_EXT",
        PORT => "PORT_EXT",
        PID => "PID_EXT",
        SMALL_TUPLE => "SMALL_TUPLE_EXT",
        LARGE_TUPLE => "LARGE_TUPLE_EXT",
        NIL => "NIL_EXT",
        STRING => "STRING_EXT",
        LIST => "LIST_EXT",
        BINARY => "BINARY_EXT",
        SMALL_BIG => "SMALL_BIG_EXT",
        LARGE_BIG => "LARGE_BIG_EXT",
        NEW_FUN => "NEW_FUN_EXT",
        EXPORT => "EXPORT_EXT",
        NEW_REFERENCE => "NEW_REFERENCE_EXT",
        SMALL_ATOM => "SMALL_ATOM_EXT",
        MAP => "MAP_EXT",
        FUN => "FUN_EXT",
        ATOM_UTF8 => "ATOM_UTF8_EXT",
        SMALL_ATOM_UTF8 => "SMALL_ATOM_UTF8_EXT",
        V4_PORT => "V4_PORT_EXT",
        LOCAL => "LOCAL_EXT",
        VERSION => "the version byte",
        _ => "unknown",
    }
}
