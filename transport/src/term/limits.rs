//! What a term may cost.

/// Bounds on what is accepted from a peer. Each has its own [`DecodeErrorKind`].
///
/// The defaults admit everything OTP can send except absurdities: no OTP limit is lower, apart
/// from depth and memory, which OTP does not bound at all.
///
/// [`DecodeErrorKind`]: super::DecodeErrorKind
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Levels of nesting. Checked in full by [`validate`](super::validate) and by borrowed views;
    /// an owned [`Term`](super::Term) never nests deeper than
    /// [`Term::DEPTH_MAX`](super::Term::DEPTH_MAX), whatever stands here.
    pub depth_max: usize,
    /// Terms in one message, containers and their elements all counted.
    pub nodes_max: usize,
    /// Estimated bytes of memory an owned term may take.
    pub decoded_bytes_max: usize,
    /// Characters of an atom; values above 255 mean 255.
    pub atom_characters_max: usize,
    /// Digit bytes of one integer.
    pub bignum_bytes_max: usize,
    /// Bytes of one binary or bit string.
    pub binary_bytes_max: usize,
    /// Elements of one tuple, list or record, or pairs of one map.
    pub count_max: usize,
}

impl Limits {
    /// The default limits, usable in constants.
    pub const DEFAULT: Self = Self {
        depth_max: 10_000,
        nodes_max: 1 << 26,
        decoded_bytes_max: 1 << 30,
        atom_characters_max: 255,
        // OTP 29: 8 * (2^16 - 1) bytes; OTP 25 still has integers up to 8 * (2^19 - 1).
        bignum_bytes_max: 8 * ((1 << 19) - 1),
        binary_bytes_max: u32::MAX as usize,
        count_max: 1 << 26,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
