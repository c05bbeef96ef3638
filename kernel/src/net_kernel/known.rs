//! The nodes that this one has heard of, and which of their connections was the last.

use std::collections::HashMap;

use krarup_transport::term::Atom;

/// Names that are kept. Those that come later are forgotten when they are not connected.
const NODES_MAX: usize = 1 << 16;

/// `connection_id` has so many bits in OTP.
const CONNECTION_ID_MASK: u32 = (1 << 24) - 1;

#[derive(Debug, Default)]
pub(super) struct KnownNodes {
    /// With the number of the last connection.
    nodes: HashMap<Atom, u32>,
}

impl KnownNodes {
    /// Somebody wants to connect to this node.
    pub(super) fn learn(&mut self, node: &Atom) {
        if self.nodes.len() < NODES_MAX && !self.nodes.contains_key(node) {
            self.nodes.insert(node.clone(), 0);
        }
    }

    /// A connection comes up; the answer is its number, one more than that of the last.
    pub(super) fn connected(&mut self, node: &Atom) -> u32 {
        self.learn(node);
        match self.nodes.get_mut(node) {
            Some(number) => {
                *number = (*number + 1) & CONNECTION_ID_MASK;
                *number
            }
            None => 1,
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Atom> {
        self.nodes.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_a_node_are_numbered() {
        let (a, b) = (Atom::from_static("a@h"), Atom::from_static("b@h"));
        let mut known = KnownNodes::default();
        known.learn(&a);
        assert_eq!((known.connected(&a), known.connected(&a), known.connected(&b)), (1, 2, 1));
        known.nodes.insert(a.clone(), CONNECTION_ID_MASK);
        assert_eq!(known.connected(&a), 0);
        assert_eq!(known.names().count(), 2);
    }

    #[test]
    fn there_is_an_end_of_what_is_kept() {
        let mut known = KnownNodes::default();
        for number in 0..NODES_MAX + 10 {
            known.learn(&Atom::new(&format!("n{number}@h")).expect("an atom"));
        }
        assert_eq!(known.names().count(), NODES_MAX);
        assert_eq!(known.connected(&Atom::from_static("late@h")), 1);
    }
}
