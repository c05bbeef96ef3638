//! Atoms: small owned strings, interned nowhere.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::small_text::SmallText;

/// An atom: a name of at most 255 characters.
///
/// A clone is cheap: up to 23 bytes live inline, longer text is shared by reference count. Nothing
/// is interned, so a peer cannot exhaust a table with invented names.
///
/// Atoms order by code point, as Erlang's do. `Display` prints like Erlang's `~p`, with quotes
/// where the reader would need them.
#[derive(Clone, PartialEq, Eq)]
pub struct Atom(SmallText);

impl Atom {
    /// Characters (code points) an atom may have at most.
    pub const CHARACTERS_MAX: usize = 255;

    /// The atom of this name.
    ///
    /// # Errors
    /// When the name has more than 255 characters.
    #[inline]
    pub fn new(name: &str) -> Result<Self, AtomTooLong> {
        if fits(name) { Ok(Self(SmallText::new(name))) } else { Err(AtomTooLong) }
    }

    /// The atom of a name known when the program is compiled.
    ///
    /// # Panics
    /// When the name has more than 255 bytes; in a constant that is a compile error.
    #[inline]
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        assert!(name.len() <= Self::CHARACTERS_MAX, "an atom has at most 255 characters");
        Self(SmallText::from_static(name))
    }

    /// The name.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Of a name of at most 23 bytes, their number, the bytes, and zeros.
    #[inline]
    pub(super) fn short(&self) -> Option<[u8; 24]> {
        self.0.inline_bytes()
    }
}

/// A name has more than 255 characters and cannot be an atom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtomTooLong;

impl fmt::Display for AtomTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an atom has at most {} characters", Atom::CHARACTERS_MAX)
    }
}

impl std::error::Error for AtomTooLong {}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quoted(f, self.as_str())
    }
}

impl fmt::Debug for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl AsRef<str> for Atom {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Hash for Atom {
    /// As the name does.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Ord for Atom {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for Atom {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Borrow<str> for Atom {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Atom {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Atom {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl TryFrom<&str> for Atom {
    type Error = AtomTooLong;

    fn try_from(name: &str) -> Result<Self, AtomTooLong> {
        Self::new(name)
    }
}

impl From<bool> for Atom {
    fn from(value: bool) -> Self {
        Self::from_static(if value { "true" } else { "false" })
    }
}

/// Whether a name is short enough. Bytes bound characters, so only long names are counted.
fn fits(name: &str) -> bool {
    name.len() <= Atom::CHARACTERS_MAX || name.chars().count() <= Atom::CHARACTERS_MAX
}

/// Writes an atom's name as Erlang's `~tp` does.
pub(crate) fn write_quoted(f: &mut impl fmt::Write, name: &str) -> fmt::Result {
    if !needs_quotes(name) {
        return f.write_str(name);
    }
    f.write_char('\'')?;
    for character in name.chars() {
        write_escaped(f, character, '\'')?;
    }
    f.write_char('\'')
}

/// Writes one character of quoted text the way Erlang's reader takes it back.
pub(crate) fn write_escaped(f: &mut impl fmt::Write, character: char, quote: char) -> fmt::Result {
    match character {
        '\\' => f.write_str("\\\\"),
        '\n' => f.write_str("\\n"),
        '\t' => f.write_str("\\t"),
        '\r' => f.write_str("\\r"),
        '\u{0b}' => f.write_str("\\v"),
        '\u{08}' => f.write_str("\\b"),
        '\u{0c}' => f.write_str("\\f"),
        '\u{1b}' => f.write_str("\\e"),
        '\u{7f}' => f.write_str("\\d"),
        c if c == quote => {
            f.write_char('\\')?;
            f.write_char(c)
        }
        // OTP prints other control characters as octal escapes.
        c if c.is_control() => write!(f, "\\{:03o}", u32::from(c)),
        c => f.write_char(c),
    }
}

/// Erlang's reserved words cannot be atoms without quotes. OTP: `erl_scan:reserved_word/1`.
fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "after"
            | "and"
            | "andalso"
            | "band"
            | "begin"
            | "bnot"
            | "bor"
            | "bsl"
            | "bsr"
            | "bxor"
            | "case"
            | "catch"
            | "cond"
            | "div"
            | "else"
            | "end"
            | "fun"
            | "if"
            | "let"
            | "maybe"
            | "not"
            | "of"
            | "or"
            | "orelse"
            | "receive"
            | "rem"
            | "try"
            | "when"
            | "xor"
    )
}

/// Whether Erlang's reader needs quotes around a name. OTP: `io_lib:quote_atom/2`.
fn needs_quotes(name: &str) -> bool {
    let mut characters = name.chars();
    let Some(first) = characters.next() else { return true };
    !is_lower(first) || !characters.all(is_name_character) || is_reserved(name)
}

/// What an unquoted atom may start with: a lower case letter of Latin-1.
pub(crate) fn is_lower(character: char) -> bool {
    matches!(character, 'a'..='z' | 'ß'..='ö' | 'ø'..='ÿ')
}

/// What an unquoted atom may go on with.
pub(crate) fn is_name_character(character: char) -> bool {
    is_lower(character)
        || matches!(character, 'A'..='Z' | 'À'..='Ö' | 'Ø'..='Þ' | '0'..='9' | '_' | '@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_characters() {
        assert!(Atom::new(&"β".repeat(255)).is_ok());
        assert_eq!(Atom::new(&"β".repeat(256)), Err(AtomTooLong));
        assert_eq!(Atom::new(&"a".repeat(256)), Err(AtomTooLong));
    }

    #[test]
    fn quotes_only_where_erlang_needs_them() {
        for (name, text) in [
            ("abc", "abc"),
            ("aB_9@x", "aB_9@x"),
            ("éa", "éa"),
            ("", "''"),
            ("Abc", "'Abc'"),
            ("a-b", "'a-b'"),
            ("receive", "'receive'"),
            ("it's", "'it\\'s'"),
            ("åβ😀", "'åβ😀'"),
            ("a\nb\\", "'a\\nb\\\\'"),
            ("a@127.0.0.1", "'a@127.0.0.1'"),
        ] {
            assert_eq!(Atom::new(name).unwrap().to_string(), text);
        }
    }
}
