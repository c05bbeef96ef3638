//! Who this node is: its name and creation now, and in lives before this one.

use std::rc::Rc;

use krarup_transport::term::{Atom, Creation, Pid, Reference};

use super::Shard;
use crate::process::{Identity, ProcessId};

/// Former identities that are remembered; pids from lives before those name nobody any more.
const FORMER_MAX: usize = 256;

impl Shard {
    /// The pid of a process of this node, under the node's present name.
    pub(crate) fn pid(&self, id: ProcessId) -> Pid {
        let identity = self.identity.borrow();
        id.pid(identity.name.clone(), identity.creation)
    }

    /// The process behind a pid, if it is one of this node.
    #[inline]
    pub(crate) fn own(&self, pid: &Pid) -> Option<ProcessId> {
        self.is_own(&pid.node, pid.creation).then(|| ProcessId::from(pid))
    }

    /// The process behind a pid that another node uses: it must be of this node's present life.
    pub(super) fn present(&self, pid: &Pid) -> Option<ProcessId> {
        self.is_present(&pid.node, pid.creation).then(|| ProcessId::from(pid))
    }

    /// Whether a reference was made by this node.
    pub(super) fn is_own_reference(&self, reference: &Reference) -> bool {
        self.is_own(&reference.node, reference.creation)
    }

    /// A pid as others know it: that of a process of this node under the present name.
    pub(crate) fn presented(&self, pid: &Pid) -> Pid {
        self.own(pid).map_or_else(|| pid.clone(), |id| self.pid(id))
    }

    /// The creation for another life: `given`, or one after it that no former life had. An epmd
    /// within this process ends with each life, and what the next one counts from is a time in
    /// seconds.
    pub(crate) fn unused_creation(&self, given: Creation) -> Creation {
        let former = self.former.borrow();
        let mut creation = given;
        while former.iter().any(|identity| identity.creation == creation) {
            creation = Creation(creation.0.wrapping_add(1).max(4));
        }
        creation
    }

    /// Goes on under another name, or without one.
    pub(super) fn take_identity(&self, identity: Identity) {
        let former = self.identity.replace(Rc::new(identity));
        // That of a node without a name is known anyway.
        if former.creation != Creation(0) {
            let mut all = self.former.borrow_mut();
            if all.len() == FORMER_MAX {
                all.remove(0);
            }
            all.push(former);
        }
    }

    #[inline]
    fn is_own(&self, node: &Atom, creation: Creation) -> bool {
        // What was made in a life before still names the same process, as terms in memory do in
        // Erlang.
        self.is_present(node, creation) || self.is_former(node, creation)
    }

    #[inline]
    fn is_present(&self, node: &Atom, creation: Creation) -> bool {
        let identity = self.identity.borrow();
        creation == identity.creation && *node == identity.name
    }

    fn is_former(&self, node: &Atom, creation: Creation) -> bool {
        let nobody = || creation == Creation(0) && node.as_str() == Identity::NOBODY;
        let is = |former: &Rc<Identity>| former.creation == creation && former.name == *node;
        nobody() || self.former.borrow().iter().rev().any(is)
    }
}
