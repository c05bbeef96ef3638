//! Who is called what: the names of lives, and where they are found.

use std::collections::BTreeMap;

use krarup_transport::handshake::NodeName;
use krarup_transport::term::{Atom, Creation};

use super::net::Owner;

/// A name, for tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NameId(pub(super) usize);

/// What a life calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) name: NodeName,
    pub(super) atom: Atom,
    pub(super) creation: Creation,
}

impl Identity {
    pub(super) fn new(name: NodeName, creation: Creation) -> Identity {
        let atom = Atom::new(name.as_str()).expect("a good name");
        Identity { name, atom, creation }
    }
}

/// The name that a life begins with.
#[derive(Clone, Debug)]
pub(super) enum FirstName {
    Own(NodeName),
    /// Others give it one.
    Given,
}

#[derive(Default)]
pub(super) struct Names {
    ids: BTreeMap<String, NameId>,
    owners: BTreeMap<(NameId, u32), Owner>,
    /// Where each name is found, as epmd knows it.
    listed: BTreeMap<NameId, (Owner, u16)>,
    /// The last name of each node.
    latest: BTreeMap<usize, Atom>,
    /// Lives that the same process began under another name.
    pub(super) renamed: u64,
    /// Names that others gave.
    pub(super) given: u64,
}

impl Names {
    pub(super) fn id(&mut self, node: &Atom) -> NameId {
        let next = NameId(self.ids.len());
        *self.ids.entry(node.as_str().to_owned()).or_insert(next)
    }

    pub(super) fn find(&self, node: &str) -> Option<NameId> {
        self.ids.get(node).copied()
    }

    /// The name of a node that somebody has, or had.
    pub(super) fn known(&self, node: &Atom) -> NameId {
        self.find(node.as_str()).unwrap_or_else(|| panic!("{node} is nobody"))
    }

    /// A life is called so from now on.
    pub(super) fn take(&mut self, owner: Owner, identity: &Identity) {
        self.promise(owner, identity);
        self.latest.insert(owner.node, identity.atom.clone());
    }

    /// A life will be called so once it knows.
    pub(super) fn promise(&mut self, owner: Owner, identity: &Identity) {
        let id = self.id(&identity.atom);
        let before = self.owners.insert((id, identity.creation.0), owner);
        assert!(before.is_none_or(|before| before == owner), "{identity:?} is {before:?} already");
    }

    /// Whose name it is, with this creation.
    pub(super) fn owner(&self, node: &Atom, creation: Creation) -> Owner {
        let owner = self.owners.get(&(self.known(node), creation.0));
        *owner.unwrap_or_else(|| panic!("{node} has never had {creation:?}"))
    }

    /// The last name that a node had.
    pub(super) fn latest(&self, node: usize) -> Option<&Atom> {
        self.latest.get(&node)
    }

    pub(super) fn list(&mut self, owner: Owner, node: &Atom, port: u16) {
        let id = self.id(node);
        self.listed.insert(id, (owner, port));
    }

    pub(super) fn unlist(&mut self, node: usize) {
        self.listed.retain(|_, (owner, _)| owner.node != node);
    }

    /// The node that is found under a name, and its port.
    pub(super) fn look_up(&self, node: &Atom) -> Option<(usize, u16)> {
        let (owner, port) = self.listed.get(&self.find(node.as_str())?)?;
        Some((owner.node, *port))
    }
}
