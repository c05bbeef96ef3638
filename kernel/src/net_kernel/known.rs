//! The nodes that this one has heard of, and which of their connections was the last.

use std::collections::{BTreeMap, HashMap};

use krarup_transport::term::Atom;

/// Nodes that are not connected and are kept all the same; one more takes the place of the one that
/// has been so the longest. Names come from whoever has the cookie: he must not fill this for good.
const UNCONNECTED_MAX: usize = 1 << 16;

/// `connection_id` has so many bits in OTP.
const CONNECTION_ID_MASK: u32 = (1 << 24) - 1;

#[derive(Debug, Default)]
pub(super) struct KnownNodes {
    nodes: HashMap<Atom, Known>,
    /// Those that are not connected, by when they were learnt or lost.
    unconnected: BTreeMap<u64, Atom>,
    next_place: u64,
}

#[derive(Debug)]
struct Known {
    /// The number of the last connection.
    number: u32,
    /// Where it is in `unconnected`; none while it is connected.
    place: Option<u64>,
}

impl KnownNodes {
    /// Somebody wants to connect to this node.
    pub(super) fn learn(&mut self, node: &Atom) {
        if !self.nodes.contains_key(node) {
            let place = Some(self.place(node));
            self.nodes.insert(node.clone(), Known { number: 0, place });
        }
    }

    /// A connection comes up; the answer is its number, one more than that of the last.
    pub(super) fn connected(&mut self, node: &Atom) -> u32 {
        if !self.nodes.contains_key(node) {
            self.nodes.insert(node.clone(), Known { number: 0, place: None });
        }
        let Some(known) = self.nodes.get_mut(node) else { return 1 };
        if let Some(place) = known.place.take() {
            self.unconnected.remove(&place);
        }
        known.number = (known.number + 1) & CONNECTION_ID_MASK;
        known.number
    }

    /// The last trace of its connection is gone.
    pub(super) fn lost(&mut self, node: &Atom) {
        let place = self.place(node);
        match self.nodes.get_mut(node) {
            Some(known) => known.place = Some(place),
            None => drop(self.unconnected.remove(&place)),
        }
    }

    /// The newest place among the unconnected.
    fn place(&mut self, node: &Atom) -> u64 {
        if self.unconnected.len() >= UNCONNECTED_MAX
            && let Some((_, oldest)) = self.unconnected.pop_first()
        {
            self.nodes.remove(&oldest);
        }
        let place = self.next_place;
        self.next_place += 1;
        self.unconnected.insert(place, node.clone());
        place
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
        let last = Known { number: CONNECTION_ID_MASK, place: None };
        known.nodes.insert(a.clone(), last);
        assert_eq!(known.connected(&a), 0);
        assert_eq!(known.names().count(), 2);
    }

    #[test]
    fn the_ones_unconnected_for_longest_make_room_for_new_ones() {
        let mut known = KnownNodes::default();
        let (a, b) = (Atom::from_static("a@h"), Atom::from_static("b@h"));
        known.connected(&a);
        known.connected(&b);
        known.lost(&b);
        let fill = |known: &mut KnownNodes, round: u32| {
            for number in 0..UNCONNECTED_MAX {
                known.learn(&Atom::new(&format!("n{number}-{round}@h")).expect("an atom"));
            }
        };
        fill(&mut known, 1);
        assert_eq!(known.names().count(), UNCONNECTED_MAX + 1, "and the one that is connected");
        assert_eq!((known.connected(&b), known.connected(&a)), (1, 2), "b was forgotten");
        known.lost(&a);
        assert_eq!(known.connected(&a), 3);
        known.lost(&a);
        fill(&mut known, 2);
        assert_eq!(known.names().count(), UNCONNECTED_MAX + 1);
        assert_eq!(known.unconnected.len(), UNCONNECTED_MAX);
        assert!(!known.names().any(|name| *name == a));
    }
}
