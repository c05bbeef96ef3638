//! The most frequent signal by far, in a form that costs nothing to hand on.

use std::ops::Range;

use crate::dist::control::{KnownPid, Names};
use crate::term::{Atom, Creation, Pid};

/// One of the two nodes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This node.
    Local,
    /// The connected node.
    Peer,
}

/// A pid of one of the two nodes of a connection, without the node's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainPid {
    /// Whose process it is.
    pub node: Side,
    /// As [`Pid::id`].
    pub id: u32,
    /// As [`Pid::serial`].
    pub serial: u32,
    /// As [`Pid::creation`].
    pub creation: Creation,
}

impl PlainPid {
    /// The pid as others know it, with the names of the two nodes.
    #[inline]
    #[must_use]
    pub fn to_pid(self, local: &Atom, peer: &Atom) -> Pid {
        let node = match self.node {
            Side::Local => local.clone(),
            Side::Peer => peer.clone(),
        };
        Pid { node, id: self.id, serial: self.serial, creation: self.creation }
    }

    #[inline]
    pub(super) fn of(pid: KnownPid<'_>, names: Names<'_>) -> Option<PlainPid> {
        let KnownPid { node, id, serial, creation } = pid;
        let is = |name: &Atom| std::ptr::eq(node, name) || node == name;
        let node = if is(names.peer) {
            Side::Peer
        } else if is(names.local) {
            Side::Local
        } else {
            return None;
        };
        Some(PlainPid { node, id, serial, creation })
    }
}

/// A message from a process to a process of the two connected nodes, with neither priority nor
/// trace token, and with a valid payload without cache references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainMessage {
    /// Who sent it.
    pub from: PlainPid,
    /// Who gets it.
    pub to: PlainPid,
    /// Where in the frame the payload's term is.
    pub payload: Range<usize>,
}
