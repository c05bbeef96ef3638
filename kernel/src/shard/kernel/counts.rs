//! What the kernel counts of nodes that come and go.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::net_kernel::{ConnectError, NodeDownReason};

/// Counters since the node's start. Their keys are words of this program, never a peer's.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) ups: Cell<u64>,
    downs: RefCell<BTreeMap<String, u64>>,
    failures: RefCell<BTreeMap<&'static str, u64>>,
    pub(super) refusals: Cell<u64>,
}

impl Counts {
    pub(super) fn up(&self) {
        self.ups.set(self.ups.get() + 1);
    }

    pub(super) fn down(&self, reason: &NodeDownReason) {
        let mut downs = self.downs.borrow_mut();
        *downs.entry(reason.atom().as_str().to_owned()).or_default() += 1;
    }

    pub(super) fn failed(&self, why: &ConnectError) {
        *self.failures.borrow_mut().entry(why.step()).or_default() += 1;
    }

    pub(super) fn refused(&self) {
        self.refusals.set(self.refusals.get() + 1);
    }

    pub(super) fn downs(&self) -> BTreeMap<String, u64> {
        self.downs.borrow().clone()
    }

    pub(super) fn failures(&self) -> BTreeMap<&'static str, u64> {
        self.failures.borrow().clone()
    }
}
