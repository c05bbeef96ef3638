//! The names that this node gives to nodes without one (OTP: dynamic node names).
//!
//! A name that is free again is given again on its host, with the next creation, so that a node that
//! comes and goes does not fill the tables of others with names. Only a name whose holder has proven
//! the cookie is kept: anybody can ask for one.

use std::collections::HashMap;

use krarup_transport::handshake::NodeName;
use krarup_transport::term::{Atom, Creation};

use super::AttemptId;

/// Free names that are kept, on all hosts together.
const FREE_MAX: usize = 1024;

/// Names that were given, and those that can be given again.
#[derive(Debug, Default)]
pub struct GivenNames {
    /// Offered in a handshake that is not over.
    offered: HashMap<AttemptId, Given>,
    /// Those of nodes that are connected.
    held: HashMap<Atom, (NodeName, Creation)>,
    free: HashMap<String, Vec<(NodeName, Creation)>>,
    free_count: usize,
}

#[derive(Debug)]
struct Given {
    name: NodeName,
    creation: Creation,
    /// Somebody had it before.
    is_known: bool,
}

impl GivenNames {
    /// Takes a free name on `host` with the creation its next holder has.
    pub fn take(&mut self, host: &str) -> Option<(NodeName, Creation)> {
        let names = self.free.get_mut(host)?;
        let taken = names.pop();
        if names.is_empty() {
            self.free.remove(host);
        }
        self.free_count -= usize::from(taken.is_some());
        taken
    }

    /// A name goes out in an attempt's handshake; `is_known` if it came from [`GivenNames::take`].
    pub fn offer(
        &mut self,
        attempt: AttemptId,
        name: NodeName,
        creation: Creation,
        is_known: bool,
    ) {
        self.offered.insert(attempt, Given { name, creation, is_known });
    }

    /// The handshake was completed: the name is held as long as its node is connected.
    pub fn accepted(&mut self, attempt: AttemptId, node: &Atom) {
        if let Some(Given { name, creation, .. }) = self.offered.remove(&attempt) {
            self.held.insert(node.clone(), (name, creation));
        }
    }

    /// The handshake failed.
    pub fn failed(&mut self, attempt: AttemptId) {
        if let Some(Given { name, creation, is_known: true }) = self.offered.remove(&attempt) {
            self.free(name, creation);
        }
    }

    /// A name from [`GivenNames::take`] was not used.
    pub fn give_back(&mut self, name: NodeName, creation: Creation) {
        self.free(name, creation);
    }

    /// A node is down; its name is free if it was given here.
    pub fn down(&mut self, node: &Atom) {
        if let Some((name, creation)) = self.held.remove(node) {
            self.free(name, creation);
        }
    }

    /// Forgets everything: given by a node of another name they would be other names.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn free(&mut self, name: NodeName, creation: Creation) {
        if self.free_count < FREE_MAX {
            self.free_count += 1;
            let host = name.host().to_owned();
            self.free.entry(host).or_default().push((name, next(creation)));
        }
    }
}

/// The creation after this one; 0 to 3 have a meaning of their own in OTP.
fn next(creation: Creation) -> Creation {
    Creation(creation.0.wrapping_add(1).max(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).expect("a name")
    }

    fn offer(names: &mut GivenNames, attempt: u64, text: &str, creation: u32) -> Atom {
        names.offer(AttemptId(attempt), name(text), Creation(creation), false);
        Atom::new(text).expect("an atom")
    }

    #[test]
    fn a_name_is_given_again_on_its_host_with_the_next_creation() {
        let mut names = GivenNames::default();
        let node = offer(&mut names, 1, "X@h", 9);
        names.accepted(AttemptId(1), &node);
        assert_eq!(names.take("h"), None);
        names.down(&node);
        assert_eq!(names.take("other"), None);
        assert_eq!(names.take("h"), Some((name("X@h"), Creation(10))));
        assert_eq!(names.take("h"), None);
        names.down(&node);
        assert_eq!(names.take("h"), None);
    }

    #[test]
    fn reserved_creations_are_passed_over() {
        assert_eq!(next(Creation(u32::MAX)), Creation(4));
    }

    #[test]
    fn only_names_of_nodes_that_proved_the_cookie_are_kept() {
        let mut names = GivenNames::default();
        offer(&mut names, 1, "X@h", 9);
        names.failed(AttemptId(1));
        assert_eq!(names.take("h"), None);
        let node = offer(&mut names, 2, "Y@h", 9);
        names.accepted(AttemptId(2), &node);
        names.down(&node);
        let (known, creation) = names.take("h").expect("it is free");
        names.offer(AttemptId(3), known, creation, true);
        names.failed(AttemptId(3));
        assert_eq!(names.take("h"), Some((name("Y@h"), Creation(11))));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut names = GivenNames::default();
        for number in 0..2 * FREE_MAX as u64 {
            let node = offer(&mut names, number, &format!("N{number}@h{number}"), 9);
            names.accepted(AttemptId(number), &node);
            names.down(&node);
        }
        assert_eq!(names.free.values().map(Vec::len).sum::<usize>(), FREE_MAX);
    }
}
