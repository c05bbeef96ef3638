//! A node whose name others give it (OTP: `-name undefined`).
//!
//! The first node that it connects to names it. While one is asked, connects to others wait: two
//! answers would be two names. When the connection to the node that gave the name is lost, so is the
//! name: everything else is taken down, and the next connect asks again.

use krarup_transport::term::Atom;

/// Who names this node, as a state machine.
#[derive(Debug, Default)]
pub struct DynamicName {
    state: State,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// No name, and nobody is asked for one.
    #[default]
    Unnamed,
    /// This node is being asked.
    Asking(Atom),
    /// Named by this node.
    Named(Atom),
    /// The name is lost, and what was connected under it is being taken down.
    Leaving,
}

/// What becomes of a wish to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Now.
    Now,
    /// When the state has changed: ask again then.
    Later,
}

impl DynamicName {
    /// Somebody wants to connect to `node`.
    pub fn connect(&mut self, node: &Atom) -> Turn {
        match &self.state {
            State::Unnamed => {
                self.state = State::Asking(node.clone());
                Turn::Now
            }
            State::Asking(asked) if asked == node => Turn::Now,
            State::Named(_) => Turn::Now,
            State::Asking(_) | State::Leaving => Turn::Later,
        }
    }

    /// `node` gave a name; false if that is nothing anybody waits for.
    pub fn named(&mut self, node: &Atom) -> bool {
        let expected = self.state == State::Asking(node.clone());
        if expected {
            self.state = State::Named(node.clone());
        }
        expected
    }

    /// No connection to `node` came about; true if the next one may be asked now.
    pub fn failed(&mut self, node: &Atom) -> bool {
        let asked = self.state == State::Asking(node.clone());
        if asked {
            self.state = State::Unnamed;
        }
        asked
    }

    /// The connection to `node` is lost; true if the name goes with it. [`DynamicName::left`]
    /// follows.
    pub fn lost(&mut self, node: &Atom) -> bool {
        let by_it = self.state == State::Named(node.clone());
        if by_it {
            self.state = State::Leaving;
        }
        by_it
    }

    /// All that was connected under the lost name is down.
    pub fn left(&mut self) {
        self.state = State::Unnamed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Atom = Atom::from_static("a@h");
    const B: Atom = Atom::from_static("b@h");

    #[test]
    fn one_node_at_a_time_is_asked() {
        let mut name = DynamicName::default();
        assert_eq!(name.connect(&A), Turn::Now);
        assert_eq!(name.connect(&B), Turn::Later);
        assert_eq!(name.connect(&A), Turn::Now);
        assert!(!name.failed(&B));
        assert!(name.failed(&A));
        assert_eq!(name.connect(&B), Turn::Now);
        assert!(!name.named(&A) && name.named(&B));
        assert_eq!(name.connect(&A), Turn::Now);
        assert!(!name.failed(&A));
    }

    #[test]
    fn the_name_goes_with_the_connection_to_who_gave_it() {
        let mut name = DynamicName::default();
        name.connect(&A);
        assert!(name.named(&A));
        assert!(!name.lost(&B));
        assert!(name.lost(&A) && !name.lost(&A));
        assert_eq!(name.connect(&B), Turn::Later);
        name.left();
        assert_eq!(name.connect(&B), Turn::Now);
    }
}
