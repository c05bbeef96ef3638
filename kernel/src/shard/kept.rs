//! Memory for payloads that stay on the node: those of messages between its own processes, and
//! those on their way to a link of another shard.

use std::cell::{Cell, RefCell};

use krarup_transport::buffer::{Receiver, SlabPool, Slice};

use crate::node::BY_REFERENCE_BYTES_MIN;

/// Short payloads are put one behind the other into slabs, as received ones are: a slab is used
/// again when all its payloads are gone, so that sending allocates nothing. Long ones keep the
/// memory they were encoded into.
pub(super) struct Kept {
    slabs: RefCell<Receiver>,
    /// Where the payload is encoded whose length is not known yet.
    scratch: Cell<Vec<u8>>,
}

impl Kept {
    pub(super) fn new() -> Self {
        Kept { slabs: RefCell::new(Receiver::new(SlabPool::new())), scratch: Cell::default() }
    }

    /// What `encode` writes, as a slice.
    pub(super) fn encode<E>(
        &self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Slice, E> {
        let mut scratch = self.scratch.take();
        scratch.clear();
        let slice = encode(&mut scratch).map(|()| {
            if scratch.len() < BY_REFERENCE_BYTES_MIN {
                self.copy(&scratch)
            } else {
                Slice::from(std::mem::take(&mut scratch))
            }
        });
        self.scratch.set(scratch);
        slice
    }

    /// A copy of `bytes`.
    #[inline]
    pub(super) fn copy(&self, bytes: &[u8]) -> Slice {
        let mut slabs = self.slabs.borrow_mut();
        if let Some(room) = slabs.spare().get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            slabs.commit(bytes.len());
            slabs.take(bytes.len()).unwrap_or_default()
        } else {
            Slice::copy_from(bytes)
        }
    }

    /// Lets go of memory that nobody uses. To be called now and then.
    pub(super) fn trim(&self) {
        self.slabs.borrow_mut().rest();
        let scratch = self.scratch.take();
        if scratch.capacity() <= BY_REFERENCE_BYTES_MIN {
            self.scratch.set(scratch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_payloads_share_a_slab_and_long_ones_keep_theirs() {
        let kept = Kept::new();
        let short = [kept.copy(b"one"), kept.copy(b"two")];
        assert_eq!(short, [*b"one", *b"two"].map(|text| Slice::copy_from(&text)));
        let [one, two] = short.map(|slice| slice.as_ptr().addr());
        assert_eq!(one + 3, two);
        let mut pointer = 0;
        let long = kept.encode(|out| {
            out.resize(BY_REFERENCE_BYTES_MIN, 7);
            pointer = out.as_ptr().addr();
            Ok::<(), ()>(())
        });
        assert_eq!(long.map(|slice| slice.as_ptr().addr()), Ok(pointer));
        assert_eq!(kept.encode(|_| Err::<(), _>("no")), Err("no"));
    }

    #[test]
    fn memory_is_used_again() {
        let kept = Kept::new();
        let first = kept.copy(b"first").as_ptr().addr();
        for _ in 0..1000 {
            assert_eq!(kept.copy(b"again").as_ptr().addr(), first);
        }
    }
}
