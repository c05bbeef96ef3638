//! Pids, ports and references, with every bit they have on the wire.

use std::cmp::Ordering;
use std::fmt;

use super::Atom;

/// Which incarnation of a node an identifier belongs to.
///
/// epmd hands out a new one each time a name is registered; identifiers of an earlier incarnation
/// name nothing any more. 0 means "not known" (OTP: identifiers made before a node is alive).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Creation(pub u32);

impl fmt::Display for Creation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A process identifier.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pid {
    /// The node the process runs on.
    pub node: Atom,
    /// The process number.
    pub id: u32,
    /// The number's second part.
    pub serial: u32,
    /// The incarnation of the node.
    pub creation: Creation,
}

impl Ord for Pid {
    /// Erlang's order: serial, number, node, creation. `global` depends on it: both sides of a
    /// merge sort the same two pids into a lock's name.
    fn cmp(&self, other: &Self) -> Ordering {
        self.serial
            .cmp(&other.serial)
            .then_with(|| self.id.cmp(&other.id))
            .then_with(|| self.node.cmp(&other.node))
            .then_with(|| self.creation.cmp(&other.creation))
    }
}

impl PartialOrd for Pid {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `#Pid<node.number.serial>`. Erlang prints its local table index instead of the node's name,
/// which means nothing elsewhere. The creation is not part of the text.
impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#Pid<{}.{}.{}>", Node(&self.node), self.id, self.serial)
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}/{}", self.creation)
    }
}

/// A port identifier.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Port {
    /// The node the port belongs to.
    pub node: Atom,
    /// The port number.
    pub id: u64,
    /// The incarnation of the node.
    pub creation: Creation,
}

impl Ord for Port {
    /// Erlang's order: number, node, creation.
    fn cmp(&self, other: &Self) -> Ordering {
        self.id
            .cmp(&other.id)
            .then_with(|| self.node.cmp(&other.node))
            .then_with(|| self.creation.cmp(&other.creation))
    }
}

impl PartialOrd for Port {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `#Port<node.number>`.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#Port<{}.{}>", Node(&self.node), self.id)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}/{}", self.creation)
    }
}

/// A reference: one to five 32-bit words, made unique by its node.
///
/// The words keep the order they have on the wire, and their number: a `gen_server` alias of
/// OTP 26 and later has five, and must be echoed exactly.
#[derive(Clone)]
pub struct Reference {
    /// The node that made the reference.
    pub node: Atom,
    /// The incarnation of the node.
    pub creation: Creation,
    /// Words beyond `len` are zero.
    words: [u32; Self::WORDS_MAX],
    len: u8,
}

impl Reference {
    /// Words a reference may have at most.
    pub const WORDS_MAX: usize = 5;

    /// A reference of these words; `None` unless there are one to five.
    #[must_use]
    pub fn new(node: Atom, creation: Creation, words: &[u32]) -> Option<Self> {
        if words.is_empty() || words.len() > Self::WORDS_MAX {
            return None;
        }
        let mut all = [0; Self::WORDS_MAX];
        all[..words.len()].copy_from_slice(words);
        // At most five, so the conversion keeps the value.
        Some(Self { node, creation, words: all, len: words.len() as u8 })
    }

    /// The reference of the first `count` of these words; the others are zero.
    #[inline]
    pub(super) fn of_words(
        node: Atom,
        creation: Creation,
        words: [u32; Self::WORDS_MAX],
        count: u8,
    ) -> Self {
        debug_assert!((1..=Self::WORDS_MAX).contains(&usize::from(count)), "one to five words");
        Self { node, creation, words, len: count }
    }

    /// The words in wire order.
    #[inline]
    #[must_use]
    pub fn words(&self) -> &[u32] {
        &self.words[..usize::from(self.len)]
    }
}

impl PartialEq for Reference {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len
            && self.words == other.words
            && self.creation == other.creation
            && self.node == other.node
    }
}

impl Eq for Reference {}

impl std::hash::Hash for Reference {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        // The words tell references apart. Those of two nodes seldom are the same, and hardly ever
        // in the same incarnation, so that the name would only take time.
        let [one, two, three, four, five] = self.words.map(u64::from);
        state.write_u64(one | two << 32);
        state.write_u64(three | u64::from(self.creation.0) << 32);
        if self.len > 3 {
            state.write_u64(four | five << 32);
        }
    }
}

impl Ord for Reference {
    /// Erlang's order: the words from the last (most significant) down, a missing word counting as
    /// zero; then node, creation, and finally the number of words, so that different references
    /// never compare equal.
    fn cmp(&self, other: &Self) -> Ordering {
        self.words
            .iter()
            .rev()
            .cmp(other.words.iter().rev())
            .then_with(|| self.node.cmp(&other.node))
            .then_with(|| self.creation.cmp(&other.creation))
            .then_with(|| self.len.cmp(&other.len))
    }
}

impl PartialOrd for Reference {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `#Ref<node.word.….word>`, the words from the last down as Erlang prints them.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#Ref<{}", Node(&self.node))?;
        for word in self.words().iter().rev() {
            write!(f, ".{word}")?;
        }
        f.write_str(">")
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}/{}", self.creation)
    }
}

/// Whether a name consists of what names of nodes consist of.
pub(crate) fn is_node_name(name: &str) -> bool {
    name.contains('@')
        && name.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'@' | b'.' | b'-' | b'_' | b':')
        })
}

/// Prints the name of a node as it is, or in quotes if it is none, so that a peer cannot make an
/// identifier look like something else.
struct Node<'a>(&'a Atom);

impl fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_node_name(self.0.as_str()) {
            f.write_str(self.0.as_str())
        } else {
            f.write_str(&self.0.quoted())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(node: &'static str, id: u32, serial: u32, creation: u32) -> Pid {
        Pid { node: Atom::from_static(node), id, serial, creation: Creation(creation) }
    }

    #[test]
    fn pids_order_by_serial_number_node_creation() {
        let mut pids =
            [pid("a@h", 1, 1, 1), pid("z@h", 9, 0, 9), pid("b@h", 1, 1, 1), pid("b@h", 1, 1, 0)];
        pids.sort();
        assert_eq!(
            pids,
            [pid("z@h", 9, 0, 9), pid("a@h", 1, 1, 1), pid("b@h", 1, 1, 0), pid("b@h", 1, 1, 1)]
        );
    }

    #[test]
    fn a_node_name_cannot_pretend_to_be_text() {
        assert_eq!(pid("a@h>, [x", 1, 2, 3).to_string(), "#Pid<'a@h>, [x'.1.2>");
        assert_eq!(pid("a@127.0.0.1", 1, 2, 3).to_string(), "#Pid<a@127.0.0.1.1.2>");
    }

    #[test]
    fn references_keep_their_word_count() {
        let node = Atom::from_static("a@h");
        let three = Reference::new(node.clone(), Creation(1), &[1, 2, 3]).unwrap();
        let five = Reference::new(node.clone(), Creation(1), &[1, 2, 3, 0, 0]).unwrap();
        assert_ne!(three, five);
        assert_ne!(three.cmp(&five), Ordering::Equal);
        assert_eq!(three.to_string(), "#Ref<a@h.3.2.1>");
        assert_eq!(Reference::new(node.clone(), Creation(1), &[]), None);
        assert_eq!(Reference::new(node, Creation(1), &[0; 6]), None);
    }
}
