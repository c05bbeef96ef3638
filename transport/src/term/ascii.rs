//! Telling ASCII from other text, for names, which are short.
//!
//! Nearly every atom is ASCII of a few bytes. The standard library's check is made for long text
//! and takes longer over a name than everything else about the term.

/// The longest text that [`is_short_ascii`] takes.
pub(super) const SHORT_BYTES_MAX: usize = 16;

/// The highest bit of each of the first so many bytes.
static HIGH: [u128; SHORT_BYTES_MAX + 1] = {
    let mut high = [0; SHORT_BYTES_MAX + 1];
    let mut length = 1;
    while length <= SHORT_BYTES_MAX {
        high[length] = high[length - 1] << 8 | 0x80;
        length += 1;
    }
    high
};

/// Whether the first `length` of these bytes are ASCII.
#[inline]
pub(super) fn is_short_ascii(bytes: &[u8; SHORT_BYTES_MAX], length: usize) -> bool {
    u128::from_le_bytes(*bytes) & HIGH[length] == 0
}

/// Whether all bytes are ASCII.
#[inline]
pub(super) fn is_ascii(bytes: &[u8]) -> bool {
    // Two looks that overlap serve every length between one and two words.
    const HIGH: u64 = 0x8080_8080_8080_8080;
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        let ends = u64::from_ne_bytes(*first) | u64::from_ne_bytes(*last);
        return ends & HIGH == 0 && (bytes.len() <= 16 || is_long_ascii(bytes));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let ends = u32::from_ne_bytes(*first) | u32::from_ne_bytes(*last);
        return ends & HIGH as u32 == 0;
    }
    bytes.iter().fold(0, |all, byte| all | byte) < 0x80
}

/// Out of line, as callers are many and long names few.
#[inline(never)]
fn is_long_ascii(bytes: &[u8]) -> bool {
    bytes.is_ascii()
}

/// As [`str::from_utf8`], quick about short ASCII.
#[inline]
#[allow(unsafe_code)]
pub(super) fn text(bytes: &[u8]) -> Option<&str> {
    if is_ascii(bytes) {
        // SAFETY: every byte is below 0x80, and such a byte is a character by itself.
        return Some(unsafe { str::from_utf8_unchecked(bytes) });
    }
    other_text(bytes)
}

#[cold]
fn other_text(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_the_standard_library_takes_for_it() {
        for length in 0..40 {
            let ascii = vec![b'a'; length];
            assert_eq!(text(&ascii), str::from_utf8(&ascii).ok());
            for at in 0..length {
                for byte in [0x7f, 0x80, 0xc3, 0xff] {
                    let mut bytes = ascii.clone();
                    bytes[at] = byte;
                    assert_eq!(is_ascii(&bytes), bytes.is_ascii(), "{bytes:?}");
                    assert_eq!(text(&bytes), str::from_utf8(&bytes).ok());
                    let mut long = [0xff; SHORT_BYTES_MAX];
                    if let Some(start) = long.get_mut(..length) {
                        start.copy_from_slice(&bytes);
                        assert_eq!(is_short_ascii(&long, length), bytes.is_ascii(), "{bytes:?}");
                    }
                }
            }
        }
        assert_eq!(text("größe über alles, und noch mehr".as_bytes()).map(str::len), Some(34));
    }
}
