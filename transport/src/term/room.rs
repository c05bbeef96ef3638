//! The free end of a buffer, filled from the front.
//!
//! A [`Room`] is handed on from item to item by value, so that where it begins and ends stays in
//! registers; appending to a `Vec` instead means to load, compare and store its length for each
//! few bytes, every time behind the store before.

use std::mem::MaybeUninit;

/// Free bytes at the end of a buffer. What is put at its front belongs to the buffer as soon as
/// the room that is left goes back to [`append`].
pub(super) struct Room<'b> {
    free: &'b mut [MaybeUninit<u8>],
}

/// Lets `fill` put bytes behind those of `out`, into the capacity it has; what is put stays if
/// `fill` gives back the room that is left. Says whether it did.
#[inline]
#[allow(unsafe_code)]
pub(super) fn append(
    out: &mut Vec<u8>,
    fill: impl for<'b> FnOnce(Room<'b>) -> Option<Room<'b>>,
) -> bool {
    let length = out.len();
    let free = out.spare_capacity_mut();
    let all = free.len();
    let Some(left) = fill(Room { free }) else { return false };
    let left = left.free.len();
    assert!(left <= all, "the room given back is what is left of the room given");
    // SAFETY: `fill` works for every lifetime, so the room it gives back is the one it was given,
    // and that gets shorter only from the front and only by bytes that were written. So the first
    // `all - left` bytes behind the old length are initialized, and within the capacity.
    unsafe { out.set_len(length + (all - left)) };
    true
}

/// Bytes that [`on_stack`] has room for: every identifier whose node has a name of usual length.
const STACK_BYTES: usize = 128;

/// Gives `take` what `fill` puts into a buffer on the stack; nothing if it does not fit.
#[inline]
#[allow(unsafe_code)]
pub(super) fn on_stack<T>(
    fill: impl for<'b> FnOnce(Room<'b>) -> Option<Room<'b>>,
    take: impl FnOnce(&[u8]) -> T,
) -> Option<T> {
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; STACK_BYTES];
    let left = fill(Room { free: &mut buffer })?.free.len();
    let filled = buffer.get(..STACK_BYTES.checked_sub(left)?)?;
    // SAFETY: as in `append`, the bytes before the room that is left have been written.
    Some(take(unsafe { &*(std::ptr::from_ref(filled) as *const [u8]) }))
}

impl Room<'_> {
    /// Puts so many bytes; nothing if there is no room for them.
    #[inline]
    pub(super) fn put<const N: usize>(self, bytes: [u8; N]) -> Option<Self> {
        let (to, free) = self.free.split_first_chunk_mut()?;
        *to = bytes.map(MaybeUninit::new);
        Some(Self { free })
    }

    /// Puts the first `length` of these bytes. Needs room for all of them.
    ///
    /// # Panics
    /// When there are fewer.
    #[inline]
    pub(super) fn put_first<const N: usize>(self, bytes: [u8; N], length: usize) -> Option<Self> {
        assert!(length <= N, "so many bytes are given");
        let to = self.free.first_chunk_mut()?;
        *to = bytes.map(MaybeUninit::new);
        Some(Self { free: &mut self.free[length..] })
    }

    /// Puts a few bytes, and behind them the first `length` of others. Gives itself back if there
    /// is no room for all of them.
    ///
    /// # Panics
    /// When there are fewer.
    #[inline(always)]
    pub(super) fn put_padded<const N: usize, const M: usize>(
        self,
        head: [u8; N],
        bytes: [u8; M],
        length: usize,
    ) -> Result<Self, Self> {
        assert!(length <= M, "so many bytes are given");
        if self.free.len() < N + M {
            return Err(self);
        }
        let (to, free) = self.free.split_at_mut(N);
        to.copy_from_slice(&head.map(MaybeUninit::new));
        free[..M].copy_from_slice(&bytes.map(MaybeUninit::new));
        Ok(Self { free: &mut free[length..] })
    }

    /// Puts bytes of any number, which is usually small.
    #[inline(always)]
    pub(super) fn put_all(self, bytes: &[u8]) -> Option<Self> {
        let (to, free) = self.free.split_at_mut_checked(bytes.len())?;
        // Two words that overlap serve every length between one and two.
        if bytes.len() <= 16 {
            if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
                *to.first_chunk_mut()? = first.map(MaybeUninit::new);
                *to.last_chunk_mut()? = last.map(MaybeUninit::new);
                return Some(Self { free });
            }
            if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
                *to.first_chunk_mut()? = first.map(MaybeUninit::new);
                *to.last_chunk_mut()? = last.map(MaybeUninit::new);
                return Some(Self { free });
            }
            if let [first, .., last] = *bytes {
                let middle = bytes[bytes.len() / 2];
                *to.first_mut()? = MaybeUninit::new(first);
                *to.get_mut(bytes.len() / 2)? = MaybeUninit::new(middle);
                *to.last_mut()? = MaybeUninit::new(last);
                return Some(Self { free });
            }
        }
        for (to, byte) in to.iter_mut().zip(bytes) {
            to.write(*byte);
        }
        Some(Self { free })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_put_is_there_and_nothing_else() {
        for length in 0..40_u8 {
            let bytes: Vec<u8> = (0..length).collect();
            let mut out = Vec::with_capacity(64);
            out.push(255);
            let done = append(&mut out, |room| {
                let room = room.put([1, 2, 3])?.put_all(&bytes)?;
                room.put_first([7, 8, 9, 10], 2)?.put_padded([11, 12], [13, 14, 15], 1).ok()
            });
            assert!(done);
            assert_eq!(out, [&[255, 1, 2, 3][..], &bytes, &[7, 8, 11, 12, 13]].concat());
        }
    }

    #[test]
    fn the_stack_has_room_for_little() {
        let put = |bytes: &[u8]| on_stack(|room| room.put([7])?.put_all(bytes), <[u8]>::to_vec);
        assert_eq!(put(b""), Some(vec![7]));
        assert_eq!(put(b"ab"), Some(b"\x07ab".to_vec()));
        assert_eq!(put(&[1; STACK_BYTES - 1]).map(|bytes| bytes.len()), Some(STACK_BYTES));
        assert_eq!(put(&[1; STACK_BYTES]), None);
    }

    #[test]
    fn what_does_not_fit_is_not_there() {
        let mut out = Vec::with_capacity(8);
        out.extend_from_slice(b"abc");
        let free = out.capacity() - out.len();
        let all = vec![1; free + 1];
        assert!(!append(&mut out, |room| room.put([0; 2])?.put_all(&all)));
        assert!(!append(&mut out, |room| room.put_all(&all)));
        assert_eq!(out, b"abc");
        assert!(append(&mut out, |room| room.put_all(&all[..free])));
        assert_eq!(out.len(), out.capacity());
        assert!(!append(&mut out, |room| room.put([1])));
        assert!(!append(&mut out, |room| room.put_first([1], 0)));
        assert!(!append(&mut out, |room| room.put_padded([1], [2], 0).ok()));
        assert!(append(&mut out, |room| Some(room)));
    }
}
