//! The registered names of the node: the kernel decides, every shard has a copy.

use std::ops::Range;
use std::rc::Rc;

use futures_channel::oneshot;
use krarup_transport::term::Atom;

use super::KernelShard;
use crate::net_kernel::BarrierId;
use crate::node::SpawnError;
use crate::process::ProcessId;
use crate::shard::ShardMessage;

/// Barriers of names have this bit, those of the machine never.
const NAME_BARRIER: u64 = 1 << 63;

pub(super) struct NameBarrier {
    missing: usize,
    then: Spread,
}

/// What follows when every shard that was told of a name has said so.
pub(super) enum Spread {
    /// Nobody waits for it.
    Nothing,
    Registered(oneshot::Sender<Result<(), SpawnError>>),
    /// If the holder of the wanted name has ended, its shard has said so by now.
    Confirmed {
        wanted: Registration,
        holder: ProcessId,
    },
}

/// A name, who wants it, and who waits for the answer.
pub(super) struct Registration {
    name: Atom,
    process: ProcessId,
    done: oneshot::Sender<Result<(), SpawnError>>,
}

impl KernelShard {
    pub(super) fn acknowledged(self: &Rc<Self>, barrier: BarrierId) {
        if barrier.0 & NAME_BARRIER == 0 {
            self.with(|machine| machine.acknowledged(barrier));
            return;
        }
        let mut barriers = self.name_barriers.borrow_mut();
        let Some(entry) = barriers.get_mut(&barrier) else { return };
        entry.missing -= 1;
        if entry.missing > 0 {
            return;
        }
        let entry = barriers.remove(&barrier);
        drop(barriers);
        match entry.map(|entry| entry.then) {
            Some(Spread::Registered(done)) => drop(done.send(Ok(()))),
            Some(Spread::Confirmed { wanted, holder }) => {
                if self.names.borrow().get(&wanted.name) == Some(&holder) {
                    let _ = wanted.done.send(Err(SpawnError::NameTaken(wanted.name)));
                } else {
                    self.register(wanted.name, wanted.process, wanted.done);
                }
            }
            Some(Spread::Nothing) | None => {}
        }
    }

    /// Registers a name; answered when every shard knows.
    ///
    /// Who has been told that a process has ended can have its name at once, as in Erlang: before a
    /// name counts as taken, the shard of its holder is asked.
    pub(crate) fn register(
        self: &Rc<Self>,
        name: Atom,
        process: ProcessId,
        done: oneshot::Sender<Result<(), SpawnError>>,
    ) {
        let holder = self.names.borrow().get(&name).copied();
        if let Some(holder) = holder {
            let shard = usize::from(holder.shard);
            let wanted = Registration { name: name.clone(), process, done };
            let then = Spread::Confirmed { wanted, holder };
            self.spread_name(shard..shard + 1, &name, Some(holder), then);
            return;
        }
        self.names.borrow_mut().insert(name.clone(), process);
        self.spread_to_all(&name, Some(process), Spread::Registered(done));
    }

    pub(super) fn spread_to_all(
        self: &Rc<Self>,
        name: &Atom,
        process: Option<ProcessId>,
        then: Spread,
    ) {
        let Some(shard) = self.shard.borrow().upgrade() else { return };
        self.spread_name(0..shard.count, name, process, then);
    }

    /// Tells shards whose a name is, or that it is nobody's.
    fn spread_name(
        self: &Rc<Self>,
        shards: Range<usize>,
        name: &Atom,
        process: Option<ProcessId>,
        then: Spread,
    ) {
        let Some(shard) = self.shard.borrow().upgrade() else { return };
        let number = self.next_name_barrier.get() + 1;
        self.next_name_barrier.set(number);
        let barrier = BarrierId(number | NAME_BARRIER);
        let entry = NameBarrier { missing: shards.len(), then };
        self.name_barriers.borrow_mut().insert(barrier, entry);
        for other in shards {
            shard.tell(other, ShardMessage::Name { barrier, name: name.clone(), process });
        }
    }
}
