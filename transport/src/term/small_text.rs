//! Text of which nearly all is short: 23 bytes in place, longer text shared by reference count.
//!
//! Names are made and dropped with every message, so making one takes a few instructions: the text
//! is put together in registers, in three words. Built byte by byte, it would still be on its way
//! to memory when the whole is moved on, and each such move waits for it.

// Text in place beside a pointer cannot be expressed without unsafe; nothing but `&str` goes in or
// comes out.
#![allow(unsafe_code)]

use std::sync::Arc;

/// Bytes kept in place at most.
const INLINE_BYTES_MAX: usize = 23;

/// An immutable text that is cheap to clone.
///
/// Of text in place, `head` and `tail` together are the bytes, with zeros behind them. The kind
/// comes first, where it leaves most room to the other variants of enums that use its free values.
#[repr(C)]
pub(super) struct SmallText {
    kind: Kind,
    head: [u8; 7],
    tail: Tail,
}

#[derive(Clone, Copy)]
#[repr(C)]
union Tail {
    inline: [u64; 2],
    /// Of [`Kind::Static`] and [`Kind::Shared`].
    text: *const str,
}

/// Where the text is; of text in place, how many bytes it has. An enum so that types that contain
/// one can use the values that are left.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(dead_code, reason = "lengths come as numbers")]
#[rustfmt::skip]
enum Kind {
    L0, L1, L2, L3, L4, L5, L6, L7, L8, L9, L10, L11, L12, L13, L14, L15, L16, L17, L18, L19, L20,
    L21, L22, L23,
    /// `tail.text` lives as long as the program.
    Static,
    /// `tail.text` comes from an `Arc` of which this is one count.
    Shared,
}

const _: () = assert!(size_of::<SmallText>() == 24 && size_of::<Option<SmallText>>() == 24);

// SAFETY: it is a text in place, or a shared reference to one, or an `Arc` of one, all of which
// may be used from any thread.
unsafe impl Send for SmallText {}
// SAFETY: as above.
unsafe impl Sync for SmallText {}

impl SmallText {
    #[inline]
    pub(super) fn new(text: &str) -> Self {
        let length = text.len();
        if length > INLINE_BYTES_MAX {
            return Self::shared(text);
        }
        let [a, b, c] = words(text.as_bytes());
        let words = [a << 8 | length as u64, b << 8 | a >> 56, c << 8 | b >> 56];
        // SAFETY: the sizes are the same, and all fields but `kind` may have any value. `kind` is
        // the first byte, which is the lowest of the first word, at most 23.
        unsafe { std::mem::transmute::<[u64; 3], Self>(words.map(u64::to_le)) }
    }

    /// In place too if it fits, so that it is compared with text that was received word by word.
    #[inline]
    pub(super) const fn from_static(text: &'static str) -> Self {
        let length = text.len();
        if length > INLINE_BYTES_MAX {
            return Self::elsewhere(Kind::Static, text);
        }
        let mut bytes = [0; 1 + INLINE_BYTES_MAX];
        // At most 23.
        bytes[0] = length as u8;
        let mut at = 0;
        while at < length {
            bytes[1 + at] = text.as_bytes()[at];
            at += 1;
        }
        // SAFETY: the sizes are the same, and all fields but `kind` may have any value. `kind` is
        // the first byte, at most 23.
        unsafe { std::mem::transmute::<[u8; 24], Self>(bytes) }
    }

    #[cold]
    fn shared(text: &str) -> Self {
        let text = Arc::into_raw(Arc::<str>::from(text));
        Self::elsewhere(Kind::Shared, text)
    }

    /// Text that is not in place. No byte is left undefined, whatever a pointer takes up.
    const fn elsewhere(kind: Kind, text: *const str) -> Self {
        let mut tail = Tail { inline: [0; 2] };
        tail.text = text;
        Self { kind, head: [0; 7], tail }
    }

    #[inline]
    pub(super) fn as_str(&self) -> &str {
        if matches!(self.kind, Kind::Static | Kind::Shared) {
            // SAFETY: the kind says that `text` was set, to a static text or one of which `self`
            // has a count.
            return unsafe { &*self.tail.text };
        }
        let length = self.kind as usize;
        // SAFETY: all bytes of this type but the first are the text, and zeros: it is `repr(C)`, and
        // there is no padding. The kind is the length, at most 23, of a text copied from a `str`.
        unsafe {
            let text = std::ptr::from_ref(self).cast::<u8>().add(1);
            std::str::from_utf8_unchecked(std::slice::from_raw_parts(text, length))
        }
    }

    /// Of text in place, the number of its bytes, the bytes, and zeros.
    #[inline]
    pub(super) fn inline_bytes(&self) -> Option<[u8; 1 + INLINE_BYTES_MAX]> {
        self.is_inline().then(|| self.bytes())
    }

    #[inline]
    fn is_inline(&self) -> bool {
        !matches!(self.kind, Kind::Static | Kind::Shared)
    }

    #[inline]
    fn bytes(&self) -> [u8; 1 + INLINE_BYTES_MAX] {
        // SAFETY: the sizes are the same, there is no padding, and every constructor defines every
        // byte.
        unsafe { std::ptr::from_ref(self).cast::<[u8; 24]>().read() }
    }
}

/// The bytes in three words, the first in the lowest place, and zeros. There are at most 23.
#[inline]
fn words(bytes: &[u8]) -> [u64; 3] {
    let length = bytes.len();
    // Every two looks that overlap serve many lengths.
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        if length == 8 {
            return [first, 0, 0];
        }
        if length <= 16 {
            return [first, last >> (8 * (16 - length)), 0];
        }
        let second = bytes
            .get(8..16)
            .and_then(<[u8]>::first_chunk)
            .map_or(0, |second| u64::from_le_bytes(*second));
        return [first, second, last >> (8 * (24 - length))];
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return [u64::from(first) | u64::from(last) << (8 * (length - 4)), 0, 0];
    }
    [bytes.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte)), 0, 0]
}

impl Clone for SmallText {
    #[inline]
    fn clone(&self) -> Self {
        if self.kind == Kind::Shared {
            // SAFETY: `text` comes from `Arc::into_raw`, and `self` keeps its count above zero.
            unsafe { Arc::increment_strong_count(self.tail.text) };
        }
        Self { kind: self.kind, head: self.head, tail: self.tail }
    }
}

impl Drop for SmallText {
    #[inline]
    fn drop(&mut self) {
        if self.kind == Kind::Shared {
            // SAFETY: `text` comes from `Arc::into_raw`, and `self` has a count that it gives up.
            drop(unsafe { Arc::from_raw(self.tail.text) });
        }
    }
}

impl PartialEq for SmallText {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        // Text in place is the same if all bytes are, and is no longer text. Of other text the same
        // bytes are the same memory, but it may be in two places.
        self.bytes() == other.bytes()
            || (!self.is_inline() && !other.is_inline() && self.as_str() == other.as_str())
    }
}

impl Eq for SmallText {}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "größe_abcdefghijklmnopqrstuvwxyz";

    fn texts() -> Vec<&'static str> {
        (0..=TEXT.len()).filter_map(|end| TEXT.get(..end)).collect()
    }

    #[test]
    fn text_of_every_length_is_what_it_was_made_of() {
        for text in texts() {
            let small = SmallText::new(text);
            assert_eq!(small.as_str(), text);
            assert_eq!(small.clone().as_str(), text);
            assert_eq!(SmallText::from_static(text).as_str(), text);
            let moved = [Some(small), None];
            assert_eq!(moved[0].as_ref().map(SmallText::as_str), Some(text));
            assert!(moved[1].is_none());
        }
    }

    #[test]
    fn texts_are_equal_wherever_they_are() {
        for a in texts() {
            for b in texts() {
                assert_eq!(SmallText::new(a) == SmallText::new(b), a == b);
                assert_eq!(SmallText::new(a) == SmallText::from_static(b), a == b);
                assert_eq!(SmallText::from_static(a) == SmallText::from_static(b), a == b);
            }
        }
        assert!(SmallText::new("a") != SmallText::new("a\0"));
    }

    #[test]
    fn shared_text_lives_as_long_as_its_last_owner() {
        let first = SmallText::new(TEXT);
        let second = first.clone();
        assert_eq!(first.as_str().as_ptr(), second.as_str().as_ptr());
        drop(first);
        let thread = std::thread::spawn(move || second.as_str().len());
        assert_eq!(thread.join().unwrap(), TEXT.len());
    }
}
