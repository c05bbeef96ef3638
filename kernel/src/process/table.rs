//! The processes of one shard, by slot and generation.

use std::rc::Rc;

use krarup_transport::fabric::ProcessNumber;
use krarup_transport::term::{Atom, Creation, Pid};

use super::ProcessCell;

/// Where a process lives: what its pid says, without the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProcessId {
    pub(crate) shard: u8,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Slots take 24 bits of a pid's number, the shard the other 8.
const SLOT_COUNT_MAX: u32 = 1 << 24;

impl ProcessId {
    /// The process that a pid of this node with these numbers names.
    #[inline]
    pub(crate) fn of(id: u32, serial: u32) -> Self {
        ProcessId { shard: (id & 0xff) as u8, slot: id >> 8, generation: serial }
    }

    /// The pid of this process on a node of that name and creation.
    pub(crate) fn pid(self, node: Atom, creation: Creation) -> Pid {
        let ProcessNumber { id, serial } = self.number();
        Pid { node, id, serial, creation }
    }

    /// The two numbers of its pid.
    #[inline]
    pub(crate) fn number(self) -> ProcessNumber {
        let id = (self.slot << 8) | u32::from(self.shard);
        ProcessNumber { id, serial: self.generation }
    }
}

impl From<&Pid> for ProcessId {
    fn from(pid: &Pid) -> Self {
        ProcessId::of(pid.id, pid.serial)
    }
}

/// The slots of one shard. A freed slot is reused with the next generation.
pub(crate) struct ProcessTable {
    shard: u8,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    cell: Option<Rc<ProcessCell>>,
}

impl ProcessTable {
    pub(crate) fn new(shard: u8) -> Self {
        // Slot 0 of shard 0 would be `<0.0.0>`, which every Erlang node takes for `init`.
        let unused = Slot { generation: 0, cell: None };
        ProcessTable { shard, slots: vec![unused], free: Vec::new() }
    }

    /// A fresh id, or `None` when every slot of the shard is taken (OTP: `system_limit`).
    pub(crate) fn reserve(&mut self) -> Option<ProcessId> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.slots.len()).ok().filter(|s| *s < SLOT_COUNT_MAX)?;
                self.slots.push(Slot { generation: 0, cell: None });
                slot
            }
        };
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        Some(ProcessId { shard: self.shard, slot, generation: entry.generation })
    }

    pub(crate) fn insert(&mut self, cell: Rc<ProcessCell>) {
        let id = cell.id();
        let slot = &mut self.slots[id.slot as usize];
        debug_assert_eq!(slot.generation, id.generation, "inserted into its own reservation");
        slot.cell = Some(cell);
    }

    /// The living process of that id.
    #[inline]
    pub(crate) fn find(&self, id: ProcessId) -> Option<&Rc<ProcessCell>> {
        let slot = self.slots.get(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.cell.as_ref()
    }

    pub(crate) fn remove(&mut self, id: ProcessId) -> Option<Rc<ProcessCell>> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        // One that is given back twice would be two processes'.
        let cell = slot.cell.take()?;
        self.free.push(id.slot);
        Some(cell)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rc<ProcessCell>> {
        self.slots.iter().filter_map(|slot| slot.cell.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Owner;

    #[test]
    fn a_process_that_is_removed_twice_leaves_one_place() {
        let mut table = ProcessTable::new(0);
        let create = |table: &mut ProcessTable| {
            let id = table.reserve().expect("a place");
            table.insert(Rc::new(ProcessCell::new(id, Owner::Task)));
            id
        };
        let first = create(&mut table);
        assert!(table.remove(first).is_some());
        assert!(table.remove(first).is_none());
        let (second, third) = (create(&mut table), create(&mut table));
        assert_ne!(second.slot, third.slot);
        assert!(table.find(second).is_some() && table.find(third).is_some());
    }
}
