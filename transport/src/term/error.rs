//! Why bytes are not a term.

use std::fmt;

use super::tag;

/// Why bytes could not be read as an external term, and where.
///
/// The bytes came from the peer, so this is the peer's fault (or a limit of ours that its message
/// exceeds); the reader's state after an error is unspecified, the bytes are untouched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Offset in bytes from the start of the input at which the offending item begins.
    pub position: usize,
    /// What is wrong there.
    pub kind: DecodeErrorKind,
}

/// What is wrong with the bytes of a term.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The input ends inside an item.
    Truncated {
        /// Bytes the item needs.
        needed: usize,
        /// Bytes there are.
        remaining: usize,
    },
    /// A declared element count cannot fit into the bytes that follow (every element takes at
    /// least one).
    CountBeyondInput {
        /// Elements declared, values and keys counted separately.
        count: u64,
        /// Bytes there are.
        remaining: usize,
    },
    /// A tag byte the format does not know.
    UnknownTag(u8),
    /// A tag byte the format knows but that must not occur here: `COMPRESSED`, `LOCAL_EXT`,
    /// `FUN_EXT`, a nested version byte, or one of the emulator's internal tags.
    ForbiddenTag(u8),
    /// Another kind of term is required here.
    Unexpected {
        /// What is required.
        expected: &'static str,
        /// The tag found.
        tag: u8,
    },
    /// A stand-alone term does not start with the version byte 131.
    MissingVersion(u8),
    /// Bytes follow a stand-alone term.
    TrailingBytes(usize),
    /// The text of an atom is not UTF-8.
    AtomNotUtf8,
    /// An atom has more than 255 characters, or more than the limit set.
    AtomTooLong {
        /// Characters allowed.
        characters_max: usize,
    },
    /// An atom cache reference has no entry in the header's table.
    UnknownAtomReference(u8),
    /// A reference has no words, or more than five.
    ReferenceWords(u16),
    /// A float is NaN, infinite, or (in the legacy text form) not a number.
    NotAFiniteFloat,
    /// An integer is outside the range the caller can hold.
    IntegerOutOfRange,
    /// A bit string's last byte claims 0 or more than 8 bits, or there is no last byte.
    BitCount(u8),
    /// A map contains the same key twice.
    DuplicateKey,
    /// A native record names the same field twice.
    DuplicateField,
    /// The flags byte of a native record is neither 0 nor 1.
    RecordFlags(u8),
    /// A closure declares more than 255 free variables.
    FunFreeVariables(u32),
    /// Terms are nested deeper than the limit.
    TooDeep {
        /// Levels allowed.
        depth_max: usize,
    },
    /// The message consists of more terms than the limit.
    TooManyTerms {
        /// Terms allowed.
        nodes_max: usize,
    },
    /// Holding the decoded term would take more memory than the limit.
    TooMuchMemory {
        /// Bytes allowed.
        decoded_bytes_max: usize,
    },
    /// A tuple, list, map or record declares more elements than the limit.
    CountTooLarge {
        /// Elements declared.
        count: u64,
        /// Elements allowed.
        count_max: u64,
    },
    /// An integer has more digit bytes than the limit.
    IntegerTooLarge {
        /// Digit bytes declared.
        bytes: u64,
        /// Digit bytes allowed.
        bytes_max: u64,
    },
    /// A binary or bit string is longer than the limit.
    BinaryTooLarge {
        /// Bytes declared.
        bytes: u64,
        /// Bytes allowed.
        bytes_max: u64,
    },
}

impl DecodeError {
    /// An error of this kind at this offset.
    #[must_use]
    pub fn new(position: usize, kind: DecodeErrorKind) -> Self {
        Self { position, kind }
    }

    /// Whether more input could make the bytes a term.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        matches!(self.kind, DecodeErrorKind::Truncated { .. })
    }

    /// Whether the bytes are legal and only a configured limit refuses them.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(
            self.kind,
            DecodeErrorKind::TooDeep { .. }
                | DecodeErrorKind::TooManyTerms { .. }
                | DecodeErrorKind::TooMuchMemory { .. }
                | DecodeErrorKind::CountTooLarge { .. }
                | DecodeErrorKind::IntegerTooLarge { .. }
                | DecodeErrorKind::BinaryTooLarge { .. }
        )
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind, self.position)
    }
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { needed, remaining } => {
                write!(f, "the term ends early: {needed} bytes needed, {remaining} there")
            }
            Self::CountBeyondInput { count, remaining } => {
                write!(f, "{count} elements declared, but only {remaining} bytes follow")
            }
            Self::UnknownTag(tag) => write!(f, "unknown tag {tag}"),
            Self::ForbiddenTag(tag) => {
                write!(f, "tag {tag} ({}) is not allowed here", tag::name(tag))
            }
            Self::Unexpected { expected, tag } => {
                write!(f, "expected {expected}, came tag {tag} ({})", tag::name(tag))
            }
            Self::MissingVersion(byte) => {
                write!(f, "a stand-alone term starts with 131, came {byte}")
            }
            Self::TrailingBytes(count) => write!(f, "{count} bytes after the end of the term"),
            Self::AtomNotUtf8 => write!(f, "an atom is not valid UTF-8"),
            Self::AtomTooLong { characters_max } => {
                write!(f, "an atom is longer than {characters_max} characters")
            }
            Self::UnknownAtomReference(index) => {
                write!(f, "atom cache reference {index} has no entry in this message's header")
            }
            Self::ReferenceWords(words) => {
                write!(f, "a reference has 1 to 5 words, came {words}")
            }
            Self::NotAFiniteFloat => write!(f, "a float is not a finite number"),
            Self::IntegerOutOfRange => write!(f, "an integer is out of range"),
            Self::BitCount(bits) => {
                write!(f, "the last byte of a bit string holds 1 to 8 bits, came {bits}")
            }
            Self::DuplicateKey => write!(f, "a map has the same key twice"),
            Self::DuplicateField => write!(f, "a record has the same field twice"),
            Self::RecordFlags(flags) => write!(f, "record flags are 0 or 1, came {flags}"),
            Self::FunFreeVariables(count) => {
                write!(f, "a fun has at most 255 free variables, came {count}")
            }
            Self::TooDeep { depth_max } => {
                write!(f, "terms are nested deeper than depth_max = {depth_max}")
            }
            Self::TooManyTerms { nodes_max } => {
                write!(f, "the message has more terms than nodes_max = {nodes_max}")
            }
            Self::TooMuchMemory { decoded_bytes_max } => {
                write!(f, "the decoded term exceeds decoded_bytes_max = {decoded_bytes_max}")
            }
            Self::CountTooLarge { count, count_max } => {
                write!(f, "{count} elements declared, count_max = {count_max}")
            }
            Self::IntegerTooLarge { bytes, bytes_max } => {
                write!(f, "an integer of {bytes} bytes, bignum_bytes_max = {bytes_max}")
            }
            Self::BinaryTooLarge { bytes, bytes_max } => {
                write!(f, "a binary of {bytes} bytes, binary_bytes_max = {bytes_max}")
            }
        }
    }
}

impl std::error::Error for DecodeError {}
