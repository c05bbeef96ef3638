//! What messages say of their sender's node.

use std::cell::RefCell;
use std::rc::Rc;

use krarup_transport::term::{Atom, Creation};

use super::Shard;
use crate::process::{Identity, ProcessId, Sender};

/// The identity that was last seen in the pids of a peer. It is the same in all its messages, so
/// they share it.
#[derive(Debug, Default)]
pub(crate) struct Peer(RefCell<Option<Rc<Identity>>>);

impl Peer {
    /// The identity with this creation.
    #[inline]
    pub(crate) fn identity(&self, name: &Atom, creation: Creation) -> Rc<Identity> {
        if let Some(known) = &*self.0.borrow()
            && known.creation == creation
        {
            return Rc::clone(known);
        }
        self.learn(name, creation)
    }

    #[cold]
    fn learn(&self, name: &Atom, creation: Creation) -> Rc<Identity> {
        let identity = Rc::new(Identity { name: name.clone(), creation });
        self.0.replace(Some(Rc::clone(&identity)));
        identity
    }
}

impl Shard {
    /// A process of this node as the sender of a message.
    #[inline]
    pub(super) fn sender(&self, process: ProcessId) -> Sender {
        Sender::new(Rc::clone(&self.identity.borrow()), process)
    }

    /// The identity that pids of any node carry.
    pub(super) fn identity_of(&self, name: &Atom, creation: Creation) -> Rc<Identity> {
        let own = self.identity.borrow();
        if own.creation == creation && own.name == *name {
            return Rc::clone(&own);
        }
        match self.routes.borrow().get(name) {
            Some(route) => route.peer.identity(name, creation),
            None => Rc::new(Identity { name: name.clone(), creation }),
        }
    }
}
