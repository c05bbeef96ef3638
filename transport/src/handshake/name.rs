//! Node names: `head@host`, checked once, carried checked.
//!
//! OTP: `net_kernel.erl`, `create_name/3` and `split_node/1`; erl_dist_protocol, "Distribution
//! Handshake" (`send_name`).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Most characters a node name may have: it is an atom at the peer.
pub const NAME_CHARS_MAX: usize = 255;

/// The full name of a node, `head@host`.
///
/// The head is `[A-Za-z0-9_-]+`. The host is anything printable in Latin-1 but `@` and blanks,
/// because names travel as Latin-1 bytes. The order is OTP's: plain code-point order of the whole
/// name, which decides simultaneous connects.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName {
    /// Shared, because every session keeps the names of both its nodes.
    text: Arc<str>,
}

impl NodeName {
    /// Checks `text` and takes it as a name.
    ///
    /// # Errors
    ///
    /// The first rule that `text` breaks.
    pub fn parse(text: &str) -> Result<NodeName, NameError> {
        let (head, host) = text.split_once('@').ok_or(NameError::NoAt)?;
        if host.contains('@') {
            return Err(NameError::SecondAt);
        }
        if head.is_empty() {
            return Err(NameError::EmptyHead);
        }
        check_host(host)?;
        let length_chars = text.chars().count();
        if length_chars > NAME_CHARS_MAX {
            return Err(NameError::TooLong { length_chars });
        }
        let stranger = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if let Some(character) = head.chars().find(stranger) {
            return Err(NameError::HeadCharacter { character });
        }
        Ok(NodeName { text: text.into() })
    }

    /// Joins a head and a host.
    ///
    /// # Errors
    ///
    /// As [`NodeName::parse`].
    pub fn new(head: &str, host: &str) -> Result<NodeName, NameError> {
        NodeName::parse(&format!("{head}@{host}"))
    }

    /// Reads a name as it stands in handshake messages: one Latin-1 byte per character.
    ///
    /// # Errors
    ///
    /// As [`NodeName::parse`].
    pub fn from_latin1(bytes: &[u8]) -> Result<NodeName, NameError> {
        // Checked before the conversion, so that nothing is allocated for a name of any length.
        if bytes.len() > NAME_CHARS_MAX {
            return Err(NameError::TooLong { length_chars: bytes.len() });
        }
        NodeName::parse(&latin1_text(bytes))
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the `@`: what epmd knows the node by.
    #[must_use]
    pub fn head(&self) -> &str {
        self.parts().0
    }

    /// The part after the `@`: where the node's epmd is.
    #[must_use]
    pub fn host(&self) -> &str {
        self.parts().1
    }

    /// The name as Latin-1 bytes, as handshake messages carry it.
    pub(crate) fn latin1(&self) -> Vec<u8> {
        latin1_bytes(&self.text)
    }

    /// Whether a node of the given mode may connect to this name.
    ///
    /// # Errors
    ///
    /// [`NameError::NotLong`] or [`NameError::NotShort`].
    // OTP: net_kernel.erl, setup_check/2 → "System running to use fully qualified hostnames".
    pub fn check_mode(&self, mode: NameMode) -> Result<(), NameError> {
        let host = self.host();
        let dotted = host.contains('.');
        match mode {
            NameMode::Long if !dotted && host.parse::<IpAddr>().is_err() => Err(NameError::NotLong),
            NameMode::Short if dotted => Err(NameError::NotShort),
            NameMode::Long | NameMode::Short => Ok(()),
        }
    }

    fn parts(&self) -> (&str, &str) {
        self.text.split_once('@').unwrap_or((&self.text, ""))
    }
}

/// Whether hosts are fully qualified (`-name`) or not (`-sname`); both ends must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameMode {
    /// `-name`: the host has a dot, or is an IP address.
    Long,
    /// `-sname`: the host has no dot.
    Short,
}

/// The rule of node names that a text breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing before the `@`.
    EmptyHead,
    /// Nothing after the `@`.
    EmptyHost,
    /// A character before the `@` that is not one of `A-Z a-z 0-9 _ -`.
    HeadCharacter {
        /// The first such character.
        character: char,
    },
    /// A blank, a control character or one that Latin-1 lacks, after the `@`.
    HostCharacter {
        /// The first such character.
        character: char,
    },
    /// No `@`.
    NoAt,
    /// The host is neither dotted nor an IP address, on a node with long names.
    NotLong,
    /// The host is dotted, on a node with short names.
    NotShort,
    /// More than one `@`.
    SecondAt,
    /// Longer than [`NAME_CHARS_MAX`].
    TooLong {
        /// Its length in characters.
        length_chars: usize,
    },
}

impl NameError {
    /// Whether OTP, told such a name in a handshake, still answers a status (`nok`) before it
    /// closes. A name it cannot even split is closed without one.
    pub(crate) fn deserves_status(&self) -> bool {
        match self {
            NameError::HeadCharacter { .. }
            | NameError::HostCharacter { .. }
            | NameError::NotLong
            | NameError::NotShort => true,
            NameError::EmptyHead
            | NameError::EmptyHost
            | NameError::NoAt
            | NameError::SecondAt
            | NameError::TooLong { .. } => false,
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::EmptyHead => formatter.write_str("nothing stands before the @"),
            NameError::EmptyHost => formatter.write_str("nothing stands after the @"),
            NameError::HeadCharacter { character } => write!(
                formatter,
                "{character:?} stands before the @, where only A-Z a-z 0-9 _ - may"
            ),
            NameError::HostCharacter { character } => write!(
                formatter,
                "{character:?} stands after the @, where only printable Latin-1 without blanks may"
            ),
            NameError::NoAt => formatter.write_str("it has no @; node names are head@host"),
            NameError::NotLong => formatter.write_str(
                "its host has no dot, and this node uses long names; use the fully qualified host \
                 name or an IP address, or start both nodes with --sname",
            ),
            NameError::NotShort => formatter.write_str(
                "its host has a dot, and this node uses short names; use the host name up to the \
                 first dot, or start both nodes with --name",
            ),
            NameError::SecondAt => formatter.write_str("it has more than one @"),
            NameError::TooLong { length_chars } => write!(
                formatter,
                "it has {length_chars} characters, at most {NAME_CHARS_MAX} are allowed"
            ),
        }
    }
}

impl std::error::Error for NameError {}

impl fmt::Display for NodeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NodeName({})", self.text)
    }
}

impl std::str::FromStr for NodeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<NodeName, NameError> {
        NodeName::parse(text)
    }
}

/// Checks what stands after the `@`, which is all that a node asking for a name sends.
pub(crate) fn check_host(host: &str) -> Result<(), NameError> {
    if host.is_empty() {
        return Err(NameError::EmptyHost);
    }
    if host.contains('@') {
        return Err(NameError::SecondAt);
    }
    // OTP takes any byte from `!` on; control characters are left out here because names are
    // printed in logs.
    let printable = |c: &char| matches!(c, '!'..='~' | '\u{a1}'..='\u{ff}');
    match host.chars().find(|character| !printable(character)) {
        Some(character) => Err(NameError::HostCharacter { character }),
        None => Ok(()),
    }
}

/// Latin-1 bytes as text: every byte is the code point of its number.
pub(crate) fn latin1_text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Text as Latin-1 bytes; the caller has checked that every character fits.
pub(crate) fn latin1_bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_split() {
        let name = NodeName::parse("my-node_1@host.example.org").expect("a good name");
        assert_eq!((name.head(), name.host()), ("my-node_1", "host.example.org"));
        assert_eq!(NodeName::new("a", "b").expect("a good name").to_string(), "a@b");
        assert_eq!("a@::1".parse::<NodeName>().expect("a good name").host(), "::1");
    }

    #[test]
    fn bad_names_say_why() {
        let long = format!("{}@h", "a".repeat(254));
        let cases = [
            ("", NameError::NoAt),
            ("a", NameError::NoAt),
            ("a@", NameError::EmptyHost),
            ("@h", NameError::EmptyHead),
            ("a@b@c", NameError::SecondAt),
            ("a.b@h", NameError::HeadCharacter { character: '.' }),
            ("å@h", NameError::HeadCharacter { character: 'å' }),
            ("a@h h", NameError::HostCharacter { character: ' ' }),
            ("a@h\n", NameError::HostCharacter { character: '\n' }),
            ("a@\u{80}", NameError::HostCharacter { character: '\u{80}' }),
            ("a@λ", NameError::HostCharacter { character: 'λ' }),
            (&long, NameError::TooLong { length_chars: 256 }),
        ];
        for (text, error) in cases {
            assert_eq!(NodeName::parse(text), Err(error), "{text:?}");
        }
        assert!(NodeName::parse(&long[1..]).is_ok());
    }

    #[test]
    fn names_are_latin1_on_the_wire() {
        let name = NodeName::parse("a@höst").expect("a good name");
        assert_eq!(name.latin1(), b"a@h\xf6st");
        assert_eq!(NodeName::from_latin1(b"a@h\xf6st"), Ok(name));
    }

    #[test]
    fn modes_follow_the_host() {
        let check = |text: &str, mode| NodeName::parse(text).expect("a good name").check_mode(mode);
        assert_eq!(check("a@h.org", NameMode::Long), Ok(()));
        assert_eq!(check("a@127.0.0.1", NameMode::Long), Ok(()));
        assert_eq!(check("a@::1", NameMode::Long), Ok(()));
        assert_eq!(check("a@h", NameMode::Long), Err(NameError::NotLong));
        assert_eq!(check("a@h", NameMode::Short), Ok(()));
        assert_eq!(check("a@h.org", NameMode::Short), Err(NameError::NotShort));
    }

    #[test]
    fn order_is_by_code_point_of_the_whole_name() {
        let name = |text| NodeName::parse(text).expect("a good name");
        assert!(name("b@a") > name("a@z"));
        assert!(name("a@z") > name("a@b"));
        assert!(name("a-b@h") < name("a@h"));
    }
}
